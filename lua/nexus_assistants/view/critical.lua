--- The critical path of a trace: the spans that the time until its end was spent in, one after another. Shorten any
-- other span, and the trace takes as long as before.
local critical = {}

local function children_of(rows)
  local children, stack = { [0] = {} }, {}
  for index, row in ipairs(rows) do
    while stack[1] and rows[stack[#stack]].depth >= row.depth do table.remove(stack) end
    local parent = stack[#stack] or 0
    children[parent][#children[parent] + 1] = index
    children[index] = {}
    stack[#stack + 1] = index
  end
  return children
end

local function latest_first(rows, ends)
  return function(a, b)
    if ends[a] ~= ends[b] then return ends[a] > ends[b] end
    return rows[a].from > rows[b].from
  end
end

-- Back from the end: whichever ended last before the moment is what was waited for.
local function follow(rows, ends, siblings, moment, pending)
  table.sort(siblings, latest_first(rows, ends))
  for _, index in ipairs(siblings) do
    local row = rows[index]
    if ends[index] <= moment and ends[index] > row.from then
      row.is_critical = true
      pending[#pending + 1] = index
      moment = row.from
    end
  end
end

--- Sets `is_critical` on the rows of the path. `to` is the end of the trace, and of the spans that are open.
function critical.mark(rows, to)
  local children, ends = children_of(rows), {}
  for index, row in ipairs(rows) do ends[index] = math.min(row.to or to, to) end
  local pending = {}
  follow(rows, ends, children[0], to, pending)
  while #pending > 0 do
    local index = table.remove(pending)
    follow(rows, ends, children[index], ends[index], pending)
  end
end

return critical
