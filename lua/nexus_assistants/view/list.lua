--- A list of traces for the terminal, a line each. Pure.
local format = require("nexus_assistants.view.format")
local json = require("nexus_assistants.json")
local text = require("nexus_assistants.view.text")
local timestamp = require("nexus_assistants.timestamp")
local tree = require("nexus_assistants.view.tree")
local usage = require("nexus_assistants.view.usage")
local values = require("nexus_assistants.values")

local list = {}

local GAP, SHORT_ID = 2, 8
local LEAST_OF_NAME, WIDEST_AGENT, WIDEST_STATUS = 10, 16, 8
-- In the order in which they stand, and how soon they are left out where there is no room: the least important first.
local COLUMNS = {
  { name = "started", rank = 5 }, { name = "status", color = true }, { name = "agent", rank = 2 }, { name = "name" },
  { name = "duration", right = true }, { name = "tokens", right = true, rank = 3 },
  { name = "cost", right = true, rank = 4 }, { name = "spans", right = true, rank = 1 }, { name = "id" },
}

-- ---------------------------------------------------------------------------------------------------- what is told

local function started(trace, today)
  local at = format.present(trace.started_at) or ""
  local day, time = at:match("^(%d+%-%d+%-%d+)T(%d+:%d+:%d+)")
  if not day then return "-" end
  return day == today and time or day .. " " .. time:sub(1, 5)
end

local function duration(trace)
  local from, to = timestamp.milliseconds(trace.started_at), timestamp.milliseconds(trace.ended_at)
  return format.duration(from and to and math.max(0, to - from))
end

local function sums(trace, prices)
  local own = usage.within(trace.metadata)
  if type(trace.spans) ~= "table" then return own end
  local sum = usage.sum(tree.rows(trace.spans, 0), prices) or {}
  return { total = own and own.total or sum.total, cost = sum.cost }
end

local function cells_of(trace, options, harmless)
  local used = sums(trace, options.prices) or {}
  local spans = type(trace.spans) == "table" and #trace.spans or json.present(trace.span_count)
  return {
    started = started(trace, options.today),
    status = text.cut(harmless(format.present(trace.status) or "-"), WIDEST_STATUS, options.ellipsis),
    agent = text.cut(harmless(format.present(trace.agent_name) or ""), WIDEST_AGENT, options.ellipsis),
    name = harmless(format.present(trace.name) or ""), duration = duration(trace),
    id = harmless(format.present(trace.id) or "-"),
    tokens = used.total and ("%.0f"):format(used.total) or "", cost = format.cost(used.cost),
    spans = type(spans) == "number" and ("%.0f"):format(spans) or "",
  }
end

-- ---------------------------------------------------------------------------------------------------------- layout

local function measure(rows, heads)
  local widths = {}
  for _, column in ipairs(COLUMNS) do
    local widest = 0
    for _, cells in ipairs(rows) do widest = math.max(widest, text.width(cells[column.name])) end
    widths[column.name] = widest > 0 and math.max(widest, #heads[column.name]) or nil
  end
  return widths
end

local function taken(widths)
  local total = -GAP
  for name, width in pairs(widths) do
    total = total + GAP + (name == "name" and math.min(width, LEAST_OF_NAME) or width)
  end
  return total
end

-- Ids become short first; then columns go.
local function make_room(widths, width)
  local name = widths.name or 0
  if taken(widths) - math.min(name, LEAST_OF_NAME) + name > width then widths.id = math.min(widths.id, SHORT_ID) end
  for rank = 1, 5 do
    for _, column in ipairs(COLUMNS) do
      if column.rank == rank and taken(widths) > width then widths[column.name] = nil end
    end
  end
  if widths.name then widths.name = math.min(name, math.max(LEAST_OF_NAME, width - taken(widths) + LEAST_OF_NAME)) end
end

local function cell(column, value, width, ellipsis)
  if column.right then return (" "):rep(width - text.width(value)) .. value end
  -- the beginning of an id is as good as the whole
  return text.fit(value, width, column.name == "id" and "" or ellipsis)
end

local function line_of(cells, widths, paint, ellipsis)
  local parts = {}
  for _, column in ipairs(COLUMNS) do
    local width = widths[column.name]
    if width then
      local code = column.color and format.STATUS_COLORS[cells.status] or column.name == "id" and format.DIM
      parts[#parts + 1] = paint(code, cell(column, cells[column.name], width, ellipsis))
    end
  end
  return (table.concat(parts, (" "):rep(GAP)):gsub(" +$", ""))
end

local function heads()
  local cells = {}
  for _, column in ipairs(COLUMNS) do cells[column.name] = column.name end
  return cells
end

--- Renders traces, in their order. `options`: `width`, `color`, `unicode`, `prices`, `today` ("2026-01-31": of that day
-- the time alone is shown). Times are UTC.
function list.render(traces, options)
  local ellipsis = options.unicode and "…" or "..."
  options = values.merged(options, { ellipsis = ellipsis })
  local function harmless(value) return text.harmless(value, not options.unicode) end
  local rows, head = {}, heads()
  for index, trace in ipairs(traces) do rows[index] = cells_of(trace, options, harmless) end
  local widths = measure(rows, head)
  make_room(widths, options.width)
  local paint = format.painter(options.color)
  local lines = { paint(format.DIM, line_of(head, widths, format.painter(false), "")) }
  for _, cells in ipairs(rows) do lines[#lines + 1] = line_of(cells, widths, paint, ellipsis) end
  return table.concat(lines, "\n") .. "\n"
end

return list
