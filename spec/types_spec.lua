local nexus = require("nexus_assistants")
local operations = require("nexus_assistants.operations")
local options = require("nexus_assistants.options")
local servers = require("spec.support.server")

-- What the definitions declare: fields by class, and functions by the name of the class's variable.
local function declared()
  local classes, functions = {}, {}
  for _, name in ipairs({ "nexus_assistants", "threads" }) do
    local class
    for line in io.lines(servers.root .. "types/" .. name .. ".lua") do
      class = line:match("^%-%-%-@class ([%w_.]+)") or class
      classes[class or ""] = classes[class or ""] or { fields = {} }
      local field = line:match("^%-%-%-@field ([%w_]+)")
      if field then classes[class].fields[field] = true end
      local variable, method = line:match("^function ([%w_]+)[.:]([%w_]+)%(")
      if variable then functions[variable .. "." .. method] = true end
    end
  end
  return classes, functions
end

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

describe("types", function()
  local classes, functions = declared()

  for class, fields in pairs({
    Options = options.client,
    OpenAIOptions = options.client.openai.fields,
    NexusOptions = options.client.nexus.fields,
    PollOptions = options.client.poll.fields,
    Limits = options.client.limits.fields,
    CallOptions = options.call,
    RunOptions = options.create_and_poll,
    ToolFields = options.tool,
    TraceOptions = options.trace,
    SpanOptions = options.span,
    StartSpanOptions = options.manual.start_span,
    EndSpanOptions = options.manual.end_span,
    EndTraceOptions = options.manual.end_trace,
  }) do
    it("name the fields of " .. class, function()
      assert.same(names_of(fields), names_of(classes["nexus_assistants." .. class].fields))
    end)
  end

  it("name the counters there are", function()
    local client = assert(nexus.new({ openai = { api_key = "x" }, nexus = { api_key = "x" } }))
    local counters = client:stats()
    client:close(0)
    assert.same(names_of(counters), names_of(classes["nexus_assistants.Stats"].fields))
  end)

  it("name a method for every operation, and no other", function()
    local expected = { ["runs.create_and_poll"] = true }
    for _, entry in ipairs(operations.list) do expected[entry.name:match("([%w_]+%.[%w_]+)$")] = true end
    local resources, found = { threads = true, messages = true, runs = true, steps = true }, {}
    for name in pairs(functions) do
      if resources[name:match("^[%w_]+")] then found[name] = true end
    end
    assert.same(names_of(expected), names_of(found))
  end)

  it("name what there is, and all of it", function()
    local client = assert(nexus.new({ openai = { api_key = "x" }, nexus = { api_key = "x" },
      on_warning = function() end }))
    local subjects = {
      nexus = nexus,
      client = getmetatable(client).__index,
      manual = getmetatable(client.nexus).__index,
      task = getmetatable(client:task(print)).__index,
      finished_run = client.run_mt.__index,
    }
    client:trace({ name = "x" }, function(trace)
      subjects.trace = getmetatable(trace).__index
      trace:span("y", function(span) subjects.span = getmetatable(span).__index end)
    end)
    client:close(0)
    local internal = { ["client.perform"] = true, ["span.input_json"] = true, ["span.is_recorded"] = true,
      ["span.times"] = true, ["span.finish"] = true, ["nexus._VERSION"] = true, ["nexus.null"] = true }
    local found = {}
    for subject, methods in pairs(subjects) do
      for name in pairs(methods) do
        if not internal[subject .. "." .. name] then found[subject .. "." .. name] = true end
      end
    end
    local known = {}
    for name in pairs(functions) do
      if subjects[name:match("^[%w_]+")] then known[name] = true end
    end
    assert.same(names_of(found), names_of(known))
  end)
end)
