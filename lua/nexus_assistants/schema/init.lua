--- Checks the arguments of a tool against its parameters: the part of JSON Schema that tools use.
--
-- A keyword that isn't in the tables below is ignored, and so is one whose setting makes no sense: `schema.problem`
-- tells those when the tool is made. The arguments are a model's and the schema may be anybody's, so depth and cost
-- are bounded; what can't be checked within the bounds is refused, since a tool may rely on having been checked.
local settings = require("nexus_assistants.schema.settings")
local words = require("nexus_assistants.schema.words")

local rawequal, rawget, type = rawequal, rawget, type
local each, enumerated, is_list, kind_of = words.each, words.enumerated, words.is_list, words.kind_of
local place_of, position, shown, with_place = words.place_of, words.position, words.shown, words.with_place

local schema = {}

local MAX_DEPTH = 400 -- schemas within schemas: a JSON text has 128 levels at most, each may take a few
local BUDGET = 100000 -- comparisons
local BYTES_FOR_ONE = 100 -- of a text whose characters are counted
local MOST_TYPES = 20 -- in a message

-- ------------------------------------------------------------------------------------------------------- the bounds

local function spend(self, amount)
  self.left = self.left - amount
  if self.left < 0 then self.given_up = self.given_up or "is too much to be checked" end
  return not self.given_up
end

local function enter(self)
  self.depth = self.depth + 1
  if self.depth > MAX_DEPTH then self.given_up = self.given_up or "is nested too deeply to be checked" end
  return spend(self, 1)
end

local function leave(self, ...)
  self.depth = self.depth - 1
  return ...
end

-- --------------------------------------------------------------------------------------------------------- equality

local equal

local function equal_tables(self, one, other)
  for name, item in next, one do
    if not equal(self, item, rawget(other, name)) then return false end
  end
  for name in next, other do
    if rawget(one, name) == nil then return false end
  end
  return true
end

function equal(self, one, other)
  if not spend(self, 1) then return false end
  if rawequal(one, other) or (type(one) == "number" and one == other) then return true end
  if type(one) ~= "table" or kind_of(one) ~= kind_of(other) then return false end
  if not enter(self) then return leave(self, false) end
  return leave(self, equal_tables(self, one, other))
end

-- --------------------------------------------------------------------------------------------------------- keywords
-- Each is a function of the check, the value, the setting of the keyword, and the schema; it returns nothing, or what
-- is wrong and where below the value (nil: right here). A wrong type is told from other problems by a third result:
-- the type expected, in words.

local validate

local function has_type(name, value)
  if name == "integer" then return type(value) == "number" and value % 1 == 0 end
  return name == kind_of(value)
end

