import { OpenAI, called, gathered, output, tool } from './tester.mjs';

const KINDS = [
  'connect',
  'messageCreated',
  'messageDelta',
  'messageDone',
  'runStepCreated',
  'runStepDelta',
  'runStepDone',
  'toolCallCreated',
  'toolCallDelta',
  'toolCallDone',
  'textCreated',
  'textDelta',
  'textDone',
  'run',
  'error',
  'end',
];

// Reads a stream to its end; everything it tells, by kind, and the API's own events in order: as it was when it was
// told, since the client goes on writing into it.
async function watched(stream) {
  const told = Object.fromEntries(KINDS.map((kind) => [kind, []]));
  for (const kind of KINDS) stream.on(kind, (...values) => told[kind].push(structuredClone(values)));
  told.events = [];
  stream.on('event', (event) => told.events.push(structuredClone(event)));
  await stream.done().catch(() => {});
  return told;
}

const names = (told) =>
  told.events
    .map((event) => event.event)
    .filter((name, index, all) => name !== all[index - 1])
    .map((name) => name.replace('thread.', ''));

const MESSAGE_EVENTS = [
  'run.step.created',
  'run.step.in_progress',
  'message.created',
  'message.in_progress',
  'message.delta',
  'message.completed',
  'run.step.completed',
];

async function tellsOfText(t) {
  const thread = await t.thread({ pieces: ['One', ' two', ' three'] });
  const stream = t.runs.stream(thread.id, { assistant_id: t.assistant_id });
  const told = await watched(stream);
  t.equal(
    names(told),
    ['run.created', 'run.queued', 'run.in_progress', ...MESSAGE_EVENTS, 'run.completed'],
    "has the API's events in the API's order",
  );
  t.equal(
    told.textDelta.map(([delta]) => delta.value),
    ['One', ' two', ' three'],
    'brings the text in pieces',
  );
  t.equal(
    told.textDelta.map(([, whole]) => whole.value),
    ['One', 'One two', 'One two three'],
    'which grow to the text',
  );
  t.equal(
    [told.textCreated.length, told.textDone.length, told.textDone[0]?.[0].value],
    [1, 1, 'One two three'],
    'tells where the text begins and ends',
  );
  t.equal(
    [told.messageCreated.length, told.messageDone.length, told.messageDelta.length],
    [1, 1, 3],
    'tells of a message',
  );
  t.equal(
    [told.runStepCreated.length, told.runStepDone.length, told.runStepDelta.length],
    [1, 1, 0],
    'tells of a step',
  );
  t.equal([told.connect.length, told.end.length, told.error.length], [1, 1, 0], 'ends without an error');
  await isTheSame(t, stream, told, thread);
}

async function isTheSame(t, stream, told, thread) {
  const run = await stream.finalRun();
  t.equal(run, await t.runs.retrieve(run.id, { thread_id: thread.id }), 'ends with the run as it is');
  const [message] = await stream.finalMessages();
  t.shape(message, 'streamed message', "a stream's message has its fields");
  const { status, incomplete_details, incomplete_at, completed_at, ...rest } = message;
  t.equal([status, incomplete_details, incomplete_at], ['completed', null, null], 'the message is completed');
  t.ok(completed_at >= message.created_at, 'and says when', completed_at);
  t.equal(
    rest,
    (await t.threads.messages.list(thread.id, { run_id: run.id })).data[0],
    'ends with the message as it is',
  );
  t.equal(
    await stream.finalRunSteps(),
    (await t.runs.steps.list(run.id, { thread_id: thread.id })).data,
    'ends with the steps as they are',
  );
  const by = (name) => told.events.find((event) => event.event === name).data;
  t.shape(by('thread.run.created'), 'run', "a stream's run has its fields");
  t.shape(by('thread.run.step.created'), 'step', "a stream's step has its fields");
  t.equal(by('thread.message.created').content, [], 'a message begins empty');
  t.equal(Object.keys(by('thread.message.delta')).sort(), ['delta', 'id', 'object'], 'a delta has its fields');
}

async function tellsOfCalls(t) {
  const thread = await t.thread(called('a', 'b'), { pieces: ['$1', ' $2'] });
  const tools = ['a', 'b'].map(tool);
  const stream = t.runs.stream(thread.id, { assistant_id: t.assistant_id, tools });
  const told = await watched(stream);
  t.equal(
    names(told),
    [
      'run.created',
      'run.queued',
      'run.in_progress',
      'run.step.created',
      'run.step.in_progress',
      'run.step.delta',
      'run.requires_action',
    ],
    'ends where outputs are required',
  );
  t.equal(
    told.toolCallCreated.map(([call]) => call.function.name),
    ['a', 'b'],
    'tells of each call',
  );
  t.equal(
    told.toolCallDone.map(([call]) => call.id),
    ['call_a', 'call_b'],
    'and where it is complete',
  );
  t.ok(told.toolCallDelta.length >= 2, 'brings their arguments in pieces', told.toolCallDelta);
  t.equal(
    told.toolCallDone.map(([call]) => JSON.parse(call.function.arguments)),
    [{ of: 'a' }, { of: 'b' }],
    'which grow to the arguments',
  );
  const run = await stream.finalRun();
  t.equal(run.status, 'requires_action', 'the run waits');
  t.shape(run.required_action, 'required action', "a stream's required action has its fields");
  return run;
}

