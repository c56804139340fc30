/* Delivery by OTLP/HTTP: what is sent when, and what each answer leads to. */
/* clang-format off
 * nxa-links: alloc buffer clock error random text pairs endpoint request parts json_out trace traceparent export gzip otlp_answer otlp_content otlp_json otlp_page otlp_protobuf otlp_queue otlp_resource otlp_span otlp_value lock private spool sink_otlp
 * clang-format on */
#include "support/fake_transport.h"
#include "support/json_check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gzip.h"
#include "otlp_answer.h"
#include "sink_otlp.h"

#ifdef NXA_ZLIB
#include <zlib.h>
#endif

/* ------------------------------------------------------------------------------------------------ the receiver */

#define SEEN_MOST 64

static struct {
  char *body[SEEN_MOST];
  size_t length[SEEN_MOST];
  int64_t at_ns[SEEN_MOST];
  fake_answer answers[SEEN_MOST]; /* in turn; the last one stays */
  size_t answer_count;
} seen;

static void receive(const fake_request *request, fake_answer *answer) {
  size_t number = requests_seen - 1;
  assert_true(number < SEEN_MOST);
  assert_string_equal(request->method, "POST");
  seen.body[number] = calloc(1, request->length + 1);
  memcpy(seen.body[number], request->body, request->length);
  seen.length[number] = request->length;
  seen.at_ns[number] = nxa__monotonic_ns() - FAKE_START_MONOTONIC;
  if (seen.answer_count > 0)
    *answer = seen.answers[number < seen.answer_count ? number : seen.answer_count - 1];
  else
    answer->status = 200;
}

static fake_answer status(int code) {
  return (fake_answer){.status = code, .retry_after = -1, .arrived = true};
}

static fake_answer failure(nxa_kind kind, bool arrived) {
  return (fake_answer){.kind = kind, .retry_after = -1, .arrived = arrived, .message = "it broke"};
}

static void will_answer(fake_answer answer) {
  seen.answers[seen.answer_count++] = answer;
}

/* ------------------------------------------------------------------------------------------------ helpers */

typedef struct fixture {
  nxa_engine *engine;
  nxa_tracer *tracer;
} fixture;

#define KEY "collector-key-0123456789"

static nxa_endpoint *new_endpoint(void) {
  nxa_endpoint_options options;
  nxa_endpoint_options_init(&options);
  options.base_url = "http://collector:4318";
  options.key = KEY;
  return nxa_endpoint_new(&options, NULL);
}

static const char *spool; /* a folder, or NULL for none */

static nxa_otlp_options json_options(void) {
  nxa_otlp_options options;
  nxa_otlp_options_init(&options);
  options.json = true;
  options.service_name = "bot";
  options.spool = spool;
  return options;
}

static void start_with(fixture *fix, nxa_otlp_options options) {
  nxa_error error;
  fix->engine = fake_engine();
  server = receive;
  options.endpoint = new_endpoint();
  fix->tracer = nxa_tracer_new(fix->engine, NULL, &error);
  assert_int_equal(nxa_tracer_add_otlp(fix->tracer, &options, &error), NXA_OK);
  nxa_endpoint_free(options.endpoint);
}

static void start(fixture *fix) {
  start_with(fix, json_options());
}

static void forget(void) {
  for (size_t i = 0; i < SEEN_MOST; i++)
    free(seen.body[i]);
  memset(&seen, 0, sizeof seen);
}

static void stop(fixture *fix) {
  nxa_tracer_free(fix->tracer);
  assert_int_equal(fix->engine->references, 1);
  nxa_engine_free(fix->engine);
  nxa__clock_real();
  forget();
}

static void record_spans(nxa_trace *trace, int count) {
  for (int i = 0; i < count; i++) {
    char name[16];
    snprintf(name, sizeof name, "s%d.", i);
    nxa_span *span = nxa_span_start(trace, NULL, name, NULL);
    nxa_span_end(span, NXA_SPAN_OK);
    nxa_span_free(span);
  }
}

/* A trace with so many spans, its own not counted. */
static void record(fixture *fix, int count) {
  nxa_trace *trace = nxa_trace_start(fix->tracer, "bot", "weather");
  record_spans(trace, count);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  nxa_trace_free(trace);
}

static nxa_stats stats_of(const fixture *fix) {
  nxa_stats stats;
  nxa_tracer_stats(fix->tracer, &stats);
  return stats;
}

static void assert_counts(const fixture *fix, uint64_t traces, uint64_t spans, uint64_t traces_failed,
                          uint64_t spans_failed) {
  nxa_stats stats = stats_of(fix);
  assert_int_equal(stats.traces_delivered, traces);
  assert_int_equal(stats.spans_delivered, spans);
  assert_int_equal(stats.traces_failed, traces_failed);
  assert_int_equal(stats.spans_failed, spans_failed);
  assert_int_equal(stats.spans_pending + stats.traces_pending + stats.bytes_pending, 0);
}

static size_t count(const char *text, const char *part) {
  size_t found = 0;
  for (const char *at = text; (at = strstr(at, part)); at++)
    found++;
  return found;
}

static bool is_there(const fixture *fix, const char *part) {
  for (size_t i = 0; i < fix->engine->warning_count; i++)
    if (strstr(fix->engine->warnings[i], part))
      return true;
  return false;
}

/* ------------------------------------------------------------------------------------------------ batches */

static void spans_are_gathered_and_sent_together(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  record(&fix, 2);
  run_for(fix.engine, 4900 * MILLISECOND);
  assert_int_equal(requests_seen, 0);
  run_for(fix.engine, 200 * MILLISECOND);
  assert_int_equal(requests_seen, 1);
  assert_true(json_check(seen.body[0], seen.length[0]));
  assert_int_equal(count(seen.body[0], "\"spanId\""), 3);
  assert_true(strstr(seen.body[0], "\"s0.\"") < strstr(seen.body[0], "\"s1.\""));
  assert_true(strstr(seen.body[0], "\"s1.\"") < strstr(seen.body[0], "invoke_workflow weather"));
  assert_counts(&fix, 1, 2, 0, 0);
  run_for(fix.engine, 60 * SECOND);
  assert_int_equal(requests_seen, 1);
  assert_int_equal(fix.engine->warning_count, 0);
  stop(&fix);
}

