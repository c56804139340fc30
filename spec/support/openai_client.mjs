// Asks a server of the Assistants protocol for every operation, by the API's official client for Node, and says of each
// thing it looks at whether it is as it should be: TAP, a line an assertion.
//
//   node spec/support/openai_client.mjs http://127.0.0.1:4010/v1 [--key KEY] [--assistant ID] [--only|--skip PART,…]
//
// The server's model must do what the question tells it to, as told_model.lua has it. Nothing is expected of what the
// server holds already, and nothing is left behind that another time would stumble over.
import { parseArgs } from 'node:util';
import { Tester } from './openai_client/tester.mjs';

const PARTS = [
  'assistants',
  'threads',
  'messages',
  'runs',
  'tools',
  'streams',
  'errors',
  'races',
  'files',
  'vector_stores',
  'search',
];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    key: { type: 'string', default: 'sk-local' },
    assistant: { type: 'string', default: 'asst_local' },
    only: { type: 'string', default: PARTS.join() },
    skip: { type: 'string', default: '' },
  },
});

const skipped = options.skip.split(',');
const wanted = options.only.split(',').filter((name) => !skipped.includes(name));
const t = new Tester(positionals[0], options);
for (const name of wanted) {
  const part = await import(`./openai_client/${name}.mjs`);
  await t.perform(name, part.run);
}
process.exitCode = t.finish();
