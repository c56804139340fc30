/* nxa-links: alloc buffer clock error random text json_out trace traceparent export */
#include "support/fake_transport.h"

#include "export.h"
#include "json_out.h"

/* ------------------------------------------------------------------------------------------------ a sink */

/* Notes what it is told and settles nothing until it is asked to. */
typedef struct notes {
  nxa__sink sink;
  nxa_trace *started[8];
  size_t started_count, ended_traces;
  nxa_span *spans[64];
  size_t span_count;
  bool refuses; /* settles traces as failed when they start */
  bool freed, closing, gave_up;
} notes;

static void note_trace_started(nxa__sink *sink, nxa_trace *trace) {
  notes *noted = (notes *)sink;
  if (noted->refuses) {
    nxa__trace_settled(sink, trace, false);
    return;
  }
  noted->started[noted->started_count++] = trace;
}

static void note_trace_ended(nxa__sink *sink, nxa_trace *trace) {
  (void)trace;
  ((notes *)sink)->ended_traces++;
}

static void note_span_ended(nxa__sink *sink, nxa_span *span) {
  notes *noted = (notes *)sink;
  noted->spans[noted->span_count++] = span;
}

static void note_flush(nxa__sink *sink) {
  (void)sink;
}

static void note_closing(nxa__sink *sink) {
  ((notes *)sink)->closing = true;
}

static bool note_pending(const nxa__sink *sink) {
  return ((const notes *)sink)->span_count > 0;
}

static void note_give_up(nxa__sink *sink) {
  ((notes *)sink)->gave_up = true;
}

static void note_free(nxa__sink *sink) {
  ((notes *)sink)->freed = true;
}

static notes new_notes(void) {
  return (notes){.sink = {.trace_started = note_trace_started,
                          .trace_ended = note_trace_ended,
                          .span_ended = note_span_ended,
                          .flush = note_flush,
                          .closing = note_closing,
                          .pending = note_pending,
                          .give_up = note_give_up,
                          .free = note_free}};
}

/* ------------------------------------------------------------------------------------------------ helpers */

typedef struct fixture {
  nxa_engine *engine;
  nxa_tracer *tracer;
  notes noted;
} fixture;

static void start(fixture *fix, const nxa_tracer_options *options) {
  nxa_error error;
  fix->engine = fake_engine();
  fix->tracer = nxa_tracer_new(fix->engine, options, &error);
  assert_non_null(fix->tracer);
  fix->noted = new_notes();
  assert_int_equal(nxa__tracer_add_sink(fix->tracer, &fix->noted.sink, &error), NXA_OK);
}

static void stop(fixture *fix) {
  nxa_tracer_free(fix->tracer);
  assert_true(fix->noted.freed);
  assert_int_equal(fix->engine->references, 1);
  nxa_engine_free(fix->engine);
  nxa__clock_real();
}

static nxa_stats stats_of(const fixture *fix) {
  nxa_stats stats;
  nxa_tracer_stats(fix->tracer, &stats);
  return stats;
}

static void assert_json(nxa__json json, const char *expected) {
  assert_non_null(json.text);
  assert_int_equal(json.length, strlen(expected));
  assert_memory_equal(json.text, expected, json.length);
}

static void assert_metadata(const nxa__metadata *entry, const char *key, const char *value) {
  assert_non_null(entry);
  assert_json((nxa__json){(char *)entry->text, entry->key_length}, key);
  assert_json((nxa__json){(char *)entry->text + entry->key_length, entry->value_length}, value);
}

static size_t is_hexadecimal(const char *id) {
  size_t length = strspn(id, "0123456789abcdef");
  assert_int_equal(id[length], '\0');
  assert_true(strspn(id, "0") < length);
  return length;
}

/* ------------------------------------------------------------------------------------------------ tests */

