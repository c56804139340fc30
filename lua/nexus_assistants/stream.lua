--- A run that is streamed: its events as they come, and the objects they add up to. It goes through the same rounds of
-- tools as a run that is polled; and where the stream breaks off while the run goes on, it is polled from there.
local accumulate = require("nexus_assistants.accumulate")
local errors = require("nexus_assistants.error")
local run = require("nexus_assistants.run")
local run_loop = require("nexus_assistants.run_loop")
local tool_round = require("nexus_assistants.tool_round")
local values = require("nexus_assistants.values")

local stream = {}

local stream_methods = {}
local stream_mt = { __index = stream_methods, __name = "nexus_assistants.stream" }

local SUBMIT = "threads.runs.submit_tool_outputs"
local HEADERS = { Accept = "text/event-stream" }
local MOST_SENDINGS = 3 -- of the same outputs, where the connection breaks each time
local READS_A_TURN = 16 -- events that a task may take before the others have their turn
local MAY_PASS = { connection = true, timeout = true, protocol = true, too_large = true }

-- ------------------------------------------------------------------------------------------------------- opening

local function open_source(self, name, body)
  local under_way = self.under_way
  local operation, params = under_way:params(name, values.merged(body, { stream = true }), self.headers)
  local source, err = under_way.provider:open(operation, params)
  self.source = source
  return source, err
end

-- Waits for the first event, since what is wrong with a request shows there. Returns true; or nil and an error; or nil,
-- nil and why the wait is over.
local function wait_for_first(self)
  local wait = self.under_way.wait
  local name, data = self.source:next(wait:patience())
  while name == false and not wait:over() do name, data = self.source:next(wait:patience()) end
  if name == false then return nil, nil, wait:over() end
  if name == nil and data then return nil, data end
  self.first = { name, data }
  return true
end

local function open_first(self)
  local under_way, reason = self.under_way, nil
  local opened, err = run_loop.begin(under_way, function()
    if under_way.operation == SUBMIT then
      local seen, calls = run_loop.prepare_submission(under_way)
      if not seen then return nil, calls end
      if not under_way.body.tool_outputs then return seen end -- a tool has put its call off
      self.sending = calls
    end
    local source, problem = open_source(self, under_way.operation, under_way.body)
    if not source then return nil, problem end
    local there
    there, problem, reason = wait_for_first(self)
    if not there then source:close() end
    return there, problem
  end)
  if reason then return under_way:out_of_time(reason) end
  if not opened then return under_way:give_up(err) end
  if opened == true then return true end
  self.source = nil -- the run was made, and its stream lost
  return under_way:take(opened)
end

-- ---------------------------------------------------------------------------------------------------------- ending

-- The outcome is settled: `result` or `err`. Whoever comes first settles it.
local function finish(self, result, err)
  if self.settled then return nil, self.err end
  self.settled, self.over, self.outcome, self.err = true, true, result, err
  self.under_way.client.open_streams[self] = nil
  self.source, self.under_way.wait.on_status = nil, nil
  self.made:flush()
  self.under_way:conclude(err)
  if result then self.under_way.client:adopt_run(result, self.under_way) end
  return nil, err
end

-- --------------------------------------------------------------------------------------------------------- events

local function text_of(data)
  local content = data.object == "thread.message.delta" and type(data.delta) == "table" and data.delta.content
  local text
  for _, part in ipairs(type(content) == "table" and content or {}) do
    local value = type(part) == "table" and type(part.text) == "table" and part.text.value
    if type(value) == "string" then text = text and text .. value or value end
  end
  return text
end

local function take_run(self, data)
  local taken, err = self.under_way:take(data)
  if taken then self.under_way.client:saw_run(data) end
  return taken, err
end

-- What the outputs of tools were sent with has an answer, so they have arrived.
local function note_arrival(self)
  if not self.sending then return end
  tool_round.sent(self.under_way, self.sending)
  self.sending, self.failed_sendings = nil, 0
end

local function take_event(self, name, data)
  self.under_way.wait:moved()
  note_arrival(self)
  self.made:take(data)
  if data.object == "thread.run" then
    local taken, err = take_run(self, data)
    if not taken then return nil, err end
  end
  return { type = name, data = data, text = text_of(data) }
end

-- The stream is gone; whether the run is, the server knows.
local function go_on_polling(self, err)
  local under_way = self.under_way
  if not under_way:is_under_way() or not MAY_PASS[err.kind] then return false end
  if err.kind == "timeout" and under_way.wait:remaining() <= 0.001 then return false end
  if self.sending then -- whether the outputs have arrived, the run will tell
    self.failed_sendings, self.must_look, self.sending = self.failed_sendings + 1, true, nil
    if self.failed_sendings > MOST_SENDINGS then return false end
  end
  under_way.span:set("stream", "broken off, polled from there: " .. tostring(err))
  return true
