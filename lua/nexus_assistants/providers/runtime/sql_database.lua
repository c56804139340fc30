--- A database through LuaSQL: statements, transactions, and what SQLite and PostgreSQL do differently.
--
-- What fails raises an error object of kind "storage". LuaSQL 2.6 binds no parameters, so that every value goes through
-- `text` or `number`.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local ids = require("nexus_assistants.providers.runtime.id")

local database = {}
local database_methods = {}
local database_mt = { __index = database_methods, __name = "nexus_assistants.database" }

local PATIENCE = 5 -- seconds that another process may hold a lock, or the database may take, for a statement

local function fault(problem)
  -- the first line alone: behind it there may be a part of the statement
  local text = tostring(problem):gsub("^LuaSQL: ", ""):match("^[^\n]*")
  return errors.new({ kind = "storage", message = "the store failed: " .. text })
end

local function configuration(message)
  return nil, errors.new({ kind = "configuration", message = message })
end

-- ------------------------------------------------------------------------------------------------------- dialects

local sqlite = {
  module = "sqlite3", packages = "the rock 'luasql-sqlite3' or Debian's package 'lua-sql-sqlite3'",
  position = "INTEGER PRIMARY KEY AUTOINCREMENT", begin = "BEGIN IMMEDIATE",
}

-- The file is private from its first moment on, and what SQLite puts beside it takes after it.
function sqlite.connect(environment, path)
  local folder = path:match("^(.+)/[^/]*$")
  local made, err = true, nil
  if folder then made, err = core.make_directory(folder) end
  if made then made, err = core.make_private(path) end
  if not made then return nil, err.message end
  return environment:connect(path)
end

function sqlite.prepare(self)
  self:rows("PRAGMA busy_timeout = " .. PATIENCE * 1000)
  self:rows("PRAGMA journal_mode = WAL")
  self:rows("PRAGMA synchronous = NORMAL")
end

local function lock_path(self, owner)
  return self.where .. "-owner-" .. owner
end

-- A lock on a file goes with the process that holds it, however that ends.
function sqlite.enter(self)
  local lock, problem = core.lock_file(lock_path(self, self.owner))
  if not lock then error(fault(type(problem) == "table" and problem.message or problem), 0) end
  self.lock = lock
end

function sqlite.leave(self)
  if self.lock then self.lock:remove() end
  self.lock = nil
end

function sqlite.is_alive(self, owner)
  local lock, problem = core.lock_file(lock_path(self, owner))
  if lock then lock:remove() end
  return lock == nil and problem == "locked"
end

function sqlite.new_owner()
  return ids.new("")
end

function sqlite.lock_creation() end

-- BEGIN IMMEDIATE keeps all others from writing.
function sqlite.lock_row() end

local postgres = {
  module = "postgres", packages = "the rock 'luasql-postgres' or Debian's package 'lua-sql-postgres'",
  position = "BIGSERIAL PRIMARY KEY", begin = "BEGIN",
}

-- Of all advisory locks these are ours.
local LOCKS, CREATION = 0x6e7861, 0

function postgres.connect(environment, url)
  if not url:find("connect_timeout=", 1, true) then
    url = url .. (url:find("?", 1, true) and "&" or "?") .. "connect_timeout=" .. PATIENCE
  end
  return environment:connect(url)
end

function postgres.prepare(self)
  self:run("SET statement_timeout = " .. PATIENCE * 1000)
  self:run("SET standard_conforming_strings = on")
  self:run("SET client_encoding = 'UTF8'")
  self:run("SET client_min_messages = warning")
end

local function lock_call(name, owner)
  return ("SELECT %s(%d, %d)"):format(name, LOCKS, owner)
end

-- A lock of the session goes with it.
function postgres.enter(self)
  self:rows(lock_call("pg_advisory_lock", self.owner))
end

function postgres.leave(self)
  self:rows(lock_call("pg_advisory_unlock", self.owner))
end

function postgres.is_alive(self, owner)
  if not owner:find("^%d+$") or #owner > 9 then return false end
  local is_free = self:rows(lock_call("pg_try_advisory_lock", owner))[1][1] == "t"
  if is_free then self:rows(lock_call("pg_advisory_unlock", owner)) end
  return not is_free
end

function postgres.new_owner()
  return ("%d"):format(tonumber(ids.uuid():sub(1, 7), 16) + 1)
end

