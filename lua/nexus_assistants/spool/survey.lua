--- What is in a spool, without taking anything of it.
local core = require("nexus_assistants.core")
local folders = require("nexus_assistants.spool.folders")

local survey = {}

local FILE = "^%d+%.(%l+)$"
local ENDINGS = { jsonl = true, otlp = true }
local OTLP = "^otlp (.*)$"

-- A process that is at work there has the lock.
local function is_held(path, names)
  for _, name in ipairs(names) do
    if name == "lock" then
      local lock, problem = core.lock_file(path .. "/lock")
      if lock then lock:release() end
      return problem == "locked"
    end
  end
  return false
end

local function add_file(found, receiver, path, is_held_there)
  local head, size = folders.head(path)
  if not folders.may_be_used(path, head) then return end
  local started_at = folders.start_in(head)
  found.files, found.bytes = found.files + 1, found.bytes + size
  receiver.files, receiver.left = receiver.files + 1, receiver.left + (is_held_there and 0 or 1)
  if started_at and started_at < (found.oldest or "~") then found.oldest = started_at end
end

local function receiver_of(found, label)
  for _, receiver in ipairs(found.receivers) do
    if receiver.label == label then return receiver end
  end
  local url = label:match(OTLP)
  local receiver = { label = label, name = url or label ~= "" and label or "whoever", is_otlp = url ~= nil,
    files = 0, left = 0, held = 0 }
  table.insert(found.receivers, receiver)
  return receiver
end

local function add_folder(found, path)
  local names = core.list_folder(path)
  if not names then return end
  local receiver, held = receiver_of(found, folders.label(path)), is_held(path, names)
  if held then receiver.held = receiver.held + 1 end
  for _, name in ipairs(names) do
    if ENDINGS[name:match(FILE)] then add_file(found, receiver, path .. "/" .. name, held) end
  end
end

-- A process has a folder there for each receiver it delivers to.
local function most_held(receivers)
  local most = 0
  for _, receiver in ipairs(receivers) do most = math.max(most, receiver.held) end
  return most
end

--- What is in the spool at `path`: a table of files (of Nexus's one a trace, else one a batch), bytes, oldest (when the
-- oldest of it began, as a timestamp; may be nil), held (how many processes are at work there, at least), and
-- receivers, an array of tables of label (as the lock has it), name, is_otlp, files, left (those of them that no
-- process is at work on) and held; or nil, message where it can't be read.
function survey.of(path)
  local all, problem = folders.list(path)
  if not all then return nil, problem end
  local found = { files = 0, bytes = 0, held = 0, receivers = {} }
  for _, folder in ipairs(all) do add_folder(found, folder) end
  found.held = most_held(found.receivers)
  return found
end

--- Whether the folder at `path` is something else than a spool: it holds other things, and nothing of a client's.
function survey.is_other(path)
  local names, clients = core.list_folder(path) or {}, folders.list(path) or {}
  return names[1] ~= nil and clients[1] == nil
end

return survey
