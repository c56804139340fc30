--- Tasks: coroutines that wait for calls, for each other and for time, driven by whoever steps the client.
--
-- A method that waits yields inside a task and steps the engine outside of one. This is the only place that yields and
-- the only one that resumes. What happens is always the same: events of the engine and timers make tasks runnable, and
-- runnable tasks are run in the order they became so.
--
-- A coroutine that a script made inside a task can't give way: a yield would end up at the script's own resume. So a
-- wait there steps the engine as outside of tasks. It blocks its task and whoever drives that; others run meanwhile, on
-- top of it, and where they block too it returns after them. That takes C stack: from DEEPEST on none is run on top, so
-- that a wait for a call or for time just blocks, and one for a task is refused.
local errors = require("nexus_assistants.error")

local scheduler = {}

local scheduler_methods = {}
local scheduler_mt = { __index = scheduler_methods, __name = "nexus_assistants.scheduler" }

local task_methods = {}
local task_mt = { __index = task_methods, __name = "nexus_assistants.task" }

local LONGEST_STEP = 60 -- seconds; a wait outside tasks looks around at least this often
local SHORTEST_BUDGET = 1e-5 -- seconds; none at all would mean no limit to the engine
local SHARE = 0.5 -- of a budget, after which nothing is begun: the last piece of work and the collector come on top
local GENTLE = 8 -- the collector's pace in an update; at the usual one, 100, it does most of a cycle in one go
local UNOBSERVED = 1 -- seconds after which the failure of a task that nobody waits for is worth a warning
local DEEPEST = 10 -- tasks that run on top of each other; there is C stack for about 40, fewer with pcalls in them
local MOST_REFUSALS = 100 -- waits of a cancelled task that end at once
local REFUSAL_PAUSE = 0.01 -- seconds that those after them take
local PARKED = {} -- what a task yields when it waits; anything else is a yield of the script's own

local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore 113
local running, resume, yield = coroutine.running, coroutine.resume, coroutine.yield
local close_thread = rawget(coroutine, "close") or function() end -- 5.4 has to-be-closed variables, and this for them
local setmetatable = setmetatable

local function pack(...)
  return { n = select("#", ...), ... }
end

--- Raises at the line of the public function's caller where an argument is no number, NaN, or negative. Infinity is
-- for ever.
function scheduler.check_number(where, name, value)
  if type(value) ~= "number" or value ~= value or value < 0 then
    local got = type(value) == "number" and tostring(value) or "a " .. type(value)
    error(("%s: %s must be a number, 0 or more, got %s"):format(where, name, got), 3)
  end
end

--- `clock` returns monotonic seconds, `warn` takes a text.
function scheduler.new(engine, clock, warn)
  return setmetatable({
    engine = engine,
    clock = clock,
    warn = warn,
    by_thread = {}, -- the tasks that have not ended
    task_count = 0,
    apart_count = 0, -- of these, those that closing doesn't wait for
    waiting = {}, -- the task that waits for a call
    services = setmetatable({}, { __mode = "k" }), -- what is told which news a call has
    watching = {}, -- the tasks that wait for news of a subject
    unobserved = {}, -- failed tasks nobody has asked about yet
    queue = {}, -- tasks to run, from `first` to `last`
    first = 1,
    last = 0,
    timers = {}, -- a binary heap, the earliest first
    sequence = 0,
    current = nil, -- the task that runs
    depth = 0, -- how many run, on top of each other; all but `current` block
    closed = false,
    interruptible = true, -- a signal that is to be raised is raised by waits; closing would be left half done
    barred = false, -- what runs now is not to wait, nor to run others
  }, scheduler_mt)
end

-- ------------------------------------------------------------------------------------------------------- timers

-- Of timers due at the same time the one set first comes first.
local function before(one, other)
  if one.due ~= other.due then return one.due < other.due end
  return one.sequence < other.sequence
end

local function place(heap, timer, index)
  heap[index] = timer
  timer.index = index
end

