--- The command `flush`: delivers what was left in a spool, and says what became of it.
local core = require("nexus_assistants.core")
local options = require("nexus_assistants.options")
local patience = require("nexus_assistants.patience")
local redaction = require("nexus_assistants.redaction")
local scheduler = require("nexus_assistants.scheduler")
local sinks = require("nexus_assistants.sinks")
local survey = require("nexus_assistants.spool.survey")

local command = {}

-- Whether what waits is for a receiver of OpenTelemetry's.
local NOWHERE = {
  [true] = "what waits for %s has nowhere to go: set OTEL_EXPORTER_OTLP_ENDPOINT",
  [false] = "what waits for %s has nowhere to go: set NEXUS_API_KEY",
}
local NO_RECEIVER = "NEXUS_API_KEY is not set, and neither is OTEL_EXPORTER_OTLP_ENDPOINT"
local NO_RECEIVER_WANTED = "NEXUS_API_KEY is not set, and OTEL_SDK_DISABLED is true"

-- Where `values` say that traces go, by name, with `folder` for their spool, and whether that is all they name: what is
-- wrong with one receiver is no reason not to deliver to the other. Nil and what is wrong where there is none.
local function receivers(values, folder, warn)
  local left_out
  local function note(text)
    left_out = left_out or text
    warn(text)
  end
  local nexus, nexus_problem = sinks.nexus_of_environment(values)
  if nexus_problem then note(nexus_problem) end
  local otlp, otlp_problem = sinks.otlp_options(values, note)
  if otlp_problem then note(otlp_problem.message) end
  if otlp then otlp.spool = folder end
  local none = sinks.is_otlp_disabled() and NO_RECEIVER_WANTED or NO_RECEIVER
  if not nexus and not otlp then return nil, left_out or none end
  local is_all = not nexus_problem and (otlp ~= nil or not left_out)
  return { nexus = nexus and { endpoint = nexus, spool = folder }, otlp = otlp }, is_all
end

local function new_spools(values, found, warn)
  local engine = assert(core.engine({}))
  local tasks = scheduler.new(engine, core.monotonic, warn)
  return sinks.spools(values, found, tasks, engine)
end

local function plural(count, word)
  return ("%d %s%s"):format(count, word, count == 1 and "" or word:find("ch$") and "es" or "s")
end

local function delivered(spool)
  local counts = spool.counts
  if spool.kind.name == "otlp" then
    return ("delivered %s to %s"):format(plural(counts.spans, "span"), spool.kind.receiver(spool))
  end
  return ("delivered %s and %s"):format(plural(counts.traces, "trace"), plural(counts.spans, "span"))
end

-- What a file is, who refuses, and what is said of what is refused.
local WORDS = {
  nexus = { file = "trace", who = "Nexus", item = "trace", refused = "%s or parts of them were refused" },
  otlp = { file = "batch", who = "the receiver", item = "span", refused = "%s refused, and lost" },
}

-- As it is to stand in a format.
local function escaped(text)
  return (text:gsub("%%", "%%%%"))
end

