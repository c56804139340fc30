--- Whether a trace could be left in a spool: only writing tells. It is done as a client does it, in a folder of its
-- own, so that what stays of it where the doctor is killed goes with what ended clients leave.
local core = require("nexus_assistants.core")
local ids = require("nexus_assistants.providers.runtime.id")

local probe = {}

local CONTENT = ("x"):rep(4096) -- no file system has that much room left where it is full
local FILE = "/1.probe.new" -- as what isn't finished is called in such a folder: it goes where that is swept
local NAME_LENGTH = 16
local TRIES = 3 -- a client that sweeps the spool may take the folder before it is locked

-- Makes the folders on the way to a path that aren't there, and adds them to `made`; true, or nil and what hinders.
local function make_way(path, made)
  if core.look_at(path) then return true end
  local above = path:match("^(.+)/[^/]*$")
  local ok, problem = true, nil
  if above then ok, problem = make_way(above, made) end
  if not ok then return nil, problem end
  local done, err = core.make_directory(path)
  if not done then return nil, err.message end
  made[#made + 1] = path
  return true
end

-- Writes a file that is nobody else's to read; true, or nil and what hinders.
local function write_private(path)
  local made, err = core.make_private(path)
  if not made then return nil, err.message end
  local file, problem = io.open(path, "wb")
  if not file then return nil, problem end
  file:setvbuf("no")
  local written, closed, late
  written, problem = file:write(CONTENT)
  closed, late = file:close()
  return written and closed, problem or late
end

-- Writes in a folder of its own, which is there and nobody else's; what hinders, or nil.
local function fault_of_own(own)
  local lock, problem = core.lock_file(own .. "/lock")
  if not lock then return problem == "locked" and problem or problem.message end
  local written
  written, problem = write_private(own .. FILE)
  os.remove(own .. FILE)
  lock:remove()
  return not written and problem or nil
end

local function attempt(folder)
  local made, own = {}, folder .. "/" .. ids.uuid():gsub("-", ""):sub(1, NAME_LENGTH)
  local ok, fault = make_way(own, made)
  if ok then fault = fault_of_own(own) end
  -- whoever else has made something there meanwhile keeps it: a folder goes where it is empty
  for index = #made, 1, -1 do os.remove(made[index]) end
  return fault
end

--- What hinders leaving a trace in a folder, which needn't be there yet; nil where nothing does. It leaves nothing.
function probe.fault(folder)
  local fault
  for _ = 1, TRIES do
    fault = attempt(folder)
    if not fault then return nil end
  end
  return fault
end

return probe
