-- Traces again and again, and tells of each span that has ended, a line each, until it is killed:
--   lua spec/support/spool_job.lua SPOOL URL SEED
-- Lines: "trace TRACE_ID", "span TRACE_ID NAME", "ended TRACE_ID". No two spans have one name.
local nexus = require("nexus_assistants")

math.randomseed(tonumber(arg[3]))

local client = assert(nexus.new({
  agent_id = "job", provider = "script", store = "memory", spool = arg[1],
  nexus = { base_url = arg[2], api_key = "nxs_local", timeout = 0.3, flush_interval = 0.005 },
  on_warning = function() end,
}))

local function tell(...)
  io.write(table.concat({ ... }, " "), "\n")
  io.flush()
end

local spans = 0

local function work(trace, depth)
  for _ = 1, math.random(3) do
    spans = spans + 1
    local name = "span" .. spans
    trace:span(name, { type = math.random(2) == 1 and "tool" or nil }, function()
      if depth < 3 and math.random(2) == 1 then work(trace, depth + 1) end
    end)
    tell("span", trace:id(), name)
    if math.random(3) == 1 then client:sleep(math.random() * 0.01) else client:update() end
  end
end

while true do
  local id
  client:trace({ name = "job" }, function(trace)
    id = trace:id()
    tell("trace", id)
    work(trace, 1)
  end)
  tell("ended", id)
end
