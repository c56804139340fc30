-- A share of the traces is delivered, and all that fail.
local nexus = require("nexus_assistants")
local servers = require("spec.support.server")

describe("sampling", function()
  local server

  setup(function() server = servers.start({ kind = "serve" }) end)
  teardown(function() server:stop() end)

  local function new_client(agent_id, sample)
    return assert(nexus.new({ agent_id = agent_id, provider = "script", store = "memory", sample = sample,
      nexus = { base_url = server.nexus_url, api_key = "nxs_local", flush_interval = 60 } }))
  end

  local function delivered(agent_id)
    local found = {}
    for _, there in ipairs(server:traces()) do
      if there.agent_name == agent_id then found[#found + 1] = there end
    end
    return found
  end

  it("leaves out what went well, and counts it", function()
    local client = new_client("none", 0)
    client:trace({ name = "fine" }, function(trace) trace:span("s", function() end) end)
    assert.is_true(client:close(2))
    assert.same({ 1, 1 }, { client:stats().traces_left_out, client:stats().spans_left_out })
    assert.same({}, delivered("none"))
  end)

  it("keeps all of what failed", function()
    local client = new_client("failed", 0)
    pcall(client.trace, client, { name = "fails" }, function(trace)
      trace:span("before", function() end)
      error("it failed")
    end)
    client:trace({ name = "a span fails" }, function(trace)
      trace:span("before", function() end)
      trace:span("failing", function(span) span:error("wrong") end)
      trace:span("after", function() end)
    end)
    assert.is_true(client:close(2))
    local found = delivered("failed")
    assert.equal(2, #found)
    assert.same({ 1, 3 }, { math.min(#found[1].spans, #found[2].spans), math.max(#found[1].spans, #found[2].spans) })
  end)

  it("is a number from 0 to 1", function()
    assert.has_error(function() nexus.new({ sample = 2 }) end,
      "nexus.new: option 'sample' must be a number from 0 to 1, got 2")
  end)
end)
