--- The doctor: from what was seen of a run to what is wrong with it and what to do. Pure, and never raises.
local findings = require("nexus_assistants.doctor.findings")
local is_ordinary = require("nexus_assistants.doctor.ordinary")
local json = require("nexus_assistants.json")
local seen = require("nexus_assistants.doctor.seen")

local doctor = {}

local SEVERITIES = { "error", "warning", "info" } -- the most severe first

local function by_severity()
  local sorted = {}
  for _, severity in ipairs(SEVERITIES) do
    for _, finding in ipairs(findings.list) do
      if finding.severity == severity then sorted[#sorted + 1] = finding end
    end
  end
  return sorted
end

local FINDINGS = by_severity()

-- An ordinary run has little that there could be a finding about.
local function is_there(given, about)
  if not about then return true end
  local value = seen.at(given, about)
  return value ~= nil and (type(value) ~= "table" or next(value) ~= nil)
end

--- Examines what was seen of a run. All fields may be absent:
--
-- - `run`: the last run object; `expires_at`: where that has none any more, when it would have expired
-- - `error`: the error object that the caller gets; `now`: wall seconds
-- - `statuses`: `{ status, at }` in the order seen, `at` in wall seconds; `polls`; `deadline`: seconds the wait had
-- - `calls`: tool calls, each `{ id, name, outcome, error, output_bytes, cut, empty, seconds }` with the outcome "ok",
--   "error", "timeout", "unknown_tool", "bad_arguments" or "pending" (put off: the script answers it later)
-- - `missing_call_ids`, `unknown_call_ids`: of a submission
-- - `steps`: the run's steps, as the server gave them
-- - `turns`: `{ prompt_tokens }` of the runs on the same thread, the oldest first, this run last
-- - `active_run_id`, `waited`: the run that stood in the way, and the seconds spent waiting for the thread
-- - `zombie`: `{ id, status, age }` of an active run that this client did not start
-- - `leaked_threads`: ids
--
-- Returns an array of `{ id, severity, evidence, advice }`, the most severe first.
function doctor.examine(given)
  if is_ordinary(given) then return json.array({}) end
  return doctor.look_at(given)
end

--- What `examine` does where a run isn't plainly ordinary.
function doctor.look_at(given)
  local case, found = seen.read(given), json.array({})
  for _, finding in ipairs(FINDINGS) do
    local evidence, advice
    if is_there(given, finding.about) then evidence, advice = finding.find(case) end
    if evidence then
      advice = advice or finding.advice
      found[#found + 1] = { id = finding.id, severity = finding.severity, evidence = evidence, advice = advice }
    end
  end
  return found
end

--- All findings there are, as `{ id, severity, what }`, in the order in which `examine` returns them.
doctor.catalogue = {}

for index, finding in ipairs(FINDINGS) do
  doctor.catalogue[index] = { id = finding.id, severity = finding.severity, what = finding.what }
end

return doctor
