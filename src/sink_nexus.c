#include "sink_nexus.h"

#include <stdio.h>

#include "alloc.h"
#include "clock.h"
#include "endpoint.h"
#include "error.h"
#include "nexus_state.h"

static nxa__nexus *nexus_of(nxa__sink *sink) {
  return (nxa__nexus *)sink;
}

/* ------------------------------------------------------------------------------------------------ recording */

static nxa__spool_file *take_file(nxa__nexus *sink) {
  nxa__spool_count_in(sink->spool, stats_of(sink));
  return nxa__spool_take(sink->spool);
}

static void trace_started(nxa__sink *base, nxa_trace *trace) {
  nxa__nexus *sink = nexus_of(base);
  bool may_create = nxa__nexus_may_create(sink, trace);
  nxa__trace_notes *notes = may_create || sink->spool ? nxa__allocate_zeroed(sizeof *notes) : NULL;
  if (notes && sink->spool)
    notes->file = take_file(sink);
  if (!notes || !(may_create || notes->file)) {
    nxa__release(notes);
    nxa__trace_settled(base, trace, false);
    return;
  }
  notes->trace = trace;
  notes->leaving = !may_create;
  notes->link.owner = notes->open_link.owner = notes;
  notes->due_ns = trace->started_monotonic_ns + nxa__ns_of(sink->options.flush_interval);
  trace->record.slots[base->index] = notes;
  nxa__nexus_look_later(sink, notes);
  nxa__nexus_file(sink, notes);
  nxa__nexus_schedule(sink);
}

static void trace_ended(nxa__sink *base, nxa_trace *trace) {
  nxa__nexus *sink = nexus_of(base);
  nxa__trace_notes *notes = notes_of(sink, trace);
  if (notes->state == TRACE_NEW)
    notes->create.wanted = true;
  nxa__list_remove(&notes->open_link);
  nxa__nexus_keep_trace(sink, notes);
  nxa__nexus_want_end(notes);
  nxa__nexus_settle_or_file(sink, notes);
  nxa__nexus_schedule(sink);
}

/* Where a span that has ended waits: behind its parent, or, where that is posted or lost, to be posted itself. */
static bool place_span(nxa__nexus *sink, nxa__trace_notes *notes, nxa__span_notes *span) {
  nxa_span *parent = span->span->parent;
  nxa__span_notes *above = parent ? notes_of_span(sink, parent) : NULL;
  bool lost = parent && !above && parent->record.ended;
  if (!parent || lost) {
    nxa__nexus_make_ready(notes, span);
    return true;
  }
  if (!above)
    above = nxa__nexus_note_span(sink, parent);
  if (!above)
    return false;
  if (above->state == SPAN_POSTED || above->state == SPAN_GIVEN_UP)
    nxa__nexus_make_ready(notes, span);
  else
    nxa__list_append(&above->children, &span->link);
  return true;
}

/* Not so where a trace that was held back is told from its start on. */
static bool ends_with_parent(const nxa_span *span) {
  return span->with_parent && !span->parent->record.ended;
}

static void span_ended(nxa__sink *base, nxa_span *span) {
  nxa__nexus *sink = nexus_of(base);
  nxa__trace_notes *notes = notes_of(sink, span->trace);
  nxa__span_notes *own = nxa__nexus_note_span(sink, span);
  if (!own) {
    nxa__span_settled(base, span, false);
    return;
  }
  own->state = SPAN_WAITING;
  notes->unsettled++;
  if (notes->leaving || !ends_with_parent(span))
    nxa__nexus_keep_span(sink, notes, own);
  if (notes->leaving && own->is_kept) {
    nxa__span_spooled(base, span);
    return;
  }
  if (!notes->leaving && !place_span(sink, notes, own))
    nxa__nexus_settle_span(sink, notes, own, false);
  nxa__nexus_file(sink, notes);
  nxa__nexus_schedule(sink);
}

/* What waited for it waits for what it was in. */
static void place_children(nxa__nexus *sink, nxa__trace_notes *notes, nxa__span_notes *left_out) {
  nxa__span_notes *child;
  while ((child = nxa__list_take(&left_out->children)))
    if (!place_span(sink, notes, child))
      nxa__nexus_settle_span(sink, notes, child, false);
}

