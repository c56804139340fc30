local errors = require("nexus_assistants.error")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")

local function from(body, fields)
  local core_err = { kind = "server", message = "HTTP status 500", status = 500, attempts = 1 }
  for key, value in pairs(fields or {}) do core_err[key] = value end
  return errors.from_call(core_err, body and { body = body }, operations["threads.runs.create"])
end

describe("error", function()
  it("reads well", function()
    local err = errors.new({
      kind = "rate_limit", message = "Rate limit reached for gpt-4o", status = 429, code = "rate_limit_exceeded",
      request_id = "req_123", attempts = 3, operation = "threads.runs.create",
    })
    assert.equal("rate_limit: Rate limit reached for gpt-4o (429, code rate_limit_exceeded, request req_123, "
      .. "after 3 attempts, threads.runs.create)", tostring(err))
  end)

  it("leaves out what isn't known", function()
    local err = errors.new({ kind = "connection", message = "refused", attempts = 1 })
    assert.equal("connection: refused", tostring(err))
  end)

  it("reads well through assert", function()
    local ok, raised = pcall(function() assert(nil, errors.new({ kind = "timeout", message = "too slow" })) end)
    assert.is_false(ok)
    assert.equal("timeout: too slow", tostring(raised))
  end)

  it("of a script's own is told as well", function()
    local function class(fields) return setmetatable(fields, { __name = "Refusal", __index = error }) end
    for said, value in pairs({
      ["api: M (404, code gone)"] = { message = "M", kind = "api", code = "gone", status = 404 },
      ["M"] = { message = "M", kind = {}, code = json.null },
      ["M (code 7)"] = { message = "M", code = 7 },
      ["out of paper"] = class({ message = "out of paper" }),
      ["(error object is a table value)"] = { 1, kind = "api" },
      ["shown"] = setmetatable({ message = "M" }, { __tostring = function() return "shown" end }),
      ["server: x"] = errors.new({ kind = "server", message = "x" }),
      ["a text"] = "a text",
      ["7"] = 7,
    }) do assert.equal(said, errors.told(value)) end
    assert.matches("^table: ", errors.told(setmetatable({ message = "M" }, { __metatable = false })))
  end)

  it("is told from other tables", function()
    assert.is_true(errors.is(errors.new({ kind = "server", message = "x" })))
    assert.is_false(errors.is({ kind = "server", message = "x" }))
    assert.is_false(errors.is("x"))
    assert.is_false(errors.is(nil))
  end)

  describe("from a call", function()
    it("takes the protocol's envelope apart", function()
      local err = from('{"error":{"message":"No thread","type":"invalid_request_error","param":"id","code":"gone"}}')
      assert.equal("No thread", err.message)
      assert.equal("invalid_request_error", err.type)
      assert.equal("id", err.param)
      assert.equal("gone", err.code)
      assert.equal("threads.runs.create", err.operation)
    end)

    it("makes nulls absent", function()
      local err = from('{"error":{"message":"No thread","type":null,"param":null,"code":null}}')
      assert.is_nil(err.type)
      assert.is_nil(err.param)
      assert.is_nil(err.code)
    end)

    it("takes numbers for codes", function()
      assert.equal("404", from('{"error":{"message":"x","code":404}}').code)
    end)

    it("takes the core's facts", function()
      local err = from(nil, { kind = "rate_limit", status = 429, attempts = 3, request_id = "r", retry_after = 2 })
      assert.equal("rate_limit", err.kind)
      assert.equal(429, err.status)
      assert.equal(3, err.attempts)
      assert.equal("r", err.request_id)
      assert.equal(2, err.retry_after)
    end)

    for name, case in pairs({
      ["an error that is a text"] = { '{"error":"Invalid API key"}', "Invalid API key" },
      ["a message without an envelope"] = { '{"message":"no such route"}', "no such route" },
      ["a detail"] = { '{"detail":"Not Found"}', "Not Found" },
      ["a list of details"] = { '{"detail":[{"loc":["body",0,"n"],"msg":"required"}]}', "required (body.0.n)" },
      ["a detail without a place"] = { '{"detail":[{"msg":"required"}]}', "required" },
      ["a detail that says nothing"] = { '{"detail":[{"loc":["body"]},7]}', "HTTP status 500" },
      ["a page"] = { "<!doctype html><html><head><TITLE>502\n Bad Gateway</TITLE></head>", "502 Bad Gateway" },
      ["a page without a title"] = { "<html><body>x</body></html>", "HTTP status 500" },
      ["plain text"] = { "Internal  Server\nError\n", "Internal Server Error" },
      ["nothing"] = { "", "HTTP status 500" },
      ["white space"] = { " \n", "HTTP status 500" },
      ["half an envelope"] = { '{"error":{"mess', '{"error":{"mess' },
      ["an envelope with other things in it"] = { '{"error":[1,2]}', "HTTP status 500" },
      ["null"] = { '{"error":null}', "HTTP status 500" },
      ["an empty message"] = { '{"error":{"message":""}}', "HTTP status 500" },
    }) do
      it("understands " .. name, function()
        assert.equal(case[2], from(case[1]).message)
      end)
    end

    it("shortens what is long, between characters", function()
      assert.equal(("é"):rep(150) .. "...", from(("é"):rep(1000)).message)
      assert.equal("x" .. ("é"):rep(149) .. "...", from("x" .. ("é"):rep(1000)).message)
      assert.equal("x...", from("x" .. (" "):rep(5000) .. "y").message)
    end)

    it("looks for a page's title in its beginning alone", function()
      local padding = ("<p>"):rep(1400)
      assert.equal("HTTP status 500", from("<html>" .. padding .. "<title>late</title>").message)
      assert.equal("HTTP status 500", from("<title>" .. padding .. "</title>").message)
    end)

    it("works without an answer", function()
      local err = errors.from_call({ kind = "connection", message = "refused", attempts = 3 }, nil, "threads.create")
      assert.equal("connection: refused (after 3 attempts, threads.create)", tostring(err))
    end)

    it("does not count the attempts twice", function()
      local err = errors.new({ kind = "timeout", message = "no answer (attempt 3 of 3)", attempts = 3 })
      assert.equal("timeout: no answer (attempt 3 of 3)", tostring(err))
    end)
  end)

  it("goes back into an envelope", function()
    local text = json.encode(errors.envelope(errors.new({ kind = "not_found", message = "No thread found" })))
    assert.same({ error = { message = "No thread found", type = "invalid_request_error", param = json.null,
      code = json.null } }, json.decode(text))
  end)

  it("knows the status it is answered with", function()
    assert.equal(404, errors.status(errors.new({ kind = "not_found", message = "x" })))
    assert.equal(418, errors.status(errors.new({ kind = "status", message = "x", status = 418 })))
    assert.equal(500, errors.status(errors.new({ kind = "run", message = "x" })))
  end)

  it("knows what a status means", function()
    local kinds = { [200] = "nil", [204] = "nil", [301] = "status", [400] = "bad_request", [401] = "authentication",
      [403] = "permission", [404] = "not_found", [409] = "conflict", [418] = "status", [422] = "unprocessable",
      [429] = "rate_limit", [500] = "server", [599] = "server", [600] = "status" }
    for status, kind in pairs(kinds) do assert.equal(kind, tostring(errors.kind_of_status(status))) end
  end)
end)
