--- What a model is given: the thread's messages and the run's tool rounds, as a chat; and how many tokens that is.
--
-- Tokens are an estimate where the model doesn't report them: one for each four bytes of text, rounded up, and three
-- more a message.
local checks = require("nexus_assistants.providers.runtime.checks")
local file_search = require("nexus_assistants.providers.runtime.files.tool")

local prompt = {}

local BYTES_PER_TOKEN, TOKENS_PER_MESSAGE = 4, 3

local function plain_content(parts)
  local texts = {}
  for _, part in ipairs(parts) do
    if part.type ~= "text" then return parts end
    texts[#texts + 1] = part.text.value
  end
  return table.concat(texts, "\n")
end

local function add_messages(chat, messages)
  for _, message in ipairs(messages) do
    chat[#chat + 1] = {
      role = message.role, content = plain_content(message.content), id = message.id, run_id = message.run_id,
    }
  end
end

-- The name, the arguments and the output of a call.
local function parts_of_call(call)
  if call.type == "file_search" then return file_search.for_model(call) end
  local wanted = call["function"]
  return wanted.name, wanted.arguments, wanted.output
end

local function add_round(chat, calls, items)
  local asked = { role = "assistant", content = "", tool_calls = {}, items = items }
  chat[#chat + 1] = asked
  for index, call in ipairs(calls) do
    local name, arguments, output = parts_of_call(call)
    asked.tool_calls[index] = { id = call.id, name = name, arguments = arguments }
    chat[#chat + 1] = { role = "tool", tool_call_id = call.id, name = name, content = output }
  end
end

-- What was called at the API is the API's to remember; of file_search, the runtime's own is told by its arguments.
local function is_round(calls)
  local call = calls[1]
  return call ~= nil and (call.type == "function" or call.type == "file_search" and call.arguments ~= nil)
end

--- The chat of a run. `messages` are those of its thread, oldest first, `steps` its own, oldest first.
-- An array of `{role, content, id?, run_id?, tool_calls?, items?, tool_call_id?, name?}`; `content` is a text, or the
-- parts where there is something beside text among them; `items` is what the model gave with its calls.
function prompt.build(run, messages, steps)
  local chat = {}
  if checks.given(run.instructions) then chat[1] = { role = "system", content = run.instructions } end
  add_messages(chat, messages)
  for _, step in ipairs(steps) do
    local has_round = step.type == "tool_calls" and is_round(step.step_details.tool_calls)
    if has_round then add_round(chat, step.step_details.tool_calls, step.private and step.private.items) end
  end
  return chat
end

--- The estimate for a text.
function prompt.tokens(text)
  return math.ceil(#text / BYTES_PER_TOKEN)
end

--- The estimate for a message of a text with so many bytes.
function prompt.reply_tokens(bytes)
  return TOKENS_PER_MESSAGE + math.ceil(bytes / BYTES_PER_TOKEN)
end

--- Whether a text with so many bytes is one that `cut` leaves whole.
function prompt.fits(bytes, tokens)
  return bytes <= tokens * BYTES_PER_TOKEN
end

--- The estimate for one message of a chat, or for what a model answered.
function prompt.message_tokens(message)
  local content = message.content or message.text or ""
  local total = TOKENS_PER_MESSAGE + (type(content) == "string" and prompt.tokens(content) or 0)
  for _, call in ipairs(message.tool_calls or {}) do
    total = total + prompt.tokens(call.name .. call.arguments)
  end
  return total
end

--- The estimate for a chat.
function prompt.chat_tokens(chat)
  local total = 0
  for _, message in ipairs(chat) do
    total = total + prompt.message_tokens(message)
  end
  return total
end

-- What a run may forget: its thread's messages, not its instructions and tool rounds. Returns how many there are, and
-- where the oldest is.
local function forgettable(chat)
  local count, oldest = 0, nil
  for index, message in ipairs(chat) do
    if message.role == "user" or (message.role == "assistant" and not message.tool_calls) then
      count, oldest = count + 1, oldest or index
    end
  end
  return count, oldest
end

-- Takes `count` entries out from `first` on; those behind are moved once, however many go.
local function remove_range(chat, first, count)
  local length = #chat
  for index = first, length do
    chat[index] = index + count <= length and chat[index + count] or nil
  end
end

--- Drops the oldest messages until `budget` tokens suffice, where that is given. Returns whether they do.
function prompt.truncate(chat, budget)
  local tokens, count, oldest = prompt.chat_tokens(chat), forgettable(chat)
  local dropped = 0
  -- the messages stand together; the last always stays
  while count > 1 and budget and tokens > budget do
    tokens = tokens - prompt.message_tokens(chat[oldest + dropped])
    count, dropped = count - 1, dropped + 1
  end
  if dropped > 0 then remove_range(chat, oldest, dropped) end
  return not budget or tokens <= budget
end

--- The beginning of a text that `tokens` tokens hold, not cut within a character.
function prompt.cut(text, tokens)
  local length = tokens * BYTES_PER_TOKEN
  while length > 0 and length < #text and text:byte(length + 1) >= 128 and text:byte(length + 1) < 192 do
    length = length - 1
  end
  return text:sub(1, length)
end

return prompt
