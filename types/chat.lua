---@meta _
-- Chat completions, the API that most servers of models speak. Parameters that aren't named here are passed through.

---@class nexus_assistants.ChatCompletion
---@field id string
---@field object "chat.completion"
---@field created integer
---@field model string
---@field choices { index: integer, finish_reason: string, message: table }[]
---@field usage any

---@class nexus_assistants.ChatCompletionParams
---@field model? string
---@field messages table[]
---@field tools? table[]

---@class nexus_assistants.Chat
---@field completions nexus_assistants.ChatCompletions
local chat = {} -- luacheck: ignore

---@class nexus_assistants.ChatCompletions
local completions = {}

---@param params nexus_assistants.ChatCompletionParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.ChatCompletion? completion
---@return nexus_assistants.Error? err
function completions:create(params, options) end

---The same as a stream of chunks. Usage is told where `stream_options = { include_usage = true }` asks for it.
---@param params nexus_assistants.ChatCompletionParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.EventStream? stream
---@return nexus_assistants.Error? err
function completions:stream(params, options) end
