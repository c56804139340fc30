--- Runs Lua programs as processes of their own, with an environment that is theirs alone.
local server = require("spec.support.server")

local process = {}

-- What a developer's or a CI's environment may hold and a program under test must not see by chance.
local OURS = { "OPENAI_API_KEY", "OPENAI_BASE_URL", "ASSISTANT_ID", "NEXUS_API_KEY", "NEXUS_BASE_URL", "NEXUS_AGENT_ID",
  "NEXUS_ASSISTANTS_PROVIDER", "NEXUS_ASSISTANTS_POLL_INTERVAL", "NEXUS_ASSISTANTS_STORE", "NEXUS_ASSISTANTS_SCRIPT",
  "OPENAI_MODEL" }

local function prefix(environment)
  local parts = { "unset " .. table.concat(OURS, " ") .. ";" }
  for name, value in pairs(environment or {}) do
    parts[#parts + 1] = "export " .. name .. "=" .. server.quote(value) .. ";"
  end
  return table.concat(parts, " ")
end

local function read_all(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  os.remove(path)
  return text
end

--- A path below the project's root.
function process.path(relative)
  return server.root .. relative
end

--- The shell command that runs a program with arguments.
function process.command(words, environment)
  return prefix(environment) .. " " .. server.command(words)
end

--- Runs a program with arguments; returns `{ code, out, err }`.
function process.run(words, environment)
  local out_path, err_path = os.tmpname(), os.tmpname()
  local command = "( %s ) >%s 2>%s; echo $?"
  local pipe = assert(io.popen(command:format(process.command(words, environment), out_path, err_path), "r"))
  local code = tonumber(pipe:read("*l"))
  pipe:close()
  return { code = code, out = read_all(out_path), err = read_all(err_path) }
end

local function write_file(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

--- Runs a chunk of Lua in a process.
function process.chunk(text, environment)
  local path = write_file(text)
  local result = process.run({ path }, environment)
  os.remove(path)
  return result
end

--- Runs a chunk of Lua in a process that has a terminal, 20 seconds at most. Returns all that was to be seen there; nil
-- where there is no terminal for it.
function process.chunk_on_terminal(text, environment)
  local chunk = write_file(text)
  local preload = os.getenv("LD_PRELOAD") -- a sanitizer, for the chunk alone
  local exports = preload and "export LD_PRELOAD=" .. server.quote(preload) .. "; " or ""
  local path = write_file("echo begun; " .. exports .. process.command({ chunk }, environment))
  local command = "unset LD_PRELOAD; timeout 20 script -qec 'sh %s' /dev/null </dev/null 2>&1"
  local pipe = assert(io.popen(command:format(path)))
  local seen = pipe:read("*a"):gsub("\r", "")
  pipe:close()
  os.remove(chunk)
  os.remove(path)
  return seen:find("begun\n", 1, true) and seen or nil
end

return process
