--- What servers of chat completions answer, in the shapes that each of them gives it: plain and as a stream.
--
--   shapes.answer(dialect, body, what)   → what chat_server.lua takes as an answer to a request with this body
-- `what`: `{text =, thoughts =, calls = {{id, name, arguments}}, finish =, usage = {prompt, completion, cached,
-- reasoning}}`; `finish` and `usage` have defaults.
local json = require("nexus_assistants.json")
local texts = require("nexus_assistants.text")

local shapes = {}

-- thoughts     the member that thoughts have, or "inline"
-- first        members of the first delta
-- calls        how calls are streamed: "pieces" as OpenAI does, "whole", or "renamed" (a new id with each piece)
-- usage        where a stream tells what was used: "asked" for, in an event of its own; or at the "end", unasked
-- object       members of each object; choice: of each choice
-- before       what comes before the first event
local SHAPES = {
  openai = { first = { role = "assistant", content = "", refusal = json.null }, calls = "pieces", usage = "asked",
    object = { service_tier = "default", system_fingerprint = "fp_44709d6fcb" }, choice = { logprobs = json.null } },
  azure = { first = { role = "assistant", content = "", refusal = json.null }, calls = "pieces", usage = "asked",
    object = { system_fingerprint = "fp_b705f0c291" },
    choice = { content_filter_results = { hate = { filtered = false, severity = "safe" } } },
    before = 'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":'
      .. '[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}\n\n' },
  openrouter = { first = { role = "assistant", content = "" }, calls = "pieces", usage = "asked",
    thoughts = "reasoning", object = { provider = "Somebody" }, choice = { native_finish_reason = json.null },
    before = ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n" },
  ollama = { first = { role = "assistant", content = "" }, calls = "whole", usage = "asked", thoughts = "reasoning",
    object = { system_fingerprint = "fp_ollama" }, choice = {} },
  ["llama.cpp"] = { first = { role = "assistant", content = json.null }, calls = "pieces", usage = "asked",
    thoughts = "reasoning_content", object = { system_fingerprint = "b6497-cd08fc3e" }, choice = {} },
  vllm = { first = { role = "assistant", content = "" }, calls = "renamed", usage = "asked",
    thoughts = "reasoning_content", object = {}, choice = { logprobs = json.null, stop_reason = json.null } },
  ["openai-compatible"] = { first = { role = "assistant" }, calls = "pieces", usage = "end", thoughts = "inline",
    object = {}, choice = {} },
}

local function with(first, second)
  local result = {}
  for name, value in pairs(first) do result[name] = value end
  for name, value in pairs(second) do result[name] = value end
  return result
end

local function usage_of(what)
  local used = what.usage or { 9, 12, 3, 2 }
  return {
    prompt_tokens = used[1], completion_tokens = used[2], total_tokens = used[1] + used[2],
    prompt_tokens_details = { cached_tokens = used[3] or 0 },
    completion_tokens_details = { reasoning_tokens = used[4] or 0 },
  }
end

local function finish_of(what)
  return what.finish or (what.calls and "tool_calls" or "stop")
end

local function text_of(shape, what)
  if what.thoughts and shape.thoughts == "inline" then
    return "<think>\n" .. what.thoughts .. "\n</think>\n\n" .. (what.text or "")
  end
  return what.text
end

local function object_of(shape, kind, body, members)
  return with(with({ id = "chatcmpl-1", object = kind, created = 1757000000, model = body.model or "m" },
    shape.object), members)
end

-- -------------------------------------------------------------------------------------------------------------- plain

local function whole_calls(calls)
  local result = json.array()
  for index, call in ipairs(calls) do
    result[index] = { id = call[1], type = "function", ["function"] = { name = call[2], arguments = call[3] } }
  end
  return result
end

local function whole(shape, body, what)
  local message = { role = "assistant", content = text_of(shape, what) or json.null }
  if what.thoughts and shape.thoughts ~= "inline" then message[shape.thoughts or "reasoning"] = what.thoughts end
  if what.calls then message.tool_calls = whole_calls(what.calls) end
  local choice = with({ index = 0, message = message, finish_reason = finish_of(what) }, shape.choice)
  return object_of(shape, "chat.completion", body, { choices = json.array({ choice }), usage = usage_of(what) })
end

-- ------------------------------------------------------------------------------------------------------------ streams

local add_call = {}

function add_call.pieces(add, index, call)
  local begun = { name = call[2], arguments = "" }
  add({ tool_calls = json.array({ { index = index, id = call[1], type = "function", ["function"] = begun } }) })
  for _, piece in ipairs(texts.slices(call[3], 5, 100)) do
    add({ tool_calls = json.array({ { index = index, ["function"] = { arguments = piece } } }) })
  end
end

function add_call.whole(add, index, call)
  add({ role = "assistant", content = "", tool_calls = json.array({
    { index = index, id = call[1], type = "function", ["function"] = { name = call[2], arguments = call[3] } },
  }) })
end

function add_call.renamed(add, index, call)
  local begun = { name = call[2] }
  add({ tool_calls = json.array({ { index = index, id = call[1], type = "function", ["function"] = begun } }) })
  for number, piece in ipairs(texts.slices(call[3], 5, 100)) do
    local id = call[1] .. "-" .. number
    add({ tool_calls = json.array({ { index = index, id = id, ["function"] = { arguments = piece } } }) })
  end
end

local function add_deltas(shape, what, add)
  add(shape.first)
  if what.thoughts and shape.thoughts ~= "inline" then add({ [shape.thoughts or "reasoning"] = what.thoughts }) end
  for _, word in ipairs(texts.words(text_of(shape, what) or "", 100)) do add({ content = word }) end
  for index, call in ipairs(what.calls or {}) do add_call[shape.calls](add, index - 1, call) end
end

local function is_asked(shape, body)
  local options = body.stream_options
  return shape.usage == "asked" and type(options) == "table" and options.include_usage == true
end

-- The objects of a stream, in order.
local function chunks(shape, body, what)
  local list, asked = {}, is_asked(shape, body)
  local function add(delta, finish, usage)
    local choice = with({ index = 0, delta = delta, finish_reason = finish or json.null }, shape.choice)
    list[#list + 1] = object_of(shape, "chat.completion.chunk", body, {
      choices = json.array({ choice }), usage = usage or asked and json.null or nil,
    })
  end
  add_deltas(shape, what, add)
  add({}, finish_of(what), shape.usage == "end" and usage_of(what) or nil)
  if asked then
    local last = { choices = json.array(), usage = usage_of(what) }
    list[#list + 1] = object_of(shape, "chat.completion.chunk", body, last)
  end
  return list
end

--- An event of a stream.
function shapes.event(object)
  return "data: " .. (type(object) == "string" and object or assert(json.encode(object))) .. "\n\n"
end

--- The whole text of a stream.
function shapes.stream(dialect, body, what)
  local shape = assert(SHAPES[dialect], dialect)
  local events = { shape.before or "" }
  for _, object in ipairs(chunks(shape, body, what)) do events[#events + 1] = shapes.event(object) end
  events[#events + 1] = shapes.event("[DONE]")
  return table.concat(events)
end

--- The object of a plain answer.
function shapes.whole(dialect, body, what)
  return whole(assert(SHAPES[dialect], dialect), body, what)
end

--- An answer to a request with this body.
function shapes.answer(dialect, body, what)
  if body.stream then return { stream = shapes.stream(dialect, body, what) } end
  return { json = shapes.whole(dialect, body, what) }
end

return shapes
