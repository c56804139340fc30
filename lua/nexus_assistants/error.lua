--- The error object: what every failure that isn't misuse is returned as, wherever it came from.
local json = require("nexus_assistants.json")
local text = require("nexus_assistants.text")

local present = json.present

local M = {}

local error_mt = { __name = "nexus_assistants.error" }

local LONGEST_TEXT = 300 -- bytes of a server's own text that go into a message
local HEAD = 4096 -- bytes of a page or a text that are looked at

-- What a kind is called in the protocol's own envelope, and the status it goes with.
local KINDS = {
  invalid = { type = "invalid_request_error", status = 400 },
  bad_request = { type = "invalid_request_error", status = 400 },
  authentication = { type = "invalid_request_error", status = 401, code = "invalid_api_key" },
  permission = { type = "invalid_request_error", status = 403 },
  not_found = { type = "invalid_request_error", status = 404 },
  conflict = { type = "invalid_request_error", status = 409 },
  unprocessable = { type = "invalid_request_error", status = 422 },
  rate_limit = { type = "rate_limit_error", status = 429, code = "rate_limit_exceeded" },
  too_large = { type = "invalid_request_error", status = 413 },
  timeout = { type = "server_error", status = 504 },
}
local OTHER = { type = "server_error", status = 500 }

local KIND_OF_STATUS = {
  [400] = "bad_request",
  [401] = "authentication",
  [403] = "permission",
  [404] = "not_found",
  [409] = "conflict",
  [422] = "unprocessable",
  [429] = "rate_limit",
}

--- The kind of error an HTTP status stands for; nil for 2xx.
function M.kind_of_status(status)
  if status >= 200 and status < 300 then return nil end
  if status >= 500 and status < 600 then return "server" end
  return KIND_OF_STATUS[status] or "status"
end

--- Makes an error object of a table of its fields (kind, message, status, code, type, param, request_id, retry_after,
-- operation, attempts, hint, findings, run). The table itself becomes the object.
function M.new(fields)
  fields.kind = fields.kind or "protocol"
  fields.message = fields.message or fields.kind
  return setmetatable(fields, error_mt)
end

--- True for error objects.
function M.is(value)
  return type(value) == "table" and getmetatable(value) == error_mt
end

-- Messages of the transport say it themselves.
local function attempts_to_tell(err)
  return err.attempts and err.attempts > 1 and not err.message:find("attempt %d+ of %d+")
end

--- A value as text, whatever its `__tostring` does.
function M.shown(value)
  local ok, result = pcall(tostring, value)
  return ok and result or "(an error value that can't be shown)"
end

