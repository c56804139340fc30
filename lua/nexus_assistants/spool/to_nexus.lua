--- What of the spool is for Nexus: a trace a file, delivered as spool/delivery says.
local core = require("nexus_assistants.core")
local delivery = require("nexus_assistants.spool.delivery")
local folders = require("nexus_assistants.spool.folders")
local json = require("nexus_assistants.json")
local record = require("nexus_assistants.spool.record")

local to_nexus = { name = "nexus", ending = "jsonl", workers = 3, timeout = 5 } -- seconds, as the core has it

local MOST_ANSWER = 64 * 1024 * 1024
local LOST = { [0] = true, [502] = true, [504] = true, [520] = true, [524] = true }
local BROKEN_GRACE = 0.25 -- seconds after which a server has acted whose connection broke, or never will
local TAKEN = '{"trace":"%s","left":false}\n'

--- What a folder's lock says that is for this receiver, or for the one whose traces it gets (`from` of the spool).
function to_nexus.label(self)
  return self.from or self.endpoint:base_url()
end

-- --------------------------------------------------------------------------------------------------------- asking

-- As the core has it.
local function advice_on(status)
  if status == 401 then return "; check nexus.api_key or NEXUS_API_KEY" end
  local is_elsewhere = status >= 300 and status < 400 or status == 404
  return is_elsewhere and "; check nexus.base_url or NEXUS_BASE_URL" or ""
end

local function problem_of(self, response, err)
  local status = response and response.status or 0
  if status == 0 then return "can't be reached at " .. self.endpoint:base_url() .. ": " .. err.message end
  return ("answers %d at %s%s"):format(status, self.endpoint:base_url(),
    err and advice_on(status) or " with what isn't understood")
end

local function value_of(response)
  local value = json.decode(response.body)
  return type(value) == "table" and value or nil
end

-- Whether Nexus says itself what is wrong.
local function explains(response)
  local value = json.decode(response.body or "")
  return type(value) == "table" and type(value.error) == "string"
end

local function answer_of(self, response, err)
  local status = response and response.status or 0
  local is_success = status >= 200 and status < 300
  local value = is_success and not err and value_of(response) or nil
  return {
    status = status, value = value,
    retry_after = response and response.retry_after, lost = LOST[status] or is_success and value == nil,
    settles_in = err and err.kind == "connection" and BROKEN_GRACE or self.grace,
    is_explained = response ~= nil and explains(response),
    problem = value == nil and problem_of(self, response, err) or nil,
  }
end

local function ask(self, method, path, query, body)
  return answer_of(self, self:request({ method = method, path = path, query = query, body = body,
    max_response = MOST_ANSWER }))
end

-- -------------------------------------------------------------------------------------------------------- a trace

-- From now on what is sent may have arrived: whoever takes the file after this process must ask first. False where that
-- can't be said there.
local function mark_taken(entry, found)
  if not found.left then return true end
  local file = io.open(entry.path, "r+b")
  local placed = file and file:seek("set", found.length)
  local written = placed and file:write(TAKEN:format(found.trace_id))
  return file ~= nil and (file:close() and written) ~= nil
end

-- What a file says is overruled by what happened here since.
local function take_over(self, entry, found)
  record.close(found, entry.folder and entry.folder.seen_at)
  local settled = (core.wall() + self.grace) * 1000
  if not found.left then found.doubt, found.doubt_until = true, settled end
  if self.from then found.nexus_id, found.doubt = nil, true end -- it was another one's id
  if entry.known then
    found.nexus_id, found.doubt, found.doubt_until = entry.nexus_id, entry.doubt, entry.doubt_until
  end
  -- the clock may have been set back since
  found.doubt_until = math.min(found.doubt_until or 0, settled)
  return mark_taken(entry, found)
end

-- What is in an entry's file; or nil, and why: "unread" (it can't be opened now), "unreadable" or "empty".
local function read(self, entry)
  local content = folders.read_file(entry.path)
  if not content then return nil, "unread" end
  local ok, found = self.scheduler:protected(record.read, content, self:breather())
  if not ok and folders.is_want_of_memory(found) then return nil, "unread" end
  if not ok or not found then return nil, folders.is_used(content) and "unreadable" or "empty" end
  if found.nexus ~= to_nexus.label(self) then return found end
  local marked
  ok, marked = pcall(take_over, self, entry, found)
  if ok and not marked then return nil, "unread" end
  return ok and found or nil, "unreadable"
end

-- A trace counts once all of it is at Nexus, whoever created it there.
local function note_counts(self, found, outcome)
  local counts = found.counts
  if not counts then return end
  if outcome == "done" then self.counts.traces = self.counts.traces + 1 end
  self.counts.spans = self.counts.spans + counts.spans
  self.counts.refused = self.counts.refused + counts.refused
  self.counts.undecided = self.counts.undecided + (found.index and found.index.undecided or 0)
  if counts.created then self:resume() end
end

local function asker(self)
  return function(method, path, query, body)
    local creates = method == "POST" and path == delivery.TRACES
    if creates and not self:may_create() then return { status = 429, problem = self.limit_problem } end
    return ask(self, method, path, query, body)
  end
end

local function no_trace(self, reason)
  if reason == "unread" then return reason end
  if reason == "unreadable" then self.counts.unreadable = self.counts.unreadable + 1 end
  return "done"
end

--- Delivers what is in a file. Returns an outcome, as of spool/delivery, or "unread" (it can't be opened, or nothing
-- can be noted in it, now) or "elsewhere" (it is for another one); what is wrong; and seconds, where some are said.
function to_nexus.attempt(self, entry)
  local found, reason = read(self, entry)
  if not found then return no_trace(self, reason) end
  if found.nexus ~= to_nexus.label(self) then return "elsewhere" end
  local outcome, problem, seconds = delivery.deliver(found, {
    ask = asker(self), wall = core.wall,
  })
  note_counts(self, found, outcome)
  entry.known, entry.nexus_id = true, found.nexus_id
  entry.doubt, entry.doubt_until = found.doubt, found.doubt_until
  if outcome == "wait" then return outcome, nil, problem end
  return outcome, problem, seconds
end

--- Nexus takes traces again: the core may send new ones.
function to_nexus.resume(self)
  if self.tracer then self.tracer:resume() end
end

return to_nexus
