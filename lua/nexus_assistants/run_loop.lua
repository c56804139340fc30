--- Drives a run to its end by polling, and answers the calls of tools it asks for: create_and_poll and what is like it.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local run = require("nexus_assistants.run")
local tool_round = require("nexus_assistants.tool_round")
local tools = require("nexus_assistants.tools")

local run_loop = {}

local CREATE = "threads.runs.create"
local RETRIEVE = "threads.runs.retrieve"
local SUBMIT = "threads.runs.submit_tool_outputs"

-- ------------------------------------------------------------------------------------------------------------ steps

--- Waits and looks at the run again. Returns it; or nil and an error; or nil, nil and why the wait is over.
function run_loop.poll(self)
  local ok, err, reason = self.wait:pause()
  if not ok then return nil, err, reason end
  local taken
  taken, err = self:take(self:perform(RETRIEVE, nil, self.poll_headers))
  return taken, err
end

--- Runs the tools a run asks for. Returns the outputs for all its calls; or nil where some are still to come; or nil
-- and an error.
function run_loop.answers(self, calls)
  local ok, err = tool_round.run(self, calls)
  if not ok then return nil, err end
  return tool_round.outputs(self, calls)
end

-- A submission whose answer was lost has arrived all the same: repeated, it is refused, since the run has gone on.
local function look_after_refusal(self, err)
  if err.status ~= 400 then return nil, err end
  local seen, info = self:perform(RETRIEVE)
  if not seen or seen.status == "requires_action" then return nil, err end
  return seen, info
end

local function perform_submit(self, calls, body)
  local sent, info = self:perform(SUBMIT, body)
  if not sent then sent, info = look_after_refusal(self, info) end
  if sent then tool_round.sent(self, calls) end
  return sent, info
end

local function submit(self, calls, body)
  local taken, err = self:take(perform_submit(self, calls, body))
  return taken, err
end

local function answer(self, calls)
  local outputs, err = run_loop.answers(self, calls)
  if not outputs then return nil, err end
  self.wait:hurry()
  return submit(self, calls, { tool_outputs = outputs })
end

-- Returns the run as it is then; nil and an error; nil, nil and why the wait is over; or nil where it is the script's
-- turn.
local function advance(self)
  if self.status ~= "requires_action" then return run_loop.poll(self) end
  local calls = tool_round.calls(self.run)
  if not calls then return nil, self:nonsense("a tool call without an id") end
  if tool_round.is_answered(self, calls) and calls[1] then return run_loop.poll(self) end
  if tool_round.is_for_script(self) then return nil end
  return answer(self, calls)
end

--- Polls until the run is over or it is the script's turn. Returns the run, or nil and an error.
function run_loop.drive(self)
  while self:is_under_way() do
    local taken, err, reason = advance(self)
    if reason then return self:out_of_time(reason) end
    if err then return self:give_up(err) end
    if not taken then break end
  end
  return self:settle()
end

-- -------------------------------------------------------------------------------------------------------- beginning

--- Enters the lane of the thread, where a run is to be made on it, and performs what the run begins with. Returns what
-- that does, or nil and an error. What goes on with a run that is there waits for nobody.
function run_loop.begin(self, perform)
  local lanes = self.client.lanes
  if self.operation ~= CREATE then return perform(self) end
  local ticket, err = lanes:enter(self.thread_id, self.options.lane, self.wait:remaining(), self)
  if not ticket then return nil, err end
  self.ticket = ticket
  return lanes:attempt(ticket, self.wait, function() return perform(self) end)
end

local function outputs_by_id(list)
  local outputs = {}
  for _, item in ipairs(list) do
    if type(item) == "table" and type(item.tool_call_id) == "string" then outputs[item.tool_call_id] = item end
  end
  return outputs
end

-- Takes the outputs the script gave for the calls of its run; what it gave for others is left out.
local function take_given(self, given, calls)
  local ids = {}
  for _, call in ipairs(calls) do
    ids[call.id] = true
    self.answers[call.id] = given[call.id]
  end
  for id in pairs(given) do
    if not ids[id] then
      self.facts.unknown_call_ids = self.facts.unknown_call_ids or {}
      table.insert(self.facts.unknown_call_ids, id)
    end
  end
end

