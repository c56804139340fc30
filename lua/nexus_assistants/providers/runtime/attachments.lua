--- Files that are attached to messages for a tool become part of what their thread's tools may use, as at the API,
-- whose reference says so of `attachments`: of its vector store, which is made where it has none, and of the files that
-- code may read.
local checks = require("nexus_assistants.providers.runtime.checks")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")

local attachments = {}

-- A store that was made for attachments goes once it wasn't used for so long.
local LIFETIME = { anchor = "last_active_at", days = 7 }

-- The messages that an operation brings, and what holds the resources of a thread that it makes.
local BRINGS = {
  ["threads.create"] = function(body) return checks.given(body.messages), body end,
  ["threads.create_and_run"] = function(body)
    local thread = checks.given(body.thread) or {}
    return checks.given(thread.messages), thread
  end,
  ["threads.messages.create"] = function(body) return { body } end,
  ["threads.runs.create"] = function(body) return checks.given(body.additional_messages) end,
}

-- The ids of the files that messages attach for a tool, each once.
local function files_for(messages, tool_type)
  local ids, known = json.array(), {}
  local function add(attachment)
    for _, tool in ipairs(checks.given(attachment.tools) or {}) do
      local id = checks.given(attachment.file_id)
      if id and not known[id] and type(tool) == "table" and tool.type == tool_type then
        known[id], ids[#ids + 1] = true, id
      end
    end
  end
  for _, message in ipairs(messages) do
    for _, attachment in ipairs(checks.given(message.attachments) or {}) do add(attachment) end
  end
  return ids
end

local function resource(resources, name, member)
  local found = checks.given(resources[name]) or {}
  resources[name] = found
  found[member] = checks.given(found[member]) or json.array()
  return found[member]
end

local function add_to_store(runtime, store_id, files, options)
  for _, file_id in ipairs(files) do
    local added, err = runtime:perform(operations["vector_stores.files.create"],
      { path = { vector_store_id = store_id }, body = { file_id = file_id }, options = options })
    if not added then return nil, err end
  end
  return true
end

local function make_searchable(runtime, resources, files, options)
  if not files[1] then return true end
  local ids = resource(resources, "file_search", "vector_store_ids")
  if ids[1] then return add_to_store(runtime, ids[1], files, options) end
  local made, err = runtime:perform(operations["vector_stores.create"],
    { body = { file_ids = files, expires_after = LIFETIME }, options = options })
  if not made then return nil, err end
  ids[1] = made.id
  return true
end

local function make_readable(resources, files)
  if not files[1] then return end
  local ids = resource(resources, "code_interpreter", "file_ids")
  local known = {}
  for _, id in ipairs(ids) do known[id] = true end
  for _, id in ipairs(files) do
    if not known[id] then ids[#ids + 1] = id end
  end
end

local function add_to(runtime, resources, messages, options)
  local ok, err = make_searchable(runtime, resources, files_for(messages, "file_search"), options)
  if not ok then return nil, err end
  make_readable(resources, files_for(messages, "code_interpreter"))
  return true
end

local function keep(store, thread_id, resources)
  store:lock_thread(thread_id)
  local thread = store:get("threads", "", thread_id)
  if not thread then return end
  thread.tool_resources = resources
  store:save("threads", "", thread)
end

-- Where there is no such thread, the operation itself says so.
local function add_to_thread(runtime, thread_id, messages, options)
  local thread = runtime.store:get("threads", "", thread_id)
  if not thread then return true end
  local ok, err = add_to(runtime, thread.tool_resources, messages, options)
  if ok then runtime.store:atomically(keep, runtime.store, thread_id, thread.tool_resources) end
  return ok, err
end

local function has_any(messages)
  for _, message in ipairs(messages or {}) do
    if checks.given(message.attachments) and message.attachments[1] then return true end
  end
  return false
end

--- Takes care of what the messages of a body attach, before the operation is performed. May wait, where the API has the
-- files. Returns true, or nil and an error.
function attachments.add(runtime, operation, path, body, options)
  local brings = BRINGS[operation.name]
  if not brings then return true end
  local messages, holder = brings(body)
  if not has_any(messages) then return true end
  if not holder then return add_to_thread(runtime, path.thread_id, messages, options) end
  holder.tool_resources = checks.given(holder.tool_resources) or {}
  return add_to(runtime, holder.tool_resources, messages, options)
end

return attachments