static void span_left_out(nxa__sink *base, nxa_span *span) {
  nxa__nexus *sink = nexus_of(base);
  nxa__trace_notes *notes = notes_of(sink, span->trace);
  nxa__span_notes *own = notes_of_span(sink, span);
  if (!own)
    return;
  own->state = SPAN_GIVEN_UP;
  nxa__nexus_forget_span(sink, notes, own);
  if (notes->leaving)
    return;
  nxa__nexus_keep_children(sink, notes, own);
  place_children(sink, notes, own);
  nxa__nexus_file(sink, notes);
  nxa__nexus_schedule(sink);
}

static void span_end_noted(nxa__sink *base, nxa_span *span) {
  nxa__nexus *sink = nexus_of(base);
  nxa__span_notes *own = notes_of_span(sink, span);
  if (own)
    nxa__nexus_keep_noted_end(sink, notes_of(sink, span->trace), own);
}

/* ------------------------------------------------------------------------------------------------ closing */

static void flush(nxa__sink *base) {
  nxa__nexus *sink = nexus_of(base);
  for (nxa__link *link = sink->running.first; link; link = link->next)
    ((nxa__trace_notes *)link->owner)->due_ns = 0;
  nxa__nexus_schedule(sink);
}

static bool is_overdue(const nxa__nexus *sink) {
  const nxa__link *oldest = sink->flying.first;
  if (!oldest)
    return false;
  return nxa__monotonic_ns() - ((const nxa__flight *)oldest->owner)->started_ns >= nxa__ns_of(sink->options.timeout);
}

static void closing(nxa__sink *base) {
  nxa__nexus *sink = nexus_of(base);
  int64_t now = nxa__monotonic_ns();
  sink->closing = true;
  sink->outage = sink->outage ? 1 : 0; /* what failed before leaves one repetition */
  sink->backoff_until_ns = 0;
  if (is_overdue(sink)) {
    sink->hangs = true;
    snprintf(sink->cause, sizeof sink->cause, "does not answer at %s", nxa_endpoint_base_url(sink->endpoint));
  }
  sink->sends_no_more = sink->hangs || sink->told_until_ns > now + 50 * MILLISECOND;
  flush(base);
}

static bool pending(const nxa__sink *base) {
  const nxa__nexus *sink = (const nxa__nexus *)base;
  if (sink->stopped)
    return false;
  if (sink->sends_no_more)
    return !sink->hangs && sink->flying.first;
  return sink->running.first || sink->ready.first || sink->flying.first;
}

static bool is_on_disk(nxa__nexus *sink, nxa__trace_notes *notes) {
  return notes->end_kept && notes->flying == 0 && nxa__nexus_keep_on_disk(sink, notes);
}

/* The oldest that waits to be sent is left in the spool. */
static bool relieve(nxa__sink *base) {
  nxa__nexus *sink = nexus_of(base);
  for (nxa__link *link = sink->ready.first; link; link = link->next)
    if (is_on_disk(sink, link->owner)) {
      nxa__nexus_leave_now(sink, link->owner);
      nxa__nexus_schedule(sink);
      return true;
    }
  return false;
}

static void forget_requests(nxa__nexus *sink) {
  nxa__flight *sent;
  while ((sent = nxa__list_take(&sink->flying))) {
    nxa_call_free(sent->call);
    nxa__release(sent);
  }
}

static void count_undelivered(const nxa__nexus *sink, const nxa__list *list, nxa__tally *tally) {
  for (nxa__link *link = list->first; link; link = link->next) {
    const nxa__trace_notes *notes = link->owner;
    tally->traces += nxa__nexus_lacks(notes);
    for (nxa__link *at = notes->trace->spans.first; at; at = at->next)
      tally->spans += wants_span(sink, at->owner);
  }
}

/* What is on its way may arrive though its answer will not be heard. */
static void doubt_requests(nxa__nexus *sink) {
  for (nxa__link *link = sink->flying.first; link; link = link->next) {
    const nxa__flight *sent = link->owner;
    if (sent->trace && sent->kind != NXA__NEXUS_END)
      nxa__nexus_doubt(sink, sent->trace, LOSS_ABANDONED);
  }
}

