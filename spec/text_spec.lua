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
end)
