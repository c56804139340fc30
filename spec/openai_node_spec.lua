-- The API's official client for Node against the local server: spec/support/openai_client.mjs asks and looks, in parts.
local servers = require("spec.support.server")

local SCRIPT = servers.root .. "spec/support/openai_client.mjs"
local PACKAGE = servers.root .. "dev/node_modules/openai/package.json"

-- Each part, and how many things it looks at: fewer would mean that it ended early, or that something was left out.
local PARTS = {
  { "assistants", 30 }, { "threads", 27 }, { "messages", 26 }, { "runs", 48 }, { "tools", 29 }, { "streams", 45 },
  { "errors", 49 }, { "races", 34 }, { "files", 28 }, { "vector_stores", 37 }, { "search", 12 },
}

local function output_of(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function lacking()
  if output_of("node --version 2>/dev/null") == "" then return "node is absent" end
  local file = io.open(PACKAGE)
  if not file then return "the package openai is absent (npm install in dev/)" end
  file:close()
end

-- How many assertions held, and all else that was said.
local function read(said)
  local passed, rest = 0, {}
  for line in said:gmatch("[^\n]+") do
    if line:find("^ok ") then passed = passed + 1 elseif not line:find("^1%.%.") then rest[#rest + 1] = line end
  end
  return passed, table.concat(rest, "\n")
end

describe("the API's official client for Node", function()
  local absent = lacking()
  if absent then
    it("works with the local server", function() pending(absent) end)
    return
  end

  local server

  setup(function()
    server = servers.start({ kind = "serve", model_script = servers.root .. "spec/support/told_model.lua" })
  end)

  teardown(function() server:stop() end)

  local function perform(part, url)
    local command = "unset LD_PRELOAD; node --no-warnings %s %s --only %s 2>&1" -- a sanitizer is for the server
    return read(output_of(command:format(servers.quote(SCRIPT), url, part)))
  end

  for _, entry in ipairs(PARTS) do
    local part, count = entry[1], entry[2]
    it(("finds %s as they should be, in %d respects"):format(part, count), function()
      local passed, failed = perform(part, server.openai_url)
      assert.equal("", failed)
      assert.equal(count, passed)
    end)
  end

  it("finds nothing as it should be where there is no server, so that this can fail", function()
    local passed, failed = perform("threads", "http://127.0.0.1:1/v1")
    assert.equal(0, passed)
    assert.matches("^not ok 1 %- threads: goes through to its end", failed)
  end)
end)
