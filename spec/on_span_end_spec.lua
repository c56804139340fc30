-- The hook on_span_end, by which spans may be left out; seen at Nexus, in a file and by a sink in Lua.
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local record = require("nexus_assistants.spool.record")
local servers = require("spec.support.server")

describe("on_span_end", function()
  local server, client, warnings, path, counter, got = nil, nil, nil, nil, 0, nil

  setup(function() server = servers.start({ kind = "fault" }) end)
  teardown(function() server:stop() end)

  before_each(function() warnings, path, counter, got = {}, os.tmpname(), counter + 1, {} end)

  after_each(function()
    client:close(0)
    os.remove(path)
  end)

  local function open(hook, given)
    local settings = {
      agent_id = "leaving-" .. counter, provider = "script", script = function() return "warm" end, file = path,
      nexus = { api_key = "nxs_x", base_url = server.nexus_url, flush_interval = 60 }, on_span_end = hook,
      on_warning = function(text) warnings[#warnings + 1] = text end,
      sinks = { function(batch) for _, span in ipairs(batch) do got[#got + 1] = span end end },
    }
    for name, value in pairs(given or {}) do settings[name] = value end
    client = assert(nexus.new(settings))
  end

  local function drop(name)
    return function(span) if span.name == name then return false end end
  end

  -- The spans at Nexus, each as `name < the name of what it is below`, in order.
  local function at_nexus()
    assert.is_true(client:close(5))
    local lines, names = {}, {}
    for _, trace in ipairs(server:traces()) do
      if trace.agent_name == "leaving-" .. counter then
        for _, span in ipairs(trace.spans) do names[span.id] = span.name end
        for _, span in ipairs(trace.spans) do
          lines[#lines + 1] = span.name .. " < " .. (names[json.present(span.parent_span_id)] or "")
        end
      end
    end
    table.sort(lines)
    return lines
  end

  local function names_of_file()
    local file = assert(io.open(path))
    local text, names = file:read("*a"), {}
    file:close()
    for name in text:gmatch('"name":"([%w_ ]+)","kind"') do names[name] = true end
    return names
  end

  local function nest(trace, names, index)
    index = index or 1
    if not names[index] then return end
    trace:span(names[index], { input = names[index] }, function() nest(trace, names, index + 1) end)
  end

  it("ends no spans itself", function()
    local outer
    open(function(span) if span.name == "inner" then outer:finish() end end)
    client:trace({ name = "job" }, function(trace)
      trace:span("outer", function(span)
        outer = span
        trace:span("inner", function() end)
      end)
      trace:span("after", function() end)
    end)
    assert.is_true(client:close(5))
    local statuses = {}
    for _, span in ipairs(got) do statuses[span.name] = span.status end
    assert.same({ outer = "ok", inner = "ok", after = "ok" }, { outer = statuses.outer, inner = statuses.inner,
      after = statuses.after })
  end)

  it("is told of each span, as it is kept", function()
    local seen = {}
    open(function(span) seen[#seen + 1] = span end, { capture = "metadata" })
    client:trace({ name = "job" }, function(trace)
      trace:span("own", { type = "tool", input = "in", metadata = { a = { 1 } } }, function(span)
        span:output("out")
        span:error("went wrong")
      end)
    end)
    assert.equal(1, #seen)
    local span = seen[1]
    assert.same({ "span", "own", "tool", "error" }, { span.kind, span.name, span.type, span.status })
    assert.same({ a = { 1 } }, span.metadata)
    assert.is_nil(span.input)
    assert.is_nil(span.output)
    assert.is_nil(span.error:find("went wrong", 1, true))
    assert.matches("^%x+$", span.span_id)
    assert.is_true(span.ended_at >= span.started_at)
    assert.same({ "own < " }, at_nexus())
  end)

  it("leaves out what it returns false for, everywhere", function()
    open(drop("middle"))
    client:trace({ name = "job" }, function(trace) nest(trace, { "outer", "middle", "inner", "innermost" }) end)
    assert.same({ "inner < outer", "innermost < inner", "outer < " }, at_nexus())
    assert.same({ ["invoke_workflow job"] = true, outer = true, inner = true, innermost = true }, names_of_file())
    assert.equal(4, #got)
    assert.equal(1, client:stats().spans_left_out)
    assert.equal(0, client:stats().spans_pending)
    assert.same({}, warnings)
  end)

  it("leaves out one above all, one below all, and several in a row", function()
    for _, case in ipairs({
      { gone = "a", left = { "b < ", "c < b" } }, { gone = "c", left = { "a < ", "b < a" } },
      { gone = "ab", left = { "c < " } }, { gone = "abc", left = {} },
    }) do
      counter = counter + 1
      open(function(span) return not case.gone:find(span.name, 1, true) end)
      client:trace({ name = "job" }, function(trace) nest(trace, { "a", "b", "c" }) end)
      assert.same(case.left, at_nexus())
    end
  end)

  it("puts what begins below a span that was left out below what that was in", function()
    open(drop("gone"))
    local trace = client.nexus:start_trace({ name = "job" })
    local outer = client.nexus:start_span(trace.id, { name = "outer" })
    local gone = client.nexus:start_span(trace.id, { name = "gone", parent_id = outer.id })
    local before = client.nexus:start_span(trace.id, { name = "before", parent_id = gone.id })
    client.nexus:end_span(gone.id)
    local after = client.nexus:start_span(trace.id, { name = "after", parent_id = gone.id })
    client.nexus:end_span(after.id)
    client.nexus:end_span(before.id)
    client.nexus:end_span(outer.id)
    client.nexus:end_trace(trace.id)
    assert.same({ "after < outer", "before < outer", "outer < " }, at_nexus())
    for _, span in ipairs(got) do
      if span.name == "after" or span.name == "before" then assert.equal(outer.id, span.parent_id) end
    end
  end)

  it("is asked of spans that end with their trace", function()
    open(drop("left open"))
    local trace = client.nexus:start_trace({ name = "job" })
    client.nexus:start_span(trace.id, { name = "left open" })
    client.nexus:start_span(trace.id, { name = "other" })
    client.nexus:end_trace(trace.id)
    assert.same({ "other < " }, at_nexus())
  end)

  it("is asked of spans that end with their client, whether or not there are sinks in Lua", function()
    for _, sinks in ipairs({ {}, { function() end } }) do
      counter = counter + 1
      open(drop("left open"), { sinks = sinks })
      local trace = client.nexus:start_trace({ name = "job" })
      client.nexus:start_span(trace.id, { name = "left open" })
      client.nexus:start_span(trace.id, { name = "other" })
      assert.same({ "other < " }, at_nexus())
    end
  end)

  it("keeps a span where it fails, and says so once", function()
    open(function() error("no luck") end)
    client:trace({ name = "job" }, function(trace) nest(trace, { "a", "b" }) end)
    assert.same({ "a < ", "b < a" }, at_nexus())
    assert.equal(1, #warnings)
    assert.matches("on_span_end failed, the span is kept: .*no luck", warnings[1])
  end)

  it("can't wait, and what it does isn't recorded", function()
    local inner
    open(function()
      client:trace({ name = "inner" }, function(trace) inner = trace:id() or "none" end)
      coroutine.yield()
    end)
    client:trace({ name = "job" }, function(trace) nest(trace, { "a" }) end)
    assert.same({ "a < " }, at_nexus())
    assert.equal("none", inner)
    assert.matches("must not wait", warnings[1])
  end)

  it("takes back what the spool has of a span", function()
    local function line(name, parent, is_open)
      return ('{"trace":"%s","span":"%s","parent":"%s","open":%s,"body":{"name":"%s","started_at":"t"}}\n'):format(
        ("a"):rep(32), name, parent, is_open and "true" or "false", name)
    end
    local function taken_back(name, parent)
      return ('~"trace":"%s","span":"%s","parent":"%s"  \n'):format(("a"):rep(32), name, parent)
    end
    local state = ('{"trace":"%s","nexus":"http://x","state":{"started_at":"2026-01-01T00:00:00Z",'
      .. '"status":"running"}}\n'):format(("a"):rep(32))
    local found = record.read(state .. line("01", "", true) .. line("02", "01", true) .. line("03", "02", false)
      .. taken_back("02", "01") .. line("04", "02", false)
      .. (line("05", "02", false):gsub('{"name.-}', "null"))) -- as was written before
    local spans = {}
    for _, span in ipairs(found.spans) do spans[#spans + 1] = span.id .. " < " .. span.parent end
    assert.same({ "01 < ", "03 < 01", "04 < 01" }, spans)
  end)

  it("leaves nothing of a span in the spool's file", function()
    local folder = os.tmpname()
    os.remove(folder)
    open(drop("gone"), { spool = folder })
    local trace = client.nexus:start_trace({ name = "job" })
    local gone = client.nexus:start_span(trace.id, { name = "gone" })
    local other = client.nexus:start_span(trace.id, { name = "other", parent_id = gone.id })
    client.nexus:end_span(other.id)
    client.nexus:end_span(gone.id)
    local pipe = assert(io.popen("find " .. servers.quote(folder) .. " -type f -exec cat {} +"))
    local found = record.read(pipe:read("*a"))
    pipe:close()
    assert.equal(1, #found.spans)
    assert.same({ other.id, "" }, { found.spans[1].id, found.spans[1].parent })
    client.nexus:end_trace(trace.id)
    assert.same({ "other < " }, at_nexus())
    os.execute("rm -rf " .. servers.quote(folder))
  end)
end)
