--- Answers what a run asks for: all calls of tools at once, each as a task with a deadline of its own, and always a
-- whole set of outputs, whatever the tools do.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local tools = require("nexus_assistants.tools")
local trace = require("nexus_assistants.trace")

local present = json.present

local tool_round = {}

local TOOL_TIMEOUT = 300 -- seconds a tool has, unless it or the run's options say otherwise
local MARGIN = 10 -- seconds before the run expires that its outputs must be on their way
local SHORTEST = 0.001 -- seconds
local STALE = 30 -- seconds that a server may go on showing what was answered

-- --------------------------------------------------------------------------------------------------- what is asked

local function requested(run)
  local action = present(run.required_action)
  local submit = type(action) == "table" and present(action.submit_tool_outputs)
  local calls = type(submit) == "table" and present(submit.tool_calls)
  local found = {}
  for _, call in ipairs(type(calls) == "table" and calls or {}) do
    if type(call) == "table" then found[#found + 1] = call end
  end
  return found
end

--- The calls a run asks for, each once; nil where one has no id, since that can't be answered.
function tool_round.calls(run)
  local found, seen = {}, {}
  for _, call in ipairs(requested(run)) do
    if type(call.id) ~= "string" then return nil end
    if not seen[call.id] then found[#found + 1] = call end
    seen[call.id] = true
  end
  return found
end

--- True where the run asks for what only the script can give.
function tool_round.is_for_script(under_way)
  local calls = requested(under_way.run)
  return #calls == 0 or not tools.can_answer(calls, under_way.tools)
end

local function wanted_of(call)
  return type(call["function"]) == "table" and call["function"] or {}
end

local function name_of(call)
  local name = wanted_of(call).name
  return type(name) == "string" and name or "(no name)"
end

local function forget_call(under_way, id)
  under_way.answers[id], under_way.submitted[id], under_way.pending[id] = nil, nil, nil
end

-- Some servers number the calls of each round anew: the same id means another call where it asks for something else.
local function is_another(under_way, call)
  local answer, sent_at = under_way.answers[call.id], under_way.submitted[call.id]
  if not sent_at then return false end
  return not (answer and answer.name == name_of(call) and answer.arguments == wanted_of(call).arguments)
end

-- A call that is still asked for long after it was answered gets its output again; the tool isn't run again.
local function is_stale(under_way, call)
  local sent_at = under_way.submitted[call.id]
  return sent_at ~= nil and under_way.scheduler.clock() - sent_at > STALE
end

--- True where all that is asked for was sent: a server may show it for a while after that.
function tool_round.is_answered(under_way, calls)
  local all = true
  for _, call in ipairs(calls) do
    if is_another(under_way, call) then forget_call(under_way, call.id) end
    if is_stale(under_way, call) then under_way.submitted[call.id] = nil end
    all = all and under_way.submitted[call.id] ~= nil
  end
  return all
end

--- The calls that nobody has answered yet, as `{ id, name, arguments }` with the arguments as a table where they are
-- one.
function tool_round.open_calls(under_way)
  local open = json.array({})
  for _, call in ipairs(tool_round.calls(under_way.run) or {}) do
    if not under_way.answers[call.id] then
      local written = present(wanted_of(call).arguments)
      open[#open + 1] = { id = call.id, name = name_of(call), arguments = tools.arguments(written) or written }
    end
  end
  return open
end

-- ------------------------------------------------------------------------------------------------------ one call

-- Seconds until the run expires. The server's clock and this one differ, so what it may take in all counts from when it
-- was first seen.
local function time_to_expiry(under_way)
  local created, expires = present(under_way.run.created_at), present(under_way.run.expires_at)
  if type(created) ~= "number" or type(expires) ~= "number" or expires <= created then return math.huge end
  return expires - created - (under_way.scheduler.clock() - under_way.seen_at)
end

-- Seconds a call has: what its tool or the run's options allow, within what is left of the run.
local function seconds_for(under_way, name)
  local tool = under_way.tools.by_name[name]
  local seconds = tool and tool.timeout or under_way.options.tool_timeout or TOOL_TIMEOUT
  seconds = math.min(seconds, under_way.wait:remaining())
  return math.max(math.min(seconds, time_to_expiry(under_way) - MARGIN), SHORTEST)
end

local function new_entry(under_way, call)
  local name = name_of(call)
  return {
    id = call.id,
    name = name,
    arguments = wanted_of(call).arguments,
    seconds = seconds_for(under_way, name),
    span = trace.open_below(under_way.span, "tool " .. name, "tool"),
  }
end

-- What comes once the call was answered for, since its time was over, comes too late.
local function run_entry(under_way, entry)
  local scheduler = under_way.scheduler
  local output, problem, outcome = tools.run(under_way.tools, entry.name, entry.arguments, function(fn, ...)
    return scheduler:protected(fn, ...)
  end)
  if entry.outcome then return end
  entry.output, entry.problem, entry.outcome = output, problem, outcome
  entry.ended_at = under_way.client.wall()
end

-- The span is the current one for what the tool does.
local function start_task(under_way, entry)
  local client = under_way.client
  entry.started_at, entry.due = client.wall(), client.scheduler.clock() + entry.seconds
  entry.task = client.recorder:under(entry.span, client.task, client, run_entry, under_way, entry)
  entry.task.lane_ticket = under_way.ticket
end

local function time_out(under_way, entry)
  entry.task:cancel()
  entry.outcome = "timeout"
  entry.problem = ("tool '%s' had not answered after %.10g s"):format(entry.name, entry.seconds)
  entry.output = tools.error_output(entry.problem)
  entry.ended_at = under_way.client.wall()
end

-- A task's function may have ended without leaving an outcome: it was cancelled before it began.
local function fail(under_way, entry, err)
  entry.outcome, entry.problem = "error", errors.shown(err)
  entry.output = tools.error_output(entry.problem)
  entry.ended_at = under_way.client.wall()
end

-- Waits for a call's task. Returns true, or nil and an error where the wait itself was ended.
local function finish_task(under_way, entry)
  local scheduler = under_way.scheduler
  local _, err = entry.task:wait(math.max(entry.due - scheduler.clock(), SHORTEST))
  if entry.outcome then return true end
  if entry.task:done() then fail(under_way, entry, err) return true end
  local waiter = scheduler:running_task()
  if scheduler.closed or waiter and waiter.cancelled then return nil, err end
  time_out(under_way, entry)
  return true
end

local function record_span(under_way, entry)
  local span = entry.span
  if not span:is_recorded() then return end
  span:set("toolCallId", entry.id)
  span:set("outcome", entry.outcome)
  span:input(json.decode(entry.arguments) or present(entry.arguments))
  if entry.output then span:output(json.decode(entry.output) or entry.output) end
  if entry.problem then span:error(entry.problem) end
  span:times(entry.started_at, entry.ended_at)
  span:note_end()
  -- the span is finished with the run, when the step it belongs to is known
  under_way.tool_spans[#under_way.tool_spans + 1] = span
  under_way.own_spans[entry.id] = span
end

local function is_empty(output)
  return output == "" or output == "null" or output == "{}" or output == "[]" or output == '""'
end

local function note(under_way, entry)
  record_span(under_way, entry)
  if entry.output then under_way.answers[entry.id] = { tool_call_id = entry.id, output = entry.output } end
  local calls = under_way.calls
  calls[#calls + 1] = {
    id = entry.id, name = entry.name, outcome = entry.outcome, error = entry.problem,
    output_bytes = entry.output and #entry.output, empty = entry.output ~= nil and is_empty(entry.output) or nil,
    seconds = entry.ended_at - entry.started_at,
  }
end

-- ------------------------------------------------------------------------------------------------------ all calls

local function by_due(one, other)
  return one.due < other.due
end

local function cancel_all(entries)
  for _, entry in ipairs(entries) do entry.task:cancel() end
end

-- Those whose time is over first are looked at first, so that each is cut off at its own time.
local function finish_all(under_way, entries)
  local ordered = {}
  for index, entry in ipairs(entries) do ordered[index] = entry end
  table.sort(ordered, by_due)
  for _, entry in ipairs(ordered) do
    local ok, err = finish_task(under_way, entry)
    if not ok then
      cancel_all(entries)
      return nil, err
    end
  end
  return true
end

--- Runs the tools of all calls that have no output yet, at the same time. Returns true; or nil and an error where the
-- wait was ended. A tool is run once, however often the server asks.
function tool_round.run(under_way, calls)
  local entries = {}
  for _, call in ipairs(calls) do
    if not under_way.answers[call.id] and not under_way.pending[call.id] then
      entries[#entries + 1] = new_entry(under_way, call)
    end
  end
  for _, entry in ipairs(entries) do start_task(under_way, entry) end
  under_way.running = entries
  local ok, err = finish_all(under_way, entries)
  under_way.running = nil
  if not ok then return nil, err end
  under_way.wait:moved()
  for _, entry in ipairs(entries) do
    note(under_way, entry)
    under_way.pending[entry.id] = entry.outcome == "pending" or nil
  end
  return true
end

--- Takes the output of a call that had none yet.
function tool_round.answer_later(under_way, id, output)
  under_way.answers[id], under_way.pending[id] = { tool_call_id = id, output = output }, nil
  for _, call in ipairs(under_way.calls) do
    if call.id == id then call.outcome, call.output_bytes, call.empty = "ok", #output, is_empty(output) end
  end
end

local function mark_cut(under_way, shortened)
  for _, call in ipairs(under_way.calls) do
    if shortened[call.id] then call.cut = true end
  end
end

--- The outputs for all calls, within what the API takes; nil where one is still to come.
function tool_round.outputs(under_way, calls)
  local outputs = json.array({})
  for index, call in ipairs(calls) do
    local answer = under_way.answers[call.id]
    if not answer then return nil end
    outputs[index] = { tool_call_id = call.id, output = answer.output }
  end
  local limited, shortened = tools.limit(outputs)
  mark_cut(under_way, shortened)
  return limited
end

--- Notes that the outputs for calls have arrived.
function tool_round.sent(under_way, calls)
  for _, call in ipairs(calls) do
    under_way.submitted[call.id] = under_way.scheduler.clock()
    local answer = under_way.answers[call.id]
    if answer then answer.name, answer.arguments = name_of(call), wanted_of(call).arguments end
  end
end

--- Cancels the tools that run now, whose outputs nobody wants any more.
function tool_round.stop(under_way)
  for _, entry in ipairs(under_way.running or {}) do entry.task:cancel() end
end

return tool_round
