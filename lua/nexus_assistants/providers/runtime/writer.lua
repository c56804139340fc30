--- What a run writes: its messages, and the steps that tell of them and of its calls. `self` is the machine; who
-- streams the run is told of everything on the way.
local answers = require("nexus_assistants.providers.runtime.answer")
local copy = require("nexus_assistants.providers.runtime.copy")
local events = require("nexus_assistants.providers.runtime.events")
local file_search = require("nexus_assistants.providers.runtime.files.tool")
local json = require("nexus_assistants.json")
local objects = require("nexus_assistants.providers.runtime.objects")
local rope = require("nexus_assistants.providers.runtime.rope")
local texts = require("nexus_assistants.text")

local writer = {}

local ENDED_AT = { completed = "completed_at", cancelled = "cancelled_at", failed = "failed_at" }

-- In how many pieces at most a text is told that is there at once.
local MOST_PIECES = 1000
local ARGUMENTS_SLICE = 16

local function now_of(self)
  return math.floor(self.clock())
end

local function queue_of(self, run)
  local job = self.jobs[run.id]
  return job and job.queue
end

-- ------------------------------------------------------------------------------------------------------- steps

local function tell_step(self, run, step, event)
  local queue = queue_of(self, run)
  if queue then queue:push("thread.run.step." .. event, file_search.shown_step(step, queue.query)) end
end

local function begin_step(self, run, details)
  local step = objects.step(self.new_id("step_"), now_of(self), run, details)
  self.store:insert("steps", run.id, step)
  tell_step(self, run, step, "created")
  tell_step(self, run, step, "in_progress")
  return step
end

--- Ends a step.
function writer.end_step(self, run, step, status)
  step.status, step.expires_at = status, json.null
  local field = ENDED_AT[status]
  if field then step[field] = now_of(self) end
  if status == "failed" then step.last_error = run.last_error end
  self.store:save("steps", run.id, step)
  tell_step(self, run, step, status)
end

-- ---------------------------------------------------------------------------------------------------- messages

local function tell_message(self, run, message, event, status, reason)
  local queue = queue_of(self, run)
  if queue then
    queue:push("thread.message." .. event, events.message(message, status or event, now_of(self), reason))
  end
end

local function begin_message(self, run)
  local message = objects.message(self.new_id("msg_"), now_of(self), run.thread_id,
    { role = "assistant", content = json.array() }, run)
  self.store:insert("messages", run.thread_id, message)
  local details = { type = "message_creation", message_creation = { message_id = message.id } }
  local step = begin_step(self, run, details)
  tell_message(self, run, message, "created", "in_progress")
  tell_message(self, run, message, "in_progress")
  local writing = { message = message, step = step, pieces = {}, length = 0 }
  self.jobs[run.id].writing = writing
  return writing
end

local function tell_text(queue, writing, piece)
  local id = writing.message.id
  queue:push_piece("thread.message.delta", id, piece, events.text_delta(id, writing.length == 0))
end

--- The text of the message that is being written, or "", and the beginning of a character behind it.
function writer.text(job)
  return job.writing and rope.text(job.writing.pieces) or "", job.held or ""
end

--- How long the text is with a piece added, in bytes.
function writer.length_with(job, piece)
  return (job.writing and job.writing.length or 0) + #(job.held or "") + #piece
end

--- What is wrong with a piece, or nil.
function writer.problem(job, piece)
  return answers.problem_of_text(writer.length_with(job, piece), (texts.whole((job.held or "") .. piece)))
end

--- Adds a piece to the message that is being written, or begins one. A character that has come in part waits for the
-- rest. Where the message has begun, `run` may be the job.
function writer.add(self, run, piece)
  local job = self.jobs[run.id]
  local whole
  whole, job.held = texts.whole((job.held or "") .. piece)
  if whole == "" then return end
  local writing = job.writing or begin_message(self, run)
  if job.queue then tell_text(job.queue, writing, whole) end
  rope.add(writing.pieces, whole)
  writing.length = writing.length + #whole
end

--- Adds a text that is there at once. Who streams it gets it word by word.
function writer.add_whole(self, run, text)
  if not self.jobs[run.id].queue then return writer.add(self, run, text) end
  for _, word in ipairs(texts.words(text, MOST_PIECES)) do
    writer.add(self, run, word)
  end
end

--- Ends the message that is being written, or an empty one; its step is left to `end_step`. `reason` is why it is
-- incomplete, where it is, `annotations` are those of its text. Returns the step.
function writer.end_message(self, run, usage, reason, annotations)
  local job = self.jobs[run.id]
  local writing = job.writing or begin_message(self, run)
  local step = writing.step
  -- its metadata may have been changed meanwhile, or it was deleted
  local message = self.store:get("messages", run.thread_id, writing.message.id) or writing.message
  message.content = objects.content(rope.text(writing.pieces), annotations)
  self.store:save("messages", run.thread_id, message)
  tell_message(self, run, message, reason and "incomplete" or "completed", nil, reason)
  step.usage = usage
  job.writing, job.held = nil, nil
  return step
end

-- ------------------------------------------------------------------------------------------------------- calls

local function tell_arguments(queue, step, index, call)
  local name, key = "thread.run.step.delta", step.id .. index
  queue:push_piece(name, key, "", events.call_delta(step.id, index, call))
  for _, slice in ipairs(texts.slices(call["function"].arguments, ARGUMENTS_SLICE, MOST_PIECES)) do
    queue:push_piece(name, key, slice, events.call_delta(step.id, index))
  end
end

--- Writes the step of calls, where their outputs will be. `items` is what the model wants to see again with them.
function writer.write_calls(self, run, calls, usage, items)
  local in_step = copy(calls)
  for _, call in ipairs(in_step) do
    call["function"].output = json.null
  end
  local step = begin_step(self, run, { type = "tool_calls", tool_calls = json.array() })
  local queue = queue_of(self, run)
  for index, call in ipairs(queue and in_step or {}) do
    tell_arguments(queue, step, index - 1, call)
  end
  step.step_details.tool_calls, step.usage = in_step, usage
  step.private = items ~= nil and { items = items } or nil
  self.store:save("steps", run.id, step)
end

--- Writes the step of calls that are answered already.
function writer.write_answered(self, run, calls, usage)
  local step = begin_step(self, run, { type = "tool_calls", tool_calls = json.array() })
  step.step_details.tool_calls, step.usage = calls, usage
  writer.end_step(self, run, step, "completed")
end

return writer
