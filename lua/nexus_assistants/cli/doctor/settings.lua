--- What the doctor looks at without asking anybody: options, keys, the spool, the store, versions.
--
-- A check is a table of name, verdict ("ok", "warning", "failed"), message, and advice, what to do about it.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local options = require("nexus_assistants.options")
local pem_files = require("nexus_assistants.pem_files")
local probe = require("nexus_assistants.cli.doctor.probe")
local providers = require("nexus_assistants.providers")
local redaction = require("nexus_assistants.redaction")
local script_model = require("nexus_assistants.models.script")
local sinks = require("nexus_assistants.sinks")
local state_folder = require("nexus_assistants.state_folder")
local survey = require("nexus_assistants.spool.survey")
local timestamp = require("nexus_assistants.timestamp")

local settings = {}

local DAY = 86400
-- What others know, too: where traces go, and by which way libcurl goes to servers.
local COMMON = { "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", -- in place of the path of its key a key may stand
  "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_TIMEOUT",
  "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
  "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", "OTEL_SDK_DISABLED", "http_proxy", "https_proxy", "HTTPS_PROXY",
  "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY" }

local function check(name, verdict, message, advice)
  return { name = name, verdict = verdict, message = message, advice = advice }
end

-- -------------------------------------------------------------------------------------------------- configuration

