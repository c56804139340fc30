/*
 * Any cut of a stream into pieces gives the same events. The first bytes of the input say how it is cut and what the
 * most of one event is.
 */
#include <stdint.h>
#include <stdlib.h>

#include "sse_property.h"

enum { HEAD = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < HEAD)
    return 0;
  uint32_t seed = (uint32_t)data[0] | (uint32_t)data[1] << 8;
  size_t largest = (size_t)data[2] % 32 + 1, limit = data[3] < 128 ? 1 << 20 : data[3];
  if (!sse_cuts_agree((const char *)data + HEAD, size - HEAD, limit, largest, seed))
    abort();
  return 0;
}
