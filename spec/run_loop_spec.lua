local errors = require("nexus_assistants.error")
local fake_client = require("spec.support.fake_client")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local run_loop = require("nexus_assistants.run_loop")
local socket = require("socket")
local told = require("spec.support.told")

describe("create_and_poll", function()
  local server, client, thread

  local function new(changes)
    local given = { nexus = false, openai = { api_key = "sk-x", base_url = server.openai_url } }
    for key, value in pairs(changes or {}) do given[key] = value end
    return told.client(server, given)
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

  -- Asks the scripted model; see spec/support/told_model.lua.
  local function tell(...)
    told.ask(client, thread, ...)
  end

  local function run(params, options)
    return client.threads.runs:create_and_poll(thread.id, params or {}, options)
  end

  local function calls(...)
    return { tool_calls = { ... } }
  end

  local function call(name, arguments)
    return { name = name, arguments = arguments or {} }
  end

  local function count(method, pattern)
    return #told.requests(server, method, pattern)
  end

  local function submitted()
    for _, request in ipairs(server:requests()) do
      if request.path:find("submit_tool_outputs$") then return json.decode(request.body).tool_outputs end
    end
  end

  -- Makes every answer about the run say what the server never would.
  local function pretend(fields)
    local body = { id = "run_pretended", object = "thread.run", thread_id = thread.id, assistant_id = "asst_local" }
    for key, value in pairs(fields) do body[key] = value end
    server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs", action = "status", status = 200,
      body = json.encode(body) } })
  end

  it("returns a run that completed, which knows its text", function()
    tell("Bonjour")
    local done = assert(run())
    assert.equal("completed", done.status)
    assert.equal("Bonjour", done:text())
    assert.equal("thread.run", done.object)
  end)

  it("returns plain data beside the methods", function()
    tell("x")
    local done = assert(run())
    assert.is_nil(rawget(done, "text"))
    assert.equal("completed", assert(json.decode(assert(json.encode(done)))).status)
  end)

  it("gives the text of this run alone, oldest first", function()
    tell("first")
    assert(run())
    tell("second")
    local second = assert(run())
    tell("third")
    assert(run())
    assert.equal("second", second:text())
  end)

  it("gives the text of all pages, whatever is between it", function()
    tell("x")
    local done = assert(run())
    local function message(id, role, run_id, ...)
      return { id = id, role = role, run_id = run_id, content = { ... } }
    end
    local function text(value) return { type = "text", text = { value = value, annotations = json.array() } } end
    local image = { type = "image_file", image_file = { file_id = "file_1" } }
    local function page(has_more, ...)
      return { path = "/v1/threads/" .. thread.id .. "/messages", action = "status", status = 200, times = 1,
        body = json.encode({ object = "list", has_more = has_more, data = { ... } }) }
    end
    server:clear_requests()
    server:faults({
      page(true, message("m1", "assistant", done.id, image, text("one"), text("two")),
        message("m2", "user", done.id, text("no"))),
      page(true, message("m3", "assistant", "run_other", text("no")),
        message("m4", "assistant", nexus.null, text("no"))),
      page(false, message("m5", "assistant", done.id, text("three"))),
    })
    assert.equal("one\n\ntwo\n\nthree", done:text())
    local queries = {}
    for index, request in ipairs(server:requests()) do queries[index] = request.query end
    local common = "limit=100&order=asc&run_id=" .. done.id
    assert.same({ common, "after=m2&" .. common, "after=m4&" .. common }, queries)
  end)

  it("returns nil and an error for the text where it can't be had", function()
    tell("x")
    local done = assert(run())
    server:faults({ { path = "/v1/threads", action = "status", status = 403, body = "no" } })
    local text, err = done:text()
    assert.is_nil(text)
    assert.equal("permission", err.kind)
  end)

  it("gives the run's steps", function()
    tell(calls(call("w")), "done")
    local done = assert(run({ tools = { nexus.tool({ name = "w", call = function() return 1 end }) } }))
    local steps = assert(done:steps())
    assert.equal("tool_calls", steps[1].type)
    assert.equal("message_creation", steps[2].type)
  end)

  it("uses the assistant it is given before the client's own", function()
    tell("x")
    assert.matches("No assistant found with id 'asst_other'", select(2, run({ assistant_id = "asst_other" })).message)
  end)

  describe("tools", function()
    local weather = nexus.tool({
      name = "get_weather",
      call = function(arguments) return { city = arguments.city, celsius = 18 } end,
    })

    it("are called, and the run goes on", function()
      tell(calls(call("get_weather", { city = "Paris" })), "It is $1")
      local done = assert(run({ tools = { weather } }))
      local output = assert(json.decode((done:text():gsub("^It is ", ""))))
      assert.same({ city = "Paris", celsius = 18 }, output)
    end)

    it("are called several at once and several times over", function()
      local seen = {}
      local note = nexus.tool({ name = "note", call = function(arguments)
        seen[#seen + 1] = arguments.n
        return "noted " .. arguments.n
      end })
      tell(calls(call("note", { n = 1 }), call("note", { n = 2 })), calls(call("note", { n = 3 })), "$1, $2, $3")
      assert.equal("noted 1, noted 2, noted 3", assert(run({ tools = { note } })):text())
      assert.same({ 1, 2, 3 }, seen)
    end)

    it("get an output for every call, whatever happens", function()
      local bad = nexus.tool({ name = "bad", call = function() error("broken", 0) end })
      tell(calls(call("bad"), call("get_weather", { city = "Rome" }), call("made_up")), "done")
      server:clear_requests()
      assert(run({ tools = { weather, bad } }))
      local outputs = submitted()
      assert.equal(3, #outputs)
      assert.same({ error = "broken" }, json.decode(outputs[1].output))
      assert.equal(18, json.decode(outputs[2].output).celsius)
      assert.same({ error = "the script gave this run no tool named 'made_up'; what it gave: 'bad', 'get_weather'" },
        json.decode(outputs[3].output))
      for _, output in ipairs(outputs) do assert.is_truthy(output.tool_call_id) end
    end)

    it("are called once, though the server goes on asking for a while", function()
      local called = 0
      local count_up = nexus.tool({ name = "count_up", call = function()
        called = called + 1
        return called
      end })
      tell(calls(call("count_up")), "counted to $1")
      local seen
      local function on_status(state)
        if state.status ~= "requires_action" or seen then return end
        seen = state
        server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs/" .. state.id, method = "GET", times = 3,
          action = "status", status = 200, body = json.encode(state) } })
      end
      assert.equal("counted to 1", assert(run({ tools = { count_up } }, { on_status = on_status })):text())
      assert.equal(1, called)
      assert.equal(3, server:faults()[1].hits)
    end)

    it("may call the client themselves", function()
      local function look_up() return assert(client.threads:create()).object end
      local lookup = nexus.tool({ name = "lookup", call = look_up })
      tell(calls(call("lookup")), "made a $1")
      assert.equal("made a thread", assert(run({ tools = { lookup } })):text())
    end)

    it("are the script's to call where it only described them", function()
      local plain = { type = "function", ["function"] = { name = "mine", parameters = { type = "object" } } }
      tell(calls(call("mine")), "done")
      local waiting = assert(run({ tools = { plain, weather } }))
      assert.equal("requires_action", waiting.status)
      local wanted = waiting.required_action.submit_tool_outputs.tool_calls[1]
      assert.equal("mine", wanted["function"].name)
      assert(client.threads.runs:submit_tool_outputs(thread.id, waiting.id, {
        tool_outputs = { { tool_call_id = wanted.id, output = "x" } },
      }))
    end)

    it("of the assistant's own are the script's too", function()
      pretend({ status = "requires_action", required_action = { type = "submit_tool_outputs",
        submit_tool_outputs = { tool_calls = { { id = "c", type = "function", ["function"] = { name = "f" } } } } } })
      assert.equal("requires_action", assert(run()).status)
    end)

    it("that nobody asked for don't make the wait endless", function()
      pretend({ status = "requires_action", required_action = nexus.null })
      assert.equal("requires_action", assert(run({ tools = { weather } })).status)
    end)
  end)

  describe("a run that doesn't complete", function()
    it("is an error with the reason in it, and the run", function()
      tell({ fail = { code = "rate_limit_exceeded", message = "slow down" } })
      local done, err = run()
      assert.is_nil(done)
      assert.is_true(errors.is(err))
      assert.equal("run", err.kind)
      assert.equal("Run ended with status: failed: rate_limit_exceeded slow down", err.message)
      assert.equal("rate_limit_exceeded", err.code)
      assert.equal("failed", err.run.status)
    end)

    it("tells why it is incomplete", function()
      pretend({ status = "incomplete", incomplete_details = { reason = "max_prompt_tokens" } })
      local _, err = run()
      assert.equal("Run ended with status: incomplete: max_prompt_tokens", err.message)
    end)

    for _, status in ipairs({ "failed", "incomplete", "expired", "cancelled", "something_new", "" }) do
      it("ends the wait, called '" .. status .. "'", function()
        pretend({ status = status, last_error = nexus.null, incomplete_details = nexus.null })
        local done, err = run()
        assert.is_nil(done)
        assert.equal("Run ended with status: " .. status, err.message)
        assert.equal(status, err.run.status)
      end)
    end

    it("ends the wait without a status", function()
      pretend({})
      assert.equal("Run ended with status: nil", select(2, run()).message)
    end)

    it("is waited for while it is being cancelled", function()
      local path = "/v1/threads/" .. thread.id .. "/runs"
      local function state(status, times)
        return { path = path, action = "status", status = 200, times = times,
          body = json.encode({ id = "run_x", status = status }) }
      end
      server:faults({ state("cancelling", 3), state("cancelled") })
      assert.equal("Run ended with status: cancelled", select(2, run()).message)
    end)

    it("that never was is the call's error", function()
      local done, err = client.threads.runs:create_and_poll("thread_none", {})
      assert.is_nil(done)
      assert.equal("not_found", err.kind)
      assert.equal("threads.runs.create", err.operation)
      assert.is_nil(err.run)
    end)

    local function abandoned(faults, params, options)
      server:faults(faults)
      local ok, done, err = pcall(run, params, options)
      server:clear_faults()
      assert.is_falsy(ok and done)
      local status = assert(client.threads.runs:list(thread.id)).data[1].status
      assert.is_true(status == "cancelling" or status == "cancelled", status)
      return ok and err or done
    end

    local function polls_answer(fault)
      fault.path, fault.method = "/v1/threads/" .. thread.id .. "/runs/run_", "GET"
      return { fault }
    end

    it("is cancelled on the server, whatever ends the wait", function()
      tell({ wait = 30, text = "late" })
      client:close(0)
      client = new({ openai = { api_key = "sk-x", base_url = server.openai_url, retries = 0 } })
      assert.equal("server", abandoned(polls_answer({ action = "status", status = 503, body = "{}" })).kind)
      thread = assert(client.threads:create())
      tell({ wait = 30, text = "late" })
      assert.equal("protocol", abandoned(polls_answer({ action = "status", status = 200, body = "no" })).kind)
    end)

    it("is cancelled on the server where on_status raises, and the error goes on as it is", function()
      tell({ wait = 30, text = "late" })
      local raised = { "mine" }
      assert.equal(raised, abandoned({}, {}, { on_status = function() error(raised) end }))
    end)

    it("that can't be asked about any more leaves what is known of it", function()
      tell({ wait = 30, text = "late" })
      local path = "/v1/threads/" .. thread.id .. "/runs/"
      server:faults({ { path = path, action = "status", status = 403, body = "no" } })
      local done, err = run()
      assert.is_nil(done)
      assert.equal("permission", err.kind)
      assert.equal("queued", err.run.status)
    end)
  end)

  describe("a server that answers nonsense", function()
    local nonsense = { 1, "x", true, nexus.null, json.array(), { 1, "x", { {} } }, { a = {} } }

    local function each(change)
      for _, value in ipairs(nonsense) do
        local fields = { id = "run_x", status = "completed" }
        change(fields, value)
        pretend(fields)
        local ok, done, err = pcall(run)
        assert.is_true(ok, tostring(done))
        assert.is_true(done ~= nil or errors.is(err))
      end
    end

    it("about any part of a run is survived", function()
      for _, field in ipairs({ "id", "status", "required_action", "last_error", "incomplete_details", "usage" }) do
        each(function(fields, value) fields[field] = value end)
      end
    end)

    it("of a run without an id ends the wait", function()
      for _, id in ipairs({ 1, nexus.null, {} }) do
        pretend({ id = id, status = "queued" })
        local _, err = run()
        assert.equal("protocol: the answer makes no sense: a run without an id (threads.runs.createAndPoll)",
          tostring(err))
      end
    end)

    it("of calls without ids runs no tool", function()
      local called = 0
      local count_up = nexus.tool({ name = "w", call = function() called = called + 1 end })
      for _, id in ipairs({ 1, nexus.null, {} }) do
        server:clear_faults()
        thread = assert(client.threads:create())
        pretend({ status = "requires_action", required_action = { submit_tool_outputs = { tool_calls = {
          { id = id, ["function"] = { name = "w" } } } } } })
        local _, err = run({ tools = { count_up } })
        assert.equal("protocol", err.kind)
        assert.matches("a tool call without an id", err.message, 1, true)
      end
      assert.equal(0, called)
    end)

    it("of one call named twice gets one output", function()
      local called = 0
      local count_up = nexus.tool({ name = "w", call = function() called = called + 1 end })
      local twice = { id = "c", ["function"] = { name = "w" } }
      pretend({ status = "requires_action", required_action = { submit_tool_outputs = {
        tool_calls = { twice, twice } } } })
      server:clear_requests()
      run({ tools = { count_up } }, { deadline = 0.5 })
      assert.equal(1, called)
      assert.same({ { tool_call_id = "c", output = "null" } }, submitted())
    end)

    it("about what is to be called is survived", function()
      for _, value in ipairs(nonsense) do
        pretend({ status = "requires_action", required_action = { submit_tool_outputs = { tool_calls = value } } })
        local tools = { nexus.tool({ name = "w", call = function() return 1 end }) }
        assert.is_true((pcall(run, { tools = tools }, { deadline = 0.05 })))
      end
    end)

    it("about messages and steps is survived", function()
      tell("x")
      local done = assert(run())
      for _, value in ipairs(nonsense) do
        for _, list in ipairs({ { data = value, has_more = true }, { data = { { content = value, role = "assistant",
          run_id = done.id } } } }) do
          server:faults({ { path = "/v1", action = "status", status = 200, body = json.encode(list) } })
          assert.is_string(done:text())
          assert.is_table(done:steps())
        end
      end
    end)
  end)

  describe("the deadline", function()
    it("ends the wait and cancels the run", function()
      tell({ wait = 30, text = "late" })
      local before = socket.gettime()
      local done, err = run({}, { deadline = 0.5 })
      assert.is_true(socket.gettime() - before < 5)
      assert.is_nil(done)
      assert.equal("timeout", err.kind)
      assert.equal("Run " .. err.run.id .. " was still in_progress after 0.5 s; it was asked to cancel", err.message)
      local status = assert(client.threads.runs:retrieve(thread.id, err.run.id)).status
      assert.is_true(status == "cancelling" or status == "cancelled", status)
    end)

    it("holds where the server hangs", function()
      tell({ wait = 30, text = "late" })
      server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs/", method = "GET", action = "hang" } })
      local before = socket.gettime()
      local _, err = run({}, { deadline = 0.5 })
      assert.is_true(socket.gettime() - before < 5)
      assert.matches("was still queued after 0.5 s; it was asked to cancel", err.message, 1, true)
      assert.is_true(err.run.status == "cancelling" or err.run.status == "cancelled", err.run.status)
      assert.equal("timeout", err.kind)
    end)

    it("says so where the run could not be cancelled", function()
      tell({ wait = 30, text = "late" })
      server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs/", action = "status", method = "POST",
        status = 403, body = "not you" } })
      local _, err = run({}, { deadline = 0.5 })
      assert.matches("after 0.5 s; it could not be cancelled: permission: not you", err.message, 1, true)
    end)

    it("holds before there is a run", function()
      server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs", action = "hang" } })
      local _, err = run({}, { deadline = 0.1 })
      assert.equal("timeout", err.kind)
      assert.equal("The run was not created within 0.1 s", err.message)
    end)

    it("comes from the client's options too", function()
      client:close(0)
      client = new({ poll = { interval = 0.002, deadline = 0.1 } })
      thread = assert(client.threads:create())
      tell({ wait = 30, text = "late" })
      assert.equal("timeout", select(2, run()).kind)
    end)
  end)

  it("tidies up within 3 seconds, whatever hangs, and traced or not", function()
    local asked, notes = {}, {}
    local fake = fake_client.new(function(operation, params, engine)
      asked[#asked + 1] = operation.name
      if operation.name == "threads.runs.create" then return { id = "run_x", status = "queued" }, {} end
      engine.now = engine.now + params.options.deadline
      return nil, errors.new({ kind = "timeout", message = "no answer" })
    end)
    local nothing = function() end
    local span = { trace = {}, is_recorded = function() return true end, input = nothing, output = nothing,
      error = nothing, finish = nothing, set = function(_, key, value) notes[key] = value end }
    fake.recorder = { open = function() return span end }
    local _, err = run_loop.start(fake, fake_client.request({ deadline = 10 }))
    assert.equal("Run run_x was still queued after 10 s; it could not be cancelled: timeout: no answer", err.message)
    assert.matches("^not available: ", notes.steps)
    assert.same({ "threads.runs.create", "threads.runs.retrieve", "threads.runs.cancel", "threads.runs.steps.list" },
      asked)
    assert.is_true(fake.engine.now < 13.01, fake.engine.now)
  end)

  describe("polling", function()
    it("is as often as the caller says", function()
      tell({ wait = 0.05, text = "x" })
      server:clear_requests()
      assert(run({}, { interval = 0.6 }))
      assert.equal(1, count("GET", "/runs/run_[%w]+$"))
    end)

    it("may be without a pause", function()
      tell("x")
      assert.equal("completed", assert(run({}, { interval = 0 })).status)
    end)

    it("follows the server where it names a time", function()
      client:close(0)
      client = new({ poll = {} })
      thread = assert(client.threads:create())
      server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs", action = "status", status = 200, times = 3,
        headers = { ["openai-poll-after-ms"] = "1" }, body = json.encode({ id = "run_x", status = "queued" }) },
        { path = "/v1/threads/" .. thread.id .. "/runs", action = "status", status = 200,
          body = json.encode({ id = "run_x", status = "completed" }) } })
      local before = socket.gettime()
      assert(run())
      assert.is_true(socket.gettime() - before < 0.5)
    end)

    it("doesn't take a hint of 0 for as fast as one can", function()
      client:close(0)
      client = new({ poll = {} })
      thread = assert(client.threads:create())
      server:clear_requests()
      server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs", action = "status", status = 200,
        headers = { ["openai-poll-after-ms"] = "0" }, body = json.encode({ id = "run_x", status = "queued" }) } })
      run({}, { deadline = 0.2 })
      assert.is_true(count("GET", "/runs/run_x$") <= 4)
    end)

    it("says that it is polling", function()
      tell("x")
      server:clear_requests()
      assert(run())
      local polls = 0
      for _, request in ipairs(server:requests()) do
        if request.method == "GET" then
          polls = polls + 1
          assert.equal("true", request.headers["x-stainless-poll-helper"])
        end
      end
      assert.is_true(polls > 0)
    end)

    it("tells of every change of the status", function()
      tell(calls(call("w")), "done")
      local seen = {}
      assert(run({ tools = { nexus.tool({ name = "w", call = function() return 1 end }) } },
        { on_status = function(state) seen[#seen + 1] = state.status end }))
      assert.equal("queued", seen[1])
      assert.equal("completed", seen[#seen])
      assert.matches("requires_action", table.concat(seen, " "))
    end)

    it("slows down by itself", function()
      local polled_at = {}
      local fake = fake_client.new(function(operation, _, engine)
        if operation.method == "GET" then polled_at[#polled_at + 1] = engine.now end
        return { id = "run_x", status = "in_progress" }, {}
      end)
      local _, err = run_loop.start(fake, fake_client.request({ deadline = 30 }))
      assert.equal("timeout", err.kind)
      assert.equal(30, fake.engine.now)
      local pauses, before = {}, 0
      for index, at in ipairs(polled_at) do pauses[index], before = at - before, at end
      assert.equal(0.25, pauses[1])
      assert.equal(0.375, pauses[2])
      assert.equal(5, pauses[9])
      assert.is_true(#pauses < 14)
    end)

    it("ends where the run is stalled, if the script wants that", function()
      local cancelled = 0
      local fake = fake_client.new(function(operation)
        if operation.name == "threads.runs.cancel" then cancelled = cancelled + 1 end
        return { id = "run_x", status = operation.name == "threads.runs.create" and "queued" or "in_progress" }, {}
      end)
      local _, err = run_loop.start(fake, fake_client.request({ deadline = 600, stall = 20 }))
      assert.same({ "timeout", "stalled" }, { err.kind, err.code })
      assert.equal("Run run_x stayed in_progress for 20 s; it was asked to cancel", err.message)
      assert.equal(1, cancelled)
      assert.is_true(fake.engine.now >= 20 and fake.engine.now < 26, fake.engine.now)
    end)
  end)

  it("sends the headers it is given with every request", function()
    tell(calls(call("w")), "done")
    server:clear_requests()
    assert(run({ tools = { nexus.tool({ name = "w", call = function() return 1 end }) } },
      { headers = { ["X-Tenant"] = "acme" } }))
    for _, request in ipairs(server:requests()) do assert.equal("acme", request.headers["x-tenant"], request.path) end
    tell({ wait = 30, text = "late" })
    server:clear_requests()
    run({}, { headers = { ["X-Tenant"] = "acme" }, deadline = 0.5 })
    assert.equal(1, count("POST", "/cancel$"))
    for _, request in ipairs(server:requests()) do assert.equal("acme", request.headers["x-tenant"], request.path) end
  end)

  it("is told to its trace though there was no room for its span", function()
    client:close(0)
    client = new({ limits = { max_spans = 1 }, nexus = { api_key = "nxs_x", base_url = server.nexus_url,
      flush_interval = 60 } })
    thread = assert(client.threads:create())
    tell("x")
    assert(client:trace({ name = "full" }, function(trace)
      return trace:span("first", function() return assert(run()) end)
    end))
    client:close(2)
    local trace = server:traces()[1]
    assert.equal(1, #trace.spans)
    assert.equal("completed", trace.metadata["run.status"])
  end)

  describe("in a task", function()
    it("runs beside others", function()
      local tasks = {}
      for index = 1, 8 do
        tasks[index] = client:task(function()
          local own = assert(client.threads:create())
          local plan = json.encode({ "answer " .. index })
          assert(client.threads.messages:create(own.id, { role = "user", content = plan }))
          return assert(client.threads.runs:create_and_poll(own.id, {})):text()
        end)
      end
      for index, task in ipairs(tasks) do assert.equal("answer " .. index, (client:wait(task, 10))) end
    end)

    it("that is cancelled cancels the run on the server", function()
      tell({ wait = 30, text = "late" })
      local seen
      local task = client:task(function()
        return run({}, { interval = 30, on_status = function(state) seen = state end })
      end)
      while not seen do client:update(5) end
      task:cancel()
      local done, err = client:wait(task, 5)
      assert.is_nil(done)
      assert.equal("cancelled", err.kind)
      assert.equal(seen.id, err.run.id)
      client:close(2)
      client = new()
      local status = assert(client.threads.runs:retrieve(thread.id, seen.id)).status
      assert.is_true(status == "cancelling" or status == "cancelled", status)
    end)
  end)
end)
