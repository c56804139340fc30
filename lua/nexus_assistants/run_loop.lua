--- create_and_poll: starts a run, waits for its end, and answers the tool calls it asks for.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local tools = require("nexus_assistants.tools")
local trace = require("nexus_assistants.trace")

local present = json.present

local run_loop = {}

local SPAN = "threads.runs.createAndPoll"
local FIRST_INTERVAL, GROWTH, LONGEST_INTERVAL = 0.25, 1.5, 5 -- seconds
local SHORTEST_HINT = 0.05 -- seconds; a server that says 0 doesn't mean as fast as one can
local CLEAN_UP = 3 -- seconds for all that is tried once the outcome is settled
local MOST_STEP_PAGES = 10

-- A status that isn't one of these ends the wait, whatever it is called.
local UNDER_WAY = { queued = true, in_progress = true, cancelling = true, requires_action = true }

local POLL_HEADERS = { ["X-Stainless-Poll-Helper"] = "true" }

local function poll_headers(given)
  if not given then return POLL_HEADERS end
  local headers = { ["X-Stainless-Poll-Helper"] = "true" }
  for name, value in pairs(given) do headers[name] = value end
  return headers
end

-- ---------------------------------------------------------------------------------------------------- operations

local function remaining(self)
  return self.due - self.scheduler.clock()
end

-- No request may outlast the run's deadline.
local function perform(self, name, body, headers)
  local left = math.max(remaining(self), 0.001)
  local given = self.options
  return self.provider:perform(operations[name], {
    path = { thread_id = self.thread_id, run_id = self.run and self.run.id },
    query = name == "threads.runs.create" and self.query or nil,
    body = body,
    options = { timeout = given.timeout, deadline = left, retries = given.retries, headers = headers or given.headers },
  })
end

-- What comes once the outcome is settled shares one short time, however many requests it takes.
local function clean_up(self, name, query)
  local now = self.scheduler.clock()
  self.clean_up_due = self.clean_up_due or now + CLEAN_UP
  local left = math.max(self.clean_up_due - now, 0.001)
  return self.provider:perform(operations[name], {
    path = { thread_id = self.thread_id, run_id = self.run.id },
    query = query,
    options = { timeout = left, deadline = left, retries = 1, headers = self.options.headers },
  })
end

-- ------------------------------------------------------------------------------------------------------ giving up

local function request_cancel(self)
  local run, err = clean_up(self, "threads.runs.cancel")
  if not run then return nil, err end
  if run.id == self.run.id then self.run, self.status = run, run.status end
  return true
end

-- A run that nobody waits for any more would go on, and keep its thread locked. Returns what became of that, in words.
local function abandon(self, err)
  if errors.is(err) and err.kind == "cancelled" then
    self.scheduler:spawn(request_cancel, self).background = true -- the task itself may wait for nothing more
    return "it is being cancelled"
  end
  local done, problem = request_cancel(self)
  return done and "it was asked to cancel" or "it could not be cancelled: " .. tostring(problem)
end

-- The script's function may raise; what it raises goes on to the script.
local function tell_status(self)
  local on_status = self.options.on_status
  if not on_status then return end
  local ok, problem = pcall(on_status, self.run)
  if ok then return end
  if UNDER_WAY[self.status] then abandon(self, problem) end
  error(problem, 0)
end

-- ----------------------------------------------------------------------------------------------------- the run

local function nonsense(self, problem)
  return errors.new({ kind = "protocol", message = "the answer makes no sense: " .. problem, operation = SPAN,
    run = self.run })
end

local function take_run(self, run, info)
  if not run then return nil, info end
  if type(run.id) ~= "string" then return nil, nonsense(self, "a run without an id") end
  self.run = run
  self.poll_after = info and info.poll_after
  if run.status ~= self.status then
    self.status = run.status
    tell_status(self)
  end
  return run
end

-- ------------------------------------------------------------------------------------------------------- the end

local function detail_text(self)
  local last_error, incomplete = present(self.run.last_error), present(self.run.incomplete_details)
  if type(last_error) == "table" then
    return tostring(present(last_error.code) or "error") .. " " .. tostring(present(last_error.message) or "")
  end
  return type(incomplete) == "table" and present(incomplete.reason) or nil
end

local function run_error(self)
  local run = self.run
  local message = "Run ended with status: " .. tostring(run.status)
  local detail = detail_text(self)
  local last_error = present(run.last_error)
  return errors.new({
    kind = "run",
    message = detail and message .. ": " .. detail or message,
    code = type(last_error) == "table" and present(last_error.code) or nil,
    operation = SPAN,
    run = run,
  })
