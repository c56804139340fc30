--- Traces that a Nexus has.
local core = require("nexus_assistants.core")
local ending = require("nexus_assistants.view.ending")
local errors = require("nexus_assistants.error")
local filter = require("nexus_assistants.view.filter")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local patience = require("nexus_assistants.patience")
local query = require("nexus_assistants.query")

local remote = {}
local methods = {}
local mt = { __index = methods }

local TIMEOUT, DEADLINE, STEP = 10, 30, 1
local PAGE, MOST_LOOKED_AT = 200, 2000
local UNAUTHORIZED, NOT_FOUND = 401, 404
local NO_TRACE = "Trace not found" -- what a Nexus says that has no such trace
-- How Nexus is asked for them.
local STATUSES = { ok = "ok", success = "ok", error = "error", timeout = "error" }

local function advice_on(failure, place)
  if failure.status == UNAUTHORIZED then return ": check NEXUS_API_KEY" end
  local is_elsewhere = failure.status == NOT_FOUND and failure.message ~= NO_TRACE
  return is_elsewhere and ": check " .. place .. ", there is no Nexus" or ""
end

local function told_of(self, failure)
  return self.endpoint:base_url() .. ": " .. failure.message .. advice_on(failure, self.place)
end

local function get(self, path, parameters)
  local call, err = self.engine:call({
    endpoint = self.endpoint, method = "GET", path = path, query = parameters, timeout = TIMEOUT, deadline = DEADLINE,
  })
  if not call then return nil, err.message end
  while not call:done() do
    self.engine:step(math.min(STEP, self.waits()))
  end
  local response
  response, err = call:result()
  if err then return nil, told_of(self, errors.from_call(err, response)) end
  return json.decode(response.body)
end

--- What asks the Nexus at an address; close it. Nil, message where there is no key for it.
function remote.open(base_url)
  local endpoint, err = core.endpoint({ base_url = base_url, key_environment = "NEXUS_API_KEY" })
  local place = base_url == core.environment("NEXUS_BASE_URL") and "NEXUS_BASE_URL" or "the URL"
  if not endpoint then
    return nil, errors.named(err.message, { base_url = place, key_environment = "NEXUS_API_KEY" })
  end
  if not endpoint:has_key() then return nil, "NEXUS_API_KEY is not set" end
  return setmetatable({
    endpoint = endpoint, place = place, engine = assert(core.engine({})),
    waits = patience.new("waiting for", endpoint:base_url()),
  }, mt)
end

--- The trace with an id.
function methods:one(id)
  local trace, problem = get(self, "/api/v1/traces/" .. operations.escape(id))
  return ending.restore(trace), problem
end

--- The id of the newest trace.
function methods:latest()
  local list, problem = get(self, "/api/v1/traces", "limit=1")
  if problem then return nil, problem end
  local newest = type(list) == "table" and list[1]
  if type(newest) ~= "table" or type(newest.id) ~= "string" then return nil, "there is no trace yet" end
  return newest.id
end

-- Adds a page; returns the id to go on after, or nil, and what is wrong.
local function add_page(self, found, parameters)
  local page, problem = get(self, "/api/v1/traces", query.text(parameters))
  if problem then return nil, problem end
  if type(page) ~= "table" then return nil, "this is not a list of traces" end
  for _, trace in ipairs(page) do
    if type(trace) == "table" then found[#found + 1] = ending.restore(trace) end
  end
  local last = #page == parameters.limit and page[#page]
  return type(last) == "table" and last.id or nil
end

--- The traces that are wanted (see filter.apply), without their spans, and how many there are at least; or nil,
-- message.
function methods:list(wanted)
  local since = wanted.since and os.date("!%Y-%m-%dT%H:%M:%S.000Z", math.floor(wanted.since / 1000))
  local found, after = {}, nil
  local traces, count, problem
  repeat
    after, problem = add_page(self, found, {
      limit = PAGE, after = after, status = STATUSES[wanted.status], since = since,
    })
    if problem then return nil, problem end
    traces, count = filter.apply(found, wanted)
  until not after or count >= (wanted.limit or math.huge) or #found >= MOST_LOOKED_AT
  return traces, count
end

--- Closes what is open.
function methods:close()
  self.engine:close()
end

return remote
