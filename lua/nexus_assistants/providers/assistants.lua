--- The provider that speaks the Assistants protocol over HTTP: OpenAI's own (while it lived), Microsoft Foundry's,
-- compatible servers, and `nexus-assistants serve`.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local query = require("nexus_assistants.query")

local assistants = {}

local provider_methods = {}
local provider_mt = { __index = provider_methods, __name = "nexus_assistants.providers.assistants" }

local NO_OPTIONS = {}

local REMOVED = "OpenAI removed the Assistants API on 2026-08-26: api.openai.com no longer answers it. Set"
  .. " openai.base_url or OPENAI_BASE_URL to a server that still speaks the protocol: Microsoft Foundry Agents"
  .. " (classic) until 2027-03-31, a self-hosted one, or `nexus-assistants serve`"

local function is_official(base_url)
  local host = base_url:lower():match("^https?://([^/:]+)")
  return host == "api.openai.com"
end

--- Headers that every request of the protocol carries.
assistants.headers = { ["OpenAI-Beta"] = "assistants=v2" }

--- Makes the provider. `defaults` has timeout, deadline and retries; without them the core's own apply.
function assistants.new(engine, scheduler, endpoint, defaults)
  return setmetatable({
    engine = engine,
    scheduler = scheduler,
    endpoint = endpoint,
    defaults = defaults,
    calls = 0,
    calls_failed = 0,
    official = is_official(endpoint:base_url()),
  }, provider_mt)
end

-- ------------------------------------------------------------------------------------------------------ requests

--- The text of a query, see `query.text`.
assistants.query_text = query.text

-- The body's text is kept with the parameters, so that tracing need not write it again.
local function body_text(operation, params)
  if operation.payload ~= "body" then return nil end
  if params.body == nil then return "{}" end
  local text, problem = json.encode(params.body)
  params.body_json = text
  return text, problem
end

local function invalid(operation, problem)
  return errors.new({ kind = "invalid", message = problem, operation = operation.name })
end

local function build(self, operation, params)
  local path, problem = params.built_path, nil
  if not path then path, problem = operations.build_path(operation, params.path) end
  if not path then return nil, invalid(operation, problem) end
  local body
  body, problem = body_text(operation, params)
  if problem then return nil, invalid(operation, problem) end
  local options, defaults = params.options or NO_OPTIONS, self.defaults
  return {
    endpoint = self.endpoint,
    method = operation.method,
    path = path,
    query = query.text(params.query),
    headers = options.headers,
    body = body,
    timeout = options.timeout or defaults.timeout,
    deadline = options.deadline or defaults.deadline,
    retries = options.retries or defaults.retries,
  }
end

-- ------------------------------------------------------------------------------------------------------- answers

local function explain_removal(err)
  local said = err.message
  err.code, err.message = "assistants_api_removed", REMOVED
  if said and said ~= "" then err.message = REMOVED .. " (the server said: " .. said .. ")" end
  return err
end

local function failure(self, operation, core_err, response)
  self.calls_failed = self.calls_failed + 1
  local err = errors.from_call(core_err, response, operation, self.endpoint)
  local path = operation.path
  local gone = path:find("^/threads") or path:find("^/assistants")
  if self.official and err.status == 404 and gone then return explain_removal(err) end
  return err
end

local function unreadable(operation, response, problem)
  return errors.new({
    kind = "protocol",
    message = "the answer is not what the API promises: " .. problem,
    status = response.status,
    request_id = response.request_id,
    attempts = response.attempts,
    operation = operation.name,
  })
end

-- The core leaves the answers of calls that went well alone. But what they tell of a run's or a step's failure becomes
-- an error's message, and goes on traces.
local function redact_last_error(object, endpoint)
  if type(object) == "table" and type(object.last_error) == "table" then errors.redact(object.last_error, endpoint) end
end

local function redact_failures(result, endpoint)
  redact_last_error(result, endpoint)
  for _, item in ipairs(type(result.data) == "table" and result.data or {}) do redact_last_error(item, endpoint) end
  return result
end

local function read(self, operation, response)
  local result, problem = json.decode(response.body)
  if type(result) == "table" then return redact_failures(result, self.endpoint), response end
  self.calls_failed = self.calls_failed + 1
  return nil, unreadable(operation, response, problem or "not a JSON object")
end

--- Performs an operation. Returns its result and the core's response, or nil and an error.
function provider_methods:perform(operation, params)
  local request, problem = build(self, operation, params)
  if not request then return nil, problem end
  self.calls = self.calls + 1
  local call, refused = self.engine:call(request)
  if not call then return nil, failure(self, operation, refused) end
  local response, core_err = self.scheduler:await(call)
  if core_err then return nil, failure(self, operation, core_err, response) end
  return read(self, operation, response)
end

return assistants
