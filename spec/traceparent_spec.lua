-- The host's trace, which goes on behind the API: what requests say that they are part of.
local chat_server = require("spec.support.chat_server")
local nexus = require("nexus_assistants")
local process = require("spec.support.process")
local responses_server = require("spec.support.responses_server")
local servers = require("spec.support.server")

local HOST = ("a"):rep(32)
local TRACEPARENT = "00-" .. HOST .. "-" .. ("b"):rep(16) .. "-00" -- not sampled there

local ID = "/%a+[_-]" .. ("%w"):rep(16) .. "%w*" -- of a path; no other part of one is as long without a dash

local spans, client

local function keep(batch)
  for _, record in ipairs(batch) do spans[record.name] = spans[record.name] or record.span_id end
end

local function open(given)
  local settings = { nexus = false, sinks = { keep }, traceparent = TRACEPARENT }
  for name, value in pairs(given) do settings[name] = value or nil end
  client = assert(nexus.new(settings))
end

before_each(function() spans = {} end)

after_each(function() client:close(0) end)

local function below(span_id)
  return "00-" .. HOST .. "-" .. assert(span_id) .. "-00"
end

describe("requests below a host's span", function()
  local server

  setup(function() server = servers.start({ kind = "fault", model_script = "examples/weather_model.lua" }) end)

  teardown(function() server:stop() end)

  before_each(function() server:clear_requests() end)

  local function at_server(given)
    given = given or {}
    given.openai = given.openai or {}
    given.openai.base_url, given.openai.api_key = server.openai_url, "sk-local"
    given.assistant_id, given.poll = "asst_local", { interval = 0 }
    open(given)
  end

  local function traced(fn, given)
    given = given or {}
    given.name = "weather"
    assert(client:trace(given, fn))
    client:close(2)
  end

  -- The headers of what was asked for, by "METHOD path"; paths without ids. All that are called the same have the same.
  local function told()
    local found = {}
    for _, request in ipairs(server:requests()) do
      local name = request.method .. " " .. request.path:gsub(ID, "")
      local header = request.headers.traceparent or false
      assert.is_true(found[name] == nil or found[name] == header, name)
      found[name] = header
    end
    assert.is_not_nil(next(found))
    return found
  end

  it("say which span they are of, those of runs in all their requests", function()
    local tool = nexus.tool({ name = "get_weather", call = function() return { celsius = 18 } end })
    at_server()
    traced(function()
      local thread = assert(client.threads:create())
      assert(client.threads.messages:create(thread.id, { role = "user", content = "What is the weather in Paris?" }))
      return assert(client.threads.runs:create_and_poll(thread.id, { tools = { tool } }))
    end)
    local run = below(spans["threads.runs.createAndPoll"])
    assert.same({
      ["POST /v1/threads"] = below(spans["thread.create"]),
      ["POST /v1/threads/messages"] = below(spans["thread.messages.create"]),
      ["POST /v1/threads/runs"] = run, ["GET /v1/threads/runs"] = run, ["GET /v1/threads/runs/steps"] = run,
      ["POST /v1/threads/runs/submit_tool_outputs"] = run,
    }, told())
  end)

  it("do so for streams and files", function()
    at_server()
    traced(function()
      local thread = assert(client.threads:create())
      local stream = assert(client.threads.runs:stream(thread.id))
      assert(stream:result())
      local file = assert(client.files:create({ file = { data = "text", name = "a.txt" }, purpose = "assistants" }))
      return assert(client.files:content(file.id))
    end)
    local found = told()
    assert.equal(below(spans["threads.runs.stream"]), found["POST /v1/threads/runs"])
    assert.equal(below(spans["files.create"]), found["POST /v1/files"])
    assert.equal(below(spans["files.content"]), found["GET /v1/files/content"])
  end)

  it("are of the span around them where they have none", function()
    at_server()
    traced(function(trace)
      return trace:span("around", function() return client.threads:create(nil, { trace = false }) end)
    end)
    assert.same({ ["POST /v1/threads"] = below(spans.around) }, told())
  end)

  it("are of a trace that says itself what it is below", function()
    open({ traceparent = false, openai = { base_url = server.openai_url, api_key = "sk-local" } })
    local other = "00-" .. ("c"):rep(32) .. "-" .. ("d"):rep(16) .. "-01"
    traced(function() return client.threads:create() end, { traceparent = other })
    assert.same({ ["POST /v1/threads"] = "00-" .. ("c"):rep(32) .. "-" .. spans["thread.create"] .. "-01" }, told())
  end)

  it("say nothing of a trace beside it that goes on from nobody's", function()
    open({ traceparent = false, openai = { base_url = server.openai_url, api_key = "sk-local" } })
    local function create_untraced() return client.threads:create(nil, { trace = false }) end
    assert(client:trace({ name = "continued", traceparent = TRACEPARENT }, function(trace)
      return trace:span("around", create_untraced)
    end))
    local continued = told()
    server:clear_requests()
    assert(client:trace({ name = "own" }, function(trace)
      assert(client.threads:create())
      return trace:span("within", create_untraced)
    end))
    client:close(2)
    assert.same({ ["POST /v1/threads"] = below(spans.around) }, continued)
    assert.same({ ["POST /v1/threads"] = false }, told())
  end)

  it("say what the caller wants them to", function()
    at_server({ openai = { headers = { TraceParent = "own" } } })
    traced(function() return client.threads:create() end)
    assert.same({ ["POST /v1/threads"] = "own" }, told())
    server:clear_requests()
    at_server()
    traced(function() return client.threads:create(nil, { headers = { Traceparent = "own" } }) end)
    assert.same({ ["POST /v1/threads"] = "own" }, told())
  end)

  it("say nothing where no host asked, or nothing is recorded", function()
    local function create() return client.threads:create() end
    open({ traceparent = false, openai = { base_url = server.openai_url, api_key = "sk-local" } })
    traced(create)
    assert.same({ ["POST /v1/threads"] = false }, told())
    server:clear_requests()
    at_server()
    assert(create())
    traced(create, { capture = "none" })
    assert.same({ ["POST /v1/threads"] = false }, told())
  end)

  it("are told by the environment, of a script that traces nothing", function()
    at_server()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "w"))
    file:write('assert(require("nexus_assistants").new({}).threads:create())')
    file:close()
    local result = process.run({ process.path("bin/nexus-assistants"), "run", path }, {
      TRACEPARENT = TRACEPARENT, OPENAI_BASE_URL = server.openai_url, OPENAI_API_KEY = "sk-local",
      NEXUS_BASE_URL = server.nexus_url, NEXUS_API_KEY = "nxs_local", NEXUS_ASSISTANTS_SPOOL = "off",
    })
    assert.same({ 0, "" }, { result.code, result.err })
    for _, request in ipairs(server:requests()) do
      local header = request.headers.traceparent
      if request.path == "/v1/threads" then assert.matches("^00%-" .. HOST .. "%-%x+%-00$", header) end
      if request.path:find("^/api") then assert.is_nil(header) end
    end
  end)
