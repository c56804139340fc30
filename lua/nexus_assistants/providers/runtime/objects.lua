--- The objects of the wire: a thread, a message, a run and a step as the API shows them, field by field.
local checks = require("nexus_assistants.providers.runtime.checks")
local json = require("nexus_assistants.json")

local objects = {}

local null, given = json.null, checks.given
local LIFETIME = 600

local function or_null(value)
  if value == nil then return null end
  return value
end

local function or_default(value, default)
  value = given(value)
  if value == nil then return default end
  return value
end

--- A thread, of the body of `threads.create`.
function objects.thread(id, now, body)
  return {
    id = id, object = "thread", created_at = now, metadata = or_default(body.metadata, {}),
    tool_resources = or_default(body.tool_resources, {}),
  }
end

local function text_part(text, annotations)
  return { type = "text", text = { value = text, annotations = json.array(annotations) } }
end

local function content_parts(content, annotations)
  if type(content) == "string" then return json.array({ text_part(content, annotations) }) end
  local parts = json.array()
  for index, part in ipairs(content) do
    parts[index] = part.type == "text" and text_part(part.text) or part
  end
  return parts
end

--- The parts of a message, of a text, which may have annotations, or of parts as a body has them.
objects.content = content_parts

--- A message, of the body of `threads.messages.create`; `run` is the run that writes it, or nil.
function objects.message(id, now, thread_id, body, run)
  return {
    id = id, object = "thread.message", created_at = now, assistant_id = run and run.assistant_id or null,
    thread_id = thread_id, run_id = run and run.id or null, role = body.role, content = content_parts(body.content),
    attachments = json.array(or_default(body.attachments, {})), metadata = or_default(body.metadata, {}),
  }
end

-- The API fills in what a function's definition leaves out.
local function tools_with_defaults(tools)
  local result = json.array()
  for index, tool in ipairs(tools) do
    if type(tool["function"]) == "table" and tool["function"].strict == nil then tool["function"].strict = false end
    result[index] = tool
  end
  return result
end

-- Each name with what stands there where nothing was given.
local ASSISTANT = {
  name = function() return null end, description = function() return null end,
  instructions = function() return null end, reasoning_effort = function() return null end,
  tools = function() return json.array() end, tool_resources = function() return {} end,
  metadata = function() return {} end, temperature = function() return 1 end, top_p = function() return 1 end,
  response_format = function() return "auto" end,
}

-- As the API does where code may be run.
local function complete_tools(assistant)
  assistant.tools = tools_with_defaults(assistant.tools)
  for _, tool in ipairs(assistant.tools) do
    if tool.type == "code_interpreter" and not given(assistant.tool_resources.code_interpreter) then
      assistant.tool_resources.code_interpreter = { file_ids = json.array() }
    end
  end
end

--- An assistant, of the body of `assistants.create`.
function objects.assistant(id, now, body)
  local assistant = { id = id, object = "assistant", created_at = now, model = body.model }
  for name, default in pairs(ASSISTANT) do
    assistant[name] = or_default(body[name], default())
  end
  complete_tools(assistant)
  return assistant
end

--- Changes an assistant as the body of `assistants.update` says; null takes back what was given.
function objects.change_assistant(assistant, body)
  assistant.model = given(body.model) or assistant.model
  for name, default in pairs(ASSISTANT) do
    if body[name] ~= nil then assistant[name] = or_default(body[name], default()) end
  end
  complete_tools(assistant)
end

local function instructions_of(assistant, body)
  local base = or_default(body.instructions, assistant.instructions)
  local more = given(body.additional_instructions)
  if not more then return or_null(base) end
  return (given(base) and base .. "\n" or "") .. more
end

--- A run, of the body of `threads.runs.create`. `model_name`, where it is given, is put in the place of the
-- assistant's model.
function objects.run(id, now, thread_id, assistant, body, model_name)
  return {
    id = id, object = "thread.run", created_at = now, assistant_id = assistant.id, thread_id = thread_id,
    status = "queued", started_at = null, expires_at = now + LIFETIME, cancelled_at = null, failed_at = null,
    completed_at = null, required_action = null, last_error = null,
    model = or_default(body.model, model_name or assistant.model),
    instructions = instructions_of(assistant, body),
    tools = tools_with_defaults(or_default(body.tools, assistant.tools)),
    tool_resources = or_default(body.tool_resources, {}), metadata = or_default(body.metadata, {}),
    temperature = or_default(body.temperature, assistant.temperature),
    top_p = or_default(body.top_p, assistant.top_p),
    reasoning_effort = or_default(body.reasoning_effort, assistant.reasoning_effort),
    max_completion_tokens = or_null(body.max_completion_tokens), max_prompt_tokens = or_null(body.max_prompt_tokens),
    truncation_strategy = or_default(body.truncation_strategy, { type = "auto", last_messages = null }),
    incomplete_details = null, usage = null,
    response_format = or_default(body.response_format, assistant.response_format),
    tool_choice = or_default(body.tool_choice, "auto"),
    parallel_tool_calls = or_default(body.parallel_tool_calls, true),
  }
end

--- A step of a run, in progress; `details` is its `step_details`.
function objects.step(id, now, run, details)
  return {
    id = id, object = "thread.run.step", created_at = now, run_id = run.id, assistant_id = run.assistant_id,
    thread_id = run.thread_id, type = details.type, status = "in_progress", cancelled_at = null, completed_at = null,
    expires_at = run.expires_at, failed_at = null, last_error = null, step_details = details, usage = null,
  }
end

--- Tokens as the API reports them; `counts` has prompt_tokens, completion_tokens, cached_tokens (of those of the
-- prompt) and reasoning_tokens (of those of the completion), each 0 where it is absent.
function objects.usage(counts)
  local prompt_tokens, completion_tokens = counts.prompt_tokens or 0, counts.completion_tokens or 0
  return {
    prompt_tokens = prompt_tokens, completion_tokens = completion_tokens,
    total_tokens = prompt_tokens + completion_tokens,
    prompt_token_details = { cached_tokens = counts.cached_tokens or 0 },
    completion_tokens_details = { reasoning_tokens = counts.reasoning_tokens or 0 },
  }
end

--- The counts in such a usage, all of them.
function objects.counts(usage)
  return {
    prompt_tokens = usage.prompt_tokens, completion_tokens = usage.completion_tokens,
    cached_tokens = usage.prompt_token_details.cached_tokens,
    reasoning_tokens = usage.completion_tokens_details.reasoning_tokens,
  }
end

--- A page of a list.
function objects.page(items, more)
  local data = json.array(items)
  return {
    object = "list", data = data, first_id = data[1] and data[1].id or null,
    last_id = data[#data] and data[#data].id or null, has_more = more,
  }
end

return objects
