--- Sinks that are functions of the script's: each has a queue, bounded, and is given what is there in batches, one at a
-- time and each in a task of its own, in which it may wait.
local copies = require("nexus_assistants.copies")
local errors = require("nexus_assistants.error")

local lua_sinks = {}

local methods = {}
local mt = { __index = methods }

local BATCH = 256
local BETWEEN = 8 -- tables that are made at one go: the budget of a frame counts between two
local MOST, MOST_BYTES = 8192, 32 * 1024 * 1024

--- `parts`: functions, an array; scheduler; warn; enter(), which has what the running task does not traced; max_spans
-- and max_bytes of a queue, or nil.
function lua_sinks.new(parts)
  local self = setmetatable({
    scheduler = parts.scheduler, warn = parts.warn, enter = parts.enter, most = parts.max_spans or MOST,
    most_bytes = parts.max_bytes or MOST_BYTES, dropped = 0, failed = 0, queues = {},
  }, mt)
  for index, fn in ipairs(parts.functions) do
    self.queues[index] = { call = fn, first = 1, last = 0, bytes = 0, number = index }
  end
  return self
end

-- ---------------------------------------------------------------------------------------------------------- queues

local function take(queue)
  local entry = queue[queue.first]
  queue[queue.first] = nil
  queue.first, queue.bytes = queue.first + 1, queue.bytes - entry.size
  if queue.first > queue.last then queue.first, queue.last = 1, 0 end
  return entry.copy
end

local function count(queue)
  return queue.last - queue.first + 1
end

local function put(queue, copy, size)
  queue.last, queue.bytes = queue.last + 1, queue.bytes + size
  queue[queue.last] = { copy = copy, size = size }
end

-- ------------------------------------------------------------------------------------------------------ delivering

local function next_batch(self, queue)
  local batch = {}
  while count(queue) > 0 and #batch < BATCH do
    batch[#batch + 1] = copies.table_of(take(queue))
    if #batch % BETWEEN == 0 then self.scheduler:breathe() end
  end
  return batch
end

local function note_failure(self, queue, batch, problem)
  self.failed = self.failed + #batch
  if queue.warned then return end
  queue.warned = true
  self.warn(("the sink %d failed, what it was given is lost: %s"):format(queue.number, errors.shown(problem)))
end

-- In a task, which ends with an error where the sink raises.
local function call(self, queue, batch)
  self.enter()
  queue.call(batch)
  return true
end

local function deliver(self, queue)
  while count(queue) > 0 do
    local batch = next_batch(self, queue)
    queue.given = #batch
    local task = self.scheduler:spawn(call, self, queue, batch)
    task.background = true
    local done, problem = task:wait()
    queue.given = 0
    if not done then note_failure(self, queue, batch, problem) end
  end
  queue.worker = nil
end

local function wake(self, queue)
  if queue.worker then return end
  queue.worker = self.scheduler:spawn(deliver, self, queue)
  queue.worker.background = true
end

--- Queues what has ended for all sinks; where a queue is full it is dropped there.
function methods:add(copy)
  local size = copies.size(copy)
  for _, queue in ipairs(self.queues) do
    if count(queue) < self.most and queue.bytes + size <= self.most_bytes then
      put(queue, copy, size)
      wake(self, queue)
    else
      self.dropped = self.dropped + 1
    end
  end
end

--- For the end of a client: counts as dropped what no sink was given, and what one is still at. Returns whether every
-- sink has had everything.
function methods:finish()
  for _, queue in ipairs(self.queues) do
    self.dropped = self.dropped + count(queue) + (queue.given or 0)
    queue.first, queue.last, queue.given = 1, 0, 0
  end
  return self.dropped + self.failed == 0
end

return lua_sinks
