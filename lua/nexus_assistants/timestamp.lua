--- Timestamps as Nexus takes and gives them, and the milliseconds they stand for.
local timestamp = {}

local FIELDS = "^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)(.*)$"

-- The rest of a timestamp after the seconds: fraction of a second and offset in minutes, or nil.
local function parse_rest(rest)
  local digits, zone = rest:match("^%.(%d+)(.+)$")
  zone = zone or rest
  local fraction = digits and tonumber("0." .. digits) or 0
  if zone == "Z" then return fraction, 0 end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):(%d%d)$")
  if not sign then return nil end
  return fraction, (hours * 60 + minutes) * (sign == "-" and -1 or 1)
end

-- Days since 1970-01-01 in the Gregorian calendar; March begins the year, so that a leap day ends it.
local function days(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  local leaps = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return 365 * year + leaps + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

local function in_calendar(month, day, hour, minute, second)
  return month >= 1 and month <= 12 and day >= 1 and day <= 31 and hour <= 24 and minute <= 59 and second <= 59
end

--- True where the text has the form Nexus asks for; whether the calendar knows such a day is another matter.
function timestamp.valid(text)
  if type(text) ~= "string" then return false end
  local rest = select(7, text:match(FIELDS))
  return rest ~= nil and parse_rest(rest) ~= nil
end

--- Milliseconds since 1970, with their thousandths, or nil where the text is no timestamp.
function timestamp.milliseconds(text)
  if not timestamp.valid(text) then return nil end
  local year, month, day, hour, minute, second, rest = text:match(FIELDS)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  if not in_calendar(month, day, hour, minute, second) then return nil end
  local fraction, offset = parse_rest(rest)
  local seconds = ((days(year, month, day) * 24 + hour) * 60 + minute - offset) * 60 + second
  return seconds * 1000 + math.floor(fraction * 1e6 + 0.5) / 1000
end

--- The timestamp of a time in seconds since 1970, in the form that the core writes.
function timestamp.of(seconds)
  local whole = math.floor(seconds)
  return os.date("!%Y-%m-%dT%H:%M:%S", whole) .. (".%06dZ"):format(math.floor((seconds - whole) * 1e6))
end

return timestamp
