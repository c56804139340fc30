/* Lists as OpenTelemetry's environment variables have them: "name=value,name=value", percent-encoded. */
#ifndef NXA_PAIRS_H
#define NXA_PAIRS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct nxa__pair {
  char *name;
  size_t name_length;
  char *value;
  size_t value_length;
} nxa__pair;

/*
 * Takes the next pair of the list at `*rest`, which is decoded in place, and moves on. False behind the last, and where
 * the list can't be read: then `*broken` is set.
 */
bool nxa__next_pair(char **rest, nxa__pair *pair, bool *broken);

#endif
