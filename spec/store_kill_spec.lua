-- A process that works on a store is killed at random moments: what it acknowledged is there, and nothing by halves.
local operations = require("nexus_assistants.operations")
local runtimes = require("nexus_assistants.providers.runtime")
local servers = require("spec.support.server")
local sql_store = require("nexus_assistants.providers.runtime.sql_store")

local KILLS = tonumber(os.getenv("KILLS")) or 200
local MOST_LINES = 60 -- of a process, before it is killed
local ENDED = { completed = true, failed = true, cancelled = true, incomplete = true, expired = true }

describe("a store whose process is killed", function()
  if not pcall(require, "luasql.sqlite3") then
    it("has lost nothing", function() pending("luasql.sqlite3 is absent") end)
    return
  end

  local path, seed

  setup(function()
    path, seed = os.tmpname(), os.time()
    math.randomseed(seed)
  end)

  teardown(function() os.execute("rm -f " .. servers.quote(path) .. "*") end)

  -- The lines a job printed until it was killed. One that was cut isn't acknowledged.
  local function work(number)
    local command = servers.command({ "spec/support/store_job.lua", path, tostring(seed + number) })
    local pipe = assert(io.popen("echo $$; " .. command .. " 2>&1"))
    local pid, lines = pipe:read("*l"), {}
    for _ = 1, math.random(0, MOST_LINES) do lines[#lines + 1] = pipe:read("*l") end
    os.execute("kill -9 " .. pid)
    local rest = pipe:read("*a")
    for line in rest:gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
    pipe:close()
    return lines
  end

  local function words_of(line)
    local words = {}
    for word in line:gmatch("%S+") do words[#words + 1] = word end
    return words
  end

  local function perform(runtime, name, ids)
    return assert(runtime:perform(operations[name], { path = ids, query = { order = "asc", limit = 100 } }))
  end

  local CHECKS = {}

  function CHECKS.thread(runtime, id)
    perform(runtime, "threads.retrieve", { thread_id = id })
  end

  function CHECKS.message(runtime, thread_id, id, text)
    local message = perform(runtime, "threads.messages.retrieve", { thread_id = thread_id, message_id = id })
    assert.equal(text, message.content[1].text.value)
  end

  function CHECKS.run(runtime, thread_id, id)
    perform(runtime, "threads.runs.retrieve", { thread_id = thread_id, run_id = id })
  end

  function CHECKS.submitted(runtime, thread_id, id)
    for _, step in ipairs(perform(runtime, "threads.runs.steps.list", { thread_id = thread_id, run_id = id }).data) do
      local calls = step.step_details.tool_calls
      if calls and step.status == "completed" then return assert.equal("4", calls[1]["function"].output) end
    end
    error("the outputs of " .. id .. " are missing")
  end

  function CHECKS.ended(runtime, thread_id, id, status)
    local run = perform(runtime, "threads.runs.retrieve", { thread_id = thread_id, run_id = id })
    assert.equal(status, run.status)
  end

  local function is_acknowledged(line)
    local words = words_of(line)
    assert.is_truthy(CHECKS[words[1]], "the job said: " .. line)
    return words
  end

  -- Everything of a thread as it is once its runs are settled, and gone on with where they can be.
  local function check_whole(runtime, thread_id)
    perform(runtime, "threads.runs.list", { thread_id = thread_id })
    repeat runtime:advance() until runtime:idle_time() ~= 0
    for _, run in ipairs(perform(runtime, "threads.runs.list", { thread_id = thread_id }).data) do
      assert.is_true(ENDED[run.status] or run.status == "requires_action", run.status)
      for _, step in ipairs(perform(runtime, "threads.runs.steps.list",
        { thread_id = thread_id, run_id = run.id }).data) do
        assert.is_true(step.status ~= "in_progress" or run.status == "requires_action", run.status)
      end
    end
    for _, message in ipairs(perform(runtime, "threads.messages.list", { thread_id = thread_id }).data) do
      assert.is_truthy(message.content[1], "a message without content")
    end
  end

  local function sum(store, condition)
    return tonumber(store.database:rows("SELECT COALESCE(SUM(weight), 0) FROM nexus_objects WHERE " .. condition)[1][1])
  end

  -- What is counted of a thread is what is there.
  local function check_account(store, id)
    local there = sum(store, ("kind = 2 AND parent = '' AND id = '%s'"):format(id))
    for kind = 3, 4 do there = there + sum(store, ("kind = %d AND parent = '%s'"):format(kind, id)) end
    local runs = ("SELECT id FROM nexus_objects WHERE kind = 4 AND parent = '%s'"):format(id)
    there = there + sum(store, "kind = 5 AND parent IN (" .. runs .. ")")
    local row = store.database:rows(("SELECT bytes FROM nexus_accounts WHERE id = '%s'"):format(id))[1]
    assert.equal(there, tonumber(row[1]))
  end

  it("has lost nothing, and shows nothing by halves, " .. KILLS .. " times", function()
    local total = 0
    for number = 1, KILLS do
      local lines = work(number)
      total = total + #lines
      local store = assert(sql_store.open(path))
      local runtime, threads = runtimes.new({ store = store }), {}
      for _, line in ipairs(lines) do
        local words = is_acknowledged(line)
        threads[words[2]] = true
        local ok, problem = pcall(CHECKS[words[1]], runtime, (unpack or table.unpack)(words, 2)) -- luacheck: ignore
        assert(ok, ("seed %d, kill %d: %s: %s"):format(seed, number, line, tostring(problem)))
      end
      for thread_id in pairs(threads) do
        check_whole(runtime, thread_id)
        check_account(store, thread_id)
      end
      runtime:close()
    end
    assert.is_true(total > KILLS, "the jobs did next to nothing")
  end)
end)
