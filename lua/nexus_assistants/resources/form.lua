--- The parameters of operations that upload: a form with a file in it.
local json = require("nexus_assistants.json")
local options = require("nexus_assistants.options")
local values = require("nexus_assistants.values")

local form = {}

local DEEPEST = 8

local FILE = "a table, { path = … }, { data = …, name = … } or { read = function, name = … }"

local function type_name(value)
  return value == json.null and "null" or type(value)
end

local function is_text_value(value)
  local kind = type(value)
  return kind == "string" or kind == "boolean" or kind == "number" and value == value and value + 1 ~= value
end

local function count_sources(file)
  return (file.path and 1 or 0) + (file.data and 1 or 0) + (file.read and 1 or 0)
end

local function read_file(where, name, given)
  if type(given) ~= "table" then
    return nil, where .. ": params." .. name .. " must be " .. FILE .. ", got " .. type_name(given)
  end
  local file, problem = options.read(where .. ": params." .. name, options.file, given)
  if not file then return nil, problem end
  if count_sources(file) ~= 1 then
    return nil, where .. ": params." .. name .. " must have one of 'path', 'data' and 'read'"
  end
  if not file.path and not file.name then return nil, where .. ": params." .. name .. " must have a 'name'" end
  return file
end

-- Lists, and tables by name, of texts: not deeper than any form of the API is, so that a cycle is refused too.
local function is_form_value(value, depth)
  if type(value) ~= "table" then return is_text_value(value) end
  if depth == 0 or value == json.null then return false end
  local is_list = values.is_list(value)
  for key, item in pairs(value) do
    if not is_list and type(key) ~= "string" or not is_form_value(item, depth - 1) then return false end
  end
  return true
end

--- Checks the fields of a form, one of them the file of `entry.file_field`. Returns a copy of them, or nil and what is
-- wrong.
function form.read(entry, where, payload)
  local fields = {}
  for name, value in pairs(payload) do
    if type(name) ~= "string" then return nil, where .. ": params: names must be strings, got a " .. type(name) end
    if name ~= entry.file_field and not is_form_value(value, DEEPEST) then
      return nil, where .. ": params: '" .. name .. "' must be text, a number, a boolean, or a table of them"
    end
    fields[name] = value
  end
  local file, problem = read_file(where, entry.file_field, payload[entry.file_field])
  fields[entry.file_field] = file
  return file and fields, problem
end

return form
