-- The pages in docs/ and the README: their samples run, their tables are true, their links lead somewhere.
--
-- In a page, a block fenced as ```lua is a whole script; it is run against the local server, must end with code 0 and
-- print nothing on standard error, and prints what an ```output block right after it says. A block fenced as
-- ```lua fragment isn't run but must be Lua, and one fenced as ```lua model is the model's script of the server that
-- the next sample is run against. `<!-- needs files.create, stream -->` before a block has it wait for a server that
-- answers these operations.
local look = require("nexus_assistants.doctor.look")
local findings = require("nexus_assistants.doctor.findings")
local nexus = require("nexus_assistants")
local operations = require("nexus_assistants.operations")
local process = require("spec.support.process")
local responses_server = require("spec.support.responses_server")
local servers = require("spec.support.server")

local KINDS = { [""] = true, c = true, js = true, sh = true, json = true, output = true, lua = true,
  ["lua fragment"] = true, ["lua model"] = true }
local MODEL = "examples/weather_model.lua"
-- What stands behind the page about Responses.
local POET = [[
return { answer = function(items)
  return items[1].content[1].text:find("sea") and "Wide is the sea." or "High is the sky."
end }
]]

local function read_all(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function write_all(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function lines_of(command)
  local pipe, lines = assert(io.popen(command)), {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

-- The pages by their names, `README.md` and `docs/….md`, and the names in order.
local function read_pages()
  local names, texts = { "README.md" }, {}
  for _, name in ipairs(lines_of("ls " .. servers.quote(servers.root .. "docs"))) do
    if name:find("%.md$") then names[#names + 1] = "docs/" .. name end
  end
  for _, name in ipairs(names) do texts[name] = read_all(servers.root .. name) end
  return texts, names
end

local function words_of(text)
  local words = {}
  for word in text:gmatch("[^%s,]+") do words[#words + 1] = word end
  return words
end

-- The blocks of a page, in order: `kind` ("lua", "lua fragment", "lua model", "output" …), `text`, `line`, and
-- `needs`.
local function blocks_of(page)
  local blocks, block, needs, number = {}, nil, nil, 0
  for line in (page .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local fence = line:match("^```(.*)$")
    if block and fence then
      block.text = table.concat(block, "\n") .. "\n"
      blocks[#blocks + 1], block = block, nil
    elseif block then
      block[#block + 1] = line
    elseif fence then
      block, needs = { kind = fence, line = number, needs = needs or {} }, nil
    else
      needs = line:find("^<!%-%- needs ") and words_of(line:match("needs (.-) %-%->")) or needs
    end
  end
  return blocks
end

-- The scripts of a page, with the output they are to have and the text of their model.
local function samples_of(page)
  local samples, model = {}, nil
  local blocks = blocks_of(page)
  for index, block in ipairs(blocks) do
    if block.kind == "lua model" then model = block.text end
    if block.kind == "lua" then
      local after = blocks[index + 1]
      block.output, block.model, model = after and after.kind == "output" and after.text, model, nil
      samples[#samples + 1] = block
    end
  end
  return samples
end

-- --------------------------------------------------------------------------------------------- what a server answers

local function fill_in(path)
  return (path:gsub("{[^}]+}", "x"))
end

local function says_not_yet(response)
  local err = response.json and response.json.error
  return type(err) == "table" and tostring(err.message):find("isn't there yet", 1, true) ~= nil
end

local function streams(server)
  local thread = server:request("POST", "/v1/threads", {}).json
  local answer = server:request("POST", "/v1/threads/" .. thread.id .. "/runs", { assistant_id = "asst_local",
    stream = true })
  return (answer.headers["content-type"] or ""):find("^text/event%-stream") ~= nil
end

-- Whether a server answers an operation, or streams; it is asked.
local function answers(server, need)
  if need == "stream" then return streams(server) end
  local entry = assert(operations[need], "there is no operation " .. need)
  return not says_not_yet(server:request(entry.method, "/v1" .. fill_in(entry.path)))
end

describe("docs", function()
  local pages, names = read_pages()
  local server, folder

  setup(function()
    server = servers.start({ kind = "serve", model_script = servers.root .. MODEL })
    folder = lines_of("mktemp -d")[1]
  end)

  teardown(function()
    server:stop()
    os.execute("rm -rf " .. servers.quote(folder))
  end)

  local function environment(from)
    return {
      OPENAI_API_KEY = "local", OPENAI_BASE_URL = from.openai_url, ASSISTANT_ID = "asst_local",
      NEXUS_API_KEY = "nxs_local", NEXUS_BASE_URL = from.nexus_url, NEXUS_ASSISTANTS_POLL_INTERVAL = "0.01",
    }
  end

  -- Runs a script in a folder of its own.
  local function run(text, from)
    write_all(folder .. "/sample.lua", text)
    local out, err = folder .. "/out", folder .. "/err"
    local command = process.command({ "sample.lua" }, environment(from))
    local code = lines_of(("cd %s; ( %s ) >out 2>err; echo $?"):format(servers.quote(folder), command))[1]
    return { code = tonumber(code), out = read_all(out), err = read_all(err) }
  end

  -- The APIs behind models are a server of their own.
  local function run_with_api(sample)
    write_all(folder .. "/poet.lua", POET)
    local poet = responses_server.start(folder .. "/poet.lua")
    local ok, result = pcall(run, sample.text, { openai_url = poet.url, nexus_url = server.nexus_url })
    poet:stop()
    return ok and result or error(result, 0)
  end

  local function is_direct(need)
    return operations[need] ~= nil and operations[need].direct == true
  end

  local function run_with_model(sample)
    if is_direct(sample.needs[1]) then return run_with_api(sample) end
    if not sample.model then return run(sample.text, server) end
    write_all(folder .. "/model.lua", sample.model)
    local own = servers.start({ kind = "serve", model_script = folder .. "/model.lua" })
    local ok, result = pcall(run, sample.text, own)
    own:stop()
    return ok and result or error(result, 0)
  end

  for _, name in ipairs(names) do
    for _, sample in ipairs(samples_of(pages[name])) do
      it("the sample at " .. name .. ":" .. sample.line .. " runs", function()
        for _, need in ipairs(sample.needs) do
          local is_there = is_direct(need) or answers(server, need)
          if not is_there then pending("the local server has no " .. need .. " yet") return end
        end
        local result = run_with_model(sample)
        assert.equal("", result.err)
        assert.equal(0, result.code)
        if sample.output then assert.equal(sample.output, result.out) end
      end)
    end
  end

  -- All of a picture but the times, and what they make of the bars.
  local function fixed(picture)
    picture = picture:gsub("▏[ \226\150\136-\143]*", "▏"):gsub(" *[%d.]+ m?s  ", " TIME  ")
    return (picture:gsub("%x+%-[%x-]+\n", "ID\n"))
  end

  it("show what the demo shows", function()
    local own = environment(server)
    own.LC_ALL = "C.UTF-8"
    assert.equal(0, process.run({ process.path("examples/assistant.lua"), "What is the weather in Paris?" }, own).code)
    local shown = process.run({ process.path("bin/nexus-assistants"), "view", "--width", "100" }, own).out
    assert.equal(fixed(shown), fixed(pages["README.md"]:match("\n```\n(.-)```\n")))
  end)

  it("hold fragments that are Lua", function()
    for _, name in ipairs(names) do
      for _, block in ipairs(blocks_of(pages[name])) do
        if block.kind:find("^lua ") then
          local chunk, problem = (loadstring or load)(block.text) -- luacheck: ignore 113
          assert.is_truthy(chunk, name .. ":" .. block.line .. ": " .. tostring(problem))
        end
        assert.is_true(KINDS[block.kind], name .. ":" .. block.line .. ": a block of kind '" .. block.kind .. "'")
      end
    end
  end)

  it("have a sample on every page about a module", function()
    for _, name in ipairs(names) do
      local is_page = name ~= "docs/architecture.md" and name ~= "docs/README.md"
      if is_page then assert.is_truthy(samples_of(pages[name])[1], name .. " has no sample") end
    end
  end)

  it("link to what is there", function()
    for _, name in ipairs(names) do
      local base = servers.root .. (name:match("^(.*/)") or "")
      for link in pages[name]:gmatch("%]%(([^)#%s]+)[^)]*%)") do
        if not link:find("^https?:") then
          local file = io.open(base .. link)
          assert.is_truthy(file, name .. " links to " .. link)
          file:close()
        end
      end
    end
  end)

  it("have every page in the index", function()
    for _, name in ipairs(names) do
      local page = name:match("^docs/(.+)$")
      if page and page ~= "README.md" then
        assert.matches("](" .. page .. ")", pages["docs/README.md"], 1, true)
      end
    end
  end)

  -- ------------------------------------------------------------------------------------------------ true to the code

  local function find_resource(client, path)
    local found = client
    for part in path:gmatch("[%w_]+") do found = type(found) == "table" and found[part] or nil end
    return found
  end

  local function all_methods(client)
    local found = {}
    for _, entry in ipairs(operations.list) do
      local path = entry.name:match("^(.+)%.")
      for method in pairs(getmetatable(find_resource(client, path)).__index) do
        found["client." .. path .. ":" .. method] = true
      end
    end
    for method in pairs(getmetatable(client).__index) do found["client:" .. method] = true end
    for method in pairs(getmetatable(client.nexus).__index) do found["client.nexus:" .. method] = true end
    for _, inner in ipairs({ "perform", "adopt_run", "saw_run" }) do found["client:" .. inner] = nil end
    return found
  end

  it("name every method, and none that isn't there", function()
    local client = assert(nexus.new({ openai = { api_key = "x" }, nexus = false }))
    local known, named = all_methods(client), {}
    client:close(0)
    for _, name in ipairs(names) do
      for method in pages[name]:gmatch("client[%w_.]*:[%w_]+%f[({]") do
        assert.is_true(known[method], name .. " names " .. method)
        named[method] = true
      end
    end
    for method in pairs(known) do assert.is_true(named[method], "no page names " .. method) end
  end)

  it("name every option that there is to set", function()
    local options = require("nexus_assistants.options")
    local places = {
      ["docs/client.md"] = { options.client, options.client.openai.fields, options.client.nexus.fields,
        options.client.limits.fields, options.client.poll.fields },
      ["docs/runs.md"] = { options.run }, ["docs/streaming.md"] = { { on_leave = true } },
      ["docs/tools.md"] = { options.tool }, ["docs/pages-and-options.md"] = { options.call, options.call.trace.fields },
      ["docs/files.md"] = { options.file, { sink = true, path = true } },
      ["docs/threads.md"] = { { older_than = true, lane = true } }, ["docs/vector_stores.md"] = { options.poll },
      ["docs/tracing.md"] = { options.client.otlp.fields, options.client.file.fields, options.trace,
        options.span, options.manual.start_span, options.manual.end_span,
        options.manual.end_trace },
    }
    for name, groups in pairs(places) do
      for _, group in ipairs(groups) do
        for option in pairs(group) do
          assert.is_truthy(pages[name]:find("`[%w_.]*" .. option .. "`"), name .. " doesn't tell of " .. option)
        end
      end
    end
  end)

  it("name every environment variable of the client's", function()
    local options = require("nexus_assistants.options")
    local function check(fields)
      for _, field in pairs(fields) do
        if field.environment then assert.matches("`" .. field.environment .. "`", pages["docs/client.md"], 1, true) end
        if field.fields then check(field.fields) end
      end
    end
    check(options.client)
  end)

  it("name every kind of error", function()
    for line in io.lines(servers.root .. "types/errors.lua") do
      local kind = line:match('^%-%-%-| "([%w_]+)"')
      if kind then assert.matches("| `" .. kind .. "` |", pages["docs/errors.md"], 1, true) end
    end
  end)

  it("name every finding, as the doctor's catalogue has it", function()
    local advice, expected = {}, {}
    for _, finding in ipairs(findings.list) do advice[finding.id] = finding.advice end
    for index, entry in ipairs(look.catalogue) do
      expected[index] = ("| `%s` | %s | %s | %s |"):format(entry.id, entry.severity, entry.what, advice[entry.id])
    end
    local found = {}
    for line in pages["docs/doctor.md"]:gmatch("[^\n]+") do
      if line:find("^| `") then found[#found + 1] = line end
    end
    assert.same(expected, found)
  end)

  it("name every option of the command's", function()
    for command, page in pairs({ serve = "docs/server.md", view = "docs/view.md" }) do
      local pipe = io.popen(process.command({ process.path("bin/nexus-assistants"), command, "--help" }))
      local help = pipe:read("*a")
      pipe:close()
      for option in help:gmatch("\n  (%-%-[%w-]+)") do assert.matches("`" .. option, pages[page], 1, true) end
    end
  end)
end)
