--- One question to Responses: sent as a whole, polled, or streamed, until its response has ended.
local failure = require("nexus_assistants.models.chat.failure")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local output = require("nexus_assistants.models.responses.output")

local exchange = {}
local exchange_methods = {}
local exchange_mt = { __index = exchange_methods }

local present = json.present

local CREATE = operations["responses.create"]

local FIRST_PAUSE, LONGEST_PAUSE = 0.25, 2 -- seconds between polls, where the API doesn't say
local FIRST_LOCKED, LONGEST_LOCKED = 0.5, 5 -- seconds that a conversation is left to who is at work on it
local SHORTEST_PAUSE = 0.05 -- where the API says so
local SHORTEST = 0.001
-- A question that may be asked once more: how often, and after how many seconds, as the core has it for its calls.
local REPEATS, FIRST_REPEAT, LONGEST_REPEAT, LONGEST_ASKED = 2, 0.5, 8, 60

-- Kinds of errors that only say that the connection is gone.
local BROKEN = { connection = true, timeout = true, protocol = true }

local DELTAS = { ["response.output_text.delta"] = true, ["response.refusal.delta"] = true }

--- A question that nothing has been done about. `settings`: `api`, `context` as a model's `think` gets it, `clock()`,
-- seconds that only go forward, and `in_conversation`, true where what is sent is added to something at the API.
function exchange.new(settings)
  return setmetatable({
    api = settings.api, context = settings.context, clock = settings.clock,
    in_conversation = settings.in_conversation, repeats = 0,
    began = settings.clock(), due = settings.clock() + settings.context.seconds, pieces = {}, items = {},
  }, exchange_mt)
end

--- The text that was told so far.
function exchange_methods:told()
  return table.concat(self.pieces)
end

-- --------------------------------------------------------------------------------------------------------- requests

local function left(self)
  return self.due - self.clock()
end

-- What was sent to a conversation and not answered may be in it, so the core mustn't send it again.
local function options(self, operation)
  return {
    deadline = math.max(math.min(left(self), self.api.defaults.deadline or math.huge), SHORTEST),
    retries = self.in_conversation and operation.method == "POST" and 0 or nil,
  }
end

-- What may pass, as the core has it.
local function may_pass(err)
  local status = err.status
  if not status then return err.kind == "connection" or err.kind == "timeout" end
  return status == 408 or status == 409 or status == 429 or status >= 500
end

local function pause_before_repeat(self, err)
  local asked = err.retry_after
  if asked and asked <= LONGEST_ASKED then return asked end
  return math.min(FIRST_REPEAT * 2 ^ self.repeats, LONGEST_REPEAT)
end

-- Whether something of the answer came, or the time for it is over.
local function is_settled(self, pause)
  local defaults = self.api.defaults
  if self.id or self.pieces[1] or self.repeats >= (defaults.retries or REPEATS) then return true end
  return math.min(left(self), self.began + (defaults.deadline or math.huge) - self.clock()) <= pause
end

--- Waits until a question that failed may be asked once more; returns whether it may.
function exchange_methods:wait_to_repeat(err)
  local pause = pause_before_repeat(self, err)
  if not may_pass(err) or is_settled(self, pause) then return false end
  self.repeats = self.repeats + 1
  return self.context.sleep(pause) == true
end

-- Sends again where somebody else is at work on the conversation, for as long as there is time.
local function send_unlocked(self, send)
  local pause = FIRST_LOCKED
  while true do
    local result, info = send()
    if result or info.code ~= "conversation_locked" or left(self) <= pause then return result, info end
    local slept, problem = self.context.sleep(pause)
    if not slept then return nil, problem end
    pause = math.min(pause * 2, LONGEST_LOCKED)
  end
end

--- Performs an operation within the time there is. Returns what the api does.
function exchange_methods:perform(name, params)
  return send_unlocked(self, function()
    params.options = options(self, operations[name])
    return self.api:perform(operations[name], params)
  end)
end

-- A response in the background goes on by itself, so it must be known to whoever wants it to end.
local function note(self, response, body)
  self.id = present(response.id) or self.id
  if not output.is_under_way(response) then self.response = response end
  if body.background then self.context.state.response_id = not self.response and self.id or nil end
end

-- ----------------------------------------------------------------------------------------------------------- polling

