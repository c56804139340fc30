--- The local server with faults, for specs: `lua spec/support/fault_server.lua [the options of "serve"]`.
-- Specs start it through spec/support/server.lua (`kind = "fault"`).
--
-- What no fault matches is answered by the ordinary server: the Assistants protocol below /v1, Nexus's below /api/v1.
-- Its own routes (never faulted, never recorded):
--   PUT    /__faults    a JSON array of faults; replaces those there were
--   GET    /__faults    the faults, with `hits`
--   DELETE /__faults    none any more; what hangs is answered ordinarily
--   GET    /__requests  what was received: [{method, path, query, headers, body, connection}], oldest first
--   DELETE /__requests  forgets them
--
-- A fault: {"path": prefix, "method": "POST", "skip": 0, "times": 2, "delay": seconds, "action": …}
--   path, method   which requests; all where absent. The first fault of the list that matches and isn't used up counts
--   chance, seed   how likely it is hit (1), and where its dice begin
--   skip, times    how many matching requests pass before, and how many are hit (for ever where absent)
--   delay          seconds to wait before anything is answered
--   action         what happens then ("pass" where absent):
--     pass           the ordinary answer
--     status         `status`, `headers` {Name: value}, `body` (text), `content_type` (application/json)
--     text, html     200 (or `status`) with a body that isn't JSON
--     empty          200 (or `status`) without a body
--     echo           200 with the request as JSON: method, path, query, headers, body, connection
--     drop           closes without an answer, the request having been read
--     drop_answered  the ordinary answer is computed (the server has acted on it), and the connection closed instead
--     drop_unread    closes having read the head alone
--     reset          a reset instead of an orderly close
--     restart        resets all connections, and nobody listens for `seconds` (0.1); what was acted on stays
--     half_close     half of the ordinary answer, then ends its sending, but keeps reading
--     truncate       a head with the full Content-Length and half of the body, then closes
--     cut_stream     of an answer that is a stream of events the first `events`, then closes
--     cut_chunked    a chunked answer that ends within a chunk
--     garbage        bytes that aren't HTTP
--     hang           no answer until the client goes away or the faults are deleted
--     trickle        the ordinary answer, a byte every `interval` seconds (0.01)
--     huge_body      200 with `bytes` (64 MiB) of JSON: a string
--     huge_header    200 with a header of `bytes` (1 MiB)
local cli = require("nexus_assistants.cli")
local json = require("nexus_assistants.json")
local message = require("nexus_assistants.serve.message")
local ports = require("spec.support.ports")
local serve = require("nexus_assistants.serve")

local MEBIBYTE = 1024 * 1024
local MAX_RECORDED, MAX_BODY, MAX_BODIES = 10000, MEBIBYTE, 64 * MEBIBYTE

local faults, recorded, hanging = json.array(), json.array(), {}
local recorded_bytes = 0

-- ---------------------------------------------------------------------------------------------- control routes

local function reply(status, value)
  return { status = status, body = assert(json.encode(value)) }
end

local function release_hanging()
  local waiting = hanging
  hanging = {}
  for _, resume in ipairs(waiting) do
    resume()
  end
end

local function put_faults(request)
  local list, problem = json.decode(request.body)
  if type(list) ~= "table" then return reply(400, { error = problem or "an array of faults is expected" }) end
  faults = json.array(list[1] and list or (next(list) and { list } or {}))
  for _, fault in ipairs(faults) do
    fault.seen, fault.hits, fault.dice = 0, 0, fault.seed or 1
  end
  return reply(200, faults)
end

local CONTROL = {
  ["PUT /__faults"] = put_faults,
  ["GET /__faults"] = function() return reply(200, faults) end,
  ["DELETE /__faults"] = function()
    faults = json.array()
    release_hanging()
    return reply(200, faults)
  end,
  ["GET /__requests"] = function() return reply(200, recorded) end,
  ["DELETE /__requests"] = function()
    recorded, recorded_bytes = json.array(), 0
    return reply(200, recorded)
  end,
}

