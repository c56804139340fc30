--- What is known of spans and traces, for sinks in Lua: the core keeps what it is told and doesn't give it back. There
-- are copies only where somebody wants them. They hold JSON texts, which are shared and can't be changed; tables are
-- made of them when they are handed out.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local text = require("nexus_assistants.text")

local copies = {}

local methods = {}
local mt = { __index = methods }

local DICE_DIGITS, DICE_SIDES = 13, 2 ^ 52 -- as the core samples: by the end of the trace's id
local NOT_ENDED = "the span was not ended"
local INTERRUPTED = "interrupted"
local TEXTS = { "name", "type", "agent_id", "error" }
local FIELD_BYTES = 256 * 1024 -- as the core has it
local HELD_BACK_SPANS = 1000 -- of a trace that sampling would leave out: more aren't held for it, as in the core

--- `parts`: take(copy), who gets what has ended; and, or nil, is_wanted(copy), who is asked of a span before that;
-- sample, the share of traces that go on; max_field_bytes.
function copies.new(parts)
  return setmetatable({
    take = parts.take, is_wanted = parts.is_wanted, sample = parts.sample or 1,
    most = parts.max_field_bytes or FIELD_BYTES, started = 0, open_traces = {},
  }, mt)
end

-- ------------------------------------------------------------------------------------------------------- recording

-- The wall clock at the trace's start and what the monotonic one counted since, as in the core.
local function now(owner_copy)
  return owner_copy.started_at + (core.monotonic() - owner_copy.started_monotonic)
end

local function is_held_back(self, id)
  return self.sample < 1 and tonumber(id:sub(-DICE_DIGITS), 16) / DICE_SIDES >= self.sample
end

--- Begins the copy of a trace.
function methods:open_trace(owner, agent_id, name)
  local id = owner:id()
  owner.copy = {
    kind = "trace", trace_id = id, name = name, agent_id = agent_id, started_at = core.wall(),
    started_monotonic = core.monotonic(), metadata = {}, open = {}, begun = 0,
    held = is_held_back(self, id) and {} or nil,
  }
  self.open_traces[owner] = true
end

-- What was held back goes on: a trace that fails, or is large, is kept, whatever the dice said.
local function release(self, owner_copy)
  local held = owner_copy.held
  owner_copy.held = nil
  for _, copy in ipairs(held or {}) do self.take(copy) end
end

--- Begins the copy of a span.
function methods:open_span(span, name, kind)
  self.started = self.started + 1
  local above = span.trace.copy
  if above.held and above.begun == HELD_BACK_SPANS then release(self, above) end
  above.begun = above.begun + 1
  span.copy = {
    kind = "span", trace_id = above.trace_id, span_id = span:id(), name = name, type = kind,
    started_at = now(above), metadata = {}, number = self.started,
  }
  above.open[span] = true
end

local function cut(self, written)
  return #written > self.most and core.json_cut(written, self.most) or written
end

--- Notes a field, "input" or "output", as JSON; what has ended takes none.
function methods:set(copy, field, written)
  if not copy.ended_at then copy[field] = cut(self, written) end
end

--- The same of one value of the metadata.
function methods:set_metadata(copy, key, written)
  if not copy.ended_at then copy.metadata[key] = cut(self, written) end
end

--- The same of the error, a plain text.
function methods:set_error(copy, problem)
  if not copy.ended_at then copy.error = text.cut(problem, self.most) end
end

-- ---------------------------------------------------------------------------------------------------------- ending

local function pass_on(self, owner_copy, copy)
  local held = owner_copy.held
  if held then held[#held + 1] = copy else self.take(copy) end
end

-- What isn't wanted isn't in the core's sinks either.
local function leaves_out(self, span)
  if not self.is_wanted or self.is_wanted(span.copy) then return false end
  span.handle:leave_out()
  return true
end

--- Ends a span's copy.
function methods:end_span(span, status)
  local copy, above = span.copy, span.trace.copy
  copy.started_at = span.given_start or copy.started_at
  copy.status, copy.ended_at = status, math.max(span.ended_at or now(above), copy.started_at)
  copy.parent_id, above.open[span] = span.handle:parent_id(), nil
  if leaves_out(self, span) then return end
  if status == "error" then release(self, above) end
  pass_on(self, above, copy)
end

local function open_spans(owner_copy)
  local spans = {}
  for span in next, owner_copy.open do spans[#spans + 1] = span end
  table.sort(spans, function(one, other) return one.copy.number < other.copy.number end)
  return spans
end

-- As the core says it.
local function end_open_span(self, span, problem)
  local known = span.copy.error and span.copy.error .. "; " or ""
  span.copy.error = known .. (problem and problem .. "; " or "") .. NOT_ENDED
  self:end_span(span, "error")
end

--- Ends a trace's copy, with what of its spans is open.
function methods:end_trace(owner, status, problem)
  local copy = owner.copy
  for _, span in ipairs(open_spans(copy)) do end_open_span(self, span, problem) end
  if problem then self:set_error(copy, problem) end
  copy.status, copy.ended_at = status, now(copy)
  self.open_traces[owner] = nil
  if status ~= "success" then release(self, copy) end
  if not copy.held then self.take(copy) end
  copy.held = nil
end

--- Ends all that is open, at the end of a client.
function methods:interrupt()
  for owner in pairs(self.open_traces) do self:end_trace(owner, "error", INTERRUPTED) end
end

-- ------------------------------------------------------------------------------------------------------ handing out

local function decoded(written)
  if written == nil then return nil end
  return (json.decode(written))
end

--- The bytes a copy's texts take, about.
function copies.size(copy)
  local size = #(copy.input or "") + #(copy.output or "") + #(copy.error or "") + #copy.name
  for key, written in next, copy.metadata do size = size + #key + #written end
  return size
end

--- A plain table of a copy, which is its taker's own.
function copies.table_of(copy)
  local made = {
    kind = copy.kind, trace_id = copy.trace_id, span_id = copy.span_id, parent_id = copy.parent_id,
    status = copy.status, started_at = copy.started_at, ended_at = copy.ended_at, input = decoded(copy.input),
    output = decoded(copy.output), metadata = {},
  }
  for _, name in ipairs(TEXTS) do made[name] = copy[name] end
  for key, written in next, copy.metadata do made.metadata[key] = decoded(written) end
  return made
end

return copies
