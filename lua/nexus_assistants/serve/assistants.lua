--- The Assistants protocol over HTTP: requests to operations of a runtime, results and errors back to envelopes.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local event_stream = require("nexus_assistants.serve.event_stream")
local json = require("nexus_assistants.json")
local multipart = require("nexus_assistants.serve.multipart")
local operations = require("nexus_assistants.operations")

local assistants = {}
local assistants_methods = {}
local assistants_mt = { __index = assistants_methods }

--- `runtime` performs; `prefix` is what comes before an operation's path, e.g. "/v1"; `new_id(prefix)` names requests;
-- `accepts(key)` says whether a key is right, where not any is.
function assistants.new(runtime, prefix, new_id, accepts)
  return setmetatable({ runtime = runtime, prefix = prefix, new_id = new_id, accepts = accepts }, assistants_mt)
end

local function invalid(status, text, extra)
  local fields = { kind = errors.kind_of_status(status), status = status, message = text }
  for name, value in pairs(extra or {}) do
    fields[name] = value
  end
  return nil, errors.new(fields)
end

-- Some clients send the key in the header of Azure's.
local function key_of(request)
  local key = (request.headers.authorization or ""):match("^[Bb]earer +(%S+)%s*$") or request.headers["api-key"]
  return key ~= "" and key or nil
end

local function parse_body(request)
  if request.body == "" then return {} end
  local body = core.utf8_valid(request.body) and json.decode(request.body)
  if not body then
    return invalid(400, "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
      .. "your HTTP library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)")
  end
  if type(body) ~= "table" or json.is_array(body) then
    return invalid(400, "Invalid type for the request body: expected an object.")
  end
  return body
end

-- Never from JSON: in a form that isn't one, a file could be named that is this machine's.
local function parse_form(request, operation)
  local boundary = multipart.boundary(request.headers["content-type"])
  if not boundary then
    return invalid(400, "Invalid Content-Type: this takes multipart/form-data with a boundary.")
  end
  local parts, problem = multipart.parse(request.body, boundary)
  local form
  if parts then form, problem = multipart.form(parts, operation.file_field) end
  if not form then return invalid(400, "We could not parse the form of your request: " .. problem .. ".") end
  return form
end

local METHODS = { "GET", "POST", "DELETE" }

-- Only what the runtime performs is there.
local function match(method, path)
  local operation, parameters = operations.match(method, path)
  if operation and not operation.direct then return operation, parameters end
end

local function find_operation(self, request)
  local method = request.method == "HEAD" and "GET" or request.method
  local path = request.path:sub(#self.prefix + 1)
  local operation, parameters = match(method, path)
  if operation then return operation, parameters end
  local place = "(" .. request.method .. " " .. request.path .. ")"
  for _, other in ipairs(METHODS) do
    if match(other, path) then return invalid(405, "Invalid method for URL " .. place) end
  end
  return invalid(404, "Invalid URL " .. place)
end

local function perform_here(self, operation, params)
  if operation.streams and params.body.stream == true then return self.runtime:open(operation, params) end
  return self.runtime:perform(operation, params)
end

-- What an API is asked for is waited for: in a task of the scheduler's, while the connection waits for its end. What is
-- raised there is raised where the request is answered.
local function perform_in_task(self, connection, operation, params)
  local scheduler, done, ok, result, err, on_news = self.runtime.scheduler, false, nil, nil, nil, nil
  local task = scheduler:spawn(function()
    ok, result, err = scheduler:protected(perform_here, self, operation, params)
    done = true
    if on_news then on_news() end
  end)
  local function listen(listener) on_news = listener end
  while not done and connection:wait_for_news(listen) do end -- luacheck: ignore 542
  if not done then
    task:cancel()
    return invalid(408, "The connection was closed.")
  end
  if not ok then error(result, 0) end
  return result, err
end

local function perform(self, request, connection)
  local operation, path = find_operation(self, request)
  if not operation then return nil, path end
  local body, err = (operation.payload == "multipart" and parse_form or parse_body)(request, operation)
  if not body then return nil, err end
  local params = { path = path, query = request.fields, body = body }
  if self.runtime.api then return perform_in_task(self, connection, operation, params) end
  return perform_here(self, operation, params)
end

-- Texts of errors quote what the request said, which may be any bytes.
local function envelope(err)
  local result = errors.envelope(err)
  local inner = result.error
  for name, value in pairs(inner) do
    if type(value) == "string" and not core.utf8_valid(value) then inner[name] = value:gsub("[\128-\255]", "?") end
  end
  return result
end

-- The result is a source where a stream was asked for.
local function respond(self, result, err)
  local response = { headers = { ["x-request-id"] = self.new_id("req_"), ["openai-version"] = "2020-10-01" } }
  response.status = result and 200 or errors.status(err)
  if type(result) == "string" then
    response.body, response.content_type = result, "application/octet-stream"
    return response
  end
  if result and result.take then
    response.content_type, response.pieces = event_stream.CONTENT_TYPE, event_stream.pieces(result)
    response.abandon = function() result:close() end
    response.headers["Cache-Control"] = "no-cache"
    return response
  end
  local told = result or envelope(err)
  if not result then response.reason = told.error.message end
  response.body = assert(json.encode(told))
  return response
end

--- The answer where the request's head has no key, or a wrong one; nil where it has one that will do.
function assistants_methods:refusal(request)
  local key = key_of(request)
  if not key then
    return respond(self, invalid(401, "You didn't provide an API key. You need to provide your API key in an "
      .. "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).", { code = json.null }))
  end
  if not self.accepts or self.accepts(key) then return nil end
  return respond(self, invalid(401, "Incorrect API key provided.", { code = "invalid_api_key" }))
end

--- Answers a request whose path begins with the prefix. The request has `method`, `path`, `headers`, `body` and
-- `fields` (of the query); the connection is what waits where an API must be asked.
function assistants_methods:handle(request, connection)
  return self:refusal(request) or respond(self, perform(self, request, connection))
end

return assistants
