--- Ports for servers of specs that must know theirs beforehand, or come back to it.
local socket = require("socket")

local ports = {}

local LOWEST, HIGHEST = 10000, 65535
local TRIES = 100

-- What Linux gives to whoever asks for any: between a look at one of those and its use, a connection of another process
-- may get it.
local function given_away()
  local file = io.open("/proc/sys/net/ipv4/ip_local_port_range")
  if not file then return 32768, 60999 end
  local first, last = file:read("*n", "*n")
  file:close()
  return first, last
end

-- The larger part of what lies below those and above them. Where next to all are given away, any must do.
local function choose_range()
  local first, last = given_away()
  if first - LOWEST >= math.max(HIGHEST - last, TRIES) then return LOWEST, first - LOWEST end
  if HIGHEST - last >= TRIES then return last + 1, HIGHEST - last end
  return LOWEST, HIGHEST - LOWEST
end

local FIRST, COUNT = choose_range()

-- Programs that start in the same second must not go through the same ports.
local function random_offset()
  local file = assert(io.open("/dev/urandom", "rb"))
  local high, low = file:read(2):byte(1, 2)
  file:close()
  return (high * 256 + low) % COUNT
end

--- A port of 127.0.0.1 where nobody listens.
function ports.unused()
  for _ = 1, TRIES do
    local port = FIRST + random_offset()
    local listener = socket.bind("127.0.0.1", port)
    if listener then
      listener:close()
      return port
    end
  end
  error("no port of 127.0.0.1 is unused")
end

return ports
