--- An engine whose time is a variable and whose calls end when a spec says so: for what must be tested to the
-- microsecond, or in an order that a network would not keep.
local fake = {}

local engine_methods = {}
local engine_mt = { __index = engine_methods }
local call_methods = {}
local call_mt = { __index = call_methods }

--- An engine at time 0. `now` is its clock, in seconds; waiting moves it on.
function fake.engine()
  return setmetatable({ now = 0, events = {}, planned = {}, steps = 0, budgets = {} }, engine_mt)
end

--- Its clock as a function.
function engine_methods:clock()
  return function() return self.now end
end

--- A call that ends `seconds` from now with a result, or never where that is nil.
function engine_methods:call(seconds, response, err)
  local call = setmetatable({ engine = self, response = response, err = err }, call_mt)
  if seconds then self.planned[#self.planned + 1] = { at = self.now + seconds, call = call } end
  return call
end

local function earliest(planned)
  local found
  for index, plan in ipairs(planned) do
    if not found or plan.at < planned[found].at then found = index end
  end
  return found
end

local function end_due(self)
  local index = earliest(self.planned)
  while index and self.planned[index].at <= self.now do
    local plan = table.remove(self.planned, index)
    plan.call:finish()
    index = earliest(self.planned)
  end
end

function engine_methods:step(timeout, budget)
  self.steps = self.steps + 1
  self.budgets[#self.budgets + 1] = budget
  end_due(self)
  if #self.events > 0 then return end
  local index = earliest(self.planned)
  local at = index and self.planned[index].at
  self.now = math.min(at or math.huge, self.now + timeout)
  end_due(self)
end

function engine_methods:next()
  local event = table.remove(self.events, 1)
  if event then return event[1], event[2] end
end

function engine_methods:timeout()
  local index = earliest(self.planned)
  return index and math.max(self.planned[index].at - self.now, 0)
end

--- Queues a warning.
function engine_methods:warn(text)
  self.events[#self.events + 1] = { "warning", text }
end

--- Ends a call.
function call_methods:finish(err)
  if self.over then return end
  self.over, self.err = true, err or self.err
  self.engine.events[#self.engine.events + 1] = { "done", self }
end

function call_methods:done()
  return self.over == true
end

function call_methods:cancel()
  self:finish({ kind = "cancelled", message = "cancelled" })
end

function call_methods:result()
  return self.response, self.err
end

return fake
