--- The official description of the API: its operations, and parameters made of their schemas. It is outside of this
-- project, in a folder beside it.
local json = require("nexus_assistants.json")
local servers = require("spec.support.server")

local openapi = {}

local PATH = servers.root .. "../shared/spec/openai.openapi.json"
local DEEPEST = 8 -- levels that are filled in with what isn't required, too

--- Why it can't be read here; nil where it can.
function openapi.lacks()
  local file = io.open(PATH)
  if not file then return "../shared with the API's description is absent" end
  file:close()
end

openapi.path = PATH

--- The document, decoded.
function openapi.read()
  local file = assert(io.open(PATH, "rb"))
  local text = file:read("*a")
  file:close()
  return assert(json.decode(text))
end

--- What a schema or parameter is that may be a reference.
function openapi.resolve(document, value)
  while type(value) == "table" and value["$ref"] do
    local found = document
    for name in value["$ref"]:gmatch("[^#/]+") do found = found[(name:gsub("~1", "/"):gsub("~0", "~"))] end
    value = found
  end
  return value
end

local function copy(values)
  local result = {}
  for name, value in pairs(values or {}) do result[name] = value end
  return result
end

-- One schema of several that all hold.
local function merged(document, schema)
  local whole = copy(schema)
  whole.allOf = nil
  whole.properties = copy(schema.properties)
  whole.required = copy(schema.required)
  for _, part in ipairs(schema.allOf) do
    part = openapi.resolve(document, part)
    if part.allOf then part = merged(document, part) end
    for name, value in pairs(part) do
      if name == "properties" then
        for property, item in pairs(value) do whole.properties[property] = item end
      elseif name == "required" then
        for _, property in ipairs(value) do table.insert(whole.required, property) end
      else
        whole[name] = whole[name] or value
      end
    end
  end
  return whole
end

local function is_null(document, schema)
  return openapi.resolve(document, schema).type == "null"
end

-- Which of several schemas a variant takes: each variant another one, as far as there are some.
local function chosen(document, list, variant)
  local choices = {}
  for _, choice in ipairs(list) do
    if not is_null(document, choice) then choices[#choices + 1] = choice end
  end
  return choices[(variant - 1) % #choices + 1]
end

local function type_of(schema)
  local kind = schema.type
  if type(kind) == "table" then kind = kind[1] ~= "null" and kind[1] or kind[2] end
  return kind or (schema.properties and "object") or (schema.items and "array") or "string"
end

local example

local function text(schema)
  if schema.format == "uri" then return "https://example.com/x" end
  return ("x"):rep(math.max(schema.minLength or 1, 1))
end

local function number(schema)
  local value = schema.minimum or 1
  if schema.maximum and value > schema.maximum then value = schema.maximum end
  return value
end

local function set_of(list)
  local set = {}
  for _, name in ipairs(list or {}) do set[name] = true end
  return set
end

-- Properties that exclude each other: those that another choice asks for are left out.
local function leave_out(value, document, choices, variant)
  local wanted = set_of(chosen(document, choices, variant).required)
  for _, choice in ipairs(choices) do
    for _, name in ipairs(choice.required or {}) do
      if not wanted[name] then value[name] = nil end
    end
  end
end

local function object(document, schema, variant, depth)
  local value, required = {}, set_of(schema.required)
  for name, property in pairs(schema.properties or {}) do
    if depth < DEEPEST or required[name] then value[name] = example(document, property, variant, depth + 1) end
  end
  local others = schema.additionalProperties
  if type(others) == "table" and not next(value) then value.key = example(document, others, variant, depth + 1) end
  local choices = schema.anyOf or schema.oneOf
  if choices then leave_out(value, document, choices, variant) end
  return value
end

local function array(document, schema, variant, depth)
  local list = json.array({})
  for index = 1, math.max(schema.minItems or 1, 1) do
    list[index] = example(document, schema.items or {}, variant, depth + 1)
  end
  return list
end

local MAKERS = {
  object = object,
  array = array,
  boolean = function() return true end,
  integer = function(_, schema) return number(schema) end,
  number = function(_, schema) return number(schema) end,
  string = function(_, schema) return text(schema) end,
}

-- A value that a schema takes, with every property it describes.
function example(document, schema, variant, depth)
  schema = openapi.resolve(document, schema)
  if schema.const ~= nil then return schema.const end
  if schema.enum then return schema.enum[(variant - 1) % #schema.enum + 1] end
  if schema.allOf then return example(document, merged(document, schema), variant, depth) end
  local choices = schema.anyOf or schema.oneOf
  if choices and not next(schema.properties or {}) then
    return example(document, chosen(document, choices, variant), variant, depth)
  end
  return MAKERS[type_of(schema)](document, schema, variant, depth)
end

--- A value that a schema takes, with every property it describes. Where a schema leaves a choice, each `variant` (1, 2
-- …) takes another one.
function openapi.example(document, schema, variant)
  return example(document, schema, variant, 0)
end

local HEADS = { assistants = true, threads = true, files = true, uploads = true, vector_stores = true, chat = true,
  responses = true, conversations = true }

local STORED = "what OpenAI keeps of chat completions is for its dashboard; other servers keep nothing"
local LEFT_OUT = {
  ["GET /chat/completions"] = STORED,
  ["GET /chat/completions/{completion_id}"] = STORED,
  ["POST /chat/completions/{completion_id}"] = STORED,
  ["DELETE /chat/completions/{completion_id}"] = STORED,
  ["GET /chat/completions/{completion_id}/messages"] = STORED,
  ["POST /responses/input_tokens"] = "usage is what was used, not what would be",
  ["POST /responses/compact"] = "threads are cut by truncation_strategy, whoever thinks",
}

-- Operations that this library leaves out, and why.
openapi.left_out = LEFT_OUT

local function entry_of(document, operation)
  local entry = { query = {}, path = {} }
  for _, parameter in ipairs(operation.parameters or {}) do
    parameter = openapi.resolve(document, parameter)
    local place = parameter["in"]
    if entry[place] then entry[place][parameter.name] = parameter.schema end
  end
  local content = operation.requestBody and openapi.resolve(document, operation.requestBody).content or {}
  entry.body = content["application/json"] and content["application/json"].schema
  entry.multipart = content["multipart/form-data"] and content["multipart/form-data"].schema
  return entry
end

--- The operations of the API that this library is for: `{ [METHOD path] = { query = { [name] = schema }, body = schema,
-- multipart = schema } }`.
function openapi.operations(document)
  local found = {}
  for path, methods in pairs(document.paths) do
    for method, operation in pairs(HEADS[path:match("^/([%w_]+)")] and methods or {}) do
      local key = method:upper() .. " " .. path
      if not LEFT_OUT[key] then found[key] = entry_of(document, operation) end
    end
  end
  return found
end

return openapi
