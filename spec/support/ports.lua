--- Ports for servers of specs that must know theirs beforehand, or come back to it.
local socket = require("socket")

local ports = {}

-- Below those that Linux gives to whoever asks for any (net.ipv4.ip_local_port_range: 32768 to 60999): between a look
-- at one of those and its use, a connection of another process may get it.
local FIRST, COUNT = 20000, 12000
local TRIES = 100

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
