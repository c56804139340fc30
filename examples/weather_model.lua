-- A model for the local server: asks for get_weather about the city in the question, then answers from what the tool
-- said.
--
--   nexus-assistants serve --model-script examples/weather_model.lua
--
-- What a script gets and may return is told in lua/nexus_assistants/models/script.lua.
local json = require("nexus_assistants.json")
local script = require("nexus_assistants.models.script")

local TOOL = "get_weather"

local function has_tool(tools)
  for _, tool in ipairs(tools) do
    if tool["function"] and tool["function"].name == TOOL then return true end
  end
  return false
end

local PREPOSITIONS = { ["in"] = true, at = true, ["for"] = true, of = true, near = true }
-- Words that end a city's name, or that are none.
local OTHER_WORDS = {}
for word in ([[a an and are at be by can do for general going here how i in is it its like me moment morning my near
  next now of on or please right should so than thanks that the there this to today tomorrow tonight evening weather
  week weekend what when will with you your]]):gmatch("%S+") do
  OTHER_WORDS[word] = true
end

-- Words and signs of punctuation, in order.
local function pieces_of(question)
  local pieces = {}
  for word, sign in question:gmatch("([%w\128-\255'-]*)([%p]?)") do
    if word ~= "" then pieces[#pieces + 1] = word end
    if sign ~= "" then pieces[#pieces + 1] = sign end
  end
  return pieces
end

local function belongs(piece, capital)
  if not piece or not piece:find("^[%a\128-\255]") or OTHER_WORDS[piece:lower()] then return false end
  return not capital or piece:find("^[%u\128-\255]") ~= nil
end

-- The name that begins at a piece: "New York" ends where the capitals do, "new york" where another word comes.
local function name_at(pieces, index)
  if not belongs(pieces[index], false) then return nil end
  local capital, words = pieces[index]:find("^[%u\128-\255]") ~= nil, {}
  while belongs(pieces[index], capital) do
    words[#words + 1], index = pieces[index], index + 1
  end
  return table.concat(words, " ")
end

-- The place named last is the one that is meant: "for me, in Paris".
local function city_in(question)
  local pieces = pieces_of(question)
  for index = #pieces - 1, 1, -1 do
    local city = PREPOSITIONS[pieces[index]:lower()] and name_at(pieces, index + 1)
    if city then return city end
  end
end

-- What the tool said since the user last spoke.
local function tool_answer(messages)
  for index = #messages, 1, -1 do
    local message = messages[index]
    if message.role == "user" then return nil end
    if message.role == "tool" then return message.content end
  end
end

local function describe(output)
  local weather = json.decode(output)
  if type(weather) ~= "table" or not weather.celsius then return "The weather service said: " .. output end
  local place = weather.city and "In " .. weather.city .. " it is " or "It is "
  return place .. string.format("%.14g °C", weather.celsius) .. (weather.sky and " and " .. weather.sky or "") .. "."
end

return function(messages, tools)
  local output = tool_answer(messages)
  if output then return describe(output) end
  local question = script.question(messages) or ""
  local city = city_in(question)
  if not city then return "Which city's weather would you like to know?" end
  if not has_tool(tools) then
    return "I can't look up the weather in " .. city .. " without the tool " .. TOOL .. "."
  end
  return { { name = TOOL, arguments = { city = city } } }
end
