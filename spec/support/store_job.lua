-- Works on threads in a store and tells of each thing that was acknowledged, a line each, until it is killed:
--   lua spec/support/store_job.lua STORE SEED
-- Lines: "thread ID", "message THREAD ID TEXT", "run THREAD ID", "submitted THREAD RUN", "ended THREAD RUN STATUS".
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local runtimes = require("nexus_assistants.providers.runtime")
local script = require("nexus_assistants.models.script")
local sql_store = require("nexus_assistants.providers.runtime.sql_store")

math.randomseed(tonumber(arg[2]))

local function think(messages)
  local choice = math.random(4)
  if choice == 1 and messages[#messages].role == "user" then return { { name = "double", arguments = { n = 2 } } } end
  if choice == 2 then
    for index = 1, 3 do coroutine.yield({ text = "piece " .. index .. " ", wait = 0 }) end
  end
  if choice == 3 then return nil, "it failed" end
  return "answer"
end

local runtime = runtimes.new({ store = assert(sql_store.open(arg[1])), model = script.new(think) })

local function perform(name, ids, body)
  return assert(runtime:perform(operations[name], { path = ids, body = body }))
end

local function tell(...)
  io.write(table.concat({ ... }, " "), "\n")
  io.flush()
end

local function add_messages(thread_id)
  for index = 1, math.random(3) do
    local text = "text" .. index
    local message = perform("threads.messages.create", { thread_id = thread_id }, { role = "user", content = text })
    tell("message", thread_id, message.id, text)
  end
end

local function look(run)
  return perform("threads.runs.retrieve", { thread_id = run.thread_id, run_id = run.id })
end

local function answer_calls(run)
  local outputs = json.array()
  for index, call in ipairs(run.required_action.submit_tool_outputs.tool_calls) do
    outputs[index] = { tool_call_id = call.id, output = "4" }
  end
  local ids = { thread_id = run.thread_id, run_id = run.id }
  perform("threads.runs.submit_tool_outputs", ids, { tool_outputs = outputs })
  tell("submitted", run.thread_id, run.id)
end

local UNDER_WAY = { queued = true, in_progress = true, cancelling = true }

local function run_it(thread_id)
  local run = perform("threads.runs.create", { thread_id = thread_id }, { assistant_id = "asst_local" })
  tell("run", thread_id, run.id)
  if math.random(6) == 1 then perform("threads.runs.cancel", { thread_id = thread_id, run_id = run.id }) end
  while true do
    runtime:advance()
    run = look(run)
    if run.status == "requires_action" then
      answer_calls(run)
    elseif not UNDER_WAY[run.status] then
      return tell("ended", thread_id, run.id, run.status)
    end
  end
end

while true do
  local thread = perform("threads.create", {}, { metadata = { seed = arg[2] } })
  tell("thread", thread.id)
  for _ = 1, math.random(3) do
    add_messages(thread.id)
    run_it(thread.id)
  end
end
