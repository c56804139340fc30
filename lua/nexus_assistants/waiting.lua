--- Waiting at a server: for a run, a file, a batch. One deadline, the time between two looks, what is told meanwhile.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")

local present = json.present

local waiting = {}

local waiting_methods = {}
local waiting_mt = { __index = waiting_methods, __name = "nexus_assistants.waiting" }

local FIRST_INTERVAL, GROWTH, LONGEST_INTERVAL = 0.25, 1.5, 5 -- seconds
local SHORTEST_HINT = 0.05 -- seconds; a server that says 0 doesn't mean as fast as one can
local MOST_STATUSES = 1000 -- that are remembered; a server that goes to and fro makes no list without end

--- The statuses of a run that goes on. One that isn't among them ends every wait, whatever it is called.
waiting.UNDER_WAY = { queued = true, in_progress = true, cancelling = true, requires_action = true }

--- What a request of a polling helper says of itself, as the official clients do.
waiting.POLL_HEADER = "X-Stainless-Poll-Helper"

--- Begins a wait. `parts` has scheduler and wall (a clock), and runtime, where the provider is in this process: then
-- a look is taken as soon as there is something to see. `given` has deadline, and may have interval, stall (seconds
-- without a change of status that end the wait) and on_status.
function waiting.new(parts, given)
  local now = parts.scheduler.clock()
  return setmetatable({
    scheduler = parts.scheduler,
    wall = parts.wall,
    runtime = parts.runtime,
    seconds = given.deadline,
    due = now + given.deadline,
    fixed_interval = given.interval,
    stall = given.stall,
    on_status = given.on_status,
    interval = FIRST_INTERVAL,
    polls = 0,
    changed_at = now,
    statuses = {}, -- { status, at } in the order they were seen, `at` by the wall clock
  }, waiting_mt)
end

--- Seconds until the deadline.
function waiting_methods:remaining()
  return self.due - self.scheduler.clock()
end

--- Notes the status of what is waited for, and tells the script where it is another one. Returns true; or false and
-- what the script's function raised.
function waiting_methods:see(object, info)
  self.poll_after = info and info.poll_after
  self.has_changed = self.runtime and self.runtime:watch(object)
  self.subject = object.id
  if object.status == self.status then return true end
  self.status = object.status
  self.changed_at = self.scheduler.clock()
  if #self.statuses < MOST_STATUSES then
    self.statuses[#self.statuses + 1] = { status = object.status, at = self.wall() }
  end
  if self.on_status then return pcall(self.on_status, object) end
  return true
end

--- Begins with short intervals again, since something was done that may be over soon.
function waiting_methods:hurry()
  self.interval = FIRST_INTERVAL
end

--- Something moved although the status is the same.
function waiting_methods:moved()
  if self.stall then self.changed_at = self.scheduler.clock() end
end

local function next_interval(self)
  if self.fixed_interval then return self.fixed_interval end
  if self.poll_after then return math.max(self.poll_after, SHORTEST_HINT) end
  local interval = self.interval
  self.interval = math.min(interval * GROWTH, LONGEST_INTERVAL)
  return interval
end

--- What ends the wait by now: "deadline", "stalled" or nil.
function waiting_methods:over()
  local now = self.scheduler.clock()
  if now >= self.due then return "deadline" end
  if self.stall and now - self.changed_at >= self.stall then return "stalled" end
end

--- Seconds until `over` says something, if nothing happens.
function waiting_methods:patience()
  local left = self:remaining()
  if self.stall then left = math.min(left, self.changed_at + self.stall - self.scheduler.clock()) end
  return math.max(left, 0)
end

-- Waits, but no longer than until something has changed, where that can be known.
local function wait_for_change(self, seconds)
  if not self.has_changed then return self.scheduler:sleep(seconds) end
  local _, err = self.scheduler:wait_until(self.has_changed, self.subject, seconds)
  return err == nil, err
end

--- Waits until it is time to look again. Returns true; nil and an error where the task was cancelled; nil, nil and what
-- `over` says where that ends it.
function waiting_methods:pause()
  local ok, err = wait_for_change(self, math.min(next_interval(self), self:patience()))
  if not ok then return nil, err end
  local reason = self:over()
  if reason then return nil, nil, reason end
  self.polls = self.polls + 1
  return true
end

-- ------------------------------------------------------------------------------------------- files and batches

local function detail_of(object)
  local last_error = present(object.last_error)
  if type(last_error) ~= "table" then return "" end
  return ": " .. tostring(present(last_error.code) or "error") .. " " .. tostring(present(last_error.message) or "")
end

local function ended_badly(what, object)
  local message = ("%s %s ended with status: %s"):format(what, tostring(object.id), tostring(object.status))
  return errors.new({ kind = "file", message = message .. detail_of(object), object = object })
end

local function out_of_time(self, what, object, reason)
  local after = reason == "stalled" and self.stall or self.seconds
  local message = ("%s %s was still %s after %.10g s"):format(what, tostring(object.id), tostring(object.status), after)
  local code = reason == "stalled" and "stalled" or nil
  return errors.new({ kind = "timeout", code = code, message = message, object = object })
end

--- Looks after an object, as `retrieve()` returns it (or nil and an error), until its status is another than
-- "in_progress". `what` is how it is called in messages. Returns it where it is completed; else nil and an error with
-- `object`.
function waiting_methods:follow(what, object, info, retrieve)
  while true do
    local told, problem = self:see(object, info)
    if not told then error(problem, 0) end
    if object.status ~= "in_progress" then break end
    local ok, err, reason = self:pause()
    if not ok then return nil, err or out_of_time(self, what, object, reason) end
    object, info = retrieve()
    if not object then return nil, info end
  end
  if object.status == "completed" then return object end
  return nil, ended_badly(what, object)
end

return waiting
