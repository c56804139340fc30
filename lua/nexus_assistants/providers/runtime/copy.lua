--- Copies of JSON values: what a caller holds and what the store holds are never the same table.
local json = require("nexus_assistants.json")

local MAX_DEPTH = 128

local function copy(value, depth)
  if type(value) ~= "table" then return value end
  if depth > MAX_DEPTH then error("nested too deeply, or contains itself", 0) end
  local result = json.is_array(value) and json.array() or {}
  for key, member in pairs(value) do
    result[key] = copy(member, depth + 1)
  end
  return result
end

return function(value) return copy(value, 0) end
