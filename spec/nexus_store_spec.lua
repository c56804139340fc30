local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants.serve.nexus")
local repaired = require("nexus_assistants.serve.utf8_repair")
local timestamp = require("nexus_assistants.timestamp")

describe("timestamps", function()
  it("have Nexus's form", function()
    for _, text in ipairs({
      "2024-01-02T03:04:05Z", "2024-01-02T03:04:05.678Z", "2024-01-02T03:04:05.6+02:00", "2024-13-99T99:99:99Z",
    }) do
      assert.is_true(timestamp.valid(text), text)
    end
    for _, text in ipairs({
      "2024-01-02 03:04:05Z", "2024-01-02T03:04:05", "2024-01-02T03:04:05.Z", "2024-01-02T03:04:05z",
      "2024-01-02T03:04:05+0200", "x2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z ", "", 5, json.null,
    }) do
      assert.is_false(timestamp.valid(text), tostring(text))
    end
  end)

  it("are counted in milliseconds", function()
    assert.equal(0, timestamp.milliseconds("1970-01-01T00:00:00Z"))
    assert.equal(1709210096789, timestamp.milliseconds("2024-02-29T12:34:56.789Z"))
    assert.is_true(math.abs(1709210096789.999 - timestamp.milliseconds("2024-02-29T14:04:56.789999+01:30")) < 0.001)
    assert.equal(4107542399000, timestamp.milliseconds("2100-02-28T23:59:59Z"))
    assert.equal(4107542400000, timestamp.milliseconds("2100-03-01T00:00:00Z"))
    assert.is_nil(timestamp.milliseconds("2024-13-01T00:00:00Z"))
    assert.is_nil(timestamp.milliseconds(nil))
  end)
end)

