--- The folders that ended processes left in the spool. Who has the lock of one has the files in it.
local core = require("nexus_assistants.core")
local record = require("nexus_assistants.spool.record")

local folders = {}

local NAME = "^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$"
local FILE = "%.jsonl$"

--- A file's content, or nil.
function folders.read_file(path)
  local file = io.open(path, "rb")
  local content = file and file:read("*a")
  if file then file:close() end
  return content
end

-- -------------------------------------------------------------------------------------------------------- taking

local function size_of(path)
  local file = io.open(path, "rb")
  local size = file and file:seek("end") or 0
  if file then file:close() end
  return size
end

local function entries_of(folder)
  local entries = {}
  for _, name in ipairs(core.list_folder(folder.path) or {}) do
    if name:find(FILE) then
      local path = folder.path .. "/" .. name
      entries[#entries + 1] = { path = path, folder = folder, size = size_of(path) }
    end
  end
  folder.count = #entries
  return entries
end

local function remove_folder(folder)
  folder.lock:remove()
  os.remove(folder.path)
end

-- What is for another Nexus stays as it is: the lock says what it is for, so that the files needn't be read.
local function is_elsewhere(path, nexus)
  local named = folders.read_file(path)
  return named and named ~= "" and named ~= nexus
end

-- An empty folder is what a process left that had nothing to leave.
local function take(path, nexus)
  local lock_path = path .. "/lock"
  if is_elsewhere(lock_path, nexus) then return {} end
  local lock = core.lock_file(lock_path)
  if not lock then return nil end
  local folder = { path = path, lock = lock, kept = 0 }
  local entries = entries_of(folder)
  if not entries[1] then remove_folder(folder) end
  return entries
end

--- Takes all folders below `path` whose processes have ended, and that are for the Nexus with that URL. Returns an
-- array of entries, a table of path, folder and size for each file; and how many folders others have.
function folders.take(path, nexus)
  local found, held = {}, 0
  for _, name in ipairs(core.list_folder(path) or {}) do
    if name:find(NAME) then
      local entries = take(path .. "/" .. name, nexus)
      if not entries then held = held + 1 end
      for _, entry in ipairs(entries or {}) do found[#found + 1] = entry end
    end
  end
  return found, held
end

-- ------------------------------------------------------------------------------------------------------ letting go

--- Gives a folder back, with its files, or takes it away where none is left.
function folders.release(folder)
  if not folder.lock then return end
  if folder.count > 0 then folder.lock:release() else remove_folder(folder) end
  folder.lock = nil
end

--- Takes a file away for good.
function folders.remove(entry)
  os.remove(entry.path)
  entry.folder.count = entry.folder.count - 1
  if entry.folder.count == entry.folder.kept then folders.release(entry.folder) end
end

--- Leaves a file where it is; the folder is given back once that is so for all that are left.
function folders.keep(entry)
  entry.folder.kept = entry.folder.kept + 1
  if entry.folder.count == entry.folder.kept then folders.release(entry.folder) end
end

-- ----------------------------------------------------------------------------------------------------------- caps

-- A file without a trace isn't too old: it is done with when its turn comes.
local NEVER = "9999"

local function note_age(entry)
  local ok, found = pcall(record.read, folders.read_file(entry.path) or "")
  local state = ok and found and found.state
  entry.started_at = state and state.started_at or NEVER
  entry.failed = state and state.status ~= "success" or false
end

-- What goes last is first: failures, then the latest.
local function before(one, other)
  if one.failed ~= other.failed then return one.failed end
  return one.started_at > other.started_at
end

local function total_size(entries)
  local bytes = 0
  for _, entry in ipairs(entries) do bytes = bytes + entry.size end
  return bytes
end

--- Takes away what is above the limits (`files`, `bytes`, and `oldest`, the timestamp before which nothing is kept).
-- Returns the entries that are left, and how many went.
function folders.cap(entries, limits)
  local kept, bytes, dropped = {}, 0, 0
  if #entries <= limits.files and total_size(entries) <= limits.bytes and not limits.oldest then return entries, 0 end
  for _, entry in ipairs(entries) do note_age(entry) end
  table.sort(entries, before)
  for _, entry in ipairs(entries) do
    bytes = bytes + entry.size
    if #kept < limits.files and bytes <= limits.bytes and entry.started_at >= (limits.oldest or "") then
      kept[#kept + 1] = entry
    else
      folders.remove(entry)
      dropped = dropped + 1
    end
  end
  return kept, dropped
end

return folders
