-- The article's job as a process of its own, for delivery_spec: prints the reply, and as JSON to the file named first
-- what it took and what became of the traces. A second argument is the timeout of close.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")

local warnings = nexus.array({})
local started = core.monotonic()
local client = assert(nexus.new({
  agent_id = "delivery",
  nexus = { timeout = 0.3, flush_interval = 0.1 },
  poll = { interval = 0.02 },
  on_warning = function(text) warnings[#warnings + 1] = text end,
}))

local reply = assert(client:trace({ name = "delivery" }, function()
  local thread = assert(client.threads:create())
  assert(client.threads.messages:create(thread.id, { role = "user", content = "What is a trace?" }))
  return assert(client.threads.runs:create_and_poll(thread.id, {})):text()
end))
local replied = core.monotonic() - started
io.stdout:write(reply, "\n")

local delivered = client:close(tonumber(arg[2] or 2))
local report = assert(io.open(arg[1], "w"))
report:write(assert(json.encode({
  replied = replied, closed = core.monotonic() - started, delivered = delivered, warnings = warnings,
  stats = client:stats(),
})))
report:close()
