--- A model behind a chat-completions endpoint: OpenAI's, Azure's, OpenRouter's, or a server of one's own (llama.cpp,
-- Ollama, vLLM …). What differs between them is in models/chat/dialects.lua.
local dialects = require("nexus_assistants.models.chat.dialects")
local failure = require("nexus_assistants.models.chat.failure")
local operations = require("nexus_assistants.operations")
local replies = require("nexus_assistants.models.chat.reply")
local request = require("nexus_assistants.models.chat.request")

local chat = {}
local chat_methods = { name = "chat", waits = true }
local chat_mt = { __index = chat_methods, __name = "nexus_assistants.models.chat" }

-- Kinds of errors that only say that the connection is gone.
local BROKEN = { connection = true, timeout = true, protocol = true }

-- At Azure, a path with a deployment says which model it is.
local function deployment(base_url)
  return base_url:match("/deployments/([^/?]+)")
end

--- Makes the model. `options`: `api`, who performs the operations; `model`, for runs that name none; `dialect`, one of
-- `dialects.names`, where the base URL doesn't tell it. The model's `has_files` says whether files are to be had where
-- the endpoint is.
function chat.new(options)
  local base_url = options.api.endpoint:base_url()
  local name = options.dialect or dialects.guess(base_url)
  local dialect = dialects.get(name)
  if not dialect then
    error(("chat.new: unknown dialect '%s', expected one of %s"):format(tostring(name),
      table.concat(dialects.names, ", ")), 2)
  end
  return setmetatable({
    api = options.api, dialect = dialect, model = options.model or deployment(base_url),
    has_files = dialect.has_files == true,
  }, chat_mt)
end

--- What a run wants that this endpoint hasn't: a message and the parameter's name; or nil.
function chat_methods:refusal(run)
  return request.refusal(self, run)
end

local function deadline(self, context)
  return math.min(context.seconds, self.api.defaults.deadline or math.huge)
end

-- Asks for the answer as a whole. Returns whether it was taken, as `reply:take` does, and the number of attempts.
local function fetch(self, operation, params, reply)
  local result, info = self.api:perform(operation, params)
  if not result then return nil, failure.from(info) end
  reply.is_concluded = true
  local taken, err = reply:take(result)
  return taken, taken == nil and err or info.attempts
end

-- What comes of a stream, to its end. A reply that has ended is whole, whatever becomes of the connection then.
local function read(source, reply)
  while true do
    local name, object = source:next()
    if name then
      local taken, err = reply:take(object)
      if not taken then return taken, err end
    elseif name == nil then
      if not object or reply.finish_reason and BROKEN[object.kind] then return true end
      return nil, failure.from(object)
    end
  end
end

local function follow(self, operation, params, reply)
  local source, err = self.api:open(operation, params)
  if not source then return nil, failure.from(err) end
  local taken
  taken, err = read(source, reply)
  reply.is_concluded = source.concluded
  source:close()
  return taken, err
end

local function new_reply(self, operation, context)
  return replies.new({ dialect = self.dialect, endpoint = self.api.endpoint, operation = operation,
    tell = context.streams and context.tell or nil })
end

--- The endpoint's answer to a chat, or nil and an error; nothing at all where nobody wants more.
function chat_methods:think(messages, tools, run, context)
  if context.seconds <= 0 then return nil, failure.answer("there was no time left to ask the model") end
  local body, problem = request.body(self, messages, tools, run, context)
  if not body then return nil, problem end
  local operation = operations["chat.completions.create"]
  local reply = new_reply(self, operation, context)
  local ask = context.streams and follow or fetch
  local taken, info = ask(self, operation, { body = body, options = { deadline = deadline(self, context) } }, reply)
  if not taken then return nil, info end
  local answer, err = reply:answer(reply.is_concluded)
  if answer then answer.attempts = info end
  return answer, err
end

return chat
