#include "buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"

enum { SMALLEST = 128 };

void nxa__buffer_init(nxa__buffer *buffer, size_t limit) {
  memset(buffer, 0, sizeof *buffer);
  /* one byte is for the zero */
  buffer->limit = limit < SIZE_MAX ? limit : SIZE_MAX - 1;
}

void nxa__buffer_free(nxa__buffer *buffer) {
  nxa__release(buffer->data);
  nxa__buffer_init(buffer, buffer->limit);
}

void nxa__buffer_clear(nxa__buffer *buffer) {
  buffer->state = NXA_OK;
  nxa__buffer_cut(buffer, 0);
}

static size_t grown(const nxa__buffer *buffer, size_t needed) {
  size_t most = buffer->limit + 1;
  size_t twice = buffer->capacity <= most / 2 ? buffer->capacity * 2 : most;
  if (twice < SMALLEST)
    twice = most < SMALLEST ? most : SMALLEST;
  return twice > needed ? twice : needed;
}

static nxa_kind grow(nxa__buffer *buffer, size_t needed) {
  size_t capacity = grown(buffer, needed);
  char *data = nxa__reallocate(buffer->data, capacity);
  if (!data)
    return buffer->state = NXA_MEMORY;
  data[buffer->length] = '\0';
  buffer->data = data;
  buffer->capacity = capacity;
  return NXA_OK;
}

nxa_kind nxa__buffer_reserve(nxa__buffer *buffer, size_t more) {
  if (buffer->state != NXA_OK)
    return buffer->state;
  if (more > buffer->limit - buffer->length)
    return buffer->state = NXA_TOO_LARGE;
  size_t needed = buffer->length + more + 1;
  return needed <= buffer->capacity ? NXA_OK : grow(buffer, needed);
}

nxa_kind nxa__buffer_append(nxa__buffer *buffer, const char *bytes, size_t length) {
  if (nxa__buffer_reserve(buffer, length) != NXA_OK)
    return buffer->state;
  if (length)
    memcpy(buffer->data + buffer->length, bytes, length);
  buffer->length += length;
  buffer->data[buffer->length] = '\0';
  return NXA_OK;
}

nxa_kind nxa__buffer_append_text(nxa__buffer *buffer, const char *text) {
  return nxa__buffer_append(buffer, text, strlen(text));
}

nxa_kind nxa__buffer_append_byte(nxa__buffer *buffer, char byte) {
  return nxa__buffer_append(buffer, &byte, 1);
}

static nxa_kind append_formatted(nxa__buffer *buffer, const char *format, va_list arguments, va_list again) {
  char small[256];
  int length = vsnprintf(small, sizeof small, format, arguments);
  if (length < 0)
    return buffer->state = NXA_MEMORY;
  if ((size_t)length < sizeof small)
    return nxa__buffer_append(buffer, small, (size_t)length);
  if (nxa__buffer_reserve(buffer, (size_t)length) != NXA_OK)
    return buffer->state;
  vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
  buffer->length += (size_t)length;
  return NXA_OK;
}

nxa_kind nxa__buffer_append_format(nxa__buffer *buffer, const char *format, ...) {
  if (buffer->state != NXA_OK)
    return buffer->state;
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  append_formatted(buffer, format, arguments, again);
  va_end(again);
  va_end(arguments);
  return buffer->state;
}

void nxa__buffer_cut(nxa__buffer *buffer, size_t length) {
  if (length > buffer->length)
    return;
  buffer->length = length;
  if (buffer->data)
    buffer->data[length] = '\0';
}

const char *nxa__buffer_text(const nxa__buffer *buffer) {
  return buffer->data ? buffer->data : "";
}
