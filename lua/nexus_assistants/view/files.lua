--- Traces in files: a trace or a list of them as Nexus gives them, OTLP export requests, or any of these a line; and
-- folders of such files. Lines are read one by one, and what is too much is left out and said. Files are opened once,
-- and not gone back in: they may be pipes.
local core = require("nexus_assistants.core")
local ending = require("nexus_assistants.view.ending")
local json = require("nexus_assistants.json")
local otlp = require("nexus_assistants.view.otlp")
local repaired = require("nexus_assistants.serve.utf8_repair")

local files = {}

local BLOCK = 64 * 1024
local MOST_OF_A_LINE = 64 * 1024 * 1024
local MOST_BYTES = 512 * 1024 * 1024
local MOST_SPANS = 200000
local NO_SUCH_FILE, IS_FOLDER = 2, 21 -- ENOENT, EISDIR
local ENDINGS = { "%.jsonl?$", "%.ndjson$", "%.otlp$" }
local ROTATED = "^(.*%.jsonl?)%.(%d+)$"
local STDIN, STDIN_NAME = "-", "standard input"

-- ------------------------------------------------------------------------------------------------------- lines

local function new_lines(file)
  return { file = file, rest = "", read = 0 }
end

-- The next line; nil at the end, or nil and what is wrong.
local function next_line(lines)
  local parts, size = { lines.rest }, #lines.rest
  while not parts[#parts]:find("\n", 1, true) do
    local block, problem = lines.file:read(BLOCK)
    if not block then
      lines.rest, lines.are_over = "", true
      return not problem and size > 0 and table.concat(parts) or nil, problem
    end
    parts[#parts + 1], size, lines.read = block, size + #block, lines.read + #block
    if size > MOST_OF_A_LINE then return nil, "a line is too long" end
  end
  local text = table.concat(parts)
  local ended = text:find("\n", size - #parts[#parts] + 1, true)
  lines.rest = text:sub(ended + 1)
  return text:sub(1, ended - 1)
end

-- ----------------------------------------------------------------------------------------------------- gathering

local function decode(text)
  return json.decode(core.utf8_valid(text) and text or repaired(text))
end

local function is_trace(value)
  return type(value) == "table" and type(value.spans) == "table"
end

-- What a list says of a trace: all but its spans.
local function is_header(value)
  return type(value) == "table" and type(value.id) == "string" and type(value.started_at) == "string"
end

local function has_room(gathered)
  return gathered.otlp.spans + gathered.spans < gathered.most_spans and gathered.bytes < gathered.most_bytes
end

-- A trace that comes again is a later state of the same.
local function add_trace(gathered, trace)
  local id = type(trace.id) == "string" and trace.id or {}
  local index = gathered.places[id] or #gathered.traces + 1
  gathered.places[id], gathered.traces[index] = index, ending.restore(trace)
  gathered.spans = gathered.spans + (type(trace.spans) == "table" and #trace.spans or 0)
end

local function add(gathered, value)
  if otlp.is_request(value) then
    gathered.otlp:add(value)
    return true
  elseif is_trace(value) then
    add_trace(gathered, value)
    return true
  elseif not json.is_array(value) then
    return false
  end
  local any = false
  for _, item in ipairs(value) do
    if not is_trace(item) and is_header(item) then
      add_trace(gathered, item)
      any = true
    else
      any = add(gathered, item) or any
    end
  end
  return any
end

-- Lines that are no traces may be cut by whoever was writing them, so they are counted and left out.
local function add_lines(gathered, lines)
  while has_room(gathered) do
    local line, problem = next_line(lines)
    if problem then return nil, problem end
    if not line then return true end
    gathered.bytes = gathered.bytes + #line
    if line:find("%S") and not add(gathered, decode(line)) then gathered.unread = gathered.unread + 1 end
  end
  gathered.is_cut = true
  return true
end

local function rest_of(lines, first)
  local parts = { first, "\n", lines.rest }
  while lines.read < MOST_OF_A_LINE do
    local block, problem = lines.file:read(BLOCK)
    if not block then return not problem and table.concat(parts) or nil, problem end
    parts[#parts + 1], lines.read = block, lines.read + #block
  end
  return nil, "it is too large for one piece of JSON"
end

local GZIP, COMPRESSED = "^\31\139", "this is compressed: gunzip -c FILE | nexus-assistants view -"
local NOT_A_TRACE, EMPTY = "this is not a trace: it has no spans", "this is empty: there is no trace in it"

-- One piece of JSON over many lines.
local function add_whole(gathered, lines, first)
  local text, problem = rest_of(lines, first)
  if not text then return nil, problem end
  if not text:find("%S") then return nil, EMPTY end
  local value
  value, problem = decode(text)
  if problem then return nil, problem end
  return add(gathered, value) or nil, NOT_A_TRACE
end

-- Whether JSON ends before all that is opened in it is closed, whatever its texts say.
local function is_cut(text)
  local bare = text:gsub("\\.", ""):gsub('"[^"]*"', ""):gsub('".*', "")
  local _, opened = bare:gsub("[%[{]", "")
  local _, closed = bare:gsub("[%]}]", "")
  return opened > closed
end

-- Whether a line that can't be read is all there is, and was never ended: whoever was writing it may have been killed.
local function is_begun(line, lines)
  return lines.are_over and line:find('^%s*%[*{%s*"') ~= nil and is_cut(line)
end

-- True, or nil and what is wrong.
local function add_content(gathered, file)
  local lines = new_lines(file)
  local first, problem = next_line(lines)
  if problem then return nil, problem end
  if not first then return nil, EMPTY end
  if first:find(GZIP) then return nil, COMPRESSED end
  local value, wrong = decode(first)
  if add(gathered, value) then return add_lines(gathered, lines) end
  if not wrong or not is_begun(first, lines) then return add_whole(gathered, lines, first) end
  gathered.unread = gathered.unread + 1
  return true
end

-- Adds what is in an open file, and closes it. True, or nil, a message, and whether it merely holds no traces.
local function add_file(gathered, file, name)
  local ok, problem = add_content(gathered, file)
  if file ~= io.stdin then file:close() end
  if ok then return true end
  return nil, name .. ": " .. problem, problem == NOT_A_TRACE or problem == EMPTY
end

local function new_gathering(limits)
  return {
    otlp = otlp.new(), traces = {}, places = {}, spans = 0, bytes = 0, unread = 0,
    most_spans = limits.spans or MOST_SPANS, most_bytes = limits.bytes or MOST_BYTES,
  }
end

local function counted(count, what)
  return ("%d %s%s"):format(count, what, count == 1 and "" or "s")
end

local function finish(gathered)
  local warnings = {}
  for _, trace in ipairs(gathered.otlp:traces()) do gathered.traces[#gathered.traces + 1] = trace end
  if gathered.unread > 0 then warnings[1] = counted(gathered.unread, "line") .. " could not be read" end
  if gathered.is_cut then
    warnings[#warnings + 1] = "there is more than is shown: only the first "
      .. counted(gathered.otlp.spans + gathered.spans, "span") .. " were read"
  end
  return gathered.traces, warnings[1] and table.concat(warnings, "; ") or nil
end

-- ------------------------------------------------------------------------------------------------------- folders

local function is_wanted(name)
  for _, pattern in ipairs(ENDINGS) do
    if name:find(pattern) then return true end
  end
  return name:find(ROTATED) ~= nil
end

-- The wanted ones, and of what was rotated the oldest first, since what comes later counts.
local function in_order(names)
  local wanted, bases, ages = {}, {}, {}
  for _, name in ipairs(names) do
    local base, number = name:match(ROTATED)
    bases[name], ages[name] = base or name, tonumber(number) or 0
    if is_wanted(name) then wanted[#wanted + 1] = name end
  end
  table.sort(wanted, function(a, b)
    if bases[a] ~= bases[b] then return bases[a] < bases[b] end
    return ages[a] > ages[b]
  end)
  return wanted
end

-- Returns what is wrong; a folder may hold other things than traces, too.
local function add_named(gathered, path)
  local file, problem = io.open(path, "rb")
  if not file then return problem end
  local ok, told, is_other = add_file(gathered, file, path)
  return not (ok or is_other) and told or nil
end

local function read_folder(path, names, limits)
  local gathered, failed = new_gathering(limits), nil
  for _, name in ipairs(in_order(names)) do
    if has_room(gathered) then failed = add_named(gathered, path .. "/" .. name) or failed end
  end
  local traces, warning = finish(gathered)
  if not traces[1] then return nil, failed or path .. ": there are no traces here" end
  return traces, warning or failed
end

local function open(path)
  if path == STDIN then return io.stdin end
  return io.open(path, "rb")
end

--- The traces in a file, a pipe, a folder, or at standard input (`-`), and a warning where not all could be read; or
-- nil, a message. Where there is no such thing, nil alone. `limits`: `spans`, `bytes`, of what is read at most.
function files.read(path, limits)
  local file, problem, code = open(path)
  if not file then return nil, code ~= NO_SUCH_FILE and problem or nil end
  local _, _, reading = file:read(0)
  local names = reading == IS_FOLDER and core.list_folder(path)
  if names then
    file:close()
    return read_folder((path:gsub("(.)/+$", "%1")), names, limits or {})
  end
  local gathered = new_gathering(limits or {})
  local ok
  ok, problem = add_file(gathered, file, path == STDIN and STDIN_NAME or path)
  if not ok then return nil, problem end
  return finish(gathered)
end

return files
