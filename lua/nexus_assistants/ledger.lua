--- The ledger: the threads this client made or used. The API has no list of threads, so that one that is forgotten is
-- never found again.
local json = require("nexus_assistants.json")

local ledger = {}

local ledger_methods = {}
local ledger_mt = { __index = ledger_methods, __name = "nexus_assistants.ledger" }

local MOST = 10000 -- threads that are remembered; the ones not used for longest are forgotten first
local FORGOTTEN = 0.1 -- share of them that goes at once
local MOST_TURNS = 20 -- runs of a thread whose tokens are remembered

--- Makes a ledger; `wall` returns the time, Unix seconds.
function ledger.new(wall)
  return setmetatable({ wall = wall, threads = {}, count = 0, sequence = 0 }, ledger_mt)
end

local function by_use(one, other)
  return one.sequence < other.sequence
end

local function all_entries(self)
  local entries = {}
  for _, entry in pairs(self.threads) do entries[#entries + 1] = entry end
  table.sort(entries, by_use)
  return entries
end

--- Takes a thread out, which is gone.
function ledger_methods:forget(thread_id)
  if not self.threads[thread_id] then return end
  self.threads[thread_id] = nil
  self.count = self.count - 1
end

local function make_room(self)
  if self.count < MOST then return end
  local entries = all_entries(self)
  for index = 1, math.ceil(MOST * FORGOTTEN) do
    self:forget(entries[index].id)
  end
end

local function entry_of(self, thread_id)
  local entry = self.threads[thread_id]
  if not entry then
    make_room(self)
    entry = { id = thread_id, created = false, created_at = nil, uses = 0, used_at = nil, turns = {} }
    self.threads[thread_id] = entry
    self.count = self.count + 1
  end
  self.sequence = self.sequence + 1
  entry.sequence = self.sequence
  return entry
end

local function add_created(self, thread_id)
  local entry, now = entry_of(self, thread_id), self.wall()
  entry.created, entry.created_at, entry.used_at = true, now, now
  return entry
end

local MAKES_THREADS = { ["threads.create"] = "id", ["threads.create_and_run"] = "thread_id" }

--- Takes note of an operation that succeeded.
function ledger_methods:saw(operation, params, result)
  local made = MAKES_THREADS[operation.name]
  if made then
    if type(result[made]) ~= "string" then return end
    local entry = add_created(self, result[made])
    if operation.name == "threads.create_and_run" then entry.uses = 1 end
    return
  end
  local thread_id = params.path and params.path.thread_id
  if not thread_id then return end
  if operation.name == "threads.delete" then return self:forget(thread_id) end
  local entry = entry_of(self, thread_id)
  entry.uses, entry.used_at = entry.uses + 1, self.wall()
end

--- Adds what a run of a thread used: `{ run_id, tokens, prompt_tokens }`.
function ledger_methods:add_turn(thread_id, turn)
  local turns = entry_of(self, thread_id).turns
  local last = turns[#turns]
  if last and turn.run_id ~= nil and last.run_id == turn.run_id then return end -- it was waited for twice
  turns[#turns + 1] = turn
  if #turns > MOST_TURNS then table.remove(turns, 1) end
end

--- What the runs of a thread used, the latest last; an empty list where none is known.
function ledger_methods:turns(thread_id)
  local entry = thread_id and self.threads[thread_id]
  return entry and entry.turns or {}
end

--- Whether a thread was made here and not used since.
function ledger_methods:is_unused(thread_id)
  local entry = self.threads[thread_id]
  return entry ~= nil and entry.created and entry.uses == 0
end

--- The threads this client made and did not delete, oldest use first: `{ id, created_at, used_at, uses }`.
function ledger_methods:list()
  local list = json.array({})
  for _, entry in ipairs(all_entries(self)) do
    if entry.created then
      list[#list + 1] = { id = entry.id, created_at = entry.created_at, used_at = entry.used_at, uses = entry.uses }
    end
  end
  return list
end

return ledger
