--- What went wrong at the endpoint, with the code that a run's `last_error` has.
local errors = require("nexus_assistants.error")
local values = require("nexus_assistants.values")

local failure = {}

-- OpenAI's codes; Azure's "content_filter" is for prompts (what it says of replies is a finish_reason).
local PROMPT_CODES = { context_length_exceeded = true, invalid_prompt = true, content_filter = true,
  content_policy_violation = true, string_above_max_length = true }
-- llama.cpp's, see format_error_response in its server.
local PROMPT_TYPES = { exceed_context_size_error = true }
-- Those that have neither: vLLM, older llama.cpp.
local PROMPT_WORDS = { "maximum context length", "available context size", "context length exceeded" }

local function says_prompt(message)
  for _, words in ipairs(PROMPT_WORDS) do
    if message:find(words, 1, true) then return true end
  end
  return false
end

local REQUEST_KINDS = { bad_request = true, unprocessable = true, too_large = true }

local function is_about_prompt(err)
  if PROMPT_CODES[err.code] or PROMPT_TYPES[err.type] then return true end
  if not REQUEST_KINDS[err.kind] and err.code ~= "400" then return false end
  return says_prompt(err.message) or tostring(err.param):find("^messages") ~= nil
end

local function code_of(err)
  -- in a stream, or in an answer with status 200, the status is the code (OpenRouter, llama.cpp)
  if err.kind == "rate_limit" or err.code == "429" then return "rate_limit_exceeded" end
  return is_about_prompt(err) and "invalid_prompt" or "server_error"
end

--- An error of the api's, with the code of the protocol.
function failure.from(err)
  return errors.new(values.merged(err, { code = code_of(err) }))
end

--- An answer that isn't what an endpoint promises.
function failure.answer(message)
  return errors.new({ kind = "protocol", code = "server_error", message = message })
end

return failure
