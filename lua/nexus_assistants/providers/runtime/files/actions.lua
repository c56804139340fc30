--- What the operations on files, uploads and vector stores do: as in actions.lua.
local checks = require("nexus_assistants.providers.runtime.checks")
local failure = require("nexus_assistants.providers.runtime.failure")
local json = require("nexus_assistants.json")
local objects = require("nexus_assistants.providers.runtime.objects")
local parameters = require("nexus_assistants.providers.runtime.parameters")
local vector_stores = require("nexus_assistants.providers.runtime.files.vector_stores")

local actions = {}

-- Of lists of files, as the API's document has it.
local MANY = 10000

local function wire_of(record, err)
  if not record then return nil, err end
  return record.wire
end

-- A page of a collection; `what` is what its members are called.
local function page(collection, what, query, where, most)
  local options, err = parameters.page(query, most)
  if not options then return nil, err end
  options.where = where
  local items, more = collection:list(options)
  if not items then return failure.not_found(what, more) end
  return objects.page(items, more)
end

-- -------------------------------------------------------------------------------------------------------- files

actions["files.create"] = function(self, _, body)
  return wire_of(self.files:create(body))
end

actions["files.list"] = function(self, _, _, query)
  local purpose = checks.given(query.purpose)
  local where = purpose and function(record) return record.wire.purpose == purpose end
  return page(self.files.files, "file", query, where, MANY)
end

actions["files.retrieve"] = function(self, path)
  return wire_of(self.files:get(path.file_id))
end

actions["files.delete"] = function(self, path)
  local record, err = self.files:get(path.file_id)
  if not record then return nil, err end
  self.files:delete(record)
  return { id = record.id, object = "file", deleted = true }
end

actions["files.content"] = function(self, path)
  local record, err = self.files:get(path.file_id)
  if not record then return nil, err end
  return record.content
end

-- ------------------------------------------------------------------------------------------------------ uploads

actions["uploads.create"] = function(self, _, body)
  return wire_of(self.files:begin_upload(body))
end

actions["uploads.parts.create"] = function(self, path, body)
  return self.files:add_part(path.upload_id, body.data)
end

actions["uploads.complete"] = function(self, path, body)
  return wire_of(self.files:complete_upload(path.upload_id, body))
end

actions["uploads.cancel"] = function(self, path)
  return wire_of(self.files:cancel_upload(path.upload_id))
end

-- ------------------------------------------------------------------------------------------------ vector stores

actions["vector_stores.create"] = function(self, _, body)
  return wire_of(self.vector_stores:create(body))
end

actions["vector_stores.list"] = function(self, _, _, query)
  return page(self.vector_stores.stores, "vector store", query)
end

actions["vector_stores.retrieve"] = function(self, path)
  return wire_of(self.vector_stores:get(path.vector_store_id))
end

actions["vector_stores.update"] = function(self, path, body)
  return wire_of(self.vector_stores:update(path.vector_store_id, body))
end

actions["vector_stores.delete"] = function(self, path)
  local store, err = self.vector_stores:get(path.vector_store_id)
  if not store then return nil, err end
  self.vector_stores:delete(store)
  return { id = store.id, object = "vector_store.deleted", deleted = true }
end

-- Each file's attributes are compared with all of a filter, in one go.
local MAX_COMPARISONS = 256

local function comparisons_of(filter)
  if not filter.filters then return type(filter.value) == "table" and #filter.value or 1 end
  local total = 1
  for _, inner in ipairs(filter.filters) do total = total + comparisons_of(inner) end
  return total
end

local function check_filter_size(filter)
  local count = checks.given(filter) and comparisons_of(filter) or 0
  if count <= MAX_COMPARISONS then return true end
  return failure.bad_request(("Invalid 'filters': too many comparisons. Expected at most %d, but got %d."):format(
    MAX_COMPARISONS, count), "filters")
end

