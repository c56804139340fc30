--- An HTTP server in the same thread as the engine under test: the two are moved on in turn, so nothing races.
local socket = require("socket")

local loopback = {}
loopback.__index = loopback

--- `answer(request)` returns status, body, headers; a nil status leaves the request without an answer.
function loopback.new(answer)
  local listener = assert(socket.bind("127.0.0.1", 0))
  listener:settimeout(0)
  local _, port = listener:getsockname()
  local self = setmetatable({ listener = listener, answer = answer, connections = {}, requests = {} }, loopback)
  self.url = "http://127.0.0.1:" .. port
  return self
end

local function parse(text)
  local head, rest = text:match("^(.-\r\n)\r\n(.*)$")
  if not head then return nil end
  local request = { headers = {} }
  request.method, request.path = head:match("^(%S+) (%S+)")
  for name, value in head:gmatch("([^\r\n:]+): *([^\r\n]*)\r\n") do request.headers[name:lower()] = value end
  local length = tonumber(request.headers["content-length"] or 0)
  if #rest < length then return nil end
  request.body = rest:sub(1, length)
  return request, rest:sub(length + 1)
end

local function respond(connection, status, body, headers)
  local lines = { "HTTP/1.1 " .. status .. " Whatever", "Content-Length: " .. #body }
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  connection.unsent = table.concat(lines, "\r\n") .. "\r\n\r\n" .. body
end

--- Sends what the client takes now: it may be slow, and it is moved on by the same thread.
local function flush(connection)
  if not connection.unsent then return end
  local sent, _, partly = connection.socket:send(connection.unsent)
  connection.unsent = connection.unsent:sub((sent or partly or 0) + 1)
  if connection.unsent == "" then connection.unsent = nil end
end

function loopback:serve(connection)
  flush(connection)
  local whole, problem, part = connection.socket:receive("*a")
  connection.text = connection.text .. (whole or part or "")
  if problem == "closed" then connection.closed = true end
  local request, rest = parse(connection.text)
  if not request then return end
  connection.text = rest
  self.requests[#self.requests + 1] = request
  local status, body, headers = self.answer(request)
  if status then
    respond(connection, status, body or "", headers)
    flush(connection)
  end
end

--- Accepts, reads and answers what is there now.
function loopback:step()
  local client = self.listener:accept()
  if client then
    client:settimeout(0)
    self.connections[#self.connections + 1] = { socket = client, text = "" }
  end
  for _, connection in ipairs(self.connections) do
    if not connection.closed then self:serve(connection) end
  end
end

--- Moves engine and server on until `finished()`; an error after some seconds.
function loopback:run(engine, finished)
  local core = require("nexus_assistants.core")
  local deadline = core.monotonic() + 30
  while not finished() do
    engine:step(0.001)
    self:step()
    assert(core.monotonic() < deadline, "nothing came of it within 30 seconds")
  end
end

function loopback:close()
  self.listener:close()
  for _, connection in ipairs(self.connections) do connection.socket:close() end
end

return loopback
