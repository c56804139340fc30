--- Runs beyond single operations: tools in their parameters, the default assistant, create_and_poll, and what a run
-- that came from there can be asked.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local options = require("nexus_assistants.options")
local run_loop = require("nexus_assistants.run_loop")
local tools = require("nexus_assistants.tools")

local runs = {}

local MOST_PAGES = 100
local CREATE = operations["threads.runs.create"]

-- ------------------------------------------------------------------------------------------------ what a run can do

local function list_all(client, operation, run, query)
  return run_loop.all_pages(function(after)
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

local function check_run(method, run)
  if type(run) ~= "table" or type(run.id) ~= "string" then error("run:" .. method .. ": call it with a colon", 3) end
end

--- The metatable of runs that come from create_and_poll.
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

  return { __index = methods, __name = "nexus_assistants.run" }
end

-- ------------------------------------------------------------------------------------------------------ parameters

local function copy(values)
  local result = {}
  for key, value in pairs(values or {}) do result[key] = value end
  return result
end

-- Fills in the default assistant and makes definitions of tools. Returns the tools by name and the functions that are
-- only described.
local function complete(client, params)
  local body = copy(params.body)
  params.body = body
  if body.assistant_id == nil then body.assistant_id = client.assistant_id end
  if type(body.tools) ~= "table" then return {}, {} end
  local by_name, described
  body.tools, by_name, described = tools.split(body.tools)
  return by_name, described
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

local function tools_fault(params)
  local list = params.body and params.body.tools
  if list == nil or list == json.null then return nil end
  return tools.fault("params.tools", list)
end

-- Makes `read` check what only runs have: tools.
local function with_tools(read)
  return function(where, fields, ...)
    local params, problem = read(CREATE, where, fields, ...)
    if not params then return nil, problem end
    local fault = tools_fault(params)
    if fault then return nil, where .. ": " .. fault end
    return params
  end
end

-- ---------------------------------------------------------------------------------------------------------- methods

local function check_self(where, self)
  if type(self) ~= "table" or not self.client then error(where .. ": call it with a colon", 3) end
end

local function make_create(read)
  local where = "threads.runs:create"
  return function(self, ...)
    check_self(where, self)
    local params, problem = read(where, options.call, ...)
    if not params then error(problem, 2) end
    complete(self.client, params)
    if lacks_assistant(params) then return nil, no_assistant(CREATE.name) end
    local run, err = self.client:perform(CREATE, params)
    if run == nil then return nil, err end
    return run
  end
end

local function loop_options(client, given)
  given = given or {}
  if given.interval == nil then given.interval = client.poll.interval end
  given.deadline = given.deadline or client.poll.deadline
  return given
end

local function make_create_and_poll(read)
  local where = "threads.runs:create_and_poll"
  return function(self, ...)
    check_self(where, self)
    local client = self.client
    local params, problem = read(where, options.create_and_poll, ...)
    if not params then error(problem, 2) end
    local by_name, described = complete(client, params)
    if lacks_assistant(params) then return nil, no_assistant(CREATE.name) end
    local run, err = run_loop.create_and_poll(client, {
      thread_id = params.path.thread_id,
      body = params.body,
      query = params.query,
      by_name = by_name,
      described = described,
      options = loop_options(client, params.options),
    })
    if not run then return nil, err end
    return setmetatable(run, client.run_mt)
  end
end

--- Adds the methods to those that were made of the table of operations. `read` reads a method's arguments.
function runs.extend(methods, read)
  local read_run = with_tools(read)
  methods.create = make_create(read_run)
  methods.create_and_poll = make_create_and_poll(read_run)
end

return runs
