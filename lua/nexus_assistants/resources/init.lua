--- What scripts call: `client.threads`, `client.threads.runs.steps`, `client.files` … Resources and their methods are
-- made of the table of operations; what goes beyond one operation is in the other files of this folder.
local event_streams = require("nexus_assistants.resources.event_streams")
local form = require("nexus_assistants.resources.form")
local json = require("nexus_assistants.json")
local method = require("nexus_assistants.resources.method")
local operations = require("nexus_assistants.operations")
local options = require("nexus_assistants.options")
local pages = require("nexus_assistants.pages")
local query = require("nexus_assistants.query")
local runs = require("nexus_assistants.resources.runs")
local threads = require("nexus_assistants.resources.threads")
local values = require("nexus_assistants.values")
local vector_stores = require("nexus_assistants.resources.vector_stores")

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
local function read_payload(entry, where, payload)
  if not entry.payload or payload == nil and not entry.required then return nil end
  if type(payload) ~= "table" then return nil, nil, where .. ": params must be a table, got " .. type_name(payload) end
  if entry.payload == "multipart" then return nil, form.read(entry, where, payload) end
  local parameters, body = divide(entry, payload)
  local fault = parameters and query.fault(parameters)
  if fault then return nil, nil, where .. ": params: " .. fault end
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
  parameters, body, problem = read_payload(entry, where, arguments[index])
  if problem then return nil, problem end
  local given = arguments[entry.payload and index + 1 or index]
  if given ~= nil then
    given, problem = options.read(where, fields, given)
    if problem then return nil, problem end
  end
  return { path = path, built_path = built, query = parameters, body = body, options = given }
end

local function make_method(entry)
  local where = method_name(entry.name)
  local fields = entry.answer == "bytes" and options.content or entry.excludes and options.laned or options.call
  return function(self, ...)
    method.check_self(where, self)
    local params, problem = resources.read(entry, where, fields, ...)
    if not params then error(problem, 2) end
    local given = params.options
    if given and given.sink and given.path then error(where .. ": give 'sink' or 'path', not both", 2) end
    local result, err = self.client:perform(entry, params)
    if result == nil then return nil, err end
    return result
  end
end

-- `list` has `each` beside it, `list_files` has `each_file`.
local function each_name(name)
  return (name:gsub("^list", "each"):gsub("s$", ""))
end

local function make_each(entry, where)
  return function(self, ...)
    method.check_self(where, self)
    local params, problem = resources.read(entry, where, options.call, ...)
    if not params then error(problem, 2) end
    local client = self.client
    return pages.each(function(after)
      local parameters = values.merged(params.query, { after = after })
      return client:perform(entry, { path = params.path, built_path = params.built_path, query = parameters,
        options = params.options })
    end)
  end
end

-- The table of methods of each resource, by name: "threads", "threads.messages" …; their names in order, so that what
-- a resource is part of comes before it.
local methods_of, names = {}, {}

local function methods_for(resource)
  if methods_of[resource] then return methods_of[resource] end
  local owner = resource:match("^(.+)%.")
  if owner then methods_for(owner) end -- `chat` has no operations of its own
  methods_of[resource] = {}
  names[#names + 1] = resource
  return methods_of[resource]
end

for _, entry in ipairs(operations.list) do
  local resource, name = entry.name:match("^(.+)%.([%w_]+)$")
  local methods = methods_for(resource)
  methods[name] = make_method(entry)
  if entry.pages then
    methods[each_name(name)] = make_each(entry, resource .. ":" .. each_name(name))
  end
end

runs.extend(methods_of["threads.runs"], resources.read)
runs.extend_threads(methods_of["threads"], resources.read)
threads.extend(methods_of["threads"], resources.read)
vector_stores.extend(methods_of["vector_stores.files"], methods_of["vector_stores.file_batches"], resources.read)
event_streams.extend(methods_of["responses"], operations["responses.create"], resources.read)
event_streams.extend(methods_of["chat.completions"], operations["chat.completions.create"], resources.read)

local metatables = {}
for name, methods in pairs(methods_of) do
  metatables[name] = { __index = methods, __name = "nexus_assistants." .. name }
end

--- Puts all resources on a client: `client.threads` and what is below it, `client.files` …
function resources.attach(client)
  for _, name in ipairs(names) do
    local owner, last = client, name:match("[%w_]+$")
    for part in name:gmatch("([%w_]+)%.") do owner = owner[part] end
    owner[last] = setmetatable({ client = client }, metatables[name])
  end
end

return resources
