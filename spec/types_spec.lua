local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local operations = require("nexus_assistants.operations")
local options = require("nexus_assistants.options")
local servers = require("spec.support.server")

local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore 113

local PREFIX = "nexus_assistants."
local FILES = { "nexus_assistants", "options", "errors", "tracing", "tools", "assistants", "threads", "runs", "streams",
  "files", "vector_stores", "responses", "conversations", "chat" }

-- What the definitions declare, by the name of the class: `fields` and their types, `parent`, and `methods`, each with
-- the names of its `arguments` and what their types are said to be, in `parameters`.
local function declared()
  local classes, by_variable, class, parameters = {}, {}, nil, {}
  local function take_line(line)
    local name, parent = line:match("^%-%-%-@class ([%w_.]+)[^:]*:? ?([%w_.]*)")
    if name then
      class = { fields = {}, methods = {}, parent = parent ~= "" and parent or nil }
      classes[name] = class
    end
    local field, kind = line:match("^%-%-%-@field ([%w_]+)%??%s+(%S+)")
    if field then class.fields[field] = kind end
    local variable = line:match("^local ([%w_]+) = {}")
    if variable then by_variable[variable] = class end
    local parameter, what = line:match("^%-%-%-@param ([%w_.]+%??)%s+(%S+)")
    if parameter then parameters[#parameters + 1] = { name = parameter:gsub("%?$", ""), kind = what } end
    local owner, method, arguments = line:match("^function ([%w_]+)[.:]([%w_]+)%((.-)%)")
    if owner then
      local owning = by_variable[owner]
      owning.methods[method] = { arguments = arguments, parameters = parameters }
      parameters = {}
    end
  end
  for _, name in ipairs(FILES) do
    for line in io.lines(servers.root .. "types/" .. name .. ".lua") do take_line(line) end
  end
  return classes
end

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

describe("types", function()
  local classes = declared()
  local server, client

  setup(function()
    server = servers.start({ kind = "fault" })
    client = assert(nexus.new({ openai = { api_key = "x", base_url = server.openai_url }, assistant_id = "a",
      nexus = { api_key = "x", base_url = server.nexus_url }, on_warning = function() end }))
  end)

  teardown(function()
    client:close(0)
    server:stop()
  end)

  -- A stream that has ended, whatever the server can do.
  local function open_stream()
    local run = { id = "run_1", object = "thread.run", thread_id = "t", status = "completed" }
    server:faults({ { path = "/v1/threads/t/runs", action = "status", status = 200, content_type = "text/event-stream",
      body = "event: thread.run.completed\ndata: " .. json.encode(run) .. "\n\n" } })
    local stream = assert(client.threads.runs:stream("t"))
    assert(stream:result())
    return stream
  end

  local function class_of(name)
    return assert(classes[PREFIX .. name], "there is no class " .. name)
  end

  -- The fields of a class and of those it is made of.
  local function all_fields(class)
    local fields = {}
    while class do
      for name in pairs(class.fields) do fields[name] = true end
      class = class.parent and classes[class.parent]
    end
    return fields
  end

  it("are all there", function()
    local pipe = assert(io.popen("ls " .. servers.quote(servers.root .. "types")))
    local found = {}
    for line in pipe:lines() do found[#found + 1] = line:match("^(.*)%.lua$") end
    pipe:close()
    local known = { unpack(FILES) }
    table.sort(known)
    assert.same(known, found)
  end)

  for class, fields in pairs({
    Options = options.client,
    OpenAIOptions = options.client.openai.fields,
    NexusOptions = options.client.nexus.fields,
    CaptureOptions = options.client.capture.fields,
    PollOptions = options.client.poll.fields,
    Limits = options.client.limits.fields,
    CallOptions = options.call,
    CallTrace = options.call.trace.fields,
    LanedOptions = options.laned,
    ContentOptions = options.content,
    SweepOptions = options.sweep,
    WaitOptions = options.poll,
    RunOptions = options.run,
    ResumeOptions = options.resume,
    SubmitOptions = options.submit,
    StreamOptions = options.stream,
    ResumeStreamOptions = options.resume_stream,
    FileSource = options.file,
    ToolFields = options.tool,
    TraceOptions = options.trace,
    SpanOptions = options.span,
    StartSpanOptions = options.manual.start_span,
    EndSpanOptions = options.manual.end_span,
    EndTraceOptions = options.manual.end_trace,
  }) do
    it("name the fields of " .. class, function()
      assert.same(names_of(fields), names_of(all_fields(class_of(class))))
    end)
  end

  it("name the counters there are", function()
    assert.same(names_of(client:stats()), names_of(class_of("Stats").fields))
  end)

  it("name the kinds of errors that the core knows", function()
    local header = assert(io.open(servers.root .. "src/error.c", "rb"))
    local text = header:read("*a")
    header:close()
    local kinds = {}
    for kind in text:gmatch('%[NXA_[%u_]+%] = "([%l_]+)"') do kinds[kind] = true end
    assert.is_true(kinds.rate_limit)
    kinds.ok, kinds.run, kinds.file, kinds.configuration, kinds.storage = nil, true, true, true, true
    local known, is_kind = {}, false
    for line in io.lines(servers.root .. "types/errors.lua") do
      if line:find("@alias", 1, true) then is_kind = line:find("ErrorKind", 1, true) ~= nil end
      local kind = is_kind and line:match('^%-%-%-| "([%w_]+)"')
      if kind then known[kind] = true end
    end
    assert.same(names_of(kinds), names_of(known))
  end)

  it("name the findings' fields", function()
    local doctor = require("nexus_assistants.doctor")
    local found = doctor.examine({ run = { id = "run_1", status = "expired" } })
    assert.same(names_of(found[1]), names_of(class_of("Finding").fields))
  end)

  -- -------------------------------------------------------------------------------------------------- methods

  local function check_methods(class, methods, internal)
    local found = {}
    for name in pairs(methods) do
      if not (internal and internal[name]) then found[name] = true end
    end
    assert.same(names_of(found), names_of(class_of(class).methods))
  end

  local is_resource = {}
  for _, entry in ipairs(operations.list) do
    local name = entry.name:match("^(.+)%.")
    while name do
      is_resource[name] = true
      name = name:match("^(.+)%.")
    end
  end

  -- Calls `visit(resource, its name as in operations, the name of its class)` for all that hangs on the client.
  local function each_resource(visit)
    local function walk(owner, class, path)
      for name, value in pairs(owner) do
        if is_resource[path .. name] then
          local kind = assert(class_of(class).fields[name], class .. " lacks the field " .. path .. name)
          kind = kind:sub(#PREFIX + 1)
          visit(value, path .. name, kind)
          walk(value, kind, path .. name .. ".")
        end
      end
    end
    walk(client, "Client", "")
  end

  it("name every resource where it is, and no other", function()
    local expected, found = { ["Client.nexus"] = true }, {}
    for name in pairs(class_of("Client").fields) do found["Client." .. name] = true end
    each_resource(function(_, path, class)
      local owner, name = path:match("^(.*)%.([%w_]+)$")
      expected[owner and owner .. "." .. name or "Client." .. path] = true
      for field in pairs(class_of(class).fields) do found[path .. "." .. field] = true end
    end)
    assert.same(names_of(expected), names_of(found))
  end)

  it("name a method for all that a resource has, and no other", function()
    local resources = {}
    each_resource(function(resource, name, class)
      resources[name] = true
      check_methods(class, getmetatable(resource).__index)
    end)
    assert.same(names_of(is_resource), names_of(resources))
  end)

  it("name what there is of the module, and all of it", function()
    check_methods("Client", getmetatable(client).__index, { perform = true, adopt_run = true, saw_run = true })
    check_methods("Nexus", getmetatable(client.nexus).__index)
    check_methods("Task", getmetatable(client:task(print)).__index)
    check_methods("FinishedRun", client.run_mt.__index)
    check_methods("Stream", getmetatable(open_stream()).__index)
    check_methods("EventStream", getmetatable(assert(client.responses:stream({}))).__index)
    local class = classes.nexus_assistants
    local known = {}
    for name in pairs(class.methods) do known[name] = true end
    for name in pairs(class.fields) do known[name] = true end
    assert.same(names_of(nexus), names_of(known))
  end)

  it("name the methods of traces and spans", function()
    client:trace({ name = "x" }, function(trace)
      check_methods("Trace", getmetatable(trace).__index)
      trace:span("y", function(span)
        check_methods("Span", getmetatable(span).__index,
          { outcome = true, is_recorded = true, times = true, note_end = true, finish = true })
      end)
    end)
  end)

  it("say of every argument what it is", function()
    for class_name, class in pairs(classes) do
      for name, method in pairs(class.methods) do
        local said = {}
        for index, parameter in ipairs(method.parameters) do said[index] = parameter.name end
        assert.equal(method.arguments, table.concat(said, ", "), class_name .. ":" .. name)
      end
    end
  end)

  it("name the arguments that operations take", function()
    each_resource(function(_, path, class)
      for name, method in pairs(class_of(class).methods) do
        local entry = operations[path .. "." .. name]
        if entry then
          local expected = { unpack(entry.path_parameters) }
          if entry.payload then expected[#expected + 1] = entry.payload == "query" and "query" or "params" end
          expected[#expected + 1] = "options"
          assert.equal(table.concat(expected, ", "), method.arguments, entry.name)
          local payload = entry.payload and method.parameters[#entry.path_parameters + 1]
          if payload then assert.is_string(payload.kind) end
        end
      end
    end)
  end)

  -- ------------------------------------------------------------------------------------------------- options

  local ALL_OPTIONS = {}
  for _, group in ipairs({ "resume_stream", "content", "sweep", "laned" }) do
    for name in pairs(options[group]) do ALL_OPTIONS[name] = true end
  end

  -- Something for every argument before the options, so that it is they that are looked at.
  local FITTING = {
    params = { file = { data = "", name = "x" }, data = { data = "", name = "x" }, tool_outputs = {} },
    file = { data = "", name = "x" }, files = { { data = "", name = "x" } }, outputs = {},
  }

  -- The options a method takes: all others it refuses as unknown. None of the values is any good, so that nothing is
  -- sent where they are known.
  local function taken(subject, name, method)
    local found = {}
    for option in pairs(ALL_OPTIONS) do
      local arguments, count = {}, 0
      for argument in method.arguments:gmatch("[%w_]+") do
        count = count + 1
        arguments[count] = argument:find("_id$") and "x" or FITTING[argument]
      end
      arguments[count] = { [option] = option == "tools" and "x" or json.null }
      local _, problem = pcall(subject[name], subject, unpack(arguments, 1, count))
      if not tostring(problem):find("unknown option", 1, true) then found[option] = true end
    end
    return found
  end

  local function check_options(subject, class)
    for name, method in pairs(class_of(class).methods) do
      local last = method.parameters[#method.parameters]
      if last and last.name == "options" then
        local kind = assert(last.kind:match("^nexus_assistants%.([%w_]+)$"), name)
        assert.same(names_of(all_fields(class_of(kind))), names_of(taken(subject, name, method)), class .. ":" .. name)
      end
    end
  end

  it("name the options that every method takes", function()
    each_resource(function(resource, _, class) check_options(resource, class) end)
    check_options(client:adopt_run({ id = "run_1", thread_id = "t" }, {}), "FinishedRun")
  end)
end)
