--- What bodies and queries may hold.
local checks = require("nexus_assistants.providers.runtime.checks")

local parameters = {}

local STRING, OBJECT, BOOLEAN = checks.type("string"), checks.type("object"), checks.type("boolean")

-- What the API takes at once.
local MAX_MESSAGES, MAX_TOOLS, MAX_INSTRUCTIONS = 32, 128, 256000

local METADATA = { checks.metadata }

local MESSAGE = {
  role = { checks.one_of({ "user", "assistant" }), required = true },
  content = { checks.content, required = true },
  attachments = { checks.array_of({ file_id = { STRING }, tools = { checks.type("array") } }) },
  metadata = METADATA,
}

local THREAD = {
  messages = { checks.array_of(MESSAGE, MAX_MESSAGES) }, metadata = METADATA, tool_resources = { OBJECT },
}

local METADATA_UPDATE = { metadata = METADATA }

local THREAD_UPDATE = { metadata = METADATA, tool_resources = { OBJECT } }

local FUNCTION = {
  name = { checks.name, required = true }, description = { STRING }, parameters = { OBJECT }, strict = { BOOLEAN },
}

local TOOL_TYPE = { checks.one_of({ "code_interpreter", "file_search", "function" }), required = true }

local TOOL = {
  type = TOOL_TYPE, ["function"] = { checks.object_of(FUNCTION) }, file_search = { OBJECT },
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

-- What an assistant and a run have alike.
local MODEL = {
  model = { checks.text() }, instructions = { checks.text(MAX_INSTRUCTIONS) },
  tools = { checks.array_of(TOOL, MAX_TOOLS, "function") }, tool_resources = { OBJECT }, metadata = METADATA,
  temperature = { checks.number("decimal", 0, 2) }, top_p = { checks.number("decimal", 0, 1) },
  response_format = { checks.word_or_object({ "auto" }, RESPONSE_FORMAT, "json_schema") },
  reasoning_effort = { checks.one_of({ "none", "minimal", "low", "medium", "high", "xhigh" }) },
}

local ASSISTANT_UPDATE = merged(MODEL, { name = { checks.text(256) }, description = { checks.text(512) } })
local ASSISTANT = merged(ASSISTANT_UPDATE, { model = { checks.text(), required = true } })

-- However a run is begun.
local ANY_RUN = merged(MODEL, {
  assistant_id = { STRING, required = true }, stream = { BOOLEAN },
  max_prompt_tokens = { checks.number("integer", 1) }, max_completion_tokens = { checks.number("integer", 1) },
  truncation_strategy = { checks.object_of(TRUNCATION, "last_messages") },
  tool_choice = { checks.word_or_object({ "none", "auto", "required" }, TOOL_CHOICE, "function") },
  parallel_tool_calls = { BOOLEAN },
})

local RUN = merged(ANY_RUN, {
  additional_instructions = { STRING }, additional_messages = { checks.array_of(MESSAGE, MAX_MESSAGES) },
})
RUN.tool_resources = nil

local THREAD_AND_RUN = merged(ANY_RUN, { thread = { checks.object_of(THREAD) } })

local SUBMISSION = {
  tool_outputs = {
    checks.array_of({ tool_call_id = { STRING, required = true }, output = { STRING } }), required = true,
  },
  stream = { BOOLEAN },
}

--- The names a body may have, by operation; operations that aren't here take none.
parameters.bodies = {
  ["assistants.create"] = ASSISTANT,
  ["assistants.update"] = ASSISTANT_UPDATE,
  ["threads.create"] = THREAD,
  ["threads.create_and_run"] = THREAD_AND_RUN,
  ["threads.update"] = THREAD_UPDATE,
  ["threads.messages.create"] = MESSAGE,
  ["threads.messages.update"] = METADATA_UPDATE,
  ["threads.runs.create"] = RUN,
  ["threads.runs.update"] = METADATA_UPDATE,
  ["threads.runs.submit_tool_outputs"] = SUBMISSION,
}

for name, fields in pairs(require("nexus_assistants.providers.runtime.files.parameters")) do
  parameters.bodies[name] = fields
end

local check_order = checks.one_of({ "asc", "desc" })

--- What a list was asked for: `limit`, `order`, `after`, `before`; or nil and an error. Over HTTP all of it is text.
-- `most` is how many there are at once at most, and without a limit, where that isn't 100 and 20.
function parameters.page(query, most)
  local limit = checks.given(query.limit) or most or 20
  if type(limit) == "string" and limit:find("^%-?%d+$") then limit = tonumber(limit) end
  local fits, err = checks.number("integer", 1, most or 100)(limit, "limit")
  if fits then fits, err = check_order(query.order, "order") end
  if not fits then return nil, err end
  return {
    limit = limit, order = checks.given(query.order) or "desc", after = checks.given(query.after),
    before = checks.given(query.before),
  }
end

return parameters
