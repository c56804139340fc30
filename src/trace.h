/*
 * Traces and spans as sinks read them. All texts in them are JSON already: valid, within the caps, not terminated.
 *
 * A trace or span is held while a sink wants it, and its texts are released once none does. The object itself stays as
 * long as its handle, or something below it that needs its id.
 */
#ifndef NXA_TRACE_H
#define NXA_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json_out.h"
#include "list.h"
#include "nexus_assistants.h"
#include "traceparent.h"

#define NXA__SINKS 6
#define NXA__HELD (1u << NXA__SINKS) /* in `wanted`: kept for the first sink that comes */
#define NXA__NAME_BYTES 1024         /* the most a name, type, agent id or metadata key takes */
#define NXA__METADATA_MAX 256        /* keys of one trace or span */
#define NXA__RANDOM_POOL 512

typedef struct nxa__sink nxa__sink;

typedef struct nxa__metadata {
  struct nxa__metadata *next;
  size_t key_length;
  size_t value_length;
  char text[]; /* the key as a JSON string, then the value */
} nxa__metadata;

/* What traces and spans have in common. */
typedef struct nxa__record {
  nxa__json name; /* in the same block as the record */
  nxa__json input;
  nxa__json output;
  nxa__json error; /* a JSON string */
  nxa__metadata *metadata;
  unsigned metadata_count;
  unsigned changes; /* of input, output, error and metadata, counted */
  unsigned wanted;  /* a bit for every sink that has not settled it */
  bool ended;
  bool failed;        /* some sink gave it up */
  bool spooled;       /* some sink left it in the spool */
  size_t bytes;       /* of its texts, as counted in the tracer */
  int64_t started_ns; /* wall clock */
  int64_t ended_ns;
  void *slots[NXA__SINKS]; /* one block of memory for each sink's own use, released with the record */
} nxa__record;

struct nxa_trace {
  nxa__record record;
  nxa_tracer *tracer; /* NULL once that was freed */
  nxa__link link;     /* in the tracer's traces */
  nxa__list spans;    /* those in memory, in the order of their start */
  size_t references;  /* the handle, being held, every span in memory */
  int64_t started_monotonic_ns;
  nxa_trace_status status;
  bool held_back; /* sinks aren't told of it unless it fails */
  nxa__json agent_id;
  char id[33];
  char span_id[17];      /* of the span that stands for the trace itself where there are only spans */
  nxa__traceparent host; /* the span of the host's it is below, and the trace that is part of; "" for none */
  char text[];           /* agent id, name */
};

struct nxa_span {
  nxa__record record;
  nxa_trace *trace;
  nxa_span *parent;  /* counted; NULL at the top */
  nxa__link link;    /* in the trace's spans */
  size_t references; /* the handle, being held, every child in memory */
  nxa_span_status status;
  int64_t given_end_ns; /* by nxa_span_set_times; negative where it wasn't */
  bool end_noted;       /* by nxa__span_note_end */
  bool left_out;        /* by nxa__span_leave_out */
  bool with_parent;     /* ended by nxa__span_end_with_parent */
  nxa__json type;
  char id[17];
  char text[]; /* name, type */
};

struct nxa_tracer {
  nxa_engine *engine; /* counted */
  nxa_tracer_options options;
  nxa_stats stats;
  nxa__list traces; /* those in memory */
  nxa__sink *sinks[NXA__SINKS];
  unsigned sink_count;
  bool closed;
  size_t random_left;
  unsigned char random[NXA__RANDOM_POOL];
};

/* The id that OpenTelemetry knows it by. */
static inline const char *nxa__trace_open_id(const nxa_trace *trace) {
  return *trace->host.trace_id ? trace->host.trace_id : trace->id;
}

void nxa__span_retain(nxa_span *span);
void nxa__span_release(nxa_span *span);
/* For loops over a trace's spans in which any of them may go: the current one is counted. The trace must stay. */
nxa_span *nxa__span_first(nxa_trace *trace);
nxa_span *nxa__span_next(nxa_span *span);
void nxa__trace_retain(nxa_trace *trace);
void nxa__trace_release(nxa_trace *trace);

/* Says that what the span stands for has ended, at the time that nxa_span_set_times gave it, though the span goes on
 * until all is known of it: should the process end first, it ends then, and isn't interrupted. Without such a time,
 * nothing. */
void nxa__span_note_end(nxa_span *span);
/* When it ended, or will have. */
int64_t nxa__span_end_ns(const nxa_span *span);

/* Ends a span that is to go nowhere. What is below it, and will be, goes below what it is in itself. */
void nxa__span_leave_out(nxa_span *span);
/* Nanoseconds since 1970, by the trace's own clock. */
int64_t nxa__trace_now(const nxa_trace *trace);
/* The same as nxa_span_end where the parent, if there is one, ends at once, before anything is waited for: then one
 * write to the disk is enough for both. */
void nxa__span_end_with_parent(nxa_span *span, nxa_span_status status);

/* Releases the texts and gives their bytes back. */
void nxa__record_drop_texts(nxa_tracer *tracer, nxa__record *record);

#endif
