local cli = require("nexus_assistants.cli")
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local lfs = require("lfs")
local nexus = require("nexus_assistants")
local process = require("spec.support.process")
local samples = require("spec.support.traces")
local servers = require("spec.support.server")
local socket = require("socket")
local text = require("nexus_assistants.view.text")
local view = require("nexus_assistants.view")

local COMMAND = process.path("bin/nexus-assistants")

local function output_of(command)
  local pipe = assert(io.popen(command, "r"))
  local output = pipe:read("*a")
  pipe:close()
  return output
end

local function run(words, environment)
  return process.run({ COMMAND, (unpack or table.unpack)(words) }, environment) -- luacheck: ignore
end

describe("the command", function()
  it("tells its version and what it can do", function()
    assert.same({ code = 0, out = "nexus-assistants " .. core.version .. "\n", err = "" }, run({ "--version" }))
    for _, word in ipairs({ "--help", "-h", "help" }) do
      local result = run({ word })
      assert.same({ 0, "" }, { result.code, result.err })
      assert.matches("\n  serve +a local server", result.out)
      assert.matches("\n  view +a trace as a waterfall", result.out)
    end
    local result = run({ "serve", "--help" })
    assert.equal(0, result.code)
    for _, option in ipairs({ "port N", "host HOST", "assistant-id ID", "model-script FILE", "delay SECONDS" }) do
      assert.matches("\n  --" .. option .. "  ", result.out, 1, true)
    end
  end)

  it("tells of a command that is named after help", function()
    for _, name in ipairs({ "view", "serve", "run" }) do
      assert.same(run({ name, "--help" }), run({ "help", name }))
    end
    assert.same(run({ "--help" }), run({ "help", "help" }))
    assert.same({ code = 2, out = "", err = "nexus-assistants: unknown command 'nonsense'; try: nexus-assistants "
      .. "--help\n" }, run({ "help", "nonsense" }))
  end)

  it("tells it in lines that a terminal has room for", function()
    for _, words in ipairs({ {}, { "serve" }, { "import" }, { "view" } }) do
      words[#words + 1] = "--help"
      for line in run(words).out:gmatch("[^\n]+") do assert.is_true(#line:gsub("[\128-\191]", "") <= 80, line) end
    end
    local first, second = "  --quiet                     no line per request on standard error\n",
      "a Lua file that returns function(messages, tools,\n" .. (" "):rep(30) .. "run); without it"
    local help = run({ "serve", "--help" }).out
    assert.matches(first, help, 1, true)
    assert.matches(second, help, 1, true)
  end)

  it("tells it in the lines of a narrow terminal, by words", function()
    for _, columns in ipairs({ 40, 60, 72 }) do
      for _, words in ipairs({ {}, { "run" }, { "serve" }, { "flush" }, { "view" } }) do
        words[#words + 1] = "--help"
        local said = run(words, { COLUMNS = tostring(columns) }).out
        for line in said:gmatch("[^\n]+") do assert.is_true(#line:gsub("[\128-\191]", "") <= columns, line) end
        local function words_of(shown) return (shown:gsub("%s+", " ")) end
        assert.equal(words_of(run(words).out), words_of(said))
      end
    end
    assert.matches("\n  --model-script FILE\n      a Lua file that returns\n", run({ "serve", "--help" },
      { COLUMNS = "40" }).out, 1, true)
  end)

  it("tells what its arguments are", function()
    assert.equal([[
usage: nexus-assistants flush [DIR] [OPTIONS]
  delivers what is left in the spool to NEXUS_BASE_URL (with NEXUS_API_KEY) and
  OTEL_EXPORTER_OTLP_ENDPOINT; ends with 1 where some stays, is refused or is
  lost

  DIR                         a spool's folder (NEXUS_ASSISTANTS_SPOOL, or that
                              of the user's clients)
  --from URL                  deliver what waits for this address, too: one that
                              was wrong, or has moved
]], run({ "flush", "--help" }).out)
    assert.matches("\n  SCRIPT +a Lua file; %- reads the script from", run({ "run", "--help" }).out)
    for _, command in ipairs(cli.commands) do
      local operands, said = {}, run({ command.name, "--help" }).out
      for word in (command.usage or ""):gmatch("[%u_]+") do operands[#operands + 1] = word end
      for index, name in ipairs(operands) do
        assert.equal(name, command.operands[index][1])
        assert.matches("\n  " .. name .. " ", said)
      end
      assert.is_nil(said:find("\n\n$"), command.name)
    end
  end)

  it("takes what stands behind -- for no option", function()
    assert.matches("unknown option '--x'", run({ "view", "--x" }).err, 1, true)
    assert.matches("there is no file '--x'", run({ "view", "--", "--x" }).err, 1, true)
  end)

  it("refuses what it doesn't know, with 2", function()
    for message, words in pairs({
      ["a command is missing; try: nexus-assistants --help"] = {},
      ["unknown command 'server'; try: nexus-assistants --help"] = { "server" },
      ["unknown option '--prot'; try: nexus-assistants serve --help"] = { "serve", "--prot", "1" },
      ["unknown option '-p'; try: nexus-assistants serve --help"] = { "serve", "-p" },
      ["--port needs a value: N; try: nexus-assistants serve --help"] = { "serve", "--port" },
      ["--port must be a whole number from 0 to 65535, got '65536'; try: nexus-assistants serve --help"] =
        { "serve", "--port", "65536" },
      ["--port must be a whole number from 0 to 65535, got '8x'; try: nexus-assistants serve --help"] =
        { "serve", "--port=8x" },
      ["--delay must be a number of seconds, got '1.2.3'; try: nexus-assistants serve --help"] =
        { "serve", "--delay", "1.2.3" },
      ["--quiet takes no value; try: nexus-assistants serve --help"] = { "serve", "--quiet=yes" },
      ["--color must be one of auto, always, never, got 'blue'; try: nexus-assistants view --help"] =
        { "view", "--color", "blue" },
      ["--dialect is for --model chat; try: nexus-assistants serve --help"] = { "serve", "--dialect", "vllm" },
      ["--base-url is for --model chat or responses; try: nexus-assistants serve --help"] =
        { "serve", "--base-url", "http://127.0.0.1:1/v1" },
      ["--base-url must begin with http:// or https://; try: nexus-assistants serve --help"] =
        { "serve", "--model", "chat", "--base-url", "me:password@127.0.0.1:1" },
      ["--max-body must be a whole number from 1 to 1024, got '0'; try: nexus-assistants serve --help"] =
        { "serve", "--max-body", "0" },
      ["--max-connections must be a whole number from 1 to 900, got '901'; try: nexus-assistants serve --help"] =
        { "serve", "--max-connections", "901" },
      ["import needs FILE …; try: nexus-assistants import --help"] = { "import" },
      ["unexpected argument 'b'; try: nexus-assistants view --help"] = { "view", "a", "b" },
    }) do
      assert.same({ code = 2, out = "", err = "nexus-assistants: " .. message .. "\n" }, run(words))
    end
  end)

  it("reads options in both forms", function()
    local options, rest = cli.parse("view", { "id", "--width=80", "--color", "never", "--ascii" })
    assert.same({ width = 80, color = "never", ascii = true }, options)
    assert.same({ "id" }, rest)
  end)
end)

describe("the command serve", function()
  it("fails where it can't do what it is told", function()
    local result = run({ "serve", "--port", "0", "--model-script", "/nowhere.lua" })
    assert.equal(1, result.code)
    assert.matches("^nexus%-assistants: can't load the model's script: cannot open", result.err)
    assert.equal("", result.out)
    local server = servers.start({})
    finally(function() server:stop() end)
    result = run({ "serve", "--port", server.port })
    local told = "nexus-assistants: can't listen on 127.0.0.1:" .. server.port .. ": address already in use; try "
      .. "another --port, or --port 0 for any that is free\n"
    assert.same({ 1, told }, { result.code, result.err })
  end)

  it("leaves its store closed where it can't listen", function()
    if not pcall(require, "luasql.sqlite3") then return pending("luasql.sqlite3 is absent") end
    local folder = os.tmpname()
    os.remove(folder)
    local server = servers.start({})
    finally(function()
      server:stop()
      os.execute("rm -r " .. folder)
    end)
    run({ "serve", "--port", server.port, "--store", folder .. "/threads" })
    local found = {}
    for name in lfs.dir(folder) do found[#found + 1] = name:match("^threads.*$") end
    assert.same({ "threads" }, found)
  end)

  it("warns where others may use it without a key", function()
    local words = { "serve", "--port", "0", "--exit-after", "0", "--host", "0.0.0.0" }
    assert.same("nexus-assistants: warning: whoever reaches 0.0.0.0 may use this server, with any key; "
      .. "--api-key-environment has it ask for the right one\n", run(words).err)
    words[#words + 1] = "--api-key-environment"
    words[#words + 1] = "NXA_SPEC_SECRET"
    assert.equal("", run(words, { NXA_SPEC_SECRET = "sk-x" }).err)
  end)

  it("takes as much, and as many, as it is told", function()
    local server = servers.start({ arguments = { "--max-body", "1", "--max-connections", "1" } })
    finally(function() server:stop() end)
    assert.equal(413, server:request("POST", "/v1/threads", ("x"):rep(1024 * 1024 + 1)).status)
    local first = assert(socket.connect("127.0.0.1", server.port))
    local head = "GET /v1/assistants HTTP/1.1\r\nHost: localhost\r\nApi-Key: k\r\nConnection: close\r\n"
    first:send(head .. "Content-Length: 1\r\n\r\n")
    local second = assert(socket.connect("127.0.0.1", server.port))
    second:send(head .. "\r\n")
    second:settimeout(0.2)
    assert.equal("timeout", select(2, second:receive("*l")))
    first:close()
    second:settimeout(20)
    assert.equal("HTTP/1.1 200 OK", second:receive("*l"))
    second:close()
  end)

  it("needs the key that it is to ask for", function()
    for _, key in ipairs({ "", "two words", "gr\195\188n" }) do
      local result = run({ "serve", "--api-key-environment", "NXA_SPEC_SECRET" }, { NXA_SPEC_SECRET = key })
      local told = "nexus-assistants: the environment variable NXA_SPEC_SECRET holds no key "
        .. "(visible ASCII characters, no spaces)\n"
      assert.same({ 1, "", told }, { result.code, result.out, result.err })
    end
  end)

  it("says where it listens, first", function()
    local result = run({ "serve", "--port", "0", "--exit-after", "0" })
    assert.same({ 0, "" }, { result.code, result.err })
    assert.matches("^listening on http://127%.0%.0%.1:%d+\n$", result.out)
  end)

  -- What a server that was asked to end says until it has, and its exit code.
  local function ending_of(server)
    local said = server.pipe:read("*a")
    local _, _, code = server.pipe:close()
    server.pipe = nil
    return { said, code or 0 }
  end

  it("ends quietly when it is interrupted or terminated", function()
    local log = os.tmpname()
    finally(function() os.remove(log) end)
    for _, name in ipairs({ "INT", "TERM" }) do
      local server = servers.start({ log = log })
      os.execute("kill -" .. name .. " " .. server.pid)
      assert.same({ "", 0 }, ending_of(server))
      local file = assert(io.open(log))
      assert.equal("", file:read("*a"))
      file:close()
    end
  end)

  local function post(server, path, body)
    return "POST " .. path .. " HTTP/1.1\r\nHost: localhost:" .. server.port
      .. "\r\nApi-Key: k\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
  end

  it("lets a stream come to its end before it does", function()
    local server = servers.start({ model_script = servers.root .. "spec/support/told_model.lua" })
    finally(function() server:stop() end)
    local reader = assert(socket.connect("127.0.0.1", server.port))
    reader:settimeout(20)
    local question = json.encode(json.encode({ { pieces = { "a", "b", "c" }, wait = 0.1 } }))
    reader:send(post(server, "/v1/threads/runs", '{"assistant_id":"asst_local","stream":true,"thread":'
      .. '{"messages":[{"role":"user","content":' .. question .. "}]}}"))
    local line
    repeat line = assert(reader:receive("*l")) until line == "event: thread.message.delta"
    os.execute("kill -TERM " .. server.pid)
    local rest = reader:receive("*a")
    reader:close()
    assert.matches("event: thread.run.completed\n.*\nevent: done\ndata: %[DONE%]\n\n", rest)
    assert.same({ "", 0 }, ending_of(server))
  end)
end)

describe("the command import", function()
  local path, exported

  before_each(function()
    path, exported = os.tmpname(), os.tmpname()
    os.remove(path)
    local file = assert(io.open(exported, "w"))
    file:write('{"id":"asst_a","object":"assistant","created_at":1,"model":"m","instructions":"Be kind."}')
    file:close()
  end)

  after_each(function()
    os.remove(path)
    os.remove(exported)
  end)

  it("puts what was exported where a server finds it", function()
    if not pcall(require, "luasql.sqlite3") then return pending("luasql.sqlite3 is absent") end
    assert.same({ code = 0, err = "",
      out = "imported 1 assistant, 0 threads, 0 messages into " .. path .. "\n" },
      run({ "import", exported, "--store", path }))
    local server = servers.start({ arguments = { "--store", path } })
    assert.equal("Be kind.", server:request("GET", "/v1/assistants/asst_a").json.instructions)
    server:stop()
  end)

  it("takes the store that the environment names, where none is said", function()
    if not pcall(require, "luasql.sqlite3") then return pending("luasql.sqlite3 is absent") end
    local environment = { NEXUS_ASSISTANTS_STORE = path }
    assert.equal(0, run({ "import", exported }, environment).code)
    assert.matches("0 assistants, .* there already: 1\n", run({ "import", exported, "--store", path }).out)
    local server = servers.start({ environment = environment })
    assert.equal("Be kind.", server:request("GET", "/v1/assistants/asst_a").json.instructions)
    server:stop()
  end)

  it("fails where there is nothing to import", function()
    local file = assert(io.open(exported, "w"))
    file:write("[]")
    file:close()
    local result = run({ "import", exported, "--store", path })
    assert.same({ 1, "nexus-assistants: there is nothing to import in " .. exported .. "\n" },
      { result.code, result.err })
  end)

  it("says what is wrong with a file", function()
    local result = run({ "import", exported .. ".none", "--store", path })
    assert.equal(1, result.code)
    assert.matches(exported .. ".none: No such file", result.err, 1, true)
    result = run({ "import", exported, "--store", "memory" })
    assert.equal("nexus-assistants: memory keeps nothing: name another store\n", result.err)
  end)

  it("names the variable that is to blame for the store", function()
    if not pcall(require, "luasql.sqlite3") then return pending("luasql.sqlite3 is absent") end
    local environment, said = { NEXUS_ASSISTANTS_STORE = exported }, "the store failed: file is not a database: "
    for _, words in ipairs({ { "import", exported }, { "serve", "--port", "0" } }) do
      local result = run(words, environment)
      assert.equal(1, result.code)
      assert.equal("nexus-assistants: " .. said .. exported .. "; check NEXUS_ASSISTANTS_STORE\n", result.err)
    end
    assert.is_nil(run({ "import", exported, "--store", exported }).err:find("NEXUS_ASSISTANTS_STORE", 1, true))
  end)
end)

describe("the command view", function()
  local server, empty, id, environment
  local written = {} -- the last `finally` of a test is the only one

  setup(function()
    server = servers.start({ kind = "fault" })
    environment = { NEXUS_BASE_URL = server.nexus_url, NEXUS_API_KEY = "nxs_secret", LC_ALL = "C.UTF-8" }
  end)

  teardown(function() server:stop() end)

  before_each(function() server:clear_faults() end)

  after_each(function()
    while written[1] do os.remove(table.remove(written)) end
    if empty then empty:stop() end
    empty = nil
  end)

  local function new_path()
    written[#written + 1] = os.tmpname()
    return written[#written]
  end

  local function create(name, second)
    local started = "2024-01-01T00:00:0" .. second .. ".000Z"
    local trace_id = server:request("POST", "/api/v1/traces", {
      agent_id = name, name = "job", status = "success", started_at = started, ended_at = "2024-01-01T00:00:09.000Z",
    }).json.trace_id
    server:request("POST", "/api/v1/traces/" .. trace_id .. "/spans", {
      name = "step of " .. name, status = "ok", started_at = started, ended_at = "2024-01-01T00:00:09.000Z",
    })
    return trace_id
  end

  it("says so where there is no trace yet", function()
    assert.same({ code = 1, out = "", err = "nexus-assistants: there is no trace yet\n" }, run({ "view" }, environment))
  end)

  it("shows the latest trace, or the one that is asked for", function()
    id = create("first", 1)
    create("second", 2)
    local result = run({ "view", "--width", "70" }, environment)
    assert.same({ 0, "" }, { result.code, result.err })
    assert.matches("^second  success  7%.00 s  ", result.out)
    assert.matches("\n  step of second ▏█", result.out)
    result = run({ "view", id }, environment)
    assert.matches("^first  success  8%.00 s  " .. id:gsub("%-", "%%-"), result.out)
  end)

  it("writes no colours into a pipe unless it is told to", function()
    assert.is_nil(run({ "view" }, environment).out:find("\27", 1, true))
    assert.truthy(run({ "view", "--color", "always" }, environment).out:find("\27[32m", 1, true))
  end)

  it("keeps to ASCII where the locale isn't UTF-8", function()
    local changed = { NEXUS_BASE_URL = server.nexus_url, NEXUS_API_KEY = "nxs_secret", LC_ALL = "C" }
    assert.is_nil(run({ "view" }, changed).out:find("[\128-\255]"))
    assert.is_nil(run({ "view", "--ascii" }, environment).out:find("[\128-\255]"))
  end)

  it("shows a file", function()
    local path = new_path()
    local file = assert(io.open(path, "w"))
    file:write(server:request("GET", "/api/v1/traces/" .. id).body)
    file:close()
    local result = run({ "view", path })
    assert.same({ 0, "" }, { result.code, result.err })
    assert.matches("^first  success", result.out)
    file = assert(io.open(path, "w"))
    file:write("not JSON")
    file:close()
    result = run({ "view", path })
    assert.equal(1, result.code)
    assert.matches("^nexus%-assistants: .*: invalid JSON", result.err)
  end)

  it("says what went wrong, and never the key", function()
    local function failure(words, changed)
      local result = run(words, changed or environment)
      assert.same({ 1, "" }, { result.code, result.out })
      assert.is_nil(result.err:find("nxs_secret", 1, true))
      return result.err
    end
    assert.equal("nexus-assistants: there is no file 'no-such?trace', and " .. server.url .. ": Trace not found\n",
      failure({ "view", "no-such?trace" }))
    assert.equal("nexus-assistants: NEXUS_API_KEY is not set\n", failure({ "view" }, { NEXUS_BASE_URL = server.url }))
    for _, words in ipairs({ { "view" }, { "view", "--list" }, { "flush" } }) do
      assert.equal("nexus-assistants: NEXUS_BASE_URL must begin with http:// or https://\n",
        failure(words, { NEXUS_BASE_URL = "nowhere", NEXUS_API_KEY = "nxs_key", NEXUS_ASSISTANTS_SPOOL = "/nowhere" }))
    end
    for _, words in ipairs({ { "view" }, { "flush" } }) do
      assert.equal("nexus-assistants: NEXUS_API_KEY: the value holds a space, a line break or another character no key "
        .. "has\n", failure(words, { NEXUS_BASE_URL = server.url, NEXUS_API_KEY = "nxs_secret\n",
        NEXUS_ASSISTANTS_SPOOL = "/nowhere" }))
    end
    assert.equal("nexus-assistants: environment variable OTEL_EXPORTER_OTLP_ENDPOINT is left out: it must begin with "
      .. "http:// or https://\n", failure({ "flush" }, { OTEL_EXPORTER_OTLP_ENDPOINT = "localhost:4318",
      NEXUS_ASSISTANTS_SPOOL = "/nowhere" }))
    assert.is_nil(failure({ "view" }, { NEXUS_BASE_URL = "", NEXUS_API_KEY = "nxs_k\n" }):find("NEXUS_BASE_URL"))
    assert.equal("nexus-assistants: the URL has no valid port\n", failure({ "view", "http://127.0.0.1:99999" }))
    server:faults({ { path = "/api", action = "status", status = 401, body = '{"error":"Invalid API key"}' } })
    assert.equal("nexus-assistants: " .. server.url .. ": Invalid API key: check NEXUS_API_KEY\n", failure({ "view" }))
    server:clear_faults()
    for _, words in ipairs({ { "view" }, { "view", "--list" }, { "view", "an-id" } }) do
      assert.matches("/v1: Invalid URL [^\n]+: check NEXUS_BASE_URL, there is no Nexus\n$",
        failure(words, { NEXUS_BASE_URL = server.nexus_url .. "/v1", NEXUS_API_KEY = "nxs_secret" }))
    end
    assert.matches(": check the URL, there is no Nexus\n$", failure({ "view", server.nexus_url .. "/v1" }))
    server:faults({ { path = "/api", action = "text" } })
    assert.matches("invalid JSON", failure({ "view" }))
    server:faults({ { path = "/api", action = "html" } })
    assert.matches("invalid JSON", failure({ "view", "x" }))
  end)

  it("lets nothing a server or a file says act on the terminal", function()
    local body = '{"error":"\\u001b]0;pwned\\u0007\\u001b[2J\\u001b[31m\\u009bgone"}'
    server:faults({ { path = "/api", action = "status", status = 403, body = body } })
    local result = run({ "view" }, environment)
    assert.equal("nexus-assistants: " .. server.url .. ": ?]0;pwned??[2J?[31m?gone\n", result.err)
    assert.equal("nexus-assistants: unknown command 'x?[2J'; try: nexus-assistants --help\n", run({ "x\27[2J" }).err)
  end)

  local function write_file(content)
    local path = new_path()
    local file = assert(io.open(path, "w"))
    file:write(content)
    file:close()
    return path
  end

  it("says so where there is JSON that is no trace", function()
    for _, content in ipairs({ "false", "null", "1", '"x"', "[]", "{}" }) do
      local path = write_file(content)
      assert.same({ code = 1, out = "", err = "nexus-assistants: " .. path
        .. ": this is not a trace: it has no spans\n" }, run({ "view", path }))
      server:faults({ { path = "/api", action = "status", status = 200, body = content } })
      assert.same({ code = 1, out = "", err = "nexus-assistants: this is not a trace: it has no spans\n" },
        run({ "view", "x" }, environment))
      assert.equal("nexus-assistants: there is no trace yet\n", run({ "view" }, environment).err)
    end
  end)

  it("lists what is in a file or a folder, and finds what is asked for in it", function()
    local path = write_file(json.encode(json.array({ samples.ordinary(), samples.failed(), samples.empty() })))
    local function listed(words)
      local result = run({ "view", path, "--width", "100", (unpack or table.unpack)(words) }) -- luacheck: ignore
      assert.same({ 0, "" }, { result.code, result.err })
      local ids = {}
      for begin in result.out:gmatch("  (%x%x%x%x)%x+\n") do ids[#ids + 1] = begin end
      return table.concat(ids, " ")
    end
    assert.equal("e000 7c9d 0b1e", listed({}))
    assert.equal("7c9d", listed({ "--status", "error" }))
    assert.equal("7c9d 0b1e", listed({ "--agent", "weather-bot" }))
    assert.equal("e000", listed({ "--name", "NIGHT" }))
    assert.equal("e000", listed({ "--since", "2026-01-01T00:01:30Z" }))
    assert.equal("0b1e", listed({ "--status", "success" }))
    local none = run({ "view", path, "--since", "1h" })
    assert.same({ code = 0, out = "", err = "nexus-assistants: no trace is like that\n" }, none)
    local some = run({ "view", path, "--limit", "1" })
    assert.equal("nexus-assistants: 2 more are left out: --limit N\n", some.err)
    assert.is_nil(some.out:find("more", 1, true))
    assert.equal("nexus-assistants: 1 more is left out: --limit N\n", run({ "view", path, "--limit", "2" }).err)
    local both = process.command({ COMMAND, "view", path, "--limit", "1" })
    local pipe = io.popen("( " .. both .. " ) 2>&1")
    assert.matches("e0000000.*\n.* 2 more are left out: %-%-limit N\n$", pipe:read("*a"))
    pipe:close()
    assert.matches("^weather%-bot  weather  error", run({ "view", path, "--trace", "7c" }).out)
    assert.equal("nexus-assistants: there is no trace 'ff'\n", run({ "view", path, "--trace", "ff" }).err)
  end)

  it("lists what a Nexus has, and finds it by the beginning of its id", function()
    for _, words in ipairs({ { "view", "--list" }, { "view", server.nexus_url }, { "view", "--status", "ok" } }) do
      local result = run(words, environment)
      assert.same({ 0, "" }, { result.code, result.err })
      assert.matches("second.*first", result.out)
    end
    assert.is_nil(run({ "view", "--agent", "first" }, environment).out:find("second", 1, true))
    assert.matches("^first", run({ "view", server.nexus_url, "--trace", id:sub(1, 13) }, environment).out)
    assert.matches("^first", run({ "view", server.nexus_url .. "/api/v1/traces/" .. id }, environment).out)
    for _, link in ipairs({ "/#trace=" .. id, "#trace=" .. id, "/#trace=" .. id .. "&more=1" }) do
      assert.matches("^first", run({ "view", server.nexus_url .. link }, environment).out)
    end
    -- the ids are random: the shortest beginning that is its alone
    local traces = server:request("GET", "/api/v1/traces").json
    local function is_shared(length)
      for _, trace in ipairs(traces) do
        if trace.id ~= id and trace.id:sub(1, length) == id:sub(1, length) then return true end
      end
    end
    local length = 1
    while is_shared(length) do length = length + 1 end
    assert.matches("^first", run({ "view", "--trace", id:sub(1, length) }, environment).out)
    assert.matches("^first", run({ "view", id:sub(1, length) }, environment).out)
  end)

  it("says which beginnings of ids are not enough", function()
    local begun, digit = {}, nil
    while not digit do
      local made = create("many", 1)
      digit, begun[made:sub(1, 1)] = begun[made:sub(1, 1)] and made:sub(1, 1), true
    end
    assert.equal(("nexus-assistants: more than one trace's id begins with '%s'\n"):format(digit),
      run({ "view", "--trace", digit }, environment).err)
  end)

  it("tells the names that this library's traces have in their metadata", function()
    server:request("POST", "/api/v1/traces", { agent_id = "named", name = "hidden", status = "success",
      started_at = "2023-12-31T00:00:00.000Z", metadata = { trace_name = "weather Paris" } })
    assert.matches("named +weather Paris", run({ "view", "--list" }, environment).out)
    local found = run({ "view", "--name", "PARIS" }, environment)
    assert.matches("named +weather Paris", found.out)
    assert.is_nil(found.out:find("first", 1, true))
  end)

  it("refuses what is for lists where one trace is asked for", function()
    local url = server.nexus_url .. "/traces/" .. id
    for _, words in ipairs({ { id, "--list" }, { id, "--status", "ok" }, { url, "--agent", "x" },
      { "--trace", id, "--since", "1h" }, { server.nexus_url, "--trace", id, "--name", "x" }, { id, "--limit", "5" },
      { id, "--list", "--html", "never.html" } }) do
      table.insert(words, 1, "view")
      local result = run(words, environment)
      assert.same({ 2, "" }, { result.code, result.out })
      assert.matches("^nexus%-assistants: %-%-list, %-%-agent, .* are for lists, not for one trace %('" .. id:sub(1, 8),
        result.err)
    end
    assert.is_nil(io.open("never.html"))
  end)

  it("says so where there is nothing to list, or to make a page of", function()
    local path = write_file("")
    empty = servers.start({})
    local there = { NEXUS_BASE_URL = empty.nexus_url, NEXUS_API_KEY = "nxs_secret" }
    local none = { code = 0, out = "", err = "nexus-assistants: there is no trace yet\n" }
    assert.same(none, run({ "view", "--list" }, there))
    assert.same(none, run({ "view", "--html", path }, there))
    assert.same({ code = 0, out = "", err = "nexus-assistants: 1 line could not be read; there is no trace yet\n" },
      run({ "view", write_file('{"resourceSpans":[{') }))
    none.err = "nexus-assistants: no trace is like that\n"
    assert.same(none, run({ "view", "--agent", "nobody" }, environment))
    assert.same(none, run({ "view", "--agent", "nobody", "--html", path }, environment))
  end)

  it("reads standard input", function()
    local path = write_file(json.encode(samples.ordinary()))
    for _, name in ipairs({ "-", "/dev/stdin" }) do
      local pipe = io.popen("cat " .. path .. " | ( " .. process.command({ COMMAND, "view", name }) .. " )")
      assert.matches("^weather%-bot  weather  success", pipe:read("*a"))
      pipe:close()
    end
    local pipe = io.popen("printf '{}' | ( " .. process.command({ COMMAND, "view", "-" }) .. " ) 2>&1")
    assert.equal("nexus-assistants: standard input: this is not a trace: it has no spans\n", pipe:read("*a"))
    pipe:close()
  end)

  it("has the error and the tokens of a trace that was created before it ended where they belong", function()
    local late = create("late", 1)
    server:request("POST", "/api/v1/traces/" .. late .. "/spans", { name = "trace.end", status = "error",
      started_at = "2024-01-01T00:00:09.000Z", ended_at = "2024-01-01T00:00:09.000Z", error = "it broke",
      output = { trace_id = "t", error = "it broke", ["run.usage"] = { total_tokens = 57 } } })
    local out = run({ "view", late }, environment).out
    assert.matches("^late  success  8%.00 s  57 tokens  [^\n]*\n  it broke\n  step of late", out)
    assert.is_nil(out:find("trace.end", 1, true))
  end)

  it("says what tokens cost", function()
    local path = write_file(json.encode(samples.ordinary()))
    local prices = write_file('{"gpt-4o-mini":{"input":0.15,"output":0.6}}')
    assert.truthy(run({ "view", path, "--prices", prices }).out:find("  $0.000098", 1, true))
    local wrong = write_file('{"m":{"input":1}}')
    assert.equal("nexus-assistants: " .. wrong .. ": the price of 'm' is not { input, output }, per million tokens\n",
      run({ "view", path, "--prices", wrong }).err)
    assert.matches("none%.json: No such file", run({ "view", path, "--prices", "none.json" }).err)
  end)

  it("writes a page", function()
    local path, out = write_file(json.encode(samples.ordinary())), write_file("")
    assert.same({ code = 0, out = "", err = "" }, run({ "view", path, "--html", out }))
    local file = assert(io.open(out))
    local html = file:read("*a")
    file:close()
    assert.equal("weather", json.decode(html:match('id="data">(.-)</script>')).traces[1].name)
    assert.same({ code = 0, out = "", err = "" }, run({ "view", "--html", out }, environment))
    file = assert(io.open(out))
    local traces = json.decode(file:read("*a"):match('id="data">(.-)</script>')).traces
    file:close()
    assert.same({ "second", "step of second" }, { traces[1].agent_name, traces[1].spans[1].name })
    assert.equal("nexus-assistants: can't make the file '/nowhere/x': No such file or directory\n",
      run({ "view", path, "--html", "/nowhere/x" }).err)
  end)

  it("draws in whole columns", function()
    local path = write_file(json.encode(samples.ordinary()))
    local drawn = run({ "view", path }, { COLUMNS = "60" })
    assert.equal(0, drawn.code)
    assert.same(drawn, run({ "view", path }, { COLUMNS = "60.9" }))
  end)

  it("writes a page for its user alone, where it is told to", function()
    local path, out = write_file(json.encode(samples.ordinary())), new_path()
    os.execute("chmod 644 " .. out)
    assert.equal(0, run({ "view", path, "--html", out }).code)
    assert.equal("-rw-------", output_of("ls -l " .. out):sub(1, 10))
    os.remove(out)
    assert.equal(0, run({ "view", path, "--html", out }).code)
    assert.equal("-rw-------", output_of("ls -l " .. out):sub(1, 10))
    local target = write_file("other")
    os.execute("ln -sf " .. target .. " " .. out)
    local result = run({ "view", path, "--html", out })
    assert.equal(1, result.code)
    assert.matches("can't make the file '" .. out .. "'", result.err, 1, true)
    assert.equal("other", output_of("cat " .. target))
  end)

  it("writes a page over nothing but a page", function()
    local traces = json.encode(samples.ordinary()) .. "\n"
    local path, folder = write_file(traces), new_path()
    os.execute("rm " .. folder .. "; mkdir " .. folder .. "; ln " .. path .. " " .. folder .. "/hard.jsonl")
    finally(function() os.execute("rm -r " .. folder) end)
    os.execute("ln -s " .. path .. " " .. folder .. "/link.jsonl; echo '<!DOCTYPE html><title>Mine' >" .. folder
      .. "/mine.html; printf '<!DOCTYPE html>\n<html>\n<head>\n<title>Traces</title>\n</head>\n<body>\n"
      .. "<meta name=\"generator\" content=\"nexus-assistants\">\n' >" .. folder .. "/traces.html")
    local function refused(input, out)
      local result = run({ "view", input, "--html", out })
      assert.same({ 1, "" }, { result.code, result.out })
      assert.equal(traces, output_of("cat " .. path))
      return result.err
    end
    local said = "nexus-assistants: %s is there already and isn't a page of traces, so it stays as it is: remove it, "
      .. "or name another file\n"
    for _, out in ipairs({ path, "/tmp/." .. path:sub(5), folder .. "/hard.jsonl", folder .. "/mine.html",
      folder .. "/traces.html" }) do
      assert.equal(said:format(out), refused(path, out))
    end
    assert.equal(said:format(folder .. "/hard.jsonl"), refused(folder, folder .. "/hard.jsonl"))
    assert.matches("can't make the file", refused(path, folder .. "/link.jsonl"), 1, true)
    assert.equal("<!DOCTYPE html><title>Mine\n", output_of("cat " .. folder .. "/mine.html"))
  end)

  it("writes one page where several are written at once, and takes nothing away that isn't its own", function()
    local path, folder = write_file(json.encode(samples.large(3000))), new_path()
    os.execute("rm " .. folder .. "; mkdir " .. folder)
    finally(function() os.execute("rm -r " .. folder) end)
    local out = folder .. "/page.html"
    local command = process.command({ COMMAND, "view", path, "--html", out })
    local one = "( " .. command .. " ) 2>&1 || echo failed & "
    assert.equal("", output_of(command .. " 2>&1"))
    local length = #output_of("cat " .. out)
    local function assert_whole(entries)
      local page = output_of("cat " .. out)
      local data = json.decode(page:match('id="data">(.-)</script>'))
      assert.same({ length, 3000 }, { #page, #data.traces[1].spans })
      assert.equal(entries, output_of("ls -A " .. folder))
    end
    for _ = 1, 3 do
      assert.equal("", output_of(one:rep(6) .. "wait"))
      assert_whole("page.html\n")
    end
    os.remove(out)
    assert.equal("", output_of(one:rep(6) .. "wait"))
    assert_whole("page.html\n")
    -- what another writes to is that one's
    local lock = assert(core.lock_file(out .. ".part"))
    assert.equal("", output_of(command .. " 2>&1"))
    assert_whole("page.html\npage.html.part\n")
    lock:remove()
  end)

  it("leaves the page that was there, where there is no room for another", function()
    local path, folder = write_file(json.encode(samples.ordinary())), new_path()
    os.execute("rm " .. folder .. "; mkdir " .. folder)
    finally(function() os.execute("rm -r " .. folder) end)
    local out = folder .. "/page.html"
    assert.equal(0, run({ "view", path, "--html", out }).code)
    local before = output_of("cat " .. out)
    -- files of 8 KiB at most
    local small = "( trap '' XFSZ; ulimit -f 16; " .. process.command({ COMMAND, "view", path, "--html", out })
      .. " ) 2>&1"
    assert.equal("nexus-assistants: " .. out .. ": File too large\n", output_of(small))
    assert.is_true(before == output_of("cat " .. out))
    assert.equal("page.html\n", output_of("ls -A " .. folder))
    os.remove(out)
    assert.equal("nexus-assistants: " .. out .. ": File too large\n", output_of(small))
    assert.equal("", output_of("ls -A " .. folder))
    -- what is somebody's own beside it stays, and what a killed process left there goes
    os.execute("echo mine >" .. out .. ".part")
    for _ = 1, 2 do assert.equal(0, run({ "view", path, "--html", out }).code) end
    assert.equal("mine\n", output_of("cat " .. out .. ".part"))
    os.execute("head -c 2000 " .. out .. " >" .. out .. ".part")
    assert.equal(0, run({ "view", path, "--html", out }).code)
    assert.equal(#before, #output_of("cat " .. out))
    assert.equal("page.html\n", output_of("ls -A " .. folder))
    assert.equal("-rw-------", output_of("ls -l " .. out):sub(1, 10))
  end)

  it("writes a page to pipes and descriptors as they are", function()
    local path, out = write_file(json.encode(samples.ordinary())), new_path()
    local command = process.command({ COMMAND, "view", path, "--html" })
    local function assert_page(page) assert.matches("^<!.*</html>%s*$", page:sub(1, 20) .. page:sub(-20)) end
    for _, place in ipairs({ "-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1" }) do
      assert_page(output_of(command .. " " .. place .. " 2>&1 | cat"))
    end
    os.execute("echo before >" .. out .. "; chmod 644 " .. out)
    assert.equal("", output_of(command .. " /dev/stdout 2>&1 >>" .. out))
    assert.equal("", output_of("( " .. command .. " /dev/fd/3 2>&1 ) 3>>" .. out))
    assert.equal("", output_of("( " .. command .. " /proc/self/fd/3 2>&1 ) 3>>" .. out))
    local _, pages = output_of("cat " .. out):gsub("<!DOCTYPE", "")
    assert.same({ "before", 3 }, { output_of("head -n 1 " .. out):sub(1, -2), pages })
    assert.equal("-rw-r--r--", output_of("ls -l " .. out):sub(1, 10))
    os.execute("rm " .. out .. "; mkfifo " .. out)
    assert_page(output_of("cat " .. out .. " & " .. command .. " " .. out .. "; wait"))
    assert.equal("p", output_of("ls -l " .. out):sub(1, 1))
    assert.same({ code = 0, out = "", err = "" }, run({ "view", path, "--html", "/dev/null" }))
    assert.matches("^nexus%-assistants: /: ", run({ "view", path, "--html", "/" }).err)
  end)

  it("writes a page to what it can't make private, and says so", function()
    local path, out = write_file(json.encode(samples.ordinary())), new_path()
    local real = core.make_private
    finally(function() core.make_private = real end) -- luacheck: ignore 122
    core.make_private = function() return nil, { message = "not permitted" } end -- luacheck: ignore 122
    local ok, note = view.write_page(path, { html = out })
    assert.same({ true, "others may be able to read " .. out .. ": not permitted" }, { ok, note })
    assert.matches("</html>", output_of("cat " .. out), 1, true)
    if output_of("id -u") ~= "0\n" then return pending("only root can give a file to somebody else") end
    os.execute("chmod 666 " .. out .. "; chown 12345 " .. out)
    assert.same({ code = 0, out = "", err = "nexus-assistants: " .. out .. " belongs to another user (id 12345), who "
      .. "says whom it is open to\n" }, run({ "view", path, "--html", out }))
    assert.equal("-rw-rw-rw-", output_of("ls -l " .. out):sub(1, 10))
  end)

  it("sends no file's name to Nexus", function()
    server:clear_requests()
    for _, name in ipairs({ "missing.json", "no/such/trace", "" }) do
      assert.same({ code = 1, out = "", err = "nexus-assistants: there is no file '" .. name .. "'\n" },
        run({ "view", name }, environment))
    end
    assert.same({}, server:requests())
    assert.equal("nexus-assistants: there is no file 'an-id', and NEXUS_API_KEY is not set\n",
      run({ "view", "an-id" }).err)
    assert.matches("^nexus%-assistants: /", run({ "view", "/" }).err)
  end)

  -- A spool in which a trace waits for the server.
  local function new_spool()
    local folder = new_path()
    os.remove(folder)
    server:faults({ { path = "/api", action = "status", status = 503 } })
    local client = assert(nexus.new({ provider = "script", store = "memory", spool = folder,
      on_warning = function() end, nexus = { base_url = server.nexus_url, api_key = "nxs_secret", timeout = 0.5 } }))
    client:trace({ name = "late" }, function() end)
    client:close(0.1)
    return folder
  end

  -- Waits until the server was asked for something, a minute at most.
  local function await_request()
    local due = core.monotonic() + 60
    while not server:requests()[1] and core.monotonic() < due do socket.sleep(0.01) end
  end

  -- What a command says and ends with that is sent SIGINT. Where it reads from a pipe, that is once it has opened it,
  -- and the pipe stays open; else once it has asked the server.
  local function interrupted(words, pipe, surrounding)
    local err = new_path()
    server:clear_requests()
    local command = "echo $$; " .. process.command({ COMMAND, words[1], words[2] }, surrounding)
    local child = io.popen("sh -c " .. servers.quote(command) .. " 2>" .. err .. "; echo $?")
    local pid = child:read("*l")
    if pipe then
      local signal = "exec 3>%s; kill -INT %s; while kill -0 %s 2>/dev/null; do sleep 0.01; done"
      os.execute("timeout 60 sh -c " .. servers.quote(signal:format(pipe, pid, pid)))
    else
      await_request()
      os.execute("kill -INT " .. pid)
    end
    local out = child:read("*a")
    child:close()
    return out, output_of("cat " .. err)
  end

  it("ends with 130, and says nothing, where it is interrupted", function()
    local pipe, spool = new_path(), new_spool()
    finally(function()
      server:clear_faults()
      os.execute("rm -rf " .. spool)
    end)
    server:faults({ { action = "hang" } })
    os.execute("rm " .. pipe .. "; mkfifo " .. pipe)
    local surrounding = { NEXUS_BASE_URL = server.nexus_url, NEXUS_API_KEY = "nxs_secret", OPENAI_API_KEY = "sk-secret",
      OPENAI_BASE_URL = server.openai_url, NEXUS_ASSISTANTS_SPOOL = "off" }
    for _, words in ipairs({ { "view", server.nexus_url }, { "view", pipe }, { "import", pipe }, { "doctor" },
      { "flush", spool } }) do
      local out, err = interrupted(words, words[2] == pipe and pipe, surrounding)
      assert.same({ words[1], "130\n" }, { words[1], out })
      -- a shell may say by what it was ended
      assert.is_nil(err:find("interrupted!", 1, true), err)
    end
  end)

  it("fails where what it says can't be written", function()
    local full = io.open("/dev/full", "w")
    if not full then return pending("there is no /dev/full here") end
    full:close()
    local path = write_file('{"spans":[]}')
    for _, words in ipairs({ { "view", path }, { "--version" }, { "--help" }, { "view", "--help" } }) do
      local command = process.command({ COMMAND, (unpack or table.unpack)(words) }) -- luacheck: ignore
      local pipe = io.popen("( " .. command .. " ) 2>&1 >/dev/full; echo $?")
      assert.matches("^nexus%-assistants: can't write to standard output: .*\n1\n$", pipe:read("*a"))
      pipe:close()
    end
  end)

  it("says on a terminal whom it waits for, and nowhere else", function()
    local function slow() server:faults({ { path = "/api", action = "pass", delay = 2.2, times = 1 } }) end
    slow()
    local seen = process.chunk_on_terminal('os.exit(require("nexus_assistants.cli").main({ "view" }))', environment)
    if not seen then return pending("util-linux's script, or a terminal for it, isn't here") end
    local line = "begun\nnexus-assistants: still waiting for " .. server.nexus_url .. "\n"
    assert.equal(line, seen:sub(1, #line))
    slow()
    assert.equal("", run({ "view" }, environment).err)
  end)

  it("takes the terminal's width and its colours", function()
    local probe = io.popen("script -qec 'echo works' /dev/null </dev/null 2>/dev/null")
    local works = probe:read("*a"):find("works", 1, true)
    probe:close()
    if not works then return pending("util-linux's script, or a terminal for it, isn't here") end
    local function on_terminal(prefix)
      local path = new_path()
      local file = assert(io.open(path, "w"))
      file:write("stty cols 77\n", prefix, process.command({ COMMAND, "view" }, environment), "\n")
      file:close()
      local pipe = io.popen("script -qec 'sh " .. path .. "' /dev/null </dev/null")
      local out = pipe:read("*a")
      pipe:close()
      return out
    end
    local drawn = on_terminal("unset NO_COLOR; export TERM=xterm; ")
    assert.truthy(drawn:find("\27[32m", 1, true))
    local row = drawn:gsub("\27%[%d+m", ""):match("\n(  step of [^\r\n]*)")
    assert.equal(77, text.width(row))
    assert.is_nil(on_terminal("export NO_COLOR=1; "):find("\27", 1, true))
  end)
end)
