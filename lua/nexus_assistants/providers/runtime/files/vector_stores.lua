--- Vector stores in memory: their files, batches of them, what is counted, and searching.
local checks = require("nexus_assistants.providers.runtime.checks")
local collection = require("nexus_assistants.providers.runtime.files.collection")
local core = require("nexus_assistants.core")
local failure = require("nexus_assistants.providers.runtime.failure")
local json = require("nexus_assistants.json")
local search = require("nexus_assistants.providers.runtime.files.search")
local weight = require("nexus_assistants.providers.runtime.weight")

local vector_stores = {}
local vector_stores_methods = {}
local vector_stores_mt = { __index = vector_stores_methods }

local MEBIBYTE = 1024 * 1024
-- A search goes through all text of a store, so that has a limit. A file's is the API's: five million tokens.
local MAX_FILE_TEXT, MAX_STORE_TEXT = 20 * 1000 * 1000, 32 * MEBIBYTE
local MAX_FILES, MAX_BATCHES = 10000, 10000
-- What the API says a chunk takes beside its text: 256 numbers of 4 bytes.
local EMBEDDING = 1024
local DAY = 24 * 3600
-- More than a record of a file or a batch weighs beside what the request says.
local RECORD = 2048

--- `settings`: `files` (of files.lua), `clock`, `new_id`, `after(seconds, fire)` → timer, `cancel(timer)`, `delay`
-- (seconds until a file can be searched).
function vector_stores.new(settings)
  local budget = settings.files.budget
  local self = setmetatable({
    settings = settings, files = settings.files, budget = budget, stores = collection.new(budget),
    batches = collection.new(budget),
  }, vector_stores_mt)
  settings.files.on_delete = function(id) self:forget_file(id) end
  return self
end

local function now_of(self)
  return math.floor(self.settings.clock())
end

local function new_counts()
  return { in_progress = 0, completed = 0, failed = 0, cancelled = 0, total = 0 }
end

-- ---------------------------------------------------------------------------------------------------- lifetimes

local watch

local function expire(self, store)
  store.timer = nil
  if not self.stores:get(store.id) then return end
  if now_of(self) < store.wire.expires_at then return watch(self, store) end
  store.wire.status = "expired"
end

-- One timer a store: where it was used meanwhile, it is set again.
function watch(self, store)
  if store.timer then self.settings.cancel(store.timer) end
  store.timer = nil
  local expires_at = checks.given(store.wire.expires_at)
  if not expires_at then return end
  store.timer = self.settings.after(math.max(1, expires_at - self.settings.clock()), function() expire(self, store) end)
end

local function set_lifetime(store)
  local policy = checks.given(store.wire.expires_after)
  store.wire.expires_at = policy and store.wire.last_active_at + policy.days * DAY or json.null
end

local function touch(self, store)
  store.wire.last_active_at = now_of(self)
  set_lifetime(store)
end

-- ------------------------------------------------------------------------------------------------------- stores

--- The store with this id, with `wire` and `files`; or nil and an error.
function vector_stores_methods:get(id)
  local store = self.stores:get(id)
  if store then return store end
  return failure.not_found("vector store", id)
end

-- The same where it hasn't expired.
local function usable(self, id)
  local store, err = self:get(id)
  if not store then return nil, err end
  if store.wire.status ~= "expired" then return store end
  return failure.bad_request("Vector store " .. id .. " is expired.")
end

--- A check of its own, since the one number limits the other.
function vector_stores.check_chunking(given)
  local static = checks.given(given) and given.type == "static" and given.static
  if not static or static.chunk_overlap_tokens * 2 <= static.max_chunk_size_tokens then return true end
  return failure.bad_request("Invalid 'chunking_strategy': chunk_overlap_tokens must not exceed half of "
    .. "max_chunk_size_tokens.", "chunking_strategy", "invalid_value")
end

local function store_of(self, body)
  local now = now_of(self)
  local wire = {
    id = self.settings.new_id("vs_"), object = "vector_store", created_at = now,
    name = checks.given(body.name) or json.null, description = checks.given(body.description) or json.null,
    usage_bytes = 0, file_counts = new_counts(), status = "completed",
    expires_after = checks.given(body.expires_after) or json.null, expires_at = json.null, last_active_at = now,
    metadata = checks.given(body.metadata) or {},
  }
  return { id = wire.id, wire = wire, text_bytes = 0, files = collection.new(self.budget) }
