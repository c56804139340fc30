--- Files and uploads in memory: what they hold, and when they go.
local checks = require("nexus_assistants.providers.runtime.checks")
local collection = require("nexus_assistants.providers.runtime.files.collection")
local core = require("nexus_assistants.core")
local failure = require("nexus_assistants.providers.runtime.failure")
local json = require("nexus_assistants.json")
local weight = require("nexus_assistants.providers.runtime.weight")

local files = {}
local files_methods = {}
local files_mt = { __index = files_methods }

local MEBIBYTE = 1024 * 1024
local UPLOAD_LIFETIME, BATCH_LIFETIME = 3600, 30 * 24 * 3600
local PIECE = 64 * 1024
-- More than a part or a file weighs beside its content.
local RECORD = 1024

--- `settings`: `clock`, `new_id`, `after(seconds, fire)` → timer, `cancel(timer)`; `max_file_bytes` of one file, 64
-- MiB where absent, and `max_files_bytes` of all files, parts of uploads and vector stores together, 256 MiB where
-- absent. `on_delete(id)`, where it is set, is told of each file that goes.
function files.new(settings)
  local budget = collection.budget(settings.max_files_bytes or 256 * MEBIBYTE)
  return setmetatable({
    settings = settings, max_file_bytes = settings.max_file_bytes or 64 * MEBIBYTE, budget = budget,
    files = collection.new(budget), uploads = collection.new(budget),
  }, files_mt)
end

local function now_of(self)
  return math.floor(self.settings.clock())
end

--- true where there is room for so many bytes more; or nil and an error.
function files_methods:room_for(bytes)
  if self.budget:has_room(bytes) then return true end
  return failure.bad_request("This server holds as many bytes of files and vector stores as it may.", nil,
    "storage_full")
end

local function check_size(self, bytes, name)
  if bytes <= self.max_file_bytes then return true end
  return failure.bad_request(("File is too large: this server takes files of up to %d bytes."):format(
    self.max_file_bytes), name, "file_too_large")
end

-- ------------------------------------------------------------------------------------------------------ content

