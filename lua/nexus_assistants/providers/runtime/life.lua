--- What a run's life consists of: which status may follow which, what is due when, and that all of it is kept in one
-- piece. `self` is the machine.
--
-- A run under way in this process has a job, `self.jobs[run.id]`; the run itself is read from the store each time,
-- since whoever shares the store may have changed it meanwhile.
local checks = require("nexus_assistants.providers.runtime.checks")
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local failure = require("nexus_assistants.providers.runtime.failure")
local json = require("nexus_assistants.json")
local objects = require("nexus_assistants.providers.runtime.objects")
local prompt = require("nexus_assistants.providers.runtime.prompt")
local writer = require("nexus_assistants.providers.runtime.writer")

local life = {}

-- All legal transitions; a status without any is an end. What goes wrong here can make any run fail.
local TRANSITIONS = {
  queued = { in_progress = true, cancelling = true, failed = true, expired = true },
  in_progress = {
    requires_action = true, cancelling = true, completed = true, failed = true, incomplete = true, expired = true,
  },
  requires_action = { queued = true, cancelling = true, failed = true, expired = true },
  cancelling = { cancelled = true, failed = true, expired = true },
}
local ENDED_AT = { completed = "completed_at", cancelled = "cancelled_at", failed = "failed_at" }
local STEP_ENDS = { cancelled = "cancelled", failed = "failed", expired = "expired", incomplete = "failed" }
-- Seconds between two looks at what others who share the store did to a run of ours.
local LOOK_AFTER = 0.5
--- What runs fail with that the end of their client leaves unfinished.
life.CLOSED = "The client that this run was in progress in was closed."
local ERROR_CODES = { server_error = true, rate_limit_exceeded = true, invalid_prompt = true }

--- True where a run with this status hinders others on its thread.
function life.is_active(status)
  return TRANSITIONS[status] ~= nil
end

--- The time as objects say it.
function life.now(self)
  return math.floor(self.clock())
end

--- The steps of a run, oldest first.
function life.steps(self, run)
  return self.store:list("steps", run.id, { order = "asc" })
end

-- ---------------------------------------------------------------------------------------------------- one piece

local function conclude(self, ok, ...)
  local later = self.later
  self.later = nil
  if not ok then error((...), 0) end
  for _, act in ipairs(later) do act() end
  return ...
end

--- Calls `fn(…)` as one piece in the store; what it leaves to `afterwards` is done once all of it is kept.
function life.together(self, fn, ...)
  if self.later then return self.store:atomically(fn, ...) end
  self.later = {}
  return conclude(self, pcall(self.store.atomically, self.store, fn, ...))
end

