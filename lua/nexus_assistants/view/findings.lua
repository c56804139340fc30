--- What the doctor found, as it stands in a trace.
local format = require("nexus_assistants.view.format")
local json = require("nexus_assistants.json")
local text = require("nexus_assistants.view.text")

local findings = {}

local COLORS = { error = format.RED, warning = "33" }

local function list_in(value)
  local list = type(value) == "table" and value.findings
  return json.is_array(list) and list[1] and list or nil
end

--- The findings of a trace: its own, or those that any of its spans has.
function findings.of(trace)
  local found = list_in(trace.metadata)
  if found then return found end
  for index = #trace.spans, 1, -1 do
    local span = trace.spans[index]
    local input = type(span) == "table" and span.input
    found = type(span) == "table" and list_in(span.output) or type(input) == "table" and list_in(input.metadata)
    if found then return found end
  end
  return {}
end

--- Adds a text to the lines of a page, over as many as it takes, behind `before` and in a colour or nil.
function findings.add_text(lines, page, before, value, code)
  local harmless = text.harmless(value, not page.unicode)
  for _, line in ipairs(text.wrap(harmless, page.width - #before, page.drawing.ellipsis)) do
    lines[#lines + 1] = before .. page.paint(code, line)
  end
end

local function add_finding(lines, page, finding)
  local severity, id = format.present(finding.severity) or "note", format.present(finding.id) or "finding"
  local evidence = format.present(finding.evidence)
  findings.add_text(lines, page, "  ", severity .. " " .. id .. (evidence and ": " .. evidence or ""), COLORS[severity])
  local advice = format.present(finding.advice)
  if advice then findings.add_text(lines, page, "    ", advice) end
end

--- Adds what was found and what to do about it to the lines of a page.
function findings.add_lines(lines, trace, page)
  for _, finding in ipairs(findings.of(trace)) do
    if type(finding) == "table" then add_finding(lines, page, finding) end
  end
end

return findings
