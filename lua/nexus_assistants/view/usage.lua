--- Tokens and what they cost, wherever whoever wrote a trace has put them.
local usage = {}

local MOST = 1e15

local function member(value, ...)
  for _, name in ipairs({ ... }) do
    if type(value) ~= "table" then return nil end
    value = value[name]
  end
  return value
end

local function count(value)
  if type(value) == "number" and value == value and value >= 0 and value < MOST then return value end
end

-- `{total, input, output}`; the latter two where they are told.
local function read(found)
  if type(found) ~= "table" then return nil end
  local input = count(found.prompt_tokens) or count(found.input_tokens)
  local output = count(found.completion_tokens) or count(found.output_tokens)
  local total = count(found.total_tokens) or (input or output) and (input or 0) + (output or 0)
  return total and { total = total, input = input, output = output }
end

local function named(value, prefix)
  if type(value) ~= "table" then return nil end
  return read({
    total_tokens = value[prefix .. "total_tokens"], prompt_tokens = value[prefix .. "prompt_tokens"],
    completion_tokens = value[prefix .. "completion_tokens"],
  })
end

--- The tokens `{total, input, output}` in an output or in metadata; nil where none are told.
function usage.within(value)
  return read(member(value, "usage")) or read(member(value, "run.usage")) or named(value, "run.usage.")
end

--- The tokens of a span.
function usage.of(span)
  return usage.within(span.output) or usage.within(member(span.input, "metadata")) or usage.within(span.metadata)
end

local function model_in(value)
  if type(value) ~= "table" then return nil end
  local model = value.model or value["gen_ai.response.model"] or value["gen_ai.request.model"] or value["run.model"]
  return type(model) == "string" and model or nil
end

--- The model that a span used, or nil.
function usage.model(span)
  return model_in(span.output) or model_in(member(span.input, "metadata")) or model_in(span.metadata)
end

-- Models have names with dates behind them: the longest name that the model's begins with has the price.
local function price_of(prices, model)
  if prices[model] then return prices[model] end
  local best
  for name in pairs(prices) do
    if model:sub(1, #name) == name and (not best or #name > #best) then best = name end
  end
  return best and prices[best]
end

--- What the tokens cost, in the currency of the prices; nil where that isn't known.
function usage.cost(tokens, model, prices)
  local price = tokens and tokens.input and tokens.output and model and prices and price_of(prices, model)
  return price and (tokens.input * price.input + tokens.output * price.output) / 1e6
end

local function add(sum, tokens, cost)
  sum.total = sum.total + tokens.total
  if cost then sum.cost = (sum.cost or 0) + cost end
end

-- The model of a run is often told by what is below it alone.
local function model_below(rows, index)
  for below = index, #rows do
    if below > index and rows[below].depth <= rows[index].depth then return nil end
    local model = usage.model(rows[below].span)
    if model then return model end
  end
end

--- The tokens and cost `{total, cost}` of a whole trace, by its rows in the order of the tree; nil where none are told.
-- A span's own count stands for those below it.
function usage.sum(rows, prices)
  local sum, counted = { total = 0 }, nil
  for index, row in ipairs(rows) do
    local tokens = usage.of(row.span)
    if counted and row.depth <= counted then counted = nil end
    if tokens and not counted then
      add(sum, tokens, usage.cost(tokens, model_below(rows, index), prices))
      counted = row.depth
      sum.found = true
    end
  end
  return sum.found and sum or nil
end

local function is_price(price)
  return type(price) == "table" and count(price.input) ~= nil and count(price.output) ~= nil
end

--- What is wrong with prices, `{model = {input =, output =}}` per million tokens; nil where nothing is.
function usage.fault(prices)
  if type(prices) ~= "table" then return "prices are a table by model" end
  for model, price in pairs(prices) do
    if type(model) ~= "string" or not is_price(price) then
      return "the price of '" .. tostring(model) .. "' is not { input, output }, per million tokens"
    end
  end
end

return usage
