--- Checks tables of options against a table that says what is expected.
--
-- A field is `{ kind = …, default = …, environment = NAME, required = true, fields = {…}, choices = {…}, least = N,
-- most = N }`; what a kind takes and how it is called in messages is in `kinds`. Counts and sizes have a bound, `most`,
-- so that a slip is refused where it was made, and some have one below. An option wins over the environment, that over
-- the default. Of those with fields an `optional` one is nil where it wasn't given, and one with `short = NAME` may be
-- given as that field alone.
local core = require("nexus_assistants.core")
local dialects = require("nexus_assistants.models.chat.dialects")
local query = require("nexus_assistants.query")
local redaction = require("nexus_assistants.redaction")
local checks = require("nexus_assistants.values")

local options = {}

local is_finite = checks.is_finite

local function is_count(value)
  return is_finite(value) and value >= 0 and value % 1 == 0
end

local function is_text(value)
  return type(value) == "string" and value ~= ""
end

local function is_string(value)
  return type(value) == "string"
end

local function is_header_table(value)
  if type(value) ~= "table" then return false end
  for name, text in pairs(value) do
    if not is_text(name) or type(text) ~= "string" then return false end
  end
  return true
end

local SINGLE = { string = true, number = true, boolean = true }

local function is_query(value)
  if type(value) ~= "table" then return type(value) == "string" and core.utf8_valid(value) end
  for _, item in pairs(value) do
    if not SINGLE[type(item)] then return false end
  end
  return not query.fault(value)
end

local NO_CONTROL = "must not hold control characters"

local function text_fault(value)
  return type(value) == "string" and checks.has_control(value) and NO_CONTROL or nil
end

local function zero_fault(value)
  return value:find("\0", 1, true) and NO_CONTROL or nil
end

local function headers_fault(value)
  for name, text in pairs(value) do
    if text_fault(name) or text_fault(text) then return NO_CONTROL end
  end
end

local function is_callable(value)
  local metatable = getmetatable(value)
  return type(value) == "function" or type(metatable) == "table" and metatable.__call ~= nil
end

local function is_list_of_functions(value)
  if not checks.is_list(value) then return false end
  for _, item in ipairs(value) do
    if not is_callable(item) then return false end
  end
  return true
end

local function is_table(value)
  return type(value) == "table"
end

local function parameters_fault(value)
  local fault = query.fault(value)
  return fault and "can't be sent: " .. fault
end

-- `fault` says what else may be wrong with a value that `check` takes.
local kinds = {
  any = { expected = "a value", check = function() return true end },
  text = { expected = "a string that is not empty", check = is_text, fault = text_fault },
  label = { expected = "a string that is not empty", check = is_text }, -- is recorded and nothing else: any content
  address = { expected = "a string that is not empty", check = is_text, fault = zero_fault }, -- others look closer
  key = { expected = "a string that is not empty, or false",
    check = function(value) return value == false or is_text(value) end, fault = text_fault },
  string = { expected = "a string", check = is_string },
  flag = { expected = "true or false", check = function(value) return type(value) == "boolean" end },
  prefix = { expected = "a string", check = is_string, fault = text_fault },
  table = { expected = "a table", check = is_table },
  callable = { expected = "a function", check = is_callable },
  callables = { expected = "an array of functions", check = is_list_of_functions },
  script = { expected = "a function, or the path of a Lua file that returns one",
    check = function(value) return is_callable(value) or is_text(value) end, fault = text_fault },
  headers = { expected = "a table of strings by name", check = is_header_table, fault = headers_fault },
  attributes = { expected = "a table of strings by name", check = is_header_table },
  parameters = { expected = "a table of parameters", check = is_table, fault = parameters_fault },
  query = { expected = "a string or a table of strings by name", check = is_query, fault = text_fault },
  seconds = { expected = "a positive number of seconds",
    check = function(value) return is_finite(value) and value > 0 end, number = true },
  wait = { expected = "a number of seconds, 0 or more",
    check = function(value) return is_finite(value) and value >= 0 end, number = true },
  share = { expected = "a number from 0 to 1",
    check = function(value) return is_finite(value) and value >= 0 and value <= 1 end, number = true },
  count = { expected = "a whole number from %.0f to %.0f", check = is_count, number = true, least = 0 },
  size = { expected = "a whole number from %.0f to %.0f",
    check = function(value) return is_count(value) and value >= 1 end, number = true, least = 1 },
}

