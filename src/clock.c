#include "clock.h"

#include <time.h>

static struct {
  bool on;
  int64_t monotonic_ns, wall_ns;
} fake;

static int64_t read_clock(clockid_t clock) {
  struct timespec now = {0, 0};
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t nxa__monotonic_true_ns(void) {
  return read_clock(CLOCK_MONOTONIC);
}

int64_t nxa__monotonic_ns(void) {
  return fake.on ? fake.monotonic_ns : read_clock(CLOCK_MONOTONIC);
}

int64_t nxa__wall_ns(void) {
  return fake.on ? fake.wall_ns : read_clock(CLOCK_REALTIME);
}

void nxa__clock_fake(int64_t monotonic_ns, int64_t wall_ns) {
  fake.on = true;
  fake.monotonic_ns = monotonic_ns;
  fake.wall_ns = wall_ns;
}

void nxa__clock_real(void) {
  fake.on = false;
}

bool nxa__clock_is_fake(void) {
  return fake.on;
}

int64_t nxa__ns_of(double seconds) {
  /* half of what fits, so that adding two of them can't overflow */
  static const int64_t most = INT64_MAX / 2;
  if (seconds >= (double)most / 1e9)
    return most;
  if (seconds <= -(double)most / 1e9)
    return -most;
  return seconds == seconds ? (int64_t)(seconds * 1e9) : 0;
}

double nxa__seconds_of(int64_t ns) {
  return (double)ns / 1e9;
}
