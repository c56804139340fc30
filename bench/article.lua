-- The article's job, RUNS times with one client, in one of the two styles: bench/article measures it.
--   dev/lua bench/article.lua automatic|manual RUNS
local nexus = require("nexus_assistants")

local question = "What is a trace?"

local function automatic(client)
  return client:trace({ name = "article", input = question }, function()
    local thread = assert(client.threads:create())
    assert(client.threads.messages:create(thread.id, { role = "user", content = question }))
    assert(client.threads.runs:create_and_poll(thread.id, { assistant_id = "asst_local" }))
    local messages = assert(client.threads.messages:list(thread.id))
    return messages.data[1].content[1].text.value
  end)
end

local function run_span(client, trace, thread)
  local span = client.nexus:start_span(trace.id, {
    name = "threads.runs.createAndPoll", type = "llm", metadata = { assistantId = "asst_local" },
  })
  local run = assert(client.threads.runs:create_and_poll(thread.id, { assistant_id = "asst_local" }))
  client.nexus:end_span(span.id, { output = { status = run.status, usage = run.usage } })
  for _, step in ipairs(assert(client.threads.runs.steps:list(thread.id, run.id, { order = "asc" })).data) do
    local step_span = client.nexus:start_span(trace.id, {
      name = "step." .. step.type, metadata = { stepId = step.id }, parent_id = span.id,
    })
    client.nexus:end_span(step_span.id, { output = step.status })
  end
end

local function manual(client)
  local trace = client.nexus:start_trace({ name = "article", input = question })
  local span = client.nexus:start_span(trace.id, { name = "thread.create" })
  local thread = assert(client.threads:create())
  client.nexus:end_span(span.id, { output = { threadId = thread.id } })
  span = client.nexus:start_span(trace.id, { name = "thread.messages.create", metadata = { threadId = thread.id } })
  assert(client.threads.messages:create(thread.id, { role = "user", content = question }))
  client.nexus:end_span(span.id, {})
  run_span(client, trace, thread)
  span = client.nexus:start_span(trace.id, { name = "thread.messages.list" })
  local messages = assert(client.threads.messages:list(thread.id))
  client.nexus:end_span(span.id, { output = { messageCount = #messages.data } })
  client.nexus:end_trace(trace.id, { status = "success", output = messages.data[1].content[1].text.value })
end

local client = assert(nexus.new({ agent_id = "bench", poll = { interval = 0 } }))
local job = assert(({ automatic = automatic, manual = manual })[arg[1]], "style: automatic or manual")
for _ = 1, tonumber(arg[2]) do
  job(client)
end
assert(client:close(10), "not all traces were delivered")
