import { OpenAI, gathered, ids } from './tester.mjs';

const { toFile } = OpenAI;
const named = (name, text) => toFile(Buffer.from(text), name);

async function areMade(t) {
  const stores = t.client.vectorStores;
  const made = await stores.create({
    name: 'facts',
    metadata: { k: 'v' },
    expires_after: { anchor: 'last_active_at', days: 2 },
  });
  t.shape(made, 'vector store');
  t.equal(
    [made.name, made.metadata, made.status, made.expires_at - made.last_active_at],
    ['facts', { k: 'v' }, 'completed', 2 * 24 * 3600],
    'have what they were given',
  );
  t.equal(await stores.retrieve(made.id), made, 'retrieve shows what create did');
  const changed = await stores.update(made.id, { name: 'truths', expires_after: null, metadata: { a: 'b' } });
  t.equal(
    [changed.name, changed.expires_after, changed.expires_at, changed.metadata],
    ['truths', null, null, { a: 'b' }],
    'update changes them',
  );
  const other = await stores.create({});
  t.equal(
    ids(await gathered(stores.list({ limit: 1 }))).filter((id) => [made.id, other.id].includes(id)),
    [other.id, made.id],
    'are listed, newest first',
  );
  t.equal(
    await stores.delete(other.id),
    { id: other.id, object: 'vector_store.deleted', deleted: true },
    'delete says what is deleted',
  );
  await t.refused(stores.retrieve(other.id), OpenAI.NotFoundError, { status: 404 }, 'what is deleted is not found');
  return made;
}

async function takeFiles(t, store) {
  const { files } = t.client.vectorStores;
  const source = await t.client.files.create({
    file: await named('sea.txt', 'The sea is blue and deep.'),
    purpose: 'assistants',
  });
  const body = { file_id: source.id, attributes: { topic: 'sea', depth: 3 } };
  const added = await files.createAndPoll(store.id, body, t.poll);
  t.shape(added, "vector store's file");
  t.equal(
    [added.id, added.status, added.attributes, added.last_error],
    [source.id, 'completed', body.attributes, null],
    'createAndPoll waits until a file is searchable',
  );
  const where = { vector_store_id: store.id };
  t.equal(await files.retrieve(source.id, where), added, 'retrieve shows a file');
  t.equal(
    (await files.update(source.id, { ...where, attributes: { topic: 'ocean' } })).attributes,
    { topic: 'ocean' },
    "update changes a file's attributes",
  );
  const content = await files.content(source.id, where);
  t.equal(content.data, [{ type: 'text', text: 'The sea is blue and deep.' }], 'content shows its text');
  const uploaded = await files.uploadAndPoll(store.id, await named('sky.txt', 'The sky is blue and wide.'), t.poll);
  t.equal(uploaded.status, 'completed', 'uploadAndPoll uploads and waits');
  const begun = await files.upload(store.id, await named('sun.txt', 'The sun is hot.'));
  t.equal((await files.poll(store.id, begun.id, t.poll)).status, 'completed', 'poll waits');
  return [source.id, uploaded.id, begun.id];
}

async function listFiles(t, store, made) {
  const { files } = t.client.vectorStores;
  t.equal(ids(await gathered(files.list(store.id, { limit: 2, order: 'asc' }))), made, 'list files, page by page');
  t.equal(ids((await files.list(store.id, { filter: 'failed' })).data), [], 'list them by status');
  const { file_counts: counts } = await t.client.vectorStores.retrieve(store.id);
  t.equal(counts, { in_progress: 0, completed: 3, failed: 0, cancelled: 0, total: 3 }, 'count them');
  const odd = await files.uploadAndPoll(store.id, await toFile(Buffer.from([0, 255, 0]), 'odd.bin'), t.poll);
  t.equal([odd.status, odd.last_error?.code], ['failed', 'unsupported_file'], 'say which file they cannot read');
  t.equal(ids((await files.list(store.id, { filter: 'failed' })).data), [odd.id], 'and list it');
  t.equal(
    await files.delete(odd.id, { vector_store_id: store.id }),
    { id: odd.id, object: 'vector_store.file.deleted', deleted: true },
    'take files out',
  );
  await t.refused(
    files.retrieve(odd.id, { vector_store_id: store.id }),
    OpenAI.NotFoundError,
    { status: 404 },
    'what is taken out is not found',
  );
  await t.client.files.delete(odd.id);
}

