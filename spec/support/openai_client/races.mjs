import { OpenAI } from './tester.mjs';

const ROUNDS = 10;
const THREADS = 40;

async function twoForOneThread(t) {
  const clients = [t.connect(), t.connect()];
  const thread = await t.threads.create();
  const begin = (client) => client.beta.threads.runs.create(thread.id, { assistant_id: t.assistant_id });
  for (let round = 1; round <= ROUNDS; round += 1) {
    await t.ask(thread, { wait: 0.05, text: `round ${round}` });
    const results = await Promise.allSettled(clients.map(begin));
    const won = results.find((result) => result.status === 'fulfilled')?.value;
    const lost = results.find((result) => result.status === 'rejected')?.reason;
    t.ok(won && lost, `exactly one of two gets the thread, round ${round}`, results);
    t.ok(
      lost instanceof OpenAI.BadRequestError &&
        lost.message === `400 Thread ${thread.id} already has an active run ${won.id}.`,
      'the other is told so',
      lost,
    );
    await t.until(won, 'completed');
    const again = await begin(clients[round % 2]);
    t.equal((await t.until(again, 'completed')).status, 'completed', 'and gets it when the run is over');
  }
  t.equal((await t.texts(thread, { limit: 100 })).length, 3 * ROUNDS, 'no run writes twice');
}

async function manyThreads(t) {
  const work = Array.from({ length: THREADS }, async (_, index) => {
    const client = t.connect();
    const run = await client.beta.threads.createAndRunPoll(
      {
        assistant_id: t.assistant_id,
        thread: { messages: [{ role: 'user', content: JSON.stringify([`I am ${index}`]) }] },
      },
      t.poll,
    );
    return (await t.texts({ id: run.thread_id }, { run_id: run.id }))[0];
  });
  t.equal(
    await Promise.all(work),
    Array.from(work, (_, index) => `I am ${index}`),
    'each of many gets its own reply',
  );
}

async function manyStreams(t) {
  const work = Array.from({ length: THREADS }, async (_, index) => {
    const thread = await t.thread({ pieces: ['I', ' am', ` ${index}`], wait: 0.01 });
    const stream = t.runs.stream(thread.id, { assistant_id: t.assistant_id });
    return (await stream.finalMessages())[0].content[0].text.value;
  });
  t.equal(
    await Promise.all(work),
    Array.from(work, (_, index) => `I am ${index}`),
    'each of many streams its own reply',
  );
}

async function manyMessages(t) {
  const thread = await t.threads.create();
  const texts = Array.from({ length: THREADS }, (_, index) => `no. ${index}`);
  await Promise.all(texts.map((content) => t.threads.messages.create(thread.id, { role: 'user', content })));
  t.equal((await t.texts(thread, { limit: 100 })).sort(), [...texts].sort(), 'no message is lost among many');
}

export async function run(t) {
  await twoForOneThread(t);
  await manyThreads(t);
  await manyStreams(t);
  await manyMessages(t);
}
