--- Assistants and threads with their messages, as they were exported from an account, into a store.
--
-- A file is JSON, or JSON Lines: objects as the API has them (`object` says what they are), lists of them, pages of
-- lists, or a table of lists (`assistants`, `threads`, `messages`). A thread may have its `messages` in it, as a list
-- or a page; messages elsewhere name their `thread_id`. What is there already, by its id, is left as it is.
local checks = require("nexus_assistants.providers.runtime.checks")
local json = require("nexus_assistants.json")
local objects = require("nexus_assistants.providers.runtime.objects")
local values = require("nexus_assistants.values")

local import = {}

local MOST_BYTES = 256 * 1024 * 1024 -- of a file, or of a line where there is an object a line

-- ---------------------------------------------------------------------------------------------------- what is what

local function wrong(what, object, problem)
  local id = type(object.id) == "string" and " '" .. object.id .. "'" or ""
  error(("%s%s: %s"):format(what, id, problem), 0)
end

local function check(what, object, fits, problem)
  if not fits then wrong(what, object, problem) end
end

local function check_common(what, object)
  check(what, object, type(object.id) == "string" and object.id ~= "", "it has no id")
  check(what, object, values.is_finite(object.created_at), "it has no created_at")
end

local collect

local function collect_list(found, list)
  for _, object in ipairs(list) do collect(found, object) end
end

local function collect_messages(found, thread)
  local given = checks.given(thread.messages)
  if given == nil then return end
  local list = type(given) == "table" and not json.is_array(given) and given.data or given
  check("thread", thread, json.is_array(list), "its messages are no list")
  if list ~= given then found.in_pages[thread.id] = true end
  for _, message in ipairs(list) do
    check("thread", thread, type(message) == "table", "its messages hold something else")
    message.thread_id = thread.id
    collect(found, message, "thread.message")
  end
end

local KINDS = {}

