--- The Assistants semantics, kept here: a store of threads, messages, runs and steps, and a model that thinks.
local actions = require("nexus_assistants.providers.runtime.actions")
local checks = require("nexus_assistants.providers.runtime.checks")
local copy = require("nexus_assistants.providers.runtime.copy")
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local failure = require("nexus_assistants.providers.runtime.failure")
local ids = require("nexus_assistants.providers.runtime.id")
local json = require("nexus_assistants.json")
local machines = require("nexus_assistants.providers.runtime.machine")
local parameters = require("nexus_assistants.providers.runtime.parameters")
local stores = require("nexus_assistants.providers.runtime.store")

local runtime = {}
local runtime_methods = {}
local runtime_mt = { __index = runtime_methods }

-- What comes in is nested anew where it is shown (in a list, in a chat), so it may be less deep than what goes out.
local MAX_BODY_DEPTH = 100

local THINKING_LIMIT = 10

local function default_assistant(id)
  return { id = id, model = "local", instructions = json.null, tools = json.array() }
end

--- Makes a runtime. `options`:
--   model         who thinks: `model:think(messages, tools, run)` → `{text?, tool_calls?, usage?}`, or nil, error.
--                 It may yield: it is resumed at a later `advance`, after the number of seconds it yielded.
--                 Default: repeats the question (models/script.lua tells how to make one of a Lua function)
--   assistant_id  the one assistant there is; default asst_local
--   delay         seconds a model takes before it answers; default 0
--   thinking_limit seconds a model may compute without yielding, or its run fails; default 10. Keeping watch makes a
--                 model's Lua about half as fast; math.huge does without
--   clock()       Unix seconds, for what objects say; default the wall clock
--   monotonic()   seconds that only go forward, for what is due when; default `clock` where that is given, else the
--                 monotonic clock
--   new_id(prefix) makes ids; default random
--   store         default: in memory (store.lua), within `max_threads`, `max_bytes`, `max_messages` of a thread and
--                 `max_thread_bytes`
function runtime.new(options)
  local assistant = default_assistant(options.assistant_id or "asst_local")
  local self = {
    clock = options.clock or core.wall, new_id = options.new_id or ids.new,
    store = options.store or stores.new(options), assistants = { [assistant.id] = assistant },
  }
  self.machine = machines.new({
    store = self.store, clock = self.clock, new_id = self.new_id, delay = options.delay or 0,
    thinking_limit = options.thinking_limit or THINKING_LIMIT,
    monotonic = options.monotonic or options.clock or core.monotonic,
    model = options.model or require("nexus_assistants.models.script").echo(),
  })
  self.store.on_drop = function(thread_id)
    local last = self.store:list("runs", thread_id, { order = "desc", limit = 1 })[1]
    if last then self.machine:abandon(last) end
  end
  return setmetatable(self, runtime_mt)
end

local function body_of(params)
  local copied, body = pcall(copy, params.body or {}, MAX_BODY_DEPTH)
  if not copied then return failure.bad_request("Invalid request body: it is " .. body .. ".") end
  if body.stream == true then
    return failure.bad_request("Streaming isn't there yet: leave 'stream' out or set it to false.", "stream")
  end
  return body
end

--- Performs an operation (an entry of operations.lua). `params`: `path`, `query`, `body`.
-- Returns the result, a table of the caller's own; or nil and an error with the protocol's status, code, type, param.
function runtime_methods:perform(operation, params)
  local act = actions[operation.name]
  if not act then
    return nil, errors.new({ kind = "invalid", status = 400, message = operation.name .. " isn't there yet" })
  end
  self:advance()
  local body, err = body_of(params)
  if not body then return nil, err end
  local fits
  fits, err = checks.body(body, parameters.bodies[operation.name] or {})
  if not fits then return nil, err end
  local result
  result, err = act(self, params.path or {}, body, params.query or {})
  if not result then return nil, err end
  return copy(result)
end

--- Moves runs on as far as the time allows; call it in the host's loop. Returns the seconds until it has something to
-- do again, or nil.
function runtime_methods:advance()
  return self.machine:advance()
end

return runtime
