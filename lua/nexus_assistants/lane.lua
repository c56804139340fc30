--- Lanes: what excludes each other on one thread waits for its turn. The API takes no message and no second run while a
-- run of the thread is active, and answers 400; so those that a client starts queue up here, and for a run that
-- somebody else started they wait at the server.
--
-- A lane is held by a ticket, from before a run is created until it is over. A run that a script created by itself
-- holds no ticket; it is known to be active until it was seen otherwise.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local waiting = require("nexus_assistants.waiting")

local lane = {}

local lanes_methods = {}
local lanes_mt = { __index = lanes_methods, __name = "nexus_assistants.lanes" }

local MAIN = {} -- stands for code outside of tasks
local MOST_REMEMBERED = 4096 -- threads with an active run that nobody looks at any more
local SETTLING = 30 -- seconds a run may take to end once it was asked to cancel
local CLOCKS = 5 -- seconds that the server's clock and this one may differ
local LINGERING = 15 -- seconds that a run of somebody else may ask for outputs before waiting for it makes no sense
local MOST_ATTEMPTS = 20 -- at an operation that finds another run active each time

local UNDER_WAY = waiting.UNDER_WAY

--- Makes the lanes of a client. `policy` is what to do where a lane is taken: "wait", "cancel" what is there, or
-- "reject".
function lane.new(client, policy)
  return setmetatable({
    client = client,
    scheduler = client.scheduler,
    policy = policy,
    lanes = {}, -- by the id of the thread, as long as something is there
    remembered = 0, -- active runs that were noted since the last time they were forgotten
  }, lanes_mt)
end

-- ------------------------------------------------------------------------------------------------------ what is seen

local function lane_of(self, thread_id)
  local found = self.lanes[thread_id]
  if not found then
    found = { thread_id = thread_id, holder = nil, active = nil, queue = {} }
    self.lanes[thread_id] = found
  end
  return found
end

local function forget_if_empty(self, found)
  if not found.holder and not found.active and not found.queue[1] then self.lanes[found.thread_id] = nil end
end

-- Runs that nobody follows end by themselves; what is remembered of them must not grow without end.
local function limit(self)
  self.remembered = self.remembered + 1
  if self.remembered <= MOST_REMEMBERED then return end
  self.remembered = 0
  for _, found in pairs(self.lanes) do
    if not found.holder then found.active = nil end
    forget_if_empty(self, found)
  end
end

--- Takes note of a run as it is now, wherever it was seen.
function lanes_methods:saw(run)
  local thread_id = run.thread_id
  if type(thread_id) ~= "string" or type(run.id) ~= "string" then return end
  if UNDER_WAY[run.status] then
    local known = self.lanes[thread_id] ~= nil
    lane_of(self, thread_id).active = run.id
    if not known then limit(self) end
    return
  end
  local found = self.lanes[thread_id]
  if not found or found.active ~= run.id then return end
  found.active = nil
  forget_if_empty(self, found)
end

-- ------------------------------------------------------------------------------------------------------- its turn

local function owner_of(self)
  return self.scheduler:running_task() or MAIN
end

local function busy(found, message)
  return errors.new({
    kind = "conflict", code = "thread_busy",
    message = ("thread %s is taken by run %s: %s"):format(found.thread_id, tostring(found.active or "(being created)"),
      message),
  })
end

-- True where whoever asks is who keeps the lane from becoming free: it would wait for itself.
local function waits_for_itself(self, found)
  local owner = owner_of(self)
  if found.holder.owner == owner then return true end
  return owner ~= MAIN and owner.lane_ticket == found.holder
end

local function is_mine(ticket)
  return ticket.holds
end

local function hand_on(self, found)
  found.holder = table.remove(found.queue, 1)
  if found.holder then
    found.holder.holds = true
    self.scheduler:notify(found.holder)
  end
  forget_if_empty(self, found)
end

local function remove_from_queue(found, ticket)
  for index, queued in ipairs(found.queue) do
    if queued == ticket then table.remove(found.queue, index) return end
  end
end

-- Tells the run that waits what stood in its way.
local function note(ticket, run_id, seconds, foreign)
  local facts = ticket.under_way and ticket.under_way.facts
  if not facts then return end
  facts.active_run_id, facts.waited = run_id, (facts.waited or 0) + seconds
  if foreign then facts.zombie = { id = run_id } end
end

local function give_up(self, found, ticket, err, seconds)
  if ticket.holds then hand_on(self, found) else remove_from_queue(found, ticket) end
  forget_if_empty(self, found)
  if err then return nil, err end
  note(ticket, found.active, seconds, false)
  local late = busy(found, ("it was not over after %.10g s"):format(seconds))
  late.kind = "timeout"
  return nil, late
end

