--- Runs beyond single operations: tools in their parameters, the default assistant, what is polled or streamed to its
-- end, and what a run that came from there can be asked.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local method = require("nexus_assistants.resources.method")
local operations = require("nexus_assistants.operations")
local options = require("nexus_assistants.options")
local pages = require("nexus_assistants.pages")
local run_loop = require("nexus_assistants.run_loop")
local stream = require("nexus_assistants.stream")
local tool_round = require("nexus_assistants.tool_round")
local tools = require("nexus_assistants.tools")
local values = require("nexus_assistants.values")

local runs = {}

local MOST_PAGES = 100
local CREATE = operations["threads.runs.create"]
local CREATE_AND_RUN = operations["threads.create_and_run"]
local RETRIEVE = operations["threads.runs.retrieve"]
local SUBMIT = operations["threads.runs.submit_tool_outputs"]
local MAKES_RUN = { [CREATE] = true, [CREATE_AND_RUN] = true }

-- ------------------------------------------------------------------------------------------------ what a run can do

local function list_all(client, operation, run, query)
  return pages.all(function(after)
    query.after = after
    local path = { thread_id = run.thread_id, run_id = operation ~= "threads.messages.list" and run.id or nil }
    return client:perform(operations[operation], { path = path, query = query })
  end, MOST_PAGES)
end

