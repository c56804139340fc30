local json = require("nexus_assistants.json")
local process = require("spec.support.process")
local servers = require("spec.support.server")

describe("examples", function()
  local server

  before_each(function() server = servers.start({ kind = "fault", model_script = "spec/support/told_model.lua" }) end)
  after_each(function() server:stop() end)

  local function environment(changes)
    local variables = {
      OPENAI_API_KEY = "sk-example", OPENAI_BASE_URL = server.openai_url, ASSISTANT_ID = "asst_local",
      NEXUS_API_KEY = "nxs_example", NEXUS_BASE_URL = server.nexus_url, NEXUS_AGENT_ID = "example",
      NEXUS_ASSISTANTS_POLL_INTERVAL = "0.002",
    }
    for name, value in pairs(changes or {}) do variables[name] = value or nil end
    return variables
  end

  local function run(name, question, changes)
    return process.run({ process.path("examples/" .. name), question }, environment(changes))
  end

  local function tree(trace)
    local by_id, lines = {}, {}
    for _, span in ipairs(trace.spans) do by_id[span.id] = span end
    for index, span in ipairs(trace.spans) do
      local parent = by_id[span.parent_span_id]
      lines[index] = (parent and parent.name .. " > " or "") .. span.name
    end
    table.sort(lines)
    return lines
  end

  local TREE = {
    "thread.create", "thread.messages.create", "thread.messages.list", "threads.runs.createAndPoll",
    "threads.runs.createAndPoll > step.message_creation",
  }

  for _, name in ipairs({ "article.lua", "assistant.lua" }) do
    describe(name, function()
      it("prints the reply alone, and leaves a whole trace", function()
        local result = run(name, "hello")
        assert.equal("You said: hello\n", result.out)
        assert.equal("", result.err)
        assert.equal(0, result.code)
        local traces = server:restored_traces()
        assert.equal(1, #traces)
        assert.equal("success", traces[1].status)
        assert.equal("example", traces[1].agent_name)
        assert.same({ question = "hello" }, traces[1].metadata.input)
        assert.equal("You said: hello", traces[1].metadata.output)
        assert.same(TREE, tree(traces[1]))
      end)

      it("ends with a code when the run fails, its error on the trace", function()
        local result = run(name, json.encode({ { fail = { code = "server_error", message = "out of order" } } }))
        assert.equal("", result.out)
        assert.matches("Run ended with status: failed", result.err, 1, true)
        assert.equal(1, result.code)
        local trace = server:restored_traces()[1]
        assert.equal("error", trace.status)
        assert.matches("Run ended with status: failed", trace.metadata.error, 1, true)
      end)

      it("ends with a code when a call fails, its error on the trace", function()
        local refusal = json.encode({ error = { message = "no" } })
        server:faults({ { path = "/v1/threads", action = "status", status = 400, body = refusal } })
        local result = run(name, "hello")
        assert.equal("", result.out)
        assert.matches("bad_request: no (400", result.err, 1, true)
        assert.equal(1, result.code)
        assert.matches("bad_request: no (400", server:restored_traces()[1].metadata.error, 1, true)
      end)

      it("says how it is used", function()
        local result = process.run({ process.path("examples/" .. name) }, environment())
        assert.equal("", result.out)
        assert.equal("usage: " .. name .. ' "QUESTION"\n', result.err)
        assert.equal(2, result.code)
      end)

      it("says what it lacks", function()
        local result = run(name, "hello", { OPENAI_API_KEY = false })
        assert.equal("", result.out)
        assert.matches("set OPENAI_API_KEY", result.err, 1, true)
        assert.equal(1, result.code)
      end)

      it("works without Nexus", function()
        local result = run(name, "hello", { NEXUS_API_KEY = false })
        assert.equal("You said: hello\n", result.out)
        assert.matches("^nexus%-assistants: warning: traces are not delivered", result.err)
        assert.equal(0, result.code)
      end)
    end)
  end

  it("article.lua passes on what kept it from the run's end, and ends the run's span with it", function()
    for _, fault in ipairs({
      { path = "/v1/threads", method = "POST", skip = 2 }, -- the run is never created
      { path = "/v1/threads", method = "GET" }, -- it is, but then can't be asked for
    }) do
      fault.action, fault.status, fault.body = "status", 400, json.encode({ error = { message = "no" } })
      server:faults({ fault })
      local result = run("article.lua", "hello")
      assert.equal("", result.out)
      assert.matches("^article.lua: bad_request: no %(400", result.err)
      assert.equal(1, result.code)
      local trace = server:restored_traces()[1]
      assert.matches("bad_request: no (400", trace.metadata.error, 1, true)
      local span
      for _, item in ipairs(trace.spans) do
        if item.name == "threads.runs.createAndPoll" then span = item end
      end
      assert.equal("error", span.status)
      assert.matches("bad_request: no (400", span.error, 1, true)
      server:clear_faults()
    end
  end)

  it("article.lua fails where the run asks for a function, which nobody there would call", function()
    local result = run("article.lua", json.encode({ { tool_calls = { { name = "f" } } } }))
    assert.matches("Run ended with status: requires_action\n", result.err, 1, true)
    assert.equal(1, result.code)
  end)

  it("assistant.lua answers with its tool", function()
    local result = run("assistant.lua", json.encode({
      { tool_calls = { { name = "get_weather", arguments = { city = "Paris" } } } }, "Got $1",
    }))
    assert.equal("", result.err)
    assert.same({ city = "Paris", celsius = 18, sky = "clear" }, json.decode((result.out:match("^Got (.*)\n$"))))
    local trace = server:restored_traces()[1]
    assert.equal("completed", trace.metadata["run.status"])
    assert.is_number(trace.metadata["run.usage.total_tokens"])
    assert.matches("threads.runs.createAndPoll > tool get_weather", table.concat(tree(trace), "\n"), 1, true)
  end)
end)