local function choice_texts(choices)
  local texts = {}
  for index, choice in ipairs(choices) do texts[index] = "'" .. choice .. "'" end
  return table.concat(texts, " or ")
end

local function is_choice(choices, value)
  for _, choice in ipairs(choices) do
    if choice == value then return true end
  end
  return false
end

local ARTICLES = { ["nil"] = "nil", userdata = "a userdata" }

local ANY = { kind = "any" }

-- Texts are not shown: the one in the wrong place might be a key.
local function got(value, field)
  if value == "" then return "an empty string" end
  if value ~= value then return "NaN" end
  if field.choices and type(value) == "string" then return "'" .. redaction.text(value):sub(1, 40) .. "'" end
  if type(value) == "number" and kinds[field.kind].number then return tostring(value) end
  if type(value) == "boolean" then return tostring(value) end
  return ARTICLES[type(value)] or "a " .. type(value)
end

local function accepts(field, value)
  if field.choices then return is_choice(field.choices, value) end
  if value == false and field.off then return true end
  return kinds[field.kind].check(value) and (not field.most or value <= field.most)
    and (not field.least or value >= field.least)
end

local function expected(field)
  if field.choices then return choice_texts(field.choices) end
  local kind = kinds[field.kind]
  local text = kind.expected:format(field.least or kind.least, field.most)
  if field.short then text = "a string, or " .. text end
  return text .. (field.off and ", or false" or "")
end

-- What is wrong with a value, e.g. "must be a string, got nil"; nil where it is fine. `shown` is what it is called,
-- where that isn't what `got` says.
local function fault_of(field, value, shown)
  if not accepts(field, value) then
    return "must be " .. expected(field) .. ", got " .. (shown or got(value, field))
  end
  local fault = kinds[field.kind].fault
  return fault and fault(value)
end

-- ------------------------------------------------------------------------------------------------ did you mean …

local function next_row(row, letter, other)
  local result = { row[1] + 1 }
  for column = 1, #other do
    local cost = other:sub(column, column) == letter and 0 or 1
    result[column + 1] = math.min(row[column + 1] + 1, result[column] + 1, row[column] + cost)
  end
  return result
end

