--- What the doctor asks servers: whether they can be reached, what they say to the key, and what time it is.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local settings = require("nexus_assistants.cli.doctor.settings")
local sinks = require("nexus_assistants.sinks")
local to_otlp = require("nexus_assistants.spool.to_otlp")

local reach = {}

local check, is_loopback = settings.check, settings.is_loopback

local DEADLINE = 5 -- seconds
local STEP = 0.25
local SKEW = 5 -- seconds
local NO_SUCH_METHOD = 501 -- the server is well, and has no such method
local NOTHING_IN_IT = 400 -- of a receiver that minds a request without spans, or all
-- What has a receiver of OTLP asked again.
local LATER = { [429] = true, [502] = true, [503] = true, [504] = true }
local MOST_READ = 1024 * 1024
local READABLE_UNENCRYPTED = "Use https: the key can be read on the way."

-- ------------------------------------------------------------------------------------------------------- targets

local function api_endpoint(values)
  return core.endpoint({
    base_url = values.openai.base_url, key_environment = "OPENAI_API_KEY",
    headers = values.provider == "assistants" and { ["OpenAI-Beta"] = "assistants=v2" } or nil,
  })
end

-- A list in an object, as OpenAI has it, or the bare list, as some have of models.
local function is_of_api(response)
  return type(json.decode(response.body)) == "table"
end

local function is_assistant(response, id)
  local body = json.decode(response.body)
  return type(body) == "table" and body.id == id
end

local function api_target(values)
  if values.provider == "script" then return nil end
  local is_assistants = values.provider == "assistants"
  local endpoint, err = api_endpoint(values)
  return {
    name = "API", endpoint = endpoint, problem = err and err.message, variable = "OPENAI_API_KEY",
    place = "OPENAI_BASE_URL", path = is_assistants and "/assistants" or "/models",
    query = is_assistants and "limit=1" or nil, is_required = is_assistants,
    hint = "Check OPENAI_BASE_URL, which as a rule ends in /v1.",
    is_right = is_of_api, strange = { "failed", ": that is no answer of an API" },
  }
end

-- The assistant of runs that name none.
local function assistant_target(values, api)
  local id = values.provider == "assistants" and values.assistant_id
  local endpoint = id and api_endpoint(values)
  return endpoint and {
    name = "assistant", endpoint = endpoint, id = id, api = api, path = "/assistants/" .. operations.escape(id),
  }
end

-- A list of traces.
local function is_of_nexus(response)
  return json.is_array(json.decode(response.body))
end

local function nexus_target(values)
  local endpoint, problem = sinks.nexus_of_environment(values)
  if not endpoint and not problem then return nil end
  return {
    name = "Nexus", endpoint = endpoint, problem = problem, variable = "NEXUS_API_KEY",
    place = "NEXUS_BASE_URL", path = "/api/v1/traces", query = "limit=1", is_required = true,
    hint = "Check NEXUS_BASE_URL: there is no Nexus.",
    is_right = is_of_nexus, strange = { "failed", ": that is no answer of a Nexus" },
  }
end

local PARTIAL_SUCCESS = "^\10" -- the only field there is, in protobuf

-- Nothing as a rule, else what became of the spans; who answers in the other form is understood, too.
local function is_of_receiver(response)
  local body = response.body
  if to_otlp.is_page(response) then return false end
  if body:find("^%s*{") then return type(json.decode(body)) == "table" end
  return body == "" or body:find(PARTIAL_SUCCESS) ~= nil
end

-- A receiver only takes what is sent to it: a request without spans, which none of protobuf's bytes are, too.
local function otlp_target(otlp)
  if not otlp then return nil end
  local hint, place = "Check %s and %s: nobody takes %s at %s.", sinks.otlp_variable("ENDPOINT")
  return {
    name = "OTLP", endpoint = otlp.endpoint, variable = sinks.otlp_variable("HEADERS"),
    place = place, path = otlp.path, is_required = true, takes_only = true,
    method = "POST", body = otlp.json and '{"resourceSpans":[]}' or "",
    content_type = otlp.json and "application/json" or "application/x-protobuf",
    hint = hint:format(place, sinks.otlp_variable("PROTOCOL"), otlp.json and "http/json" or "http/protobuf", otlp.path),
    is_right = is_of_receiver, strange = { "warning", ": that is no answer of a receiver of OTLP's" },
  }
