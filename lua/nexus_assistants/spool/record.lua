--- Pure: from the text of a trace's file in the spool to what is to be delivered. The lines are those that
-- src/nexus_spool.c writes.
local json = require("nexus_assistants.json")
local timestamp = require("nexus_assistants.timestamp")

local record = {}

local LINE = '^{"trace":"(%x+)",'
local STATE = '^{"trace":"%x+","nexus":".-","state":({.*})}$'
local BODY = '^{"trace":"%x+","span":"%x+","parent":"%x*","open":%l+,"body":({.*})}$'
local LEFT_OUT = '^~"trace":"(%x+)","span":"(%x+)","parent":"(%x*)"'
local INTERRUPTED = "interrupted: the process ended first"

-- ------------------------------------------------------------------------------------------------------- reading

local function read_span(self, line, object)
  local span = self.by_id[object.span]
  if not span then
    span = { id = object.span }
    self.by_id[span.id] = span
    self.spans[#self.spans + 1] = span
  end
  span.parent, span.open, span.body, span.text = object.parent, object.open, object.body, line:match(BODY)
  span.left_out = object.left_out or object.body == json.null
end

local function read_line(self, line, object)
  if object.state then
    self.nexus, self.state, self.state_text = object.nexus, object.state, line:match(STATE)
  elseif object.span then
    read_span(self, line, object)
  elseif object.nexus_id then
    self.nexus_id = object.nexus_id
  elseif object.left ~= nil then
    self.left, self.doubt, self.doubt_until = object.left, object.doubt, object["until"]
  end
end

-- What doesn't belong to the trace any more: a line that was cut, or what had the file before.
local function is_foreign(self, id, object)
  return type(object) ~= "table" or (self.trace_id and self.trace_id ~= id)
end

-- What is below a span that was left out is below what that was in.
local function drop_left_out(self)
  local spans = {}
  for _, span in ipairs(self.spans) do
    local above = self.by_id[span.parent]
    while above and above.left_out do
      span.parent = above.parent
      above = self.by_id[span.parent]
    end
    if not span.left_out then spans[#spans + 1] = span end
  end
  self.spans = spans
end

local function is_trace(state)
  return type(state) == "table" and timestamp.milliseconds(state.started_at) ~= nil
end

-- Of which trace a line is, and what it says; of a span that was left out the rest of it may be anything.
local function object_of(line)
  local id, span, parent = line:match(LEFT_OUT)
  if id then return id, { span = span, parent = parent, left_out = true } end
  id = line:match(LINE)
  return id, id and json.decode(line)
end

--- Reads a file's text; nil where no trace is in it. `breathe`, where given, is called between lines.
function record.read(text, breathe)
  local self = { spans = {}, by_id = {}, length = 0 }
  for line in text:gmatch("([^\n]*)\n") do
    local id, object = object_of(line)
    if is_foreign(self, id, object) then break end
    self.trace_id = id
    read_line(self, line, object)
    self.length = self.length + #line + 1
    if breathe then breathe() end
  end
  drop_left_out(self)
  return is_trace(self.state) and self or nil
end

-- ---------------------------------------------------------------------------------------------------- what ended not

-- Timestamps of one form are in order as texts.
local function latest_time(self, seen_at)
  local latest = self.state.started_at
  if seen_at and seen_at > latest then latest = seen_at end
  for _, span in ipairs(self.spans) do
    local time = json.present(span.body.ended_at) or span.body.started_at
    if time > latest then latest = time end
  end
  return latest
end

local function interrupt_span(span, time)
  local body, known = span.body, json.present(span.body.error)
  body.status, body.ended_at = "error", time < body.started_at and body.started_at or time
  body.error = known and known .. "; " .. INTERRUPTED or INTERRUPTED
  span.open, span.interrupted, span.text = false, true, json.encode(body)
end

-- Of a tool of a run's, which ends with that, its own end may be known.
local function end_span(span)
  local body = span.body
  if json.present(body.error) ~= nil then body.status = "error" end
  span.open, span.text = false, json.encode(body)
end

local function close_span(span, time)
  if json.present(span.body.ended_at) then end_span(span) else interrupt_span(span, time) end
end

local function interrupt_trace(self, time)
  local state = self.state
  state.status, state.ended_at = "error", time
  if state.metadata.error == nil then state.metadata.error = INTERRUPTED end
  self.state_text = json.encode(state)
end

--- Ends what had not ended when its process did, as an error that says so, at the latest time that is known: of what is
-- in the file, and `seen_at`, when its process was seen at work last (a timestamp; may be nil).
function record.close(self, seen_at)
  local time = latest_time(self, seen_at)
  for _, span in ipairs(self.spans) do
    if span.open then close_span(span, time) end
  end
  if self.state.status == "running" then interrupt_trace(self, time) end
end

-- ----------------------------------------------------------------------------------------------------- delivering

-- A span and those above it that aren't placed yet, from below.
local function line_of(self, span, placed)
  local line = {}
  while span and not placed[span] do
    placed[span] = true
    line[#line + 1] = span
    span = self.by_id[span.parent]
  end
  return line
end

--- The spans, parents before their children. A parent that isn't known stands for none.
function record.in_order(self)
  local ordered, placed = {}, {}
  for _, span in ipairs(self.spans) do
    local line = line_of(self, span, placed)
    for index = #line, 1, -1 do ordered[#ordered + 1] = line[index] end
  end
  return ordered
end

--- The text to post a span with, below the parent of that id at Nexus.
function record.span_text(span, parent_id)
  if not parent_id then return span.text end
  return '{"parent_span_id":' .. json.encode(parent_id) .. "," .. span.text:sub(2)
end

--- The text of the last span of a trace that was created before all was known of it.
function record.last_span_text(self)
  local state = self.state
  return json.encode({
    name = "trace.end", status = state.status == "success" and "ok" or "error", started_at = state.ended_at,
    ended_at = state.ended_at, output = state.metadata, error = state.metadata.error,
  })
end

return record
