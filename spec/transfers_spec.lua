local json = require("nexus_assistants.json")
local nexus = require("nexus_assistants")
local servers = require("spec.support.server")

local function read_all(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

describe("files", function()
  local server, client

  setup(function() server = servers.start({ kind = "fault" }) end)
  teardown(function() server:stop() end)

  before_each(function()
    client = assert(nexus.new({
      nexus = false, openai = { api_key = "sk-x", base_url = server.openai_url, retries = 0 },
    }))
  end)

  after_each(function()
    server:clear_faults()
    client:close(0)
  end)

  local function echo()
    server:faults({ { path = "/v1", action = "echo" } })
  end

  local function answers(body, status)
    server:faults({ { path = "/v1", action = "status", status = status or 200, body = body,
      content_type = "application/octet-stream" } })
  end

  -- The parts of a multipart body: content by name, and what stands before it.
  local function parts_of(sent)
    local boundary = sent.headers["content-type"]:match("^multipart/form%-data; boundary=(.+)$")
    local parts = {}
    for head, content in sent.body:gmatch("%-%-" .. boundary:gsub("%p", "%%%0") .. "\r\n(.-)\r\n\r\n(.-)\r\n%f[%-]") do
      parts[head:match('name="([^"]+)"')] = { head = head, content = content }
    end
    return parts
  end

  describe("going up", function()
    it("are sent from a text, with the other fields before them", function()
      echo()
      local parts = parts_of(assert(client.files:create({
        file = { data = "a,b\r\n1,2\r\n", name = "t.csv", content_type = "text/csv" }, purpose = "assistants",
        expires_after = { anchor = "created_at", seconds = 3600 },
      })))
      assert.equal("a,b\r\n1,2\r\n", parts.file.content)
      assert.matches('filename="t.csv"', parts.file.head, 1, true)
      assert.matches("Content%-Type: text/csv", parts.file.head)
      assert.equal("assistants", parts.purpose.content)
      assert.equal("created_at", parts["expires_after[anchor]"].content)
      assert.equal("3600", parts["expires_after[seconds]"].content)
    end)

    it("are sent from a path", function()
      local path = os.tmpname()
      finally(function() os.remove(path) end)
      local file = assert(io.open(path, "wb"))
      file:write(("x"):rep(100000))
      file:close()
      echo()
      local parts = parts_of(assert(client.files:create({ file = { path = path }, purpose = "assistants" })))
      assert.equal(100000, #parts.file.content)
      assert.matches('filename="' .. path:match("[^/]+$") .. '"', parts.file.head, 1, true)
    end)

    it("are sent from a function, as it gives them", function()
      for _, size in ipairs({ false, 500006 }) do
        echo()
        local chunks = { "first ", "", ("x"):rep(500000) }
        local parts = parts_of(assert(client.files:create({ purpose = "assistants", file = {
          name = "f.bin", size = size or nil, read = function() return table.remove(chunks, 1) end,
        } })))
        assert.equal("first " .. ("x"):rep(500000), parts.file.content)
      end
    end)

    it("are sent from a function whatever it gives at once", function()
      echo()
      local chunks, sent = { ("x"):rep(3000000) }, 0
      assert(client.files:create({ purpose = "assistants", file = {
        name = "f.bin", read = function() return table.remove(chunks, 1) end,
      } }, { on_progress = function(progress) sent = progress.sent end }))
      assert.is_true(sent >= 3000000)
    end)

    for what, case in pairs({
      ["that raises"] = { function() error("disk on fire", 0) end, "broken off: disk on fire" },
      ["that fails"] = { function() return nil, "no more" end, "broken off: no more" },
      ["that gives nonsense"] = { function() return 7 end,
        "broken off: read must return a string or nil, got a number" },
    }) do
      it("break off with a function " .. what, function()
        echo()
        local _, err = client.files:create({ purpose = "assistants", file = { name = "x", read = case[1] } })
        assert.same({ "cancelled", case[2] }, { err.kind, err.message })
      end)
    end

    for what, pieces in pairs({ [1] = { "x" }, [4] = { "xx", "xx" } }) do
      it("break off with a function that gives " .. what .. " of 3 bytes", function()
        echo()
        local next_piece = 0
        local _, err = client.files:create({ purpose = "x", file = { name = "x", size = 3, read = function()
          next_piece = next_piece + 1
          return pieces[next_piece]
        end } })
        assert.same({ "cancelled", "broken off: read gave " .. what .. " bytes, and 'size' is 3" },
          { err.kind, err.message })
      end)
    end

    it("tell how far they are", function()
      echo()
      local last
      assert(client.files:create({ purpose = "x", file = { data = ("x"):rep(300000), name = "x" } },
        { on_progress = function(progress) last = progress end }))
      assert.is_true(last.sent > 300000)
      assert.equal(last.send_total, last.sent)
      assert.is_true(last.received > 300000)
    end)

    it("go on where what is told of them gives way", function()
      echo()
      local upload = client:task(function()
        local left = 3
        return client.files:create({ purpose = "x", file = { name = "x", read = function()
          left = left - 1
          return left >= 0 and "x" or nil
        end } }, { on_progress = function() client:sleep(0.005) end })
      end)
      assert(upload:wait(5))
    end)

    it("don't block other tasks", function()
      echo()
      local upload = client:task(function()
        local left = 3
        return client.files:create({ purpose = "x", file = { name = "x", read = function()
          client:sleep(0.005)
          left = left - 1
          return left >= 0 and "x" or nil
        end } })
      end)
      local other = client:task(function() return upload:done() end)
      assert.is_false(other:wait(5))
      assert(upload:wait(5))
    end)

    for message, file in pairs({
      ["files:create: params.file must be a table, { path = … }, { data = …, name = … } or "
        .. "{ read = function, name = … }, got string"] = "x.txt",
      ["files:create: params.file must have one of 'path', 'data' and 'read'"] = { name = "x" },
      ["files:create: params.file must have a 'name'"] = { data = "x" },
      ["files:create: params.file: unknown option 'file_name'"] = { data = "x", file_name = "x" },
    }) do
      it("misuse: " .. message, function()
        local ok, problem = pcall(client.files.create, client.files, { file = file, purpose = "x" })
        assert.is_false(ok)
        assert.matches(message, problem, 1, true)
      end)
    end

    it("that aren't there are refused before anything is sent", function()
      server:clear_requests()
      local _, err = client.files:create({ purpose = "x", file = { path = "/nowhere/x" } })
      assert.same({ "invalid", "path '/nowhere/x': no such file" }, { err.kind, err.message })
      assert.same({}, server:requests())
    end)
  end)

  describe("coming down", function()
    it("are returned as a text", function()
      answers("\0\1binary é")
      assert.equal("\0\1binary é", assert(client.files:content("file_1")))
    end)

    it("are given to a function piece by piece", function()
      answers(("x"):rep(3000000))
      local count, bytes = 0, 0
      local total = assert(client.files:content("file_1", { sink = function(piece)
        count, bytes = count + 1, bytes + #piece
      end }))
      assert.same({ 3000000, 3000000 }, { total, bytes })
      assert.is_true(count > 1)
    end)

    it("are written to a path, which appears when all of it is there", function()
      local path = os.tmpname()
      os.remove(path)
      finally(function() os.remove(path) end)
      answers("content")
      assert.equal(7, assert(client.files:content("file_1", { path = path })))
      assert.equal("content", read_all(path))
      assert.is_nil(read_all(path .. ".part"))
    end)

    it("leave nothing where they fail", function()
      local path = os.tmpname()
      os.remove(path)
      answers('{"error":{"message":"No such File object"}}', 404)
      local _, err = client.files:content("file_1", { path = path })
      assert.same({ "not_found", "No such File object" }, { err.kind, err.message })
      assert.same({ nil, nil }, { read_all(path), read_all(path .. ".part") })
      _, err = client.files:content("file_1", { path = "/nowhere/x" })
      assert.equal("invalid", err.kind)
      assert.matches("/nowhere/x", err.message, 1, true)
    end)

    for what, case in pairs({
      ["that raises"] = { function() error("full", 0) end, "broken off: full" },
      ["that fails"] = { function() return nil, "full" end, "broken off: full" },
    }) do
      it("break off with a sink " .. what, function()
        answers("content")
        local _, err = client.files:content("file_1", { sink = case[1] })
        assert.same({ "cancelled", case[2] }, { err.kind, err.message })
      end)
    end
  end)

  describe("of a vector store", function()
    local function file(status, more)
      local fields = { id = "file_1", object = "vector_store.file", status = status }
      for name, value in pairs(more or {}) do fields[name] = value end
      return json.encode(fields)
    end

    local function fault(method, path, body, times)
      return { path = "/v1/" .. path, method = method, action = "status", status = 200, body = body, times = times }
    end

    it("are waited for until they can be searched", function()
      server:faults({
        fault("POST", "vector_stores/vs_1/files", file("in_progress")),
        fault("GET", "vector_stores/vs_1/files/file_1", file("in_progress"), 2),
        fault("GET", "vector_stores/vs_1/files/file_1", file("completed")),
      })
      local seen = {}
      local done = assert(client.vector_stores.files:create_and_poll("vs_1", { file_id = "file_1" },
        { interval = 0.001, on_status = function(state) seen[#seen + 1] = state.status end }))
      assert.equal("completed", done.status)
      assert.same({ "in_progress", "completed" }, seen)
    end)

    it("that can't be read are an error with the reason", function()
      server:faults({ fault("GET", "vector_stores/vs_1/files/file_1",
        file("failed", { last_error = { code = "unsupported_file", message = "no text in it" } })) })
      local _, err = client.vector_stores.files:poll("vs_1", "file_1")
      assert.same({ "file", "file file_1 ended with status: failed: unsupported_file no text in it" },
        { err.kind, err.message })
      assert.equal("failed", err.object.status)
    end)

    it("are given up at the deadline", function()
      server:faults({ fault("GET", "vector_stores/vs_1/file_batches/b_1", '{"id":"b_1","status":"in_progress"}') })
      local _, err = client.vector_stores.file_batches:poll("vs_1", "b_1", { interval = 0.01, deadline = 0.05 })
      assert.same({ "timeout", "batch b_1 was still in_progress after 0.05 s" }, { err.kind, err.message })
    end)

    it("are uploaded, added and waited for in one go", function()
      server:faults({
        fault("POST", "files", '{"id":"file_9","object":"file"}'),
        fault("POST", "vector_stores/vs_1/files", file("completed")),
      })
      server:clear_requests()
      assert(client.vector_stores.files:upload_and_poll("vs_1", { data = "x", name = "x.txt" }))
      local requests = server:requests()
      assert.equal("file_9", json.decode(requests[2].body).file_id)
    end)

    it("are uploaded side by side as a batch", function()
      server:faults({
        fault("POST", "files", '{"id":"file_9","object":"file"}'),
        fault("POST", "vector_stores/vs_1/file_batches",
          '{"id":"b_1","status":"completed","file_counts":{"total":2}}'),
      })
      server:clear_requests()
      local batch = assert(client.vector_stores.file_batches:upload_and_poll("vs_1",
        { { data = "x", name = "x.txt" }, { data = "y", name = "y.txt" } }))
      assert.equal(2, batch.file_counts.total)
      assert.same({ "file_9", "file_9" }, json.decode(server:requests()[3].body).file_ids)
    end)

    it("fail with the first upload that does", function()
      server:faults({ { path = "/v1/files", action = "status", status = 413,
        body = '{"error":{"message":"too big"}}' } })
      local _, err = client.vector_stores.file_batches:upload_and_poll("vs_1", { { data = "x", name = "x.txt" } })
      assert.equal("too big", err.message)
    end)

    it("misuse names the file", function()
      local batches = client.vector_stores.file_batches
      local given = { { data = "x", name = "x" }, { data = "x" } }
      local ok, problem = pcall(batches.upload_and_poll, batches, "vs_1", given)
      assert.is_false(ok)
      assert.matches("vector_stores.file_batches:upload_and_poll: files[2] must have a 'name'", problem, 1, true)
      ok, problem = pcall(batches.upload_and_poll, batches, "vs_1", {})
      assert.is_false(ok)
      assert.matches("files must be a list of files", problem, 1, true)
    end)
  end)

  describe("lists", function()
    local function page(ids, more)
      local data = {}
      for index, id in ipairs(ids) do data[index] = { id = id } end
      return json.encode({ object = "list", data = json.array(data), has_more = more })
    end

    local function list(...)
      local faults = {}
      for index, body in ipairs({ ... }) do
        faults[index] = { path = "/v1/files", method = "GET", action = "status", status = 200, body = body, times = 1 }
      end
      server:faults(faults)
      server:clear_requests()
    end

    it("go through all pages", function()
      list(page({ "a", "b" }, true), page({ "c" }, false))
      local ids = {}
      for file in client.files:each({ order = "asc", limit = 2 }) do ids[#ids + 1] = file.id end
      assert.same({ "a", "b", "c" }, ids)
      assert.equal("after=b&limit=2&order=asc", server:requests()[2].query)
    end)

    it("end at an empty page, and where a page begins again", function()
      list(page({ "a" }), page({}))
      local count = 0
      for _ in client.files:each() do count = count + 1 end
      assert.equal(1, count)
      list(page({ "a" }, true), page({ "a" }, true))
      count = 0
      for _ in client.files:each() do count = count + 1 end
      assert.equal(2, count)
    end)

    it("ask for a page when the loop gets to it", function()
      list(page({ "a", "b" }, true), page({ "c" }, false))
      for file in client.files:each() do
        if file.id == "b" then break end
      end
      assert.equal(1, #server:requests())
    end)

    it("raise the error of a page that can't be had", function()
      server:faults({ { path = "/v1/files", action = "status", status = 403, body = '{"error":{"message":"no"}}' } })
      local ok, err = pcall(function()
        for _ in client.files:each() do error("never") end
      end)
      assert.is_false(ok)
      assert.same({ "permission", "no" }, { err.kind, err.message })
    end)
  end)

  describe("calls", function()
    it("take further query parameters, and say what their span is to be", function()
      echo()
      local sent = assert(client.files:list({ limit = 1 }, { query = { ["api-version"] = "2024-05-01-preview" } }))
      assert.equal("api-version=2024-05-01-preview&limit=1", sent.query)
      local ok, problem = pcall(client.files.list, client.files, nil, { query = { f = print } })
      assert.is_false(ok)
      assert.matches("files:list: option 'query' can't be sent: 'f' must be text", problem, 1, true)
    end)

    it("are recorded as their options say", function()
      local traced = assert(nexus.new({
        openai = { api_key = "sk-x", base_url = server.openai_url },
        nexus = { api_key = "nxs_x", base_url = server.nexus_url, flush_interval = 60 },
      }))
      echo()
      server:faults({ { path = "/v1", action = "echo" } })
      traced:trace({ name = "t" }, function()
        assert(traced.files:list(nil, { trace = { name = "look", metadata = { why = "test" } } }))
        assert(traced.files:list(nil, { trace = false }))
      end)
      traced:close(2)
      local spans = server:traces()[1].spans
      assert.equal(1, #spans)
      assert.equal("look", spans[1].name)
    end)
  end)
end)
