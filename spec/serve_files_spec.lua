local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local servers = require("spec.support.server")

-- All bytes there are, and the like of what stands between the parts of a form.
local function tricky()
  local bytes = {}
  for byte = 0, 255 do bytes[#bytes + 1] = string.char(byte) end
  return table.concat(bytes) .. "\r\n--\r\n----------------------------\r\n--"
end

describe("files at the local server", function()
  local server, client

  setup(function() server = servers.start({ kind = "serve", delay = 0.05 }) end)
  teardown(function() server:stop() end)

  before_each(function()
    client = assert(nexus.new({
      nexus = false, openai = { api_key = "sk-x", base_url = server.openai_url, retries = 0 },
      poll = { interval = 0.02 },
    }))
  end)

  after_each(function() client:close(0) end)

  local function upload(data, name)
    return assert(client.files:create({ file = { data = data, name = name or "a.txt" }, purpose = "assistants" }))
  end

  it("go up from a text and come back as they were", function()
    local file = assert(client.files:create({
      file = { data = tricky(), name = 'ä "x".bin', content_type = "image/png" }, purpose = "vision",
      expires_after = { anchor = "created_at", seconds = 3600 },
    }))
    assert.same({ 'ä "x".bin', "vision", #tricky(), file.created_at + 3600 },
      { file.filename, file.purpose, file.bytes, file.expires_at })
    assert.equal(tricky(), assert(client.files:content(file.id)))
    assert.same(file, assert(client.files:retrieve(file.id)))
    assert.same({ id = file.id, object = "file", deleted = true }, assert(client.files:delete(file.id)))
    local gone, err = client.files:content(file.id)
    assert.is_nil(gone)
    assert.same({ "not_found", "No such File object: " .. file.id }, { err.kind, err.message })
  end)

  it("go up from a path and from a function, and come down to a sink and a path", function()
    local path = os.tmpname()
    local handle = assert(io.open(path, "wb"))
    handle:write(tricky():rep(1000))
    handle:close()
    finally(function() os.remove(path) end)
    local from_path = assert(client.files:create({ file = { path = path }, purpose = "user_data" }))
    local count = 0
    local from_function = assert(client.files:create({ purpose = "user_data", file = {
      name = "f.bin", read = function()
        count = count + 1
        return count <= 100 and tricky():rep(10) or nil
      end,
    } }))
    local pieces = {}
    assert.equal(#tricky() * 1000, assert(client.files:content(from_path.id, {
      sink = function(piece) pieces[#pieces + 1] = piece return true end,
    })))
    assert.equal(tricky():rep(1000), table.concat(pieces))
    assert(client.files:content(from_function.id, { path = path }))
    handle = assert(io.open(path, "rb"))
    local read = handle:read("*a")
    handle:close()
    assert.is_true(read == tricky():rep(1000))
  end)

  it("go up in parts", function()
    local begun = assert(client.uploads:create({
      filename = "big.txt", purpose = "assistants", bytes = 6, mime_type = "text/plain",
    }))
    local ids = {}
    for index, data in ipairs({ "abc", "def" }) do
      ids[index] = assert(client.uploads.parts:create(begun.id, { data = { data = data, name = "part" } })).id
    end
    local done = assert(client.uploads:complete(begun.id, {
      part_ids = ids, md5 = "e80b5017098950fc58aad83c8c14978e",
    }))
    assert.same({ "completed", "abcdef" }, { done.status, client.files:content(done.file.id) })
    local cancelled, err = client.uploads:cancel(begun.id)
    assert.is_nil(cancelled)
    assert.equal(400, err.status)
  end)

  it("are listed over all pages", function()
    local expected, seen = {}, {}
    for index = 1, 5 do expected[index] = upload("x", "page" .. index).id end
    for file in client.files:each({ limit = 2, order = "asc" }) do
      if file.filename:find("^page") then seen[#seen + 1] = file.id end
    end
    assert.same(expected, seen)
  end)

  it("are waited for in a vector store, one by one and as a batch, and searched", function()
    local store = assert(client.vector_stores:create({ name = "facts", metadata = { k = "v" } }))
    local one = assert(client.vector_stores.files:upload_and_poll(store.id, { data = "Rome is warm.", name = "r.txt" }))
    assert.same({ "completed", 13 + 1024 }, { one.status, one.usage_bytes })
    local batch = assert(client.vector_stores.file_batches:upload_and_poll(store.id, {
      { data = "Oslo is cold.", name = "o.txt" }, { data = "Lima is dry.", name = "l.txt" },
      { data = "\0", name = "bad.bin" },
    }))
    assert.same({ "completed", 2, 1, 3 },
      { batch.status, batch.file_counts.completed, batch.file_counts.failed, batch.file_counts.total })
    local found = assert(client.vector_stores:search(store.id, { query = "Where is it cold?" }))
    assert.same({ "o.txt", "Oslo is cold." }, { found.data[1].filename, found.data[1].content[1].text })
    local statuses = {}
    for file in client.vector_stores.files:each(store.id, { limit = 1, order = "asc" }) do
      statuses[#statuses + 1] = file.status
    end
    table.sort(statuses)
    assert.same({ "completed", "completed", "completed", "failed" }, statuses)
    local failed = assert(client.vector_stores.file_batches:list_files(store.id, batch.id, { filter = "failed" }))
    assert.equal("unsupported_file", failed.data[1].last_error.code)
    assert.equal("Rome is warm.", assert(client.vector_stores.files:content(store.id, one.id)).data[1].text)
    assert.is_true(assert(client.vector_stores:delete(store.id)).deleted)
  end)

  it("that can't be read are an error of the wait", function()
    local store = assert(client.vector_stores:create())
    local file, err = client.vector_stores.files:upload_and_poll(store.id, { data = "\255", name = "x" })
    assert.is_nil(file)
    assert.same({ "file", "failed" }, { err.kind, err.object.status })
    assert.matches("unsupported_file", err.message)
  end)

  describe("in requests that", function()
    local HEAD = "multipart/form-data; boundary=b"

    local function send(body, content_type)
      return server:request("POST", "/v1/files", body, { ["Content-Type"] = content_type or HEAD })
    end

    local function part(head, data)
      return "--b\r\nContent-Disposition: form-data; " .. head .. "\r\n\r\n" .. data .. "\r\n"
    end

    local PURPOSE = part('name="purpose"', "assistants")

    for what, case in pairs({
      ["are JSON"] = { json.encode({ purpose = "assistants", file = { path = "/etc/passwd", name = "x" } }),
        "application/json", "Invalid Content-Type: this takes multipart/form-data with a boundary." },
      ["name a file of the server"] = { PURPOSE .. part('name="file[path]"', "/etc/passwd") .. "--b--\r\n", HEAD,
        "We could not parse the form of your request: 'file' must be a file." },
      ["have a text for the file"] = { PURPOSE .. part('name="file"', "/etc/passwd") .. "--b--\r\n", HEAD,
        "We could not parse the form of your request: 'file' must be a file." },
      ["have no end"] = { PURPOSE, HEAD, "We could not parse the form of your request: no closing boundary." },
      ["have no file"] = { PURPOSE .. "--b--", HEAD, "Missing required parameter: 'file'." },
      ["have no purpose"] = { part('name="file"; filename="x"', "y") .. "--b--", HEAD,
        "Missing required parameter: 'purpose'." },
    }) do
      it(what .. " are refused", function()
        local response = send(case[1], case[2])
        assert.same({ 400, case[3] }, { response.status, response.json.error.message })
      end)
    end

    it("are right are taken", function()
      local response = send(part('name="file"; filename="x.txt"', "y") .. PURPOSE .. "--b--\r\n")
      assert.same({ 200, "x.txt" }, { response.status, response.json.filename })
      response = server:request("GET", "/v1/files/" .. response.json.id .. "/content")
      assert.same({ 200, "y", "application/octet-stream" },
        { response.status, response.body, response.headers["content-type"] })
    end)
  end)
end)
