-- What a trace's late end and its name at Nexus are read back into.
local ending = require("nexus_assistants.view.ending")
local json = require("nexus_assistants.json")
local samples = require("spec.support.traces")

local function last_span(output, more)
  local span = samples.span("z9", "trace.end", 3000, 3000, { output = output })
  for name, value in pairs(more or {}) do span[name] = value end
  return span
end

local function late(...)
  local trace = samples.ordinary("late")
  trace.metadata = { trace_id = "t", customer = "c-17" }
  for _, span in ipairs({ ... }) do trace.spans[#trace.spans + 1] = span end
  trace.span_count = #trace.spans
  return trace
end

describe("the end of a trace that was created before it had ended", function()
  it("is the trace's metadata, and no span", function()
    local trace = ending.restore(late(last_span({ trace_id = "t", customer = "c-18", error = "it broke" })))
    assert.same({ trace_id = "t", customer = "c-18", error = "it broke" }, trace.metadata)
    assert.same({ 9, 9 }, { #trace.spans, trace.span_count })
    assert.is_true(json.is_array(trace.spans))
  end)

  it("has its error where the metadata tells none", function()
    assert.equal("it broke", ending.restore(late(last_span({ trace_id = "t" }, { error = "it broke" }))).metadata.error)
  end)

  it("counts once where it was sent twice", function()
    local trace = ending.restore(late(last_span({ trace_id = "t", a = 1 }), last_span({ trace_id = "t", a = 2 })))
    assert.same({ 9, 2 }, { #trace.spans, trace.metadata.a })
  end)

  it("is not what others call so", function()
    local others = { last_span({ done = true }), last_span("text"), last_span(json.null),
      last_span({ trace_id = "t" }, { parent_span_id = "a1" }) }
    for _, span in ipairs(others) do
      local trace = ending.restore(late(span))
      assert.same({ 10, "c-17" }, { #trace.spans, trace.metadata.customer })
    end
  end)
end)

describe("the name of a trace at Nexus", function()
  it("stands in its metadata", function()
    assert.equal("job", ending.restore({ id = "x", metadata = { trace_name = "job" } }).name)
    assert.equal("mine", ending.restore({ id = "x", name = "mine", metadata = { trace_name = "job" } }).name)
    assert.is_nil(ending.restore({ id = "x", metadata = { trace_name = 5 } }).name)
    assert.is_nil(ending.restore({ id = "x", metadata = "text" }).name)
    assert.equal(5, ending.restore(5))
  end)
end)
