--- The command `flush`: delivers what was left in a spool, and says what became of it.
local core = require("nexus_assistants.core")
local options = require("nexus_assistants.options")
local scheduler = require("nexus_assistants.scheduler")
local spools = require("nexus_assistants.spool")
local state_folder = require("nexus_assistants.state_folder")

local command = {}

local function nexus_endpoint(base_url)
  local endpoint, err = core.endpoint({ base_url = base_url, key_environment = "NEXUS_API_KEY" })
  if not endpoint then return nil, err.message end
  if not endpoint:has_key() then return nil, "NEXUS_API_KEY is not set" end
  return endpoint
end

local function new_spool(folder, endpoint, limits)
  local engine = assert(core.engine({}))
  local tasks = scheduler.new(engine, core.monotonic, function() end)
  return spools.new({
    scheduler = tasks, engine = engine, endpoint = endpoint, folder = folder,
    limits = { files = limits.max_spool_files, bytes = limits.max_spool_bytes, age = limits.max_spool_age },
  })
end

local function plural(count, word)
  return ("%d %s%s"):format(count, word, count == 1 and "" or "s")
end

-- What was not delivered and why, in sentences of their own.
local function report(spool, left, problem)
  local counts = spool.counts
  local lines = { ("delivered %s and %s"):format(plural(counts.traces, "trace"), plural(counts.spans, "span")) }
  local function add(count, text)
    if count > 0 then lines[#lines + 1] = text:format(plural(count, "trace")) end
  end
  add(left, "%s stay" .. (left == 1 and "s" or "") .. ": Nexus " .. (problem or "may still take what was sent"))
  add(spool.unread, "%s can't be opened now")
  add(counts.refused, "%s or parts of them were refused")
  add(counts.unreadable, "%s could not be read")
  add(counts.dropped, "%s too many or too old, and dropped")
  if spool.held > 0 then lines[#lines + 1] = plural(spool.held, "process") .. " still at work there" end
  return table.concat(lines, "\n") .. "\n"
end

--- Delivers what is in `folder`, by default the user's. Returns what to say, and whether nothing was left; or nil and
-- what is wrong.
function command.run(folder)
  local settings, problem = options.read("nexus-assistants", options.client, {}, core.environment)
  if not settings then return nil, problem end
  folder = folder or settings.spool ~= "off" and settings.spool or state_folder.path(spools.NAME)
  if not folder then return nil, "there is no spool: name a folder, or set HOME" end
  local endpoint
  endpoint, problem = nexus_endpoint(settings.nexus.base_url)
  if not endpoint then return nil, problem end
  local spool = new_spool(folder, endpoint, settings.limits)
  local left
  left, problem = spool:flush()
  return report(spool, left, problem), left == 0 and spool.unread == 0
end

return command
