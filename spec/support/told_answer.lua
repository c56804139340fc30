--- What a model that is a Lua function says, for the fakes of APIs: as a whole, since they make pieces of their own.
local json = require("nexus_assistants.json")

local told_answer = {}

local LONG = 10 -- seconds from which on a model that waits says nothing

local function with_texts(calls)
  local result = {}
  for index, call in ipairs(calls) do
    result[index] = { id = call.id, name = call.name, arguments = assert(json.encode(call.arguments)) }
  end
  return result
end

local function read(pieces, answer, err)
  if answer == nil then return { err = err } end
  if type(answer) == "table" then return { calls = with_texts(answer) } end
  return { text = table.concat(pieces) .. answer }
end

--- A function of messages that returns `{text}`, `{calls = {{id, name, arguments = JSON}}}`, `{err}`, or
-- `{waits = true}` where the model would take long.
function told_answer.new(model)
  return function(messages)
    local thread, pieces = coroutine.create(model), {}
    local ok, answer, err = coroutine.resume(thread, messages)
    while ok and coroutine.status(thread) ~= "dead" do
      if type(answer) == "number" and answer >= LONG then return { waits = true } end
      if type(answer) == "table" then pieces[#pieces + 1] = answer.text end
      ok, answer, err = coroutine.resume(thread)
    end
    assert(ok, answer)
    return read(pieces, answer, err)
  end
end

return told_answer
