local core = require("nexus_assistants.core")
local loopback = require("spec.support.loopback")

local function collect_twice()
  collectgarbage()
  collectgarbage()
end

describe("core", function()
  it("says what it is", function()
    assert.matches("^%d+%.%d+%.%d+$", core.version)
    assert.matches("^%d+%.%d+", core.curl_version)
    assert.is_boolean(core.asynchronous_dns)
  end)

  it("tells the time", function()
    local before = core.monotonic()
    assert.is_true(core.monotonic() >= before)
    assert.is_true(math.abs(core.wall() - os.time()) < 5)
  end)

  it("can be opened again without losing its types", function()
    local engine = assert(core.engine({}))
    package.loaded["nexus_assistants.core"] = nil
    local again = require("nexus_assistants.core")
    assert.is_nil(engine:next())
    assert.is_nil(again.engine():next())
    package.loaded["nexus_assistants.core"] = core
  end)

  it("reads the environment but no keys from it", function()
    assert.is_string(core.environment("PATH"))
    assert.is_nil(core.environment("NXA_NO_SUCH_VARIABLE"))
    local ok, message = pcall(core.environment, "OPENAI_API_KEY")
    assert.is_false(ok)
    assert.matches("'OPENAI_API_KEY' is a secret", message, 1, true)
    assert.is_nil(core.environment("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY")) -- the path of a file
    assert.has_error(function() core.environment("OTHER_CLIENT_KEY") end)
  end)

  it("looks at what a path leads to without opening it", function()
    local path = os.tmpname()
    local link = path .. ".link"
    finally(function() os.execute("rm -f " .. path .. " " .. link) end)
    os.execute("ln -s " .. path .. " " .. link)
    local found = core.look_at(link)
    assert.same({ "file", true, true, true }, { found.kind, found.is_own, found.is_readable, found.is_link })
    assert.is_true(core.look_at(path).owner == found.owner and not core.look_at(path).is_link)
    os.execute("rm " .. path .. "; mkfifo " .. path)
    assert.equal("pipe", core.look_at(path).kind)
    assert.equal("folder", core.look_at("/").kind)
    assert.equal("other", core.look_at("/dev/null").kind)
    os.remove(path)
    assert.equal("No such file or directory", (select(2, core.look_at(link))))
  end)

  it("compares with a secret of the environment", function()
    local path = os.getenv("PATH")
    assert.is_true(core.is_secret("PATH", path))
    for _, wrong in ipairs({ "", "x", path:sub(1, -2), path .. path, path:sub(1, -2) .. "\0", path .. "\0" }) do
      assert.is_false(core.is_secret("PATH", wrong))
    end
    assert.is_nil(core.is_secret("NXA_NO_SUCH_VARIABLE", ""))
    assert.is_false(pcall(core.is_secret, "PATH"))
  end)

  it("tells what a key of the environment looks like, and nothing of it", function()
    local process = require("spec.support.process")
    local chunk = 'io.write(require("nexus_assistants.core").key_form("NXA_SPEC_KEY", "sk-"))'
    for form, key in pairs({
      plausible = "sk-" .. ("x"):rep(17), short = "sk-" .. ("x"):rep(16), other = "nxs_" .. ("x"):rep(20),
      unusable = "sk-xxxxxxxxxxxxxxxxxx x", absent = "",
    }) do
      assert.equal(form, process.chunk(chunk, { NXA_SPEC_KEY = key }).out)
    end
    assert.equal("absent", core.key_form("NXA_NO_SUCH_KEY", ""))
  end)

  it("finds the first byte that isn't UTF-8", function()
    assert.is_true(core.utf8_valid("na\195\175ve"))
    local valid, position = core.utf8_valid("ab\255cd")
    assert.is_false(valid)
    assert.equal(3, position)
  end)
end)

