--- Delivers a trace from the spool to Nexus: asks first what of it is there already, wherever that isn't certain, and
-- posts the rest, parents first.
--
-- An outcome is "done", "gone" (Nexus had it and has it no more), "wait" and seconds (what was sent may still arrive),
-- "later" and what is wrong, and seconds where the server said some, "limited" and what is wrong (no new traces for
-- now), "refused" and what is wrong (the key or the address) or "strange" and what is wrong (no word of Nexus's).
local json = require("nexus_assistants.json")
local match = require("nexus_assistants.spool.match")
local operations = require("nexus_assistants.operations")
local record = require("nexus_assistants.spool.record")
local timestamp = require("nexus_assistants.timestamp")

local delivery = {}

local TRACES = "/api/v1/traces"
delivery.TRACES = TRACES
local PAGE = 200
local MOST_PAGES = 100
local AROUND = 2 -- seconds before and after a trace's start in which it is looked for
local OK, PAYMENT = 200, 403
local UNAUTHORIZED, NOT_FOUND, TIMED_OUT, TOO_LARGE, TOO_MANY = 401, 404, 408, 413, 429

local present = json.present

-- ------------------------------------------------------------------------------------------------------- answers

local function is_taken(answer)
  return answer.status >= OK and answer.status < 300 and answer.value ~= nil
end

local function is_passing(answer)
  local status = answer.status
  return status < 300 or status >= 500 or status == TIMED_OUT or status == TOO_MANY
end

-- What every request may be told; nil where the answer is about this one.
local function general_outcome(answer)
  if answer.status == UNAUTHORIZED or answer.status >= 300 and answer.status < 400 then
    return "refused", answer.problem
  end
  if is_passing(answer) then return "later", answer.problem, answer.retry_after end
end

-- ------------------------------------------------------------------------------------------------------ looking up

local function moment(milliseconds)
  return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(milliseconds / 1000)) .. ".000Z"
end

local function window(self)
  local started = timestamp.milliseconds(self.state.started_at)
  return moment(started - AROUND * 1000), moment(started + AROUND * 1000)
end

local function is_ours(self, row)
  local metadata = type(row) == "table" and present(row.metadata)
  return type(metadata) == "table" and metadata.trace_id == self.trace_id
end

local function page_query(from, to, after)
  return ("since=%s&until=%s&limit=%d%s"):format(operations.escape(from), operations.escape(to), PAGE,
    after and "&after=" .. operations.escape(after) or "")
end

local function find_in(self, rows)
  for _, row in ipairs(rows) do
    if is_ours(self, row) and type(row.id) == "string" then return row.id end
  end
end

