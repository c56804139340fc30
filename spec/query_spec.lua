local json = require("nexus_assistants.json")
local query = require("nexus_assistants.query")

describe("a query", function()
  it("takes texts, finite numbers, booleans, lists of them, and null for nothing", function()
    assert.is_nil(query.fault({ after = "é", limit = 20, share = 0.5, deep = true, before = json.null,
      include = { "a", 1, false }, none = {}, marked = json.array({}) }))
    assert.is_nil(query.fault({}))
  end)

  local WANTED = "must be text, a number or a boolean, or a list of them"

  for what, case in pairs({
    ["a function"] = { print, WANTED },
    ["a nested table"] = { { {} }, WANTED },
    ["null in a list"] = { { "a", json.null }, WANTED },
    ["a function in a list"] = { { print }, WANTED },
    ["a list with holes"] = { { "a", nil, "c" }, WANTED },
    ["a list with a name"] = { { "a", name = "b" }, WANTED },
    ["a table by name"] = { { name = "b" }, WANTED },
    ["a list from 0"] = { { [0] = "a", "b" }, WANTED },
    ["a list with half a position"] = { { "a", [1.5] = "b" }, WANTED },
    ["NaN"] = { 0 / 0, "must be a finite number" },
    ["infinity"] = { math.huge, "must be a finite number" },
    ["its negative in a list"] = { { 1, -math.huge }, "must be a finite number" },
    ["what isn't UTF-8"] = { "a\255", "must be valid UTF-8" },
    ["what isn't UTF-8 in a list"] = { { "a", "\195" }, "must be valid UTF-8" },
  }) do
    it("refuses " .. what, function()
      assert.equal("'limit' " .. case[2], query.fault({ limit = case[1] }))
    end)
  end

  it("refuses names that are none", function()
    assert.equal("names must be strings, got a number", query.fault({ "a" }))
    assert.equal("names must not be empty", query.fault({ [""] = "a" }))
    assert.equal("names must be valid UTF-8", query.fault({ ["\255"] = "a" }))
  end)

  it("is written in order, lists as lists", function()
    assert.equal("after=x%26y&include%5B%5D=a%2A&include%5B%5D=b&limit=20&order=asc", query.text({
      order = "asc", limit = 20, include = { "a*", "b" }, after = "x&y", before = json.null,
    }))
    assert.is_nil(query.text({}))
    assert.is_nil(query.text(nil))
  end)
end)
