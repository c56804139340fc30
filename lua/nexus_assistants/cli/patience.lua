--- A line on a terminal that says whom a command waits for, once that takes long.
local core = require("nexus_assistants.core")
local text = require("nexus_assistants.view.text")

local patience = {}

local ENOUGH = 2 -- seconds
local STDERR = 2

--- Makes what is called while a command waits for whoever is at `url`; it returns the seconds after which it wants to
-- be called again.
function patience.new(url)
  local due = core.is_terminal(STDERR) and core.monotonic() + ENOUGH or math.huge
  return function()
    local left = due - core.monotonic()
    if left > 0 then return left end
    due = math.huge
    io.stderr:write("nexus-assistants: waiting for ", text.harmless(url), "\n")
    return due
  end
end

return patience
