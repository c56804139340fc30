--- What bodies and queries may hold.
local checks = require("nexus_assistants.providers.runtime.checks")

local file_bodies = require("nexus_assistants.providers.runtime.files.parameters")

local parameters = {}

local STRING, OBJECT, BOOLEAN = checks.type("string"), checks.type("object"), checks.type("boolean")

-- What the API takes at once.
local MAX_MESSAGES, MAX_TOOLS, MAX_INSTRUCTIONS, MAX_STORE_FILES = 32, 128, 256000, 10000

local METADATA = { checks.metadata }

local MESSAGE = {
  role = { checks.one_of({ "user", "assistant" }), required = true },
  content = { checks.content, required = true },
  attachments = { checks.array_of({ file_id = { STRING }, tools = { checks.type("array") } }) },
  metadata = METADATA,
}

-- What a tool's resources may be, as far as this runtime uses them. A search takes time for each store, so that there
-- are no more than the API takes matters here, too.
local RESOURCES = {
  { "code_interpreter", "file_ids", checks.strings(20) }, { "file_search", "vector_store_ids", checks.strings(1) },
}

local DESCRIBED_STORE = {
  file_ids = { checks.strings(MAX_STORE_FILES) }, metadata = METADATA,
  chunking_strategy = file_bodies["vector_stores.create"].chunking_strategy,
}

-- A store may be described instead of named where something is made, but not where it is changed.
local DESCRIBED = { "file_search", "vector_stores", checks.array_of(DESCRIBED_STORE, 1) }
local NO_DESCRIBED = { "file_search", "vector_stores", function(value, name)
  if value == nil then return true end
  return checks.unknown(name)
end }

local function check_resource(value, name, resource)
  local tool, member, check = resource[1], resource[2], resource[3]
  local given, place = checks.given(value) and value[tool], name .. "." .. tool
  local fits, err = OBJECT(given, place)
  if fits and checks.given(given) then fits, err = check(given[member], place .. "." .. member) end
  return fits, err
end

local function resources_check(described)
  local all = { RESOURCES[1], RESOURCES[2], described }
  return function(value, name)
    local fits, err = OBJECT(value, name)
    if not fits then return nil, err end
    for _, resource in ipairs(all) do
      fits, err = check_resource(value, name, resource)
      if not fits then return nil, err end
    end
    return true
  end
end

local TOOL_RESOURCES, NEW_TOOL_RESOURCES = { resources_check(NO_DESCRIBED) }, { resources_check(DESCRIBED) }

local THREAD = {
  messages = { checks.array_of(MESSAGE, MAX_MESSAGES) }, metadata = METADATA, tool_resources = NEW_TOOL_RESOURCES,
}

local METADATA_UPDATE = { metadata = METADATA }

local THREAD_UPDATE = { metadata = METADATA, tool_resources = TOOL_RESOURCES }

local FUNCTION = {
  name = { checks.name, required = true }, description = { STRING }, parameters = { OBJECT }, strict = { BOOLEAN },
}

local TOOL_TYPE = { checks.one_of({ "code_interpreter", "file_search", "function" }), required = true }
local KNOWN_TOOLS = { code_interpreter = true, file_search = true, ["function"] = true }

local FILE_SEARCH = {
  max_num_results = { checks.number("integer", 1, 50) },
  ranking_options = {
    checks.object_of({
      ranker = { checks.one_of({ "auto", "default_2024_08_21" }) },
      score_threshold = { checks.number("decimal", 0, 1), required = true },
    }),
  },
}

local TOOL = {
  type = TOOL_TYPE, ["function"] = { checks.object_of(FUNCTION) }, file_search = { checks.object_of(FILE_SEARCH) },
}

local TOOL_CHOICE = {
  type = TOOL_TYPE, ["function"] = { checks.object_of({ name = { checks.name, required = true } }) },
}

local RESPONSE_FORMAT = {
  type = { checks.one_of({ "text", "json_object", "json_schema" }), required = true },
  json_schema = {
    checks.object_of({
      name = { checks.name, required = true }, description = { STRING }, schema = { OBJECT }, strict = { BOOLEAN },
    }),
  },
}

local TRUNCATION = {
  type = { checks.one_of({ "auto", "last_messages" }), required = true },
  last_messages = { checks.number("integer", 1) },
}

