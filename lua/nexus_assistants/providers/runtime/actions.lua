--- What each operation does: `actions[name](runtime, path, body, query)` → result, or nil and an error.
-- Bodies were checked before; what is returned is the store's own. What begins a run's thinking takes a `queue` and a
-- `span` behind the others, or nil: the run's events go there, and what is traced of its thinking.
local assistants = require("nexus_assistants.providers.runtime.assistants")
local checks = require("nexus_assistants.providers.runtime.checks")
local file_search = require("nexus_assistants.providers.runtime.files.tool")
local failure = require("nexus_assistants.providers.runtime.failure")
local list = require("nexus_assistants.providers.runtime.listing")
local machines = require("nexus_assistants.providers.runtime.machine")
local objects = require("nexus_assistants.providers.runtime.objects")
local weight = require("nexus_assistants.providers.runtime.weight")

local actions = {}
for name, act in pairs(assistants.actions) do actions[name] = act end

local MAX_OUTPUT_BYTES = 512 * 1024

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
  local run, err = find_in_thread(self, path, "runs", "run", path.run_id)
  if not run then return nil, err end
  return self.machine:look_after(run)
end

-- A run is begun only where the one before has ended, so only the last can be active.
local function active_run(self, thread_id)
  local last = self.store:list("runs", thread_id, { order = "desc", limit = 1 })[1]
  if not last then return nil end
  last = self.machine:look_after(last)
  return last and machines.active(last.status) and last or nil
end

local function refuse_while_active(self, thread_id, text)
  local run = active_run(self, thread_id)
  if not run then return true end
  return failure.bad_request(text:format(thread_id, run.id))
end

-- What a process that has ended left of a thread's run is settled before the thread is shown.
local function settle_left(self, thread_id)
  if self.store.shared then active_run(self, thread_id) end
end

-- A thread takes what comes from outside while there is room; what its runs write is bounded by themselves.
-- `more` is how many messages come with the body.
local function refuse_where_full(self, thread_id, body, more)
  if self.store:has_room(thread_id, weight(body), more) then return true end
  return failure.bad_request("Thread " .. thread_id .. " is full: it holds as much as this server lets one hold.", nil,
    "thread_full")
end

local function add_message(self, thread_id, body)
  local message = objects.message(self.new_id("msg_"), now_of(self), thread_id, body)
  self.store:insert("messages", thread_id, message)
  return message
end

local function add_messages(self, thread_id, bodies)
  for _, body in ipairs(checks.given(bodies) or {}) do
    add_message(self, thread_id, body)
  end
end

local function add_thread(self, body)
  local id = self.new_id("thread_")
  local free, err = refuse_where_full(self, id, body, 0)
  if free then free, err = self.vector_stores:make_described(body.tool_resources) end
  if not free then return nil, err end
  local thread = objects.thread(id, now_of(self), body)
  self.store:insert("threads", "", thread)
  add_messages(self, thread.id, body.messages)
  return thread
end

-- A run that the model can take; or nil and an error.
local function new_run(self, thread_id, assistant, body)
  local run = objects.run(self.new_id("run_"), now_of(self), thread_id, assistant, body, self.model_name)
  local model = self.machine.model
  local problem, param
  if model.refusal then problem, param = model:refusal(run) end
  if problem then return failure.bad_request(problem, param, "unsupported_parameter") end
  run.private = { owner = self.store.owner }
  return run
end

local function begin_run(self, run, queue, span)
  self.store:insert("runs", run.thread_id, run)
  self.machine:admit(run, queue, span)
  return run
end

local function change_metadata(self, kind, object, body)
  local free, err = refuse_where_full(self, object.thread_id, body, 0)
  if not free then return nil, err end
  object.metadata = checks.given(body.metadata) or object.metadata
  self.store:save(kind, object.thread_id, object)
  return object
end

-- --------------------------------------------------------------------------------------------------- operations

actions["threads.create"] = function(self, _, body)
  return add_thread(self, body)
end

actions["threads.create_and_run"] = function(self, _, body, _, queue, span)
  local assistant, err = assistants.find(self, body.assistant_id)
  if not assistant then return nil, err end
  local run, thread
  run, err = new_run(self, "", assistant, body)
  if not run then return nil, err end
  thread, err = add_thread(self, checks.given(body.thread) or {})
  if not thread then return nil, err end
  run.thread_id = thread.id
  if queue then queue:push("thread.created", thread) end
  return begin_run(self, run, queue, span)
end

actions["threads.retrieve"] = find_thread