local function retrieve(self, body)
  local query = body.include and { include = body.include } or nil
  local response, info = self:perform("responses.retrieve", { path = { response_id = self.id }, query = query })
  if response then note(self, response, body) end
  return response, info
end

local function pause_for(self, seconds)
  if left(self) <= 0 then return nil, failure.answer("there was no time left to wait for the response") end
  return self.context.sleep(math.min(seconds, left(self)))
end

-- Waits for the end of a response, which goes on whether it can be asked for or not. Returns true, or nil and an error.
local function poll(self, body, info)
  local pause = FIRST_PAUSE
  while not self.response do
    local slept, problem = pause_for(self, math.max(info.poll_after or info.retry_after or pause, SHORTEST_PAUSE))
    if not slept then return nil, problem end
    local response
    response, info = retrieve(self, body)
    if not response and not may_pass(info) then return nil, info end
    pause = math.min(pause * 2, LONGEST_PAUSE)
  end
  return true
end

local function fetch(self, body)
  local response, info = self:perform(CREATE.name, { path = {}, body = body })
  if not response then return nil, info end
  self.attempts = info.attempts and info.attempts + self.repeats
  note(self, response, body)
  if body.background then return poll(self, body, info) end
  self.response = response
  return true
end

-- --------------------------------------------------------------------------------------------------------- streaming

-- Two texts of one response stand apart.
local function tell(self, event)
  local place, piece = tostring(event.output_index) .. "/" .. tostring(event.content_index), event.delta
  if type(piece) ~= "string" or piece == "" then return true end
  if self.place and self.place ~= place then piece = output.BETWEEN .. piece end
  self.place = place
  self.pieces[#self.pieces + 1] = piece
  return self.context.tell(piece)
end

-- Takes an event; returns false where nobody wants more. A server that doesn't stream sends the response alone.
local function take(self, event, body)
  local response = event.object == "response" and event or event.response
  -- some servers tell the whole of a response at its end alone
  if type(response) == "table" and present(response.status) then note(self, response, body) end
  local index = event.type == "response.output_item.done" and event.output_index
  if type(index) == "number" and type(event.item) == "table" then self.items[index + 1] = event.item end
  return not DELTAS[event.type] or tell(self, event)
end

local function next_event(source)
  local name, event
  repeat name, event = source:next() until name ~= false
  return name, event
end

-- What is wrong with a request shows in place of the first event.
local function open(self, body)
  return send_unlocked(self, function()
    local source, err = self.api:open(CREATE, { path = {}, body = body, options = options(self, CREATE) })
    if not source then return nil, err end
    local name, event = next_event(source)
    if name ~= nil or not event then return source, event end
    source:close()
    return nil, event
  end)
end

-- Reads to the end of the response. Returns true; false where nobody wants more; nil, and why the stream broke off.
local function read(self, source, event, body)
  while event do
    if not take(self, event, body) then return false end
    if self.response then return true end
    local name
    name, event = next_event(source)
    if name == nil then return nil, event end
  end
end

-- What is stored is there though the stream isn't; what runs in the background goes on.
local function recover(self, body, err)
  err = err or failure.answer("the stream ended before the response did")
  if not BROKEN[err.kind] or not body.store or not self.id then return nil, err end
  local response, info = retrieve(self, body)
  if not response and not (body.background and may_pass(info)) then return nil, err end
  if body.background then return poll(self, body, info) end
  if self.response then return true end
  return nil, err
end

-- The items as they were when each was done are whole, whatever the response says of them in the end.
local function settle_items(self)
  local items = type(self.response.output) == "table" and self.response.output or {}
  for index, item in pairs(self.items) do items[index] = item end
  self.response.output = items
end

local function follow(self, body)
  body.stream = true
  local source, event = open(self, body)
  if not source then return nil, event end
  local ended, err = read(self, source, event, body)
  source:close()
  if ended then settle_items(self) end
  if ended == nil then return recover(self, body, err) end
  return ended
end

-- ---------------------------------------------------------------------------------------------------------- the whole

--- Asks, and waits for the end. Returns the response; false where nobody wants more; nil and an error.
function exchange_methods:ask(body)
  local ask = self.context.streams and follow or fetch
  local ended, err = ask(self, body)
  if not ended then return ended, err end
  return self.response
end

return exchange
