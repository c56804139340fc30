/* Telling the host how far a call is: at most one event unread, and not too many of them. */
#ifndef NXA_PROGRESS_H
#define NXA_PROGRESS_H

#include "engine.h"
#include "nexus_assistants.h"

typedef struct nxa__progress {
  nxa_engine *engine;
  nxa__event event;
  nxa__timer timer; /* the event is to be queued then */
  int64_t queued_ns;
  int64_t moved, told; /* bytes of this attempt, now and when the event was queued */
  nxa_progress last;   /* of the last attempt, once it has ended */
} nxa__progress;

void nxa__progress_init(nxa_engine *engine, nxa__progress *progress, nxa_call *call);
/* An attempt begins. */
void nxa__progress_begin(nxa__progress *progress);
/* So many bytes have moved in all. */
void nxa__progress_move(nxa__progress *progress, int64_t moved);
/* The call has ended: what wasn't told is told now. */
void nxa__progress_end(nxa__progress *progress);
/* Nothing is to be told any more. */
void nxa__progress_drop(nxa__progress *progress);

#endif
