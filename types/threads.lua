---@meta nexus_assistants.threads
-- Threads, messages, runs and steps, for the Lua language server. Parameters that aren't named here are passed through.
-- Absent values of results are `nexus.null`.

---@class nexus_assistants.List<T>: { data: T[], has_more: boolean, first_id: string, last_id: string }

---@class nexus_assistants.Page
---@field limit? integer 1 to 100, by default 20
---@field order? "asc"|"desc" by default newest first
---@field after? string the id of the last item of the page before
---@field before? string

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
---@field assistant_id any
---@field run_id any
---@field metadata table<string, string>

---@class nexus_assistants.MessageQuery: nexus_assistants.Page
---@field run_id? string only messages of this run

---@class nexus_assistants.RunParams
---@field assistant_id? string by default the client's
---@field model? string
---@field instructions? string
---@field additional_instructions? string
---@field additional_messages? nexus_assistants.MessageParams[]
---@field tools? (nexus_assistants.Tool|table)[]
---@field metadata? table<string, string>
---@field include? string[]
---@field temperature? number
---@field max_prompt_tokens? integer
---@field max_completion_tokens? integer
---@field tool_choice? any
---@field parallel_tool_calls? boolean
---@field response_format? any

---@alias nexus_assistants.RunStatus
---| "queued"
---| "in_progress"
---| "requires_action"
---| "cancelling"
---| "cancelled"
---| "failed"
---| "completed"
---| "incomplete"
---| "expired"

---@class nexus_assistants.Run
---@field id string
---@field object "thread.run"
---@field thread_id string
---@field assistant_id string
---@field status nexus_assistants.RunStatus|string
---@field model string
---@field usage any
---@field required_action any
---@field last_error any
---@field incomplete_details any
---@field created_at integer

---A run that came from create_and_poll.
---@class nexus_assistants.FinishedRun: nexus_assistants.Run
local finished_run = {}

---What the assistant wrote in this run: the text of all its messages, oldest first.
---@return string? text
---@return nexus_assistants.Error? err
function finished_run:text() end

---All steps of this run, oldest first.
---@return nexus_assistants.Step[]? steps
---@return nexus_assistants.Error? err
function finished_run:steps() end

---@class nexus_assistants.Step
---@field id string
---@field object "thread.run.step"
---@field run_id string
---@field type "message_creation"|"tool_calls"
---@field status string
---@field step_details table
---@field usage any
---@field last_error any
---@field created_at integer

-- ---------------------------------------------------------------------------------------------------- resources

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
---@return { id: string, deleted: boolean }? result
---@return nexus_assistants.Error? err
function threads:delete(thread_id, options) end

---@class nexus_assistants.Messages
local messages = {}

---@param thread_id string
---@param params nexus_assistants.MessageParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Message? message
---@return nexus_assistants.Error? err
function messages:create(thread_id, params, options) end

---@param thread_id string
---@param query? nexus_assistants.MessageQuery
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.Message>? list
---@return nexus_assistants.Error? err
function messages:list(thread_id, query, options) end

---@param thread_id string
---@param message_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Message? message
---@return nexus_assistants.Error? err
function messages:retrieve(thread_id, message_id, options) end

---@class nexus_assistants.Runs
---@field steps nexus_assistants.Steps
local runs = {}

---@param thread_id string
---@param params? nexus_assistants.RunParams
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run? run
---@return nexus_assistants.Error? err
function runs:create(thread_id, params, options) end

---Creates a run, waits for its end, and calls the tools it asks for. Returns the run where it completed, or asks for
---functions that are the script's to call (status "requires_action"); else nil and an error, with `run` in it where
---there was one. At the deadline the run is cancelled and the error's kind is "timeout".
---@param thread_id string
---@param params? nexus_assistants.RunParams
---@param options? nexus_assistants.RunOptions
---@return nexus_assistants.FinishedRun? run
---@return nexus_assistants.Error? err
function runs:create_and_poll(thread_id, params, options) end

---@param thread_id string
---@param run_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run? run
---@return nexus_assistants.Error? err
function runs:retrieve(thread_id, run_id, options) end

---@param thread_id string
---@param query? nexus_assistants.Page
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.Run>? list
---@return nexus_assistants.Error? err
function runs:list(thread_id, query, options) end

---@param thread_id string
---@param run_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run? run
---@return nexus_assistants.Error? err
function runs:cancel(thread_id, run_id, options) end

---@param thread_id string
---@param run_id string
---@param params { tool_outputs: { tool_call_id: string, output: string }[] }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run? run
---@return nexus_assistants.Error? err
function runs:submit_tool_outputs(thread_id, run_id, params, options) end

---@class nexus_assistants.Steps
local steps = {}

---@param thread_id string
---@param run_id string
---@param query? nexus_assistants.Page
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.Step>? list
---@return nexus_assistants.Error? err
function steps:list(thread_id, run_id, query, options) end

---@param thread_id string
---@param run_id string
---@param step_id string
---@param query? { include?: string[] }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Step? step
---@return nexus_assistants.Error? err
function steps:retrieve(thread_id, run_id, step_id, query, options) end
