local json = require("nexus_assistants.json")

local number_type = rawget(math, "type") or function() return "float" end

describe("json", function()
  describe("decode", function()
    it("keeps integers integers", function()
      local value = assert(json.decode('{"a":1,"b":[2,-3],"c":1.5,"d":1e2}'))
      assert.equal("integer", number_type(value.a))
      assert.equal("integer", number_type(value.b[1]))
      assert.equal("integer", number_type(value.b[2]))
      assert.equal(1.5, value.c)
      assert.equal(100, value.d)
    end)

    it("keeps wide integers exact", function()
      local value = assert(json.decode("[9007199254740993,-9223372036854775808,9223372036854775807]"))
      assert.equal("9007199254740993 -9223372036854775808 9223372036854775807", table.concat(value, " "))
    end)

    it("makes floats of what no integer can hold", function()
      assert.equal(1e20, json.decode("100000000000000000000"))
      assert.equal(1e300, json.decode("1e300"))
    end)

    it("tells null, [] and {} apart, at any depth", function()
      local value = assert(json.decode('{"n":null,"a":[],"o":{},"deep":[[],[ ],{"a":[\n]}]}'))
      assert.equal(json.null, value.n)
      assert.is_true(json.is_array(value.a))
      assert.is_false(json.is_array(value.o))
      assert.is_true(json.is_array(value.deep[1]))
      assert.is_true(json.is_array(value.deep[2]))
      assert.is_true(json.is_array(value.deep[3].a))
      assert.equal(0, #value.deep[3].a)
    end)

    it("leaves strings alone that look like what it marks", function()
      local text = [=["[] 1234567890123456789 \\\" [] \"[]"]=]
      assert.equal([=[[] 1234567890123456789 \" [] "[]]=], json.decode(text))
    end)

    it("is not fooled by its own marks", function()
      local value = assert(json.decode('["\255","\255m",[],"\255[]",12345678901234567]'))
      assert.equal("\255", value[1])
      assert.equal("\255m", value[2])
      assert.same({}, value[3])
      assert.equal("\255[]", value[4])
      assert.equal(12345678901234567, value[5])
    end)

    it("takes values of any kind", function()
      assert.equal("x", json.decode('"x"'))
      assert.equal(12, json.decode(" 12 "))
      assert.equal(false, json.decode("false"))
      assert.equal(json.null, json.decode("null"))
    end)

    for name, text in pairs({
      ["nothing"] = "",
      ["half an object"] = '{"a":',
      ["a trailing comma"] = '{"a":1,}',
      ["something behind the value"] = "[1] x",
      ["a lone surrogate"] = '"\\ud800"',
      ["a page"] = "<html></html>",
      ["infinity"] = "[Infinity]",
      ["NaN"] = "NaN",
      ["hexadecimal"] = "0x10",
      ["a long number for a name"] = "{1234567890123456:1}",
    }) do
      it("refuses " .. name, function()
        local value, message = json.decode(text)
        assert.is_nil(value)
        assert.matches("^invalid JSON: ", message)
      end)
    end

    it("says in words what is wrong", function()
      for text, problem in pairs({
        [""] = "Expected a value but found the end at character 1",
        ["{1}"] = "Expected object key string but found a number at character 2",
        ['{"a"}'] = "Expected colon but found '}' at character 5",
        ["[1 {"] = "Expected comma or array end but found '{' at character 4",
        ["1 true"] = "Expected the end but found true or false at character 3",
      }) do
        assert.equal("invalid JSON: " .. problem, select(2, json.decode(text)))
      end
    end)

    it("refuses what is not a text", function()
      assert.same({ nil, "JSON text must be a string, got nil" }, { json.decode(nil) })
    end)

    it("refuses nesting without end, and survives it", function()
      assert.is_nil((json.decode(("["):rep(100000) .. ("]"):rep(100000))))
      assert.is_nil((json.decode(('{"a":'):rep(1000) .. "1" .. ("}"):rep(1000))))
      for depth = 100, 140 do
        local value, message = json.decode(("["):rep(depth) .. ("]"):rep(depth))
        assert(value or message:find("^invalid JSON: "))
        assert(value or depth > 128)
      end
    end)
  end)

  describe("encode", function()
    it("writes what came in", function()
      for _, text in ipairs({
        "[]", "{}", "[[],{}]", "null", '{"a":[]}', "[1,2.5,-7]", "9007199254740993", "1e+300", '"\\u0000\\n\\"\\\\"',
        "[null,true,false]", "123456789012345678",
      }) do
        assert.equal(text, json.encode(assert(json.decode(text))))
      end
    end)

    it("writes empty tables as objects unless they are marked", function()
      assert.equal("{}", json.encode({}))
      assert.equal("[]", json.encode(json.array({})))
      assert.equal("[]", json.encode(json.array()))
      assert.equal("[1]", json.encode(json.array({ 1 })))
    end)

    it("writes floats so that they come back the same", function()
      local numbers = { 0.1, 0.1 + 0.2, 1 / 3, 1e-10, 123456.789012345678, 2 ^ 53, 1e15, 1e22, -1e300, 5e-324 }
      for _, number in ipairs(numbers) do
        assert.equal(number, json.decode((json.encode({ number })))[1])
      end
    end)

    it("leaves texts alone that look like its marks", function()
      local value = { "\239\191\189[]", '"[]"', a = nil }
      assert.same(value, json.decode((json.encode({ value, json.array() })))[1])
    end)

    it("writes through a comma locale", function()
      local before = os.setlocale(nil, "numeric")
      local found = os.setlocale("de_DE.UTF-8", "numeric") or os.setlocale("de_DE", "numeric")
      if not found then return pending("no locale with a comma here") end
      local text = json.encode({ 0.1 + 0.2, 1.5 })
      os.setlocale(before, "numeric")
      assert.equal("[0.30000000000000004,1.5]", text)
    end)

    local cyclic = { messages = { { content = "x" }, {} } }
    cyclic.messages[2].parent = cyclic.messages
    local deep = {}
    local inner = deep
    for _ = 1, 200 do
      inner.a = {}
      inner = inner.a
    end

    for message, value in pairs({
      ["the value is a function, which JSON can't hold"] = print,
      ["messages[2].content is a function, which JSON can't hold"] = { messages = { {}, { content = print } } },
      ["f is a userdata, which JSON can't hold"] = { f = io.stdout },
      ["a is a thread, which JSON can't hold"] = { a = coroutine.create(print) },
      ["x is not a finite number"] = { x = 0 / 0 },
      ["[1] is not a finite number"] = { math.huge },
      ["messages[1].content is not valid UTF-8 (byte 3)"] = { messages = { { content = "ab\255" } } },
      ["the value has a name that is not valid UTF-8"] = { ["\255"] = 1 },
      ["the value has a name that is a boolean"] = { [true] = 1 },
      ["a mixes positions and names"] = { a = { 1, 2, x = 3 } },
      ["a has holes (2 of 3 positions are filled)"] = { a = { 1, nil, 3 } },
      ["a has a position that is not a whole number from 1"] = { a = { [0] = 1 } },
      ["messages contains itself"] = cyclic,
      ['["a b"].c is a function, which JSON can\'t hold'] = { ["a b"] = { c = print } },
    }) do
      it("says: " .. message, function()
        assert.same({ nil, message }, { json.encode(value) })
      end)
    end

    it("tells honest depth from a cycle", function()
      local text, message = json.encode(deep)
      assert.is_nil(text)
      assert.matches("%.%.%. is nested more than 128 levels deep$", message)
      assert.is_true(#message < 300)
    end)

    it("takes a table that is in two places", function()
      local shared = { 1 }
      assert.equal("[[1],[1]]", json.encode({ shared, shared }))
    end)

    it("writes what a table holds, not what its metatable offers", function()
      local value = setmetatable({ a = 1 }, { __index = { b = 2 }, __pairs = error })
      assert.equal('{"a":1}', json.encode(value))
    end)
  end)

  describe("round trips", function()
    local random = math.random

    local pieces = { "a", "[]", '"', "\\", "/", "\n", "\0", "é", "🌮", "\127", "123456789012345678", "null" }

    local function random_text()
      local parts = {}
      for index = 1, random(0, 6) do parts[index] = pieces[random(#pieces)] end
      return table.concat(parts)
    end

    local function random_number()
      local kind = random(5)
      if kind == 1 then return random(-1000, 1000) end
      if kind == 2 then return random(-1000, 1000) / random(1, 999) end
      if kind == 3 then return (random() - 0.5) * 10 ^ random(-30, 30) end
      if kind == 4 then return math.floor((random() - 0.5) * 2 ^ 53) end
      return (rawget(math, "maxinteger") or 2 ^ 53) - random(0, 5)
    end

    local random_value

    local function random_table(depth)
      local items = random(2) == 1 and json.array({}) or {}
      for index = 1, random(0, 4) do
        items[json.is_array(items) and index or random_text() .. index] = random_value(depth + 1)
      end
      return items
    end

    function random_value(depth)
      local kind = random(depth < 5 and 8 or 5)
      if kind == 1 then return json.null end
      if kind == 2 then return random(2) == 1 end
      if kind == 3 then return random_number() end
      if kind <= 5 then return random_text() end
      return random_table(depth)
    end

    local function same(one, other)
      if type(one) ~= "table" then return one == other end
      if type(other) ~= "table" or json.is_array(one) ~= json.is_array(other) then return false end
      for key, value in pairs(one) do
        if not same(value, other[key]) then return false end
      end
      for key in pairs(other) do
        if one[key] == nil then return false end
      end
      return true
    end

    it("give the same value back, whatever it is", function()
      math.randomseed(42)
      for _ = 1, 3000 do
        local value = random_value(1)
        local text = assert(json.encode(value))
        local back, problem = json.decode(text)
        assert.is_nil(problem)
        assert.is_true(same(value, back), text)
        assert.is_true(same(back, (json.decode((json.encode(back))))), text)
      end
    end)
  end)
end)
