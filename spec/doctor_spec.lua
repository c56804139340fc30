local doctor = require("nexus_assistants.doctor")
local look = require("nexus_assistants.doctor.look")
local json = require("nexus_assistants.json")

local CREATED = 1700000000

-- A table with other fields in the place of its own; `false` takes one away.
local function with(base, changes)
  local copy = {}
  for name, value in pairs(base) do copy[name] = value end
  for name, value in pairs(changes) do copy[name] = value or nil end
  return copy
end

local RUN = {
  id = "run_1", object = "thread.run", status = "completed", created_at = CREATED, started_at = CREATED + 1,
  expires_at = json.null, completed_at = CREATED + 9, cancelled_at = json.null, failed_at = json.null,
  required_action = json.null, last_error = json.null, incomplete_details = json.null,
  max_prompt_tokens = json.null, max_completion_tokens = json.null,
  usage = { prompt_tokens = 100, completion_tokens = 20, total_tokens = 120 },
}

-- A run with two calls, a file search, and a thread of a few turns: nothing is wrong with it.
local ORDINARY = {
  run = RUN,
  now = CREATED + 10,
  statuses = {
    { status = "queued", at = CREATED + 0.5 }, { status = "in_progress", at = CREATED + 1 },
    { status = "requires_action", at = CREATED + 3 }, { status = "queued", at = CREATED + 4 },
    { status = "requires_action", at = CREATED + 5 }, { status = "in_progress", at = CREATED + 6 },
    { status = "completed", at = CREATED + 9.5 },
  },
  polls = 6,
  deadline = 600,
  calls = {
    { id = "call_1", name = "get_weather", outcome = "ok", output_bytes = 14, seconds = 0.5 },
    { id = "call_2", name = "get_time", outcome = "ok", output_bytes = 5, cut = false, empty = false, seconds = 0.1 },
  },
  missing_call_ids = {},
  unknown_call_ids = {},
  steps = {
    { id = "step_1", status = "completed", step_details = { type = "tool_calls", tool_calls = {
      { id = "call_1", type = "function", ["function"] = { name = "get_weather", arguments = "{}", output = "18" } },
      { id = "call_3", type = "file_search", file_search = { results = {
        { file_id = "file_1", score = 0.9, content = { { type = "text", text = "The answer" } } } } } },
      { id = "call_4", type = "code_interpreter", code_interpreter = { input = "1", outputs = {} } },
    } } },
    { id = "step_2", status = "completed", step_details = { type = "message_creation" } },
  },
  turns = { { tokens = 90, prompt_tokens = 70 }, { tokens = 100, prompt_tokens = 80 },
    { tokens = 120, prompt_tokens = 100 } },
  leaked_threads = {},
  waited = 0,
}

local function ordinary(changes)
  return with(ORDINARY, changes)
end

local function ordinary_run(changes)
  return with(RUN, changes)
end

local function evidence_of(seen, id)
  for _, finding in ipairs(doctor.examine(seen)) do
    if finding.id == id then return finding.evidence, finding end
  end
end

local function ids_of(seen)
  local ids = {}
  for index, finding in ipairs(doctor.examine(seen)) do ids[index] = finding.id end
  return ids
end

local function asking(...)
  local calls = {}
  for index = 1, select("#", ...) do
    local wanted = { name = (select(index, ...)), arguments = "" }
    calls[index] = { id = "call_" .. index, type = "function", ["function"] = wanted }
  end
  return { type = "submit_tool_outputs", submit_tool_outputs = { tool_calls = calls } }
end

local function statuses(...)
  local list, given = {}, { ... }
  for index = 1, #given, 2 do list[#list + 1] = { status = given[index], at = CREATED + given[index + 1] } end
  return list
end

local WAITING = ordinary_run({ status = "requires_action", completed_at = json.null, expires_at = CREATED + 600,
  required_action = asking("get_weather", "get_time"), usage = json.null })
local WAITED = statuses("queued", 0, "in_progress", 1, "requires_action", 3)

local function called(changes)
  return { with({ id = "call_1", name = "get_weather", outcome = "ok", output_bytes = 4 }, changes) }
end

local function searched(results)
  return { { status = "completed", step_details = { tool_calls = {
    { id = "call_s", type = "file_search", file_search = { results = results } } } } } }
end

