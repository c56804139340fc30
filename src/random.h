/* Random bytes, for ids and for spreading retries. */
#ifndef NXA_RANDOM_H
#define NXA_RANDOM_H

#include <stddef.h>

/* From the system; where that fails, from a generator seeded with clocks and addresses. Never fails, never blocks. */
void nxa__random_bytes(void *out, size_t count);
/* 0 ≤ x < 1 */
double nxa__random_fraction(void);

#endif
