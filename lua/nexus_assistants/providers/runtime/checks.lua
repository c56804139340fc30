--- Checks of parameters, with the protocol's texts. A check returns nothing, or nil and an error.
local failure = require("nexus_assistants.providers.runtime.failure")
local json = require("nexus_assistants.json")

local checks = {}

local MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512
local MAX_TEXT, MAX_NAME = 256000, 64

local function absent(value)
  return value == nil or value == json.null
end

local function kind_of(value)
  if value == json.null then return "null" end
  local kind = type(value)
  if kind == "table" then return json.is_array(value) and "an array" or "an object" end
  if kind == "number" then return value % 1 == 0 and "an integer" or "a decimal" end
  return "a " .. kind
end

local function wrong_type(name, expected, value)
  local text = "Invalid type for '%s': expected %s, but got %s instead."
  return failure.bad_request(text:format(name, expected, kind_of(value)), name, "invalid_type")
end

-- The API counts characters; what has no more bytes than that needs no counting.
local function length_beyond(value, most)
  if #value <= most then return nil end
  local _, length = value:gsub("[^\128-\191]", "")
  return length > most and length or nil
end

local function check_length(value, most, name)
  local length = length_beyond(value, most)
  if not length then return true end
  local text = "Invalid '%s': string too long. Expected a string with maximum length %d, but got a string with length "
    .. "%d instead."
  return failure.bad_request(text:format(name, most, length), name, "string_above_max_length")
end

local function too_many(name, most, count)
  local text = "Invalid '%s': array too long. Expected an array with maximum length %d, but got an array with length "
    .. "%d instead."
  return failure.bad_request(text:format(name, most, count), name, "array_above_max_length")
end

-- ---------------------------------------------------------------------------------------------------- of types

--- A check that takes what has this type, or is absent: "string", "boolean", "number", "object" or "array".
function checks.type(expected)
  local article = expected:find("^[ao]") and "an " or "a "
  local function fits(value)
    if expected == "object" then return type(value) == "table" and not json.is_array(value) end
    -- a script's empty table may be meant either way
    if expected == "array" then return json.is_array(value) or type(value) == "table" and next(value) == nil end
    return type(value) == expected
  end
  return function(value, name)
    if not absent(value) and not fits(value) then return wrong_type(name, article .. expected, value) end
    return true
  end
end

--- A check that takes a text, or nothing: one of at least one character, and of `most` at most where that is given.
function checks.text(most)
  local is_string = checks.type("string")
  return function(value, name)
    local fits, err = is_string(value, name)
    if not fits then return nil, err end
    if absent(value) then return true end
    if most then return check_length(value, most, name) end
    if value ~= "" then return true end
    local text = "Invalid '%s': empty string. Expected a string with minimum length 1, but got an empty string instead."
    return failure.bad_request(text:format(name), name, "empty_string")
  end
end

--- A check of a function's name.
function checks.name(value, name)
  local fits, err = checks.text()(value, name)
  if not fits then return nil, err end
  if absent(value) then return true end
  if value:find("^[A-Za-z0-9_-]+$") then return check_length(value, MAX_NAME, name) end
  local text = "Invalid '%s': string does not match pattern. Expected a string that matches the pattern "
    .. "'^[a-zA-Z0-9_-]+$'."
  return failure.bad_request(text:format(name), name, "invalid_value")
end

