local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local operations = require("nexus_assistants.operations")
local servers = require("spec.support.server")

local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore 113

describe("resources", function()
  local server, client

  setup(function()
    server = servers.start({ kind = "fault", model_script = "spec/support/told_model.lua" })
    client = assert(nexus.new({
      assistant_id = "asst_default",
      openai = { api_key = "sk-x", base_url = server.openai_url },
      nexus = false,
      poll = { interval = 0.005 },
    }))
  end)

  teardown(function()
    client:close()
    server:stop()
  end)

  after_each(function() server:clear_faults() end)

  local function echo()
    server:faults({ { path = "/v1", action = "echo" } })
  end

  local function method_of(name)
    local resource, method = client, nil
    for part in name:gmatch("[%w_]+") do
      resource, method = method and resource[method] or resource, part
    end
    return resource, resource[method]
  end

  local function params_of(entry)
    local params = { some = "thing" }
    if entry.file_field then params[entry.file_field] = { data = "x", name = "x.txt" } end
    if entry.name == "threads.runs.submit_tool_outputs" then params.tool_outputs = {} end
    return params
  end

  it("have a method for every operation, and send what the table says", function()
    echo()
    for _, entry in ipairs(operations.list) do
      local resource, method = method_of(entry.name)
      local arguments, ids = {}, {}
      for index, name in ipairs(entry.path_parameters) do
        arguments[index] = name .. "_1"
        ids[name] = name .. "_1"
      end
      if entry.payload then arguments[#arguments + 1] = params_of(entry) end
      local sent = assert(method(resource, unpack(arguments)))
      if entry.answer == "bytes" then sent = json.decode(sent) end
      assert.equal(entry.method, sent.method)
      assert.equal("/v1" .. assert(operations.build_path(entry, ids)), sent.path)
      if entry.payload == "query" then assert.equal("some=thing", sent.query) end
      if entry.payload == "body" then assert.equal("thing", json.decode(sent.body).some) end
      if entry.payload == "multipart" then assert.matches('name="some"', sent.body, 1, true) end
      if entry.payload ~= "body" and entry.payload ~= "multipart" then assert.equal("", sent.body) end
    end
  end)

  it("send a body where the API wants one, even for nothing", function()
    echo()
    local sent = assert(client.threads:create())
    assert.equal("{}", sent.body)
    assert.equal("application/json", sent.headers["content-type"])
  end)

  it("don't take a stream where one answer is expected", function()
    local runs = client.threads.runs
    for _, method in ipairs({ "create", "create_and_poll" }) do
      local ok, problem = pcall(runs[method], runs, "thread_1", { stream = true })
      assert.is_false(ok)
      assert.matches("params.stream can't be true: there are methods for streams", problem, 1, true)
    end
  end)

  it("pass any parameter through", function()
    echo()
    local body = { metadata = json.array(), messages = { { content = "é" } }, new_one = { nested = { 1 } } }
    assert.same(body, json.decode(assert(client.threads:create(body)).body))
  end)

  it("move `include` of a run into the query", function()
    echo()
    local sent = assert(client.threads.runs:create("t", { include = { "a[*].b" }, instructions = "i" }))
    assert.equal("include%5B%5D=a%5B%2A%5D.b", sent.query)
    assert.same({ instructions = "i", assistant_id = "asst_default" }, json.decode(sent.body))
  end)

  it("send definitions of tools", function()
    echo()
    local tool = nexus.tool({ name = "x", call = print })
    local given = { tools = { tool }, assistant_id = "asst_mine" }
    local sent = json.decode(assert(client.threads.runs:create("t", given)).body)
    assert.equal("x", sent.tools[1]["function"].name)
    assert.equal("asst_mine", sent.assistant_id)
    assert.equal(tool, given.tools[1])
  end)

  it("send an empty list of tools, and null, as they are", function()
    echo()
    assert.matches('"tools":[]', assert(client.threads.runs:create("t", { tools = {} })).body, 1, true)
    assert.matches('"tools":null', assert(client.threads.runs:create("t", { tools = json.null })).body, 1, true)
  end)

  it("take options for a call", function()
    echo()
    local options = { headers = { ["X-Mine"] = "1" }, timeout = 5, deadline = 6, retries = 0 }
    local sent = assert(client.threads:create({}, options))
    assert.equal("1", sent.headers["x-mine"])
  end)

  it("return lists as they are", function()
    local thread = assert(client.threads:create({ messages = { { role = "user", content = "one" } } }))
    assert(client.threads.messages:create(thread.id, { role = "user", content = "two" }))
    local list = assert(client.threads.messages:list(thread.id, { order = "asc", limit = 1 }))
    assert.equal(1, #list.data)
    assert.is_true(list.has_more)
    assert.equal(list.data[1].id, list.first_id)
    assert.equal(list.data[1].id, list.last_id)
    local rest = assert(client.threads.messages:list(thread.id, { order = "asc", after = list.last_id }))
    assert.equal("two", rest.data[1].content[1].text.value)
    assert.is_false(rest.has_more)
  end)

  it("do the whole life of a thread", function()
    local thread = assert(client.threads:create({ metadata = { a = "1" } }))
    assert.equal("1", assert(client.threads:retrieve(thread.id)).metadata.a)
    assert.equal("2", assert(client.threads:update(thread.id, { metadata = { a = "2" } })).metadata.a)
    local message = assert(client.threads.messages:create(thread.id, { role = "user", content = "x" }))
    assert.equal(message.id, assert(client.threads.messages:retrieve(thread.id, message.id)).id)
    assert.is_true(assert(client.threads:delete(thread.id)).deleted)
    local gone, err = client.threads:retrieve(thread.id)
    assert.is_nil(gone)
    assert.equal("not_found", err.kind)
  end)

  it("refuse what JSON can't hold before anything is sent", function()
    server:clear_requests()
    local cyclic = {}
    cyclic.self = cyclic
    for message, params in pairs({
      ["content is not valid UTF-8 (byte 2)"] = { role = "user", content = "a\255" },
      ["metadata contains itself"] = { metadata = cyclic },
      ["content[1].text is a function, which JSON can't hold"] = { content = { { text = print } } },
    }) do
      local made, err = client.threads.messages:create("t", params)
      assert.is_nil(made)
      assert.equal("invalid", err.kind)
      assert.equal(message, err.message)
    end
    assert.same({}, server:requests())
  end)

  it("want an assistant for a run", function()
    local other = assert(nexus.new({ openai = { api_key = "sk-x", base_url = server.openai_url }, nexus = false,
      assistant_id = "x" }))
    other.assistant_id = nil
    local run, err = other.threads.runs:create("t", {})
    assert.is_nil(run)
    assert.equal("configuration", err.kind)
    assert.matches("set params.assistant_id, the option assistant_id or ASSISTANT_ID", err.message, 1, true)
    assert.is_nil((other.threads.runs:create_and_poll("t")))
    other:close()
  end)

  for message, misuse in pairs({
    ["threads:retrieve: thread_id must be a string, got nil"] = function() client.threads:retrieve() end,
    ["threads:retrieve: thread_id must be a string, got table"] = function() client.threads:retrieve({}) end,
    ["threads:retrieve: thread_id must be a string, got null"] = function() client.threads:retrieve(nexus.null) end,
    ["threads:retrieve: thread_id must not be empty"] = function() client.threads:retrieve("") end,
    ["threads:retrieve: thread_id must not contain '/'"] = function() client.threads:retrieve("a/../b") end,
    ["threads:retrieve: thread_id must not contain '..'"] = function() client.threads:retrieve("..") end,
    ["threads:retrieve: thread_id must not contain control characters"] = function() client.threads:retrieve("\n") end,
    ["threads.messages:create: params must be a table, got nil"] = function() client.threads.messages:create("t") end,
    ["threads.messages:create: params must be a table, got string"] =
      function() client.threads.messages:create("t", "hello") end,
    ["threads.messages:list: params: 'limit' must be text, a number or a boolean, or a list of them"] =
      function() client.threads.messages:list("t", { limit = { {} } }) end,
    ["threads.messages:list: params: 'after' must be valid UTF-8"] =
      function() client.threads.messages:list("t", { after = "\255" }) end,
    ["threads.runs.steps:retrieve: params: 'include' must be text, a number or a boolean, or a list of them"] =
      function() client.threads.runs.steps:retrieve("t", "r", "s", { include = { json.null } }) end,
    ["threads.runs:create: params: 'include' must be text, a number or a boolean, or a list of them"] =
      function() client.threads.runs:create("t", { include = { all = true } }) end,
    ["threads.runs:create_and_poll: params: 'include' must be a finite number"] =
      function() client.threads.runs:create_and_poll("t", { include = { 0 / 0 } }) end,
    ["threads:create: option 'headers' must not hold control characters"] =
      function() client.threads:create({}, { headers = { ["X-A"] = "a\0b" } }) end,
    ["threads.runs:create_and_poll: option 'retries' must be a whole number from 0 to 1000, got 1001"] =
      function() client.threads.runs:create_and_poll("t", {}, { retries = 1001 }) end,
    ["threads.runs:create: params.tools must be a list of tools, got a string"] =
      function() client.threads.runs:create("t", { tools = "get_weather" }) end,
    ["threads.runs:create: params.tools must be a list of tools, got a tool: put it into a list"] =
      function() client.threads.runs:create("t", { tools = nexus.tool({ name = "x", call = print }) }) end,
    ["threads.runs:create_and_poll: params.tools must be a list of tools, got a table that is none"] =
      function() client.threads.runs:create_and_poll("t", { tools = { { type = "x" }, nil, { type = "x" } } }) end,
    ["threads.runs:create_and_poll: params.tools[2] must be a tool or a table that describes one, got null"] =
      function() client.threads.runs:create_and_poll("t", { tools = { { type = "x" }, json.null } }) end,
    ["threads:create: unknown option 'timeuot' (did you mean 'timeout'?)"] =
      function() client.threads:create({}, { timeuot = 1 }) end,
    ["threads.runs:create_and_poll: unknown option 'intervall' (did you mean 'interval'?)"] =
      function() client.threads.runs:create_and_poll("t", {}, { intervall = 1 }) end,
    ["threads.runs:create_and_poll: unknown option 'tools': give tools as params.tools"] =
      function() client.threads.runs:create_and_poll("t", {}, { tools = {} }) end,
    ["threads:create_and_run: unknown option 'tools': give tools as params.tools"] =
      function() client.threads:create_and_run({}, { tools = {} }) end,
    ["vector_stores.files:upload_and_poll: file must have a 'name'"] =
      function() client.vector_stores.files:upload_and_poll("vs", { data = "x" }) end,
    ["threads.runs.steps:list: run_id must be a string, got nil"] = function() client.threads.runs.steps:list("t") end,
    ["threads:create: call it with a colon"] = function() client.threads.create() end,
    ["threads:retrieve: call it with a colon"] = function() client.threads.retrieve("thread_1") end,
    ["threads.runs:create: call it with a colon"] = function() client.threads.runs.create("thread_1") end,
    ["threads.runs:create_and_poll: call it with a colon"] =
      function() client.threads.runs.create_and_poll({ assistant_id = "x" }) end,
  }) do
    it("refuse misuse at the caller's line: " .. message, function()
      local ok, problem = pcall(misuse)
      assert.is_false(ok)
      assert.matches("resources_spec%.lua:%d+: " .. message:gsub("%p", "%%%0") .. "$", problem)
    end)
  end
end)
