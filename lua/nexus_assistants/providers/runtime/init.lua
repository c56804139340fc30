--- The Assistants semantics, kept here: a store of threads, messages, runs and steps, and a model that thinks.
local actions = require("nexus_assistants.providers.runtime.actions")
local assistants = require("nexus_assistants.providers.runtime.assistants")
local checks = require("nexus_assistants.providers.runtime.checks")
local copy = require("nexus_assistants.providers.runtime.copy")
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local failure = require("nexus_assistants.providers.runtime.failure")
local files = require("nexus_assistants.providers.runtime.files")
local ids = require("nexus_assistants.providers.runtime.id")
local machines = require("nexus_assistants.providers.runtime.machine")
local parameters = require("nexus_assistants.providers.runtime.parameters")
local queues = require("nexus_assistants.providers.runtime.event_queue")
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

--- Makes a runtime. `options`:
--   model         who thinks: `model:think(messages, tools, run)` → `{text?, tool_calls?, usage?}`, or nil, error.
--                 It may yield: it is resumed at a later `advance`, after the number of seconds it yielded; or
--                 `{text = piece, wait = seconds}`, a piece of its text for who streams the run. What it returns then
--                 is the rest, and may be nothing. A returned text may be a list of pieces, too.
--                 Default: repeats the question (models/script.lua tells how to make one of a Lua function)
--   assistant_id  the assistant that is built in; default asst_local
--   wait(seconds) waits in process, for sources that `open` returns: true, or nil and an error; by default they don't
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
function runtime.new(options)
  local self = {
    clock = options.clock or core.wall, new_id = options.new_id or ids.new,
    store = options.store or stores.new(options), wait = options.wait,
  }
  assistants.build_in(self, options.assistant_id or "asst_local")
  self.machine = machines.new({
    store = self.store, clock = self.clock, new_id = self.new_id, delay = options.delay or 0,
    thinking_limit = options.thinking_limit or THINKING_LIMIT,
    monotonic = options.monotonic or options.clock or core.monotonic,
    model = options.model or require("nexus_assistants.models.script").echo(),
  })
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

-- Does what an operation does, whose body was checked to be a copy; `queue` takes the events, where they are wanted.
local function act(self, operation, params, body, queue)
  local fits, err = checks.body(body, parameters.bodies[operation.name] or {})
  if not fits then return nil, err end
  local result
  result, err = actions[operation.name](self, params.path or {}, body, params.query or {}, queue)
  if not result then return nil, err end
  return result
end

-- What the action takes; nil and an error where there is none or the body is none.
local function prepare(self, operation, params)
  if not actions[operation.name] then
    return nil, errors.new({ kind = "invalid", status = 400, message = operation.name .. " isn't there yet" })
  end
  self:advance()
  return body_of(params)
end

--- Performs an operation (an entry of operations.lua). `params`: `path`, `query`, `body`.
-- Returns the result, a table of the caller's own, or a string where it is a file's content; or nil and an error with
-- the protocol's status, code, type, param.
function runtime_methods:perform(operation, params)
  local body, err = prepare(self, operation, params)
  if not body then return nil, err end
  if operation.streams and body.stream == true then
    return failure.bad_request("One answer can't be a stream: leave 'stream' out or set it to false.", "stream")
  end
  local result
  result, err = act(self, operation, params, body)
  if not result then return nil, err end
  return copy(result)
end

--- Opens an operation whose answer is a stream of events: `body.stream` is true. Returns a source (source.lua), or nil
-- and an error. Where the operation doesn't stream or isn't asked to, the answer is the one event there is.
function runtime_methods:open(operation, params)
  local body, err = prepare(self, operation, params)
  if not body then return nil, err end
  local queue = queues.new()
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

--- Moves runs on as far as the time allows; call it in the host's loop. Returns the seconds until it has something to
-- do again, or nil.
function runtime_methods:advance()
  return self.machine:advance()
end

return runtime
