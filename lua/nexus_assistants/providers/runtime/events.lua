--- The objects of a stream's events that no other answer has: messages with their status, and deltas.
local copy = require("nexus_assistants.providers.runtime.copy")
local json = require("nexus_assistants.json")

local events = {}

local null = json.null

--- A message as streams tell it: with `status`, and the time (or nil) and the reason (or nil) of its end.
function events.message(message, status, now, reason)
  local told = copy(message)
  told.status = status
  told.incomplete_details = reason and { reason = reason } or null
  told.incomplete_at = status == "incomplete" and now or null
  told.completed_at = status == "completed" and now or null
  return told
end

--- A function that makes the delta of a message's text; the first of them has what else belongs to a text.
function events.text_delta(message_id, is_first)
  return function(value)
    local text = { value = value, annotations = is_first and json.array() or nil }
    return {
      id = message_id, object = "thread.message.delta",
      delta = { content = json.array({ { index = 0, type = "text", text = text } }) },
    }
  end
end

--- A function that makes the delta of a call's arguments; the first of them introduces the call, which is `call` then,
-- else nil. `index` counts from 0.
function events.call_delta(step_id, index, call)
  return function(arguments)
    local wanted = { arguments = arguments }
    if call then wanted.name, wanted.output = call["function"].name, null end
    local told = { index = index, id = call and call.id, type = "function", ["function"] = wanted }
    return {
      id = step_id, object = "thread.run.step.delta",
      delta = { step_details = { type = "tool_calls", tool_calls = json.array({ told }) } },
    }
  end
end

return events
