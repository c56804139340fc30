--- The doctor: from what was seen of a run to what is wrong with it and what to do. Pure, and never raises.
local is_ordinary = require("nexus_assistants.doctor.ordinary")
local json = require("nexus_assistants.json")

local doctor = {}

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
  -- What most programs never need, and is a tenth of all that there is to load. It may be out of reach by now, where
  -- Lua's path is relative and the folder was changed: then a run has no findings, rather than no end.
  local found, look = pcall(require, "nexus_assistants.doctor.look")
  return found and look.at(given) or json.array({})
end

return doctor
