import { OpenAI, ids, tool } from './tester.mjs';

async function isMadeEmpty(t) {
  const made = await t.threads.create();
  t.shape(made, 'thread');
  t.equal([made.metadata, made.tool_resources], [{}, {}], 'has nothing but itself');
  t.equal((await t.threads.messages.list(made.id)).data, [], 'has no messages');
  return made;
}

async function isMadeWithAll(t) {
  const content = [
    { type: 'text', text: 'one' },
    { type: 'text', text: 'two' },
  ];
  const made = await t.threads.create({
    messages: [
      { role: 'user', content: 'zero', metadata: { no: '0' } },
      { role: 'assistant', content },
    ],
    metadata: { k: 'v' },
    tool_resources: { code_interpreter: { file_ids: [] } },
  });
  t.equal(made.metadata, { k: 'v' }, 'keeps metadata');
  t.equal(made.tool_resources, { code_interpreter: { file_ids: [] } }, 'keeps tool_resources');
  const { data } = await t.threads.messages.list(made.id, { order: 'asc' });
  t.equal(
    data.map((message) => message.role),
    ['user', 'assistant'],
    'takes messages, in order',
  );
  t.equal(
    data[1].content.map((part) => part.text.value),
    ['one', 'two'],
    'takes messages of parts',
  );
  t.equal(data[0].metadata, { no: '0' }, "takes messages' metadata");
  return made;
}

async function isChanged(t, made) {
  t.equal(await t.threads.retrieve(made.id), made, 'retrieve shows what create did');
  const changed = await t.threads.update(made.id, { metadata: { k: 'w', x: 'y' } });
  t.equal(changed, { ...made, metadata: { k: 'w', x: 'y' } }, 'update changes metadata');
  const resources = { file_search: { vector_store_ids: [] } };
  t.equal(
    (await t.threads.update(made.id, { tool_resources: resources })).tool_resources,
    resources,
    'update changes tool_resources',
  );
  t.equal((await t.threads.retrieve(made.id)).metadata, { k: 'w', x: 'y' }, 'an update stays');
}

async function isDeleted(t, made) {
  const gone = await t.threads.delete(made.id);
  t.equal(gone, { id: made.id, object: 'thread.deleted', deleted: true }, 'delete says what is deleted');
  const missing = { status: 404, message: `404 No thread found with id '${made.id}'.` };
  for (const [name, ask] of Object.entries({
    retrieve: () => t.threads.retrieve(made.id),
    update: () => t.threads.update(made.id, {}),
    delete: () => t.threads.delete(made.id),
    'messages.list': () => t.threads.messages.list(made.id),
    'messages.create': () => t.threads.messages.create(made.id, { role: 'user', content: 'x' }),
    'runs.list': () => t.runs.list(made.id),
    'runs.create': () => t.begin(made),
  })) {
    await t.refused(ask(), OpenAI.NotFoundError, missing, `${name} finds no thread that is deleted`);
  }
}

async function isMadeWithARun(t) {
  const body = {
    assistant_id: t.assistant_id,
    thread: { messages: [{ role: 'user', content: '["Hi."]' }], metadata: { k: 'v' } },
    instructions: 'Be kind.',
    metadata: { a: 'b' },
    tools: [tool('look')],
    temperature: 0.5,
  };
  const run = await t.threads.createAndRun(body);
  t.shape(run, 'run', 'createAndRun returns a run');
  t.equal(
    [run.status, run.instructions, run.metadata, run.temperature],
    ['queued', 'Be kind.', { a: 'b' }, 0.5],
    'createAndRun takes what a run takes',
  );
  t.equal((await t.threads.retrieve(run.thread_id)).metadata, { k: 'v' }, 'createAndRun makes the thread');
  await t.until(run, 'completed');
  t.equal(await t.texts({ id: run.thread_id }), ['["Hi."]', 'Hi.'], 'the model answers the thread made with the run');
  const polled = await t.threads.createAndRunPoll(body, t.poll);
  t.equal(polled.status, 'completed', 'createAndRunPoll waits for the end');
  t.equal(ids((await t.runs.list(polled.thread_id)).data), [polled.id], 'the thread has the run');
  const bare = await t.threads.createAndRunPoll({ assistant_id: t.assistant_id }, t.poll);
  t.ok(['completed', 'failed'].includes(bare.status), 'createAndRun needs no thread', bare);
}

export async function run(t) {
  await isDeleted(t, await isMadeEmpty(t));
  const made = await isMadeWithAll(t);
  await isChanged(t, made);
  await t.threads.delete(made.id);
  await isMadeWithARun(t);
}
