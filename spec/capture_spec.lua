-- What of values gets into traces, as it leaves the library: read from a file of traces.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")

local CONTENT = "CANARY" -- in whatever is content

describe("capture", function()
  local path, client, warnings

  local function open(given)
    local settings = {
      provider = "script", nexus = false, file = path, capture = given.capture,
      on_warning = function(text) warnings[#warnings + 1] = text end,
    }
    for name, value in pairs(given) do settings[name] = value end
    client = assert(nexus.new(settings))
  end

  before_each(function()
    path, warnings, client = os.tmpname(), {}, nil
  end)

  after_each(function()
    if client then client:close(1) end
    os.remove(path)
  end)

  local function written()
    assert.is_true(client:close(2))
    local file = assert(io.open(path))
    local text = file:read("*a")
    file:close()
    return text
  end

  local function value_of(attribute)
    local _, value = next(attribute.value)
    return value
  end

  -- Spans by name; each has its attributes by key. That of the trace itself has the trace's name.
  local function spans(text)
    local found = {}
    for line in text:gmatch("[^\n]+") do
      for _, span in ipairs(json.decode(line).resourceSpans[1].scopeSpans[1].spans) do
        local attributes = {}
        for _, attribute in ipairs(span.attributes) do attributes[attribute.key] = value_of(attribute) end
        local name = span.name:gsub("^invoke_workflow ", "")
        found[name] = { attributes = attributes, status = span.status or {} }
      end
    end
    return found
  end

  local weather = nexus.tool({
    name = "get_weather", description = "weather", parameters = { type = "object", properties = { city = {} } },
    call = function(arguments)
      if arguments.fail then error(CONTENT .. " raised") end
      return { weather = CONTENT .. " result" }
    end,
  })

  local function model(fail)
    return function(messages)
      local last = messages[#messages]
      if last.role == "tool" then return CONTENT .. " said" end
      return { tool_calls = { { name = "get_weather", arguments = { city = CONTENT .. " city", fail = fail } } } }
    end
  end

  local function automatic(options)
    return client:trace({ name = "job", input = CONTENT, metadata = { customer = "c-17" }, capture = options },
      function(trace)
        local thread = assert(client.threads:create({ metadata = { note = CONTENT } }))
        assert(client.threads.messages:create(thread.id, { role = "user", content = CONTENT }))
        assert(client.threads.runs:create_and_poll(thread.id, { instructions = CONTENT, tools = { weather } }))
        client.threads:retrieve("thread_absent")
        trace:span("own", { input = CONTENT, metadata = { step = 1 } }, function(span)
          span:output({ status = CONTENT })
          span:error(CONTENT .. " went wrong")
        end)
        return CONTENT .. " done"
      end)
  end

  local function manual(options)
    local trace = client.nexus:start_trace({ name = "job", input = CONTENT, capture = options })
    local span = client.nexus:start_span(trace.id, { name = "own", input = CONTENT, metadata = { step = 1 } })
    client.nexus:end_span(span.id, { output = CONTENT, error = CONTENT })
    local other = client.nexus:start_span(trace.id, { name = "other", parent_id = span.id })
    client.nexus:end_span(other.id, { error = errors.new({ kind = "server", status = 500, message = CONTENT }) })
    client.nexus:end_trace(trace.id, { output = CONTENT, metadata = { error = CONTENT } })
    return trace.id
  end

  it("has all content in full", function()
    open({ script = model() })
    automatic()
    local text = written()
    for _, said in ipairs({ "city", "result", "went wrong", "done" }) do
      assert.is_truthy(text:find(CONTENT .. " " .. said, 1, true), said)
    end
  end)

  it("keeps facts and no content", function()
    for _, fail in ipairs({ false, true }) do
      os.remove(path)
      open({ capture = "metadata", script = model(fail) })
      automatic()
      local text = written()
      assert.is_nil(text:find(CONTENT, 1, true), text)
      local found = spans(text)
      for _, fact in ipairs({ "c-17", "completed", "run_", "usage", "get_weather", "thread_absent", "not_found: (404)",
        "error (the text is not recorded)" }) do
        assert.is_truthy(text:find(fact, 1, true), fact)
      end
      assert.equal(2, found.own.status.code)
    end
  end)

  it("keeps no content of the manual style", function()
    open({ capture = "metadata" })
    manual()
    local text = written()
    assert.is_nil(text:find(CONTENT, 1, true))
    local found = spans(text)
    assert.equal(2, found.own.status.code)
    assert.matches("server: %(500%)", text)
    assert.equal(2, found.job.status.code)
  end)

  it("tells of a script's own error what is in its table", function()
    local function error_of(capture, err)
      os.remove(path)
      open({ capture = capture })
      local first, second = client:trace({ name = "job" }, function() return nil, err end)
      assert.same({ nil, err }, { first, second })
      local found = spans(written()).job
      return found.status.message, found.attributes["error.type"]
    end
    local err = { message = CONTENT, kind = "api", code = "gone" }
    assert.same({ "api: " .. CONTENT .. " (code gone)", "api" }, { error_of("full", err) })
    assert.same({ "api: (code gone)", "api" }, { error_of("metadata", err) })
    assert.same({ "error (the text is not recorded)", "_OTHER" }, { error_of("metadata", { kind = "of " .. CONTENT }) })
    assert.same({ "(error object is a table value)", "_OTHER" }, { error_of("full", {}) })
  end)

  it("records nothing at all of none, in either style", function()
    open({ capture = "none" })
    automatic()
    assert.equal("dropped", manual())
    assert.equal("", written())
    local stats = client:stats()
    assert.equal(0, stats.traces_started)
    assert.equal(0, stats.spans_started)
    assert.equal(0, stats.unknown_ids)
  end)

  it("is chosen by each trace", function()
    open({ capture = "none" })
    automatic("full")
    assert.is_truthy(written():find(CONTENT .. " went wrong", 1, true))
    os.remove(path)
    open({ capture = "full" })
    automatic("none")
    manual("none")
    client:trace({ name = "outer", capture = "none" }, function()
      client:wait(client:task(function() assert(client.threads:create()) end))
      client:trace({ name = "inner", capture = "metadata", input = CONTENT }, function(trace)
        assert.is_string(trace:id())
      end)
    end)
    local text = written()
    assert.is_nil(text:find(CONTENT, 1, true))
    assert.equal(1, client:stats().traces_started)
    assert.equal(0, client:stats().spans_started)
  end)

  it("refuses another mode", function()
    assert.has_error(function() nexus.new({ capture = "some" }) end,
      "nexus.new: option 'capture.mode' must be 'full' or 'metadata' or 'none', got 'some'")
    open({})
    assert.has_error(function() client:trace({ name = "job", capture = "some" }, print) end,
      "client:trace: option 'capture' must be 'full' or 'metadata' or 'none', got 'some'")
  end)

  it("keeps the ids of findings, and none of their texts", function()
    open({ capture = "metadata" })
    client:trace({ name = "job" }, function() assert(client.threads:create()) return "done" end)
    local text = written()
    assert.matches("thread_leak", text)
    assert.is_nil(text:find("advice", 1, true))
  end)

  it("cuts fields at what is asked for", function()
    open({ capture = { input = 200, metadata = 128 } })
    client:trace({ name = "job", input = ("i"):rep(1000), metadata = { long = { ("m"):rep(1000) }, short = "s" } },
      function(trace)
        trace:span("own", { input = { ("n"):rep(1000) } }, function(span) span:output(("o"):rep(1000)) end)
        return "done"
      end)
    local text = written()
    for letter, most in pairs({ i = 200, m = 128, n = 200 }) do
      assert.is_nil(text:find(letter:rep(most), 1, true), letter)
      assert.is_truthy(text:find(letter:rep(20), 1, true), letter)
    end
    assert.is_truthy(text:find(("o"):rep(1000), 1, true))
    assert.equal(3, client:stats().fields_cut)
  end)

  describe("of secrets", function()
    local KEY = "key-of-the-endpoint/1"

    it("keeps none in inputs, outputs, errors and metadata", function()
      open({ provider = "assistants", openai = { api_key = KEY, base_url = "http://127.0.0.1:1" } })
      local secrets = { "sk-abcdefgh12345", "Bearer abcdefgh12345", KEY, "Authorization: Basic abcdefgh12345" }
      for _, secret in ipairs(secrets) do
        client:trace({ name = "job", input = secret, metadata = { [secret] = secret, api_key = "abcdefgh12345" } },
          function(trace)
            trace:set("deep", { { secret } })
            trace:span("own", { input = { [secret] = { text = "x " .. secret } } }, function(span)
              span:output(secret .. ("x "):rep(3000))
              span:error(secret)
            end)
            return nil, secret
          end)
      end
      local text = written()
      assert.is_nil(text:find("abcdefgh12345", 1, true))
      assert.is_nil(text:gsub("\\/", "/"):find(KEY, 1, true))
      assert.is_truthy(text:find("****", 1, true))
    end)

    it("keeps none of a value that can't be written", function()
      open({})
      client:trace({ name = "job", input = { ["sk-abcdefgh12345"] = print } }, function() return "done" end)
      local text = written()
      assert.is_nil(text:find("abcdefgh12345", 1, true))
      assert.is_truthy(text:find("not recorded", 1, true))
    end)

    it("leaves the script's own values as they are", function()
      open({})
      local value = { api_key = "abc", list = { "nxs_secret" } }
      client:trace({ name = "job", input = value }, function() return value end)
      assert.same({ api_key = "abc", list = { "nxs_secret" } }, value)
    end)
  end)

  describe("with the hook redact", function()
    local function job()
      client:trace({ name = "job", input = "in", metadata = { customer = "c-17" } }, function(trace)
        trace:span("own", { input = { text = "span in" } }, function(span)
          span:output({ "out" })
          span:error("went wrong")
        end)
        return "done"
      end)
    end

    it("asks it for each value, and keeps what it returns", function()
      local asked = {}
      open({ redact = function(value, where)
        asked[#asked + 1] = table.concat({ where.span or "-", where.field, where.name or "-" }, " ")
        if type(value) == "table" then
          value.text = "changed"
          return value
        end
        if where.field ~= "metadata" then return value .. " seen" end
      end })
      job()
      local text = written()
      table.sort(asked)
      assert.same({ "- input -", "- metadata customer", "- output -", "own error -", "own input -", "own output -" },
        asked)
      for _, kept in ipairs({ "in seen", "done seen", "went wrong seen", "changed" }) do
        assert.is_truthy(text:find(kept, 1, true), kept)
      end
      for _, dropped in ipairs({ "c-17", "customer", "span in" }) do
        assert.is_nil(text:find(dropped, 1, true), dropped)
      end
      assert.same({}, warnings)
    end)

    it("gives it copies, without secrets, and masks what it returns", function()
      local seen
      local value = { text = "mine", key = "sk-abcdefgh12345" }
      open({ redact = function(given, where)
        if where.field == "output" then return given end
        seen, given.text = given.key, "nxs_other"
        return given
      end })
      client:trace({ name = "job", input = value }, function() return "Bearer abcdefgh12345" end)
      local text = written()
      assert.equal("sk-****", seen)
      assert.equal("mine", value.text)
      assert.is_nil(text:find("other", 1, true))
      assert.is_nil(text:find("abcdefgh12345", 1, true))
    end)

    local function assert_left_out(hook, problem)
      os.remove(path)
      warnings = {}
      open({ redact = hook })
      job()
      local text = written()
      for _, content in ipairs({ "span in", "out", "went wrong", "done", "c-17" }) do
        assert.is_nil(text:find('"' .. content, 1, true), content)
      end
      assert.equal(2, spans(text).own.status.code)
      assert.equal(1, #warnings)
      assert.matches("^redact failed, what it was given is left out: ", warnings[1])
      assert.matches(problem, warnings[1])
    end

    it("leaves out what it fails for, and says so once", function()
      assert_left_out(function() error("no luck") end, "no luck")
      assert_left_out(function() error() end, "nil")
      assert_left_out(function(value) coroutine.yield(value) return value end, "must not wait")
    end)

    it("doesn't let it wait, nor run others, nor record", function()
      local told, other = {}, false
      local last_span
      open({ redact = function(value, where)
        if where.field ~= "input" or where.span ~= "own" then return value end
        local slept, sleep_problem = client:sleep(60)
        client:update(50)
        client:trace({ name = "inner", input = "inner" }, function(trace)
          told.inner = trace:id()
          trace:span("deeper", function(span) span:output("inner") end)
        end)
        last_span:set("from the hook", "inner")
        told.slept, told.sleep = slept, tostring(sleep_problem)
        return value
      end })
      client:wait(client:task(function()
        local task = client:task(function() other = true end)
        client:trace({ name = "job" }, function(trace)
          trace:span("before", function(span)
            last_span = span
            trace:span("own", { input = "in" }, function() told.other = other end)
          end)
        end)
        client:wait(task)
      end))
      assert.is_nil(told.inner)
      assert.is_nil(told.slept)
      assert.matches("can't wait", told.sleep)
      assert.is_false(told.other)
      assert.is_true(other)
      local text = written()
      assert.is_nil(text:find("inner", 1, true))
      assert.same({}, warnings)
      assert.equal(1, client:stats().traces_started)
    end)

    it("isn't asked for what isn't kept", function()
      local asked = 0
      open({ capture = "metadata", redact = function(value) asked = asked + 1 return value end })
      client:trace({ name = "job", input = "in" }, function() return "out" end)
      client:trace({ name = "job", input = "in", metadata = { a = 1 }, capture = "none" }, function() end)
      assert.equal(0, asked)
    end)
  end)
end)
