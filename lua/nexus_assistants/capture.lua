--- What of values is kept in traces, as JSON texts: with all content or with facts alone, never with keys and tokens,
-- and as the script's own hook wants it. A keeper does so for one mode; every value passes through one before it
-- reaches the core.
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local redaction = require("nexus_assistants.redaction")

local present = json.present
local shown = errors.shown
local holds_key = core.holds_key

local capture = {}

local methods = {}
local mt = { __index = methods }

local SHORT, REMEMBERED = 64, 256
local NOT_KEPT = "(the text is not recorded)"

-- -------------------------------------------------------------------------------------------------------- secrets

-- Encodes without secrets; `name` is that of a secret the value is kept under, or nil. A value that JSON can't hold
-- must not cost the span.
local function encode(self, value, name)
  local text, problem = json.encode(value)
  if not text then return json.encode(self.clean("(not recorded: " .. problem .. ")")) end
  local suspect = name ~= nil or redaction.is_suspect(text) or holds_key(text, self.endpoints)
  return suspect and json.encode(redaction.mask(value, self.clean, name)) or text
end

-- Ids, names and statuses are written again and again.
local function json_of(self, value)
  if type(value) ~= "string" or #value > SHORT then return encode(self, value) end
  local text = self.texts[value]
  if text then return text end
  if self.remembered == REMEMBERED then self.texts, self.remembered = {}, 0 end
  text = encode(self, value)
  self.texts[value], self.remembered = text, self.remembered + 1
  return text
end

local function cleaner(endpoints)
  return function(text)
    text = redaction.text(text)
    for _, endpoint in next, endpoints do text = endpoint:redact(text) end
    return text
  end
end

-- ---------------------------------------------------------------------------------------------------------- facts

-- What the library's own outputs say besides content.
local FACTS = { status = true, model = true, usage = true, polls = true, incomplete = true, incomplete_details = true,
  bytes = true, file_counts = true, id = true }

local function is_code(text)
  return type(text) == "string" and #text <= SHORT and not text:find("[^%w_.-]")
end

local function code_of(problem)
  local code = type(problem) == "table" and present(problem.code)
  return is_code(code) and { code = code } or nil
end

-- Ids and counts are named so: threadId, messageCount.
local function facts_of(output)
  local facts = {}
  for name, value in next, output do
    if FACTS[name] or name:find("Id$") or name:find("Count$") then facts[name] = value end
  end
  facts.last_error, facts.error = code_of(output.last_error), code_of(output.error)
  return next(facts) ~= nil and facts or nil
end

