--- What of the spool is for a receiver of OTLP: a batch a file, sent in one request, or, where that is too large for
-- the receiver, in halves of halves. There is no lookup: what may have arrived is sent again, and counted
-- (`unconfirmed`).
local batches = require("nexus_assistants.spool.batch")
local core = require("nexus_assistants.core")
local folders = require("nexus_assistants.spool.folders")
local json = require("nexus_assistants.json")
local text = require("nexus_assistants.text")

local to_otlp = { name = "otlp", ending = "otlp", workers = 1, timeout = 10 } -- seconds, as the core has it

local MOST_ANSWER = 64 * 1024
local TOO_LARGE = 413
local MOST_WORDS, MOST_WARNINGS = 200, 20 -- bytes of a receiver's own, and what is told of it
local GZIP = { ["Content-Encoding"] = "gzip" }
local LATER = { [429] = true, [502] = true, [503] = true, [504] = true }
local UNWANTED = { [401] = true, [403] = true, [404] = true, [405] = true, [407] = true } -- whatever is sent

local function receiver_of(self)
  return self.endpoint:base_url() .. self.path
end

to_otlp.receiver = receiver_of

--- What a folder's lock says that is for this receiver, or for the one whose batches it gets (`from` of the spool).
function to_otlp.label(self)
  return "otlp " .. (self.from or receiver_of(self))
end

-- --------------------------------------------------------------------------------------------------------- asking

-- As the core has it.
local function advice_on(status)
  if status == 401 or status == 403 then return "; check otlp.headers or OTEL_EXPORTER_OTLP_[TRACES_]HEADERS" end
  local is_elsewhere = status >= 200 and status < 400 or status == 404 or status == 405
  return is_elsewhere and "; check otlp.endpoint or OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT" or ""
end

local function problem_of(self, response, err)
  local status = response and response.status or 0
  if status == 0 then return "can't be reached at " .. receiver_of(self) .. ": " .. err.message end
  local with = status >= 200 and status < 300 and " with a page" or ""
  return ("answers %d%s at %s%s"):format(status, with, receiver_of(self), advice_on(status))
end

local PASSING = { connection = true, timeout = true, memory = true, cancelled = true, closed = true }

--- Whether an answer is a page, as of a login: whoever sends one says nothing of spans.
function to_otlp.is_page(response)
  return core.otlp_is_page(response.body or "", response.content_type or "")
end

-- "taken", "too large", "not taken" (as it is, for good), "later" (no answer, or not now) or "refused" (nothing is
-- taken for now), as the core's otlp_answer has it.
local function verdict_of(response, err)
  local status = response and response.status or 0
  if status >= 200 and status < 300 then return to_otlp.is_page(response) and "refused" or "taken" end
  if status == TOO_LARGE then return "too large" end
  if LATER[status] or status == 0 and PASSING[err.kind] then return "later" end
  return (UNWANTED[status] or status < 400) and "refused" or "not taken"
end

-- Notes in a file whether it may be at the receiver; false where that can't be: then the file couldn't be emptied
-- either, and would be sent again and again.
local function mark(entry, sent)
  local file = io.open(entry.path, "r+b")
  local placed = file and file:seek("set", batches.MARK)
  local written = placed and file:write(sent and "1" or "0")
  return file ~= nil and (file:close() and written) ~= nil
end

-- -------------------------------------------------------------------------------------------------------- warnings

-- Each is told once, and no more than some in all: a receiver may say something else each time.
local function warn(self, words)
  self.warned = self.warned or { count = 0 }
  if self.warned[words] or self.warned.count >= MOST_WARNINGS then return end
  self.warned[words], self.warned.count = true, self.warned.count + 1
  self.scheduler.warn(words)
end

-- What a receiver says, in a line and without secrets: one that is cut wouldn't be found any more.
local function behind(self, words)
  words = self.endpoint:redact(words):gsub("%c+", " ")
  return words == "" and "" or ": " .. text.cut(words, MOST_WORDS)
end

local function is_json(response)
  return (response.content_type or ""):find("json", 1, true) ~= nil
end

