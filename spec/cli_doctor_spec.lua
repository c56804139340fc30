local core = require("nexus_assistants.core")
local doctor = require("nexus_assistants.cli.doctor")
local folders = require("nexus_assistants.spool.folders")
local format = require("nexus_assistants.view.format")
local json = require("nexus_assistants.json")
local options = require("nexus_assistants.options")
local process = require("spec.support.process")
local reach = require("nexus_assistants.cli.doctor.reach")
local servers = require("spec.support.server")
local settings = require("nexus_assistants.cli.doctor.settings")
local survey = require("nexus_assistants.spool.survey")
local tls_server = require("spec.support.tls_server")

local COMMAND = process.path("bin/nexus-assistants")
local KEY = "nxs_" .. ("k"):rep(20)

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

describe("the command doctor", function()
  local server, environment, folder

  setup(function()
    server = servers.start({ kind = "fault" })
    folder = os.tmpname()
    os.remove(folder)
  end)

  teardown(function()
    server:stop()
    os.execute("rm -rf " .. folder)
  end)

  before_each(function()
    server:clear_faults()
    environment = { OPENAI_BASE_URL = server.openai_url, OPENAI_API_KEY = "a-key", NEXUS_BASE_URL = server.nexus_url,
      NEXUS_API_KEY = KEY, NEXUS_ASSISTANTS_SPOOL = folder .. "/spool", LC_ALL = "C.UTF-8" }
  end)

  -- The checks by their names, and the exit code.
  local function look()
    local result = process.run({ COMMAND, "doctor", "--json" }, environment)
    assert.equal("", result.err)
    assert.is_nil(result.out:find(KEY, 1, true))
    local said, by_name = assert(json.decode(result.out)), {}
    for _, check in ipairs(said.checks) do
      -- what is said of the receiver's settings comes before what it answers
      if by_name[check.name] then by_name[check.name .. "_said"] = by_name[check.name] end
      by_name[check.name] = check
    end
    return by_name, result.code, said.verdict
  end

  local function verdict_of(name)
    local checks, code, verdict = look()
    local check = checks[name] or {}
    if check.verdict == "failed" then assert.same({ 1, "failed" }, { code, verdict }) end
    return check.verdict, check.message, check.advice
  end

  it("says that all is well, in lines that a terminal has room for", function()
    environment.COLUMNS = "80"
    local result = process.run({ COMMAND, "doctor" }, environment)
    assert.same({ 0, "" }, { result.code, result.err })
    for _, line in ipairs({ "API          " .. server.openai_url .. " answers 200 in ",
      "Nexus        " .. server.nexus_url .. " answers 200 in ", "API key      OPENAI_API_KEY is there",
      "traces       go to Nexus at " .. server.nexus_url, "clock        agrees with", "spool        empty, ",
      "store        none: the API keeps threads", "\n\nAll is well.\n" }) do
      assert.truthy(result.out:find(line, 1, true), line)
    end
    for line in result.out:gmatch("[^\n]+") do
      assert.is_true(#line <= 80, line)
      assert.truthy(line:find("^ok       ") or line:find("^" .. (" "):rep(22)) or line:find("^All"), line)
    end
    assert.is_nil(result.out:find("\27", 1, true))
    assert.truthy(process.run({ COMMAND, "doctor", "--color", "always" }, environment).out:find("\27[32mok", 1, true))
  end)

  it("warns where nothing is recorded", function()
    environment.NEXUS_ASSISTANTS_CAPTURE = "none"
    local verdict, message, advice = verdict_of("traces")
    assert.equal("warning", verdict)
    assert.equal("nothing is recorded that could go to Nexus at " .. server.nexus_url, message)
    assert.matches("NEXUS_ASSISTANTS_CAPTURE", advice, 1, true)
  end)

  it("names the variables that are in force", function()
    environment.OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:1"
    environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = server.url .. "/none"
    environment.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, environment.OTEL_EXPORTER_OTLP_TIMEOUT = "http/json", "3000"
    environment.OTEL_RESOURCE_ATTRIBUTES = "team=x,api_key=sk-proj-0123456789abcdef"
    server:faults({ { path = "/none", action = "status", status = 404, body = "" } })
    local _, _, advice = verdict_of("OTLP")
    assert.matches("^Check OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: ", advice)
    local _, message = verdict_of("environment")
    for _, said in ipairs({ "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", "OTEL_EXPORTER_OTLP_TIMEOUT=3000",
      "OTEL_RESOURCE_ATTRIBUTES=team=x,api_key=" }) do
      assert.matches(said, message, 1, true)
    end
    assert.is_nil(message:find("0123456789abcdef", 1, true), message)
    environment.NEXUS_API_KEY, environment.OTEL_SDK_DISABLED = nil, "true"
    _, _, advice = verdict_of("Nexus key")
    assert.matches("unset OTEL_SDK_DISABLED", advice, 1, true)
  end)

  it("has all in lines that a narrow terminal has room for, and cuts nothing", function()
    environment.COLUMNS, environment.OPENAI_BASE_URL = "60", server.url .. "/a/long/way/to/the/very/end/v1"
    environment.LC_ALL = "C"
    local result = process.run({ COMMAND, "doctor" }, environment)
    for line in result.out:gmatch("[^\n]+") do assert.is_true(#line <= 60, line) end
    local shown = result.out:gsub("\n +", "")
    assert.truthy(shown:find("OPENAI_BASE_URL=" .. environment.OPENAI_BASE_URL, 1, true), result.out)
    assert.is_nil(result.out:find("...", 1, true))
  end)

  it("uses all of a wide terminal", function()
    environment.COLUMNS = "300"
    for line in process.run({ COMMAND, "doctor" }, environment).out:gmatch("[^\n]+") do
      assert.is_nil(line:find("^ "), line)
    end
  end)

  it("says as JSON what it says", function()
    local checks, code, verdict = look()
    assert.same({ 0, "ok" }, { code, verdict })
    assert.same({ name = "API key", verdict = "ok", message = "OPENAI_API_KEY is there, and looks like a key" },
      checks["API key"])
    assert.truthy(checks.versions.message:find("libcurl " .. core.curl_version, 1, true))
    assert.equal(core.asynchronous_dns and "ok" or "warning", checks.DNS.verdict)
  end)

  it("says what the environment sets, and nothing secret of it", function()
    environment.NEXUS_ASSISTANTS_STORE = "postgresql://me:hunter2@127.0.0.1:1/x?password=hunter3"
    environment.NEXUS_AGENT_ID = "sk-misplaced"
    environment.https_proxy = "http://me:x@hunter4@127.0.0.1:1"
    environment.all_proxy = "me:hunter5@127.0.0.1:1"
    local checks, code = look()
    local message = checks.environment.message
    assert.truthy(message:find("NEXUS_ASSISTANTS_STORE=postgresql://***@127.0.0.1:1/x?***", 1, true), message)
    assert.truthy(message:find("https_proxy=http://***@127.0.0.1:1", 1, true), message)
    assert.truthy(message:find("all_proxy=***@127.0.0.1:1", 1, true), message)
    assert.truthy(message:find("NEXUS_AGENT_ID=(a key: it doesn't belong here)", 1, true), message)
    assert.equal(1, code)
    assert.equal("failed", checks.store.verdict)
    assert.is_nil(json.encode(checks):find("hunter", 1, true))
    environment.NEXUS_ASSISTANTS_STORE = "mysql://me:hunter6@127.0.0.1:1/x"
    assert.is_nil(json.encode((look())):find("hunter", 1, true))
  end)

  it("never shows a key or a certificate that stands where its path belongs", function()
    local pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
    local place = environment
    for _, text in ipairs({ pem, (pem:gsub("\n", " ")), (pem:match("\n(.-\n)")), ("MIIEvQIBADANBgkqhkiG9w0B"):rep(20),
      "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUV2UUlCQURBTkJna3Foa2lHOXcwQkFRRUZBQVND" }) do
      for _, name in ipairs({ "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY", "TRACES_CLIENT_KEY" }) do
        environment = {}
        for known, value in pairs(place) do environment[known] = value end
        environment.OTEL_EXPORTER_OTLP_ENDPOINT, environment["OTEL_EXPORTER_OTLP_" .. name] = server.url, text
        local checks = look()
        for _, part in ipairs({ "BEGIN", "MIIE", "LS0t", "QIBADAN" }) do
          assert.is_nil(json.encode(checks):find(part, 1, true), name .. text)
        end
        assert.equal("warning", checks.OTLP_said.verdict)
        assert.matches(name .. " is left out: it must be the path of a PEM file", checks.OTLP_said.message, 1, true)
      end
    end
    environment = place
    environment.OTEL_EXPORTER_OTLP_CERTIFICATE = "/etc/ssl/own.pem"
    assert.matches("OTEL_EXPORTER_OTLP_CERTIFICATE=/etc/ssl/own.pem", look().environment.message, 1, true)
  end)

  it("says what is wrong in the environment, and looks no further", function()
    environment.NEXUS_ASSISTANTS_PROVIDER = "hal9000"
    local checks, code = look()
    assert.equal(1, code)
    assert.equal("environment variable NEXUS_ASSISTANTS_PROVIDER must be 'assistants' or 'responses' or 'chat' or "
      .. "'script'", checks.environment.message)
    assert.is_nil(checks.API)
    assert.truthy(checks.versions)
  end)

  it("judges keys by what they look like", function()
    environment.NEXUS_BASE_URL = "http://nexus.invalid"
    for verdict, key in pairs({ failed = KEY .. "\n", warning = "sk-" .. ("k"):rep(30), ok = KEY }) do
      environment.NEXUS_API_KEY = key
      assert.equal(verdict, (verdict_of("Nexus key")))
    end
    environment.NEXUS_API_KEY = "nxs_short"
    assert.equal("warning", (verdict_of("Nexus key")))
    environment.NEXUS_API_KEY = nil
    local verdict, message = verdict_of("Nexus key")
    assert.same({ "warning", "NEXUS_API_KEY is not set: traces go nowhere" }, { verdict, message })
  end)

  it("knows a key that is for another, and one with its quotes", function()
    for key, expected in pairs({ [KEY] = "begins as keys of Nexus do", ['"sk-' .. ("k"):rep(30) .. '"'] = "a quote",
      ["'sk-" .. ("k"):rep(30) .. "'"] = "a quote" }) do
      environment.OPENAI_API_KEY = key
      local verdict, message = verdict_of("API key")
      assert.equal("warning", verdict)
      assert.matches(expected, message, 1, true)
    end
  end)

  it("fails without the API's key, where one is wanted", function()
    environment.OPENAI_API_KEY = nil
    assert.equal("failed", (verdict_of("API key")))
    environment.NEXUS_ASSISTANTS_PROVIDER = "script"
    local checks, code = look()
    assert.same({ 0, nil }, { code, checks["API key"] })
    assert.is_nil(checks.API)
    assert.equal("memory", checks.store.message)
  end)

  it("tells that OpenAI's own API is gone", function()
    environment.OPENAI_BASE_URL = nil
    assert.same({ "failed" }, { (verdict_of("provider")) })
    environment.NEXUS_ASSISTANTS_PROVIDER, environment.NEXUS_ASSISTANTS_STORE = "responses", "memory"
    assert.same({ "ok", "responses, at https://api.openai.com/v1" }, { verdict_of("provider") })
  end)

  it("loads the model's script, as a client does", function()
    environment.NEXUS_ASSISTANTS_PROVIDER, environment.NEXUS_ASSISTANTS_SCRIPT = "script", folder .. "-model.lua"
    local _, message = verdict_of("provider")
    assert.truthy(message:find("script: can't load the model's script: cannot open ", 1, true), message)
    write(folder .. "-model.lua", "return 1")
    finally(function() os.remove(folder .. "-model.lua") end)
    local verdict
    verdict, message = verdict_of("provider")
    assert.equal("failed", verdict)
    assert.truthy(message:find("must return a function, returned a number", 1, true), message)
    write(folder .. "-model.lua", "return function() end")
    assert.same({ "ok", "script: " .. folder .. "-model.lua" }, { verdict_of("provider") })
  end)

  it("looks whether the assistant is there", function()
    assert.same({ "ok", "ASSISTANT_ID is not set: scripts must name an assistant themselves" },
      { verdict_of("assistant") })
    environment.ASSISTANT_ID = "asst_local"
    assert.same({ "ok", "asst_local is there" }, { verdict_of("assistant") })
    environment.ASSISTANT_ID = "asst_nope"
    local verdict, message, advice = verdict_of("assistant")
    assert.same({ "failed", "asst_nope: " .. server.openai_url .. " answers 404: there is no such assistant" },
      { verdict, message })
    assert.truthy(advice:find("ASSISTANT_ID", 1, true))
    environment.ASSISTANT_ID = "../assistants"
    assert.equal("failed", (verdict_of("assistant")))
    for status, expected in pairs({ [400] = "failed", [503] = "warning" }) do
      server:faults({ { path = "/v1/assistants/", action = "status", status = status, times = 1, body = "{}" } })
      assert.equal(expected, (verdict_of("assistant")))
    end
    environment.OPENAI_BASE_URL = "http://127.0.0.1:1/v1"
    assert.is_nil((verdict_of("assistant")))
    environment.NEXUS_ASSISTANTS_PROVIDER = "script"
    assert.is_nil((verdict_of("assistant")))
  end)

  it("looks whether traces can go on from a host's", function()
    assert.is_nil((verdict_of("traceparent")))
    environment.TRACEPARENT = "foo"
    local verdict, message = verdict_of("traceparent")
    assert.same({ "warning", 'TRACEPARENT is no "00-<trace id>-<span id>-<flags>": traces begin anew' },
      { verdict, message })
    environment.TRACEPARENT = "00-" .. ("a"):rep(32) .. "-" .. ("b"):rep(16) .. "-01"
    assert.equal("ok", (verdict_of("traceparent")))
  end)

  it("says nothing of the assistant where there is no such API", function()
    environment.OPENAI_BASE_URL, environment.ASSISTANT_ID = server.url, "asst_local"
    assert.equal("failed", (verdict_of("API")))
    assert.is_nil((verdict_of("assistant")))
  end)

  it("names the variable that has no address in it", function()
    environment.NEXUS_BASE_URL = "127.0.0.1:4010"
    local checks = look()
    assert.matches("NEXUS_BASE_URL must begin with http:// or https://", checks.Nexus.message, 1, true)
    assert.is_nil(checks.traces)
    environment.NEXUS_BASE_URL = server.nexus_url
    for _, name in ipairs({ "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" }) do
      environment[name] = "ftp://receiver"
      local verdict, message, advice = verdict_of("OTLP")
      assert.same({ "warning", "environment variable " .. name .. " is left out: it must begin with http:// or "
        .. "https://", "Correct or unset it." }, { verdict, message, advice })
      environment[name] = nil
    end
  end)

  it("tells what hinders reaching a server", function()
    local port = server.url:match(":(%d+)$")
    for url, expected in pairs({
      ["http://127.0.0.1:1/v1"] = { "could not connect to 127.0.0.1:1", "Check that it runs" },
      ["http://nowhere.invalid/v1"] = { "could not resolve host nowhere.invalid", "DNS" },
      ["https://127.0.0.1:" .. port .. "/v1"] = { "TLS handshake failed", "http or https" },
      ["ftp://127.0.0.1/v1"] = { "OPENAI_BASE_URL must begin with http:// or https://", "Correct OPENAI_BASE_URL" },
    }) do
      environment.OPENAI_BASE_URL = url
      local verdict, message, advice = verdict_of("API")
      assert.equal("failed", verdict)
      assert.truthy(message:find(expected[1], 1, true), message)
      assert.truthy(advice:find(expected[2], 1, true), advice)
    end
  end)

  it("tells that it is the proxy that can't be reached, without who one is to it", function()
    environment.OPENAI_BASE_URL, environment.no_proxy, environment.NO_PROXY = "http://127.0.0.1:4010/v1", "", ""
    for proxy, expected in pairs({
      ["http://me:hunter2@127.0.0.1:1"] = "could not connect to the proxy 127.0.0.1:1 on the way to 127.0.0.1:4010: ",
      ["http://me:hunter2@nowhere.invalid:1"] = "could not resolve the proxy on the way to 127.0.0.1:4010",
    }) do
      environment.http_proxy = proxy
      local verdict, message, advice = verdict_of("API")
      assert.equal("failed", verdict)
      assert.truthy(message:find(expected, 1, true), message)
      assert.is_nil(message:find("hunter2", 1, true))
      assert.truthy(advice:find("Check http_proxy", 1, true), advice)
    end
  end)

  it("verifies who answers", function()
    local other = tls_server.start()
    if not other then return pending("node or openssl is absent") end
    finally(function() other:stop() end)
    environment.NEXUS_BASE_URL, environment.OTEL_EXPORTER_OTLP_ENDPOINT = other.url, other.url
    environment.OTEL_EXPORTER_OTLP_CERTIFICATE = other.certificate
    local checks = look()
    assert.equal("failed", checks.Nexus.verdict)
    assert.truthy(checks.Nexus.message:find("TLS verification failed", 1, true), checks.Nexus.message)
    assert.truthy(checks.Nexus.advice:find("certificates", 1, true))
    assert.equal("ok", checks.OTLP.verdict)
    assert.truthy(checks.OTLP.message:find("answers 200 in %d+ ms, TLS verified$"), checks.OTLP.message)
  end)

  it("says who it is to a receiver that asks", function()
    local other = tls_server.start({ asks = true })
    if not other then return pending("node or openssl is absent") end
    finally(function() other:stop() end)
    environment.OTEL_EXPORTER_OTLP_ENDPOINT = other.url
    environment.OTEL_EXPORTER_OTLP_CERTIFICATE = other.certificate
    local verdict, message, advice = verdict_of("OTLP")
    assert.equal("failed", verdict)
    -- before TLS 1.3 the alert may be another
    local is_told = message:find("alert certificate required", 1, true) ~= nil
    assert.equal(is_told, advice:find("CLIENT_CERTIFICATE", 1, true) ~= nil)
    environment.OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE = other.client_certificate
    environment.OTEL_EXPORTER_OTLP_CLIENT_KEY = other.key
    verdict, message, advice = verdict_of("OTLP")
    assert.equal("failed", verdict)
    assert.matches("client certificate or its key can't be used", message, 1, true)
    assert.matches("they go together", advice, 1, true)
    environment.OTEL_EXPORTER_OTLP_CLIENT_KEY = other.client_key
    assert.equal("ok", (verdict_of("OTLP")))
  end)

  it("advises to set a client's certificate only where one can be set", function()
    local real_engine = core.engine
    finally(function() core.engine = real_engine end) -- luacheck: ignore 122
    local call = { done = function() return true end, result = function()
      return { status = 0 }, { kind = "connection", message = "the connection broke to x: alert certificate required" }
    end }
    core.engine = function() -- luacheck: ignore 122
      return { call = function() return call end, step = function() end, close = function() end }
    end
    local values = assert(options.read("spec", options.client, { openai = { base_url = server.openai_url } }))
    local checks = reach.checks(values, { endpoint = assert(core.endpoint({ base_url = server.url })), path = "/" })
    local advice = {}
    for _, check in ipairs(checks) do advice[check.name] = check.advice end
    assert.matches("set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", advice.OTLP, 1, true)
    assert.matches("which only OpenTelemetry receivers are told", advice.API, 1, true)
    assert.is_nil(advice.API:find("OTEL", 1, true))
  end)

  it("judges what a server answers", function()
    for status, expected in pairs({ [401] = "failed", [403] = "failed", [404] = "failed", [302] = "failed",
      [429] = "warning", [501] = "failed", [503] = "warning" }) do
      server:faults({ { path = "/api", action = "status", status = status, times = 1, body = "{}" } })
      local verdict, message = verdict_of("Nexus")
      assert.equal(expected, verdict, status)
      assert.truthy(message:find(" answers " .. status .. " in ", 1, true), message)
    end
  end)

  it("tells what isn't a Nexus by what it answers", function()
    for action, body in pairs({ html = false, text = "all is well", status = '{"error":"x"}' }) do
      server:faults({ { path = "/api", action = action, status = 200, body = body or nil, times = 1 } })
      local verdict, message, advice = verdict_of("Nexus")
      assert.equal("failed", verdict)
      assert.matches(" answers 200 in %d+ ms: that is no answer of a Nexus$", message)
      assert.matches("Check NEXUS_BASE_URL", advice, 1, true)
    end
    server:faults({ { path = "/api", action = "status", status = 200, body = "[]", times = 1 } })
    assert.equal("ok", (verdict_of("Nexus")))
  end)

  it("gives up after its time", function()
    server:faults({ { path = "/v1", action = "hang", times = 1 } })
    local values = assert(options.read("spec", options.client, { openai = { base_url = server.openai_url } }))
    local checks = reach.checks(values, nil, 0.1)
    assert.same({ "failed", server.openai_url .. ": no answer in time" }, { checks[1].verdict, checks[1].message })
  end)

  it("looks for an OpenTelemetry receiver where one is named", function()
    environment.NEXUS_API_KEY = nil
    environment.OTEL_EXPORTER_OTLP_ENDPOINT = server.url
    local checks, code
    for status, expected in pairs({ [302] = "failed", [401] = "failed", [403] = "failed", [404] = "failed",
      [405] = "failed", [415] = "failed", [429] = "warning", [501] = "failed", [503] = "warning",
      [400] = "warning", [500] = "warning" }) do
      server:faults({ { path = "/v1/traces", action = "status", status = status, times = 1, body = "{}" } })
      checks = look()
      assert.equal(expected, checks.OTLP.verdict, status)
      assert.truthy(checks.OTLP.message:find("answers " .. status, 1, true))
      assert.equal(status == 400 or status == 500, checks.OTLP.advice:find("are lost", 1, true) ~= nil)
      local is_key = status == 401 or status == 403
      local advice = is_key and "Check OTEL_EXPORTER_OTLP_HEADERS" or "Check OTEL_EXPORTER_OTLP_ENDPOINT and"
      assert.equal(expected == "failed", checks.OTLP.advice:find(advice, 1, true) ~= nil, checks.OTLP.advice)
    end
    for _, protocol in ipairs({ "http/protobuf", "http/json" }) do
      environment.OTEL_EXPORTER_OTLP_PROTOCOL = protocol
      for body, expected in pairs({ ["{}"] = "ok", [""] = "ok", ["\10\2\8\0"] = "ok", ["hello"] = "warning",
        ["\n<html>"] = "warning", ["{not JSON"] = "warning" }) do
        server:clear_requests()
        server:faults({ { path = "/v1/traces", action = "status", status = 200, times = 1, body = body } })
        checks, code = look()
        assert.same({ 0, expected }, { code, checks.OTLP.verdict }, body)
      end
      server:faults({ { path = "/v1/traces", action = "html", times = 1 } })
      local verdict, message = verdict_of("OTLP")
      assert.equal("warning", verdict)
      assert.matches("answers 200 in %d+ ms: that is no answer of a receiver of OTLP's$", message)
      local is_json, asked = protocol == "http/json", nil
      for _, request in ipairs(server:requests()) do
        if request.path == "/v1/traces" then asked = request end
      end
      assert.same({ "POST", is_json and '{"resourceSpans":[]}' or "",
        is_json and "application/json" or "application/x-protobuf" },
        { asked.method, asked.body, asked.headers["content-type"] })
    end
    assert.equal("NEXUS_API_KEY is not set: traces go elsewhere", checks["Nexus key"].message)
    assert.equal("go to OTLP at " .. server.url .. "/v1/traces", checks.traces.message)
    environment.OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:1"
    assert.same({ "failed" }, { (verdict_of("OTLP")) })
  end)

  it("compares clocks", function()
    local function at(date)
      local text = date and os.date("!%a, %d %b %Y %H:%M:%S GMT", date)
      return { response = { date = text }, wall = 1000.5, elapsed = 0.2 }
    end
    assert.is_nil(reach.clock({ {}, at(nil), { response = { date = "noon" }, wall = 0, elapsed = 0 } }))
    assert.equal("ok", reach.clock({ at(1000), at(996) }).verdict)
    assert.same({ "warning", "is 60 s ahead" }, { reach.clock({ at(1000), at(940) }).verdict,
      reach.clock({ at(1000), at(940) }).message })
    assert.equal("is 60 s behind", reach.clock({ at(1060) }).message)
  end)

  describe("of the spool", function()
    local id = ("0"):rep(15) .. "1"
    local line = '{"trace":"' .. ("a"):rep(32) .. '","nexus":"x","state":{"name":"n","started_at":"%s"}}\n'

    before_each(function()
      os.execute("mkdir -p " .. folder .. "/spool/" .. id .. " " .. folder .. "/spool/else")
      write(folder .. "/spool/" .. id .. "/lock", "")
      write(folder .. "/spool/" .. id .. "/0.jsonl", line:format("2024-05-06T07:08:09.000Z"))
      write(folder .. "/spool/" .. id .. "/1.jsonl", line:format("2025-05-06T07:08:09.000Z"))
      write(folder .. "/spool/" .. id .. "/2.jsonl", "{not JSON\n")
      write(folder .. "/spool/" .. id .. "/3.jsonl", "")
      write(folder .. "/spool/" .. id .. "/4.jsonl", "-" .. line:sub(2)) -- delivered, and kept for the next trace
    end)

    after_each(function() os.execute("rm -rf " .. folder .. "/spool") end)

    it("counts what is there, and takes nothing", function()
      local found = survey.of(folder .. "/spool")
      assert.same({ files = 3, bytes = 2 * #line:format("2024-05-06T07:08:09.000Z") + 10, held = 0,
        oldest = "2024-05-06T07:08:09.000Z",
        receivers = { { label = "", name = "whoever", is_otlp = false, files = 3, left = 3, held = 0 } } }, found)
      assert.same(found, survey.of(folder .. "/spool"))
      assert.is_nil(survey.of(folder .. "/none"))
    end)

    it("tells traces from batches", function()
      local other = folder .. "/spool/" .. ("0"):rep(15) .. "2"
      os.execute("mkdir -p " .. other)
      write(other .. "/lock", "otlp http://here/v1/traces")
      write(other .. "/1.otlp", '{"sent":0,"started_at":"2023-05-06T07:08:09.000Z"}\n')
      local found = survey.of(folder .. "/spool")
      assert.same({ label = "otlp http://here/v1/traces", name = "http://here/v1/traces", is_otlp = true, files = 1,
        left = 1, held = 0 }, found.receivers[2])
      assert.same({ 4, "2023-05-06T07:08:09.000Z" }, { found.files, found.oldest })
      local lock = assert(core.lock_file(other .. "/lock"))
      local _, message = verdict_of("spool")
      lock:release()
      assert.truthy(message:find("^3 traces, 1 batch of spans, %d+ bytes, the oldest of 2023"), message)
      assert.truthy(message:find("1 process at work there", 1, true), message)
    end)

    it("warns of what nobody delivers", function()
      local verdict, message, advice = verdict_of("spool")
      assert.equal("warning", verdict)
      assert.truthy(message:find("^3 traces, %d+ bytes, the oldest of 2024%-05%-06 07:08 UTC, "), message)
      assert.truthy(advice:find("nexus-assistants flush", 1, true))
    end)

    it("sees that a process is at work there", function()
      local lock = assert(core.lock_file(folder .. "/spool/" .. id .. "/lock"))
      local verdict, message = verdict_of("spool")
      lock:release()
      assert.equal("ok", verdict)
      assert.truthy(message:find("1 process at work there", 1, true), message)
    end)

    it("tells of one where nothing can be written, by writing", function()
      local spool = folder .. "/spool"
      environment.NEXUS_ASSISTANTS_SPOOL = spool
      verdict_of("spool")
      local names = core.list_folder(spool)
      table.sort(names)
      assert.same({ id, "else" }, names)
      if not os.execute("mount -t tmpfs -o size=4k none " .. spool .. " 2>/dev/null") then
        return pending("a small disk can't be mounted")
      end
      finally(function() os.execute("umount " .. spool) end)
      assert.equal("ok", (verdict_of("spool")))
      write(spool .. "/full", "x")
      local verdict, message, advice = verdict_of("spool")
      assert.same({ "failed", "nothing can be written in " .. spool .. ": No space left on device" },
        { verdict, message })
      assert.matches("^Make room there, ", advice)
      assert.same({ "full" }, core.list_folder(spool))
    end)

    it("writes as a client does, and touches nothing of others", function()
      local spool = folder .. "/spool"
      environment.NEXUS_ASSISTANTS_SPOOL = spool
      write(folder .. "/target", "target")
      write(spool .. "/doctor.new", "mine")
      os.execute("ln -s ../target " .. spool .. "/link")
      local before = core.list_folder(spool)
      verdict_of("spool")
      local after = core.list_folder(spool)
      table.sort(before)
      table.sort(after)
      assert.same(before, after)
      assert.equal("mine", assert(io.open(spool .. "/doctor.new")):read("*a"))
    end)

    it("leaves nothing that a client doesn't sweep, where it is killed", function()
      local spool = folder .. "/spool"
      local real_remove, values = os.remove, assert(options.read("spec", options.client, { spool = spool }))
      finally(function() os.remove = real_remove end) -- luacheck: ignore 122
      os.remove = function() end -- luacheck: ignore 122
      os.execute("rm -rf " .. spool)
      assert.equal("ok", settings.spool(values).verdict)
      os.remove = real_remove -- luacheck: ignore 122
      local own = folders.list(spool)
      assert.equal(1, #own)
      assert.is_truthy(core.list_folder(own[1])[1])
      folders.take(spool, "x", function() end, "jsonl")
      assert.same({}, core.list_folder(spool))
    end)

    it("warns of a folder that is something else", function()
      os.execute("rm -rf " .. folder .. "/spool/" .. id)
      local verdict, message, advice = verdict_of("spool")
      assert.equal("warning", verdict)
      assert.matches("holds other things, and nothing of a client's", message, 1, true)
      assert.matches("name another folder in NEXUS_ASSISTANTS_SPOOL", advice, 1, true)
    end)

    it("tells of one that is off, and of one that can't be made", function()
      for _, off in ipairs({ "off", "OFF" }) do
        environment.NEXUS_ASSISTANTS_SPOOL = off
        local verdict, message = verdict_of("spool")
        assert.same({ "warning", "off: what isn't delivered as a process ends is lost" }, { verdict, message })
      end
      environment.NEXUS_ASSISTANTS_SPOOL = folder .. "/spool/" .. id .. "/lock/below"
      assert.equal("failed", (verdict_of("spool")))
      -- whoever may do everything can't do this either
      environment.NEXUS_ASSISTANTS_SPOOL = "/proc/nexus-assistants/spool"
      assert.equal("failed", (verdict_of("spool")))
      os.execute("ln -s nowhere " .. folder .. "/spool/link")
      environment.NEXUS_ASSISTANTS_SPOOL = folder .. "/spool/link"
      assert.equal("failed", (verdict_of("spool")))
      assert.is_true(os.remove(folder .. "/spool/link"))
      environment.NEXUS_ASSISTANTS_SPOOL = folder .. "/spool/none/below"
      assert.same({ "ok", "empty, " .. folder .. "/spool/none/below" }, { verdict_of("spool") })
      assert.is_nil(core.list_folder(folder .. "/spool/none"))
    end)
  end)

  describe("of the store", function()
    it("tells what will keep a client from making it", function()
      write(folder .. "-file", "")
      finally(function() os.remove(folder .. "-file") end)
      environment.NEXUS_ASSISTANTS_PROVIDER = "script"
      environment.NEXUS_ASSISTANTS_STORE = folder .. "-file/a/threads"
      local verdict, message = verdict_of("store")
      assert.equal("failed", verdict)
      assert.truthy(message:find("Not a directory", 1, true), message)
    end)

    it("opens the one that is there, and makes none", function()
      if not pcall(require, "luasql.sqlite3") then return pending("luasql.sqlite3 is absent") end
      os.execute("mkdir -p " .. folder)
      environment.NEXUS_ASSISTANTS_PROVIDER, environment.NEXUS_ASSISTANTS_STORE = "script", folder .. "/threads"
      local verdict, message = verdict_of("store")
      assert.same({ "ok", folder .. "/threads, not there yet" }, { verdict, message })
      assert.is_nil(io.open(folder .. "/threads"))
      require("nexus_assistants.providers").store(folder .. "/threads"):close()
      verdict, message = verdict_of("store")
      assert.equal("ok", verdict)
      assert.equal(folder .. "/threads, can be opened, of the version that is known here", message)
      write(folder .. "/threads", "this is no database, and is long enough for that to be seen")
      assert.equal("failed", (verdict_of("store")))
    end)
  end)

  it("lets nothing act on the terminal, and says what to do below", function()
    local checks = { { name = "API", verdict = "failed", message = "\27[2J gone", advice = "Do it." } }
    assert.equal("failed   API          ?[2J gone\n" .. (" "):rep(22) .. "Do it.\n\n1 failed, 0 warnings\n",
      doctor.render(checks, { width = 80, paint = format.painter(false) }))
  end)
end)
