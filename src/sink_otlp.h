/*
 * Delivery by OTLP/HTTP, in the background of nxa_engine_step. nxa_tracer_add_otlp is in the public header.
 *
 * Spans wait for their batch, which is made in pieces, compressed where that is wanted, and sent; never two at once. A
 * batch whose delivery failed in a way that may pass is sent again as it is, so that nothing overtakes it. What isn't
 * delivered is left in the spool, where there is one, for the Lua module to deliver.
 */
#ifndef NXA_SINK_OTLP_H
#define NXA_SINK_OTLP_H

#include "export.h"
#include "spool.h"

/* A sink as nxa_tracer_add_otlp makes it of its options, for the tracer to take; NULL with NXA_INVALID or NXA_MEMORY.
 */
nxa__sink *nxa__otlp_new(nxa_engine *engine, const void *options, nxa_error *error);

/* The spool of the tracer's first OTLP sink, NULL without one. */
nxa__spool *nxa__otlp_spool(const nxa_tracer *tracer);
/* Whether it is worth while to send it anything more as the tracer closes. */
bool nxa__otlp_is_reachable(const nxa_tracer *tracer);
/* How many of its batches were taken. */
uint64_t nxa__otlp_taken(const nxa_tracer *tracer);
/* Ends the spool of a tracer that is closed: what is left there is others' to deliver. */
void nxa__otlp_release_spool(const nxa_tracer *tracer);

#endif
