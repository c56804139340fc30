local ledger = require("nexus_assistants.ledger")

describe("the ledger", function()
  local book, now

  before_each(function()
    now = 1000
    book = ledger.new(function() return now end)
  end)

  local function create(id)
    book:saw({ name = "threads.create" }, {}, { id = id })
  end

  local function use(id)
    book:saw({ name = "threads.messages.create" }, { path = { thread_id = id } }, { id = "msg" })
  end

  it("knows the threads that were made, the one not used for longest first", function()
    create("a")
    now = 1001
    create("b")
    now = 1002
    use("a")
    assert.same({
      { id = "b", created_at = 1001, used_at = 1001, uses = 0 },
      { id = "a", created_at = 1000, used_at = 1002, uses = 1 },
    }, book:list())
    assert.is_true(book:is_unused("b"))
    assert.is_false(book:is_unused("a"))
  end)

  it("knows threads that were made with a run, which uses them", function()
    book:saw({ name = "threads.create_and_run" }, {}, { id = "run_1", thread_id = "a" })
    assert.same({ { id = "a", created_at = 1000, used_at = 1000, uses = 1 } }, book:list())
  end)

  it("does not list threads of others, nor deleted ones", function()
    use("foreign")
    create("a")
    book:saw({ name = "threads.delete" }, { path = { thread_id = "a" } }, { id = "a", deleted = true })
    assert.same({}, book:list())
  end)

  it("survives answers without ids", function()
    book:saw({ name = "threads.create" }, {}, {})
    book:saw({ name = "threads.create" }, {}, { id = 3 })
    assert.same({}, book:list())
  end)

  it("remembers the tokens of the latest runs of a thread", function()
    assert.same({}, book:turns("a"))
    assert.same({}, book:turns(nil))
    for turn = 1, 25 do book:add_turn("a", { prompt_tokens = turn }) end
    local turns = book:turns("a")
    assert.equal(20, #turns)
    assert.same({ 6, 25 }, { turns[1].prompt_tokens, turns[20].prompt_tokens })
  end)

  it("forgets those not used for longest where there are too many", function()
    for index = 1, 10001 do create("t" .. index) end
    assert.equal(9001, #book:list())
    assert.equal("t1001", book:list()[1].id)
  end)
end)