async function takeBatches(t, store, made) {
  const { fileBatches } = t.client.vectorStores;
  const other = await t.client.vectorStores.create({});
  const batch = await fileBatches.createAndPoll(other.id, { file_ids: made.slice(0, 2) }, t.poll);
  t.shape(batch, 'batch');
  t.equal(
    [batch.status, batch.file_counts.completed, batch.file_counts.total],
    ['completed', 2, 2],
    'createAndPoll waits for all files of a batch',
  );
  const where = { vector_store_id: other.id };
  t.equal(await fileBatches.retrieve(batch.id, where), batch, 'retrieve shows a batch');
  t.equal(
    ids(await gathered(fileBatches.listFiles(batch.id, { ...where, limit: 1, order: 'asc' }))),
    made.slice(0, 2),
    "list a batch's files",
  );
  const uploaded = await fileBatches.uploadAndPoll(
    other.id,
    { files: [await named('a.txt', 'alpha'), await named('b.txt', 'beta')], fileIds: [made[2]] },
    t.poll,
  );
  t.equal([uploaded.status, uploaded.file_counts.completed], ['completed', 3], 'uploadAndPoll uploads a batch');
  const begun = await fileBatches.create(other.id, { files: [{ file_id: made[0], attributes: { n: 1 } }] });
  t.equal((await fileBatches.poll(other.id, begun.id, t.poll)).status, 'completed', 'poll waits for a batch');
  const young = await fileBatches.create(other.id, { file_ids: made });
  const cancelled = await fileBatches.cancel(young.id, where);
  t.ok(['cancelled', 'cancelling', 'completed'].includes(cancelled.status), 'cancel ends a batch', cancelled);
  await t.client.vectorStores.delete(other.id);
}

async function areSearched(t, store) {
  const search = (body) => t.client.vectorStores.search(store.id, body);
  const found = await search({ query: 'deep sea' });
  t.equal(found.data[0]?.filename, 'sea.txt', 'search finds what fits best first');
  t.shape(found.data[0], 'found chunk');
  t.ok(
    found.data.every((item) => item.score >= 0 && item.score <= 1),
    'scores are between 0 and 1',
    found.data,
  );
  t.equal(
    (await search({ query: 'blue', max_num_results: 1 })).data.length,
    1,
    'search finds as many as were asked for',
  );
  const filters = { type: 'eq', key: 'topic', value: 'ocean' };
  t.equal(
    (await search({ query: 'blue', filters })).data.map((item) => item.filename),
    ['sea.txt'],
    'search keeps to what a filter says',
  );
  const both = { type: 'and', filters: [filters, { type: 'ne', key: 'topic', value: 'ocean' }] };
  t.equal((await search({ query: 'blue', filters: both })).data, [], 'search keeps to filters that are joined');
  t.equal(
    (await search({ query: ['sea', 'sun'] })).data
      .map((item) => item.filename)
      .sort()
      .slice(-2),
    ['sea.txt', 'sun.txt'],
    'search takes several queries',
  );
  await t.refused(
    search({}),
    OpenAI.BadRequestError,
    { param: 'query', code: 'missing_required_parameter' },
    'search needs a query',
  );
}

export async function run(t) {
  const store = await areMade(t);
  const made = await takeFiles(t, store);
  await listFiles(t, store, made);
  await takeBatches(t, store, made);
  await areSearched(t, store);
  await t.client.files.delete(made[0]);
  t.equal(
    (await t.client.vectorStores.retrieve(store.id)).file_counts.total,
    2,
    'a file that is deleted goes from them',
  );
  await t.client.vectorStores.delete(store.id);
}
