--- One run under way: what is known of it, the requests it needs, giving it up, and what goes on its span in the end.
-- `run_loop` drives it by polling, `stream` by reading its events.
local core = require("nexus_assistants.core")
local doctor = require("nexus_assistants.doctor")
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local pages = require("nexus_assistants.pages")
local tool_round = require("nexus_assistants.tool_round")
local trace = require("nexus_assistants.trace")
local values = require("nexus_assistants.values")
local waiting = require("nexus_assistants.waiting")

local present = json.present

local run = {}

local run_methods = {}
local run_mt = { __index = run_methods, __name = "nexus_assistants.run_under_way" }

local HASTE = 1 -- seconds for that where a signal may end the process soon
local CLEAN_UP = 3 -- seconds for all that is tried once the outcome is settled
local CANCEL_INTERVAL = 0.2 -- seconds
local MOST_STEP_PAGES = 10
local FILE_SEARCH_CONTENT = { "step_details.tool_calls[*].file_search.results[*].content" }

local POLL_HEADERS = { [waiting.POLL_HEADER] = "true" }

local UNDER_WAY = waiting.UNDER_WAY

local function begin_wait(client, given)
  return waiting.new({ scheduler = client.scheduler, wall = client.wall, runtime = client.runtime }, given)
end

--- Begins with a run of a thread. `request` has
--   operation   the name of the operation that begins it
--   span        the span's name
--   thread_id   nil where the operation makes the thread
--   run_id      nil where the operation makes the run
--   body, query of that operation
--   tools       a set, see `tools.set`
--   options     deadline, interval, stall, on_status, timeout, retries, headers, query, lane, tool_timeout, trace
function run.new(client, request)
  local given = request.options
  local self = setmetatable({
    client = client,
    provider = client.provider,
    scheduler = client.scheduler,
    operation = request.operation,
    span_name = request.span,
    thread_id = request.thread_id,
    run_id = request.run_id,
    body = request.body,
    query = request.query,
    tools = request.tools,
    options = given,
    first_options = given,
    poll_headers = values.merged(POLL_HEADERS, given.headers),
    wait = begin_wait(client, given),
    calls = json.array({}), -- what is known of each call of a tool, for the doctor
    answers = {}, -- outputs by the id of the call
    pending = {}, -- the ids of calls that will be answered later
    submitted = {}, -- when the output of a call was sent, by its id
    tool_spans = {},
    own_spans = {}, -- by the id of the call
    facts = {}, -- what else the doctor is to know
  }, run_mt)
  self:open_span()
  return self
end

--- Goes on with a run that was left for the script: a new wait, with a span of its own.
function run_methods:wait_again(given)
  self.options, self.facts, self.concluded = values.merged(self.first_options, given), {}, false
  self.wait = begin_wait(self.client, self.options)
  self.wait.status, self.clean_up_due, self.cancel_asked = self.status, nil, nil
  self.span_name = "threads.runs.submitToolOutputsAndPoll"
  self:open_span()
end

-- ---------------------------------------------------------------------------------------------------- operations

local function path_of(self)
  return { thread_id = self.thread_id, run_id = self.run and self.run.id or self.run_id }
end

--- What an operation of this run is given: no request may outlast the run's deadline.
function run_methods:params(name, body, headers)
  local left, given = math.max(self.wait:remaining(), 0.001), self.options
  return operations[name], {
    path = path_of(self),
    query = name == self.operation and self.query or nil,
    body = body,
    span = self.span,
    options = {
      timeout = given.timeout, deadline = left, retries = given.retries, query = given.query,
      headers = headers or given.headers,
    },
  }
end

--- Performs an operation of this run; returns what the provider does.
function run_methods:perform(name, body, headers)
  return self.provider:perform(self:params(name, body, headers))
end

-- What comes once the outcome is settled shares one short time, however many requests it takes.
local function clean_up(self, name, query)
  local now = self.scheduler.clock()
  self.clean_up_due = self.clean_up_due or now + CLEAN_UP
  local left = math.max(self.clean_up_due - now, 0.001)
  return self.provider:perform(operations[name], {
    path = path_of(self),
    query = query,
    span = self.span,
    options = {
      timeout = left, deadline = left, retries = 1, headers = self.options.headers, query = self.options.query,
    },
  })
