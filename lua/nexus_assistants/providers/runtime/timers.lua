--- Timers in a binary heap: what is due first is on top. What is being fired waits in a queue of its own.
local timers = {}
local timers_methods = {}
local timers_mt = { __index = timers_methods }

--- An empty set of timers.
function timers.new()
  return setmetatable({ heap = {}, queue = {}, first = 1, last = 0 }, timers_mt)
end

local function place(heap, index, timer)
  heap[index], timer.index = timer, index
end

local function rise(heap, index)
  local timer = heap[index]
  while index > 1 do
    local above = (index - index % 2) / 2
    if heap[above].due <= timer.due then break end
    place(heap, index, heap[above])
    index = above
  end
  place(heap, index, timer)
end

local function sink(heap, index)
  local timer, count = heap[index], #heap
  while 2 * index <= count do
    local below = 2 * index
    if below < count and heap[below + 1].due < heap[below].due then below = below + 1 end
    if timer.due <= heap[below].due then break end
    place(heap, index, heap[below])
    index = below
  end
  place(heap, index, timer)
end

--- Calls `fire` once `due` has come; returns what `cancel` takes.
function timers_methods:add(due, fire)
  local timer = { due = due, fire = fire }
  place(self.heap, #self.heap + 1, timer)
  rise(self.heap, timer.index)
  return timer
end

local function take_out(heap, timer)
  local index = timer.index
  timer.index = nil
  local last = table.remove(heap)
  if last == timer then return end
  place(heap, index, last)
  rise(heap, index)
  sink(heap, last.index)
end

--- Forgets a timer, also where `fire` has come to others that were due with it; one that has fired is left alone, and
-- so is nil.
function timers_methods:cancel(timer)
  if not timer then return end
  timer.cancelled = true
  if timer.index then take_out(self.heap, timer) end
end

-- The next of those that are being fired, or nil.
local function head(self)
  while self.first <= self.last do
    local timer = self.queue[self.first]
    if not timer.cancelled then return timer end
    self.queue[self.first], self.first = nil, self.first + 1
  end
end

--- When the next one is due, or nil.
function timers_methods:next_due()
  local first = head(self) or self.heap[1]
  return first and first.due
end

local function enqueue_due(self, now)
  local heap = self.heap
  while heap[1] and heap[1].due <= now do
    local timer = heap[1]
    take_out(heap, timer)
    self.last = self.last + 1
    self.queue[self.last] = timer
  end
end

--- Fires what is due at `now`, earliest first; timers added meanwhile wait for the next time. Where one raises, or
-- `is_late()`, where that is given, says so, those behind it are fired the next time.
function timers_methods:fire(now, is_late)
  enqueue_due(self, now)
  local timer = head(self)
  while timer do
    self.queue[self.first], self.first = nil, self.first + 1
    timer.fire()
    if is_late and is_late() then return end
    timer = head(self)
  end
end

return timers
