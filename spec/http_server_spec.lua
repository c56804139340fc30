local connections = require("nexus_assistants.serve.server")
local hosts = require("nexus_assistants.serve.hosts")
local loops = require("nexus_assistants.serve.loop")
local message = require("nexus_assistants.serve.message")
local socket = require("socket")
local timers = require("nexus_assistants.providers.runtime.timers")

-- Requests are written without the header that each must have.
local function with_host(text)
  return (text:gsub(" HTTP/1%.1\r\n", "%0Host: localhost\r\n"))
end

describe("timers", function()
  it("fire when they are due, the earliest first", function()
    local set, fired = timers.new(), {}
    for _, due in ipairs({ 5, 3, 9, 1, 7, 3.5, 2, 8, 6, 4 }) do
      set:add(due, function() fired[#fired + 1] = due end)
    end
    assert.equal(1, set:next_due())
    set:fire(0.5)
    assert.same({}, fired)
    set:fire(6)
    assert.same({ 1, 2, 3, 3.5, 4, 5, 6 }, fired)
    set:fire(100)
    assert.same({ 1, 2, 3, 3.5, 4, 5, 6, 7, 8, 9 }, fired)
    assert.is_nil(set:next_due())
  end)

  it("can be cancelled, in any order, and again", function()
    local set, fired, all = timers.new(), {}, {}
    for due = 1, 50 do all[due] = set:add((due * 37) % 50, function() fired[#fired + 1] = (due * 37) % 50 end) end
    for due = 1, 50, 2 do
      set:cancel(all[due])
      set:cancel(all[due])
    end
    set:fire(100)
    local expected = {}
    for due = 2, 50, 2 do expected[#expected + 1] = (due * 37) % 50 end
    table.sort(expected)
    assert.same(expected, fired)
    set:cancel(all[2])
  end)

  it("know which is next, whichever goes", function()
    local seed = 1
    local function random(most)
      seed = (seed * 16807) % 2147483647
      return seed % most + 1
    end
    for _ = 1, 100 do
      local set, left = timers.new(), {}
      for index = 1, 30 do left[index] = set:add(random(1000), function() end) end
      while #left > 0 do
        set:cancel(table.remove(left, random(#left)))
        local least
        for _, timer in ipairs(left) do least = math.min(least or timer.due, timer.due) end
        assert.equal(least, set:next_due())
      end
    end
  end)

  it("added while others fire wait for the next time", function()
    local set, count = timers.new(), 0
    local function again()
      count = count + 1
      set:add(0, again)
    end
    set:add(0, again)
    set:fire(1)
    assert.equal(1, count)
  end)
end)

describe("HTTP messages", function()
  local function head(text) return message.parse_head(with_host(text)) end

  it("are read", function()
    local request = assert(head("POST /a/b?c=d HTTP/1.1\r\nX-A:  1 \r\nx-a: 2\r\nContent-Length: 5\r\n"))
    assert.same({ "POST", "/a/b", "c=d", 5, true },
      { request.method, request.path, request.query, request.length, request.keep_alive })
    assert.same({ host = "localhost", ["x-a"] = "1, 2", ["content-length"] = "5" }, request.headers)
    assert.equal("chunked", assert(head("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n")).length)
    assert.equal("/x", assert(head("GET http://host:1/x?y HTTP/1.1\r\n")).path)
    assert.equal("/", assert(head("GET http://host HTTP/1.1\r\n")).path)
    assert.is_false(assert(head("GET / HTTP/1.1\r\nConnection: Close\r\n")).keep_alive)
    assert.is_false(assert(head("GET / HTTP/1.0\r\n")).keep_alive)
    assert.is_true(assert(head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n")).keep_alive)
  end)

  it("are refused where they are malformed", function()
    local function status(text) return (select(2, head(text))) end
    for expected, texts in pairs({
      [400] = {
        "GET / HTTP/1.1", "GET  / HTTP/1.1\r\n", "get / HTTP/1.1\r\n", "GET / HTTP/1.1\nHost: x\r\n", "\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n", "GET / HTTP/1.1\r\n folded\r\n", "GET / HTTP/1.1\r\nno colon\r\n",
        "GET / HTTP/1.1\r\nA: b\nC: d\r\n", "GET / HTTP/1.1\r\nA: \0\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n", "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
      },
      [501] = { "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n" },
      [505] = { "GET / HTTP/2.0\r\n" },
    }) do
      for _, text in ipairs(texts) do assert.equal(expected, status(text), text) end
    end
    assert.truthy(head("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n"))
  end)

  it("are read in proportion to their length", function()
    local spaces, started = (" "):rep(60000), os.clock()
    local request = assert(head("GET / HTTP/1.1\r\nA: x" .. spaces .. "x" .. spaces .. "\r\n"))
    assert.equal(60002, #request.headers.a)
    assert.equal(400, (select(2, head("GET / HTTP/1.1\r\nA:" .. spaces .. "\0\r\n"))))
    assert.equal("", assert(head("GET / HTTP/1.1\r\nA:" .. spaces .. "\r\n")).headers.a)
    assert.is_true(os.clock() - started < 1, "seconds where milliseconds are expected")
    assert.equal(431, (select(2, head("GET / HTTP/1.1\r\n" .. ("a: b\r\n"):rep(300)))))
  end)

  it("name the host they are for", function()
    assert.same({ 400, "no Host" }, { select(2, message.parse_head("GET / HTTP/1.1\r\nA: b\r\n")) })
    assert.truthy(message.parse_head("GET / HTTP/1.0\r\n"))
    local request = message.parse_head("GET http://other:80?q HTTP/1.1\r\nHost: localhost\r\n")
    assert.same({ "other:80", "/", "q" }, { request.headers.host, request.path, request.query })
  end)

  it("have queries", function()
    assert.same({ a = "1 2", b = "x&y", c = "", ["d[]"] = { "1", "2" } },
      message.parse_query("a=1+2&b=x%26y&c=&d[]=1&d%5B%5D=2"))
    assert.same({}, message.parse_query(""))
  end)

  it("have chunk sizes", function()
    assert.same({ 26, 0, 16 }, { message.chunk_size("1a"), message.chunk_size("0"), message.chunk_size("10 ;x=y") })
    for _, line in ipairs({ "", "x", "-1", "1g", "fffffffffffff", " 5" }) do assert.is_nil(message.chunk_size(line)) end
  end)
end)

describe("hosts", function()
  local function status(bound, host, origin)
    return (select(2, hosts.check(bound, { host = host, origin = origin }))) or 200
  end

  it("have names", function()
    assert.same({ "a.b", "a", "[::1]", "127.0.0.1" },
      { hosts.name("A.b:80"), hosts.name("a"), hosts.name("[::1]:4010"), hosts.name("127.0.0.1:") })
    for _, text in ipairs({ "", "a, b", "a:b", "a@b", "[::1", "[::1]x", "::1", "a b", "a/b" }) do
      assert.is_nil(hosts.name(text), text)
    end
  end)

  it("are checked where only this machine is served", function()
    for _, host in ipairs({ "localhost", "LOCALHOST:4010", "127.0.0.1:80", "127.1.2.3", "[::1]:4010" }) do
      assert.equal(200, status("127.0.0.1", host), host)
      assert.equal(200, status("::1", host, "http://localhost:3000"), host)
    end
    for _, host in ipairs({ "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1:4010" }) do
      assert.equal(403, status("127.0.0.1", host), host)
      assert.equal(403, status("::1", host), host)
      assert.equal(403, status("::1", "localhost", "http://" .. host), host)
    end
    assert.equal(200, status("127.0.0.1", nil))
    assert.equal(400, status("127.0.0.1", "localhost, localhost"))
    assert.equal(400, status("127.0.0.1", ""))
    assert.equal(403, status("127.0.0.1", "localhost", "null"))
    assert.equal(403, status("127.0.0.1", nil, "http://evil.example"))
  end)

  it("may be any where others are served, but pages of others may ask nothing", function()
    assert.equal(200, status("0.0.0.0", "box.example:80"))
    assert.equal(200, status("0.0.0.0", "box.example:80", "https://BOX.example"))
    assert.equal(403, status("0.0.0.0", "box.example", "http://evil.example"))
    assert.equal(403, status("0.0.0.0", "box.example", "http://localhost"))
    assert.equal(403, status("0.0.0.0", "box.example", "null"))
  end)
end)

-- In this process, stepped by the specs: time and limits are theirs.
describe("the HTTP server", function()
  local server, clients, handler, late, told

  local function start(limits, on_head)
    local loop = loops.new()
    local real = loop.now
    late = 0
    loop.now = function() return real() + late end
    server = assert(connections.new({
      loop = loop, limits = limits, on_head = on_head,
      handler = function(request, connection) return handler(request, connection) end,
      on_answered = function(request, status, _, reason)
        told[#told + 1] = { request and request.path or "-", status or "-", reason }
      end,
    }))
  end

  local function echo(request)
    local body = request.method .. " " .. request.path .. " " .. request.body
    return { status = 200, content_type = "text/plain", body = body }
  end

  before_each(function() clients, handler, told = {}, echo, {} end)

  after_each(function()
    for _, client in ipairs(clients) do client:close() end
    server:close()
  end)

  local function step() server.loop:step(0.01) end

  local function connect()
    local client = assert(socket.connect("127.0.0.1", server.port))
    client:settimeout(0)
    clients[#clients + 1] = client
    return client
  end

  local function send(client, text)
    local from = 1
    text = with_host(text)
    while from <= #text do
      local sent, _, last = client:send(text, from)
      from = (sent or last) + 1
      step()
    end
  end

  -- Steps the server until the client has got what matches, or the connection was closed; a bound on the rounds keeps a
  -- failing spec from waiting for ever.
  local function receive(client, pattern)
    local text = ""
    for _ = 1, 2000 do
      local data, err, partial = client:receive(65536)
      text = text .. (data or partial)
      if err == "closed" then return text, true end
      if pattern and text:find(pattern) then return text end
      step()
    end
    error("nothing came; so far: " .. text:sub(1, 200))
  end

  local function bodies(text)
    local found = {}
    for length, rest in text:gmatch("Content%-Length: (%d+)\r\n.-\r\n\r\n()") do
      found[#found + 1] = text:sub(rest, rest + tonumber(length) - 1)
    end
    return found
  end

  local function receive_echo(path)
    local client = connect()
    send(client, "GET " .. path .. " HTTP/1.1\r\n\r\n")
    return receive(client, "GET " .. path)
  end

  it("looks often after descriptors that select doesn't take", function()
    start()
    server.loop.descriptors = function() return { { fd = 1024, read = true, write = true } } end
    local waits, selected = {}, server.loop.select
    server.loop.select = function(readers, writers, seconds)
      waits[#waits + 1] = seconds
      return selected(readers, writers, seconds)
    end
    server.loop:step(0.5)
    server.loop.descriptors = nil
    server.loop:step(0.02)
    assert.same({ 0.01, 0.02 }, waits)
  end)

  it("keeps connections", function()
    start()
    local client = connect()
    for index = 1, 3 do
      send(client, "GET /" .. index .. " HTTP/1.1\r\n\r\n")
      assert.matches("^HTTP/1.1 200 OK\r\n.*GET /" .. index .. " $", (receive(client, "GET /" .. index)))
    end
    send(client, "GET /last HTTP/1.1\r\nConnection: close\r\n\r\n")
    local text, closed = receive(client)
    assert.matches("Connection: close\r\n", text)
    assert.is_true(closed)
    assert.equal(1, server.accepted)
  end)

  it("closes after HTTP/1.0", function()
    start()
    local client = connect()
    send(client, "GET /old HTTP/1.0\r\n\r\n")
    assert.is_true((select(2, receive(client))))
    client = connect()
    send(client, "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert.matches("Connection: keep%-alive", (receive(client, "GET /old")))
  end)

  it("answers what was sent ahead, in order", function()
    start()
    local client = connect()
    send(client, "POST /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\nab\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n")
    assert.same({ "POST /1 ab", "GET /2 ", "GET /3 " }, bodies((receive(client, "GET /3"))))
  end)

  it("takes requests a byte at a time", function()
    start()
    local client = connect()
    local text = "POST /slow HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    for index = 1, #text do send(client, text:sub(index, index)) end
    assert.same({ "POST /slow abcde" }, bodies((receive(client, "abcde"))))
  end)

  it("takes large bodies, in one piece and in chunks", function()
    start()
    local received
    handler = function(request)
      received = request.body
      return { status = 204 }
    end
    local client, large = connect(), ("0123456789abcdef"):rep(200000)
    send(client, "POST / HTTP/1.1\r\nContent-Length: " .. #large .. "\r\n\r\n" .. large)
    receive(client, "HTTP/1.1 204")
    assert.is_true(received == large)
    local chunk = ("10000\r\n%s\r\n"):format(large:sub(1, 65536))
    send(client, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" .. chunk:rep(10) .. "0\r\n\r\n")
    receive(client, "HTTP/1.1 204")
    assert.is_true(received == large:sub(1, 65536):rep(10))
  end)

  it("asks for the body where it is expected to", function()
    start()
    local client = connect()
    send(client, "POST /e HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert.equal("HTTP/1.1 100 Continue\r\n\r\n", (receive(client, "\r\n\r\n")))
    send(client, "ok")
    assert.same({ "POST /e ok" }, bodies((receive(client, "ok$"))))
    send(client, "POST /e HTTP/1.1\r\nContent-Length: 2\r\nExpect: miracles\r\n\r\n")
    assert.matches("^HTTP/1.1 417 ", (receive(client)))
  end)

  it("answers HEAD without a body", function()
    start()
    local client = connect()
    send(client, "HEAD /h HTTP/1.1\r\n\r\nGET /g HTTP/1.1\r\n\r\n")
    local text = receive(client, "GET /g")
    assert.matches("^HTTP/1.1 200 OK\r\nContent%-Length: 8\r\n.-\r\n\r\nHTTP/1.1 200 OK", text)
  end)

  it("refuses what is too large or malformed, and closes", function()
    start({ head = 1000, body = 1000 })
    local function refusal(text)
      local client = connect()
      send(client, text)
      local answer, closed = receive(client)
      assert.is_true(closed)
      return tonumber(answer:match("^HTTP/1.1 (%d+) "))
    end
    assert.equal(431, refusal("GET / HTTP/1.1\r\nX: " .. ("x"):rep(2000)))
    assert.equal(431, refusal("GET / HTTP/1.1\r\nX: " .. ("x"):rep(2000) .. "\r\n\r\n"))
    assert.equal(413, refusal("POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n"))
    assert.equal(413, refusal("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"))
    assert.equal(400, refusal("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"))
    assert.equal(400, refusal("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd"))
    assert.equal(400, refusal("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" .. ("1"):rep(5000)))
    local trailers = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" .. ("a: b\r\n"):rep(200)
    assert.equal(431, refusal(trailers))
    assert.equal(431, refusal(trailers .. "\r\n"))
    assert.equal(400, refusal("hello\r\n\r\n"))
    assert.equal(400, refusal("\22\3\1\2\0\1\0")) -- how TLS begins: no end of a header may come
    assert.equal(400, refusal("GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n"))
    assert.equal(403, refusal("GET / HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n"))
    assert.equal(403, refusal("GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n"))
    assert.equal(505, refusal("PRI * HTTP/2.0\r\n\r\n"))
  end)

  it("holds so many bytes of bodies at a time, on all connections together", function()
    start({ body = 1000, bodies = 1500 })
    handler = function(request)
      if request.path == "/slow" then server.loop:pause(3600) end
      return echo(request)
    end
    local function post(path, sent)
      local client = connect()
      send(client, "POST " .. path .. " HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" .. ("x"):rep(sent))
      for _ = 1, 3 do step() end
      return client
    end
    post("/announced", 0)
    local slow = post("/slow", 1000)
    local part = post("/part", 400)
    assert.equal(1400, server.budget.held)
    local text, closed = receive(post("/refused", 101))
    assert.matches("^HTTP/1.1 503 ", text)
    assert.is_true(closed)
    local chunked = connect()
    send(chunked, "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" .. ("x"):rep(101))
    assert.matches("^HTTP/1.1 503 ", (receive(chunked)))
    assert.equal(1400, server.budget.held)
    part:close()
    for _ = 1, 3 do step() end
    post("/fits", 500)
    assert.equal(1500, server.budget.held)
    late = 3601
    receive(slow, "POST /slow")
    assert.equal(0, server.budget.held)
  end)

  it("tells of every request, also those refused", function()
    start({ body = 10 }, function(request) return request.path == "/head" and "taken" or nil end)
    handler = function(request) return request.path == "/taken" and "taken" or echo(request) end
    for _, text in ipairs({
      "GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", "BAD\r\n\r\n",
      "POST /b HTTP/1.1\r\nContent-Length: 11\r\n\r\n", "GET /c HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n",
      "GET /head HTTP/1.1\r\n\r\n", "GET /taken HTTP/1.1\r\n\r\n",
    }) do
      local client = connect()
      send(client, text)
      receive(client)
    end
    assert.same({
      { "/a", 200 }, { "-", 400, "malformed request line" }, { "/b", 413, "body too large" },
      { "/c", 403, "requests of other sites' pages are refused" }, { "/head", "-" }, { "/taken", "-" },
    }, told)
  end)

  it("sends large answers to slow readers", function()
    start()
    local pieces = {}
    for index = 1, 1200000 do pieces[index] = ("%07d"):format(index) end
    local large = table.concat(pieces)
    handler = function() return { status = 200, body = large } end
    local client = connect()
    send(client, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    for _ = 1, 10 do step() end
    local text, closed = receive(client)
    assert.is_true(closed)
    assert.is_true(text:match("\r\n\r\n(.*)$") == large)
  end)

  it("holds so many bytes of answers for slow readers, on all connections together", function()
    start({ answers = 40 * 1000 * 1000 })
    local huge = ("x"):rep(15 * 1000 * 1000)
    handler = function(request)
      if request.path == "/huge" then return { status = 200, body = huge } end
      return echo(request)
    end
    local function get_huge()
      local client = connect()
      send(client, "GET /huge HTTP/1.1\r\n\r\n")
      for _ = 1, 3 do step() end
      return client
    end
    local first = get_huge()
    get_huge()
    local text, closed = receive(get_huge())
    assert.matches("^HTTP/1.1 503 .*Retry%-After: 1\r\n", text)
    assert.is_true(closed)
    assert.same({ "/huge", 503, "too much is being answered" }, told[3])
    receive_echo("/small")
    first:close()
    for _ = 1, 3 do step() end
    assert.matches("^HTTP/1.1 200 ", (receive(get_huge(), "\r\n\r\n")))
    late = 121
    for _ = 1, 5 do step() end
    assert.same({ 0, 0 }, { server.count, server.budget.answers })
    receive(get_huge(), "x$")
  end)

  it("answers a handler's error with 500, and goes on", function()
    start()
    local written, stderr = {}, io.stderr
    io.stderr = { write = function(_, ...) written[#written + 1] = table.concat({ ... }) end } -- luacheck: ignore
    finally(function() io.stderr = stderr end) -- luacheck: ignore
    handler = function() error("a bug") end
    local client = connect()
    send(client, "GET / HTTP/1.1\r\n\r\n")
    local text, closed = receive(client)
    assert.matches("^HTTP/1.1 500 ", text)
    assert.is_true(closed)
    assert.matches("a bug", written[1])
    assert.same({ { "/", 500 } }, told)
    handler = echo
    client = connect()
    send(client, "GET /next HTTP/1.1\r\n\r\n")
    assert.matches("GET /next", (receive(client, "GET /next")))
    assert.equal(1, server.count)
  end)

  it("serves many connections at once, and those above the limit in turn", function()
    start({ connections = 3 })
    local open = {}
    for index = 1, 5 do
      open[index] = connect()
      open[index]:send(with_host("GET /" .. index .. " HTTP/1.1\r\n\r\n"))
    end
    for index = 1, 3 do receive(open[index], "GET /" .. index) end
    for _ = 1, 3 do step() end
    assert.equal(3, server.count)
    assert.is_nil((open[4]:receive(1)))
    open[1]:close()
    receive(open[4], "GET /4")
    open[2]:close()
    receive(open[5], "GET /5")
    assert.equal(3, server.count)
    for index = 3, 5 do open[index]:close() end
    for _ = 1, 5 do step() end
    assert.equal(0, server.count)
    assert.equal(1, #server.loop.readers)
    receive_echo("/6")
  end)

  it("turns out who has been idle longest when all places are taken", function()
    start({ connections = 3, idle = 60 })
    handler = function(request)
      if request.path == "/slow" then server.loop:pause(3600) end
      return echo(request)
    end
    local slow, silent, served = connect(), connect(), connect()
    send(slow, "GET /slow HTTP/1.1\r\n\r\n")
    for _ = 1, 3 do step() end
    late = 5
    send(served, "GET /served HTTP/1.1\r\n\r\n")
    receive(served, "GET /served")
    assert.equal(3, server.count)
    receive_echo("/new")
    assert.same({ "", true }, { receive(silent) })
    -- all have just said something: room comes with time
    local last = connect()
    last:send(with_host("GET /last HTTP/1.1\r\n\r\n"))
    for _ = 1, 3 do step() end
    assert.is_nil((last:receive(1)))
    late = 7
    receive(last, "GET /last")
    assert.same({ "", true }, { receive(served) })
    assert.equal(3, server.count)
  end)

  it("waits less for the first request of a connection", function()
    start({ first = 5, idle = 60 })
    local silent, served = connect(), connect()
    send(served, "GET /s HTTP/1.1\r\n\r\n")
    receive(served, "GET /s")
    send(silent, "GET /s HTTP/1.1\r\n")
    late = 6
    assert.same({ "", true }, { receive(silent) })
    assert.equal(1, server.count)
  end)

  it("lets a handler wait without holding up others", function()
    start()
    handler = function(request)
      if request.path == "/slow" then server.loop:pause(3600) end
      return echo(request)
    end
    local slow, quick = connect(), connect()
    send(slow, "GET /slow HTTP/1.1\r\n\r\n")
    send(quick, "GET /quick HTTP/1.1\r\n\r\n")
    receive(quick, "GET /quick")
    assert.is_nil((slow:receive(1)))
    late = 3601
    receive(slow, "GET /slow")
  end)

  -- Fills the way to the server with `piece`, again and again, a round of the loop in between. Sockets of the loopback
  -- hold some megabytes, so a server that reads on while there is something never comes back to others.
  local function flood(client, piece)
    local from, rest = 1, piece:rep(math.ceil(262144 / #piece))
    return function()
      while true do
        local sent, err, last = client:send(rest, from)
        if err == "closed" then return end
        if not sent then
          from = last + 1
          return
        end
        from = 1
      end
    end
  end

  -- How many rounds a request takes that comes while another connection sends without pause.
  local function rounds_beside(opening, piece)
    local greedy, other = connect(), connect()
    greedy:send(with_host(opening))
    for _ = 1, 3 do step() end
    local pour = flood(greedy, with_host(piece))
    pour()
    other:send(with_host("GET /other HTTP/1.1\r\n\r\n"))
    local text = ""
    for round = 1, 200 do
      step()
      local data, _, partial = other:receive(65536)
      text = text .. (data or partial or "")
      if text:find("GET /other", 1, true) then return round end
      greedy:receive(65536)
      pour()
    end
    error("the other was never served")
  end

  it("serves others in turn with one that pipelines without pause", function()
    start()
    local requests, seen = 0, nil
    handler = function(request)
      requests = requests + 1
      if request.path == "/other" then seen = requests end
      return echo(request)
    end
    assert.is_true(rounds_beside("", "GET /greedy HTTP/1.1\r\n\r\n") <= 3)
    assert.is_true(seen <= 6, seen)
  end)

  it("serves others in turn with one that uploads without pause", function()
    for _, case in ipairs({
      { "Content-Length: 16000000", ("x"):rep(1000) }, { "Transfer-Encoding: chunked", "1\r\nx\r\n" },
    }) do
      start()
      assert.is_true(rounds_beside("POST /up HTTP/1.1\r\n" .. case[1] .. "\r\n\r\n", case[2]) <= 3)
      assert.equal(1, #server.loop.ready)
      server:close()
    end
    start()
  end)

  it("closes connections that say nothing, or nothing more", function()
    start({ idle = 10, request = 5 })
    local silent, halfway, served = connect(), connect(), connect()
    send(halfway, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
    send(served, "GET /s HTTP/1.1\r\n\r\n")
    receive(served, "GET /s")
    late = 6
    assert.same({ "", true }, { receive(halfway) })
    assert.equal(2, server.count)
    late = 11
    assert.same({ "", true }, { receive(silent) })
    assert.same({ "", true }, { receive(served) })
    assert.equal(0, server.count)
  end)

  -- Answers with these pieces, and what is behind them.
  local function in_pieces(list, ending)
    return function()
      local index = 0
      return { status = 200, content_type = "text/plain", pieces = function()
        index = index + 1
        if index > #list then return ending end
        return list[index]
      end }
    end
  end

  it("answers in pieces, and keeps the connection", function()
    start()
    handler = in_pieces({ "abc", ("x"):rep(20) })
    local client = connect()
    for _ = 1, 2 do
      send(client, "GET /p HTTP/1.1\r\n\r\n")
      local text = receive(client, "\r\n0\r\n\r\n")
      assert.matches("^HTTP/1.1 200 OK\r\nDate: [^\r]+\r\nContent%-Type: text/plain\r\nTransfer%-Encoding: chunked"
        .. "\r\n\r\n3\r\nabc\r\n14\r\n" .. ("x"):rep(20) .. "\r\n0\r\n\r\n$", text)
    end
    send(client, "GET /p HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    local text, closed = receive(client)
    assert.matches("Connection: close\r\n\r\nabc" .. ("x"):rep(20) .. "$", text)
    assert.is_true(closed)
    assert.same({ { "/p", 200 }, { "/p", 200 }, { "/p", 200 } }, told)
  end)

  it("breaks an answer in pieces off where it is told to", function()
    start()
    handler = in_pieces({ "abc" }, false)
    local client = connect()
    send(client, "GET / HTTP/1.1\r\n\r\n")
    local text, closed = receive(client)
    assert.matches("\r\n3\r\nabc\r\n$", text)
    assert.is_true(closed)
  end)

  it("closes the connection of who doesn't read the pieces, having served others", function()
    start()
    local huge = ("x"):rep(1000000)
    handler = function(request)
      if request.path ~= "/slow" then return echo(request) end
      return { status = 200, pieces = function() return huge end }
    end
    local slow = connect()
    send(slow, "GET /slow HTTP/1.1\r\n\r\n")
    for _ = 1, 30 do step() end
    receive_echo("/other")
    assert.equal(2, server.count)
    late = 121
    for _ = 1, 5 do step() end
    assert.equal(0, server.count)
  end)

  it("counts large pieces, too, among what slow readers hold", function()
    start({ answers = 40 * 1000 * 1000 })
    local huge = ("x"):rep(15 * 1000 * 1000)
    handler = function(request)
      local large, left = request.path == "/large", 1
      return { status = 200, pieces = function()
        left = left - 1
        return left == 0 and (large and huge or "small") or nil
      end }
    end
    local function get(path)
      local client = connect()
      send(client, "GET " .. path .. " HTTP/1.1\r\n\r\n")
      for _ = 1, 5 do step() end
      return client
    end
    get("/large")
    get("/large")
    local text, closed = receive(get("/large"))
    assert.matches("^HTTP/1.1 200 .*\r\n\r\n$", text)
    assert.is_true(closed)
    assert.matches("small\r\n0\r\n\r\n$", (receive(get("/small"), "\r\n0\r\n\r\n")))
    late = 121
    for _ = 1, 5 do step() end
    assert.same({ 0, 0 }, { server.count, server.budget.answers })
  end)

  it("tells who makes the pieces when nobody takes them any more", function()
    start()
    local abandoned = {}
    handler = function(request)
      local path = request.path
      return { status = 200, abandon = function() abandoned[#abandoned + 1] = path end, pieces = function()
        return path ~= "/ends" and ("x"):rep(1000000) or nil
      end }
    end
    local ends, slow, leaves = connect(), connect(), connect()
    send(ends, "GET /ends HTTP/1.1\r\n\r\n")
    receive(ends, "\r\n0\r\n\r\n")
    send(slow, "GET /slow HTTP/1.1\r\n\r\n")
    send(leaves, "GET /leaves HTTP/1.1\r\n\r\n")
    for _ = 1, 30 do step() end
    assert.same({}, abandoned)
    leaves:close()
    for _ = 1, 3 do step() end
    late = 121
    for _ = 1, 5 do step() end
    assert.same({ "/leaves", "/slow" }, abandoned)
  end)

  it("breaks off where the making of pieces fails, without a second head", function()
    start()
    handler = function() return { status = 200, pieces = function() error("on purpose", 0) end } end
    local client = connect()
    local written, stderr = {}, io.stderr
    io.stderr = { write = function(_, ...) written[#written + 1] = table.concat({ ... }) end } -- luacheck: ignore 122
    finally(function() io.stderr = stderr end) -- luacheck: ignore 122
    send(client, "GET / HTTP/1.1\r\n\r\n")
    local text, closed = receive(client)
    assert.is_true(closed)
    assert.matches("on purpose", written[1])
    assert.is_nil(text:find("HTTP/1.1 500", 1, true))
    assert.matches("Transfer%-Encoding: chunked\r\n\r\n$", text)
  end)

  describe("answering with what comes later", function()
    local news, gone, over

    before_each(function()
      news, gone, over = nil, false, false
      start()
      handler = function(request)
        if request.path ~= "/later" then return echo(request) end
        return { status = 200, pieces = function(connection)
          local here = connection:wait_for_news(function(on_news) news = on_news end)
          gone = not here
          if over then return nil end
          return here and "news"
        end }
      end
    end)

    it("waits for it, and takes what the client sends meanwhile", function()
      local client = connect()
      send(client, "GET /later HTTP/1.1\r\n\r\nGET /next")
      for _ = 1, 3 do step() end
      assert.is_function(news)
      news()
      news()
      assert.matches("\r\n4\r\nnews\r\n", (receive(client, "news")))
      step()
      assert.is_false(gone)
      assert.is_function(news)
    end)

    it("takes no more of what the client sends meanwhile than it can keep, and loses none of it", function()
      local client = connect()
      local body = ("x"):rep(1000000)
      local text = with_host("GET /later HTTP/1.1\r\n\r\nPOST /next HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
      local rest = text .. body
      for _ = 1, 30 do
        local sent, _, last = client:send(rest)
        rest = rest:sub((sent or last) + 1)
        step()
      end
      local held = 0
      for connection in pairs(server.connections) do held = held + #connection.buffer end
      assert.is_true(held > 65536 and held <= 3 * 65536)
      over = true
      news()
      send(client, rest)
      local answer = receive(client, "POST /next x")
      while #answer < 1000000 do answer = answer .. receive(client, ".") end
      assert.equal(body, answer:match("POST /next (x+)$"))
    end)

    it("notices that the client has gone", function()
      local client = connect()
      send(client, "GET /later HTTP/1.1\r\n\r\n")
      step()
      client:close()
      for _ = 1, 3 do step() end
      assert.is_true(gone)
      assert.is_nil(news)
      assert.equal(0, server.count)
    end)

    it("isn't disturbed by news for who was closed", function()
      local client = connect()
      send(client, "GET /later HTTP/1.1\r\n\r\n")
      step()
      local late_news = news
      late_news()
      server:close()
      step()
      late_news()
      step()
      start()
      receive_echo("/other")
    end)
  end)

  it("keeps its times when the time of day is set", function()
    local gettime, day = socket.gettime, 1e9
    socket.gettime = function() return day end
    finally(function() socket.gettime = gettime end) -- luacheck: ignore
    start({ idle = 10 })
    local client = connect()
    send(client, "GET /s HTTP/1.1\r\n\r\n")
    receive(client, "GET /s")
    day = 2e9
    for _ = 1, 3 do step() end
    assert.equal(1, server.count)
    day, late = 0, 11
    assert.same({ "", true }, { receive(client) })
  end)

  it("may be answered with the head alone", function()
    start(nil, function(request) return request.path == "/no" and { status = 401, body = "no" } or nil end)
    local client = connect()
    send(client, "POST /no HTTP/1.1\r\nContent-Length: 10000000\r\n\r\nonly so much")
    local text, closed = receive(client)
    assert.matches("^HTTP/1.1 401 .*Connection: close\r\n\r\nno$", text)
    assert.is_true(closed)
    receive_echo("/yes")
    assert.same({ { "/no", 401 }, { "/yes", 200 } }, told)
  end)

  it("notices that a client has gone while it waits for the body", function()
    start()
    local client = connect()
    send(client, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
    client:close()
    for _ = 1, 5 do step() end
    assert.equal(0, server.count)
  end)

  it("shows the head before the body is read to those who want to see it", function()
    local seen
    start(nil, function(request)
      seen = request.body
      return request.path == "/take" and "taken" or nil
    end)
    local client = connect()
    send(client, "POST /take HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
    assert.same({ "", true }, { receive(client) })
    assert.is_nil(seen)
  end)

  -- A handler whose answer to /slow takes a minute, and to /pieces as long, after the first of two.
  local function answer_late()
    local function pieces()
      local rest = { "first", "last" }
      return function()
        if #rest == 1 then server.loop:pause(60) end
        return table.remove(rest, 1)
      end
    end
    handler = function(request)
      if request.path == "/pieces" then return { status = 200, pieces = pieces() } end
      if request.path == "/slow" then server.loop:pause(60) end
      return echo(request)
    end
  end

  it("ends once what is under way is answered, and lets nobody in meanwhile", function()
    start()
    answer_late()
    local idle, slow, reader = connect(), connect(), connect()
    send(idle, "GET /idle HTTP/1.1\r\n\r\n")
    receive(idle, "GET /idle")
    send(slow, "GET /slow HTTP/1.1\r\n\r\nGET /behind HTTP/1.1\r\n\r\n")
    send(reader, "GET /pieces HTTP/1.1\r\n\r\n")
    receive(reader, "first")
    server:finish(3600)
    server:finish(0)
    assert.same({ "", true }, { receive(idle) })
    assert.is_nil((socket.connect("127.0.0.1", server.port)))
    step()
    assert.is_nil(server.loop.stopped)
    late = 61
    local text, closed = receive(slow)
    assert.matches("\r\nConnection: close\r\n.*GET /slow $", text)
    assert.is_true(closed)
    assert.matches("last\r\n0\r\n\r\n$", (receive(reader)))
    assert.is_true(server.loop.stopped)
  end)

  it("ends without what takes too long", function()
    start()
    answer_late()
    send(connect(), "GET /slow HTTP/1.1\r\n\r\n")
    server:finish(5)
    step()
    assert.is_nil(server.loop.stopped)
    late = 6
    step()
    assert.is_true(server.loop.stopped)
  end)

  it("ends at once where nobody is there, and where it is full of who says nothing", function()
    start()
    server:finish(5)
    assert.is_true(server.loop.stopped)
    server:close()
    start({ connections = 1 })
    connect()
    connect()
    for _ = 1, 3 do step() end
    server:finish(5)
    assert.is_true(server.loop.stopped)
    step()
    assert.equal(0, server.count)
  end)

  it("says where it can't listen", function()
    start()
    local other, err = connections.new({ port = server.port, handler = echo })
    assert.is_nil(other)
    assert.equal("can't listen on 127.0.0.1:" .. server.port .. ": address already in use", err)
    assert.equal("can't listen on [::1]:80: ", (("can't listen on %s: "):format(connections.authority("::1", 80))))
  end)

  it("says which package is missing", function()
    local loaded, preload = package.loaded.socket, package.preload.socket
    package.loaded.socket = nil
    package.preload.socket = function() error("not found") end
    local ok, problem = pcall(loops.socket)
    package.loaded.socket, package.preload.socket = loaded, preload
    assert.is_false(ok)
    assert.equal("the local server needs LuaSocket: install the rock 'luasocket' or Debian's package 'lua-socket'",
      problem)
    start()
  end)
end)
