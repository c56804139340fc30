--- Pure: what a response says, as a model's `think` returns it.
local annotations = require("nexus_assistants.models.responses.annotations")
local errors = require("nexus_assistants.error")
local failure = require("nexus_assistants.models.chat.failure")
local hosted = require("nexus_assistants.models.responses.hosted")
local json = require("nexus_assistants.json")
local usage = require("nexus_assistants.models.usage")
local values = require("nexus_assistants.values")

local output = {}

local present = json.present

--- What stands between two texts of one response, which become one message.
output.BETWEEN = "\n\n"

local INCOMPLETE = { max_output_tokens = "max_completion_tokens", content_filter = "content_filter" }

local function fields_of(value)
  return type(value) == "table" and value or {}
end

-- ------------------------------------------------------------------------------------------------------------ items

local function add_text(answer, part)
  local text = present(part.text) or present(part.refusal)
  if type(text) ~= "string" or text == "" then return end
  answer.text = answer.text and answer.text .. output.BETWEEN or ""
  annotations.add(answer.annotations, part.annotations, text, annotations.length(answer.text))
  answer.text = answer.text .. text
end

local function add_call(answer, item)
  answer.tool_calls[#answer.tool_calls + 1] = {
    id = present(item.call_id), name = item.name, arguments = present(item.arguments),
  }
end

-- What a model gives beside texts has to come back with the outputs of its calls.
local function add_item(answer, item)
  if item.type == "message" then
    for _, part in ipairs(values.tables(item.content)) do add_text(answer, part) end
    return
  end
  answer.items[#answer.items + 1] = item
  if item.type == "function_call" then return add_call(answer, item) end
  answer.hosted[#answer.hosted + 1] = hosted.call(item)
end

-- ---------------------------------------------------------------------------------------------------------- failure

local function code_of(said)
  local code = tostring(said.code)
  -- those of images: they are part of what the model was given
  if code == "rate_limit_exceeded" or code == "invalid_prompt" then return code end
  return code:find("image", 1, true) and "invalid_prompt" or "server_error"
end

local function failed(response)
  local said = fields_of(response.error)
  return nil, errors.new({
    kind = said.code == "rate_limit_exceeded" and "rate_limit" or "server", code = code_of(said),
    message = tostring(present(said.message) or "the response failed"),
  })
end

local function unfinished(response)
  local status = tostring(present(response.status) or "unknown")
  return nil, failure.answer(("the response ended with status '%s'"):format(status))
end

local function wants_approval(response)
  for _, item in ipairs(values.tables(response.output)) do
    if item.type == "mcp_approval_request" then return true end
  end
end

-- ---------------------------------------------------------------------------------------------------------- the whole

local UNDER_WAY = { queued = true, in_progress = true }

--- Whether a response goes on.
function output.is_under_way(response)
  return UNDER_WAY[response.status] == true
end

local function incomplete_of(response)
  if response.status ~= "incomplete" then return nil end
  return INCOMPLETE[fields_of(response.incomplete_details).reason] or "max_completion_tokens"
end

-- A call in an answer that was cut short may lack some of its arguments.
local function drop_calls(answer)
  answer.tool_calls, answer.items = {}, {}
end

--- The answer of a response that has ended; or nil and an error.
function output.answer(response)
  if response.status == "failed" then return failed(response) end
  if response.status ~= "completed" and response.status ~= "incomplete" then return unfinished(response) end
  if wants_approval(response) then
    return nil, failure.answer("an MCP server wants an approval, which a run can't give")
  end
  local answer = {
    annotations = json.array(), tool_calls = {}, hosted = json.array(), items = json.array(),
    usage = usage.read(response.usage, "input_tokens", "output_tokens"), incomplete = incomplete_of(response),
    model = present(response.model),
  }
  for _, item in ipairs(values.tables(response.output)) do add_item(answer, item) end
  if answer.incomplete then drop_calls(answer) end
  if not answer.annotations[1] then answer.annotations = nil end
  return answer
end

return output
