local json = require("nexus_assistants.json")
local schema = require("nexus_assistants.schema")

local decode = json.decode

-- Both are JSON texts; nil where the value fits.
local function problem_of(value, against)
  local ok, problem = schema.check(decode(value), decode(against))
  assert.equal(ok == nil, problem ~= nil)
  return problem
end

local WEATHER = [[{
  "type": "object",
  "properties": {
    "city": {"type": "string", "minLength": 1},
    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    "days": {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 3},
    "at": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}
  },
  "required": ["city"],
  "additionalProperties": false
}]]

-- Schema, what fits, and what doesn't with its problem.
local CASES = {
  { "the arguments of a tool", WEATHER,
    { '{"city":"Bern"}', '{"city":"Bern","unit":"celsius","days":[1,2.0],"at":{"lat":1.5,"more":1}}' },
    {
      ['{}'] = "city: is required",
      ['[]'] = "must be an object, got an array",
      ['{"city":7}'] = "city: must be a string, got a number",
      ['{"city":null}'] = "city: must be a string, got null",
      ['{"city":""}'] = "city: must have at least 1 character, got 0",
      ['{"city":"Bern","unit":"kelvin"}'] = 'unit: must be one of "celsius", "fahrenheit"',
      ['{"city":"Bern","days":[1,"2"]}'] = "days[1]: must be an integer, got a string",
      ['{"city":"Bern","days":[1.5]}'] = "days[0]: must be an integer, got 1.5",
      ['{"city":"Bern","days":[0]}'] = "days[0]: must be at least 1, got 0",
      ['{"city":"Bern","days":[1,2,3,4]}'] = "days: must have at most 3 items, got 4",
      ['{"city":"Bern","days":{}}'] = "days: must be an array, got an object",
      ['{"city":"Bern","at":{}}'] = "at.lat: is required",
      ['{"city":"Bern","at":{"lat":true}}'] = "at.lat: must be a number, got a boolean",
      ['{"city":"Bern","town":1}'] = 'town: is not known; known are "at", "city", "days", "unit"',
      ['{"city":"Bern","odd \\n name":1}'] = '["odd \\n name"]: is not known; known are "at", "city", "days", "unit"',
    } },
  { "several types", '{"type":["string","null"]}', { '"a"', "null" },
    { ["1"] = "must be a string or null, got a number", ["[]"] = "must be a string or null, got an array" } },
  { "integers", '{"type":"integer"}', { "1", "1.0", "1e3", "-5", "9007199254740993" },
    { ["0.5"] = "must be an integer, got 0.5", ["true"] = "must be an integer, got a boolean" } },
  { "booleans", '{"type":"boolean"}', { "false" }, { ["0"] = "must be a boolean, got a number" } },
  { "one value only", '{"enum":["on"]}', { '"on"' }, { ['"off"'] = 'must be "on"' } },
  { "values of all types", '{"enum":[null,1,{"a":[]},[1,2]]}', { "null", "1.0", '{"a":[]}', "[1,2]" },
    { ['{"a":{}}'] = "must be one of null, 1, an object, an array",
      ["[1]"] = "must be one of null, 1, an object, an array" } },
  { "const", '{"const":{"a":1}}', { '{"a":1}' }, { ['{"a":1,"b":2}'] = "must be an object" } },
  { "const null", '{"const":null}', { "null" }, { ["0"] = "must be null" } },
  { "bounds", '{"minimum":1,"maximum":2}', { "1", "2", '"0"' },
    { ["0.5"] = "must be at least 1, got 0.5", ["3"] = "must be at most 2, got 3" } },
  { "exclusive bounds", '{"exclusiveMinimum":1,"exclusiveMaximum":2}', { "1.5" },
    { ["1"] = "must be more than 1, got 1", ["2"] = "must be less than 2, got 2" } },
  { "multiples", '{"multipleOf":0.1}', { "0.3", "7", "0" }, { ["0.25"] = "must be a multiple of 0.1, got 0.25" } },
  { "lengths in characters", '{"minLength":2,"maxLength":3}', { '"äö"', '"日本語"' },
    { ['"ä"'] = "must have at least 2 characters, got 1", ['"日本語x"'] = "must have at most 3 characters, got 4" } },
  { "numbers of items", '{"minItems":1}', { "[1]" }, { ["[]"] = "must have at least 1 item, got 0" } },
  { "numbers of properties", '{"minProperties":1,"maxProperties":1}', { '{"a":1}' },
    { ["{}"] = "must have at least 1 property, got 0", ['{"a":1,"b":1}'] = "must have at most 1 property, got 2" } },
  { "unique items", '{"uniqueItems":true}', { "[1,2,\"1\",{},[],null]" },
    { ["[1,2,1.0]"] = "[2]: is there twice", ['[{"a":[1]},0,{"a":[1]}]'] = "[2]: is there twice" } },
  { "items by position", '{"prefixItems":[{"type":"string"}],"items":{"type":"number"}}', { "[]", '["a"]', '["a",1]' },
    { ["[1]"] = "[0]: must be a string, got a number", ['["a",1,"b"]'] = "[2]: must be a number, got a string" } },
  { "items by position, as the older drafts say it",
    '{"items":[{"type":"string"}],"additionalItems":false}', { '["a"]' },
    { ["[1]"] = "[0]: must be a string, got a number", ['["a",1]'] = "[1]: is not allowed" } },
  { "a schema for other properties",
    '{"properties":{"a":{}},"additionalProperties":{"type":"number"}}', { '{"a":"x","b":1}' },
    { ['{"b":"x"}'] = "b: must be a number, got a string" } },
  { "no properties at all", '{"additionalProperties":false}', { "{}" },
    { ['{"a":1}'] = "a: is not known; there are no properties" } },
  { "other properties beside patterns",
    '{"patternProperties":{"^x":{}},"additionalProperties":false}', { '{"xa":1}' }, {} },
  { "anyOf of types", '{"anyOf":[{"type":"integer"},{"type":"null"}]}', { "1", "null" },
    { ['"1"'] = "must be an integer or null, got a string", ["1.5"] = "must be an integer or null, got 1.5" } },
  { "anyOf where one has the right type", '{"anyOf":[{"type":"string","enum":["a","b"]},{"type":"null"}]}', { '"a"' },
    { ['"c"'] = 'must be one of "a", "b"' } },
  { "anyOf of objects", '{"anyOf":[{"required":["a"]},{"required":["b"]}]}', { '{"b":1}' },
    { ["{}"] = "must fit one of 2 schemas (of the first: a: is required)" } },
  { "oneOf", '{"oneOf":[{"type":"integer"},{"minimum":5}]}', { "3", "7.5" },
    { ["7"] = "must fit only one of 2 schemas, but fits 2", ["1.5"] = "must be at least 5, got 1.5" } },
  { "allOf", '{"allOf":[{"minimum":1},{"maximum":2}]}', { "1" }, { ["3"] = "must be at most 2, got 3" } },
  { "not", '{"not":{"type":"string"}}', { "1" }, { ['"a"'] = "is what the schema excludes" } },
  { "references", '{"properties":{"a":{"$ref":"#/$defs/n"},"b":{"$ref":"#/definitions/o~1p%20q"}},'
    .. '"$defs":{"n":{"type":"number"}},"definitions":{"o/p q":{"type":"string"}}}', { '{"a":1,"b":"x"}' },
    { ['{"a":"x"}'] = "a: must be a number, got a string", ['{"b":1}'] = "b: must be a string, got a number" } },
  { "references into lists", '{"allOf":[{"type":"number"}],"properties":{"a":{"$ref":"#/allOf/0"}}}', { "1" }, {} },
  { "a schema that refers to itself",
    '{"properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]},"n":{"type":"integer"}},"type":"object"}',
    { '{"next":{"next":null,"n":1}}' },
    { ['{"next":{"next":{"n":"x"}}}'] = "next.next.n: must be an integer, got a string" } },
  { "nullable", '{"type":"string","enum":["a"],"nullable":true}', { "null", '"a"' }, { ['"b"'] = 'must be "a"' } },
  { "what it doesn't know", '{"pattern":"^a","format":"date","contentEncoding":7,"if":false}', { '"b"', "1" }, {} },
  { "true and false", '{"properties":{"a":true,"b":false}}', { '{"a":1}' }, { ['{"b":1}'] = "b: is not allowed" } },
}

