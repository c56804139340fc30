--- A store in a database, SQLite's or PostgreSQL's, with the methods that the one in memory has (store.lua). Several
-- processes may use it at once.
--
-- All objects are in one table, as JSON, in the order in which they were added. What a thread holds is counted beside,
-- so that nothing takes longer for how much there is.
local database = require("nexus_assistants.providers.runtime.sql_database")
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local memory = require("nexus_assistants.providers.runtime.store")

local sql_store = {}
local store_methods = {}
local store_mt = { __index = store_methods, __name = "nexus_assistants.sql_store" }

local VERSION = 1

local KINDS = { assistants = 1, threads = 2, messages = 3, runs = 4, steps = 5 }
-- What has_room counts, beside bytes.
local COUNTED = { assistants = true, messages = true }

local CREATION = {
  [[CREATE TABLE nexus_objects (position %s, kind INTEGER NOT NULL, parent TEXT NOT NULL, id TEXT NOT NULL, run_id TEXT,
    weight INTEGER NOT NULL, body TEXT NOT NULL)]],
  "CREATE UNIQUE INDEX nexus_objects_by_id ON nexus_objects (kind, parent, id)",
  "CREATE INDEX nexus_objects_in_order ON nexus_objects (kind, parent, position)",
  "CREATE INDEX nexus_objects_of_run ON nexus_objects (kind, parent, run_id, position) WHERE run_id IS NOT NULL",
  "CREATE TABLE nexus_accounts (id TEXT PRIMARY KEY, bytes BIGINT NOT NULL, items BIGINT NOT NULL)",
  "INSERT INTO nexus_accounts (id, bytes, items) VALUES ('', 0, 0)",
}

-- --------------------------------------------------------------------------------------------------------- opening

local function create(self)
  local db = self.database
  db:lock_creation()
  if db:has_table("nexus_schema") then return tonumber(db:rows("SELECT version FROM nexus_schema")[1][1]) end
  db:run("CREATE TABLE nexus_schema (version INTEGER NOT NULL)")
  for _, statement in ipairs(CREATION) do db:run((statement:gsub("%%s", db:position_type()))) end
  db:run("INSERT INTO nexus_schema (version) VALUES (" .. VERSION .. ")")
  return VERSION
end

local function refuse(self, message)
  self.database:close()
  return nil, errors.new({ kind = "configuration", message = message })
end

--- Opens a store; `where` is the path of a SQLite file, or a URL of PostgreSQL's, `limits` are those of store.lua.
-- Returns the store; or nil and an error of kind "configuration".
function sql_store.open(where, limits)
  local db, err = database.open(where)
  if not db then return nil, err end
  local self = setmetatable({ database = db, owner = db.owner, shared = true }, store_mt)
  for name, default in pairs(memory.LIMITS) do self[name] = limits and limits[name] or default end
  local ok, version = pcall(self.atomically, self, create, self)
  if not ok then return refuse(self, errors.is(version) and version.message or tostring(version)) end
  if version == VERSION then return self end
  return refuse(self, ("the store is of version %d, and this library knows version %d"):format(version, VERSION))
end

--- Ends the use of the store.
function store_methods:close()
  self.database:close()
end

-- ------------------------------------------------------------------------------------------------------- together

--- Calls `fn(…)` so that all of its changes are kept, or none where it raises; returns what it does.
function store_methods:atomically(fn, ...)
  return self.database:atomically(fn, ...)
end

--- Keeps others who share the store from a thread until `atomically` returns.
function store_methods:lock_thread(id)
  self.database:lock_row(("SELECT id FROM nexus_accounts WHERE id = %s"):format(self.database:text(id)))
end

--- Whether the process that opened a store as this owner still has it open.
function store_methods:is_alive(owner)
  return self.database:is_alive(owner)
end

-- --------------------------------------------------------------------------------------------------------- objects

-- Where the account of an object is kept: its thread's, or that of what belongs to none.
local function account_of(kind, object)
  return kind == "threads" and object.id or object.thread_id or ""
end

local function encoded(object)
  local text, problem = json.encode(object)
  return text or error(errors.new({ kind = "storage", message = "the store can't keep this: " .. problem }), 0)
end

local function decoded(text)
  local object, problem = json.decode(text)
  return object or error(errors.new({ kind = "storage", message = "the store holds no JSON: " .. problem }), 0)
end

local function where_id(self, kind, parent, id)
  local db = self.database
  return ("kind = %d AND parent = %s AND id = %s"):format(KINDS[kind], db:text(parent), db:text(id))
end

-- Adds to an account; false where there is none: the thread has gone, or is none.
local function count(self, account, bytes, items)
  return self.database:run(("UPDATE nexus_accounts SET bytes = bytes + %d, items = items + %d WHERE id = %s"):format(
    bytes, items, self.database:text(account))) > 0
end

