// The fields of each kind of object, as the API's recorded answers have them, which in places isn't as it is described.
const time = (value) => Number.isInteger(value) && value > 1.6e9;
const count = (value) => Number.isInteger(value) && value >= 0;
const text = (value) => typeof value === 'string';
const number = (value) => typeof value === 'number';
const flag = (value) => typeof value === 'boolean';
const list = Array.isArray;
const object = (value) => typeof value === 'object' && value !== null && !list(value);
const none = (value) => value === null;

const or =
  (...checks) =>
  (value) =>
    checks.some((check) => check(value));
const maybe = (check) => or(none, check);
const is = (expected) => (value) => value === expected;
const id = (prefix) => (value) => text(value) && value.startsWith(prefix) && value.length > prefix.length;
const like = (fields) => (value) => object(value) && mismatches(value, fields).length === 0;
const each = (check) => (value) => list(value) && value.every(check);

const usage = like({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_token_details: like({ cached_tokens: count }),
  completion_tokens_details: like({ reasoning_tokens: count }),
});
const counts = like({ in_progress: count, completed: count, failed: count, cancelled: count, total: count });
const deleted = (name) => ({ id: text, object: is(name), deleted: is(true) });

const message = {
  id: id('msg_'),
  object: is('thread.message'),
  created_at: time,
  assistant_id: maybe(text),
  thread_id: id('thread_'),
  run_id: maybe(id('run_')),
  role: or(is('user'), is('assistant')),
  content: list,
  attachments: list,
  metadata: object,
};

const SHAPES = {
  assistant: {
    id: id('asst_'),
    object: is('assistant'),
    created_at: time,
    name: maybe(text),
    description: maybe(text),
    model: text,
    instructions: maybe(text),
    tools: list,
    tool_resources: object,
    metadata: object,
    temperature: number,
    top_p: number,
    reasoning_effort: maybe(text),
    response_format: or(text, object),
  },
  'deleted assistant': deleted('assistant.deleted'),
  thread: { id: id('thread_'), object: is('thread'), created_at: time, metadata: object, tool_resources: object },
  'deleted thread': deleted('thread.deleted'),
  message,
  'streamed message': {
    ...message,
    status: or(is('in_progress'), is('completed'), is('incomplete')),
    incomplete_details: maybe(object),
    incomplete_at: maybe(time),
    completed_at: maybe(time),
  },
  'deleted message': deleted('thread.message.deleted'),
  run: {
    id: id('run_'),
    object: is('thread.run'),
    created_at: time,
    assistant_id: text,
    thread_id: id('thread_'),
    status: text,
    started_at: maybe(time),
    expires_at: maybe(time),
    cancelled_at: maybe(time),
    failed_at: maybe(time),
    completed_at: maybe(time),
    required_action: maybe(object),
    last_error: maybe(like({ code: text, message: text })),
    model: text,
    instructions: maybe(text),
    tools: list,
    tool_resources: object,
    metadata: object,
    temperature: number,
    top_p: number,
    reasoning_effort: maybe(text),
    max_completion_tokens: maybe(count),
    max_prompt_tokens: maybe(count),
    truncation_strategy: like({ type: text, last_messages: maybe(count) }),
    incomplete_details: maybe(object),
    usage: maybe(usage),
    response_format: or(text, object),
    tool_choice: or(text, object),
    parallel_tool_calls: flag,
  },
  'required action': {
    type: is('submit_tool_outputs'),
    submit_tool_outputs: like({
      tool_calls: each(like({ id: text, type: is('function'), function: like({ name: text, arguments: text }) })),
    }),
  },
  step: {
    id: id('step_'),
    object: is('thread.run.step'),
    created_at: time,
    run_id: id('run_'),
    assistant_id: text,
    thread_id: id('thread_'),
    type: or(is('message_creation'), is('tool_calls')),
    status: text,
    cancelled_at: maybe(time),
    completed_at: maybe(time),
    expires_at: maybe(time),
    failed_at: maybe(time),
    last_error: maybe(object),
    step_details: object,
    usage: maybe(usage),
  },
  page: { object: is('list'), data: list, first_id: maybe(text), last_id: maybe(text), has_more: flag },
  file: {
    id: id('file-'),
    object: is('file'),
    purpose: text,
    filename: text,
    bytes: count,
    created_at: time,
    expires_at: maybe(time),
    status: text,
    status_details: none,
  },
  'deleted file': deleted('file'),
  upload: {
    id: id('upload_'),
    object: is('upload'),
    bytes: count,
    created_at: time,
    filename: text,
    purpose: text,
    status: text,
    expires_at: time,
  },
  part: { id: id('part_'), object: is('upload.part'), created_at: time, upload_id: id('upload_') },
  'vector store': {
    id: id('vs_'),
    object: is('vector_store'),
    created_at: time,
    name: maybe(text),
    description: maybe(text),
    usage_bytes: count,
    file_counts: counts,
    status: text,
    expires_after: maybe(object),
    expires_at: maybe(time),
    last_active_at: time,
    metadata: object,
  },
  'deleted vector store': deleted('vector_store.deleted'),
  "vector store's file": {
    id: id('file-'),
    object: is('vector_store.file'),
    usage_bytes: count,
    created_at: time,
    vector_store_id: id('vs_'),
    status: text,
    last_error: maybe(like({ code: text, message: text })),
    attributes: object,
    chunking_strategy: like({
      type: is('static'),
      static: like({ max_chunk_size_tokens: count, chunk_overlap_tokens: count }),
    }),
  },
  "deleted vector store's file": deleted('vector_store.file.deleted'),
  batch: {
    id: id('vsfb_'),
    object: is('vector_store.file_batch'),
    created_at: time,
    status: text,
    vector_store_id: id('vs_'),
    file_counts: counts,
  },
  'found chunk': {
    file_id: id('file-'),
    filename: text,
    score: number,
    attributes: object,
    content: each(like({ type: is('text'), text })),
  },
};

function mismatches(value, fields) {
  const names = new Set([...Object.keys(fields), ...Object.keys(value)]);
  return [...names].filter((name) => !(name in value) || !(fields[name] ?? (() => false))(value[name]));
}

// What is wrong with an object of a kind: the fields that are missing, that shouldn't be there, or that are of another
// type, with what they are.
export function differences(value, kind) {
  if (!object(value)) return [value];
  return mismatches(value, SHAPES[kind]).map((name) => [name, value[name]]);
}
