local NO_MODEL = "no model: set openai.model, OPENAI_MODEL or serve's --model-name, or the assistant's model"
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local openapi = require("spec.support.openapi")
local operations = require("nexus_assistants.operations")
local output = require("nexus_assistants.models.responses.output")
local replay = require("spec.support.replay")
local request = require("nexus_assistants.models.responses.request")
local responses = require("nexus_assistants.models.responses")
local responses_server = require("spec.support.responses_server")
local steady = require("spec.support.steady")

local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore 113

local QUESTION = { { role = "user", content = "Hello?", id = "msg_a" } }

local function function_tool(changes)
  local described = { name = "get_weather", description = "The weather", parameters = { type = "object" } }
  for name, value in pairs(changes or {}) do described[name] = value end
  return { type = "function", ["function"] = described }
end

-- A run as the runtime has it, defaults filled in.
local function run_with(changes)
  local run = {
    id = "run_1", model = "gpt-5", instructions = json.null, tools = json.array(), temperature = 1, top_p = 1,
    response_format = "auto", tool_choice = "auto", parallel_tool_calls = true, reasoning_effort = json.null,
    metadata = {}, tool_resources = {}, truncation_strategy = { type = "auto", last_messages = json.null },
    max_prompt_tokens = json.null,
  }
  for name, value in pairs(changes or {}) do run[name] = value end
  return run
end