local function listed(values)
  local quoted = {}
  for index, value in ipairs(values) do
    quoted[index] = "'" .. value .. "'"
  end
  local last = table.remove(quoted)
  if #quoted == 0 then return last end
  return table.concat(quoted, ", ") .. (#quoted > 1 and "," or "") .. " and " .. last
end

--- A check that takes one of these strings, or nothing.
function checks.one_of(values)
  return function(value, name)
    if absent(value) then return true end
    for _, allowed in ipairs(values) do
      if value == allowed then return true end
    end
    local text = "Invalid value: '%s'. Supported values are: %s."
    local shown = type(value) == "string" and value or kind_of(value)
    return failure.bad_request(text:format(shown, listed(values)), name, "invalid_value")
  end
end

--- A check that takes a number between two, or nothing; a whole one where `kind` is "integer".
function checks.number(kind, lowest, highest)
  return function(value, name)
    if absent(value) then return true end
    if type(value) ~= "number" or kind == "integer" and value % 1 ~= 0 then
      return wrong_type(name, kind == "integer" and "an integer" or "a decimal", value)
    end
    local bound = value < lowest and lowest or highest and value > highest and highest
    if not bound then return true end
    local side, sign = "below minimum", ">="
    if value > bound then side, sign = "above maximum", "<=" end
    local text = "Invalid '%s': %s %s value. Expected a value %s %s, but got %s instead."
    local code = kind .. (side == "below minimum" and "_below_min_value" or "_above_max_value")
    local shown = ("%.14g"):format(value)
    return failure.bad_request(text:format(name, kind, side, sign, bound, shown), name, code)
  end
end

-- ------------------------------------------------------------------------------------------------- of metadata

local function check_pair(key, value, name, check_value)
  if type(key) ~= "string" then return wrong_type(name, "an object", json.array()) end
  local place = name .. "." .. key
  local fits, err = check_value(value, place)
  if fits then fits, err = check_length(key, MAX_KEY, name) end
  if not fits then return nil, err end
  if type(value) ~= "string" then return true end
  return check_length(value, MAX_VALUE, place)
end

local function check_present_string(value, name)
  if type(value) ~= "string" then return wrong_type(name, "a string", value) end
  return true
end

--- A check of a text, a number or a boolean.
function checks.scalar(value, name)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then return true end
  return wrong_type(name, "a string, a number or a boolean", value)
end

local function check_pairs(value, name, check_value)
  if absent(value) then return true end
  local fits, err = checks.type("object")(value, name)
  if not fits then return nil, err end
  local count = 0
  for key, text in pairs(value) do
    fits, err = check_pair(key, text, name, check_value)
    if not fits then return nil, err end
    count = count + 1
  end
  if count <= MAX_PAIRS then return true end
  local text = "Invalid '%s': too many properties. Expected an object with at most %d properties, but got an object "
    .. "with %d properties instead."
  return failure.bad_request(text:format(name, MAX_PAIRS, count), name, "object_above_max_properties")
end

--- Up to 16 pairs of a key of 64 and a value of 512 characters.
function checks.metadata(value, name)
  return check_pairs(value, name, check_present_string)
end

--- The same with values that may be numbers and booleans too.
function checks.attributes(value, name)
  return check_pairs(value, name, checks.scalar)
end

-- -------------------------------------------------------------------------------------------------- of content

local function check_text(value, name)
  if type(value) ~= "string" then return wrong_type(name, "a string", value) end
  if value == "" then return failure.bad_request("Message content must be non-empty.", name) end
  return check_length(value, MAX_TEXT, name)
end

local PARTS = { text = check_text, image_file = checks.type("object"), image_url = checks.type("object") }
local check_part_type = checks.one_of({ "text", "image_url", "image_file" })

local function check_part(part, name)
  if type(part) ~= "table" then return wrong_type(name, "an object", part) end
  if absent(part.type) then return checks.missing(name .. ".type") end
  local fits, err = check_part_type(part.type, name .. ".type")
  if not fits then return nil, err end
  local value = part[part.type]
  if value == nil then return checks.missing(name .. "." .. part.type) end
  return PARTS[part.type](value, name .. "." .. part.type)
end

--- A message's content: a text, or an array of parts.
function checks.content(value, name)
  if absent(value) then return true end
  if type(value) == "string" then return check_text(value, name) end
  if type(value) ~= "table" or not json.is_array(value) then
    return wrong_type(name, "a string or an array of objects", value)
  end
  if #value == 0 then return failure.bad_request("Message content must be non-empty.", name) end
  for index, part in ipairs(value) do
    local fits, err = check_part(part, ("%s[%d]"):format(name, index - 1))
    if not fits then return nil, err end
  end
  return true
end

-- --------------------------------------------------------------------------------------------------- of bodies

--- nil and the error for what is required and isn't there.
function checks.missing(name)
  return failure.bad_request("Missing required parameter: '" .. name .. "'.", name, "missing_required_parameter")
end

--- nil and the error for what is there and has no meaning.
function checks.unknown(name)
  return failure.bad_request("Unknown parameter: '" .. name .. "'.", name, "unknown_parameter")
end

local function refuse_unknown(body, parameters, place)
  for name in pairs(body) do
    if not parameters[name] then return checks.unknown(place .. tostring(name)) end
  end
  return true
end

-- The names of a table of parameters, sorted, so that the same mistake always gets the same answer.
local sorted_names = setmetatable({}, { __mode = "k" })
local function names_of(parameters)
  if sorted_names[parameters] then return sorted_names[parameters] end
  local names = {}
  for name in pairs(parameters) do
    names[#names + 1] = name
  end
  table.sort(names)
  sorted_names[parameters] = names
  return names
end

--- Checks a body against a table of `{check, required = boolean}` by name. `place` is what comes before the names.
-- Unknown names are refused. Returns true, or nil and the first error (in the order of the names).
function checks.body(body, parameters, place)
  place = place or ""
  local fits, err = refuse_unknown(body, parameters, place)
  if not fits then return nil, err end
  for _, name in ipairs(names_of(parameters)) do
    local value, parameter = body[name], parameters[name]
    if absent(value) and parameter.required then return checks.missing(place .. name) end
    fits, err = parameter[1](value, place .. name)
    if not fits then return nil, err end
  end
  return true
end

--- A check of an object with a table of parameters of its own. One whose type is `own` must have a member called so.
function checks.object_of(parameters, own)
  local is_object = checks.type("object")
  return function(value, name)
    local fits, err = is_object(value, name)
    if not fits then return nil, err end
    if absent(value) then return true end
    if own and value.type == own and absent(value[own]) then return checks.missing(name .. "." .. own) end
    return checks.body(value, parameters, name .. ".")
  end
end

--- A check of one of these strings, or of such an object.
function checks.word_or_object(words, parameters, own)
  local check_word, check_object = checks.one_of(words), checks.object_of(parameters, own)
  return function(value, name)
    if type(value) == "table" and not json.is_array(value) then return check_object(value, name) end
    if type(value) == "string" or absent(value) then return check_word(value, name) end
    return wrong_type(name, "a string or an object", value)
  end
end

--- A check of an array of such objects, of `most` at most; `parameters` may be a check of its items, too.
function checks.array_of(parameters, most, own)
  local is_array = checks.type("array")
  local check_item = type(parameters) == "function" and parameters or checks.object_of(parameters, own)
  return function(value, name)
    local fits, err = is_array(value, name)
    if not fits then return nil, err end
    if absent(value) then return true end
    if most and #value > most then return too_many(name, most, #value) end
    for index, item in ipairs(value) do
      local place = ("%s[%d]"):format(name, index - 1)
      if item == json.null then return wrong_type(place, "an object", item) end
      fits, err = check_item(item, place)
      if not fits then return nil, err end
    end
    return true
  end
end

--- A check of an array of texts, of `most` at most; `check` is for each of them, where they aren't just any.
function checks.strings(most, check)
  local is_array = checks.type("array")
  return function(value, name)
    local fits, err = is_array(value, name)
    if not fits then return nil, err end
    if absent(value) then return true end
    if most and #value > most then return too_many(name, most, #value) end
    for index, item in ipairs(value) do
      local place = ("%s[%d]"):format(name, index - 1)
      fits, err = check_present_string(item, place)
      if fits and check then fits, err = check(item, place) end
      if not fits then return nil, err end
    end
    return true
  end
end

--- The value, or nil where it is null: the protocol makes no difference between null and nothing.
function checks.given(value)
  if absent(value) then return nil end
  return value
end

return checks
