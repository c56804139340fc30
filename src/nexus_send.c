#include "nexus_state.h"

#include <stdio.h>

#include "alloc.h"
#include "buffer.h"
#include "call.h"
#include "clock.h"
#include "nexus_body.h"

#define BURST_BYTES ((size_t)64 << 10) /* bodies built at one go: a step's budget counts between two */
#define LOOK_EVERY (500 * MILLISECOND)
#define LOOKS_AT_ONCE 8 /* each may make a file; a host has a frame to draw */
#define ANSWER_BYTES ((size_t)64 << 10)

nxa__errand *nxa__nexus_job(const nxa__flight *sent) {
  switch (sent->kind) {
  case NXA__NEXUS_CREATE:
    return &sent->trace->create;
  case NXA__NEXUS_END:
    return &sent->trace->end;
  case NXA__NEXUS_LAST:
    return &sent->trace->last;
  default:
    return &sent->span->job;
  }
}

static const char *parent_id(const nxa__nexus *sink, const nxa_span *span) {
  const nxa__span_notes *above = span->parent ? notes_of_span(sink, span->parent) : NULL;
  return above ? above->id : "";
}

static void put_body(nxa__nexus *sink, const nxa__flight *sent, nxa__buffer *body) {
  const nxa_trace *trace = sent->trace->trace;
  uint64_t cut = 0;
  switch (sent->kind) {
  case NXA__NEXUS_CREATE:
    nxa__nexus_put_trace(body, trace, &cut);
    break;
  case NXA__NEXUS_END:
    nxa__nexus_put_end(body, trace);
    break;
  case NXA__NEXUS_LAST:
    nxa__nexus_put_last_span(body, trace, &cut);
    break;
  default:
    nxa__nexus_put_span(body, sent->span->span, parent_id(sink, sent->span->span), &cut);
  }
  if (!nxa__nexus_job(sent)->tried)
    stats_of(sink)->fields_cut += cut;
}

static void put_path(const nxa__flight *sent, char *path, size_t size) {
  if (sent->kind == NXA__NEXUS_CREATE)
    snprintf(path, size, "/api/v1/traces");
  else
    snprintf(path, size, "/api/v1/traces/%s%s", sent->trace->id, sent->kind == NXA__NEXUS_END ? "" : "/spans");
}

static nxa_kind start_call(nxa__nexus *sink, nxa__flight *sent, nxa__buffer *body) {
  nxa_request options;
  char path[32 + NXA__NEXUS_ID_SIZE];
  put_body(sink, sent, body);
  if (body->state != NXA_OK)
    return body->state;
  put_path(sent, path, sizeof path);
  nxa_request_init(&options);
  options.endpoint = sink->endpoint;
  options.method = sent->kind == NXA__NEXUS_END ? "PATCH" : "POST";
  options.path = path;
  options.body = body->data;
  options.body_length = body->length;
  options.timeout = options.deadline = sink->options.timeout;
  options.retries = 0;
  options.max_response = ANSWER_BYTES;
  nxa_error error;
  sent->call = nxa__call_start(sink->engine, &options, nxa__nexus_done, sent, &error);
  return sent->call ? NXA_OK : error.kind;
}

static void count_request(nxa__nexus *sink, nxa__errand *job) {
  nxa_stats *stats = stats_of(sink);
  stats->requests++;
  stats->requests_repeated += job->tried;
  stats->repeated_unconfirmed += job->unconfirmed;
  job->tried = true;
  job->unconfirmed = false;
}

static void take_off(nxa__nexus *sink, nxa__flight *sent) {
  nxa__errand *job = nxa__nexus_job(sent);
  job->wanted = false;
  count_request(sink, job);
  sent->trace->flying++;
  sent->round = sink->round;
  sent->started_ns = nxa__monotonic_ns();
  sent->knew_end = sent->trace->trace->record.ended;
  sent->changes = sent->trace->trace->record.changes;
  if (sent->kind == NXA__NEXUS_CREATE)
    sent->trace->state = TRACE_CREATING;
  nxa__list_append(&sink->flying, &sent->link);
}

/* The next thing to send for a trace. Its end goes first: it is what a viewer sees of it at once. */
static void choose(nxa__flight *sent, nxa__trace_notes *notes) {
  sent->trace = notes;
  if (notes->state != TRACE_CREATED)
    sent->kind = NXA__NEXUS_CREATE;
  else if (notes->end.wanted)
    sent->kind = NXA__NEXUS_END;
  else if (notes->ready.first)
    sent->kind = NXA__NEXUS_SPAN;
  else
    sent->kind = NXA__NEXUS_LAST;
  if (sent->kind == NXA__NEXUS_SPAN)
    sent->span = nxa__list_take(&notes->ready);
}

/* There was no memory for it: it stays where it was. */
static void put_back(nxa__flight *sent) {
  if (sent->span)
    nxa__nexus_make_ready(sent->trace, sent->span);
  nxa__release(sent);
}

