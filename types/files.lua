---@meta _
-- Files and uploads in parts. Parameters that aren't named here are passed through.

---A file that goes up: one of path, data and read.
---@class nexus_assistants.FileSource
---@field path? string a file on disk, which is never in memory as a whole
---@field data? string its bytes
---@field read? fun(): string?, any the next bytes; nil at the end; nil and a message break it off
---@field size? integer bytes that `read` gives together, where that is known
---@field name? string what it is called; needed with data and read, by default the path's last part
---@field content_type? string

---@class nexus_assistants.FileParams
---@field file nexus_assistants.FileSource
---@field purpose string e.g. "assistants"
---@field expires_after? { anchor: string, seconds: integer }

---@class nexus_assistants.File
---@field id string
---@field object "file"
---@field bytes integer
---@field created_at integer
---@field filename string
---@field purpose string
---@field status string
---@field expires_at any

---@class nexus_assistants.FileQuery: nexus_assistants.Page
---@field purpose? string

---@class nexus_assistants.Files
local files = {}

---Uploads a file.
---@param params nexus_assistants.FileParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.File? file
---@return nexus_assistants.Error? err
function files:create(params, options) end

---@param query? nexus_assistants.FileQuery
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.File>? list
---@return nexus_assistants.Error? err
function files:list(query, options) end

---All files, page by page, for loops. A page that can't be had raises its error object.
---@param query? nexus_assistants.FileQuery
---@param options? nexus_assistants.CallOptions
---@return fun(): nexus_assistants.File?
function files:each(query, options) end

---@param file_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.File? file
---@return nexus_assistants.Error? err
function files:retrieve(file_id, options) end

---@param file_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Deleted? result
---@return nexus_assistants.Error? err
function files:delete(file_id, options) end

---What is in a file: its bytes; with `options.path` or `options.sink` they go there, and the result is how many.
---@param file_id string
---@param options? nexus_assistants.ContentOptions
---@return (string|integer)? content
---@return nexus_assistants.Error? err
function files:content(file_id, options) end

---@class nexus_assistants.UploadParams
---@field filename string
---@field purpose string
---@field bytes integer of all parts together
---@field mime_type string
---@field expires_after? { anchor: string, seconds: integer }

---@class nexus_assistants.Upload
---@field id string
---@field object "upload"
---@field bytes integer
---@field created_at integer
---@field expires_at integer
---@field filename string
---@field purpose string
---@field status "pending"|"completed"|"cancelled"|"expired"|string
---@field file any the file, once it is completed

---@class nexus_assistants.Uploads
---@field parts nexus_assistants.UploadParts
local uploads = {}

---@param params nexus_assistants.UploadParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Upload? upload
---@return nexus_assistants.Error? err
function uploads:create(params, options) end

---@param upload_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Upload? upload
---@return nexus_assistants.Error? err
function uploads:cancel(upload_id, options) end

---@param upload_id string
---@param params { part_ids: string[], md5?: string }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Upload? upload
---@return nexus_assistants.Error? err
function uploads:complete(upload_id, params, options) end

---@class nexus_assistants.UploadPart
---@field id string
---@field object "upload.part"
---@field created_at integer
---@field upload_id string

---@class nexus_assistants.UploadParts
local parts = {}

---@param upload_id string
---@param params { data: nexus_assistants.FileSource }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.UploadPart? part
---@return nexus_assistants.Error? err
function parts:create(upload_id, params, options) end
