local import = require("nexus_assistants.import")
local json = require("nexus_assistants.json")
local runtimes = require("nexus_assistants.providers.runtime")
local operations = require("nexus_assistants.operations")
local stores = require("nexus_assistants.providers.runtime.store")

local ASSISTANT = {
  id = "asst_a", object = "assistant", created_at = 1700000000, name = "Ada", description = json.null,
  model = "gpt-4o", instructions = "Be kind.", tools = json.array({ { type = "code_interpreter" } }),
  metadata = { team = "x" }, temperature = 0.5, top_p = 1, response_format = "auto",
  tool_resources = { code_interpreter = { file_ids = json.array({ "file-1" }) } },
}

local function message(id, created_at, text, role)
  return {
    id = id, object = "thread.message", created_at = created_at, thread_id = "thread_a", role = role or "user",
    content = json.array({ { type = "text", text = { value = text, annotations = json.array() } } }),
    assistant_id = json.null, run_id = json.null, attachments = json.array(), metadata = {},
  }
end

local function thread(messages)
  return { id = "thread_a", object = "thread", created_at = 1700000001, metadata = { user = "7" },
    tool_resources = {}, messages = messages }
end

local function nested(depth)
  local value = {}
  for _ = 1, depth do value = { value = value } end
  return value
end

local function with_content(part)
  local whole = message("m", 1, "x")
  whole.content = json.array({ part })
  return whole
end

