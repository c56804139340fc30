--- The local server: the Assistants protocol below /v1, on the runtime, Nexus's below /api/v1, in memory, and at / a
-- page that shows what came there.
local assistants = require("nexus_assistants.serve.assistants")
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local hosts = require("nexus_assistants.serve.hosts")
local ids = require("nexus_assistants.providers.runtime.id")
local message = require("nexus_assistants.serve.message")
local nexus = require("nexus_assistants.serve.nexus")
local pages = require("nexus_assistants.serve.page")
local providers = require("nexus_assistants.providers")
local schedulers = require("nexus_assistants.scheduler")
local servers = require("nexus_assistants.serve.server")
local surrounding = require("nexus_assistants.surrounding")

local serve = {}

-- How many seconds answers that are under way may still take when the server is asked to end.
local GRACE = 5

local NO_MODEL = "no --model-name and no OPENAI_MODEL: runs fail whose assistant names no model that is there"

local LONGEST_REASON = 300 -- bytes; it may quote what was sent

local OPEN = "whoever reaches %s may use this server, with any key; --api-key-environment has it ask for the right one"

-- What says whether a key is the one in the environment; nil where any will do.
local function key_check(name)
  return name and function(key) return core.is_secret(name, key) end
end

local function warn(text)
  io.stderr:write("nexus-assistants: warning: ", text, "\n")
end

local function time_stamp()
  return os.date("!%Y-%m-%dT%H:%M:%SZ")
end

-- What is quoted may be anything.
local function harmless(text)
  return (tostring(text):gsub("[^\32-\126]", "?"):sub(1, LONGEST_REASON))
end

-- Tells of each question that a model didn't answer: the client sees it in its run, who runs the server here.
local function tell_failures(_, run)
  return {
    enter = function() end,
    finish = function(_, answer, err)
      if answer ~= nil or err == nil then return end
      local problem, hint = err, nil
      if type(err) == "table" then problem, hint = err.message, err.hint end
      io.stderr:write(("%s run %s failed: %s%s\n"):format(time_stamp(), run.id, harmless(problem),
        hint and "; " .. hint or ""))
    end,
  }
end

-- A message about what is missing, in words of the command.
local function in_options(problem)
  return (problem:gsub(" or openai%.api_key.*$", ", or name a server that wants no key by --base-url"))
end

-- The runtime, and the scheduler that drives it and what its model waits for.
local function make_runtime(options)
  local engine, problem = core.engine({})
  if not engine then return nil, problem.message end
  local tasks = schedulers.new(engine, core.monotonic, warn)
  local runtime, err = providers.runtime(options.provider or "script", options.openai or {}, {
    scheduler = tasks, script = options.script, store = options.store,
    runtime = { delay = options.delay, assistant_id = options.assistant_id, is_served = true,
      observe = not options.quiet and tell_failures or nil },
  })
  if not runtime then return nil, in_options(errors.advised(err)) end
  tasks:attend(runtime)
  return runtime, tasks
end

-- What answers the requests: a function of them, and one of heads alone, which returns nil where the body matters.
local function make_handlers(options, runtime)
  local accepts = key_check(options.key_environment)
  local assistants_api = assistants.new(runtime, "/v1", ids.new, accepts)
  local nexus_api = nexus.new({ new_id = ids.uuid, accepts = accepts })
  local page = pages.new(nexus_api, options.host or "127.0.0.1", accepts ~= nil)
  local function api_of(request)
    if request.path:sub(1, 4) == "/v1/" then return assistants_api end
    if request.path:sub(1, 5) == "/api/" then return nexus_api end
  end
  local function handle(request, connection)
    if pages.has(request.path) then return page:handle(request) end
    local api = api_of(request)
    if not api then return nexus.not_found() end
    request.fields = message.parse_query(request.query)
    return api:handle(request, connection)
  end
  local function answer_head(request)
    -- without a body the connection can be kept, so that is left to `handle`
    if request.length == 0 then return nil end
    local api = api_of(request)
    if not api then return nexus.not_found() end
    return api:refusal(request)
  end
  return handle, answer_head
end

-- A line a request, as it is answered; what was no request has no method and no target. A page asks each second, mostly
-- for nothing.
local function log(request, status, seconds, reason)
  if status == 304 then return end
  local method, target = request and request.method or "-", request and request.target or "-"
  local why = reason and " (" .. harmless(reason) .. ")" or ""
  io.stderr:write(string.format("%s %s %s %s %.1f ms%s\n", time_stamp(), method,
    target:gsub("[^\33-\126]", "?"), status or "-", seconds * 1000, why))
end

local function announce(server)
  io.stdout:write("listening on http://", servers.authority(server.host, server.port), "\n")
  io.stdout:flush()
end

-- The scheduler does what there is to do each round, and says what the loop is to wait for beside its connections.
local function drive(loop, tasks)
  loop.descriptors = function() return tasks.engine:fds() end
  loop.each_round = function()
    tasks:turn(0)
    local own, engine = tasks:idle_time(), tasks.engine:timeout()
    if own and engine then return math.min(own, engine) end
    return own or engine
  end
end

-- The server that answers with the runtime; or nil, message, and the runtime is closed.
local function listen(options, runtime)
  local handler, answer_head = make_handlers(options, runtime)
  local settings = { host = options.host, port = options.port, on_head = answer_head, limits = options.limits }
  if options.wrap then handler = options.wrap(handler, settings) end
  settings.handler = handler
  local server, err = servers.new(settings)
  if not server then runtime:close() end
  return server, err
end

--- Listens; once it runs, the server says where on standard output. `options`:
--   host, port, quiet, exit_after (seconds)
--   limits                       `body` in bytes, `connections`: of the server, see server.lua
--   key_environment              the variable with the key that is wanted; where absent, any key is taken
--   provider, openai, script, store  as in `nexus.new`, but for `provider` being "script" by default
--   delay, assistant_id          go to the runtime
--   wrap(handler, server options) → handler
-- Returns the server, or nil, message.
function serve.start(options)
  local name = options.key_environment
  if name and core.is_secret(name, "") == nil then
    return nil, "the environment variable " .. name .. " holds no key (visible ASCII characters, no spaces)"
  end
  local runtime, tasks = make_runtime(options)
  if not runtime then return nil, tasks end
  local server, err = listen(options, runtime)
  if not server then return nil, err end
  if not name and not hosts.is_loopback(server.host) then warn(OPEN:format(server.host)) end
  local is_script = (options.provider or "script") == "script"
  if not is_script and not options.openai.model then warn(NO_MODEL) end
  if not options.quiet then server.on_answered = log end
  drive(server.loop, tasks)
  if options.exit_after then
    server.loop:after(options.exit_after, function() server.loop:stop() end)
  end
  server.on_run, server.runtime = announce, runtime
  return server
end

local function finish_on(server, signals)
  server.loop:spawn(nil, function()
    server.loop:wait_readable(signals)
    server:finish(GRACE)
  end)
end

--- Listens and serves until SIGINT (Ctrl-C) or SIGTERM; true, or nil, message. Where those are raised in the script
-- that calls this, that is what it comes to.
function serve.run(options)
  local server, err = serve.start(options)
  if not server then return nil, err end
  local given = surrounding.signals()
  local signals = given or core.signals()
  finish_on(server, signals)
  local has_ended = server:run()
  if not given then signals:close() end
  server.runtime:close()
  if given and not has_ended then core.interrupt_again("interrupted!") end
  return true
end

return serve
