--- The line on a terminal that says what a script waits for. It is there while the script waits, and goes before
-- anything else is written, so that it stands in nobody's way.
local format = require("nexus_assistants.view.format")
local json = require("nexus_assistants.json")
local text = require("nexus_assistants.view.text")
local values = require("nexus_assistants.values")

local progress = {}

local methods = {}
local mt = { __index = methods }

local INTERVAL = 0.25 -- seconds from one drawing to the next
local ACTIVE = { queued = true, in_progress = true, requires_action = true, cancelling = true }
local MOST_RUNS = 1000 -- that are remembered, so that none is counted twice
local CLEAR = "\r\27[K"

--- Makes what draws. `parts`: name, of the script; clock, monotonic seconds; write, which takes a text; width, columns;
-- ellipsis, which stands where something was cut.
function progress.new(parts)
  return setmetatable({
    name = text.harmless(parts.name), clock = parts.clock, write = parts.write, width = parts.width,
    ellipsis = parts.ellipsis, begun = parts.clock(), under_way = 0, runs = {}, run_count = 0, tokens = 0,
    at_line_start = true, is_drawn = false,
  }, mt)
end

-- ------------------------------------------------------------------------------------------------------ drawing

local function activity(self)
  local run = self.run_id and self.runs[self.run_id]
  if run then return run.tools or "run " .. text.harmless(run.status) end
  return self.operation or "waiting"
end

local function line_of(self)
  local parts = { self.name, activity(self), format.duration((self.clock() - self.begun) * 1000) }
  if self.tokens > 0 then parts[#parts + 1] = format.tokens(self.tokens) end
  return text.cut(table.concat(parts, "  "), self.width - 1, self.ellipsis)
end

--- Takes the line away, where it is there.
function methods:clear()
  if self.is_drawn then self.write(CLEAR) end
  self.is_drawn = false
end

--- The script waits: draws the line. Returns after how many seconds it is to be drawn again.
function methods:waits()
  if self.at_line_start then
    self.write("\r" .. line_of(self) .. "\27[K")
    self.is_drawn = true
  end
  return INTERVAL
end

--- Somebody is about to write to the terminal; where that ends within a line, nothing may be drawn there.
function methods:makes_way(written)
  self:clear()
  if written ~= "" then self.at_line_start = written:sub(-1) == "\n" end
end

-- ------------------------------------------------------------------------------------------------- what happens

--- An operation begins.
function methods:began(operation)
  self.under_way = self.under_way + 1
  self.operation = operation.name
end

--- An operation has ended.
function methods:ended()
  self.under_way = self.under_way - 1
  if self.under_way > 0 then return end
  self.operation = nil
  self:clear()
end

local function tokens_of(run)
  local usage = type(run.usage) == "table" and run.usage or {}
  return tonumber(usage.total_tokens) or 0
end

-- What runs of a run's tools: "tool get_weather"; nil where it waits for none. What a server sends may be anything.
local function tools_of(run)
  local action = run.status == "requires_action" and json.present(run.required_action)
  local wanted = type(action) == "table" and action.submit_tool_outputs
  local names = {}
  for _, call in ipairs(values.tables(type(wanted) == "table" and wanted.tool_calls)) do
    local name = type(call["function"]) == "table" and call["function"].name
    if type(name) == "string" then names[#names + 1] = text.harmless(name) end
  end
  return names[1] and (names[2] and "tools " or "tool ") .. table.concat(names, ", ") or nil
end

local function make_room(self)
  if self.run_count == MOST_RUNS then self.runs, self.run_count, self.run_id = {}, 0, nil end
  self.run_count = self.run_count + 1
end

--- A run was seen.
function methods:saw(run)
  local id = run.id
  if type(id) ~= "string" then return end
  local known = self.runs[id]
  if not known then make_room(self) end
  self.tokens = self.tokens + tokens_of(run) - (known and known.tokens or 0)
  self.runs[id] = { status = run.status, tokens = tokens_of(run), tools = tools_of(run) }
  if ACTIVE[run.status] then self.run_id = id elseif self.run_id == id then self.run_id = nil end
end

return progress