static void a_full_batch_does_not_wait_and_none_overtakes_another(void **state) {
  fixture fix;
  fake_answer slow = status(200);
  (void)state;
  start(&fix);
  slow.latency_ns = 100 * MILLISECOND;
  will_answer(slow);
  record(&fix, 1100);
  run_for(fix.engine, 300 * MILLISECOND);
  assert_int_equal(requests_seen, 2);
  assert_int_equal(count(seen.body[0], "\"spanId\""), 512);
  assert_int_equal(count(seen.body[1], "\"spanId\""), 512);
  assert_non_null(strstr(seen.body[1], "\"s512.\""));
  assert_int_equal(fix.engine->most_calls, 1);
  assert_true(seen.at_ns[1] - seen.at_ns[0] >= 100 * MILLISECOND);
  run_for(fix.engine, 6 * SECOND);
  assert_int_equal(requests_seen, 3);
  assert_int_equal(count(seen.body[2], "\"spanId\""), 77);
  assert_counts(&fix, 1, 1100, 0, 0);
  stop(&fix);
}

static void a_flush_sends_what_there_is(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  nxa_tracer_flush(fix.tracer);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "weather");
  record_spans(trace, 1);
  nxa_engine_step(fix.engine, 0, 0);
  assert_int_equal(requests_seen, 0);
  nxa_tracer_flush(fix.tracer);
  nxa_engine_step(fix.engine, 0, 0);
  assert_int_equal(requests_seen, 1);
  record_spans(trace, 1);
  run_for(fix.engine, SECOND);
  assert_int_equal(requests_seen, 1);
  nxa_trace_free(trace);
  stop(&fix);
}

static void record_large_spans(nxa_trace *trace, int count) {
  static char text[200000];
  memset(text, 'x', sizeof text);
  text[0] = text[sizeof text - 1] = '"';
  for (int i = 0; i < count; i++) {
    nxa_span *span = nxa_span_start(trace, NULL, "large", NULL);
    nxa_span_set_metadata(span, "text", text, sizeof text);
    nxa_span_end(span, NXA_SPAN_OK);
    nxa_span_free(span);
  }
}

/* A step's budget counts between two pieces. */
static void large_spans_make_small_batches_in_pieces(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "weather");
  record_large_spans(trace, 10);
  nxa_tracer_flush(fix.tracer);
  assert_true(do_next(fix.engine));
  for (int i = 0; i < 6; i++) {
    assert_int_equal(requests_seen, 0);
    assert_true(do_next(fix.engine));
  }
  nxa_engine_step(fix.engine, 0, 0);
  assert_int_equal(requests_seen, 2);
  assert_int_equal(count(seen.body[0], "\"large\""), 6);
  assert_int_equal(count(seen.body[1], "\"large\""), 4);
  nxa_trace_free(trace);
  stop(&fix);
}

static void protobuf_is_the_default(void **state) {
  fixture fix;
  nxa_otlp_options options;
  (void)state;
  nxa_otlp_options_init(&options);
  start_with(&fix, options);
  record(&fix, 1);
  assert_true(nxa_tracer_close(fix.tracer, 1));
  assert_int_equal(seen.body[0][0], 0x0a);
  stop(&fix);
}

#ifdef NXA_ZLIB
static void unpack(const char *packed, size_t length, char *out, size_t size) {
  z_stream stream = {.next_in = (Bytef *)packed, .avail_in = (uInt)length, .next_out = (Bytef *)out};
  stream.avail_out = (uInt)size;
  assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
  assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
  assert_int_equal(stream.avail_in, 0);
  inflateEnd(&stream);
}
#endif

static void batches_are_packed_where_that_is_wanted(void **state) {
  (void)state;
#ifdef NXA_ZLIB
  fixture fix;
  static char text[2][500000];
  nxa_otlp_options options = json_options();
  options.gzip = true;
  start_with(&fix, options);
  record(&fix, 600);
  assert_true(nxa_tracer_close(fix.tracer, 1));
  assert_int_equal(requests_seen, 2);
  for (int i = 0; i < 2; i++) {
    unpack(seen.body[i], seen.length[i], text[i], sizeof text[i] - 1);
    assert_true(json_check(text[i], strlen(text[i])));
  }
  assert_true(strlen(text[0]) > 64 << 10); /* more than is packed at once */
  assert_int_equal(count(text[0], "\"spanId\"") + count(text[1], "\"spanId\""), 601);
  stop(&fix);
#else
  nxa_otlp_options options = json_options();
  nxa_error error;
  nxa_engine *engine = fake_engine();
  options.gzip = true;
  options.endpoint = new_endpoint();
  assert_null(nxa__otlp_new(engine, &options, &error));
  assert_string_equal(error.message, "gzip: this was built without zlib");
  nxa_endpoint_free(options.endpoint);
  nxa_engine_free(engine);
#endif
}

/* ------------------------------------------------------------------------------------------------ answers */

static void some_answers_are_tried_again(void **state) {
  static const int codes[] = {429, 502, 503, 504};
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    fixture fix;
    start(&fix);
    will_answer(status(codes[i]));
    will_answer(status(codes[i]));
    will_answer(status(200));
    record(&fix, 1);
    run_for(fix.engine, 10 * SECOND);
    assert_int_equal(requests_seen, 3);
    assert_string_equal(seen.body[0], seen.body[2]);
    assert_in_range(seen.at_ns[1] - seen.at_ns[0], 500 * MILLISECOND, SECOND);
    assert_in_range(seen.at_ns[2] - seen.at_ns[1], 750 * MILLISECOND, 1500 * MILLISECOND);
    assert_counts(&fix, 1, 1, 0, 0);
    assert_int_equal(stats_of(&fix).requests_repeated, 2);
    assert_int_equal(stats_of(&fix).repeated_unconfirmed, 0);
    assert_int_equal(fix.engine->warning_count, 1);
    stop(&fix);
  }
}

static void other_answers_end_a_batch_and_the_next_one_is_sent(void **state) {
  static const int codes[] = {302, 400, 401, 403, 404, 408, 415, 500, 501, 505};
  (void)state;
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    fixture fix;
    start(&fix);
    will_answer(status(codes[i]));
    will_answer(status(200));
    record(&fix, 1);
    run_for(fix.engine, 6 * SECOND);
    record(&fix, 2);
    run_for(fix.engine, 60 * SECOND);
    assert_int_equal(requests_seen, 2);
    assert_counts(&fix, 1, 2, 1, 1);
    assert_int_equal(fix.engine->warning_count, 1);
    assert_true(is_there(&fix, "http://collector:4318/v1/traces answers"));
    stop(&fix);
  }
}