actions["threads.update"] = function(self, path, body)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  local free
  free, err = refuse_where_full(self, thread.id, body, 0)
  if not free then return nil, err end
  thread.metadata = checks.given(body.metadata) or thread.metadata
  thread.tool_resources = checks.given(body.tool_resources) or thread.tool_resources
  self.store:save("threads", "", thread)
  return thread
end

actions["threads.delete"] = function(self, path)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  local run = active_run(self, thread.id)
  if run then self.machine:abandon(run) end
  self.store:delete_thread(thread.id)
  return { id = thread.id, object = "thread.deleted", deleted = true }
end

actions["threads.messages.create"] = function(self, path, body)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  local free
  free, err = refuse_while_active(self, thread.id, "Can't add messages to %s while a run %s is active.")
  if free then free, err = refuse_where_full(self, thread.id, body, 1) end
  if not free then return nil, err end
  return add_message(self, thread.id, body)
end

actions["threads.messages.list"] = function(self, path, _, query)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  settle_left(self, thread.id)
  return list(self.store, "messages", "message", thread.id, query, checks.given(query.run_id))
end

local function find_message(self, path)
  return find_in_thread(self, path, "messages", "message", path.message_id)
end

actions["threads.messages.retrieve"] = find_message

actions["threads.messages.update"] = function(self, path, body)
  local message, err = find_message(self, path)
  if not message then return nil, err end
  return change_metadata(self, "messages", message, body)
end

actions["threads.messages.delete"] = function(self, path)
  local message, err = find_message(self, path)
  if not message then return nil, err end
  self.store:delete("messages", message.thread_id, message.id)
  return { id = message.id, object = "thread.message.deleted", deleted = true }
end

actions["threads.runs.create"] = function(self, path, body, _, queue, span)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  local assistant, free
  assistant, err = assistants.find(self, body.assistant_id)
  if not assistant then return nil, err end
  free, err = refuse_while_active(self, thread.id, "Thread %s already has an active run %s.")
  -- and the answer
  local more = #(checks.given(body.additional_messages) or {}) + 1
  if free then free, err = refuse_where_full(self, thread.id, body, more) end
  if not free then return nil, err end
  local run
  run, err = new_run(self, thread.id, assistant, body)
  if not run then return nil, err end
  add_messages(self, thread.id, body.additional_messages)
  return begin_run(self, run, queue, span)
end

actions["threads.runs.retrieve"] = find_run

actions["threads.runs.update"] = function(self, path, body)
  local run, err = find_run(self, path)
  if not run then return nil, err end
  return change_metadata(self, "runs", run, body)
end

actions["threads.runs.list"] = function(self, path, _, query)
  local thread, err = find_thread(self, path)
  if not thread then return nil, err end
  settle_left(self, thread.id)
  return list(self.store, "runs", "run", thread.id, query)
end

actions["threads.runs.cancel"] = function(self, path)
  local run, err = find_run(self, path)
  if not run then return nil, err end
  if not machines.active(run.status) then
    return failure.bad_request("Cannot cancel run with status '" .. run.status .. "'.")
  end
  self.machine:cancel(run)
  return run
end

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

actions["threads.runs.submit_tool_outputs"] = function(self, path, body, _, queue, span)
  local run, err = find_run(self, path)
  if not run then return nil, err end
  if run.status ~= "requires_action" then
    return failure.bad_request("Runs in status \"" .. run.status .. "\" do not accept tool outputs.")
  end
  local outputs
  outputs, err = match_outputs(run, body.tool_outputs)
  if not outputs then return nil, err end
  local free
  free, err = refuse_where_full(self, run.thread_id, body, 0)
  if not free then return nil, err end
  self.machine:submit(run, outputs, queue, span)
  return run
end

actions["threads.runs.steps.list"] = function(self, path, _, query)
  local run, err = find_run(self, path)
  if not run then return nil, err end
  local page
  page, err = list(self.store, "steps", "run step", run.id, query)
  if not page then return nil, err end
  for index, step in ipairs(page.data) do page.data[index] = file_search.shown_step(step, query) end
  return page
end

actions["threads.runs.steps.retrieve"] = function(self, path, _, query)
  local run, err = find_run(self, path)
  if not run then return nil, err end
  local step = self.store:get("steps", run.id, path.step_id)
  if step then return file_search.shown_step(step, query) end
  return failure.not_found("run step", path.step_id)
end

for name, act in pairs(require("nexus_assistants.providers.runtime.files.actions")) do
  actions[name] = act
end

return actions
