--- An HTTP/1.1 server: accepts connections, hands requests to a handler, writes its answers.
local connections = require("nexus_assistants.serve.connection")
local hosts = require("nexus_assistants.serve.hosts")
local loops = require("nexus_assistants.serve.loop")
local message = require("nexus_assistants.serve.message")
local values = require("nexus_assistants.values")

local server = {}
local server_methods = {}
local server_mt = { __index = server_methods }

-- select takes descriptors below 1024 only, and some are not connections.
local HIGHEST_DESCRIPTOR = 1000
-- So many are welcomed in a row before those that are in have their turn.
local WELCOMES = 16
-- In bytes: a head, a body, all bodies at a time, all large answers at a time. In seconds: `first` is for a
-- connection's first head and `idle` for later ones, since who has just come has something to say.
local LIMITS = {
  head = 64 * 1024, body = 16 * 1024 * 1024, bodies = 128 * 1024 * 1024,
  answers = 128 * 1024 * 1024, connections = 900, first = 10, idle = 65, request = 120,
}
-- Where all places are taken, who has said nothing for so long makes room. Shorter, and a burst would push out those
-- whose request is on its way.
local GRACE = 1

-- Without a length the body comes in chunks, or ends with the connection.
local function answer_headers(self, response, length)
  local headers = { length and "Content-Length: " .. length }
  headers[#headers + 1] = "Date: " .. self:date()
  if response.content_type or length and length > 0 then
    headers[#headers + 1] = "Content-Type: " .. (response.content_type or "application/json")
  end
  for name, value in pairs(response.headers or {}) do
    headers[#headers + 1] = name .. ": " .. value
  end
  return headers
end

--- The text of an answer. `response` is `{status, body, content_type, headers = {Name = value}}`.
function server_methods:format(request, response, keep_alive)
  local body = response.body or ""
  local headers = answer_headers(self, response, #body)
  if not keep_alive then
    headers[#headers + 1] = "Connection: close"
  elseif request.version == "1.0" then
    headers[#headers + 1] = "Connection: keep-alive"
  end
  return message.head(response.status, headers) .. (request.method == "HEAD" and "" or body)
end

local function piecewise_head(self, response, chunked, keep_alive)
  local headers = answer_headers(self, response)
  if chunked then headers[#headers + 1] = "Transfer-Encoding: chunked" end
  if not keep_alive then headers[#headers + 1] = "Connection: close" end
  return message.head(response.status, headers)
end

--- The date header's value; made once a second.
function server_methods:date()
  local now = os.time()
  if now ~= self.dated then
    self.dated, self.date_text = now, os.date("!%a, %d %b %Y %H:%M:%S GMT", now)
  end
  return self.date_text
end

-- Tells whoever wants to know how a request ended; `status` is nil where the handler has answered itself.
local function tell(self, connection, status, reason)
  if not self.on_answered then return end
  self.on_answered(connection.request, status, self.loop.now() - connection.started, reason)
end

-- What is said instead of an answer.
local function refusal(status, reason)
  local response = { status = status, content_type = "text/plain; charset=UTF-8", body = reason .. "\n" }
  if status == 503 then response.headers = { ["Retry-After"] = "1" } end
  return response
end

-- Answers before all was read, so no other request can follow.
local function turn_away(self, connection, response, reason)
  tell(self, connection, response.status, reason)
  connection:release()
  if connection:send(self:format(connection.request or {}, response, false)) then connection:linger() end
end

local function refuse(self, connection, status, reason)
  turn_away(self, connection, refusal(status, reason), reason)
end

local function read_head(self, connection)
  local now = self.loop.now()
  connection.request, connection.started, connection.idle_since = nil, now, now
  connection.deadline = now + (connection.served and self.limits.idle or self.limits.first)
  local request, status, reason = connection:read_head()
  connection.request, connection.idle_since, connection.served = request, nil, true
  connection.started = self.loop.now()
  connection.deadline = connection.started + self.limits.request
  if not request then return nil, status, reason end
  local welcome
  welcome, status, reason = hosts.check(self.host, request.headers)
  return welcome and request, status, reason
end

-- The next request, whole; nil where none comes or it was answered already.
local function receive(self, connection)
  local request, status, reason = read_head(self, connection)
  local early = request and self.on_head and self.on_head(request, connection)
  if early == "taken" then return tell(self, connection) end
  if early then return turn_away(self, connection, early) end
  local whole = request
  if request then whole, status, reason = connection:read_body(request) end
  if whole then return request end
  return status and refuse(self, connection, status, reason)
end

-- Sends within the time a request may take.
local function send_in_time(self, connection, data)
  connection.deadline = self.loop.now() + self.limits.request
  local sent = connection:send(data)
  connection.deadline = nil
  return sent
end

local function may_keep(self, request)
  return request.keep_alive and not self.finishing
end

-- Sends an answer as it comes, giving way after each piece; true where the connection may carry another request. The
-- reader is waited for here alone. However the connection ends before the answer, `abandon` is called.
local function send_pieces(self, connection, request, response)
  local chunked = request.version ~= "1.0"
  local keep_alive = chunked and may_keep(self, request)
  connection.has_begun, connection.on_close = true, response.abandon
  local sent, piece = send_in_time(self, connection, piecewise_head(self, response, chunked, keep_alive)), nil
  while sent do
    piece = response.pieces(connection)
    -- what has begun can only be broken off where slow readers hold too much
    if not piece or not connection:hold_answer(#piece) then break end
    sent = send_in_time(self, connection, chunked and message.chunk(piece) or piece)
    connection:release_answer()
    if sent then connection:give_way() end
  end
  if not sent or piece ~= nil then return false end
  connection.has_begun, connection.on_close = false, nil
  if chunked then sent = send_in_time(self, connection, message.LAST_CHUNK) end
  return sent and keep_alive
end

-- Sends an answer that is there as a whole; one that is too much beside those that slow readers keep waiting is lost.
local function send_whole(self, connection, request, response)
  local keep_alive, reason = may_keep(self, request), response.reason
  local text = self:format(request, response, keep_alive)
  if not connection:hold_answer(#text) then
    reason, keep_alive = "too much is being answered", false
    response = refusal(503, reason)
    text = self:format(request, response, keep_alive)
  end
  tell(self, connection, response.status, reason)
  local sent = send_in_time(self, connection, text)
  connection:release_answer()
  return sent and keep_alive
end

-- One request; true where the connection may carry another.
local function exchange(self, connection)
  local request = receive(self, connection)
  if not request then return false end
  connection.deadline = nil
  local response = self.handler(request, connection)
  connection:release(request)
  if response == "taken" then return tell(self, connection) end
  if not response.pieces then return send_whole(self, connection, request, response) end
  tell(self, connection, response.status)
  return send_pieces(self, connection, request, response)
end

local function serve(self, connection)
  while not connection.closed and exchange(self, connection) and not self.finishing do
    if connection:has_more() then connection:give_way() end
  end
  if connection.leave_open then connection:wait_for_end() end
end

local function close(self, connection)
  if not self.connections[connection] then return end
  self.connections[connection] = nil
  self.count = self.count - 1
  connection:close()
  if self.finishing and self.count == 0 then self.loop:stop() end
  local accept = self.accept_again
  if accept then
    self.accept_again = nil
    accept()
  end
end

-- What has begun can't become another answer.
local function answer_failure(self, connection)
  if connection.has_begun then return end
  tell(self, connection, 500)
  -- not waited for: the coroutine that could wait is dead
  connection.socket:send(self:format({}, { status = 500, body = "", content_type = "text/plain" }, false))
end

local function finished(self, connection)
  return function(ok, err, thread)
    if not ok then
      io.stderr:write(debug.traceback(thread, tostring(err)), "\n")
      answer_failure(self, connection)
    end
    close(self, connection)
  end
end

local function welcome(self, socket)
  if socket:getfd() > HIGHEST_DESCRIPTOR then return socket:close() end
  socket:settimeout(0)
  socket:setoption("tcp-nodelay", true)
  self.accepted = self.accepted + 1
  local connection = connections.new(self.loop, socket, self.limits, self.budget, self.accepted)
  self.connections[connection] = true
  self.count = self.count + 1
  self.loop:spawn(finished(self, connection), serve, self, connection)
end

local function longest_idle(self)
  local found
  local since = self.loop.now() - GRACE
  for connection in pairs(self.connections) do
    local idle_since = connection.idle_since
    if idle_since and idle_since <= since then found, since = connection, idle_since end
  end
  return found
end

local function make_room(self)
  local idle = longest_idle(self)
  if idle then close(self, idle) end
  return idle ~= nil
end

-- Nobody has to go unless somebody is at the door.
local function wait_for_room(self)
  self.loop:wait_readable(self.socket)
  if self.count >= self.limits.connections and not make_room(self) then
    self.loop:wait_until(function(again) self.accept_again = again end)
  end
end

local function accept(self)
  while not self.finishing do
    if self.count >= self.limits.connections then wait_for_room(self) end
    local socket, err = self.socket:accept()
    if socket then
      welcome(self, socket)
      if self.accepted % WELCOMES == 0 then self.loop:give_way() end
    elseif err == "timeout" then
      self.loop:wait_readable(self.socket)
    else
      -- most likely out of descriptors: some will be free again
      self.loop:pause(0.1)
    end
  end
end

local function sweep(self)
  local now, late = self.loop.now(), {}
  for connection in pairs(self.connections) do
    if connection.deadline and connection.deadline < now then late[#late + 1] = connection end
  end
  -- closing lets others in, and the table mustn't change under the loop above
  for _, connection in ipairs(late) do
    close(self, connection)
  end
  if self.accept_again then make_room(self) end
  self.loop:after(1, function() sweep(self) end)
end

-- All bodies together have room for one of the largest.
local function with_defaults(limits)
  local result = values.merged(LIMITS, limits)
  if not (limits and limits.bodies) then result.bodies = math.max(result.bodies, result.body) end
  return result
end

--- A host and a port as they stand in an address.
function server.authority(host, port)
  return (host:find(":", 1, true) and "[" .. host .. "]" or host) .. string.format(":%d", port)
end

--- Listens. `options`: `host`, `port` (0 picks a free one), `handler(request, connection) → response or "taken"`,
-- `limits`, and
--   `on_head(request, connection)`   called before the body is read; may return "taken", or the response where the body
--                                    makes no difference
--   `on_answered(request, status, seconds, reason)`   called for each request, also for one refused (`reason` says why,
--                                    and `request` is nil where there was none) and one whose handler raised
-- A response may have a `reason`, for `on_answered`. It may have `pieces(connection)` instead of a body: it is called
-- for the next piece of it, not an empty one, and may wait; nil is the end, false breaks off. `abandon()`, where it is
-- set, is called where nobody takes them any more.
-- A handler that returns "taken" has answered itself (`status` is nil then); the connection is closed, or kept where it
-- has set `connection.leave_open`. Returns a server with `host`, `port` and `loop`; or nil, message.
function server.new(options)
  local loop = options.loop or loops.new()
  local wanted_host, wanted_port = options.host or "127.0.0.1", options.port or 0
  local socket, err = loops.socket().bind(wanted_host, wanted_port, 1024)
  if not socket then return nil, "can't listen on " .. server.authority(wanted_host, wanted_port) .. ": " .. err end
  socket:settimeout(0)
  local host, port = socket:getsockname()
  local self = setmetatable({
    loop = loop, socket = socket, host = host, port = tonumber(port), handler = options.handler,
    on_head = options.on_head, on_answered = options.on_answered, limits = with_defaults(options.limits),
    budget = { held = 0, answers = 0 }, connections = {}, count = 0, accepted = 0,
  }, server_mt)
  loop:spawn(function(ok, problem)
    if not ok then error(problem, 0) end
  end, accept, self)
  sweep(self)
  return self
end

-- Whoever reads that it listens may interrupt it from then on.
local function run(self)
  if self.on_run then self:on_run() end
  self.loop:run()
end

--- Calls `on_run(server)`, where that is set, and serves until the loop is stopped, or Ctrl-C; closes all connections
-- then.
function server_methods:run()
  local ok, err = pcall(run, self)
  self:close()
  if not ok and not tostring(err):find("interrupted!", 1, true) then error(err, 0) end
  return ok
end

local function close_idle(self)
  local idle = {}
  for connection in pairs(self.connections) do
    if connection.idle_since then idle[#idle + 1] = connection end
  end
  for _, connection in ipairs(idle) do
    close(self, connection)
  end
end

--- Lets nobody in any more, and ends `run` once all answers that are under way are sent, or after so many seconds.
function server_methods:finish(seconds)
  if self.finishing then return end
  self.finishing, self.accept_again = true, nil
  self.loop:forget(self.socket)
  self.socket:close()
  self.loop:after(seconds, function() self.loop:stop() end)
  close_idle(self)
  if self.count == 0 then self.loop:stop() end
end

--- Closes what is open.
function server_methods:close()
  for connection in pairs(self.connections) do
    connection:close()
  end
  self.connections, self.count = {}, 0
  self.socket:close()
end

return server
