--- OTLP export requests, as JSON, into traces as Nexus gives them. Spans of one trace may come in many requests.
--
-- Whoever wrote them: numbers may be texts, members may be missing, and conventions differ on where what is asked and
-- answered stands.
local json = require("nexus_assistants.json")
local timestamp = require("nexus_assistants.timestamp")

local otlp = {}
local methods = {}
local mt = { __index = methods }

local STATUS_ERROR = { [2] = true, STATUS_CODE_ERROR = true }
-- Attributes that hold what went in and what came out, by convention; the first that is there counts.
local INPUTS = { "input", "input.value", "gen_ai.input.messages", "gen_ai.tool.call.arguments", "gen_ai.prompt" }
local OUTPUTS = { "output", "output.value", "gen_ai.output.messages", "gen_ai.tool.call.result", "gen_ai.completion" }

-- What this library's own sinks call what stands elsewhere under other names.
local OWN_SDK, OWN_HEAD = "nexus-assistants", "invoke_workflow"
local OWN = { ["nexus.findings"] = "findings", ["nexus.clock"] = "clock" }

local function list_in(value, name)
  local list = type(value) == "table" and value[name]
  return json.is_array(list) and list or {}
end

-- --------------------------------------------------------------------------------------------------- attributes

-- What is JSON in a text is shown as what it says.
local function unfold(text)
  if not text:find("^%s*[%[{]") then return text end
  local value = json.decode(text)
  if value == nil then return text end
  return value
end

local attributes_of

local function value_of(any)
  if type(any) ~= "table" then return json.null end
  if any.stringValue ~= nil then return unfold(tostring(any.stringValue)) end
  if any.boolValue ~= nil then return any.boolValue end
  local number = any.intValue or any.doubleValue
  if number ~= nil then return tonumber(number) or number end
  if any.kvlistValue then return attributes_of(list_in(any.kvlistValue, "values")) end
  if not any.arrayValue then return any.bytesValue or json.null end
  local values = json.array({})
  for index, item in ipairs(list_in(any.arrayValue, "values")) do values[index] = value_of(item) end
  return values
end

function attributes_of(list)
  local attributes = {}
  for _, entry in ipairs(list) do
    if type(entry) == "table" and type(entry.key) == "string" then attributes[entry.key] = value_of(entry.value) end
  end
  return attributes
end

-- The first of the names that is there; all of them go, since they say the same.
local function take(attributes, names, otherwise)
  local taken = otherwise or json.null
  for index = #names, 1, -1 do
    local value = attributes[names[index]]
    if value ~= nil and value ~= json.null then taken = value end
    attributes[names[index]] = nil
  end
  return taken
end

-- -------------------------------------------------------------------------------------------------------- spans

-- Nanoseconds are more than a number can hold, so their digits are taken apart.
local function time_of(nanoseconds)
  if type(nanoseconds) == "number" then nanoseconds = ("%.0f"):format(nanoseconds) end
  local seconds, micros = tostring(nanoseconds):match("^(%d+)(%d%d%d%d%d%d)%d%d%d$")
  if not seconds or #seconds > 11 then return json.null end
  return os.date("!%Y-%m-%dT%H:%M:%S", tonumber(seconds)) .. "." .. micros .. "Z"
end

local function text_or_null(value)
  return type(value) == "string" and value ~= "" and value or json.null
end

