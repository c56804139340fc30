--- Makes who performs a client's operations, as its options say: the Assistants protocol over HTTP, or the runtime in
-- this process with a model that thinks for it.
local assistants = require("nexus_assistants.providers.assistants")
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local model_span = require("nexus_assistants.model_span")
local options = require("nexus_assistants.options")
local state_folder = require("nexus_assistants.state_folder")
local values = require("nexus_assistants.values")

local providers = {}

local STORE_VARIABLE = options.client.store.environment

--- What the file of threads is called among the user's.
providers.LOCAL_FILE = "threads.sqlite"

local function configuration(message)
  return nil, errors.new({ kind = "configuration", message = message })
end

-- ------------------------------------------------------------------------------------------------------ the API

local function query_of(given)
  if type(given) == "table" then return assistants.query_text(given) end
  return given ~= "" and given or nil
end

local function headers_of(given, protocol)
  local headers = values.merged(protocol, {
    ["OpenAI-Organization"] = given.organization, ["OpenAI-Project"] = given.project,
  })
  return values.merged(headers, given.headers)
end

-- What somebody has set, by what the core calls it.
local function names_of(given)
  return {
    base_url = options.source("openai.base_url", "OPENAI_BASE_URL", given.base_url),
    key = "option 'openai.api_key'", key_environment = "environment variable OPENAI_API_KEY",
    key_header = "option 'openai.auth_header'", key_prefix = "option 'openai.auth_prefix'",
    query = "option 'openai.query'", headers = "option 'openai.headers'",
  }
end

-- The key goes straight into the core; false is no key at all.
local function api_endpoint(given, protocol)
  local endpoint, problem = core.endpoint({
    key = given.api_key or nil,
    key_environment = given.api_key == nil and "OPENAI_API_KEY" or nil,
    base_url = given.base_url,
    key_header = given.auth_header,
    key_prefix = given.auth_prefix,
    query = query_of(given.query),
    headers = headers_of(given, protocol),
  })
  if not endpoint then return nil, errors.of_configuration(problem, "nexus.new: openai", names_of(given)) end
  if given.api_key ~= false and not given.key_is_optional and not endpoint:has_key() then
    return configuration("no API key: set OPENAI_API_KEY or openai.api_key (false where the server wants none)")
  end
  return endpoint
end

local function new_api(given, parts, protocol)
  local endpoint, err = api_endpoint(given, protocol)
  if not endpoint then return nil, err end
  local recorder = not assistants.names_parent(given.headers) and parts.recorder or nil
  return assistants.new(parts.scheduler, endpoint, {
    timeout = given.timeout, deadline = given.deadline, retries = given.retries,
  }, recorder)
end

-- ---------------------------------------------------------------------------------------------------- the store

--- The store of a runtime: `where` is a path, a URL, "memory" or nil; threads are kept in a file of the user's by
-- default where they are worth keeping. Returns nil for memory; or nil and an error.
function providers.store(where, is_kept)
  if where == nil and is_kept then
    where = state_folder.path(providers.LOCAL_FILE)
    if not where then return configuration("no place to keep threads in: set the option store, or HOME") end
  end
  if where == nil or where == "memory" then return nil end
  local store, err = require("nexus_assistants.providers.runtime.sql_store").open(where)
  if err and core.environment(STORE_VARIABLE) == where then err.hint = "check " .. STORE_VARIABLE end
  return store, err
end

-- --------------------------------------------------------------------------------------------------- the models

-- Groups of operations, by the first word of their names, that the runtime has itself and an API may have, too.
local FILES = { "files", "uploads", "vector_stores" }

local function files_elsewhere(what)
  local groups = {}
  for _, name in ipairs(FILES) do groups[name] = what end
  return groups
end

local function responses_model(given, parts)
  local api, err = new_api(given, parts)
  if not api then return nil, err end
  local model = require("nexus_assistants.models.responses").new({
    api = api, history = given.history, background = given.background,
  })
  return { model = model, api = api, groups = files_elsewhere("api") }
end

local function chat_model(given, parts)
  local api, err = new_api(given, parts)
  if not api then return nil, err end
  local model = require("nexus_assistants.models.chat").new({ api = api, dialect = given.dialect })
  local files = model.has_files and "api"
    or "there are no files and vector stores here: " .. given.base_url .. " is an endpoint for chats"
  return { model = model, api = api, groups = files_elsewhere(files) }
end

local function script_model(_, parts)
  local script, given = require("nexus_assistants.models.script"), parts.script
  if given == nil then return { model = script.echo() } end
  if type(given) ~= "string" then return { model = script.new(given) } end
  local model, problem = script.load(given)
  if not model then return configuration(problem) end
  return { model = model }
end

local MODELS = { responses = responses_model, chat = chat_model, script = script_model }

--- What models there are, by the names of their providers.
providers.models = MODELS

--- Makes a runtime. `name` is "responses", "chat" or "script"; `given` are the options `openai`; `parts` has scheduler,
-- and may have script, store, recorder (which traces questions to the model), and as `runtime` what else `runtime.new`
-- takes. Returns the runtime and its api, which is nil for a script; or nil and an error.
function providers.runtime(name, given, parts)
  local made, err = MODELS[name](given, parts)
  if not made then return nil, err end
  local store
  store, err = providers.store(parts.store, name ~= "script")
  if err then return nil, err end
  local runtimes = require("nexus_assistants.providers.runtime")
  local runtime
  runtime, err = runtimes.new(values.merged(values.merged(parts.runtime, made), {
    scheduler = parts.scheduler, store = store, model_name = given.model,
    observe = parts.recorder and model_span.observer(parts.recorder),
  }))
  if runtime then return runtime, made.api end
  store:close()
  return nil, err
end

local NO_CALLS = { calls = 0, calls_failed = 0 }

--- Makes the provider that `settings` of `nexus.new` choose. `scheduler` and `recorder` are the client's.
-- Returns a table of `provider`, `transport` (what counts calls) and `runtime` (nil where there is none); or nil and an
-- error.
function providers.new(settings, scheduler, recorder)
  if settings.provider == "assistants" then
    local api, err = new_api(settings.openai, { scheduler = scheduler, recorder = recorder }, assistants.headers)
    return api and { provider = api, transport = api }, err
  end
  local runtime, api = providers.runtime(settings.provider, settings.openai, {
    scheduler = scheduler, recorder = recorder, script = settings.script, store = settings.store,
  })
  if not runtime then return nil, api end
  scheduler:attend(runtime)
  return { provider = runtime, transport = api or NO_CALLS, runtime = runtime }
end

return providers
