--- What becomes of a run by what the model said. `self` is the machine.
local answers = require("nexus_assistants.providers.runtime.answer")
local file_search = require("nexus_assistants.providers.runtime.files.tool")
local json = require("nexus_assistants.json")
local life = require("nexus_assistants.providers.runtime.life")
local objects = require("nexus_assistants.providers.runtime.objects")
local prompt = require("nexus_assistants.providers.runtime.prompt")
local writer = require("nexus_assistants.providers.runtime.writer")

local taking = {}

local function usage_of(read, chat)
  if read.usage then return objects.usage(read.usage) end
  local answer = { text = read.text, tool_calls = {} }
  for index, call in ipairs(read.calls) do
    answer.tool_calls[index] = call["function"]
  end
  return objects.usage({
    prompt_tokens = prompt.chat_tokens(chat), completion_tokens = prompt.message_tokens(answer),
  })
end

-- ------------------------------------------------------------------------------------------------------- calls

-- The calls stand twice: in the step, where their outputs will be, and in what the run requires.
local function ask_for_outputs(self, run, calls, usage, items)
  writer.write_calls(self, run, calls, usage, items)
  run.required_action = { type = "submit_tool_outputs", submit_tool_outputs = { tool_calls = calls } }
  life.transition(self, run, "requires_action")
end

-- Searches are answered here and now, in a step of their own. Returns nothing, or what is wrong with a call.
local function answer_searches(self, run, calls, usage)
  if file_search.is_exhausted(life.steps(self, run)) then return "the model searches files again and again" end
  local answered, owners = json.array(), {
    run, self.store:get("threads", "", run.thread_id) or {}, self.assistant_of(run.assistant_id) or {},
  }
  for index, call in ipairs(calls) do
    local found, problem = file_search.answer(self.vector_stores, run, owners, call)
    if not found then return problem end
    answered[index] = found
  end
  writer.write_answered(self, run, answered, usage)
end

-- What the model asked for: the runtime's own tools first, then it waits for the outputs of the others.
local function take_calls(self, run, read, usage)
  local searches, others = file_search.divide(run, read.calls)
  if #searches == 0 then return ask_for_outputs(self, run, others, usage, read.items) end
  local problem = answer_searches(self, run, searches, usage)
  if problem then return life.fail(self, run, problem) end
  if #others > 0 then return ask_for_outputs(self, run, others, objects.usage({})) end
  life.schedule(self, self.jobs[run.id], self.delay, self.think)
end

-- -------------------------------------------------------------------------------------------------------- text

-- More than was allowed: what of the text fits is kept, as a model's own limit would. What was told already stays.
local function cut_short(self, run, text, prompt_tokens, left)
  local job = self.jobs[run.id]
  local usage, written = objects.usage({ prompt_tokens = prompt_tokens, completion_tokens = left }), writer.text(job)
  job.held = nil
  writer.add(self, run, prompt.cut(text or "", left):sub(#written + 1))
  if job.writing then
    writer.end_step(self, run, writer.end_message(self, run, usage, "max_tokens"), "completed")
  else
    job.unwritten = usage
  end
  life.leave_incomplete(self, run, "max_completion_tokens")
end

-- What messages are told to be incomplete for, by what runs are.
local MESSAGE_REASONS = { max_completion_tokens = "max_tokens", content_filter = "content_filter" }

local function write_rest(self, run, read, usage)
  for _, piece in ipairs(read.pieces) do
    local add = read.is_whole and writer.add_whole or writer.add
    add(self, run, piece)
  end
  local step = writer.end_message(self, run, usage, MESSAGE_REASONS[read.incomplete], read.annotations)
  writer.end_step(self, run, step, "completed")
end

-- An API that counts tokens itself keeps within what it was told.
local function is_beyond(self, job, piece)
  return job.left and not self.model.waits and not prompt.fits(writer.length_with(job, piece), job.left)
end

local function take_piece(self, run, piece)
  local job = self.jobs[run.id]
  local problem = writer.problem(job, piece)
  if problem then return life.fail(self, run, problem) end
  if is_beyond(self, job, piece) then
    local written, held = writer.text(job)
    return cut_short(self, run, written .. held .. piece, prompt.chat_tokens(job.chat), job.left)
  end
  writer.add(self, run, piece)
  return true
end

--- Takes a piece of text that the model tells on the way; true where the run goes on. What is added to a message that
-- has begun is kept with its end, so that nobody's lock is waited for.
function taking.take_piece(self, job, piece)
  local changes_nothing = job.writing and not writer.problem(job, piece) and not is_beyond(self, job, piece)
  if not changes_nothing then return life.change(self, job, take_piece, piece) end
  writer.add(self, job, piece)
  return true
end

-- ------------------------------------------------------------------------------------------------------ answers

-- What was used is told by the last step that the answer makes; the run has it where there is none.
local function write_answer(self, run, read, usage)
  local has_calls = read.calls[1] ~= nil
  local text_usage = has_calls and objects.usage({}) or usage
  if read.hosted[1] then
    writer.write_answered(self, run, read.hosted, (has_calls or read.text) and objects.usage({}) or usage)
  end
  if read.text then write_rest(self, run, read, text_usage) end
  if has_calls and not read.incomplete then return take_calls(self, run, read, usage) end
  if not read.incomplete then return life.transition(self, run, "completed") end
  if has_calls or not (read.text or read.hosted[1]) then self.jobs[run.id].unwritten = usage end
  life.leave_incomplete(self, run, read.incomplete)
end

local function take_answer(self, run, answer)
  local job = self.jobs[run.id]
  local read, problem = answers.read(answer, self.new_id, writer.text(job))
  if not read then return life.fail(self, run, problem) end
  local usage, left = usage_of(read, job.chat), job.left
  if left and usage.completion_tokens > left then return cut_short(self, run, read.text, usage.prompt_tokens, left) end
  write_answer(self, run, read, usage)
end

--- Takes what the model returned: an answer, or nil and an error. Called by `life.change`.
function taking.take(self, run, answer, err)
  local job = self.jobs[run.id]
  local asked, has_text = job.asked, job.writing ~= nil
  job.thread, job.asked = nil, nil
  asked.observed:finish(answer, err, (writer.text(job)))
  if answer == nil and (err ~= nil or not has_text) then
    return life.fail(self, run, err == nil and "the model returned nothing" or err)
  end
  take_answer(self, run, answer or {})
end

return taking
