local json = require("nexus_assistants.json")
local written = require("nexus_assistants.written")

describe("what a model wrote", function()
  local function response(...)
    return written.response({ output = { ... } })
  end

  it("is told of a response", function()
    assert.same({ text = "One. No.", tool_calls = { { name = "f", arguments = "{}" } } }, response(
      { type = "reasoning", summary = {} },
      { type = "message", content = { { type = "output_text", text = "One. " }, { refusal = "No." } } },
      { type = "function_call", name = "f", arguments = "{}" }))
    assert.same({}, response())
  end)

  it("is told of a completion", function()
    assert.same({ status = "stop", text = "One.", tool_calls = { { name = "f", arguments = "{}" } } },
      written.completion({ choices = { { finish_reason = "stop", message = { content = "One.", tool_calls = {
        { id = "c", ["function"] = { name = "f", arguments = "{}" } } } } } } }))
    assert.same({ text = "No." }, written.completion({ choices = { { message = { content = json.null,
      refusal = "No." } } } }))
  end)

  it("is nothing where there is something else", function()
    for _, odd in ipairs({ json.null, 1, "x", true, { json.null }, { 1, { content = { json.null, 2 } } },
      { { type = "message", content = json.null } } }) do
      assert.same({}, written.response({ output = odd }))
      assert.same({}, written.completion({ choices = odd }))
      assert.same({}, written.completion({ choices = { { message = odd } } }))
      assert.is_nil(written.completion({ choices = { { message = { tool_calls = odd } } } }).text)
    end
  end)
end)