static void a_span_has_what_was_recorded(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "weather-bot", "weather \"x\"");
  nxa_span *parent = nxa_span_start(trace, NULL, "outer", NULL);
  pass(5 * MILLISECOND);
  nxa_span *span = nxa_span_start(trace, parent, "thread.create", "llm");
  assert_int_equal(is_hexadecimal(nxa_trace_id(trace)), 32);
  assert_int_equal(is_hexadecimal(nxa_span_id(span)), 16);
  assert_string_not_equal(nxa_span_id(span), nxa_span_id(parent));
  nxa_span_set_input(span, "{\"a\":1}", 7);
  nxa_span_set_input(span, " [1] ", 5);
  nxa_span_set_output(span, "\"\\ud800\"", 8);
  nxa_span_set_metadata(span, "threadId", "\"t1\"", 4);
  nxa_span_set_metadata(span, "k\"ey", "2", 1);
  nxa_span_set_metadata(span, "threadId", "\"t2\"", 4);
  nxa_span_set_error(span, "bad\n\xFF");
  pass(20 * MILLISECOND);
  nxa_span_end(span, NXA_SPAN_ERROR);
  assert_ptr_equal(fix.noted.spans[0], span);
  assert_json(trace->agent_id, "\"weather-bot\"");
  assert_json(trace->record.name, "\"weather \\\"x\\\"\"");
  assert_json(span->record.name, "\"thread.create\"");
  assert_json(span->type, "\"llm\"");
  assert_json(span->record.input, "[1]");
  assert_json(span->record.output, "\"\xEF\xBF\xBD\"");
  assert_metadata(span->record.metadata, "\"threadId\"", "\"t2\"");
  assert_metadata(span->record.metadata->next, "\"k\\\"ey\"", "2");
  assert_null(span->record.metadata->next->next);
  assert_json(span->record.error, "\"bad\\n\xEF\xBF\xBD\"");
  assert_ptr_equal(span->parent, parent);
  assert_int_equal(span->record.started_ns, FAKE_START_WALL + 5 * MILLISECOND);
  assert_int_equal(span->record.ended_ns, FAKE_START_WALL + 25 * MILLISECOND);
  assert_int_equal(span->status, NXA_SPAN_ERROR);
  nxa_span_free(span);
  nxa_span_free(parent);
  nxa_trace_free(trace);
  stop(&fix);
}

static void a_step_of_the_wall_clock_turns_nothing_round(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa__clock_fake(nxa__monotonic_ns() + SECOND, nxa__wall_ns() - 3600 * SECOND);
  nxa_span *span = nxa_span_start(trace, NULL, "s", NULL);
  nxa__clock_fake(nxa__monotonic_ns() + SECOND, nxa__wall_ns() - 3600 * SECOND);
  nxa_span_end(span, NXA_SPAN_OK);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  assert_int_equal(span->record.started_ns, FAKE_START_WALL + SECOND);
  assert_int_equal(span->record.ended_ns, FAKE_START_WALL + 2 * SECOND);
  assert_int_equal(trace->record.ended_ns, FAKE_START_WALL + 2 * SECOND);
  nxa_span_free(span);
  nxa_trace_free(trace);
  stop(&fix);
}

static void times_of_another_clock_replace_ours(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *both = nxa_span_start(trace, NULL, "both", NULL), *turned = nxa_span_start(trace, NULL, "turned", NULL);
  nxa_span *none = nxa_span_start(trace, NULL, "none", NULL);
  nxa_span_set_times(both, 1000.5, 1002);
  nxa_span_set_times(turned, 1000, -1);
  nxa_span_set_times(turned, -1, 900);
  nxa_span_set_times(none, 0.0 / (both ? 0.0 : 1.0), 1e300);
  nxa_span_end(both, NXA_SPAN_OK);
  nxa_span_end(turned, NXA_SPAN_OK);
  nxa_span_end(none, NXA_SPAN_OK);
  assert_int_equal(both->record.started_ns, 1000 * SECOND + SECOND / 2);
  assert_int_equal(both->record.ended_ns, 1002 * SECOND);
  assert_int_equal(turned->record.started_ns, 1000 * SECOND);
  assert_int_equal(turned->record.ended_ns, 1000 * SECOND);
  assert_int_equal(none->record.started_ns, FAKE_START_WALL);
  assert_int_equal(none->record.ended_ns, FAKE_START_WALL);
  nxa_span_free(both);
  nxa_span_free(turned);
  nxa_span_free(none);
  nxa_trace_free(trace);
  stop(&fix);
}

static void ending_a_trace_ends_what_is_open(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *done = nxa_span_start(trace, NULL, "done", NULL), *kept = nxa_span_start(trace, done, "kept", NULL);
  nxa_span *loose = nxa_span_start(trace, kept, "loose", NULL);
  nxa_span_set_error(loose, "first");
  nxa_span_free(loose); /* not ended: stays open */
  nxa_span_end(done, NXA_SPAN_OK);
  assert_int_equal(fix.noted.span_count, 1);
  nxa_trace_end(trace, NXA_TRACE_TIMEOUT, "too \"late\"");
  assert_int_equal(fix.noted.span_count, 3);
  assert_int_equal(fix.noted.ended_traces, 1);
  assert_json(trace->record.error, "\"too \\\"late\\\"\"");
  assert_null(done->record.error.text);
  assert_json(kept->record.error, "\"too \\\"late\\\"; the span was not ended\"");
  assert_json(loose->record.error, "\"first; too \\\"late\\\"; the span was not ended\"");
  assert_int_equal(loose->status, NXA_SPAN_ERROR);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, "again");
  assert_int_equal(trace->status, NXA_TRACE_TIMEOUT);
  assert_int_equal(fix.noted.ended_traces, 1);
  assert_null(nxa_span_start(trace, NULL, "late", NULL));
  assert_int_equal(stats_of(&fix).spans_dropped, 1);
  nxa_trace_set_output(trace, "1", 1);
  assert_null(trace->record.output.text);
  nxa_span_free(done);
  nxa_span_free(kept);
  nxa_trace_free(trace);
  stop(&fix);
}