end

-- -------------------------------------------------------------------------------------------------------- asking

local function start(engine, target, seconds)
  if not target.endpoint then return end
  local err
  target.started = core.monotonic()
  target.call, err = engine:call({
    endpoint = target.endpoint, method = target.method or "GET", path = target.path, query = target.query,
    body = target.body, content_type = target.content_type, timeout = seconds, deadline = seconds, retries = 0,
    max_response = MOST_READ,
  })
  if err then target.problem = err.message end
end

local function note_end(target)
  if not target.call or target.elapsed or not target.call:done() then return end
  target.elapsed, target.wall = core.monotonic() - target.started, core.wall()
  target.response, target.failure = target.call:result()
end

local function is_waiting(targets)
  local waits = false
  for _, target in ipairs(targets) do
    note_end(target)
    waits = waits or target.call ~= nil and not target.elapsed
  end
  return waits
end

-- Steps wait for nothing while there is something to be told.
local function drop_events(engine)
  while engine:next() do end -- luacheck: ignore 542
end

-- All at once: none takes longer than the deadline, nor do all.
local function ask(targets, seconds)
  local engine = assert(core.engine({}))
  for _, target in ipairs(targets) do start(engine, target, seconds) end
  while is_waiting(targets) do
    engine:step(STEP)
    drop_events(engine)
  end
  engine:close()
end

-- ------------------------------------------------------------------------------------------------------ verdicts

local PROXY = "Check http_proxy, https_proxy and all_proxy; no_proxy names hosts that are reached without one."
-- What a message holds, and what to do then; of OTLP, where that is something else there.
local UNREACHED = {
  { "alert certificate required", "It asks for a client's certificate, which only OpenTelemetry receivers are told: "
    .. "go by way of a gateway that has one.",
    OTLP = "It wants to know who this is: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and "
    .. "OTEL_EXPORTER_OTLP_CLIENT_KEY." },
  { "the client certificate or its key", "Check the PEM files that OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and "
    .. "OTEL_EXPORTER_OTLP_CLIENT_KEY name: they go together, and the key has no pass phrase." },
  { "the proxy", PROXY },
  { "could not resolve", "Check the name in %s, and this machine's DNS." },
  { "TLS verification failed", "Update this machine's certificates (ca-certificates); or somebody else answers." },
  { "TLS handshake failed", "Check whether %s should begin with http or https, and with which port." },
  { "could not connect", "Check that it runs, the address in %s, and what is between: a firewall, a proxy." },
}
local NO_ANSWER = "Check %s, and what is between: a firewall, a proxy."

local function unreached(target)
  local message = target.failure.message
  if target.failure.kind == "timeout" then message = "no answer in time" end
  local advice = NO_ANSWER
  for _, known in ipairs(UNREACHED) do
    if message:find(known[1], 1, true) then advice = known[target.name] or known[2] break end
  end
  return check(target.name, "failed", target.endpoint:base_url() .. ": " .. message, advice:format(target.place))
end

local function is_secure(target)
  return target.endpoint:base_url():lower():find("^https:") ~= nil
end

local function said(target)
  local text = "%s answers %d in %.0f ms%s"
  return text:format(target.endpoint:base_url(), target.response.status, target.elapsed * 1000,
    is_secure(target) and ", TLS verified" or "")
end

local function of_answer(target)
  if is_secure(target) or is_loopback(target.endpoint:base_url()) then return check(target.name, "ok", said(target)) end
  return check(target.name, "warning", said(target), READABLE_UNENCRYPTED)
end

local function refused(target)
  if not target.endpoint:has_key() and not target.takes_only then return of_answer(target) end
  return check(target.name, "failed", said(target) .. ": it refuses the key",
    ("Check %s: is it for this server, and still valid?"):format(target.variable))
end

local function not_there(target)
  return check(target.name, target.is_required and "failed" or "warning", said(target), target.hint)
end

local function nothing_taken(target)
  return check(target.name, "warning", said(target) .. ": it minds a request without spans, or any",
    "See whether spans arrive there: those that it answers so are lost.")
end

