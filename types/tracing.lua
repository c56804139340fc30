---@meta _
-- Traces: `client:trace` and, by hand, `client.nexus`.

---@class nexus_assistants.TraceOptions
---@field name string
---@field agent_id? string by default the client's
---@field traceparent? string of the host's span that the trace is below; by default the client's
---@field input? any
---@field metadata? table<string, any>
---@field capture? nexus_assistants.Capture by default the client's

---@class nexus_assistants.Record
---@field kind "span"|"trace"
---@field name string
---@field trace_id string
---@field span_id? string
---@field parent_id? string
---@field type? string
---@field agent_id? string
---@field status "ok"|"success"|"error"|"timeout"
---@field started_at number Unix seconds
---@field ended_at number
---@field input? any
---@field output? any
---@field error? string
---@field metadata table<string, any>

---@class nexus_assistants.Recorded
---@field span? string its name; nil for the trace's own
---@field field "input"|"output"|"error"|"metadata"
---@field name? string of metadata

---@class nexus_assistants.CaptureOptions
---@field mode? nexus_assistants.Capture (NEXUS_ASSISTANTS_CAPTURE, "full")
---@field input? integer bytes above which each is cut (at most 1 GiB)
---@field output? integer
---@field metadata? integer

---@alias nexus_assistants.Capture
---| "full" everything
---| "metadata" facts: no inputs, outputs, messages and texts of errors
---| "none" nothing

---@class nexus_assistants.SpanOptions
---@field type? string e.g. "llm", "tool"
---@field input? any
---@field metadata? table<string, any>

---@class nexus_assistants.Trace
local trace = {}

---32 hexadecimal digits; nil where the trace is not recorded. Nexus has it in the metadata, as `trace_id`, beside an id
---of its own, with the name as `trace_name`.
---@return string?
function trace:id() end

---What continues the trace elsewhere, as the header `traceparent` has it; nil where the trace isn't recorded.
---@return string? traceparent
function trace:traceparent() end

---@param value any
function trace:input(value) end

---The trace's output; without it that is the function's first result.
---@param value any
function trace:output(value) end

---@param key string
---@param value any
function trace:set(key, value) end

---Runs a function within a span and returns its results. The span ends in error where the function raises, or returns
---nil and an error.
---@generic R
---@param name string
---@param options nexus_assistants.SpanOptions
---@param fn fun(span: nexus_assistants.Span): R, ...
---@return R result
---@return any ...
---@overload fun(self: nexus_assistants.Trace, name: string, fn: fun(span: nexus_assistants.Span): ...): ...
function trace:span(name, options, fn) end

---@class nexus_assistants.Span
local span = {}

---16 hexadecimal digits; nil where the span is not recorded.
---@return string?
function span:id() end

---What continues the trace below this span elsewhere; nil where it isn't recorded.
---@return string? traceparent
function span:traceparent() end

---@param value any
function span:input(value) end

---@param value any
function span:output(value) end

---@param key string
---@param value any
function span:set(key, value) end

---Says what went wrong; the span ends in error.
---@param value any
function span:error(value) end

---Traces by hand. Ids that mean nothing (any more) are counted, never raised for; calls don't record themselves here.
---Spans can be put below open ones and the latest 256 of their trace that have ended.
---@class nexus_assistants.Nexus
local manual = {}

---@param options nexus_assistants.TraceOptions
---@return { id: string } trace
function manual:start_trace(options) end

---@param trace_id string
---@param options nexus_assistants.StartSpanOptions
---@return { id: string } span
function manual:start_span(trace_id, options) end

---@param span_id string
---@param options? nexus_assistants.EndSpanOptions
function manual:end_span(span_id, options) end

---@param trace_id string
---@param options? nexus_assistants.EndTraceOptions
function manual:end_trace(trace_id, options) end

---@class nexus_assistants.StartSpanOptions
---@field name string
---@field type? string
---@field input? any
---@field metadata? table<string, any>
---@field parent_id? string the id of the span it is below

---@class nexus_assistants.EndSpanOptions
---@field status? "ok"|"error" by default "error" where there is an error
---@field output? any
---@field error? any
---@field metadata? table<string, any>

---@class nexus_assistants.EndTraceOptions
---@field status? "success"|"error"|"timeout" by default "error" where there is an error
---@field output? any
---@field error? any
---@field metadata? table<string, any>