end

local function deadline_error(self, what)
  return errors.new({ kind = "timeout", message = what, operation = SPAN, run = self.run })
end

local function deadline_text(self, status, fate)
  local after = string.format("%.10g s", self.options.deadline)
  if not self.run then return "The run was not created within " .. after end
  return ("Run %s was still %s after %s; %s"):format(tostring(self.run.id), tostring(status), after, fate)
end

-- A request that ran into the run's deadline reports a timeout of its own, which tells less.
local function give_up(self, err)
  local out_of_time = err.kind == "timeout" and remaining(self) <= 0.001
  local status, fate = self.status, nil
  if self.run and UNDER_WAY[status] then fate = abandon(self, err) end
  if out_of_time then return nil, deadline_error(self, deadline_text(self, status, fate)) end
  err.run = err.run or self.run
  return nil, err
end

-- ------------------------------------------------------------------------------------------------------- waiting

local function next_interval(self)
  if self.options.interval then return self.options.interval end
  if self.poll_after then return math.max(self.poll_after, SHORTEST_HINT) end
  local interval = self.interval
  self.interval = math.min(interval * GROWTH, LONGEST_INTERVAL)
  return interval
end

local function poll(self)
  local left = remaining(self)
  if left > 0 then
    local ok, err = self.scheduler:sleep(math.min(next_interval(self), left))
    if not ok then return nil, err end
  end
  if remaining(self) <= 0 then return nil, deadline_error(self, "the deadline passed") end
  self.polls = self.polls + 1
  return take_run(self, perform(self, "threads.runs.retrieve", nil, self.poll_headers))
end

-- --------------------------------------------------------------------------------------------------------- tools

