---@meta nexus_assistants
-- What scripts see of nexus-assistants, for the Lua language server: the module, the client and its options. The other
-- files of this folder have the rest, by topic.

---@class nexus_assistants
---@field _VERSION string
---@field null lightuserdata what JSON's `null` is in results
---@field pending nexus_assistants.Pending what a tool returns that will be answered later, by `run:submit`
local nexus = {}

---Makes a client. Misuse raises; what is missing comes back as nil and an error of kind "configuration".
---@param options? nexus_assistants.Options
---@return nexus_assistants.Client? client
---@return nexus_assistants.Error? err
function nexus.new(options) end

---Makes a tool that runs may call, to be given in `tools`.
---@param fields nexus_assistants.ToolFields
---@return nexus_assistants.Tool tool
function nexus.tool(fields) end

---Marks a table as an array, so that it stays `[]` when it is empty.
---@generic T
---@param items? T[]
---@return T[] items
function nexus.array(items) end

---True for the error objects of this library.
---@param value any
---@return boolean
function nexus.is_error(value) end

---@alias nexus_assistants.Script fun(messages: table[], tools: table[], run: table): any, any

---@alias nexus_assistants.Dialect
---| "openai"
---| "azure"
---| "openrouter"
---| "ollama"
---| "llama.cpp"
---| "vllm"
---| "openai-compatible"

-- ------------------------------------------------------------------------------------------------------ options

-- Texts, headers and keys must not hold control characters.

---@class nexus_assistants.Options
---@field agent_id? string the agent's name on traces (NEXUS_AGENT_ID, "nexus-assistants")
---@field provider? "assistants"|"responses"|"chat"|"script" who performs operations (NEXUS_ASSISTANTS_PROVIDER)
---@field assistant_id? string the assistant of runs that name none (ASSISTANT_ID)
---@field script? nexus_assistants.Script|string of the provider "script": the function, or a file that returns one
---@field store? string where threads are kept: a path, a URL of PostgreSQL's, or "memory" (NEXUS_ASSISTANTS_STORE)
---@field traceparent? string of the host's span that traces are below, in OpenTelemetry (TRACEPARENT)
---@field openai? nexus_assistants.OpenAIOptions
---@field nexus? nexus_assistants.NexusOptions|false traces go to Nexus; false: they don't
---@field otlp? nexus_assistants.OtlpOptions|false traces go to an OpenTelemetry receiver, too (OTEL_EXPORTER_OTLP_…)
---@field file? string|nexus_assistants.FileOptions|false traces go to a file, too
---@field poll? nexus_assistants.PollOptions
---@field spool? string|false where traces wait on the disk for delivery (NEXUS_ASSISTANTS_SPOOL); false: not
---@field sample? number the share of traces that are delivered, 0 to 1; those that fail are always (1)
---@field capture? nexus_assistants.Capture|nexus_assistants.CaptureOptions what of values gets into traces
---@field redact? fun(value: any, where: nexus_assistants.Recorded): any what to keep in traces in place of a value
---@field on_span_end? fun(span: nexus_assistants.Record): boolean? false leaves the span out of traces
---@field sinks? (fun(batch: nexus_assistants.Record[]))[] are given what has been traced
---@field lane? nexus_assistants.LanePolicy what to do where a run of the thread is active ("wait")
---@field limits? nexus_assistants.Limits what traces may take in memory
---@field max_transfers? integer requests on the wire at once (100; at most 100000)
---@field on_warning? fun(text: string) by default a line on standard error