local function merged(...)
  local result = {}
  for _, names in ipairs({ ... }) do
    for name, parameter in pairs(names) do result[name] = parameter end
  end
  return result
end

-- A tool that the protocol never knew is refused by its type, or taken: what else it has is for the model's API to say.
local function with_unknown(check_known, is_taken)
  return function(value, name)
    local kind = type(value) == "table" and value.type
    if type(kind) ~= "string" or kind == "" or KNOWN_TOOLS[kind] then return check_known(value, name) end
    if is_taken then return true end
    return TOOL_TYPE[1](kind, name .. ".type")
  end
end

local SUBMISSION = {
  tool_outputs = {
    checks.array_of({ tool_call_id = { STRING, required = true }, output = { STRING } }), required = true,
  },
  stream = { BOOLEAN },
}

-- The names of bodies by operation, with these checks of a tool and of a choice of one.
local function describe(check_tool, check_choice)
  -- what an assistant and a run have alike
  local model = {
    model = { checks.text() }, instructions = { checks.text(MAX_INSTRUCTIONS) },
    tools = { checks.array_of(check_tool, MAX_TOOLS) }, tool_resources = TOOL_RESOURCES, metadata = METADATA,
    temperature = { checks.number("decimal", 0, 2) }, top_p = { checks.number("decimal", 0, 1) },
    response_format = { checks.word_or_object({ "auto" }, RESPONSE_FORMAT, "json_schema") },
    reasoning_effort = { checks.one_of({ "none", "minimal", "low", "medium", "high", "xhigh" }) },
  }
  local assistant_update = merged(model, { name = { checks.text(256) }, description = { checks.text(512) } })
  local assistant = merged(assistant_update, {
    model = { checks.text(), required = true }, tool_resources = NEW_TOOL_RESOURCES,
  })
  local any_run = merged(model, {
    assistant_id = { STRING, required = true }, stream = { BOOLEAN },
    max_prompt_tokens = { checks.number("integer", 1) }, max_completion_tokens = { checks.number("integer", 1) },
    truncation_strategy = { checks.object_of(TRUNCATION, "last_messages") },
    tool_choice = { check_choice }, parallel_tool_calls = { BOOLEAN },
  })
  local run = merged(any_run, {
    additional_instructions = { STRING }, additional_messages = { checks.array_of(MESSAGE, MAX_MESSAGES) },
  })
  run.tool_resources = nil
  return {
    ["assistants.create"] = assistant,
    ["assistants.update"] = assistant_update,
    ["threads.create"] = THREAD,
    ["threads.create_and_run"] = merged(any_run, { thread = { checks.object_of(THREAD) } }),
    ["threads.update"] = THREAD_UPDATE,
    ["threads.messages.create"] = MESSAGE,
    ["threads.messages.update"] = METADATA_UPDATE,
    ["threads.runs.create"] = run,
    ["threads.runs.update"] = METADATA_UPDATE,
    ["threads.runs.submit_tool_outputs"] = SUBMISSION,
  }
end

local check_tool = checks.object_of(TOOL, "function")
local check_choice = checks.word_or_object({ "none", "auto", "required" }, TOOL_CHOICE, "function")

--- The names a body may have, by operation; operations that aren't here take none.
parameters.bodies = merged(describe(with_unknown(check_tool), check_choice), file_bodies)

--- The same where the model's API has tools of its own, beside those of the protocol.
parameters.hosted_bodies = merged(file_bodies,
  describe(with_unknown(check_tool, true), with_unknown(check_choice, true)))

local check_order = checks.one_of({ "asc", "desc" })

--- What a list was asked for: `limit`, `order`, `after`, `before`; or nil and an error. Over HTTP all of it is text.
-- `most` is how many there are at once at most, and without a limit, where that isn't 100 and 20.
function parameters.page(query, most)
  local limit = checks.given(query.limit) or most or 20
  if type(limit) == "string" and limit:find("^%-?%d+$") then limit = tonumber(limit) end
  local fits, err = checks.number("integer", 1, most or 100)(limit, "limit")
  if fits then fits, err = check_order(query.order, "order") end
  for _, cursor in ipairs({ "after", "before" }) do
    if fits then fits, err = STRING(query[cursor], cursor) end
  end
  if not fits then return nil, err end
  return {
    limit = limit, order = checks.given(query.order) or "desc", after = checks.given(query.after),
    before = checks.given(query.before),
  }
end

return parameters
