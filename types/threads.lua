---@meta _
-- Threads and their messages. Parameters that aren't named here are passed through. Absent values of results are
-- `nexus.null`.

---@class nexus_assistants.Thread
---@field id string
---@field object "thread"
---@field created_at integer
---@field metadata table<string, string>
---@field tool_resources any

---@class nexus_assistants.ThreadParams
---@field messages? nexus_assistants.MessageParams[]
---@field metadata? table<string, string>
---@field tool_resources? table

---@class nexus_assistants.MessageParams
---@field role "user"|"assistant"
---@field content string|table[]
---@field attachments? table[]
---@field metadata? table<string, string>

---@class nexus_assistants.Message
---@field id string
---@field object "thread.message"
---@field created_at integer
---@field thread_id string
---@field role "user"|"assistant"
---@field content { type: string, text?: { value: string, annotations: table[] } }[]
---@field attachments any
---@field assistant_id any
---@field run_id any
---@field metadata table<string, string>

---@class nexus_assistants.MessageQuery: nexus_assistants.Page
---@field run_id? string only messages of this run

---A thread this client made.
---@class nexus_assistants.LedgerEntry
---@field id string
---@field created_at number Unix seconds
---@field used_at number Unix seconds
---@field uses integer operations on it since

---@class nexus_assistants.SweepResult
---@field deleted string[] the ids of threads that are gone
---@field failed { id: string, error: nexus_assistants.Error }[]

---@class nexus_assistants.Threads
---@field messages nexus_assistants.Messages
---@field runs nexus_assistants.Runs
local threads = {}

---@param params? nexus_assistants.ThreadParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Thread? thread
---@return nexus_assistants.Error? err
function threads:create(params, options) end

---@param thread_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Thread? thread
---@return nexus_assistants.Error? err
function threads:retrieve(thread_id, options) end

---@param thread_id string
---@param params { metadata?: table<string, string>, tool_resources?: table }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Thread? thread
---@return nexus_assistants.Error? err
function threads:update(thread_id, params, options) end

---@param thread_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Deleted? result
---@return nexus_assistants.Error? err
function threads:delete(thread_id, options) end

---Creates a thread and a run on it.
---@param params? nexus_assistants.ThreadAndRunParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run? run
---@return nexus_assistants.Error? err
function threads:create_and_run(params, options) end

---The same, and waits for the run's end, as `runs:create_and_poll` does.
---@param params? nexus_assistants.ThreadAndRunParams
---@param options? nexus_assistants.RunOptions
---@return nexus_assistants.FinishedRun? run
---@return nexus_assistants.Error? err
function threads:create_and_run_poll(params, options) end

---The same, and streams the run, as `runs:stream` does.
---@param params? nexus_assistants.ThreadAndRunParams
---@param options? nexus_assistants.StreamOptions
---@return nexus_assistants.Stream? stream
---@return nexus_assistants.Error? err
function threads:create_and_run_stream(params, options) end

---Cancels runs of a thread that are still active, whoever started them, and waits for their end. Returns them as an
---array, which may be empty.
---@param thread_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run[]? runs
---@return nexus_assistants.Error? err
function threads:recover(thread_id, options) end

---The threads this client made and did not delete, the one not used for longest first.
---@return nexus_assistants.LedgerEntry[] threads
function threads:ledger() end

---Deletes threads of the ledger that were not used for `older_than` seconds, by default all.
---@param options? nexus_assistants.SweepOptions
---@return nexus_assistants.SweepResult result
function threads:sweep(options) end

---@class nexus_assistants.Messages
local messages = {}

---Adds a message. Waits for its turn where a run of the thread is active.
---@param thread_id string
---@param params nexus_assistants.MessageParams
---@param options? nexus_assistants.LanedOptions
---@return nexus_assistants.Message? message
---@return nexus_assistants.Error? err
function messages:create(thread_id, params, options) end

---@param thread_id string
---@param query? nexus_assistants.MessageQuery
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.Message>? list
---@return nexus_assistants.Error? err
function messages:list(thread_id, query, options) end

---All messages, page by page, for loops. A page that can't be had raises its error object.
---@param thread_id string
---@param query? nexus_assistants.MessageQuery
---@param options? nexus_assistants.CallOptions
---@return fun(): nexus_assistants.Message?
function messages:each(thread_id, query, options) end

---@param thread_id string
---@param message_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Message? message
---@return nexus_assistants.Error? err
function messages:retrieve(thread_id, message_id, options) end

---@param thread_id string
---@param message_id string
---@param params { metadata?: table<string, string> }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Message? message
---@return nexus_assistants.Error? err
function messages:update(thread_id, message_id, params, options) end

---@param thread_id string
---@param message_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Deleted? result
---@return nexus_assistants.Error? err
function messages:delete(thread_id, message_id, options) end
