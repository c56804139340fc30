/*
 * What of traces is in the spool, a JSON object a line, each beginning with {"trace":"<its id>",
 *
 *   "nexus":"<base URL>","state":{…}      the trace as it would be created now; the last one counts
 *   "span":"<id>","parent":"<id>","open":false,"body":{…}
 *       a span as it would be posted, but for its parent, which is "" or an id of ours; one that had begun when
 *       something else was written is "open", the last line counts; where its body has an end, it ended then. A line
 *       that begins with ~ in place of { is taken back, and what is behind its "parent" is nothing: the span is left
 *       out, and what is below it goes below its parent
 *   "nexus_id":"<id>"                      the trace's id at Nexus
 *   "left":true,"doubt":<bool>,"until":<milliseconds>
 *       nothing more will come; with doubt, what was sent may have arrived, and has or never will at that time. Where
 *       there is no such line the process was killed
 */
#include "nexus_state.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "endpoint.h"
#include "json_out.h"
#include "nexus_body.h"

#define LINES_MOST ((size_t)64 << 20)
#define LINES_KEPT ((size_t)256 << 10) /* of memory between two uses */
#define OFTEN_BYTES ((size_t)16 << 10) /* a trace of more is written at its start and end alone */
#define LOOK_BYTES ((size_t)64 << 10)  /* of spans that go on, written at one go: a host has a frame to draw */
#define BROKEN_GRACE (250 * MILLISECOND)

static nxa__buffer *begin(nxa__nexus *sink) {
  if (sink->lines.limit == 0)
    nxa__buffer_init(&sink->lines, LINES_MOST);
  nxa__buffer_clear(&sink->lines);
  return &sink->lines;
}

static bool write_lines(nxa__nexus *sink, nxa__trace_notes *notes) {
  const nxa__buffer *lines = &sink->lines;
  bool written = lines->state == NXA_OK && nxa__spool_append(sink->spool, notes->file, lines->data, lines->length);
  if (lines->capacity > LINES_KEPT)
    nxa__buffer_free(&sink->lines);
  return written;
}

static bool takes_lines(const nxa__nexus *sink, const nxa__trace_notes *notes) {
  return notes->file && !nxa__spool_is_dropped(notes->file) && !nxa__spool_rests(sink->spool);
}

static void begin_line(nxa__buffer *lines, const nxa_trace *trace) {
  nxa__buffer_append(lines, "{\"trace\":\"", 10);
  nxa__buffer_append(lines, trace->id, 32);
  nxa__buffer_append(lines, "\",", 2);
}

/* ------------------------------------------------------------------------------------------------ the trace */

static void put_state(const nxa__nexus *sink, const nxa__trace_notes *notes, nxa__buffer *lines) {
  const char *url = nxa_endpoint_base_url(sink->endpoint);
  uint64_t cut = 0;
  begin_line(lines, notes->trace);
  nxa__buffer_append_text(lines, "\"nexus\":");
  nxa__json_append_string(lines, url, strlen(url));
  nxa__buffer_append_text(lines, ",\"state\":");
  nxa__nexus_put_trace(lines, notes->trace, &cut);
  nxa__buffer_append_text(lines, "}\n");
}

static bool state_is_due(const nxa__trace_notes *notes) {
  const nxa__record *record = &notes->trace->record;
  if (!notes->is_kept || (record->ended && !notes->end_kept))
    return true;
  return notes->changes_kept != record->changes && record->bytes <= OFTEN_BYTES;
}

static bool put_state_if_due(const nxa__nexus *sink, const nxa__trace_notes *notes, nxa__buffer *lines) {
  bool due = state_is_due(notes);
  if (due)
    put_state(sink, notes, lines);
  return due;
}

