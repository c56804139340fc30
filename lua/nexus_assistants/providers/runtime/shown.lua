--- What callers see of an object, or of a list of them: a copy without the runtime's own notes.
local copy = require("nexus_assistants.providers.runtime.copy")
local json = require("nexus_assistants.json")

local NOTES = "private"

local function shown(object)
  local result = {}
  for name, value in pairs(object) do
    if name ~= NOTES then result[name] = copy(value) end
  end
  return result
end

local function shown_page(page)
  local result, data = {}, json.array()
  for name, value in pairs(page) do result[name] = value end
  for index, object in ipairs(page.data) do data[index] = shown(object) end
  result.data = data
  return result
end

return function(object)
  if type(object) ~= "table" then return object end
  if object.object == "list" then return shown_page(object) end
  return shown(object)
end
