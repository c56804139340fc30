--- What is too large for a text: files that go up as multipart/form-data, and answers that go to a sink as they come.
local values = require("nexus_assistants.values")

local transfers = {}

local MOST_AT_ONCE = 1024 * 1024 -- bytes that the core takes

-- ------------------------------------------------------------------------------------------------------------- up

local function file_part(name, file)
  return {
    name = name,
    path = file.path,
    data = file.data,
    source = file.read and true or nil,
    size = file.size,
    file_name = file.name,
    content_type = file.content_type,
  }
end

local function text_of(value)
  if type(value) == "number" and value % 1 == 0 then return string.format("%.0f", value) end
  return tostring(value)
end

local add_field

local function add_fields(parts, prefix, fields)
  for _, name in ipairs(values.sorted_names(fields)) do
    add_field(parts, prefix and prefix .. "[" .. name .. "]" or name, fields[name])
  end
end

-- `expires_after = { anchor = … }` becomes `expires_after[anchor]`, a list `name[]`, as the API's own clients write
-- it.
function add_field(parts, name, value)
  if type(value) ~= "table" then
    parts[#parts + 1] = { name = name, data = text_of(value) }
  elseif value[1] ~= nil then
    for _, item in ipairs(value) do add_field(parts, name .. "[]", item) end
  else
    add_fields(parts, name, value)
  end
end

-- A function for bytes that says so where it gives more of them than were promised, or less.
local function counted(read, size)
  local given = 0
  return function()
    local bytes, problem = read()
    if type(bytes) == "string" then given = given + #bytes end
    if given > size or bytes == nil and problem == nil and given < size then
      return nil, ("read gave %.0f bytes, and 'size' is %.0f"):format(given, size)
    end
    return bytes, problem
  end
end

--- The parts of a multipart body, the file last; and the function its bytes come from, where it is one. The fields have
-- been checked.
function transfers.parts(operation, fields)
  local parts, file = {}, nil
  local others = {}
  for name, value in pairs(fields) do
    if name == operation.file_field then file = value else others[name] = value end
  end
  add_fields(parts, nil, others)
  parts[#parts + 1] = file_part(operation.file_field, file)
  return parts, file.read and file.size and counted(file.read, file.size) or file.read
end

-- ----------------------------------------------------------------------------------------------------------- down

local file_sink_methods = {}
local file_sink_mt = { __index = file_sink_methods }

function file_sink_methods:write(piece)
  return self.file:write(piece)
end

-- The name appears with all of the file, or not at all.
function file_sink_methods:finish(ok)
  local closed, problem = self.file:close()
  if ok and closed then
    closed, problem = os.rename(self.aside, self.path)
    if closed then return true end
  end
  os.remove(self.aside)
  return nil, problem
end

local function file_sink(path)
  local aside = path .. ".part"
  local file, problem = io.open(aside, "wb")
  if not file then return nil, problem end
  return setmetatable({ path = path, aside = aside, file = file }, file_sink_mt)
end

local function function_sink(write)
  return {
    write = function(_, piece)
      local ok, problem = write(piece)
      if ok == nil and problem ~= nil then return nil, problem end
      return true
    end,
    finish = function() return true end,
  }
end

--- Where an answer is to go by a call's options: something with `write(piece)` and `finish(ok)`, both true or nil and
-- what is wrong; nil for nowhere.
function transfers.sink(given)
  if given.path then return file_sink(given.path) end
  if given.sink then return function_sink(given.sink) end
  return nil
end

-- -------------------------------------------------------------------------------------------------- while it runs

local service_methods = {}
local service_mt = { __index = service_methods }

--- What a call needs while it runs, for `scheduler:await`: `read` gives what goes up (nil for the end), `sink` takes
-- what comes down, `on_progress` is told how far it is. Nil where it needs nothing.
function transfers.service(read, sink, on_progress)
  if not (read or sink or on_progress) then return nil end
  return setmetatable({ read = read, sink = sink, on_progress = on_progress, taken = 0 }, service_mt)
end

-- What the script's function gives next, or nil and what is wrong; false at the end.
local function read_next(self)
  local bytes, problem
  repeat
    bytes, problem = self.read()
  until bytes ~= ""
  if bytes == nil and problem ~= nil then return nil, problem end
  if bytes == nil then return false end
  if type(bytes) ~= "string" then return nil, "read must return a string or nil, got a " .. type(bytes) end
  return bytes
end

local function send_next(self, call)
  local bytes, problem = self.rest, nil
  if not bytes then bytes, problem = read_next(self) end
  if bytes == nil then return nil, problem end
  if not bytes then return call:send_end() end
  self.rest = #bytes > MOST_AT_ONCE and bytes:sub(MOST_AT_ONCE + 1) or nil
  return call:send(bytes:sub(1, MOST_AT_ONCE))
end

local function take_pieces(self, call)
  local piece = call:piece()
  while piece do
    local ok, problem = self.sink:write(piece)
    if not ok then return nil, problem or "the sink failed" end
    self.taken = self.taken + #piece
    piece = call:piece()
  end
  return true
end

--- Does what the events since the last time ask for; nil and what is wrong where it can't.
function service_methods:serve(call)
  local ok, problem = true, nil
  if self.send then
    self.send = nil
    ok, problem = send_next(self, call)
    if not ok and type(problem) == "table" then problem = problem.message end
  end
  if ok and self.sink then ok, problem = take_pieces(self, call) end
  if self.on_progress and (self.progress or call:done()) then
    self.progress = nil
    self.on_progress(call:progress())
  end
  return ok, problem
end

return transfers