local function requested_calls(run)
  local action = present(run.required_action)
  local submit = type(action) == "table" and present(action.submit_tool_outputs)
  local calls = type(submit) == "table" and present(submit.tool_calls)
  local found = {}
  for _, call in ipairs(type(calls) == "table" and calls or {}) do
    if type(call) == "table" then found[#found + 1] = call end
  end
  return found
end

-- Without an id a call can't be answered; one that is named twice is one.
local function with_ids(calls)
  local found, seen = {}, {}
  for _, call in ipairs(calls) do
    if type(call.id) ~= "string" then return nil end
    if not seen[call.id] then found[#found + 1] = call end
    seen[call.id] = true
  end
  return found
end

local function record_tool(span, call, wanted, output, problem)
  span:set("toolCallId", call.id)
  span:input(json.decode(wanted.arguments) or present(wanted.arguments))
  span:output(json.decode(output) or output)
  if problem then span:error(problem) end
end

-- The span is finished with the run, when the step it belongs to is known; until then it must not count the waiting.
local function run_tool(self, call)
  local wanted = type(call["function"]) == "table" and call["function"] or {}
  local name = type(wanted.name) == "string" and wanted.name or "(no name)"
  local span = trace.open_below(self.span, "tool " .. name, "tool")
  local started_at = self.wall()
  local output, problem = self.recorder:under(span, tools.run, self.by_name[name], name, wanted.arguments)
  if span:is_recorded() then
    span:times(started_at, self.wall())
    record_tool(span, call, wanted, output, problem)
    self.tool_spans[#self.tool_spans + 1] = span
    self.own_spans[call.id] = span
  end
  return { tool_call_id = call.id, output = output }
end

-- A tool is run once, however often the server asks.
local function output_for(self, call)
  self.answered[call.id] = self.answered[call.id] or run_tool(self, call)
  return self.answered[call.id]
end

local function answer(self, calls)
  local outputs = json.array({})
  for index, call in ipairs(calls) do outputs[index] = output_for(self, call) end
  self.interval = FIRST_INTERVAL
  return take_run(self, perform(self, "threads.runs.submit_tool_outputs", { tool_outputs = tools.limit(outputs) }))
end

-- A server may show for a while what it asked for before it was answered.
local function is_answered(self, calls)
  for _, call in ipairs(calls) do
    if not self.answered[call.id] then return false end
  end
  return true
end

-- True where the run asks for what only the script can give.
local function is_for_script(self, calls)
  return #calls == 0 or not tools.can_answer(calls, self.by_name, self.described)
end

-- ---------------------------------------------------------------------------------------------------------- loop

local function advance(self)
  if self.status ~= "requires_action" then return poll(self) end
  local calls = with_ids(requested_calls(self.run))
  if not calls then return nil, nonsense(self, "a tool call without an id") end
  if is_answered(self, calls) then return poll(self) end
  return answer(self, calls)
end

local function settle(self)
  if self.status == "completed" or self.status == "requires_action" then return self.run end
  return nil, run_error(self)
end

local function drive(self)
  local run, err = take_run(self, perform(self, "threads.runs.create", self.body))
  while run and UNDER_WAY[self.status] do
    if self.status == "requires_action" and is_for_script(self, requested_calls(run)) then break end
    run, err = advance(self)
  end
  if not run then return give_up(self, err) end
  return settle(self)
end

-- ------------------------------------------------------------------------------------------------------- tracing

--- What all pages of a list hold, or nil and an error. `list_page(after)` gets the page after an id; at most `most` are
-- read.
function run_loop.all_pages(list_page, most)
  local all, after = {}, nil
  for _ = 1, most do
    local page, err = list_page(after)
    if not page then return nil, err end
    local data = type(page.data) == "table" and page.data or {}
    for _, item in ipairs(data) do
      if type(item) == "table" then all[#all + 1] = item end
    end
    local last = all[#all]
    if page.has_more ~= true or not last or last.id == after then break end
    after = last.id
  end
  return json.array(all)
end

local function list_steps(self)
  return run_loop.all_pages(function(after)
    return clean_up(self, "threads.runs.steps.list", { order = "asc", limit = 100, after = after })
  end, MOST_STEP_PAGES)
end

local function record_steps(self)
  local steps, err = list_steps(self)
  if steps then
    trace.record_steps(self.span, steps, self.own_spans)
  else
    self.span:set("steps", "not available: " .. tostring(err))
  end
end

local function record_outcome(self)
  local run, span = self.run, self.span
  span:set("runId", run.id)
  span:output({
    status = run.status,
    model = present(run.model),
    usage = present(run.usage),
    polls = self.polls,
    last_error = present(run.last_error),
    incomplete_details = present(run.incomplete_details),
  })
  trace.record_run(span, run)
end

local function input_of(body)
  local input = {}
  for key, value in pairs(body) do
    if key ~= "tools" and key ~= "assistant_id" then input[key] = value end
  end
  return next(input) ~= nil and input or nil
end

local function record_start(self)
  self.span.started_at = self.wall()
  self.span:set("threadId", self.thread_id)
  self.span:set("assistantId", present(self.body.assistant_id))
  self.span:input(input_of(self.body))
end

local function finish_tool_spans(self)
  for _, span in ipairs(self.tool_spans) do span:finish() end
end

local function record_run(self)
  record_outcome(self)
  if self.span:is_recorded() then record_steps(self) end
end

-- Whatever becomes of the run, what is known of it is on the trace, and what the server may have made of it changes
-- nothing. An error is passed on as it was raised.
local function conclude(self, ok, ...)
  local recorded, problem = true, nil
  if self.run then recorded, problem = pcall(record_run, self) end
  if not recorded then self.span:set("steps", "not available: " .. tostring(problem)) end
  finish_tool_spans(self)
  if not ok then error((...), 0) end
  return ...
end

local function traced(span, self)
  self.span = span
  if not span.trace then return drive(self) end
  record_start(self)
  return conclude(self, pcall(drive, self))
end

--- Creates a run and waits for its end. `parts` has provider, scheduler, recorder and wall (a clock); `request` has
-- thread_id, body, query, by_name and described (see `tools.split`), and options (interval, deadline, on_status,
-- timeout, retries, headers). Returns the run where it completed or asks for functions that are the script's to call;
-- else nil and an error with `run` in it.
function run_loop.create_and_poll(parts, request)
  local given = request.options
  local self = {
    provider = parts.provider,
    scheduler = parts.scheduler,
    recorder = parts.recorder,
    wall = parts.wall,
    thread_id = request.thread_id,
    body = request.body,
    query = request.query,
    by_name = request.by_name,
    described = request.described,
    options = given,
    poll_headers = poll_headers(given.headers),
    due = parts.scheduler.clock() + given.deadline,
    interval = FIRST_INTERVAL,
    polls = 0,
    tool_spans = {},
    own_spans = {},
    answered = {}, -- the outputs that were submitted, by the id of the call
  }
  return parts.recorder:within(SPAN, "llm", traced, self)
end

return run_loop
