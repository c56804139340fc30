#include "sink_nexus.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "buffer.h"
#include "call.h"
#include "clock.h"
#include "endpoint.h"
#include "engine.h"
#include "error.h"
#include "nexus_answer.h"
#include "nexus_body.h"
#include "random.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define NEVER INT64_MAX
#define WAIT_MOST 60.0 /* seconds a server may tell us to wait */
#define FAILURES_MOST 5
#define CLOSING_FAILURES_MOST 2
#define AGENTS_MOST 64
#define BURST_BYTES ((size_t)64 << 10) /* bodies built at one go: a step's budget counts between two */
#define ANSWER_BYTES ((size_t)256 << 10)

/* A request to be made for a trace or span, over all its repetitions. */
typedef struct errand {
  bool wanted;      /* to be sent */
  bool tried;       /* was sent before */
  bool unconfirmed; /* its answer was lost */
  int failures;     /* while others succeeded */
  int closing_failures;
  uint64_t successes_seen; /* the sink's when it failed last */
} errand;

typedef enum trace_state {
  RUNNING, /* not created, waits for its end or for flush_interval */
  CREATING,
  CREATED
} trace_state;

/* In a trace's slot. */
typedef struct trace_notes {
  nxa_trace *trace;
  nxa__link link; /* in one of the sink's lists of traces */
  trace_state state;
  int64_t due_ns;
  errand create, end, last;
  bool ends_known;       /* whether Nexus was told the end */
  bool end_failed;       /* it refused to hear it */
  unsigned changes_sent; /* the record's changes that Nexus knows */
  nxa__list ready;       /* spans to be posted */
  size_t unsettled;      /* spans that have ended */
  size_t flying;
  char id[NXA__NEXUS_ID_SIZE];
} trace_notes;

typedef enum span_state { OPEN, WAITING, POSTED, GIVEN_UP } span_state;

/* In a span's slot. */
typedef struct span_notes {
  nxa_span *span;
  nxa__link link;     /* in its trace's `ready` or its parent's `children` */
  nxa__list children; /* have ended, and wait for this one */
  span_state state;
  errand job;
  char id[NXA__NEXUS_ID_SIZE];
} span_notes;

typedef struct nexus {
  nxa__sink sink; /* first */
  nxa_engine *engine;
  nxa_endpoint *endpoint;
  nxa_nexus_options options;
  nxa__timer timer;
  nxa__list running, ready, resting; /* traces: not due yet, with something to send, without */
  nxa__list flying;                  /* requests */
  bool stopped;                      /* for good */
  char *refused[AGENTS_MOST];        /* agent ids, as JSON */
  unsigned refused_count;
  bool no_more_traces;
  unsigned warned; /* a bit for each kind of warning */

  uint64_t successes;
  unsigned outage; /* failures one after another, those of one moment counted once */
  unsigned round;  /* changes with each of them */
  int64_t backoff_until_ns, told_until_ns;
  bool hangs; /* the last that was heard is a timeout */
  bool closing, closed_early;
  char cause[400]; /* of the last failure */
} nexus;

/* Under way. */
typedef struct request {
  nexus *sink;
  nxa__link link;
  nxa__nexus_request kind;
  trace_notes *trace; /* NULL: given up meanwhile, the answer matters no more */
  span_notes *span;
  nxa_call *call;
  int64_t started_ns;
  unsigned round;
  bool knew_end;
  unsigned changes;
} request;

enum { WARNED_TRACE_GONE = 1, WARNED_NO_ID = 2, WARNED_REFUSED_TRACE = 4, WARNED_REFUSED_SPAN = 8, WARNED_POISON = 16 };

static void pump(nexus *sink);
static void schedule(nexus *sink);

/* ------------------------------------------------------------------------------------------------ notes */

static nexus *nexus_of(nxa__sink *sink) {
  return (nexus *)sink;
}

static trace_notes *notes_of(const nexus *sink, const nxa_trace *trace) {
  return trace->record.slots[sink->sink.index];
}