describe("schema.check", function()
  for _, case in ipairs(CASES) do
    local name, against, good, bad = case[1], case[2], case[3], case[4]
    it("checks " .. name, function()
      assert.is_nil(schema.problem(decode(against)))
      for _, value in ipairs(good) do assert.is_nil(problem_of(value, against), value) end
      for value, problem in pairs(bad) do assert.equal(problem, problem_of(value, against)) end
    end)
  end

  it("takes schemas written in Lua", function()
    local against = { type = "object", properties = { n = { type = "integer", enum = { 1, 2 } } }, required = { "n" } }
    assert.is_true(schema.check({ n = 2 }, against))
    assert.same({ nil, "n: must be one of 1, 2" }, { schema.check({ n = 3 }, against) })
    assert.same({ nil, "n: is required" }, { schema.check({}, against) })
  end)

  it("shows long lists, texts and places in part", function()
    local choices = {}
    for index = 1, 30 do choices[index] = index end
    local _, problem = schema.check(0, { enum = choices })
    assert.equal("must be one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, ...", problem)
    _, problem = schema.check("", { const = ("ä"):rep(100) })
    assert.equal('must be "' .. ("ä"):rep(29) .. '..."', problem)
    local value, against = 1, { type = "string" }
    for _ = 1, 100 do value, against = { name = value }, { properties = { name = against } } end
    _, problem = schema.check(value, against)
    assert.equal(("name."):rep(40):sub(1, 199) .. "...: must be a string, got a number", problem)
  end)

  it("gives texts that JSON can hold, whatever the names are", function()
    local _, problem = schema.check({ ["\255"] = 1 }, { additionalProperties = false })
    assert.is_string(json.encode(problem))
  end)

  it("refuses what leads nowhere", function()
    local loop = { ["$ref"] = "#/$defs/a" }
    loop["$defs"] = { a = { ["$ref"] = "#/$defs/b" }, b = { ["$ref"] = "#/$defs/a" } }
    assert.is_nil(schema.problem(loop))
    assert.same({ nil, "is nested too deeply to be checked" }, { schema.check({}, loop) })
    loop = { ["not"] = { ["$ref"] = "#" } }
    assert.same({ nil, "is nested too deeply to be checked" }, { schema.check({}, loop) })
  end)

  it("takes any nesting that a JSON text can have", function()
    local text = ('{"next":'):rep(120) .. "null" .. ("}"):rep(120)
    local node = '{"$ref":"#/$defs/node","$defs":{"node":{"type":["object","null"],"properties":{"next":'
      .. '{"anyOf":[{"$ref":"#/$defs/node"}]}}}}}'
    assert.is_nil(problem_of(text, node))
  end)

  describe("bounds its cost:", function()
    local function seconds(value, against)
      local started = os.clock()
      local ok, problem = schema.check(value, against)
      assert.is_nil(ok)
      assert.equal("is too much to be checked", problem)
      return os.clock() - started
    end

    it("alternatives of alternatives", function()
      local any = { anyOf = { { ["$ref"] = "#/$defs/next" }, { ["$ref"] = "#/$defs/next" } } }
      local value = {}
      for _ = 1, 100 do value = { next = value } end
      local against = { anyOf = any.anyOf, ["$defs"] = { next = { properties = { next = any }, minProperties = 9 } } }
      assert.is_true(seconds(value, against) < 2)
    end)

    it("items that are compared with each other", function()
      local items = json.array({})
      for index = 1, 5000 do items[index] = { index } end
      assert.is_true(seconds(items, { uniqueItems = true }) < 2)
    end)

    it("a long text that is counted again and again", function()
      local any = {}
      for index = 1, 5000 do any[index] = { minLength = 1e9 } end
      assert.is_true(seconds(("x"):rep(500000), { anyOf = any }) < 2)
    end)
  end)

  it("checks as much as a model sends", function()
    local items = json.array({})
    for index = 1, 20000 do items[index] = index end
    assert.is_true(schema.check(items, { type = "array", uniqueItems = true, items = { type = "integer" } }))
  end)
end)

