local errors = require("nexus_assistants.error")
local fake_client = require("spec.support.fake_client")
local json = require("nexus_assistants.json")
local told = require("spec.support.told")

describe("lanes", function()
  local server, client, thread

  local function new(changes)
    changes = changes or {}
    changes.nexus = false
    return told.client(server, changes)
  end

  setup(function() server = told.server() end)
  teardown(function() server:stop() end)

  before_each(function()
    client = new()
    thread = assert(client.threads:create())
  end)

  after_each(function()
    server:clear_faults()
    client:close(0)
  end)

  local function say(by, content, options)
    return by.threads.messages:create(thread.id, { role = "user", content = content }, options)
  end

  local function tell(...)
    told.ask(client, thread, ...)
  end

  it("let tasks that use one thread take turns", function()
    server:clear_requests()
    local tasks = {}
    for index = 1, 5 do
      tasks[index] = client:task(function()
        assert(say(client, json.encode({ "answer " .. index })))
        return assert(client.threads.runs:create_and_poll(thread.id)).status
      end)
    end
    for _, task in ipairs(tasks) do assert.equal("completed", task:wait(10)) end
    assert.equal(5, #told.requests(server, "POST", "/runs$"))
    assert.equal(5, #told.requests(server, "POST", "/messages$")) -- none was refused and tried again
    assert.is_nil(next(client.lanes.lanes))
  end)

  it("wait for a run that the script itself started and left", function()
    tell({ wait = 0.05, text = "x" })
    local left = assert(client.threads.runs:create(thread.id))
    assert(say(client, "next"))
    assert.equal("completed", assert(client.threads.runs:retrieve(thread.id, left.id)).status)
  end)

  it("don't ask about a run that was seen to be over", function()
    tell("x")
    assert(client.threads.runs:create_and_poll(thread.id))
    server:clear_requests()
    assert(say(client, "next"))
    assert.equal(1, #server:requests())
  end)

  it("wait for a run of another program", function()
    local other = new()
    tell({ wait = 0.05, text = "x" })
    assert(other.threads.runs:create(thread.id))
    assert(say(client, "next"))
    local last = assert(client.threads.messages:list(thread.id)).data[1]
    assert.equal("next", last.content[1].text.value)
    other:close(0)
  end)

  it("tell the doctor of a run that another program had active", function()
    local other = new()
    tell({ wait = 0.05, text = "x" })
    local foreign = assert(other.threads.runs:create(thread.id))
    local mine = assert(client.threads.runs:create_and_poll(thread.id))
    local ids = told.ids_of(mine:findings())
    assert.matches(foreign.id, ids.active_run_conflict, 1, true)
    other:close(0)
  end)

  for _, name in ipairs({ "create_and_poll", "stream" }) do
    it("know a run again whose creation was answered and the answer lost: " .. name, function()
      local patient = new({ openai = { api_key = "sk-x", base_url = server.openai_url, retries = 2 } })
      tell({ wait = 2, text = "made once" })
      server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs", method = "POST", action = "drop_answered",
        times = 1 } })
      local runs = patient.threads.runs
      local done = name == "stream" and assert(runs:stream(thread.id)):result() or runs:create_and_poll(thread.id)
      assert.equal("completed", assert(done).status)
      assert.equal(1, #assert(patient.threads.runs:list(thread.id)).data)
      patient:close(0)
    end)
  end

  it("cancel what is in the way, where that is the policy", function()
    local other = new()
    tell({ wait = 600, text = "x" })
    local foreign = assert(other.threads.runs:create(thread.id))
    assert(say(client, "next", { lane = "cancel" }))
    assert.equal("cancelled", assert(client.threads.runs:retrieve(thread.id, foreign.id)).status)
    other:close(0)
  end)

  it("cancel a run of this client that is waited for", function()
    tell({ wait = 600, text = "x" })
    local waiting = client:task(function() return client.threads.runs:create_and_poll(thread.id) end)
    while not (client.lanes.lanes[thread.id] or {}).active do client:sleep(0.002) end
    assert(say(client, "next", { lane = "cancel" }))
    assert.equal("Run ended with status: cancelled", select(2, waiting:wait(5)).message)
  end)

  it("reject, where that is the policy", function()
    local rejecting, other = new({ lane = "reject" }), new()
    tell({ wait = 600, text = "x" })
    local foreign = assert(other.threads.runs:create(thread.id))
    local _, err = say(rejecting, "next")
    assert.same({ "bad_request", 400 }, { err.kind, err.status })
    assert.matches(foreign.id, err.message, 1, true)
    _, err = say(other, "next", { lane = "reject" })
    assert.same({ "conflict", "thread_busy" }, { err.kind, err.code })
    assert.matches("thread " .. thread.id .. " is taken by run " .. foreign.id, err.message, 1, true)
    assert(other.threads.runs:cancel(thread.id, foreign.id))
    rejecting:close(0)
    other:close(0)
  end)

  it("don't reject for a run that is over by now", function()
    local other = new()
    tell({ wait = 0.03, text = "x" })
    local left = assert(client.threads.runs:create(thread.id))
    repeat other:sleep(0.01) until assert(other.threads.runs:retrieve(thread.id, left.id)).status == "completed"
    assert(say(client, "next", { lane = "reject" }))
    other:close(0)
  end)

  it("forget runs that nobody looks at, in time", function()
    local fake = fake_client.new(function() return {}, {} end)
    for index = 1, 10000 do
      fake.lanes:saw({ id = "run_" .. index, thread_id = "t" .. index, status = "queued" })
    end
    local count = 0
    for _ in pairs(fake.lanes.lanes) do count = count + 1 end
    assert.is_true(count < 5000, count)
  end)

  it("leave a server time that still holds a run for active when it is over", function()
    local asked = 0
    local fake = fake_client.new(function(operation)
      asked = asked + 1
      if operation.name == "threads.runs.retrieve" then return { id = "run_x", status = "completed" }, {} end
      return nil, errors.new({ kind = "bad_request", status = 400,
        message = "Can't add messages to t while a run run_x is active." })
    end)
    local _, err = fake.lanes:perform("t", { deadline = 5 }, function() return fake:perform({ name = "x" }, {}) end)
    assert.equal(400, err.status)
    assert.is_true(fake.engine.now >= 5 and asked < 30, asked)
  end)

  it("give up at the deadline of the call", function()
    tell({ wait = 600, text = "x" })
    local left = assert(client.threads.runs:create(thread.id))
    local _, err = say(client, "next", { deadline = 0.05 })
    assert.matches(left.id, err.message, 1, true)
    assert(client.threads.runs:cancel(thread.id, left.id))
  end)

  it("leave the lane to the next where a task is cancelled while it waits", function()
    tell({ wait = 0.2, text = "x" })
    local first = client:task(function() return client.threads.runs:create_and_poll(thread.id) end)
    while not (client.lanes.lanes[thread.id] or {}).active do client:sleep(0.002) end
    local second = client:task(function() return say(client, "never") end)
    local third = client:task(function() return say(client, "third") end)
    client:sleep(0.01)
    second:cancel()
    assert.equal("cancelled", select(2, second:wait(5)).kind)
    assert(first:wait(5))
    assert(third:wait(5))
  end)

  it("don't wait for outputs of tools that nobody gives", function()
    local fake = fake_client.new(function(operation)
      if operation.name == "threads.runs.retrieve" then return { id = "run_x", status = "requires_action" }, {} end
      return nil, errors.new({ kind = "bad_request", status = 400,
        message = "Can't add messages to t while a run run_x is active." })
    end)
    local _, err = fake.lanes:perform("t", { deadline = 600 }, function() return fake:perform({ name = "x" }, {}) end)
    assert.equal("thread t is taken by run run_x: it waits for outputs of tools, and gets none", err.message)
    assert.is_true(fake.engine.now < 30, fake.engine.now)
  end)

  it("don't take any 400 for a run that is active", function()
    local fake = fake_client.new(function()
      return nil, errors.new({ kind = "bad_request", status = 400, message = "no such run_abc" })
    end)
    local _, err = fake.lanes:perform("t", nil, function() return fake:perform({ name = "x" }, {}) end)
    assert.equal("no such run_abc", err.message)
  end)

  describe("recover", function()
    it("settles a run that a program before this one left", function()
      local before = new()
      tell({ wait = 600, text = "x" })
      local zombie = assert(before.threads.runs:create(thread.id))
      before:close(0)
      local settled = assert(client.threads:recover(thread.id))
      assert.same({ zombie.id, "cancelled" }, { settled[1].id, settled[1].status })
      assert.equal(1, #settled)
      assert.same({}, assert(client.threads:recover(thread.id)))
    end)

    it("says what is wrong where it can't", function()
      local _, err = client.threads:recover("thread_none")
      assert.equal(404, err.status)
      assert.is_false((pcall(client.threads.recover, client.threads)))
    end)
  end)

  describe("the ledger of a client", function()
    it("lists its threads, and sweeps those not used for long", function()
      local fresh = assert(client.threads:create())
      assert(say(client, "x"))
      assert.equal(2, #client.threads:ledger())
      assert.same({ deleted = {}, failed = {} }, assert(client.threads:sweep({ older_than = 60 })))
      local result = assert(client.threads:sweep())
      assert.same({ fresh.id, thread.id }, result.deleted)
      assert.same({}, client.threads:ledger())
      assert.equal(404, select(2, client.threads:retrieve(fresh.id)).status)
    end)

    it("keeps what it could not delete", function()
      server:faults({ { path = "/v1/threads/" .. thread.id, action = "status", status = 403, body = "{}" } })
      local result = assert(client.threads:sweep())
      assert.same({}, result.deleted)
      assert.same({ thread.id, "permission" }, { result.failed[1].id, result.failed[1].error.kind })
      assert.equal(1, #client.threads:ledger())
    end)

    it("takes a thread that is gone already for deleted", function()
      local other = new()
      assert(other.threads:delete(thread.id))
      assert.same({ thread.id }, assert(client.threads:sweep()).deleted)
      other:close(0)
    end)
  end)
end)
