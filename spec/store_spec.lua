-- What a store promises, asked of each there is.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local lfs = require("lfs")
local memory = require("nexus_assistants.providers.runtime.store")
local nexus = require("nexus_assistants")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")
local runtimes = require("nexus_assistants.providers.runtime")
local servers = require("spec.support.server")
local sql_store = require("nexus_assistants.providers.runtime.sql_store")

local HAS_SQLITE = pcall(require, "luasql.sqlite3")

local ODD = {
  "it's", "back\\slash \\n", "emoji \240\159\152\128", "zero \0 inside", "% %s %d", "-- ; DROP TABLE", "\"quoted\"",
  "line\nbreak\ttab", "", ("long "):rep(200000),
}

-- Each kind: what it lacks here, and how it is had: a function that returns `open(limits)`, `clean_up`.
local KINDS = {
  memory = { new = function()
    return function(limits) return memory.new(limits) end, function() end
  end },
  SQLite = { lacks = not HAS_SQLITE and "luasql.sqlite3 is absent", is_shared = true, new = function()
    local folder = os.tmpname()
    os.remove(folder)
    return function(limits) return assert(sql_store.open(folder .. "/deep/threads.sqlite", limits)) end,
      function() os.execute("rm -rf " .. servers.quote(folder)) end
  end },
  PostgreSQL = { lacks = postgres.lacks(), is_shared = true, new = function()
    local server = postgres.start()
    return function(limits) return assert(sql_store.open(server.url, limits)) end, function() server:stop() end,
      function() server:clear() end
  end },
}

local function thread(id) return { id = id, object = "thread", metadata = {} } end

local function message(id, thread_id, more)
  local result = { id = id, object = "thread.message", thread_id = thread_id, content = json.array() }
  for name, value in pairs(more or {}) do result[name] = value end
  return result
end

