-- A process that traces is killed at random moments: every span that had ended is at Nexus exactly once in the end.
local core = require("nexus_assistants.core")
local folders = require("nexus_assistants.spool.folders")
local scheduler = require("nexus_assistants.scheduler")
local servers = require("spec.support.server")
local spools = require("nexus_assistants.spool")

local KILLS = tonumber(os.getenv("KILLS")) or 200
local MOST_LINES = 40 -- of a process, before it is killed
local GRACE = 0.05 -- seconds

describe("a process that traces is killed", function()
  local server, spool, seed

  setup(function()
    server, spool, seed = servers.start({ kind = "serve" }), os.tmpname(), os.time()
    os.remove(spool)
    math.randomseed(seed)
  end)

  teardown(function()
    server:stop()
    os.execute("rm -rf " .. servers.quote(spool))
  end)

  -- The lines a job printed until it was killed. One that was cut tells nothing.
  local function work(number)
    local words = { "spec/support/spool_job.lua", spool, server.nexus_url, tostring(seed + number) }
    local pipe = assert(io.popen("echo $$; " .. servers.command(words) .. " 2>&1"))
    local pid, lines = pipe:read("*l"), {}
    for _ = 1, math.random(MOST_LINES) do lines[#lines + 1] = pipe:read("*l") end
    os.execute("kill -9 " .. pid)
    for line in pipe:read("*a"):gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
    pipe:close()
    return lines
  end

  -- What was sent before is in the server's queues, so that it has answered that before several requests after it.
  local function let_arrive()
    for _ = 1, 5 do server:request("GET", "/api/v1/traces?limit=1") end
  end

  local function recover()
    let_arrive()
    local engine = assert(core.engine({}))
    local deliverer = spools.new({
      scheduler = scheduler.new(engine, core.monotonic, error), engine = engine, folder = spool,
      timeout = 5, grace = GRACE,
      endpoint = assert(core.endpoint({ base_url = server.nexus_url, key = "nxs_local" })),
      limits = { files = 1000, bytes = 1e9, age = 3600 },
    })
    local left, problem = deliverer:flush()
    engine:close()
    local counts = deliverer.counts
    assert.same({ 0, 0, 0 }, { left, counts.undecided, counts.unreadable }, problem)
  end

  -- What is told of spans that had ended, by trace: their names, and whether the trace had.
  local function told(lines)
    local traces = {}
    for _, line in ipairs(lines) do
      local what, trace, span = line:match("^(%l+) (%x+) ?(%w*)$")
      assert.is_truthy(what, "the job said: " .. line)
      traces[trace] = traces[trace] or { spans = {} }
      if what == "span" then traces[trace].spans[span] = true end
      if what == "ended" then traces[trace].ended = true end
    end
    return traces
  end

  local function check_spans(told_of, there)
    local seen, rows = {}, {}
    for _, row in ipairs(there.spans) do
      rows[row.id] = row
      assert.is_nil(seen[row.name], row.name .. " is there twice")
      seen[row.name] = row
    end
    for name in pairs(told_of.spans) do assert.is_truthy(seen[name], name .. " is missing") end
    for name, row in pairs(seen) do
      assert.is_string(row.ended_at)
      assert.equal(told_of.spans[name] and "ok" or row.status, row.status)
      if type(row.parent_span_id) == "string" then assert.is_truthy(rows[row.parent_span_id]) end
    end
  end

  local function check(lines)
    local traces, seen, count = told(lines), {}, 0
    for _, row in ipairs(server:request("GET", "/api/v1/traces?limit=100").json) do
      local id = row.metadata.trace_id
      local told_of = traces[id]
      if told_of then
        local there = server:request("GET", "/api/v1/traces/" .. row.id).json
        assert.is_nil(seen[id], id .. " is there twice")
        seen[id], count = true, count + #there.spans
        assert.are_not.equal("running", there.status)
        if told_of.ended then assert.equal("success", there.status) end
        check_spans(told_of, there)
      end
    end
    for id, told_of in pairs(traces) do
      assert.is_true(seen[id] or next(told_of.spans) == nil, id .. " is missing")
    end
    return count
  end

  it("and nothing that had ended is lost or doubled, " .. KILLS .. " times", function()
    local spans = 0
    for number = 1, KILLS do
      local lines = work(number)
      recover()
      local ok, problem = pcall(check, lines)
      assert(ok, ("seed %d, kill %d: %s"):format(seed, number, tostring(problem)))
      spans = spans + problem
    end
    assert.is_true(spans > KILLS, "the jobs did next to nothing")
    assert.same({}, (folders.take(spool, server.nexus_url, function() end, "jsonl")))
  end)
end)
