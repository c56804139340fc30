--- Where a user's programs keep what should outlive them.
local core = require("nexus_assistants.core")

local state_folder = {}

local OURS = "/nexus-assistants/"

--- The path of what this library keeps there under a name; nil where there is no such place.
function state_folder.path(name)
  local own = core.environment("XDG_STATE_HOME")
  if own and own:sub(1, 1) == "/" then return own .. OURS .. name end
  local home = core.environment("HOME")
  return home and home ~= "" and home .. "/.local/state" .. OURS .. name or nil
end

return state_folder
