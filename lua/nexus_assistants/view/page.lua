--- Traces as one page for a browser, that needs nothing else: its style, its script and its data are in it.
--
-- The source of the page are the files beside this one, in page/: page.html, page.css and page.js.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")

local page = {}

local FOLDER = debug.getinfo(1, "S").source:match("^@(.*)page%.lua$")
local LIVE_CONNECTIONS, NO_CONNECTIONS = "connect-src 'self'", "connect-src 'none'"

local function read(name)
  if not FOLDER then return nil, "the files of the page can't be found" end
  local file, problem = io.open(FOLDER .. "page/" .. name, "rb")
  if not file then return nil, problem end
  local content = file:read("*a")
  file:close()
  return content
end

-- What a browser may do with the page: run its own script, and ask its own server where it is live.
local function policy(style, script, is_live)
  return table.concat({
    "default-src 'none'", "script-src 'sha256-" .. core.sha256(script) .. "'",
    "style-src 'sha256-" .. core.sha256(style) .. "'", "img-src data:",
    is_live and LIVE_CONNECTIONS or NO_CONNECTIONS, "base-uri 'none'", "form-action 'none'",
  }, "; ")
end

-- Nothing in the data can end the element it is in, whatever it says.
local function as_data(data)
  local text, problem = json.encode(data)
  if not text then return nil, "what was found can't be shown: " .. problem end
  return (text:gsub("<", "\\u003c"):gsub("\226\128\168", "\\u2028"):gsub("\226\128\169", "\\u2029"))
end

local function fill(template, parts)
  return (template:gsub("{{(%w+)}}", parts))
end

local function sources()
  local found = {}
  for _, kind in ipairs({ "html", "css", "js" }) do
    local content, problem = read("page." .. kind)
    if not content then return nil, problem end
    found[kind] = content
  end
  return found
end

--- The page's text; or nil, message. `data`: `traces`, with their spans, and `prices`; or `live`, where the page asks
-- the server it came from.
function page.render(data)
  local parts, problem = sources()
  if not parts then return nil, problem end
  local text
  text, problem = as_data({ traces = json.array(data.traces or {}), prices = data.prices, live = data.live or false })
  if not text then return nil, problem end
  return fill(parts.html, {
    policy = policy(parts.css, parts.js, data.live), style = parts.css, script = parts.js, data = text,
  })
end

-- Who made the page stands first in its head: nothing else that a page says is taken for that.
local BEGINNING = "^<!DOCTYPE html>\n<html[^<>]*>\n<head>\n<meta charset=\"utf%-8\">\n"
  .. "<meta name=\"generator\" content=\"nexus%-assistants\">\n"

--- In how many bytes of a file `is_one` finds what it looks for.
page.HEAD = 1024

--- Whether what begins so is such a page.
function page.is_one(beginning)
  return beginning:find(BEGINNING) ~= nil
end

--- What a server sends along with it.
page.headers = { ["X-Content-Type-Options"] = "nosniff", ["Referrer-Policy"] = "no-referrer",
  ["Cache-Control"] = "no-store", ["X-Frame-Options"] = "DENY" }

return page
