--- A trace as a waterfall for the terminal. Pure: a table in, a text out.
--
-- A trace is data of others': nothing in it reaches the terminal as anything but printable characters.
local critical = require("nexus_assistants.view.critical")
local findings = require("nexus_assistants.view.findings")
local format = require("nexus_assistants.view.format")
local text = require("nexus_assistants.view.text")
local timestamp = require("nexus_assistants.timestamp")
local tree = require("nexus_assistants.view.tree")
local usage = require("nexus_assistants.view.usage")

local terminal = {}

local STATUS_COLORS, RED, BOLD, DIM = format.STATUS_COLORS, format.RED, format.BOLD, format.DIM
local DURATION_WIDTH, GAP = 8, 2
local NARROWEST_STATUS, WIDEST_STATUS = 2, 8
local NARROWEST_NAME, LEAST_OF_NAME = 12, 6
local NARROWEST_PAGE = 40
-- Beside a bar narrower than this, tokens are left out.
local FAIR_BAR, NARROWEST_BAR = 10, 4
local DRAWINGS = {
  unicode = { axis = "▏", ellipsis = "…", parts = { "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" } },
  ascii = { axis = "|", ellipsis = "...", parts = { "#", "#", "#", "#", "#", "#", "#", "#" } },
}
-- The narrowest bar, in eighths of a column.
local NARROWEST = 4
local SECOND = 1000
-- What stands before a row of the critical path, where marks are asked for.
local MARK = "*"

-- Times that a server tells in whole seconds say nothing of what took less.
local function duration_of(row)
  local duration = row.to and math.max(0, row.to - row.from)
  if row.is_coarse and duration and duration < SECOND then return "-" end
  return format.duration(duration)
end

-- ----------------------------------------------------------------------------------------------------- drawing

local function harmless(page, value)
  return text.harmless(value, page.drawing == DRAWINGS.ascii)
end

-- A bar from one eighth of a column to another: its first column is drawn whole where it goes beyond it.
local function bar(page, row)
  local length = page.to - page.from
  local scale = page.bar_width * 8 / (length > 0 and length or 1)
  local first = math.floor((row.from - page.from) * scale)
  local last = math.ceil(((row.to or page.to) - page.from) * scale)
  first = math.max(0, math.min(first, page.bar_width * 8 - NARROWEST))
  last = math.max(first + NARROWEST, math.min(last, page.bar_width * 8))
  local column = math.floor(first / 8)
  local eighths = last - column * 8
  if eighths > 8 and first % 8 >= NARROWEST then column, eighths = column + 1, eighths - 8 end
  eighths = math.min(math.max(eighths, NARROWEST), (page.bar_width - column) * 8)
  local whole, rest = math.floor(eighths / 8), eighths % 8
  local drawn = page.drawing.parts[8]:rep(whole) .. (rest > 0 and page.drawing.parts[rest] or "")
  local width = whole + (rest > 0 and 1 or 0)
  return (" "):rep(column), drawn, (" "):rep(page.bar_width - column - width)
end

local function indent(page, depth)
  return (" "):rep(math.min(2 * depth, page.most_indent))
end

local function status_cell(page, row, color)
  local status = text.cut(row.status, page.status_width, page.drawing.ellipsis)
  return page.paint(color, status) .. (" "):rep(page.status_width - text.width(status))
end

