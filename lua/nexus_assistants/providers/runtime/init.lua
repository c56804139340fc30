--- The Assistants semantics, kept here: a store of threads, messages, runs and steps, and a model that thinks.
local checks = require("nexus_assistants.providers.runtime.checks")
local copy = require("nexus_assistants.providers.runtime.copy")
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local failure = require("nexus_assistants.providers.runtime.failure")
local ids = require("nexus_assistants.providers.runtime.id")
local json = require("nexus_assistants.json")
local machines = require("nexus_assistants.providers.runtime.machine")
local objects = require("nexus_assistants.providers.runtime.objects")
local stores = require("nexus_assistants.providers.runtime.store")

local runtime = {}
local runtime_methods = {}
local runtime_mt = { __index = runtime_methods }

local MAX_OUTPUT_BYTES = 512 * 1024

local function default_assistant(id)
  return { id = id, model = "local", instructions = json.null, tools = json.array() }
end

--- Makes a runtime. `options`:
--   model         who thinks: `model:think(messages, tools, run)` → `{text?, tool_calls?, usage?}`, or nil, error. It may
--                 yield: it is resumed at a later `advance`, after the number of seconds it yielded. Default: repeats
--                 the question (models/script.lua tells how to make one of a Lua function)
--   assistant_id  the one assistant there is; default asst_local
--   delay         seconds a model takes before it answers; default 0
--   clock()       Unix seconds; default the wall clock
--   new_id(prefix) makes ids; default random
--   store         default: in memory, with at most `max_threads` threads
function runtime.new(options)
  local assistant = default_assistant(options.assistant_id or "asst_local")
  local self = {
    clock = options.clock or core.wall, new_id = options.new_id or ids.new,
    store = options.store or stores.new(options.max_threads), assistants = { [assistant.id] = assistant },
  }
  self.machine = machines.new({
    store = self.store, clock = self.clock, new_id = self.new_id, delay = options.delay or 0,
    model = options.model or require("nexus_assistants.models.script").echo(),
  })
  return setmetatable(self, runtime_mt)
end

-- ------------------------------------------------------------------------------------------------- parameters

local STRING, OBJECT, BOOLEAN = checks.type("string"), checks.type("object"), checks.type("boolean")

local function anything() return true end

local METADATA = { metadata = { checks.metadata } }

local MESSAGE = {
  role = { checks.one_of({ "user", "assistant" }), required = true },
  content = { checks.content, required = true },
  attachments = { checks.array_of({ file_id = { STRING }, tools = { checks.type("array") } }) },
  metadata = METADATA.metadata,
}

local THREAD = {
  messages = { checks.array_of(MESSAGE) }, metadata = METADATA.metadata, tool_resources = { OBJECT },
}

local THREAD_UPDATE = { metadata = METADATA.metadata, tool_resources = { OBJECT } }

local TOOL = {
  type = { checks.one_of({ "code_interpreter", "file_search", "function" }), required = true },
  ["function"] = { OBJECT }, file_search = { OBJECT },
}

local RUN = {
  assistant_id = { STRING, required = true }, model = { STRING }, instructions = { STRING },
  additional_instructions = { STRING }, additional_messages = { checks.array_of(MESSAGE) },
  tools = { checks.array_of(TOOL) }, metadata = METADATA.metadata, temperature = { checks.number("decimal", 0, 2) },
  top_p = { checks.number("decimal", 0, 1) }, stream = { BOOLEAN },
  max_prompt_tokens = { checks.number("integer", 1) }, max_completion_tokens = { checks.number("integer", 1) },
  truncation_strategy = { OBJECT }, tool_choice = { anything }, parallel_tool_calls = { BOOLEAN },
  response_format = { anything }, reasoning_effort = { STRING },
}

local SUBMISSION = {
  tool_outputs = {
    checks.array_of({ tool_call_id = { STRING, required = true }, output = { STRING } }), required = true,
  },
  stream = { BOOLEAN },
}

local NOTHING = {}

local check_limit, check_order = checks.number("integer", 1, 100), checks.one_of({ "asc", "desc" })

