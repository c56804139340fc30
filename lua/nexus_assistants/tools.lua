--- Tools: Lua functions that a run may call. Whatever such a function does, the run gets an output for every call.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local options = require("nexus_assistants.options")
local schema = require("nexus_assistants.schema")
local text = require("nexus_assistants.text")
local values = require("nexus_assistants.values")

local shown = errors.shown

local tools = {}

local tool_mt = { __name = "nexus_assistants.tool" }

--- What a tool returns that will be answered later, by `run:submit`.
tools.PENDING = setmetatable({}, { __tostring = function() return "nexus.pending" end })

local BUDGET = 512 * 1000 -- bytes that the outputs of one submission may have together: the API takes less than 512 kB

--- Makes a tool of `{ name, description, parameters, strict, call }`. Returns nil and a message for bad fields.
function tools.new(fields)
  local tool, problem = options.read("nexus.tool", options.tool, fields)
  if not tool then return nil, problem end
  if not tool.name:find("^[%w_-]+$") or #tool.name > 64 then
    return nil, "nexus.tool: option 'name' must be up to 64 letters, digits, '_' or '-'"
  end
  problem = tool.parameters and schema.problem(tool.parameters)
  if problem then return nil, "nexus.tool: option 'parameters': " .. problem end
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

-- The name that two tools of a list have, or nil.
local function named_twice(list)
  local seen = {}
  for _, item in ipairs(list) do
    local described = item["function"]
    local name = is_tool(item) and item.name or type(described) == "table" and described.name
    if name and seen[name] then return name end
    if name then seen[name] = true end
  end
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
  local twice = named_twice(list)
  if twice then return ("%s names '%s' twice"):format(name, twice) end
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

--- Takes a list of tools apart: `definitions` to send, the tools `by_name`, `described`: the names of functions that
-- are described but not given.
function tools.set(list)
  local set = { definitions = json.array({}), by_name = {}, described = {} }
  for index, item in ipairs(list) do
    if is_tool(item) then
      set.definitions[index] = definition_of(item)
      set.by_name[item.name] = item
    else
      set.definitions[index] = item
      local name = name_of(item)
      if name then set.described[name] = true end
    end
  end
  return set
end

-- ------------------------------------------------------------------------------------------------------ one call

local function error_output(message)
  local output = json.encode({ error = message })
  return output or '{"error":"the tool failed, and its message is not text"}'
end

-- What becomes of a call that failed: its output, what went wrong, and the outcome's name.
local function failed(message, outcome)
  return error_output(message), message, outcome or "error"
end

--- The output for a call that got none, which says why.
tools.error_output = error_output

--- The arguments of a call as a table, or nil and what is wrong with them. Models send "" for none.
function tools.arguments(written)
  if written == nil or written == json.null or (type(written) == "string" and written:find("^%s*$")) then return {} end
  local arguments, problem = json.decode(written)
  if arguments == nil then return nil, "the arguments are not JSON: " .. problem end
  if type(arguments) ~= "table" or json.is_array(arguments) then return nil, "the arguments are not a JSON object" end
  return arguments
end

--- A value as the output of a call, which is always a string: texts as they are, all else as JSON; or nil and what is
-- wrong with it.
function tools.output_of(value)
  if value == nil then value = json.null end
  local written, problem = json.encode(value)
  if not written then return nil, problem end
  return type(value) == "string" and value or written
end

-- What a tool raised or returned as its error, in words: a plain table as JSON, since its address tells nothing.
local function in_words(value)
  local metatable = type(value) == "table" and getmetatable(value)
  if type(value) ~= "table" or metatable and metatable.__tostring then return shown(value) end
  return json.encode(value) or shown(value)
end

local function finish(name, ok, value, problem)
  if not ok then return failed(in_words(value)) end
  if value == tools.PENDING then return nil, nil, "pending" end
  if value == nil and problem ~= nil then return failed(in_words(problem)) end
  local output, bad = tools.output_of(value)
  if output then return output, nil, "ok" end
  return failed("tool '" .. name .. "' returned what JSON can't hold: " .. bad)
end

local function quoted_names(by_name)
  local names = {}
  for name in pairs(by_name) do names[#names + 1] = "'" .. name .. "'" end
  table.sort(names)
  return table.concat(names, ", ")
end

local function not_given(set, name)
  local message = "the script gave this run no tool named '%s'; what it gave: %s"
  return failed(message:format(shown(name), quoted_names(set.by_name)), "unknown_tool")
end

--- Runs a call of one of a set's tools. Returns its output, which is always a string; what went wrong, or nil; and the
-- outcome: "ok", "error", "unknown_tool", "bad_arguments", or "pending", which has no output yet: the tool put it off,
-- or the script only described the function. `protected` is pcall, or what takes its place.
function tools.run(set, name, written, protected)
  local tool = set.by_name[name]
  if not tool and set.described[name] then return nil, nil, "pending" end -- the script answers it itself
  if not tool then return not_given(set, name) end
  local arguments, problem = tools.arguments(written)
  if not arguments then return failed(problem, "bad_arguments") end
  local fits, misfit = true, nil
  if tool.parameters then fits, misfit = schema.check(arguments, tool.parameters) end
  if not fits then return failed("the arguments don't fit the tool's schema: " .. misfit, "bad_arguments") end
  return finish(name, protected(tool.call, arguments))
end

-- ------------------------------------------------------------------------------------------------- a whole answer

--- Whether calls are ours to answer: some are of our tools, or of functions that nobody described (the model made them
-- up). Otherwise the script has to.
function tools.can_answer(calls, set)
  if next(set.by_name) == nil then return false end
  local foreign = false
  for _, call in ipairs(calls) do
    local name = name_of(call)
    if name and set.by_name[name] then return true end
    foreign = foreign or set.described[name]
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
  if #mark > length / 2 then mark = "[cut]" end
  if #mark > length then return "" end
  return text.cut(output, length - #mark) .. mark
end

--- Cuts the longest outputs, visibly, so that all together keep within what the API takes. Returns them, and a set of
-- the ids of calls whose output was cut.
function tools.limit(outputs)
  local length, shortened = fair_length(outputs), {}
  if not length then return outputs, shortened end
  for _, output in ipairs(outputs) do
    if #output.output > length then
      output.output = cut(output.output, length)
      shortened[output.tool_call_id] = true
    end
  end
  return outputs, shortened
end

return tools
