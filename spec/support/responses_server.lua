--- Responses and Conversations for specs. In the same process as the client, so that a spec says in a function what is
-- answered and nothing races:
--
--   local endpoint = responses_server.new({ answer = function(items, body) return "Hi" end })
--   endpoint.url                          "http://127.0.0.1:PORT/v1"
--   endpoint:run(client, fn, …)           runs fn as a task of the client's, and the server beside it, to its end
--   endpoint.requests                     what was asked, oldest first: {method, path, headers, body, query}
--   endpoint.conversations                by id: {object, items}
--   endpoint.locked                       how many requests yet find their conversation locked
--   endpoint.lost, endpoint.lossy         how many answers yet are lost on the way, of paths that match a pattern
--   endpoint.poll_after_ms                what answers say of when to come again
--   endpoint.forbidden                    a pattern of paths that are answered by 403
--   endpoint:close()
--
-- Or as a process of its own, for clients that wait: `responses_server.start(SCRIPT)`, where SCRIPT is a file that
-- returns what `new` takes; it has `url` and `stop()`.
--
-- `answer` gets all that the model sees (the conversation's items and those of the request), and returns a text, or
--   {output =, usage = {input, output, cached, reasoning}, incomplete = reason, failed = {code, message}}
--                           output: items as responses_shapes.lua takes them
--   {refused = {status, code, message, param}}
--   {waits = true}        nothing comes until the client goes away
-- each with
--   polls                   how many times a response in the background is asked for until it has ended; 2
--   breaks_off              after how many events the stream does
--   stays_open              and whether the connection stays
--   error_event             what comes in place of the last event: {code, message}
--   is_bare                 whether the last event has the response without its items, and the first ones have it
--                           without its status
local endpoints = require("spec.support.endpoint")
local json = require("nexus_assistants.json")
local message = require("nexus_assistants.serve.message")
local shapes = require("spec.support.responses_shapes")

local responses_server = {}
local endpoint_methods = { run = endpoints.run, close = endpoints.close }
local endpoint_mt = { __index = endpoint_methods }

local MOST_ITEMS = 20
local LEAST_TOKENS = 16
local SOURCE = debug.getinfo(1, "S").source:match("^@(.*)$")

local function new_id(self, prefix)
  self.count = self.count + 1
  return prefix .. self.count
end

local function refusal(status, said, param, code)
  return { status = status, json = { error = { message = said, type = "invalid_request_error",
    param = param or json.null, code = code or json.null } } }
end

-- ------------------------------------------------------------------------------------------------- what may be asked

local function problem_of_names(body)
  local names = endpoints.names_of("CreateResponse")
  for name in pairs(names and body or {}) do
    if not names[name] then return refusal(400, "Unknown parameter: '" .. name .. "'.", name, "unknown_parameter") end
  end
end

-- What every item must have, beside its type.
local FIELDS = {
  message = { role = "string", content = "table" },
  function_call = { call_id = "string", name = "string", arguments = "string" },
  function_call_output = { call_id = "string", output = "string" },
  reasoning = { id = "string", summary = "table" },
  file_search_call = { id = "string", queries = "table" },
  code_interpreter_call = { id = "string", container_id = "string" },
  web_search_call = { id = "string" },
}

local function problem_of_item(item, place)
  local fields = FIELDS[item.type or "message"]
  if not fields then return refusal(400, "Invalid value: '" .. tostring(item.type) .. "'.", place) end
  for name, kind in pairs(fields) do
    if type(item[name]) ~= kind then return refusal(400, "Missing required parameter.", place .. "." .. name) end
  end
end

local function problem_of_items(items)
  for index, item in ipairs(items) do
    local problem = problem_of_item(item, ("input[%d]"):format(index - 1))
    if problem then return problem end
  end
end

-- Each call has its output, and each output its call.
local function problem_of_calls(items)
  local open = {}
  for _, item in ipairs(items) do
    if item.type == "function_call" then open[item.call_id] = true end
    if item.type == "function_call_output" then
      if not open[item.call_id] then
        return refusal(400, "No tool call found for function call output with call_id " .. item.call_id .. ".", "input")
      end
      open[item.call_id] = nil
    end
  end
  local id = next(open)
  return id and refusal(400, "No tool output found for function call " .. id .. ".", "input")
end

-- An item that comes back with its id alone must have been stored; and a call that was stored wants its reasoning.
local function problem_of_reasoning(self, items, body)
  for index, item in ipairs(items) do
    if item.type == "reasoning" and not item.encrypted_content and not self.stored[item.id] then
      return refusal(404, ("Item with id '%s' not found. Items are not persisted when `store` is set to false."):format(
        item.id), "input")
    end
    local before = items[index - 1]
    if self.reasoned[item.id or ""] and (before or {}).type ~= "reasoning" then
      return refusal(400, ("Item '%s' of type 'function_call' was provided without its required 'reasoning' item.")
        :format(item.id), "input")
    end
  end
  for _, name in ipairs(body.include or {}) do
    if name == "reasoning.encrypted_content" and body.model:find("^gpt%-4") then
      return refusal(400, "Encrypted content is not supported with this model.", "include")
    end
  end
end

local function problem_of_values(body)
  if type(body.model) ~= "string" then return refusal(400, "Missing required parameter: 'model'.", "model") end
  if body.max_output_tokens and body.max_output_tokens < LEAST_TOKENS then
    return refusal(400, "Invalid 'max_output_tokens': integer below minimum value.", "max_output_tokens",
      "integer_below_min_value")
  end
  if body.background and body.store == false then
    return refusal(400, "Background responses must be stored.", "background")
  end
  for _, tool in ipairs(body.tools or {}) do
    if tool.type == "function" and (not tool.name or tool.strict == nil) then
      return refusal(400, "Missing required parameter: 'tools[0].name'.", "tools")
    end
  end
end

local function not_found(kind, id, param)
  return refusal(404, ("%s with id '%s' not found."):format(kind, id), param)
end

-- The conversation a body names, or nil; and what is wrong with it.
local function conversation_of(self, body)
  if json.present(body.conversation) == nil then return nil end
  local id = shapes.conversation_of(body).id
  local found = self.conversations[id]
  if not found then return nil, not_found("Conversation", id, "conversation") end
  if self.locked > 0 then
    self.locked = self.locked - 1
    return nil, refusal(400, "Another process is currently operating on this conversation.", "conversation",
      "conversation_locked")
  end
  return found
end

-- ---------------------------------------------------------------------------------------------------------- answering

local function input_items(self, body)
  local input = body.input
  if type(input) == "string" then
    input = { { type = "message", role = "user", content = { { type = "input_text", text = input } } } }
  end
  local items = json.array()
  for index, given in ipairs(input or {}) do
    local item = { type = "message", id = new_id(self, "msg_"), status = "completed" }
    for name, value in pairs(given) do item[name] = value end
    items[index] = item
  end
  return items
end

-- All that the model sees, and what of it is new; or nil and the refusal.
local function gather(self, body, conversation)
  local seen, new = json.array(), input_items(self, body)
  local before = conversation and conversation.items or self.seen[body.previous_response_id or ""] or {}
  for _, item in ipairs(before) do seen[#seen + 1] = item end
  for _, item in ipairs(new) do seen[#seen + 1] = item end
  return seen, new
end

local function problem_of(self, body, items)
  return problem_of_names(body) or problem_of_values(body) or problem_of_items(items) or problem_of_calls(items)
    or problem_of_reasoning(self, body.input ~= nil and type(body.input) == "table" and body.input or {}, body)
end

local function outputs_of(self, said)
  local items, reasoned = json.array(), false
  for index, item in ipairs(said.output or {}) do
    items[index] = shapes.item(item, function(prefix) return new_id(self, prefix) end)
    if items[index].type == "function_call" and reasoned then self.reasoned[items[index].id] = true end
    reasoned = reasoned or items[index].type == "reasoning"
  end
  return items
end

-- Ends a response as the answer says.
local function conclude(self, record)
  local response, said = record.response, record.said
  response.status = said.failed and "failed" or said.incomplete and "incomplete" or "completed"
  response.output, response.service_tier = outputs_of(self, said), "default"
  response.usage = shapes.usage(said.usage or { 10, 5 })
  if said.failed then response.error = { code = said.failed.code, message = said.failed.message } end
  if said.incomplete then response.incomplete_details = { reason = said.incomplete } end
  self.seen[response.id] = json.array()
  for _, list in ipairs({ record.items, response.output }) do
    for _, item in ipairs(list) do table.insert(self.seen[response.id], item) end
  end
  for _, list in ipairs({ record.new, response.output }) do
    for _, item in ipairs(list) do
      if record.conversation then table.insert(record.conversation.items, item) end
      if response.store then self.stored[item.id] = true end
    end
  end
end

local function copy(value)
  return assert(json.decode(assert(json.encode(value))))
end

local function stream_of(self, record)
  local begun, said = copy(record.response), record.said
  conclude(self, record)
  local events = shapes.events(begun, record.response, said.is_bare)
  if said.error_event then
    events[#events] = "event: error\ndata: " .. assert(json.encode({ type = "error", code = said.error_event.code,
      message = said.error_event.message, param = json.null, sequence_number = #events - 1 })) .. "\n\n"
  end
  local last, index = said.breaks_off or #events, 0
  return { content_type = "text/event-stream", pieces = function(connection)
    index = index + 1
    if index <= last then return events[index] end
    if said.stays_open then connection:wait_for_end() end
    if said.breaks_off then return false end
  end }
end

local function answer_of(self, items, body)
  local said = self.answer(items, body)
  return type(said) == "string" and { output = { { text = said } } } or said
end

local function silence()
  return { content_type = "application/json", pieces = function(connection)
    connection:wait_for_end()
    return false
  end }
end

local function create_response(self, request)
  local body = request.body
  local conversation, problem = conversation_of(self, body)
  if problem then return problem end
  local items, new = gather(self, body, conversation)
  problem = problem_of(self, body, items)
  if problem then return problem end
  local said = answer_of(self, items, body)
  if said.refused then return refusal(said.refused.status, said.refused.message, said.refused.param,
    said.refused.code) end
  if said.waits then return silence() end
  local response = shapes.response(new_id(self, "resp_"), body, 1758064441)
  local record = { response = response, said = said, new = new, items = items, conversation = conversation,
    polls = said.polls or 2 }
  self.responses[response.id] = record
  if body.stream then return stream_of(self, record) end
  if not body.background then conclude(self, record) end
  return { json = response }
end

-- A response in the background goes on as it is asked for.
local function retrieve_response(self, request)
  local record = self.responses[request.ids[1]]
  if not record or not record.response.store then return not_found("Response", request.ids[1]) end
  local response = record.response
  if response.status == "queued" or response.status == "in_progress" then
    record.polls = record.polls - 1
    response.status = "in_progress"
    if record.polls <= 0 then conclude(self, record) end
  end
  return { json = response }
end

local function cancel_response(self, request)
  local record = self.responses[request.ids[1]]
  if not record then return not_found("Response", request.ids[1]) end
  if not record.response.background then
    return refusal(400, "Only responses with background=true can be cancelled.")
  end
  record.response.status = "cancelled"
  return { json = record.response }
end

local function delete_response(self, request)
  if not self.responses[request.ids[1]] then return not_found("Response", request.ids[1]) end
  self.responses[request.ids[1]] = nil
  return { json = { id = request.ids[1], object = "response.deleted", deleted = true } }
end

local function list_input(self, request)
  local record = self.responses[request.ids[1]]
  return record and { json = shapes.page(record.items, request.query) } or not_found("Response", request.ids[1])
end

-- ------------------------------------------------------------------------------------------------------ conversations

local function add_items(self, conversation, given)
  local added = input_items(self, { input = given })
  for _, item in ipairs(added) do table.insert(conversation.items, item) end
  return added
end

local function too_many(items)
  if #(items or {}) > MOST_ITEMS then
    return refusal(400, "Invalid 'items': array too long. Expected an array with maximum length 20.", "items",
      "array_above_max_length")
  end
  return problem_of_items(items or {})
end

local function create_conversation(self, request)
  local problem = too_many(request.body.items)
  if problem then return problem end
  local object = { id = new_id(self, "conv_"), object = "conversation", created_at = 1782518134,
    metadata = json.present(request.body.metadata) or {} }
  local conversation = { object = object, items = json.array() }
  self.conversations[object.id] = conversation
  add_items(self, conversation, request.body.items or {})
  return { json = object }
end

-- Does something with a conversation that is there.
local function with_conversation(act)
  return function(self, request)
    local conversation, problem = conversation_of(self, { conversation = request.ids[1] })
    if problem then return problem end
    return act(self, request, conversation)
  end
end

local function update_conversation(_, request, conversation)
  conversation.object.metadata = request.body.metadata
  return { json = conversation.object }
end

local function delete_conversation(self, request)
  self.conversations[request.ids[1]] = nil
  return { json = { id = request.ids[1], object = "conversation.deleted", deleted = true } }
end

local function create_items(self, request, conversation)
  local problem = too_many(request.body.items)
  if problem then return problem end
  return { json = shapes.page(add_items(self, conversation, request.body.items), { order = "asc" }) }
end

local function item_at(conversation, id)
  for index, item in ipairs(conversation.items) do
    if item.id == id then return index, item end
  end
end

local function retrieve_item(_, request, conversation)
  local _, item = item_at(conversation, request.ids[2])
  return item and { json = item } or not_found("Item", request.ids[2])
end

local function delete_item(_, request, conversation)
  local index = item_at(conversation, request.ids[2])
  if not index then return not_found("Item", request.ids[2]) end
  table.remove(conversation.items, index)
  return { json = conversation.object }
end

-- ------------------------------------------------------------------------------------------------------------ requests

local ROUTES = {
  { "POST", "/responses", create_response },
  { "GET", "/responses/([^/]+)", retrieve_response },
  { "DELETE", "/responses/([^/]+)", delete_response },
  { "POST", "/responses/([^/]+)/cancel", cancel_response },
  { "GET", "/responses/([^/]+)/input_items", list_input },
  { "POST", "/conversations", create_conversation },
  { "GET", "/conversations/([^/]+)", with_conversation(function(_, _, found) return { json = found.object } end) },
  { "POST", "/conversations/([^/]+)", with_conversation(update_conversation) },
  { "DELETE", "/conversations/([^/]+)", with_conversation(delete_conversation) },
  { "POST", "/conversations/([^/]+)/items", with_conversation(create_items) },
  { "GET", "/conversations/([^/]+)/items", with_conversation(function(_, request, found)
    return { json = shapes.page(found.items, request.query) }
  end) },
  { "GET", "/conversations/([^/]+)/items/([^/]+)", with_conversation(retrieve_item) },
  { "DELETE", "/conversations/([^/]+)/items/([^/]+)", with_conversation(delete_item) },
}

local function route(request)
  for _, entry in ipairs(ROUTES) do
    local ids = { request.path:match("^/v1" .. entry[2] .. "$") }
    if ids[1] and entry[1] == request.method then return entry[3], ids end
  end
end

local function respond(self, answer)
  local headers = { ["x-request-id"] = new_id(self, "req_") }
  if self.poll_after_ms then headers["openai-poll-after-ms"] = tostring(self.poll_after_ms) end
  return { status = answer.status or 200, body = answer.json and assert(json.encode(answer.json)), headers = headers,
    content_type = answer.content_type, pieces = answer.pieces }
end

local function handle(self, received)
  local request = { method = received.method, path = received.path, query = message.parse_query(received.query),
    headers = received.headers, body = received.body ~= "" and json.decode(received.body) or {} }
  self.requests[#self.requests + 1] = request
  local act, ids = route(request)
  if not act then
    return respond(self, refusal(404, ("Invalid URL (%s %s)"):format(request.method, request.path)))
  end
  if self.forbidden and request.path:find(self.forbidden) then return respond(self, refusal(403, "Forbidden.")) end
  request.ids = ids
  local answer = act(self, request)
  if self.lost > 0 and request.path:find(self.lossy) then
    self.lost, answer = self.lost - 1, refusal(504, "No answer in time.")
  end
  return respond(self, answer)
end

-- -------------------------------------------------------------------------------------------------------------- making

--- Listens. `options`: `answer(items, body)`, and `poll_after_ms`.
function responses_server.new(options)
  local self = setmetatable({
    answer = options.answer, poll_after_ms = options.poll_after_ms, requests = {}, responses = {},
    conversations = {}, stored = {}, reasoned = {}, seen = {}, locked = 0, count = 0,
    lost = 0, lossy = "/responses$",
  }, endpoint_mt)
  return endpoints.listen(self, handle)
end

--- The bodies of what was asked of one path, or of paths that match it.
function endpoint_methods:asked(path)
  local bodies = {}
  for _, request in ipairs(self.requests) do
    if request.path:find("^/v1" .. path .. "$") then bodies[#bodies + 1] = request.body end
  end
  return bodies
end

--- Starts a process that serves what the file returns.
function responses_server.start(script)
  return endpoints.start(SOURCE, script)
end

endpoints.serve_if_run(SOURCE, responses_server.new)

return responses_server
