-- What an event of a stream costs, from the socket to the message put together: CPU time of this process.
--   dev/lua bench/stream.lua EVENTS ROUNDS
-- Ends with 3 where the best round is above the limit below: what else the machine does only adds.
local nexus = require("nexus_assistants")

local LIMIT = (tonumber(os.getenv("LIMIT")) or 5) / 1e6 -- seconds an event

local events, rounds = tonumber(arg[1]), tonumber(arg[2])
local client = assert(nexus.new({ nexus = false, assistant_id = "asst_bench" }))

local function read_stream()
  local start = os.clock()
  local stream, count = assert(client.threads.runs:stream("thread_bench")), 0
  for event in stream:events() do
    if event.text then count = count + 1 end
  end
  local text = stream:messages()[1].content[1].text.value
  local seconds = os.clock() - start
  assert(count == events and #text == #" token" * events, "not all events arrived")
  return seconds / count
end

local best = math.huge
for _ = 1, rounds do best = math.min(best, read_stream()) end
client:close(0)
local held = best <= LIMIT
print(string.format("%d events, best of %d rounds: %.2f µs of CPU an event; limit %g µs: %s", events, rounds,
  best * 1e6, LIMIT * 1e6, held and "held" or "NOT HELD"))
os.exit(held and 0 or 3, true)
