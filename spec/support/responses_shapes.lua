--- The objects and events of Responses and Conversations, as they were recorded from the API.
local json = require("nexus_assistants.json")
local text = require("nexus_assistants.text")

local shapes = {}

local NULL = json.null
local MOST_PIECES = 50

--- A list of objects, the newest first, as a page of it is told.
function shapes.page(items, query)
  local data, limit, found = json.array(), tonumber(query.limit) or 20, query.after == nil
  local has_more = false
  for index = #items, 1, -1 do
    local item = query.order == "asc" and items[#items - index + 1] or items[index]
    if found and #data < limit then data[#data + 1] = item elseif found then has_more = true end
    found = found or item.id == query.after
  end
  return { object = "list", data = data, first_id = data[1] and data[1].id or NULL, has_more = has_more,
    last_id = data[1] and data[#data].id or NULL }
end

local function given(value, otherwise)
  if value == nil then return otherwise end
  return value
end

--- A response that was asked for and has not begun.
function shapes.response(id, body, created_at)
  return {
    id = id, object = "response", created_at = created_at, status = body.background and "queued" or "in_progress",
    background = body.background == true, error = NULL, incomplete_details = NULL,
    instructions = given(body.instructions, NULL), max_output_tokens = given(body.max_output_tokens, NULL),
    max_tool_calls = NULL, model = body.model .. "-2025-04-14", output = json.array(),
    parallel_tool_calls = given(body.parallel_tool_calls, true),
    previous_response_id = given(body.previous_response_id, NULL), prompt_cache_key = NULL,
    reasoning = { effort = body.reasoning and body.reasoning.effort or NULL, summary = NULL },
    safety_identifier = NULL, service_tier = "auto", store = given(body.store, true),
    temperature = given(body.temperature, 1), text = { format = body.text and body.text.format or { type = "text" },
    verbosity = "medium" }, tool_choice = given(body.tool_choice, "auto"), tools = given(body.tools, json.array()),
    top_logprobs = 0, top_p = given(body.top_p, 1), truncation = "disabled", usage = NULL, user = NULL,
    metadata = given(body.metadata, {}), conversation = body.conversation and shapes.conversation_of(body) or nil,
  }
end

--- `{ id }` of the conversation a body names.
function shapes.conversation_of(body)
  local conversation = body.conversation
  return type(conversation) == "string" and { id = conversation } or { id = conversation.id }
end

--- What was used: input, output, cached, reasoning.
function shapes.usage(counts)
  local into, out, cached, reasoning = counts[1], counts[2], counts[3] or 0, counts[4] or 0
  return { input_tokens = into, input_tokens_details = { cached_tokens = cached }, output_tokens = out,
    output_tokens_details = { reasoning_tokens = reasoning }, total_tokens = into + out }
end

local function text_part(said)
  return { type = "output_text", annotations = said.annotations or json.array(), logprobs = json.array(),
    text = said.text }
end

local function message(said)
  local content = json.array()
  for index, part in ipairs(said.parts or { said }) do
    content[index] = part.refusal and { type = "refusal", refusal = part.refusal } or text_part(part)
  end
  return { type = "message", status = said.status or "completed", content = content, role = "assistant" }
end

local function call(said)
  return { type = "function_call", status = "completed", arguments = said.arguments, call_id = said.call_id,
    name = said.name }
end

local function reasoning(said)
  return { type = "reasoning", summary = json.array(), encrypted_content = said.encrypted_content }
end

local MAKERS = { message = message, function_call = call, reasoning = reasoning }
local PREFIXES = { message = "msg_", function_call = "fc_", reasoning = "rs_", file_search_call = "fs_",
  code_interpreter_call = "ci_", web_search_call = "ws_" }

--- An item of output, of what the answer's function says of it: `{ text = … }`, `{ type = "function_call", name,
-- arguments }`, or an item as it is.
function shapes.item(said, new_id)
  local kind = said.type or "message"
  local make = MAKERS[kind]
  local item = {}
  for name, value in pairs(make and make(said) or said) do item[name] = value end
  item.id = said.id or new_id(PREFIXES[kind] or "item_")
  if kind == "function_call" then item.call_id = said.call_id or new_id("call_") end
  return item
end

-- --------------------------------------------------------------------------------------------------------- events

local function copy(value, changes)
  local result = {}
  for name, item in pairs(value) do result[name] = item end
  for name, item in pairs(changes) do result[name] = item end
  return result
end

local function add_text(add, place, part)
  local value, kind = part.text or part.refusal, part.type
  local empty = kind == "refusal" and { refusal = "" } or { text = "" }
  add("response.content_part.added", copy(place, { part = copy(part, empty) }))
  for _, piece in ipairs(value == "" and { "" } or text.words(value, MOST_PIECES)) do
    add("response." .. kind .. ".delta", copy(place, { delta = piece, obfuscation = "x" }))
  end
  add("response." .. kind .. ".done", copy(place, { text = kind ~= "refusal" and value or nil,
    refusal = kind == "refusal" and value or nil }))
  add("response.content_part.done", copy(place, { part = part }))
end

local function add_message(add, item, index)
  add("response.output_item.added", { output_index = index, item = copy(item, { status = "in_progress",
    content = json.array() }) })
  for position, part in ipairs(item.content) do
    add_text(add, { item_id = item.id, output_index = index, content_index = position - 1 }, part)
  end
end

local function add_call(add, item, index)
  add("response.output_item.added", { output_index = index, item = copy(item, { status = "in_progress",
    arguments = "" }) })
  for from = 1, #item.arguments, 8 do
    add("response.function_call_arguments.delta", { item_id = item.id, output_index = index,
      delta = item.arguments:sub(from, from + 7), obfuscation = "x" })
  end
  add("response.function_call_arguments.done", { item_id = item.id, output_index = index,
    arguments = item.arguments })
end

local function add_item(add, item, index)
  if item.type == "message" then
    add_message(add, item, index)
  elseif item.type == "function_call" then
    add_call(add, item, index)
  else
    add("response.output_item.added", { output_index = index, item = copy(item, { encrypted_content = "part" }) })
  end
  add("response.output_item.done", { output_index = index, item = item })
end

--- The events of a response: `begun` is how it was, `ended` how it is; where `is_bare`, the last event has it without
-- its items, and the first ones without its status. Each is the text that goes over the wire.
function shapes.events(begun, ended, is_bare)
  local events = {}
  local function add(kind, data)
    local event = copy(data, { type = kind, sequence_number = #events })
    events[#events + 1] = ("event: %s\ndata: %s\n\n"):format(kind, assert(json.encode(event)))
  end
  add("response.created", { response = is_bare and copy(begun, { status = NULL }) or begun })
  add("response.in_progress", { response = copy(begun, { status = is_bare and NULL or "in_progress" }) })
  for index, item in ipairs(ended.output) do add_item(add, item, index - 1) end
  add("response." .. ended.status, { response = is_bare and copy(ended, { output = NULL }) or ended })
  return events
end

return shapes
