-- What the core does is told by its own tests; here is what the binding makes of it.
local core = require("nexus_assistants.core")
local lfs = require("lfs")
local process = require("spec.support.process")

describe("the core's private files", function()
  local folder, path

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(core.make_directory(folder))
    path = folder .. "/lock"
  end)

  after_each(function()
    os.remove(path)
    os.remove(folder)
  end)

  local function mode_of(name)
    return lfs.attributes(name, "permissions")
  end

  local function write(name, text)
    local file = assert(io.open(name, "w"))
    file:write(text)
    file:close()
  end

  local function is_there()
    return lfs.attributes(path, "mode") ~= nil
  end

  it("are read whoever has their locks, but pipes, links and folders aren't", function()
    assert.is_nil(core.lock_text(path))
    assert.is_false(is_there())
    write(path, "")
    assert.equal("", core.lock_text(path))
    write(path, ("x"):rep(5000))
    local lock = assert(core.lock_file(path))
    assert.equal(("x"):rep(4096), core.lock_text(path))
    lock:release()
    assert.is_nil(core.lock_text(folder))
    os.execute("ln -s " .. path .. " " .. folder .. "/link; mkfifo " .. folder .. "/pipe")
    finally(function() os.execute("rm " .. folder .. "/link " .. folder .. "/pipe") end)
    assert.is_nil(core.lock_text(folder .. "/link"))
    assert.is_nil(core.lock_text(folder .. "/pipe"))
  end)

  it("and folders are the user's alone", function()
    assert.is_true(core.make_private(path))
    assert.equal("rw-------", mode_of(path))
    assert.equal("rwx------", mode_of(folder))
    os.execute("chmod 644 " .. path)
    assert.is_true(core.make_private(path))
    assert.equal("rw-------", mode_of(path))
    assert.is_true(core.make_directory(folder))
  end)

  it("that can't be made are told as errors", function()
    local made, err = core.make_private(folder .. "/none/such")
    assert.is_nil(made)
    assert.same({ "invalid", ("can't make the file '%s/none/such': No such file or directory"):format(folder) },
      { err.kind, err.message })
    core.make_private(path)
    made, err = core.make_directory(path .. "/below")
    assert.is_nil(made)
    assert.same({ "invalid", ("can't make the folder '%s/below': Not a directory"):format(path) },
      { err.kind, err.message })
  end)

  it("have a lock that one has at a time", function()
    local lock = assert(core.lock_file(path))
    assert.equal("rw-------", mode_of(path))
    assert.equal(path, lock:path())
    assert.same({ n = 2, nil, "locked" }, { n = select("#", core.lock_file(path)), core.lock_file(path) })
    lock:release()
    lock:release()
    lock:remove()
    assert.is_nil(lock:path())
    assert.is_true(is_there())
    core.lock_file(path):remove()
    assert.is_false(is_there())
  end)

  it("are unlocked when the lock is collected", function()
    assert(core.lock_file(path))
    collectgarbage()
    collectgarbage()
    assert(core.lock_file(path)):release()
  end)

  it("are unlocked when the process that had the lock ends without releasing it", function()
    local script = ([[
      local core = require("nexus_assistants.core")
      held = assert(core.lock_file(%q))
      io.write(tostring(select(2, core.lock_file(%q)))) io.flush()
      os.exit(0)
    ]]):format(path, path)
    assert.equal("locked", process.chunk(script).out)
    assert(core.lock_file(path)):release()
  end)

  it("are unlocked when the process that had the lock is killed", function()
    local script = os.tmpname()
    write(script, [[
      local core = require("nexus_assistants.core")
      held = assert(core.lock_file(arg[1]))
      print("held") io.flush()
      core.engine():step(600)
    ]])
    local pipe = assert(io.popen("echo $$; " .. process.command({ script, path })))
    local pid = pipe:read("*l")
    assert.equal("held", pipe:read("*l"))
    assert.same({ nil, "locked" }, { core.lock_file(path) })
    os.execute("kill -9 " .. pid)
    pipe:close()
    os.remove(script)
    assert(core.lock_file(path)):release()
  end)

  it("that can't be locked are told as errors", function()
    local lock, err = core.lock_file(folder)
    assert.is_nil(lock)
    assert.same({ "invalid", ("can't lock '%s': Is a directory"):format(folder) }, { err.kind, err.message })
  end)

  it("have names without zeros in them", function()
    for _, name in ipairs({ "lock_file", "make_directory", "can_make_directory", "make_private" }) do
      local ok, problem = pcall(core[name], "a\0b")
      assert.is_false(ok)
      assert.matches("must not hold a zero byte", problem, 1, true)
    end
  end)

  if rawget(_G, "_VERSION") == "Lua 5.4" then
    it("are unlocked where a lock's variable ends", function()
      assert(load([[
        local core, path = ...
        do local lock <close> = assert(core.lock_file(path)) end
        assert(core.lock_file(path)):release()
      ]]))(core, path)
    end)
  end
end)
