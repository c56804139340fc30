-- Sinks that are functions of the script's.
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")

describe("sinks in Lua", function()
  local client, warnings, got, batches

  local function keep(batch)
    batches[#batches + 1] = batch
    for _, record in ipairs(batch) do got[#got + 1] = record end
  end

  local function open(given)
    local settings = { provider = "script", nexus = false, sinks = { keep }, agent_id = "bot",
      script = function() return "warm" end, on_warning = function(text) warnings[#warnings + 1] = text end }
    for name, value in pairs(given or {}) do settings[name] = value end
    client = assert(nexus.new(settings))
  end

  before_each(function() warnings, got, batches = {}, {}, {} end)

  after_each(function() client:close(0) end)

  local function named(name)
    local found = {}
    for _, record in ipairs(got) do
      if record.name == name then found[#found + 1] = record end
    end
    assert.equal(1, #found, name .. ": " .. #found)
    return found[1]
  end

  local function job(count)
    return client:trace({ name = "job", input = "in", metadata = { customer = "c-17" } }, function(trace)
      for number = 1, count or 1 do
        trace:span("outer", { type = "tool", input = { n = number } }, function(span)
          span:set("step", number)
          trace:span("inner", function(inner) inner:output({ "o" }) end)
        end)
      end
      return "done"
    end)
  end

  it("leave no traces, nor do tasks they start", function()
    local calls = 0
    open({ sinks = { function()
      calls = calls + 1
      client:trace({ name = "own" }, function(trace) trace:span("inner", function() end) end)
      client.nexus:end_trace(client.nexus:start_trace({ name = "by hand" }).id)
      client:task(function() client:trace({ name = "of a task" }, function() end) end):wait()
    end } })
    job()
    assert.is_true(client:close(1))
    assert.equal(1, calls)
    assert.same({}, warnings)
  end)

  it("are given what has ended, as plain tables", function()
    open()
    local before = require("nexus_assistants.core").wall()
    job()
    assert.is_true(client:close(2))
    assert.equal(3, #got)
    local inner, outer, trace = got[1], got[2], got[3]
    assert.same({ "inner", "outer", "job" }, { inner.name, outer.name, trace.name })
    assert.same({ "span", "span", "trace" }, { inner.kind, outer.kind, trace.kind })
    assert.matches("^%x+$", trace.trace_id)
    assert.equal(trace.trace_id, inner.trace_id)
    assert.equal(outer.span_id, inner.parent_id)
    assert.is_nil(outer.parent_id)
    assert.same({ n = 1 }, outer.input)
    assert.same({ step = 1 }, outer.metadata)
    assert.same({ "o" }, inner.output)
    assert.same({ "tool", "ok", "success" }, { outer.type, outer.status, trace.status })
    assert.same({ "in", "done", "bot", { customer = "c-17" } },
      { trace.input, trace.output, trace.agent_id, trace.metadata })
    assert.is_true(trace.started_at >= before and outer.started_at >= trace.started_at)
    assert.is_true(inner.ended_at >= inner.started_at and trace.ended_at >= inner.ended_at)
    assert.is_nil(getmetatable(outer))
    assert.same({}, warnings)
  end)

  it("get errors, and what had not ended", function()
    open()
    client:trace({ name = "failing" }, function(trace)
      trace:span("bad", function(span) span:error("went wrong") end)
      return nil, "no luck"
    end)
    local trace = client.nexus:start_trace({ name = "manual" })
    client.nexus:start_span(trace.id, { name = "left open" })
    client.nexus:end_trace(trace.id, { error = "gave up" })
    client.nexus:start_span(client.nexus:start_trace({ name = "never ended" }).id, { name = "nor this" })
    client:close(2)
    assert.same({ "error", "went wrong" }, { named("bad").status, named("bad").error })
    assert.same({ "error", "no luck" }, { named("failing").status, named("failing").error })
    assert.equal("gave up; the span was not ended", named("left open").error)
    assert.equal("gave up", named("manual").error)
    assert.equal("interrupted", named("never ended").error)
    assert.equal("interrupted; the span was not ended", named("nor this").error)
  end)

  it("get runs as other sinks do", function()
    open()
    client:trace({ name = "job" }, function()
      return assert(client.threads:create_and_run_poll({ thread = { messages = { { role = "user",
        content = "Hi" } } } })):text()
    end)
    client:close(2)
    local run = named("threads.createAndRunPoll")
    assert.equal("completed", run.output.status)
    assert.equal("llm", run.type)
    assert.equal(run.metadata.threadId, named("job").metadata.threadId)
  end)

  it("get what is kept and nothing else", function()
    open({ capture = "metadata" })
    client:trace({ name = "job", input = "CANARY" }, function(trace)
      trace:span("own", function(span) span:output("CANARY") span:error("CANARY") end)
      return "CANARY"
    end)
    client:trace({ name = "full", capture = "full", input = "sk-abcdefgh12345" }, function() return "out" end)
    client:trace({ name = "none", capture = "none" }, function() end)
    client:close(2)
    local text = json.encode(got)
    assert.is_nil(text:find("CANARY", 1, true))
    assert.equal("sk-****", named("full").input)
    assert.is_nil(text:find('"none"', 1, true))
  end)

  it("are called by whoever drives the client, in batches, within the budget of a frame", function()
    open()
    for _ = 1, 300 do job() end
    assert.equal(0, #got)
    local frames = 0
    while client:timeout() do
      client:update(1)
      frames = frames + 1
      assert.is_true(frames < 5000)
    end
    assert.is_true(frames > 1)
    assert.is_true(#batches > 1 and #batches < 900, "batches: " .. #batches)
    assert.equal(900, #got)
  end)

  it("may wait, and don't hold up others", function()
    local finished, second = 0, 0
    open({ sinks = {
      function(batch)
        assert(client:sleep(0.01))
        finished = finished + #batch
      end,
      function(batch) second = second + #batch end,
    } })
    job()
    client:update(5)
    client:update(5)
    assert.equal(0, finished)
    assert.equal(3, second)
    assert.is_true(client:close(2))
    assert.equal(3, finished)
  end)

  it("have tables of their own", function()
    open({ sinks = { function(batch) for _, record in ipairs(batch) do record.metadata.x, record.name = 1, "?" end end,
      keep } })
    job()
    client:close(2)
    assert.same({ customer = "c-17" }, named("job").metadata)
  end)

  it("go on after one raised, which is said once", function()
    local calls = 0
    open({ sinks = { function() calls = calls + 1 error("no luck") end, keep } })
    job()
    repeat client:update(5) until calls == 1
    job()
    assert.is_false(client:close(2))
    assert.equal(2, calls)
    assert.equal(6, #got)
    assert.equal(1, #warnings)
    assert.matches("the sink 1 failed, what it was given is lost: .*no luck", warnings[1])
    assert.equal(6, client:stats().sinks_failed)
  end)

  it("lose what is above their bounds, counted", function()
    open({ limits = { max_spans = 10 } })
    job(20)
    assert.is_false(client:close(2))
    assert.equal(10, #got)
    assert.equal(31, client:stats().sinks_dropped)
    open({ limits = { max_bytes = 2000 }, sinks = { keep } })
    got = {}
    job(100)
    client:close(2)
    assert.is_true(#got > 0 and #got < 200)
  end)

  it("don't keep a client open that is given no time", function()
    open({ sinks = { function() client:sleep(60) end } })
    job()
    client:update(5)
    local started = os.time()
    assert.is_false(client:close(0.05))
    assert.is_true(os.time() - started < 5)
    assert.equal(3, client:stats().sinks_dropped)
  end)

  it("don't trace what they do", function()
    local calls = 0
    open({ sinks = { function()
      calls = calls + 1
      assert(client.threads:create())
    end } })
    client.recorder:surround({ name = "script" })
    client:trace({ name = "job" }, function() end)
    client:sleep(0.02)
    client:close(2)
    assert.equal(1, calls)
    assert.equal(1, client:stats().traces_started)
    assert.equal(0, client:stats().spans_started)
  end)

  it("get the share that is asked for, and what failed", function()
    open({ sample = 0 })
    job()
    client:trace({ name = "failing" }, function(trace)
      trace:span("before", function() end)
      return nil, "no luck"
    end)
    client:close(2)
    assert.equal(2, #got)
    assert.same({ "before", "failing" }, { got[1].name, got[2].name })
  end)

  it("get what is too large to be held back, as other sinks do", function()
    for count, there in pairs({ [1000] = 0, [1001] = 1002 }) do
      got = {}
      open({ sample = 0 })
      client:trace({ name = "large" }, function(trace)
        for number = 1, count do trace:span("s" .. number, function() end) end
      end)
      client:close(5)
      assert.equal(there, #got)
      if there > 0 then assert.same({ "s1", "s2", "large" }, { got[1].name, got[2].name, got[there].name }) end
    end
  end)

  it("get errors within the most that a field may take", function()
    open({ limits = { max_field_bytes = 1000 } })
    pcall(client.trace, client, { name = "failing" }, function(trace)
      trace:span("s", function() error(("e"):rep(5000), 0) end)
    end)
    client:close(2)
    local text = ("e"):rep(1000)
    assert.same({ text, text }, { named("s").error, named("failing").error })
  end)

  it("stand beside others", function()
    local path = os.tmpname()
    open({ file = path })
    job()
    assert.is_true(client:close(2))
    assert.equal(3, #got)
    local file = assert(io.open(path))
    assert.is_truthy(file:read("*a"):find(named("outer").span_id, 1, true))
    file:close()
    os.remove(path)
  end)

  it("are an array of functions", function()
    open()
    for _, wrong in ipairs({ print, { 1 }, { keep = keep } }) do
      assert.has_error(function() nexus.new({ sinks = wrong }) end)
    end
  end)
end)
