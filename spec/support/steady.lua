--- A server that takes only what the official description of the API allows.
local openapi = require("spec.support.openapi")
local ports = require("spec.support.ports")
local servers = require("spec.support.server")
local socket = require("socket")

local steady = {}

local PROGRAM = servers.root .. "dev/node_modules/.bin/steady"
local STARTING = 20 -- seconds
-- how the official clients write what is nested in a form, and lists in queries; the description doesn't say
local FORMS = "--validator-form-object-format=brackets --validator-form-array-format=brackets"
  .. " --validator-query-array-format=brackets"

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

--- Why it can't be run here; nil where it can.
function steady.lacks()
  if not exists(PROGRAM) then return "@stdy/cli is absent (npm install in dev/)" end
  return openapi.lacks()
end

local function answers(port)
  local connection = socket.connect("127.0.0.1", port)
  if connection then connection:close() end
  return connection ~= nil
end

local steady_methods = {}
local steady_mt = { __index = steady_methods }

--- Starts it; `url` is the API's base URL.
function steady.start()
  local port = ports.unused()
  local command = ("echo $$; exec %s --host 127.0.0.1 -p %d --no-color %s %s 2>&1"):format(servers.quote(PROGRAM),
    port, FORMS, servers.quote(openapi.path))
  local pipe = assert(io.popen(command, "r"))
  local pid = pipe:read("*l")
  local give_up_at = socket.gettime() + STARTING
  while not answers(port) do
    assert(socket.gettime() < give_up_at, "steady did not start")
    socket.sleep(0.02)
  end
  return setmetatable({ pipe = pipe, pid = pid, url = "http://127.0.0.1:" .. port }, steady_mt)
end

--- Stops it; returns all it said.
function steady_methods:stop()
  os.execute("kill " .. self.pid)
  local said = self.pipe:read("*a")
  self.pipe:close()
  return said
end

return steady
