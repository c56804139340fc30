-- The script of examples/embed.c: starts an agent as a task and leaves the driving to the host.
local nexus = require("nexus_assistants")

local question = (...) or "What is the weather in Paris?"
local client = assert(nexus.new({ agent_id = "embedded-bot" }))

local weather = nexus.tool({
  name = "get_weather",
  description = "The weather in a city, now",
  parameters = { type = "object", properties = { city = { type = "string" } }, required = { "city" } },
  call = function(arguments) return { city = arguments.city, celsius = 18 } end,
})

local task = client:task(function()
  return client:trace({ name = "weather", input = question }, function()
    local thread = assert(client.threads:create())
    assert(client.threads.messages:create(thread.id, { role = "user", content = question }))
    local run = assert(client.threads.runs:create_and_poll(thread.id, {
      assistant_id = os.getenv("ASSISTANT_ID"), tools = { weather },
    }))
    return run:text()
  end)
end)

return client, task
