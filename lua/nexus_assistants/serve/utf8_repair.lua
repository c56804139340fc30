--- Makes UTF-8 of any bytes, as the WHATWG's decoder does: each maximal part of a broken sequence becomes one U+FFFD.
-- Pure.
local core = require("nexus_assistants.core")

local byte, sub = string.byte, string.sub
local REPLACEMENT = "\239\191\189"
local SLICE = 16384

-- By a sequence's first byte: how many follow, and between what the first of those lies.
local LEADS = {}

local function define(first, last, more, low, high)
  for lead = first, last do
    LEADS[lead] = { more = more, low = low or 128, high = high or 191 }
  end
end

define(0xC2, 0xDF, 1)
define(0xE0, 0xE0, 2, 0xA0, 0xBF)
define(0xE1, 0xEC, 2)
define(0xED, 0xED, 2, 0x80, 0x9F)
define(0xEE, 0xEF, 2)
define(0xF0, 0xF0, 3, 0x90, 0xBF)
define(0xF1, 0xF3, 3)
define(0xF4, 0xF4, 3, 0x80, 0x8F)

-- The length of what begins at the position, and whether it is a whole sequence.
local function sequence(text, position)
  local lead = LEADS[byte(text, position)]
  if not lead then return 1, false end
  local low, high = lead.low, lead.high
  for offset = 1, lead.more do
    local following = byte(text, position + offset)
    if not following or following < low or following > high then return offset, false end
    low, high = 128, 191
  end
  return lead.more + 1, true
end

-- What becomes of a text from `position` on, up to about a slice, and where that ends: a table has a place for each
-- piece, which takes much more than the piece.
local function repaired_slice(run, position)
  local pieces, stop = {}, math.min(position + SLICE, #run + 1)
  while position < stop do
    local length, whole = sequence(run, position)
    pieces[#pieces + 1] = whole and sub(run, position, position + length - 1) or REPLACEMENT
    position = position + length
  end
  return table.concat(pieces), position
end

local function repaired_run(run)
  if core.utf8_valid(run) then return nil end
  local slices, position = {}, 1
  while position <= #run do
    slices[#slices + 1], position = repaired_slice(run, position)
  end
  return table.concat(slices)
end

--- The text itself where it is valid. Takes time in proportion to the text, however broken that is.
return function(text)
  if core.utf8_valid(text) then return text end
  return (text:gsub("[\128-\255]+", repaired_run))
end