static void what_is_too_large_is_halved(void **state) {
  fixture fix;
  fake_answer large = status(413);
  (void)state;
  start(&fix);
  will_answer(large);
  will_answer(large);
  will_answer(status(200)); /* the first quarter */
  will_answer(large);
  will_answer(status(200));
  will_answer(large); /* one span */
  will_answer(status(200));
  record(&fix, 6);
  run_for(fix.engine, 6 * SECOND);
  static const size_t spans[] = {7, 3, 1, 2, 1, 1, 4};
  assert_int_equal(requests_seen, 7);
  for (size_t i = 0; i < 7; i++) {
    assert_true(json_check(seen.body[i], seen.length[i]));
    assert_int_equal(count(seen.body[i], "\"spanId\""), spans[i]);
  }
  assert_non_null(strstr(seen.body[6], "\"s3.\""));
  assert_counts(&fix, 1, 5, 0, 1);
  assert_int_equal(fix.engine->warning_count, 1);
  assert_true(is_there(&fix, "answers 413"));
  stop(&fix);
}

static void the_receiver_says_when(void **state) {
  fixture fix;
  fake_answer later = status(503);
  (void)state;
  start(&fix);
  later.retry_after = 7;
  will_answer(later);
  will_answer(status(200));
  record(&fix, 1);
  run_for(fix.engine, 20 * SECOND);
  assert_int_equal(requests_seen, 2);
  assert_int_equal(seen.at_ns[1] - seen.at_ns[0], 7 * SECOND);
  stop(&fix);
}

static void a_lost_answer_is_counted(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(failure(NXA_CONNECTION, true));
  will_answer(failure(NXA_CONNECTION, false));
  will_answer(failure(NXA_TIMEOUT, true));
  will_answer(status(200));
  record(&fix, 1);
  run_for(fix.engine, 20 * SECOND);
  assert_int_equal(requests_seen, 4);
  assert_counts(&fix, 1, 1, 0, 0);
  assert_int_equal(stats_of(&fix).requests_repeated, 3);
  assert_int_equal(stats_of(&fix).repeated_unconfirmed, 2);
  stop(&fix);
}

static void what_was_rejected_is_counted_and_not_sent_again(void **state) {
  fixture fix;
  fake_answer partial = status(200);
  (void)state;
  start(&fix);
  strcpy(partial.body, "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"too old\"}}");
  partial.content_type = "application/json";
  will_answer(partial);
  record(&fix, 3);
  run_for(fix.engine, 60 * SECOND);
  assert_int_equal(requests_seen, 1);
  assert_counts(&fix, 1, 1, 0, 2);
  assert_int_equal(fix.engine->warning_count, 1);
  assert_true(is_there(&fix, "http://collector:4318/v1/traces did not take all spans: too old"));
  stop(&fix);
}

/* Behind `before` in so many characters of an answer's words. */
static void key_behind(char *body, const char *before, int characters, const char *after) {
  int length = sprintf(body, "%s%*s" KEY "%s", before, characters, "", after);
  memset(body + strlen(before), 'x', (size_t)characters);
  assert_int_equal(length, strlen(body));
}

static void a_key_in_an_answer_is_not_told_even_in_part(void **state) {
  (void)state;
  for (int characters = 160; characters < 210; characters += 3) {
    fixture fix;
    fake_answer partial = status(200), refused = status(400);
    start(&fix);
    key_behind(partial.body, "{\"partialSuccess\":{\"rejectedSpans\":1,\"errorMessage\":\"", characters, "\"}}");
    key_behind(refused.body, "{\"message\":\"", characters, "\"}");
    partial.content_type = refused.content_type = "application/json";
    will_answer(partial);
    will_answer(refused);
    record(&fix, 1);
    run_for(fix.engine, 60 * SECOND);
    record(&fix, 1);
    run_for(fix.engine, 60 * SECOND);
    assert_int_equal(fix.engine->warning_count, 2);
    assert_true(is_there(&fix, "did not take all spans: xxx") && is_there(&fix, "answers 400: xxx"));
    assert_false(is_there(&fix, "xcoll"));
    stop(&fix);
  }
}

#define ASSERT_PAGE(wanted, type, body) assert_int_equal(nxa__otlp_is_page((type), (body), sizeof(body) - 1), (wanted))

static void what_is_a_page(void **state) {
  (void)state;
  ASSERT_PAGE(true, "text/html; charset=utf-8", "<html>");
  ASSERT_PAGE(true, "", " \r\n\t<!DOCTYPE html>");
  ASSERT_PAGE(true, "application/json", "\n<html>");
  ASSERT_PAGE(true, "text/plain", "<?xml version=\"1.0\"?>");
  ASSERT_PAGE(true, "Text/HTML", "Log in, please");
  ASSERT_PAGE(true, "", "\xEF\xBB\xBF<!DOCTYPE html>");
  ASSERT_PAGE(false, "text/html", "");
  ASSERT_PAGE(false, "text/html", " \n");
  ASSERT_PAGE(false, "text/html", "{\"partialSuccess\":{}}");
  ASSERT_PAGE(false, "", "{}");
  ASSERT_PAGE(false, "", "<");
  ASSERT_PAGE(false, "", "\0<a>");
  /* a partial success of 60 bytes: one span, and a text of 56 bytes */
  ASSERT_PAGE(false, "application/x-protobuf", "\n<a");
  ASSERT_PAGE(false, "", "\n<\x08\x01\x12\x38too large");
}

static void expect_rejected(const char *body, size_t length, bool is_json, uint64_t expected, const char *words) {
  char text[64];
  char *copy = malloc(length + 1); /* the sanitizer sees what is read beyond it */
  memcpy(copy + 1, body, length);
  assert_int_equal(nxa__otlp_rejected(copy + 1, length, is_json, text, sizeof text), expected);
  assert_string_equal(text, words);
  free(copy);
}

#define JSON(body, expected, words) expect_rejected(body, sizeof body - 1, true, expected, words)
#define PROTOBUF(body, expected, words) expect_rejected(body, sizeof body - 1, false, expected, words)

