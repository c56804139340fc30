--- Whom a request was meant for. A web page may send requests to any address, with a name of its own that leads here
-- too; what tells it from a client is the Host or the Origin that its browser then writes. Pure.
local hosts = {}

--- The host of "host", "host:port" or "[address]:port", in lower case; nil where it is none of them.
function hosts.name(text)
  local name, rest = text:match("^(%[[%x:.]+%])(.*)$")
  if not name then name, rest = text:match("^([%w._-]+)(.*)$") end
  if not name or not (rest == "" or rest:find("^:%d*$")) then return nil end
  return name:lower()
end

--- Whether a name or an address means this machine alone.
function hosts.is_loopback(name)
  return name == "localhost" or name == "[::1]" or name == "::1" or name:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function host_of_origin(origin)
  return hosts.name(origin:match("^https?://(.*)$") or "")
end

--- Whether a server bound to the address `bound` may answer a request with these headers: true, or nil, status, reason.
-- Any port will do, since it may have been forwarded.
function hosts.check(bound, headers)
  local name = headers.host and hosts.name(headers.host)
  if headers.host and not name then return nil, 400, "malformed Host" end
  local here = hosts.is_loopback(bound)
  if here and name and not hosts.is_loopback(name) then
    return nil, 403, "this server goes by localhost, 127.0.0.1 or [::1]"
  end
  local origin = headers.origin and (host_of_origin(headers.origin) or "")
  if origin and origin ~= name and not (here and hosts.is_loopback(origin)) then
    return nil, 403, "requests of other sites' pages are refused"
  end
  return true
end

return hosts
