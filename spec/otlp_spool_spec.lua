-- Spans for a receiver of OTLP that waits on the disk: what stays there, what becomes of it, and what the disk and the
-- receiver may refuse.
local batches = require("nexus_assistants.spool.batch")
local core = require("nexus_assistants.core")
local folders = require("nexus_assistants.spool.folders")
local json = require("nexus_assistants.json")
local loopback = require("spec.support.loopback")
local nexus = require("nexus_assistants")
local process = require("spec.support.process")
local scheduler = require("nexus_assistants.scheduler")
local servers = require("spec.support.server")
local spools = require("nexus_assistants.spool")
local to_otlp = require("nexus_assistants.spool.to_otlp")

local KEY = "collector-key-of-nobody"
local NOBODY = "http://127.0.0.1:1"
local PATH = "/v1/traces"
local TAKES = { path = PATH, action = "status", status = 200, body = "{}" }

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- The names of the spans in a request, one for each time it is there.
local function add_names(names, body)
  for _, span in ipairs(json.decode(body).resourceSpans[1].scopeSpans[1].spans) do
    names[span.name] = (names[span.name] or 0) + 1
  end
  return names
end

describe("the spool for a receiver of OTLP", function()
  local spool, warnings, server

  setup(function() server = servers.start({ kind = "fault" }) end)
  teardown(function() server:stop() end)

  before_each(function()
    spool, warnings = os.tmpname(), {}
    os.remove(spool)
    server:faults({ TAKES })
    server:clear_requests()
  end)

  after_each(function() os.execute("rm -rf " .. servers.quote(spool)) end)

  local function new_client(url, more)
    local options = {
      agent_id = "spool", provider = "script", store = "memory", spool = spool, nexus = false,
      otlp = { endpoint = url, protocol = "http/json", timeout = 1, flush_interval = 0.05,
        headers = { Authorization = "Bearer " .. KEY } },
      on_warning = function(text) warnings[#warnings + 1] = text end,
    }
    for name, value in pairs(more or {}) do options[name] = value end
    return assert(nexus.new(options))
  end

  local function trace(client, name, spans)
    client:trace({ name = name }, function(traced)
      for number = 1, spans or 2 do traced:span(name .. "." .. number, function() end) end
    end)
  end

  local function content()
    return output_of("cat " .. servers.quote(spool) .. "/*/*.otlp 2>/dev/null")
  end

  local function files()
    return tonumber(output_of("find " .. servers.quote(spool) .. " -name '*.otlp' 2>/dev/null | wc -l"))
  end

  local function paths()
    local list = {}
    for path in output_of("find " .. servers.quote(spool) .. " -name '*.otlp'"):gmatch("[^\n]+") do
      list[#list + 1] = path
    end
    return list
  end

  local function drive_until(client, is_so)
    local due = core.monotonic() + 30
    while not is_so() and core.monotonic() < due do client:sleep(0.01) end
    assert.is_true(is_so())
  end

  -- What was received since it was last forgotten.
  local function received()
    local names = {}
    for _, request in ipairs(server:requests()) do add_names(names, request.body) end
    return names
  end

  -- Leaves a trace that the receiver answers with that status.
  local function leave(name, status, spans)
    server:faults({ { path = PATH, action = "status", status = status } })
    local client = new_client(server.url)
    trace(client, name, spans)
    client:close(0.2)
    server:faults({ TAKES })
    server:clear_requests()
    return client:stats()
  end

  local function flush(environment, ...)
    environment.OTEL_EXPORTER_OTLP_ENDPOINT = environment.OTEL_EXPORTER_OTLP_ENDPOINT or server.url
    return process.run({ process.path("bin/nexus-assistants"), "flush", spool, ... }, environment)
  end

  -- Delivers the file there is by one attempt, whose requests are answered as `answers` say, each in its turn: a
  -- response, and an error where there is one. Returns what comes of it, the deliverer and the entry.
  local function attempt(answers)
    local position = 0
    local deliverer = {
      path = PATH, endpoint = assert(core.endpoint({ base_url = server.url })), counts = spools.no_counts(),
      scheduler = { protected = function(_, fn, ...) return pcall(fn, ...) end, warn = function() end },
      request = function(_, parts)
        position = position + 1
        local answer = answers[position](parts)
        return answer[1], answer[2]
      end,
    }
    local entry = { path = paths()[1] }
    return to_otlp.attempt(deliverer, entry), deliverer, entry
  end

  local function answering(status)
    return function() return { { status = status, body = "", content_type = "" } } end
  end

  local function unsent()
    return { { status = 0, sent = false }, { kind = "connection", message = "refused" } }
  end

  local function once(name, spans)
    local names = { ["invoke_workflow " .. name] = 1 }
    for number = 1, spans or 2 do names[name .. "." .. number] = 1 end
    return names
  end

  -- ------------------------------------------------------------------------------------------------------ keeping

  it("has nothing left where all was delivered", function()
    local client = new_client(server.url)
    trace(client, "fine")
    assert.is_true(client:close(5))
    assert.same({}, core.list_folder(spool))
    assert.same(once("fine"), received())
    assert.same({}, warnings)
  end)

  it("has a span that has ended at once, for the user alone and without the key", function()
    local client = new_client(NOBODY)
    client:trace({ name = "t" }, function(traced)
      traced:span("first", function() assert.equal("", content()) end)
      assert.truthy(content():find('"name":"first"', 1, true))
    end)
    assert.is_nil(content():find(KEY, 1, true))
    assert.equal("600 f\n700 d\n", output_of("find " .. servers.quote(spool) .. " -printf '%m %y\\n' | sort | uniq"))
    assert.equal("otlp " .. NOBODY .. PATH, output_of("cat " .. servers.quote(spool) .. "/*/lock"))
    client:close(0)
  end)

  for _, protocol in ipairs({ "http/json", "http/protobuf" }) do
    it("keeps what isn't delivered for the next client, which sends the same (" .. protocol .. ")", function()
      local answers, bodies = 503, {}
      local receiver = loopback.new(function(request)
        bodies[#bodies + 1] = request.body
        return answers, "", { ["Retry-After"] = "9" }
      end)
      finally(function() receiver:close() end)
      local function client_of()
        return new_client(receiver.url,
          { otlp = { endpoint = receiver.url, protocol = protocol, flush_interval = 0.01 } })
      end
      local client = client_of()
      trace(client, "later", 300)
      while not bodies[1] do
        client:update()
        receiver:step()
      end
      for _ = 1, 100 do
        client:update()
        receiver:step()
      end
      assert.is_false(client:close(0))
      local stats = client:stats()
      assert.same({ 1, 300, 1, 0, 0 }, { stats.traces_spooled, stats.spans_spooled, stats.spool_left,
        stats.traces_failed, stats.spans_failed })
      assert.equal(1, files())
      answers = 200
      client = client_of()
      while not bodies[2] or client:stats().spool_spans == 0 do
        client:update()
        receiver:step()
      end
      assert.is_true(client:close(1))
      assert.equal(2, #bodies)
      assert.is_true(bodies[1] == bodies[2], "the bodies differ")
      assert.equal(receiver.requests[1].headers["content-type"], receiver.requests[2].headers["content-type"])
      assert.equal(301, client:stats().spool_spans)
      assert.equal(0, files())
    end)
  end

  it("keeps what the key or the address stands against, not what is refused for what it is", function()
    local verdicts = { [401] = 1, [403] = 1, [404] = 1, [307] = 1, [503] = 1, [400] = 0, [415] = 0, [500] = 0 }
    for status, kept in pairs(verdicts) do
      leave("t", status)
      assert.equal(kept, files(), status)
      os.execute("rm -rf " .. servers.quote(spool))
    end
  end)

  it("says once that what was refused waits", function()
    server:faults({ { path = PATH, action = "status", status = 401 } })
    local client = new_client(server.url)
    for number = 1, 3 do
      trace(client, "t" .. number)
      client:sleep(0.1)
    end
    assert.is_false(client:close(1))
    assert.equal(0, client:stats().tasks)
    assert.same({ server.url .. "/v1/traces answers 401: its spans wait in the spool; check "
      .. "otlp.headers or OTEL_EXPORTER_OTLP_[TRACES_]HEADERS" }, warnings)
    assert.same({ 3, 6, 0 }, { client:stats().traces_spooled, client:stats().spans_spooled,
      client:stats().spans_failed })
    server:faults({ TAKES })
    server:clear_requests()
    client = new_client(server.url)
    drive_until(client, function() return client:stats().spool_spans == 9 end)
    assert.is_true(client:close(1))
  end)

  it("delivers what was left while the client runs on", function()
    server:faults({ { path = PATH, action = "status", status = 503, headers = { ["Retry-After"] = "0" } } })
    local client = new_client(server.url, { limits = { max_spans = 20 } })
    for number = 1, 30 do trace(client, "t" .. number) end
    assert.is_true(client:stats().spans_spooled > 0)
    assert.equal(0, client:stats().spans_dropped)
    server:faults({ TAKES })
    server:clear_requests()
    drive_until(client, function()
      local stats = client:stats()
      return stats.spool_left == 0 and stats.spans_pending == 0
    end)
    assert.is_true(client:close(5))
    local names, count = received(), 0
    for name, times in pairs(names) do
      count = count + 1
      assert.equal(1, times, name)
    end
    assert.equal(90, count)
    assert.equal(0, files())
  end)

  it("counts what was sent again though it may have arrived", function()
    server:faults({ { path = PATH, action = "hang" } })
    local client = new_client(server.url)
    trace(client, "lost")
    drive_until(client, function() return #server:requests() > 0 end)
    client:close(0)
    server:faults({ TAKES })
    server:clear_requests()
    assert.equal(0, client:stats().repeated_unconfirmed)
    client = new_client(server.url)
    drive_until(client, function() return files() == 0 end)
    assert.equal(1, client:stats().repeated_unconfirmed)
    assert.is_true(client:close(1))
    assert.same(once("lost"), received())
  end)

  it("counts what was left out of a file that was taken", function()
    leave("partly", 503)
    local body = '{"partialSuccess":{"rejectedSpans":"2"}}'
    server:faults({ { path = PATH, action = "status", status = 200, body = body } })
    local client = new_client(server.url)
    drive_until(client, function() return files() == 0 end)
    client:close(1)
    assert.same({ 1, 2 }, { client:stats().spool_spans, client:stats().spool_refused })
  end)

  it("tells what was refused for good, once for each cause and without the key", function()
    local said = { [400] = '{"message":"no such tenant as ' .. KEY .. '"}',
      [200] = '{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too\\nold"}}' }
    local told = {
      [400] = "/v1/traces answers 400: no such tenant as " .. KEY .. ": spans that waited in the spool are lost",
      [200] = "/v1/traces did not take all spans: too old",
    }
    local environment = { OTEL_EXPORTER_OTLP_HEADERS = "Authorization=Bearer " .. KEY }
    for status, body in pairs(said) do
      leave("one", 503)
      leave("two", 503)
      server:faults({ { path = PATH, action = "status", status = status, body = body } })
      warnings = {}
      local client = new_client(server.url)
      drive_until(client, function() return client:stats().spool_refused == 6 end)
      client:close(1)
      assert.same({ server.url .. told[status] }, warnings)
      leave("three", 503)
      server:faults({ { path = PATH, action = "status", status = status, body = body } })
      local result = flush(environment)
      assert.same({ 1, "" }, { result.code, result.err })
      assert.truthy(result.out:find("3 spans refused, and lost\n", 1, true), result.out)
      assert.truthy(result.out:find(status == 200 and "too old" or "no such tenant as ***", 1, true), result.out)
    end
  end)

  it("is delivered though what the environment says of Nexus can't be, which is told", function()
    for name, case in pairs({
      NEXUS_BASE_URL = { "foo", "NEXUS_BASE_URL must begin with http:// or https://" },
      NEXUS_API_KEY = { "nxs_secret\n", "NEXUS_API_KEY: the value holds a space, a line break or another character no "
        .. "key has" },
    }) do
      leave("one", 503)
      local environment = { NEXUS_API_KEY = KEY, [name] = case[1] }
      local told = "warning: " .. case[2] .. "\ndelivered 3 spans to " .. server.url .. PATH .. "\n"
      assert.same({ code = 1, err = "", out = told }, flush(environment))
      assert.equal(0, files())
    end
    leave("one", 503)
    assert.equal(0, flush({ NEXUS_BASE_URL = "foo" }).code)
  end)

  it("is told of where others have it", function()
    leave("one", 503)
    local said = "delivered 0 spans to " .. server.url .. PATH .. "\n%s in use by others\n"
    local lock = assert(core.lock_file(paths()[1]:match("^(.*)/") .. "/lock"))
    assert.truthy(flush({}).out:find(said:format("1 folder is"), 1, true))
    local other = spool .. "/" .. ("ab"):rep(8)
    assert(core.make_directory(other))
    local second = assert(core.lock_file(other .. "/lock"))
    assert.truthy(flush({}).out:find(said:format("2 folders are"), 1, true))
    lock:release()
    second:release()
  end)

  it("is tried later where a gateway or the address stands between, and lost for what it is", function()
    leave("t", 503)
    for status, expected in pairs({ [429] = "later", [502] = "later", [503] = "later", [504] = "later",
      [401] = "refused", [403] = "refused", [404] = "refused", [405] = "refused", [407] = "refused",
      [307] = "refused" }) do
      assert.equal(expected, attempt({ answering(status) }), status)
    end
    for _, status in ipairs({ 400, 415, 500 }) do
      local outcome, deliverer = attempt({ answering(status) })
      assert.same({ "done", 3 }, { outcome, deliverer.counts.refused }, status)
    end
  end)

  it("says in a file that it was sent, unless it certainly wasn't", function()
    leave("t", 503)
    local function mark() return read_file(paths()[1]):sub(batches.MARK + 1, batches.MARK + 1) end
    local during
    attempt({ function()
      during = mark()
      return unsent()
    end })
    assert.same({ "1", "0" }, { during, mark() })
    attempt({ function() return { { status = 0, sent = true }, { kind = "timeout", message = "hangs" } } end })
    assert.equal("1", mark())
    local _, deliverer = attempt({ answering(200) })
    assert.equal(1, deliverer.counts.unconfirmed)
  end)

  it("says in a file that it was sent until it goes, where it was taken", function()
    leave("t", 503)
    local outcome, deliverer = attempt({ answering(200) })
    assert.same({ "done", 3 }, { outcome, deliverer.counts.spans })
    assert.is_true(batches.read(read_file(paths()[1])).sent)
  end)

  for _, protocol in ipairs({ "http/json", "http/protobuf" }) do
    it("has only what is left of a file of which a part was taken (" .. protocol .. ")", function()
      server:faults({ { path = PATH, action = "status", status = 503 } })
      local client = new_client(server.url, { otlp = { endpoint = server.url, protocol = protocol } })
      trace(client, "halved", 5)
      client:close(0.2)
      local whole, bodies = batches.read(read_file(paths()[1])), {}
      local function taking(parts)
        bodies[#bodies + 1] = parts.body
        return answering(200)()
      end
      assert.equal("later", (attempt({ answering(413), taking, unsent })))
      local text = read_file(paths()[1])
      local rest = batches.read(text)
      assert.same({ 3, false, whole.receiver, 6 }, { #rest.spans, rest.sent, rest.receiver, #whole.spans })
      assert.equal("600 1\n", output_of("stat -c '%a %h' " .. servers.quote(paths()[1])))
      assert.equal("done", (attempt({ answering(413), taking, taking })))
      local parts = { { 1, 3 }, { 4, 5 }, { 6, 6 } }
      for number, part in ipairs(parts) do parts[number] = batches.body(whole, part[1], part[2]) end
      assert.same(parts, bodies)
    end)
  end

  it("says that a file was sent of which a part was taken that can't be taken out of it", function()
    leave("t", 503)
    local rename = os.rename
    os.rename = function() return nil end -- luacheck: ignore
    local ok, outcome = pcall(attempt, { answering(413), answering(200), unsent })
    os.rename = rename -- luacheck: ignore
    assert.same({ true, "later" }, { ok, outcome })
    local found = batches.read(read_file(paths()[1]))
    assert.same({ true, 3 }, { found.sent, #found.spans })
    assert.equal(1, files())
    assert.equal("", output_of("find " .. servers.quote(spool) .. " -name '*.new'"))
  end)

  it("is packed where the client packs", function()
    if not core.gzip("x") then return pending("there is no zlib") end
    leave("t", 503)
    local body
    local receiver = loopback.new(function(request)
      body = request
      return 200, "{}"
    end)
    finally(function() receiver:close() end)
    local path = paths()[1]
    local text = read_file(path):gsub(server.url:gsub("%p", "%%%0"), receiver.url)
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    file = assert(io.open(path:gsub("[^/]*$", "lock"), "w"))
    file:write("otlp " .. receiver.url .. PATH)
    file:close()
    local client = new_client(receiver.url, { otlp = { endpoint = receiver.url, compression = "gzip" } })
    while client:stats().spool_spans == 0 do
      client:update()
      receiver:step()
    end
    client:close(0)
    assert.equal("gzip", body.headers["content-encoding"])
    local packed = os.tmpname()
    file = assert(io.open(packed, "wb"))
    file:write(body.body)
    file:close()
    assert.same(once("t"), add_names({}, output_of("gzip -dc <" .. packed)))
    os.remove(packed)
  end)

  it("is delivered once the receiver takes others, whatever it refused before", function()
    server:faults({ { path = PATH, action = "status", status = 401, times = 2 }, TAKES })
    local client = new_client(server.url)
    trace(client, "refused")
    drive_until(client, function() return #server:requests() >= 2 end) -- one of the core's, one from the spool
    trace(client, "fine")
    drive_until(client, function() return client:stats().spool_left == 0 end)
    assert.is_true(client:close(1))
    assert.same({ 4, 3 }, { #server:requests(), client:stats().spool_spans })
    for _, name in ipairs({ "refused.2", "fine.2" }) do assert.is_truthy(received()[name]) end
  end)

  it("is delivered at the end of a client whose last batch is taken", function()
    server:faults({ { path = PATH, action = "status", status = 401, times = 2 }, TAKES })
    local client = new_client(server.url)
    trace(client, "refused")
    drive_until(client, function() return #server:requests() >= 2 end)
    trace(client, "fine")
    assert.is_true(client:close(5))
    assert.equal(0, files())
  end)

  it("stays where a page is answered, as of a login", function()
    server:faults({ { path = PATH, action = "html" } })
    local client = new_client(server.url)
    trace(client, "t")
    client:sleep(0.2)
    assert.is_false(client:close(1))
    assert.same({ server.url .. PATH .. " answers 200 with a page: its spans wait in the spool; check otlp.endpoint or "
      .. "OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT" }, warnings)
    local result = flush({})
    assert.equal(1, result.code)
    assert.truthy(result.out:find("1 batch stays: the receiver answers 200 with a page at ", 1, true), result.out)
  end)

  it("goes to another receiver where the command is told so", function()
    leave("misdirected", 503)
    server:clear_faults()
    local result = flush({ OTEL_EXPORTER_OTLP_ENDPOINT = server.url .. "/other" }, "--from", server.url .. PATH)
    assert.same({ 1, "" }, { result.code, result.err }) -- there is no receiver, but it was asked
    local elsewhere = { OTEL_EXPORTER_OTLP_ENDPOINT = server.url .. "/other" }
    assert.equal(result.out, flush(elsewhere, "--from", server.url .. "/").out)
    assert.equal("nexus-assistants: what waits for " .. server.url .. PATH
      .. " has nowhere to go: set OTEL_EXPORTER_OTLP_ENDPOINT\n",
      process.run({ process.path("bin/nexus-assistants"), "flush", spool, "--from", server.url },
        { NEXUS_API_KEY = "nxs_x", NEXUS_BASE_URL = server.url }).err)
    assert.truthy(result.out:find("1 batch stays: the receiver answers 404 at " .. server.url .. "/other/v1/traces", 1,
      true), result.out)
  end)

  it("goes elsewhere from an address as the command itself calls it", function()
    local client = new_client(server.url, { otlp = { traces_endpoint = server.url .. "/in/" } })
    trace(client, "t")
    client:close(0)
    local named = flush({}).out:match("1 batch waits for (.-)\n")
    assert.equal(server.url .. "/in/", named)
    server:faults({ TAKES })
    assert.equal("delivered 3 spans to " .. server.url .. PATH .. "\n", flush({}, "--from", named).out)
  end)

  it("isn't tried for ever where the receiver takes everything else", function()
    leave("poison", 503)
    server:faults({ { path = PATH, action = "status", status = 401 } })
    local client = new_client(server.url)
    drive_until(client, function() return #server:requests() >= 1 end)
    local deliverer = client.spools[1]
    for _ = 1, 5 do
      deliverer:resume()
      client:update()
      drive_until(client, function() return next(deliverer.under_way) == nil end)
    end
    assert.equal(4, #server:requests())
    client:close(0)
  end)

  it("is sent once where the client closes while it is under way", function()
    leave("slow", 503)
    server:faults({ { path = PATH, action = "status", status = 200, body = "{}", delay = 0.3 } })
    local client = new_client(server.url)
    drive_until(client, function() return #server:requests() >= 1 end)
    assert.is_true(client:close(5))
    assert.same(once("slow"), received())
    assert.same({ 3, 0 }, { client:stats().spool_spans, client:stats().repeated_unconfirmed })
    assert.equal(0, files())
  end)

  it("isn't sent again where its time runs out as the client closes", function()
    leave("hangs", 503)
    server:faults({ { path = PATH, action = "hang" } })
    local client = new_client(server.url, { otlp = { endpoint = server.url, timeout = 0.3 } })
    drive_until(client, function() return #server:requests() >= 1 end)
    client:close(1)
    assert.equal(1, #server:requests())
    assert.equal(1, files())
  end)

  it("isn't waited for by the command where it is refused, however long a request may take", function()
    leave("t", 503)
    server:faults({ { path = PATH, action = "status", status = 401 } })
    local pipe = io.popen(("export OTEL_EXPORTER_OTLP_TIMEOUT=310000 OTEL_EXPORTER_OTLP_ENDPOINT=%s; "
      .. "timeout 20 sh -c %s; echo $?"):format(server.url,
      servers.quote(servers.command({ process.path("bin/nexus-assistants"), "flush", spool }))))
    local said = pipe:read("*a")
    pipe:close()
    assert.truthy(said:find("1 batch stays: the receiver answers 401 at .*; check otlp.headers or "
      .. "OTEL_EXPORTER_OTLP_%[TRACES_%]HEADERS\n1\n$"),
      said)
  end)

  it("sends nothing that is too old, also when it became so in the queue", function()
    server:faults({ { path = PATH, action = "status", status = 401 } })
    local client = new_client(server.url, { limits = { max_spool_age = 0.001 } })
    trace(client, "own")
    drive_until(client, function() return client:stats().spool_dropped == 1 end)
    client:close(0)
    assert.same({ 1, 0 }, { #server:requests(), files() })
    leave("of another", 503)
    client = new_client(server.url)
    local deliverer = client.spools[1]
    deliverer.rest_until = core.monotonic() + 3600
    drive_until(client, function() return #deliverer.queue == 1 and not deliverer.is_looking end)
    deliverer.limits.age, deliverer.news = 0.001, true
    client.scheduler:notify(deliverer)
    drive_until(client, function() return client:stats().spool_dropped == 1 end)
    client:close(0)
    assert.same({ {}, 0 }, { received(), files() })
  end)

  it("may be of any age", function()
    for _, age in ipairs({ 5.4e10, 1e300 }) do
      leave("t", 503)
      local client = new_client(server.url, { limits = { max_spool_age = age } })
      drive_until(client, function() return files() == 0 end)
      assert.is_true(client:close(1))
      assert.same({ once("t"), 0 }, { received(), client:stats().spool_dropped })
    end
  end)

  it("stays where an attempt fails in itself, and others go on", function()
    leave("t", 503)
    local attempt_before = to_otlp.attempt
    to_otlp.attempt = function() error("out of order") end
    local client = new_client(server.url)
    local deliverer = client.spools[1]
    local ok, problem = pcall(drive_until, client, function() return deliverer.unread == 1 end)
    local workers = deliverer.workers
    to_otlp.attempt = attempt_before
    client:close(0)
    assert.same({ true, 0 }, { ok, workers }, problem)
    assert.equal(1, files())
  end)

  it("stays where there is no memory to read it", function()
    leave("t", 503)
    local read = batches.read
    batches.read = function() error("not enough memory", 0) end
    local ok, outcome, deliverer = pcall(attempt, {})
    batches.read = read
    assert.same({ true, "unread", 0 }, { ok, outcome, deliverer.counts.unreadable })
  end)

  it("sends a file in parts that is too large", function()
    leave("large", 503, 6)
    server:faults({ { path = PATH, action = "status", status = 413, times = 3 }, TAKES })
    local client = new_client(server.url)
    drive_until(client, function() return files() == 0 end)
    client:close(1)
    local sizes, names = {}, {}
    for number, request in ipairs(server:requests()) do
      local there, count = add_names({}, request.body), 0
      for name in pairs(there) do
        count = count + 1
        if number > 3 then names[name] = (names[name] or 0) + 1 end
      end
      sizes[number] = count
    end
    assert.same({ 7, 4, 2, 1, 1, 2, 3 }, sizes)
    assert.same(once("large", 6), names)
    assert.same({ 7, 0 }, { client:stats().spool_spans, client:stats().spool_refused })
  end)

  it("is for one receiver: others' spans stay where they are", function()
    leave("t", 503)
    local client = new_client(server.url .. "/other")
    client:sleep(0.1)
    client:close(1)
    assert.equal(1, files())
    client = new_client(server.url, { nexus = { base_url = server.nexus_url, api_key = "nxs_local" }, otlp = false })
    client:sleep(0.1)
    assert.is_true(client:close(1))
    assert.equal(1, files())
    assert.same({}, received())
  end)

  it("is shared by processes: what one works on is not another's", function()
    server:faults({ { path = PATH, action = "status", status = 503, headers = { ["Retry-After"] = "0" } } })
    local one, other = new_client(server.url), new_client(server.url)
    trace(one, "one")
    trace(other, "two")
    assert.equal(2, files())
    server:faults({ TAKES })
    local third = new_client(server.url)
    server:clear_requests()
    third:sleep(0.1)
    assert.same({}, received())
    assert.is_true(one:close(5))
    assert.is_true(other:close(5))
    third:close(1)
    local names = once("one")
    for name, count in pairs(once("two")) do names[name] = count end
    assert.same(names, received())
  end)

  it("is beside that for Nexus", function()
    local function both()
      return new_client(server.url, { nexus = { base_url = server.nexus_url, api_key = "nxs_local",
        flush_interval = 0.05 } })
    end
    server:faults({ { action = "status", status = 503 } })
    local client = both()
    trace(client, "two")
    assert.is_false(client:close(0.2))
    local stats = client:stats()
    assert.same({ 2, 1, 2 }, { stats.spool_left, stats.traces_spooled, stats.spans_spooled })
    assert.is_true(stats.spool_files == 2 and stats.spool_bytes > 0)
    server:faults({ TAKES })
    server:clear_requests()
    client = both()
    drive_until(client, function() return client:stats().spool_spans == 5 end)
    assert.is_true(client:close(1))
    assert.equal(1, client:stats().spool_traces)
    assert.equal(2, #server:traces()[1].spans)
    assert.same({}, core.list_folder(spool))
  end)

  -- Answers as it likes; what it acted on is counted in `seen`, and what of that it had seen in `again`.
  local function moody(counts)
    local calm, seen = false, counts.seen
    local function act(names)
      local is_again = false
      for name in pairs(names) do
        is_again = is_again or seen[name] ~= nil
        seen[name] = (seen[name] or 0) + 1
      end
      if is_again then counts.again = counts.again + 1 end
    end
    local receiver = loopback.new(function(request)
      local names, dice = add_names({}, request.body), calm and 1 or math.random()
      local one = next(names)
      if dice < 0.15 then return 503, "", { ["Retry-After"] = "0" } end
      if dice < 0.2 then return 401, "" end
      if dice < 0.3 and not seen[one] and next(names, one) then return 413, "" end
      act(names)
      if dice < 0.35 then return nil end
      return 200, "{}"
    end)
    return receiver, function() calm = true end
  end

  it("brings every span to a receiver that fails in every way, and counts what may be there twice", function()
    local counts, seed = { seen = {}, again = 0 }, os.time()
    math.randomseed(seed)
    local receiver, calm_down = moody(counts)
    finally(function() receiver:close() end)
    local unconfirmed, names = 0, {}
    local function client_of()
      return new_client(receiver.url, { otlp = { endpoint = receiver.url, protocol = "http/json", timeout = 0.1,
        flush_interval = 0.01 } })
    end
    local function drive(client, seconds, is_over)
      local due = core.monotonic() + seconds
      while core.monotonic() < due and not (is_over and is_over()) do
        client:update()
        receiver:step()
      end
    end
    for round = 1, 40 do
      local client = client_of()
      for number = 1, math.random(8) do
        local name = ("r%d-%d"):format(round, number)
        trace(client, name)
        for span in pairs(once(name)) do names[span] = true end
        drive(client, math.random() * 0.02)
      end
      drive(client, math.random() * 0.1)
      client:close(0)
      unconfirmed = unconfirmed + client:stats().repeated_unconfirmed
    end
    calm_down()
    local last = client_of()
    drive(last, 10, function() return files() == 0 end)
    unconfirmed = unconfirmed + last:stats().repeated_unconfirmed
    last:close(1)
    local note = ("seed %d, %d again, %d unconfirmed"):format(seed, counts.again, unconfirmed)
    assert.equal(0, files(), note)
    for name in pairs(names) do assert.is_truthy(counts.seen[name], note .. ": " .. name .. " is missing") end
    assert.is_true(counts.again <= unconfirmed, note)
    assert.is_true(counts.again > 0, note)
  end)

  it("can be delivered by the command, which says what stays", function()
    leave("flushed", 503)
    server:faults({ { path = PATH, action = "status", status = 503 } })
    local environment = { OTEL_EXPORTER_OTLP_ENDPOINT = server.url }
    local result = flush(environment)
    assert.equal(1, result.code)
    assert.truthy(result.out:find("1 batch stays: the receiver answers 503", 1, true), result.out .. result.err)
    server:faults({ { path = PATH, action = "status", status = 404 } })
    assert.truthy(flush(environment).out:find("; check otlp.endpoint or OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT\n", 1,
      true))
    environment.OTEL_EXPORTER_OTLP_ENDPOINT = server.url .. "/other"
    result = flush(environment)
    assert.same({ 1, ("delivered 0 spans to %s/other/v1/traces\n1 batch waits for %s/v1/traces\n"):format(
      server.url, server.url) }, { result.code, result.out })
    environment.OTEL_EXPORTER_OTLP_ENDPOINT = server.url
    server:faults({ TAKES })
    server:clear_requests()
    result = flush(environment)
    assert.same({ 0, ("delivered 3 spans to %s/v1/traces\n"):format(server.url), "" },
      { result.code, result.out, result.err })
    assert.same(once("flushed"), received())
    assert.same({}, core.list_folder(spool))
    result = process.run({ process.path("bin/nexus-assistants"), "flush", spool })
    assert.equal(1, result.code)
    assert.truthy(result.err:find("OTEL_EXPORTER_OTLP_ENDPOINT", 1, true), result.err)
  end)

  it("is looked through again while the client runs", function()
    local client = new_client(server.url)
    local again = client.scheduler.chore
    assert.equal(600, again.seconds)
    leave("others", 503)
    assert.is_nil(client:timeout()) -- nothing is waited for
    for _ = 1, 20 do
      again.due = 0
      client:update()
    end
    assert.is_true(client.spools[1].workers <= 2) -- who looks is one of them
    drive_until(client, function() return files() == 0 end)
    assert.is_true(client:close(1))
    assert.same(once("others"), received())
  end)

  -- --------------------------------------------------------------------------------------------------- the disk

  it("is where its folder was as the client began", function()
    local folder = output_of("mktemp -d"):match("[^\n]+")
    finally(function() os.execute("rm -rf " .. servers.quote(folder)) end)
    local script = folder .. "/script.lua"
    local file = assert(io.open(script, "w"))
    file:write(('local nexus = require("nexus_assistants")\n'
      .. 'local client = nexus.new({ nexus = false, provider = "script", store = "memory", spool = "kept",\n'
      .. '  file = "traces.jsonl", otlp = { endpoint = %q }, on_warning = print })\n'
      .. 'print(require("nexus_assistants.core").absolute_path("x"))\n'
      .. 'require("lfs").chdir("/")\n'
      .. 'client:trace({ name = "t" }, function(trace) trace:span("s", function() end) end)\n'
      .. 'print(#(require("nexus_assistants.core").list_folder(%q) or {}))\n'):format(NOBODY, folder .. "/kept"))
    file:close()
    local command = "cd " .. servers.quote(folder) .. " && " .. process.command({ script })
    assert.equal(folder .. "/x\n1\n", output_of(command))
    assert.equal("/x", core.absolute_path("/x"))
  end)

  it("is warned of once where it can't be written, and all is delivered", function()
    local file = assert(io.open(spool, "w")) -- a file is no folder, whoever the user is
    file:close()
    local client = new_client(server.url)
    for number = 1, 3 do
      trace(client, "t" .. number)
      client:sleep(0.1)
    end
    assert.is_true(client:close(5))
    assert.equal(1, #warnings)
    assert.truthy(warnings[1]:find("can't be kept in .*[Nn]ot a directory"), warnings[1])
    assert.equal(1, received()["t3.2"])
  end)

  it("is made anew where it was deleted, which is warned of once", function()
    server:faults({ { path = PATH, action = "status", status = 503 } })
    local client = new_client(server.url)
    trace(client, "before")
    drive_until(client, function() return #server:requests() > 0 end)
    os.execute("rm -rf " .. servers.quote(spool))
    trace(client, "after")
    trace(client, "still")
    assert.is_false(client:close(0))
    local _, count = table.concat(warnings, "\n"):gsub("the folder was deleted", "")
    assert.equal(1, count, table.concat(warnings, "\n"))
    assert.truthy(content():find("still.2", 1, true))
    assert.truthy(content():find("after.2", 1, true))
  end)

  it("is warned of once where the disk is full, and what is there is whole", function()
    os.execute("mkdir -p " .. servers.quote(spool))
    if not os.execute("mount -t tmpfs -o size=16k none " .. servers.quote(spool) .. " 2>/dev/null") then
      return pending("a small disk can't be mounted")
    end
    finally(function() os.execute("umount " .. servers.quote(spool)) end)
    local client = new_client(NOBODY)
    for number = 1, 40 do trace(client, "t" .. number) end
    assert.is_false(client:close(0.1))
    local _, count = table.concat(warnings, "\n"):gsub("No space left", "")
    assert.equal(1, count, table.concat(warnings, "\n"))
    local stats = client:stats()
    assert.is_true(stats.spans_spooled > 0 and stats.spans_failed > 0)
    assert.equal(80, stats.spans_spooled + stats.spans_failed)
    local found = batches.read(read_file(paths()[1]))
    assert.equal(stats.spans_spooled + stats.traces_spooled, #found.spans)
    for _, span in ipairs(found.spans) do assert.is_table(json.decode(span)) end
  end)

  it("has nothing of a trace that is held back before that fails", function()
    local client = new_client(NOBODY, { sample = 0 })
    trace(client, "fine")
    assert.equal("", content())
    client:trace({ name = "failed" }, function(traced)
      traced:span("before", function() end)
      assert.equal("", content())
      return nil, "it failed"
    end)
    assert.truthy(content():find('"name":"before"', 1, true))
    assert.is_nil(content():find("fine", 1, true))
    client:close(0)
  end)

  it("holds its bytes, too", function()
    local function is_used(least, most)
      assert.is_true(#content() >= least and #content() <= most, #content())
    end
    for most, spans in pairs({ [2000] = 2, [20000] = 20 }) do
      local client = new_client(NOBODY, { limits = { max_spool_bytes = most } })
      for number = 1, 10 do
        trace(client, "t" .. number, spans)
        is_used(most / 4, most)
        assert.equal(#content(), client:stats().spool_bytes)
      end
      assert.is_false(client:close(0.1))
      is_used(most / 4, most)
      assert.truthy(content():find("invoke_workflow t10", 1, true))
      os.execute("rm -rf " .. servers.quote(spool))
    end
  end)

  it("holds its caps while the client runs, the oldest go first", function()
    server:faults({ { path = PATH, action = "status", status = 401 } })
    local client = new_client(server.url, { limits = { max_spool_files = 3 } })
    for number = 1, 5 do
      trace(client, "t" .. number)
      client.tracer:flush()
      drive_until(client, function() return client:stats().spans_pending == 0 end)
    end
    assert.equal(3, files())
    assert.same({ 3, 2 }, { client:stats().spool_files, client:stats().spool_dropped })
    assert.is_nil(content():find("t2.1", 1, true))
    assert.truthy(content():find("t3.1", 1, true))
    client:close(0)
    client = new_client(server.url, { limits = { max_spool_age = 0.001 } })
    drive_until(client, function() return client:stats().spool_dropped == 3 end)
    client:close(0)
    assert.equal(0, files())
  end)

  it("isn't read to find out what of it goes", function()
    leave("older", 503)
    leave("later", 503)
    local found = folders.take(spool, "otlp " .. server.url .. PATH, function() end, "otlp")
    local read = spy.on(folders, "read_file")
    local kept, dropped = folders.cap(found, { files = 1, bytes = 1e9, oldest = "0" }, function() end)
    read:revert()
    assert.spy(read).was_not_called()
    assert.same({ 1, 1 }, { #kept, dropped })
    assert.truthy(content():find("later.1", 1, true))
    folders.keep(kept[1])
  end)

  it("isn't dropped for what is no file of it, nor tried for ever", function()
    leave("t", 503)
    local folder = paths()[1]:match("^(.*)/")
    os.execute("mkdir -p " .. servers.quote(folder) .. "/77.otlp/x " .. servers.quote(folder) .. "/78.jsonl")
    local client = new_client(server.url)
    drive_until(client, function() return client:stats().spool_spans == 3 end)
    assert.is_true(client:close(1))
    assert.same({ 0, 0 }, { client:stats().spool_dropped, client:stats().spool_unreadable })
    assert.same(once("t"), received())
  end)

  it("isn't sent from where it can't be taken away", function()
    leave("t", 503)
    local path, open = paths()[1], io.open
    io.open = function(name, mode) -- luacheck: ignore
      if mode == "r+b" then return nil, "read-only" end
      return open(name, mode)
    end
    local client = new_client(server.url)
    local ok, problem = pcall(client.sleep, client, 0.2)
    client:close(0)
    io.open = open -- luacheck: ignore
    assert.same({ true, true }, { ok, problem })
    assert.same({}, received())
    assert.equal(path, paths()[1])
  end)

  -- Leaves a trace to a client that goes on, which is told of each time that it is looked at; `forbid` has the names of
  -- files that are to be marked. Returns how often it was tried, and how long closing took.
  local function try_own(forbid)
    local open, tries = io.open, 0
    server:faults({ { path = PATH, action = "status", status = 401 } })
    local client = new_client(server.url)
    io.open = function(name, mode) -- luacheck: ignore
      if mode ~= "r+b" then return open(name, mode) end
      tries = tries + 1
      return forbid(name, open)
    end
    local ok, problem = pcall(function()
      trace(client, "own")
      drive_until(client, function() return tries > 0 end)
      for _ = 1, 20 do client:update() end
    end)
    local began = core.monotonic()
    client:close(3)
    io.open = open -- luacheck: ignore
    assert.is_true(ok, problem)
    return tries, core.monotonic() - began, client:stats()
  end

  it("isn't tried again and again where it can't be marked", function()
    local tries, seconds, stats = try_own(function() return nil, "read-only" end)
    assert.equal(1, tries)
    assert.is_true(seconds < 2, seconds)
    assert.same({ 1, 0 }, { stats.spool_left, stats.spool_dropped })
    assert.equal(1, files())
  end)

  it("is counted as dropped where its file was deleted", function()
    local tries, seconds, stats = try_own(function(name, open)
      os.remove(name)
      return open(name, "r+b")
    end)
    assert.equal(1, tries)
    assert.is_true(seconds < 2, seconds)
    assert.same({ 0, 1 }, { stats.spool_left, stats.spool_dropped })
    assert.equal(0, files())
  end)

  -- ------------------------------------------------------------------------------------------------------- kills

  local function recover()
    local engine = assert(core.engine({}))
    local deliverer = spools.new({
      kind = to_otlp, path = PATH, scheduler = scheduler.new(engine, core.monotonic, error), engine = engine,
      folder = spool, timeout = 5, endpoint = assert(core.endpoint({ base_url = server.url })),
      limits = { files = 1000, bytes = 1e9, age = 3600 },
    })
    local left, problem = deliverer:flush()
    engine:close()
    assert.same({ 0, 0 }, { left, deliverer.counts.unreadable }, problem)
    return deliverer.counts.unconfirmed
  end

  local KILLS = tonumber(os.getenv("KILLS")) or 40
  local MOST_LINES = 60

  -- The names a job printed until it was killed; one that was cut tells nothing.
  local function work(number, seed, url, protocol)
    local words = { "spec/support/otlp_spool_job.lua", spool, url, tostring(seed + number), number % 2 .. "", protocol }
    local pipe = assert(io.popen("echo $$; " .. servers.command(words) .. " 2>&1"))
    local pid, names = pipe:read("*l"), {}
    for _ = 1, math.random(MOST_LINES) do names[#names + 1] = pipe:read("*l") end
    os.execute("kill -9 " .. pid)
    for line in pipe:read("*a"):gmatch("([^\n]*)\n") do names[#names + 1] = line end
    pipe:close()
    return names
  end

  it("has every span that had ended of a process that is killed, " .. KILLS .. " times", function()
    local seed, spans = os.time(), 0
    math.randomseed(seed)
    for number = 1, KILLS do
      server:clear_requests()
      local names = work(number, seed, server.url, "http/json")
      local unconfirmed = recover()
      local seen = received()
      local note = ("seed %d, kill %d"):format(seed, number)
      for _, name in ipairs(names) do
        assert.is_truthy(seen[name], ("%s: '%s' is missing"):format(note, name))
        if unconfirmed == 0 then assert.equal(1, seen[name], note .. ": " .. name) end
      end
      spans = spans + #names
    end
    assert.is_true(spans > KILLS, "the jobs did next to nothing")
    assert.same({}, core.list_folder(spool))
  end)

  it("has every span that had ended in a file where it goes nowhere, in protobuf too", function()
    local seed, spans = os.time(), 0
    math.randomseed(seed)
    for number = 1, math.ceil(KILLS / 4) do
      local names, there = work(number, seed, NOBODY, "http/protobuf"), {}
      for _, path in ipairs(paths()) do
        local text = read_file(path) -- killed as it was made, it is empty
        for _, span in ipairs(text == "" and {} or batches.read(text).spans) do there[#there + 1] = span end
      end
      local text = table.concat(there)
      for _, name in ipairs(names) do
        assert.is_truthy(text:find(name, 1, true), ("seed %d, kill %d: '%s' is missing"):format(seed, number, name))
      end
      spans = spans + #names
      os.execute("rm -rf " .. servers.quote(spool))
    end
    assert.is_true(spans > KILLS / 4, "the jobs did next to nothing")
  end)
end)

describe("a file of a batch", function()
  local engine, folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    engine = assert(core.engine({}))
  end)

  after_each(function()
    engine:close()
    os.execute("rm -rf " .. servers.quote(folder))
  end)

  for _, format in ipairs({ "json", "protobuf" }) do
    it("is read wherever it ends (" .. format .. ")", function()
      local tracer = assert(core.tracer(engine, {}))
      assert(tracer:otlp({ endpoint = assert(core.endpoint({ base_url = NOBODY })), json = format == "json",
        spool = folder, service_name = "bot" }))
      local trace = tracer:trace("bot", "weather")
      for number = 1, 3 do trace:span(("%d"):format(number):rep(number * 70)):finish("ok") end
      local text = output_of("cat " .. servers.quote(folder) .. "/*/1.otlp")
      local whole = batches.read(text)
      assert.equal(3, #whole.spans)
      assert.equal(NOBODY .. PATH, whole.receiver)
      assert.is_false(whole.sent)
      assert.equal("0", text:sub(batches.MARK + 1, batches.MARK + 1))
      local most = 0
      for length = 0, #text do
        local found = batches.read(text:sub(1, length) .. (length < #text and "" or "\0half"))
        local count = found and #found.spans or 0
        assert.is_true(count >= most and count <= 3)
        most = count
        for number = 1, count do assert.equal(whole.spans[number], found.spans[number]) end
      end
      assert.equal(3, most)
      trace:finish("success")
      tracer:close(0)
    end)
  end
end)
