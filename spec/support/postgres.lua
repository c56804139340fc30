--- A PostgreSQL of one's own for specs: a cluster in a temporary folder, on a socket there, ended with the spec.
local servers = require("spec.support.server")

local postgres = {}

local quote = servers.quote

-- What is preloaded into this interpreter, a sanitizer say, isn't meant for PostgreSQL, which hangs with it.
local function output_of(command)
  local pipe = assert(io.popen("unset LD_PRELOAD; " .. command))
  local text = pipe:read("*a"):gsub("%s+$", "")
  pipe:close()
  return text
end

-- Debian keeps the programs of each version in a folder of its own.
local function programs()
  local found = output_of("ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1; dirname \"$(command -v initdb)\"")
  return found:match("^/[^\n]+")
end

-- PostgreSQL refuses to run as root.
local function as_user(command)
  if output_of("id -u") ~= "0" then return command end
  return "runuser -u postgres -- sh -c " .. quote(command)
end

--- Why there can be none here; nil where there can.
function postgres.lacks()
  if not pcall(require, "luasql.postgres") then return "luasql.postgres is absent" end
  local folder = programs()
  local has_it = folder and output_of("ls " .. quote(folder) .. "/initdb 2>/dev/null") ~= ""
  if not has_it then return "PostgreSQL is absent" end
  if output_of("id -u") == "0" and output_of("id -u postgres 2>/dev/null; command -v runuser") == "" then
    return "a user for PostgreSQL is absent"
  end
end

local server_methods = {}
local server_mt = { __index = server_methods }

local function run(command)
  local code = output_of("( " .. as_user(command) .. " ) >/dev/null 2>&1; echo $?")
  assert(code == "0", "this failed: " .. command)
end

--- Starts one; `url` is what it is reached by.
function postgres.start()
  local folder, bin = output_of(as_user("mktemp -d /tmp/nxa-postgres-XXXXXX")), programs()
  local data = folder .. "/data"
  run(("%s/initdb -D %s -A trust -U nexus --no-sync"):format(bin, data))
  run(("%s/pg_ctl -D %s -w -o %s start"):format(bin, data,
    quote("-c listen_addresses= -c fsync=off -c unix_socket_directories=" .. folder)))
  return setmetatable({ folder = folder, data = data, bin = bin,
    url = "postgresql:///postgres?host=" .. folder .. "&user=nexus" }, server_mt)
end

--- Ends it and starts it again: all its connections are lost.
function server_methods:restart()
  run(("%s/pg_ctl -D %s -w -m fast restart"):format(self.bin, self.data))
end

--- Forgets all that is in it.
function server_methods:clear()
  run(("psql %s -c %s"):format(quote(self.url),
    quote("DROP TABLE IF EXISTS nexus_objects, nexus_accounts, nexus_schema")))
end

--- Ends it.
function server_methods:stop()
  run(("%s/pg_ctl -D %s -m immediate stop"):format(self.bin, self.data))
  os.execute("rm -rf " .. quote(self.folder))
end

return postgres
