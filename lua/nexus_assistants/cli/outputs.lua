--- Has somebody know before a script writes to its standard outputs, by whichever of Lua's functions.
local outputs = {}

local function last_text(...)
  local count = select("#", ...)
  return count > 0 and tostring((select(count, ...))) or ""
end

-- What `io.write` and a file's `write` are for a while.
local function announced(write, tell)
  return function(...)
    tell(...)
    return write(...)
  end
end

--- A function that writes to a file without telling anybody.
function outputs.raw(file)
  local write = file.write
  return function(written) write(file, written) end
end

--- Calls `tell(text)` before each writing, with what it ends with. Returns a function that has all be as it was.
function outputs.watch(tell)
  local file_methods = getmetatable(io.stdout).__index
  local print_before, write_before, method_before = print, io.write, file_methods.write
  rawset(_G, "print", announced(print_before, function() tell("\n") end))
  rawset(io, "write", announced(write_before, function(...)
    if io.output() == io.stdout then tell(last_text(...)) end
  end))
  file_methods.write = announced(method_before, function(file, ...)
    if file == io.stdout or file == io.stderr then tell(last_text(...)) end
  end)
  return function()
    rawset(_G, "print", print_before)
    rawset(io, "write", write_before)
    file_methods.write = method_before
  end
end

return outputs
