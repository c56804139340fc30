local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local tools = require("nexus_assistants.tools")

local function tool(call, name)
  return nexus.tool({ name = name or "t", call = call })
end

local function run(call, arguments)
  return tools.run(tools.set({ tool(call) }), "t", arguments or "{}", pcall)
end

describe("nexus.tool", function()
  it("takes a name and a function", function()
    local made = nexus.tool({ name = "get_weather", description = "d", parameters = { type = "object" }, call = print })
    assert.equal("get_weather", made.name)
  end)

  for message, fields in pairs({
    ["nexus.tool: option 'name' is required"] = { call = print },
    ["nexus.tool: option 'call' is required"] = { name = "x" },
    ["nexus.tool: option 'call' must be a function, got a string"] = { name = "x", call = "print" },
    ["nexus.tool: option 'name' must not hold control characters"] = { name = "x\0", call = print },
    ["nexus.tool: unknown option 'parameter' (did you mean 'parameters'?)"] = { name = "x", parameter = 1 },
    ["nexus.tool: option 'name' must be up to 64 letters, digits, '_' or '-'"] = { name = "get weather", call = print },
  }) do
    it("refuses: " .. message, function()
      local ok, problem = pcall(function() nexus.tool(fields) end)
      assert.is_false(ok)
      assert.matches("tools_spec%.lua:%d+: " .. message:gsub("%p", "%%%0") .. "$", problem)
    end)
  end

  it("may be anything that can be called", function()
    local callable = setmetatable({}, { __call = function(_, arguments) return arguments.a end })
    assert.equal("x", (run(callable, '{"a":"x"}')))
  end)
end)

describe("tools", function()
  it("are sent as definitions, beside those of the API's own", function()
    local weather = nexus.tool({ name = "w", description = "d", parameters = { type = "object" }, call = print })
    local plain = { type = "function", ["function"] = { name = "f" } }
    local set = tools.set({ weather, { type = "file_search" }, plain })
    assert.same({
      { type = "function", ["function"] = { name = "w", description = "d", parameters = { type = "object" } } },
      { type = "file_search" },
      plain,
    }, set.definitions)
    assert.equal(weather, set.by_name.w)
    assert.same({ f = true }, set.described)
  end)

  it("are an empty list where none are given", function()
    assert.equal("[]", json.encode(tools.set({}).definitions))
  end)

  it("without parameters say that they take none", function()
    local definitions = tools.set({ tool(print) }).definitions
    assert.same({ type = "object", properties = {} }, definitions[1]["function"].parameters)
    assert.matches('"properties":{}', json.encode(definitions), 1, true)
  end)

  describe("answering", function()
    local plain = { type = "function", ["function"] = { name = "f" } }
    local ours = { tool(print, "w"), plain }

    local function can(list, ...)
      local calls = {}
      for index, name in ipairs({ ... }) do calls[index] = { ["function"] = { name = name } } end
      return tools.can_answer(calls, tools.set(list))
    end

    it("is up to us where one of the calls is of our tools", function()
      assert.is_true(can(ours, "w"))
      assert.is_true(can(ours, "f", "w"))
    end)

    it("is up to the script where it described the function itself, or gave no tools", function()
      assert.is_false(can(ours, "f"))
      assert.is_false(can({}, "w"))
      assert.is_false(can({ plain }, "f"))
    end)

    it("is up to us where the model made the function up", function()
      assert.is_true(can(ours, "no_such_thing"))
    end)
  end)
end)

