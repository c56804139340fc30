--- Ids that can't be guessed, without touching the host's random generator.
local id = {}

local POOL_SIZE = 4096
local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

local pool, position = "", 1

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

local function next_byte()
  if position > #pool then
    pool, position = random_bytes(POOL_SIZE), 1
  end
  position = position + 1
  return pool:byte(position - 1)
end

--- The prefix and 24 letters or digits, e.g. `thread_…`.
function id.new(prefix)
  local letters = {}
  for index = 1, 24 do
    -- not quite even, and nothing here needs it to be
    local choice = next_byte() % #ALPHABET + 1
    letters[index] = ALPHABET:sub(choice, choice)
  end
  return prefix .. table.concat(letters)
end

--- A version 4 UUID.
function id.uuid()
  local digits = {}
  for index = 1, 16 do
    local byte = next_byte()
    if index == 7 then byte = byte % 16 + 64 end
    if index == 9 then byte = byte % 64 + 128 end
    digits[index] = string.format("%02x", byte)
  end
  return (table.concat(digits):gsub("^(........)(....)(....)(....)", "%1-%2-%3-%4-"))
end

return id
