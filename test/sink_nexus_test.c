/* clang-format off
 * nxa-links: alloc buffer clock error random text pairs endpoint request parts json_out trace traceparent export nexus_body nexus_answer nexus_state nexus_send nexus_spool nexus_outcome sink_nexus spool lock private
 * clang-format on */
#include "support/fake_transport.h"
#include "support/json_check.h"

#include <fcntl.h>
#include <glob.h>
#include <math.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json_out.h"
#include "sink_nexus.h"
#include "trace.h"

#define KEY "nxs_secret_0123456789"

/* ------------------------------------------------------------------------------------------------ Nexus */

typedef struct seen {
  char method[8];
  char path[160];
  char *body;
  size_t length;
  int64_t at_ns;
} seen;

static seen *requests;
static size_t request_count, traces_made, spans_made;
static fake_server behaviour; /* NULL: healthy */

static bool is_create(const fake_request *request) {
  return strcmp(request->path, "/api/v1/traces") == 0;
}

static bool is_span(const fake_request *request) {
  size_t length = strlen(request->path);
  return length > 6 && strcmp(request->path + length - 6, "/spans") == 0;
}

/* What the real server checks, as far as our bodies could get it wrong. */
static void check_body(const fake_request *request) {
  assert_true(json_check(request->body, request->length));
  assert_true(request->length < 2000000);
  assert_null(strstr(request->body, ":null"));
  assert_non_null(strstr(request->body, "\"status\":\""));
}

static void healthy(const fake_request *request, fake_answer *answer) {
  answer->status = 201;
  if (is_create(request))
    snprintf(answer->body, sizeof answer->body, "{\"trace_id\":\"trace-%zu\"}", ++traces_made);
  else if (is_span(request))
    snprintf(answer->body, sizeof answer->body, "{\"span_id\":\"span-%zu\"}", ++spans_made);
  else
    answer->status = 200;
}

static void note_request(const fake_request *request) {
  requests = realloc(requests, (request_count + 1) * sizeof *requests);
  seen *entry = &requests[request_count++];
  snprintf(entry->method, sizeof entry->method, "%s", request->method);
  snprintf(entry->path, sizeof entry->path, "%s", request->path);
  entry->body = malloc(request->length + 1);
  memcpy(entry->body, request->body, request->length + 1);
  entry->length = request->length;
  entry->at_ns = nxa__monotonic_ns();
}

static void nexus_server(const fake_request *request, fake_answer *answer) {
  check_body(request);
  note_request(request);
  answer->latency_ns = 10 * MILLISECOND;
  (behaviour ? behaviour : healthy)(request, answer);
}

static void fail_with(fake_answer *answer, nxa_kind kind, const char *message, bool arrived) {
  answer->kind = kind;
  answer->status = 0;
  answer->arrived = arrived;
  strcpy(answer->message, message);
}

static void refuse_with(fake_answer *answer, int status, const char *body) {
  answer->status = status;
  strcpy(answer->body, body);
}

/* ------------------------------------------------------------------------------------------------ fixture */

typedef struct fixture {
  nxa_engine *engine;
  nxa_endpoint *endpoint;
  nxa_tracer *tracer;
} fixture;

static nxa_endpoint *new_endpoint(void) {
  nxa_error error;
  nxa_endpoint_options options;
  nxa_endpoint_options_init(&options);
  options.base_url = "http://nexus.test:8080";
  options.key = KEY;
  nxa_endpoint *endpoint = nxa_endpoint_new(&options, &error);
  assert_non_null(endpoint);
  return endpoint;
}

static void forget_seen(void) {
  for (size_t i = 0; i < request_count; i++)
    free(requests[i].body);
  free(requests);
  requests = NULL;
  request_count = traces_made = spans_made = 0;
}

static const char *spool; /* a folder, or NULL for none */
static size_t spool_bytes = (size_t)256 << 20;

static void start_with(fixture *fix, const nxa_tracer_options *tracer_options, int max_in_flight) {
  nxa_nexus_options options;
  nxa_error error;
  forget_seen();
  behaviour = NULL;
  server = nexus_server;
  fix->engine = fake_engine();
  fix->endpoint = new_endpoint();
  fix->tracer = nxa_tracer_new(fix->engine, tracer_options, &error);
  nxa_nexus_options_init(&options);
  options.endpoint = fix->endpoint;
  options.max_in_flight = max_in_flight;
  options.spool = spool;
  options.spool_bytes = spool_bytes;
  assert_int_equal(nxa_tracer_add_nexus(fix->tracer, &options, &error), NXA_OK);
  nxa_endpoint_free(fix->endpoint); /* kept by count */
}

static void start(fixture *fix) {
  start_with(fix, NULL, 6);
}

static void stop(fixture *fix) {
  nxa_tracer_free(fix->tracer);
  assert_int_equal(fix->engine->references, 1);
  assert_int_equal(fix->engine->calls.count, 0);
  assert_null(fix->engine->timers);
  nxa_engine_free(fix->engine);
  forget_seen();
  nxa__clock_real();
}

static nxa_stats stats_of(const fixture *fix) {
  nxa_stats stats;
  nxa_tracer_stats(fix->tracer, &stats);
  return stats;
}

static void assert_nothing_held(const fixture *fix) {
  nxa_stats stats = stats_of(fix);
  assert_int_equal(stats.traces_pending + stats.spans_pending + stats.bytes_pending, 0);
  assert_int_equal(stats.traces_started, stats.traces_delivered + stats.traces_failed + stats.traces_spooled);
  assert_int_equal(stats.spans_started, stats.spans_delivered + stats.spans_failed + stats.spans_spooled);
}

static void assert_delivered(const fixture *fix, size_t traces, size_t spans) {
  nxa_stats stats = stats_of(fix);
  assert_int_equal(stats.traces_delivered, traces);
  assert_int_equal(stats.spans_delivered, spans);
}

static void assert_failed(const fixture *fix, size_t traces, size_t spans) {
  nxa_stats stats = stats_of(fix);
  assert_int_equal(stats.traces_failed, traces);
  assert_int_equal(stats.spans_failed, spans);
}

static void assert_request(size_t index, const char *method, const char *path, const char *body) {
  assert_true(index < request_count);
  assert_string_equal(requests[index].method, method);
  assert_string_equal(requests[index].path, path);
  if (body)
    assert_string_equal(requests[index].body, body);
}

static const seen *find_request(const char *part) {
  for (size_t i = 0; i < request_count; i++)
    if (strstr(requests[i].body, part))
      return &requests[i];
  fail_msg("no request holds %s", part);
  return NULL;
}

static size_t count_requests(const char *part) {
  size_t count = 0;
  for (size_t i = 0; i < request_count; i++)
    count += strstr(requests[i].body, part) != NULL;
  return count;
}

static void assert_warned(const fixture *fix, const char *text) {
  if (!text) {
    assert_int_equal(fix->engine->warning_count, 0);
    return;
  }
  assert_int_equal(fix->engine->warning_count, 1);
  assert_string_equal(fix->engine->warnings[0], text);
}

static nxa_span *span_under(nxa_trace *trace, nxa_span *parent, const char *name) {
  nxa_span *span = nxa_span_start(trace, parent, name, NULL);
  assert_non_null(span);
  return span;
}

static void end_and_free(nxa_span *span) {
  nxa_span_end(span, NXA_SPAN_OK);
  nxa_span_free(span);
}

static void finish(nxa_trace *trace) {
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  nxa_trace_free(trace);
}

/* A trace with so many spans beside each other, ended. */
static void whole_trace(fixture *fix, const char *agent, const char *name, int spans) {
  nxa_trace *trace = nxa_trace_start(fix->tracer, agent, name);
  for (int i = 0; i < spans; i++)
    end_and_free(span_under(trace, NULL, "span"));
  finish(trace);
}

/* ------------------------------------------------------------------------------------------------ what is sent */

static void a_short_trace_arrives_whole(void **state) {
  (void)state;
  fixture fix;
  char expected[1024];
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "weather-bot", "weather");
  nxa_trace_set_input(trace, "\"warm?\"", 7);
  nxa_trace_set_metadata(trace, "threadId", "\"thread_1\"", 10);
  nxa_span *outer = span_under(trace, NULL, "threads.runs.createAndPoll");
  pass(100 * MILLISECOND);
  nxa_span *inner = span_under(trace, outer, "step");
  pass(100 * MILLISECOND);
  nxa_span_set_output(inner, "{}", 2);
  nxa_span_set_error(inner, "it \"broke\"");
  nxa_span_end(inner, NXA_SPAN_ERROR);
  nxa_span_free(inner);
  end_and_free(outer);
  nxa_trace_set_output(trace, "[1]", 3);
  nxa_trace_end(trace, NXA_TRACE_ERROR, "Run ended with status: failed");
  snprintf(expected, sizeof expected,
           "{\"agent_id\":\"weather-bot\",\"name\":\"weather\",\"status\":\"error\","
           "\"started_at\":\"2026-03-01T12:34:56.789000Z\",\"ended_at\":\"2026-03-01T12:34:56.989000Z\","
           "\"metadata\":{\"trace_id\":\"%s\",\"trace_name\":\"weather\",\"threadId\":\"thread_1\",\"input\":\"warm?\","
           "\"output\":[1],"
           "\"error\":\"Run ended with status: failed\"}}",
           nxa_trace_id(trace));
  nxa_trace_free(trace);
  assert_int_equal(request_count, 0); /* not while the script records */
  assert_true(nxa_tracer_pending(fix.tracer));
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 3);
  assert_request(0, "POST", "/api/v1/traces", expected);
  assert_request(
      1, "POST", "/api/v1/traces/trace-1/spans",
      "{\"name\":\"threads.runs.createAndPoll\",\"status\":\"ok\",\"started_at\":\"2026-03-01T12:34:56.789000Z\","
      "\"ended_at\":\"2026-03-01T12:34:56.989000Z\"}");
  assert_request(2, "POST", "/api/v1/traces/trace-1/spans",
                 "{\"name\":\"step\",\"status\":\"error\",\"started_at\":\"2026-03-01T12:34:56.889000Z\","
                 "\"ended_at\":\"2026-03-01T12:34:56.989000Z\",\"parent_span_id\":\"span-1\",\"output\":{},"
                 "\"error\":\"it \\\"broke\\\"\"}");
  assert_delivered(&fix, 1, 2);
  assert_nothing_held(&fix);
  assert_false(nxa_tracer_pending(fix.tracer));
  assert_warned(&fix, NULL);
  stop(&fix);
}

