---@meta _
-- Assistants. Parameters that aren't named here are passed through. Absent values of results are `nexus.null`.

---A page of a list.
---@class nexus_assistants.List<T>: { data: T[], has_more: boolean, first_id: string, last_id: string }

---What becomes of something that is deleted.
---@class nexus_assistants.Deleted
---@field id string
---@field deleted boolean

---@class nexus_assistants.Page
---@field limit? integer 1 to 100, by default 20
---@field order? "asc"|"desc" by default newest first
---@field after? string the id of the last item of the page before
---@field before? string

---@class nexus_assistants.Assistant
---@field id string
---@field object "assistant"
---@field created_at integer
---@field name any
---@field description any
---@field model string
---@field instructions any
---@field tools table[]
---@field tool_resources any
---@field metadata table<string, string>
---@field temperature any
---@field top_p any
---@field response_format any

---@class nexus_assistants.AssistantUpdate
---@field model? string
---@field name? string
---@field description? string
---@field instructions? string
---@field tools? table[] described as the API has them; `nexus.tool` is for runs
---@field tool_resources? table
---@field metadata? table<string, string>
---@field temperature? number
---@field top_p? number
---@field response_format? any
---@field reasoning_effort? string

---@class nexus_assistants.AssistantParams: nexus_assistants.AssistantUpdate
---@field model string

---@class nexus_assistants.Assistants
local assistants = {}

---@param params nexus_assistants.AssistantParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Assistant? assistant
---@return nexus_assistants.Error? err
function assistants:create(params, options) end

---@param query? nexus_assistants.Page
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.Assistant>? list
---@return nexus_assistants.Error? err
function assistants:list(query, options) end

---All assistants, page by page, for loops. A page that can't be had raises its error object.
---@param query? nexus_assistants.Page
---@param options? nexus_assistants.CallOptions
---@return fun(): nexus_assistants.Assistant?
function assistants:each(query, options) end

---@param assistant_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Assistant? assistant
---@return nexus_assistants.Error? err
function assistants:retrieve(assistant_id, options) end

---@param assistant_id string
---@param params nexus_assistants.AssistantUpdate
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Assistant? assistant
---@return nexus_assistants.Error? err
function assistants:update(assistant_id, params, options) end

---@param assistant_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Deleted? result
---@return nexus_assistants.Error? err
function assistants:delete(assistant_id, options) end