static void what_was_rejected_is_read(void **state) {
  (void)state;
  JSON("{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"too\\nold\"}}", 2, "too old");
  JSON("{\"partialSuccess\":{\"rejectedSpans\":3}}", 3, "");
  JSON("{\"partialSuccess\":{\"errorMessage\":\"beware\"}}", 0, "beware");
  JSON("{\"partialSuccess\":{\"rejectedSpans\":-1}}", 0, "");
  JSON("{\"partialSuccess\":null}", 0, "");
  JSON("{}", 0, "");
  JSON("", 0, "");
  PROTOBUF("\x0a\x09\x08\x02\x12\x05late!", 2, "late!");
  PROTOBUF("\x12\x01x\x0a\x03\x08\xac\x02", 300, "");
  PROTOBUF("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, "");
  PROTOBUF("", 0, "");
}

static void broken_answers_are_safe(void **state) {
  static const char answer[] = "\x0a\x09\x08\x02\x12\x05late!\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
  char text[64];
  (void)state;
  for (size_t length = 0; length < sizeof answer; length++) {
    char *copy = malloc(length + 1);
    memcpy(copy + 1, answer, length);
    nxa__otlp_rejected(copy + 1, length, false, text, sizeof text);
    free(copy);
  }
}

static void a_receiver_that_stays_away_is_given_up(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(failure(NXA_CONNECTION, false));
  record(&fix, 1);
  run_for(fix.engine, 250 * SECOND);
  assert_int_equal(stats_of(&fix).spans_failed, 0);
  assert_int_equal(fix.engine->warning_count, 1);
  run_for(fix.engine, 100 * SECOND);
  assert_counts(&fix, 0, 0, 1, 1);
  assert_true(is_there(&fix, "for too long; spans are lost"));
  assert_in_range(requests_seen, 10, 40);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ closing */

static void closing_sends_what_is_left(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  record(&fix, 1100);
  nxa_trace_free(nxa_trace_start(fix.tracer, "bot", "open"));
  assert_true(nxa_tracer_close(fix.tracer, 1));
  assert_int_equal(requests_seen, 3);
  assert_counts(&fix, 2, 1100, 0, 0);
  assert_non_null(strstr(seen.body[2], "\"message\":\"interrupted\",\"code\":2"));
  stop(&fix);
}

static void closing_does_not_wait_for_what_fails(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(failure(NXA_CONNECTION, false));
  record(&fix, 1);
  int64_t before = nxa__monotonic_ns();
  assert_false(nxa_tracer_close(fix.tracer, 10));
  assert_true(nxa__monotonic_ns() - before < 50 * MILLISECOND);
  assert_int_equal(requests_seen, 3);
  assert_counts(&fix, 0, 0, 1, 1);
  assert_int_equal(fix.engine->warning_count, 1);
  assert_true(is_there(
      &fix,
      "not delivered to http://collector:4318/v1/traces: 2 spans; http://collector:4318/v1/traces can't be reached"));
  stop(&fix);
}

static void closing_ends_in_time_where_nobody_answers(void **state) {
  fixture fix;
  fake_answer hangs = failure(NXA_TIMEOUT, true);
  (void)state;
  start(&fix);
  hangs.latency_ns = 10 * SECOND;
  will_answer(hangs);
  record(&fix, 1);
  int64_t before = nxa__monotonic_ns();
  assert_false(nxa_tracer_close(fix.tracer, 1));
  assert_int_equal(nxa__monotonic_ns() - before, SECOND);
  assert_counts(&fix, 0, 0, 1, 1);
  assert_true(is_there(&fix, "not delivered to http://collector:4318/v1/traces: 2 spans; "
                             "it did not answer before the time to close was over"));
  stop(&fix);
}

static void closing_does_not_try_what_is_known_to_hang(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(failure(NXA_TIMEOUT, true));
  record(&fix, 1);
  run_for(fix.engine, 5100 * MILLISECOND);
  size_t before = requests_seen;
  assert_false(nxa_tracer_close(fix.tracer, 10));
  assert_int_equal(requests_seen, before);
  assert_int_equal(fix.engine->warning_count, 1);
  stop(&fix);
}

static void a_long_wait_ends_closing(void **state) {
  fixture fix;
  fake_answer later = status(429);
  (void)state;
  start(&fix);
  later.retry_after = 30;
  will_answer(later);
  record(&fix, 1);
  int64_t before = nxa__monotonic_ns();
  assert_false(nxa_tracer_close(fix.tracer, 10));
  assert_true(nxa__monotonic_ns() - before < 50 * MILLISECOND);
  assert_int_equal(requests_seen, 1);
  stop(&fix);
}

static void an_engine_that_is_closed_ends_it(void **state) {
  fixture fix;
  fake_answer slow = status(200);
  (void)state;
  start(&fix);
  slow.latency_ns = 10 * SECOND;
  will_answer(slow);
  record(&fix, 1);
  run_for(fix.engine, 6 * SECOND);
  nxa__engine_retain(fix.engine);
  nxa_engine_free(fix.engine);
  assert_counts(&fix, 0, 0, 1, 1);
  assert_false(nxa_tracer_pending(fix.tracer));
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ several sinks */

static void each_sink_has_everything(void **state) {
  fixture fix;
  nxa_otlp_options options;
  (void)state;
  start(&fix);
  nxa_otlp_options_init(&options);
  options.endpoint = new_endpoint();
  assert_int_equal(nxa_tracer_add_otlp(fix.tracer, &options, NULL), NXA_OK);
  nxa_endpoint_free(options.endpoint);
  will_answer(status(200));
  will_answer(status(400));
  record(&fix, 2);
  nxa_tracer_close(fix.tracer, 1);
  assert_int_equal(requests_seen, 2);
  assert_counts(&fix, 0, 0, 1, 2);
  stop(&fix);
}

/* The second one answers, the first never does. */
static void receive_second(const fake_request *request, fake_answer *answer) {
  bool is_first = strstr(request->body, "\"first\"") != NULL;
  *answer = is_first ? failure(NXA_CONNECTION, false) : status(200);
}

static void a_sink_that_fails_leaves_room_for_others(void **state) {
  fixture fix;
  nxa_otlp_options options = json_options();
  (void)state;
  options.service_name = "first";
  start_with(&fix, options);
  server = receive_second;
  options.service_name = "second";
  options.endpoint = new_endpoint();
  assert_int_equal(nxa_tracer_add_otlp(fix.tracer, &options, NULL), NXA_OK);
  nxa_endpoint_free(options.endpoint);
  for (int i = 0; i < 200; i++) {
    record(&fix, 100);
    run_for(fix.engine, 100 * MILLISECOND);
  }
  run_for(fix.engine, 10 * SECOND);
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.spans_dropped + stats.traces_dropped, 0);
  assert_in_range(stats.spans_pending, 1, 4096);
  assert_in_range(stats.requests, 40, 80); /* the second's, and the first's as rarely as before */
  assert_int_equal(fix.engine->warning_count, 2);
  assert_false(nxa_tracer_close(fix.tracer, 1));
  stats = stats_of(&fix);
  assert_int_equal(stats.spans_failed, 20000);
  stop(&fix);
}

static void options_are_checked(void **state) {
  static const struct {
    double timeout, interval;
    const char *path, *message;
  } cases[] = {{0, 1, "/", "timeout must be above 0 and at most 86400 seconds"},
               {1, -1, "/", "flush_interval must be from 0 to 86400 seconds"},
               {1, 1, "x", "path must begin with '/'"}};
  nxa_engine *engine = fake_engine();
  nxa_error error;
  (void)state;
  nxa_otlp_options options = json_options();
  assert_null(nxa__otlp_new(engine, &options, &error));
  assert_string_equal(error.message, "endpoint is required");
  options.endpoint = new_endpoint();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    options.timeout = cases[i].timeout;
    options.flush_interval = cases[i].interval;
    options.path = cases[i].path;
    assert_null(nxa__otlp_new(engine, &options, &error));
    assert_string_equal(error.message, cases[i].message);
  }
  nxa_endpoint_free(options.endpoint);
  nxa_engine_free(engine);
}

static void attributes_that_can_not_be_read_are_said(void **state) {
  fixture fix;
  nxa_otlp_options options = json_options();
  (void)state;
  options.resource_attributes = "a";
  start_with(&fix, options);
  assert_int_equal(fix.engine->warning_count, 1);
  assert_true(is_there(&fix, "resource attributes are left out"));
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ with a spool */

static char spool_path[] = "/tmp/nxa_otlp_XXXXXX";

static int make_spool(void **state) {
  (void)state;
  strcpy(spool_path, "/tmp/nxa_otlp_XXXXXX");
  spool = mkdtemp(spool_path);
  return spool ? 0 : -1;
}

static int remove_spool(void **state) {
  char command[64];
  (void)state;
  spool = NULL;
  snprintf(command, sizeof command, "rm -rf '%s'", spool_path);
  return system(command);
}

/* What is in the file that was left and not collected yet; NULL where there is none. */
static const char *collected(const fixture *fix) {
  static char text[1 << 20];
  const char *path = nxa__spool_collect(nxa__otlp_spool(fix->tracer));
  FILE *file = path ? fopen(path, "r") : NULL;
  if (!file)
    return NULL;
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  return text;
}

static void assert_left(const fixture *fix, uint64_t traces, uint64_t spans, size_t files) {
  nxa_stats stats = stats_of(fix);
  assert_int_equal(stats.traces_spooled, traces);
  assert_int_equal(stats.spans_spooled, spans);
  assert_int_equal(stats.spool_left, files);
  assert_int_equal(stats.traces_failed + stats.spans_failed, 0);
  assert_int_equal(stats.spans_pending + stats.traces_pending + stats.bytes_pending, 0);
}

static void remove_folders(void) {
  char command[64];
  snprintf(command, sizeof command, "rm -rf '%s'/*", spool);
  assert_int_equal(system(command), 0);
}

/* Spans on the disk. */
static int spans_there(void) {
  char command[96], number[16] = "";
  snprintf(command, sizeof command, "cat '%s'/*/*.otlp 2>/dev/null | grep -c '\"spanId\"'", spool);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  assert_non_null(fgets(number, sizeof number, pipe));
  pclose(pipe);
  return atoi(number);
}

static void what_is_delivered_leaves_nothing(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  record(&fix, 1100);
  assert_int_equal(stats_of(&fix).spool_files, 3);
  run_for(fix.engine, 6 * SECOND);
  assert_counts(&fix, 1, 1100, 0, 0);
  assert_int_equal(requests_seen, 3);
  for (size_t i = 0; i < 3; i++)
    assert_true(json_check(seen.body[i], seen.length[i]));
  assert_int_equal(count(seen.body[0], "\"spanId\""), 512);
  assert_int_equal(count(seen.body[2], "\"spanId\""), 77);
  assert_int_equal(stats_of(&fix).spool_files, 0);
  assert_int_equal(stats_of(&fix).spool_bytes, 0);
  assert_true(nxa_tracer_close(fix.tracer, 1));
  nxa__otlp_release_spool(fix.tracer);
  assert_int_equal(rmdir(spool), 0);
  stop(&fix);
}

static void what_ends_while_a_batch_is_sent_is_in_the_next_file(void **state) {
  fixture fix;
  fake_answer slow = status(200);
  (void)state;
  start(&fix);
  slow.latency_ns = SECOND;
  will_answer(slow);
  record(&fix, 2);
  run_for(fix.engine, 5500 * MILLISECOND);
  assert_int_equal(requests_seen, 1);
  record(&fix, 3);
  assert_int_equal(stats_of(&fix).spool_files, 2);
  run_for(fix.engine, SECOND);
  assert_int_equal(stats_of(&fix).spool_files, 1);
  run_for(fix.engine, 10 * SECOND);
  assert_int_equal(count(seen.body[0], "\"spanId\""), 3);
  assert_int_equal(count(seen.body[1], "\"spanId\""), 4);
  assert_counts(&fix, 2, 5, 0, 0);
  stop(&fix);
}

static void a_receiver_that_is_away_as_the_tracer_closes_loses_nothing(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(failure(NXA_CONNECTION, false));
  record(&fix, 600);
  run_for(fix.engine, SECOND);
  assert_false(nxa_tracer_close(fix.tracer, 1));
  assert_left(&fix, 1, 600, 2);
  assert_false(is_there(&fix, "lost"));
  const char *text = collected(&fix);
  assert_memory_equal(text, "{\"sent\":0,\"started_at\":\"", 24);
  assert_non_null(strstr(text, "\"format\":\"json\",\"otlp\":\"http://collector:4318/v1/traces\"}\n"));
  assert_null(strstr(text, KEY));
  assert_int_equal(count(text, "\"spanId\""), 512);
  assert_int_equal(count(collected(&fix), "\"spanId\""), 89);
  assert_null(collected(&fix));
  stop(&fix);
}

static void what_may_have_arrived_is_marked(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(failure(NXA_TIMEOUT, true));
  record(&fix, 1);
  run_for(fix.engine, 6 * SECOND);
  assert_false(nxa_tracer_close(fix.tracer, 1));
  assert_left(&fix, 1, 1, 1);
  assert_memory_equal(collected(&fix), "{\"sent\":1,", 10);
  stop(&fix);
}

static void only_what_is_refused_for_what_it_is_goes(void **state) {
  static const int codes[] = {302, 401, 403, 404, 407, 400, 408, 415, 500};
  (void)state;
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    fixture fix;
    start(&fix);
    will_answer(status(codes[i]));
    record(&fix, 1);
    run_for(fix.engine, 60 * SECOND);
    assert_int_equal(stats_of(&fix).spool_left, i < 5);
    assert_int_equal(stats_of(&fix).spool_files, i < 5);
    assert_int_equal(stats_of(&fix).spans_failed, i >= 5);
    assert_true(is_there(&fix, i < 5 ? "its spans wait in the spool" : "its spans are lost"));
    assert_int_equal(is_there(&fix, "check otlp.headers or OTEL_EXPORTER_OTLP_[TRACES_]HEADERS"),
                     codes[i] == 401 || codes[i] == 403);
    assert_int_equal(is_there(&fix, "check otlp.endpoint or OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT"),
                     codes[i] == 302 || codes[i] == 404);
    assert_int_equal(fix.engine->warning_count, 1);
    stop(&fix);
  }
}

static void a_receiver_that_stays_away_finds_it_in_the_spool(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(failure(NXA_CONNECTION, false));
  record(&fix, 1);
  run_for(fix.engine, 350 * SECOND);
  assert_left(&fix, 1, 1, 1);
  assert_true(is_there(&fix, "for too long; spans wait in the spool"));
  stop(&fix);
}

static void halves_have_files_of_their_own(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(status(413));
  will_answer(status(200));
  will_answer(failure(NXA_CONNECTION, false));
  record(&fix, 6);
  run_for(fix.engine, 7 * SECOND);
  assert_int_equal(count(seen.body[1], "\"spanId\""), 3);
  assert_int_equal(stats_of(&fix).spans_delivered, 3);
  assert_int_equal(stats_of(&fix).spool_files, 1);
  nxa_tracer_close(fix.tracer, 0);
  assert_left(&fix, 1, 3, 1);
  assert_int_equal(count(collected(&fix), "\"spanId\""), 4);
  stop(&fix);
}

/* Until the second request, or for so many things that happen; returns how many. */
static int halve(fixture *fix, int most) {
  int pieces = 0;
  start(fix);
  will_answer(status(413));
  will_answer(status(200));
  record(fix, 511);
  while (requests_seen < 1)
    assert_true(do_next(fix->engine));
  for (; requests_seen < 2 && pieces < most; pieces++)
    assert_true(do_next(fix->engine));
  return pieces;
}

/* A step's budget counts in between. */
static void a_batch_is_halved_in_pieces(void **state) {
  fixture fix;
  (void)state;
  assert_true(halve(&fix, 1000) > 512 / 64);
  run_for(fix.engine, SECOND);
  assert_counts(&fix, 1, 511, 0, 0);
  assert_int_equal(spans_there(), 0);
  stop(&fix);
}

static void what_is_being_halved_is_left_once(void **state) {
  fixture fix;
  (void)state;
  halve(&fix, 5);
  nxa_tracer_close(fix.tracer, 0);
  assert_left(&fix, 1, 511, 2);
  assert_int_equal(spans_there(), 512);
  stop(&fix);
  remove_folders();
  halve(&fix, 5);
  stop(&fix);
  assert_int_equal(spans_there(), 512);
}

static int fewest_there;

static void count_spans(void) {
  int there = spans_there();
  fewest_there = there < fewest_there ? there : fewest_there;
}

/* Each large span is put into memory of its own before it is on the disk. */
static void *count_and_allocate(size_t size) {
  count_spans();
  return malloc(size);
}

static void *count_and_reallocate(void *block, size_t size) {
  count_spans();
  return realloc(block, size);
}

static void what_is_being_halved_is_always_on_the_disk(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(status(413));
  will_answer(status(200));
  nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "weather");
  record_large_spans(trace, 4);
  nxa_tracer_flush(fix.tracer);
  while (requests_seen < 1)
    assert_true(do_next(fix.engine));
  fewest_there = 1000;
  nxa_set_allocator(count_and_allocate, count_and_reallocate, free);
  while (requests_seen < 2)
    assert_true(do_next(fix.engine));
  nxa_set_allocator(NULL, NULL, NULL);
  assert_int_equal(fewest_there, 4);
  nxa_trace_free(trace);
  stop(&fix);
}