/* The span's input is folded with these members and the span's own id. */
static void assert_input(const char *span, const char *members, const char *id) {
  char input[200];
  snprintf(input, sizeof input, ",\"input\":{%s,\"span_id\":\"%s\"}}", members, id);
  assert_non_null(strstr(find_request(span)->body, input));
}

static void type_and_metadata_are_folded_into_the_input(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *typed = nxa_span_start(trace, NULL, "typed", "llm"), *noted = nxa_span_start(trace, NULL, "noted", NULL);
  nxa_span *both = nxa_span_start(trace, NULL, "both", "tool"), *plain = nxa_span_start(trace, NULL, "plain", NULL);
  nxa_span_set_metadata(noted, "k", "1", 1);
  nxa_span_set_metadata(noted, "l", "[]", 2);
  nxa_span_set_input(noted, "\"in\"", 4);
  nxa_span_set_metadata(both, "m", "{}", 2);
  nxa_span_set_input(plain, "{\"x\":1}", 7);
  char typed_id[17], noted_id[17], both_id[17];
  strcpy(typed_id, nxa_span_id(typed));
  strcpy(noted_id, nxa_span_id(noted));
  strcpy(both_id, nxa_span_id(both));
  end_and_free(typed);
  end_and_free(noted);
  end_and_free(both);
  end_and_free(plain);
  finish(trace);
  run_for(fix.engine, SECOND);
  assert_input("\"typed\"", "\"type\":\"llm\"", typed_id);
  assert_input("\"noted\"", "\"metadata\":{\"k\":1,\"l\":[]},\"input\":\"in\"", noted_id);
  assert_input("\"both\"", "\"type\":\"tool\",\"metadata\":{\"m\":{}}", both_id);
  assert_non_null(strstr(find_request("\"plain\"")->body, ",\"input\":{\"x\":1}}"));
  stop(&fix);
}

static void reserved_metadata_names_win(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_trace_set_metadata(trace, "trace_id", "\"mine\"", 6);
  nxa_trace_set_metadata(trace, "trace_name", "\"mine\"", 6);
  nxa_trace_set_metadata(trace, "input", "\"mine too\"", 10);
  nxa_trace_set_metadata(trace, "output", "\"kept\"", 6);
  nxa_trace_set_input(trace, "1", 1);
  finish(trace);
  run_for(fix.engine, SECOND);
  assert_null(strstr(requests[0].body, "mine"));
  assert_non_null(strstr(requests[0].body, "\"output\":\"kept\",\"input\":1}}"));
  stop(&fix);
}

static void a_long_trace_is_seen_running(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_trace_set_metadata(trace, "k", "1", 1);
  end_and_free(span_under(trace, NULL, "first"));
  run_for(fix.engine, 999 * MILLISECOND);
  assert_int_equal(request_count, 0);
  run_for(fix.engine, 100 * MILLISECOND);
  assert_int_equal(request_count, 2);
  assert_non_null(
      strstr(requests[0].body, "\"status\":\"running\",\"started_at\":\"2026-03-01T12:34:56.789000Z\",\"metadata\""));
  assert_non_null(strstr(requests[1].body, "\"first\""));
  assert_false(nxa_tracer_pending(fix.tracer));
  end_and_free(span_under(trace, NULL, "second"));
  run_for(fix.engine, 901 * MILLISECOND);
  assert_int_equal(request_count, 3);
  nxa_trace_end(trace, NXA_TRACE_TIMEOUT, NULL);
  nxa_trace_free(trace);
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 4); /* nothing changed since: no last span */
  assert_request(3, "PATCH", "/api/v1/traces/trace-1",
                 "{\"status\":\"timeout\",\"ended_at\":\"2026-03-01T12:34:58.789000Z\"}");
  assert_delivered(&fix, 1, 2);
  assert_nothing_held(&fix);
  stop(&fix);
}

static void what_came_after_creation_is_in_a_last_span(void **state) {
  (void)state;
  fixture fix;
  char expected[512];
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_trace_set_metadata(trace, "k", "1", 1);
  run_for(fix.engine, 2 * SECOND);
  nxa_trace_set_metadata(trace, "k", "2", 1);
  nxa_trace_end(trace, NXA_TRACE_ERROR, "late");
  snprintf(expected, sizeof expected,
           "{\"name\":\"trace.end\",\"status\":\"error\",\"started_at\":\"2026-03-01T12:34:58.789000Z\","
           "\"ended_at\":\"2026-03-01T12:34:58.789000Z\",\"output\":{\"trace_id\":\"%s\",\"trace_name\":\"t\",\"k\":2,"
           "\"error\":\"late\"},"
           "\"error\":\"late\"}",
           nxa_trace_id(trace));
  nxa_trace_free(trace);
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 3);
  assert_request(1, "PATCH", "/api/v1/traces/trace-1", NULL);
  assert_request(2, "POST", "/api/v1/traces/trace-1/spans", expected);
  assert_delivered(&fix, 1, 0);
  assert_nothing_held(&fix);
  stop(&fix);
}

static void a_trace_that_ends_while_it_is_created_is_ended_too(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 1);
  nxa_trace_set_output(trace, "1", 1);
  finish(trace);
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 3);
  assert_request(1, "PATCH", "/api/v1/traces/trace-1", NULL);
  assert_non_null(strstr(requests[2].body, "trace.end"));
  assert_nothing_held(&fix);
  stop(&fix);
}

static void flush_does_not_wait(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_tracer_flush(fix.tracer);
  assert_int_equal(request_count, 0);
  nxa_engine_step(fix.engine, 0, 0);
  assert_int_equal(request_count, 1);
  finish(trace);
  run_for(fix.engine, SECOND);
  assert_nothing_held(&fix);
  stop(&fix);
}

static void an_idle_sink_wants_nothing(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  assert_null(fix.engine->timers);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  run_for(fix.engine, 2 * SECOND);
  assert_null(fix.engine->timers); /* created, and nothing to say about it */
  finish(trace);
  run_for(fix.engine, SECOND);
  assert_null(fix.engine->timers);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ order */

static void parents_go_before_children(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *root = span_under(trace, NULL, "root"), *middle = span_under(trace, root, "middle");
  nxa_span *leaf = span_under(trace, middle, "leaf");
  end_and_free(leaf);
  nxa_tracer_flush(fix.tracer);
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 1); /* the trace; its spans wait */
  nxa_span_end(middle, NXA_SPAN_OK);
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 1);
  nxa_span_end(root, NXA_SPAN_OK);
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 4);
  assert_non_null(strstr(requests[1].body, "\"root\""));
  assert_non_null(strstr(requests[2].body, "\"middle\""));
  assert_non_null(strstr(requests[2].body, "\"parent_span_id\":\"span-1\""));
  assert_non_null(strstr(requests[3].body, "\"parent_span_id\":\"span-2\""));
  nxa_span_free(middle);
  nxa_span *late = span_under(trace, root, "late"); /* a parent that was posted long ago */
  nxa_span_free(root);
  end_and_free(late);
  finish(trace);
  run_for(fix.engine, SECOND);
  assert_non_null(strstr(find_request("\"late\"")->body, "\"parent_span_id\":\"span-1\""));
  assert_delivered(&fix, 1, 4);
  assert_nothing_held(&fix);
  stop(&fix);
}

static void many_go_at_once_but_no_more_than_allowed(void **state) {
  (void)state;
  fixture fix;
  start_with(&fix, NULL, 6);
  whole_trace(&fix, "a", "t", 60);
  run_for(fix.engine, 10 * MILLISECOND);
  int64_t before = nxa__monotonic_ns();
  while (nxa_tracer_pending(fix.tracer))
    nxa_engine_step(fix.engine, 1, 0);
  assert_int_equal(nxa__monotonic_ns() - before, 100 * MILLISECOND); /* 60 spans, 6 at once, 10 ms each */
  assert_int_equal(fix.engine->most_calls, 6);
  assert_delivered(&fix, 1, 60);
  stop(&fix);
}

static void a_big_trace_does_not_starve_a_small_one(void **state) {
  (void)state;
  fixture fix;
  start_with(&fix, NULL, 1);
  whole_trace(&fix, "a", "big", 50);
  whole_trace(&fix, "a", "small", 2);
  run_for(fix.engine, 80 * MILLISECOND);
  assert_non_null(strstr(requests[1].body, "\"small\""));
  size_t of_small = 0;
  for (size_t i = 0; i < request_count; i++)
    of_small += strcmp(requests[i].path, "/api/v1/traces/trace-2/spans") == 0;
  assert_int_equal(of_small, 2);
  run_for(fix.engine, SECOND);
  assert_nothing_held(&fix);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ refusals */

static void always_401(const fake_request *request, fake_answer *answer) {
  (void)request;
  refuse_with(answer, 401, "{\"error\":\"Invalid API key\"}");
}

static void a_refused_key_stops_it_for_good(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = always_401;
  for (int i = 0; i < 10; i++)
    whole_trace(&fix, "a", "t", 3);
  nxa_trace *open = nxa_trace_start(fix.tracer, "a", "open");
  nxa_span *span = span_under(open, NULL, "open");
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 6);
  assert_warned(&fix,
                "Nexus refused the API key (401): traces are not delivered; check nexus.api_key or NEXUS_API_KEY");
  assert_nothing_held(&fix);
  assert_failed(&fix, 11, 31);
  nxa_span_set_output(span, "\"much\"", 6);
  end_and_free(span);
  finish(open);
  whole_trace(&fix, "a", "later", 1);
  run_for(fix.engine, 100 * SECOND);
  assert_int_equal(request_count, 6);
  assert_failed(&fix, 12, 32);
  assert_nothing_held(&fix);
  assert_false(nxa_tracer_close(fix.tracer, 5));
  assert_int_equal(fix.engine->warning_count, 1);
  stop(&fix);
}

static void second_agent_403(const fake_request *request, fake_answer *answer) {
  if (is_create(request) && strstr(request->body, "\"second\""))
    refuse_with(answer, 403, "{\"error\":\"Free plan limited to 1 agent\",\"upgrade_url\":\"x\"}");
  else
    healthy(request, answer);
}

