local accumulate = require("nexus_assistants.accumulate")
local json = require("nexus_assistants.json")
local replay = require("spec.support.replay")

local function message_delta(content)
  return { id = "msg_1", object = "thread.message.delta", delta = { content = content } }
end

local function text_part(index, value)
  return { index = index, type = "text", text = { value = value, annotations = json.array({}) } }
end

local function step_delta(details)
  return { id = "step_1", object = "thread.run.step.delta", delta = { step_details = details } }
end

local function all_of(...)
  local made = accumulate.new()
  for _, data in ipairs({ ... }) do assert.is_true(made:take(data)) end
  made:flush()
  return made
end

describe("accumulate", function()
  it("joins the texts of a message", function()
    local made = all_of(message_delta({ text_part(0, "Hel") }), message_delta({ text_part(0, "lo") }),
      message_delta({ text_part(0, " é") }))
    assert.equal("Hello é", made.messages[1].content[1].text.value)
    assert.equal("msg_1", made.messages[1].id)
  end)

  it("keeps parts apart by their index", function()
    local made = all_of(message_delta({ text_part(0, "a") }), message_delta({ text_part(1, "b") }),
      message_delta({ text_part(0, "A"), text_part(1, "B") }))
    assert.equal("aA", made.messages[1].content[1].text.value)
    assert.equal("bB", made.messages[1].content[2].text.value)
  end)

  it("overwrites index and type, adds numbers, merges tables, appends lists that have no index", function()
    local made = all_of(
      step_delta({ type = "x", count = 1, list = json.array({ 1 }), nested = { a = "1" } }),
      step_delta({ type = "y", count = 2, list = json.array({ 2 }), nested = { a = "2", b = true } }))
    assert.same({ type = "y", count = 3, list = { 1, 2 }, nested = { a = "12", b = true } }, made.steps[1].step_details)
  end)

  it("sets what is absent or null, and lets null change nothing", function()
    local made = all_of(step_delta({ output = json.null, name = "a" }), step_delta({ output = "x", name = json.null }))
    assert.same({ output = "x", name = "a" }, made.steps[1].step_details)
  end)

  it("puts tool calls together", function()
    local function call(arguments, more)
      local entry = { index = 0, type = "function", ["function"] = { arguments = arguments } }
      for name, value in pairs(more or {}) do entry[name] = value end
      return step_delta({ type = "tool_calls", tool_calls = { entry } })
    end
    local made = all_of(call("", { id = "call_1" }), call('{"a"'), call(":1}"))
    assert.same({ index = 0, id = "call_1", type = "function", ["function"] = { arguments = '{"a":1}' } },
      made.steps[1].step_details.tool_calls[1])
  end)

  it("lets a whole object take the place of what was put together", function()
    local whole = { id = "msg_1", object = "thread.message", content = { { type = "text" } } }
    local made = all_of(message_delta({ text_part(0, "a") }), whole)
    assert.same(whole, made.messages[1])
    assert.equal(1, #made.messages)
    assert.equal(made.messages[1], made.message_by_id.msg_1)
  end)

  it("goes on after a flush, and leaves events as they were", function()
    local first = message_delta({ text_part(0, "a") })
    local made = all_of(first)
    made:take(message_delta({ text_part(0, "b") }))
    made:flush()
    made:take(message_delta({ text_part(0, "c") }))
    made:flush()
    assert.equal("abc", made.messages[1].content[1].text.value)
    assert.equal("a", first.delta.content[1].text.value)
  end)

  it("takes whatever a server sends", function()
    local made = accumulate.new()
    local odd = { {}, { object = 1 }, { object = "thread.run" }, { object = "thread.message.delta", id = 1 } }
    for _, data in ipairs(odd) do
      assert.is_false(made:take(data))
    end
    made:take(message_delta("text"))
    made:take(message_delta({ "text", 1, true }))
    made:take(message_delta({ { index = -1 }, { index = 0.5 }, { index = "0" }, { index = 1e9 } }))
    made:take({ id = "msg_1", object = "thread.message.delta", delta = 3 })
    made:flush()
  end)

  local lacking = replay.lacks()
  for _, name in ipairs({ "openllmetry/test_streaming_new_assistant.json",
    "openllmetry/test_streaming_existing_assistant.json", "openai-dotnet/AssistantsTests.StreamingRunWorks.json" }) do
    it("puts together what a recorded stream then says whole: " .. name, function()
      if lacking then return pending(lacking) end
      local made, whole = accumulate.new(), { message = nil, steps = {} }
      for _, exchange in ipairs(replay.exchanges(name)) do
        for data in exchange.body:gmatch("\ndata: ({[^\n]*})") do
          local object = json.decode(data)
          if object.object == "thread.message" and object.status == "completed" then
            whole.message = object
          elseif object.object == "thread.run.step" and object.status == "completed" then
            whole.steps[#whole.steps + 1] = object
          else
            made:take(object)
          end
        end
      end
      made:flush()
      assert.equal(whole.message.content[1].text.value, made.messages[1].content[1].text.value)
      assert.equal(#whole.steps, #made.steps)
      for index, step in ipairs(whole.steps) do
        local calls = step.step_details.tool_calls
        local call = calls and made.steps[index].step_details.tool_calls[1]
        if calls then assert.equal(calls[1].code_interpreter.input, call.code_interpreter.input) end
      end
    end)
  end
end)
