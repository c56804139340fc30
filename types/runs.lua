---@meta _
-- Runs and their steps. Parameters that aren't named here are passed through. Absent values of results are
-- `nexus.null`.

---@class nexus_assistants.CommonRunParams
---@field assistant_id? string by default the client's
---@field model? string
---@field instructions? string
---@field tools? (nexus_assistants.Tool|table)[] tools, or tables that describe them as the API has them
---@field metadata? table<string, string>
---@field temperature? number
---@field top_p? number
---@field max_prompt_tokens? integer
---@field max_completion_tokens? integer
---@field truncation_strategy? table
---@field tool_choice? any
---@field parallel_tool_calls? boolean
---@field response_format? any

---@class nexus_assistants.RunParams: nexus_assistants.CommonRunParams
---@field additional_instructions? string
---@field additional_messages? nexus_assistants.MessageParams[]
---@field reasoning_effort? string
---@field include? string[] travels in the query

---@class nexus_assistants.ThreadAndRunParams: nexus_assistants.CommonRunParams
---@field thread? nexus_assistants.ThreadParams
---@field tool_resources? table

---@class nexus_assistants.Submission
---@field tool_outputs { tool_call_id: string, output: any }[] a text as it is, anything else as JSON

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
---@field expires_at any

---A call of a tool that a run waits for.
---@class nexus_assistants.PendingCall
---@field id string
---@field name string
---@field arguments any a table, or the text where that is no JSON object

---A run that came from a wait or a stream.
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

---What the doctor found in this run; often nothing.
---@return nexus_assistants.Finding[] findings
function finished_run:findings() end

---The calls of tools this run waits for, in order.
---@return nexus_assistants.PendingCall[] calls
function finished_run:pending() end

---Answers calls this run waits for, and waits for its end once all are answered. Returns the run, as `create_and_poll`
---does; with calls left it is the same run.
---@param outputs table<string, any> by the id of the call: a text as it is, anything else as JSON
---@param options? nexus_assistants.SubmitOptions
---@return nexus_assistants.FinishedRun? run
---@return nexus_assistants.Error? err
function finished_run:submit(outputs, options) end

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

---@class nexus_assistants.StepQuery: nexus_assistants.Page
---@field include? string[]

---@class nexus_assistants.Runs
---@field steps nexus_assistants.Steps
local runs = {}

---Creates a run. Waits for its turn where another run of the thread is active.
---@param thread_id string
---@param params? nexus_assistants.RunParams
---@param options? nexus_assistants.LanedOptions
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

---Creates a run and streams it.
---@param thread_id string
---@param params? nexus_assistants.RunParams
---@param options? nexus_assistants.StreamOptions
---@return nexus_assistants.Stream? stream
---@return nexus_assistants.Error? err
function runs:stream(thread_id, params, options) end

---@param thread_id string
---@param run_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run? run
---@return nexus_assistants.Error? err
function runs:retrieve(thread_id, run_id, options) end

---Waits for the end of a run that is there, as `create_and_poll` does; tools are in `options.tools`.
---@param thread_id string
---@param run_id string
---@param options? nexus_assistants.ResumeOptions
---@return nexus_assistants.FinishedRun? run
---@return nexus_assistants.Error? err
function runs:poll(thread_id, run_id, options) end

---@param thread_id string
---@param query? nexus_assistants.Page
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.Run>? list
---@return nexus_assistants.Error? err
function runs:list(thread_id, query, options) end

---All runs, page by page, for loops. A page that can't be had raises its error object.
---@param thread_id string
---@param query? nexus_assistants.Page
---@param options? nexus_assistants.CallOptions
---@return fun(): nexus_assistants.Run?
function runs:each(thread_id, query, options) end

---@param thread_id string
---@param run_id string
---@param params { metadata?: table<string, string> }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run? run
---@return nexus_assistants.Error? err
function runs:update(thread_id, run_id, params, options) end

---@param thread_id string
---@param run_id string
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run? run
---@return nexus_assistants.Error? err
function runs:cancel(thread_id, run_id, options) end

---@param thread_id string
---@param run_id string
---@param params nexus_assistants.Submission
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Run? run
---@return nexus_assistants.Error? err
function runs:submit_tool_outputs(thread_id, run_id, params, options) end

---The same, and waits for the run's end. A call without an output is given to the tools in `options.tools`; without
---tools its output is an error.
---@param thread_id string
---@param run_id string
---@param params nexus_assistants.Submission
---@param options? nexus_assistants.ResumeOptions
---@return nexus_assistants.FinishedRun? run
---@return nexus_assistants.Error? err
function runs:submit_tool_outputs_and_poll(thread_id, run_id, params, options) end

---The same, and streams the run from there.
---@param thread_id string
---@param run_id string
---@param params nexus_assistants.Submission
---@param options? nexus_assistants.ResumeStreamOptions
---@return nexus_assistants.Stream? stream
---@return nexus_assistants.Error? err
function runs:submit_tool_outputs_stream(thread_id, run_id, params, options) end

---@class nexus_assistants.Steps
local steps = {}

---@param thread_id string
---@param run_id string
---@param query? nexus_assistants.StepQuery
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.List<nexus_assistants.Step>? list
---@return nexus_assistants.Error? err
function steps:list(thread_id, run_id, query, options) end

---All steps, page by page, for loops. A page that can't be had raises its error object.
---@param thread_id string
---@param run_id string
---@param query? nexus_assistants.StepQuery
---@param options? nexus_assistants.CallOptions
---@return fun(): nexus_assistants.Step?
function steps:each(thread_id, run_id, query, options) end

---@param thread_id string
---@param run_id string
---@param step_id string
---@param query? { include?: string[] }
---@param options? nexus_assistants.CallOptions
---@return nexus_assistants.Step? step
---@return nexus_assistants.Error? err
function steps:retrieve(thread_id, run_id, step_id, query, options) end