local function message_of(response)
  local value = is_json(response) and json.decode(response.body)
  return type(value) == "table" and type(value.message) == "string" and value.message or ""
end

-- ---------------------------------------------------------------------------------------------------------- a file

local function note_taken(self, count, response)
  local rejected, words = core.otlp_rejected(response.body, is_json(response))
  rejected = math.min(rejected, count)
  self.counts.spans, self.counts.refused = self.counts.spans + count - rejected, self.counts.refused + rejected
  if rejected > 0 then warn(self, receiver_of(self) .. " did not take all spans" .. behind(self, words)) end
end

local function note_refused(self, count, response)
  self.counts.refused = self.counts.refused + count
  warn(self, ("%s answers %d%s: spans that waited in the spool are lost"):format(receiver_of(self), response.status,
    behind(self, message_of(response))))
end

-- What is left to be sent of a file: pairs of a first and a last span, the next one last.
local function halve(pieces, piece)
  local middle = math.floor((piece[1] + piece[2]) / 2)
  pieces[#pieces] = { middle + 1, piece[2] }
  pieces[#pieces + 1] = { piece[1], middle }
end

local function send(self, entry, found, piece)
  if not mark(entry, true) then return "unread" end
  if entry.sent then self.counts.unconfirmed = self.counts.unconfirmed + 1 end
  local body = batches.body(found, piece[1], piece[2])
  local packed = self.gzip and core.gzip(body)
  local response, err = self:request({ method = "POST", path = self.path, max_response = MOST_ANSWER,
    content_type = found.content_type, body = packed or body, headers = packed and GZIP or nil })
  entry.sent = response ~= nil and response.sent == true
  local verdict = verdict_of(response, err)
  if verdict ~= "taken" and not entry.sent and not entry.is_begun then mark(entry, false) end
  return verdict, response, err
end

-- Whoever has the file next isn't to send again what is done with. Where that can't be seen to, the file goes on saying
-- that it was sent.
local function let_go(entry, found, piece)
  entry.pieces[#entry.pieces] = nil
  if not entry.pieces[1] then return end
  local last = piece[2]
  local rest = batches.behind(found, last)
  entry.is_begun = not folders.rewrite(entry.path, batches.text(rest))
  if entry.is_begun then return end
  found.spans = rest.spans
  for _, left in ipairs(entry.pieces) do left[1], left[2] = left[1] - last, left[2] - last end
end

-- Returns an outcome, where it isn't the next piece's turn.
local function send_next(self, entry, found)
  local pieces = entry.pieces
  local piece = pieces[#pieces]
  local count = piece[2] - piece[1] + 1
  local verdict, response, err = send(self, entry, found, piece)
  if verdict == "unread" then return verdict end
  if verdict == "later" or verdict == "refused" then
    return verdict, problem_of(self, response, err), response and response.retry_after
  end
  if verdict == "too large" and count > 1 then return halve(pieces, piece) end
  let_go(entry, found, piece)
  if verdict == "taken" then return note_taken(self, count, response) end
  note_refused(self, count, response)
end

local function read(self, entry)
  local content = folders.read_file(entry.path)
  if not content then return nil, "unread" end
  local ok, found = self.scheduler:protected(batches.read, content)
  if ok and found then return found end
  if not ok and folders.is_want_of_memory(found) then return nil, "unread" end
  if folders.is_used(content) then self.counts.unreadable = self.counts.unreadable + 1 end
  return nil, "done"
end

--- Delivers what is in a file. Returns an outcome as spool/to_nexus does.
function to_otlp.attempt(self, entry)
  local found, reason = read(self, entry)
  if not found then return reason end
  if "otlp " .. found.receiver ~= to_otlp.label(self) then return "elsewhere" end
  if entry.sent == nil then entry.sent = found.sent end
  entry.pieces = entry.pieces or found.spans[1] and { { 1, #found.spans } } or {}
  while entry.pieces[1] do
    local outcome, problem, seconds = send_next(self, entry, found)
    if outcome then return outcome, problem, seconds end
  end
  return "done"
end

return to_otlp
