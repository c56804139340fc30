-- Signals end the process that doesn't note them, so each case is a process of its own. They are sent by popen, since
-- SIGINT is ignored while os.execute waits.
local process = require("spec.support.process")

local HEAD = [[
  local core = require("nexus_assistants.core")
  local function send(name) io.popen("kill -" .. name .. " $PPID"):close() end
  local function say(value) io.write(tostring(value), "\n") io.flush() end
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
    assert.same({ 0, "here\n" }, run(HELD:format("s:close()")))
    assert.same({ 0, "here\n" }, run((HELD:format(""):gsub("TERM", "INT"))))
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
