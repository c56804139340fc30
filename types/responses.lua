---@meta _
-- Responses, the API behind the model of that name. Parameters that aren't named here are passed through. Absent values
-- of results are `nexus.null`.

---@class nexus_assistants.Response
---@field id string
---@field object "response"
---@field created_at integer
---@field status "queued"|"in_progress"|"completed"|"failed"|"cancelled"|"incomplete"|string
---@field model string
---@field output table[] items: messages, calls, reasoning
---@field error any
---@field incomplete_details any
---@field usage any
---@field metadata table<string, string>

---@class nexus_assistants.ResponseParams
---@field model? string
---@field input? string|table[]
---@field instructions? string
---@field tools? table[]
---@field conversation? string|{ id: string }
---@field previous_response_id? string
---@field background? boolean
---@field store? boolean
---@field metadata? table<string, string>

---@class nexus_assistants.Include
---@field include? string[]

---@class nexus_assistants.IncludePage: nexus_assistants.Page
---@field include? string[]

---@class nexus_assistants.Responses
---@field input_items nexus_assistants.InputItems
local responses = {}

---@param params nexus_assistants.ResponseParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Response? response
---@return nexus_assistants.Error? err
function responses:create(params, options) end

---The same as a stream of events.
---@param params nexus_assistants.ResponseParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.EventStream? stream
---@return nexus_assistants.Error? err
function responses:stream(params, options) end

---@param response_id string
---@param query? nexus_assistants.Include
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Response? response
---@return nexus_assistants.Error? err
function responses:retrieve(response_id, query, options) end

---@param response_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Deleted? result
---@return nexus_assistants.Error? err
function responses:delete(response_id, options) end

---Cancels a response that was made with `background = true`.
---@param response_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Response? response
---@return nexus_assistants.Error? err
function responses:cancel(response_id, options) end

---@class nexus_assistants.InputItems
local input_items = {}

---@param response_id string
---@param query? nexus_assistants.IncludePage
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<table>? list
---@return nexus_assistants.Error? err
function input_items:list(response_id, query, options) end

---All items, page by page, for loops. A page that can't be had raises its error object.
---@param response_id string
---@param query? nexus_assistants.IncludePage
---@param options? nexus_assistants.CallOptions
---@return fun(): table?
function input_items:each(response_id, query, options) end
