--- Timers in a binary heap: what is due first is on top.
local timers = {}
local timers_methods = {}
local timers_mt = { __index = timers_methods }

--- An empty set of timers.
function timers.new()
  return setmetatable({ heap = {} }, timers_mt)
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

--- Forgets a timer; one that has fired or was cancelled is left alone.
function timers_methods:cancel(timer)
  local heap, index = self.heap, timer.index
  if not index then return end
  timer.index = nil
  local last = table.remove(heap)
  if last == timer then return end
  place(heap, index, last)
  rise(heap, index)
  sink(heap, last.index)
end

--- When the next one is due, or nil.
function timers_methods:next_due()
  local first = self.heap[1]
  return first and first.due
end

--- Fires what is due at `now`, earliest first; timers added meanwhile wait for the next time.
function timers_methods:fire(now)
  local due = {}
  while self.heap[1] and self.heap[1].due <= now do
    due[#due + 1] = self.heap[1]
    self:cancel(self.heap[1])
  end
  for _, timer in ipairs(due) do
    timer.fire()
  end
end

return timers
