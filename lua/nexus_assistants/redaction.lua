--- Pure: takes keys and tokens out of values, before they are kept in a trace.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")

local redaction = {}

local MASK = "****"
local LEAST = 8 -- characters of a key or token; what is shorter is a word

local find, gsub, lower, match = string.find, string.gsub, string.lower, string.match
local holds_any = core.holds_any

local function any_case(word)
  return (gsub(word, "%a", function(letter) return "[" .. letter .. letter:upper() .. "]" end))
end

local function at_least(class)
  return class:rep(LEAST) .. class .. "*"
end

-- What a text in a text puts around names and values: quotes, escaped or not.
local QUOTES = "[\"'\\%s]*"
local ASSIGNED = QUOTES .. "[:=]" .. QUOTES
local API_KEY = any_case("api") .. "[-_ ]?" .. any_case("key")
local TOKEN = "[%w%-._~+/=\\]" -- with the backslash that JSON may put before a slash

-- Each has what stays in front and what is masked. A key's beginning is no end of a word ("risk-assessment"), but
-- may be that of a line, written as \n.
local PATTERNS = {
  "(%f[%a]sk%-)(" .. at_least("[%w_%-]") .. ")",
  "(\\[bfnrt]sk%-)(" .. at_least("[%w_%-]") .. ")",
  "(nxs_)([%w_%-]+)",
  "(" .. any_case("authorization") .. ASSIGNED .. ")([^\"'\\\r\n,;}]+)",
  "(" .. any_case("bearer") .. "%s+)(" .. at_least(TOKEN) .. ")",
  "(" .. API_KEY .. ASSIGNED .. ")([^%s\"'\\,;&}]+)",
}

local function masked(before, secret)
  return before .. MASK .. match(secret, "\\*$")
end

--- True where a text may hold what is masked: what has none of these marks, in whatever case, is done with after this.
function redaction.is_suspect(text)
  return holds_any(text, "sk-", "nxs_", "bearer", "authorization", "api-key", "api_key", "apikey", "api key")
end

--- A text without the keys and tokens in it.
function redaction.text(text)
  if not redaction.is_suspect(text) then return text end
  for index = 1, #PATTERNS do text = gsub(text, PATTERNS[index], masked) end
  return text
end

local SECRET_NAMES = { "apikey$", "authorization$" }

--- True for names that keys and tokens are kept under, as `x-api-key` and `Authorization`.
function redaction.is_secret_name(name)
  if type(name) ~= "string" then return false end
  local plain = gsub(lower(name), "[-_ ]", "")
  for _, pattern in ipairs(SECRET_NAMES) do
    if find(plain, pattern) then return true end
  end
  return false
end

local mask

local function mask_members(members, clean, hidden)
  local copy = {}
  for name, item in next, members do
    local own = type(name) == "string" and clean(name) or name
    copy[own] = mask(item, clean, hidden or redaction.is_secret_name(name))
  end
  return json.is_array(members) and json.array(copy) or copy
end

function mask(value, clean, hidden)
  local kind = type(value)
  if kind == "table" then return mask_members(value, clean, hidden) end
  if hidden and (kind == "string" or kind == "number") then return MASK end
  return kind == "string" and clean(value) or value
end

--- A copy of a value that JSON can hold, without what is secret in its texts, its names and under them. `clean` is what
-- is done to each text, by default `redaction.text`; `name` what the value itself is kept under.
function redaction.mask(value, clean, name)
  return mask(value, clean or redaction.text, redaction.is_secret_name(name))
end

return redaction
