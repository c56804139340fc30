-- What users of the Assistants protocol run into, row by row, and what happens here.
local errors = require("nexus_assistants.error")
local fake_client = require("spec.support.fake_client")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local run_loop = require("nexus_assistants.run_loop")
local told = require("spec.support.told")

local calls, tool, ids_of = told.calls, told.tool, told.ids_of

describe("pain", function()
  local server, client, thread

  setup(function() server = told.server() end)
  teardown(function() server:stop() end)

  before_each(function()
    client = told.client(server)
    thread = assert(client.threads:create())
    server:clear_requests()
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

  -- What every look at the run, or its creation, answers.
  local function pretend(fields)
    local body = { id = "run_1", object = "thread.run", thread_id = thread.id, status = "completed" }
    for key, value in pairs(fields) do body[key] = value end
    server:faults({
      { path = "/v1/threads/" .. thread.id .. "/runs/run_1/steps", action = "pass" },
      { path = "/v1/threads/" .. thread.id .. "/runs", action = "status", status = 200, body = json.encode(body) },
    })
  end

  local function requests(method, pattern)
    return told.requests(server, method, pattern)
  end

  local function submitted()
    local request = requests("POST", "/submit_tool_outputs$")[1]
    return json.decode(request.body).tool_outputs
  end

  -- The trace of a run, as Nexus has it.
  local function traced(fn)
    local ok, err = client:trace({ name = "t" }, fn or run)
    client:close(2)
    local trace = server:traces()[1]
    local spans = {}
    for _, span in ipairs(trace.spans) do spans[span.name] = span end
    return trace, spans, ok, err
  end

  it("1: a wait ends on incomplete and on a status nobody knows, with the reason", function()
    pretend({ status = "incomplete", incomplete_details = { reason = "max_completion_tokens" } })
    local _, err = run()
    assert.equal("Run ended with status: incomplete: max_completion_tokens", err.message)
    assert.equal("run_incomplete", err.findings[1].id)
    pretend({ status = "vanished" })
    assert.equal("Run ended with status: vanished", select(2, run()).message)
  end)

  it("2: a wait has a deadline over all of it, which cancels the run and makes the trace a timeout", function()
    tell({ wait = 600, text = "late" })
    local trace, _, _, err = traced(function() return run({}, { deadline = 0.5 }) end)
    assert.same({ "timeout", "poll_deadline" }, { err.kind, err.findings[1].id })
    assert.equal("timeout", trace.status)
    assert.equal(1, #requests("POST", "/cancel$"))
  end)

  it("3: an active run makes others wait their turn, and one from before is settled", function()
    local tasks = {}
    for index = 1, 3 do
      tasks[index] = client:task(function()
        tell("x")
        return assert(run()).status
      end)
    end
    for _, task in ipairs(tasks) do assert.equal("completed", task:wait(5)) end
    tell({ wait = 600, text = "x" })
    assert(client.threads.runs:create(thread.id))
    client:close(0)
    client = told.client(server)
    assert.equal("cancelled", assert(client.threads:recover(thread.id))[1].status)
    tell("x")
  end)

  it("4: the same for a thread that somebody else has locked: what is refused is tried again", function()
    local other = told.client(server)
    tell({ wait = 0.05, text = "x" })
    assert(other.threads.runs:create(thread.id))
    tell("next")
    assert.is_true(#requests("POST", "/messages$") >= 2)
    other:close(0)
  end)

  it("5: a tool that crashes leaves no run in requires_action", function()
    tell(calls("a", "b"), "$1, $2")
    local broken = tool("a", function() error("broken", 0) end)
    local done = assert(run({ tools = { broken, tool("b", function() return 1 end) } }))
    assert.equal('{"error":"broken"}, 1', done:text())
  end)

  it("6: tools end before the run expires, and a run that nearly did is pointed out", function()
    local fake = fake_client.new(function(operation)
      local asked = { type = "submit_tool_outputs", submit_tool_outputs = { tool_calls = {
        { id = "call_1", ["function"] = { name = "slow", arguments = "{}" } } } } }
      if operation.name == "threads.runs.create" then
        return { id = "run_1", status = "requires_action", required_action = asked, created_at = 0,
          expires_at = 60 }, {}
      end
      return { id = "run_1", status = "completed", created_at = 0 }, {}
    end)
    local slow = tool("slow", function() fake.scheduler:sleep(1000) end)
    local request = fake_client.request({ deadline = 600 }, { slow })
    local under_way
    fake.adopt_run = function(_, result, state) under_way = state return result end
    assert(run_loop.start(fake, request))
    assert.equal(50, fake.engine.now)
    local ids = ids_of(under_way:findings())
    assert.is_string(ids.run_expiring)
    assert.is_string(ids.tool_timeout)
  end)

  it("7: a submission has one output for each call", function()
    tell(calls("a", "b", "c"), "x")
    assert(run({ tools = { tool("a", function() return 1 end), tool("b", function() error() end) } }))
    local ids = {}
    for index, output in ipairs(submitted()) do ids[index] = output.tool_call_id end
    assert.same({ "call_a", "call_b", "call_c" }, ids)
  end)

  it("8: outputs together keep within 512 kB, visibly", function()
    tell(calls("a", "b"), "x")
    local long = ("x"):rep(400000)
    local function tell_all() return long end
    local done = assert(run({ tools = { tool("a", tell_all), tool("b", tell_all) } }))
    local total = 0
    for _, output in ipairs(submitted()) do
      total = total + #output.output
      assert.matches("%[cut: of 400000 bytes", output.output)
    end
    assert.is_true(total <= 512000)
    assert.is_string(ids_of(done:findings()).tool_output_cut)
  end)

  it("9: outputs may be tables", function()
    tell(calls("a"), "$1")
    local weather = tool("a", function() return { celsius = 18 } end)
    assert.equal('{"celsius":18}', assert(run({ tools = { weather } })):text())
  end)

  it("10: a tool that isn't there, or arguments that are empty, are answered and pointed out", function()
    tell(calls("made_up", "a"), "$1 $2")
    local seen
    local done = assert(run({ tools = { tool("a", function(arguments) seen = arguments return "fine" end) } }))
    assert.same({}, seen)
    assert.matches("the script gave this run no tool named 'made_up'", done:text(), 1, true)
    assert.is_string(ids_of(done:findings()).tool_unknown)
    pretend({ status = "requires_action", required_action = { submit_tool_outputs = { tool_calls = {
      { id = "call_1", ["function"] = { name = "a", arguments = "" } } } } } })
    seen = nil
    run({ tools = { tool("a", function(arguments) seen = arguments end) } }, { deadline = 0.5 })
    assert.same({}, seen)
  end)

  it("11: the statuses of a tool, its run and the outcome are kept apart", function()
    tell(calls("a"), "I could not find out")
    local trace, spans, done = traced(function()
      return run({ tools = { tool("a", function() error("broken", 0) end) } })
    end)
    assert.equal("completed", done.status)
    assert.equal("error", spans["tool a"].status)
    assert.equal("ok", spans["threads.runs.createAndPoll"].status)
    assert.equal("success", trace.status)
    assert.equal("tool_failure_hidden", trace.metadata.findings[1].id)
  end)

  it("12: last_error is in the error and on the span", function()
    tell({ fail = { code = "rate_limit_exceeded", message = "quota" } })
    local _, spans, _, err = traced(function() return run() end)
    assert.same({ "rate_limit_exceeded", "Run ended with status: failed: rate_limit_exceeded quota" },
      { err.code, err.message })
    assert.equal("quota", spans["threads.runs.createAndPoll"].output.last_error.message)
    assert.equal("rate_limited", err.findings[1].id)
  end)

  it("13: polls slow down, and are a count on one span", function()
    tell({ wait = 0.03, text = "x" })
    local _, spans = traced(function() return run() end)
    assert.is_nil(spans["threads.runs.retrieve"])
    assert.is_true(spans["threads.runs.createAndPoll"].output.polls > 1)
  end)

  it("14: threads whose runs cost more and more are pointed out", function()
    local done
    for turn = 1, 3 do
      local tokens = 100 * 2 ^ turn
      pretend({ id = "run_" .. turn,
        usage = { prompt_tokens = tokens, completion_tokens = 1, total_tokens = tokens + 1 } })
      done = assert(run())
    end
    assert.equal("prompt tokens grew with each of the last 3 runs, from 200 to 800",
      ids_of(done:findings()).tokens_growing)
  end)

  it("15: usage that a run doesn't tell is summed from its steps, and unknown is never 0", function()
    local usage = { prompt_tokens = 5, completion_tokens = 2, total_tokens = 7 }
    local function steps(...)
      server:faults({
        { path = "/v1/threads/" .. thread.id .. "/runs/run_1/steps", action = "status", status = 200,
          body = json.encode({ data = json.array({ ... }), has_more = false }) },
        { path = "/v1/threads/" .. thread.id .. "/runs", action = "status", status = 200,
          body = json.encode({ id = "run_1", object = "thread.run", thread_id = thread.id, status = "completed" }) },
      })
    end
    local step = { id = "s", type = "message_creation", status = "completed", usage = usage }
    steps(step, step)
    local trace = traced(function() return run() end)
    assert.equal(14, trace.metadata["run.usage.total_tokens"])
    client = told.client(server)
    steps(step, { id = "s2", type = "message_creation", status = "completed", usage = nexus.null })
    trace = traced(function() return run() end)
    assert.is_nil(trace.metadata["run.usage.total_tokens"])
  end)

  it("16: what a file search found is asked for", function()
    pretend({ tools = { { type = "file_search" } } })
    traced(function() return run() end)
    assert.equal("include%5B%5D=step_details.tool_calls%5B%2A%5D.file_search.results%5B%2A%5D.content&limit=100"
      .. "&order=asc", requests("GET", "/steps$")[1].query)
  end)

  it("17: a run's text is its own, in order, from all pages", function()
    local function page(ids, more)
      local data = json.array({})
      for index, id in ipairs(ids) do
        data[index] = { id = id, role = "assistant", run_id = id:find("other") and "run_2" or "run_1",
          content = { { type = "image_file" }, { type = "text", text = { value = id } } } }
      end
      return { path = "/v1/threads/" .. thread.id .. "/messages", action = "status", status = 200, times = 1,
        body = json.encode({ data = data, has_more = more }) }
    end
    pretend({})
    local done = assert(run())
    server:faults({ page({ "first", "other" }, true), page({ "second" }, false) })
    assert.equal("first\n\nsecond", done:text())
    assert.matches("order=asc", requests("GET", "/messages$")[1].query, 1, true)
  end)

  it("18: threads that were made are known, and can be deleted", function()
    assert(client.threads:create())
    assert.equal(2, #client.threads:ledger())
    assert.equal(2, #assert(client.threads:sweep()).deleted)
    assert.equal(0, #client.threads:ledger())
  end)

  it("18: threads that were made and never used are pointed out on the trace", function()
    local trace = traced(function()
      assert(client.threads:create())
      tell("x")
      return assert(run()).status
    end)
    assert.equal(1, #trace.metadata.findings)
    assert.equal("thread_leak", trace.metadata.findings[1].id)
  end)

  it("19: stopping cancels the run at the server, and waits for it", function()
    tell({ wait = 600, text = "x" })
    local task = client:task(function() return run() end)
    while #requests("GET", "/runs/") == 0 do client:sleep(0.005) end
    task:cancel()
    local _, err = task:wait(5)
    assert.equal("cancelled", err.kind)
    local _, after = client.threads.messages:create(thread.id, { role = "user", content = "next" })
    assert.is_nil(after)
  end)

  it("20: a stream may be no stream, and be cut and split anywhere", function()
    local function answer(body, content_type, status)
      server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs", action = "status", status = status or 200,
        body = body, content_type = content_type } })
      local stream, problem = client.threads.runs:stream(thread.id)
      if not stream then return nil, problem end
      return stream:result()
    end
    local _, err = answer('{"error":{"message":"no"}}', "application/json", 500)
    assert.same({ "server", "no" }, { err.kind, err.message })
    _, err = answer("<html><title>Bad gateway</title></html>", "text/html", 502)
    assert.same({ "server", "Bad gateway" }, { err.kind, err.message })
    local done = assert(answer(': a comment\r\n\r\nevent: thread.run.completed\r\ndata: {"id":"run_1",\r\n'
      .. 'data: "object":"thread.run","status":"completed"}\r\n\r\nevent: done\r\ndata: [DONE]\r\n\r\n',
      "text/event-stream"))
    assert.equal("completed", done.status)
    assert.is_true(errors.is(err))
  end)
end)