-- "rate_limit: (429, code rate_limit_exceeded)": what stands before a colon is known for a kind, by the core too.
local function facts_of_failure(value, code)
  local parts, kind, own = {}, nil, errors.own(value)
  if errors.is(value) then
    kind, parts[1], code = value.kind, value.status and tostring(value.status), value.code
  elseif own then
    kind, code = is_code(own.kind) and own.kind or nil, own.code and tostring(own.code)
  end
  if is_code(code) then parts[#parts + 1] = "code " .. code end
  local rest = parts[1] and "(" .. table.concat(parts, ", ") .. ")" or NOT_KEPT
  return (kind and kind .. ": " or "error ") .. rest
end

local function ids_of(findings)
  local ids = {}
  for index, finding in ipairs(type(findings) == "table" and findings or {}) do
    ids[index] = { id = finding.id, severity = finding.severity }
  end
  return json.array(ids)
end

-- "not available: " and an error.
local function before_colon(text)
  return type(text) == "string" and text:match("^[^:]*") or nil
end

-- What the library's own metadata quotes, and `error` of the manual style.
local FACTS_OF_METADATA = { findings = ids_of, steps = before_colon, stream = before_colon, error = facts_of_failure }

-- ------------------------------------------------------------------------------------------------------- the hook

-- A hook may change what it is given, and that must not change the script's own.
local function copy_of(self, value)
  if type(value) ~= "table" then return value end
  return json.decode(encode(self, value))
end

local function redacted(self, value, subject, field, name)
  local where = { span = subject.name, field = field, name = name }
  local ok, result = self.hooks:call("redact", self.redact, copy_of(self, value), where)
  if ok then return result end
end

-- --------------------------------------------------------------------------------------------------------- keepers

-- At most what the script wants of such a field, cut as the core cuts.
local function capped(self, text, field)
  local most = self.caps[field]
  if not most or #text <= most then return text end
  self.cut = self.cut + 1
  return core.json_cut(text, most)
end

local function kept(self, value, subject, field, name)
  if self.redact then value = redacted(self, value, subject, field, name) end
  if value == nil then return nil end
  local is_secret = name and redaction.is_secret_name(name)
  return capped(self, is_secret and encode(self, value, name) or json_of(self, value), field)
end

-- Keys of metadata are few and come again and again.
local function name_of(self, key)
  if self.names_remembered == REMEMBERED then self.names, self.names_remembered = {}, 0 end
  local is_secret = redaction.is_secret_name(key)
  local known = { text = self.clean(key), is_secret = is_secret, is_plain = self.is_plain and not is_secret }
  self.names[key], self.names_remembered = known, self.names_remembered + 1
  return known
end

--- Each returns the JSON text of what is kept, or nil for nothing. `subject` is the span or trace it is of.
function methods:content(value, subject, field)
  if value == nil or self.facts_only or self.hooks.busy then return nil end
  if self.is_plain then return json_of(self, value) end
  return kept(self, value, subject, field)
end

--- The same of an output the library made itself: with facts alone some of it is kept.
function methods:outcome(value, subject)
  if self.facts_only then value = facts_of(value) end
  if value == nil or self.hooks.busy then return nil end
  return kept(self, value, subject, "output")
end

--- The same of one value of the metadata. The key as it is kept comes with it.
function methods:metadata(key, value, subject)
  local own = self.names[key] or name_of(self, key)
  if own.is_plain and value ~= nil and not self.hooks.busy then
    return self.texts[value] or json_of(self, value), own.text
  end
  local facts = self.facts_only and FACTS_OF_METADATA[key]
  if facts then value = facts(value) end
  if value == nil or self.hooks.busy then return nil end
  if self.redact or own.is_secret then return kept(self, value, subject, "metadata", key), own.text end
  return capped(self, json_of(self, value), "metadata"), own.text
end

--- The same of what went wrong, as a plain text; `code` is the code of an error that is a text.
function methods:failure(value, subject, code)
  local text = self.facts_only and facts_of_failure(value, code) or errors.told(value)
  if self.redact then text = redacted(self, text, subject, "error") end
  if text == nil or self.hooks.busy then return nil end
  return self.clean(shown(text))
end

local NO_CAPS = {}

-- Nothing is done to values but masking: as it is for most clients, and quickest.
local function is_plain(parts, facts_only)
  local caps = parts.caps or NO_CAPS
  return not (facts_only or parts.redact or caps.input or caps.output or caps.metadata)
end

local function keeper(parts, facts_only)
  return setmetatable({
    facts_only = facts_only,
    is_plain = is_plain(parts, facts_only),
    endpoints = parts.endpoints,
    clean = cleaner(parts.endpoints),
    redact = parts.redact,
    caps = parts.caps or NO_CAPS,
    cut = 0, -- fields, by the caps
    hooks = parts.hooks,
    texts = {},
    remembered = 0,
    names = {},
    names_remembered = 0,
  }, mt)
end

--- Makes the keepers, by mode: "full" and "metadata"; there is none for "none". `parts` has endpoints, whose keys are
-- masked (a table that may grow), hooks, which calls the script's, and redact, the hook, or nil, and caps, the most
-- bytes by field, or nil.
function capture.keepers(parts)
  return { full = keeper(parts, false), metadata = keeper(parts, true) }
end

return capture
