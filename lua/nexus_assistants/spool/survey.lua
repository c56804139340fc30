--- What is in a spool, without taking anything of it.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")

local survey = {}

local FOLDER = "^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$"
local FILE = "%.jsonl$"

-- A process that is at work there has the lock.
local function is_held(path)
  local lock, problem = core.lock_file(path)
  if lock then lock:release() end
  return problem == "locked"
end

-- When the trace in a file began, which its first line says; nil where that can't be read.
local function begun(file)
  local state = json.decode(file:read("*l") or "")
  state = type(state) == "table" and state.state
  return type(state) == "table" and type(state.started_at) == "string" and state.started_at or nil
end

local function add_file(found, path)
  local file = io.open(path, "rb")
  if not file then return end
  local started_at, size = begun(file), file:seek("end")
  file:close()
  if size == 0 then return end
  found.files, found.bytes = found.files + 1, found.bytes + size
  if started_at and started_at < (found.oldest or "~") then found.oldest = started_at end
end

local function add_folder(found, path)
  local names = core.list_folder(path)
  if not names then return end
  for _, name in ipairs(names) do
    if name == "lock" and is_held(path .. "/lock") then found.held = found.held + 1 end
    if name:find(FILE) then add_file(found, path .. "/" .. name) end
  end
end

--- What is in the spool at `path`: a table of files (one a trace), bytes, oldest (when the oldest trace began, as a
-- timestamp; may be nil), and held (processes that are at work there); or nil, message where it can't be read.
function survey.of(path)
  local names, problem = core.list_folder(path)
  if not names then return nil, problem end
  local found = { files = 0, bytes = 0, held = 0 }
  for _, name in ipairs(names) do
    if name:find(FOLDER) then add_folder(found, path .. "/" .. name) end
  end
  return found
end

return survey
