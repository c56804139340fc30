#include "trace.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "buffer.h"
#include "clock.h"
#include "engine.h"
#include "error.h"
#include "export.h"
#include "json_out.h"
#include "random.h"
#include "text.h"

#define NOT_ENDED "the span was not ended"
#define HELD_BACK_SPANS 1000 /* of a trace that sampling would leave out: more aren't held for it */
#define LAST_SECOND 9e9      /* the year 2255: nanoseconds of it still fit 64 bits */

typedef size_t (*json_writer)(char *out, size_t limit, const char *text, size_t length, bool *cut);

/* ------------------------------------------------------------------------------------------------ tracer */

void nxa_tracer_options_init(nxa_tracer_options *options) {
  *options = (nxa_tracer_options){.max_traces = 1024,
                                  .max_spans = 8192,
                                  .max_bytes = (size_t)32 << 20,
                                  .max_field_bytes = (size_t)256 << 10,
                                  .sample = 1};
}

static nxa_kind check_options(const nxa_tracer_options *options, nxa_error *error) {
  if (options->max_traces < 1)
    return nxa__error_set(error, NXA_INVALID, "max_traces must be at least 1");
  if (options->max_spans < 1)
    return nxa__error_set(error, NXA_INVALID, "max_spans must be at least 1");
  if (options->max_field_bytes < NXA__JSON_LEAST)
    return nxa__error_set(error, NXA_INVALID, "max_field_bytes must be at least %d", NXA__JSON_LEAST);
  if (!(options->sample >= 0 && options->sample <= 1))
    return nxa__error_set(error, NXA_INVALID, "sample must be from 0 to 1");
  return NXA_OK;
}

nxa_tracer *nxa_tracer_new(nxa_engine *engine, const nxa_tracer_options *options, nxa_error *error) {
  nxa_tracer_options defaults;
  nxa_tracer_options_init(&defaults);
  if (!options)
    options = &defaults;
  nxa__error_clear(error);
  if (!engine || nxa__engine_closed(engine)) {
    nxa__error_set(error, NXA_INVALID, "a tracer needs an engine that is not closed");
    return NULL;
  }
  if (check_options(options, error) != NXA_OK)
    return NULL;
  nxa_tracer *tracer = nxa__allocate_zeroed(sizeof *tracer);
  if (!tracer) {
    nxa__error_memory(error);
    return NULL;
  }
  tracer->options = *options;
  tracer->engine = engine;
  nxa__engine_retain(engine);
  return tracer;
}

/* Makes a trace and its spans inert; those without a handle go. */
static void detach(nxa_trace *trace) {
  nxa__trace_retain(trace);
  for (nxa_span *span = nxa__span_first(trace); span; span = nxa__span_next(span)) {
    nxa__record_drop_texts(trace->tracer, &span->record);
    bool held = span->record.wanted != 0;
    span->record.wanted = 0;
    if (held)
      nxa__span_release(span);
  }
  nxa__record_drop_texts(trace->tracer, &trace->record);
  nxa__list_remove(&trace->link);
  trace->tracer = NULL;
  bool held = trace->record.wanted != 0;
  trace->record.wanted = 0;
  if (held)
    nxa__trace_release(trace);
  nxa__trace_release(trace);
}

void nxa_tracer_free(nxa_tracer *tracer) {
  if (!tracer)
    return;
  for (unsigned i = 0; i < tracer->sink_count; i++)
    tracer->sinks[i]->free(tracer->sinks[i]);
  tracer->sink_count = 0;
  while (tracer->traces.first)
    detach(tracer->traces.first->owner);
  nxa__engine_release(tracer->engine);
  nxa__release(tracer);
}

void nxa_tracer_stats(const nxa_tracer *tracer, nxa_stats *stats) {
  *stats = tracer ? tracer->stats : (nxa_stats){0};
}

static bool recording(const nxa_tracer *tracer) {
  return tracer && !tracer->closed && !nxa__engine_closed(tracer->engine);
}

/* ------------------------------------------------------------------------------------------------ ids */

