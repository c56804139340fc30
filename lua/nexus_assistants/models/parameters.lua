--- Pure: what requests to models make of a run, whatever the API. What is at the protocol's default is left out.
local json = require("nexus_assistants.json")

local parameters = {}

local present = json.present

-- The model of the assistant that is there where none was made.
local PLACEHOLDER = "local"

--- What is said where a run is for no model.
parameters.NO_MODEL = "no model: set openai.model, OPENAI_MODEL or serve's --model-name, or the assistant's model"

--- The model a run is for: its own, or `default`, the one that is there for all; or nil.
function parameters.model(default, run)
  local own = present(run.model)
  return own ~= PLACEHOLDER and own or default
end

--- Whether what a run insists on was done: it is a call before its reply, not one again and again.
function parameters.is_answered(messages)
  local last = messages[#messages]
  return last ~= nil and last.role == "tool"
end

--- Puts how a run has its model sample into the body of a request.
function parameters.add_sampling(body, run)
  local temperature, top_p = present(run.temperature), present(run.top_p)
  if temperature ~= 1 then body.temperature = temperature end
  if top_p ~= 1 then body.top_p = top_p end
end

return parameters
