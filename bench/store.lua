-- What a message and a run cost in a SQLite file as it fills: the first threads against the last, and memory.
--   dev/lua bench/store.lua FILE THREADS MESSAGES
-- Ends with 3 where the last take more than LIMIT (1.5) times what the first took, or memory grew with the store.
local operations = require("nexus_assistants.operations")
local core = require("nexus_assistants.core")
local runtimes = require("nexus_assistants.providers.runtime")
local sql_store = require("nexus_assistants.providers.runtime.sql_store")

local LIMIT = tonumber(os.getenv("LIMIT")) or 1.5
local MOST_GROWTH = 4 * 1024 -- KiB of memory, for a store of hundreds of MiB
local SAMPLE = 50 -- threads, at the beginning and at the end

local path, threads, messages = arg[1], tonumber(arg[2]), tonumber(arg[3])
local runtime = runtimes.new({ store = assert(sql_store.open(path)) })
local text = ("What a user says in a message. "):rep(10)

local function perform(name, ids, body)
  return assert(runtime:perform(operations[name], { path = ids, body = body }))
end

local function timed(times, fn, ...)
  local begun = core.monotonic()
  local result = fn(...)
  times[#times + 1] = core.monotonic() - begun
  return result
end

local function add_message(ids)
  perform("threads.messages.create", ids, { role = "user", content = text })
end

-- To the end of its model's answer.
local function run_it(ids)
  perform("threads.runs.create", ids, { assistant_id = "asst_local" })
  repeat runtime:advance() until not runtime:idle_time()
end

local function fill_thread(adding, running)
  local ids = { thread_id = perform("threads.create", {}, { metadata = { user = "7" } }).id }
  for _ = 1, messages - 1 do timed(adding, add_message, ids) end
  timed(running, run_it, ids)
end

local function median(times)
  table.sort(times)
  return times[math.ceil(#times / 2)]
end

local function resident()
  for line in io.lines("/proc/self/status") do
    local size = line:match("^VmRSS:%s*(%d+)")
    if size then return tonumber(size) end
  end
end

local function measured(count)
  local adding, running = {}, {}
  for _ = 1, count do fill_thread(adding, running) end
  collectgarbage()
  return { adding = median(adding), running = median(running), memory = collectgarbage("count"), resident = resident() }
end

local first = measured(SAMPLE)
measured(threads - 2 * SAMPLE)
local last = measured(SAMPLE)
runtime:close()

local held = last.adding <= LIMIT * first.adding and last.running <= LIMIT * first.running
  and last.memory - first.memory <= MOST_GROWTH and last.resident - first.resident <= MOST_GROWTH
print(("%d threads of %d messages; medians of %d threads"):format(threads, messages, SAMPLE))
print(("adding a message: %.0f µs at first, %.0f µs at last: %.2f times"):format(first.adding * 1e6, last.adding * 1e6,
  last.adding / first.adding))
print(("a run in such a thread: %.2f ms at first, %.2f ms at last: %.2f times"):format(
  first.running * 1e3, last.running * 1e3, last.running / first.running))
print(("memory: %.0f KiB at first, %.0f KiB at last; resident %d and %d KiB"):format(first.memory, last.memory,
  first.resident, last.resident))
print(("limit %g times: %s"):format(LIMIT, held and "held" or "NOT HELD"))
os.exit(held and 0 or 3, true)
