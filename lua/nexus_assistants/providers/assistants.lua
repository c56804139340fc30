--- The provider that speaks the Assistants protocol over HTTP: OpenAI's own (while it lived), Microsoft Foundry's,
-- compatible servers, and `nexus-assistants serve`.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local option_tables = require("nexus_assistants.options")
local query = require("nexus_assistants.query")
local transfers = require("nexus_assistants.transfers")
local values = require("nexus_assistants.values")

local null = json.null

local assistants = {}

local provider_methods = {}
local provider_mt = { __index = provider_methods, __name = "nexus_assistants.providers.assistants" }

local NO_OPTIONS = {}
local TRACEPARENT = "traceparent"
local MOST_STREAMED = 256 * 1024 * 1024 -- bytes of the events of one stream: what they add up to is kept
local EVENTS_A_TURN = 16 -- that a task may take of a stream before others have their turn: many may be there at once
local LINGERING = 0.05 -- seconds that the end of a stream may come after its last event

local REMOVED = "OpenAI removed the Assistants API on 2026-08-26: api.openai.com no longer answers it. Set"
  .. " provider = \"responses\" or NEXUS_ASSISTANTS_PROVIDER=responses to go on there with the same script; or set"
  .. " openai.base_url or OPENAI_BASE_URL to a server that still speaks the protocol: Microsoft Foundry Agents"
  .. " (classic) until 2027-03-31, a self-hosted one, or `nexus-assistants serve`"

local function is_official(base_url)
  local host = base_url:lower():match("^https?://([^/:]+)")
  return host == "api.openai.com"
end

--- Headers that every request of the protocol carries.
assistants.headers = { ["OpenAI-Beta"] = "assistants=v2" }

