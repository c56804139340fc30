-- Several runtimes on one store, as in several processes: whose a run is, and what an ended process leaves.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local operations = require("nexus_assistants.operations")
local postgres = require("spec.support.postgres")
local runtimes = require("nexus_assistants.providers.runtime")
local script = require("nexus_assistants.models.script")
local servers = require("spec.support.server")
local sql_store = require("nexus_assistants.providers.runtime.sql_store")

-- Each kind of store: what it lacks here, and how it is had: where it is, and what to call at the end. `kill` makes it
-- as if the process had been killed that opened it: nothing was settled, and its lock is gone.
local USER = { role = "user", content = "x" }

local KINDS = {
  SQLite = {
    lacks = not pcall(require, "luasql.sqlite3") and "luasql.sqlite3 is absent",
    new = function()
      local path = os.tmpname()
      return path, function() os.execute("rm -f " .. servers.quote(path) .. "*") end
    end,
    kill = function(database)
      database.lock:remove()
      database.lock = nil
    end,
  },
  PostgreSQL = {
    lacks = postgres.lacks(),
    new = function()
      local server = postgres.start()
      return server.url, function() server:stop() end
    end,
    -- the lock goes with the session, but the server may take a moment to notice its end
    kill = function(database)
      database.dialect.leave(database)
      database.connection:close()
    end,
  },
}

