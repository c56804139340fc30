local json = require("nexus_assistants.json")
local servers = require("spec.support.server")
local socket = require("socket")

describe("the fault server", function()
  local server

  setup(function() server = servers.start({ kind = "fault" }) end)
  teardown(function() server:stop() end)

  before_each(function()
    server:clear_faults()
    server:clear_requests()
  end)

  local function thread(headers) return server:request("POST", "/v1/threads", {}, headers) end

  -- All the server sends on a connection, and how it ended: "closed", "timeout" or another error.
  local function raw(text, seconds)
    local connection = assert(socket.connect("127.0.0.1", server.port))
    finally(function() connection:close() end)
    connection:settimeout(seconds or 20)
    assert(connection:send(text))
    local answer, err, partial = connection:receive("*a")
    return answer or partial, err or "closed", connection
  end

  local POST = "POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}"

  local function split(answer)
    local head, body = answer:match("^(.-\r\n)\r\n(.*)$")
    return head, body
  end

  it("is the ordinary server where there is no fault", function()
    assert.equal("thread", thread().json.object)
    assert.equal(401, server:request("GET", "/api/v1/traces", nil, { Authorization = "Bearer x" }).status)
  end)

  it("remembers what it received", function()
    server:request("POST", "/v1/threads?a=b", '{"metadata":{"k":"v"}}', { ["X-Custom"] = "yes" })
    server:request("GET", "/api/v1/traces")
    local requests = server:requests()
    assert.equal(2, #requests)
    assert.same({ "POST", "/v1/threads", "a=b", '{"metadata":{"k":"v"}}' },
      { requests[1].method, requests[1].path, requests[1].query, requests[1].body })
    assert.equal("yes", requests[1].headers["x-custom"])
    assert.equal("GET", requests[2].method)
    assert.are_not.equal(requests[1].connection, requests[2].connection)
    server:clear_requests()
    assert.same({}, server:requests())
  end)

  it("hits by path, method and number", function()
    server:faults({
      { path = "/api/", action = "status", status = 500 },
      { path = "/v1/threads", method = "POST", action = "status", status = 503, skip = 1, times = 2, body = "busy",
        headers = { ["Retry-After"] = "7" } },
    })
    assert.equal(200, thread().status)
    local response = thread()
    assert.same({ 503, "busy", "7" }, { response.status, response.body, response.headers["retry-after"] })
    assert.equal(404, server:request("GET", "/v1/threads/x").status)
    assert.equal(503, thread().status)
    assert.equal(200, thread().status)
    assert.equal(500, server:request("GET", "/api/v1/traces").status)
    assert.same({ 1, 2 }, { server:faults()[1].hits, server:faults()[2].hits })
    server:clear_faults()
    assert.equal(200, server:request("GET", "/api/v1/traces").status)
  end)

  it("takes turns: the second fault comes when the first is used up", function()
    server:faults({
      { action = "status", status = 500, times = 1 }, { action = "status", status = 429, times = 1 },
    })
    assert.same({ 500, 429, 200 }, { thread().status, thread().status, thread().status })
  end)

  it("says what it doesn't know", function()
    server:faults({ { action = "explode" } })
    assert.matches("unknown action: explode", thread().body)
    assert.equal(404, server:request("GET", "/__nothing").status)
    assert.equal(400, server:request("PUT", "/__faults", "oops").status)
  end)

  it("answers with what isn't JSON, or with nothing", function()
    server:faults({
      { action = "text", times = 1 }, { action = "html", status = 502, times = 1 }, { action = "empty" },
    })
    assert.equal("this is not JSON", thread().body)
    local page = thread()
    assert.equal(502, page.status)
    assert.matches("^text/html", page.headers["content-type"])
    assert.matches("<title>502", page.body)
    local empty = thread()
    assert.same({ 200, "", "0" }, { empty.status, empty.body, empty.headers["content-length"] })
  end)

  it("echoes requests", function()
    server:faults({ { action = "echo" } })
    local echoed = server:request("PATCH", "/x?y=z", "text", { ["X-A"] = "b" }).json
    assert.same({ "PATCH", "/x", "y=z", "text", "b" },
      { echoed.method, echoed.path, echoed.query, echoed.body, echoed.headers["x-a"] })
  end)

  it("waits", function()
    server:faults({ { delay = 0.1 } })
    local before = socket.gettime()
    assert.equal(200, thread().status)
    assert.is_true(socket.gettime() - before >= 0.09)
  end)

  it("drops connections", function()
    server:faults({ { action = "drop" } })
    assert.same({ "", "closed" }, { (raw(POST)), (select(2, raw(POST))) })
    assert.equal(2, #server:requests())
    assert.equal("{}", server:requests()[1].body)
    server:faults({ { action = "drop_unread" } })
    assert.equal("", (raw("POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")))
    server:faults({ { action = "reset" } })
    local text, err = raw(POST)
    assert.equal("", text)
    assert.equal("closed", err)
  end)

  it("acts, and drops its answer", function()
    server:faults({ { path = "/api", method = "POST", action = "drop_answered" } })
    local body = json.encode({
      agent_id = "lost", name = "n", status = "running", started_at = "2024-01-01T00:00:00.000Z",
    })
    local head = "POST /api/v1/traces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer nxs_x\r\n"
    assert.equal("", (raw(head .. "Content-Length: " .. #body .. "\r\n\r\n" .. body)))
    assert.equal("lost", server:traces()[1].agent_name)
  end)

  it("cuts answers", function()
    server:faults({ { action = "truncate" } })
    local head, body = split((raw(POST)))
    local length = tonumber(head:match("Content%-Length: (%d+)"))
    assert.is_true(#body > 0 and #body < length)
    server:faults({ { action = "cut_chunked" } })
    head, body = split((raw(POST)))
    assert.matches("Transfer%-Encoding: chunked", head)
    assert.equal('9\r\n{"id":"a"\r\nff\r\n,"object"', body)
    server:faults({ { action = "garbage" } })
    assert.matches("this is not HTTP", (raw(POST)))
  end)

  it("half-closes: sends half, and still takes what comes", function()
    server:faults({ { action = "half_close" } })
    local text, err, connection = raw(POST)
    assert.matches("^HTTP/1.1 200 OK\r\n", text)
    assert.equal("closed", err)
    assert.equal(4, connection:send("more"))
    assert.equal(4, connection:send("more"))
  end)

  it("hangs until the faults are deleted", function()
    server:faults({ { action = "hang", times = 1 } })
    local connection = assert(socket.connect("127.0.0.1", server.port))
    finally(function() connection:close() end)
    connection:send(POST)
    repeat until #server:requests() == 1
    connection:settimeout(0)
    assert.equal("timeout", (select(2, connection:receive("*l"))))
    server:clear_faults()
    connection:settimeout(20)
    assert.equal("HTTP/1.1 200 OK", connection:receive("*l"))
  end)

  it("forgets a hanging client that goes away", function()
    server:faults({ { action = "hang", times = 1 } })
    local connection = assert(socket.connect("127.0.0.1", server.port))
    connection:send(POST)
    repeat until #server:requests() == 1
    connection:close()
    assert.equal(200, thread().status)
    server:clear_faults()
    assert.equal(200, thread().status)
  end)

  it("trickles", function()
    server:faults({ { action = "trickle", interval = 0.0001 } })
    local text = raw(POST)
    local head, body = split(text)
    assert.equal(tonumber(head:match("Content%-Length: (%d+)")), #body)
  end)

  it("is huge", function()
    server:faults({ { action = "huge_body", bytes = 3000000, times = 1 }, { action = "huge_header", bytes = 200000 } })
    local response = thread()
    assert.equal(3000000, #response.body)
    assert.equal(2999998, #response.json)
    assert.equal(200000, #thread().headers["x-huge"])
  end)
end)