end

-- ------------------------------------------------------------------------------------------------------ giving up

local function request_cancel(self)
  self.cancel_asked = true
  local cancelled, err = clean_up(self, "threads.runs.cancel")
  if not cancelled then return nil, err end
  if cancelled.id == self.run.id then self.run, self.status = cancelled, cancelled.status end
  return true
end

-- The time to clean up in begins anew with the end, whenever that comes.
local function cancel_later(self)
  request_cancel(self)
  self.clean_up_due = nil
end

--- Has the run cancelled as soon as somebody drives the client; returns that in words.
function run_methods:abandon_later()
  self.scheduler:spawn(cancel_later, self).background = true
  return "it is being cancelled"
end

--- Cancels the run, which nobody waits for any more: it would go on, and keep its thread locked. Returns what became of
-- that, in words.
function run_methods:abandon()
  if not self.scheduler:can_wait() then return self:abandon_later() end
  local done, problem = request_cancel(self)
  return done and "it was asked to cancel" or "it could not be cancelled: " .. tostring(problem)
end

--- The same, in haste, where an error was raised that goes on to the script, such as an interruption: that counts.
function run_methods:abandon_raised()
  if self.cancel_asked or not self:is_under_way() then return end
  self.clean_up_due = self.clean_up_due or self.scheduler.clock() + HASTE
  local ok, problem = self.scheduler:protected(self.abandon, self)
  if not ok then core.interrupt_again(problem) end
end

local function look_again(self)
  local seen, err = clean_up(self, "threads.runs.retrieve")
  if not seen then return nil, err end
  self.run, self.status = seen, seen.status
  return true
end

--- Cancels the run and waits, for a few seconds, until it is over. Returns true; or nil and an error where it may go
-- on.
function run_methods:cancel_and_wait()
  if not self.run then return nil, errors.new({ kind = "cancelled", message = "there may be a run that goes on" }) end
  if not self:is_under_way() then return true end
  if not self.scheduler:can_wait() then
    return nil, errors.new({ kind = "cancelled", message = self:abandon() })
  end
  local done, err = request_cancel(self)
  if not done and err.status == 400 then done, err = look_again(self) end -- it may have ended meanwhile
  while done and self:is_under_way() do
    local left = self.clean_up_due - self.scheduler.clock()
    if left <= 0 then return nil, errors.new({ kind = "timeout", message = "the run was still " .. self.status }) end
    self.scheduler:sleep(math.min(CANCEL_INTERVAL, left))
    done, err = look_again(self)
  end
  return done, err
end

--- Whether the run, as far as is known, goes on at the server.
function run_methods:is_under_way()
  return self.run ~= nil and UNDER_WAY[self.status] == true
end

local function deadline_text(self, status, reason, fate)
  local seconds = reason == "stalled" and self.options.stall or self.options.deadline
  local after = string.format("%.10g s", seconds)
  if not self.run then return "The run was not created within " .. after end
  local text = reason == "stalled" and "Run %s stayed %s for %s; %s" or "Run %s was still %s after %s; %s"
  return text:format(tostring(self.run.id), tostring(status), after, fate or "it is over")
end

--- The error of a run that was waited for long enough: `reason` is "deadline" or "stalled". The run is cancelled.
function run_methods:out_of_time(reason)
  local status, fate = self.status, nil
  if self:is_under_way() then fate = self:abandon() end
  return nil, errors.new({
    kind = "timeout",
    code = reason == "stalled" and "stalled" or nil,
    message = deadline_text(self, status, reason, fate),
    operation = self.span_name,
    run = self.run,
  })
end

--- Ends the wait for an error of another origin. A request that ran into the run's deadline reports a timeout of its
-- own, which tells less. Returns nil and the error.
function run_methods:give_up(err)
  local of_lane = err.code == "thread_busy"
  local is_late = err.kind == "timeout" and self.wait:remaining() <= 0.001
  if is_late and not of_lane then return self:out_of_time("deadline") end
  if self:is_under_way() then self:abandon() end
  err.run = err.run or self.run
  err.operation = err.operation or self.span_name
  return nil, err
