--- JSON by lua-cjson, with the corners filed off that its versions disagree on.
--
-- The distribution's lua-cjson 2.1.0 decodes all numbers as floats, knows no empty arrays and writes 14 digits at
-- most. So what it can't carry travels as a string that begins with a mark: byte 255, which valid UTF-8 never holds
-- and no JSON escape can produce.
local cjson = require("cjson").new()
local core = require("nexus_assistants.core")

local json = {}

local MARK = "\255"
local MAX_DEPTH = 128
local LONGEST_PLACE = 200
local EXACT = 1e14 -- whole numbers below it survive cjson's 14 digits

local find, format, gsub, sub = string.find, string.format, string.gsub, string.sub
local next, type, tonumber, getmetatable, setmetatable = next, type, tonumber, getmetatable, setmetatable
local utf8_valid, json_mark, json_restore, json_is_plain =
  core.utf8_valid, core.json_mark, core.json_restore, core.json_is_plain
local number_type = rawget(math, "type") or function() return "float" end

cjson.encode_invalid_numbers(false)
cjson.decode_invalid_numbers(false)
cjson.encode_max_depth(MAX_DEPTH + 1)
cjson.decode_max_depth(MAX_DEPTH + 1)
cjson.encode_sparse_array(false, 0, 0)
cjson.encode_number_precision(14)
local cjson_encode, cjson_decode = cjson.encode, cjson.decode

local array_mt = { __name = "nexus_assistants.array" }

--- What JSON's `null` is in Lua.
json.null = cjson.null

--- The value, or nil for JSON's `null`.
function json.present(value)
  if value ~= json.null then return value end
end

--- Marks a table as an array, so that it stays `[]` when it is empty.
function json.array(items)
  return setmetatable(items or {}, array_mt)
end

--- True for tables that are written as arrays.
function json.is_array(value)
  return type(value) == "table" and (getmetatable(value) == array_mt or value[1] ~= nil)
end

-- ---------------------------------------------------------------------------------------------------- decoding

local function unused_mark(text)
  local mark = MARK
  while find(text, mark, 1, true) do mark = mark .. "m" end
  return mark
end

-- What cjson calls what it found by its own names.
local WORDS = {
  T_OBJ_BEGIN = "'{'", T_OBJ_END = "'}'", T_ARR_BEGIN = "'['", T_ARR_END = "']'", T_STRING = "a text",
  T_NUMBER = "a number", T_BOOLEAN = "true or false", T_NULL = "null", T_COLON = "':'", T_COMMA = "','",
  T_END = "the end",
}

local function in_words(problem)
  return (gsub(gsub(tostring(problem), "T_[A-Z_]+", WORDS), "^Expected value", "Expected a value"))
end

--- Returns the value of a JSON text, or nil and a message.
function json.decode(text)
  if type(text) ~= "string" then return nil, "JSON text must be a string, got " .. type(text) end
  local mark = unused_mark(text)
  local marked_text, marked = json_mark(text, mark)
  local decoded, value = pcall(cjson_decode, marked_text)
  if not decoded then return nil, "invalid JSON: " .. in_words(value) end
  return json_restore(value, marked and mark or nil, array_mt)
end

-- ---------------------------------------------------------------------------------------------------- encoding

-- The examining functions return whether marks are needed, or nil, what is wrong and where.
local examine

local function examine_number(number)
  if number ~= number or number == math.huge or number == -math.huge then return nil, "is not a finite number", "" end
  if number <= -EXACT or number >= EXACT then return true end
  if number % 1 == 0 then return false end
  return tonumber(format("%.14g", number)) ~= number
end

local function examine_string(text)
  local valid, position = utf8_valid(text)
  if valid then return false end
  return nil, "is not valid UTF-8 (byte " .. format("%d", position) .. ")", ""
end

local function place_of(key)
  if type(key) == "number" then return "[" .. format("%.14g", key) .. "]" end
  if find(key, "^[%a_][%w_]*$") then return "." .. key end
  return format("[%q]", gsub(key, "[^\32-\126]", "?"))
