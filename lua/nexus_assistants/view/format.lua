--- How times, tokens and costs are said, and what statuses look like. Pure.
local format = {}

--- Colours of a terminal.
format.RED, format.BOLD, format.DIM = "31", "1", "2"
format.STATUS_COLORS = { ok = "32", success = "32", error = "31", timeout = "33", running = "36" }

-- Up to how many of them each is told.
local LONG_UNITS = {
  { name = "min", milliseconds = 60000, most = 59.95 }, { name = "h", milliseconds = 3600000, most = 47.95 },
  { name = "days", milliseconds = 86400000, most = 9.95 },
}
local DAY, MOST_DAYS = 86400000, 999.5

--- A length of time, in 8 columns at most; nil is what has not ended.
function format.duration(milliseconds)
  if not milliseconds then return "open" end
  if milliseconds > 0 and milliseconds < 0.00995 then return string.format("%.3f ms", milliseconds) end
  if milliseconds > 0 and milliseconds < 0.095 then return string.format("%.2f ms", milliseconds) end
  if milliseconds < 9.95 then return string.format("%.1f ms", milliseconds) end
  if milliseconds < 999.5 then return string.format("%.0f ms", milliseconds) end
  if milliseconds < 9995 then return string.format("%.2f s", milliseconds / 1000) end
  if milliseconds < 59950 then return string.format("%.1f s", milliseconds / 1000) end
  for _, unit in ipairs(LONG_UNITS) do
    local count = milliseconds / unit.milliseconds
    if count < unit.most then return string.format("%.1f %s", count, unit.name) end
  end
  local days = milliseconds / DAY
  return days < MOST_DAYS and string.format("%.0f days", days) or "years"
end

--- "1 token", "57 tokens", or nothing.
function format.tokens(count)
  if not count then return "" end
  return string.format("%.0f token%s", count, count == 1 and "" or "s")
end

--- What something costs: cents where it is dear, and two digits that count where it is not.
function format.cost(cost)
  if not cost then return "" end
  if cost >= 0.995 or cost == 0 then return string.format("$%.2f", cost) end
  local digits = math.min(8, math.max(2, 1 - math.floor(math.log(cost) / math.log(10))))
  return string.format("$%." .. digits .. "f", cost)
end

--- A function that paints a text in a colour, or leaves it as it is.
function format.painter(color)
  return function(code, line)
    if not color or not code or line == "" then return line end
    return "\27[" .. code .. "m" .. line .. "\27[0m"
  end
end

--- A text, or nil where the value is none or an empty one.
function format.present(value)
  return type(value) == "string" and value ~= "" and value or nil
end

return format