static void a_refused_agent_does_not_stop_the_others(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = second_agent_403;
  nxa_trace *waiting = nxa_trace_start(fix.tracer, "second", "running");
  whole_trace(&fix, "second", "t", 2);
  whole_trace(&fix, "first", "t", 2);
  run_for(fix.engine, 500 * MILLISECOND);
  assert_failed(&fix, 2, 2);
  assert_delivered(&fix, 1, 2);
  finish(waiting);
  whole_trace(&fix, "second", "again", 1);
  whole_trace(&fix, "first", "again", 1);
  run_for(fix.engine, 10 * SECOND);
  assert_int_equal(count_requests("\"second\""), 1);
  assert_failed(&fix, 3, 3);
  assert_delivered(&fix, 2, 3);
  assert_nothing_held(&fix);
  assert_warned(&fix, "Nexus refused the agent \"second\" (403): Free plan limited to 1 agent; "
                      "its traces are not delivered");
  stop(&fix);
}

static void quota_after_one(const fake_request *request, fake_answer *answer) {
  if (is_create(request) && traces_made >= 1)
    refuse_with(answer, 429, "{\"error\":\"Monthly trace limit reached\",\"limit\":1000}");
  else
    healthy(request, answer);
}

static void the_quota_stops_new_traces_only(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = quota_after_one;
  nxa_trace *early = nxa_trace_start(fix.tracer, "a", "early");
  run_for(fix.engine, 2 * SECOND);
  whole_trace(&fix, "a", "late", 1);
  run_for(fix.engine, SECOND);
  whole_trace(&fix, "a", "later", 1);
  end_and_free(span_under(early, NULL, "still"));
  finish(early);
  run_for(fix.engine, 100 * SECOND);
  assert_delivered(&fix, 1, 1);
  assert_failed(&fix, 2, 2);
  assert_nothing_held(&fix);
  assert_int_equal(request_count, 4);
  assert_warned(&fix, "Nexus takes no more traces (429): Monthly trace limit reached; new traces are not delivered");
  stop(&fix);
}

static void always_404(const fake_request *request, fake_answer *answer) {
  (void)request;
  refuse_with(answer, 404, "<!DOCTYPE html><html>Not found</html>");
}

static void a_wrong_address_stops_it(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = always_404;
  whole_trace(&fix, "a", "t", 1);
  run_for(fix.engine, SECOND);
  whole_trace(&fix, "a", "t", 1);
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 1);
  assert_failed(&fix, 2, 2);
  assert_warned(
      &fix,
      "http://nexus.test:8080 is no Nexus (404): traces are not delivered; check nexus.base_url or NEXUS_BASE_URL");
  stop(&fix);
}

static void gone_404(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (strncmp(request->path, "/api/v1/traces/trace-1", 22) == 0)
    refuse_with(answer, 404, "{\"error\":\"Trace not found\"}");
}

static void a_trace_that_is_gone_is_given_up(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = gone_404;
  whole_trace(&fix, "a", "gone", 10);
  whole_trace(&fix, "a", "there", 2);
  run_for(fix.engine, SECOND);
  assert_failed(&fix, 1, 10);
  assert_delivered(&fix, 1, 2);
  assert_nothing_held(&fix);
  assert_warned(&fix,
                "Nexus no longer has a trace it had taken; the rest of it is not delivered (404): Trace not found");
  stop(&fix);
}

static void bad_spans_400(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (strstr(request->body, "\"name\":\"bad\""))
    refuse_with(answer, 400, "{\"error\":\"Validation failed for " KEY "\",\"fields\":{}}");
}

static void a_refused_span_is_given_up_alone(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = bad_spans_400;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *bad = span_under(trace, NULL, "bad"), *child = span_under(trace, bad, "child");
  end_and_free(span_under(trace, child, "grandchild"));
  end_and_free(child);
  end_and_free(bad);
  end_and_free(span_under(trace, NULL, "bad"));
  finish(trace);
  run_for(fix.engine, SECOND);
  assert_delivered(&fix, 1, 2);
  assert_failed(&fix, 0, 2);
  assert_null(strstr(find_request("\"child\"")->body, "parent_span_id"));
  assert_non_null(strstr(find_request("\"grandchild\"")->body, "\"parent_span_id\":\"span-"));
  assert_nothing_held(&fix);
  assert_int_equal(fix.engine->warning_count, 1);
  assert_non_null(strstr(fix.engine->warnings[0], "Nexus refused a span (400): Validation failed for "));
  assert_null(strstr(fix.engine->warnings[0], KEY));
  stop(&fix);
}

static void unusable_ids(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (is_create(request) && strstr(request->body, "\"bad\""))
    strcpy(answer->body, "{\"trace_id\":\"../../v2/keys\"}");
  if (strstr(request->body, "\"parent\""))
    strcpy(answer->body, "ok");
}

static void ids_that_cannot_be_used_are_not(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = unusable_ids;
  whole_trace(&fix, "a", "bad", 2);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "good");
  nxa_span *parent = span_under(trace, NULL, "parent");
  end_and_free(span_under(trace, parent, "child"));
  end_and_free(parent);
  finish(trace);
  run_for(fix.engine, SECOND);
  assert_failed(&fix, 1, 2);
  assert_delivered(&fix, 1, 2);
  assert_null(strstr(find_request("\"child\"")->body, "parent_span_id"));
  for (size_t i = 0; i < request_count; i++)
    assert_null(strstr(requests[i].path, ".."));
  assert_int_equal(fix.engine->warning_count, 1);
  stop(&fix);
}

static void end_400(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (strcmp(request->method, "PATCH") == 0)
    refuse_with(answer, 400, "{\"error\":\"No fields to update\"}");
}

static void a_refused_end_fails_the_trace_alone(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = end_400;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  run_for(fix.engine, 2 * SECOND);
  end_and_free(span_under(trace, NULL, "s"));
  finish(trace);
  run_for(fix.engine, SECOND);
  assert_failed(&fix, 1, 0);
  assert_delivered(&fix, 0, 1);
  assert_nothing_held(&fix);
  assert_warned(&fix, "Nexus refused a trace's end (400): No fields to update");
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ outages */

static int64_t well_at_ns;

static void refused_until(const fake_request *request, fake_answer *answer) {
  if (nxa__monotonic_ns() >= well_at_ns) {
    healthy(request, answer);
    return;
  }
  answer->latency_ns = MILLISECOND;
  fail_with(answer, NXA_CONNECTION, "could not connect to nexus.test:8080: connection refused", false);
}

static void an_outage_is_sat_out(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = refused_until;
  well_at_ns = nxa__monotonic_ns() + 300 * SECOND;
  for (int i = 0; i < 20; i++)
    whole_trace(&fix, "a", "t", 5);
  run_for(fix.engine, 299 * SECOND);
  assert_in_range(request_count, 6 + 8, 6 + 30); /* the first together, then 0.5 … 30 s apart */
  for (size_t i = 7; i < request_count; i++)
    assert_true(requests[i].at_ns - requests[i - 1].at_ns >= 250 * MILLISECOND);
  assert_true(requests[request_count - 1].at_ns - requests[request_count - 2].at_ns >= 15 * SECOND);
  assert_true(requests[request_count - 1].at_ns - requests[request_count - 2].at_ns <= 31 * SECOND);
  assert_warned(&fix, "Nexus cannot be reached at http://nexus.test:8080: connection refused; "
                      "traces are sent when it is back, or lost when the client closes before");
  assert_failed(&fix, 0, 0);
  run_for(fix.engine, 35 * SECOND);
  assert_delivered(&fix, 20, 100);
  assert_nothing_held(&fix);
  assert_int_equal(stats_of(&fix).repeated_unconfirmed, 0);
  assert_int_equal(stats_of(&fix).requests_repeated + 120, stats_of(&fix).requests);
  assert_int_equal(fix.engine->warning_count, 1);
  stop(&fix);
}

static void answers_500(const fake_request *request, fake_answer *answer) {
  if (nxa__monotonic_ns() >= well_at_ns)
    healthy(request, answer);
  else
    refuse_with(answer, 500, "Internal Server Error");
}

static void errors_of_the_server_are_an_outage(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = answers_500;
  well_at_ns = nxa__monotonic_ns() + 5 * SECOND;
  whole_trace(&fix, "a", "t", 2);
  run_for(fix.engine, 20 * SECOND);
  assert_delivered(&fix, 1, 2);
  assert_warned(&fix, "Nexus answers 500 at http://nexus.test:8080; traces are sent when it is back, or lost when the "
                      "client closes before");
  stop(&fix);
}

static void poison_500(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (strstr(request->body, "\"poison\""))
    refuse_with(answer, 500, "");
}

static void what_never_goes_through_is_given_up(void **state) {
  (void)state;
  fixture fix;
  start_with(&fix, NULL, 2);
  behaviour = poison_500;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *poison = span_under(trace, NULL, "poison");
  end_and_free(span_under(trace, poison, "child"));
  end_and_free(poison);
  finish(trace);
  whole_trace(&fix, "a", "t", 50);
  run_for(fix.engine, 20 * SECOND);
  assert_int_equal(count_requests("\"poison\""), 5);
  assert_delivered(&fix, 2, 51);
  assert_failed(&fix, 0, 1);
  assert_null(strstr(find_request("\"child\"")->body, "parent_span_id"));
  assert_nothing_held(&fix);
  stop(&fix);
}

static void alone_it_is_kept(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = poison_500;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  end_and_free(span_under(trace, NULL, "poison"));
  finish(trace);
  run_for(fix.engine, 3600 * SECOND);
  assert_true(count_requests("\"poison\"") > 60); /* nothing else went through that would tell it from an outage */
  assert_failed(&fix, 0, 0);
  behaviour = NULL;
  run_for(fix.engine, 31 * SECOND);
  assert_delivered(&fix, 1, 1);
  stop(&fix);
}

static void one_in_three_breaks(const fake_request *request, fake_answer *answer) {
  static const nxa_kind kinds[] = {NXA_CONNECTION, NXA_TIMEOUT, NXA_PROTOCOL};
  healthy(request, answer);
  if (request_count % 3 == 0)
    fail_with(answer, kinds[request_count / 3 % 3], "no answer", true);
}

static void lost_answers_are_repeated_and_counted(void **state) {
  (void)state;
  fixture fix;
  start_with(&fix, NULL, 1);
  behaviour = one_in_three_breaks;
  whole_trace(&fix, "a", "t", 7);
  run_for(fix.engine, 30 * SECOND);
  assert_delivered(&fix, 1, 7);
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.requests, request_count);
  assert_int_equal(stats.requests, 8 + stats.requests_repeated);
  assert_int_equal(stats.requests_repeated, stats.repeated_unconfirmed);
  assert_true(stats.repeated_unconfirmed >= 3);
  stop(&fix);
}

static void broken_201(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (traces_made + spans_made > 3 && !strstr(request->body, "\"fine\""))
    return;
  answer->kind = NXA_CONNECTION;
  if (request_count == 1)
    strcpy(answer->body, "{\"trace_"); /* nothing to go on with: created again */
}