--- Calls `act(self, job, run)`, which no store can take back, once what goes on in the store is kept.
function life.afterwards(self, act, job, run)
  if not self.later then return act(self, job, run) end
  self.later[#self.later + 1] = function() act(self, job, run) end
end

-- -------------------------------------------------------------------------------------------------- transitions

local COUNTS = { "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens" }

local function add_usage(sum, usage)
  usage = checks.given(usage)
  if not usage then return end
  local counted = objects.counts(usage)
  for _, name in ipairs(COUNTS) do sum[name] = sum[name] + counted[name] end
end

--- What steps used together. `unwritten` is what was used for something that no step tells of, or nil.
function life.sum_usage(steps, unwritten)
  local sum = { prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0, reasoning_tokens = 0 }
  add_usage(sum, unwritten)
  for _, step in ipairs(steps) do add_usage(sum, step.usage) end
  return objects.usage(sum)
end

-- What was written of a message stays, and what that took is counted.
local function break_off_message(self, run, job)
  local used = objects.usage({
    prompt_tokens = prompt.chat_tokens(job.chat), completion_tokens = prompt.reply_tokens(job.writing.length),
  })
  writer.end_message(self, run, used, "run_" .. run.status)
end

local function settle(self, run)
  local job = self.jobs[run.id]
  if job and job.writing then break_off_message(self, run, job) end
  local steps = life.steps(self, run)
  for _, step in ipairs(steps) do
    if step.status == "in_progress" then writer.end_step(self, run, step, STEP_ENDS[run.status]) end
  end
  run.usage = life.sum_usage(steps, job and job.unwritten)
  if run.status ~= "expired" then run.expires_at = json.null end
  local field = ENDED_AT[run.status]
  if field then run[field] = life.now(self) end
end

--- Lets the model end what goes on elsewhere for a question whose answer nobody wants any more.
function life.abandon(self, job, asked)
  if not self.model.abandon then return end
  self.spawn(function() self.model:abandon(asked.run, job.state, asked.observed.span) end)
end

--- Ends what the model was asked for, where it still thinks. It has a last word then.
function life.stop_thinking(self, job)
  local task, asked = job.task, job.asked
  job.task, job.thread, job.asked = nil, nil, nil
  if asked then asked.observed:finish(nil, "the run ended before the model answered") end
  if not task or task:done() then return end
  task:cancel()
  life.abandon(self, job, asked)
end

-- Who waits for the run looks again.
local function note_change(self, job)
  job.changes = job.changes + 1
  self.on_change(job.id)
end

--- What is to happen to a run next in this process is forgotten; who streams it gets no more, but `err` where it is
-- given.
function life.forget(self, job, err)
  if self.jobs[job.id] ~= job then return end
  self.timers:cancel(job.next)
  self.timers:cancel(job.expiry)
  self.timers:cancel(job.watch)
  self.jobs[job.id] = nil
  life.stop_thinking(self, job)
  if job.queue then job.queue:finish(err or select(2, failure.not_found("run", job.id))) end
  note_change(self, job)
end

local function ends_stream(status)
  return status == "requires_action" or not life.is_active(status)
end

-- Tells who streams the run how it is now.
local function tell(run, queue)
  queue:push("thread.run." .. run.status, run)
  if ends_stream(run.status) then queue:finish() end
end

local function announce(self, job, run)
  local queue = job.queue
  if queue and ends_stream(run.status) then job.queue = nil end
  if life.is_active(run.status) then note_change(self, job) else life.forget(self, job) end
  if queue then tell(run, queue) end
end

--- Brings a run from its status to the next, and keeps it.
function life.transition(self, run, status)
  assert(TRANSITIONS[run.status] and TRANSITIONS[run.status][status], run.status .. " → " .. status)
  local job = self.jobs[run.id]
  run.status = status
  if status ~= "requires_action" then run.required_action = json.null end
  if not life.is_active(status) then settle(self, run) end
  self.store:save("runs", run.thread_id, run)
  if job then life.afterwards(self, announce, job, run) end
end

-- What is stored must be fit for JSON.
local function clean(text)
  text = tostring(text)
  return core.utf8_valid(text) and text or (text:gsub("[\128-\255]", "?"))
end

-- A run says nothing but its message: what to do is part of that, where who reads it can do it.
local function words_of(self, err)
  if type(err) ~= "table" then return err end
  return self.tells_hints and err.hint and err.message .. "; " .. err.hint or err.message
end

--- Ends a run as failed: `err` is an error object, a text, or a table of code and message.
function life.fail(self, run, err)
  local code = type(err) == "table" and err.code
  local text = clean(words_of(self, err))
  run.last_error = { code = ERROR_CODES[code] and code or "server_error", message = text }
  life.transition(self, run, "failed")
end

--- Ends a run as incomplete.
function life.leave_incomplete(self, run, reason)
  run.incomplete_details = { reason = reason }
  life.transition(self, run, "incomplete")
end

-- --------------------------------------------------------------------------------------------------- scheduling

-- Somebody who shares the store may have ended, deleted or taken over the run.
local function is_ours(self, run)
  return run and life.is_active(run.status) and run.private.owner == self.store.owner
end

local function change_in_store(self, job, change, ...)
  self.store:lock_thread(job.thread_id)
  local run = self.store:get("runs", job.thread_id, job.id)
  if not is_ours(self, run) then return life.afterwards(self, life.forget, job) end
  return change(self, run, ...)
end

-- What a job knows of what is in the store.
local KNOWN = { "writing", "held", "unwritten" }

local function known_of(job)
  local known = { place = job.queue and job.queue:place() }
  for _, name in ipairs(KNOWN) do known[name] = job[name] end
  return known
end

local function conclude_change(job, before, ok, ...)
  if ok then return ... end
  for _, name in ipairs(KNOWN) do job[name] = before[name] end
  if before.place then job.queue:take_back(before.place) end
  error((...), 0)
end

--- Changes a run in one piece: calls `change(self, run, …)` with the run as it is stored now, unless it isn't this
-- process's any more. Where that fails, the job and its queue are as before, too.
function life.change(self, job, change, ...)
  return conclude_change(job, known_of(job), pcall(life.together, self, change_in_store, self, job, change, ...))
end

-- Ctrl-C, as Lua's own interpreter tells it: it is meant for whoever drives the runtime.
local function is_interrupt(problem)
  return type(problem) == "string" and problem:find("interrupted!$") ~= nil
end

local function text_of(problem)
  if type(problem) == "string" then return problem end
  return errors.is(problem) and problem.message or "something failed with a " .. type(problem)
end

--- Calls `act(self, job, …)`. Nothing that goes wrong with one run may be felt by the others or by the host.
function life.protected(self, job, act, ...)
  local ok, problem = pcall(act, self, job, ...)
  if ok then return end
  if is_interrupt(problem) then error(problem, 0) end
  if self.jobs[job.id] ~= job then return end
  pcall(life.change, self, job, life.fail, text_of(problem))
  life.forget(self, job, errors.is(problem) and problem or nil)
end

local function mark_expired(self, run)
  life.transition(self, run, "expired")
end

local function expire(self, job)
  life.change(self, job, mark_expired)
end

-- Where nobody came by for long, all that was to happen is due at once, and the end of the run's time comes first.
local function at(self, job, seconds, act)
  return self.timers:add(self.monotonic() + seconds, function()
    if self.jobs[job.id] ~= job then return end
    life.protected(self, job, self.monotonic() >= job.expires and expire or act)
  end)
end

--- What happens to a run next, `act(self, job)` after some seconds, replaces what was to happen before.
function life.schedule(self, job, seconds, act)
  self.timers:cancel(job.next)
  job.next = at(self, job, seconds, act)
end

local function mark_cancelled(self, run)
  life.transition(self, run, "cancelled")
end

local function finish_cancel(self, job)
  life.change(self, job, mark_cancelled)
end

--- Ends a run that is cancelling, at the next advance. What the model may still say is lost.
function life.finish_cancelling(self, job)
  life.stop_thinking(self, job)
  life.schedule(self, job, 0, finish_cancel)
end

-- Another process may cancel a run, take it over or delete its thread. Who only looks waits for nobody's lock.
local function look_at_others(self, job)
  local run = self.store:get("runs", job.thread_id, job.id)
  if not is_ours(self, run) then return life.forget(self, job) end
  if run.status == "cancelling" then return life.finish_cancelling(self, job) end
  job.watch = at(self, job, LOOK_AFTER, look_at_others)
end

--- Takes charge of a run in this process. `queue` takes its events, and `span` is where what it does is traced, where
-- they are wanted.
function life.take_charge(self, run, queue, span)
  local job = {
    id = run.id, thread_id = run.thread_id, queue = queue, span = span, changes = 0, state = {},
    is_within = self.depth > 0,
  }
  local lifetime = run.expires_at - self.clock()
  job.expires = self.monotonic() + lifetime
  self.jobs[run.id] = job
  job.expiry = at(self, job, lifetime, expire)
  if self.store.shared then job.watch = at(self, job, LOOK_AFTER, look_at_others) end
  return job
end

return life
