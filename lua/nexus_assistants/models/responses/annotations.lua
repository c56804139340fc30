--- Pure: the annotations of a text, as the Assistants protocol has them.
local json = require("nexus_assistants.json")
local values = require("nexus_assistants.values")

local annotations = {}

local present = json.present

local CHARACTER = "[%z\1-\127\192-\255][\128-\191]*" -- of UTF-8

--- The number of characters in a text.
function annotations.length(text)
  return select(2, text:gsub(CHARACTER, ""))
end

-- The characters from `first` to before `last`, both counted from 0.
local function slice(text, first, last)
  local position, taken = 0, {}
  for character in text:gmatch(CHARACTER) do
    if position >= first and position < last then taken[#taken + 1] = character end
    position = position + 1
  end
  return table.concat(taken)
end

local function place_of(value, otherwise)
  value = present(value)
  return type(value) == "number" and value >= 0 and value or otherwise
end

local function cited(kind, annotation, text, first, last)
  return { type = kind, text = text, start_index = first, end_index = last, [kind] = { file_id = annotation.file_id } }
end

-- There is no mark in the text, only the place where one would be.
local function at_place(kind)
  return function(annotation, _, offset)
    local place = offset + place_of(annotation.index, 0)
    return cited(kind, annotation, "", place, place)
  end
end

-- A file that the interpreter made; the text has a link to it.
local function linked(annotation, text, offset)
  local first = place_of(annotation.start_index, 0)
  local last = place_of(annotation.end_index, first)
  return cited("file_path", annotation, slice(text, first, last), offset + first, offset + last)
end

local MAKERS = { file_citation = at_place("file_citation"), file_path = at_place("file_path"),
  container_file_citation = linked }

--- Adds to `list` what the protocol has of the annotations of `text`; `offset` characters stand before it. Links to the
-- web have no place there.
function annotations.add(list, given, text, offset)
  for _, annotation in ipairs(values.tables(given)) do
    local make = MAKERS[annotation.type]
    if make and type(annotation.file_id) == "string" then list[#list + 1] = make(annotation, text, offset) end
  end
end

return annotations