static void a_success_that_broke_off_is_not_doubled(void **state) {
  (void)state;
  fixture fix;
  start_with(&fix, NULL, 1);
  behaviour = broken_201;
  whole_trace(&fix, "a", "t", 1);
  run_for(fix.engine, 30 * SECOND);
  assert_int_equal(request_count, 3);
  assert_delivered(&fix, 1, 1);
  assert_int_equal(stats_of(&fix).repeated_unconfirmed, 1);
  stop(&fix);
}

static size_t breaks_left;

static void breaking(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (breaks_left == 0)
    return;
  breaks_left--;
  fail_with(answer, NXA_CONNECTION, "nexus.test:8080 closed the connection without an answer", true);
}

static void one_broken_connection_is_no_outage(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = breaking;
  breaks_left = 1;
  whole_trace(&fix, "a", "t", 2);
  run_for(fix.engine, 2 * SECOND);
  assert_delivered(&fix, 1, 2);
  assert_warned(&fix, NULL);
  breaks_left = 2;
  whole_trace(&fix, "a", "t", 2);
  run_for(fix.engine, 5 * SECOND);
  assert_delivered(&fix, 2, 4);
  assert_warned(&fix, "Nexus cannot be reached at http://nexus.test:8080: nexus.test:8080 closed the connection "
                      "without an answer; traces are sent when it is back, or lost when the client closes before");
  stop(&fix);
}

static void wait_told(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (nxa__monotonic_ns() >= well_at_ns)
    return;
  refuse_with(answer, 429, "{\"error\":\"slow down\"}");
  answer->retry_after = 7;
}

static void it_waits_as_long_as_it_is_told(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = wait_told;
  well_at_ns = nxa__monotonic_ns() + 6 * SECOND;
  whole_trace(&fix, "a", "t", 2);
  run_for(fix.engine, 7 * SECOND - MILLISECOND);
  assert_int_equal(request_count, 1);
  run_for(fix.engine, 2 * SECOND);
  assert_delivered(&fix, 1, 2);
  assert_in_range(requests[1].at_ns - requests[0].at_ns, 7 * SECOND, 7 * SECOND + 50 * MILLISECOND);
  assert_warned(&fix, "Nexus answers 429 at http://nexus.test:8080: slow down; traces are sent when it is back, or "
                      "lost when the client closes before");
  stop(&fix);
}

