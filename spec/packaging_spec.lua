-- What isn't in the rockspec's and CMake's lists isn't built or installed, so the lists are held against the tree.
local lfs = require("lfs")

local function files_below(folder, pattern, found)
  found = found or {}
  for name in lfs.dir(folder) do
    local path = folder .. "/" .. name
    if name:match(pattern) then
      found[#found + 1] = path
    elseif name:sub(1, 1) ~= "." and lfs.attributes(path, "mode") == "directory" then
      files_below(path, pattern, found)
    end
  end
  table.sort(found)
  return found
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function load_rockspec()
  local rockspec = {}
  local text = read("nexus-assistants-scm-1.rockspec")
  local chunk
  if rawget(_G, "setfenv") then
    chunk = setfenv(assert(loadstring(text)), rockspec) -- luacheck: ignore
  else
    chunk = assert(load(text, "rockspec", "t", rockspec))
  end
  chunk()
  return rockspec
end

describe("the rockspec", function()
  local build = load_rockspec().build

  it("lists every C source", function()
    local listed = {}
    for _, source in ipairs(build.modules["nexus_assistants.core"].sources) do listed[#listed + 1] = source end
    table.sort(listed)
    assert.same(files_below("src", "%.c$"), listed)
  end)

  it("lists every Lua module under its name", function()
    local listed, expected = {}, {}
    for name, source in pairs(build.modules) do
      if type(source) == "string" then listed[name] = source end
    end
    for _, path in ipairs(files_below("lua", "%.lua$")) do
      local name = path:sub(#"lua/" + 1, -#".lua" - 1):gsub("/", "."):gsub("%.init$", "")
      expected[name] = path
    end
    assert.same(expected, listed)
  end)
end)

describe("the page for browsers", function()
  local FOLDER = "lua/nexus_assistants/view/page"

  it("is installed with LuaRocks, beside the module that reads it", function()
    local listed = {}
    for name, source in pairs(load_rockspec().build.install.lua) do
      listed[#listed + 1] = source
      assert.equal(source:match("[^/]+$"), name:match("[^.]+%.[^.]+$"))
      assert.equal(FOLDER, "lua/" .. name:gsub("%.[^.]+$", ""):gsub("%.", "/"))
    end
    table.sort(listed)
    assert.same(files_below(FOLDER, "%.%w+$"), listed)
  end)

  it("is installed with CMake", function()
    local kinds = {}
    local text = read("CMakeLists.txt"):match("install%(DIRECTORY lua/.-%)")
    for kind in text:gmatch('PATTERN "%*%.(%w+)"') do kinds[kind] = true end
    for _, path in ipairs(files_below(FOLDER, "%.%w+$")) do assert.is_true(kinds[path:match("%w+$")]) end
  end)
end)

describe("the command", function()
  local servers = require("spec.support.server")
  local COMMAND = "bin/nexus-assistants"

  -- Its standard error, and its exit code.
  local function shell(command)
    local pipe = assert(io.popen("( unset LD_PRELOAD; " .. command .. " ) 2>&1 >/dev/null; echo $?"))
    local err, code = pipe:read("*a"):match("^(.-)(%d+)\n$")
    pipe:close()
    return err, tonumber(code)
  end

  it("says in plain words which Lua it needs", function()
    local nowhere = "export LUA_PATH=?.none LUA_PATH_5_2=?.none LUA_PATH_5_3=?.none LUA_PATH_5_4=?.none; "
    local err, code = shell(nowhere .. servers.quote(servers.interpreter())
      .. " " .. COMMAND .. " --version")
    assert.equal("nexus-assistants: module 'nexus_assistants.cli' not found\nThis runs in " .. _VERSION
      .. "; it needs the Lua that it was installed for, as a rule 5.4: lua5.4 bin/nexus-assistants\n", err)
    assert.equal(1, code)
  end)

  describe("installed with CMake", function()
    local folder

    local function write(path, text)
      local file = assert(io.open(path, "w"))
      file:write(text)
      file:close()
    end

    before_each(function()
      folder = os.tmpname()
      os.remove(folder)
      assert(lfs.mkdir(folder))
      for name, version in pairs({ lua = "Lua 5.1", ["lua9.8"] = "Lua 9.8" }) do
        write(folder .. "/" .. name, "#!/bin/sh\nprintf '" .. version .. "'\n")
      end
      local root = lfs.currentdir()
      write(folder .. "/script.cmake", ("include([[%s/cmake/NxaCommand.cmake]])\nnxa_command([[%s/%s]] [[%s/out]])\n")
        :format(root, root, COMMAND, folder))
    end)

    after_each(function() os.execute("rm -rf " .. folder) end)

    -- Its first line, where Lua 9.8 is looked for.
    local function first_line(options)
      local command = "chmod +x %s/lua*; export PATH=%s:$PATH; cmake -DNXA_LUA=9.8 %s -P %s/script.cmake"
      assert.same({ "", 0 }, { shell(command:format(folder, folder, options, folder)) })
      local line, rest = read(folder .. "/out"):match("^(.-)(\n.*)$")
      assert.equal(read(COMMAND):match("\n.*$"), rest)
      return line
    end

    it("is run by the Lua that was found, whatever `lua` is", function()
      if shell("cmake --version") ~= "" then return pending("cmake is absent") end
      assert.equal("#!" .. folder .. "/lua9.8", first_line(""))
      assert.equal("#!/a/lua", first_line("-DNXA_LUA_PROGRAM=/a/lua"))
      assert.equal("#!/usr/bin/env lua", first_line("'-DNXA_LUA_PROGRAM=/a b/lua'"))
      assert.equal("#!/usr/bin/env lua", first_line("-DCMAKE_CROSSCOMPILING=ON"))
    end)

    it("is that copy", function()
      local install = "install(PROGRAMS ${CMAKE_BINARY_DIR}/install/nexus-assistants"
      assert.truthy(read("CMakeLists.txt"):find(install, 1, true))
    end)
  end)
end)

describe("CMakeLists.txt", function()
  local text = read("CMakeLists.txt")

  local function listed(variable, folder)
    local found = {}
    for name in text:match("set%(" .. variable .. "%s([^)]*)%)"):gmatch("%S+") do
      found[#found + 1] = folder .. name .. ".c"
    end
    return found
  end

  it("lists every C source", function()
    local all = listed("NXA_SOURCES", "src/")
    for _, path in ipairs(listed("NXA_LUA_SOURCES", "src/lua/")) do all[#all + 1] = path end
    table.sort(all)
    assert.same(files_below("src", "%.c$"), all)
  end)
end)