local function sift_up(heap, timer, index)
  while index > 1 do
    local parent = (index - index % 2) / 2
    if not before(timer, heap[parent]) then break end
    place(heap, heap[parent], index)
    index = parent
  end
  place(heap, timer, index)
end

local function earlier_child(heap, index, count)
  local child = index * 2
  if child < count and before(heap[child + 1], heap[child]) then return child + 1 end
  return child
end

local function sift_down(heap, timer, index, count)
  while index * 2 <= count do
    local child = earlier_child(heap, index, count)
    if not before(heap[child], timer) then break end
    place(heap, heap[child], index)
    index = child
  end
  place(heap, timer, index)
end

function scheduler_methods:arm(seconds, fire, subject)
  self.sequence = self.sequence + 1
  local timer = { due = self.clock() + seconds, sequence = self.sequence, fire = fire, subject = subject }
  sift_up(self.timers, timer, #self.timers + 1)
  return timer
end

function scheduler_methods:disarm(timer)
  local heap, index = self.timers, timer and timer.index
  if not index then return end
  timer.index = nil
  local count = #heap
  local last = heap[count]
  heap[count] = nil
  if last == timer then return end
  sift_up(heap, last, index)
  if last.index == index then sift_down(heap, last, index, count - 1) end
end

local function fire_due(self, now)
  local timer = self.timers[1]
  if not timer or timer.due > now then return false end
  self:disarm(timer)
  timer.fire(self, timer.subject)
  return true
end

-- -------------------------------------------------------------------------------------------------- running tasks

local function enqueue(self, task)
  self.last = self.last + 1
  self.queue[self.last] = task
end

local function wake(self, task)
  if task.state ~= "waiting" then return end
  task.state = "runnable"
  enqueue(self, task)
end

local function wake_waiters(self, task)
  local waiters = task.waiters
  if not waiters then return end
  task.waiters = nil
  for index = 1, #waiters do wake(self, waiters[index]) end
end

local function warn_unobserved(self, task)
  if not self.unobserved[task] then return end
  self.unobserved[task] = nil
  self.warn("a task failed and nobody waited for it: " .. errors.shown(task.results[2]))
end

local function finish(self, task, state, results)
  task.state, task.results = state, results
  self.by_thread[task.thread] = nil
  self.task_count = self.task_count - 1
  if task.apart then self.apart_count = self.apart_count - 1 end
  if state == "failed" and not task.waiters and not task.cancelled then
    self.unobserved[task] = true
    self:arm(UNOBSERVED, warn_unobserved, task)
  end
  wake_waiters(self, task)
end

-- What closing the variables of the failed raises changes nothing: the first error counts. It can't give way any more.
local function fail(self, task, problem)
  self.by_thread[task.thread] = nil
  close_thread(task.thread)
  finish(self, task, "failed", pack(nil, problem))
end

local function settle(self, task, ok, ...)
  if not ok then return fail(self, task, (...)) end
  if coroutine.status(task.thread) == "dead" then return finish(self, task, "completed", pack(...)) end
  if (...) == PARKED then
    task.state = "waiting"
    return
  end
  task.state = "runnable" -- the script's own yield: the others come first
  enqueue(self, task)
end

local function run(self, task)
  local previous, arguments = self.current, task.arguments
  self.current, self.depth = task, self.depth + 1
  task.state = "running"
  if arguments then
    task.arguments = nil
    settle(self, task, resume(task.thread, unpack(arguments, 1, arguments.n)))
  else
    settle(self, task, resume(task.thread))
  end
  self.current, self.depth = previous, self.depth - 1
end

local function can_run(self)
  return self.first <= self.last and self.depth < DEEPEST
end

local function run_next(self)
  local task = self.queue[self.first]
  if not task then return false end
  self.queue[self.first] = nil
  self.first = self.first + 1
  if self.first > self.last then self.first, self.last = 1, 0 end
  if task.state == "runnable" then run(self, task) end
  return true
end

-- A task that waits says so and gives way; it is resumed when there may be news, or when it was cancelled.
local function park()
  yield(PARKED)
end

-- A wait that is over before it began gives way all the same: a task that goes on waiting, whatever it is told, would
-- keep everyone else from their turn for ever, `close` and `update` too.
local function give_way()
  yield()
end

local PCALL_YIELDS = _VERSION ~= "Lua 5.1" or rawget(_G, "jit") ~= nil

--- pcall, but without protection where that would keep a task from giving way: in tasks of plain Lua 5.1.
function scheduler_methods:protected(fn, ...)
  if PCALL_YIELDS or not self:running_task() then return pcall(fn, ...) end
  return true, fn(...)
end

--- Lets others have their turn, where a task has much to do without ever waiting.
function scheduler_methods:breathe()
  if self:running_task() then give_way() end
end

--- Starts a task; it runs for the first time when the scheduler is next driven.
function scheduler_methods:spawn(fn, ...)
  local task = setmetatable({ scheduler = self, state = "runnable", arguments = pack(...) }, task_mt)
  task.thread = coroutine.create(fn)
  self.by_thread[task.thread] = task
  self.task_count = self.task_count + 1
  enqueue(self, task)
  return task
end

--- The same for a task that the closing of the scheduler neither cancels nor waits for: who starts it sees to its end.
function scheduler_methods:spawn_apart(fn, ...)
  local task = self:spawn(fn, ...)
  task.apart = true
  self.apart_count = self.apart_count + 1
end

--- The task this code runs in, or nil.
function scheduler_methods:running_task()
  local thread = running()
  return thread and self.by_thread[thread]
end

-- ------------------------------------------------------------------------------------------------------- driving

local function handle_event(self, kind, subject)
  if kind == "warning" then return self.warn(subject) end
  if kind == "spooled" then return self.on_spooled and self.on_spooled() end
  local service = self.services[subject]
  if service then service[kind], service.news = true, true end
  local task = self.waiting[subject]
  if task then wake(self, task) end
end

local function handle_events(self, deadline)
  local engine = self.engine
  local kind, subject = engine:next()
  while kind do
    handle_event(self, kind, subject)
    if deadline and self.clock() >= deadline then return end
    kind, subject = engine:next()
  end
end

local function handle_timers(self, deadline)
  local now = self.clock()
  while fire_due(self, now) do
    if deadline and self.clock() >= deadline then return end
  end
end

-- Without a deadline only those tasks are run that are runnable now, so that tasks that wake each other end the turn.
local function run_tasks(self, deadline)
  local count = self.last - self.first + 1
  while count > 0 and run_next(self) do
    count = count - 1
    if deadline and self.clock() >= deadline then return end
  end
end

local function advance_attended(self, deadline)
  self.attended:advance(deadline and function() return self.clock() >= deadline end)
end

local function see_to_chore(self)
  local chore = self.chore
  if self.clock() < chore.due then return end
  chore.due = self.clock() + chore.seconds
  chore.fn()
end

local function dispatch(self, deadline)
  if self.barred then return end
  handle_events(self, deadline)
  if self.timers[1] then handle_timers(self, deadline) end
  if self.chore then see_to_chore(self) end
  if self.attended then advance_attended(self, deadline) end
  if can_run(self) then run_tasks(self, deadline) end
end

--- Calls a function every so many seconds where the scheduler is driven anyway: it is no reason to wait, or to wake up.
function scheduler_methods:now_and_then(seconds, fn)
  self.chore = { seconds = seconds, due = self.clock() + seconds, fn = fn }
end

--- Drives something else besides its tasks: it has `advance(is_late)`, which does what is due until `is_late()`, where
-- that is given, says so, and `idle_time()`, the seconds until something is due, or nil.
function scheduler_methods:attend(attended)
  self.attended = attended
end

--- Seconds until the scheduler itself has something to do: 0 for now, nil for not before something else happens.
function scheduler_methods:idle_time()
  if can_run(self) then return 0 end
  local timer = self.timers[1]
  local own = timer and math.max(timer.due - self.clock(), 0)
  local other = self.attended and self.attended:idle_time()
  if own and other then return math.min(own, other) end
  return own or other
end

--- Waits up to `longest` seconds for something to happen and handles what there is then.
function scheduler_methods:turn(longest)
  local idle = self:idle_time()
  if idle and idle < longest then longest = idle end
  if self.watcher and longest > 0 then longest = math.min(longest, self.watcher:waits()) end
  self.engine:step(longest, 0, self.interruptible)
  dispatch(self)
end

-- Sets the pace of an incremental collector and returns what it was. What the numbers mean differs between the Luas;
-- 5.4's collector is the one that takes several milliseconds at once.
local function set_pace(pace)
  if _VERSION == "Lua 5.4" then return collectgarbage("setstepmul", pace) end
end

--- Does what there is to do without waiting, within `budget` seconds as a rule.
function scheduler_methods:update(budget)
  budget = math.max(budget * SHARE, SHORTEST_BUDGET)
  local deadline = self.clock() + budget
  self.engine:step(0, budget, self.interruptible)
  local pace = set_pace(GENTLE)
  dispatch(self, deadline)
  set_pace(pace)
end

-- ------------------------------------------------------------------------------------------------------- waiting

-- What ends every wait at once: the closing of the scheduler, that the task it is in was cancelled, or that the code is
-- not to wait.
local function is_interrupted(self, task)
  return self.closed or self.barred or (task and task.cancelled)
end

local function interruption(self, task)
  if task and task.cancelled then return errors.new({ kind = "cancelled", message = "the task was cancelled" }) end
  if self.closed then return errors.new({ kind = "closed", message = "the client is closed" }) end
  if self.barred then return errors.new({ kind = "invalid", message = "a hook of tracing can't wait" }) end
end

--- Whether code that runs now can wait: not within a task that was cancelled, nor when the client is closed, nor within
-- what a task leaves behind as it fails, where the others would wait too.
function scheduler_methods:can_wait()
  local task = self:running_task()
  return not is_interrupted(self, task or self.current) and (self.current == nil or self.current == task)
end

local function is_apart(subject)
  return type(subject) == "table" and subject.apart == true
end

-- What the engine does besides, for traces, and the tasks that are apart are nothing that anybody waits for.
local function nothing_to_come(self)
  if can_run(self) or self.attended and self.attended:idle_time() then return false end
  for _, timer in ipairs(self.timers) do
    if not is_apart(timer.subject) then return false end
  end
  for _, task in pairs(self.waiting) do
    if not is_apart(task) then return false end
  end
  return true
end

-- Outside tasks: turns once, if not `due` is over or, without a due time, nothing can come. Returns whether it did.
local function turn_before(self, due)
  local left = due and due - self.clock() or LONGEST_STEP
  if left <= 0 or (not due and nothing_to_come(self)) then return false end
  self:turn(left < LONGEST_STEP and left or LONGEST_STEP)
  return true
end

-- Outside tasks: turns until `is_over(subject)`, or an interruption, or as `turn_before` says.
local function turn_until(self, is_over, subject, due)
  while not is_over(subject) and not is_interrupted(self, self.current) do
    if not turn_before(self, due) then return end
  end
end

--- Starts a call of the core's, as `engine:call` does. A refusal counts as a wait that is over at once.
function scheduler_methods:call(request)
  local call, refused = self.engine:call(request)
  if not call and self:running_task() then give_way() end
  return call, refused
end

-- Waits for the next event of a call.
local function news_in_task(self, task, call, seconds)
  if task.cancelled then
    call:cancel()
    give_way()
  end
  if call:done() then return end
  local timer = seconds and self:arm(seconds, wake, task)
  self.waiting[call] = task
  task.call = call
  park()
  task.call = nil
  self.waiting[call] = nil
  self:disarm(timer)
end

local function news_outside(self, call, seconds)
  if is_interrupted(self, self.current) then return call:cancel() end
  self:turn(seconds and seconds < LONGEST_STEP and seconds or LONGEST_STEP)
end

--- Waits for something new about a call, or for its end, for at most `seconds` where they are given.
function scheduler_methods:wait_for_news(call, seconds)
  local task = self:running_task()
  if task then news_in_task(self, task, call, seconds) else news_outside(self, call, seconds) end
end

-- What is at work for a call may be the script's own function, and fail.
local function serve(call, service)
  local ok, done, problem = pcall(service.serve, service, call)
  if ok and done then return nil end
  call:cancel()
  if not ok then problem = done end
  return problem == nil and "the call was broken off" or problem
end

local function await_with_service(self, call, service)
  self.services[call] = service
  local problem
  repeat
    if not service.news then self:wait_for_news(call) end -- there may be some since the service gave way
    service.news = false
    problem = serve(call, service)
  until problem ~= nil or call:done()
  self.services[call] = nil
  return problem
end

--- Waits for a call of the core's; returns what `call:result()` does. `service`, if given, has `serve(call)`, which is
-- called whenever the call has news and breaks it off by returning nil and a problem; that is then a third result.
function scheduler_methods:await(call, service)
  local problem
  if service then problem = await_with_service(self, call, service) end
  while not call:done() do self:wait_for_news(call) end
  local response, err = call:result()
  return response, err, problem
end

local function never()
  return false
end

-- A cancelled task that waits again and again, whatever it is told, is slowed down, so that it doesn't keep a processor
-- busy for nothing.
local function give_way_interrupted(self, task)
  task.refusals = (task.refusals or 0) + 1
  if task.refusals <= MOST_REFUSALS or self.closed then return give_way() end
  local timer = self:arm(REFUSAL_PAUSE, wake, task)
  park()
  self:disarm(timer)
end

-- In a task: parks until `is_over(subject)`, the timer fires or the wait is interrupted.
local function park_until(self, task, is_over, subject, seconds)
  if is_interrupted(self, task) then return give_way_interrupted(self, task) end
  local timer = seconds and self:arm(seconds, wake, task)
  while not is_over(subject) and not is_interrupted(self, task) do
    if timer and not timer.index then break end
    park()
  end
  self:disarm(timer)
end

--- Waits; returns true, or nil and an error where the task was cancelled, or the scheduler closed.
function scheduler_methods:sleep(seconds)
  local task = self:running_task()
  if task then
    park_until(self, task, never, nil, seconds)
  else
    turn_until(self, never, nil, self.clock() + seconds)
  end
  local err = interruption(self, task or self.current)
  if err then return nil, err end
  return true
end

-- A task may be there twice: it is woken once all the same.
local function watch(self, subject, task)
  local tasks = self.watching[subject] or {}
  self.watching[subject] = tasks
  tasks[#tasks + 1] = task
end

local function unwatch(self, subject, task)
  local tasks = self.watching[subject]
  for index = #(tasks or {}), 1, -1 do
    if tasks[index] == task then table.remove(tasks, index) end
  end
  if tasks and not tasks[1] then self.watching[subject] = nil end
end

--- Waits until `is_over(subject)`, which is asked again after each `notify(subject)`, for at most `seconds`. Returns
-- whether it is over; or nil and an error where the task was cancelled, or the scheduler closed.
function scheduler_methods:wait_until(is_over, subject, seconds)
  local task = self:running_task()
  if task then
    watch(self, subject, task)
    park_until(self, task, is_over, subject, seconds)
    unwatch(self, subject, task)
  else
    turn_until(self, is_over, subject, self.clock() + seconds)
  end
  local err = interruption(self, task or self.current)
  if err then return nil, err end
  return is_over(subject)
end

--- Tells those that wait for a subject that there may be news.
function scheduler_methods:notify(subject)
  for _, task in ipairs(self.watching[subject] or {}) do wake(self, task) end
end

-- --------------------------------------------------------------------------------------------------------- tasks

local function is_done(task)
  return task.results ~= nil
end

--- True once the task has ended, however it did.
task_methods.done = is_done

--- "running", "completed", "failed" or "cancelled".
function task_methods:status()
  if not self.results then return "running" end
  return self.cancelled and "cancelled" or self.state
end

local function add_waiter(task, waiter)
  local waiters = task.waiters or {}
  task.waiters = waiters
  waiters[#waiters + 1] = waiter
end

local function remove_waiter(task, waiter)
  local waiters = task.waiters
  if not waiters then return end
  for index = #waiters, 1, -1 do
    if waiters[index] == waiter then table.remove(waiters, index) end
  end
  if not waiters[1] then task.waiters = nil end
end

local function wait_in_task(self, task, timeout, waiter)
  add_waiter(task, waiter)
  park_until(self, waiter, is_done, task, timeout)
  remove_waiter(task, waiter)
end

local function invalid(problem)
  return errors.new({ kind = "invalid", message = problem })
end

-- Outside tasks: an error where the other task can't be run before the wait returns.
local function refusal(self, task)
  if task.state == "running" then return invalid("the task waits for what can't happen") end
  if self.depth < DEEPEST then return nil end
  return invalid("too many tasks block on top of each other: wait in a task itself, not in a coroutine it runs")
end

local function wait_outside(self, task, timeout)
  local err = refusal(self, task)
  if not err then turn_until(self, is_done, task, timeout and self.clock() + timeout) end
  return err
end

local function results_of(self, task)
  self.unobserved[task] = nil
  return unpack(task.results, 1, task.results.n)
end

local function not_done_error(timeout)
  if not timeout then return invalid("the task waits for what can't happen") end
  return errors.new({ kind = "timeout", message = "the task was not done after " .. tostring(timeout) .. " s" })
end

--- Waits until the task has ended and returns what its function did; nil and the error where that raised. `timeout`
-- ends the wait (nil, an error of kind "timeout"), not the task.
function task_methods:wait(timeout)
  if timeout ~= nil then scheduler.check_number("task:wait", "timeout", timeout) end
  if timeout == math.huge then timeout = nil end
  local owner = self.scheduler
  local waiter = owner:running_task()
  local around = waiter or owner.current
  if around == self then error("task:wait: a task can't wait for itself", 2) end
  local refused
  if waiter then
    wait_in_task(owner, self, timeout, waiter)
  elseif not self.results then
    refused = wait_outside(owner, self, timeout)
  end
  if self.results then return results_of(owner, self) end
  return nil, interruption(owner, around) or refused or not_done_error(timeout)
end

local function never_started(task)
  return task.arguments ~= nil
end

--- Ends whatever the task waits for at once, and all it waits for later: it gets nil and an error of kind "cancelled".
-- Returns whether there was something to cancel.
function task_methods:cancel()
  if self.results then return false end
  self.cancelled = true
  local owner = self.scheduler
  if never_started(self) then
    self.arguments = nil
    finish(owner, self, "failed", pack(nil, interruption(owner, self)))
    return true
  end
  if self.call then self.call:cancel() end
  wake(owner, self)
  return true
end

-- ------------------------------------------------------------------------------------------------------- closing

local function all_tasks(self)
  local tasks = {}
  for _, task in pairs(self.by_thread) do tasks[#tasks + 1] = task end
  return tasks
end

local function no_task_left(self)
  -- the task that closes the client and those below it can't be waited for
  return self.task_count - self.apart_count <= self.depth
end

-- Drives all tasks to their end, if that is before `due`.
local function drive(self, due)
  repeat until no_task_left(self) or not turn_before(self, due)
end

--- Cancels all tasks but those that are apart or marked as `background`, and drives all but the former to their end for
-- at most `timeout` seconds; then, after `last()`, where it is given, those that it made. Waits that begin or go on
-- after that end at once with an error of kind "closed".
function scheduler_methods:close(timeout, last)
  self.interruptible = false
  for _, task in ipairs(all_tasks(self)) do
    if not task.background and not task.apart and task ~= self.current then task:cancel() end
  end
  local due = self.clock() + timeout
  drive(self, due)
  if last then
    last()
    drive(self, due)
  end
  self.closed, self.attended, self.chore = true, nil, nil
  local task = next(self.unobserved)
  while task do
    warn_unobserved(self, task) -- the handler may make more tasks fail
    task = next(self.unobserved)
  end
end

return scheduler
