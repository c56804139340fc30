--- The machine of runs: what callers can do to them, and what happens by itself. What a run's life consists of is in
-- `life`, how a model is asked in `thinking`, what becomes of its answer in `taking`.
local json = require("nexus_assistants.json")
local life = require("nexus_assistants.providers.runtime.life")
local thinking = require("nexus_assistants.providers.runtime.thinking")
local timers = require("nexus_assistants.providers.runtime.timers")
local values = require("nexus_assistants.values")
local writer = require("nexus_assistants.providers.runtime.writer")

local machine = {}
local machine_methods = {}
local machine_mt = { __index = machine_methods }

local function nothing() end

local UNOBSERVED = { enter = nothing, finish = nothing }

local function unobserved()
  return UNOBSERVED
end

--- `settings`: `store`, `model`, `clock`, `monotonic`, `new_id`, `delay`, `thinking_limit`; and, where there is a
-- scheduler, `spawn(fn) → task`, `sleep(seconds)`, `try` (pcall), which a model that waits needs. Also, where they are
-- wanted,
--   tells_hints                whether what a run failed with says what to do about it
--   observe(span, run, chat)   called when the model is asked something; returns an object with `enter()`, which is
--                              called in the coroutine that it thinks in, and `finish(answer, err, told)`, which is
--                              called with what it said and the text it had told on the way; it may have a `span`,
--                              which requests for the question are of
--   on_change(run_id)          called when the status of a run of this process changes
function machine.new(settings)
  return setmetatable({
    store = settings.store, model = settings.model, clock = settings.clock, monotonic = settings.monotonic,
    new_id = settings.new_id, delay = settings.delay, thinking_limit = settings.thinking_limit,
    spawn = settings.spawn, sleep = settings.sleep, try = settings.try or pcall,
    observe = settings.observe or unobserved, on_change = settings.on_change or nothing,
    tells_hints = settings.tells_hints,
    timers = timers.new(), jobs = {}, think = thinking.think, depth = 0,
  }, machine_mt)
end

--- True where a run with this status hinders others on its thread.
machine.active = life.is_active

local function mark_begun(self, run)
  if run.started_at == json.null then run.started_at = life.now(self) end
  life.transition(self, run, "in_progress")
end

local function start(self, job)
  life.change(self, job, mark_begun)
  if self.jobs[job.id] == job then life.schedule(self, job, self.delay, thinking.think) end
end

local function start_soon(self, job)
  life.schedule(self, job, 0, start)
end

--- Takes charge of a run that was just created and stored. Its events go to the queue, and the model's calls below the
-- span, where these are given.
function machine_methods:admit(run, queue, span)
  local job = life.take_charge(self, run, queue, span)
  if queue then
    queue:push("thread.run.created", run)
    queue:push("thread.run.queued", run)
  end
  start_soon(self, job)
end

--- Moves on what is due; no more of it once `is_late()` says so, where that is given. Returns the seconds until
-- something will be due, or nil.
function machine_methods:advance(is_late)
  local due = self.timers:next_due()
  local now = due and self.monotonic()
  while due and due <= now do
    self.timers:fire(now, is_late)
    due = self.timers:next_due()
    if is_late and is_late() then break end
  end
  return due and due - now
end

--- Seconds until something is due, or nil.
function machine_methods:idle_time()
  local due = self.timers:next_due()
  return due and math.max(due - self.monotonic(), 0)
end

--- A function that tells whether a run's status has changed since; nil where that happens elsewhere.
function machine_methods:watch(run_id)
  local job = self.jobs[run_id]
  if not job then return nil end
  local seen = job.changes
  return function() return job.changes ~= seen end
end

-- ----------------------------------------------------------------------------------------- what callers can do

--- Calls `fn(…)`, which may call the methods below, as one piece in the store.
function machine_methods:together(fn, ...)
  return life.together(self, fn, ...)
end

