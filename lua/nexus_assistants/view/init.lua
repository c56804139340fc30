--- The command `view`: finds traces, at Nexus or in files, and draws them: one as a waterfall, more as a list, or all
-- of them as a page for a browser.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local list = require("nexus_assistants.view.list")
local page = require("nexus_assistants.view.page")
local read = require("nexus_assistants.view.read")
local screen = require("nexus_assistants.view.screen")
local terminal = require("nexus_assistants.view.terminal")
local usage = require("nexus_assistants.view.usage")

local view = {}

local SHOWN, IN_A_PAGE = 20, 200 -- how many traces, where nothing is said

-- -------------------------------------------------------------------------------------------------------- finding

local function read_all(path)
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local content
  content, problem = file:read("*a")
  file:close()
  return content, problem and path .. ": " .. problem
end

-- The prices in a file; nil, message where they aren't.
local function read_prices(path)
  if not path then return nil end
  local content, problem = read_all(path)
  local prices
  if content then prices, problem = json.decode(content) end
  if problem then return nil, content and path .. ": " .. problem or problem end
  problem = usage.fault(prices)
  if problem then return nil, path .. ": " .. problem end
  return prices
end

local LIST_OPTIONS = { "agent", "status", "since", "name", "limit" }

local function wanted_of(options)
  local wanted = { trace = options.trace, is_list = options.list, limit = options.html and IN_A_PAGE or SHOWN }
  for _, name in ipairs(LIST_OPTIONS) do
    if options[name] ~= nil then wanted[name], wanted.is_list = options[name], true end
  end
  return wanted
end

-- What was found and the prices; nil, message, and whether it was asked for wrongly.
local function find(target, options)
  local prices, problem = read_prices(options.prices)
  if problem then return nil, problem end
  local wanted = wanted_of(options)
  if options.html and not target then wanted.is_list = not wanted.trace end
  local found, is_misuse
  found, problem, is_misuse = read.find(target, wanted)
  if not found then return nil, problem, is_misuse end
  return found, prices
end

local FILTERS = { "agent", "status", "since", "name" }

-- What is said where there is nothing to see; nil where there is.
local function emptiness(found, options)
  if found.traces[1] then return nil end
  for _, name in ipairs(FILTERS) do
    if options[name] ~= nil then return "no trace is like that" end
  end
  return "there is no trace yet"
end