describe("bytes that aren't UTF-8", function()
  it("are replaced, one mark for each maximal part", function()
    local valid = "h\195\169\226\130\172\240\159\152\128"
    for text, expected in pairs({
      ["plain"] = "plain", [valid] = valid, ["\255" .. valid] = "?" .. valid, ["\226\130\195\169"] = "?\195\169",
      ["\255"] = "?", ["a\128\191b"] = "a??b", ["\226\130"] = "?", ["\226\130x"] = "?x",
      ["\240\159\152"] = "?", ["\240\159\152\240\159"] = "??", ["\237\160\128"] = "???", ["\192\175"] = "??",
      ["\224\128\128"] = "???", ["\244\144\128\128"] = "????", ["\240\128\128"] = "???", ["\195"] = "?", [""] = "",
      ["\195\169\255\195\169"] = "\195\169?\195\169",
    }) do
      assert.equal((expected:gsub("?", "\239\191\189")), repaired(text))
    end
  end)

  it("are replaced in proportion to their number", function()
    local started = os.clock()
    assert.equal(3 * 500000, #repaired(("\255"):rep(500000)))
    for _, before in ipairs({ "", "x", "ä", "\240\159" }) do
      local many = ("€"):rep(20000)
      assert.equal(before == "\240\159" and "\239\191\189" .. many .. "\239\191\189" or before .. many
        .. "\239\191\189", repaired(before .. many .. "\255"))
    end
    assert.equal(4 * 500000, #repaired(("\255a"):rep(500000)))
    assert.is_true(os.clock() - started < 2, "seconds where a fraction is expected")
  end)
end)

describe("Nexus in memory", function()
  local store, next_id

  local function new_store(options)
    next_id = 0
    options = options or {}
    options.new_id = function()
      next_id = next_id + 1
      return "id-" .. next_id
    end
    return nexus.new(options)
  end

  before_each(function() store = new_store() end)

  local function request(method, path, body, headers, fields)
    if type(body) == "table" then body = assert(json.encode(body)) end
    headers = headers or {}
    if headers.authorization == nil then headers.authorization = "Bearer nxs_key" end
    local response = store:handle({
      method = method, path = path, headers = headers, body = body or "", fields = fields or {},
    })
    response.json = json.decode(response.body)
    return response
  end

  local function trace(changes)
    local body = { agent_id = "bot", name = "job", status = "running", started_at = "2024-01-01T00:00:00.000Z" }
    for name, value in pairs(changes or {}) do body[name] = value end
    return body
  end

  local function span(changes)
    local body = { name = "step", status = "ok", started_at = "2024-01-01T00:00:01.000Z" }
    for name, value in pairs(changes or {}) do body[name] = value end
    return body
  end

  local function create(changes) return request("POST", "/api/v1/traces", trace(changes)).json.trace_id end
  local function add_span(id, changes) return request("POST", "/api/v1/traces/" .. id .. "/spans", span(changes)) end
  local function get(id) return request("GET", "/api/v1/traces/" .. id).json end

  it("shows what came late, and the tokens, where they belong, and answers as Nexus does", function()
    local function used(count) return { usage = { total_tokens = count } } end
    local id = create({ metadata = { trace_id = "t", early = true } })
    local run = add_span(id, { name = "run", output = used(30) }).json.span_id
    local step = add_span(id, { parent_span_id = run }).json.span_id
    add_span(id, { parent_span_id = step, output = used(20) })
    add_span(id, { output = used(7) })
    local listed = json.decode(store:overview())[1]
    assert.same({ "job", 37, 4, true }, { listed.name, listed.tokens, listed.span_count, listed.metadata.early })
    local last = { name = "trace.end", output = { trace_id = "t", late = true, ["run.usage"] = { total_tokens = 37 } } }
    local before = store.bytes
    add_span(id, last)
    local first = store.bytes - before
    add_span(id, last)
    -- the metadata is kept once, though there are two rows
    assert.is_true(store.bytes - before < 2 * first)
    listed = json.decode(store:overview())[1]
    assert.same({ 37, 4, { trace_id = "t", late = true, ["run.usage"] = { total_tokens = 37 } } },
      { listed.tokens, listed.span_count, listed.metadata })
    local whole = json.decode(store:whole(id))
    assert.same({ 4, 4, true }, { #whole.spans, whole.span_count, whole.metadata.late })
    local own = get(id)
    assert.same({ 6, true, nil }, { #own.spans, own.metadata.early, own.tokens })
  end)

  it("asks for a key before anything else", function()
    local refused = { "", "nxs_key", "bearer nxs_key", "Bearer sk-key", "Bearer  nxs_key", "Bearer nxs_key x" }
    for _, authorization in ipairs(refused) do
      for _, path in ipairs({ "/api/v1/traces", "/api/v1/nothing" }) do
        local response = request("POST", path, "not JSON", { authorization = authorization })
        assert.same({ 401, { error = "Invalid API key" } }, { response.status, response.json })
      end
    end
  end)

  it("creates, updates and shows a trace", function()
    local response = request("POST", "/api/v1/traces", trace({ metadata = { k = json.array() }, id = "mine", x = 1 }))
    assert.same({ 201, { trace_id = "id-1" } }, { response.status, response.json })
    response = request("PATCH", "/api/v1/traces/id-1", {
      status = "success", ended_at = "2024-01-01T00:00:02.500Z", metadata = { k = "ignored" }, name = "ignored",
    })
    assert.same({ 200, { trace_id = "id-1" } }, { response.status, response.json })
    assert.same({
      id = "id-1", agent_name = "bot", status = "success", started_at = "2024-01-01T00:00:00.000Z",
      ended_at = "2024-01-01T00:00:02.500Z", duration_ms = 2500, span_count = 0, metadata = { k = {} }, spans = {},
    }, get("id-1"))
    assert.matches('"k":[]', request("GET", "/api/v1/traces/id-1").body, 1, true)
  end)

  it("shows what is absent as null", function()
    local shown = get(create())
    assert.same({ json.null, json.null, json.null }, { shown.ended_at, shown.duration_ms, shown.metadata })
  end)

  it("validates traces", function()
    local response = request("POST", "/api/v1/traces", "{oops")
    assert.same({ 400, { error = "Invalid JSON body" } }, { response.status, response.json })
    response = request("POST", "/api/v1/traces", "[1]")
    assert.same({ 400, { error = "Body must be a JSON object" } }, { response.status, response.json })
    response = request("POST", "/api/v1/traces", "null")
    assert.same({ 400, { error = "Body must be a JSON object" } }, { response.status, response.json })
    response = request("POST", "/api/v1/traces", trace(), { ["content-encoding"] = "gzip" })
    assert.equal(400, response.status)
    response = request("POST", "/api/v1/traces", {})
    assert.equal("Validation failed", response.json.error)
    local names = {}
    for name in pairs(response.json.fields) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "agent_id", "name", "started_at", "status" }, names)
    for name, value in pairs({ agent_id = "", name = 1, status = "ok", started_at = "today", ended_at = "later" }) do
      response = request("POST", "/api/v1/traces", trace({ [name] = value }))
      assert.equal(400, response.status)
      assert.is_string(response.json.fields[name])
      assert.is_nil(next(response.json.fields, (next(response.json.fields))))
    end
    assert.equal(201, request("POST", "/api/v1/traces", trace({ ended_at = json.null })).status)
  end)

  it("validates updates", function()
    local id = create()
    local function patch(body) return request("PATCH", "/api/v1/traces/" .. id, body) end
    assert.same({ error = "No fields to update" }, patch({ metadata = {} }).json)
    assert.equal(400, patch({ metadata = {} }).status)
    assert.equal(400, patch({ status = "ok" }).status)
    assert.equal(400, patch({ ended_at = "x" }).status)
    assert.equal(200, patch({ ended_at = json.null }).status)
    local response = request("PATCH", "/api/v1/traces/none", { status = "success" })
    assert.same({ 404, { error = "Trace not found" } }, { response.status, response.json })
  end)

  it("stores spans in order of their start", function()
    local id = create()
    local late = add_span(id, { name = "late", started_at = "2024-01-01T00:00:03.000Z" }).json.span_id
    local response = add_span(id, {
      name = "early", parent_span_id = late, input = { a = 1 }, output = json.null, error = "e",
      metadata = { dropped = 1 },
    })
    assert.equal(201, response.status)
    add_span(id, { name = "early too" })
    local shown = get(id)
    assert.equal(3, shown.span_count)
    assert.same({ "early", "early too", "late" },
      { shown.spans[1].name, shown.spans[2].name, shown.spans[3].name })
    assert.same({
      id = response.json.span_id, name = "early", parent_span_id = late, status = "ok",
      started_at = "2024-01-01T00:00:01.000Z", ended_at = json.null, input = { a = 1 }, output = json.null, error = "e",
    }, shown.spans[1])
    assert.same({ json.null, json.null }, { shown.spans[2].error, shown.spans[2].parent_span_id })
  end)

  it("turns errors into text as JavaScript does", function()
    local id = create()
    for _, case in ipairs({
      { json.null, "null" }, { { a = 1 }, "[object Object]" }, { json.array({ 1, json.null, "x" }), "1,,x" },
      { true, "true" }, { 5, "5" },
    }) do
      add_span(id, { error = case[1] })
      local spans = get(id).spans
      assert.equal(case[2], spans[#spans].error)
    end
  end)

  it("validates spans", function()
    local id = create()
    for name, value in pairs({ name = "", status = "success", started_at = json.null, parent_span_id = 5 }) do
      local response = add_span(id, { [name] = value })
      assert.equal(400, response.status)
      assert.is_string(response.json.fields[name])
    end
    assert.same({ error = "Trace not found" }, add_span("none").json)
    assert.equal(201, add_span(id, { parent_span_id = "unknown" }).status)
    assert.equal(0 + 1, get(id).span_count)
  end)

  it("repeats what is repeated", function()
    local id = create()
    assert.are_not.equal(id, create())
    assert.are_not.equal(add_span(id).json.span_id, add_span(id).json.span_id)
  end)

  it("answers rows that are too large with a plain 500, again and again", function()
    local id = create()
    for _ = 1, 2 do
      local response = add_span(id, { input = ("x"):rep(2200000) })
      assert.same({ 500, "Internal Server Error" }, { response.status, response.body })
      assert.matches("^text/plain", response.content_type)
    end
    assert.equal(0, get(id).span_count)
  end)

  it("looks at the size before anything else", function()
    local started = os.clock()
    for _, path in ipairs({ "/api/v1/traces", "/api/v1/traces/none/spans" }) do
      assert.equal(500, request("POST", path, ("\255"):rep(16000000)).status)
    end
    assert.is_true(os.clock() - started < 1)
  end)

  it("replaces bytes that aren't UTF-8", function()
    local id = create()
    request("POST", "/api/v1/traces/" .. id .. "/spans",
      '{"name":"a\255b","status":"ok","started_at":"2024-01-01T00:00:00Z"}')
    assert.equal("a\239\191\189b", get(id).spans[1].name)
  end)

  it("has a page of HTML for what it doesn't know", function()
    for _, case in ipairs({
      { "GET", "/api/v1/nothing" }, { "GET", "/api/v1/traces/" }, { "DELETE", "/api/v1/traces" },
      { "POST", "/api/v1//traces" }, { "GET", "/api/v1/traces/x/spans" }, { "PUT", "/api/v1/traces/x" },
    }) do
      local response = request(case[1], case[2], {})
      assert.equal(404, response.status)
      assert.matches("^text/html", response.content_type)
      assert.matches("^<!DOCTYPE html>", response.body)
    end
    assert.same({ error = "Trace not found" }, request("GET", "/api/v1/traces/x").json)
  end)

  describe("lists traces", function()
    local function list(fields)
      local response = request("GET", "/api/v1/traces", nil, nil, fields)
      local ids = {}
      for index, item in ipairs(response.json) do ids[index] = item.id end
      return table.concat(ids, " "), response
    end

    before_each(function()
      create({ started_at = "2024-01-01T00:00:00Z", status = "success", agent_id = "a" })
      create({ started_at = "2024-01-03T00:00:00Z", status = "error", agent_id = "b" })
      create({ started_at = "2024-01-02T00:00:00Z", status = "success", agent_id = "b" })
    end)

    it("as a bare array, the newest first", function()
      local ids, response = list({})
      local order = {}
      for _, item in ipairs(response.json) do order[#order + 1] = item.started_at:sub(9, 10) end
      assert.same({ "03", "02", "01" }, order)
      assert.equal("3", response.headers["X-Total-Count"])
      assert.is_nil(response.json[1].name)
      assert.is_nil(response.json[1].spans)
      assert.equal(3, select(2, ids:gsub("id", "")))
    end)

    it("filtered, and in pages", function()
      local function dates(fields)
        local _, response = list(fields)
        local found = {}
        for index, item in ipairs(response.json) do found[index] = item.started_at:sub(9, 10) end
        return table.concat(found, " "), response
      end
      assert.equal("03 02", (dates({ agent_id = "b" })))
      assert.equal("02 01", (dates({ status = "ok" })))
      assert.equal("03", (dates({ status = "error" })))
      assert.equal("03 02", (dates({ since = "2024-01-02T00:00:00Z" })))
      assert.equal("02 01", (dates({ ["until"] = "2024-01-02T00:00:00Z" })))
      local first, response = dates({ limit = "1" })
      assert.equal("03", first)
      assert.equal("3", response.headers["X-Total-Count"])
      assert.equal("02", (dates({ limit = "1", after = response.json[1].id })))
      assert.equal("03", (dates({ limit = "0" })))
      assert.equal("", (dates({ after = "unknown" })))
    end)

    it("as an empty array where there are none", function()
      store = new_store()
      assert.equal("[]", request("GET", "/api/v1/traces").body)
    end)
  end)

  it("keeps so many traces, the newest", function()
    store = new_store({ max_traces = 2 })
    local first, second, third = create(), create(), create()
    assert.is_nil(get(first).id)
    assert.same({ second, third }, { get(second).id, get(third).id })
    assert.equal("2", request("GET", "/api/v1/traces").headers["X-Total-Count"])
  end)

  it("keeps so many bytes, spans counted", function()
    store = new_store({ max_bytes = 1800 })
    local first, second = create(), create()
    assert.equal(201, add_span(second, { input = ("x"):rep(900) }).status)
    assert.is_nil(get(first).id)
    assert.equal(second, get(second).id)
    assert.equal(500, add_span(second, { input = ("x"):rep(300) }).status)
    assert.equal(500, request("POST", "/api/v1/traces", trace({ metadata = ("x"):rep(2000) })).status)
    local third = create()
    create({ metadata = ("x"):rep(400) })
    assert.is_nil(get(second).id)
    assert.equal(third, get(third).id)
    assert.is_true(store.bytes < 1200)
  end)

  it("counts what is held, whoever sent it", function()
    create()
    local trace_bytes = store.bytes
    local function grows_by(bytes, changes)
      local before = store.bytes
      create(changes)
      assert.equal(trace_bytes + bytes, store.bytes - before)
    end
    grows_by(1000, { name = "job" .. ("x"):rep(1000) }) -- only the page shows it
    grows_by(1000, { agent_id = "bot" .. ("x"):rep(1000) })
    grows_by(1002 - #"null", { metadata = ("x"):rep(1000) })
    local before, id = store.bytes, create()
    local long = "2024-01-01T00:00:02." .. ("0"):rep(1000) .. "Z"
    request("PATCH", "/api/v1/traces/" .. id, { ended_at = long })
    request("PATCH", "/api/v1/traces/" .. id, { ended_at = long })
    assert.equal(before + trace_bytes + #long, store.bytes)
    request("PATCH", "/api/v1/traces/" .. id, { ended_at = json.null })
    assert.equal(before + trace_bytes, store.bytes)
  end)

  it("never drops the trace that is being written", function()
    store = new_store({ max_bytes = 2000 })
    local first, second, third = create(), create(), create()
    assert.equal(201, add_span(first, { input = ("x"):rep(800) }).status)
    assert.same({ first, 1 }, { get(first).id, get(first).span_count })
    assert.is_nil(get(second).id)
    assert.equal(third, get(third).id)
    create({ metadata = ("x"):rep(1500) })
    assert.is_nil(get(first).id)
    assert.is_nil(get(third).id)
    assert.equal("1", request("GET", "/api/v1/traces").headers["X-Total-Count"])
  end)

  it("forgets an agent with its last trace", function()
    store = new_store({ max_traces = 2 })
    create({ agent_id = "a" })
    create({ agent_id = "b" })
    create({ agent_id = "b" })
    assert.is_nil(store.agents.a)
    assert.equal(2, store.agents.b.traces)
    create({ agent_id = "a" })
    assert.same({ 1, 1 }, { store.agents.a.traces, store.agents.b.traces })
  end)

  it("refuses what is nested too deeply to be answered", function()
    local function nested(depth) return ('{"a":'):rep(depth) .. "1" .. ("}"):rep(depth) end
    local function text_of(row, member, depth)
      return json.encode(row):sub(1, -2) .. ',"' .. member .. '":' .. nested(depth) .. "}"
    end
    local id
    for depth = 100, 140 do
      local response = request("POST", "/api/v1/traces", text_of(trace(), "metadata", depth))
      assert.equal(depth <= 125 and 201 or 400, response.status)
      id = id or response.json.trace_id
      response = request("POST", "/api/v1/traces/" .. id .. "/spans", text_of(span(), "input", depth))
      assert.equal(depth <= 125 and 201 or 400, response.status)
    end
    assert.equal(26, #request("GET", "/api/v1/traces").json)
    assert.equal(26, #get(id).spans)
    assert.equal(400, request("POST", "/api/v1/traces", json.encode(trace()):sub(1, -2) .. ',"metadata":1e999}').status)
  end)
end)