-- Nothing that comes in pieces is read much further than a file may be long.
local function gather(read, most)
  local pieces, length = {}, 0
  while length <= most do
    local piece, problem = read()
    if piece == nil and problem ~= nil then return nil, tostring(problem) end
    if piece == nil then break end
    if type(piece) ~= "string" then return nil, "read must return a string or nil, got a " .. type(piece) end
    pieces[#pieces + 1], length = piece, length + #piece
  end
  return table.concat(pieces)
end

local function read_path(path, most)
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local bytes
  bytes, problem = gather(function() return file:read(PIECE) end, most)
  file:close()
  return bytes, problem
end

local function read_source(source, most)
  if source.data then return source.data end
  if source.path then return read_path(source.path, most) end
  local ran, bytes, problem = pcall(gather, source.read, most)
  if not ran then return nil, tostring(bytes) end
  return bytes, problem
end

-- Where a form's file comes from, `{data | path | read}`; nil where it says none or several.
local function source_of(given)
  local source, count = {}, 0
  for _, kind in ipairs({ "data", "path", "read" }) do
    source[kind] = checks.given(given[kind])
    if source[kind] then count = count + 1 end
  end
  return count == 1 and source or nil
end

-- What a form's file holds; or nil and an error.
local function content_of(self, given, name)
  local source = source_of(given)
  if not source then
    return failure.bad_request("'" .. name .. "' must have one of 'data', 'path' and 'read'.", name)
  end
  local bytes, problem = read_source(source, self.max_file_bytes)
  if not bytes then return failure.bad_request("'" .. name .. "' can't be read: " .. problem, name) end
  local fits, err = check_size(self, #bytes, name)
  return fits and bytes, err
end

local function file_name_of(given)
  local path = checks.given(given.path)
  local name = checks.given(given.name) or path and path:match("[^/\\]*$")
  if not name or name == "" then return checks.missing("file.name") end
  if core.utf8_valid(name) then return name end
  return failure.bad_request("Invalid 'file.name': it isn't valid UTF-8.", "file.name")
end

-- -------------------------------------------------------------------------------------------------------- files

-- Forms have texts only, so the number may be one.
local function lifetime_of(purpose, expires_after)
  if checks.given(expires_after) then return tonumber(expires_after.seconds) end
  return purpose == "batch" and BATCH_LIFETIME or nil
end

local function add_file(self, purpose, name, content, expires_after)
  local now, lifetime = now_of(self), lifetime_of(purpose, expires_after)
  local wire = {
    object = "file", id = self.settings.new_id("file-"), purpose = purpose, filename = name, bytes = #content,
    created_at = now, expires_at = lifetime and now + lifetime or json.null, status = "processed",
    status_details = json.null,
  }
  local record = self.files:insert({ id = wire.id, wire = wire, content = content }, #content)
  if lifetime then record.timer = self.settings.after(lifetime, function() self:delete(record) end) end
  return record
end

--- The file with this id, with `wire` and `content`; or nil and an error.
function files_methods:get(id)
  local record = self.files:get(id)
  if record then return record end
  return failure.no_file(id)
end

--- Keeps the file of a form. Returns its record, or nil and an error.
function files_methods:create(form)
  local name, err = file_name_of(form.file)
  if not name then return nil, err end
  local content
  content, err = content_of(self, form.file, "file")
  if not content then return nil, err end
  local free
  free, err = self:room_for(#content + #name + RECORD)
  if not free then return nil, err end
  return add_file(self, form.purpose, name, content, form.expires_after)
end

--- Deletes a file.
function files_methods:delete(record)
  if record.timer then self.settings.cancel(record.timer) end
  self.files:remove(record)
  if self.on_delete then self.on_delete(record.id) end
end

-- ------------------------------------------------------------------------------------------------------ uploads

--- The upload with this id; or nil and an error.
function files_methods:get_upload(id)
  local record = self.uploads:get(id)
  if record then return record end
  return failure.not_found("upload", id)
end

local function pending_upload(self, id)
  local record, err = self:get_upload(id)
  if not record then return nil, err end
  if record.wire.status == "pending" then return record end
  return failure.bad_request("Upload " .. id .. " has status '" .. record.wire.status .. "'.")
end

-- What was uploaded isn't needed any more; the upload itself is remembered until its time is over.
local function end_upload(self, record, status)
  record.wire.status, record.parts = status, {}
  self.uploads:save(record, 0)
end

-- An hour after its beginning an upload expires; an hour later it is forgotten, whatever became of it.
local function expire_upload(self, record)
  if record.wire.status == "pending" then end_upload(self, record, "expired") end
  self.settings.after(UPLOAD_LIFETIME, function() self.uploads:remove(record) end)
end

--- Begins an upload, of the body of `uploads.create`.
function files_methods:begin_upload(body)
  local fits, err = check_size(self, body.bytes, "bytes")
  if fits then fits, err = self:room_for(weight(body)) end
  if not fits then return nil, err end
  local now = now_of(self)
  local wire = {
    id = self.settings.new_id("upload_"), object = "upload", bytes = body.bytes, created_at = now,
    filename = body.filename, purpose = body.purpose, status = "pending", expires_at = now + UPLOAD_LIFETIME,
  }
  local record = { id = wire.id, wire = wire, parts = {}, received = 0, expires_after = body.expires_after }
  self.uploads:insert(record)
  self.settings.after(UPLOAD_LIFETIME, function() expire_upload(self, record) end)
  return record
end

--- Adds a part to an upload. Returns the part's wire object, or nil and an error.
function files_methods:add_part(id, given)
  local record, err = pending_upload(self, id)
  if not record then return nil, err end
  local content
  content, err = content_of(self, given, "data")
  if not content then return nil, err end
  local free
  free, err = self:room_for(#content + RECORD)
  if not free then return nil, err end
  local part_id = self.settings.new_id("part_")
  record.parts[part_id] = content
  self.uploads:save(record, record.extra + #content + weight({ part_id }))
  return { id = part_id, object = "upload.part", created_at = now_of(self), upload_id = id }
end

-- The parts in the order they are named, and their length together.
local function named_parts(record, part_ids)
  local pieces, seen, length = {}, {}, 0
  for index, part_id in ipairs(part_ids) do
    if not record.parts[part_id] then
      return failure.bad_request("No part with id '" .. part_id .. "' belongs to upload " .. record.id .. ".",
        "part_ids")
    end
    if seen[part_id] then
      return failure.bad_request("Part '" .. part_id .. "' is named twice.", "part_ids")
    end
    seen[part_id], pieces[index] = true, record.parts[part_id]
    length = length + #pieces[index]
  end
  return pieces, length
end

-- What the parts make. They may be much more than they should, so that is looked at before they are joined; the `md5`
-- that an upload may be completed with is taken and not looked at.
local function joined(record, part_ids)
  local pieces, length = named_parts(record, part_ids)
  if not pieces then return nil, length end
  if length == record.wire.bytes then return table.concat(pieces) end
  local text = "The parts have %d bytes together, but the upload was to have %d bytes."
  return failure.bad_request(text:format(length, record.wire.bytes), "part_ids")
end

--- Makes a file of an upload's parts. Returns the upload, or nil and an error; then it stays pending.
function files_methods:complete_upload(id, body)
  local record, err = pending_upload(self, id)
  if not record then return nil, err end
  local content
  content, err = joined(record, body.part_ids)
  if not content then return nil, err end
  end_upload(self, record, "completed")
  local file = add_file(self, record.wire.purpose, record.wire.filename, content, record.expires_after)
  record.wire.file = file.wire
  self.uploads:save(record)
  return record
end

--- Ends an upload without a file.
function files_methods:cancel_upload(id)
  local record, err = pending_upload(self, id)
  if not record then return nil, err end
  end_upload(self, record, "cancelled")
  return record
end

return files