local function variables_of(fields, found)
  for _, field in pairs(fields) do
    if field.environment then found[#found + 1] = field.environment end
    if field.fields then variables_of(field.fields, found) end
  end
  return found
end

-- A URL may hold a password, and a key may be where it doesn't belong, or a certificate in place of its path.
local function shown(value)
  if pem_files.is_content(value) then return "(neither a path nor an address: it isn't shown)" end
  if value:find("^sk%-") or value:find("^nxs_") then return "(a key: it doesn't belong here)" end
  return (redaction.text(value):gsub("//[^/]*@", "//***@"):gsub("^[^/]*@", "***@"):gsub("%?.*", "?***"))
end

--- Whether a variable of the environment is there and isn't empty.
function settings.is_set(name)
  local value = core.environment(name)
  return value ~= nil and value ~= ""
end

local function variables_in_force()
  local names, found = variables_of(options.client, {}), {}
  for _, name in ipairs(COMMON) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if settings.is_set(name) then found[#found + 1] = name .. "=" .. shown(core.environment(name)) end
  end
  return found
end

--- The options that a client would have here; nil where the environment has what can't be. And the check of that.
function settings.read()
  local values, problem = options.read("doctor", options.client, {}, core.environment)
  if not values then
    problem = problem:gsub("^doctor: ", ""):gsub(", got '.*", "")
    return nil, check("environment", "failed", problem, "Correct or unset it.")
  end
  local found = variables_in_force()
  local message = found[1] and table.concat(found, ", ") or "nothing is set: the defaults count"
  return values, check("environment", "ok", message)
end

local REMOVED = "OpenAI's own API has no assistants and threads any more, since 2026-08-26"

-- It is loaded as a client loads it: what it returns counts.
local function of_script(path)
  if not path then return check("provider", "ok", "script: the model repeats what it is told") end
  local model, problem = script_model.load(path)
  if model then return check("provider", "ok", "script: " .. path) end
  return check("provider", "failed", "script: " .. problem,
    "Correct NEXUS_ASSISTANTS_SCRIPT: a path counts from the folder in which a program is started.")
end

--- Who thinks, and where.
function settings.provider(values)
  if values.provider == "script" then return of_script(values.script) end
  local url = shown(values.openai.base_url)
  if values.provider == "assistants" and url:find("^https?://api%.openai%.com") then
    return check("provider", "failed", REMOVED, "Set NEXUS_ASSISTANTS_PROVIDER=responses, or OPENAI_BASE_URL to a "
      .. "server that speaks the Assistants protocol.")
  end
  return check("provider", "ok", values.provider .. ", at " .. url)
end

--- What is to be known where no assistant is set; nil where one is, or where none is needed.
function settings.assistant(values)
  if values.provider ~= "assistants" or values.assistant_id then return nil end
  return check("assistant", "ok", "ASSISTANT_ID is not set: scripts must name an assistant themselves")
end

-- Reads it with what will read it: a trace that goes nowhere.
local function can_continue(traceparent)
  local engine = assert(core.engine({}))
  local tracer = assert(core.tracer(engine, {}))
  assert(tracer:none({}))
  local can = tracer:trace("doctor", "doctor"):continue(traceparent)
  engine:close()
  return can
end

--- Whether traces can go on from a host's; nil where no host says so.
function settings.traceparent(values)
  if not values.traceparent then return nil end
  if can_continue(values.traceparent) then return check("traceparent", "ok", "traces go on from TRACEPARENT's") end
  return check("traceparent", "warning", 'TRACEPARENT is no "00-<trace id>-<span id>-<flags>": traces begin anew',
    "Correct or unset it.")
end

-- ------------------------------------------------------------------------------------------------------------ keys

local UNUSABLE = "holds white space or other characters that no key has"

-- What is said of a key by its form; what it is depends on whose it is.
local FORMS = {
  unusable = { "failed", UNUSABLE, "Set it again: a line break often comes along when a key is read from a file." },
  other = { "warning", "doesn't begin as such keys do", "Check that it is the key for this." },
  short = { "warning", "is shorter than such keys are", "Check that all of it was copied." },
  plausible = { "ok", "is there, and looks like a key" },
}

local function key_check(name, variable, prefix, absent)
  local form = core.key_form(variable, prefix)
  if form == "absent" then return check(name, absent[1], variable .. " is not set" .. absent[2], absent[3]) end
  -- where nobody knows what keys look like, one character is a key
  if prefix == "" and form == "short" then form = "plausible" end
  local found = FORMS[form]
  return check(name, found[1], variable .. " " .. found[2], found[3])
end

local STRANGE = {
  { "nxs_", "begins as keys of Nexus do", "Check that it is the key for this." },
  { '"', "begins with a quote", "Set it without its quotes." },
  { "'", "begins with a quote", "Set it without its quotes." },
}

local function begins_with(variable, prefix)
  local form = core.key_form(variable, prefix)
  return form == "short" or form == "plausible"
end

-- How a key begins that is one of another kind, or more than a key; nil where nothing of that is known.
local function strange_key(name, variable)
  for _, known in ipairs(STRANGE) do
    if begins_with(variable, known[1]) then
      return check(name, "warning", variable .. " " .. known[2], known[3])
    end
  end
end

--- The key of the API; nil where none is needed.
function settings.api_key(values)
  if values.provider == "script" then return nil end
  local is_official = values.openai.base_url:find("^https://api%.openai%.com") ~= nil
  local found = key_check("API key", "OPENAI_API_KEY", is_official and "sk-" or "", { "failed", "",
    "Set it. Where the server wants none, any text does, or openai.api_key = false." })
  return found.verdict == "ok" and strange_key(found.name, "OPENAI_API_KEY") or found
end

local function is_loopback(url)
  local host = url:match("^%w+://([^/:]+)")
  return host == "localhost" or host == "127.0.0.1" or url:find("^%w+://%[::1%]") ~= nil
end

settings.is_loopback = is_loopback

local function advice_on_receivers()
  return sinks.is_otlp_disabled() and "Set it, or unset OTEL_SDK_DISABLED, which keeps traces from other receivers."
    or "Set it, or OTEL_EXPORTER_OTLP_ENDPOINT for another receiver."
end

--- The key of Nexus. `elsewhere` is whether traces go to another place.
function settings.nexus_key(values, elsewhere)
  -- the local server takes any that begins so
  local prefix = "nxs_"
  local found = key_check("Nexus key", "NEXUS_API_KEY", prefix, elsewhere and { "ok", ": traces go elsewhere" }
    or { "warning", ": traces go nowhere", advice_on_receivers() })
  if core.key_form("NEXUS_API_KEY", prefix) == "short" and is_loopback(values.nexus.base_url) then
    return check(found.name, "ok", "NEXUS_API_KEY is there")
  end
  return found
end

-- ----------------------------------------------------------------------------------------------------------- spool

local function size_text(bytes)
  if bytes < 1024 then return ("%d bytes"):format(bytes) end
  if bytes < 1024 * 1024 then return ("%.0f KiB"):format(bytes / 1024) end
  return ("%.1f MiB"):format(bytes / 1024 / 1024)
end

local function counted(count, what, plural)
  return ("%d %s"):format(count, count == 1 and what or plural or what .. "s")
end

-- Traces are Nexus's, batches of spans all others'.
local function add_files(parts, found)
  local traces, batches = 0, 0
  for _, receiver in ipairs(found.receivers) do
    if receiver.is_otlp then batches = batches + receiver.files else traces = traces + receiver.files end
  end
  if traces > 0 or batches == 0 then parts[#parts + 1] = counted(traces, "trace") end
  if batches > 0 then parts[#parts + 1] = counted(batches, "batch", "batches") .. " of spans" end
end

local function contents(found)
  local parts = {}
  add_files(parts, found)
  parts[#parts + 1] = size_text(found.bytes)
  if found.oldest then parts[#parts + 1] = "the oldest of " .. found.oldest:sub(1, 16):gsub("T", " ") .. " UTC" end
  if found.held > 0 then parts[#parts + 1] = counted(found.held, "process", "processes") .. " at work there" end
  return table.concat(parts, ", ")
end

local function age_of(found)
  local began = found.oldest and timestamp.milliseconds(found.oldest)
  return began and core.wall() - began / 1000 or 0
end

-- What keeps a client from leaving traces there; nil where nothing does.
local function write_failure(folder, is_there)
  local fault = probe.fault(folder)
  if not fault then return nil end
  if not is_there then
    return check("spool", "failed", fault,
      "Let this user write there, or name another folder in NEXUS_ASSISTANTS_SPOOL.")
  end
  return check("spool", "failed", "nothing can be written in " .. folder .. ": " .. fault,
    "Make room there, let this user write there, or name another folder in NEXUS_ASSISTANTS_SPOOL.")
end

--- What waits on the disk.
function settings.spool(values)
  local folder = sinks.spool_folder(values)
  if not folder then
    return check("spool", "warning", "off: what isn't delivered as a process ends is lost",
      "Unset NEXUS_ASSISTANTS_SPOOL, or set HOME.")
  end
  local found = survey.of(folder)
  local failure = write_failure(folder, found ~= nil)
  if failure then return failure end
  if not found then return check("spool", "ok", "empty, " .. folder) end
  if survey.is_other(folder) then
    return check("spool", "warning", folder .. " holds other things, and nothing of a client's",
      "Where it isn't meant to be the spool, name another folder in NEXUS_ASSISTANTS_SPOOL, or unset it.")
  end
  local message = found.files == 0 and found.held == 0 and "empty, " .. folder or contents(found) .. ", " .. folder
  if found.files > 0 and found.held == 0 and age_of(found) > DAY then
    return check("spool", "warning", message, "Run nexus-assistants flush: these are not delivered by themselves.")
  end
  return check("spool", "ok", message)
end

-- ----------------------------------------------------------------------------------------------------------- store

local NO_SUCH_FILE = 2

local function is_there(path)
  local file, _, code = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil or code ~= NO_SUCH_FILE
end

local STORE_ADVICE = "See docs/providers.md for what a store needs."

local function open_store(where, place)
  local ok, store, err = pcall(providers.store, where, true)
  if not ok then store, err = nil, store end
  if not store then
    return check("store", "failed", place .. ": " .. (errors.is(err) and err.message or tostring(err)),
      STORE_ADVICE)
  end
  store:close()
  return check("store", "ok", place .. ", can be opened, of the version that is known here")
end

-- What would keep a client from making it.
local function file_is_absent(path)
  local folder = path:match("^(.+)/[^/]*$") or path:match("^/") or "."
  local possible, err = core.can_make_directory(folder)
  if not possible then
    return check("store", "failed", shown(path) .. ": " .. err.message,
      "Let this user write there, or name another file in NEXUS_ASSISTANTS_STORE.")
  end
  if not pcall(require, "luasql.sqlite3") then
    return check("store", "failed", shown(path) .. ": LuaSQL for SQLite is absent", STORE_ADVICE)
  end
  return check("store", "ok", shown(path) .. ", not there yet")
end

--- Where threads are kept. What isn't there yet isn't made.
function settings.store(values)
  local where = values.store
  if values.provider == "assistants" and not where then return check("store", "ok", "none: the API keeps threads") end
  if where == "memory" or where == nil and values.provider == "script" then return check("store", "ok", "memory") end
  if where and where:find("^postgres") then return open_store(where, "PostgreSQL") end
  where = where or state_folder.path(providers.LOCAL_FILE)
  if where and not is_there(where) then return file_is_absent(where) end
  return open_store(where, where and shown(where) or "no place")
end

-- -------------------------------------------------------------------------------------------------------- versions

local function version_of(module)
  local found, loaded = pcall(require, module)
  if not found then return nil end
  local said = type(loaded) == "table" and loaded._VERSION
  return type(said) == "string" and said:match("%d[%w.%-]*") or "there"
end

local function add_versions(parts, name, modules)
  for _, module in ipairs(modules) do
    parts[#parts + 1] = name .. " " .. (version_of(module) or "absent")
  end
end

--- What is at work here.
function settings.versions()
  local lua = rawget(_G, "jit") and rawget(_G, "jit").version or _VERSION
  local parts = { "nexus-assistants " .. core.version, lua, "libcurl " .. core.curl_version }
  add_versions(parts, "LuaSQL for SQLite", { "luasql.sqlite3" })
  add_versions(parts, "LuaSQL for PostgreSQL", { "luasql.postgres" })
  add_versions(parts, "LuaSocket", { "socket" })
  return check("versions", "ok", table.concat(parts, ", "))
end

--- Whether looking up names holds the host up.
function settings.names()
  if core.asynchronous_dns then return check("DNS", "ok", "names are looked up in the background") end
  return check("DNS", "warning", "this libcurl looks up names while the host waits",
    "Use one that was built with threads or c-ares.")
end

-- ----------------------------------------------------------------------------------------------------------- sinks

--- Where traces go; nil for nowhere, which the check of the key tells.
function settings.sinks(values, otlp)
  local places = {}
  if sinks.nexus_of_environment(values) then places[1] = "Nexus at " .. shown(values.nexus.base_url) end
  if otlp then places[#places + 1] = "OTLP at " .. shown(otlp.endpoint:base_url()) .. otlp.path end
  local where = places[1] and "go to " .. table.concat(places, " and ")
  if where and values.capture.mode == "none" then
    return check("traces", "warning", "nothing is recorded that could " .. where,
      "Unset NEXUS_ASSISTANTS_CAPTURE, or set it to full or metadata.")
  end
  return where and check("traces", "ok", where)
end

settings.check = check
settings.shown = shown

return settings
