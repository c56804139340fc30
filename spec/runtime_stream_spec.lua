local accumulate = require("nexus_assistants.accumulate")
local event_queue = require("nexus_assistants.providers.runtime.event_queue")
local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local operations = require("nexus_assistants.operations")
local rope = require("nexus_assistants.providers.runtime.rope")
local runtimes = require("nexus_assistants.providers.runtime")
local script = require("nexus_assistants.models.script")
local servers = require("spec.support.server")

local START = 1700000000

describe("a rope", function()
  it("is few pieces, however many were added", function()
    local pieces, whole = {}, {}
    for index = 1, 5000 do
      whole[index] = ("x"):rep(index % 7) .. index
      rope.add(pieces, whole[index])
    end
    assert.equal(table.concat(whole), rope.text(pieces))
    assert.is_true(#pieces < 40)
  end)
end)

describe("a queue of events", function()
  local function build(text) return { text = text } end

  it("joins what grows once much waits, and loses nothing", function()
    local queue, news = event_queue.new(), 0
    queue.on_news = function() news = news + 1 end
    for index = 1, 10000 do queue:push_piece("delta", "a", index .. " ", build) end
    queue:push_piece("delta", "b", "other", build)
    queue:push("end", { n = 1 })
    local count, text = 0, {}
    local name, data = queue:pop()
    while name == "delta" do
      count, text[#text + 1] = count + 1, data.text
      name, data = queue:pop()
    end
    assert.same({ "end", { n = 1 } }, { name, data })
    assert.is_true(count <= 258 and count == news - 1, count)
    text = table.concat(text)
    assert.matches("^1 2 3 ", text)
    assert.matches(" 9999 10000 other$", text)
    assert.is_nil(queue:pop())
  end)

  it("holds objects as they were", function()
    local queue, object = event_queue.new(), { status = "queued" }
    queue:push("a", object)
    object.status = "completed"
    assert.equal("queued", select(2, queue:pop()).status)
  end)

  it("keeps nothing for who has gone", function()
    local queue = event_queue.new()
    queue:push("a", {})
    queue:close()
    queue:push("b", {})
    queue:push_piece("c", "c", "c", build)
    assert.is_nil(queue:pop())
    assert.is_true(queue.over)
  end)
end)

describe("the runtime's streams", function()
  local runtime, now, answer

  local function new_runtime(changes)
    local options = {
      clock = function() return now end,
      model = script.new(function(...) return answer(...) end),
    }
    for name, value in pairs(changes or {}) do options[name] = value end
    return runtimes.new(options)
  end

  before_each(function()
    now = START
    answer = function() return "Hello, my friend!" end
    runtime = new_runtime()
  end)

  local function perform(name, path, body, query)
    return runtime:perform(operations[name], { path = path, body = body, query = query or { order = "asc" } })
  end

  local function open(name, path, body)
    body = body or {}
    body.stream = true
    return runtime:open(operations[name], { path = path, body = body })
  end

  local function stream_run(body)
    body = body or {}
    body.assistant_id = "asst_local"
    local thread = assert(perform("threads.create", {}, { messages = { { role = "user", content = "hi" } } }))
    return assert(open("threads.runs.create", { thread_id = thread.id }, body)), thread.id
  end

  -- All there is by now: names and objects, and what ended it.
  local function read(source, made)
    local names, objects = {}, {}
    while true do
      local name, data = source:next(0)
      if not name then return names, objects, name, data end
      names[#names + 1], objects[#objects + 1] = name:gsub("^thread%.", ""), data
      if made then made:take(data) end
    end
  end

  -- Names in a row that are alike become one with a "+".
  local function outline(names)
    local lines = {}
    for _, name in ipairs(names) do
      local last = lines[#lines]
      if last == name or last == name .. "+" then lines[#lines] = name .. "+" else lines[#lines + 1] = name end
    end
    return table.concat(lines, " ")
  end

  local function texts_of(objects)
    local texts = {}
    for _, object in ipairs(objects) do
      if object.object == "thread.message.delta" then texts[#texts + 1] = object.delta.content[1].text.value end
    end
    return texts
  end

  local MESSAGE_BEGINS = "run.step.created run.step.in_progress message.created message.in_progress message.delta"
  local COMPLETED = MESSAGE_BEGINS .. "+ message.completed run.step.completed run.completed"

  it("tell a run in the protocol's order", function()
    local names, objects, ended, err = read((stream_run()))
    assert.equal("run.created run.queued run.in_progress " .. COMPLETED, outline(names))
    assert.same({ nil, nil }, { ended, err })
    assert.same({ "queued", "queued", "in_progress" }, { objects[1].status, objects[2].status, objects[3].status })
    assert.same({ "Hello,", " my", " friend!" }, texts_of(objects))
    assert.equal("completed", objects[#objects].status)
    assert.is_table(objects[#objects].usage)
  end)

  it("tell of the thread that was made for the run", function()
    local names, objects = read((open("threads.create_and_run", {}, { assistant_id = "asst_local" })))
    assert.same({ "created", "run.created" }, { names[1], names[2] })
    assert.same({ "thread", objects[2].thread_id }, { objects[1].object, objects[1].id })
  end)

  it("tell of a message on its way", function()
    local _, objects = read((stream_run()))
    local created, first, second, completed = objects[6], objects[8], objects[9], objects[11]
    assert.same({ "in_progress", json.null, json.null, json.array() },
      { created.status, created.completed_at, created.incomplete_details, created.content })
    assert.same({ id = created.id, object = "thread.message.delta",
      delta = { content = { { index = 0, type = "text", text = { value = "Hello,", annotations = {} } } } } }, first)
    assert.same({ index = 0, type = "text", text = { value = " my" } }, second.delta.content[1])
    assert.same({ "completed", START, json.null, "Hello, my friend!" },
      { completed.status, completed.completed_at, completed.incomplete_at, completed.content[1].text.value })
  end)

  it("tell calls, and go on with their outputs", function()
    answer = function(messages)
      if messages[#messages].role == "tool" then return "It is " .. messages[#messages].content end
      return { { id = "call_1", name = "f", arguments = { city = "A town with a rather long name" } },
        { id = "call_2", name = "g" } }
    end
    local source, thread_id = stream_run()
    local made = accumulate.new()
    local names, objects, ended = read(source, made)
    assert.equal("run.created run.queued run.in_progress run.step.created run.step.in_progress run.step.delta+ "
      .. "run.requires_action", outline(names))
    assert.is_nil(ended)
    assert.same(json.array(), objects[4].step_details.tool_calls)
    assert.same({ index = 0, id = "call_1", type = "function",
      ["function"] = { name = "f", arguments = "", output = json.null } },
      objects[6].delta.step_details.tool_calls[1])
    local run = objects[#objects]
    made:flush()
    local calls = made.steps[1].step_details.tool_calls
    for index, call in ipairs(run.required_action.submit_tool_outputs.tool_calls) do
      assert.same({ call.id, call["function"].name, call["function"].arguments },
        { calls[index].id, calls[index]["function"].name, calls[index]["function"].arguments })
    end
    source = assert(open("threads.runs.submit_tool_outputs", { thread_id = thread_id, run_id = run.id },
      { tool_outputs = { { tool_call_id = "call_1", output = "x" }, { tool_call_id = "call_2", output = "warm" } } }))
    names, objects = read(source)
    assert.equal("run.step.completed run.queued run.in_progress " .. COMPLETED, outline(names))
    assert.equal("x", objects[1].step_details.tool_calls[1]["function"].output)
    assert.same({ "It", " is", " warm" }, texts_of(objects))
  end)

  it("give pieces as the model tells them", function()
    answer = function() return { "On", "ce up", "on" } end
    assert.same({ "On", "ce up", "on" }, texts_of(select(2, read((stream_run())))))
    answer = function()
      coroutine.yield({ text = "One" })
      coroutine.yield({ text = "" })
      coroutine.yield({ text = " and", wait = 2 })
      return " two"
    end
    local source = stream_run()
    local _, objects, ended = read(source)
    now = now + 0.1 -- an empty piece is a mere yield
    for _, object in ipairs(select(2, read(source))) do objects[#objects + 1] = object end
    assert.same({ "One", " and" }, texts_of(objects))
    assert.is_false(ended)
    now = now + 2
    _, objects, ended = read(source)
    assert.same({ " two" }, texts_of(objects))
    assert.is_nil(ended)
    assert.equal("One and two", objects[2].content[1].text.value)
    answer = function()
      coroutine.yield({ text = "all of it" })
    end
    assert.same({ "all of it" }, texts_of(select(2, read((stream_run())))))
  end)

  it("never cut a character in two", function()
    answer = function()
      coroutine.yield({ text = "\195" })
      coroutine.yield({ text = "\164 \240\159" })
      return { "\152", "\128!" }
    end
    local source, thread_id = stream_run()
    assert.same({ "\195\164 ", "\240\159\152\128!" }, texts_of(select(2, read(source))))
    local message = perform("threads.messages.list", { thread_id = thread_id }).data[2]
    assert.equal("\195\164 \240\159\152\128!", message.content[1].text.value)
  end)

  it("tell of what goes wrong with the text", function()
    local function failure(fn)
      answer = fn
      local names, objects = read((stream_run()))
      return outline(names):match("message.*$"), objects[#objects].last_error.message
    end
    local broken = "message.created message.in_progress message.delta message.incomplete run.step.failed run.failed"
    assert.same({ broken, "the model's text isn't valid UTF-8" }, { failure(function()
      coroutine.yield({ text = "a" })
      coroutine.yield({ text = "\255" })
    end) })
    assert.same({ broken, "the model's text isn't valid UTF-8" }, { failure(function()
      coroutine.yield({ text = "a" })
      coroutine.yield({ text = "\195" })
    end) })
    assert.same({ broken, "the model's text is longer than 4194304 bytes" }, { failure(function()
      while true do coroutine.yield({ text = ("x"):rep(2097153) }) end
    end) })
    assert.same({ broken, "busy" }, { failure(function()
      coroutine.yield({ text = "a" })
      return nil, "busy"
    end) })
    assert.matches("boom", (select(2, failure(function()
      coroutine.yield({ text = "a" })
      error("boom")
    end))))
    assert.same({ nil, "a piece of the model's text is a number" }, { failure(function() return { "a", 5 } end) })
  end)

  it("end a message where the run may write no more", function()
    local function cut(fn)
      answer = fn
      local source, thread_id = stream_run({ max_completion_tokens = 5 })
      local names, objects = read(source)
      assert.matches("message.incomplete run.step.completed run.incomplete$", outline(names))
      local message = objects[#objects - 2]
      assert.same({ reason = "max_tokens" }, message.incomplete_details)
      assert.equal("max_completion_tokens", objects[#objects].incomplete_details.reason)
      assert.equal(5, objects[#objects].usage.completion_tokens)
      local stored = perform("threads.messages.list", { thread_id = thread_id }).data[2]
      assert.same(message.content, stored.content)
      assert.equal(message.content[1].text.value, table.concat(texts_of(objects)))
      return message.content[1].text.value
    end
    assert.equal(("x"):rep(20), cut(function() return ("x"):rep(30) end))
    assert.equal(("x"):rep(20), cut(function()
      while true do coroutine.yield({ text = "xxx" }) end
    end))
  end)

  local function long_answer()
    coroutine.yield({ text = "The beginning" })
    coroutine.yield({ text = ", and", wait = 30 })
    return " the end."
  end

  it("tell of a run that is cancelled, and keep what was written", function()
    answer = long_answer
    local source, thread_id = stream_run()
    local _, objects = read(source)
    perform("threads.runs.cancel", { thread_id = thread_id, run_id = objects[1].id })
    local names, rest, ended, err = read(source)
    assert.equal("run.cancelling message.incomplete run.step.cancelled run.cancelled", outline(names))
    assert.same({ nil, nil }, { ended, err })
    assert.same({ { reason = "run_cancelled" }, START, "incomplete" },
      { rest[2].incomplete_details, rest[2].incomplete_at, rest[2].status })
    local message = perform("threads.messages.list", { thread_id = thread_id }).data[2]
    assert.equal("The beginning, and", message.content[1].text.value)
    assert.is_nil(message.status)
    assert.is_true(rest[4].usage.completion_tokens > 0)
  end)

  it("tell of a run that expires", function()
    answer = long_answer
    local source = stream_run()
    read(source)
    now = now + 700
    local names, rest = read(source)
    assert.equal("message.incomplete run.step.expired run.expired", outline(names))
    assert.equal("run_expired", rest[1].incomplete_details.reason)
  end)

  it("end where the thread goes", function()
    answer = long_answer
    local source, thread_id = stream_run()
    local _, objects = read(source)
    perform("threads.delete", { thread_id = thread_id })
    local name, err = source:next(0)
    assert.is_nil(name)
    assert.equal("No run found with id '" .. objects[1].id .. "'.", err.message)
  end)

  it("leave the run going on when they are closed", function()
    answer = long_answer
    local source, thread_id = stream_run()
    local _, objects = read(source)
    source:close()
    assert.is_nil(source:next(0))
    now = now + 31
    local run = perform("threads.runs.retrieve", { thread_id = thread_id, run_id = objects[1].id })
    assert.equal("completed", run.status)
  end)

  it("don't grow with what nobody reads", function()
    answer = function()
      for _ = 1, 20000 do coroutine.yield({ text = "word " }) end
    end
    local source, thread_id = stream_run()
    runtime:advance()
    assert.is_true(source.queue.last - source.queue.first < 300)
    local _, objects = read(source)
    local whole = ("word "):rep(20000)
    assert.is_true(whole == table.concat(texts_of(objects)))
    local stored = perform("threads.messages.list", { thread_id = thread_id }).data[2]
    assert.is_true(whole == stored.content[1].text.value)
  end)

  it("are refused as the operation is", function()
    local source, err = open("threads.runs.create", { thread_id = "x" }, { assistant_id = "asst_local" })
    assert.is_nil(source)
    assert.equal("No thread found with id 'x'.", err.message)
    source, err = open("threads.retrieve", { thread_id = "x" })
    assert.same({ nil, "Unknown parameter: 'stream'." }, { source, err.message })
  end)

  it("are one event where the operation doesn't stream", function()
    local source = assert(runtime:open(operations["threads.create"], { path = {}, body = {} }))
    local name, thread = source:next(0)
    assert.same({ "thread", "thread" }, { name, thread.object })
    assert.is_nil(source:next(0))
  end)

  it("aren't had from perform", function()
    local thread = assert(perform("threads.create", {}))
    local _, err = perform("threads.runs.create", { thread_id = thread.id },
      { assistant_id = "asst_local", stream = true })
    assert.same({ 400, "stream", "One answer can't be a stream: leave 'stream' out or set it to false." },
      { err.status, err.param, err.message })
  end)

  it("add up to what is stored", function()
    answer = function(messages)
      if messages[#messages].role == "tool" then return "done" end
      return { text = "First, a look.", tool_calls = { { id = "call_1", name = "f", arguments = { a = 1 } } } }
    end
    local made = accumulate.new()
    local source, thread_id = stream_run()
    local _, objects = read(source, made)
    local path = { thread_id = thread_id, run_id = objects[1].id }
    read(assert(open("threads.runs.submit_tool_outputs", path,
      { tool_outputs = { { tool_call_id = "call_1", output = "x" } } })), made)
    made:flush()
    assert.same(perform("threads.runs.retrieve", path), made.run)
    assert.same(perform("threads.runs.steps.list", path).data, made.steps)
    local stored = perform("threads.messages.list", path, nil, { order = "asc", run_id = path.run_id }).data
    for index, message in ipairs(made.messages) do
      message.status, message.completed_at, message.incomplete_at, message.incomplete_details = nil, nil, nil, nil
      assert.same(stored[index], message)
    end
    assert.equal(#stored, #made.messages)
  end)

  describe("compared with recordings", function()
    local PATH = servers.root .. "../shared/recordings/openai-dotnet/AssistantsTests.StreamingRunWorks.json"

    local function recorded_events()
      local file = io.open(PATH, "rb")
      if not file then return nil end
      local exchanges = assert(json.decode(file:read("*a")))
      file:close()
      for _, exchange in ipairs(exchanges) do
        if type(exchange.body) == "string" and exchange.body:find("^event: ") then return exchange.body end
      end
    end

    local function names_in(object)
      local names = {}
      for name in pairs(object) do names[#names + 1] = name end
      table.sort(names)
      return names
    end

    it("have the same events in the same order, with the same fields", function()
      local text = recorded_events()
      if not text then return pending("the recordings aren't here") end
      local names, objects = read((stream_run()))
      local wanted, fields = {}, {}
      for name, data in text:gmatch("event: thread%.(%S+)\ndata: ([^\n]*)\n") do
        wanted[#wanted + 1] = name
        fields[name] = names_in(json.decode(data))
      end
      assert.equal(outline(wanted), outline(names))
      for index, object in ipairs(objects) do assert.same(fields[names[index]], names_in(object)) end
    end)
  end)

  describe("through a client", function()
    local client

    before_each(function()
      client = assert(nexus.new({ assistant_id = "asst_local", poll = { interval = 0.002 }, nexus = false,
        openai = { api_key = "sk-x", base_url = "http://127.0.0.1:9", retries = 0 } }))
      runtime = runtimes.new({ model = script.new(function(...) return answer(...) end),
        scheduler = client.scheduler })
      client.provider.provider = runtime
      client.scheduler:attend(runtime)
    end)

    after_each(function() client:close(0) end)

    it("give texts, and the run at the end", function()
      local thread = assert(client.threads:create())
      local stream, texts = assert(client.threads.runs:stream(thread.id)), {}
      for text in stream:texts() do texts[#texts + 1] = text end
      assert.same({ "Hello,", " my", " friend!" }, texts)
      assert.equal("completed", assert(stream:result()).status)
      assert.equal("Hello, my friend!", assert(stream:result()):text())
    end)

    it("wait for a slow model, side by side, and run tools", function()
      answer = function(messages)
        if messages[#messages].role == "tool" then return "It is " .. messages[#messages].content end
        for index = 1, 3 do coroutine.yield({ text = index .. " ", wait = 0.01 }) end
        return { tool_calls = { { name = "w", arguments = { a = 1 } } } }
      end
      local tool = nexus.tool({ name = "w", call = function() return "warm" end })
      local tasks = {}
      for index = 1, 2 do
        tasks[index] = client:task(function()
          local stream = assert(client.threads:create_and_run_stream({
            thread = { messages = { { role = "user", content = "x" } } }, tools = { tool } }))
          local texts = {}
          for text in stream:texts() do texts[#texts + 1] = text end
          return table.concat(texts)
        end)
      end
      for _, task in ipairs(tasks) do assert.equal("1 2 3 It is warm", (task:wait(5))) end
    end)

    it("end with a task that is cancelled", function()
      answer = long_answer
      local problem
      local task = client:task(function()
        local stream = assert(client.threads:create_and_run_stream({}))
        problem = select(2, stream:result())
      end)
      client:sleep(0.02)
      task:cancel()
      client:sleep(0.02)
      assert.equal("cancelled", problem.kind)
    end)

    it("cancel the run when they are left", function()
      answer = long_answer
      local stream = assert(client.threads:create_and_run_stream({}))
      repeat local event = assert(stream:next()) until event.text
      assert.is_true(stream:close())
      assert.equal("cancelled", stream:run().status)
    end)
  end)
end)
