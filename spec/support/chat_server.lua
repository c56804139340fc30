--- A chat-completions endpoint for specs. In the same process as the client, so that a spec says in a function what is
-- answered and nothing races:
--
--   local endpoint = chat_server.new({ dialect = "openai", answer = function(body, request) return { text = "Hi" } end
--   })
--   endpoint.url                          "http://127.0.0.1:PORT/v1"
--   endpoint:run(client, fn, …)           runs fn as a task of the client's, and the server beside it, to its end
--   endpoint.requests, endpoint.problems  what was asked, oldest first ({body, headers, path, query}); what was wrong
--                                         with it. What is wrong is answered by 400
--   endpoint:close()
--
-- Or as a process of its own, for clients that wait: `chat_server.start(SCRIPT)`, where SCRIPT is a file that returns
-- what `new` takes; it has `url` and `stop()`.
--
-- An answer is what chat_shapes.lua takes as `what`, in the shape of the dialect; or
--   {json =, status =}                    an object
--   {body =, status =, content_type =, headers =}
--   {stream =, piece =, breaks_off =, stays_open =}     a stream's text, in pieces of so many bytes; whether the
--                                         connection ends before the answer does, or neither does
local endpoints = require("spec.support.endpoint")
local json = require("nexus_assistants.json")
local shapes = require("spec.support.chat_shapes")

local chat_server = {}
local endpoint_methods = { run = endpoints.run, close = endpoints.close }
local endpoint_mt = { __index = endpoint_methods }

local SOURCE = debug.getinfo(1, "S").source:match("^@(.*)$")

-- ------------------------------------------------------------------------------------------------- what may be asked

-- OpenRouter's own name beside those of the API.
local EXTRA = { reasoning = true }

local function unknown_name(body)
  local names = endpoints.names_of("CreateChatCompletionRequest")
  for name in pairs(names and body or {}) do
    if not names[name] and not EXTRA[name] then return "unknown parameter: " .. name end
  end
end

local ROLES = { system = true, developer = true, user = true, assistant = true, tool = true }

local function problem_of_content(message)
  local content = message.content
  if type(content) == "string" then return nil end
  if json.is_array(content) then return #content == 0 and "content is an empty array" or nil end
  if message.role == "assistant" and message.tool_calls then return nil end
  return "content is neither a text nor an array"
end

local function problem_of_message(message)
  if type(message) ~= "table" or not ROLES[message.role] then return "no such role" end
  if message.role == "tool" and type(message.tool_call_id) ~= "string" then return "tool_call_id is missing" end
  return problem_of_content(message)
end

local function set_of_ids(calls)
  local ids, count = {}, 0
  for _, call in ipairs(calls) do
    local described = call["function"]
    if type(call.id) ~= "string" or call.type ~= "function" then return nil, "a call without id or type" end
    if type(described.name) ~= "string" or type(described.arguments) ~= "string" then
      return nil, "a call without name or arguments"
    end
    ids[call.id], count = true, count + 1
  end
  return ids, count
end

-- Every message with calls is followed by one message of role "tool" for each of them.
local function problem_of_order(messages)
  local open, count = {}, 0
  for _, message in ipairs(messages) do
    if message.role == "tool" then
      if not open[message.tool_call_id] then return "no call has the tool_call_id " .. message.tool_call_id end
      open[message.tool_call_id], count = nil, count - 1
    elseif count > 0 then
      return "calls are not answered"
    elseif message.tool_calls then
      local ids, more = set_of_ids(message.tool_calls)
      if not ids then return more end
      open, count = ids, more
    end
  end
  return count > 0 and "calls are not answered" or nil
end

local function problem_of_messages(messages)
  if not json.is_array(messages) or #messages == 0 then return "messages are missing" end
  for index, message in ipairs(messages) do
    local problem = problem_of_message(message)
    if problem then return ("messages[%d]: %s"):format(index - 1, problem) end
  end
  return problem_of_order(messages)
end

local function problem_of_tools(body)
  if body.tools == nil then
    return (body.tool_choice or body.parallel_tool_calls ~= nil) and "a choice of tools without tools" or nil
  end
  for _, tool in ipairs(body.tools) do
    if tool.type ~= "function" or type(tool["function"].name) ~= "string" then return "tools: not a function" end
  end
end

--- What is wrong with the body of a request, or nil.
function chat_server.problem(body)
  if type(body) ~= "table" then return "the body is no JSON object" end
  if type(body.model) ~= "string" then return "model is missing" end
  return unknown_name(body) or problem_of_messages(body.messages) or problem_of_tools(body)
end

-- ---------------------------------------------------------------------------------------------------------- answering

local function pieces_of(answer)
  local text, from, size = answer.stream, 1, answer.piece or math.huge
  return function(connection)
    if from > #text then
      if answer.stays_open then connection:wait_for_end() end
      if answer.breaks_off or answer.stays_open then return false end
      return nil
    end
    local piece = text:sub(from, math.min(from + size - 1, #text))
    from = from + #piece
    return piece
  end
end

local function response_of(answer)
  if answer.stream then
    return { status = 200, content_type = "text/event-stream", headers = answer.headers, pieces = pieces_of(answer) }
  end
  local body = answer.json and assert(json.encode(answer.json)) or answer.body or ""
  return { status = answer.status or 200, body = body, content_type = answer.content_type, headers = answer.headers }
end

local function refusal(self, problem)
  self.problems[#self.problems + 1] = problem
  return { status = 400, json = { error = { message = problem, type = "invalid_request_error", param = json.null,
    code = json.null } } }
end

local function is_shaped(answer)
  return answer.stream == nil and answer.json == nil and answer.body == nil
end

local function answer_to(self, request)
  local body = json.decode(request.body)
  local problem = chat_server.problem(body)
  if problem then return refusal(self, problem) end
  local answer = self.answer(body, request)
  return is_shaped(answer) and shapes.answer(self.dialect, body, answer) or answer
end

local function handle(self, request)
  self.requests[#self.requests + 1] = {
    body = json.decode(request.body), headers = request.headers, path = request.path, query = request.query,
  }
  if request.method ~= "POST" or not request.path:find("/chat/completions$") then
    return { status = 404, content_type = "text/plain", body = "404 page not found\n" }
  end
  return response_of(answer_to(self, request))
end

-- -------------------------------------------------------------------------------------------------------------- making

--- Listens. `options`: `answer(body, request)`, and `dialect` ("openai").
function chat_server.new(options)
  local self = setmetatable({
    answer = options.answer, dialect = options.dialect or "openai", requests = {}, problems = {},
  }, endpoint_mt)
  return endpoints.listen(self, handle)
end

--- Starts a process that serves what the file returns.
function chat_server.start(script)
  return endpoints.start(SOURCE, script)
end

endpoints.serve_if_run(SOURCE, chat_server.new)

return chat_server
