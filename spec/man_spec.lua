-- The manual page is made of the command's own table, and says all that there is.
local cli = require("nexus_assistants.cli")
local options = require("nexus_assistants.options")
local process = require("spec.support.process")

local PAGE = process.path("man/nexus-assistants.1")

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

describe("the manual page", function()
  it("is what dev/man.lua makes of the command", function()
    local result = process.run({ process.path("dev/man.lua") })
    assert.same({ 0, "" }, { result.code, result.err })
    assert.is_true(read(PAGE) == result.out, "dev/lua dev/man.lua >man/nexus-assistants.1")
  end)

  it("tells of every command and option", function()
    local text = read(PAGE):gsub("\\%-", "-")
    for _, command in ipairs(cli.commands) do
      local part = text:match("\n%.SS " .. command.name .. "\n(.-)\n%.S[SH]")
      assert.truthy(part, command.name)
      for _, option in ipairs(command.options) do
        assert.truthy(part:find("\n\\fB--" .. option.name .. "\\fR", 1, true), command.name .. " --" .. option.name)
      end
    end
  end)

  it("tells of every variable of the environment", function()
    local text = read(PAGE)
    local function look(fields)
      for _, field in pairs(fields) do
        local name = field.environment
        if name then assert.truthy(text:find("\n.B " .. name .. "\n", 1, true), name) end
        look(field.fields or {})
      end
    end
    look(options.client)
    for _, name in ipairs({ "OPENAI_API_KEY", "NEXUS_API_KEY" }) do
      assert.truthy(text:find("\n.B " .. name .. "\n", 1, true), name)
    end
  end)

  it("is one that groff has nothing to say against", function()
    local pipe = io.popen("unset LD_PRELOAD; groff -man -Tascii -ww " .. PAGE .. " 2>&1 >/dev/null; echo $?")
    local said = pipe:read("*a")
    pipe:close()
    if said:find("127\n$") then return pending("groff is absent") end
    assert.equal("0\n", said)
  end)

  it("is installed with CMake and with LuaRocks", function()
    assert.truthy(read(process.path("CMakeLists.txt")):find("install(FILES man/nexus-assistants.1 DESTINATION "
      .. "${CMAKE_INSTALL_MANDIR}/man1)", 1, true))
    assert.truthy(read(process.path("nexus-assistants-scm-1.rockspec")):find('copy_directories = { "man" }', 1, true))
  end)
end)