-- What was not delivered and why, in sentences of their own.
local function report(spool, left, problem)
  local counts, words = spool.counts, WORDS[spool.kind.name]
  local lines = { delivered(spool) }
  local function add(count, text, word)
    if count > 0 then lines[#lines + 1] = text:format(plural(count, word or words.file)) end
  end
  add(left, ("%%s stay%s: %s %s"):format(left == 1 and "s" or "", words.who,
    escaped(problem or "may still take what was sent")))
  add(spool.unread, "%s can't be opened now" .. (spool.unread_problem and ": " .. escaped(spool.unread_problem) or ""))
  add(counts.refused, words.refused, words.item)
  add(counts.unreadable, "%s could not be read")
  add(counts.dropped, "%s too many or too old, and dropped")
  local held = spool.held -- of one process these may be several
  if held > 0 then
    lines[#lines + 1] = ("%s in use by others"):format(held == 1 and "1 folder is" or held .. " folders are")
  end
  return table.concat(lines, "\n") .. "\n"
end

-- What is for others than those that were delivered to, and whether all of it is what processes are at work on.
local function report_others(folder, tried)
  local lines, complete = {}, true
  local there = survey.of(folder)
  for _, receiver in ipairs(there and there.receivers or {}) do
    if not tried[receiver.label] and receiver.files > 0 then
      local word = WORDS[receiver.is_otlp and "otlp" or "nexus"].file
      local wait = receiver.files == 1 and "waits" or "wait"
      lines[#lines + 1] = ("%s %s for %s\n"):format(plural(receiver.files, word), wait, receiver.name)
      complete = complete and receiver.left == 0
    end
  end
  return table.concat(lines), complete
end

-- Whether nothing is left, and nothing was lost.
local function is_complete(spool, left)
  local counts = spool.counts
  return left + spool.unread + counts.refused + counts.unreadable + counts.dropped == 0
end

-- Delivers what waits for a spool's receiver and, where that is given, for the one at the address `from`. How many are
-- left, and why; notes which labels were tried.
local function deliver(spool, from, tried)
  local own = spool.kind.label(spool)
  tried[own] = true
  local left, problem = spool:flush()
  spool.from = from
  if spool.kind.label(spool) == own then return left, problem end
  tried[spool.kind.label(spool)] = true
  local more, other = spool:flush()
  return left + more, other or problem
end

local function flush(all, from, tried)
  local lines, complete = {}, true
  for _, spool in ipairs(all) do
    spool.scheduler.watcher = { waits = patience.new("delivering to", spool.endpoint:base_url()) }
    local left, problem = deliver(spool, from, tried)
    lines[#lines + 1] = report(spool, left, problem)
    complete = complete and is_complete(spool, left)
  end
  return table.concat(lines), complete
end

-- How an address may be meant: as it is, or as variables name it: with a slash at its end, or without a path of OTLP's.
local function meanings_of(from)
  local bare = from:gsub("/+$", "")
  return { { from }, { bare }, { bare .. sinks.TRACES_PATH, is_otlp = true } }
end

-- Without what may be secret in it.
local function shown(address)
  return (redaction.text(address):gsub("//.*@", "//***@"):gsub("%?.*", "?***"))
end

-- The address of those in a folder that `from` names, and whether it is one of OTLP's; or nil and what is wrong.
local function address_of(folder, from)
  local there = survey.of(folder)
  local waiting = there and there.receivers or {}
  for _, meant in ipairs(meanings_of(from)) do
    for _, receiver in ipairs(waiting) do
      local may_be = receiver.files > 0 and (receiver.is_otlp or not meant.is_otlp)
      if may_be and receiver.name == meant[1] then return receiver.name, receiver.is_otlp end
    end
  end
  return nil, ("nothing waits for %s in '%s'"):format(shown(from), folder)
end

-- The folder, where it can be read; or nil and what is wrong.
local function readable(folder)
  local names, problem = core.list_folder(folder)
  if names then return folder end
  return nil, ("can't read the folder '%s': %s"):format(folder, problem)
end

-- The folder that was named, where it is a spool, or empty; or nil and what is wrong.
local function spool_at(folder)
  local found, problem = readable(folder)
  if not found then return nil, problem end
  if not survey.is_other(folder) then return folder end
  return nil, ("'%s' is no spool: it holds other things, and nothing of a client's; name another folder, or none for "
    .. "the user's own"):format(folder)
end

-- The folder to look in; or nil and what is wrong. One that is named must be there.
local function folder_of(values, named)
  if named then return spool_at(named) end
  if sinks.is_spool_off(values) then return nil, "the spool is off (NEXUS_ASSISTANTS_SPOOL): name a folder" end
  local folder = sinks.spool_folder(values)
  if not folder then return nil, "there is no spool: name a folder, or set HOME" end
  if core.look_at(folder) then return readable(folder) end
  return folder -- where nothing was left yet
end

--- Delivers what is in `folder`, by default the user's; with `from`, an address, what waits for that one, too. Returns
-- what to say, and whether nothing was left or lost; or nil and what is wrong.
function command.run(folder, from)
  local settings, problem = options.read("nexus-assistants", options.client, {}, core.environment)
  if not settings then return nil, problem end
  folder, problem = folder_of(settings, folder)
  if not folder then return nil, problem end
  local address, is_otlp
  if from then address, is_otlp = address_of(folder, from) end
  if from and not address then return nil, is_otlp end
  local warnings, tried = {}, {}
  local function warn(text) warnings[#warnings + 1] = "warning: " .. text .. "\n" end
  local found, has_all = receivers(settings, folder, warn)
  if not found then return nil, has_all end
  if address and not found[is_otlp and "otlp" or "nexus"] then return nil, NOWHERE[is_otlp]:format(address) end
  local all = new_spools(settings, found, warn)
  local said, complete = flush(all, address, tried)
  local others, is_all = report_others(folder, tried)
  return table.concat(warnings) .. said .. others, complete and is_all and has_all
end

return command
