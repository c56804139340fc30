/* getrandom and arc4random are outside POSIX */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#ifndef _DARWIN_C_SOURCE
#define _DARWIN_C_SOURCE
#endif
#include "random.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#if defined(__linux__)
#include <sys/random.h>
#endif

static uint64_t scramble(uint64_t x) {
  x += UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

/* Good enough to keep ids apart, not to keep secrets: nothing secret is made here. */
static void weak_bytes(unsigned char *out, size_t count) {
  uint64_t state = (uint64_t)nxa__monotonic_true_ns() ^ (uint64_t)(uintptr_t)out;
  for (size_t i = 0; i < count; i++) {
    state = scramble(state);
    out[i] = (unsigned char)state;
  }
}

static size_t system_bytes(unsigned char *out, size_t count) {
#if defined(__linux__)
  ssize_t got = getrandom(out, count, GRND_NONBLOCK);
  return got > 0 ? (size_t)got : 0;
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__)
  arc4random_buf(out, count);
  return count;
#else
  (void)out;
  return 0;
#endif
}

void nxa__random_bytes(void *out, size_t count) {
  unsigned char *bytes = out;
  size_t got = system_bytes(bytes, count);
  if (got < count)
    weak_bytes(bytes + got, count - got);
}

double nxa__random_fraction(void) {
  uint64_t bits;
  nxa__random_bytes(&bits, sizeof bits);
  return (double)(bits >> 11) / 9007199254740992.0;
}