describe("schema.problem", function()
  local function refuses(problem, candidate)
    it("says: " .. problem, function()
      assert.equal(problem, schema.problem(candidate))
    end)
  end

  refuses("must be a table, got a string", "object")
  refuses("must be a table, got null", nil)
  refuses("must be a table, got an array", { { type = "string" } })
  refuses('type: there is no type "int"; the types are "string", "number", "integer", "boolean", "object", "array", '
    .. '"null"', { type = "int" })
  refuses("type: must be the name of a type, got a function", { type = print })
  refuses("type: must be the name of a type or a list of them, got an object", { type = { name = "string" } })
  refuses("type[2]: must be the name of a type, got a number", { type = { "string", 7 } })
  refuses("type: must name at least one type", { type = json.array({}) })
  refuses("properties: must be a table of schemas by name, got a string", { properties = "city" })
  refuses("properties: must be a table of schemas by name, got an array", { properties = { { type = "string" } } })
  refuses("properties: must have strings as names, got a number", { properties = { [5] = { type = "string" } } })
  refuses("properties.city: must be a schema (a table or a boolean), got a string",
    { properties = { city = "string" } })
  refuses('properties["a b"].items.minimum: must be a number, got a string',
    { properties = { ["a b"] = { items = { minimum = "1" } } } })
  refuses("required: must be a list of strings, got a boolean", { required = true })
  refuses("required: must be a list of strings, got an object", { required = { city = true } })
  refuses("required[2]: must be a string, got a number", { required = { "city", 2 } })
  refuses("enum: must be a list of values, got a string", { enum = "a" })
  refuses("enum: must have at least one value, since nothing fits an empty list", { enum = json.array({}) })
  refuses("additionalProperties: must be a schema (a table or a boolean), got a string",
    { additionalProperties = "no" })
  refuses("items[2]: must be a schema (a table or a boolean), got a number", { items = { {}, 1 } })
  refuses("anyOf: must be a list of schemas, got an object", { anyOf = { type = "string" } })
  refuses("oneOf: must be a list of schemas, got an empty one", { oneOf = json.array({}) })
  refuses("not.type: there is no type \"x\"; the types are \"string\", \"number\", \"integer\", \"boolean\", "
    .. "\"object\", \"array\", \"null\"", { ["not"] = { type = "x" } })
  refuses("maxLength: must be a whole number, 0 or more, got 1.5", { maxLength = 1.5 })
  refuses("minItems: must be a whole number, 0 or more, got a string", { minItems = "1" })
  refuses("multipleOf: must be a number above 0, got 0", { multipleOf = 0 })
  refuses("uniqueItems: must be a boolean, got a number", { uniqueItems = 1 })
  refuses('properties.a.$ref: there is no schema at "#/$defs/b" in here',
    { properties = { a = { ["$ref"] = "#/$defs/b" } } })
  refuses('$ref: there is no schema at "https://example.com/s.json" in here',
    { ["$ref"] = "https://example.com/s.json" })
  refuses("properties.a: must be a schema (a table or a boolean), got null", { properties = { a = json.null } })

  it("finds a table within itself, and lets one be used twice", function()
    local text = { type = "string" }
    assert.is_nil(schema.problem({ properties = { a = text, b = text } }))
    local itself = { type = "object" }
    itself.properties = { a = itself }
    assert.equal('properties.a: contains itself; use "$ref" for that', schema.problem(itself))
  end)

  it("finds what is nested too deeply", function()
    local deep = {}
    for _ = 1, 200 do deep = { ["not"] = deep } end
    assert.matches("not%.%.%.: is nested too deeply$", schema.problem(deep))
  end)

  it("takes empty tables and what it doesn't know", function()
    assert.is_nil(schema.problem({}))
    assert.is_nil(schema.problem({ properties = {}, required = {}, items = {}, format = 7, exclusiveMinimum = true }))
  end)
end)

