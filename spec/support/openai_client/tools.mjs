import { OpenAI, called, output, tool } from './tester.mjs';

const TOOLS = { tools: ['a', 'b', 'c'].map(tool) };

async function calls(t) {
  const thread = await t.thread(called('a', 'b'), 'a: $1, b: $2');
  const waiting = await t.finished(thread, TOOLS);
  t.equal(waiting.status, 'requires_action', 'createAndPoll returns a run that waits for outputs');
  t.shape(waiting, 'run', 'a run that waits has its fields');
  t.shape(waiting.required_action, 'required action');
  const asked = waiting.required_action.submit_tool_outputs.tool_calls;
  t.equal(
    asked.map((call) => call.function.name),
    ['a', 'b'],
    'asks for several calls at once',
  );
  t.equal(JSON.parse(asked[0].function.arguments), { of: 'a' }, 'has their arguments as JSON');
  const [step] = (await t.runs.steps.list(waiting.id, { thread_id: thread.id })).data;
  t.shape(step, 'step', 'a step of calls has its fields');
  t.equal(
    [step.type, step.status, step.step_details.tool_calls.map((call) => call.function.output)],
    ['tool_calls', 'in_progress', [null, null]],
    'the step waits, too',
  );
  return { thread, waiting };
}

async function takesOutputs(t, { thread, waiting }) {
  const where = { thread_id: thread.id };
  const queued = await t.runs.submitToolOutputs(waiting.id, {
    ...where,
    tool_outputs: [output('b', '2'), output('a', '1')],
  });
  t.equal([queued.status, queued.required_action], ['queued', null], 'is queued again with the outputs, in any order');
  const done = await t.runs.poll(queued.id, where, t.poll);
  t.equal(done.status, 'completed', 'goes on with the outputs');
  t.equal(await t.texts(thread, { run_id: done.id }), ['a: 1, b: 2'], 'the model sees the outputs');
  const { data } = await t.runs.steps.list(done.id, { ...where, order: 'asc' });
  t.equal(
    data.map((step) => [step.type, step.status]),
    [
      ['tool_calls', 'completed'],
      ['message_creation', 'completed'],
    ],
    'has a step for the calls and one for the message',
  );
  t.equal(
    data[0].step_details.tool_calls.map((call) => call.function.output),
    ['1', '2'],
    'the step keeps the outputs',
  );
  const sum = (name) => data[0].usage[name] + data[1].usage[name];
  t.equal(
    [sum('prompt_tokens'), sum('completion_tokens')],
    [done.usage.prompt_tokens, done.usage.completion_tokens],
    'sums the tokens of its steps',
  );
}

async function goesRounds(t) {
  const thread = await t.thread(called('a'), called('b', 'c'), '$1 $2 $3');
  const first = await t.finished(thread, TOOLS);
  const where = { thread_id: thread.id };
  const second = await t.runs.submitToolOutputsAndPoll(
    first.id,
    { ...where, tool_outputs: [output('a', 'x')] },
    t.poll,
  );
  t.equal(
    [second.id, second.status],
    [first.id, 'requires_action'],
    'submitToolOutputsAndPoll returns at the next round',
  );
  const third = await t.runs.submitToolOutputsAndPoll(
    first.id,
    { ...where, tool_outputs: [output('b', 'y'), output('c', 'z')] },
    t.poll,
  );
  t.equal(third.status, 'completed', 'submitToolOutputsAndPoll waits for the end');
  t.equal(await t.texts(thread, { run_id: third.id }), ['x y z'], 'all outputs of all rounds are seen');
}

async function refusesOutputs(t) {
  const thread = await t.thread(called('a', 'b'), 'ok');
  const waiting = await t.finished(thread, TOOLS);
  const submit = (...tool_outputs) => t.runs.submitToolOutputs(waiting.id, { thread_id: thread.id, tool_outputs });
  const refuse = (promise, message, name) =>
    t.refused(promise, OpenAI.BadRequestError, { status: 400, type: 'invalid_request_error', message }, name);
  await refuse(
    submit(output('a', 'x')),
    /Expected tool outputs for call_ids \['call_a', 'call_b'\], got \['call_a'\]/,
    'all outputs must come at once',
  );
  await refuse(submit(), /got \[\]/, 'none is too few');
  await refuse(submit(output('a', 'x'), output('a', 'y')), /got \['call_a', 'call_a'\]/, 'none may come twice');
  await refuse(submit(output('a', 'x'), output('z', 'y')), /got \['call_a', 'call_z'\]/, 'none of another call');
  await refuse(
    submit(output('a', 'x'.repeat(300 * 1024)), output('b', 'x'.repeat(300 * 1024))),
    /too large/,
    'together they are under 512 kB',
  );
  await refuse(
    submit(output('a', 7), output('b', 'x')),
    /Invalid type for 'tool_outputs\[0\]\.output'/,
    'they are texts',
  );
  await refuse(
    submit({ output: 'x' }),
    /Missing required parameter: 'tool_outputs\[0\]\.tool_call_id'/,
    'they name calls',
  );
  t.equal((await t.until(waiting, 'requires_action')).status, 'requires_action', 'the run waits on');
  await submit(output('a', 'x'.repeat(200 * 1024)), output('b', 'x'.repeat(200 * 1024)));
  t.equal((await t.until(waiting, 'completed')).status, 'completed', 'and goes on with what fits');
  await refuse(
    submit(output('a', 'x'), output('b', 'y')),
    /Runs in status "completed" do not accept tool outputs/,
    'nothing is taken afterwards',
  );
}

async function isCancelledWaiting(t) {
  const thread = await t.thread(called('a'), 'never');
  const where = { thread_id: thread.id };
  const waiting = await t.finished(thread, TOOLS);
  await t.runs.cancel(waiting.id, where);
  const done = await t.runs.poll(waiting.id, where, t.poll);
  t.equal([done.status, done.required_action], ['cancelled', null], 'is cancelled while it waits for outputs');
  const [step] = (await t.runs.steps.list(done.id, where)).data;
  t.equal(step.status, 'cancelled', 'its step, too');
  t.ok(step.cancelled_at >= step.created_at, 'the step says when', step);
}

export async function run(t) {
  await takesOutputs(t, await calls(t));
  await goesRounds(t);
  await refusesOutputs(t);
  await isCancelledWaiting(t);
}
