--- One reply, put together from what comes of it: the pieces of a stream, or the answer as a whole.
local calls = require("nexus_assistants.models.chat.calls")
local errors = require("nexus_assistants.error")
local failure = require("nexus_assistants.models.chat.failure")
local json = require("nexus_assistants.json")
local thoughts = require("nexus_assistants.models.chat.thoughts")
local usage = require("nexus_assistants.models.usage")
local written = require("nexus_assistants.written")

local reply = {}
local reply_methods = {}
local reply_mt = { __index = reply_methods }

local present = json.present

-- Why a reply ended before its end: OpenAI's words, Mistral's, and what gateways let through of Anthropic's.
local INCOMPLETE = {
  length = "max_completion_tokens", model_length = "max_completion_tokens", max_tokens = "max_completion_tokens",
  content_filter = "content_filter",
}
-- OpenRouter, vLLM (both), DeepSeek ("Create Chat Completion"). All others are an end.
local FAILED = { error = true, abort = true, insufficient_system_resource = true }

--- A reply of which nothing is known. `settings`: `dialect`, `endpoint`, `operation`, and `tell(piece)`, which is given
-- the text as it comes, where somebody wants it so.
function reply.new(settings)
  return setmetatable({
    endpoint = settings.endpoint, operation = settings.operation, tell = settings.tell, pieces = {},
    thoughts = settings.dialect.thinks_aloud and thoughts.new() or nil, calls = calls.new(), has_text = false,
    is_whole = false,
  }, reply_mt)
end

-- -------------------------------------------------------------------------------------------------------- what it says

-- Returns false where nobody wants more.
local function say(self, text)
  if text == "" then return true end
  self.has_text = true
  if self.tell then return self.tell(text) end
  self.pieces[#self.pieces + 1] = text
  return true
end

-- What a server sends may be anything.
local function table_of(value)
  return type(value) == "table" and value or {}
end

-- A text, or the parts of one: reasoning may be among them (Mistral).
local function text_of(content)
  if type(content) == "string" then return content end
  local texts = {}
  for _, part in ipairs(table_of(content)) do
    part = table_of(part)
    if part.type == "text" and type(part.text) == "string" then texts[#texts + 1] = part.text end
  end
  return table.concat(texts)
end

local function take_content(self, content)
  local text = text_of(content)
  if self.thoughts and text ~= "" then text = self.thoughts:take(text) end
  return say(self, text)
end

local function take_calls(self, message)
  for position, piece in ipairs(table_of(message.tool_calls)) do
    self.calls:take(table_of(piece), self.is_whole and position - 1 or nil)
  end
  -- what calls were before they were tools
  local legacy = message.function_call
  if type(legacy) == "table" then self.calls:take({ ["function"] = legacy }, "function_call") end
end

local function take_message(self, message)
  take_calls(self, message)
  return take_content(self, message.content) and say(self, text_of(message.refusal))
end

-- -------------------------------------------------------------------------------------------------- what goes with it

local function filled(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- An error may stand beside what an answer has otherwise (OpenRouter, "Errors and Debugging"), or in the choice.
local function error_in(self, object, choice)
  local said = present(object.error)
  if said == nil and choice then said = present(choice.error) end
  if said == nil then return nil end
  return failure.from(errors.from_event({ error = said }, self.operation, self.endpoint))
end

--- Takes a piece of a stream, or a whole answer. Returns true; false where nobody wants more; nil and an error.
function reply_methods:take(object)
  local choice = written.choice(object)
  local problem = error_in(self, object, choice)
  if problem then return nil, problem end
  self.model = filled(object.model) or self.model
  self.usage = usage.read(object.usage, "prompt_tokens", "completion_tokens") or self.usage
  if not choice then return true end
  local piece = present(choice.delta)
  self.is_whole = self.is_whole or piece == nil and present(choice.message) ~= nil
  self.finish_reason = filled(choice.finish_reason) or self.finish_reason
  return take_message(self, table_of(piece or choice.message))
end

-- -------------------------------------------------------------------------------------------------------- what it was

local function problem_of(self, is_concluded)
  local reason = self.finish_reason
  if FAILED[reason] then return ("the endpoint broke the reply off (finish_reason '%s')"):format(reason) end
  if not reason and not is_concluded then return "the stream ended before the reply did" end
end

-- What is said where there is nothing; a reply that was cut short may be empty.
local function emptiness(self, answer)
  if self.has_text or answer.tool_calls[1] or answer.incomplete then return nil end
  return ("the endpoint answered with neither text nor function calls (finish_reason %s)"):format(
    self.finish_reason and "'" .. self.finish_reason .. "'" or "absent")
end

--- The answer, as a model's `think` returns it; or nil and an error. `is_concluded`: the stream said itself that it was
-- at its end. A call in a reply that was cut short may lack some of its arguments, so there are none then.
function reply_methods:answer(is_concluded)
  local problem = problem_of(self, is_concluded or self.is_whole)
  if problem then return nil, failure.answer(problem) end
  if self.thoughts then say(self, self.thoughts:rest()) end
  local incomplete = INCOMPLETE[self.finish_reason]
  local answer = {
    text = self.pieces[1] and table.concat(self.pieces) or nil, tool_calls = incomplete and {} or self.calls:finished(),
    usage = self.usage, incomplete = incomplete, model = self.model,
  }
  problem = emptiness(self, answer)
  if problem then return nil, failure.answer(problem) end
  return answer
end

return reply
