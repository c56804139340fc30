import { OpenAI, gathered, ids, tool } from './tester.mjs';

const FULL = {
  model: 'gpt-4o',
  name: 'Ada',
  description: 'answers',
  instructions: 'Be brief.',
  metadata: { team: 'blue' },
  tools: [tool('look')],
  temperature: 0.5,
  top_p: 0.25,
  response_format: { type: 'json_object' },
  reasoning_effort: 'low',
};

async function createsAndChanges(t, assistants) {
  const made = await assistants.create(FULL);
  t.shape(made, 'assistant');
  for (const name of Object.keys(FULL).filter((key) => key !== 'tools'))
    t.equal(made[name], FULL[name], `keeps ${name}`);
  t.equal(made.tools[0].function, { ...FULL.tools[0].function, strict: false }, 'says that a function is not strict');
  t.equal(await assistants.retrieve(made.id), made, 'retrieve shows what create did');
  const changed = await assistants.update(made.id, { name: 'Eve', description: null, metadata: { a: 'b' } });
  t.equal(changed, { ...made, name: 'Eve', description: null, metadata: { a: 'b' } }, 'update changes what it names');
  t.equal(await assistants.retrieve(made.id), changed, 'an update stays');
  t.equal((await assistants.update(made.id, { tools: [] })).tools, [], 'update takes tools away');
  return made;
}

async function hasDefaults(t, assistants) {
  const made = await assistants.create({ model: 'm' });
  t.equal(
    made,
    {
      id: made.id,
      object: 'assistant',
      created_at: made.created_at,
      name: null,
      description: null,
      model: 'm',
      instructions: null,
      tools: [],
      tool_resources: {},
      metadata: {},
      temperature: 1,
      top_p: 1,
      reasoning_effort: null,
      response_format: 'auto',
    },
    'has the defaults of the API',
  );
  const coder = await assistants.create({ model: 'm', tools: [{ type: 'code_interpreter' }] });
  t.equal(coder.tool_resources, { code_interpreter: { file_ids: [] } }, 'has files for its code, if none');
  return [made, coder];
}

async function isListed(t, assistants) {
  const made = [];
  for (let index = 0; index < 5; index += 1) made.push(await assistants.create({ model: 'm', name: `no. ${index}` }));
  const mine = ids(made);
  const before = (await assistants.list({ order: 'asc', limit: 1 })).data[0].id;
  const ascending = ids(await gathered(assistants.list({ order: 'asc', limit: 2, after: before })));
  t.equal(
    ascending.filter((id) => mine.includes(id)),
    mine,
    'list pages by itself, oldest first',
  );
  const descending = ids(await gathered(assistants.list({ order: 'desc', limit: 2 })));
  t.equal(
    descending.filter((id) => mine.includes(id)),
    [...mine].reverse(),
    'list pages by itself, newest first',
  );
  t.equal(new Set(descending).size, descending.length, 'no page repeats another');
  await pages(t, assistants, mine);
  return made;
}

async function pages(t, assistants, mine) {
  const page = await assistants.list({ order: 'asc', limit: 2, after: mine[0] });
  t.equal(ids(page.data), mine.slice(1, 3), 'a page has as many as were asked for, behind the one named');
  t.equal([page.has_more, page.hasNextPage()], [true, true], 'a page says that there are more');
  const whole = await (await assistants.list({ order: 'asc', limit: 2, after: mine[0] }).asResponse()).json();
  t.shape(whole, 'page');
  t.equal([whole.first_id, whole.last_id], [mine[1], mine[2]], 'a page names its first and its last');
  t.equal(ids((await page.getNextPage()).data).slice(0, 2), mine.slice(3, 5), 'the next page goes on');
  const back = await assistants.list({ order: 'asc', limit: 2, before: mine[3] });
  t.equal(ids(back.data), mine.slice(1, 3), 'a page may end before the one named');
  const { data } = await assistants.list({ order: 'asc', limit: 1, after: mine[4] });
  t.ok(!data.some((item) => mine.includes(item.id)), 'nothing is behind the last', data);
}

async function isDeleted(t, assistants, made) {
  const gone = await assistants.delete(made.id);
  t.equal(gone, { id: made.id, object: 'assistant.deleted', deleted: true }, 'delete says what is deleted');
  const missing = {
    status: 404,
    message: `404 No assistant found with id '${made.id}'.`,
    type: 'invalid_request_error',
  };
  await t.refused(assistants.retrieve(made.id), OpenAI.NotFoundError, missing, 'what is deleted is not found');
  await t.refused(assistants.delete(made.id), OpenAI.NotFoundError, missing, 'nor deleted again');
}

export async function run(t) {
  const { assistants } = t.client.beta;
  const first = await createsAndChanges(t, assistants);
  const others = [...(await hasDefaults(t, assistants)), ...(await isListed(t, assistants))];
  await isDeleted(t, assistants, first);
  for (const other of others) await assistants.delete(other.id);
}
