--- The life of a run: which status may follow which, what is due when, and the model's thinking.
local answers = require("nexus_assistants.providers.runtime.answer")
local checks = require("nexus_assistants.providers.runtime.checks")
local core = require("nexus_assistants.core")
local failure = require("nexus_assistants.providers.runtime.failure")
local json = require("nexus_assistants.json")
local objects = require("nexus_assistants.providers.runtime.objects")
local prompt = require("nexus_assistants.providers.runtime.prompt")
local timers = require("nexus_assistants.providers.runtime.timers")
local copy = require("nexus_assistants.providers.runtime.copy")
local file_search = require("nexus_assistants.providers.runtime.files.tool")
local values = require("nexus_assistants.values")
local writer = require("nexus_assistants.providers.runtime.writer")

local machine = {}
local machine_methods = {}
local machine_mt = { __index = machine_methods }

-- How soon a model that yielded without a time is resumed.
local YIELD_PAUSE = 0.01

-- After how many instructions of its code a model is looked after.
local LOOK_AFTER = 100000
-- LuaJIT has one hook for all coroutines, which is the host's; and what it compiled heeds none.
local sethook = not rawget(_G, "jit") and type(debug) == "table" and debug.sethook

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
local ERROR_CODES = { server_error = true, rate_limit_exceeded = true, invalid_prompt = true }

--- `settings`: `store`, `model`, `clock`, `monotonic`, `new_id`, `delay`, `thinking_limit`.
function machine.new(settings)
  return setmetatable({
    store = settings.store, model = settings.model, clock = settings.clock, monotonic = settings.monotonic,
    new_id = settings.new_id, delay = settings.delay, thinking_limit = settings.thinking_limit,
    timers = timers.new(), jobs = {},
  }, machine_mt)
end

--- True where a run with this status hinders others on its thread.
function machine.active(status)
  return TRANSITIONS[status] ~= nil
end

-- ------------------------------------------------------------------------------------------------- transitions

local function now_of(self)
  return math.floor(self.clock())
end

local function steps_of(self, run)
  return self.store:list("steps", run.id, { order = "asc" })
end

-- `unwritten` is what was used for something that no step tells of, or nil.
local function sum_usage(steps, unwritten)
  local prompt_tokens = unwritten and unwritten.prompt_tokens or 0
  local completion_tokens = unwritten and unwritten.completion_tokens or 0
  for _, step in ipairs(steps) do
    local usage = checks.given(step.usage)
    prompt_tokens = prompt_tokens + (usage and usage.prompt_tokens or 0)
    completion_tokens = completion_tokens + (usage and usage.completion_tokens or 0)
  end
  return objects.usage(prompt_tokens, completion_tokens)
end

local STEP_ENDS = { cancelled = "cancelled", failed = "failed", expired = "expired", incomplete = "failed" }

-- What was written of a message stays, and what that took is counted.
local function break_off_message(self, run, job)
  local used = objects.usage(prompt.chat_tokens(job.chat), prompt.reply_tokens(job.writing.length))
  writer.end_message(self, run, used, "run_" .. run.status)
end

local function settle(self, run)
  local job = self.jobs[run.id]
  if job and job.writing then break_off_message(self, run, job) end
  local steps = steps_of(self, run)
  for _, step in ipairs(steps) do
    if step.status == "in_progress" then writer.end_step(self, run, step, STEP_ENDS[run.status]) end
  end
  run.usage = sum_usage(steps, job and job.unwritten)
  if run.status ~= "expired" then run.expires_at = json.null end
  local field = ENDED_AT[run.status]
  if field then run[field] = now_of(self) end
end

-- What is to happen to a run next replaces what was to happen before.
local function forget_job(self, run)
  local job = self.jobs[run.id]
  if not job then return end
  self.timers:cancel(job.next)
  self.timers:cancel(job.expiry)
  self.jobs[run.id] = nil
  if job.queue then job.queue:finish(select(2, failure.not_found("run", run.id))) end
end

