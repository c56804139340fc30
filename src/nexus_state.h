/* The Nexus sink's state, shared by its parts: what is to be sent for whom, and what is known of the server. */
#ifndef NXA_NEXUS_STATE_H
#define NXA_NEXUS_STATE_H

#include "engine.h"
#include "export.h"
#include "nexus_answer.h"
#include "spool.h"

#define MILLISECOND INT64_C(1000000)
#define AGENTS_MOST 64

/* A request to be made for a trace or span, over all its repetitions. */
typedef struct nxa__errand {
  bool wanted;      /* to be sent */
  bool tried;       /* was sent before */
  bool unconfirmed; /* its answer was lost */
  int failures;     /* while others succeeded */
  int closing_failures;
  uint64_t successes_seen; /* the sink's when it failed last */
} nxa__errand;

typedef enum nxa__trace_state {
  TRACE_NEW, /* not created: waits for its end, for flush_interval, or to be created again */
  TRACE_CREATING,
  TRACE_CREATED
} nxa__trace_state;

/* In a trace's slot. */
typedef struct nxa__trace_notes {
  nxa_trace *trace;
  nxa__link link; /* in one of the sink's lists of traces */
  nxa__trace_state state;
  int64_t due_ns;
  nxa__link open_link; /* in the sink's open, until it has ended */
  int64_t look_ns;     /* when what has begun in it is written next */
  nxa__errand create, end, last;
  bool ends_known;       /* whether Nexus was told the end */
  bool end_failed;       /* it refused to hear it */
  unsigned changes_sent; /* the record's changes that Nexus knows */
  nxa__list ready;       /* spans to be posted */
  size_t unsettled;      /* spans that have ended */
  size_t flying;
  nxa__spool_file *file;  /* NULL without a spool */
  unsigned changes_kept;  /* the record's changes that the file knows */
  size_t looked_bytes;    /* of the trace itself, written as it was looked at */
  bool is_kept;           /* there is a line for the trace */
  bool end_kept;          /* also for its end */
  bool leaving;           /* nothing more is sent for it: it is left in the spool once it has ended */
  bool in_doubt;          /* what was sent may have arrived or not */
  int64_t doubt_until_ns; /* wall clock: what was sent is there by then, or never */
  char id[NXA__NEXUS_ID_SIZE];
} nxa__trace_notes;

typedef enum nxa__span_state { SPAN_OPEN, SPAN_WAITING, SPAN_POSTED, SPAN_GIVEN_UP } nxa__span_state;

/* In a span's slot. */
typedef struct nxa__span_notes {
  nxa_span *span;
  nxa__link link;     /* in its trace's `ready` or its parent's `children` */
  nxa__list children; /* have ended, and wait for this one */
  nxa__span_state state;
  bool seen;                   /* the file knows of it, or needn't */
  size_t line_at, line_length; /* in the file, of when it had begun; 0 for none */
  bool is_kept;                /* it is in the file, with its end */
  nxa__errand job;
  char id[NXA__NEXUS_ID_SIZE];
} nxa__span_notes;

typedef struct nxa__tally {
  size_t traces, spans;
} nxa__tally;

typedef struct nxa__nexus {
  nxa__sink sink; /* first */
  nxa_engine *engine;
  nxa_endpoint *endpoint;
  nxa_nexus_options options;
  nxa__timer timer;
  nxa__list running, ready, resting; /* traces: not due yet, with something to send, without */
  nxa__list open;                    /* those that go on and have a file, in the order in which they are looked at */
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
  bool told_of_outage; /* by a warning */
  bool hangs;          /* the last that was heard is a timeout, or nothing was for too long */
  bool closing;
  bool sends_no_more; /* closing, and in vain */
  char cause[400];    /* of the last failure */

  nxa__spool *spool; /* NULL for none */
  nxa__buffer lines; /* to be written to it */
  nxa__event left;   /* NXA_EVENT_SPOOLED */
  nxa__tally kept;   /* what was left in it so far, that Nexus hasn't */
} nxa__nexus;

/* Under way. */
typedef struct nxa__flight {
  nxa__nexus *sink;
  nxa__link link;
  nxa__nexus_request kind;
  nxa__trace_notes *trace; /* NULL: given up meanwhile, the answer matters no more */
  nxa__span_notes *span;
  nxa_call *call;
  int64_t started_ns;
  unsigned round;
  bool knew_end;
  unsigned changes;
} nxa__flight;

/* Bits of `warned`. */
enum { WARNED_TRACE_GONE = 1, WARNED_NO_ID = 2, WARNED_REFUSED_TRACE = 4, WARNED_REFUSED_SPAN = 8, WARNED_POISON = 16 };

static inline nxa__trace_notes *notes_of(const nxa__nexus *sink, const nxa_trace *trace) {
  return trace->record.slots[sink->sink.index];
}

static inline nxa__span_notes *notes_of_span(const nxa__nexus *sink, const nxa_span *span) {
  return span->record.slots[sink->sink.index];
}

static inline bool wants_span(const nxa__nexus *sink, const nxa_span *span) {
  return (span->record.wanted >> sink->sink.index) & 1;
}

static inline nxa_stats *stats_of(nxa__nexus *sink) {
  return &sink->sink.tracer->stats;
}

