#include "stream.h"

#include <string.h>

#include "alloc.h"

typedef struct held_event {
  nxa__link link;
  size_t size;
  nxa_stream_event event; /* its texts follow the struct */
} held_event;

static char *put(char *at, const char *text, size_t length) {
  memcpy(at, text, length);
  at[length] = '\0';
  return at + length + 1;
}

static held_event *copy_event(const nxa_stream_event *event, size_t size) {
  held_event *held = nxa__allocate(size);
  if (!held)
    return NULL;
  size_t name = strlen(event->event), id = strlen(event->id);
  char *at = (char *)(held + 1);
  memset(held, 0, sizeof *held);
  held->link.owner = held;
  held->size = size;
  held->event = (nxa_stream_event){.event = at, .data_length = event->data_length};
  held->event.data = at = put(at, event->event, name);
  held->event.id = at = put(at, event->data, event->data_length);
  put(at, event->id, id);
  return held;
}

static nxa_kind hold(void *data, const nxa_stream_event *event) {
  nxa__stream *stream = data;
  size_t texts = strlen(event->event) + event->data_length + strlen(event->id);
  size_t size = sizeof(held_event) + texts + 3;
  if (texts > stream->event_limit)
    return NXA_TOO_LARGE;
  held_event *held = copy_event(event, size);
  if (!held)
    return NXA_MEMORY;
  stream->held += size;
  nxa__list_append(&stream->events, &held->link);
  return NXA_OK;
}

nxa__stream *nxa__stream_new(nxa_stream_mode mode, size_t max_response) {
  nxa__stream *stream = nxa__allocate_zeroed(sizeof *stream);
  if (!stream)
    return NULL;
  stream->mode = mode;
  stream->limit = max_response < NXA__STREAM_HELD_MAX ? max_response : NXA__STREAM_HELD_MAX;
  stream->event_limit = max_response;
  nxa__sse_init(&stream->parser, max_response, hold, stream);
  nxa__buffer_init(&stream->arriving, NXA__STREAM_HELD_MAX);
  nxa__buffer_init(&stream->handed_out, NXA__STREAM_HELD_MAX);
  return stream;
}

void nxa__stream_free(nxa__stream *stream) {
  if (!stream)
    return;
  held_event *held;
  while ((held = nxa__list_take(&stream->events)))
    nxa__release(held);
  nxa__release(stream->current);
  nxa__sse_free(&stream->parser);
  nxa__buffer_free(&stream->arriving);
  nxa__buffer_free(&stream->handed_out);
  nxa__release(stream);
}

/* One piece at least is taken, however small the limit. */
bool nxa__stream_full(const nxa__stream *stream, size_t length) {
  if (stream->held == 0)
    return false;
  if (stream->mode == NXA_STREAM_EVENTS)
    return stream->held >= stream->limit;
  return stream->held >= stream->limit || length > stream->limit - stream->held;
}

bool nxa__stream_has_room(const nxa__stream *stream) {
  return stream->held <= stream->limit / 2;
}

nxa_kind nxa__stream_feed(nxa__stream *stream, const char *bytes, size_t length) {
  if (stream->mode == NXA_STREAM_EVENTS)
    return nxa__sse_feed(&stream->parser, bytes, length);
  nxa_kind kind = nxa__buffer_append(&stream->arriving, bytes, length);
  stream->held = stream->arriving.length;
  return kind;
}

bool nxa__stream_next_piece(nxa__stream *stream, const char **data, size_t *length) {
  nxa__buffer taken = stream->arriving;
  nxa__buffer_clear(&stream->handed_out);
  if (taken.length == 0)
    return false;
  /* a failure stays with what arrives */
  stream->arriving = stream->handed_out;
  stream->arriving.state = taken.state;
  stream->handed_out = taken;
  stream->held = 0;
  *data = taken.data;
  *length = taken.length;
  return true;
}

bool nxa__stream_next_event(nxa__stream *stream, nxa_stream_event *event) {
  held_event *held = nxa__list_take(&stream->events);
  nxa__release(stream->current);
  stream->current = held;
  if (!held)
    return false;
  stream->held -= held->size;
  *event = held->event;
  return true;
}

bool nxa__stream_empty(const nxa__stream *stream) {
  return stream->held == 0;
}