local function ends_stream(status)
  return status == "requires_action" or not machine.active(status)
end

-- Tells who streams the run how it is now.
local function tell(run, queue)
  queue:push("thread.run." .. run.status, run)
  if ends_stream(run.status) then queue:finish() end
end

local function transition(self, run, status)
  assert(TRANSITIONS[run.status] and TRANSITIONS[run.status][status], run.status .. " → " .. status)
  local job = self.jobs[run.id]
  run.status = status
  if status ~= "requires_action" then run.required_action = json.null end
  if not machine.active(status) then settle(self, run) end
  local queue = job and job.queue
  if queue and ends_stream(status) then job.queue = nil end
  if not machine.active(status) then forget_job(self, run) end
  self.store:save("runs", run.thread_id, run)
  if queue then tell(run, queue) end
end

-- What is stored must be fit for JSON.
local function clean(text)
  text = tostring(text)
  return core.utf8_valid(text) and text or (text:gsub("[\128-\255]", "?"))
end

local function fail(self, run, err)
  local code = type(err) == "table" and err.code
  local text = clean(type(err) == "table" and err.message or err)
  run.last_error = { code = ERROR_CODES[code] and code or "server_error", message = text }
  transition(self, run, "failed")
end

local function leave_incomplete(self, run, reason)
  run.incomplete_details = { reason = reason }
  transition(self, run, "incomplete")
end

-- --------------------------------------------------------------------------------------------------- scheduling

-- Ctrl-C, as Lua's own interpreter tells it: it is meant for whoever drives the runtime.
local function is_interrupt(problem)
  return type(problem) == "string" and problem:find("interrupted!$") ~= nil
end

-- Nothing that goes wrong with one run may be felt by the others or by the host.
local function protected(self, run, act)
  local ok, problem = pcall(act, self, run)
  if ok then return end
  if is_interrupt(problem) then error(problem, 0) end
  if not self.jobs[run.id] then return end
  pcall(fail, self, run, type(problem) == "string" and problem or "something failed with a " .. type(problem))
  forget_job(self, run)
end

local function expire(self, run)
  transition(self, run, "expired")
end

-- The run is looked up again when its time comes: it may have been deleted with its thread.
local function schedule(self, run, seconds, act)
  local job, id, thread_id = self.jobs[run.id], run.id, run.thread_id
  if job.next then self.timers:cancel(job.next) end
  job.next = self.timers:add(self.monotonic() + seconds, function()
    local present = self.store:get("runs", thread_id, id)
    if not present or not machine.active(present.status) then return forget_job(self, run) end
    -- where nobody came by for long, all that was to happen is due at once, and the end of its time comes first
    protected(self, present, self.monotonic() >= job.expires and expire or act)
  end)
end

local start

--- Takes charge of a run that was just created and stored. Its events go to the queue, where there is one.
function machine_methods:admit(run, queue)
  local lifetime = run.expires_at - self.clock()
  local job = { expires = self.monotonic() + lifetime, queue = queue }
  self.jobs[run.id] = job
  if queue then
    queue:push("thread.run.created", run)
    queue:push("thread.run.queued", run)
  end
  schedule(self, run, lifetime, expire)
  job.expiry, job.next = job.next, nil
  schedule(self, run, 0, start)
end

--- Moves on what is due; returns the seconds until something will be, or nil.
function machine_methods:advance()
  local due = self.timers:next_due()
  local now = due and self.monotonic()
  while due and due <= now do
    self.timers:fire(now)
    due = self.timers:next_due()
  end
  return due and due - now
end

-- ------------------------------------------------------------------------------------------- what a model said

local function usage_of(read, chat)
  if read.usage then return objects.usage(read.usage.prompt_tokens, read.usage.completion_tokens) end
  local answer = { text = read.text, tool_calls = {} }
  for index, call in ipairs(read.calls) do
    answer.tool_calls[index] = call["function"]
  end
  return objects.usage(prompt.chat_tokens(chat), prompt.message_tokens(answer))
end

