--- What a chat-completions endpoint is asked: the chat, the tools and the run's parameters, as its dialect has them.
-- What is at the protocol's default is left out, so that a server that lacks it isn't told of it.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local parameters = require("nexus_assistants.models.parameters")

local request = {}

local present = json.present

-- --------------------------------------------------------------------------------------------------- what isn't there

-- A tool that runs at the API, among the run's or chosen by it, and what is wrong with it; or nil.
local function hosted_tool(run)
  for _, tool in ipairs(present(run.tools) or {}) do
    if tool.type ~= "function" then return tool.type, "tools" end
  end
  local choice = present(run.tool_choice)
  if type(choice) == "table" and choice.type ~= "function" then return choice.type, "tool_choice" end
end

-- What a run wants that the dialect lacks, and the name of the parameter; or nil.
local function lacking(dialect, run)
  local choice = present(run.tool_choice)
  local is_named = type(choice) == "table"
  if present(run.reasoning_effort) and not dialect.effort then return "'reasoning_effort'", "reasoning_effort" end
  if run.parallel_tool_calls == false and not dialect.parallel_tool_calls then
    return "'parallel_tool_calls' = false", "parallel_tool_calls"
  end
  if choice == "required" and not dialect.required then return "'tool_choice' = \"required\"", "tool_choice" end
  if is_named and not dialect.named then return "a 'tool_choice' that names a function", "tool_choice" end
end

local function named(tools, choice)
  for _, tool in ipairs(tools) do
    if tool["function"].name == choice["function"].name then return tool end
  end
end

local function names_nothing(run)
  local choice = present(run.tool_choice)
  return type(choice) == "table" and not named(present(run.tools) or {}, choice)
end

--- What a run wants that isn't to be had here: a message and the name of the parameter; or nil. `settings` has the
-- `dialect` and the default `model`.
function request.refusal(settings, run)
  local dialect = settings.dialect
  local tool, place = hosted_tool(run)
  if tool then return ("the tool '%s' isn't there: chat completions have functions alone"):format(tool), place end
  local wanted, param = lacking(dialect, run)
  local advice = dialect.advice and ": " .. dialect.advice or ""
  if wanted then return ("%s isn't there at %s%s"):format(wanted, dialect.label, advice), param end
  if names_nothing(run) then return "'tool_choice' names a function that isn't among the tools", "tool_choice" end
  if not parameters.model(settings.model, run) then return parameters.NO_MODEL, "model" end
end

-- ------------------------------------------------------------------------------------------------------------ the chat

local function unfit(message)
  return nil, errors.new({ kind = "invalid", code = "invalid_prompt", message = message })
end

local parts = {}

function parts.text(part)
  return { type = "text", text = part.text.value }
end

function parts.image_url(part, dialect)
  local image = part.image_url
  if type(image.url) ~= "string" then return unfit("an image_url has no url") end
  if not dialect.linked_images and not image.url:find("^data:") then
    return unfit(("images that are links aren't there at %s: give them as data: URLs"):format(dialect.label))
  end
  local detail = present(image.detail)
  return { type = "image_url", image_url = { url = image.url, detail = detail ~= "auto" and detail or nil } }
end

function parts.image_file(part)
  return unfit(("the image file '%s' can't be shown: chat completions take images as image_url alone"):format(
    tostring(part.image_file.file_id)))
end

local function content_of(message, dialect)
  if type(message.content) == "string" then return message.content end
  local content = json.array()
  for index, part in ipairs(message.content) do
    if message.role ~= "user" and part.type ~= "text" then
      return unfit("chat completions take images in the user's messages alone")
    end
    local problem
    content[index], problem = parts[part.type](part, dialect)
    if problem then return nil, problem end
  end
  return content
end

-- A round of calls. What was said beside them is a message of its own.
local function asked(message)
  local calls = json.array()
  for index, call in ipairs(message.tool_calls) do
    calls[index] = { id = call.id, type = "function",
      ["function"] = { name = call.name, arguments = call.arguments } }
  end
  return { role = "assistant", content = message.content ~= "" and message.content or json.null, tool_calls = calls }
end

local function translated(message, dialect)
  if message.tool_calls then return asked(message) end
  local content, problem = content_of(message, dialect)
  if problem then return nil, problem end
  return { role = message.role, content = content, tool_call_id = message.tool_call_id }
end

local function chat_of(messages, dialect)
  local chat = json.array()
  for index, message in ipairs(messages) do
    local problem
    chat[index], problem = translated(message, dialect)
    if problem then return nil, problem end
  end
  return chat
end

-- ----------------------------------------------------------------------------------------------------------- the tools

-- Some servers want a function's parameters described even where it has none.
local function tool_of(tool)
  local described = tool["function"]
  return { type = "function", ["function"] = {
    name = described.name, description = present(described.description),
    parameters = present(described.parameters) or { type = "object", properties = {} },
    strict = described.strict == true or nil,
  } }
end

local function add_choice(body, dialect, choice)
  if type(choice) ~= "table" then
    body.tool_choice = choice
  elseif dialect.named == "alone" then
    body.tools, body.tool_choice = json.array({ named(body.tools, choice) }), "required"
  else
    body.tool_choice = { type = "function", ["function"] = { name = choice["function"].name } }
  end
end

local function add_tools(body, dialect, tools, run, messages)
  if #tools == 0 then return end
  body.tools = json.array()
  for index, tool in ipairs(tools) do body.tools[index] = tool_of(tool) end
  local choice = present(run.tool_choice)
  if choice and choice ~= "auto" and not parameters.is_answered(messages) then add_choice(body, dialect, choice) end
  if run.parallel_tool_calls == false then body.parallel_tool_calls = false end
end

-- ------------------------------------------------------------------------------------------------------ the parameters

local function add_effort(body, dialect, effort)
  if effort and dialect.effort == "reasoning" then effort = { effort = effort } end
  if effort then body[dialect.effort] = effort end
end

local function without_nulls(described)
  local result = {}
  for name, value in pairs(described) do result[name] = present(value) end
  return result
end

local function add_format(body, format)
  if type(format) ~= "table" or format.type == "text" then return end
  body.response_format = { type = format.type }
  if format.type == "json_schema" then body.response_format.json_schema = without_nulls(format.json_schema) end
end

local function add_stream(body, dialect)
  body.stream = true
  if dialect.usage_on_request then body.stream_options = { include_usage = true } end
end

-- A run may have been made for another endpoint: threads are kept.
local function refused(settings, run)
  local message, param = request.refusal(settings, run)
  if message then return errors.new({ kind = "invalid", code = "server_error", message = message, param = param }) end
end

--- The body of the request; or nil and an error where the run or its chat isn't to be had here. `settings` as for
-- `refusal`, the others as a model's `think` gets them.
function request.body(settings, messages, tools, run, context)
  local refusal = refused(settings, run)
  if refusal then return nil, refusal end
  local dialect = settings.dialect
  local chat, problem = chat_of(messages, dialect)
  if not chat then return nil, problem end
  local body = { model = parameters.model(settings.model, run), messages = chat }
  add_tools(body, dialect, tools, run, messages)
  parameters.add_sampling(body, run)
  add_effort(body, dialect, present(run.reasoning_effort))
  add_format(body, present(run.response_format))
  body[dialect.limit] = context.most_tokens
  if context.streams then add_stream(body, dialect) end
  return body
end

return request