end

local function fail(self, err)
  return finish(self, self.under_way:give_up(err))
end

-- A status that polling found is told as the stream would have.
local function poll(self)
  local under_way = self.under_way
  local before = under_way.status
  local taken, err, reason = run_loop.poll(under_way)
  if self.over then return nil, self.err end
  if reason then return finish(self, under_way:out_of_time(reason)) end
  if not taken then return fail(self, err) end
  self.made:take(taken)
  if under_way.status == before then return false end
  return { type = "thread.run." .. tostring(under_way.status), data = taken }
end

local function answer(self, calls)
  local outputs, err = run_loop.answers(self.under_way, calls)
  if self.over then return nil, self.err end
  if err then return fail(self, err) end
  if not outputs then return finish(self, self.under_way:settle()) end
  self.under_way.wait:hurry()
  self.sending = calls
  local source
  source, err = open_source(self, SUBMIT, { tool_outputs = outputs })
  if not source then return fail(self, err) end
  return false
end

-- What comes when a stream has ended: tools, polling, or nothing.
local function next_round(self)
  local under_way = self.under_way
  if not under_way.run then return fail(self, under_way:nonsense("a stream that ended before there was a run")) end
  if not under_way:is_under_way() then return finish(self, under_way:settle()) end
  if under_way.status ~= "requires_action" or self.must_look then
    self.must_look = false
    return poll(self)
  end
  local calls = tool_round.calls(under_way.run)
  if not calls then return fail(self, under_way:nonsense("a tool call without an id")) end
  if calls[1] and tool_round.is_answered(under_way, calls) then return poll(self) end
  if tool_round.is_for_script(under_way) then return finish(self, under_way:settle()) end
  return answer(self, calls)
end

local function next_event(self)
  local first = self.first
  if not first then return self.source:next(self.under_way.wait:patience()) end
  self.first = nil
  return first[1], first[2]
end

-- An event; false where there is none yet; nil at the end, with an error where it was one.
local function step(self)
  local under_way, source = self.under_way, self.source
  if not source then return next_round(self) end
  local name, data = next_event(self)
  if self.over then return nil, self.err end
  if name then
    local event, err = take_event(self, name, data)
    if not event then return fail(self, err) end
    return event
  end
  if name == false then
    local reason = under_way.wait:over()
    return reason and finish(self, under_way:out_of_time(reason)) or false
  end
  self.source = nil
  local is_ended = under_way.run and not under_way:is_under_way() -- then the rest of the stream is of no matter
  if data and not is_ended and not go_on_polling(self, data) then return fail(self, data) end
  return false
end

