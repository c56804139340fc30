--- The command `nexus-assistants`: one table of commands and options, from which parsing and help are made.
local dialects = require("nexus_assistants.models.chat.dialects")
local filter = require("nexus_assistants.view.filter")
local help = require("nexus_assistants.cli.help")
local values = require("nexus_assistants.values")

local cli = {}

local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore 113

local EXIT_FAILURE, EXIT_USAGE = 1, 2

-- ------------------------------------------------------------------------------------------------- what values are

local function whole_number(lowest, highest)
  return function(text)
    local number = text:find("^%d+$") and tonumber(text)
    if number and number >= lowest and number <= highest then return number end
    return nil, string.format("must be a whole number from %d to %d", lowest, highest)
  end
end

local function seconds(text)
  local number = text:find("^[%d.]+$") and tonumber(text)
  if number then return number end
  return nil, "must be a number of seconds"
end

local function one_of(...)
  local allowed, names = {}, { ... }
  for _, name in ipairs(names) do
    allowed[name] = true
  end
  return function(text)
    if allowed[text] then return text end
    return nil, "must be one of " .. table.concat(names, ", ")
  end
end

local function text(value)
  if value ~= "" then return value end
  return nil, "must not be empty"
end

-- ---------------------------------------------------------------------------------------------------- commands

--- Says what went wrong, on standard error. Messages quote what servers and files say, which may be anything.
function cli.report(message)
  -- without the core there is nothing but the error that says so
  local found, view_text = pcall(require, "nexus_assistants.view.text")
  io.stderr:write("nexus-assistants: ", found and view_text.harmless(message) or tostring(message), "\n")
end

-- Options of the API behind a model, as `nexus.new` has them; the environment's count where nothing is said. A server
-- that is named here may want no key.
local function api_options(given)
  local options = require("nexus_assistants.options")
  local openai, problem = options.read("nexus-assistants", options.client.openai.fields, {
    base_url = given["base-url"], model = given["model-name"], dialect = given.dialect, history = given.history,
  }, require("nexus_assistants.core").environment)
  if openai then openai.key_is_optional = given["base-url"] ~= nil end
  return openai, problem
end

-- What says nothing where it stands, with the models it is for.
local ONLY_FOR = {
  ["base-url"] = { "chat", "responses" }, dialect = { "chat" }, history = { "responses" },
  ["model-script"] = { "script" },
}

local function misplaced(options)
  local model = options.model or "script"
  for _, name in ipairs(values.sorted_names(ONLY_FOR)) do
    local models = table.concat(ONLY_FOR[name], " or ")
    if options[name] and not models:find(model, 1, true) then return "--" .. name .. " is for --model " .. models end
  end
end

-- The URL isn't repeated: it may hold a password.
local function serve_fault(options)
  local url = options["base-url"]
  local problem = misplaced(options)
  if problem or not url then return problem end
  local _, err = require("nexus_assistants.core").endpoint({ base_url = url })
  return err and require("nexus_assistants.error").named(err.message, { base_url = "--base-url" })
end

local MEBIBYTE = 1024 * 1024

local function limits_of(options)
  return { body = options["max-body"] and options["max-body"] * MEBIBYTE, connections = options["max-connections"] }
end

-- Where threads are kept: as is said, or as the environment says. A URL may hold a password, which others can see in
-- a command line.
local function store_of(given)
  if given then return given end
  local named = require("nexus_assistants.core").environment("NEXUS_ASSISTANTS_STORE")
  return named ~= "" and named or nil
end

--- Options for `serve.run` from what was parsed; nil, message where the environment has what can't be.
function cli.serve_options(options)
  local openai, problem = api_options(options)
  if not openai then return nil, problem end
  return {
    host = options.host, port = options.port or 4010, assistant_id = options["assistant-id"], delay = options.delay,
    quiet = options.quiet, exit_after = options["exit-after"], key_environment = options["api-key-environment"],
    provider = options.model, openai = openai, script = options["model-script"], store = store_of(options.store),
    limits = limits_of(options),
  }
end

-- Prints the answer to a command; returns the exit code.
local function print_out(answer)
  local ok, err = io.stdout:write(answer)
  if ok then ok, err = io.stdout:flush() end
  if ok then return 0 end
  cli.report("can't write to standard output: " .. tostring(err))
  return EXIT_FAILURE
end

local function fail(problem)
  cli.report(problem)
  return EXIT_FAILURE
