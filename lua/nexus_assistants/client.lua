--- The client: puts the parts together, and is what the host drives.
local core = require("nexus_assistants.core")
local doctor = require("nexus_assistants.doctor")
local errors = require("nexus_assistants.error")
local hooks = require("nexus_assistants.hooks")
local lane = require("nexus_assistants.lane")
local ledger = require("nexus_assistants.ledger")
local options = require("nexus_assistants.options")
local providers = require("nexus_assistants.providers")
local resources = require("nexus_assistants.resources")
local runs = require("nexus_assistants.resources.runs")
local scheduler = require("nexus_assistants.scheduler")
local sinks = require("nexus_assistants.sinks")
local spools = require("nexus_assistants.spool")
local surrounding = require("nexus_assistants.surrounding")
local trace = require("nexus_assistants.trace")

local client = {}

local client_methods = {}
local client_mt = { __index = client_methods, __name = "nexus_assistants.client" }

-- For `local client <close> = …`, from Lua 5.4 on: closed at the end of its block, also by an error.
function client_mt.__close(self, failure)
  self.recorder:fail_surrounding(failure)
  self:close()
end

local check_number = scheduler.check_number

local DEFAULT_BUDGET = 2 -- milliseconds of client:update
local DEFAULT_CLOSE = 2 -- seconds
local LOOK_AGAIN = 600 -- seconds after which others' leftovers are looked for

local function write_warning(text)
  io.stderr:write("nexus-assistants: warning: ", text, "\n")
end

-- A host may have taken `io.stderr` away from its scripts.
local function print_warning(text)
  pcall(write_warning, text)
end

-- A handler that fails must not take down what it was to be told about.
local function guarded(handler)
  if not handler then return print_warning end
  return function(text)
    local ok, problem = pcall(handler, text)
    if ok then return end
    print_warning(("%s (on_warning failed: %s)"):format(text, errors.shown(problem)))
    core.interrupt_again(problem)
  end
end

-- ----------------------------------------------------------------------------------------------------------- making

-- What is seen of threads and runs, in whatever operation, is known from then on.
local function observe(self, operation, params, result)
  if type(result) ~= "table" then return end
  self.ledger:saw(operation, params, result)
  if operation.name == "threads.delete" then self.lanes:forget(params.path.thread_id) end
  if result.object == "thread.run" then self:saw_run(result) end
end

local observed_methods = {}
local observed_mt = { __index = observed_methods }

function observed_methods:perform(operation, params)
  local watcher = self.client.watcher
  if watcher then watcher:began(operation) end
  local result, info = self.provider:perform(operation, params)
  if watcher then watcher:ended() end
  if result ~= nil then observe(self.client, operation, params, result) end
  return result, info
end

function observed_methods:open(operation, params)
  return self.provider:open(operation, params)
end

-- Performs what waits for its turn on a thread.
local laned_methods = {}
local laned_mt = { __index = laned_methods }

function laned_methods:perform(operation, params)
  return self.lanes:perform(params.path.thread_id, params.options, function()
    return self.provider:perform(operation, params)
  end, operation.name)
end

local NO_FINDINGS = {}

