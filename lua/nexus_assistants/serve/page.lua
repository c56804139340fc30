--- What Nexus's part has received, as a page for a browser that follows it: the page at /, and what it asks for below
-- /view/.
--
-- The page holds no data, so anybody may have it. The data is for who is on this machine, or has the key that the
-- server was told to want; it is asked for with a header that pages of other sites can't send.
local hosts = require("nexus_assistants.serve.hosts")
local ids = require("nexus_assistants.providers.runtime.id")
local json = require("nexus_assistants.json")
local page = require("nexus_assistants.view.page")

local served = {}
local methods = {}
local mt = { __index = methods }

local MIME = "text/html; charset=UTF-8"

--- `nexus` is the store; `host` the address that the server is bound to; `has_key` says that it wants a certain key.
function served.new(nexus, host, has_key)
  -- a server that starts again counts its revisions anew
  return setmetatable({ nexus = nexus, is_open = has_key or hosts.is_loopback(host), id = ids.new("") }, mt)
end

--- True for paths that are answered here.
function served.has(path)
  return path == "/" or path:find("^/view/") ~= nil
end

local function answer(status, value)
  return { status = status, body = json.encode(value) }
end

local function get_page()
  local text, problem = page.render({ live = true })
  if not text then return { status = 500, content_type = "text/plain; charset=UTF-8", body = problem } end
  return { status = 200, content_type = MIME, body = text, headers = page.headers }
end

local function get_list(self, request)
  local tag = ('"%s-%d"'):format(self.id, self.nexus.revision)
  local headers = { ETag = tag, ["Cache-Control"] = "no-store" }
  if request.headers["if-none-match"] == tag then return { status = 304, headers = headers } end
  return { status = 200, body = self.nexus:overview(), headers = headers }
end

local function get_trace(self, id)
  local text = self.nexus:whole(id)
  return text and { status = 200, body = text } or answer(404, { error = "Trace not found" })
end

local function get_data(self, request)
  if not self.is_open then
    return answer(403, { error = "this server is open to others: start it with --api-key-environment" })
  end
  local refused = self.nexus:refusal(request)
  if refused then return refused end
  if request.path == "/view/traces" then return get_list(self, request) end
  return get_trace(self, request.path:match("^/view/traces/([^/]+)$") or "")
end

--- Answers a request whose path is answered here.
function methods:handle(request)
  if request.method ~= "GET" and request.method ~= "HEAD" then return answer(405, { error = "this is to be read" }) end
  if request.path == "/" then return get_page() end
  return get_data(self, request)
end

return served