end

--- Makes a store, of the body of `vector_stores.create`.
function vector_stores_methods:create(body)
  local fits, err = vector_stores.check_chunking(body.chunking_strategy)
  if fits then fits, err = self.files:room_for(weight(body) + RECORD) end
  if not fits then return nil, err end
  local store = self.stores:insert(store_of(self, body))
  set_lifetime(store)
  watch(self, store)
  local ids = checks.given(body.file_ids) or {}
  local added
  added, err = self:add(store.id, vector_stores.entries(ids, body))
  if added then return store end
  self:delete(store)
  return nil, err
end

--- Makes the store that `tool_resources` describe where they could name one, as a helper of the API's has it: its id
-- takes the description's place. True, or nil and an error.
function vector_stores_methods:make_described(resources)
  local given = checks.given(checks.given(resources) and resources.file_search)
  local described = given and checks.given(given.vector_stores)
  if not described then return true end
  if checks.given(given.vector_store_ids) then
    return failure.bad_request("Only one of 'vector_store_ids' and 'vector_stores' may be given.",
      "tool_resources.file_search")
  end
  local ids = json.array()
  for index, body in ipairs(described) do
    local store, err = self:create(body)
    if not store then return nil, err end
    ids[index] = store.id
  end
  given.vector_stores, given.vector_store_ids = nil, ids
  return true
end

-- Here null is more than nothing: it takes away what there was.
local function change(wire, body, name)
  if body[name] ~= nil then wire[name] = body[name] end
end

--- Changes a store by the body of `vector_stores.update`.
function vector_stores_methods:update(id, body)
  local store, err = self:get(id)
  if not store then return nil, err end
  local free
  free, err = self.files:room_for(weight(body))
  if not free then return nil, err end
  change(store.wire, body, "name")
  change(store.wire, body, "expires_after")
  store.wire.metadata = checks.given(body.metadata) or store.wire.metadata
  set_lifetime(store)
  watch(self, store)
  self.stores:save(store)
  return store
end

--- Deletes a store with its batches; the files themselves stay.
function vector_stores_methods:delete(store)
  if store.timer then self.settings.cancel(store.timer) end
  for _, file in ipairs(store.files:all()) do store.files:remove(file) end
  for _, batch in ipairs(self.batches:all()) do
    if batch.wire.vector_store_id == store.id then self.batches:remove(batch) end
  end
  self.stores:remove(store)
end

-- ----------------------------------------------------------------------------------------------------- counting

local function count(counts, status, by)
  counts[status], counts.total = counts[status] + by, counts.total + by
end

local function settle_store(store)
  if store.wire.status == "expired" then return end
  store.wire.status = store.wire.file_counts.in_progress > 0 and "in_progress" or "completed"
end

local function settle_batch(batch)
  if batch and batch.wire.status == "in_progress" and batch.wire.file_counts.in_progress == 0 then
    batch.wire.status = "completed"
  end
end

local function move_to(store, file, status)
  local before = file.wire.status
  file.wire.status = status
  for _, owner in ipairs({ store, file.batch }) do
    count(owner.wire.file_counts, before, -1)
    count(owner.wire.file_counts, status, 1)
  end
  settle_store(store)
  settle_batch(file.batch)
end

-- ------------------------------------------------------------------------------------------------ files of stores

local DEFAULT_CHUNKS = { max_chunk_size_tokens = 800, chunk_overlap_tokens = 400 }

local function chunking_of(given)
  given = checks.given(given)
  return { type = "static", static = given and given.type == "static" and given.static or DEFAULT_CHUNKS }
end

--- What is to be added: entries of `file_ids`, each with the chunking and the attributes that `body` has for all.
function vector_stores.entries(file_ids, body)
  local entries = {}
  for index, id in ipairs(file_ids) do
    entries[index] = { file_id = id, chunking_strategy = body.chunking_strategy, attributes = body.attributes }
  end
  return entries