-- ------------------------------------------------------------------------------------------ choosing, recording

local function is_control(request)
  return request.path:sub(1, 3) == "/__"
end

local function matches(fault, request)
  if fault.method and fault.method ~= request.method then return false end
  return not fault.path or request.path:sub(1, #fault.path) == fault.path
end

-- A generator of its own, so that a seed tells all.
local function is_lucky(fault)
  if not fault.chance then return false end
  fault.dice = fault.dice * 16807 % 2147483647
  return fault.dice / 2147483647 >= fault.chance
end

local function choose(request)
  for _, fault in ipairs(faults) do
    local is_used_up = fault.times and fault.hits >= fault.times
    if matches(fault, request) and not is_used_up and not is_lucky(fault) then
      fault.seen = fault.seen + 1
      if fault.seen > (fault.skip or 0) then
        fault.hits = fault.hits + 1
        return fault
      end
    end
  end
end

local function as_json(request, connection)
  local body = request.body or ""
  return {
    method = request.method, path = request.path, query = request.query, headers = request.headers,
    body = #body > MAX_BODY and body:sub(1, MAX_BODY) or body, connection = connection.number,
  }
end

local function record(request, connection)
  recorded[#recorded + 1] = as_json(request, connection)
  recorded_bytes = recorded_bytes + #recorded[#recorded].body
  while #recorded > MAX_RECORDED or recorded_bytes > MAX_BODIES do
    recorded_bytes = recorded_bytes - #table.remove(recorded, 1).body
  end
end

-- ----------------------------------------------------------------------------------------------------- actions

local actions = {}

-- The text of the ordinary answer, and where its body begins.
local function ordinary_text(context)
  local text = context.server:format(context.request, context.ordinary(), true)
  return text, select(2, text:find("\r\n\r\n", 1, true)) + 1
end

function actions.pass(context)
  return context.ordinary()
end

function actions.status(context)
  local fault = context.fault
  return {
    status = fault.status or 500, headers = fault.headers, body = fault.body or "", content_type = fault.content_type,
  }
end

function actions.text(context)
  local fault = context.fault
  return { status = fault.status or 200, body = fault.body or "this is not JSON", content_type = "text/plain" }
end

function actions.html(context)
  local page = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>\n"
  local fault = context.fault
  return { status = fault.status or 200, body = fault.body or page, content_type = "text/html; charset=UTF-8" }
end

function actions.empty(context)
  return { status = context.fault.status or 200, body = "" }
end

function actions.echo(context)
  return reply(200, as_json(context.request, context.connection))
end

function actions.drop()
  return "taken"
end

function actions.drop_answered(context)
  context.ordinary()
  return "taken"
end

function actions.reset(context)
  context.connection.socket:setoption("linger", { on = true, timeout = 0 })
  return "taken"
end

local function reset_all(server)
  local connections = server.connections
  server.connections, server.count = {}, 0
  for connection in pairs(connections) do
    connection.socket:setoption("linger", { on = true, timeout = 0 })
    connection:close()
  end
end

-- Whoever accepts waits for the socket meanwhile, and goes on with the new one.
local function listen_again(server, thread, finish)
  local socket = assert(require("socket").bind(server.host, server.port, 1024))
  socket:settimeout(0)
  server.socket = socket
  server.loop.finish[thread], server.loop.waiting[socket] = finish, thread
  server.loop:wake(socket)
end

function actions.restart(context)
  local server, seconds = context.server, context.fault.seconds or 0.1
  local loop, thread = server.loop, server.loop.waiting[server.socket]
  if not thread then return context.ordinary() end
  local finish = loop.finish[thread]
  loop:forget(server.socket)
  server.socket:close()
  reset_all(server)
  loop:after(seconds, function() listen_again(server, thread, finish) end)
  return "taken"
end

function actions.half_close(context)
  local text = ordinary_text(context)
  context.connection:send(text:sub(1, math.floor(#text / 2)))
  context.connection.socket:shutdown("send")
  context.connection.leave_open = true
  return "taken"
end

function actions.truncate(context)
  local text, body = ordinary_text(context)
  context.connection:send(text:sub(1, math.floor((body + #text) / 2)))
  return "taken"
end

function actions.cut_chunked(context)
  local head = message.head(200, { "Content-Type: application/json", "Transfer-Encoding: chunked" })
  context.connection:send(head .. "9\r\n{\"id\":\"a\"\r\nff\r\n,\"object\"")
  return "taken"
end

-- The first `count` events of a text, and how many there were.
local function first_events(text, count)
  local stop, found = 0, 0
  while found < count do
    local _, next_stop = text:find("\n\n", stop + 1, true)
    if not next_stop then break end
    stop, found = next_stop, found + 1
  end
  return text:sub(1, stop), found
end

function actions.cut_stream(context)
  local response, left = context.ordinary(), context.fault.events
  local pieces = response.pieces
  if not pieces then return response end
  function response.pieces(connection)
    local text = left > 0 and pieces(connection)
    if not text then return false end
    local kept, count = first_events(text, left)
    left = left - count
    return kept
  end
  return response
end

function actions.garbage(context)
  context.connection:send("\0\1\2 this is not HTTP\r\n\r\n")
  return "taken"
end

-- Whichever comes first, the client's leaving or the release, the other does nothing any more.
function actions.hang(context)
  local connection, loop = context.connection, context.server.loop
  local released
  hanging[#hanging + 1] = function()
    released = true
    if not connection.closed then loop:wake(connection.socket) end
  end
  loop:wait_readable(connection.socket)
  if released then return context.ordinary() end
  return "taken"
end

function actions.trickle(context)
  local text = ordinary_text(context)
  for index = 1, #text do
    if not context.connection:send(text:sub(index, index)) then break end
    context.server.loop:pause(context.fault.interval or 0.01)
  end
  return "taken"
end

function actions.huge_body(context)
  local bytes = context.fault.bytes or 64 * MEBIBYTE
  context.connection:send(message.head(200, { "Content-Type: application/json", "Content-Length: " .. bytes }) .. '"')
  local left, piece = bytes - 2, ("x"):rep(65536)
  while left > 0 and context.connection:send(piece:sub(1, left)) do
    left = left - #piece
  end
  context.connection:send('"')
  return "taken"
end

function actions.huge_header(context)
  local value = ("x"):rep(context.fault.bytes or MEBIBYTE)
  return { status = 200, headers = { ["X-Huge"] = value }, body = "{}" }
end

-- -------------------------------------------------------------------------------------------------------- main

local function act(server, ordinary_handler, request, connection)
  local fault = request.fault
  if not fault then return ordinary_handler(request, connection) end
  if fault.delay then server.loop:pause(fault.delay) end
  if connection.closed then return "taken" end -- by a restart, which ends what is under way
  local context = { server = server, request = request, connection = connection, fault = fault }
  function context.ordinary() return ordinary_handler(request, connection) end
  local action = actions[fault.action or "pass"]
  if not action then return reply(400, { error = "unknown action: " .. tostring(fault.action) }) end
  return action(context)
end

-- A fault is chosen with the head, since one of them leaves the body unread.
local function on_head(request, connection)
  if is_control(request) then return end
  request.fault = choose(request)
  if not request.fault or request.fault.action ~= "drop_unread" then return end
  record(request, connection)
  return "taken"
end

local server

local function wrap(ordinary_handler, settings)
  settings.on_head = on_head
  return function(request, connection)
    if is_control(request) then
      local control = CONTROL[request.method .. " " .. request.path]
      return control and control(request) or reply(404, { error = "no such control route" })
    end
    record(request, connection)
    return act(server, ordinary_handler, request, connection)
  end
end

local options = assert(cli.parse("serve", arg))
if (options.port or 0) == 0 then options.port = ports.unused() end -- it must be had again after a restart
local settings = assert(cli.serve_options(options))
settings.wrap = wrap
server = assert(serve.start(settings))
server:run()