--- Makes the provider. `defaults` has timeout, deadline and retries; without them the core's own apply. `recorder`,
-- where there is one, knows which trace a request is part of.
function assistants.new(scheduler, endpoint, defaults, recorder)
  return setmetatable({
    recorder = recorder,
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

local function invalid(operation, problem)
  return errors.new({ kind = "invalid", message = problem, operation = operation.name })
end

local function body_text(operation, params)
  if operation.payload ~= "body" then return nil end
  if params.body == nil then return "{}" end
  return json.encode(params.body)
end

--- Whether headers have one that says what a request is part of.
function assistants.names_parent(headers)
  for name in pairs(headers or NO_OPTIONS) do
    if name:lower() == TRACEPARENT then return true end
  end
  return false
end

-- What the caller says itself counts.
local function traced_headers(self, params, headers)
  if assistants.names_parent(headers) then return headers end
  local parent = self.recorder:passed_on(params.span)
  return parent and values.merged(headers, { [TRACEPARENT] = parent }) or headers
end

local function build(self, operation, params)
  local path, problem = params.built_path, nil
  if not path then path, problem = operations.build_path(operation, params.path) end
  if not path then return nil, invalid(operation, problem) end
  local body
  body, problem = body_text(operation, params)
  if problem then return nil, invalid(operation, problem) end
  local options, defaults = params.options or NO_OPTIONS, self.defaults
  local headers, recorder = options.headers, self.recorder
  if recorder and recorder.has_continued then headers = traced_headers(self, params, headers) end
  return {
    endpoint = self.endpoint,
    method = operation.method,
    path = path,
    -- what a call adds to the query wins over what its operation has there
    query = query.text(options.query and values.merged(params.query, options.query) or params.query),
    headers = headers,
    body = body,
    timeout = options.timeout or defaults.timeout,
    deadline = options.deadline or defaults.deadline,
    retries = options.retries or defaults.retries,
    progress = options.on_progress and true or nil,
  }
end

-- ------------------------------------------------------------------------------------------------------- answers

local function explain_removal(err)
  local said = err.message
  err.code, err.message = "assistants_api_removed", REMOVED
  if said and said ~= "" then err.message = REMOVED .. " (the server said: " .. said .. ")" end
  return err
end

local CHECK_ADDRESS = "check openai.base_url or OPENAI_BASE_URL"

-- An API answers in JSON even where it has nothing there.
local function explain_no_api(self, err)
  err.message = ("there is no API at %s (the server said: %s)"):format(self.endpoint:base_url(), err.message)
  err.hint = CHECK_ADDRESS .. ", which as a rule ends in /v1"
  return err
end

-- Who minds the method may have the path, as who says so in a line: a page is of something else than an API.
local UNWANTED_METHOD = { [405] = true, [501] = true }

-- An answer that isn't JSON; or one that says so of a path without ids in it, which is there at every such API.
local function is_nothing_there(operation, err, body)
  if UNWANTED_METHOD[err.status] then return body:find("^%s*<") ~= nil end
  if err.status ~= 404 then return false end
  if body:find("^%s*[^%s{]") then return true end
  return not operation.path_parameters[1] and not json.present(err.code) and err.message:find("^Invalid URL") ~= nil
end

-- How the core begins what it says of an address where nobody answers, or somebody else.
local NOBODY_THERE = { "could not connect to ", "could not resolve host ", "TLS verification failed for ",
  "TLS handshake failed with " }

local function is_nobody_there(err)
  if err.kind ~= "connection" or err.message:find("the proxy", 1, true) then return false end
  for _, beginning in ipairs(NOBODY_THERE) do
    if err.message:sub(1, #beginning) == beginning then return true end
  end
  return false
end

-- What to do about what a server says, or where there is none; nil where that is in the message, or isn't known.
local function hint_on(err)
  if err.status == 401 then return "check openai.api_key or OPENAI_API_KEY" end
  if is_nobody_there(err) then return CHECK_ADDRESS end
  return err.status == 404 and option_tables.hint_on_assistant(err.message) or nil
end

local function failure(self, operation, core_err, response)
  self.calls_failed = self.calls_failed + 1
  local err = errors.from_call(core_err, response, operation, self.endpoint)
  -- where the core has the file among the parts of a form means nothing to a script
  if err.kind == "invalid" then err.message = err.message:gsub("^parts: entry %d+: ", "") end
  local path = operation.path
  local gone = path:find("^/threads") or path:find("^/assistants")
  if self.official and err.status == 404 and gone then return explain_removal(err) end
  err.hint = hint_on(err)
  if response and is_nothing_there(operation, err, response.body) then
    return explain_no_api(self, err)
  end
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

-- Most are nil or null.
local function redact_table(value, endpoint)
  if value ~= nil and value ~= null and type(value) == "table" then errors.redact(value, endpoint) end
end

-- The core leaves the answers of calls that went well alone. But what they tell of the failure of a run, a step or a
-- response becomes an error's message, and goes on traces.
local function redact_last_error(object, endpoint)
  if type(object) ~= "table" then return end
  redact_table(object.last_error, endpoint)
  redact_table(object.error, endpoint)
  local response = object.response
  if response ~= nil and type(response) == "table" then redact_table(response.error, endpoint) end
end

local function redact_failures(result, endpoint)
  redact_last_error(result, endpoint)
  local data = result.data
  if data == nil or type(data) ~= "table" then return result end
  for index = 1, #data do redact_last_error(data[index], endpoint) end
  return result
end

local function is_error(object)
  local problem = object.error
  return problem ~= nil and problem ~= null and object.object == nil or object.type == "error"
end

local function told_error(self, operation, object)
  self.calls_failed = self.calls_failed + 1
  return nil, errors.from_event(object, operation, self.endpoint)
end

-- Gateways tell errors with a good status, too.
local function read(self, operation, response)
  local result, problem = json.decode(response.body)
  if type(result) ~= "table" then
    self.calls_failed = self.calls_failed + 1
    return nil, unreadable(operation, response, problem or "not a JSON object")
  end
  if is_error(result) then return told_error(self, operation, result) end
  return redact_failures(result, self.endpoint), response
end

local function broken_off(self, operation, problem)
  self.calls_failed = self.calls_failed + 1
  local message = "broken off: " .. errors.shown(problem)
  return errors.new({ kind = "cancelled", message = message, operation = operation.name })
end

-- Sends a request and waits for its end; returns the core's response, or nil and an error.
local function exchange(self, operation, request, service)
  self.calls = self.calls + 1
  local call, refused = self.scheduler:call(request)
  if not call then return nil, failure(self, operation, refused) end
  local response, core_err, problem = self.scheduler:await(call, service)
  if problem ~= nil then return nil, broken_off(self, operation, problem) end
  if core_err then return nil, failure(self, operation, core_err, response) end
  return response
end

-- An answer that is a file goes to a sink as it comes; the result is how many bytes there were.
local function download(self, operation, request, sink, on_progress)
  request.stream = "bytes"
  local service = transfers.service(nil, sink, on_progress)
  local response, err = exchange(self, operation, request, service)
  local kept, problem = sink:finish(response ~= nil)
  if not response then return nil, err end
  if not kept then return nil, broken_off(self, operation, problem) end
  return service.taken, response
end

local function perform_download(self, operation, request, options)
  local sink, problem = transfers.sink(options)
  if problem then return nil, invalid(operation, problem) end
  if sink then return download(self, operation, request, sink, options.on_progress) end
  local response, err = exchange(self, operation, request, transfers.service(nil, nil, options.on_progress))
  if not response then return nil, err end
  return response.body, response
end

--- Performs an operation. Returns its result and the core's response, or nil and an error.
function provider_methods:perform(operation, params)
  local request, problem = build(self, operation, params)
  if not request then return nil, problem end
  local options, read_file = params.options or NO_OPTIONS, nil
  if operation.answer == "bytes" then return perform_download(self, operation, request, options) end
  if operation.payload == "multipart" then request.parts, read_file = transfers.parts(operation, params.body) end
  local response, err = exchange(self, operation, request, transfers.service(read_file, nil, options.on_progress))
  if not response then return nil, err end
  return read(self, operation, response)
end

-- -------------------------------------------------------------------------------------------------------- streams

local source_methods = {}
local source_mt = { __index = source_methods, __name = "nexus_assistants.event_source" }

--- Opens an operation whose answer is a stream of events. Returns a source, or nil and an error.
function provider_methods:open(operation, params)
  local request, problem = build(self, operation, params)
  if not request then return nil, problem end
  request.stream = "events"
  self.calls = self.calls + 1
  local call, refused = self.scheduler:call(request)
  if not call then return nil, failure(self, operation, refused) end
  return setmetatable({ provider = self, operation = operation, call = call, taken = 0, count = 0 }, source_mt)
end

local function decoded(self, name, data)
  local object, problem = json.decode(data)
  if type(object) ~= "table" then
    return nil, errors.new({ kind = "protocol", operation = self.operation.name,
      message = "an event is not what the API promises: " .. (problem or "not a JSON object") })
  end
  if name == "error" or is_error(object) then return told_error(self.provider, self.operation, object) end
  redact_last_error(object, self.provider.endpoint)
  return name, object
end

-- A server that doesn't stream answers with the object itself, or with an error.
local function whole_answer(self, response)
  self.finished = true
  if response.body == "" then return nil end
  local object, err = read(self.provider, self.operation, response)
  if not object then return nil, err end
  return tostring(object.object), object
end

local function at_end(self)
  if self.finished then return nil end
  local response, core_err = self.call:result()
  if core_err then return nil, failure(self.provider, self.operation, core_err, response) end
  return whole_answer(self, response)
end

local function too_long(self)
  self.call:cancel()
  return nil, errors.new({ kind = "too_large", operation = self.operation.name,
    message = ("the stream is above %.0f bytes"):format(MOST_STREAMED) })
end

-- Nothing comes after "[DONE]" but the end of the answer; a gateway that keeps it open isn't waited for.
local function finish(self)
  self.finished, self.concluded = true, true
  if not self.call:done() then self.provider.scheduler:wait_for_news(self.call, LINGERING) end
  self.call:cancel()
end

-- Now and then, since it costs.
local function take_turns(self)
  self.count = self.count + 1
  if self.count % EVENTS_A_TURN == 0 then self.provider.scheduler:breathe() end
end

--- The next event: its name and its object. Nil at the end; nil and an error; false where none came within `seconds`.
-- `concluded` is true once the server has said itself that it was the end.
function source_methods:next(seconds)
  local waited = false
  while true do
    local name, data = self.call:event()
    if name then self.taken = self.taken + #data end
    if self.taken > MOST_STREAMED then return too_long(self) end
    if name and data ~= "[DONE]" then
      take_turns(self)
      return decoded(self, name, data)
    end
    if name then return finish(self) end
    if self.call:done() then
      return at_end(self)
    elseif waited then
      return false
    else
      self.provider.scheduler:wait_for_news(self.call, seconds)
      waited = true
    end
  end
end

--- Stops.
function source_methods:close()
  self.finished = true
  self.call:cancel()
end

return assistants