/* Sends one request for a trace; false where there is no memory to. */
static bool send_for(nxa__nexus *sink, nxa__trace_notes *notes, size_t *bytes) {
  nxa__buffer body;
  nxa__flight *sent = nxa__allocate_zeroed(sizeof *sent);
  if (!sent)
    return false;
  sent->sink = sink;
  sent->link.owner = sent;
  choose(sent, notes);
  nxa__buffer_init(&body, 2 * NXA__NEXUS_ROW_BYTES);
  bool started = start_call(sink, sent, &body) == NXA_OK;
  *bytes += body.length;
  nxa__buffer_free(&body);
  if (started)
    take_off(sink, sent);
  else
    put_back(sent);
  return started;
}

static bool may_send(const nxa__nexus *sink) {
  size_t most = sink->outage ? 1 : (size_t)sink->options.max_in_flight;
  return !sink->stopped && !sink->sends_no_more && sink->ready.first && sink->flying.count < most;
}

static int64_t held_until(const nxa__nexus *sink) {
  return nxa__later(sink->backoff_until_ns, sink->told_until_ns);
}

/* What a step has written to the spool. */
typedef struct effort {
  unsigned looks;
  size_t bytes;
} effort;

static bool is_enough(const effort *done) {
  return done->looks >= LOOKS_AT_ONCE || done->bytes >= BURST_BYTES;
}

/* What Nexus is told of is in the file before, so that the rest of it finds its way there after a kill. */
static bool keep_first(nxa__nexus *sink, nxa__trace_notes *notes, effort *done) {
  if (!notes->file || notes->is_kept)
    return true;
  if (is_enough(done))
    return false;
  done->looks++;
  nxa__nexus_keep_open_spans(sink, notes, &done->bytes);
  return true;
}

/* Traces that have run for flush_interval are created as they are. */
static void wake_running(nxa__nexus *sink, int64_t now, effort *done) {
  while (sink->running.first) {
    nxa__trace_notes *notes = sink->running.first->owner;
    if (notes->due_ns > now || !keep_first(sink, notes, done))
      return;
    notes->create.wanted = true;
    nxa__nexus_file(sink, notes);
  }
}

void nxa__nexus_look_later(nxa__nexus *sink, nxa__trace_notes *notes) {
  nxa__list_remove(&notes->open_link);
  if (!notes->file)
    return;
  notes->look_ns = nxa__monotonic_ns() + LOOK_EVERY;
  nxa__list_append(&sink->open, &notes->open_link);
}

/* By a trace's clock, so that it doesn't end by another than its spans. */
static void note_time(const nxa__nexus *sink) {
  const nxa__trace_notes *oldest = sink->open.first->owner;
  nxa__spool_note_time(sink->spool, nxa__trace_now(oldest->trace));
}

static bool look_is_due(const nxa__nexus *sink, int64_t now) {
  return sink->open.first && ((const nxa__trace_notes *)sink->open.first->owner)->look_ns <= now;
}

/* What has begun and goes on is in the file before long, so that a process that is killed tells what it was at, and
 * until when. */
static void keep_running(nxa__nexus *sink, int64_t now, effort *done) {
  if (look_is_due(sink, now))
    note_time(sink);
  for (; !is_enough(done) && look_is_due(sink, now); done->looks++) {
    nxa__trace_notes *notes = sink->open.first->owner;
    if (nxa__nexus_keep_open_spans(sink, notes, &done->bytes))
      nxa__nexus_look_later(sink, notes);
  }
}

/* One request for each trace in turn, so that none starves another. */
void nxa__nexus_pump(nxa__nexus *sink) {
  size_t bytes = 0;
  int64_t now = nxa__monotonic_ns();
  effort done = {0, 0};
  wake_running(sink, now, &done);
  keep_running(sink, now, &done);
  while (may_send(sink) && held_until(sink) <= nxa__monotonic_ns() && bytes < BURST_BYTES) {
    nxa__trace_notes *notes = nxa__list_take(&sink->ready);
    bool sent = send_for(sink, notes, &bytes);
    nxa__nexus_file(sink, notes);
    if (!sent) {
      nxa__nexus_failed_here(sink);
      break;
    }
  }
  nxa__nexus_schedule(sink);
}

static int64_t next_due(const nxa__nexus *sink) {
  int64_t due = sink->open.first ? ((nxa__trace_notes *)sink->open.first->owner)->look_ns : NXA__NEVER;
  if (sink->stopped || sink->sends_no_more)
    return due;
  if (may_send(sink))
    due = nxa__earlier(due, held_until(sink));
  if (sink->running.first)
    due = nxa__earlier(due, ((nxa__trace_notes *)sink->running.first->owner)->due_ns);
  return due;
}

void nxa__nexus_schedule(nxa__nexus *sink) {
  int64_t due = next_due(sink);
  if (due == NXA__NEVER)
    nxa__timer_disarm(sink->engine, &sink->timer);
  else if (!sink->timer.armed || sink->timer.due_ns != due)
    nxa__timer_arm(sink->engine, &sink->timer, due);
}