static void it_never_waits_longer_than_a_minute(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = wait_told;
  well_at_ns = nxa__monotonic_ns() + SECOND;
  whole_trace(&fix, "a", "t", 0);
  run_for(fix.engine, 100 * SECOND);
  assert_delivered(&fix, 1, 0);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ closing */

static int64_t close_within(fixture *fix, double timeout, bool expected) {
  int64_t before = nxa__monotonic_ns();
  assert_int_equal(nxa_tracer_close(fix->tracer, timeout), expected);
  assert_nothing_held(fix);
  assert_false(nxa_tracer_pending(fix->tracer));
  return nxa__monotonic_ns() - before;
}

static void closing_delivers_what_there_is(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *open = nxa_trace_start(fix.tracer, "a", "open");
  end_and_free(span_under(open, NULL, "done"));
  nxa_span *span = span_under(open, NULL, "not done");
  whole_trace(&fix, "a", "t", 20);
  assert_true(close_within(&fix, 5, true) < SECOND);
  assert_delivered(&fix, 2, 22);
  assert_non_null(strstr(find_request("\"open\"")->body, "\"status\":\"error\""));
  assert_non_null(strstr(find_request("\"open\"")->body, "\"error\":\"interrupted\""));
  assert_non_null(strstr(find_request("\"not done\"")->body, "\"error\":\"interrupted; the span was not ended\""));
  assert_warned(&fix, NULL);
  nxa_span_free(span);
  nxa_trace_free(open);
  stop(&fix);
}

static void closing_does_not_wait_for_what_is_down(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = refused_until;
  well_at_ns = INT64_MAX;
  for (int i = 0; i < 10; i++)
    whole_trace(&fix, "a", "t", 3);
  assert_true(close_within(&fix, 5, false) < 50 * MILLISECOND);
  assert_failed(&fix, 10, 30);
  assert_warned(&fix, "not delivered to Nexus: 10 traces and 30 spans; "
                      "it cannot be reached at http://nexus.test:8080: connection refused");
  stop(&fix);
}

static void closing_blames_the_server_for_a_single_trace_too(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = refused_until;
  well_at_ns = INT64_MAX;
  whole_trace(&fix, "a", "t", 3);
  assert_true(close_within(&fix, 5, false) < 50 * MILLISECOND);
  assert_int_equal(request_count, 3);
  assert_warned(&fix, "not delivered to Nexus: 1 trace and 3 spans; "
                      "it cannot be reached at http://nexus.test:8080: connection refused");
  stop(&fix);
}

static void closing_in_an_outage_probes_twice(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = answers_500;
  well_at_ns = INT64_MAX;
  whole_trace(&fix, "a", "t", 1);
  run_for(fix.engine, 60 * SECOND);
  size_t before = request_count;
  assert_true(close_within(&fix, 5, false) < 50 * MILLISECOND);
  assert_int_equal(request_count, before + 2);
  /* told once, when it began */
  assert_warned(&fix, "Nexus answers 500 at http://nexus.test:8080; traces are sent when it is back, or lost when the "
                      "client closes before");
  stop(&fix);
}

static void closing_survives_a_stumble(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = refused_until;
  well_at_ns = nxa__monotonic_ns() + 10 * MILLISECOND;
  whole_trace(&fix, "a", "t", 3);
  assert_true(close_within(&fix, 5, true) < 100 * MILLISECOND);
  assert_delivered(&fix, 1, 3);
  assert_warned(&fix, NULL);
  stop(&fix);
}

static void hanging(const fake_request *request, fake_answer *answer) {
  answer->latency_ns = nxa__ns_of(request->timeout);
  fail_with(answer, NXA_TIMEOUT, "no answer within 5 s", true);
}

static void closing_keeps_to_its_time_where_it_hangs(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = hanging;
  whole_trace(&fix, "a", "t", 1);
  assert_int_equal(close_within(&fix, 2, false), 2 * SECOND);
  assert_warned(&fix, "not delivered to Nexus: 1 trace and 1 span; it did not answer at http://nexus.test:8080 "
                      "before the time to close was over");
  stop(&fix);
}

static void closing_returns_at_once_where_it_is_known_to_hang(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = hanging;
  whole_trace(&fix, "a", "t", 1);
  run_for(fix.engine, 15 * SECOND);
  assert_int_equal(close_within(&fix, 60, false), 0);
  assert_int_equal(fix.engine->warning_count, 1);
  stop(&fix);
  start(&fix); /* nobody looked for so long that the request must be dead */
  behaviour = hanging;
  whole_trace(&fix, "a", "t", 1);
  nxa_engine_step(fix.engine, 0, 0);
  pass(11 * SECOND);
  assert_int_equal(close_within(&fix, 60, false), 0);
  assert_warned(&fix, "not delivered to Nexus: 1 trace and 1 span; it does not answer at http://nexus.test:8080");
  stop(&fix);
}

static void closing_does_not_wait_as_told(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = wait_told;
  well_at_ns = INT64_MAX;
  whole_trace(&fix, "a", "t", 1);
  assert_int_equal(close_within(&fix, 5, false), 10 * MILLISECOND);
  stop(&fix);
}

static void spans_told_to_wait(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (!strstr(request->body, "\"slow\""))
    return;
  answer->latency_ns = MILLISECOND;
  refuse_with(answer, 429, "{}");
  answer->retry_after = 3;
}

static void closing_hears_out_what_is_under_way(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = spans_told_to_wait;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  end_and_free(span_under(trace, NULL, "slow"));
  for (int i = 0; i < 9; i++)
    end_and_free(span_under(trace, NULL, "span"));
  finish(trace);
  assert_int_equal(close_within(&fix, 5, false), 20 * MILLISECOND);
  assert_delivered(&fix, 1, 5); /* six went out at once, one of them was put off, the rest was not sent */
  assert_failed(&fix, 0, 5);
  assert_warned(&fix, "not delivered to Nexus: 0 traces and 5 spans; it answers 429 at http://nexus.test:8080");
  stop(&fix);
}

static void closing_gives_up_what_it_cannot_deliver(void **state) {
  (void)state;
  fixture fix;
  start_with(&fix, NULL, 2);
  behaviour = poison_500;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  end_and_free(span_under(trace, NULL, "poison"));
  for (int i = 0; i < 30; i++)
    end_and_free(span_under(trace, NULL, "good"));
  finish(trace);
  assert_true(close_within(&fix, 5, false) < SECOND);
  assert_delivered(&fix, 1, 30);
  assert_failed(&fix, 0, 1);
  assert_true(count_requests("\"poison\"") <= 3);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ sizes */

static char *big_string(size_t length) {
  char *json = malloc(length + 1);
  memset(json, 'x', length);
  json[0] = json[length - 1] = '"';
  json[length] = '\0';
  return json;
}

static void rows_stay_below_what_nexus_can_take(void **state) {
  (void)state;
  fixture fix;
  nxa_tracer_options options;
  nxa_tracer_options_init(&options);
  options.max_field_bytes = 4000000;
  start_with(&fix, &options, 6);
  char *big = big_string(3000000), *error = big_string(2500000), *middle = big_string(9000), *small = big_string(1500);
  char key[1500];
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *span = span_under(trace, NULL, "big");
  nxa_span_set_input(span, big, 3000000);
  nxa_span_set_output(span, small, 1500);
  nxa_span_set_error(span, error);
  memset(key, 'k', sizeof key);
  for (int i = 0; i < 256; i++) {
    snprintf(key + 900, sizeof key - 900, "%d", i);
    nxa_span_set_metadata(span, key, middle, 9000);
  }
  end_and_free(span);
  nxa_trace_set_output(trace, big, 3000000);
  run_for(fix.engine, 2 * SECOND);
  nxa_trace_set_metadata(trace, "k", big, 3000000);
  nxa_trace_end(trace, NXA_TRACE_ERROR, error);
  nxa_trace_free(trace);
  run_for(fix.engine, 2 * SECOND);
  assert_delivered(&fix, 1, 1);
  const seen *row = find_request("\"big\"");
  assert_in_range(row->length, 1700000, 1999999);
  assert_non_null(strstr(row->body, small)); /* only the largest are cut */
  assert_null(strstr(row->body, middle));
  const seen *last = find_request("trace.end");
  assert_in_range(last->length, 1800000, 1999999);
  free(big);
  free(error);
  free(middle);
  free(small);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ lifetimes */

static void the_tracer_may_go_first(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  whole_trace(&fix, "a", "t", 20);
  nxa_trace *open = nxa_trace_start(fix.tracer, "a", "open");
  nxa_span *span = span_under(open, NULL, "s");
  run_for(fix.engine, 15 * MILLISECOND);
  assert_true(fix.engine->calls.count > 0);
  stop(&fix);
  nxa_span_end(span, NXA_SPAN_OK);
  nxa_span_free(span);
  nxa_trace_free(open);
}

static void the_engine_may_go_first(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  whole_trace(&fix, "a", "t", 20);
  nxa_trace *open = nxa_trace_start(fix.tracer, "a", "open");
  run_for(fix.engine, 15 * MILLISECOND);
  assert_true(fix.engine->calls.count > 0);
  nxa_engine_free(fix.engine);
  assert_nothing_held(&fix);
  assert_failed(&fix, 2, 20);
  assert_false(nxa_tracer_pending(fix.tracer));
  nxa_tracer_flush(fix.tracer);
  finish(open);
  assert_false(nxa_tracer_close(fix.tracer, 100));
  nxa_tracer_free(fix.tracer);
  forget_seen();
}

static void options_are_checked(void **state) {
  (void)state;
  fixture fix;
  nxa_error error;
  nxa_nexus_options options;
  start(&fix);
  nxa_tracer *other = nxa_tracer_new(fix.engine, NULL, NULL);
  nxa_nexus_options_init(&options);
  assert_int_equal(nxa_tracer_add_nexus(other, &options, &error), NXA_INVALID);
  assert_non_null(strstr(error.message, "endpoint"));
  options.endpoint = new_endpoint();
  options.timeout = 0;
  assert_int_equal(nxa_tracer_add_nexus(other, &options, &error), NXA_INVALID);
  assert_non_null(strstr(error.message, "timeout"));
  options.timeout = 1;
  options.max_in_flight = 0;
  assert_int_equal(nxa_tracer_add_nexus(other, &options, NULL), NXA_INVALID);
  options.max_in_flight = 1;
  assert_int_equal(nxa_tracer_add_nexus(fix.tracer, &options, &error), NXA_INVALID);
  assert_non_null(strstr(error.message, "already"));
  nxa_tracer_close(other, 0);
  assert_int_equal(nxa_tracer_add_nexus(other, &options, &error), NXA_CLOSED);
  nxa_tracer_free(other);
  nxa_endpoint_free(options.endpoint);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ anything goes */

static uint32_t seed;

static uint32_t chance(uint32_t below) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % below;
}

static void moody(const fake_request *request, fake_answer *answer) {
  static const int statuses[] = {500, 503, 429, 400, 404, 408, 413, 403};
  healthy(request, answer);
  answer->latency_ns = (int64_t)chance(50) * MILLISECOND;
  switch (chance(6)) {
  case 0:
    refuse_with(answer, statuses[chance(is_create(request) ? 4 : 8)], "{\"error\":\"mood\"}");
    answer->retry_after = 1;
    break;
  case 1:
    fail_with(answer, chance(2) ? NXA_CONNECTION : NXA_TIMEOUT, "mood", chance(2));
    break;
  default:
    break;
  }
}

typedef struct crowd {
  nxa_trace *traces[8];
  nxa_span *spans[32];
} crowd;

static void do_anything(fixture *fix, crowd *all) {
  uint32_t t = chance(8), s = chance(32);
  switch (chance(8)) {
  case 0:
    if (!all->traces[t])
      all->traces[t] = nxa_trace_start(fix->tracer, chance(2) ? "a" : "b", "t");
    break;
  case 1:
    nxa_trace_end(all->traces[t], NXA_TRACE_SUCCESS, chance(2) ? "message" : NULL);
    nxa_trace_free(all->traces[t]);
    all->traces[t] = NULL;
    break;
  case 2:
    nxa_trace_set_metadata(all->traces[t], "k", "1", 1);
    break;
  case 3:
    run_for(fix->engine, (int64_t)chance(1500) * MILLISECOND);
    break;
  case 4:
    nxa_span_end(all->spans[s], NXA_SPAN_OK);
    break;
  case 5:
    nxa_span_free(all->spans[s]);
    all->spans[s] = NULL;
    break;
  default:
    if (!all->spans[s])
      all->spans[s] = nxa_span_start(all->traces[t], all->spans[chance(32)], "s", NULL);
  }
}

static void free_crowd(crowd *all) {
  for (int i = 0; i < 8; i++)
    nxa_trace_free(all->traces[i]);
  for (int i = 0; i < 32; i++)
    nxa_span_free(all->spans[i]);
}

/* A parent's id was given by an earlier request. */
static void assert_parents_first(void) {
  const char *name = "\"parent_span_id\":\"span-";
  for (size_t i = 0; i < request_count; i++) {
    const char *parent = strstr(requests[i].body, name);
    if (parent)
      assert_in_range(strtoul(parent + strlen(name), NULL, 10), 1, i);
  }
}

static void whatever_happens_the_sums_are_right(void **state) {
  (void)state;
  for (uint32_t round = 1; round <= 300; round++) {
    fixture fix;
    crowd all = {0};
    seed = round;
    start_with(&fix, NULL, 1 + (int)chance(6));
    behaviour = moody;
    for (int i = 0; i < 400; i++)
      do_anything(&fix, &all);
    if (chance(2))
      free_crowd(&all);
    else
      behaviour = NULL;
    bool freed = behaviour != NULL;
    nxa_tracer_close(fix.tracer, 30);
    assert_nothing_held(&fix);
    assert_parents_first();
    if (!freed)
      free_crowd(&all);
    stop(&fix);
  }
}

/* ------------------------------------------------------------------------------------------------ with a spool */

static char spool_path[] = "/tmp/nxa_sink_XXXXXX";

static int make_spool(void **state) {
  (void)state;
  strcpy(spool_path, "/tmp/nxa_sink_XXXXXX");
  spool = mkdtemp(spool_path);
  events_queued = 0;
  return spool ? 0 : -1;
}

static int remove_spool(void **state) {
  char command[64];
  (void)state;
  spool = NULL;
  snprintf(command, sizeof command, "rm -rf '%s'", spool_path);
  return system(command);
}

/* Sets the bytes that files may become; returns what it was. */
static rlim_t limit_files(rlim_t bytes) {
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  rlim_t before = limit.rlim_cur;
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  return before;
}

static void assert_spooled(const fixture *fix, size_t traces, size_t spans) {
  nxa_stats stats = stats_of(fix);
  assert_int_equal(stats.traces_spooled, traces);
  assert_int_equal(stats.spans_spooled, spans);
  assert_int_equal(stats.spool_left, traces);
  assert_int_equal(events_queued, traces);
}

/* The lines of the trace that was left and not collected yet. */
static const char *collected(const fixture *fix) {
  static char text[8192];
  const char *path = nxa__spool_collect(nxa__nexus_spool(fix->tracer));
  assert_non_null(path);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  return text;
}

static size_t occurrences(const char *text, const char *part) {
  size_t count = 0;
  for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
    count++;
  return count;
}

static void what_is_delivered_leaves_nothing(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  whole_trace(&fix, "a", "t", 3);
  assert_int_equal(stats_of(&fix).spool_files, 1);
  run_for(fix.engine, SECOND);
  assert_delivered(&fix, 1, 3);
  assert_spooled(&fix, 0, 0);
  assert_int_equal(stats_of(&fix).spool_files, 0);
  assert_int_equal(stats_of(&fix).spool_bytes, 0);
  close_within(&fix, 5, true);
  nxa__nexus_release_spool(fix.tracer);
  assert_int_equal(rmdir(spool), 0);
  stop(&fix);
}

static void second_is_lost(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (request_count == 2)
    fail_with(answer, NXA_TIMEOUT, "no answer", true);
}

static void a_lost_answer_is_left_to_be_looked_for(void **state) {
  (void)state;
  fixture fix;
  start_with(&fix, NULL, 1);
  behaviour = second_is_lost;
  whole_trace(&fix, "a", "t", 5);
  run_for(fix.engine, 30 * SECOND);
  assert_int_equal(request_count, 2);
  assert_spooled(&fix, 1, 5);
  assert_int_equal(stats_of(&fix).repeated_unconfirmed, 0);
  const char *lines = collected(&fix);
  assert_int_equal(occurrences(lines, "\"open\":false"), 5);
  assert_int_equal(occurrences(lines, "\"nexus_id\":\"trace-1\""), 1);
  assert_int_equal(occurrences(lines, "\"left\":true,\"doubt\":true,\"until\":17"), 1);
  assert_null(strstr(lines, KEY));
  whole_trace(&fix, "a", "next", 1); /* what comes then is delivered as ever */
  run_for(fix.engine, 30 * SECOND);
  assert_delivered(&fix, 1, 1);
  stop(&fix);
}

static void first_is_lost(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  if (request_count == 1)
    fail_with(answer, NXA_CONNECTION, "broken", true);
}

static void a_trace_that_runs_is_left_at_its_end(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = first_is_lost;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *open = span_under(trace, NULL, "open");
  run_for(fix.engine, 5 * SECOND);
  assert_int_equal(request_count, 1);
  assert_spooled(&fix, 0, 0);
  end_and_free(span_under(trace, open, "child"));
  end_and_free(open);
  finish(trace);
  assert_spooled(&fix, 1, 2);
  const char *lines = collected(&fix);
  assert_int_equal(occurrences(lines, "\"open\":true"), 1);
  assert_int_equal(occurrences(lines, "\"open\":false"), 2);
  assert_null(strstr(lines, "nexus_id"));
  stop(&fix);
}

static void refused_limit(const fake_request *request, fake_answer *answer) {
  (void)request;
  refuse_with(answer, 429, "{\"error\":\"Monthly trace limit reached\"}");
}

static void what_is_too_much_for_the_month_stays_until_it_is_not(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = refused_limit;
  whole_trace(&fix, "a", "t", 1);
  run_for(fix.engine, SECOND);
  whole_trace(&fix, "a", "u", 2);
  run_for(fix.engine, SECOND);
  assert_int_equal(request_count, 1);
  assert_spooled(&fix, 2, 3);
  assert_int_equal(occurrences(collected(&fix), "\"doubt\":false"), 1);
  behaviour = NULL;
  nxa__nexus_resume(fix.tracer);
  whole_trace(&fix, "a", "v", 1);
  run_for(fix.engine, SECOND);
  assert_delivered(&fix, 1, 1);
  stop(&fix);
}

static void a_refused_key_loses_nothing(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = always_401;
  whole_trace(&fix, "a", "t", 1);
  nxa_trace *open = nxa_trace_start(fix.tracer, "a", "open");
  run_for(fix.engine, SECOND);
  end_and_free(span_under(open, NULL, "span"));
  finish(open);
  assert_spooled(&fix, 2, 2);
  assert_int_equal(fix.engine->warning_count, 1);
  nxa__nexus_resume(fix.tracer);
  behaviour = answers_500;
  well_at_ns = INT64_MAX;
  whole_trace(&fix, "a", "t", 1);
  run_for(fix.engine, 10 * SECOND);
  assert_int_equal(fix.engine->warning_count, 2); /* another trouble is told anew */
  close_within(&fix, 1, false);
  assert_failed(&fix, 0, 0);
  stop(&fix);
}

static void silent(const fake_request *request, fake_answer *answer) {
  healthy(request, answer);
  answer->latency_ns = 3600 * SECOND;
}

static void closing_leaves_what_it_cannot_deliver(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = silent;
  whole_trace(&fix, "a", "t", 2);
  nxa_trace *open = nxa_trace_start(fix.tracer, "a", "open");
  nxa_span *span = span_under(open, NULL, "span");
  assert_true(close_within(&fix, 1, false) <= SECOND);
  assert_spooled(&fix, 2, 3);
  assert_true(occurrences(collected(&fix), "\"doubt\":true") + occurrences(collected(&fix), "\"doubt\":true") >= 1);
  nxa_span_free(span);
  nxa_trace_free(open);
  stop(&fix);
}

/* A span and an end for which there is no room on the disk any more. */
static void half_kept(const fixture *fix) {
  char output[2002];
  memset(output, '1', sizeof output);
  nxa_trace *trace = nxa_trace_start(fix->tracer, "a", "t");
  end_and_free(span_under(trace, NULL, "span"));
  nxa_trace_set_output(trace, output, sizeof output);
  finish(trace);
}

static void what_is_on_the_disk_stays_though_its_end_has_no_room(void **state) {
  (void)state;
  fixture fix;
  rlim_t before = limit_files(2000);
  start(&fix);
  behaviour = refused_limit;
  half_kept(&fix);
  run_for(fix.engine, SECOND);
  limit_files(before);
  assert_spooled(&fix, 1, 1);
  assert_failed(&fix, 0, 0);
  const char *lines = collected(&fix);
  assert_int_equal(occurrences(lines, "\"status\":\"running\""), 1);
  assert_int_equal(occurrences(lines, "\"open\":false"), 1);
  assert_int_equal(occurrences(lines, "\n"), 2);
  stop(&fix);
}

static void remove_folders(void) {
  char command[64];
  snprintf(command, sizeof command, "rm -rf '%s'/*", spool);
  assert_int_equal(system(command), 0);
}

/* Ended and open, as the tracer closes; or to make room in memory. */
static void what_is_deleted_is_written_anew(void **state) {
  (void)state;
  for (int closes = 0; closes < 2; closes++) {
    fixture fix;
    start(&fix);
    behaviour = silent;
    whole_trace(&fix, "a", "t", 2);
    if (closes)
      run_for(fix.engine, SECOND);
    remove_folders();
    if (closes) {
      close_within(&fix, 1, false);
    } else {
      fix.tracer->options.max_traces = 1;
      whole_trace(&fix, "a", "u", 2);
    }
    nxa_stats stats = stats_of(&fix);
    assert_int_equal(stats.traces_spooled, 1);
    assert_int_equal(stats.spans_spooled, 2);
    assert_int_equal(stats.spool_left, 1);
    assert_failed(&fix, 0, 0);
    const char *lines = collected(&fix);
    assert_int_equal(occurrences(lines, "\"open\":false"), 2);
    assert_int_equal(occurrences(lines, "\"state\":"), 1);
    assert_int_equal(occurrences(lines, "\"left\":true"), 1);
    stop(&fix);
  }
}

static void put_a_file_in_place_of_the_spool(void) {
  assert_int_equal(rmdir(spool), 0);
  close(open(spool, O_CREAT | O_WRONLY, 0600));
}

static void put_the_spool_back(void) {
  assert_int_equal(unlink(spool), 0);
  assert_int_equal(mkdir(spool, 0700), 0);
}

static void what_is_deleted_for_good_stays_in_memory(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  whole_trace(&fix, "a", "t", 2);
  remove_folders();
  put_a_file_in_place_of_the_spool();
  fix.tracer->options.max_traces = 1;
  assert_null(nxa_trace_start(fix.tracer, "a", "u"));
  run_for(fix.engine, SECOND);
  assert_delivered(&fix, 1, 2);
  put_the_spool_back();
  stop(&fix);
}

static void what_had_no_room_on_the_disk_is_tried_again_at_the_end(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = silent;
  put_a_file_in_place_of_the_spool();
  whole_trace(&fix, "a", "t", 2);
  assert_int_equal(fix.engine->warning_count, 1);
  put_the_spool_back();
  close_within(&fix, 1, false);
  assert_spooled(&fix, 1, 2);
  assert_failed(&fix, 0, 0);
  stop(&fix);
}

/* The warning says of each what became of it. */
static void what_has_no_room_on_the_disk_at_the_end_is_lost(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = silent;
  put_a_file_in_place_of_the_spool();
  whole_trace(&fix, "a", "t", 2);
  close_within(&fix, 1, false);
  assert_int_equal(fix.engine->warning_count, 2);
  assert_non_null(strstr(fix.engine->warnings[0], "traces can't be kept in '"));
  assert_string_equal(fix.engine->warnings[1],
                      "not delivered to Nexus, nor kept in the spool: 1 trace and 2 spans; it did not answer at "
                      "http://nexus.test:8080 before the time to close was over");
  assert_failed(&fix, 1, 2);
  stop(&fix);
  put_the_spool_back();
}

static void what_is_lost_at_the_end_in_spite_of_the_spool_is_told_after_an_outage(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = answers_500;
  well_at_ns = INT64_MAX;
  put_a_file_in_place_of_the_spool();
  whole_trace(&fix, "a", "t", 3);
  run_for(fix.engine, 60 * SECOND);
  assert_int_equal(fix.engine->warning_count, 2);
  close_within(&fix, 5, false);
  assert_failed(&fix, 1, 3);
  assert_int_equal(fix.engine->warning_count, 3);
  assert_string_equal(fix.engine->warnings[2],
                      "not delivered to Nexus, nor kept in the spool: 1 trace and 3 spans; it answers 500 at "
                      "http://nexus.test:8080");
  stop(&fix);
  put_the_spool_back();
}

static void what_is_on_the_disk_makes_room_in_memory(void **state) {
  (void)state;
  fixture fix;
  nxa_tracer_options options;
  nxa_tracer_options_init(&options);
  options.max_traces = 3;
  options.max_spans = 4;
  start_with(&fix, &options, 1);
  behaviour = silent;
  for (int i = 0; i < 10; i++)
    whole_trace(&fix, "a", "t", 1);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "long");
  run_for(fix.engine, MILLISECOND); /* one request is on its way: that trace is wanted in memory */
  for (int i = 0; i < 3; i++)
    nxa_span_free(nxa_span_start(trace, NULL, "open", NULL));
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.traces_dropped + stats.spans_dropped, 0);
  assert_int_equal(stats.traces_pending, 2);
  assert_int_equal(stats.spool_left, 9);
  nxa_trace_free(trace);
  stop(&fix);
}

/* Though its end is on the disk, a span of it isn't. */
static void what_has_no_room_on_the_disk_stays_in_memory(void **state) {
  (void)state;
  fixture fix;
  char output[2002];
  memset(output, '1', sizeof output);
  rlim_t before = limit_files(2000);
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *span = span_under(trace, NULL, "span");
  nxa_span_set_output(span, output, sizeof output);
  end_and_free(span);
  pass(6 * SECOND); /* the spool has rested */
  finish(trace);
  assert_true(stats_of(&fix).spool_files == 1);
  fix.tracer->options.max_traces = 1;
  assert_null(nxa_trace_start(fix.tracer, "a", "u"));
  run_for(fix.engine, SECOND);
  limit_files(before);
  assert_delivered(&fix, 1, 1);
  stop(&fix);
}

/* While the spool rests it can't be taken back in the file. */
static void what_is_left_out_is_not_in_the_spool(void **state) {
  (void)state;
  fixture fix;
  char output[2002];
  memset(output, '1', sizeof output);
  rlim_t before = limit_files(2000);
  start(&fix);
  behaviour = silent;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t"), *other = nxa_trace_start(fix.tracer, "a", "o");
  nxa_span *secret = span_under(trace, NULL, "secret"), *large = span_under(other, NULL, "large");
  end_and_free(span_under(trace, secret, "child"));
  nxa_span_set_output(large, output, sizeof output);
  end_and_free(large);
  nxa__span_leave_out(secret);
  nxa_span_free(secret);
  finish(trace);
  assert_false(nxa_tracer_close(fix.tracer, 0));
  limit_files(before);
  const char *lines = collected(&fix);
  assert_int_equal(occurrences(lines, "\"secret\""), 0);
  assert_int_equal(occurrences(lines, "\"child\""), 1);
  assert_int_equal(occurrences(lines, "\"left\":true"), 1);
  nxa_trace_free(other);
  stop(&fix);
}

/* What is on the disk now, of traces under way. */
static const char *on_the_disk(void) {
  static char text[512 << 10];
  char command[64];
  snprintf(command, sizeof command, "cat '%s'/*/*.jsonl 2>&1", spool_path);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  text[fread(text, 1, sizeof text - 1, pipe)] = '\0';
  pclose(pipe);
  return text;
}

static int count_on_the_disk(const char *part) {
  char command[128];
  int count = -1;
  snprintf(command, sizeof command, "cat '%s'/*/*.jsonl | grep -c '%s'", spool_path, part);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  assert_int_equal(fscanf(pipe, "%d", &count), 1);
  pclose(pipe);
  return count;
}

/* Also long after the trace was created, and without anything else to write. */
static void what_goes_on_is_on_the_disk_before_long(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t"), *other = nxa_trace_start(fix.tracer, "a", "o");
  run_for(fix.engine, 5 * SECOND);
  finish(other);
  nxa_span *span = span_under(trace, NULL, "long");
  assert_int_equal(occurrences(on_the_disk(), "\"long\""), 0);
  run_for(fix.engine, SECOND);
  assert_int_equal(occurrences(on_the_disk(), "\"name\":\"long\""), 1);
  assert_int_equal(occurrences(on_the_disk(), "\"open\":true"), 1);
  run_for(fix.engine, 5 * SECOND);
  assert_int_equal(occurrences(on_the_disk(), "\"name\":\"long\""), 1);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  nxa_span_free(span);
  nxa_trace_free(trace);
  run_for(fix.engine, SECOND);
  assert_null(fix.engine->timers); /* nothing wakes the host any more */
  stop(&fix);
}

static int64_t time_of_lock(void) {
  char path[64];
  struct stat known;
  glob_t found;
  snprintf(path, sizeof path, "%s/*/lock", spool_path);
  assert_int_equal(glob(path, 0, NULL, &found), 0);
  assert_int_equal(found.gl_pathc, 1);
  assert_int_equal(stat(found.gl_pathv[0], &known), 0);
  globfree(&found);
  return known.st_mtim.tv_sec * SECOND + known.st_mtim.tv_nsec;
}

static void until_when_it_went_on_is_on_the_disk(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  run_for(fix.engine, 20 * SECOND);
  int64_t late = nxa__wall_ns() - time_of_lock();
  assert_true(late >= 0 && late <= SECOND / 2);
  finish(trace);
  stop(&fix);
}

static void fire_timer(const fixture *fix) {
  nxa__timer *timer = fix->engine->timers;
  nxa__timer_disarm(fix->engine, timer);
  timer->fire(timer);
}

/* A step of the host's must not write for all that go on at once. */
static void what_goes_on_is_written_a_little_at_a_time(void **state) {
  (void)state;
  enum { MANY = 12 };
  fixture fix;
  nxa_trace *traces[MANY];
  start(&fix);
  for (int i = 0; i < MANY; i++) {
    traces[i] = nxa_trace_start(fix.tracer, "a", "t");
    nxa_span_free(span_under(traces[i], NULL, "long"));
  }
  pass(SECOND / 2);
  fire_timer(&fix);
  size_t written = occurrences(on_the_disk(), "\"long\"");
  assert_true(written > 0 && written < MANY);
  run_for(fix.engine, MILLISECOND);
  assert_int_equal(occurrences(on_the_disk(), "\"long\""), MANY);
  for (int i = 0; i < MANY; i++)
    finish(traces[i]);
  stop(&fix);
}

static nxa_span *span_with_input(nxa_trace *trace, size_t length) {
  static char input[4096];
  memset(input, '1', sizeof input);
  nxa_span *span = span_under(trace, NULL, "long");
  nxa_span_set_input(span, input, length);
  return span;
}

/* Nor all of one trace; those that are to come are no later for it. */
static void many_spans_of_one_trace_are_written_a_little_at_a_time(void **state) {
  (void)state;
  enum { MANY = 100 };
  fixture fix;
  nxa_span *spans[MANY];
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  for (int i = 0; i < MANY; i++)
    spans[i] = span_with_input(trace, 4000);
  pass(SECOND / 2);
  fire_timer(&fix);
  size_t written = occurrences(on_the_disk(), "\"open\":true");
  assert_true(written > 10 && written < 20); /* 64 KiB */
  run_for(fix.engine, MILLISECOND);
  assert_int_equal(occurrences(on_the_disk(), "\"open\":true"), MANY);
  for (int i = 0; i < MANY; i++)
    nxa_span_free(spans[i]);
  finish(trace);
  stop(&fix);
}

/* However large they are, they are all written at the first look, one step after the other. */
static void large_spans_are_written_as_soon_as_others(void **state) {
  (void)state;
  enum { MANY = 8, SIZE = 50 << 10 };
  static char input[SIZE];
  fixture fix;
  nxa_span *spans[MANY];
  memset(input, '1', sizeof input);
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  for (int i = 0; i < MANY; i++) {
    spans[i] = span_under(trace, NULL, "long");
    for (int part = 0; part < 6; part++) {
      const char key[] = {'k', (char)('0' + part), '\0'};
      nxa_span_set_metadata(spans[i], key, input, sizeof input);
    }
  }
  run_for(fix.engine, 510 * MILLISECOND);
  assert_int_equal(count_on_the_disk("\"open\":true"), MANY);
  for (int i = 0; i < MANY; i++)
    nxa_span_free(spans[i]);
  finish(trace);
  stop(&fix);
}

/* Those that go on may be too large for what there is. */
static void what_ends_is_kept_though_what_goes_on_has_no_room(void **state) {
  (void)state;
  enum { MANY = 10 };
  fixture fix;
  nxa_span *spans[MANY];
  spool_bytes = 20000;
  start(&fix);
  spool_bytes = (size_t)256 << 20;
  behaviour = silent;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  for (int i = 0; i < MANY; i++)
    spans[i] = span_with_input(trace, 4000);
  for (int i = 0; i < MANY; i++)
    end_and_free(span_under(trace, NULL, "small"));
  assert_int_equal(count_on_the_disk("\"name\":\"small\""), MANY);
  for (int i = 0; i < MANY; i++)
    nxa_span_free(spans[i]);
  finish(trace);
  stop(&fix);
}

static void what_nexus_is_told_of_is_on_the_disk_before(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *span = span_under(trace, NULL, "long");
  nxa_tracer_flush(fix.tracer); /* before it is looked at */
  run_for(fix.engine, 100 * MILLISECOND);
  assert_int_equal(count_requests("\"agent_id\""), 1);
  const char *lines = on_the_disk();
  assert_true(occurrences(lines, "\"state\"") == 1 && occurrences(lines, "\"open\":true") == 1);
  assert_int_equal(occurrences(lines, "\"nexus_id\""), 1);
  nxa_span_free(span);
  finish(trace);
  stop(&fix);
}

static void what_went_on_while_the_disk_was_full_is_written_later(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  put_a_file_in_place_of_the_spool();
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *span = span_under(trace, NULL, "long");
  run_for(fix.engine, SECOND);
  put_the_spool_back();
  run_for(fix.engine, 10 * SECOND);
  assert_int_equal(occurrences(on_the_disk(), "\"name\":\"long\""), 1);
  nxa_span_free(span);
  finish(trace);
  stop(&fix);
}

static void what_changes_all_the_time_does_not_fill_the_disk(void **state) {
  (void)state;
  fixture fix;
  char place[1000];
  memset(place, '1', sizeof place);
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  for (int i = 0; i < 200; i++) {
    nxa_trace_set_metadata(trace, "place", place, sizeof place);
    run_for(fix.engine, SECOND / 2);
  }
  size_t often = occurrences(on_the_disk(), "\"state\"");
  assert_true(often > 5 && often < 20);
  end_and_free(span_under(trace, NULL, "span"));
  assert_int_equal(occurrences(on_the_disk(), "\"state\""), often + 1); /* it is told with what ends */
  finish(trace);
  stop(&fix);
}

/* It takes no room, so that a full disk doesn't keep it there; and what it held is gone. */
static void what_is_left_out_leaves_nothing_on_the_disk(void **state) {
  (void)state;
  fixture fix;
  rlim_t before = limit_files(6000);
  start(&fix);
  behaviour = silent;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t"), *other = nxa_trace_start(fix.tracer, "a", "o");
  nxa_span *secret = span_with_input(trace, 4000);
  run_for(fix.engine, 30 * SECOND); /* no answer came to the creation: it leaves */
  assert_non_null(strstr(on_the_disk(), "1111"));
  end_and_free(span_with_input(other, 4000));
  end_and_free(span_with_input(other, 4000)); /* there is no room for it: nothing is written for some time */
  assert_int_equal(occurrences(on_the_disk(), "\"open\":false"), 1);
  assert_true(nxa__spool_rests(nxa__nexus_spool(fix.tracer)));
  finish(other);
  nxa__span_leave_out(secret);
  nxa_span_free(secret);
  limit_files(before);
  assert_int_equal(occurrences(on_the_disk(), "~\"trace\""), 1);
  finish(trace);
  stop(&fix);
}

/* Where what is written over it falls short, what is behind it is there as it was. */
static void what_is_left_out_by_halves_is_left_out(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = silent;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *secret = span_with_input(trace, 4000);
  run_for(fix.engine, 30 * SECOND); /* no answer came to the creation: it leaves */
  end_and_free(span_under(trace, NULL, "kept"));
  size_t lines = occurrences(on_the_disk(), "\n");
  const char *place = strstr(on_the_disk(), "1111"), *text = on_the_disk();
  rlim_t before = limit_files((rlim_t)(place - text) + 100);
  nxa__span_leave_out(secret);
  limit_files(before);
  nxa_span_free(secret);
  assert_int_equal(occurrences(on_the_disk(), "\n"), lines);
  assert_int_equal(occurrences(on_the_disk(), "\n~\"trace\""), 1);
  assert_int_equal(occurrences(on_the_disk(), "\n{\"trace\""), lines - 2);
  assert_int_equal(count_on_the_disk("\"name\":\"kept\""), 1);
  finish(trace);
  stop(&fix);
}

/* It was open when it was written; the line it had is no more. */
static void an_end_that_is_known_is_on_the_disk_though_the_span_goes_on(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *tool = span_under(trace, NULL, "tool"), *other = span_under(trace, NULL, "other");
  run_for(fix.engine, SECOND);
  assert_int_equal(count_on_the_disk("\"ended_at\""), 0);
  for (int i = 0; i < 100; i++)
    nxa_span_set_times(tool, NAN, nxa__seconds_of(nxa__wall_ns()));
  assert_int_equal(count_on_the_disk("\"ended_at\""), 0); /* it may yet fail */
  assert_int_equal(count_on_the_disk("\"name\":\"tool\""), 1);
  nxa__span_note_end(other); /* there is none */
  nxa__span_note_end(tool);
  assert_int_equal(count_on_the_disk("\"name\":\"tool\".*\"ended_at\""), 1);
  assert_int_equal(count_on_the_disk("\"name\":\"tool\""), 1);
  assert_int_equal(count_on_the_disk("\"open\":true"), 2);
  nxa__span_leave_out(tool);
  assert_int_equal(count_on_the_disk("\"name\":\"tool\""), 0);
  nxa_span_free(tool);
  nxa_span_free(other);
  finish(trace);
  stop(&fix);
}

/* Nobody looks at it any more. */
static void a_trace_that_goes_on_may_be_given_up(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = gone_404;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "gone");
  run_for(fix.engine, 2 * SECOND);
  end_and_free(span_under(trace, NULL, "span"));
  run_for(fix.engine, 100 * MILLISECOND);
  assert_int_equal(stats_of(&fix).traces_failed, 1);
  nxa_trace_free(trace);
  run_for(fix.engine, 5 * SECOND);
  assert_null(fix.engine->timers);
  stop(&fix);
}

