local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local told = require("spec.support.told")

local calls, tool = told.calls, told.tool

describe("tools of a run", function()
  local server, client, thread

  setup(function() server = told.server() end)
  teardown(function() server:stop() end)

  before_each(function()
    client = told.client(server)
    thread = assert(client.threads:create())
  end)

  after_each(function()
    server:clear_faults()
    client:close(0)
  end)

  local function tell(...)
    told.ask(client, thread, ...)
  end

  local function run(params, options)
    return client.threads.runs:create_and_poll(thread.id, params or {}, options)
  end

  local function submitted()
    for _, request in ipairs(server:requests()) do
      if request.path:find("/submit_tool_outputs$") then return json.decode(request.body).tool_outputs end
    end
  end

  it("run at the same time where the model asked for several", function()
    local order = {}
    local function waits(name, other)
      return tool(name, function()
        order[#order + 1] = name .. " began"
        while #order < 2 do client:sleep(0.001) end
        order[#order + 1] = name .. " ended"
        return other
      end)
    end
    tell(calls("a", "b"), "$1 and $2")
    assert.equal('1 and 2', assert(run({ tools = { waits("a", 1), waits("b", 2) } })):text())
    assert.same({ "a began", "b began" }, { order[1], order[2] })
  end)

  it("that don't answer in time are answered for, and the others' answers are kept", function()
    tell(calls("slow", "fast"), "$1 and $2")
    server:clear_requests()
    local done = assert(run({ tools = {
      tool("slow", function() client:sleep(600) return "late" end, 0.02),
      tool("fast", function() return "here" end),
    } }))
    assert.same({
      { tool_call_id = "call_slow", output = '{"error":"tool \'slow\' had not answered after 0.02 s"}' },
      { tool_call_id = "call_fast", output = "here" },
    }, submitted())
    local ids = told.ids_of(done:findings())
    assert.is_string(ids.tool_timeout)
    assert.is_string(ids.tool_failure_hidden)
  end)

  it("that end too late change nothing of what was answered for them", function()
    tell(calls("short", "long"), "$1 | $2")
    local done = assert(run({ tools = {
      tool("short", function() client:sleep(600) return "late" end, 0.02),
      tool("long", function() client:sleep(0.05) return "fine" end),
    } }))
    assert.equal('{"error":"tool \'short\' had not answered after 0.02 s"} | fine', done:text())
    assert.is_string(told.ids_of(done:findings()).tool_timeout)
  end)

  it("start tasks that are part of their run, too", function()
    local said
    tell(calls("add"), "x")
    assert(run({ tools = { tool("add", function()
      said = select(2, client:task(function()
        return client.threads.messages:create(thread.id, { role = "user", content = "x" })
      end):wait(5))
    end) } }))
    assert.equal("thread_busy", said.code)
  end)

  it("are called again where a server numbers the calls of each round anew", function()
    local body = { id = "run_1", object = "thread.run", thread_id = thread.id, created_at = 100, expires_at = 0 }
    local function asking(arguments)
      body.status, body.required_action = "requires_action", { type = "submit_tool_outputs", submit_tool_outputs = {
        tool_calls = { { id = "call_0", type = "function", ["function"] = { name = "w", arguments = arguments } } } } }
      return json.encode(body)
    end
    local first, second = asking('{"a":1}'), asking('{"a":2}')
    body.status, body.required_action = "completed", nexus.null
    local path = "/v1/threads/" .. thread.id .. "/runs"
    local function answer(below, method, text)
      return { path = path .. below, method = method, action = "status", status = 200, times = 1, body = text }
    end
    server:faults({ answer("/run_1/submit", "POST", second), answer("/run_1/submit", "POST", json.encode(body)),
      answer("", "POST", first) })
    local seen = {}
    local done = assert(run({ tools = { tool("w", function(arguments) seen[#seen + 1] = arguments.a end) } }))
    assert.equal("completed", done.status)
    assert.same({ 1, 2 }, seen)
  end)

  it("each have their own deadline, whatever their order", function()
    local ended = {}
    local function waits(name, seconds)
      return tool(name, function()
        client:sleep(600)
        ended[#ended + 1] = name
      end, seconds)
    end
    tell(calls("long", "short"), "x")
    assert(run({ tools = { waits("long", 0.05), waits("short", 0.01) } }))
    assert.same({ "short", "long" }, ended)
  end)

  it("may use the client, in the same trace", function()
    tell(calls("look"), "$1")
    local done = assert(client:trace({ name = "t" }, function()
      return run({ tools = { tool("look", function()
        return #assert(client.threads.messages:list(thread.id)).data
      end) } })
    end))
    assert.equal("1", done:text())
    client:close(2)
    local by_name, spans = {}, server:traces()[1].spans
    for _, span in ipairs(spans) do by_name[span.name] = span end
    assert.equal(by_name["tool look"].id, by_name["thread.messages.list"].parentSpanId
      or by_name["thread.messages.list"].parent_span_id)
  end)

  it("can't add messages to the thread of their run, and are told so at once", function()
    local said
    tell(calls("add"), "x")
    assert(run({ tools = { tool("add", function()
      said = select(2, client.threads.messages:create(thread.id, { role = "user", content = "x" }))
    end) } }))
    assert.same({ "conflict", "thread_busy" }, { said.kind, said.code })
    assert.matches("what asks is part of it, and would wait for itself", said.message, 1, true)
  end)

  it("are cancelled with the task that waits for them, and so is the run", function()
    local is_working, seen
    tell(calls("slow"), "x")
    local task = client:task(function()
      return run({ tools = { tool("slow", function()
        is_working = true
        seen = select(2, client:sleep(600))
      end) } })
    end)
    while not is_working do client:sleep(0.001) end
    task:cancel()
    local _, err = task:wait(5)
    assert.equal("cancelled", err.kind)
    for _ = 1, 100 do
      if not seen then client:sleep(0.01) end
    end
    assert.equal("cancelled", seen.kind)
    assert.equal("cancelled", assert(client.threads.runs:retrieve(thread.id, err.run.id)).status)
  end)

  describe("that are answered later", function()
    local function pending_run(...)
      tell(calls(...), "$1, $2")
      return assert(run({ tools = {
        tool("ask", function() return nexus.pending end),
        tool("now", function() return "now" end),
      } }))
    end

    it("leave the run to the script, which sees what is asked", function()
      local left = pending_run("ask", "now")
      assert.equal("requires_action", left.status)
      assert.same({ { id = "call_ask", name = "ask", arguments = {} } }, left:pending())
      assert.same({}, left:findings())
    end)

    it("are submitted together with those that were answered", function()
      local left = pending_run("ask", "now")
      local done = assert(left:submit({ call_ask = { yes = true } }))
      assert.equal("completed", done.status)
      assert.equal('{"yes":true}, now', done:text())
      assert.same({}, done:pending())
    end)

    it("may be answered one by one", function()
      tell(calls("ask", "again"), "$1, $2")
      local later = function() return nexus.pending end
      local left = assert(run({ tools = { tool("ask", later), tool("again", later) } }))
      local same = assert(left:submit({ call_ask = "one" }))
      assert.equal("requires_action", same.status)
      assert.equal("call_again", same:pending()[1].id)
      assert.equal("one, two", assert(same:submit({ call_again = "two" })):text())
    end)

    it("are refused where the run doesn't ask for them", function()
      local left = pending_run("ask")
      local _, err = left:submit({ call_other = "x" })
      assert.equal("the run asks for no output for call 'call_other'; it asks for 'call_ask'", err.message)
      assert.equal("call_ids_unknown", err.findings[1].id)
      assert.equal("x, $2", assert(left:submit({ call_ask = "x" })):text())
    end)

    it("are those of functions that the script only described, too", function()
      tell(calls("ours", "theirs"), "$1, $2")
      local described = { type = "function", ["function"] = { name = "theirs" } }
      local left = assert(run({ tools = { tool("ours", function() return "ours" end), described } }))
      assert.same({ { id = "call_theirs", name = "theirs", arguments = {} } }, left:pending())
      assert.same({}, left:findings())
      assert.equal("ours, theirs", assert(left:submit({ call_theirs = "theirs" })):text())
    end)

    it("are submitted once", function()
      local left = pending_run("ask")
      assert(left:submit({ call_ask = "x" }))
      local _, err = left:submit({ call_ask = "y" })
      assert.equal("the output for call 'call_ask' was sent before", err.message)
    end)

    it("are refused where the run is over", function()
      local done = assert(pending_run("ask"):submit({ call_ask = "x" }))
      local _, err = done:submit({ call_other = "x" })
      assert.equal("the run asks for no output for call 'call_other'; it asks for none", err.message)
    end)

    it("are submitted by one task at a time", function()
      local left = pending_run("ask")
      local first = client:task(function() return left:submit({ call_ask = "x" }) end)
      local second = client:task(function() return left:submit({ call_ask = "y" }) end)
      assert.equal("completed", assert(first:wait(5)).status)
      assert.equal("conflict", select(2, second:wait(5)).kind)
    end)

    it("may be submitted again where the connection broke", function()
      local left = pending_run("ask")
      server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs/", method = "POST", action = "drop_unread" } })
      local _, err = left:submit({ call_ask = "x" })
      assert.equal("connection", err.kind)
      server:clear_faults()
      assert.equal("completed", assert(left:submit({})).status)
    end)

    it("don't wait behind a message that waits for the run", function()
      local left = pending_run("ask")
      local message = client:task(function()
        return client.threads.messages:create(thread.id, { role = "user", content = "next" })
      end)
      client:sleep(0.02)
      assert.equal("completed", assert(left:submit({ call_ask = "x" })).status)
      assert(message:wait(5))
    end)

    for message, outputs in pairs({
      ["run:submit: outputs must be a table by the id of the call, got string"] = "x",
      ["run:submit: outputs must be named by the ids of their calls, got a number"] = { "x" },
    }) do
      it("misuse: " .. message, function()
        local left = pending_run("ask")
        local ok, problem = pcall(left.submit, left, outputs)
        assert.is_false(ok)
        assert.matches(message, problem, 1, true)
      end)
    end
  end)

  describe("by hand", function()
    local function waiting_run(...)
      tell(calls(...), "$1, $2")
      local left = assert(client.threads.runs:create(thread.id))
      repeat
        client:sleep(0.002)
        left = assert(client.threads.runs:retrieve(thread.id, left.id))
      until left.status == "requires_action"
      return left
    end

    it("gaps are filled and strangers left out, so that the set is whole", function()
      local left = waiting_run("a", "b")
      local done = assert(client.threads.runs:submit_tool_outputs_and_poll(thread.id, left.id, { tool_outputs = {
        { tool_call_id = "call_a", output = { celsius = 18 } },
        { tool_call_id = "call_stranger", output = "x" },
      } }))
      assert.equal('{"celsius":18}, {"error":"the script gave no output for this call"}', done:text())
      local ids = {}
      for _, finding in ipairs(done:findings()) do ids[finding.id] = true end
      assert.same({ call_ids_missing = true, call_ids_unknown = true }, ids)
    end)

    it("tools given as an option answer what the script left out, and what comes later", function()
      tell(calls("a", "b"), calls("c"), "$1, $2, $3")
      local left = assert(client.threads.runs:create(thread.id))
      repeat
        client:sleep(0.002)
        left = assert(client.threads.runs:retrieve(thread.id, left.id))
      until left.status == "requires_action"
      local others = { tool("b", function() return "b" end), tool("c", function() return "c" end) }
      local done = assert(client.threads.runs:submit_tool_outputs_and_poll(thread.id, left.id,
        { tool_outputs = { { tool_call_id = "call_a", output = "a" } } }, { tools = others }))
      assert.equal("a, b, c", done:text())
    end)

    it("a run that is there can be polled, with tools", function()
      tell(calls("a"), "$1")
      local left = assert(client.threads.runs:create(thread.id))
      local done = assert(client.threads.runs:poll(thread.id, left.id,
        { tools = { tool("a", function() return "seen" end) } }))
      assert.equal("seen", done:text())
    end)
  end)
end)
