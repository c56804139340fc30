--- Threads, messages, runs and steps in memory.
--
-- A store has `insert`, `get`, `save`, `list` and `delete_thread`, and holds objects of the wire as they are. `kind` is
-- "threads", "messages", "runs" or "steps"; `parent` is the id of the thread (of messages and runs), of the run (of
-- steps), or "" (of threads). What `get` and `list` return may be changed and takes effect with `save`.
local store = {}
local store_methods = {}
local store_mt = { __index = store_methods }

local MAX_THREADS = 10000

--- An empty store. `max_threads` says when the oldest threads go, with all that is theirs.
function store.new(max_threads)
  return setmetatable({
    max_threads = max_threads or MAX_THREADS, threads = {}, order = {}, places = {}, first = 1, last = 0, count = 0,
    collections = { messages = {}, runs = {}, steps = {} },
  }, store_mt)
end

-- --------------------------------------------------------------------------------------------------- threads

-- Threads can't be listed, so their order is needed for nothing but which one goes first.
local function drop_oldest(self)
  while self.count > self.max_threads do
    local id = self.order[self.first]
    self.first = self.first + 1
    if id then self:delete_thread(id) end
  end
end

local function insert_thread(self, thread)
  self.last, self.count = self.last + 1, self.count + 1
  self.order[self.last], self.places[thread.id], self.threads[thread.id] = thread.id, self.last, thread
  drop_oldest(self)
end

--- Deletes a thread with all that is its; false where there is none.
function store_methods:delete_thread(id)
  if not self.threads[id] then return false end
  self.order[self.places[id]], self.places[id] = nil, nil
  self.threads[id], self.count = nil, self.count - 1
  local collections = self.collections
  for _, run in ipairs(collections.runs[id] and collections.runs[id].items or {}) do
    collections.steps[run.id] = nil
  end
  collections.messages[id], collections.runs[id] = nil, nil
  return true
end

-- ------------------------------------------------------------------------------------------------ everything

--- Adds an object.
function store_methods:insert(kind, parent, object)
  if kind == "threads" then return insert_thread(self, object) end
  local collection = self.collections[kind][parent]
  if not collection then
    collection = { items = {}, positions = {} }
    self.collections[kind][parent] = collection
  end
  collection.items[#collection.items + 1] = object
  collection.positions[object.id] = #collection.items
end

--- The object with this id, or nil.
function store_methods:get(kind, parent, id)
  if kind == "threads" then return self.threads[id] end
  local collection = self.collections[kind][parent]
  return collection and collection.items[collection.positions[id]]
end

--- Keeps the changes made to an object; one that has gone meanwhile stays gone.
function store_methods:save(kind, parent, object)
  if kind == "threads" then
    if self.threads[object.id] then self.threads[object.id] = object end
    return
  end
  local collection = self.collections[kind][parent]
  local position = collection and collection.positions[object.id]
  if position then collection.items[position] = object end
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
