--- One thread, many connections: coroutines that wait for sockets and timers, driven by select.
local core = require("nexus_assistants.core")
local timers = require("nexus_assistants.providers.runtime.timers")

local loop = {}
local loop_methods = {}
local loop_mt = { __index = loop_methods }

-- Without it an interrupt (Ctrl-C) would be noticed only when a socket moves.
local LONGEST_WAIT = 0.5

-- select takes descriptors below this; who has others is looked after so often.
local DESCRIPTORS, OFTEN = 1024, 0.01

--- LuaSocket, or an error that says where it comes from.
function loop.socket()
  local found, socket = pcall(require, "socket")
  if not found then
    error("the local server needs LuaSocket: install the rock 'luasocket' or Debian's package 'lua-socket'", 0)
  end
  return socket
end

--- An empty loop. `now()` never goes back, nor does it jump: the time of day may be set while connections wait.
function loop.new()
  return setmetatable({
    select = loop.socket().select, now = core.monotonic, timers = timers.new(),
    readers = {}, writers = {}, waiting = {}, finish = {}, ready = {},
  }, loop_mt)
end

-- A set that select can read: an array, with each socket's place kept to take it out again.
local function insert(set, socket)
  set[#set + 1] = socket
  set[socket] = #set
end

local function remove(set, socket)
  local index = set[socket]
  if not index then return end
  local last = set[#set]
  set[index], set[last] = last, index
  set[#set], set[socket] = nil, nil
end

local function resume(self, thread, ...)
  local ok, err = coroutine.resume(thread, ...)
  if ok and coroutine.status(thread) ~= "dead" then return end
  local finish = self.finish[thread]
  self.finish[thread] = nil
  if finish then finish(ok, err, thread) end
end

--- Runs `body(...)` as a coroutine; `finish(ok, err, thread)` is called when it ends.
function loop_methods:spawn(finish, body, ...)
  local thread = coroutine.create(body)
  self.finish[thread] = finish
  resume(self, thread, ...)
  return thread
end

local function wait_for(self, set, socket)
  insert(set, socket)
  self.waiting[socket] = coroutine.running()
  coroutine.yield()
end

--- Waits, in a coroutine, until the socket can be read or was closed by the other side.
function loop_methods:wait_readable(socket)
  wait_for(self, self.readers, socket)
end

--- Waits, in a coroutine, until the socket takes more.
function loop_methods:wait_writable(socket)
  wait_for(self, self.writers, socket)
end

--- Waits, in a coroutine, until `nudge` is called for the socket, whatever happens to that.
function loop_methods:wait_for_nudge(socket)
  self.waiting[socket] = coroutine.running()
  coroutine.yield()
end

--- Waits, in a coroutine, for a time.
function loop_methods:pause(seconds)
  local thread = coroutine.running()
  self:after(seconds, function() resume(self, thread) end)
  coroutine.yield()
end

--- Waits, in a coroutine, until all others that can go on have had their turn.
function loop_methods:give_way()
  self.ready[#self.ready + 1] = coroutine.running()
  coroutine.yield()
end

--- Waits, in a coroutine, until the function it hands to `arrange` is called.
function loop_methods:wait_until(arrange)
  local thread = coroutine.running()
  arrange(function() resume(self, thread) end)
  coroutine.yield()
end

--- Calls `fire` after a time; returns what `cancel` takes.
function loop_methods:after(seconds, fire)
  return self.timers:add(self.now() + seconds, fire)
end

--- Forgets a timer.
function loop_methods:cancel(timer)
  self.timers:cancel(timer)
end

--- Forgets a socket, and the coroutine that waits for it.
function loop_methods:forget(socket)
  remove(self.readers, socket)
  remove(self.writers, socket)
  local thread = self.waiting[socket]
  if thread then self.finish[thread] = nil end
  self.waiting[socket] = nil
end

--- Resumes the coroutine that waits for the socket, if one does.
function loop_methods:wake(socket)
  local thread = self.waiting[socket]
  remove(self.readers, socket)
  remove(self.writers, socket)
  self.waiting[socket] = nil
  if thread then resume(self, thread) end
end

--- Lets the coroutine that waits for the socket go on in the next round, if one does: for who mustn't be interrupted.
function loop_methods:nudge(socket)
  local thread = self.waiting[socket]
  if not thread then return end
  remove(self.readers, socket)
  remove(self.writers, socket)
  self.waiting[socket] = nil
  self.ready[#self.ready + 1] = thread
end

local function wake_all(self, set, sockets)
  for _, socket in ipairs(sockets) do
    -- one woken before may have closed this one
    if set[socket] then self:wake(socket) end
  end
end

local function patience(self, longest, wanted)
  local wait, due = longest or LONGEST_WAIT, self.timers:next_due()
  if due then wait = math.min(wait, due - self.now()) end
  if wanted then wait = math.min(wait, wanted) end
  if #self.ready > 0 then wait = 0 end
  return math.max(wait, 0)
end

-- What select takes for a descriptor that isn't a socket of LuaSocket's.
local descriptor_mt = { __index = {
  getfd = function(self) return self.fd end,
  dirty = function() return false end,
} }

-- The descriptors of somebody else who is to be woken, too: added to the sets for one look, and taken out again.
-- Returns them, and whether all are looked at.
local function insert_others(self)
  local others, all = self.descriptors and self.descriptors() or {}, true
  for _, other in ipairs(others) do
    setmetatable(other, descriptor_mt)
    local is_fit = other.fd < DESCRIPTORS
    if is_fit and other.read then insert(self.readers, other) end
    if is_fit and other.write then insert(self.writers, other) end
    all = all and is_fit
  end
  return others, all
end

local function remove_others(self, others)
  for _, other in ipairs(others) do
    remove(self.readers, other)
    remove(self.writers, other)
  end
end

--- One round: what is due, then what can be read or written, waiting for it where nothing is, for `longest` seconds.
function loop_methods:step(longest)
  self.timers:fire(self.now())
  local wanted = self.each_round and self.each_round()
  local others, all = insert_others(self)
  local wait = patience(self, longest, wanted)
  local readable, writable = self.select(self.readers, self.writers, all and wait or math.min(wait, OFTEN))
  remove_others(self, others)
  local ready = self.ready
  self.ready = {}
  wake_all(self, self.readers, readable)
  wake_all(self, self.writers, writable)
  for _, thread in ipairs(ready) do
    resume(self, thread)
  end
end

--- Rounds until `stop`.
function loop_methods:run()
  while not self.stopped do
    self:step()
  end
end

--- Ends `run` after the present round.
function loop_methods:stop()
  self.stopped = true
end

return loop
