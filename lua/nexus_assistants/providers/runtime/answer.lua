--- Reads what a model answered: text, calls and usage, checked, as the wire has them.
local copy = require("nexus_assistants.providers.runtime.copy")
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local values = require("nexus_assistants.values")

local answer = {}

--- In bytes; a model that writes on and on mustn't take all memory.
answer.MAX_TEXT = 4 * 1024 * 1024

-- What is kept as the model gave it is nested anew where it is shown.
local MAX_DEPTH = 100

local TOO_LONG = "the model's text is longer than " .. answer.MAX_TEXT .. " bytes"
local NOTHING = "the model returned neither text nor tool calls"
local NOT_UTF8 = "the model's text isn't valid UTF-8"

--- What is wrong with a text that grew to `length` bytes by `piece`, which ends with a whole character; or nil.
function answer.problem_of_text(length, piece)
  if length > answer.MAX_TEXT then return TOO_LONG end
  if not core.utf8_valid(piece) then return NOT_UTF8 end
end

-- The pieces of a text: it may be one already, or a list of them.
local function pieces_of(text)
  if text == nil or type(text) == "string" then return { text } end
  if type(text) ~= "table" then return nil, "the model's text is a " .. type(text) end
  local pieces = {}
  for index, piece in ipairs(text) do
    if type(piece) ~= "string" then return nil, "a piece of the model's text is a " .. type(piece) end
    pieces[index] = piece
  end
  return pieces
end

local function encode_arguments(arguments)
  if arguments == nil then return "{}" end
  if type(arguments) == "table" then return json.encode(arguments) end
  if type(arguments) == "string" then return arguments end
  return nil, "is a " .. type(arguments)
end

-- One call as the wire has it; nil and what is wrong with it.
local function wire_call(call, new_id)
  if type(call) ~= "table" or type(call.name) ~= "string" or call.name == "" then
    return nil, "a tool call must be a table with a name"
  end
  local arguments, problem = encode_arguments(call.arguments)
  if not arguments then return nil, "the arguments of a tool call: " .. tostring(problem) end
  local id = call.id or new_id("call_")
  if type(id) ~= "string" then return nil, "the id of a tool call is a " .. type(id) end
  for _, text in ipairs({ id, call.name, arguments }) do
    if not core.utf8_valid(text) then return nil, "a tool call isn't valid UTF-8" end
  end
  return {
    id = id, type = "function",
    ["function"] = { name = call.name, arguments = arguments },
  }
end

local function wire_calls(calls, new_id)
  local result, known = json.array(), {}
  if calls == nil then return result end
  if type(calls) ~= "table" then return nil, "the model's tool calls are a " .. type(calls) end
  for index, call in ipairs(calls) do
    local wired, problem = wire_call(call, new_id)
    if not wired then return nil, problem end
    if known[wired.id] then return nil, "two tool calls have the id " .. wired.id end
    known[wired.id], result[index] = true, wired
  end
  return result
end

local function is_count(value)
  return type(value) == "number" and value >= 0 and value % 1 == 0
end

local COUNTS = { "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens" }

-- The counts that are some; nil where the model doesn't say what it used.
local function usage_of(reported)
  if type(reported) ~= "table" then return nil end
  if not (is_count(reported.prompt_tokens) and is_count(reported.completion_tokens)) then return nil end
  local counts = {}
  for _, name in ipairs(COUNTS) do counts[name] = is_count(reported[name]) and reported[name] or 0 end
  return counts
end

local INCOMPLETE = { max_completion_tokens = true, content_filter = true }

local function is_objects(value)
  return values.is_list(value) and #values.tables(value) == #value
end

-- What is wrong with what is kept as it was given, or nil: one object that can't be written spoils all lists it is in.
local function problem_of_given(given)
  for _, name in ipairs({ "annotations", "hosted", "items" }) do
    local value = given[name]
    if value ~= nil and name ~= "items" and not is_objects(value) then
      return "the model's " .. name .. " are no list of objects"
    end
    local fits, problem = pcall(copy, value, MAX_DEPTH)
    if fits then fits, problem = json.encode(value == nil and json.null or value) end
    if not fits then return "the model's " .. name .. ": " .. problem end
  end
end

--- Reads what `think` returned. `written` is what the model has yielded of its text, `held` the beginning of a
-- character behind it.
-- Returns a table of
--   text, pieces, is_whole   the whole text, or nil; the pieces of it that are still to be written; whether they are
--                            one text that was given as such
--   annotations              of the text, or nil
--   calls, items             the functions to be called, and what is kept with them for the model
--   hosted                   the calls that were answered already, as a step has them
--   usage                    what the model reports, or nil
--   incomplete               why the answer isn't whole, or nil
-- or nil and what is wrong.
function answer.read(given, new_id, written, held)
  if type(given) ~= "table" then return nil, "the model returned a " .. type(given) end
  local pieces, problem = pieces_of(given.text)
  if not pieces then return nil, problem end
  local rest = table.concat(pieces)
  local begun = written ~= "" or held ~= "" or pieces[1] ~= nil
  problem = answer.problem_of_text(#written + #held + #rest, held .. rest)
  if problem then return nil, problem end
  local calls
  calls, problem = wire_calls(given.tool_calls, new_id)
  if not calls then return nil, problem end
  problem = problem_of_given(given)
  if problem then return nil, problem end
  local hosted = json.array(given.hosted or {})
  local incomplete = INCOMPLETE[given.incomplete] and given.incomplete or nil
  if not (begun or calls[1] or hosted[1] or incomplete) then return nil, NOTHING end
  return {
    text = begun and written .. held .. rest or nil, pieces = pieces, is_whole = type(given.text) == "string",
    annotations = given.annotations, calls = calls, items = given.items, hosted = hosted,
    usage = usage_of(given.usage), incomplete = incomplete,
  }
end

return answer
