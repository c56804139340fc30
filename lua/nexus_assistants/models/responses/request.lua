--- What Responses is asked: the run's parameters and tools. What is at the protocol's default is left out.
local json = require("nexus_assistants.json")
local parameters = require("nexus_assistants.models.parameters")

local request = {}

local present = json.present

local LEAST_TOKENS = 16 -- that max_output_tokens can be; the runtime cuts what is too much

-- Tools that the caller has to do something for that the protocol has no word for.
local NEEDS_CALLER = { computer = true, computer_use = true, computer_use_preview = true, custom = true, shell = true,
  local_shell = true, apply_patch = true }

--- What a run wants that isn't to be had here: a message and the name of the parameter; or nil. `settings` has the
-- default `model`.
function request.refusal(settings, run)
  for _, tool in ipairs(present(run.tools) or {}) do
    if NEEDS_CALLER[tool.type] then
      return ("the tool '%s' isn't there: what it asks of its caller is unknown to runs"):format(tool.type), "tools"
    end
  end
  if not parameters.model(settings.model, run) then return parameters.NO_MODEL, "model" end
end

-- ------------------------------------------------------------------------------------------------------------ tools

-- Left out, `strict` would be true there.
local function function_tool(tool)
  local described = tool["function"]
  return {
    type = "function", name = described.name, description = present(described.description),
    parameters = present(described.parameters) or { type = "object", properties = {} },
    strict = described.strict == true,
  }
end

local function resource(run, tool, name)
  local resources = present(run.tool_resources) or {}
  local of_tool = present(resources[tool]) or {}
  local ids = present(of_tool[name])
  return ids and ids[1] and json.array(ids) or nil
end

-- The protocol's own ranker has no name there.
local function ranking_of(given)
  if not given then return nil end
  return { ranker = given.ranker == "auto" and "auto" or nil, score_threshold = present(given.score_threshold) }
end

-- Without anything to search there can be no search.
local function search_tool(tool, run)
  local ids, settings = resource(run, "file_search", "vector_store_ids"), present(tool.file_search) or {}
  return ids and {
    type = "file_search", vector_store_ids = ids, max_num_results = present(settings.max_num_results),
    ranking_options = ranking_of(present(settings.ranking_options)),
  }
end

local function interpreter_tool(_, run)
  return { type = "code_interpreter", container = {
    type = "auto", file_ids = resource(run, "code_interpreter", "file_ids"),
  } }
end

local TOOLS = { ["function"] = function_tool, file_search = search_tool, code_interpreter = interpreter_tool }

local function add_tools(body, tools, run)
  local sent, types = json.array(), {}
  for _, tool in ipairs(tools) do
    local make = TOOLS[tool.type]
    local made = make and make(tool, run) or not make and tool
    if made then sent[#sent + 1], types[tool.type] = made, true end
  end
  if sent[1] then body.tools = sent end
  return types
end

-- A tool that isn't offered can't be chosen. What the protocol has no word for is chosen in the API's own.
local function choice_of(choice, types)
  if type(choice) ~= "table" then return choice ~= "auto" and choice or nil end
  if choice.type == "function" then return { type = "function", name = choice["function"].name } end
  if not TOOLS[choice.type] then return choice end
  return types[choice.type] and { type = choice.type } or nil
end

local function add_choice(body, types, messages, run)
  if not body.tools then return end
  if not parameters.is_answered(messages) then body.tool_choice = choice_of(present(run.tool_choice), types) end
  if run.parallel_tool_calls == false then body.parallel_tool_calls = false end
end

-- ------------------------------------------------------------------------------------------------------- parameters

local function add_effort(body, effort)
  if effort then body.reasoning = { effort = effort } end
end

local function add_format(body, format)
  if type(format) ~= "table" or format.type == "text" then return end
  local sent = { type = format.type }
  for name, value in pairs(present(format.json_schema) or {}) do sent[name] = present(value) end
  body.text = { format = sent }
end

local function add_include(body, types, keeps_reasoning)
  local include = json.array()
  if types.file_search then include[#include + 1] = "file_search_call.results" end
  if types.code_interpreter then include[#include + 1] = "code_interpreter_call.outputs" end
  if keeps_reasoning and types["function"] then include[#include + 1] = "reasoning.encrypted_content" end
  if include[1] then body.include = include end
end

local function add_metadata(body, metadata)
  if metadata and next(metadata) ~= nil then body.metadata = metadata end
end

-- A thread that has grown too long for the model is cut there, where the run leaves that to the API; Responses fails
-- else.
local function add_truncation(body, strategy)
  if strategy == nil or strategy.type == "auto" then body.truncation = "auto" end
end

--- The body of a request, but for what it goes on from. `asked` has messages, tools, run and context, as a model's
-- `think` gets them, `model`, and `keeps_reasoning`: what the model thought has to come back with its calls, since
-- nothing is stored.
function request.body(asked)
  local run, most = asked.run, asked.context.most_tokens
  local body = { model = asked.model }
  local types = add_tools(body, asked.tools, run)
  add_choice(body, types, asked.messages, run)
  parameters.add_sampling(body, run)
  add_effort(body, present(run.reasoning_effort))
  add_format(body, present(run.response_format))
  add_include(body, types, asked.keeps_reasoning)
  add_metadata(body, present(run.metadata))
  add_truncation(body, present(run.truncation_strategy))
  body.max_output_tokens = most and math.max(most, LEAST_TOKENS)
  return body
end

return request