end

local function misused(problem, hint)
  cli.report(problem .. "; try: nexus-assistants " .. hint)
  return EXIT_USAGE
end

local function run_serve(options)
  local settings, err = cli.serve_options(options)
  local ok
  if settings then
    ok, err = require("nexus_assistants.serve").run(settings)
  end
  if not ok and err:find("address already in use$") then
    err = err .. "; try another --port, or --port 0 for any that is free"
  end
  return ok and 0 or fail(err)
end

local known_status = one_of(unpack(filter.statuses))

-- Nexus's own lists are asked for what is `ok`.
local function status(value)
  return known_status(value == "ok" and "success" or value)
end

local function moment(value)
  return filter.moment(value, os.time())
end

local function run_view(options, arguments)
  local view = require("nexus_assistants.view")
  local drawn, note, is_misuse = (options.html and view.write_page or view.draw)(arguments[1], options)
  if is_misuse then return misused(note, "view --help") end
  if not drawn then return fail(note) end
  local code = options.html and 0 or print_out(drawn)
  -- below what is shown, on a terminal
  if note then cli.report(note) end
  return code
end

local function run_flush(options, arguments)
  local said, complete = require("nexus_assistants.spool.command").run(arguments[1], options.from)
  if not said then return fail(complete) end
  local code = print_out(said)
  return complete and code or EXIT_FAILURE
end

local function run_run(options, words, arguments)
  local code, problem = require("nexus_assistants.cli.run").run(options, words, arguments)
  return code or fail(problem)
end

local function run_doctor(options)
  local said, is_well = require("nexus_assistants.cli.doctor").run(options)
  local code = print_out(said)
  return is_well and code or EXIT_FAILURE
end

local STORE = { name = "store", value = "WHERE", check = text,
  help = "where threads are kept: a file, postgresql://…, or memory (NEXUS_ASSISTANTS_STORE)" }

local COLOR = { name = "color", value = "WHEN", check = one_of("auto", "always", "never"),
  help = "auto, always or never (auto)" }

local function counted(count, what)
  return ("%d %s%s"):format(count, what, count == 1 and "" or "s")
end

-- Where a store is; a URL may hold a password.
local function shown_place(store)
  local place = store.database.where
  return place:find("^postgres") and "PostgreSQL" or place
end

