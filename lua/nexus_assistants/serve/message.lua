--- HTTP/1.1 messages as text: reading a request's head, writing an answer. Pure.
local message = {}

local REASONS = {
  [100] = "Continue", [200] = "OK", [201] = "Created", [204] = "No Content", [302] = "Found", [304] = "Not Modified",
  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed",
  [408] = "Request Timeout", [409] = "Conflict", [413] = "Content Too Large", [417] = "Expectation Failed",
  [422] = "Unprocessable Content", [429] = "Too Many Requests", [431] = "Request Header Fields Too Large",
  [500] = "Internal Server Error", [501] = "Not Implemented", [502] = "Bad Gateway", [503] = "Service Unavailable",
  [504] = "Gateway Timeout", [505] = "HTTP Version Not Supported",
}

-- Those of one name are joined one by one, so many of them would cost their square.
local MAX_HEADERS = 200

local function add_header(headers, name, value)
  local earlier = headers[name]
  if earlier == nil then
    headers[name] = value
  elseif name ~= "content-length" then
    headers[name] = earlier .. ", " .. value
  elseif earlier ~= value then
    return nil
  end
  return true
end

-- By hand, since "[ \t]+$" looks anew from each of the spaces inside: quadratic in what anybody may send.
local function trimmed(text)
  local first, last = text:find("[^ \t]"), #text
  if not first then return "" end
  while text:find("^[ \t]", last) do
    last = last - 1
  end
  return text:sub(first, last)
end

local function parse_header(line)
  local name, start = line:match("^([%w!#$%%&'*+.^_`|~-]+):()")
  if not name or line:find("[\r\n%z]", start) then return nil end
  return name:lower(), trimmed(line:sub(start))
end

local function parse_headers(lines)
  local headers, position, count = {}, 1, 0
  while position <= #lines do
    local stop = lines:find("\r\n", position, true)
    local name, value = parse_header(lines:sub(position, (stop or 0) - 1))
    if not stop or not name then return nil, 400, "malformed header" end
    if not add_header(headers, name, value) then return nil, 400, "contradicting Content-Length" end
    position, count = stop + 2, count + 1
    if count > MAX_HEADERS then return nil, 431, "too many headers" end
  end
  return headers
end

local function body_length(headers)
  local coding, length = headers["transfer-encoding"], headers["content-length"]
  if coding and length then return nil, 400, "both Content-Length and Transfer-Encoding" end
  if coding then
    if coding:lower() ~= "chunked" then return nil, 501, "unknown Transfer-Encoding" end
    return "chunked"
  end
  if not length then return 0 end
  if not length:find("^%d+$") or #length > 15 then return nil, 400, "malformed Content-Length" end
  return tonumber(length)
end

local function stays_open(version, headers)
  local connection = (headers.connection or ""):lower()
  if version == "1.0" then return connection:find("keep-alive", 1, true) ~= nil end
  return connection:find("close", 1, true) == nil
end

-- A proxy's form of the target names the host too, and better than the header does.
local function split_target(target)
  local host, rest = target:match("^https?://([^/?]*)(.*)$")
  local path, query = (rest or target):match("^([^?]*)%??(.*)$")
  return path ~= "" and path or "/", query, host
end

--- Parses the head of a request: all before the empty line, each line with its end.
-- Returns `{method, target, path, query, version, headers, length = number or "chunked", keep_alive}`, header names in
-- lower case; or nil, the status to answer with, and why.
function message.parse_head(text)
  local method, target, version, start = text:match("^(%u+) (%S+) HTTP/(%d%.%d)\r\n()")
  if not method then return nil, 400, "malformed request line" end
  if version ~= "1.1" and version ~= "1.0" then return nil, 505, "HTTP/1.1 is spoken here" end
  local headers, status, reason = parse_headers(text:sub(start))
  if not headers then return nil, status, reason end
  if version == "1.1" and not headers.host then return nil, 400, "no Host" end
  local length
  length, status, reason = body_length(headers)
  if not length then return nil, status, reason end
  local path, query, host = split_target(target)
  headers.host = host or headers.host
  return {
    method = method, target = target, path = path, query = query, version = version, headers = headers,
    length = length, keep_alive = stays_open(version, headers),
  }
end

--- The size of a chunk from its first line, or nil where that is malformed.
function message.chunk_size(line)
  local digits, rest = line:match("^(%x+)(.*)$")
  if not digits or #digits > 12 or not (rest == "" or rest:find("^[ \t]*;")) then return nil end
  return tonumber(digits, 16)
end

--- A piece of a body as a chunk, and what comes behind the last.
function message.chunk(piece)
  return ("%x\r\n"):format(#piece) .. piece .. "\r\n"
end

message.LAST_CHUNK = "0\r\n\r\n"

--- The status line with its end.
function message.status_line(status)
  return "HTTP/1.1 " .. status .. " " .. (REASONS[status] or "Unknown") .. "\r\n"
end

--- The head of an answer, with the empty line. `headers` is an array of "Name: value".
function message.head(status, headers)
  return message.status_line(status) .. table.concat(headers, "\r\n") .. "\r\n\r\n"
end

local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

--- The fields of a query; a name that comes twice keeps its last value, `name[]` gathers all in an array.
function message.parse_query(query)
  local fields = {}
  for name, value in query:gmatch("([^&=]+)=?([^&]*)") do
    name, value = unescape(name), unescape(value)
    if name:sub(-2) == "[]" then
      fields[name] = fields[name] or {}
      table.insert(fields[name], value)
    else
      fields[name] = value
    end
  end
  return fields
end

return message