-- Sets nexus_id where the trace is there. Without a filter for the agent, as that takes Nexus's own id at some servers.
local function look_for_trace(self, ask)
  local from, to = window(self)
  local after
  for _ = 1, MOST_PAGES do
    local answer = ask("GET", TRACES, page_query(from, to, after))
    if not is_taken(answer) then return general_outcome(answer) or "later", answer.problem end
    if not json.is_array(answer.value) then return "later", "answers with a list that isn't understood" end
    self.nexus_id = find_in(self, answer.value)
    if self.nexus_id or #answer.value < PAGE then return nil end
    local last = answer.value[#answer.value]
    after = type(last) == "table" and last.id
    if type(after) ~= "string" then return "later", "answers with a list that isn't understood" end
  end
  return "later", "has more traces around its start than are looked through"
end

local function path_of(self)
  return TRACES .. "/" .. operations.escape(self.nexus_id)
end

local function look_at_trace(self, ask)
  local answer = ask("GET", path_of(self))
  if answer.status == NOT_FOUND then return "gone" end
  if not is_taken(answer) then return general_outcome(answer) or "later", answer.problem end
  local is_understood, index = pcall(match.index, present(answer.value.spans) or {})
  if not is_understood then return "later", "answers with spans that aren't understood" end
  self.there, self.index = answer.value, index
end

-- --------------------------------------------------------------------------------------------------------- posting

-- The answer to what makes something was lost, or there was none: it may be there.
local function doubt(self, parts, answer)
  self.doubt, self.doubt_until = true, (parts.wall() + answer.settles_in) * 1000
end

-- Whoever refuses without a word is no Nexus, but that what is too large may be refused on the way.
local function is_of_somebody_else(answer)
  return not answer.is_explained and answer.status ~= TOO_LARGE
end

local function creation_outcome(answer)
  if answer.status == PAYMENT then return "limited", answer.problem end
  if answer.status == TOO_MANY and not answer.retry_after then return "limited", answer.problem end
  if answer.status == NOT_FOUND then return "refused", answer.problem end
  local outcome, problem, seconds = general_outcome(answer)
  if not outcome and is_of_somebody_else(answer) then outcome = "strange" end
  return outcome or "gone", problem or answer.problem, seconds
end

local function create(self, parts)
  local answer = parts.ask("POST", TRACES, nil, self.state_text)
  if is_taken(answer) and type(answer.value.trace_id) == "string" then
    self.nexus_id, self.index = answer.value.trace_id, match.index({})
    self.counts.created = true
    return nil
  end
  if answer.lost then doubt(self, parts, answer) end
  return creation_outcome(answer)
end

-- Returns Nexus's id of the span, or nil where it was refused; or nil and an outcome.
local function post(self, parts, text)
  local answer = parts.ask("POST", path_of(self) .. "/spans", nil, text)
  if is_taken(answer) then
    self.counts.spans = self.counts.spans + 1
    local id = answer.value.span_id
    return type(id) == "string" and id or nil
  end
  if answer.lost then doubt(self, parts, answer) end
  if answer.status == NOT_FOUND then return nil, "gone" end
  local outcome, problem, seconds = general_outcome(answer)
  if outcome then return nil, outcome, problem, seconds end
  self.counts.refused = self.counts.refused + 1
end

local function deliver_span(self, parts, span, ids)
  local parent_id = ids[span.parent]
  ids[span.id] = match.find(self.index, span, parent_id)
  if ids[span.id] then return nil end
  local outcome, problem, seconds
  ids[span.id], outcome, problem, seconds = post(self, parts, record.span_text(span, parent_id))
  return outcome, problem, seconds
end

local function deliver_spans(self, parts)
  local ids = {}
  match.note_alone(self.spans)
  for _, span in ipairs(record.in_order(self)) do
    local outcome, problem, seconds = deliver_span(self, parts, span, ids)
    if outcome then return outcome, problem, seconds end
  end
end

-- ------------------------------------------------------------------------------------------------------- the end

local function tell_end(self, parts)
  local state, there = self.state, self.there
  if not there or there.status == state.status and present(there.ended_at) == state.ended_at then return nil end
  local body = json.encode({ status = state.status, ended_at = state.ended_at })
  local answer = parts.ask("PATCH", path_of(self), nil, body)
  if is_taken(answer) then return nil end
  if answer.status == NOT_FOUND then return "gone" end
  return general_outcome(answer)
end

local function tell_rest(self, parts)
  local there = self.there
  if not there or self.index.names["trace.end"] or match.same(present(there.metadata), self.state.metadata) then
    return nil
  end
  local spans = self.counts.spans
  local _, outcome, problem, seconds = post(self, parts, record.last_span_text(self))
  self.counts.spans = spans -- that one is the trace's own
  return outcome, problem, seconds
end

-- ----------------------------------------------------------------------------------------------------------- all

local function find(self, parts)
  if not self.nexus_id and self.doubt then
    local outcome, problem, seconds = look_for_trace(self, parts.ask)
    if outcome then return outcome, problem, seconds end
  end
  if self.nexus_id then return look_at_trace(self, parts.ask) end
  return create(self, parts)
end

local STAGES = { find, tell_end, deliver_spans, tell_rest }

--- Delivers what `record.read` made, once closed. `parts` has `ask(method, path, query, body)` → { status (0 where no
-- answer came), value, problem, retry_after, is_explained (Nexus says itself what is wrong), lost (what was asked may
-- be done all the same), settles_in (the seconds after which it is, or never will be) }, and `wall()`, seconds. Returns
-- an outcome. `counts` of the record says what was: whether the trace was created, and how many spans were posted and
-- refused.
function delivery.deliver(self, parts)
  local left = self.doubt and (self.doubt_until or 0) / 1000 - parts.wall() or 0
  if left > 0 then return "wait", left end
  self.there, self.index = nil, nil
  self.counts = { created = false, spans = 0, refused = 0 }
  for _, stage in ipairs(STAGES) do
    local outcome, problem, seconds = stage(self, parts)
    if outcome then return outcome, problem, seconds end
  end
  return "done"
end

return delivery
