// What the parts have in common: the client, assertions, and threads whose model does as it is told.
import { createRequire } from 'node:module';
import { inspect, isDeepStrictEqual } from 'node:util';
import { differences } from './shapes.mjs';

const require = createRequire(new URL('../../../dev/package.json', import.meta.url));

export const OpenAI = require('openai');

const POLL = { pollIntervalMs: 5 };
const LOOKS = 2000;

export class Tester {
  #count = 0;
  #failed = 0;
  #part = '';

  constructor(url, { key, assistant }) {
    this.url = url;
    this.key = key;
    this.assistant_id = assistant;
    this.client = this.connect();
    this.poll = POLL;
    Object.assign(this, { threads: this.client.beta.threads, runs: this.client.beta.threads.runs });
  }

  // A client of its own.
  connect(options) {
    return new OpenAI({ baseURL: this.url, apiKey: this.key, maxRetries: 0, timeout: 30000, ...options });
  }

  async perform(part, run) {
    this.#part = part;
    try {
      await run(this);
    } catch (error) {
      this.ok(false, 'goes through to its end', error);
    }
  }

  // Says how many assertions there were; returns the exit code.
  finish() {
    console.log(`1..${this.#count}`);
    return this.#failed || !this.#count ? 1 : 0;
  }

  // ------------------------------------------------------------------------------------------------ assertions

  ok(passed, name, detail) {
    this.#count += 1;
    this.#failed += passed ? 0 : 1;
    console.log(`${passed ? 'ok' : 'not ok'} ${this.#count} - ${this.#part}: ${name}`);
    if (!passed) console.log(inspect(detail, { depth: 6 }).replace(/^/gm, '# '));
  }

  equal(actual, expected, name) {
    this.ok(isDeepStrictEqual(actual, expected), name, { actual, expected });
  }

  matches(text, pattern, name) {
    this.ok(pattern.test(text), name, { text, pattern });
  }

  // That an object has the fields of its kind, all of them and no other, each of its type.
  shape(object, kind, name = `a ${kind} has its fields`) {
    const found = differences(object, kind);
    this.ok(found.length === 0, name, found);
  }

  // That a promise is rejected by the server, with these members.
  async refused(promise, kind, expected, name) {
    const error = await promise.then(
      () => 'it was not refused',
      (reason) => reason,
    );
    const actual = Object.fromEntries(Object.keys(expected).map((key) => [key, error[key]]));
    const fits =
      error instanceof kind &&
      Object.keys(expected).every((key) =>
        expected[key] instanceof RegExp
          ? expected[key].test(actual[key])
          : isDeepStrictEqual(actual[key], expected[key]),
      );
    this.ok(fits, name, { error, expected });
    return error;
  }

  // -------------------------------------------------------------------------------------------- threads and runs

  // A thread with a question: what the model does, time by time.
  thread(...plan) {
    return this.threads.create({ messages: [{ role: 'user', content: JSON.stringify(plan) }] });
  }

  ask(thread, ...plan) {
    return this.threads.messages.create(thread.id, { role: 'user', content: JSON.stringify(plan) });
  }

  begin(thread, body) {
    return this.runs.create(thread.id, { assistant_id: this.assistant_id, ...body });
  }

  finished(thread, body) {
    return this.runs.createAndPoll(thread.id, { assistant_id: this.assistant_id, ...body }, POLL);
  }

  // The run once it has one of these statuses.
  async until(run, ...statuses) {
    for (let look = 0; look < LOOKS; look += 1) {
      const now = await this.runs.retrieve(run.id, { thread_id: run.thread_id });
      if (statuses.includes(now.status)) return now;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`run ${run.id} never was ${statuses}`);
  }

  async texts(thread, query) {
    const page = await this.threads.messages.list(thread.id, { order: 'asc', ...query });
    return page.data.map((message) => message.content[0]?.text.value);
  }
}

export async function gathered(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

export const ids = (items) => items.map((item) => item.id);

export const called = (...names) => ({
  tool_calls: names.map((name) => ({ name, arguments: { of: name }, id: `call_${name}` })),
});

export const tool = (name) => ({ type: 'function', function: { name, parameters: { type: 'object' } } });

export const output = (name, text) => ({ tool_call_id: `call_${name}`, output: text });
