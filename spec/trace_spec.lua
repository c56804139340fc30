local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local process = require("spec.support.process")
local recording = require("nexus_assistants.trace")
local servers = require("spec.support.server")

describe("tracing", function()
  local server, client, thread, warnings

  setup(function() server = servers.start({ kind = "fault", model_script = "spec/support/told_model.lua" }) end)
  teardown(function() server:stop() end)

  local counter = 0

  before_each(function()
    warnings, counter = {}, counter + 1
    client = assert(nexus.new({
      agent_id = "agent-" .. counter,
      assistant_id = "asst_local",
      openai = { api_key = "sk-x", base_url = server.openai_url },
      nexus = { api_key = "nxs_x", base_url = server.nexus_url, flush_interval = 60 }, -- they are told of as they end
      poll = { interval = 0.002 },
      on_warning = function(text) warnings[#warnings + 1] = text end,
    }))
  end)

  after_each(function()
    server:clear_faults()
    client:close(0)
  end)

  -- What Nexus got, once all is delivered: the traces of this client, oldest first.
  local function delivered()
    assert.is_true(client:close(5))
    local traces = {}
    for _, trace in ipairs(server:traces()) do
      if trace.agent_name == "agent-" .. counter then table.insert(traces, 1, trace) end
    end
    return traces
  end

  local function only_trace()
    local traces = delivered()
    assert.equal(1, #traces)
    return traces[1]
  end

  local function by_name(trace, name)
    local found = {}
    for _, span in ipairs(trace.spans) do
      if span.name == name then found[#found + 1] = span end
    end
    assert.equal(1, #found, "spans named " .. name .. ": " .. #found)
    return found[1]
  end

  -- Names, each behind those it is below, sorted: `run > tool x`.
  local function tree(trace)
    local by_id, lines = {}, {}
    for _, span in ipairs(trace.spans) do by_id[span.id] = span end
    for index, span in ipairs(trace.spans) do
      local line, parent = span.name, by_id[span.parent_span_id]
      while parent do line, parent = parent.name .. " > " .. line, by_id[parent.parent_span_id] end
      lines[index] = line
    end
    table.sort(lines)
    return lines
  end

  -- As a script's own assert does; busted's wraps what it raises.
  local function must(value, err)
    if value == nil then error(err, 0) end
    return value
  end

  local function tell(...)
    local made = must(client.threads:create())
    must(client.threads.messages:create(made.id, { role = "user", content = json.encode({ ... }) }))
    thread = made
    return made
  end

  local function whole_job(params, ...)
    local made = tell(...)
    return must(client.threads.runs:create_and_poll(made.id, params or {})):text()
  end

  local function tool(name, call)
    return nexus.tool({ name = name, call = call })
  end

  describe("in the automatic style", function()
    it("makes a span of every call", function()
      local text = client:trace({ name = "job", input = { question = "?" }, metadata = { tenant = "x" } }, function()
        return whole_job(nil, "Bonjour")
      end)
      assert.equal("Bonjour", text)
      local trace = only_trace()
      assert.equal("success", trace.status)
      assert.same({
        "thread.create", "thread.messages.create", "thread.messages.list", "threads.runs.createAndPoll",
        "threads.runs.createAndPoll > step.message_creation",
      }, tree(trace))
      for _, span in ipairs(trace.spans) do assert.equal("ok", span.status) end
    end)

    it("puts on the trace what it was about", function()
      client:trace({ name = "job", input = { question = "?" }, metadata = { tenant = "x" } }, function()
        return whole_job(nil, "Bonjour")
      end)
      local metadata = only_trace().metadata
      assert.equal(thread.id, metadata.threadId)
      assert.equal("asst_local", metadata.assistantId)
      assert.equal("completed", metadata["run.status"])
      assert.equal("local", metadata["run.model"])
      assert.is_number(metadata["run.usage.total_tokens"])
      assert.equal(metadata["run.usage"].total_tokens, metadata["run.usage.total_tokens"])
      assert.equal("x", metadata.tenant)
      assert.same({ question = "?" }, metadata.input)
      assert.equal("Bonjour", metadata.output)
    end)

    it("puts on the spans what they did", function()
      client:trace({ name = "job" }, function() return whole_job(nil, "Bonjour") end)
      local trace = only_trace()
      assert.same({ threadId = thread.id }, by_name(trace, "thread.create").output)
      local message = by_name(trace, "thread.messages.create")
      assert.equal(thread.id, message.input.metadata.threadId)
      assert.equal("user", message.input.input.role)
      assert.matches("^msg_", message.output.messageId)
      local run = by_name(trace, "threads.runs.createAndPoll")
      assert.equal("llm", run.input.type)
      assert.equal(thread.id, run.input.metadata.threadId)
      assert.equal("asst_local", run.input.metadata.assistantId)
      assert.matches("^run_", run.input.metadata.runId)
      assert.equal("completed", run.output.status)
      assert.equal("local", run.output.model)
      assert.is_number(run.output.usage.total_tokens)
      assert.is_true(run.output.polls >= 1)
      assert.is_nil(run.output.last_error)
      assert.same({ messageCount = 1 }, by_name(trace, "thread.messages.list").output)
      local step = by_name(trace, "step.message_creation")
      assert.equal("(no output)", step.output)
      assert.equal("server, whole seconds", step.input.metadata.clock)
      assert.equal("completed", step.input.metadata.status)
      assert.matches("^step_", step.input.metadata.stepId)
    end)

    it("makes one span of a tool that ran here, with its times and its step", function()
      client:trace({ name = "job" }, function()
        return whole_job({ tools = { tool("w", function(arguments) return { celsius = arguments.n } end) } },
          { tool_calls = { { name = "w", arguments = { n = 18 } } } }, "done")
      end)
      local trace = only_trace()
      assert.same({
        "thread.create", "thread.messages.create", "thread.messages.list", "threads.runs.createAndPoll",
        "threads.runs.createAndPoll > step.message_creation", "threads.runs.createAndPoll > tool w",
      }, tree(trace))
      local span = by_name(trace, "tool w")
      assert.equal("tool", span.input.type)
      assert.same({ n = 18 }, span.input.input)
      assert.same({ celsius = 18 }, span.output)
      assert.matches("^call_", span.input.metadata.toolCallId)
      assert.matches("^step_", span.input.metadata.stepId)
      assert.equal("ok", span.status)
      assert.is_true(span.started_at >= by_name(trace, "threads.runs.createAndPoll").started_at)
    end)

    it("shows a tool that failed as such, and the run as it was", function()
      client:trace({ name = "job" }, function()
        return whole_job({ tools = { tool("w", function() error("broken", 0) end) } },
          { tool_calls = { { name = "w" } } }, "done")
      end)
      local trace = only_trace()
      assert.equal("success", trace.status)
      assert.equal("ok", by_name(trace, "threads.runs.createAndPoll").status)
      local span = by_name(trace, "tool w")
      assert.equal("error", span.status)
      assert.equal("broken", span.error)
      assert.same({ error = "broken" }, span.output)
    end)

    it("nests what a tool calls", function()
      client:trace({ name = "job" }, function()
        return whole_job({ tools = { tool("w", function() return assert(client.threads:create()).id end) } },
          { tool_calls = { { name = "w" } } }, "done")
      end)
      local lines = table.concat(tree(only_trace()), "\n")
      assert.matches("threads.runs.createAndPoll > tool w > thread.create", lines, 1, true)
    end)

    it("shows the calls of tools that ran elsewhere", function()
      local steps = { object = "list", has_more = false, data = {
        { id = "step_1", type = "tool_calls", status = "completed", created_at = 1700000000, completed_at = 1700000003,
          step_details = { type = "tool_calls", tool_calls = {
            { id = "call_1", type = "code_interpreter", code_interpreter = { input = "1+1", outputs = {
              { type = "logs", logs = "2" } } } },
            { id = "call_2", type = "file_search", file_search = { results = json.array() } },
            { id = "call_3", type = "function", ["function"] = { name = "f", arguments = '{"a":1}',
              output = nexus.null } },
            { id = "call_4", type = "function", ["function"] = { name = "g", arguments = "", output = "out" } },
          } } },
        { id = "step_2", type = "message_creation", status = "failed", created_at = 1700000003, failed_at = 1700000004,
          last_error = { code = "server_error", message = "oops" },
          step_details = { type = "message_creation", message_creation = { message_id = "msg_1" } } },
        { id = "step_3", type = "something_new", status = "in_progress", created_at = 1700000005 },
      } }
      client:trace({ name = "job" }, function()
        tell("x")
        local path = "/v1/threads/" .. thread.id .. "/runs"
        server:faults({
          { path = path, method = "POST", action = "status", status = 200, body = json.encode({ id = "run_x",
            thread_id = thread.id, status = "completed", usage = nexus.null, model = "m" }) },
          { path = path .. "/run_x/steps", action = "status", status = 200, body = json.encode(steps) },
        })
        return assert(client.threads.runs:create_and_poll(thread.id, {})).status
      end)
      server:clear_faults()
      local trace = only_trace()
      local code = by_name(trace, "step.code_interpreter")
      assert.equal("1+1", code.input.input)
      assert.same({ { type = "logs", logs = "2" } }, code.output)
      assert.equal("call_1", code.input.metadata.toolCallId)
      assert.equal("step_1", code.input.metadata.stepId)
      assert.equal("2023-11-14T22:13:20.000000Z", code.started_at)
      assert.equal("2023-11-14T22:13:23.000000Z", code.ended_at)
      assert.same({}, by_name(trace, "step.file_search").output)
      local functions = {}
      for _, span in ipairs(trace.spans) do
        if span.name == "step.function" then functions[span.input.metadata.toolCallId] = span end
      end
      assert.same({ a = 1 }, functions.call_3.input.input)
      assert.equal("(no output)", functions.call_3.output)
      assert.equal("out", functions.call_4.output)
      local failed = by_name(trace, "step.message_creation")
      assert.equal("error", failed.status)
      assert.equal("server_error: oops", failed.error)
      assert.equal("ok", by_name(trace, "step.something_new").status)
      assert.is_nil(trace.metadata["run.usage"])
      assert.is_nil(trace.metadata["run.usage.total_tokens"])
      assert.equal("m", trace.metadata["run.model"])
    end)

    it("asks for steps oldest first, all pages, and not at all without a trace", function()
      tell("x")
      server:clear_requests()
      assert(client.threads.runs:create_and_poll(thread.id, {}))
      local function asked()
        local queries = {}
        for _, request in ipairs(server:requests()) do
          if request.path:find("/steps$") then queries[#queries + 1] = request.query end
        end
        return queries
      end
      assert.same({}, asked())
      client:trace({ name = "job" }, function() return whole_job(nil, "x") end)
      assert.same({ "limit=100&order=asc" }, asked())
    end)

    it("says so where the steps can't be had, and changes nothing else", function()
      local text = client:trace({ name = "job" }, function()
        tell("Bonjour")
        local on_status = function(state)
          if state.status == "completed" then
            server:faults({ { path = "/v1/threads/" .. thread.id .. "/runs/" .. state.id .. "/steps", times = 9,
              action = "status", status = 500, body = "sorry" } })
          end
        end
        return must(client.threads.runs:create_and_poll(thread.id, {}, { on_status = on_status })):text()
      end)
      assert.equal("Bonjour", text)
      local run = by_name(only_trace(), "threads.runs.createAndPoll")
      assert.equal("ok", run.status)
      assert.matches("^not available: server: sorry", run.input.metadata.steps)
    end)

    it("survives steps that make no sense", function()
      local nonsense = { 1, "x", nexus.null, json.array(), { tool_calls = { 1, {} } }, { tool_calls = "x" } }
      for index, value in ipairs(nonsense) do
        client:trace({ name = "job " .. index }, function()
          local path = "/v1/threads/thread_x/runs"
          server:faults({
            { path = path, method = "POST", action = "status", status = 200,
              body = json.encode({ id = "run_x", status = "completed", usage = value, model = value }) },
            { path = path .. "/run_x/steps", action = "status", status = 200, body = json.encode({ data = {
              value, { id = value, type = value, step_details = value, created_at = value, status = value,
                last_error = value }, { type = "tool_calls", step_details = value } } }) },
          })
          return must(client.threads.runs:create_and_poll("thread_x", {})).status
        end)
      end
      server:clear_faults()
      local traces = delivered()
      assert.equal(#nonsense, #traces)
      for _, trace in ipairs(traces) do
        assert.equal("success", trace.status)
        local run = by_name(trace, "threads.runs.createAndPoll")
        assert.equal("ok", run.status)
        assert.is_nil(run.input.metadata.steps)
      end
    end)

    it("keeps all of a run that failed", function()
      local ok, raised = pcall(function()
        client:trace({ name = "job" }, function()
          return whole_job({ tools = { tool("w", function() return 1 end) } }, { tool_calls = { { name = "w" } } },
            { fail = { code = "server_error", message = "out of order" } })
        end)
      end)
      assert.is_false(ok)
      assert.equal("Run ended with status: failed: server_error out of order", raised.message)
      local trace = only_trace()
      assert.equal("error", trace.status)
      assert.matches("Run ended with status: failed: server_error out of order", trace.metadata.error, 1, true)
      assert.equal("failed", trace.metadata["run.status"])
      assert.equal(thread.id, trace.metadata.threadId)
      local run = by_name(trace, "threads.runs.createAndPoll")
      assert.equal("error", run.status)
      assert.matches("Run ended with status: failed", run.error)
      assert.same({ code = "server_error", message = "out of order" }, run.output.last_error)
      assert.equal("ok", by_name(trace, "tool w").status)
      assert.matches("^step_", by_name(trace, "tool w").input.metadata.stepId)
    end)

    it("shows a call that failed", function()
      local result, err = client:trace({ name = "job" }, function()
        return client.threads:retrieve("thread_none")
      end)
      assert.is_nil(result)
      assert.equal("not_found", err.kind)
      local trace = only_trace()
      assert.equal("error", trace.status)
      assert.equal(tostring(err), trace.metadata.error)
      local span = by_name(trace, "thread.retrieve")
      assert.equal("error", span.status)
      assert.equal(tostring(err), span.error)
      assert.equal("thread_none", span.input.metadata.threadId)
    end)

    it("calls a wait that was too long a timeout", function()
      client:trace({ name = "job" }, function()
        tell({ wait = 30, text = "late" })
        return client.threads.runs:create_and_poll(thread.id, {}, { deadline = 0.05 })
      end)
      local trace = only_trace()
      assert.equal("timeout", trace.status)
      assert.matches("it was asked to cancel", trace.metadata.error)
      assert.equal("error", by_name(trace, "threads.runs.createAndPoll").status)
    end)

    it("returns what the function does, nils included", function()
      local function results(...) return select("#", ...), { ... } end
      local count, values = results(client:trace({ name = "x" }, function() return 1, nil, 3, nil end))
      assert.equal(4, count)
      assert.same({ 1, nil, 3, nil }, values)
      assert.equal(0, (results(client:trace({ name = "x" }, function() end))))
      assert.equal(2, #delivered())
    end)

    it("raises the very value that was raised", function()
      for _, value in ipairs({ "text", {}, 12, false }) do
        local ok, raised = pcall(client.trace, client, { name = "x" }, function() error(value, 0) end)
        assert.is_false(ok)
        assert.equal(value, raised)
      end
      local ok, raised = pcall(client.trace, client, { name = "x" }, function() error() end)
      assert.is_false(ok)
      assert.is_nil(raised)
      for _, trace in ipairs(delivered()) do assert.equal("error", trace.status) end
    end)

    it("leaves errors of the script where they happened", function()
      local line = debug.getinfo(1, "l").currentline + 1
      local _, raised = pcall(client.trace, client, { name = "x" }, function() error("mine") end)
      assert.matches("trace_spec%.lua:" .. line .. ": mine$", raised)
    end)

    it("ends with its function: later calls are not traced", function()
      client:trace({ name = "x" }, function() return 1 end)
      assert(client.threads:create())
      pcall(client.trace, client, { name = "x" }, function() error("x") end)
      assert(client.threads:create())
      for _, trace in ipairs(delivered()) do assert.equal(0, trace.span_count) end
    end)

    it("keeps a trace within a trace apart", function()
      client:trace({ name = "outer" }, function()
        assert(client.threads:create())
        client:trace({ name = "inner" }, function()
          assert(client.threads:create())
          return assert(client.threads:create()).id
        end)
        return assert(client.threads:create()).id
      end)
      local traces = delivered()
      assert.equal(2, traces[1].span_count)
      assert.equal(2, traces[2].span_count)
    end)

    it("takes its output from the script where that says it", function()
      client:trace({ name = "x" }, function(trace)
        trace:output({ said = "this" })
        trace:input("asked")
        trace:set("key", { 1, 2 })
        assert.matches("^%x+$", trace:id())
        return "not this"
      end)
      local metadata = only_trace().metadata
      assert.same({ said = "this" }, metadata.output)
      assert.equal("asked", metadata.input)
      assert.same({ 1, 2 }, metadata.key)
    end)

    it("goes by another agent's name where asked", function()
      counter = counter + 1
      client:trace({ name = "x", agent_id = "agent-" .. counter }, function() return 1 end)
      assert.equal("success", only_trace().status)
    end)
  end)

  describe("spans of the script's own", function()
    it("nest, and calls nest in them", function()
      local result = client:trace({ name = "job" }, function(trace)
        return trace:span("outer", { type = "chain", input = "in", metadata = { a = 1 } }, function(span)
          span:set("b", 2)
          span:output("out")
          assert(client.threads:create())
          trace:span("inner", function() return assert(client.threads:create()) end)
          return "result"
        end)
      end)
      assert.equal("result", result)
      local trace = only_trace()
      assert.same({ "outer", "outer > inner", "outer > inner > thread.create", "outer > thread.create" }, tree(trace))
      local outer = by_name(trace, "outer")
      assert.equal("chain", outer.input.type)
      assert.equal("in", outer.input.input)
      assert.same({ a = 1, b = 2 }, outer.input.metadata)
      assert.equal("out", outer.output)
    end)

    it("end in error where their function does", function()
      client:trace({ name = "job" }, function(trace)
        pcall(trace.span, trace, "raises", function() error("boom", 0) end)
        trace:span("returns", function() return nil, "no luck" end)
        trace:span("says", function(span) span:error("by hand") end)
        trace:span("fine", function() return nil end)
        assert(client.threads:create())
        return 1
      end)
      local trace = only_trace()
      assert.equal("success", trace.status)
      assert.equal("boom", by_name(trace, "raises").error)
      assert.equal("no luck", by_name(trace, "returns").error)
      assert.equal("by hand", by_name(trace, "says").error)
      assert.equal("error", by_name(trace, "says").status)
      assert.equal("ok", by_name(trace, "fine").status)
      assert.equal(nexus.null, by_name(trace, "thread.create").parent_span_id)
    end)
  end)

  describe("tasks", function()
    it("trace each their own", function()
      local tasks = {}
      for index = 1, 5 do
        tasks[index] = client:task(function()
          return client:trace({ name = "job " .. index }, function()
            return whole_job({ tools = { tool("w", function() return client:sleep(0.01) end) } },
              { tool_calls = { { name = "w" } } }, "answer " .. index)
          end)
        end)
      end
      for _, task in ipairs(tasks) do task:wait(10) end
      local traces = delivered()
      assert.equal(5, #traces)
      for _, trace in ipairs(traces) do
        assert.same({
          "thread.create", "thread.messages.create", "thread.messages.list", "threads.runs.createAndPoll",
          "threads.runs.createAndPoll > step.message_creation", "threads.runs.createAndPoll > tool w",
        }, tree(trace))
      end
    end)

    it("started within a trace are part of it, below the span they were started in", function()
      client:trace({ name = "job" }, function(trace)
        return trace:span("both", function()
          local one = client:task(function() return assert(client.threads:create()).id end)
          local other = client:task(function()
            client:sleep(0.01)
            return assert(client.threads:create()).id
          end)
          return one:wait(), other:wait()
        end)
      end)
      assert.same({ "both", "both > thread.create", "both > thread.create" }, tree(only_trace()))
    end)

    it("that outlive their trace go on untraced", function()
      local task
      client:trace({ name = "job" }, function()
        task = client:task(function()
          client:sleep(0.02)
          return assert(client.threads:create()).object
        end)
        return 1
      end)
      client:trace({ name = "later" }, function() return (task:wait()) end)
      for _, trace in ipairs(delivered()) do assert.equal(0, trace.span_count) end
    end)

    it("may use coroutines of their own", function()
      client:trace({ name = "job" }, function()
        local make = coroutine.wrap(function() coroutine.yield(assert(client.threads:create()).id) end)
        return make()
      end)
      assert.same({ "thread.create" }, tree(only_trace()))
    end)
  end)

  describe("what can't be written", function()
    it("is told, and the rest kept", function()
      local cycle = {}
      cycle.cycle = cycle
      client:trace({ name = "job", input = print, metadata = { bad = cycle, good = 1 } }, function(trace)
        trace:set("bytes", "a\255")
        trace:span("span", { input = { f = print }, metadata = { [1] = "one" } }, function(span)
          span:output(0 / 0)
          return 1
        end)
        return io.stdout
      end)
      local trace = only_trace()
      assert.equal("(not recorded: the value is a function, which JSON can't hold)", trace.metadata.input)
      assert.equal("(not recorded: the value contains itself)", trace.metadata.bad)
      assert.equal(1, trace.metadata.good)
      assert.equal("(not recorded: the value is not valid UTF-8 (byte 2))", trace.metadata.bytes)
      assert.equal("(not recorded: the value is a userdata, which JSON can't hold)", trace.metadata.output)
      local span = by_name(trace, "span")
      assert.equal("(not recorded: f is a function, which JSON can't hold)", span.input.input)
      assert.equal("one", span.input.metadata["1"])
      assert.equal("(not recorded: the value is not a finite number)", span.output)
    end)

    it("does not include an error that can't be shown", function()
      local value = setmetatable({}, { __tostring = function() error("worse") end })
      local ok, raised = pcall(client.trace, client, { name = "x" }, function() error(value) end)
      assert.is_false(ok)
      assert.equal(value, raised)
      assert.equal("(an error value that can't be shown)", only_trace().metadata.error)
    end)
  end)

  describe("in the manual style", function()
    -- On a tracer that keeps nothing; also returns the ids of the spans that others were put below, in order.
    local function fake_manual()
      local parents, ids = {}, 0
      local handle_mt = { __index = function() return function() end end }
      local function handle()
        ids = ids + 1
        local id = tostring(ids)
        return setmetatable({
          id = function() return id end,
          span = function(_, _, _, parent)
            parents[#parents + 1] = parent and parent:id()
            return handle()
          end,
        }, handle_mt)
      end
      local recorder = recording.new({ agent_id = "a", warn = function() end, tracer = { trace = handle },
        capture = "full", endpoints = {} })
      return recording.manual(recorder), parents
    end

    it("records what it is told, and calls don't record themselves", function()
      local trace = client.nexus:start_trace({ name = "job", input = { q = 1 }, metadata = { m = 1 } })
      assert.matches("^%x+$", trace.id)
      local run = client.nexus:start_span(trace.id, { name = "run", type = "llm", input = "in", metadata = { a = 1 } })
      assert(client.threads:create())
      client.nexus:end_span(run.id, { output = { ok = true }, metadata = { b = 2 } })
      local step = client.nexus:start_span(trace.id, { name = "step", parent_id = run.id })
      client.nexus:end_span(step.id, { error = "broken" })
      local quiet = client.nexus:start_span(trace.id, { name = "quiet" })
      client.nexus:end_span(quiet.id)
      client.nexus:end_trace(trace.id, { status = "success", output = "out", metadata = { n = 2 } })
      local got = only_trace()
      assert.same({ "quiet", "run", "run > step" }, tree(got))
      assert.equal("success", got.status)
      assert.same({ q = 1 }, got.metadata.input)
      assert.equal("out", got.metadata.output)
      assert.equal(1, got.metadata.m)
      assert.equal(2, got.metadata.n)
      local span = by_name(got, "run")
      assert.equal("llm", span.input.type)
      assert.same({ a = 1, b = 2 }, span.input.metadata)
      assert.same({ ok = true }, span.output)
      assert.equal("broken", by_name(got, "step").error)
      assert.equal("error", by_name(got, "step").status)
      assert.equal("ok", by_name(got, "quiet").status)
    end)

    it("keeps the error of a trace, wherever it was put", function()
      for index, ending in ipairs({
        { status = "error", error = "broken" },
        { status = "error", metadata = { error = "broken" } },
        { error = "broken" },
      }) do
        local trace = client.nexus:start_trace({ name = "job " .. index })
        client.nexus:end_trace(trace.id, ending)
      end
      local traces = delivered()
      assert.equal(3, #traces)
      for _, trace in ipairs(traces) do
        assert.equal("error", trace.status)
        assert.equal("broken", trace.metadata.error)
      end
    end)

    it("can end in a timeout", function()
      client.nexus:end_trace(client.nexus:start_trace({ name = "job" }).id, { status = "timeout" })
      assert.equal("timeout", only_trace().status)
    end)

    it("never raises for ids that mean nothing any more, warns once and counts", function()
      local trace = client.nexus:start_trace({ name = "job" })
      local span = client.nexus:start_span(trace.id, { name = "span" })
      client.nexus:end_trace(trace.id)
      client.nexus:end_span(span.id)
      client.nexus:end_trace(trace.id)
      client.nexus:end_span("made up")
      assert.equal("dropped", client.nexus:start_span(trace.id, { name = "late" }).id)
      assert.same({ "nexus:end_span: there is no open trace or span '" .. span.id .. "'; it may have ended" }, warnings)
      assert.equal(4, client:stats().unknown_ids)
    end)

    it("does nothing a second time", function()
      local trace = client.nexus:start_trace({ name = "job" })
      local span = client.nexus:start_span(trace.id, { name = "span" })
      client.nexus:end_span(span.id, { output = 1 })
      client.nexus:end_span(span.id, { output = 2, metadata = { late = true }, error = "late" })
      assert.equal(1, client:stats().unknown_ids)
      assert.matches("^nexus:end_span: there is no open trace or span '" .. span.id .. "'", warnings[1])
      client.nexus:end_trace(trace.id)
      local got = by_name(only_trace(), "span")
      assert.equal(1, got.output)
      assert.equal("ok", got.status)
    end)

    it("takes the ids of what was dropped", function()
      local dropping = assert(nexus.new({ openai = { api_key = "x" }, nexus = { api_key = "nxs_x",
        base_url = server.nexus_url }, limits = { max_traces = 1 }, on_warning = function() end }))
      dropping.nexus:start_trace({ name = "held" })
      local trace = dropping.nexus:start_trace({ name = "one too many" })
      local span = dropping.nexus:start_span(trace.id, { name = "span", parent_id = "dropped" })
      dropping.nexus:end_span(span.id, { output = 1 })
      dropping.nexus:end_trace(trace.id, { status = "success" })
      assert.equal(0, dropping:stats().unknown_ids)
      assert.equal(1, dropping:stats().traces_dropped)
      dropping:close(0)
    end)

    it("works where nothing is delivered", function()
      local silent = assert(nexus.new({ openai = { api_key = "x" }, nexus = false }))
      local trace = silent.nexus:start_trace({ name = "job" })
      local span = silent.nexus:start_span(trace.id, { name = "span" })
      silent.nexus:end_span(span.id)
      silent.nexus:end_trace(trace.id)
      assert.equal(0, silent:stats().unknown_ids)
      silent:close()
    end)

    it("keeps the latest of a long trace's ended spans, for new ones to be put below", function()
      local manual, parents = fake_manual()
      local trace = manual:start_trace({ name = "job" })
      local open = manual:start_span(trace.id, { name = "open" })
      local ended = {}
      for index = 1, 100000 do
        ended[index] = manual:start_span(trace.id, { name = "span" }).id
        manual:end_span(ended[index])
      end
      local held = 0
      for _, tables in ipairs({ manual.spans, manual.traces[trace.id].span_ids, manual.traces[trace.id].ended_ids }) do
        for _ in pairs(tables) do held = held + 1 end
      end
      assert.is_true(held < 1000, "held: " .. held)
      manual:start_span(trace.id, { name = "below", parent_id = ended[100000] })
      assert.equal(ended[100000], parents[#parents])
      manual:end_span(open.id)
      assert.equal(0, manual.unknown_ids)
      manual:end_span(ended[1])
      manual:end_span(ended[100000])
      assert.equal(2, manual.unknown_ids)
      manual:end_trace(trace.id)
      assert.is_nil(next(manual.spans))
    end)

    it("keeps nothing of a trace that has ended", function()
      local trace = client.nexus:start_trace({ name = "job" })
      for _ = 1, 10 do client.nexus:end_span(client.nexus:start_span(trace.id, { name = "span" }).id) end
      client.nexus:end_trace(trace.id)
      assert.is_nil(next(client.nexus.traces))
      assert.is_nil(next(client.nexus.spans))
    end)
  end)

  for message, misuse in pairs({
    ["client:trace: option 'name' is required"] = function() client:trace({}, print) end,
    ["client:trace: a function is needed as the second argument, got nil"] =
      function() client:trace({ name = "x" }) end,
    ["client:trace: option 'metadata' must be a table, got a string"] =
      function() client:trace({ name = "x", metadata = "y" }, print) end,
    ["trace:span: name must be a string that is not empty"] =
      function() client:trace({ name = "x" }, function(trace) trace:span() end) end,
    ["trace:span: a function is needed, got nil"] =
      function() client:trace({ name = "x" }, function(trace) trace:span("y") end) end,
    ["trace:set: key must be a string that is not empty, got nil"] =
      function() client:trace({ name = "x" }, function(trace) trace:set() end) end,
    ["nexus:start_trace: option 'name' is required"] = function() client.nexus:start_trace({}) end,
    ["nexus:start_span: trace_id must be a string, got nil"] =
      function() client.nexus:start_span(nil, { name = "x" }) end,
    ["nexus:end_span: span_id must be a string, got table"] = function() client.nexus:end_span({}) end,
    ["nexus:end_trace: option 'status' must be 'success' or 'error' or 'timeout', got 'ok'"] =
      function() client.nexus:end_trace("x", { status = "ok" }) end,
  }) do
    it("refuses misuse at the caller's line: " .. message, function()
      local ok, problem = pcall(misuse)
      assert.is_false(ok)
      assert.matches("trace_spec%.lua:%d+: " .. message:gsub("%p", "%%%0") .. "$", problem)
    end)
  end

  describe("that can't be delivered", function()
    local function job()
      return process.run({ process.path("examples/assistant.lua"), '["Bonjour"]' }, {
        OPENAI_API_KEY = "sk-x", OPENAI_BASE_URL = server.openai_url, ASSISTANT_ID = "asst_local",
        NEXUS_API_KEY = "nxs_x", NEXUS_BASE_URL = server.nexus_url, NEXUS_ASSISTANTS_POLL_INTERVAL = "0.002",
      })
    end

    for what, fault in pairs({
      ["refused for its key"] = { action = "status", status = 401, body = '{"error":"Invalid API key"}' },
      ["refused for the plan"] = { action = "status", status = 403, body = '{"error":"Free plan limited to 1 agent"}' },
      ["refused for the month"] = { action = "status", status = 429, body = '{"error":"Monthly trace limit reached"}' },
      ["answered with 500"] = { action = "status", status = 500, body = "Internal Server Error" },
      ["hung up on"] = { action = "drop" },
      ["kept waiting"] = { action = "hang" },
    }) do
      it("leaves reply and exit code alone when it is " .. what, function()
        fault.path = "/api/v1"
        server:faults({ fault })
        local result = job()
        assert.equal("Bonjour\n", result.out)
        assert.equal(0, result.code)
        local _, count = result.err:gsub("\n", "\n")
        assert.equal(1, count, result.err)
        assert.matches("^nexus%-assistants: warning: ", result.err)
      end)
    end
  end)
end)
