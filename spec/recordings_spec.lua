-- Every recorded exchange of the operations there are, asked for again through the client's own methods.
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local operations = require("nexus_assistants.operations")
local replay = require("spec.support.replay")

local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore 113

-- Under sanitizers one way is enough: the one in which the core has more to do.
local IS_SLOW = os.getenv("NXA_SANITIZE") == "1"

-- All recordings that use these operations are found in these folders.
local FOLDERS = { "openai-dotnet", "openllmetry", "ruby-openai" }

local function operation_of(exchange)
  return operations.match(exchange.method, (exchange.path:gsub("^/v1", "")))
end

local function is_stream(exchange)
  return json.present(exchange.request_body) and exchange.request_body:find('"stream": ?true') ~= nil
end

local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function query_of(text)
  local query = {}
  for name, value in (json.present(text) or ""):gmatch("[?&]?([^=&?]+)=([^&]*)") do
    name, value = unescape(name), unescape(value)
    local list = name:match("^(.*)%[%]$")
    if list then query[list] = query[list] or {} table.insert(query[list], value) else query[name] = value end
  end
  return query
end

-- The fields of a recorded form; the bytes of its file are of no matter to the replay.
local function form_of(entry, exchange)
  local form = { [entry.file_field] = { data = "x", name = "x.txt" } }
  local recorded = json.present(exchange.request_body) or ""
  for name, value in recorded:gmatch('name="?([%w_]+)"?\r\n\r\n(.-)\r\n%-%-') do form[name] = value end
  form.purpose = form.purpose or "assistants"
  return form
end

local function arguments_of(entry, ids, exchange)
  local arguments = {}
  for index, name in ipairs(entry.path_parameters) do arguments[index] = ids[name] end
  local params
  if entry.payload == "query" then params = query_of(exchange.query) end
  if entry.payload == "multipart" then params = form_of(entry, exchange) end
  if entry.payload == "body" then params = json.decode(json.present(exchange.request_body) or "") or {} end
  if entry.payload then arguments[#arguments + 1] = params end
  return arguments, params
end

local function method_of(client, name)
  local resource, method = client, nil
  for part in name:gmatch("[%w_]+") do
    resource, method = method and resource[method] or resource, part
  end
  return resource, method
end

local function events_of(next_event)
  local events = {}
  local name, event = next_event()
  while name do
    events[#events + 1] = { name, event }
    name, event = next_event()
  end
  assert(event == nil, event)
  return events
end

local function recorded_events(body)
  local next_event = body:gmatch("event: ([^\n]+)\ndata: ([^\n]+)")
  return events_of(function()
    local name, data = next_event()
    return name, data and json.decode(data)
  end)
end

describe("recorded traffic", function()
  local lacking = replay.lacks()
  if lacking then
    it("is asked for again", function() pending(lacking) end)
    return
  end

  local names = {}
  for _, folder in ipairs(FOLDERS) do
    for _, name in ipairs(replay.names(folder)) do names[#names + 1] = folder .. "/" .. name end
  end

  -- What a stream comes to: a run and what belongs to it, or the events as they are.
  local function outcome_of_stream(entry, stream)
    if entry.direct then return events_of(function() return stream:next() end) end
    assert(stream:result())
    return { stream:run(), stream:messages(), stream:steps() }
  end

  local function perform_stream(entry, resource, method, arguments, params)
    params.stream = nil
    local streaming = resource[method == "create" and "stream" or method .. "_stream"]
    return outcome_of_stream(entry, assert(streaming(resource, unpack(arguments))))
  end

  -- What an answer came to, in a form that can be compared.
  local function perform(client, exchange)
    local entry, ids = operation_of(exchange)
    local arguments, params = arguments_of(entry, ids, exchange)
    local resource, method = method_of(client, entry.name)
    if is_stream(exchange) then return perform_stream(entry, resource, method, arguments, params) end
    local result, err = resource[method](resource, unpack(arguments))
    return result or { status = err.status, message = err.message }
  end

  local function play(exchanges, chunk)
    return replay.with(exchanges, chunk, function(server)
      local client = assert(nexus.new({
        nexus = false, lane = "reject", assistant_id = "asst_x", poll = { interval = 0.001 },
        openai = { api_key = "sk-x", base_url = server.openai_url, retries = 0 },
      }))
      local outcomes = {}
      for index, exchange in ipairs(exchanges) do
        client.lanes.lanes = {} -- the recordings' own programs took care of that
        outcomes[index] = perform(client, exchange)
      end
      client:close(0)
      return outcomes, server:report()
    end)
  end

  local function expected_of(exchange)
    local entry = operation_of(exchange)
    if is_stream(exchange) then return entry.direct and recorded_events(exchange.body) end
    if entry.answer == "bytes" then return exchange.body end
    local body = json.decode(exchange.body)
    return exchange.status < 300 and body or { status = exchange.status, message = body and body.error.message }
  end

  local function check(exchanges, outcomes, report)
    assert.same({}, report.unmatched)
    for _, mismatch in ipairs(report.body_mismatch) do
      -- one recorded program sent no body where the other official clients, and this one, send an empty object
      assert.same({ json.null, "{}" }, { mismatch.recorded, mismatch.sent }, mismatch.operation)
    end
    for index, exchange in ipairs(exchanges) do
      local expected = expected_of(exchange)
      if expected then assert.same(expected, outcomes[index]) end
    end
  end

  local function is_ours(exchanges)
    for _, exchange in ipairs(exchanges) do
      if operation_of(exchange) then return true end
    end
    return false
  end

  it("of all groups there are operations for", function()
    for _, name in ipairs(names) do assert.is_true(is_ours(replay.exchanges(name)), name) end
  end)

  for _, name in ipairs(names) do
    local exchanges = replay.exchanges(name)
    if is_ours(exchanges) then
      it("is asked for again, whole and byte by byte: " .. name, function()
        local ours = json.array({})
        for _, exchange in ipairs(exchanges) do
          if operation_of(exchange) then ours[#ours + 1] = exchange end
        end
        local bytewise, report = play(ours, 1)
        check(ours, bytewise, report)
        if IS_SLOW then return end
        local whole
        whole, report = play(ours, 0)
        check(ours, whole, report)
        assert.same(whole, bytewise)
      end)
    end
  end
end)
