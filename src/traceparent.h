/* W3C Trace Context: "00-<trace id>-<span id>-<flags>". */
#ifndef NXA_TRACEPARENT_H
#define NXA_TRACEPARENT_H

#include <stdbool.h>

/* Reads one of any version; false, and nothing written, where it is none. The ids are of 32 and 16 digits. */
bool nxa__traceparent_read(const char *text, char trace_id[33], char span_id[17]);

#endif
