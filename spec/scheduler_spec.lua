local errors = require("nexus_assistants.error")
local fake = require("spec.support.fake_core")
local scheduler = require("nexus_assistants.scheduler")

describe("scheduler", function()
  local engine, tasks, warnings

  before_each(function()
    engine, warnings = fake.engine(), {}
    tasks = scheduler.new(engine, engine:clock(), function(text) warnings[#warnings + 1] = text end)
  end)

  describe("waiting outside tasks", function()
    it("steps until the call is done", function()
      assert.equal("answer", tasks:await(engine:call(3, "answer")))
      assert.equal(3, engine.now)
    end)

    it("returns the call's error beside its response", function()
      local response, err = tasks:await(engine:call(1, "page", { kind = "server" }))
      assert.equal("page", response)
      assert.same({ kind = "server" }, err)
    end)

    it("sleeps for the time asked for", function()
      assert.is_true(tasks:sleep(2.5))
      assert.equal(2.5, engine.now)
    end)

    it("sleeps no time at all for 0", function()
      assert.is_true(tasks:sleep(0))
      assert.equal(0, engine.now)
    end)

    it("lets tasks move on meanwhile", function()
      local order = {}
      tasks:spawn(function()
        tasks:sleep(1)
        order[#order + 1] = "task"
      end)
      tasks:await(engine:call(2, "x"))
      order[#order + 1] = "main"
      assert.same({ "task", "main" }, order)
    end)

    it("passes the engine's warnings on", function()
      engine:warn("something")
      tasks:turn(0)
      assert.same({ "something" }, warnings)
    end)
  end)

  describe("a task", function()
    it("does not run before the scheduler is driven", function()
      local ran = false
      tasks:spawn(function() ran = true end)
      assert.is_false(ran)
      tasks:update(0.001)
      assert.is_true(ran)
    end)

    it("gets its arguments and returns its results, nils included", function()
      local task = tasks:spawn(function(...) return select("#", ...), nil, ..., nil end, "a", nil)
      assert.same({ 2, nil, "a", nil, n = 4 }, { n = select("#", task:wait()), task:wait() })
    end)

    it("waits without blocking others", function()
      local order = {}
      for name, seconds in pairs({ slow = 2, fast = 1 }) do
        tasks:spawn(function()
          tasks:await(engine:call(seconds, name))
          order[#order + 1] = name
        end)
      end
      tasks:sleep(3)
      assert.same({ "fast", "slow" }, order)
      assert.equal(3, engine.now)
    end)

    it("runs in the order in which it became runnable", function()
      local order = {}
      for index = 1, 5 do
        tasks:spawn(function()
          for _ = 1, 2 do
            order[#order + 1] = index
            coroutine.yield()
          end
        end)
      end
      tasks:turn(0)
      tasks:turn(0)
      assert.same({ 1, 2, 3, 4, 5, 1, 2, 3, 4, 5 }, order)
    end)

    it("can wait for another task", function()
      local inner = tasks:spawn(function()
        tasks:sleep(1)
        return "inner"
      end)
      local outer = tasks:spawn(function() return "outer of " .. inner:wait() end)
      assert.equal("outer of inner", outer:wait())
    end)

    it("says what became of it", function()
      local task = tasks:spawn(function() tasks:sleep(1) end)
      assert.equal("running", task:status())
      task:wait()
      assert.equal("completed", task:status())
      assert.is_true(task:done())
    end)

    it("can't wait for itself", function()
      local task
      task = tasks:spawn(function() task:wait() end)
      local _, problem = task:wait()
      assert.matches("scheduler_spec%.lua:%d+: task:wait: a task can't wait for itself", problem)
    end)

    it("that waits for what can't happen ends the wait instead of the program", function()
      local one, other
      one = tasks:spawn(function() return other:wait() end)
      other = tasks:spawn(function() return one:wait() end)
      local result, err = one:wait()
      assert.is_nil(result)
      assert.equal("invalid", err.kind)
    end)

    it("doesn't take what the engine does besides for what may happen", function()
      engine.timeout = function() return 0.5 end -- as where a trace is open
      local one, other
      one = tasks:spawn(function() return other:wait() end)
      other = tasks:spawn(function() return one:wait() end)
      assert.equal("invalid", select(2, one:wait()).kind)
      tasks:spawn_apart(function() tasks:sleep(1e9) end)
      tasks:spawn_apart(function() tasks:await(engine:call()) end)
      assert.equal("invalid", select(2, one:wait()).kind)
      local call = tasks:spawn(function() return tasks:await(engine:call(100, "answer")) end)
      assert.equal("answer", call:wait())
    end)
  end)

  describe("a task that waits in a coroutine of its own", function()
    local function inside(fn)
      return tasks:spawn(function() return coroutine.wrap(fn)() end)
    end

    it("blocks until the wait is over", function()
      local task = inside(function() return (tasks:await(engine:call(1, "answer"))) end)
      tasks:turn(0)
      assert.equal("answer", task:wait(0))
      assert.equal(1, engine.now)
    end)

    it("lets others move on meanwhile", function()
      local other = tasks:spawn(function()
        tasks:sleep(1)
        return engine.now
      end)
      inside(function() tasks:sleep(2) end)
      tasks:turn(0)
      assert.equal(1, other:wait(0))
    end)

    it("gets its answers, however many such tasks there are", function()
      local all = {}
      for index = 1, 300 do
        all[index] = inside(function() return (tasks:await(engine:call(1, index))), tasks:sleep(1) end)
      end
      for index = 1, 300 do assert.same({ index, true }, { all[index]:wait() }) end
    end)

    it("does not busy itself where nothing can be run on top of it", function()
      for _ = 1, 12 do inside(function() tasks:await(engine:call(1)) end) end
      tasks:turn(0)
      assert.is_true(engine.steps < 40, engine.steps .. " steps")
    end)

    it("is told where it waits for a task that can't be run on top of it", function()
      local other, refusals = nil, {}
      for _ = 1, 20 do
        inside(function()
          local _, err = other:wait()
          refusals[#refusals + 1] = err
        end)
      end
      other = tasks:spawn(function() return nil end)
      tasks:turn(0)
      assert.is_true(#refusals > 0)
      for _, err in ipairs(refusals) do
        assert.equal("invalid: too many tasks block on top of each other: wait in a task itself, not in a coroutine it "
          .. "runs", tostring(err))
      end
      assert.is_true(other:done())
    end)

    it("can't wait for itself there either, nor for one it runs on top of", function()
      local one, other, told
      one = inside(function()
        other = inside(function()
          told = select(2, one:wait(5))
          other:wait()
        end)
        tasks:sleep(1)
      end)
      tasks:turn(0)
      assert.equal("invalid: the task waits for what can't happen", tostring(told))
      assert.matches("task:wait: a task can't wait for itself", select(2, other:wait()))
    end)

    it("is told when it is cancelled, by one that runs on top of it", function()
      local task, said
      task = inside(function()
        local _, call_error = tasks:await(engine:call(100))
        local _, sleep_error = tasks:sleep(100)
        said = { call_error.kind, sleep_error.kind }
      end)
      tasks:spawn(function() task:cancel() end)
      tasks:turn(0)
      assert.same({ "cancelled", "cancelled" }, said)
      assert.equal(0, engine.now)
    end)

    it("keeps no other that runs on top of it from closing", function()
      local blocked = inside(function() return tasks:sleep(100) end)
      tasks:spawn(function() tasks:close(50) end)
      tasks:turn(0)
      assert.equal(0, engine.now)
      assert.is_true(blocked:done())
    end)
  end)

  describe("a wait with a timeout", function()
    it("ends the wait and not the task", function()
      local task = tasks:spawn(function()
        tasks:sleep(5)
        return "late"
      end)
      local result, err = task:wait(2)
      assert.is_nil(result)
      assert.is_true(errors.is(err))
      assert.equal("timeout: the task was not done after 2 s", tostring(err))
      assert.equal(2, engine.now)
      assert.equal("late", task:wait())
      assert.equal(5, engine.now)
    end)

    it("works inside tasks too, and leaves nothing behind", function()
      local slow = tasks:spawn(function() return tasks:sleep(5) end)
      local waiter = tasks:spawn(function() return slow:wait(1) end)
      local result, err = waiter:wait()
      assert.is_nil(result)
      assert.equal("timeout", err.kind)
      assert.equal(1, engine.now)
      assert.is_nil(slow.waiters)
    end)

    it("refuses what is no time, at the line of the caller", function()
      local task = tasks:spawn(function() return tasks:sleep(1) end)
      for got, timeout in pairs({ ["a string"] = "1", ["a boolean"] = false, ["a table"] = {}, ["-1"] = -1 }) do
        local line = debug.getinfo(1, "l").currentline + 1
        local ok, problem = pcall(function() task:wait(timeout) end)
        assert.is_false(ok)
        assert.equal(line .. ": task:wait: timeout must be a number, 0 or more, got " .. got,
          problem:match("scheduler_spec%.lua:(.*)$"))
      end
      local ok, problem = pcall(function() task:wait(0 / 0) end)
      assert.is_false(ok)
      assert.matches("task:wait: timeout must be a number, 0 or more, got %-?nan$", problem)
    end)

    it("waits for ever where that is infinite, but for nothing that can't happen", function()
      local one, other
      one = tasks:spawn(function() return other:wait() end)
      other = tasks:spawn(function() return one:wait() end)
      local result, err = one:wait(math.huge)
      assert.is_nil(result)
      assert.equal("invalid", err.kind)
      local task = tasks:spawn(function() return tasks:sleep(1e5) end)
      assert.is_true(task:wait(math.huge))
    end)

    it("takes its timer away when the task is done first", function()
      local quick = tasks:spawn(function() return tasks:sleep(1) end)
      local waiter = tasks:spawn(function() return quick:wait(100) end)
      assert.is_true(waiter:wait())
      assert.equal(0, #tasks.timers)
    end)
  end)

  describe("the failure of a task", function()
    it("is its result, the very value that was raised", function()
      local value = {}
      local task = tasks:spawn(function() error(value) end)
      local result, err = task:wait()
      assert.is_nil(result)
      assert.equal(value, err)
      assert.equal("failed", task:status())
    end)

    -- Variables that are to be closed are 5.4's own syntax.
    local function fail_with_a_variable(close)
      local run = assert((rawget(_G, "loadstring") or load)([[
        local close = ...
        local subject <close> = setmetatable({}, { __close = close })
        error("first", 0)
      ]]))
      return tasks:spawn(run, close)
    end

    it("closes its variables that are to be closed, with the error", function()
      local given
      local task = fail_with_a_variable(function(_, err) given = err end)
      assert.same({ nil, "first", n = 2 }, { n = 2, task:wait() })
      assert.equal("first", given)
    end)

    it("is the first error, though closing raises another", function()
      assert.equal("first", select(2, fail_with_a_variable(function() error("second", 0) end):wait()))
    end)

    it("lets what closes the variables wait, blocking", function()
      local answer
      local task = fail_with_a_variable(function() answer = tasks:await(engine:call(1, "answer")) end)
      assert.equal("first", select(2, task:wait()))
      assert.equal("answer", answer)
      assert.equal(0, tasks.task_count)
    end)

    it("is a warning where nobody waits for it", function()
      tasks:spawn(function() error("boom", 0) end)
      tasks:sleep(0.5)
      assert.same({}, warnings)
      tasks:sleep(1)
      assert.same({ "a task failed and nobody waited for it: boom" }, warnings)
    end)

    it("is a warning where a wait for it ran out before", function()
      local task = tasks:spawn(function()
        tasks:sleep(5)
        error("boom", 0)
      end)
      tasks:spawn(function() task:wait(1) end)
      tasks:sleep(10)
      assert.same({ "a task failed and nobody waited for it: boom" }, warnings)
    end)

    it("is no warning where somebody asked in time", function()
      local task = tasks:spawn(function() error("boom", 0) end)
      task:wait()
      tasks:sleep(5)
      assert.same({}, warnings)
    end)

    it("can't break the warning either", function()
      tasks:spawn(function() error(setmetatable({}, { __tostring = function() error("worse") end })) end)
      tasks:sleep(2)
      assert.same({ "a task failed and nobody waited for it: (an error value that can't be shown)" }, warnings)
    end)
  end)

  describe("cancelling", function()
    local function cancelled(task)
      local result, err = task:wait()
      assert.is_nil(result)
      assert.equal("cancelled", err.kind)
      assert.equal("cancelled", task:status())
    end

    it("ends a wait for a call at once", function()
      local call = engine:call(100, "late")
      local task = tasks:spawn(function()
        local _, err = tasks:await(call)
        return nil, err
      end)
      tasks:turn(0)
      assert.is_true(task:cancel())
      assert.is_true(call:done())
      cancelled(task)
      assert.equal(0, engine.now)
    end)

    it("ends a sleep at once", function()
      local task = tasks:spawn(function() return tasks:sleep(100) end)
      tasks:turn(0)
      task:cancel()
      cancelled(task)
      assert.equal(0, #tasks.timers)
    end)

    it("ends a wait for another task, which goes on", function()
      local other = tasks:spawn(function() return tasks:sleep(3) end)
      local task = tasks:spawn(function() return other:wait() end)
      tasks:turn(0)
      task:cancel()
      cancelled(task)
      assert.is_true(other:wait())
    end)

    it("keeps a task from starting", function()
      local ran = false
      local task = tasks:spawn(function() ran = true end)
      task:cancel()
      tasks:sleep(2)
      assert.is_false(ran)
      cancelled(task)
      assert.same({}, warnings)
    end)

    it("ends every later wait of the task", function()
      local kinds = {}
      local task = tasks:spawn(function()
        for _ = 1, 3 do
          local _, err = tasks:sleep(10)
          kinds[#kinds + 1] = err.kind
        end
        local _, err = tasks:await(engine:call(10))
        kinds[#kinds + 1] = err.kind
      end)
      tasks:turn(0)
      task:cancel()
      task:wait()
      assert.same({ "cancelled", "cancelled", "cancelled", "cancelled" }, kinds)
      assert.equal(0, engine.now)
    end)

    it("doesn't keep a processor busy, though the task waits again and again", function()
      local waits = 0
      local task = tasks:spawn(function()
        while true do
          tasks:sleep(1)
          waits = waits + 1
        end
      end)
      tasks:turn(0)
      task:cancel()
      tasks:sleep(1)
      assert.is_true(waits > 100 and waits < 250, waits)
    end)

    describe("a task that waits on, whatever it is told,", function()
      -- Ends after so many rounds, so that what never gave way fails instead of hanging.
      local MANY = 100

      local function stubborn(wait)
        local rounds = 0
        local task = tasks:spawn(function()
          tasks:sleep(1)
          while rounds < MANY do
            rounds = rounds + 1
            pcall(wait)
          end
        end)
        tasks:turn(0)
        task:cancel()
        return function() return rounds end
      end

      local function refuse(_, request) return nil, { kind = "closed", message = request } end

      local function waits()
        local done = tasks:spawn(function() return "done" end)
        done:wait()
        local endless = tasks:spawn(function() tasks:sleep(1e6) end)
        endless.background = true
        return {
          ["for time"] = function() tasks:sleep(1) end,
          ["for a call"] = function() tasks:await(engine:call(1)) end,
          ["for a call that can't begin"] = function() tasks:call("refused") end,
          ["for a task"] = function() endless:wait() end,
          ["for a task, with a timeout"] = function() endless:wait(1) end,
          ["for a task that is done"] = function() done:wait() end,
        }
      end

      for _, name in ipairs({ "for time", "for a call", "for a call that can't begin", "for a task",
        "for a task, with a timeout", "for a task that is done" }) do
        it("gives way each time it waits " .. name, function()
          local wait = waits()[name]
          if name == "for a call that can't begin" then engine.call = refuse end
          local rounds = stubborn(wait)
          for _ = 1, 3 do tasks:update(0.002) end
          assert.equal(3, rounds())
        end)
      end

      it("is given up when the time to close in is over", function()
        local rounds = stubborn(function() tasks:sleep(1) end)
        engine.step = function(self) self.now = self.now + 0.1 end
        tasks:close(1)
        assert.is_true(rounds() < MANY)
      end)
    end)

    it("has nothing to do with a task that is done", function()
      local task = tasks:spawn(function() return 1 end)
      task:wait()
      assert.is_false(task:cancel())
      assert.equal("completed", task:status())
    end)
  end)

  describe("update", function()
    it("never waits", function()
      tasks:spawn(function() tasks:sleep(10) end)
      for _ = 1, 10 do tasks:update(0.002) end
      assert.equal(0, engine.now)
    end)

    it("gives the engine a budget, however small its own is", function()
      tasks:update(0)
      assert.is_true(engine.budgets[1] > 0)
    end)

    it("begins nothing in the second half of the budget, and goes on where it stopped", function()
      local ran = 0
      for _ = 1, 10 do
        tasks:spawn(function()
          ran = ran + 1
          engine.now = engine.now + 0.001
        end)
      end
      tasks:update(0.006)
      assert.equal(3, ran)
      tasks:update(0.006)
      assert.equal(6, ran)
      tasks:update(1)
      assert.equal(10, ran)
    end)

    it("runs at least one task, however little budget there is", function()
      local ran = 0
      for _ = 1, 3 do tasks:spawn(function() ran, engine.now = ran + 1, engine.now + 1 end) end
      for _ = 1, 3 do tasks:update(0.001) end
      assert.equal(3, ran)
    end)

    it("keeps the events it has no time for", function()
      local done = 0
      for _ = 1, 4 do
        tasks:spawn(function()
          tasks:await(engine:call(0, "x"))
          done = done + 1
          engine.now = engine.now + 0.01
        end)
      end
      for _ = 1, 10 do tasks:update(0.005) end
      assert.equal(4, done)
    end)
  end)

  it("knows how long it has nothing to do", function()
    assert.is_nil(tasks:idle_time())
    local task = tasks:spawn(function() tasks:sleep(7) end)
    assert.equal(0, tasks:idle_time())
    tasks:update(1)
    assert.equal(7, tasks:idle_time())
    task:cancel()
    assert.equal(0, tasks:idle_time())
  end)

  it("fires timers in the order they are due, whatever order they were set and taken away in", function()
    math.randomseed(7)
    for _ = 1, 50 do
      local fired, armed, expected = {}, {}, {}
      for index = 1, 60 do
        local due = math.random(20)
        local subject = { due = due, index = index }
        armed[index] = tasks:arm(due, function(_, fired_for) fired[#fired + 1] = fired_for end, subject)
      end
      for index = 1, 60, 3 do
        tasks:disarm(armed[index])
        tasks:disarm(armed[index])
        armed[index] = false
      end
      for _, timer in ipairs(armed) do
        if timer then expected[#expected + 1] = timer.subject end
      end
      table.sort(expected, function(one, other)
        if one.due ~= other.due then return one.due < other.due end
        return one.index < other.index
      end)
      tasks:sleep(30)
      assert.same(expected, fired)
      assert.equal(0, #tasks.timers)
    end
  end)

  describe("close", function()
    it("cancels tasks and drives them to their end", function()
      local said
      tasks:spawn(function()
        local _, err = tasks:sleep(100)
        said = err.kind
      end)
      tasks:turn(0)
      tasks:close(1)
      assert.equal("cancelled", said)
      assert.equal(0, tasks.task_count)
      assert.equal(0, engine.now)
    end)

    it("waits for what runs in the background, within its timeout", function()
      local finished = false
      tasks:spawn(function()
        tasks:sleep(1)
        finished = true
      end).background = true
      tasks:spawn(function() tasks:sleep(100) end).background = true
      tasks:close(2)
      assert.is_true(finished)
      assert.equal(2, engine.now)
    end)

    it("gives up on a task that doesn't end", function()
      tasks:spawn(function()
        while true do coroutine.yield() end
      end)
      tasks:turn(0)
      local before = engine.now
      engine.step = function(self) self.now = self.now + 0.1 end
      tasks:close(1)
      assert.is_true(engine.now - before >= 1)
    end)

    describe("leaves a scheduler in which", function()
      local function closed(ok, err)
        assert.is_nil(ok)
        assert.is_true(errors.is(err))
        assert.equal("closed: the client is closed", tostring(err))
        assert.equal(0, engine.now)
      end

      it("nothing sleeps", function()
        tasks:close(0)
        closed(tasks:sleep(100))
      end)

      it("nobody waits for a task that did not end", function()
        local task = tasks:spawn(function()
          while true do coroutine.yield() end
        end)
        tasks:turn(0)
        tasks:close(0)
        closed(task:wait())
        closed(task:wait(100))
      end)

      it("what tasks did can still be asked for", function()
        local task = tasks:spawn(function() return "done" end)
        task:wait()
        tasks:close(0)
        assert.equal("done", task:wait())
      end)

      it("a wait that is under way ends", function()
        local task = tasks:spawn(function() tasks:close(0) end)
        tasks:spawn(function() tasks:sleep(100) end).background = true
        closed(tasks:sleep(100))
        assert.is_true(task:done())
      end)

      it("the task that closed it gives way in its waits, and gets the error", function()
        local kinds = {}
        tasks:spawn(function()
          tasks:close(0)
          while #kinds < 100 do kinds[#kinds + 1] = select(2, tasks:sleep(1)).kind end
        end)
        for _ = 1, 4 do tasks:update(0.002) end
        assert.same({ "closed", "closed", "closed" }, kinds)
      end)
    end)

    it("tells what failed without being asked about", function()
      tasks:spawn(function() error("boom", 0) end)
      tasks:turn(0)
      tasks:close(0)
      assert.same({ "a task failed and nobody waited for it: boom" }, warnings)
    end)
  end)
end)
