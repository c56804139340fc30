/* Traces on their way over real connections: the tracer, the sink, the engine and libcurl together. */
#include "support/net.h"

typedef struct delivery {
  net *net;
  nxa_tracer *tracer;
} delivery;

static delivery start(void **state, const char *url) {
  delivery made = {.net = *state};
  nxa_error error;
  nxa_nexus_options options;
  nxa_nexus_options_init(&options);
  options.endpoint = url ? net_endpoint(url) : made.net->endpoint;
  made.tracer = nxa_tracer_new(made.net->engine, NULL, &error);
  assert_int_equal(nxa_tracer_add_nexus(made.tracer, &options, &error), NXA_OK);
  if (url)
    nxa_endpoint_free(options.endpoint);
  return made;
}

/* A trace with a parent and two children, ended. */
static void record(const delivery *made) {
  nxa_trace *trace = nxa_trace_start(made->tracer, "weather-bot", "weather");
  nxa_span *parent = nxa_span_start(trace, NULL, "parent", NULL);
  for (int i = 0; i < 2; i++) {
    nxa_span *child = nxa_span_start(trace, parent, "child", "tool");
    nxa_span_end(child, NXA_SPAN_OK);
    nxa_span_free(child);
  }
  nxa_span_end(parent, NXA_SPAN_OK);
  nxa_span_free(parent);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  nxa_trace_free(trace);
}

static void answer_well(net *n) {
  fixture_answer(n->server, 201, NULL, "{\"trace_id\":\"t-1\"}");
  for (int i = 0; i < 3; i++)
    fixture_answer(n->server, 201, NULL, "{\"span_id\":\"s-1\"}");
}

static nxa_stats stats_of(const delivery *made) {
  nxa_stats stats;
  nxa_tracer_stats(made->tracer, &stats);
  return stats;
}

static void assert_all_delivered(const delivery *made) {
  nxa_stats stats = stats_of(made);
  assert_int_equal(stats.traces_delivered, 1);
  assert_int_equal(stats.spans_delivered, 3);
  assert_int_equal(stats.traces_pending + stats.spans_pending + stats.bytes_pending, 0);
}

static void assert_request(net *n, size_t index, const char *start, const char *part) {
  char *request = fixture_request(n->server, index);
  assert_non_null(request);
  if (strncmp(request, start, strlen(start)) != 0 || !strstr(request, part))
    fail_msg("request %zu: %s", index, request);
  free(request);
}

/* The only warning there is. */
static void assert_warned(net *n, const char *part) {
  nxa_event event;
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_WARNING);
  if (!strstr(event.text, part))
    fail_msg("\"%s\" is not in \"%s\"", part, event.text);
  assert_false(nxa_engine_next_event(n->engine, &event));
}

static double close_within(const delivery *made, double timeout, bool expected) {
  int64_t before = nxa__monotonic_true_ns();
  assert_int_equal(nxa_tracer_close(made->tracer, timeout), expected);
  return nxa__seconds_of(nxa__monotonic_true_ns() - before);
}

static void traces_arrive_by_the_way(void **state) {
  delivery made = start(state, NULL);
  answer_well(made.net);
  record(&made);
  NET_STEP_UNTIL(made.net, !nxa_tracer_pending(made.tracer));
  assert_all_delivered(&made);
  assert_int_equal(fixture_requests(made.net->server), 4);
  assert_request(made.net, 0, "POST /api/v1/traces HTTP/1.1\r\n", "\"agent_id\":\"weather-bot\"");
  assert_request(made.net, 0, "POST ", "Authorization: Bearer sk-test/secret-0123456789\r\n");
  assert_request(made.net, 1, "POST /api/v1/traces/t-1/spans HTTP/1.1\r\n", "\"name\":\"parent\"");
  assert_request(made.net, 2, "POST /api/v1/traces/t-1/spans HTTP/1.1\r\n", "\"parent_span_id\":\"s-1\"");
  assert_request(made.net, 3, "POST /api/v1/traces/t-1/spans HTTP/1.1\r\n",
                 "\"input\":{\"type\":\"tool\",\"span_id\":\"");
  nxa_tracer_free(made.tracer);
}

static void closing_delivers(void **state) {
  delivery made = start(state, NULL);
  answer_well(made.net);
  record(&made);
  assert_true(close_within(&made, 30, true) < 10);
  assert_all_delivered(&made);
  nxa_tracer_free(made.tracer);
}

