--- Assistants and threads with their messages, as they were exported from an account, into a store.
--
-- A file is JSON, or JSON Lines: objects as the API has them (`object` says what they are), lists of them, pages of
-- lists, or a table of lists (`assistants`, `threads`, `messages`). A thread may have its `messages` in it, as a list
-- or a page; messages elsewhere name their `thread_id`. What is there already, by its id, is left as it is.
local checks = require("nexus_assistants.providers.runtime.checks")
local copy = require("nexus_assistants.providers.runtime.copy")
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local objects = require("nexus_assistants.providers.runtime.objects")
local values = require("nexus_assistants.values")

local import = {}

local MOST_BYTES = 256 * 1024 * 1024 -- of a file, or of a line where there is an object a line
local MOST_DEPTH = 100 -- of what an object holds: it is nested anew where it is shown
local LONGEST_ID = 256

-- ---------------------------------------------------------------------------------------------------- what is what

local function wrong(what, object, problem)
  local id = type(object.id) == "string" and " '" .. object.id .. "'" or ""
  error(("%s%s: %s"):format(what, id, problem), 0)
end

local function check(what, object, fits, problem)
  if not fits then wrong(what, object, problem) end
end

local function check_id(what, object, name)
  local id = object[name]
  check(what, object, type(id) == "string" and id ~= "", "it has no " .. name)
  check(what, object, #id <= LONGEST_ID and not values.has_control(id), "its " .. name .. " can't be one")
end

local function check_common(what, object)
  check_id(what, object, "id")
  check(what, object, values.is_finite(object.created_at), "it has no created_at")
end

local STRING, NUMBER, OBJECT, ARRAY = checks.type("string"), checks.type("number"), checks.type("object"),
  checks.type("array")

local function check_typed(item, place)
  local fits, err = OBJECT(item, place)
  if fits then fits, err = STRING(item.type, place .. ".type") end
  return fits, err
end

local function check_part(part, place)
  local fits, err = check_typed(part, place)
  if not fits or part.type ~= "text" then return fits, err end
  local text = checks.given(part.text)
  if type(text) == "table" and type(text.value) == "string" then return true end
  return checks.missing(place .. ".text.value")
end

local function check_resources(resources, name)
  local fits, err = OBJECT(resources, name)
  for tool, resource in pairs(fits and checks.given(resources) or {}) do
    if fits then fits, err = OBJECT(resource, name .. "." .. tool) end
    for member, list in pairs(fits and checks.given(resource) or {}) do
      if fits then fits, err = ARRAY(list, name .. "." .. tool .. "." .. member) end
    end
  end
  return fits, err
end

-- What the runtime relies on, wherever it was exported from.
local FIELDS = {
  assistant = {
    name = STRING, description = STRING, instructions = STRING, tools = checks.array_of(check_typed),
    tool_resources = check_resources, metadata = OBJECT, temperature = NUMBER, top_p = NUMBER,
    reasoning_effort = STRING,
  },
  thread = { tool_resources = check_resources, metadata = OBJECT },
  message = {
    content = checks.array_of(check_part), attachments = checks.array_of(OBJECT), metadata = OBJECT,
    assistant_id = STRING, run_id = STRING,
  },
}

local function check_fields(what, object)
  for _, name in ipairs(values.sorted_names(FIELDS[what])) do
    local fits, err = FIELDS[what][name](object[name], name)
    check(what, object, fits, err and err.message)
    check(what, object, pcall(copy, object[name], MOST_DEPTH), "its " .. name .. " is nested too deeply")
  end
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
  if list ~= given and given.has_more == true then found.incomplete = found.incomplete + 1 end
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
  check_fields("assistant", assistant)
  found.assistants[#found.assistants + 1] = assistant
end

function KINDS.thread(found, thread)
  check_common("thread", thread)
  check_fields("thread", thread)
  found.threads[#found.threads + 1] = thread
  collect_messages(found, thread)
end

KINDS["thread.message"] = function(found, message)
  check_common("message", message)
  check_id("message", message, "thread_id")
  check("message", message, message.role == "user" or message.role == "assistant", "it has no role")
  check("message", message, json.is_array(message.content), "its content is no list")
  check_fields("message", message)
  found.messages[message.thread_id] = found.messages[message.thread_id] or {}
  table.insert(found.messages[message.thread_id], message)
end

function KINDS.list(found, page)
  if not json.is_array(page.data) then error("a list without data", 0) end
  if page.has_more == true then found.incomplete = found.incomplete + 1 end
  local first = page.data[1]
  if type(first) == "table" and first.thread_id then found.in_pages[first.thread_id] = true end
  collect_list(found, page.data)
end

-- What a table of lists may have beside them.
local BESIDE = { object = true }

local TABLES = { assistants = "assistant", threads = "thread", messages = "thread.message" }

local function refuse_unknown(value)
  for _, name in ipairs(values.sorted_names(value)) do
    if not TABLES[name] and not BESIDE[name] then
      error(("there is '%s' where assistants, threads or messages should be"):format(tostring(name)), 0)
    end
  end
end

local function collect_table(found, value)
  refuse_unknown(value)
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
  if LEFT_OUT[kind] then
    found.left_out = found.left_out + 1
    return
  end
  if KINDS[kind] then return KINDS[kind](found, value) end
  if kind ~= nil then error("there is an object of kind '" .. tostring(kind) .. "', which can't be imported", 0) end
  collect_table(found, value)
end

-- ---------------------------------------------------------------------------------------------------------- reading

local function decode(text)
  if not core.utf8_valid(text) then error("not UTF-8", 0) end
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

--- Reads files: `paths` is an array. Returns what was found in them, with how many runs and steps were `left_out`, and
-- how many pages say that they aren't the last (`incomplete`); or nil and what is wrong, with the file's name.
function import.read(paths)
  local found = { assistants = {}, threads = {}, messages = {}, in_pages = {}, left_out = 0, incomplete = 0 }
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

-- Whether a list begins with what is newest, as the API's pages do, unless they were asked for otherwise. Several pages
-- may stand in any order.
local function is_falling(list, is_page)
  local falls, rises = 0, 0
  for index = 2, #list do
    local before, after = list[index - 1].created_at, list[index].created_at
    if before > after then falls = falls + 1 elseif before < after then rises = rises + 1 end
  end
  if falls == rises then return is_page end
  return falls > rises
end

local function oldest_first(list, is_page)
  local result, places, reversed = {}, {}, is_falling(list, is_page)
  for index, message in ipairs(list) do
    result[index], places[message] = message, reversed and -index or index
  end
  table.sort(result, function(one, other)
    if one.created_at ~= other.created_at then return one.created_at < other.created_at end
    return places[one] < places[other]
  end)
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
