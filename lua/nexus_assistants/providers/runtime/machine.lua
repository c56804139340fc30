--- The life of a run: which status may follow which, what is due when, and the model's thinking.
local checks = require("nexus_assistants.providers.runtime.checks")
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local objects = require("nexus_assistants.providers.runtime.objects")
local prompt = require("nexus_assistants.providers.runtime.prompt")
local timers = require("nexus_assistants.providers.runtime.timers")
local copy = require("nexus_assistants.providers.runtime.copy")
local values = require("nexus_assistants.values")

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

local function end_step(self, run, step, status)
  step.status, step.expires_at = status, json.null
  local field = ENDED_AT[status]
  if field then step[field] = now_of(self) end
  if status == "failed" then step.last_error = run.last_error end
  self.store:save("steps", run.id, step)
end

local STEP_ENDS = { cancelled = "cancelled", failed = "failed", expired = "expired", incomplete = "failed" }

local function settle(self, run)
  local steps = steps_of(self, run)
  for _, step in ipairs(steps) do
    if step.status == "in_progress" then end_step(self, run, step, STEP_ENDS[run.status]) end
  end
  local job = self.jobs[run.id]
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
end

local function transition(self, run, status)
  assert(TRANSITIONS[run.status] and TRANSITIONS[run.status][status], run.status .. " → " .. status)
  run.status = status
  if status ~= "requires_action" then run.required_action = json.null end
  if not machine.active(status) then
    settle(self, run)
    forget_job(self, run)
  end
  self.store:save("runs", run.thread_id, run)
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

--- Takes charge of a run that was just created and stored.
function machine_methods:admit(run)
  local lifetime = run.expires_at - self.clock()
  local job = { expires = self.monotonic() + lifetime }
  self.jobs[run.id] = job
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

local function encode_arguments(arguments)
  if arguments == nil then return "{}" end
  if type(arguments) == "table" then return json.encode(arguments) end
  if type(arguments) == "string" then return arguments end
  return nil, "is a " .. type(arguments)
end

-- One call as the wire has it; nil and what is wrong with it.
local function wire_call(self, call)
  if type(call) ~= "table" or type(call.name) ~= "string" or call.name == "" then
    return nil, "a tool call must be a table with a name"
  end
  local arguments, problem = encode_arguments(call.arguments)
  if not arguments then return nil, "the arguments of a tool call: " .. tostring(problem) end
  local id = call.id or self.new_id("call_")
  if type(id) ~= "string" then return nil, "the id of a tool call is a " .. type(id) end
  if not core.utf8_valid(id .. call.name .. arguments) then return nil, "a tool call isn't valid UTF-8" end
  return {
    id = id, type = "function",
    ["function"] = { name = call.name, arguments = arguments },
  }
end

local function wire_calls(self, calls)
  local result, known = json.array(), {}
  for index, call in ipairs(calls) do
    local wired, problem = wire_call(self, call)
    if not wired then return nil, problem end
    if known[wired.id] then return nil, "two tool calls have the id " .. wired.id end
    known[wired.id], result[index] = true, wired
  end
  return result
end

local function check_answer(answer)
  if type(answer) ~= "table" then return "the model returned a " .. type(answer) end
  if answer.text ~= nil and type(answer.text) ~= "string" then return "the model's text is a " .. type(answer.text) end
  if answer.text and not core.utf8_valid(answer.text) then return "the model's text isn't valid UTF-8" end
  if answer.tool_calls ~= nil and type(answer.tool_calls) ~= "table" then
    return "the model's tool calls are a " .. type(answer.tool_calls)
  end
  if not answer.text and not (answer.tool_calls and answer.tool_calls[1]) then
    return "the model returned neither text nor tool calls"
  end
end

local function is_count(value)
  return type(value) == "number" and value >= 0 and value % 1 == 0
end

local function usage_of(answer, chat)
  local reported = answer.usage
  if type(reported) == "table" and is_count(reported.prompt_tokens) and is_count(reported.completion_tokens) then
    return objects.usage(reported.prompt_tokens, reported.completion_tokens)
  end
  return objects.usage(prompt.chat_tokens(chat), prompt.message_tokens(answer))
end

