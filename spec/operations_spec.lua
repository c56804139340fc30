local operations = require("nexus_assistants.operations")

local function shape(entry)
  return entry.method .. " " .. entry.path .. " " .. entry.span
end

describe("operations", function()
  it("are those of the protocol, with the article's names for spans", function()
    local shapes = {}
    for _, entry in ipairs(operations.list) do shapes[entry.name] = shape(entry) end
    assert.same({
      ["threads.create"] = "POST /threads thread.create",
      ["threads.retrieve"] = "GET /threads/{thread_id} thread.retrieve",
      ["threads.update"] = "POST /threads/{thread_id} thread.update",
      ["threads.delete"] = "DELETE /threads/{thread_id} thread.delete",
      ["threads.messages.create"] = "POST /threads/{thread_id}/messages thread.messages.create",
      ["threads.messages.list"] = "GET /threads/{thread_id}/messages thread.messages.list",
      ["threads.messages.retrieve"] = "GET /threads/{thread_id}/messages/{message_id} thread.messages.retrieve",
      ["threads.runs.create"] = "POST /threads/{thread_id}/runs threads.runs.create",
      ["threads.runs.retrieve"] = "GET /threads/{thread_id}/runs/{run_id} threads.runs.retrieve",
      ["threads.runs.list"] = "GET /threads/{thread_id}/runs threads.runs.list",
      ["threads.runs.cancel"] = "POST /threads/{thread_id}/runs/{run_id}/cancel threads.runs.cancel",
      ["threads.runs.submit_tool_outputs"] =
        "POST /threads/{thread_id}/runs/{run_id}/submit_tool_outputs threads.runs.submitToolOutputs",
      ["threads.runs.steps.list"] = "GET /threads/{thread_id}/runs/{run_id}/steps threads.runs.steps.list",
      ["threads.runs.steps.retrieve"] =
        "GET /threads/{thread_id}/runs/{run_id}/steps/{step_id} threads.runs.steps.retrieve",
    }, shapes)
  end)

  it("are found by name", function()
    assert.equal("/threads", operations["threads.create"].path)
  end)

  it("match the paths they build, with any id", function()
    for _, entry in ipairs(operations.list) do
      local ids = {}
      for index, name in ipairs(entry.path_parameters) do ids[name] = "id é%2F+?#&= " .. index end
      local path = assert(operations.build_path(entry, ids))
      local found, parameters = operations.match(entry.method, path)
      assert.equal(entry.name, found.name)
      assert.same(ids, parameters)
    end
  end)

  it("escape ids", function()
    local path = operations.build_path(operations["threads.retrieve"], { thread_id = "a b?c#d%e&f" })
    assert.equal("/threads/a%20b%3Fc%23d%25e%26f", path)
    assert.equal("/threads/thread_Ab-1.~", operations.build_path(operations["threads.retrieve"],
      { thread_id = "thread_Ab-1.~" }))
  end)

  for problem, id in pairs({
    ["thread_id must not be empty"] = "",
    ["thread_id must not contain '/'"] = "a/b",
    ["thread_id must not contain '..'"] = "..",
    ["thread_id must not be '.'"] = ".",
    ["thread_id must not contain control characters"] = "a\nb",
    ["thread_id must be a string, got table"] = {},
    ["thread_id must not be longer than 512 bytes"] = ("x"):rep(513),
  }) do
    it("refuse ids: " .. problem, function()
      assert.same({ nil, problem }, { operations.build_path(operations["threads.retrieve"], { thread_id = id }) })
    end)
  end

  it("refuse missing ids", function()
    assert.same({ nil, "run_id must be a string, got nil" },
      { operations.build_path(operations["threads.runs.retrieve"], { thread_id = "t" }) })
    assert.same({ nil, "thread_id must be a string, got nil" },
      { operations.build_path(operations["threads.retrieve"]) })
  end)

  it("match nothing else", function()
    local strangers = { "", "/", "threads", "/thread", "/threads/", "/threads//messages", "/threads/a/", "/threads/a/b",
      "/threads/a/runs/b/steps/c/d" }
    for _, path in ipairs(strangers) do
      assert.is_nil((operations.match("GET", path)))
    end
    assert.is_nil((operations.match("PATCH", "/threads")))
  end)
end)
