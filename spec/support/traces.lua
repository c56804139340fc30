--- Traces to look at, as Nexus gives them: an ordinary one, one that failed, an empty one, and large ones.
local json = require("nexus_assistants.json")

local traces = {}

local BEGIN = 1767225600000 -- 2026-01-01T00:00:00Z in milliseconds
local MODEL = "gpt-4o-mini"
local FAILURE = "the run failed: rate_limit_exceeded: You exceeded your current quota, please check your plan and "
  .. "billing details."

--- A timestamp so many milliseconds after the beginning.
function traces.at(milliseconds)
  local moment = BEGIN + milliseconds
  return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(moment / 1000)) .. (".%03dZ"):format(math.floor(moment % 1000))
end

--- A span; `more` has further members.
function traces.span(id, name, from, to, more)
  local span = {
    id = id, name = name, parent_span_id = json.null, status = "ok", started_at = traces.at(from),
    ended_at = to and traces.at(to) or json.null, input = json.null, output = json.null, error = json.null,
  }
  for key, value in pairs(more or {}) do span[key] = value end
  return span
end

local function trace(id, name, from, to, spans, more)
  local made = {
    id = id, agent_name = "weather-bot", name = name, status = "success", started_at = traces.at(from),
    ended_at = to and traces.at(to) or json.null, duration_ms = to and to - from or json.null, span_count = #spans,
    metadata = { trace_id = id }, spans = json.array(spans),
  }
  for key, value in pairs(more or {}) do made[key] = value end
  return made
end

local function usage(input, output)
  return { prompt_tokens = input, completion_tokens = output, total_tokens = input + output }
end

local function model(parent, messages)
  return { type = "llm", metadata = { runId = parent, model = MODEL }, input = { messages = messages } }
end

local ASKED = {
  { role = "system", content = "You tell the weather in one sentence." },
  { role = "user", content = "What is the weather in Paris, and should I take an umbrella?" },
}
local CALL = {
  id = "call_1", type = "function",
  ["function"] = { name = "get_weather", arguments = '{"city":"Paris","units":"metric"}' },
}

--- A run with two questions to a model and a tool between them.
function traces.ordinary(id)
  local told = { ASKED[1], ASKED[2], { role = "assistant", content = "", tool_calls = { CALL } },
    { role = "tool", tool_call_id = "call_1", content = '{"temperature":18.5,"rain":[0.1,0.4,2.2],"sky":"clouds"}' } }
  return trace(id or "0b1e4c52a9f04d0f8d6f0c2a3e5b7d11", "weather", 0, 2840, {
    traces.span("a1", "thread.create", 0, 120),
    traces.span("a2", "thread.messages.create", 130, 240, { input = { role = "user", content = ASKED[2].content } }),
    traces.span("a3", "run", 250, 2700, { input = { type = "run", metadata = { runId = "run_1", model = MODEL } },
      output = { status = "completed", usage = usage(412, 61) } }),
    traces.span("a4", "chat " .. MODEL, 270, 1190, { parent_span_id = "a3", input = model("run_1", ASKED),
      output = { tool_calls = { CALL }, usage = usage(180, 21), model = MODEL } }),
    traces.span("a5", "tool get_weather", 1200, 1620, { parent_span_id = "a3",
      input = { type = "tool", metadata = { call_id = "call_1" }, input = '{"city":"Paris","units":"metric"}' },
      output = '{"temperature":18.5,"rain":[0.1,0.4,2.2],"sky":"clouds"}' }),
    traces.span("a6", "http GET station", 1230, 1590, { parent_span_id = "a5" }),
    traces.span("a7", "log", 1300, 1340, { parent_span_id = "a5" }),
    traces.span("a8", "chat " .. MODEL, 1640, 2690, { parent_span_id = "a3", input = model("run_1", told),
      output = { text = "It is 18.5 °C and cloudy in Paris; take an umbrella for the evening.", usage = usage(232, 40),
        model = MODEL } }),
    traces.span("a9", "thread.messages.list", 2710, 2840),
  }, { metadata = { trace_id = id or "0b1e", customer = "c-17", input = "What is the weather in Paris?",
    output = "It is 18.5 °C and cloudy in Paris; take an umbrella for the evening." } })
end

--- A run whose tool failed, with a finding that says what to do.
function traces.failed(id)
  return trace(id or "7c9d20b38c1f4e6cb2aa51d6f3e8a002", "weather", 60000, 62450, {
    traces.span("f1", "thread.create", 60000, 60090),
    traces.span("f2", "run", 60100, 62450, { status = "error", error = FAILURE,
      input = { type = "run", metadata = { model = MODEL, runId = "run_2" } },
      output = { status = "failed", usage = usage(180, 30) } }),
    traces.span("f3", "chat " .. MODEL, 60120, 61000, { parent_span_id = "f2", input = model("run_2", ASKED),
      output = { usage = usage(180, 30), model = MODEL, tool_calls = { CALL } } }),
    traces.span("f4", "tool get_weather", 61010, 61400, { parent_span_id = "f2", status = "error",
      error = "weather_tools.lua:14: the station is down", input = { type = "tool", input = '{"city":"Paris"}' } }),
    traces.span("f5", "chat " .. MODEL, 61410, 62440, { parent_span_id = "f2", status = "error", error = "HTTP 429",
      input = model("run_2", ASKED) }),
  }, { status = "error", metadata = { trace_id = "7c9d", error = FAILURE, findings = { {
      id = "tool_failure_hidden", severity = "warning",
      evidence = "get_weather failed, and the model was told nothing of it",
      advice = "Let the tool raise: its error then goes to the model as its output, and to the trace.",
    }, { id = "quota", severity = "error", evidence = "the API answered 429 insufficient_quota",
      advice = "Waiting will not help: raise the limit of the project, or use another key." } } } })
end

--- A trace that has begun, and nothing else.
function traces.empty(id)
  return trace(id or "e0000000000000000000000000000003", "nightly", 120000, nil, {}, { status = "running",
    agent_name = "reporter" })
end

--- A trace with so many spans, nested up to five deep.
function traces.large(count, id)
  local spans = {}
  local length = count * 20
  for index = 1, count do
    local from = (index - 1) * 20
    local level = (index - 1) % 10
    local parent = level > 0 and "s" .. (index - 1 - (level > 5 and level - 5 or 0)) or json.null
    local kind = index % 10 == 3 and "llm" or index % 10 == 5 and "tool" or nil
    spans[index] = traces.span("s" .. index, ("step %d of the import"):format(index), from, from + 20 * (10 - level), {
      parent_span_id = level == 0 and json.null or parent, status = index % 97 == 0 and "error" or "ok",
      error = index % 97 == 0 and "row " .. index .. " is malformed" or json.null,
      input = kind and { type = kind, metadata = { model = MODEL }, input = "row " .. index } or json.null,
      output = kind == "llm" and { usage = usage(100 + index % 50, 20) } or json.null,
    })
  end
  return trace(id or "1a00000000000000000000000000000" .. #tostring(count), ("import of %d rows"):format(count), 0,
    length + 200, spans, { agent_name = "importer" })
end

return traces
