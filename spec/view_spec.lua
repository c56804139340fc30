local core = require("nexus_assistants.core")
local format = require("nexus_assistants.view.format")
local json = require("nexus_assistants.json")
local terminal = require("nexus_assistants.view.terminal")
local text = require("nexus_assistants.view.text")

local function at(milliseconds)
  return ("2024-01-01T00:00:%06.3fZ"):format(milliseconds / 1000)
end

local function span(id, from, to, changes)
  local result = {
    id = id, name = id, parent_span_id = json.null, status = "ok", started_at = at(from),
    ended_at = to and at(to) or json.null, input = json.null, output = json.null, error = json.null,
  }
  for name, value in pairs(changes or {}) do result[name] = value end
  return result
end

local function trace(spans, changes)
  local result = {
    id = "0b1e", agent_name = "bot", status = "success", started_at = at(0), ended_at = at(1000), duration_ms = 1000,
    span_count = #spans, metadata = json.null, spans = json.array(spans),
  }
  for name, value in pairs(changes or {}) do result[name] = value end
  return result
end

local function render(value, options)
  options = options or {}
  if options.unicode == nil then options.unicode = true end
  return assert(terminal.render(value, options))
end

local function lines_of(drawn)
  local lines = {}
  for line in drawn:gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
  return lines
end

