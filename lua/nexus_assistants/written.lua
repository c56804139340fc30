--- Pure: what a model wrote, out of the objects of Responses and of chat completions, of whatever shape a server gives
-- them.
local json = require("nexus_assistants.json")
local values = require("nexus_assistants.values")

local present = json.present

local written = {}

local function fields_of(value)
  return type(value) == "table" and value or {}
end

local function joined(texts)
  if texts[1] then return table.concat(texts) end
end

local function add_texts(texts, content)
  for _, part in ipairs(values.tables(content)) do
    local text = present(part.text) or present(part.refusal)
    if type(text) == "string" then texts[#texts + 1] = text end
  end
end

--- The text of a response and the functions it calls: `{ text, tool_calls = { { name, arguments } } }`, each nil where
-- there is none.
function written.response(response)
  local texts, calls = {}, {}
  for _, item in ipairs(values.tables(response.output)) do
    if item.type == "message" then add_texts(texts, item.content) end
    if item.type == "function_call" then calls[#calls + 1] = { name = item.name, arguments = item.arguments } end
  end
  return { text = joined(texts), tool_calls = calls[1] and calls }
end

local function calls_of(message)
  local calls = {}
  for index, call in ipairs(values.tables(message.tool_calls)) do
    local called = fields_of(call["function"])
    calls[index] = { name = called.name, arguments = called.arguments }
  end
  return calls[1] and calls
end

--- Of several choices of a completion, or of a chunk of one, the first; none where there is something else to tell, as
-- the usage, or what Azure's filters found in the prompt.
function written.choice(completion)
  for _, choice in ipairs(values.tables(completion.choices)) do
    if (present(choice.index) or 0) == 0 then return choice end
  end
end

--- The same of a chat completion; and `status`, why it ended.
function written.completion(completion)
  local choice = written.choice(completion) or {}
  local message = fields_of(choice.message)
  return { status = choice.finish_reason, text = present(message.content) or present(message.refusal),
    tool_calls = calls_of(message) }
end

return written
