local core = require("nexus_assistants.core")
local in_time = require("spec.support.in_time")
local json = require("nexus_assistants.json")
local outputs = require("nexus_assistants.cli.outputs")
local process = require("spec.support.process")
local progress = require("nexus_assistants.cli.progress")
local servers = require("spec.support.server")

local COMMAND = process.path("bin/nexus-assistants")
local HEAD = 'local nexus = require("nexus_assistants")\nlocal client = assert(nexus.new({}))\n'

local written = {}

local function write_script(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  written[#written + 1] = path
  return path
end

local function remove_scripts()
  for _, path in ipairs(written) do os.remove(path) end
  written = {}
end

describe("the command run", function()
  local server, environment

  setup(function()
    server = servers.start({ kind = "fault", model_script = "spec/support/told_model.lua" })
    environment = { OPENAI_BASE_URL = server.openai_url, OPENAI_API_KEY = "sk-spec", ASSISTANT_ID = "asst_local",
      NEXUS_BASE_URL = server.nexus_url, NEXUS_API_KEY = "nxs_spec", NEXUS_ASSISTANTS_SPOOL = "off" }
  end)

  teardown(function() server:stop() end)

  local seen

  before_each(function()
    server:clear_faults()
    seen = #server:traces()
  end)

  after_each(remove_scripts)

  local function run(text, ...)
    local path = write_script(text)
    return process.run({ COMMAND, "run", path, ... }, environment), path
  end

  -- The traces that came since the case began, the oldest first.
  local function new_traces()
    local all, found = server:restored_traces(), {}
    for index = #all - seen, 1, -1 do found[#found + 1] = all[index] end
    return found
  end

  -- What the latest trace is called, which Nexus tells nobody.
  local function name_sent()
    local requests = server:requests()
    for index = #requests, 1, -1 do
      local request = requests[index]
      if request.method == "POST" and request.path == "/api/v1/traces" then return json.decode(request.body).name end
    end
  end

  local function names_of(trace)
    local names = {}
    for index, span in ipairs(trace.spans) do names[index] = span.name end
    table.sort(names)
    return names
  end

  local function name_of(path)
    return path:match("[^/]+$")
  end

  it("traces what a script does that has no code for it, and delivers it", function()
    local result, path = run(HEAD .. [[
      local thread = assert(client.threads:create())
      assert(client.threads.messages:create(thread.id, { role = "user", content = "hello" }))
      print(assert(client.threads.runs:create_and_poll(thread.id)):text())
    ]], "one", "two words")
    assert.same({ code = 0, out = "You said: hello\n", err = "" }, result)
    local traces = new_traces()
    assert.equal(1, #traces)
    assert.equal("success", traces[1].status)
    assert.equal(name_of(path), name_sent())
    assert.same({ "one", "two words" }, traces[1].metadata.input)
    assert.same({ "step.message_creation", "thread.create", "thread.messages.create", "thread.messages.list",
      "threads.runs.createAndPoll" }, names_of(traces[1]))
  end)

  it("sends nothing of a client that does nothing, nor of calls that aren't to be traced", function()
    local result = run(HEAD .. "assert(client.threads:create(nil, { trace = false }))")
    assert.same({ 0, "" }, { result.code, result.err })
    assert.same({}, new_traces())
  end)

  it("gives each client a trace of its own", function()
    run([[
      local nexus = require("nexus_assistants")
      for _, name in ipairs({ "one", "two" }) do
        assert(assert(nexus.new({ agent_id = name })).threads:create())
      end
    ]])
    local agents = {}
    for _, trace in ipairs(new_traces()) do agents[#agents + 1] = trace.agent_name end
    table.sort(agents)
    assert.same({ "one", "two" }, agents)
  end)

  it("traces in tasks, too", function()
    run(HEAD .. "client:task(function() assert(client.threads:create()) end):wait()")
    assert.same({ "thread.create" }, names_of(new_traces()[1]))
  end)

  it("leaves the traces that a script makes itself as they are", function()
    run(HEAD .. [[
      client:trace({ name = "own" }, function() return client.threads:create() end)
      assert(client.threads:create())
    ]])
    local traces = new_traces()
    assert.equal(2, #traces)
    for _, trace in ipairs(traces) do assert.same({ "thread.create" }, names_of(trace)) end
  end)

  it("has nothing twice that a script traces by hand", function()
    run(HEAD .. [[
      local trace = client.nexus:start_trace({ name = "by hand" })
      local span = client.nexus:start_span(trace.id, { name = "mine" })
      assert(client.threads:create())
      client.nexus:end_span(span.id, {})
      client.nexus:end_trace(trace.id, {})
    ]])
    local traces = new_traces()
    assert.equal(1, #traces)
    assert.same({ "mine" }, names_of(traces[1]))
  end)

  it("sets arg as the interpreter does, and passes the arguments on, whatever they look like", function()
    local script = 'io.write(arg[0], " ", arg[-1], " ", #arg, " ", table.concat({ ... }, ","))'
    local result, path = run(script, "--quiet", "-h", "--", "--help")
    local plain = process.run({ path, "--quiet", "-h", "--", "--help" }, environment)
    assert.equal(plain.out, result.out)
    assert.matches(" 4 %-%-quiet,%-h,%-%-,%-%-help$", result.out)
    for _, words in ipairs({ { "--quiet" }, { "--" }, { "--quiet", "--" } }) do
      local command = { COMMAND, "run" }
      for _, word in ipairs(words) do command[#command + 1] = word end
      command[#command + 1], command[#command + 2] = path, "x"
      local at = process.run(command, environment)
      assert.same({ process.run({ path, "x" }, environment).out, "" }, { at.out, at.err })
    end
  end)

  it("reads a script from its standard input", function()
    local pipe = io.popen("echo 'print(arg[0], ...)' | ( " .. process.command({ COMMAND, "run", "-", "x" }) .. " )")
    assert.equal("-\tx\n", pipe:read("*a"))
    pipe:close()
  end)

  it("ends as os.exit says, after delivering", function()
    for code, shown in pairs({ [3] = "3", [0] = "", [1] = "false" }) do
      seen = #server:traces()
      local result = run(HEAD .. "assert(client.threads:create())\nos.exit(" .. shown .. ")\nprint('not here')")
      assert.same({ code = code, out = "", err = "" }, result)
      local trace = new_traces()[1]
      assert.equal(code == 0 and "success" or "error", trace.status)
      if code ~= 0 then assert.equal("the script ended with exit code " .. code, trace.metadata.error) end
    end
  end)

  it("ends in success where the system is told nothing else of the exit code", function()
    local result = run(HEAD .. "assert(client.threads:create())\nos.exit(256)")
    assert.same({ 0, "success" }, { result.code, new_traces()[1].status })
  end)

  it("has what the script failed with, whatever that is, closed or not", function()
    for raised, told in pairs({ ["'boom', 0"] = "boom", [""] = "(error object is a nil value)",
      ["{ message = 'own', code = 42 }"] = "own (code 42)", ["false"] = "false",
      ["{}"] = "(error object is a table value)" }) do
      for _, close in ipairs({ "", " local closed <close> = client" }) do
        seen = #server:traces()
        local result = run(HEAD .. close .. " assert(client.threads:create()) error(" .. raised .. ")")
        local trace = new_traces()[1]
        assert.same({ 1, "error", told }, { result.code, trace.status, trace.metadata.error }, raised .. close)
        local shown = raised == "false" and "(error object is a boolean value)" or told
        assert.equal("nexus-assistants: " .. shown, result.err:match("^[^\n]*"))
        assert.matches("^[^\n]*\nstack traceback:\n\t%[C%]: in function 'error'\n", result.err)
      end
    end
  end)

  it("tells all of a message, and nothing of the library below the script", function()
    local told = run([[
      local _, inner = xpcall(function() return (function() error("inner") end)() end, debug.traceback)
      error(inner .. "\nIMPORTANT", 0)
    ]]).err
    assert.matches("IMPORTANT\nstack traceback:\n[^\n]*'error'\n[^\n]* in main chunk\n\t%[C%]: in %?\n$", told)
    told = run([[
      local first <close> = setmetatable({}, { __close = function() error("second", 0) end })
      error("first")
    ]]).err
    assert.matches("^nexus%-assistants: second\nstack traceback:\n", told)
    assert.matches("\n\t%[C%]: in %?\n$", told)
    assert.is_nil(told:find("cli/run.lua", 1, true), told)
    assert.matches("^nexus%-assistants: %-?nan\nstack traceback:\n", run("error(0 / 0)").err)
  end)

  it("delivers also where os.exit is called in a task", function()
    local result = run(HEAD .. "client:task(function() client.threads:create() os.exit(4) end):wait()")
    assert.same({ code = 4, out = "", err = "" }, result)
    assert.same({ "thread.create" }, names_of(new_traces()[1]))
  end)

  it("ends with 1 and a traceback where the script raises, after delivering", function()
    local result, path = run(HEAD .. "assert(client.threads:create())\nerror('boom \\27[2J')")
    assert.same({ 1, "" }, { result.code, result.out })
    assert.equal("nexus-assistants: " .. path .. ":4: boom ?[2J\nstack traceback:\n\t[C]: in function 'error'\n\t"
      .. path .. ":4: in main chunk\n\t[C]: in ?\n", result.err)
    local trace = new_traces()[1]
    assert.equal("error", trace.status)
    assert.matches(":4: boom", trace.metadata.error)
  end)

  it("says so whatever the script has done away with", function()
    for _, gone in ipairs({ "io.stderr", "io", "os", "debug", "getmetatable" }) do
      local result = run(gone .. " = nil error('boom', 0)")
      assert.equal(1, result.code)
      assert.matches(gone == "getmetatable" and "^nexus%-assistants: [^\n]+\n$"
        or "^nexus%-assistants: boom\nstack traceback:\n", result.err)
    end
    assert.same({ code = 0, out = "", err = "" }, (run("os = nil")))
    assert.matches("^nexus%-assistants: 42\nstack", run("error(42)").err)
  end)

  it("says what an error object says", function()
    local result = run(HEAD .. "assert(client.threads:retrieve('thread_none'))")
    assert.equal(1, result.code)
    assert.matches("^nexus%-assistants: not_found: [^\n]*\n$", result.err)
    assert.matches("error object is a table value", run("error({})").err)
    assert.matches("error object is a nil value", run("error(nil)").err)
  end)

  it("has a client that its block closes end with what ended the block", function()
    if _VERSION < "Lua 5.4" then return pending("to-be-closed variables are absent") end
    run('local client <close> = require("nexus_assistants").new({})\nassert(client.threads:create())\nerror("boom")')
    assert.equal("error", new_traces()[1].status)
  end)

  it("ends with 130 where it is interrupted, after delivering", function()
    local result = run(HEAD .. [[
      assert(client.threads:create())
      io.popen("kill -INT $PPID"):close()
      client:sleep(60)
    ]])
    assert.same({ code = 130, out = "", err = "nexus-assistants: interrupted\n" }, result)
    assert.equal("error", new_traces()[1].status)
  end)

  it("cancels the run it is waiting for where it is interrupted", function()
    for _, wait in ipairs({ "assert(client.threads.runs:create_and_poll(thread.id, { tools = { tool } }))",
      "for _ in client.threads.runs:stream(thread.id, { tools = { tool } }):events() do end" }) do
      server:clear_requests()
      local result = run(HEAD .. [[
        local tool = nexus.tool({ name = "get_weather", call = function()
          io.popen("kill -INT $PPID"):close()
          client:sleep(60)
        end })
        local thread, question = assert(client.threads:create()), '[{"tool_calls":[{"name":"get_weather"}]}]'
        assert(client.threads.messages:create(thread.id, { role = "user", content = question }))
      ]] .. wait)
      assert.same({ code = 130, out = "", err = "nexus-assistants: interrupted\n" }, result)
      local cancels = 0
      for _, request in ipairs(server:requests()) do
        if request.path:find("/cancel$") then cancels = cancels + 1 end
      end
      assert.equal(1, cancels, wait)
      local metadata = new_traces()[1].metadata
      assert.is_nil(metadata.findings, json.encode(metadata.findings))
    end
  end)

  it("ends in its time where the run can't be cancelled", function()
    server:faults({ { path = "/v1/threads", method = "POST", skip = 3, action = "hang" } })
    local result = run(HEAD .. [[
      local tool = nexus.tool({ name = "get_weather", call = function()
        io.popen("kill -TERM $PPID"):close()
        client:sleep(60)
      end })
      local thread, question = assert(client.threads:create()), '[{"tool_calls":[{"name":"get_weather"}]}]'
      assert(client.threads.messages:create(thread.id, { role = "user", content = question }))
      assert(client.threads.runs:create_and_poll(thread.id, { tools = { tool } }))
    ]])
    assert.same({ code = 143, out = "", err = "nexus-assistants: interrupted\n" }, result)
    assert.equal("error", new_traces()[1].status)
  end)

  local LATER = 'io.popen("(sleep %g; kill -%s $PPID) >/dev/null &"):close()\n'

  -- What becomes of a script that is sent signals, { name, seconds, … }, and how long after it began to wait for them.
  local function signal(text, ...)
    if not server:faults()[1] then seen = #server:traces() end -- else it might not answer
    local begun_at = write_script("")
    local sent = { ('io.open(%q, "w"):write(require("nexus_assistants.core").monotonic()):close()\n'):format(begun_at) }
    for index = 1, select("#", ...), 2 do
      local name, seconds = select(index, ...)
      sent[#sent + 1] = LATER:format(seconds, name)
    end
    local result = run(HEAD .. "assert(client.threads:create())\n" .. table.concat(sent) .. text)
    local ended, file = core.monotonic(), assert(io.open(begun_at))
    local began = file:read("*n")
    file:close()
    return result, ended - began
  end

  -- The same of the first try of several that is within so many seconds.
  local function signal_within(limit, ...)
    local words, result = { ... }
    local function seconds()
      local taken
      result, taken = signal((unpack or table.unpack)(words)) -- luacheck: ignore 113 143
      return taken
    end
    local taken = in_time.least(limit, seconds(), seconds)
    assert.is_true(taken < limit, taken)
    return result, taken
  end

  it("ends with 143 where it is terminated, while it waits or computes, after delivering", function()
    for _, text in ipairs({ "client:sleep(60)", "while true do end",
      "client:task(function() client:sleep(60) end):wait()",
      "client:trace({ name = 'own' }, function() client:sleep(60) end)",
      "coroutine.wrap(function() client:sleep(60) end)()",
      "client:task(function() coroutine.wrap(function() client:sleep(60) end)() end):wait() while true do end",
      "for _ in io.popen('sleep 1'):lines() do end" }) do
      local result = signal_within(2, text, "TERM", 0.2)
      assert.same({ code = 143, out = "", err = "nexus-assistants: interrupted\n" }, result)
      local traces = new_traces()
      assert.equal(text:find("own", 1, true) and 2 or 1, #traces)
      for _, trace in ipairs(traces) do
        assert.equal("error", trace.status)
        assert.equal("interrupted!", trace.metadata.error)
      end
    end
  end)

  it("is interrupted within what the library tries and may fail at", function()
    server:faults({ { path = "/v1/threads", method = "GET", action = "pass", delay = 0.6, times = 100 } })
    local result = run(HEAD .. [[
      local thread = assert(client.threads:create())
      assert(client.threads.messages:create(thread.id, { role = "user", content = "hello" }))
      client.threads.runs:create_and_poll(thread.id, {}, { on_status = function(run)
        if run.status ~= "completed" then return end
        ]] .. LATER:format(0.2, "INT") .. [[
      end })
      print("not here")
    ]])
    assert.same({ code = 130, out = "", err = "nexus-assistants: interrupted\n" }, result)
    assert.equal("error", new_traces()[1].status)
    server:clear_faults()
  end)

  it("is interrupted in the script, and not in what the library computes for it", function()
    local result = run([[
      local client = assert(require("nexus_assistants").new({ provider = "script", nexus = false }))
      local many, err = {}
      for index = 1, 100000 do many[index] = {} end -- it takes a while to copy, and is refused then
    ]] .. LATER:format(0.4, "INT") .. [[
      repeat _, err = client.threads:create({ messages = many }) until tostring(err):find("interrupted!", 1, true)
      print(err)
    ]])
    assert.same({ code = 130, out = "", err = "nexus-assistants: interrupted\n" }, result)
  end)

  it("is interrupted once, so that what cleans up has its time", function()
    local result = signal([[
      local ok, problem = pcall(client.trace, client, { name = "own" }, function() client:sleep(60) end)
      client:sleep(0.2)
      print(ok, problem)
    ]], "INT", 0.2)
    assert.same({ code = 0, out = "false\tinterrupted!\n", err = "" }, result)
  end)

  it("ends a server that the script runs", function()
    local result = signal_within(2, "require('nexus_assistants.serve').run({ port = 0, quiet = true, openai = {} }) "
      .. "print('not here')", "TERM", 0.4)
    assert.equal(143, result.code)
    assert.equal("nexus-assistants: interrupted\n", result.err)
    assert.is_nil(result.out:find("not here", 1, true))
  end)

  it("doesn't wait longer for a script that goes on, or doesn't notice", function()
    for _, text in ipairs({ "while true do pcall(client.sleep, client, 60) end",
      "coroutine.wrap(function() while true do end end)()", "os.execute('sleep 20')" }) do
      local result, seconds = signal_within(4, text, "TERM", 0.2)
      assert.equal(143, result.code)
      assert.is_true(seconds > 2, seconds)
    end
  end)

  it("delivers for two seconds once it is terminated, and not at all after a second signal", function()
    server:faults({ { path = "/api", action = "hang" } })
    local result, seconds = signal_within(4, "client:sleep(60)", "TERM", 0.2)
    assert.equal(143, result.code)
    assert.is_true(seconds > 2, seconds)
    for _, second in ipairs({ "TERM", "INT" }) do
      result = signal_within(1.9, "client:sleep(60)", "TERM", 0.2, second, 0.7)
      assert.equal(second == "INT" and 130 or 143, result.code)
    end
  end)

  it("leaves what it can't deliver in the spool, where it is ended at once", function()
    local spool = os.tmpname()
    os.remove(spool)
    finally(function() os.execute("rm -rf " .. spool) end)
    environment.NEXUS_ASSISTANTS_SPOOL = spool
    server:faults({ { path = "/api", action = "hang", times = 100 } })
    local result = signal("client:sleep(60)", "TERM", 0.2, "TERM", 0.5)
    environment.NEXUS_ASSISTANTS_SPOOL = "off"
    assert.equal(143, result.code)
    local files = io.popen("cat " .. spool .. "/*/*")
    assert.matches("thread.create", files:read("*a"), 1, true)
    files:close()
  end)

  it("lets a script that has ended deliver all the same", function()
    server:faults({ { path = "/api", action = "pass", delay = 0.6 } })
    assert.same({ code = 0, out = "", err = "" }, signal_within(3, "", "TERM", 0.3))
    server:clear_faults()
    assert.equal("success", new_traces()[1].status)
  end)

  it("doesn't wait for a Nexus that doesn't answer", function()
    server:faults({ { path = "/api", action = "hang" } })
    assert.equal(0, signal_within(4, "").code)
  end)

  it("says what can't be run", function()
    local result = process.run({ COMMAND, "run", "/nowhere/x.lua" })
    assert.equal(1, result.code)
    assert.matches("^nexus%-assistants: cannot open /nowhere/x.lua", result.err)
    result = run("x =")
    assert.equal(1, result.code)
    assert.matches("unexpected symbol near <eof>", result.err, 1, true)
    assert.same({ code = 2, out = "", err = "nexus-assistants: run needs SCRIPT; try: nexus-assistants run --help\n" },
      process.run({ COMMAND, "run" }))
    assert.equal(2, process.run({ COMMAND, "run", "--loud", "x.lua" }).code)
  end)

  -- What a terminal gets to see; nil where there can be none.
  local function on_terminal(words)
    local probe = io.popen("script -qec 'echo works' /dev/null </dev/null 2>/dev/null")
    local works = probe:read("*a"):find("works", 1, true)
    probe:close()
    if not works then return nil end
    local line = "stty cols 60\nexport TERM=xterm; " .. process.command(words, environment) .. "\n"
    local pipe = io.popen("script -qec 'sh " .. write_script(line) .. "' /dev/null </dev/null")
    local out = pipe:read("*a")
    pipe:close()
    return out
  end

  it("says on a terminal what it waits for, and takes that away again", function()
    local path = write_script(HEAD .. 'client:sleep(0.01)\nassert(client.threads:create())\nprint("said")')
    local out = on_terminal({ COMMAND, "run", path })
    if not out then return pending("util-linux's script, or a terminal for it, isn't here") end
    assert.matches("\r" .. name_of(path) .. "  waiting  ", out, 1, true)
    assert.matches("\r" .. name_of(path) .. "  threads.create  ", out, 1, true)
    assert.equal("\r\27[Ksaid\r\n", out:match("\r\27%[Ksaid.*"))
    assert.is_nil(on_terminal({ COMMAND, "run", "--quiet", path }):find("\27", 1, true))
  end)
end)

describe("the line of a script's progress", function()
  local now, drawn, line

  before_each(function()
    now, drawn = 0, {}
    line = progress.new({ name = "x.lua", width = 40, ellipsis = "...", clock = function() return now end,
      write = function(text) drawn[#drawn + 1] = text end })
  end)

  local function last()
    return (drawn[#drawn]:gsub("\r", "<"):gsub("\27%[K", ">"))
  end

  it("tells the operation, the run and its tokens, and the time", function()
    now = 1.5
    assert.equal(0.25, line:waits())
    assert.equal("<x.lua  waiting  1.50 s>", last())
    line:began({ name = "threads.create" })
    line:waits()
    assert.equal("<x.lua  threads.create  1.50 s>", last())
    line:saw({ id = "run_1", status = "in_progress" })
    line:waits()
    assert.equal("<x.lua  run in_progress  1.50 s>", last())
    for _ = 1, 2 do line:saw({ id = "run_1", status = "completed", usage = { total_tokens = 7 } }) end
    line:saw({ id = "run_2", status = "que\27ued", usage = { total_tokens = 5 } })
    line:ended()
    line:waits()
    assert.equal("<x.lua  waiting  1.50 s  12 tokens>", last())
  end)

  it("tells which tools a run waits for", function()
    local function saw(...)
      local calls = {}
      for index, name in ipairs({ ... }) do calls[index] = { ["function"] = { name = name } } end
      line:saw({ id = "run_1", status = "requires_action",
        required_action = { submit_tool_outputs = { tool_calls = calls } } })
      line:waits()
    end
    saw("get_\27weather")
    assert.equal("<x.lua  tool get_?weather  0.0 ms>", last())
    saw("one", "two")
    assert.equal("<x.lua  tools one, two  0.0 ms>", last())
    for _, action in ipairs({ json.null, 1, {}, { submit_tool_outputs = 1 }, { submit_tool_outputs = { tool_calls = {
      1, {}, { ["function"] = json.null }, { ["function"] = { name = 1 } } } } } }) do
      line:saw({ id = "run_1", status = "requires_action", required_action = action })
      line:waits()
      assert.equal("<x.lua  run requires_action  0.0 ms>", last())
    end
    line:saw({ id = "run_1", status = "in_progress" })
    line:waits()
    assert.equal("<x.lua  run in_progress  0.0 ms>", last())
  end)

  it("goes when the last operation ends, and when something is written", function()
    line:began({ name = "a" })
    line:began({ name = "b" })
    line:waits()
    line:ended()
    assert.equal(1, #drawn)
    line:ended()
    assert.equal("<>", last())
    line:waits()
    line:makes_way("text\n")
    line:makes_way("text\n")
    assert.equal(4, #drawn)
    assert.equal("<>", last())
  end)

  it("isn't drawn behind what a script wrote without ending the line", function()
    line:makes_way("Name? ")
    line:waits()
    line:makes_way("")
    line:waits()
    assert.same({}, drawn)
    line:makes_way("\n")
    line:waits()
    assert.equal(1, #drawn)
  end)

  it("forgets runs when there have been many", function()
    for index = 1, 2500 do
      line:saw({ id = "run_" .. index, status = "in_progress", usage = { total_tokens = 1 } })
      line:waits()
    end
    local count = 0
    for _ in pairs(line.runs) do count = count + 1 end
    assert.equal(500, count)
    assert.equal("<x.lua  run in_progress  0.0 ms  2500...", (last():gsub(">", "")))
  end)

  it("keeps to the width of the terminal", function()
    line:began({ name = ("x"):rep(60) })
    line:waits()
    assert.equal(39, #last():match("<(.*)>"))
    assert.equal("...", last():sub(-4, -2))
  end)

  it("is told of whatever a script writes with", function()
    local told, before = {}, { print, io.write, io.stdout.write }
    local restore = outputs.watch(function(text) told[#told + 1] = text end)
    local ok, err = pcall(function()
      print()
      io.write("", "")
      io.stdout:write("")
      io.stderr:write("")
      local file = io.tmpfile()
      file:write("not told")
      file:close()
    end)
    restore()
    assert.same({ true }, { ok, err })
    assert.same({ "\n", "", "", "" }, told)
    assert.same(before, { print, io.write, io.stdout.write })
  end)
end)
