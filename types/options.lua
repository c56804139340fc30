---@meta _
-- Options of methods: the last argument, after the parameters.

---Options of every method that performs an operation.
---@class nexus_assistants.CallOptions
---@field timeout? number seconds for one attempt
---@field deadline? number seconds for the call with all its attempts
---@field retries? integer attempts of a request after the first, at most 1000
---@field headers? table<string, string>
---@field query? table<string, any> added to the query; wins over what the method puts there
---@field on_progress? fun(progress: nexus_assistants.Progress) called at most 20 times a second
---@field trace? nexus_assistants.CallTrace|false the call's span; false for none

---@class nexus_assistants.CallTrace
---@field name? string the span's name
---@field metadata? table<string, any>

---@class nexus_assistants.Progress
---@field sent integer bytes
---@field send_total? integer absent where it is unknown
---@field received integer bytes
---@field receive_total? integer absent where it is unknown

---What to do where a run of the thread is active: "wait", "cancel" it, or "reject" the call.
---@alias nexus_assistants.LanePolicy "wait"|"cancel"|"reject"

---Options of operations that wait for their turn on a thread.
---@class nexus_assistants.LanedOptions: nexus_assistants.CallOptions
---@field lane? nexus_assistants.LanePolicy by default the client's

---Options of `files:content`.
---@class nexus_assistants.ContentOptions: nexus_assistants.CallOptions
---@field sink? fun(piece: string): any, any takes the bytes as they come; nil and a message break it off
---@field path? string a file to write; it appears whole or not at all

---Options of `threads:sweep`.
---@class nexus_assistants.SweepOptions: nexus_assistants.CallOptions
---@field older_than? number seconds since the last use (0)

---Options of what is waited for: files and batches of vector stores.
---@class nexus_assistants.WaitOptions
---@field interval? number seconds between two looks; 0 for none
---@field deadline? number seconds the whole wait may take
---@field stall? number seconds without a change after which the wait is given up
---@field on_status? fun(object: table) called when the status changes
---@field timeout? number seconds for one attempt of one request
---@field retries? integer attempts of a request after the first, at most 1000
---@field headers? table<string, string>
---@field query? table<string, any> added to the query of every request
---@field trace? nexus_assistants.CallTrace|false the span; false for none

---Options of runs that are waited for. At the deadline the run is cancelled.
---@class nexus_assistants.RunOptions: nexus_assistants.WaitOptions
---@field lane? nexus_assistants.LanePolicy where the method creates a run on a thread that is there
---@field tool_timeout? number seconds a call of a tool may take that has no timeout of its own (300)
---@field on_status? fun(run: nexus_assistants.Run) called when the run's status changes

---Options of runs that are there already, and waited for.
---@class nexus_assistants.ResumeOptions: nexus_assistants.RunOptions
---@field tools? (nexus_assistants.Tool|table)[] what the run may call

---Options of `run:submit`.
---@class nexus_assistants.SubmitOptions: nexus_assistants.WaitOptions
---@field tool_timeout? number seconds a call of a tool may take that has no timeout of its own

---Options of runs that are streamed.
---@class nexus_assistants.StreamOptions: nexus_assistants.RunOptions
---@field on_leave? "cancel"|"continue" what becomes of the run where the stream is closed early ("cancel")

---Options of runs that are there already, and streamed.
---@class nexus_assistants.ResumeStreamOptions: nexus_assistants.ResumeOptions
---@field on_leave? "cancel"|"continue" what becomes of the run where the stream is closed early ("cancel")
