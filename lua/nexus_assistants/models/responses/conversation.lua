--- A conversation at the API that goes with a thread: what of the thread is in it, and what has to be sent.
--
-- What is known of it is kept with the thread, in `notes`:
--   conversation_id
--   count, last_id   how many of the thread's messages are in it, and the id of the last
--   run_id, replies  the run it answered last, and how many messages that one wrote behind those
--   calls            the ids of the calls that wait for their outputs there, or nil
--   open             true while it may hold what the thread doesn't
--   partial          true where some of the thread was put into it without being counted
-- Messages are added at a thread's end and deleted anywhere, so the count and the last id tell whether all are there
-- still. What can't be put in step (a message was deleted, a run ended with calls that nobody answered, an answer was
-- broken off or cut short) has to be put into a new conversation.
local input = require("nexus_assistants.models.responses.input")
local json = require("nexus_assistants.json")

local conversation = {}

local MOST_ITEMS = 20 -- of one request, where they aren't what a response is asked with

local function thread_messages(messages)
  local found = {}
  for _, entry in ipairs(messages) do
    local is_message = (entry.role == "user" or entry.role == "assistant") and not entry.tool_calls
    if is_message then found[#found + 1] = entry end
  end
  return found
end

local function is_reply(entry, run_id)
  return entry ~= nil and entry.role == "assistant" and entry.run_id == run_id
end

-- How many of the thread's messages are in the conversation; nil where it isn't in step.
local function known(notes, entries)
  local count = notes.count
  if not notes.conversation_id or notes.open then return nil end
  if count > 0 and (entries[count] or {}).id ~= notes.last_id then return nil end
  for index = count + 1, count + notes.replies do
    if not is_reply(entries[index], notes.run_id) then return nil end
  end
  return count + notes.replies
end

-- The outputs that the conversation waits for; nil where they aren't all there.
local function outputs(notes, messages, run)
  local wanted, items = {}, json.array()
  for _, id in ipairs(notes.calls) do wanted[id] = true end
  for _, entry in ipairs(messages) do
    if entry.role == "tool" and wanted[entry.tool_call_id] then input.add(items, entry) end
  end
  return notes.run_id == run.id and #items == #notes.calls and items or nil
end

local function items_from(entries, first)
  local items = json.array()
  for index = first, #entries do input.add(items, entries[index]) end
  return items
end

-- What the conversation lacks; nil where it can't be put in step.
local function missing(notes, messages, run)
  local entries = thread_messages(messages)
  local count = known(notes, entries)
  if not count then return nil end
  if notes.calls then return outputs(notes, messages, run) end
  return items_from(entries, count + 1)
end

-- Takes items from the beginning of a list, as many as a request may have, but leaves as many behind.
local function take_some(items)
  local some, rest = json.array(), json.array()
  local count = math.min(#items - MOST_ITEMS, MOST_ITEMS)
  for index, item in ipairs(items) do
    local list = index <= count and some or rest
    list[#list + 1] = item
  end
  return some, rest
end

-- Puts items into the conversation until a response can be asked with the rest. Returns that, or nil and an error.
local function put(exchange, notes, items)
  while #items > MOST_ITEMS do
    local some
    some, items = take_some(items)
    local added, err = exchange:perform("conversations.items.create", {
      path = { conversation_id = notes.conversation_id }, body = { items = some },
    })
    notes.partial = true
    if not added then return nil, err end
  end
  return items
end

local function forget(notes)
  for name in pairs(notes) do notes[name] = nil end
end

-- Until the answer is known, the conversation may hold what the thread doesn't.
local function mark_open(context, notes)
  notes.open = true
  context.keep()
end

local function begin_anew(exchange, notes, messages)
  local some, items = json.array(), input.items(messages)
  if #items > MOST_ITEMS then some, items = take_some(items) end
  local made, err = exchange:perform("conversations.create", { path = {}, body = { items = some[1] and some or nil } })
  if not made then return nil, err end
  forget(notes)
  notes.conversation_id, notes.count, notes.replies, notes.partial = made.id, 0, 0, some[1] ~= nil or nil
  mark_open(exchange.context, notes)
  return put(exchange, notes, items)
end

--- Puts a conversation in step with the chat of a run, making a new one where that can't be. Returns the items that are
-- left for the response to be asked with, or nil and an error.
function conversation.begin(exchange, notes, messages, run)
  local items = missing(notes, messages, run)
  if not items then return begin_anew(exchange, notes, messages) end
  mark_open(exchange.context, notes)
  if notes.calls then return items end
  return put(exchange, notes, items)
end

-- The runtime cuts what is longer than it may be, too: the API can't be asked for as little as a run may want.
local function is_cut(answer, most_tokens)
  if answer.incomplete or not most_tokens then return answer.incomplete ~= nil end
  return not answer.usage or answer.usage.completion_tokens > most_tokens
end

--- Notes what an answer has brought into the conversation. One that was cut short stays as it is there. `asked` has the
-- messages, the run and the context, as a model's `think` gets them.
function conversation.finish(notes, asked, answer, has_text)
  local entries = thread_messages(asked.messages)
  notes.count, notes.last_id = #entries, (entries[#entries] or {}).id
  notes.run_id, notes.replies = asked.run.id, has_text and 1 or 0
  notes.calls = answer.tool_calls[1] and json.array() or nil
  for index, call in ipairs(answer.tool_calls) do notes.calls[index] = call.id end
  notes.open, notes.partial = is_cut(answer, asked.context.most_tokens) or nil, nil
end

--- Notes what an error means for the conversation: a request that was refused has brought nothing into it.
function conversation.fail(notes, err)
  local is_refused = err.status ~= nil and err.status >= 400 and err.status < 500
  if is_refused and not notes.partial then notes.open = nil end
end

--- Whether an error says that the conversation isn't there any more.
function conversation.is_gone(notes, err)
  if err.status ~= 404 or not notes.conversation_id then return false end
  return err.param == "conversation" or tostring(err.message):find(notes.conversation_id, 1, true) ~= nil
end

conversation.forget = forget

return conversation
