--- What scripts call: `client.threads`, `.threads.messages`, `.threads.runs`, `.threads.runs.steps`. The methods are
-- made of the table of operations; what goes beyond one operation is in the other files of this folder.
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local options = require("nexus_assistants.options")
local query = require("nexus_assistants.query")
local runs = require("nexus_assistants.resources.runs")

local resources = {}

local function type_name(value)
  return value == json.null and "null" or type(value)
end

-- `threads.runs.steps.list` reads `threads.runs.steps:list` in messages.
local function method_name(operation_name)
  return (operation_name:gsub("%.([%w_]+)$", ":%1"))
end

-- What the caller's table becomes: a query, or a body and what of it travels in the query.
local function divide(entry, payload)
  if entry.payload == "query" then return payload, nil end
  if not entry.query_parameters or payload == nil then return nil, payload end
  local moved, body = nil, {}
  for name, value in pairs(payload) do
    if entry.query_parameters[name] then
      moved = moved or {}
      moved[name] = value
    else
      body[name] = value
    end
  end
  return moved, body
end

local function read_path(entry, arguments)
  local path, names = {}, entry.path_parameters
  for index = 1, #names do path[names[index]] = arguments[index] end
  local built, problem = operations.build_path(entry, path)
  return path, built, problem
end

-- Returns the query and the body, or nil, nil and what is wrong.
local function read_payload(entry, payload)
  if not entry.payload or payload == nil and not entry.required then return nil end
  if type(payload) ~= "table" then return nil, nil, "params must be a table, got " .. type_name(payload) end
  local parameters, body = divide(entry, payload)
  local fault = parameters and query.fault(parameters)
  if fault then return nil, nil, "params: " .. fault end
  return parameters, body
end

--- Reads the arguments of a method: ids, the table of parameters where the operation has one, options. Returns the
-- parameters of the operation, or nil and what is wrong.
function resources.read(entry, where, fields, ...)
  local arguments = { ... }
  local path, built, problem = read_path(entry, arguments)
  if not built then return nil, where .. ": " .. problem end
  local index = #entry.path_parameters + 1
  local parameters, body
  parameters, body, problem = read_payload(entry, arguments[index])
  if problem then return nil, where .. ": " .. problem end
  local given = arguments[entry.payload and index + 1 or index]
  if given ~= nil then
    given, problem = options.read(where, fields, given)
    if problem then return nil, problem end
  end
  return { path = path, built_path = built, query = parameters, body = body, options = given }
end

local function make_method(entry)
  local where = method_name(entry.name)
  return function(self, ...)
    if type(self) ~= "table" or not self.client then error(where .. ": call it with a colon", 2) end
    local params, problem = resources.read(entry, where, options.call, ...)
    if not params then error(problem, 2) end
    local result, err = self.client:perform(entry, params)
    if result == nil then return nil, err end
    return result
  end
end

-- The table of methods of each resource, by name: "threads", "threads.messages" …
local methods_of = {}

for _, entry in ipairs(operations.list) do
  local resource, name = entry.name:match("^(.+)%.([%w_]+)$")
  methods_of[resource] = methods_of[resource] or {}
  methods_of[resource][name] = make_method(entry)
end

runs.extend(methods_of["threads.runs"], resources.read)

local metatables = {}
for name, methods in pairs(methods_of) do
  metatables[name] = { __index = methods, __name = "nexus_assistants." .. name }
end

local function new(client, name)
  return setmetatable({ client = client }, metatables[name])
end

--- Makes `client.threads` and what is below it.
function resources.threads(client)
  local threads = new(client, "threads")
  threads.messages = new(client, "threads.messages")
  threads.runs = new(client, "threads.runs")
  threads.runs.steps = new(client, "threads.runs.steps")
  return threads
end

return resources
