-- Traces again and again, and tells of each span that has ended, a name a line, until it is killed:
--   lua spec/support/otlp_spool_job.lua SPOOL URL SEED PAUSES PROTOCOL
-- No two spans have one name. Where PAUSES is 0 nothing waits, so that it is killed at its fastest.
local nexus = require("nexus_assistants")

math.randomseed(tonumber(arg[3]))

local client = assert(nexus.new({
  agent_id = "job", provider = "script", store = "memory", spool = arg[1], nexus = false,
  otlp = { endpoint = arg[2], protocol = arg[5], timeout = 2, flush_interval = 0.005 },
  on_warning = function() end,
}))

local spans = 0

while true do
  client:trace({ name = "job" }, function(trace)
    for _ = 1, math.random(4) do
      spans = spans + 1
      local name = ("span%d.%s"):format(spans, arg[3])
      trace:span(name, function(span) span:output({ ("x"):rep(math.random(2000)) }) end)
      io.write(name, "\n")
      io.flush()
      if arg[4] ~= "0" and math.random(3) == 1 then client:sleep(math.random() * 0.01) else client:update() end
    end
  end)
end