static void settled_records_give_their_memory_back(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *parent = nxa_span_start(trace, NULL, "parent", NULL), *child = nxa_span_start(trace, parent, "child", "x");
  nxa_span_set_input(parent, "\"12345678\"", 10);
  nxa_span_set_metadata(child, "k", "1", 1);
  assert_int_equal(stats_of(&fix).bytes_pending, 3 + 3 + 8 + 7 + 3 + 10 + 3 + 1);
  nxa_span_end(parent, NXA_SPAN_OK);
  nxa__span_settled(&fix.noted.sink, parent, true);
  nxa_span_free(parent); /* its child still refers to it */
  assert_int_equal(stats_of(&fix).bytes_pending, 3 + 3 + 7 + 3 + 3 + 1);
  assert_int_equal(stats_of(&fix).spans_delivered, 1);
  assert_int_equal(stats_of(&fix).spans_pending, 1);
  assert_ptr_equal(child->parent, parent);
  nxa_span_end(child, NXA_SPAN_OK);
  nxa__span_settled(&fix.noted.sink, child, false);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  nxa_trace_free(trace);
  nxa__trace_settled(&fix.noted.sink, trace, true);
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.bytes_pending + stats.spans_pending + stats.traces_pending, 0);
  assert_int_equal(stats.spans_failed, 1);
  assert_int_equal(stats.traces_delivered, 1);
  nxa_span_free(child); /* the last to go takes the trace with it */
  stop(&fix);
}

static void a_trace_given_up_takes_its_spans_along(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *open = nxa_span_start(trace, NULL, "open", NULL), *ended = nxa_span_start(trace, open, "ended", NULL);
  nxa_span_end(ended, NXA_SPAN_OK);
  nxa_span_free(ended);
  nxa__trace_settled(&fix.noted.sink, trace, false);
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.spans_failed, 2);
  assert_int_equal(stats.traces_failed, 1);
  assert_int_equal(stats.bytes_pending + stats.spans_pending + stats.traces_pending, 0);
  nxa_span *later = nxa_span_start(trace, open, "later", NULL);
  assert_int_equal(is_hexadecimal(nxa_span_id(later)), 16);
  nxa_span_set_output(later, "1", 1);
  nxa_span_end(later, NXA_SPAN_OK);
  nxa_span_end(open, NXA_SPAN_OK);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  assert_int_equal(stats_of(&fix).spans_failed, 3);
  assert_int_equal(stats_of(&fix).bytes_pending, 0);
  assert_int_equal(fix.noted.span_count, 1);
  nxa_span_free(later);
  nxa_span_free(open);
  nxa_trace_free(trace);
  stop(&fix);
}

static void a_sink_that_refuses_leaves_working_handles(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  fix.noted.refuses = true;
  for (int i = 0; i < 2000; i++) { /* more than the cap: nothing is held */
    nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
    nxa_span *span = nxa_span_start(trace, NULL, "s", NULL);
    assert_int_equal(is_hexadecimal(nxa_trace_id(trace)) + is_hexadecimal(nxa_span_id(span)), 48);
    nxa_span_end(span, NXA_SPAN_OK);
    nxa_span_free(span);
    nxa_trace_free(trace);
  }
  assert_int_equal(stats_of(&fix).traces_failed, 2000);
  assert_int_equal(stats_of(&fix).spans_failed, 2000);
  assert_int_equal(fix.tracer->traces.count, 0);
  stop(&fix);
}

static nxa_tracer_options small(void) {
  nxa_tracer_options options;
  nxa_tracer_options_init(&options);
  options.max_traces = 2;
  options.max_spans = 3;
  options.max_bytes = 1000;
  options.max_field_bytes = 200;
  return options;
}

