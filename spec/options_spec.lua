local options = require("nexus_assistants.options")

local function read(given, environment)
  return options.read("nexus.new", options.client, given, function(name) return (environment or {})[name] end)
end

describe("options", function()
  it("have defaults", function()
    local values = assert(read(nil))
    assert.equal("nexus-assistants", values.agent_id)
    assert.equal("assistants", values.provider)
    assert.equal("https://api.openai.com/v1", values.openai.base_url)
    assert.equal("https://nexus.keylightdigital.dev", values.nexus.base_url)
    assert.equal(600, values.poll.deadline)
    assert.is_nil(values.poll.interval)
    assert.is_nil(values.assistant_id)
  end)

  it("come from the environment", function()
    local values = assert(read({}, {
      NEXUS_AGENT_ID = "weather-bot", OPENAI_BASE_URL = "http://localhost:1", NEXUS_BASE_URL = "http://localhost:2",
      ASSISTANT_ID = "asst_1", NEXUS_ASSISTANTS_POLL_INTERVAL = "0.5", NEXUS_ASSISTANTS_PROVIDER = "assistants",
    }))
    assert.equal("weather-bot", values.agent_id)
    assert.equal("http://localhost:1", values.openai.base_url)
    assert.equal("http://localhost:2", values.nexus.base_url)
    assert.equal("asst_1", values.assistant_id)
    assert.equal(0.5, values.poll.interval)
  end)

  it("win over the environment", function()
    assert.equal("mine", read({ agent_id = "mine" }, { NEXUS_AGENT_ID = "theirs" }).agent_id)
  end)

  it("take an empty variable for none", function()
    assert.equal("https://api.openai.com/v1", read({}, { OPENAI_BASE_URL = "" }).openai.base_url)
  end)

  it("never ask the environment for a key", function()
    options.read("nexus.new", options.client, {}, function(name)
      assert.is_nil(name:find("KEY"), name)
    end)
  end)

  it("leave the table they were given alone", function()
    local given = { openai = {} }
    read(given)
    assert.same({ openai = {} }, given)
  end)

  it("can switch Nexus off", function()
    assert.is_false(read({ nexus = false }).nexus)
  end)

  it("tell a name that nobody knows before anything else", function()
    for name in ("abcdefghijklmnopqrstuvwxyz"):gmatch("%a") do
      local given = { poll = 5, agent_id = 1, lane = "x", capture = 3, limits = { max_spans = 0 } }
      given[name .. "_0_1_2"] = 1
      local _, problem = options.read("nexus.new", options.client, given)
      assert.equal("nexus.new: unknown option '" .. name .. "_0_1_2'", problem)
    end
  end)

  for message, given in pairs({
    ["nexus.new: unknown option 'agnet_id' (did you mean 'agent_id'?)"] = { agnet_id = "x" },
    ["nexus.new: unknown option 'Nexus' (did you mean 'nexus'?)"] = { Nexus = {} },
    ["nexus.new: unknown option 'something_else'"] = { something_else = 1 },
    ["nexus.new: unknown option 'openai.timout' (did you mean 'openai.timeout'?)"] = { openai = { timout = 1 } },
    ["nexus.new: options are named by strings, got a number"] = { "agent" },
    ["nexus.new: option 'agent_id' must be a string that is not empty, got a number"] = { agent_id = 1 },
    ["nexus.new: option 'agent_id' must be a string that is not empty, got an empty string"] = { agent_id = "" },
    ["nexus.new: option 'openai' must be a table, got a string"] = { openai = "sk-secret" },
    ["nexus.new: option 'openai.timeout' must be a positive number of seconds, got a string"] =
      { openai = { timeout = "30" } },
    ["nexus.new: option 'openai.timeout' must be a positive number of seconds, got 0"] = { openai = { timeout = 0 } },
    ["nexus.new: option 'openai.deadline' must be a positive number of seconds, got NaN"] =
      { openai = { deadline = 0 / 0 } },
    ["nexus.new: option 'openai.timeout' must be a positive number of seconds, got inf"] =
      { openai = { timeout = math.huge } },
    ["nexus.new: option 'openai.retries' must be a whole number from 0 to 1000, got -1"] =
      { openai = { retries = -1 } },
    ["nexus.new: option 'openai.retries' must be a whole number from 0 to 1000, got 1.5"] =
      { openai = { retries = 1.5 } },
    ["nexus.new: option 'openai.api_key' must be a string that is not empty, or false, got a table"] =
      { openai = { api_key = {} } },
    ["nexus.new: option 'openai.headers' must be a table of strings by name, got a table"] =
      { openai = { headers = { ["X-A"] = 1 } } },
    ["nexus.new: option 'openai.query' must be a string or a table of strings by name, got a table"] =
      { openai = { query = { ["api-version"] = "\255" } } },
    ["nexus.new: option 'poll.interval' must be a number of seconds, 0 or more, got -1"] = { poll = { interval = -1 } },
    ["nexus.new: option 'nexus' must be a table, or false, got true"] = { nexus = true },
    ["nexus.new: option 'capture.output' must be a whole number from 128 to 1073741824, got 10"] =
      { capture = { output = 10 } },
    ["nexus.new: option 'nexus.max_in_flight' must be a whole number from 1 to 100, got 0"] =
      { nexus = { max_in_flight = 0 } },
    ["nexus.new: option 'lane' must be 'wait' or 'cancel' or 'reject', got 'nxs_****'"] = { lane = "nxs_of_nobody" },
    ["nexus.new: option 'provider' must be 'assistants' or 'responses' or 'chat' or 'script', got 'response'"] =
      { provider = "response" },
    ["nexus.new: unknown option 'model' (did you mean 'openai.model'?)"] = { model = "x" },
    ["nexus.new: unknown option 'api_key' (did you mean 'nexus.api_key' or 'openai.api_key'?)"] = { api_key = "x" },
    ["nexus.new: unknown option 'histories'"] = { histories = "x" },
    ["nexus.new: option 'on_warning' must be a function, got a string"] = { on_warning = "print" },
    ["nexus.new: options must be a table, got a string"] = "sk-secret",
  }) do
    it("are refused: " .. message, function()
      local values, problem, source = read(given)
      assert.is_nil(values)
      assert.equal(message, problem)
      assert.is_nil(source)
    end)
  end

  it("have bounds where they are counts and sizes", function()
    local function with_required(fields, given)
      for name, field in pairs(fields) do
        if field.required then given[name] = "x" end
      end
      return given
    end
    local function too_much(fields, prefix)
      for name, field in pairs(fields) do
        if field.fields then too_much(field.fields, prefix .. name .. ".") end
        if field.kind == "count" or field.kind == "size" then
          local expected = ("'%s%s' must be a whole number from %%d to %.0f, got "):format(prefix, name, field.most)
          local _, problem = options.read("f", fields, with_required(fields, { [name] = field.most + 1 }))
          assert.matches(expected:gsub("^'.*%.", "'"):gsub("%%d", "%%d+"), problem)
          assert.equal(field.most, options.read("f", fields, with_required(fields, { [name] = field.most }))[name])
        end
      end
    end
    for _, fields in ipairs({ options.client, options.call, options.create_and_poll }) do too_much(fields, "") end
  end)

  for control, text in pairs({ zero = "a\0b", ["a line break"] = "a\r\nb", delete = "\127" }) do
    it("hold no control characters: " .. control, function()
      for name, given in pairs({
        agent_id = { agent_id = text }, assistant_id = { assistant_id = text },
        ["openai.api_key"] = { openai = { api_key = text } }, ["nexus.api_key"] = { nexus = { api_key = text } },
        ["openai.base_url"] = { openai = { base_url = text } }, ["openai.project"] = { openai = { project = text } },
        ["openai.query"] = { openai = { query = text } }, ["openai.auth_prefix"] = { openai = { auth_prefix = text } },
        ["openai.headers"] = { openai = { headers = { ["X-A"] = text } } },
      }) do
        local _, problem = read(given)
        assert.equal("nexus.new: option '" .. name .. "' must not hold control characters", problem)
      end
      local _, problem = options.read("f", options.call, { headers = { [text] = "x" } })
      assert.equal("f: option 'headers' must not hold control characters", problem)
      local _, variable, source = read({}, { ASSISTANT_ID = text })
      assert.equal("nexus.new: environment variable ASSISTANT_ID must not hold control characters", variable)
      assert.equal("environment", source)
    end)
  end

  it("may hold any text where it is only recorded, or described to a model", function()
    local text = "two\nlines and \0"
    assert.equal(text, options.read("f", options.trace, { name = text }).name)
    assert.equal(text, options.read("f", options.tool, { name = "x", call = print, description = text }).description)
  end)

  it("from the environment are refused as such", function()
    local values, problem, source = read({}, { NEXUS_ASSISTANTS_POLL_INTERVAL = "soon" })
    assert.is_nil(values)
    assert.equal("environment", source)
    assert.equal("nexus.new: environment variable NEXUS_ASSISTANTS_POLL_INTERVAL must be a number of seconds, "
      .. "0 or more, got 'soon'", problem)
    local _, unknown = read({}, { NEXUS_ASSISTANTS_PROVIDER = "chats" })
    assert.equal("nexus.new: environment variable NEXUS_ASSISTANTS_PROVIDER must be 'assistants' or 'responses' or "
      .. "'chat' or 'script', got 'chats'", unknown)
  end)

  it("that are required are missed", function()
    local _, problem = options.read("client:trace", options.trace, { input = 1 })
    assert.equal("client:trace: option 'name' is required", problem)
  end)

  it("show no text that may be a key", function()
    local misplaced = { { openai = { headers = "sk-secret" } }, { poll = "sk-secret" }, { nexus = "sk-secret" } }
    for _, given in ipairs(misplaced) do
      local _, problem = read(given)
      assert.is_nil(problem:find("secret"))
    end
  end)
end)
