--- What finds each finding: functions from what was seen (see `doctor.seen`) to the evidence, one line, or nil. Where
-- the advice depends on the case, it is returned too.
local seen = require("nexus_assistants.doctor.seen")

local at, each, number, text = seen.at, seen.each, seen.number, seen.text
local durations, figure, listed, seconds, texts = seen.durations, seen.figure, seen.listed, seen.seconds, seen.texts

local finders = {}

local EXPIRING = 0.8 -- of the time a run may take
local LONG_QUEUED = 30 -- seconds
local OFTEN_ASKED = 3 -- times in a row
local NEAR_DEADLINE = 0.8 -- of the wait's time: a request that takes too long ends earlier, as a rule
local GROWING_TURNS, GROWTH = 3, 2

-- ----------------------------------------------------------------------------------------------------------- wording

local function named(call)
  if call.name and call.id then return call.name .. " (" .. call.id .. ")" end
  return call.name or call.id or "a call without a name"
end

-- The calls that a function takes, each in its words.
local function picked(calls, pick, describe)
  local found = {}
  for _, call in ipairs(calls) do
    if pick(call) then found[#found + 1] = (describe or named)(call) end
  end
  return found
end

-- `one` or `many` with the list in it, or nil where there is nothing to list.
local function told(found, one, many)
  if #found == 0 then return nil end
  return (#found == 1 and one or many):format(listed(found))
end

local function with_outcome(outcome)
  return function(call) return call.outcome == outcome end
end

local function with_error(call)
  return named(call) .. (call.error and ": " .. call.error or "")
end

local function polls_text(case, before)
  local polls = number(case.given, "polls")
  return polls and before .. figure(polls) .. (polls == 1 and " poll" or " polls") or ""
end

-- ------------------------------------------------------------------------------------------------- requires_action

local function by_id(calls)
  local found = {}
  for _, call in ipairs(calls) do
    if call.id then found[call.id] = call end
  end
  return found
end

-- The calls that a run asks for, as far as it still says so.
local function wanted_calls(case)
  local wanted = {}
  for _, call in each(case.run, "required_action", "submit_tool_outputs", "tool_calls") do
    wanted[#wanted + 1] = { id = text(call, "id"), name = text(call, "function", "name") }
  end
  return wanted
end

local function is_pending(call)
  return call.outcome == "pending"
end

local function unanswered(case)
  local wanted, known = wanted_calls(case), by_id(case.calls)
  if #wanted == 0 then return picked(case.calls, is_pending) end
  return picked(wanted, function(call)
    local seen_call = call.id and known[call.id]
    return not seen_call or is_pending(seen_call)
  end)
end

-- Calls that a tool has put off are the script's to answer later, and those that are answered go with them: such a run
-- waits as it should. A submission that was refused leaves it waiting.
local function is_put_off(case)
  local wanted, known = wanted_calls(case), by_id(case.calls)
  if #wanted == 0 or at(case.given, "error") ~= nil and case.error_kind ~= "invalid" then return false end
  local put_off = false
  for _, call in ipairs(wanted) do
    local seen_call = call.id and known[call.id]
    if not seen_call then return false end
    put_off = put_off or is_pending(seen_call)
  end
  return put_off
end

-- Someone who cancels a run that waits for action has seen to it.
local WAS_GIVEN_UP = { timeout = true, stalled = true }

local function is_left_waiting(case)
  if case.status == "requires_action" then return not is_put_off(case) end
  if case.working ~= "requires_action" then return false end
  if case.status == "expired" then return true end
  local was_cancelled = case.status == "cancelling" or case.status == "cancelled"
  return was_cancelled and (WAS_GIVEN_UP[case.error_kind] or WAS_GIVEN_UP[case.error_code]) or false
end

local function times_in_a_row(case, status)
  local most, count = 0, 0
  for _, entry in ipairs(case.statuses) do
    count = entry.status == status and count + 1 or 0
    most = math.max(most, count)
  end
  return most
end

local function left_waiting(case)
  local _, _, last = durations(case, "requires_action")
  local evidence = case.label .. " was left in requires_action" .. (last and " for " .. seconds(last) or "")
  if case.status ~= "requires_action" then evidence = evidence .. " and is " .. case.status .. " now" end
  return evidence .. (told(unanswered(case), "; nobody answered %s", "; nobody answered %s") or "")
end

function finders.requires_action_stuck(case)
  if is_left_waiting(case) then return left_waiting(case) end
  local times = times_in_a_row(case, "requires_action")
  if case.status == "completed" or times < OFTEN_ASKED then return nil end
  return ("%s asked for action %d times in a row"):format(case.label, times)
end

-- --------------------------------------------------------------------------------------------------------- time

local function lifetime(case)
  local created = number(case.run, "created_at")
  local expires = number(case.run, "expires_at") or number(case.given, "expires_at")
  if created and expires and expires > created then return expires - created end
end

function finders.run_expiring(case)
  local life, used = lifetime(case), case.age
  if not life or not used or case.status == "expired" or used < EXPIRING * life then return nil end
  local _, acting = durations(case, "requires_action")
  local evidence = ("%s used %s of the %s it may take"):format(case.label, seconds(used), seconds(life))
  return acting and acting > 0 and evidence .. ", " .. seconds(acting) .. " of them in tool calls" or evidence
end

function finders.run_expired(case)
  if case.status ~= "expired" then return nil end
  local after = lifetime(case) or case.age
  local evidence = case.label .. " expired" .. (after and " after " .. seconds(after) or "")
  local was = case.working ~= "expired" and case.working
  return was and evidence .. "; it was " .. was .. " before" or evidence
end

local function time_queued(case)
  local longest = durations(case, "queued")
  if longest then return longest end
  local created, started = number(case.run, "created_at"), number(case.run, "started_at")
  if created and started then return started - created end
  return case.status == "queued" and case.age or nil
end

function finders.queued_too_long(case)
  local waited = time_queued(case)
  if waited and waited >= LONG_QUEUED then return case.label .. " was queued for " .. seconds(waited) end
end

function finders.poll_deadline(case)
  local deadline = number(case.given, "deadline")
  if case.error_kind ~= "timeout" or case.error_code == "stalled" or not deadline then return nil end
  local first = case.statuses[1]
  local waited = first and first.at and case.ended and case.ended - first.at
  if waited and waited < NEAR_DEADLINE * deadline then return nil end
  local evidence = "the wait ended at its deadline of " .. seconds(deadline)
  if not case.working then return evidence .. ", before there was a run" end
  return ("%s, when %s was %s%s"):format(evidence, case.label, case.working, polls_text(case, " after "))
end

function finders.poll_stalled(case)
  if case.error_code ~= "stalled" then return nil end
  local _, _, last = durations(case, case.working)
  return ("the wait was given up: %s stayed %s%s%s"):format(case.label, case.working or "as it was",
    last and " for " .. seconds(last) or "", polls_text(case, " over "))
end

-- ----------------------------------------------------------------------------------------------------- incomplete

local LIMITS = { max_prompt_tokens = "prompt_tokens", max_completion_tokens = "completion_tokens" }

local INCOMPLETE_ADVICE = {
  max_prompt_tokens = "Raise max_prompt_tokens, or let the run read less: a truncation_strategy of the last messages, "
    .. "shorter tool outputs, or a new thread.",
  max_completion_tokens = "Raise max_completion_tokens, or ask for a shorter answer. What the run wrote is cut off.",
  content_filter = "The provider refused the content: change the messages or tool outputs that led to it. The same "
    .. "run again ends the same way.",
}

local function tokens_text(case, reason)
  local used = LIMITS[reason] and number(case.run, "usage", LIMITS[reason])
  local allowed = LIMITS[reason] and number(case.run, reason)
  if not used and not allowed then return "" end
  local parts = { used and figure(used) .. " used", allowed and figure(allowed) .. " allowed" }
  return " (" .. (used and allowed and parts[1] .. ", " .. parts[2] or parts[1] or parts[2]) .. ")"
end

function finders.run_incomplete(case)
  if case.status ~= "incomplete" then return nil end
  local reason = text(case.run, "incomplete_details", "reason")
  local evidence = case.label .. " ended incomplete: " .. (reason or "without a reason") .. tokens_text(case, reason)
  return evidence, INCOMPLETE_ADVICE[reason]
end

-- ---------------------------------------------------------------------------------------------------------- tools

local function with_bytes(call)
  if not call.output_bytes then return named(call) end
  local inner = (call.id and call.id .. ", " or "") .. figure(call.output_bytes) .. " bytes"
  return (call.name or "a call") .. " (" .. inner .. ")"
end

function finders.tool_output_cut(case)
  local found = picked(case.calls, function(call) return call.cut end, with_bytes)
  return told(found, "the output of %s was cut", "the outputs of %s were cut")
end

local function is_empty(call)
  return call.empty or (call.outcome == "ok" and call.output_bytes == 0)
end

-- Outputs that a finished step doesn't have were lost on the way, or not given by whoever answered.
local function add_empty_steps(case, found)
  local known = by_id(case.calls)
  for _, step in each(case.given, "steps") do
    for _, call in each(step, "step_details", "tool_calls") do
      local id, output = text(call, "id"), at(call, "function", "output")
      local is_lost = at(step, "status") == "completed" and at(call, "type") == "function"
      if is_lost and (output == nil or output == "") and not known[id or ""] then
        found[#found + 1] = named({ id = id, name = text(call, "function", "name") })
      end
    end
  end
  return found
end

function finders.tool_output_empty(case)
  local found = add_empty_steps(case, picked(case.calls, is_empty))
  return told(found, "the output of %s was empty", "the outputs of %s were empty")
end

function finders.tool_unknown(case)
  local found = picked(case.calls, with_outcome("unknown_tool"))
  return told(found, "the run called %s, and there is no such tool", "the run called %s, and there are no such tools")
end

function finders.tool_bad_arguments(case)
  local found = picked(case.calls, with_outcome("bad_arguments"), with_error)
  return #found > 0 and "the arguments don't fit: " .. listed(found, "; ") or nil
end

function finders.tool_timeout(case)
  local found = picked(case.calls, with_outcome("timeout"), function(call)
    return named(call) .. (call.seconds and " after " .. seconds(call.seconds) or "")
  end)
  return told(found, "a tool ran out of time: %s", "tools ran out of time: %s")
end

function finders.tool_failure_hidden(case)
  if case.status ~= "completed" then return nil end
  local found = picked(case.calls, function(call)
    return call.outcome == "error" or call.outcome == "timeout"
  end, with_error)
  return #found > 0 and case.label .. " completed, but not all tools did: " .. listed(found, "; ") or nil
end

function finders.call_ids_missing(case)
  local found = texts(case.given, "missing_call_ids")
  return told(found, "no output was given for %s", "no outputs were given for %s")
end

function finders.call_ids_unknown(case)
  local found = texts(case.given, "unknown_call_ids")
  return told(found, "an output was given for %s, which the run did not ask for",
    "outputs were given for %s, which the run did not ask for")
end

-- ------------------------------------------------------------------------------------------------------ file search

local function has_content(result)
  for _, part in each(result, "content") do
    if text(part, "text") then return true end
  end
  return false
end

-- What a search lacks, in words, or nil.
local function lack_of(call)
  local count = 0
  for _, result in each(call, "file_search", "results") do
    if has_content(result) then return nil end
    count = count + 1
  end
  if count == 0 then return "no results" end
  return ("%d %s without content"):format(count, count == 1 and "result" or "results")
end

function finders.file_search_empty(case)
  local searches, found = 0, {}
  for _, step in each(case.given, "steps") do
    for _, call in each(step, "step_details", "tool_calls") do
      if at(call, "type") == "file_search" and at(step, "status") ~= "in_progress" then
        local lack = lack_of(call)
        searches = searches + 1
        if lack then found[#found + 1] = (text(call, "id") or "one without an id") .. " has " .. lack end
      end
    end
  end
  if #found == 0 then return nil end
  return ("%d of %d file %s: %s"):format(#found, searches, searches == 1 and "search" or "searches", listed(found))
end

-- -------------------------------------------------------------------------------------------------- around the run

function finders.active_run_conflict(case)
  local id, waited = text(case.given, "active_run_id"), number(case.given, "waited")
  if not id then return nil end
  local evidence = "run " .. id .. " was active on the thread"
  return waited and waited > 0 and evidence .. ", after " .. seconds(waited) .. " of waiting" or evidence
end

function finders.zombie_run(case)
  local zombie = at(case.given, "zombie")
  if type(zombie) ~= "table" then return nil end
  local id, status, old = text(zombie, "id"), text(zombie, "status"), number(zombie, "age")
  return ("%s was found %s%s, and this client did not start it"):format(id and "run " .. id or "a run",
    status and "in " .. status or "active", old and ", " .. seconds(old) .. " old" or "")
end

local function prompt_tokens(case)
  local counts = {}
  for index, turn in each(case.given, "turns") do counts[index] = number(turn, "prompt_tokens") or false end
  return counts
end

-- A turn whose tokens are unknown ends the row: unknown isn't 0.
local function growing_row(counts)
  local first = #counts
  while first > 1 and counts[first] and counts[first - 1] and counts[first - 1] < counts[first] do first = first - 1 end
  return counts[first], counts[#counts], #counts - first + 1
end

function finders.tokens_growing(case)
  local from, to, turns = growing_row(prompt_tokens(case))
  if turns < GROWING_TURNS or to < GROWTH * from then return nil end
  return ("prompt tokens grew with each of the last %d runs, from %s to %s"):format(turns, figure(from), figure(to))
end

function finders.thread_leak(case)
  local ids = texts(case.given, "leaked_threads")
  if #ids == 0 then return nil end
  local threads = #ids == 1 and "thread was" or "threads were"
  return ("%d %s created and never used again: %s"):format(#ids, threads, listed(ids))
end

-- Finds a code that the run, or else the request, failed with.
local function failed_with(...)
  local codes = {}
  for index = 1, select("#", ...) do codes[select(index, ...)] = true end
  return function(case)
    local code, message, who = text(case.run, "last_error", "code"), text(case.run, "last_error", "message"), case.label
    if not codes[code or ""] then
      code, message, who = case.error_code, text(case.given, "error", "message"), "the call"
    end
    if not codes[code or ""] then return nil end
    return who .. " failed with " .. code .. (message and ": " .. message or "")
  end
end

finders.server_error = failed_with("server_error")
finders.rate_limited = failed_with("rate_limit_exceeded", "insufficient_quota")

return finders