local function add_texts(texts, message)
  for _, part in ipairs(type(message.content) == "table" and message.content or {}) do
    local text = type(part) == "table" and part.type == "text" and part.text
    if type(text) == "table" and type(text.value) == "string" then texts[#texts + 1] = text.value end
  end
end

local function run_text(client, run)
  local query = { run_id = run.id, order = "asc", limit = 100 }
  local messages, err = list_all(client, "threads.messages.list", run, query)
  if not messages then return nil, err end
  local texts = {}
  for _, message in ipairs(messages) do
    -- some servers ignore the query's run_id
    if message.role == "assistant" and message.run_id == run.id then add_texts(texts, message) end
  end
  return table.concat(texts, "\n\n")
end

local function run_steps(client, run)
  return list_all(client, "threads.runs.steps.list", run, { order = "asc", limit = 100 })
end

local function check_run(name, run)
  if type(run) ~= "table" or type(run.id) ~= "string" then error("run:" .. name .. ": call it with a colon", 3) end
end

-- Outputs by the id of their call, each as the text that is sent; or nil and what is wrong.
local function read_outputs(given)
  if type(given) ~= "table" then return nil, "outputs must be a table by the id of the call, got " .. type(given) end
  local outputs = {}
  for id, value in pairs(given) do
    if type(id) ~= "string" then return nil, "outputs must be named by the ids of their calls, got a " .. type(id) end
    local output, problem = tools.output_of(value)
    if not output then return nil, "the output of '" .. id .. "': " .. problem end
    outputs[id] = output
  end
  return outputs
end

local function no_longer(run)
  return nil, errors.new({ kind = "invalid", message = "run " .. run.id .. " did not come from a wait of this client",
    run = run })
end

-- What is known of a run that came from a wait has the run itself only as long as it is used.
local function with_state(client, run, fn)
  local under_way = client.runs_under_way[run]
  if not under_way then return nil end
  local before = under_way.run
  under_way.run = run
  local result = fn(under_way)
  under_way.run = before
  return result
end

local function under_way_findings(under_way)
  return under_way:findings()
end

--- The metatable of runs that come from a wait.
function runs.metatable(client)
  local methods = {}

  --- What the assistant wrote in this run: the text of all its messages, oldest first; or nil and an error.
  function methods:text()
    check_run("text", self)
    return run_text(client, self)
  end

  --- All steps of this run, oldest first; or nil and an error.
  function methods:steps()
    check_run("steps", self)
    return run_steps(client, self)
  end

  --- What the doctor found in this run: an array of `{ id, severity, evidence, advice }`, which may be empty.
  function methods:findings()
    check_run("findings", self)
    return with_state(client, self, under_way_findings) or json.array({})
  end

  --- The calls of tools this run waits for: `{ id, name, arguments }`, in order.
  function methods:pending()
    check_run("pending", self)
    return with_state(client, self, tool_round.open_calls) or json.array({})
  end

  --- Answers calls this run waits for, `{ [call id] = output }`, and waits for its end once all are answered. Returns
  -- the run, as `create_and_poll` does; with calls left it is the same run; or nil and an error.
  function methods:submit(outputs, given)
    check_run("submit", self)
    local read, problem = read_outputs(outputs)
    if problem then error("run:submit: " .. problem, 2) end
    given, problem = options.read("run:submit", options.submit, given)
    if problem then error(problem, 2) end
    local under_way = client.runs_under_way[self]
    if not under_way then return no_longer(self) end
    return run_loop.submit(under_way, self, read, given)
  end

  return { __index = methods, __name = "nexus_assistants.run" }
end

-- ------------------------------------------------------------------------------------------------------ parameters

-- Fills in the default assistant and makes definitions of tools. Returns the set of tools.
local function complete(client, params)
  local body = values.merged(params.body)
  params.body = body
  if body.assistant_id == nil then body.assistant_id = client.assistant_id end
  local set = tools.set(type(body.tools) == "table" and body.tools or {})
  if type(body.tools) == "table" then body.tools = set.definitions end
  return set
end

local function no_assistant(where)
  return errors.new({
    kind = "configuration",
    message = "no assistant: set params.assistant_id, the option assistant_id or ASSISTANT_ID",
    operation = where,
  })
end

local function lacks_assistant(params)
  local id = params.body.assistant_id
  return id == nil or id == json.null
end

local function fault_of_tools(where, list)
  if list == nil or list == json.null then return nil end
  return tools.fault(where, list)
end

-- What is wrong with the outputs of a submission that is written by hand; they are encoded in place.
local function read_submission(params)
  local list = params.body.tool_outputs
  if type(list) ~= "table" then return "params.tool_outputs must be a list, got " .. type(list) end
  local outputs = json.array({})
  for index, item in ipairs(list) do
    if type(item) ~= "table" then
      return ("params.tool_outputs[%d] must be a table, got a %s"):format(index, type(item))
    end
    local output, problem = tools.output_of(item.output)
    if not output then return ("params.tool_outputs[%d].output: %s"):format(index, problem) end
    outputs[index] = values.merged(item, { output = output })
  end
  params.body = values.merged(params.body, { tool_outputs = (tools.limit(outputs)) })
end

-- Tools of a run that is made are looked for among the options, since runs that are there have them there.
local function with_place_of_tools(entry, problem)
  if not MAKES_RUN[entry] or not problem:find("unknown option 'tools'", 1, true) then return problem end
  return problem .. ": give tools as params.tools"
end

-- Which answer a method can read is the method's own choice. What says that there is no stream is harmless.
local function fault_of_stream(params)
  if params.body and json.present(params.body.stream) then
    return "params.stream can't be true: there are methods for streams (stream, create_and_run_stream, "
      .. "submit_tool_outputs_stream)"
  end
end

-- Reads a method's arguments and checks what only runs have. Returns the parameters, or nil and what is wrong.
local function read_run(read, entry, where, fields, ...)
  local params, problem = read(entry, where, fields, ...)
  if not params then return nil, with_place_of_tools(entry, problem) end
  local given = params.options
  problem = fault_of_stream(params)
    or fault_of_tools("params.tools", params.body and params.body.tools)
    or fault_of_tools("options.tools", given and given.tools)
    or (entry == SUBMIT and read_submission(params))
  if problem then return nil, where .. ": " .. problem end
  return params
end

-- ---------------------------------------------------------------------------------------------------------- methods


local function wait_options(client, given)
  given = given or {}
  if given.interval == nil then given.interval = client.poll.interval end
  given.deadline = given.deadline or client.poll.deadline
  given.stall = given.stall or client.poll.stall
  return given
end

-- Of the parameters of an operation what `run.new` takes; or nil and an error.
local function request_of(client, entry, span, params)
  local set
  if MAKES_RUN[entry] then
    set = complete(client, params)
    if lacks_assistant(params) then return nil, no_assistant(entry.name) end
  else
    set = tools.set(params.options and params.options.tools or {})
  end
  return {
    operation = entry.name,
    span = span,
    thread_id = params.path.thread_id,
    run_id = params.path.run_id,
    body = params.body,
    query = params.query,
    tools = set,
    options = wait_options(client, params.options),
  }
end

-- A method that begins with an operation and waits for the end of its run.
local function make_waiting(read, entry, where, span, fields, start)
  return function(self, ...)
    method.check_self(where, self)
    local params, problem = read_run(read, entry, where, fields, ...)
    if not params then error(problem, 2) end
    local request, err = request_of(self.client, entry, span, params)
    if not request then return nil, err end
    return start(self.client, request)
  end
end

-- A method that performs an operation that makes a run, and no more.
local function make_create(read, entry, where, fields)
  return function(self, ...)
    method.check_self(where, self)
    local params, problem = read_run(read, entry, where, fields, ...)
    if not params then error(problem, 2) end
    complete(self.client, params)
    if lacks_assistant(params) then return nil, no_assistant(entry.name) end
    local run, err = self.client:perform(entry, params)
    if run == nil then return nil, err end
    return run
  end
end

local function make_submit(read)
  local where = "threads.runs:submit_tool_outputs"
  return function(self, ...)
    method.check_self(where, self)
    local params, problem = read_run(read, SUBMIT, where, options.call, ...)
    if not params then error(problem, 2) end
    local run, err = self.client:perform(SUBMIT, params)
    if run == nil then return nil, err end
    return run
  end
end

local poll, streamed = run_loop.start, stream.start

--- Adds the methods to those of `threads.runs` that were made of the table of operations. `read` reads a method's
-- arguments.
function runs.extend(methods, read)
  local function waiting(name, entry, span)
    local fields = MAKES_RUN[entry] and options.run or options.resume
    methods[name] = make_waiting(read, entry, "threads.runs:" .. name, span, fields, poll)
  end
  local function streaming(name, entry, span)
    local fields = MAKES_RUN[entry] and options.stream or options.resume_stream
    methods[name] = make_waiting(read, entry, "threads.runs:" .. name, span, fields, streamed)
  end
  methods.create = make_create(read, CREATE, "threads.runs:create", options.laned)
  methods.submit_tool_outputs = make_submit(read)
  waiting("create_and_poll", CREATE, "threads.runs.createAndPoll")
  waiting("poll", RETRIEVE, "threads.runs.poll")
  waiting("submit_tool_outputs_and_poll", SUBMIT, "threads.runs.submitToolOutputsAndPoll")
  streaming("stream", CREATE, "threads.runs.stream")
  streaming("submit_tool_outputs_stream", SUBMIT, "threads.runs.submitToolOutputsStream")
end

--- Adds to those of `threads` what makes a thread and a run at once.
function runs.extend_threads(methods, read)
  methods.create_and_run = make_create(read, CREATE_AND_RUN, "threads:create_and_run", options.call)
  methods.create_and_run_poll = make_waiting(read, CREATE_AND_RUN, "threads:create_and_run_poll",
    "threads.createAndRunPoll", options.run, poll)
  methods.create_and_run_stream = make_waiting(read, CREATE_AND_RUN, "threads:create_and_run_stream",
    "threads.createAndRunStream", options.stream, streamed)
end

return runs
