local core = require("nexus_assistants.core")
local json = require("nexus_assistants.json")
local redaction = require("nexus_assistants.redaction")

-- What a secret may look like where it is met; `%s` is what must not be seen.
local SHAPES = {
  "sk-%s", "sk-proj-%s", "\\nsk-%s", "%%20sk-%s", "nxs_%s", "Bearer %s", "bearer  %s", "Authorization: Basic %s",
  "authorization=%s", '{"Authorization":"Token %s"}', '{\\"authorization\\":\\"Bearer %s\\"}', "x-api-key: %s",
  "OPENAI_API_KEY=%s", "https://host/path?api_key=%s&more=1", "API key = '%s'", '"apiKey": "%s"',
}
local NAMES = { "Authorization", "proxy-authorization", "api_key", "X-API-Key", "openaiApiKey" }

describe("redaction", function()
  it("masks keys and tokens, and leaves what is around them", function()
    local masked = {
      ["key sk-abcdefgh12 is wrong"] = "key sk-**** is wrong",
      ["nxs_live_1, nxs_2"] = "nxs_****, nxs_****",
      ["curl -H 'Authorization: Bearer abc.def' -v"] = "curl -H 'Authorization: ****' -v",
      ["Bearer abcdefghijk\nnext"] = "Bearer ****\nnext",
      ["GET /?api_key=abc&page=2"] = "GET /?api_key=****&page=2",
      ['{"api-key":"abc","page":2}'] = '{"api-key":"****","page":2}',
    }
    for text, expected in pairs(masked) do assert.equal(expected, redaction.text(text)) end
  end)

  it("leaves words alone that look a little like keys", function()
    for _, text in ipairs({ "a risk-assessment of desk-research", "sk-learn", "the bearer of this letter", "nxs",
      "an API for keys", "authorization is needed", "Bearer token" }) do
      assert.equal(text, redaction.text(text))
    end
  end)

  it("masks what is kept under the names of keys", function()
    local value = { headers = { Authorization = "x", ["X-Api-Key"] = { "a", 7 } }, api_key = true, page = 2 }
    assert.same({ headers = { Authorization = "****", ["X-Api-Key"] = { "****", "****" } }, api_key = true, page = 2 },
      redaction.mask(value))
    assert.equal("****", redaction.mask("x", nil, "api_key"))
  end)

  it("doesn't change the value it is given, and keeps arrays arrays", function()
    local value = { list = json.array({}), api_key = "x" }
    local copy = redaction.mask(value)
    assert.equal("x", value.api_key)
    assert.equal("[]", json.encode(copy.list))
  end)

  it("takes the texts as somebody else's function wants them", function()
    assert.same({ A = { "B" } }, redaction.mask({ a = { "b" } }, string.upper))
  end)

  it("finds marks in whatever case, at either end of a text", function()
    assert.is_true(core.holds_any("a BEARER", "bearer"))
    assert.is_true(core.holds_any("sk-", "nxs_", "sk-"))
    assert.is_false(core.holds_any("a beare", "bearer"))
    assert.is_false(core.holds_any("", "bearer"))
    assert.is_false(core.holds_any("text"))
    assert.is_false(core.holds_any("b", "bearer"))
    assert.is_true(core.holds_any("a sk-", "nxs_", "sk-"))
    assert.is_true(core.holds_any("aApI KEY", "api-key", "api key", "authorization"))
    assert.has_error(function() core.holds_any("text", "") end)
    assert.has_error(function() core.holds_any("text", "t") end)
  end)

  local random

  local function choose(list)
    return list[random(#list)]
  end

  local function secret()
    local letters = {}
    for index = 1, random(16, 40) do letters[index] = choose({ "Q", "z", "7", "K", "x", "4" }) end
    return "CANARY" .. table.concat(letters)
  end

  local function padding()
    return (" words/\\\"é\n"):rep(random(100) == 1 and 5000 or random(0, 3))
  end

  local function text()
    return padding() .. choose(SHAPES):format(secret()) .. padding()
  end

  local function value(depth)
    local kind = depth == 0 and 1 or random(5)
    if kind == 1 then return text() end
    if kind == 2 then return json.array({ value(depth - 1), true, value(depth - 1), json.null }) end
    if kind == 3 then return { [text()] = value(depth - 1), number = random(9) } end
    if kind == 4 then return { [choose(NAMES)] = { deep = { secret(), secret() } } } end
    return { [choose(NAMES)] = secret(), other = value(depth - 1) }
  end

  it("lets none through, however deep, in names and in long texts", function()
    for seed = 1, 1500 do
      math.randomseed(seed)
      random = math.random
      local given = value(4)
      local written = assert(json.encode(given))
      assert.is_truthy(written:find("CANARY", 1, true))
      local masked = redaction.mask(given)
      local shown = assert(json.encode(masked))
      assert.is_nil(shown:find("CANARY", 1, true), "seed " .. seed .. ": " .. shown:sub(1, 300))
      assert.same(masked, redaction.mask(masked))
    end
  end)

  it("suspects every text it would change", function()
    for seed = 1, 500 do
      math.randomseed(seed)
      random = math.random
      assert.is_true(redaction.is_suspect(json.encode(text())))
    end
  end)

  it("takes a time that grows as the text does", function()
    for _, piece in ipairs({ "authorization ", "bearer      ", "sk-sk-sk-", "api key    ", "nxs_" }) do
      local started = os.clock()
      redaction.text(piece:rep(20000))
      assert.is_true(os.clock() - started < 2, piece)
    end
  end)
end)
