local multipart = require("nexus_assistants.serve.multipart")

-- A body of these parts: each a head without its last line end, and its content.
local function body_of(boundary, parts, ending)
  local texts = {}
  for _, part in ipairs(parts) do
    texts[#texts + 1] = "--" .. boundary .. "\r\n" .. part[1] .. "\r\n\r\n" .. part[2] .. "\r\n"
  end
  return table.concat(texts) .. (ending or "--" .. boundary .. "--\r\n")
end

local function field(name, data, more)
  return { 'Content-Disposition: form-data; name="' .. name .. '"' .. (more or ""), data }
end

local function parse(parts, limits)
  return multipart.parse(body_of("b", parts), "b", limits)
end

describe("a multipart boundary", function()
  for content_type, expected in pairs({
    ["multipart/form-data; boundary=abc"] = "abc",
    ["Multipart/Form-Data;boundary=\"a b:c\""] = "a b:c",
    ["multipart/form-data; charset=utf-8; boundary=x'y"] = "x'y",
    ["multipart/form-data; boundary=" .. ("x"):rep(70)] = ("x"):rep(70),
  }) do
    it("is read from " .. content_type, function() assert.equal(expected, multipart.boundary(content_type)) end)
  end

  for _, content_type in ipairs({
    "", "multipart/form-data", "multipart/mixed; boundary=a", "multipart/form-data; boundary=",
    "multipart/form-data; boundary=\"a", "multipart/form-data; boundary=\"a \"", "multipart/form-data; boundary=a{",
    "multipart/form-data; boundary=a; boundary=b", "multipart/form-data; boundary=" .. ("x"):rep(71),
    "multipart/form-data boundary=a", "multipart/form-data; boundary=\"a\\\"b\"", "application/json",
  }) do
    it("isn't there in '" .. content_type .. "'", function() assert.is_nil(multipart.boundary(content_type)) end)
  end

  it("isn't there without a Content-Type", function() assert.is_nil(multipart.boundary(nil)) end)
end)

describe("a multipart body", function()
  it("has its parts in order, whatever bytes they hold", function()
    local every = {}
    for byte = 0, 255 do every[#every + 1] = string.char(byte) end
    every = table.concat(every)
    local parts = assert(parse({
      field("purpose", "assistants"), field("empty", ""),
      field("file", every .. "\r\n--a\r\n-b--\r\n--", '; filename="t.bin"\r\nContent-Type: text/plain'),
    }))
    assert.same({
      { name = "purpose", data = "assistants" }, { name = "empty", data = "" },
      { name = "file", file_name = "t.bin", content_type = "text/plain", data = every .. "\r\n--a\r\n-b--\r\n--" },
    }, parts)
  end)

  it("is read as Ruby's clients write it", function()
    local boundary = "-----------RubyMultipartPost-40383c666647fd96a63d91c94f1afeff"
    local parts = assert(multipart.parse(body_of(boundary, {
      { 'Content-Disposition: form-data; name="file"; filename="sentiment.jsonl"\r\nContent-Length: 2\r\n'
        .. "Content-Type: \r\nContent-Transfer-Encoding: binary", "{}" },
      field("purpose", "fine-tune"),
    }, "--" .. boundary .. "--\r\n"), boundary))
    assert.same({ { name = "file", file_name = "sentiment.jsonl", data = "{}" },
      { name = "purpose", data = "fine-tune" } }, parts)
  end)

  for written, expected in pairs({
    ['filename="a\\"b.txt"'] = 'a"b.txt', ['filename="a%22b.txt"'] = 'a"b.txt', ["filename=plain.txt"] = "plain.txt",
    ['filename="/etc/../pass wd"'] = "pass wd", ['filename="C:\\dir\\n.txt"'] = "n.txt",
    ['filename="ä;=.txt"'] = "ä;=.txt",
    ["filename*=UTF-8''%C3%A4.txt"] = "ä.txt", ['filename="a.txt"; filename*=UTF-8\'\'b.txt'] = "a.txt",
    ['filename=""'] = "",
  }) do
    it("names its file by " .. written, function()
      assert.equal(expected, assert(parse({ field("file", "x", "; " .. written) }))[1].file_name)
    end)
  end

  local NAMED = 'Content-Disposition: form-data; name="a"'

  for what, body in pairs({
    ["nothing"] = "", ["another boundary"] = body_of("c", { field("a", "x") }),
    ["text before the first part"] = "x\r\n" .. body_of("b", { field("a", "x") }),
    ["text behind the last part"] = body_of("b", { field("a", "x") }) .. "x",
    ["no end"] = body_of("b", { field("a", "x") }, ""), ["half an end"] = body_of("b", { field("a", "x") }, "--b-"),
    ["a boundary that goes on"] = body_of("b", { field("a", "x"), field("a", "x") }):gsub("%-%-b\r\nC", "--bb\r\nC", 2),
    ["the beginning only"] = "--b\r\n", ["the boundary only"] = "--b",
    ["a part without headers"] = "--b\r\n\r\nx\r\n--b--\r\n",
    ["a part without a name"] = body_of("b", { { "Content-Disposition: form-data", "x" } }),
    ["a part of another kind"] = body_of("b", { { 'Content-Disposition: attachment; name="a"', "x" } }),
    ["two names"] = body_of("b", { { NAMED .. '; name="b"', "x" } }),
    ["two dispositions"] = body_of("b", { { NAMED .. "\r\n" .. NAMED, "x" } }),
    ["an open quote"] = body_of("b", { { 'Content-Disposition: form-data; name="a', "x" } }),
    ["an open quote after a backslash"] = body_of("b", { { 'Content-Disposition: form-data; name="a\\"', "x" } }),
    ["a name that isn't UTF-8"] = body_of("b", { field("\255", "x") }),
    ["a file name that isn't UTF-8"] = body_of("b", { field("a", "x", '; filename="\255"') }),
    ["a folded header"] = body_of("b", { { NAMED .. ";\r\n filename=x", "x" } }),
    ["a bare line feed in a header"] = body_of("b", { { NAMED .. "\nX: y", "x" } }),
    ["a header without a colon"] = body_of("b", { { NAMED .. "\r\nhello", "x" } }),
    ["base64"] = body_of("b", { { NAMED .. "\r\nContent-Transfer-Encoding: base64", "x" } }),
    ["headers without an end"] = "--b\r\n" .. NAMED .. ("\r\nX: y"):rep(10000),
    ["too long a field"] = body_of("b", { field("a", ("x"):rep(65537)) }),
    ["too many headers"] = body_of("b", { { NAMED .. ("\r\nX: y"):rep(16), "x" } }),
  }) do
    it("with " .. what .. " is refused", function()
      local parts, problem = multipart.parse(body, "b")
      assert.is_nil(parts)
      assert.is_string(problem)
    end)
  end

  it("has so many parts at most", function()
    local parts = {}
    for index = 1, 64 do parts[index] = field("f" .. index, "x") end
    assert.equal(64, #assert(parse(parts)))
    parts[65] = field("f65", "x")
    assert.same({ nil, "too many parts" }, { parse(parts) })
  end)

  -- Time tells of the machine as well, so only a difference of orders counts.
  it("takes time that grows with its length alone", function()
    local function seconds(body)
      local before = os.clock()
      multipart.parse(body, "b")
      return os.clock() - before
    end
    local MEBIBYTE = 1024 * 1024
    for _, hostile in ipairs({ "\r", "\r\n-", "\r\n--", "\r\n\r\n", "--b", " \t", '"', ";" }) do
      local filler = hostile:rep(math.floor(8 * MEBIBYTE / #hostile))
      assert.is_true(seconds("--b\r\n" .. filler) < 2)
      assert.is_true(seconds(body_of("b", { field("f", filler, '; filename="x"') })) < 2)
    end
  end)

  -- Any bytes at all: what comes out is a list of parts that make the same body again, or a text.
  it("of any bytes makes parts or a text", function()
    local pieces = {
      "--b", "\r\n", "--", "b", NAMED, ': ;="', "\0", "\255", "x", "\r\n\r\n", '; filename="f"', "--b--",
    }
    local seed = 1
    local function pick(count)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return math.floor(seed / 65536) % count + 1
    end
    for _ = 1, 20000 do
      local chosen = { "--b\r\n" }
      for index = 2, pick(12) do chosen[index] = pieces[pick(#pieces)] end
      local parts, problem = multipart.parse(table.concat(chosen), "b")
      assert.is_true(parts == nil and type(problem) == "string" or type(parts) == "table" and #parts > 0)
    end
  end)
end)

describe("a form", function()
  local function form(parts) return multipart.form(assert(parse(parts)), "file") end

  it("has texts by name, nested ones, lists, and the file", function()
    assert.same({
      purpose = "assistants", expires_after = { anchor = "created_at", seconds = "3600" }, list = { "a", "b" },
      file = { data = "x", name = "f.txt", content_type = "text/plain" },
    }, form({
      field("purpose", "assistants"), field("expires_after[anchor]", "created_at"),
      field("expires_after[seconds]", "3600"), field("list[]", "a"), field("list[]", "b"),
      field("file", "x", '; filename="f.txt"\r\nContent-Type: text/plain'),
    }))
  end)

  for problem, parts in pairs({
    ["'a' comes twice"] = { field("a", "x"), field("a", "y") },
    ["'a[b]' comes twice"] = { field("a[b]", "x"), field("a[b]", "y") },
    ["'x' comes twice"] = { field("x", "x"), field("x[y]", "y") },
    ["'y' must not be a file"] = { field("y", "x", '; filename="f"') },
    ["'file' must be a file"] = { field("file", "/etc/passwd") },
    ["'file' must be a file, also within"] = { field("file[path]", "/etc/passwd") },
    ["'file' comes twice"] = { field("file", "x", '; filename="f"'), field("file", "x", '; filename="f"') },
    ["'z' isn't valid UTF-8"] = { field("z", "\255") },
  }) do
    it("is refused: " .. problem, function()
      assert.same({ nil, (problem:gsub(",.*", "")) }, { form(parts) })
    end)
  end
end)
