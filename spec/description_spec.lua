local nexus = require("nexus_assistants")
local openapi = require("spec.support.openapi")
local operations = require("nexus_assistants.operations")
local steady = require("spec.support.steady")

local VARIANTS = 5 -- as many as the choice with the most has, roughly

local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore 113

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- What the table of operations says, in the description's words.
local function known()
  local found = {}
  for _, entry in ipairs(operations.list) do found[entry.method .. " " .. entry.path] = entry end
  return found
end

describe("the official description of the API", function()
  local lacking = openapi.lacks()
  if lacking then
    it("has these operations", function() pending(lacking) end)
    return
  end

  local document = openapi.read()
  local described, ours = openapi.operations(document), known()

  it("has these operations, and no other", function()
    assert.same(names_of(described), names_of(ours))
  end)

  it("has the operations that are left out", function()
    for key in pairs(openapi.left_out) do
      local method, path = key:match("^(%u+) (.+)$")
      assert.is_table((document.paths[path] or {})[method:lower()], key)
    end
  end)

  it("has the same parameters in their paths, bodies, forms and queries where this library says so", function()
    for key, entry in pairs(ours) do
      local other = described[key]
      local path = {}
      for _, name in ipairs(entry.path_parameters) do path[name] = true end
      assert.same(names_of(other.path), names_of(path), key)
      assert.equal(other.body ~= nil, entry.payload == "body", key)
      assert.equal(other.multipart ~= nil, entry.payload == "multipart", key)
      if entry.payload ~= "body" then assert.equal(next(other.query) ~= nil, entry.payload == "query", key) end
      for name in pairs(entry.query_parameters or {}) do
        assert.truthy(other.query[name .. "[]"] or other.query[name], key .. " " .. name)
      end
    end
  end)
end)

describe("a validator of the official description", function()
  local lacking = steady.lacks()
  if lacking then
    it("takes every operation with every parameter", function() pending(lacking) end)
    return
  end

  local document = openapi.read()
  local described = openapi.operations(document)
  local server, client

  setup(function()
    server = steady.start()
    client = assert(nexus.new({
      nexus = false, openai = { api_key = "sk-x", base_url = server.url, retries = 0 }, assistant_id = "asst_x",
    }))
  end)

  teardown(function()
    client:close(0)
    server:stop()
  end)

  local function method_of(name)
    local resource, method = client, nil
    for part in name:gmatch("[%w_]+") do
      resource, method = method and resource[method] or resource, part
    end
    return resource, resource[method]
  end

  -- The parameters of an operation, all that are described; streams have a test of their own.
  local function params_of(entry, variant)
    local other = described[entry.method .. " " .. entry.path]
    local schema = other.body or other.multipart
    local params = schema and openapi.example(document, schema, variant) or {}
    for name, parameter in pairs(other.query) do
      params[(name:gsub("%[%]$", ""))] = openapi.example(document, parameter, variant)
    end
    params.stream = nil
    if entry.file_field then params[entry.file_field] = { data = "x", name = "x.txt" } end
    return params
  end

  local function arguments_of(entry, variant)
    local arguments = {}
    for index, name in ipairs(entry.path_parameters) do arguments[index] = name .. "_1" end
    if entry.payload then arguments[#arguments + 1] = params_of(entry, variant) end
    return arguments
  end

  local function assert_taken(result, err)
    -- what the validator makes up as an answer need not make sense, but it must have taken the request
    local is_taken = result ~= nil or err.kind == "protocol" or err.kind == "run" or err.kind == "configuration"
    assert.is_true(is_taken, "refused: " .. tostring(err))
  end

  for _, entry in ipairs(operations.list) do
    it("takes " .. entry.name .. " with every parameter", function()
      local resource, method = method_of(entry.name)
      for variant = 1, entry.payload and VARIANTS or 1 do
        assert_taken(method(resource, unpack(arguments_of(entry, variant))))
      end
    end)
  end

  for name, method in pairs({
    ["threads.runs.create"] = "stream", ["threads.create_and_run"] = "create_and_run_stream",
    ["threads.runs.submit_tool_outputs"] = "submit_tool_outputs_stream",
  }) do
    it("takes " .. name .. " as a stream", function()
      local entry = operations[name]
      local resource = method_of(name)
      local stream, err = resource[method](resource, unpack(arguments_of(entry, 1)))
      if stream then err = select(2, stream:next()) end
      assert_taken(nil, err or {})
    end)
  end

  for _, name in ipairs({ "responses.create", "chat.completions.create" }) do
    it("takes " .. name .. " as a stream", function()
      local resource = method_of(name)
      local event, err = assert(resource:stream(params_of(operations[name], 1))):next()
      assert_taken(event, err)
    end)
  end

  it("refuses what isn't described, so that this can fail", function()
    local _, err = client.threads:create({ messages = 5 })
    assert.equal(400, err.status)
  end)
end)