/* A trace goes with the batch that has its spans, though its own is in the file that is left. */
static void room_is_made_while_a_batch_is_under_way(void **state) {
  for (int taken = 0; taken < 2; taken++) {
    fixture fix;
    fake_answer slow = taken ? status(200) : status(400);
    (void)state;
    start(&fix);
    fix.tracer->options.max_spans = 600;
    slow.latency_ns = SECOND;
    will_answer(slow);
    nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "long");
    record_spans(trace, 512);
    run_for(fix.engine, 100 * MILLISECOND);
    assert_int_equal(requests_seen, 1);
    record_spans(trace, 20);
    nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
    nxa_trace_free(trace);
    assert_int_equal(stats_of(&fix).spans_spooled, 0);
    record(&fix, 100);
    nxa_stats stats = stats_of(&fix);
    assert_int_equal(stats.spans_dropped, 0);
    assert_int_equal(stats.spool_left, 1);
    assert_true(stats.spans_spooled > 20);
    assert_int_equal(stats.traces_spooled, 0); /* it waits for its spans */
    run_for(fix.engine, 10 * SECOND);
    stats = stats_of(&fix);
    assert_int_equal(stats.spans_delivered + stats.spans_failed + stats.spans_spooled, 632);
    assert_int_equal(taken ? stats.spans_failed : stats.spans_delivered + stats.traces_delivered, 0);
    assert_int_equal(stats.traces_delivered + stats.traces_failed + stats.traces_spooled, 2);
    assert_int_equal(stats.spans_pending + stats.traces_pending, 0);
    stop(&fix);
  }
}

