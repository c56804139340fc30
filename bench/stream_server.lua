-- A server for bench/stream: answers every request with a streamed run of EVENTS deltas, at once.
--   lua bench/stream_server.lua EVENTS
local socket = require("socket")

local events = tonumber(arg[1])

local RUN = '{"id":"run_bench","object":"thread.run","created_at":1,"assistant_id":"asst_bench",'
  .. '"thread_id":"thread_bench","status":"%s","tools":[],"usage":null}'
local DELTA = '{"id":"msg_bench","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text",'
  .. '"text":{"value":" token"}}]}}'

local function event(name, data)
  return "event: " .. name .. "\ndata: " .. data .. "\n\n"
end

local delta = event("thread.message.delta", DELTA)
local body = event("thread.run.created", RUN:format("queued")) .. delta:rep(events)
  .. event("thread.run.completed", RUN:format("completed")) .. event("done", "[DONE]")
local answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nContent-Length: " .. #body
  .. "\r\n\r\n" .. body

local function read_request(connection)
  local length = 0
  repeat
    local line = assert(connection:receive("*l"))
    length = tonumber(line:lower():match("^content%-length: (%d+)")) or length
  until line == ""
  return connection:receive(length)
end

local listener = assert(socket.bind("127.0.0.1", 0))
print("listening on http://127.0.0.1:" .. select(2, listener:getsockname()))
io.stdout:flush()
while true do
  local connection = assert(listener:accept())
  if read_request(connection) then connection:send(answer) end
  connection:close()
end
