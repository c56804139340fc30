--- Bodies of multipart/form-data: their parts, and the form they make. Pure, strict, and linear in the body's length.
--
-- What is in doubt is refused instead of guessed: text before the first part or behind the last, a boundary that goes
-- on, parts without a name, encodings other than binary.
local core = require("nexus_assistants.core")

local multipart = {}

local LIMITS = { parts = 64, headers = 16, head = 8 * 1024, field = 64 * 1024 }
local LONGEST_BOUNDARY = 70
-- What may stand in a boundary (RFC 2046).
local BOUNDARY = "^[%w'()+_,./:=? -]*[%w'()+_,./:=?-]$"

local function is_boundary(text)
  return #text <= LONGEST_BOUNDARY and text:find(BOUNDARY) ~= nil
end

-- ------------------------------------------------------------------------------------------------- parameters

local TOKEN = "[%w!#$%%&'*+.^_`|~-]+"

-- Where the quoted text that begins at `start` ends; nil where it doesn't.
local function end_of_quoted(text, start)
  local position = start + 1
  while true do
    local stop = text:find('["\\]', position)
    if not stop then return nil end
    if text:sub(stop, stop) == '"' then return stop end
    position = stop + (text:find('^["\\]', stop + 1) and 2 or 1)
  end
end

-- Clients differ in what they write for a quote: backslashes, or percents as browsers and curl do.
local function unquoted(text)
  return (text:gsub('\\(["\\])', "%1"):gsub("%%22", '"'):gsub("%%0[Dd]", "\r"):gsub("%%0[Aa]", "\n"))
end

local function parameter_value(text, position)
  if text:sub(position, position) ~= '"' then
    local value = text:match("^" .. TOKEN, position)
    return value, value and position + #value
  end
  local stop = end_of_quoted(text, position)
  return stop and text:sub(position + 1, stop - 1), stop and stop + 1
end

-- The parameters behind a header's first word, as they stand there; nil where they are malformed or one comes twice.
local function parameters_of(text, position)
  local found = {}
  while not text:find("^[ \t]*$", position) do
    local name, start = text:match("^[ \t]*;[ \t]*(" .. TOKEN .. ")=()", position)
    local value, stop
    if name then value, stop = parameter_value(text, start) end
    if not value or found[name:lower()] then return nil end
    found[name:lower()], position = value, stop
  end
  return found
end

--- The boundary that a Content-Type names; nil where that isn't multipart/form-data with a proper one.
function multipart.boundary(content_type)
  local kind, position = (content_type or ""):match("^[ \t]*([^; \t]+)()")
  if not kind or kind:lower() ~= "multipart/form-data" then return nil end
  local parameters = parameters_of(content_type, position)
  local boundary = parameters and parameters.boundary
  return boundary and is_boundary(boundary) and boundary or nil
end

-- ------------------------------------------------------------------------------------------------------ heads

