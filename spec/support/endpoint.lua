--- What chat_server.lua and responses_server.lua have in common: listening, in the same process as the client or as one
-- of its own, and what the API's description says of requests.
local core = require("nexus_assistants.core")
local openapi = require("spec.support.openapi")
local server = require("nexus_assistants.serve.server")
local servers = require("spec.support.server")

local endpoint = {}

local PATIENCE = 30 -- seconds that something must happen in

local known_names = {} -- by the schema's name

local function read_names(schema_name)
  local document, names = openapi.read(), {}
  local function collect(schema)
    schema = openapi.resolve(document, schema)
    for name in pairs(schema.properties or {}) do names[name] = true end
    for _, part in ipairs(schema.allOf or {}) do collect(part) end
  end
  collect(document.components.schemas[schema_name])
  return names
end

--- The names that a request of the API's schema may have; nil where the description isn't here.
function endpoint.names_of(schema_name)
  if not known_names[schema_name] and not openapi.lacks() then known_names[schema_name] = read_names(schema_name) end
  return known_names[schema_name]
end

--- Has `self` listen, at `self.url`; `handle(self, request)` answers.
function endpoint.listen(self, handle)
  self.server = assert(server.new({ handler = function(request) return handle(self, request) end }))
  self.url = ("http://127.0.0.1:%d/v1"):format(self.server.port)
  return self
end

--- Runs `fn(…)` in a task of the client's, and the server beside it. Returns what fn returns.
function endpoint.run(self, client, fn, ...)
  local task, give_up_at = client:task(fn, ...), core.monotonic() + PATIENCE
  while not task:done() do
    client:update(1)
    self.server.loop:step(0)
    assert(core.monotonic() < give_up_at, "nothing came of it in time")
  end
  return client:wait(task)
end

--- Closes what is open.
function endpoint.close(self)
  self.server:close()
end

-- --------------------------------------------------------------------------------------------- a process of its own

local process_methods = {}
local process_mt = { __index = process_methods }

--- Starts the file `source` as a process that serves what the file `script` returns; it has `url` and `stop()`.
function endpoint.start(source, script)
  local pipe = assert(io.popen("echo $$; " .. servers.command({ source, script }), "r"))
  local pid, line = pipe:read("*l"), pipe:read("*l")
  local url = assert(line and line:match("^listening on (http://%S+)$"), "the endpoint did not start")
  return setmetatable({ pipe = pipe, pid = pid, url = url }, process_mt)
end

--- Ends the process and waits until it is gone.
function process_methods:stop()
  os.execute("kill " .. self.pid .. " 2>/dev/null")
  self.pipe:close()
end

--- Serves, where the file `source` is what runs, what the file in its argument returns; `new` makes it.
function endpoint.serve_if_run(source, new)
  if not (arg and arg[0] == source and arg[1]) then return end
  local made = new(dofile(arg[1]))
  io.stdout:write("listening on ", made.url, "\n")
  io.stdout:flush()
  made.server:run()
end

return endpoint
