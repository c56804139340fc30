--- The Assistants semantics, kept here: a store of threads, messages, runs and steps, and a model that thinks.
local actions = require("nexus_assistants.providers.runtime.actions")
local assistants = require("nexus_assistants.providers.runtime.assistants")
local attachments = require("nexus_assistants.providers.runtime.attachments")
local checks = require("nexus_assistants.providers.runtime.checks")
local copy = require("nexus_assistants.providers.runtime.copy")
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local failure = require("nexus_assistants.providers.runtime.failure")
local files = require("nexus_assistants.providers.runtime.files")
local ids = require("nexus_assistants.providers.runtime.id")
local json = require("nexus_assistants.json")
local machines = require("nexus_assistants.providers.runtime.machine")
local operations = require("nexus_assistants.operations")
local parameters = require("nexus_assistants.providers.runtime.parameters")
local queues = require("nexus_assistants.providers.runtime.event_queue")
local shown = require("nexus_assistants.providers.runtime.shown")
local sources = require("nexus_assistants.providers.runtime.source")
local stores = require("nexus_assistants.providers.runtime.store")
local values = require("nexus_assistants.values")
local vector_stores = require("nexus_assistants.providers.runtime.files.vector_stores")

local runtime = {}
local runtime_methods = {}
local runtime_mt = { __index = runtime_methods }

-- What comes in is nested anew where it is shown (in a list, in a chat), so it may be less deep than what goes out.
local MAX_BODY_DEPTH = 100

local THINKING_LIMIT = 10

-- Files and vector stores, which live by the machine's timers.
local function add_files(self, options)
  local machine = self.machine
  local settings = {
    clock = self.clock, new_id = self.new_id, delay = machine.delay, max_file_bytes = options.max_file_bytes,
    max_files_bytes = options.max_files_bytes,
    after = function(seconds, fire) return machine.timers:add(machine.monotonic() + seconds, fire) end,
    cancel = function(timer) machine.timers:cancel(timer) end,
  }
  self.files = files.new(settings)
  settings.files = self.files
  self.vector_stores = vector_stores.new(settings)
  machine.vector_stores = self.vector_stores
  machine.assistant_of = function(id) return assistants.find(self, id) end
end

-- What the runtime needs of who hosts it, see `runtime.new`.
local function machine_settings(self, options)
  local scheduler = options.scheduler
  return {
    store = self.store, clock = self.clock, new_id = self.new_id, delay = options.delay or 0,
    thinking_limit = options.thinking_limit or THINKING_LIMIT,
    monotonic = options.monotonic or options.clock or core.monotonic,
    model = options.model or require("nexus_assistants.models.script").echo(),
    tells_hints = not options.is_served, observe = options.observe,
    on_change = scheduler and function(id) scheduler:notify(id) end,
    spawn = scheduler and function(fn) return scheduler:spawn(fn) end,
    sleep = scheduler and function(seconds) return scheduler:sleep(seconds) end,
    try = scheduler and function(...) return scheduler:protected(...) end,
  }
end

-- A store that fails is the runtime's trouble, not the caller's mistake. `try` is pcall, or what lets `fn` wait.
local function safely(try, fn, ...)
  local ok, result, err = try(fn, ...)
  if ok then return result, err end
  if not (errors.is(result) and result.kind == "storage") then error(result, 0) end
  result.status, result.type, result.code = 500, "server_error", result.code or "server_error"
  return nil, result
end

