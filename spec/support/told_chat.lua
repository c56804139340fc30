-- A chat-completions endpoint (chat_server.lua) whose model does what the question tells it to (told_model.lua).
local json = require("nexus_assistants.json")
local servers = require("spec.support.server")
local told = require("spec.support.told_answer").new(dofile(servers.root .. "spec/support/told_model.lua"))

local BYTES_PER_TOKEN = 4

local function calls_of(message)
  local calls
  for index, call in ipairs(json.present(message.tool_calls) or {}) do
    calls = calls or {}
    calls[index] = { id = call.id, name = call["function"].name, arguments = call["function"].arguments }
  end
  return calls
end

local function messages_of(body)
  local messages = {}
  for index, message in ipairs(body.messages) do
    messages[index] = { role = message.role, content = json.present(message.content) or "",
      tool_calls = calls_of(message) }
  end
  return messages
end

local function failure(err)
  local status = err.code == "rate_limit_exceeded" and 429 or 500
  local told_error = { message = err.message, type = "server_error", param = json.null, code = err.code }
  return { status = status, json = { error = told_error } }
end

local function limited(text, most)
  if not most or #text <= most * BYTES_PER_TOKEN then return { text = text } end
  return { text = text:sub(1, most * BYTES_PER_TOKEN), finish = "length", usage = { 9, most } }
end

local function answer(body)
  local said = told(messages_of(body))
  if said.waits then return { stream = "", stays_open = true } end
  if said.err then return failure(said.err) end
  if said.calls then
    local calls = {}
    for index, call in ipairs(said.calls) do calls[index] = { call.id, call.name, call.arguments } end
    return { calls = calls }
  end
  return limited(said.text, body.max_completion_tokens or body.max_tokens)
end

return { dialect = "openai", answer = answer }
