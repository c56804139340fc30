--- The trace around a script that somebody else runs (`nexus-assistants run`): every client that is made meanwhile has
-- one, that opens with its first operation and ends as it closes. There is one such script at a time in a Lua state.
local core = require("nexus_assistants.core")

local surrounding = {}

-- values: those of `client:trace`; watcher; signals; clients: those that are open, in the order they were made
local current

--- Has clients that are made from now on trace what they do in a trace of `values`, those of `client:trace`. `watcher`,
-- where there is one, is told which operations begin and end (`began`, `ended`), what is seen of runs (`saw`), and that
-- the script waits (`waits`, which returns after how many seconds it wants to be told again). `signals` are those of
-- the core's that watch meanwhile.
function surrounding.begin(values, watcher, signals)
  current = { values = values, watcher = watcher, signals = signals, clients = {} }
end

--- The signals that are watched already; nil where none are.
function surrounding.signals()
  return current and current.signals
end

--- Every client says that it was made.
function surrounding.enter(client)
  if not current then return end
  table.insert(current.clients, client)
  client.recorder:surround(current.values)
  client.watcher, client.scheduler.watcher = current.watcher, current.watcher
end

--- Every client says that it is closed.
function surrounding.leave(client)
  local clients = current and current.clients or {}
  for index = #clients, 1, -1 do
    if clients[index] == client then table.remove(clients, index) end
  end
end

--- Closes what is open, within `seconds` for all. `failure`, where there is one, is what the script ended with.
function surrounding.finish(failure, seconds)
  local due, ended = core.monotonic() + seconds, current
  while ended.clients[1] do
    local client = table.remove(ended.clients, 1)
    client.recorder:fail_surrounding(failure)
    client:close(math.max(due - core.monotonic(), 0))
  end
  current = nil
end

return surrounding
