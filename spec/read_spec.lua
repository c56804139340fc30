local core = require("nexus_assistants.core")
local files = require("nexus_assistants.view.files")
local filter = require("nexus_assistants.view.filter")
local json = require("nexus_assistants.json")
local otlp = require("nexus_assistants.view.otlp")
local samples = require("spec.support.traces")

local TRACE, ROOT, CHILD = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173"

local function text_of(value) return { stringValue = value } end

local function attribute(key, value)
  return { key = key, value = type(value) == "table" and value or text_of(value) }
end

local function span(changes)
  local made = {
    traceId = TRACE, spanId = ROOT, name = "invoke_agent bot", kind = 3, startTimeUnixNano = "1767225600123456789",
    endTimeUnixNano = "1767225602123456789", attributes = json.array({}), status = {},
  }
  for name, value in pairs(changes or {}) do made[name] = value end
  return made
end

-- An export request as collectors write it.
local function request(spans, resource)
  return { resourceSpans = json.array({ {
    resource = { attributes = json.array(resource or { attribute("service.name", "weather-bot") }) },
    scopeSpans = json.array({ { scope = { name = "x" }, spans = json.array(spans) } }),
  } }) }
end

local function traces_of(...)
  local gathered = otlp.new()
  for _, one in ipairs({ ... }) do gathered:add(one) end
  return gathered:traces()
end

