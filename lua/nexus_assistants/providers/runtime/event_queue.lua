--- The events of a run on their way to who streams it.
--
-- Nobody waits for a slow reader: the run goes on, and once MOST events wait, texts that grow are joined in the last of
-- them. So what waits is as long as what the run writes, and no longer.
local rope = require("nexus_assistants.providers.runtime.rope")
local shown = require("nexus_assistants.providers.runtime.shown")

local event_queue = {}
local queue_methods = {}
local queue_mt = { __index = queue_methods }

local MOST = 256

--- An empty queue. `on_news()`, where it is set, is called with each event, and at the end. `query` is what its reader
-- asked with, which may say how much to tell.
function event_queue.new(query)
  return setmetatable({ events = {}, first = 1, last = 0, over = false, query = query or {} }, queue_mt)
end

local function tell(self)
  if self.on_news then self.on_news() end
end

local function add(self, event)
  self.last = self.last + 1
  self.events[self.last] = event
  tell(self)
end

--- Adds an event with an object as it is now.
function queue_methods:push(name, object)
  if self.over then return end
  add(self, { name = name, data = shown(object) })
end

--- Adds an event that tells of a piece of a text: `build(text)` makes its object. `key` says which text it is that
-- grows.
function queue_methods:push_piece(name, key, piece, build)
  if self.over then return end
  local last = self.events[self.last]
  if self.last - self.first + 1 < MOST or last.key ~= key then
    return add(self, { name = name, key = key, pieces = { piece }, build = build })
  end
  rope.add(last.pieces, piece)
end

--- Takes the next event out: its name and its object, which is the taker's own; nil where there is none.
function queue_methods:pop()
  local event = self.events[self.first]
  if not event then return nil end
  self.events[self.first], self.first = nil, self.first + 1
  return event.name, event.data or event.build(rope.text(event.pieces))
end

--- Where the queue ends now, for `take_back`.
function queue_methods:place()
  return self.last
end

--- Takes out what came since `place` and hasn't been taken: it didn't come to be. Pieces that were joined to earlier
-- ones stay.
function queue_methods:take_back(place)
  for index = self.last, math.max(place + 1, self.first), -1 do self.events[index] = nil end
  self.last = math.min(self.last, math.max(place, self.first - 1))
end

--- Whether no event waits.
function queue_methods:is_empty()
  return self.first > self.last
end

--- Nothing comes any more; `err` says why, where something is wrong.
function queue_methods:finish(err)
  if self.over then return end
  self.over, self.err = true, err
  tell(self)
end

--- Nobody wants to know any more.
function queue_methods:close()
  self.over, self.on_news = true, nil
  self.events, self.first, self.last = {}, 1, 0
end

return event_queue
