--- What the operations on assistants do, see `actions`. One is built in: it is there from the start and stays.
local failure = require("nexus_assistants.providers.runtime.failure")
local json = require("nexus_assistants.json")
local list = require("nexus_assistants.providers.runtime.listing")
local objects = require("nexus_assistants.providers.runtime.objects")
local options = require("nexus_assistants.options")
local weight = require("nexus_assistants.providers.runtime.weight")

local assistants = { actions = {} }

local KIND, PARENT = "assistants", ""

local function now_of(self)
  return math.floor(self.clock())
end

--- The assistant with this id, or nil and an error.
function assistants.find(self, id)
  local assistant = type(id) == "string" and self.store:get(KIND, PARENT, id)
  if assistant then return assistant end
  local _, err = failure.not_found("assistant", id)
  err.hint = options.hint_on_assistant(err.message)
  return nil, err
end

--- What the assistant that is built in has as its model, where nobody named one.
assistants.NO_MODEL = "local"

local function build_in(self, id, model_name)
  self.store:lock_thread(PARENT)
  if self.store:get(KIND, PARENT, id) then return end
  self.store:insert(KIND, PARENT,
    objects.assistant(id, now_of(self), { model = model_name or assistants.NO_MODEL, name = json.null }))
end

--- Adds the one that is built in, where nobody who shares the store has.
function assistants.build_in(self, id, model_name)
  self.built_in = id
  if not self.store:get(KIND, PARENT, id) then self.store:atomically(build_in, self, id, model_name) end
end

local function refuse_where_full(self, body, more)
  if self.store:has_room(PARENT, weight(body), more) then return true end
  return failure.bad_request("There are as many assistants as this server holds.", nil, "assistants_full")
end

local actions = assistants.actions

actions["assistants.create"] = function(self, _, body)
  local free, err = refuse_where_full(self, body, 1)
  if free then free, err = self.vector_stores:make_described(body.tool_resources) end
  if not free then return nil, err end
  local assistant = objects.assistant(self.new_id("asst_"), now_of(self), body)
  self.store:insert(KIND, PARENT, assistant)
  return assistant
end

actions["assistants.list"] = function(self, _, _, query)
  return list(self.store, KIND, "assistant", PARENT, query)
end

actions["assistants.retrieve"] = function(self, path)
  return assistants.find(self, path.assistant_id)
end

actions["assistants.update"] = function(self, path, body)
  local assistant, err = assistants.find(self, path.assistant_id)
  if not assistant then return nil, err end
  local free
  free, err = refuse_where_full(self, body, 0)
  if not free then return nil, err end
  objects.change_assistant(assistant, body)
  self.store:save(KIND, PARENT, assistant)
  return assistant
end

actions["assistants.delete"] = function(self, path)
  local assistant, err = assistants.find(self, path.assistant_id)
  if not assistant then return nil, err end
  if assistant.id == self.built_in then
    return failure.bad_request("Assistant " .. assistant.id .. " is built in: it can't be deleted.")
  end
  self.store:delete(KIND, PARENT, assistant.id)
  return { id = assistant.id, object = "assistant.deleted", deleted = true }
end

return assistants
