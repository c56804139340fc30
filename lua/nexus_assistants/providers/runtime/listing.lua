--- Pages of what the store holds, as a query asks for them.
local failure = require("nexus_assistants.providers.runtime.failure")
local objects = require("nexus_assistants.providers.runtime.objects")
local parameters = require("nexus_assistants.providers.runtime.parameters")

--- The page, or nil and an error. `what` is how errors call the items; `run_id` picks those of a run.
return function(store, kind, what, parent, query, run_id)
  local options, err = parameters.page(query)
  if not options then return nil, err end
  options.run_id = run_id
  local items, more = store:list(kind, parent, options)
  if not items then return failure.not_found(what, more) end
  return objects.page(items, more)
end
