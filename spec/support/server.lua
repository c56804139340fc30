--- Starts the local server, plain or with faults, as a process of its own for specs.
--
--   local servers = require("spec.support.server")
--   local server = servers.start({ kind = "serve" })                        -- or "fault"
--   local server = servers.start({ kind = "fault", model_script = "examples/weather_model.lua", delay = 0.2,
--                                  assistant_id = "asst_x", log = "a file for the log",
--                                  api_key_environment = "NAME", environment = { NAME = "value" },
--                                  arguments = { "--more", "options" } })
--   server.url, server.openai_url, server.nexus_url     "http://127.0.0.1:PORT", the same with "/v1", the same
--   server:request(method, path, body, headers)         → {status, headers, body, json}; a table as body is sent as
--                                                         JSON; headers with the keys both protocols take come along
--   server:faults({ { path = "/api/v1", action = "status", status = 503, times = 2 } })     "fault" only, see
--   server:clear_faults()                                                    fault_server.lua for what there is
--   server:requests()                                   what was received, oldest first; clear_requests() forgets
--   server:traces()                                     whole traces (GET /api/v1/traces/:id), newest first
--   server:restored_traces()                            the same, with what was told late where the rest is
--   server:stop()                                       in after_each or teardown; a second time does nothing
--
-- start() returns once the server listens. A server that is never stopped ends by itself after five minutes.
local ending = require("nexus_assistants.view.ending")
local json = require("nexus_assistants.json")
local socket = require("socket")

local support = {}
local server_methods = {}
local server_mt = { __index = server_methods }

local LIFETIME = 300
local TIMEOUT = 30

local source = debug.getinfo(1, "S").source
support.root = source:match("^@(.*)spec/support/server%.lua$") or ""

local PROGRAMS = {
  serve = { support.root .. "bin/nexus-assistants", "serve" },
  fault = { support.root .. "spec/support/fault_server.lua" },
}

--- A text as one word of the shell.
function support.quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

--- The interpreter that runs this.
function support.interpreter()
  local index = 0
  while arg and arg[index - 1] do
    index = index - 1
  end
  return arg and index < 0 and arg[index] or "lua"
end

--- A shell command that runs a Lua program with this process's module paths, and replaces the shell.
-- The versioned variables would win over the plain ones, so they go.
function support.command(words)
  local version = _VERSION:match("%d+%.%d+"):gsub("%.", "_")
  local parts = {
    "unset LUA_PATH_" .. version .. " LUA_CPATH_" .. version .. ";",
    "LUA_PATH=" .. support.quote(package.path), "LUA_CPATH=" .. support.quote(package.cpath),
    "exec", support.quote(support.interpreter()),
  }
  for _, word in ipairs(words) do
    parts[#parts + 1] = support.quote(word)
  end
  return table.concat(parts, " ")
end

local function words_of(options)
  local words = {}
  for _, word in ipairs(assert(PROGRAMS[options.kind or "serve"], "kind: serve or fault")) do
    words[#words + 1] = word
  end
  local function add(name, value)
    words[#words + 1] = "--" .. name
    words[#words + 1] = tostring(value)
  end
  add("port", options.port or 0)
  add("exit-after", LIFETIME)
  if options.model_script then add("model-script", options.model_script) end
  if options.delay then add("delay", options.delay) end
  if options.assistant_id then add("assistant-id", options.assistant_id) end
  if options.api_key_environment then add("api-key-environment", options.api_key_environment) end
  for _, word in ipairs(options.arguments or {}) do words[#words + 1] = word end
  if not options.log then words[#words + 1] = "--quiet" end
  return words
end

local function exports(environment)
  local parts = { "unset NEXUS_ASSISTANTS_STORE OPENAI_MODEL; " }
  for name, value in pairs(environment or {}) do
    parts[#parts + 1] = "export " .. name .. "=" .. support.quote(value) .. "; "
  end
  return table.concat(parts)
end

--- Starts a server and waits until it listens.
function support.start(options)
  options = options or {}
  local redirection = options.log and " 2>" .. support.quote(options.log) or ""
  local command = exports(options.environment) .. support.command(words_of(options)) .. redirection
  local pipe = assert(io.popen("echo $$; " .. command, "r"))
  local pid, line = pipe:read("*l"), pipe:read("*l")
  local url = line and line:match("^listening on (http://%S+)$")
  if not url then
    pipe:close()
    error("the server did not start: " .. tostring(line), 2)
  end
  local port = tonumber(url:match(":(%d+)$"))
  return setmetatable({
    pipe = pipe, pid = pid, port = port, url = url, openai_url = url .. "/v1", nexus_url = url,
  }, server_mt)
end

--- Ends the server and waits until it is gone.
function server_methods:stop()
  if not self.pipe then return end
  os.execute("kill " .. self.pid .. " 2>/dev/null")
  self.pipe:close()
  self.pipe = nil
end

local function read_head(connection)
  local status = assert(connection:receive("*l")):match("^HTTP/1%.%d (%d%d%d)")
  local headers = {}
  while true do
    local line = assert(connection:receive("*l"))
    if line == "" then return tonumber(status), headers end
    local name, value = line:match("^([^:]+):%s*(.*)$")
    headers[name:lower()] = value
  end
end

local function request_text(self, method, path, body, headers)
  local lines = { method .. " " .. path .. " HTTP/1.1", "Host: 127.0.0.1:" .. self.port, "Connection: close" }
  local given = {}
  for name, value in pairs(headers or {}) do
    given[name:lower()] = true
    if value then lines[#lines + 1] = name .. ": " .. value end
  end
  if not given.authorization then lines[#lines + 1] = "Authorization: Bearer nxs_local" end
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- One request on a connection of its own. A header given as false is left out. Raises where no answer comes.
function server_methods:request(method, path, body, headers)
  if type(body) == "table" then body = assert(json.encode(body)) end
  local connection = assert(socket.connect("127.0.0.1", self.port))
  connection:settimeout(TIMEOUT)
  assert(connection:send(request_text(self, method, path, body, headers)))
  local status, received = read_head(connection)
  local text, problem, rest = connection:receive("*a")
  connection:close()
  assert(text or problem == "closed", problem) -- nothing at all counts as closed
  text = text or rest
  return { status = status, headers = received, body = text, json = json.decode(text) }
end

local function control(self, method, path, body)
  local response = self:request(method, path, body)
  assert(response.status == 200, response.body)
  return response.json
end

--- Sets the faults; with `hits` as they are now where none are given.
function server_methods:faults(list)
  if list then return control(self, "PUT", "/__faults", json.array(list)) end
  return control(self, "GET", "/__faults")
end

--- No faults any more; what hangs is answered.
function server_methods:clear_faults()
  return control(self, "DELETE", "/__faults")
end

--- What was received, oldest first.
function server_methods:requests()
  return control(self, "GET", "/__requests")
end

--- Forgets what was received.
function server_methods:clear_requests()
  return control(self, "DELETE", "/__requests")
end

--- All traces with their spans, newest first.
function server_methods:traces()
  local traces = {}
  for index, item in ipairs(control(self, "GET", "/api/v1/traces?limit=200")) do
    traces[index] = control(self, "GET", "/api/v1/traces/" .. item.id)
  end
  return traces
end

--- The same as they were: what took long, if only since the machine was slow, has told the rest of its metadata in a
-- last span.
function server_methods:restored_traces()
  local traces = self:traces()
  for _, trace in ipairs(traces) do ending.restore(trace) end
  return traces
end

return support
