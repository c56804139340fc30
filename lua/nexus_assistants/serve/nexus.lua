--- Nexus's REST API, kept in memory: POST and PATCH of traces, POST of spans, GET of both.
-- What it answers is what the hosted service was seen to answer, its oddities included.
local ending = require("nexus_assistants.view.ending")
local json = require("nexus_assistants.json")
local repaired = require("nexus_assistants.serve.utf8_repair")
local timestamp = require("nexus_assistants.timestamp")
local usage = require("nexus_assistants.view.usage")

local nexus = {}
local nexus_methods = {}
local nexus_mt = { __index = nexus_methods }

local MAX_TRACES = 1000
local MAX_BYTES = 64 * 1024 * 1024
local MAX_ROW = 2100000
-- What a row takes beside its texts.
local ROW = 256

local TRACE_STATUSES = { running = true, success = true, error = true, timeout = true }
local SPAN_STATUSES = { ok = true, error = true }

--- An empty store. `options`: `new_id()` makes the ids, `max_traces`, `max_bytes` say when the oldest traces go,
-- `accepts(key)` whether a key is right, where not any of Nexus's form is.
function nexus.new(options)
  return setmetatable({
    new_id = options.new_id, accepts = options.accepts, max_traces = options.max_traces or MAX_TRACES,
    max_bytes = options.max_bytes or MAX_BYTES, traces = {}, order = {}, first = 1, last = 0, bytes = 0, agents = {},
    revision = 0,
  }, nexus_mt)
end

-- ----------------------------------------------------------------------------------------------------- answers

local NOT_FOUND_PAGE = [[
<!DOCTYPE html>
<html lang="en">
<head><meta charset="UTF-8"><title>404: Not Found | Nexus</title></head>
<body><h1>404</h1><p>This page could not be found.</p></body>
</html>
]]

local function answer_text(status, text)
  return { status = status, body = text }
end

local function answer(status, value)
  return answer_text(status, assert(json.encode(value)))
end

local function html_not_found()
  return { status = 404, content_type = "text/html; charset=UTF-8", body = NOT_FOUND_PAGE }
end

local function internal_error()
  return { status = 500, content_type = "text/plain;charset=UTF-8", body = "Internal Server Error" }
end

local function refusal(status, text)
  return answer(status, { error = text })
end

-- -------------------------------------------------------------------------------------------------- validation

local function non_empty(value)
  return type(value) == "string" and value ~= ""
end

local function one_of(statuses)
  return function(value) return statuses[value] == true end
end

local function optional(check)
  return function(value) return value == nil or value == json.null or check(value) end
end

local TIMESTAMP = "must be an ISO 8601 timestamp"
local TRACE_FIELDS = {
  { "agent_id", non_empty, "agent_id is required and must be a non-empty string" },
  { "name", non_empty, "name is required and must be a non-empty string" },
  { "status", one_of(TRACE_STATUSES), "status must be one of: running, success, error, timeout" },
  { "started_at", timestamp.valid, "started_at is required and " .. TIMESTAMP },
  { "ended_at", optional(timestamp.valid), "ended_at " .. TIMESTAMP .. " or null" },
}
local PATCH_FIELDS = {
  { "status", function(value) return value == nil or TRACE_STATUSES[value] end,
    "status must be one of: running, success, error, timeout" },
  { "ended_at", optional(timestamp.valid), "ended_at " .. TIMESTAMP .. " or null" },
}
local SPAN_FIELDS = {
  { "name", non_empty, "name is required and must be a non-empty string" },
  { "status", one_of(SPAN_STATUSES), "status must be one of: ok, error" },
  { "started_at", timestamp.valid, "started_at is required and " .. TIMESTAMP },
  { "ended_at", optional(timestamp.valid), "ended_at " .. TIMESTAMP .. " or null" },
  { "parent_span_id", optional(function(value) return type(value) == "string" end), "parent_span_id must be a string" },
}

