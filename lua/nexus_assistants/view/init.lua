--- The command `view`: finds a trace, at Nexus or in a file, and draws it.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local terminal = require("nexus_assistants.view.terminal")

local view = {}

local NEXUS_URL = "https://nexus.keylightdigital.dev"
local TIMEOUT, DEADLINE, STEP = 10, 30, 1
local STDOUT = 1
local NARROWEST, WIDEST, DEFAULT_WIDTH = 40, 1000, 100
local NO_SUCH_FILE = 2 -- ENOENT

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
  if problem then return nil, problem end
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

-- The content; or nil, and what is wrong with it where it is there.
local function read_file(path)
  local file, problem, code = io.open(path, "rb")
  if not file then return nil, code ~= NO_SUCH_FILE and problem or nil end
  local content
  content, problem = file:read("*a")
  file:close()
  if content then return content end
  return nil, path .. ": " .. problem
end

local function read_trace(path, content)
  local trace, problem = json.decode(content)
  if problem then return nil, path .. ": " .. problem end
  return trace
end

-- What names a file alone is never sent to Nexus: ids have neither folders nor endings.
local function find(target)
  if not target then return fetch() end
  local content, problem = read_file(target)
  if content then return read_trace(target, content) end
  if problem then return nil, problem end
  if target:find("[/.]") then return nil, "there is no file '" .. target .. "'" end
  local trace
  trace, problem = fetch(target)
  if problem then return nil, "there is no file '" .. target .. "', and " .. problem end
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
  return columns and columns > 0 and math.max(NARROWEST, math.min(columns, WIDEST)) or DEFAULT_WIDTH
end

--- Draws a trace: the file `target`, the trace with the id `target`, or the newest. `options`: `color` ("auto",
-- "always", "never"), `width`, `ascii`. Returns the text for standard output, or nil and a message.
function view.draw(target, options)
  local trace, problem = find(target)
  if problem then return nil, problem end
  return terminal.render(trace, {
    color = wants_color(options.color), width = options.width or width(), unicode = not options.ascii and is_utf8(),
  })
end

return view
