#include "descriptors.h"

#include <string.h>

#include "alloc.h"

void nxa__descriptors_free(nxa__descriptors *table) {
  nxa__release(table->entries);
  memset(table, 0, sizeof *table);
}

bool nxa__descriptors_reserve(nxa__descriptors *table, size_t capacity) {
  if (capacity <= table->capacity)
    return true;
  size_t doubled = table->capacity * 2;
  capacity = capacity > doubled ? capacity : doubled;
  struct pollfd *entries = nxa__reallocate(table->entries, capacity * sizeof *entries);
  if (!entries)
    return false;
  table->entries = entries;
  table->capacity = capacity;
  return true;
}

long nxa__descriptors_add(nxa__descriptors *table, int fd, short events) {
  if (table->count == table->capacity)
    return -1;
  table->entries[table->count] = (struct pollfd){.fd = fd, .events = events, .revents = 0};
  return (long)table->count++;
}

bool nxa__descriptors_remove(nxa__descriptors *table, size_t index) {
  size_t last = --table->count;
  if (index == last)
    return false;
  table->entries[index] = table->entries[last];
  return true;
}

long nxa__descriptors_find(const nxa__descriptors *table, int fd) {
  for (size_t i = 0; i < table->count; i++)
    if (table->entries[i].fd == fd)
      return (long)i;
  return -1;
}

bool nxa__descriptors_next_ready(nxa__descriptors *table, int *fd, short *seen) {
  for (size_t looked = 0; looked < table->count; looked++) {
    if (table->cursor >= table->count)
      table->cursor = 0;
    /* the cursor stays while this one is handled: if it goes away, the one moved here is the next to look at */
    struct pollfd *entry = &table->entries[table->cursor];
    *fd = entry->fd;
    *seen = entry->revents;
    entry->revents = 0;
    if (*seen)
      return true;
    table->cursor++;
  }
  return false;
}
