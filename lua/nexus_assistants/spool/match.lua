--- Pure: which of a trace's spans Nexus has already, so that they aren't posted twice.
local json = require("nexus_assistants.json")
local timestamp = require("nexus_assistants.timestamp")

local match = {}

local present = json.present

--- Whether two values that came from JSON are the same.
local function same(one, other)
  if type(one) ~= "table" or type(other) ~= "table" then return one == other end
  for key, value in pairs(one) do
    if not same(value, other[key]) then return false end
  end
  for key in pairs(other) do
    if one[key] == nil then return false end
  end
  return true
end

match.same = same

-- What a span is known by where it has no id of ours with it.
local function key_of(body, parent_id)
  return table.concat({
    body.name, tostring(timestamp.milliseconds(body.started_at)),
    tostring(timestamp.milliseconds(present(body.ended_at))), body.status, parent_id or "",
  }, "\n")
end

--- Notes on spans that others of theirs can't be taken for them: `alone`.
function match.note_alone(spans)
  local counts = {}
  for _, span in ipairs(spans) do
    span.key = key_of(span.body, span.parent)
    counts[span.key] = (counts[span.key] or 0) + 1
  end
  for _, span in ipairs(spans) do span.alone = counts[span.key] == 1 end
end

local function id_in(body)
  local input = present(body.input)
  return type(input) == "table" and type(input.span_id) == "string" and input.span_id or nil
end

--- What Nexus has of a trace: an index of its spans.
function match.index(rows)
  local self = { by_own_id = {}, by_key = {}, names = {}, undecided = 0 }
  for _, row in ipairs(rows) do
    self.names[row.name] = true
    local id, key = id_in(row), key_of(row, present(row.parent_span_id))
    if id then self.by_own_id[id] = row end
    self.by_key[key] = self.by_key[key] or {}
    table.insert(self.by_key[key], row)
  end
  return self
end

local function same_content(body, row)
  return same(present(body.input), present(row.input)) and same(present(body.output), present(row.output))
    and present(body.error) == present(row.error)
end

-- Rows are taken out, so that each stands for one span.
local function take(rows, is_wanted)
  for position, row in ipairs(rows) do
    if is_wanted(row) then return table.remove(rows, position).id end
  end
end

local function any()
  return true
end

--- Nexus's id of a span that is below `parent_id` there, or nil. Where several look alike but for what is in them and
-- none is the same, that is counted: `undecided` of the index.
function match.find(self, span, parent_id)
  local by_id = self.by_own_id[span.id]
  if by_id then return by_id.id end
  if id_in(span.body) then return nil end
  local rows = self.by_key[key_of(span.body, parent_id)]
  if not rows or not rows[1] then return nil end
  local id = take(rows, function(row) return same_content(span.body, row) end)
  if id then return id end
  if span.alone then return take(rows, any) end
  self.undecided = self.undecided + 1
end

return match
