--- A client on a fake clock and a provider of the spec's own: for what a run does over time.
local fake = require("spec.support.fake_core")
local lane = require("nexus_assistants.lane")
local ledger = require("nexus_assistants.ledger")
local scheduler = require("nexus_assistants.scheduler")
local tools = require("nexus_assistants.tools")
local trace = require("nexus_assistants.trace")

local fake_client = {}

--- `perform(operation, params, engine)` answers operations, as a provider does. The engine's `now` is the time.
function fake_client.new(perform)
  local engine = fake.engine()
  local clock = engine:clock()
  local tasks = scheduler.new(engine, clock, error)
  local client = {
    engine = engine,
    scheduler = tasks,
    recorder = trace.new({ scheduler = tasks }),
    wall = clock,
    ledger = ledger.new(clock),
    poll = { deadline = 600 },
    provider = { perform = function(_, operation, params) return perform(operation, params, engine) end },
    adopt_run = function(_, run) return run end,
    task = function(_, fn, ...) return tasks:spawn(fn, ...) end,
  }
  client.perform = function(_, operation, params) return perform(operation, params, engine) end
  client.lanes = lane.new(client, "wait")
  return client
end

--- A request that creates a run, for `run_loop.start`.
function fake_client.request(options, list)
  return {
    operation = "threads.runs.create", span = "threads.runs.createAndPoll", thread_id = "t", body = {},
    tools = tools.set(list or {}), options = options,
  }
end

return fake_client
