local NO_MODEL = "no model: set openai.model, OPENAI_MODEL or serve's --model-name, or the assistant's model"
local calls = require("nexus_assistants.models.chat.calls")
local chat = require("nexus_assistants.models.chat")
local chat_server = require("spec.support.chat_server")
local dialects = require("nexus_assistants.models.chat.dialects")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local openapi = require("spec.support.openapi")
local operations = require("nexus_assistants.operations")
local request = require("nexus_assistants.models.chat.request")
local servers = require("spec.support.server")
local shapes = require("spec.support.chat_shapes")
local thoughts = require("nexus_assistants.models.chat.thoughts")

local unpack = table.unpack or unpack -- luacheck: ignore

local QUESTION = { { role = "user", content = "Hello?" } }

local function weather(extra)
  local described = { name = "get_weather", description = "The weather", parameters = { type = "object" } }
  for name, value in pairs(extra or {}) do described[name] = value end
  return { type = "function", ["function"] = described }
end

-- A run as the runtime has it, defaults filled in.
local function run_with(changes)
  local run = {
    model = "m", instructions = json.null, tools = json.array(), temperature = 1, top_p = 1, response_format = "auto",
    tool_choice = "auto", parallel_tool_calls = true, reasoning_effort = json.null, metadata = {},
  }
  for name, value in pairs(changes or {}) do run[name] = value end
  return run
end

local function settings_of(name, model)
  return { dialect = dialects.get(name), model = model }
end

-- The body for a question, or nil and an error.
local function body_of(dialect, changes, context, messages)
  local run = run_with(changes)
  return request.body(settings_of(dialect), messages or QUESTION, run.tools, run, context or {})
end

local function refusal_of(dialect, changes)
  return request.refusal(settings_of(dialect), run_with(changes))
end

describe("the dialect", function()
  it("is guessed from where the base URL leads", function()
    local expected = {
      ["https://api.openai.com/v1"] = "openai", ["https://API.openai.com"] = "openai",
      ["https://me.openai.azure.com/openai/v1"] = "azure", ["https://me.services.ai.azure.com/openai/v1"] = "azure",
      ["https://me.cognitiveservices.azure.com/openai/deployments/d"] = "azure",
      ["https://openrouter.ai/api/v1"] = "openrouter", ["http://localhost:11434/v1"] = "ollama",
      ["http://[::1]:11434/v1"] = "ollama", ["https://ollama.com/v1"] = "ollama",
      ["http://host11434/v1"] = "openai-compatible", ["https://api.openai.com:443/v1"] = "openai",
      ["http://127.0.0.1:8080/v1"] = "openai-compatible", ["http://127.0.0.1:8000/v1"] = "openai-compatible",
      ["https://api.openai.com.example.org/v1"] = "openai-compatible",
    }
    for url, name in pairs(expected) do assert.equal(name, dialects.guess(url), url) end
  end)

  it("can be named, and must be known", function()
    local api = { endpoint = { base_url = function() return "http://127.0.0.1:8080/v1" end } }
    assert.equal("a llama.cpp server", chat.new({ api = api, dialect = "llama.cpp" }).dialect.label)
    assert.has_error(function() chat.new({ api = api, dialect = "x" }) end, "chat.new: unknown dialect 'x', "
      .. "expected one of openai, azure, openrouter, ollama, llama.cpp, vllm, openai-compatible")
    for _, name in ipairs(dialects.names) do assert.is_table(dialects.get(name)) end
  end)
end)

