--- Assistants, threads, messages, runs and steps in memory.
--
-- A store has `insert`, `get`, `save`, `delete`, `list`, `delete_thread`, `has_room`, `atomically`, `lock_thread`,
-- `is_alive` and `close`, `owner` and `shared`, and holds objects of the wire as they are, with what the runtime notes
-- in their member `private`. `kind` is "assistants", "threads", "messages", "runs" or "steps"; `parent` is the id of
-- the thread (of messages and runs), of the run (of steps), or "" (of threads and assistants). What `get` and `list`
-- return may be changed and takes effect with `save`.
local weight = require("nexus_assistants.providers.runtime.weight")

local store = {}
local store_methods = {}
local store_mt = { __index = store_methods }

local MEBIBYTE = 1024 * 1024
local LIMITS = {
  max_threads = 10000, max_bytes = 256 * MEBIBYTE, -- beyond, the oldest threads go, with all that is theirs
  max_messages = 100000, max_thread_bytes = 64 * MEBIBYTE, -- of one thread, where `has_room` is asked
  max_assistants = 10000, -- which may take `max_thread_bytes`, too
}

-- What belongs to no thread is accounted to this.
local NO_THREAD = ""
-- A list with fewer gaps isn't worth the closing of them.
local LEAST_GAPS = 32

store.LIMITS = LIMITS

--- An empty store. `limits`, with defaults: `max_threads` and `max_bytes` of all, `max_messages` and
-- `max_thread_bytes` of one thread, `max_assistants`. `on_drop(thread_id)`, where it is set, is called before an old
-- thread goes.
function store.new(limits)
  local self = {
    owner = "memory", shared = false,
    threads = {}, order = {}, places = {}, first = 1, last = 0, count = 0,
    bytes = 0, weights = { [NO_THREAD] = 0 },
    collections = { assistants = {}, messages = {}, runs = {}, steps = {} },
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

--- Whether a thread, or a new one, can take what is about `bytes` large and has `more` messages in it; or the
-- assistants, where `thread_id` is "", so many more of them.
function store_methods:has_room(thread_id, bytes, more)
  if (self.weights[thread_id] or 0) + bytes > self.max_thread_bytes then return false end
  local kind, most = "messages", self.max_messages
  if thread_id == NO_THREAD then kind, most = "assistants", self.max_assistants end
  local collection = self.collections[kind][thread_id]
  local count = collection and #collection.items - collection.gaps or 0
  return more == 0 or count + more <= most
end

-- ------------------------------------------------------------------------------------------------ everything

-- Whose account an object is on; nil where its thread has gone.
local function account_of(self, object)
  local thread_id = object.thread_id or NO_THREAD
  return self.weights[thread_id] and thread_id
end

--- Adds an object; what belongs to a thread that has gone meanwhile is gone with it.
function store_methods:insert(kind, parent, object)
  if kind == "threads" then return insert_thread(self, object) end
  local account = account_of(self, object)
  if not account then return end
  local collection = self.collections[kind][parent]
  if not collection then
    collection = { items = {}, positions = {}, weights = {}, gaps = 0 }
    self.collections[kind][parent] = collection
  end
  local position = #collection.items + 1
  collection.items[position], collection.positions[object.id] = object, position
  collection.weights[position] = weigh(self, account, object, 0)
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
  collection.weights[position] = weigh(self, account_of(self, object), object, collection.weights[position])
end

local function close_gaps(collection)
  local items, weights, positions, kept = collection.items, collection.weights, collection.positions, 0
  for position = 1, #items do
    local object, weighs = items[position], weights[position]
    items[position], weights[position] = nil, nil
    if object then
      kept = kept + 1
      items[kept], weights[kept], positions[object.id] = object, weighs, kept
    end
  end
  collection.gaps = 0
end

--- Takes an assistant or a message away; false where there is none. It leaves a gap, and gaps are closed once they are
-- most of the list, so that who empties a long one doesn't pay for its length each time.
function store_methods:delete(kind, parent, id)
  local collection = self.collections[kind][parent]
  local position = collection and collection.positions[id]
  if not position then return false end
  local account = account_of(self, collection.items[position])
  self.weights[account] = self.weights[account] - collection.weights[position]
  self.bytes = self.bytes - collection.weights[position]
  collection.items[position], collection.weights[position], collection.positions[id] = false, 0, nil
  collection.gaps = collection.gaps + 1
  if collection.gaps > math.max(LEAST_GAPS, #collection.items / 2) then close_gaps(collection) end
  return true
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
    if object and (not options.run_id or object.run_id == options.run_id) then
      if #found == options.limit then return found, true end
      found[#found + 1] = object
    end
  end
  return found, false
end

--- Calls `fn(…)`, which makes changes that belong together. In memory nothing is taken back where it raises.
function store_methods.atomically(_, fn, ...)
  return fn(...)
end

--- Keeps others who share the store from a thread until `atomically` returns; here nobody does.
function store_methods.lock_thread() end

--- Whether the process that opened a store as this owner still has it open.
function store_methods:is_alive(owner)
  return owner == self.owner
end

--- Ends the use of the store.
function store_methods.close() end

--- A page. `options`: `order` ("asc" or "desc"), `limit` (all where absent), `after`, `before` (ids), and for messages
-- `run_id`. Returns an array and whether there is more; or nil and the id of a cursor that isn't there.
function store_methods:list(kind, parent, options)
  local collection = self.collections[kind][parent] or { items = {}, positions = {} }
  local low, high = window(collection, options)
  if not low then return nil, high end
  local found, more = gather(collection, low, high, options)
  if options.before then reverse(found) end
  return found, more
end

return store
