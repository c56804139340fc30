---@meta _
-- Vector stores, their files, and batches of them. Parameters that aren't named here are passed through. Absent values
-- of results are `nexus.null`.

---@class nexus_assistants.FileCounts
---@field in_progress integer
---@field completed integer
---@field failed integer
---@field cancelled integer
---@field total integer

---@class nexus_assistants.VectorStore
---@field id string
---@field object "vector_store"
---@field created_at integer
---@field name any
---@field usage_bytes integer
---@field file_counts nexus_assistants.FileCounts
---@field status "in_progress"|"completed"|"expired"|string
---@field expires_after any
---@field expires_at any
---@field last_active_at any
---@field metadata table<string, string>

---@class nexus_assistants.VectorStoreUpdate
---@field name? string
---@field expires_after? { anchor: string, days: integer }
---@field metadata? table<string, string>

---@class nexus_assistants.VectorStoreParams: nexus_assistants.VectorStoreUpdate
---@field file_ids? string[]
---@field description? string
---@field chunking_strategy? table

---@class nexus_assistants.SearchParams
---@field query string|string[]
---@field max_num_results? integer
---@field rewrite_query? boolean
---@field filters? table
---@field ranking_options? table

---@class nexus_assistants.SearchResult
---@field file_id string
---@field filename string
---@field score number
---@field attributes any
---@field content { type: string, text: string }[]

---@class nexus_assistants.SearchResults
---@field data nexus_assistants.SearchResult[]
---@field search_query any
---@field has_more boolean
---@field next_page any

---@class nexus_assistants.VectorStores
---@field files nexus_assistants.VectorStoreFiles
---@field file_batches nexus_assistants.FileBatches
local vector_stores = {}

---@param params? nexus_assistants.VectorStoreParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.VectorStore? store
---@return nexus_assistants.Error? err
function vector_stores:create(params, options) end

---@param query? nexus_assistants.Page
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.VectorStore>? list
---@return nexus_assistants.Error? err
function vector_stores:list(query, options) end

---All vector stores, page by page, for loops. A page that can't be had raises its error object.
---@param query? nexus_assistants.Page
---@param options? nexus_assistants.CallOptions
---@return fun(): nexus_assistants.VectorStore?
function vector_stores:each(query, options) end

---@param vector_store_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.VectorStore? store
---@return nexus_assistants.Error? err
function vector_stores:retrieve(vector_store_id, options) end

---@param vector_store_id string
---@param params nexus_assistants.VectorStoreUpdate
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.VectorStore? store
---@return nexus_assistants.Error? err
function vector_stores:update(vector_store_id, params, options) end

---@param vector_store_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Deleted? result
---@return nexus_assistants.Error? err
function vector_stores:delete(vector_store_id, options) end

---@param vector_store_id string
---@param params nexus_assistants.SearchParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.SearchResults? results
---@return nexus_assistants.Error? err
function vector_stores:search(vector_store_id, params, options) end

---@class nexus_assistants.VectorStoreFile
---@field id string
---@field object "vector_store.file"
---@field created_at integer
---@field vector_store_id string
---@field status "in_progress"|"completed"|"cancelled"|"failed"|string
---@field usage_bytes integer
---@field last_error any
---@field chunking_strategy any
---@field attributes any

---@class nexus_assistants.VectorStoreFileParams
---@field file_id string
---@field attributes? table<string, any>
---@field chunking_strategy? table

---@class nexus_assistants.VectorStoreFileQuery: nexus_assistants.Page
---@field filter? "in_progress"|"completed"|"failed"|"cancelled"

---@class nexus_assistants.VectorStoreFiles
local vector_store_files = {}

---@param vector_store_id string
---@param params nexus_assistants.VectorStoreFileParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.VectorStoreFile? file
---@return nexus_assistants.Error? err
function vector_store_files:create(vector_store_id, params, options) end

---Adds a file and waits until it can be searched; nil and an error of kind "file" where it can't.
---@param vector_store_id string
---@param params nexus_assistants.VectorStoreFileParams
---@param options? nexus_assistants.WaitOptions
---@return nexus_assistants.VectorStoreFile? file
---@return nexus_assistants.Error? err
function vector_store_files:create_and_poll(vector_store_id, params, options) end

---Waits until a file that was added can be searched.
---@param vector_store_id string
---@param file_id string
---@param options? nexus_assistants.WaitOptions
---@return nexus_assistants.VectorStoreFile? file
---@return nexus_assistants.Error? err
function vector_store_files:poll(vector_store_id, file_id, options) end