describe("the page about providers", function()
  -- The cells of a row of a table, without the bars and the marks of code.
  local function cells_of(row)
    local cells = {}
    for cell in row:gmatch("|([^|]*)%f[|]") do cells[#cells + 1] = cell:gsub("`", ""):match("^%s*(.-)%s*$") end
    return cells
  end

  local function yes(value) return value and "yes" or "no" end

  it("tells of each dialect what the table does", function()
    local file = assert(io.open(servers.root .. "docs/providers.md"))
    local page = file:read("*a")
    file:close()
    for _, name in ipairs(dialects.names) do
      local row = page:match("\n(| `" .. name:gsub("%p", "%%%0") .. "` |[^\n]*)")
      local dialect, cells = dialects.get(name), cells_of(assert(row, name))
      assert.same({ dialect.limit, yes(dialect.effort), yes(dialect.parallel_tool_calls), yes(dialect.required),
        yes(dialect.named), yes(dialect.linked_images) }, { select(3, unpack(cells)) })
    end
  end)
end)

describe("a request of the chat model", function()
  it("leaves out what is at the protocol's default", function()
    for _, name in ipairs(dialects.names) do
      assert.same({ model = "m", messages = QUESTION }, body_of(name))
    end
  end)

  it("tells roles, contents and rounds of calls", function()
    local called = { { id = "c1", name = "f", arguments = "{}" } }
    local body = body_of("openai", nil, nil, {
      { role = "system", content = "Be brief." }, { role = "user", content = "Hello?", id = "msg_1" },
      { role = "assistant", content = "Let me see.", id = "msg_2", run_id = "run_1" },
      { role = "assistant", content = "", items = { "x" }, tool_calls = called },
      { role = "tool", tool_call_id = "c1", name = "f", content = "18" },
    })
    assert.same({
      { role = "system", content = "Be brief." }, { role = "user", content = "Hello?" },
      { role = "assistant", content = "Let me see." },
      { role = "assistant", content = json.null, tool_calls = {
        { id = "c1", type = "function", ["function"] = { name = "f", arguments = "{}" } },
      } },
      { role = "tool", tool_call_id = "c1", content = "18" },
    }, body.messages)
    assert.is_nil(chat_server.problem(body))
  end)

  local function images(role, ...)
    return { { role = role, content = { { type = "text", text = { value = "What is it?" } }, ... } } }
  end

  it("shows images, with the detail where it isn't the default", function()
    local picture = { type = "image_url", image_url = { url = "https://example.org/a.png", detail = "low" } }
    local other = { type = "image_url", image_url = { url = "data:image/png;base64,AA", detail = "auto" } }
    local body = body_of("openai", nil, nil, images("user", picture, other))
    assert.same({
      { type = "text", text = "What is it?" }, picture,
      { type = "image_url", image_url = { url = "data:image/png;base64,AA" } },
    }, body.messages[1].content)
  end)

  it("refuses images it can't show", function()
    local file = { type = "image_file", image_file = { file_id = "file-1" } }
    local link = { type = "image_url", image_url = { url = "https://example.org/a.png" } }
    local function refused(dialect, messages)
      local body, err = body_of(dialect, nil, nil, messages)
      assert.is_nil(body)
      assert.equal("invalid_prompt", err.code)
      return err.message
    end
    assert.equal("the image file 'file-1' can't be shown: chat completions take images as image_url alone",
      refused("openai", images("user", file)))
    assert.equal("an image_url has no url",
      refused("openai", images("user", { type = "image_url", image_url = {} })))
    assert.equal("images that are links aren't there at Ollama: give them as data: URLs",
      refused("ollama", images("user", link)))
    assert.equal("chat completions take images in the user's messages alone",
      refused("openai", images("assistant", link)))
  end)

  it("describes functions, parameters always, strict where it is", function()
    local bare = { type = "function", ["function"] = { name = "now", description = json.null, strict = json.null } }
    local body = body_of("openai", { tools = { weather({ strict = true }), weather({ strict = false }), bare } })
    assert.same({
      weather({ strict = true }), weather(),
      { type = "function", ["function"] = { name = "now", parameters = { type = "object", properties = {} } } },
    }, body.tools)
  end)

  local LIMITS = { openai = "max_completion_tokens", azure = "max_completion_tokens",
    openrouter = "max_completion_tokens", ollama = "max_tokens", ["llama.cpp"] = "max_tokens", vllm = "max_tokens",
    ["openai-compatible"] = "max_tokens" }

  it("has the limit of tokens under the dialect's name", function()
    for _, name in ipairs(dialects.names) do
      assert.same({ model = "m", messages = QUESTION, [LIMITS[name]] = 7 }, body_of(name, nil, { most_tokens = 7 }))
    end
  end)

  it("streams, and asks for the usage where that is known", function()
    for _, name in ipairs(dialects.names) do
      local body = body_of(name, nil, { streams = true })
      assert.is_true(body.stream)
      assert.same(name ~= "openai-compatible" and { include_usage = true } or nil, body.stream_options)
    end
  end)

  it("has temperature and top_p in every dialect", function()
    for _, name in ipairs(dialects.names) do
      local body = body_of(name, { temperature = 0, top_p = 0.5 })
      assert.same({ model = "m", messages = QUESTION, temperature = 0, top_p = 0.5 }, body)
    end
  end)

  it("has the effort of reasoning", function()
    for _, name in ipairs({ "openai", "azure", "ollama", "llama.cpp", "vllm" }) do
      assert.equal("low", body_of(name, { reasoning_effort = "low" }).reasoning_effort)
    end
    local body = body_of("openrouter", { reasoning_effort = "low" })
    assert.same({ effort = "low" }, body.reasoning)
    assert.is_nil(body.reasoning_effort)
  end)

  it("has the format of the reply", function()
    local schema = { name = "s", schema = { type = "object" }, strict = true }
    local asked = { type = "json_schema",
      json_schema = { name = "s", schema = { type = "object" }, strict = true, description = json.null } }
    for _, name in ipairs(dialects.names) do
      local function sent(format) return body_of(name, { response_format = format }).response_format end
      assert.same({ type = "json_object" }, sent({ type = "json_object" }))
      assert.same({ type = "json_schema", json_schema = schema }, sent(asked))
      assert.is_nil(sent({ type = "text" }))
    end
  end)

  local CHOICE = { type = "function", ["function"] = { name = "get_weather" } }
  local OTHER = { type = "function", ["function"] = { name = "other", parameters = { type = "object" } } }

  it("has the choice of tools", function()
    for _, name in ipairs({ "openai", "azure", "openrouter", "vllm" }) do
      local body = body_of(name, { tools = { weather(), OTHER }, tool_choice = CHOICE, parallel_tool_calls = false })
      assert.same(CHOICE, body.tool_choice)
      assert.equal(2, #body.tools)
      assert.is_false(body.parallel_tool_calls)
      assert.equal("required", body_of(name, { tools = { weather() }, tool_choice = "required" }).tool_choice)
    end
  end)

  it("sends the chosen function alone where none can be named", function()
    local body = body_of("llama.cpp", { tools = { OTHER, weather() }, tool_choice = CHOICE })
    assert.equal("required", body.tool_choice)
    assert.same({ weather() }, body.tools)
  end)

  it("insists on a call until there was one", function()
    local round = { QUESTION[1],
      { role = "assistant", content = "", tool_calls = { { id = "c1", name = "get_weather", arguments = "{}" } } },
      { role = "tool", tool_call_id = "c1", name = "get_weather", content = "18" } }
    for _, choice in ipairs({ "required", CHOICE }) do
      for _, name in ipairs({ "openai", "llama.cpp" }) do
        local body = body_of(name, { tools = { OTHER, weather() }, tool_choice = choice }, nil, round)
        assert.is_nil(body.tool_choice)
        assert.equal(2, #body.tools)
      end
    end
  end)

  it("says nothing of tools where there are none", function()
    local run = run_with({ tools = { weather() }, tool_choice = "none", parallel_tool_calls = false })
    local body = request.body(settings_of("openai"), QUESTION, {}, run, {})
    assert.same({ model = "m", messages = QUESTION }, body)
  end)

  it("has the run's model, or the one for all", function()
    local function model_of(own, default)
      return request.body(settings_of("openai", default), QUESTION, {}, run_with({ model = own }), {}).model
    end
    assert.equal("own", model_of("own", "default"))
    assert.equal("default", model_of("local", "default"))
    assert.equal("default", model_of(json.null, "default"))
    assert.equal("own", model_of("own", nil))
  end)
end)

describe("a run that a chat model can't do", function()
  it("wants a hosted tool", function()
    for _, kind in ipairs({ "file_search", "code_interpreter" }) do
      for _, name in ipairs(dialects.names) do
        local message, param = refusal_of(name, { tools = { weather(), { type = kind } } })
        assert.equal("the tool '" .. kind .. "' isn't there: chat completions have functions alone", message)
        assert.equal("tools", param)
      end
    end
    assert.same({ "the tool 'file_search' isn't there: chat completions have functions alone", "tool_choice" },
      { refusal_of("openai", { tool_choice = { type = "file_search" } }) })
  end)

  local NAMED = { type = "function", ["function"] = { name = "get_weather" } }
  local ADVICE = " isn't there at every OpenAI-compatible server: where this server has it, name its dialect"
  local WANTED = {
    { "reasoning_effort", "low", "'reasoning_effort'" },
    { "parallel_tool_calls", false, "'parallel_tool_calls' = false" },
    { "tool_choice", "required", "'tool_choice' = \"required\"" },
    { "tool_choice", NAMED, "a 'tool_choice' that names a function" },
  }
  local REFUSED = {
    openai = {}, azure = {}, openrouter = {}, ["llama.cpp"] = {}, vllm = {}, ollama = { false, true, true, true },
    ["openai-compatible"] = { true, true, true, true },
  }

  for _, name in ipairs(dialects.names) do
    it("wants a parameter that isn't there in the dialect " .. name, function()
      for index, wanted in ipairs(WANTED) do
        local message, param = refusal_of(name, { tools = { weather() }, [wanted[1]] = wanted[2] })
        local ending = name == "ollama" and " isn't there at Ollama" or ADVICE
        assert.equal(REFUSED[name][index] and wanted[3] .. ending or nil, message)
        assert.equal(REFUSED[name][index] and wanted[1] or nil, param)
      end
    end)
  end

  it("names no model, or a function that isn't there", function()
    assert.same({ NO_MODEL, "model" },
      { refusal_of("openai", { model = "local" }) })
    assert.same({ "'tool_choice' names a function that isn't among the tools", "tool_choice" },
      { refusal_of("openai", { tool_choice = NAMED }) })
  end)

  it("isn't asked for either", function()
    local body, err = body_of("ollama", { tools = { weather() }, tool_choice = "required" })
    assert.is_nil(body)
    assert.equal("'tool_choice' = \"required\" isn't there at Ollama", err.message)
  end)
end)

describe("thoughts in a reply", function()
  local function filtered(...)
    local filter, result = thoughts.new(), {}
    for _, piece in ipairs({ ... }) do result[#result + 1] = filter:take(piece) end
    return table.concat(result) .. filter:rest()
  end

  local CASES = {
    ["<think>\nhm\n</think>\n\nYes."] = "Yes.", ["\n<think></think>Yes."] = "Yes.", ["<think>never ending"] = "",
    ["Yes <think>no</think>"] = "Yes <think>no</think>", ["<thin"] = "<thin", ["<thing>"] = "<thing>",
    ["  "] = "  ", ["no tag</think>Yes"] = "no tag</think>Yes", ["<think>a</think> b </think>"] = "b </think>",
  }

  it("are taken away however they come", function()
    for text, expected in pairs(CASES) do
      for cut = 0, #text do
        assert.equal(expected, filtered(text:sub(1, cut), text:sub(cut + 1)))
      end
      local bytes = {}
      for index = 1, #text do bytes[index] = text:sub(index, index) end
      assert.equal(expected, filtered(unpack(bytes)))
    end
  end)

  it("aren't waited for in white space without end", function()
    local filter = thoughts.new()
    assert.equal((" "):rep(300), filter:take((" "):rep(300)))
    assert.equal("<think>", filter:take("<think>"))
  end)
end)

describe("the pieces of calls", function()
  local function put_together(...)
    local list = calls.new()
    for _, piece in ipairs({ ... }) do list:take(piece) end
    return list:finished()
  end

  local function piece(index, id, name, arguments)
    return { index = index, id = id, ["function"] = { name = name, arguments = arguments } }
  end

  local TWO = { { id = "a", name = "f", arguments = '{"x":1}' }, { id = "b", name = "g", arguments = "{}" } }

  it("are joined by their index", function()
    assert.same(TWO, put_together(piece(0, "a", "f", ""), piece(0, nil, nil, '{"x"'), piece(1, "b", "g", "{"),
      piece(0, nil, nil, ":1}"), piece(1, nil, nil, "}")))
    assert.same(TWO, put_together(piece(1, "a", "f", '{"x":1}'), piece(3, "b", "g", "{}")))
  end)

  it("may repeat ids and names, or split a name", function()
    assert.same(TWO, put_together(piece(0, "a", "f", '{"x"'), piece(0, "a", "f", ":1}"), piece(1, "b", "g", "{}")))
    assert.same({ { id = "a", name = "get_weather", arguments = "{}" } },
      put_together(piece(0, "a", "get_", nil), piece(0, nil, "weather", nil)))
  end)

  it("may have a new id each time, or one that comes late", function()
    assert.same(TWO, put_together(piece(0, "a", "f", nil), piece(0, "a2", nil, '{"x":1}'), piece(1, "b", "g", "{}")))
    assert.same(TWO, put_together(piece(0, "", "f", '{"x":1}'), piece(0, "a", nil, nil), piece(1, "b", "g", "{}")))
  end)

  it("may have no index, or the same for all", function()
    assert.same(TWO, put_together(piece(nil, "a", "f", '{"x":1}'), piece(nil, "b", "g", "{}")))
    assert.same(TWO, put_together(piece(nil, "a", "f", '{"x"'), piece(nil, nil, nil, ":1}"),
      piece(nil, "b", "g", "{}")))
    assert.same(TWO, put_together(piece(0, "a", "f", '{"x":1}'), piece(0, "b", "g", "{}")))
    assert.same({ { id = "a", name = "f", arguments = "{}" }, { id = "b", name = "f", arguments = "{}" } },
      put_together(piece(0, "a", "f", "{}"), piece(0, "b", "f", "{}")))
    assert.same(TWO, put_together(piece(nil, "a", "f", '{"x"'), piece(nil, "b", "g", "{}"),
      piece(nil, "a", "f", ":1}")))
    assert.same({ { name = "f", arguments = '{"x":1}' }, { name = "g", arguments = "{}" } },
      put_together(piece(0, json.null, "f", '{"x":1}'), piece(0, json.null, "g", "{}")))
    assert.same({ { name = "f", arguments = "{}" }, { name = "f", arguments = "{}" } },
      put_together(piece(nil, nil, "f", "{}"), piece(nil, nil, "f", "{}")))
  end)

  it("may have arguments that are an object, or nothing", function()
    local made = put_together(piece(0, "a", "f", { x = 1 }), piece(1, "b", "g", ""), piece(2, "c", "h", json.null))
    assert.same({ '{"x":1}', "{}", "{}" }, { made[1].arguments, made[2].arguments, made[3].arguments })
  end)

  it("get no id twice", function()
    local list = calls.new()
    list:take(piece(nil, "a", "f", "{}"), 0)
    list:take(piece(nil, "a", "g", "{}"), 1)
    assert.same({ { id = "a", name = "f", arguments = "{}" }, { name = "g", arguments = "{}" } }, list:finished())
  end)
end)

-- ------------------------------------------------------------------------------------------------ against an endpoint

describe("a chat model", function()
  local endpoint, client

  local function start(answer, dialect, options)
    endpoint = chat_server.new({ answer = answer, dialect = dialect })
    options = options or {}
    options.base_url, options.api_key = endpoint.url, options.api_key or "sk-secret"
    options.retries = options.retries or 0
    client = assert(nexus.new({ openai = options, nexus = false }))
  end

  after_each(function()
    if client then client:close(0) end
    if endpoint then endpoint:close() end
    client, endpoint = nil, nil
  end)

  -- What a runtime gives a model; `told` keeps the pieces.
  local function context_with(changes)
    local context = { streams = false, seconds = 60, state = {}, thread = {}, told = {} }
    function context.tell(piece)
      context.told[#context.told + 1] = piece
      return true
    end
    for name, value in pairs(changes or {}) do context[name] = value end
    return context
  end

  -- Asks once; returns the answer, the error and the context.
  local function think(dialect, changes, context, messages)
    context = context_with(context)
    local model = chat.new({ api = client.transport, dialect = dialect })
    local run = run_with(changes)
    local answer, err = endpoint:run(client, function()
      return model:think(messages or QUESTION, run.tools, run, context)
    end)
    return answer, err, context
  end

  local function ask(answer, context, dialect)
    start(function() return answer end, dialect)
    return think(dialect or "openai", nil, context)
  end

  local function stream_of(...)
    local events = {}
    for index, object in ipairs({ ... }) do events[index] = shapes.event(object) end
    return { stream = table.concat(events) }
  end

  local function chunk(delta, finish)
    return { object = "chat.completion.chunk", choices = { { index = 0, delta = delta, finish_reason = finish } } }
  end

  local function whole_of(message, finish)
    return { json = { choices = { { index = 0, message = message, finish_reason = finish or "stop" } } } }
  end

  local USAGE = { prompt_tokens = 9, completion_tokens = 12, cached_tokens = 3, reasoning_tokens = 2 }
  local CALLS = { { "call_1", "get_weather", '{"city":"Bern"}' }, { "call_2", "now", "{}" } }
  local MADE = { { id = "call_1", name = "get_weather", arguments = '{"city":"Bern"}' },
    { id = "call_2", name = "now", arguments = "{}" } }
  local SAID = "It is 18 °C, and so on."

  for _, name in ipairs(dialects.names) do
    describe("in the dialect " .. name, function()
      local function answers_with(what)
        start(function() return what end, name)
      end

      local function asked_well()
        assert.same({}, endpoint.problems)
        assert.equal("/v1/chat/completions", endpoint.requests[1].path)
      end

      it("gets a plain answer", function()
        answers_with({ text = SAID, thoughts = "hm, <18>?" })
        assert.same({ text = SAID, tool_calls = {}, usage = USAGE, model = "m", attempts = 1 }, (think(name)))
        asked_well()
        assert.is_nil(endpoint.requests[1].body.stream)
      end)

      it("gets a streamed answer", function()
        answers_with({ text = SAID, thoughts = "hm, <18>?" })
        local answer, err, context = think(name, nil, { streams = true })
        assert.is_nil(err)
        assert.same({ tool_calls = {}, usage = USAGE, model = "m" }, answer)
        assert.equal(SAID, table.concat(context.told))
        assert.is_true(#context.told > 3)
        asked_well()
      end)

      it("gets calls", function()
        for _, streams in ipairs({ false, true }) do
          answers_with({ calls = CALLS })
          local answer, _, context = think(name, { tools = { weather() } }, { streams = streams })
          assert.same(MADE, answer.tool_calls)
          assert.is_nil(answer.text)
          assert.same({}, context.told)
          asked_well()
          endpoint:close()
        end
      end)

      it("gets a text beside calls", function()
        answers_with({ text = "Let me see.", calls = CALLS })
        local answer = think(name, { tools = { weather() } })
        assert.same(MADE, answer.tool_calls)
        assert.equal("Let me see.", answer.text)
      end)

      it("gets what was cut short", function()
        local reasons = { length = "max_completion_tokens", content_filter = "content_filter" }
        for finish, reason in pairs(reasons) do
          answers_with({ text = "It i", calls = { { "call_1", "f", '{"a":' } }, finish = finish })
          local answer = think(name)
          assert.equal(reason, answer.incomplete)
          assert.equal("It i", answer.text)
          assert.same({}, answer.tool_calls)
          endpoint:close()
        end
      end)
    end)
  end

  it("has no text where a filter left none", function()
    local answer = ask({ finish = "content_filter" })
    assert.equal("content_filter", answer.incomplete)
    assert.is_nil(answer.text)
  end)

  it("takes a refusal for the reply", function()
    local message = { role = "assistant", content = json.null, refusal = "I can't." }
    assert.equal("I can't.", ask(whole_of(message)).text)
    endpoint:close()
    local _, _, context = ask(stream_of(chunk({ refusal = "I " }), chunk({ refusal = "can't." }, "stop"), "[DONE]"),
      { streams = true })
    assert.equal("I can't.", table.concat(context.told))
  end)

  it("takes the first of several choices", function()
    local function choice(index, text)
      return { index = index, message = { role = "assistant", content = text }, finish_reason = "stop" }
    end
    assert.equal("first", ask({ json = { choices = { choice(1, "second"), choice(0, "first") } } }).text)
  end)

  it("takes the texts of a content in parts", function()
    assert.equal("Ab", ask(whole_of({ role = "assistant", content = {
      { type = "thinking", thinking = {} }, { type = "text", text = "A" }, { type = "text", text = "b" },
    } })).text)
  end)

  it("takes the calls that were before tools", function()
    local called = { name = "f", arguments = '{"a":1}' }
    local message = { role = "assistant", content = json.null, function_call = called }
    local answer = ask(whole_of(message, "function_call"))
    assert.same({ called }, answer.tool_calls)
    endpoint:close()
    answer = ask(stream_of(chunk({ function_call = { name = "f", arguments = "" } }),
      chunk({ function_call = { arguments = '{"a":1}' } }), chunk({}, "function_call")), { streams = true })
    assert.same({ called }, answer.tool_calls)
  end)

  it("tells calls of a plain answer apart that have the same id", function()
    local answer = ask({ calls = { { "call_0", "f", "{}" }, { "call_0", "g", "{}" } } })
    assert.same({ { id = "call_0", name = "f", arguments = "{}" }, { name = "g", arguments = "{}" } },
      answer.tool_calls)
  end)

  it("takes what only looked like the beginning of thoughts", function()
    assert.equal("<thin", ask({ text = "<thin" }, nil, "vllm").text)
  end)

  it("takes a plain answer to a stream that it asked for", function()
    local answer, err, context = ask({ json = shapes.whole("openai", { model = "m" }, { text = SAID, calls = CALLS }) },
      { streams = true })
    assert.is_nil(err)
    assert.same({ SAID }, context.told)
    assert.same(MADE, answer.tool_calls)
    assert.same(USAGE, answer.usage)
  end)

  it("does without a usage", function()
    local message = { role = "assistant", content = "Hi" }
    local answer = ask({ json = { choices = { { index = 0, message = message, finish_reason = "stop" } },
      usage = { prompt_tokens = 3 } } })
    assert.same({ text = "Hi", tool_calls = {}, attempts = 1 }, answer)
  end)

  it("takes the newest of several usages and models", function()
    local first, last = chunk({ content = "Hi" }), chunk({}, "stop")
    first.model, last.model = "m-2", ""
    first.usage, last.usage = { prompt_tokens = 3, completion_tokens = 1 }, { prompt_tokens = 3, completion_tokens = 2 }
    local answer = ask(stream_of(first, last), { streams = true })
    assert.same({ prompt_tokens = 3, completion_tokens = 2 }, answer.usage)
    assert.equal("m-2", answer.model)
  end)

  it("is told at an Azure deployment's path which model there is", function()
    local api = { endpoint = { base_url = function()
      return "https://me.openai.azure.com/openai/deployments/my-gpt"
    end } }
    local model = chat.new({ api = api })
    assert.equal("my-gpt", model.model)
    assert.is_nil(model:refusal(run_with({ model = "local" })))
    assert.equal("other", chat.new({ api = api, model = "other" }).model)
  end)

  it("asks an Azure deployment at its path, with its version and header", function()
    endpoint = chat_server.new({ answer = function() return { text = "Hi" } end, dialect = "azure" })
    client = assert(nexus.new({ nexus = false, openai = {
      base_url = endpoint.url:gsub("/v1$", "/openai/deployments/my-gpt"), query = { ["api-version"] = "2024-10-21" },
      auth_header = "api-key", auth_prefix = "", api_key = "sk-secret",
    } }))
    assert.equal("Hi", think("azure", { model = "local" }).text)
    local asked = endpoint.requests[1]
    assert.equal("/openai/deployments/my-gpt/chat/completions", asked.path)
    assert.equal("sk-secret", asked.headers["api-key"])
    assert.equal("api-version=2024-10-21", asked.query)
    assert.equal("my-gpt", asked.body.model)
  end)

  -- -------------------------------------------------------------------------------------------------- what goes wrong

  local function fails(answer, context, dialect)
    local said, err, told = ask(answer, context, dialect)
    assert.is_nil(said)
    assert.is_not_nil(err)
    return err, told
  end

  it("fails on an empty answer", function()
    local err = fails({ thoughts = "hm" }, nil, "vllm")
    assert.equal("the endpoint answered with neither text nor function calls (finish_reason 'stop')", err.message)
    assert.equal("server_error", err.code)
    endpoint:close()
    err = fails({ json = { object = "something else" } })
    assert.equal("the endpoint answered with neither text nor function calls (finish_reason absent)", err.message)
  end)

  local ERRORS = {
    { 429, '{"error":{"message":"Slow down","type":"requests","code":"rate_limit_exceeded"}}', "rate_limit_exceeded",
      "Slow down" },
    { 429, '{"error":{"message":"No quota","code":"insufficient_quota"}}', "rate_limit_exceeded", "No quota" },
    { 401, '{"error":{"message":"Bad key","code":"invalid_api_key"}}', "server_error", "Bad key" },
    { 400, '{"error":{"message":"Too long","code":"context_length_exceeded"}}', "invalid_prompt", "Too long" },
    { 400, '{"error":{"message":"Filtered","code":"content_filter","innererror":{"code":"X"}}}', "invalid_prompt",
      "Filtered" },
    { 400, '{"error":{"message":"No such role","param":"messages[0].role"}}', "invalid_prompt", "No such role" },
    { 400, '{"error":{"message":"No such parameter","param":"n"}}', "server_error", "No such parameter" },
    { 400, '{"error":{"code":400,"message":"exceeds","type":"exceed_context_size_error"}}', "invalid_prompt",
      "exceeds" },
    { 400, '{"object":"error","message":"This model\'s maximum context length is 8 tokens","type":"BadRequestError"}',
      "invalid_prompt", "This model's maximum context length is 8 tokens" },
    { 503, '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', "server_error",
      "Loading model" },
    { 404, '{"error":"model \'m\' not found"}', "server_error", "model 'm' not found" },
    { 422, '{"detail":"Not so"}', "server_error", "Not so" },
    { 422, '{"detail":[{"loc":["body","n"],"msg":"Field required","type":"missing"}]}', "server_error",
      "Field required (body.n)" },
    { 500, "<html><head><title>502 Bad Gateway</title></head></html>", "server_error", "502 Bad Gateway" },
    -- with a status that says all is well (OpenRouter)
    { 200, '{"error":{"code":429,"message":"Provider busy"}}', "rate_limit_exceeded", "Provider busy" },
    { 200, '{"choices":[{"index":0,"error":{"code":502,"message":"Gone"},"finish_reason":"error"}]}', "server_error",
      "Gone" },
  }

  it("tells errors in the protocol's codes and the API's words", function()
    for _, case in ipairs(ERRORS) do
      for _, streams in ipairs({ false, true }) do
        local err = fails({ status = case[1], body = case[2] }, { streams = streams })
        assert.equal(case[3], err.code, case[2])
        assert.equal(case[4], err.message)
        client:close(0)
        endpoint:close()
      end
    end
  end)

  it("keeps the key out of errors that come with a good status", function()
    local err = fails({ json = { error = { message = "no such key: sk-secret" } } })
    assert.is_nil(err.message:find("sk-secret", 1, true))
    endpoint:close()
    local broken = chunk({ content = "" }, "error")
    broken.error = { message = "no such key: sk-secret" }
    err = fails(stream_of(broken), { streams = true })
    assert.is_nil(err.message:find("sk-secret", 1, true))
  end)

  local NONSENSE = {
    '{"choices":"x"}', '{"choices":[7]}', '{"choices":[{"message":7}]}', '{"choices":[{"delta":"x"}],"usage":7}',
    '{"choices":[{"message":{"content":7,"refusal":[],"tool_calls":"x","function_call":"f"}}]}',
    '{"choices":[{"message":{"content":[7,{"type":"text"}],"tool_calls":[7,{"function":"f"},{}]}}]}',
    '{"choices":[{"delta":{"tool_calls":[7,{"id":8,"index":"x","function":{"name":9,"arguments":7}}]}}]}',
    '{"choices":[{"index":"x","finish_reason":7}],"model":7,"usage":{"prompt_tokens":"x","completion_tokens":1}}',
    '{"error":true}', '{"error":{"message":7,"code":{},"type":[],"param":7}}', '{"choices":[{"error":"x"}]}', '[]',
  }

  it("bears whatever it is answered", function()
    for _, text in ipairs(NONSENSE) do
      for _, answer in ipairs({ { body = text }, { stream = shapes.event(text) } }) do
        local said, err = ask(answer, { streams = answer.stream ~= nil })
        assert.is_true(said ~= nil or not tostring(err):find(".lua:", 1, true), text .. ": " .. tostring(err))
        if said then assert.is_table(said.tool_calls[1], text) end
        client:close(0)
        endpoint:close()
      end
    end
  end)

  it("is asked again by the rules of all calls", function()
    local count = 0
    start(function()
      count = count + 1
      if count == 1 then return { status = 503, headers = { ["Retry-After"] = "0" }, json = { error = "busy" } } end
      return { text = "Hi" }
    end, "openai", { retries = 2 })
    local answer = think("openai")
    assert.equal("Hi", answer.text)
    assert.equal(2, answer.attempts)
  end)

  it("fails on an error within a stream, and what was said was told", function()
    local broken = chunk({ content = "" }, "error")
    broken.error = { code = "server_error", message = "Provider disconnected" }
    local err, told = fails(stream_of(chunk({ content = "It is" }), broken), { streams = true }, "openrouter")
    assert.equal("Provider disconnected", err.message)
    assert.same({ "It is" }, told.told)
    endpoint:close()
    err = fails(stream_of(chunk({ content = "It" }), { error = { code = 500, message = "KV cache" } }, "[DONE]"),
      { streams = true }, "llama.cpp")
    assert.equal("KV cache", err.message)
    endpoint:close()
    local said = "the request exceeds the available context size"
    err = fails(stream_of({ error = { code = 400, message = said, type = "x" } }, "[DONE]"), { streams = true })
    assert.same({ "invalid_prompt", said }, { err.code, err.message })
  end)

  it("tells what became of the connection", function()
    local stream = stream_of(chunk({ content = "Hi" }))
    stream.breaks_off = true
    local err = fails(stream, { streams = true })
    assert.equal("connection", err.kind)
    assert.equal("server_error", err.code)
  end)

  it("fails on a stream that ends early, though a piece of it says nothing", function()
    local nothing = { choices = { { index = 0, delta = json.null } } }
    local err = fails(stream_of(nothing, chunk({ content = "Hi" })), { streams = true })
    assert.equal("the stream ended before the reply did", err.message)
  end)

  it("fails where the endpoint says that it failed", function()
    for _, reason in ipairs({ "error", "abort", "insufficient_system_resource" }) do
      local err = fails(stream_of(chunk({ content = "It is" }), chunk({}, reason), "[DONE]"), { streams = true })
      assert.equal("the endpoint broke the reply off (finish_reason '" .. reason .. "')", err.message)
      endpoint:close()
    end
  end)

  it("takes a stream that ended by its own word, without a reason", function()
    local answer, _, context = ask(stream_of(chunk({ content = "Hi" }), "[DONE]"), { streams = true })
    assert.is_table(answer)
    assert.same({ "Hi" }, context.told)
  end)

  it("takes a stream whose connection broke behind the reply", function()
    local stream = stream_of(chunk({ content = "Hi" }), chunk({}, "stop"))
    stream.breaks_off = true
    local answer, err = ask(stream, { streams = true })
    assert.is_nil(err)
    assert.is_table(answer)
  end)

  it("fails on a stream that isn't one", function()
    local err = fails({ stream = "data: not JSON\n\n" }, { streams = true })
    assert.equal("protocol", err.kind)
    endpoint:close()
    err = fails({ stream = "error: {\"code\":400,\"message\":\"too long\"}\n\ndata: [DONE]\n\n" }, { streams = true })
    assert.equal("the endpoint answered with neither text nor function calls (finish_reason absent)", err.message)
  end)

  -- Where a stream's finish_reason is there whole, with the end of its event.
  local function place_of_reason(stream)
    local _, place = stream:find('"finish_reason":"[%a_]+"')
    return select(2, stream:find("\n\n", place, true))
  end

  local function check_cut(stream, cut, breaks_off)
    local partial = { stream = stream:sub(1, cut), breaks_off = breaks_off }
    start(function() return partial end)
    local answer, err, context = think("openai", { tools = { weather() } }, { streams = true })
    local told, where = table.concat(context.told), "cut behind byte " .. cut
    assert.equal(SAID:sub(1, #told), told, where)
    if answer then
      assert.is_true(cut >= place_of_reason(stream), where)
      assert.equal(SAID, told, where)
      assert.same(MADE, answer.tool_calls, where)
    else
      assert.is_true(cut < place_of_reason(stream), where)
      assert.equal("server_error", err.code, where)
    end
    client:close(0)
    endpoint:close()
  end

  it("fails on a stream that is cut anywhere before the reply's end", function()
    local stream = shapes.stream("openai", {}, { text = SAID, calls = CALLS })
    for cut = 0, #stream, 7 do check_cut(stream, cut, cut % 2 == 0) end
    for cut = place_of_reason(stream) - 20, #stream do
      check_cut(stream, cut, false)
      check_cut(stream, cut, true)
    end
  end)

  it("gets the same of a stream in pieces of any size", function()
    for _, name in ipairs(dialects.names) do
      local body = { model = "m", stream = true, stream_options = { include_usage = true } }
      local stream = shapes.stream(name, body, { text = SAID, thoughts = "hm", calls = CALLS })
      for _, size in ipairs({ 1, 2, 3, 5, 8, 13, 100, 1000 }) do
        start(function() return { stream = stream, piece = size } end)
        local answer, err, context = think(name, { tools = { weather() } }, { streams = true })
        assert.is_nil(err)
        assert.equal(SAID, table.concat(context.told))
        assert.same({ tool_calls = MADE, usage = USAGE, model = "m" }, answer)
        client:close(0)
        endpoint:close()
      end
    end
  end)

  -- ------------------------------------------------------------------------------------------------------------ limits

  it("stops where nobody wants more", function()
    start(function() return { text = SAID } end)
    local count = 0
    local answer, err = think("openai", nil, { streams = true, tell = function()
      count = count + 1
      return count < 2
    end })
    assert.is_nil(answer)
    assert.is_nil(err)
    assert.equal(2, count)
  end)

  it("asks nothing where there is no time, and no longer than there is", function()
    start(function() return { text = "Hi" } end)
    local answer, err = think("openai", nil, { seconds = 0 })
    assert.is_nil(answer)
    assert.equal("there was no time left to ask the model", err.message)
    assert.same({}, endpoint.requests)
  end)

  local function deadline_of(seconds, default)
    local seen
    local api = { endpoint = { base_url = function() return "http://localhost/v1" end },
      defaults = { deadline = default } }
    function api.perform(_, _, params)
      seen = params.options.deadline
      return nil, { kind = "timeout", message = "no answer" }
    end
    local _, err = chat.new({ api = api }):think(QUESTION, {}, run_with(), context_with({ seconds = seconds }))
    assert.equal("server_error", err.code)
    return seen
  end

  it("has the run's time as its deadline, or the client's where that is sooner", function()
    assert.equal(30, deadline_of(30, nil))
    assert.equal(30, deadline_of(30, 60))
    assert.equal(10, deadline_of(30, 10))
  end)

  it("is given up with the task that asks", function()
    start(function() return { stream = shapes.event(chunk({ content = "Hi" })), stays_open = true } end)
    local model, task, answer, err = chat.new({ api = client.transport }), nil, nil, nil
    local context = context_with({ streams = true, tell = function()
      task:cancel()
      return true
    end })
    task = client:task(function()
      answer, err = model:think(QUESTION, json.array(), run_with(), context)
    end)
    endpoint:run(client, function() task:wait() end)
    assert.is_nil(answer)
    assert.equal("cancelled", err.kind)
    assert.equal("server_error", err.code)
  end)
end)

describe("the fake endpoint", function()
  it("can be a process of its own, for clients that wait", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write("return { dialect = 'ollama', answer = function(body) return { text = 'Hi, ' .. body.model } end }\n")
    file:close()
    local process = chat_server.start(path)
    local client = assert(nexus.new({ openai = { base_url = process.url, api_key = false }, nexus = false }))
    local result, err = client.transport:perform(operations["chat.completions.create"],
      { body = { model = "m", messages = QUESTION } })
    client:close(0)
    process:stop()
    os.remove(path)
    assert.is_nil(err and err.message)
    assert.equal("Hi, m", result.choices[1].message.content)
  end)

  it("finds what is wrong with a request", function()
    local asked = { role = "assistant", content = json.null, tool_calls = {
      { id = "c1", type = "function", ["function"] = { name = "f", arguments = "{}" } },
    } }
    local answered = { role = "tool", tool_call_id = "c1", content = "18" }
    local function problem_of(...) return chat_server.problem({ model = "m", messages = { ... } }) end
    assert.is_nil(problem_of(QUESTION[1], asked, answered))
    assert.equal("calls are not answered", problem_of(QUESTION[1], asked))
    assert.equal("calls are not answered", problem_of(asked, QUESTION[1], answered))
    assert.equal("no call has the tool_call_id c1", problem_of(QUESTION[1], answered))
    assert.equal("no call has the tool_call_id c1", problem_of(asked, answered, answered))
    assert.equal("messages[0]: no such role", problem_of({ role = "bard", content = "x" }))
    assert.equal("messages[0]: content is neither a text nor an array", problem_of({ role = "user" }))
    assert.equal("model is missing", chat_server.problem({ messages = QUESTION }))
    assert.equal("messages are missing", chat_server.problem({ model = "m", messages = json.array() }))
    assert.equal("a choice of tools without tools",
      chat_server.problem({ model = "m", messages = QUESTION, tool_choice = "required" }))
  end)

  it("knows the names that the API knows", function()
    if openapi.lacks() then return pending(openapi.lacks()) end
    assert.equal("unknown parameter: max_output_tokens",
      chat_server.problem({ model = "m", messages = QUESTION, max_output_tokens = 3 }))
  end)
end)

describe("a client whose provider is a chat endpoint", function()
  local endpoint, client

  local function start(answer, dialect)
    endpoint = chat_server.new({ answer = answer, dialect = dialect })
    client = assert(nexus.new({ provider = "chat", store = "memory", nexus = false, openai = {
      base_url = endpoint.url, api_key = false, model = "m", dialect = dialect, retries = 0,
    } }))
  end

  after_each(function()
    client:close(0)
    assert.same({}, endpoint.problems)
    endpoint:close()
  end)

  local tool = nexus.tool({ name = "get_weather", description = "The weather", parameters = { type = "object" },
    call = function(arguments) return "18 in " .. arguments.city end })

  local function answer_with_weather(body)
    local last = body.messages[#body.messages]
    if last.role == "tool" then return { text = "It is " .. last.content .. ".", thoughts = "hm" } end
    return { text = "Let me see.", calls = { { "call_0", "get_weather", '{"city":"Bern"}' } } }
  end

  -- Runs `fn(thread_id)` with a thread that has a question.
  local function with_thread(fn)
    return endpoint:run(client, function()
      local thread = assert(client.threads:create({ messages = { { role = "user", content = "The weather?" } } }))
      return fn(thread.id)
    end)
  end

  for _, name in ipairs(dialects.names) do
    it("runs with tools, polled and streamed, in the dialect " .. name, function()
      start(answer_with_weather, name)
      local run = assert(with_thread(function(id)
        return client.threads.runs:create_and_poll(id, { tools = { tool } })
      end))
      assert.equal("completed", run.status)
      assert.equal("Let me see.\n\nIt is 18 in Bern.", run:text())
      assert.equal("m", endpoint.requests[1].body.model)
      local text = assert(with_thread(function(id)
        local stream, pieces = assert(client.threads.runs:stream(id, { tools = { tool } })), {}
        for piece in stream:texts() do pieces[#pieces + 1] = piece end
        return table.concat(pieces)
      end))
      assert.equal("Let me see.It is 18 in Bern.", text)
      assert.is_true(endpoint.requests[#endpoint.requests].body.stream)
    end)
  end

  local function polled(params)
    return with_thread(function(id) return client.threads.runs:create_and_poll(id, params or {}) end)
  end

  it("asks for the run's model, or for the client's", function()
    start(function() return { text = "Hi" } end)
    endpoint:run(client, function()
      local assistant = assert(client.assistants:create({ model = "theirs" }))
      local thread = assert(client.threads:create({ messages = { { role = "user", content = "Hello?" } } }))
      assert(client.threads.runs:create_and_poll(thread.id, { assistant_id = assistant.id }))
      assert(client.threads.runs:create_and_poll(thread.id, { assistant_id = assistant.id, model = "the run's" }))
    end)
    assert.equal("m", endpoint.requests[1].body.model)
    assert.equal("the run's", endpoint.requests[2].body.model)
  end)

  it("is told at once what a run can't have", function()
    start(answer_with_weather)
    local run, err = with_thread(function(id)
      return client.threads.runs:create(id, { tools = { { type = "code_interpreter" } } })
    end)
    assert.is_nil(run)
    assert.same({ "unsupported_parameter", "tools", 400 }, { err.code, err.param, err.status })
    assert.same({}, endpoint.requests)
  end)

  it("gets an incomplete run where a reply was cut short", function()
    start(function() return { text = "It is", finish = "length" } end)
    local _, err = polled()
    assert.equal("incomplete", err.run.status)
    assert.same({ reason = "max_completion_tokens" }, err.run.incomplete_details)
    local messages = endpoint:run(client, function()
      return client.threads.messages:list(err.run.thread_id, { run_id = err.run.id })
    end)
    assert.equal("It is", messages.data[1].content[1].text.value)
  end)

  it("gets an incomplete run where nothing is left to be written, without a question", function()
    start(function() return { calls = { { "c1", "get_weather", "{}" } }, usage = { 5, 20 } } end)
    local sun = nexus.tool({ name = "get_weather", call = function() return "sun" end })
    local _, err = polled({ tools = { sun }, max_completion_tokens = 20 })
    assert.same({ "incomplete", { reason = "max_completion_tokens" }, 25, 1 }, { err.run.status,
      err.run.incomplete_details, err.run.usage.total_tokens, #endpoint.requests })
  end)

  it("gets a failed run with what the API said", function()
    start(function() return { status = 429, json = { error = { message = "Slow down" } } } end)
    local _, err = polled()
    assert.same({ code = "rate_limit_exceeded", message = "Slow down" }, err.run.last_error)
  end)
end)
