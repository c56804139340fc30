local process = require("spec.support.process")
local replay = require("spec.support.replay")
local servers = require("spec.support.server")

local STEPS = "openai-dotnet/AssistantsTests.BasicRunStepFunctionalityWorks.json"
local STEPS_THREAD, STEPS_RUN = "thread_OS44jZFnGgFsgkVM85h4FzVY", "run_aiOgmOSxtqwaLG3JZAhGsAgR"

local ARTICLE = "openllmetry/test_existing_assistant.json"
local ARTICLE_THREAD, ARTICLE_RUN = "thread_T6qwGAxh0EaHsPrcHZ7JCJ1k", "run_IL2XI2vtDTds9edMVscOwprV"

local TOOLS = "openai-dotnet/AssistantsTests.FunctionToolsWork.json"
local TOOLS_THREAD, TOOLS_RUN = "thread_iPTdbXGcxD5XNzfCaYWFJylc", "run_VSZ30Gv0cSXNu4f67kzJ8NyA"

local function ends_with(exchange, method, ending)
  return exchange.method == method and exchange.path:sub(-#ending) == ending
end

local function select_from(exchanges, method, ending)
  for _, exchange in ipairs(exchanges) do
    if ends_with(exchange, method, ending) then return exchange end
  end
  error("no " .. method .. " …" .. ending)
end

-- No recording has a job with its steps, so those of another run are told as this one's.
local function steps_of(thread, run)
  return select_from(replay.exchanges(STEPS, { { STEPS_THREAD, thread }, { STEPS_RUN, run } }), "GET", "/steps")
end

local function article_traffic()
  local exchanges = replay.exchanges(ARTICLE)
  exchanges[#exchanges + 1] = steps_of(ARTICLE_THREAD, ARTICLE_RUN)
  return exchanges
end

-- The recorded job made its thread and run in one call, and asked for another function.
local function tool_traffic()
  local recorded = replay.exchanges(TOOLS, { { "get_favorite_food_for_day_of_week", "get_weather" } })
  local before = replay.exchanges(ARTICLE, { { ARTICLE_THREAD, TOOLS_THREAD } })
  local created = select_from(recorded, "POST", "/v1/threads/runs")
  created.path = "/v1/threads/" .. TOOLS_THREAD .. "/runs"
  recorded[#recorded + 1] = select_from(before, "POST", "/v1/threads")
  recorded[#recorded + 1] = select_from(before, "POST", "/messages")
  recorded[#recorded + 1] = steps_of(TOOLS_THREAD, TOOLS_RUN)
  return recorded
end

local COMMON = {
  "thread.create", "thread.messages.create", "thread.messages.list", "threads.runs.createAndPoll",
}
local STEP_NAMES = { "step.code_interpreter", "step.message_creation" }

local function names_of(trace)
  local names = {}
  for _, span in ipairs(trace.spans) do names[span.name] = (names[span.name] or 0) + 1 end
  return names
end

describe("real traffic, replayed", function()
  local lacking = replay.lacks()
  if lacking then
    it("runs the examples", function() pending(lacking) end)
    return
  end

  local nexus

  before_each(function() nexus = servers.start({ kind = "serve" }) end)
  after_each(function() nexus:stop() end)

  local function run(example, exchanges, chunk)
    return replay.with(exchanges, chunk, function(server)
      local result = process.run({ process.path("examples/" .. example), "Can you help me?" }, {
        OPENAI_API_KEY = "sk-x", OPENAI_BASE_URL = server.openai_url, ASSISTANT_ID = "asst_D2BqLQ9rNgOjd5A3NpS9m9s4",
        NEXUS_API_KEY = "nxs_x", NEXUS_BASE_URL = nexus.nexus_url, NEXUS_ASSISTANTS_POLL_INTERVAL = "0",
      })
      return result, server:report(), nexus:restored_traces()[1]
    end)
  end

  local function check(example, exchanges, chunk, reply)
    local result, report, trace = run(example, exchanges, chunk)
    assert.equal("", result.err)
    assert.equal(reply .. "\n", result.out)
    assert.equal(0, result.code)
    assert.same({}, report.unmatched)
    assert.equal("success", trace.status)
    local names = names_of(trace)
    for _, name in ipairs(COMMON) do assert.equal(1, names[name], name) end
    for _, name in ipairs(STEP_NAMES) do assert.is_true(names[name] >= 1, name) end
    return trace, names
  end

  for _, chunk in ipairs({ 1, 7, 1000 }) do
    describe("in pieces of " .. chunk .. " bytes", function()
      local solved = "The solution to the equation \\(3x + 11 = 14\\) is \\(x = 1\\)."

      it("runs article.lua", function()
        check("article.lua", article_traffic(), chunk, solved)
      end)

      it("runs assistant.lua", function()
        local trace = check("assistant.lua", article_traffic(), chunk, solved)
        assert.equal(ARTICLE_THREAD, trace.metadata.threadId)
        assert.equal("completed", trace.metadata["run.status"])
        assert.equal("gpt-4o-mini", trace.metadata["run.model"])
        assert.equal(469, trace.metadata["run.usage.total_tokens"])
      end)

      it("runs assistant.lua with a tool", function()
        local trace, names = check("assistant.lua", tool_traffic(), chunk, "You should eat tacos on Thursday! 🌮")
        assert.equal(1, names["tool get_weather"])
        assert.equal(661, trace.metadata["run.usage.total_tokens"])
      end)
    end)
  end

  it("makes the same tree in both styles", function()
    local by_hand = names_of(select(3, run("article.lua", article_traffic(), 1000)))
    local by_itself = names_of(select(3, run("assistant.lua", article_traffic(), 1000)))
    assert.same(by_hand, by_itself)
  end)
end)