end

local function text_problem(store, content)
  if content == "" then return "invalid_file", "The file is empty." end
  if content:find("\0", 1, true) or not core.utf8_valid(content) then
    return "unsupported_file", "The file type is not supported: this server reads text in UTF-8."
  end
  if #content > MAX_FILE_TEXT then return "invalid_file", "The file is too large to be searched." end
  if store.text_bytes + #content > MAX_STORE_TEXT then
    return "server_error", "The vector store holds as much text as this server searches."
  end
end

local function chunks_of(file)
  local sizes = file.wire.chunking_strategy.static
  return search.chunks(file.source.content, sizes.max_chunk_size_tokens, sizes.chunk_overlap_tokens)
end

local function process(self, store, file)
  -- deleted, cancelled or added anew meanwhile
  if store.files:get(file.id) ~= file or file.wire.status ~= "in_progress" then return end
  local content = file.source.content
  local code, problem = text_problem(store, content)
  if code then
    file.wire.last_error = { code = code, message = problem }
  else
    file.wire.usage_bytes = #content + #chunks_of(file) * EMBEDDING
    store.wire.usage_bytes = store.wire.usage_bytes + file.wire.usage_bytes
    store.text_bytes = store.text_bytes + #content
  end
  move_to(store, file, code and "failed" or "completed")
  store.files:save(file)
  self.stores:save(store)
end

-- Takes a file out. A batch it is still in progress for counts it as cancelled, so that it can end.
local function take_out(store, file)
  if file.wire.status == "in_progress" then move_to(store, file, "cancelled") end
  if file.wire.status == "completed" then store.text_bytes = store.text_bytes - #file.source.content end
  count(store.wire.file_counts, file.wire.status, -1)
  store.wire.usage_bytes = store.wire.usage_bytes - file.wire.usage_bytes
  settle_store(store)
  store.files:remove(file)
end

local function add_file(self, store, entry, source, batch)
  local earlier = store.files:get(source.id)
  if earlier then take_out(store, earlier) end
  local wire = {
    id = source.id, object = "vector_store.file", usage_bytes = 0, created_at = now_of(self),
    vector_store_id = store.id, status = "in_progress", last_error = json.null,
    chunking_strategy = chunking_of(entry.chunking_strategy), attributes = checks.given(entry.attributes) or {},
  }
  local file = store.files:insert({ id = wire.id, wire = wire, source = source, batch = batch })
  count(store.wire.file_counts, "in_progress", 1)
  if batch then count(batch.wire.file_counts, "in_progress", 1) end
  self.settings.after(self.settings.delay, function() process(self, store, file) end)
  return file
end

