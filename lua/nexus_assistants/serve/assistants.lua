--- The Assistants protocol over HTTP: requests to operations of a runtime, results and errors back to envelopes.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")

local assistants = {}
local assistants_methods = {}
local assistants_mt = { __index = assistants_methods }

--- `runtime` performs; `prefix` is what comes before an operation's path, e.g. "/v1"; `new_id(prefix)` names requests.
function assistants.new(runtime, prefix, new_id)
  return setmetatable({ runtime = runtime, prefix = prefix, new_id = new_id }, assistants_mt)
end

local function invalid(status, text, extra)
  local fields = { kind = errors.kind_of_status(status), status = status, message = text }
  for name, value in pairs(extra or {}) do
    fields[name] = value
  end
  return nil, errors.new(fields)
end

-- Some clients send the key in the header of Azure's.
local function authorized(request)
  local key = (request.headers.authorization or ""):match("^[Bb]earer +(%S+)%s*$") or request.headers["api-key"]
  return key ~= nil and key ~= ""
end

local function parse_body(request)
  if request.body == "" then return {} end
  local body = json.decode(request.body)
  if body == nil then
    return invalid(400, "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
      .. "your HTTP library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)")
  end
  if type(body) ~= "table" or json.is_array(body) then
    return invalid(400, "Invalid type for the request body: expected an object.")
  end
  return body
end

local function perform(self, request)
  if not authorized(request) then
    return invalid(401, "You didn't provide an API key. You need to provide your API key in an Authorization header "
      .. "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).", { code = json.null })
  end
  local method = request.method == "HEAD" and "GET" or request.method
  local operation, path = operations.match(method, request.path:sub(#self.prefix + 1))
  if not operation then
    return invalid(404, "Invalid URL (" .. request.method .. " " .. request.path .. ")")
  end
  local body, err = parse_body(request)
  if not body then return nil, err end
  if body.stream == true then
    return invalid(400, "This server doesn't stream yet: leave `stream` out or set it to false.", { param = "stream" })
  end
  return self.runtime:perform(operation, { path = path, query = request.fields, body = body })
end

--- Answers a request whose path begins with the prefix. The request has `method`, `path`, `headers`, `body` and
-- `fields` (of the query).
function assistants_methods:handle(request)
  local result, err = perform(self, request)
  local response = { headers = { ["x-request-id"] = self.new_id("req_"), ["openai-version"] = "2020-10-01" } }
  response.status = result and 200 or errors.status(err)
  response.body = assert(json.encode(result or errors.envelope(err)))
  return response
end

return assistants