local function details(err)
  local found = {}
  local function add(value, label)
    if value then found[#found + 1] = label or tostring(value) end
  end
  add(err.status)
  add(err.code, "code " .. tostring(err.code))
  add(err.request_id, "request " .. tostring(err.request_id))
  add(attempts_to_tell(err), "after " .. tostring(err.attempts) .. " attempts")
  add(err.operation)
  return table.concat(found, ", ")
end

local function with_hint(err, said)
  return err.hint and said .. "; " .. err.hint or said
end

--- Reads as `rate_limit: Rate limit reached … (429, code rate_limit_exceeded, after 3 attempts,
-- threads.runs.create)`.
function error_mt.__tostring(err)
  local said = err.kind and err.kind .. ": " .. err.message or err.message
  local more = details(err)
  if more ~= "" then said = said .. " (" .. more .. ")" end
  return with_hint(err, said)
end

--- The message, and what to do about it where that is known.
function M.advised(err)
  return with_hint(err, err.message)
end

-- ------------------------------------------------------------------------------------------- what scripts fail with

local TOLD = { "kind", "message", "status", "code" }
local SINGLE = { string = true, number = true }

-- Lua would show it by its address alone.
local function is_silent(value)
  local metatable = type(value) == "table" and getmetatable(value)
  return metatable == nil or type(metatable) == "table" and rawget(metatable, "__tostring") == nil
end

--- What a script's own table says of a failure as error objects do: kind, message, status and code, where it has them.
-- Nil for error objects, for what can show itself, and for what isn't a table.
function M.own(value)
  if not is_silent(value) then return nil end
  local fields = {}
  for _, name in ipairs(TOLD) do
    local field = rawget(value, name)
    if SINGLE[type(field)] then fields[name] = field end
  end
  return fields
end

--- Whatever a script fails with, as text. A table of the script's own is shown as error objects are.
function M.told(value)
  local fields = M.own(value)
  if not fields then return M.shown(value) end
  return fields.message and error_mt.__tostring(fields) or "(error object is a table value)"
end

-- ------------------------------------------------------------------------------------------- what servers answer

local function text_of(value)
  value = present(value)
  if value ~= nil then return tostring(value) end
end

local function one_line(said)
  local line = text.cut(said, HEAD):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  local short = text.cut(line, LONGEST_TEXT)
  return #short == #line and #said <= HEAD and line or short .. "..."
end

-- What servers made with FastAPI say: a text, or a list of what is wrong and where.
local function text_of_detail(detail)
  if type(detail) == "string" then return detail end
  local first = type(detail) == "table" and detail[1]
  if type(first) ~= "table" or type(first.msg) ~= "string" then return nil end
  local place = {}
  for index, name in ipairs(type(first.loc) == "table" and first.loc or {}) do place[index] = tostring(name) end
  return place[1] and ("%s (%s)"):format(first.msg, table.concat(place, ".")) or first.msg
end

local function from_envelope(envelope)
  local inner = present(envelope.error)
  if type(inner) == "string" then return { message = inner } end
  if type(inner) ~= "table" then return { message = text_of(envelope.message) or text_of_detail(envelope.detail) } end
  return {
    message = text_of(inner.message),
    code = text_of(inner.code),
    type = text_of(inner.type),
    param = text_of(inner.param),
  }
end

-- Step by step, since a pattern for it all would begin anew at every tag that is never closed.
local function title_of(page)
  local _, name = page:find("<[tT][iI][tT][lL][eE]")
  local start = name and page:find(">", name, true)
  local stop = start and page:find("</", start, true)
  return stop and page:sub(start + 1, stop - 1)
end

local function from_html(body)
  local title = title_of(body:sub(1, HEAD))
  return { message = title and one_line(title) }
end

-- What the body of a refused request says: the protocol's envelope, something like it, a page, a line, or nothing.
local function read_body(body)
  if not body or body:find("^%s*$") then return {} end
  if body:find("^%s*{") then
    local envelope = json.decode(body)
    if type(envelope) == "table" then return from_envelope(envelope) end
  end
  if body:find("^%s*<") then return from_html(body) end
  return { message = one_line(body) }
end

--- Takes the key of an endpoint out of all texts in a table, at any depth. The core does so with the answer of a call
-- that failed, but an escaped key has become the key by decoding.
function M.redact(value, endpoint)
  for name, item in next, value do
    if type(item) == "string" then
      value[name] = endpoint:redact(item)
    elseif type(item) == "table" then
      M.redact(item, endpoint)
    end
  end
  return value
end

local function name_of(operation)
  if type(operation) == "table" then return operation.name end
  return operation
end

--- Makes an error object of what the core reports for a call, and of the answer that came with it (or nil). What the
-- answer says is rid of the endpoint's key, where there is one.
function M.from_call(core_err, response, operation, endpoint)
  local said = read_body(response and response.body)
  if endpoint then M.redact(said, endpoint) end
  local message = said.message
  if not message or message == "" then message = core_err.message end
  return M.new({
    kind = core_err.kind,
    message = message,
    status = core_err.status,
    code = said.code,
    type = said.type,
    param = said.param,
    request_id = core_err.request_id,
    retry_after = core_err.retry_after,
    attempts = core_err.attempts,
    operation = name_of(operation),
  })
end

local function kind_of_event(said)
  if said.code == "rate_limit_exceeded" or said.type == "rate_limit_error" then return "rate_limit" end
  return said.type == "invalid_request_error" and "bad_request" or "server"
end

--- Makes an error object of an `error` event in a stream: the protocol's envelope, or what is inside of it.
function M.from_event(object, operation, endpoint)
  local said = from_envelope(present(object.error) and object or { error = object })
  if endpoint then M.redact(said, endpoint) end
  said.kind = kind_of_event(said)
  said.message = said.message or "the stream reported an error"
  said.operation = name_of(operation)
  return M.new(said)
end

-- --------------------------------------------------------------------------------------------------- for servers

--- The protocol's envelope for an error object: `{ error = { message, type, param, code } }`.
function M.envelope(err)
  local known = KINDS[err.kind] or OTHER
  return {
    error = {
      message = err.message,
      type = err.type or known.type,
      param = err.param or json.null,
      code = err.code or known.code or json.null,
    },
  }
end

--- The HTTP status a server answers an error object with.
function M.status(err)
  return err.status or (KINDS[err.kind] or OTHER).status
end

--- What the core says of an option, called as in `names`, by the core's own name for it: by what somebody has set.
function M.named(message, names)
  return (message:gsub("^[%w_]+", names))
end

--- An error of the core's about what a client is made of: of kind "configuration" where an option is at fault. `names`,
-- which may be absent, has what options are called, as for `M.named`.
function M.of_configuration(core_err, where, names)
  local err = M.from_call(core_err, nil, where)
  err.message = M.named(err.message, names or {})
  if err.kind == "invalid" then err.kind = "configuration" end
  return err
end

return M