-- The files that entries name, each once; or nil and an error.
local function sources_of(self, entries)
  local sources, known, unique = {}, {}, {}
  for _, entry in ipairs(entries) do
    local source, err = self.files:get(entry.file_id)
    if not source then return nil, err end
    if not known[source.id] then
      known[source.id], sources[#sources + 1], unique[#unique + 1] = true, source, entry
    end
  end
  return sources, unique
end

local function check_room(self, store, entries)
  if store.files.count + #entries > MAX_FILES then
    return failure.bad_request(("A vector store of this server holds up to %d files."):format(MAX_FILES))
  end
  return self.files:room_for(weight(entries) + #entries * RECORD)
end

--- Adds files to a store: all that the entries name, or none. `batch` is the batch they are part of, or nil.
-- Returns an array of records, or nil and an error.
function vector_stores_methods:add(store_id, entries, batch)
  local store, err = usable(self, store_id)
  if not store then return nil, err end
  local sources, unique = sources_of(self, entries)
  if not sources then return nil, unique end
  local free
  free, err = check_room(self, store, unique)
  if not free then return nil, err end
  local added = {}
  for index, source in ipairs(sources) do added[index] = add_file(self, store, unique[index], source, batch) end
  if #added > 0 then touch(self, store) end
  settle_store(store)
  return added
end

--- A store's file; or nil and an error.
function vector_stores_methods:get_file(store_id, file_id)
  local store, err = self:get(store_id)
  if not store then return nil, err end
  local file = store.files:get(file_id)
  if file then return file, store end
  return failure.not_found("file", file_id)
end

--- Takes a file out of a store.
function vector_stores_methods:remove_file(store, file)
  take_out(store, file)
  self.stores:save(store)
end

--- Takes a file that is deleted out of all stores.
function vector_stores_methods:forget_file(id)
  for _, store in ipairs(self.stores:all()) do
    local file = store.files:get(id)
    if file then self:remove_file(store, file) end
  end
end

--- Changes the attributes of a store's file.
function vector_stores_methods:update_file(store_id, file_id, body)
  local file, store = self:get_file(store_id, file_id)
  if not file then return nil, store end
  local free, err = self.files:room_for(weight(body))
  if not free then return nil, err end
  file.wire.attributes = checks.given(body.attributes) or {}
  store.files:save(file)
  return file
end

-- ------------------------------------------------------------------------------------------------------ batches

local function make_room_for_batch(self)
  if self.batches.count < MAX_BATCHES then return end
  self.batches:remove(self.batches:all()[1])
end

--- Adds files as a batch. Returns its record, or nil and an error.
function vector_stores_methods:create_batch(store_id, entries)
  local wire = {
    id = self.settings.new_id("vsfb_"), object = "vector_store.file_batch", created_at = now_of(self),
    status = "in_progress", vector_store_id = store_id, file_counts = new_counts(),
  }
  local batch = { id = wire.id, wire = wire }
  local added, err = self:add(store_id, entries, batch)
  if not added then return nil, err end
  make_room_for_batch(self)
  return self.batches:insert(batch)
end

--- A batch of a store; or nil and an error.
function vector_stores_methods:get_batch(store_id, batch_id)
  local store, err = self:get(store_id)
  if not store then return nil, err end
  local batch = self.batches:get(batch_id)
  if batch and batch.wire.vector_store_id == store_id then return batch, store end
  return failure.not_found("file batch", batch_id)
end

--- Cancels what of a batch isn't done yet.
function vector_stores_methods:cancel_batch(store_id, batch_id)
  local batch, store = self:get_batch(store_id, batch_id)
  if not batch then return nil, store end
  if batch.wire.status ~= "in_progress" then return batch end
  batch.wire.status = "cancelled"
  for _, file in ipairs(store.files:all()) do
    if file.batch == batch and file.wire.status == "in_progress" then move_to(store, file, "cancelled") end
  end
  return batch
end

-- ------------------------------------------------------------------------------------------------------- search

local function documents_of(store, filter)
  local documents = {}
  for _, file in ipairs(store.files:all()) do
    if file.wire.status == "completed" and (not filter or search.passes(filter, file.wire.attributes)) then
      local starts, stops = chunks_of(file)
      documents[#documents + 1] = { text = file.source.content, starts = starts, stops = stops, file = file }
    end
  end
  return documents
end

local function result_of(hit)
  local document, index = hit.document, hit.index
  local file = document.file
  return {
    file_id = file.id, filename = file.source.wire.filename, score = hit.score, attributes = file.wire.attributes,
    content = json.array({
      { type = "text", text = document.text:sub(document.starts[index], document.stops[index]) },
    }),
  }
end

local function best(documents, queries, most, threshold)
  local results = json.array()
  for _, hit in ipairs(search.rank(documents, search.words(queries))) do
    if #results == most or hit.score < threshold then break end
    results[#results + 1] = result_of(hit)
  end
  return results
end

--- The chunks of stores' files that fit queries best: an array of the API's search results, at most `options.most`,
-- none with a score below `options.threshold`; or nil and an error. Stores that aren't there or have expired are
-- passed over where `options.lenient`.
function vector_stores_methods:search(store_ids, queries, options)
  local documents = {}
  for _, id in ipairs(store_ids) do
    local store, err = usable(self, id)
    if not store and not options.lenient then return nil, err end
    if store then
      touch(self, store)
      for _, document in ipairs(documents_of(store, options.filter)) do documents[#documents + 1] = document end
    end
  end
  return best(documents, queries, options.most, options.threshold)
end

return vector_stores
