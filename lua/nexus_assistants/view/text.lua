--- Text for a terminal: what can't do harm there, and how many columns it takes.
local core = require("nexus_assistants.core")

local text = {}

-- Ranges of code points that take two columns.
local WIDE = {
  { 0x1100, 0x115F }, { 0x2E80, 0xA4CF }, { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF }, { 0xFE30, 0xFE6F },
  { 0xFF00, 0xFF60 }, { 0xFFE0, 0xFFE6 }, { 0x1F300, 0x1FAFF }, { 0x20000, 0x3FFFD },
}
-- And of those that take none.
local NARROW = { { 0x0300, 0x036F }, { 0x200B, 0x200F }, { 0x20D0, 0x20FF }, { 0xFE00, 0xFE0F } }
-- C1 controls act like escape sequences; marks of direction turn around what stands beside them.
local HARMFUL = { { 0x80, 0x9F }, { 0x061C, 0x061C }, { 0x200E, 0x200F }, { 0x2028, 0x202E }, { 0x2066, 0x2069 } }

local CHARACTER = "[%z\1-\127\192-\255][\128-\191]*"

local function code_point(character)
  local first = character:byte(1)
  if first < 0x80 then return first end
  local point = first % (first >= 0xF0 and 0x08 or first >= 0xE0 and 0x10 or 0x20)
  for index = 2, #character do
    point = point * 64 + character:byte(index) % 64
  end
  return point
end

local function within(ranges, point)
  for _, range in ipairs(ranges) do
    if point >= range[1] and point <= range[2] then return true end
  end
  return false
end

--- Any value as one line that a terminal only shows: no controls, no marks of direction, valid UTF-8 (or ASCII alone).
function text.harmless(value, ascii)
  local line = tostring(value):gsub("[\r\n\t]+", " ")
  if ascii or not core.utf8_valid(line) then return (line:gsub("[^\32-\126]", "?")) end
  return (line:gsub(CHARACTER, function(character)
    local point = code_point(character)
    if point < 0x20 or point == 0x7F or within(HARMFUL, point) then return "?" end
  end))
end

local function columns(character)
  if #character == 1 then return 1 end
  local point = code_point(character)
  if within(NARROW, point) then return 0 end
  return within(WIDE, point) and 2 or 1
end

--- How many columns a harmless text takes.
function text.width(line)
  if not line:find("[\128-\255]") then return #line end
  local total = 0
  for character in line:gmatch(CHARACTER) do
    total = total + columns(character)
  end
  return total
end

--- A harmless text in exactly `width` columns: filled up with spaces, or cut with `mark` at the end.
function text.fit(line, width, mark)
  local have = text.width(line)
  if have <= width then return line .. (" "):rep(width - have) end
  local kept, room = {}, width - text.width(mark)
  for character in line:gmatch(CHARACTER) do
    room = room - columns(character)
    if room < 0 then break end
    kept[#kept + 1] = character
  end
  local cut = table.concat(kept) .. mark
  return cut .. (" "):rep(width - text.width(cut))
end

--- A harmless text cut to `width` columns where it is longer.
function text.cut(line, width, mark)
  return text.width(line) <= width and line or (text.fit(line, width, mark):gsub(" +$", ""))
end

return text
