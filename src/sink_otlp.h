/*
 * Delivery by OTLP/HTTP, in the background of nxa_engine_step. nxa_tracer_add_otlp is in the public header.
 *
 * Spans wait for their batch, which is made in pieces, compressed where that is wanted, and sent; never two at once. A
 * batch whose delivery failed in a way that may pass is sent again as it is, so that nothing overtakes it.
 */
#ifndef NXA_SINK_OTLP_H
#define NXA_SINK_OTLP_H

#include "export.h"

/* A sink as nxa_tracer_add_otlp makes it, for the tracer to take; NULL with NXA_INVALID or NXA_MEMORY. */
nxa__sink *nxa__otlp_new(nxa_engine *engine, const nxa_otlp_options *options, nxa_error *error);

#endif
