#include "export.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engine.h"
#include "error.h"

static unsigned bit_of(const nxa__sink *sink) {
  return 1u << sink->index;
}

unsigned nxa__export_wanted(const nxa_tracer *tracer) {
  return tracer->sink_count ? (1u << tracer->sink_count) - 1 : NXA__HELD;
}

/* ------------------------------------------------------------------------------------------------ telling */

void nxa__export_trace_started(nxa_trace *trace) {
  nxa_tracer *tracer = trace->tracer;
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (trace->record.wanted & (1u << i))
      tracer->sinks[i]->trace_started(tracer->sinks[i], trace);
}

void nxa__export_trace_ended(nxa_trace *trace) {
  nxa_tracer *tracer = trace->tracer;
  nxa__trace_retain(trace); /* it may be settled at once */
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (trace->record.wanted & (1u << i))
      tracer->sinks[i]->trace_ended(tracer->sinks[i], trace);
  nxa__trace_release(trace);
}

void nxa__export_span_ended(nxa_span *span) {
  nxa_tracer *tracer = span->trace->tracer;
  nxa__span_retain(span);
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (span->record.wanted & (1u << i))
      tracer->sinks[i]->span_ended(tracer->sinks[i], span);
  nxa__span_release(span);
}

bool nxa__export_relieve(nxa_tracer *tracer) {
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (tracer->sinks[i]->relieve && tracer->sinks[i]->relieve(tracer->sinks[i]))
      return true;
  return false;
}

/* ------------------------------------------------------------------------------------------------ settling */

/* True where nobody wants the record any more. */
static bool settle(nxa__record *record, unsigned bits, bool delivered) {
  if (!(record->wanted & bits))
    return false;
  record->wanted &= ~bits;
  record->failed = record->failed || !delivered;
  return record->wanted == 0;
}

static void settle_span(nxa_tracer *tracer, nxa_span *span, unsigned bits, bool delivered) {
  if (!settle(&span->record, bits, delivered))
    return;
  tracer->stats.spans_pending--;
  tracer->stats.spans_failed += span->record.failed;
  tracer->stats.spans_spooled += !span->record.failed && span->record.spooled;
  tracer->stats.spans_delivered += !span->record.failed && !span->record.spooled;
  nxa__record_drop_texts(tracer, &span->record);
  nxa__span_release(span);
}

static void settle_trace(nxa_tracer *tracer, nxa_trace *trace, unsigned bits, bool delivered) {
  nxa__trace_retain(trace);
  for (nxa_span *span = nxa__span_first(trace); span; span = nxa__span_next(span))
    settle_span(tracer, span, bits, false);
  if (settle(&trace->record, bits, delivered)) {
    tracer->stats.traces_pending--;
    tracer->stats.traces_failed += trace->record.failed;
    tracer->stats.traces_spooled += !trace->record.failed && trace->record.spooled;
    tracer->stats.traces_delivered += !trace->record.failed && !trace->record.spooled;
    nxa__record_drop_texts(tracer, &trace->record);
    nxa__trace_release(trace);
  }
  nxa__trace_release(trace);
}

void nxa__span_settled(nxa__sink *sink, nxa_span *span, bool delivered) {
  settle_span(sink->tracer, span, bit_of(sink), delivered);
}

void nxa__trace_settled(nxa__sink *sink, nxa_trace *trace, bool delivered) {
  settle_trace(sink->tracer, trace, bit_of(sink), delivered);
}

void nxa__span_spooled(nxa__sink *sink, nxa_span *span) {
  if (span->record.wanted & bit_of(sink))
    span->record.spooled = true;
  settle_span(sink->tracer, span, bit_of(sink), true);
}

void nxa__trace_spooled(nxa__sink *sink, nxa_trace *trace) {
  if (trace->record.wanted & bit_of(sink))
    trace->record.spooled = true;
  settle_trace(sink->tracer, trace, bit_of(sink), true);
}

