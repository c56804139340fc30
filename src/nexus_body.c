#include "nexus_body.h"

#include <string.h>

#include "alloc.h"
#include "json_out.h"
#include "text.h"

#define FIXED_BYTES 8192 /* names, times, punctuation: all that isn't a field or a key */

/* What a body is written with. */
typedef struct writer {
  nxa__buffer *body;
  size_t limit; /* for one field */
  uint64_t *cut;
} writer;

static void put(writer *out, const char *text) {
  nxa__buffer_append_text(out->body, text);
}

static void put_json(writer *out, nxa__json json) {
  nxa__buffer_append(out->body, json.text, json.length);
}

/* ------------------------------------------------------------------------------------------------ fitting a row */

static size_t at_most(size_t length, size_t limit) {
  return length < limit ? length : limit;
}

/* What a row with everything would take; `errors` is how often the error is in it. */
static size_t row_bytes(const nxa__record *record, size_t errors, size_t limit) {
  size_t bytes = FIXED_BYTES + at_most(record->input.length, limit) + at_most(record->output.length, limit) +
                 errors * at_most(record->error.length, limit);
  for (const nxa__metadata *entry = record->metadata; entry; entry = entry->next)
    bytes += entry->key_length + at_most(entry->value_length, limit) + 2;
  return bytes;
}

/* The most a field may take: only the largest are cut. Ends well above NXA__JSON_LEAST, as keys are short and few. */
static size_t field_limit(const nxa__record *record, size_t errors) {
  size_t limit = NXA__NEXUS_ROW_BYTES;
  while (row_bytes(record, errors, limit) > NXA__NEXUS_ROW_BYTES)
    limit -= limit / 16;
  return limit;
}

static void put_shortened(writer *out, nxa__json json) {
  size_t size = nxa__json_value(NULL, out->limit, json.text, json.length, NULL);
  char *text = nxa__allocate(size);
  if (!text) {
    out->body->state = NXA_MEMORY;
    return;
  }
  nxa__json_value(text, out->limit, json.text, json.length, NULL);
  nxa__buffer_append(out->body, text, size);
  nxa__release(text);
  ++*out->cut;
}

static void put_value(writer *out, nxa__json json) {
  if (json.length <= out->limit)
    put_json(out, json);
  else
    put_shortened(out, json);
}

/* ------------------------------------------------------------------------------------------------ members */

static void put_member(writer *out, const char *prefix, nxa__json json) {
  if (!json.text)
    return;
  put(out, prefix);
  put_value(out, json);
}

static void put_time(writer *out, const char *prefix, int64_t wall_ns) {
  char stamp[NXA__TIMESTAMP_SIZE];
  nxa__timestamp(stamp, wall_ns);
  put(out, prefix);
  put(out, stamp);
  put(out, "\"");
}

static void put_entry(writer *out, const nxa__metadata *entry) {
  put_json(out, (nxa__json){(char *)entry->text, entry->key_length});
  put(out, ":");
  put_value(out, (nxa__json){(char *)entry->text + entry->key_length, entry->value_length});
}

static void put_metadata(writer *out, const nxa__metadata *entry) {
  put(out, "{");
  for (; entry; entry = entry->next) {
    put_entry(out, entry);
    put(out, entry->next ? "," : "");
  }
  put(out, "}");
}

/* ------------------------------------------------------------------------------------------------ traces */

static bool is_key(const nxa__metadata *entry, const char *quoted) {
  return entry->key_length == strlen(quoted) && memcmp(entry->text, quoted, entry->key_length) == 0;
}

/* Keys whose place is taken by what the trace itself has. */
static bool is_reserved(const nxa__record *record, const nxa__metadata *entry) {
  return is_key(entry, "\"trace_id\"") || is_key(entry, "\"trace_name\"") ||
         (record->input.text && is_key(entry, "\"input\"")) || (record->output.text && is_key(entry, "\"output\"")) ||
         (record->error.text && is_key(entry, "\"error\""));
}