describe("core.json_mark", function()
  local function marked(text, expected)
    local result, any = core.json_mark(text, "M")
    assert.equal(expected, result)
    assert.is_true(any)
  end

  local function unmarked(text)
    local result, any = core.json_mark(text, "M")
    assert.equal(text, result)
    assert.is_false(any)
  end

  it("marks empty arrays", function()
    marked("[]", '["M"]')
    marked('{"a":[ \r\n\t],"b":[[]]}', '{"a":["M"],"b":[["M"]]}')
    unmarked("[1]")
    unmarked("{}")
  end)

  it("marks integers of 15 digits and more, and no other numbers", function()
    marked("[123456789012345,-1234567890123456789]", '["M123456789012345","M-1234567890123456789"]')
    marked("123456789012345", '"M123456789012345"')
    unmarked("[12345678901234,123456789012345.0,1.123456789012345678]")
    unmarked("[123456789012345e2,1e123456789012345,1E-123456789012345,123456789012345E+1]")
    unmarked("000000000000000001")
  end)

  it("makes no name of a number where a name belongs", function()
    unmarked("{1234567890123456:1}")
    unmarked("{1234567890123456 \r\n\t:1}")
    marked('{"a":1234567890123456 }', '{"a":"M1234567890123456" }')
  end)

  it("leaves strings alone", function()
    unmarked('"[] 123456789012345 \\"[]\\" \\\\"')
    marked('["\\\\",[]]', '["\\\\",["M"]]')
    marked('["\\\\\\"[]",[]]', '["\\\\\\"[]",["M"]]')
    unmarked('"a\0[]"')
  end)

  it("copies what is cut off or malformed", function()
    for _, text in ipairs({ "", "[", "[ ", "-", '"', '"\\', '"abc\\"', "{", "1234567890123456.", "--", "\0", "]" }) do
      unmarked(text)
    end
    marked("[]]", '["M"]]')
    marked("123456789012345}", '"M123456789012345"}')
  end)

  it("gives the same result as a slow one on random texts", function()
    local function slow(text)
      local kept = {}
      text = text:gsub('"[^"]*"', function(whole)
        kept[#kept + 1] = whole
        return '"' .. #kept .. '"'
      end)
      text = text:gsub("%[%s*%]", '["M"]'):gsub("[-%d.eE+]+", function(number)
        local digits = number:match("^-?([1-9]%d+)$")
        return digits and #digits >= 15 and '"M' .. number .. '"' or nil
      end)
      return (text:gsub('"(%d+)"', function(index) return kept[tonumber(index)] end))
    end
    local pieces = { "[", "]", " ", '"x[]"', '"1"', ",", "7", "123456789012345", "-12345678901234567", "1.5", "{", "}" }
    local seed = 1
    for _ = 1, 2000 do
      local parts = {}
      for index = 1, 8 do
        seed = (seed * 1103515245 + 12345) % 2147483648
        parts[index] = pieces[math.floor(seed / 65536) % #pieces + 1] .. " "
      end
      local text = table.concat(parts)
      assert.equal(slow(text), (core.json_mark(text, "M")))
    end
  end)
end)

describe("core.json_restore", function()
  it("refuses a table that contains itself", function()
    local items, members = {}, {}
    items[1], members.again = items, members
    assert.has_error(function() core.json_restore(items, nil, {}) end, "JSON is nested too deeply")
    assert.has_error(function() core.json_restore(members, nil, {}) end, "JSON is nested too deeply")
  end)
end)

describe("core.endpoint", function()
  it("keeps its key to itself", function()
    local endpoint = assert(core.endpoint({ base_url = "https://api.example.com/v1/", key = "sk-secret-1234" }))
    assert.equal("https://api.example.com/v1", endpoint:base_url())
    assert.equal("endpoint: https://api.example.com/v1", tostring(endpoint))
    assert.is_true(endpoint:has_key())
    assert.is_false(getmetatable(endpoint))
    assert.is_false(assert(core.endpoint({ base_url = "http://h" })):has_key())
  end)

  it("takes its key out of texts", function()
    local endpoint = assert(core.endpoint({ base_url = "http://h", key = "sk/secret" }))
    assert.equal("bad key: *********, again *********.", endpoint:redact("bad key: sk/secret, again sk/secret."))
    assert.equal("a\0**********", endpoint:redact("a\0sk\\/secret"))
    assert.equal("sk/secre", endpoint:redact("sk/secre"))
    assert.equal("", endpoint:redact(""))
    assert.equal("sk/secret", assert(core.endpoint({ base_url = "http://h" })):redact("sk/secret"))
    assert.is_false((pcall(endpoint.redact, endpoint)))
  end)

  it("returns what the core refuses", function()
    for _, options in ipairs({
      {},
      { base_url = "ftp://h" },
      { base_url = "http://h", headers = { Good = "bad\r\nEvil: 1" } },
      { base_url = "http://h", key = "two\nlines" },
    }) do
      local endpoint, err = core.endpoint(options)
      assert.is_nil(endpoint)
      assert.equal("invalid", err.kind)
      assert.is_string(err.message)
      assert.is_nil(err.status)
      assert.is_nil(err.retry_after)
    end
  end)
end)

describe("options", function()
  local engine = assert(core.engine())
  local endpoint = assert(core.endpoint({ base_url = "http://127.0.0.1:1" }))

  local function refused(expected, call, ...)
    local ok, message = pcall(call, ...)
    assert.is_false(ok)
    assert.equal(expected, (message:gsub("^[^:]+:%d+: ", "")))
  end

  it("are known by name", function()
    refused("core.endpoint: unknown option 'bas_url'", core.endpoint, { bas_url = "x" })
    refused("engine:call: unknown option 'tiemout'", engine.call, engine, { tiemout = 1 })
    refused("core.engine: options are named by strings, got a number", core.engine, { 1 })
    refused("tracer:nexus: unknown option 'url'", function()
      assert(core.tracer(engine)):nexus({ url = "x" })
    end)
  end)

  it("are of their type", function()
    refused("core.endpoint: option 'base_url' must be a string, got number", core.endpoint, { base_url = 1 })
    refused("core.endpoint: option 'headers' must be a table, got string", core.endpoint, { headers = "x" })
    local headers_text = "core.endpoint: option 'headers' must map names to values, both strings"
    refused(headers_text, core.endpoint, { headers = { A = 1 } })
    refused(headers_text, core.endpoint, { headers = { "A: 1" } })
    refused("core.engine: option 'max_transfers' must be an integer, got string", core.engine, { max_transfers = "9" })
    local integer_text = "core.engine: option 'max_transfers' must be an integer of 32 bits"
    refused(integer_text, core.engine, { max_transfers = 1.5 })
    refused(integer_text, core.engine, { max_transfers = 2 ^ 31 })
    refused("core.engine: option 'max_transfers' must not be NaN", core.engine, { max_transfers = 0 / 0 })
    local count_text = "core.tracer: option 'max_spans' must be a whole number that isn't negative"
    refused(count_text, core.tracer, engine, { max_spans = -1 })
    local stream_text = "engine:call: option 'stream' must be a boolean, 'events' or 'bytes'"
    refused(stream_text .. ", got number", engine.call, engine, { stream = 1 })
    refused(stream_text, engine.call, engine, { stream = "frames" })
    local function parts(value) return engine.call, engine, { parts = value } end
    refused("engine:call: option 'parts' must be a table, got string", parts("x"))
    refused("engine:call: option 'parts' must be an array of tables", parts({ "x" }))
    refused("engine:call: parts: unknown option 'nmae'", parts({ { nmae = "x" } }))
    refused("engine:call: parts: option 'source' must be a boolean, got number", parts({ { source = 1 } }))
    local size_text = "engine:call: parts: option 'size' must be a whole number that isn't negative"
    refused(size_text, parts({ { size = -1 } }))
    refused("engine:call: option 'timeout' must be a number, got string", engine.call, engine, { timeout = "1" })
    refused("engine:call: option 'endpoint' must be an endpoint, got table", engine.call, engine, { endpoint = {} })
    local endpoint_text = "engine:call: option 'endpoint' must be an endpoint, got userdata"
    refused(endpoint_text, engine.call, engine, { endpoint = engine })
    refused("core.engine: a table of options expected, got string", core.engine, "max")
  end)

  it("hold no zero bytes where the core takes texts", function()
    refused("engine:call: option 'path' must not hold a zero byte", engine.call, engine, { path = "/a\0b" })
    local zero_text = "engine:call: option 'headers' must not hold a zero byte"
    refused(zero_text, engine.call, engine, { headers = { A = "b\0c" } })
  end)

  it("name the line that is wrong", function()
    local _, message = pcall(function() engine:call({ tiemout = 1 }) end)
    assert.matches("core_spec.lua:%d+: engine:call: unknown option 'tiemout'", message)
  end)

  it("that are missing or out of range are the core's to refuse", function()
    local good = { endpoint = endpoint, method = "GET", path = "/x" }
    for name, value in pairs({ method = "BREW", path = "x", timeout = -1, deadline = 0, retries = -1 }) do
      local options = {}
      for key, other in pairs(good) do options[key] = other end
      options[name] = value
      local call, err = engine:call(options)
      assert.is_nil(call, name)
      assert.equal("invalid", err.kind, name)
    end
    for name in pairs(good) do
      local options = {}
      for key, other in pairs(good) do
        if key ~= name then options[key] = other end
      end
      local call, err = engine:call(options)
      assert.is_nil(call)
      assert.equal("invalid", err.kind)
    end
  end)
end)

describe("a call", function()
  local server, engine, endpoint

  local function start(answer, options)
    server = loopback.new(answer)
    engine = assert(core.engine())
    endpoint = assert(core.endpoint({ base_url = server.url .. "/v1", key = "sk-1" }))
    local request = { endpoint = endpoint, method = "POST", path = "/things", body = '{"a":1}', retries = 0 }
    for name, value in pairs(options or {}) do request[name] = value or nil end
    return assert(engine:call(request))
  end

  local function run(call)
    server:run(engine, function() return call:done() end)
  end

  after_each(function()
    if engine then engine:close() end
    if server then server:close() end
    engine, server = nil, nil
  end)

  it("goes out as it was asked for and brings the answer", function()
    local call = start(function()
      return 200, '{"id":"t\\u0000"}\0tail', { ["Content-Type"] = "application/json", ["x-request-id"] = "req_1" }
    end, { headers = { ["X-One"] = "1", ["X-Two"] = "2" }, query = "limit=3" })
    assert.is_false(call:done())
    assert.is_nil(call:result())
    run(call)
    local response, err = call:result()
    assert.is_nil(err)
    local expected = { status = 200, content_type = "application/json", request_id = "req_1", attempts = 1 }
    expected.body = '{"id":"t\\u0000"}\0tail'
    assert.same(expected, response)
    local request = server.requests[1]
    assert.equal("POST", request.method)
    assert.equal("/v1/things?limit=3", request.path)
    assert.equal('{"a":1}', request.body)
    assert.equal("Bearer sk-1", request.headers.authorization)
    assert.equal("1", request.headers["x-one"])
    assert.equal("2", request.headers["x-two"])
    assert.equal("application/json", request.headers["content-type"])
  end)

  it("is announced once, and its result can be read as often as one likes", function()
    local call = start(function() return 200, "{}" end)
    run(call)
    local before = call:result()
    local name, announced = engine:next()
    assert.equal("done", name)
    assert.equal(call, announced)
    assert.is_nil(engine:next())
    local first, second = call:result(), call:result()
    assert.same(before, first)
    assert.equal(first, second)
    assert.is_true(call:done())
    call:cancel()
    assert.is_nil(call:event())
  end)

  it("that failed has both an answer and an error", function()
    local call = start(function()
      return 429, '{"error":{"message":"slow down"}}', { ["Retry-After"] = "7", ["x-request-id"] = "req_2" }
    end)
    run(call)
    for _ = 1, 2 do
      local response, err = call:result()
      assert.equal(429, response.status)
      assert.equal('{"error":{"message":"slow down"}}', response.body)
      assert.equal("rate_limit", err.kind)
      assert.equal(429, err.status)
      assert.equal(7, err.retry_after)
      assert.equal("req_2", err.request_id)
      assert.equal(1, err.attempts)
      assert.matches("slow down", err.message, 1, true)
      engine:next()
    end
  end)

  it("can be cancelled", function()
    local call = start(function() end)
    server:run(engine, function() return server.requests[1] end)
    call:cancel()
    assert.is_true(call:done())
    local response, err = call:result()
    assert.equal(0, response.status)
    assert.equal("cancelled", err.kind)
  end)

  it("is announced also where the module was opened again meanwhile", function()
    local call = start(function() end)
    package.loaded["nexus_assistants.core"] = nil
    require("nexus_assistants.core")
    package.loaded["nexus_assistants.core"] = core
    call:cancel()
    assert.same({ "done", call }, { engine:next() })
  end)

  it("that nobody keeps is cancelled and announced to nobody", function()
    local call = start(function() end)
    server:run(engine, function() return server.requests[1] end)
    local gone = setmetatable({ call }, { __mode = "v" })
    call = nil -- luacheck: ignore
    collect_twice()
    assert.is_nil(gone[1])
    engine:step(0)
    assert.is_nil(engine:next())
    assert.is_nil(engine:timeout())
  end)

  it("ends with its engine", function()
    local call = start(function() end)
    engine:close()
    assert.is_true(call:done())
    assert.equal("closed", select(2, call:result()).kind)
    assert.is_nil(engine:next())
    assert.is_nil(engine:timeout())
    assert.same({}, engine:fds())
    engine:step(0)
    engine:feed(0, true, true)
    local other, err = engine:call({ endpoint = endpoint, method = "GET", path = "/" })
    assert.is_nil(other)
    assert.equal("closed", err.kind)
  end)

  it("survives being collected in any order", function()
    for _ = 1, 20 do
      start(function() return 200, "{}" end)
      server:step()
      endpoint = nil
      collectgarbage("step", 10)
      engine = nil
      server:close()
      collect_twice()
    end
    server = nil
  end)

  it("can't be read by a finalizer in the middle of being read", function()
    local call = start(function() return 200, ("x"):rep(1000) end)
    run(call)
    engine:next()
    local calls = {}
    for _ = 1, 2000 do
      setmetatable({}, { __gc = function() calls[#calls + 1] = call:result() end })
      local response = call:result()
      assert.equal(1000, #response.body)
    end
  end)

  it("streams its events", function()
    local call = start(function()
      return 200, "event: a\ndata: 1\nid: 9\n\ndata: 2\ndata: 3\n\n", { ["Content-Type"] = "text/event-stream" }
    end, { stream = true })
    run(call)
    local names = {}
    for name, announced in function() return engine:next() end do
      assert.equal(call, announced)
      names[#names + 1] = name
    end
    assert.equal("done", names[#names])
    assert.equal("data", names[1])
    assert.same({ "a", "1", "9" }, { call:event() })
    local event, data = call:event()
    assert.same({ "message", "2\n3" }, { event, data })
    assert.is_nil(call:event())
    assert.equal(200, call:result().status)
    assert.is_nil(call:event())
  end)

  it("streams events by that name too, and no pieces of them", function()
    local call = start(function()
      return 200, "data: 1\n\n", { ["Content-Type"] = "text/event-stream" }
    end, { stream = "events" })
    run(call)
    assert.is_nil(call:piece())
    assert.same({ "message", "1", "" }, { call:event() })
  end)

  it("streams bytes, more than are held at once", function()
    local body = {}
    for index = 1, 300000 do body[index] = ("%07d\n"):format(index) end
    body = table.concat(body)
    local call = start(function() return 200, body end, { stream = "bytes" })
    assert.is_nil(call:piece())
    local pieces = {}
    server:run(engine, function()
      local piece = call:piece()
      assert.is_nil(call:event())
      if piece then pieces[#pieces + 1] = piece end
      return call:done() and not piece
    end)
    assert.equal(200, call:result().status)
    assert.equal("", call:result().body)
    assert.is_true(#pieces > 2)
    assert.is_true(table.concat(pieces) == body)
  end)

  it("sends parts from memory, from files and from its host", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write("file\0bytes")
    file:close()
    local call = start(function() return 200, "{}" end, {
      body = false,
      parts = {
        { name = "purpose", data = "assistants" },
        { name = "file", path = path, file_name = "a.txt", content_type = "text/plain" },
        { name = "more", source = true, size = 10, file_name = "b" },
      },
    })
    local pieces = { "01234", "56789" }
    server:run(engine, function()
      for name, asking in function() return engine:next() end do
        assert.equal(call, asking)
        if name == "send" then assert.is_true(call:send(table.remove(pieces, 1))) end
      end
      return call:done()
    end)
    os.remove(path)
    assert.same({}, pieces)
    local request = server.requests[1]
    assert.matches("^multipart/form%-data; boundary=", request.headers["content-type"])
    assert.matches('name="purpose"\r\n\r\nassistants\r\n', request.body, 1, true)
    assert.matches('name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nfile\0bytes\r\n',
      request.body, 1, true)
    assert.matches('name="more"; filename="b"\r\nContent-Type: application/octet-stream\r\n\r\n0123456789\r\n',
      request.body, 1, true)
    local sent, err = call:send("x")
    assert.is_nil(sent)
    assert.equal("closed", err.kind)
  end)

  it("says what it can't take of its host", function()
    local call = start(function() end, { body = false, parts = { { name = "a", source = true } } })
    local _, err = call:send(("x"):rep(2 ^ 20 + 1))
    assert.equal("too_large", err.kind)
    assert.is_true(call:send("x"))
    assert.is_true(call:send_end())
    _, err = call:send("x")
    assert.equal("invalid", err.kind)
    _, err = call:send_end()
    assert.equal("invalid", err.kind)
    assert.is_string(err.message)
    call:cancel()
    assert.has_error(function() call:send() end)
  end)

  it("tells how far it is", function()
    local call = start(function() return 200, ("x"):rep(1000) end, { progress = true })
    assert.same({ sent = 0, received = 0 }, call:progress())
    run(call)
    assert.equal("progress", (engine:next()))
    local expected = { sent = 7, send_total = 7, received = 1000, receive_total = 1000 }
    assert.same(expected, call:progress())
    local name repeat name = engine:next() until name == "done"
    call:result()
    assert.same(expected, call:progress())
  end)

  it("can be driven by a loop of the host's own", function()
    local socket = require("socket")
    local call = start(function() return 200, "{}" end)
    local deadline = core.monotonic() + 10
    while not call:done() do
      assert.is_true(core.monotonic() < deadline)
      local read, write = {}, {}
      for _, entry in ipairs(engine:fds()) do
        local handle = { getfd = function() return entry.fd end, dirty = function() return false end, entry = entry }
        if entry.read then read[#read + 1] = handle end
        if entry.write then write[#write + 1] = handle end
      end
      local timeout = math.min(engine:timeout() or 0.005, 0.005)
      local readable, writable = socket.select(read, write, timeout)
      for _, handle in ipairs(readable) do engine:feed(handle.entry.fd, true, false) end
      for _, handle in ipairs(writable) do engine:feed(handle.entry.fd, false, true) end
      engine:step(0)
      server:step()
    end
    assert.equal(200, call:result().status)
  end)

  it("costs Lua little", function()
    local call = start(function() return 200, "{}" end)
    run(call)
    engine:next()
    local options = { endpoint = endpoint, method = "GET", path = "/x" }
    collectgarbage()
    collectgarbage("stop")
    local before = collectgarbage("count")
    local other = assert(engine:call(options))
    assert.is_true(collectgarbage("count") - before < 1)
    collectgarbage("restart")
    other:cancel()
  end)
end)

describe("a call by HTTP/2", function()
  local json = require("nexus_assistants.json")
  local tls_server = require("spec.support.tls_server")
  local server, engine

  setup(function() server = tls_server.start({ http2 = true }) end)

  teardown(function()
    if server then server:stop() end
  end)

  before_each(function() engine = assert(core.engine({})) end)

  after_each(function() engine:close() end)

  local function asked(request)
    request.endpoint = core.endpoint({ base_url = server.url .. "/v1", ca_file = server.certificate, key = "sk-1234" })
    local call = assert(engine:call(request))
    while not call:done() do engine:step(1) end
    local response, err = call:result()
    return json.decode(assert(response.body, err and err.message))
  end

  it("asks for what it is given, with its headers and its body", function()
    if not server then return pending("node or openssl is absent") end
    local seen = asked({ method = "GET", path = "/threads/a%2Fb", query = "include%5B%5D=x%2By" })
    assert.same({ "2.0", "GET", "/v1/threads/a%2Fb?include%5B%5D=x%2By", "127.0.0.1" .. server.url:match(":%d+$") },
      { seen.version, seen.method, seen.path, seen.authority })
    assert.equal("Bearer sk-1234", seen.headers.authorization)
    assert.equal("gzip", seen.headers["accept-encoding"])
    assert.equal("nexus-assistants/" .. core.version, seen.headers["user-agent"])
    seen = asked({ method = "POST", path = "/threads", body = '{"a":1}' })
    assert.same({ "POST", "/v1/threads", "application/json", '{"a":1}' },
      { seen.method, seen.path, seen.headers["content-type"], seen.body })
  end)
end)

describe("waiting", function()
  local engine = assert(core.engine())

  it("returns after its timeout, also an odd one", function()
    local before = core.monotonic()
    engine:step(0.02, 0.001)
    assert.is_true(core.monotonic() - before < 5)
    engine:step(-1, -1)
    engine:step()
    assert.has_error(function() engine:step(0 / 0) end)
    assert.has_error(function() engine:step("soon") end)
  end)

  it("closes by itself at the end of its block", function()
    local chunk = (rawget(_G, "loadstring") or load)([[
      local core = ...
      local kept
      do
        local engine <close> = core.engine()
        kept = engine
      end
      return kept
    ]])
    if not chunk then return end -- before Lua 5.4
    local closed = chunk(core)
    assert.equal("closed", select(2, closed:call({})).kind)
  end)
end)

describe("a tracer", function()
  local server, engine

  local function traced(answer, options)
    server = loopback.new(answer)
    engine = assert(core.engine())
    local tracer = assert(core.tracer(engine, options))
    local endpoint = assert(core.endpoint({ base_url = server.url, key = "nxs_1" }))
    assert.is_true(tracer:nexus({ endpoint = endpoint, flush_interval = 0.01 }))
    return tracer
  end

  after_each(function()
    engine:close()
    server:close()
  end)

  local function nexus(request)
    if request.path == "/api/v1/traces" then return 201, '{"trace_id":"t-1"}' end
    if request.method == "PATCH" then return 200, '{"trace_id":"t-1"}' end
    return 201, '{"span_id":"s-' .. #server.requests .. '"}'
  end

  it("delivers traces and spans, parents first", function()
    local tracer = traced(nexus)
    local trace = assert(tracer:trace("agent", "weather"))
    assert.matches("^%x+$", trace:id())
    assert.equal(32, #trace:id())
    trace:input('"question"')
    trace:metadata("threadId", '"thread_1"')
    local parent = assert(trace:span("run", "llm"))
    local child = assert(trace:span("tool", nil, parent))
    assert.equal(16, #child:id())
    child:input("{}")
    child:output("[]")
    child:metadata("tool", '"x"')
    child:error("broke\0 here")
    child:times(1000, 1001.5)
    child:finish("error")
    parent:finish("ok")
    trace:output('"reply"')
    trace:finish("success")
    assert.is_true(tracer:pending())
    tracer:flush()
    server:run(engine, function() return not tracer:pending() end)
    local stats = tracer:stats()
    assert.equal(1, stats.traces_started)
    assert.equal(1, stats.traces_delivered)
    assert.equal(2, stats.spans_delivered)
    assert.equal(0, stats.spans_failed + stats.spans_dropped + stats.traces_failed + stats.traces_dropped)
    assert.equal(0, stats.bytes_pending)
    assert.equal("Bearer nxs_1", server.requests[1].headers.authorization)
    assert.matches('"name":"run"', server.requests[2].body, 1, true)
    assert.matches('"parent_span_id":"s-2"', server.requests[3].body, 1, true)
    assert.matches("broke\239\191\189 here", server.requests[3].body, 1, true)
    assert.is_true(tracer:close(1))
  end)

  it("drops what is too much and counts it", function()
    local tracer = traced(nexus, { max_traces = 1, max_spans = 1 })
    local trace = assert(tracer:trace("agent", "one"))
    assert.is_nil((tracer:trace("agent", "two")))
    assert.is_table({ trace:span("a") })
    assert.is_nil((trace:span("b")))
    local stats = tracer:stats()
    assert.equal(1, stats.traces_dropped)
    assert.equal(1, stats.spans_dropped)
  end)

  it("outlives its engine, and its traces outlive it", function()
    local tracer = traced(nexus)
    local trace = assert(tracer:trace("agent", "one"))
    local span = assert(trace:span("a"))
    engine:close()
    assert.is_false(tracer:close(0.1))
    tracer = nil -- luacheck: ignore
    collect_twice()
    span:finish("ok")
    trace:span("b")
    trace:finish("timeout", "late")
    assert.equal(32, #trace:id())
  end)

  it("refuses misuse", function()
    local tracer = traced(nexus)
    local trace = assert(tracer:trace("agent", "one"))
    local function refused(pattern, call, ...)
      local ok, message = pcall(call, ...)
      assert.is_false(ok)
      assert.matches(pattern, message, 1, true)
    end
    refused("must not be empty", tracer.trace, tracer, "", "x")
    refused("must not be empty", tracer.trace, tracer, "x", "")
    refused("string expected, got nil", tracer.trace, tracer, "x")
    refused("invalid option 'done'", trace.finish, trace, "done")
    refused("nexus_assistants.span expected, got table", trace.span, trace, "a", nil, {})
    refused("must not be NaN", trace:span("a").times, trace:span("b"), 0 / 0)
    refused("nexus_assistants.engine expected", core.tracer, {})
    local endpoint = assert(core.endpoint({ base_url = "http://h" }))
    local ok, err = tracer:nexus({ endpoint = endpoint })
    assert.is_nil(ok)
    assert.equal("invalid", err.kind)
  end)
end)
