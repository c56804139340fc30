#include "alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nexus_assistants.h"

static struct {
  void *(*allocate)(size_t);
  void *(*reallocate)(void *, size_t);
  void (*release)(void *);
} functions = {malloc, realloc, free};

void nxa_set_allocator(void *(*allocate)(size_t), void *(*reallocate)(void *, size_t), void (*release)(void *)) {
  bool complete = allocate && reallocate && release;
  functions.allocate = complete ? allocate : malloc;
  functions.reallocate = complete ? reallocate : realloc;
  functions.release = complete ? release : free;
}

void *nxa__allocate(size_t size) {
  return functions.allocate(size ? size : 1);
}

void *nxa__allocate_zeroed(size_t size) {
  void *block = nxa__allocate(size);
  if (block)
    memset(block, 0, size);
  return block;
}

void *nxa__reallocate(void *block, size_t size) {
  return block ? functions.reallocate(block, size ? size : 1) : nxa__allocate(size);
}

void nxa__release(void *block) {
  if (block)
    functions.release(block);
}

char *nxa__copy_bytes(const void *bytes, size_t length) {
  if (length == SIZE_MAX)
    return NULL;
  char *copy = nxa__allocate(length + 1);
  if (!copy)
    return NULL;
  if (length)
    memcpy(copy, bytes, length);
  copy[length] = '\0';
  return copy;
}

char *nxa__copy_string(const char *string) {
  return nxa__copy_bytes(string, strlen(string));
}

void nxa__wipe(void *block, size_t size) {
  volatile unsigned char *bytes = block;
  while (size--)
    *bytes++ = 0;
}
