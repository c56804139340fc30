--- Looks for all findings there are in what was seen of a run. Pure.
local findings = require("nexus_assistants.doctor.findings")
local json = require("nexus_assistants.json")
local seen = require("nexus_assistants.doctor.seen")

local look = {}

local SEVERITIES = { "error", "warning", "info" } -- the most severe first

local function by_severity()
  local sorted = {}
  for _, severity in ipairs(SEVERITIES) do
    for _, finding in ipairs(findings.list) do
      if finding.severity == severity then sorted[#sorted + 1] = finding end
    end
  end
  return sorted
end

local FINDINGS = by_severity()

-- An ordinary run has little that there could be a finding about.
local function is_there(given, about)
  if not about then return true end
  local value = seen.at(given, about)
  return value ~= nil and (type(value) ~= "table" or next(value) ~= nil)
end

--- As `doctor.examine`, also where a run is plainly ordinary.
function look.at(given)
  local case, found = seen.read(given), json.array({})
  for _, finding in ipairs(FINDINGS) do
    local evidence, advice
    if is_there(given, finding.about) then evidence, advice = finding.find(case) end
    if evidence then
      advice = advice or finding.advice
      found[#found + 1] = { id = finding.id, severity = finding.severity, evidence = evidence, advice = advice }
    end
  end
  return found
end

--- All findings there are, as `{ id, severity, what }`, in the order in which `look.at` returns them.
look.catalogue = {}

for index, finding in ipairs(FINDINGS) do
  look.catalogue[index] = { id = finding.id, severity = finding.severity, what = finding.what }
end

return look