static span_notes *notes_of_span(const nexus *sink, const nxa_span *span) {
  return span->record.slots[sink->sink.index];
}

/* NULL for want of memory. */
static span_notes *make_span_notes(const nexus *sink, nxa_span *span) {
  span_notes *notes = notes_of_span(sink, span);
  if (notes)
    return notes;
  notes = nxa__allocate_zeroed(sizeof *notes);
  if (!notes)
    return NULL;
  notes->span = span;
  notes->link.owner = notes;
  span->record.slots[sink->sink.index] = notes;
  return notes;
}

static nxa_stats *stats_of(nexus *sink) {
  return &sink->sink.tracer->stats;
}

static bool has_work(const trace_notes *notes) {
  if (notes->state != CREATED)
    return notes->create.wanted;
  return notes->end.wanted || notes->last.wanted || !nxa__list_empty(&notes->ready);
}

/* Puts a trace into the list it belongs to; one that stays among the ready keeps its place. */
static void file(nexus *sink, trace_notes *notes) {
  bool ready = has_work(notes);
  nxa__list *list = ready ? &sink->ready : notes->state == RUNNING ? &sink->running : &sink->resting;
  if (notes->link.list == list)
    return;
  nxa__list_remove(&notes->link);
  nxa__list_append(list, &notes->link);
}

static void warn_once(nexus *sink, unsigned bit, const char *text, const nxa__nexus_answer *answer) {
  if (sink->warned & bit)
    return;
  sink->warned |= bit;
  nxa__engine_warn(sink->engine, "Nexus %s (%d)%s%s", text, answer->status, *answer->text ? ": " : "", answer->text);
}

/* ------------------------------------------------------------------------------------------------ giving up */

/* What is under way for a trace is left to end by itself. */
static void orphan_requests(nexus *sink, const trace_notes *notes) {
  for (nxa__link *link = sink->flying.first; link; link = link->next) {
    request *sent = link->owner;
    if (sent->trace == notes)
      sent->trace = NULL;
  }
}

static void give_up_trace(nexus *sink, trace_notes *notes) {
  if (notes->flying > 0)
    orphan_requests(sink, notes);
  nxa__list_remove(&notes->link);
  nxa__trace_settled(&sink->sink, notes->trace, false);
}

static void give_up_list(nexus *sink, nxa__list *list) {
  while (list->first)
    give_up_trace(sink, list->first->owner);
}

static void give_up_all(nexus *sink) {
  give_up_list(sink, &sink->ready);
  give_up_list(sink, &sink->running);
  give_up_list(sink, &sink->resting);
}

static void stop(nexus *sink) {
  sink->stopped = true;
  give_up_all(sink);
}

static bool is_agent(const char *json, const nxa_trace *trace) {
  return strlen(json) == trace->agent_id.length && memcmp(json, trace->agent_id.text, trace->agent_id.length) == 0;
}

static bool may_create(const nexus *sink, const nxa_trace *trace) {
  if (sink->stopped || sink->no_more_traces)
    return false;
  unsigned count = sink->refused_count < AGENTS_MOST ? sink->refused_count : AGENTS_MOST;
  for (unsigned i = 0; i < count; i++)
    if (is_agent(sink->refused[i], trace))
      return false;
  return true;
}

/* Gives up the traces of a list that would be refused. */
static void shed(nexus *sink, nxa__list *list) {
  for (nxa__link *link = list->first, *next; link; link = next) {
    trace_notes *notes = link->owner;
    next = link->next;
    if (notes->state != CREATED && !may_create(sink, notes->trace))
      give_up_trace(sink, notes);
  }
}

static void shed_all(nexus *sink) {
  shed(sink, &sink->ready);
  shed(sink, &sink->running);
}

/* Remembers an agent id; where there are very many, the oldest is forgotten and will be refused once more. */
static void refuse_agent(nexus *sink, const nxa_trace *trace) {
  char *agent = may_create(sink, trace) ? nxa__copy_bytes(trace->agent_id.text, trace->agent_id.length) : NULL;
  if (!agent)
    return;
  char **place = &sink->refused[sink->refused_count++ % AGENTS_MOST];
  nxa__release(*place);
  *place = agent;
}

