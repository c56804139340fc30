--- A server behind TLS, with a certificate of its own that nobody trusts: it answers everything with 200 and {}.
--
--   local server = tls_server.start()        -- nil where node or openssl is absent
--   server.url, server.certificate           "https://127.0.0.1:PORT", the path of the certificate
--   local server = tls_server.start({ asks = true })   only for who has server.client_certificate, server.client_key
--   local server = tls_server.start({ asks = "anybody" })   takes all; it answers {"shown":true}, or false
--   local server = tls_server.start({ http2 = true })   by HTTP/2 alone; it answers with what it was asked: version,
--                                                       method, authority, path, headers and body
--   server:stop()
local servers = require("spec.support.server")

local tls_server = {}

local methods = {}
local mt = { __index = methods }

-- It ends by itself where it is never stopped.
local SERVER = [[
  const fs = require("fs"), http2 = require("http2"), https = require("https");
  const [key, cert, ca] = process.argv.slice(1).map((path) => fs.readFileSync(path));
  const curious = process.env.ANYBODY === "1";
  const asking = { requestCert: curious || ca !== undefined, rejectUnauthorized: !curious };
  const server = https.createServer({ key, cert, ca, ...asking }, (request, response) => {
    const shown = Object.keys(request.socket.getPeerCertificate() ?? {}).length > 0;
    const body = curious ? JSON.stringify({ shown }) : "{}";
    request.resume().on("end", () => response.writeHead(200, { "Content-Type": "application/json" }).end(body));
  });
  const mirror = http2.createSecureServer({ key, cert }, async (request, response) => {
    const { httpVersion: version, method, authority, url: path, headers } = request;
    let body = "";
    for await (const piece of request) body += piece;
    response.writeHead(200).end(JSON.stringify({ version, method, authority, path, headers, body }));
  });
  const chosen = process.env.HTTP2 === "1" ? mirror : server;
  chosen.listen(0, "127.0.0.1", () => console.log(chosen.address().port));
  setTimeout(() => process.exit(), 60000);
]]
local CERTIFICATE = "unset LD_PRELOAD; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
  .. "-addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s >/dev/null 2>&1"

-- A key and its certificate, in files.
local function make_pair()
  local key, certificate = os.tmpname(), os.tmpname()
  os.execute(CERTIFICATE:format(key, certificate))
  return key, certificate
end

--- Starts one; nil where it can't be.
function tls_server.start(options)
  local self = setmetatable({}, mt)
  self.key, self.certificate = make_pair()
  options = options or {}
  local asks = options.asks
  if asks == true then self.client_key, self.client_certificate = make_pair() end
  local command = { "unset LD_PRELOAD; echo $$; exec env",
    "ANYBODY=" .. (asks == "anybody" and 1 or 0), "HTTP2=" .. (options.http2 and 1 or 0), "node -e",
    servers.quote(SERVER), self.key, self.certificate, self.client_certificate or "", "2>/dev/null" }
  self.pipe = assert(io.popen(table.concat(command, " ")))
  self.pid = self.pipe:read("*l")
  local port = self.pipe:read("*l")
  if port then
    self.url = "https://127.0.0.1:" .. port
    return self
  end
  self:stop()
end

--- Ends it.
function methods:stop()
  os.execute("kill " .. self.pid .. " 2>/dev/null")
  self.pipe:close()
  for _, path in ipairs({ self.key, self.certificate, self.client_key, self.client_certificate }) do os.remove(path) end
end

return tls_server