static void caps_drop_and_count(void **state) {
  (void)state;
  fixture fix;
  nxa_tracer_options options = small();
  start(&fix, &options);
  nxa_trace *traces[3];
  nxa_span *spans[5];
  for (int i = 0; i < 3; i++)
    traces[i] = nxa_trace_start(fix.tracer, "a", "t");
  for (int i = 0; i < 5; i++)
    spans[i] = nxa_span_start(traces[i % 3], i ? spans[i - 1] : NULL, "s", NULL);
  assert_null(traces[2]);
  assert_true(spans[0] && spans[1] && !spans[2] && spans[3] && !spans[4]);
  assert_null(spans[3]->parent); /* the parent was dropped: under the trace */
  assert_null(spans[1]->parent); /* of another trace */
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.traces_started + 10 * stats.traces_dropped, 12);
  assert_int_equal(stats.spans_started + 10 * stats.spans_dropped, 13);
  for (int i = 0; i < 5; i++)
    nxa_span_free(spans[i]);
  for (int i = 0; i < 3; i++)
    nxa_trace_free(traces[i]);
  stop(&fix);
}

static void bytes_are_bounded(void **state) {
  (void)state;
  fixture fix;
  nxa_tracer_options options = small();
  start(&fix, &options);
  char json[501] = {0};
  memset(json, '1', 500);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_trace_set_input(trace, json, 500);
  assert_in_range(trace->record.input.length, 150, 200);
  assert_int_equal(stats_of(&fix).fields_cut, 1);
  for (int i = 0; i < 10; i++)
    nxa_trace_set_metadata(trace, (char[]){(char)('a' + i), '\0'}, json, 190);
  nxa_stats stats = stats_of(&fix);
  assert_in_range(stats.bytes_pending, 700, 1000);
  assert_int_equal(stats.fields_cut, 1 + 10 - trace->record.metadata_count);
  assert_null(nxa_span_start(trace, NULL, json, NULL));
  assert_int_equal(stats_of(&fix).spans_dropped, 1);
  nxa_trace_free(trace);
  stop(&fix);
}

static void long_names_and_many_keys_are_bounded(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  char name[5000], key[16];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", name);
  assert_in_range(trace->record.name.length, NXA__NAME_BYTES - 48, NXA__NAME_BYTES);
  for (int i = 0; i < NXA__METADATA_MAX + 5; i++) {
    snprintf(key, sizeof key, "k%d", i);
    nxa_trace_set_metadata(trace, key, "1", 1);
  }
  nxa_trace_set_metadata(trace, "k0", "2", 1);
  assert_int_equal(trace->record.metadata_count, NXA__METADATA_MAX);
  assert_metadata(trace->record.metadata, "\"k0\"", "2");
  assert_int_equal(stats_of(&fix).fields_cut, 1 + 5);
  nxa_trace_free(trace);
  stop(&fix);
}

