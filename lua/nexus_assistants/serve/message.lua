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

local function parse_headers(lines)
  local headers, position = {}, 1
  while position <= #lines do
    local _, stop, name, value = lines:find("^([%w!#$%%&'*+.^_`|~-]+):[ \t]*([^\r\n%z]*)\r\n", position)
    if not stop then return nil, 400, "malformed header" end
    if not add_header(headers, name:lower(), (value:gsub("[ \t]+$", ""))) then
      return nil, 400, "contradicting Content-Length"
    end
    position = stop + 1
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

-- A proxy's form of the target names the host too.
local function split_target(target)
  target = target:gsub("^https?://[^/]*", "")
  local path, query = target:match("^([^?]*)%??(.*)$")
  return path ~= "" and path or "/", query
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
  local length
  length, status, reason = body_length(headers)
  if not length then return nil, status, reason end
  local path, query = split_target(target)
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