static void note_state(nxa__nexus *sink, nxa__trace_notes *notes) {
  const nxa_trace *trace = notes->trace;
  notes->is_kept = true;
  notes->changes_kept = trace->record.changes;
  notes->end_kept = trace->record.ended;
  if (trace->record.ended && trace->status != NXA_TRACE_SUCCESS)
    nxa__spool_mark_failed(sink->spool, notes->file);
}

void nxa__nexus_keep_trace(nxa__nexus *sink, nxa__trace_notes *notes) {
  if (!notes->file || !state_is_due(notes))
    return;
  put_state(sink, notes, begin(sink));
  if (write_lines(sink, notes))
    note_state(sink, notes);
}

/* ------------------------------------------------------------------------------------------------ spans */

static void put_span(const nxa_span *span, nxa__buffer *lines) {
  uint64_t cut = 0;
  begin_line(lines, span->trace);
  nxa__buffer_append_format(lines, "\"span\":\"%s\",\"parent\":\"%s\",\"open\":%s,\"body\":", span->id,
                            span->parent ? span->parent->id : "", span->record.ended ? "false" : "true");
  nxa__nexus_put_span(lines, span, "", &cut);
  nxa__buffer_append_text(lines, "}\n");
}

/* Spans of a trace that the file isn't known to have, in their order: from `first` up to `end`, which isn't one. */
typedef struct stretch {
  nxa__link *first, *end;
} stretch;

/* Those known are the first ones of the trace. */
static nxa__link *first_unseen(const nxa__nexus *sink, const nxa_trace *trace) {
  nxa__link *first = NULL;
  for (nxa__link *link = trace->spans.last; link; link = link->previous) {
    const nxa__span_notes *own = notes_of_span(sink, link->owner);
    if (own && own->seen)
      break;
    first = link;
  }
  return first;
}

/* Appends those that go on, until there are so many bytes, or no memory. */
static stretch put_open_spans(const nxa__nexus *sink, const nxa_trace *trace, size_t most, nxa__buffer *lines) {
  stretch put = {first_unseen(sink, trace), NULL};
  for (put.end = put.first; put.end && lines->length < most; put.end = put.end->next) {
    nxa_span *span = put.end->owner;
    nxa__span_notes *own = nxa__nexus_note_span(sink, span);
    if (!own)
      break;
    own->line_at = lines->length;
    if (!span->record.ended)
      put_span(span, lines);
    own->line_length = lines->length - own->line_at;
  }
  return put;
}

/* Their lines are in the file now, behind what was there. */
static void note_seen(const nxa__nexus *sink, stretch put, size_t offset) {
  for (nxa__link *link = put.first; link != put.end; link = link->next) {
    nxa__span_notes *own = notes_of_span(sink, link->owner);
    own->seen = true;
    own->line_at += offset;
  }
}

/* What changes all the time doesn't fill the disk: beyond a limit it is written with the spans that end. */
static bool put_state_at_look(const nxa__nexus *sink, nxa__trace_notes *notes, nxa__buffer *lines) {
  bool is_wanted = !notes->is_kept || notes->looked_bytes < OFTEN_BYTES;
  bool is_put = is_wanted && put_state_if_due(sink, notes, lines);
  notes->looked_bytes += lines->length;
  return is_put;
}

bool nxa__nexus_keep_open_spans(nxa__nexus *sink, nxa__trace_notes *notes, size_t *bytes) {
  if (!takes_lines(sink, notes))
    return true;
  nxa__buffer *lines = begin(sink);
  size_t offset = nxa__spool_length(notes->file);
  bool has_state = put_state_at_look(sink, notes, lines);
  stretch put = put_open_spans(sink, notes->trace, LOOK_BYTES, lines);
  size_t length = lines->length;
  *bytes += length;
  if ((length > 0 || lines->state != NXA_OK) && !write_lines(sink, notes))
    return true;
  note_seen(sink, put, offset);
  if (has_state)
    note_state(sink, notes);
  return !put.end || length < LOOK_BYTES; /* or there was no memory for them */
}