-- Reads until the run is known: what is given up then can be cancelled. Returns true, or nil and an error.
local function read_ahead(self)
  repeat
    local event, err = step(self)
    if event == nil then return nil, err end
    if event then self.ahead[#self.ahead + 1] = event end
  until self.under_way.run
  return true
end

local function pull(self)
  if self.ahead[1] and not self.closed then return table.remove(self.ahead, 1) end
  while not self.over do
    local event, err = step(self)
    if event ~= false then return event, err end
  end
  return nil, self.err
end

local function read_elsewhere(self)
  return nil, errors.new({ kind = "conflict", message = "the stream is being read elsewhere",
    operation = self.under_way.span_name })
end

-- What was raised while the run was driven, where something was; the run is over for the script then.
local function raised_by(self, ok, problem)
  if ok then return self.under_way.raised end
  if self.on_leave == "cancel" then self.under_way:abandon_raised() end
  return { problem }
end

-- What the script's own functions raise goes on to it.
local function pass(self, ok, event, err)
  self.reading = false
  local raised = raised_by(self, ok, event)
  if not raised then return event, err end
  finish(self, nil, raised[1])
  self.under_way.raised = nil
  error(raised[1], 0)
end

-- Now and then, since it costs: the others have their turn, and the lane is the reader's.
local function look_around(self)
  local under_way = self.under_way
  if under_way.ticket then under_way.client.lanes:own(under_way.ticket) end
  if self.reads > 0 then under_way.scheduler:breathe() end
end

local function pull_protected(self)
  if self.reading then return read_elsewhere(self) end
  self.reading = true
  if self.reads % READS_A_TURN == 0 then look_around(self) end
  self.reads = self.reads + 1
  return pass(self, self.under_way.scheduler:protected(pull, self))
end

-- ------------------------------------------------------------------------------------------------------- methods

local function check_self(method, self)
  if getmetatable(self) ~= stream_mt then error("stream:" .. method .. ": call it with a colon", 3) end
end

--- The next event: `{ type, data, text }`, with `text` where a message grows by it. Nil at the end; nil and an error
-- where the run failed, or the stream.
function stream_methods:next()
  check_self("next", self)
  return pull_protected(self)
end

-- In Lua 5.4 a loop that is left closes this.
local function closing(self)
  return setmetatable({}, { __close = function() self:close() end })
end

local function next_or_raise(self)
  local event, err = pull_protected(self)
  if event == nil and err ~= nil and not self.closed then error(err, 0) end
  return event
end

--- For loops: `for event in stream:events() do`. A failure raises its error object. In Lua 5.4, leaving the loop early
-- closes the stream; elsewhere call `stream:close()`.
function stream_methods:events()
  check_self("events", self)
  return function() return next_or_raise(self) end, nil, nil, closing(self)
end

--- For loops over the texts alone, piece by piece as they come: `for text in stream:texts() do`.
function stream_methods:texts()
  check_self("texts", self)
  local function next_text()
    local event = next_or_raise(self)
    while event and not event.text do event = next_or_raise(self) end
    return event and event.text
  end
  return next_text, nil, nil, closing(self)
end

--- Reads to the end. Returns the run where it completed or asks for what is the script's to give; else nil and an
-- error.
function stream_methods:result()
  check_self("result", self)
  local event, err
  repeat
    event, err = pull_protected(self)
  until not event
  if not self.settled then return nil, err end
  return self.outcome, self.err
end

--- The run as it is so far.
function stream_methods:run()
  check_self("run", self)
  return self.under_way.run or self.outcome
end

--- The messages so far, put together.
function stream_methods:messages()
  check_self("messages", self)
  self.made:flush()
  return self.made.messages
end

--- The steps of the run so far, put together.
function stream_methods:steps()
  check_self("steps", self)
  self.made:flush()
  return self.made.steps
end

local function closed_error(self)
  return errors.new({ kind = "cancelled", message = "the stream was closed", run = self.under_way.run,
    operation = self.under_way.span_name })
end

--- Stops reading, also where another task does that now. A run that is under way is cancelled at the server, and its
-- end is waited for, for a few seconds; with the option `on_leave = "continue"` it goes on. Does nothing to a stream
-- that is over. Returns true, or nil and an error where the run may go on.
function stream_methods:close()
  check_self("close", self)
  if self.over then return true end
  local under_way, ended, problem = self.under_way, true, nil
  self.over, self.closed, self.err = true, true, closed_error(self)
  under_way.wait.on_status = nil
  if self.source then self.source:close() end
  tool_round.stop(under_way)
  if self.on_leave == "cancel" then ended, problem = under_way:cancel_and_wait() end
  finish(self, nil, closed_error(self))
  return ended, problem
end

-- Ends a stream without waiting for anything: one that nobody refers to any more, or whose client is being closed,
-- keeps no lane and leaves no run behind.
function stream.drop(self)
  if self.over then return end
  self.over, self.settled, self.err = true, true, closed_error(self)
  local under_way = self.under_way
  if self.source then self.source:close() end
  if self.on_leave == "cancel" and under_way:is_under_way() then under_way:abandon_later() end
  under_way.span:error("the stream was not read to its end")
  under_way.span:finish()
  if under_way.ticket then under_way.client.lanes:leave(under_way.ticket) end
end

-- 5.1 and LuaJIT collect no tables with a method.
local function watch(self)
  local newproxy = rawget(_G, "newproxy")
  if not newproxy then return end
  self.proxy = newproxy(true)
  getmetatable(self.proxy).__gc = function() stream.drop(self) end
end

stream_mt.__gc = stream.drop

-- Closes a stream that is still there; the lane, which has this, must not keep it.
local function closer(self)
  local held = setmetatable({ self }, { __mode = "v" })
  return function()
    if held[1] then held[1]:close() end
  end
end

local function begin(self)
  local opened, err = open_first(self)
  if opened and not self.under_way.run then return read_ahead(self) end
  return opened, err
end

local function settle_start(self, ok, opened, err)
  local raised = raised_by(self, ok, opened)
  if opened and not raised then return self end
  finish(self, nil, raised and raised[1] or err)
  self.under_way.raised = nil
  if raised then error(raised[1], 0) end
  return nil, self.err
end

--- Begins with a run, see `run.new`, and streams it; `options.on_leave` is "cancel" or "continue". Returns the stream
-- once its run is known, or nil and an error.
function stream.start(client, request)
  local self = setmetatable({
    under_way = run.new(client, request),
    made = accumulate.new(),
    headers = values.merged(HEADERS, request.options.headers),
    on_leave = request.options.on_leave or "cancel",
    ahead = {}, -- events that were read before anybody asked for them
    failed_sendings = 0,
    reads = 0,
    over = false,
  }, stream_mt)
  watch(self)
  client.open_streams[self] = stream.drop
  self.under_way.close_stream = closer(self)
  return settle_start(self, client.scheduler:protected(begin, self))
end

return stream
