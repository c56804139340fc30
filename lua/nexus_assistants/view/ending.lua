--- Traces of Nexus's kind, as this library has written them, back into what they were: Nexus tells no names of traces,
-- and takes no metadata after a trace was created, so both travel elsewhere.
local json = require("nexus_assistants.json")
local values = require("nexus_assistants.values")

local ending = {}

local LAST_SPAN = "trace.end"
local NAME = "trace_name"

local function is_absent(value)
  return value == nil or value == json.null
end

--- True for the span that carries what was added to a trace after it was created: its whole metadata as the output, its
-- error as the error. Others may give a span that name, so the output has to be such a metadata.
function ending.is_last(span)
  return type(span) == "table" and span.name == LAST_SPAN and is_absent(span.parent_span_id)
    and type(span.output) == "table" and type(span.output.trace_id) == "string"
end

local function take_end(trace, span)
  local before = type(trace.metadata) == "table" and trace.metadata or {}
  local metadata = values.merged(before, span.output)
  if is_absent(metadata.error) and type(span.error) == "string" then metadata.error = span.error end
  trace.metadata = metadata
end

-- The spans without the last one; usually there is one at most, but an answer that was lost may have doubled it.
local function fold_end(trace)
  local spans, count = json.array({}), 0
  for _, span in ipairs(trace.spans) do
    if ending.is_last(span) then
      take_end(trace, span)
      count = count + 1
    else
      spans[#spans + 1] = span
    end
  end
  if count == 0 then return end
  trace.spans = spans
  if type(trace.span_count) == "number" then trace.span_count = math.max(0, trace.span_count - count) end
end

local function name_of(metadata)
  local name = type(metadata) == "table" and metadata[NAME]
  return type(name) == "string" and name ~= "" and name or nil
end

--- Changes a trace, with its spans or without, into one that has its name, and its late metadata where the early one
-- was; returns it. What isn't a trace stays as it is.
function ending.restore(trace)
  if type(trace) ~= "table" then return trace end
  if type(trace.spans) == "table" then fold_end(trace) end
  if is_absent(trace.name) then trace.name = name_of(trace.metadata) end
  return trace
end

return ending