static void closing_repeats_what_stumbled(void **state) {
  delivery made = start(state, NULL);
  fixture_answer(made.net->server, 503, NULL, "busy");
  fixture_add(made.net->server, (fixture_reply){.end = FIXTURE_CLOSE});
  answer_well(made.net);
  record(&made);
  assert_true(close_within(&made, 30, true) < 10);
  assert_all_delivered(&made);
  nxa_stats stats = stats_of(&made);
  assert_int_equal(stats.requests, 6);
  assert_int_equal(stats.requests_repeated, 2);
  assert_int_equal(stats.repeated_unconfirmed, 1);
  nxa_event event;
  assert_false(nxa_engine_next_event(made.net->engine, &event));
  nxa_tracer_free(made.tracer);
}

static void nobody_listens(void **state) {
  delivery made = start(state, fixture_nobody());
  record(&made);
  assert_true(close_within(&made, 30, false) < 5); /* 15 ms, on a machine with nothing else to do */
  assert_warned(made.net, "not delivered to Nexus: 1 trace and 3 spans; it cannot be reached at http://127.0.0.1:");
  assert_int_equal(stats_of(&made).repeated_unconfirmed, 0);
  nxa_tracer_free(made.tracer);
}

static void it_hangs(void **state) {
  delivery made = start(state, NULL);
  fixture_add(made.net->server, (fixture_reply){.end = FIXTURE_HANG});
  record(&made);
  double taken = close_within(&made, 0.2, false);
  assert_true(taken >= 0.2 && taken < 5);
  assert_warned(made.net, "before the time to close was over");
  nxa_tracer_free(made.tracer);
}

static void the_key_is_refused(void **state) {
  delivery made = start(state, NULL);
  fixture_answer(made.net->server, 401, NULL, "{\"error\":\"Invalid API key\"}");
  record(&made);
  assert_true(close_within(&made, 30, false) < 10);
  assert_int_equal(fixture_requests(made.net->server), 1);
  assert_warned(made.net,
                "Nexus refused the API key (401): traces are not delivered; check nexus.api_key or NEXUS_API_KEY");
  nxa_tracer_free(made.tracer);
}

static void unread_events_do_not_keep_it_from_waiting(void **state) {
  delivery made = start(state, NULL);
  fixture_answer(made.net->server, 500, NULL, "");
  nxa_trace *trace = nxa_trace_start(made.tracer, "a", "t");
  nxa_tracer_flush(made.tracer);
  NET_STEP_UNTIL(made.net, stats_of(&made).requests == 1 && fixture_requests(made.net->server) == 1 &&
                               nxa_engine_timeout(made.net->engine) == 0); /* a warning waits */
  answer_well(made.net);
  nxa_trace_free(trace);
  assert_true(close_within(&made, 30, true) < 10);
  assert_int_equal(stats_of(&made).traces_delivered, 1);
  nxa_tracer_free(made.tracer);
}

static void begin_and_leave_open(delivery *made) {
  fixture_add(made->net->server, (fixture_reply){.end = FIXTURE_HANG});
  record(made);
  NET_STEP_UNTIL(made->net, fixture_requests(made->net->server) == 1);
}

static void the_tracer_goes_first(void **state) {
  delivery made = start(state, NULL);
  begin_and_leave_open(&made);
  nxa_tracer_free(made.tracer);
  nxa_engine_step(made.net->engine, 0, 0);
}

static void the_engine_goes_first(void **state) {
  delivery made = start(state, NULL);
  begin_and_leave_open(&made);
  nxa_engine_free(made.net->engine);
  made.net->engine = NULL;
  assert_int_equal(stats_of(&made).traces_failed, 1);
  assert_false(nxa_tracer_close(made.tracer, 30));
  nxa_tracer_free(made.tracer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(traces_arrive_by_the_way, net_setup, net_teardown),
      cmocka_unit_test_setup_teardown(closing_delivers, net_setup, net_teardown),
      cmocka_unit_test_setup_teardown(closing_repeats_what_stumbled, net_setup, net_teardown),
      cmocka_unit_test_setup_teardown(nobody_listens, net_setup, net_teardown),
      cmocka_unit_test_setup_teardown(it_hangs, net_setup, net_teardown),
      cmocka_unit_test_setup_teardown(the_key_is_refused, net_setup, net_teardown),
      cmocka_unit_test_setup_teardown(unread_events_do_not_keep_it_from_waiting, net_setup, net_teardown),
      cmocka_unit_test_setup_teardown(the_tracer_goes_first, net_setup, net_teardown),
      cmocka_unit_test_setup_teardown(the_engine_goes_first, net_setup, net_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