/* As a step's budget may have it: the next thing would have been to make a batch of what is left. */
static void what_gives_way_as_its_batch_begins_is_in_none(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  fix.tracer->options.max_spans = 512;
  nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "long");
  record_spans(trace, 512);
  assert_true(do_next(fix.engine));
  nxa_span *span = nxa_span_start(trace, NULL, "open", NULL);
  assert_int_equal(stats_of(&fix).spans_spooled, 512);
  run_for(fix.engine, 10 * SECOND);
  assert_int_equal(fix.engine->warning_count, 0);
  nxa_span_free(span);
  nxa_trace_free(trace);
  stop(&fix);
}

/* What is on the disk takes no room in memory, whatever is under way: none of its spans is in the batch. */
static void traces_give_way_while_a_batch_is_under_way(void **state) {
  fixture fix;
  fake_answer slow = status(200);
  (void)state;
  start(&fix);
  slow.latency_ns = 9 * SECOND;
  will_answer(slow);
  record(&fix, 1);
  run_for(fix.engine, 6 * SECOND);
  assert_int_equal(requests_seen, 1);
  for (int i = 0; i < 5000; i++)
    record(&fix, 0);
  assert_int_equal(stats_of(&fix).traces_dropped, 0);
  run_for(fix.engine, 60 * SECOND);
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.traces_delivered + stats.traces_spooled, 5001);
  assert_int_equal(stats.traces_failed + stats.traces_pending, 0);
  stop(&fix);
}

