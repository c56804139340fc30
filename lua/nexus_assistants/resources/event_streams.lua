--- Streams of events as the API sends them: `client.responses:stream`, `client.chat.completions:stream`. One span
-- stands for a stream, from its beginning to its end, with what the stream came to.
local calls = require("nexus_assistants.models.chat.calls")
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local method = require("nexus_assistants.resources.method")
local options = require("nexus_assistants.options")
local rope = require("nexus_assistants.providers.runtime.rope")
local values = require("nexus_assistants.values")
local written = require("nexus_assistants.written")

local event_streams = {}

local stream_methods = {}
local stream_mt = { __index = stream_methods, __name = "nexus_assistants.event_stream" }

local HEADERS = { Accept = "text/event-stream" }

-- ---------------------------------------------------------------------------------------- what a stream comes to

-- The newest state of the response; a server that doesn't stream tells it without an event around it.
local function seen_of_response(seen, data)
  if data.object == "response" then return data end
  return type(data.response) == "table" and data.response or seen
end

local function add_delta(seen, delta)
  for _, piece in ipairs({ json.present(delta.content) or "", json.present(delta.refusal) or "" }) do
    if type(piece) == "string" then rope.add(seen.texts, piece) end
  end
  for _, piece in ipairs(values.tables(delta.tool_calls)) do seen.calls:take(piece) end
end

-- What the chunks said last, and the texts and calls to be put together.
local function seen_of_chunks(seen, data)
  if data.object == "chat.completion" then return data end
  seen = seen or { texts = {}, calls = calls.new() }
  seen.model, seen.usage = json.present(data.model) or seen.model, json.present(data.usage) or seen.usage
  local choice = written.choice(data)
  if not choice then return seen end
  seen.finish_reason = json.present(choice.finish_reason) or seen.finish_reason
  if type(choice.delta) == "table" then add_delta(seen, choice.delta) end
  return seen
end

local function whole_completion(seen)
  if not seen or not seen.texts then return seen end
  local called = {}
  for index, call in ipairs(seen.calls:finished()) do called[index] = { ["function"] = call } end
  local message = { content = rope.text(seen.texts), tool_calls = called }
  return { model = seen.model, usage = seen.usage,
    choices = { { finish_reason = seen.finish_reason, message = message } } }
end

local READERS = {
  ["responses.create"] = { take = seen_of_response },
  ["chat.completions.create"] = { take = seen_of_chunks, whole = whole_completion },
}

-- ------------------------------------------------------------------------------------------------------- ending

local function record(self, err)
  local whole = self.reader.whole
  if self.span:is_recorded() then
    self.entry.record(self.span, self.params, whole and whole(self.seen) or self.seen)
  end
  if err then self.span:error(err) end
  self.span:finish()
end

local function finish(self, err)
  if self.over then return end
  self.over = true
  self.client.open_streams[self] = nil
  self.source:close()
  record(self, err)
end

-- Ends a stream that nobody refers to any more, or whose client is being closed.
local function drop(self)
  finish(self, "the stream was not read to its end")
end

stream_mt.__gc = drop

-- 5.1 and LuaJIT collect no tables with a method.
local function watch(self)
  local newproxy = rawget(_G, "newproxy")
  if not newproxy then return end
  self.proxy = newproxy(true)
  getmetatable(self.proxy).__gc = function() drop(self) end
end

-- ------------------------------------------------------------------------------------------------------- methods

local function check_self(name, self)
  if getmetatable(self) ~= stream_mt then error("stream:" .. name .. ": call it with a colon", 3) end
end

local function read_elsewhere(self)
  return nil, errors.new({ kind = "conflict", message = "the stream is being read elsewhere",
    operation = self.entry.name })
end

local function pull(self)
  self.reading = true
  local name, data
  repeat name, data = self.source:next() until name ~= false
  self.reading = false
  if name and not self.over then
    if self.span:is_recorded() then self.seen = self.reader.take(self.seen, data) end
    return name, data
  end
  finish(self, data)
  return nil, data
end

--- The next event: its name and its object, as the API has them. Nil at the end; nil and an error where the stream
-- broke off, or the API reported one.
function stream_methods:next()
  check_self("next", self)
  if self.reading then return read_elsewhere(self) end
  if self.over then return nil end
  return pull(self)
end

--- For loops: `for name, event in stream:each() do`. A failure raises its error object. In Lua 5.4, leaving the loop
-- early closes the stream; elsewhere call `stream:close()`.
function stream_methods:each()
  check_self("each", self)
  local function next_or_raise()
    local name, data = self:next()
    if name == nil and data ~= nil then error(data, 0) end
    return name, data
  end
  return next_or_raise, nil, nil, setmetatable({}, { __close = function() self:close() end })
end

--- Stops reading. Does nothing to a stream that is over.
function stream_methods:close()
  check_self("close", self)
  finish(self)
end

-- --------------------------------------------------------------------------------------------------------- opening

local function with_stream(params, span)
  local given = values.merged(params.options, { headers = values.merged(HEADERS, (params.options or {}).headers) })
  return { path = params.path, built_path = params.built_path, query = params.query, options = given, span = span,
    body = values.merged(params.body, { stream = true }) }
end

local function open(client, entry, params)
  local span = client.recorder:open_call(entry, params)
  params = with_stream(params, span)
  local source, err = client.provider:open(entry, params)
  if not source then
    entry.record(span, params)
    span:error(err)
    span:finish()
    return nil, err
  end
  local self = setmetatable({ client = client, entry = entry, params = params, span = span, source = source,
    reader = READERS[entry.name], over = false, reading = false }, stream_mt)
  watch(self)
  client.open_streams[self] = drop
  return self
end

local function make_stream(entry, where, read)
  return function(self, ...)
    method.check_self(where, self)
    local params, problem = read(entry, where, options.call, ...)
    if not params then error(problem, 2) end
    return open(self.client, entry, params)
  end
end

-- The operation as it is without a stream.
local function make_create(entry, where, read, advice)
  return function(self, ...)
    method.check_self(where, self)
    local params, problem = read(entry, where, options.call, ...)
    if not params then error(problem, 2) end
    if json.present(params.body.stream) then error(where .. advice, 2) end
    local result, err = self.client:perform(entry, params)
    if result == nil then return nil, err end
    return result
  end
end

--- Adds `stream` to the methods of a resource, beside its `create`. `read` reads a method's arguments.
function event_streams.extend(methods, entry, read)
  local resource = entry.name:match("^(.+)%.")
  local where = resource .. ":stream"
  methods.stream = make_stream(entry, where, read)
  methods.create = make_create(entry, resource .. ":create", read, ": params.stream can't be true: use " .. where)
end

return event_streams
