--- Texts byte by byte: cutting between characters.
local text = {}

-- How many bytes a character of UTF-8 has, by its first one.
local function size_of(lead)
  if lead >= 240 then return 4 end
  return lead >= 224 and 3 or 2
end

-- Where a character begins that the end of `value` cuts short; nil where its last character is whole.
local function incomplete(value)
  local from = math.max(#value - 2, 1)
  local place = value:find("[\192-\255][\128-\191]*$", from)
  if place and #value - place + 1 < size_of(value:byte(place)) then return place end
end

--- At most the first `length` bytes of a text, without the character that would be cut in two there. What isn't UTF-8
-- is kept as it is.
function text.cut(value, length)
  if #value <= length then return value end
  local kept = value:sub(1, length)
  local place = incomplete(kept)
  return place and kept:sub(1, place - 1) or kept
end

return text
