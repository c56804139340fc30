--- A text that grows piece by piece: an array of pieces, few and ever longer towards its beginning, so that neither
-- many small ones are kept nor a long one is copied each time.
local rope = {}

--- Adds a piece.
function rope.add(pieces, piece)
  local last = #pieces
  while last > 0 and #pieces[last] <= #piece do
    piece, pieces[last] = pieces[last] .. piece, nil
    last = last - 1
  end
  pieces[last + 1] = piece
end

--- The whole text.
rope.text = table.concat

return rope
