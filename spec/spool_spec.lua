-- The spool as a script meets it: what stays, what is taken over, what the disk and Nexus may refuse.
local core = require("nexus_assistants.core")
local delivery = require("nexus_assistants.spool.delivery")
local folders = require("nexus_assistants.spool.folders")
local in_time = require("spec.support.in_time")
local match = require("nexus_assistants.spool.match")
local nexus = require("nexus_assistants")
local process = require("spec.support.process")
local record = require("nexus_assistants.spool.record")
local ports = require("spec.support.ports")
local servers = require("spec.support.server")
local socket = require("socket")

local KEY = "nxs_secret_key_of_nobody"
local NOBODY = "http://127.0.0.1:1"
local LIMIT = '{"error":"Monthly trace limit reached","limit":1000,"current":1000}'

describe("the spool", function()
  local spool, warnings, server

  setup(function() server = servers.start({ kind = "fault" }) end)
  teardown(function() server:stop() end)

  before_each(function()
    spool, warnings = os.tmpname(), {}
    os.remove(spool)
    server:clear_faults()
    server:clear_requests()
  end)

  after_each(function() os.execute("rm -rf " .. servers.quote(spool)) end)

  local function new_client(url, more)
    local options = {
      agent_id = "spool", provider = "script", store = "memory", spool = spool,
      nexus = { base_url = url, api_key = KEY, timeout = 0.5, flush_interval = 0.05 },
      on_warning = function(text) warnings[#warnings + 1] = text end,
    }
    for name, value in pairs(more or {}) do options[name] = value end
    return assert(nexus.new(options))
  end

  local function trace(client, name)
    client:trace({ name = name }, function(traced)
      traced:span("outer", function()
        traced:span("inner", { type = "tool" }, function(span) span:output({ 1 }) end)
      end)
    end)
  end

  local function content()
    local pipe = io.popen("cat " .. servers.quote(spool) .. "/*/*.jsonl 2>/dev/null")
    local text = pipe:read("*a")
    pipe:close()
    return text
  end

  local function files()
    local pipe = io.popen("find " .. servers.quote(spool) .. " -name '*.jsonl' 2>/dev/null | wc -l")
    local count = tonumber(pipe:read("*l"))
    pipe:close()
    return count
  end

  -- Drives a client until something is so, for some seconds at most.
  local function drive_until(client, is_so)
    local due = core.monotonic() + 30
    while not is_so() and core.monotonic() < due do client:sleep(0.01) end
    assert.is_true(is_so())
  end

  local function traces_named(name)
    local found = {}
    for _, there in ipairs(server:traces()) do
      if there.agent_name == name then found[#found + 1] = there end
    end
    return found
  end

  local function assert_whole(there)
    local spans = {}
    for _, span in ipairs(there.spans) do
      assert.is_nil(spans[span.name], span.name .. " is there twice")
      spans[span.name] = span
    end
    assert.equal(spans.outer.id, spans.inner.parent_span_id)
    assert.equal("success", there.status)
  end

  -- ------------------------------------------------------------------------------------------------------ keeping

  it("has nothing left where all was delivered", function()
    local client = new_client(server.nexus_url, { agent_id = "fine" })
    trace(client, "fine")
    assert.is_true(client:close(5))
    assert.same({}, core.list_folder(spool))
    assert.equal(1, #traces_named("fine"))
    assert.same({}, warnings)
  end)

  it("has a span that has ended at once, for the user alone", function()
    local client = new_client(NOBODY)
    client:trace({ name = "t" }, function(traced)
      traced:span("first", function() assert.equal("", content()) end)
      assert.truthy(content():find('"name":"first"', 1, true))
      traced:span("second", function()
        traced:span("third", function() end)
        assert.truthy(content():find('"open":true,"body":{"name":"second"', 1, true))
      end)
    end)
    local pipe = io.popen("find " .. servers.quote(spool) .. " -printf '%m %y\\n' | sort | uniq")
    assert.equal("600 f\n700 d\n", pipe:read("*a"))
    pipe:close()
    client:close(0)
  end)

  it("keeps what isn't delivered, without the key, for the next client", function()
    local port = ports.unused()
    local client = new_client("http://127.0.0.1:" .. port, { agent_id = "later" })
    trace(client, KEY)
    assert.is_false(client:close(1))
    local stats = client:stats()
    assert.same({ 1, 2, 1, 0, 0 }, { stats.traces_spooled, stats.spans_spooled, stats.spool_left, stats.traces_failed,
      stats.spans_failed })
    assert.equal(1, files())
    local second = servers.start({ kind = "serve", port = port })
    finally(function() second:stop() end)
    client = new_client(second.nexus_url, { agent_id = "other" })
    drive_until(client, function() return client:stats().spool_traces == 1 end)
    assert.is_true(client:close(1))
    assert.equal(2, client:stats().spool_spans)
    assert_whole(second:traces()[1])
    assert.equal(0, files())
  end)

  it("never has the key", function()
    local client = new_client(NOBODY)
    client:trace({ name = "t" }, function(traced)
      traced:span("s", function(span) span:error("wrong") end)
    end)
    client:close(0)
    assert.is_nil(content():find(KEY, 1, true))
    assert.truthy(content():find("wrong", 1, true))
  end)

  it("is for one Nexus: others' traces stay where they are", function()
    local client = new_client(NOBODY)
    trace(client, "t")
    client:close(0)
    client = new_client(server.nexus_url)
    trace(client, "u")
    assert.is_true(client:close(5))
    assert.equal(1, files())
  end)

  it("can be left out", function()
    local client = new_client(NOBODY, { spool = false })
    trace(client, "t")
    assert.is_false(client:close(1))
    assert.equal(1, client:stats().traces_failed)
    assert.is_nil(core.list_folder(spool))
  end)

  it("takes no longer than close may where Nexus hangs", function()
    local listener = assert(socket.bind("127.0.0.1", 0)) -- accepts and says nothing
    finally(function() listener:close() end)
    local _, port = listener:getsockname()
    local client
    local function seconds_to_close()
      os.execute("rm -rf " .. servers.quote(spool))
      warnings = {}
      client = new_client("http://127.0.0.1:" .. port, { nexus = { base_url = "http://127.0.0.1:" .. port,
        api_key = KEY } })
      for number = 1, 50 do trace(client, "t" .. number) end
      local started = core.monotonic()
      assert.is_false(client:close(1.0))
      return core.monotonic() - started
    end
    local seconds = in_time.least(1.05, seconds_to_close(), seconds_to_close)
    assert.is_true(seconds <= 1.05, seconds)
    assert.same({ 50, 100 }, { client:stats().traces_spooled, client:stats().spans_spooled })
    assert.equal(50, files())
    assert.same({ "not delivered to Nexus, but kept in the spool for the next client or nexus-assistants flush: "
      .. "50 traces and 100 spans; it did not answer at http://127.0.0.1:" .. port
      .. " before the time to close was over" }, warnings)
  end)

  it("says once what stays there where answers are lost", function()
    for _, action in ipairs({ "drop", "drop_answered" }) do
      server:faults({ { path = "/api/v1", action = action } })
      warnings = {}
      local client = new_client(server.nexus_url, { nexus = { base_url = server.nexus_url, api_key = KEY, timeout = 1,
        flush_interval = 0.05 } })
      trace(client, "t")
      client:sleep(0.4)
      assert.is_false(client:close(0.5))
      assert.equal(1, #warnings, table.concat(warnings, "\n"))
      assert.truthy(warnings[1]:find("kept in the spool for the next client or nexus-assistants flush: 1 trace; it "
        .. "can't be reached at " .. server.nexus_url, 1, true), warnings[1])
      server:clear_faults()
    end
  end)

  it("keeps what somebody else than Nexus answers to, and says so once", function()
    for _, fault in ipairs({ { action = "html" }, { action = "text", body = "{}" }, { action = "html", status = 400 },
      { action = "status", status = 405, body = "" } }) do
      os.execute("rm -rf " .. servers.quote(spool))
      fault.path, warnings = "/api/v1", {}
      server:faults({ fault })
      local client = new_client(server.nexus_url)
      for number = 1, 3 do trace(client, "t" .. number) end
      client:sleep(0.2)
      assert.is_false(client:close(0.5))
      assert.same({ ("%s is no Nexus (%d): traces are not delivered, but kept until they can be; check nexus.base_url "
        .. "or NEXUS_BASE_URL"):format(server.nexus_url, fault.status or 200) }, warnings)
      local result = process.run({ process.path("bin/nexus-assistants"), "flush", spool },
        { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url })
      assert.same({ 1, 3 }, { result.code, files() }, result.out)
    end
  end)

  it("is told of once where the key is refused", function()
    server:faults({ { path = "/api/v1", action = "status", status = 401, delay = 0.05 } })
    local client = new_client(server.nexus_url)
    for number = 1, 5 do trace(client, "t" .. number) end
    assert.is_false(client:close(2))
    assert.same({ "Nexus refused the API key (401): traces are not delivered, but kept until they can be; "
      .. "check nexus.api_key or NEXUS_API_KEY" }, warnings)
  end)

  it("takes away what has no trace in it", function()
    local folder = spool .. "/" .. ("ab"):rep(8)
    assert(core.make_directory(folder))
    for name, text in pairs({ ["1.jsonl"] = "-race", ["2.jsonl"] = "", ["3.jsonl"] = '{"trace":"broken' }) do
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    local client = new_client(server.nexus_url)
    drive_until(client, function() return core.list_folder(folder) == nil end)
    assert.same({ 0, 1 }, { client:stats().spool_dropped, client:stats().spool_unreadable })
    assert.is_true(client:close(1))
    assert.same({}, warnings)
  end)

  local function leave(agent, count)
    server:faults({ { path = "/api/v1", action = "status", status = 503 } })
    local client = new_client(server.nexus_url, { agent_id = agent })
    for _ = 1, count or 1 do trace(client, agent) end
    client:close(0.1)
    server:clear_faults()
    assert.equal(count or 1, files())
    warnings = {}
  end

  it("keeps what can't be opened for a while", function()
    leave("unread")
    local read_file, asked = folders.read_file, false
    folders.read_file = function(path)
      asked = asked or path:find("%.jsonl$") ~= nil
      return nil, "too many open files"
    end
    local client = new_client(server.nexus_url)
    local ok, problem = pcall(drive_until, client, function() return asked end)
    client:close(1)
    folders.read_file = read_file
    assert.same({ true }, { ok, problem })
    assert.equal(1, files())
    client = new_client(server.nexus_url)
    drive_until(client, function() return files() == 0 end)
    client:close(1)
    assert_whole(traces_named("unread")[1])
  end)

  -- ----------------------------------------------------------------------------------------------- lost answers

  for what, body in pairs({ ["a number"] = "5", ["the start of a text"] = '{"trace_id":"', nothing = "" }) do
    it("looks for what may have arrived where Nexus answers with " .. what, function()
      local agent = "odd " .. what
      leave(agent)
      server:faults({ { path = "/api/v1/traces", method = "POST", action = "status", status = 201, body = body,
        times = 1 } })
      server:clear_requests()
      local client = new_client(server.nexus_url)
      drive_until(client, function() return files() == 0 end)
      assert.is_true(client:close(1))
      local methods = {}
      for _, request in ipairs(server:requests()) do methods[#methods + 1] = request.method end
      assert.same({ "POST", "GET", "POST" }, { methods[1], methods[2], methods[3] })
      assert_whole(traces_named(agent)[1])
      assert.same({}, warnings)
    end)
  end

  it("doesn't wait for a time that a clock told which was set back since", function()
    leave("clock")
    local pipe = io.popen("ls " .. servers.quote(spool) .. "/*/*.jsonl")
    local path = pipe:read("*l")
    pipe:close()
    local file = assert(io.open(path, "a"))
    file:write(('{"trace":"%s","left":true,"doubt":true,"until":9000000000000}\n'):format(content():match("%x+", 10)))
    file:close()
    local client = new_client(server.nexus_url)
    drive_until(client, function() return files() == 0 end)
    assert.is_true(client:close(1))
    assert_whole(traces_named("clock")[1])
  end)

  it("doesn't take a list it doesn't understand for one without the trace", function()
    leave("listed")
    server:faults({
      { path = "/api/v1/traces", method = "POST", action = "drop_answered", times = 1 },
      { path = "/api/v1/traces", method = "GET", action = "status", status = 200, body = '{"data":[]}', times = 1 },
      { path = "/api/v1/traces", method = "GET", action = "status", status = 200,
        body = "[" .. ("1,"):rep(199) .. "1]", times = 1 },
    })
    local client = new_client(server.nexus_url)
    drive_until(client, function() return files() == 0 end)
    assert.is_true(client:close(1))
    assert.equal(1, #traces_named("listed"))
    assert_whole(traces_named("listed")[1])
  end)

  it("isn't sent where it can't be said in the file that it was", function()
    leave("marked")
    local open, tried = io.open, false
    io.open = function(name, mode) -- luacheck: ignore
      tried = tried or mode == "r+b"
      if mode == "r+b" then return nil, "read-only" end
      return open(name, mode)
    end
    local client = new_client(server.nexus_url)
    local ok, problem = pcall(drive_until, client, function() return tried end)
    client:close(0)
    io.open = open -- luacheck: ignore
    assert.same({ true }, { ok, problem })
    assert.equal(1, files())
    assert.same({}, traces_named("marked"))
  end)

  it("goes on after an answer of a form that nobody expects", function()
    leave("odd")
    server:faults({
      { path = "/api/v1/traces/", method = "POST", action = "status", status = 503, times = 1 },
      { path = "/api/v1/traces/", method = "GET", action = "status", status = 200, body = '{"spans":[1]}', times = 1 },
    })
    local client = new_client(server.nexus_url)
    drive_until(client, function() return files() == 0 end)
    assert.is_true(client:close(1))
    assert_whole(traces_named("odd")[1])
    assert.same({}, warnings)
  end)

  it("looks for what may have arrived before it is sent again", function()
    local client = new_client(server.nexus_url, { agent_id = "lost" })
    server:faults({
      { path = "/api/v1/traces", method = "POST", action = "drop_answered", times = 1 },
      { path = "/api/v1/traces/", method = "POST", action = "drop_answered", times = 1 },
    })
    trace(client, "lost")
    drive_until(client, function() return client:stats().spool_left == 0 and client:stats().traces_spooled == 1 end)
    assert.is_true(client:close(2))
    local found = traces_named("lost")
    assert.equal(1, #found)
    assert_whole(found[1])
    assert.equal(0, client:stats().repeated_unconfirmed)
  end)

  it("does so while the client closes, where there is time", function()
    local client = new_client(server.nexus_url, { agent_id = "closing" })
    server:faults({ { path = "/api/v1/traces", method = "POST", action = "drop_answered", times = 1, skip = 1 } })
    trace(client, "closing")
    assert.is_true(client:close(5))
    local found = traces_named("closing")
    assert.equal(1, #found)
    assert_whole(found[1])
  end)

  it("ends what is under way as the client closes, rather than look for it", function()
    leave("slow")
    server:faults({ { path = "/api/v1", action = "pass", delay = 0.3 } })
    server:clear_requests()
    local client = new_client(server.nexus_url, { nexus = { base_url = server.nexus_url, api_key = KEY } })
    drive_until(client, function() return #server:requests() > 0 end)
    assert.is_true(client:close(20))
    local asked = {}
    for _, request in ipairs(server:requests()) do asked[#asked + 1] = request.method end
    assert.same({ "POST", "POST", "POST" }, asked)
    assert_whole(traces_named("slow")[1])
    assert.equal(0, files())
  end)

  it("tells what became known of a trace that was there already", function()
    local client = new_client(server.nexus_url, { agent_id = "long" })
    client:trace({ name = "long" }, function(traced)
      client:sleep(0.2)
      server:faults({ { path = "/api/v1", action = "drop" } })
      traced:span("outer", function() traced:span("inner", { type = "tool" }, function() end) end)
      traced:set("late", true)
    end)
    assert.is_false(client:close(0.2))
    server:clear_faults()
    client = new_client(server.nexus_url)
    drive_until(client, function() return client:stats().spool_traces == 1 end)
    assert.equal(2, client:stats().spool_spans)
    client:close(1)
    local there = traces_named("long")[1]
    assert_whole(there)
    for _, span in ipairs(there.spans) do
      if span.name == "trace.end" then return assert.is_true(span.output.late) end
    end
    error("there is no trace.end")
  end)

  -- ---------------------------------------------------------------------------------------------------- sharing

  it("is shared by processes: what one works on is not another's", function()
    server:faults({ { path = "/api/v1", action = "status", status = 503 } })
    local one = new_client(server.nexus_url, { agent_id = "one" })
    trace(one, "one")
    local other = new_client(server.nexus_url, { agent_id = "two" })
    trace(other, "two")
    assert.equal(2, files())
    assert.same({}, (folders.take(spool, server.nexus_url, function() end, "jsonl")))
    server:clear_faults()
    assert.is_true(one:close(5))
    assert.is_true(other:close(5))
    assert.same({ 1, 1 }, { #traces_named("one"), #traces_named("two") })
  end)

  it("can be delivered by the command, which says what stays", function()
    local client = new_client(server.nexus_url, { agent_id = "flushed" })
    server:faults({ { path = "/api/v1", action = "status", status = 503 } })
    trace(client, "flushed")
    client:close(0.1)
    local environment = { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url }
    local function flush() return process.run({ process.path("bin/nexus-assistants"), "flush", spool }, environment) end
    local result = flush()
    assert.equal(1, result.code)
    assert.truthy(result.out:find("1 trace stays: Nexus answers 503", 1, true), result.out .. result.err)
    for status, names in pairs({ [401] = "nexus.api_key or NEXUS_API_KEY", [302] = "nexus.base_url or NEXUS_BASE_URL",
      [404] = "nexus.base_url or NEXUS_BASE_URL" }) do
      server:faults({ { path = "/api/v1", action = "status", status = status } })
      local said = ("answers %d at %s; check %s\n"):format(status, server.nexus_url, names)
      assert.truthy(flush().out:find(said, 1, true))
    end
    server:clear_faults()
    environment.NEXUS_BASE_URL = server.nexus_url .. "/other"
    assert.same({ code = 1, out = ("delivered 0 traces and 0 spans\n1 trace waits for %s\n"):format(server.nexus_url),
      err = "" }, flush())
    environment.NEXUS_BASE_URL = server.nexus_url
    result = flush()
    assert.same({ 0, "delivered 1 trace and 2 spans\n", "" }, { result.code, result.out, result.err })
    assert_whole(traces_named("flushed")[1])
    assert.equal(0, files())
    assert.equal("delivered 0 traces and 0 spans\n", flush().out)
  end)

  local function flushed()
    return process.run({ process.path("bin/nexus-assistants"), "flush", spool },
      { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url })
  end

  it("goes on with the others where one is refused by somebody between", function()
    leave("between", 9)
    server:faults({ { path = "/api/v1/traces", method = "POST", action = "html", status = 406, times = 4 } })
    local result = flushed()
    assert.same({ 1, "" }, { result.code, result.err })
    assert.equal("delivered 5 traces and 10 spans\n4 traces stay: Nexus answers 406 at " .. server.nexus_url .. "\n",
      result.out)
    for _, there in ipairs(traces_named("between")) do assert_whole(there) end
    assert.same({ 5, 4 }, { #traces_named("between"), files() })
  end)

  it("isn't shown to somebody else for long", function()
    leave("elsewhere", 20)
    server:faults({ { path = "/api/v1/traces", method = "POST", action = "html", status = 406 } })
    server:clear_requests()
    assert.truthy(flushed().out:find("20 traces stay: Nexus answers 406", 1, true))
    assert.is_true(#server:requests() <= 12)
  end)

  -- Runs a script until something is so, for some seconds at most, and kills it.
  local function kill_once(is_so, text)
    local pipe = assert(io.popen("echo $$; " .. servers.command({ "-e", text }) .. " 2>&1"))
    local pid, due = pipe:read("*l"), core.monotonic() + 30
    while not is_so() and core.monotonic() < due do socket.sleep(0.01) end
    os.execute("kill -9 " .. pid)
    assert.equal("", pipe:read("*a"))
    pipe:close()
  end

  it("of a killed process ends when that was at work last, and counts as one trace", function()
    kill_once(function() return traces_named("killed")[1] end, ([[
      local nexus = require("nexus_assistants")
      local client = nexus.new({ agent_id = "killed", provider = "script", store = "memory", spool = %q,
        nexus = { base_url = %q, api_key = %q, flush_interval = 0.01 } })
      client:trace({ name = "killed" }, function(traced)
        traced:span("outer", function()
          traced:span("inner", function() end)
          while true do client:sleep(1) end
        end)
      end)
    ]]):format(spool, server.nexus_url, KEY))
    os.execute("touch -d 2037-01-02T03:04:05.5Z " .. servers.quote(spool) .. "/*/lock")
    local client = new_client(server.nexus_url)
    drive_until(client, function() return files() == 0 end)
    assert.same({ 1, 2 }, { client:stats().spool_traces, client:stats().spool_spans })
    client:close(1)
    local there = traces_named("killed")[1]
    assert.equal("2037-01-02T03:04:05.500000Z", there.ended_at)
    for _, span in ipairs(there.spans) do
      assert.equal(span.name ~= "inner", span.ended_at:sub(1, 4) == "2037", span.name)
    end
  end)

  it("is delivered by the command, which says on a terminal whom it waits for", function()
    local client = new_client(server.nexus_url)
    server:faults({ { path = "/api/v1", action = "status", status = 503 } })
    trace(client, "slow")
    client:close(0.1)
    server:faults({ { path = "/api/v1", action = "pass", delay = 2.2, times = 1 } })
    local chunk = 'os.exit(require("nexus_assistants.cli").main({ "flush", %q }))'
    local seen = process.chunk_on_terminal(chunk:format(spool),
      { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url })
    if not seen then return pending("util-linux's script, or a terminal for it, isn't here") end
    assert.equal(("begun\nnexus-assistants: still delivering to %s\ndelivered 1 trace and 2 spans\n")
      :format(server.nexus_url), seen)
  end)

  it("for an address that was wrong goes where it should with the command", function()
    local client = new_client(NOBODY, { agent_id = "misdirected" })
    trace(client, "misdirected")
    client:close(0)
    local environment = { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url }
    local function flush(...)
      return process.run({ process.path("bin/nexus-assistants"), "flush", spool, ... }, environment)
    end
    -- what is called so is meant, also where a receiver of OTLP's is there, too
    for _, one in ipairs({ "0000000000000000", "ffffffffffffffff" }) do
      local other = spool .. "/" .. one
      assert(core.make_directory(other))
      for name, text in pairs({ lock = "otlp " .. NOBODY .. "/v1/traces", ["1.otlp"] = "{" }) do
        local file = assert(io.open(other .. "/" .. name, "w"))
        file:write(text)
        file:close()
      end
    end
    assert.same("nexus-assistants: nothing waits for http://nobody in '" .. spool .. "'\n",
      flush("--from", "http://nobody").err)
    environment.NEXUS_BASE_URL = NOBODY -- nothing is tried, nor counted, twice
    assert.matches("^delivered 0 traces and 0 spans\n1 trace stays: ", flush("--from", NOBODY).out)
    environment.NEXUS_BASE_URL = server.nexus_url
    assert.same("nexus-assistants: nothing waits for http://***@nobody in '" .. spool .. "'\n",
      flush("--from", "http://me:hunter2@nobody").err)
    assert.same({ code = 1, err = "",
      out = "delivered 1 trace and 2 spans\n2 batches wait for " .. NOBODY .. "/v1/traces\n" }, flush("--from", NOBODY))
    assert_whole(traces_named("misdirected")[1])
    assert.equal(0, files())
  end)

  it("that is for another Nexus is no concern of the command's while a process is at work on it", function()
    local client = new_client(NOBODY)
    client:trace({ name = "t" }, function(traced)
      traced:span("s", function() end)
      local result = process.run({ process.path("bin/nexus-assistants"), "flush", spool },
        { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url })
      assert.same({ code = 0, out = "delivered 0 traces and 0 spans\n1 trace waits for " .. NOBODY .. "\n", err = "" },
        result)
    end)
    client:close(0)
  end)

  it("has nothing that waits in files for the next trace", function()
    local folder = spool .. "/" .. ("ab"):rep(8)
    assert(core.make_directory(folder))
    for name, text in pairs({ lock = NOBODY, ["1.jsonl"] = '-"trace":"ab', ["2.jsonl"] = "" }) do
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    assert.same({ code = 0, out = "delivered 0 traces and 0 spans\n", err = "" },
      process.run({ process.path("bin/nexus-assistants"), "flush", spool },
        { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url }))
  end)

  it("that holds what can't be read has the command end with 1: it is lost", function()
    local folder = spool .. "/" .. ("ab"):rep(8)
    assert(core.make_directory(folder))
    for name, text in pairs({ lock = NOBODY, ["1.jsonl"] = '{"trace":"broken' }) do
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    assert.same({ code = 1, out = "delivered 0 traces and 0 spans\n1 trace could not be read\n", err = "" },
      process.run({ process.path("bin/nexus-assistants"), "flush", spool },
        { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = NOBODY }))
  end)

  it("that holds what is no trace has the command say so: it was one, as a rule", function()
    local folder = spool .. "/" .. ("ab"):rep(8)
    assert(core.make_directory(folder))
    for name, text in pairs({ lock = NOBODY, ["1.jsonl"] = ("\0"):rep(100), ["2.jsonl"] = "garbage\n",
      ["3.jsonl"] = "", ["4.jsonl"] = '-"trace":"ab' }) do
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    local environment = { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = NOBODY, NEXUS_ASSISTANTS_SPOOL = spool }
    local doctor = process.run({ process.path("bin/nexus-assistants"), "doctor" }, environment)
    assert.truthy(doctor.out:find("spool        2 traces, 108 bytes, ", 1, true), doctor.out)
    assert.same({ code = 1, out = "delivered 0 traces and 0 spans\n2 traces could not be read\n", err = "" },
      process.run({ process.path("bin/nexus-assistants"), "flush" }, environment))
    assert.same({}, core.list_folder(spool))
  end)

  it("that can't be taken over has the command say so", function()
    local function mount_again(how) os.execute("mount -o remount," .. how .. " " .. servers.quote(spool)) end
    local path = servers.quote(spool)
    if not os.execute(("mkdir -p %s && mount -t tmpfs none %s 2>/dev/null"):format(path, path)) then
      return pending("a disk can't be mounted")
    end
    finally(function() os.execute("umount " .. path) end)
    local client = new_client(NOBODY)
    trace(client, "t")
    client:close(0)
    mount_again("ro")
    local environment = { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = NOBODY }
    local function flush() return process.run({ process.path("bin/nexus-assistants"), "flush", spool }, environment) end
    local result = flush()
    assert.same({ 1, "" }, { result.code, result.err })
    assert.matches("^delivered 0 traces and 0 spans\n1 trace can't be opened now: can't lock '[^']+/lock': "
      .. "Read%-only file system\n$", result.out)
    mount_again("rw")
    server:clear_faults()
    assert.truthy(flush().out:find("1 trace stays: Nexus can't be reached", 1, true))
  end)

  it("that an ended process left for another Nexus is told though others are at work for that", function()
    local client = new_client(NOBODY)
    trace(client, "left")
    client:close(0)
    local living = new_client(NOBODY, { limits = { max_spool_age = 3600 } })
    living.spools[1].queue = {}
    living:trace({ name = "t" }, function(traced)
      traced:span("s", function() end)
      local result = process.run({ process.path("bin/nexus-assistants"), "flush", spool },
        { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url })
      assert.same({ code = 1, out = "delivered 0 traces and 0 spans\n2 traces wait for " .. NOBODY .. "\n", err = "" },
        result)
    end)
    living:close(0)
  end)

  it("doesn't wait for a pipe in it", function()
    local folder = spool .. "/" .. ("ab"):rep(8)
    assert(core.make_directory(folder))
    os.execute("mkfifo " .. servers.quote(folder .. "/lock"))
    local other = spool .. "/" .. ("cd"):rep(8)
    assert(core.make_directory(other))
    os.execute("mkfifo " .. servers.quote(other .. "/1.jsonl"))
    local pipe = io.popen("export NEXUS_API_KEY=x NEXUS_BASE_URL=" .. server.nexus_url .. "; timeout 20 sh -c "
      .. servers.quote(servers.command({ process.path("bin/nexus-assistants"), "flush", spool })) .. " 2>&1; echo $?")
    assert.equal("delivered 0 traces and 0 spans\n0\n", pipe:read("*a"))
    pipe:close()
  end)

  it("must be one for the command, or empty", function()
    local environment = { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url, NEXUS_ASSISTANTS_SPOOL = "off" }
    local function flush()
      return process.run({ process.path("bin/nexus-assistants"), "flush", spool }, environment)
    end
    local none = { code = 0, out = "delivered 0 traces and 0 spans\n", err = "" }
    assert(core.make_directory(spool))
    assert.same(none, flush())
    assert(io.open(spool .. "/notes.txt", "w")):close()
    assert.same({ code = 1, out = "", err = "nexus-assistants: '" .. spool .. "' is no spool: it holds other things, "
      .. "and nothing of a client's; name another folder, or none for the user's own\n" }, flush())
    assert(core.make_directory(spool .. "/" .. ("ab"):rep(8)))
    assert.same(none, flush())
  end)

  it("has nowhere to go where OpenTelemetry is off, and that is said", function()
    assert(core.make_directory(spool))
    local environment = { OTEL_EXPORTER_OTLP_ENDPOINT = NOBODY, OTEL_SDK_DISABLED = "true" }
    assert.same({ code = 1, out = "",
      err = "nexus-assistants: NEXUS_API_KEY is not set, and OTEL_SDK_DISABLED is true\n" },
      process.run({ process.path("bin/nexus-assistants"), "flush", spool }, environment))
  end)

  it("must be there for the command, and on", function()
    local environment = { NEXUS_API_KEY = KEY, NEXUS_BASE_URL = server.nexus_url, NEXUS_ASSISTANTS_SPOOL = "off" }
    local command = process.path("bin/nexus-assistants")
    assert.same({ code = 1, out = "", err = "nexus-assistants: can't read the folder '" .. spool
      .. "': No such file or directory\n" }, process.run({ command, "flush", spool }, environment))
    assert.same({ code = 1, out = "",
      err = "nexus-assistants: the spool is off (NEXUS_ASSISTANTS_SPOOL): name a folder\n" },
      process.run({ command, "flush" }, environment))
    environment.NEXUS_ASSISTANTS_SPOOL = spool
    assert.same({ code = 0, out = "delivered 0 traces and 0 spans\n", err = "" },
      process.run({ command, "flush" }, environment))
    assert(io.open(spool, "w")):close()
    assert.same({ code = 1, out = "",
      err = "nexus-assistants: can't read the folder '" .. spool .. "': Not a directory\n" },
      process.run({ command, "flush" }, environment))
  end)

  -- ------------------------------------------------------------------------------------------------------- quota

  for status, body in pairs({ [429] = LIMIT, [403] = '{"error":"Free plan limited to 1 agent"}' }) do
    it("keeps what Nexus has no room for (" .. status .. "), and goes on once it has", function()
      local agent = "quota" .. status
      local client = new_client(server.nexus_url, { agent_id = agent })
      server:faults({ { path = "/api/v1/traces", method = "POST", action = "status", status = status, body = body } })
      for number = 1, 3 do
        trace(client, "t" .. number)
        client:sleep(0.1)
      end
      assert.equal(3, client:stats().spool_left)
      assert.equal(1, #warnings, table.concat(warnings, "\n"))
      local creations = 0
      for _, request in ipairs(server:requests()) do
        if request.method == "POST" then creations = creations + 1 end
      end
      assert.is_true(creations <= 2, creations .. " traces were tried")
      server:clear_faults()
      client.spools[1]:resume()
      drive_until(client, function() return client:stats().spool_left == 0 end)
      trace(client, "t4")
      assert.is_true(client:close(5))
      assert.same({ 4, 3 }, { #traces_named(agent), client:stats().traces_spooled })
    end)
  end

  -- --------------------------------------------------------------------------------------------------- the disk

  local JOB = [[
    local nexus = require("nexus_assistants")
    local client = assert(nexus.new({ provider = "script", store = "memory", spool = %q,
      nexus = { base_url = %q, api_key = "nxs_x", timeout = 0.5 }, on_warning = print }))
    for number = 1, 20 do
      client:trace({ name = "t" .. number }, function(traced)
        traced:span("s", function(span) span:output(("x"):rep(2000)) end)
      end)
    end
    print("done", client:close(%s))
  ]]

  local function run_job(prefix, url, close)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(JOB:format(spool, url, close))
    file:close()
    local pipe = io.popen(prefix .. process.command({ path }) .. " 2>&1")
    local text = pipe:read("*a")
    pipe:close()
    os.remove(path)
    return text
  end

  local function assert_one_warning(text, pattern)
    local _, count = text:gsub("can't be kept", "")
    assert.equal(1, count, text)
    assert.truthy(text:find(pattern), text)
  end

  for _, limit in ipairs({ 0, 2 }) do
    it("is warned of once where files may not grow (" .. limit .. "), and all is delivered", function()
      local text = run_job("ulimit -f " .. limit .. "; ", server.nexus_url, 5)
      assert_one_warning(text, "[Ff]ile too large")
      assert.truthy(text:find("done\ttrue"), text)
    end)
  end

  it("is warned of once where it can't be written", function()
    local file = assert(io.open(spool, "w")) -- a file is no folder, whoever the user is
    file:close()
    local text = run_job("", server.nexus_url, 5)
    assert_one_warning(text, "[Nn]ot a directory")
    assert.truthy(text:find("done\ttrue"), text)
  end)

  -- Where this user may, a disk in place of the spool.
  local function mount(options)
    local path = servers.quote(spool)
    return os.execute(("mkdir -p %s && mount -t tmpfs -o %s none %s 2>/dev/null"):format(path, options, path))
  end

  local function unmount() os.execute("umount " .. servers.quote(spool)) end

  it("is warned of once where the disk is read-only, and all is delivered", function()
    if not mount("ro") then return pending("a disk can't be mounted") end
    finally(unmount)
    local text = run_job("", server.nexus_url, 5)
    assert_one_warning(text, "Read%-only file system")
    assert.truthy(text:find("done\ttrue"), text)
  end)

  it("is warned of once where the disk is full", function()
    if not mount("size=16k") then return pending("a disk can't be mounted") end
    finally(unmount)
    local text = run_job("", NOBODY, 1)
    assert.truthy(text:find("not delivered to Nexus, nor kept in the spool: %d+ traces"), text)
    assert_one_warning(text, "No space left")
    assert.truthy(text:find("done\tfalse"), text)
    assert.is_true(files() >= 1)
    for line in content():gmatch("[^\n]+") do assert.truthy(line:find("^{.*}$"), line:sub(1, 80)) end
  end)

  -- ------------------------------------------------------------------------------------------------------- caps

  it("holds its caps while the client runs, the oldest go first, failed ones last", function()
    local client = new_client(NOBODY, { limits = { max_spool_files = 3 } })
    pcall(client.trace, client, { name = "failed" }, function() error("it failed") end)
    for number = 1, 5 do trace(client, "t" .. number) end
    assert.equal(3, files())
    client:close(0.1)
    local stats = client:stats()
    assert.same({ 3, 3 }, { stats.spool_files, stats.spool_dropped })
    local text = content()
    assert.truthy(text:find('"name":"failed"', 1, true))
    assert.truthy(text:find('"name":"t5"', 1, true))
    assert.is_nil(text:find('"name":"t3"', 1, true))
  end)

  it("says of what has no room as the client closes that it is lost", function()
    for _, room in ipairs({ 8200, 16400, 17000, 1e6 }) do
      os.execute("rm -rf " .. servers.quote(spool))
      warnings = {}
      local client = new_client(NOBODY, { limits = { max_spool_bytes = room } })
      for number = 1, 6 do
        client:trace({ name = "t" .. number }, function(traced)
          traced:span("s", function(span) span:output(("x"):rep(1500)) end)
        end)
      end
      client:close(0.1)
      local stats, kept = client:stats(), files()
      assert.same({ kept, kept, 6 - kept }, { stats.traces_spooled, stats.spool_left, stats.traces_failed }, room)
      local told = kept == 6 and "but kept in the spool for the next client or nexus-assistants flush: 6 traces"
        or ("nor kept in the spool: %d trace"):format(6 - kept)
      assert.truthy(warnings[1]:find(told, 1, true), warnings[1])
    end
  end)

  it("holds what others left to them, too", function()
    for number = 1, 3 do
      local client = new_client(NOBODY)
      trace(client, "t" .. number)
      client:close(0.1)
    end
    local client = new_client(NOBODY, { limits = { max_spool_files = 2 } })
    drive_until(client, function() return client:stats().spool_dropped == 1 end)
    client:close(0)
    assert.equal(2, files())
    assert.is_nil(content():find('"name":"t1"', 1, true))
    client = new_client(NOBODY, { limits = { max_spool_age = 0.001 } })
    drive_until(client, function() return client:stats().spool_dropped == 2 end)
    client:close(0)
    assert.equal(0, files())
  end)
end)

describe("what ended processes left", function()
  it("counts though it can't be looked into, where its folder can't be had", function()
    local path = os.tmpname()
    os.remove(path)
    local folder = path .. "/" .. ("ab"):rep(8)
    assert(core.make_directory(folder))
    finally(function() os.execute("rm -r " .. path) end)
    local content = { lock = "http://n", ["1.jsonl"] = '{"trace":"ab"', ["2.jsonl"] = "", ["3.jsonl"] = "-" }
    for name, text in pairs(content) do
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    local lock_file, look_at, is_readable = core.lock_file, core.look_at, true
    core.lock_file = function() return nil, { message = "Permission denied" } end -- luacheck: ignore
    core.look_at = function(...) -- luacheck: ignore
      local seen = look_at(...)
      if seen then seen.is_readable = is_readable end
      return seen
    end
    local function shut()
      local _, _, found = folders.take(path, "http://n", function() end, "jsonl")
      return found
    end
    local readable = shut()
    is_readable = false
    local unreadable = shut()
    core.lock_file, core.look_at = lock_file, look_at -- luacheck: ignore
    assert.same({ { count = 1, problem = "Permission denied" }, { count = 2, problem = "Permission denied" } },
      { readable, unreadable })
  end)

  it("isn't dropped for the room of what is too large or too old itself", function()
    local folder, entries = { count = 5, kept = 0 }, {}
    for index, size in ipairs({ 200, 40, 40, 40, 90 }) do
      entries[index] = { path = "/nowhere/" .. index .. ".otlp", folder = folder, size = size,
        started_at = "2026-01-0" .. 6 - index }
    end
    entries[5].failed = true
    local kept, dropped = folders.cap(entries, { files = 9, bytes = 100, oldest = "2026-01-02" }, function() end)
    local left = {}
    for index, entry in ipairs(kept) do left[index] = entry.started_at end
    assert.same({ { "2026-01-04", "2026-01-03" }, 3, 2 }, { left, dropped, folder.count })
  end)

  it("leaves by what failed and by age, however many there are, and lets others have their turn meanwhile", function()
    for _, count in ipairs({ 2, 3, 4, 5, 127, 1000 }) do
      local folder, entries, breaths = { count = count, kept = 0 }, {}, 0
      for index = 1, count do
        entries[index] = { path = "/nowhere/" .. index .. ".otlp", folder = folder, size = 1,
          started_at = ("%06d"):format(index * 7919 % 104729), failed = index % 3 == 0 }
      end
      local kept, dropped = folders.cap(entries, { files = count - 1, bytes = 1e9, oldest = "0" }, function()
        breaths = breaths + 1
      end)
      assert.same({ count - 1, 1 }, { #kept, dropped })
      for index = 2, #kept do
        local one, next_one = kept[index - 1], kept[index]
        assert.is_true(one.failed and not next_one.failed
          or one.failed == next_one.failed and one.started_at > next_one.started_at)
      end
      local levels = math.ceil(math.log(count) / math.log(2) - 1e-9)
      assert.equal(count + levels * math.floor(count / 8) + 1, breaths) -- as it reads, merges, and drops
    end
  end)
end)

describe("what is asked of Nexus for a trace of the spool", function()
  local ID = ("ab"):rep(16)
  local TIMES = '"started_at":"2026-01-01T00:00:00.000Z","ended_at":"2026-01-01T00:00:02.000Z"'
  local SPAN = '{"trace":"%s","span":"%s","parent":"%s","open":false,"body":{"name":"n","status":"ok",%s}}\n'

  local function made(more)
    local found = record.read(('{"trace":"%s","nexus":"http://n","state":{%s,"agent_id":"a","name":"n",' ..
      '"status":"success","metadata":{"trace_id":"%s"}}}\n'):format(ID, TIMES, ID) .. SPAN:format(ID, "a1", "", TIMES)
      .. SPAN:format(ID, "a2", "a1", TIMES))
    record.close(found)
    for name, value in pairs(more or {}) do found[name] = value end
    return found
  end

  it("has an end where nothing is made, though many others began at its time", function()
    local others, asked = {}, 0
    for index = 1, 200 do others[index] = { id = "t" .. index } end
    local outcome = delivery.deliver(made({ doubt = true }), { wall = os.time, ask = function(method)
      asked = asked + 1
      assert.equal("GET", method)
      return { status = 200, value = others }
    end })
    assert.same({ "later", 100 }, { outcome, asked })
  end)

  it("names no parent whose id isn't known", function()
    local posted = {}
    assert.equal("done", delivery.deliver(made(), { wall = os.time, ask = function(_, path, _, body)
      if path == delivery.TRACES then return { status = 201, value = { trace_id = "t1" } } end
      posted[#posted + 1] = body
      return { status = 201, value = {} }
    end }))
    assert.equal(2, #posted)
    assert.is_nil(posted[2]:find("parent_span_id", 1, true))
  end)
end)

describe("a file in the spool", function()
  local ID = ("ab"):rep(16)
  local STATE = '{"trace":"' .. ID .. '","nexus":"http://n","state":{"agent_id":"a","name":"n","status":"running",'
    .. '"started_at":"2026-01-01T00:00:00.000000Z","metadata":{"trace_id":"' .. ID .. '"}}}\n'

  local function span(id, parent, open, body)
    return ('{"trace":"%s","span":"%s","parent":"%s","open":%s,"body":{"name":"%s","status":"ok",%s}}\n'):format(ID, id,
      parent, open, id, body)
  end

  local BEGIN, END = '"started_at":"2026-01-01T00:00:01.000000Z"', ',"ended_at":"2026-01-01T00:00:02.000000Z"'

  it("ends at a line that was cut, or is another trace's", function()
    local whole = STATE .. span("a1", "", "false", BEGIN .. END)
    for _, rest in ipairs({ "", '{"trace":"' .. ID .. '","span":"b', 'ce"}}\n' .. whole,
      (whole:gsub(ID, ("cd"):rep(16))) }) do
      local found = record.read(whole .. rest)
      assert.same({ 1, #whole }, { #found.spans, found.length })
    end
    assert.is_nil(record.read(""))
    assert.is_nil(record.read("-" .. whole:sub(2)))
  end)

  it("has no trace where that doesn't say when it began", function()
    assert.truthy(record.read(STATE))
    assert.is_nil(record.read((STATE:gsub('"started_at":"2026', '"started_at":"soon'))))
    assert.is_nil(record.read((STATE:gsub('"started_at":"[^"]*",', ""))))
    assert.is_nil(record.read((STATE:gsub('"state":.*', '"state":1}\n'))))
  end)

  it("is closed as interrupted where its process didn't", function()
    local found = record.read(STATE .. span("a1", "b2", "false", BEGIN .. END) .. span("b2", "", "true", BEGIN))
    record.close(found)
    assert.same({ "error", "2026-01-01T00:00:02.000000Z", "interrupted: the process ended first" },
      { found.state.status, found.state.ended_at, found.state.metadata.error })
    local open = found.by_id.b2.body
    assert.same({ "error", found.state.ended_at, found.state.metadata.error },
      { open.status, open.ended_at, open.error })
    assert.equal("ok", found.by_id.a1.body.status)
    local order = record.in_order(found)
    assert.same({ "b2", "a1" }, { order[1].id, order[2].id })
    assert.equal('{"parent_span_id":"p","name":"a1"', record.span_text(found.by_id.a1, "p"):sub(1, 33))
  end)

  it("has nothing of a span that was taken back, whatever is left of its line", function()
    local function taken_back(id, parent, rest)
      return ('~"trace":"%s","span":"%s","parent":"%s"%s\n'):format(ID, id, parent, rest)
    end
    local text = STATE .. span("a1", "", "true", BEGIN) .. taken_back("b2", "a1", '   open":true,"body":{"na')
      .. taken_back("c3", "b2", "") .. span("d4", "c3", "false", BEGIN .. END) .. taken_back("e5", "d4", "  ")
      .. span("e5", "d4", "true", BEGIN)
    local found = record.read(text)
    assert.equal(#text, found.length)
    local parents = {}
    for _, one in ipairs(found.spans) do parents[#parents + 1] = one.id .. "<" .. one.parent end
    assert.same({ "a1<", "d4<a1", "e5<d4" }, parents)
  end)

  it("has a tool of a run's end when that did, though the run didn't", function()
    local found = record.read(STATE .. span("a1", "", "true", BEGIN) .. span("b2", "a1", "true", BEGIN .. END)
      .. span("c3", "a1", "true", BEGIN .. END .. ',"error":"no"'))
    record.close(found, "2026-01-01T00:00:07.000000Z")
    local function told(id)
      local body = found.by_id[id].body
      return { body.status, body.ended_at, body.error or "-" }
    end
    assert.same({ "ok", "2026-01-01T00:00:02.000000Z", "-" }, told("b2"))
    assert.same({ "error", "2026-01-01T00:00:02.000000Z", "no" }, told("c3"))
    assert.same({ "error", "2026-01-01T00:00:07.000000Z", "interrupted: the process ended first" }, told("a1"))
  end)

  it("is closed at the time its process was seen at work last, where that is later", function()
    local function end_of_b2(seen_at)
      local found = record.read(STATE .. span("a1", "b2", "false", BEGIN .. END) .. span("b2", "", "true", BEGIN))
      record.close(found, seen_at)
      assert.equal(found.state.ended_at, found.by_id.b2.body.ended_at)
      return found.state.ended_at
    end
    assert.equal("2026-01-01T00:00:07.250000Z", end_of_b2("2026-01-01T00:00:07.250000Z"))
    assert.equal("2026-01-01T00:00:02.000000Z", end_of_b2("2026-01-01T00:00:01.500000Z"))
  end)

  it("has spans that are told apart by what is in them, or not at all", function()
    local function body(input) return { name = "n", status = "ok", started_at = "2026-01-01T00:00:01.000000Z",
      ended_at = "2026-01-01T00:00:02.000Z", input = input } end
    local function row(id, input)
      local made = body(input)
      made.id, made.started_at = id, "2026-01-01T00:00:01Z"
      return made
    end
    local twins = { { id = "1", parent = "", body = body("x") }, { id = "2", parent = "", body = body("y") } }
    match.note_alone(twins)
    local index = match.index({ row("r2", "y") })
    assert.same({ nil, "r2" }, { (match.find(index, twins[1])), match.find(index, twins[2]) })
    assert.equal(1, index.undecided)
    local alone = { id = "3", parent = "", body = body("z") }
    match.note_alone({ alone })
    assert.equal("r3", match.find(match.index({ row("r3", "changed on the way") }), alone))
    alone.body.input = { span_id = "3" }
    assert.is_nil(match.find(match.index({ row("r3", "z") }), alone))
    assert.equal("r4", match.find(match.index({ row("r4", { span_id = "3" }) }), alone))
  end)
end)
