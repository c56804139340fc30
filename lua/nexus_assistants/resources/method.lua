--- What all methods of resources begin with.
local method = {}

--- Raises, where its caller was called, unless a method was called with a colon. `where` is its name in messages.
function method.check_self(where, self)
  if type(self) ~= "table" or not self.client then error(where .. ": call it with a colon", 3) end
end

return method