-- A call without an output is one of the tools that were given, or else it is answered with an error: the API takes a
-- whole set or nothing.
local function fill_gaps(self, calls)
  local missing = {}
  for _, call in ipairs(calls) do
    if not self.answers[call.id] then missing[#missing + 1] = call.id end
  end
  if next(self.tools.by_name) == nil then
    for _, id in ipairs(missing) do
      self.answers[id] = { tool_call_id = id, output = tools.error_output("the script gave no output for this call") }
    end
  end
  if missing[1] then self.facts.missing_call_ids = missing end
end

--- Looks at a run that a script submits outputs to, and makes the body's outputs a whole set. Returns the run and the
-- calls that are answered, nil where it asks for nothing; or nil and an error. Where tools put calls off there are no
-- outputs in the body then.
function run_loop.prepare_submission(self)
  local seen, err = self:take(self:perform(RETRIEVE))
  if not seen then return nil, err end
  local calls = tool_round.calls(seen)
  if self.status ~= "requires_action" or not calls or not calls[1] then return seen, nil end
  take_given(self, outputs_by_id(self.body.tool_outputs), calls)
  fill_gaps(self, calls)
  self.body.tool_outputs, err = run_loop.answers(self, calls)
  if err then return nil, err end
  return seen, calls
end

local function submit_first(self)
  local seen, calls = run_loop.prepare_submission(self)
  if not seen then return nil, calls end
  if not self.body.tool_outputs then return seen end
  if not calls then return self:perform(SUBMIT, self.body) end
  return perform_submit(self, calls, self.body)
end

local FIRST = { [SUBMIT] = submit_first }

local function perform_first(self)
  local first = FIRST[self.operation]
  if first then return first(self) end
  return self:perform(self.operation, self.body)
end

local function take_first(self)
  return self:take(perform_first(self))
end

local function start_and_drive(self)
  local taken, err = run_loop.begin(self, take_first)
  if taken and taken ~= self.run then taken, err = self:take(taken) end -- it was found, not made by what was answered
  if not taken then return self:give_up(err) end
  return run_loop.drive(self)
end

-- What was raised goes on as it is, once it was noted.
local function finish(self, ok, result, err)
  local raised = self.raised
  if not ok then
    raised = { result }
    self:abandon_raised()
  end
  self:conclude(raised and raised[1] or err)
  if raised then error(raised[1], 0) end
  if result then self.client:adopt_run(result, self) end
  return result, err
end

--- Begins with a run, see `run.new`, and polls it to its end. Returns the run where it completed or asks for what is
-- the script's to give; else nil and an error with `run` in it.
function run_loop.start(client, request)
  local self = run.new(client, request)
  return finish(self, client.scheduler:protected(start_and_drive, self))
end

-- ------------------------------------------------------------------------------------- outputs that come later

local function known_ids(calls)
  local ids, names = {}, {}
  for index, call in ipairs(calls) do ids[call.id], names[index] = true, "'" .. call.id .. "'" end
  return ids, names[1] and table.concat(names, ", ") or "none"
end

-- What was submitted by hand, against what the run asks for.
local function check_ids(self, given, calls)
  local ids, names = known_ids(calls)
  for id in pairs(given) do
    if self.submitted[id] then
      return nil, errors.new({ kind = "invalid", operation = SUBMIT, run = self.run,
        message = ("the output for call '%s' was sent before"):format(id) })
    end
  end
  for id in pairs(given) do
    if not ids[id] then
      self.facts.unknown_call_ids = { id }
      return nil, errors.new({
        kind = "invalid", operation = SUBMIT, run = self.run,
        message = ("the run asks for no output for call '%s'; it asks for %s"):format(tostring(id), names),
      })
    end
  end
  return true
end

-- Nothing that goes wrong here ends the run: it waits for the script, as before.
local function resume(self, given)
  local calls = tool_round.calls(self.run) or json.array({})
  local ok, err = check_ids(self, given, calls)
  if not ok then return nil, err end
  for id, output in pairs(given) do tool_round.answer_later(self, id, output) end
  local outputs = tool_round.outputs(self, calls)
  if not outputs then return self.run end
  local taken
  taken, err = submit(self, calls, { tool_outputs = outputs })
  if taken then return run_loop.drive(self) end
  err.run = err.run or self.run
  return nil, err
end

local function being_waited_for(waited)
  return nil, errors.new({ kind = "conflict", message = "run " .. waited.id .. " is being waited for elsewhere",
    operation = SUBMIT, run = waited })
end

--- Answers calls of a run that waits for the script: `outputs` are texts by the id of the call. Once all calls have one
-- they are sent, and the run is polled to its end as before, with a deadline of its own. Returns what `start` does.
function run_loop.submit(self, run_of_script, outputs, given)
  if not self.concluded then return being_waited_for(run_of_script) end
  self.run = run_of_script
  self:wait_again(given)
  return finish(self, self.scheduler:protected(resume, self, outputs))
end

return run_loop