local function write_message(self, run, text, usage)
  local now = now_of(self)
  local body = { role = "assistant", content = text }
  local message = objects.message(self.new_id("msg_"), now, run.thread_id, body, run)
  self.store:insert("messages", run.thread_id, message)
  local details = { type = "message_creation", message_creation = { message_id = message.id } }
  local step = objects.step(self.new_id("step_"), now, run, details)
  step.usage = usage
  self.store:insert("steps", run.id, step)
  end_step(self, run, step, "completed")
end

-- The calls stand twice: in the step, where their outputs will be, and in what the run requires.
local function ask_for_outputs(self, run, calls, usage)
  local in_step = copy(calls)
  for _, call in ipairs(in_step) do
    call["function"].output = json.null
  end
  local step = objects.step(self.new_id("step_"), now_of(self), run, { type = "tool_calls", tool_calls = in_step })
  step.usage = usage
  self.store:insert("steps", run.id, step)
  run.required_action = { type = "submit_tool_outputs", submit_tool_outputs = { tool_calls = calls } }
  transition(self, run, "requires_action")
end

local function remaining(run, used, limit, kind)
  local most = checks.given(run[limit])
  return most and most - used[kind]
end

-- More than was allowed: what of the text fits is kept, as a model's own limit would.
local function cut_short(self, run, answer, usage, left)
  usage = objects.usage(usage.prompt_tokens, left)
  local kept = prompt.cut(answer.text or "", left)
  if kept ~= "" then write_message(self, run, kept, usage) else self.jobs[run.id].unwritten = usage end
  leave_incomplete(self, run, "max_completion_tokens")
end

local function take_answer(self, run, chat, answer)
  local problem = check_answer(answer)
  if problem then return fail(self, run, problem) end
  local calls
  calls, problem = wire_calls(self, answer.tool_calls or {})
  if problem then return fail(self, run, problem) end
  answer = { text = answer.text, usage = answer.usage, tool_calls = {} }
  for index, call in ipairs(calls) do
    answer.tool_calls[index] = call["function"]
  end
  local usage = usage_of(answer, chat)
  local left = remaining(run, sum_usage(steps_of(self, run)), "max_completion_tokens", "completion_tokens")
  if left and usage.completion_tokens > left then return cut_short(self, run, answer, usage, left) end
  if answer.text then write_message(self, run, answer.text, #calls == 0 and usage or objects.usage(0, 0)) end
  if #calls > 0 then return ask_for_outputs(self, run, calls, usage) end
  transition(self, run, "completed")
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

local function resume(self, run)
  local job = self.jobs[run.id]
  watch(self, job.thread)
  local ok, answer, err = coroutine.resume(job.thread)
  -- the model may have run so long that the run isn't there any more
  if self.jobs[run.id] ~= job then return end
  if not ok then return fail(self, run, "the model failed: " .. tostring(answer)) end
  if coroutine.status(job.thread) ~= "dead" then
    return schedule(self, run, math.max(values.is_finite(answer) and answer or 0, YIELD_PAUSE), resume)
  end
  if answer == nil then return fail(self, run, err == nil and "the model returned nothing" or err) end
  take_answer(self, run, job.chat, answer)
end

-- The chat, cut down to what the run allows; nil where that isn't possible.
local function prepare_chat(self, run)
  local steps = steps_of(self, run)
  local chat = prompt.build(run, self.store:list("messages", run.thread_id, { order = "asc" }), steps)
  local last_messages = checks.given(run.truncation_strategy.last_messages)
  local budget = remaining(run, sum_usage(steps), "max_prompt_tokens", "prompt_tokens")
  return prompt.truncate(chat, last_messages, budget) and chat or nil
end

local function tools_of(run)
  return run.tool_choice == "none" and {} or copy(run.tools)
end

local function think(self, run)
  local chat = prepare_chat(self, run)
  if not chat then return leave_incomplete(self, run, "max_prompt_tokens") end
  local job, model = self.jobs[run.id], self.model
  -- the model gets tables of its own, so that nothing it does to them is felt here
  local seen, tools, run_seen = copy(chat), tools_of(run), copy(run)
  job.chat = chat
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

--- Hands the outputs, by call id, to a run that requires them; it is queued again.
function machine_methods:submit(run, outputs)
  for _, step in ipairs(steps_of(self, run)) do
    if step.type == "tool_calls" and step.status == "in_progress" then
      for _, call in ipairs(step.step_details.tool_calls) do
        call["function"].output = outputs[call.id]
      end
      end_step(self, run, step, "completed")
    end
  end
  transition(self, run, "queued")
  schedule(self, run, 0, start)
end

return machine
