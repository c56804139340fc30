--- The folders that ended processes left in the spool. Who has the lock of one has the files in it.
local core = require("nexus_assistants.core")
local record = require("nexus_assistants.spool.record")
local timestamp = require("nexus_assistants.timestamp")

local folders = {}

local FOLDER = "^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$"
local HEAD = 4096 -- bytes of a file in which its start is looked for
local ABSENT = 2 -- ENOENT
local UNFINISHED = "^%d+%.%l+%.new$" -- what `rewrite` makes

--- The paths of all clients' folders below `path`, in order; or nil, message.
function folders.list(path)
  local names, problem = core.list_folder(path)
  if not names then return nil, problem end
  table.sort(names)
  local found = {}
  for _, name in ipairs(names) do
    if name:find(FOLDER) then found[#found + 1] = path .. "/" .. name end
  end
  return found
end

--- What the lock of a folder says that it is for; "" where that can't be told.
function folders.label(path)
  return core.lock_text(path .. "/lock") or ""
end

--- A file's content, or nil.
function folders.read_file(path)
  local file = io.open(path, "rb")
  local content = file and file:read("*a")
  if file then file:close() end
  return content
end

--- Whether a content could not be understood for want of memory alone, by what was raised.
function folders.is_want_of_memory(problem)
  return problem == "not enough memory"
end

--- Whether a file isn't there any more.
function folders.is_gone(path)
  local file, _, number = io.open(path, "rb")
  if file then file:close() end
  return file == nil and number == ABSENT
end

-- ---------------------------------------------------------------------------------------------------------- heads

-- A file without a trace isn't too old: it is done with when its turn comes.
local NEVER = "9999"

--- The start of a file's trace, or of its first span, as it stands in the first line; nil where that is another file's.
function folders.start_in(head)
  return head:match('^{"trace":.-"started_at":"([^"]+)"') or head:match('^{"sent":%d,"started_at":"([^"]+)"')
end

-- A pipe would be waited for.
local function is_file(path)
  local seen = core.look_at(path)
  return seen == nil or seen.kind == "file"
end

--- How a file begins, and its size; "" and 0 where it can't be opened; nil where it is no file.
function folders.head(path)
  if not is_file(path) then return nil end
  local file = io.open(path, "rb")
  if not file then return "", 0 end
  local head = file:read(HEAD) or ""
  local size = file:seek("end") or 0
  file:close()
  return head, size
end

--- When what is in a file began, as a timestamp; one that is later than all where that can't be told.
function folders.started_at(path)
  return folders.start_in(folders.head(path) or "") or NEVER
end

-- -------------------------------------------------------------------------------------------------------- taking

-- Its size and its start; nil where it is no file.
local function look_at(entry)
  local head, size = folders.head(entry.path)
  entry.started_at, entry.size = folders.start_in(head or "") or NEVER, size
  return head and entry or nil
end

local function is_of(name, ending)
  return name:find("^%d+%." .. ending .. "$") ~= nil
end

local function entries_of(folder, breathe, ending)
  local entries = {}
  for _, name in ipairs(core.list_folder(folder.path) or {}) do
    if name:find(UNFINISHED) then os.remove(folder.path .. "/" .. name) end
    if is_of(name, ending) then
      entries[#entries + 1] = look_at({ path = folder.path .. "/" .. name, folder = folder })
      breathe()
    end
  end
  folder.count = #entries
  return entries
end

local function remove_folder(folder)
  folder.lock:remove()
  os.remove(folder.path)
end

-- What is for another receiver stays as it is: the lock says what it is for, so that the files needn't be read.
local function is_elsewhere(path, label)
  local named = folders.label(path)
  return named ~= "" and named ~= label
end

-- When the process whose folder it was was at work last: the core sets its lock's time, nobody does later.
local function seen_at(path)
  local seen = core.look_at(path .. "/lock")
  return seen and timestamp.of(seen.modified_at)
end

-- A spare one begins so: it has nothing in it that counts.
local SPARE = "-"

--- Whether by its beginning there is something in a file, be it something that can't be read.
function folders.is_used(head)
  return head ~= "" and head:sub(1, 1) ~= SPARE
end

--- Whether there may be something in a file whose head that is; what can't be looked into may have it.
function folders.may_be_used(path, head)
  if head ~= "" then return head ~= nil and folders.is_used(head) end
  local seen = core.look_at(path)
  return seen ~= nil and not seen.is_readable
end

local function count_files(path, ending)
  local count = 0
  for _, name in ipairs(core.list_folder(path) or {}) do
    local file = path .. "/" .. name
    if is_of(name, ending) and folders.may_be_used(file, folders.head(file)) then count = count + 1 end
  end
  return count
end

-- An empty folder is what a process left that had nothing to leave. Nil and "locked" where somebody has it, or why it
-- can't be had, as on a disk that has become read-only.
local function take(path, label, breathe, ending)
  if is_elsewhere(path, label) then return {} end
  local lock, problem = core.lock_file(path .. "/lock")
  if not lock then return nil, problem == "locked" and problem or problem.message end
  local folder = { path = path, lock = lock, kept = 0, seen_at = seen_at(path) }
  local entries = entries_of(folder, breathe, ending)
  if not entries[1] then remove_folder(folder) end
  return entries
end

--- Takes all folders below `path` whose processes have ended, and that are for the receiver with that label, and of
-- their files those whose names end so. `breathe` is called now and then. Returns an array of entries, a table of path,
-- folder, size and started_at for each file; how many folders others have; and a table of count, how many files are
-- in folders that can't be had, and problem, why the last of these can't.
function folders.take(path, label, breathe, ending)
  local found, held, shut = {}, 0, { count = 0 }
  for _, folder in ipairs(folders.list(path) or {}) do
    local entries, problem = take(folder, label, breathe, ending)
    if problem == "locked" then
      held = held + 1
    elseif problem then
      shut.count, shut.problem = shut.count + count_files(folder, ending), problem
    end
    for _, entry in ipairs(entries or {}) do found[#found + 1] = entry end
  end
  return found, held, shut
end

-- ------------------------------------------------------------------------------------------------------ letting go

--- Gives a folder back, with its files, or takes it away where none is left.
function folders.release(folder)
  if not folder.lock then return end
  if folder.count > 0 then folder.lock:release() else remove_folder(folder) end
  folder.lock = nil
end

--- Puts another content into a file, in one go. Returns whether it is there.
function folders.rewrite(path, content)
  local new = path .. ".new"
  local file = core.make_private(new) and io.open(new, "wb")
  local written = file and file:write(content)
  local is_whole = file and file:close() and written
  if is_whole and os.rename(new, path) then return true end
  os.remove(new)
  return false
end

-- What is done with must not be found again.
local function remove_file(path)
  if os.remove(path) or folders.is_gone(path) then return end
  local file = io.open(path, "wb")
  if file then file:close() end
end

--- Takes a file away for good.
function folders.remove(entry)
  remove_file(entry.path)
  entry.folder.count = entry.folder.count - 1
  if entry.folder.count == entry.folder.kept then folders.release(entry.folder) end
end

--- Leaves a file where it is; the folder is given back once that is so for all that are left.
function folders.keep(entry)
  entry.folder.kept = entry.folder.kept + 1
  if entry.folder.count == entry.folder.kept then folders.release(entry.folder) end
end

-- ----------------------------------------------------------------------------------------------------------- caps

local function note_failure(entry)
  if not entry.path:find("%.jsonl$") then return end -- a batch is of many traces
  local ok, found = pcall(record.read, folders.read_file(entry.path) or "")
  entry.failed = ok and found ~= nil and found.state.status ~= "success"
end

-- What goes last is first: failures, then the latest.
local function before(one, other)
  if one.failed ~= other.failed then return one.failed == true end
  return one.started_at > other.started_at
end

local function total_size(entries)
  local bytes = 0
  for _, entry in ipairs(entries) do bytes = bytes + entry.size end
  return bytes
end

local MERGED_AT_ONCE = 8 -- entries; less than reading a file costs

-- Writes two stretches of `from` that are in order, up to `middle` and up to `last`, into `into` as one.
local function merge(from, into, first, middle, last, breathe)
  local one, other = first, middle + 1
  for position = first, last do
    if position % MERGED_AT_ONCE == 0 then breathe() end
    local is_other = one > middle or other <= last and before(from[other], from[one])
    into[position] = from[is_other and other or one]
    if is_other then other = other + 1 else one = one + 1 end
  end
end

-- table.sort would hold a host up while it puts thousands in order.
local function sorted(entries, breathe)
  local from, into, length, count = entries, {}, 1, #entries
  while length < count do
    for first = 1, count, 2 * length do
      merge(from, into, first, math.min(first + length - 1, count), math.min(first + 2 * length - 1, count), breathe)
    end
    from, into, length = into, from, 2 * length
  end
  return from
end

-- Which failed is looked for only where something has to go: all of a file must be read for it.
local function in_order(entries, breathe)
  for _, entry in ipairs(entries) do
    note_failure(entry)
    breathe()
  end
  return sorted(entries, breathe)
end

-- What can't stay in any case takes no room from others.
local function is_hopeless(entry, limits)
  return entry.size > limits.bytes or entry.started_at < limits.oldest
end

--- Takes away what is above the limits (`files`, `bytes`, and `oldest`, the timestamp before which nothing is kept).
-- Returns the entries that are left, and how many went.
function folders.cap(entries, limits, breathe)
  local kept, bytes, dropped = {}, 0, 0
  if #entries > limits.files or total_size(entries) > limits.bytes then entries = in_order(entries, breathe) end
  for _, entry in ipairs(entries) do
    local may_stay = not is_hopeless(entry, limits)
    if may_stay then bytes = bytes + entry.size end
    if may_stay and #kept < limits.files and bytes <= limits.bytes then
      kept[#kept + 1] = entry
    else
      folders.remove(entry)
      dropped = dropped + 1
      breathe()
    end
  end
  return kept, dropped
end

return folders