-- What is said beside what is shown: that nothing is, or not all.
local function note_on(found, options)
  local left, notes = found.count - #found.traces, {}
  notes[1] = found.warning
  notes[#notes + 1] = emptiness(found, options)
  if left > 0 then notes[#notes + 1] = ("%d more %s left out: --limit N"):format(left, left == 1 and "is" or "are") end
  return notes[1] and table.concat(notes, "; ") or nil
end

local function style(options)
  return {
    color = screen.wants_color(options.color), width = options.width or screen.width(),
    unicode = not options.ascii and screen.is_utf8(),
    critical = options.critical, today = os.date("!%Y-%m-%d"),
  }
end

--- Draws what is found at `target`: the trace in a file or with an id, the traces of a file, a folder or an address, or
-- the newest trace at NEXUS_BASE_URL. `options`: `color` ("auto", "always", "never"), `width`, `ascii`, `critical`,
-- `prices` (a file), and what is wanted: `trace`, `list`, `agent`, `status`, `since`, `name`, `limit`.
-- Returns the text for standard output and a warning or nil; or nil and a message, and true where what was asked for
-- doesn't go together.
function view.draw(target, options)
  local found, prices, is_misuse = find(target, options)
  if not found then return nil, prices, is_misuse end
  local drawing = style(options)
  drawing.prices = prices
  if not found.is_one then
    return found.traces[1] and list.render(found.traces, drawing) or "", note_on(found, options)
  end
  local text, problem = terminal.render(found.traces[1], drawing)
  return text, problem or found.warning
end

local STANDARD_OUTPUT = { ["-"] = true, ["/dev/stdout"] = true, ["/dev/fd/1"] = true, ["/proc/self/fd/1"] = true }
local ASIDE, MOST_ASIDE = ".part", 20
local NO_PAGE = "%s is there already and isn't a page of traces, so it stays as it is: remove it, or name another file"
local FOREIGN = "%s belongs to another user (id %d), who says whom it is open to"
local OPEN_TO_OTHERS = "others may be able to read %s: %s"

-- Whether a page may take the place of what is there: of an earlier page, or of a file with nothing in it. Anything
-- else may be what the traces are read from, by whichever name.
local function may_go(path)
  local found = core.look_at(path)
  if not found then return true end
  local file = found.kind == "file" and io.open(path, "rb")
  if not file then return false end
  local beginning = file:read(page.HEAD)
  file:close()
  return beginning == nil or page.is_one(beginning)
end

-- A page that can't be written whole must not be the end of the one before, so it takes its place once it is. Where
-- several are written at once, each has a file of its own, since two in one would be none. Nil where none can be made.
local function beside(path)
  for number = 1, MOST_ASIDE do
    local aside = path .. ASIDE .. (number > 1 and number or "")
    local lock, problem = nil, "locked"
    if may_go(aside) then lock, problem = core.lock_file(aside) end
    if lock then return { path = aside, lock = lock, is_aside = true } end
    if problem ~= "locked" then return nil end
  end
end

local function prepare_file(path, found)
  if not may_go(path) then return nil, NO_PAGE:format(path) end
  if not found.is_own then return { path = path, note = FOREIGN:format(path, found.owner) } end
  local made, err = core.make_private(path)
  -- not every system of files has modes
  if not made then return { path = path, note = OPEN_TO_OTHERS:format(path, err.message) } end
  return beside(path) or { path = path }
end

-- A page holds what the traces do, so a file is the user's alone before anything is in it. Whatever else is there, a
-- pipe, a device, a file of somebody else's, stays as it is. Returns what to write to: its path, whether that is beside
-- the page's, the lock on what may be removed again, and what is to be known; or nil, message.
local function prepare(path)
  local found = core.look_at(path)
  if found and found.kind ~= "file" then return { path = path } end
  if found and not found.is_link then return prepare_file(path, found) end
  local made, err = core.make_private(path)
  if not made then return nil, err.message end
  local lock, problem = core.lock_file(path)
  if problem == "locked" then return beside(path) or { path = path } end
  return { path = path, lock = lock }
end

-- Of several that write to the same, each removes nothing but what it has the lock of.
local function settle(lock, is_done)
  if not lock then return end
  if is_done then lock:release() else lock:remove() end
end

local function is_descriptor(path)
  return path == "/dev/stderr" or path:find("^/dev/fd/") ~= nil or path:find("^/proc/[^/]+/fd/") ~= nil
end

-- Who started this may have opened a descriptor's file to add to it. Returns the file and what is written to.
local function open(path)
  if STANDARD_OUTPUT[path] then return io.stdout, {} end
  if is_descriptor(path) then
    local file, problem = io.open(path, "ab")
    return file, file and {} or problem
  end
  local place, refused = prepare(path)
  if not place then return nil, refused end
  local file, problem = io.open(place.path, "wb")
  if file then return file, place end
  settle(place.lock, false)
  return nil, problem
end

local function close(file)
  if file == io.stdout then return file:flush() end
  return file:close()
end

local function fill(file, text)
  local ok, problem = file:write(text)
  local closed, closing = close(file)
  return ok and closed, problem or closing
end

-- Returns true, and what is to be known; or nil, message.
local function write(path, text)
  local file, place = open(path)
  if not file then return nil, place end
  local ok, problem = fill(file, text)
  if ok and place.is_aside then ok, problem = os.rename(place.path, path) end
  settle(place.lock, ok)
  if ok then return true, place.note end
  return nil, path .. ": " .. tostring(problem)
end

--- Writes what is found at `target` as a page for a browser to the file `options.html`. Returns true and a warning or
-- nil; or nil and a message, as above.
function view.write_page(target, options)
  local found, prices, is_misuse = find(target, options)
  if not found then return nil, prices, is_misuse end
  local ok, problem = read.complete(found)
  local text
  if ok then text, problem = page.render({ traces = found.traces, prices = prices }) end
  if not text then return nil, problem end
  local written, said = write(options.html, text)
  if not written then return nil, said end
  local note = note_on(found, options)
  return true, said and note and said .. "; " .. note or said or note
end

return view