-- The calls stand twice: in the step, where their outputs will be, and in what the run requires.
local function ask_for_outputs(self, run, calls, usage)
  writer.write_calls(self, run, calls, usage)
  run.required_action = { type = "submit_tool_outputs", submit_tool_outputs = { tool_calls = calls } }
  transition(self, run, "requires_action")
end

-- Searches are answered here and now, in a step of their own. Returns nothing, or what is wrong with a call.
local function answer_searches(self, run, calls, usage)
  if file_search.is_exhausted(steps_of(self, run)) then return "the model searches files again and again" end
  local answered, owners = json.array(), {
    run, self.store:get("threads", "", run.thread_id) or {}, self.assistant_of(run.assistant_id) or {},
  }
  for index, call in ipairs(calls) do
    local found, problem = file_search.answer(self.vector_stores, run, owners, call)
    if not found then return problem end
    answered[index] = found
  end
  writer.write_searches(self, run, answered, usage)
end

local think

-- What the model asked for: the runtime's own tools first, then it waits for the outputs of the others.
local function take_calls(self, run, calls, usage)
  local searches, others = file_search.divide(run, calls)
  if #searches == 0 then return ask_for_outputs(self, run, others, usage) end
  local problem = answer_searches(self, run, searches, usage)
  if problem then return fail(self, run, problem) end
  if #others > 0 then return ask_for_outputs(self, run, others, objects.usage(0, 0)) end
  schedule(self, run, self.delay, think)
end

local function remaining(run, used, limit, kind)
  local most = checks.given(run[limit])
  return most and most - used[kind]
end

