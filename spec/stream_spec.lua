local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local socket = require("socket")
local told = require("spec.support.told")

describe("streamed runs", function()
  local server, client

  setup(function() server = told.server() end)
  teardown(function() server:stop() end)

  before_each(function()
    client = told.client(server)
  end)

  after_each(function()
    server:clear_faults()
    client:close(0)
  end)

  local function run(status, more)
    local fields = { id = "run_1", object = "thread.run", thread_id = "t", status = status, assistant_id = "asst_local",
      tools = json.array({}) }
    for name, value in pairs(more or {}) do fields[name] = value end
    return { "thread.run." .. status, fields }
  end

  local function delta(text)
    return { "thread.message.delta", { id = "msg_1", object = "thread.message.delta", delta = { content = {
      { index = 0, type = "text", text = { value = text } } } } } }
  end

  local function asks(name)
    local call = { id = "call_1", type = "function", ["function"] = { name = name, arguments = '{"a":1}' } }
    return run("requires_action", { required_action = { type = "submit_tool_outputs",
      submit_tool_outputs = { tool_calls = { call } } } })
  end

  local DONE = { "done", "[DONE]" }

  local function sse(events)
    local lines = {}
    for _, event in ipairs(events) do
      local data = type(event[2]) == "string" and event[2] or assert(json.encode(event[2]))
      lines[#lines + 1] = "event: " .. event[1] .. "\ndata: " .. data .. "\n\n"
    end
    return table.concat(lines)
  end

  local function answer(path, method, body, content_type)
    return { path = path, method = method, action = "status", status = 200, times = 1, body = body,
      content_type = content_type or "text/event-stream" }
  end

  local function streams(...)
    local faults = {}
    for index, events in ipairs({ ... }) do
      local path = index == 1 and "/v1/threads/t/runs" or "/v1/threads/t/runs/run_1/submit"
      faults[index] = answer(path, "POST", sse(events))
    end
    return faults
  end

  local function serve(faults)
    server:faults(faults)
    server:clear_requests()
  end

  local function requests(path_end)
    local found = {}
    for _, request in ipairs(server:requests()) do
      if request.path:find(path_end) then found[#found + 1] = request end
    end
    return found
  end

  -- Drives the client until something is so, for some seconds at most.
  local function drive_until(is_so)
    local give_up_at = socket.gettime() + 20
    while not is_so() and socket.gettime() < give_up_at do client:sleep(0.005) end
    assert.is_truthy(is_so())
  end

  local function start(params, options)
    return assert(client.threads.runs:stream("t", params, options))
  end

  local HELLO = { run("created"), run("queued"), run("in_progress"), delta("Hel"), delta("lo"),
    run("completed", { usage = { total_tokens = 7, prompt_tokens = 3, completion_tokens = 4 } }), DONE }

  local function cancelled(faults)
    faults[#faults + 1] = { path = "/v1/threads/t/runs/run_1/cancel", action = "status", status = 200,
      body = json.encode(run("cancelled")[2]) }
    return faults
  end

  local function w_tool(call)
    return { tools = { nexus.tool({ name = "w", call = call or function() return "out" end }) } }
  end

  it("give their events, and what they add up to", function()
    HELLO[1][2].status = "queued"
    serve(streams(HELLO))
    local types, texts = {}, {}
    local stream = start()
    for event in stream:events() do
      types[#types + 1] = event.type
      texts[#texts + 1] = event.text
    end
    assert.same({ "thread.run.created", "thread.run.queued", "thread.run.in_progress", "thread.message.delta",
      "thread.message.delta", "thread.run.completed" }, types)
    assert.same({ "Hel", "lo" }, texts)
    assert.equal("Hello", stream:messages()[1].content[1].text.value)
    local done = assert(stream:result())
    assert.equal("completed", done.status)
    assert.equal(7, done.usage.total_tokens)
    local sent = requests("/runs$")[1]
    assert.equal(true, json.decode(sent.body).stream)
    assert.equal("text/event-stream", sent.headers.accept)
  end)

  it("give texts alone to who wants no more", function()
    serve(streams(HELLO))
    local texts = {}
    for text in start():texts() do texts[#texts + 1] = text end
    assert.same({ "Hel", "lo" }, texts)
  end)

  it("run tools between two streams", function()
    serve(streams({ run("queued"), asks("w"), DONE }, { run("in_progress"), delta("done"), run("completed"), DONE }))
    local seen
    local stream = start({ tools = { nexus.tool({ name = "w", call = function(arguments)
      seen = arguments.a
      return { celsius = 18 }
    end }) } })
    assert.equal("completed", assert(stream:result()).status)
    assert.equal(1, seen)
    local body = json.decode(requests("/submit_tool_outputs$")[1].body)
    assert.equal(true, body.stream)
    assert.same({ { tool_call_id = "call_1", output = '{"celsius":18}' } }, body.tool_outputs)
    assert.equal("done", stream:messages()[1].content[1].text.value)
  end)

  it("leave what the script has to answer to it, and go on when it did", function()
    serve(streams({ run("queued"), asks("w"), DONE }))
    local left = assert(start({ tools = { nexus.tool({ name = "w", call = function() return nexus.pending end }) } })
      :result())
    assert.equal("call_1", left:pending()[1].id)
    serve({ answer("/v1/threads/t/runs/run_1/submit", "POST", sse({})), })
    server:faults({ { path = "/v1/threads/t/runs/run_1/submit", action = "status", status = 200,
      body = json.encode(run("completed")[2]) } })
    assert.equal("completed", assert(left:submit({ call_1 = "x" })).status)
  end)

  it("are traced as one span, with the tools below it", function()
    serve(streams({ run("queued"), asks("w"), DONE }, { run("in_progress"), run("completed"), DONE }))
    assert(client:trace({ name = "streamed" }, function()
      return start({ tools = { nexus.tool({ name = "w", call = function() return 1 end }) } }):result()
    end))
    client:close(2)
    local names = {}
    for _, span in ipairs(server:traces()[1].spans) do names[#names + 1] = span.name end
    table.sort(names)
    assert.same({ "threads.runs.stream", "tool w" }, names)
  end)

  it("are polled from where the stream ended too soon", function()
    local faults = streams({ run("queued"), delta("Hel") })
    faults[2] = answer("/v1/threads/t/runs/run_1", "GET", json.encode(run("completed")[2]), "application/json")
    serve(faults)
    local types = {}
    local stream = start()
    for event in stream:events() do types[#types + 1] = event.type end
    assert.same({ "thread.run.queued", "thread.message.delta", "thread.run.completed" }, types)
    assert.equal("completed", stream:run().status)
  end)

  it("are polled where the server doesn't stream", function()
    serve({
      answer("/v1/threads/t/runs", "POST", json.encode(run("queued")[2]), "application/json"),
      answer("/v1/threads/t/runs/run_1", "GET", json.encode(run("completed")[2]), "application/json"),
    })
    assert.equal("completed", assert(start():result()).status)
  end)

  it("end with an error that comes as plain JSON", function()
    server:faults({ { path = "/v1/threads/t/runs", action = "status", status = 429,
      body = '{"error":{"message":"slow down","code":"rate_limit_exceeded"}}' } })
    local _, err = client.threads.runs:stream("t")
    assert.same({ "rate_limit", "slow down" }, { err.kind, err.message })
    server:faults({ { path = "/v1/threads/t/runs", action = "status", status = 200,
      body = '{"error":{"message":"no","type":"server_error"}}' } })
    _, err = client.threads.runs:stream("t")
    assert.same({ "server", "no" }, { err.kind, err.message })
  end)

  it("end with an error that comes within the stream, and the run is cancelled", function()
    local broke = { error = { message = "broke", type = "server_error" } }
    local faults = streams({ run("in_progress"), { "error", broke } })
    faults[2] = { path = "/v1/threads/t/runs/run_1/cancel", action = "status", status = 200,
      body = json.encode(run("cancelling")[2]) }
    serve(faults)
    local stream = start()
    local ok, err = pcall(function()
      for _ in stream:events() do end -- luacheck: ignore 542
    end)
    assert.is_false(ok)
    assert.same({ "server", "broke", "run_1" }, { err.kind, err.message, err.run.id })
    assert.equal(err, select(2, stream:result()))
    assert.equal(1, #requests("/cancel$"))
  end)

  it("end with the run's own error", function()
    serve(streams({ run("in_progress"),
      run("failed", { last_error = { code = "rate_limit_exceeded", message = "quota" } }), DONE }))
    local _, err = start():result()
    assert.equal("Run ended with status: failed: rate_limit_exceeded quota", err.message)
    assert.equal("rate_limited", err.findings[1].id)
  end)

  it("end with an error for what is no event of the API", function()
    serve(streams({ { "thread.run.created", "not JSON" } }))
    assert.equal("protocol", select(2, client.threads.runs:stream("t")).kind)
    serve(streams({}))
    local _, err = client.threads.runs:stream("t")
    assert.matches("a stream that ended before there was a run", err.message, 1, true)
  end)

  it("are cancelled where they are closed, and closing again does nothing", function()
    local faults = streams({ run("in_progress"), delta("Hel") })
    faults[1].delay = nil
    faults[2] = { path = "/v1/threads/t/runs/run_1/cancel", action = "status", status = 200,
      body = json.encode(run("cancelling")[2]) }
    faults[3] = { path = "/v1/threads/t/runs/run_1", action = "status", status = 200,
      body = json.encode(run("cancelled")[2]) }
    serve(faults)
    local stream = start()
    assert.equal("thread.run.in_progress", assert(stream:next()).type)
    assert.is_true(stream:close())
    assert.is_true(stream:close())
    assert.equal(1, #requests("/cancel$"))
    assert.equal("cancelled", stream:run().status)
    assert.equal("the stream was closed", select(2, stream:result()).message)
    assert.is_nil(next(client.lanes.lanes))
  end)

  it("go on at the server where that is wanted", function()
    serve(streams({ run("in_progress"), delta("Hel") }))
    local stream = start(nil, { on_leave = "continue" })
    assert(stream:next())
    assert.is_true(stream:close())
    assert.equal(0, #requests("/cancel$"))
  end)

  if _VERSION == "Lua 5.4" then
    it("are closed by leaving the loop", function()
      local faults = streams({ run("in_progress"), delta("Hel"), delta("lo") })
      faults[2] = { path = "/v1/threads/t/runs/run_1/cancel", action = "status", status = 200,
        body = json.encode(run("cancelled")[2]) }
      serve(faults)
      for text in start():texts() do
        if text == "Hel" then break end
      end
      assert.equal(1, #requests("/cancel$"))
    end)
  end

  it("that nobody holds any more leave their lane", function()
    serve(streams(HELLO))
    assert(start():next())
    collectgarbage()
    collectgarbage()
    assert.is_nil((client.lanes.lanes.t or {}).holder)
  end)

  it("end at the deadline, and where they stall", function()
    server:faults({ { path = "/v1/threads/t/runs", action = "hang" } })
    local _, err = client.threads.runs:stream("t", nil, { deadline = 0.05 })
    assert.same({ "timeout", "The run was not created within 0.05 s" }, { err.kind, err.message })
    _, err = client.threads.runs:stream("t", nil, { deadline = 60, stall = 0.05 })
    assert.same({ "timeout", "stalled" }, { err.kind, err.code })
  end)

  it("pass on what the script's own function raises", function()
    local faults = streams(HELLO)
    faults[2] = { path = "/v1/threads/t/runs/run_1/cancel", action = "status", status = 200,
      body = json.encode(run("cancelled")[2]) }
    serve(faults)
    local ok, problem = pcall(start, nil, { on_status = function() error("at once", 0) end })
    assert.same({ false, "at once" }, { ok, problem })
    assert.equal(1, #requests("/cancel$"))
    serve(faults)
    local stream = start(nil, { on_status = function(state)
      if state.status == "in_progress" then error("mine", 0) end
    end })
    ok, problem = pcall(stream.result, stream)
    assert.same({ false, "mine" }, { ok, problem })
    assert.is_nil(next(client.lanes.lanes))
  end)

  it("that nobody has read from leave no run behind either", function()
    serve(cancelled(streams({ run("in_progress"), delta("x") })))
    assert.is_true(start():close())
    assert.equal(1, #requests("/cancel$"))
    serve(cancelled(streams({ run("in_progress"), delta("x") })))
    start()
    client:close(2)
    assert.equal(1, #requests("/cancel$"))
  end)

  it("that nobody reads make room where others may cancel them", function()
    serve(cancelled(streams({ run("in_progress"), delta("x") })))
    server:faults({ streams({ run("in_progress"), delta("x") })[1], cancelled({})[1],
      { path = "/v1/threads/t/messages", method = "POST", action = "status", status = 200,
        body = '{"id":"m","object":"thread.message"}' } })
    local stream = start()
    assert(client:task(function()
      return client.threads.messages:create("t", { role = "user", content = "x" }, { lane = "cancel", deadline = 5 })
    end):wait(5))
    assert.equal("the stream was closed", select(2, stream:next()).message)
  end)

  it("wait their turn behind a run of another program", function()
    local busy = { error = { message = "Thread t already has an active run run_9." } }
    local faults = streams(HELLO)
    table.insert(faults, 1, { path = "/v1/threads/t/runs", method = "POST", action = "status", status = 400, times = 1,
      body = json.encode(busy) })
    faults[3] = { path = "/v1/threads/t/runs/run_9", action = "status", status = 200,
      body = '{"id":"run_9","object":"thread.run","thread_id":"t","status":"completed"}' }
    serve(faults)
    assert.equal("completed", assert(start():result()).status)
    assert.equal(2, #requests("/runs$"))
  end)

  it("send outputs again where the connection broke before they arrived", function()
    local faults = streams({ run("queued"), asks("w"), DONE }, { run("in_progress"), run("completed"), DONE })
    table.insert(faults, 2, { path = "/v1/threads/t/runs/run_1/submit", action = "drop_unread", times = 1 })
    faults[#faults + 1] = { path = "/v1/threads/t/runs/run_1", method = "GET", action = "status", status = 200,
      body = json.encode(asks("w")[2]) }
    serve(faults)
    local ran = 0
    local stream = start(w_tool(function() ran = ran + 1 end))
    assert.equal("completed", assert(stream:result()).status)
    assert.same({ 1, 2 }, { ran, #requests("/submit_tool_outputs$") })
  end)

  it("don't stall while a tool works", function()
    serve(streams({ run("queued"), asks("w"), DONE }, { run("in_progress"), run("completed"), DONE }))
    local stream = start(w_tool(function() client:sleep(1.2) end), { stall = 1 })
    assert.equal("completed", assert(stream:result()).status)
  end)

  it("have one reader at a time", function()
    serve(streams({ run("queued"), asks("w"), DONE }, { run("in_progress"), run("completed"), DONE }))
    local stream = start(w_tool(function() client:sleep(0.02) end))
    local first = client:task(function() return stream:result() end)
    local second = client:task(function() return stream:result() end)
    assert.equal("completed", assert(first:wait(5)).status)
    assert.same({ "conflict", "the stream is being read elsewhere" },
      { select(2, second:wait(5)).kind, select(2, second:wait()).message })
    assert.equal(1, #requests("/submit_tool_outputs$"))
  end)

  it("leave no run behind where their task is cancelled", function()
    serve(cancelled(streams({ run("in_progress"), delta("x") })))
    local event
    local task = client:task(function()
      local stream = assert(client.threads.runs:stream("t"))
      event = stream:next()
      client:sleep(600)
      stream:close()
    end)
    drive_until(function() return event end)
    task:cancel()
    task:wait(5)
    drive_until(function() return #requests("/cancel$") > 0 end)
    client:sleep(0.05)
    assert.equal(1, #requests("/cancel$"))
  end)

  if _VERSION == "Lua 5.4" then
    it("don't hold up the client where their task fails within the loop", function()
      local faults = streams({ run("in_progress") })
      faults[2] = { path = "/v1/threads/t/runs/run_1/cancel", action = "hang" }
      serve(faults)
      local task = client:task(function()
        for _ in assert(client.threads.runs:stream("t")):events() do error("a bug", 0) end
      end)
      local longest = 0
      while not task:done() do
        local before = socket.gettime()
        client:update(2)
        longest = math.max(longest, socket.gettime() - before)
      end
      assert.equal("a bug", select(2, task:wait()))
      assert.is_true(longest < 0.5, longest)
    end)
  end

  it("give their lane back where nobody has them any more", function()
    serve(streams({ run("in_progress"), delta("x") }))
    server:faults({ { path = "/v1/threads/t/messages", method = "POST", action = "status", status = 200,
      body = '{"id":"m","object":"thread.message"}' },
      { path = "/v1/threads/t/runs/run_1", action = "status", status = 200, body = json.encode(run("cancelled")[2]) },
      streams({ run("in_progress"), delta("x") })[1] })
    client:task(function() assert(client.threads.runs:stream("t")):next() end):wait()
    assert(client:task(function()
      return client.threads.messages:create("t", { role = "user", content = "x" }, { deadline = 5 })
    end):wait(5))
  end)

  it("can be closed while another task reads them", function()
    serve(cancelled(streams({ run("queued"), asks("w"), DONE })))
    local is_working
    local stream = start(w_tool(function()
      is_working = true
      client:sleep(600)
    end))
    local reader = client:task(function() return stream:result() end)
    drive_until(function() return is_working end)
    assert.is_true(stream:close())
    assert.equal("the stream was closed", select(2, reader:wait(5)).message)
    assert.equal(0, #requests("/submit_tool_outputs$"))
    assert.equal(1, #requests("/cancel$"))
  end)

  it("leave no run behind where the client is closed", function()
    serve(cancelled(streams({ run("in_progress"), delta("x") })))
    local stream = start()
    assert(stream:next())
    client:close(2)
    assert.equal(1, #requests("/cancel$"))
    assert.equal("the stream was closed", select(2, stream:next()).message)
  end)

  it("tell no key that a server repeats in a run's error", function()
    local failed = run("failed", { last_error = { code = "x", message = "your key sk-x" } })
    serve(streams({ run("in_progress"), failed, DONE }))
    assert.is_nil(select(2, start():result()).message:find("sk-x", 1, true))
  end)

  it("are no failure for an error that comes when the run is over", function()
    serve(streams({ run("completed"), { "error", { error = { message = "late" } } } }))
    assert.equal("completed", assert(start():result()).status)
  end)

  it("let others have their turn, however much there is to read", function()
    local many = { run("queued") }
    for index = 2, 200 do many[index] = delta("x") end
    many[#many + 1] = run("completed")
    serve(streams(many))
    local turns = 0
    local reader = client:task(function()
      local stream = start()
      client:sleep(0.02)
      return stream:result()
    end)
    local other = client:task(function()
      while not reader:done() do
        client:sleep(0)
        turns = turns + 1
      end
    end)
    assert(reader:wait(5))
    other:wait(5)
    assert.is_true(turns >= 10, turns)
  end)

  it("run in tasks, side by side", function()
    serve({ { path = "/v1/threads", method = "POST", action = "status", status = 200, body = sse(HELLO),
      content_type = "text/event-stream" } })
    local tasks = {}
    for index = 1, 5 do
      tasks[index] = client:task(function()
        local texts = {}
        for text in assert(client.threads.runs:stream("t" .. index)):texts() do texts[#texts + 1] = text end
        return table.concat(texts)
      end)
    end
    for _, task in ipairs(tasks) do assert.equal("Hello", task:wait(5)) end
  end)

  it("make threads, too", function()
    serve({ answer("/v1/threads/runs", "POST", sse(HELLO)) })
    local stream = assert(client.threads:create_and_run_stream({ thread = { messages = {} } }))
    assert.equal("completed", assert(stream:result()).status)
    assert.equal(true, json.decode(requests("/v1/threads/runs$")[1].body).stream)
  end)
end)
