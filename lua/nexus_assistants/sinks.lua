--- Where traces go: the tracer of a client, with what its options and the environment name.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local operations = require("nexus_assistants.operations")
local option_tables = require("nexus_assistants.options")
local pem_files = require("nexus_assistants.pem_files")
local redaction = require("nexus_assistants.redaction")
local spools = require("nexus_assistants.spool")
local state_folder = require("nexus_assistants.state_folder")
local values_of = require("nexus_assistants.values")

local sinks = {}

local OTLP_ENDPOINT = "http://localhost:4318"
local TRACES_PATH = "/v1/traces"

-- ---------------------------------------------------------------------------------------------------- environment

--- What is behind an address of a receiver of OTLP that names no path.
sinks.TRACES_PATH = TRACES_PATH

local function left_out(variable)
  return "environment variable " .. variable .. " is left out"
end

local function leave_out(variable, problem, warn)
  if warn then warn(left_out(variable) .. ": " .. problem) end
end

-- The variable for traces wins over that for all signals.
local function variable_names(name)
  return { "OTEL_EXPORTER_OTLP_TRACES_" .. name, "OTEL_EXPORTER_OTLP_" .. name }
end

-- Those that are set, by name and text, in an array.
local function variables_of(name)
  local found = {}
  for _, variable in ipairs(variable_names(name)) do
    local text = core.environment(variable)
    if text and text ~= "" then found[#found + 1] = { name = variable, text = text } end
  end
  return found
end

-- What can't be used of them is said and left out: `check(text, variable)` returns the value, or nil and what is wrong.
local function from_environment(name, warn, check)
  for _, variable in ipairs(variables_of(name)) do
    local value, problem = check(variable.text, variable.name)
    if value ~= nil then return value, variable.name end
    leave_out(variable.name, problem, warn)
  end
end

local function misfit(text, expected)
  return nil, ("it can't be '%s', it must be %s"):format(redaction.text(text):sub(1, 40), expected)
end

local function one_of(...)
  local known, expected = {}, table.concat({ ... }, " or ")
  for _, text in ipairs({ ... }) do known[text] = text end
  return function(text)
    if known[text] then return text end
    return misfit(text, expected)
  end
end

local function milliseconds(text)
  local number = tonumber(text)
  if values_of.is_finite(number) and number > 0 then return number / 1000 end
  return misfit(text, "a number of milliseconds")
end

--- Whether the environment says that nothing is to go to a receiver of OTLP's.
function sinks.is_otlp_disabled()
  return (core.environment("OTEL_SDK_DISABLED") or ""):lower() == "true"
end

--- What is called so of the variables for OTLP, as "ENDPOINT" is: the one that is in force. Their texts may be secret,
-- and aren't looked at.
function sinks.otlp_variable(name)
  local names = variable_names(name)
  return core.key_form(names[1], "") ~= "absent" and names[1] or names[2]
end

-- ------------------------------------------------------------------------------------------------------- resource

-- As OTEL_RESOURCE_ATTRIBUTES has them.
local function listed(attributes)
  local pairs_of = {}
  for _, name in ipairs(values_of.sorted_names(attributes)) do
    pairs_of[#pairs_of + 1] = operations.escape(name) .. "=" .. operations.escape(attributes[name])
  end
  return table.concat(pairs_of, ",")
end

-- Whether a text is as the core takes it.
local function is_list(text)
  for entry in text:gmatch("[^,]+") do
    local is_pair = entry:find("^[ \t]*[^ \t=][^=]*=") and not entry:gsub("%%%x%x", ""):find("%%")
    if not is_pair and entry:find("[^ \t]") then return false end
  end
  return true
end

-- All of what is broken is left out, as OpenTelemetry's rules for the variable have it, but not what options give.
local function attributes_of_environment(warn)
  local text = core.environment("OTEL_RESOURCE_ATTRIBUTES") or ""
  if is_list(text) then return text end
  leave_out("OTEL_RESOURCE_ATTRIBUTES", "it must be name=value,…, with %XX for other characters", warn)
  return ""
end

local function resource_attributes(given, warn)
  local environment, own = attributes_of_environment(warn), listed(given or {})
  if environment == "" or own == "" then return environment .. own end
  return environment .. "," .. own
end

-- Nil leaves it to the attributes.
local function service_name(values, given, attributes)
  local named = core.environment("OTEL_SERVICE_NAME")
  if given.service_name then return given.service_name end
  if named and named ~= "" then return named end
  if not ("," .. attributes):find(",%s*service%.name%s*=") then return values.agent_id end
end

-- ---------------------------------------------------------------------------------------------------------- spool

--- Whether there is to be none: in the environment "off", in capitals, too, as people write it.
function sinks.is_spool_off(values)
  return values.spool == false or values.spool ~= nil and values.spool:lower() == "off"
end

--- Where what isn't delivered waits; nil for nowhere.
function sinks.spool_folder(values)
  if sinks.is_spool_off(values) then return nil end
  local folder = values.spool or state_folder.path(spools.NAME)
  return folder and core.absolute_path(folder)
end

local function add_spool(values, sink_options)
  local limits = values.limits
  sink_options.spool = sinks.spool_folder(values)
  sink_options.spool_files, sink_options.spool_bytes = limits.max_spool_files, limits.max_spool_bytes
  sink_options.spool_age = limits.max_spool_age
  return sink_options
end

-- ----------------------------------------------------------------------------------------------------------- OTLP

-- One for traces is used as it is, with path and query.
local function split(url)
  local base, path, rest = url:match("^(%w+://[^/?#]+)([^?#]*)%??(.*)$")
  if not base then return { base_url = url, path = TRACES_PATH } end
  return { base_url = base, path = path == "" and "/" or path, query = rest ~= "" and rest or nil }
end

local function below(url)
  return { base_url = (url:gsub("/+$", "")), path = TRACES_PATH }
end

local TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
local NO_QUERY = "it must not hold a query (" .. TRACES_ENDPOINT .. " may)"

-- What a variable names; or nil and what is wrong with it.
local function named_place(url, variable)
  local is_whole = variable == TRACES_ENDPOINT
  if not is_whole and url:find("?", 1, true) then return nil, NO_QUERY end
  local place = is_whole and split(url) or below(url)
  local endpoint, problem = core.endpoint({ base_url = place.base_url .. place.path, query = place.query })
  if endpoint then return place end
  return nil, errors.named(problem.message, { base_url = "it", query = "it has a query that" })
end

-- Nil where nothing names one. The default is for whoever named none at all: where a name can't be, headers that may be
-- secret are for somebody else.
local function receiver(values, warn)
  local given = values.otlp or {}
  if given.traces_endpoint then return split(given.traces_endpoint) end
  if given.endpoint then return below(given.endpoint) end
  local variable = variables_of("ENDPOINT")[1]
  if not variable then return values.otlp and below(OTLP_ENDPOINT) or nil end
  local place, problem = named_place(variable.text, variable.name)
  if not place then leave_out(variable.name, problem, warn) end
  return place
end

-- The variable with headers for the receiver, as far as they can be sent. They may be secret: only the core reads them.
local function headers_variable(warn)
  for _, variable in ipairs(variable_names("HEADERS")) do
    local endpoint, problem = core.endpoint({ base_url = OTLP_ENDPOINT, headers_environment = variable })
    if endpoint and core.key_form(variable, "") ~= "absent" then return variable end
    if problem then warn(errors.named(problem.message, { headers_environment = left_out(variable) })) end
  end
end

local function otlp_names(given)
  local place = given.traces_endpoint and "otlp.traces_endpoint" or "otlp.endpoint"
  local name = "option '" .. place .. "'"
  return { base_url = name, query = name .. ": the query", headers = "option 'otlp.headers'" }
end

local function otlp_endpoint(given, place, warn)
  local files, endpoint, problem
  files, problem = pem_files.find(given, from_environment, warn)
  if not files then problem = { kind = "invalid", message = problem } end
  if files then
    endpoint, problem = core.endpoint(values_of.merged(files, {
      base_url = place.base_url, query = place.query, headers = given.headers,
      headers_environment = not given.headers and headers_variable(warn) or nil,
    }))
  end
  if not endpoint then return nil, errors.of_configuration(problem, "nexus.new: otlp", otlp_names(given)) end
  return endpoint
end

-- It is wanted where it is asked for, and where the environment names a receiver.
local function is_wanted(values)
  return not sinks.is_otlp_disabled() and values.otlp ~= false and receiver(values) ~= nil
end

--- What the tracer is told of the OpenTelemetry receiver that options or the environment name; nil where there is none.
function sinks.otlp_options(values, warn)
  if sinks.is_otlp_disabled() or values.otlp == false then return nil end
  local given = values.otlp or {}
  local place = receiver(values, warn)
  if not place then return nil end
  local attributes = resource_attributes(given.resource_attributes, warn)
  local endpoint, problem = otlp_endpoint(given, place, warn)
  if not endpoint then return nil, problem end
  local protocol = given.protocol or from_environment("PROTOCOL", warn, one_of("http/protobuf", "http/json"))
  local compression = given.compression or from_environment("COMPRESSION", warn, one_of("gzip", "none"))
  return add_spool(values, {
    endpoint = endpoint, path = place.path, content = given.content, flush_interval = given.flush_interval,
    json = protocol == "http/json", gzip = compression == "gzip",
    timeout = given.timeout or from_environment("TIMEOUT", warn, milliseconds),
    service_name = service_name(values, given, attributes), resource_attributes = attributes,
  })
end

-- ----------------------------------------------------------------------------------------------------------- file

local function file_options(values, warn)
  local given = values.file
  if not given then return nil end
  local is_said = is_wanted(values)
  local attributes = resource_attributes(given.resource_attributes, not is_said and warn or nil)
  return {
    path = core.absolute_path(given.path), max_bytes = given.max_bytes, max_files = given.max_files,
    content = given.content, flush_interval = given.flush_interval,
    resource_attributes = attributes, service_name = service_name(values, given, attributes),
  }
end

-- ------------------------------------------------------------------------------------------------------------ Nexus

local function has_lua_sinks(values)
  return values.sinks ~= nil and values.sinks[1] ~= nil
end

-- Somebody may still believe that traces go somewhere.
local function warn_of_absence(values, warn)
  if values.file or is_wanted(values) or has_lua_sinks(values) then return end
  warn("traces are not delivered: set NEXUS_API_KEY or nexus.api_key, or nexus = false for none")
end

local function has_no_key()
  return core.key_form("NEXUS_API_KEY", "") == "absent"
end

-- What is wrong with an option is an error; with a variable, it is said, and nothing goes to Nexus: nobody is to fail
-- for the sake of traces.
local function nexus_fault(values, problem, warn)
  local given = values.nexus
  local err = errors.of_configuration(problem, "nexus.new: nexus", {
    base_url = option_tables.source("nexus.base_url", "NEXUS_BASE_URL", given.base_url),
    key = "option 'nexus.api_key'", key_environment = "environment variable NEXUS_API_KEY",
  })
  if not err.message:find("^environment variable ") then return err end
  -- nothing would have gone there
  if not given.api_key and has_no_key() then return warn_of_absence(values, warn) end
  warn("traces are not delivered to Nexus: " .. err.message)
end

-- Nil where nothing goes to Nexus.
local function nexus_endpoint(values, warn)
  local given = values.nexus
  if given == false or given.api_key == false then return nil end
  local endpoint, problem = core.endpoint({
    key = given.api_key, key_environment = given.api_key == nil and "NEXUS_API_KEY" or nil, base_url = given.base_url,
  })
  if not endpoint then return nil, nexus_fault(values, problem, warn) end
  if endpoint:has_key() then return endpoint end
  warn_of_absence(values, warn)
end

-- What the core's names for it are in the environment.
local NEXUS_VARIABLES = { base_url = "NEXUS_BASE_URL", key_environment = "NEXUS_API_KEY" }

--- The Nexus that the environment names, for commands; nil where it has no key for one; nil and what is wrong where it
-- can't be.
function sinks.nexus_of_environment(values)
  if has_no_key() then return nil end
  local endpoint, problem = core.endpoint({ base_url = values.nexus.base_url, key_environment = "NEXUS_API_KEY" })
  return endpoint, problem and errors.named(problem.message, NEXUS_VARIABLES)
end

local function nexus_options(values, warn)
  local endpoint, problem = nexus_endpoint(values, warn)
  if not endpoint then return nil, problem end
  local given = values.nexus
  return add_spool(values, {
    endpoint = endpoint, timeout = given.timeout, flush_interval = given.flush_interval,
    max_in_flight = given.max_in_flight,
  })
end

-- ------------------------------------------------------------------------------------------------------------ all

-- In this order; each names what the core's tracer calls it, and the options it was given.
local KINDS = { { "nexus", nexus_options }, { "otlp", sinks.otlp_options }, { "file", file_options } }

local function wanted(values, warn)
  local found = {}
  for _, kind in ipairs(KINDS) do
    local name, options_of = kind[1], kind[2]
    local options, problem = options_of(values, warn)
    if problem then return nil, problem end
    if options then found[#found + 1] = { name = name, options = options } end
    found[name] = options
  end
  if not found[1] and has_lua_sinks(values) then found[1] = { name = "none" } end
  return found
end

local function add(tracer, found)
  for _, sink in ipairs(found) do
    local added, problem = tracer[sink.name](tracer, sink.options)
    if not added then return nil, errors.of_configuration(problem, "nexus.new: " .. sink.name) end
  end
  return tracer
end

local function tracer_options(values)
  local limits = values.limits
  return {
    max_traces = limits.max_traces, max_spans = limits.max_spans, max_bytes = limits.max_bytes,
    max_field_bytes = limits.max_field_bytes, sample = values.sample,
  }
end

local function endpoints_of(found)
  return { nexus = found.nexus and found.nexus.endpoint, otlp = found.otlp and found.otlp.endpoint }
end

local SPOOL_KINDS = {
  { "nexus", "nexus_assistants.spool.to_nexus" }, { "otlp", "nexus_assistants.spool.to_otlp" },
}

--- Makes who delivers from the spool, one for each receiver, in an array. `found` has what the tracer was told of each
-- of them, by name; there is a `tracer` for what it leaves.
function sinks.spools(values, found, tasks, engine, tracer)
  local made, limits = {}, values.limits
  for _, kind in ipairs(SPOOL_KINDS) do
    local known = found[kind[1]]
    if known and known.spool then
      made[#made + 1] = spools.new({
        kind = require(kind[2]), scheduler = tasks, engine = engine, tracer = tracer, endpoint = known.endpoint,
        path = known.path, gzip = known.gzip, folder = known.spool, timeout = known.timeout,
        limits = { files = limits.max_spool_files, bytes = limits.max_spool_bytes, age = limits.max_spool_age },
      })
    end
  end
  return made
end

--- Makes the script's own sinks; nil where there are none. `enter()` has what the running task does not traced.
function sinks.in_lua(values, tasks, warn, enter)
  if not has_lua_sinks(values) then return nil end
  return require("nexus_assistants.lua_sinks").new({
    functions = values.sinks, scheduler = tasks, warn = warn, enter = enter,
    max_spans = values.limits.max_spans, max_bytes = values.limits.max_bytes,
  })
end

-- A hook that fails says nothing about the span.
local function asker(hook, caller)
  if not hook then return nil end
  local copies = require("nexus_assistants.copies")
  return function(copy)
    local ok, result = caller:call("on_span_end", hook, copies.table_of(copy))
    return not (ok and result == false)
  end
end

local function no_taker() end

--- Makes what records copies of spans and traces, for the script's own sinks and its hook; nil where it has neither.
-- `caller`, of hooks.lua, calls the hook.
function sinks.copies(values, own, caller)
  if not own and not values.on_span_end then return nil end
  return require("nexus_assistants.copies").new({
    take = own and function(copy) own:add(copy) end or no_taker, is_wanted = asker(values.on_span_end, caller),
    sample = values.sample, max_field_bytes = values.limits.max_field_bytes,
  })
end

--- Makes the tracer, or nil where traces go nowhere, so that nothing is recorded that nobody will see; nil and an error
-- where something of the options can't be. With it come, without a problem, the endpoints there are, those of `nexus`
-- and `otlp`, and what it was told of each receiver, by name.
function sinks.tracer(engine, values, warn)
  local found, problem = wanted(values, warn)
  if not found or not found[1] then return nil, problem end
  local tracer
  tracer, problem = core.tracer(engine, tracer_options(values))
  if not tracer then return nil, errors.of_configuration(problem, "nexus.new: limits") end
  tracer, problem = add(tracer, found)
  return tracer, problem, tracer and endpoints_of(found), found
end

return sinks
