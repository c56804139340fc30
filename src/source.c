#include "source.h"

#include <string.h>

#include "alloc.h"

static void init_part(nxa__source_part *part, int64_t size) {
  /* twice as much: what was taken is moved out of the way only once it is the larger half */
  nxa__buffer_init(&part->bytes, 2 * (size_t)NXA__SOURCE_HELD_MAX);
  part->size = size;
  part->ended = size == 0;
}

static void find_current(nxa__source *source) {
  while (source->current < source->count && source->parts[source->current].ended)
    source->current++;
}

nxa__source *nxa__source_new(const nxa__parts *parts) {
  nxa__source *source = nxa__allocate_zeroed(sizeof *source + parts->host_count * sizeof *source->parts);
  if (!source)
    return NULL;
  for (size_t i = 0; i < parts->count; i++)
    if (parts->entries[i].from_host)
      init_part(&source->parts[source->count++], parts->entries[i].size);
  find_current(source);
  return source;
}

void nxa__source_free(nxa__source *source) {
  if (!source)
    return;
  for (size_t i = 0; i < source->count; i++)
    nxa__buffer_free(&source->parts[i].bytes);
  nxa__release(source);
}

static void make_room(nxa__source_part *part) {
  size_t left = part->bytes.length - part->at;
  if (part->at == 0 || part->at < left)
    return;
  memmove(part->bytes.data, part->bytes.data + part->at, left);
  nxa__buffer_cut(&part->bytes, left);
  part->at = 0;
}

nxa_kind nxa__source_put(nxa__source *source, const char *bytes, size_t length) {
  if (source->current == source->count)
    return NXA_INVALID;
  nxa__source_part *part = &source->parts[source->current];
  if (length > NXA__SOURCE_HELD_MAX - source->held)
    return NXA_TOO_LARGE;
  if (part->size >= 0 && (int64_t)length > part->size - part->given)
    return NXA_INVALID;
  make_room(part);
  nxa_kind kind = nxa__buffer_append(&part->bytes, bytes, length);
  if (kind != NXA_OK) {
    part->bytes.state = NXA_OK; /* the host may try again */
    return kind;
  }
  source->held += length;
  part->given += (int64_t)length;
  part->ended = part->given == part->size;
  find_current(source);
  return NXA_OK;
}

nxa_kind nxa__source_end(nxa__source *source) {
  if (source->current == source->count)
    return NXA_INVALID;
  nxa__source_part *part = &source->parts[source->current];
  if (part->size >= 0)
    return NXA_INVALID;
  part->ended = true;
  find_current(source);
  return NXA_OK;
}

size_t nxa__source_take(nxa__source *source, size_t index, char *buffer, size_t room) {
  nxa__source_part *part = &source->parts[index];
  size_t left = part->bytes.length - part->at, length = left < room ? left : room;
  if (length == 0)
    return 0;
  memcpy(buffer, part->bytes.data + part->at, length);
  part->at += length;
  source->held -= length;
  source->taken = true;
  if (length < left)
    return length;
  part->at = 0;
  if (part->ended)
    nxa__buffer_free(&part->bytes);
  else
    nxa__buffer_clear(&part->bytes);
  return length;
}

bool nxa__source_is_over(const nxa__source *source, size_t index) {
  const nxa__source_part *part = &source->parts[index];
  return part->ended && part->at == part->bytes.length;
}
