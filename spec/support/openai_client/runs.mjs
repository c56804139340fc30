import { OpenAI, gathered, ids, tool } from './tester.mjs';

async function completes(t) {
  const thread = await t.thread('Hello.');
  const made = await t.begin(thread);
  t.shape(made, 'run', 'a run that is queued has its fields');
  t.equal(
    [made.status, made.started_at, made.usage, made.expires_at - made.created_at],
    ['queued', null, null, 600],
    'is queued first, for ten minutes',
  );
  const done = await t.runs.poll(made.id, { thread_id: thread.id }, t.poll);
  t.shape(done, 'run', 'a run that is completed has its fields');
  t.equal(
    [done.status, done.expires_at, done.last_error, done.required_action, done.incomplete_details],
    ['completed', null, null, null, null],
    'poll waits for the end',
  );
  t.ok(done.started_at >= done.created_at && done.completed_at >= done.started_at, 'has its times', done);
  t.equal(done.usage.total_tokens, done.usage.prompt_tokens + done.usage.completion_tokens, 'sums its tokens');
  t.equal(await t.runs.retrieve(done.id, { thread_id: thread.id }), done, 'retrieve shows what poll did');
  t.equal((await t.finished(thread)).status, 'completed', 'createAndPoll waits for the end');
  return done;
}

async function hasSteps(t, done) {
  const { steps } = t.runs;
  const where = { thread_id: done.thread_id, run_id: done.id };
  const { data } = await steps.list(done.id, { thread_id: done.thread_id });
  t.equal(data.length, 1, 'has a step for its message');
  t.shape(data[0], 'step');
  const [message] = (await t.threads.messages.list(done.thread_id, { run_id: done.id })).data;
  t.equal(
    [data[0].type, data[0].status, data[0].step_details],
    ['message_creation', 'completed', { type: 'message_creation', message_creation: { message_id: message.id } }],
    'the step tells of the message',
  );
  t.equal(data[0].usage, done.usage, 'the step has the tokens');
  t.equal(await steps.retrieve(data[0].id, where), data[0], 'a step is retrieved as it is listed');
  await t.refused(
    steps.retrieve('step_123', where),
    OpenAI.NotFoundError,
    { message: "404 No run step found with id 'step_123'.", type: 'invalid_request_error', param: null, code: null },
    'a step that is not there is not found',
  );
}

async function isChangedAndListed(t, done) {
  const where = { thread_id: done.thread_id };
  const changed = await t.runs.update(done.id, { ...where, metadata: { k: 'v' } });
  t.equal(changed, { ...done, metadata: { k: 'v' } }, 'update changes metadata');
  const third = await t.finished({ id: done.thread_id });
  const all = ids(await gathered(t.runs.list(done.thread_id, { limit: 1, order: 'asc' })));
  t.equal([all.length, all[0], all[2]], [3, done.id, third.id], 'runs are listed, page by page');
  t.equal(ids((await t.runs.list(done.thread_id)).data), [...all].reverse(), 'newest first');
  t.equal(
    ids((await t.runs.list(done.thread_id, { order: 'asc', after: all[0], before: all[2] })).data),
    [all[1]],
    'between cursors',
  );
}

async function takesParameters(t) {
  const thread = await t.thread('Hello.');
  const body = {
    model: 'other',
    instructions: 'Be kind.',
    additional_instructions: 'And brief.',
    metadata: { a: 'b' },
    temperature: 0.25,
    top_p: 0.5,
    max_prompt_tokens: 5000,
    max_completion_tokens: 500,
    tool_choice: 'none',
    tools: [tool('look')],
    truncation_strategy: { type: 'last_messages', last_messages: 3 },
    parallel_tool_calls: false,
    response_format: { type: 'text' },
  };
  const done = await t.finished(thread, { ...body, additional_messages: [{ role: 'user', content: '["More."]' }] });
  const { instructions, additional_instructions: more, tools, ...same } = body;
  for (const [name, value] of Object.entries(same)) t.equal(done[name], value, `takes ${name}`);
  t.equal(done.instructions, `${instructions}\n${more}`, 'adds instructions');
  t.equal(done.tools[0].function, { ...tools[0].function, strict: false }, 'takes tools');
  t.equal(await t.texts(thread), ['["Hello."]', '["More."]', 'More.'], 'adds messages');
  const chosen = { type: 'function', function: { name: 'look' } };
  t.equal(
    (await t.finished(thread, { tools, tool_choice: chosen })).tool_choice,
    chosen,
    'takes the choice of a function',
  );
}

