---@meta _
-- Runs that are streamed, and streams as an API sends them.

---One event of a stream.
---@class nexus_assistants.Event
---@field type string e.g. "thread.message.delta"
---@field data table the event's object
---@field text? string what a message grew by

---@class nexus_assistants.Stream
local stream = {}

---The next event. Nil at the end; nil and an error where the run failed, or the stream.
---@return nexus_assistants.Event? event
---@return nexus_assistants.Error? err
function stream:next() end

---For loops: `for event in stream:events() do`. Events are read once. A failure raises its error object. In Lua 5.4,
---leaving the loop early closes the stream; elsewhere call `stream:close()`.
---@return fun(): nexus_assistants.Event?
function stream:events() end

---For loops over the texts alone, piece by piece: `for text in stream:texts() do`. Otherwise as `events`.
---@return fun(): string?
function stream:texts() end

---Reads to the end. Returns the run where it completed, or asks for what is the script's to give.
---@return nexus_assistants.FinishedRun? run
---@return nexus_assistants.Error? err
function stream:result() end

---The run as it is so far.
---@return nexus_assistants.Run?
function stream:run() end

---The messages so far, put together.
---@return nexus_assistants.Message[]
function stream:messages() end

---The steps so far, put together.
---@return nexus_assistants.Step[]
function stream:steps() end

---Stops reading. A run that is under way is cancelled, and its end is waited for, for a few seconds; with the option
---`on_leave = "continue"` it goes on. Returns true, or nil and an error where the run may go on.
---@return true? closed
---@return nexus_assistants.Error? err
function stream:close() end

---A stream of events as the API sends them.
---@class nexus_assistants.EventStream
local event_stream = {}

---The next event: its name, e.g. "response.output_text.delta", and its object. Nil at the end; nil and an error where
---the stream broke off, or the API reported an error.
---@return string? name
---@return table|nexus_assistants.Error|nil event
function event_stream:next() end

---For loops: `for name, event in stream:each() do`. A failure raises its error object. In Lua 5.4, leaving the loop
---early closes the stream; elsewhere call `stream:close()`.
---@return fun(): string?, table?
function event_stream:each() end

---Stops reading.
function event_stream:close() end