---@class nexus_assistants.OpenAIOptions
---@field api_key? string|false (OPENAI_API_KEY); false sends no credentials
---@field base_url? string (OPENAI_BASE_URL, "https://api.openai.com/v1")
---@field organization? string
---@field project? string
---@field headers? table<string, string>
---@field query? string|table<string, string|number|boolean> added to every request, e.g. `api-version`
---@field timeout? number seconds for one attempt (600)
---@field deadline? number seconds for a call with all its attempts (1800)
---@field retries? integer attempts after the first (2; at most 1000)
---@field auth_header? string the header of the key ("Authorization")
---@field auth_prefix? string what stands before the key in it ("Bearer ")
---@field model? string the model of runs that name none (OPENAI_MODEL); not for the provider "assistants"
---@field dialect? nexus_assistants.Dialect what kind of server the provider "chat" talks to; by default by its address
---@field history? "local"|"conversation" who keeps what was said to the provider "responses" ("local")
---@field background? boolean true has the provider "responses" make responses in the background (false)

---@class nexus_assistants.NexusOptions
---@field api_key? string|false (NEXUS_API_KEY)
---@field base_url? string (NEXUS_BASE_URL, "https://nexus.keylightdigital.dev")
---@field timeout? number seconds for one request (5)
---@field flush_interval? number seconds after which a running trace is shown (1)
---@field max_in_flight? integer requests at once (6; at most 100)