local function validate(body, fields)
  local failed
  for _, field in ipairs(fields) do
    local name, check, text = field[1], field[2], field[3]
    if not check(body[name]) then
      failed = failed or {}
      failed[name] = text
    end
  end
  return failed and answer(400, { error = "Validation failed", fields = failed })
end

-- The size is looked at first: what is too large isn't worth the work.
local function parse_body(request)
  local encoding = request.headers["content-encoding"]
  if encoding and encoding ~= "identity" then return nil, refusal(400, "Invalid JSON body") end
  if #request.body > MAX_ROW then return nil, internal_error() end
  local body = json.decode(repaired(request.body))
  if body == nil then return nil, refusal(400, "Invalid JSON body") end
  if type(body) ~= "table" or json.is_array(body) then return nil, refusal(400, "Body must be a JSON object") end
  return body
end

-- --------------------------------------------------------------------------------------------------- the store

local function or_null(value)
  if value == nil then return json.null end
  return value
end

-- What JavaScript's String() makes of a value: the service stores errors so.
local function as_text(value)
  if value == nil then return json.null end
  if type(value) ~= "table" then return value == json.null and "null" or tostring(value) end
  if not json.is_array(value) then return "[object Object]" end
  local parts = {}
  for index, item in ipairs(value) do
    parts[index] = item == json.null and "" or as_text(item)
  end
  return table.concat(parts, ",")
end

-- The text that a value has in answers, where it stands two levels deep; nil where it is nested too deeply for that.
-- Rows are kept as texts: tables take up to 40 times as much, and the store couldn't say how much it holds.
local function row_text(value)
  local text = json.encode({ { value } })
  return text and text:sub(3, -3)
end

local function enter_agent(self, name)
  local agent = self.agents[name] or { id = self.new_id(), name = name, traces = 0 }
  agent.traces = agent.traces + 1
  self.agents[name] = agent
  return agent
end

local function leave_agent(self, agent)
  agent.traces = agent.traces - 1
  if agent.traces == 0 then self.agents[agent.name] = nil end
end

-- Whoever is before the one at the index moves up.
local function drop(self, index)
  local trace = self.order[index]
  self.order[index] = self.order[self.first]
  self.order[self.first], self.first = nil, self.first + 1
  self.traces[trace.id] = nil
  self.bytes = self.bytes - trace.bytes
  leave_agent(self, trace.agent)
end

local function too_full(self)
  return self.last - self.first + 1 > self.max_traces or self.bytes > self.max_bytes
end

-- Counts what a trace takes and makes room for it among the others. Whatever changes comes by here.
local function account(self, trace, bytes)
  self.revision = self.revision + 1
  trace.revision = self.revision
  trace.bytes = trace.bytes + bytes
  self.bytes = self.bytes + bytes
  while too_full(self) and self.first < self.last do
    drop(self, self.order[self.first] == trace and self.first + 1 or self.first)
  end
end

local function text_length(value)
  return value == json.null and 0 or #value
end

local function create_trace(self, request)
  local body, refused = parse_body(request)
  if not body then return refused end
  refused = validate(body, TRACE_FIELDS)
  if refused then return refused end
  local metadata = row_text({ metadata = or_null(body.metadata) })
  if not metadata then return refusal(400, "Invalid JSON body") end
  local ended_at = or_null(body.ended_at)
  local bytes = ROW + #metadata + #body.agent_id + #body.name + #body.started_at + text_length(ended_at)
  if bytes > self.max_bytes then return internal_error() end
  local trace = {
    id = self.new_id(), agent = enter_agent(self, body.agent_id), name = body.name, status = body.status,
    started_at = body.started_at, ended_at = ended_at, metadata = metadata, spans = {}, bytes = 0,
    -- for whoever looks, see below
    ends = 0, late = nil, tokens = nil, counted = {},
  }
  self.last = self.last + 1
  self.order[self.last], self.traces[trace.id] = trace, trace
  account(self, trace, bytes)
  return answer(201, { trace_id = trace.id })
end