-- What a list was asked for; over HTTP everything is text.
local function page_options(query)
  local limit = checks.given(query.limit)
  limit = tonumber(limit) or limit or 20
  local fits, err = check_limit(limit, "limit")
  if fits then fits, err = check_order(query.order, "order") end
  if not fits then return nil, err end
  return {
    limit = limit, order = checks.given(query.order) or "desc", after = checks.given(query.after),
    before = checks.given(query.before),
  }
end

-- ----------------------------------------------------------------------------------------------------- look-ups

local function now_of(self)
  return math.floor(self.clock())
end

local function find_thread(self, path)
  local thread = self.store:get("threads", "", path.thread_id)
  if thread then return thread end
  return failure.not_found("thread", path.thread_id)
end

local function find_in_thread(self, path, kind, what, id)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  local object = self.store:get(kind, thread.id, id)
  if object then return object end
  return failure.not_found(what, id)
end

local function find_run(self, path)
  return find_in_thread(self, path, "runs", "run", path.run_id)
end

local function list(self, kind, what, parent, query, where)
  local options, err = page_options(query)
  if not options then return nil, err end
  options.where = where
  local items, more = self.store:list(kind, parent, options)
  if not items then return failure.not_found(what, more) end
  return objects.page(items, more)
end

-- A run is begun only where the one before has ended, so only the last can be active.
local function active_run(self, thread_id)
  local last = self.store:list("runs", thread_id, { order = "desc", limit = 1 })[1]
  return last and machines.active(last.status) and last or nil
end

local function refuse_while_active(self, thread_id, text)
  local run = active_run(self, thread_id)
  if not run then return true end
  return failure.bad_request(text:format(thread_id, run.id))
end

local function add_message(self, thread_id, body)
  local message = objects.message(self.new_id("msg_"), now_of(self), thread_id, body)
  self.store:insert("messages", thread_id, message)
  return message
end

-- --------------------------------------------------------------------------------------------------- operations

local operations = {}

operations["threads.create"] = { THREAD, function(self, _, body)
  local thread = objects.thread(self.new_id("thread_"), now_of(self), body)
  self.store:insert("threads", "", thread)
  for _, message in ipairs(checks.given(body.messages) or {}) do
    add_message(self, thread.id, message)
  end
  return thread
end }

operations["threads.retrieve"] = { NOTHING, find_thread }

operations["threads.update"] = { THREAD_UPDATE, function(self, path, body)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  thread.metadata = checks.given(body.metadata) or thread.metadata
  thread.tool_resources = checks.given(body.tool_resources) or thread.tool_resources
  self.store:save("threads", "", thread)
  return thread
end }

operations["threads.delete"] = { NOTHING, function(self, path)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  self.store:delete_thread(thread.id)
  return { id = thread.id, object = "thread.deleted", deleted = true }
end }

operations["threads.messages.create"] = { MESSAGE, function(self, path, body)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  local free
  free, err = refuse_while_active(self, thread.id, "Can't add messages to %s while a run %s is active.")
  if not free then return nil, err end
  return add_message(self, thread.id, body)
end }

operations["threads.messages.list"] = { NOTHING, function(self, path, _, query)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  local run_id = checks.given(query.run_id)
  local where = run_id and function(message) return message.run_id == run_id end
  return list(self, "messages", "message", thread.id, query, where)
end }

operations["threads.messages.retrieve"] = { NOTHING, function(self, path)
  return find_in_thread(self, path, "messages", "message", path.message_id)
end }

operations["threads.runs.create"] = { RUN, function(self, path, body)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  local assistant = self.assistants[body.assistant_id]
  if not assistant then return failure.not_found("assistant", body.assistant_id) end
  local free
  free, err = refuse_while_active(self, thread.id, "Thread %s already has an active run %s.")
  if not free then return nil, err end
  for _, message in ipairs(checks.given(body.additional_messages) or {}) do
    add_message(self, thread.id, message)
  end
  local run = objects.run(self.new_id("run_"), now_of(self), thread.id, assistant, body)
  self.store:insert("runs", thread.id, run)
  self.machine:admit(run)
  return run
end }

operations["threads.runs.retrieve"] = { NOTHING, find_run }

operations["threads.runs.list"] = { NOTHING, function(self, path, _, query)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  return list(self, "runs", "run", thread.id, query)
end }

