--- Delivers what is in the spool: what this client's core left there, and what processes left that have ended. It has
-- tasks while there is something to do, and none otherwise.
--
-- What fails is tried again later: all rest while Nexus is away; a trace it has no room for is tried again rarely, and
-- when another one was taken.
local core = require("nexus_assistants.core")
local folders = require("nexus_assistants.spool.folders")
local to_nexus = require("nexus_assistants.spool.to_nexus")

local spool = {}

local spool_methods = {}
local spool_mt = { __index = spool_methods, __name = "nexus_assistants.spool" }

--- The folder's name among the user's files.
spool.NAME = "spool"

local FIRST_REST, LONGEST_REST = 0.5, 30 -- seconds, after failures
local LIMIT_REST = 600 -- seconds after which a trace that was too many is tried again
local MOST_WAIT = 60 -- seconds a server may ask for
local MOST_FAILURES = 3 -- in a row, where somebody waits for the end
local LONGEST_TURN = 1 -- seconds
local BETWEEN = 32 -- lines of a file, or files, that are looked at in one go

--- What is counted, before there is anything.
function spool.no_counts()
  return { traces = 0, spans = 0, refused = 0, undecided = 0, dropped = 0, unreadable = 0, unconfirmed = 0 }
end

--- `parts`: scheduler, engine, endpoint (of the receiver), folder, limits {files, bytes, age}; kind, which is
-- spool/to_nexus, or spool/to_otlp with `path`, behind the endpoint's; tracer, where there is one; timeout, of a
-- request, and grace, after which what was sent is there or never will be, both in seconds.
function spool.new(parts)
  local kind = parts.kind or to_nexus
  local timeout = parts.timeout or kind.timeout
  return setmetatable({
    scheduler = parts.scheduler, engine = parts.engine, endpoint = parts.endpoint, tracer = parts.tracer,
    folder = parts.folder, timeout = timeout, limits = parts.limits, kind = kind, path = parts.path,
    grace = parts.grace or timeout,
    queue = {}, under_way = {}, workers = 0, failures = 0, rest_until = 0, held = 0, unread = 0,
    counts = spool.no_counts(),
  }, spool_mt)
end

-- --------------------------------------------------------------------------------------------------------- asking

local function drain(self)
  repeat
    local kind, text = self.engine:next()
    if kind == "warning" then self.scheduler.warn(text) end
  until not kind
end

-- For the end of a client, when its scheduler drives nothing any more.
local function await_outside(self, call)
  while not call:done() and core.monotonic() < self.due do
    self.engine:step(self.due - core.monotonic())
    drain(self)
  end
  call:cancel()
  return call:result()
end

--- Sends a request to the receiver and waits for what `call:result` returns. `parts` is what there is of it besides.
function spool_methods:request(parts)
  parts.endpoint, parts.timeout, parts.deadline, parts.retries = self.endpoint, self.timeout, self.timeout, 0
  local driver = self.due and self.engine or self.scheduler
  local call, refused = driver:call(parts)
  if not call then return nil, refused end
  if self.due then return await_outside(self, call) end
  return self.scheduler:await(call)
end

--- What is called between the pieces of what takes long.
function spool_methods:breather()
  local pieces = 0
  return function()
    pieces = pieces + 1
    if pieces % BETWEEN == 0 and not self.due then self.scheduler:breathe() end
  end
end

--- Whether Nexus may have room for a new trace.
function spool_methods:may_create()
  return not self.limited_until or self.limited_until <= core.monotonic()
end

-- ------------------------------------------------------------------------------------------------------- outcomes

local function remove(self, entry)
  if entry.folder then return folders.remove(entry) end
  self.tracer:collected(self.kind.name, entry.path, true)
end

local function keep(self, entry)
  if entry.folder then return folders.keep(entry) end
  self.tracer:collected(self.kind.name, entry.path, false)
end

local function put_back(self, entry, seconds)
  entry.due = core.monotonic() + seconds
  table.insert(self.queue, entry)
end

local function rest(self, seconds)
  self.failures = self.failures + 1
  local own = math.min(FIRST_REST * 2 ^ math.min(self.failures - 1, 10), LONGEST_REST)
  self.rest_until = core.monotonic() + math.max(own, math.min(seconds or 0, MOST_WAIT))
end

local OUTCOMES = {}

function OUTCOMES.done(self, entry)
  self.failures = 0
  remove(self, entry)
end

OUTCOMES.gone = function(self, entry)
  self.counts.refused = self.counts.refused + 1
  remove(self, entry)
end

function OUTCOMES.wait(self, entry, _, seconds)
  put_back(self, entry, seconds)
end

function OUTCOMES.elsewhere(self, entry)
  self.elsewhere = (self.elsewhere or 0) + 1
  keep(self, entry)
end

-- Nobody knows what is in it: whoever comes next may.
function OUTCOMES.unread(self, entry)
  self.unread = self.unread + 1
  keep(self, entry)
end

function OUTCOMES.later(self, entry, problem, seconds)
  self.problem = problem
  rest(self, seconds)
  put_back(self, entry, 0)
end

function OUTCOMES.limited(self, entry, problem)
  if self:may_create() then self.limited_until = core.monotonic() + LIMIT_REST end
  self.problem, self.limit_problem = problem, problem
  entry.limited = true
  put_back(self, entry, self.limited_until - core.monotonic())
end

function OUTCOMES.refused(self, entry, problem)
  self.problem = problem
  entry.limited = true
  put_back(self, entry, LIMIT_REST)
  self.rest_until = core.monotonic() + LIMIT_REST