local function turns(...)
  local list = {}
  for index = 1, select("#", ...) do list[index] = { prompt_tokens = (select(index, ...)) } end
  return list
end

local TIMEOUT = { kind = "timeout", message = "Run run_1 was still in_progress after 60 s" }

-- By id: what provokes a finding, with its evidence, and what doesn't.
local CASES = {
  requires_action_stuck = {
    provoked = {
      ["run run_1 was left in requires_action for 62 s; nobody answered get_weather (call_1), get_time (call_2)"] = {
        run = WAITING, statuses = WAITED, calls = false, now = CREATED + 65 },
      ["run run_1 was left in requires_action for 7 s; nobody answered get_time (call_2)"] = {
        run = WAITING, statuses = WAITED, calls = called({}) },
      ["run run_1 was left in requires_action for 7 s"] = { run = WAITING, statuses = WAITED },
      ["run run_1 was left in requires_action; nobody answered get_weather (call_1), get_time (call_2)"] = {
        run = WAITING, statuses = false, calls = false, now = false },
      ["run run_1 was left in requires_action for 597 s and is expired now; nobody answered get_weather (call_1)"] = {
        run = ordinary_run({ status = "expired", completed_at = false }), calls = called({ outcome = "pending" }),
        statuses = statuses("queued", 0, "requires_action", 3, "expired", 600) },
      ["run run_1 was left in requires_action for 57 s and is cancelling now"] = {
        run = ordinary_run({ status = "cancelling" }), calls = false, error = TIMEOUT,
        statuses = statuses("queued", 0, "requires_action", 3, "cancelling", 60) },
      ["run run_1 asked for action 3 times in a row"] = { run = ordinary_run({ status = "failed" }),
        statuses = statuses("requires_action", 1, "requires_action", 2, "requires_action", 3, "failed", 4) },
    },
    not_provoked = {
      { run = WAITING, statuses = WAITED, calls = { { id = "call_1", outcome = "pending" },
        { id = "call_2", outcome = "pending" } } },
      { run = ordinary_run({ status = "cancelled" }), statuses = statuses("requires_action", 3, "cancelled", 60),
        error = { kind = "cancelled" } },
      { statuses = statuses("requires_action", 1, "requires_action", 2, "requires_action", 3, "completed", 4) },
      { run = ordinary_run({ status = "failed" }),
        statuses = statuses("requires_action", 1, "requires_action", 2, "in_progress", 3, "requires_action", 4) },
    },
  },
  run_expiring = {
    provoked = {
      ["run run_1 used 500 s of the 600 s it may take"] = {
        run = ordinary_run({ completed_at = CREATED + 500 }), expires_at = CREATED + 600, statuses = false },
      ["run run_1 used 480 s of the 600 s it may take, 470 s of them in tool calls"] = {
        run = ordinary_run({ completed_at = CREATED + 480, expires_at = CREATED + 600 }),
        statuses = statuses("queued", 0, "requires_action", 5, "in_progress", 475, "completed", 480) },
      ["run run_1 used 590 s of the 600 s it may take, 587 s of them in tool calls"] = {
        run = WAITING, statuses = WAITED, now = CREATED + 590 },
      -- the clocks of server and client differ by an hour
      ["run run_1 used 550 s of the 600 s it may take"] = {
        run = with(WAITING, { status = "in_progress" }), now = CREATED + 3600 + 550,
        statuses = statuses("queued", 3600, "in_progress", 3601) },
    },
    not_provoked = {
      { run = ordinary_run({ completed_at = CREATED + 470 }), expires_at = CREATED + 600 },
      { run = with(WAITING, { status = "in_progress" }), now = CREATED + 3600 + 50,
        statuses = statuses("queued", 3600, "in_progress", 3601) },
      { run = ordinary_run({ status = "expired", expires_at = CREATED + 600, completed_at = false }),
        now = CREATED + 601 },
    },
  },
  run_expired = {
    provoked = {
      ["run run_1 expired after 600 s; it was in_progress before"] = {
        run = ordinary_run({ status = "expired", expires_at = CREATED + 600, completed_at = false }),
        statuses = statuses("in_progress", 1, "expired", 601) },
      ["the run expired"] = { run = { status = "expired" }, statuses = false },
    },
  },
  queued_too_long = {
    provoked = {
      ["run run_1 was queued for 42.5 s"] = { statuses = statuses("queued", 0.5, "in_progress", 43, "completed", 44) },
      ["run run_1 was queued for 31 s"] = {
        statuses = statuses("queued", 0, "in_progress", 4, "queued", 10, "queued", 20, "in_progress", 41) },
      ["run run_1 was queued for 30 s"] = { run = ordinary_run({ started_at = CREATED + 30 }), statuses = false },
      ["run run_1 was queued for 100 s"] = { run = ordinary_run({ status = "queued", started_at = json.null,
        completed_at = json.null }), statuses = false, now = CREATED + 100 },
    },
    not_provoked = {
      { statuses = statuses("queued", 0, "in_progress", 20, "queued", 30, "in_progress", 50, "completed", 60) },
    },
  },
  poll_deadline = {
    provoked = {
      ["the wait ended at its deadline of 60 s, when run run_1 was in_progress after 24 polls"] = {
        run = ordinary_run({ status = "cancelling" }), error = TIMEOUT, deadline = 60, polls = 24, now = CREATED + 63,
        statuses = statuses("queued", 1, "in_progress", 2, "cancelling", 61) },
      ["the wait ended at its deadline of 0.5 s, before there was a run"] = {
        run = false, statuses = false, error = TIMEOUT, deadline = 0.5 },
    },
    not_provoked = {
      { error = TIMEOUT }, -- a request's, since the deadline is far
      { error = { kind = "server" }, deadline = 5 },
      { error = TIMEOUT, deadline = false },
    },
  },
  poll_stalled = {
    provoked = {
      ["the wait was given up: run run_1 stayed in_progress for 65 s over 1 poll"] = {
        run = ordinary_run({ status = "in_progress" }), error = { kind = "timeout", code = "stalled" }, polls = 1,
        statuses = statuses("queued", 0, "in_progress", 5), now = CREATED + 70 },
      ["the wait was given up: the run stayed as it was"] = {
        run = false, statuses = false, polls = false, error = { kind = "timeout", code = "stalled" } },
    },
    not_provoked = { { error = TIMEOUT } },
  },
  run_incomplete = {
    provoked = {
      ["run run_1 ended incomplete: max_prompt_tokens (8120 used, 8000 allowed)"] = {
        run = ordinary_run({ status = "incomplete", incomplete_details = { reason = "max_prompt_tokens" },
          max_prompt_tokens = 8000, usage = { prompt_tokens = 8120 } }) },
      ["run run_1 ended incomplete: max_completion_tokens (256 allowed)"] = {
        run = ordinary_run({ status = "incomplete", incomplete_details = { reason = "max_completion_tokens" },
          max_completion_tokens = 256, usage = json.null }) },
      ["run run_1 ended incomplete: content_filter"] = {
        run = ordinary_run({ status = "incomplete", incomplete_details = { reason = "content_filter" } }) },
      ["run run_1 ended incomplete: without a reason"] = { run = ordinary_run({ status = "incomplete" }) },
    },
  },
  tool_output_cut = {
    provoked = {
      ["the output of get_weather (call_1, 600000 bytes) was cut"] = {
        calls = called({ cut = true, output_bytes = 600000 }) },
      ["the outputs of a (1), b (2), c (3), d (4), e (5) and 1 more were cut"] = { calls = {
        { name = "a", id = "1", cut = true }, { name = "b", id = "2", cut = true },
        { name = "c", id = "3", cut = true }, { name = "d", id = "4", cut = true },
        { name = "e", id = "5", cut = true }, { name = "f", id = "6", cut = true } } },
    },
  },
  tool_output_empty = {
    provoked = {
      ["the output of get_weather (call_1) was empty"] = { calls = called({ empty = true }) },
      ["the output of call_1 was empty"] = { calls = called({ output_bytes = 0, name = false }) },
      ["the outputs of look (call_8), see (call_9) were empty"] = { steps = { { status = "completed", step_details = {
        tool_calls = { { id = "call_8", type = "function", ["function"] = { name = "look", output = json.null } },
          { id = "call_9", type = "function", ["function"] = { name = "see", output = "" } } } } } } },
    },
    not_provoked = {
      { calls = called({ outcome = "pending", output_bytes = 0 }) },
      { steps = { { status = "in_progress", step_details = { tool_calls = {
        { id = "call_8", type = "function", ["function"] = { name = "look", output = json.null } } } } } } },
    },
  },
  file_search_empty = {
    provoked = {
      ["1 of 1 file search: call_s has no results"] = { steps = searched({}) },
      ["1 of 1 file search: call_s has 2 results without content"] = {
        steps = searched({ { file_id = "f" }, { file_id = "g", content = { { type = "text", text = "" } } } }) },
      ["1 of 2 file searches: call_s has no results"] = {
        steps = { ORDINARY.steps[1], searched(json.null)[1] } },
    },
    not_provoked = {
      { steps = { { status = "in_progress", step_details = { tool_calls = {
        { id = "call_s", type = "file_search", file_search = {} } } } } } },
    },
  },
  call_ids_missing = {
    provoked = {
      ["no output was given for call_2"] = { missing_call_ids = { "call_2" } },
      ["no outputs were given for call_2, call_3"] = { missing_call_ids = { "call_2", "call_3" } },
    },
  },
  call_ids_unknown = {
    provoked = {
      ["an output was given for call_9, which the run did not ask for"] = { unknown_call_ids = { "call_9" } },
      ["outputs were given for call_8, call_9, which the run did not ask for"] = {
        unknown_call_ids = { "call_8", "call_9" } },
    },
  },
  tool_unknown = {
    provoked = {
      ["the run called get_wether (call_1), and there is no such tool"] = {
        calls = called({ name = "get_wether", outcome = "unknown_tool" }) },
    },
  },
  tool_bad_arguments = {
    provoked = {
      ["the arguments don't fit: get_weather (call_1): city: is required"] = {
        calls = called({ outcome = "bad_arguments", error = "city: is required" }) },
    },
  },
  tool_timeout = {
    provoked = {
      ["a tool ran out of time: get_weather (call_1) after 30 s"] = {
        calls = called({ outcome = "timeout", seconds = 30.04 }) },
      ["tools ran out of time: a, b"] = {
        calls = { { name = "a", outcome = "timeout" }, { name = "b", outcome = "timeout" } } },
    },
  },
  tool_failure_hidden = {
    provoked = {
      ["run run_1 completed, but not all tools did: get_weather (call_1): no such city"] = {
        calls = called({ outcome = "error", error = "no such\n\tcity " }) },
    },
    not_provoked = {
      { run = ordinary_run({ status = "failed" }), calls = called({ outcome = "error" }) },
      { calls = called({ outcome = "bad_arguments" }) },
    },
  },
  active_run_conflict = {
    provoked = {
      ["run run_2 was active on the thread, after 12 s of waiting"] = { active_run_id = "run_2", waited = 12 },
      ["run run_2 was active on the thread"] = { active_run_id = "run_2", waited = 0 },
    },
    not_provoked = { { waited = 12 } },
  },
  zombie_run = {
    provoked = {
      ["run run_9 was found in requires_action, 340 s old, and this client did not start it"] = {
        zombie = { id = "run_9", status = "requires_action", age = 340 } },
      ["a run was found active, and this client did not start it"] = { zombie = {} },
    },
  },
  tokens_growing = {
    provoked = {
      ["prompt tokens grew with each of the last 3 runs, from 1200 to 2400"] = { turns = turns(1200, 1300, 2400) },
      ["prompt tokens grew with each of the last 4 runs, from 10 to 50"] = { turns = turns(90, 10, 20, 30, 50) },
    },
    not_provoked = {
      { turns = turns(1000, 2000) }, { turns = turns(1000, 1500, 1999) }, { turns = turns(1000, 2000, 2000) },
      { turns = turns(1000, 4000, 3000) }, { turns = turns(1000, json.null, 2000, 4000) }, { turns = turns() },
    },
  },
  thread_leak = {
    provoked = {
      ["1 thread was created and never used again: thread_a"] = { leaked_threads = { "thread_a" } },
      ["2 threads were created and never used again: thread_a, thread_b"] = {
        leaked_threads = { "thread_a", "thread_b" } },
    },
  },
  server_error = {
    provoked = {
      ["run run_1 failed with server_error: Sorry, something went wrong."] = { run = ordinary_run({ status = "failed",
        last_error = { code = "server_error", message = "Sorry, something went wrong." } }) },
      ["the call failed with server_error"] = { error = { kind = "server", code = "server_error" } },
    },
    not_provoked = { { run = ordinary_run({ status = "failed", last_error = { code = "invalid_prompt" } }) } },
  },
  rate_limited = {
    provoked = {
      ["run run_1 failed with rate_limit_exceeded: Try again in 20 s."] = { run = ordinary_run({ status = "failed",
        last_error = { code = "rate_limit_exceeded", message = "Try again in 20 s." } }) },
      ["the call failed with insufficient_quota: You exceeded your quota"] = {
        error = { kind = "rate_limit", code = "insufficient_quota", message = "You exceeded your quota" } },
    },
  },
}