local function distance(one, other)
  local row = {}
  for column = 0, #other do row[column + 1] = column end
  for index = 1, #one do row = next_row(row, one:sub(index, index), other) end
  return row[#other + 1]
end

-- A slip of a finger or two; of a short name less.
local function nearest(name, fields)
  local best, best_distance = nil, math.min(4, math.ceil(#name / 2))
  for known in pairs(fields) do
    local between = distance(name:lower(), known)
    local nearer = between < best_distance or (between == best_distance and best and known < best)
    if nearer and between < #known then best, best_distance = known, between end
  end
  return best
end

-- The options of groups that are called so, where somebody forgot the group.
local function in_groups(name, fields)
  local found = {}
  for _, group in ipairs(checks.sorted_names(fields)) do
    if fields[group].fields and fields[group].fields[name] then found[#found + 1] = group .. "." .. name end
  end
  return found
end

local function unknown(where, prefix, name, fields)
  if type(name) ~= "string" then return where .. ": options are named by strings, got a " .. type(name) end
  local text = where .. ": unknown option '" .. prefix .. name .. "'"
  local meant = in_groups(name, fields)
  if not meant[1] then meant[1] = nearest(name, fields) end
  for index, option in ipairs(meant) do meant[index] = prefix .. option end
  return meant[1] and text .. " (did you mean " .. choice_texts(meant) .. "?)" or text
end

-- ------------------------------------------------------------------------------------------------------- reading

local read_fields

local function from_environment(where, field, environment)
  local text = field.environment and environment and environment(field.environment)
  if not text or text == "" then return field.default end
  local value = kinds[field.kind].number and tonumber(text) or text
  local fault = fault_of(field, value, "'" .. redaction.text(text) .. "'")
  if not fault then return value end
  return nil, where .. ": environment variable " .. field.environment .. " " .. fault, "environment"
end

local function read_field(where, prefix, name, field, value, environment)
  if field.short and is_text(value) then value = { [field.short] = value } end
  if value == nil and (not field.fields or field.optional) then
    local found, problem, source = from_environment(where, field, environment)
    if found == nil and not problem and field.required then
      problem = where .. ": option '" .. prefix .. name .. "' is required"
    end
    return found, problem, source
  end
  if value == false and field.off then return false end
  local fault = value ~= nil and fault_of(field, value)
  if fault then return nil, where .. ": option '" .. prefix .. name .. "' " .. fault end
  if not field.fields then return value end
  return read_fields(where, prefix .. name .. ".", field.fields, value or {}, environment)
end

-- Those that mean something where they aren't given, by the table of fields they are in.
local needed_fields = setmetatable({}, { __mode = "k" })

local function needed_of(fields)
  local needed = needed_fields[fields]
  if needed then return needed end
  needed = {}
  for name, field in pairs(fields) do
    if field.required or field.fields or field.environment or field.default ~= nil then needed[name] = field end
  end
  needed_fields[fields] = needed
  return needed
end

-- A name that nobody knows is told before what is wrong with values; nil where all are known.
local function unknown_of(where, prefix, fields, given)
  for name in pairs(given) do
    if fields[name] == nil then return unknown(where, prefix, name, fields) end
  end
end

function read_fields(where, prefix, fields, given, environment)
  local values = {}
  for name, value in pairs(given) do
    local field = fields[name]
    if field == nil then return nil, unknown(where, prefix, name, fields) end
    local problem, source
    values[name], problem, source = read_field(where, prefix, name, field, value, environment)
    if problem then
      local misnamed = unknown_of(where, prefix, fields, given)
      return nil, misnamed or problem, not misnamed and source or nil
    end
  end
  for name, field in pairs(needed_of(fields)) do
    if given[name] == nil then
      local problem, source
      values[name], problem, source = read_field(where, prefix, name, field, nil, environment)
      if problem then return nil, problem, source end
    end
  end
  return values
end

--- Reads a table of options. Returns the values, all defaults filled in; or nil, what is wrong, and "environment" where
-- it was the environment's. `environment` is a function from a variable's name to its text, or nil.
function options.read(where, fields, given, environment)
  if given == nil then given = {} end
  if type(given) ~= "table" then return nil, where .. ": options must be a table, got " .. got(given, ANY) end
  return read_fields(where, "", fields, given, environment)
end

-- ------------------------------------------------------------------------------------------ what there is to set

local MOST_RETRIES = 1000
local GIBIBYTE = 2 ^ 30

local openai = {
  api_key = { kind = "key" },
  base_url = { kind = "text", environment = "OPENAI_BASE_URL", default = "https://api.openai.com/v1" },
  organization = { kind = "text" },
  project = { kind = "text" },
  headers = { kind = "headers" },
  query = { kind = "query" },
  timeout = { kind = "seconds" },
  deadline = { kind = "seconds" },
  retries = { kind = "count", most = MOST_RETRIES },
  auth_header = { kind = "text" },
  auth_prefix = { kind = "prefix" },
  model = { kind = "text", environment = "OPENAI_MODEL" },
  dialect = { kind = "text", choices = dialects.names },
  history = { kind = "text", choices = { "local", "conversation" } },
  background = { kind = "flag" },
}

local nexus = {
  api_key = { kind = "key" },
  base_url = { kind = "address", environment = "NEXUS_BASE_URL", default = "https://nexus.keylightdigital.dev" },
  timeout = { kind = "seconds" },
  flush_interval = { kind = "seconds" },
  max_in_flight = { kind = "size", most = 100 },
}

local otlp = {
  endpoint = { kind = "text" },
  traces_endpoint = { kind = "text" },
  protocol = { kind = "text", choices = { "http/protobuf", "http/json" } },
  compression = { kind = "text", choices = { "gzip", "none" } },
  headers = { kind = "headers" },
  certificate = { kind = "text" },
  client_key = { kind = "text" },
  client_certificate = { kind = "text" },
  timeout = { kind = "seconds" },
  flush_interval = { kind = "seconds" },
  content = { kind = "flag" },
  service_name = { kind = "text" },
  resource_attributes = { kind = "attributes" },
}

local file = {
  path = { kind = "text", required = true },
  max_bytes = { kind = "size", most = 64 * GIBIBYTE },
  max_files = { kind = "count", most = 1000 },
  content = { kind = "flag" },
  flush_interval = { kind = "seconds" },
  service_name = { kind = "text" },
  resource_attributes = { kind = "attributes" },
}

local CAPTURE = { kind = "text", choices = { "full", "metadata", "none" } }

local LEAST_KEPT = 128 -- bytes: what says that something was cut takes some itself

local capture = {
  mode = checks.merged(CAPTURE, { environment = "NEXUS_ASSISTANTS_CAPTURE", default = "full" }),
  input = { kind = "size", least = LEAST_KEPT, most = GIBIBYTE },
  output = { kind = "size", least = LEAST_KEPT, most = GIBIBYTE },
  metadata = { kind = "size", least = LEAST_KEPT, most = GIBIBYTE },
}

local LANE_POLICIES = { "wait", "cancel", "reject" }

--- Options of `nexus.new`.
options.client = {
  agent_id = { kind = "text", environment = "NEXUS_AGENT_ID", default = "nexus-assistants" },
  provider = { kind = "text", environment = "NEXUS_ASSISTANTS_PROVIDER", default = "assistants",
    choices = { "assistants", "responses", "chat", "script" } },
  assistant_id = { kind = "text", environment = "ASSISTANT_ID" },
  traceparent = { kind = "label", environment = "TRACEPARENT" },
  script = { kind = "script", environment = "NEXUS_ASSISTANTS_SCRIPT" },
  store = { kind = "text", environment = "NEXUS_ASSISTANTS_STORE" },
  openai = { kind = "table", fields = openai },
  nexus = { kind = "table", fields = nexus, off = true },
  otlp = { kind = "table", fields = otlp, optional = true, off = true },
  file = { kind = "table", fields = file, optional = true, short = "path", off = true },
  limits = { kind = "table", fields = {
    max_traces = { kind = "size", most = 1e6 },
    max_spans = { kind = "size", most = 1e7 },
    max_bytes = { kind = "size", most = 64 * GIBIBYTE },
    max_field_bytes = { kind = "size", most = GIBIBYTE },
    max_spool_files = { kind = "size", most = 1e6, default = 10000 },
    max_spool_bytes = { kind = "size", most = 64 * GIBIBYTE, default = GIBIBYTE / 4 },
    max_spool_age = { kind = "seconds", default = 7 * 86400 },
  } },
  capture = { kind = "table", fields = capture, short = "mode" },
  spool = { kind = "text", environment = "NEXUS_ASSISTANTS_SPOOL", off = true },
  sample = { kind = "share" },
  poll = { kind = "table", fields = {
    interval = { kind = "wait", environment = "NEXUS_ASSISTANTS_POLL_INTERVAL" },
    deadline = { kind = "seconds", default = 600 },
    stall = { kind = "seconds" },
  } },
  lane = { kind = "text", choices = LANE_POLICIES, default = "wait" },
  max_transfers = { kind = "size", most = 1e5 },
  redact = { kind = "callable" },
  on_span_end = { kind = "callable" },
  sinks = { kind = "callables" },
  on_warning = { kind = "callable" },
}

-- Options that only some providers have a use for, with these; those of `openai` behind a dot.
local OF_PROVIDERS = {
  script = { script = true }, store = { responses = true, chat = true, script = true },
  ["openai.model"] = { responses = true, chat = true, script = true }, ["openai.dialect"] = { chat = true },
  ["openai.history"] = { responses = true }, ["openai.background"] = { responses = true },
}

local function is_given(given, name)
  local group, member = name:match("^(%w+)%.(.+)$")
  if not group then return given[name] ~= nil end
  return type(given[group]) == "table" and given[group][member] ~= nil
end

--- What is wrong with options that `nexus.new` was given for another provider than the chosen one, or nil.
function options.misplaced(given, provider)
  for _, name in ipairs(checks.sorted_names(OF_PROVIDERS)) do
    if given and is_given(given, name) and not OF_PROVIDERS[name][provider] then
      local text = "nexus.new: option '%s' is for the provider %s, not for '%s'"
      return text:format(name, choice_texts(checks.sorted_names(OF_PROVIDERS[name])), provider)
    end
  end
end

--- What has set a value, as it is called in messages: the variable, where that has it, or else the option.
function options.source(option, variable, value)
  if core.environment(variable) == value then return "environment variable " .. variable end
  return "option '" .. option .. "'"
end

--- What to do where a message is about the assistant that the environment names; nil where it is about something else.
function options.hint_on_assistant(message)
  local id = core.environment(options.client.assistant_id.environment)
  return id and id ~= "" and message:find(id, 1, true) and "check ASSISTANT_ID" or nil
end

--- Options of every method that performs an operation.
options.call = {
  timeout = { kind = "seconds" },
  deadline = { kind = "seconds" },
  retries = { kind = "count", most = MOST_RETRIES },
  headers = { kind = "headers" },
  query = { kind = "parameters" },
  on_progress = { kind = "callable" },
  trace = { kind = "table", off = true, fields = {
    name = { kind = "text" },
    metadata = { kind = "table" },
  } },
}

--- Options of operations that wait for their turn on a thread.
options.laned = checks.merged(options.call, {
  lane = { kind = "text", choices = LANE_POLICIES },
})

--- Options of `files:content`.
options.content = checks.merged(options.call, {
  sink = { kind = "callable" },
  path = { kind = "text" },
})

--- A file in the parameters of an upload; one of path, data and read is needed.
options.file = {
  path = { kind = "text" },
  data = { kind = "string" },
  read = { kind = "callable" },
  size = { kind = "count" },
  name = { kind = "text" },
  content_type = { kind = "text" },
}

--- Options of what is waited for: runs, files, batches. The deadline is that of the whole wait.
options.poll = {
  timeout = { kind = "seconds" },
  deadline = { kind = "seconds" },
  retries = { kind = "count", most = MOST_RETRIES },
  headers = { kind = "headers" },
  query = { kind = "parameters" },
  trace = options.call.trace,
  interval = { kind = "wait" },
  stall = { kind = "seconds" },
  on_status = { kind = "callable" },
}

--- Options of runs that are made and waited for.
options.run = checks.merged(options.poll, {
  lane = { kind = "text", choices = LANE_POLICIES },
  tool_timeout = { kind = "seconds" },
})

--- Options of runs that are there and waited for; their tools aren't in parameters.
options.resume = checks.merged(options.run, {
  tools = { kind = "any" },
})

--- Options of `run:submit`.
options.submit = checks.merged(options.poll, {
  tool_timeout = { kind = "seconds" },
})

local on_leave = { kind = "text", choices = { "cancel", "continue" } }

--- The same two of runs that are streamed.
options.stream = checks.merged(options.run, { on_leave = on_leave })
options.resume_stream = checks.merged(options.resume, { on_leave = on_leave })

--- Options of `threads:sweep`.
options.sweep = checks.merged(options.call, {
  older_than = { kind = "wait" },
})

--- Fields of a `nexus.tool`.
options.tool = {
  name = { kind = "text", required = true },
  description = { kind = "string" },
  parameters = { kind = "table" },
  strict = { kind = "any" },
  timeout = { kind = "seconds" },
  call = { kind = "callable", required = true },
}

--- Options of `client:trace`.
options.trace = {
  name = { kind = "label", required = true },
  traceparent = { kind = "label" },
  agent_id = { kind = "text" },
  input = { kind = "any" },
  metadata = { kind = "table" },
  capture = CAPTURE,
}

--- Options of `trace:span`.
options.span = {
  type = { kind = "text" },
  input = { kind = "any" },
  metadata = { kind = "table" },
}

--- Options of the manual style, by method.
options.manual = {
  start_trace = options.trace,
  start_span = {
    name = { kind = "label", required = true },
    type = { kind = "text" },
    input = { kind = "any" },
    metadata = { kind = "table" },
    parent_id = { kind = "label" },
  },
  end_span = {
    status = { kind = "text", choices = { "ok", "error" } },
    output = { kind = "any" },
    error = { kind = "any" },
    metadata = { kind = "table" },
  },
  end_trace = {
    status = { kind = "text", choices = { "success", "error", "timeout" } },
    output = { kind = "any" },
    error = { kind = "any" },
    metadata = { kind = "table" },
  },
}

return options
