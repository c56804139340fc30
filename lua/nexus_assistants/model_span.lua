--- The span of a question to a model that thinks for the runtime: `chat <model>`, below the span of its run.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local trace = require("nexus_assistants.trace")
local values = require("nexus_assistants.values")

local model_span = {}

local methods = {}
local mt = { __index = methods }

-- What belongs to the runtime and not to the question.
local function shown_messages(chat)
  local messages = {}
  for index, entry in ipairs(chat) do
    messages[index] = {
      role = entry.role, content = entry.content, tool_calls = entry.tool_calls, tool_call_id = entry.tool_call_id,
      name = entry.name,
    }
  end
  return messages
end

local function tool_names(run)
  local names = {}
  for _, tool in ipairs(run.tools) do
    names[#names + 1] = tool["function"] and tool["function"].name or tool.type
  end
  return names[1] and names or nil
end

local function open(recorder, parent, run, chat)
  local span = trace.no_span()
  if parent and parent.trace and parent.trace.open then
    span = trace.open_below(parent, "chat " .. tostring(run.model), "llm")
  end
  if span:is_recorded() then
    span:input({ messages = shown_messages(chat), tools = tool_names(run) })
    span:set("runId", run.id)
    span:set("model", run.model)
  end
  return setmetatable({ recorder = recorder, span = span, parent = parent }, mt)
end

--- What opens the spans of questions in a client whose recorder this is: a function of the span of the run, or nil, the
-- run and the chat, which returns an object with `enter` and `finish`.
function model_span.observer(recorder)
  return function(...) return open(recorder, ...) end
end

--- Has what the model itself does, in the coroutine that runs, traced below the span.
function methods:enter()
  self.recorder:enter(self.span)
end

-- What is wrong with an answer is said by who takes it: here nothing may fail.
local function joined(pieces)
  local texts = {}
  for index, piece in ipairs(pieces) do texts[index] = errors.shown(piece) end
  return table.concat(texts)
end

local function text_of(answer, told)
  local text = answer.text
  if type(text) == "table" then text = joined(text) end
  text = told .. (type(text) == "string" and text or "")
  return text ~= "" and text or nil
end

-- With the total, which is what is shown of a span.
local function usage_of(answer)
  local usage = answer.usage
  if type(usage) ~= "table" or usage.total_tokens ~= nil then return usage end
  local prompt, completion = usage.prompt_tokens, usage.completion_tokens
  if type(prompt) ~= "number" or type(completion) ~= "number" then return usage end
  return values.merged(usage, { total_tokens = prompt + completion })
end

local function record_answer(span, answer, told)
  span:outcome({
    text = text_of(answer, told), tool_calls = answer.tool_calls, usage = usage_of(answer), model = answer.model,
    incomplete = answer.incomplete,
  })
  local attempts = answer.attempts
  if type(attempts) == "number" and attempts > 1 then span:set("attempts", attempts) end
end

local function record_error(span, err)
  if type(err) == "table" then span:error(err.message, err.code) else span:error(err) end
end

--- Ends the span: `answer` is what the model said, or nil and `err`; `told` is the text it had told on the way.
function methods:finish(answer, err, told)
  local span = self.span
  if type(answer) == "table" then record_answer(span, answer, told or "") end
  if answer == nil and err ~= nil then record_error(span, err) end
  span:finish()
  if self.parent then self.parent.thought_until = core.wall() end
end

return model_span
