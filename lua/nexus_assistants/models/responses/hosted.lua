--- Pure: the calls that were made at the API, as a step has them in the Assistants protocol.
local json = require("nexus_assistants.json")
local values = require("nexus_assistants.values")

local hosted = {}

local present = json.present

local RANKER = "default_2024_08_21"

local function results_of(item)
  local results = json.array()
  for index, result in ipairs(values.tables(item.results)) do
    local text = present(result.text)
    results[index] = {
      file_id = result.file_id, file_name = result.filename, score = result.score,
      content = json.array({ type(text) == "string" and { type = "text", text = text } or nil }),
    }
  end
  return results
end

local function file_search(item)
  return { ranking_options = { ranker = RANKER, score_threshold = 0 }, results = results_of(item) }
end

-- An image is told by its URL: it is no file there.
local function output_of(output)
  if output.type == "logs" then return { type = "logs", logs = output.logs } end
  return { type = "image", image = { url = output.url } }
end

local function code_interpreter(item)
  local outputs = json.array()
  for index, output in ipairs(values.tables(item.outputs)) do outputs[index] = output_of(output) end
  return { input = present(item.code) or "", outputs = outputs }
end

local ITSELF = { id = true, type = true, status = true }

-- A tool that the protocol never knew says what it says.
local function other(item)
  local details = {}
  for name, value in pairs(item) do
    if not ITSELF[name] then details[name] = value end
  end
  return details
end

local MAKERS = { file_search = file_search, code_interpreter = code_interpreter }

--- The call of an item of output, or nil where it isn't one that was made at the API.
function hosted.call(item)
  local kind = tostring(item.type):match("^(.+)_call$")
  if not kind or kind == "function" then return nil end
  return { id = item.id, type = kind, [kind] = (MAKERS[kind] or other)(item) }
end

return hosted