describe("doctor.examine", function()
  it("finds nothing wrong with an ordinary run", function()
    assert.equal("[]", json.encode(doctor.examine(ORDINARY)))
  end)

  it("finds nothing where nothing was seen", function()
    for _, nothing in ipairs({ {}, json.null, 7, "run", false, json.array({}) }) do
      assert.same({}, doctor.examine(nothing))
    end
    assert.same({}, doctor.examine(nil))
  end)

  for id, case in pairs(CASES) do
    describe("finds " .. id .. ":", function()
      for evidence, changes in pairs(case.provoked) do
        it(evidence, function()
          local found, finding = evidence_of(ordinary(changes), id)
          assert.equal(evidence, found)
          assert.matches("^%u.*%.$", finding.advice)
        end)
      end

      it("and not otherwise", function()
        assert.is_nil(evidence_of(ORDINARY, id))
        for _, changes in ipairs(case.not_provoked or {}) do assert.is_nil(evidence_of(ordinary(changes), id)) end
      end)
    end)
  end

  it("gives advice by the reason of an incomplete run", function()
    local function advice(reason)
      local run = ordinary_run({ status = "incomplete", incomplete_details = { reason = reason } })
      local _, finding = evidence_of(ordinary({ run = run }), "run_incomplete")
      return finding.advice
    end
    assert.matches("^Raise max_prompt_tokens, or let the run read less", advice("max_prompt_tokens"))
    assert.matches("^Raise max_completion_tokens, or ask for a shorter answer", advice("max_completion_tokens"))
    assert.matches("^The provider refused the content", advice("content_filter"))
    assert.equal("Look the reason up in the documentation of the provider; what the run wrote may be cut off.",
      advice("moon_phase"))
  end)

  it("tells the most severe first, in the catalogue's order", function()
    local seen = ordinary({
      run = ordinary_run({ status = "expired", completed_at = false }), leaked_threads = { "thread_a" },
      missing_call_ids = { "call_2" }, calls = called({ outcome = "timeout" }), active_run_id = "run_2",
    })
    local expected = { "call_ids_missing", "run_expired", "active_run_conflict", "tool_timeout", "thread_leak" }
    assert.same(expected, ids_of(seen))
    for _ = 1, 10 do assert.same(expected, ids_of(seen)) end
  end)

  it("changes nothing of what it is given", function()
    local before = json.encode(json.decode(json.encode(ORDINARY)))
    local copy = json.decode(before)
    doctor.examine(copy)
    assert.same(json.decode(before), copy)
  end)

  it("keeps texts from elsewhere short, clean and in one line", function()
    local threads = { "a\0b\r\nc\255", ("ä"):rep(500), 7, json.null, "" }
    local evidence = evidence_of({ leaked_threads = threads }, "thread_leak")
    assert.equal("2 threads were created and never used again: a b c?, " .. ("ä"):rep(79) .. "...", evidence)
  end)
end)