-- A run that is still being created is cancelled once it is known.
local function cancel_holder(found)
  local under_way = found.holder.under_way
  if not under_way then return end
  if not under_way.run then
    under_way.cancel_wanted = true
  elseif under_way.close_stream then -- there may be nobody who reads it
    under_way.scheduler:spawn(under_way.close_stream).background = true
  else
    under_way:abandon_later()
  end
end

local function wait_for_turn(self, found, ticket, seconds)
  found.queue[#found.queue + 1] = ticket
  local mine, err = self.scheduler:wait_until(is_mine, ticket, seconds)
  if not mine then return give_up(self, found, ticket, err, seconds) end
  return ticket
end

-- A stream whose task is over, and that nobody else has, is gone once it is collected.
local function collect_forgotten(self, found)
  local holder = found.holder
  local is_stream = holder and holder.under_way and holder.under_way.close_stream
  if not is_stream then return end
  local owner = holder.owner
  if owner == owner_of(self) or owner ~= MAIN and owner:done() then collectgarbage() end
end

local function enter_taken(self, found, ticket, seconds)
  if waits_for_itself(self, found) then
    return nil, busy(found, "what asks is part of it, and would wait for itself")
  end
  if ticket.policy == "reject" then return nil, busy(found, "the lane's policy is to reject") end
  if ticket.policy == "cancel" then cancel_holder(found) end
  return wait_for_turn(self, found, ticket, seconds)
end

--- Enters the lane of a thread, as its policy says where it is taken. `under_way` is the run that will be there, or
-- nil. Returns a ticket, which must be given back; or nil and an error.
function lanes_methods:enter(thread_id, policy, seconds, under_way)
  collect_forgotten(self, lane_of(self, thread_id))
  local found = lane_of(self, thread_id) -- it may have been forgotten with its holder
  local ticket = {
    lane = found, owner = owner_of(self), policy = policy or self.policy, under_way = under_way, holds = false,
  }
  if found.holder then return enter_taken(self, found, ticket, seconds) end
  found.holder, ticket.holds = ticket, true
  return ticket
end

--- Takes the lane of a thread for a run that is there already; nil where somebody has it, who may wait for that very
-- run.
function lanes_methods:join(thread_id, under_way)
  local found = thread_id and lane_of(self, thread_id)
  if not found or found.holder then return nil end
  local ticket = { lane = found, owner = owner_of(self), policy = self.policy, under_way = under_way, holds = true }
  found.holder = ticket
  return ticket
end

--- Makes the code that runs now the one that a ticket belongs to.
function lanes_methods:own(ticket)
  ticket.owner = owner_of(self)
end

--- Gives a ticket back.
function lanes_methods:leave(ticket)
  if not ticket.holds then return end
  ticket.holds = false
  hand_on(self, ticket.lane)
end

-- --------------------------------------------------------------------------------------- a run of somebody else

local function path_of(found, run_id)
  return { thread_id = found.thread_id, run_id = run_id }
end

local function ask(self, name, found, run_id, left)
  return self.client.provider:perform(operations[name], {
    path = path_of(found, run_id), options = { deadline = math.max(left, 0.001) },
  })
end

-- A run that asks for outputs may get them from another program, but not after any length of time.
local function lingers(self, run, wait)
  return run.status == "requires_action" and self.scheduler.clock() - wait.changed_at > LINGERING
end

local function too_late(found, reason)
  local late = busy(found, "it was not over in time: " .. reason)
  late.kind = "timeout"
  return late
end

-- Polls a run until it is over. Returns true, or nil and an error.
local function outwait(self, found, run_id, wait)
  while true do
    local run, err = ask(self, "threads.runs.retrieve", found, run_id, wait:remaining())
    if not run then return nil, err end
    wait:see(run, err)
    if not UNDER_WAY[run.status] then return true end
    if lingers(self, run, wait) then return nil, busy(found, "it waits for outputs of tools, and gets none") end
    local ok, reason
    ok, err, reason = wait:pause()
    if not ok then return nil, err or too_late(found, reason) end
  end
end

local function wait_for(self, seconds)
  return waiting.new({ scheduler = self.scheduler, wall = self.client.wall }, { deadline = math.max(seconds, 0.001) })
end

-- A run that was active when it was last seen may be over by now.
local function check(self, found, run_id, seconds)
  local run, err = ask(self, "threads.runs.retrieve", found, run_id, seconds)
  if not run and err.status ~= 404 then return nil, err end
  if run and UNDER_WAY[run.status] then return nil, busy(found, "the lane's policy is to reject") end
  if found.active == run_id then found.active = nil end
  return true
end

-- Makes sure that a run is over. Returns true, or nil and an error.
local function settle(self, found, run_id, policy, seconds)
  if policy == "reject" then return check(self, found, run_id, seconds) end
  if policy == "cancel" then ask(self, "threads.runs.cancel", found, run_id, seconds) end
  local ok, err = outwait(self, found, run_id, wait_for(self, seconds))
  if not ok and err.status ~= 404 then return nil, err end
  if found.active == run_id then found.active = nil end
  return true
end

local function active_run_id(err)
  if type(err) ~= "table" or err.status ~= 400 then return nil end
  local message = tostring(err.message)
  if not message:find("active run", 1, true) and not message:find("while a run", 1, true) then return nil end
  return message:match("run_[%w_-]+")
end

local function stand_back(self, ticket, run_id, wait, foreign)
  local started = self.scheduler.clock()
  ticket.lane.active = ticket.lane.active or run_id
  local ok, err = settle(self, ticket.lane, run_id, ticket.policy, wait:remaining())
  note(ticket, run_id, self.scheduler.clock() - started, foreign)
  return ok, err
end

-- A request that was repeated, since its first answer was lost, is refused for the run it made itself. Returns that
-- run.
local function own_run(self, ticket, run_id, began, err)
  if not ticket.under_way or not err.attempts or err.attempts < 2 then return nil end
  local run = ask(self, "threads.runs.retrieve", ticket.lane, run_id, SETTLING)
  local created = run and json.present(run.created_at)
  local is_ours = type(created) == "number" and created >= began - CLOCKS
    and run.assistant_id == ticket.under_way.body.assistant_id
  return is_ours and run or nil
end

--- Performs what a ticket is for, once no run of the thread is active any more. `perform()` is repeated where the
-- server says that one is. Returns what it does, or nil and an error. `wait` has the deadline.
function lanes_methods:attempt(ticket, wait, perform)
  local found = ticket.lane
  if found.active then
    local ok, err = stand_back(self, ticket, found.active, wait, false)
    if not ok then return nil, err end
  end
  local result, info, before
  for _ = 1, MOST_ATTEMPTS do
    local began = self.client.wall()
    result, info = perform()
    local run_id = not result and active_run_id(info)
    if not run_id then break end
    local made = own_run(self, ticket, run_id, began, info)
    if made then return made, {} end
    if ticket.policy == "reject" then
      note(ticket, run_id, 0, true)
      break
    end
    local ok, err = true, nil
    if run_id == before then ok, err = wait:pause() end -- it is over, and the server has yet to notice
    if ok then ok, err = stand_back(self, ticket, run_id, wait, true) end
    if not ok then return nil, err or info end
    before = run_id
  end
  return result, info
end

--- Has an operation, by its name, wait for its turn on a thread, perform, and give the turn back.
function lanes_methods:perform(thread_id, given, perform, name)
  local seconds = given and given.deadline or self.client.poll.deadline
  local wait = wait_for(self, seconds)
  local ticket, err = self:enter(thread_id, given and given.lane, seconds)
  local result, info = nil, err
  if ticket then
    result, info = self:attempt(ticket, wait, perform)
    self:leave(ticket)
  end
  if not result and not info.operation then info.operation = name end
  return result, info
end

-- ------------------------------------------------------------------------------------------------------ recovering

local function is_active(run)
  return type(run.id) == "string" and UNDER_WAY[run.status]
end

-- Returns the runs of a page that were active, as they are once they are over; or nil and an error.
local function settle_all(self, found, page, seconds)
  local settled = json.array({})
  for _, run in ipairs(type(page.data) == "table" and page.data or {}) do
    if is_active(run) then
      local ok, err = settle(self, found, run.id, "cancel", seconds)
      if not ok then return nil, err end
      settled[#settled + 1] = ask(self, "threads.runs.retrieve", found, run.id, seconds) or run
    end
  end
  return settled
end

--- Finds runs of a thread that are still active, of this program or one before it, cancels them and waits for their
-- end. Returns them as they are then, which may be none; or nil and an error.
function lanes_methods:recover(thread_id, given)
  local found = lane_of(self, thread_id)
  local seconds = given and given.deadline or SETTLING
  local page, err = self.client:perform(operations["threads.runs.list"], { path = { thread_id = thread_id },
    query = { limit = 100 }, options = given })
  local settled
  if page then settled, err = settle_all(self, found, page, seconds) end
  forget_if_empty(self, found)
  if settled then return settled end
  return nil, err
end

--- Forgets a thread that is gone.
function lanes_methods:forget(thread_id)
  local found = self.lanes[thread_id]
  if not found then return end
  found.active = nil
  forget_if_empty(self, found)
end

--- Has runs cancelled that nobody can wait for any more, since the client is being closed: those of code outside of
-- tasks, and of the task that closes it. Other tasks see to theirs as they are cancelled.
function lanes_methods:abandon_all()
  local current = self.scheduler.current
  for _, found in pairs(self.lanes) do
    local holder = found.holder
    local under_way = holder and holder.under_way
    local is_stuck = under_way and (holder.owner == MAIN or holder.owner == current or holder.owner:done())
    if is_stuck and under_way:is_under_way() then under_way:abandon_later() end
  end
end

return lane
