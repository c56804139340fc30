--- Queries: what tables of parameters they may be made of, and their text.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local values = require("nexus_assistants.values")

local query = {}

local WANTED = "must be text, a number or a boolean, or a list of them"

-- ------------------------------------------------------------------------------------------------------- checking

local function name_fault(name)
  if type(name) ~= "string" then return "names must be strings, got a " .. type(name) end
  if name == "" then return "names must not be empty" end
  if not core.utf8_valid(name) then return "names must be valid UTF-8" end
end

local function item_fault(item)
  if type(item) == "string" then return not core.utf8_valid(item) and "must be valid UTF-8" or nil end
  if type(item) == "number" then return not values.is_finite(item) and "must be a finite number" or nil end
  return type(item) ~= "boolean" and WANTED or nil
end

local function list_fault(list)
  if not values.is_list(list) then return WANTED end
  for _, item in ipairs(list) do
    local fault = item_fault(item)
    if fault then return fault end
  end
end

local function value_fault(value)
  if value == json.null then return nil end
  if type(value) == "table" then return list_fault(value) end
  return item_fault(value)
end

--- What is wrong with a table of parameters as a query, e.g. "'limit' must be a finite number"; nil where it is fine.
function query.fault(parameters)
  for name, value in pairs(parameters) do
    local fault = name_fault(name)
    if fault then return fault end
    fault = value_fault(value)
    if fault then return "'" .. name .. "' " .. fault end
  end
end

-- -------------------------------------------------------------------------------------------------------- writing

local function add_pair(found, name, value)
  if type(value) == "number" and value % 1 == 0 then value = string.format("%.0f", value) end
  found[#found + 1] = operations.escape(name) .. "=" .. operations.escape(tostring(value))
end

--- `{ limit = 20, include = { "a", "b" } }` as the text of a query, names in order; nil for nothing.
function query.text(parameters)
  if parameters == nil then return nil end
  local found = {}
  for _, name in ipairs(values.sorted_names(parameters)) do
    local value = parameters[name]
    if type(value) == "table" then
      for _, item in ipairs(value) do add_pair(found, name .. "[]", item) end
    elseif value ~= json.null then
      add_pair(found, name, value)
    end
  end
  return found[1] and table.concat(found, "&")
end

return query