describe("look.catalogue", function()
  it("lists all findings", function()
    local ids = {}
    for _, entry in ipairs(look.catalogue) do
      assert.matches("^%u.*%.$", entry.what)
      assert.is_true(entry.severity == "error" or entry.severity == "warning" or entry.severity == "info")
      assert.is_not_nil(CASES[entry.id], entry.id)
      ids[#ids + 1] = entry.id
    end
    table.sort(ids)
    assert.same({ "active_run_conflict", "call_ids_missing", "call_ids_unknown", "file_search_empty", "poll_deadline",
      "poll_stalled", "queued_too_long", "rate_limited", "requires_action_stuck", "run_expired", "run_expiring",
      "run_incomplete", "server_error", "thread_leak", "tokens_growing", "tool_bad_arguments", "tool_failure_hidden",
      "tool_output_cut", "tool_output_empty", "tool_timeout", "tool_unknown", "zombie_run" }, ids)
  end)
end)

describe("doctor, whatever it is given,", function()
  local raising = setmetatable({}, {
    __index = function() error("index") end, __eq = function() error("eq") end, __len = function() error("len") end,
    __tostring = function() error("tostring") end, __lt = function() error("lt") end, __metatable = "hidden",
  })
  local LEAVES = { 0, 1, -1, 0.5, 1e300, 2 ^ 60, math.huge, -math.huge, 0 / 0, true, false, json.null, print, raising,
    "", "\255\0\n", "x", "requires_action", "in_progress", "queued", "expired", "cancelling", "incomplete", "completed",
    "timeout", "stalled", "server_error", "max_prompt_tokens", "ok", "pending", "file_search", "function", CREATED }
  local NAMES = {}

  -- The names that occur in honest input lead the junk to the code that reads them.
  local function collect(value, known)
    if type(value) ~= "table" or known[value] then return end
    known[value] = true
    for name, item in pairs(value) do
      if type(name) == "string" and not known[name] then
        known[name] = true
        NAMES[#NAMES + 1] = name
      end
      collect(item, known)
    end
  end
  collect({ ORDINARY, CASES }, {})
  table.sort(NAMES)

  -- The same on every Lua, as `math.random` isn't.
  local state = 19791125
  local function random(highest)
    state = (state * 16807) % 2147483647
    return state % highest + 1
  end

  local function junk(depth)
    local shape = random(depth > 0 and 5 or 2)
    if shape <= 2 then return LEAVES[random(#LEAVES)] end
    local made = shape == 3 and json.array({}) or {}
    for index = 1, random(6) - 1 do made[shape <= 4 and index or NAMES[random(#NAMES)]] = junk(depth - 1) end
    return made
  end

  -- Honest input with junk in some places.
  local function spoiled(value, depth)
    if random(12) == 1 then return junk(3) end
    if type(value) ~= "table" or depth == 0 then return value end
    local names, copy = {}, {}
    for name in pairs(value) do names[#names + 1] = name end
    table.sort(names, function(one, other) return tostring(one) < tostring(other) end)
    for _, name in ipairs(names) do copy[name] = spoiled(value[name], depth - 1) end
    return copy
  end

  local function examine(seen)
    local findings = doctor.examine(seen)
    assert.is_true(json.is_array(findings))
    for _, finding in ipairs(findings) do
      assert.is_nil(finding.evidence:find("%c"))
      assert.is_true(#finding.evidence < 2000)
    end
    assert.is_string(json.encode(findings))
    assert.same(look.at(seen), findings) -- what is taken for ordinary has none
    return #findings
  end

  local provoking = {}
  for _, case in pairs(CASES) do
    for evidence, changes in pairs(case.provoked) do
      provoking[#provoking + 1] = { evidence = evidence, seen = ordinary(changes) }
    end
  end
  table.sort(provoking, function(one, other) return one.evidence < other.evidence end)

  it("never raises, and gives lines that JSON can hold", function()
    local count = 0
    for index = 1, 6000 do
      count = count + examine(spoiled(provoking[index % #provoking + 1].seen, 8))
      local seen = {}
      for _ = 1, 8 do seen[NAMES[random(#NAMES)]] = junk(6) end
      examine(seen)
      examine(junk(4))
    end
    assert.is_true(count > 3000)
  end)

  it("finds nothing about a run that it takes for ordinary", function()
    local is_ordinary = require("nexus_assistants.doctor.ordinary")
    local seen_ordinary = 0
    for _ = 1, 20000 do
      local now = 1000 + random(60)
      local seen = spoiled({
        run = { id = "run_1", status = "completed", created_at = 1000, completed_at = random(2) == 1 and now or nil,
          expires_at = random(2) == 1 and 1000 + random(100) or json.null, last_error = json.null },
        statuses = { { status = "queued", at = 1000 }, { status = "completed", at = now } },
        steps = { { type = "message_creation", step_details = { type = "message_creation" } } },
        turns = { { prompt_tokens = 1 } }, calls = {}, now = now, deadline = 600, polls = 3,
      }, 4)
      if is_ordinary(seen) then
        seen_ordinary = seen_ordinary + 1
        assert.same({}, look.at(seen))
      end
    end
    assert.is_true(seen_ordinary > 100, seen_ordinary)
  end)
end)
