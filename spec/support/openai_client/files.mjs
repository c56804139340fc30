import { createHash } from 'node:crypto';
import { OpenAI, gathered, ids } from './tester.mjs';

const { toFile } = OpenAI;

async function goUpAndDown(t) {
  const { files } = t.client;
  const bytes = Buffer.from([0, 1, 2, 255, 13, 10, ...Buffer.from('Grüße\r\n--x\r\n')]);
  const made = await files.create({ file: await toFile(bytes, 'Grüße "1".bin'), purpose: 'assistants' });
  t.shape(made, 'file');
  t.equal(
    [made.filename, made.bytes, made.purpose, made.status],
    ['Grüße "1".bin', bytes.length, 'assistants', 'processed'],
    'has its name, size and purpose',
  );
  t.equal(await files.retrieve(made.id), made, 'retrieve shows what create did');
  const back = Buffer.from(await (await files.content(made.id)).arrayBuffer());
  t.ok(back.equals(bytes), 'comes back as it was', back);
  t.equal(await files.waitForProcessing(made.id, { pollInterval: 5 }), made, 'waitForProcessing waits');
  const short = await files.create({
    file: await toFile(Buffer.from('x'), 'x.txt'),
    purpose: 'assistants',
    expires_after: { anchor: 'created_at', seconds: 3600 },
  });
  t.equal(short.expires_at - short.created_at, 3600, 'expires after the time given');
  return [made, short];
}

async function areListed(t, [first, second]) {
  const { files } = t.client;
  const mine = (items) => ids(items).filter((id) => id === first.id || id === second.id);
  t.equal(
    mine(await gathered(files.list({ order: 'asc', limit: 1 }))),
    [first.id, second.id],
    'are listed, oldest first',
  );
  t.equal(mine(await gathered(files.list({ limit: 1 }))), [second.id, first.id], 'are listed, newest first');
  t.equal(mine(await gathered(files.list({ purpose: 'batch' }))), [], 'are listed by purpose');
}

async function areRefused(t) {
  const { files } = t.client;
  const missing = { status: 404, message: '404 No such File object: file-none', param: 'id' };
  await t.refused(files.retrieve('file-none'), OpenAI.NotFoundError, missing, 'are not found where they are not there');
  await t.refused(files.content('file-none'), OpenAI.NotFoundError, missing, 'nor their content');
  await t.refused(files.delete('file-none'), OpenAI.NotFoundError, missing, 'nor deleted');
  const file = await toFile(Buffer.from('x'), 'x.txt');
  await t.refused(
    files.create({ file, purpose: 'fun' }),
    OpenAI.BadRequestError,
    { param: 'purpose', code: 'invalid_value' },
    'are refused for a purpose there is not',
  );
}

async function areDeleted(t, made) {
  for (const { id } of made) {
    t.equal(await t.client.files.delete(id), { id, object: 'file', deleted: true }, 'delete says what is deleted');
    await t.refused(t.client.files.retrieve(id), OpenAI.NotFoundError, { status: 404 }, 'what is deleted is not found');
  }
}

async function goUpInParts(t) {
  const { uploads, files } = t.client;
  const parts = [Buffer.from('one '), Buffer.from('two')];
  const upload = await uploads.create({
    filename: 'parts.txt',
    purpose: 'assistants',
    bytes: 7,
    mime_type: 'text/plain',
  });
  t.shape(upload, 'upload');
  t.equal(
    [upload.status, upload.expires_at - upload.created_at],
    ['pending', 3600],
    'an upload is pending for an hour',
  );
  const sent = await Promise.all(parts.map((data) => uploads.parts.create(upload.id, { data: new Blob([data]) })));
  t.shape(sent[0], 'part');
  const done = await uploads.complete(upload.id, {
    part_ids: ids(sent),
    md5: createHash('md5').update(Buffer.concat(parts)).digest('hex'),
  });
  t.shape(done.file, 'file', "an upload's file has its fields");
  t.equal(
    [done.status, done.file.filename, done.file.bytes],
    ['completed', 'parts.txt', 7],
    'an upload becomes a file',
  );
  t.equal(await (await files.content(done.file.id)).text(), 'one two', 'of its parts in the order named');
  await t.refused(uploads.cancel(upload.id), OpenAI.BadRequestError, { status: 400 }, 'is not cancelled afterwards');
  await files.delete(done.file.id);
}

async function stopGoingUp(t) {
  const { uploads } = t.client;
  const upload = await uploads.create({ filename: 'x.txt', purpose: 'assistants', bytes: 7, mime_type: 'text/plain' });
  const part = await uploads.parts.create(upload.id, { data: new Blob(['x']) });
  await t.refused(
    uploads.complete(upload.id, { part_ids: [part.id] }),
    OpenAI.BadRequestError,
    { status: 400, message: /1 bytes together/ },
    'an upload has the bytes that were announced',
  );
  await t.refused(
    uploads.complete(upload.id, { part_ids: ['part_none'] }),
    OpenAI.BadRequestError,
    { status: 400, param: 'part_ids' },
    'and parts that are its own',
  );
  t.equal((await uploads.cancel(upload.id)).status, 'cancelled', 'an upload is cancelled');
  await t.refused(
    uploads.parts.create(upload.id, { data: new Blob(['x']) }),
    OpenAI.BadRequestError,
    { status: 400 },
    'and takes no more parts',
  );
}

export async function run(t) {
  const made = await goUpAndDown(t);
  await areListed(t, made);
  await areRefused(t);
  await areDeleted(t, made);
  await goUpInParts(t);
  await stopGoingUp(t);
}
