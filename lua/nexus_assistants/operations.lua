--- The operations of the API: the one place that knows an operation's name, method, path, span and what to record.
--
-- An entry has
--   name, method, path          as in the API's reference; `{…}` in a path are its parameters
--   path_parameters             their names, in order
--   payload                     "body", "query", "multipart" or nil: what the caller's table of parameters becomes
--   file_field                  of a multipart payload: the field that is the file
--   required                    whether that table must be given
--   query_parameters            names in a body's table that travel in the query, as a set
--   answer                      "bytes" where the answer is no JSON but a file
--   streams                     true where `stream = true` in the body makes the answer a stream of events
--   pages                       true where the answer is a page of a list
--   excludes                    true where it isn't taken while a run of the thread is active
--   direct                      true where it belongs to the API behind a model: it goes there whoever performs the
--                               others, and the runtime doesn't have it
--   span, type                  the span's name and type
--   record(span, params, result)  what goes on the span beside what every operation records; `result` is nil where the
--                               operation failed. `span` has input(value), output(value), set(key, value).
local json = require("nexus_assistants.json")
local values = require("nexus_assistants.values")
local written = require("nexus_assistants.written")

local operations = { list = {} }

local INCLUDE = { include = true }

-- Of the bodies for models, what goes on spans: neither tools, which may come with credentials, nor what is at its
-- default.
local RESPONSE_INPUT = { "model", "instructions", "input", "conversation", "previous_response_id", "background",
  "tool_choice", "reasoning", "text", "max_output_tokens" }
local CHAT_INPUT = { "model", "messages", "tool_choice", "response_format", "max_tokens", "max_completion_tokens" }

-- --------------------------------------------------------------------------------------------- what is recorded

-- Tools of an API's own may come with credentials.
local PLAIN_TOOLS = { ["function"] = true, file_search = true, code_interpreter = true }

local function shown_tools(tools)
  local shown = {}
  for index, tool in ipairs(values.tables(tools)) do
    shown[index] = PLAIN_TOOLS[tool.type] and tool or { type = tool.type }
  end
  return shown
end

local function record_input(span, params)
  local body = params.body
  if body and json.present(body.tools) then body = values.merged(body, { tools = shown_tools(body.tools) }) end
  if body then span:input(body) end
end

-- Records the input, and the id of what was made under a name.
local function record_id(name)
  return function(span, params, result)
    record_input(span, params)
    if result then span:outcome({ [name] = result.id }) end
  end
end

local function record_thread(span, params, result)
  record_input(span, params)
  if result then
    span:set("threadId", result.id)
    span:outcome({ threadId = result.id })
  end
end

local function record_run(span, params, result)
  record_input(span, params)
  if not result then return end
  span:set("runId", result.id)
  span:outcome({ status = result.status, model = result.model, usage = result.usage, last_error = result.last_error })
end

local function record_new_run(span, params, result)
  record_run(span, params, result)
  if result then span:set("threadId", result.thread_id) end
end