end

local function handle(self, entry)
  self.under_way[entry] = true
  local outcome, problem, seconds = self.kind.attempt(self, entry)
  self.under_way[entry] = nil
  OUTCOMES[outcome](self, entry, problem, seconds)
  return outcome
end

local function forget_limit(self)
  self.limited_until = nil
  for _, entry in ipairs(self.queue) do
    if entry.limited then entry.due, entry.limited = 0, nil end
  end
end

--- Nexus takes traces (again): those that were too many needn't wait any longer.
function spool_methods:resume()
  if self.kind.resume then self.kind.resume(self) end
  if self.limited_until then forget_limit(self) end
end

--- Tries all that waits now.
function spool_methods:retry()
  self.limited_until, self.rest_until, self.failures = nil, 0, 0
  for _, entry in ipairs(self.queue) do entry.due, entry.limited = 0, nil end
  self.news = true
  self.scheduler:notify(self)
end

-- ---------------------------------------------------------------------------------------------------------- tasks

local function collect(self)
  local path = self.tracer and self.tracer:collect(self.kind.name)
  while path do
    self.queue[#self.queue + 1] = { path = path, due = 0 }
    path = self.tracer:collect(self.kind.name)
  end
end

-- The first that is due; else nil, and the seconds until one is.
local function take_due(self)
  local now, soonest = core.monotonic(), math.huge
  if self.rest_until > now then return nil, self.rest_until - now end
  for position, entry in ipairs(self.queue) do
    if entry.due <= now then return table.remove(self.queue, position) end
    soonest = math.min(soonest, entry.due - now)
  end
  return nil, soonest
end

-- Where all is tried only once, what would take long isn't waited for.
local function is_over(self, seconds)
  if #self.queue == 0 then return true end
  return self.impatient and (self.failures >= self.impatient or seconds > 2 * self.timeout)
end

local function has_news(self)
  return self.news
end

-- For a time, or until all is to be tried.
local function wait(self, seconds)
  self.news = false
  return self.scheduler:wait_until(has_news, self, seconds) ~= nil
end

local function work(self)
  local going = true
  while going do
    collect(self)
    local entry, seconds = take_due(self)
    if entry then
      handle(self, entry)
      self.scheduler:breathe()
      going = not self.scheduler.closed
    else
      going = not is_over(self, seconds) and wait(self, seconds)
    end
  end
  self.workers = self.workers - 1
end

--- Sees to what the core has left, or what was found.
function spool_methods:wake()
  collect(self)
  while self.workers < math.min(self.kind.workers, #self.queue) do
    self.workers = self.workers + 1
    self.scheduler:spawn(work, self)
  end
end

local function oldest(limits)
  local time = core.wall() - limits.age
  return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(time)) .. (".%03d"):format(math.floor(time % 1 * 1000))
end

local function look_around(self)
  local limits, breathe = self.limits, self:breather()
  local found, held = folders.take(self.folder, self.kind.label(self), breathe, self.kind.ending)
  local entries, dropped = folders.cap(found, {
    files = limits.files, bytes = limits.bytes, oldest = oldest(limits),
  }, breathe)
  self.held = held
  self.counts.dropped = self.counts.dropped + dropped
  for _, entry in ipairs(entries) do
    entry.due = 0
    self.queue[#self.queue + 1] = entry
  end
end

-- Looking is the work of one more, so that whoever waits for the workers waits for it.
local function look_and_wake(self)
  look_around(self)
  self.workers, self.is_looking = self.workers - 1, false
  self:wake()
end

--- Looks for what ended processes left, in a task, and delivers it.
function spool_methods:start()
  local names = not self.is_looking and core.list_folder(self.folder)
  if not names or not names[1] then return end
  self.workers, self.is_looking = self.workers + 1, true
  self.scheduler:spawn(look_and_wake, self)
end

--- Delivers what ended processes left, and returns when all of it is delivered, or nothing more can be for now: how
-- many traces are left, and why the last of them is, or nil.
function spool_methods:flush()
  self.impatient = MOST_FAILURES
  self:start()
  while self.workers > 0 do self.scheduler:turn(LONGEST_TURN) end
  local left = #self.queue
  for _, entry in ipairs(self.queue) do keep(self, entry) end
  self.queue = {}
  return left, self.problem
end

-- ------------------------------------------------------------------------------------------------------------ end

local PASSING = { done = true, gone = true, elsewhere = true, unread = true }

local function pause_until_due(self, seconds)
  if core.monotonic() + seconds >= self.due then return false end
  local over = core.monotonic() + seconds
  while core.monotonic() < over do
    self.engine:step(over - core.monotonic())
    drain(self)
  end
  return true
end

local function finish_one(self)
  local entry, seconds = take_due(self)
  if not entry then return pause_until_due(self, seconds) end
  local outcome = handle(self, entry)
  return PASSING[outcome] or outcome == "wait"
end

--- Delivers what it can until `due`, without the scheduler, as the client closes: what the core has left is asked for
-- while Nexus answers. Gives everything else back.
function spool_methods:finish(due)
  self.due = due
  collect(self)
  local going = self.tracer and self.tracer:reachable(self.kind.name)
  while going and #self.queue > 0 and core.monotonic() < due do going = finish_one(self) end
  for _, entry in ipairs(self.queue) do keep(self, entry) end
  for entry in pairs(self.under_way) do keep(self, entry) end -- in tasks that are never resumed
  self.queue, self.under_way = {}, {}
end

return spool