async function hasTheAssistants(t) {
  const made = await t.client.beta.assistants.create({
    model: 'm',
    instructions: 'I am.',
    temperature: 0.5,
    tools: [tool('look')],
    metadata: { not: 'inherited' },
  });
  const run = await t.finished(await t.thread('x'), { assistant_id: made.id });
  t.equal(
    [run.assistant_id, run.model, run.instructions, run.temperature, run.tools, run.metadata],
    [made.id, 'm', 'I am.', 0.5, made.tools, {}],
    'has what its assistant has',
  );
  await t.client.beta.assistants.delete(made.id);
}

async function fails(t) {
  const run = await t.finished(await t.thread({ fail: { code: 'rate_limit_exceeded', message: 'quota' } }));
  t.shape(run, 'run', 'a run that failed has its fields');
  t.equal(
    [run.status, run.last_error],
    ['failed', { code: 'rate_limit_exceeded', message: 'quota' }],
    "says the model's error",
  );
  t.ok(run.failed_at >= run.created_at && run.completed_at === null, 'says when it failed', run);
  const other = await t.finished(await t.thread({ fail: 'broken' }));
  t.equal(other.last_error, { code: 'server_error', message: 'broken' }, 'an error without a code is a server error');
}

async function isIncomplete(t) {
  const long = await t.finished(await t.thread({ text: 'word ', times: 200 }), { max_completion_tokens: 10 });
  t.equal(
    [long.status, long.incomplete_details],
    ['incomplete', { reason: 'max_completion_tokens' }],
    'may write no more than max_completion_tokens',
  );
  t.equal(long.usage.completion_tokens <= 10, true, 'counts no more than that');
  const [text] = await t.texts({ id: long.thread_id }, { run_id: long.id });
  t.ok(text.length > 0 && text.length < 100, 'keeps what was written', text);
  const thread = await t.thread('x'.repeat(4000));
  const wide = await t.finished(thread, { max_prompt_tokens: 256 });
  t.equal(
    [wide.status, wide.incomplete_details],
    ['incomplete', { reason: 'max_prompt_tokens' }],
    'may read no more than max_prompt_tokens',
  );
}

async function isCancelled(t) {
  const thread = await t.thread({ wait: 20, text: 'never' });
  const where = { thread_id: thread.id };
  const queued = await t.begin(thread);
  const cancelling = await t.runs.cancel(queued.id, where);
  t.equal(cancelling.status, 'cancelling', 'cancel begins at once');
  const first = await t.runs.poll(queued.id, where, t.poll);
  t.equal(
    [first.status, first.expires_at, first.completed_at],
    ['cancelled', null, null],
    'is cancelled while it is young',
  );
  t.ok(first.cancelled_at >= first.created_at, 'says when it was cancelled', first);
  const thinking = await t.until(await t.begin(thread), 'in_progress');
  await t.runs.cancel(thinking.id, where);
  t.equal((await t.runs.poll(thinking.id, where, t.poll)).status, 'cancelled', 'is cancelled while the model thinks');
  await t.refused(
    t.runs.cancel(thinking.id, where),
    OpenAI.BadRequestError,
    { status: 400, message: "400 Cannot cancel run with status 'cancelled'." },
    'is not cancelled twice',
  );
  t.equal(await t.texts(thread), [JSON.stringify([{ wait: 20, text: 'never' }])], 'writes nothing any more');
  await t.ask(thread, 'Again.');
  t.equal((await t.finished(thread)).status, 'completed', 'leaves the thread to the next');
}

export async function run(t) {
  const done = await completes(t);
  await hasSteps(t, done);
  await isChangedAndListed(t, done);
  await takesParameters(t);
  await hasTheAssistants(t);
  await fails(t);
  await isIncomplete(t);
  await isCancelled(t);
}
