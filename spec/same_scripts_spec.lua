-- The same agent scripts with every provider: they must come to the same results, errors and spans.
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local chat_server = require("spec.support.chat_server")
local agents = require("spec.support.agents")
local responses_server = require("spec.support.responses_server")
local servers = require("spec.support.server")
local values = require("nexus_assistants.values")

local MODEL_SCRIPT = servers.root .. "spec/support/told_model.lua"

-- How each provider is had: a function that returns options for a client, and what to call at the end.
local PROVIDERS = {}

PROVIDERS.script = function()
  return { provider = "script", script = dofile(MODEL_SCRIPT) }, function() end
end

PROVIDERS["script, with threads in a file"] = function()
  local path = os.tmpname()
  return { provider = "script", script = dofile(MODEL_SCRIPT), store = path },
    function() os.execute("rm -f " .. servers.quote(path) .. "*") end
end

PROVIDERS.assistants = function()
  local server = servers.start({ model_script = MODEL_SCRIPT })
  return { openai = { base_url = server.openai_url, api_key = "sk-x" }, assistant_id = "asst_local" },
    function() server:stop() end
end

local function chat_endpoint()
  return chat_server.start(servers.root .. "spec/support/told_chat.lua")
end

-- A server of the protocol whose model is elsewhere, too.
PROVIDERS["assistants, served on chat"] = function()
  local endpoint = chat_endpoint()
  local server = servers.start({ arguments = { "--model", "chat", "--base-url", endpoint.url, "--model-name", "small-0",
    "--store", "memory", "--dialect", "openai" } })
  return { openai = { base_url = server.openai_url, api_key = "sk-x" }, assistant_id = "asst_local" },
    function()
      server:stop()
      endpoint:stop()
    end
end

PROVIDERS.chat = function()
  local endpoint = chat_endpoint()
  return { provider = "chat", store = "memory",
    openai = { base_url = endpoint.url, api_key = "sk-x", dialect = "openai", model = "small-0", retries = 0 } },
    function() endpoint:stop() end
end

local function on_responses(history, background)
  return function()
    local endpoint = responses_server.start(servers.root .. "spec/support/told_responses.lua")
    return { provider = "responses", store = "memory", openai = { base_url = endpoint.url, api_key = "sk-x",
      model = "small-0", retries = 0, history = history, background = background } },
      function() endpoint:stop() end
  end
end

PROVIDERS.responses = on_responses()
PROVIDERS["responses, with a conversation"] = on_responses("conversation")
PROVIDERS["responses, in the background"] = on_responses("local", true)

-- Spans by their names, below each other. Questions to a model are asked in this process by some providers alone, and
-- what took long has a last span, `trace.end`.
local function outline(trace)
  local children, names = {}, {}
  for _, span in ipairs(trace.spans) do
    local parent = span.parent_span_id
    if parent == nil or parent == json.null then parent = "" end
    children[parent] = children[parent] or {}
    table.insert(children[parent], span)
  end
  local function add(parent, indent)
    for _, span in ipairs(children[parent] or {}) do
      if not span.name:find("^chat ") and span.name ~= "trace.end" then
        names[#names + 1] = indent .. span.name .. " " .. span.status
        add(span.id, indent .. "  ")
      end
    end
  end
  add("", "")
  return names
end

local function chat_spans(trace)
  local count = 0
  for _, span in ipairs(trace.spans) do
    if span.name:find("^chat ") then count = count + 1 end
  end
  return count
end

describe("the same script", function()
  local nexus_server, expected = nil, {}

  setup(function() nexus_server = servers.start() end)
  teardown(function() nexus_server:stop() end)

  -- What an agent comes to with a provider: its result, and the outline of its trace.
  local function run(name, options)
    local client = assert(nexus.new(values.merged(options, {
      agent_id = name, nexus = { base_url = nexus_server.nexus_url, api_key = "nxs_x" }, poll = { interval = 0.005 },
      on_warning = function(text) error(text, 0) end,
    })))
    local result = assert(client:trace({ name = name }, function() return agents[name](client) end))
    assert.is_true(client:close(5))
    local trace = nexus_server:traces()[1]
    assert.equal(name, trace.agent_name)
    return result, outline(trace), chat_spans(trace)
  end

  local function expected_of(name)
    if not expected[name] then
      local options = PROVIDERS.script()
      expected[name] = { run(name, options) }
    end
    return expected[name]
  end

  if not pcall(require, "luasql.sqlite3") then PROVIDERS["script, with threads in a file"] = nil end

  for provider, start in pairs(PROVIDERS) do
    describe("with provider " .. provider, function()
      local options, stop

      setup(function() options, stop = start() end)
      teardown(function() if stop then stop() end end)

      for _, name in ipairs(values.sorted_names(agents)) do
        it(name, function()
          local wanted = expected_of(name)
          local result, spans, chats = run(name, options)
          assert.same(wanted[1], result)
          assert.same(wanted[2], spans)
          assert.equal(options.provider and wanted[3] or 0, chats)
        end)
      end
    end)
  end
end)