local function record_count(name)
  return function(span, _, result)
    if result and type(result.data) == "table" then span:outcome({ [name] = #result.data }) end
  end
end

local function record_status(span, params, result)
  record_input(span, params)
  if result then span:outcome({ status = result.status }) end
end

local function record_file_status(span, params, result)
  record_input(span, params)
  if result then
    span:outcome({ id = result.id, status = result.status, last_error = result.last_error,
      file_counts = result.file_counts })
  end
end

-- Never what is in the file.
local function record_upload(span, params, result)
  local fields = params.body or {}
  local file = fields.file or fields.data
  span:input({ purpose = fields.purpose, file = type(file) == "table" and (file.name or file.path) or nil })
  if result then span:outcome({ id = result.id, bytes = result.bytes }) end
end

local function record_size(span, _, result)
  if type(result) == "string" then span:outcome({ bytes = #result }) end
  if type(result) == "number" then span:outcome({ bytes = result }) end
end

local function record_some(span, body, names)
  local some = {}
  for _, name in ipairs(names) do some[name] = body[name] end
  span:input(some)
end

local function record_response(span, params, result)
  if params.body then record_some(span, params.body, RESPONSE_INPUT) end
  if not result then return end
  span:set("responseId", result.id)
  local said = written.response(result)
  span:outcome({ status = result.status, model = result.model, usage = result.usage, error = result.error,
    incomplete_details = result.incomplete_details, text = said.text, tool_calls = said.tool_calls })
end

local function record_completion(span, params, result)
  if params.body then record_some(span, params.body, CHAT_INPUT) end
  if not result then return end
  local said = written.completion(result)
  span:outcome({ status = said.status, model = result.model, usage = result.usage, text = said.text,
    tool_calls = said.tool_calls })
end

local function record_conversation(span, params, result)
  record_input(span, params)
  if result then span:set("conversationId", result.id) end
end

local function record_items(span, params, result)
  record_input(span, params)
  record_count("itemCount")(span, params, result)
end

-- ---------------------------------------------------------------------------------------------------- the table

local definitions = {
  { name = "assistants.create", method = "POST", path = "/assistants", payload = "body", required = true,
    span = "assistants.create", record = record_id("assistantId") },
  { name = "assistants.list", method = "GET", path = "/assistants", payload = "query", pages = true,
    span = "assistants.list", record = record_count("assistantCount") },
  { name = "assistants.retrieve", method = "GET", path = "/assistants/{assistant_id}",
    span = "assistants.retrieve" },
  { name = "assistants.update", method = "POST", path = "/assistants/{assistant_id}", payload = "body",
    required = true, span = "assistants.update", record = record_input },
  { name = "assistants.delete", method = "DELETE", path = "/assistants/{assistant_id}",
    span = "assistants.delete" },

  { name = "threads.create", method = "POST", path = "/threads", payload = "body",
    span = "thread.create", record = record_thread },
  { name = "threads.create_and_run", method = "POST", path = "/threads/runs", payload = "body", streams = true,
    span = "threads.createAndRun", record = record_new_run },
  { name = "threads.retrieve", method = "GET", path = "/threads/{thread_id}",
    span = "thread.retrieve" },
  { name = "threads.update", method = "POST", path = "/threads/{thread_id}", payload = "body", required = true,
    span = "thread.update", record = record_input },
  { name = "threads.delete", method = "DELETE", path = "/threads/{thread_id}",
    span = "thread.delete" },

  { name = "threads.messages.create", method = "POST", path = "/threads/{thread_id}/messages", excludes = true,
    payload = "body", required = true, span = "thread.messages.create", record = record_id("messageId") },
  { name = "threads.messages.list", method = "GET", path = "/threads/{thread_id}/messages", payload = "query",
    pages = true, span = "thread.messages.list", record = record_count("messageCount") },
  { name = "threads.messages.retrieve", method = "GET", path = "/threads/{thread_id}/messages/{message_id}",
    span = "thread.messages.retrieve" },
  { name = "threads.messages.update", method = "POST", path = "/threads/{thread_id}/messages/{message_id}",
    payload = "body", required = true, span = "thread.messages.update", record = record_input },
  { name = "threads.messages.delete", method = "DELETE", path = "/threads/{thread_id}/messages/{message_id}",
    span = "thread.messages.delete" },

  { name = "threads.runs.create", method = "POST", path = "/threads/{thread_id}/runs", excludes = true,
    payload = "body", streams = true, query_parameters = INCLUDE, span = "threads.runs.create", record = record_run },
  { name = "threads.runs.list", method = "GET", path = "/threads/{thread_id}/runs", payload = "query",
    pages = true, span = "threads.runs.list", record = record_count("runCount") },
  { name = "threads.runs.retrieve", method = "GET", path = "/threads/{thread_id}/runs/{run_id}",
    span = "threads.runs.retrieve", record = record_run },
  { name = "threads.runs.update", method = "POST", path = "/threads/{thread_id}/runs/{run_id}",
    payload = "body", required = true, span = "threads.runs.update", record = record_input },
  { name = "threads.runs.cancel", method = "POST", path = "/threads/{thread_id}/runs/{run_id}/cancel",
    span = "threads.runs.cancel", record = record_run },
  { name = "threads.runs.submit_tool_outputs", method = "POST",
    path = "/threads/{thread_id}/runs/{run_id}/submit_tool_outputs", payload = "body", required = true,
    streams = true,
    span = "threads.runs.submitToolOutputs", record = record_status },

  { name = "threads.runs.steps.list", method = "GET", path = "/threads/{thread_id}/runs/{run_id}/steps",
    payload = "query", pages = true, span = "threads.runs.steps.list", record = record_count("stepCount") },
  { name = "threads.runs.steps.retrieve", method = "GET", path = "/threads/{thread_id}/runs/{run_id}/steps/{step_id}",
    payload = "query", span = "threads.runs.steps.retrieve" },

  { name = "files.create", method = "POST", path = "/files", payload = "multipart", required = true,
    file_field = "file", span = "files.create", record = record_upload },
  { name = "files.list", method = "GET", path = "/files", payload = "query", pages = true,
    span = "files.list", record = record_count("fileCount") },
  { name = "files.retrieve", method = "GET", path = "/files/{file_id}", span = "files.retrieve" },
  { name = "files.delete", method = "DELETE", path = "/files/{file_id}", span = "files.delete" },
  { name = "files.content", method = "GET", path = "/files/{file_id}/content", answer = "bytes",
    span = "files.content", record = record_size },

  { name = "uploads.create", method = "POST", path = "/uploads", payload = "body", required = true,
    span = "uploads.create", record = record_id("uploadId") },
  { name = "uploads.cancel", method = "POST", path = "/uploads/{upload_id}/cancel",
    span = "uploads.cancel", record = record_status },
  { name = "uploads.complete", method = "POST", path = "/uploads/{upload_id}/complete", payload = "body",
    required = true, span = "uploads.complete", record = record_status },
  { name = "uploads.parts.create", method = "POST", path = "/uploads/{upload_id}/parts", payload = "multipart",
    required = true, file_field = "data", span = "uploads.parts.create", record = record_upload },

  { name = "vector_stores.create", method = "POST", path = "/vector_stores", payload = "body",
    span = "vectorStores.create", record = record_id("vectorStoreId") },
  { name = "vector_stores.list", method = "GET", path = "/vector_stores", payload = "query", pages = true,
    span = "vectorStores.list", record = record_count("vectorStoreCount") },
  { name = "vector_stores.retrieve", method = "GET", path = "/vector_stores/{vector_store_id}",
    span = "vectorStores.retrieve" },
  { name = "vector_stores.update", method = "POST", path = "/vector_stores/{vector_store_id}", payload = "body",
    required = true, span = "vectorStores.update", record = record_input },
  { name = "vector_stores.delete", method = "DELETE", path = "/vector_stores/{vector_store_id}",
    span = "vectorStores.delete" },
  { name = "vector_stores.search", method = "POST", path = "/vector_stores/{vector_store_id}/search",
    payload = "body", required = true, span = "vectorStores.search",
    record = function(span, params, result)
      record_input(span, params)
      record_count("resultCount")(span, params, result)
    end },

  { name = "vector_stores.files.create", method = "POST", path = "/vector_stores/{vector_store_id}/files",
    payload = "body", required = true, span = "vectorStores.files.create", record = record_file_status },
  { name = "vector_stores.files.list", method = "GET", path = "/vector_stores/{vector_store_id}/files",
    payload = "query", pages = true, span = "vectorStores.files.list", record = record_count("fileCount") },
  { name = "vector_stores.files.retrieve", method = "GET",
    path = "/vector_stores/{vector_store_id}/files/{file_id}", span = "vectorStores.files.retrieve",
    record = record_file_status },
  { name = "vector_stores.files.update", method = "POST", path = "/vector_stores/{vector_store_id}/files/{file_id}",
    payload = "body", required = true, span = "vectorStores.files.update", record = record_input },
  { name = "vector_stores.files.delete", method = "DELETE",
    path = "/vector_stores/{vector_store_id}/files/{file_id}", span = "vectorStores.files.delete" },
  { name = "vector_stores.files.content", method = "GET",
    path = "/vector_stores/{vector_store_id}/files/{file_id}/content",
    span = "vectorStores.files.content" },

  { name = "vector_stores.file_batches.create", method = "POST",
    path = "/vector_stores/{vector_store_id}/file_batches", payload = "body", required = true,
    span = "vectorStores.fileBatches.create", record = record_file_status },
  { name = "vector_stores.file_batches.retrieve", method = "GET",
    path = "/vector_stores/{vector_store_id}/file_batches/{batch_id}", span = "vectorStores.fileBatches.retrieve",
    record = record_file_status },
  { name = "vector_stores.file_batches.cancel", method = "POST",
    path = "/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel", span = "vectorStores.fileBatches.cancel",
    record = record_file_status },
  { name = "vector_stores.file_batches.list_files", method = "GET",
    path = "/vector_stores/{vector_store_id}/file_batches/{batch_id}/files", payload = "query", pages = true,
    span = "vectorStores.fileBatches.listFiles", record = record_count("fileCount") },

  { name = "chat.completions.create", method = "POST", path = "/chat/completions", payload = "body", required = true,
    streams = true, direct = true, span = "chat", type = "llm", record = record_completion },

  { name = "responses.create", method = "POST", path = "/responses", payload = "body", required = true,
    streams = true, direct = true, span = "responses.create", type = "llm", record = record_response },
  { name = "responses.retrieve", method = "GET", path = "/responses/{response_id}", payload = "query", direct = true,
    span = "responses.retrieve", record = record_response },
  { name = "responses.delete", method = "DELETE", path = "/responses/{response_id}", direct = true,
    span = "responses.delete" },
  { name = "responses.cancel", method = "POST", path = "/responses/{response_id}/cancel", direct = true,
    span = "responses.cancel", record = record_response },
  { name = "responses.input_items.list", method = "GET", path = "/responses/{response_id}/input_items",
    payload = "query", pages = true, direct = true, span = "responses.inputItems.list",
    record = record_count("itemCount") },

  { name = "conversations.create", method = "POST", path = "/conversations", payload = "body", direct = true,
    span = "conversations.create", record = record_conversation },
  { name = "conversations.retrieve", method = "GET", path = "/conversations/{conversation_id}", direct = true,
    span = "conversations.retrieve" },
  { name = "conversations.update", method = "POST", path = "/conversations/{conversation_id}", payload = "body",
    required = true, direct = true, span = "conversations.update", record = record_input },
  { name = "conversations.delete", method = "DELETE", path = "/conversations/{conversation_id}", direct = true,
    span = "conversations.delete" },

  { name = "conversations.items.create", method = "POST", path = "/conversations/{conversation_id}/items",
    payload = "body", required = true, query_parameters = INCLUDE, direct = true, span = "conversations.items.create",
    record = record_items },
  { name = "conversations.items.list", method = "GET", path = "/conversations/{conversation_id}/items",
    payload = "query", pages = true, direct = true, span = "conversations.items.list",
    record = record_count("itemCount") },
  { name = "conversations.items.retrieve", method = "GET", path = "/conversations/{conversation_id}/items/{item_id}",
    payload = "query", direct = true, span = "conversations.items.retrieve" },
  { name = "conversations.items.delete", method = "DELETE",
    path = "/conversations/{conversation_id}/items/{item_id}", direct = true, span = "conversations.items.delete" },
}

local function split(path)
  local segments = {}
  for segment in path:gmatch("[^/]+") do segments[#segments + 1] = segment end
  return segments
end

-- What a path is built of: its parameters, and the pieces between them.
local function prepare(entry)
  entry.path_parameters, entry.pieces = {}, {}
  for piece, parameter in entry.path:gmatch("([^{]*){([^}]+)}") do
    entry.pieces[#entry.pieces + 1] = piece
    entry.path_parameters[#entry.path_parameters + 1] = parameter
  end
  entry.last_piece = entry.path:match("[^}]*$")
end

for _, entry in ipairs(definitions) do
  prepare(entry)
  operations.list[#operations.list + 1] = entry
  operations[entry.name] = entry
end

-- --------------------------------------------------------------------------------------------------------- ids

local LONGEST_ID = 512

--- What is wrong with a value as an id in a path, e.g. "must not contain '/'"; nil where it is fine.
function operations.bad_id(value)
  if type(value) ~= "string" then
    return "must be a string, got " .. (value == json.null and "null" or type(value))
  end
  if value == "" then return "must not be empty" end
  if #value > LONGEST_ID then return "must not be longer than " .. LONGEST_ID .. " bytes" end
  if value:find("/", 1, true) then return "must not contain '/'" end
  if value:find("..", 1, true) then return "must not contain '..'" end
  if value:find("%c") then return "must not contain control characters" end
  if value == "." then return "must not be '.'" end
end

local function escaped(byte)
  return string.format("%%%02X", byte:byte())
end

local REMEMBERED, SHORT = 256, 64

-- Remembers what became of short texts: a program asks with the same few ids and words again and again.
local function remembering(make)
  local known, count = {}, 0
  return function(text)
    local remembered = known[text]
    if remembered then return remembered end
    local result, problem = make(text)
    if not result or #text > SHORT then return result, problem end
    if count == REMEMBERED then known, count = {}, 0 end
    known[text], count = result, count + 1
    return result
  end
end

--- Escapes a text for use in a path or a query.
operations.escape = remembering(function(text)
  return (text:gsub("[^%w%-_.~]", escaped))
end)

-- An id as it stands in a path, or nil and what is wrong with it.
local escape_id = remembering(function(id)
  local problem = operations.bad_id(id)
  if problem then return nil, problem end
  return operations.escape(id)
end)

local function unescaped(digits)
  return string.char(tonumber(digits, 16))
end

--- The path of an operation with its parameters filled in, escaped; or nil and what is wrong with a parameter.
function operations.build_path(entry, path_parameters)
  local path, names = "", entry.path_parameters
  for index = 1, #names do
    local text, problem = escape_id(path_parameters and path_parameters[names[index]])
    if problem then return nil, names[index] .. " " .. problem end
    path = path .. entry.pieces[index] .. text
  end
  return path .. entry.last_piece
end

-- ---------------------------------------------------------------------------------------------------- matching

-- What a path is matched by: only who serves needs it.
local function segments_of(entry)
  if entry.segments then return entry.segments end
  entry.segments = split(entry.path)
  for index, segment in ipairs(entry.segments) do
    local parameter = segment:match("^{(.+)}$")
    if parameter then entry.segments[index] = { parameter = parameter } end
  end
  return entry.segments
end

local function match_entry(entry, segments)
  local wanted = segments_of(entry)
  if #segments ~= #wanted then return nil end
  local found = {}
  for index, segment in ipairs(segments) do
    local expected = wanted[index]
    if type(expected) == "table" then
      found[expected.parameter] = segment:gsub("%%(%x%x)", unescaped)
    elseif expected ~= segment then
      return nil
    end
  end
  return found
end

--- The operation a request asks for and its path parameters, unescaped; nil where there is none. The path is one below
-- the base URL, without a query.
function operations.match(method, path)
  if path:sub(1, 1) ~= "/" or path:find("//", 1, true) or path:find("./$") then return nil end
  local segments = split(path)
  for _, entry in ipairs(operations.list) do
    if entry.method == method then
      local found = match_entry(entry, segments)
      if found then return entry, found end
    end
  end
end

return operations
