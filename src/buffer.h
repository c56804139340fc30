/*
 * A growing byte buffer with a cap.
 *
 * The first failure sticks: further appends do nothing and return it again, so that a text can be built by many
 * appends and checked once. What was there before the failure stays as it was.
 */
#ifndef NXA_BUFFER_H
#define NXA_BUFFER_H

#include <stdarg.h>
#include <stddef.h>

#include "nexus_assistants.h"

#if defined(__GNUC__)
#define NXA__FORMAT(text, first) __attribute__((format(printf, text, first)))
#else
#define NXA__FORMAT(text, first)
#endif

typedef struct nxa__buffer {
  char *data; /* zero-terminated once there is any; use nxa__buffer_text where it may be NULL */
  size_t length;
  size_t capacity;
  size_t limit;   /* the most `length` may become */
  nxa_kind state; /* NXA_OK, NXA_MEMORY or NXA_TOO_LARGE */
} nxa__buffer;

void nxa__buffer_init(nxa__buffer *buffer, size_t limit);
/* Releases the memory; the buffer is empty and usable again, with the limit it had. */
void nxa__buffer_free(nxa__buffer *buffer);
/* Empties it and forgets a failure; keeps the memory. */
void nxa__buffer_clear(nxa__buffer *buffer);
/* Makes room for `more` bytes, so that the next appends of as much can't fail. */
nxa_kind nxa__buffer_reserve(nxa__buffer *buffer, size_t more);
nxa_kind nxa__buffer_append(nxa__buffer *buffer, const char *bytes, size_t length);
nxa_kind nxa__buffer_append_text(nxa__buffer *buffer, const char *text);
nxa_kind nxa__buffer_append_byte(nxa__buffer *buffer, char byte);
nxa_kind nxa__buffer_append_format(nxa__buffer *buffer, const char *format, ...) NXA__FORMAT(2, 3);
/* Cuts to `length` bytes where it is longer. */
void nxa__buffer_cut(nxa__buffer *buffer, size_t length);
/* The text, zero-terminated, "" where empty; borrowed until the next change. */
const char *nxa__buffer_text(const nxa__buffer *buffer);

#endif
