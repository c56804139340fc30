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
local CLEAN_UP = { timeout = 5, deadline = 5, retries = 1 } -- what is tried once the outcome is settled
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
    options = { timeout = given.timeout, deadline = left, retries = given.retries, headers = headers },
  })
end

local function take_run(self, run, info)
  if not run then return nil, info end
  self.run = run
  self.poll_after = info and info.poll_after
  if run.status ~= self.status then
    self.status = run.status
    if self.options.on_status then self.options.on_status(run) end
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

local function deadline_error(self)
  local after = string.format("%.10g s", self.options.deadline)
  local message = "The run was not created within " .. after
  if self.run then
    local id, status = tostring(self.run.id), tostring(self.status)
    message = ("Run %s was still %s after %s; it was asked to cancel"):format(id, status, after)
  end
  return errors.new({ kind = "timeout", message = message, operation = SPAN, run = self.run })
end

local function request_cancel(self)
  return self.provider:perform(operations["threads.runs.cancel"], {
    path = { thread_id = self.thread_id, run_id = self.run.id },
    options = CLEAN_UP,
  })
end

-- A run that nobody waits for any more would go on, and keep its thread locked.
local function give_up(self, err)
  if not self.run or not UNDER_WAY[self.status] then return nil, err end
  if err.kind == "cancelled" then
    self.scheduler:spawn(request_cancel, self).background = true -- the task itself may wait for nothing more
  elseif err.kind == "timeout" then
    request_cancel(self)
  end
  err.run = err.run or self.run
  return nil, err
end

-- A request that ran into the run's deadline reports a timeout of its own, which tells less.
local function explain(self, err)
  if err.kind == "timeout" and remaining(self) <= 0.001 then return deadline_error(self) end
  return err
end

-- ------------------------------------------------------------------------------------------------------- waiting

local function next_interval(self)
  local interval = self.options.interval or self.poll_after
  if interval then return interval end
  interval = self.interval
  self.interval = math.min(interval * GROWTH, LONGEST_INTERVAL)
  return interval
end

local function poll(self)
  local left = remaining(self)
  if left <= 0 then return nil, deadline_error(self) end
  local ok, err = self.scheduler:sleep(math.min(next_interval(self), left))
  if not ok then return nil, err end
  if remaining(self) <= 0 then return nil, deadline_error(self) end
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
    if type(call.id) == "string" then self.own_spans[call.id] = span end
  end
  return { tool_call_id = call.id, output = output }
end

local function key_of(call)
  return type(call.id) == "string" and call.id or call
end

-- A tool is run once, however often the server asks.
local function output_for(self, call)
  local key = key_of(call)
  self.answered[key] = self.answered[key] or run_tool(self, call)
  return self.answered[key]
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
    if not self.answered[key_of(call)] then return false end
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
  local calls = requested_calls(self.run)
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
  if not run then return give_up(self, explain(self, err)) end
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
    return self.provider:perform(operations["threads.runs.steps.list"], {
      path = { thread_id = self.thread_id, run_id = self.run.id },
      query = { order = "asc", limit = 100, after = after },
      options = CLEAN_UP,
    })
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
  record_steps(self)
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
  if not span:is_recorded() then return drive(self) end
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
