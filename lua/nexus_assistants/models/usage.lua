--- Pure: what an API says that an answer used, as a model's `think` returns it.
local usage = {}

local function count_of(details, name)
  local count = type(details) == "table" and details[name]
  return type(count) == "number" and count or nil
end

--- Reads what was reported: `into` and `out` are what the API calls the tokens it was given and those it wrote. Nil
-- where it doesn't say both.
function usage.read(reported, into, out)
  local prompt, completion = count_of(reported, into), count_of(reported, out)
  if not prompt or not completion then return nil end
  return {
    prompt_tokens = prompt, completion_tokens = completion,
    cached_tokens = count_of(reported[into .. "_details"], "cached_tokens"),
    reasoning_tokens = count_of(reported[out .. "_details"], "reasoning_tokens"),
  }
end

return usage
