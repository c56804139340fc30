-- Writes the manual page of the command to standard output, from the table that the command itself is made of.
--   dev/lua dev/man.lua >man/nexus-assistants.1
local cli = require("nexus_assistants.cli")
local core = require("nexus_assistants.core")
local help = require("nexus_assistants.cli.help")

-- Beside those of OpenTelemetry, which its own manuals tell of.
local ENVIRONMENT = {
  { "OPENAI_API_KEY", "The key of the API. The core reads it; Lua never sees it." },
  { "OPENAI_BASE_URL", "Where the API is (https://api.openai.com/v1)." },
  { "OPENAI_MODEL", "The model of runs that name none, where the provider isn't assistants." },
  { "ASSISTANT_ID", "The assistant of runs that name none." },
  { "NEXUS_API_KEY", "The key of Nexus. Without one no traces go there." },
  { "NEXUS_BASE_URL", "Where Nexus is (https://nexus.keylightdigital.dev)." },
  { "NEXUS_AGENT_ID", "The agent that traces are of (nexus-assistants)." },
  { "NEXUS_ASSISTANTS_PROVIDER", "Who performs what scripts ask for: assistants, responses, chat or script." },
  { "NEXUS_ASSISTANTS_SCRIPT", "Of provider script: a Lua file that returns the model's function." },
  { "NEXUS_ASSISTANTS_STORE", "Where threads are kept: a file, postgresql://..., or memory." },
  { "NEXUS_ASSISTANTS_SPOOL", "The folder where traces wait until Nexus has them; off for none." },
  { "NEXUS_ASSISTANTS_CAPTURE", "What is kept of what was said: full, metadata or none." },
  { "NEXUS_ASSISTANTS_POLL_INTERVAL", "Seconds between two looks at a run." },
  { "TRACEPARENT", "The host's span that traces go on below (W3C Trace Context)." },
  { "OTEL_EXPORTER_OTLP_ENDPOINT", "An OpenTelemetry receiver that traces go to, with the variables that go with it." },
  { "NO_COLOR", "Not empty: no colours." },
}

local EXIT_STATUS = {
  { "0", "All went well." },
  { "1", "It didn't; what is wrong is on standard error." },
  { "2", "The arguments can't be understood." },
  { "130, 143", "It was interrupted, by SIGINT or SIGTERM; serve ends with 0 then. Otherwise run ends with the exit "
    .. "code of the script." },
}

local FILES = {
  { "$XDG_STATE_HOME/nexus-assistants/", "The spool, and the threads that are kept; without it what follows." },
  { "~/.local/state/nexus-assistants/", "The same." },
}

local EXAMPLES = {
  { "nexus-assistants doctor", "Whether all is there, and what to do where it isn't." },
  { "nexus-assistants run weather.lua Paris", "Runs a script as lua does, and has its trace delivered." },
  { "nexus-assistants view --since 1h", "The traces of the last hour." },
}

-- ------------------------------------------------------------------------------------------------------- writing

local function code_point(character)
  local point = character:byte(1) % (#character == 2 and 0x20 or #character == 3 and 0x10 or 0x08)
  for index = 2, #character do point = point * 64 + character:byte(index) % 64 end
  return ("\\[u%04X]"):format(point)
end

-- A text as roff takes it, wherever in a line.
local function escaped(text)
  text = text:gsub("…", "..."):gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("[\194-\244][\128-\191]+", code_point)
  return (text:gsub("^([.'])", "\\&%1"))
end

local lines = {}

local function add(...)
  for _, line in ipairs({ ... }) do lines[#lines + 1] = line end
end

local function sentence(text)
  text = text:gsub("^%l", string.upper)
  return escaped(text) .. (text:find("[.!?]$") and "" or ".")
end

local function section(title)
  add(".SH " .. title)
end

local function items(list)
  for _, item in ipairs(list) do add(".TP", ".B " .. escaped(item[1]), sentence(item[2])) end
end

local function option_name(option)
  local name = "\\fB" .. escaped("--" .. option.name) .. "\\fR"
  return option.value and name .. " \\fI" .. escaped(option.value) .. "\\fR" or name
end

local function command_part(command)
  add(".SS " .. escaped(command.name), ".B " .. escaped(help.usage(command)), ".PP", sentence(command.summary))
  for _, operand in ipairs(command.operands or {}) do
    add(".TP", ".I " .. escaped(operand[1]), escaped(operand[2]))
  end
  for _, option in ipairs(command.options) do add(".TP", option_name(option), escaped(option.help)) end
end

add('.\\" Made by dev/man.lua.')
add(('.TH NEXUS\\-ASSISTANTS 1 "" "nexus\\-assistants %s" "User Commands"'):format(core.version))
add(".nh", ".ad l") -- no hyphens in names, no wide gaps
section("NAME")
add("nexus\\-assistants \\- agent scripts in Lua that can be seen while they run")
section("SYNOPSIS")
for index, command in ipairs(cli.commands) do
  if index > 1 then add(".br") end
  add(".B " .. escaped(help.usage(command)))
end
add(".br", ".B nexus\\-assistants \\-\\-help | \\-\\-version")
section("DESCRIPTION")
add("Runs scripts that use the Lua library nexus_assistants, serves the APIs they need for development, and shows the",
  "traces of what they did. An option's value stands behind it, or behind a", ".BR = .",
  ".B \\-\\-", "ends the options.", "What is in parentheses is what counts where nothing is said.")
section("COMMANDS")
for _, command in ipairs(cli.commands) do command_part(command) end
section('"EXIT STATUS"')
items(EXIT_STATUS)
section("ENVIRONMENT")
add("Options of a script's own win over these.")
items(ENVIRONMENT)
section("FILES")
items(FILES)
section("EXAMPLES")
items(EXAMPLES)
section('"SEE ALSO"')
add(".BR lua (1)")
io.write(table.concat(lines, "\n"), "\n")