-- More than was allowed: what of the text fits is kept, as a model's own limit would. What was told already stays.
local function cut_short(self, run, text, prompt_tokens, left)
  local job = self.jobs[run.id]
  local usage, written = objects.usage(prompt_tokens, left), writer.text(job)
  job.held = nil
  writer.add(self, run, prompt.cut(text or "", left):sub(#written + 1))
  if job.writing then
    writer.end_step(self, run, writer.end_message(self, run, usage, "max_tokens"), "completed")
  else
    job.unwritten = usage
  end
  leave_incomplete(self, run, "max_completion_tokens")
end

local function write_rest(self, run, read, usage)
  for _, piece in ipairs(read.pieces) do
    local add = read.is_whole and writer.add_whole or writer.add
    add(self, run, piece)
  end
  writer.end_step(self, run, writer.end_message(self, run, usage), "completed")
end

local function take_answer(self, run, answer)
  local job = self.jobs[run.id]
  local read, problem = answers.read(answer, self.new_id, writer.text(job))
  if not read then return fail(self, run, problem) end
  local usage, left = usage_of(read, job.chat), job.left
  if left and usage.completion_tokens > left then return cut_short(self, run, read.text, usage.prompt_tokens, left) end
  if read.text then write_rest(self, run, read, read.calls[1] and objects.usage(0, 0) or usage) end
  if read.calls[1] then return take_calls(self, run, read.calls, usage) end
  transition(self, run, "completed")
end

-- A piece of text that the model has yielded; true where the run goes on.
local function take_piece(self, run, piece)
  local job = self.jobs[run.id]
  local problem = writer.problem(job, piece)
  if problem then return fail(self, run, problem) end
  if job.left and not prompt.fits(writer.length_with(job, piece), job.left) then
    local written, held = writer.text(job)
    return cut_short(self, run, written .. held .. piece, prompt.chat_tokens(job.chat), job.left)
  end
  writer.add(self, run, piece)
  return true
end

-- ---------------------------------------------------------------------------------------------------- thinking

-- A model that computes on and on would hold up everything, and Ctrl-C too, since its signal is noticed outside of the
-- model's coroutine alone. Waiting isn't computing, so the processor's time must be used up as well.
local function watch(self, thread)
  local limit = self.thinking_limit
  if not sethook or limit == math.huge then return end
  local began, computed = core.monotonic(), os.clock()
  sethook(thread, function()
    if core.monotonic() - began > limit and os.clock() - computed > limit then
      error(("it computed for %g seconds without yielding"):format(limit), 0)
    end
  end, "", LOOK_AFTER)
end

local resume

-- What the model yields: seconds to wait; or a piece of its text, behind which it goes on at once, or after `wait`
-- seconds.
local function go_on_later(self, run, yielded)
  local is_piece = type(yielded) == "table" and type(yielded.text) == "string" and yielded.text ~= ""
  local wait = yielded
  if is_piece then
    if not take_piece(self, run, yielded.text) then return end
    wait = yielded.wait
  end
  schedule(self, run, math.max(values.is_finite(wait) and wait or 0, is_piece and 0 or YIELD_PAUSE), resume)
end

function resume(self, run)
  local job = self.jobs[run.id]
  local thread = job.thread
  watch(self, thread)
  local ok, answer, err = coroutine.resume(thread)
  -- the model may have run so long that the run isn't there any more, or may have cancelled it
  if self.jobs[run.id] ~= job or job.thread ~= thread then return end
  if not ok then return fail(self, run, "the model failed: " .. tostring(answer)) end
  if coroutine.status(thread) ~= "dead" then return go_on_later(self, run, answer) end
  if answer == nil and (err ~= nil or not job.writing) then
    return fail(self, run, err == nil and "the model returned nothing" or err)
  end
  take_answer(self, run, answer or {})
end

-- The chat, cut down to what the run allows, and the tokens the run may still write, where that is limited; nil where
-- the chat can't be cut down so far.
local function prepare_chat(self, run)
  local steps = steps_of(self, run)
  local chat = prompt.build(run, self.store:list("messages", run.thread_id, { order = "asc" }), steps)
  local last_messages = checks.given(run.truncation_strategy.last_messages)
  local used = sum_usage(steps)
  local budget = remaining(run, used, "max_prompt_tokens", "prompt_tokens")
  if not prompt.truncate(chat, last_messages, budget) then return nil end
  return chat, remaining(run, used, "max_completion_tokens", "completion_tokens")
end

local function tools_of(run)
  return run.tool_choice == "none" and {} or copy(run.tools)
end

function think(self, run)
  local chat, left = prepare_chat(self, run)
  if not chat then return leave_incomplete(self, run, "max_prompt_tokens") end
  local job, model = self.jobs[run.id], self.model
  -- the model gets tables of its own, so that nothing it does to them is felt here
  local seen, tools, run_seen = copy(chat), tools_of(run), copy(run)
  job.chat, job.left = chat, left
  job.thread = coroutine.create(function() return model:think(seen, tools, run_seen) end)
  resume(self, run)
end

function start(self, run)
  if run.started_at == json.null then run.started_at = now_of(self) end
  transition(self, run, "in_progress")
  schedule(self, run, self.delay, think)
end

-- ----------------------------------------------------------------------------------------- what callers can do

local function finish_cancel(self, run)
  transition(self, run, "cancelled")
end

--- Forgets a run whose thread goes.
function machine_methods:abandon(run)
  forget_job(self, run)
end

--- Begins to cancel an active run; it is cancelled at the next advance. What the model may still say is lost.
function machine_methods:cancel(run)
  if run.status == "cancelling" then return end
  transition(self, run, "cancelling")
  self.jobs[run.id].thread = nil
  schedule(self, run, 0, finish_cancel)
end

--- Hands the outputs, by call id, to a run that requires them; it is queued again. What happens from now on goes to the
-- queue, where there is one.
function machine_methods:submit(run, outputs, queue)
  self.jobs[run.id].queue = queue
  for _, step in ipairs(steps_of(self, run)) do
    if step.type == "tool_calls" and step.status == "in_progress" then
      for _, call in ipairs(step.step_details.tool_calls) do
        call["function"].output = outputs[call.id]
      end
      writer.end_step(self, run, step, "completed")
    end
  end
  transition(self, run, "queued")
  schedule(self, run, 0, start)
end

return machine
