--- A model behind OpenAI's Responses, or a server that speaks it. What a run needs is sent each time, and nothing is
-- stored there; or each thread goes with a conversation, which is sent what is new.
local conversation = require("nexus_assistants.models.responses.conversation")
local core = require("nexus_assistants.core")
local errors = require("nexus_assistants.error")
local exchanges = require("nexus_assistants.models.responses.exchange")
local failure = require("nexus_assistants.models.chat.failure")
local input = require("nexus_assistants.models.responses.input")
local json = require("nexus_assistants.json")
local operations = require("nexus_assistants.operations")
local output = require("nexus_assistants.models.responses.output")
local parameters = require("nexus_assistants.models.parameters")
local request = require("nexus_assistants.models.responses.request")

local responses = {}
local responses_methods = { name = "responses", waits = true, hosts_tools = true }
local responses_mt = { __index = responses_methods, __name = "nexus_assistants.models.responses" }

local HISTORIES = { ["local"] = true, conversation = true }
local CANCELLING = 10 -- seconds that cancelling a response may take

--- Makes the model. `options`: `api`, who performs the operations; `model`, for runs that name none; `history`, "local"
-- (the default) or "conversation"; `background`, true where responses run in the background; `clock()`, seconds that
-- only go forward.
function responses.new(options)
  local history = options.history or "local"
  if not HISTORIES[history] then
    error(("responses.new: unknown history '%s', expected 'local' or 'conversation'"):format(tostring(history)), 2)
  end
  return setmetatable({
    api = options.api, model = options.model, history = history, background = options.background == true,
    clock = options.clock or core.monotonic,
    thoughtless = {}, -- models that refuse to give what they thought, as a set
  }, responses_mt)
end

--- What a run wants that isn't to be had there: a message and the parameter's name; or nil.
function responses_methods:refusal(run)
  return request.refusal(self, run)
end

-- --------------------------------------------------------------------------------------------------------- answering

-- What of a text wasn't told yet.
local function rest_of(text, told)
  if told == "" or not text then return text end
  local rest = text:sub(1, #told) == told and text:sub(#told + 1) or ""
  return rest ~= "" and rest or nil
end

-- The answer, and whether there is text in it, told or not; or what there is instead.
local function answer_of(exchange, response, err)
  if not response then return response, err and failure.from(err) end
  local answer, problem = output.answer(response)
  if not answer then return nil, problem end
  local told = exchange:told()
  local has_text = answer.text ~= nil or told ~= ""
  answer.text, answer.attempts = rest_of(answer.text, told), exchange.attempts
  return answer, has_text
end

-- ----------------------------------------------------------------------------------------------------- history: local

-- Models that don't reason refuse to be asked what they thought.
local function is_thoughtless(err)
  return err.status == 400 and tostring(err.message):find("ncrypted content", 1, true) ~= nil
end

local function local_body(self, asked)
  asked.keeps_reasoning = not self.thoughtless[asked.model]
  local body = request.body(asked)
  body.input, body.instructions = input.items(asked.messages), input.instructions(asked.messages)
  body.store, body.background = self.background, self.background or nil
  return body
end

local function think_locally(self, asked, exchange)
  local response, err = exchange:ask(local_body(self, asked))
  if response == nil and not self.thoughtless[asked.model] and is_thoughtless(err) then
    self.thoughtless[asked.model] = true
    response, err = exchange:ask(local_body(self, asked))
  end
  local answer, problem = answer_of(exchange, response, err)
  if not answer then return nil, problem end
  return answer
end

-- ---------------------------------------------------------------------------------------------- history: conversation

-- A run that forgets messages is told by itself what it remembers: its conversation would be of no use to others.
local function is_forgetful(run)
  local strategy = json.present(run.truncation_strategy) or {}
  return json.present(strategy.last_messages) ~= nil or json.present(run.max_prompt_tokens) ~= nil
end

local function ask_in_conversation(self, asked, exchange, notes)
  local items, err = conversation.begin(exchange, notes, asked.messages, asked.run)
  if not items then return nil, err end
  local body = request.body(asked)
  body.input, body.instructions = items[1] and items or nil, input.instructions(asked.messages)
  body.conversation, body.store, body.background = { id = notes.conversation_id }, true, self.background or nil
  return exchange:ask(body)
end

-- Asks until there is an answer, or no use in asking. Where nobody knows what became of a question, the conversation
-- stays open, and the next goes into a new one: in the old, all of it would stand twice.
local function ask_until_answered(self, asked, exchange, notes)
  local was_gone = false
  while true do
    local response, err = ask_in_conversation(self, asked, exchange, notes)
    if response ~= nil then return response end
    local is_gone = not was_gone and conversation.is_gone(notes, err)
    if is_gone then conversation.forget(notes) else conversation.fail(notes, err) end
    if not is_gone and not exchange:wait_to_repeat(err) then return nil, err end
    was_gone = was_gone or is_gone
  end
end

local function think_in_conversation(self, asked, exchange)
  local notes = asked.context.thread
  local response, err = ask_until_answered(self, asked, exchange, notes)
  local answer, has_text = answer_of(exchange, response, err)
  if not answer then return nil, has_text end
  conversation.finish(notes, asked, answer, has_text)
  return answer
end

-- ----------------------------------------------------------------------------------------------------------- the model

local function unfit(self, run, context)
  if context.seconds <= 0 then return failure.answer("there was no time left to ask the model") end
  -- a run may have been made for another model: threads are kept
  local message, param = request.refusal(self, run)
  if message then return errors.new({ kind = "invalid", code = "server_error", message = message, param = param }) end
end

--- The answer to a chat, or nil and an error; nothing at all where nobody wants more.
function responses_methods:think(messages, tools, run, context)
  local problem = unfit(self, run, context)
  if problem then return nil, problem end
  local asked = { messages = messages, tools = tools, run = run, context = context,
    model = parameters.model(self.model, run) }
  local is_local = self.history == "local" or is_forgetful(run)
  local exchange = exchanges.new({ api = self.api, context = context, clock = self.clock,
    in_conversation = not is_local })
  local think = is_local and think_locally or think_in_conversation
  local answer, err = think(self, asked, exchange)
  if not answer then self:abandon(run, context.state) end
  return answer, err
end

--- Cancels what goes on at the API for a run that was given up, or failed. `span` is that of the question, where the
-- code that runs isn't in it.
function responses_methods:abandon(_, state, span)
  if not state.response_id then return end
  self.api:perform(operations["responses.cancel"], {
    path = { response_id = state.response_id }, options = { deadline = CANCELLING }, span = span,
  })
end

return responses
