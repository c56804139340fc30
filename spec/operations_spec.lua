local operations = require("nexus_assistants.operations")

describe("operations", function()
  it("have the article's names for spans", function()
    local spans = {}
    for _, entry in ipairs(operations.list) do spans[entry.name] = entry.span end
    assert.equal("thread.create", spans["threads.create"])
    assert.equal("thread.messages.create", spans["threads.messages.create"])
    assert.equal("thread.messages.list", spans["threads.messages.list"])
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
