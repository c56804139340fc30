-- The runtime in a client's own process: what `provider = "script"` does that the Assistants API's would.
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local servers = require("spec.support.server")

local WEATHER = { name = "get_weather", call = function() return { celsius = 18 } end }

local function ask_for_weather(messages)
  local last = messages[#messages] or {}
  if last.role == "tool" then return "It is " .. last.content end
  return { { name = "get_weather", arguments = { city = "Paris" } } }
end

describe("the runtime in a client", function()
  local server, client

  setup(function() server = servers.start({ kind = "serve" }) end)
  teardown(function() server:stop() end)

  local function new(options)
    local given = { provider = "script", script = ask_for_weather, agent_id = "local",
      nexus = { base_url = server.nexus_url, api_key = "nxs_x", flush_interval = 60 } }
    for name, value in pairs(options or {}) do given[name] = value end
    client = assert(nexus.new(given))
    return client
  end

  after_each(function() if client then client:close(1) end end)

  local function run_traced(options)
    new(options)
    local text = assert(client:trace({ name = "weather" }, function()
      local thread = assert(client.threads:create())
      assert(client.threads.messages:create(thread.id, { role = "user", content = "How warm is it?" }))
      local run = assert(client.threads.runs:create_and_poll(thread.id, { tools = { nexus.tool(WEATHER) } }))
      return run:text()
    end))
    assert.is_true(client:close(5))
    return text, server:traces()[1]
  end

  local function span_named(trace, name, number)
    for _, span in ipairs(trace.spans) do
      if span.name == name then
        number = (number or 1) - 1
        if number == 0 then return span end
      end
    end
  end

  it("needs no key, no network, and waits for no interval", function()
    local started = os.clock()
    assert.equal("It is {\"celsius\":18}", (run_traced()))
    assert.is_true(os.clock() - started < 1)
  end)

  it("does nothing more once it is closed, as a client of an API's, and counts what isn't traced", function()
    new()
    client:close(1)
    local thread, err = client.threads:create()
    assert.same({ nil, "closed" }, { thread, err.kind })
    assert.equal(7, client:trace({ name = "late" }, function() return 7 end))
    assert.same({ 0, 1 }, { client:stats().traces_started, client:stats().traces_dropped })
  end)

  it("traces each question to the model below the span of its run", function()
    local _, trace = run_traced()
    local run_span = span_named(trace, "threads.runs.createAndPoll")
    local first, second = span_named(trace, "chat local"), span_named(trace, "chat local", 2)
    assert.equal(run_span.id, first.parent_span_id)
    assert.equal(run_span.id, second.parent_span_id)
    assert.equal("llm", first.input.type)
    assert.equal("How warm is it?", first.input.input.messages[1].content)
    assert.same({ "get_weather" }, first.input.input.tools)
    assert.equal("get_weather", first.output.tool_calls[1].name)
    assert.equal("It is {\"celsius\":18}", second.output.text)
    assert.is_nil(span_named(trace, "chat local", 3))
  end)

  -- A model that makes a thread before it answers.
  local function make_thread(messages)
    coroutine.yield(0.001)
    assert(client.threads:create())
    return messages[1].content
  end

  local ASKED = { thread = { messages = { { role = "user", content = "x" } } } }

  it("traces what the model itself calls below the question", function()
    new({ script = make_thread })
    assert(client:trace({ name = "nested" }, function() return client.threads:create_and_run_poll(ASKED) end))
    client:close(5)
    local trace = server:traces()[1]
    assert.equal(span_named(trace, "chat local").id, span_named(trace, "thread.create").parent_span_id)
  end)

  it("doesn't trace what a model calls in a run that isn't traced, though a trace is open where others wait", function()
    new({ script = make_thread })
    local run = assert(client.threads:create_and_run(ASKED))
    client:trace({ name = "others" }, function()
      repeat client:sleep(0.001) until client.threads.runs:retrieve(run.thread_id, run.id).status == "completed"
    end)
    client:close(5)
    assert.is_nil(span_named(server:traces()[1], "thread.create"))
  end)

  it("lets a trace end before the model has answered", function()
    new({ script = make_thread })
    local run
    client:trace({ name = "short" }, function()
      run = assert(client.threads:create_and_run(ASKED))
      client:update()
    end)
    repeat client:sleep(0.001) until client.threads.runs:retrieve(run.thread_id, run.id).status == "completed"
    assert.is_true(client:close(5))
    assert.is_nil(span_named(server:traces()[1], "thread.create"))
  end)

  it("leaves no store open where a client can't be made", function()
    local path = os.tmpname()
    os.remove(path)
    local made, err = nexus.new({ provider = "script", store = path, nexus = { base_url = "x", api_key = "nxs_x" } })
    assert.is_nil(made)
    assert.equal("configuration", err.kind)
    assert.is_nil(io.open(path))
  end)

  it("shows the message behind the answer that it is", function()
    local _, trace = run_traced()
    local step, answer = span_named(trace, "step.message_creation"), span_named(trace, "chat local", 2)
    assert.is_true(step.started_at >= answer.ended_at)
  end)

  it("tells on the span what was used, where the model says so", function()
    local _, trace = run_traced({ script = function()
      return { text = "Good day.", usage = { prompt_tokens = 5, completion_tokens = 2 } }
    end })
    local usage = span_named(trace, "chat local").output.usage
    assert.same({ prompt_tokens = 5, completion_tokens = 2, total_tokens = 7 }, usage)
  end)

  it("tells on the span what went wrong with the model, and in the run's error", function()
    new({ script = function() return nil, { code = "rate_limit_exceeded", message = "slow down" } end })
    local _, err = client:trace({ name = "failing" }, function()
      return client.threads:create_and_run_poll({ thread = { messages = { { role = "user", content = "x" } } } })
    end)
    assert.equal("run", err.kind)
    assert.equal("rate_limit_exceeded", err.code)
    client:close(5)
    assert.equal("slow down", span_named(server:traces()[1], "chat local").error)
  end)

  it("calls the model what openai.model says, and has asst_local as its assistant", function()
    new({ openai = { model = "small-1" } })
    local run = assert(client.threads:create_and_run_poll({ tools = { nexus.tool(WEATHER) } }))
    assert.equal("small-1", run.model)
    assert.equal("asst_local", run.assistant_id)
    assert.equal("small-1", client.assistants:retrieve("asst_local").model)
  end)

  it("refuses what only an API has, in words", function()
    new()
    local result, err = client.responses:create({ model = "x", input = "y" })
    assert.is_nil(result)
    assert.equal("invalid", err.kind)
    assert.equal("the model here is a script: there is no API behind it that could be asked", err.message)
  end)

  it("goes on with other runs while one waits, and within the budget of a frame", function()
    new({ script = function()
      coroutine.yield(0.05)
      return "done"
    end })
    local tasks = {}
    for index = 1, 20 do
      tasks[index] = client:task(function() return client.threads:create_and_run_poll({}) end)
    end
    local frames = 0
    repeat
      client:update(1)
      client:sleep(0.001)
      frames = frames + 1
    until tasks[20]:done()
    for _, task in ipairs(tasks) do assert.equal("completed", task:wait().status) end
    assert.is_true(frames > 1)
  end)

  it("lets a model that waits end what it began elsewhere, and says in the run why that failed", function()
    local abandoned
    new()
    local runtime = client.runtime
    runtime.machine.model = { name = "waiting", waits = true,
      think = function(_, _, _, _, context)
        context.state.response_id = "resp_1"
        return context.sleep(1000)
      end,
      abandon = function(_, _, state) abandoned = state.response_id end,
    }
    local run = assert(client.threads:create_and_run({}))
    repeat client:update() until runtime.store:get("runs", run.thread_id, run.id).status == "in_progress"
    client:update()
    client:close(5)
    assert.equal("resp_1", abandoned)
    local left = runtime.store:get("runs", run.thread_id, run.id)
    assert.same({ "failed", "The client that this run was in progress in was closed." },
      { left.status, left.last_error.message })
  end)

  it("has no more than ten models wait on top of each other for what they ask of the client", function()
    local waiting, most = 0, 0
    new({ script = function(messages)
      if messages[1] then return "deep" end
      coroutine.yield(0.01)
      waiting = waiting + 1
      most = math.max(most, waiting)
      client:sleep(0.001)
      local within = { thread = { messages = { { role = "user", content = "within" } } } }
      local run = assert(client.threads:create_and_run_poll(within))
      waiting = waiting - 1
      return run:text()
    end })
    local tasks = {}
    for index = 1, 30 do tasks[index] = client:task(function() return client.threads:create_and_run_poll({}) end) end
    for _, task in ipairs(tasks) do assert.equal("deep", assert(client:wait(task)):text()) end
    assert.equal(10, most)
  end)

  it("asks a store that fails once, when it ends", function()
    new({ script = function() coroutine.yield(1000) end })
    for _ = 1, 3 do assert(client.threads:create_and_run({})) end
    client:update()
    local asked = 0
    client.runtime.store.atomically = function()
      asked = asked + 1
      error("the disk is full", 0)
    end
    client:close(0)
    assert.equal(1, asked)
  end)

  it("moves on no more runs in an update than the budget allows, whatever tasks ask for meanwhile", function()
    local asked = 0
    new({ script = function()
      asked = asked + 1
      return "done"
    end })
    client:task(function()
      for _ = 1, 30 do assert(client.threads:create_and_run({})) end
      for _ = 1, 30 do assert(client.threads:create()) end
    end)
    repeat client:update(0) until client:stats().tasks == 0
    assert.is_true(asked <= 1)
  end)

  it("ends runs that are under way with the client", function()
    new({ script = function() coroutine.yield(1000) end })
    local run = assert(client.threads:create_and_run({}))
    local runtime = client.runtime
    client:close(0)
    local left = runtime.store:get("runs", run.thread_id, run.id)
    assert.equal("failed", left.status)
    assert.matches("was closed", left.last_error.message)
    assert.equal(json.null, left.expires_at)
  end)
end)

describe("tools that the protocol never knew", function()
  local responses_server = require("spec.support.responses_server")
  local tools = { { type = "web_search", search_context_size = "low" } }

  it("are had from Responses, and what they did is a step", function()
    local endpoint = responses_server.new({ answer = function()
      return { output = {
        { type = "web_search_call", id = "ws_1", status = "completed", action = { type = "search", query = "Oslo" } },
        { text = "It snows." },
      } }
    end })
    local client = assert(nexus.new({ provider = "responses", store = "memory", nexus = false,
      openai = { base_url = endpoint.url, api_key = "sk-x", model = "small-0" } }))
    local run, steps, text = endpoint:run(client, function()
      local made = assert(client.threads:create_and_run_poll({
        thread = { messages = { { role = "user", content = "How is Oslo?" } } }, tools = tools,
        tool_choice = { type = "web_search" } }))
      return made, made:steps(), made:text()
    end)
    client:close(0)
    endpoint:close()
    assert.equal("completed", run.status)
    assert.equal("It snows.", text)
    assert.same(json.array({ { id = "ws_1", type = "web_search",
      web_search = { action = { type = "search", query = "Oslo" } } } }), steps[1].step_details.tool_calls)
    assert.same(tools, endpoint.requests[1].body.tools)
    assert.same({ type = "web_search" }, endpoint.requests[1].body.tool_choice)
  end)

  it("are refused elsewhere", function()
    local client = assert(nexus.new({ provider = "script", nexus = false }))
    local _, err = client.threads:create_and_run({ tools = tools })
    client:close(0)
    assert.same({ 400, "tools[0].type" }, { err.status, err.param })
  end)
end)

-- The API with the files is the local server here, which has files and vector stores, and no Responses.
describe("files, where threads are kept elsewhere", function()
  local api, server, clients

  setup(function()
    api = servers.start()
    server = servers.start({ environment = { OPENAI_API_KEY = "sk-x" },
      arguments = { "--model", "responses", "--base-url", api.openai_url, "--store", "memory" } })
  end)

  teardown(function()
    server:stop()
    api:stop()
  end)

  before_each(function() clients = {} end)

  after_each(function()
    for _, client in ipairs(clients) do client:close(0) end
  end)

  local function new(options)
    local client = assert(nexus.new(options))
    clients[#clients + 1] = client
    return client
  end

  local function openai_at(place) return { base_url = place.openai_url, api_key = "sk-x" } end

  -- The client that is looked at, and one of the API behind it.
  local WAYS = {
    ["with provider responses"] = function()
      return new({ provider = "responses", store = "memory", nexus = false, openai = openai_at(api) })
    end,
    ["through a server with that model"] = function() return new({ nexus = false, openai = openai_at(server) }) end,
  }

  for way, make in pairs(WAYS) do
    describe(way, function()
      it("go to the API and come from there", function()
        local client, behind = make(), new({ nexus = false, openai = openai_at(api) })
        local file = assert(client.files:create({ file = { data = "Rome is warm.", name = "rome.txt" },
          purpose = "assistants" }))
        assert.equal("rome.txt", assert(behind.files:retrieve(file.id)).filename)
        assert.equal("Rome is warm.", client.files:content(file.id))
        local _, err = client.files:retrieve("file-none")
        assert.same({ "not_found", 404 }, { err.kind, err.status })
      end)

      it("are what threads search that describe a store, or have files attached", function()
        local client, behind = make(), new({ nexus = false, openai = openai_at(api) })
        local function upload(name)
          return assert(client.files:create({ file = { data = name .. " is warm.", name = name .. ".txt" },
            purpose = "assistants" })).id
        end
        local thread = assert(client.threads:create({ tool_resources = { file_search = {
          vector_stores = { { file_ids = { upload("rome") } } } } } }))
        local store_id = thread.tool_resources.file_search.vector_store_ids[1]
        assert(client.threads.messages:create(thread.id, { role = "user", content = "x", attachments = {
          { file_id = upload("oslo"), tools = { { type = "file_search" } } } } }))
        local names = {}
        for item in behind.vector_stores.files:each(store_id, { order = "asc" }) do
          names[#names + 1] = assert(behind.files:retrieve(item.id)).filename
        end
        table.sort(names)
        assert.same({ "oslo.txt", "rome.txt" }, names)
      end)
    end)
  end

  it("aren't to be had from an endpoint for chats, and the error says so", function()
    local client = new({ provider = "chat", store = "memory", nexus = false, openai = openai_at(api) })
    for _, call in ipairs({
      function() return client.files:list() end,
      function() return client.vector_stores:create({}) end,
      function() return client.threads:create({ tool_resources = { file_search = { vector_stores = { {} } } } }) end,
    }) do
      local result, err = call()
      assert.is_nil(result)
      assert.same({ "invalid", "there are no files and vector stores here: " .. api.openai_url
        .. " is an endpoint for chats" }, { err.kind, err.message })
    end
  end)
end)
