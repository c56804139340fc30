-- The same job as article.lua, where every call traces itself, and with a tool that the run may call.
--
--   assistant.lua "QUESTION"
--
-- The environment says which assistant is asked, and where: OPENAI_API_KEY, OPENAI_BASE_URL, ASSISTANT_ID, and
-- NEXUS_API_KEY, NEXUS_BASE_URL, NEXUS_AGENT_ID for the trace.
local nexus = require("nexus_assistants")

local question = arg[1]
if not question then
  io.stderr:write('usage: assistant.lua "QUESTION"\n')
  os.exit(2)
end

local get_weather = nexus.tool({
  name = "get_weather",
  description = "The weather in a city now",
  parameters = {
    type = "object",
    properties = { city = { type = "string", description = "The city's name" } },
    required = { "city" },
  },
  call = function(arguments)
    return { city = arguments.city, celsius = 18, sky = "clear" }
  end,
})

local client = assert(nexus.new({}))

local function answer()
  local thread = assert(client.threads:create())
  assert(client.threads.messages:create(thread.id, { role = "user", content = question }))
  local run = assert(client.threads.runs:create_and_poll(thread.id, { tools = { get_weather } }))
  return assert(run:text())
end

local ok, result = pcall(client.trace, client, { name = "assistant", input = { question = question } }, answer)
if ok then
  io.stdout:write(result, "\n")
  io.stdout:flush()
else
  io.stderr:write("assistant.lua: ", tostring(result), "\n")
end
client:close()
os.exit(ok and 0 or 1)