--- Makes a runtime. `options`:
--   model         who thinks: `model:think(messages, tools, run, context)`, see `models` in docs/architecture.md.
--                 Default: repeats the question (models/script.lua tells how to make one of a Lua function)
--   model_name    what runs have as their model where they name none, in the place of their assistant's
--   assistant_id  the assistant that is built in; default asst_local
--   scheduler     what models that wait, and sources that `open` returns, wait by; without one these don't wait
--   observe       what is told of each question to the model, see `machine.new`
--   is_served     whoever sees its runs isn't who set it up: why one failed is told without what to do about it here
--   api           performs what is passed on (providers/assistants)
--   groups        by the first word of an operation's name: "api" where it is passed on, or a text that says why it
--                 isn't there; anything else is performed here
--   delay         seconds a model takes before it answers; default 0
--   thinking_limit seconds a model may compute without yielding, or its run fails; default 10. Keeping watch makes a
--                 model's Lua about half as fast; math.huge does without
--   clock()       Unix seconds, for what objects say; default the wall clock
--   monotonic()   seconds that only go forward, for what is due when; default `clock` where that is given, else the
--                 monotonic clock
--   new_id(prefix) makes ids; default random
--   store         default: in memory (store.lua), within `max_threads`, `max_bytes`, `max_messages` of a thread and
--                 `max_thread_bytes`
--   max_file_bytes, max_files_bytes  what a file, and all files and vector stores together, may take: 64, 256 MiB
-- Returns it; or nil and an error where the store fails.
function runtime.new(options)
  local self = {
    clock = options.clock or core.wall, new_id = options.new_id or ids.new, scheduler = options.scheduler,
    store = options.store or stores.new(options), api = options.api, groups = options.groups or {},
    model_name = options.model_name,
  }
  local _, err = safely(pcall, assistants.build_in, self, options.assistant_id or "asst_local", options.model_name)
  if err then return nil, err end
  self.machine = machines.new(machine_settings(self, options))
  add_files(self, options)
  self.store.on_drop = function(thread_id)
    local last = self.store:list("runs", thread_id, { order = "desc", limit = 1 })[1]
    if last then self.machine:abandon(last) end
  end
  return setmetatable(self, runtime_mt)
end

-- JSON's 1e999 is read as infinity, which can't be written: kept, it would spoil each answer that shows it.
local function is_writable(value)
  if type(value) == "number" then return values.is_finite(value) end
  if type(value) ~= "table" then return true end
  for _, member in pairs(value) do
    if not is_writable(member) then return false end
  end
  return true
end

local function body_of(params)
  local copied, body = pcall(copy, params.body or {}, MAX_BODY_DEPTH)
  if not copied then return failure.bad_request("Invalid request body: it is " .. body .. ".") end
  if is_writable(body) then return body end
  return failure.bad_request("Invalid request body: it holds a number that isn't finite.")
end

-- ---------------------------------------------------------------------------------------------- what is passed on

local NO_API = "the model here is a script: there is no API behind it that could be asked"

-- What belongs to the API behind a model goes there.
local function group_of(self, operation)
  if operation.direct then return self.api and "api" or NO_API end
  return self.groups[operation.name:match("^[%w_]+")]
end

local function not_here(operation, why)
  return nil, errors.new({ kind = "invalid", status = 400, operation = operation.name, message = why,
    type = "invalid_request_error", code = "unsupported_operation" })
end

--- Whether an operation is one that is performed here, or passed on.
function runtime_methods:performs(operation)
  return actions[operation.name] ~= nil or group_of(self, operation) == "api"
end

local CREATE_STORE = operations["vector_stores.create"]

-- Makes the vector stores at the API that resources describe instead of naming them.
local function make_described(self, resources, options)
  local search = type(resources) == "table" and checks.given(resources.file_search)
  local described = type(search) == "table" and checks.given(search.vector_stores)
  if type(described) ~= "table" or not described[1] then return true end
  local why = group_of(self, CREATE_STORE)
  if why ~= "api" then return not_here(CREATE_STORE, why) end
  local made, err = self.api:perform(CREATE_STORE, { body = described[1], options = options })
  if not made then return nil, err end
  search.vector_stores, search.vector_store_ids = nil, json.array({ made.id })
  return true
end

local function make_all_described(self, body, options)
  if group_of(self, CREATE_STORE) == nil then return true end
  local ok, err = make_described(self, body.tool_resources, options)
  if ok and type(body.thread) == "table" then ok, err = make_described(self, body.thread.tool_resources, options) end
  return ok, err
end

-- Does what must be waited for before an operation is performed in one piece.
local function make_ready(self, operation, path, body, options)
  local ok, err = make_all_described(self, body, options)
  if ok then ok, err = attachments.add(self, operation, path, body, options) end
  return ok, err