end

-- ----------------------------------------------------------------------------------------------------- the run

--- An error for an answer that makes no sense.
function run_methods:nonsense(problem)
  return errors.new({ kind = "protocol", message = "the answer makes no sense: " .. problem,
    operation = self.span_name, run = self.run })
end

--- Takes the run as it is now, or nil and an error, as the provider returns it; passes it on. What the script's own
-- function raises is kept in `raised`, to be raised again once the run was given up.
function run_methods:take(taken, info)
  if not taken then return nil, info end
  if type(taken.id) ~= "string" then return nil, self:nonsense("a run without an id") end
  self.run = taken
  self.status = taken.status
  self.thread_id = self.thread_id or present(taken.thread_id)
  self.ticket = self.ticket or self.client.lanes:join(self.thread_id, self)
  self.expires_at = present(taken.expires_at) or self.expires_at
  self.seen_at = self.seen_at or self.scheduler.clock()
  if self.cancel_wanted then
    self.cancel_wanted = nil
    self:abandon_later()
  end
  local told, problem = self.wait:see(taken, info)
  if told then return taken end
  self.raised = { problem }
  return nil, errors.new({ kind = "cancelled", message = "on_status raised: " .. errors.shown(problem),
    operation = self.span_name })
end

local function detail_text(self)
  local last_error, incomplete = present(self.run.last_error), present(self.run.incomplete_details)
  if type(last_error) == "table" then
    return tostring(present(last_error.code) or "error") .. " " .. tostring(present(last_error.message) or "")
  end
  local reason = type(incomplete) == "table" and present(incomplete.reason)
  return reason and tostring(reason) or nil
end

--- The error of a run that did not complete.
function run_methods:run_error()
  local message = "Run ended with status: " .. tostring(self.run.status)
  local detail = detail_text(self)
  local last_error = present(self.run.last_error)
  return errors.new({
    kind = "run",
    message = detail and message .. ": " .. detail or message,
    code = type(last_error) == "table" and present(last_error.code) or nil,
    operation = self.span_name,
    run = self.run,
  })
end

--- What a wait that is over returns: the run where it completed or asks for what is the script's to give, else nil and
-- an error.
function run_methods:settle()
  if self.status == "completed" or self.status == "requires_action" then return self.run end
  return nil, self:run_error()
end

-- ------------------------------------------------------------------------------------------------------- tracing

local function input_of(body)
  local input = {}
  for key, value in pairs(body or {}) do
    if key ~= "tools" and key ~= "assistant_id" and key ~= "stream" then input[key] = value end
  end
  return next(input) ~= nil and input or nil
end

--- Opens the span of the run, where a trace is open and the script wants one.
function run_methods:open_span()
  local wish = self.options.trace
  local name = wish and wish.name or self.span_name
  self.span = wish == false and trace.no_span() or self.client.recorder:open(name, "llm")
  local span = self.span
  if not span.trace then return end
  span.started_at = self.client.wall()
  span:set("threadId", self.thread_id)
  span:set("runId", self.run_id)
  span:set("assistantId", self.body and present(self.body.assistant_id))
  span:input(input_of(self.body))
  for key, value in pairs(wish and wish.metadata or {}) do span:set(errors.shown(key), value) end
end

local function has_file_search(described)
  for _, tool in ipairs(type(described) == "table" and described or {}) do
    if type(tool) == "table" and tool.type == "file_search" then return true end
  end
  return false
end

local function list_steps(self)
  local include = has_file_search(self.run.tools) and FILE_SEARCH_CONTENT or nil
  return pages.all(function(after)
    return clean_up(self, "threads.runs.steps.list", { order = "asc", limit = 100, after = after, include = include })
  end, MOST_STEP_PAGES)
end