local function import_report(counts, found, place)
  local lines = { ("imported %s, %s, %s into %s"):format(counted(counts.assistants, "assistant"),
    counted(counts.threads, "thread"), counted(counts.messages, "message"), place) }
  local function add(count, line)
    if count > 0 then lines[#lines + 1] = line:format(count) end
  end
  add(counts.present, "left as they were, since they are there already: %d")
  add(found.left_out, "left out, runs and steps: %d")
  add(found.incomplete, "pages that say that more follows, so that something may be missing: %d")
  return table.concat(lines, "\n") .. "\n"
end

local function is_empty(found)
  return not (found.assistants[1] or found.threads[1] or next(found.messages))
end

local function run_import(options, arguments)
  local import = require("nexus_assistants.import")
  local found, problem = import.read(arguments)
  if not found then return fail(problem) end
  if is_empty(found) then return fail("there is nothing to import in " .. table.concat(arguments, ", ")) end
  local store, err = require("nexus_assistants.providers").store(store_of(options.store), true)
  if not store then
    return fail(err and require("nexus_assistants.error").advised(err) or "memory keeps nothing: name another store")
  end
  local place = shown_place(store)
  local ok, counts = pcall(import.store, store, found)
  store:close()
  if not ok then return fail(tostring(counts)) end
  return print_out(import_report(counts, found, place))
end

local COMMANDS = {
  {
    name = "run", run = run_run, arguments = math.huge, least = 1, usage = "SCRIPT [ARGUMENTS]", options_first = true,
    summary = "runs a Lua script, with a trace around all that its clients do; ends with the script's exit code",
    operands = {
      { "SCRIPT", "a Lua file; - reads the script from standard input" },
      { "ARGUMENTS", "the script's own, whatever they look like" },
    },
    options = {
      { name = "quiet", help = "no line on the terminal that says what the script waits for" },
    },
  },
  {
    name = "serve", run = run_serve, arguments = 0, fault = serve_fault,
    summary = "a local server: the Assistants protocol at /v1, on any model, Nexus's at /api/v1, and a page at /",
    options = {
      { name = "port", value = "N", check = whole_number(0, 65535),
        help = "where to listen; 0 picks a free port (4010)" },
      { name = "host", value = "HOST", check = text, help = "on which address (127.0.0.1)" },
      { name = "api-key-environment", value = "NAME", check = text,
        help = "the environment variable with the key that is wanted; without it any key is taken" },
      { name = "assistant-id", value = "ID", check = text, help = "the assistant that is there (asst_local)" },
      { name = "model", value = "KIND", check = one_of("script", "chat", "responses"),
        help = "who thinks: script, a Lua function; chat, chat completions; responses, OpenAI's Responses (script)" },
      { name = "model-script", value = "FILE", check = text,
        help = "a Lua file that returns function(messages, tools, run); without it the model repeats the question" },
      { name = "base-url", value = "URL", check = text,
        help = "where chat and responses are (OPENAI_BASE_URL); the key is OPENAI_API_KEY's" },
      { name = "model-name", value = "NAME", check = text,
        help = "the model of runs that name none, whatever their assistant says (OPENAI_MODEL)" },
      { name = "dialect", value = "NAME", check = one_of(unpack(dialects.names)),
        help = "what kind of server chats are had from: " .. table.concat(dialects.names, ", ") },
      { name = "history", value = "WHERE", check = one_of("local", "conversation"),
        help = "who keeps what responses are made of: local or conversation (local)" },
      STORE,
      { name = "delay", value = "SECONDS", check = seconds, help = "how long the model thinks (0)" },
      { name = "max-body", value = "MIB", check = whole_number(1, 1024),
        help = "how many MiB a request may have (16)" },
      { name = "max-connections", value = "N", check = whole_number(1, 900),
        help = "how many may be connected at a time (900)" },
      { name = "quiet", help = "no line per request on standard error" },
      { name = "exit-after", value = "SECONDS", check = seconds, help = "end after this time, for tests" },
    },
  },
  {
    name = "doctor", run = run_doctor, arguments = 0,
    summary = "looks whether all that a client needs is there: settings, keys, servers, spool, store; ends with 1 "
      .. "where something failed",
    options = {
      { name = "json", help = "one JSON object, for programs" },
      COLOR,
    },
  },
  {
    name = "import", run = run_import, arguments = math.huge, least = 1, usage = "FILE …",
    summary = "puts assistants and threads that were exported from an account into a store",
    operands = { { "FILE", "what was exported: JSON, or an object a line" } },
    options = { STORE },
  },
  {
    name = "flush", run = run_flush, arguments = 1, usage = "[DIR]",
    summary = "delivers what is left in the spool to NEXUS_BASE_URL (with NEXUS_API_KEY) and "
      .. "OTEL_EXPORTER_OTLP_ENDPOINT; ends with 1 where some stays, is refused or is lost",
    operands = { { "DIR", "a spool's folder (NEXUS_ASSISTANTS_SPOOL, or that of the user's clients)" } },
    options = {
      { name = "from", value = "URL", check = text,
        help = "deliver what waits for this address, too: one that was wrong, or has moved" },
    },
  },
  {
    name = "view", run = run_view, arguments = 1, usage = "[TRACE_ID | FILE | DIR | URL | -]",
    summary = "a trace as a waterfall: the latest one at NEXUS_BASE_URL (with NEXUS_API_KEY), one by its id, or those "
      .. "in files",
    operands = {
      { "TRACE_ID", "the trace with this id at NEXUS_BASE_URL" },
      { "FILE", "the traces in a file: as Nexus gives them, or OTLP, as JSON" },
      { "DIR", "those in the files of a folder" },
      { "URL", "those of the Nexus there" },
      { "-", "the traces in standard input" },
    },
    options = {
      { name = "html", value = "OUT", check = text,
        help = "write one page for a browser, that needs nothing else, over nothing but such a page; - is standard "
          .. "output" },
      { name = "trace", value = "ID", check = text,
        help = "the trace with this id, or the beginning of it, of one digit or more" },
      { name = "list", help = "a list, also where there is one trace" },
      { name = "agent", value = "NAME", check = text, help = "in a list: those of this agent" },
      { name = "status", value = "STATUS", check = status,
        help = "in a list: " .. table.concat(filter.statuses, ", ") .. "; error has timeouts, too" },
      { name = "since", value = "TIME", check = moment, help = "in a list: begun since 2h, 7d, 2026-01-31, …" },
      { name = "name", value = "TEXT", check = text, help = "in a list: with this in their name" },
      { name = "limit", value = "N", check = whole_number(1, 100000),
        help = "at most so many, the newest (20; 200 in a page)" },
      { name = "prices", value = "FILE", check = text,
        help = "JSON: { model = { input, output } }, per million tokens; shows what they cost" },
      { name = "critical", help = "marks the critical path with *" },
      COLOR,
      { name = "width", value = "N", check = whole_number(40, 1000), help = "columns (the terminal's, or 100)" },
      { name = "ascii", help = "no characters beyond ASCII in the drawing" },
    },
  },
}

--- What there is to do, in the order in which help and the manual page tell of it.
cli.commands = COMMANDS

-- ----------------------------------------------------------------------------------------------------- parsing

local function find_by_name(list, name)
  for _, entry in ipairs(list) do
    if entry.name == name then return entry end
  end
end

-- Takes the option at `index`; returns the index of the last argument it used, or nil, message.
local function parse_option(command, arguments, index, options)
  local name, value = arguments[index]:match("^%-%-([^=]+)=?(.*)$")
  local inline = arguments[index]:find("=", 1, true)
  local option = name and find_by_name(command.options, name)
  if not option then return nil, "unknown option '" .. arguments[index]:gsub("=.*", "") .. "'" end
  if not option.value then
    if inline then return nil, "--" .. name .. " takes no value" end
    options[name] = true
    return index
  end
  if not inline then
    index = index + 1
    value = arguments[index]
  end
  if value == nil then return nil, "--" .. name .. " needs a value: " .. option.value end
  local problem
  options[name], problem = option.check(value)
  if problem then return nil, "--" .. name .. " " .. problem .. ", got '" .. value .. "'" end
  return index
end

local function parse_arguments(command, arguments, first)
  local options, positional, index, has_ended = {}, {}, first, false
  while arguments[index] do
    local argument = arguments[index]
    local is_behind = has_ended or command.options_first and positional[1] ~= nil
    if (argument == "--help" or argument == "-h") and not is_behind then return { help = true }, {} end
    if argument == "--" and not is_behind then
      has_ended = true
    elseif argument:sub(1, 1) == "-" and argument ~= "-" and not is_behind then
      local last, problem = parse_option(command, arguments, index, options)
      if not last then return nil, problem end
      index = last
    else
      positional[#positional + 1] = argument
    end
    index = index + 1
  end
  if #positional > command.arguments then
    return nil, "unexpected argument '" .. positional[command.arguments + 1] .. "'"
  end
  if #positional < (command.least or 0) then
    return nil, command.name .. " needs " .. command.usage:gsub(" %[.*", "")
  end
  return options, positional
end

--- The options and other arguments of a command's command line; or nil, message. `first` is the index to begin with.
function cli.parse(name, arguments, first)
  return parse_arguments(find_by_name(COMMANDS, name), arguments, first or 1)
end

local function unknown(name)
  return misused("unknown command '" .. name .. "'", "--help")
end

local function print_help_on(command)
  return print_out(help.command(command, help.columns()))
end

local ASKS_FOR_HELP = { ["--help"] = true, ["-h"] = true, help = true }

-- Of the command with that name, or of all.
local function print_help(name)
  if not name or ASKS_FOR_HELP[name] then return print_out(help.general(COMMANDS, help.columns())) end
  local command = find_by_name(COMMANDS, name)
  return command and print_help_on(command) or unknown(name)
end

local function run_command(command, arguments)
  local options, rest = parse_arguments(command, arguments, 2)
  if not options then return misused(rest, command.name .. " --help") end
  if options.help then return print_help_on(command) end
  local problem = command.fault and command.fault(options)
  if problem then return misused(problem, command.name .. " --help") end
  -- until a command watches signals itself
  require("nexus_assistants.core").end_on_interrupt()
  return command.run(options, rest, arguments)
end

--- Runs the command line `arguments` (an array); returns the exit code.
function cli.main(arguments)
  local name = arguments[1]
  if name == "--version" then
    return print_out("nexus-assistants " .. require("nexus_assistants.core").version .. "\n")
  end
  if ASKS_FOR_HELP[name] then return print_help(arguments[2]) end
  if not name then return misused("a command is missing", "--help") end
  local command = find_by_name(COMMANDS, name)
  if not command then return unknown(name) end
  return run_command(command, arguments)
end

return cli
