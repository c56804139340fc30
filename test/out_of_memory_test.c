/*
 * Every allocation of a small life, from the endpoint to the freed engine, is refused once, and from then on: what
 * can't be had must be reported as NXA_MEMORY or done without, and nothing may leak.
 */
#include <stdio.h>

#include "call.h"
#include "engine.h"
#include "net.h"

static struct {
  long count, refused_at, live;
  bool from_then_on;
} memory;

static bool refuse(void) {
  long number = ++memory.count;
  return memory.from_then_on ? number >= memory.refused_at : number == memory.refused_at;
}

static void *allocate(size_t size) {
  void *block = refuse() ? NULL : malloc(size);
  memory.live += block != NULL;
  return block;
}

static void *reallocate(void *block, size_t size) {
  return refuse() ? NULL : realloc(block, size);
}

static void release(void *block) {
  memory.live--;
  free(block);
}

static void assert_memory_or(bool fine, const nxa_error *error) {
  if (!fine && error->kind != NXA_MEMORY)
    fail_msg("allocation %ld: %s: %s", memory.refused_at, nxa_kind_name(error->kind), error->message);
}

static void on_done(nxa_call *call, void *data) {
  bool *done = data;
  const nxa_error *error = nxa_call_error(call);
  assert_memory_or(!error, error);
  *done = true;
  nxa_call_free(call);
}

static void call_of_a_sink(nxa_engine *engine, nxa_request *request) {
  nxa_error error;
  bool done = false;
  nxa_call *call = nxa__call_start(engine, request, on_done, &done, &error);
  assert_memory_or(call != NULL, &error);
  while (call && !done)
    nxa_engine_step(engine, 0.05, 0);
}

static void read_events(nxa_call *call) {
  nxa_stream_event event;
  while (nxa_call_next_event(call, &event))
    assert_string_equal(event.data, "1");
}

static void read_pieces(nxa_call *call) {
  const char *data;
  size_t length;
  while (nxa_call_next_piece(call, &data, &length))
    assert_true(length > 0);
}

static void send_some(nxa_call *call) {
  nxa_kind kind = nxa_call_send(call, "some", 4);
  if (kind == NXA_OK)
    kind = nxa_call_send_end(call);
  assert_true(kind == NXA_OK || kind == NXA_MEMORY || kind == NXA_INVALID || kind == NXA_CLOSED);
  if (kind == NXA_MEMORY)
    nxa_call_cancel(call);
}

static void call_of_the_host(nxa_engine *engine, nxa_request *request) {
  nxa_error error;
  nxa_event event;
  nxa_call *call = nxa_call_start(engine, request, &error);
  assert_memory_or(call != NULL, &error);
  while (call && !nxa_call_done(call)) {
    nxa_engine_step(engine, 0.05, 0);
    read_events(call);
    read_pieces(call);
    send_some(call);
  }
  while (nxa_engine_next_event(engine, &event))
    ;
  if (call && !(nxa_call_error(call) && nxa_call_error(call)->kind == NXA_CANCELLED))
    assert_memory_or(!nxa_call_error(call), nxa_call_error(call));
  nxa_call_free(call);
}

static void use_engine(nxa_engine *engine, nxa_endpoint *endpoint) {
  const char *const headers[] = {"X-Own: header"};
  nxa_request request;
  nxa_request_init(&request);
  request.endpoint = endpoint;
  request.method = "POST";
  request.path = "/large";
  request.body = "{}";
  request.body_length = 2;
  request.headers = headers;
  request.header_count = 1;
  call_of_the_host(engine, &request);
  call_of_a_sink(engine, &request);
  request.path = "/stream";
  request.stream = NXA_STREAM_EVENTS;
  call_of_the_host(engine, &request);
  request.path = "/bytes";
  request.stream = NXA_STREAM_BYTES;
  request.max_response = 300;
  call_of_the_host(engine, &request);
  const nxa_part parts[] = {{.name = "data", .data = "{}", .data_length = 2},
                            {.name = "path", .path = __FILE__},
                            {.name = "host", .from_host = true, .size = -1, .file_name = "x"}};
  request.path = "/parts";
  request.stream = NXA_STREAM_NONE;
  request.body = NULL;
  request.body_length = 0;
  request.parts = parts;
  request.part_count = 3;
  request.progress = true;
  call_of_the_host(engine, &request);
  nxa__engine_warn(engine, "a warning");
  nxa_call_free(nxa_call_start(engine, &request, NULL));
}

static void live(const char *url) {
  const char *const headers[] = {"X-One: 1", "X-Two: 2"};
  nxa_error error;
  nxa_endpoint_options options;
  nxa_endpoint_options_init(&options);
  options.base_url = url;
  options.key = "sk-with/a-slash";
  options.query = "a=b";
  options.headers = headers;
  options.header_count = 2;
  nxa_endpoint *endpoint = nxa_endpoint_new(&options, &error);
  assert_memory_or(endpoint != NULL, &error);
  nxa_engine *engine = nxa_engine_new(NULL, &error);
  assert_memory_or(engine != NULL, &error);
  if (endpoint && engine)
    use_engine(engine, endpoint);
  nxa_engine_free(engine);
  nxa_endpoint_free(endpoint);
}

static void script(fixture *server) {
  static char large[3000], bytes[2100];
  snprintf(bytes, sizeof bytes, "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n%02000d", 0);
  if (!*large)
    memset(large, 'x', sizeof large - 1);
  for (int i = 0; i < 2; i++)
    fixture_answer(server, 200, NULL, large);
  fixture_add(server, (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                               "Transfer-Encoding: chunked\r\n\r\n"
                                               "11\r\nevent: x\nid: 7\nda\r\n5\r\nta: 1\r\n9\r\n\n\ndata: 1\r\n"
                                               "2\r\n\n\n\r\n0\r\n\r\n",
                                      .path = "/stream",
                                      .piece = 20});
  fixture_add(server, (fixture_reply){.bytes = bytes, .path = "/bytes", .piece = 200});
}

/* Returns the number of allocations tried. */
static long live_once(long refused_at, bool from_then_on) {
  fixture *server = fixture_start();
  setenv("no_proxy", "*", 1);
  script(server);
  memory.count = memory.live = 0;
  memory.refused_at = refused_at;
  memory.from_then_on = from_then_on;
  nxa_set_allocator(allocate, reallocate, release);
  live(fixture_url(server));
  nxa_set_allocator(NULL, NULL, NULL);
  fixture_stop(server);
  if (memory.live != 0)
    fail_msg("allocation %ld: %ld blocks left", refused_at, memory.live);
  return memory.count;
}

static void sweep(bool from_then_on) {
  long all = live_once(0, false), refused = 0;
  assert_true(all > 20);
  for (refused = 1; live_once(refused, from_then_on) >= refused; refused++)
    ;
  assert_true(refused > 20);
}

static void each_refused_once(void **state) {
  (void)state;
  sweep(false);
}

static void each_refused_and_all_after_it(void **state) {
  (void)state;
  sweep(true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_refused_once),
      cmocka_unit_test(each_refused_and_all_after_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
