--- Threads beyond single operations: the ledger of those this client made, and runs that were left active.
local json = require("nexus_assistants.json")
local method = require("nexus_assistants.resources.method")
local operations = require("nexus_assistants.operations")
local options = require("nexus_assistants.options")

local threads = {}

local DELETE, LIST_RUNS = operations["threads.delete"], operations["threads.runs.list"]

-- The threads this client made and did not delete: an array of `{ id, created_at, used_at, uses }`, the one not used
-- for longest first.
local function list(self)
  method.check_self("threads:ledger", self)
  return self.client.ledger:list()
end

local function is_old(entry, now, older_than)
  return now - entry.used_at >= older_than
end

-- Deletes threads of the ledger that were not used for `older_than` seconds (by default all). Returns
-- `{ deleted = { id, … }, failed = { { id, error }, … } }`.
local function sweep(self, given)
  method.check_self("threads:sweep", self)
  local values, problem = options.read("threads:sweep", options.sweep, given)
  if problem then error(problem, 2) end
  local client, older_than = self.client, values.older_than or 0
  values.older_than = nil
  local now, result = client.wall(), { deleted = json.array({}), failed = json.array({}) }
  for _, entry in ipairs(client.ledger:list()) do
    if is_old(entry, now, older_than) then
      local done, err = client:perform(DELETE, { path = { thread_id = entry.id }, options = values })
      if done or err.status == 404 then
        client.ledger:forget(entry.id)
        result.deleted[#result.deleted + 1] = entry.id
      else
        result.failed[#result.failed + 1] = { id = entry.id, error = err }
      end
    end
  end
  return result
end

--- Adds the methods to those that were made of the table of operations. `read` reads a method's arguments.
function threads.extend(methods, read)
  methods.ledger = list
  methods.sweep = sweep

  --- Cancels runs of a thread that are still active, whoever started them, and waits for their end. Returns them as an
  -- array, which may be empty; or nil and an error.
  function methods:recover(...)
    method.check_self("threads:recover", self)
    local id, given = ...
    local params, problem = read(LIST_RUNS, "threads:recover", options.call, id, nil, given)
    if not params then error(problem, 2) end
    return self.client.lanes:recover(params.path.thread_id, params.options)
  end
end

return threads