local function update_trace(self, request, id)
  local body, refused = parse_body(request)
  if not body then return refused end
  if body.status == nil and body.ended_at == nil then return refusal(400, "No fields to update") end
  refused = validate(body, PATCH_FIELDS)
  if refused then return refused end
  local trace = self.traces[id]
  if not trace then return refusal(404, "Trace not found") end
  trace.status = body.status or trace.status
  local ended_at = body.ended_at == nil and trace.ended_at or body.ended_at
  local more = text_length(ended_at) - text_length(trace.ended_at)
  trace.ended_at = ended_at
  account(self, trace, more)
  return answer(200, { trace_id = id })
end

-- What a trace used, span by span: a span's own count stands for those below it, which come later.
local function count_tokens(trace, id, body)
  local is_below = type(body.parent_span_id) == "string" and trace.counted[body.parent_span_id]
  local tokens = usage.of(body)
  if tokens and not is_below then trace.tokens = (trace.tokens or 0) + tokens.total end
  if tokens or is_below then trace.counted[id] = true end
end

-- The metadata of the whole trace that its last span carries, as a text; nil of other spans.
local function late_metadata(body)
  return ending.is_last(body) and row_text({ metadata = body.output }) or nil
end

local function create_span(self, request, id)
  local body, refused = parse_body(request)
  if not body then return refused end
  local trace = self.traces[id]
  if not trace then return refusal(404, "Trace not found") end
  refused = validate(body, SPAN_FIELDS)
  if refused then return refused end
  local span = {
    id = self.new_id(), name = body.name, parent_span_id = or_null(body.parent_span_id), status = body.status,
    started_at = body.started_at, ended_at = or_null(body.ended_at), input = or_null(body.input),
    output = or_null(body.output), error = as_text(body.error),
  }
  local text = row_text(span)
  if not text then return refusal(400, "Invalid JSON body") end
  local late = late_metadata(body)
  local bytes = ROW + #text + #span.started_at + (late and #late - #(trace.late or "") or 0)
  if trace.bytes + bytes > self.max_bytes then return internal_error() end
  if late then
    trace.ends, trace.late = trace.ends + 1, late
  else
    count_tokens(trace, span.id, body)
  end
  trace.spans[#trace.spans + 1] = { started_at = span.started_at, text = text, is_end = late ~= nil }
  account(self, trace, bytes)
  return answer(201, { span_id = span.id })
end

-- ----------------------------------------------------------------------------------------------------- reading

local function duration(trace)
  local from, to = timestamp.milliseconds(trace.started_at), timestamp.milliseconds(trace.ended_at)
  return from and to and math.floor(to) - math.floor(from) or json.null
end

-- `more` is the text of further members.
local function members_text(trace, count, metadata, more)
  local members = json.encode({
    id = trace.id, agent_name = trace.agent.name, status = trace.status, started_at = trace.started_at,
    ended_at = trace.ended_at, duration_ms = duration(trace), span_count = count,
  })
  return members:sub(1, -2) .. "," .. metadata:sub(2, -2) .. more .. "}"
end

local function trace_text(trace, more)
  return members_text(trace, #trace.spans, trace.metadata, more)
end

-- table.sort isn't stable, and spans of one millisecond should stay as they came.
local function sorted(list, before)
  local keyed = {}
  for index, value in ipairs(list) do
    keyed[index] = { value = value, index = index }
  end
  table.sort(keyed, function(a, b)
    if a.value.started_at ~= b.value.started_at then return before(a.value.started_at, b.value.started_at) end
    return before(a.index, b.index)
  end)
  for index, entry in ipairs(keyed) do
    keyed[index] = entry.value
  end
  return keyed
end

local function ascending(a, b) return a < b end
local function descending(a, b) return a > b end

local function spans_text(trace, without_ends)
  local texts = {}
  for _, span in ipairs(sorted(trace.spans, ascending)) do
    if not (without_ends and span.is_end) then texts[#texts + 1] = span.text end
  end
  return ',"spans":[' .. table.concat(texts, ",") .. "]"
end

local function get_trace(self, _, id)
  local trace = self.traces[id]
  if not trace then return refusal(404, "Trace not found") end
  return answer_text(200, trace_text(trace, spans_text(trace)))
end

local STATUS_FILTERS = { ok = { success = true }, error = { error = true, timeout = true } }

local function wanted(trace, query)
  local statuses = STATUS_FILTERS[query.status]
  if statuses and not statuses[trace.status] then return false end
  if query.agent_id and query.agent_id ~= trace.agent.id and query.agent_id ~= trace.agent.name then return false end
  if query.since and trace.started_at < query.since then return false end
  return not (query["until"] and trace.started_at > query["until"])
end

local function matching(self, query)
  local found = {}
  for index = self.first, self.last do
    if wanted(self.order[index], query) then found[#found + 1] = self.order[index] end
  end
  return sorted(found, descending)
end

-- Behind the last for one that isn't there, or is no more: from the first, whoever pages would never come to an end.
local function index_after(traces, id)
  for index, trace in ipairs(traces) do
    if trace.id == id then return index + 1 end
  end
  return #traces + 1
end

local function list_traces(self, request)
  local query = request.fields
  local traces = matching(self, query)
  local limit = math.floor(math.max(1, math.min(200, tonumber(query.limit) or 50)))
  local from, page = query.after and index_after(traces, query.after) or 1, {}
  for index = from, math.min(#traces, from + limit - 1) do
    page[#page + 1] = trace_text(traces[index], "")
  end
  local response = answer_text(200, "[" .. table.concat(page, ",") .. "]")
  response.headers = { ["X-Total-Count"] = string.format("%d", #traces) }
  return response
end

-- A trace as whoever looks wants to see it: with what the service keeps to itself, and what came late where it belongs.
local function shown_text(trace, more)
  local tokens = trace.tokens and (',"tokens":%.0f'):format(trace.tokens) or ""
  local own = (',"name":%s,"revision":%d'):format(json.encode({ trace.name }):sub(2, -2), trace.revision)
  return members_text(trace, #trace.spans - trace.ends, trace.late or trace.metadata, own .. tokens .. more)
end

--- The text of a list of all traces, the newest first, with their names and tokens, and with revisions that tell what
-- changed.
function nexus_methods:overview()
  local traces = matching(self, {})
  for index, trace in ipairs(traces) do
    traces[index] = shown_text(trace, "")
  end
  return "[" .. table.concat(traces, ",") .. "]"
end

--- The text of a whole trace with its name; nil where there is none.
function nexus_methods:whole(id)
  local trace = self.traces[id]
  return trace and shown_text(trace, spans_text(trace, true))
end

-- ------------------------------------------------------------------------------------------------------ routes

local ROUTES = {
  { "POST", "^/api/v1/traces$", create_trace },
  { "GET", "^/api/v1/traces$", list_traces },
  { "GET", "^/api/v1/traces/([^/]+)$", get_trace },
  { "PATCH", "^/api/v1/traces/([^/]+)$", update_trace },
  { "POST", "^/api/v1/traces/([^/]+)/spans$", create_span },
}

local function is_a_key(key)
  return key:find("^nxs_") ~= nil
end

--- The answer where the request's head has no key that will do; nil where it has one.
function nexus_methods:refusal(request)
  local key = (request.headers.authorization or ""):match("^Bearer (%S+)$")
  if key and (self.accepts or is_a_key)(key) then return nil end
  return refusal(401, "Invalid API key")
end

--- Answers a request whose path begins with /api/. The request has `method`, `path`, `headers`, `body` and `fields` (of
-- the query).
function nexus_methods:handle(request)
  local refused = self:refusal(request)
  if refused then return refused end
  local method = request.method == "HEAD" and "GET" or request.method
  for _, route in ipairs(ROUTES) do
    local capture = method == route[1] and request.path:match(route[2])
    if capture then return route[3](self, request, capture) end
  end
  return html_not_found()
end

--- The page for routes Nexus doesn't have.
nexus.not_found = html_not_found

return nexus
