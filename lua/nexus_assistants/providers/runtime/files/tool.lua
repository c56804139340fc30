--- The tool "file_search" of runs: which calls are meant for it, what they find, how steps show it.
local checks = require("nexus_assistants.providers.runtime.checks")
local json = require("nexus_assistants.json")

local tool = {}

local NAME = "file_search"
local CONTENT = "step_details.tool_calls[*].file_search.results[*].content"
-- As the API has it for the larger models.
local MOST = 20
-- A model that does nothing but search would go on until its run expires, and fill its thread.
local MAX_ROUNDS = 32
local RANKER = "default_2024_08_21"

local function find_tool(run)
  for _, offered in ipairs(run.tools) do
    if offered.type == NAME then return offered end
  end
end

--- Divides calls, as the wire has them, into those that the runtime answers itself and those that wait for outputs.
function tool.divide(run, calls)
  local searches, others = {}, json.array()
  local offered = find_tool(run)
  for _, call in ipairs(calls) do
    local mine = offered and call["function"].name == NAME
    local list = mine and searches or others
    list[#list + 1] = call
  end
  return searches, others
end

--- Whether a run, by its steps, has searched as often as it may.
function tool.is_exhausted(steps)
  local rounds = 0
  for _, step in ipairs(steps) do
    local calls = step.step_details.tool_calls
    if calls and calls[1] and calls[1].type == NAME then rounds = rounds + 1 end
  end
  return rounds >= MAX_ROUNDS
end

-- The queries of a call's arguments; nil where there are none.
local function queries_of(arguments)
  local decoded = json.decode(arguments)
  local given = type(decoded) == "table" and (decoded.queries or decoded.query)
  if type(given) == "string" then given = { given } end
  if type(given) ~= "table" or given[1] == nil then return nil end
  for _, query in ipairs(given) do
    if type(query) ~= "string" then return nil end
  end
  return given
end

-- A member of a table; nil where there is none, or no table.
local function member(value, name)
  return type(value) == "table" and value[name] or nil
end

local function store_ids(owners)
  local ids, known = {}, {}
  for _, owner in ipairs(owners) do
    local given = member(member(owner.tool_resources, NAME), "vector_store_ids")
    for _, id in ipairs(type(given) == "table" and given or {}) do
      if type(id) == "string" and not known[id] then ids[#ids + 1], known[id] = id, true end
    end
  end
  return ids
end

local function settings_of(offered)
  local settings = checks.given(offered[NAME]) or {}
  local ranking = checks.given(settings.ranking_options) or {}
  local most, threshold = settings.max_num_results, ranking.score_threshold
  return {
    most = type(most) == "number" and most or MOST, threshold = type(threshold) == "number" and threshold or 0,
    lenient = true,
  }
end

local function shown_results(found)
  local results = json.array()
  for index, item in ipairs(found) do
    results[index] = {
      file_id = item.file_id, file_name = item.filename, score = item.score, content = item.content,
    }
  end
  return results
end

--- A call with what it finds in the vector stores of `owners` (the run, its thread, its assistant), as a step holds it:
-- as the API shows it, and with its `arguments`, which the API doesn't. Or nil and what is wrong with the call.
function tool.answer(vector_stores, run, owners, call)
  local queries = queries_of(call["function"].arguments)
  if not queries then return nil, "a call of file_search must have queries" end
  local settings = settings_of(find_tool(run))
  local found = vector_stores:search(store_ids(owners), queries, settings)
  return {
    id = call.id, type = NAME, arguments = call["function"].arguments,
    [NAME] = {
      ranking_options = { ranker = RANKER, score_threshold = settings.threshold }, results = shown_results(found),
    },
  }
end

--- What a model is told: the call's name, its arguments, and what was found, as JSON.
function tool.for_model(call)
  local found = json.array()
  for index, result in ipairs(call[NAME].results) do
    found[index] = {
      file_id = result.file_id, file_name = result.file_name, score = result.score, text = result.content[1].text,
    }
  end
  return NAME, call.arguments, assert(json.encode(found))
end

local function shown_call(call, with_content)
  if call.type ~= NAME then return call end
  local results = json.array()
  for index, result in ipairs(checks.given(call[NAME].results) or {}) do
    results[index] = {
      file_id = result.file_id, file_name = result.file_name, score = result.score,
      content = with_content and result.content or nil,
    }
  end
  return {
    id = call.id, type = NAME, [NAME] = { ranking_options = call[NAME].ranking_options, results = results },
  }
end

local function wants_content(query)
  local include = query.include or query["include[]"]
  for _, name in ipairs(type(include) == "table" and include or { include }) do
    if name == CONTENT then return true end
  end
  return false
end

local function has_search(calls)
  for _, call in ipairs(calls or {}) do
    if call.type == NAME then return true end
  end
  return false
end

--- A step as it is shown: what was found is left out of it unless `query` asks for it by `include[]`.
function tool.shown_step(step, query)
  local calls = step.step_details.tool_calls
  if not has_search(calls) then return step end
  local shown, details = {}, { type = "tool_calls", tool_calls = json.array() }
  for name, value in pairs(step) do shown[name] = value end
  for index, call in ipairs(calls) do details.tool_calls[index] = shown_call(call, wants_content(query)) end
  shown.step_details = details
  return shown
end

return tool