operations["threads.runs.cancel"] = { NOTHING, function(self, path)
  local run, err = find_run(self, path)
  if not run then return nil, err end
  if not machines.active(run.status) then
    return failure.bad_request("Cannot cancel run with status '" .. run.status .. "'.")
  end
  self.machine:cancel(run)
  return run
end }

-- As the API writes them, which is as Python does.
local function listed(call_ids)
  return #call_ids == 0 and "[]" or "['" .. table.concat(call_ids, "', '") .. "']"
end

local function expected_calls(run)
  local call_ids, set = {}, {}
  for index, call in ipairs(run.required_action.submit_tool_outputs.tool_calls) do
    call_ids[index], set[call.id] = call.id, true
  end
  return call_ids, set
end

-- The outputs by call id, where they are exactly those the run waits for.
local function match_outputs(run, tool_outputs)
  local expected, wanted = expected_calls(run)
  local got, outputs, bytes, fits = {}, {}, 0, true
  for index, item in ipairs(tool_outputs) do
    local output = checks.given(item.output) or ""
    fits = fits and wanted[item.tool_call_id] and outputs[item.tool_call_id] == nil
    got[index], outputs[item.tool_call_id], bytes = item.tool_call_id, output, bytes + #output
  end
  if not fits or #got ~= #expected then
    return failure.bad_request("Expected tool outputs for call_ids " .. listed(expected) .. ", got " .. listed(got),
      "tool_outputs")
  end
  if bytes < MAX_OUTPUT_BYTES then return outputs end
  local text = "Tool outputs are too large: together they must be under %d bytes, but were %d bytes."
  return failure.bad_request(text:format(MAX_OUTPUT_BYTES, bytes), "tool_outputs", "string_above_max_length")
end

operations["threads.runs.submit_tool_outputs"] = { SUBMISSION, function(self, path, body)
  local run, err = find_run(self, path)
  if not run then return nil, err end
  if run.status ~= "requires_action" then
    return failure.bad_request("Runs in status \"" .. run.status .. "\" do not accept tool outputs.")
  end
  local outputs
  outputs, err = match_outputs(run, body.tool_outputs)
  if not outputs then return nil, err end
  self.machine:submit(run, outputs)
  return run
end }

operations["threads.runs.steps.list"] = { NOTHING, function(self, path, _, query)
  local run, err = find_run(self, path)
  if not run then return nil, err end
  return list(self, "steps", "run step", run.id, query)
end }

operations["threads.runs.steps.retrieve"] = { NOTHING, function(self, path)
  local run, err = find_run(self, path)
  if not run then return nil, err end
  local step = self.store:get("steps", run.id, path.step_id)
  if step then return step end
  return failure.not_found("run step", path.step_id)
end }

-- ----------------------------------------------------------------------------------------------------- the seam

local function body_of(params)
  local copied, body = pcall(copy, params.body or {})
  if not copied then return failure.bad_request("Invalid request body: it is " .. body .. ".") end
  if body.stream == true then
    return failure.bad_request("Streaming isn't there yet: leave 'stream' out or set it to false.", "stream")
  end
  return body
end

--- Performs an operation (an entry of operations.lua). `params`: `path`, `query`, `body`.
-- Returns the result, a table of the caller's own; or nil and an error with the protocol's status, code, type and param.
function runtime_methods:perform(operation, params)
  local entry = operations[operation.name]
  if not entry then
    return nil, errors.new({ kind = "invalid", status = 400, message = operation.name .. " isn't there yet" })
  end
  self:advance()
  local body, err = body_of(params)
  if not body then return nil, err end
  local fits
  fits, err = checks.body(body, entry[1])
  if not fits then return nil, err end
  local result
  result, err = entry[2](self, params.path or {}, body, params.query or {})
  if not result then return nil, err end
  return copy(result)
end

--- Moves runs on as far as the time allows; call it in the host's loop. Returns the seconds until it has something to
-- do again, or nil.
function runtime_methods:advance()
  return self.machine:advance()
end

--- The names of the operations that can be performed, as a set.
function runtime_methods:supported()
  local names = {}
  for name in pairs(operations) do
    names[name] = true
  end
  return names
end

return runtime
