#include "sink_none.h"

#include "alloc.h"
#include "error.h"

static void trace_started(nxa__sink *sink, nxa_trace *trace) {
  (void)sink;
  (void)trace;
}

static void trace_ended(nxa__sink *sink, nxa_trace *trace) {
  nxa__trace_settled(sink, trace, true);
}

static void span_ended(nxa__sink *sink, nxa_span *span) {
  nxa__span_settled(sink, span, true);
}

static void do_nothing(nxa__sink *sink) {
  (void)sink;
}

static bool nothing_pending(const nxa__sink *sink) {
  (void)sink;
  return false;
}

static void free_sink(nxa__sink *sink) {
  nxa__release(sink);
}

static const nxa__sink functions = {.trace_started = trace_started,
                                    .trace_ended = trace_ended,
                                    .span_ended = span_ended,
                                    .flush = do_nothing,
                                    .closing = do_nothing,
                                    .pending = nothing_pending,
                                    .give_up = do_nothing,
                                    .free = free_sink};

nxa_kind nxa__tracer_add_none(nxa_tracer *tracer, nxa_error *error) {
  nxa__sink *sink = nxa__allocate(sizeof *sink);
  if (!sink)
    return nxa__error_memory(error);
  *sink = functions;
  nxa_kind kind = nxa__tracer_add_sink(tracer, sink, error);
  if (kind != NXA_OK)
    free_sink(sink);
  return kind;
}
