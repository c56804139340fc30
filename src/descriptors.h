/* The table of descriptors libcurl wants watched: dense, so that it is handed to poll as it is. */
#ifndef NXA_DESCRIPTORS_H
#define NXA_DESCRIPTORS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct nxa__descriptors {
  struct pollfd *entries;
  size_t count, capacity;
  size_t cursor; /* where the next look at ready ones begins */
} nxa__descriptors;

void nxa__descriptors_free(nxa__descriptors *table);
/* Makes room for so many in all, so that adding can't fail; false for want of memory. */
bool nxa__descriptors_reserve(nxa__descriptors *table, size_t capacity);
/* Returns the index, or -1 where there is no room. */
long nxa__descriptors_add(nxa__descriptors *table, int fd, short events);
/* The last entry takes the place of the removed one: true where there was one to move. */
bool nxa__descriptors_remove(nxa__descriptors *table, size_t index);
/* The index of a descriptor, or -1. */
long nxa__descriptors_find(const nxa__descriptors *table, int fd);
/* Takes what poll saw on the next ready one, going round; false where there is none left. */
bool nxa__descriptors_next_ready(nxa__descriptors *table, int *fd, short *seen);

#endif
