--- Traces and spans for scripts: the automatic style (`client:trace`) and the manual one (`client.nexus`).
--
-- Recording never changes what is recorded: nothing here raises for the state of a trace, for values that can't be
-- written, or for a tracer that is absent or full. Only arguments of wrong types do, as everywhere.
--
-- A context is what code runs in: a trace and the span that new spans go under. It belongs to a coroutine, so that
-- tasks that trace at the same time don't mix; a task begins with the context it was started in.
local capture = require("nexus_assistants.capture")
local errors = require("nexus_assistants.error")
local hooks = require("nexus_assistants.hooks")
local json = require("nexus_assistants.json")
local options = require("nexus_assistants.options")

local null, present = json.null, json.present
local shown = errors.shown

local trace = {}

local recorder_methods = {}
local recorder_mt = { __index = recorder_methods, __name = "nexus_assistants.recorder" }

local trace_methods = {}
local trace_mt = { __index = trace_methods, __name = "nexus_assistants.trace" }

local span_methods = {}
local span_mt = { __index = span_methods, __name = "nexus_assistants.span" }

local MAIN = {} -- stands for the main coroutine, which 5.1 has no value for
local NO_PARENT = nil
local MUTE = { trace = { open = true } } -- the context of what leaves no traces
local NO_WISH = {}
local NO_OUTPUT = "(no output)"
local SERVER_CLOCK = "server, whole seconds"
local ORDER = 1e-6 -- seconds that keep apart what the server's clock shows at one time, so that the order is seen

local METADATA_NAMES = { thread_id = "threadId", message_id = "messageId", run_id = "runId", step_id = "stepId",
  response_id = "responseId", conversation_id = "conversationId", item_id = "itemId" }

local running = coroutine.running