-- Of those that open an empty database at the same time, one makes the tables.
function postgres.lock_creation(self)
  self:rows(("SELECT pg_advisory_xact_lock(%d, %d)"):format(LOCKS, CREATION))
end

function postgres.lock_row(self, statement)
  self:rows(statement .. " FOR UPDATE")
end

-- ------------------------------------------------------------------------------------------------------ statements

--- A text as SQL has it. What no database could hold matches nothing.
function database_methods:text(value)
  if type(value) ~= "string" or value:find("%z") or not core.utf8_valid(value) then return "NULL" end
  return "'" .. self.connection:escape(value) .. "'"
end

local function is_broken(self)
  local cursor = self.connection:execute("SELECT 1")
  if type(cursor) == "userdata" then cursor:close() end
  return not cursor
end

local function connect(self)
  local connection, problem = self.dialect.connect(self.environment, self.where)
  if not connection then error(fault(problem), 0) end
  self.connection = connection
  self.dialect.prepare(self)
  self.dialect.enter(self)
end

-- A server that was started anew has forgotten the connection; what had not begun can be tried again.
local function execute(self, statement)
  local result, problem = self.connection:execute(statement)
  if result then return result end
  if self.depth > 0 or self.connecting or not is_broken(self) then error(fault(problem), 0) end
  self.connecting = true
  local ok, err = pcall(connect, self)
  self.connecting = false
  if not ok then error(err, 0) end
  result, problem = self.connection:execute(statement)
  return result or error(fault(problem), 0)
end

--- Does a statement that changes something; returns how many rows it changed.
function database_methods:run(statement)
  local result = execute(self, statement)
  if type(result) == "number" then return result end
  result:close()
  return 0
end

--- The rows of a query, each an array.
function database_methods:rows(statement)
  local cursor, rows = execute(self, statement), {}
  if type(cursor) == "number" then return rows end
  local row = cursor:fetch({}, "n")
  while row do
    rows[#rows + 1] = row
    row = cursor:fetch({}, "n")
  end
  cursor:close()
  return rows
end

-- ---------------------------------------------------------------------------------------------------- transactions

local function conclude(self, ok, ...)
  self.depth = self.depth - 1
  if ok then
    local committed, problem = self.connection:execute("COMMIT")
    if committed then return ... end
    self.connection:execute("ROLLBACK")
    error(fault(problem), 0)
  end
  self.connection:execute("ROLLBACK")
  error((...), 0)
end

--- Calls `fn(…)` in a transaction: all of its changes are kept, or none where it raises. Within one it is part of that.
function database_methods:atomically(fn, ...)
  if self.depth > 0 then return fn(...) end
  self:run(self.dialect.begin)
  self.depth = self.depth + 1
  return conclude(self, pcall(fn, ...))
end

--- Keeps others from the row that a query finds until the transaction ends.
function database_methods:lock_row(statement)
  self.dialect.lock_row(self, statement)
end

--- Keeps others from making the tables until the transaction ends.
function database_methods:lock_creation()
  self.dialect.lock_creation(self)
end

--- The type of a key that grows by itself.
function database_methods:position_type()
  return self.dialect.position
end

--- Whether the process that opened the database as this owner still has it open.
function database_methods:is_alive(owner)
  if owner == self.owner then return true end
  return type(owner) == "string" and owner:find("^%w+$") ~= nil and self.dialect.is_alive(self, owner)
end

--- Ends the use of the database; a second time does nothing.
function database_methods:close()
  if not self.connection then return end
  pcall(self.dialect.leave, self)
  self.connection:close()
  self.environment:close()
  self.connection = nil
end

local function open(self)
  self.environment = self.driver[self.dialect.module]()
  connect(self)
  return true
end

--- Opens a database: `where` is the path of a SQLite file, or a URL of PostgreSQL's. Returns it, or nil and an error.
function database.open(where)
  local dialect = where:find("^postgres[ql]*://") and postgres or sqlite
  local found, driver = pcall(require, "luasql." .. dialect.module)
  if not found then return configuration("the store needs LuaSQL: install " .. dialect.packages) end
  local self = setmetatable({
    where = where, dialect = dialect, driver = driver, depth = 0, connecting = true, owner = dialect.new_owner(),
  }, database_mt)
  local ok, err = pcall(open, self)
  self.connecting = false
  if ok then return self end
  if not errors.is(err) then error(err, 0) end
  return configuration(err.message)
end

return database