end)

describe("streams of models' APIs below a host's span", function()
  local endpoint

  after_each(function() endpoint:close() end)

  local function read(stream_of)
    open({ openai = { base_url = endpoint.url, api_key = "sk-local" } })
    endpoint:run(client, function()
      return client:trace({ name = "weather" }, function()
        for _ in assert(stream_of()):each() do end
      end)
    end)
    client:close(2)
    assert.equal(1, #endpoint.requests)
    return endpoint.requests[1].headers.traceparent
  end

  it("say which span they are of, by Responses", function()
    endpoint = responses_server.new({ answer = function() return "Hello." end })
    local said = read(function() return client.responses:stream({ model = "m", input = "Hi" }) end)
    assert.equal(below(spans["responses.create"]), said)
  end)

  it("say which span they are of, by chat", function()
    endpoint = chat_server.new({ answer = function() return { text = "Hello." } end })
    local said = read(function()
      return client.chat.completions:stream({ model = "m", messages = { { role = "user", content = "Hi" } } })
    end)
    assert.equal(below(spans["chat m"] or spans.chat), said)
  end)
end)

describe("questions to models below a host's span", function()
  local endpoint

  after_each(function() endpoint:close() end)

  local function ask(provider, given)
    given.base_url, given.api_key, given.model = endpoint.url, "sk-local", "m"
    open({ provider = provider, openai = given, store = "memory", poll = { interval = 0 } })
    endpoint:run(client, function()
      return client:trace({ name = "weather" }, function()
        local thread = assert(client.threads:create({ messages = { { role = "user", content = "Hi" } } }))
        return assert(client.threads.runs:create_and_poll(thread.id))
      end)
    end)
    client:close(2)
  end

  local function assert_all_told()
    assert.is_not_nil(endpoint.requests[1])
    for _, request in ipairs(endpoint.requests) do
      assert.equal(below(spans["chat m"]), request.headers.traceparent)
    end
  end

  it("say which they are, by chat", function()
    endpoint = chat_server.new({ answer = function() return { text = "Hello." } end })
    ask("chat", {})
    assert_all_told()
  end)

  it("say which they are where they are taken back", function()
    endpoint = responses_server.new({ answer = function() return { output = {}, polls = math.huge } end })
    open({ provider = "responses", store = "memory", poll = { interval = 0 }, openai = { base_url = endpoint.url,
      api_key = "sk-local", model = "m", background = true } })
    endpoint:run(client, function()
      client:trace({ name = "weather" }, function()
        local thread = assert(client.threads:create({ messages = { { role = "user", content = "Hi" } } }))
        local run = assert(client.threads.runs:create(thread.id))
        repeat client:sleep(0.01) until #endpoint:asked("/responses/resp_%d+") > 0
        return assert(client.threads.runs:cancel(thread.id, run.id))
      end)
      repeat client:sleep(0.01) until #endpoint:asked("/responses/resp_%d+/cancel") > 0
    end)
    client:close(2)
    assert_all_told()
  end)

  it("say which they are, by Responses, with a conversation and in the background", function()
    endpoint = responses_server.new({ answer = function() return "Hello." end })
    ask("responses", { history = "conversation", background = true })
    assert_all_told()
  end)
end)
