-- Every recorded exchange of the operations there are, asked for again through the client's own methods.
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local operations = require("nexus_assistants.operations")
local replay = require("spec.support.replay")

local unpack = rawget(table, "unpack") or unpack -- luacheck: ignore 113

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

  local function perform(client, exchange)
    local entry, ids = operation_of(exchange)
    local arguments, params = arguments_of(entry, ids, exchange)
    local resource, method = method_of(client, entry.name)
    if is_stream(exchange) then
      params.stream = nil
      local streaming = resource[method == "create" and "stream" or method .. "_stream"]
      local stream = assert(streaming(resource, unpack(arguments)))
      assert(stream:result())
      return stream
    end
    return resource[method](resource, unpack(arguments))
  end

  -- What an answer came to, in a form that can be compared.
  local function outcome_of(exchange, result, err)
    if is_stream(exchange) then return { result:run(), result:messages(), result:steps() } end
    if type(result) == "string" then return result end
    return result or { status = err.status, message = err.message }
  end

  local function play(exchanges, chunk)
    local server = replay.start(exchanges, chunk)
    local client = assert(nexus.new({
      nexus = false, lane = "reject", assistant_id = "asst_x", poll = { interval = 0.001 },
      openai = { api_key = "sk-x", base_url = server.openai_url, retries = 0 },
    }))
    local outcomes = {}
    for index, exchange in ipairs(exchanges) do
      client.lanes.lanes = {} -- the recordings' own programs took care of that
      outcomes[index] = outcome_of(exchange, perform(client, exchange))
    end
    client:close(0)
    local report = server:report()
    server:stop()
    return outcomes, report
  end

  local function check(exchanges, outcomes, report)
    assert.same({}, report.unmatched)
    for _, mismatch in ipairs(report.body_mismatch) do
      -- one recorded program sent no body where the other official clients, and this one, send an empty object
      assert.same({ json.null, "{}" }, { mismatch.recorded, mismatch.sent }, mismatch.operation)
    end
    for index, exchange in ipairs(exchanges) do
      local expected = not is_stream(exchange) and json.decode(exchange.body)
      if expected and exchange.status < 300 then assert.same(expected, outcomes[index]) end
    end
  end

  for _, name in ipairs(names) do
    local exchanges, is_ours = replay.exchanges(name), false
    for _, exchange in ipairs(exchanges) do is_ours = is_ours or operation_of(exchange) ~= nil end
    if is_ours then
      it("is asked for again, whole and byte by byte: " .. name, function()
        local ours = json.array({})
        for _, exchange in ipairs(exchanges) do
          if operation_of(exchange) then ours[#ours + 1] = exchange end
        end
        local whole, report = play(ours, 0)
        check(ours, whole, report)
        local bytewise
        bytewise, report = play(ours, 1)
        check(ours, bytewise, report)
        assert.same(whole, bytewise)
      end)
    end
  end
end)
