local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")

-- What becomes of a run whose model answers with a table.
local function run_with(answer)
  local client = assert(nexus.new({ provider = "script", nexus = false, script = function() return answer end }))
  local thread = assert(client.threads:create({ messages = { { role = "user", content = "?" } } }))
  local run, err = client.threads.runs:create_and_poll(thread.id, { assistant_id = "asst_local" })
  local text = run and run:text()
  client:close(0)
  return text, err and err.message
end

describe("the span of a question to a model", function()
  for name, odd in pairs({ usage = { prompt_tokens = "many", completion_tokens = 1 }, counts = { prompt_tokens = {} },
    nothing = { prompt_tokens = json.null } }) do
    it("is no reason for a run to fail, whatever usage there is: " .. name, function()
      assert.equal("Hi.", (run_with({ text = "Hi.", usage = odd })))
    end)
  end

  it("is no reason for a run to fail, whatever else a model says", function()
    assert.equal("Hi.", (run_with({ text = "Hi.", attempts = "some" })))
    assert.matches("a piece of the model's text is a table$", select(2, run_with({ text = { "a", {} } })))
  end)
end)