/* Random bytes are fetched many at a time: a system call for every id would cost more than the span. */
static void take_random(nxa_tracer *tracer, unsigned char *out, size_t count) {
  if (tracer->random_left < count) {
    nxa__random_bytes(tracer->random, sizeof tracer->random);
    tracer->random_left = sizeof tracer->random;
  }
  tracer->random_left -= count;
  memcpy(out, tracer->random + tracer->random_left, count);
}

/* W3C forbids the id that is all zero. */
static void new_id(nxa_tracer *tracer, char *out, size_t count) {
  static const unsigned char zero[16];
  unsigned char bytes[16];
  do
    take_random(tracer, bytes, count);
  while (memcmp(bytes, zero, count) == 0);
  nxa__hex(out, bytes, count);
}

/* ------------------------------------------------------------------------------------------------ texts */

static bool has_room(const nxa_tracer *tracer, size_t size) {
  return size <= tracer->options.max_bytes && tracer->stats.bytes_pending <= tracer->options.max_bytes - size;
}

static void count_bytes(nxa_tracer *tracer, nxa__record *record, size_t added, size_t removed) {
  record->bytes += added - removed;
  tracer->stats.bytes_pending += added - removed;
}

void nxa__record_drop_texts(nxa_tracer *tracer, nxa__record *record) {
  nxa__release(record->input.text);
  nxa__release(record->output.text);
  nxa__release(record->error.text);
  record->input = record->output = record->error = (nxa__json){0};
  while (record->metadata) {
    nxa__metadata *next = record->metadata->next;
    nxa__release(record->metadata);
    record->metadata = next;
  }
  record->metadata_count = 0;
  if (tracer)
    count_bytes(tracer, record, 0, record->bytes);
}

static size_t name_limit(const nxa_tracer *tracer) {
  size_t field = tracer->options.max_field_bytes;
  return field < NXA__NAME_BYTES ? field : NXA__NAME_BYTES;
}

static size_t measure_name(const nxa_tracer *tracer, const char *name) {
  return nxa__json_string(NULL, name_limit(tracer), name, strlen(name), NULL);
}

/* Writes a name into the place it was measured for; returns what follows it. */
static char *write_name(nxa_tracer *tracer, nxa__json *field, char *place, const char *name) {
  bool cut;
  *field = (nxa__json){place, nxa__json_string(place, name_limit(tracer), name, strlen(name), &cut)};
  tracer->stats.fields_cut += cut;
  return place + field->length;
}

/* ------------------------------------------------------------------------------------------------ fields */

static bool takes_fields(const nxa_tracer *tracer, const nxa__record *record) {
  return recording(tracer) && record->wanted && !record->ended;
}

static void set_field(nxa_tracer *tracer, nxa__record *record, nxa__json *field, json_writer write, const char *text,
                      size_t length) {
  bool cut;
  if (!text || !takes_fields(tracer, record))
    return;
  size_t size = write(NULL, tracer->options.max_field_bytes, text, length, &cut);
  if (size == 0)
    return;
  char *copy = has_room(tracer, size) ? nxa__allocate(size) : NULL;
  tracer->stats.fields_cut += cut || !copy;
  if (!copy)
    return;
  write(copy, tracer->options.max_field_bytes, text, length, &cut);
  count_bytes(tracer, record, size, field->length);
  nxa__release(field->text);
  *field = (nxa__json){copy, size};
  record->changes++;
}

static nxa__metadata *new_metadata(const nxa_tracer *tracer, const char *key, const char *json, size_t length,
                                   bool *cut) {
  bool cut_key;
  size_t limit = tracer->options.max_field_bytes, key_limit = name_limit(tracer);
  size_t key_size = nxa__json_string(NULL, key_limit, key, strlen(key), &cut_key);
  size_t size = nxa__json_value(NULL, limit, json, length, cut);
  *cut = *cut || cut_key;
  nxa__metadata *entry = has_room(tracer, key_size + size) ? nxa__allocate(sizeof *entry + key_size + size) : NULL;
  if (!entry)
    return NULL;
  entry->next = NULL;
  entry->key_length = nxa__json_string(entry->text, key_limit, key, strlen(key), NULL);
  entry->value_length = nxa__json_value(entry->text + key_size, limit, json, length, NULL);
  return entry;
}