describe("schema, whatever it is given,", function()
  local KEYWORDS = { "type", "enum", "const", "$ref", "allOf", "anyOf", "oneOf", "not", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems",
    "prefixItems", "items",
    "additionalItems", "uniqueItems", "required", "properties", "additionalProperties", "minProperties",
    "maxProperties", "$defs", "nullable", "patternProperties", "a", "b" }
  local raising = setmetatable({}, {
    __index = function() error("index") end, __eq = function() error("eq") end, __len = function() error("len") end,
    __tostring = function() error("tostring") end, __metatable = "hidden",
  })
  local LEAVES = { "string", "integer", "object", "array", "#", "#/$defs/a", "#/x/y", "", "\255", 0, 1, -1, 0.5, 2 ^ 60,
    math.huge, -math.huge, 0 / 0, true, false, json.null, print, raising, "a", "b" }

  -- The same on every Lua, as `math.random` isn't.
  local state = 20240607
  local function random(highest)
    state = (state * 16807) % 2147483647
    return state % highest + 1
  end

  local function junk(depth)
    local shape = random(depth > 0 and 6 or 2)
    if shape <= 2 then return LEAVES[random(#LEAVES)] end
    local made = shape == 3 and json.array({}) or {}
    for index = 1, random(4) - 1 do
      made[shape <= 4 and index or KEYWORDS[random(#KEYWORDS)]] = junk(depth - 1)
    end
    return made
  end

  it("never raises", function()
    for _ = 1, 20000 do
      local value, against = junk(3), junk(5)
      local ok, problem = schema.check(value, against)
      assert.is_true(ok == true and problem == nil or ok == nil and type(problem) == "string")
      if problem then assert.is_nil(problem:find("[%c]")) end
      assert.is_true(schema.problem(against) == nil or type(schema.problem(against)) == "string")
    end
  end)
end)