---Uploads a file, adds it, and waits until it can be searched.
---@param vector_store_id string
---@param file nexus_assistants.FileSource
---@param options? nexus_assistants.WaitOptions
---@return nexus_assistants.VectorStoreFile? file
---@return nexus_assistants.Error? err
function vector_store_files:upload_and_poll(vector_store_id, file, options) end

---@param vector_store_id string
---@param query? nexus_assistants.VectorStoreFileQuery
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.VectorStoreFile>? list
---@return nexus_assistants.Error? err
function vector_store_files:list(vector_store_id, query, options) end

---All files, page by page, for loops. A page that can't be had raises its error object.
---@param vector_store_id string
---@param query? nexus_assistants.VectorStoreFileQuery
---@param options? nexus_assistants.CallOptions
---@return fun(): nexus_assistants.VectorStoreFile?
function vector_store_files:each(vector_store_id, query, options) end

---@param vector_store_id string
---@param file_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.VectorStoreFile? file
---@return nexus_assistants.Error? err
function vector_store_files:retrieve(vector_store_id, file_id, options) end

---@param vector_store_id string
---@param file_id string
---@param params { attributes: table<string, any> }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.VectorStoreFile? file
---@return nexus_assistants.Error? err
function vector_store_files:update(vector_store_id, file_id, params, options) end

---Takes a file out of the store; the file itself stays.
---@param vector_store_id string
---@param file_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Deleted? result
---@return nexus_assistants.Error? err
function vector_store_files:delete(vector_store_id, file_id, options) end

---The texts that were made of a file.
---@param vector_store_id string
---@param file_id string
---@param options? nexus_assistants.CallOptions
---@return { data: { type: string, text: string }[], has_more: boolean, next_page: any }? content
---@return nexus_assistants.Error? err
function vector_store_files:content(vector_store_id, file_id, options) end

---@class nexus_assistants.FileBatch
---@field id string
---@field object "vector_store.files_batch"
---@field created_at integer
---@field vector_store_id string
---@field status "in_progress"|"completed"|"cancelled"|"failed"|string
---@field file_counts nexus_assistants.FileCounts

---@class nexus_assistants.FileBatchParams
---@field file_ids? string[]
---@field files? nexus_assistants.VectorStoreFileParams[]
---@field attributes? table<string, any>
---@field chunking_strategy? table

---@class nexus_assistants.FileBatches
local file_batches = {}

---@param vector_store_id string
---@param params nexus_assistants.FileBatchParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.FileBatch? batch
---@return nexus_assistants.Error? err
function file_batches:create(vector_store_id, params, options) end

---Makes a batch and waits for its end. A batch may complete with files that failed: look at `file_counts`.
---@param vector_store_id string
---@param params nexus_assistants.FileBatchParams
---@param options? nexus_assistants.WaitOptions
---@return nexus_assistants.FileBatch? batch
---@return nexus_assistants.Error? err
function file_batches:create_and_poll(vector_store_id, params, options) end

---Waits for the end of a batch that is there.
---@param vector_store_id string
---@param batch_id string
---@param options? nexus_assistants.WaitOptions
---@return nexus_assistants.FileBatch? batch
---@return nexus_assistants.Error? err
function file_batches:poll(vector_store_id, batch_id, options) end

---Uploads files at the same time, makes a batch of them, and waits for its end.
---@param vector_store_id string
---@param files nexus_assistants.FileSource[]
---@param options? nexus_assistants.WaitOptions
---@return nexus_assistants.FileBatch? batch
---@return nexus_assistants.Error? err
function file_batches:upload_and_poll(vector_store_id, files, options) end

---@param vector_store_id string
---@param batch_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.FileBatch? batch
---@return nexus_assistants.Error? err
function file_batches:retrieve(vector_store_id, batch_id, options) end

---@param vector_store_id string
---@param batch_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.FileBatch? batch
---@return nexus_assistants.Error? err
function file_batches:cancel(vector_store_id, batch_id, options) end

---@param vector_store_id string
---@param batch_id string
---@param query? nexus_assistants.VectorStoreFileQuery
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.VectorStoreFile>? list
---@return nexus_assistants.Error? err
function file_batches:list_files(vector_store_id, batch_id, query, options) end

---All files of a batch, page by page, for loops. A page that can't be had raises its error object.
---@param vector_store_id string
---@param batch_id string
---@param query? nexus_assistants.VectorStoreFileQuery
---@param options? nexus_assistants.CallOptions
---@return fun(): nexus_assistants.VectorStoreFile?
function file_batches:each_file(vector_store_id, batch_id, query, options) end