static void misuse_is_harmless(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  assert_null(nxa_trace_start(fix.tracer, "", "t"));
  assert_null(nxa_trace_start(fix.tracer, "a", NULL));
  assert_null(nxa_trace_start(NULL, "a", "t"));
  assert_null(nxa_span_start(NULL, NULL, "s", NULL));
  assert_string_equal(nxa_trace_id(NULL), "");
  assert_string_equal(nxa_span_id(NULL), "");
  nxa_trace_set_input(NULL, "1", 1);
  nxa_trace_set_metadata(NULL, "k", "1", 1);
  nxa_trace_end(NULL, NXA_TRACE_SUCCESS, NULL);
  nxa_span_set_error(NULL, "x");
  nxa_span_set_times(NULL, 1, 2);
  nxa_span_end(NULL, NXA_SPAN_OK);
  nxa_trace_free(NULL);
  nxa_span_free(NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *span = nxa_span_start(trace, NULL, "", NULL);
  assert_json(span->record.name, "\"(unnamed)\"");
  nxa_span_set_input(span, NULL, 0);
  nxa_span_set_input(span, "  ", 2);
  nxa_span_set_metadata(span, "k", "", 0);
  nxa_span_set_metadata(span, NULL, "1", 1);
  nxa_span_set_error(span, NULL);
  assert_true(!span->record.input.text && !span->record.metadata && !span->record.error.text);
  nxa_span_end(span, NXA_SPAN_OK);
  nxa_span_end(span, NXA_SPAN_ERROR);
  assert_int_equal(span->status, NXA_SPAN_OK);
  assert_int_equal(fix.noted.span_count, 1);
  nxa_span_free(span);
  nxa_trace_free(trace);
  stop(&fix);
}

static void options_are_checked(void **state) {
  (void)state;
  nxa_error error;
  nxa_engine *engine = fake_engine();
  nxa_tracer_options options = small();
  options.max_field_bytes = 10;
  assert_null(nxa_tracer_new(engine, &options, &error));
  assert_int_equal(error.kind, NXA_INVALID);
  assert_non_null(strstr(error.message, "max_field_bytes"));
  options = small();
  options.sample = 1.5;
  assert_null(nxa_tracer_new(engine, &options, &error));
  assert_non_null(strstr(error.message, "sample"));
  assert_null(nxa_tracer_new(NULL, NULL, &error));
  assert_int_equal(error.kind, NXA_INVALID);
  nxa_engine_free(engine);
}

static void what_was_recorded_waits_for_a_sink(void **state) {
  (void)state;
  nxa_engine *engine = fake_engine();
  nxa_tracer *tracer = nxa_tracer_new(engine, NULL, NULL);
  nxa_trace *trace = nxa_trace_start(tracer, "a", "t");
  nxa_span *open = nxa_span_start(trace, NULL, "open", NULL), *ended = nxa_span_start(trace, open, "ended", NULL);
  nxa_span_end(ended, NXA_SPAN_OK);
  notes noted = new_notes(), second = new_notes();
  assert_int_equal(nxa__tracer_add_sink(tracer, &noted.sink, NULL), NXA_OK);
  assert_int_equal(noted.started_count + 10 * noted.span_count + 100 * noted.ended_traces, 11);
  assert_int_equal(nxa__tracer_add_sink(tracer, &second.sink, NULL), NXA_OK);
  nxa_trace *later = nxa_trace_start(tracer, "a", "later");
  nxa_span_end(open, NXA_SPAN_OK);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  assert_int_equal(noted.started_count + 10 * noted.span_count + 100 * noted.ended_traces, 122);
  assert_int_equal(second.started_count + 10 * second.span_count, 1);
  nxa_trace_end(later, NXA_TRACE_SUCCESS, NULL);
  nxa_trace_free(later);
  nxa__trace_settled(&noted.sink, later, true);
  nxa_stats stats;
  nxa_tracer_stats(tracer, &stats);
  assert_int_equal(stats.traces_delivered + stats.traces_failed, 0); /* the second still wants it */
  nxa__trace_settled(&second.sink, later, false);
  nxa_tracer_stats(tracer, &stats);
  assert_int_equal(stats.traces_failed, 1);
  nxa_span_free(open);
  nxa_span_free(ended);
  nxa_trace_free(trace);
  nxa_tracer_free(tracer);
  nxa_engine_free(engine);
}

static void a_refusing_sink_added_late_frees_all(void **state) {
  (void)state;
  nxa_engine *engine = fake_engine();
  nxa_tracer *tracer = nxa_tracer_new(engine, NULL, NULL);
  nxa_trace *trace = nxa_trace_start(tracer, "a", "t");
  nxa_span *span = nxa_span_start(trace, NULL, "s", NULL);
  nxa_span_end(span, NXA_SPAN_OK);
  nxa_span_free(span);
  nxa_trace_free(trace);
  notes noted = new_notes();
  noted.refuses = true;
  assert_int_equal(nxa__tracer_add_sink(tracer, &noted.sink, NULL), NXA_OK);
  assert_int_equal(tracer->traces.count, 0);
  assert_int_equal(tracer->stats.traces_failed + tracer->stats.spans_failed, 2);
  nxa_tracer_free(tracer);
  nxa_engine_free(engine);
}

/* ------------------------------------------------------------------------------------------------ sampling */

static void start_sampling(fixture *fix, double share) {
  nxa_tracer_options options;
  nxa_tracer_options_init(&options);
  options.sample = share;
  start(fix, &options);
}

static void end_one(nxa_trace *trace, nxa_span_status status) {
  nxa_span *span = nxa_span_start(trace, NULL, "s", NULL);
  nxa_span_set_output(span, "1", 1);
  nxa_span_end(span, status);
  nxa_span_free(span);
}

static void what_is_not_chosen_is_left_out(void **state) {
  (void)state;
  fixture fix;
  start_sampling(&fix, 0);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *open = nxa_span_start(trace, NULL, "open", NULL);
  end_one(trace, NXA_SPAN_OK);
  nxa_span_end(open, NXA_SPAN_OK);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.traces_left_out + 10 * stats.spans_left_out, 21);
  assert_int_equal(stats.traces_pending + stats.spans_pending + stats.bytes_pending, 0);
  assert_int_equal(fix.noted.started_count, 0);
  nxa_span_free(open);
  nxa_trace_free(trace);
  assert_int_equal(fix.tracer->traces.count, 0);
  assert_true(nxa_tracer_close(fix.tracer, 0));
  stop(&fix);
}

