--- Reads what was seen of a run, whose shape is a server's and can't be trusted, and words it for evidence.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")

local rawget, type = rawget, type

local LONGEST_TEXT = 160 -- bytes of a text from elsewhere
local MOST_SHOWN = 5 -- of a list

local seen = {}

local null = json.null

--- What is at the end of a path of names, or nil: for null too, and where there is no such path. Only raw access.
function seen.at(value, first, second, third)
  if first ~= nil then
    if type(value) ~= "table" then return nil end
    value = rawget(value, first)
  end
  if second ~= nil then
    if type(value) ~= "table" then return nil end
    value = rawget(value, second)
  end
  if third ~= nil then
    if type(value) ~= "table" then return nil end
    value = rawget(value, third)
  end
  if value ~= null then return value end
end

local at = seen.at

--- A finite number, or nil.
function seen.number(value, first, second)
  value = at(value, first, second)
  if type(value) == "number" and value == value and value ~= math.huge and value ~= -math.huge then return value end
end

local function next_item(list, index)
  local item = rawget(list, index + 1)
  if item ~= nil then return index + 1, item end
end

--- Goes through a list, whatever it is, as `ipairs` does.
function seen.each(value, first, second, third)
  local list = at(value, first, second, third)
  return next_item, type(list) == "table" and list or {}, 0
end

-- ----------------------------------------------------------------------------------------------------------- wording

local function cut(text)
  if #text <= LONGEST_TEXT then return text end
  return text:sub(1, LONGEST_TEXT):gsub("[\192-\255]?[\128-\191]*$", "") .. "..."
end

--- A text that isn't empty as one clean line, or nil.
function seen.text(value, first, second)
  value = at(value, first, second)
  if type(value) ~= "string" or value == "" then return nil end
  if #value <= LONGEST_TEXT and not value:find("[^\33-\126]") then return value end
  local line = value:gsub("[%c%s]+", " "):gsub("^ ", ""):gsub(" $", "")
  if not core.utf8_valid(line) then line = line:gsub("[\128-\255]", "?") end
  if line ~= "" then return cut(line) end
end

--- A number, to one decimal where it isn't whole.
function seen.figure(value)
  return ("%.14g"):format(math.floor(value * 10 + 0.5) / 10)
end

--- A duration.
function seen.seconds(value)
  return seen.figure(value) .. " s"
end

--- The beginning of a list in words, and how many more there are.
function seen.listed(texts, separator)
  local shown = {}
  for index = 1, math.min(#texts, MOST_SHOWN) do shown[index] = texts[index] end
  local list = table.concat(shown, separator or ", ")
  return #texts > MOST_SHOWN and ("%s and %d more"):format(list, #texts - MOST_SHOWN) or list
end

-- ------------------------------------------------------------------------------------------------------ what was seen

local OUTCOMES = { ok = true, error = true, timeout = true, unknown_tool = true, bad_arguments = true, pending = true }

local function read_call(call)
  local outcome = at(call, "outcome")
  return {
    id = seen.text(call, "id"),
    name = seen.text(call, "name"),
    outcome = OUTCOMES[outcome] and outcome,
    error = seen.text(call, "error"),
    output_bytes = seen.number(call, "output_bytes"),
    cut = at(call, "cut") == true,
    empty = at(call, "empty") == true,
    seconds = seen.number(call, "seconds"),
  }
end

local function read_calls(given)
  local calls = {}
  for _, call in seen.each(given, "calls") do
    if type(call) == "table" then calls[#calls + 1] = read_call(call) end
  end
  return calls
end

local function read_statuses(given)
  local statuses = {}
  for _, entry in seen.each(given, "statuses") do
    local status, moment = seen.text(entry, "status"), seen.number(entry, "at")
    if status then statuses[#statuses + 1] = { status = status, at = moment } end
  end
  return statuses
end

--- The texts of a list.
function seen.texts(value, first)
  local found = {}
  for _, item in seen.each(value, first) do found[#found + 1] = seen.text(item) end
  return found
end

-- What a run comes to when it is given up or forgotten says less than what it was doing before.
local GIVEN_UP = { cancelling = true, cancelled = true, expired = true }

local function working_status(case)
  for index = #case.statuses, 1, -1 do
    if not GIVEN_UP[case.statuses[index].status] then return case.statuses[index].status end
  end
  return case.status
end

-- The end as the server's clock has it.
local function server_end(run)
  return seen.number(run, "completed_at") or seen.number(run, "failed_at") or seen.number(run, "cancelled_at")
end

-- Clocks differ, so what one clock has measured goes first.
local function age(case)
  local created, first = seen.number(case.run, "created_at"), case.statuses[1]
  local ended = server_end(case.run)
  if created and ended then return ended - created end
  if first and first.status == "queued" and first.at and case.ended then return case.ended - first.at end
  if created and case.ended then return case.ended - created end
end

--- Everything that was seen, in the form that findings are made from.
function seen.read(given)
  local run, statuses = at(given, "run"), read_statuses(given)
  local case = { given = given, run = run, calls = read_calls(given), statuses = statuses }
  local last = statuses[#statuses]
  local id = seen.text(run, "id")
  case.label = id and "run " .. id or "the run"
  case.status = seen.text(run, "status") or (last and last.status)
  case.ended = seen.number(given, "now") or (last and last.at)
  case.working = working_status(case)
  case.age = age(case)
  case.error_kind, case.error_code = seen.text(given, "error", "kind"), seen.text(given, "error", "code")
  return case
end

--- How long a run was in a status: the longest stretch, all of them together, and the last one; nil where unknown.
function seen.durations(case, status)
  local longest, total, last
  for index, entry in ipairs(case.statuses) do
    local following = case.statuses[index + 1]
    local finish = following and following.at or case.ended
    if entry.status == status and entry.at and finish then
      local continued = index > 1 and case.statuses[index - 1].status == status and last or 0
      last = continued + math.max(finish - entry.at, 0)
      longest, total = math.max(longest or 0, last), (total or 0) + last - continued
    end
  end
  return longest, total, last
end

return seen
