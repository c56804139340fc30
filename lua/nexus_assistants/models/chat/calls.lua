--- Puts the calls of a reply together, from the pieces that come of them in a stream, or from a whole message.
--
-- The official clients join all texts of a piece to those of the call with its index. Servers differ from what that is
-- made for: Ollama had no indices (its issue 7881), some have the same one for all calls; ids come with each piece, a
-- new one each time (older vLLM), late, or not at all; names are repeated; arguments are an object. So an id is taken
-- once, a name that is repeated isn't joined, and a name tells where a call begins.
local json = require("nexus_assistants.json")

local calls = {}
local calls_methods = {}
local calls_mt = { __index = calls_methods }

local present = json.present

--- No calls yet.
function calls.new()
  return setmetatable({ list = {}, at = {} }, calls_mt)
end

local function filled(value)
  return type(value) == "string" and value ~= "" and value or nil
end

local function with_id(self, id)
  for position = #self.list, 1, -1 do
    if self.list[position].id == id then return self.list[position] end
  end
end

-- Whether a piece with a name begins another call than the one it seems to go on with.
local function is_another(call, id, name, index)
  if not name then return false end
  if id then return call.id ~= nil and call.id ~= id end
  if not call.name then return false end
  return index == nil or name ~= call.name and #call.pieces > 0
end

local function begin(self, index)
  local call = { pieces = {} }
  self.list[#self.list + 1] = call
  if index ~= nil then self.at[index] = call end
  return call
end

-- The call that a piece belongs to.
local function call_of(self, id, name, index)
  local call
  if index ~= nil then
    call = self.at[index]
  else
    call = id and with_id(self, id) or self.list[#self.list]
  end
  if not call or is_another(call, id, name, index) then return begin(self, index) end
  return call
end

local function add_arguments(call, arguments)
  if type(arguments) == "table" then
    call.pieces = { json.encode(arguments) }
  elseif filled(arguments) then
    call.pieces[#call.pieces + 1] = arguments
  end
end

local function add_name(call, name)
  if name and name ~= call.name then call.name = (call.name or "") .. name end
end

--- Takes a piece of a call. `index` is used where the piece has none of its own.
function calls_methods:take(piece, index)
  local described = type(piece["function"]) == "table" and piece["function"] or {}
  local id, name = filled(piece.id), filled(described.name)
  if present(piece.index) ~= nil then index = piece.index end
  local call = call_of(self, id, name, index)
  call.id = call.id or id
  add_name(call, name)
  add_arguments(call, present(described.arguments))
end

--- The calls, as a model's answer has them. What an id was used for before goes without one.
function calls_methods:finished()
  local result, known = {}, {}
  for position, call in ipairs(self.list) do
    local arguments = table.concat(call.pieces)
    local id = not known[call.id or ""] and call.id or nil
    if id then known[id] = true end
    result[position] = { id = id, name = call.name, arguments = arguments:find("%S") and arguments or "{}" }
  end
  return result
end

return calls
