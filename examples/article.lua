-- Tracing a run by hand, span by span.
--
--   article.lua "QUESTION"
--
-- The environment says which assistant is asked, and where: OPENAI_API_KEY, OPENAI_BASE_URL, ASSISTANT_ID, and
-- NEXUS_API_KEY, NEXUS_BASE_URL, NEXUS_AGENT_ID for the trace. assistant.lua does the same with no span by hand.
local nexus = require("nexus_assistants")

local question = arg[1]
if not question then
  io.stderr:write('usage: article.lua "QUESTION"\n')
  os.exit(2)
end

local client = assert(nexus.new({}))
local assistant_id = os.getenv("ASSISTANT_ID")

local function output_of(call)
  local detail = call[call.type] or {}
  local output = detail.output or detail.outputs or detail.results
  return output ~= nexus.null and output or "(no output)"
end

-- One span for each tool the run called; a step that called none stands for itself.
local function trace_steps(trace, parent, thread, run)
  local steps = assert(client.threads.runs.steps:list(thread.id, run.id, { order = "asc", limit = 100 }))
  for _, step in ipairs(steps.data) do
    for _, call in ipairs(step.step_details.tool_calls or { { type = step.type } }) do
      local span = client.nexus:start_span(trace.id, {
        name = "step." .. call.type,
        parent_id = parent.id,
        metadata = { stepId = step.id, toolCallId = call.id, status = step.status },
      })
      client.nexus:end_span(span.id, { output = output_of(call) })
    end
  end
end

local function text_of(messages, run)
  local texts = {}
  for _, message in ipairs(messages.data) do
    for _, part in ipairs(message.run_id == run.id and message.content or {}) do
      if part.type == "text" then texts[#texts + 1] = part.text.value end
    end
  end
  return table.concat(texts, "\n\n")
end

local function answer(trace)
  local span = client.nexus:start_span(trace.id, { name = "thread.create" })
  local thread = assert(client.threads:create())
  client.nexus:end_span(span.id, { output = { threadId = thread.id } })

  span = client.nexus:start_span(trace.id, { name = "thread.messages.create", metadata = { threadId = thread.id } })
  assert(client.threads.messages:create(thread.id, { role = "user", content = question }))
  client.nexus:end_span(span.id)

  span = client.nexus:start_span(trace.id, {
    name = "threads.runs.createAndPoll",
    type = "llm",
    metadata = { assistantId = assistant_id, threadId = thread.id },
  })
  local run, err = client.threads.runs:create_and_poll(thread.id, { assistant_id = assistant_id })
  run = run or err.kind == "run" and err.run -- a run that failed comes with the error
  if not run then
    client.nexus:end_span(span.id, { error = err })
    error(err, 0)
  end
  client.nexus:end_span(span.id, {
    status = run.status == "completed" and "ok" or "error",
    output = { status = run.status, usage = run.usage },
  })
  if run.status ~= "completed" then error("Run ended with status: " .. run.status, 0) end

  trace_steps(trace, span, thread, run)

  span = client.nexus:start_span(trace.id, { name = "thread.messages.list" })
  local messages = assert(client.threads.messages:list(thread.id, { order = "asc", limit = 100 }))
  client.nexus:end_span(span.id, { output = { messageCount = #messages.data } })

  return text_of(messages, run)
end

local trace = client.nexus:start_trace({ name = "article", input = { question = question } })
local ok, result = pcall(answer, trace)
if ok then
  client.nexus:end_trace(trace.id, { status = "success", output = result })
  io.stdout:write(result, "\n")
  io.stdout:flush()
else
  client.nexus:end_trace(trace.id, { status = "error", metadata = { error = tostring(result) } })
  io.stderr:write("article.lua: ", tostring(result), "\n")
end
client:close()
os.exit(ok and 0 or 1)
