-- A model that does what the question tells it to: the question is JSON, a list with what to do each time the model is
-- asked in a run: a text to reply, {"tool_calls": [{name, arguments, id}]}, {"fail": {code, message}},
-- {"wait": seconds, "text": …, "times": how often the text is repeated}, {"pieces": [text, …], "wait": seconds between
-- them}. In texts `$1`, `$2` … stand for what the tools answered. A question that isn't JSON is repeated.
local json = require("nexus_assistants.json")
local script = require("nexus_assistants.models.script")

local function since_question(messages)
  local turn, outputs = 1, {}
  for _, message in ipairs(messages) do
    if message.role == "user" then
      turn, outputs = 1, {}
    elseif message.tool_calls then
      turn = turn + 1
    elseif message.role == "tool" then
      outputs[#outputs + 1] = message.content
    end
  end
  return turn, outputs
end

local function filled_in(text, outputs)
  return (text:gsub("%$(%d)", function(index) return outputs[tonumber(index)] end))
end

local function tell(act)
  for index, piece in ipairs(act.pieces) do
    coroutine.yield({ text = piece, wait = index < #act.pieces and act.wait or nil })
  end
  return ""
end

return function(messages)
  local question = script.question(messages)
  local plan = json.decode(question)
  if type(plan) ~= "table" then return "You said: " .. question end
  local turn, outputs = since_question(messages)
  local act = plan[turn] or "nothing more to say"
  if type(act) == "string" then return filled_in(act, outputs) end
  if act.pieces then return tell(act) end
  if act.wait then coroutine.yield(act.wait) end
  if act.fail then return nil, act.fail end
  if act.tool_calls then return act.tool_calls end
  return filled_in(act.text:rep(act.times or 1), outputs)
end