/* Where nothing failed yet, as far as that can be told while what is under way is. */
static void note_late(nxa__nexus *sink) {
  bool has_failed = *sink->cause && (sink->outage || sink->sends_no_more);
  if (!has_failed && sink->flying.first)
    snprintf(sink->cause, sizeof sink->cause, "did not answer at %s before the time to close was over",
             nxa_endpoint_base_url(sink->endpoint));
  else if (!has_failed)
    *sink->cause = '\0';
}

/* Whoever was told of the outage was told what it means for what is left, unless that is lost in spite of the spool. */
static void say_what_is_left(nxa__nexus *sink, nxa__tally left, nxa__tally kept) {
  nxa__tally lost = {left.traces - kept.traces, left.spans - kept.spans};
  bool all_kept = lost.traces + lost.spans == 0;
  nxa__tally told = all_kept ? kept : lost;
  const char *where = all_kept      ? ", but kept in the spool for the next client or nexus-assistants flush"
                      : sink->spool ? ", nor kept in the spool"
                                    : "";
  if (told.traces + told.spans == 0 || (sink->told_of_outage && (all_kept || !sink->spool)))
    return;
  sink->told_of_outage = true;
  nxa__engine_warn(sink->engine, "not delivered to Nexus%s: %zu trace%s and %zu span%s; %s%s", where, told.traces,
                   told.traces == 1 ? "" : "s", told.spans, told.spans == 1 ? "" : "s",
                   *sink->cause ? "it " : "the time to close was over", sink->cause);
}

static void keep_list(nxa__nexus *sink, const nxa__list *list) {
  for (nxa__link *link = list->first; link; link = link->next)
    if (((nxa__trace_notes *)link->owner)->file)
      nxa__nexus_keep_rest(sink, link->owner);
}

/* A trace that Nexus has, with its end, counts as delivered though spans of it were not. */
static void settle_left(nxa__nexus *sink, nxa__list *list) {
  while (list->first) {
    nxa__trace_notes *notes = list->first->owner;
    if (notes->file) {
      nxa__nexus_leave_kept(sink, notes);
      continue;
    }
    nxa__nexus_unlist(notes);
    nxa__trace_settled(&sink->sink, notes->trace, notes->state == TRACE_CREATED && notes->ends_known);
  }
}

static void give_up(nxa__sink *base) {
  nxa__nexus *sink = nexus_of(base);
  nxa__tally left = {0, 0};
  note_late(sink);
  doubt_requests(sink);
  forget_requests(sink);
  count_undelivered(sink, &sink->running, &left);
  count_undelivered(sink, &sink->ready, &left);
  count_undelivered(sink, &sink->resting, &left);
  nxa__spool_try_again(sink->spool);
  keep_list(sink, &sink->ready); /* all of it first: what is written of one may take the room of another */
  keep_list(sink, &sink->running);
  keep_list(sink, &sink->resting);
  sink->kept = (nxa__tally){0, 0};
  settle_left(sink, &sink->ready);
  settle_left(sink, &sink->running);
  settle_left(sink, &sink->resting);
  say_what_is_left(sink, left, sink->kept);
  sink->stopped = true;
  nxa__nexus_schedule(sink);
}

/* ------------------------------------------------------------------------------------------------ life */

static void forget_files(nxa__nexus *sink, const nxa__list *list) {
  for (nxa__link *link = list->first; link; link = link->next)
    nxa__spool_forget(sink->spool, ((nxa__trace_notes *)link->owner)->file);
}

static void free_sink(nxa__sink *base) {
  nxa__nexus *sink = nexus_of(base);
  forget_requests(sink);
  nxa__timer_disarm(sink->engine, &sink->timer);
  nxa__event_remove(&sink->left);
  forget_files(sink, &sink->running);
  forget_files(sink, &sink->ready);
  forget_files(sink, &sink->resting);
  nxa__spool_free(sink->spool);
  nxa__buffer_free(&sink->lines);
  for (unsigned i = 0; i < AGENTS_MOST; i++)
    nxa__release(sink->refused[i]);
  nxa__endpoint_release(sink->endpoint);
  nxa__engine_release(sink->engine);
  nxa__release(sink);
}

