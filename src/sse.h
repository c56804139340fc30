/*
 * Server-sent events as in the HTML standard: bytes in, events out. Pure and incremental: any cut of a stream into
 * pieces gives the same events. `retry` fields are ignored; an event the stream ends in the middle of is dropped.
 */
#ifndef NXA_SSE_H
#define NXA_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"
#include "nexus_assistants.h"

/* Borrowed for the call; all but NXA_OK ends the parsing with that kind. */
typedef nxa_kind (*nxa__sse_emit_fn)(void *data, const nxa_stream_event *event);

typedef struct nxa__sse {
  nxa__sse_emit_fn emit;
  void *emit_data;
  nxa__buffer line; /* the part of a line that came with earlier pieces */
  nxa__buffer event, data, id;
  bool has_data;
  bool after_return; /* the last byte was CR: a LF now belongs to it */
  int mark_bytes;    /* of the byte order mark seen so far, -1 once past the start */
  nxa_kind state;
} nxa__sse;

/* `limit`: the most one event, or a line of it, may have in bytes. */
void nxa__sse_init(nxa__sse *parser, size_t limit, nxa__sse_emit_fn emit, void *emit_data);
void nxa__sse_free(nxa__sse *parser);
/* NXA_TOO_LARGE above the limit, NXA_MEMORY, or what emit returned; a failure sticks. */
nxa_kind nxa__sse_feed(nxa__sse *parser, const char *bytes, size_t length);

#endif
