--- A client of a local server whose model does what the question tells it to (see told_model.lua), and one thread: what
-- most specs of runs begin with.
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local servers = require("spec.support.server")

local told = {}

--- Starts such a server, with faults.
function told.server()
  return servers.start({ kind = "fault", model_script = "spec/support/told_model.lua" })
end

--- A client of a server, with options beside the usual ones.
function told.client(server, changes)
  local given = {
    assistant_id = "asst_local",
    openai = { api_key = "sk-x", base_url = server.openai_url, retries = 0 },
    nexus = { api_key = "nxs_x", base_url = server.nexus_url, flush_interval = 60 }, -- traces are told of as they end
    poll = { interval = 0.002 },
  }
  for key, value in pairs(changes or {}) do given[key] = value end
  return assert(nexus.new(given))
end

--- What a model that calls tools by these names returns; a call's id is "call_" and the name.
function told.calls(...)
  local list = {}
  for index, name in ipairs({ ... }) do list[index] = { name = name, arguments = {}, id = "call_" .. name } end
  return { tool_calls = list }
end

--- A tool that takes anything.
function told.tool(name, call, timeout)
  return nexus.tool({ name = name, call = call, timeout = timeout })
end

--- Puts a question on a thread: what the model does, time by time.
function told.ask(client, thread, ...)
  assert(client.threads.messages:create(thread.id, { role = "user", content = json.encode({ ... }) }))
end

--- The evidence of findings by their ids.
function told.ids_of(findings)
  local ids = {}
  for _, finding in ipairs(findings) do ids[finding.id] = finding.evidence end
  return ids
end

--- The requests a server got with a method and a path that matches a pattern.
function told.requests(server, method, pattern)
  local found = {}
  for _, request in ipairs(server:requests()) do
    if request.method == method and request.path:find(pattern) then found[#found + 1] = request end
  end
  return found
end

return told