/* ------------------------------------------------------------------------------------------------ sinks */

static nxa_trace *keep(nxa__link *link) {
  if (!link)
    return NULL;
  nxa__trace_retain(link->owner);
  return link->owner;
}

/* For loops over the traces in which any of them may go: the current one is counted. */
static nxa_trace *next_trace(nxa_trace *trace) {
  nxa_trace *next = keep(trace->link.next);
  nxa__trace_release(trace);
  return next;
}

static void move_to(unsigned wanted, nxa_trace *trace) {
  trace->record.wanted = wanted;
  for (nxa__link *link = trace->spans.first; link; link = link->next) {
    nxa__record *record = &((nxa_span *)link->owner)->record;
    if (record->wanted & NXA__HELD)
      record->wanted = wanted;
  }
}

/* Tells a sink of a trace from its start on. */
static void tell(nxa__sink *sink, nxa_trace *trace) {
  sink->trace_started(sink, trace);
  for (nxa_span *span = nxa__span_first(trace); span; span = nxa__span_next(span))
    if (span->record.ended && span->record.wanted & bit_of(sink))
      sink->span_ended(sink, span);
  if (trace->record.ended && trace->record.wanted & bit_of(sink))
    sink->trace_ended(sink, trace);
}

nxa_kind nxa__tracer_add_sink(nxa_tracer *tracer, nxa__sink *sink, nxa_error *error) {
  if (tracer->closed || nxa__engine_closed(tracer->engine))
    return nxa__error_set(error, NXA_CLOSED, "the tracer is closed");
  if (tracer->sink_count == NXA__SINKS)
    return nxa__error_set(error, NXA_INVALID, "a tracer takes at most %d sinks", NXA__SINKS);
  sink->tracer = tracer;
  sink->index = tracer->sink_count;
  tracer->sinks[tracer->sink_count++] = sink;
  for (nxa_trace *trace = keep(tracer->traces.first); trace; trace = next_trace(trace))
    if (trace->record.wanted & NXA__HELD && !trace->held_back) {
      move_to(bit_of(sink), trace);
      tell(sink, trace);
    }
  return NXA_OK;
}

nxa_kind nxa__tracer_make_sink(nxa_tracer *tracer, nxa__sink_maker *make, const void *options, nxa_error *error) {
  nxa_error unread;
  if (!error)
    error = &unread;
  nxa__error_clear(error);
  if (!tracer || !options)
    return nxa__error_set(error, NXA_INVALID, "a tracer and options are required");
  nxa__sink *sink = make(tracer->engine, options, error);
  if (!sink)
    return error->kind;
  nxa_kind kind = nxa__tracer_add_sink(tracer, sink, error);
  if (kind != NXA_OK)
    sink->free(sink);
  return kind;
}

/* ------------------------------------------------------------------------------------------------ sampling */

#define DICE_DIGITS 13 /* 52 bits: what a double holds without loss */

/* The dice are in the trace's id, so that whoever sees it decides alike. */
static double dice(const char *id) {
  char digits[DICE_DIGITS + 1] = "";
  memcpy(digits, id + strlen(id) - DICE_DIGITS, DICE_DIGITS);
  return (double)strtoull(digits, NULL, 16) / 4503599627370496.0;
}

void nxa__export_sample(nxa_trace *trace) {
  double share = trace->tracer->options.sample;
  if (share >= 1 || dice(trace->id) < share)
    return;
  trace->held_back = true;
  trace->record.wanted = NXA__HELD;
}

void nxa__export_keep(nxa_trace *trace) {
  const nxa_tracer *tracer = trace->tracer;
  if (!trace->held_back)
    return;
  trace->held_back = false;
  if (tracer->sink_count == 0) /* held for the first one */
    return;
  nxa__trace_retain(trace);
  move_to(nxa__export_wanted(tracer), trace);
  for (unsigned i = 0; i < tracer->sink_count; i++)
    tell(tracer->sinks[i], trace);
  nxa__trace_release(trace);
}