end

-- -------------------------------------------------------------------------------------------------- operations

local function perform_action(self, operation, path, body, query, queue, span)
  if path.thread_id then self.store:lock_thread(path.thread_id) end
  return actions[operation.name](self, path, body, query, queue, span)
end

-- What only reads takes no lock; where it has something to settle, that is one piece by itself.
local function act_in_store(self, operation, ...)
  if operation.method == "GET" then return actions[operation.name](self, ...) end
  return self.machine:together(perform_action, self, operation, ...)
end

-- Does what an operation does, whose body is a copy; `queue` takes the events, where they are wanted.
local function act(self, operation, params, body, queue)
  local path = params.path or {}
  local bodies = self.machine.model.hosts_tools and parameters.hosted_bodies or parameters.bodies
  local fits, err = checks.body(body, bodies[operation.name] or {})
  if fits then fits, err = safely(self.machine.try, make_ready, self, operation, path, body, params.options) end
  if not fits then return nil, err end
  return safely(pcall, act_in_store, self, operation, path, body, params.query or {}, queue, params.span)
end

-- What the action takes; nil and an error where there is none or the body is none.
local function prepare(self, operation, params)
  if self.is_closed then return nil, errors.new({ kind = "closed", message = "the client is closed" }) end
  local why = group_of(self, operation)
  if why then return not_here(operation, why) end
  if not actions[operation.name] then return not_here(operation, operation.name .. " isn't there") end
  self:catch_up()
  return body_of(params)
end

--- Performs an operation (an entry of operations.lua). `params`: `path`, `query`, `body`, and `span`, where what comes
-- of it is traced.
-- Returns the result, a table of the caller's own, or a string where it is a file's content; or nil and an error with
-- the protocol's status, code, type, param.
function runtime_methods:perform(operation, params)
  if group_of(self, operation) == "api" then return self.api:perform(operation, params) end
  local body, err = prepare(self, operation, params)
  if not body then return nil, err end
  if operation.streams and body.stream == true then
    return failure.bad_request("One answer can't be a stream: leave 'stream' out or set it to false.", "stream")
  end
  local result
  result, err = act(self, operation, params, body)
  if not result then return nil, err end
  return shown(result)
end

--- Opens an operation whose answer is a stream of events: `body.stream` is true. Returns a source (source.lua), or nil
-- and an error. Where the operation doesn't stream or isn't asked to, the answer is the one event there is.
function runtime_methods:open(operation, params)
  if group_of(self, operation) == "api" then return self.api:open(operation, params) end
  local body, err = prepare(self, operation, params)
  if not body then return nil, err end
  local queue = queues.new(params.query)
  local streams = operation.streams and body.stream == true
  local result
  result, err = act(self, operation, params, body, streams and queue or nil)
  if not result then return nil, err end
  if not streams then
    queue:push(tostring(result.object), result)
    queue:finish()
  end
  return sources.new(self, queue)
end

-- ----------------------------------------------------------------------------------------------------- driving

--- Moves runs on as far as the time allows, and until `is_late()`, where that is given, says so; call it in the host's
-- loop. Returns the seconds until it has something to do again, or nil.
function runtime_methods:advance(is_late)
  return self.machine:advance(is_late)
end

--- Does all that is due, before somebody looks; but not in a task: who drives that moves runs on as well, and keeps to
-- the host's budget.
function runtime_methods:catch_up()
  if not (self.scheduler and self.scheduler:running_task()) then self:advance() end
end

--- Seconds until it has something to do by itself, or nil.
function runtime_methods:idle_time()
  return self.machine:idle_time()
end

--- A function that tells whether a run's status has changed since, for who waits by `scheduler:wait_until(…, run.id)`;
-- nil where that happens elsewhere.
function runtime_methods:watch(run)
  return self.machine:watch(run.id)
end

--- Ends it: runs that are under way fail, and the store is closed.
function runtime_methods:close()
  self.is_closed = true
  self.machine:close()
  self.store:close()
end

return runtime