static bool same_key(const nxa__metadata *a, const nxa__metadata *b) {
  return a->key_length == b->key_length && memcmp(a->text, b->text, a->key_length) == 0;
}

/* Puts the entry in the place of the one with its key, else at the end; false where there are too many. */
static bool place_metadata(nxa_tracer *tracer, nxa__record *record, nxa__metadata *entry) {
  nxa__metadata **place = &record->metadata;
  while (*place && !same_key(*place, entry))
    place = &(*place)->next;
  nxa__metadata *old = *place;
  if (!old && record->metadata_count == NXA__METADATA_MAX)
    return false;
  if (old)
    entry->next = old->next;
  else
    record->metadata_count++;
  *place = entry;
  count_bytes(tracer, record, entry->key_length + entry->value_length, old ? old->key_length + old->value_length : 0);
  nxa__release(old);
  record->changes++;
  return true;
}

static bool any_json(const char *json, size_t length) {
  return json && length > 0 && nxa__json_value(NULL, NXA__JSON_LEAST, json, length, NULL) > 0;
}

static void set_metadata(nxa_tracer *tracer, nxa__record *record, const char *key, const char *json, size_t length) {
  bool cut = false;
  if (!key || !takes_fields(tracer, record) || !any_json(json, length))
    return;
  nxa__metadata *entry = new_metadata(tracer, key, json, length, &cut);
  if (entry && place_metadata(tracer, record, entry)) {
    tracer->stats.fields_cut += cut;
    return;
  }
  nxa__release(entry);
  tracer->stats.fields_cut++;
}

/* ------------------------------------------------------------------------------------------------ trace */

void nxa__trace_retain(nxa_trace *trace) {
  trace->references++;
}

void nxa__trace_release(nxa_trace *trace) {
  if (--trace->references > 0)
    return;
  nxa__list_remove(&trace->link);
  nxa__record_drop_texts(trace->tracer, &trace->record);
  for (int i = 0; i < NXA__SINKS; i++)
    nxa__release(trace->record.slots[i]);
  nxa__release(trace);
}

static bool trace_fits(nxa_tracer *tracer, size_t size) {
  return tracer->stats.traces_pending < tracer->options.max_traces && has_room(tracer, size);
}

static nxa_trace *allocate_trace(nxa_tracer *tracer, const char *agent_id, const char *name) {
  size_t agent_size = measure_name(tracer, agent_id), name_size = measure_name(tracer, name);
  size_t size = agent_size + name_size;
  while (!trace_fits(tracer, size))
    if (!nxa__export_relieve(tracer))
      return NULL;
  nxa_trace *trace = nxa__allocate(sizeof *trace + size);
  if (!trace)
    return NULL;
  memset(trace, 0, sizeof *trace);
  write_name(tracer, &trace->record.name, write_name(tracer, &trace->agent_id, trace->text, agent_id), name);
  count_bytes(tracer, &trace->record, size, 0);
  return trace;
}

nxa_trace *nxa_trace_start(nxa_tracer *tracer, const char *agent_id, const char *name) {
  if (!tracer)
    return NULL;
  bool wanted = recording(tracer) && agent_id && *agent_id && name && *name;
  nxa_trace *trace = wanted ? allocate_trace(tracer, agent_id, name) : NULL;
  if (!trace) {
    tracer->stats.traces_dropped++;
    return NULL;
  }
  new_id(tracer, trace->id, 16);
  new_id(tracer, trace->span_id, 8);
  trace->tracer = tracer;
  trace->started_monotonic_ns = nxa__monotonic_ns();
  trace->record.started_ns = nxa__wall_ns();
  trace->record.wanted = nxa__export_wanted(tracer);
  nxa__export_sample(trace);
  trace->references = 2; /* the handle, and being held */
  trace->link.owner = trace;
  nxa__list_append(&tracer->traces, &trace->link);
  tracer->stats.traces_started++;
  tracer->stats.traces_pending++;
  nxa__export_trace_started(trace);
  return trace;
}

