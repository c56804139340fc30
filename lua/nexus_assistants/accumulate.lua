--- Puts the objects of a streamed run together: whole ones replace what was known, deltas are merged into it by the
-- rules of the official clients: what is absent is set, `index` and `type` are overwritten, texts are joined, numbers
-- added, tables merged, lists of tables merged by their `index`, other lists appended.
--
-- Texts that grow are kept in pieces and joined when someone looks, so that a long answer costs no more a piece than a
-- short one.
local json = require("nexus_assistants.json")

local accumulate = {}

local accumulator_methods = {}
local accumulator_mt = { __index = accumulator_methods, __name = "nexus_assistants.accumulator" }

local MOST_PIECES = 1024 -- of a text that grows; more would hold up the collector, which goes through them at once

local null = json.null
local concat = table.concat

--- A new accumulator: `thread`, `run`, and `messages` and `steps` in the order they came, with `message_by_id` and
-- `step_by_id`. Texts in them are whole after `flush()`.
function accumulate.new()
  return setmetatable({
    messages = json.array({}),
    steps = json.array({}),
    message_by_id = {},
    step_by_id = {},
    growing = {}, -- pieces of texts by the table they belong to and their name there
  }, accumulator_mt)
end

-- --------------------------------------------------------------------------------------------------------- merging

local merge

-- What is put together must not change what an event shows.
local function copied(value)
  if type(value) ~= "table" or value == null then return value end
  local result = {}
  for name, item in pairs(value) do result[name] = copied(item) end
  return setmetatable(result, getmetatable(value))
end

local function append_text(self, target, name, text)
  local ropes = self.growing[target]
  if not ropes then
    ropes = {}
    self.growing[target] = ropes
  end
  local pieces = ropes[name]
  if not pieces then
    ropes[name] = { target[name], text }
    return
  end
  local count = #pieces + 1
  pieces[count] = text
  if count == MOST_PIECES then ropes[name] = { concat(pieces) } end
end

local function index_of(entry)
  return type(entry) == "table" and entry.index or nil
end

-- Where a list has the entry a delta means: entries come in order as a rule, and each says its index, from 0.
local function position_of(list, item)
  local index, count = item.index, #list
  if type(index) ~= "number" or index < 0 or index % 1 ~= 0 then return count + 1 end
  local there = list[index + 1]
  if type(there) == "table" and (there.index == index or there.index == nil) then return index + 1 end
  for position = count, 1, -1 do
    local other = index_of(list[position])
    if other == index then return position end
    if type(other) == "number" and other < index then break end
  end
  return count + 1
end

local function merge_list(self, list, delta)
  for _, item in ipairs(delta) do
    local position = type(item) == "table" and position_of(list, item) or #list + 1
    if type(list[position]) == "table" then
      merge(self, list[position], item)
    else
      list[position] = copied(item)
    end
  end
end

local function merge_value(self, target, name, old, new)
  local kind = type(new)
  if kind ~= type(old) or name == "index" or name == "type" then
    target[name] = copied(new)
  elseif kind == "string" then
    append_text(self, target, name, new)
  elseif kind == "number" then
    target[name] = old + new
  elseif kind == "table" then
    if new[1] ~= nil or old[1] ~= nil then merge_list(self, old, new) else merge(self, old, new) end
  else
    target[name] = new
  end
end

function merge(self, target, delta)
  for name, new in pairs(delta) do
    if new ~= null then
      local old = target[name]
      if old == nil or old == null then target[name] = copied(new) else merge_value(self, target, name, old, new) end
    end
  end
end

--- Joins the texts that have grown.
function accumulator_methods:flush()
  for target, ropes in pairs(self.growing) do
    for name, pieces in pairs(ropes) do target[name] = concat(pieces) end
  end
  self.growing = {}
end

-- ------------------------------------------------------------------------------------------------------- events

-- A whole object takes the place of what was put together of it.
local function take_whole(list, by_id, object)
  local known = by_id[object.id]
  by_id[object.id] = object
  if not known then list[#list + 1] = object return end
  for position = #list, 1, -1 do
    if list[position] == known then list[position] = object return end
  end
end

local function take_delta(self, list, by_id, data)
  local object = by_id[data.id]
  if not object then
    object = { id = data.id }
    take_whole(list, by_id, object)
  end
  if type(data.delta) == "table" then merge(self, object, data.delta) end
  return object
end

local takes = {
  ["thread"] = function(self, data) self.thread = data end,
  ["thread.run"] = function(self, data) self.run = data end,
  ["thread.run.step"] = function(self, data) take_whole(self.steps, self.step_by_id, copied(data)) end,
  ["thread.run.step.delta"] = function(self, data) take_delta(self, self.steps, self.step_by_id, data) end,
  ["thread.message"] = function(self, data) take_whole(self.messages, self.message_by_id, copied(data)) end,
  ["thread.message.delta"] = function(self, data) take_delta(self, self.messages, self.message_by_id, data) end,
}

--- Takes the object of one event; what it is, it says itself, in `object`. Returns whether that is known.
function accumulator_methods:take(data)
  local take = takes[data.object]
  if not take or type(data.id) ~= "string" then return false end
  take(self, data)
  return true
end

return accumulate