static void a_failure_is_kept_whole(void **state) {
  (void)state;
  fixture fix;
  start_sampling(&fix, 0);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  end_one(trace, NXA_SPAN_OK);
  assert_int_equal(fix.noted.started_count, 0);
  end_one(trace, NXA_SPAN_ERROR);
  assert_int_equal(fix.noted.started_count + 10 * fix.noted.span_count, 21);
  end_one(trace, NXA_SPAN_OK);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  assert_int_equal(fix.noted.ended_traces + 10 * fix.noted.span_count, 31);
  nxa_trace_free(trace);
  trace = nxa_trace_start(fix.tracer, "a", "fails");
  end_one(trace, NXA_SPAN_OK);
  nxa_trace_end(trace, NXA_TRACE_TIMEOUT, "too late");
  assert_int_equal(fix.noted.started_count + 10 * fix.noted.span_count + 100 * fix.noted.ended_traces, 242);
  nxa_trace_free(trace);
  assert_int_equal(stats_of(&fix).traces_left_out, 0);
  stop(&fix);
}

static void what_is_cut_off_by_the_end_is_kept(void **state) {
  (void)state;
  fixture fix;
  start_sampling(&fix, 0);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  assert_false(nxa_tracer_close(fix.tracer, 0));
  assert_int_equal(fix.noted.started_count + 10 * fix.noted.ended_traces, 11);
  nxa_trace_free(trace);
  stop(&fix);
}

static void a_trace_of_many_spans_is_not_held_back(void **state) {
  (void)state;
  fixture fix;
  start_sampling(&fix, 0);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  for (int i = 0; i < 1000; i++)
    nxa_span_free(nxa_span_start(trace, NULL, "open", NULL));
  assert_int_equal(fix.noted.started_count, 0);
  nxa_span_free(nxa_span_start(trace, NULL, "one more", NULL));
  assert_int_equal(fix.noted.started_count, 1);
  nxa_trace_free(trace);
  stop(&fix);
}

static void a_share_is_a_share(void **state) {
  (void)state;
  fixture fix;
  start_sampling(&fix, 0.25);
  fix.noted.refuses = true; /* nothing is to be held */
  for (int i = 0; i < 4000; i++) {
    nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
    nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
    nxa_trace_free(trace);
  }
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.traces_left_out + stats.traces_failed, 4000);
  assert_in_range(stats.traces_failed, 800, 1200); /* seven standard deviations */
  stop(&fix);
}

static void the_first_sink_is_not_told_what_is_held_back(void **state) {
  (void)state;
  nxa_engine *engine = fake_engine();
  nxa_tracer_options options;
  nxa_tracer_options_init(&options);
  options.sample = 0;
  nxa_tracer *tracer = nxa_tracer_new(engine, &options, NULL);
  nxa_trace *fine = nxa_trace_start(tracer, "a", "fine"), *failed = nxa_trace_start(tracer, "a", "failed");
  end_one(failed, NXA_SPAN_ERROR);
  notes noted = new_notes();
  assert_int_equal(nxa__tracer_add_sink(tracer, &noted.sink, NULL), NXA_OK);
  assert_int_equal(noted.started_count + 10 * noted.span_count, 11);
  nxa_trace_free(fine);
  nxa_trace_free(failed);
  nxa_tracer_free(tracer);
  nxa_engine_free(engine);
}

static void handles_outlive_the_tracer(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t"), *loose = nxa_trace_start(fix.tracer, "a", "loose");
  nxa_span *span = nxa_span_start(trace, NULL, "s", NULL), *child = nxa_span_start(trace, span, "c", NULL);
  nxa_span_free(nxa_span_start(trace, child, "no handle", NULL));
  nxa_trace_free(loose);
  nxa_span_free(span);
  nxa_tracer_free(fix.tracer);
  nxa_span_set_output(child, "1", 1);
  nxa_span_end(child, NXA_SPAN_OK);
  assert_null(nxa_span_start(trace, child, "more", NULL));
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, "x");
  assert_int_equal(is_hexadecimal(nxa_trace_id(trace)), 32);
  nxa_trace_free(trace);
  nxa_span_free(child);
  nxa_engine_free(fix.engine);
}

static void a_closed_engine_makes_recording_inert(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *span = nxa_span_start(trace, NULL, "s", NULL);
  nxa_engine_free(fix.engine);
  nxa_span_end(span, NXA_SPAN_OK);
  assert_int_equal(fix.noted.span_count, 0);
  assert_null(nxa_trace_start(fix.tracer, "a", "t"));
  nxa_stats stats;
  nxa_tracer_stats(fix.tracer, &stats);
  assert_int_equal(stats.traces_dropped, 1);
  assert_false(nxa_tracer_pending(fix.tracer));
  assert_false(nxa_tracer_close(fix.tracer, 1e9));
  nxa_span_free(span);
  nxa_trace_free(trace);
  nxa_tracer_free(fix.tracer);
}