static void leave_out_span(nxa_tracer *tracer, nxa_span *span) {
  if (!span->record.wanted)
    return;
  span->record.wanted = 0;
  tracer->stats.spans_pending--;
  tracer->stats.spans_left_out++;
  nxa__record_drop_texts(tracer, &span->record);
  nxa__span_release(span);
}

void nxa__export_span_left_out(nxa_span *span) {
  nxa_tracer *tracer = span->trace->tracer;
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (span->record.wanted & (1u << i) && tracer->sinks[i]->span_left_out)
      tracer->sinks[i]->span_left_out(tracer->sinks[i], span);
  leave_out_span(tracer, span);
}

void nxa__export_span_end_noted(nxa_span *span) {
  nxa_tracer *tracer = span->trace->tracer;
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (span->record.wanted & (1u << i) && tracer->sinks[i]->span_end_noted)
      tracer->sinks[i]->span_end_noted(tracer->sinks[i], span);
}

void nxa__export_leave_out(nxa_trace *trace) {
  nxa_tracer *tracer = trace->tracer;
  nxa__trace_retain(trace);
  for (nxa_span *span = nxa__span_first(trace); span; span = nxa__span_next(span))
    leave_out_span(tracer, span);
  trace->record.wanted = 0;
  tracer->stats.traces_pending--;
  tracer->stats.traces_left_out++;
  nxa__record_drop_texts(tracer, &trace->record);
  nxa__trace_release(trace); /* being held */
  nxa__trace_release(trace);
}

void nxa_tracer_flush(nxa_tracer *tracer) {
  if (!tracer || nxa__engine_closed(tracer->engine))
    return;
  for (unsigned i = 0; i < tracer->sink_count; i++)
    tracer->sinks[i]->flush(tracer->sinks[i]);
}

bool nxa_tracer_pending(const nxa_tracer *tracer) {
  if (!tracer || nxa__engine_closed(tracer->engine))
    return false;
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (tracer->sinks[i]->pending(tracer->sinks[i]))
      return true;
  return false;
}

/* ------------------------------------------------------------------------------------------------ closing */

static void end_traces(nxa_tracer *tracer) {
  for (nxa_trace *trace = keep(tracer->traces.first); trace; trace = next_trace(trace))
    nxa_trace_end(trace, NXA_TRACE_ERROR, "interrupted");
}

static bool nothing_pending(const void *tracer) {
  return !nxa_tracer_pending(tracer);
}

static void step_until_delivered(nxa_tracer *tracer, double timeout) {
  int64_t end = nxa__monotonic_ns() + nxa__ns_of(timeout);
  while (nxa_tracer_pending(tracer)) {
    int64_t left = end - nxa__monotonic_ns();
    if (left <= 0)
      return;
    nxa__engine_step_until(tracer->engine, nxa__seconds_of(left), nothing_pending, tracer);
  }
}

static void give_up(nxa_tracer *tracer) {
  for (unsigned i = 0; i < tracer->sink_count; i++)
    tracer->sinks[i]->give_up(tracer->sinks[i]);
  for (nxa_trace *trace = keep(tracer->traces.first); trace; trace = next_trace(trace))
    settle_trace(tracer, trace, ~0u, false);
}

static bool everything_delivered(const nxa_stats *stats) {
  return stats->traces_failed + stats->traces_dropped + stats->spans_failed + stats->spans_dropped +
             stats->spool_dropped + stats->spool_left ==
         0;
}

bool nxa_tracer_close(nxa_tracer *tracer, double timeout) {
  if (!tracer)
    return true;
  if (!tracer->closed) {
    end_traces(tracer);
    tracer->closed = true;
    for (unsigned i = 0; i < tracer->sink_count; i++)
      tracer->sinks[i]->closing(tracer->sinks[i]);
    step_until_delivered(tracer, timeout);
    give_up(tracer);
  }
  return everything_delivered(&tracer->stats);
}
