--- A chat as the items that Responses takes.
local json = require("nexus_assistants.json")

local input = {}

local present = json.present

-- --------------------------------------------------------------------------------------------------------- messages

local function detail_of(image)
  local detail = present(image.detail)
  return detail ~= "auto" and detail or nil
end

local parts = {}

function parts.text(part)
  return { type = "input_text", text = part.text.value }
end

function parts.image_url(part)
  return { type = "input_image", image_url = part.image_url.url, detail = detail_of(part.image_url) }
end

function parts.image_file(part)
  return { type = "input_image", file_id = part.image_file.file_id, detail = detail_of(part.image_file) }
end

local function users_content(content)
  if type(content) == "string" then return json.array({ { type = "input_text", text = content } }) end
  local result = json.array()
  for index, part in ipairs(content) do result[index] = parts[part.type](part) end
  return result
end

-- What the assistant said can't hold images there.
local function assistants_content(content)
  if type(content) == "string" then content = { { type = "text", text = { value = content } } } end
  local result = json.array()
  for _, part in ipairs(content) do
    if part.type == "text" then
      result[#result + 1] = { type = "output_text", text = part.text.value, annotations = json.array() }
    end
  end
  return result
end

-- A message of nothing but what can't be there is none.
local function add_message(items, entry)
  local content = entry.role == "assistant" and assistants_content(entry.content) or users_content(entry.content)
  if content[1] then items[#items + 1] = { type = "message", role = entry.role, content = content } end
end

-- ------------------------------------------------------------------------------------------------------------ calls

-- By the API's description the others must have one when they come back; reasoning with one was refused.
local NEEDS_NO_STATUS = { reasoning = true, function_call = true }

-- An item that comes back as input.
local function returned(item)
  if not NEEDS_NO_STATUS[item.type] then return item end
  local result = {}
  for name, value in pairs(item) do
    if name ~= "status" then result[name] = present(value) end
  end
  return result
end

-- Reasoning that isn't in the item itself is looked for where nothing was stored, and a call that has an id wants its
-- reasoning with it.
local function is_complete(items)
  for _, item in ipairs(items) do
    if item.type == "reasoning" and type(item.encrypted_content) ~= "string" then return false end
  end
  return true
end

local function add_kept(items, kept)
  local complete = is_complete(kept)
  for _, item in ipairs(kept) do
    local sent = returned(item)
    if not complete and item.type == "function_call" then sent.id = nil end
    if complete or item.type ~= "reasoning" then items[#items + 1] = sent end
  end
end

local function call_item(call)
  return { type = "function_call", call_id = call.id, name = call.name, arguments = call.arguments }
end

-- A round of calls: as the model gave it, or made anew where another model did.
local function add_round(items, entry)
  if entry.content ~= "" then add_message(items, entry) end
  if entry.items then return add_kept(items, entry.items) end
  for _, call in ipairs(entry.tool_calls) do items[#items + 1] = call_item(call) end
end

local function output_item(entry)
  return { type = "function_call_output", call_id = entry.tool_call_id, output = entry.content }
end

-- ---------------------------------------------------------------------------------------------------------- the whole

--- Adds the items of one entry of a chat.
function input.add(items, entry)
  if entry.role == "system" then return end
  if entry.role == "tool" then
    items[#items + 1] = output_item(entry)
  elseif entry.tool_calls then
    add_round(items, entry)
  else
    add_message(items, entry)
  end
end

--- The items of a chat from the entry `first` on, by default all.
function input.items(messages, first)
  local items = json.array()
  for index = first or 1, #messages do input.add(items, messages[index]) end
  return items
end

--- What the system says in a chat, or nil.
function input.instructions(messages)
  local texts = {}
  for _, entry in ipairs(messages) do
    if entry.role == "system" then texts[#texts + 1] = entry.content end
  end
  return texts[1] and table.concat(texts, "\n\n") or nil
end

return input
