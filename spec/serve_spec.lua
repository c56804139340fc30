local assistants = require("nexus_assistants.serve.assistants")
local core = require("nexus_assistants.core")
local ids = require("nexus_assistants.providers.runtime.id")
local json = require("nexus_assistants.json")
local schedulers = require("nexus_assistants.scheduler")
local servers = require("spec.support.server")
local socket = require("socket")

describe("the local server", function()
  local server, log

  setup(function()
    log = os.tmpname()
    server = servers.start({ kind = "serve", model_script = servers.root .. "examples/weather_model.lua", log = log })
  end)

  teardown(function()
    server:stop()
    os.remove(log)
  end)

  local function post(path, body, headers) return server:request("POST", path, body, headers) end
  local function get(path, headers) return server:request("GET", path, nil, headers) end

  local function refusal(response)
    local err = response.json.error
    return response.status, err.message, err.type, err.param, err.code
  end

  local TOOLS = { { type = "function", ["function"] = {
    name = "get_weather", parameters = { type = "object", properties = { city = { type = "string" } } },
  } } }

  -- Runs are moved on by the server's loop, so a few questions may be needed until it has come to it.
  local function wait_for(path, status)
    for _ = 1, 1000 do
      local run = get(path).json
      if run.status == status then return run end
      assert(run.status == "queued" or run.status == "in_progress", run.status)
    end
    error("the run never was " .. status)
  end

  it("runs an assistant that needs a tool", function()
    local thread = post("/v1/threads", {}).json
    local base = "/v1/threads/" .. thread.id
    assert.equal(200, post(base .. "/messages", { role = "user", content = "What is the weather in Rome?" }).status)
    local run = post(base .. "/runs", { assistant_id = "asst_local", tools = TOOLS }).json
    assert.equal("queued", run.status)
    local run_path = base .. "/runs/" .. run.id
    run = wait_for(run_path, "requires_action")
    local call = run.required_action.submit_tool_outputs.tool_calls[1]
    assert.equal('{"city":"Rome"}', call["function"].arguments)
    local output = json.encode({ city = "Rome", celsius = 21, sky = "clear" })
    local submitted = post(run_path .. "/submit_tool_outputs", {
      tool_outputs = { { tool_call_id = call.id, output = output } },
    })
    assert.equal(200, submitted.status)
    run = wait_for(run_path, "completed")
    assert.is_true(run.usage.total_tokens > 0)
    local messages = get(base .. "/messages?run_id=" .. run.id).json
    assert.equal(1, #messages.data)
    assert.equal("In Rome it is 21 °C and clear.", messages.data[1].content[1].text.value)
    local steps = get(run_path .. "/steps?order=asc&limit=1").json
    assert.same({ "tool_calls", true }, { steps.data[1].type, steps.has_more })
    assert.equal(output, steps.data[1].step_details.tool_calls[1]["function"].output)
    assert.same(steps.data[1], get(run_path .. "/steps/" .. steps.data[1].id).json)
  end)

  it("moves runs on without being asked, after the delay it was told", function()
    local script, trail = os.tmpname(), os.tmpname()
    os.remove(trail)
    local file = assert(io.open(script, "w"))
    file:write(("return function() io.open(%q, 'w'):close() return 'done' end"):format(trail))
    file:close()
    local slow = servers.start({ kind = "serve", delay = 0.05, assistant_id = "asst_slow", model_script = script })
    finally(function()
      slow:stop()
      os.remove(script)
      os.remove(trail)
    end)
    local thread = slow:request("POST", "/v1/threads", { messages = { { role = "user", content = "x" } } }).json
    local before = socket.gettime()
    local run = slow:request("POST", "/v1/threads/" .. thread.id .. "/runs", { assistant_id = "asst_slow" }).json
    assert.equal("queued", run.status)
    local left
    repeat left = io.open(trail) until left or socket.gettime() > before + 20
    assert.is_true(socket.gettime() - before >= 0.05)
    assert(left, "the model was never asked"):close()
  end)

  it("names requests and speaks JSON", function()
    local first, second = post("/v1/threads", {}), post("/v1/threads")
    assert.equal(200, second.status)
    assert.equal("application/json", first.headers["content-type"])
    assert.matches("^req_%w+$", first.headers["x-request-id"])
    assert.are_not.equal(first.headers["x-request-id"], second.headers["x-request-id"])
    assert.equal("{}", second.body:match('"metadata":({})'))
  end)

  it("wants some key", function()
    for _, authorization in ipairs({ false, "Bearer ", "Basic x" }) do
      local status, text, kind = refusal(post("/v1/threads", {}, { Authorization = authorization }))
      assert.equal(401, status)
      assert.matches("^You didn't provide an API key", text)
      assert.equal("invalid_request_error", kind)
    end
    assert.equal(200, post("/v1/threads", {}, { Authorization = "Bearer anything" }).status)
    assert.equal(200, post("/v1/threads", {}, { Authorization = false, ["api-key"] = "anything" }).status)
  end)

  it("wants the key of the environment where it is told which", function()
    local guarded = servers.start({
      api_key_environment = "NXA_SPEC_SECRET", environment = { NXA_SPEC_SECRET = "sk-right" }, log = log .. ".guarded",
    })
    finally(function()
      guarded:stop()
      os.remove(log .. ".guarded")
    end)
    local function ask(path, headers) return guarded:request("POST", path, "{}", headers) end
    assert.equal(200, ask("/v1/threads", { Authorization = "Bearer sk-right" }).status)
    assert.equal(200, ask("/v1/threads", { Authorization = false, ["api-key"] = "sk-right" }).status)
    assert.equal(400, ask("/api/v1/traces", { Authorization = "Bearer sk-right" }).status)
    for _, wrong in ipairs({ "sk-wrong", "sk-righ", "sk-rightt", "nxs_x" }) do
      assert.same({ 401, "Incorrect API key provided.", "invalid_request_error", json.null, "invalid_api_key" },
        { refusal(ask("/v1/threads", { Authorization = "Bearer " .. wrong })) })
      assert.equal(401, ask("/v1/threads", { Authorization = false, ["api-key"] = wrong }).status)
      local refused = ask("/api/v1/traces", { Authorization = "Bearer " .. wrong })
      assert.same({ 401, { error = "Invalid API key" } }, { refused.status, refused.json })
    end
    local file = assert(io.open(log .. ".guarded"))
    assert.is_nil(file:read("*a"):find("right", 1, true))
    file:close()
  end)

  it("refuses who has no key before the body has come", function()
    for _, path in ipairs({ "/v1/threads", "/api/v1/traces" }) do
      local client = assert(socket.connect("127.0.0.1", server.port))
      client:settimeout(30)
      client:send("POST " .. path .. " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
      assert.equal("HTTP/1.1 401 Unauthorized", (client:receive("*l")))
      client:close()
    end
  end)

  it("has the protocol's errors", function()
    assert.same({ 404, "No thread found with id 'thread_x'.", "invalid_request_error", json.null, json.null },
      { refusal(get("/v1/threads/thread_x")) })
  end)

  it("knows routes and methods", function()
    local status, text = refusal(post("/v1/foo", {}))
    assert.same({ 404, "Invalid URL (POST /v1/foo)" }, { status, text })
    status, text = refusal(server:request("PUT", "/v1/threads", {}))
    assert.same({ 405, "Invalid method for URL (PUT /v1/threads)" }, { status, text })
    assert.equal(404, get("/v1/threads/").status)
    assert.equal(404, get("/nothing").status)
    assert.equal(200, server:request("HEAD", "/v1/threads/" .. post("/v1/threads").json.id).status)
  end)

  it("refuses bodies that aren't objects of JSON", function()
    for _, body in ipairs({ "{oops", '"text"', "[1]", "null", '{"metadata":{"k":"\255"}}', "[]",
      '{"tool_resources":{"x":1e999}}' }) do
      local status, text, kind = refusal(post("/v1/threads", body))
      assert.equal(400, status, body)
      assert.is_string(text)
      assert.equal("invalid_request_error", kind)
    end
    assert.equal(400, post("/v1/threads", ("["):rep(100000)).status)
  end)

  it("quotes what isn't UTF-8 without breaking its answer", function()
    local response = get("/v1/threads/%FF%FE")
    assert.equal("No thread found with id '??'.", (select(2, refusal(response))))
    assert.equal(404, get("/v1/%FF\255").status)
  end)

  it("streams a run, and the connection carries on", function()
    local thread = post("/v1/threads", { messages = { { role = "user", content = "hello" } } }).json
    local path = "/v1/threads/" .. thread.id .. "/runs"
    local client = assert(socket.connect("127.0.0.1", server.port))
    client:settimeout(30)
    local body = '{"assistant_id":"asst_local","stream":true}'
    client:send("POST " .. path .. " HTTP/1.1\r\nHost: localhost\r\nApi-Key: k\r\nContent-Length: " .. #body
      .. "\r\n\r\n" .. body)
    local text = {}
    repeat
      text[#text + 1] = assert(client:receive("*l"))
    until text[#text] == "0"
    text = table.concat(text, "\n")
    assert.matches("^HTTP/1.1 200 OK\r?\n", text)
    assert.matches("\nContent%-Type: text/event%-stream; charset=utf%-8\n", text)
    assert.matches("\nTransfer%-Encoding: chunked\n", text)
    assert.matches("\nx%-request%-id: req_%w+\n", text)
    assert.is_nil(text:find("Content-Length", 1, true))
    assert.matches("event: thread.run.created\ndata: {", text)
    assert.matches("event: done\ndata: %[DONE%]\n", text)
    assert.equal("", client:receive("*l"))
    client:send("GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\nApi-Key: k\r\n\r\n")
    assert.equal("HTTP/1.1 200 OK", client:receive("*l"))
    client:close()
  end)

  it("streams to the end of the connection where chunks aren't known", function()
    local thread = post("/v1/threads", { messages = { { role = "user", content = "hello" } } }).json
    local client = assert(socket.connect("127.0.0.1", server.port))
    client:settimeout(30)
    local body = '{"assistant_id":"asst_local","stream":true}'
    client:send("POST /v1/threads/" .. thread.id .. "/runs HTTP/1.0\r\nApi-Key: k\r\nConnection: keep-alive\r\n"
      .. "Content-Length: " .. #body .. "\r\n\r\n" .. body)
    local text = assert(client:receive("*a"))
    client:close()
    assert.matches("\nConnection: close\r\n\r\nevent: thread.run.created\ndata: {", text)
    assert.matches("\n\nevent: done\ndata: %[DONE%]\n\n$", text)
  end)

  it("refuses a stream as it refuses all else", function()
    local body = { assistant_id = "asst_local", stream = true }
    local status, text = refusal(post("/v1/threads/thread_x/runs", body))
    assert.same({ 404, "No thread found with id 'thread_x'." }, { status, text })
    body.stream = "yes"
    status, text = refusal(post("/v1/threads/runs", body))
    assert.same({ 400, "Invalid type for 'stream': expected a boolean, but got a string instead." }, { status, text })
  end)

  it("takes lists' parameters from the query", function()
    local thread = post("/v1/threads", {}).json
    local path = "/v1/threads/" .. thread.id .. "/messages"
    for index = 1, 3 do post(path, { role = "user", content = "m" .. index }) end
    local list = get(path .. "?limit=2&order=asc").json
    assert.same({ 2, true }, { #list.data, list.has_more })
    assert.equal("m3", get(path .. "?order=asc&after=" .. list.last_id).json.data[1].content[1].text.value)
    assert.equal(400, get(path .. "?limit=x").status)
    assert.equal("[]", get(path .. "?run_id=run_x").body:match('"data":(%[%])'))
    assert.equal(200, get(path .. "?api-version=2024-05-01-preview").status)
  end)

  it("is Nexus too", function()
    local body = { agent_id = "a", name = "n", status = "running", started_at = "2024-01-01T00:00:00.000Z" }
    local id = post("/api/v1/traces", body).json.trace_id
    assert.matches("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$", id)
    assert.equal(201, post("/api/v1/traces/" .. id .. "/spans", {
      name = "s", status = "ok", started_at = "2024-01-01T00:00:00.000Z",
    }).status)
    assert.equal("s", server:traces()[1].spans[1].name)
    assert.equal("1", get("/api/v1/traces?limit=1").headers["x-total-count"])
    local refused = get("/api/v1/traces", { Authorization = "Bearer sk-other" })
    assert.same({ 401, { error = "Invalid API key" } }, { refused.status, refused.json })
    assert.matches("^<!DOCTYPE html>", get("/api/v2/traces").body)
  end)

  it("shows what Nexus's part received to who is here, and to nobody's page but its own", function()
    local id = server:request("POST", "/api/v1/traces",
      { agent_id = "bot", name = "seen-by-me", status = "running", started_at = "2024-01-01T00:00:00Z" }).json.trace_id
    local page = server:request("GET", "/", nil, { Authorization = false })
    assert.same({ 200, "text/html; charset=UTF-8", "nosniff", "DENY" }, { page.status, page.headers["content-type"],
      page.headers["x-content-type-options"], page.headers["x-frame-options"] })
    assert.is_nil(page.body:find("seen-by-me", 1, true))
    assert.equal(401, server:request("GET", "/view/traces", nil, { Authorization = false }).status)
    assert.equal(403, server:request("GET", "/view/traces", nil, { Origin = "http://evil.example" }).status)
    assert.equal(405, server:request("POST", "/view/traces", nil, { ["Content-Length"] = "0" }).status)
    assert.equal(404, server:request("GET", "/view/other").status)
    assert.equal(404, server:request("GET", "/view/traces/none").status)
    assert.equal("seen-by-me", server:request("GET", "/view/traces/" .. id).json.name)
  end)

  it("tells who looks again only what changed", function()
    local before = server:request("GET", "/view/traces")
    local tag = { ["If-None-Match"] = before.headers.etag }
    assert.same({ 200, "seen-by-me" }, { before.status, before.json[1].name })
    assert.equal(304, server:request("GET", "/view/traces", nil, tag).status)
    server:request("PATCH", "/api/v1/traces/" .. before.json[1].id, { status = "success" })
    local after = server:request("GET", "/view/traces", nil, tag)
    assert.same({ 200, "success" }, { after.status, after.json[1].status })
    assert.is_true(after.json[1].revision > before.json[1].revision)
  end)

  it("takes no list of a server before it for its own", function()
    local pages = require("nexus_assistants.serve.page")
    local nexus = { revision = 3, refusal = function() return nil end, overview = function() return "[]" end }
    local function ask(page, tag)
      return page:handle({ method = "GET", path = "/view/traces", headers = { ["if-none-match"] = tag } })
    end
    local first, second = pages.new(nexus, "::1", false), pages.new(nexus, "::1", false)
    local tag = ask(first).headers.ETag
    assert.same({ 304, 200 }, { ask(first, tag).status, ask(second, tag).status })
  end)

  it("shows nothing to others without a key", function()
    local pages = require("nexus_assistants.serve.page")
    local nexus = { revision = 1, refusal = function() return nil end, overview = function() return "[]" end }
    local request = { method = "GET", path = "/view/traces", headers = {} }
    assert.equal(403, pages.new(nexus, "0.0.0.0", false):handle(request).status)
    assert.equal(200, pages.new(nexus, "0.0.0.0", true):handle(request).status)
    assert.equal(200, pages.new(nexus, "::1", false):handle(request).status)
  end)

  it("writes a line a request, with the time, without control characters or keys", function()
    get("/v1/threads/thread_logged?secret=no", { Authorization = "Bearer sk-very-secret" })
    get("/v1/%1B\27[31m")
    post("/v1/threads/thread_refused", "{}", { Origin = "http://evil.example" })
    local file = assert(io.open(log))
    local text = file:read("*a")
    file:close()
    local time = "\n20%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ "
    assert.matches(time .. "GET /v1/threads/thread_logged%?secret=no 404 %d+%.%d ms "
      .. "%(No thread found with id 'thread_logged'.%)\n", text)
    assert.matches("Z GET /v1/%1B?[31m 404 ", text, 1, true)
    local reason = "%(requests of other sites' pages are refused%)"
    assert.matches(time .. "POST /v1/threads/thread_refused 403 %d+%.%d ms " .. reason .. "\n", text)
    assert.is_nil(text:find("sk-very-secret", 1, true))
    assert.is_nil(text:find("\27", 1, true))
  end)
end)

describe("what an API is asked for by the local server", function()
  it("is answered as any failure where it raises", function()
    local tasks = schedulers.new(core.engine({}), core.monotonic, error)
    local runtime = { api = {}, scheduler = tasks, perform = function() error("a defect", 0) end }
    local connection = { wait_for_news = function()
      tasks:turn(0)
      return true
    end }
    local request = { method = "GET", path = "/v1/assistants", headers = { ["api-key"] = "k" }, body = "", fields = {} }
    local api = assistants.new(runtime, "/v1", ids.new)
    assert.same({ false, "a defect" }, { pcall(api.handle, api, request, connection) })
  end)
end)
