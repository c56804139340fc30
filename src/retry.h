/* Whether and when to try again. Pure: no clock, no generator, no memory. */
#ifndef NXA_RETRY_H
#define NXA_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nexus_assistants.h"

typedef struct nxa__retry_facts {
  nxa_kind kind;      /* how the last attempt failed */
  int status;         /* its HTTP status, 0 where no answer came */
  int attempts;       /* made so far, at least 1 */
  int retries;        /* allowed after the first */
  int should_retry;   /* what x-should-retry said: 1, 0, or -1 where absent */
  double retry_after; /* seconds the server asked to wait, negative where absent */
  double remaining;   /* seconds to the deadline */
  bool hopeless;      /* the next attempt would fail for the same reason */
} nxa__retry_facts;

/* Seconds to wait before the next attempt, or negative: give up. `random` is of [0, 1). */
double nxa__retry_delay(const nxa__retry_facts *facts, double random);

/* Seconds asked for by a retry-after header (seconds or an HTTP date), negative where it says nothing usable. */
double nxa__retry_after(const char *value, int64_t wall_ns);
/* The same for headers in milliseconds: retry-after-ms, openai-poll-after-ms. */
double nxa__milliseconds_header(const char *value);

#endif
