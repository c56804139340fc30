/* A streaming answer, its events or its bytes, held until the host takes them; bounded. */
#ifndef NXA_STREAM_H
#define NXA_STREAM_H

#include "buffer.h"
#include "list.h"
#include "nexus_assistants.h"
#include "sse.h"

/* The most that is to be held; less where a request asks for less. */
enum { NXA__STREAM_HELD_MAX = 1 << 20 };

typedef struct nxa__stream {
  nxa_stream_mode mode;
  size_t held;  /* bytes not taken yet; of events with what it costs to keep them */
  size_t limit; /* from here on it is full */

  nxa__sse parser;
  nxa__list events;
  size_t event_limit; /* the most of one event */
  void *current;      /* the event taken last: the host may still read it */

  nxa__buffer arriving, handed_out; /* bytes; the second is what the host may still read */
} nxa__stream;

/* NULL for want of memory. `max_response`: the most of one event, and of what is held if that is less than usual. */
nxa__stream *nxa__stream_new(nxa_stream_mode mode, size_t max_response);
void nxa__stream_free(nxa__stream *stream);
/* True where a piece of this length is to wait until the host has read something. */
bool nxa__stream_full(const nxa__stream *stream, size_t length);
/* True where enough was read to go on. */
bool nxa__stream_has_room(const nxa__stream *stream);
/* Whether it is full or not. NXA_TOO_LARGE where one event is above its limit; a failure sticks. */
nxa_kind nxa__stream_feed(nxa__stream *stream, const char *bytes, size_t length);
/* Both: false where none is there; borrowed until the next call of it. */
bool nxa__stream_next_event(nxa__stream *stream, nxa_stream_event *event);
bool nxa__stream_next_piece(nxa__stream *stream, const char **data, size_t *length);
bool nxa__stream_empty(const nxa__stream *stream);

#endif
