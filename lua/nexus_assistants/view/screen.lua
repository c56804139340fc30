--- What standard output is: a terminal or not, how wide, and what it can show.
local core = require("nexus_assistants.core")

local screen = {}

local STDOUT = 1
local NARROWEST, WIDEST, DEFAULT_WIDTH = 40, 1000, 100

local function is_terminal()
  return core.is_terminal ~= nil and core.is_terminal(STDOUT)
end

--- Whether to paint; `choice` is "always", "never", or whatever fits what standard output is.
function screen.wants_color(choice)
  if choice == "always" then return true end
  if choice == "never" then return false end
  local refused = core.environment("NO_COLOR")
  return is_terminal() and (refused == nil or refused == "") and core.environment("TERM") ~= "dumb"
end

--- Whether it shows more than ASCII.
function screen.is_utf8()
  for _, name in ipairs({ "LC_ALL", "LC_CTYPE", "LANG" }) do
    local value = core.environment(name)
    -- the first that is set counts
    if value and value ~= "" then return value:lower():find("utf%-?8") ~= nil end
  end
  return false
end

--- How many columns it has; 100 where nobody says.
function screen.width()
  local columns = core.terminal_width and core.terminal_width(STDOUT) or tonumber(core.environment("COLUMNS"))
  return columns and columns > 0 and math.max(NARROWEST, math.min(math.floor(columns), WIDEST)) or DEFAULT_WIDTH
end

return screen