/* ------------------------------------------------------------------------------------------------ progress */

static bool is_finished(const trace_notes *notes) {
  bool told = notes->ends_known || notes->end_failed;
  return notes->state == CREATED && notes->trace->record.ended && told && !notes->last.wanted &&
         notes->unsettled == 0 && notes->flying == 0;
}

/* To be called last: the notes may be gone afterwards. */
static void settle_or_file(nexus *sink, trace_notes *notes) {
  if (!is_finished(notes)) {
    file(sink, notes);
    return;
  }
  nxa__list_remove(&notes->link);
  nxa__trace_settled(&sink->sink, notes->trace, !notes->end_failed);
}

/* Once a trace is created and has ended, in whichever order. */
static void want_end(trace_notes *notes) {
  if (notes->state != CREATED || !notes->trace->record.ended)
    return;
  notes->end.wanted = !notes->ends_known;
  notes->last.wanted = notes->changes_sent != notes->trace->record.changes;
}

static void make_ready(trace_notes *notes, span_notes *span) {
  span->job.wanted = true;
  nxa__list_append(&notes->ready, &span->link);
}

/* The parent was posted or never will be. */
static void release_children(trace_notes *notes, span_notes *parent) {
  span_notes *child;
  while ((child = nxa__list_take(&parent->children)))
    make_ready(notes, child);
}

static void settle_span(nexus *sink, trace_notes *notes, span_notes *span, bool delivered) {
  span->state = delivered ? POSTED : GIVEN_UP;
  notes->unsettled--;
  release_children(notes, span);
  nxa__span_settled(&sink->sink, span->span, delivered);
}

/* ------------------------------------------------------------------------------------------------ recording */

static void trace_started(nxa__sink *base, nxa_trace *trace) {
  nexus *sink = nexus_of(base);
  trace_notes *notes = may_create(sink, trace) ? nxa__allocate_zeroed(sizeof *notes) : NULL;
  if (!notes) {
    nxa__trace_settled(base, trace, false);
    return;
  }
  notes->trace = trace;
  notes->link.owner = notes;
  notes->due_ns = trace->started_monotonic_ns + nxa__ns_of(sink->options.flush_interval);
  trace->record.slots[base->index] = notes;
  file(sink, notes);
  schedule(sink);
}

static void trace_ended(nxa__sink *base, nxa_trace *trace) {
  nexus *sink = nexus_of(base);
  trace_notes *notes = notes_of(sink, trace);
  if (notes->state == RUNNING)
    notes->create.wanted = true;
  want_end(notes);
  settle_or_file(sink, notes);
  schedule(sink);
}

/* Where a span that has ended waits: behind its parent, or, where that is posted or lost, to be posted itself. */
static bool place_span(nexus *sink, trace_notes *notes, span_notes *span) {
  nxa_span *parent = span->span->parent;
  span_notes *above = parent ? notes_of_span(sink, parent) : NULL;
  bool lost = parent && !above && parent->record.ended;
  if (!parent || lost) {
    make_ready(notes, span);
    return true;
  }
  if (!above)
    above = make_span_notes(sink, parent);
  if (!above)
    return false;
  if (above->state == POSTED || above->state == GIVEN_UP)
    make_ready(notes, span);
  else
    nxa__list_append(&above->children, &span->link);
  return true;
}

static void span_ended(nxa__sink *base, nxa_span *span) {
  nexus *sink = nexus_of(base);
  trace_notes *notes = notes_of(sink, span->trace);
  span_notes *own = make_span_notes(sink, span);
  if (!own) {
    nxa__span_settled(base, span, false);
    return;
  }
  own->state = WAITING;
  notes->unsettled++;
  if (!place_span(sink, notes, own))
    settle_span(sink, notes, own, false);
  file(sink, notes);
  schedule(sink);
}

/* ------------------------------------------------------------------------------------------------ sending */