void nxa_trace_free(nxa_trace *trace) {
  if (trace)
    nxa__trace_release(trace);
}

const char *nxa_trace_id(const nxa_trace *trace) {
  return trace ? trace->id : "";
}

bool nxa_trace_continue(nxa_trace *trace, const char *traceparent) {
  nxa__traceparent host;
  if (!traceparent || !nxa__traceparent_read(traceparent, &host))
    return false;
  if (trace)
    trace->host = host;
  return true;
}

/* A host's flags are passed on. */
static void put_traceparent(char out[NXA_TRACEPARENT_SIZE], const nxa_trace *trace, const char *span_id) {
  const char *flags = *trace->host.flags ? trace->host.flags : "01";
  snprintf(out, NXA_TRACEPARENT_SIZE, "00-%s-%s-%s", nxa__trace_open_id(trace), span_id, flags);
}

void nxa_trace_traceparent(const nxa_trace *trace, char out[NXA_TRACEPARENT_SIZE]) {
  *out = '\0';
  if (trace)
    put_traceparent(out, trace, trace->span_id);
}

void nxa_trace_set_input(nxa_trace *trace, const char *json, size_t length) {
  if (trace)
    set_field(trace->tracer, &trace->record, &trace->record.input, nxa__json_value, json, length);
}

void nxa_trace_set_output(nxa_trace *trace, const char *json, size_t length) {
  if (trace)
    set_field(trace->tracer, &trace->record, &trace->record.output, nxa__json_value, json, length);
}

void nxa_trace_set_metadata(nxa_trace *trace, const char *key, const char *json, size_t length) {
  if (trace)
    set_metadata(trace->tracer, &trace->record, key, json, length);
}

/* The wall clock of a trace is its start and what the monotonic one counted since: a step of the wall clock can't turn
 * a bar round, nor put a child before its parent. */
int64_t nxa__trace_now(const nxa_trace *trace) {
  return trace->record.started_ns + (nxa__monotonic_ns() - trace->started_monotonic_ns);
}

static void end_span(nxa_span *span, nxa_span_status status);
static void explain_open_span(nxa_span *span);

static void end_open_spans(nxa_trace *trace) {
  for (nxa_span *span = nxa__span_first(trace); span; span = nxa__span_next(span)) {
    if (span->record.ended)
      continue;
    explain_open_span(span);
    end_span(span, NXA_SPAN_ERROR);
  }
}

void nxa_trace_end(nxa_trace *trace, nxa_trace_status status, const char *message) {
  if (!trace || trace->record.ended || !recording(trace->tracer))
    return;
  nxa__trace_retain(trace);
  if (message)
    set_field(trace->tracer, &trace->record, &trace->record.error, nxa__json_string, message, strlen(message));
  end_open_spans(trace);
  if (status != NXA_TRACE_SUCCESS)
    nxa__export_keep(trace);
  trace->status = status;
  trace->record.ended_ns = nxa__trace_now(trace);
  trace->record.ended = true;
  if (trace->held_back)
    nxa__export_leave_out(trace);
  else
    nxa__export_trace_ended(trace);
  nxa__trace_release(trace);
}

/* ------------------------------------------------------------------------------------------------ span */

void nxa__span_retain(nxa_span *span) {
  span->references++;
}

static void free_span(nxa_span *span) {
  nxa_trace *trace = span->trace;
  nxa__list_remove(&span->link);
  nxa__record_drop_texts(trace->tracer, &span->record);
  for (int i = 0; i < NXA__SINKS; i++)
    nxa__release(span->record.slots[i]);
  nxa__release(span);
  nxa__trace_release(trace);
}