describe("import", function()
  local store, path

  before_each(function() store, path = stores.new(), os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function written(text)
    local file = assert(io.open(path, "wb"))
    file:write(type(text) == "string" and text or assert(json.encode(text)))
    file:close()
    return path
  end

  local function imported(value)
    return import.store(store, assert(import.read({ written(value) })))
  end

  local function texts()
    local result = {}
    for index, found in ipairs(store:list("messages", "thread_a", { order = "asc" })) do
      result[index] = found.content[1].text.value
    end
    return result
  end

  local function refused(value)
    local found, problem = import.read({ written(value) })
    assert.is_nil(found)
    return (problem:gsub("^" .. path:gsub("%p", "%%%0") .. ": ", ""))
  end

  it("keeps an assistant as it was", function()
    assert.same({ assistants = 1, threads = 0, messages = 0, present = 0 }, imported(ASSISTANT))
    local runtime = runtimes.new({ store = store })
    local shown = assert(runtime:perform(operations["assistants.retrieve"], { path = { assistant_id = "asst_a" } }))
    for name, value in pairs(ASSISTANT) do assert.same(value, shown[name], name) end
  end)

  it("takes lists, pages, tables of lists, and a line each", function()
    local counts = { assistants = 1, threads = 1, messages = 1, present = 0 }
    local whole = { ASSISTANT, thread(json.array({ message("msg_1", 1, "one") })) }
    assert.same(counts, imported(json.array(whole)))
    store = stores.new()
    assert.same(counts, imported({ object = "list", data = json.array(whole), has_more = false }))
    store = stores.new()
    assert.same(counts, imported({ assistants = json.array({ ASSISTANT }), threads = json.array({ whole[2] }) }))
    store = stores.new()
    local lines = { json.encode(ASSISTANT), "", json.encode(thread()), json.encode(message("msg_1", 1, "one")) }
    assert.same(counts, imported(table.concat(lines, "\n")))
    assert.same({ "one" }, texts())
  end)

  it("puts messages in order, oldest first, however they were listed", function()
    local rising = { message("msg_1", 1, "one"), message("msg_2", 2, "two"), message("msg_3", 2, "three") }
    local falling = { rising[3], rising[2], rising[1] }
    imported(thread(json.array(rising)))
    assert.same({ "one", "two", "three" }, texts())
    store = stores.new()
    imported(thread(json.array(falling)))
    assert.same({ "one", "two", "three" }, texts())
    store = stores.new()
    local same_second = { message("msg_2", 5, "two"), message("msg_1", 5, "one") }
    imported(thread({ object = "list", data = json.array(same_second) }))
    assert.same({ "one", "two" }, texts()) -- the API's pages begin with the newest
    store = stores.new()
    imported({ object = "list", data = json.array(same_second) })
    assert.same({ "one", "two" }, texts())
  end)

  it("puts pages in order, in whatever order they come", function()
    local newer = { message("msg_5", 9, "five"), message("msg_4", 9, "four"), message("msg_3", 8, "three") }
    local older = { message("msg_2", 7, "two"), message("msg_1", 6, "one") }
    local first = { object = "list", data = json.array(older) }
    imported(json.encode(first) .. "\n" .. json.encode({ object = "list", data = json.array(newer) }))
    assert.same({ "one", "two", "three", "four", "five" }, texts())
  end)

  it("makes a thread where only its messages were exported, and keeps who wrote them", function()
    local answer = message("msg_2", 2, "two", "assistant")
    answer.run_id, answer.assistant_id = "run_x", "asst_a"
    assert.same({ assistants = 0, threads = 1, messages = 2, present = 0 },
      imported(json.array({ message("msg_1", 1, "one"), answer })))
    local found = store:get("messages", "thread_a", "msg_2")
    assert.same({ "run_x", "asst_a", "assistant" }, { found.run_id, found.assistant_id, found.role })
  end)

  it("leaves what is there as it is, so that it can be done again", function()
    imported(json.array({ ASSISTANT, thread(json.array({ message("msg_1", 1, "one") })) }))
    local changed = thread(json.array({ message("msg_1", 1, "changed"), message("msg_2", 2, "two") }))
    assert.same({ assistants = 0, threads = 0, messages = 1, present = 3 },
      imported(json.array({ ASSISTANT, changed })))
    assert.same({ "one", "two" }, texts())
  end)

  it("leaves runs and steps out", function()
    local run = { id = "run_1", object = "thread.run", created_at = 1 }
    assert.same({ assistants = 1, threads = 0, messages = 0, present = 0 }, imported(json.array({ run, ASSISTANT })))
  end)

  it("goes on with what was imported", function()
    imported(json.array({ ASSISTANT, thread(json.array({ message("msg_1", 1, "How are you?") })) }))
    local runtime = runtimes.new({ store = store })
    assert(runtime:perform(operations["threads.runs.create"],
      { path = { thread_id = "thread_a" }, body = { assistant_id = "asst_a" } }))
    repeat runtime:advance() until not runtime:idle_time()
    assert.same({ "How are you?", "You said: How are you?" }, texts())
  end)

  it("counts what is left out, and pages that aren't the last", function()
    local run = { id = "run_1", object = "thread.run", created_at = 1 }
    local found = assert(import.read({ written({ object = "list", has_more = true,
      data = json.array({ ASSISTANT, run, thread({ object = "list", has_more = true, data = json.array() }) }) }) }))
    assert.same({ 1, 2 }, { found.left_out, found.incomplete })
  end)

  for problem, value in pairs({
    ["line 1: there is 'treads' where assistants, threads or messages should be"] = { treads = json.array() },
    ["it is empty"] = "",
    ["line 1: message 'm': it has no thread_id"] = { id = "m", object = "thread.message", created_at = 1 },
    ["line 1: assistant 'a': it has no model"] = { id = "a", object = "assistant", created_at = 1 },
    ["line 1: assistant: it has no id"] = { object = "assistant", created_at = 1, model = "x" },
    ["line 1: thread 't': it has no created_at"] = { object = "thread", id = "t" },
    ["line 1: there is an object of kind 'file', which can't be imported"] = { object = "file", id = "f" },
    ["line 1: there is a number where an object should be"] = "[7]",
    ["line 1: a list without data"] = { object = "list" },
    ["line 1: thread 't': its messages are no list"] = { object = "thread", id = "t", created_at = 1, messages = 7 },
    ["line 1: assistant 'a': Invalid type for 'tools': expected an array, but got a string instead."] =
      { id = "a", object = "assistant", created_at = 1, model = "x", tools = "code_interpreter" },
    ["line 1: assistant 'a': Invalid type for 'tools[0]': expected an object, but got an integer instead."] =
      { id = "a", object = "assistant", created_at = 1, model = "x", tools = json.array({ 5 }) },
    ["line 1: thread 't': Invalid type for 'tool_resources': expected an object, but got a string instead."] =
      { object = "thread", id = "t", created_at = 1, tool_resources = "x" },
    ["line 1: thread 't': Invalid type for 'tool_resources.file_search.vector_store_ids': expected an array, but got "
      .. "a string instead."] = { object = "thread", id = "t", created_at = 1,
      tool_resources = { file_search = { vector_store_ids = "vs_1" } } },
    ["line 1: message 'm': Missing required parameter: 'content[0].text.value'."] =
      with_content({ type = "text", text = "as in a request" }),
    ["line 1: message 'm': Invalid type for 'content[0]': expected an object, but got an integer instead."] =
      with_content(5),
    ["line 1: message 'm': its content is nested too deeply"] =
      with_content({ type = "image_url", image_url = nested(100) }),
    ["line 1: thread '" .. ("t"):rep(257) .. "': its id can't be one"] =
      { object = "thread", id = ("t"):rep(257), created_at = 1 },
    ["line 1: thread 't\0': its id can't be one"] = { object = "thread", id = "t\0", created_at = 1 },
    ["line 1: message 'n': it has no thread_id"] = { id = "n", object = "thread.message", created_at = 1,
      thread_id = "" },
    ["line 1: not UTF-8"] = '{ "object": "thread", "id": "t", "created_at": 1, "metadata": { "a": "\255" } }\n',
  }) do
    it("refuses a file: " .. problem, function() assert.equal(problem, refused(value)) end)
  end

  it("refuses a folder as that", function()
    local _, problem = import.read({ "/" })
    assert.matches("directory", problem)
  end)

  it("refuses what is no JSON, and a file that isn't there, by its name", function()
    assert.matches("^not JSON: ", refused("{\n  what?"))
    local _, problem = import.read({ path .. ".none" })
    assert.matches(path .. ".none", problem, 1, true)
  end)
end)
