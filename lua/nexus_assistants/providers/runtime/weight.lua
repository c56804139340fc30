--- About how many bytes a JSON value takes in memory: for caps, since its text says little about its tables.
local TABLE, MEMBER = 64, 40

local function weight(value)
  if type(value) == "string" then return #value end
  if type(value) ~= "table" then return 0 end
  local total = TABLE
  for key, member in pairs(value) do
    total = total + MEMBER + weight(key) + weight(member)
  end
  return total
end

return weight
