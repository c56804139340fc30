--- What is to be viewed, into traces of one shape: as Nexus gives them, with `spans` where they are known.
--
-- A source is a file, a pipe, a folder, the address of a Nexus (or of a trace there), or the Nexus of the environment.
local core = require("nexus_assistants.core")
local files = require("nexus_assistants.view.files")
local filter = require("nexus_assistants.view.filter")
local remote = require("nexus_assistants.view.remote")

local read = {}

local NEXUS_URL = "https://nexus.keylightdigital.dev"
local SHORTEST_ID = 32

-- "http://host/api/v1/traces/ID", or "http://host/#trace=ID", as the page has it → "http://host", "ID"
local function parse_url(url)
  local authority, path = url:match("^(https?://[^/?#]+)([^?#]*)")
  if not authority then return nil end
  local id = path:match("/traces/([^/]+)")
  local prefix = path:match("^(.-)/api/v1/traces") or id and "" or path:gsub("/+$", "")
  return authority .. prefix, id or url:match("#trace=([^&]+)")
end

local function environment_url()
  local named = core.environment("NEXUS_BASE_URL")
  return named ~= "" and named or NEXUS_URL
end

-- Asks a Nexus by a method of remote's, and closes it.
local function ask(url, method, ...)
  local nexus, problem = remote.open(url)
  if not nexus then return nil, problem end
  local result, more = nexus[method](nexus, ...)
  nexus:close()
  return result, more
end

local function starts_with(text, part)
  return type(text) == "string" and text:sub(1, #part) == part
end

-- The one trace whose id begins so.
local function by_prefix(traces, id)
  local found, count = nil, 0
  for _, trace in ipairs(traces) do
    if trace.id == id then return trace end
    if starts_with(trace.id, id) then found, count = trace, count + 1 end
  end
  if count == 1 then return found end
  return nil, (count == 0 and "there is no trace '%s'" or "more than one trace's id begins with '%s'"):format(id), count
end

-- The trace whose id begins so, where that can't be a whole id; nil, and where there are more of them, a message.
local function look_up(nexus, id)
  if #id >= SHORTEST_ID or not id:find("^%x[%x-]*$") then return nil end
  local traces = nexus:list({})
  if not traces then return nil end
  local found, problem, count = by_prefix(traces, id)
  if found then return nexus:one(found.id) end
  return nil, count > 0 and problem or nil
end

local function remote_trace(url, id)
  local nexus, problem = remote.open(url)
  if not nexus then return nil, problem end
  local trace = nil
  if not id then id, problem = nexus:latest() end
  if id then trace, problem = nexus:one(id) end
  if id and problem then
    local other, ambiguous = look_up(nexus, id)
    trace, problem = other, ambiguous or not other and problem or nil
  end
  nexus:close()
  return trace, problem
end

local function one(trace, problem)
  if problem then return nil, problem end
  return { is_one = true, traces = { trace }, count = 1 }
end

local function some(traces, count)
  if not traces then return nil, count end
  return { traces = traces, count = count }
end

-- What lists are asked for says nothing of one trace: nil, message, true.
local function refuse_list(id)
  local problem = "--list, --agent, --status, --since, --name and --limit are for lists, not for one trace ('%s')"
  return nil, problem:format(id), true
end

local function from_nexus(url, id, wanted)
  if id and wanted.is_list then return refuse_list(id) end
  if id then return one(remote_trace(url, id)) end
  local found, problem = some(ask(url, "list", wanted))
  if found then found.url = url end
  return found, problem
end

-- What names a file alone is never sent to Nexus: ids have neither folders nor endings.
local function from_id(target, wanted)
  if wanted.trace or target == "" or target:find("[/.]") then return nil, "there is no file '" .. target .. "'" end
  if wanted.is_list then return refuse_list(target) end
  local trace, problem = remote_trace(environment_url(), target)
  if problem then return nil, "there is no file '" .. target .. "', and " .. problem end
  return one(trace)
end

local function from_files(target, wanted)
  local traces, note = files.read(target)
  if not traces and not note then return from_id(target, wanted) end
  if not traces then return nil, note end
  if wanted.trace then return one(by_prefix(traces, wanted.trace)) end
  local found = some(filter.apply(traces, wanted))
  found.is_one, found.warning = #traces == 1 and found.count == 1 and not wanted.is_list, note
  return found
end

--- What is found at a target: `{traces, count, is_one, warning}`, where `count` is how many there would be without
-- `wanted.limit`, and `is_one` says that one trace was meant; or nil, message, and true where the parts of what is
-- asked for don't go together. `wanted` is as for filter.apply, with `trace` (an id or its beginning) and `is_list`.
-- Traces of a list at a Nexus have no spans: see `complete`.
function read.find(target, wanted)
  if wanted.trace and wanted.is_list then return refuse_list(wanted.trace) end
  local url, id = parse_url(target or environment_url())
  if url and target then return from_nexus(url, wanted.trace or id, wanted) end
  if target then return from_files(target, wanted) end
  if wanted.is_list then return from_nexus(environment_url(), nil, wanted) end
  return one(remote_trace(environment_url(), wanted.trace))
end

--- Fetches the spans of what was found in a list at a Nexus; true, or nil, message.
function read.complete(found)
  if not found.url then return true end
  local nexus, problem = remote.open(found.url)
  if not nexus then return nil, problem end
  for index, trace in ipairs(found.traces) do
    local whole
    whole, problem = nexus:one(trace.id)
    if problem then break end
    found.traces[index] = whole
  end
  nexus:close()
  return problem == nil or nil, problem
end

return read
