import { OpenAI } from './tester.mjs';

const TOOLS = { tools: [{ type: 'file_search' }] };
const CONTENT = 'step_details.tool_calls[*].file_search.results[*].content';
const CALL = { tool_calls: [{ name: 'file_search', arguments: { queries: ['capital France'] }, id: 'call_s' }] };

async function prepare(t) {
  const file = await OpenAI.toFile(Buffer.from('The capital of France is Paris.'), 'france.txt');
  const store = await t.client.vectorStores.create({ name: 'facts' });
  await t.client.vectorStores.files.uploadAndPoll(store.id, file, t.poll);
  return store;
}

async function finds(t, store) {
  const thread = await t.threads.create({
    messages: [{ role: 'user', content: JSON.stringify([CALL, 'Found: $1']) }],
    tool_resources: { file_search: { vector_store_ids: [store.id] } },
  });
  const run = await t.finished(thread, TOOLS);
  t.equal(run.status, 'completed', 'a run searches by itself');
  t.matches(
    (await t.texts(thread, { run_id: run.id }))[0],
    /The capital of France is Paris\./,
    'the model sees what is found',
  );
  return run;
}

async function hasASearchStep(t, run) {
  const where = { thread_id: run.thread_id };
  const [step, message] = (await t.runs.steps.list(run.id, { ...where, order: 'asc' })).data;
  t.equal([step.type, step.status, message.type], ['tool_calls', 'completed', 'message_creation'], 'has a step for it');
  t.shape(step, 'step', 'the step has its fields');
  const [call] = step.step_details.tool_calls;
  t.equal(
    [call.type, call.file_search.results[0]?.file_name],
    ['file_search', 'france.txt'],
    'the step names the file',
  );
  t.equal(call.file_search.results[0]?.content, undefined, 'but not what is in it');
  const asked = await t.runs.steps.retrieve(step.id, { ...where, run_id: run.id, include: [CONTENT] });
  t.equal(
    asked.step_details.tool_calls[0].file_search.results[0]?.content,
    [{ type: 'text', text: 'The capital of France is Paris.' }],
    'unless it is asked for by retrieve',
  );
  const listed = await t.runs.steps.list(run.id, { ...where, order: 'asc', include: [CONTENT] });
  t.equal(listed.data[0], asked, 'or by list');
}

async function isDescribed(t) {
  const file = await t.client.files.create({
    file: await OpenAI.toFile(Buffer.from('The capital of France is Paris.'), 'f.txt'),
    purpose: 'assistants',
  });
  const thread = await t.threads.create({
    messages: [{ role: 'user', content: '["x"]' }],
    tool_resources: { file_search: { vector_stores: [{ file_ids: [file.id] }] } },
  });
  const [id] = thread.tool_resources.file_search.vector_store_ids;
  t.equal((await t.client.vectorStores.retrieve(id)).file_counts.total, 1, 'a thread makes the store it describes');
  await t.client.vectorStores.delete(id);
  await t.client.files.delete(file.id);
}

async function isStreamed(t, store) {
  const stream = t.threads.createAndRunStream({
    assistant_id: t.assistant_id,
    ...TOOLS,
    tool_resources: { file_search: { vector_store_ids: [store.id] } },
    thread: { messages: [{ role: 'user', content: JSON.stringify([CALL, 'Found: $1']) }] },
  });
  const steps = await stream.finalRunSteps();
  t.equal(
    steps.map((step) => [step.type, step.status]),
    [
      ['tool_calls', 'completed'],
      ['message_creation', 'completed'],
    ],
    'is streamed as steps',
  );
  const [call] = steps[0].step_details.tool_calls;
  t.equal([call.type, call.file_search.results[0]?.content], ['file_search', undefined], 'of which one is the search');
  const thread = await t.thread(CALL, 'Found: $1');
  await t.threads.update(thread.id, { tool_resources: { file_search: { vector_store_ids: [store.id] } } });
  const body = { assistant_id: t.assistant_id, ...TOOLS, include: [CONTENT] };
  const [asked] = await t.runs.stream(thread.id, body).finalRunSteps();
  t.equal(
    asked.step_details.tool_calls[0].file_search.results[0]?.content,
    [{ type: 'text', text: 'The capital of France is Paris.' }],
    'and tells what was found where it is asked for',
  );
}

export async function run(t) {
  const store = await prepare(t);
  await hasASearchStep(t, await finds(t, store));
  await isDescribed(t);
  await isStreamed(t, store);
  await t.client.vectorStores.delete(store.id);
}
