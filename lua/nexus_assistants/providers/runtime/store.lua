--- Threads, messages, runs and steps in memory.
--
-- A store has `insert`, `get`, `save`, `list`, `delete_thread` and `has_room`, and holds objects of the wire as they
-- are. `kind` is "threads", "messages", "runs" or "steps"; `parent` is the id of the thread (of messages and runs), of
-- the run (of steps), or "" (of threads). What `get` and `list` return may be changed and takes effect with `save`.
local weight = require("nexus_assistants.providers.runtime.weight")

local store = {}
local store_methods = {}
local store_mt = { __index = store_methods }

local MEBIBYTE = 1024 * 1024
local LIMITS = {
  max_threads = 10000, max_bytes = 256 * MEBIBYTE, -- beyond, the oldest threads go, with all that is theirs
  max_messages = 100000, max_thread_bytes = 64 * MEBIBYTE, -- of one thread, where `has_room` is asked
}

--- An empty store. `limits`, with defaults: `max_threads` and `max_bytes` of all, `max_messages` and
-- `max_thread_bytes` of one thread. `on_drop(thread_id)`, where it is set, is called before an old thread goes.
function store.new(limits)
  local self = {
    threads = {}, order = {}, places = {}, first = 1, last = 0, count = 0, bytes = 0, weights = {},
    collections = { messages = {}, runs = {}, steps = {} },
  }
  for name, default in pairs(LIMITS) do
    self[name] = limits and limits[name] or default
  end
  return setmetatable(self, store_mt)
end

-- --------------------------------------------------------------------------------------------------- threads

local function is_over(self)
  return self.count > self.max_threads or self.bytes > self.max_bytes
end

-- Threads can't be listed, so their order is needed for nothing but which one goes first; the one that is written to
-- (`kept`) stays.
local function drop_oldest(self, kept)
  local position = self.first
  while is_over(self) and position <= self.last do
    local id = self.order[position]
    if id and id ~= kept then
      if self.on_drop then self.on_drop(id) end
      self:delete_thread(id)
    end
    position = position + 1
  end
  while self.first <= self.last and not self.order[self.first] do
    self.first = self.first + 1
  end
end

-- Takes account of what an object of a thread weighs, in the place of what it weighed before.
local function weigh(self, thread_id, object, before)
  local now = weight(object)
  self.weights[thread_id] = self.weights[thread_id] + now - before
  self.bytes = self.bytes + now - before
  drop_oldest(self, thread_id)
  return now
end

local function insert_thread(self, thread)
  local id = thread.id
  self.last, self.count = self.last + 1, self.count + 1
  self.order[self.last], self.places[id] = id, self.last
  self.threads[id], self.weights[id] = { object = thread, weight = 0 }, 0
  self.threads[id].weight = weigh(self, id, thread, 0)
end

local function save_thread(self, thread)
  local entry = self.threads[thread.id]
  if not entry then return end
  entry.object = thread
  entry.weight = weigh(self, thread.id, thread, entry.weight)
end

--- Deletes a thread with all that is its; false where there is none.
function store_methods:delete_thread(id)
  if not self.threads[id] then return false end
  self.order[self.places[id]], self.places[id] = nil, nil
  self.threads[id], self.count = nil, self.count - 1
  self.bytes, self.weights[id] = self.bytes - self.weights[id], nil
  local collections = self.collections
  for _, run in ipairs(collections.runs[id] and collections.runs[id].items or {}) do
    collections.steps[run.id] = nil
  end
  collections.messages[id], collections.runs[id] = nil, nil
  return true
end

--- Whether a thread, or a new one, can take what is about `bytes` large.
function store_methods:has_room(thread_id, bytes)
  local messages = self.collections.messages[thread_id]
  return (self.weights[thread_id] or 0) + bytes <= self.max_thread_bytes
    and (not messages or #messages.items < self.max_messages)
end

-- ------------------------------------------------------------------------------------------------ everything

--- Adds an object; what belongs to a thread that has gone meanwhile is gone with it.
function store_methods:insert(kind, parent, object)
  if kind == "threads" then return insert_thread(self, object) end
  if not self.threads[object.thread_id] then return end
  local collection = self.collections[kind][parent]
  if not collection then
    collection = { items = {}, positions = {}, weights = {} }
    self.collections[kind][parent] = collection
  end
  local position = #collection.items + 1
  collection.items[position], collection.positions[object.id] = object, position
  collection.weights[position] = weigh(self, object.thread_id, object, 0)
end

--- The object with this id, or nil.
function store_methods:get(kind, parent, id)
  if kind == "threads" then return self.threads[id] and self.threads[id].object end
  local collection = self.collections[kind][parent]
  return collection and collection.items[collection.positions[id]]
end

--- Keeps the changes made to an object; one that has gone meanwhile stays gone.
function store_methods:save(kind, parent, object)
  if kind == "threads" then return save_thread(self, object) end
  local collection = self.collections[kind][parent]
  local position = collection and collection.positions[object.id]
  if not position then return end
  collection.items[position] = object
  collection.weights[position] = weigh(self, object.thread_id, object, collection.weights[position])
end

-- The part of a list to look at, as positions; nil and the cursor where that isn't in the list.
local function window(collection, options)
  local low, high = 1, #collection.items
  local above, below = options.after, options.before
  if options.order == "desc" then above, below = below, above end
  if above and not collection.positions[above] then return nil, above end
  if below and not collection.positions[below] then return nil, below end
  if above then low = collection.positions[above] + 1 end
  if below then high = collection.positions[below] - 1 end
  return low, high
end

local function reverse(list)
  for index = 1, math.floor(#list / 2) do
    list[index], list[#list + 1 - index] = list[#list + 1 - index], list[index]
  end
end

-- A page that ends at a cursor is gathered backwards, from the cursor on.
local function gather(collection, low, high, options)
  local upwards = (options.order == "asc") ~= (options.before ~= nil)
  local from, to, by = low, high, 1
  if not upwards then from, to, by = high, low, -1 end
  local found = {}
  for position = from, to, by do
    local object = collection.items[position]
    if not options.where or options.where(object) then
      if #found == options.limit then return found, true end
      found[#found + 1] = object
    end
  end
  return found, false
end

--- A page. `options`: `order` ("asc" or "desc"), `limit` (all where absent), `after`, `before` (ids), `where(object)`.
-- Returns an array and whether there is more; or nil and the id of a cursor that isn't there.
function store_methods:list(kind, parent, options)
  local collection = self.collections[kind][parent] or { items = {}, positions = {} }
  local low, high = window(collection, options)
  if not low then return nil, high end
  local found, more = gather(collection, low, high, options)
  if options.before then reverse(found) end
  return found, more
end

return store