async function goesOn(t, run) {
  const stream = t.runs.submitToolOutputsStream(run.id, {
    thread_id: run.thread_id,
    tool_outputs: [output('a', 'x'), output('b', 'y')],
  });
  const told = await watched(stream);
  t.equal(
    names(told),
    ['run.step.completed', 'run.queued', 'run.in_progress', ...MESSAGE_EVENTS, 'run.completed'],
    'goes on with the outputs',
  );
  t.equal((await stream.finalRun()).status, 'completed', 'to the end');
  const texts = (await stream.finalMessages()).map((message) => message.content[0].text.value);
  t.equal(texts, await t.texts({ id: run.thread_id }, { run_id: run.id }), 'with the text');
}

async function makesThreads(t) {
  const stream = t.threads.createAndRunStream({
    assistant_id: t.assistant_id,
    thread: { messages: [{ role: 'user', content: '["Hi there."]' }], metadata: { k: 'v' } },
  });
  const told = await watched(stream);
  t.equal(
    names(told),
    ['created', 'run.created', 'run.queued', 'run.in_progress', ...MESSAGE_EVENTS, 'run.completed'],
    'createAndRunStream begins with the thread',
  );
  t.shape(told.events[0].data, 'thread', "a stream's thread has its fields");
  t.equal(told.events[0].data.metadata, { k: 'v' }, 'and with what it was given');
  t.equal((await stream.finalMessages())[0].content[0].text.value, 'Hi there.', 'createAndRunStream brings the reply');
}

async function isIterated(t) {
  const raw = await t.begin(await t.thread('Hi.'), { stream: true });
  const events = (await gathered(raw)).map((event) => event.event);
  t.equal([events[0], events.at(-1)], ['thread.run.created', 'thread.run.completed'], 'may be read by create, too');
  const tooled = await t.finished(await t.thread(called('a'), 'ok'), { tools: [tool('a')] });
  const rest = await t.runs.submitToolOutputs(tooled.id, {
    thread_id: tooled.thread_id,
    tool_outputs: [output('a', 'x')],
    stream: true,
  });
  t.equal((await gathered(rest)).at(-1).event, 'thread.run.completed', 'and by submitToolOutputs');
  const made = await t.threads.createAndRun({
    assistant_id: t.assistant_id,
    stream: true,
    thread: { messages: [{ role: 'user', content: '["Hi."]' }] },
  });
  t.equal((await gathered(made))[0].event, 'thread.created', 'and by createAndRun');
}

async function endsOtherwise(t) {
  const failed = await watched(
    t.runs.stream((await t.thread({ fail: { code: 'rate_limit_exceeded', message: 'no' } })).id, {
      assistant_id: t.assistant_id,
    }),
  );
  t.equal(failed.events.at(-1).event, 'thread.run.failed', 'ends with a failure');
  t.equal(failed.events.at(-1).data.last_error, { code: 'rate_limit_exceeded', message: 'no' }, 'and says which');
  const cut = await watched(
    t.runs.stream((await t.thread({ text: 'word ', times: 100 })).id, {
      assistant_id: t.assistant_id,
      max_completion_tokens: 10,
    }),
  );
  t.equal(
    names(cut).slice(-3),
    ['message.incomplete', 'run.step.completed', 'run.incomplete'],
    'ends where it is too long',
  );
  const part = cut.messageDone[0]?.[0];
  t.equal(
    [part?.status, part?.incomplete_details],
    ['incomplete', { reason: 'max_tokens' }],
    'and says so of the message',
  );
  await t.refused(
    t.runs.stream('thread_none', { assistant_id: t.assistant_id }).done(),
    OpenAI.NotFoundError,
    { status: 404 },
    'an error before it begins is an error as ever',
  );
}

async function isLeft(t) {
  const thread = await t.thread({ pieces: ['a', 'b', 'c'], wait: 0.05 });
  const stream = t.runs.stream(thread.id, { assistant_id: t.assistant_id });
  const run = await new Promise((resolve) => {
    stream.on('textDelta', () => resolve(stream.currentRun()));
  });
  stream.abort();
  await t.refused(stream.done(), OpenAI.APIUserAbortError, {}, 'is left by abort');
  t.equal((await t.until(run, 'completed')).status, 'completed', 'its run goes on');
  t.equal(await t.texts(thread, { run_id: run.id }), ['abc'], 'to the whole text');
}

async function isCancelled(t) {
  const thread = await t.thread({ pieces: Array(400).fill('a'), wait: 0.05 });
  const stream = t.runs.stream(thread.id, { assistant_id: t.assistant_id });
  let asked;
  stream.once('textDelta', () => {
    asked = t.runs.cancel(stream.currentRun().id, { thread_id: thread.id });
  });
  const told = await watched(stream);
  t.equal((await asked).status, 'cancelling', 'is cancelled while it writes');
  t.equal(
    names(told)
      .filter((name) => /^run\.cancel|^message\.in|step\.c/.test(name))
      .slice(-4),
    ['run.cancelling', 'message.incomplete', 'run.step.cancelled', 'run.cancelled'],
    'and tells of it',
  );
  t.matches((await t.texts(thread, { run_id: told.events[0].data.id }))[0], /^a+$/, 'what was written stays');
}

export async function run(t) {
  await tellsOfText(t);
  await goesOn(t, await tellsOfCalls(t));
  await makesThreads(t);
  await isIterated(t);
  await endsOtherwise(t);
  await isLeft(t);
  await isCancelled(t);
}