static void closing_ends_traces_and_keeps_to_its_time(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *span = nxa_span_start(trace, NULL, "s", NULL);
  nxa_trace_free(nxa_trace_start(fix.tracer, "a", "freed"));
  assert_false(nxa_tracer_close(fix.tracer, 2.5));
  assert_int_equal(nxa__monotonic_ns(), FAKE_START_MONOTONIC + 2500 * MILLISECOND);
  assert_true(fix.noted.closing && fix.noted.gave_up);
  assert_int_equal(fix.noted.ended_traces, 2);
  assert_int_equal(trace->status, NXA_TRACE_ERROR);
  assert_int_equal(stats_of(&fix).traces_failed + 10 * stats_of(&fix).spans_failed, 12);
  assert_null(nxa_trace_start(fix.tracer, "a", "t"));
  assert_null(nxa_span_start(trace, NULL, "s", NULL));
  assert_false(nxa_tracer_close(fix.tracer, 100));
  assert_int_equal(nxa__monotonic_ns(), FAKE_START_MONOTONIC + 2500 * MILLISECOND);
  nxa_span_free(span);
  nxa_trace_free(trace);
  stop(&fix);
}

static void closing_without_anything_is_a_success(void **state) {
  (void)state;
  fixture fix;
  start(&fix, NULL);
  assert_true(nxa_tracer_close(fix.tracer, 5));
  assert_int_equal(fix.engine->steps, 0);
  assert_true(nxa_tracer_close(NULL, 5));
  stop(&fix);
}

static void deep_nesting_is_no_recursion(void **state) {
  (void)state;
  fixture fix;
  nxa_tracer_options options;
  nxa_tracer_options_init(&options);
  options.max_spans = 200000;
  start(&fix, &options);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "a", "t");
  nxa_span *last = NULL;
  for (int i = 0; i < 200000; i++) {
    nxa_span *span = nxa_span_start(trace, last, "s", NULL);
    nxa_span_free(last);
    last = span;
  }
  nxa_span_free(last);
  nxa__trace_settled(&fix.noted.sink, trace, false);
  assert_int_equal(trace->spans.count, 0);
  nxa_trace_free(trace);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ out of memory */

static size_t allocations_left, blocks;

static void *scarce_allocate(size_t size) {
  if (allocations_left == 0)
    return NULL;
  allocations_left--;
  blocks++;
  return malloc(size);
}

static void *scarce_reallocate(void *block, size_t size) {
  if (allocations_left == 0)
    return NULL;
  allocations_left--;
  blocks += block == NULL;
  return realloc(block, size);
}

static void scarce_release(void *block) {
  blocks -= block != NULL;
  free(block);
}

static void record_much(nxa_tracer *tracer) {
  nxa_trace *trace = nxa_trace_start(tracer, "agent", "trace");
  nxa_span *outer = nxa_span_start(trace, NULL, "outer", "chain"), *inner = nxa_span_start(trace, outer, "inner", NULL);
  nxa_trace_set_input(trace, "\"question\"", 10);
  nxa_span_set_input(inner, "{\"a\":1}", 7);
  nxa_span_set_metadata(inner, "k", "1", 1);
  nxa_span_set_metadata(inner, "k", "2", 1);
  nxa_span_set_error(inner, "broken");
  nxa_span_end(outer, NXA_SPAN_OK);
  nxa_trace_end(trace, NXA_TRACE_ERROR, "stopped");
  nxa_span_free(outer);
  nxa_span_free(inner);
  nxa_trace_free(trace);
}

static void want_of_memory_is_survived_anywhere(void **state) {
  (void)state;
  bool complete = false;
  nxa_set_allocator(scarce_allocate, scarce_reallocate, scarce_release);
  for (size_t allowed = 0; !complete; allowed++) {
    nxa_engine *engine = fake_engine();
    nxa_error error;
    notes noted = new_notes();
    allocations_left = allowed;
    nxa_tracer *tracer = nxa_tracer_new(engine, NULL, &error);
    if (tracer) {
      nxa__tracer_add_sink(tracer, &noted.sink, NULL);
      record_much(tracer);
      nxa_stats stats;
      nxa_tracer_stats(tracer, &stats);
      complete = stats.traces_dropped + stats.spans_dropped + stats.fields_cut == 0;
      nxa_tracer_free(tracer);
    } else {
      assert_int_equal(error.kind, NXA_MEMORY);
    }
    assert_int_equal(blocks, 0);
    nxa_engine_free(engine);
    assert_true(allowed < 100);
  }
  nxa_set_allocator(NULL, NULL, NULL);
}

