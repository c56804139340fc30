--- The command `doctor`: looks whether all that a client needs is there, and says what to do where it isn't.
local format = require("nexus_assistants.view.format")
local json = require("nexus_assistants.json")
local reach = require("nexus_assistants.cli.doctor.reach")
local screen = require("nexus_assistants.view.screen")
local settings = require("nexus_assistants.cli.doctor.settings")
local sinks = require("nexus_assistants.sinks")
local text = require("nexus_assistants.view.text")

local doctor = {}

local COLORS = { ok = "32", warning = "33", failed = "31" }
local VERDICT_WIDTH, NAME_WIDTH = 9, 13

-- ------------------------------------------------------------------------------------------------------ looking

local function otlp_of(values, checks)
  return (sinks.otlp_options(values, function(warning)
    checks[#checks + 1] = settings.check("OTLP", "warning", warning, "Correct or unset it.")
  end))
end

local function look_closer(values, checks)
  local otlp = otlp_of(values, checks)
  local function add(check)
    checks[#checks + 1] = check
  end
  add(settings.provider(values))
  add(settings.api_key(values))
  add(settings.nexus_key(values, otlp ~= nil))
  add(settings.sinks(values, otlp))
  add(settings.traceparent(values))
  for _, check in ipairs(reach.checks(values, otlp)) do add(check) end
  add(settings.assistant(values))
  add(settings.spool(values))
  add(settings.store(values))
end

--- All checks, in the order in which they are shown.
function doctor.checks()
  local values, environment = settings.read()
  local checks = { environment }
  if values then look_closer(values, checks) end
  checks[#checks + 1] = settings.names()
  checks[#checks + 1] = settings.versions()
  return checks
end

local function count_of(checks, verdict)
  local count = 0
  for _, check in ipairs(checks) do
    if check.verdict == verdict then count = count + 1 end
  end
  return count
end

-- ------------------------------------------------------------------------------------------------------- saying

local function summary(checks)
  local failed, warnings = count_of(checks, "failed"), count_of(checks, "warning")
  if failed == 0 and warnings == 0 then return "All is well." end
  return ("%d failed, %d warning%s"):format(failed, warnings, warnings == 1 and "" or "s")
end

-- A text beside the two columns of verdict and name, in as many lines as it takes.
local function add_beside(lines, head, words, width, paint)
  local indent = VERDICT_WIDTH + NAME_WIDTH
  for index, line in ipairs(text.wrap(words, width - indent)) do
    lines[#lines + 1] = (index == 1 and head or (" "):rep(indent)) .. paint(line)
  end
end

local function add_check(lines, check, page)
  local verdict = page.paint(COLORS[check.verdict], check.verdict) .. (" "):rep(VERDICT_WIDTH - #check.verdict)
  local head = verdict .. check.name .. (" "):rep(NAME_WIDTH - #check.name)
  add_beside(lines, head, text.harmless(check.message), page.width, function(line) return line end)
  if not check.advice then return end
  local bold = function(line) return page.paint(format.BOLD, line) end
  add_beside(lines, (" "):rep(VERDICT_WIDTH + NAME_WIDTH), text.harmless(check.advice), page.width, bold)
end

--- What is said of checks; `page` has width (columns) and paint.
function doctor.render(checks, page)
  local lines = {}
  for _, check in ipairs(checks) do add_check(lines, check, page) end
  lines[#lines + 1] = ""
  lines[#lines + 1] = summary(checks)
  return table.concat(lines, "\n") .. "\n"
end

local function as_json(checks)
  local verdict = count_of(checks, "failed") > 0 and "failed" or count_of(checks, "warning") > 0 and "warning" or "ok"
  return assert(json.encode({ verdict = verdict, checks = json.array(checks) })) .. "\n"
end

--- Looks; returns what to say, and whether nothing failed.
function doctor.run(options)
  local checks = doctor.checks()
  local is_well = count_of(checks, "failed") == 0
  if options.json then return as_json(checks), is_well end
  local page = { width = screen.width(), paint = format.painter(screen.wants_color(options.color)) }
  return doctor.render(checks, page), is_well
end

return doctor