actions["vector_stores.search"] = function(self, path, body)
  local fits, problem = check_filter_size(body.filters)
  if not fits then return nil, problem end
  local ranking = checks.given(body.ranking_options) or {}
  local queries = type(body.query) == "table" and body.query or { body.query }
  local found, err = self.vector_stores:search({ path.vector_store_id }, queries, {
    filter = checks.given(body.filters), most = checks.given(body.max_num_results) or 10,
    threshold = checks.given(ranking.score_threshold) or 0,
  })
  if not found then return nil, err end
  return {
    object = "vector_store.search_results.page", search_query = body.query, data = found, has_more = false,
    next_page = json.null,
  }
end

-- -------------------------------------------------------------------------------------- files of vector stores

local check_status = checks.one_of({ "in_progress", "completed", "failed", "cancelled" })

-- A page of a store's files: those with the status that `filter` names, and of a batch where one is given.
local function page_of_files(store, query, batch)
  local fits, err = check_status(query.filter, "filter")
  if not fits then return nil, err end
  local status = checks.given(query.filter)
  return page(store.files, "file", query, function(file)
    return (not status or file.wire.status == status) and (not batch or file.batch == batch)
  end)
end

actions["vector_stores.files.create"] = function(self, path, body)
  local fits, err = vector_stores.check_chunking(body.chunking_strategy)
  if not fits then return nil, err end
  local added
  added, err = self.vector_stores:add(path.vector_store_id, { body })
  return wire_of(added and added[1], err)
end

actions["vector_stores.files.list"] = function(self, path, _, query)
  local store, err = self.vector_stores:get(path.vector_store_id)
  if not store then return nil, err end
  return page_of_files(store, query)
end

actions["vector_stores.files.retrieve"] = function(self, path)
  return wire_of(self.vector_stores:get_file(path.vector_store_id, path.file_id))
end

actions["vector_stores.files.update"] = function(self, path, body)
  return wire_of(self.vector_stores:update_file(path.vector_store_id, path.file_id, body))
end

actions["vector_stores.files.delete"] = function(self, path)
  local file, store = self.vector_stores:get_file(path.vector_store_id, path.file_id)
  if not file then return nil, store end
  self.vector_stores:remove_file(store, file)
  return { id = file.id, object = "vector_store.file.deleted", deleted = true }
end

actions["vector_stores.files.content"] = function(self, path)
  local file, err = self.vector_stores:get_file(path.vector_store_id, path.file_id)
  if not file then return nil, err end
  local data = json.array()
  if file.wire.status == "completed" then data[1] = { type = "text", text = file.source.content } end
  return { object = "vector_store.file_content.page", data = data, has_more = false, next_page = json.null }
end

-- ------------------------------------------------------------------------------------------------------ batches

-- What a batch is made of: `files`, each with settings of its own, or `file_ids` with settings for all.
local function entries_of(body)
  local own, ids = checks.given(body.files), checks.given(body.file_ids)
  if own and ids then
    return failure.bad_request("Only one of 'files' and 'file_ids' may be given.", "files")
  end
  if not own and not ids then return checks.missing("file_ids") end
  local entries = own or vector_stores.entries(ids, body)
  if #entries == 0 then
    return failure.bad_request("A batch must have at least one file.", own and "files" or "file_ids")
  end
  return entries
end

actions["vector_stores.file_batches.create"] = function(self, path, body)
  local entries, err = entries_of(body)
  if not entries then return nil, err end
  for _, entry in ipairs(entries) do
    local fits
    fits, err = vector_stores.check_chunking(entry.chunking_strategy)
    if not fits then return nil, err end
  end
  return wire_of(self.vector_stores:create_batch(path.vector_store_id, entries))
end

actions["vector_stores.file_batches.retrieve"] = function(self, path)
  return wire_of(self.vector_stores:get_batch(path.vector_store_id, path.batch_id))
end

actions["vector_stores.file_batches.cancel"] = function(self, path)
  return wire_of(self.vector_stores:cancel_batch(path.vector_store_id, path.batch_id))
end

actions["vector_stores.file_batches.list_files"] = function(self, path, _, query)
  local batch, store = self.vector_stores:get_batch(path.vector_store_id, path.batch_id)
  if not batch then return nil, store end
  return page_of_files(store, query, batch)
end

return actions