/* `passed_on`: what is passed on of the text's; NULL where it is none. */
static void expect_traceparent(const char *text, const char *passed_on) {
  bool fine = passed_on != NULL;
  fixture fix;
  char own[NXA_TRACEPARENT_SIZE], expected[NXA_TRACEPARENT_SIZE];
  start(&fix, NULL);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "weather");
  assert_int_equal(nxa_trace_continue(trace, text), fine);
  assert_int_equal(nxa_trace_continue(NULL, text), fine);
  nxa_span *span = nxa_span_start(trace, NULL, "s", NULL);
  nxa_span_traceparent(span, own);
  const char *flags = fine ? passed_on : "01";
  snprintf(expected, sizeof expected, "00-%.32s-%s-%.2s", fine ? text + 3 : nxa_trace_id(trace), nxa_span_id(span),
           flags);
  assert_string_equal(own, expected);
  nxa_trace_traceparent(trace, own);
  snprintf(expected, sizeof expected, "00-%.32s-%s-%.2s", fine ? text + 3 : nxa_trace_id(trace), trace->span_id, flags);
  assert_string_equal(own, expected);
  nxa_span_free(span);
  nxa_trace_free(trace);
  stop(&fix);
}

#define HOST "0af7651916cd43dd8448eb211c80319c"
#define ABOVE "b7ad6b7169203331"

static void a_trace_may_be_below_a_span_of_the_host(void **state) {
  char own[NXA_TRACEPARENT_SIZE];
  (void)state;
  expect_traceparent("00-" HOST "-" ABOVE "-01", "01");
  expect_traceparent("00-" HOST "-" ABOVE "-00", "00");
  expect_traceparent("00-" HOST "-" ABOVE "-02", "02");
  expect_traceparent("00-" HOST "-" ABOVE "-ff", "03");
  expect_traceparent("00-" HOST "-" ABOVE "-fc", "00");
  expect_traceparent("00-" HOST "-" ABOVE "-0A", NULL);
  expect_traceparent("cc-" HOST "-" ABOVE "-01-more", "01");
  expect_traceparent("cc-" HOST "-" ABOVE "-f8-what", "00");
  expect_traceparent("01-" HOST "-" ABOVE "-03", "01");
  expect_traceparent("00-" HOST "-" ABOVE "-01-more", NULL);
  expect_traceparent("cc-" HOST "-" ABOVE "-01more", NULL);
  expect_traceparent("ff-" HOST "-" ABOVE "-01", NULL);
  expect_traceparent("00-" HOST "-" ABOVE, NULL);
  expect_traceparent("00-00000000000000000000000000000000-" ABOVE "-01", NULL);
  expect_traceparent("00-" HOST "-0000000000000000-01", NULL);
  expect_traceparent("00-0AF7651916CD43DD8448EB211C80319C-" ABOVE "-01", NULL);
  expect_traceparent("00 " HOST "-" ABOVE "-01", NULL);
  expect_traceparent("", NULL);
  expect_traceparent(NULL, NULL);
  nxa_trace_traceparent(NULL, own);
  assert_string_equal(own, "");
  nxa_span_traceparent(NULL, own);
  assert_string_equal(own, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_trace_may_be_below_a_span_of_the_host),
      cmocka_unit_test(a_span_has_what_was_recorded),
      cmocka_unit_test(a_step_of_the_wall_clock_turns_nothing_round),
      cmocka_unit_test(times_of_another_clock_replace_ours),
      cmocka_unit_test(ending_a_trace_ends_what_is_open),
      cmocka_unit_test(settled_records_give_their_memory_back),
      cmocka_unit_test(a_trace_given_up_takes_its_spans_along),
      cmocka_unit_test(a_sink_that_refuses_leaves_working_handles),
      cmocka_unit_test(caps_drop_and_count),
      cmocka_unit_test(bytes_are_bounded),
      cmocka_unit_test(long_names_and_many_keys_are_bounded),
      cmocka_unit_test(misuse_is_harmless),
      cmocka_unit_test(options_are_checked),
      cmocka_unit_test(what_was_recorded_waits_for_a_sink),
      cmocka_unit_test(a_refusing_sink_added_late_frees_all),
      cmocka_unit_test(what_is_not_chosen_is_left_out),
      cmocka_unit_test(a_failure_is_kept_whole),
      cmocka_unit_test(what_is_cut_off_by_the_end_is_kept),
      cmocka_unit_test(a_trace_of_many_spans_is_not_held_back),
      cmocka_unit_test(a_share_is_a_share),
      cmocka_unit_test(the_first_sink_is_not_told_what_is_held_back),
      cmocka_unit_test(handles_outlive_the_tracer),
      cmocka_unit_test(a_closed_engine_makes_recording_inert),
      cmocka_unit_test(closing_ends_traces_and_keeps_to_its_time),
      cmocka_unit_test(closing_without_anything_is_a_success),
      cmocka_unit_test(deep_nesting_is_no_recursion),
      cmocka_unit_test(want_of_memory_is_survived_anywhere),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
