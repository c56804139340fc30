--- Takes the thoughts away that some servers leave at the beginning of a reply: between <think> and </think>, as the
-- templates of models that reason write them. A reply that only ends its thoughts, without having begun them, can't be
-- told from one that tells of the tag, and stays as it is.
local thoughts = {}
local thoughts_methods = {}
local thoughts_mt = { __index = thoughts_methods }

local OPEN, CLOSE = "<think>", "</think>"
local LONGEST_BLANK = 256 -- what is white for longer isn't the beginning of thoughts

--- A filter of one reply.
function thoughts.new()
  return setmetatable({ state = "undecided", held = "" }, thoughts_mt)
end

local states = {}

function states.plain(_, text)
  return text
end

-- The white space between the thoughts and what they led to.
function states.behind(self, text)
  local rest = text:match("^%s*(.*)$")
  if rest ~= "" then self.state = "plain" end
  return rest
end

function states.thinking(self, text)
  local _, stop = text:find(CLOSE, 1, true)
  if stop then
    self.state = "behind"
    return states.behind(self, text:sub(stop + 1))
  end
  self.held = text:sub(-(#CLOSE - 1))
  return ""
end

function states.undecided(self, text)
  local begun = text:match("^%s*(.*)$")
  if begun:sub(1, #OPEN) == OPEN then
    self.state = "thinking"
    return states.thinking(self, begun:sub(#OPEN + 1))
  end
  if OPEN:sub(1, #begun) == begun and #text <= LONGEST_BLANK then
    self.held = text
    return ""
  end
  self.state = "plain"
  return text
end

--- Takes a piece of what the server sent; returns what of it, and of what was held back, is the reply's.
function thoughts_methods:take(piece)
  local text = self.held .. piece
  self.held = ""
  return states[self.state](self, text)
end

--- What was held back and turned out to be the reply's, at its end.
function thoughts_methods:rest()
  return self.state == "undecided" and self.held or ""
end

return thoughts
