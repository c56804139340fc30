--- A database through LuaSQL: statements, transactions, and what SQLite and PostgreSQL do differently.
--
-- What fails raises an error object of kind "storage". LuaSQL 2.6 binds no parameters, so that every value goes through
-- `text` or `number`.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local ids = require("nexus_assistants.providers.runtime.id")
local values = require("nexus_assistants.values")

local database = {}
local database_methods = {}
local database_mt = { __index = database_methods, __name = "nexus_assistants.database" }

local PATIENCE = 5 -- seconds that another process may hold a lock, or the database may take, for a statement
local LITTLE_PATIENCE = 0.05 -- the same in SQLite once that was in vain, until a lock was had again

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
  table_named = "SELECT name FROM sqlite_master WHERE name = '%s'",
}

local HEAD = "SQLite format 3\0"

-- Whether a file is somebody else's, whose mode is none of ours. A store that is open here mustn't be looked into: as a
-- file is closed, all locks that its process has on it go, SQLite's too, and others then take the log from under it. A
-- store that is open is private unless somebody opened it to others since, and what is private keeps its mode anyway.
local function is_foreign(path)
  local seen = core.look_at(path)
  local file = seen and seen.kind == "file" and not seen.is_private and io.open(path, "rb")
  if not file then return false end
  local head = file:read(#HEAD)
  file:close()
  return head ~= nil and head ~= HEAD
end

-- The file is private from its first moment on, and what SQLite puts beside it takes after it.
function sqlite.connect(environment, path)
  if is_foreign(path) then return nil, "file is not a database" end
  local folder = path:match("^(.+)/[^/]*$")
  local made, err = true, nil
  if folder then made, err = core.make_directory(folder) end
  if made then made, err = core.make_private(path) end
  if not made then return nil, err.message end
  return environment:connect(path)
end

-- Where others open a new file at the same time, the change fails at once; who begins to write waits for them.
local function use_write_ahead_log(self)
  local deadline = core.monotonic() + PATIENCE
  local ok, err
  repeat
    ok, err = pcall(self.rows, self, "PRAGMA journal_mode = WAL")
    if ok then return end
    local is_locked = errors.is(err) and err.message:find("locked", 1, true)
    if is_locked and pcall(self.run, self, self.dialect.begin) then self:run("ROLLBACK") end
  until not is_locked or core.monotonic() > deadline
  error(err, 0)
end

-- A host may go to another folder, and the locks are looked for beside the file all the same.
local function remember_place(self)
  self.where = self:rows("PRAGMA database_list")[1][3]
end

-- While others keep the file for long, all that is due would wait one after the other, and a host's frame with it.
function sqlite.began(self, has_begun)
  local patience = has_begun and PATIENCE or LITTLE_PATIENCE
  if patience == self.patience then return end
  self.patience = patience
  self:rows("PRAGMA busy_timeout = " .. patience * 1000)
end

function sqlite.prepare(self)
  sqlite.began(self, true)
  remember_place(self)
  use_write_ahead_log(self)
  self:rows("PRAGMA synchronous = NORMAL")
end

-- Places are numbered, and those that ended processes left are taken again: there are no more files than there were
-- processes at once.
local function lock_place(self, place)
  local lock, problem = core.lock_file(self.where .. "-owner-" .. place)
  if lock or problem == "locked" then return lock end
  error(fault(problem.message), 0)
end

local function write_name(path, name)
  local file, problem = io.open(path, "w")
  local written = file
  if file then written, problem = file:write(name) end
  if file then file:close() end
  if not written then error(fault(problem), 0) end
end

-- A lock on a file goes with the process that holds it, however that ends; who it is stands in the file.
function sqlite.enter(self)
  local place = 0
  repeat
    place = place + 1
    self.lock = lock_place(self, place)
  until self.lock
  self.owner = place .. ids.new("x")
  write_name(self.lock:path(), self.owner)
end

function sqlite.leave(self)
  if self.lock then self.lock:remove() end
  self.lock = nil
end

local NO_SUCH_FILE = 2

local function name_at(self, place)
  local file, problem, code = io.open(self.where .. "-owner-" .. place)
  if not file and code ~= NO_SUCH_FILE then error(fault(problem), 0) end
  local name = file and file:read("*a")
  if file then file:close() end
  return name
end

function sqlite.is_alive(self, owner)
  local place = owner:match("^([1-9]%d*)x")
  if not place then return false end
  local lock = lock_place(self, place)
  if not lock then return name_at(self, place) == owner end
  lock:remove()
  return false
end

function sqlite.new_owner() end

function sqlite.lock_creation() end

-- BEGIN IMMEDIATE keeps all others from writing.
function sqlite.lock_row() end

local postgres = {
  module = "postgres", packages = "the rock 'luasql-postgres' or Debian's package 'lua-sql-postgres'",
  position = "BIGSERIAL PRIMARY KEY", begin = "BEGIN ISOLATION LEVEL READ COMMITTED",
  table_named = "SELECT 1 WHERE to_regclass('%s') IS NOT NULL",
}

-- Of all advisory locks these are ours.
local LOCKS, CREATION = 0x6e7861, 0

-- What a server that can't be reached any more is waited for: what it was sent, in milliseconds; what it is to send, in
-- seconds. The server's own limit is of no use then.
local UNREACHABLE = {
  { "connect_timeout", PATIENCE }, { "tcp_user_timeout", PATIENCE * 1000 },
  { "keepalives_idle", PATIENCE }, { "keepalives_interval", 1 }, { "keepalives_count", 3 },
}

local function with_limits(url)
  for _, limit in ipairs(UNREACHABLE) do
    if not url:find(limit[1] .. "=", 1, true) then
      url = ("%s%s%s=%d"):format(url, url:find("?", 1, true) and "&" or "?", limit[1], limit[2])
    end
  end
  return url
end

function postgres.connect(environment, url)
  url = with_limits(url)
  local connection, problem = environment:connect(url)
  if connection or problem:find("connection to server", 1, true) then return connection, problem end
  -- what libpq repeats of a URL that it doesn't understand may be of the password
  return nil, (problem:gsub('"[^"]*"', '"..."'))
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

function postgres.began() end

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
function database_methods.text(_, value)
  if type(value) ~= "string" or value:find("%z") or not core.utf8_valid(value) then return "NULL" end
  return "'" .. value:gsub("'", "''") .. "'"
end

-- What has failed within a transaction makes all of it fail, whoever may have caught the error.
local function fail(self, problem)
  local err = fault(problem)
  if self.depth > 0 then self.failed = self.failed or err end
  error(err, 0)
end

local function is_broken(self)
  local cursor = self.connection:execute("SELECT 1")
  if type(cursor) == "userdata" then cursor:close() end
  return not cursor
end

local function begin_session(self)
  self.dialect.prepare(self)
  self.dialect.enter(self)
end

-- A connection without its owner's lock would be one of the dead: it is used with it, or not at all.
local function connect(self)
  local connection, problem = self.dialect.connect(self.environment, self.where)
  if not connection then error(fault(problem), 0) end
  local useless = self.connection
  self.connection = connection
  local ok, err = pcall(begin_session, self)
  if not ok then self.connection, useless = useless, connection end
  if useless then useless:close() end
  if not ok then error(err, 0) end
end

-- A server that was started anew has forgotten the connection; what had not begun can be tried again. Where a
-- transaction has failed SQLite may have ended it, and would keep what comes after.
local function execute(self, statement)
  if not self.connection then error(fault("it is closed"), 0) end
  if self.depth > 0 and self.failed then error(self.failed, 0) end
  local result, problem = self.connection:execute(statement)
  if result then return result end
  if self.depth > 0 or self.connecting or not is_broken(self) then fail(self, problem) end
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
  local row, problem = cursor:fetch({}, "n")
  while row do
    rows[#rows + 1] = row
    row, problem = cursor:fetch({}, "n")
  end
  cursor:close()
  if problem then fail(self, problem) end
  return rows
end

-- ---------------------------------------------------------------------------------------------------- transactions

local function conclude(self, ok, ...)
  self.depth = self.depth - 1
  local failed, problem = self.failed, nil
  if ok and not failed then
    local committed
    committed, problem = self.connection:execute("COMMIT")
    if committed then return ... end
  end
  self.connection:execute("ROLLBACK")
  if not ok then error((...), 0) end
  error(failed or fault(problem), 0)
end

local function conclude_part(self, ok, ...)
  if ok then return ... end
  self.failed = self.failed or (...) or fault("a part of the changes failed")
  error((...), 0)
end

--- Calls `fn(…)` in a transaction: all of its changes are kept, or none where it raises. Within one it is part of that.
function database_methods:atomically(fn, ...)
  if self.depth > 0 then return conclude_part(self, pcall(fn, ...)) end
  local has_begun, problem = pcall(self.run, self, self.dialect.begin)
  self.dialect.began(self, has_begun)
  if not has_begun then error(problem, 0) end
  self.failed = nil
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

--- Whether there is a table with this name.
function database_methods:has_table(name)
  return self:rows(self.dialect.table_named:format(name))[1] ~= nil
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
  if not self.environment then return end
  self.connecting = true -- a connection that is lost needs no new one for its end
  pcall(self.dialect.leave, self)
  if self.connection then self.connection:close() end
  self.environment:close()
  self.connection, self.environment = nil, nil
end

-- What speaks to the place; nil where it is none that would keep anything.
local function dialect_of(where)
  local scheme = where:match("^(%a[%w+.-]*)://")
  if scheme then return (scheme == "postgresql" or scheme == "postgres") and postgres or nil end
  local is_path = where ~= "" and not where:find(":memory:", 1, true) and not values.has_control(where)
  return is_path and sqlite or nil
end

local function open(self)
  self.environment = self.driver[self.dialect.module]()
  connect(self)
  return true
end

--- Opens a database: `where` is the path of a SQLite file, or a URL of PostgreSQL's. Returns it, or nil and an error.
function database.open(where)
  local dialect = dialect_of(where)
  if not dialect then return configuration("the store must be a path, a URL 'postgresql://...', or 'memory'") end
  local found, driver = pcall(require, "luasql." .. dialect.module)
  if not found then return configuration("the store needs LuaSQL: install " .. dialect.packages
    .. ", or keep threads in memory (store = \"memory\")") end
  local self = setmetatable({
    where = where, dialect = dialect, driver = driver, depth = 0, connecting = true, owner = dialect.new_owner(),
  }, database_mt)
  local ok, err = pcall(open, self)
  self.connecting = false
  if ok then return self end
  self:close()
  if not errors.is(err) then error(err, 0) end
  -- a URL may hold a password
  return configuration(dialect == sqlite and err.message .. ": " .. where or err.message)
end

return database
