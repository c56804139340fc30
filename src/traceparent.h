/* W3C Trace Context: "00-<trace id>-<span id>-<flags>". */
#ifndef NXA_TRACEPARENT_H
#define NXA_TRACEPARENT_H

#include <stdbool.h>

typedef struct nxa__traceparent {
  char trace_id[33];
  char span_id[17];
  char flags[3]; /* two digits; those alone that are known here */
} nxa__traceparent;

/* Reads one of any version; false, and nothing written, where it is none. */
bool nxa__traceparent_read(const char *text, nxa__traceparent *out);

#endif
