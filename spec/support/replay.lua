--- Replays real traffic, recorded by others, with the tool that goes with the recordings. Both are outside of this
-- project, in a folder beside it.
local http = require("socket.http")
local json = require("nexus_assistants.json")
local ports = require("spec.support.ports")
local servers = require("spec.support.server")

local replay = {}

local SHARED = servers.root .. "../shared/"
local TOOL = SHARED .. "tools/replay.mjs"

local function succeeds(command)
  local first, _, code = os.execute(command .. " >/dev/null 2>&1")
  return first == true and (code == nil or code == 0) or first == 0
end

--- Why there can be no replay here; nil where there can.
function replay.lacks()
  local file = io.open(TOOL)
  if not file then return "../shared with the recordings is absent" end
  file:close()
  if not succeeds("command -v node") then return "node is absent" end
end

--- The exchanges of a recording, each text in them changed as `rewrite` (a list of { from, to }) says.
function replay.exchanges(name, rewrite)
  local file = assert(io.open(SHARED .. "recordings/" .. name, "rb"))
  local text = file:read("*a")
  file:close()
  for _, change in ipairs(rewrite or {}) do
    text = text:gsub(change[1]:gsub("%p", "%%%0"), (change[2]:gsub("%%", "%%%%")))
  end
  return assert(json.decode(text))
end

--- The names of a folder's recordings, in order.
function replay.names(folder)
  local names = {}
  local pipe = assert(io.popen("ls " .. servers.quote(SHARED .. "recordings/" .. folder)))
  for name in pipe:lines() do
    if name:find("%.json$") then names[#names + 1] = name end
  end
  pipe:close()
  return names
end

local replay_methods = {}
local replay_mt = { __index = replay_methods }

--- Serves exchanges, every answer in pieces of `chunk` bytes.
function replay.start(exchanges, chunk)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(assert(json.encode(exchanges)))
  file:close()
  local port = ports.unused()
  local command = ("echo $$; exec node %s %s --port %d --chunk %d"):format(servers.quote(TOOL), servers.quote(path),
    port, chunk)
  local pipe = assert(io.popen(command, "r"))
  local pid, line = pipe:read("*l"), pipe:read("*l")
  assert(line and line:find("^replaying"), line)
  return setmetatable({ pipe = pipe, pid = pid, path = path, port = port,
    openai_url = "http://127.0.0.1:" .. port .. "/v1" }, replay_mt)
end

--- What was served, and what was asked for that isn't recorded.
function replay_methods:report()
  local body = assert(http.request("http://127.0.0.1:" .. self.port .. "/__report"))
  return assert(json.decode(body))
end

--- Ends it.
function replay_methods:stop()
  os.execute("kill " .. self.pid)
  self.pipe:close()
  os.remove(self.path)
end

--- Serves exchanges to `fn(server)` and returns what that does. However it ends, the server is gone then: the process
-- that ran a spec would wait for it.
function replay.with(exchanges, chunk, fn)
  local server = replay.start(exchanges, chunk)
  local function stopped(ok, ...)
    server:stop()
    if not ok then error((...), 0) end
    return ...
  end
  return stopped(pcall(fn, server))
end

return replay