describe("OTLP export requests", function()
  it("become traces, by their ids, whatever request their spans came in", function()
    local child = span({ spanId = CHILD, parentSpanId = ROOT, name = "chat m" })
    local other = span({ traceId = ("a"):rep(32), name = "other" })
    local traces = traces_of(request({ child, other }), request({ span() }))
    assert.equal(2, #traces)
    local trace = traces[1]
    assert.same({ TRACE, "weather-bot", "invoke_agent bot", "success", 2 },
      { trace.id, trace.agent_name, trace.name, trace.status, trace.span_count })
    assert.same({ "2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:02.123456Z" }, { trace.started_at, trace.ended_at })
    assert.same({ CHILD, ROOT }, { trace.spans[1].id, trace.spans[1].parent_span_id })
    assert.equal(json.null, trace.spans[2].parent_span_id)
  end)

  it("have a span once, as it came last", function()
    local early, late = span({ name = "early" }), span({ name = "late" })
    local other = span({ traceId = ("a"):rep(32), name = "other" })
    local gathered = otlp.new()
    gathered:add(request({ early, other }))
    gathered:add(request({ late }))
    gathered:add(request({ span({ spanId = CHILD }), late }))
    local trace = gathered:traces()[1]
    assert.same({ 2, 2, "late", CHILD }, { #trace.spans, trace.span_count, trace.spans[1].name, trace.spans[2].id })
    assert.equal(3, gathered.spans)
    assert.equal(2, #traces_of(request({ span({ spanId = "" }), span({ spanId = "" }) }))[1].spans)
  end)

  it("tell what went in, what came out, and the tokens", function()
    local trace = traces_of(request({ span({ attributes = json.array({
      attribute("gen_ai.operation.name", "chat"), attribute("gen_ai.request.model", "m"),
      attribute("gen_ai.usage.input_tokens", { intValue = "12" }),
      attribute("gen_ai.usage.output_tokens", { intValue = 5 }),
      attribute("gen_ai.input.messages", '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]'),
      attribute("gen_ai.output.messages", "plain"), attribute("list", { arrayValue = { values = json.array({
        { boolValue = false }, { doubleValue = 1.5 } }) } }),
      attribute("map", { kvlistValue = { values = json.array({ attribute("a", "b") }) } }),
    }) }) }))[1]
    local read = trace.spans[1]
    assert.same({ prompt_tokens = 12, completion_tokens = 5, total_tokens = 17 }, read.input.metadata.usage)
    assert.same({ "chat", "plain", "user" }, { read.input.type, read.output, read.input.input[1].role })
    assert.same({ { false, 1.5 }, { a = "b" } }, { { read.input.metadata.list[1], read.input.metadata.list[2] },
      read.input.metadata.map })
    assert.is_nil(read.input.metadata["gen_ai.input.messages"])
  end)

  it("tell what this library knows by the names it has elsewhere", function()
    local trace = traces_of(request({ span({ status = { code = 2, message = "too late" }, attributes = json.array({
      attribute("nexus.span.name", "run"), attribute("nexus.span.type", "llm"), attribute("error.type", "timeout"),
      attribute("nexus.findings", '[{"id":"stuck"}]'), attribute("nexus.clock", "server, whole seconds"),
      attribute("input.value", "first"), attribute("gen_ai.input.messages", "second"),
    }) }) }))[1]
    local input = trace.spans[1].input
    assert.same({ "run", "llm", "first", "timeout" }, { trace.name, input.type, input.input, trace.status })
    assert.same({ "stuck", "server, whole seconds" }, { input.metadata.findings[1].id, input.metadata.clock })
    assert.is_nil(input.metadata["gen_ai.input.messages"])
    assert.equal("stuck", trace.metadata.findings[1].id)
  end)

  it("tell what failed, from wherever it is told", function()
    local function failure(changes)
      return traces_of(request({ span(changes) }))[1]
    end
    local trace = failure({ status = { code = 2, message = "it broke" } })
    assert.same({ "error", "it broke", "error", "it broke" },
      { trace.status, trace.metadata.error, trace.spans[1].status, trace.spans[1].error })
    local thrown = { name = "exception", attributes = json.array({ attribute("exception.message", "thrown") }) }
    assert.equal("thrown", failure({ status = { code = "STATUS_CODE_ERROR" }, events = json.array({ thrown }) })
      .metadata.error)
    local events = failure({ events = json.array({ thrown }) }).spans[1].input.metadata.events
    assert.same({ "exception", "thrown" }, { events[1].name, events[1]["exception.message"] })
    assert.equal("timeout", failure({ status = { code = 2 },
      attributes = json.array({ attribute("error.type", "timeout") }) }).metadata.error)
    assert.equal("success", failure({ status = { code = 1 } }).status)
    local silent = failure({ status = { code = 2 } })
    assert.same({ "error", "error", "error" }, { silent.status, silent.spans[1].status, silent.spans[1].error })
  end)

  it("make a trace of what there is where the root is missing", function()
    local late = span({ spanId = "02", parentSpanId = ROOT, name = "late", status = { code = 2, message = "no" },
      startTimeUnixNano = "1767225601000000000", endTimeUnixNano = "1767225609000000000" })
    local trace = traces_of(request({ late, span({ spanId = "01", parentSpanId = ROOT, name = "early" }) }))[1]
    assert.same({ "early", "error", "2026-01-01T00:00:09.000000Z" }, { trace.name, trace.status, trace.ended_at })
  end)

  local HEAD = json.array({ attribute("gen_ai.operation.name", "invoke_workflow") })

  it("have the head of a trace that is below a host's span", function()
    local head = span({ spanId = "01", parentSpanId = "host", name = "all", attributes = HEAD,
      status = { code = 2, message = "at the end" } })
    local first = span({ spanId = "02", parentSpanId = "01", status = { code = 2, message = "was mended" } })
    local trace = traces_of(request({ first, head }))[1]
    assert.same({ "all", "at the end" }, { trace.name, trace.metadata.error })
    head.status = nil
    assert.equal("success", traces_of(request({ first, head }))[1].status)
  end)

  it("are told together where several are below one span of a host's", function()
    local one = span({ spanId = "01", parentSpanId = "host", name = "one", attributes = HEAD })
    local other = span({ spanId = "02", parentSpanId = "host", name = "other", attributes = HEAD,
      startTimeUnixNano = "1767225601000000000", endTimeUnixNano = "1767225609000000000",
      status = { code = 2, message = "no" } })
    local trace = traces_of(request({ other, one }))[1]
    assert.same({ "one", "error", "no", "2026-01-01T00:00:09.000000Z" },
      { trace.name, trace.status, trace.metadata.error, trace.ended_at })
  end)

  it("aren't a success where this library's head isn't there", function()
    local made = request({ span({ spanId = "02", parentSpanId = ROOT }) })
    assert.equal("success", traces_of(made)[1].status)
    local name = attribute("telemetry.sdk.name", "nexus-assistants")
    made.resourceSpans[1].resource = { attributes = json.array({ name }) }
    assert.equal("running", traces_of(made)[1].status)
    -- below a span of the host's that is there, and below one of another service
    local head = span({ spanId = "03", parentSpanId = "02", attributes = HEAD })
    table.insert(made.resourceSpans[1].scopeSpans[1].spans, head)
    assert.equal("success", traces_of(made)[1].status)
  end)

  it("may be anything", function()
    assert.same({}, traces_of({ resourceSpans = 1 }, { resourceSpans = json.array({ 1, {}, { scopeSpans = 5 } }) },
      request({ 1, {}, { traceId = "" }, { traceId = 5 } })))
    local strange = { traceId = "t", startTimeUnixNano = {}, attributes = json.array({ 1, { key = 2 } }), status = 3,
      events = 1 }
    local odd = traces_of(request({ strange }, { 1, { key = "k" } }))[1]
    assert.same({ "t", "success", json.null }, { odd.id, odd.status, odd.started_at })
  end)
end)

describe("files of traces", function()
  local EMPTY, NO_TRACE = "this is empty: there is no trace in it", "this is not a trace: it has no spans"
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(core.make_directory(folder))
  end)

  after_each(function()
    for _, name in ipairs(core.list_folder(folder) or {}) do os.remove(folder .. "/" .. name) end
    os.remove(folder)
  end)

  local function write(name, ...)
    local file = assert(io.open(folder .. "/" .. name, "wb"))
    file:write(...)
    file:close()
    return folder .. "/" .. name
  end

  local function ids(traces)
    local found = {}
    for index, trace in ipairs(traces) do found[index] = trace.id end
    table.sort(found)
    return found
  end

  local function line(id, name)
    return json.encode(request({ span({ traceId = id, name = name }) })) .. "\n"
  end

  it("are a trace, a list, or many lines", function()
    local one, two = json.encode(samples.ordinary("one")), json.encode(samples.failed("two"))
    assert.same({ "one" }, ids(files.read(write("a.json", one))))
    assert.same({ "one", "two" }, ids(files.read(write("b.json", "[", one, ",\n", two, "]"))))
    assert.same({ "one", "two" }, ids(files.read(write("c.jsonl", one, "\n\n", two, "\n"))))
    assert.same({ "x", "y" }, ids(files.read(write("d.jsonl", line("x"), line("y"), line("x")))))
    local pretty = line("z"):gsub(",", ",\n")
    assert.same({ "z" }, ids(files.read(write("e.json", pretty))))
    assert.same({ "h" }, ids(files.read(write("f.json", '[{"id":"h","started_at":"2026-01-01T00:00:00Z"}]'))))
  end)

  it("have a trace once, as it was written last", function()
    local first, last = samples.empty("x"), samples.ordinary("x")
    local traces = files.read(write("a.jsonl", json.encode(first), "\n", json.encode(samples.failed("y")), "\n",
      json.encode(last), "\n"))
    assert.same({ "x", "y" }, ids(traces))
    assert.equal(9, #traces[1].spans)
  end)

  it("leave out lines that can't be read, and say so", function()
    local traces, warning = files.read(write("a.jsonl", line("x"), "5\n", line("y"), '{"resourceSpans":[{"scop'))
    assert.same({ "x", "y" }, ids(traces))
    assert.equal("2 lines could not be read", warning)
    assert.same({ { "x" }, nil }, { ids(files.read(write("b.jsonl", line("x"), "\n"))) })
  end)

  it("are read up to what is too much, and say so", function()
    local lines = {}
    for index = 1, 50 do lines[index] = line("t" .. index) end
    local path = write("a.jsonl", table.concat(lines))
    local traces, warning = files.read(path, { spans = 10 })
    assert.same({ 10, "there is more than is shown: only the first 10 spans were read" }, { #traces, warning })
    assert.truthy(#files.read(path, { bytes = 3 * #lines[1] }) < 6)
    assert.same({ 50, nil }, { #files.read(path), nil })
  end)

  it("are put together from a folder, rotated ones too", function()
    write("traces.jsonl", line("x", "late"))
    write("traces.jsonl.1", json.encode(request({ span({ traceId = "x", spanId = "c", parentSpanId = ROOT }) })), "\n")
    write("nexus.json", json.encode(samples.ordinary("n")))
    write("notes.txt", line("never"))
    write("package.json", '{"name":"no trace"}')
    local traces, warning = files.read(folder .. "/")
    assert.same({ "n", "x" }, ids(traces))
    assert.is_nil(warning)
    for _, trace in ipairs(traces) do assert.equal(trace.id == "x" and 2 or 9, trace.span_count) end
  end)

  it("count as they were written last, however they were rotated", function()
    for index, name in ipairs({ "a.jsonl.10", "a.jsonl.2", "a.jsonl.1", "a.jsonl" }) do
      local state = samples.empty("n")
      state.name = name
      write(name, line("x", name), json.encode(state), "\n")
      local traces = files.read(folder)
      local seen = { ids(traces), traces[1].name, traces[2].name, traces[2].span_count }
      assert.same({ { "n", "x" }, name, name, 1 }, seen, "of " .. index)
    end
  end)

  it("may be pipes, which are read once", function()
    local path = folder .. "/pipe"
    assert(os.execute("mkfifo " .. path))
    local big = samples.large(2000, "big")
    local from = write("a.jsonl", json.encode(big), "\n", line("x"))
    os.execute(("cat %s >%s &"):format(from, path))
    local traces, warning = files.read(path)
    assert.same({ { "big", "x" }, nil }, { ids(traces), warning })
    assert.equal(2000, #traces[1].spans)
    os.execute(("cat %s >%s &"):format(write("b.json", (line("z"):gsub(",", ",\n"))), path))
    assert.same({ "z" }, ids(files.read(path)))
  end)

  it("have the names and the ends of traces of Nexus's kind where they belong", function()
    local trace = samples.ordinary("late")
    trace.name, trace.metadata = nil, { trace_id = "t", trace_name = "job" }
    trace.spans[10] = samples.span("z", "trace.end", 9, 9, { output = { trace_id = "t", error = "it broke" } })
    local read = files.read(write("a.json", json.encode(trace)))[1]
    assert.same({ "job", "it broke", 9 }, { read.name, read.metadata.error, #read.spans })
  end)

  it("may hold nothing but a line that was never ended, which is left out", function()
    local whole = line("x")
    for _, last in ipairs({ 2, 20, #whole - 2 }) do
      assert.same({ {}, "1 line could not be read" }, { files.read(write("a.json", (whole:sub(1, last)))) })
    end
    for _, last in ipairs({ '{"a":"\\\\', '{"a":"\\"}', '[{"a":"]}', '{"a":"b"' }) do
      assert.same({ {}, "1 line could not be read" }, { files.read(write("a.json", last)) })
    end
    for _, content in ipairs({ "{not JSON", '{"a":\n', '"{', '{"trace_id":"a", "name": oops, "spans":[]}',
      '{"name":"[{", "is": oops}', '[{"name":"\\"{", "is": oops}]' }) do
      local _, problem = files.read(write("a.json", content))
      assert.matches("a.json: invalid JSON", problem, 1, true)
    end
  end)

  it("say what is wrong with them", function()
    assert.same({}, { files.read(folder .. "/none.json") })
    local _, problem = files.read(folder)
    assert.equal(folder .. ": there are no traces here", problem)
    for content, wrong in pairs({ [""] = EMPTY, ["\n \n"] = EMPTY, ["{}"] = NO_TRACE, ["[]"] = NO_TRACE,
      null = NO_TRACE, ["\31\139\8\nx"] = "this is compressed: gunzip -c FILE | nexus-assistants view -",
      ["not JSON"] = "invalid JSON: Expected a value but found invalid token at character 1" }) do
      _, problem = files.read(write("a.json", content))
      assert.equal(folder .. "/a.json: " .. wrong, problem)
      _, problem = files.read(folder)
      local is_other = wrong == EMPTY or wrong == NO_TRACE
      assert.equal(is_other and folder .. ": there are no traces here" or folder .. "/a.json: " .. wrong, problem)
    end
    assert.same({ "x" }, ids(files.read(write("c.jsonl", (line("x", "odd"):gsub("odd", "\255\254"))))))
  end)
end)

describe("a folder's names", function()
  it("are all but the folder itself", function()
    local names = core.list_folder("spec/support")
    local found = {}
    for _, name in ipairs(names) do found[name] = true end
    assert.is_true(found["traces.lua"])
    assert.is_nil(found["."] or found[".."])
    assert.same({ nil, "No such file or directory" }, { core.list_folder("spec/none") })
  end)
end)

describe("SHA-256", function()
  it("is what the standard's examples say", function()
    assert.equal("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", core.sha256(""))
    assert.equal("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", core.sha256("abc"))
    assert.equal("JI1qYdIGOLjlwCaTDD5gOaM85Flk/yFn9uzt1BnbBsE=",
      core.sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))
  end)

  it("takes texts of any length to the end of a block and beyond", function()
    local seen = {}
    for length = 50, 140 do
      local digest = core.sha256(("a"):rep(length))
      assert.equal(44, #digest)
      assert.is_nil(seen[digest])
      seen[digest] = true
    end
    assert.equal("zcduXJkU+5KBocfihNc+Z/GAmkiklyAOBG05zMcRLNA=", core.sha256(("a"):rep(1000000)))
  end)
end)

describe("what is wanted of a list", function()
  local NOW = 1767225600

  local function names(wanted)
    local traces = { samples.ordinary("a"), samples.failed("b"), samples.empty("c"), samples.large(3, "d") }
    local found, count = filter.apply(traces, wanted)
    local got = {}
    for index, trace in ipairs(found) do got[index] = trace.id end
    return table.concat(got, " "), count
  end

  it("is there, the newest first", function()
    assert.same({ "c b a d", 4 }, { names({}) })
    assert.same({ "c b", 4 }, { names({ limit = 2 }) })
    assert.equal("b a", (names({ agent = "weather-bot" })))
    assert.equal("a d", (names({ status = "ok" })))
    assert.equal("a d", (names({ status = "success" })))
    assert.equal("b", (names({ status = "error" })))
    assert.equal("c", (names({ status = "running" })))
    assert.equal("d", (names({ name = "IMPORT" })))
    assert.equal("c b", (names({ since = assert(filter.moment("2026-01-01T00:00:30Z", NOW)) })))
  end)

  it("may be since a time ago, a day, or a moment", function()
    assert.equal((NOW - 90) * 1000, filter.moment("90s", NOW))
    assert.equal((NOW - 7200) * 1000, filter.moment("2h", NOW))
    assert.equal(NOW * 1000, filter.moment("2026-01-01", 0))
    assert.equal(NOW * 1000 + 500, filter.moment("2026-01-01T00:00:00.500Z", 0))
    for _, wrong in ipairs({ "yesterday", "2", "2026-13-01", "h" }) do assert.is_nil((filter.moment(wrong, NOW))) end
  end)
end)
