--- What is in a spool, without taking anything of it.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")

local survey = {}

local FOLDER = "^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$"
local FILE = "^%d+%.(%l+)$"
local ENDINGS = { jsonl = true, otlp = true }
local OTLP = "^otlp (.*)$"
local HEAD = 1024 * 1024 -- bytes of a file in which its first line is looked for
local MOST_LABEL = 4096

-- A process that is at work there has the lock.
local function is_held(path)
  local lock, problem = core.lock_file(path)
  if lock then lock:release() end
  return problem == "locked"
end

-- When what is in a file began, which its first line says; nil where that can't be read.
local function begun(head)
  local first = json.decode(head:match("^[^\n]*") or "")
  local state = type(first) == "table" and (first.state or first)
  return type(state) == "table" and type(state.started_at) == "string" and state.started_at or nil
end

-- Whether it is a file with something in it.
local function add_file(found, receiver, path)
  local file = io.open(path, "rb")
  if not file then return end
  local head = file:read(HEAD)
  local started_at, size = begun(head or ""), head and file:seek("end") or 0
  file:close()
  if size == 0 then return end
  found.files, found.bytes = found.files + 1, found.bytes + size
  receiver.files = receiver.files + 1
  if started_at and started_at < (found.oldest or "~") then found.oldest = started_at end
end

local function label_in(path)
  local file = io.open(path, "rb")
  local label = file and file:read(MOST_LABEL)
  if file then file:close() end
  return label or ""
end

local function receiver_of(found, label)
  for _, receiver in ipairs(found.receivers) do
    if receiver.label == label then return receiver end
  end
  local url = label:match(OTLP)
  local receiver = { label = label, name = url or label ~= "" and label or "whoever", is_otlp = url ~= nil,
    files = 0, held = 0 }
  table.insert(found.receivers, receiver)
  return receiver
end

local function add_folder(found, path)
  local names = core.list_folder(path)
  if not names then return end
  local receiver = receiver_of(found, label_in(path .. "/lock"))
  for _, name in ipairs(names) do
    if name == "lock" and is_held(path .. "/lock") then receiver.held = receiver.held + 1 end
    if ENDINGS[name:match(FILE)] then add_file(found, receiver, path .. "/" .. name) end
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
-- receivers, an array of tables of label (as the lock has it), name, is_otlp, files and held; or nil, message where it
-- can't be read.
function survey.of(path)
  local names, problem = core.list_folder(path)
  if not names then return nil, problem end
  table.sort(names)
  local found = { files = 0, bytes = 0, held = 0, receivers = {} }
  for _, name in ipairs(names) do
    if name:find(FOLDER) then add_folder(found, path .. "/" .. name) end
  end
  found.held = most_held(found.receivers)
  return found
end

return survey
