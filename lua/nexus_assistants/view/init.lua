--- The command `view`: finds a trace, at Nexus or in a file, and prints it.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local terminal = require("nexus_assistants.view.terminal")

local view = {}

local NEXUS_URL = "https://nexus.keylightdigital.dev"
local TIMEOUT, DEADLINE, STEP = 10, 30, 1
local STDOUT = 1

-- ------------------------------------------------------------------------------------------------------ sources

local function get(engine, endpoint, path, query)
  local call, err = engine:call({
    endpoint = endpoint, method = "GET", path = path, query = query, timeout = TIMEOUT, deadline = DEADLINE,
  })
  if not call then return nil, err.message end
  while not call:done() do
    engine:step(STEP)
  end
  local response
  response, err = call:result()
  if err then return nil, endpoint:base_url() .. ": " .. errors.from_call(err, response).message end
  return json.decode(response.body)
end

local function latest_id(engine, endpoint)
  local list, problem = get(engine, endpoint, "/api/v1/traces", "limit=1")
  if not list then return nil, problem end
  local newest = type(list) == "table" and list[1]
  if type(newest) ~= "table" or type(newest.id) ~= "string" then return nil, "there is no trace yet" end
  return newest.id
end

local function fetch(id)
  local endpoint, err = core.endpoint({
    base_url = core.environment("NEXUS_BASE_URL") or NEXUS_URL, key_environment = "NEXUS_API_KEY",
  })
  if not endpoint then return nil, err.message end
  if not endpoint:has_key() then return nil, "NEXUS_API_KEY is not set" end
  local engine = assert(core.engine({}))
  local trace, problem = nil, nil
  if not id then id, problem = latest_id(engine, endpoint) end
  if id then trace, problem = get(engine, endpoint, "/api/v1/traces/" .. operations.escape(id)) end
  engine:close()
  return trace, problem
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local content = file:read("*a")
  file:close()
  return content or ""
end

local function find(target)
  local content = target and read_file(target)
  if not content then return fetch(target) end
  local trace, problem = json.decode(content)
  if not trace then return nil, target .. ": " .. problem end
  return trace
end

-- ----------------------------------------------------------------------------------------------------- terminal

local function is_terminal()
  return core.is_terminal ~= nil and core.is_terminal(STDOUT)
end

local function wants_color(choice)
  if choice == "always" then return true end
  if choice == "never" then return false end
  local refused = core.environment("NO_COLOR")
  return is_terminal() and (refused == nil or refused == "") and core.environment("TERM") ~= "dumb"
end

local function is_utf8()
  for _, name in ipairs({ "LC_ALL", "LC_CTYPE", "LANG" }) do
    local value = core.environment(name)
    -- the first that is set counts
    if value and value ~= "" then return value:lower():find("utf%-?8") ~= nil end
  end
  return false
end

local function width()
  local columns = core.terminal_width and core.terminal_width(STDOUT) or tonumber(core.environment("COLUMNS"))
  return columns and columns >= 40 and math.min(columns, 1000) or 100
end

--- Prints a trace: the file `target`, the trace with the id `target`, or the newest. `options`: `color` ("auto",
-- "always", "never"), `width`, `ascii`. Returns true, or nil and a message.
function view.show(target, options)
  local trace, problem = find(target)
  if not trace then return nil, problem end
  local drawn
  drawn, problem = terminal.render(trace, {
    color = wants_color(options.color), width = options.width or width(), unicode = not options.ascii and is_utf8(),
  })
  if not drawn then return nil, problem end
  io.stdout:write(drawn)
  return true
end

return view