static void end_with_parent(nxa_span *span) {
  nxa__span_end_with_parent(span, NXA_SPAN_OK);
  nxa_span_free(span);
}

static void what_ends_with_its_parent_is_written_with_it(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = silent;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *parent = span_under(trace, NULL, "parent");
  end_with_parent(span_under(trace, parent, "one"));
  end_with_parent(span_under(trace, parent, "two"));
  assert_int_equal(occurrences(on_the_disk(), "\"open\":false"), 0);
  nxa_span_end(parent, NXA_SPAN_OK);
  const char *lines = on_the_disk();
  assert_int_equal(occurrences(lines, "\"open\":false"), 3);
  assert_true(occurrences(lines, "\"one\"") == 1 && occurrences(lines, "\"two\"") == 1);
  end_with_parent(span_under(trace, parent, "later"));
  end_with_parent(span_under(trace, NULL, "top"));
  assert_int_equal(occurrences(on_the_disk(), "\"open\":false"), 5);
  nxa_span_free(parent);
  finish(trace);
  stop(&fix);
}

static void what_was_to_be_written_with_its_parent_is_kept_without(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = silent;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *secret = span_under(trace, NULL, "secret"), *open = span_under(trace, NULL, "open");
  end_with_parent(span_under(trace, secret, "one"));
  nxa__span_leave_out(secret);
  nxa_span_free(secret);
  const char *lines = on_the_disk();
  assert_true(occurrences(lines, "\"one\"") == 1 && occurrences(lines, "\"secret\"") == 0);
  end_with_parent(span_under(trace, open, "two"));
  assert_int_equal(occurrences(on_the_disk(), "\"two\""), 0);
  finish(trace);
  assert_int_equal(occurrences(on_the_disk(), "\"two\""), 1);
  nxa_span_free(open);
  stop(&fix);
}

