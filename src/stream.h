/* The events of a streaming answer, held until the host takes them; bounded. */
#ifndef NXA_STREAM_H
#define NXA_STREAM_H

#include "list.h"
#include "nexus_assistants.h"
#include "sse.h"

typedef struct nxa__stream {
  nxa__sse parser;
  nxa__list events;
  size_t held;   /* bytes of the events not taken yet */
  size_t limit;  /* the most of them */
  void *current; /* the event taken last: the host may still read it */
} nxa__stream;

/* NULL for want of memory. */
nxa__stream *nxa__stream_new(size_t limit);
void nxa__stream_free(nxa__stream *stream);
/* NXA_TOO_LARGE where one event, or those not taken yet, would be above the limit. */
nxa_kind nxa__stream_feed(nxa__stream *stream, const char *bytes, size_t length);
/* False where none is there; borrowed until the next call of it. */
bool nxa__stream_next(nxa__stream *stream, nxa_stream_event *event);
bool nxa__stream_empty(const nxa__stream *stream);

#endif