local function known_types(self, setting)
  local names = {}
  for _, name in each(type(setting) == "table" and setting or { setting }) do
    if not spend(self, 1) then break end
    if words.articled[name] then names[#names + 1] = name end
  end
  return names
end

local function got_instead(value, expected)
  if type(value) == "number" and expected:find("integer", 1, true) then return shown(value) end
  return words.got(value)
end

local function wrong_type(value, expected)
  return "must be " .. expected .. ", got " .. got_instead(value, expected), nil, expected
end

local function check_type(self, value, setting)
  local texts = {}
  for index, name in each(known_types(self, setting)) do
    if has_type(name, value) then return nil end
    texts[index] = words.articled[name]
  end
  if texts[1] then return wrong_type(value, table.concat(texts, " or ")) end
end

local function check_enum(self, value, setting)
  if not is_list(setting) then return nil end
  for _, choice in each(setting) do
    if equal(self, value, choice) then return nil end
  end
  return (rawget(setting, 2) == nil and "must be " or "must be one of ") .. enumerated(setting)
end

local function check_const(self, value, setting)
  if not equal(self, value, setting) then return "must be " .. shown(setting) end
end

local function check_reference(self, value, setting)
  if type(setting) ~= "string" then return nil end
  local target = self.targets[setting]
  if target == nil then
    target = words.target_of(self.root, setting)
    self.targets[setting] = target
  end
  return validate(self, value, target)
end

local function check_all(self, value, setting)
  if not is_list(setting) then return nil end
  for _, part in each(setting) do
    local problem, place, mismatch = validate(self, value, part)
    if problem then return problem, place, mismatch end
  end
end

-- How many of the schemas fit, and the problems of those that don't.
local function try(self, value, setting)
  local fitting, failures = 0, {}
  for _, part in each(setting) do
    if not spend(self, 1) then break end
    local problem, place, mismatch = validate(self, value, part)
    if problem then
      failures[#failures + 1] = { problem = problem, place = place, mismatch = mismatch }
    else
      fitting = fitting + 1
    end
  end
  return fitting, failures
end

local function mismatches(failures)
  local texts, others = {}, {}
  for _, failure in ipairs(failures) do
    local list = failure.mismatch and texts or others
    list[#list + 1] = failure.mismatch or failure
  end
  return texts, others
end

-- Of "a string of these, or null" a wrong string is told about the strings; only without such a hint all are blamed.
local function none_fits(value, failures)
  local texts, others = mismatches(failures)
  if #others == 0 then return wrong_type(value, table.concat(texts, " or ", 1, math.min(#texts, MOST_TYPES))) end
  if #others == 1 then return others[1].problem, others[1].place end
  local first = with_place(others[1].place or "", others[1].problem)
  return ("must fit one of %d schemas (of the first: %s)"):format(#failures, first)
end

local function check_any(self, value, setting)
  if not is_list(setting) or rawget(setting, 1) == nil then return nil end
  local fitting, failures = try(self, value, setting)
  if fitting == 0 and not self.given_up then return none_fits(value, failures) end
end

local function check_one(self, value, setting)
  if not is_list(setting) or rawget(setting, 1) == nil then return nil end
  local fitting, failures = try(self, value, setting)
  if self.given_up then return nil end
  if fitting == 0 then return none_fits(value, failures) end
  if fitting > 1 then return ("must fit only one of %d schemas, but fits %d"):format(fitting + #failures, fitting) end
end

local function check_not(self, value, setting)
  if type(setting) ~= "table" and type(setting) ~= "boolean" then return nil end
  if not validate(self, value, setting) and not self.given_up then return "is what the schema excludes" end
end

-- A keyword that sets a bound for numbers.
local function bound(text, is_broken)
  return function(_, value, setting)
    if type(setting) ~= "number" or not is_broken(value, setting) then return nil end
    return "must be " .. text .. " " .. shown(setting) .. ", got " .. shown(value)
  end
end

-- Decimal fractions aren't exact, so neither can the quotient be.
local function is_no_multiple(value, step)
  if step <= 0 or value % step == 0 then return false end
  local quotient = value / step
  local distance = math.abs(quotient - math.floor(quotient + 0.5))
  return distance > 1e-9 * math.max(1, math.abs(quotient))
end

-- A keyword that sets a bound for how much there is of something.
local function size_bound(text, thing, things, size_of, is_broken)
  return function(self, value, setting)
    if type(setting) ~= "number" then return nil end
    local size = size_of(self, value)
    if not is_broken(size, setting) then return nil end
    local problem = "must have at %s %s %s, got %d"
    return problem:format(text, shown(setting), setting == 1 and thing or things, size)
  end
end

local function below(size, setting) return size < setting end
local function above(size, setting) return size > setting end

local function characters(self, text)
  if not spend(self, #text / BYTES_FOR_ONE) then return 0 end
  local _, count = text:gsub("[^\128-\191]", "")
  return count
end

local function items(_, list) return #list end

local function members(self, object)
  local count = 0
  for _ in next, object do count = count + 1 end
  spend(self, count)
  return count
end

local function is_among(self, item, tables)
  for _, other in ipairs(tables) do
    if equal(self, item, other) then return true end
  end
  return false
end

-- What isn't a table is found by itself; only tables have to be compared with each other.
local function check_unique(self, value, setting)
  if setting ~= true then return nil end
  local plain, tables = {}, {}
  for index, item in ipairs(value) do
    local is_table = type(item) == "table"
    if not spend(self, 1) then break end
    if is_table and is_among(self, item, tables) or plain[item] then return "is there twice", position(index) end
    if is_table then tables[#tables + 1] = item elseif item == item then plain[item] = true end
  end
end

local function check_items_from(self, value, first, setting)
  for index = first, #value do
    local problem, place = validate(self, value[index], setting)
    if problem then return problem, position(index) .. (place or "") end
    if self.given_up then break end
  end
end

local function check_tuple(self, value, setting)
  for index, part in each(setting) do
    if value[index] == nil then break end
    local problem, place = validate(self, value[index], part)
    if problem then return problem, position(index) .. (place or "") end
  end
end

local function length_of(self, list)
  local length = 0
  for index in each(list) do length = index end
  spend(self, length)
  return length
end

local function check_prefix(self, value, setting)
  if is_list(setting) then return check_tuple(self, value, setting) end
end

-- Before the 2020 drafts a list in `items` was what `prefixItems` is now.
local function check_items(self, value, setting, within)
  if is_list(setting) then return check_tuple(self, value, setting) end
  local prefix = rawget(within, "prefixItems")
  return check_items_from(self, value, is_list(prefix) and length_of(self, prefix) + 1 or 1, setting)
end

local function check_additional_items(self, value, setting, within)
  local prefix = rawget(within, "items")
  if is_list(prefix) then return check_items_from(self, value, length_of(self, prefix) + 1, setting) end
end

local function check_required(self, value, setting)
  if not is_list(setting) then return nil end
  for _, name in each(setting) do
    if not spend(self, 1) then break end
    if type(name) == "string" and rawget(value, name) == nil then return "is required", place_of(name) end
  end
end

local function names_of(self, object)
  local names = words.sorted_names(object)
  spend(self, #names)
  return names
end

-- Properties are gone through in the order of their names, so that the same arguments give the same problem.
local function check_properties(self, value, setting)
  if type(setting) ~= "table" then return nil end
  for _, name in ipairs(names_of(self, value)) do
    local problem, place = validate(self, rawget(value, name), rawget(setting, name))
    if problem then return problem, place_of(name) .. (place or "") end
  end
end

local function unknown_name(self, known)
  local names = names_of(self, known)
  if #names == 0 then return "is not known; there are no properties" end
  return "is not known; known are " .. enumerated(names)
end

-- Patterns are another language's, so what `patternProperties` takes in can't be told from what is left.
local function check_additional(self, value, setting, within)
  if type(setting) ~= "table" and setting ~= false or rawget(within, "patternProperties") ~= nil then return nil end
  local known = rawget(within, "properties")
  if type(known) ~= "table" then known = {} end
  for _, name in ipairs(names_of(self, value)) do
    if rawget(known, name) == nil then
      if setting == false then return unknown_name(self, known), place_of(name) end
      local problem, place = validate(self, rawget(value, name), setting)
      if problem then return problem, place_of(name) .. (place or "") end
    end
  end
end

-- In the order in which they are checked.
local FOR_ALL = {
  { "type", check_type },
  { "enum", check_enum },
  { "const", check_const },
  { "$ref", check_reference },
  { "allOf", check_all },
  { "anyOf", check_any },
  { "oneOf", check_one },
  { "not", check_not },
}

local BY_KIND = {
  number = {
    { "minimum", bound("at least", function(value, setting) return value < setting end) },
    { "maximum", bound("at most", function(value, setting) return value > setting end) },
    { "exclusiveMinimum", bound("more than", function(value, setting) return value <= setting end) },
    { "exclusiveMaximum", bound("less than", function(value, setting) return value >= setting end) },
    { "multipleOf", bound("a multiple of", is_no_multiple) },
  },
  string = {
    { "minLength", size_bound("least", "character", "characters", characters, below) },
    { "maxLength", size_bound("most", "character", "characters", characters, above) },
  },
  array = {
    { "minItems", size_bound("least", "item", "items", items, below) },
    { "maxItems", size_bound("most", "item", "items", items, above) },
    { "prefixItems", check_prefix },
    { "items", check_items },
    { "additionalItems", check_additional_items },
    { "uniqueItems", check_unique },
  },
  object = {
    { "required", check_required },
    { "properties", check_properties },
    { "additionalProperties", check_additional },
    { "minProperties", size_bound("least", "property", "properties", members, below) },
    { "maxProperties", size_bound("most", "property", "properties", members, above) },
  },
}

-- ------------------------------------------------------------------------------------------------------- validating

local function run_checks(self, value, within, checks)
  for _, check in ipairs(checks) do
    local setting = rawget(within, check[1])
    if setting ~= nil then
      local problem, place, mismatch = check[2](self, value, setting, within)
      if problem then return problem, place, mismatch end
    end
  end
end

local function check_keywords(self, value, within)
  local kind = kind_of(value)
  if kind == "null" and rawget(within, "nullable") == true then return nil end -- what OpenAPI 3.0 has for null
  local problem, place, mismatch = run_checks(self, value, within, FOR_ALL)
  if problem or not BY_KIND[kind] then return problem, place, mismatch end
  return run_checks(self, value, within, BY_KIND[kind])
end

function validate(self, value, within)
  if within == false then return "is not allowed" end
  if type(within) ~= "table" then return nil end
  if not enter(self) then return leave(self, self.given_up) end
  return leave(self, check_keywords(self, value, within))
end

--- Checks a value, as `json.decode` returns it, against a schema. Returns true, or nil and one line that says where
-- the value is wrong and what was expected, for a model to read: `days[0]: must be an integer, got a string`.
-- Positions count from 0, as in JSON paths. Never raises.
function schema.check(value, against)
  local self = { root = against, left = BUDGET, depth = 0, targets = {} }
  local problem, place = validate(self, value, against)
  if self.given_up then return nil, self.given_up end
  if problem then return nil, with_place(place or "", problem) end
  return true
end

--- What is wrong with a schema itself: nil, or one line that names the place. Never raises.
schema.problem = settings.problem

return schema
