--- Tells runs that nothing can be found about, which most are, at a small part of the cost of looking. What it doesn't
-- recognize is looked at, so it may only ever err towards that.
local json = require("nexus_assistants.json")

local null, get = json.null, rawget

local SHORT = 20 -- seconds: no finding about time begins below it

local FIELDS = { -- that no finding is about where they are absent or empty
  "calls", "missing_call_ids", "unknown_call_ids", "leaked_threads", "active_run_id", "zombie", "error",
}

local function is_absent(value)
  return value == nil or type(value) == "table" and value ~= null and next(value) == nil
end

local function has_no_facts(given)
  for index = 1, #FIELDS do
    if not is_absent(get(given, FIELDS[index])) then return false end
  end
  local turns = get(given, "turns")
  return turns == nil or type(turns) == "table" and get(turns, 3) == nil
end

-- Steps without tool calls: what tools did may be worth a finding.
local function has_plain_steps(steps)
  if steps == nil then return true end
  if type(steps) ~= "table" then return false end
  local index = 1
  local step = get(steps, index)
  while step ~= nil do
    if type(step) ~= "table" or get(step, "type") ~= "message_creation" then return false end
    local details = get(step, "step_details")
    if type(details) ~= "table" or get(details, "tool_calls") ~= nil then return false end
    index = index + 1
    step = get(steps, index)
  end
  return true
end

-- All statuses were seen within a short time.
local function is_seen_shortly(statuses, now)
  if type(statuses) ~= "table" then return false end
  local index, entry = 1, get(statuses, 1)
  while entry ~= nil do
    local at = type(entry) == "table" and get(entry, "at")
    if type(at) ~= "number" or not (at <= now and now - at < SHORT) then return false end
    index = index + 1
    entry = get(statuses, index)
  end
  return index > 1
end

local function expires_soon(object, created)
  local expires = get(object, "expires_at")
  return type(expires) == "number" and expires - created < 2 * SHORT
end

local function is_short(given, run)
  local created, now, started = get(run, "created_at"), get(given, "now"), get(run, "started_at")
  if type(created) ~= "number" or type(now) ~= "number" then return false end
  local is_late = type(started) == "number" and started - created >= SHORT
  if is_late or started ~= started then return false end
  if expires_soon(run, created) or expires_soon(given, created) then return false end
  local ended = get(run, "completed_at")
  if type(ended) ~= "number" then ended = now end
  return ended - created < SHORT and now - created < SHORT and is_seen_shortly(get(given, "statuses"), now)
end

--- True where a run is known to be without findings.
return function(given)
  local run = type(given) == "table" and get(given, "run")
  if type(run) ~= "table" or get(run, "status") ~= "completed" then return false end
  local last_error = get(run, "last_error")
  if last_error ~= nil and last_error ~= null then return false end
  return has_no_facts(given) and has_plain_steps(get(given, "steps")) and is_short(given, run)
end