/* Once while all of it is written to, once while some of it has gone on. */
static void what_is_deleted_is_written_anew(void **state) {
  (void)state;
  for (int spans = 2; spans <= 1100; spans += 1098) {
    fixture fix;
    start(&fix);
    will_answer(failure(NXA_TIMEOUT, true));
    record(&fix, spans);
    run_for(fix.engine, 6 * SECOND);
    remove_folders();
    assert_int_equal(spans_there(), 0);
    assert_false(nxa_tracer_close(fix.tracer, 0));
    assert_left(&fix, 1, (uint64_t)spans, spans == 2 ? 1 : 3);
    assert_int_equal(spans_there(), spans + 1);
    assert_true(is_there(&fix, "the folder was deleted"));
    assert_memory_equal(collected(&fix), "{\"sent\":1,", 10); /* it may have arrived all the same */
    stop(&fix);
  }
}

static void what_is_deleted_is_written_before_it_leaves_memory(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  fix.tracer->options.max_spans = 600;
  will_answer(failure(NXA_CONNECTION, false));
  record(&fix, 511);
  run_for(fix.engine, 100 * MILLISECOND);
  remove_folders();
  record(&fix, 300);
  nxa_stats stats = stats_of(&fix);
  uint64_t left = stats.spans_spooled + stats.traces_spooled, files = stats.spool_left;
  assert_int_equal(stats.spans_dropped, 0);
  assert_true(left > 0);
  remove_folders();
  record(&fix, 300);
  nxa_tracer_close(fix.tracer, 0);
  stats = stats_of(&fix);
  assert_int_equal(stats.spans_failed + stats.traces_failed + stats.spans_dropped, 0);
  assert_int_equal(stats.spans_spooled, 1111);
  assert_int_equal(stats.spool_dropped, files); /* they were nobody's any more */
  assert_int_equal(spans_there(), stats.spans_spooled + stats.traces_spooled - left);
  stop(&fix);
}

static void what_ends_after_a_deletion_was_noticed_is_there(void **state) {
  fixture fix;
  fake_answer unwanted = status(401);
  (void)state;
  start(&fix);
  unwanted.latency_ns = SECOND;
  will_answer(unwanted);
  record(&fix, 520);
  run_for(fix.engine, 100 * MILLISECOND);
  remove_folders();
  run_for(fix.engine, SECOND);
  assert_int_equal(spans_there(), 512); /* left; the others are in memory */
  record(&fix, 1);
  assert_int_equal(spans_there(), 514);
  nxa_tracer_close(fix.tracer, 0);
  assert_left(&fix, 2, 521, 3);
  assert_int_equal(spans_there(), 523);
  stop(&fix);
}

/* The oldest go; what ended last is there. */
static void a_small_spool_is_used(void **state) {
  static const size_t sizes[] = {2000, 20000};
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    fixture fix;
    nxa_otlp_options options = json_options();
    options.spool_bytes = sizes[i];
    start_with(&fix, options);
    will_answer(failure(NXA_CONNECTION, false));
    for (int number = 0; number < 10; number++) {
      record(&fix, 20);
      assert_in_range(stats_of(&fix).spool_bytes, sizes[i] / 4, sizes[i]);
    }
    assert_false(nxa_tracer_close(fix.tracer, 0));
    nxa_stats stats = stats_of(&fix);
    assert_in_range(stats.spool_bytes, sizes[i] / 4, sizes[i]);
    assert_true(stats.spans_spooled > 0 && spans_there() > 0);
    assert_int_equal(stats.spans_spooled + stats.spans_failed, 200);
    stop(&fix);
  }
}

static void a_span_that_is_too_large_for_the_spool_takes_none_along(void **state) {
  static char text[6000];
  fixture fix;
  nxa_otlp_options options = json_options();
  (void)state;
  options.spool_bytes = 5000;
  start_with(&fix, options);
  memset(text, '1', sizeof text);
  record(&fix, 2);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "weather");
  nxa_span *span = nxa_span_start(trace, NULL, "large", NULL);
  nxa_span_set_metadata(span, "text", text, sizeof text);
  nxa_span_end(span, NXA_SPAN_OK);
  nxa_span_free(span);
  record_spans(trace, 2);
  assert_int_equal(spans_there(), 5);
  nxa_trace_free(trace);
  stop(&fix);
}

/* A file is where the folder should be. */
static void block_spool(void) {
  assert_int_equal(rmdir(spool), 0);
  close(open(spool, O_CREAT | O_WRONLY, 0600));
}

static void what_could_not_be_written_is_written_at_the_end(void **state) {
  fixture fix;
  (void)state;
  block_spool();
  start(&fix);
  will_answer(failure(NXA_CONNECTION, false));
  record(&fix, 600);
  run_for(fix.engine, 100 * MILLISECOND);
  assert_int_equal(unlink(spool), 0);
  assert_false(nxa_tracer_close(fix.tracer, 0)); /* before it would be tried again */
  assert_left(&fix, 1, 600, 2);
  assert_int_equal(spans_there(), 601);
  stop(&fix);
}

static void what_could_not_be_written_is_not_in_the_way(void **state) {
  fixture fix;
  (void)state;
  block_spool();
  start(&fix);
  will_answer(failure(NXA_CONNECTION, false));
  record(&fix, 1200);
  run_for(fix.engine, SECOND);
  assert_int_equal(unlink(spool), 0);
  run_for(fix.engine, 6 * SECOND);
  for (int i = 0; i < 3300; i++)
    record(&fix, 0);
  assert_int_equal(stats_of(&fix).traces_dropped, 0);
  nxa_tracer_close(fix.tracer, 0);
  assert_int_equal(stats_of(&fix).traces_spooled, 3301);
  assert_int_equal(spans_there(), 4501);
  stop(&fix);
}

static void what_is_unwanted_is_not_marked_as_sent(void **state) {
  fixture fix;
  (void)state;
  start(&fix);
  will_answer(status(401));
  record(&fix, 1);
  run_for(fix.engine, 6 * SECOND);
  assert_memory_equal(collected(&fix), "{\"sent\":0,", 10);
  stop(&fix);
}

