/* The seam between traces and where they go. */
#ifndef NXA_EXPORT_H
#define NXA_EXPORT_H

#include "trace.h"

/*
 * A sink. It is told what happens to the traces and spans it wants, keeps its own notes in their slots, and settles
 * each of them once: a span when it was delivered or given up, a trace likewise, after its spans.
 * Nothing of a trace or span is to be touched after it was settled but its slot, as long as the object is known to stay
 * (a parent stays as long as its children).
 */
struct nxa__sink {
  void (*trace_started)(nxa__sink *, nxa_trace *);
  void (*trace_ended)(nxa__sink *, nxa_trace *); /* after span_ended of all its spans */
  void (*span_ended)(nxa__sink *, nxa_span *);
  void (*span_left_out)(nxa__sink *, nxa_span *);  /* may be NULL: it will not end, and is settled afterwards */
  void (*span_end_noted)(nxa__sink *, nxa_span *); /* may be NULL: it goes on, but its end is known now */
  void (*flush)(nxa__sink *);                      /* send what can be sent now */
  void (*closing)(nxa__sink *);                    /* from now on retry fast or not at all */
  bool (*pending)(const nxa__sink *);              /* something may still be delivered */
  void (*give_up)(nxa__sink *); /* the time to close in is over: say what is left, settle it as failed */
  bool (*relieve)(nxa__sink *); /* settle something that needn't be in memory; NULL where there is nothing such */
  void (*free)(nxa__sink *);    /* settles nothing */
  nxa_tracer *tracer;           /* both set by nxa__tracer_add_sink */
  unsigned index;
};

/* Gives the sink to the tracer, which frees it. On failure it stays the caller's. */
nxa_kind nxa__tracer_add_sink(nxa_tracer *tracer, nxa__sink *sink, nxa_error *error);
/* Makes one of options that its kind knows, and gives it to the tracer. NULL for any but `make` is allowed: that is
 * what the host may give. */
typedef nxa__sink *nxa__sink_maker(nxa_engine *engine, const void *options, nxa_error *error);
nxa_kind nxa__tracer_make_sink(nxa_tracer *tracer, nxa__sink_maker *make, const void *options, nxa_error *error);

void nxa__span_settled(nxa__sink *sink, nxa_span *span, bool delivered);
/* Spans of it that this sink has not settled have failed with it. */
void nxa__trace_settled(nxa__sink *sink, nxa_trace *trace, bool delivered);
/* The same for what is neither delivered nor lost: it is in the spool. */
void nxa__span_spooled(nxa__sink *sink, nxa_span *span);
void nxa__trace_spooled(nxa__sink *sink, nxa_trace *trace);

/* What the tracer tells its sinks. */
void nxa__export_trace_started(nxa_trace *trace);
void nxa__export_trace_ended(nxa_trace *trace);
void nxa__export_span_ended(nxa_span *span);
void nxa__export_span_left_out(nxa_span *span);
void nxa__export_span_end_noted(nxa_span *span);
/* The sinks a trace that starts now is wanted by. */
unsigned nxa__export_wanted(const nxa_tracer *tracer);
/* Has a sink let go of something for which there is another place than memory; false where none could. */
bool nxa__export_relieve(nxa_tracer *tracer);
/* Holds a trace that starts now back, where it isn't among those to be exported. */
void nxa__export_sample(nxa_trace *trace);
/* Tells the sinks of a trace that was held back, from its start on. */
void nxa__export_keep(nxa_trace *trace);
/* Forgets one that was held back. */
void nxa__export_leave_out(nxa_trace *trace);

#endif