function KINDS.assistant(found, assistant)
  check_common("assistant", assistant)
  check("assistant", assistant, type(assistant.model) == "string", "it has no model")
  found.assistants[#found.assistants + 1] = assistant
end

function KINDS.thread(found, thread)
  check_common("thread", thread)
  found.threads[#found.threads + 1] = thread
  collect_messages(found, thread)
end

KINDS["thread.message"] = function(found, message)
  check_common("message", message)
  check("message", message, type(message.thread_id) == "string", "it has no thread_id")
  check("message", message, message.role == "user" or message.role == "assistant", "it has no role")
  check("message", message, json.is_array(message.content), "its content is no list")
  found.messages[message.thread_id] = found.messages[message.thread_id] or {}
  table.insert(found.messages[message.thread_id], message)
end

function KINDS.list(found, page)
  if not json.is_array(page.data) then error("a list without data", 0) end
  local first = page.data[1]
  if type(first) == "table" and first.thread_id then found.in_pages[first.thread_id] = true end
  collect_list(found, page.data)
end

local TABLES = { assistants = "assistant", threads = "thread", messages = "thread.message" }

local function collect_table(found, value)
  for name, kind in pairs(TABLES) do
    local given = checks.given(value[name])
    local list = type(given) == "table" and given.data or given or {}
    if type(list) ~= "table" then error(name .. " is no list", 0) end
    for _, object in ipairs(list) do collect(found, object, kind) end
  end
end

-- Runs and steps are left out: what they came to is in the messages.
local LEFT_OUT = { ["thread.run"] = true, ["thread.run.step"] = true }

function collect(found, value, kind)
  if type(value) ~= "table" then error("there is a " .. type(value) .. " where an object should be", 0) end
  if json.is_array(value) then return collect_list(found, value) end
  kind = kind or checks.given(value.object)
  if LEFT_OUT[kind] then return end
  if KINDS[kind] then return KINDS[kind](found, value) end
  if kind ~= nil then error("there is an object of kind '" .. tostring(kind) .. "', which can't be imported", 0) end
  collect_table(found, value)
end

-- ---------------------------------------------------------------------------------------------------------- reading

local function decode(text)
  local value, problem = json.decode(text)
  if value == nil then error("not JSON: " .. problem, 0) end
  return value
end

local function read_lines(found, first, file)
  local number, line = 1, first
  while line do
    if #line > MOST_BYTES then error(("line %d is longer than %d bytes"):format(number, MOST_BYTES), 0) end
    local ok, problem = pcall(function() if line:find("%S") then collect(found, decode(line)) end end)
    if not ok then error(("line %d: %s"):format(number, problem), 0) end
    number, line = number + 1, file:read("*l")
  end
end

local function read_whole(found, first, file)
  local text = first .. "\n" .. (file:read(MOST_BYTES) or "")
  if file:read(0) then error(("it is longer than %d bytes: write one object a line"):format(MOST_BYTES), 0) end
  collect(found, decode(text))
end

local function read_file(found, path)
  local file, problem = io.open(path, "rb")
  if not file then error(problem, 0) end
  local first, ok
  first, problem = file:read("*l")
  if not first then error(problem or "it is empty", 0) end
  local read = json.decode(first) ~= nil and read_lines or read_whole
  ok, problem = pcall(read, found, first, file)
  file:close()
  if not ok then error(problem, 0) end
end

--- Reads files: `paths` is an array. Returns what was found in them; or nil and what is wrong, with the file's name.
function import.read(paths)
  local found = { assistants = {}, threads = {}, messages = {}, in_pages = {} }
  for _, path in ipairs(paths) do
    local ok, problem = pcall(read_file, found, path)
    if not ok then
      problem = tostring(problem)
      return nil, problem:find(path, 1, true) and problem or path .. ": " .. problem
    end
  end
  return found
end

-- ---------------------------------------------------------------------------------------------------------- storing

local function store_assistant(store, assistant, counts)
  if store:get("assistants", "", assistant.id) then
    counts.present = counts.present + 1
    return
  end
  store:insert("assistants", "", objects.assistant(assistant.id, assistant.created_at, assistant))
  counts.assistants = counts.assistants + 1
end

local function or_null(value)
  return value == nil and json.null or value
end

local function store_message(store, message, counts)
  if store:get("messages", message.thread_id, message.id) then
    counts.present = counts.present + 1
    return
  end
  local stored = objects.message(message.id, message.created_at, message.thread_id, message)
  stored.content = message.content
  stored.assistant_id, stored.run_id = or_null(message.assistant_id), or_null(message.run_id)
  store:insert("messages", message.thread_id, stored)
  counts.messages = counts.messages + 1
end

local function store_thread(store, thread, messages, counts)
  if store:get("threads", "", thread.id) then
    counts.present = counts.present + 1
  else
    store:insert("threads", "", objects.thread(thread.id, thread.created_at, thread))
    counts.threads = counts.threads + 1
  end
  for _, message in ipairs(messages or {}) do store_message(store, message, counts) end
end

-- The API's pages have what is newest first, unless it was asked for otherwise.
local function oldest_first(list, is_page)
  local first, last = list[1], list[#list]
  local is_reversed = is_page
  if first.created_at ~= last.created_at then is_reversed = first.created_at > last.created_at end
  if not is_reversed then return list end
  local result = {}
  for index, message in ipairs(list) do result[#list + 1 - index] = message end
  return result
end

-- Messages whose thread wasn't exported itself make one.
local function threads_of(found)
  local threads, known = {}, {}
  for index, thread in ipairs(found.threads) do threads[index], known[thread.id] = thread, true end
  for thread_id, list in pairs(found.messages) do
    found.messages[thread_id] = oldest_first(list, found.in_pages[thread_id] == true)
  end
  for _, thread_id in ipairs(values.sorted_names(found.messages)) do
    if not known[thread_id] then
      threads[#threads + 1] = { id = thread_id, created_at = found.messages[thread_id][1].created_at }
    end
  end
  return threads
end

--- Keeps what was found in a store, each thread with its messages as one piece. Returns how many `assistants`,
-- `threads` and `messages` there are more now, and how many of all were `present` already. Raises where the store
-- fails.
function import.store(store, found)
  local counts = { assistants = 0, threads = 0, messages = 0, present = 0 }
  for _, assistant in ipairs(found.assistants) do store:atomically(store_assistant, store, assistant, counts) end
  for _, thread in ipairs(threads_of(found)) do
    store:atomically(store_thread, store, thread, found.messages[thread.id], counts)
  end
  return counts
end

return import
