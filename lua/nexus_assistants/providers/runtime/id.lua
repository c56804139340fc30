--- Ids that can't be guessed, without touching the host's random generator.
local id = {}

local POOL_SIZE = 4096
local LENGTH = 24
local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

local letters, digits = {}, {}
for byte = 0, 255 do
  -- not quite even, and nothing here needs it to be
  local choice = byte % #ALPHABET + 1
  letters[string.char(byte)] = ALPHABET:sub(choice, choice)
  digits[string.char(byte)] = string.format("%02x", byte)
end

local function random_bytes(count)
  local file = io.open("/dev/urandom", "rb")
  local bytes = file and file:read(count)
  if file then file:close() end
  if bytes and #bytes == count then return bytes end
  local made = {}
  for index = 1, count do
    made[index] = string.char(math.random(0, 255))
  end
  return table.concat(made)
end

-- A function that gives so many random characters, each byte written as the table says.
local function source(characters)
  local pool, position = "", 1
  return function(count)
    if position + count - 1 > #pool then
      pool, position = random_bytes(POOL_SIZE):gsub(".", characters), 1
    end
    position = position + count
    return pool:sub(position - count, position - 1)
  end
end

local random_letters, random_digits = source(letters), source(digits)

--- The prefix and 24 letters or digits, e.g. `thread_…`.
function id.new(prefix)
  return prefix .. random_letters(LENGTH)
end

--- A version 4 UUID.
function id.uuid()
  local text = random_digits(32)
  local variant = ("89ab"):sub(tonumber(text:sub(17, 17), 16) % 4 + 1):sub(1, 1)
  return text:sub(1, 8) .. "-" .. text:sub(9, 12) .. "-4" .. text:sub(14, 16) .. "-" .. variant .. text:sub(18, 20)
    .. "-" .. text:sub(21)
end

return id