local function percent_decoded(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function file_name_of(parameters)
  local name = parameters.filename and unquoted(parameters.filename)
  local extended = parameters["filename*"]
  if not name and extended then name = percent_decoded(extended:match("^[Uu][Tt][Ff]%-8'[^']*'(.*)$") or "") end
  return name and name:match("[^/\\]*$")
end

local function read_disposition(part, value)
  local position = value:match("^[Ff][Oo][Rr][Mm]%-[Dd][Aa][Tt][Aa]()%f[; \t%z]")
  local parameters = position and parameters_of(value, position)
  if part.name or not parameters or not parameters.name then return nil, "malformed Content-Disposition" end
  part.name, part.file_name = unquoted(parameters.name), file_name_of(parameters)
  if not core.utf8_valid(part.name) or part.file_name and not core.utf8_valid(part.file_name) then
    return nil, "a name that isn't UTF-8"
  end
  return true
end

local ENCODINGS = { binary = true, ["8bit"] = true, ["7bit"] = true }

local function read_header(part, name, value)
  if name == "content-disposition" then return read_disposition(part, value) end
  if name == "content-transfer-encoding" and not ENCODINGS[value:lower()] then
    return nil, "an unknown Content-Transfer-Encoding"
  end
  if name == "content-type" and value ~= "" and core.utf8_valid(value) then part.content_type = value end
  return true
end

local function read_headers(head, limits)
  local part, count, position = {}, 0, 1
  while position <= #head do
    local stop = head:find("\r\n", position, true) or #head + 1
    local line = head:sub(position, stop - 1)
    local name, value = line:match("^(" .. TOKEN .. "):[ \t]*(.*)$")
    if not name or line:find("[\r\n%z]") then return nil, "a malformed header" end
    count, position = count + 1, stop + 2
    if count > limits.headers then return nil, "too many headers in a part" end
    local read, problem = read_header(part, name:lower(), value)
    if not read then return nil, problem end
  end
  if not part.name then return nil, "a part without a name" end
  return part
end

-- ------------------------------------------------------------------------------------------------------ parts

-- What follows a boundary that ends before `position`: where the next part begins, false where it was the last; or nil.
local function behind_boundary(body, position)
  local start = body:match("^[ \t]*\r\n()", position)
  if start then return start end
  if body:find("^%-%-[ \t]*$", position) or body:find("^%-%-[ \t]*\r\n$", position) then return false end
  return nil
end

-- The part that begins at `position`, and what follows it as `behind_boundary` says it; or nil, problem.
local function read_part(body, position, delimiter, limits)
  local first, last = body:find("\r\n\r\n", position, true)
  if not first or first - position > limits.head then return nil, "no end of a part's headers within the limit" end
  local part, problem = read_headers(body:sub(position, first - 1), limits)
  if not part then return nil, problem end
  local stop, edge = body:find(delimiter, last + 1, true)
  if not stop then return nil, "no closing boundary" end
  if not part.file_name and stop - last - 1 > limits.field then return nil, "a field that is too long" end
  local next_position = behind_boundary(body, edge + 1)
  if next_position == nil then return nil, "a malformed boundary" end
  part.data = body:sub(last + 1, stop - 1)
  return part, next_position
end

--- The parts of a body, in order: `{name, file_name?, content_type?, data}`; or nil and what is wrong with it.
-- `limits` may have `parts`, `headers` (of a part), `head` (bytes of them), `field` (bytes of what is no file).
function multipart.parse(body, boundary, limits)
  limits = setmetatable(limits or {}, { __index = LIMITS })
  local opening = "--" .. boundary
  if body:sub(1, #opening) ~= opening then return nil, "no boundary at the beginning" end
  local position = behind_boundary(body, #opening + 1)
  if position == nil then return nil, "a malformed boundary" end
  local parts = {}
  while position do
    if #parts == limits.parts then return nil, "too many parts" end
    local part
    part, position = read_part(body, position, "\r\n" .. opening, limits)
    if not part then return nil, position end
    parts[#parts + 1] = part
  end
  return parts
end

-- ------------------------------------------------------------------------------------------------------- form

local function put_once(owner, key, value, name)
  if owner[key] ~= nil then return nil, "'" .. name .. "' comes twice" end
  owner[key] = value
  return true
end

local function put_nested(fields, base, key, part)
  if fields[base] == nil then fields[base] = {} end
  local owner = fields[base]
  if type(owner) ~= "table" then return nil, "'" .. base .. "' comes twice" end
  return put_once(owner, key == "" and #owner + 1 or key, part.data, part.name)
end

-- A file is what came as one: a text must never be taken for a file's place.
local function add(fields, part, file_field)
  local name = part.name
  if part.file_name then
    if name ~= file_field then return nil, "'" .. name .. "' must not be a file" end
    return put_once(fields, name, { data = part.data, name = part.file_name, content_type = part.content_type }, name)
  end
  local base, key = name:match("^([^%[%]]+)%[([^%[%]]*)%]$")
  if (base or name) == file_field then return nil, "'" .. file_field .. "' must be a file" end
  if not core.utf8_valid(part.data) then return nil, "'" .. name .. "' isn't valid UTF-8" end
  if base then return put_nested(fields, base, key, part) end
  return put_once(fields, name, part.data, name)
end

--- The form that parts make: texts by name, `a[b]` and `a[]` as tables, and the file as `{data, name, content_type}`
-- under `file_field`; or nil and what is wrong with it.
function multipart.form(parts, file_field)
  local fields = {}
  for _, part in ipairs(parts) do
    local added, problem = add(fields, part, file_field)
    if not added then return nil, problem end
  end
  return fields
end

return multipart
