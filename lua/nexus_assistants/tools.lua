--- Tools: Lua functions that a run may call. Whatever such a function does, the run gets an output for every call.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local options = require("nexus_assistants.options")
local text = require("nexus_assistants.text")
local values = require("nexus_assistants.values")

local shown = errors.shown

local tools = {}

local tool_mt = { __name = "nexus_assistants.tool" }

local BUDGET = 512 * 1000 -- bytes that the outputs of one submission may have together: the API takes less than 512 kB

--- Makes a tool of `{ name, description, parameters, strict, call }`. Returns nil and a message for bad fields.
function tools.new(fields)
  local tool, problem = options.read("nexus.tool", options.tool, fields)
  if not tool then return nil, problem end
  if not tool.name:find("^[%w_-]+$") or #tool.name > 64 then
    return nil, "nexus.tool: option 'name' must be up to 64 letters, digits, '_' or '-'"
  end
  return setmetatable(tool, tool_mt)
end

local function is_tool(value)
  return getmetatable(value) == tool_mt
end

local function kind_of(value)
  if is_tool(value) then return "a tool: put it into a list" end
  if value == json.null then return "null" end
  return type(value) == "table" and "a table that is none" or "a " .. type(value)
end

--- What is wrong with a value as a list of tools, e.g. "params.tools must be a list of tools, got a string"; nil where
-- it is fine.
function tools.fault(name, list)
  if not values.is_list(list) then return name .. " must be a list of tools, got " .. kind_of(list) end
  for index, item in ipairs(list) do
    if type(item) ~= "table" then
      return ("%s[%d] must be a tool or a table that describes one, got %s"):format(name, index, kind_of(item))
    end
  end
end

local NO_PARAMETERS = { type = "object", properties = {} }

local function definition_of(tool)
  return {
    type = "function",
    ["function"] = {
      name = tool.name,
      description = tool.description,
      parameters = tool.parameters or NO_PARAMETERS,
      strict = tool.strict,
    },
  }
end

local function name_of(definition)
  local described = type(definition) == "table" and definition["function"]
  return type(described) == "table" and described.name or nil
end

local function quoted_names(by_name)
  local names = {}
  for name in next, by_name do names[#names + 1] = "'" .. name .. "'" end
  table.sort(names)
  return table.concat(names, ", ")
end

local function not_given(by_name, name)
  return ("the script gave this run no tool named '%s'; what it gave: %s"):format(shown(name), quoted_names(by_name))
end

-- Asked for a name that isn't there, the table has a stand-in that can say so: the assistant may describe functions of
-- its own, and the model may make some up.
local function new_by_name()
  return setmetatable({}, { __index = function(by_name, name) return { missing = not_given(by_name, name) } end })
end

--- Takes a list of tools apart. Returns the definitions to send, the tools by name (with stand-ins for all other names,
-- which `tools.run` takes), and the names of functions that are described but not given.
function tools.split(list)
  local definitions, by_name, described = json.array({}), new_by_name(), {}
  for index, item in ipairs(list) do
    if is_tool(item) then
      definitions[index] = definition_of(item)
      by_name[item.name] = item
    else
      definitions[index] = item
      local name = name_of(item)
      if name then described[name] = true end
    end
  end
  return definitions, by_name, described
end

-- ------------------------------------------------------------------------------------------------------ one call

local function error_output(message)
  local output = json.encode({ error = message })
  return output or '{"error":"the tool failed, and its message is not text"}'
end

local function failed(message)
  return error_output(message), message
end

--- The arguments of a call as a table, or nil and what is wrong with them. Models send "" for none.
function tools.arguments(written)
  if written == nil or written == json.null or (type(written) == "string" and written:find("^%s*$")) then return {} end
  local arguments, problem = json.decode(written)
  if arguments == nil then return nil, "the arguments are not JSON: " .. problem end
  if type(arguments) ~= "table" or json.is_array(arguments) then return nil, "the arguments are not a JSON object" end
  return arguments
end

local function output_of(name, value)
  if type(value) == "string" then
    local written, problem = json.encode(value)
    return written and value or nil, problem
  end
  if value == nil then value = json.null end
  local written, problem = json.encode(value)
  return written, problem and "tool '" .. name .. "' returned what JSON can't hold: " .. problem
end

local function finish(name, ok, value, problem)
  if not ok then return failed(shown(value)) end
  if value == nil and problem ~= nil then return failed(shown(problem)) end
  local output, bad = output_of(name, value)
  if not output then return failed(bad) end
  return output
end

--- Runs a call of a tool; returns its output, which is always a string, and what went wrong, or nil.
function tools.run(tool, name, arguments_text)
  if not tool then return failed("there is no tool named '" .. shown(name) .. "'") end
  if tool.missing then return failed(tool.missing) end
  local arguments, problem = tools.arguments(arguments_text)
  if not arguments then return failed(problem) end
  return finish(name, pcall(tool.call, arguments))
end

-- ------------------------------------------------------------------------------------------------- a whole answer

--- Whether calls are ours to answer: some are of our tools, or of functions that nobody described (the model made them
-- up). Otherwise the script has to.
function tools.can_answer(calls, by_name, described)
  if next(by_name) == nil then return false end
  local foreign = false
  for _, call in ipairs(calls) do
    local name = name_of(call)
    if name and rawget(by_name, name) then return true end
    foreign = foreign or described[name]
  end
  return not foreign
end

-- The largest length that, given to all outputs that are longer, keeps them together within the budget.
local function fair_length(outputs)
  local lengths = {}
  for index, output in ipairs(outputs) do lengths[index] = #output.output end
  table.sort(lengths)
  local left = BUDGET
  for index, length in ipairs(lengths) do
    local share = math.floor(left / (#lengths - index + 1))
    if length > share then return share end
    left = left - length
  end
end

local function cut(output, length)
  local mark = "... [cut: of " .. #output .. " bytes, since all outputs together may have 512 kB]"
  return text.cut(output, math.max(length - #mark, 0)) .. mark
end

--- Cuts the longest outputs, visibly, so that all together keep within what the API takes.
function tools.limit(outputs)
  local length = fair_length(outputs)
  if not length then return outputs end
  for _, output in ipairs(outputs) do
    if #output.output > length then output.output = cut(output.output, length) end
  end
  return outputs
end

return tools
