--- The operations of the API: the one place that knows an operation's name, method, path, span and what to record.
--
-- An entry has
--   name, method, path          as in the API's reference; `{…}` in a path are its parameters
--   path_parameters             their names, in order
--   payload                     "body", "query" or nil: what the caller's table of parameters becomes
--   required                    whether that table must be given
--   query_parameters            names in a body's table that travel in the query, as a set
--   span, type                  the span's name and type
--   record(span, params, result)  what goes on the span beside what every operation records; `result` is nil where the
--                               operation failed. `span` has input(value), output(value), set(key, value).
local json = require("nexus_assistants.json")

local operations = { list = {} }

local INCLUDE = { include = true }

-- --------------------------------------------------------------------------------------------- what is recorded

local function record_input(span, params)
  if params.body then span:input(params.body) end
end

local function record_thread(span, params, result)
  record_input(span, params)
  if result then
    span:set("threadId", result.id)
    span:output({ threadId = result.id })
  end
end

local function record_message(span, params, result)
  record_input(span, params)
  if result then span:output({ messageId = result.id }) end
end

local function record_run(span, params, result)
  record_input(span, params)
  if not result then return end
  span:set("runId", result.id)
  span:output({ status = result.status, model = result.model, usage = result.usage, last_error = result.last_error })
end

local function record_count(name)
  return function(span, _, result)
    if result and type(result.data) == "table" then span:output({ [name] = #result.data }) end
  end
end

local function record_tool_outputs(span, params, result)
  record_input(span, params)
  if result then span:output({ status = result.status }) end
end

-- ---------------------------------------------------------------------------------------------------- the table

local definitions = {
  { name = "threads.create", method = "POST", path = "/threads", payload = "body",
    span = "thread.create", record = record_thread },
  { name = "threads.retrieve", method = "GET", path = "/threads/{thread_id}",
    span = "thread.retrieve" },
  { name = "threads.update", method = "POST", path = "/threads/{thread_id}", payload = "body", required = true,
    span = "thread.update", record = record_input },
  { name = "threads.delete", method = "DELETE", path = "/threads/{thread_id}",
    span = "thread.delete" },

  { name = "threads.messages.create", method = "POST", path = "/threads/{thread_id}/messages",
    payload = "body", required = true, span = "thread.messages.create", record = record_message },
  { name = "threads.messages.list", method = "GET", path = "/threads/{thread_id}/messages", payload = "query",
    span = "thread.messages.list", record = record_count("messageCount") },
  { name = "threads.messages.retrieve", method = "GET", path = "/threads/{thread_id}/messages/{message_id}",
    span = "thread.messages.retrieve" },

  { name = "threads.runs.create", method = "POST", path = "/threads/{thread_id}/runs",
    payload = "body", query_parameters = INCLUDE, span = "threads.runs.create", record = record_run },
  { name = "threads.runs.retrieve", method = "GET", path = "/threads/{thread_id}/runs/{run_id}",
    span = "threads.runs.retrieve", record = record_run },
  { name = "threads.runs.list", method = "GET", path = "/threads/{thread_id}/runs", payload = "query",
    span = "threads.runs.list", record = record_count("runCount") },
  { name = "threads.runs.cancel", method = "POST", path = "/threads/{thread_id}/runs/{run_id}/cancel",
    span = "threads.runs.cancel", record = record_run },
  { name = "threads.runs.submit_tool_outputs", method = "POST",
    path = "/threads/{thread_id}/runs/{run_id}/submit_tool_outputs", payload = "body", required = true,
    span = "threads.runs.submitToolOutputs", record = record_tool_outputs },

  { name = "threads.runs.steps.list", method = "GET", path = "/threads/{thread_id}/runs/{run_id}/steps",
    payload = "query", span = "threads.runs.steps.list", record = record_count("stepCount") },
  { name = "threads.runs.steps.retrieve", method = "GET", path = "/threads/{thread_id}/runs/{run_id}/steps/{step_id}",
    payload = "query", span = "threads.runs.steps.retrieve" },
}

local function split(path)
  local segments = {}
  for segment in path:gmatch("[^/]+") do segments[#segments + 1] = segment end
  return segments
end

-- Segments are for matching; for building there are the pieces of the path between its parameters.
local function prepare(entry)
  entry.segments, entry.path_parameters, entry.pieces = split(entry.path), {}, {}
  for piece, parameter in entry.path:gmatch("([^{]*){([^}]+)}") do
    entry.pieces[#entry.pieces + 1] = piece
    entry.path_parameters[#entry.path_parameters + 1] = parameter
  end
  entry.last_piece = entry.path:match("[^}]*$")
  for index, segment in ipairs(entry.segments) do
    local parameter = segment:match("^{(.+)}$")
    if parameter then entry.segments[index] = { parameter = parameter } end
  end
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
    if known[text] then return known[text] end
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

local function match_entry(entry, segments)
  if #segments ~= #entry.segments then return nil end
  local found = {}
  for index, segment in ipairs(segments) do
    local expected = entry.segments[index]
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
