local text = require("nexus_assistants.text")

describe("a text that is cut", function()
  it("stays as it is where it fits", function()
    assert.equal("abc", text.cut("abc", 3))
    assert.equal("é", text.cut("é", 2))
    assert.equal("", text.cut("", 0))
  end)

  it("loses the one character that would be cut in two, and no more", function()
    local letters = "aé€🌮"
    for length, kept in pairs({
      [0] = "", "a", "a", "aé", "aé", "aé", "aé€", "aé€", "aé€", "aé€", "aé€🌮",
    }) do
      assert.equal(kept, text.cut(letters, length))
    end
  end)

  it("keeps all whole characters before it", function()
    assert.equal(("é"):rep(150), text.cut(("é"):rep(1000), 300))
    assert.equal(("é"):rep(149), text.cut(("é"):rep(1000), 299))
    assert.equal(("🌮"):rep(74), text.cut(("🌮"):rep(1000), 299))
  end)

  it("is kept as it is where it isn't UTF-8", function()
    assert.equal(("\128"):rep(10), text.cut(("\128"):rep(20), 10))
    assert.equal("a\195", text.cut("a\195\195\195", 3):sub(1, 2))
    assert.equal("\255\255\255", text.cut(("\255"):rep(9), 4))
  end)

  it("is told from a character that has come in part", function()
    for whole, rest in pairs({ [""] = "", ["a"] = "", ["a\195\164"] = "", ["b"] = "\195", ["c"] = "\240\159\152",
      ["\195\164"] = "\226\130" }) do
      assert.same({ whole, rest }, { text.whole(whole .. rest) })
    end
  end)

  it("is cut in words, as many as were asked for at most", function()
    assert.same({ "One", " two", "\n\nthree.", " " }, text.words("One two\n\nthree. ", 10))
    assert.same({ "  a" }, text.words("  a", 10))
    assert.same({}, text.words("", 10))
    local long = ("word "):rep(10000)
    local words = text.words(long, 100)
    assert.is_true(#words <= 101)
    assert.equal(long, table.concat(words))
  end)

  it("is cut in slices between characters", function()
    assert.same({ "abc", "\195\164d" }, text.slices("abc\195\164d", 4, 10))
    local long = ("\195\164"):rep(5000)
    local slices = text.slices(long, 3, 100)
    assert.is_true(#slices <= 100)
    assert.equal(long, table.concat(slices))
    for _, slice in ipairs(slices) do assert.equal(0, #slice % 2) end
  end)
end)