static void spans_of_a_trace_that_is_left_leave_memory(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  behaviour = refused_limit;
  whole_trace(&fix, "a", "t", 0);
  run_for(fix.engine, SECOND);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "long");
  nxa_span *parent = span_under(trace, NULL, "parent");
  for (int i = 0; i < 100; i++)
    end_and_free(span_under(trace, parent, "child"));
  assert_int_equal(stats_of(&fix).spans_pending, 1);
  assert_int_equal(stats_of(&fix).spans_spooled, 100);
  end_and_free(parent);
  finish(trace);
  assert_spooled(&fix, 2, 101);
  stop(&fix);
}

static void a_tracer_that_is_just_freed_leaves_the_files(void **state) {
  (void)state;
  fixture fix;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  end_and_free(span_under(trace, NULL, "span"));
  stop(&fix);
  nxa_trace_free(trace);
  assert_int_equal(rmdir(spool), -1);
}

/* ------------------------------------------------------------------------------------------------ out of memory */

static size_t allocations, failing_from, failing_to, blocks;

static bool refuse_block(void) {
  size_t number = allocations++;
  return number >= failing_from && number < failing_to;
}

static void *scarce_allocate(size_t size) {
  if (refuse_block())
    return NULL;
  blocks++;
  return malloc(size);
}

