--- nexus-assistants: threads, runs and steps for Lua, every call traced, the traces delivered to Nexus.
local client = require("nexus_assistants.client")
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local tools = require("nexus_assistants.tools")

local nexus = {
  _VERSION = core.version,
  null = json.null,
  array = json.array,
  is_error = errors.is,
  pending = tools.PENDING,
}

--- Makes a client. Misuse raises; what is missing in the environment is returned as nil and an error.
function nexus.new(given)
  local made, problem = client.new(given)
  if type(problem) == "string" then error(problem, 2) end
  return made, problem
end

--- Makes a tool of `{ name, description, parameters, call }`, to be given to runs in `tools`.
function nexus.tool(fields)
  local tool, problem = tools.new(fields)
  if not tool then error(problem, 2) end
  return tool
end

return nexus