/* A loop, not a recursion: spans may be nested as deep as anyone likes. */
void nxa__span_release(nxa_span *span) {
  while (span && --span->references == 0) {
    nxa_span *parent = span->parent;
    free_span(span);
    span = parent;
  }
}

nxa_span *nxa__span_first(nxa_trace *trace) {
  nxa_span *span = trace->spans.first ? trace->spans.first->owner : NULL;
  if (span)
    nxa__span_retain(span);
  return span;
}

nxa_span *nxa__span_next(nxa_span *span) {
  nxa_span *next = span->link.next ? span->link.next->owner : NULL;
  if (next)
    nxa__span_retain(next);
  nxa__span_release(span);
  return next;
}

static bool span_fits(const nxa_tracer *tracer, size_t size) {
  return tracer->stats.spans_pending < tracer->options.max_spans && has_room(tracer, size);
}

static nxa_span *allocate_span(nxa_tracer *tracer, const char *name, const char *type) {
  size_t name_size = measure_name(tracer, name), type_size = type ? measure_name(tracer, type) : 0;
  while (!span_fits(tracer, name_size + type_size))
    if (!nxa__export_relieve(tracer))
      return NULL;
  nxa_span *span = nxa__allocate(sizeof *span + name_size + type_size);
  if (!span)
    return NULL;
  memset(span, 0, sizeof *span);
  char *rest = write_name(tracer, &span->record.name, span->text, name);
  if (type)
    write_name(tracer, &span->type, rest, type);
  count_bytes(tracer, &span->record, name_size + type_size, 0);
  return span;
}

/* A span no sink wants: it has an id, to be passed on, and nothing else. */
static nxa_span *allocate_inert(nxa_tracer *tracer) {
  nxa_span *span = nxa__allocate_zeroed(sizeof *span);
  tracer->stats.spans_failed += span != NULL;
  return span;
}

static void link_span(nxa_span *span, nxa_trace *trace, nxa_span *parent) {
  span->trace = trace;
  span->record.wanted = trace->record.wanted;
  span->references = span->record.wanted ? 2 : 1; /* the handle, and being held */
  span->link.owner = span;
  nxa__list_append(&trace->spans, &span->link);
  nxa__trace_retain(trace);
  if (parent && parent->trace == trace) {
    span->parent = parent;
    nxa__span_retain(parent);
  }
}

nxa_span *nxa_span_start(nxa_trace *trace, nxa_span *parent, const char *name, const char *type) {
  if (!trace || !recording(trace->tracer))
    return NULL;
  nxa_tracer *tracer = trace->tracer;
  nxa_span *span = NULL;
  while (parent && parent->left_out)
    parent = parent->parent;
  if (!name || !*name)
    name = "(unnamed)"; /* Nexus refuses a span without a name */
  if (trace->held_back && trace->spans.count >= HELD_BACK_SPANS)
    nxa__export_keep(trace);
  if (!trace->record.ended)
    span = trace->record.wanted ? allocate_span(tracer, name, type) : allocate_inert(tracer);
  if (!span) {
    tracer->stats.spans_dropped++;
    return NULL;
  }
  new_id(tracer, span->id, 8);
  link_span(span, trace, parent);
  span->record.started_ns = nxa__trace_now(trace);
  span->given_end_ns = -1;
  tracer->stats.spans_started++;
  tracer->stats.spans_pending += span->record.wanted != 0;
  return span;
}

void nxa_span_free(nxa_span *span) {
  nxa__span_release(span);
}

const char *nxa_span_id(const nxa_span *span) {
  return span ? span->id : "";
}

/* A span that nothing was recorded of has an id all the same. */
void nxa_span_traceparent(const nxa_span *span, char out[NXA_TRACEPARENT_SIZE]) {
  *out = '\0';
  if (span)
    put_traceparent(out, span->trace, span->id);
}

void nxa_span_set_input(nxa_span *span, const char *json, size_t length) {
  if (span)
    set_field(span->trace->tracer, &span->record, &span->record.input, nxa__json_value, json, length);
}

