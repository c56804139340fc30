--- Files of vector stores and batches of them, waited for until they can be searched.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local method = require("nexus_assistants.resources.method")
local operations = require("nexus_assistants.operations")
local options = require("nexus_assistants.options")
local values = require("nexus_assistants.values")
local waiting = require("nexus_assistants.waiting")

local vector_stores = {}

local UPLOAD = operations["files.create"]
local PURPOSE = "assistants"

local KINDS = {
  files = { prefix = "vector_stores.files", what = "file", id = "file_id" },
  file_batches = { prefix = "vector_stores.file_batches", what = "batch", id = "batch_id" },
}

local function call_options(given, wait)
  return {
    timeout = given.timeout, retries = given.retries, query = given.query, trace = given.trace,
    headers = values.merged({ [waiting.POLL_HEADER] = "true" }, given.headers),
    deadline = math.max(wait:remaining(), 0.001),
  }
end

-- Waits for the deadline of all of it; `begin(wait)` returns the object to follow, or nil and an error.
local function follow(client, kind, store_id, given, begin)
  given = given or {}
  given.deadline = given.deadline or client.poll.deadline
  if given.interval == nil then given.interval = client.poll.interval end
  given.stall = given.stall or client.poll.stall
  local wait = waiting.new({ scheduler = client.scheduler, wall = client.wall }, given)
  local object, info = begin(wait)
  if not object then return nil, info end
  local id = object.id
  if type(id) ~= "string" then
    local problem = "the answer makes no sense: a " .. kind.what .. " without an id"
    return nil, errors.new({ kind = "protocol", message = problem })
  end
  return wait:follow(kind.what, object, info, function()
    return client.provider:perform(operations[kind.prefix .. ".retrieve"], {
      path = { vector_store_id = store_id, [kind.id] = id }, options = call_options(given, wait),
    })
  end)
end

-- A method that performs an operation of the kind and waits for what it returns: `create_and_poll(vector_store_id,
-- params, options)`, `poll(vector_store_id, id, options)`.
local function make_waiting(read, kind, name, operation)
  local entry, where = operations[kind.prefix .. operation], kind.prefix .. ":" .. name
  return function(self, ...)
    method.check_self(where, self)
    local params, problem = read(entry, where, options.poll, ...)
    if not params then error(problem, 2) end
    local client, given = self.client, params.options or {}
    return follow(client, kind, params.path.vector_store_id, given, function(wait)
      params.options = call_options(given, wait)
      return client:perform(entry, params)
    end)
  end
end

-- ---------------------------------------------------------------------------------------------------------- uploads

local function read_upload(read, where, file)
  local params, problem = read(UPLOAD, where, options.poll, { file = file, purpose = PURPOSE }, nil)
  if not params then return nil, problem end
  return params
end

local function upload(client, params, given, wait)
  params.options = call_options(given, wait)
  return client:perform(UPLOAD, params)
end

local function read_store(read, where, store_id, given)
  return read(operations["vector_stores.retrieve"], where, options.poll, store_id, given)
end

-- A problem with a file that is an argument by itself.
local function called(problem, name)
  return (problem:gsub("params%.file", name))
end

-- `upload_and_poll(vector_store_id, file, options)`: uploads a file, adds it, waits for it.
local function make_upload_and_poll(read)
  local where = "vector_stores.files:upload_and_poll"
  return function(self, store_id, file, given)
    method.check_self(where, self)
    local store, problem = read_store(read, where, store_id, given)
    if not store then error(problem, 2) end
    local params
    params, problem = read_upload(read, where, file)
    if not params then error(called(problem, "file"), 2) end
    local client, wanted = self.client, store.options or {}
    return follow(client, KINDS.files, store_id, wanted, function(wait)
      local uploaded, err = upload(client, params, wanted, wait)
      if not uploaded then return nil, err end
      return client:perform(operations["vector_stores.files.create"], {
        path = store.path, body = { file_id = uploaded.id }, options = call_options(wanted, wait),
      })
    end)
  end
end

local function read_uploads(read, where, files)
  if type(files) ~= "table" or files[1] == nil then return nil, where .. ": files must be a list of files" end
  local all = {}
  for index, file in ipairs(files) do
    local params, problem = read_upload(read, where, file)
    if not params then return nil, called(problem, "files[" .. index .. "]") end
    all[index] = params
  end
  return all
end

-- The uploads run at the same time; the first failure ends it.
local function upload_all(client, all, given, wait)
  local running, ids = {}, json.array({})
  for index, params in ipairs(all) do running[index] = client:task(upload, client, params, given, wait) end
  for index, task in ipairs(running) do
    local uploaded, err = task:wait()
    if not uploaded then
      for _, other in ipairs(running) do other:cancel() end
      return nil, err
    end
    ids[index] = uploaded.id
  end
  return ids
end

-- `upload_and_poll(vector_store_id, { files … }, options)`: uploads files, makes a batch of them, waits for it.
local function make_batch_upload_and_poll(read)
  local where = "vector_stores.file_batches:upload_and_poll"
  return function(self, store_id, files, given)
    method.check_self(where, self)
    local store, problem = read_store(read, where, store_id, given)
    if not store then error(problem, 2) end
    local all
    all, problem = read_uploads(read, where, files)
    if not all then error(problem, 2) end
    local client, wanted = self.client, store.options or {}
    return follow(client, KINDS.file_batches, store_id, wanted, function(wait)
      local ids, err = upload_all(client, all, wanted, wait)
      if not ids then return nil, err end
      return client:perform(operations["vector_stores.file_batches.create"], {
        path = store.path, body = { file_ids = ids }, options = call_options(wanted, wait),
      })
    end)
  end
end

--- Adds the methods to those of `vector_stores.files` and `vector_stores.file_batches`.
function vector_stores.extend(files, batches, read)
  files.create_and_poll = make_waiting(read, KINDS.files, "create_and_poll", ".create")
  files.poll = make_waiting(read, KINDS.files, "poll", ".retrieve")
  files.upload_and_poll = make_upload_and_poll(read)
  batches.create_and_poll = make_waiting(read, KINDS.file_batches, "create_and_poll", ".create")
  batches.poll = make_waiting(read, KINDS.file_batches, "poll", ".retrieve")
  batches.upload_and_poll = make_batch_upload_and_poll(read)
end

return vector_stores
