-- The client's streams from the local server, as a process of its own.
local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local servers = require("spec.support.server")
local socket = require("socket")

describe("streams from the local server", function()
  local server, client

  setup(function() server = servers.start({ kind = "fault", model_script = "spec/support/told_model.lua" }) end)
  teardown(function() server:stop() end)

  before_each(function()
    client = assert(nexus.new({
      assistant_id = "asst_local", poll = { interval = 0.005 }, nexus = false,
      openai = { api_key = "sk-x", base_url = server.openai_url, retries = 0 },
    }))
  end)

  after_each(function()
    server:clear_faults()
    client:close(0)
  end)

  -- A thread whose question is what the model has to do.
  local function new_thread(plan)
    return assert(client.threads:create({ messages = { { role = "user", content = json.encode(plan) } } })).id
  end

  local function start(plan, params, options)
    local thread_id = new_thread(plan)
    return assert(client.threads.runs:stream(thread_id, params, options)), thread_id
  end

  local function texts_of(stream)
    local texts = {}
    for text in stream:texts() do texts[#texts + 1] = text end
    return texts
  end

  local SLOW = { { pieces = { "One", " two", " three" }, wait = 0.05 } }
  local ENDLESS = { { pieces = { "One", " two" }, wait = 60 } }

  local function run_of(thread_id)
    return assert(client.threads.runs:list(thread_id)).data[1]
  end

  local function wait_for_end(thread_id)
    for _ = 1, 1000 do
      local run = run_of(thread_id)
      -- who has begun it may not have been heard yet
      if run and run.status ~= "queued" and run.status ~= "in_progress" then return run.status end
      client:sleep(0.01)
    end
  end

  it("bring texts word by word, or as the model tells them", function()
    assert.same({ "Hello,", " my", " friend." }, texts_of((start({ "Hello, my friend." }))))
    assert.same({ "One", " two", " three" }, texts_of((start(SLOW))))
  end)

  it("bring them as they come", function()
    local stream, times = start({ { pieces = { "a", "b", "c" }, wait = 0.1 } }), {}
    for _ in stream:texts() do times[#times + 1] = core.monotonic() end
    assert.is_true(times[3] - times[1] > 0.15)
  end)

  it("run tools", function()
    local asked = { tool_calls = { { name = "w", arguments = { city = "Rome" } }, { name = "w", arguments = {} } } }
    local seen = {}
    local tool = nexus.tool({ name = "w", parameters = { type = "object" }, call = function(arguments)
      seen[#seen + 1] = arguments.city or "none"
      return "warm"
    end })
    local stream = start({ asked, "It is $1 and $2." }, { tools = { tool } })
    assert.equal("It is warm and warm.", table.concat(texts_of(stream)))
    table.sort(seen)
    assert.same({ "Rome", "none" }, seen)
    local run = assert(stream:result())
    assert.equal("completed", run.status)
    assert.same({ "tool_calls", "message_creation" }, { stream:steps()[1].type, stream:steps()[2].type })
    assert.equal("warm", stream:steps()[1].step_details.tool_calls[1]["function"].output)
  end)

  it("end with the run's own error", function()
    local _, err = start({ { fail = { code = "rate_limit_exceeded", message = "quota" } } }):result()
    assert.equal("Run ended with status: failed: rate_limit_exceeded quota", err.message)
  end)

  it("end with an error where the thread goes", function()
    local stream, thread_id = start(ENDLESS)
    repeat local event = assert(stream:next()) until event.text
    assert(client.threads:delete(thread_id))
    local _, err = stream:result()
    assert.matches("^No run found with id 'run_%w+'%.$", err.message)
  end)

  it("make threads", function()
    local stream = assert(client.threads:create_and_run_stream({
      thread = { messages = { { role = "user", content = '["hi"]' } }, metadata = { k = "v" } } }))
    local first = assert(stream:next())
    assert.same({ "thread.created", { k = "v" } }, { first.type, first.data.metadata })
    assert.equal(first.data.id, assert(stream:result()).thread_id)
  end)

  it("cancel the run when they are left", function()
    local stream, thread_id = start(ENDLESS)
    repeat local event = assert(stream:next()) until event.text
    assert.is_true(stream:close())
    assert.equal("cancelled", run_of(thread_id).status)
    assert.equal("One", assert(client.threads.messages:list(thread_id)).data[1].content[1].text.value)
  end)

  it("leave the run going on where that is wanted", function()
    local stream, thread_id = start(SLOW, nil, { on_leave = "continue" })
    repeat local event = assert(stream:next()) until event.text
    stream:close()
    assert.equal("completed", wait_for_end(thread_id))
    assert.equal("One two three", assert(client.threads.messages:list(thread_id)).data[1].content[1].text.value)
  end)

  it("come side by side", function()
    local tasks = {}
    for index = 1, 4 do
      tasks[index] = client:task(function()
        return table.concat(texts_of((start({ { pieces = { "a", "b", tostring(index) }, wait = 0.05 } }))))
      end)
    end
    for index, task in ipairs(tasks) do assert.equal("ab" .. index, (task:wait(10))) end
  end)

  it("are polled from where the connection broke", function()
    for _, count in ipairs({ 2, 8 }) do
      server:faults({ { path = "/v1/threads/thread_", method = "POST", action = "cut_stream", events = count,
        times = 1 } })
      local stream, thread_id = start(SLOW)
      assert.equal("completed", assert(stream:result()).status)
      assert.equal("One two three", assert(client.threads.messages:list(thread_id)).data[1].content[1].text.value)
      assert.equal(1, server:faults()[1].hits)
    end
  end)

  it("tell what polling finds out", function()
    local plan = { { tool_calls = { { id = "call_1", name = "w", arguments = { a = 1 } } } }, "Done: $1" }
    local tool = nexus.tool({ name = "w", call = function() return "ok" end })
    local function settled(thread_id, run)
      local steps = assert(client.threads.runs.steps:list(thread_id, run.id, { order = "asc" })).data
      local messages = assert(client.threads.messages:list(thread_id, { order = "asc", run_id = run.id })).data
      return assert(client.threads.runs:retrieve(thread_id, run.id)), steps, messages
    end
    local stream, thread_id = start(plan, { tools = { tool } })
    local streamed = assert(stream:result())
    local run, steps, messages = settled(thread_id, streamed)
    assert.same(run, setmetatable(streamed, nil))
    assert.same(steps, stream:steps())
    local told = stream:messages()[1]
    assert.equal("completed", told.status)
    told.status, told.completed_at, told.incomplete_at, told.incomplete_details = nil, nil, nil, nil
    assert.same(messages[1], told)
  end)

  -- ------------------------------------------------------------------------------------------------ bad readers

  -- A reader without manners, on a connection of its own.
  local function raw_stream(plan, small)
    local body = json.encode({ assistant_id = "asst_local", stream = true })
    local thread_id = new_thread(plan)
    local reader = assert(socket.tcp())
    if small then reader:setoption("recv-buffer-size", 4096) end
    assert(reader:connect("127.0.0.1", server.port))
    reader:settimeout(20)
    reader:send("POST /v1/threads/" .. thread_id .. "/runs HTTP/1.1\r\nHost: localhost\r\nApi-Key: k\r\n"
      .. "Content-Length: " .. #body .. "\r\n\r\n" .. body)
    return reader, thread_id
  end

  it("leave the run going on where the client has gone", function()
    local reader, thread_id = raw_stream(SLOW)
    assert.equal("HTTP/1.1 200 OK", reader:receive("*l"))
    reader:close()
    assert.equal("completed", wait_for_end(thread_id))
  end)

  it("stop nobody while their reader is slow, who misses nothing", function()
    local words = ("word "):rep(400000)
    local reader, thread_id = raw_stream({ { text = "word ", times = 400000 } }, true)
    assert.equal("completed", wait_for_end(thread_id))
    assert.same({ "Hi." }, texts_of((start({ "Hi." }))))
    local received = {}
    repeat
      local line = assert(reader:receive("*l"))
      local is_delta = line:find('"thread.message.delta"', 1, true)
      received[#received + 1] = is_delta and line:match('"value":"([^"]*)"') or nil
    until line == "event: done"
    reader:close()
    assert.is_true(words == table.concat(received))
  end)

  it("take the next request that was sent meanwhile", function()
    local reader = raw_stream(SLOW)
    assert.equal("HTTP/1.1 200 OK", reader:receive("*l"))
    reader:send("GET /v1/threads/thread_x HTTP/1.1\r\nHost: localhost\r\nApi-Key: k\r\n\r\n")
    local line
    repeat line = assert(reader:receive("*l")) until line == "0"
    assert.equal("", reader:receive("*l"))
    assert.equal("HTTP/1.1 404 Not Found", reader:receive("*l"))
    reader:close()
  end)
end)