static void *scarce_reallocate(void *block, size_t size) {
  if (refuse_block())
    return NULL;
  blocks += block == NULL;
  return realloc(block, size);
}

static void scarce_release(void *block) {
  blocks -= block != NULL;
  free(block);
}

static void record_much(fixture *fix) {
  nxa_trace *trace = nxa_trace_start(fix->tracer, "a", "t");
  nxa_span *parent = nxa_span_start(trace, NULL, "parent", "llm");
  nxa_span *child = nxa_span_start(trace, parent, "child", NULL);
  nxa_span_set_metadata(child, "k", "1", 1);
  nxa_span_end(child, NXA_SPAN_OK);
  run_for(fix->engine, 1100 * MILLISECOND);
  nxa_trace_set_output(trace, "1", 1);
  nxa_span_end(parent, NXA_SPAN_OK);
  nxa_trace_end(trace, NXA_TRACE_ERROR, "broken");
  nxa_span_free(parent);
  nxa_span_free(child);
  nxa_trace_free(trace);
  whole_trace(fix, "second", "t", 0);
  run_for(fix->engine, 2 * SECOND);
}

/* One allocation refused, or all from it on, for every allocation there is. */
static void sweep(size_t width) {
  for (size_t from = 0;; from++) {
    fixture fix;
    failing_from = failing_to = SIZE_MAX;
    start(&fix);
    behaviour = second_agent_403;
    allocations = 0;
    failing_from = from;
    failing_to = width ? from + width : SIZE_MAX;
    record_much(&fix);
    size_t reached = allocations;
    nxa_tracer_close(fix.tracer, 5);
    assert_nothing_held(&fix);
    stop(&fix);
    assert_int_equal(blocks, 0);
    if (reached <= from)
      return;
    assert_true(from < 1000);
  }
}

static void want_of_memory_is_survived_anywhere(void **state) {
  (void)state;
  nxa_set_allocator(scarce_allocate, scarce_reallocate, scarce_release);
  sweep(1);
  sweep(0);
  nxa_set_allocator(NULL, NULL, NULL);
}

static void want_of_memory_is_survived_with_a_spool(void **state) {
  want_of_memory_is_survived_anywhere(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_short_trace_arrives_whole),
      cmocka_unit_test(type_and_metadata_are_folded_into_the_input),
      cmocka_unit_test(reserved_metadata_names_win),
      cmocka_unit_test(a_long_trace_is_seen_running),
      cmocka_unit_test(what_came_after_creation_is_in_a_last_span),
      cmocka_unit_test(a_trace_that_ends_while_it_is_created_is_ended_too),
      cmocka_unit_test(flush_does_not_wait),
      cmocka_unit_test(an_idle_sink_wants_nothing),
      cmocka_unit_test(parents_go_before_children),
      cmocka_unit_test(many_go_at_once_but_no_more_than_allowed),
      cmocka_unit_test(a_big_trace_does_not_starve_a_small_one),
      cmocka_unit_test(a_refused_key_stops_it_for_good),
      cmocka_unit_test(a_refused_agent_does_not_stop_the_others),
      cmocka_unit_test(the_quota_stops_new_traces_only),
      cmocka_unit_test(a_wrong_address_stops_it),
      cmocka_unit_test(a_trace_that_is_gone_is_given_up),
      cmocka_unit_test(a_refused_span_is_given_up_alone),
      cmocka_unit_test(ids_that_cannot_be_used_are_not),
      cmocka_unit_test(a_refused_end_fails_the_trace_alone),
      cmocka_unit_test(an_outage_is_sat_out),
      cmocka_unit_test(errors_of_the_server_are_an_outage),
      cmocka_unit_test(what_never_goes_through_is_given_up),
      cmocka_unit_test(alone_it_is_kept),
      cmocka_unit_test(lost_answers_are_repeated_and_counted),
      cmocka_unit_test(a_success_that_broke_off_is_not_doubled),
      cmocka_unit_test(one_broken_connection_is_no_outage),
      cmocka_unit_test(it_waits_as_long_as_it_is_told),
      cmocka_unit_test(it_never_waits_longer_than_a_minute),
      cmocka_unit_test(closing_delivers_what_there_is),
      cmocka_unit_test(closing_does_not_wait_for_what_is_down),
      cmocka_unit_test(closing_blames_the_server_for_a_single_trace_too),
      cmocka_unit_test(closing_in_an_outage_probes_twice),
      cmocka_unit_test(closing_survives_a_stumble),
      cmocka_unit_test(closing_keeps_to_its_time_where_it_hangs),
      cmocka_unit_test(closing_returns_at_once_where_it_is_known_to_hang),
      cmocka_unit_test(closing_does_not_wait_as_told),
      cmocka_unit_test(closing_hears_out_what_is_under_way),
      cmocka_unit_test(closing_gives_up_what_it_cannot_deliver),
      cmocka_unit_test(rows_stay_below_what_nexus_can_take),
      cmocka_unit_test(the_tracer_may_go_first),
      cmocka_unit_test(the_engine_may_go_first),
      cmocka_unit_test(options_are_checked),
      cmocka_unit_test(whatever_happens_the_sums_are_right),
      cmocka_unit_test(want_of_memory_is_survived_anywhere),
      cmocka_unit_test_setup_teardown(what_is_delivered_leaves_nothing, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(a_lost_answer_is_left_to_be_looked_for, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(a_trace_that_runs_is_left_at_its_end, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_too_much_for_the_month_stays_until_it_is_not, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(a_refused_key_loses_nothing, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(closing_leaves_what_it_cannot_deliver, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_on_the_disk_stays_though_its_end_has_no_room, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_deleted_for_good_stays_in_memory, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_deleted_is_written_anew, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_had_no_room_on_the_disk_is_tried_again_at_the_end, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_on_the_disk_makes_room_in_memory, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_has_no_room_on_the_disk_stays_in_memory, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_left_out_is_not_in_the_spool, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_has_no_room_on_the_disk_at_the_end_is_lost, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_lost_at_the_end_in_spite_of_the_spool_is_told_after_an_outage, make_spool,
                                      remove_spool),
      cmocka_unit_test_setup_teardown(until_when_it_went_on_is_on_the_disk, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_goes_on_is_on_the_disk_before_long, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_goes_on_is_written_a_little_at_a_time, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(many_spans_of_one_trace_are_written_a_little_at_a_time, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(large_spans_are_written_as_soon_as_others, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_ends_is_kept_though_what_goes_on_has_no_room, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_nexus_is_told_of_is_on_the_disk_before, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_went_on_while_the_disk_was_full_is_written_later, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_changes_all_the_time_does_not_fill_the_disk, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_left_out_leaves_nothing_on_the_disk, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_left_out_by_halves_is_left_out, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(an_end_that_is_known_is_on_the_disk_though_the_span_goes_on, make_spool,
                                      remove_spool),
      cmocka_unit_test_setup_teardown(a_trace_that_goes_on_may_be_given_up, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_ends_with_its_parent_is_written_with_it, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_was_to_be_written_with_its_parent_is_kept_without, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(spans_of_a_trace_that_is_left_leave_memory, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(a_tracer_that_is_just_freed_leaves_the_files, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(want_of_memory_is_survived_with_a_spool, make_spool, remove_spool),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