local function record_steps(self)
  local steps, err = list_steps(self)
  if steps then
    self.steps = steps
    trace.record_steps(self.span, steps, self.own_spans)
  else
    self.span:set("steps", "not available: " .. tostring(err))
  end
end

local USAGE = { "prompt_tokens", "completion_tokens", "total_tokens" }

-- What the steps used together; nil where one of them doesn't say: unknown is not 0.
local function usage_of_steps(steps)
  local sum = {}
  for _, step in ipairs(steps or {}) do
    local usage = present(step.usage)
    if type(usage) ~= "table" then return nil end
    for _, name in ipairs(USAGE) do
      if type(usage[name]) == "number" then sum[name] = (sum[name] or 0) + usage[name] end
    end
  end
  return next(sum) ~= nil and sum or nil
end

local function add_usage(self)
  if present(self.run.usage) ~= nil then return end
  self.run.usage = usage_of_steps(self.steps) or self.run.usage
  if present(self.run.usage) ~= nil then self.span:set("usage.source", "steps") end
end

local function record_outcome(self)
  local ended, span = self.run, self.span
  span:set("threadId", self.thread_id)
  span:set("runId", ended.id)
  span:outcome({
    status = ended.status,
    model = present(ended.model),
    usage = present(ended.usage),
    polls = self.wait.polls,
    last_error = present(ended.last_error),
    incomplete_details = present(ended.incomplete_details),
  })
  trace.record_run(span, ended)
end

local function record_run(self)
  if self.span:is_recorded() then
    record_steps(self)
    add_usage(self)
  end
  record_outcome(self)
end

-- Calls of functions that the script described itself are its own to answer: nobody has forgotten them.
local function known_calls(self)
  local calls = {}
  for index, call in ipairs(self.calls) do calls[index] = call end
  for _, call in ipairs(self.run and tool_round.open_calls(self) or {}) do
    if self.tools.described[call.name] then
      calls[#calls + 1] = { id = call.id, name = call.name, outcome = "pending" }
    end
  end
  return calls
end

--- What the doctor has to say about the run, as it is known now.
function run_methods:findings(err)
  local facts = self.facts
  return doctor.examine({
    run = self.run,
    expires_at = self.expires_at,
    error = err,
    now = self.client.wall(),
    statuses = self.wait.statuses,
    polls = self.wait.polls,
    deadline = self.options.deadline,
    calls = known_calls(self),
    steps = self.steps,
    turns = self.client.ledger:turns(self.thread_id),
    missing_call_ids = facts.missing_call_ids,
    unknown_call_ids = facts.unknown_call_ids,
    active_run_id = facts.active_run_id,
    waited = facts.waited,
    zombie = facts.zombie,
  })
end

local function tell_findings(self, err)
  if not err and not self.span.trace then return end
  local findings = self:findings(err)
  if errors.is(err) and not err.findings then err.findings = findings end
  if not findings[1] then return end
  self.span:set("findings", findings)
  if self.span.trace then trace.add_findings(self.span.trace, findings) end
end

local function note_turn(self)
  local usage = self.run and not self:is_under_way() and present(self.run.usage)
  if type(usage) ~= "table" or not self.thread_id then return end
  self.client.ledger:add_turn(self.thread_id, {
    run_id = self.run.id, tokens = usage.total_tokens, prompt_tokens = usage.prompt_tokens,
  })
end

local function record(self, err)
  if self.run and self.span.trace then record_run(self) end
  note_turn(self)
  tell_findings(self, err)
end

--- Writes on the trace what became of the run, and leaves its lane. Nothing of that changes the outcome. `err` is nil
-- where all went well. Can be done again where the run goes on later.
function run_methods:conclude(err)
  local recorded, problem = pcall(record, self, err)
  if not recorded then self.span:set("steps", "not available: " .. tostring(problem)) end
  for _, span in ipairs(self.tool_spans) do span:finish() end
  self.tool_spans = {}
  if err ~= nil then self.span:error(err) end
  self.span:finish()
  if self.ticket then self.client.lanes:leave(self.ticket) end
  self.ticket, self.concluded = nil, true
  if not recorded then core.interrupt_again(problem) end
end

return run