describe("a call of a tool", function()
  it("gets its arguments decoded", function()
    local seen
    run(function(arguments) seen = arguments end, '{"city":"Paris","n":[1,2],"none":null}')
    assert.equal("Paris", seen.city)
    assert.same({ 1, 2 }, seen.n)
    assert.equal(nexus.null, seen.none)
  end)

  for name, arguments in pairs({ ["an empty text"] = "", ["white space"] = " \n", ["null"] = nexus.null }) do
    it("takes " .. name .. " for no arguments", function()
      local seen
      assert.equal("ok", (tools.run(tools.set({ tool(function(given)
        seen = given
        return "ok"
      end) }), "t", arguments, pcall)))
      assert.same({}, seen)
    end)
  end

  it("takes absent arguments for none", function()
    assert.equal("ok", (tools.run(tools.set({ tool(function() return "ok" end) }), "t", nil, pcall)))
  end)

  for what, case in pairs({
    ["a text as it is"] = { "18 °C", "18 °C" },
    ["a table as JSON"] = { { celsius = 18 }, '{"celsius":18}' },
    ["a list as JSON"] = { { 1, 2 }, "[1,2]" },
    ["a number as JSON"] = { 18, "18" },
    ["a boolean as JSON"] = { false, "false" },
    ["nothing as null"] = { nil, "null" },
  }) do
    it("gives back " .. what, function()
      local output, problem = run(function() return case[1] end)
      assert.equal(case[2], output)
      assert.is_nil(problem)
    end)
  end

  local function fails(call, arguments)
    local output, problem = run(call, arguments)
    assert.is_string(problem)
    return assert(json.decode(output)).error, problem
  end

  it("that raises is an error for the model", function()
    local message, problem = fails(function() error("the sensor is broken") end)
    assert.matches("the sensor is broken", message)
    assert.equal(message, problem)
  end)

  it("that raises something odd is one too", function()
    assert.equal('{"code":7}', fails(function() error({ code = 7 }) end))
    assert.matches("^table: ", fails(function() error({ print }) end))
    assert.equal("nil", fails(function() error() end))
    assert.equal("(an error value that can't be shown)", fails(function()
      error(setmetatable({}, { __tostring = function() error("x") end }))
    end))
  end)

  it("that returns nil and an error is one too", function()
    assert.equal("no such city", fails(function() return nil, "no such city" end))
  end)

  it("that returns what JSON can't hold is one too", function()
    assert.equal("tool 't' returned what JSON can't hold: f is a function, which JSON can't hold",
      fails(function() return { f = print } end))
    assert.matches("not valid UTF%-8", fails(function() return "\255" end))
    local cycle = {}
    cycle.cycle = cycle
    assert.matches("contains itself", fails(function() return cycle end))
  end)

  it("whose message is not text is one all the same", function()
    assert.equal("the tool failed, and its message is not text", fails(function() error("\255", 0) end))
  end)

  it("whose arguments are no JSON, or no object, never happens", function()
    local function never() error("called") end
    assert.matches("^the arguments are not JSON: ", fails(never, '{"city":'))
    assert.equal("the arguments are not a JSON object", fails(never, "[1]"))
    assert.equal("the arguments are not a JSON object", fails(never, "12"))
    assert.matches("^the arguments are not JSON: ", fails(never, 12))
  end)

  it("of a tool that the script didn't give says which, and what it gave", function()
    local set = tools.set({ tool(print, "weather"), { type = "file_search" }, tool(print, "clock") })
    local message = "the script gave this run no tool named 'get_mail'; what it gave: 'clock', 'weather'"
    local output, problem, outcome = tools.run(set, "get_mail", '{"city":', pcall)
    assert.same({ message, "unknown_tool" }, { problem, outcome })
    assert.same({ error = message }, json.decode(output))
  end)

  it("whose arguments don't fit the schema never happens, and says why", function()
    local called = false
    local parameters = { type = "object", properties = { city = { type = "string" } }, required = { "city" } }
    local set = tools.set({ nexus.tool({ name = "w", parameters = parameters, call = function() called = true end }) })
    local output, problem, outcome = tools.run(set, "w", "{}", pcall)
    assert.equal("the arguments don't fit the tool's schema: city: is required", problem)
    assert.same({ error = problem }, json.decode(output))
    assert.equal("bad_arguments", outcome)
    assert.is_false(called)
  end)

  it("may be answered later", function()
    local output, problem, outcome = run(function() return nexus.pending end)
    assert.same({ nil, nil, "pending" }, { output, problem, outcome })
  end)
end)

describe("the outputs of a submission", function()
  local function limited(...)
    local outputs = {}
    for index, text in ipairs({ ... }) do outputs[index] = { tool_call_id = "c" .. index, output = text } end
    tools.limit(outputs)
    local total = 0
    for _, output in ipairs(outputs) do total = total + #output.output end
    assert.is_true(total <= 512000, "all together " .. total)
    return outputs
  end

  it("stay as they are within the budget", function()
    local text = ("x"):rep(256000)
    local outputs = limited(text, text)
    assert.equal(text, outputs[1].output)
    assert.equal(text, outputs[2].output)
  end)

  it("are cut above it, the longest first, visibly", function()
    local outputs = limited("short", ("x"):rep(600000), ("y"):rep(1000))
    assert.equal("short", outputs[1].output)
    assert.equal(("y"):rep(1000), outputs[3].output)
    assert.matches("x%.%.%. %[cut: of 600000 bytes, since all outputs together may have 512 kB%]$", outputs[2].output)
    assert.is_true(#outputs[2].output > 500000)
  end)

  it("share the budget where all are long", function()
    local outputs = limited(("x"):rep(400000), ("y"):rep(400000))
    assert.equal(256000, #outputs[1].output)
    assert.equal(256000, #outputs[2].output)
  end)

  it("are cut between characters", function()
    for offset = 0, 3 do
      local outputs = limited(("x"):rep(offset) .. ("🌮"):rep(200000))
      assert.is_truthy(json.encode(outputs[1].output))
    end
  end)
end)
