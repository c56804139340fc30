--- One connection: reads requests, writes answers. Its functions wait by yielding to the loop.
local message = require("nexus_assistants.serve.message")

local connection = {}
local connection_methods = {}
local connection_mt = { __index = connection_methods }

local READ_SIZE = 65536

-- What may be read in a row before others have their turn; a short read counts as more than it is, since its work isn't
-- in its bytes.
local TURN, LEAST_SHARE = 65536, 8192

-- An answer up to this is sent however much others hold.
local SMALL_ANSWER = 65536

-- So many pieces are joined at a time: a body that comes a byte at a time would take 16 times its size in tables.
local PIECES = 256

--- `limits` holds `head`, `body`, `bodies` and `answers`, in bytes; `budget.held` is what bodies take on all
-- connections together, `budget.answers` what large answers do.
function connection.new(loop, socket, limits, budget, number)
  return setmetatable({
    loop = loop, socket = socket, limits = limits, budget = budget, number = number,
    buffer = "", position = 1, turn = 0, held = 0, answer = 0,
  }, connection_mt)
end

-- What can be read; nil where the other side has closed.
local function fill(self)
  if self.turn >= TURN then self:give_way() end
  while not self.closed do
    local data, err, partial = self.socket:receive(READ_SIZE)
    data = data or partial
    if data ~= "" then
      self.turn = self.turn + math.max(#data, LEAST_SHARE)
      return data
    end
    if err ~= "timeout" then return nil end
    self.turn = 0
    self.loop:wait_readable(self.socket)
  end
end

-- Bytes that were read and not taken yet; they begin at the position.
local function ahead(self)
  return #self.buffer - self.position + 1
end

local function more(self)
  local data = fill(self)
  if not data then return nil end
  self.buffer, self.position = self.buffer:sub(self.position) .. data, 1
  return true
end

local function add_piece(gathered, piece)
  local recent = gathered.recent
  recent[#recent + 1] = piece
  if #recent < PIECES then return end
  gathered[#gathered + 1] = table.concat(recent)
  gathered.recent = {}
end

local function joined(gathered)
  return table.concat(gathered) .. table.concat(gathered.recent)
end

-- Counted as it comes, not as it is announced: else announcing alone would keep others out.
local function hold(self, count)
  local budget = self.budget
  if budget.held + count > self.limits.bodies then return nil, 503, "too much is being received" end
  budget.held, self.held = budget.held + count, self.held + count
  return true
end

-- Adds the next `count` bytes; nil where they don't come, and status, reason where there is no room for them.
local function take(self, count, gathered)
  while true do
    local piece = self.buffer:sub(self.position, self.position + count - 1)
    self.position, count = self.position + #piece, count - #piece
    local held, status, reason = hold(self, #piece)
    if not held then return nil, status, reason end
    if piece ~= "" then add_piece(gathered, piece) end
    if count == 0 then return true end
    if not more(self) then return nil end
  end
end

local function take_line(self, limit)
  while true do
    local position = self.position
    local start, stop = self.buffer:find("\r\n", position, true)
    if (start and start - position or ahead(self)) > limit then return nil, 400 end
    if start then
      self.position = stop + 1
      return self.buffer:sub(position, start - 1)
    end
    if not more(self) then return nil end
  end
end

-- The first byte of TLS, say, which would wait for an answer.
local function is_no_http(self)
  local first = self.buffer:byte(self.position)
  return first ~= nil and first < 0x20 and first ~= 0x0D and first ~= 0x0A
end

-- nil without a status: closed, or nothing came.
local function read_head(self)
  local scanned = 0
  while true do
    if is_no_http(self) then return nil, 400, "this is no HTTP" end
    local position = self.position
    local start, stop = self.buffer:find("\r\n\r\n", position + math.max(0, scanned - 3), true)
    scanned = start and start - position or ahead(self)
    if scanned > self.limits.head then return nil, 431, "header too large" end
    if start then
      self.position = stop + 1
      return (self.buffer:sub(position, start + 1):gsub("^[\r\n]+", ""))
    end
    if not more(self) then return nil end
  end
end

local function skip_trailers(self)
  local left = self.limits.head
  repeat
    local line, status = take_line(self, left)
    if not line then return nil, status, "malformed trailer" end
    left = left - #line - 2
    if left < 0 then return nil, 431, "trailer too large" end
  until line == ""
  return true
end

local function read_chunk(self, size, gathered)
  local taken, status, reason = take(self, size, gathered)
  if not taken then return nil, status, reason end
  local line
  line, status = take_line(self, 1)
  if line ~= "" then return nil, line and 400 or status, "malformed chunk" end
  return true
end

local function read_chunks(self)
  local gathered, total = { recent = {} }, 0
  while true do
    local line, status = take_line(self, 1024)
    local size = line and message.chunk_size(line)
    if not size then return nil, line and 400 or status, "malformed chunk" end
    total = total + size
    if total > self.limits.body then return nil, 413, "body too large" end
    local read = size == 0 and skip_trailers or read_chunk
    local done, failure, reason = read(self, size, gathered)
    if not done then return nil, failure, reason end
    if size == 0 then return joined(gathered) end
  end
end

local function read_length(self, length)
  local gathered = { recent = {} }
  local taken, status, reason = take(self, length, gathered)
  return taken and joined(gathered), status, reason
end

local function meet_expectation(self, request)
  local expectation = request.headers.expect
  if not expectation then return true end
  if expectation:lower() ~= "100-continue" then return nil, 417, "unknown expectation" end
  if ahead(self) == 0 and not self:send("HTTP/1.1 100 Continue\r\n\r\n") then return nil end
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
    request.body, status, reason = read_length(self, request.length)
  end
  if not request.body then return nil, status, reason end
  return true
end

--- Forgets the body of the request that is done with.
function connection_methods:release(request)
  if request then request.body = nil end
  self.budget.held, self.held = self.budget.held - self.held, 0
end

--- Counts an answer of so many bytes until `release_answer`; false where slow readers hold too much for it.
function connection_methods:hold_answer(count)
  if count <= SMALL_ANSWER then return true end
  local budget = self.budget
  if budget.answers > 0 and budget.answers + count > self.limits.answers then return false end
  budget.answers, self.answer = budget.answers + count, count
  return true
end

--- Forgets the answer that is sent.
function connection_methods:release_answer()
  self.budget.answers, self.answer = self.budget.answers - self.answer, 0
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

-- Takes what has come meanwhile, for whoever reads the next request; false where the other side has closed.
local function keep_up(self)
  local data, err, partial = self.socket:receive(READ_SIZE)
  data = data or partial
  if data ~= "" then self.buffer, self.position = self.buffer:sub(self.position) .. data, 1 end
  return err ~= "closed"
end

--- Waits for something that isn't the other side's: until the function that is handed to `listen` is called, which gets
-- nil afterwards. False where the other side has closed meanwhile; that isn't seen behind what it has sent, where this
-- is as much as can be kept.
function connection_methods:wait_for_news(listen)
  if self.closed then return false end
  local has_room = ahead(self) <= self.limits.head
  listen(function() self.loop:nudge(self.socket) end)
  if has_room then self.loop:wait_readable(self.socket) else self.loop:wait_for_nudge(self.socket) end
  listen(nil)
  if self.closed then return false end
  return not has_room or keep_up(self)
end

--- Whether more of what the other side sent is here already.
function connection_methods:has_more()
  return ahead(self) > 0
end

--- Lets all others have their turn first.
function connection_methods:give_way()
  self.turn = 0
  self.loop:give_way()
end

--- Ends our sending, and reads on for as long as a body may be, so that what was sent isn't lost to a reset.
function connection_methods:linger()
  self.socket:shutdown("send")
  local discarded = 0
  while discarded < self.limits.body + READ_SIZE do
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
  self:release()
  self:release_answer()
  self.loop:forget(self.socket)
  self.socket:close()
  if self.on_close then self.on_close() end
end

return connection
