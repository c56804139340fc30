-- The shell scripts in dev/, where they depend on what is around them.
local lfs = require("lfs")
local options = require("nexus_assistants.options")
local servers = require("spec.support.server")

local ROOT = lfs.currentdir()

describe("the scripts in dev/", function()
  local folder

  local function shell(text)
    local path = os.tmpname()
    local pipe = assert(io.popen("( " .. text .. " ) >" .. path .. " 2>&1; echo $?"))
    local code = tonumber(pipe:read("*l"))
    pipe:close()
    local file = assert(io.open(path))
    local out = file:read("*a")
    file:close()
    os.remove(path)
    return code, out
  end

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    folder = folder .. " with a space"
    assert(lfs.mkdir(folder))
  end)

  after_each(function() os.execute("rm -r " .. servers.quote(folder)) end)

  local function find_lua(program)
    return shell("NXA_LUA_PROGRAM=" .. servers.quote(program) .. "; . " .. servers.quote(ROOT .. "/dev/find_lua.sh")
      .. '; echo "$lua"')
  end

  it("take the Lua they are told to, whatever its path is", function()
    if _VERSION ~= "Lua 5.4" then return pending("dev/ looks for Lua 5.4") end
    local program = folder .. "/lua"
    os.execute('ln -s "$(command -v ' .. servers.quote(servers.interpreter()) .. ')" ' .. servers.quote(program))
    assert.same({ 0, program .. "\n" }, { find_lua(program) })
  end)

  it("take no other Lua than they are told to", function()
    local program = folder .. "/lua"
    assert.same({ 1, "NXA_LUA_PROGRAM is no Lua 5.4: " .. program .. "\n" }, { find_lua(program) })
  end)

  -- Or the demo shows something else than it says.
  it("leave nothing of the environment to the demo that a client heeds", function()
    local file = assert(io.open(ROOT .. "/dev/demo.sh"))
    local said = file:read("*a"):gsub("\\\n", " ")
    file:close()
    local known = {}
    for line in said:gmatch("\nunset ([^\n]*)") do
      for name in line:gmatch("[%u_]+") do known[name] = true end
    end
    for line in said:gmatch("\nexport ([^\n]*)") do
      for name in line:gmatch("([%u_]+)=") do known[name] = true end
    end
    local function look(fields)
      for _, field in pairs(fields) do
        if field.environment then assert.is_true(known[field.environment], field.environment) end
        look(field.fields or {})
      end
    end
    look(options.client)
  end)

  it("know the build folder from any other folder", function()
    local search = rawget(package, "searchpath")
    local core = search and search("nexus_assistants.core", package.cpath)
    if not core then return pending("this Lua can't say where the module is") end
    local build = core:gsub("/lua/nexus_assistants/core%.so$", "")
    os.execute("ln -s " .. servers.quote(build) .. " " .. servers.quote(folder .. "/relative"))
    local file = assert(io.open(folder .. "/script.lua", "w"))
    file:write("print(package.cpath)")
    file:close()
    local code, out = shell("cd " .. servers.quote(folder) .. " && unset LUA_CPATH_5_4 LUA_CPATH && BUILD=relative "
      .. servers.quote(ROOT .. "/dev/lua") .. " script.lua")
    assert.equal(0, code)
    assert.matches(folder .. "/relative/lua/?.so;", out, 1, true)
  end)
end)
