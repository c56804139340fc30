--- How a model is asked. `self` is the machine. A model that waits by itself is asked in a task of the scheduler's, any
-- other in a coroutine that yields how long it waits, or a piece of its text.
local core = require("nexus_assistants.core")
local copy = require("nexus_assistants.providers.runtime.copy")
local checks = require("nexus_assistants.providers.runtime.checks")
local life = require("nexus_assistants.providers.runtime.life")
local prompt = require("nexus_assistants.providers.runtime.prompt")
local taking = require("nexus_assistants.providers.runtime.taking")
local values = require("nexus_assistants.values")

local thinking = {}

-- How soon a model that yielded without a time is resumed.
local YIELD_PAUSE = 0.01

-- So many models that wait for something themselves run on top of each other, since that takes C stack; besides those
-- whose runs they wait for.
local DEEPEST = 10

-- What a run asks for may be any number; no thread holds more.
local MOST_MESSAGES = 1e9

-- After how many instructions of its code a model is looked after.
local LOOK_AFTER = 100000
-- LuaJIT has one hook for all coroutines, which is the host's; and what it compiled heeds none.
local sethook = not rawget(_G, "jit") and type(debug) == "table" and debug.sethook

-- ------------------------------------------------------------------------------------------- in a coroutine

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
local function go_on_later(self, job, yielded)
  local is_piece = type(yielded) == "table" and type(yielded.text) == "string" and yielded.text ~= ""
  local wait = yielded
  if is_piece then
    if not taking.take_piece(self, job, yielded.text) then return end
    wait = yielded.wait
  end
  life.schedule(self, job, math.max(values.is_finite(wait) and wait or 0, is_piece and 0 or YIELD_PAUSE), resume)
end

local function run_thread(self, thread)
  watch(self, thread)
  self.depth = self.depth + 1
  local ok, answer, err = coroutine.resume(thread)
  self.depth = self.depth - 1
  return ok, answer, err
end

function resume(self, job)
  local thread = job.thread
  if self.depth >= DEEPEST and not job.is_within then return life.schedule(self, job, YIELD_PAUSE, resume) end
  local ok, answer, err = run_thread(self, thread)
  -- the model may have run so long that the run isn't there any more, or may have cancelled it
  if self.jobs[job.id] ~= job or job.thread ~= thread then return end
  if not ok then answer, err = nil, "the model failed: " .. tostring(answer) end
  if ok and coroutine.status(thread) ~= "dead" then return go_on_later(self, job, answer) end
  life.change(self, job, taking.take, answer, err)
end

local function think_in_coroutine(self, job, messages, tools, run)
  local observed = job.asked.observed
  job.thread = coroutine.create(function()
    observed:enter()
    return self.model:think(messages, tools, run)
  end)
  resume(self, job)
end

-- --------------------------------------------------------------------------------------------------- in a task

-- What a model that waits is given beside the question. It may go on for a moment after nobody wants to know any more.
local function context_of(self, job, asked)
  local function is_wanted() return self.jobs[job.id] == job and job.asked == asked end
  return {
    streams = job.queue ~= nil, most_tokens = job.left, seconds = math.max(job.expires - self.monotonic(), 0),
    state = job.state, thread = asked.thread, new_id = self.new_id, sleep = self.sleep,
    tell = function(piece)
      if is_wanted() then life.protected(self, job, taking.take_piece, piece) end
      return is_wanted()
    end,
    keep = function() thinking.keep(self, job, asked) end,
  }
end

local function save_notes(self, run, notes)
  local thread = self.store:get("threads", "", run.thread_id)
  if not thread then return end
  thread.private = thread.private or {}
  thread.private.model = copy(notes)
  self.store:save("threads", "", thread)
end

--- Keeps what the model noted of the thread, where it did.
function thinking.keep(self, job, asked)
  if next(asked.thread) ~= nil or asked.had_notes then life.change(self, job, save_notes, asked.thread) end