local function insert(self, kind, parent, object)
  local db, body = self.database, encoded(object)
  if kind == "threads" then
    db:run(("INSERT INTO nexus_accounts (id, bytes, items) VALUES (%s, 0, 0)"):format(db:text(object.id)))
  end
  if not count(self, account_of(kind, object), #body, COUNTED[kind] and 1 or 0) then return end
  local run_id = kind == "messages" and json.present(object.run_id)
  db:run(("INSERT INTO nexus_objects (kind, parent, id, run_id, weight, body) VALUES (%d, %s, %s, %s, %d, %s)"):format(
    KINDS[kind], db:text(parent), db:text(object.id), run_id and db:text(run_id) or "NULL", #body, db:text(body)))
end

--- Adds an object; what belongs to a thread that has gone meanwhile is gone with it.
function store_methods:insert(kind, parent, object)
  self:atomically(insert, self, kind, parent, object)
end

--- The object with this id, or nil.
function store_methods:get(kind, parent, id)
  local row = self.database:rows("SELECT body FROM nexus_objects WHERE " .. where_id(self, kind, parent, id))[1]
  return row and decoded(row[1])
end

local function weight_of(self, place)
  local row = self.database:rows("SELECT weight FROM nexus_objects WHERE " .. place)[1]
  return row and tonumber(row[1])
end

-- What belongs to no thread isn't kept from others by whoever changes it.
local function lock_account(self, kind)
  if kind == "assistants" then self:lock_thread("") end
end

local function save(self, kind, parent, object)
  local place, body = where_id(self, kind, parent, object.id), encoded(object)
  lock_account(self, kind)
  local before = weight_of(self, place)
  if not before then return end
  if #body ~= before then count(self, account_of(kind, object), #body - before, 0) end
  self.database:run(("UPDATE nexus_objects SET body = %s, weight = %d WHERE %s"):format(self.database:text(body), #body,
    place))
end

--- Keeps the changes made to an object; one that has gone meanwhile stays gone.
function store_methods:save(kind, parent, object)
  self:atomically(save, self, kind, parent, object)
end

local function delete(self, kind, parent, id)
  local place = where_id(self, kind, parent, id)
  lock_account(self, kind)
  local before = weight_of(self, place)
  if not before then return false end
  count(self, parent, -before, -1)
  self.database:run("DELETE FROM nexus_objects WHERE " .. place)
  return true
end

--- Takes an assistant or a message away; false where there is none.
function store_methods:delete(kind, parent, id)
  return self:atomically(delete, self, kind, parent, id)
end

local function delete_thread(self, id)
  local db = self.database
  local quoted = db:text(id)
  if db:run("DELETE FROM nexus_accounts WHERE id = " .. quoted) == 0 or id == "" then return false end
  local runs = ("SELECT id FROM nexus_objects WHERE kind = %d AND parent = %s"):format(KINDS.runs, quoted)
  db:run(("DELETE FROM nexus_objects WHERE kind = %d AND parent IN (%s)"):format(KINDS.steps, runs))
  for _, kind in ipairs({ KINDS.messages, KINDS.runs }) do
    db:run(("DELETE FROM nexus_objects WHERE kind = %d AND parent = %s"):format(kind, quoted))
  end
  db:run("DELETE FROM nexus_objects WHERE " .. where_id(self, "threads", "", id))
  return true
end

--- Deletes a thread with all that is its; false where there is none.
function store_methods:delete_thread(id)
  if id == "" then return false end
  return self:atomically(delete_thread, self, id)
end

--- Whether a thread, or a new one, can take what is about `bytes` large and has `more` messages in it; or the
-- assistants, where `thread_id` is "", so many more of them.
function store_methods:has_room(thread_id, bytes, more)
  local db = self.database
  local row = db:rows("SELECT bytes, items FROM nexus_accounts WHERE id = " .. db:text(thread_id))[1] or { 0, 0 }
  if tonumber(row[1]) + bytes > self.max_thread_bytes then return false end
  local most = thread_id == "" and self.max_assistants or self.max_messages
  return more == 0 or tonumber(row[2]) + more <= most
end

-- ----------------------------------------------------------------------------------------------------------- lists

local function position_of(self, kind, parent, id)
  local row = self.database:rows("SELECT position FROM nexus_objects WHERE " .. where_id(self, kind, parent, id))[1]
  return row and tonumber(row[1])
end

-- The condition for what lies beyond a cursor; nil and the cursor where that isn't in the list.
local function beyond(self, kind, parent, cursor, sign)
  if not cursor then return "" end
  local position = position_of(self, kind, parent, cursor)
  if not position then return nil, cursor end
  return (" AND position %s %d"):format(sign, position)
end

local function reversed(list)
  local result = {}
  for index, object in ipairs(list) do result[#list + 1 - index] = object end
  return result
end

-- A page that ends at a cursor is gathered backwards, from the cursor on.
local function gather(self, condition, options)
  local upwards = (options.order == "asc") ~= (options.before ~= nil)
  local limit = options.limit and (" LIMIT %d"):format(options.limit + 1) or ""
  local rows = self.database:rows(("SELECT body FROM nexus_objects WHERE %s ORDER BY position %s%s"):format(condition,
    upwards and "ASC" or "DESC", limit))
  local more = options.limit ~= nil and #rows > options.limit
  if more then rows[#rows] = nil end
  for index, row in ipairs(rows) do rows[index] = decoded(row[1]) end
  return rows, more
end

--- A page. `options`: `order` ("asc" or "desc"), `limit` (all where absent), `after`, `before` (ids), and for messages
-- `run_id`. Returns an array and whether there is more; or nil and the id of a cursor that isn't there.
function store_methods:list(kind, parent, options)
  local db, is_rising = self.database, options.order == "asc"
  local after, cursor = beyond(self, kind, parent, options.after, is_rising and ">" or "<")
  if not after then return nil, cursor end
  local before
  before, cursor = beyond(self, kind, parent, options.before, is_rising and "<" or ">")
  if not before then return nil, cursor end
  local of_run = options.run_id and " AND run_id = " .. db:text(options.run_id) or ""
  local condition = ("kind = %d AND parent = %s%s%s%s"):format(KINDS[kind], db:text(parent), of_run, after, before)
  local found, more = gather(self, condition, options)
  return options.before and reversed(found) or found, more
end

return sql_store
