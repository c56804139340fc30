local errors = require("nexus_assistants.error")
local in_time = require("spec.support.in_time")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local ports = require("spec.support.ports")
local process = require("spec.support.process")
local servers = require("spec.support.server")
local socket = require("socket")
local values = require("nexus_assistants.values")

describe("client", function()
  local server, client, warnings

  local function new(changes)
    local given = {
      agent_id = "spec",
      assistant_id = "asst_local",
      openai = { api_key = "sk-spec-secret", base_url = server.openai_url },
      nexus = { api_key = "nxs_spec_secret", base_url = server.nexus_url, flush_interval = 60 },
      on_warning = function(text) warnings[#warnings + 1] = text end,
    }
    for key, value in pairs(changes or {}) do given[key] = value end
    client = assert(nexus.new(given))
    return client
  end

  setup(function() server = servers.start({ kind = "fault" }) end)
  teardown(function() server:stop() end)

  before_each(function() warnings = {} end)

  after_each(function()
    server:clear_faults()
    if client then client:close(0) end
    client = nil
  end)

  describe("nexus.new", function()
    local function raised(given)
      local ok, message = pcall(function() nexus.new(given) end)
      assert.is_false(ok)
      return message
    end

    it("raises for misuse, at the line of the caller", function()
      local line = debug.getinfo(1, "l").currentline + 1
      local ok, message = pcall(function() nexus.new({ agnet_id = "x" }) end)
      assert.is_false(ok)
      assert.equal(line .. ": nexus.new: unknown option 'agnet_id' (did you mean 'agent_id'?)",
        message:match("client_spec%.lua:(.*)$"))
    end)

    it("lists the providers there are", function()
      assert.matches("option 'provider' must be 'assistants' or 'responses' or 'chat' or 'script', got 'chats'",
        raised({ provider = "chats" }), 1, true)
    end)

    it("refuses options that are for other providers", function()
      assert.matches("option 'script' is for the provider 'script', not for 'chat'",
        raised({ provider = "chat", script = print, openai = { api_key = false } }), 1, true)
      assert.matches("option 'openai.history' is for the provider 'responses', not for 'assistants'",
        raised({ openai = { api_key = false, history = "local" } }), 1, true)
    end)

    it("closes with its block, also where that ends by an error", function()
      if _VERSION ~= "Lua 5.4" then return pending("this Lua has no variables that are closed") end
      local result = process.chunk([[
        local nexus, kept = require("nexus_assistants"), nil
        local ok, problem = pcall(function()
          local client <close> = assert(nexus.new({ provider = "script", nexus = false }))
          kept = client
          error("oops", 0)
        end)
        print(ok, problem, kept.closed)
      ]])
      assert.equal("false\toops\ttrue\n", result.out)
    end)

    it("wants a key, and says where it can come from", function()
      local result = process.chunk([[
        local client, err = require("nexus_assistants").new({})
        print(client, err.kind, err)
      ]])
      assert.equal("nil\tconfiguration\tconfiguration: no API key: set OPENAI_API_KEY or openai.api_key "
        .. "(false where the server wants none)\n", result.out)
    end)

    it("takes keys from the environment", function()
      local result = process.chunk([[
        local client = assert(require("nexus_assistants").new({}))
        local thread = assert(client.threads:create())
        print(thread.object)
      ]], { OPENAI_API_KEY = "sk-x", NEXUS_API_KEY = "nxs_x", OPENAI_BASE_URL = server.openai_url })
      assert.equal("thread\n", result.out)
      assert.equal("", result.err)
    end)

    it("takes what is wrong in the environment for configuration, not misuse", function()
      local result = process.chunk([[
        local client, err = require("nexus_assistants").new({})
        print(client, err)
      ]], { OPENAI_API_KEY = "sk-x", NEXUS_ASSISTANTS_PROVIDER = "chats" })
      assert.equal("nil\tconfiguration: nexus.new: environment variable NEXUS_ASSISTANTS_PROVIDER must be "
        .. "'assistants' or 'responses' or 'chat' or 'script', got 'chats'\n", result.out)
    end)

    it("works without a Nexus key, and warns once", function()
      local result = process.chunk([[
        local client = assert(require("nexus_assistants").new({}))
        client:trace({ name = "x" }, function() assert(client.threads:create()) end)
        print(client:close())
      ]], { OPENAI_API_KEY = "sk-x", OPENAI_BASE_URL = server.openai_url })
      assert.equal("true\n", result.out)
      assert.equal("nexus-assistants: warning: traces are not delivered: set NEXUS_API_KEY or nexus.api_key, "
        .. "or nexus = false for none\n", result.err)
    end)

    it("goes on where what the environment says of Nexus can't be, and names the variable", function()
      local name, scheme = "environment variable NEXUS_BASE_URL ", "must begin with http:// or https://"
      for _, case in ipairs({
        { "htp://x", "nxs_secret", name .. scheme },
        { "http://x\r", "nxs_secret", name .. "holds a space, a control character or a backslash" },
        { "http://x", "nxs_secret\n", "environment variable NEXUS_API_KEY: the value holds a space, a line break or "
          .. "another character no key has" },
      }) do
        local result = process.chunk([[
          local client = assert(require("nexus_assistants").new({}))
          client:trace({ name = "x" }, function() assert(client.threads:create()) end)
          print(client:close())
        ]], { OPENAI_API_KEY = "sk-x", OPENAI_BASE_URL = server.openai_url, NEXUS_BASE_URL = case[1],
          NEXUS_API_KEY = case[2] })
        assert.equal("true\n", result.out)
        assert.equal("nexus-assistants: warning: traces are not delivered to Nexus: " .. case[3] .. "\n", result.err)
      end
    end)

    it("says nothing of an address that nothing would go to without a key", function()
      local function said(endpoint)
        return process.chunk('require("nexus_assistants").new({ spool = false }):close(0)', { OPENAI_API_KEY = "sk-x",
          OPENAI_BASE_URL = server.openai_url, NEXUS_BASE_URL = "foo", OTEL_EXPORTER_OTLP_ENDPOINT = endpoint }).err
      end
      assert.equal("", said("http://127.0.0.1:1"))
      assert.matches("warning: traces are not delivered: set NEXUS_API_KEY or ", said(nil), 1, true)
    end)

    it("names the variable of the API's that can't be", function()
      for _, case in ipairs({
        { "sk-secret ", "http://x", "OPENAI_API_KEY: the value holds a space, a line break or another character no key "
          .. "has" },
        { "sk-secret", "127.0.0.1:4010", "OPENAI_BASE_URL must begin with http:// or https://" },
      }) do
        local result = process.chunk([[print(select(2, require("nexus_assistants").new({ nexus = false })))]],
          { OPENAI_API_KEY = case[1], OPENAI_BASE_URL = case[2] })
        assert.equal("configuration: environment variable " .. case[3] .. " (nexus.new: openai)\n", result.out)
      end
    end)

    it("survives a handler of warnings that raises, whatever that is", function()
      local result = process.chunk([[
        local nexus = require("nexus_assistants")
        for _, value in ipairs({ "text", 7, setmetatable({}, { __tostring = function() error("worse") end }) }) do
          local client = assert(nexus.new({ on_warning = function() error(value, 0) end }))
          client:close(0)
        end
        assert(nexus.new({ on_warning = function() error() end })):close(0)
        print("alive")
      ]], { OPENAI_API_KEY = "sk-x" })
      assert.equal("alive\n", result.out)
      local line = "nexus%-assistants: warning: traces are not delivered: [^\n]* %(on_warning failed: "
      assert.matches("^" .. line .. "text%)\n" .. line .. "7%)\n" .. line
        .. "%(an error value that can't be shown%)%)\n" .. line .. "nil%)\n$", result.err)
    end)

    it("survives a host without io.stderr", function()
      local result = process.chunk([[
        io.stderr = nil
        for _, on_warning in ipairs({ function() error("no") end, false }) do
          print(require("nexus_assistants").new({ on_warning = on_warning or nil }) ~= nil)
        end
      ]], { OPENAI_API_KEY = "sk-x" })
      assert.equal("true\ntrue\n", result.out)
    end)

    it("is silent where traces are not wanted", function()
      new({ nexus = false })
      assert.equal("result", client:trace({ name = "x" }, function() return "result" end))
      assert.same({}, warnings)
    end)

    it("can do without a key where the server wants none", function()
      server:faults({ { path = "/v1", action = "echo" } })
      new({ openai = { api_key = false, base_url = server.openai_url } })
      assert.is_nil(client.threads:create().headers.authorization)
    end)

    for what, given in pairs({
      ["a base URL that is none"] = { "openai.base_url", openai = { api_key = "sk-secret", base_url = "ftp://x" } },
      ["a base URL with credentials"] = { "openai.base_url",
        openai = { api_key = "sk-secret", base_url = "http://a:b@x" } },
      ["a key with a space"] = { "openai.api_key", openai = { api_key = "sk-secret " } },
      ["a header for the key that is none"] = { "openai.auth_header",
        openai = { api_key = "sk-secret", auth_header = "a b" } },
      ["a query with a space"] = { "openai.query", openai = { api_key = "sk-secret", query = "a b" } },
      ["a Nexus URL that is none"] = { "nexus.base_url", openai = { api_key = "sk-secret" },
        nexus = { api_key = "nxs_secret", base_url = "nowhere" } },
      ["a Nexus key with a space"] = { "nexus.api_key", openai = { api_key = "sk-secret" },
        nexus = { api_key = "nxs_secret " } },
    }) do
      local option = table.remove(given, 1)
      it("refuses " .. what, function()
        local made, err = nexus.new(given)
        assert.is_nil(made)
        assert.is_true(errors.is(err))
        assert.equal("configuration", err.kind)
        assert.matches("^option '" .. option .. "' ", err.message)
        assert.is_nil(tostring(err):find("secret"))
      end)
    end

    it("refuses control characters at the line of the caller, and shows no key", function()
      for _, given in ipairs({
        { openai = { api_key = "sk-secret\n" } }, { openai = { api_key = "sk-secret\0" } },
        { openai = { api_key = "sk-secret", headers = { ["X-A"] = "a\r\nX-B: b" } } },
        { openai = { api_key = "sk-secret", base_url = "http://x\0y" } }, { max_transfers = 1e9 },
      }) do
        local message = raised(given)
        assert.matches("^spec/client_spec%.lua:%d+: nexus%.new: option ", message)
        assert.is_nil(message:find("secret"))
      end
    end)

    it("keeps no key in Lua", function()
      local result = process.chunk([[
        local nexus, key = require("nexus_assistants"), ("sk-%s"):format("secret")
        local client = assert(nexus.new({ openai = { api_key = key }, nexus = { api_key = key } }))
        key = nil
        local seen, visited = {}, 0
        local search
        local function search_upvalues(fn, path)
          for index = 1, 255 do
            local name, value = debug.getupvalue(fn, index)
            if not name then return end
            search(value, path .. "^" .. name)
          end
        end
        function search(value, path)
          if type(value) == "string" and value:find("sk-secret", 1, true) then print(path) end
          if seen[value] or (type(value) ~= "table" and type(value) ~= "function") then return end
          seen[value], visited = true, visited + 1
          if type(value) == "function" then return search_upvalues(value, path) end
          search(debug.getmetatable(value), path .. "@")
          for name, item in next, value do
            search(name, path .. ".key")
            search(item, path .. "." .. tostring(name))
          end
        end
        search(client, "client")
        search(package.loaded, "loaded")
        print(visited > 200)
      ]])
      assert.equal("", result.err)
      assert.equal("true\n", result.out)
    end)

    it("sends what is asked for in headers and query", function()
      server:faults({ { path = "/v1", action = "echo" } })
      new({ openai = {
        api_key = "sk-x", base_url = server.openai_url, organization = "org_1", project = "proj_1",
        headers = { ["X-Extra"] = "yes" }, query = { ["api-version"] = "2025-05-01 preview" },
        auth_header = "api-key", auth_prefix = "",
      } })
      local echo = assert(client.threads:create())
      assert.equal("org_1", echo.headers["openai-organization"])
      assert.equal("proj_1", echo.headers["openai-project"])
      assert.equal("assistants=v2", echo.headers["openai-beta"])
      assert.equal("yes", echo.headers["x-extra"])
      assert.equal("sk-x", echo.headers["api-key"])
      assert.is_nil(echo.headers.authorization)
      assert.equal("api-version=2025-05-01%20preview", (echo.query:gsub("^%?", "")))
    end)
  end)

  describe("tasks", function()
    it("call side by side", function()
      server:faults({ { path = "/v1/threads", action = "hang" } })
      server:clear_requests()
      new()
      local tasks = {}
      for index = 1, 10 do
        tasks[index] = client:task(function() return assert(client.threads:create()).object end)
      end
      local give_up_at = socket.gettime() + 20
      repeat client:sleep(0.01) until #server:requests() == 10 or socket.gettime() > give_up_at
      assert.equal(10, #server:requests())
      server:clear_faults()
      for _, task in ipairs(tasks) do assert.equal("thread", client:wait(task)) end
    end)

    it("are driven by update, which does not wait", function()
      server:faults({ { path = "/v1/threads", action = "hang" } })
      new()
      local task, times = client:task(function() return client.threads:create() end), {}
      for frame = 1, 100 do
        local before = socket.gettime()
        client:update(2)
        times[frame] = socket.gettime() - before
        socket.select(nil, nil, 0.001)
      end
      assert.is_false(task:done())
      table.sort(times)
      assert.is_true(times[50] < 0.02, "most updates took more than " .. times[50] .. " s")
      server:clear_faults()
      local give_up_at = socket.gettime() + 20
      while not task:done() and socket.gettime() < give_up_at do client:update(2) end
      assert.equal("thread", task:wait().object)
    end)

    it("are driven by a host's own loop", function()
      new()
      local task = client:task(function() return client.threads:create() end)
      client:update()
      local rounds = 0
      while not task:done() and rounds < 1000 do
        local reads, writes = {}, {}
        for _, entry in ipairs(client:fds()) do
          local watched = { getfd = function() return entry.fd end, dirty = function() return false end }
          if entry.read then reads[#reads + 1] = watched end
          if entry.write then writes[#writes + 1] = watched end
        end
        local readable, writable = socket.select(reads, writes, math.min(client:timeout() or 1, 1))
        for _, watched in ipairs(readable) do client:feed(watched.getfd(), true, false) end
        for _, watched in ipairs(writable) do client:feed(watched.getfd(), false, true) end
        client:update()
        rounds = rounds + 1
      end
      assert.equal("thread", task:wait().object)
    end)

    it("end at once when they are cancelled", function()
      server:faults({ { path = "/v1/threads", action = "hang" } })
      new()
      local task = client:task(function() return client.threads:create() end)
      client:update()
      local before = socket.gettime()
      task:cancel()
      local result, err = client:wait(task)
      assert.is_true(socket.gettime() - before < 5) -- without it, as long as a request may take
      assert.is_nil(result)
      assert.equal("cancelled", err.kind)
    end)

    it("can be waited for with a timeout", function()
      server:faults({ { path = "/v1/threads", action = "hang" } })
      new()
      local task = client:task(function() return client.threads:create() end)
      local result, err = client:wait(task, 0.05)
      assert.is_nil(result)
      assert.equal("timeout", err.kind)
      assert.equal("running", task:status())
    end)

    it("pass what they raise to who waits", function()
      new()
      local value = {}
      local task = client:task(function() error(value) end)
      assert.equal(value, select(2, client:wait(task)))
    end)

    it("sleep", function()
      new()
      local order = {}
      local slow = client:task(function()
        client:sleep(0.05)
        order[#order + 1] = "slow"
      end)
      client:task(function() order[#order + 1] = "quick" end)
      client:wait(slow)
      assert.same({ "quick", "slow" }, order)
    end)

    for message, misuse in pairs({
      ["client:task: a function is needed, got nil"] = function(c) c:task() end,
      ["client:wait: a task of this client is needed, got nil"] = function(c) c:wait() end,
      ["client:wait: timeout must be a number, 0 or more, got a string"] = function(c)
        c:wait(c:task(function() end), "1")
      end,
      ["client:sleep: seconds must be a number, 0 or more, got a nil"] = function(c) c:sleep() end,
      ["client:update: budget_ms must be a number, 0 or more, got a string"] = function(c) c:update("2") end,
      ["client:update: budget_ms must be a number, 0 or more, got -1"] = function(c) c:update(-1) end,
      ["client:close: timeout must be a number, 0 or more, got a table"] = function(c) c:close({}) end,
    }) do
      it("refuse misuse: " .. message, function()
        new()
        local ok, problem = pcall(misuse, client)
        assert.is_false(ok)
        assert.matches("client_spec%.lua:%d+: " .. message:gsub("%p", "%%%0") .. "$", problem)
      end)
    end
  end)

  describe("failures", function()
    it("are errors with all that is known", function()
      local envelope = { error = { message = "Rate limit reached", type = "tokens", code = "rate_limit_exceeded" } }
      server:faults({ { path = "/v1/threads", action = "status", status = 429, body = json.encode(envelope),
        headers = { ["x-request-id"] = "req_1", ["retry-after"] = "0" } } })
      new({ openai = { api_key = "sk-x", base_url = server.openai_url, retries = 1 } })
      local thread, err = client.threads:create()
      assert.is_nil(thread)
      assert.equal("rate_limit: Rate limit reached (429, code rate_limit_exceeded, request req_1, after 2 attempts, "
        .. "threads.create)", tostring(err))
      assert.equal(2, server:faults()[1].hits)
    end)

    it("are told where the answer is no JSON", function()
      server:faults({ { path = "/v1/threads", action = "text", body = "hello" } })
      new()
      local thread, err = client.threads:create()
      assert.is_nil(thread)
      assert.equal("protocol", err.kind)
      assert.matches("the answer is not what the API promises", err.message)
    end)

    it("are told where the answer is JSON but no object", function()
      server:faults({ { path = "/v1/threads", action = "status", status = 200, body = "[" } })
      new()
      assert.equal("protocol", select(2, client.threads:create()).kind)
    end)

    it("are told where nobody listens", function()
      new({ openai = { api_key = "sk-x", base_url = "http://127.0.0.1:" .. ports.unused(), retries = 0 } })
      local thread, err = client.threads:create()
      assert.is_nil(thread)
      assert.equal("connection", err.kind)
    end)

    it("never show the key, though the server repeats it", function()
      server:faults({ { path = "/v1/threads", action = "status", status = 401,
        body = '{"error":{"message":"Incorrect API key provided: sk-spec-secret"}}' } })
      new()
      local _, err = client.threads:create()
      assert.equal("authentication", err.kind)
      assert.equal("authentication: Incorrect API key provided: ************** (401, threads.create); check "
        .. "openai.api_key or OPENAI_API_KEY", tostring(err))
      for _, value in pairs(err) do assert.is_nil(tostring(value):find("secret"), tostring(value)) end
    end)

    it("say where a key is set that a model's API refuses", function()
      for provider, path in pairs({ chat = "/v1/chat/completions", responses = "/v1/responses" }) do
        server:faults({ { path = path, action = "status", status = 401, body = '{"error":{"message":"Bad key"}}' } })
        new({ provider = provider, store = "memory",
          openai = { api_key = "sk-x", base_url = server.openai_url, model = "m" } })
        local assistant = assert(client.assistants:create({ model = "m" }))
        local _, err = client.threads:create_and_run_poll({ assistant_id = assistant.id,
          thread = { messages = { { role = "user", content = "Hello!" } } } })
        assert.equal("Bad key; check openai.api_key or OPENAI_API_KEY", err.run.last_error.message)
        client:close(0)
      end
    end)

    it("leave where a key is set to who runs the server, where a model's is one's behind a server", function()
      local log = os.tmpname()
      local other = servers.start({ log = log, environment = { OPENAI_API_KEY = "sk-x" },
        arguments = { "--model", "chat", "--base-url", server.openai_url, "--model-name", "m", "--store", "memory" } })
      finally(function()
        other:stop()
        os.remove(log)
      end)
      server:faults({ { path = "/v1/chat/completions", action = "status", status = 401,
        body = '{"error":{"message":"Bad key"}}' } })
      new({ openai = { api_key = "sk-y", base_url = other.openai_url } })
      local _, err = client.threads:create_and_run_poll({ assistant_id = "asst_local",
        thread = { messages = { { role = "user", content = "Hello!" } } } })
      assert.equal("Bad key", err.run.last_error.message)
      local said = assert(io.open(log)):read("*a")
      assert.matches("failed: Bad key; check openai.api_key or OPENAI_API_KEY\n", said, 1, true)
    end)

    it("say where an address is set that can't be reached, unless it is a proxy's", function()
      local check = "check openai.base_url or OPENAI_BASE_URL"
      local function hint_at(url, environment)
        local result = process.chunk(([[
          local client = require("nexus_assistants").new({ nexus = false, openai = { retries = 0 } })
          print((select(2, client.threads:create()).hint))
        ]]), values.merged({ OPENAI_API_KEY = "sk-x", OPENAI_BASE_URL = url }, environment))
        assert.equal("", result.err)
        return result.out
      end
      local port = ports.unused()
      assert.equal(check .. "\n", hint_at("http://127.0.0.1:" .. port))
      assert.equal(check .. "\n", hint_at("http://nowhere.invalid"))
      assert.equal(check .. "\n", hint_at((server.url:gsub("^http", "https"))))
      assert.equal("nil\n", hint_at("http://127.0.0.1:1", { http_proxy = "http://127.0.0.1:" .. port, no_proxy = "",
        NO_PROXY = "" }))
    end)

    it("say where an assistant is named that isn't there", function()
      for _, provider in ipairs({ "assistants", "script" }) do
        for _, method in ipairs({ "create", "create_and_poll" }) do
          local result = process.chunk(([[
            local client = require("nexus_assistants").new({ nexus = false })
            local thread = assert(client.threads:create())
            print((select(2, client.threads.runs:%s(thread.id)).hint))
            print((select(2, client.threads.runs:%s(thread.id, { assistant_id = "asst_other" })).hint))
          ]]):format(method, method), { OPENAI_API_KEY = "sk-x", OPENAI_BASE_URL = server.openai_url,
            NEXUS_ASSISTANTS_PROVIDER = provider, ASSISTANT_ID = "asst_nix" })
          assert.same({ code = 0, out = "check ASSISTANT_ID\nnil\n", err = "" }, result)
        end
      end
    end)

    it("end with the call's own deadline", function()
      server:faults({ { path = "/v1/threads", action = "hang" } })
      new()
      local thread, err = client.threads:create({}, { deadline = 0.1 })
      assert.is_nil(thread)
      assert.equal("timeout", err.kind)
    end)
  end)

  it("counts", function()
    new()
    client.threads:create()
    client.threads:retrieve("thread_none")
    local stats = client:stats()
    assert.equal(2, stats.calls)
    assert.equal(1, stats.calls_failed)
    assert.equal(0, stats.tasks)
    assert.equal(0, stats.traces_started)
  end)

  describe("close", function()
    it("delivers what there is", function()
      new({ agent_id = "closing" })
      client:trace({ name = "x" }, function() assert(client.threads:create()) end)
      assert.is_true(client:close())
      local stats = client:stats()
      assert.equal(1, stats.traces_delivered)
      assert.equal(1, stats.spans_delivered)
      assert.equal("closing", server:traces()[1].agent_name)
    end)

    it("returns in time where Nexus hangs", function()
      server:faults({ { path = "/api/v1", action = "hang" } })
      local function seconds_to_close()
        new()
        client:trace({ name = "x" }, function() return 1 end)
        local before = socket.gettime()
        assert.is_false(client:close(0.2))
        return socket.gettime() - before
      end
      local seconds = in_time.least(0.6, seconds_to_close(), seconds_to_close)
      assert.is_true(seconds < 0.6, seconds)
    end)

    it("does nothing a second time", function()
      new()
      assert.is_true(client:close())
      assert.is_true(client:close())
    end)

    it("cancels tasks", function()
      server:faults({ { path = "/v1/threads", action = "hang" } })
      new()
      local task = client:task(function() return client.threads:create() end)
      client:update()
      client:close()
      local _, err = task:wait()
      assert.equal("cancelled", err.kind)
    end)

    it("returns though a task waits on, whatever it is told", function()
      new()
      local rounds = 0
      client:task(function()
        while rounds < 1e6 do
          rounds = rounds + 1
          pcall(client.sleep, client, 100)
          client.threads:create()
        end
      end)
      client:update()
      assert.is_true(client:close(0.05))
      local before = rounds
      assert.is_true(before < 1e6)
      client:update()
      assert.is_true(rounds <= before + 1)
    end)

    it("may be called in a task", function()
      new()
      client:task(function() client:sleep(100) end)
      local task = client:task(function() return client:close(1) end)
      assert.is_true((task:wait()))
    end)

    it("leaves a client that says so", function()
      new()
      client:close()
      local thread, err = client.threads:create()
      assert.is_nil(thread)
      assert.equal("closed", err.kind)
      local task = client:task(function() return 1 end)
      assert.equal("cancelled", task:status())
      assert.equal("closed", select(2, client:sleep(100)).kind)
    end)

    it("lets nobody wait for a task that did not end in time", function()
      new()
      local task = client:task(function()
        while true do coroutine.yield() end
      end)
      client:update()
      client:close(0)
      local result, err = client:wait(task)
      assert.is_nil(result)
      assert.equal("closed", err.kind)
      assert.is_nil(client:timeout())
    end)

    it("is not needed: a client may be left to the collector", function()
      server:faults({ { path = "/v1/threads", action = "hang" } })
      new()
      client:task(function() client.threads:create() end)
      client:update()
      client = nil
      collectgarbage()
      collectgarbage()
    end)
  end)

  describe("an answer that holds the key, escaped,", function()
    local KEY, ESCAPED = "sk-example-1234", "sk-\\u0065xample-12\\u00334"

    local function answered_with(status, body)
      server:faults({ { path = "/v1", action = "status", status = status, body = body } })
      new({ openai = { api_key = KEY, base_url = server.openai_url, retries = 0 } })
      return client.threads:create()
    end

    it("is rid of it as an error", function()
      local body = '{"error":{"message":"bad key %s","code":"%s","type":"t %s","param":"%s"}}'
      local made, err = answered_with(401, (body:gsub("%%s", (ESCAPED:gsub("%%", "%%%%")))))
      assert.is_nil(made)
      local stars = ("*"):rep(#KEY)
      assert.equal("bad key " .. stars, err.message)
      assert.equal(stars, err.code)
      assert.equal("t " .. stars, err.type)
      assert.equal(stars, err.param)
    end)

    it("is rid of it where it tells of a run's or a step's failure", function()
      local failed = '{"id":"r","last_error":{"code":"c","message":"' .. ESCAPED .. ' and ' .. KEY .. '"}}'
      local stars = ("*"):rep(#KEY)
      local wanted = { id = "r", last_error = { code = "c", message = stars .. " and " .. stars } }
      assert.same(wanted, answered_with(200, failed))
      assert.same({ data = { wanted, 1 }, last_error = nexus.null },
        answered_with(200, '{"data":[' .. failed .. ',1],"last_error":null}'))
    end)
  end)
end)

describe("the provider of the Assistants protocol", function()
  local assistants = require("nexus_assistants.providers.assistants")
  local core = require("nexus_assistants.core")
  local operations = require("nexus_assistants.operations")

  local function answered(base_url, status, body)
    local tasks = { call = function() return {} end, await = function()
      return { status = status, body = body }, { kind = "not_found", message = "HTTP status 404", status = status }
    end }
    local provider = assistants.new(tasks, assert(core.endpoint({ base_url = base_url })), {})
    return select(2, provider:perform(operations["threads.create"], {}))
  end

  it("explains the 404 of api.openai.com", function()
    local err = answered("https://api.openai.com/v1", 404, '{"error":{"message":"Unknown request URL"}}')
    assert.equal("assistants_api_removed", err.code)
    assert.equal("not_found", err.kind)
    assert.equal(404, err.status)
    for _, part in ipairs({ "OpenAI removed the Assistants API on 2026-08-26", "OPENAI_BASE_URL", "openai.base_url",
      "Microsoft Foundry", "2027-03-31", "nexus-assistants serve", "Unknown request URL" }) do
      assert.matches(part, err.message, 1, true)
    end
  end)

  it("says where to look where there is no API at all", function()
    for _, status in ipairs({ 404, 405, 501 }) do
      local err = answered("https://example.com", status, "<html><title>Not Found</title></html>")
      assert.equal("there is no API at https://example.com (the server said: Not Found)", err.message)
      assert.equal("check openai.base_url or OPENAI_BASE_URL, which as a rule ends in /v1", err.hint)
    end
    assert.is_nil(answered("https://example.com", 500, "<html><title>Oops</title></html>").hint)
    assert.equal("405 method not allowed", answered("https://example.com/v1", 405, "405 method not allowed\n").message)
    assert.equal("HTTP status 404", answered("https://example.com", 404, "").message)
  end)

  it("leaves the 404 of other hosts alone", function()
    for _, base_url in ipairs({ "https://example.com/v1", "https://api.openai.com.example.com/v1" }) do
      local err = answered(base_url, 404, '{"error":{"message":"No thread found"}}')
      assert.equal("No thread found", err.message)
      assert.is_nil(err.code)
    end
  end)
end)