--- Makes what records. `parts` has scheduler, agent_id, warn, examine_threads (from the ids of threads a trace made to
-- what the doctor finds), capture (the mode of traces that say none), endpoints (whose keys are kept out of traces; the
-- table may grow) and, where traces are delivered, tracer (the core's). Nil may be traceparent, of the host's span;
-- redact, the script's hook; caps, the most bytes by field; and copies, of copies.lua, and the hooks these call.
function trace.new(parts)
  local caller = parts.hooks or hooks.new(parts.scheduler, parts.warn)
  return setmetatable({
    scheduler = parts.scheduler,
    agent_id = parts.agent_id,
    warn = parts.warn,
    tracer = parts.tracer,
    traceparent = parts.traceparent,
    capture = parts.capture,
    hooks = caller,
    copies = parts.copies,
    keepers = capture.keepers({ endpoints = parts.endpoints, hooks = caller, redact = parts.redact,
      caps = parts.caps }),
    examine_threads = parts.examine_threads,
    contexts = setmetatable({}, { __mode = "k" }), -- by coroutine
    open_traces = 0,
  }, recorder_mt)
end

-- ------------------------------------------------------------------------------------------------------- values

local function check_key(method, key)
  if type(key) ~= "string" or key == "" then
    error(method .. ": key must be a string that is not empty, got " .. (key == "" and "''" or type(key)), 3)
  end
end

local function copies_of(subject)
  return (subject.trace or subject).recorder.copies
end

-- Everything that is recorded of a trace or a span passes through here, and through the trace's keeper.
local function set_metadata(subject, key, value)
  if not subject.handle then return end
  local text, kept_key = subject.keeper:metadata(key, value, subject)
  if not text then return end
  subject.handle:metadata(kept_key, text)
  if subject.copy then copies_of(subject):set_metadata(subject.copy, kept_key, text) end
end

local function set_all(subject, metadata)
  if not metadata then return end
  for key, value in pairs(metadata) do set_metadata(subject, shown(key), value) end
end

-- `field` is "input" or "output".
local function set_field(subject, field, text)
  if not text then return end
  subject.handle[field](subject.handle, text)
  if subject.copy then copies_of(subject):set(subject.copy, field, text) end
end

local function set_input(subject, value)
  if subject.handle then set_field(subject, "input", subject.keeper:content(value, subject, "input")) end
end

local function set_output(subject, value)
  if subject.handle then set_field(subject, "output", subject.keeper:content(value, subject, "output")) end
end

-- -------------------------------------------------------------------------------------------------------- spans

-- Opens a span of a trace; where it was dropped, or there is no trace, it has no handle and records nothing.
local function open_span(owner, parent, name, kind)
  local handle = owner.handle and not owner.recorder.hooks.busy and owner.handle:span(name, kind, parent)
  local span = setmetatable({ handle = handle or nil, trace = owner, name = name, keeper = owner.keeper,
    finished = false }, span_mt)
  if handle and owner.copy then owner.recorder.copies:open_span(span, name, kind) end
  return span
end

--- The span's id, 16 hexadecimal digits; nil where it is not recorded.
function span_methods:id()
  return self.handle and self.handle:id()
end

--- What continues the trace below this span elsewhere; nil where it is not recorded.
function span_methods:traceparent()
  return self.handle and self.handle:traceparent()
end

--- True where what is set on the span is kept.
function span_methods:is_recorded()
  return self.handle ~= nil
end

--- Sets the span's input, any value JSON can hold.
function span_methods:input(value)
  set_input(self, value)
end

--- Sets the span's output, any value JSON can hold.
function span_methods:output(value)
  set_output(self, value)
end

-- Sets the span's output to what the library saw of a call: a table, whose facts are kept where content isn't.
function span_methods:outcome(value)
  if self.handle then set_field(self, "output", self.keeper:outcome(value, self)) end
end

--- Sets one value of the span's metadata.
function span_methods:set(key, value)
  check_key("span:set", key)
  set_metadata(self, key, value)
end

--- Says what went wrong in the span; it ends with status error then. An error that is a text may have a `code`.
function span_methods:error(value, code)
  self.failed = true
  local text = self.handle and self.keeper:failure(value, self, code)
  if not text then return end
  self.handle:error(text)
  if self.copy then copies_of(self):set_error(self.copy, text) end
end

-- Gives the span times of its own, Unix seconds.
function span_methods:times(started_at, ended_at)
  self.started_at, self.ended_at = started_at, ended_at
  self.given_start = started_at
  if self.handle then self.handle:times(started_at, ended_at) end
end

-- Says that what the span stands for has ended, at the time it was given, though the span itself ends later: should
-- the process be killed first, it hasn't been interrupted. What is known of the span then is kept.
function span_methods:note_end()
  if self.handle then self.handle:note_end() end
end

-- `with_parent`: the span above ends at once.
local function end_span(span, with_parent)
  local status = span.failed and "error" or "ok"
  if span.copy and not span.copy.ended_at then copies_of(span):end_span(span, status) end
  span.handle:finish(status, with_parent)
end

-- Within a hook nothing is recorded, not even an end.
local function finish_span(span, with_parent)
  if span.handle and span.trace.recorder.hooks.busy then return end
  if span.handle and not span.finished then end_span(span, with_parent) end
  span.finished = true
end

-- Ends the span; a second time does nothing.
function span_methods:finish()
  finish_span(self)
end

-- A function's results: nil and something are a failure.
local function note_outcome(span, first, second)
  if first == nil and second ~= nil then span:error(second) end
end

-- ----------------------------------------------------------------------------------------------------- contexts

local function context_key()
  local thread, is_main = running()
  if is_main or not thread then return MAIN end
  return thread
end

-- A coroutine of the script's own that has no context is part of whoever runs it: a task, or the main script.
local function context_of_driver(self)
  local task = self.scheduler.current
  return self.contexts[task and task.thread or MAIN]
end

-- The context of the code's own trace; false where it is not to record, nil where it is in none that is open.
local function own_context(self)
  local key = context_key()
  local context = self.contexts[key]
  if context == nil and key ~= MAIN then context = context_of_driver(self) end
  if context and not context.trace.open then return nil end
  return context
end

local start

-- The context of the trace around the script, which begins when it is first needed; nil where there is none. A script
-- that traces by hand says itself what is a span.
local function surrounding_context(self)
  local around = self.surrounding
  if not around or around.is_by_hand then return nil end
  around.context = around.context or { trace = start(self, around.values), span = NO_PARENT }
  return around.context
end

--- The context this code runs in; nil where nothing is recorded.
function recorder_methods:current()
  if self.hooks.busy or self.open_traces == 0 and not self.surrounding then return nil end
  local context = own_context(self)
  if context == nil then context = surrounding_context(self) end
  if context and context.trace.handle then return context end
end

--- Has the coroutine that runs trace below a span, whoever drives it; nothing, where that isn't recorded.
function recorder_methods:enter(span)
  self.contexts[context_key()] = span.handle and { trace = span.trace, span = span.handle } or false
end

--- Has what the coroutine that runs does leave no traces, nor the tasks it starts.
function recorder_methods:mute()
  self.contexts[context_key()] = MUTE
end

--- Lets a task begin with the context of the code that starts it.
function recorder_methods:inherit(task)
  self.contexts[task.thread] = own_context(self)
end

local function leave(self, key, previous, span, ok, ...)
  self.contexts[key] = previous
  if not ok then
    span:error((...))
    span:finish()
    error((...), 0)
  end
  note_outcome(span, ...)
  span:finish()
  return ...
end

local function run_in_span(self, context, name, kind, fn, ...)
  local span = open_span(context.trace, context.span, name, kind)
  local key = context_key()
  local previous = self.contexts[key]
  self.contexts[key] = { trace = context.trace, span = span.handle or context.span }
  return leave(self, key, previous, span, pcall(fn, span, ...))
end

-- A span that records nothing.
local function no_span()
  return setmetatable({}, span_mt)
end

trace.no_span = no_span

--- Opens a span of the current trace; where there is no trace it records nothing. Whoever opens it finishes it.
function recorder_methods:open(name, kind)
  local context = self:current()
  if not context then return no_span() end
  return open_span(context.trace, context.span, name, kind)
end

--- Runs `fn(…)` with a span as the current one, without ending it.
function recorder_methods:under(span, fn, ...)
  if not span.handle then return fn(...) end
  local key = context_key()
  local previous = self.contexts[key]
  self.contexts[key] = { trace = span.trace, span = span.handle }
  local function restore(...)
    self.contexts[key] = previous
    return ...
  end
  return restore(fn(...))
end

--- Opens a span below another one; whoever opens it finishes it.
function trace.open_below(parent, name, kind)
  if not parent.handle then return no_span() end
  return open_span(parent.trace, parent.handle, name, kind)
end

--- What a request tells who is behind it, as its header `traceparent`: the request's `span`, or that which the code
-- runs in, of a trace that goes on from a host's; nil in others, since nobody has asked for it there. Where
-- `has_continued` is nil there are only others.
function recorder_methods:passed_on(span)
  if span and span.handle then return span.trace.is_continued and span.handle:traceparent() or nil end
  local context = self:current()
  if not context or not context.trace.is_continued then return nil end
  return (context.span or context.trace.handle):traceparent()
end

-- --------------------------------------------------------------------------------------------------- operations

local function record_path(span, path)
  for name, value in pairs(path) do
    local key = METADATA_NAMES[name]
    if key then set_metadata(span, key, value) end
  end
end

local function remember_thread(owner, operation, params, result)
  local thread_id = params.path and params.path.thread_id
  if operation.name == "threads.create" and result then
    thread_id = result.id
    owner.made_threads = owner.made_threads or {}
    table.insert(owner.made_threads, thread_id)
  end
  if operation.name == "threads.create_and_run" and result then thread_id = present(result.thread_id) end
  if thread_id and owner.thread_id ~= thread_id then
    owner.thread_id = thread_id
    set_metadata(owner, "threadId", thread_id)
  end
end

local function record_operation(span, operation, params, result, info)
  if params.path then record_path(span, params.path) end
  if operation.record then operation.record(span, params, result) end
  if result and info and info.attempts and info.attempts > 1 then span:set("attempts", info.attempts) end
  if not result then span:error(info) end
  remember_thread(span.trace, operation, params, result)
end

-- What the caller wants of the call's span: false for none, else a table of `name` and `metadata`.
local function wish_of(params)
  local wish = params.options and params.options.trace
  if wish == nil then return NO_WISH end
  return wish
end

--- Opens the span of a call that ends later, with its path; whoever opens it records the rest and finishes it.
function recorder_methods:open_call(operation, params)
  local wish = wish_of(params)
  local context = wish and self:current()
  if not context then return no_span() end
  local span = open_span(context.trace, context.span, wish.name or operation.span, operation.type)
  if span.handle then
    record_path(span, params.path)
    set_all(span, wish.metadata)
  end
  return span
end

--- Has a provider perform an operation, in a span of its own where a trace is open. Returns what the provider does.
function recorder_methods:perform(provider, operation, params)
  local wish = wish_of(params)
  local context = wish and self:current()
  if not context then return provider:perform(operation, params) end
  local span = open_span(context.trace, context.span, wish.name or operation.span, operation.type)
  params.span = span
  local result, info = provider:perform(operation, params)
  if span.handle then
    record_operation(span, operation, params, result, info)
    set_all(span, wish.metadata)
  end
  span:finish()
  return result, info
end

-- ------------------------------------------------------------------------------------------------ runs and steps

--- Puts what the doctor found on a trace, beside what it found before.
function trace.add_findings(owner, findings)
  if not findings[1] then return end
  owner.findings = owner.findings or json.array({})
  for _, finding in ipairs(findings) do owner.findings[#owner.findings + 1] = finding end
  set_metadata(owner, "findings", owner.findings)
end

local function set_present(subject, key, value)
  if value ~= nil and value ~= null then set_metadata(subject, key, value) end
end

--- Writes what a run turned out to be on its trace.
function trace.record_run(span, run)
  local owner = span.trace
  if not (owner and owner.handle) then return end
  if run.thread_id ~= owner.thread_id then set_present(owner, "threadId", run.thread_id) end
  set_present(owner, "assistantId", run.assistant_id)
  set_present(owner, "run.status", run.status)
  set_present(owner, "run.model", run.model)
  local usage = present(run.usage)
  set_present(owner, "run.usage", usage)
  if type(usage) == "table" then set_present(owner, "run.usage.total_tokens", usage.total_tokens) end
end

local function detail_of(call)
  local detail = present(call[call.type])
  return type(detail) == "table" and detail or {}
end

local function input_of(call)
  local detail = detail_of(call)
  local text = present(detail.arguments)
  if type(text) == "string" then return json.decode(text) or text end
  return present(detail.input)
end

local function output_of(call)
  local detail = detail_of(call)
  return present(detail.output) or present(detail.outputs) or present(detail.results)
end

local function ended_at(step)
  return present(step.completed_at) or present(step.failed_at) or present(step.cancelled_at)
    or present(step.expired_at)
end

local function record_step_error(span, step)
  local last_error = present(step.last_error)
  if type(last_error) == "table" then
    local code = present(last_error.code)
    span:error(shown(code) .. ": " .. shown(present(last_error.message)), code)
  elseif step.status == "failed" or step.status == "cancelled" or step.status == "expired" then
    span:error("the step ended with status: " .. step.status)
  end
end

-- The server tells whole seconds, rounded down, so that a step can seem to begin before the run, or before the step
-- ahead of it. Within that second it is put where it must have been: behind what came `before`.
local function times_of(step, before)
  local started_at = present(step.created_at)
  if type(started_at) ~= "number" then return nil end
  if started_at < before and started_at > before - 1 then started_at = before end
  return started_at, math.max(tonumber(ended_at(step)) or started_at, started_at)
end

local function record_call(run_span, step, call, before)
  local kind = call.type or step.type
  local span = trace.open_below(run_span, "step." .. shown(kind), kind ~= step.type and "tool" or nil)
  set_metadata(span, "stepId", step.id)
  set_present(span, "toolCallId", call.id)
  set_present(span, "status", step.status)
  set_metadata(span, "clock", SERVER_CLOCK)
  span:input(input_of(call))
  local output = output_of(call)
  if output == nil then output = NO_OUTPUT end
  span:output(output)
  record_step_error(span, step)
  local started_at, finished_at = times_of(step, before)
  span:times(started_at, finished_at)
  finish_span(span, true)
  return finished_at and finished_at + ORDER or before
end

-- A step without tool calls (it wrote a message) stands for itself.
local function calls_of(step)
  local details = present(step.step_details)
  local calls = type(details) == "table" and present(details.tool_calls)
  if type(calls) ~= "table" then return { { type = step.type } } end
  local found = {}
  for _, call in ipairs(calls) do
    if type(call) == "table" then found[#found + 1] = call end
  end
  return found
end

local function tell_step(own, step)
  own:set("stepId", step.id)
  own:finish()
  return own.ended_at
end

--- Makes a run's steps, oldest first, spans below that of the run, which has `started_at`. Calls that ran here have a
-- span with real times already, in `own_spans` by the id of the call: those are told their step.
function trace.record_steps(run_span, steps, own_spans)
  local before = run_span.started_at
  for index, step in ipairs(steps) do
    -- what a run ends with comes after the last answer of a model that was asked in this process
    if index == #steps then before = math.max(before, run_span.thought_until or before) end
    for _, call in ipairs(calls_of(step)) do
      local own = call.id and own_spans[call.id]
      before = own and tell_step(own, step) or record_call(run_span, step, call, before)
    end
  end
end

-- ---------------------------------------------------------------------------------------------- automatic style

-- What a host gives in a way that can't be followed is as if it hadn't; it is said once.
local function continue(self, owner, traceparent)
  if not traceparent then return end
  if owner.handle:continue(traceparent) then
    owner.is_continued, self.has_continued = true, true
    return
  end
  if self.told_of_traceparent then return end
  self.told_of_traceparent = true
  self.warn("traceparent is no \"00-<trace id>-<span id>-<flags>\": traces begin anew")
end

function start(self, values)
  local is_mute = self.hooks.busy or own_context(self) == MUTE
  local keeper = not is_mute and self.keepers[values.capture or self.capture] -- none: nothing is recorded
  local handle = self.tracer and keeper and self.tracer:trace(values.agent_id or self.agent_id, values.name)
  local owner = setmetatable({ recorder = self, handle = handle or nil, keeper = keeper, open = true,
    thread_id = nil, made_threads = nil }, trace_mt)
  if handle then
    continue(self, owner, values.traceparent or self.traceparent)
    if self.copies then self.copies:open_trace(owner, values.agent_id or self.agent_id, values.name) end
    owner:input(values.input)
    set_all(owner, values.metadata)
  end
  return owner
end

local function status_of(failure)
  return errors.is(failure) and failure.kind == "timeout" and "timeout" or "error"
end

local function finish_trace(owner, status, problem)
  if owner.copy and not owner.copy.ended_at then copies_of(owner):end_trace(owner, status, problem) end
  owner.handle:finish(status, problem)
end

local function finish(owner, failure)
  owner.open = false
  if not owner.handle then return end
  if failure == nil then return finish_trace(owner, "success") end
  finish_trace(owner, status_of(failure), owner.keeper:failure(failure, owner))
end

local function conclude(owner, ok, first, second)
  if not ok then return finish(owner, first == nil and "nil" or first) end
  if first == nil and second ~= nil then return finish(owner, second) end
  if owner.handle and not owner.output_given and first ~= nil then owner:output(first) end
  finish(owner)
end

local function examine(self, owner)
  if owner.made_threads then trace.add_findings(owner, self.examine_threads(owner.made_threads)) end
end

local function end_run(self, key, previous, owner, ok, ...)
  self.contexts[key] = previous
  self.open_traces = self.open_traces - 1
  examine(self, owner)
  conclude(owner, ok, ...)
  if not ok then error((...), 0) end
  return ...
end

--- Runs `fn(trace)` in a new trace and returns its results. Where it raises, or returns nil and an error, the trace
-- ends with status error, and the error goes on to the caller.
function recorder_methods:run(values, fn)
  local owner = start(self, values)
  local key = context_key()
  local previous = self.contexts[key]
  self.contexts[key] = { trace = owner, span = NO_PARENT }
  self.open_traces = self.open_traces + 1
  return end_run(self, key, previous, owner, pcall(fn, owner))
end

--- Has what is outside of all traces be in one of `values`, that begins with the first of it.
function recorder_methods:surround(values)
  self.surrounding = { values = values }
end

--- Says what the script ended with that the trace around it belongs to; nil for nothing.
function recorder_methods:fail_surrounding(failure)
  if self.surrounding then self.surrounding.failure = failure end
end

--- Ends the trace around the script.
function recorder_methods:end_surrounding()
  local around = self.surrounding
  self.surrounding = nil
  if not around or not around.context then return end
  local owner = around.context.trace
  examine(self, owner)
  conclude(owner, around.failure == nil, around.failure)
end

--- Ends, for the script's own sinks and `on_span_end`, what is still open when the client is closed; the core ends its
-- own.
function recorder_methods:interrupt()
  if self.copies then self.copies:interrupt() end
end

--- The trace's id, 32 hexadecimal digits; nil where it is not recorded.
function trace_methods:id()
  return self.handle and self.handle:id()
end

--- What continues the trace elsewhere, as the header `traceparent` has it; nil where it is not recorded.
function trace_methods:traceparent()
  return self.handle and self.handle:traceparent()
end

--- Sets the trace's input, any value JSON can hold.
function trace_methods:input(value)
  set_input(self, value)
end

--- Sets the trace's output; without it that is the first result of the function.
function trace_methods:output(value)
  self.output_given = true
  set_output(self, value)
end

--- Sets one value of the trace's metadata.
function trace_methods:set(key, value)
  check_key("trace:set", key)
  set_metadata(self, key, value)
end

local function run_span(span, values, fn)
  if span.handle then
    span:input(values.input)
    set_all(span, values.metadata)
  end
  return fn(span)
end

--- Runs `fn(span)` within a span of the trace, and returns its results: `trace:span(name, fn)` or
-- `trace:span(name, { type, input, metadata }, fn)`.
function trace_methods:span(name, given, fn)
  if fn == nil then given, fn = nil, given end
  local values, problem = options.read("trace:span", options.span, given)
  if type(name) ~= "string" or name == "" then problem = "trace:span: name must be a string that is not empty" end
  if type(fn) ~= "function" then problem = problem or "trace:span: a function is needed, got " .. type(fn) end
  if problem then error(problem, 2) end
  local context = self.recorder:current()
  if not context or context.trace ~= self then context = { trace = self, span = NO_PARENT } end
  return run_in_span(self.recorder, context, name, values.type, run_span, values, fn)
end

-- -------------------------------------------------------------------------------------------------- manual style

local DROPPED = "dropped" -- the id of whatever is not recorded; all functions take it
local KEPT_ENDED = 256 -- ended spans of a trace that new ones can still be put below: the latest

local manual_methods = {}
local manual_mt = { __index = manual_methods, __name = "nexus_assistants.nexus" }

--- Makes `client.nexus`.
function trace.manual(recorder)
  return setmetatable({ recorder = recorder, traces = {}, spans = {}, unknown_ids = 0 }, manual_mt)
end

local function read_options(method, given)
  local values, problem = options.read("nexus:" .. method, options.manual[method], given)
  if problem then error(problem, 3) end
  return values
end

local function check_id(method, name, id)
  if type(id) ~= "string" then
    error(("nexus:%s: %s must be a string, got %s"):format(method, name, type(id)), 3)
  end
end

local function unknown_id(self, method, id)
  self.unknown_ids = self.unknown_ids + 1
  if self.unknown_ids == 1 then
    local text = "nexus:%s: there is no open trace or span '%s'; it may have ended"
    self.recorder.warn(text:format(method, id:sub(1, 64)))
  end
end

local function look_up(self, method, known, id)
  local found = known[id]
  if not found and id ~= DROPPED then unknown_id(self, method, id) end
  return found
end

--- Starts a trace of `{ name, agent_id, input, metadata }`; returns `{ id = … }`.
function manual_methods:start_trace(given)
  local owner = start(self.recorder, read_options("start_trace", given))
  if self.recorder.surrounding then self.recorder.surrounding.is_by_hand = true end
  if not owner.handle then return { id = DROPPED } end
  local id = owner:id()
  owner.span_ids, owner.ended_ids, owner.ended = {}, {}, 0
  self.traces[id] = owner
  return { id = id }
end

local function keep_span(self, owner, span)
  if not span.handle then return { id = DROPPED } end
  local id = span:id()
  self.spans[id] = span
  owner.span_ids[id] = true
  return { id = id }
end

-- Ended spans give way to later ones, in a ring: a trace may go on for as long as the process.
local function retire(self, owner, id)
  local place = owner.ended % KEPT_ENDED + 1
  local oldest = owner.ended_ids[place]
  if oldest then self.spans[oldest], owner.span_ids[oldest] = nil, nil end
  owner.ended_ids[place], owner.ended = id, owner.ended + 1
end

--- Starts a span of `{ name, type, input, metadata, parent_id }` in a trace; returns `{ id = … }`.
function manual_methods:start_span(trace_id, given)
  check_id("start_span", "trace_id", trace_id)
  local values = read_options("start_span", given)
  local owner = look_up(self, "start_span", self.traces, trace_id)
  if not owner then return { id = DROPPED } end
  local parent = values.parent_id and look_up(self, "start_span", self.spans, values.parent_id)
  local span = open_span(owner, parent and parent.handle, values.name, values.type)
  if span.handle then
    span:input(values.input)
    set_all(span, values.metadata)
  end
  return keep_span(self, owner, span)
end

local function error_of(values)
  if values.error ~= nil then return values.error end
  if values.status ~= "ok" and values.status ~= "success" then return values.metadata and values.metadata.error end
end

--- Ends a span with `{ status, output, error, metadata }`. The status is "error" where there is an error, else "ok". A
-- second time it does nothing but count the id as unknown.
function manual_methods:end_span(span_id, given)
  check_id("end_span", "span_id", span_id)
  local values = read_options("end_span", given)
  local span = look_up(self, "end_span", self.spans, span_id)
  if not span then return end
  if span.finished then return unknown_id(self, "end_span", span_id) end
  span:output(values.output)
  set_all(span, values.metadata)
  if values.error ~= nil then span:error(values.error) end
  if values.status then span.failed = values.status == "error" end
  span:finish()
  retire(self, span.trace, span_id)
end

local function forget(self, owner, trace_id)
  self.traces[trace_id] = nil
  for id in next, owner.span_ids do self.spans[id] = nil end
end

--- Ends a trace with `{ status, output, error, metadata }`. The status is "error" where there is an error, else
-- "success".
function manual_methods:end_trace(trace_id, given)
  check_id("end_trace", "trace_id", trace_id)
  local values = read_options("end_trace", given)
  local owner = look_up(self, "end_trace", self.traces, trace_id)
  if not owner then return end
  owner:output(values.output)
  set_all(owner, values.metadata)
  local problem = error_of(values)
  local status = values.status or (problem ~= nil and status_of(problem)) or "success"
  owner.open = false
  finish_trace(owner, status, problem ~= nil and owner.keeper:failure(problem, owner) or nil)
  forget(self, owner, trace_id)
end

return trace
