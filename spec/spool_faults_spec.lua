-- 1,000 traces through a server that drops answers, resets, delays and restarts: each is there once in the end.
local core = require("nexus_assistants.core")
local nexus = require("nexus_assistants")
local scheduler = require("nexus_assistants.scheduler")
local servers = require("spec.support.server")
local spools = require("nexus_assistants.spool")

local CLIENTS, TRACES = 20, 50 -- of each
local TIMEOUT, DELAY = 0.3, 0.4 -- seconds; what is delayed arrives after its sender has given up
local MOST_FLUSHES, PATIENCE = 20, 5 -- seconds that a request of a flush may take

local function faults(seed)
  local list = {}
  for position, fault in ipairs({
    { chance = 0.01, action = "drop_answered" }, { chance = 0.005, action = "drop" },
    { chance = 0.005, action = "reset" }, { chance = 0.005, action = "truncate" },
    { chance = 0.005, action = "half_close" }, { chance = 0.005, action = "pass", delay = DELAY },
    { chance = 0.003, action = "status", status = 503 }, { chance = 0.002, action = "restart", times = 5 },
  }) do
    fault.path, fault.seed = "/api/v1", seed + position
    list[position] = fault
  end
  return list
end

describe("a server that fails in every way", function()
  local server, spool, seed

  before_each(function()
    server, spool, seed = servers.start({ kind = "fault" }), os.tmpname(), os.time()
    os.remove(spool)
    server:faults(faults(seed))
  end)

  after_each(function()
    server:stop()
    os.execute("rm -rf " .. servers.quote(spool))
  end)

  local function new_client(number)
    return assert(nexus.new({
      agent_id = "agent" .. number, provider = "script", store = "memory", spool = spool,
      nexus = { base_url = server.nexus_url, api_key = "nxs_local", timeout = TIMEOUT, flush_interval = 0.05 },
      on_warning = function() end,
    }))
  end

  -- Every other trace goes on for longer than until it is first shown.
  local function trace_of(client, name)
    return client:task(function()
      client:trace({ name = name }, function(trace)
        trace:span(name .. ".1", function()
          if #name % 2 == 0 then client:sleep(0.07) end
          trace:span(name .. ".1.1", { type = "tool" }, function(span) span:output("x") end)
        end)
        trace:set("known", "late")
        trace:span(name .. ".2", function(span) span:input("y") end)
      end)
    end)
  end

  local function run_all(clients)
    for round = 1, TRACES do
      local tasks = {}
      for number, client in ipairs(clients) do
        tasks[number] = trace_of(client, ("c%dt%d"):format(number, round))
      end
      local open = #tasks
      while open > 0 do
        open = 0
        for number, client in ipairs(clients) do
          client:update()
          if not tasks[number]:done() then open = open + 1 end
        end
      end
    end
  end

  local function flush()
    local engine = assert(core.engine({}))
    local deliverer = spools.new({
      scheduler = scheduler.new(engine, core.monotonic, error), engine = engine, folder = spool, timeout = PATIENCE,
      grace = 2 * TIMEOUT,
      endpoint = assert(core.endpoint({ base_url = server.nexus_url, key = "nxs_local" })),
      limits = { files = 10000, bytes = 1e9, age = 3600 },
    })
    local left = deliverer:flush()
    engine:close()
    assert.equal(0, deliverer.counts.undecided)
    return left
  end

  local function all_traces()
    local rows, after = {}, ""
    repeat
      local page = server:request("GET", "/api/v1/traces?limit=200" .. after).json
      for _, row in ipairs(page) do rows[#rows + 1] = row end
      after = page[1] and "&after=" .. page[#page].id
    until not page[1]
    return rows
  end

  local function check_spans(id)
    local there = server:request("GET", "/api/v1/traces/" .. id).json
    local counts, ids = {}, {}
    for _, span in ipairs(there.spans) do
      counts[span.name], ids[span.name] = (counts[span.name] or 0) + 1, span
    end
    local name = there.spans[1].name:match("^c%d+t%d+")
    for _, ending in ipairs({ ".1", ".1.1", ".2" }) do
      assert.equal(1, counts[name .. ending], name .. ending)
    end
    assert.equal(ids[name .. ".1"].id, ids[name .. ".1.1"].parent_span_id)
    assert.is_true(#there.spans == 3 or #there.spans == 4 and counts["trace.end"] == 1)
    assert.equal("success", there.status)
    return name
  end

  it("has every trace and every span once", function()
    local clients = {}
    for number = 1, CLIENTS do clients[number] = new_client(number) end
    run_all(clients)
    local spooled = 0
    for _, client in ipairs(clients) do
      client:close(0.05)
      spooled = spooled + client:stats().traces_spooled
      assert.same({ 0, 0 }, { client:stats().traces_failed, client:stats().spans_failed })
    end
    local hits = {}
    for _, fault in ipairs(server:faults()) do hits[#hits + 1] = fault.action .. " " .. fault.hits end
    server:clear_faults()
    local flushes = 0
    repeat
      flushes = flushes + 1
      assert.is_true(flushes <= MOST_FLUSHES, "something stays")
    until flush() == 0
    local seen, rows = {}, all_traces()
    local note = ("seed %d, %s, %d left to the spool"):format(seed, table.concat(hits, ", "), spooled)
    assert.equal(CLIENTS * TRACES, #rows, note)
    for _, row in ipairs(rows) do
      local ok, name = pcall(check_spans, row.id)
      assert(ok, note .. ": " .. tostring(name))
      assert.is_nil(seen[name], note)
      seen[name] = true
    end
    assert.is_true(spooled > 10, note)
  end)
end)
