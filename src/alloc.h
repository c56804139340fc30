/* The replaceable allocator. All of the library's own memory comes from here; every function may return NULL. */
#ifndef NXA_ALLOC_H
#define NXA_ALLOC_H

#include <stddef.h>

void *nxa__allocate(size_t size);
void *nxa__allocate_zeroed(size_t size);
/* As realloc: on failure the old block stays. */
void *nxa__reallocate(void *block, size_t size);
void nxa__release(void *block);

/* Copies with a terminating zero; `length` bytes may hold anything. */
char *nxa__copy_bytes(const void *bytes, size_t length);
char *nxa__copy_string(const char *string);

/* Overwrites in a way the compiler may not leave out: for secrets, before they are released. */
void nxa__wipe(void *block, size_t size);

#endif
