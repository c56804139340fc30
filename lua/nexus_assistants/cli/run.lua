--- The command `run`: runs a script as `lua` does, with a trace around it.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local outputs = require("nexus_assistants.cli.outputs")
local progress = require("nexus_assistants.cli.progress")
local screen = require("nexus_assistants.view.screen")
local surrounding = require("nexus_assistants.surrounding")
local text = require("nexus_assistants.view.text")

local run = {}

local stderr, system, debug_traceback = io.stderr, os, debug.traceback -- a script may do away with them
local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore 113

local STDERR = 2
local EXIT_FAILURE = 1
local EXIT_SIGNALS = { SIGINT = 130, SIGTERM = 143 } -- as shells have it for who is ended by them
local CLOSING = 2 -- seconds
local DEFAULT_WIDTH = 80
local INTERRUPTED = "interrupted!"
local LIBRARY = debug.getinfo(1, "S").source:match("^(@.*)cli/run%.lua$") -- what its sources begin with

-- --------------------------------------------------------------------------------------------------- a failure

local function is_interruption(problem)
  -- what the interpreter raises for Ctrl-C, and core.signals for what it notes
  return type(problem) == "string" and problem:find(INTERRUPTED .. "$") ~= nil
end

-- What is below the script is of no interest.
local function traceback(message)
  local lines = debug_traceback("", 4):gsub("\n[^\n]*'xpcall'\n[^\n]*cli/run%.lua:.*", "")
  return message .. lines:gsub("\n[^\n]*tail call[^\n]*$", "") .. "\n\t[C]: in ?"
end

-- As lua says it, but for a table with a message: an object that can say what it is says all there is.
local function told(problem)
  local metatable, own = getmetatable(problem), errors.own(problem)
  if type(problem) == "string" or type(problem) == "number" then return traceback(tostring(problem)) end
  if type(metatable) == "table" and rawget(metatable, "__tostring") then return errors.shown(problem) end
  if own and own.message then return traceback(errors.told(problem)) end
  return traceback(("(error object is a %s value)"):format(type(problem)))
end

local function failure_of(problem)
  return { problem = problem, is_interruption = is_interruption(problem), told = told(problem) }
end

-- A nil would be no failure to whoever is told of it.
local NOTHING = "(error object is a nil value)"

-- The message may quote what a server said.
local function report(failure)
  if failure.is_interruption then failure.told = "interrupted" end
  for line in ("nexus-assistants: " .. failure.told):gmatch("[^\n]+") do
    local indent, rest = line:match("^(\t?)(.*)$")
    stderr:write(indent, text.harmless(rest), "\n")
  end
end

-- --------------------------------------------------------------------------------------------------- beginning

local function file_name(path)
  return path:match("[^/]+$") or path
end

-- As if the script had been given to the interpreter: what stands before this command has the indices below 0.
local function script_arguments(arguments, words)
  local shifted = {}
  for index, word in pairs(arguments) do
    if type(index) == "number" and index < 0 then shifted[index] = word end
  end
  for index, word in ipairs(words) do shifted[index - 1] = word end
  return shifted
end

local function is_wanted(options)
  return not options.quiet and core.is_terminal(STDERR) and core.environment("TERM") ~= "dumb"
end

-- The line that says how far it is, and what takes it away for good; nil where there is none.
local function begin_progress(options, name)
  if not is_wanted(options) then return nil, function() end end
  local line = progress.new({
    name = name, clock = core.monotonic, width = core.terminal_width(STDERR) or DEFAULT_WIDTH,
    ellipsis = screen.is_utf8() and "…" or "...",
    -- not the method that a script's writing goes through
    write = outputs.raw(io.stderr),
  })
  local restore = outputs.watch(function(written) line:makes_way(written) end)
  return line, function()
    line:clear()
    restore()
  end
end

-- ------------------------------------------------------------------------------------------------------ ending

local function exit_code(code)
  if code == nil or code == true then return 0 end
  return code == false and EXIT_FAILURE or code
end

local OF_A_BYTE = 256 -- the system passes on no more of an exit code

local function code_failure(code)
  if (tonumber(code) or EXIT_FAILURE) % OF_A_BYTE == 0 then return nil end
  return "the script ended with exit code " .. tostring(code)
end

-- A function that ends all once; with what the script failed with, where it did. Signals would only break that off:
-- it takes its time and no more.
local function ending(stop_progress, signals)
  local has_ended = false
  return function(failure)
    if has_ended then return end
    has_ended = true
    signals:hold(CLOSING + 1)
    surrounding.finish(failure, CLOSING)
    stop_progress()
  end
end

-- os.exit would be the end of what is not yet delivered.
local function delivering_exit(exit, finish)
  return function(code, ...)
    finish(code_failure(exit_code(code)))
    return exit(code, ...)
  end
end

-- Runs the script; returns what it failed with, or nil.
local function perform(chunk, words, signals)
  signals:interrupt(CLOSING, LIBRARY)
  local failure
  -- what the script has open is told what this returns, as it is closed
  local ok, problem = xpcall(function() return chunk(unpack(words)) end, function(raised)
    failure = failure_of(raised)
    failure.problem = raised == nil and NOTHING or raised
    return failure.problem
  end)
  local is_unheard = signals:hold(CLOSING + 1)
  if ok then return nil end
  -- where memory is short, the interpreter asks nobody what is to be said
  local is_asked = failure and (rawequal(failure.problem, problem) or problem ~= problem) -- that is NaN
  if not is_asked then failure = { problem = problem, told = tostring(problem) } end
  -- a call of the system's that was broken off may have raised first; a coroutine that passed it on said where
  failure.is_interruption = failure.is_interruption or is_unheard
  if failure.is_interruption then failure.problem = INTERRUPTED end
  return failure
end

-- Runs the script as `lua` would, and all it leaves open to its end; returns what it failed with, or nil.
local function run_script(chunk, given, arguments, signals, finish)
  local exit, arg_before = system.exit, rawget(_G, "arg")
  rawset(_G, "arg", arguments)
  rawset(system, "exit", delivering_exit(exit, finish))
  local failure = perform(chunk, given, signals)
  finish(failure and failure.problem)
  rawset(_G, "arg", arg_before)
  rawset(system, "exit", exit)
  return failure
end

--- Runs the script that `words` begin with, with the rest as its arguments; `arguments` is the whole command line.
-- Returns the exit code; or nil, message where it can't be loaded.
function run.run(options, words, arguments)
  local script = words[1]
  local chunk, problem = loadfile(script ~= "-" and script or nil)
  if not chunk then return nil, problem end
  local name, given = file_name(script), { unpack(words, 2) }
  local line, stop_progress = begin_progress(options, name)
  local signals = core.signals()
  local values = { name = name, input = given[1] and json.array({ unpack(given) }) or nil }
  surrounding.begin(values, line, signals)
  local finish = ending(stop_progress, signals)
  local failure = run_script(chunk, given, script_arguments(arguments, words), signals, finish)
  local noted = signals:noted()
  signals:close()
  if not failure then return 0 end
  report(failure)
  return failure.is_interruption and EXIT_SIGNALS[noted] or EXIT_FAILURE
end

return run