-- A receiver of OTLP isn't asked again but by what says so.
local function in_trouble(target)
  local is_final = target.takes_only and not LATER[target.response.status]
  return check(target.name, "warning", said(target) .. ": it is in trouble", is_final
    and "Look into it: spans that are answered so are lost, those of 429, 502, 503 and 504 are sent again."
    or "Try later.")
end

-- What is answered well, but by something else; nil where it is what it should be, or too much to tell.
local function strange_answer(target)
  if not target.is_right or target.failure or target.is_right(target.response) then return nil end
  return check(target.name, target.strange[1], said(target) .. target.strange[2], target.hint)
end

local function reached(target)
  local status = target.response.status
  if status == 401 or status == 403 then return refused(target) end
  if target.takes_only and status == NOTHING_IN_IT then return nothing_taken(target) end
  if status >= 300 and status < 400 then
    return check(target.name, "failed", said(target) .. ": redirects are not followed", target.hint)
  end
  if status == 429 then return check(target.name, "warning", said(target) .. ": the limit is reached", "Wait.") end
  if status >= 500 and status ~= NO_SUCH_METHOD then return in_trouble(target) end
  if status >= 400 then return not_there(target) end
  return strange_answer(target) or of_answer(target)
end

local function status_of(target)
  return target.response and target.response.status or 0
end

-- Nil where nothing was answered to that question, or not by that API: what is said of the API tells why.
local function assistant_verdict(target)
  local status, id = status_of(target), settings.shown(target.id)
  if status == 0 or status == 401 or status_of(target.api) == 404 then return nil end
  if status < 300 then
    -- what is no assistant is no API's, which is told
    return is_assistant(target.response, target.id) and check(target.name, "ok", id .. " is there") or nil
  end
  local message = ("%s: %s answers %d"):format(id, target.endpoint:base_url(), status)
  if status == 404 then
    return check(target.name, "failed", message .. ": there is no such assistant",
      "Check ASSISTANT_ID, or unset it where scripts name their own.")
  end
  if status == 429 or status >= 500 then return check(target.name, "warning", message, "Try later.") end
  return check(target.name, "failed", message, "Check ASSISTANT_ID.")
end

local function verdict(target)
  if target.id then return assistant_verdict(target) end
  if target.problem then
    local problem = errors.named(target.problem, { base_url = target.place, key_environment = target.variable })
    return check(target.name, "failed", "can't be asked: " .. problem,
      ("Correct %s or %s."):format(target.place, target.variable))
  end
  if target.response.status == 0 then return unreached(target) end
  return reached(target)
end

-- --------------------------------------------------------------------------------------------------------- clock

-- How far this clock is ahead of the server's, which tells whole seconds; nil where it tells none.
local function skew_of(target)
  local date = target.response and target.response.date and core.http_date(target.response.date)
  return date and target.wall - target.elapsed / 2 - (date + 0.5)
end

--- Compares clocks by what asked servers told (`response.date`, `wall`, `elapsed`); nil where nobody told the time.
function reach.clock(targets)
  local largest
  for _, target in ipairs(targets) do
    local skew = skew_of(target)
    if skew and math.abs(skew) > math.abs(largest or 0) then largest = skew end
  end
  if not largest then return nil end
  if math.abs(largest) <= SKEW then return check("clock", "ok", "agrees with the servers'") end
  return check("clock", "warning", ("is %.0f s %s"):format(math.abs(largest), largest > 0 and "ahead" or "behind"),
    "Set it (NTP): traces have their times from it.")
end

--- Asks the API and where traces go (`otlp` is what `sinks.otlp_options` has of an OpenTelemetry receiver, or nil).
-- None has more than `seconds` (5). Returns checks.
function reach.checks(values, otlp, seconds)
  local targets, checks, api = {}, {}, api_target(values)
  for _, target in ipairs({ api or false, assistant_target(values, api) or false,
    nexus_target(values) or false, otlp_target(otlp) or false }) do
    if target then targets[#targets + 1] = target end
  end
  ask(targets, seconds or DEADLINE)
  for _, target in ipairs(targets) do checks[#checks + 1] = verdict(target) end
  checks[#checks + 1] = reach.clock(targets)
  return checks
end

return reach