end

-- Nesting that never ends is found by its depth; on the way back out it is told from honest depth by a table that is
-- passed twice, and its place is where that was met first. `passed` is nil for any other trouble.
local function trouble(problem, place, passed, members, key)
  if not passed then return nil, problem, place_of(key) .. place end
  if passed[members] then return nil, "contains itself", "", passed end
  passed[members] = true
  return nil, problem, place_of(key) .. place, passed
end

local function examine_array(items, depth)
  local marks, count, highest = false, 0, 0
  for key, item in next, items do
    if type(key) ~= "number" then return nil, "mixes positions and names", "" end
    if key < 1 or key % 1 ~= 0 then return nil, "has a position that is not a whole number from 1", "" end
    local marked, problem, place, passed = examine(item, depth)
    if marked == nil then return trouble(problem, place, passed, items, key) end
    marks = marks or marked
    count = count + 1
    if key > highest then highest = key end
  end
  if highest ~= count then return nil, format("has holes (%d of %.0f positions are filled)", count, highest), "" end
  return marks
end

local function examine_name(key)
  if type(key) == "string" then
    if utf8_valid(key) then return nil end
    return "has a name that is not valid UTF-8"
  end
  if type(key) == "number" then return "mixes positions and names" end
  return "has a name that is a " .. type(key)
end

local function examine_object(members, depth)
  local marks = false
  for key, value in next, members do
    local bad_name = examine_name(key)
    if bad_name then return nil, bad_name, "" end
    local marked, problem, place, passed = examine(value, depth)
    if marked == nil then return trouble(problem, place, passed, members, key) end
    marks = marks or marked
  end
  return marks
end

local function examine_table(members, depth)
  if depth > MAX_DEPTH then return nil, format("is nested more than %d levels deep", MAX_DEPTH), "", {} end
  local first = next(members)
  if first == nil then return getmetatable(members) == array_mt end
  if type(first) == "number" then return examine_array(members, depth + 1) end
  return examine_object(members, depth + 1)
end

function examine(value, depth)
  local kind = type(value)
  if kind == "string" then return examine_string(value) end
  if kind == "number" then return examine_number(value) end
  if kind == "table" then return examine_table(value, depth) end
  if kind == "boolean" or value == json.null then return false end
  return nil, "is a " .. kind .. ", which JSON can't hold", ""
end

local function shortest(number)
  for digits = 15, 16 do
    local text = format("%." .. digits .. "g", number)
    if tonumber(text) == number then return text end
  end
  return format("%.17g", number)
end

local function number_text(number)
  if number_type(number) == "integer" then return format("%d", number) end
  if number % 1 == 0 and number > -2 ^ 63 and number < 2 ^ 63 then return format("%.0f", number) end
  return (gsub(shortest(number), ",", ".")) -- some locales write a comma
end

local function marked_copy(value)
  if type(value) == "number" and examine_number(value) then return MARK .. number_text(value) end
  if type(value) ~= "table" then return value end
  if next(value) == nil then return getmetatable(value) == array_mt and MARK .. "[]" or value end
  local copy = {}
  for key, item in next, value do copy[key] = marked_copy(item) end
  return copy
end

local function refuse(problem, place)
  if place == "" then return nil, "the value " .. problem end
  if #place > LONGEST_PLACE then place = sub(place, 1, LONGEST_PLACE) .. "..." end
  return nil, gsub(place, "^%.", "") .. " " .. problem
end

--- Returns the JSON text of a value, or nil and a message that names the place of what JSON can't hold.
function json.encode(value)
  if json_is_plain(value, array_mt) then return cjson_encode(value) end
  local marks, problem, place = examine(value, 1)
  if marks == nil then return refuse(problem, place) end
  if not marks then return cjson_encode(value) end
  return (gsub(cjson_encode(marked_copy(value)), '"' .. MARK .. '([^"]*)"', "%1"))
end

return json
