--- Delivers what is in the spool: what this client's core left there, and what processes left that have ended. It has
-- tasks while there is something to do, and none otherwise.
--
-- What fails is tried again later: all rest while the receiver is away; what it has no room for, or refuses for the key
-- or the address, is tried again rarely, and when something else was taken; what somebody between refuses, rarely.
local core = require("nexus_assistants.core")
local folders = require("nexus_assistants.spool.folders")
local timestamp = require("nexus_assistants.timestamp")
local to_nexus = require("nexus_assistants.spool.to_nexus")

local spool = {}

local spool_methods = {}
local spool_mt = { __index = spool_methods, __name = "nexus_assistants.spool" }

--- The folder's name among the user's files.
spool.NAME = "spool"

local FIRST_REST, LONGEST_REST = 0.5, 30 -- seconds, after failures
local LIMIT_REST = 600 -- seconds after which a trace that was too many, or a file that can't be opened, is tried again
local MOST_WAIT = 60 -- seconds a server may ask for
local MOST_FAILURES = 3 -- in a row, where somebody waits for the end
local MOST_STRANGERS = 10 -- answers without a word of the receiver's, where it never took anything
local MOST_REFUSALS = 3 -- of one file, while others are taken: then it is tried rarely
local LONGEST_TURN = 1 -- seconds
local BETWEEN = 32 -- lines of a file, or files, that are looked at in one go

--- What is counted, before there is anything.
function spool.no_counts()
  return { traces = 0, spans = 0, refused = 0, undecided = 0, dropped = 0, unreadable = 0, unconfirmed = 0 }
end