for place, store_kind in pairs(KINDS) do
  describe("runtimes that share a store in " .. place, function()
    if store_kind.lacks then
      it("agree on whose a run is", function() pending(store_kind.lacks) end)
      return
    end

    local now, path, first, second, answer, clean_up

    setup(function() path, clean_up = store_kind.new() end)
    teardown(function() clean_up() end)

    local function open()
      local store = assert(sql_store.open(path))
      return runtimes.new({ store = store, clock = function() return now end,
        model = script.new(function(...) return answer(...) end) })
    end

    local function kill(runtime)
      store_kind.kill(runtime.store.database)
      runtime.machine.jobs = {}
    end

    before_each(function()
      now = 1700000000
      answer = function() return "Good day." end
      first, second = open(), open()
    end)

    after_each(function()
      for _, runtime in ipairs({ first, second }) do runtime:close() end
    end)

    local function perform(runtime, name, ids, params)
      local operation, given = operations[name], { path = ids }
      given[operation.payload == "query" and "query" or "body"] = params
      return runtime:perform(operation, given)
    end

    local function must(...) return assert(perform(...)) end

    local function begin(runtime)
      local thread = must(runtime, "threads.create", nil, { messages = json.array({ USER }) })
      return must(runtime, "threads.runs.create", { thread_id = thread.id }, { assistant_id = "asst_local" })
    end

    local function look(runtime, run)
      return must(runtime, "threads.runs.retrieve", { thread_id = run.thread_id, run_id = run.id })
    end

    local function messages(runtime, run)
      return must(runtime, "threads.messages.list", { thread_id = run.thread_id }, { order = "asc" }).data
    end

    local function steps(runtime, run)
      return must(runtime, "threads.runs.steps.list", { thread_id = run.thread_id, run_id = run.id }, {}).data
    end

    local function settle(runtime)
      for _ = 1, 5 do runtime:advance() end
    end

    local CALLS = { { id = "call_1", name = "double", arguments = { n = 1 } } }

    local function call_first(given)
      if given[#given].role == "tool" then return "It is " .. given[#given].content end
      return CALLS
    end

    local function submit(runtime, run)
      return perform(runtime, "threads.runs.submit_tool_outputs", { thread_id = run.thread_id, run_id = run.id },
        { tool_outputs = json.array({ { tool_call_id = "call_1", output = "2" } }) })
    end

    it("show what others do, and keep to one run a thread", function()
      answer = function() coroutine.yield(100) end
      local run = begin(first)
      settle(first)
      assert.equal("in_progress", look(second, run).status)
      local refused, err = perform(second, "threads.messages.create", { thread_id = run.thread_id },
        { role = "user", content = "y" })
      assert.is_nil(refused)
      assert.equal(400, err.status)
      assert.matches("while a run " .. run.id .. " is active", err.message, 1, true)
      assert.is_nil(second.machine.jobs[run.id])
    end)

    it("cancel each other's runs", function()
      answer = function() coroutine.yield(100) end
      local run = begin(first)
      settle(first)
      assert.equal("cancelling", must(second, "threads.runs.cancel",
        { thread_id = run.thread_id, run_id = run.id }).status)
      settle(second)
      assert.equal("cancelling", look(second, run).status) -- it isn't its own
      now = now + 1
      settle(first)
      assert.equal("cancelled", look(second, run).status)
    end)

    it("go on with each other's runs once these wait for outputs", function()
      answer = call_first
      local run = begin(first)
      settle(first)
      assert(submit(second, run))
      settle(first)
      assert.equal("queued", look(first, run).status)
      settle(second)
      assert.equal("completed", look(first, run).status)
      assert.equal("It is 2", messages(first, run)[2].content[1].text.value)
      now = now + 1
      settle(first)
      assert.is_nil(first.machine.jobs[run.id])
    end)

    it("forget a run whose thread another deletes", function()
      answer = function() coroutine.yield(1) return "too late" end
      local run = begin(first)
      settle(first)
      must(second, "threads.delete", { thread_id = run.thread_id })
      now = now + 2
      settle(first)
      assert.is_nil(first.machine.jobs[run.id])
    end)

    it("fail a run that was thinking when its process ended, and what it had begun to write is gone", function()
      answer = function()
        coroutine.yield({ text = "half of a sen", wait = 100 })
        return "tence"
      end
      local run = begin(first)
      settle(first)
      kill(first)
      assert.equal(1, #messages(second, run))
      local left = look(second, run)
      assert.equal("failed", left.status)
      assert.equal("server_error", left.last_error.code)
      assert.matches("process", left.last_error.message)
      assert.equal("failed", steps(second, run)[1].status)
      assert(perform(second, "threads.messages.create", { thread_id = run.thread_id }, USER))
    end)

    it("begin a run that nobody had begun when its process ended", function()
      local run = begin(first)
      kill(first)
      assert.equal("queued", look(second, run).status)
      settle(second)
      assert.equal("completed", look(second, run).status)
    end)

    it("take the outputs for a run whose process has ended", function()
      answer = call_first
      local run = begin(first)
      settle(first)
      kill(first)
      assert.equal("requires_action", look(second, run).status)
      assert(submit(second, run))
      settle(second)
      assert.equal("completed", look(second, run).status)
    end)

    it("end what was being cancelled, and what has expired, when its process ended", function()
      answer = function() coroutine.yield(100) end
      local cancelled, expired = begin(first), begin(first)
      settle(first)
      must(first, "threads.runs.cancel", { thread_id = cancelled.thread_id, run_id = cancelled.id })
      kill(first)
      assert.equal("cancelled", look(second, cancelled).status)
      now = now + 601
      assert.equal("expired", must(second, "threads.runs.list", { thread_id = expired.thread_id }, {}).data[1].status)
      settle(second)
      assert.equal("expired", look(second, expired).status)
    end)

    it("end a message that was begun, where its run was being cancelled when its process ended", function()
      answer = function() coroutine.yield({ text = "half of a sen", wait = 100 }) end
      local run = begin(first)
      settle(first)
      must(second, "threads.runs.cancel", { thread_id = run.thread_id, run_id = run.id })
      kill(first)
      assert.equal("cancelled", look(second, run).status)
      assert.equal(1, #messages(second, run))
    end)

    it("end a run whose time is over, though its process lives and does nothing", function()
      answer = function() coroutine.yield(100) end
      local run = begin(first)
      settle(first)
      now = now + 601
      assert.equal("expired", look(second, run).status)
      assert(perform(second, "threads.messages.create", { thread_id = run.thread_id }, USER))
      settle(first)
      assert.is_nil(first.machine.jobs[run.id])
    end)

    it("end as cancelled what was being cancelled when they were closed", function()
      answer = function() coroutine.yield(100) end
      local run = begin(first)
      settle(first)
      must(first, "threads.runs.cancel", { thread_id = run.thread_id, run_id = run.id })
      first:close()
      assert.equal("cancelled", look(second, run).status)
    end)

    it("tell who waits for a run that another has deleted it", function()
      answer = function() coroutine.yield(100) end
      local run = begin(first)
      settle(first)
      local has_changed, told = first:watch(run), nil
      first.machine.on_change = function(id) told = id end
      must(second, "threads.delete", { thread_id = run.thread_id })
      now = now + 1
      settle(first)
      assert.is_true(has_changed())
      assert.equal(run.id, told)
    end)

    it("say that a store failed where a message attaches a file", function()
      local run = begin(first)
      settle(first)
      first.store.get = function() error(errors.new({ kind = "storage", message = "full" }), 0) end
      local file = { file_id = "file-1", tools = json.array({ { type = "file_search" } }) }
      local result, err = perform(first, "threads.messages.create", { thread_id = run.thread_id },
        { role = "user", content = "x", attachments = json.array({ file }) })
      first.store.get = nil
      assert.is_nil(result)
      assert.same({ 500, "full" }, { err.status, err.message })
    end)

    -- The next transaction of a runtime fails at its very end.
    local function fail_to_commit(runtime)
      local database = runtime.store.database
      local connection = database.connection
      database.connection = setmetatable({}, { __index = function(_, name)
        return function(_, statement, ...)
          if statement ~= "COMMIT" then return connection[name](connection, statement, ...) end
          database.connection = connection
          return nil, "LuaSQL: the disk is full"
        end
      end })
    end

    local function refused(result, err)
      assert.is_nil(result)
      assert.same({ 500, "the store failed: the disk is full" }, { err.status, err.message })
    end

    it("take outputs that could not be kept when they are given again", function()
      answer = call_first
      local run = begin(first)
      settle(first)
      fail_to_commit(first)
      refused(submit(first, run))
      settle(first)
      assert.equal("requires_action", look(first, run).status)
      assert(submit(first, run))
      settle(first)
      assert.equal("completed", look(second, run).status)
    end)

    it("go on with a run whose cancellation, and whose thread's deletion, could not be kept", function()
      answer = function() coroutine.yield(1) return "Good day." end
      local run = begin(first)
      settle(first)
      fail_to_commit(first)
      refused(perform(first, "threads.runs.cancel", { thread_id = run.thread_id, run_id = run.id }))
      fail_to_commit(first)
      refused(perform(first, "threads.delete", { thread_id = run.thread_id }))
      settle(first)
      assert.equal("in_progress", look(second, run).status)
      now = now + 1
      settle(first)
      assert.equal("completed", look(second, run).status)
    end)

    local function stream(runtime)
      local thread = must(runtime, "threads.create", nil, { messages = json.array({ USER }) })
      local source = assert(runtime:open(operations["threads.runs.create"],
        { path = { thread_id = thread.id }, body = { assistant_id = "asst_local", stream = true } }))
      settle(runtime)
      return source, thread
    end

    local function events_of(source)
      local names = {}
      for name in function() return source:next(0) or nil end do names[#names + 1] = name:match("^thread%.(.+)") end
      return table.concat(names, " ")
    end

    it("tell who streams a run nothing of an answer that could not be kept", function()
      answer = function() coroutine.yield(1) return "Good day." end
      local source, thread = stream(first)
      assert.equal("run.created run.queued run.in_progress", events_of(source))
      now = now + 1
      fail_to_commit(first)
      settle(first)
      assert.equal("run.failed", events_of(source))
      local run = must(second, "threads.runs.list", { thread_id = thread.id }, {}).data[1]
      assert.same({ "failed", "the store failed: the disk is full" }, { run.status, run.last_error.message })
      assert.equal(1, #messages(second, { thread_id = thread.id }))
    end)

    it("keep what was told of a message that was kept before", function()
      answer = function() coroutine.yield({ text = "Good ", wait = 1 }) return "day." end
      local source, thread = stream(first)
      events_of(source)
      now = now + 1
      fail_to_commit(first)
      settle(first)
      assert.matches("message.incomplete run.step.failed run.failed$", events_of(source))
      assert.equal("Good day.", messages(second, { thread_id = thread.id })[2].content[1].text.value)
    end)

    it("add to a message that has begun while others have the store", function()
      answer = function()
        for _ = 1, 3 do coroutine.yield({ text = "la ", wait = 1 }) end
        return "li."
      end
      local source, thread = stream(first)
      events_of(source)
      local atomically = first.store.atomically
      first.store.atomically = function() error("others have it") end
      for _ = 1, 2 do
        now = now + 1
        settle(first)
      end
      first.store.atomically = atomically
      assert.equal("message.delta message.delta", events_of(source))
      now = now + 1
      settle(first)
      assert.equal("la la la li.", messages(second, { thread_id = thread.id })[2].content[1].text.value)
    end)

    it("fail a run whose model, which waits by itself, can't be heard any more", function()
      local client = assert(nexus.new({ agent_id = "a", provider = "script", store = "memory", nexus = false }))
      local told, abandoned, waiting = {}, 0, nil
      local model = { name = "told", waits = true }
      function model.think(_, _, _, _, context)
        for index = 1, 2 do told[index] = context.tell("la ") end
        waiting = true
        return { text = "li." }
      end
      function model.abandon() abandoned = abandoned + 1 end
      first:close()
      first = runtimes.new({ store = assert(sql_store.open(path)), clock = function() return now end, model = model,
        scheduler = client.scheduler })
      local run = begin(first)
      first:advance() -- it has begun to think, in a task that hasn't run
      first:advance()
      fail_to_commit(first)
      for _ = 1, 5 do client:update(1000) end
      client:close()
      assert.same({ false, false }, told)
      assert.is_true(waiting)
      assert.equal(1, abandoned)
      local left = look(second, run)
      assert.same({ "failed", "the store failed: the disk is full" }, { left.status, left.last_error.message })
      assert.equal(1, #messages(second, run))
    end)

    it("end a stream with the store's error where nothing can be kept any more", function()
      answer = function() coroutine.yield(1) return "Good day." end
      local source, thread = stream(first)
      events_of(source)
      now = now + 1
      local atomically = first.store.atomically
      first.store.atomically = function() error(errors.new({ kind = "storage", message = "full" }), 0) end
      settle(first)
      first.store.atomically = atomically
      local name, err = source:next(0)
      assert.is_nil(name)
      assert.same({ "storage", "full" }, { err.kind, err.message })
      assert.equal("failed", must(first, "threads.runs.list", { thread_id = thread.id }, {}).data[1].status)
    end)

    it("show nobody what they note", function()
      local run = begin(first)
      settle(first)
      for _, object in ipairs({ run, look(first, run), must(first, "threads.retrieve", { thread_id = run.thread_id }),
        must(first, "threads.runs.list", { thread_id = run.thread_id }, {}).data[1], steps(first, run)[1] }) do
        assert.is_nil(object.private)
      end
    end)

    it("say that a store failed, and keep nothing of what they had begun", function()
      local run = begin(first)
      settle(first)
      local insert = first.store.insert
      first.store.insert = function(self, kind, ...)
        insert(self, kind, ...)
        if kind == "runs" then error(errors.new({ kind = "storage", message = "full" }), 0) end
      end
      local result, err = perform(first, "threads.runs.create", { thread_id = run.thread_id }, {
        assistant_id = "asst_local", additional_messages = json.array({ { role = "user", content = "y" } }) })
      first.store.insert = nil
      assert.is_nil(result)
      assert.same({ 500, "storage", "full" }, { err.status, err.kind, err.message })
      assert.equal(2, #messages(second, run))
      assert.equal("completed", must(second, "threads.runs.list", { thread_id = run.thread_id }, {}).data[1].status)
    end)
  end)
end