void nxa_nexus_options_init(nxa_nexus_options *options) {
  *options = (nxa_nexus_options){.timeout = 5,
                                 .flush_interval = 1,
                                 .max_in_flight = 6,
                                 .spool_files = 10000,
                                 .spool_bytes = (size_t)256 << 20,
                                 .spool_age = 7 * 86400};
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
  if (options->spool && !*options->spool)
    return nxa__error_set(error, NXA_INVALID, "spool must not be empty");
  if (options->spool && !(options->spool_age > 0))
    return nxa__error_set(error, NXA_INVALID, "spool_age must be above 0");
  return NXA_OK;
}

static void on_timer(nxa__timer *timer) {
  nxa__nexus_pump(timer->data);
}

static const nxa__sink functions = {.trace_started = trace_started,
                                    .trace_ended = trace_ended,
                                    .span_ended = span_ended,
                                    .span_left_out = span_left_out,
                                    .span_end_noted = span_end_noted,
                                    .flush = flush,
                                    .closing = closing,
                                    .pending = pending,
                                    .give_up = give_up,
                                    .relieve = relieve,
                                    .free = free_sink};

static nxa__spool *new_spool(nxa_engine *engine, const nxa_nexus_options *options) {
  nxa__spool_limits limits = {options->spool_files, options->spool_bytes, options->spool_age};
  nxa__spool_form form = {nxa_endpoint_base_url(options->endpoint), "jsonl", true};
  return nxa__spool_new(engine, options->spool, &form, &limits);
}

nxa__sink *nxa__nexus_new(nxa_engine *engine, const void *given, nxa_error *error) {
  const nxa_nexus_options *options = given;
  if (check_options(options, error) != NXA_OK)
    return NULL;
  nxa__nexus *sink = nxa__allocate_zeroed(sizeof *sink);
  if (sink && options->spool)
    sink->spool = new_spool(engine, options);
  if (!sink || (options->spool && !sink->spool)) {
    nxa__release(sink);
    nxa__error_memory(error);
    return NULL;
  }
  sink->sink = functions;
  sink->options = *options;
  sink->options.spool = NULL; /* the caller's */
  nxa__event_init(&sink->left, NXA_EVENT_SPOOLED, NULL);
  sink->engine = engine;
  sink->endpoint = nxa__endpoint_retain(options->endpoint);
  sink->timer.fire = on_timer;
  sink->timer.data = sink;
  nxa__engine_retain(engine);
  return &sink->sink;
}

static nxa__nexus *nexus_in(const nxa_tracer *tracer) {
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (tracer->sinks[i]->free == free_sink)
      return nexus_of(tracer->sinks[i]);
  return NULL;
}

nxa__spool *nxa__nexus_spool(const nxa_tracer *tracer) {
  const nxa__nexus *sink = nexus_in(tracer);
  return sink ? sink->spool : NULL;
}

bool nxa__nexus_is_reachable(const nxa_tracer *tracer) {
  const nxa__nexus *sink = nexus_in(tracer);
  return sink && !sink->hangs && !sink->sends_no_more;
}

bool nxa__nexus_has_told(const nxa_tracer *tracer) {
  const nxa__nexus *sink = nexus_in(tracer);
  return sink && (sink->told_of_outage || sink->no_more_traces || sink->refused_count > 0);
}

void nxa__nexus_release_spool(const nxa_tracer *tracer) {
  nxa__nexus *sink = nexus_in(tracer);
  if (!sink || !tracer->closed)
    return;
  nxa__spool_free(sink->spool);
  sink->spool = NULL;
}

void nxa__nexus_resume(const nxa_tracer *tracer) {
  nxa__nexus *sink = nexus_in(tracer);
  if (!sink || sink->closing)
    return;
  sink->stopped = sink->no_more_traces = sink->told_of_outage = false;
  for (unsigned i = 0; i < AGENTS_MOST; i++) {
    nxa__release(sink->refused[i]);
    sink->refused[i] = NULL;
  }
  sink->refused_count = 0;
}

nxa_kind nxa_tracer_add_nexus(nxa_tracer *tracer, const nxa_nexus_options *options, nxa_error *error) {
  if (tracer && options && nexus_in(tracer))
    return nxa__error_set(error, NXA_INVALID, "the tracer delivers to Nexus already");
  return nxa__tracer_make_sink(tracer, nxa__nexus_new, options, error);
}
