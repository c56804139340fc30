-- Traces in a file: what scripts give for it, and what becomes of a script where it can't be written.
local json = require("nexus_assistants.json")
local servers = require("spec.support.server")

local HEAD = [[
  local nexus = require("nexus_assistants")
  local client = assert(nexus.new({ agent_id = "bot", provider = "script", script = function() return "warm" end,
    nexus = false, file = { path = %q, max_bytes = %d } }))
  for number = 1, %d do
    client:trace({ name = "trace " .. number, input = "said" }, function(trace)
      trace:span("own", function(span) span:set("number", number) end)
      local run = assert(client.threads:create_and_run_poll({ thread = { messages = { { role = "user",
        content = "Hi" } } } }))
      return run:text()
    end)
  end
]]
local CLOSE = 'print("closed", client:close(2))'
local MEBIBYTE = 2 ^ 20

local function read_lines(path)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = assert(json.decode(line)) end
  return lines
end

local function spans_of(lines)
  local spans = {}
  for _, line in ipairs(lines) do
    for _, span in ipairs(line.resourceSpans[1].scopeSpans[1].spans) do spans[#spans + 1] = span end
  end
  return spans
end

describe("a file of traces", function()
  local folder, path

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. servers.quote(folder))
    path = folder .. "/traces.jsonl"
  end)

  after_each(function() os.execute("rm -rf " .. servers.quote(folder)) end)

  local function script(text)
    local name = folder .. "/script.lua"
    local file = assert(io.open(name, "w"))
    file:write(text)
    file:close()
    return servers.command({ name })
  end

  local function run(count, ending, prefix, max_bytes)
    local job = script(HEAD:format(path, max_bytes or MEBIBYTE, count) .. ending)
    local pipe = assert(io.popen("(" .. (prefix or "") .. job .. ") 2>&1; echo \"exit $?\"", "r"))
    local said = pipe:read("*a")
    pipe:close()
    return said
  end

  it("has a line for each trace that ended, with all of its spans", function()
    assert.equal("closed\ttrue\nexit 0\n", run(3, CLOSE))
    local lines = read_lines(path)
    local spans = spans_of(lines)
    local names = {}
    for _, span in ipairs(spans) do names[span.name] = (names[span.name] or 0) + 1 end
    assert.equal(1, names["invoke_workflow trace 1"])
    assert.equal(3, names.own)
    assert.equal(3, names.invoke_agent)
    local pipe = assert(io.popen("stat -c %a " .. servers.quote(path) .. " 2>/dev/null"))
    local mode = pipe:read("*l")
    pipe:close()
    if mode then assert.equal("600", mode) end
  end)

  it("is written by a script that doesn't close its client", function()
    assert.equal("exit 0\n", run(2, ""))
    assert.is_true(#spans_of(read_lines(path)) >= 6)
  end)

  it("is shared by processes, line by line", function()
    local job = script(HEAD:format(path, MEBIBYTE, 20) .. CLOSE)
    local jobs = {}
    for index = 1, 4 do jobs[index] = "(" .. job .. ") >/dev/null & " end
    os.execute(table.concat(jobs) .. "wait")
    local roots = 0
    for _, span in ipairs(spans_of(read_lines(path))) do
      if span.name:find("^invoke_workflow") then roots = roots + 1 end
    end
    assert.equal(80, roots)
  end)

  it("gives way to another when it is full", function()
    assert.equal("closed\ttrue\nexit 0\n", run(6, CLOSE, nil, 3000))
    assert.is_true(#spans_of(read_lines(path)) > 0)
    assert.is_true(#spans_of(read_lines(path .. ".1")) > 0)
  end)

  it("that can't be written costs one warning, and changes nothing else", function()
    os.execute("mkdir " .. servers.quote(path))
    local said = run(5, CLOSE)
    local _, warnings = said:gsub("warning:", "")
    assert.equal(1, warnings, said)
    assert.truthy(said:find("traces can't be written to '" .. path, 1, true), said)
    assert.truthy(said:find("closed\tfalse\nexit 0\n$"), said)
  end)

  it("isn't written through a link, and is told to be one", function()
    os.execute("ln -s other " .. servers.quote(path))
    local said = run(1, CLOSE)
    assert.truthy(said:find(path .. "': it is a symbolic link, and links aren't followed;", 1, true), said)
    assert.is_nil(io.open(folder .. "/other"))
  end)

  it("respects the limit that a process has for its files", function()
    local said = run(200, CLOSE, "ulimit -f 8; ")
    assert.truthy(said:find("File too large", 1, true), said)
    assert.truthy(said:find("closed\tfalse\nexit 0\n$"), said)
    for _, span in ipairs(spans_of(read_lines(path))) do assert.equal(16, #span.spanId) end
  end)

  it("may be given as a path alone, and is checked", function()
    local nexus = require("nexus_assistants")
    local client = assert(nexus.new({ provider = "script", nexus = false, file = path }))
    client:trace({ name = "x" }, function() end)
    assert.is_true(client:close(1))
    assert.equal(1, #spans_of(read_lines(path)))
    assert.has_error(function() nexus.new({ file = {} }) end, "nexus.new: option 'file.path' is required")
    assert.has_error(function() nexus.new({ file = 1 }) end,
      "nexus.new: option 'file' must be a string, or a table, or false, got a number")
    assert.has_error(function() nexus.new({ file = { path = path, max_bytes = 0 } }) end,
      "nexus.new: option 'file.max_bytes' must be a whole number from 1 to 68719476736, got 0")
  end)
end)