-- What the doctor has to say about the threads that a trace made.
local function thread_examiner(book)
  return function(ids)
    local unused = {}
    for _, id in ipairs(ids) do
      if book:is_unused(id) then unused[#unused + 1] = id end
    end
    return unused[1] and doctor.examine({ leaked_threads = unused }) or NO_FINDINGS
  end
end

local BUILT_IN = "asst_local"

local function assemble(values, performer, tasks, engine, recorder, tracer, book)
  local self = setmetatable({
    engine = engine,
    scheduler = tasks,
    recorder = recorder,
    tracer = tracer,
    transport = performer.transport,
    runtime = performer.runtime,
    assistant_id = values.assistant_id or performer.runtime and BUILT_IN,
    poll = values.poll,
    wall = core.wall,
    ledger = book,
    runs_under_way = setmetatable({}, { __mode = "k" }), -- what is known of a run that a script has, by the run
    open_streams = setmetatable({}, { __mode = "k" }), -- and what drops it
    closed = false,
  }, client_mt)
  self.provider = setmetatable({ client = self, provider = performer.provider }, observed_mt)
  self.lanes = lane.new(self, values.lane)
  self.laned = setmetatable({ lanes = self.lanes, provider = self.provider }, laned_mt)
  self.run_mt = runs.metatable(self)
  resources.attach(self)
  self.nexus = trace.manual(recorder)
  return self
end

-- What others leave in the meantime is looked for now and then, but never waited for.
local function attend_spools(all, tasks)
  local function start_all()
    for _, spool in ipairs(all) do spool:start() end
  end
  tasks.on_spooled = function()
    for _, spool in ipairs(all) do spool:wake() end
  end
  if all[1] then tasks:now_and_then(LOOK_AGAIN, start_all) end
  start_all()
end

local function build(values)
  local warn = guarded(values.on_warning)
  local engine, problem = core.engine({ max_transfers = values.max_transfers })
  if not engine then return nil, errors.of_configuration(problem, "nexus.new") end
  local tasks, book = scheduler.new(engine, core.monotonic, warn), ledger.new(core.wall)
  local warnings, tracer, endpoints, found, performer = {}
  tracer, problem, endpoints, found = sinks.tracer(engine, values, function(text) warnings[#warnings + 1] = text end)
  if problem then return nil, problem end
  endpoints = endpoints or {}
  local recorder
  local own_sinks = sinks.in_lua(values, tasks, warn, function() recorder:mute() end)
  local caller = hooks.new(tasks, warn)
  recorder = trace.new({
    scheduler = tasks, agent_id = values.agent_id, warn = warn, tracer = tracer, endpoints = endpoints,
    examine_threads = thread_examiner(book), traceparent = values.traceparent, capture = values.capture.mode,
    caps = values.capture, redact = values.redact, copies = sinks.copies(values, own_sinks, caller), hooks = caller,
  })
  -- the last that may fail, since it may open a store, which must be closed
  performer, problem = providers.new(values, tasks, recorder)
  if not performer then return nil, problem end
  endpoints.openai = performer.transport.endpoint
  for _, text in ipairs(warnings) do warn(text) end
  local made = assemble(values, performer, tasks, engine, recorder, tracer, book)
  made.spools = tracer and sinks.spools(values, found, tasks, engine, tracer) or {}
  attend_spools(made.spools, tasks)
  made.own_sinks = own_sinks
  surrounding.enter(made)
  return made
end

--- Makes a client. Returns nil and an error where the configuration lacks something, nil and a text for misuse.
function client.new(given)
  local values, problem, source = options.read("nexus.new", options.client, given, core.environment)
  if values then problem = options.misplaced(given, values.provider) end
  if values and not problem then return build(values) end
  if source == "environment" then return nil, errors.new({ kind = "configuration", message = problem }) end
  return nil, problem
end

-- --------------------------------------------------------------------------------------------------------- calls

--- Performs an operation through the provider, traced where a trace is open. Resources call this.
function client_methods:perform(operation, params)
  return self.recorder:perform(operation.excludes and self.laned or self.provider, operation, params)
end

--- Gives a run its methods, and keeps what they need as long as the script has it. Runs that are waited for call this.
function client_methods:adopt_run(run, under_way)
  under_way.run = nil -- before 5.2 a value that refers to its key is never collected
  self.runs_under_way[run] = under_way
  return setmetatable(run, self.run_mt)
end

--- What is seen of a run, in an answer or an event, is known from then on. Streams call this.
function client_methods:saw_run(run)
  self.lanes:saw(run)
  if self.watcher then self.watcher:saw(run) end
end

--- Runs `fn(trace)` in a new trace, in which every call is a span. See `types/`.
function client_methods:trace(given, fn)
  local values, problem = options.read("client:trace", options.trace, given)
  if not problem and type(fn) ~= "function" then
    problem = "client:trace: a function is needed as the second argument, got " .. type(fn)
  end
  if problem then error(problem, 2) end
  return self.recorder:run(values, fn)
end

-- ------------------------------------------------------------------------------------------------------- driving

--- Does what there is to do without waiting, within `budget_ms` milliseconds as a rule. Games call it once a frame.
function client_methods:update(budget_ms)
  if budget_ms == nil then budget_ms = DEFAULT_BUDGET end
  check_number("client:update", "budget_ms", budget_ms)
  self.scheduler:update(budget_ms / 1000)
end

--- Starts a task: `fn(…)` in a coroutine, in which calls give way instead of blocking. Tasks move on whenever the
-- client is driven: by `update`, by a `wait`, or by a call outside tasks.
function client_methods:task(fn, ...)
  if type(fn) ~= "function" then error("client:task: a function is needed, got " .. type(fn), 2) end
  local running = self.scheduler:running_task()
  local task = self.scheduler:spawn(fn, ...)
  task.lane_ticket = running and running.lane_ticket -- what a run's tool starts is part of the run, too
  self.recorder:inherit(task)
  if self.closed then task:cancel() end
  return task
end

--- Waits for a task, see `task:wait`; in a client that is closed, for none that has not ended.
function client_methods:wait(task, timeout)
  if type(task) ~= "table" or task.scheduler ~= self.scheduler then
    error("client:wait: a task of this client is needed, got " .. type(task), 2)
  end
  if timeout ~= nil then check_number("client:wait", "timeout", timeout) end
  return task:wait(timeout)
end

--- Waits without blocking other tasks. Returns true, or nil and an error where the task was cancelled, or the client
-- closed.
function client_methods:sleep(seconds)
  check_number("client:sleep", "seconds", seconds)
  return self.scheduler:sleep(seconds)
end

--- What to watch in a loop of the host's own: an array of `{ fd, read, write }`. It changes with every call and update.
function client_methods:fds()
  return self.engine:fds()
end

--- Seconds after which `update` is wanted even if nothing happens; nil for none: a closed client wants no more.
function client_methods:timeout()
  if self.closed then return nil end
  local own, engine = self.scheduler:idle_time(), self.engine:timeout()
  if own and engine then return math.min(own, engine) end
  return own or engine
end

--- Tells what was seen on a descriptor; follow it by `update`.
function client_methods:feed(fd, readable, writable)
  self.engine:feed(fd, readable, writable)
end

-- -------------------------------------------------------------------------------------------------- state, end

local function add_up(all)
  local sums = spools.no_counts()
  for _, spool in ipairs(all) do
    for name, count in pairs(spool.counts) do sums[name] = sums[name] + count end
  end
  return sums
end

local function add_spool_counts(stats, all)
  local counts = add_up(all)
  stats.spool_traces, stats.spool_spans = counts.traces, counts.spans
  stats.spool_refused, stats.spool_undecided = counts.refused, counts.undecided
  stats.spool_unreadable = counts.unreadable
  stats.spool_dropped = stats.spool_dropped + counts.dropped
  stats.repeated_unconfirmed = stats.repeated_unconfirmed + counts.unconfirmed
end

-- Those that the options cut before the core was given them.
local function add_cuts(stats, keepers)
  stats.fields_cut = stats.fields_cut + keepers.full.cut + keepers.metadata.cut
end

local NO_SINKS = { dropped = 0, failed = 0 }

local function add_sink_counts(stats, sinks_of_script)
  stats.sinks_dropped, stats.sinks_failed = sinks_of_script.dropped, sinks_of_script.failed
end

--- Counters: those of traces and their delivery (see `nxa_stats` in nexus_assistants.h), and calls, calls_failed,
-- tasks, unknown_ids.
function client_methods:stats()
  local stats = self.tracer and self.tracer:stats() or {}
  stats.calls, stats.calls_failed = self.transport.calls, self.transport.calls_failed
  stats.tasks = self.scheduler.task_count
  stats.unknown_ids = self.nexus.unknown_ids
  if self.tracer then add_cuts(stats, self.recorder.keepers) end
  if self.tracer then add_sink_counts(stats, self.own_sinks or NO_SINKS) end
  if self.tracer then add_spool_counts(stats, self.spools) end
  return stats
end

local function drain_warnings(self)
  repeat
    local kind, text = self.engine:next()
    if kind == "warning" then self.scheduler.warn(text) end
  until not kind
end

-- Sinks of the script's own are told how everything ends while they can still wait.
local function last_of(self)
  if not self.own_sinks then return nil end
  return function()
    self.recorder:end_surrounding()
    self.recorder:interrupt()
  end
end

--- Ends what is under way: tasks are cancelled, traces are delivered for as long as `timeout` seconds allow. Returns
-- true where all was delivered. A second close does nothing.
function client_methods:close(timeout)
  if timeout == nil then timeout = DEFAULT_CLOSE end
  check_number("client:close", "timeout", timeout)
  if self.closed then return self.delivered end
  self.closed, self.delivered = true, false
  local due = core.monotonic() + timeout
  for open, drop in pairs(self.open_streams) do drop(open) end
  self.lanes:abandon_all()
  self.scheduler:close(timeout, last_of(self))
  if self.runtime then self.runtime:close() end
  self.recorder:end_surrounding()
  self.recorder:interrupt()
  surrounding.leave(self)
  self.delivered = not self.tracer or self.tracer:close(math.max(due - core.monotonic(), 0))
  if self.spools[1] then
    for _, spool in ipairs(self.spools) do spool:finish(due) end
    self.delivered = self.tracer:close(0)
    self.tracer:release_spool()
  end
  if self.own_sinks then self.delivered = self.own_sinks:finish() and self.delivered end
  drain_warnings(self)
  self.engine:close()
  return self.delivered
end

return client
