local json = require("nexus_assistants.json")
local script = require("nexus_assistants.models.script")
local servers = require("spec.support.server")

describe("script models", function()
  local written = {} -- the last `finally` of a test is the only one

  after_each(function()
    while written[1] do os.remove(table.remove(written)) end
  end)

  local function write_file(content)
    local path = os.tmpname()
    written[#written + 1] = path
    local file = assert(io.open(path, "w"))
    file:write(content)
    file:close()
    return path
  end

  it("pass on what they are given", function()
    local seen
    local model = script.new(function(...)
      seen = { ... }
      return "x"
    end)
    model:think("messages", "tools", "run")
    assert.same({ "messages", "tools", "run" }, seen)
  end)

  it("turn what the function returns into an answer", function()
    local function answer(returned, err)
      return script.new(function() return returned, err end):think({}, {}, {})
    end
    assert.same({ text = "hello" }, answer("hello"))
    local whole = { text = "hello", usage = { prompt_tokens = 1 } }
    assert.equal(whole, answer(whole))
    assert.same({ text = { "hel", "lo" } }, answer({ "hel", "lo" }))
    local calls = { { name = "f", arguments = {} } }
    assert.equal(calls, answer(calls).tool_calls)
    assert.same({ nil, "busy" }, { answer(nil, "busy") })
  end)

  it("may yield", function()
    local model = script.new(function() return "after " .. tostring(coroutine.yield(3)) end)
    local thread = coroutine.create(function() return model:think({}, {}, {}) end)
    assert.same({ true, 3 }, { coroutine.resume(thread) })
    assert.same({ true, { text = "after now" } }, { coroutine.resume(thread, "now") })
  end)

  it("are made of functions alone", function()
    assert.has_error(function() script.new("text") end, "script.new expects a function, got string")
  end)

  it("come from files that return one", function()
    local model = assert(script.load(write_file("return function() return 'from a file' end")))
    assert.same({ text = "from a file" }, model:think({}, {}, {}))
  end)

  it("say what is wrong with a file", function()
    local function problem(content) return select(2, script.load(write_file(content))) end
    assert.matches("^can't load the model's script: cannot open", (select(2, script.load("/nowhere/model.lua"))))
    assert.matches("^can't load the model's script: .*expected", problem("return function("))
    assert.matches("^the model's script failed: .*boom", problem("error('boom')"))
    assert.matches("must return a function, returned a nil$", problem("local x = 1"))
  end)

  it("find the user's last question", function()
    assert.equal("b", script.question({
      { role = "user", content = "a" }, { role = "user", content = "b" }, { role = "assistant", content = "c" },
    }))
    assert.equal("x\ny", script.question({ { role = "user", content = {
      { type = "text", text = { value = "x" } }, { type = "image_url" }, { type = "text", text = { value = "y" } },
    } } }))
    assert.is_nil(script.question({}))
  end)

  it("repeat the question where none was chosen", function()
    assert.same({ text = "You said: a" }, script.echo():think({ { role = "user", content = "a" } }, {}, {}))
    assert.same({ text = "There is nothing to answer yet." }, script.echo():think({}, {}, {}))
  end)

  describe("that know the weather", function()
    local TOOLS = { { type = "function", ["function"] = { name = "get_weather" } } }
    local model = dofile(servers.root .. "examples/weather_model.lua")

    local function ask(question, tools)
      local answer = model({ { role = "user", content = question } }, tools or TOOLS)
      return type(answer) == "table" and answer[1].name .. " " .. answer[1].arguments.city or answer
    end

    it("ask for the city in the question", function()
      local cities = {
        ["What is the weather in Paris?"] = "Paris",
        ["how's the weather in new york today"] = "new york",
        ["Weather for São Paulo, please"] = "São Paulo",
        ["Is it raining at the moment in San Francisco right now?"] = "San Francisco",
        ["Tell me, for my trip, the weather in Aix-en-Provence."] = "Aix-en-Provence",
      }
      for question, city in pairs(cities) do assert.equal("get_weather " .. city, ask(question)) end
    end)

    it("ask back where there is none", function()
      assert.equal("Which city's weather would you like to know?", ask("What is the weather today?"))
      assert.equal("Which city's weather would you like to know?", ask("in the morning"))
    end)

    it("don't ask for a tool that isn't there", function()
      assert.equal("I can't look up the weather in Rome without the tool get_weather.", ask("Rain in Rome?", {}))
    end)

    local function told(output)
      return model({
        { role = "user", content = "What is the weather in Oslo?" }, { role = "assistant", tool_calls = {} },
        { role = "tool", content = output },
      }, TOOLS)
    end

    it("answer from what the tool said", function()
      assert.equal("In Oslo it is -3.5 °C and cloudy.",
        told(json.encode({ city = "Oslo", celsius = -3.5, sky = "cloudy" })))
      assert.equal("It is 7 °C.", told(json.encode({ celsius = 7 })))
      assert.equal("The weather service said: no such city", told("no such city"))
    end)

    it("don't take the tool's answer to an earlier question", function()
      local answer = model({
        { role = "tool", content = '{"celsius":1}' }, { role = "user", content = "And in Rome?" },
      }, TOOLS)
      assert.equal("Rome", answer[1].arguments.city)
    end)
  end)
end)
