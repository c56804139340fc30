import { OpenAI, gathered, ids } from './tester.mjs';

const text = (value) => ({ type: 'text', text: { value, annotations: [] } });

async function isMade(t, thread) {
  const { messages } = t.threads;
  const plain = await messages.create(thread.id, { role: 'user', content: 'Grüße, 世界 🌍' });
  t.shape(plain, 'message');
  t.equal(plain.content, [text('Grüße, 世界 🌍')], 'has its text as a part');
  t.equal(
    [plain.thread_id, plain.assistant_id, plain.run_id, plain.attachments],
    [thread.id, null, null, []],
    'says whose it is',
  );
  const image = { type: 'image_url', image_url: { url: 'https://example.com/a.png', detail: 'low' } };
  const parts = await messages.create(thread.id, {
    role: 'user',
    content: [{ type: 'text', text: 'look' }, image],
    metadata: { k: 'v' },
  });
  t.equal(parts.content, [text('look'), image], 'has parts of several types');
  const attached = await messages.create(thread.id, {
    role: 'assistant',
    content: 'x',
    attachments: [{ file_id: 'file-x', tools: [{ type: 'code_interpreter' }] }],
  });
  t.equal(attached.attachments, [{ file_id: 'file-x', tools: [{ type: 'code_interpreter' }] }], 'has attachments');
  t.equal(attached.role, 'assistant', "may be an assistant's");
  return plain;
}

async function isChanged(t, made) {
  const { messages } = t.threads;
  const where = { thread_id: made.thread_id };
  t.equal(await messages.retrieve(made.id, where), made, 'retrieve shows what create did');
  const changed = await messages.update(made.id, { ...where, metadata: { a: 'b' } });
  t.equal(changed, { ...made, metadata: { a: 'b' } }, 'update changes metadata');
  t.equal(await messages.retrieve(made.id, where), changed, 'an update stays');
}

async function isDeleted(t, made) {
  const { messages } = t.threads;
  const where = { thread_id: made.thread_id };
  t.equal(
    await messages.delete(made.id, where),
    { id: made.id, object: 'thread.message.deleted', deleted: true },
    'delete says what is deleted',
  );
  const missing = { status: 404, message: `404 No message found with id '${made.id}'.` };
  await t.refused(messages.retrieve(made.id, where), OpenAI.NotFoundError, missing, 'what is deleted is not found');
  await t.refused(messages.delete(made.id, where), OpenAI.NotFoundError, missing, 'nor deleted again');
}

async function isListed(t) {
  const { messages } = t.threads;
  const thread = await t.threads.create();
  const made = [];
  for (let index = 0; index < 25; index += 1) {
    made.push((await messages.create(thread.id, { role: 'user', content: `no. ${index}` })).id);
  }
  const newest = await messages.list(thread.id);
  t.equal(ids(newest.data), made.slice(5).reverse(), 'the newest 20 come first');
  t.equal(ids(await gathered(messages.list(thread.id, { limit: 7 }))), [...made].reverse(), 'all, newest first');
  t.equal(ids(await gathered(messages.list(thread.id, { limit: 7, order: 'asc' }))), made, 'all, oldest first');
  t.equal((await messages.list(thread.id, { limit: 100 })).data.length, 25, 'a hundred at once');
  await betweenCursors(t, thread, made);
  await t.threads.delete(thread.id);
}

async function betweenCursors(t, thread, made) {
  const list = async (query) => ids((await t.threads.messages.list(thread.id, query)).data);
  t.equal(await list({ order: 'asc', after: made[20] }), made.slice(21), 'those after one');
  t.equal(await list({ order: 'asc', before: made[4] }), made.slice(0, 4), 'those before one');
  t.equal(await list({ order: 'desc', after: made[3] }), made.slice(0, 3).reverse(), 'those after one, newest first');
  t.equal(await list({ order: 'desc', before: made[22] }), made.slice(23).reverse(), 'those before one, newest first');
  t.equal(await list({ order: 'asc', after: made[2], before: made[6] }), made.slice(3, 6), 'those between two');
  await t.refused(list({ after: 'msg_none' }), OpenAI.NotFoundError, { status: 404 }, 'a cursor must be there');
}

async function isOfARun(t) {
  const thread = await t.thread('first');
  const first = await t.finished(thread);
  await t.ask(thread, 'second');
  const second = await t.finished(thread);
  t.equal(await t.texts(thread, { run_id: first.id }), ['first'], "a run's alone");
  t.equal(await t.texts(thread, { run_id: second.id }), ['second'], "and another's");
  const [message] = (await t.threads.messages.list(thread.id, { run_id: second.id })).data;
  t.shape(message, 'message', "a run's message has a message's fields");
  t.equal(
    [message.role, message.assistant_id, message.run_id],
    ['assistant', t.assistant_id, second.id],
    'says which run wrote it',
  );
}

export async function run(t) {
  const thread = await t.threads.create();
  const made = await isMade(t, thread);
  await isChanged(t, made);
  await isDeleted(t, made);
  await t.threads.delete(thread.id);
  await isListed(t);
  await isOfARun(t);
}
