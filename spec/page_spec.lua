-- The page for browsers, driven in headless Chromium: spec/support/page.mjs looks, in parts.
local json = require("nexus_assistants.json")
local page = require("nexus_assistants.view.page")
local samples = require("spec.support.traces")
local servers = require("spec.support.server")

local SCRIPT = servers.root .. "spec/support/page.mjs"
local PACKAGE = servers.root .. "dev/node_modules/playwright-core/package.json"
local PRICES = { ["gpt-4o-mini"] = { input = 0.15, output = 0.6 } }
local EVIL = '</script><script id="evil">window.evil = 1</script><!-- <script>'

-- Each part, and how many things it looks at: fewer would mean that it ended early.
local PARTS = {
  { "opens", 18 }, { "details", 16 }, { "zooms", 16 }, { "filters", 10 }, { "keys", 24 }, { "compares", 15 },
  { "looks", 20 }, { "odd", 12 }, { "quick", 11 },
}

local function output_of(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function find_browser()
  for _, name in ipairs({ "chromium", "chromium-browser", "google-chrome" }) do
    local path = output_of("command -v " .. name):match("%S+")
    if path then return path end
  end
end

local function lacking()
  if os.getenv("NXA_SANITIZE") == "1" then return "sanitizers look at what makes the page, not at a browser" end
  if output_of("node --version 2>/dev/null") == "" then return "node is absent" end
  local file = io.open(PACKAGE)
  if not file then return "the package playwright-core is absent (npm install in dev/)" end
  file:close()
  if not find_browser() then return "chromium is absent" end
end

-- A second one like the ordinary one, but slower, dearer, and with another tool.
local function other()
  local trace = samples.ordinary("0b1e4c52a9f04d0f8d6f0c2a3e5b7d99")
  trace.started_at = samples.at(-10)
  trace.spans[3].output.usage = { prompt_tokens = 1412, completion_tokens = 61, total_tokens = 1473 }
  trace.spans[4].ended_at = samples.at(1590)
  trace.spans[5].name = "tool get_forecast"
  return trace
end

-- What one span is around, named like the trace. `later` is when its first question ended, in milliseconds.
local function headed(id, city, later)
  local trace = samples.ordinary(id)
  trace.name = "weather " .. city
  trace.spans[4].ended_at = later
  for _, span in ipairs(trace.spans) do
    if span.parent_span_id == json.null then span.parent_span_id = "head" end
  end
  trace.spans[10] = samples.span("head", trace.name, 0, 2840)
  return trace
end

-- The second's question takes 4 µs longer, its tool half a millisecond, what the tool asked 30 ms, and what it logged
-- 3 ms; of these the latter two are worth a colour.
local function heads()
  local first, second = headed("p1", "Paris", "2026-01-01T00:00:01.190000Z"),
    headed("p2", "Hell", "2026-01-01T00:00:01.190004Z")
  second.spans[5].ended_at = "2026-01-01T00:00:01.620500Z"
  second.spans[6].ended_at, second.spans[7].ended_at = samples.at(1620), samples.at(1343)
  return json.array({ first, second })
end

-- What is shown within two thirds of a second: the last line of its axis is near the end.
local function brief()
  local trace = samples.empty("brief")
  trace.ended_at, trace.started_at = samples.at(654), samples.at(0)
  trace.spans = json.array({ samples.span("a", "run", 0, 654) })
  return json.array({ trace })
end

-- A day, with spans of minutes and hours in it.
local function long()
  local trace = samples.empty("long")
  trace.ended_at, trace.started_at = samples.at(86400000), samples.at(0)
  trace.spans = json.array({ samples.span("a", "day", 0, 86400000), samples.span("b", "hour", 0, 3599000),
    samples.span("c", "minutes", 0, 3540000), samples.span("d", "minute", 0, 95000) })
  return json.array({ trace })
end

-- Names of which nobody thought.
local function wordy()
  local trace = samples.ordinary("wordy")
  trace.name, trace.agent_name, trace.spans[1].name = ("word "):rep(2000), ("agent"):rep(2000), ("x"):rep(9000)
  trace.metadata.error = ("failed "):rep(2000)
  return json.array({ trace })
end

-- More messages than anybody reads, and a long one.
local function talk()
  local trace, messages = samples.empty("talk"), {}
  for number = 1, 8000 do messages[number] = { role = "user", content = "number " .. number } end
  trace.spans = json.array({ samples.span("many", "chat m", 0, 9, { input = { messages = json.array(messages) } }),
    samples.span("long", "tool t", 0, 9, { output = ("word "):rep(1000) }) })
  return json.array({ trace })
end

local function all()
  local failed = samples.failed()
  failed.spans[1].output = EVIL
  return json.array({ samples.ordinary(), failed, samples.empty(), samples.large(2000), other() })
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Traces as they should not be.
local function odd()
  local function trace(name, spans)
    return { id = name, name = name, status = "error", started_at = samples.at(0), ended_at = samples.at(9),
      spans = spans, metadata = "text" }
  end
  local parts = json.array({ { role = "user", content = json.array({ 5, { type = "text", text = { value = "hi" } } }) },
    { role = "x", content = { a = 1 } }, { role = "y", tool_calls = json.array({ 5, {}, { arguments = "{broken" } }) },
    { role = "z", parts = json.array({ { type = "text", content = "[1, 2" } }) } })
  return json.array({
    { id = "bare", status = 5, started_at = false, spans = "none" }, { id = "none" },
    trace("times", json.array({ samples.span("a", 7, 90, 5), samples.span("b", "x", 5, nil), { name = "c" }, 5, "d", {},
      samples.span("e", "open", 3), { started_at = "yesterday", ended_at = json.null, error = { code = 5 } } })),
    trace("ring", json.array({ samples.span("a", "a", 0, 1, { parent_span_id = "b" }),
      samples.span("b", "b", 0, 1, { parent_span_id = "a" }), samples.span("c", "c", 0, 1, { parent_span_id = "c" }),
      samples.span("c", "twice", 0, 1, { parent_span_id = "none" }) })),
    trace("messages", json.array({ samples.span("a", "chat m", 0, 9, {
      input = { messages = parts, more = json.array({}) },
      output = { messages = parts, usage = { total_tokens = "many" } } }),
      samples.span("b", "tool t", 0, 9, { input = "[[[", output = "{}", error = ("long "):rep(2000) }),
      samples.span("c", "end", 9, 9, { output = { findings = json.array({ 5, {}, { severity = 5, advice = {} } }),
        usage = { input_tokens = 5 } } }) })),
    { id = "skewed", status = "success", started_at = samples.at(5000), ended_at = samples.at(1000),
      spans = json.array({ samples.span("a", "later", 9000, 4000) }) },
    { id = "told", status = "error", started_at = samples.at(0), spans = json.array({}), tokens = "many", metadata = {
      error = { message = "told" }, findings = json.array({ 5, {}, { severity = 5, advice = {} } }), usage = 5 } },
  })
end

local NAMES = { "all", "none", "odd", "heads", "brief", "long", "wordy", "talk", "2000", "20000" }

local function write_pages(folder)
  local found = {
    all = all(), none = {}, odd = odd(), heads = heads(), brief = brief(), long = long(), wordy = wordy(),
    talk = talk(), ["2000"] = { samples.large(2000) }, ["20000"] = { samples.large(20000) },
  }
  for _, name in ipairs(NAMES) do
    local text = assert(page.render({ traces = found[name], prices = PRICES }))
    write(folder .. "/" .. name .. ".html", text)
  end
end

describe("the page", function()
  it("says as the docs do how to send a trace, where there is none yet", function()
    local hint = "nexus-assistants run your_script.lua"
    local docs = assert(io.open(servers.root .. "docs/view.md"))
    assert.truthy(docs:read("*a"):find("\n" .. hint .. "\n", 1, true))
    docs:close()
    assert.truthy(page.render({ live = true }):find("NEXUS_API_KEY=${key}\\n" .. hint .. "`", 1, true))
  end)

  it("lets nothing in the data be anything else", function()
    local text = assert(page.render({ traces = all() }))
    assert.is_nil(text:find(EVIL, 1, true))
    local _, ends = text:gsub("</script>", "")
    assert.equal(2, ends)
    local data = text:match('id="data">(.-)</script>')
    assert.equal(EVIL, json.decode(data).traces[2].spans[1].output)
  end)

  it("needs nobody, and lets nobody in", function()
    local text = assert(page.render({ traces = {} }))
    assert.truthy(text:find("default%-src 'none'; script%-src 'sha256%-[%w+/=]+'; style%-src 'sha256%-[%w+/=]+'"))
    assert.truthy(text:find("connect-src 'none'", 1, true))
    assert.is_nil(text:find("unsafe-", 1, true))
    assert.is_nil(text:find("{{%w+}}"))
    assert.is_nil(text:find("https?://"))
    assert.truthy(assert(page.render({ live = true })):find("connect-src 'self'", 1, true))
  end)
end)

describe("the page in a browser", function()
  local absent = lacking()
  if absent then
    it("works", function() pending(absent) end)
    return
  end

  local folder, server

  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
    write_pages(folder)
  end)

  teardown(function() os.execute("rm -r " .. folder) end)

  after_each(function()
    if server then server:stop() end
    server = nil
  end)

  -- How many assertions held, and all else that was said. A sanitizer is for Lua alone.
  local function perform(part, place)
    local command = "unset LD_PRELOAD; NXA_CHROMIUM=%s timeout 100 node --no-warnings %s %s --only %s 2>&1"
    local said = output_of(command:format(find_browser(), servers.quote(SCRIPT), place, part))
    local passed, rest = 0, {}
    for line in said:gmatch("[^\n]+") do
      if line:find("^ok ") then passed = passed + 1 else rest[#rest + 1] = line end
    end
    return passed, table.concat(rest, "\n")
  end

  local function check(part, count, place)
    local passed, failed = perform(part, place)
    assert.equal("", failed)
    assert.equal(count, passed)
  end

  for _, entry in ipairs(PARTS) do
    it(("%s as it should, in %d respects"):format(entry[1], entry[2]), function()
      check(entry[1], entry[2], folder)
    end)
  end

  it("follows what a server receives", function()
    server = servers.start({})
    check("live", 10, server.url)
  end)

  it("leaves whoever looks where they are while it follows", function()
    server = servers.start({})
    check("stays", 11, server.url)
  end)

  it("asks for the key that a server wants", function()
    server = servers.start({ api_key_environment = "NXA_SPEC_KEY", environment = { NXA_SPEC_KEY = "the-right-key" } })
    check("key", 4, server.url)
  end)
end)