---@class nexus_assistants.OtlpOptions
---@field endpoint? string where "/v1/traces" is added ("http://localhost:4318")
---@field traces_endpoint? string used as it is; wins over `endpoint`
---@field protocol? "http/protobuf"|"http/json" ("http/protobuf")
---@field compression? "gzip"|"none" ("none")
---@field headers? table<string, string> in place of those of the environment
---@field certificate? string a PEM file of what is trusted in place of the system's certificates
---@field client_key? string a PEM file with the key of `client_certificate`, without a pass phrase
---@field client_certificate? string a PEM file of who this client is, for receivers that ask
---@field timeout? number seconds for one request (10)
---@field flush_interval? number seconds that spans are gathered for, unless there are 512 before (5)
---@field content? boolean with what models, tools and people said (false)
---@field service_name? string (OTEL_SERVICE_NAME, else what the attributes say, else the agent's id)
---@field resource_attributes? table<string, string> beside those of OTEL_RESOURCE_ATTRIBUTES

---@class nexus_assistants.FileOptions
---@field path string
---@field max_bytes? integer of one file (64 MiB; at most 64 GiB)
---@field max_files? integer older ones that are kept (3; at most 1000)
---@field content? boolean with what models, tools and people said (true)
---@field flush_interval? number seconds that spans of an open trace wait (1)
---@field service_name? string as for `otlp`
---@field resource_attributes? table<string, string> as for `otlp`

---@class nexus_assistants.PollOptions
---@field interval? number seconds between polls (NEXUS_ASSISTANTS_POLL_INTERVAL); by default 0.25 that grow to 5
---@field deadline? number seconds a wait may take (600)
---@field stall? number seconds without a change after which a wait is given up; by default never

---@class nexus_assistants.Limits
---@field max_traces? integer held at once (1024; at most a million)
---@field max_spans? integer held at once (8192; at most 10 million)
---@field max_bytes? integer of all their texts (32 MiB; at most 64 GiB)
---@field max_field_bytes? integer of one input, output or metadata value (256 KiB; at most 1 GiB)
---@field max_spool_files? integer traces, or batches, that wait on the disk (10,000; at most a million)
---@field max_spool_bytes? integer what they take (256 MiB; at most 64 GiB)
---@field max_spool_age? number seconds that one waits (7 days)

-- ------------------------------------------------------------------------------------------------------- client

---@class nexus_assistants.Client
---@field assistants nexus_assistants.Assistants
---@field threads nexus_assistants.Threads
---@field files nexus_assistants.Files
---@field uploads nexus_assistants.Uploads
---@field vector_stores nexus_assistants.VectorStores
---@field responses nexus_assistants.Responses
---@field conversations nexus_assistants.Conversations
---@field chat nexus_assistants.Chat
---@field nexus nexus_assistants.Nexus traces by hand
local client = {}

---Runs a function in a new trace; every call in it is a span. Returns what the function does. Where it raises, or
---returns nil and an error, the trace ends with status error (or timeout), and the error goes on to the caller.
---@generic R
---@param options nexus_assistants.TraceOptions
---@param fn fun(trace: nexus_assistants.Trace): R, ...
---@return R result
---@return any ...
function client:trace(options, fn) end

---Starts a task: the function in a coroutine, in which calls give way instead of blocking. Tasks move on whenever the
---client is driven: by `update`, by a wait, or by a call outside tasks.
---@param fn fun(...): ...
---@param ... any the function's arguments
---@return nexus_assistants.Task task
function client:task(fn, ...) end

---Waits for a task, see `Task:wait`.
---@param task nexus_assistants.Task
---@param timeout? number seconds
---@return any ...
function client:wait(task, timeout) end

---Waits; other tasks move on. Returns nil and an error where the task was cancelled meanwhile, or the client closed
---(kind "closed").
---@param seconds number
---@return true? slept
---@return nexus_assistants.Error? err
function client:sleep(seconds) end

---Does what there is to do without waiting, for about so many milliseconds. Games call it once a frame.
---@param budget_ms? number by default 2
function client:update(budget_ms) end

---What to watch in a loop of the host's own. It changes with every call and update.
---@return { fd: integer, read: boolean, write: boolean }[]
function client:fds() end

---Seconds after which `update` is wanted though no descriptor moved; nil for none.
---@return number?
function client:timeout() end

---Tells what was seen on a descriptor; follow it by `update`.
---@param fd integer
---@param readable boolean
---@param writable boolean
function client:feed(fd, readable, writable) end

---@return nexus_assistants.Stats
function client:stats() end

---Cancels tasks, delivers traces for at most so many seconds, ends everything. True where all was delivered.
---@param timeout? number seconds, by default 2
---@return boolean delivered
function client:close(timeout) end

---@class nexus_assistants.Stats
---@field calls integer requests to the API, as the script sees them
---@field calls_failed integer
---@field tasks integer that have not ended
---@field unknown_ids integer ids given to `client.nexus` that meant nothing (any more), a second `end_span` among them
---@field traces_started? integer this and the following: absent where traces go nowhere
---@field traces_dropped? integer refused at their start, for a limit or for memory
---@field traces_delivered? integer
---@field traces_failed? integer given up
---@field spans_started? integer
---@field spans_dropped? integer
---@field spans_delivered? integer
---@field spans_failed? integer
---@field fields_cut? integer
---@field sinks_dropped? integer records that a sink in Lua had no room or time for
---@field sinks_failed? integer records that a sink in Lua was given and raised
---@field requests? integer sent to deliver traces
---@field requests_repeated? integer
---@field repeated_unconfirmed? integer of these, those that may have arrived twice
---@field traces_spooled? integer left in the spool
---@field spans_spooled? integer
---@field spool_left? integer files (traces, or batches of spans) that were left in the spool and are there now
---@field spool_files? integer the same with those under way
---@field spool_bytes? integer what they take
---@field spool_dropped? integer files that went from the spool undelivered, for its limits
---@field spool_traces? integer delivered from the spool
---@field spool_spans? integer
---@field spool_refused? integer traces and spans from the spool that were refused
---@field spool_undecided? integer spans of which it couldn't be told whether they had arrived
---@field spool_unreadable? integer files in the spool that couldn't be read
---@field traces_left_out? integer by `sample`
---@field spans_left_out? integer
---@field traces_pending? integer held now
---@field spans_pending? integer
---@field bytes_pending? integer

---@class nexus_assistants.Task
local task = {}

---Waits until the task has ended; returns what its function did, or nil and what that raised. A timeout ends the wait
---(nil, an error of kind "timeout"), not the task; so does the end of the client (kind "closed").
---@param timeout? number seconds
---@return any ...
function task:wait(timeout) end

---Ends what the task waits for at once, and all it waits for later: nil, an error of kind "cancelled". True where there
---was something to cancel.
---@return boolean
function task:cancel() end

---@return boolean
function task:done() end

---@return "running"|"completed"|"failed"|"cancelled"
function task:status() end

return nexus