static void what_an_abandoned_tracer_held_stays(void **state) {
  fixture fix;
  char command[96];
  (void)state;
  start(&fix);
  record(&fix, 600);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "open");
  record_spans(trace, 1);
  nxa_trace_free(trace);
  stop(&fix);
  snprintf(command, sizeof command, "test $(cat '%s'/*/*.otlp | grep -c '\"spanId\"') = 602", spool);
  assert_int_equal(system(command), 0);
}

/* ------------------------------------------------------------------------------------------------ memory */

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
  void *grown = refuse() ? NULL : realloc(block, size);
  memory.live += grown && !block;
  return grown;
}

static void release(void *block) {
  memory.live -= block != NULL;
  free(block);
}

static void assert_nothing_is_forgotten(const nxa_stats *stats) {
  assert_int_equal(stats->spans_started, stats->spans_delivered + stats->spans_failed + stats->spans_spooled);
  assert_int_equal(stats->traces_started, stats->traces_delivered + stats->traces_failed + stats->traces_spooled);
  assert_int_equal(stats->spans_pending + stats->traces_pending + stats->bytes_pending, 0);
}

static void live(nxa_engine *engine, bool json, bool packed) {
  nxa_error error;
  nxa_otlp_options options = json_options();
  options.json = json;
  options.gzip = packed;
  options.content = true;
  options.resource_attributes = "a=b";
  options.endpoint = new_endpoint();
  fixture fix = {engine, nxa_tracer_new(engine, NULL, &error)};
  if (fix.tracer && options.endpoint && nxa_tracer_add_otlp(fix.tracer, &options, &error) == NXA_OK) {
    nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "weather");
    record_spans(trace, 2);
    nxa_span *span = nxa_span_start(trace, NULL, "chat", "llm");
    nxa_span_set_input(span, "{\"input\":\"x\"}", 13);
    nxa_span_set_metadata(span, "k", "{}", 2);
    nxa_span_end(span, NXA_SPAN_ERROR);
    nxa_span_free(span);
    nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
    nxa_trace_free(trace);
    nxa_tracer_close(fix.tracer, 1);
    nxa_stats stats = stats_of(&fix);
    assert_nothing_is_forgotten(&stats);
    assert_int_equal(stats.requests, requests_seen);
  }
  nxa_tracer_free(fix.tracer);
  nxa_endpoint_free(options.endpoint);
}

static long live_once(long refused_at, bool from_then_on, bool json, bool packed) {
  nxa_engine *engine = fake_engine();
  server = receive;
  memory.count = memory.live = 0;
  memory.refused_at = refused_at;
  memory.from_then_on = from_then_on;
  nxa_set_allocator(allocate, reallocate, release);
  live(engine, json, packed);
  nxa_set_allocator(NULL, NULL, NULL);
  assert_int_equal(engine->references, 1);
  nxa_engine_free(engine);
  nxa__clock_real();
  forget();
  if (memory.live != 0)
    fail_msg("allocation %ld: %ld blocks left", refused_at, memory.live);
  return memory.count;
}

static void memory_may_run_out_anywhere(void **state) {
  (void)state;
  for (int way = 0; way < 8; way++) {
    bool packed = (way & 4) && nxa__gzip_available();
    assert_true(live_once(0, false, way & 1, packed) > 20);
    for (long refused = 1; live_once(refused, way & 2, way & 1, packed) >= refused; refused++)
      ;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(spans_are_gathered_and_sent_together),
      cmocka_unit_test(a_full_batch_does_not_wait_and_none_overtakes_another),
      cmocka_unit_test(a_flush_sends_what_there_is),
      cmocka_unit_test(large_spans_make_small_batches_in_pieces),
      cmocka_unit_test(protobuf_is_the_default),
      cmocka_unit_test(batches_are_packed_where_that_is_wanted),
      cmocka_unit_test(some_answers_are_tried_again),
      cmocka_unit_test(other_answers_end_a_batch_and_the_next_one_is_sent),
      cmocka_unit_test(what_is_too_large_is_halved),
      cmocka_unit_test(the_receiver_says_when),
      cmocka_unit_test(a_lost_answer_is_counted),
      cmocka_unit_test(what_was_rejected_is_counted_and_not_sent_again),
      cmocka_unit_test(a_key_in_an_answer_is_not_told_even_in_part),
      cmocka_unit_test(what_is_a_page),
      cmocka_unit_test(what_was_rejected_is_read),
      cmocka_unit_test(broken_answers_are_safe),
      cmocka_unit_test(a_receiver_that_stays_away_is_given_up),
      cmocka_unit_test(closing_sends_what_is_left),
      cmocka_unit_test(closing_does_not_wait_for_what_fails),
      cmocka_unit_test(closing_ends_in_time_where_nobody_answers),
      cmocka_unit_test(closing_does_not_try_what_is_known_to_hang),
      cmocka_unit_test(a_long_wait_ends_closing),
      cmocka_unit_test(an_engine_that_is_closed_ends_it),
      cmocka_unit_test(each_sink_has_everything),
      cmocka_unit_test(a_sink_that_fails_leaves_room_for_others),
      cmocka_unit_test(options_are_checked),
      cmocka_unit_test(attributes_that_can_not_be_read_are_said),
      cmocka_unit_test(memory_may_run_out_anywhere),
      cmocka_unit_test_setup_teardown(memory_may_run_out_anywhere, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_delivered_leaves_nothing, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_ends_while_a_batch_is_sent_is_in_the_next_file, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(a_receiver_that_is_away_as_the_tracer_closes_loses_nothing, make_spool,
                                      remove_spool),
      cmocka_unit_test_setup_teardown(what_may_have_arrived_is_marked, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(only_what_is_refused_for_what_it_is_goes, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(a_receiver_that_stays_away_finds_it_in_the_spool, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(halves_have_files_of_their_own, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(a_batch_is_halved_in_pieces, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_being_halved_is_left_once, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_being_halved_is_always_on_the_disk, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(room_is_made_while_a_batch_is_under_way, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_gives_way_as_its_batch_begins_is_in_none, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(traces_give_way_while_a_batch_is_under_way, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_deleted_is_written_anew, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_deleted_is_written_before_it_leaves_memory, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_ends_after_a_deletion_was_noticed_is_there, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(a_small_spool_is_used, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(a_span_that_is_too_large_for_the_spool_takes_none_along, make_spool,
                                      remove_spool),
      cmocka_unit_test_setup_teardown(what_could_not_be_written_is_written_at_the_end, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_could_not_be_written_is_not_in_the_way, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_is_unwanted_is_not_marked_as_sent, make_spool, remove_spool),
      cmocka_unit_test_setup_teardown(what_an_abandoned_tracer_held_stays, make_spool, remove_spool),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