for name, kind in pairs(KINDS) do
  describe("the store in " .. name, function()
    if kind.lacks then
      it("keeps its promises", function() pending(kind.lacks) end)
      return
    end

    local open, clean_up, clear, store
    local opened

    setup(function() open, clean_up, clear = kind.new() end)
    teardown(function() clean_up() end)

    local function another(limits)
      local made = open(limits)
      opened[#opened + 1] = made
      return made
    end

    before_each(function()
      opened = {}
      store = another()
      for index = 1, 3 do store:insert("threads", "", thread("t" .. index)) end
    end)

    after_each(function()
      for index = 1, 3 do store:delete_thread("t" .. index) end
      for _, assistant in ipairs(store:list("assistants", "", { order = "asc" })) do
        store:delete("assistants", "", assistant.id)
      end
      for _, one in ipairs(opened) do one:close() end
      if clear then clear() end
    end)

    local function add(first, last, thread_id)
      for index = first, last do
        store:insert("messages", thread_id or "t1", message("m" .. index, thread_id or "t1"))
      end
    end

    local function ids(options, thread_id)
      local found, more = store:list("messages", thread_id or "t1", options)
      if not found then return nil, more end
      local result = {}
      for index, object in ipairs(found) do result[index] = object.id end
      return table.concat(result, " "), more
    end

    it("gives back what it was given, to the letter", function()
      local object = message("m1", "t1", { null = json.null, list = json.array(), empty = {}, yes = true,
        whole = 9007199254740993, part = 0.25, nested = { json.array({ {}, json.array() }) } })
      for index, text in ipairs(ODD) do object["odd" .. index] = text end
      store:insert("messages", "t1", object)
      local got = store:get("messages", "t1", "m1")
      assert.equal(json.encode(object.nested), json.encode(got.nested))
      assert.is_true(json.is_array(got.list))
      assert.is_false(json.is_array(got.empty))
      assert.equal(json.null, got.null)
      for index, text in ipairs(ODD) do assert.equal(text, got["odd" .. index]) end
      local math_type = rawget(math, "type")
      if math_type then assert.equal("integer", math_type(got.whole)) end
      assert.equal(9007199254740993, got.whole)
      assert.same(object, got)
    end)

    it("finds nothing where there is nothing, whatever it is asked for", function()
      for _, id in ipairs({ "none", "", "t1\0junk", "t1\255", "' OR '1'='1", "t1\\", "%" }) do
        assert.is_nil(store:get("threads", "", id), id)
        assert.is_nil(store:get("messages", id, "m1"))
        assert.same({}, store:list("messages", id, { order = "asc" }))
        assert.is_false(store:delete("messages", "t1", id))
        assert.is_false(store:delete_thread(id))
      end
    end)

    it("keeps changes with save alone, and none to what has gone", function()
      add(1, 1)
      local object = store:get("messages", "t1", "m1")
      object.content = json.array({ "changed" })
      store:save("messages", "t1", object)
      assert.same({ "changed" }, store:get("messages", "t1", "m1").content)
      assert.is_true(store:delete("messages", "t1", "m1"))
      store:save("messages", "t1", object)
      assert.is_nil(store:get("messages", "t1", "m1"))
      store:save("threads", "", thread("t9"))
      assert.is_nil(store:get("threads", "", "t9"))
    end)

    it("lists in the order of insertion, page by page, in both directions", function()
      add(1, 5)
      assert.equal("m1 m2 m3 m4 m5", ids({ order = "asc" }))
      assert.equal("m5 m4 m3 m2 m1", ids({ order = "desc" }))
      assert.same({ "m1 m2", true }, { ids({ order = "asc", limit = 2 }) })
      assert.same({ "m3 m4", true }, { ids({ order = "asc", limit = 2, after = "m2" }) })
      assert.same({ "m5", false }, { ids({ order = "asc", limit = 2, after = "m4" }) })
      assert.same({ "m3 m2", true }, { ids({ order = "desc", limit = 2, after = "m4" }) })
      assert.same({ "m2 m3", true }, { ids({ order = "asc", limit = 2, before = "m4" }) })
      assert.same({ "m1", false }, { ids({ order = "asc", limit = 2, before = "m2" }) })
      assert.same({ "m4 m3", true }, { ids({ order = "desc", limit = 2, before = "m2" }) })
      assert.same({ "m3", false }, { ids({ order = "asc", after = "m2", before = "m4" }) })
      assert.same({ "", false }, { ids({ order = "asc", limit = 2, after = "m5" }) })
    end)

    it("says which cursor isn't there", function()
      add(1, 2)
      assert.same({ nil, "m9" }, { ids({ order = "asc", after = "m9" }) })
      assert.same({ nil, "m8" }, { ids({ order = "desc", before = "m8" }) })
      store:delete("messages", "t1", "m1")
      assert.same({ nil, "m1" }, { ids({ order = "asc", after = "m1" }) })
    end)

    it("picks the messages of a run", function()
      for index = 1, 6 do
        store:insert("messages", "t1", message("m" .. index, "t1", { run_id = index % 2 == 0 and "r1" or json.null }))
      end
      assert.same({ "m2 m4", true }, { ids({ order = "asc", limit = 2, run_id = "r1" }) })
      assert.same({ "m6", false }, { ids({ order = "asc", limit = 2, run_id = "r1", after = "m4" }) })
      assert.equal("", (ids({ order = "asc", run_id = "none" })))
    end)

    it("deletes a thread with all that is its", function()
      add(1, 2)
      add(3, 3, "t2")
      store:insert("runs", "t1", { id = "r1", thread_id = "t1" })
      store:insert("steps", "r1", { id = "s1", thread_id = "t1" })
      assert.is_true(store:delete_thread("t1"))
      assert.is_nil(store:get("threads", "", "t1"))
      assert.is_nil(store:get("messages", "t1", "m1"))
      assert.is_nil(store:get("steps", "r1", "s1"))
      assert.equal("m3", (ids({ order = "asc" }, "t2")))
      add(4, 4)
      assert.is_nil(store:get("messages", "t1", "m4")) -- the thread has gone
    end)

    it("knows how much a thread may still take", function()
      local small = another({ max_messages = 3, max_thread_bytes = 10000, max_assistants = 1 })
      if not kind.is_shared then small:insert("threads", "", thread("t1")) end
      store = small
      add(1, 2)
      assert.is_true(small:has_room("t1", 100, 1))
      assert.is_false(small:has_room("t1", 100, 2))
      small:delete("messages", "t1", "m1")
      assert.is_true(small:has_room("t1", 100, 2))
      assert.is_false(small:has_room("t1", 10000, 0))
      local object = small:get("messages", "t1", "m2")
      object.content = json.array({ ("x"):rep(9500) })
      small:save("messages", "t1", object)
      assert.is_false(small:has_room("t1", 600, 0))
      assert.is_true(small:has_room("none", 100, 1))
      small:insert("assistants", "", { id = "a1" })
      assert.is_false(small:has_room("", 1, 1))
    end)

    it("returns what is done together, and goes on after what was raised", function()
      assert.same({ 1, nil, 3 }, { store:atomically(function(...) return ... end, 1, nil, 3) })
      assert.has_error(function() store:atomically(error, "oh") end, "oh")
      store:atomically(function() store:atomically(add, 1, 2) end)
      assert.equal("m1 m2", (ids({ order = "asc" })))
    end)

    if not kind.is_shared then return end

    it("takes everything back where something is raised", function()
      assert.has_error(function()
        store:atomically(function()
          add(1, 3)
          store:delete_thread("t2")
          store:atomically(add, 4, 4)
          error("oh", 0)
        end)
      end, "oh")
      assert.equal("", (ids({ order = "asc" })))
      assert.is_truthy(store:get("threads", "", "t2"))
      assert.is_true(store:has_room("t1", 1, store.max_messages))
    end)

    it("takes everything back where a part has failed, whoever caught that", function()
      add(1, 1)
      local function fail_in_part(part, ...)
        add(2, 2)
        pcall(store.atomically, store, part, ...)
        add(3, 3)
      end
      assert.has_error(function() store:atomically(fail_in_part, error, "oh") end, "oh")
      local ok, err = pcall(store.atomically, store, fail_in_part, add, 1, 1)
      assert.is_false(ok)
      assert.equal("storage", err.kind)
      assert.equal("m1", (ids({ order = "asc" })))
      add(4, 4)
      assert.equal("m1 m4", (ids({ order = "asc" })))
    end)

    it("says that it is closed", function()
      local other = another()
      other:close()
      local ok, err = pcall(other.get, other, "threads", "", "t1")
      assert.is_false(ok)
      assert.same({ "storage", "the store failed: it is closed" }, { err.kind, err.message })
    end)

    it("is shared: what one keeps, others have", function()
      local other = another()
      add(1, 1)
      assert.equal("m1", other:get("messages", "t1", "m1").id)
      assert.is_true(store:is_alive(other.owner))
      assert.is_true(other:is_alive(store.owner))
      assert.not_equal(store.owner, other.owner)
      local gone = other.owner
      other:close()
      assert.is_false(store:is_alive(gone))
      assert.is_false(store:is_alive("neverthere"))
      assert.is_false(store:is_alive(nil))
    end)

    it("keeps nothing with what it can't write as JSON", function()
      local ok, err = pcall(store.insert, store, "messages", "t1", message("m1", "t1", { bad = print }))
      assert.is_false(ok)
      assert.equal("storage", err.kind)
      assert.is_nil(store:get("messages", "t1", "m1"))
    end)
  end)
end

describe("a store in a SQLite file", function()
  if not HAS_SQLITE then
    it("is private", function() pending("luasql.sqlite3 is absent") end)
    return
  end

  local folder, path

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(lfs.mkdir(folder))
    path = folder .. "/threads.sqlite"
  end)

  after_each(function() os.execute("chmod -R u+w " .. folder .. "; rm -rf " .. servers.quote(folder)) end)

  local function refused(where)
    local store, err = sql_store.open(where or path)
    assert.is_nil(store)
    assert.equal("configuration", err.kind)
    return err.message
  end

  it("is nobody else's to read, and neither is what stands beside it", function()
    local store = assert(sql_store.open(folder .. "/new/threads.sqlite"))
    store:insert("threads", "", thread("t1"))
    local pipe = assert(io.popen("stat -c '%a' " .. folder .. "/new; stat -c '%a' " .. folder .. "/new/* | sort -u"))
    assert.equal("700\n600\n", pipe:read("*a"))
    pipe:close()
    store:close()
  end)

  -- POSIX: as a process closes a file, all of its locks on that go, whoever has it open besides.
  it("keeps its locks as another is opened in its process", function()
    local one = assert(sql_store.open(path))
    one:insert("threads", "", thread("t1"))
    local other = assert(sql_store.open(path))
    process.chunk(([[
      assert(require("nexus_assistants.providers.runtime.sql_store").open(%q)):close() -- the last one ends the log
    ]]):format(path))
    one:insert("threads", "", thread("t2"))
    other:insert("threads", "", thread("t3"))
    local found = process.chunk(([[
      local store = assert(require("nexus_assistants.providers.runtime.sql_store").open(%q))
      for _, id in ipairs({ "t1", "t2", "t3" }) do print(store:get("threads", "", id) ~= nil) end
    ]]):format(path))
    assert.equal("true\ntrue\ntrue\n", found.out)
    one:close()
    other:close()
  end)

  it("leaves no lock behind", function()
    local store = assert(sql_store.open(path))
    assert.is_true(store:is_alive(store.owner))
    store:close()
    store:close()
    for entry in lfs.dir(folder) do assert.is_nil(entry:find("owner", 1, true), entry) end
  end)

  it("leaves no more locks behind than there were processes at once", function()
    for _ = 1, 3 do
      process.chunk(([[
        store = assert(require("nexus_assistants.providers.runtime.sql_store").open(%q))
        os.exit(0)
      ]]):format(path))
    end
    local count = 0
    for entry in lfs.dir(folder) do count = count + (entry:find("owner", 1, true) and 1 or 0) end
    assert.equal(1, count)
  end)

  it("takes nobody for another who had his place", function()
    local store = assert(sql_store.open(path))
    local second = assert(sql_store.open(path))
    local gone = second.owner
    second:close()
    second = assert(sql_store.open(path))
    assert.equal(gone:match("^%d+x"), second.owner:match("^%d+x"))
    assert.is_false(store:is_alive(gone))
    assert.is_true(store:is_alive(second.owner))
    second:close()
    store:close()
  end)

  it("knows who is alive wherever its host goes", function()
    local before = lfs.currentdir()
    assert(lfs.chdir(folder))
    local store, other = assert(sql_store.open("threads.sqlite")), assert(sql_store.open("./threads.sqlite"))
    assert(lfs.chdir("/"))
    local is_alive = store:is_alive(other.owner)
    store:close()
    other:close()
    assert(lfs.chdir(before))
    assert.is_true(is_alive)
    for entry in lfs.dir(folder) do assert.is_nil(entry:find("owner", 1, true), entry) end
  end)

  it("takes nobody for dead where it can't tell", function()
    local store = assert(sql_store.open(path))
    assert(lfs.mkdir(path .. "-owner-7"))
    local ok, err = pcall(store.is_alive, store, "7xsomebody")
    assert.is_false(ok)
    assert.equal("storage", err.kind)
    store:close()
  end)

  it("is made once where many open it at the same time", function()
    local script = folder .. "/open.lua"
    local file = assert(io.open(script, "w"))
    file:write([[
      local path = io.read()
      local store = assert(require("nexus_assistants.providers.runtime.sql_store").open(path))
      require("nexus_assistants.providers.runtime").new({ store = store }):close()
    ]])
    file:close()
    for round = 1, 5 do
      local pipes = {}
      for index = 1, 8 do pipes[index] = assert(io.popen(process.command({ script }), "w")) end
      for _, pipe in ipairs(pipes) do pipe:write(path, round, "\n") pipe:flush() end
      for _, pipe in ipairs(pipes) do assert.is_truthy(pipe:close()) end
      local store = assert(sql_store.open(path .. round))
      assert.equal(1, #store:list("assistants", "", { order = "asc" }))
      store:close()
    end
  end)

  it("has one assistant that is built in, whoever comes at the same time", function()
    local store, other = assert(sql_store.open(path)), assert(sql_store.open(path))
    other.database:rows("PRAGMA busy_timeout = 0")
    local insert, made, err = store.insert, nil, nil
    store.insert = function(...)
      made, err = runtimes.new({ store = other })
      return insert(...)
    end
    runtimes.new({ store = store })
    assert.is_nil(made)
    assert.equal("the store failed: database is locked", err.message)
    runtimes.new({ store = other })
    store:close()
    other:close()
  end)

  it("that can't be written to makes no client, and is closed", function()
    local open, closed = sql_store.open, false
    finally(function() sql_store.open = open end)
    sql_store.open = function(...)
      local store = assert(open(...))
      store.atomically = function() error(errors.new({ kind = "storage", message = "full" }), 0) end
      store.close = function(self)
        closed = true
        return getmetatable(self).__index.close(self)
      end
      return store
    end
    local client, err = nexus.new({ agent_id = "a", provider = "script", store = path, nexus = false })
    assert.is_nil(client)
    assert.same({ "storage", "full" }, { err.kind, err.message })
    assert.is_true(closed)
  end)

  it("takes back what the disk has no room for, and goes on", function()
    local store = assert(sql_store.open(path))
    store:insert("threads", "", thread("t1"))
    store.database:rows("PRAGMA max_page_count = 60")
    local count, ok, err = 0, true, nil
    while ok do
      count = count + 1
      ok, err = pcall(store.atomically, store, function()
        for part = 1, 2 do
          store:insert("messages", "t1", message(("m%d.%d"):format(count, part), "t1", { text = ("x"):rep(3000) }))
        end
      end)
    end
    assert.same({ "storage", "the store failed: database or disk is full" }, { err.kind, err.message })
    assert.is_true(count > 1)
    assert.equal(2 * (count - 1), #store:list("messages", "t1", { order = "asc" }))
    assert.is_true(store:delete("messages", "t1", "m1.1"))
    assert.is_true(store:has_room("t1", 1, store.max_messages - (2 * (count - 1) - 1)))
    assert.is_false(store:has_room("t1", 1, store.max_messages - (2 * (count - 1) - 1) + 1))
    store:close()
  end)

  it("waits little for a lock that it waited for in vain, until it had one", function()
    local store, other = assert(sql_store.open(path)), assert(sql_store.open(path))
    local function patience() return tonumber(store.database:rows("PRAGMA busy_timeout")[1][1]) end
    assert.equal(5000, patience())
    store.database:rows("PRAGMA busy_timeout = 1")
    other:atomically(function()
      assert.is_false(pcall(store.insert, store, "threads", "", thread("t1")))
      assert.equal(50, patience())
      assert.is_false(pcall(store.insert, store, "threads", "", thread("t1")))
    end)
    store:insert("threads", "", thread("t1"))
    assert.equal(5000, patience())
    store:close()
    other:close()
  end)

  it("keeps nothing that comes after what the disk had no room for", function()
    local store = assert(sql_store.open(path))
    store:insert("threads", "", thread("t1"))
    store.database:rows("PRAGMA max_page_count = 60")
    store.database:rows("PRAGMA cache_size = 5")
    assert.is_false(pcall(store.atomically, store, function()
      pcall(store.insert, store, "messages", "t1", message("m1", "t1", { text = ("x"):rep(1000000) }))
      pcall(store.insert, store, "messages", "t1", message("m2", "t1"))
    end))
    assert.same({}, store:list("messages", "t1", { order = "asc" }))
    store:insert("messages", "t1", message("m3", "t1"))
    store:close()
  end)

  it("says that a list can't be read, and shows no part of it", function()
    local store = assert(sql_store.open(path))
    store:insert("threads", "", thread("t1"))
    for index = 1, 200 do
      store:insert("messages", "t1", message("m" .. index, "t1", { text = ("x"):rep(1000) }))
    end
    store:close()
    local file = assert(io.open(path, "r+b"))
    for place = 30 * 4096, file:seek("end") - 4096, 10 * 4096 do
      file:seek("set", place)
      file:write(("\0"):rep(4096))
    end
    file:close()
    store = assert(sql_store.open(path))
    local ok, err = pcall(store.list, store, "messages", "t1", { order = "asc" })
    assert.is_false(ok)
    assert.same({ "storage", "the store failed: database disk image is malformed" }, { err.kind, err.message })
    store:close()
  end)

  it("refuses what is no place to keep anything in", function()
    for _, where in ipairs({ "", ":memory:", "redis://host/x", "postgre://host/x", "a\nb" }) do
      assert.equal("the store must be a path, a URL 'postgresql://...', or 'memory'", refused(where))
    end
  end)

  it("says what is wrong with a file", function()
    local file = assert(io.open(path, "wb"))
    file:write(("This is no database. "):rep(1000))
    file:close()
    os.execute("chmod 644 '" .. path .. "'")
    assert.matches("^the store failed: file is not a database", refused())
    local pipe = io.popen("stat -c %a '" .. path .. "'")
    assert.equal("644", pipe:read("*l")) -- it may be anybody's
    pipe:close()
    assert.is_string(refused(folder))
    assert.matches("threads.sqlite/x", refused(path .. "/x/y"), 1, true)
  end)

  it("refuses one of a later version", function()
    local store = assert(sql_store.open(path))
    store.database:run("UPDATE nexus_schema SET version = 2")
    store:close()
    assert.equal("the store is of version 2, and this library knows version 1", refused())
  end)

  it("names the package that is missing", function()
    local result = process.chunk([[
      package.preload["luasql.sqlite3"] = function() error("absent") end
      local store, err = require("nexus_assistants.providers.runtime.sql_store").open("x.sqlite")
      print(store, err)
    ]])
    assert.equal("nil\tconfiguration: the store needs LuaSQL: install the rock 'luasql-sqlite3' or Debian's package "
      .. "'lua-sql-sqlite3', or keep threads in memory (store = \"memory\")\n", result.out)
  end)

  it("sees at once that a process has ended, however it did", function()
    local result = process.chunk(([[
      local store = assert(require("nexus_assistants.providers.runtime.sql_store").open(%q))
      io.write(store.owner)
      io.stdout:flush()
      local pid = io.open("/proc/self/stat"):read("*a"):match("%%d+")
      os.execute("kill -9 " .. pid)
    ]]):format(path))
    local store = assert(sql_store.open(path))
    assert.matches("^%w+$", result.out)
    assert.is_false(store:is_alive(result.out))
    store:close()
  end)

  -- Only what an index finds is looked at, however much there is.
  it("searches by indexes alone", function()
    local store = assert(sql_store.open(path))
    local db, plans = store.database, {}
    local rows, run = db.rows, db.run
    local function explain(statement)
      if not ({ SELECT = true, UPDATE = true, DELETE = true })[statement:match("^%u+")] then return end
      for _, row in ipairs(rows(db, "EXPLAIN QUERY PLAN " .. statement)) do plans[#plans + 1] = row[4] end
    end
    db.rows = function(self, statement) explain(statement) return rows(self, statement) end
    db.run = function(self, statement) explain(statement) return run(self, statement) end
    store:insert("threads", "", thread("t1"))
    store:insert("messages", "t1", message("m1", "t1", { run_id = "r1" }))
    store:save("messages", "t1", message("m1", "t1", { run_id = "r1", more = "x" }))
    store:list("messages", "t1", { order = "desc", limit = 20, after = "m1" })
    store:list("messages", "t1", { order = "asc", limit = 20, before = "m1", run_id = "r1" })
    store:has_room("t1", 1, 1)
    store:delete("messages", "t1", "m1")
    store:delete_thread("t1")
    db.rows, db.run = nil, nil
    assert.is_true(#plans >= 12)
    for _, plan in ipairs(plans) do
      assert.is_truthy(plan:find("SEARCH", 1, true) or plan:find("LIST SUBQUERY", 1, true), plan)
      assert.is_nil(plan:find("TEMP B-TREE", 1, true), plan)
    end
    store:close()
  end)
end)

describe("a store in PostgreSQL", function()
  local lacking = postgres.lacks()
  if lacking then
    it("outlives its server's restart", function() pending(lacking) end)
    return
  end

  local server

  setup(function() server = postgres.start() end)
  teardown(function() server:stop() end)

  it("outlives its server's restart, and is alive to others again", function()
    local store, other = assert(sql_store.open(server.url)), assert(sql_store.open(server.url))
    store:insert("threads", "", thread("t1"))
    server:restart()
    assert.equal("t1", store:get("threads", "", "t1").id)
    store:insert("messages", "t1", message("m1", "t1"))
    assert.equal("m1", other:get("messages", "t1", "m1").id)
    assert.is_true(other:is_alive(store.owner))
    store:close()
    other:close()
  end)

  it("uses no connection without its lock", function()
    local store, other = assert(sql_store.open(server.url)), assert(sql_store.open(server.url))
    local function lock(name) other.database:rows(("SELECT %s(%d, %s)"):format(name, 0x6e7861, store.owner)) end
    local prepare = store.database.dialect.prepare
    store.database.dialect.prepare = function(database)
      prepare(database)
      database:run("SET statement_timeout = 100")
    end
    server:restart()
    lock("pg_advisory_lock")
    local ok, err = pcall(store.get, store, "threads", "", "t1")
    lock("pg_advisory_unlock")
    store.database.dialect.prepare = prepare
    assert.is_false(ok)
    assert.matches("statement timeout", err.message)
    store:get("threads", "", "t1")
    assert.is_true(other:is_alive(store.owner))
    store:close()
    other:close()
  end)

  it("waits for a server that is out of reach no longer than for others, unless its URL says so", function()
    local store, seen = assert(sql_store.open(server.url)), {}
    local environment = { connect = function(_, url) seen[#seen + 1] = url return true end }
    store.database.dialect.connect(environment, "postgresql://host/x")
    store.database.dialect.connect(environment, "postgresql://host/x?tcp_user_timeout=9&connect_timeout=8")
    store:close()
    local keepalives = "keepalives_idle=5&keepalives_interval=1&keepalives_count=3"
    assert.same({
      "postgresql://host/x?connect_timeout=5&tcp_user_timeout=5000&" .. keepalives,
      "postgresql://host/x?tcp_user_timeout=9&connect_timeout=8&" .. keepalives,
    }, seen)
  end)

  it("makes no new connection to close a lost one", function()
    local store = assert(sql_store.open(server.url))
    server:restart()
    local connect, count = store.database.dialect.connect, 0
    store.database.dialect.connect = function(...)
      count = count + 1
      return connect(...)
    end
    store:close()
    store.database.dialect.connect = connect
    assert.equal(0, count)
  end)

  it("takes back what a restart interrupts, and says so", function()
    local store = assert(sql_store.open(server.url))
    store:insert("threads", "", thread("t2"))
    local ok, err = pcall(store.atomically, store, function()
      store:insert("messages", "t2", message("m1", "t2"))
      server:restart()
      store:insert("messages", "t2", message("m2", "t2"))
    end)
    assert.is_false(ok)
    assert.equal("storage", err.kind)
    assert.same({}, store:list("messages", "t2", { order = "asc" }))
    store:close()
  end)

  it("keeps others waiting who lock the same thread, and lets those of other threads pass", function()
    local store, other = assert(sql_store.open(server.url)), assert(sql_store.open(server.url))
    store:insert("threads", "", thread("t3"))
    store:insert("threads", "", thread("t4"))
    other.database:run("SET statement_timeout = 100")
    store:atomically(function()
      store:lock_thread("t3")
      other:atomically(other.lock_thread, other, "t4")
      local ok, err = pcall(other.atomically, other, other.lock_thread, other, "t3")
      assert.is_false(ok)
      assert.matches("timeout", err.message)
    end)
    other:atomically(other.lock_thread, other, "t3")
    store:close()
    other:close()
  end)

  it("says that it can't be reached, in time and without its password", function()
    local store, err = sql_store.open("postgresql://nexus:secret@127.0.0.1:1/none")
    assert.is_nil(store)
    assert.equal("configuration", err.kind)
    assert.is_nil(tostring(err):find("secret", 1, true))
  end)

  it("repeats nothing of a password that it doesn't understand", function()
    for _, url in ipairs({ "postgresql://nexus:sec%zzret@host/x", "postgresql://nexus@host:secret/x" }) do
      local store, err = sql_store.open(url)
      assert.is_nil(store)
      assert.is_nil(tostring(err):find("ret", 1, true), tostring(err))
    end
  end)

  it("needs no right to make tables where there are some", function()
    local store = assert(sql_store.open(server.url))
    for _, statement in ipairs({ "CREATE ROLE plain LOGIN", "GRANT ALL ON ALL TABLES IN SCHEMA public TO plain",
      "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO plain" }) do
      store.database:run(statement)
    end
    local other = assert(sql_store.open((server.url:gsub("user=nexus", "user=plain"))))
    other:insert("threads", "", thread("t5"))
    assert.equal("t5", store:get("threads", "", "t5").id)
    other:close()
    store:close()
  end)
end)
