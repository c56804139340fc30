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

local RUN = {
  assistant_id = { STRING, required = true }, model = { checks.text() },
  instructions = { checks.text(MAX_INSTRUCTIONS) }, additional_instructions = { STRING },
  additional_messages = { checks.array_of(MESSAGE, MAX_MESSAGES) },
  tools = { checks.array_of(TOOL, MAX_TOOLS, "function") }, metadata = METADATA, stream = { BOOLEAN },
  temperature = { checks.number("decimal", 0, 2) }, top_p = { checks.number("decimal", 0, 1) },
  max_prompt_tokens = { checks.number("integer", 1) }, max_completion_tokens = { checks.number("integer", 1) },
  truncation_strategy = { checks.object_of(TRUNCATION, "last_messages") },
  tool_choice = { checks.word_or_object({ "none", "auto", "required" }, TOOL_CHOICE, "function") },
  parallel_tool_calls = { BOOLEAN },
  response_format = { checks.word_or_object({ "auto" }, RESPONSE_FORMAT, "json_schema") },
  reasoning_effort = { checks.one_of({ "none", "minimal", "low", "medium", "high", "xhigh" }) },
}

local SUBMISSION = {
  tool_outputs = {
    checks.array_of({ tool_call_id = { STRING, required = true }, output = { STRING } }), required = true,
  },
  stream = { BOOLEAN },
}

--- The names a body may have, by operation; operations that aren't here take none.
parameters.bodies = {
  ["threads.create"] = THREAD,
  ["threads.update"] = THREAD_UPDATE,
  ["threads.messages.create"] = MESSAGE,
  ["threads.runs.create"] = RUN,
  ["threads.runs.submit_tool_outputs"] = SUBMISSION,
}

local check_limit, check_order = checks.number("integer", 1, 100), checks.one_of({ "asc", "desc" })

--- What a list was asked for: `limit`, `order`, `after`, `before`; or nil and an error. Over HTTP all of it is text.
function parameters.page(query)
  local limit = checks.given(query.limit) or 20
  if type(limit) == "string" and limit:find("^%-?%d+$") then limit = tonumber(limit) end
  local fits, err = check_limit(limit, "limit")
  if fits then fits, err = check_order(query.order, "order") end
  if not fits then return nil, err end
  return {
    limit = limit, order = checks.given(query.order) or "desc", after = checks.given(query.after),
    before = checks.given(query.before),
  }
end

return parameters
