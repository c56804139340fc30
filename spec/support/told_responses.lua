-- Responses and Conversations (responses_server.lua) whose model does what the question tells it to (told_model.lua).
local json = require("nexus_assistants.json")
local servers = require("spec.support.server")
local told = require("spec.support.told_answer").new(dofile(servers.root .. "spec/support/told_model.lua"))

local BYTES_PER_TOKEN = 4

local function text_of(content)
  if type(content) == "string" then return content end
  local texts = {}
  for index, part in ipairs(content) do texts[index] = part.text end
  return table.concat(texts, "\n")
end

local ADD = {}

function ADD.message(messages, item)
  messages[#messages + 1] = { role = item.role, content = text_of(item.content) }
end

-- Calls that stand together are of one round.
function ADD.function_call(messages, item)
  local last = messages[#messages]
  if not (last and last.tool_calls) then
    last = { role = "assistant", content = "", tool_calls = {} }
    messages[#messages + 1] = last
  end
  last.tool_calls[#last.tool_calls + 1] = { id = item.call_id, name = item.name, arguments = item.arguments }
end

function ADD.function_call_output(messages, item)
  messages[#messages + 1] = { role = "tool", tool_call_id = item.call_id, content = item.output }
end

local function messages_of(items)
  local messages = {}
  for _, item in ipairs(items) do
    local add = ADD[item.type or "message"]
    if add then add(messages, item) end
  end
  return messages
end

local function with_calls(calls)
  local output = {}
  for index, call in ipairs(calls) do
    output[index] = { type = "function_call", call_id = call.id, name = call.name, arguments = call.arguments }
  end
  return { output = output }
end

local function limited(text, most)
  if json.present(most) == nil or #text <= most * BYTES_PER_TOKEN then return { output = { { text = text } } } end
  return { output = { { text = text:sub(1, most * BYTES_PER_TOKEN), status = "incomplete" } },
    incomplete = "max_output_tokens", usage = { 10, most } }
end

local function answer(items, body)
  local said = told(messages_of(items))
  if said.waits then return { waits = true } end
  if said.err then return { failed = said.err } end
  if said.calls then return with_calls(said.calls) end
  return limited(said.text, body.max_output_tokens)
end

return { answer = answer, poll_after_ms = 1 }
