--- Records in the order they came, from which any may be taken out; and a budget of bytes that several of them share.
--
-- A record is a table with `id` and `wire`, the object as the API shows it; `weight` is what it takes of the budget.
local weight = require("nexus_assistants.providers.runtime.weight")

local collection = {}
local collection_methods = {}
local collection_mt = { __index = collection_methods }
local budget_methods = {}
local budget_mt = { __index = budget_methods }

-- So many places may be empty before they are closed up.
local FEW = 64

--- A budget of `most` bytes. Who adds something asks it before; nothing is refused later.
function collection.budget(most)
  return setmetatable({ held = 0, most = most }, budget_mt)
end

--- Whether so many bytes more would fit.
function budget_methods:has_room(bytes)
  return self.held + bytes <= self.most
end

--- Takes bytes, or gives them back where the number is negative.
function budget_methods:hold(bytes)
  self.held = self.held + bytes
end

--- An empty collection, which takes what it needs from `budget`.
function collection.new(budget)
  return setmetatable({ items = {}, positions = {}, last = 0, count = 0, budget = budget }, collection_mt)
end

--- Adds a record; `extra` is what it weighs beside its wire object.
function collection_methods:insert(record, extra)
  self.last, self.count = self.last + 1, self.count + 1
  self.items[self.last], self.positions[record.id] = record, self.last
  record.extra, record.weight = extra or 0, weight(record.wire) + (extra or 0)
  self.budget:hold(record.weight)
  return record
end

--- Takes account of changes to a record.
function collection_methods:save(record, extra)
  record.extra = extra or record.extra
  local now = weight(record.wire) + record.extra
  self.budget:hold(now - record.weight)
  record.weight = now
end

--- The record with this id, or nil.
function collection_methods:get(id)
  local position = self.positions[id]
  return position and self.items[position]
end

local function close_up(self)
  local items, positions, last = {}, {}, 0
  for position = 1, self.last do
    local record = self.items[position]
    if record then
      last = last + 1
      items[last], positions[record.id] = record, last
    end
  end
  self.items, self.positions, self.last = items, positions, last
end

--- Takes a record out; nothing happens where it isn't in.
function collection_methods:remove(record)
  local position = self.positions[record.id]
  if not position or self.items[position] ~= record then return end
  self.items[position], self.positions[record.id] = false, nil
  self.count = self.count - 1
  self.budget:hold(-record.weight)
  if self.last > 2 * self.count + FEW then close_up(self) end
end

--- All records, oldest first, in a list of the caller's own.
function collection_methods:all()
  local found = {}
  for position = 1, self.last do
    local record = self.items[position]
    if record then found[#found + 1] = record end
  end
  return found
end

-- The places to look at; nil and the cursor where that isn't in.
local function window(self, options)
  local low, high = 1, self.last
  local above, below = options.after, options.before
  if options.order == "desc" then above, below = below, above end
  if above and not self.positions[above] then return nil, above end
  if below and not self.positions[below] then return nil, below end
  if above then low = self.positions[above] + 1 end
  if below then high = self.positions[below] - 1 end
  return low, high
end

local function gather(self, from, to, by, options)
  local found = {}
  for position = from, to, by do
    local record = self.items[position]
    if record and (not options.where or options.where(record)) then
      if #found == options.limit then return found, true end
      found[#found + 1] = record.wire
    end
  end
  return found, false
end

local function reversed(list)
  local result = {}
  for index = #list, 1, -1 do result[#result + 1] = list[index] end
  return result
end

--- A page of wire objects. `options`: `order` ("asc" or "desc"), `limit`, `after`, `before` (ids), `where(record)`.
-- Returns an array and whether there is more; or nil and the id of a cursor that isn't there.
function collection_methods:list(options)
  local low, high = window(self, options)
  if not low then return nil, high end
  -- a page that ends at a cursor is gathered backwards, from the cursor on
  local upwards = (options.order == "asc") ~= (options.before ~= nil)
  local from, to, by = low, high, 1
  if not upwards then from, to, by = high, low, -1 end
  local found, more = gather(self, from, to, by, options)
  return options.before and reversed(found) or found, more
end

return collection