--- Forgets a run whose thread goes.
function machine_methods:abandon(run)
  local job = self.jobs[run.id]
  if job then life.afterwards(self, life.forget, job) end
end

--- Begins to cancel an active run; it is cancelled at the next advance of the process that is in charge of it.
function machine_methods:cancel(run)
  if run.status == "cancelling" then return end
  life.transition(self, run, "cancelling")
  local job = self.jobs[run.id]
  if job then life.afterwards(self, life.finish_cancelling, job) end
end

local function write_outputs(self, run, outputs)
  for _, step in ipairs(life.steps(self, run)) do
    if step.type == "tool_calls" and step.status == "in_progress" then
      for _, call in ipairs(step.step_details.tool_calls) do
        call["function"].output = outputs[call.id]
      end
      writer.end_step(self, run, step, "completed")
    end
  end
end

-- Who goes on with a run is in charge of it, whoever was before.
local function job_of(self, run)
  run.private.owner = self.store.owner
  return self.jobs[run.id] or life.take_charge(self, run)
end

--- Hands the outputs, by call id, to a run that requires them; it is queued again. What happens from now on goes to the
-- queue and below the span, where these are given.
function machine_methods:submit(run, outputs, queue, span)
  local job = job_of(self, run)
  job.queue, job.span = queue, span
  write_outputs(self, run, outputs)
  life.transition(self, run, "queued")
  life.afterwards(self, start_soon, job)
end

-- -------------------------------------------------------------------------------------- what others left behind

local BROKEN_OFF = "The process that this run was in progress in ended before the run did."

-- What was being written is lost: it had nothing in it yet that was acknowledged.
local function drop_unwritten(self, run)
  for _, message in ipairs(self.store:list("messages", run.thread_id, { order = "asc", run_id = run.id })) do
    if #message.content == 0 then self.store:delete("messages", run.thread_id, message.id) end
  end
end

local settle = {
  cancelling = function(self, run)
    drop_unwritten(self, run)
    life.transition(self, run, "cancelled")
  end,
  in_progress = function(self, run)
    drop_unwritten(self, run)
    life.fail(self, run, BROKEN_OFF)
  end,
  queued = function(self, run) start_soon(self, job_of(self, run)) end,
  requires_action = job_of,
}

local function has_expired(self, run)
  return run.expires_at <= self.clock()
end

-- Whoever is in charge may not be driven for long; a run's time is over all the same.
local function is_left(self, run)
  if not life.is_active(run.status) or self.jobs[run.id] then return false end
  local owner = run.private.owner
  return owner == self.store.owner or has_expired(self, run) or not self.store:is_alive(owner)
end

local function settle_left(self, thread_id, run_id)
  self.store:lock_thread(thread_id)
  local run = self.store:get("runs", thread_id, run_id)
  if not run or not is_left(self, run) then return run end
  if has_expired(self, run) then
    drop_unwritten(self, run)
    life.transition(self, run, "expired")
  else
    settle[run.status](self, run)
    self.store:save("runs", thread_id, run)
  end
  return run
end

local function break_off(self, run)
  if run.status == "requires_action" and self.store.shared then return self:abandon(run) end
  if run.status == "cancelling" then return life.transition(self, run, "cancelled") end
  life.fail(self, run, life.CLOSED)
end

--- A run as it is now: where it was left by a process that has ended, it is settled as the protocol would, or gone on
-- with.
function machine_methods:look_after(run)
  if not is_left(self, run) then return run end
  return self:together(settle_left, self, run.thread_id, run.id)
end

--- Ends all that is under way in this process, as failed: nobody will go on with it. What waits for outputs is left to
-- whoever submits them. A store that fails, which may take its time, is asked no more: what it still holds is settled
-- by who looks at it next.
function machine_methods:close()
  local works = true
  for _, job in pairs(values.merged(self.jobs)) do
    works = works and pcall(life.change, self, job, break_off)
    if not works then life.forget(self, job) end
  end
end

return machine
