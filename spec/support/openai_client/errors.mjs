import { OpenAI, tool } from './tester.mjs';

const FILLED = (count, make) => Object.fromEntries(Array.from({ length: count }, (_, index) => make(index)));

// What a body is refused for: [name, body of threads.create, param, code].
const THREADS = [
  [
    'too many pairs of metadata',
    { metadata: FILLED(17, (index) => [`k${index}`, 'v']) },
    'metadata',
    'object_above_max_properties',
  ],
  [
    'a key of metadata that is too long',
    { metadata: { ['k'.repeat(65)]: 'v' } },
    'metadata',
    'string_above_max_length',
  ],
  [
    'a value of metadata that is too long',
    { metadata: { k: 'v'.repeat(513) } },
    'metadata.k',
    'string_above_max_length',
  ],
  ['a value of metadata that is no text', { metadata: { k: 7 } }, 'metadata.k', 'invalid_type'],
  ['metadata that is no object', { metadata: 'text' }, 'metadata', 'invalid_type'],
  ['an unknown parameter', { oops: 1 }, 'oops', 'unknown_parameter'],
  ['messages that are no list', { messages: 'x' }, 'messages', 'invalid_type'],
  ['a message without a role', { messages: [{ content: 'x' }] }, 'messages[0].role', 'missing_required_parameter'],
  ['a message without content', { messages: [{ role: 'user' }] }, 'messages[0].content', 'missing_required_parameter'],
  ['a role there is not', { messages: [{ role: 'king', content: 'x' }] }, 'messages[0].role', 'invalid_value'],
  ['tool_resources that are no object', { tool_resources: [] }, 'tool_resources', 'invalid_type'],
];

// Of threads.runs.create.
const RUNS = [
  ['no assistant', { assistant_id: undefined }, 'assistant_id', 'missing_required_parameter'],
  ['a temperature too high', { temperature: 2.5 }, 'temperature', 'decimal_above_max_value'],
  ['a temperature too low', { temperature: -1 }, 'temperature', 'decimal_below_min_value'],
  ['a top_p too high', { top_p: 1.5 }, 'top_p', 'decimal_above_max_value'],
  ['a temperature that is no number', { temperature: 'hot' }, 'temperature', 'invalid_type'],
  ['tools of a type there is not', { tools: [{ type: 'hammer' }] }, 'tools[0].type', 'invalid_value'],
  [
    'a function without a name',
    { tools: [{ type: 'function', function: {} }] },
    'tools[0].function.name',
    'missing_required_parameter',
  ],
  ['a function with a bad name', { tools: [tool('no spaces')] }, 'tools[0].function.name', 'invalid_value'],
  ['a function that is missing', { tools: [{ type: 'function' }] }, 'tools[0].function', 'missing_required_parameter'],
  ['a choice there is not', { tool_choice: 'maybe' }, 'tool_choice', 'invalid_value'],
  ['instructions that are no text', { instructions: 5 }, 'instructions', 'invalid_type'],
  ['a limit that is no number', { max_completion_tokens: 'many' }, 'max_completion_tokens', 'invalid_type'],
  ['a limit of nothing', { max_completion_tokens: 0 }, 'max_completion_tokens', 'integer_below_min_value'],
  ['a format there is not', { response_format: { type: 'xml' } }, 'response_format.type', 'invalid_value'],
  ['a strategy there is not', { truncation_strategy: { type: 'random' } }, 'truncation_strategy.type', 'invalid_value'],
  ['an unknown parameter', { oops: 1 }, 'oops', 'unknown_parameter'],
];

async function refusesBodies(t) {
  const refuse = (promise, [name, , param, code]) =>
    t.refused(
      promise,
      OpenAI.BadRequestError,
      { status: 400, type: 'invalid_request_error', param, code, requestID: /^req_\w+$/ },
      `refuses ${name}`,
    );
  for (const entry of THREADS) await refuse(t.threads.create(entry[1]), entry);
  const thread = await t.thread('x');
  for (const entry of RUNS) await refuse(t.begin(thread, entry[1]), entry);
  t.equal((await t.runs.list(thread.id)).data, [], 'nothing of what is refused is begun');
  const missing = ['an assistant without a model', {}, 'model', 'missing_required_parameter'];
  await refuse(t.client.beta.assistants.create(missing[1]), missing);
}

