--- What the keywords of a schema may be set to: finds what is wrong with a schema when a tool is made of it.
local words = require("nexus_assistants.schema.words")

local rawget, type = rawget, type
local each, got, is_list, place_of, shown = words.each, words.got, words.is_list, words.place_of, words.shown
local sorted_names = words.sorted_names

local settings = {}

local MAX_DEPTH = 100 -- what is deeper can't be sent: JSON is written to 128 levels, and each schema takes one or two

-- Each of these is a function of the walk and a setting; it returns nothing, or what is wrong and where below the
-- keyword.

local walk_schema

local function is_schema(setting)
  return type(setting) == "boolean" or (type(setting) == "table" and not is_list(setting))
end

local function not_what(expected, setting)
  return "must be " .. expected .. ", got " .. got(setting)
end

local function a_schema(self, setting)
  if not is_schema(setting) then return not_what("a schema (a table or a boolean)", setting) end
  if type(setting) == "table" then return walk_schema(self, setting) end
end

local function schemas(self, setting)
  if not is_list(setting) or rawget(setting, 1) == nil then
    return "must be a list of schemas, got " .. (is_list(setting) and "an empty one" or got(setting))
  end
  for index, part in each(setting) do
    local problem, place = a_schema(self, part)
    if problem then return problem, "[" .. index .. "]" .. (place or "") end
  end
end

local function schema_or_schemas(self, setting)
  if is_list(setting) and rawget(setting, 1) ~= nil then return schemas(self, setting) end
  return a_schema(self, setting)
end

local function named_schemas(self, setting)
  if type(setting) ~= "table" or is_list(setting) then return not_what("a table of schemas by name", setting) end
  for name in next, setting do
    if type(name) ~= "string" then return "must have strings as names, got " .. got(name) end
  end
  for _, name in ipairs(sorted_names(setting)) do
    local problem, place = a_schema(self, rawget(setting, name))
    if problem then return problem, place_of(name) .. (place or "") end
  end
end

-- An empty Lua table may be meant as an empty list.
local function a_list(expected)
  return function(_, setting)
    local is_empty = type(setting) == "table" and next(setting) == nil
    if not is_list(setting) and not is_empty then return not_what(expected, setting) end
  end
end

local function strings(self, setting)
  local problem = a_list("a list of strings")(self, setting)
  if problem then return problem end
  for index, item in each(setting) do
    if type(item) ~= "string" then return not_what("a string", item), "[" .. index .. "]" end
  end
end

local function choices(_, setting)
  if not is_list(setting) then return not_what("a list of values", setting) end
  if rawget(setting, 1) == nil then return "must have at least one value, since nothing fits an empty list" end
end

local function type_name(setting)
  if type(setting) ~= "string" then return not_what("the name of a type", setting) end
  if not words.articled[setting] then
    return "there is no type " .. shown(setting) .. "; the types are " .. words.enumerated(words.type_names)
  end
end

local function types(_, setting)
  if not is_list(setting) then
    if type(setting) == "table" then return not_what("the name of a type or a list of them", setting) end
    return type_name(setting)
  end
  if rawget(setting, 1) == nil then return "must name at least one type" end
  for index, name in each(setting) do
    local problem = type_name(name)
    if problem then return problem, "[" .. index .. "]" end
  end
end

local function number(_, setting)
  if type(setting) ~= "number" or setting ~= setting then return not_what("a number", setting) end
end

-- The older drafts had a boolean beside `minimum`.
local function number_or_boolean(self, setting)
  if type(setting) ~= "boolean" then return number(self, setting) end
end

local function step(_, setting)
  if type(setting) ~= "number" then return not_what("a number above 0", setting) end
  if setting ~= setting or setting <= 0 then return "must be a number above 0, got " .. shown(setting) end
end

local function size(_, setting)
  if type(setting) ~= "number" then return not_what("a whole number, 0 or more", setting) end
  if not (setting >= 0 and setting % 1 == 0) then return "must be a whole number, 0 or more, got " .. shown(setting) end
end

local function boolean(_, setting)
  if type(setting) ~= "boolean" then return not_what("a boolean", setting) end
end

local function reference(self, setting)
  if type(setting) ~= "string" then return not_what("a string", setting) end
  local target = words.target_of(self.root, setting)
  if not is_schema(target) then return "there is no schema at " .. shown(setting) .. " in here" end
end

local SETTINGS = {
  { "type", types }, { "enum", choices }, { "$ref", reference },
  { "properties", named_schemas }, { "required", strings }, { "additionalProperties", a_schema },
  { "items", schema_or_schemas }, { "prefixItems", schemas }, { "additionalItems", a_schema },
  { "allOf", schemas }, { "anyOf", schemas }, { "oneOf", schemas }, { "not", a_schema },
  { "minimum", number }, { "maximum", number }, { "multipleOf", step },
  { "exclusiveMinimum", number_or_boolean }, { "exclusiveMaximum", number_or_boolean },
  { "minLength", size }, { "maxLength", size }, { "minItems", size }, { "maxItems", size },
  { "minProperties", size }, { "maxProperties", size }, { "uniqueItems", boolean },
  { "$defs", named_schemas }, { "definitions", named_schemas },
}

local function walk_keywords(self, within)
  for _, entry in ipairs(SETTINGS) do
    local setting = rawget(within, entry[1])
    if setting ~= nil then
      local problem, place = entry[2](self, setting)
      if problem then return problem, "." .. entry[1] .. (place or "") end
    end
  end
end

-- A table that is used in several places is gone through once; one within itself could not be sent.
function walk_schema(self, within)
  local state = self.seen[within]
  if state == "open" then return "contains itself; use \"$ref\" for that" end
  if state == "done" then return nil end
  self.seen[within], self.depth = "open", self.depth + 1
  if self.depth > MAX_DEPTH then return "is nested too deeply" end
  local problem, place = walk_keywords(self, within)
  self.seen[within], self.depth = "done", self.depth - 1
  return problem, place
end

--- What is wrong with a schema itself: nil, or one line that names the place. Never raises.
function settings.problem(candidate)
  if type(candidate) ~= "table" or is_list(candidate) then return not_what("a table", candidate) end
  local problem, place = walk_schema({ root = candidate, seen = {}, depth = 0 }, candidate)
  if problem then return words.with_place(place or "", problem) end
end

return settings
