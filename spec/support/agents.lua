--- Agent scripts that must come to the same with every provider: each is a function of a client and what it may note.
-- Its questions tell the model what to do (told_model.lua). What an agent returns is compared; ids and times are told
-- apart by nobody.
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")

local agents = {}

local function question(plan) return { role = "user", content = assert(json.encode(plan)) } end

local function thread_with(client, plan)
  local thread = assert(client.threads:create())
  assert(client.threads.messages:create(thread.id, question(plan)))
  return thread
end

local function tool(name, call)
  return nexus.tool({ name = name, description = name .. " for specs",
    parameters = { type = "object", properties = { n = { type = "integer" } } }, call = call })
end

local double = tool("double", function(arguments) return tostring(arguments.n * 2) end)
local add_one = tool("add_one", function(arguments) return tostring(arguments.n + 1) end)
local broken = tool("broken", function() error("no such luck", 0) end)

local function texts_of(client, thread)
  local texts = {}
  for message in client.threads.messages:each(thread.id, { order = "asc" }) do
    texts[#texts + 1] = message.role .. ": " .. message.content[1].text.value
  end
  return texts
end

local function step_types(run)
  local types = {}
  for index, step in ipairs(assert(run:steps())) do types[index] = step.type .. " " .. step.status end
  return types
end

local function facts(err)
  return { kind = err.kind, status = err.status, code = err.code, param = err.param, message = err.message }
end

local function failure(result, err)
  assert(result == nil, "it went well")
  return facts(err)
end

agents["asks one question"] = function(client)
  local thread = thread_with(client, { "Good day." })
  local run = assert(client.threads.runs:create_and_poll(thread.id, { instructions = "Be brief." }))
  return { run.status, run:text(), texts_of(client, thread), step_types(run), run.instructions }
end

agents["goes on with a conversation"] = function(client)
  local thread = thread_with(client, { "First." })
  assert(client.threads.runs:create_and_poll(thread.id, {}))
  assert(client.threads.messages:create(thread.id, question({ "Second." })))
  local run = assert(client.threads.runs:create_and_poll(thread.id, {
    additional_messages = { { role = "assistant", content = "Hm." }, question({ "Third." }) } }))
  return { run:text(), texts_of(client, thread), #assert(client.threads.runs:list(thread.id)).data }
end

agents["has tools called, side by side and in turn"] = function(client)
  local thread = thread_with(client, {
    { tool_calls = { { id = "call_a", name = "double", arguments = { n = 4 } },
      { id = "call_b", name = "add_one", arguments = { n = 4 } } } },
    { tool_calls = { { id = "call_c", name = "double", arguments = { n = 5 } } } },
    "They are $1, $2 and $3.",
  })
  local run = assert(client.threads.runs:create_and_poll(thread.id, { tools = { double, add_one } }))
  return { run.status, run:text(), step_types(run) }
end

agents["survives a tool that fails, and a call of one that isn't there"] = function(client)
  local thread = thread_with(client, {
    { tool_calls = { { id = "call_a", name = "broken", arguments = {} } } },
    { tool_calls = { { id = "call_b", name = "missing", arguments = {} } } }, "$1 and $2",
  })
  local run = assert(client.threads.runs:create_and_poll(thread.id, { tools = { broken } }))
  local findings = {}
  for index, finding in ipairs(run:findings()) do findings[index] = finding.id end
  return { run.status, run:text(), findings }
end

agents["reads texts as they come"] = function(client)
  local thread = thread_with(client, {
    { tool_calls = { { id = "call_a", name = "double", arguments = { n = 21 } } } }, "The answer to that is $1.",
  })
  local stream, text = assert(client.threads.runs:stream(thread.id, { tools = { double } })), {}
  for piece in stream:texts() do text[#text + 1] = piece end
  local run = assert(stream:result())
  return { table.concat(text), run.status, run:text(), step_types(run), texts_of(client, thread)[2] }
end

agents["answers calls by hand"] = function(client)
  local thread = thread_with(client, { { tool_calls = { { id = "call_a", name = "double", arguments = { n = 1 } } } },
    "It is $1." })
  local described = { { type = "function", ["function"] = { name = "double", parameters = { type = "object" } } } }
  local run = assert(client.threads.runs:create_and_poll(thread.id, { tools = described }))
  local call = run.required_action.submit_tool_outputs.tool_calls[1]
  local refused = failure(client.threads.runs:submit_tool_outputs(thread.id, run.id, { tool_outputs = {} }))
  refused.message = refused.message:match("^[^%[]+")
  local done = assert(client.threads.runs:submit_tool_outputs_and_poll(thread.id, run.id, {
    tool_outputs = { { tool_call_id = call.id, output = "two" } } }))
  return { run.status, call["function"], refused, done.status, done.id == run.id, done:text() }
end

agents["cancels a run that waits for outputs"] = function(client)
  local thread = thread_with(client, { { tool_calls = { { id = "call_a", name = "double", arguments = { n = 1 } } } } })
  local described = { { type = "function", ["function"] = { name = "double", parameters = { type = "object" } } } }
  local run = assert(client.threads.runs:create_and_poll(thread.id, { tools = described }))
  local cancelling = assert(client.threads.runs:cancel(thread.id, run.id))
  local _, err = client.threads.runs:poll(thread.id, run.id)
  local twice = failure(client.threads.runs:cancel(thread.id, run.id))
  return { cancelling.status, err.run.status, facts(err), twice, texts_of(client, thread) }
end

agents["cancels a run that thinks"] = function(client)
  local thread = thread_with(client, { { wait = 30, text = "too late" } })
  local run = assert(client.threads.runs:create(thread.id, {}))
  repeat
    client:sleep(0.01)
    run = assert(client.threads.runs:retrieve(thread.id, run.id))
  until run.status ~= "queued"
  local before = run.status
  assert(client.threads.runs:cancel(thread.id, run.id))
  local _, err = client.threads.runs:poll(thread.id, run.id, { deadline = 5 })
  return { before, err.run.status, #texts_of(client, thread) }
end

agents["is told what is wrong with a request"] = function(client)
  local thread = assert(client.threads:create())
  local messages, runs = client.threads.messages, client.threads.runs
  return {
    failure(client.threads:retrieve("thread_none")), failure(client.assistants:retrieve("asst_none")),
    failure(runs:create(thread.id, { assistant_id = "asst_none" })),
    failure(messages:create(thread.id, { role = "robot", content = "x" })),
    failure(messages:create(thread.id, { role = "user", content = "" })),
    failure(messages:create(thread.id, { role = "user" })),
    failure(runs:create(thread.id, { temperature = 3 })), failure(runs:create(thread.id, { colour = "red" })),
    failure(client.threads:update(thread.id, { metadata = { key = ("x"):rep(513) } })),
    failure(messages:list(thread.id, { limit = 101 })), failure(messages:list(thread.id, { after = "msg_none" })),
  }
end

agents["meets its own run on a thread"] = function(client)
  local thread = thread_with(client, { { tool_calls = { { id = "call_a", name = "double", arguments = { n = 1 } } } } })
  local described = { { type = "function", ["function"] = { name = "double", parameters = { type = "object" } } } }
  local run = assert(client.threads.runs:create_and_poll(thread.id, { tools = described }))
  local function without_ids(err)
    err.message = err.message:gsub("thread_%w+", "THREAD"):gsub("run_%w+", "RUN")
    return err
  end
  -- by the provider itself, since a lane would wait
  local operations = require("nexus_assistants.operations")
  local path = { thread_id = thread.id }
  local message = failure(client.provider:perform(operations["threads.messages.create"],
    { path = path, body = question({ "x" }) }))
  local second = failure(client.provider:perform(operations["threads.runs.create"],
    { path = path, body = { assistant_id = run.assistant_id } }))
  return { without_ids(message), without_ids(second) }
end

agents["is told of a model that fails"] = function(client)
  local thread = thread_with(client, { { fail = { code = "rate_limit_exceeded", message = "Slow down, please." } } })
  local _, err = client.threads.runs:create_and_poll(thread.id, {})
  return { err.kind, err.code, err.run.status, err.run.last_error.code,
    err.run.last_error.message:find("Slow down, please.", 1, true) ~= nil, #texts_of(client, thread) }
end

agents["stays within its budget of tokens"] = function(client)
  local thread = thread_with(client, { { text = "word ", times = 200 } })
  local _, err = client.threads.runs:create_and_poll(thread.id, { max_completion_tokens = 20 })
  return { err.run.status, err.run.incomplete_details, #texts_of(client, thread) }
end

agents["has an assistant of its own, and changes what there is"] = function(client)
  local assistant = assert(client.assistants:create({ model = "small-1", instructions = "Be kind.", name = "Ada" }))
  local thread = assert(client.threads:create({ metadata = { colour = "blue" },
    messages = { question({ "Kindly yours." }) } }))
  local run = assert(client.threads.runs:create_and_poll(thread.id, { assistant_id = assistant.id,
    metadata = { purpose = "spec" }, model = "small-2" }))
  local listed = assert(client.threads.messages:list(thread.id, { limit = 1 }))
  local message = assert(client.threads.messages:update(thread.id, listed.data[1].id, { metadata = { seen = "yes" } }))
  assert(client.threads.messages:delete(thread.id, listed.data[1].id))
  local left = texts_of(client, thread)
  assert(client.threads:delete(thread.id))
  assert(client.assistants:delete(assistant.id))
  return { run.model, run.instructions, run.metadata, listed.has_more, message.metadata, left, thread.metadata,
    failure(client.threads.messages:list("thread_none")).status }
end

return agents