async function takesLimits(t) {
  const metadata = FILLED(16, (index) => [`${index}`.padStart(64, 'k'), 'ü'.repeat(512)]);
  const made = await t.threads.create({ metadata });
  t.equal(made.metadata, metadata, 'takes metadata at its limits');
  const messages = Array.from({ length: 32 }, () => ({ role: 'user', content: 'x' }));
  t.equal(
    (await t.threads.messages.list((await t.threads.create({ messages })).id, { limit: 100 })).data.length,
    32,
    'takes 32 messages',
  );
  await t.refused(
    t.threads.create({ messages: [...messages, messages[0]] }),
    OpenAI.BadRequestError,
    { code: 'array_above_max_length', param: 'messages' },
    'takes no more',
  );
}

async function refusesLists(t) {
  const thread = await t.threads.create();
  const list = (query) => t.threads.messages.list(thread.id, query);
  const refuse = (query, param, code) =>
    t.refused(
      list(query),
      OpenAI.BadRequestError,
      { status: 400, param, code },
      `refuses a list by ${JSON.stringify(query)}`,
    );
  await refuse({ limit: 0 }, 'limit', 'integer_below_min_value');
  await refuse({ limit: 101 }, 'limit', 'integer_above_max_value');
  await refuse({ limit: 'many' }, 'limit', 'invalid_type');
  await refuse({ order: 'sideways' }, 'order', 'invalid_value');
}

async function findsNothing(t) {
  const thread = await t.threads.create();
  const where = { thread_id: thread.id };
  for (const [what, ask] of Object.entries({
    assistant: () => t.client.beta.assistants.retrieve('asst_none'),
    thread: () => t.threads.retrieve('thread_none'),
    message: () => t.threads.messages.retrieve('msg_none', where),
    run: () => t.runs.retrieve('run_none', where),
  })) {
    await t.refused(
      ask(),
      OpenAI.NotFoundError,
      {
        status: 404,
        type: 'invalid_request_error',
        param: null,
        code: null,
        requestID: /^req_\w+$/,
        message: new RegExp(`^404 No ${what} found with id '[a-z]+_none'\\.$`),
      },
      `finds no ${what} that is not there`,
    );
  }
  await t.refused(
    t.begin(thread, { assistant_id: 'asst_none' }),
    OpenAI.NotFoundError,
    { message: "404 No assistant found with id 'asst_none'." },
    'runs no assistant that is not there',
  );
  await t.refused(
    t.client.get('/nowhere'),
    OpenAI.NotFoundError,
    { message: /Invalid URL \(GET \/v1\/nowhere\)/ },
    'has no other paths',
  );
}

async function wantsAKey(t) {
  const { data, response } = await t.threads.create().withResponse();
  t.matches(response.headers.get('x-request-id'), /^req_\w+$/, 'names each request');
  t.equal(response.headers.get('openai-version'), '2020-10-01', 'says its version');
  const keyless = t.connect({ defaultHeaders: { Authorization: null } });
  await t.refused(
    keyless.beta.threads.retrieve(data.id),
    OpenAI.AuthenticationError,
    { status: 401, type: 'invalid_request_error', message: /^401 You didn't provide an API key/ },
    'wants a key',
  );
}

async function hasOneRunAThread(t) {
  const thread = await t.thread({ wait: 20, text: 'never' });
  const active = await t.begin(thread);
  const busy = (promise, message, name) =>
    t.refused(promise, OpenAI.BadRequestError, { status: 400, type: 'invalid_request_error', message }, name);
  await busy(
    t.ask(thread, 'x'),
    `400 Can't add messages to ${thread.id} while a run ${active.id} is active.`,
    'takes no message while a run is active',
  );
  await busy(
    t.begin(thread),
    `400 Thread ${thread.id} already has an active run ${active.id}.`,
    'takes no run while another is active',
  );
  await busy(t.begin(thread, { stream: true }), /already has an active run/, 'nor one that streams');
  await t.threads.delete(thread.id);
  await t.refused(
    t.runs.retrieve(active.id, { thread_id: thread.id }),
    OpenAI.NotFoundError,
    { status: 404 },
    'a run goes with its thread',
  );
}

export async function run(t) {
  await refusesBodies(t);
  await takesLimits(t);
  await refusesLists(t);
  await findsNothing(t);
  await wantsAKey(t);
  await hasOneRunAThread(t);
}
