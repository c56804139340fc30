--- A model that is a Lua function: for offline use, tests and scripted characters.
--
-- The function gets `(messages, tools, run)`:
--   messages  the conversation, oldest first: `{role, content}`, role "system", "user", "assistant" or "tool"; a
--             message that asked for calls has `tool_calls = {{id, name, arguments}}`, one of role "tool" the
--             `tool_call_id`, `name` and output (`content`)
--   tools     the run's tools as the API has them, `{type = "function", ["function"] = {name, parameters …}}`
--   run       the run: instructions, model, metadata …
-- and returns one of
--   a string                                          the reply
--   {"a piece", " and another"}                       the reply in pieces, as who streams the run is to get it
--   {{name =, arguments = table or JSON, id =}, …}     function calls to ask for
--   {text = the same, tool_calls =, usage = {prompt_tokens =, completion_tokens =}}
--   nil, error                                        the run fails: a string, or {code =, message =}
-- In a run with the tool file_search, a call {name = "file_search", arguments = {queries = {"…"}}} is answered by the
-- runtime from the vector stores, and the function is asked again with what was found: the content of a message of
-- role "tool", a JSON array of {file_id, file_name, score, text}.
-- It may call coroutine.yield(seconds) to let others run meanwhile, and coroutine.yield({text = "a piece"}), with
-- `wait` seconds where it likes, to tell its reply bit by bit; what it returns then is the rest, which may be nothing.
-- It may call a client, too, also for runs of the same one; whoever drives that waits meanwhile, a game's frame too.
-- Pieces may end within a character. Where it computes for 10 seconds without doing so,
-- the run fails; until then, an interrupt (Ctrl-C) waits. (LuaJIT, and coroutines of the function's own, know no such
-- limit.)
local script = {}
local script_methods = {}
local script_mt = { __index = script_methods }

--- A model of a function.
function script.new(think)
  if type(think) ~= "function" then error("script.new expects a function, got " .. type(think), 2) end
  return setmetatable({ run_script = think }, script_mt)
end

--- The model's answer, as the runtime wants it.
function script_methods:think(messages, tools, run)
  local answer, err = self.run_script(messages, tools, run)
  if answer == nil then return nil, err end
  if type(answer) == "string" then return { text = answer } end
  if type(answer) == "table" and type(answer[1]) == "string" then return { text = answer, usage = answer.usage } end
  if type(answer) == "table" and answer[1] ~= nil then return { tool_calls = answer, usage = answer.usage } end
  return answer
end

--- A model of a file that returns the function; nil, message where that can't be had.
function script.load(path)
  local chunk, problem = loadfile(path)
  if not chunk then return nil, "can't load the model's script: " .. problem end
  local ran, think = pcall(chunk)
  if not ran then return nil, "the model's script failed: " .. tostring(think) end
  if type(think) ~= "function" then
    return nil, "the model's script " .. path .. " must return a function, returned a " .. type(think)
  end
  return script.new(think)
end

local function text_of(content)
  if type(content) == "string" then return content end
  local texts = {}
  for _, part in ipairs(content) do
    if part.type == "text" then texts[#texts + 1] = part.text.value end
  end
  return table.concat(texts, "\n")
end

--- The text of the newest message of the user's, or nil.
function script.question(messages)
  for index = #messages, 1, -1 do
    if messages[index].role == "user" then return text_of(messages[index].content) end
  end
end

--- The model that is there where none was chosen: it repeats the question.
function script.echo()
  return script.new(function(messages)
    local question = script.question(messages)
    return question and "You said: " .. question or "There is nothing to answer yet."
  end)
end

return script