--- `parts`: scheduler, engine, endpoint (of the receiver), folder, limits {files, bytes, age}; kind, which is
-- spool/to_nexus, or spool/to_otlp with `path`, behind the endpoint's, and gzip, whether bodies are packed; tracer,
-- where there is one; timeout, of a request, and grace, after which what was sent is there or never will be, both in
-- seconds.
function spool.new(parts)
  local kind = parts.kind or to_nexus
  local timeout = parts.timeout or kind.timeout
  return setmetatable({
    scheduler = parts.scheduler, engine = parts.engine, endpoint = parts.endpoint, tracer = parts.tracer,
    folder = parts.folder, timeout = timeout, limits = parts.limits, kind = kind, path = parts.path,
    gzip = parts.gzip, grace = parts.grace or timeout,
    queue = {}, under_way = {}, workers = 0, failures = 0, strangers = 0, rest_until = 0, held = 0, unread = 0,
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

-- `problem`: why it isn't delivered; nil where it may yet turn out to be.
local function put_back(self, entry, seconds, problem)
  entry.due, entry.problem = core.monotonic() + seconds, problem
  table.insert(self.queue, entry)
end

-- Why the last of what is left is; nil where it may yet turn out to be delivered.
local function problem_of_rest(self)
  local problem
  for entry in pairs(self.under_way) do problem = entry.problem or problem end
  for _, entry in ipairs(self.queue) do problem = entry.problem or problem end
  return problem
end

local function rest(self, seconds)
  self.failures = self.failures + 1
  local own = math.min(FIRST_REST * 2 ^ math.min(self.failures - 1, 10), LONGEST_REST)
  self.rest_until = core.monotonic() + math.max(own, math.min(seconds or 0, MOST_WAIT))
end

local OUTCOMES = {}

function OUTCOMES.done(self, entry)
  self.failures, self.strangers = 0, 0
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

local function left_by_core(self)
  return self.tracer and self.tracer:stats().spool_left or 0
end

-- It isn't there any more. The core has counted what went for a limit of its own.
local function lose(self, entry)
  local left = left_by_core(self)
  remove(self, entry)
  if entry.folder or left_by_core(self) < left then self.counts.dropped = self.counts.dropped + 1 end
end

-- Nobody knows what is in it: whoever comes next may. What is this client's own would come back at once.
function OUTCOMES.unread(self, entry)
  if folders.is_gone(entry.path) then return lose(self, entry) end
  self.unread = self.unread + 1
  if entry.folder then return keep(self, entry) end
  entry.limited = true
  put_back(self, entry, LIMIT_REST)
end

function OUTCOMES.later(self, entry, problem, seconds)
  rest(self, seconds)
  put_back(self, entry, 0, problem)
end

function OUTCOMES.limited(self, entry, problem)
  if self:may_create() then self.limited_until = core.monotonic() + LIMIT_REST end
  self.limit_problem, entry.limited = problem, true
  put_back(self, entry, self.limited_until - core.monotonic(), problem)
end

-- What the core's sink has had taken so far; what it has taken later says that this may be, too.
local function taken_by_core(self)
  return self.tracer and self.tracer:taken(self.kind.name) or 0
end

local function put_back_refused(self, entry, problem)
  entry.limited, entry.refusals = true, (entry.refusals or 0) + 1
  put_back(self, entry, LIMIT_REST, problem)
end

function OUTCOMES.refused(self, entry, problem)
  self.refused_after = taken_by_core(self)
  put_back_refused(self, entry, problem)
  self.rest_until = core.monotonic() + LIMIT_REST
end

-- What stands between may mind what is in one trace alone, or somebody else may be there.
function OUTCOMES.strange(self, entry, problem)
  self.strangers = self.strangers + 1
  local delivered = self.counts.traces + (self.tracer and self.tracer:stats().traces_delivered or 0)
  if self.strangers >= MOST_STRANGERS and delivered == 0 then
    return OUTCOMES.refused(self, entry, problem)
  end
  put_back_refused(self, entry, problem)
end

-- -------------------------------------------------------------------------------------------------------- age

-- As a timestamp: what began before goes. No date is before 1970 here: of others not all have one, or four digits.
local function oldest(limits)
  return timestamp.of(math.max(core.wall() - limits.age, 0))
end

local function drop(self, entry)
  self.counts.dropped = self.counts.dropped + 1
  remove(self, entry)
end

-- Of what waits, that which began too long ago; the core sees to its own as it writes.
local function drop_old(self)
  local limit = oldest(self.limits)
  for position = #self.queue, 1, -1 do
    local entry = self.queue[position]
    if entry.folder and entry.started_at < limit then drop(self, table.remove(self.queue, position)) end
  end
end

local function is_too_old(self, entry)
  entry.started_at = entry.started_at or folders.started_at(entry.path)
  return entry.started_at < oldest(self.limits)
end

-- ------------------------------------------------------------------------------------------------------ attempts

local function handle(self, entry)
  if is_too_old(self, entry) then
    drop(self, entry)
    return "done"
  end
  self.under_way[entry] = true
  local ok, outcome, problem, seconds = self.scheduler:protected(self.kind.attempt, self, entry)
  self.under_way[entry] = nil
  if not ok then outcome = "unread" end -- as for want of memory; whoever works on the others goes on
  OUTCOMES[outcome](self, entry, problem, seconds)
  return outcome
end

local function forget_limits(self)
  self.limited_until, self.refused_after = nil, nil
  for _, entry in ipairs(self.queue) do
    local is_hopeless = (entry.refusals or 0) > MOST_REFUSALS
    if entry.limited and not is_hopeless then entry.due, entry.limited = 0, nil end
  end
end

--- The receiver takes what it is sent (again): what was too much, or refused, needn't wait any longer.
function spool_methods:resume()
  if self.kind.resume then self.kind.resume(self) end
  if not self.limited_until and not self.refused_after then return end
  if self.refused_after then self.rest_until = 0 end
  forget_limits(self)
  self.news = true
  self.scheduler:notify(self)
end

local function note_taken(self)
  if self.refused_after and taken_by_core(self) > self.refused_after then self:resume() end
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

-- What was refused, or is too much, is for another time, however long a request may take.
local function is_all_for_later(self)
  if self.refused_after then return true end
  for _, entry in ipairs(self.queue) do
    if not entry.limited then return false end
  end
  return true
end

-- Where all is tried only once, what would take long isn't waited for.
local function is_over(self, seconds)
  if #self.queue == 0 then return true end
  if not self.impatient then return false end
  return self.failures >= self.impatient or seconds > 2 * self.timeout or is_all_for_later(self)
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
  local going = not self.scheduler.closed
  while going do
    collect(self)
    local entry, seconds = take_due(self)
    if entry then
      handle(self, entry)
      self.scheduler:breathe()
      going = not self.scheduler.closed
    else
      drop_old(self)
      going = not is_over(self, seconds) and wait(self, seconds)
    end
  end
  self.workers = self.workers - 1
end

--- Sees to what the core has left, or what was found, and to what the receiver has taken of the core's.
function spool_methods:wake()
  collect(self)
  note_taken(self)
  while self.workers < math.min(self.kind.workers, #self.queue) do
    self.workers = self.workers + 1
    self.scheduler:spawn_apart(work, self) -- what it has under way as the client closes may end yet
  end
end

local function look_around(self)
  local limits, breathe = self.limits, self:breather()
  local found, held, shut = folders.take(self.folder, self.kind.label(self), breathe, self.kind.ending)
  local entries, dropped = folders.cap(found, {
    files = limits.files, bytes = limits.bytes, oldest = oldest(limits),
  }, breathe)
  self.held, self.unread, self.unread_problem = held, self.unread + shut.count, shut.problem
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
  local left, problem = #self.queue, problem_of_rest(self)
  for _, entry in ipairs(self.queue) do keep(self, entry) end
  self.queue = {}
  return left, problem
end

-- ------------------------------------------------------------------------------------------------------------ end

local PASSING = { done = true, gone = true, elsewhere = true, unread = true, strange = true }

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

-- What is under way would be there twice if it was broken off and sent again. Returns whether none of it failed. A
-- warning told from such a task may be what closes the client.
local function end_what_is_under_way(self, due)
  local failures, own = self.failures, self.scheduler:running_task()
  if own and own.apart then return false end
  self.scheduler:notify(self) -- those that wait end
  if self.workers > 0 then self.scheduler:turn(0) end
  while next(self.under_way) and core.monotonic() < due do
    self.scheduler:turn(math.min(due - core.monotonic(), LONGEST_TURN))
  end
  return self.failures <= failures and not next(self.under_way)
end

-- How many files are this client's own.
local function count_own(entries)
  local count = 0
  for _, entry in ipairs(entries) do
    if not entry.folder then count = count + 1 end
  end
  return count
end

-- What the core left without a word, since an answer was lost that may yet be found, stays now.
local function say_what_is_left(self)
  local under_way = {}
  for entry in pairs(self.under_way) do under_way[#under_way + 1] = entry end
  local count = count_own(self.queue) + count_own(under_way)
  if count == 0 or self.tracer:has_told(self.kind.name) then return end
  local problem = problem_of_rest(self)
  self.scheduler.warn(("not delivered to Nexus, but kept in the spool for the next client or nexus-assistants flush: "
    .. "%d trace%s; %s"):format(count, count == 1 and "" or "s", problem and "it " .. problem
      or "an answer was lost"))
end

--- Delivers what it can until `due`, as the client closes: first what is under way, in its tasks, then the rest without
-- the scheduler; what the core has left is asked for while the receiver answers. Gives everything else back.
function spool_methods:finish(due)
  local is_well = end_what_is_under_way(self, due)
  self.due = due
  collect(self)
  note_taken(self)
  local going = is_well and self.tracer and self.tracer:reachable(self.kind.name)
  while going and #self.queue > 0 and core.monotonic() < due do going = finish_one(self) end
  if self.tracer then say_what_is_left(self) end
  for _, entry in ipairs(self.queue) do keep(self, entry) end
  for entry in pairs(self.under_way) do keep(self, entry) end -- in tasks that are never resumed
  self.queue, self.under_way = {}, {}
end

return spool
