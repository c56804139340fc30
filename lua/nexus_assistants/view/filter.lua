--- Which traces of a list are wanted, and in which order. Pure.
local timestamp = require("nexus_assistants.timestamp")

local filter = {}

local SECONDS = { s = 1, m = 60, h = 3600, d = 86400, w = 604800 }
-- As they are asked for, and what Nexus and others call them.
local STATUSES = {
  ok = { success = true, ok = true }, success = { success = true, ok = true },
  error = { error = true, timeout = true }, timeout = { timeout = true }, running = { running = true },
}

--- The statuses that can be asked for, as they are called in a list; `ok` is another name of the first.
filter.statuses = { "success", "error", "timeout", "running" }

--- A moment in milliseconds since 1970 from "90s", "15m", "2h", "7d", "2w" before `now` (seconds), a day or a
-- timestamp; or nil, message.
function filter.moment(text, now)
  local count, unit = text:match("^(%d+)([smhdw])$")
  if count then return (now - tonumber(count) * SECONDS[unit]) * 1000 end
  local moment = timestamp.milliseconds(text:find("^%d+%-%d+%-%d+$") and text .. "T00:00:00Z" or text)
  if moment then return moment end
  return nil, "must be a time ago (90s, 15m, 2h, 7d, 2w), a day (2026-01-31) or a timestamp"
end

local function contains(value, part)
  return type(value) == "string" and value:lower():find(part:lower(), 1, true) ~= nil
end

local function is_wanted(trace, wanted)
  if wanted.agent and trace.agent_name ~= wanted.agent then return false end
  if wanted.status and not STATUSES[wanted.status][trace.status] then return false end
  if wanted.name and not contains(trace.name, wanted.name) then return false end
  return not wanted.since or (timestamp.milliseconds(trace.started_at) or 0) >= wanted.since
end

local function newest_first(traces)
  local keyed = {}
  for index, trace in ipairs(traces) do
    keyed[index] = { trace = trace, index = index, at = timestamp.milliseconds(trace.started_at) or 0 }
  end
  table.sort(keyed, function(a, b)
    if a.at ~= b.at then return a.at > b.at end
    return a.index < b.index
  end)
  return keyed
end

--- Those traces that are wanted, the newest first, and how many there would be without `limit`. `wanted`: `agent`,
-- `status`, `name` (a part of it), `since` (a moment), `limit`.
function filter.apply(traces, wanted)
  local found, count = {}, 0
  for _, entry in ipairs(newest_first(traces)) do
    if is_wanted(entry.trace, wanted) then
      count = count + 1
      if count <= (wanted.limit or math.huge) then found[count] = entry.trace end
    end
  end
  return found, count
end

return filter
