/* Time: nanoseconds of the monotonic clock and since 1970, and a fake of both for tests. */
#ifndef NXA_CLOCK_H
#define NXA_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

int64_t nxa__monotonic_ns(void);
int64_t nxa__wall_ns(void);

/* Stops both clocks at these times, until called again or nxa__clock_real. */
void nxa__clock_fake(int64_t monotonic_ns, int64_t wall_ns);
void nxa__clock_real(void);
bool nxa__clock_is_fake(void);
/* The true monotonic clock, also while it is faked: for budgets and libcurl's timer. */
int64_t nxa__monotonic_true_ns(void);

/* Seconds to nanoseconds, kept within ±146 years; NaN is 0. */
int64_t nxa__ns_of(double seconds);
double nxa__seconds_of(int64_t ns);

static inline int64_t nxa__earlier(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static inline int64_t nxa__later(int64_t a, int64_t b) {
  return a > b ? a : b;
}

#endif
