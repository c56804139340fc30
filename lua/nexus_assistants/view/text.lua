--- Text for a terminal: what can't do harm there, and how many columns it takes.
local columns = require("nexus_assistants.view.columns")
local core = require("nexus_assistants.core")

local text = {}

-- C1 controls act like escape sequences; marks of direction turn around what stands beside them.
local HARMFUL = { { 0x80, 0x9F }, { 0x061C, 0x061C }, { 0x200E, 0x200F }, { 0x2028, 0x202E }, { 0x2066, 0x2069 } }
-- What shows nothing by itself and changes how others are shown: terminals disagree on how many columns that takes.
-- Soft hyphens, joiners, selectors of variants, fillers, tags, the colours of emojis' skin.
local INVISIBLE = {
  { 0xAD, 0xAD }, { 0x034F, 0x034F }, { 0x115F, 0x1160 }, { 0x180B, 0x180F }, { 0x200B, 0x200D }, { 0x2060, 0x2065 },
  { 0x206A, 0x206F }, { 0x3164, 0x3164 }, { 0xFE00, 0xFE0F }, { 0xFEFF, 0xFEFF }, { 0xFFA0, 0xFFA0 },
  { 0xFFF9, 0xFFFB }, { 0x1F3FB, 0x1F3FF }, { 0xE0000, 0xE0FFF },
}

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

--- Any value as one line that a terminal only shows, in columns that all terminals agree on: no controls, no marks of
-- direction, nothing invisible, valid UTF-8 (or ASCII alone).
function text.harmless(value, ascii)
  local line = tostring(value):gsub("[\r\n\t]+", " ")
  if ascii or not core.utf8_valid(line) then return (line:gsub("[^\32-\126]", "?")) end
  return (line:gsub(CHARACTER, function(character)
    local point = code_point(character)
    if point < 0x20 or point == 0x7F or within(HARMFUL, point) then return "?" end
    if point >= 0xAD and within(INVISIBLE, point) then return "" end
  end))
end

local function columns_of(character)
  return #character == 1 and 1 or columns.of(code_point(character))
end

--- How many columns a harmless text takes.
function text.width(line)
  if not line:find("[\128-\255]") then return #line end
  local total = 0
  for character in line:gmatch(CHARACTER) do
    total = total + columns_of(character)
  end
  return total
end

--- A harmless text in exactly `width` columns: filled up with spaces, or cut with `mark` at the end.
function text.fit(line, width, mark)
  local have = text.width(line)
  if have <= width then return line .. (" "):rep(width - have) end
  local kept, room = {}, width - text.width(mark)
  for character in line:gmatch(CHARACTER) do
    room = room - columns_of(character)
    if room < 0 then break end
    kept[#kept + 1] = character
  end
  local cut = table.concat(kept) .. mark
  return cut .. (" "):rep(width - text.width(cut))
end

-- A path is best broken between names, where that doesn't leave half a line empty.
local function nice_end(piece)
  local slash = piece:match("^.*()/")
  return slash and slash > #piece / 2 and slash or #piece
end

-- What fits of a word that is too wide, and the rest; one character at least, or there would be no end.
local function split(word, width)
  local at, room = 1, width
  for character in word:gmatch(CHARACTER) do
    room = room - columns_of(character)
    if room < 0 and at > 1 then break end
    at = at + #character
  end
  at = nice_end(word:sub(1, at - 1))
  return word:sub(1, at), word:sub(at + 1)
end

-- Adds a word that has no room beside others; returns what of it the next one may stand beside.
local function add_word(lines, word, width, mark)
  if mark then return text.cut(word, width, mark) end
  while text.width(word) > width do
    lines[#lines + 1], word = split(word, width)
  end
  return word ~= "" and word or nil
end

--- A harmless text in lines of at most `width` columns, broken at spaces. A word that is wider is cut with `mark`, or,
-- without one, goes on in the next line.
function text.wrap(line, width, mark)
  local lines, current = {}, nil
  for word in line:gmatch("%S+") do
    local longer = current and current .. " " .. word
    if longer and text.width(longer) <= width then
      current = longer
    else
      lines[#lines + 1] = current
      current = add_word(lines, word, width, mark)
    end
  end
  lines[#lines + 1] = current
  return lines
end

--- A harmless text cut to `width` columns where it is longer.
function text.cut(line, width, mark)
  return text.width(line) <= width and line or (text.fit(line, width, mark):gsub(" +$", ""))
end

return text
