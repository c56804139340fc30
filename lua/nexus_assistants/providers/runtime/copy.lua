--- Copies of JSON values: what a caller holds and what the store holds are never the same table.
local json = require("nexus_assistants.json")

local MAX_DEPTH = 128

local function copy(value, depth, most)
  if type(value) ~= "table" then return value end
  if depth > most then error("nested too deeply, or contains itself", 0) end
  local result = json.is_array(value) and json.array() or {}
  for key, member in pairs(value) do
    result[key] = copy(member, depth + 1, most)
  end
  return result
end

--- Copies a value; raises where it is nested more than `max_depth` levels deep (128, what JSON is written with).
return function(value, max_depth) return copy(value, 0, max_depth or MAX_DEPTH) end