-- What happened in a span, as `{name, at, …}` with what is told of it; nil where nothing is.
local function events_of(span)
  local events = json.array({})
  for _, event in ipairs(list_in(span, "events")) do
    if type(event) == "table" then
      local told = attributes_of(list_in(event, "attributes"))
      told.name, told.at = text_or_null(event.name), time_of(event.timeUnixNano)
      events[#events + 1] = told
    end
  end
  return events[1] and events or nil
end

local function exception_in(events)
  for _, event in ipairs(events or {}) do
    if event["exception.message"] then return tostring(event["exception.message"]) end
  end
end

local function error_of(span, attributes)
  local status = type(span.status) == "table" and span.status or {}
  if not STATUS_ERROR[status.code] then return json.null end
  local message = json.present(text_or_null(status.message)) or exception_in(attributes.events)
  return message or json.present(text_or_null(attributes["error.message"] or attributes["error.type"])) or "error"
end

local function token_count(attributes, name, older)
  return tonumber(attributes["gen_ai.usage." .. name] or attributes["gen_ai.usage." .. older])
end

-- Where tokens are looked for.
local function add_usage(attributes)
  local asked = token_count(attributes, "input_tokens", "prompt_tokens")
  local told = token_count(attributes, "output_tokens", "completion_tokens")
  if not (asked or told) or attributes.usage ~= nil then return end
  attributes.usage = {
    prompt_tokens = asked or 0, completion_tokens = told or 0, total_tokens = (asked or 0) + (told or 0),
  }
end

local function rename(attributes)
  for theirs, ours in pairs(OWN) do
    attributes[ours], attributes[theirs] = attributes[ours] or attributes[theirs], nil
  end
end

local function name_of(span, attributes)
  return take(attributes, { "nexus.span.name", "gen_ai.workflow.name", "traceloop.entity.name" }, span.name)
end

local function new_span(span)
  local attributes = attributes_of(list_in(span, "attributes"))
  rename(attributes)
  attributes.events = attributes.events or events_of(span)
  local failure = error_of(span, attributes)
  local input, output = take(attributes, INPUTS), take(attributes, OUTPUTS)
  add_usage(attributes)
  return {
    id = text_or_null(span.spanId), name = name_of(span, attributes), parent_span_id = text_or_null(span.parentSpanId),
    status = failure == json.null and "ok" or "error", started_at = time_of(span.startTimeUnixNano),
    ended_at = time_of(span.endTimeUnixNano), output = output, error = failure,
    input = {
      type = attributes["nexus.span.type"] or attributes["gen_ai.operation.name"], metadata = attributes, input = input,
    },
  }
end

-- ------------------------------------------------------------------------------------------------------- traces

-- A span that comes again is a later state of the same: whoever got no answer to a request sends it again.
local function add_span(self, span, resource)
  local id = type(span) == "table" and text_or_null(span.traceId)
  if not id or id == json.null then return end
  local trace = self.by_id[id]
  if not trace then
    trace = { id = id, resource = resource, spans = json.array({}), places = {} }
    self.by_id[id], self.order[#self.order + 1] = trace, trace
  end
  local made = new_span(span)
  local place = trace.places[made.id] or #trace.spans + 1
  if place > #trace.spans then self.spans = self.spans + 1 end
  if made.id ~= json.null then trace.places[made.id] = place end
  trace.spans[place] = made
end

--- True for a value that is an export request.
function otlp.is_request(value)
  return type(value) == "table" and value.resourceSpans ~= nil
end

--- Takes in what an export request has.
function methods:add(request)
  for _, group in ipairs(list_in(request, "resourceSpans")) do
    local resource = attributes_of(list_in(type(group) == "table" and group.resource, "attributes"))
    local scopes = list_in(group, "scopeSpans")
    if not scopes[1] then scopes = list_in(group, "instrumentationLibrarySpans") end
    for _, scope in ipairs(scopes) do
      for _, span in ipairs(list_in(scope, "spans")) do add_span(self, span, resource) end
    end
  end
end

local function before(a, b)
  return (timestamp.milliseconds(a.started_at) or 0) < (timestamp.milliseconds(b.started_at) or 0)
end

-- Where a trace begins: the span without a parent, or this library's own for a trace below a span of a host's, which
-- is in somebody else's files.
local function is_head(span, places)
  if span.parent_span_id == json.null then return true end
  return span.input.type == OWN_HEAD and not places[span.parent_span_id]
end

-- Its heads, the earliest first.
local function heads_of(trace)
  local heads = {}
  for _, span in ipairs(trace.spans) do
    if is_head(span, trace.places) then heads[#heads + 1] = span end
  end
  table.sort(heads, before)
  return heads
end

local function earliest(spans)
  local first = spans[1]
  for _, span in ipairs(spans) do
    if before(span, first) then first = span end
  end
  return first
end

local function last_end(spans)
  local last = spans[1]
  for _, span in ipairs(spans) do
    local here, there = timestamp.milliseconds(span.ended_at), timestamp.milliseconds(last.ended_at)
    if here and (not there or here > there) then last = span end
  end
  return last.ended_at
end

local function first_failure(spans)
  for _, span in ipairs(spans) do
    if span.status == "error" then return span.error end
  end
  return json.null
end

local function metadata_of(trace, root)
  local metadata = {}
  for name, value in pairs(trace.resource) do metadata[name] = value end
  for name, value in pairs(root.input.metadata) do metadata[name] = value end
  metadata.trace_id = trace.id
  return metadata
end

local function has_own_head(trace)
  for _, span in ipairs(trace.spans) do
    if span.input.type == OWN_HEAD then return true end
  end
  return false
end

-- What this library writes of a trace ends with its head: without one it goes on, or its process was killed.
local function status_of(failure, metadata, has_own)
  if failure ~= json.null then return metadata["error.type"] == "timeout" and "timeout" or "error" end
  return not has_own and metadata["telemetry.sdk.name"] == OWN_SDK and "running" or "success"
end

-- A trace whose head is missing failed where any of its spans did.
local function finish(trace)
  local heads = heads_of(trace)
  local root = heads[1] or earliest(trace.spans)
  local failure = first_failure(heads[1] and heads or trace.spans)
  local metadata = metadata_of(trace, root)
  if failure ~= json.null then metadata.error = failure end
  local agent = metadata["gen_ai.agent.name"] or metadata["service.name"]
  return {
    id = trace.id, name = root.name, agent_name = type(agent) == "string" and agent or json.null,
    status = status_of(failure, metadata, has_own_head(trace)), started_at = root.started_at,
    ended_at = #heads == 1 and root.ended_at or last_end(heads[1] and heads or trace.spans),
    span_count = #trace.spans, metadata = metadata, spans = trace.spans,
  }
end

--- The traces of all that was added, in the order in which their first spans came.
function methods:traces()
  local traces = {}
  for index, trace in ipairs(self.order) do traces[index] = finish(trace) end
  return traces
end

--- What gathers requests; `spans` counts the spans of all traces.
function otlp.new()
  return setmetatable({ by_id = {}, order = {}, spans = 0 }, mt)
end

return otlp