end

local function keep_and_take(self, job, asked, answer, err)
  thinking.keep(self, job, asked)
  life.change(self, job, taking.take, answer, err)
end

-- A run that is there still and whose task was cancelled ends with its client.
local function finish(self, job, asked, ok, answer, err)
  if self.jobs[job.id] ~= job or job.asked ~= asked then return end
  local is_closing = job.task.cancelled
  job.task = nil
  if not ok then answer, err = nil, "the model failed: " .. tostring(answer) end
  if is_closing and answer == nil then
    life.abandon(self, job, asked)
    err = life.CLOSED
  end
  life.protected(self, job, keep_and_take, asked, answer, err)
end

local function think_in_task(self, job, messages, tools, run)
  local asked, thread = job.asked, self.store:get("threads", "", job.thread_id)
  local notes = thread and thread.private and thread.private.model
  asked.thread, asked.had_notes = copy(notes or {}), notes ~= nil
  local context = context_of(self, job, asked)
  job.task = self.spawn(function()
    asked.observed:enter()
    finish(self, job, asked, self.try(self.model.think, self.model, messages, tools, run, context))
  end)
end

-- --------------------------------------------------------------------------------------------------- the question

local function remaining(run, used, limit, kind)
  local most = checks.given(run[limit])
  return most and most - used[kind]
end

-- The messages of its thread that a run is to know, oldest first. Those before them may be many.
local function messages_of(self, run)
  local last_messages = checks.given(run.truncation_strategy.last_messages)
  if not last_messages then return self.store:list("messages", run.thread_id, { order = "asc" }) end
  local messages, limit = {}, math.min(last_messages, MOST_MESSAGES)
  local last = self.store:list("messages", run.thread_id, { order = "desc", limit = limit })
  for index, message in ipairs(last) do messages[#last + 1 - index] = message end
  return messages
end

-- The chat, cut down to what the run allows, and the tokens the run may still write, where that is limited; nil where
-- the chat can't be cut down so far.
local function prepare_chat(self, run)
  local steps = life.steps(self, run)
  local chat = prompt.build(run, messages_of(self, run), steps)
  local used = life.sum_usage(steps)
  local budget = remaining(run, used, "max_prompt_tokens", "prompt_tokens")
  if not prompt.truncate(chat, budget) then return nil end
  return chat, remaining(run, used, "max_completion_tokens", "completion_tokens")
end

local function tools_of(run)
  return run.tool_choice == "none" and {} or copy(run.tools)
end

-- The run as the model gets it: a table of its own, so that nothing the model does to it is felt here, with the
-- resources of its tools, whoever names them.
local function run_for_model(self, run)
  local seen = copy(run)
  seen.private = nil
  local thread = self.store:get("threads", "", run.thread_id) or {}
  local assistant = self.assistant_of(run.assistant_id) or {}
  seen.tool_resources = values.merged(copy(checks.given(assistant.tool_resources) or {}),
    copy(checks.given(thread.tool_resources) or {}), seen.tool_resources)
  return seen
end

local function ask(self, run)
  local job = self.jobs[run.id]
  local chat, left = prepare_chat(self, run)
  if not chat then return life.leave_incomplete(self, run, "max_prompt_tokens") end
  -- an API can't be asked for nothing
  if self.model.waits and left and left <= 0 then return life.leave_incomplete(self, run, "max_completion_tokens") end
  job.chat, job.left = chat, left
  return chat, run_for_model(self, run)
end

--- Asks the model what is next in a run.
function thinking.think(self, job)
  local chat, run = life.change(self, job, ask)
  if not run then return end
  local tools = tools_of(run)
  job.asked = { run = run, observed = self.observe(job.span, run, chat) }
  local begin = self.model.waits and think_in_task or think_in_coroutine
  begin(self, job, copy(chat), tools, run)
end

return thinking
