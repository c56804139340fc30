/* The bytes that the host sends for parts of a body, held until libcurl takes them; bounded. */
#ifndef NXA_SOURCE_H
#define NXA_SOURCE_H

#include "buffer.h"
#include "nexus_assistants.h"
#include "parts.h"

enum { NXA__SOURCE_HELD_MAX = 1 << 20 };

typedef struct nxa__source_part {
  nxa__buffer bytes;
  size_t at;     /* what comes before was taken */
  int64_t size;  /* of the part, negative: not known */
  int64_t given; /* by the host so far */
  bool ended;
} nxa__source_part;

typedef struct nxa__source {
  bool taken;     /* some of it: it can't be sent once more */
  size_t held;    /* bytes not taken yet */
  size_t current; /* the part that the host sends for */
  size_t count;
  nxa__source_part parts[];
} nxa__source;

/* NULL for want of memory. */
nxa__source *nxa__source_new(const nxa__parts *parts);
void nxa__source_free(nxa__source *source);
/* NXA_TOO_LARGE where too much would be held, NXA_INVALID where no part wants it, NXA_MEMORY: nothing was kept then. */
nxa_kind nxa__source_put(nxa__source *source, const char *bytes, size_t length);
/* Ends the current part; NXA_INVALID where there is none, or where bytes of it are missing. */
nxa_kind nxa__source_end(nxa__source *source);
/* Takes up to `room` bytes of that part. */
size_t nxa__source_take(nxa__source *source, size_t index, char *buffer, size_t room);
/* True where nothing more is to come of that part. */
bool nxa__source_is_over(const nxa__source *source, size_t index);

#endif
