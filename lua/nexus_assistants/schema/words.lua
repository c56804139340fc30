--- What the parts of `schema` share: kinds of values, how they are told in messages, places, and references.
local json = require("nexus_assistants.json")

local rawequal, rawget, type = rawequal, rawget, type

local MOST_SHOWN = 20 -- values or names in a message
local LONGEST_SHOWN = 60 -- bytes of a text in a message
local LONGEST_PLACE = 200

local ARRAY = getmetatable(json.array({}))

local words = {}

--- The names of all types.
words.type_names = { "string", "number", "integer", "boolean", "object", "array", "null" }

--- The types with their articles.
words.articled = {
  string = "a string", number = "a number", integer = "an integer", boolean = "a boolean", object = "an object",
  array = "an array", null = "null",
}

-- Only raw access is used on schemas: whatever metatables they have, nothing of them is called.

--- True for arrays; an empty table is one where it is marked so.
function words.is_list(value)
  return type(value) == "table" and (rawget(value, 1) ~= nil or rawequal(getmetatable(value), ARRAY))
end

--- The type of a value, as JSON Schema calls it; "number" for integers too.
function words.kind_of(value)
  if value == nil or value == json.null then return "null" end
  if type(value) == "table" then return words.is_list(value) and "array" or "object" end
  return type(value)
end

local function next_item(list, index)
  local item = rawget(list, index + 1)
  if item ~= nil then return index + 1, item end
end

--- `ipairs` without metamethods.
function words.each(list)
  return next_item, list, 0
end

local function shortened(text)
  if #text <= LONGEST_SHOWN then return text end
  return text:sub(1, LONGEST_SHOWN):gsub("[\192-\255]?[\128-\191]*$", "") .. "..."
end

--- A value for a message: texts cut to a length, of tables only what they are.
function words.shown(value)
  if type(value) == "table" then return words.articled[words.kind_of(value)] end
  if type(value) == "string" then value = shortened(value) end
  local text = (json.encode(value) or "?"):gsub("\\/", "/") -- cjson escapes every slash
  return text
end

--- What was found in the place of something else.
function words.got(value)
  local kind = words.kind_of(value)
  return words.articled[kind] or "a " .. kind
end

--- The names of an object's members, sorted, so that messages are the same every time.
function words.sorted_names(members)
  local names = {}
  for name in next, members do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Values, or names, as a list in a message; of a long one only the beginning.
function words.enumerated(values)
  local texts = {}
  for index, value in words.each(values) do
    if index > MOST_SHOWN then
      texts[index] = "..."
      break
    end
    texts[index] = words.shown(value)
  end
  return table.concat(texts, ", ")
end

--- A member's place below its object.
function words.place_of(name)
  if name:find("^[%a_][%w_]*$") and #name <= LONGEST_SHOWN then return "." .. name end
  return "[" .. words.shown(name) .. "]"
end

--- An item's place below its array; JSON paths count from 0.
function words.position(index)
  return ("[%d]"):format(index - 1)
end

--- A problem as one line, with its place before it.
function words.with_place(place, problem)
  if place == "" then return problem end
  if #place > LONGEST_PLACE then place = place:sub(1, LONGEST_PLACE):gsub("[\192-\255]?[\128-\191]*$", "") .. "..." end
  return place:gsub("^%.", "") .. ": " .. problem
end

local function pointed_at(root, reference)
  local node = root
  for segment in (reference:sub(3) .. "/"):gmatch("([^/]*)/") do
    if type(node) ~= "table" then return nil end
    segment = segment:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
    segment = segment:gsub("~1", "/"):gsub("~0", "~")
    local index = words.is_list(node) and segment:find("^%d+$") and tonumber(segment)
    node = rawget(node, index and index + 1 or segment)
  end
  return node
end

--- The schema that "#/$defs/name" names, or nil.
function words.target_of(root, reference)
  if reference == "#" then return root end
  if reference:sub(1, 2) ~= "#/" then return nil end
  return pointed_at(root, reference)
end

return words
