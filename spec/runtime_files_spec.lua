local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local runtimes = require("nexus_assistants.providers.runtime")
local script = require("nexus_assistants.models.script")
local search = require("nexus_assistants.providers.runtime.files.search")

local START = 1700000000
local DAY = 24 * 3600

describe("the runtime's files", function()
  local runtime, now, answer

  local function new_runtime(changes)
    local options = {
      clock = function() return now end, model = script.new(function(...) return answer(...) end),
    }
    for name, value in pairs(changes or {}) do options[name] = value end
    return runtimes.new(options)
  end

  before_each(function()
    now = START
    answer = function() return "done" end
    runtime = new_runtime()
  end)

  -- `path` is the ids in the order of the operation's path.
  local function perform(name, path, params)
    local operation, given = assert(operations[name], name), { path = {} }
    for index, parameter in ipairs(operation.path_parameters) do given.path[parameter] = path and path[index] end
    given[operation.payload == "query" and "query" or "body"] = params
    return runtime:perform(operation, given)
  end

  local function must(...) return assert(perform(...)) end

  local function refused(...)
    local result, err = perform(...)
    assert.is_nil(result)
    return err.message, err.status, err.param, err.code
  end

  local function upload(data, name, changes)
    local body = { file = { data = data, name = name or "a.txt" }, purpose = "assistants" }
    for key, value in pairs(changes or {}) do body[key] = value end
    return must("files.create", nil, body)
  end

  local function ids_of(list)
    local ids = {}
    for index, item in ipairs(list.data) do ids[index] = item.id end
    return ids
  end

  describe("kept", function()
    it("are shown as the API shows them", function()
      local file = upload("hello\0\255", "n.bin")
      assert.matches("^file%-%w+$", file.id)
      assert.same({
        id = file.id, object = "file", purpose = "assistants", filename = "n.bin", bytes = 7, created_at = START,
        expires_at = json.null, status = "processed", status_details = json.null,
      }, file)
      assert.same(file, must("files.retrieve", { file.id }))
      assert.equal("hello\0\255", must("files.content", { file.id }))
      assert.same({ id = file.id, object = "file", deleted = true }, must("files.delete", { file.id }))
      for _, name in ipairs({ "files.retrieve", "files.content", "files.delete" }) do
        assert.same({ "No such File object: " .. file.id, 404, "id" }, { refused(name, { file.id }) })
      end
    end)

    it("may be empty", function()
      assert.equal("", must("files.content", { upload("").id }))
    end)

    it("come from a path or a function, too", function()
      local path = os.tmpname()
      local handle = assert(io.open(path, "wb"))
      handle:write("a\r\nb")
      handle:close()
      local file = must("files.create", nil, { file = { path = path }, purpose = "vision" })
      os.remove(path)
      assert.same({ path:match("[^/]+$"), "a\r\nb" }, { file.filename, must("files.content", { file.id }) })
      local pieces = { "x", "", "yz" }
      file = must("files.create", nil, {
        file = { read = function() return table.remove(pieces, 1) end, name = "f" }, purpose = "batch",
      })
      assert.equal("xyz", must("files.content", { file.id }))
    end)

    local READ_FAILS = {
      { function() return nil, "no luck" end, "'file' can't be read: no luck" },
      { function() error("oh", 0) end, "'file' can't be read: oh" },
      { function() return 7 end, "'file' can't be read: read must return a string or nil, got a number" },
    }
    it("aren't kept where they can't be read", function()
      for _, case in ipairs(READ_FAILS) do
        local file = { read = case[1], name = "f" }
        assert.equal(case[2], (refused("files.create", nil, { file = file, purpose = "batch" })))
      end
      assert.matches("^'file' can't be read: /no/such: ",
        (refused("files.create", nil, { file = { path = "/no/such" }, purpose = "batch" })))
      assert.matches("^'file' can't be read: ",
        (refused("files.create", nil, { file = { path = "/" , name = "x" }, purpose = "batch" })))
    end)

    for message, body in pairs({
      ["Missing required parameter: 'file'."] = { purpose = "assistants" },
      ["Missing required parameter: 'purpose'."] = { file = { data = "x", name = "x" } },
      ["Missing required parameter: 'file.name'."] = { file = { data = "x" }, purpose = "batch" },
      ["Invalid type for 'file': expected an object, but got a string instead."] = { file = "x", purpose = "batch" },
      ["'file' must have one of 'data', 'path' and 'read'."] = {
        file = { data = json.null, path = json.null, name = "x" }, purpose = "batch" },
      ["'file' can't be read: /no/such/f: No such file or directory"] = {
        file = { data = json.null, path = "/no/such/f", name = json.null }, purpose = "batch" },
      ["Invalid 'file.name': it isn't valid UTF-8."] = { file = { data = "x", name = "\255" }, purpose = "batch" },
      ["Unknown parameter: 'x'."] = { file = { data = "x", name = "x" }, purpose = "batch", x = 1 },
      ["Invalid value: 'fun'. Supported values are: 'assistants', 'batch', 'fine-tune', 'vision', 'user_data', and "
        .. "'evals'."] = { file = { data = "x", name = "x" }, purpose = "fun" },
      ["Invalid 'expires_after.seconds': integer below minimum value. Expected a value >= 3600, but got 60 "
        .. "instead."] = {
        file = { data = "x", name = "x" }, purpose = "batch",
        expires_after = { anchor = "created_at", seconds = "60" },
      },
      ["Invalid type for 'expires_after.seconds': expected an integer, but got a string instead."] = {
        file = { data = "x", name = "x" }, purpose = "batch", expires_after = { anchor = "created_at", seconds = "x" },
      },
    }) do
      it("are refused: " .. message, function()
        local said, status = refused("files.create", nil, body)
        assert.same({ message, 400 }, { said, status })
      end)
    end

    it("are listed by pages, newest first, and by purpose", function()
      local first, second = upload("1").id, upload("2", nil, { purpose = "vision" }).id
      local third = upload("3").id
      assert.same({ third, second, first }, ids_of(must("files.list", nil, {})))
      assert.same({ second }, ids_of(must("files.list", nil, { purpose = "vision" })))
      local page = must("files.list", nil, { order = "asc", limit = "2" })
      assert.same({ { first, second }, true, first, second },
        { ids_of(page), page.has_more, page.first_id, page.last_id })
      assert.same({ third }, ids_of(must("files.list", nil, { order = "asc", after = second })))
      perform("files.delete", { second })
      assert.same({ third, first }, ids_of(must("files.list", nil, {})))
      assert.equal("No file found with id '" .. second .. "'.", (refused("files.list", nil, { after = second })))
    end)

    it("keep their order however many go", function()
      local ids = {}
      for index = 1, 400 do ids[index] = upload("x").id end
      for index = 1, 400 do
        if index % 7 ~= 0 then must("files.delete", { ids[index] }) end
      end
      local listed = ids_of(must("files.list", nil, { order = "asc" }))
      assert.equal(57, #listed)
      for index, id in ipairs(listed) do assert.equal(ids[7 * index], id) end
    end)

    it("go when their time is over", function()
      local forever = upload("x").id
      local file = upload("x", nil, { expires_after = { anchor = "created_at", seconds = "3600" } })
      local batch = upload("x", nil, { purpose = "batch" })
      assert.same({ START + 3600, START + 30 * DAY }, { file.expires_at, batch.expires_at })
      now = START + 3599
      assert.equal(3, #must("files.list", nil, {}).data)
      now = START + 3600
      assert.same({ batch.id, forever }, ids_of(must("files.list", nil, {})))
      now = START + 31 * DAY
      assert.same({ forever }, ids_of(must("files.list", nil, {})))
    end)

    it("leave no timers behind", function()
      for _ = 1, 10 do
        must("files.delete", { upload("x", nil, { expires_after = { anchor = "created_at", seconds = 3600 } }).id })
      end
      assert.is_nil(runtime:advance())
    end)

    it("have limits, each and together", function()
      runtime = new_runtime({ max_file_bytes = 10, max_files_bytes = 4000 })
      upload(("x"):rep(10))
      assert.same({ "File is too large: this server takes files of up to 10 bytes.", 400, "file", "file_too_large" },
        { refused("files.create", nil, { file = { data = ("x"):rep(11), name = "x" }, purpose = "batch" }) })
      local endless = { read = function() return "xxxx" end, name = "x" }
      assert.equal("file_too_large", (select(4, refused("files.create", nil, { file = endless, purpose = "batch" }))))
      local count = 1
      while perform("files.create", nil, { file = { data = "x", name = "x" }, purpose = "assistants" }) do
        count = count + 1
      end
      assert.is_true(count < 10)
      local full = { file = { data = "x", name = "x" }, purpose = "assistants" }
      assert.equal("storage_full", (select(4, refused("files.create", nil, full))))
      assert.equal("storage_full", (select(4, refused("vector_stores.create", nil, {}))))
      for _, id in ipairs(ids_of(must("files.list", nil, {}))) do must("files.delete", { id }) end
      assert.equal(0, runtime.files.budget.held)
      upload("x")
    end)
  end)

  describe("uploaded in parts", function()
    local BODY = { filename = "big.txt", purpose = "assistants", bytes = 6, mime_type = "text/plain" }

    local function add(id, data)
      return must("uploads.parts.create", { id }, { data = { data = data, name = "p" } }).id
    end

    it("are joined in the order they are named", function()
      local begun = must("uploads.create", nil, BODY)
      assert.matches("^upload_%w+$", begun.id)
      assert.same({
        id = begun.id, object = "upload", bytes = 6, created_at = START, filename = "big.txt", purpose = "assistants",
        status = "pending", expires_at = START + 3600,
      }, begun)
      local part = must("uploads.parts.create", { begun.id }, { data = { data = "def", name = "p" } })
      assert.same({ id = part.id, object = "upload.part", created_at = START, upload_id = begun.id }, part)
      local first = add(begun.id, "abc")
      add(begun.id, "unused")
      local done = must("uploads.complete", { begun.id }, {
        part_ids = json.array({ first, part.id }), md5 = "E80B5017098950FC58AAD83C8C14978E",
      })
      assert.same({ "completed", "abcdef", "big.txt", 6 },
        { done.status, must("files.content", { done.file.id }), done.file.filename, done.file.bytes })
      assert.same(done.file, must("files.retrieve", { done.file.id }))
      assert.equal("Upload " .. begun.id .. " has status 'completed'.",
        (refused("uploads.complete", { begun.id }, { part_ids = json.array({ first }) })))
    end)

    it("stay pending where the parts aren't what was announced", function()
      local id = must("uploads.create", nil, BODY).id
      local first, second = add(id, "abc"), add(id, "def")
      local function complete(part_ids)
        return (refused("uploads.complete", { id }, { part_ids = json.array(part_ids) }))
      end
      assert.equal("The parts have 3 bytes together, but the upload was to have 6 bytes.", complete({ first }))
      assert.equal("The parts have 0 bytes together, but the upload was to have 6 bytes.", complete({}))
      assert.equal("Part '" .. first .. "' is named twice.", complete({ first, first }))
      assert.equal("No part with id 'part_x' belongs to upload " .. id .. ".", complete({ "part_x", first }))
      must("uploads.complete", { id }, { part_ids = json.array({ first, second }) })
    end)

    it("can be cancelled", function()
      local id = must("uploads.create", nil, BODY).id
      add(id, "abc")
      local held = runtime.files.budget.held
      assert.equal("cancelled", must("uploads.cancel", { id }).status)
      assert.is_true(runtime.files.budget.held < held)
      for _, name in ipairs({ "uploads.cancel", "uploads.complete", "uploads.parts.create" }) do
        local body = ({ ["uploads.complete"] = { part_ids = json.array() },
          ["uploads.parts.create"] = { data = { data = "x", name = "x" } } })[name]
        assert.equal("Upload " .. id .. " has status 'cancelled'.", (refused(name, { id }, body)))
      end
    end)

    it("expire after an hour, and are forgotten an hour later", function()
      local id = must("uploads.create", nil, BODY).id
      add(id, "abc")
      now = START + 3600
      assert.equal("Upload " .. id .. " has status 'expired'.", (refused("uploads.cancel", { id })))
      now = START + 7200
      assert.equal("No upload found with id '" .. id .. "'.", (refused("uploads.cancel", { id })))
      assert.equal(0, runtime.files.budget.held)
    end)

    it("are refused where they would be too large", function()
      runtime = new_runtime({ max_file_bytes = 5 })
      assert.equal("file_too_large", (select(4, refused("uploads.create", nil, BODY))))
      assert.equal("Missing required parameter: 'mime_type'.",
        (refused("uploads.create", nil, { filename = "x", purpose = "batch", bytes = 1 })))
    end)

    it("keep their policy", function()
      local body = { filename = "x", purpose = "vision", bytes = 0, mime_type = "text/plain",
        expires_after = { anchor = "created_at", seconds = 3600 } }
      local id = must("uploads.create", nil, body).id
      now = START + 10
      local done = must("uploads.complete", { id }, { part_ids = json.array() })
      assert.equal(START + 3610, done.file.expires_at)
    end)
  end)

  describe("in vector stores", function()
    before_each(function() runtime = new_runtime({ delay = 5 }) end)

    local function store_of(...)
      return must("vector_stores.create", nil, { file_ids = json.array({ ... }) }).id
    end

    local function counts_of(object)
      local counts = object.file_counts
      return { counts.in_progress, counts.completed, counts.failed, counts.cancelled, counts.total }
    end

    local function retrieve(id) return must("vector_stores.retrieve", { id }) end

    it("make stores as the API shows them", function()
      local store = must("vector_stores.create", nil, {})
      assert.matches("^vs_%w+$", store.id)
      local expected = {
        id = store.id, object = "vector_store", created_at = START, name = json.null, description = json.null,
        usage_bytes = 0, file_counts = { in_progress = 0, completed = 0, failed = 0, cancelled = 0, total = 0 },
        status = "completed", expires_after = json.null, expires_at = json.null, last_active_at = START, metadata = {},
      }
      assert.same(expected, store)
      now = START + 7
      local file = upload("hello world\n")
      local made = must("vector_stores.create", nil, {
        file_ids = json.array({ file.id }), name = "test", expires_after = { anchor = "last_active_at", days = 3 },
        metadata = { k = "v" },
      })
      assert.same({ "in_progress", { 1, 0, 0, 0, 1 }, START + 7 + 3 * DAY, 0 },
        { made.status, counts_of(made), made.expires_at, made.usage_bytes })
      now = START + 12
      made = retrieve(made.id)
      -- as recorded: the text and 1 KiB a chunk
      assert.same({ "completed", { 0, 1, 0, 0, 1 }, 1036 }, { made.status, counts_of(made), made.usage_bytes })
      assert.same({ made.id, store.id }, ids_of(must("vector_stores.list", nil, {})))
      assert.same({ id = store.id, object = "vector_store.deleted", deleted = true },
        must("vector_stores.delete", { store.id }))
      assert.same({ "No vector store found with id '" .. store.id .. "'.", 404 },
        { refused("vector_stores.retrieve", { store.id }) })
    end)

    it("are shown as the API shows them", function()
      local file, store_id = upload("12345678901234567890\n"), store_of()
      local added = must("vector_stores.files.create", { store_id }, {
        file_id = file.id, attributes = { a = 1, b = true, c = "x" },
      })
      local expected = {
        id = file.id, object = "vector_store.file", usage_bytes = 0, created_at = START, vector_store_id = store_id,
        status = "in_progress", last_error = json.null, attributes = { a = 1, b = true, c = "x" },
        chunking_strategy = {
          type = "static", static = { max_chunk_size_tokens = 800, chunk_overlap_tokens = 400 },
        },
      }
      assert.same(expected, added)
      assert.same({}, must("vector_stores.files.content", { store_id, file.id }).data)
      assert.equal(5, runtime:advance())
      now = START + 5
      expected.status, expected.usage_bytes = "completed", 1045
      assert.same(expected, must("vector_stores.files.retrieve", { store_id, file.id }))
      assert.same({
        object = "vector_store.file_content.page", data = { { type = "text", text = "12345678901234567890\n" } },
        has_more = false, next_page = json.null,
      }, must("vector_stores.files.content", { store_id, file.id }))
      expected.attributes = { z = 2 }
      assert.same(expected, must("vector_stores.files.update", { store_id, file.id }, { attributes = { z = 2 } }))
      assert.same({ id = file.id, object = "vector_store.file.deleted", deleted = true },
        must("vector_stores.files.delete", { store_id, file.id }))
      assert.same({ { 0, 0, 0, 0, 0 }, 0 }, { counts_of(retrieve(store_id)), retrieve(store_id).usage_bytes })
      assert.same({ "No file found with id '" .. file.id .. "'.", 404 },
        { refused("vector_stores.files.retrieve", { store_id, file.id }) })
      must("files.retrieve", { file.id })
    end)

    it("fail where they hold no text", function()
      local binary, latin, empty = upload("a\0b"), upload("\228"), upload("")
      local store_id = store_of(binary.id, latin.id, empty.id)
      now = START + 5
      assert.same({ "completed", { 0, 0, 3, 0, 3 }, 0 },
        { retrieve(store_id).status, counts_of(retrieve(store_id)), retrieve(store_id).usage_bytes })
      local function code_of(file)
        return must("vector_stores.files.retrieve", { store_id, file.id }).last_error.code
      end
      assert.same({ "unsupported_file", "unsupported_file", "invalid_file" },
        { code_of(binary), code_of(latin), code_of(empty) })
    end)

    it("are listed by pages and by status", function()
      local one, two, bad = upload("1").id, upload("2").id, upload("\0").id
      local store_id = store_of(one, two, bad)
      now = START + 5
      local three = upload("3").id
      must("vector_stores.files.create", { store_id }, { file_id = three })
      local function listed(query) return ids_of(must("vector_stores.files.list", { store_id }, query)) end
      assert.same({ three, bad, two, one }, listed({}))
      assert.same({ three }, listed({ filter = "in_progress" }))
      assert.same({ one, two }, listed({ filter = "completed", order = "asc" }))
      assert.same({ bad }, listed({ filter = "failed" }))
      assert.same({ bad, two }, listed({ before = one, after = three }))
      assert.matches("^Invalid value: 'x'", (refused("vector_stores.files.list", { store_id }, { filter = "x" })))
    end)

    it("begin anew where they are added again", function()
      local file = upload("abc")
      local store_id = store_of(file.id)
      now = START + 4
      must("vector_stores.files.create", { store_id }, { file_id = file.id })
      now = START + 5
      assert.same({ 1, 0, 0, 0, 1 }, counts_of(retrieve(store_id)))
      now = START + 9
      assert.same({ { 0, 1, 0, 0, 1 }, 1027 }, { counts_of(retrieve(store_id)), retrieve(store_id).usage_bytes })
    end)

    it("go with the file", function()
      local file = upload("abc")
      local store_id = store_of(file.id)
      now = START + 5
      must("files.delete", { file.id })
      assert.same({ { 0, 0, 0, 0, 0 }, 0 }, { counts_of(retrieve(store_id)), retrieve(store_id).usage_bytes })
      assert.same({}, must("vector_stores.search", { store_id }, { query = "abc" }).data)
    end)

    it("are all added or none", function()
      local file = upload("abc")
      local store_id = store_of()
      assert.same({ "No such File object: file-x", 404, "id" },
        { refused("vector_stores.create", nil, { file_ids = json.array({ file.id, "file-x" }) }) })
      assert.same({ store_id }, ids_of(must("vector_stores.list", nil, {})))
      refused("vector_stores.file_batches.create", { store_id }, { file_ids = json.array({ file.id, "file-x" }) })
      assert.same({ 0, 0, 0, 0, 0 }, counts_of(retrieve(store_id)))
    end)

    it("leave nothing of a store that is deleted", function()
      local file = upload("abc")
      local held = runtime.files.budget.held
      local store_id = must("vector_stores.create", nil, {
        name = "x", expires_after = { anchor = "last_active_at", days = 1 },
      }).id
      must("vector_stores.file_batches.create", { store_id }, { file_ids = json.array({ file.id }) })
      must("vector_stores.update", { store_id }, { metadata = { k = ("v"):rep(500) } })
      must("vector_stores.delete", { store_id })
      assert.equal(held, runtime.files.budget.held)
      now = START + 5
      assert.is_nil(runtime:advance())
    end)

    it("change what is said of a store", function()
      local store_id = must("vector_stores.create", nil, { name = "a", metadata = { k = "v" } }).id
      now = START + 100
      local store = must("vector_stores.update", { store_id }, {
        name = "b", expires_after = { anchor = "last_active_at", days = 1 },
      })
      assert.same({ "b", START + DAY, { k = "v" }, START },
        { store.name, store.expires_at, store.metadata, store.last_active_at })
      store = must("vector_stores.update", { store_id }, { name = json.null, expires_after = json.null })
      assert.same({ json.null, json.null, json.null }, { store.name, store.expires_after, store.expires_at })
    end)

    it("can't be used once the store has expired", function()
      local file = upload("abc")
      local store_id = must("vector_stores.create", nil, {
        file_ids = json.array({ file.id }), expires_after = { anchor = "last_active_at", days = 1 },
      }).id
      now = START + DAY - 10
      must("vector_stores.search", { store_id }, { query = "abc" })
      now = START + DAY + 10
      assert.same({ "completed", START + DAY - 10, START + 2 * DAY - 10 },
        { retrieve(store_id).status, retrieve(store_id).last_active_at, retrieve(store_id).expires_at })
      now = START + 2 * DAY - 10
      assert.equal("expired", retrieve(store_id).status)
      assert.equal("Vector store " .. store_id .. " is expired.",
        (refused("vector_stores.search", { store_id }, { query = "abc" })))
      assert.equal("Vector store " .. store_id .. " is expired.",
        (refused("vector_stores.files.create", { store_id }, { file_id = file.id })))
    end)

    it("come as batches", function()
      local one, two, bad = upload("1").id, upload("2").id, upload("\0").id
      local store_id = store_of(one)
      local ids = json.array({ two, bad, two })
      local batch = must("vector_stores.file_batches.create", { store_id }, { file_ids = ids })
      assert.matches("^vsfb_%w+$", batch.id)
      assert.same({
        id = batch.id, object = "vector_store.file_batch", created_at = START, status = "in_progress",
        vector_store_id = store_id,
        file_counts = { in_progress = 2, completed = 0, failed = 0, cancelled = 0, total = 2 },
      }, batch)
      assert.same({ 3, 0, 0, 0, 3 }, counts_of(retrieve(store_id)))
      ids = { store_id, batch.id }
      assert.same({ bad, two }, ids_of(must("vector_stores.file_batches.list_files", ids, {})))
      now = START + 5
      batch = must("vector_stores.file_batches.retrieve", ids)
      assert.same({ "completed", { 0, 1, 1, 0, 2 } }, { batch.status, counts_of(batch) })
      assert.same({ bad }, ids_of(must("vector_stores.file_batches.list_files", ids, { filter = "failed" })))
      assert.same(batch, must("vector_stores.file_batches.cancel", ids))
      assert.equal("No file batch found with id 'vsfb_x'.",
        (refused("vector_stores.file_batches.retrieve", { store_id, "vsfb_x" })))
      assert.equal("No file batch found with id '" .. batch.id .. "'.",
        (refused("vector_stores.file_batches.retrieve", { store_of(), batch.id })))
    end)

    it("may have settings of their own in a batch", function()
      local one, two = upload("1").id, upload("2").id
      local store_id = store_of()
      must("vector_stores.file_batches.create", { store_id }, { files = json.array({
        { file_id = one, attributes = { n = 1 } },
        { file_id = two, chunking_strategy = { type = "static", static = {
          max_chunk_size_tokens = 100, chunk_overlap_tokens = 0 } } },
      }) })
      assert.same({ n = 1 }, must("vector_stores.files.retrieve", { store_id, one }).attributes)
      assert.equal(100, must("vector_stores.files.retrieve", { store_id, two }).chunking_strategy.static
        .max_chunk_size_tokens)
    end)

    it("are left out where the batch is cancelled", function()
      local store_id = store_of()
      local ids = json.array({ upload("1").id })
      local batch = must("vector_stores.file_batches.create", { store_id }, { file_ids = ids })
      batch = must("vector_stores.file_batches.cancel", { store_id, batch.id })
      assert.same({ "cancelled", { 0, 0, 0, 1, 1 } }, { batch.status, counts_of(batch) })
      now = START + 5
      assert.same({ "completed", { 0, 0, 0, 1, 1 } }, { retrieve(store_id).status, counts_of(retrieve(store_id)) })
    end)

    it("let their batch end where they are taken out", function()
      local file, store_id = upload("1").id, store_of()
      local batch = must("vector_stores.file_batches.create", { store_id }, { file_ids = json.array({ file }) })
      must("vector_stores.files.delete", { store_id, file })
      batch = must("vector_stores.file_batches.retrieve", { store_id, batch.id })
      assert.same({ "completed", { 0, 0, 0, 1, 1 } }, { batch.status, counts_of(batch) })
    end)

    for message, case in pairs({
      ["Missing required parameter: 'file_ids'."] = { "vector_stores.file_batches.create", {} },
      ["A batch must have at least one file."] = { "vector_stores.file_batches.create", { file_ids = json.array() } },
      ["Only one of 'files' and 'file_ids' may be given."] =
        { "vector_stores.file_batches.create", { file_ids = json.array(), files = json.array() } },
      ["Missing required parameter: 'file_id'."] = { "vector_stores.files.create", {} },
      ["Invalid type for 'attributes.a': expected a string, a number or a boolean, but got an object instead."] =
        { "vector_stores.files.create", { file_id = "x", attributes = { a = { b = 1 } } } },
      ["Invalid 'chunking_strategy': chunk_overlap_tokens must not exceed half of max_chunk_size_tokens."] =
        { "vector_stores.files.create", { file_id = "x", chunking_strategy = { type = "static", static = {
          max_chunk_size_tokens = 100, chunk_overlap_tokens = 51 } } } },
      ["Missing required parameter: 'chunking_strategy.static'."] =
        { "vector_stores.files.create", { file_id = "x", chunking_strategy = { type = "static" } } },
      ["Missing required parameter: 'query'."] = { "vector_stores.search", {} },
      ["Invalid 'max_num_results': integer above maximum value. Expected a value <= 50, but got 51 instead."] =
        { "vector_stores.search", { query = "x", max_num_results = 51 } },
      ["Missing required parameter: 'filters.type'."] = { "vector_stores.search", { query = "x", filters = {} } },
      ["Missing required parameter: 'filters.filters[0].key'."] = { "vector_stores.search", {
        query = "x", filters = { type = "and", filters = json.array({ { type = "eq", value = 1 } }) } } },
      ["Invalid type for 'filters.value': expected an array, but got a string instead."] =
        { "vector_stores.search", { query = "x", filters = { type = "in", key = "k", value = "x" } } },
      ["Invalid type for 'query[0]': expected a string, but got an integer instead."] =
        { "vector_stores.search", { query = json.array({ 1 }) } },
    }) do
      it("are refused: " .. message, function()
        local said, status = refused(case[1], { store_of() }, case[2])
        assert.same({ message, 400 }, { said, status })
      end)
    end
  end)

  describe("searched", function()
    local store_id

    local function add(data, name, attributes)
      local file = upload(data, name)
      must("vector_stores.files.create", { store_id }, { file_id = file.id, attributes = attributes })
    end

    before_each(function()
      store_id = must("vector_stores.create", nil, {}).id
      add("Rome is warm. The sky of Rome is clear.", "rome.txt", { country = "Italy", year = 2001, old = true })
      add("Oslo is cold, and the sky is grey.", "oslo.txt", { country = "Norway", year = 2010 })
      add("Nothing about the weather.", "none.txt")
    end)

    local function found(query, changes)
      local body = { query = query }
      for name, value in pairs(changes or {}) do body[name] = value end
      local names = {}
      for index, item in ipairs(must("vector_stores.search", { store_id }, body).data) do
        names[index] = item.filename
      end
      return names
    end

    it("give the chunks that fit best, as the API shows them", function()
      local page = must("vector_stores.search", { store_id }, { query = "Sky over ROME?" })
      assert.same({ "vector_store.search_results.page", "Sky over ROME?", false, json.null, 2 },
        { page.object, page.search_query, page.has_more, page.next_page, #page.data })
      local first = page.data[1]
      assert.is_true(first.score > page.data[2].score and first.score < 1 and page.data[2].score > 0)
      local file_id = must("files.list", nil, { order = "asc" }).data[1].id
      assert.same({
        file_id = file_id, filename = "rome.txt", score = first.score,
        attributes = { country = "Italy", year = 2001, old = true },
        content = { { type = "text", text = "Rome is warm. The sky of Rome is clear." } },
      }, first)
    end)

    it("by words, of one query or several, up to so many", function()
      assert.same({ "oslo.txt" }, found("grey"))
      assert.same({}, found("gre"))
      assert.same({}, found("?!"))
      assert.same({ "rome.txt", "oslo.txt" }, found(json.array({ "warm rome", "grey" })))
      assert.same({ "rome.txt" }, found("rome sky", { max_num_results = 1 }))
      assert.same({}, found("rome sky", { ranking_options = { score_threshold = 1 } }))
    end)

    for name, case in pairs({
      eq = { { type = "eq", key = "country", value = "Italy" }, "rome.txt" },
      ne = { { type = "ne", key = "country", value = "Italy" }, "oslo.txt", "none.txt" },
      gt = { { type = "gt", key = "year", value = 2001 }, "oslo.txt" },
      gte = { { type = "gte", key = "year", value = 2001 }, "oslo.txt", "rome.txt" },
      lt = { { type = "lt", key = "year", value = 2010 }, "rome.txt" },
      lte = { { type = "lte", key = "year", value = "2010" } },
      boolean = { { type = "eq", key = "old", value = true }, "rome.txt" },
      ["in"] = { { type = "in", key = "year", value = json.array({ 1, 2010 }) }, "oslo.txt" },
      nin = { { type = "nin", key = "year", value = json.array({ 1, 2010 }) }, "rome.txt", "none.txt" },
      ["and"] = { { type = "and", filters = json.array({
        { type = "gt", key = "year", value = 2000 }, { type = "eq", key = "country", value = "Norway" },
      }) }, "oslo.txt" },
      ["or"] = { { type = "or", filters = json.array({
        { type = "eq", key = "year", value = 2001 }, { type = "eq", key = "country", value = "Norway" },
      }) }, "oslo.txt", "rome.txt" },
      nested = { { type = "and", filters = json.array({
        { type = "or", filters = json.array() }, { type = "eq", key = "year", value = 2001 },
      }) } },
    }) do
      it("with a filter: " .. name, function()
        local names = found("rome oslo nothing", { filters = case[1] })
        local expected = {}
        for index = 2, #case do expected[index - 1] = case[index] end
        table.sort(names)
        table.sort(expected)
        assert.same(expected, names)
      end)
    end

    it("take no null in the place of a filter", function()
      local text = refused("vector_stores.search", { store_id },
        { query = "x", filters = { type = "and", filters = json.array({ json.null }) } })
      assert.equal("Missing required parameter: 'filters.filters[0]'.", text)
    end)

    it("take no filter that would keep everybody waiting", function()
      local values, filters = json.array(), json.array()
      for index = 1, 257 do
        values[index], filters[index] = index, { type = "eq", key = "year", value = index }
      end
      for _, filter in ipairs({ { type = "in", key = "year", value = values }, { type = "or", filters = filters } }) do
        local text, _, param = refused("vector_stores.search", { store_id }, { query = "rome", filters = filter })
        assert.matches("^Invalid 'filters': too many comparisons%. Expected at most 256, but got 25[78]%.$", text)
        assert.equal("filters", param)
      end
      values[257] = nil
      found("rome", { filters = { type = "in", key = "year", value = values } })
    end)

    it("use a store, which lives on for it", function()
      now = START + 50
      found("x")
      assert.equal(START + 50, must("vector_stores.retrieve", { store_id }).last_active_at)
    end)
  end)

  describe("attached to messages", function()
    local SEARCH, CODE = { type = "file_search" }, { type = "code_interpreter" }

    local function attached(file, ...)
      return json.array({ { file_id = file.id, tools = json.array({ ... }) } })
    end

    local function resources_of(thread_id)
      return must("threads.retrieve", { thread_id }).tool_resources
    end

    local function names_in(store_id)
      local names = {}
      for index, item in ipairs(must("vector_stores.files.list", { store_id }, { order = "asc" }).data) do
        names[index] = must("files.retrieve", { item.id }).filename
      end
      return names
    end

    it("are searched by the runs of their thread", function()
      local first, second = upload("Rome is warm.", "rome.txt"), upload("Oslo is cold.", "oslo.txt")
      local thread = must("threads.create", nil, { messages = json.array({
        { role = "user", content = "x", attachments = attached(first, SEARCH) } }) })
      local store_id = resources_of(thread.id).file_search.vector_store_ids[1]
      assert.same({ anchor = "last_active_at", days = 7 },
        must("vector_stores.retrieve", { store_id }).expires_after)
      must("threads.messages.create", { thread.id },
        { role = "user", content = "y", attachments = attached(second, SEARCH) })
      assert.same({ store_id }, resources_of(thread.id).file_search.vector_store_ids)
      assert.same({ "rome.txt", "oslo.txt" }, names_in(store_id))
    end)

    it("are for code to read, each once", function()
      local file = upload("1,2", "numbers.csv")
      local run = must("threads.create_and_run", nil, { assistant_id = "asst_local", thread = {
        messages = json.array({ { role = "user", content = "x", attachments = attached(file, CODE) } }) } })
      local expected = { code_interpreter = { file_ids = { file.id } } }
      assert.same(expected, resources_of(run.thread_id))
      runtime:advance()
      must("threads.runs.create", { run.thread_id }, { assistant_id = "asst_local", additional_messages = json.array({
        { role = "user", content = "y", attachments = attached(file, CODE) } }) })
      assert.same(expected, resources_of(run.thread_id))
    end)

    it("keep a message out where they aren't there", function()
      local thread = must("threads.create")
      local result, err = perform("threads.messages.create", { thread.id },
        { role = "user", content = "x", attachments = attached({ id = "file-none" }, SEARCH) })
      assert.is_nil(result)
      assert.equal(404, err.status)
      assert.same({}, must("threads.messages.list", { thread.id }).data)
    end)
  end)

  describe("in runs", function()
    local CONTENT = "step_details.tool_calls[*].file_search.results[*].content"
    local thread_id, tools, file_id

    before_each(function()
      local file = upload("Rome is warm.", "rome.txt")
      file_id = file.id
      local store = must("vector_stores.create", nil, { file_ids = json.array({ file.id }) })
      tools = json.array({ { type = "file_search" } })
      thread_id = must("threads.create", nil, {
        messages = json.array({ { role = "user", content = "How is Rome?" } }),
        tool_resources = { file_search = { vector_store_ids = json.array({ store.id }) } },
      }).id
    end)

    local function run_it()
      local run = must("threads.runs.create", { thread_id }, { assistant_id = "asst_local", tools = tools })
      runtime:advance()
      return must("threads.runs.retrieve", { thread_id, run.id })
    end

    local function steps_of(run, query)
      return must("threads.runs.steps.list", { thread_id, run.id }, query or { order = "asc" }).data
    end

    it("are found for a model that asks, and it goes on with what was found", function()
      local seen
      answer = function(messages)
        seen = messages
        if messages[#messages].role == "user" then
          return { { name = "file_search", arguments = { queries = json.array({ "warm Rome" }) }, id = "call_1" } }
        end
        return "It is " .. json.decode(messages[#messages].content)[1].text
      end
      local run = run_it()
      assert.equal("completed", run.status)
      assert.same({ role = "assistant", content = "", tool_calls = {
        { id = "call_1", name = "file_search", arguments = '{"queries":["warm Rome"]}' },
      } }, seen[2])
      assert.same({ "tool", "call_1", "file_search" }, { seen[3].role, seen[3].tool_call_id, seen[3].name })
      local steps = steps_of(run)
      local details = steps[1].step_details
      local result = details.tool_calls[1].file_search.results[1]
      assert.same({
        type = "tool_calls", tool_calls = { { id = "call_1", type = "file_search", file_search = {
          ranking_options = { ranker = "default_2024_08_21", score_threshold = 0 },
          results = { { file_id = file_id, file_name = "rome.txt", score = result.score } },
        } } },
      }, details)
      assert.same({ "completed", "message_creation" }, { steps[1].status, steps[2].type })
      assert.equal(run.usage.total_tokens, steps[1].usage.total_tokens + steps[2].usage.total_tokens)
      for _, include in ipairs({ CONTENT, json.array({ CONTENT }) }) do
        local step = steps_of(run, { order = "asc", include = include })[1]
        assert.same({ { type = "text", text = "Rome is warm." } },
          step.step_details.tool_calls[1].file_search.results[1].content)
        assert.same(step, must("threads.runs.steps.retrieve", { thread_id, run.id, step.id },
          { ["include[]"] = json.array({ CONTENT }) }))
      end
      assert.same(steps[1], must("threads.runs.steps.retrieve", { thread_id, run.id, steps[1].id }))
    end)

    it("are told to who streams the run as it asks for them", function()
      answer = function(messages)
        if messages[#messages].role == "tool" then return "done" end
        return { { name = "file_search", arguments = { queries = json.array({ "warm Rome" }) } } }
      end
      for include, expected in pairs({ [CONTENT] = "Rome is warm.", other = "nothing" }) do
        local source = assert(runtime:open(operations["threads.runs.create"], {
          path = { thread_id = thread_id }, query = { include = include },
          body = { assistant_id = "asst_local", tools = tools, stream = true },
        }))
        local name, step
        repeat name, step = assert(source:next()) until name == "thread.run.step.completed"
        local content = step.step_details.tool_calls[1].file_search.results[1].content
        assert.equal(expected, content and content[1].text or "nothing")
        repeat name = source:next() until name == nil
      end
    end)

    it("are found in the assistant's stores, too", function()
      local file = upload("Rome is old.", "old.txt")
      local store = must("vector_stores.create", nil, { file_ids = json.array({ file.id }) })
      runtime.machine.assistant_of = function(id)
        assert.equal("asst_local", id)
        return { tool_resources = { file_search = { vector_store_ids = json.array({ store.id }) } } }
      end
      answer = function(messages)
        if messages[#messages].role == "tool" then return "done" end
        return { { name = "file_search", arguments = { queries = { "Rome" } } } }
      end
      assert.equal(2, #steps_of(run_it())[1].step_details.tool_calls[1].file_search.results)
    end)

    it("are found beside functions, which wait for their outputs", function()
      tools[2] = { type = "function", ["function"] = { name = "f" } }
      answer = function(messages)
        if messages[#messages].role == "tool" then return "done" end
        return { { name = "f" }, { name = "file_search", arguments = { queries = { "Rome" } } } }
      end
      local run = run_it()
      assert.equal("requires_action", run.status)
      local calls = run.required_action.submit_tool_outputs.tool_calls
      assert.same({ 1, "f" }, { #calls, calls[1]["function"].name })
      must("threads.runs.submit_tool_outputs", { thread_id, run.id }, {
        tool_outputs = json.array({ { tool_call_id = calls[1].id, output = "x" } }),
      })
      runtime:advance()
      assert.equal("completed", must("threads.runs.retrieve", { thread_id, run.id }).status)
      assert.equal(3, #steps_of(run))
    end)

    it("aren't found where there are no stores, or gone ones", function()
      must("threads.update", { thread_id }, { tool_resources = { file_search = {
        vector_store_ids = json.array({ "vs_gone" }) } } })
      answer = function(messages)
        if messages[#messages].role == "tool" then return messages[#messages].content end
        return { { name = "file_search", arguments = { queries = { "Rome" } } } }
      end
      local run = run_it()
      assert.same({}, steps_of(run)[1].step_details.tool_calls[1].file_search.results)
    end)

    it("are looked for in one store each of the run, its thread and its assistant, as at the API", function()
      local two = { file_search = { vector_store_ids = json.array({ "vs_1", "vs_2" }) } }
      local text, _, param = refused("threads.update", { thread_id }, { tool_resources = two })
      assert.equal("Invalid 'tool_resources.file_search.vector_store_ids': array too long. Expected an array with "
        .. "maximum length 1, but got an array with length 2 instead.", text)
      assert.equal("tool_resources.file_search.vector_store_ids", param)
      refused("assistants.create", nil, { model = "m", tool_resources = two })
      refused("threads.create_and_run", nil, { assistant_id = "asst_local", tool_resources = two })
      refused("threads.create", nil, { tool_resources = { file_search = { vector_store_ids = json.array({ 1 }) } } })
      refused("threads.create", nil, { tool_resources = { file_search = "x" } })
      must("threads.create", nil, { tool_resources = { file_search = json.null, code_interpreter = {} } })
    end)

    it("are looked for in a store that is described where one is named, as the API's helper has it", function()
      local static = { max_chunk_size_tokens = 100, chunk_overlap_tokens = 50 }
      local function described(changes)
        local body = { file_ids = json.array({ file_id }), metadata = { k = "v" },
          chunking_strategy = { type = "static", static = static } }
        for name, value in pairs(changes or {}) do body[name] = value end
        return { file_search = { vector_stores = json.array({ body }) } }
      end
      local function check(made)
        local resources = made.tool_resources.file_search
        assert.is_nil(resources.vector_stores)
        assert.equal(1, #resources.vector_store_ids)
        local store = must("vector_stores.retrieve", { resources.vector_store_ids[1] })
        assert.same({ 1, { k = "v" } }, { store.file_counts.total, store.metadata })
        local file = must("vector_stores.files.retrieve", { store.id, file_id })
        assert.same(static, file.chunking_strategy.static)
      end
      check(must("threads.create", nil, { tool_resources = described() }))
      check(must("assistants.create", nil, { model = "m", tool_resources = described() }))
      local run = must("threads.create_and_run", nil, { assistant_id = "asst_local", thread = {
        tool_resources = described() } })
      check(must("threads.retrieve", { run.thread_id }))
      local held, threads = runtime.files.budget.held, runtime.store.count
      assert.equal("No such File object: gone", (refused("threads.create", nil, {
        tool_resources = described({ file_ids = json.array({ "gone" }) }) })))
      static.chunk_overlap_tokens = 51
      refused("assistants.create", nil, { model = "m", tool_resources = described() })
      static.chunk_overlap_tokens = 50
      local both = described()
      both.file_search.vector_store_ids = json.array({ "vs_1" })
      assert.equal("Only one of 'vector_store_ids' and 'vector_stores' may be given.",
        (refused("threads.create", nil, { tool_resources = both })))
      assert.equal("Unknown parameter: 'tool_resources.file_search.vector_stores'.",
        (refused("threads.update", { thread_id }, { tool_resources = described() })))
      refused("threads.create", nil, { tool_resources = described({ bogus = 1 }) })
      assert.same({ held, threads }, { runtime.files.budget.held, runtime.store.count })
    end)

    it("are as many as the API would give", function()
      local function offered(settings)
        return { assistant_id = "asst_local", tools = json.array({ { type = "file_search", file_search = settings } }) }
      end
      local _, _, param = refused("threads.runs.create", { thread_id }, offered({ max_num_results = 51 }))
      assert.equal("tools[0].file_search.max_num_results", param)
      refused("threads.runs.create", { thread_id }, offered({ ranking_options = { score_threshold = 2 } }))
      refused("threads.runs.create", { thread_id }, offered({ ranking_options = {} }))
      must("threads.runs.create", { thread_id }, offered({
        max_num_results = 50, ranking_options = { ranker = "default_2024_08_21", score_threshold = 0.5 },
      }))
    end)

    it("are a function's matter where the run has no such tool", function()
      tools = json.array({ { type = "function", ["function"] = { name = "file_search" } } })
      answer = function() return { { name = "file_search", arguments = "{}" } } end
      assert.equal("requires_action", run_it().status)
    end)

    it("fail the run where the call makes no sense, or comes again and again", function()
      for _, arguments in ipairs({ "{}", "x", '{"queries":[]}', '{"queries":[1]}' }) do
        answer = function() return { { name = "file_search", arguments = arguments } } end
        assert.equal("a call of file_search must have queries", run_it().last_error.message)
      end
      answer = function() return { { name = "file_search", arguments = { query = "Rome" } } } end
      local run = run_it()
      assert.same({ "failed", "the model searches files again and again" }, { run.status, run.last_error.message })
      assert.equal(32, #steps_of(run, { limit = 100 }))
    end)
  end)

  describe("text", function()
    it("is cut into chunks that overlap, between words and never within a character", function()
      local text = ("äöü "):rep(1000)
      local starts, stops = search.chunks(text, 100, 50)
      assert.equal(1, starts[1])
      assert.equal(#text, stops[#stops])
      for index = 1, #starts do
        local chunk = text:sub(starts[index], stops[index])
        assert.is_true(#chunk <= 400)
        assert.is_true(require("nexus_assistants.core").utf8_valid(chunk))
        assert.is_true(index == #starts or text:sub(stops[index] + 1, stops[index] + 1) == " ")
        if index > 1 then
          assert.is_true(starts[index] <= stops[index - 1] + 1 and starts[index] > starts[index - 1])
        end
      end
    end)

    it("without white space is cut all the same", function()
      for _, text in ipairs({ ("x"):rep(5000), ("€"):rep(3000), "x", ("\240\159\152\128"):rep(999) }) do
        local starts, stops = search.chunks(text, 100, 0)
        local pieces = {}
        for index = 1, #starts do pieces[index] = text:sub(starts[index], stops[index]) end
        assert.equal(text, table.concat(pieces))
      end
      assert.same({}, (search.chunks("", 100, 0)))
    end)

    it("is found in each chunk that holds the word as a whole", function()
      local words = {}
      for index = 1, 300 do words[index] = "w" .. index end
      local document = { text = table.concat(words, " ") }
      document.starts, document.stops = search.chunks(document.text, 100, 50)
      for _, word in ipairs({ "w1", "w100", "w300" }) do
        local expected = 0
        for index = 1, #document.starts do
          local chunk = " " .. document.text:sub(document.starts[index], document.stops[index]) .. " "
          if chunk:find(" " .. word .. " ", 1, true) then expected = expected + 1 end
        end
        assert.equal(expected, #search.rank({ document }, { word }))
        assert.is_true(expected > 0)
      end
    end)
  end)
end)
