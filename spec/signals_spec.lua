-- Signals end the process that doesn't note them, so each case is a process of its own. They are sent by popen, since
-- SIGINT is ignored while os.execute waits.
local process = require("spec.support.process")
local servers = require("spec.support.server")

local HEAD = [[
  local core = require("nexus_assistants.core")
  local function send(name) io.popen("kill -" .. name .. " $PPID"):close() end
  local function say(value) io.write(tostring(value), "\n") io.flush() end
  local function compute() local due = core.monotonic() + 3 while core.monotonic() < due do end end
]]
local TERMINATED = 128 + 15

describe("core.signals", function()
  -- A shell may say on standard error by what a process was ended, so that is left out.
  local function run(text)
    local result = process.chunk(HEAD .. text)
    return { result.code, result.out }, result.err
  end

  it("notes that the process is asked to end, and by what", function()
    for _, name in ipairs({ "INT", "TERM" }) do
      local script = ("local s = core.signals() say(s:noted()) send(%q) say(s:noted())"):format(name)
      assert.same({ 0, "nil\nSIG" .. name .. "\n" }, run(script))
    end
  end)

  it("has a descriptor that select notices, for each signals anew", function()
    assert.same({ 0, "0\n1\n0\n-1\n" }, run([[
      local socket = require("socket")
      local s = core.signals()
      say(#socket.select({ s }, nil, 0))
      send("TERM")
      say(#socket.select({ s }, nil, 0))
      s:close()
      local other = core.signals()
      say(#socket.select({ other }, nil, 0))
      say(s:getfd())
    ]]))
  end)

  it("aren't needed to have the process end by an interruption", function()
    assert.same({ 130, "" }, run("core.end_on_interrupt() send('INT') say('not here')"))
  end)

  it("leaves the second one of a kind to end the process", function()
    assert.same({ TERMINATED, "SIGTERM\n" },
      run("local s = core.signals() send('TERM') say(s:noted()) send('TERM') say('not here')"))
  end)

  it("lets all be as it was once it is closed, also by the collector", function()
    for _, close in ipairs({ "s:close() s:close()", "s = nil collectgarbage()" }) do
      assert.same({ TERMINATED, "" }, run("local s = core.signals() " .. close .. " send('TERM') say('not here')"))
    end
    local ended, err = run("local s = core.signals() s:close() send('INT') say('not here')")
    assert.same({ 1, "" }, ended)
    assert.matches("interrupted!", err, 1, true)
  end)

  it("notes nothing once it is closed", function()
    assert.same({ 0, "nil\n" }, run("local s = core.signals() send('TERM') s:close() say(s:noted())"))
  end)

  it("interrupts who asks for that, as Ctrl-C does, until it is held", function()
    for _, name in ipairs({ "INT", "TERM" }) do
      local ended = run(([[
        local s = core.signals()
        s:interrupt(5)
        local ok, problem = pcall(function() send(%q) while true do end end)
        say(ok) say(problem:match("interrupted!$")) say(s:noted())
      ]]):format(name))
      assert.same({ 0, "false\ninterrupted!\nSIG" .. name .. "\n" }, ended)
      assert.same({ 0, "SIG" .. name .. "\n" },
        run(("local s = core.signals() s:interrupt(5) s:hold(5) send(%q) say(s:noted())"):format(name)))
    end
  end)

  -- How a wait of the system's ends that a signal comes into, and whether that is before what is waited for, which
  -- isn't waited for at the end.
  local READING = [[
    local s = core.signals()
    s:interrupt(5) %s
    io.popen("(sleep 0.5; kill -%s $PPID) >/dev/null &"):close()
    local seconds = %g
    io.input(io.popen("sleep " .. seconds .. "; echo there"))
    local started, line = core.monotonic()
    local ok, problem = pcall(function() line = io.read() end)
    say(ok) say(problem) say(line) say(core.monotonic() - started < seconds - 0.5)
    os.exit(0)
  ]]

  it("interrupts what reads, as the interpreter does, and nothing once it is held", function()
    for _, name in ipairs({ "INT", "TERM" }) do
      assert.same({ 0, "false\ninterrupted!\nnil\ntrue\n" }, run(READING:format("", name, 5)))
      assert.same({ 0, "true\nnil\nthere\nfalse\n" }, run(READING:format("s:hold(5)", name, 1.2)))
    end
  end)

  it("raises what was noted before", function()
    assert.same({ 0, "false\ninterrupted!\n" }, run([[
      local s = core.signals()
      send("INT")
      local ok, problem = pcall(function() s:interrupt(5) compute() end)
      say(ok) say(problem)
    ]]))
    assert.same({ TERMINATED, "" }, run([[
      local s = core.signals()
      send("TERM")
      pcall(function() s:interrupt(1) compute() end)
      compute()
    ]]))
  end)

  it("raises within no source that begins as is said, but in a wait there, and once it is left", function()
    assert.same({ 0, "true\nfalse\ninterrupted!\nfalse\ninterrupted!\n" }, run([[
      local s = core.signals()
      local engine = core.engine({})
      local send, say, pcall = send, say, pcall
      local function inner() return pcall(function() send("INT") for _ = 1, 100 do end end) end
      -- as if these were files
      local outside = assert(load("local inside = ... inside() for _ = 1, 1e8 do end", "=other"))
      s:interrupt(5, debug.getinfo(1, "S").source)
      say((inner()))
      say((pcall(outside, function() end)))
      core.interrupt_again("something else")
      core.interrupt_again("interrupted!")
      say(select(2, pcall(engine.step, engine, 0, 0, true)))
      core.interrupt_again("interrupted!")
      local ok, problem = pcall(outside, function() end)
      say(ok) say(problem)
    ]]))
  end)

  it("raises in a wait of another coroutine, and then in the one it is for", function()
    assert.same({ 0, "interrupted!\nfalse\ninterrupted!\n" }, run([[
      local s = core.signals()
      local engine, said = core.engine({})
      s:interrupt(5)
      local ok, problem = pcall(function()
        coroutine.wrap(function()
          send("INT")
          said = select(2, pcall(engine.step, engine, 9, 0, true))
        end)()
        compute()
      end)
      say(said) say(ok) say(problem)
    ]]))
  end)

  it("says as it is held whether one is still to be raised, and leaves no hook but the script's own", function()
    local SOURCE = 'debug.getinfo(1, "S").source' -- so that nothing is raised
    for _, finish in ipairs({ "say(s:hold(5))", "say(true) s:close()" }) do
      assert.same({ 0, "true\ntrue\n" }, run(([[
        local s = core.signals()
        s:interrupt(5, %s)
        send("INT")
        %s
        say(debug.gethook() == nil)
      ]]):format(SOURCE, finish)))
    end
    assert.same({ 0, "false\ntrue\n" }, run([[
      local s = core.signals()
      local function hook() end
      s:interrupt(5)
      debug.sethook(hook, "r")
      say(s:hold(5))
      s:close()
      say(debug.gethook() == hook)
    ]]))
  end)

  it("keeps the coroutine that they are raised in, and no longer than that", function()
    local RAISED = [[
      local s, weak = core.signals(), setmetatable({}, { __mode = "v" })
      coroutine.wrap(function() weak[1] = coroutine.running() s:interrupt(5) end)()
      collectgarbage() collectgarbage()
      say(weak[1] ~= nil)
      send("INT")
      for _ = 1, 100 do end
      s:%s
      collectgarbage() collectgarbage()
      say(weak[1])
    ]]
    assert.same({ 0, "true\nnil\n" }, run(RAISED:format("hold(5)")))
    assert.same({ 0, "true\nnil\n" }, run(RAISED:format("close()")))
  end)

  it("has any second signal end who is interrupted", function()
    assert.same({ TERMINATED, "false\n" }, run([[
      local s = core.signals()
      s:interrupt(5)
      say((pcall(function() send("INT") while true do end end)))
      send("TERM")
      say("not here")
    ]]))
  end)

  it("has time end who was terminated, and begins it anew where it is held", function()
    local HELD = "local s = core.signals() s:interrupt(1) pcall(function() send('TERM') while true do end end) %s "
      .. "local due = core.monotonic() + 1.5 while core.monotonic() < due do end say('here')"
    assert.same({ TERMINATED, "" }, run(HELD:format("")))
    assert.same({ 0, "here\n" }, run(HELD:format("s:hold(3)")))
    assert.same({ TERMINATED, "" }, run(HELD:format("s:hold(1)")))
    assert.same({ 0, "here\n" }, run(HELD:format("s:close()")))
    assert.same({ 0, "here\n" }, run((HELD:format(""):gsub("TERM", "INT"))))
  end)

  -- What a script writes and how it ends, after something else in its shell.
  local function run_after(before, text)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(HEAD .. text)
    file:close()
    local command = "sh -c " .. servers.quote(process.command({ path }))
    local pipe = io.popen(("( %s %s ) 2>/dev/null; echo $?"):format(before, command))
    local out = pipe:read("*a")
    pipe:close()
    os.remove(path)
    return out
  end

  local TERMINATING = [[
    local s = core.signals()
    s:interrupt(1)
    pcall(function() send("TERM") for _ = 1, 1e6 do end end)
  ]]

  it("has time end who was terminated where SIGALRM is blocked, and blocks it again", function()
    if os.execute("env --block-signal=ALRM true 2>/dev/null") ~= true then return pending("env can't block signals") end
    local ENV = "env --block-signal=ALRM "
    assert.equal(TERMINATED .. "\n", run_after(ENV, TERMINATING .. "compute()"))
    assert.equal("here\n0\n", run_after(ENV, TERMINATING .. "s:close() send('ALRM') say('here')"))
  end)

  it("lets SIGALRM be as it was once it is closed", function()
    assert.equal("here\n0\n", run_after("trap '' ALRM;", TERMINATING .. "s:close() send('ALRM') say('here')"))
  end)

  it("leaves a SIGTERM ignored that was ignored before", function()
    assert.equal("nil\n0\n", run_after("trap '' TERM;", TERMINATING .. "send('TERM') say(s:noted())"))
    assert.equal("SIGINT\n0\n", run_after("trap '' INT;", "local s = core.signals() send('INT') say(s:noted())"))
  end)

  it("takes whole seconds, and an hour at most", function()
    local signals = require("nexus_assistants.core").signals()
    finally(function() signals:close() end)
    for _, seconds in ipairs({ 0, -1, 3601 }) do
      assert.has_error(function() signals:interrupt(seconds) end)
      assert.has_error(function() signals:hold(seconds) end)
    end
    assert.has_error(function() signals:hold() end)
  end)

  it("is there once at a time, and starts anew", function()
    assert.same({ 0, "core.signals: they are watched already\nnil\n" }, run([[
      local s = core.signals()
      say(select(2, pcall(core.signals)))
      send("INT")
      s:close()
      say(core.signals():noted())
    ]]))
  end)
end)
