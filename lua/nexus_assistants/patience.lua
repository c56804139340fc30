--- A line on a terminal that says whom a command waits for, once that takes long.
local core = require("nexus_assistants.core")

local patience = {}

local ENOUGH = 2 -- seconds
local STDERR = 2

--- Makes what is called while a command does what `doing` says, such as "waiting for", with whoever is at `url`, which
-- the core has accepted; it returns the seconds after which it wants to be called again.
function patience.new(doing, url)
  local due = core.is_terminal(STDERR) and core.monotonic() + ENOUGH or math.huge
  return function()
    local left = due - core.monotonic()
    if left > 0 then return left end
    due = math.huge
    io.stderr:write("nexus-assistants: still ", doing, " ", url, "\n")
    return due
  end
end

return patience