/* ------------------------------------------------------------------------------------------------ nexus_state.c */

/* NULL for want of memory. */
nxa__span_notes *nxa__nexus_note_span(const nxa__nexus *sink, nxa_span *span);
/* Puts a trace into the list it belongs to; one that stays among the ready keeps its place. */
void nxa__nexus_file(nxa__nexus *sink, nxa__trace_notes *notes);
/* Takes a trace that is settled out of all lists. */
void nxa__nexus_unlist(nxa__trace_notes *notes);
/* Whether Nexus hasn't the trace with its end; spans of it may be missing all the same. */
bool nxa__nexus_lacks(const nxa__trace_notes *notes);
/* Lets a trace go, from the spool too; what is under way for it is left to end by itself. */
void nxa__nexus_give_up_trace(nxa__nexus *sink, nxa__trace_notes *notes);
/* Sends nothing more for a trace and leaves it in the spool, at its end where that is to come; gives it up where it
 * isn't there. The notes may be gone afterwards. */
void nxa__nexus_leave_trace(nxa__nexus *sink, nxa__trace_notes *notes);
/* The same at once, for one that has ended. */
void nxa__nexus_leave_now(nxa__nexus *sink, nxa__trace_notes *notes);
/* The same for one whose rest is written: what is in its file is left. */
void nxa__nexus_leave_kept(nxa__nexus *sink, nxa__trace_notes *notes);
/* Leaves all there is and sends nothing more. */
void nxa__nexus_stop(nxa__nexus *sink);
bool nxa__nexus_may_create(const nxa__nexus *sink, const nxa_trace *trace);
void nxa__nexus_refuse_agent(nxa__nexus *sink, const nxa_trace *trace);
/* Leaves the traces that would be refused. */
void nxa__nexus_shed_all(nxa__nexus *sink);
/* To be called last: the notes may be gone afterwards. */
void nxa__nexus_settle_or_file(nxa__nexus *sink, nxa__trace_notes *notes);
/* Once a trace is created and has ended, in whichever order. */
void nxa__nexus_want_end(nxa__trace_notes *notes);
void nxa__nexus_make_ready(nxa__trace_notes *notes, nxa__span_notes *span);
/* Settles a span that has ended, and lets those go that waited for it. */
void nxa__nexus_settle_span(nxa__nexus *sink, nxa__trace_notes *notes, nxa__span_notes *span, bool delivered);

/* ------------------------------------------------------------------------------------------------ nexus_spool.c */

/* Each does nothing without a spool. What can't be written now is tried again before the trace is left. */
void nxa__nexus_keep_trace(nxa__nexus *sink, nxa__trace_notes *notes);
void nxa__nexus_keep_span(nxa__nexus *sink, nxa__trace_notes *notes, nxa__span_notes *span);
/* Writes those below a span that were to be written with it. */
void nxa__nexus_keep_children(nxa__nexus *sink, nxa__trace_notes *notes, const nxa__span_notes *span);
/* Of a span that is left out: takes back what the file has of it. */
void nxa__nexus_forget_span(nxa__nexus *sink, nxa__trace_notes *notes, const nxa__span_notes *span);
/* Of a span that goes on and is in the file: writes it anew, with its end, which has been noted. */
void nxa__nexus_keep_noted_end(nxa__nexus *sink, nxa__trace_notes *notes, nxa__span_notes *span);
/* The spans that have begun, as many as may be written at one go, and adds to `*bytes`. False where there are more. */
bool nxa__nexus_keep_open_spans(nxa__nexus *sink, nxa__trace_notes *notes, size_t *bytes);
/* The trace's id at Nexus. */
void nxa__nexus_keep_id(nxa__nexus *sink, nxa__trace_notes *notes);
/* Whether all of a trace that has ended is on the disk; what somebody deleted meanwhile is written anew, and what could
 * not be written before. */
bool nxa__nexus_keep_on_disk(nxa__nexus *sink, nxa__trace_notes *notes);
/* Writes what is still missing, and that the trace is left. */
void nxa__nexus_keep_rest(nxa__nexus *sink, nxa__trace_notes *notes);
/* A request for it may have been carried out, though no answer said so: how it was lost says how long that may take. */
typedef enum nxa__loss { LOSS_BROKEN, LOSS_TIMEOUT, LOSS_ABANDONED } nxa__loss;
void nxa__nexus_doubt(nxa__nexus *sink, nxa__trace_notes *notes, nxa__loss loss);

/* ------------------------------------------------------------------------------------------------ nexus_send.c */

nxa__errand *nxa__nexus_job(const nxa__flight *sent);
/* Sends what may be sent now. */
void nxa__nexus_pump(nxa__nexus *sink);
/* Sees to it that the timer fires when there is something to do. Cheap where it is armed for that already. */
void nxa__nexus_schedule(nxa__nexus *sink);
/* Has what begins in a trace that goes on written after some time. */
void nxa__nexus_look_later(nxa__nexus *sink, nxa__trace_notes *notes);

/* ------------------------------------------------------------------------------------------------ nexus_outcome.c */

/* A request could not even be made, for want of memory. */
void nxa__nexus_failed_here(nxa__nexus *sink);
void nxa__nexus_done(nxa_call *call, void *data);

#endif
