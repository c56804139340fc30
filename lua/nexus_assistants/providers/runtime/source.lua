--- What `open` returns: the events of an operation one by one, as of a stream over HTTP.
local source = {}
local source_methods = {}
local source_mt = { __index = source_methods, __name = "nexus_assistants.runtime_source" }

-- Seconds that are waited for an event where nobody says how long.
local LONGEST_WAIT = 1

--- Of a runtime, and the queue its events come in.
function source.new(runtime, queue)
  return setmetatable({ runtime = runtime, queue = queue }, source_mt)
end

local function has_news(queue)
  return queue.over or not queue:is_empty()
end

-- Moves the runtime on, and waits where that brings nothing and there is a way to.
local function await(self, seconds)
  self.runtime:catch_up()
  local queue, scheduler = self.queue, self.runtime.scheduler
  if not scheduler or has_news(queue) then return true end
  queue.on_news = function() scheduler:notify(queue) end
  local _, err = scheduler:wait_until(has_news, queue, seconds or LONGEST_WAIT)
  queue.on_news = nil
  if err then return nil, err end
  return true
end

--- The next event that is there already, as `next` returns it; moves nothing on.
function source_methods:take()
  local name, data = self.queue:pop()
  if name then return name, data end
  if self.queue.over then return nil, self.queue.err end
  return false
end

--- The next event: its name and its object. Nil at the end; nil and an error; false where none came within `seconds`
-- or the runtime has something to do before.
function source_methods:next(seconds)
  if self.queue:is_empty() then
    local ok, err = await(self, seconds)
    if not ok then return nil, err end
  end
  return self:take()
end

--- Calls `on_news()` with each event that comes, and at the end; nil for no more.
function source_methods:listen(on_news)
  self.queue.on_news = on_news
end

--- Stops listening. The run goes on.
function source_methods:close()
  self.queue:close()
end

return source
