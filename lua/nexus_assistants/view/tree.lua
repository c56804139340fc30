--- The spans of a trace in the order in which they are shown: each below its parent, siblings by their start.
local timestamp = require("nexus_assistants.timestamp")

local tree = {}

local MAX_DEPTH = 20

local function rows_of(spans, fallback)
  local rows, by_id = {}, {}
  for _, span in ipairs(spans) do
    if type(span) == "table" then
      local row = {
        span = span, index = #rows + 1, from = timestamp.milliseconds(span.started_at) or fallback,
        to = timestamp.milliseconds(span.ended_at), children = {},
      }
      rows[row.index] = row
      if type(span.id) == "string" then by_id[span.id] = row end
    end
  end
  return rows, by_id
end

local function earlier(a, b)
  if a.from ~= b.from then return a.from < b.from end
  return a.index < b.index
end

-- The rows without a parent of their own; the others are put among their parent's children.
local function link(rows, by_id)
  local roots = {}
  for _, row in ipairs(rows) do
    local parent = by_id[row.span.parent_span_id]
    local siblings = parent and parent ~= row and parent.children or roots
    siblings[#siblings + 1] = row
  end
  return roots
end

-- Without recursion: a trace may be nested as deeply as it has spans.
local function walk(root, order)
  local stack = { root }
  root.depth = 0
  while #stack > 0 do
    local row = table.remove(stack)
    order[#order + 1] = row
    row.shown = true
    table.sort(row.children, function(a, b) return earlier(b, a) end)
    for _, child in ipairs(row.children) do
      if not child.shown then
        child.depth = math.min(row.depth + 1, MAX_DEPTH)
        stack[#stack + 1] = child
      end
    end
  end
end

--- Rows `{span, depth, from, to}` (milliseconds; `to` is nil where the span is open). `fallback` is the start of a span
-- whose own can't be read.
function tree.rows(spans, fallback)
  local rows, by_id = rows_of(spans, fallback)
  local roots, order = link(rows, by_id), {}
  table.sort(roots, earlier)
  for _, root in ipairs(roots) do
    walk(root, order)
  end
  -- what is left are spans that are their own ancestors
  for _, row in ipairs(rows) do
    if not row.shown then walk(row, order) end
  end
  return order
end

return tree
