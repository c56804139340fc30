/* What must hold of the parser of server-sent events: any cut of a stream into pieces gives the same events. */
#ifndef SSE_PROPERTY_H
#define SSE_PROPERTY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sse.h"

static inline uint32_t sse_random(uint32_t *seed) {
  *seed = *seed * 1664525U + 1013904223U;
  return *seed >> 8;
}

static inline nxa_kind sse_note(void *data, const nxa_stream_event *event) {
  nxa__buffer *notes = data;
  nxa__buffer_append(notes, event->event, strlen(event->event) + 1);
  nxa__buffer_append(notes, event->data, event->data_length);
  nxa__buffer_append_format(notes, "|%zu|", event->data_length);
  return nxa__buffer_append(notes, event->id, strlen(event->id) + 1);
}

/* `largest`: of a piece, 0: all in one. Each piece is a block of its own, so that a sanitizer sees a byte read too
 * many.
 */
static inline nxa_kind sse_parse(const char *text, size_t length, size_t limit, size_t largest, uint32_t seed,
                                 nxa__buffer *notes) {
  nxa__sse parser;
  nxa_kind kind = NXA_OK;
  nxa__sse_init(&parser, limit, sse_note, notes);
  for (size_t at = 0, size; at < length; at += size) {
    size = largest ? sse_random(&seed) % largest + 1 : length;
    size = size < length - at ? size : length - at;
    char *copy = malloc(size);
    if (!copy)
      abort();
    memcpy(copy, text + at, size);
    kind = nxa__sse_feed(&parser, copy, size);
    free(copy);
  }
  nxa__sse_free(&parser);
  return kind;
}

static inline bool sse_cuts_agree(const char *text, size_t length, size_t limit, size_t largest, uint32_t seed) {
  nxa__buffer whole, cut;
  nxa__buffer_init(&whole, SIZE_MAX);
  nxa__buffer_init(&cut, SIZE_MAX);
  nxa_kind kind = sse_parse(text, length, limit, 0, 0, &whole);
  bool agree = kind == sse_parse(text, length, limit, largest, seed, &cut) && whole.length == cut.length &&
               (whole.length == 0 || memcmp(whole.data, cut.data, whole.length) == 0);
  nxa__buffer_free(&whole);
  nxa__buffer_free(&cut);
  return agree;
}

#endif