static errand *job_of(const request *sent) {
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

static const char *parent_id(const nexus *sink, const nxa_span *span) {
  const span_notes *above = span->parent ? notes_of_span(sink, span->parent) : NULL;
  return above ? above->id : "";
}

static void put_body(nexus *sink, const request *sent, nxa__buffer *body) {
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
  if (!job_of(sent)->tried)
    stats_of(sink)->fields_cut += cut;
}

static void put_path(const request *sent, char *path, size_t size) {
  if (sent->kind == NXA__NEXUS_CREATE)
    snprintf(path, size, "/api/v1/traces");
  else
    snprintf(path, size, "/api/v1/traces/%s%s", sent->trace->id, sent->kind == NXA__NEXUS_END ? "" : "/spans");
}

static void on_done(nxa_call *call, void *data);

static nxa_kind start_call(nexus *sink, request *sent, nxa__buffer *body) {
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
  sent->call = nxa__call_start(sink->engine, &options, on_done, sent, &error);
  return sent->call ? NXA_OK : error.kind;
}

static void count_request(nexus *sink, errand *job) {
  nxa_stats *stats = stats_of(sink);
  stats->requests++;
  stats->requests_repeated += job->tried;
  stats->repeated_unconfirmed += job->unconfirmed;
  job->tried = true;
  job->unconfirmed = false;
}

static void take_off(nexus *sink, request *sent) {
  errand *job = job_of(sent);
  job->wanted = false;
  count_request(sink, job);
  sent->trace->flying++;
  sent->round = sink->round;
  sent->started_ns = nxa__monotonic_ns();
  sent->knew_end = sent->trace->trace->record.ended;
  sent->changes = sent->trace->trace->record.changes;
  if (sent->kind == NXA__NEXUS_CREATE)
    sent->trace->state = CREATING;
  nxa__list_append(&sink->flying, &sent->link);
}

/* The next thing to send for a trace. Its end goes first: it is what a viewer sees of it at once. */
static void choose(request *sent, trace_notes *notes) {
  sent->trace = notes;
  if (notes->state != CREATED)
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
static void put_back(request *sent) {
  if (sent->span)
    make_ready(sent->trace, sent->span);
  nxa__release(sent);
}

static void failed_here(nexus *sink);

/* Sends one request for a trace; false where there is no memory to. */
static bool send_for(nexus *sink, trace_notes *notes, size_t *bytes) {
  nxa__buffer body;
  request *sent = nxa__allocate_zeroed(sizeof *sent);
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

static bool may_send(const nexus *sink) {
  size_t most = sink->outage ? 1 : (size_t)sink->options.max_in_flight;
  return !sink->stopped && !sink->closed_early && sink->ready.first && sink->flying.count < most;
}

static int64_t later(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static int64_t held_until(const nexus *sink) {
  return later(sink->backoff_until_ns, sink->told_until_ns);
}

/* Traces that have run for flush_interval are created as they are. */
static void wake_running(nexus *sink) {
  int64_t now = nxa__monotonic_ns();
  while (sink->running.first) {
    trace_notes *notes = sink->running.first->owner;
    if (notes->due_ns > now)
      return;
    notes->create.wanted = true;
    file(sink, notes);
  }
}

/* One request for each trace in turn, so that none starves another. */
static void pump(nexus *sink) {
  size_t bytes = 0;
  wake_running(sink);
  while (may_send(sink) && held_until(sink) <= nxa__monotonic_ns() && bytes < BURST_BYTES) {
    trace_notes *notes = nxa__list_take(&sink->ready);
    bool sent = send_for(sink, notes, &bytes);
    file(sink, notes);
    if (!sent) {
      failed_here(sink);
      break;
    }
  }
  schedule(sink);
}

static void on_timer(nxa__timer *timer) {
  pump(timer->data);
}

static int64_t next_due(const nexus *sink) {
  int64_t due = NEVER;
  if (sink->stopped || sink->closed_early)
    return NEVER;
  if (may_send(sink))
    due = held_until(sink);
  if (sink->running.first) {
    int64_t first = ((trace_notes *)sink->running.first->owner)->due_ns;
    due = first < due ? first : due;
  }
  return due;
}

/* Sees to it that the timer fires when there is something to do. Cheap where it is armed for that already. */
static void schedule(nexus *sink) {
  int64_t due = next_due(sink);
  if (due == NEVER)
    nxa__timer_disarm(sink->engine, &sink->timer);
  else if (!sink->timer.armed || sink->timer.due_ns != due)
    nxa__timer_arm(sink->engine, &sink->timer, due);
}

/* ------------------------------------------------------------------------------------------------ failures */

static int64_t backoff(const nexus *sink) {
  if (sink->closing)
    return sink->outage * 25 * MILLISECOND;
  unsigned doublings = sink->outage - 1 < 6 ? sink->outage - 1 : 6;
  double seconds = 0.5 * (double)(1u << doublings);
  if (seconds > 30)
    seconds = 30;
  return nxa__ns_of(seconds * (0.5 + 0.5 * nxa__random_fraction()));
}

/* From a failure of this moment on, one probe at a time goes out. */
static void hold(nexus *sink) {
  sink->outage++;
  sink->round++;
  sink->backoff_until_ns = nxa__monotonic_ns() + backoff(sink);
  if (sink->closing && (sink->hangs || sink->outage > CLOSING_FAILURES_MOST))
    sink->closed_early = true;
}

static void failed_here(nexus *sink) {
  snprintf(sink->cause, sizeof sink->cause, "cannot be sent to: out of memory");
  hold(sink);
}

/* Nexus's wish to be left alone; when closing, there is no time for a longer one. */
static void obey_wait(nexus *sink, double seconds) {
  if (seconds < 0)
    return;
  int64_t wait = nxa__ns_of(seconds < WAIT_MOST ? seconds : WAIT_MOST);
  sink->told_until_ns = later(sink->told_until_ns, nxa__monotonic_ns() + wait);
  if (sink->closing && wait > 50 * MILLISECOND)
    sink->closed_early = true;
}

static void note_outage(nexus *sink, const request *sent, const nxa__nexus_answer *answer) {
  memcpy(sink->cause, answer->cause, sizeof sink->cause);
  sink->hangs = answer->timeout;
  obey_wait(sink, answer->wait);
  if (sent->round != sink->round && !(sink->closing && sink->hangs)) /* sent before the failure that is known already */
    return;
  hold(sink);
  if (sink->outage == 1 && !sink->closing)
    nxa__engine_warn(sink->engine, "Nexus %s; traces are kept and sent later", sink->cause);
}

/* True where a job has failed often while others went through: it will never be taken. */
static bool is_poison(nexus *sink, errand *job, const nxa__nexus_answer *answer) {
  if (answer->status == 429)
    return false;
  if (job->failures == 0 || job->successes_seen != sink->successes)
    job->failures++;
  job->successes_seen = sink->successes;
  job->closing_failures += sink->closing;
  return job->failures >= FAILURES_MOST || job->closing_failures > CLOSING_FAILURES_MOST;
}

static void repeat(request *sent) {
  if (sent->kind == NXA__NEXUS_CREATE)
    sent->trace->state = RUNNING;
  if (sent->span)
    make_ready(sent->trace, sent->span);
  else
    job_of(sent)->wanted = true;
}

/* This one will not be delivered; what depends on it may. True where the trace is gone. */
static bool give_up_job(nexus *sink, request *sent) {
  switch (sent->kind) {
  case NXA__NEXUS_CREATE:
    give_up_trace(sink, sent->trace);
    return true;
  case NXA__NEXUS_END:
    sent->trace->end_failed = true;
    return false;
  case NXA__NEXUS_LAST:
    stats_of(sink)->fields_cut++;
    return false;
  default:
    settle_span(sink, sent->trace, sent->span, false);
    return false;
  }
}

/* ------------------------------------------------------------------------------------------------ answers */

static bool on_created(nexus *sink, request *sent, const nxa__nexus_answer *answer) {
  trace_notes *notes = sent->trace;
  if (!*answer->id) {
    warn_once(sink, WARNED_NO_ID, "took a trace but named no id that can be used; its spans are not delivered", answer);
    give_up_trace(sink, notes);
    return true;
  }
  memcpy(notes->id, answer->id, sizeof notes->id);
  notes->state = CREATED;
  notes->ends_known = sent->knew_end;
  notes->changes_sent = sent->changes;
  want_end(notes);
  return false;
}

/* True where the trace is gone. */
static bool on_taken(nexus *sink, request *sent, const nxa__nexus_answer *answer) {
  sink->successes++;
  sink->outage = 0;
  sink->backoff_until_ns = 0;
  sink->hangs = false;
  switch (sent->kind) {
  case NXA__NEXUS_CREATE:
    return on_created(sink, sent, answer);
  case NXA__NEXUS_END:
    sent->trace->ends_known = true;
    return false;
  case NXA__NEXUS_LAST:
    return false;
  default:
    memcpy(sent->span->id, answer->id, sizeof sent->span->id);
    settle_span(sink, sent->trace, sent->span, true);
    return false;
  }
}

static bool on_later(nexus *sink, request *sent, const nxa__nexus_answer *answer) {
  errand *job = job_of(sent);
  job->unconfirmed = answer->lost;
  note_outage(sink, sent, answer);
  if (!is_poison(sink, job, answer)) {
    repeat(sent);
    return false;
  }
  warn_once(sink, WARNED_POISON, "keeps failing at one request while it takes others; it is given up", answer);
  return give_up_job(sink, sent);
}

static bool on_refused(nexus *sink, request *sent, const nxa__nexus_answer *answer) {
  if (sent->kind == NXA__NEXUS_CREATE)
    warn_once(sink, WARNED_REFUSED_TRACE, "refused a trace", answer);
  else
    warn_once(sink, WARNED_REFUSED_SPAN, sent->kind == NXA__NEXUS_END ? "refused a trace's end" : "refused a span",
              answer);
  return give_up_job(sink, sent);
}

static bool on_agent_limit(nexus *sink, request *sent, const nxa__nexus_answer *answer) {
  const nxa__json agent = sent->trace->trace->agent_id;
  nxa__engine_warn(sink->engine, "Nexus refused the agent %.*s (%d)%s%s; its traces are not delivered",
                   agent.length < 80 ? (int)agent.length : 80, agent.text, answer->status, *answer->text ? ": " : "",
                   answer->text);
  refuse_agent(sink, sent->trace->trace);
  give_up_trace(sink, sent->trace);
  shed_all(sink);
  return true;
}

static bool on_trace_limit(nexus *sink, request *sent, const nxa__nexus_answer *answer) {
  nxa__engine_warn(sink->engine, "Nexus takes no more traces (%d)%s%s; new traces are not delivered", answer->status,
                   *answer->text ? ": " : "", answer->text);
  sink->no_more_traces = true;
  give_up_trace(sink, sent->trace);
  shed_all(sink);
  return true;
}

static bool on_gone(nexus *sink, request *sent, const nxa__nexus_answer *answer) {
  warn_once(sink, WARNED_TRACE_GONE, "no longer has a trace it had taken; the rest of it is not delivered", answer);
  give_up_trace(sink, sent->trace);
  return true;
}

static bool on_bad_key(nexus *sink) {
  nxa__engine_warn(sink->engine, "Nexus refused the API key (401): traces are not delivered; check NEXUS_API_KEY");
  stop(sink);
  return true;
}

static bool on_wrong_url(nexus *sink, const nxa__nexus_answer *answer) {
  nxa__engine_warn(sink->engine, "%s is no Nexus (%d): traces are not delivered; check NEXUS_BASE_URL",
                   nxa_endpoint_base_url(sink->endpoint), answer->status);
  stop(sink);
  return true;
}

/* True where the trace is gone. */
static bool act(nexus *sink, request *sent, const nxa__nexus_answer *answer) {
  switch (answer->verdict) {
  case NXA__NEXUS_TAKEN:
    return on_taken(sink, sent, answer);
  case NXA__NEXUS_BAD_KEY:
    return on_bad_key(sink);
  case NXA__NEXUS_WRONG_URL:
    return on_wrong_url(sink, answer);
  case NXA__NEXUS_AGENT_LIMIT:
    return on_agent_limit(sink, sent, answer);
  case NXA__NEXUS_TRACE_LIMIT:
    return on_trace_limit(sink, sent, answer);
  case NXA__NEXUS_TRACE_GONE:
    return on_gone(sink, sent, answer);
  case NXA__NEXUS_REFUSED:
    return on_refused(sink, sent, answer);
  case NXA__NEXUS_LATER:
    return on_later(sink, sent, answer);
  default:
    stop(sink);
    return true;
  }
}

static void on_done(nxa_call *call, void *data) {
  request *sent = data;
  nexus *sink = sent->sink;
  trace_notes *notes = sent->trace;
  nxa__list_remove(&sent->link);
  if (notes) {
    nxa__nexus_answer answer;
    nxa__nexus_read(&answer, call, sent->kind, sink->endpoint);
    notes->flying--;
    if (!act(sink, sent, &answer))
      settle_or_file(sink, notes);
  }
  nxa_call_free(call);
  nxa__release(sent);
  pump(sink);
}

/* ------------------------------------------------------------------------------------------------ closing */

static void flush(nxa__sink *base) {
  nexus *sink = nexus_of(base);
  for (nxa__link *link = sink->running.first; link; link = link->next)
    ((trace_notes *)link->owner)->due_ns = 0;
  schedule(sink);
}

static bool is_overdue(const nexus *sink) {
  const nxa__link *oldest = sink->flying.first;
  if (!oldest)
    return false;
  return nxa__monotonic_ns() - ((const request *)oldest->owner)->started_ns >= nxa__ns_of(sink->options.timeout);
}

static void closing(nxa__sink *base) {
  nexus *sink = nexus_of(base);
  int64_t now = nxa__monotonic_ns();
  sink->closing = true;
  sink->outage = sink->outage ? 1 : 0; /* what failed before leaves one repetition */
  sink->backoff_until_ns = 0;
  bool overdue = is_overdue(sink);
  if (overdue)
    snprintf(sink->cause, sizeof sink->cause, "does not answer at %s", nxa_endpoint_base_url(sink->endpoint));
  sink->closed_early = sink->hangs || overdue || sink->told_until_ns > now + 50 * MILLISECOND;
  flush(base);
}

static bool pending(const nxa__sink *base) {
  const nexus *sink = (const nexus *)base;
  if (sink->stopped || sink->closed_early)
    return false;
  return sink->running.first || sink->ready.first || sink->flying.first;
}

static void forget_requests(nexus *sink) {
  request *sent;
  while ((sent = nxa__list_take(&sink->flying))) {
    nxa_call_free(sent->call);
    nxa__release(sent);
  }
}

static void count_left(const nexus *sink, const nxa__list *list, size_t *traces, size_t *spans) {
  for (nxa__link *link = list->first; link; link = link->next) {
    const trace_notes *notes = link->owner;
    *traces += !(notes->state == CREATED && notes->ends_known);
    for (nxa__link *at = notes->trace->spans.first; at; at = at->next)
      *spans += (((nxa_span *)at->owner)->record.wanted >> sink->sink.index) & 1;
  }
}

static void warn_of_loss(nexus *sink) {
  size_t traces = 0, spans = 0;
  const char *cause = *sink->cause && (sink->outage || sink->closed_early) ? sink->cause : "";
  count_left(sink, &sink->running, &traces, &spans);
  count_left(sink, &sink->ready, &traces, &spans);
  count_left(sink, &sink->resting, &traces, &spans);
  if (traces + spans == 0)
    return;
  nxa__engine_warn(sink->engine, "not delivered to Nexus: %zu trace%s and %zu span%s; %s%s", traces,
                   traces == 1 ? "" : "s", spans, spans == 1 ? "" : "s", *cause ? "it " : "the time to close was over",
                   cause);
}

/* A trace that Nexus has, with its end, counts as delivered though spans of it were not. */
static void settle_left(nexus *sink, nxa__list *list) {
  while (list->first) {
    trace_notes *notes = list->first->owner;
    nxa__list_remove(&notes->link);
    nxa__trace_settled(&sink->sink, notes->trace, notes->state == CREATED && notes->ends_known);
  }
}

static void give_up(nxa__sink *base) {
  nexus *sink = nexus_of(base);
  forget_requests(sink);
  warn_of_loss(sink);
  settle_left(sink, &sink->ready);
  settle_left(sink, &sink->running);
  settle_left(sink, &sink->resting);
  sink->stopped = true;
  schedule(sink);
}

/* ------------------------------------------------------------------------------------------------ life */

static void free_sink(nxa__sink *base) {
  nexus *sink = nexus_of(base);
  forget_requests(sink);
  nxa__timer_disarm(sink->engine, &sink->timer);
  for (unsigned i = 0; i < AGENTS_MOST; i++)
    nxa__release(sink->refused[i]);
  nxa__endpoint_release(sink->endpoint);
  nxa__engine_release(sink->engine);
  nxa__release(sink);
}

void nxa_nexus_options_init(nxa_nexus_options *options) {
  *options = (nxa_nexus_options){.timeout = 10, .flush_interval = 1, .max_in_flight = 6};
}

static nxa_kind check_options(const nxa_nexus_options *options, nxa_error *error) {
  if (!options->endpoint)
    return nxa__error_set(error, NXA_INVALID, "endpoint is required");
  if (!(options->timeout > 0 && options->timeout <= 86400))
    return nxa__error_set(error, NXA_INVALID, "timeout must be above 0 and at most 86400 seconds");
  if (!(options->flush_interval >= 0 && options->flush_interval <= 86400))
    return nxa__error_set(error, NXA_INVALID, "flush_interval must be from 0 to 86400 seconds");
  if (options->max_in_flight < 1 || options->max_in_flight > 100)
    return nxa__error_set(error, NXA_INVALID, "max_in_flight must be from 1 to 100");
  return NXA_OK;
}

static const nxa__sink functions = {.trace_started = trace_started,
                                    .trace_ended = trace_ended,
                                    .span_ended = span_ended,
                                    .flush = flush,
                                    .closing = closing,
                                    .pending = pending,
                                    .give_up = give_up,
                                    .free = free_sink};

nxa__sink *nxa__nexus_new(nxa_engine *engine, const nxa_nexus_options *options, nxa_error *error) {
  if (check_options(options, error) != NXA_OK)
    return NULL;
  nexus *sink = nxa__allocate_zeroed(sizeof *sink);
  if (!sink) {
    nxa__error_memory(error);
    return NULL;
  }
  sink->sink = functions;
  sink->options = *options;
  sink->engine = engine;
  sink->endpoint = nxa__endpoint_retain(options->endpoint);
  sink->timer.fire = on_timer;
  sink->timer.data = sink;
  nxa__engine_retain(engine);
  return &sink->sink;
}

static bool has_nexus(const nxa_tracer *tracer) {
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (tracer->sinks[i]->free == free_sink)
      return true;
  return false;
}

nxa_kind nxa_tracer_add_nexus(nxa_tracer *tracer, const nxa_nexus_options *options, nxa_error *error) {
  nxa_error unread;
  if (!error)
    error = &unread;
  nxa__error_clear(error);
  if (!tracer || !options)
    return nxa__error_set(error, NXA_INVALID, "a tracer and options are required");
  if (has_nexus(tracer))
    return nxa__error_set(error, NXA_INVALID, "the tracer delivers to Nexus already");
  nxa__sink *sink = nxa__nexus_new(tracer->engine, options, error);
  if (!sink)
    return error->kind;
  nxa_kind kind = nxa__tracer_add_sink(tracer, sink, error);
  if (kind != NXA_OK)
    free_sink(sink);
  return kind;
}
