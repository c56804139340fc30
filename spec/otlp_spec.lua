-- Traces on their way to a receiver of OTLP: the core's sink over real connections, what the options and the
-- environment make of it, and, by OpenTelemetry's own code, that both encodings are what the schema says.
local core = require("nexus_assistants.core")
local in_time = require("spec.support.in_time")
local json = require("nexus_assistants.json")
local loopback = require("spec.support.loopback")
local nexus = require("nexus_assistants")
local process = require("spec.support.process")
local servers = require("spec.support.server")
local tls_server = require("spec.support.tls_server")

local CHECK = servers.root .. "spec/support/otlp_check.mjs"
local PACKAGE = servers.root .. "dev/node_modules/@opentelemetry/otlp-transformer/package.json"

local function output_of(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local function write_file(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function new_pipe()
  local path = os.tmpname()
  os.remove(path)
  assert.equal("", output_of("mkfifo " .. path .. " 2>&1"))
  return path
end

local function spans_of(body)
  local spans = {}
  for _, span in ipairs(json.decode(body).resourceSpans[1].scopeSpans[1].spans) do spans[span.name] = span end
  return spans
end

-- The value of an attribute as Lua has it, of any of the types that are used.
local function attribute(owner, key)
  for _, pair in ipairs(owner.attributes) do
    if pair.key == key then
      local name, value = next(pair.value)
      return name == "intValue" and tonumber(value) or value
    end
  end
end

describe("an OTLP sink", function()
  local engine, server, tracer, answer

  before_each(function()
    answer = function() return 200, "{}", { ["Content-Type"] = "application/json" } end
    server = loopback.new(function(request) return answer(request) end)
    engine = assert(core.engine({}))
    tracer = assert(core.tracer(engine, {}))
  end)

  after_each(function()
    engine:close()
    server:close()
  end)

  local function add(options)
    options.endpoint = assert(core.endpoint({ base_url = server.url, headers = options.headers }))
    options.headers = nil
    options.service_name = "bot"
    assert(tracer:otlp(options))
  end

  local function record(count)
    local trace = tracer:trace("bot", "weather")
    for number = 1, count or 1 do trace:span("span " .. number):finish("ok") end
    trace:finish("success")
  end

  local function deliver()
    tracer:flush()
    server:run(engine, function() return not tracer:pending() end)
  end

  it("sends what ended to where it is told, with its headers", function()
    add({ json = true, headers = { ["X-Team"] = "weather" } })
    record()
    deliver()
    local request = server.requests[1]
    assert.equal(1, #server.requests)
    assert.equal("POST /v1/traces", request.method .. " " .. request.path)
    assert.equal("application/json", request.headers["content-type"])
    assert.equal("weather", request.headers["x-team"])
    assert.is_nil(request.headers["content-encoding"])
    local spans = spans_of(request.body)
    assert.equal(spans["invoke_workflow weather"].spanId, spans["span 1"].parentSpanId)
    local stats = tracer:stats()
    assert.equal(1, stats.traces_delivered)
    assert.equal(1, stats.spans_delivered)
    assert.is_true(tracer:close(1))
  end)

  it("says what it sends", function()
    add({ path = "/x" })
    record()
    deliver()
    assert.equal("/x", server.requests[1].path)
    assert.equal("application/x-protobuf", server.requests[1].headers["content-type"])
  end)

  it("sends what can be unpacked", function()
    local endpoint = assert(core.endpoint({ base_url = server.url }))
    local added, err = tracer:otlp({ endpoint = endpoint, json = true, gzip = true })
    if not added then
      assert.equal("gzip: this was built without zlib", err.message)
      return pending("this was built without zlib")
    end
    if output_of("gzip --version 2>/dev/null") == "" then return pending("gzip is absent") end
    record(600)
    deliver()
    local count = 0
    for _, request in ipairs(server.requests) do
      assert.equal("gzip", request.headers["content-encoding"])
      local path = write_file(request.body)
      for _ in pairs(spans_of(output_of("gzip -dc < " .. servers.quote(path)))) do count = count + 1 end
      os.remove(path)
    end
    assert.equal(601, count)
  end)

  it("takes a connection that breaks for one that may come back", function()
    add({ json = true })
    local calls = 0
    answer = function()
      calls = calls + 1
      return calls == 1 and 503 or 200, "{}", { ["Retry-After"] = "0" }
    end
    record()
    deliver()
    assert.equal(2, calls)
    assert.equal(server.requests[1].body, server.requests[2].body)
    assert.equal(1, tracer:stats().requests_repeated)
    assert.equal(1, tracer:stats().traces_delivered)
  end)

  it("brings every span once to a receiver that often has no time for them", function()
    add({ json = true })
    local codes, state, seen, count = { 200, 429, 200, 502, 503, 504 }, 7, {}, 0
    answer = function(request)
      state = (state * 1103 + 12345) % 65536
      local code = codes[state % #codes + 1]
      if code ~= 200 then return code, "", { ["Retry-After"] = "0" } end
      for _, span in ipairs(json.decode(request.body).resourceSpans[1].scopeSpans[1].spans) do
        assert.is_nil(seen[span.spanId])
        seen[span.spanId], count = true, count + 1
      end
      return 200, "{}"
    end
    for _ = 1, 60 do
      record(20)
      deliver()
    end
    assert.equal(60 * 21, count)
    assert.is_true(tracer:stats().requests_repeated > 20)
    assert.equal(60, tracer:stats().traces_delivered)
  end)

  it("closes in time where nobody answers", function()
    answer = function() end
    local function seconds_to_close()
      tracer = assert(core.tracer(engine, {}))
      add({ json = true })
      record()
      local started = core.monotonic()
      assert.is_false(tracer:close(1.0))
      local seconds = core.monotonic() - started
      assert.equal(1, tracer:stats().spans_failed)
      return seconds
    end
    local seconds = in_time.least(1.05, seconds_to_close(), seconds_to_close)
    assert.is_true(seconds <= 1.05, seconds)
  end)

  it("says what is wrong with a path that nothing can be sent to", function()
    add({ path = "/v1/tr aces", flush_interval = 0 })
    record()
    assert.is_false(tracer:close(1))
    local _, warning = engine:next()
    assert.truthy(warning:find("^path holds a space"))
    assert.same({ 0, 1, 1 }, {
      tracer:stats().requests, tracer:stats().traces_failed, tracer:stats().spans_failed,
    })
  end)

  it("refuses misuse", function()
    local endpoint = assert(core.endpoint({ base_url = server.url }))
    assert.has_error(function() tracer:otlp({ endpoint = endpoint, jsn = true }) end,
      "tracer:otlp: unknown option 'jsn'")
    assert.has_error(function() tracer:otlp({ endpoint = endpoint, json = 1 }) end,
      "tracer:otlp: option 'json' must be a boolean, got number")
    local added, err = tracer:otlp({ endpoint = endpoint, path = "traces" })
    assert.is_nil(added)
    assert.equal("path must begin with '/'", err.message)
  end)

  -- One of each kind there is, with all types of values, whatever is hard to write among them.
  local function record_everything()
    local trace = tracer:trace("bot \"x\"", "weather\n\1 \195\169 \240\159\152\128")
    trace:metadata("threadId", '"thread_1"')
    trace:metadata("run.usage", '{"total_tokens":10}')
    trace:input('"Wie wird das Wetter in Z\195\188rich?"')
    local run = trace:span("threads.runs.createAndPoll", "llm")
    run:metadata("runId", '"run_1"')
    run:input('{"instructions":"be \\"brief\\" \\u0000","additional_messages":[{"role":"user","content":"Hi"}]}')
    run:output('{"status":"completed","model":"gpt-x","usage":{"prompt_tokens":7,"completion_tokens":3}}')
    local tool = trace:span("tool get_weather", "tool", run)
    tool:metadata("toolCallId", '"call_1"')
    tool:input('{"city":"Z\\u00fcrich"}')
    tool:output('[18,"\\ud83d\\ude00"]')
    tool:error("timeout: it took too long")
    tool:finish("error")
    local chat = trace:span("chat gpt-x", "llm", run)
    chat:input('{"messages":[{"role":"user","content":"Hi"}]}')
    chat:output('{"text":"warm","status":"stop"}')
    for index, value in ipairs({ "1", "-1", "9223372036854775807", "-9223372036854775808", "1e300", "0.1",
      "-2.5e-3", "true", "false", "null", "{}", "[]", '""' }) do
      chat:metadata("value " .. index, value)
    end
    for number = 1, 140 do tool:metadata("late " .. number, "1") end
    chat:finish("ok")
    run:finish("ok")
    trace:span("no type"):finish("ok")
    trace:finish("timeout", "it was too late")
  end

  for _, content in ipairs({ true, false }) do
    it("says the same in both encodings, and what the schema knows" .. (content and ", with content" or ""), function()
      if output_of("node --version 2>/dev/null") == "" then return pending("node is absent") end
      if not exists(PACKAGE) then
        return pending("the package @opentelemetry/otlp-transformer is absent (npm install in dev/)")
      end
      add({ json = true, content = content, resource_attributes = "a=%C3%A9,b=%22" })
      add({ content = content, resource_attributes = "a=%C3%A9,b=%22" })
      record_everything()
      deliver()
      assert.equal(2, #server.requests)
      local first, second = server.requests[1], server.requests[2]
      if first.headers["content-type"] ~= "application/json" then first, second = second, first end
      local paths = { write_file(first.body), write_file(second.body) }
      local said = output_of(("unset LD_PRELOAD; node --no-warnings %s %s %s 2>&1"):format(servers.quote(CHECK),
        paths[1], paths[2]))
      for _, path in ipairs(paths) do os.remove(path) end
      assert.equal("5 spans\n", said)
      assert.equal(content, first.body:find("gen_ai.input.messages", 1, true) ~= nil)
      assert.equal(content, first.body:find("Hi", 1, true) ~= nil)
    end)
  end

  it("is read and written again by protoc as the same bytes", function()
    if output_of("protoc --version 2>/dev/null") == "" then return pending("protoc is absent") end
    add({ content = true, resource_attributes = "a=%C3%A9" })
    record_everything()
    deliver()
    local sent = server.requests[1].body
    local path, protoc = write_file(sent), "protoc --proto_path=" .. servers.quote(servers.root .. "spec/support")
    local decode = ("%s --decode=Request otlp.proto < %s 2>&1"):format(protoc, path)
    local text, again = output_of(decode), output_of(decode .. " | " .. protoc .. " --encode=Request otlp.proto 2>&1")
    os.remove(path)
    assert.equal(sent, again)
    assert.is_nil(text:find("\n%s*%d+[:%s{]"))
    assert.truthy(text:find('name: "execute_tool get_weather"', 1, true), text)
  end)
end)

describe("a client's OTLP options", function()
  local server, client, warnings, environment, real_environment

  before_each(function()
    server = loopback.new(function() return 200, "{}" end)
    warnings, environment, real_environment = {}, {}, core.environment
    core.environment = function(name) return environment[name] end -- luacheck: ignore 122
  end)

  after_each(function()
    core.environment = real_environment -- luacheck: ignore 122
    if client then client:close(0) end
    client = nil
    server:close()
  end)

  local function new(options)
    options.provider = "script"
    options.script = function() return "warm" end
    if options.nexus == nil then options.nexus = false end
    options.on_warning = function(text) warnings[#warnings + 1] = text end
    local problem
    client, problem = nexus.new(options)
    return client, problem
  end

  local function deliver(name)
    client:trace({ name = name or "weather", input = "secret" }, function() return 18 end)
    client.tracer:flush()
    server:run(client.engine, function() return not client.tracer:pending() end)
    return server.requests[1]
  end

  local function resource(request)
    return json.decode(request.body).resourceSpans[1].resource
  end

  it("name the receiver", function()
    assert(new({ agent_id = "bot", otlp = { endpoint = server.url .. "/", protocol = "http/json",
      headers = { Authorization = "Bearer x" }, content = true, resource_attributes = { ["team name"] = "a,b=c" } } }))
    local request = deliver()
    assert.equal("/v1/traces", request.path)
    assert.equal("Bearer x", request.headers.authorization)
    assert.equal("bot", attribute(resource(request), "service.name"))
    assert.equal("a,b=c", attribute(resource(request), "team name"))
    assert.equal("secret", attribute(spans_of(request.body)["invoke_workflow weather"], "input.value"))
  end)

  it("name an address for traces, which is used as it is", function()
    assert(new({ otlp = { traces_endpoint = server.url .. "/own/path?key=1" } }))
    assert.equal("/own/path?key=1", deliver().path)
    assert.equal("application/x-protobuf", server.requests[1].headers["content-type"])
    assert.is_nil(server.requests[1].body:find("secret", 1, true))
  end)

  it("may be the environment's", function()
    environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT = server.url, OTEL_EXPORTER_OTLP_PROTOCOL = "http/protobuf",
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL = "http/json", OTEL_EXPORTER_OTLP_TIMEOUT = "2500",
      OTEL_SERVICE_NAME = "named", OTEL_RESOURCE_ATTRIBUTES = "service.name=other,team=x",
      OTEL_EXPORTER_OTLP_COMPRESSION = "none",
    }
    assert(new({}))
    local request = deliver()
    assert.equal("/v1/traces", request.path)
    assert.equal("named", attribute(resource(request), "service.name"))
    assert.equal("x", attribute(resource(request), "team"))
    assert.same({}, warnings)
  end)

  it("leave the service's name to the attributes where only they have one", function()
    environment = { OTEL_RESOURCE_ATTRIBUTES = "service.name=other" }
    assert(new({ otlp = { endpoint = server.url, protocol = "http/json" } }))
    assert.equal("other", attribute(resource(deliver()), "service.name"))
  end)

  it("leave out attributes of the environment's that are broken, and keep those given", function()
    local said = "environment variable OTEL_RESOURCE_ATTRIBUTES is left out: it must be name=value,…, "
      .. "with %XX for other characters"
    local lines = os.tmpname()
    for _, text in ipairs({ "team=x,other", "=x", "team=%4", "team=%zz", " \t=x", "team=x,%=y" }) do
      environment, warnings = { OTEL_RESOURCE_ATTRIBUTES = text }, {}
      assert(new({ otlp = {
        endpoint = server.url, protocol = "http/json", resource_attributes = { mine = "a,b" },
      }, file = lines }))
      local request = deliver()
      assert.is_nil((attribute(resource(request), "team")))
      assert.equal("a,b", attribute(resource(request), "mine"))
      assert.same({ said }, warnings, text)
      client:close(0)
      server.requests[1] = nil
    end
    os.remove(lines)
    environment, warnings = { OTEL_RESOURCE_ATTRIBUTES = " ,team = a%2Cb=c , ,x=," }, {}
    assert(new({ otlp = { endpoint = server.url, protocol = "http/json" } }))
    assert.equal("a,b=c", attribute(resource(deliver()), "team"))
    assert.same({}, warnings)
  end)

  it("use an address for traces of the environment as it is", function()
    environment = {
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = server.url, OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:1",
    }
    assert(new({}))
    assert.equal("/", deliver().path)
  end)

  it("leave out what the environment can't mean, and say so", function()
    environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT = server.url, OTEL_EXPORTER_OTLP_PROTOCOL = "grpc",
      OTEL_EXPORTER_OTLP_TIMEOUT = "soon", OTEL_EXPORTER_OTLP_COMPRESSION = "sk-0123456789abcdef",
    }
    assert(new({}))
    assert.equal("application/x-protobuf", deliver().headers["content-type"])
    table.sort(warnings)
    assert.same({
      "environment variable OTEL_EXPORTER_OTLP_COMPRESSION is left out: it can't be 'sk-****', it must be gzip or none",
      "environment variable OTEL_EXPORTER_OTLP_PROTOCOL is left out: it can't be 'grpc', it must be "
        .. "http/protobuf or http/json",
      "environment variable OTEL_EXPORTER_OTLP_TIMEOUT is left out: it can't be 'soon', it must be a number "
        .. "of milliseconds",
    }, warnings)
  end)

  it("leave out an address of the environment's that is none, and say so", function()
    local no_address = "environment variable %s is left out: it %s"
    local scheme = "must begin with http:// or https://"
    local all, traces = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    for _, case in ipairs({
      { all, "localhost:4318", scheme }, { all, "sk-0123456789abcdef", scheme },
      { all, "http://localhost/?a=b", "must not hold a query (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT may)" },
      { traces, "localhost:4318/v1/traces", scheme },
      { traces, server.url .. "/v1/tra ces", "holds a space, a control character or a backslash" },
      { traces, server.url .. "/?a b", "has a query that holds a space, a control character or '#'" },
    }) do
      warnings, environment = {}, { [case[1]] = case[2] }
      assert(new({}))
      assert.is_nil(client.tracer)
      assert.same({ no_address:format(case[1], case[3]) }, warnings)
      client:close(0)
    end
    -- neither the other variable counts then nor the default: the headers are for whoever was meant
    for variable, other in pairs({ [traces] = server.url, [all] = "" }) do
      warnings, environment = {}, { [all] = other, [variable] = "localhost:4318" }
      assert(new({ otlp = { service_name = "me" } }))
      assert.is_nil(client.tracer)
      assert.same({ no_address:format(variable, scheme) }, warnings)
      client:close(0)
    end
    warnings, environment = {}, {}
    assert(new({ otlp = { service_name = "me" } }))
    assert.is_truthy(client.tracer)
    assert.same({}, warnings)
  end)

  it("leave out half of a client's certificate in the environment, and what is no path, and say so", function()
    local variable, other = "OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"
    local half = "environment variable %s is left out: it needs %s, which is absent"
    local no_path = "environment variable %s is left out: it must be the path of a PEM file, not what is in it"
    environment = { OTEL_EXPORTER_OTLP_ENDPOINT = server.url, [variable] = "key.pem" }
    assert(new({}))
    assert.same({ half:format(variable, other) }, warnings)
    for _, text in ipairs({ "-----BEGIN CERTIFICATE-----", "a\nb", ("x/"):rep(2100), ("x"):rep(256),
      "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUV2", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7Zm9vYmFy",
      "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF" }) do
      warnings, environment[variable], environment[other] = {}, nil, text
      client:close(0)
      assert(new({}))
      assert.same({ no_path:format(other) }, warnings)
    end
    -- the other variable counts then
    warnings, environment.OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE = {}, "a\nb"
    environment[other], environment.OTEL_EXPORTER_OTLP_CERTIFICATE = nil, "/nowhere"
    client:close(0)
    assert(new({}))
    assert.same({ no_path:format("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"),
      "environment variable OTEL_EXPORTER_OTLP_CERTIFICATE: can't read /nowhere: No such file or directory" }, warnings)
  end)

  it("never wait for a pipe that is named in place of a file", function()
    local pipe = new_pipe()
    finally(function() os.remove(pipe) end)
    environment = { OTEL_EXPORTER_OTLP_ENDPOINT = server.url, OTEL_EXPORTER_OTLP_CERTIFICATE = pipe }
    local problem = "must be the path of a PEM file, not of a pipe: it is read for each connection"
    assert(new({}))
    assert.same({ "environment variable OTEL_EXPORTER_OTLP_CERTIFICATE is left out: it " .. problem }, warnings)
    client:close(0)
    local _, err = new({ otlp = { client_key = pipe, client_certificate = "x" } })
    assert.equal("option otlp.client_key " .. problem, err.message)
    warnings, environment = {}, {}
    assert(new({ otlp = { endpoint = server.url, certificate = "/" } }))
    assert.same({ "option otlp.certificate: can't read /: it is a folder" }, warnings)
  end)

  it("put traces below a span of the host's, and let others go on", function()
    environment = { TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }
    assert(new({ otlp = { endpoint = server.url, protocol = "http/json" } }))
    local passed_on, span_id
    client:trace({ name = "weather" }, function(trace)
      assert.equal("00-0af7651916cd43dd8448eb211c80319c", trace:traceparent():sub(1, 35))
      trace:span("own", function(span) passed_on, span_id = span:traceparent(), span:id() end)
    end)
    assert.equal("00-0af7651916cd43dd8448eb211c80319c-" .. span_id .. "-01", passed_on)
    client:trace({ name = "other", traceparent = "00-" .. ("1"):rep(32) .. "-" .. ("2"):rep(16) .. "-01" },
      function() end)
    client:trace({ name = "broken", traceparent = "x" }, function() end)
    client:trace({ name = "broken", traceparent = "x" }, function() end)
    local spans = spans_of(deliver("last").body)
    assert.equal("b7ad6b7169203331", spans["invoke_workflow weather"].parentSpanId)
    assert.equal(("2"):rep(16), spans["invoke_workflow other"].parentSpanId)
    assert.equal(("1"):rep(32), spans["invoke_workflow other"].traceId)
    assert.is_nil(spans["invoke_workflow broken"].parentSpanId)
    assert.same({ "traceparent is no \"00-<trace id>-<span id>-<flags>\": traces begin anew" }, warnings)
  end)

  it("are off where they are false, and where the environment disables OpenTelemetry", function()
    environment = { OTEL_EXPORTER_OTLP_ENDPOINT = server.url }
    assert(new({ otlp = false }))
    assert.is_nil(client.tracer)
    client:close(0)
    environment.OTEL_SDK_DISABLED = "True"
    assert(new({ otlp = { endpoint = server.url } }))
    assert.is_nil(client.tracer)
  end)

  it("make a warning of a missing key of Nexus's needless", function()
    assert(new({ nexus = {}, otlp = { endpoint = server.url } }))
    assert.same({}, warnings)
    client:close(0)
    assert(new({ nexus = {} }))
    assert.equal(1, #warnings)
  end)

  it("are checked", function()
    local made, err = new({ otlp = { endpoint = "ftp://x" } })
    assert.is_nil(made)
    assert.equal("configuration", err.kind)
    assert.equal("option 'otlp.endpoint' must begin with http:// or https://", err.message)
    assert.equal("nexus.new: otlp", err.operation)
    environment = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = server.url }
    err = select(2, new({ otlp = { traces_endpoint = "localhost:4318/v1/traces" } }))
    assert.equal("option 'otlp.traces_endpoint' must begin with http:// or https://", err.message)
    err = select(2, new({ otlp = { traces_endpoint = "http://localhost/?a b" } }))
    assert.equal("option 'otlp.traces_endpoint': the query holds a space, a control character or '#'",
      err.message)
    assert.has_error(function() new({ otlp = { protocol = "grpc" } }) end,
      "nexus.new: option 'otlp.protocol' must be 'http/protobuf' or 'http/json', got 'grpc'")
    assert.has_error(function() new({ otlp = { endpont = "x" } }) end,
      "nexus.new: unknown option 'otlp.endpont' (did you mean 'otlp.endpoint'?)")
    assert.has_error(function() new({ otlp = "x" }) end,
      "nexus.new: option 'otlp' must be a table, or false, got a string")
  end)
end)

describe("a receiver behind TLS", function()
  local server

  setup(function() server = tls_server.start() end)

  teardown(function()
    if server then server:stop() end
  end)

  local function deliver(options)
    local warnings = {}
    options.endpoint = server.url
    local client = assert(nexus.new({ provider = "script", nexus = false, otlp = options,
      on_warning = function(text) warnings[#warnings + 1] = text end }))
    client:trace({ name = "weather" }, function() end)
    return client:close(2), warnings[1]
  end

  it("is trusted where its certificate is", function()
    if not server then return pending("node or openssl is absent") end
    assert.is_true(deliver({ certificate = server.certificate }))
    local delivered, warning = deliver({})
    assert.is_false(delivered)
    assert.truthy(warning:find("not delivered to " .. server.url, 1, true), warning)
    assert.truthy(warning:lower():find("certificate", 1, true), warning)
  end)

  it("can't be reached with certificates that can't be read", function()
    if not server then return pending("node or openssl is absent") end
    local delivered, warning = deliver({ certificate = "/nowhere" })
    assert.is_false(delivered)
    assert.equal("option otlp.certificate: can't read /nowhere: No such file or directory", warning)
  end)
end)

describe("a receiver that asks who its clients are", function()
  local server

  setup(function() server = tls_server.start({ asks = true }) end)

  teardown(function()
    if server then server:stop() end
  end)

  -- All that was said, and at the end whether all was delivered. `run` is `process.chunk`, or what is like it.
  local function deliver(options, environment, run)
    local script = [[
      local nexus = require("nexus_assistants")
      local client, err = nexus.new({ provider = "script", nexus = false, on_warning = print, otlp = { %s } })
      if not client then return print(err) end
      client:trace({ name = "weather" }, function() end)
      print(client:close(5))
    ]]
    local fields = {}
    for name, value in pairs(options) do fields[#fields + 1] = ("%s = %q"):format(name, value) end
    environment.OTEL_EXPORTER_OTLP_ENDPOINT = server.url
    environment.OTEL_EXPORTER_OTLP_CERTIFICATE = server.certificate
    local result = (run or process.chunk)(script:format(table.concat(fields, ", ")), environment)
    return type(result) == "table" and result.out or result
  end

  it("is told by a certificate and its key, of the options or the environment", function()
    if not server then return pending("node or openssl is absent") end
    local key, certificate = server.client_key, server.client_certificate
    assert.equal("true\n", deliver({ client_key = key, client_certificate = certificate }, {}))
    assert.equal("true\n", deliver({}, {
      OTEL_EXPORTER_OTLP_CLIENT_KEY = key, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE = certificate,
    }))
    assert.equal("true\n", deliver({}, {
      OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY = key, OTEL_EXPORTER_OTLP_CLIENT_KEY = "/nowhere",
      OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE = certificate,
    }))
    assert.equal("true\n", deliver({ client_key = key }, {
      OTEL_EXPORTER_OTLP_CLIENT_KEY = "/nowhere", OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE = certificate,
    }))
  end)

  it("takes nothing from others", function()
    if not server then return pending("node or openssl is absent") end
    assert.truthy(deliver({}, {}):find("false\n$"))
    assert.truthy(deliver({ client_key = server.key, client_certificate = server.certificate }, {}):find("false\n$"))
  end)

  it("isn't asked with one alone", function()
    if not server then return pending("node or openssl is absent") end
    local said = deliver({ client_key = server.client_key }, {})
    assert.truthy(said:find("option otlp.client_key needs otlp.client_certificate, which is absent", 1, true), said)
    said = deliver({}, { OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE = server.client_certificate })
    assert.truthy(said:find("^environment variable OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is left out: it needs "
      .. "OTEL_EXPORTER_OTLP_CLIENT_KEY, which is absent\n"), said)
    assert.truthy(said:find("not delivered to " .. server.url, 1, true), said)
  end)

  it("can't be told by what isn't there, or is no such thing", function()
    if not server then return pending("node or openssl is absent") end
    local said = deliver({ client_key = "/nowhere", client_certificate = server.client_certificate }, {})
    assert.truthy(said:find("^option otlp.client_key: can't read the file it names: No such file"), said)
    assert.truthy(said:find("the client certificate or its key can't be used for 127.0.0.1", 1, true), said)
    assert.truthy(said:find("\nfalse\n$"), said)
    assert.is_nil(said:find("nowhere", 1, true), said)
    -- not the one of this certificate
    said = deliver({ client_key = server.key, client_certificate = server.client_certificate }, {})
    assert.truthy(said:find("the client certificate or its key can't be used for 127.0.0.1", 1, true), said)
  end)

  it("never shows a key that was given in place of its path", function()
    if not server then return pending("node or openssl is absent") end
    local pem = read_file(server.client_key)
    local bare = pem:gsub("%-%-[^\n]*\n", ""):gsub("\n", "")
    local problem = "CLIENT_KEY is left out: it must be the path of a PEM file, not what is in it"
    for _, key in ipairs({ pem, bare, output_of("openssl base64 -A -in " .. server.client_key) }) do
      local environment = { OTEL_EXPORTER_OTLP_CLIENT_KEY = key, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE =
        server.client_certificate }
      local said = deliver({}, environment)
      assert.truthy(said:find(problem, 1, true), said)
      assert.is_nil(said:find(key:sub(1, 8), 1, true), said)
      environment.OTEL_EXPORTER_OTLP_CLIENT_KEY = nil
      said = deliver({ client_key = key:gsub("\n", " ") }, environment)
      assert.truthy(said:find("option otlp.client_key must be the path of a PEM file, not what is in it", 1, true),
        said)
      assert.is_nil(said:find(key:sub(1, 8), 1, true), said)
    end
    -- what nobody would take for a key isn't repeated either, nor what libcurl says of it
    local odd = ("f00dfeed"):rep(31)
    local said = deliver({ client_key = odd, client_certificate = server.client_certificate }, {})
    assert.truthy(said:find("the client certificate or its key can't be used for 127.0.0.1", 1, true), said)
    assert.is_nil(said:find("f00d", 1, true), said)
  end)

  it("is never waited for a pass phrase for", function()
    if not server then return pending("node or openssl is absent") end
    local locked = os.tmpname()
    finally(function() os.remove(locked) end)
    os.execute("unset LD_PRELOAD; openssl pkey -aes128 -passout pass:secret -in " .. server.client_key .. " -out "
      .. locked .. " 2>/dev/null")
    assert.matches("ENCRYPTED PRIVATE KEY", read_file(locked), 1, true)
    local started = core.monotonic()
    -- it would be asked for on the terminal
    local said = deliver({ client_key = locked, client_certificate = server.client_certificate }, {},
      process.chunk_on_terminal)
    if not said then return pending("util-linux's script, or a terminal for it, isn't here") end
    assert.truthy(said:find("the client certificate or its key can't be used for 127.0.0.1", 1, true), said)
    assert.is_nil(said:find("Enter", 1, true), said)
    assert.is_true(core.monotonic() - started < 4)
  end)
end)

describe("an engine whose calls go to receivers that ask", function()
  local asking, engine

  setup(function() asking = tls_server.start({ asks = true }) end)

  teardown(function()
    if asking then asking:stop() end
  end)

  before_each(function() engine = assert(core.engine({})) end)

  after_each(function() engine:close() end)

  local function call(given)
    local request = assert(engine:call({ endpoint = assert(core.endpoint(given)), method = "GET", path = "/" }))
    while not request:done() do engine:step(0.1) end
    return request:result()
  end

  local function known_there(key)
    return { base_url = asking.url, ca_file = asking.certificate, client_certificate = asking.client_certificate,
      client_key = key or asking.client_key }
  end

  it("tells nobody else who it is", function()
    if not asking then return pending("node or openssl is absent") end
    local curious = assert(tls_server.start({ asks = "anybody" }))
    finally(function() curious:stop() end)
    local to_curious = { base_url = curious.url, ca_file = curious.certificate }
    assert.equal("{}", call(known_there()).body)
    assert.equal('{"shown":false}', call(to_curious).body)
    to_curious.client_certificate, to_curious.client_key = asking.client_certificate, asking.client_key
    assert.equal('{"shown":true}', call(to_curious).body)
  end)

  it("tries once where it can't say who it is", function()
    if not asking then return pending("node or openssl is absent") end
    local _, err = call(known_there(asking.key))
    assert.matches("the client certificate or its key can't be used", err.message, 1, true)
    assert.equal(1, err.attempts)
  end)
end)

describe("headers of the environment", function()
  local SCRIPT = [[
    local nexus = require("nexus_assistants")
    local client, err = nexus.new({ provider = "script", script = function() end, nexus = false,
      on_warning = print, otlp = {} })
    if not client then print(err) os.exit(0) end
    client:trace({ name = "weather" }, function() end)
    print(client:close(2))
  ]]
  local server, path

  setup(function()
    server = servers.start({ kind = "fault" })
    path = write_file(SCRIPT)
  end)

  teardown(function()
    server:stop()
    os.remove(path)
  end)

  before_each(function()
    server:clear_requests()
    server:faults({ { path = "/v1/traces", action = "status", status = 200, body = "{}" } })
  end)

  local function run(environment)
    local exports = {}
    environment.OTEL_EXPORTER_OTLP_ENDPOINT, environment.OTEL_EXPORTER_OTLP_PROTOCOL = server.url, "http/json"
    for name, value in pairs(environment) do
      exports[#exports + 1] = "export " .. name .. "=" .. servers.quote(value)
    end
    return output_of(table.concat(exports, "; ") .. "; " .. servers.command({ path }) .. " 2>&1")
  end

  it("are sent, those for traces first", function()
    assert.equal("true\n", run({
      OTEL_EXPORTER_OTLP_HEADERS = "authorization=none",
      OTEL_EXPORTER_OTLP_TRACES_HEADERS = "authorization=Bearer%20s3cret, x-team = a%2Cb",
    }))
    local request = server:requests()[1]
    assert.equal("Bearer s3cret", request.headers.authorization)
    assert.equal("a,b", request.headers["x-team"])
  end)

  it("aren't told where the receiver repeats them", function()
    server:faults({ { path = "/v1/traces", action = "status", status = 401, body = '{"message":"no s3cret here"}' } })
    local said = run({ OTEL_EXPORTER_OTLP_HEADERS = "authorization=Bearer%20s3cret" })
    assert.truthy(said:find("answers 401: no ****** here", 1, true), said)
    assert.truthy(said:find("false\n$"), said)
  end)

  it("are left out where they can't be sent, without a word of them", function()
    local left_out = "environment variable %s is left out: %s\ntrue\n"
    local said = run({ OTEL_EXPORTER_OTLP_HEADERS = "s3cret" })
    assert.equal(left_out:format("OTEL_EXPORTER_OTLP_HEADERS", "the value isn't \"name=value,…\""), said)
    -- the other variable counts then
    server:clear_requests()
    said = run({ OTEL_EXPORTER_OTLP_TRACES_HEADERS = "a=s3cret%0Ax", OTEL_EXPORTER_OTLP_HEADERS = "x-team=b" })
    assert.equal(left_out:format("OTEL_EXPORTER_OTLP_TRACES_HEADERS",
      "entry 1 holds a line break or another control character"), said)
    assert.equal("b", server:requests()[1].headers["x-team"])
  end)
end)