/* Those below a span that ended with it. */
static void put_children(const nxa__span_notes *span, nxa__buffer *lines) {
  for (nxa__link *link = span->children.first; link; link = link->next) {
    const nxa__span_notes *child = link->owner;
    if (!child->is_kept)
      put_span(child->span, lines);
  }
}

static void note_span(nxa__span_notes *span) {
  span->is_kept = true;
  for (nxa__link *link = span->children.first; link; link = link->next)
    ((nxa__span_notes *)link->owner)->is_kept = true;
}

/* With those that go on, until there are so many bytes. False where that can't be written. */
static bool keep_span_with(nxa__nexus *sink, nxa__trace_notes *notes, nxa__span_notes *span, size_t most) {
  nxa__buffer *lines = begin(sink);
  size_t offset = nxa__spool_length(notes->file);
  bool has_state = put_state_if_due(sink, notes, lines);
  stretch put = put_open_spans(sink, notes->trace, most, lines);
  put_children(span, lines);
  put_span(span->span, lines);
  if (!write_lines(sink, notes))
    return false;
  note_seen(sink, put, offset);
  note_span(span);
  if (has_state)
    note_state(sink, notes);
  return true;
}

/* What there is no room for together may have some by itself. */
void nxa__nexus_keep_span(nxa__nexus *sink, nxa__trace_notes *notes, nxa__span_notes *span) {
  if (takes_lines(sink, notes) && !keep_span_with(sink, notes, span, LOOK_BYTES) && takes_lines(sink, notes))
    keep_span_with(sink, notes, span, 0);
}

void nxa__nexus_keep_children(nxa__nexus *sink, nxa__trace_notes *notes, const nxa__span_notes *span) {
  for (nxa__link *link = span->children.first; link; link = link->next) {
    nxa__span_notes *child = link->owner;
    if (!child->is_kept)
      nxa__nexus_keep_span(sink, notes, child);
  }
}

/* What is in the file is no more. */
static void note_deleted(const nxa__nexus *sink, nxa__trace_notes *notes) {
  notes->is_kept = notes->end_kept = false;
  for (nxa__link *link = notes->trace->spans.first; link; link = link->next) {
    nxa__span_notes *own = notes_of_span(sink, link->owner);
    if (own)
      own->is_kept = own->seen = false;
  }
}

/* Of a trace that is leaving, the spans that have ended are in the file alone. */
static void begin_anew(nxa__nexus *sink, nxa__trace_notes *notes) {
  if (notes->leaving)
    return;
  nxa__spool_remove(sink->spool, notes->file);
  notes->file = nxa__spool_take(sink->spool);
  note_deleted(sink, notes);
}

/* As long as the line that it takes the place of. */
static void put_left_out(const nxa__trace_notes *notes, const nxa__span_notes *span, nxa__buffer *lines) {
  begin_line(lines, notes->trace);
  nxa__buffer_append_format(lines, "\"span\":\"%s\",\"parent\":\"%s\"", span->span->id,
                            span->span->parent ? span->span->parent->id : "");
  while (lines->state == NXA_OK && lines->length + 1 < span->line_length)
    nxa__buffer_append(lines, " ", 1);
  nxa__buffer_append(lines, "\n", 1);
}

/* In its place, which takes no room, and leaves nothing of what it was. A byte is written or isn't: where the rest
 * falls short, the line is left out all the same, and what is behind it can be read. */
static bool blank_line(nxa__nexus *sink, nxa__trace_notes *notes, const nxa__span_notes *span, size_t at) {
  nxa__buffer *lines = begin(sink);
  put_left_out(notes, span, lines);
  if (lines->state != NXA_OK || !nxa__spool_overwrite(sink->spool, notes->file, at, "~", 1))
    return false;
  return nxa__spool_overwrite(sink->spool, notes->file, at + 1, lines->data + 1, lines->length - 1);
}