local function row_line(page, row)
  local color = STATUS_COLORS[row.status]
  local before_name = indent(page, row.depth + 1)
  local name = text.fit(row.name, page.name_width - #before_name, page.drawing.ellipsis)
  if row.is_critical then before_name, name = page.mark .. before_name:sub(2), page.paint(BOLD, name) end
  local before, drawn, after = bar(page, row)
  local duration = duration_of(row)
  local line = before_name .. name .. " " .. page.paint(DIM, page.drawing.axis) .. before .. page.paint(color, drawn)
    .. after .. " " .. (" "):rep(DURATION_WIDTH - #duration) .. duration .. (" "):rep(GAP)
    .. status_cell(page, row, color)
  if page.shows_tokens then line = line .. (" "):rep(GAP) .. row.tokens end
  return (line:gsub(" +$", ""))
end

local function error_line(page, message, depth)
  local before = indent(page, depth + 2)
  local line = text.cut(harmless(page, message), page.width - #before, page.drawing.ellipsis)
  return before .. page.paint(RED, line)
end

local function header(page, trace, rows)
  local status = harmless(page, format.present(trace.status) or "unknown")
  local said, column = "", 0
  -- what has no room beside the others stands below them
  local function add(value, code)
    value = format.present(value)
    if not value then return end
    local cut = text.cut(harmless(page, value), page.width - GAP, page.drawing.ellipsis)
    local width = GAP + text.width(cut)
    local breaks = column + width > page.width
    said = said .. (breaks and "\n  " or column > 0 and "  " or "") .. page.paint(code, cut)
    column = (breaks and 0 or column) + width - (column == 0 and GAP or 0)
  end
  add(trace.agent_name, BOLD)
  add(trace.name, BOLD)
  add(status, STATUS_COLORS[status])
  add(format.duration(page.ended and page.to - page.from))
  local used, sum = usage.within(trace.metadata), usage.sum(rows, page.prices) or {}
  add(format.tokens(used and used.total or sum.total))
  add(format.cost(sum.cost))
  add(trace.id, DIM)
  return said
end

-- ------------------------------------------------------------------------------------------------------ layout

local function time_range(trace, rows)
  local from, to = timestamp.milliseconds(trace.started_at), timestamp.milliseconds(trace.ended_at)
  for _, row in ipairs(rows) do
    from = math.min(from or row.from, row.from)
    to = math.max(to or row.from, row.to or row.from, row.from)
  end
  return from or 0, math.max(to or 0, from or 0)
end

local function is_coarse(span)
  local metadata = type(span.input) == "table" and span.input.metadata
  local clock = type(metadata) == "table" and metadata.clock
  return type(clock) == "string" and clock:find("whole seconds", 1, true) ~= nil
end

-- A function that says the tokens of a span and what they cost.
local function use_of(prices)
  return function(span)
    local tokens = usage.of(span)
    if not tokens then return "" end
    local cost = format.cost(usage.cost(tokens, usage.model(span), prices))
    return format.tokens(tokens.total) .. (cost == "" and "" or "  " .. cost)
  end
end

local function describe(page, rows)
  for _, row in ipairs(rows) do
    row.name = harmless(page, format.present(row.span.name) or "(no name)")
    row.status = harmless(page, format.present(row.span.status) or "-")
    row.tokens = page.used(row.span)
    row.is_coarse = is_coarse(row.span)
  end
end

local function widest(rows, least, measure)
  local width = least
  for _, row in ipairs(rows) do
    width = math.max(width, measure(row))
  end
  return width
end

-- What the columns of a page are wide; the bars have what the others leave.
local function lay_out(page, rows)
  local name = widest(rows, NARROWEST_NAME, function(row) return text.width(row.name) + 2 * (row.depth + 1) end)
  local status = widest(rows, NARROWEST_STATUS, function(row) return text.width(row.status) end)
  local tokens = widest(rows, 0, function(row) return #row.tokens end)
  page.name_width, page.status_width = math.min(name, math.floor(page.width * 0.4)), math.min(status, WIDEST_STATUS)
  -- the name, the axis between two spaces, the duration, the status
  local left = page.width - page.name_width - 3 - DURATION_WIDTH - GAP - page.status_width
  page.shows_tokens = tokens > 0 and left - GAP - tokens >= FAIR_BAR
  page.bar_width = math.max(NARROWEST_BAR, page.shows_tokens and left - GAP - tokens or left)
  page.name_width = page.name_width - math.max(0, page.bar_width - left)
  -- however deep a row is, something of its name can be seen
  page.most_indent = name <= page.name_width and page.width or page.name_width - LEAST_OF_NAME
end

local function new_page(trace, rows, options)
  local page = {
    width = math.max(options.width or 100, NARROWEST_PAGE),
    drawing = options.unicode and DRAWINGS.unicode or DRAWINGS.ascii,
    unicode = options.unicode, paint = format.painter(options.color), prices = options.prices,
    used = use_of(options.prices),
    mark = options.critical and MARK or " ", ended = timestamp.milliseconds(trace.ended_at) ~= nil,
  }
  page.from, page.to = time_range(trace, rows)
  critical.mark(rows, page.to)
  describe(page, rows)
  lay_out(page, rows)
  return page
end

-- The trace's own error: a text, or an object with one.
local function failure_of(trace)
  local failure = type(trace.metadata) == "table" and trace.metadata.error
  return format.present(type(failure) == "table" and failure.message or failure)
end

--- Renders a trace as Nexus's `GET /api/v1/traces/:id` gives it. `options`: `width` (columns, 100; at least
-- 40), `color`, `unicode`, `prices` (see usage.fault), `critical` (marks the critical path, which colours show as
-- bold).
-- Returns the text, or nil and a message where it isn't a trace.
function terminal.render(trace, options)
  if type(trace) ~= "table" or type(trace.spans) ~= "table" then return nil, "this is not a trace: it has no spans" end
  local rows = tree.rows(trace.spans, timestamp.milliseconds(trace.started_at) or 0)
  local page = new_page(trace, rows, options or {})
  local lines = { header(page, trace, rows) }
  local failure = failure_of(trace)
  if failure then findings.add_text(lines, page, "  ", failure, RED) end
  findings.add_lines(lines, trace, page)
  for _, row in ipairs(rows) do
    lines[#lines + 1] = row_line(page, row)
    local message = format.present(row.span.error)
    if message then lines[#lines + 1] = error_line(page, message, row.depth) end
  end
  return table.concat(lines, "\n") .. "\n"
end

return terminal
