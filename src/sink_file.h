/* Spans in a file, as OTLP JSON Lines. nxa_tracer_add_file is in the public header. */
#ifndef NXA_SINK_FILE_H
#define NXA_SINK_FILE_H

#include "export.h"

/* A sink as nxa_tracer_add_file makes it of its options, for the tracer to take; NULL with NXA_INVALID or NXA_MEMORY.
 */
nxa__sink *nxa__file_new(nxa_engine *engine, const void *options, nxa_error *error);

#endif