describe("the responses model", function()
  local endpoint, client, now, slept, answer

  before_each(function()
    now, slept, answer = 0, {}, function() return "Hi." end
    endpoint = responses_server.new({ answer = function(items, body) return answer(items, body) end })
    client = assert(nexus.new({ nexus = false,
      openai = { api_key = "sk-x", base_url = endpoint.url, retries = 0 } }))
  end)

  after_each(function()
    client:close(0)
    endpoint:close()
  end)

  local function model_with(settings)
    local given = { api = client.transport, clock = function() return now end }
    for name, value in pairs(settings or {}) do given[name] = value end
    return responses.new(given)
  end

  -- What the runtime gives; sleeping takes none of our time.
  local function context_with(changes)
    local context = {
      streams = false, seconds = 600, state = {}, thread = {}, keep = function() end,
      tell = function() error("nobody asked for pieces") end,
      sleep = function(seconds)
        slept[#slept + 1] = seconds
        now = now + seconds
        return true
      end,
    }
    for name, value in pairs(changes or {}) do context[name] = value end
    return context
  end

  local function think(model, run, context, messages)
    return endpoint:run(client, function()
      return model:think(messages or QUESTION, run.tools, run, context or context_with())
    end)
  end

  -- What is asked for a run.
  local function body_for(changes, context, messages)
    assert(think(model_with(), run_with(changes), context_with(context), messages))
    local bodies = endpoint:asked("/responses")
    return bodies[#bodies]
  end

  local function listener()
    local told = {}
    return told, { streams = true, tell = function(piece)
      told[#told + 1] = piece
      return true
    end }
  end

  it("must be told a history there is", function()
    assert.has_error(function() responses.new({ history = "eternal" }) end,
      "responses.new: unknown history 'eternal', expected 'local' or 'conversation'")
  end)

  -- --------------------------------------------------------------------------------------------------- what is asked

  describe("asks", function()
    it("for what isn't at its default alone", function()
      assert.same({ model = "gpt-5", store = false, truncation = "auto", input = { { type = "message", role = "user",
        content = { { type = "input_text", text = "Hello?" } } } } }, body_for())
    end)

    it("to have long threads cut there, unless the run says how", function()
      assert.equal("auto", body_for().truncation)
      assert.is_nil(body_for({ truncation_strategy = { type = "last_messages", last_messages = 5 } }).truncation)
    end)

    it("with the parameters of the run", function()
      local body = body_for({
        temperature = 0.5, top_p = 0.25, reasoning_effort = "low", metadata = { a = "1" },
        response_format = { type = "json_schema", json_schema = { name = "n", schema = { type = "object" },
          strict = true, description = json.null } },
      }, { most_tokens = 100 }, { { role = "system", content = "Be brief." }, QUESTION[1] })
      assert.same({ 0.5, 0.25, { effort = "low" }, { a = "1" }, 100, "Be brief." }, { body.temperature, body.top_p,
        body.reasoning, body.metadata, body.max_output_tokens, body.instructions })
      assert.same({ format = { type = "json_schema", name = "n", schema = { type = "object" }, strict = true } },
        body.text)
      assert.equal(1, #body.input)
      assert.same({ format = { type = "json_object" } }, body_for({ response_format = { type = "json_object" } }).text)
      assert.is_nil(body_for({ response_format = { type = "text" } }).text)
    end)

    it("for no fewer tokens than can be asked for", function()
      assert.equal(16, body_for(nil, { most_tokens = 3 }).max_output_tokens)
    end)

    it("with functions as they are there", function()
      local body = body_for({ tools = { function_tool(), function_tool({ name = "b", strict = true,
        parameters = json.null, description = json.null }) }, parallel_tool_calls = false })
      assert.same({
        { type = "function", name = "get_weather", description = "The weather", parameters = { type = "object" },
          strict = false },
        { type = "function", name = "b", parameters = { type = "object", properties = {} }, strict = true },
      }, body.tools)
      assert.is_false(body.parallel_tool_calls)
      assert.same({ "reasoning.encrypted_content" }, body.include)
    end)

    it("with the tools that run there, and what they work on", function()
      local body = body_for({
        tools = {
          { type = "file_search", file_search = { max_num_results = 3,
            ranking_options = { ranker = "default_2024_08_21", score_threshold = 0.5 } } },
          { type = "code_interpreter" }, { type = "web_search", search_context_size = "low" },
        },
        tool_resources = { file_search = { vector_store_ids = { "vs_1" } },
          code_interpreter = { file_ids = { "file_1" } } },
      })
      assert.same({
        { type = "file_search", vector_store_ids = { "vs_1" }, max_num_results = 3,
          ranking_options = { score_threshold = 0.5 } },
        { type = "code_interpreter", container = { type = "auto", file_ids = { "file_1" } } },
        { type = "web_search", search_context_size = "low" },
      }, body.tools)
      assert.same({ "file_search_call.results", "code_interpreter_call.outputs" }, body.include)
    end)

    it("for no search where there is nothing to search", function()
      local body = body_for({ tools = { { type = "file_search" } }, tool_choice = "required" })
      assert.same({}, { body.tools, body.tool_choice, body.include })
    end)

    it("for the tool that was chosen, until it was called", function()
      local named = { type = "function", ["function"] = { name = "get_weather" } }
      local tools = { function_tool(), { type = "code_interpreter" } }
      local calls = { { role = "user", content = "?", id = "msg_a" },
        { role = "assistant", content = "", tool_calls = { { id = "c", name = "get_weather", arguments = "{}" } } },
        { role = "tool", tool_call_id = "c", name = "get_weather", content = "sun" } }
      assert.same({ type = "function", name = "get_weather" },
        body_for({ tools = tools, tool_choice = named }).tool_choice)
      assert.same({ type = "code_interpreter" },
        body_for({ tools = tools, tool_choice = { type = "code_interpreter" } }).tool_choice)
      assert.equal("required", body_for({ tools = tools, tool_choice = "required" }).tool_choice)
      assert.is_nil(body_for({ tools = tools, tool_choice = "required" }, nil, calls).tool_choice)
    end)

    it("with images where they can be", function()
      local body = body_for(nil, nil, {
        { role = "user", id = "msg_a", content = {
          { type = "text", text = { value = "See" } },
          { type = "image_url", image_url = { url = "https://e.org/a.png", detail = "low" } },
          { type = "image_file", image_file = { file_id = "file_1", detail = "auto" } },
        } },
        { role = "assistant", id = "msg_b", content = {
          { type = "image_file", image_file = { file_id = "file_2" } },
          { type = "text", text = { value = "Nice." } },
        } },
      })
      assert.same({ { type = "input_text", text = "See" },
        { type = "input_image", image_url = "https://e.org/a.png", detail = "low" },
        { type = "input_image", file_id = "file_1" } }, body.input[1].content)
      assert.same({ { type = "output_text", text = "Nice.", annotations = {} } }, body.input[2].content)
      body = body_for(nil, nil, { QUESTION[1], { role = "assistant", id = "msg_b", content = {
        { type = "image_file", image_file = { file_id = "file_2" } } } } })
      assert.equal(1, #body.input)
    end)

    it("with what was said beside calls, and calls that another model made", function()
      local body = body_for(nil, nil, { QUESTION[1], { role = "assistant", content = "Wait.",
        tool_calls = { { id = "call_1", name = "f", arguments = "{}" } } },
        { role = "tool", tool_call_id = "call_1", content = "ok" } })
      assert.same({ "message", "message", "function_call", "function_call_output" }, { body.input[1].type,
        body.input[2].type, body.input[3].type, body.input[4].type })
      assert.same({ type = "function_call", call_id = "call_1", name = "f", arguments = "{}" }, body.input[3])
    end)

    it("with what the model thought before its calls", function()
      local function round_with(items)
        return { QUESTION[1], { role = "assistant", content = "", items = items,
          tool_calls = { { id = "call_1", name = "f", arguments = "{}" } } },
          { role = "tool", tool_call_id = "call_1", name = "f", content = "ok" } }
      end
      local call = { type = "function_call", id = "fc_1", call_id = "call_1", name = "f", arguments = "{}",
        status = "completed" }
      local thought = { type = "reasoning", id = "rs_1", summary = json.array(), encrypted_content = "E",
        status = json.null }
      local body = body_for(nil, nil, round_with({ thought, call }))
      assert.same({ { type = "reasoning", id = "rs_1", summary = {}, encrypted_content = "E" },
        { type = "function_call", id = "fc_1", call_id = "call_1", name = "f", arguments = "{}" },
        { type = "function_call_output", call_id = "call_1", output = "ok" } }, { unpack(body.input, 2) })
      -- what isn't there in the item can't be found either
      thought.encrypted_content = json.null
      body = body_for(nil, nil, round_with({ thought, call }))
      assert.same({ type = "function_call", call_id = "call_1", name = "f", arguments = "{}" }, body.input[2])
      assert.equal(3, #body.input)
    end)

    it("with what ran there before a call as it was, since its status is wanted back", function()
      local search = { type = "web_search_call", id = "ws_1", status = "completed", action = { type = "search" } }
      local call = { type = "function_call", id = "fc_1", call_id = "call_1", name = "f", arguments = "{}",
        status = "completed" }
      local body = body_for(nil, nil, { QUESTION[1], { role = "assistant", content = "", items = { search, call },
        tool_calls = { { id = "call_1", name = "f", arguments = "{}" } } },
        { role = "tool", tool_call_id = "call_1", name = "f", content = "ok" } })
      assert.same({ search, nil }, { body.input[2], body.input[3].status })
    end)

    it("for tools that are offered alone, in the API's own words", function()
      local code, label = { type = "code_interpreter" }, { type = "mcp", server_label = "a" }
      assert.is_nil(body_for({ tools = { { type = "file_search" }, code },
        tool_choice = { type = "file_search" } }).tool_choice)
      assert.same(label, body_for({ tools = { { type = "mcp", server_label = "a", server_url = "https://e.org" } },
        tool_choice = label }).tool_choice)
    end)

    it("in words that the official description knows", function()
      local lacking = steady.lacks()
      if lacking then pending(lacking) return end
      local body = request.body({ model = "gpt-5", keeps_reasoning = true, messages = QUESTION,
        tools = { function_tool(), { type = "code_interpreter" }, { type = "file_search", file_search = {
          max_num_results = 3, ranking_options = { ranker = "auto", score_threshold = 0.5 } } } },
        context = { most_tokens = 100 },
        run = run_with({ temperature = 0.5, reasoning_effort = "low", metadata = { a = "1" }, tool_choice = "required",
          response_format = { type = "json_object" }, parallel_tool_calls = false,
          tool_resources = { file_search = { vector_store_ids = { "vs_1" } } } }) })
      body.input = body_for(nil, nil, {
        { role = "user", content = { { type = "image_url", image_url = { url = "https://e.org/a.png" } } } },
        { role = "assistant", content = "Hm." },
        { role = "assistant", content = "", tool_calls = { { id = "call_1", name = "f", arguments = "{}" } } },
        { role = "tool", tool_call_id = "call_1", content = "ok" },
      }).input
      local validator = steady.start()
      local asking = assert(nexus.new({ nexus = false, openai = { api_key = "x", base_url = validator.url,
        retries = 0 } }))
      local result, err = asking.responses:create(body)
      asking:close(0)
      validator:stop()
      assert(result or err.kind ~= "bad_request", tostring(err))
    end)
  end)

  it("refuses what it hasn't", function()
    local model = model_with()
    assert.is_nil((model:refusal(run_with())))
    for _, kind in ipairs({ "computer", "computer_use", "computer_use_preview", "custom", "shell", "local_shell",
      "apply_patch" }) do
      assert.same({ "the tool '" .. kind .. "' isn't there: what it asks of its caller is unknown to runs", "tools" },
        { model:refusal(run_with({ tools = { { type = kind } } })) })
    end
    assert.same({ NO_MODEL, "model" },
      { model:refusal(run_with({ model = "local" })) })
    assert.is_nil((model_with({ model = "gpt-5" }):refusal(run_with({ model = "local" }))))
    local refused, err = think(model, run_with({ model = "local" }))
    assert.same({ nil, NO_MODEL }, { refused, err.message })
    assert.same({}, endpoint.requests)
  end)

  -- ------------------------------------------------------------------------------------------------ what is answered

  describe("tells", function()
    local function response_with(changes)
      local response = { status = "completed", output = json.array(), model = "m", usage = json.null }
      for name, value in pairs(changes) do response[name] = value end
      return response
    end

    it("texts as one, with what they cite", function()
      local told = output.answer(response_with({ output = {
        { type = "message", content = { { type = "output_text", text = "Größe: [a](sandbox:/a.csv)", annotations = {
          { type = "container_file_citation", file_id = "cfile_1", container_id = "c", filename = "a.csv",
            start_index = 11, end_index = 25 },
        } } } },
        { type = "message", content = { { type = "output_text", text = "", annotations = {} },
          { type = "output_text", text = "See b.", annotations = {
            { type = "file_citation", file_id = "file_1", index = 5, filename = "b.txt" },
            { type = "url_citation", url = "https://e.org", start_index = 0, end_index = 3, title = "t" },
            { type = "file_path", file_id = "file_2", index = 0 } } },
          { type = "refusal", refusal = "No more." } } },
      } }))
      assert.equal("Größe: [a](sandbox:/a.csv)\n\nSee b.\n\nNo more.", told.text)
      assert.same({
        { type = "file_path", text = "sandbox:/a.csv", start_index = 11, end_index = 25,
          file_path = { file_id = "cfile_1" } },
        { type = "file_citation", text = "", start_index = 33, end_index = 33,
          file_citation = { file_id = "file_1" } },
        { type = "file_path", text = "", start_index = 28, end_index = 28, file_path = { file_id = "file_2" } },
      }, told.annotations)
    end)

    it("what ran there, as steps have it", function()
      local told = output.answer(response_with({ output = {
        { type = "file_search_call", id = "fs_1", status = "completed", queries = { "q" }, results = {
          { file_id = "file_1", filename = "a.txt", score = 0.5, text = "found", attributes = {} } } },
        { type = "file_search_call", id = "fs_2", status = "completed", queries = { "q" }, results = json.null },
        { type = "code_interpreter_call", id = "ci_1", status = "completed", code = "1+1", container_id = "c",
          outputs = { { type = "logs", logs = "2" }, { type = "image", url = "https://e.org/i.png" } } },
        { type = "code_interpreter_call", id = "ci_2", status = "completed", code = json.null, outputs = json.null },
        { type = "web_search_call", id = "ws_1", status = "completed", action = { type = "search", query = "q" } },
        { type = "message", content = { { type = "output_text", text = "Done.", annotations = {} } } },
      } }))
      local ranking = { ranker = "default_2024_08_21", score_threshold = 0 }
      assert.same({
        { id = "fs_1", type = "file_search", file_search = { ranking_options = ranking, results = {
          { file_id = "file_1", file_name = "a.txt", score = 0.5, content = { { type = "text", text = "found" } } },
        } } },
        { id = "fs_2", type = "file_search", file_search = { ranking_options = ranking, results = {} } },
        { id = "ci_1", type = "code_interpreter", code_interpreter = { input = "1+1", outputs = {
          { type = "logs", logs = "2" }, { type = "image", image = { url = "https://e.org/i.png" } } } } },
        { id = "ci_2", type = "code_interpreter", code_interpreter = { input = "", outputs = {} } },
        { id = "ws_1", type = "web_search", web_search = { action = { type = "search", query = "q" } } },
      }, told.hosted)
      assert.same({ "Done.", nil, {} }, { told.text, told.annotations, told.tool_calls })
    end)

    it("calls, and what belongs to them", function()
      local thought = { type = "reasoning", id = "rs_1", encrypted_content = "E", summary = {} }
      local call = { type = "function_call", id = "fc_1", call_id = "call_1", name = "f", arguments = "{}" }
      local told = output.answer(response_with({ output = { thought,
        { type = "message", content = { { type = "output_text", text = "Wait.", annotations = {} } } }, call } }))
      assert.same({ { id = "call_1", name = "f", arguments = "{}" } }, told.tool_calls)
      assert.same({ thought, call }, told.items)
      assert.equal("Wait.", told.text)
    end)

    it("what was used", function()
      local told = output.answer(response_with({ usage = { input_tokens = 9, output_tokens = 4, total_tokens = 13,
        input_tokens_details = { cached_tokens = 5 }, output_tokens_details = { reasoning_tokens = 3 } } }))
      assert.same({ prompt_tokens = 9, completion_tokens = 4, cached_tokens = 5, reasoning_tokens = 3 }, told.usage)
      assert.is_nil(output.answer(response_with({})).usage)
    end)

    for reason, expected in pairs({ max_output_tokens = "max_completion_tokens",
      content_filter = "content_filter" }) do
      it("that an answer was cut short by " .. reason .. ", without calls that may lack something", function()
        local told = output.answer(response_with({ status = "incomplete", incomplete_details = { reason = reason },
          output = { { type = "function_call", call_id = "c", name = "f", arguments = "{\"a" } } }))
        assert.same({ expected, {}, {} }, { told.incomplete, told.tool_calls, told.items })
      end)
    end

    for code, expected in pairs({ rate_limit_exceeded = "rate_limit_exceeded", invalid_prompt = "invalid_prompt",
      server_error = "server_error", vector_store_timeout = "server_error", image_too_large = "invalid_prompt" }) do
      it("that a response failed by " .. code, function()
        local told, err = output.answer(response_with({ status = "failed", error = { code = code, message = "Oh." } }))
        assert.is_nil(told)
        assert.same({ expected, "Oh." }, { err.code, err.message })
      end)
    end

    it("nothing of what has no place there", function()
      local odd = json.array({ json.null, 1, "x" })
      local told = output.answer(response_with({ output = { json.null, 1,
        { type = "message", content = { json.null, { type = "output_text", text = "Hi.", annotations = odd } } },
        { type = "file_search_call", id = "a", results = odd },
        { type = "code_interpreter_call", id = "b", outputs = odd },
        { type = "function_call", call_id = json.null, name = "f", arguments = json.null } } }))
      assert.same({ "Hi.", 2, {}, {} }, { told.text, #told.hosted, told.hosted[1].file_search.results,
        told.hosted[2].code_interpreter.outputs })
      assert.same({ { name = "f" } }, told.tool_calls)
      local _, err = output.answer(response_with({ status = json.null }))
      assert.equal("the response ended with status 'unknown'", err.message)
    end)

    it("what no run can go on from", function()
      local _, err = output.answer(response_with({ status = "cancelled" }))
      assert.equal("the response ended with status 'cancelled'", err.message)
      local told
      told, err = output.answer(response_with({ output = { { type = "mcp_approval_request" } } }))
      assert.same({ nil, "an MCP server wants an approval, which a run can't give" }, { told, err.message })
    end)
  end)

  -- ------------------------------------------------------------------------------------------------- recorded traffic

  describe("and what was recorded", function()
    local lacking = replay.lacks()
    if lacking then
      it("are asked for again", function() pending(lacking) end)
      return
    end

    -- What a model answers where a recording is played, and what the replay has to say of it.
    local function play(name, chunk, fn)
      return replay.with(replay.exchanges("openai-dotnet/" .. name .. ".json"), chunk, function(server)
        local asking = assert(nexus.new({ nexus = false, openai = { api_key = "sk-x", base_url = server.openai_url,
          retries = 0 } }))
        local result = asking:task(fn, responses.new({ api = asking.transport })):wait()
        asking:close(0)
        return result, server:report()
      end)
    end

    local WEATHER = function_tool({ name = "get_weather_at_location",
      description = "Gets the weather at a specified location, optionally specifying units for temperature",
      parameters = { type = "object", properties = { location = { type = "string" },
        unit = { type = "string", enum = { "C", "F", "K" } } }, required = { "location" } } })

    it("go together: two requests with a call between them", function()
      local run = run_with({ model = "gpt-4o-mini", tools = { WEATHER } })
      local question = { role = "user", content = "What should I wear for the weather in San Francisco, CA?" }
      local answers, report = play("ResponsesTests.FunctionCallWorks", 0, function(model)
        local first = assert(model:think({ question }, run.tools, run, context_with()))
        return { first, assert(model:think({ question,
          { role = "assistant", content = "", tool_calls = first.tool_calls, items = first.items },
          { role = "tool", tool_call_id = first.tool_calls[1].id, content = "22 celcius and windy" },
        }, run.tools, run, context_with())) }
      end)
      assert.same({ { id = "call_S2X9KuEJpYvFcF4hgv1XwM0j", name = "get_weather_at_location",
        arguments = '{"location":"San Francisco, CA"}' } }, answers[1].tool_calls)
      assert.same({ prompt_tokens = 74, completion_tokens = 20, cached_tokens = 0, reasoning_tokens = 0 },
        answers[1].usage)
      assert.same({ "gpt-4o-mini-2024-07-18", nil, nil, 1 },
        { answers[1].model, answers[1].text, answers[1].incomplete, answers[1].attempts })
      assert.matches("^The weather in San Francisco is currently about 22°C", answers[2].text)
      assert.same({ prompt_tokens = 109, completion_tokens = 156, cached_tokens = 0, reasoning_tokens = 0 },
        answers[2].usage)
      assert.same({}, report.unmatched)
      local recorded, sent = {}, {}
      for index, mismatch in ipairs(report.body_mismatch) do
        recorded[index], sent[index] = json.decode(mismatch.recorded), json.decode(mismatch.sent)
        assert.same(recorded[index].tools, sent[index].tools)
        assert.equal(recorded[index].model, sent[index].model)
      end
      assert.same(recorded[1].input, sent[1].input)
      assert.same(recorded[2].input[1], sent[2].input[3]) -- it was told the rest by previous_response_id
    end)

    it("go together in a stream of text", function()
      for _, chunk in ipairs({ 0, 1 }) do
        local told, streaming = listener()
        local answer_told = play("ResponsesTests.StreamingResponses", chunk, function(model)
          return assert(model:think({ { role = "user", content = "Hello, world!" } }, {},
            run_with({ model = "gpt-4o-mini" }), context_with(streaming)))
        end)
        assert.same({ "Hello", "!", " How", " can", " I", " assist", " you", " today", "?" }, told)
        assert.is_nil(answer_told.text)
        assert.same({ prompt_tokens = 11, completion_tokens = 10, cached_tokens = 0, reasoning_tokens = 0 },
          answer_told.usage)
        assert.equal("gpt-4o-mini-2024-07-18", answer_told.model)
      end
    end)

    it("go together in a stream of calls", function()
      for _, chunk in ipairs({ 0, 1 }) do
        local told, streaming = listener()
        local run = run_with({ model = "gpt-4o-mini", tools = { WEATHER } })
        local answered = play("ResponsesTests.FunctionCallStreamingWorks", chunk, function(model)
          return assert(model:think({ { role = "user", content = "?" } }, run.tools, run, context_with(streaming)))
        end)
        assert.same({}, told)
        assert.same({ { id = "call_0UFGPwrziw5rbinYp7rthrTb", name = "get_weather_at_location",
          arguments = '{"location":"San Francisco, CA"}' } }, answered.tool_calls)
        assert.equal("fc_0c25e60be926327b0069305ebaa9648195b0273f9500448380", answered.items[1].id)
        assert.same({ prompt_tokens = 74, completion_tokens = 20, cached_tokens = 0, reasoning_tokens = 0 },
          answered.usage)
      end
    end)

    it("go together where tokens are limited", function()
      local answered, report = play("ResponsesTests.MaxTokens", 0, function(model)
        return assert(model:think({ { role = "user", content = "Write three haikus about tropical fruit" } }, {},
          run_with({ model = "gpt-4o-mini" }), context_with({ most_tokens = 20 })))
      end)
      assert.equal("max_completion_tokens", answered.incomplete)
      assert.matches("^Mango sun%-kissed sweet,  \n", answered.text)
      assert.equal(20, answered.usage.completion_tokens)
      local sent = json.decode(report.body_mismatch[1].sent)
      assert.same({ false, "auto" }, { sent.store, sent.truncation })
      sent.store, sent.truncation = nil, nil
      assert.same(json.decode(report.body_mismatch[1].recorded), sent)
    end)

    it("go together where a response in the background is given up", function()
      local id = "resp_0a3365ff556124e80068c9ef39d03881939a80f61fb572fe25"
      local result, report = play("ResponsesTests.CanCancelBackgroundResponses", 0, function(model)
        model.background = true
        local state = {}
        local given_up = { model:think({ { role = "user", content = "Hello, model!" } }, {},
          run_with({ model = "gpt-4.1-mini" }), context_with({ state = state,
            sleep = function() return nil, { message = "the run was cancelled" } end })) }
        assert.equal(id, state.response_id)
        return given_up
      end)
      assert.same({ nil, "the run was cancelled" }, { result[1], result[2].message })
      assert.same({ {}, {} }, { report.unmatched, report.unused })
      assert.is_true(json.decode(report.body_mismatch[1].sent).background)
    end)
  end)

  -- ----------------------------------------------------------------------------------------------------- whole, polled

  it("tells how often it was tried, and what is wrong by the protocol's codes", function()
    assert.equal(1, assert(think(model_with(), run_with())).attempts)
    for message, expected in pairs({
      ["too much"] = { { status = 429, message = "too much" }, "rate_limit_exceeded" },
      ["too long"] = { { status = 400, message = "too long", code = "context_length_exceeded" }, "invalid_prompt" },
      ["oh no"] = { { status = 500, message = "oh no" }, "server_error" },
    }) do
      answer = function() return { refused = expected[1] } end
      local told, err = think(model_with(), run_with())
      assert.same({ nil, message, expected[2] }, { told, err.message, err.code })
    end
  end)

  it("asks nothing where there is no time", function()
    local told, err = think(model_with(), run_with(), context_with({ seconds = 0 }))
    assert.same({ nil, "there was no time left to ask the model", {} }, { told, err.message, endpoint.requests })
  end)

  it("doesn't ask models that don't reason for what they thought, once they refused", function()
    local model, run = model_with(), run_with({ model = "gpt-4o", tools = { function_tool() } })
    assert.equal("Hi.", assert(think(model, run)).text)
    assert.equal("Hi.", assert(think(model, run)).text)
    local included = {}
    for index, body in ipairs(endpoint:asked("/responses")) do included[index] = body.include ~= nil end
    assert.same({ true, false, false }, included)
  end)

  it("polls what runs in the background, less and less often", function()
    answer = function() return { output = { { text = "At last." } }, polls = 6 } end
    local state = {}
    local told = assert(think(model_with({ background = true }), run_with(), context_with({ state = state })))
    assert.equal("At last.", told.text)
    assert.same({ 0.25, 0.5, 1, 2, 2, 2 }, slept)
    assert.is_nil(state.response_id)
    local body = endpoint:asked("/responses")[1]
    assert.same({ true, true }, { body.background, body.store })
  end)

  it("polls as the API says", function()
    endpoint.poll_after_ms = 700
    assert(think(model_with({ background = true }), run_with()))
    assert.same({ 0.7, 0.7 }, slept)
  end)

  it("asks for all that was to be included when it polls", function()
    assert(think(model_with({ background = true }), run_with({ tools = { { type = "code_interpreter" } } })))
    assert.matches("code_interpreter_call.outputs", endpoint.requests[2].query["include[]"][1] or "", 1, true)
  end)

  it("ends a wait in the background with the run", function()
    answer = function() return { output = {}, polls = math.huge } end
    local state = {}
    local context = context_with({ seconds = 5, state = state })
    local told, err = think(model_with({ background = true }), run_with(), context)
    assert.same({ nil, "there was no time left to wait for the response" }, { told, err.message })
    assert.same({ 5, "cancelled" }, { now, endpoint.responses.resp_2.response.status })
  end)

  it("waits on in the background where it can't be asked for a while", function()
    answer = function() return { output = { { text = "At last." } }, polls = 3 } end
    endpoint.lost, endpoint.lossy = 3, "/responses/resp_"
    assert.equal("At last.", assert(think(model_with({ background = true }), run_with())).text)
    endpoint.forbidden = "/responses/resp_"
    local told, err = think(model_with({ background = true }), run_with())
    assert.same({ nil, "Forbidden." }, { told, err.message })
  end)

  it("abandons nothing where nothing goes on", function()
    model_with():abandon({}, {})
    assert.same({}, endpoint.requests)
  end)

  -- ---------------------------------------------------------------------------------------------------------- streamed

  describe("in a stream", function()
    it("tells texts as they come, and what stands between them", function()
      answer = function() return { output = { { text = "One two." }, { parts = { { text = "Three." },
        { refusal = "No." } } } } } end
      local told, streaming = listener()
      local answered = assert(think(model_with(), run_with(), context_with(streaming)))
      assert.equal("One two.\n\nThree.\n\nNo.", table.concat(told))
      assert.same({ nil, 10 }, { answered.text, answered.usage.prompt_tokens })
      assert.is_true(endpoint:asked("/responses")[1].stream)
    end)

    it("tells no space around a text that is empty", function()
      answer = function() return { output = { { text = "" }, { text = "One." } } } end
      local told, streaming = listener()
      assert(think(model_with(), run_with(), context_with(streaming)))
      assert.equal("One.", table.concat(told))
    end)

    it("has items as they were when they were done", function()
      answer = function() return { output = { { type = "reasoning", encrypted_content = "whole" },
        { type = "function_call", name = "f", arguments = '{"a": "long enough"}' } } } end
      local _, streaming = listener()
      local answered = assert(think(model_with(), run_with(), context_with(streaming)))
      assert.same({ "whole", '{"a": "long enough"}' },
        { answered.items[1].encrypted_content, answered.tool_calls[1].arguments })
      answer = function() return { output = { { text = "One" }, { type = "function_call", name = "f",
        arguments = "{}" } }, is_bare = true } end
      answered = assert(think(model_with(), run_with(), context_with(streaming)))
      assert.same({ nil, "f" }, { answered.text, answered.tool_calls[1].name })
    end)

    it("stops where nobody wants more", function()
      answer = function() return { output = { { text = "One two three." } }, stays_open = true } end
      local told = {}
      local results = { think(model_with(), run_with(), context_with({ streams = true, tell = function(piece)
        told[#told + 1] = piece
        return #told < 2
      end })) }
      assert.same({ "One", " two" }, told)
      assert.is_nil(results[1] or results[2])
    end)

    it("tells what the response came to", function()
      local _, streaming = listener()
      answer = function() return { output = { { text = "Cut" } }, incomplete = "max_output_tokens" } end
      local answered = assert(think(model_with(), run_with(), context_with(streaming)))
      assert.equal("max_completion_tokens", answered.incomplete)
      answer = function() return { failed = { code = "rate_limit_exceeded", message = "Slow down." } } end
      local told, err = think(model_with(), run_with(), context_with(streaming))
      assert.same({ nil, "rate_limit_exceeded", "Slow down." }, { told, err.code, err.message })
      answer = function() return { output = { { text = "x" } }, error_event = { code = "server_error",
        message = "Oh." } } end
      told, err = think(model_with({ history = "conversation" }), run_with(), context_with(streaming))
      assert.same({ nil, "server_error", "Oh." }, { told, err.code, err.message })
      answer = function() return { refused = { status = 400, message = "No.", code = "invalid_prompt" } } end
      told, err = think(model_with(), run_with(), context_with(streaming))
      assert.same({ nil, "invalid_prompt", "No." }, { told, err.code, err.message })
    end)

    it("is closed where it begins with an error", function()
      local closed, refused = 0, { kind = "server", message = "Oh." }
      local source = { next = function() return nil, refused end, close = function() closed = closed + 1 end }
      local model = model_with({ api = { defaults = {}, open = function() return source end } })
      local told, err = model:think(QUESTION, {}, run_with(), context_with({ streams = true }))
      assert.same({ nil, "Oh.", 1 }, { told, err.message, closed })
    end)

    it("ends in an error where it breaks off and nothing was stored", function()
      answer = function() return { output = { { text = "One two." } }, breaks_off = 5 } end
      local _, streaming = listener()
      local told, err = think(model_with(), run_with(), context_with(streaming))
      assert.same({ nil, "server_error" }, { told, err.code })
      assert.equal(1, #endpoint.requests)
    end)

    it("goes on from what was stored where it breaks off", function()
      answer = function() return { output = { { text = "One two." } }, breaks_off = 5 } end
      local told, streaming = listener()
      local answered = assert(think(model_with({ history = "conversation" }), run_with(), context_with(streaming)))
      assert.same({ "One", " two." }, { table.concat(told), answered.text })
    end)

    it("is polled on where it runs in the background", function()
      answer = function() return { output = { { text = "One two." } }, breaks_off = 5 } end
      local told, streaming = listener()
      endpoint.lost, endpoint.lossy = 1, "/responses/resp_"
      local answered = assert(think(model_with({ background = true }), run_with(), context_with(streaming)))
      assert.same({ "One", " two." }, { table.concat(told), answered.text })
      assert.is_true(endpoint:asked("/responses")[1].background)
    end)
  end)

  -- ----------------------------------------------------------------------------------------------------- conversations

  describe("with a conversation", function()
    local model, notes, messages

    before_each(function()
      model, notes, messages = model_with({ history = "conversation" }), {}, {}
      answer = function(items) return "Answer to " .. #items end
    end)

    local function add(role, id, run_id)
      messages[#messages + 1] = { role = role, content = id, id = id, run_id = run_id }
    end

    -- A run on the thread; its reply is added, as the runtime does.
    local function converse(run_id, changes, context)
      local run, given = run_with(changes), context_with(context)
      run.id, given.thread = run_id, notes
      local answered, err = think(model, run, given, messages)
      if answered and answered.text then add("assistant", "reply_of_" .. run_id, run_id) end
      return answered, err
    end

    -- How many items each request had, where they were for a response.
    local function sent()
      local counts = {}
      for index, body in ipairs(endpoint:asked("/responses")) do counts[index] = #(body.input or {}) end
      return counts
    end

    local function conversations()
      return #endpoint:asked("/conversations")
    end

    it("sends what is new alone", function()
      add("user", "msg_1")
      assert.equal("Answer to 1", assert(converse("run_1")).text)
      add("user", "msg_2")
      add("user", "msg_3")
      assert.equal("Answer to 4", assert(converse("run_2")).text)
      assert.equal("Answer to 5", assert(converse("run_3")).text)
      assert.same({ 1, 2, 0 }, sent())
      assert.equal(1, conversations())
      assert.same({ true, { id = "conv_1" } }, { endpoint:asked("/responses")[1].store,
        endpoint:asked("/responses")[1].conversation })
      assert.is_nil(endpoint:asked("/responses")[3].input)
    end)

    it("says that a request is open before it is sent", function()
      add("user", "msg_1")
      local kept = {}
      assert(converse("run_1", nil, { keep = function()
        kept[#kept + 1] = { notes.conversation_id, notes.open }
      end }))
      assert.same({ { "conv_1", true } }, kept)
      assert.is_nil(notes.open)
    end)

    it("sends the outputs that are waited for", function()
      add("user", "msg_1")
      answer = function(items)
        if items[#items].type == "function_call_output" then return "It is " .. items[#items].output end
        return { output = { { type = "reasoning" }, { type = "function_call", name = "f", arguments = "{}",
          call_id = "call_1" } } }
      end
      local asked = assert(converse("run_1", { tools = { function_tool() } }))
      local round = { { role = "assistant", content = "", tool_calls = asked.tool_calls, items = asked.items },
        { role = "tool", tool_call_id = "call_1", name = "f", content = "ok" } }
      messages[2], messages[3] = round[1], round[2]
      assert.equal("It is ok", assert(converse("run_1", { tools = { function_tool() } })).text)
      messages = { messages[1], messages[4] } -- the round is its run's
      add("user", "msg_2")
      assert(converse("run_2"))
      assert.same({ { 1, 1, 1 }, 1 }, { sent(), conversations() })
      assert.is_nil(endpoint:asked("/responses")[1].include)
    end)

    local function assert_anew(count)
      assert.equal(2, conversations())
      assert.same(count, sent()[#sent()])
      assert.not_equal("conv_1", notes.conversation_id)
    end

    it("begins anew where a message was deleted", function()
      for index = 1, 3 do add("user", "msg_" .. index) end
      assert(converse("run_1"))
      table.remove(messages, 2)
      assert(converse("run_2"))
      assert_anew(3)
    end)

    it("begins anew where its reply was deleted", function()
      add("user", "msg_1")
      assert(converse("run_1"))
      table.remove(messages)
      add("user", "msg_2")
      assert(converse("run_2"))
      assert_anew(2)
    end)

    it("begins anew where a run left calls without outputs", function()
      add("user", "msg_1")
      answer = function() return { output = { { type = "function_call", name = "f", arguments = "{}" } } } end
      assert(converse("run_1"))
      answer = function() return "Well." end
      assert.equal("Well.", assert(converse("run_2")).text)
      assert_anew(1)
    end)

    it("begins anew where an answer was cut short", function()
      add("user", "msg_1")
      answer = function() return { output = { { text = "Cut" } }, incomplete = "max_output_tokens" } end
      assert(converse("run_1"))
      assert(converse("run_2"))
      assert_anew(2)
    end)

    it("begins anew where the runtime cuts an answer short", function()
      add("user", "msg_1")
      answer = function() return { output = { { text = "Cut short." } }, usage = { 10, 16 } } end
      assert(converse("run_1", nil, { most_tokens = 4 }))
      assert.is_true(notes.open)
      answer = function() return { output = { { text = "Four." } }, usage = { 10, 4 } } end
      assert(converse("run_2", nil, { most_tokens = 4 }))
      assert.is_nil(notes.open)
    end)

    it("begins anew where nobody knows what became of an answer", function()
      add("user", "msg_1")
      answer = function() return { refused = { status = 500, message = "Oh." } } end
      assert.is_nil((converse("run_1")))
      answer = function() return "Well." end
      assert(converse("run_2"))
      assert_anew(1)
    end)

    for _, status in ipairs({ 400, 429 }) do
      it("stays where a request was refused by " .. status, function()
        add("user", "msg_1")
        answer = function() return { refused = { status = status, message = "No." } } end
        assert.is_nil((converse("run_1")))
        answer = function() return "Well." end
        assert(converse("run_2"))
        assert.same({ { 1, 1 }, 1 }, { sent(), conversations() })
      end)
    end

    describe("that may be asked once more", function()
      local patient

      before_each(function()
        patient = assert(nexus.new({ nexus = false, openai = { api_key = "sk-x", base_url = endpoint.url,
          retries = 2 } }))
        model = model_with({ history = "conversation", api = patient.transport })
        add("user", "msg_1")
      end)

      after_each(function() patient:close(0) end)

      local function converse_patiently(run_id, context)
        local given = context_with(context)
        given.thread = notes
        local run = run_with()
        run.id = run_id
        return endpoint:run(patient, function() return model:think(messages, run.tools, run, given) end)
      end

      it("goes into a new one where an answer was lost, and never twice into one", function()
        endpoint.lost = 2
        local answered = assert(converse_patiently("run_1"))
        assert.same({ "Answer to 1", 3 }, { answered.text, answered.attempts })
        assert.same({ { 0.5, 1 }, 3 }, { slept, conversations() })
        for _, conversation in pairs(endpoint.conversations) do assert.equal(2, #conversation.items) end
        add("assistant", "reply", "run_1")
        add("user", "msg_2")
        assert.equal("Answer to 3", assert(converse_patiently("run_2")).text)
      end)

      it("goes into a new one where an answer to its stream was lost", function()
        endpoint.lost = 1
        local told, streaming = listener()
        assert(converse_patiently("run_1", streaming))
        assert.same({ "Answer to 1", 2 }, { table.concat(told), conversations() })
      end)

      it("goes into a new one where items may be there twice", function()
        for index = 2, 45 do add("user", "msg_" .. index) end
        endpoint.lost, endpoint.lossy = 1, "/items$"
        assert.equal("Answer to 45", assert(converse_patiently("run_1")).text)
      end)

      it("stays where it was refused", function()
        local refusals = 1
        answer = function()
          refusals = refusals - 1
          return refusals < 0 and "Well." or { refused = { status = 429, message = "Slow down." } }
        end
        assert.equal("Well.", assert(converse_patiently("run_1")).text)
        assert.same({ { 1, 1 }, 1 }, { sent(), conversations() })
      end)

      it("is given up in the end", function()
        endpoint.lost = 3
        local told, err = converse_patiently("run_1")
        assert.same({ nil, "No answer in time.", 3 }, { told, err.message, #endpoint:asked("/responses") })
        endpoint.lost = 1
        told = converse_patiently("run_2", { seconds = 0.4 })
        assert.same({ nil, 4 }, { told, #endpoint:asked("/responses") })
        endpoint.lost = 1
        told = converse_patiently("run_3", { sleep = function() return nil, { message = "cancelled" } end })
        assert.same({ nil, 5 }, { told, #endpoint:asked("/responses") })
      end)
    end)

    it("may be in the background", function()
      model = model_with({ history = "conversation", background = true })
      add("user", "msg_1")
      assert.equal("Answer to 1", assert(converse("run_1")).text)
      assert.is_true(endpoint:asked("/responses")[1].background)
      assert.same({ 0.25, 0.5 }, slept)
    end)

    it("begins anew where it is gone", function()
      add("user", "msg_1")
      assert(converse("run_1"))
      endpoint.conversations = {}
      add("user", "msg_2")
      assert.equal("Answer to 3", assert(converse("run_2")).text)
      assert_anew(3)
    end)

    it("doesn't take a model that isn't there for that", function()
      add("user", "msg_1")
      answer = function() return { refused = { status = 404, message = "The model 'm' does not exist",
        code = "model_not_found" } } end
      local told, err = converse("run_1")
      assert.same({ nil, "The model 'm' does not exist", 1 }, { told, err.message, conversations() })
    end)

    it("isn't used by runs that forget", function()
      add("user", "msg_1")
      assert(converse("run_1"))
      add("user", "msg_2")
      assert(converse("run_2", { truncation_strategy = { type = "last_messages", last_messages = 5 } }))
      assert(converse("run_3", { max_prompt_tokens = 1000 }))
      local bodies = endpoint:asked("/responses")
      assert.same({ nil, false, false }, { bodies[2].conversation, bodies[2].store, bodies[3].store })
      assert(converse("run_4"))
      assert.same({ 1, 3, 4, 3 }, sent())
      assert.equal(1, conversations())
    end)

    it("takes long threads in pieces", function()
      for index = 1, 65 do add("user", "msg_" .. index) end
      assert.equal("Answer to 65", assert(converse("run_1")).text)
      local made = endpoint:asked("/conversations")[1]
      local added = endpoint:asked("/conversations/conv_1/items")
      assert.same({ 20, 20, 5, 20 }, { #made.items, #added[1].items, #added[2].items, sent()[1] })
      for index = 1, 21 do add("user", "more_" .. index) end
      assert.equal("Answer to 87", assert(converse("run_2")).text)
      assert.same({ 1, 20 }, { #endpoint:asked("/conversations/conv_1/items")[3].items, sent()[2] })
      local texts = {}
      for index, item in ipairs(endpoint.conversations.conv_1.items) do texts[index] = item.content[1].text end
      local expected = {}
      for index, message in ipairs(messages) do
        expected[index] = message.content:find("^reply") and texts[index] or message.content
      end
      assert.same(expected, texts)
    end)

    it("begins anew where only some of what is new came there", function()
      for index = 1, 45 do add("user", "msg_" .. index) end
      answer = function() return { refused = { status = 429, message = "Slow down." } } end
      assert.is_nil((converse("run_1")))
      answer = function(items) return "Answer to " .. #items end
      assert.equal("Answer to 45", assert(converse("run_2")).text)
      assert.equal(2, conversations())
    end)

    it("says what is wrong where it can't be made or told", function()
      for index = 1, 41 do add("user", "msg_" .. index) end
      for _, path in ipairs({ "/conversations$", "/items$" }) do
        endpoint.forbidden = path
        local told, err = converse("run_1")
        assert.same({ nil, "Forbidden.", 0 }, { told, err.message, #endpoint:asked("/responses") })
      end
    end)

    it("waits where it is locked", function()
      add("user", "msg_1")
      endpoint.locked = 3
      assert.equal("Answer to 1", assert(converse("run_1")).text)
      assert.same({ 0.5, 1, 2 }, slept)
      local told, streaming = listener()
      endpoint.locked = 1
      assert(converse("run_2", nil, streaming))
      assert.equal("Answer to 2", table.concat(told))
    end)

    it("says so where it stays locked", function()
      add("user", "msg_1")
      endpoint.locked = math.huge
      local told, err = converse("run_1", nil, { seconds = 9 })
      assert.is_nil(told)
      assert.matches("Another process is currently operating", err.message)
      assert.same({ 0.5, 1, 2, 4 }, slept)
      now = 0
      told, err = converse("run_2", nil, { sleep = function() return nil, { message = "cancelled" } end })
      assert.same({ nil, "cancelled" }, { told, err.message })
    end)
  end)

  -- ------------------------------------------------------------------------------------------------------- in a client

  describe("of a client", function()
    local agent

    local function start(settings)
      local openai = { api_key = "sk-x", base_url = endpoint.url, retries = 0, model = "gpt-5" }
      for name, value in pairs(settings or {}) do openai[name] = value end
      agent = assert(nexus.new({ provider = "responses", store = "memory", nexus = false, openai = openai }))
    end

    after_each(function() agent:close(0) end)

    local function thread_with(text)
      return assert(agent.threads:create({ messages = { { role = "user", content = text } } })).id
    end

    for name, settings in pairs({ ["a local history"] = {}, ["conversations"] = { history = "conversation" },
      ["the background"] = { background = true } }) do
      it("runs with " .. name, function()
        answer = function(items)
          local last = items[#items]
          if last.type == "function_call_output" then return "It is " .. last.output .. "." end
          return { output = { { type = "reasoning", encrypted_content = "E" },
            { type = "function_call", name = "double", arguments = '{"n":4}' } } }
        end
        start(settings)
        local double = nexus.tool({ name = "double", call = function(arguments) return arguments.n * 2 end })
        local texts = endpoint:run(agent, function()
          local thread = thread_with("Twice four?")
          local run = assert(agent.threads.runs:create_and_poll(thread, { assistant_id = "asst_local",
            tools = { double } }))
          assert(agent.threads.messages:create(thread, { role = "user", content = "Again?" }))
          local stream = assert(agent.threads.runs:stream(thread, { assistant_id = "asst_local", tools = { double } }))
          assert(stream:result())
          return { run:text(), stream:messages()[1].content[1].text.value }
        end)
        assert.same({ "It is 8.", "It is 8." }, texts)
      end)
    end

    it("completes a run that a tool of the API's answered", function()
      answer = function() return { output = { { type = "image_generation_call", id = "ig_1", status = "completed",
        result = "AAAA" } } } end
      start()
      local run, step = endpoint:run(agent, function()
        local made = assert(agent.threads.runs:create_and_poll(thread_with("A picture?"), {
          assistant_id = "asst_local", tools = { { type = "image_generation" } } }))
        return made, assert(agent.threads.runs.steps:list(made.thread_id, made.id)).data[1]
      end)
      assert.same({ "completed", "AAAA" },
        { run.status, step.step_details.tool_calls[1].image_generation.result })
    end)

    it("refuses a run for a tool it hasn't, before it is made", function()
      start()
      local err = endpoint:run(agent, function()
        return select(2, agent.threads.runs:create(thread_with("?"), { assistant_id = "asst_local",
          tools = { { type = "computer" } } }))
      end)
      assert.equal(400, err.status)
      assert.same({}, endpoint.requests)
    end)

    it("cancels at the API what a run that is cancelled waits for", function()
      answer = function() return { output = {}, polls = math.huge } end
      start({ background = true })
      local status = endpoint:run(agent, function()
        local thread = thread_with("?")
        local run = assert(agent.threads.runs:create(thread, { assistant_id = "asst_local" }))
        repeat agent:sleep(0.01) until #endpoint:asked("/responses/resp_%d+") > 0
        assert(agent.threads.runs:cancel(thread, run.id))
        repeat agent:sleep(0.01) until #endpoint:asked("/responses/resp_%d+/cancel") > 0
        return assert(agent.threads.runs:retrieve(thread, run.id)).status
      end)
      assert.equal("cancelled", status)
    end)
  end)

  it("is answered for specs by objects with the fields that were recorded", function()
    local lacking = openapi.lacks()
    if lacking then pending(lacking) return end
    local function fields_of(object)
      local names = {}
      for name in pairs(object) do names[#names + 1] = name end
      table.sort(names)
      return names
    end
    local recorded = json.decode(replay.exchanges("openai-dotnet/ResponsesTests.FunctionCallWorks.json")[1].body)
    answer = function() return { output = { { type = "function_call", name = "f", arguments = "{}" } } } end
    local made = endpoint:run(client, function()
      return assert(client.transport:perform(operations["responses.create"], { path = {}, body = { model = "m",
        input = "?" } }))
    end)
    assert.same(fields_of(recorded), fields_of(made))
    assert.same(fields_of(recorded.output[1]), fields_of(made.output[1]))
    assert.same(fields_of(recorded.usage), fields_of(made.usage))
  end)
end)
