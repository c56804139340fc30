---@meta _
-- Tools: Lua functions that a run may call.

---@class nexus_assistants.ToolFields
---@field name string up to 64 letters, digits, `_` and `-`
---@field description? string
---@field parameters? table a JSON schema; the arguments of a call are checked against it
---@field strict? boolean sent with the definition
---@field timeout? number seconds a call may take (the run's `tool_timeout`, or 300)
---@field call fun(arguments: table): any, any a text as it is, anything else as JSON; nil and an error for failure

---@class nexus_assistants.Tool: nexus_assistants.ToolFields

---What a tool returns that will be answered later, by `run:submit`.
---@class nexus_assistants.Pending
