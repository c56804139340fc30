-- Every finding of the doctor, provoked through a client against the local server.
local look = require("nexus_assistants.doctor.look")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local told = require("spec.support.told")

local calls, tool = told.calls, told.tool

describe("the doctor finds", function()
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

  -- The findings of a run, whether it went well or not.
  local function findings_of(done, err)
    return err and err.findings or done:findings()
  end

  local function pretend(fields, steps)
    local body = { id = "run_1", object = "thread.run", thread_id = thread.id, status = "completed" }
    for key, value in pairs(fields) do body[key] = value end
    server:faults({
      { path = "/v1/threads/" .. thread.id .. "/runs/run_1/steps", action = "status", status = 200,
        body = json.encode({ data = json.array(steps or {}), has_more = false }) },
      { path = "/v1/threads/" .. thread.id .. "/runs", action = "status", status = 200, body = json.encode(body) },
    })
  end

  local function pretended(fields)
    pretend(fields)
    return findings_of(run())
  end

  -- Runs in a trace, and returns what was found on it.
  local function on_trace(fn)
    client:trace({ name = "t" }, fn)
    client:close(2)
    return server:traces()[1].metadata.findings
  end

  local asking = { type = "submit_tool_outputs", submit_tool_outputs = { tool_calls = {
    { id = "call_1", type = "function", ["function"] = { name = "w", arguments = "{}" } } } } }

  local function waiting_run(...)
    tell(calls(...), "x")
    local left = assert(client.threads.runs:create(thread.id))
    repeat
      client:sleep(0.002)
      left = assert(client.threads.runs:retrieve(thread.id, left.id))
    until left.status == "requires_action"
    return left
  end

  local function submit(left, ...)
    local outputs = {}
    for index, id in ipairs({ ... }) do outputs[index] = { tool_call_id = id, output = "x" } end
    return findings_of(client.threads.runs:submit_tool_outputs_and_poll(thread.id, left.id, { tool_outputs = outputs }))
  end

  local cases = {
    requires_action_stuck = function()
      tell(calls("w"), "x")
      return findings_of(run())
    end,
    call_ids_missing = function() return submit(waiting_run("a", "b"), "call_a") end,
    call_ids_unknown = function() return submit(waiting_run("a"), "call_a", "call_other") end,
    run_expired = function() return pretended({ status = "expired", created_at = 1000, expires_at = 1600 }) end,
    poll_deadline = function()
      tell({ wait = 600, text = "late" })
      return findings_of(run({}, { deadline = 0.5 }))
    end,
    poll_stalled = function()
      tell({ wait = 600, text = "late" })
      return findings_of(run({}, { deadline = 60, stall = 0.5 }))
    end,
    run_incomplete = function()
      return pretended({ status = "incomplete", incomplete_details = { reason = "content_filter" } })
    end,
    server_error = function()
      tell({ fail = { code = "server_error", message = "down" } })
      return findings_of(run())
    end,
    rate_limited = function()
      tell({ fail = { code = "rate_limit_exceeded", message = "quota" } })
      return findings_of(run())
    end,
    active_run_conflict = function()
      tell({ wait = 0.05, text = "x" })
      assert(client.threads.runs:create(thread.id))
      return findings_of(run())
    end,
    zombie_run = function()
      local other = told.client(server, { nexus = false })
      tell({ wait = 0.05, text = "x" })
      assert(other.threads.runs:create(thread.id))
      other:close(0)
      return findings_of(run())
    end,
    tool_failure_hidden = function()
      tell(calls("w"), "x")
      return findings_of(run({ tools = { tool("w", function() error("broken") end) } }))
    end,
    tool_timeout = function()
      tell(calls("w"), "x")
      return findings_of(run({ tools = { tool("w", function() client:sleep(600) end, 0.01) } }))
    end,
    tool_unknown = function()
      tell(calls("made_up"), "x")
      return findings_of(run({ tools = { tool("w", print) } }))
    end,
    tool_bad_arguments = function()
      tell(calls("w"), "x")
      local strict = nexus.tool({ name = "w", parameters = { type = "object", required = { "city" } }, call = print })
      return findings_of(run({ tools = { strict } }))
    end,
    tool_output_empty = function()
      tell(calls("w"), "x")
      return findings_of(run({ tools = { tool("w", function() return "" end) } }))
    end,
    tool_output_cut = function()
      tell(calls("w"), "x")
      return findings_of(run({ tools = { tool("w", function() return ("x"):rep(600000) end) } }))
    end,
    file_search_empty = function()
      pretend({}, { { id = "step_1", type = "tool_calls", status = "completed", step_details = { tool_calls = {
        { id = "call_1", type = "file_search", file_search = { results = json.array({}) } } } } } })
      return on_trace(function() return run().status end)
    end,
    run_expiring = function()
      local now = os.time()
      return pretended({ created_at = now - 590, expires_at = now + 10 })
    end,
    queued_too_long = function()
      local now = os.time()
      return pretended({ status = "failed", created_at = now - 100, started_at = now - 10, expires_at = now + 500 })
    end,
    tokens_growing = function()
      for turn = 1, 2 do
        pretended({ id = "run_" .. turn,
          usage = { prompt_tokens = 100 * 2 ^ turn, completion_tokens = 1, total_tokens = 1 } })
      end
      return pretended({ id = "run_3", usage = { prompt_tokens = 800, completion_tokens = 1, total_tokens = 1 } })
    end,
    thread_leak = function()
      return on_trace(function() return assert(client.threads:create()).id end)
    end,
  }

  for _, finding in ipairs(look.catalogue) do
    it(finding.id, function()
      local found = {}
      for _, item in ipairs(cases[finding.id]()) do found[item.id] = item end
      assert.truthy(found[finding.id], "found: " .. json.encode(found))
      assert.equal(finding.severity, found[finding.id].severity)
      assert.is_true(#found[finding.id].evidence > 0 and #found[finding.id].advice > 0)
    end)
  end

  it("nothing in an ordinary run with a tool", function()
    tell(calls("w"), "x")
    local done = assert(run({ tools = { tool("w", function() return "18 °C" end) } }))
    assert.same({}, done:findings())
    pretend({ required_action = asking })
    assert.same({}, run():findings())
  end)

  it("the same for the error, the run's span and the trace", function()
    tell({ fail = { code = "server_error", message = "down" } })
    local _, err = client:trace({ name = "t" }, function() return run() end)
    client:close(2)
    local trace = server:traces()[1]
    local expected = json.decode(json.encode(err.findings))
    assert.same(expected, trace.metadata.findings)
    for _, span in ipairs(trace.spans) do
      if span.name == "threads.runs.createAndPoll" then assert.same(expected, span.input.metadata.findings) end
    end
  end)
end)
