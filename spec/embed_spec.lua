local servers = require("spec.support.server")

local build = os.getenv("BUILD") or "build"
local program = build .. "/examples/embed"

local function exists(path)
  local file = io.open(path)
  return file ~= nil and file:close() ~= nil
end

-- Runs the host; returns whether it succeeded, what it printed, and what it said besides.
local function run(environment, question)
  local words, errors = { "env", "-u", "NEXUS_AGENT_ID" }, os.tmpname()
  for name, value in pairs(environment) do words[#words + 1] = name .. "=" .. value end
  for _, word in ipairs({ program, "lua", "examples/embed.lua", question }) do words[#words + 1] = word end
  for index, word in ipairs(words) do words[index] = servers.quote(word) end
  local pipe = io.popen(table.concat(words, " ") .. " 2>" .. servers.quote(errors) .. "; echo $?")
  local output, status = pipe:read("*a"):match("^(.-)(%d+)\n$")
  pipe:close()
  local file = assert(io.open(errors))
  local said = file:read("*a")
  file:close()
  os.remove(errors)
  return status == "0", output, said
end

describe("examples/embed", function()
  if not exists(program) then
    pending("was not built in " .. build)
    return
  end

  it("runs an agent between the frames of a host's loop", function()
    local server = servers.start({ kind = "serve", model_script = "examples/weather_model.lua" })
    local succeeded, output, said = run({
      OPENAI_API_KEY = "local", OPENAI_BASE_URL = server.openai_url, ASSISTANT_ID = "asst_local",
      NEXUS_API_KEY = "nxs_local", NEXUS_BASE_URL = server.nexus_url,
    }, "What is the weather in Paris?")
    local traces = server:traces()
    server:stop()
    assert.is_true(succeeded, said)
    assert.matches("Paris", output, 1, true)
    assert.matches("^%d+ frames, %d+ late; client:update: mean [%d.]+ ms, worst [%d.]+ ms\n$", said)
    assert.equal(1, #traces)
    assert.equal("success", traces[1].status)
  end)

  it("says what went wrong", function()
    local succeeded, output, said = run({
      OPENAI_API_KEY = "local", OPENAI_BASE_URL = "http://127.0.0.1:1/v1", ASSISTANT_ID = "asst_local",
      NEXUS_API_KEY = "nxs_local", NEXUS_BASE_URL = "http://127.0.0.1:1",
    }, "Anything?")
    assert.is_false(succeeded)
    assert.equal("", output)
    assert.matches("127.0.0.1", said, 1, true)
  end)
end)
