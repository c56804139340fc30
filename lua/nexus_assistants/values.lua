--- What values are, beyond their types.
local values = {}

local NONE = {}

--- True for numbers that are neither NaN nor infinite.
function values.is_finite(value)
  return type(value) == "number" and value == value and value ~= math.huge and value ~= -math.huge
end

--- True for tables that hold nothing but positions from 1 on, without holes; an empty one is a list too.
function values.is_list(value)
  if type(value) ~= "table" then return false end
  local count, highest = 0, 0
  for position in next, value do
    if not values.is_finite(position) or position < 1 or position % 1 ~= 0 then return false end
    count, highest = count + 1, math.max(highest, position)
  end
  return count == highest
end

--- The tables in a list, whatever else is in it; none where it is no list. What a server sends may be anything.
function values.tables(list)
  local found = {}
  for _, value in ipairs(type(list) == "table" and list or {}) do
    if type(value) == "table" then found[#found + 1] = value end
  end
  return found
end

--- True for texts with a zero, a line break or another control character in them, whatever the locale says.
function values.has_control(text)
  return text:find("[%z\1-\31\127]") ~= nil
end

--- A new table with what is in the given ones (either may be nil); what is in the second wins.
function values.merged(first, second)
  local result = {}
  for name, value in pairs(first or NONE) do result[name] = value end
  for name, value in pairs(second or NONE) do result[name] = value end
  return result
end

--- The names in a table, in order.
function values.sorted_names(named)
  local names = {}
  for name in pairs(named) do names[#names + 1] = name end
  table.sort(names)
  return names
end

return values
