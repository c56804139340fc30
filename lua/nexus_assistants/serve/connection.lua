--- One connection: reads requests, writes answers. Its functions wait by yielding to the loop.
local message = require("nexus_assistants.serve.message")

local connection = {}
local connection_methods = {}
local connection_mt = { __index = connection_methods }

local READ_SIZE = 65536
local LINGER_BYTES = 4 * 1024 * 1024

--- `limits` holds `head` and `body`, in bytes.
function connection.new(loop, socket, limits, number)
  return setmetatable({ loop = loop, socket = socket, limits = limits, number = number, buffer = "" }, connection_mt)
end

-- Appends what can be read to the buffer; nil where the other side has closed.
local function fill(self)
  while true do
    if self.closed then return nil end
    local data, err, partial = self.socket:receive(READ_SIZE)
    data = data or partial
    if data ~= "" then return data end
    if err ~= "timeout" then return nil end
    self.loop:wait_readable(self.socket)
  end
end

local function more(self)
  local data = fill(self)
  if data then self.buffer = self.buffer .. data end
  return data ~= nil
end

-- The next `count` bytes; in pieces, so that a long body costs what it is long.
local function take(self, count)
  local pieces, have = { self.buffer }, #self.buffer
  while have < count do
    local data = fill(self)
    if not data then return nil end
    pieces[#pieces + 1], have = data, have + #data
  end
  local all = table.concat(pieces)
  self.buffer = all:sub(count + 1)
  return all:sub(1, count)
end

local function take_line(self, limit)
  while true do
    local start, stop = self.buffer:find("\r\n", 1, true)
    if start then
      local line = self.buffer:sub(1, start - 1)
      self.buffer = self.buffer:sub(stop + 1)
      return line
    end
    if #self.buffer > limit then return nil, 400 end
    if not more(self) then return nil end
  end
end

-- nil without a status: closed, or nothing came.
local function read_head(self)
  local from = 1
  while true do
    local start, stop = self.buffer:find("\r\n\r\n", from, true)
    if start and start > self.limits.head then return nil, 431, "header too large" end
    if start then
      local head = self.buffer:sub(1, start + 1)
      self.buffer = self.buffer:sub(stop + 1)
      return (head:gsub("^[\r\n]+", ""))
    end
    if #self.buffer > self.limits.head then return nil, 431, "header too large" end
    from = math.max(1, #self.buffer - 2)
    if not more(self) then return nil end
  end
end

local function skip_trailers(self)
  repeat
    local line, status = take_line(self, self.limits.head)
    if not line then return nil, status end
  until line == ""
  return true
end

local function read_chunks(self)
  local pieces, total = {}, 0
  while true do
    local line, status = take_line(self, 1024)
    local size = line and message.chunk_size(line)
    if not size then return nil, line and 400 or status, "malformed chunk" end
    total = total + size
    if total > self.limits.body then return nil, 413, "body too large" end
    if size == 0 then
      local done, failure = skip_trailers(self)
      if not done then return nil, failure, "malformed trailer" end
      return table.concat(pieces)
    end
    local data = take(self, size + 2)
    if not data then return nil end
    if data:sub(-2) ~= "\r\n" then return nil, 400, "malformed chunk" end
    pieces[#pieces + 1] = data:sub(1, size)
  end
end

local function meet_expectation(self, request)
  local expectation = request.headers.expect
  if not expectation then return true end
  if expectation:lower() ~= "100-continue" then return nil, 417, "unknown expectation" end
  if self.buffer == "" and not self:send("HTTP/1.1 100 Continue\r\n\r\n") then return nil end
  return true
end

--- Reads the head of the next request; nil where none comes any more, or nil, status, reason.
function connection_methods:read_head()
  local head, status, reason = read_head(self)
  if not head then return nil, status, reason end
  return message.parse_head(head)
end

--- Reads the body into `request.body`; true, or nil, and status, reason where the request is at fault.
function connection_methods:read_body(request)
  if request.length == 0 then
    request.body = ""
    return true
  end
  if request.length ~= "chunked" and request.length > self.limits.body then return nil, 413, "body too large" end
  local go_on, status, reason = meet_expectation(self, request)
  if not go_on then return nil, status, reason end
  if request.length == "chunked" then
    request.body, status, reason = read_chunks(self)
  else
    request.body = take(self, request.length)
  end
  if not request.body then return nil, status, reason end
  return true
end

--- Sends all of `data`; false where the other side has closed.
function connection_methods:send(data)
  local from = 1
  while not self.closed do
    local sent, err, last = self.socket:send(data, from)
    if sent == #data then return true end
    if not sent and err ~= "timeout" then return false end
    from = (sent or last) + 1
    self.loop:wait_writable(self.socket)
  end
  return false
end

--- Ends our sending, and reads on for a while, so that what was sent isn't lost to a reset.
function connection_methods:linger()
  self.socket:shutdown("send")
  local discarded = 0
  while discarded < LINGER_BYTES do
    local data = fill(self)
    if not data then return end
    discarded = discarded + #data
  end
end

--- Waits until the other side has closed, discarding what it sends.
function connection_methods:wait_for_end()
  while fill(self) do end -- luacheck: ignore 542
end

--- Closes at once; a second time does nothing.
function connection_methods:close()
  if self.closed then return end
  self.closed = true
  self.loop:forget(self.socket)
  self.socket:close()
end

return connection
