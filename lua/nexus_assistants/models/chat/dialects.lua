--- What differs between the servers of chat completions.
--
-- A dialect has
--   label                how it is called in messages
--   limit                the name of the limit of tokens
--   usage_on_request     what a stream used is told where `stream_options.include_usage` asks for it
--   effort               the name that carries the effort of reasoning: "reasoning_effort", "reasoning" (an object with
--                        `effort`), or false
--   parallel_tool_calls  whether that can be switched off
--   required             whether `tool_choice` can be "required"
--   named                whether `tool_choice` can name a function; "alone" where it can't, so that the function is
--                        sent alone and required
--   linked_images        whether an image may be a link; if not, it must be a `data:` URL
--   thinks_aloud         whether a reply may begin with the model's thoughts between <think> and </think>
--   has_files            whether there are files and vector stores beside the chats
--   advice               what is to be done about what isn't there, where anything can be
--
-- Reasoning that has a member of its own (`reasoning_content` at llama.cpp and DeepSeek, `reasoning` at Ollama,
-- OpenRouter and newer vLLM) is never part of a reply, and error shapes are told apart by how they look: both need no
-- dialect.
local dialects = {}

local TABLE = {
  -- The API's description, CreateChatCompletionRequest: `max_tokens` is deprecated, and models that reason refuse it.
  openai = {
    label = "OpenAI", limit = "max_completion_tokens", usage_on_request = true, effort = "reasoning_effort",
    parallel_tool_calls = true, required = true, named = true, linked_images = true, has_files = true,
  },
  -- Microsoft's "Azure OpenAI reasoning models": those work with `max_completion_tokens` only. Both the v1 API and
  -- paths with a deployment take what OpenAI takes.
  azure = {
    label = "Azure OpenAI", limit = "max_completion_tokens", usage_on_request = true, effort = "reasoning_effort",
    parallel_tool_calls = true, required = true, named = true, linked_images = true, has_files = true,
  },
  -- OpenRouter's "Create a chat completion" (`max_tokens` is deprecated) and its guide "Reasoning Tokens" (`reasoning`
  -- is what all its models are asked by).
  openrouter = {
    label = "OpenRouter", limit = "max_completion_tokens", usage_on_request = true, effort = "reasoning",
    parallel_tool_calls = true, required = true, named = true, linked_images = true,
  },
  -- Ollama's "OpenAI compatibility" (no `tool_choice`, no image links), and openai/openai.go there: what the request
  -- has no member for is ignored without a word.
  ollama = {
    label = "Ollama", limit = "max_tokens", usage_on_request = true, effort = "reasoning_effort",
    parallel_tool_calls = false, required = false, named = false, linked_images = false, thinks_aloud = true,
  },
  -- llama.cpp, tools/server/README.md. Its issue 26535: an object as `tool_choice` counts as "auto". Pull request
  -- 26941 brought `reasoning_effort`; older builds ignore it. With --reasoning-format none, thoughts stay in the reply.
  ["llama.cpp"] = {
    label = "a llama.cpp server", limit = "max_tokens", usage_on_request = true, effort = "reasoning_effort",
    parallel_tool_calls = true, required = true, named = "alone", linked_images = true, thinks_aloud = true,
  },
  -- vLLM, chat_completion/protocol.py and "Tool Calling". `max_tokens` is the limit that its older versions take, too.
  -- Without a reasoning parser thoughts stay in the reply.
  vllm = {
    label = "vLLM", limit = "max_tokens", usage_on_request = true, effort = "reasoning_effort",
    parallel_tool_calls = true, required = true, named = true, linked_images = true, thinks_aloud = true,
  },
  -- What is neither ignored nor refused by any of them.
  ["openai-compatible"] = {
    label = "every OpenAI-compatible server", limit = "max_tokens", usage_on_request = false, effort = false,
    parallel_tool_calls = false, required = false, named = false, linked_images = true, thinks_aloud = true,
    advice = "where this server has it, name its dialect",
  },
}

local HOSTS = {
  { "^api%.openai%.com$", "openai" }, { "%.openai%.azure%.com$", "azure" }, { "%.services%.ai%.azure%.com$", "azure" },
  { "%.cognitiveservices%.azure%.com$", "azure" }, { "^openrouter%.ai$", "openrouter" }, { "^ollama%.com$", "ollama" },
}
-- Other servers' ports (8080, 8000) are everybody's.
local OLLAMA_PORT = "11434"

--- The names there are, in order.
dialects.names = { "openai", "azure", "openrouter", "ollama", "llama.cpp", "vllm", "openai-compatible" }

--- The dialect of a name, or nil.
function dialects.get(name)
  return TABLE[name]
end

--- The name of the dialect that a base URL speaks for.
function dialects.guess(base_url)
  local authority = base_url:lower():match("^https?://([^/?]+)") or ""
  local port = authority:match(":(%d+)$")
  local host = port and authority:sub(1, -#port - 2) or authority
  for _, known in ipairs(HOSTS) do
    if host:find(known[1]) then return known[2] end
  end
  return port == OLLAMA_PORT and "ollama" or "openai-compatible"
end

return dialects