local function names_of(drawn)
  local names = {}
  for index, line in ipairs(lines_of(drawn)) do
    if index > 1 then names[#names + 1] = (line:match("^(  .-) +▏") or line:match("^(  .-) +|") or line) end
  end
  return names
end

describe("the waterfall", function()
  it("says lengths of time in eight columns at most", function()
    local said = {}
    local minute, day = 60000, 86400000
    for _, length in ipairs({ 0, 0.004, 0.03, 0.4, 20.5, 999.6, 1500, 59960, 89000, 59.94 * minute, 59.96 * minute,
      1.99 * day, 2.5 * day, 400 * day, 2000 * day }) do
      said[#said + 1] = format.duration(length)
      assert(#said[#said] <= 8, said[#said])
    end
    assert.same({ "0.0 ms", "0.004 ms", "0.03 ms", "0.4 ms", "20 ms", "1.00 s", "1.50 s", "1.0 min", "1.5 min",
      "59.9 min", "1.0 h", "47.8 h", "2.5 days", "400 days", "years" }, said)
  end)

  it("shows a trace, row by row", function()
    local drawn = render(trace({
      span("thread.create", 0, 100),
      span("run", 100, 900, { output = { usage = { total_tokens = 57 } } }),
      span("tool get_weather", 500, 700, { parent_span_id = "run", status = "error", error = "no such city" }),
      span("thread.messages.list", 900, 1000),
    }, { metadata = { ["run.usage.total_tokens"] = 57 } }), { width = 80 })
    assert.equal(table.concat({
      "bot  success  1.00 s  57 tokens  0b1e",
      "  thread.create        ▏███                             100 ms  ok",
      "  run                  ▏   ███████████████████████▏     800 ms  ok     57 tokens",
      "    tool get_weather   ▏               █████▍           200 ms  error",
      "      no such city",
      "  thread.messages.list ▏                          ███   100 ms  ok",
      "",
    }, "\n"), drawn)
  end)

  it("draws in ASCII where there is nothing else", function()
    local drawn = render(trace({ span("naïve", 0, 500), span("b", 500, 1000) }), { unicode = false, width = 70 })
    assert.is_nil(drawn:find("[\128-\255]"))
    local lines = lines_of(drawn)
    assert.matches("^  na%?%?ve +|#+ +500 ms  ok$", lines[2])
    assert.matches("^  b +| +#+ +500 ms  ok$", lines[3])
  end)

  it("uses colour only where it is told to", function()
    local spans = { span("a", 0, 500), span("b", 0, 500, { status = "error", error = "oops" }) }
    assert.is_nil(render(trace(spans)):find("\27", 1, true))
    local lines = lines_of(render(trace(spans), { color = true }))
    assert.matches("\27[32msuccess\27[0m", lines[1], 1, true)
    assert.matches("\27[32mok\27[0m", lines[2], 1, true)
    assert.matches("\27[31merror\27[0m", lines[3], 1, true)
    assert.matches("\27[31moops\27[0m", lines[4], 1, true)
    local plain = render(trace(spans), { color = true }):gsub("\27%[%d+m", "")
    assert.equal(render(trace(spans)), (plain:gsub(" +\n", "\n")))
  end)

  it("orders siblings by their start, whatever order they came in", function()
    local drawn = render(trace({
      span("late", 700, 800), span("child 2", 300, 400, { parent_span_id = "early" }), span("early", 100, 600),
      span("child 1", 200, 300, { parent_span_id = "early" }), span("same", 100, 200),
      span("grandchild", 210, 220, { parent_span_id = "child 1" }),
    }))
    assert.same({ "  early", "    child 1", "      grandchild", "    child 2", "  same", "  late" }, names_of(drawn))
  end)

  it("shows orphans and rings at the left edge", function()
    local drawn = render(trace({
      span("orphan", 0, 1, { parent_span_id = "nobody" }), span("a", 1, 2, { parent_span_id = "b" }),
      span("b", 2, 3, { parent_span_id = "a" }), span("own", 3, 4, { parent_span_id = "own" }),
    }))
    assert.same({ "  orphan", "  own", "  a", "    b" }, names_of(drawn))
  end)

  it("lets open spans run to the end", function()
    local lines = lines_of(render(trace({ span("open", 500) }), { width = 80 }))
    assert.matches("█ +open  ok$", lines[2])
    lines = lines_of(render(trace({ span("a", 0, 400) }, { ended_at = json.null, status = "running" })))
    assert.matches("^bot  running  open  0b1e$", lines[1])
    assert.matches("▏" .. ("█"):rep(73) .. "   400 ms  ok", lines[2], 1, true)
  end)

  it("shows bars of no length, wherever they are", function()
    for _, unicode in ipairs({ true, false }) do
      for _, moment in ipairs({ 0, 1, 333, 999, 1000 }) do
        local line = lines_of(render(trace({ span("x", moment, moment) }), { unicode = unicode, width = 60 }))[2]
        assert(line:find(unicode and "[▌█▋▊▉]" or "#"), moment .. ": " .. line)
      end
    end
    assert.matches("▌", lines_of(render(trace({ span("x", 0, 0) }, { ended_at = at(0) })))[2])
  end)

  it("takes the whole width for what took less than a millisecond, too", function()
    local spans = { span("x", 0, 0, { ended_at = "2024-01-01T00:00:00.000200Z" }) }
    local line = lines_of(render(trace(spans, { ended_at = "2024-01-01T00:00:00.000400Z" }), { width = 80 }))[2]
    assert.matches("▏" .. ("█"):rep(26) .. "▋ +0.2 ms  ok$", line)
  end)

  it("keeps its columns, whatever the names and times are", function()
    local long = span(("a very long name "):rep(10), -5, 90000, { started_at = "2023-12-31T23:59:00Z" })
    local wide = span("日本語の名前", 0, 10)
    local drawn = render(trace({ long, wide, span("e\204\129", 0, 10), span("x", 10, 5) }), { width = 80 })
    local column
    for index, line in ipairs(lines_of(drawn)) do
      if index > 1 then
        assert.is_true(text.width(line) <= 80)
        local here = text.width(line:match("^(.-)▏"))
        column = column or here
        assert.equal(column, here)
      end
    end
    assert.matches("…", drawn, 1, true)
  end)

  it("finds tokens where they are kept", function()
    local function tokens(changes)
      return lines_of(render(trace({ span("x", 0, 1, changes) })))[2]:match("(%d+) token")
    end
    assert.equal("5", tokens({ output = { usage = { total_tokens = 5 } } }))
    assert.equal("6", tokens({ input = { type = "llm", metadata = { usage = { total_tokens = 6 } } } }))
    assert.equal("7", tokens({ input = { metadata = { ["run.usage"] = { total_tokens = 7 } } } }))
    assert.is_nil(tokens({ output = { usage = json.null } }))
    assert.is_nil(tokens({ output = { usage = { total_tokens = "many" } } }))
    assert.is_nil(tokens({ output = "usage" }))
  end)

  it("sums tokens once where the trace doesn't tell", function()
    local function used(count) return { usage = { total_tokens = count } } end
    local spans = {
      span("run", 0, 10, { output = used(30) }), span("step", 1, 2, { parent_span_id = "run", output = used(20) }),
      span("run 2", 20, 30, { output = used(1) }),
    }
    assert.matches("  31 tokens", lines_of(render(trace(spans)))[1])
    assert.matches("  33 tokens", lines_of(render(trace(spans, { metadata = { ["run.usage.total_tokens"] = 33 } })))[1])
    assert.is_nil(lines_of(render(trace({ span("x", 0, 1) })))[1]:find("token"))
    assert.matches("  1 token  ", lines_of(render(trace({ span("x", 0, 1, { output = used(1) }) })))[1])
  end)

  it("shows the trace's error", function()
    local lines = lines_of(render(trace({ span("x", 0, 1) }, { status = "error", metadata = { error = "it broke" } })))
    assert.equal("  it broke", lines[2])
    assert.equal("bot  error  1.00 s  0b1e", lines[1])
    lines = lines_of(render(trace({ span("x", 0, 1) }, { metadata = { error = { message = "it broke" } } })))
    assert.equal("  it broke", lines[2])
    assert.equal(2, #lines_of(render(trace({ span("x", 0, 1) }, { metadata = { error = { 5 } } }))))
  end)

  it("lets nothing in a trace act on the terminal", function()
    for _, rest in ipairs({ "é", "\255" }) do
      local nasty = "a\27[2J\27]0;title\7b\r\nc\127\194\155d\226\128\174e\0f" .. rest
      local drawn = render(trace({
        span(nasty, 0, 1, { error = nasty, status = nasty }),
      }, { agent_name = nasty, name = nasty, id = nasty, status = nasty, metadata = { error = nasty } }))
      assert.is_nil(drawn:find("[%z\1-\9\11-\31\127]"))
      assert.is_nil(drawn:find("\194[\128-\159]"))
      assert.is_nil(drawn:find("\226\128\174", 1, true))
      assert.is_nil(drawn:find("\255", 1, true))
      assert.equal(5, #lines_of(drawn)) -- the header, its id, the errors, the row
      assert.matches("a?[2J?]0;title?b c", drawn, 1, true)
    end
  end)

  it("survives traces that aren't what they should be", function()
    assert.same({ nil, "this is not a trace: it has no spans" }, { terminal.render({}) })
    assert.is_nil((terminal.render("x")))
    assert.is_nil((terminal.render({ spans = json.null })))
    local nonsense = { name = 7, started_at = {}, status = {}, error = { 1 }, parent_span_id = {} }
    local drawn = render({ spans = { 5, nonsense } })
    assert.same({ "  (no name)" }, names_of(drawn))
    assert.equal("unknown  open\n", render({ spans = {} }))
  end)

  it("takes a trace nested as deeply as it has spans", function()
    local spans = {}
    for index = 1, 3000 do
      spans[index] = span("s" .. index, index / 10, 400, { parent_span_id = "s" .. index - 1 })
    end
    local lines = lines_of(render(trace(spans), { width = 120 }))
    assert.equal(3001, #lines)
    assert.matches("^" .. ("  "):rep(21) .. "s3000 ", lines[3001])
  end)
end)

-- Columns counted without the code under test: what is known takes what is written here, and all else is ASCII.
local KNOWN = {
  [0] = { "\204\129", "्", "ี", "่" },
  [1] = {
    "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█", "…", "न", "ि", "ह", "द", "ी", "ก", "ำ", "ท", "é", "⚠", "→",
    "🇩", "🇪",
  },
  [2] = { "日", "本", "語", "✅", "❌", "⚡", "⏰", "☕", "🌮", "👩", "💻", "👍", "한", "글" },
}

local function columns(line)
  for width, characters in pairs(KNOWN) do
    for _, character in ipairs(characters) do line = line:gsub(character, ("x"):rep(width)) end
  end
  assert.is_nil(line:find("[\128-\255]"), line)
  return #line
end

describe("the waterfall's columns", function()
  local NAMES = {
    "plan", ("long name "):rep(12), "日本語", "✅ done", "❌⚡⏰☕", "🌮 taco", "👩\226\128\141💻 dev",
    "👍🏽 ok", "🇩🇪 flag", "नि हिन्दी", "กำ ที่", "e\204\129 é", "⚠\239\184\143 → warn", "한글",
    "soft\194\173hyphen\239\187\191",
  }
  local STATUSES = { "ok", "error", "timeout", "running", "something else", "✅✅✅✅✅" }

  local function spans_of(tokens)
    local spans = {}
    for index, name in ipairs(NAMES) do
      spans[index] = span("id" .. index, index * 10, 900, {
        name = name, status = STATUSES[index % #STATUSES + 1],
        error = index % 3 == 0 and ("boom "):rep(40) or json.null,
        parent_span_id = index > 5 and "id" .. index - 1 or json.null,
        output = tokens and { usage = { total_tokens = 10 ^ index } } or json.null,
      })
    end
    spans[#spans + 1] = span("ages", 0, 0, { started_at = "0001-01-01T00:00:00Z" })
    return spans
  end

  local function check(width, tokens)
    local axis
    for index, line in ipairs(lines_of(render(trace(spans_of(tokens)), { width = width }))) do
      local taken = columns(line)
      assert(index == 1 or taken <= width, width .. ": " .. taken .. ": " .. line)
      local before = line:match("^(.-)▏")
      if before and not line:find("boom", 1, true) then
        axis = axis or columns(before)
        assert(columns(before) == axis, width .. ": " .. line)
      end
    end
    assert.truthy(axis)
  end

  it("stand below each other and within the page, at any width", function()
    for _, width in ipairs({ 40, 41, 45, 50, 54, 55, 60, 72, 80, 100, 120, 200 }) do
      check(width, true)
      check(width, false)
    end
  end)

  it("keep a status from what stands behind it", function()
    local drawn = render(trace({
      span("a", 0, 10, { status = "timeout", output = { usage = { total_tokens = 42 } } }),
    }), { width = 80 })
    assert.matches("  timeout  42 tokens", drawn, 1, true)
  end)

  it("leave the tokens out where there is no room for them", function()
    local spans = { span("a", 0, 10, { output = { usage = { total_tokens = 123456 } } }) }
    assert.is_nil(lines_of(render(trace(spans), { width = 40 }))[2]:find("token"))
    assert.truthy(lines_of(render(trace(spans), { width = 60 }))[2]:find("123456 tokens"))
  end)

  it("have a head within the page, of as many lines as it takes", function()
    local names = { agent_name = ("agent "):rep(8), name = ("name "):rep(9), id = ("0b1e"):rep(16) }
    for _, width in ipairs({ 40, 60, 100, 300 }) do
      local lines = lines_of(render(trace({}, names), { width = width }))
      for _, line in ipairs(lines) do assert(columns(line) <= width, line) end
      assert.equal(width == 300 and 1 or width == 100 and 2 or 4, #lines)
    end
    assert.equal("bot  success  1.00 s  0b1e", lines_of(render(trace({}), { width = 40 }))[1])
  end)

  it("have a bar for what begins after the end", function()
    local spans = { span("early", 0, 10), span("late", 9000, 4000) }
    local lines = lines_of(render(trace(spans, { ended_at = at(1000) }), { width = 60 }))
    assert.truthy(lines[1]:find("  9.00 s  ", 1, true))
    assert.matches("^  early +▏▌ +10 ms", lines[2])
    assert.matches("^  late +▏ +█ +0%.0 ms", lines[3])
  end)

  it("show something of every name, however deep", function()
    local spans = {}
    for index = 1, 22 do
      spans[index] = span("s" .. index, index, 400, { parent_span_id = "s" .. index - 1, name = "name" .. index })
    end
    local lines = lines_of(render(trace(spans), { width = 40 }))
    for index = 1, 22 do assert.matches("name", lines[index + 1], 1, true) end
  end)

  it("are what the C library counts, too", function()
    local probe = io.popen("printf '日' | LC_ALL=C.UTF-8 wc -L 2>/dev/null")
    local works = tonumber(probe:read("*a")) == 2
    probe:close()
    if not works then return pending("no wc that measures columns here") end
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    for index, name in ipairs(NAMES) do
      local line = text.harmless(name)
      local file = assert(io.open(path, "w"))
      file:write(line)
      file:close()
      local pipe = io.popen("LC_ALL=C.UTF-8 wc -L <" .. path)
      assert.equal(tonumber(pipe:read("*a")), text.width(line), NAMES[index])
      pipe:close()
    end
  end)
end)

describe("what is said beside the waterfall", function()
  local samples = require("spec.support.traces")
  local PRICES = { ["gpt-4o"] = { input = 100, output = 100 }, ["gpt-4o-mini"] = { input = 0.15, output = 0.6 } }

  it("is what was found, and what to do about it", function()
    local lines = lines_of(render(samples.failed(), { width = 60, color = true }))
    local said = table.concat(lines, "\n"):gsub("\27%[%d+m", "")
    assert.truthy(said:find("\n  warning tool_failure_hidden: get_weather failed, and the\n  model was told", 1, true))
    assert.truthy(said:find("\n    Let the tool raise: its error then goes to the model as\n    its output", 1, true))
    assert.truthy(table.concat(lines, "\n"):find("\27[31merror quota: the API answered", 1, true))
    local odd = render(trace({ span("a", 0, 1) }, { metadata = { findings = json.array({ 5, {}, { id = {} } }) } }))
    assert.equal(4, #lines_of(odd))
  end)

  it("is the whole error of the trace", function()
    local said = render(samples.failed(), { width = 50 })
    local broken = "  the run failed: rate_limit_exceeded: You\n  exceeded your current quota, please check your\n"
    assert.truthy(said:find(broken, 1, true))
  end)

  it("is what tokens cost, where that is known", function()
    local lines = lines_of(render(samples.ordinary(), { width = 120, prices = PRICES }))
    assert.matches("  473 tokens  $0.000098  ", lines[1], 1, true)
    assert.matches("201 tokens  $0.000040$", lines[5])
    assert.is_nil(render(samples.ordinary(), { width = 120 }):find("$", 1, true))
    local unknown = render(samples.ordinary(), { width = 120, prices = { other = PRICES["gpt-4o"] } })
    assert.is_nil(unknown:find("$", 1, true))
  end)

  it("is the critical path", function()
    local drawn = render(samples.ordinary(), { width = 100, critical = true })
    for _, line in ipairs(lines_of(drawn)) do
      if line:find("^%*? +log") then assert.matches("^  ", line) end
      if line:find("http GET") then assert.matches("^%*     http", line) end
    end
    local colored = render(samples.ordinary(), { width = 100, color = true })
    assert.truthy(colored:find("    \27[1mchat gpt-4o-mini", 1, true))
    assert.truthy(colored:find("      log ", 1, true))
  end)
end)

describe("the critical path", function()
  local critical = require("nexus_assistants.view.critical")

  local function path(...)
    local rows = { ... }
    for index, row in ipairs(rows) do rows[index] = { name = row[1], depth = row[2], from = row[3], to = row[4] } end
    critical.mark(rows, 100)
    local names = {}
    for _, row in ipairs(rows) do names[#names + 1] = row.is_critical and row.name or nil end
    return table.concat(names, " ")
  end

  it("goes back from the end by what was waited for", function()
    assert.equal("a b", path({ "a", 0, 0, 50 }, { "short", 0, 0, 30 }, { "b", 0, 50, 100 }))
    assert.equal("a", path({ "a", 0, 0, 100 }, { "b", 0, 10, 90 }))
    assert.equal("a c d", path({ "a", 0, 0, 100 }, { "b", 1, 0, 20 }, { "c", 1, 0, 60 }, { "d", 1, 60, 100 }))
    assert.equal("open in", path({ "open", 0, 0, nil }, { "in", 1, 5, nil }))
    assert.equal("a", path({ "a", 0, 0, 50 }, { "late", 1, 40, 90 }, { "none", 1, 10, 10 }))
    assert.equal("", path())
  end)
end)

describe("prices", function()
  local usage = require("nexus_assistants.view.usage")

  it("are by model, for whichever the longest name is that it begins with", function()
    local prices = { ["gpt-4o"] = { input = 2, output = 4 }, ["gpt-4o-mini"] = { input = 1, output = 1 } }
    local tokens = { total = 3000000, input = 1000000, output = 2000000 }
    assert.equal(10, usage.cost(tokens, "gpt-4o-2024-08-06", prices))
    assert.equal(3, usage.cost(tokens, "gpt-4o-mini-2024", prices))
    assert.is_nil(usage.cost(tokens, "o1", prices))
    assert.is_nil(usage.cost({ total = 5 }, "gpt-4o", prices))
    assert.is_nil(usage.cost(tokens, "gpt-4o", nil))
  end)

  it("are looked at", function()
    assert.is_nil(usage.fault({ m = { input = 0, output = 1.5 } }))
    assert.equal("prices are a table by model", usage.fault(5))
    for _, price in ipairs({ {}, { input = 1 }, { input = -1, output = 1 }, { input = "1", output = 1 } }) do
      assert.equal("the price of 'm' is not { input, output }, per million tokens", usage.fault({ m = price }))
    end
  end)
end)

describe("the list of traces", function()
  local list = require("nexus_assistants.view.list")
  local samples = require("spec.support.traces")

  local function all(count)
    return { samples.empty(), samples.failed(), samples.ordinary(), samples.large(count or 20) }
  end

  it("has a line each", function()
    assert.equal(table.concat({
      "started           status   agent        name                 duration  tokens  spans  id",
      "2026-01-01 00:02  running  reporter     nightly                  open              0  e0000000",
      "2026-01-01 00:01  error    weather-bot  weather                2.45 s     210      5  7c9d20b3",
      "2026-01-01 00:00  success  weather-bot  weather                2.84 s     473      9  0b1e4c52",
      "2026-01-01 00:00  success  importer     import of 2000 rows    40.2 s   28600   2000  1a000000",
      "",
    }, "\n"), list.render(all(2000), { width = 100 }))
  end)

  it("keeps to the window", function()
    for width = 40, 140 do
      for _, unicode in ipairs({ true, false }) do
        for _, line in ipairs(lines_of(list.render(all(), { width = width, unicode = unicode }))) do
          assert(text.width(line) <= width, width .. ": " .. line)
          assert(unicode or not line:find("[\128-\255]"))
        end
      end
    end
    assert.truthy(list.render(all(), { width = 160 }):find("0b1e4c52a9f04d0f8d6f0c2a3e5b7d11", 1, true))
  end)

  it("keeps to it, and to whole characters, whatever statuses and ids are", function()
    local odd = { { id = "x" .. ("ä"):rep(40), status = ("s"):rep(300), name = ("n"):rep(90), started_at = "x" } }
    for width = 40, 140 do
      local drawn = list.render(odd, { width = width, unicode = true })
      assert.truthy(core.utf8_valid(drawn))
      for _, line in ipairs(lines_of(drawn)) do assert(text.width(line) <= width, width .. ": " .. line) end
    end
  end)

  it("says the time alone of today", function()
    local drawn = list.render(all(), { width = 100, today = "2026-01-01" })
    assert.truthy(drawn:find("\n00:01:00  error", 1, true))
  end)

  it("takes traces that aren't what they should be", function()
    local drawn = list.render({ { id = "x" }, { id = "\27[2J", status = {}, name = 5, started_at = "x", spans = 5 } },
      { width = 80, color = true })
    assert.is_nil(drawn:find("\27[2J", 1, true))
    assert.equal(3, #lines_of(drawn))
  end)
end)

describe("text for a terminal", function()
  it("is measured in columns", function()
    assert.same({ 3, 4, 1, 2 }, { text.width("abc"), text.width("日本"), text.width("e\204\129"), text.width("🌮") })
  end)

  it("has nothing in it that can't be seen", function()
    assert.equal("ab", text.harmless("a\226\128\139b"))
    assert.equal("👩💻👍", text.harmless("👩\226\128\141💻👍🏽"))
    assert.equal("xyz", text.harmless("x\194\173y\239\187\191z\243\160\129\129\239\184\143"))
  end)

  it("is broken at spaces", function()
    assert.same({ "a bb", "ccc", "ddd…" }, text.wrap("a bb  ccc dddddd", 4, "…"))
    assert.same({ "日本", "語" }, text.wrap("日本 語", 4, "…"))
    assert.same({}, text.wrap("", 4, "…"))
    assert.same({ "a bb", "dddd", "ddd", "eeee", "f" }, text.wrap("a bb ddddddd eeee f", 4))
    assert.same({ "dddd", "d e" }, text.wrap("ddddd e", 4))
    assert.same({ "日本", "語ab" }, text.wrap("日本語ab", 5))
    assert.same({ "日", "本" }, text.wrap("日本", 1))
    assert.same({ "a/bcdefg", "hij" }, text.wrap("a/bcdefghij", 8))
    assert.same({ "/var/lib/", "spool" }, text.wrap("/var/lib/spool", 12))
  end)

  it("is fitted to a width", function()
    assert.equal("ab  ", text.fit("ab", 4, "…"))
    assert.equal("abc…", text.fit("abcde", 4, "…"))
    assert.equal("日… ", text.fit("日本語", 4, "…"))
    assert.equal("a...", text.fit("abcde", 4, "..."))
    assert.equal("ab", text.cut("ab", 4, "…"))
    assert.equal("日…", text.cut("日本語", 4, "…"))
  end)
end)
