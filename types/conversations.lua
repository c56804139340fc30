---@meta _
-- Conversations: items that Responses goes on from. Absent values of results are `nexus.null`.

---@class nexus_assistants.Conversation
---@field id string
---@field object "conversation"
---@field created_at integer
---@field metadata table<string, string>

---@class nexus_assistants.ConversationParams
---@field items? table[] up to 20
---@field metadata? table<string, string>

---@class nexus_assistants.Conversations
---@field items nexus_assistants.ConversationItems
local conversations = {}

---@param params? nexus_assistants.ConversationParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Conversation? conversation
---@return nexus_assistants.Error? err
function conversations:create(params, options) end

---@param conversation_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Conversation? conversation
---@return nexus_assistants.Error? err
function conversations:retrieve(conversation_id, options) end

---@param conversation_id string
---@param params { metadata: table<string, string> }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Conversation? conversation
---@return nexus_assistants.Error? err
function conversations:update(conversation_id, params, options) end

---@param conversation_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Deleted? result
---@return nexus_assistants.Error? err
function conversations:delete(conversation_id, options) end

---@class nexus_assistants.ConversationItemsParams: nexus_assistants.Include
---@field items table[] up to 20

---@class nexus_assistants.ConversationItems
local items = {}

---@param conversation_id string
---@param params nexus_assistants.ConversationItemsParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<table>? list
---@return nexus_assistants.Error? err
function items:create(conversation_id, params, options) end

---@param conversation_id string
---@param query? nexus_assistants.IncludePage
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<table>? list
---@return nexus_assistants.Error? err
function items:list(conversation_id, query, options) end

---All items, page by page, for loops. A page that can't be had raises its error object.
---@param conversation_id string
---@param query? nexus_assistants.IncludePage
---@param options? nexus_assistants.CallOptions
---@return fun(): table?
function items:each(conversation_id, query, options) end

---@param conversation_id string
---@param item_id string
---@param query? nexus_assistants.Include
---@param options? nexus_assistants.CallOptions
---@return table? item
---@return nexus_assistants.Error? err
function items:retrieve(conversation_id, item_id, query, options) end

---Takes an item out; returns the conversation.
---@param conversation_id string
---@param item_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Conversation? conversation
---@return nexus_assistants.Error? err
function items:delete(conversation_id, item_id, options) end