/* Nexus shows no other field of a trace, so all that is known goes in here; it tells no name where it is asked. */
static void put_trace_metadata(writer *out, const nxa_trace *trace) {
  const nxa__record *record = &trace->record;
  put(out, "{\"trace_id\":\"");
  put(out, trace->id);
  put(out, "\"");
  put_member(out, ",\"trace_name\":", record->name);
  for (const nxa__metadata *entry = record->metadata; entry; entry = entry->next) {
    if (is_reserved(record, entry))
      continue;
    put(out, ",");
    put_entry(out, entry);
  }
  put_member(out, ",\"input\":", record->input);
  put_member(out, ",\"output\":", record->output);
  put_member(out, ",\"error\":", record->error);
  put(out, "}");
}

static const char *status_of(const nxa_trace *trace) {
  static const char *const names[] = {
      [NXA_TRACE_SUCCESS] = "success", [NXA_TRACE_ERROR] = "error", [NXA_TRACE_TIMEOUT] = "timeout"};
  return trace->record.ended ? names[trace->status] : "running";
}

void nxa__nexus_put_trace(nxa__buffer *body, const nxa_trace *trace, uint64_t *cut) {
  writer out = {body, field_limit(&trace->record, 1), cut};
  put(&out, "{\"agent_id\":");
  put_json(&out, trace->agent_id);
  put(&out, ",\"name\":");
  put_json(&out, trace->record.name);
  put(&out, ",\"status\":\"");
  put(&out, status_of(trace));
  put_time(&out, "\",\"started_at\":\"", trace->record.started_ns);
  if (trace->record.ended)
    put_time(&out, ",\"ended_at\":\"", trace->record.ended_ns);
  put(&out, ",\"metadata\":");
  put_trace_metadata(&out, trace);
  put(&out, "}");
}

void nxa__nexus_put_end(nxa__buffer *body, const nxa_trace *trace) {
  writer out = {.body = body};
  put(&out, "{\"status\":\"");
  put(&out, status_of(trace));
  put_time(&out, "\",\"ended_at\":\"", trace->record.ended_ns);
  put(&out, "}");
}

void nxa__nexus_put_last_span(nxa__buffer *body, const nxa_trace *trace, uint64_t *cut) {
  writer out = {body, field_limit(&trace->record, 2), cut};
  put(&out, "{\"name\":\"trace.end\",\"status\":\"");
  put(&out, trace->status == NXA_TRACE_SUCCESS ? "ok" : "error");
  put_time(&out, "\",\"started_at\":\"", trace->record.ended_ns);
  put_time(&out, ",\"ended_at\":\"", trace->record.ended_ns);
  put(&out, ",\"output\":");
  put_trace_metadata(&out, trace);
  put_member(&out, ",\"error\":", trace->record.error);
  put(&out, "}");
}

/* ------------------------------------------------------------------------------------------------ spans */

/* The span's own id comes last: by it a span is found that may have arrived. */
static void put_folded_input(writer *out, const nxa_span *span) {
  const char *separator = "";
  put(out, ",\"input\":{");
  if (span->type.text) {
    put_member(out, "\"type\":", span->type);
    separator = ",";
  }
  if (span->record.metadata) {
    put(out, separator);
    put(out, "\"metadata\":");
    put_metadata(out, span->record.metadata);
  }
  put_member(out, ",\"input\":", span->record.input);
  put(out, ",\"span_id\":\"");
  put(out, span->id);
  put(out, "\"}");
}

void nxa__nexus_put_span(nxa__buffer *body, const nxa_span *span, const char *parent_id, uint64_t *cut) {
  const nxa__record *record = &span->record;
  writer out = {body, field_limit(record, 1), cut};
  put(&out, "{\"name\":");
  put_json(&out, record->name);
  put(&out, ",\"status\":\"");
  put(&out, span->status == NXA_SPAN_OK ? "ok" : "error");
  put_time(&out, "\",\"started_at\":\"", record->started_ns);
  if (record->ended || span->end_noted)
    put_time(&out, ",\"ended_at\":\"", nxa__span_end_ns(span));
  if (*parent_id) {
    put(&out, ",\"parent_span_id\":\"");
    put(&out, parent_id);
    put(&out, "\"");
  }
  if (span->type.text || record->metadata)
    put_folded_input(&out, span);
  else
    put_member(&out, ",\"input\":", record->input);
  put_member(&out, ",\"output\":", record->output);
  put_member(&out, ",\"error\":", record->error);
  put(&out, "}");
}