void nxa__nexus_forget_span(nxa__nexus *sink, nxa__trace_notes *notes, const nxa__span_notes *span) {
  if (!span->seen || span->line_length == 0 || !nxa__spool_has_lines(notes->file))
    return;
  if (!blank_line(sink, notes, span, span->line_at))
    begin_anew(sink, notes);
}

/* The later line counts. */
void nxa__nexus_keep_noted_end(nxa__nexus *sink, nxa__trace_notes *notes, nxa__span_notes *span) {
  if (!span->seen || span->line_length == 0 || span->span->record.ended || !takes_lines(sink, notes))
    return;
  nxa__buffer *lines = begin(sink);
  size_t offset = nxa__spool_length(notes->file);
  put_span(span->span, lines);
  size_t length = lines->length;
  if (!write_lines(sink, notes))
    return;
  blank_line(sink, notes, span, span->line_at);
  span->line_at = offset;
  span->line_length = length;
}

/* ------------------------------------------------------------------------------------------------ leaving */

static void put_id(const nxa__trace_notes *notes, nxa__buffer *lines) {
  begin_line(lines, notes->trace);
  nxa__buffer_append_format(lines, "\"nexus_id\":\"%s\"}\n", notes->id);
}

void nxa__nexus_keep_id(nxa__nexus *sink, nxa__trace_notes *notes) {
  if (!notes->is_kept)
    return;
  put_id(notes, begin(sink));
  write_lines(sink, notes);
}

/* Twice the time that an answer may take, from when the request was sent. */
void nxa__nexus_doubt(nxa__nexus *sink, nxa__trace_notes *notes, nxa__loss loss) {
  int64_t timeout = nxa__ns_of(sink->options.timeout);
  int64_t grace = loss == LOSS_BROKEN ? BROKEN_GRACE : loss == LOSS_TIMEOUT ? timeout : 2 * timeout;
  notes->in_doubt = true;
  notes->doubt_until_ns = nxa__later(notes->doubt_until_ns, nxa__wall_ns() + grace);
}

/* Returns whether all that have ended are there. */
static bool keep_spans(nxa__nexus *sink, nxa__trace_notes *notes) {
  bool all = true;
  for (nxa__link *link = notes->trace->spans.first; link; link = link->next) {
    nxa_span *span = link->owner;
    nxa__span_notes *own = notes_of_span(sink, span);
    if (!wants_span(sink, span) || !own || !span->record.ended)
      continue;
    if (!own->is_kept && !nxa__spool_rests(sink->spool))
      nxa__nexus_keep_span(sink, notes, own);
    all = all && own->is_kept;
  }
  return all;
}

static void keep_leaving(nxa__nexus *sink, nxa__trace_notes *notes) {
  nxa__buffer *lines = begin(sink);
  if (*notes->id)
    put_id(notes, lines);
  begin_line(lines, notes->trace);
  nxa__buffer_append_format(lines, "\"left\":true,\"doubt\":%s,\"until\":%" PRId64 "}\n",
                            notes->in_doubt ? "true" : "false", notes->doubt_until_ns / MILLISECOND);
  write_lines(sink, notes);
}

/* What Nexus has of it isn't in memory any more, and stands for nothing in the file. */
bool nxa__nexus_keep_on_disk(nxa__nexus *sink, nxa__trace_notes *notes) {
  if (!notes->file)
    return false;
  if (nxa__spool_was_deleted(sink->spool, notes->file))
    note_deleted(sink, notes);
  bool all_spans = keep_spans(sink, notes);
  nxa__nexus_keep_trace(sink, notes);
  return all_spans && notes->end_kept && nxa__spool_has_lines(notes->file);
}

void nxa__nexus_keep_rest(nxa__nexus *sink, nxa__trace_notes *notes) {
  nxa__nexus_keep_on_disk(sink, notes);
  if (notes->end_kept)
    keep_leaving(sink, notes);
}
