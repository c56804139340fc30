--- Pure: from the text of a file in the spool to what a receiver of OTLP is sent. The files are those that
-- src/otlp_page.c writes; their form is at the head of otlp_page.h.
local json = require("nexus_assistants.json")

local batch = {}

local HEAD = "^([^\n]*)\n()"
local JSON_END = "]}]}]}"
local TAGS = { resource_spans = "\10", resource = 10, scope_spans = "\18", scope = 10, span = 18 }

--- Where in a file it says that it was sent: a byte, from 0, that is "0" or "1".
batch.MARK = #'{"sent":'

-- ------------------------------------------------------------------------------------------------------- protobuf

-- The number at a position, and where it ends; nil where it is cut.
local function varint(text, at)
  local value, factor = 0, 1
  for position = at, math.min(at + 8, #text) do
    local byte = text:byte(position)
    value = value + byte % 128 * factor
    if byte < 128 then return value, position + 1 end
    factor = factor * 128
  end
end

local function varint_of(value)
  local bytes = {}
  while value >= 128 do
    bytes[#bytes + 1] = string.char(value % 128 + 128)
    value = math.floor(value / 128)
  end
  return table.concat(bytes) .. string.char(value)
end

-- Where the message ends that begins at a position with that tag; nil where it isn't there, or cut.
local function end_of(text, at, tag)
  if text:byte(at) ~= tag then return nil end
  local length, start = varint(text, at + 1)
  return length and start + length <= #text + 1 and start + length or nil
end

-- What is open has a zero where its length will be: the resource's spans, and those of the scope.
local function read_protobuf(self, text, at)
  local resource = at + 2
  local scope = end_of(text, resource, TAGS.resource)
  local first = scope and end_of(text, scope + 2, TAGS.scope)
  if not first then return end
  self.resource, self.scope = text:sub(resource, scope - 1), text:sub(scope + 2, first - 1)
  local next_one = end_of(text, first, TAGS.span)
  while next_one do
    self.spans[#self.spans + 1] = text:sub(first, next_one - 1)
    first, next_one = next_one, end_of(text, next_one, TAGS.span)
  end
end

local function protobuf_body(self, first, last)
  local inside = self.scope .. table.concat(self.spans, "", first, last)
  inside = self.resource .. TAGS.scope_spans .. varint_of(#inside) .. inside
  return TAGS.resource_spans .. varint_of(#inside) .. inside
end

-- As the core writes it, whose messages are open.
local function protobuf_file(self)
  return TAGS.resource_spans .. "\0" .. self.resource .. TAGS.scope_spans .. "\0" .. self.scope
    .. table.concat(self.spans)
end

-- ----------------------------------------------------------------------------------------------------------- JSON

local function read_json(self, text, at)
  for line in text:sub(at):gmatch("([^\n]*)\n") do
    if not self.start then self.start = line else self.spans[#self.spans + 1] = line end
  end
end

local function json_body(self, first, last)
  return self.start .. table.concat(self.spans, ",", first, last) .. JSON_END
end

local function json_file(self)
  return self.start .. "\n" .. table.concat(self.spans, "\n") .. "\n"
end

-- ------------------------------------------------------------------------------------------------------------ all

local FORMATS = {
  json = { read = read_json, body = json_body, file = json_file, content_type = "application/json" },
  protobuf = { read = read_protobuf, body = protobuf_body, file = protobuf_file,
    content_type = "application/x-protobuf" },
}

--- Reads a file's text: a table of sent (it may be at the receiver), receiver (its URL), content_type and spans, an
-- array of those that are whole; nil where it is no such file.
function batch.read(text)
  local head, start = text:match(HEAD)
  local known = head and json.decode(head)
  local format = type(known) == "table" and FORMATS[known.format]
  if not format or type(known.otlp) ~= "string" then return nil end
  local self = { sent = known.sent == 1, receiver = known.otlp, content_type = format.content_type,
    format = format, head = head, spans = {} }
  format.read(self, text, start)
  return self
end

--- The body of a request with the spans from `first` to `last`.
function batch.body(self, first, last)
  return self.format.body(self, first, last)
end

--- The same with the spans behind `last` alone.
function batch.behind(self, last)
  local spans = {}
  for position = last + 1, #self.spans do spans[#spans + 1] = self.spans[position] end
  return { sent = self.sent, receiver = self.receiver, content_type = self.content_type, format = self.format,
    head = self.head, start = self.start, resource = self.resource, scope = self.scope, spans = spans }
end

--- The text of a file with it that wasn't sent.
function batch.text(self)
  local head = self.head
  return head:sub(1, batch.MARK) .. "0" .. head:sub(batch.MARK + 2) .. "\n" .. self.format.file(self)
end

return batch
