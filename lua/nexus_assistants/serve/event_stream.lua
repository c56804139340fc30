--- A source of events as the body of an answer: `text/event-stream`, as it comes.
local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")

local event_stream = {}

event_stream.CONTENT_TYPE = "text/event-stream; charset=utf-8"

-- What is there is sent at once, so that many small events don't cost a packet each; but no more than this, since
-- others wait.
local MOST_BYTES = 32 * 1024

local DONE = "event: done\ndata: [DONE]\n\n"

--- One event as text.
function event_stream.format(name, object)
  return "event: " .. name .. "\ndata: " .. assert(json.encode(object)) .. "\n\n"
end

local function ending(err)
  if not err then return DONE end
  return event_stream.format("error", errors.envelope(err)) .. DONE
end

-- What there is to send now, "" where there is nothing, and whether it is the end.
local function gather(source)
  local texts, bytes = {}, 0
  while bytes < MOST_BYTES do
    local name, data = source:take()
    if name == false then break end
    local text = name and event_stream.format(name, data) or ending(data)
    texts[#texts + 1], bytes = text, bytes + #text
    if name == nil then return table.concat(texts), true end
  end
  return table.concat(texts), false
end

--- A function `(connection) → text` that waits for the next events: nil behind the last, false where the client has
-- gone. `source` has `take` and `listen(on_news)`.
function event_stream.pieces(source)
  local over = false
  local function listen(on_news) source:listen(on_news) end
  return function(connection)
    if over then return nil end
    local text
    text, over = gather(source)
    while text == "" do
      if not connection:wait_for_news(listen) then return false end
      text, over = gather(source)
    end
    return text
  end
end

return event_stream