void nxa_span_set_output(nxa_span *span, const char *json, size_t length) {
  if (span)
    set_field(span->trace->tracer, &span->record, &span->record.output, nxa__json_value, json, length);
}

void nxa_span_set_metadata(nxa_span *span, const char *key, const char *json, size_t length) {
  if (span)
    set_metadata(span->trace->tracer, &span->record, key, json, length);
}

static void set_error(nxa_span *span, const char *message, size_t length) {
  set_field(span->trace->tracer, &span->record, &span->record.error, nxa__json_string, message, length);
}

void nxa_span_set_error(nxa_span *span, const char *message) {
  if (span && message)
    set_error(span, message, strlen(message));
}

static void append_inside(nxa__buffer *joined, nxa__json string) {
  if (!string.text)
    return;
  nxa__buffer_append(joined, string.text + 1, string.length - 2);
  nxa__buffer_append_text(joined, "; ");
}

/* The error of a span that its trace ends: what was known, the trace's own error, and that the span was open. */
static void explain_open_span(nxa_span *span) {
  nxa__buffer joined;
  nxa__buffer_init(&joined, SIZE_MAX);
  nxa__buffer_append_text(&joined, "\"");
  append_inside(&joined, span->record.error);
  append_inside(&joined, span->trace->record.error);
  nxa__buffer_append_text(&joined, NOT_ENDED "\"");
  if (joined.state == NXA_OK)
    set_field(span->trace->tracer, &span->record, &span->record.error, nxa__json_value, joined.data, joined.length);
  else
    set_error(span, NOT_ENDED, strlen(NOT_ENDED));
  nxa__buffer_free(&joined);
}

/* NaN and what is beyond the years a timestamp can name are no times. */
static bool is_time(double seconds) {
  return seconds >= 0 && seconds < LAST_SECOND;
}

void nxa_span_set_times(nxa_span *span, double started_at, double ended_at) {
  if (!span || !takes_fields(span->trace->tracer, &span->record))
    return;
  if (is_time(started_at))
    span->record.started_ns = nxa__ns_of(started_at);
  if (is_time(ended_at))
    span->given_end_ns = nxa__ns_of(ended_at);
}

int64_t nxa__span_end_ns(const nxa_span *span) {
  if (span->record.ended)
    return span->record.ended_ns;
  int64_t end = span->given_end_ns >= 0 ? span->given_end_ns : nxa__trace_now(span->trace);
  return end < span->record.started_ns ? span->record.started_ns : end;
}

void nxa__span_note_end(nxa_span *span) {
  if (!span || !takes_fields(span->trace->tracer, &span->record) || span->given_end_ns < 0)
    return;
  span->end_noted = true;
  nxa__export_span_end_noted(span);
}

static void end_span(nxa_span *span, nxa_span_status status) {
  if (status == NXA_SPAN_ERROR)
    nxa__export_keep(span->trace);
  span->record.ended_ns = nxa__span_end_ns(span);
  span->record.ended = true;
  span->status = status;
  nxa__export_span_ended(span);
}

void nxa_span_end(nxa_span *span, nxa_span_status status) {
  if (span && !span->record.ended && recording(span->trace->tracer))
    end_span(span, status);
}

static void hand_children_on(nxa_span *span) {
  for (nxa__link *link = span->trace->spans.first; link; link = link->next) {
    nxa_span *child = link->owner;
    if (child->parent != span)
      continue;
    if (span->parent)
      nxa__span_retain(span->parent);
    child->parent = span->parent;
    nxa__span_release(span);
  }
}

void nxa__span_end_with_parent(nxa_span *span, nxa_span_status status) {
  if (span)
    span->with_parent = span->parent != NULL;
  nxa_span_end(span, status);
}

void nxa__span_leave_out(nxa_span *span) {
  if (!span || span->record.ended || !recording(span->trace->tracer))
    return;
  nxa__span_retain(span);
  span->record.ended = span->left_out = true;
  hand_children_on(span);
  nxa__export_span_left_out(span);
  nxa__span_release(span);
}
