-- Streams as an API sends them: `client.responses:stream`, `client.chat.completions:stream`.
local chat_server = require("spec.support.chat_server")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local responses_server = require("spec.support.responses_server")
local servers = require("spec.support.server")

local NEEDS_CLOSE = _VERSION == "Lua 5.4"

describe("streams of events", function()
  local collector, endpoint, chat, client, answer, counter
  counter = 0

  setup(function() collector = servers.start({ kind = "serve" }) end)
  teardown(function() collector:stop() end)

  local function new_client(url)
    return assert(nexus.new({ agent_id = "streamer-" .. counter, on_warning = function() end,
      openai = { api_key = "sk-secret", base_url = url, retries = 0 },
      nexus = { api_key = "nxs_x", base_url = collector.nexus_url, flush_interval = 60 } }))
  end

  before_each(function()
    counter = counter + 1
    answer = function() return "One two." end
    endpoint = responses_server.new({ answer = function(items, body) return answer(items, body) end })
    chat = chat_server.new({ answer = function() return { text = "One two." } end })
    client = new_client(endpoint.url)
  end)

  after_each(function()
    client:close(0)
    endpoint:close()
    chat:close()
  end)

  local BODY = { model = "gpt-5", input = "Count.", tools = { { type = "mcp", authorization = "its-secret" } } }

  -- Runs in a task, in a trace.
  local function traced(fn)
    return endpoint:run(client, function()
      return client:trace({ name = "stream" }, fn)
    end)
  end

  -- The only span of this spec's trace, once it is delivered.
  local function delivered_span()
    assert.is_true(client:close(5))
    for _, trace in ipairs(collector:traces()) do
      if trace.agent_name == "streamer-" .. counter then
        assert.equal(1, #trace.spans)
        assert.is_string(trace.spans[1].input.span_id)
        trace.spans[1].input.span_id = nil -- another each time
        return trace.spans[1]
      end
    end
    error("no trace came")
  end

  -- What ends a stream that goes wrong.
  local function failure_of(stream)
    while true do
      local name, err = stream:next()
      if name == nil then return err end
    end
  end

  local function read_all(stream)
    local names, last = {}, nil
    for name, event in stream:each() do names[#names + 1], last = name, event end
    return names, last
  end

  it("give the API's events by name, and end", function()
    local names, last = endpoint:run(client, function()
      return read_all(assert(client.responses:stream(BODY)))
    end)
    assert.same({ "response.created", "response.in_progress", "response.output_item.added",
      "response.content_part.added", "response.output_text.delta", "response.output_text.delta",
      "response.output_text.done", "response.content_part.done", "response.output_item.done",
      "response.completed" }, names)
    assert.equal("completed", last.response.status)
    assert.is_true(endpoint.requests[1].body.stream)
    assert.is_nil(BODY.stream)
  end)

  it("are read outside of tasks, too", function()
    local process = responses_server.start(servers.root .. "spec/support/told_responses.lua")
    finally(function() process:stop() end)
    local blocking = new_client(process.url)
    local stream = assert(blocking.responses:stream({ model = "m", input = json.encode({ "One two." }) }))
    local texts = {}
    for name, event in stream:each() do
      if name == "response.output_text.delta" then texts[#texts + 1] = event.delta end
    end
    blocking:close(0)
    assert.equal("One two.", table.concat(texts))
  end)

  it("stay at their end", function()
    endpoint:run(client, function()
      local stream = assert(client.responses:stream(BODY))
      read_all(stream)
      assert.is_nil((stream:next()))
      stream:close()
    end)
  end)

  it("are one span, with what they came to", function()
    traced(function() read_all(assert(client.responses:stream(BODY))) end)
    local span = delivered_span()
    assert.same({ "responses.create", "ok" }, { span.name, span.status })
    assert.same({ type = "llm", input = { model = "gpt-5", input = "Count." }, metadata = { responseId = "resp_2" } },
      span.input)
    assert.same({ "completed", "gpt-5-2025-04-14", "One two.", 10 }, { span.output.status, span.output.model,
      span.output.text, span.output.usage.input_tokens })
  end)

  it("of chat completions are one span, too", function()
    client:close(0)
    client = new_client(chat.url)
    chat:run(client, function()
      client:trace({ name = "stream" }, function()
        read_all(assert(client.chat.completions:stream({ model = "m", stream_options = { include_usage = true },
          messages = { { role = "user", content = "Count." } } })))
      end)
    end)
    local span = delivered_span()
    assert.equal("chat", span.name)
    assert.same({ type = "llm", input = { model = "m", messages = { { role = "user", content = "Count." } } } },
      span.input)
    assert.same({ "stop", "One two.", 9 }, { span.output.status, span.output.text,
      span.output.usage.prompt_tokens })
  end)

  it("of several chat completions tell traces the first, with its calls", function()
    client:close(0)
    client = new_client(chat.url)
    local chunks = {}
    for index, choice in ipairs({ { 0, { content = "One" } }, { 1, { content = "Other" } },
      { 0, { content = " two." } }, { 0, { content = json.null, refusal = " No." } },
      { 0, { tool_calls = { { index = 0, id = "c", ["function"] = { name = "f", arguments = '{"a":' } } } } },
      { 0, { tool_calls = { { index = 0, ["function"] = { arguments = "1}" } } } } }, { 1, {}, "length" },
      { 0, {}, "tool_calls" } }) do
      chunks[index] = "data: " .. assert(json.encode({ choices = { { index = choice[1], delta = choice[2],
        finish_reason = choice[3] } } })) .. "\n\n"
    end
    chat.answer = function() return { stream = table.concat(chunks) .. "data: [DONE]\n\n" } end
    chat:run(client, function()
      client:trace({ name = "stream" }, function()
        read_all(assert(client.chat.completions:stream({ model = "m", n = 2,
          messages = { { role = "user", content = "Count." } } })))
      end)
    end)
    assert.same({ status = "tool_calls", text = "One two. No.", tool_calls = { { name = "f",
      arguments = '{"a":1}' } } }, delivered_span().output)
  end)

  it("tell of what was refused, broke off or went wrong, and the span too", function()
    for message, said in pairs({
      ["Slow down."] = { refused = { status = 429, message = "Slow down.", code = "rate_limit_exceeded" } },
      ["Oh."] = { output = { { text = "x" } }, error_event = { code = "server_error", message = "Oh." } },
    }) do
      answer = function() return said end
      endpoint:run(client, function()
        assert.equal(message, failure_of(assert(client.responses:stream(BODY))).message)
        local ok, raised = pcall(read_all, assert(client.responses:stream(BODY)))
        assert.same({ false, message }, { ok, raised.message })
      end)
    end
    answer = function() return { output = { { text = "x" } }, breaks_off = 3 } end
    traced(function()
      assert.equal("connection", failure_of(assert(client.responses:stream(BODY))).kind)
    end)
    assert.equal("error", delivered_span().status)
  end)

  it("tell what a server says that doesn't stream", function()
    client:close(0)
    client = new_client(chat.url)
    chat.answer = function() return { json = { id = "c", object = "chat.completion", model = "m",
      choices = { { index = 0, finish_reason = "stop", message = { role = "assistant", content = "Whole." } } } } } end
    local names = chat:run(client, function()
      return client:trace({ name = "stream" }, function()
        return (read_all(assert(client.chat.completions:stream({ model = "m",
          messages = { { role = "user", content = "Count." } } }))))
      end)
    end)
    assert.same({ "chat.completion" }, names)
    assert.equal("Whole.", delivered_span().output.text)
  end)

  it("can be left", function()
    answer = function() return { output = { { text = "One two." } }, breaks_off = 6, stays_open = true } end
    traced(function()
      local stream = assert(client.responses:stream(BODY))
      assert.equal("response.created", (stream:next()))
      stream:close()
      assert.is_nil((stream:next()))
    end)
    local span = delivered_span()
    assert.same({ "ok", "in_progress" }, { span.status, span.output.status })
  end)

  it("are closed by a loop that is left", function()
    if not NEEDS_CLOSE then pending("loops close nothing before Lua 5.4") return end
    answer = function() return { output = { { text = "One two." } }, breaks_off = 6, stays_open = true } end
    endpoint:run(client, function()
      local stream = assert(client.responses:stream(BODY))
      for _ in stream:each() do break end -- luacheck: ignore 512
      assert.is_nil((stream:next()))
    end)
    assert.is_nil(next(client.open_streams))
  end)

  it("end with the client, and with their last reference", function()
    answer = function() return { output = { { text = "One two." } }, breaks_off = 6, stays_open = true } end
    traced(function()
      local stream = assert(client.responses:stream(BODY))
      stream:next()
      stream = nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
    end)
    assert.is_nil(next(client.open_streams))
    local stream
    endpoint:run(client, function() stream = assert(client.responses:stream(BODY)) end)
    local span = delivered_span()
    assert.equal("error", span.status)
    assert.same({ nil, nil }, { stream:next() })
  end)

  it("end with a task that is cancelled", function()
    answer = function() return { output = { { text = "One two." } }, breaks_off = 6, stays_open = true } end
    local has_begun
    local task = client:task(function()
      local stream = assert(client.responses:stream(BODY))
      has_begun = stream:next() ~= nil
      return failure_of(stream)
    end)
    endpoint:run(client, function()
      repeat client:sleep(0.01) until has_begun
      task:cancel()
    end)
    assert.equal("cancelled", client:wait(task).kind)
  end)

  it("leave others their turn, however much is there at once", function()
    client:close(0)
    client = new_client(chat.url)
    local piece, over, taken, most = 'data: {"choices": []}\n\n', false, 0, 0
    chat.answer = function() return { stream = piece:rep(500) .. "data: [DONE]\n\n" } end
    client:task(function()
      repeat
        taken = 0
        client.scheduler:breathe()
      until over
    end)
    chat:run(client, function()
      local stream = assert(client.chat.completions:stream({ model = "m",
        messages = { { role = "user", content = "?" } } }))
      while stream:next() do
        taken = taken + 1
        most = math.max(most, taken)
      end
      over = true
    end)
    assert.is_true(most > 1 and most <= 16, most .. " events were taken at once")
  end)

  it("are read by one at a time", function()
    answer = function() return { output = { { text = "One two." } }, breaks_off = 6, stays_open = true } end
    endpoint:run(client, function()
      local stream = assert(client.responses:stream(BODY))
      local reader = client:task(failure_of, stream)
      client:sleep(0.05)
      local name, err = stream:next()
      assert.same({ nil, "conflict" }, { name, err.kind })
      stream:close()
      reader:wait()
    end)
  end)

  it("aren't begun where the body can't be written", function()
    local stream, err = client.responses:stream({ model = "m", input = print })
    assert.same({ nil, "invalid", "input is a function, which JSON can't hold" }, { stream, err.kind, err.message })
    assert.is_nil(next(client.open_streams))
  end)

  for message, misuse in pairs({
    ["responses:create: params.stream can't be true: use responses:stream"] =
      function() client.responses:create({ model = "m", stream = true }) end,
    ["chat.completions:create: params.stream can't be true: use chat.completions:stream"] =
      function() client.chat.completions:create({ model = "m", stream = true }) end,
    ["responses:stream: params must be a table, got nil"] = function() client.responses:stream() end,
    ["responses:stream: unknown option 'timeuot' (did you mean 'timeout'?)"] =
      function() client.responses:stream({}, { timeuot = 1 }) end,
    ["responses:stream: call it with a colon"] = function() client.responses.stream({}) end,
  }) do
    it("refuse misuse at the caller's line: " .. message, function()
      local ok, problem = pcall(misuse)
      assert.is_false(ok)
      assert.matches("event_streams_spec%.lua:%d+: " .. message:gsub("%p", "%%%0") .. "$", problem)
    end)
  end

  it("leave `stream = false` what it always was", function()
    local response = endpoint:run(client, function()
      return assert(client.responses:create({ model = "m", input = "?", stream = false }))
    end)
    assert.equal("completed", response.status)
  end)

  it("leave alone an error that `create` is told with a good status", function()
    client:close(0)
    client = new_client(chat.url)
    chat.answer = function() return { json = { error = { message = "Slow down.", code = "rate_limit_exceeded" } } } end
    local completion, err = chat:run(client, function()
      return client.chat.completions:create({ model = "m", messages = { { role = "user", content = "?" } } })
    end)
    assert.same({ nil, "rate_limit", "Slow down." }, { completion, err.kind, err.message })
  end)

  it("leave alone what `create` fails by", function()
    answer = function() return { refused = { status = 429, message = "Slow down." } } end
    local response, err = endpoint:run(client, function() return client.responses:create(BODY) end)
    assert.same({ nil, "Slow down." }, { response, err.message })
  end)
end)

describe("operations of the APIs behind models", function()
  local collector, endpoint, client

  setup(function() collector = servers.start({ kind = "serve" }) end)
  teardown(function() collector:stop() end)

  it("tell traces what matters, never what may be secret", function()
    endpoint = responses_server.new({ answer = function()
      return { output = { { text = "Hm." }, { type = "function_call", name = "f", arguments = "{}" } } }
    end })
    finally(function() endpoint:close() end)
    client = assert(nexus.new({ agent_id = "direct", openai = { api_key = "sk-x", base_url = endpoint.url },
      nexus = { api_key = "nxs_x", base_url = collector.nexus_url, flush_interval = 60 } }))
    endpoint:run(client, function()
      client:trace({ name = "direct" }, function()
        local conversation = assert(client.conversations:create({ metadata = { a = "1" } }))
        assert(client.conversations.items:create(conversation.id, { items = { { type = "message", role = "user",
          content = { { type = "input_text", text = "Hello." } } } } }))
        assert.equal(1, #assert(client.conversations.items:list(conversation.id)).data)
        local response = assert(client.responses:create({ model = "m", conversation = conversation.id,
          tools = { { type = "mcp", server_url = "https://e.org", authorization = "its-secret" } } }))
        assert(client.responses:retrieve(response.id))
        assert(client.responses:delete(response.id))
      end)
    end)
    assert.is_true(client:close(5))
    local trace = collector:traces()[1]
    local outputs = {}
    for _, span in ipairs(trace.spans) do outputs[span.name] = span.output end
    assert.same({ itemCount = 1 }, { itemCount = outputs["conversations.items.list"].itemCount })
    assert.same({ "completed", "Hm.", { { name = "f", arguments = "{}" } } }, { outputs["responses.create"].status,
      outputs["responses.create"].text, outputs["responses.create"].tool_calls })
    assert.equal("completed", outputs["responses.retrieve"].status)
    assert.is_nil(assert(json.encode(trace)):find("its-secret", 1, true))
  end)

  it("tell traces nothing of what an API's own tools come with", function()
    endpoint = responses_server.new({ answer = function() return "Hm." end })
    finally(function() endpoint:close() end)
    client = assert(nexus.new({ agent_id = "hosted", provider = "responses", store = "memory",
      openai = { api_key = "sk-x", base_url = endpoint.url, model = "m" },
      nexus = { api_key = "nxs_x", base_url = collector.nexus_url, flush_interval = 60 } }))
    local tools = { { type = "mcp", server_label = "a", server_url = "https://e.org", authorization = "its-secret" },
      { type = "function", ["function"] = { name = "f" } } }
    endpoint:run(client, function()
      client:trace({ name = "hosted" }, function()
        local assistant = assert(client.assistants:create({ model = "m", tools = tools }))
        local thread = assert(client.threads:create({ messages = { { role = "user", content = "?" } } }))
        assert(client.threads.runs:create(thread.id, { assistant_id = assistant.id, tools = tools }))
      end)
    end)
    assert.is_true(client:close(5))
    for _, trace in ipairs(collector:traces()) do
      assert.is_nil(assert(json.encode(trace)):find("its-secret", 1, true))
      if trace.agent_name == "hosted" then
        assert.same({ { type = "mcp" }, tools[2] }, trace.spans[1].input.tools)
      end
    end
  end)
end)
