--- Texts byte by byte: cutting between characters, and between words.
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

--- What there is of a text up to its last whole character, and the beginning of one behind it, or "".
function text.whole(value)
  local place = incomplete(value)
  if not place then return value, "" end
  return value:sub(1, place - 1), value:sub(place)
end

--- A text in its words, each with the white space before it, as models write them; in pieces of more than a word where
-- it would be more than about `most` pieces.
function text.words(value, most)
  local least, words, from = math.floor(#value / most), {}, 1
  while from <= #value do
    local _, stop = value:find("^[ \t\r\n]*[^ \t\r\n]*", from)
    while stop < #value and stop - from + 1 < least do
      _, stop = value:find("^[ \t\r\n]*[^ \t\r\n]*", stop + 1)
    end
    words[#words + 1], from = value:sub(from, stop), stop + 1
  end
  return words
end

--- A text in pieces of about `size` bytes, cut between characters, or of more where it would be more than `most`.
function text.slices(value, size, most)
  size = math.max(size, math.ceil(#value / most) + 3)
  local slices, from = {}, 1
  while from <= #value do
    local slice = text.cut(value:sub(from, from + size), size)
    slices[#slices + 1], from = slice, from + #slice
  end
  return slices
end

return text
