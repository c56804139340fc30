--- Calls functions of the script's from within what records. They can't wait, and what they do isn't recorded: else a
-- value would be recorded in the course of recording it. One that fails costs a warning, the first time.
local errors = require("nexus_assistants.error")

local hooks = {}

local methods = {}
local mt = { __index = methods }

-- What a failure costs, by the hook.
local EFFECTS = { redact = "what it was given is left out", on_span_end = "the span is kept" }
local WAITED = "it must not wait or yield"

--- Makes what calls hooks. `busy` of it is true while one runs.
function hooks.new(scheduler, warn)
  return setmetatable({ scheduler = scheduler, warn = warn, busy = false, warned = {} }, mt)
end

-- In a coroutine of its own, whose yields end up here and not at the scheduler.
local function run(fn, ...)
  local thread = coroutine.create(function(...) return fn(...) end) -- it may be a table that can be called
  local ok, result = coroutine.resume(thread, ...)
  if ok and coroutine.status(thread) ~= "dead" then return false, WAITED end
  return ok, result
end

local function tell(self, name, problem)
  if self.warned[name] then return end
  self.warned[name] = true
  self.warn(name .. " failed, " .. EFFECTS[name] .. ": " .. errors.shown(problem))
end

--- Calls `fn(…)`, which is called `name` in warnings. Returns true and its result; false where it failed, or where it
-- is what another hook does.
function methods:call(name, fn, ...)
  if self.busy then return false end
  self.busy, self.scheduler.barred = true, true
  local ok, result = run(fn, ...)
  self.busy, self.scheduler.barred = false, false
  if not ok then tell(self, name, result) end
  return ok, result
end

return hooks
