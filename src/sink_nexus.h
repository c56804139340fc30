/*
 * Delivery to Nexus's REST API, in the background of nxa_engine_step. nxa_tracer_add_nexus is in the public header.
 *
 * The API can neither change a span nor take several at once, and a child needs its parent's server id. So a span is
 * posted once it has ended and its parent was posted, many side by side. A trace is created at its end, or a while
 * after its start where it still runs; one created while it ran is ended by a PATCH.
 */
#ifndef NXA_SINK_NEXUS_H
#define NXA_SINK_NEXUS_H

#include "export.h"
#include "spool.h"

/* A sink as nxa_tracer_add_nexus makes it of its options, for the tracer to take; NULL with NXA_INVALID or NXA_MEMORY.
 */
nxa__sink *nxa__nexus_new(nxa_engine *engine, const void *options, nxa_error *error);

/* The spool of the tracer's Nexus sink, NULL without one. */
nxa__spool *nxa__nexus_spool(const nxa_tracer *tracer);
/* Whether it is worth while to ask Nexus anything more as the tracer closes. */
bool nxa__nexus_is_reachable(const nxa_tracer *tracer);
/* Whether a warning said that Nexus doesn't take what there is. */
bool nxa__nexus_has_told(const nxa_tracer *tracer);
/* Somebody else found that Nexus takes traces again: new ones are sent once more. */
void nxa__nexus_resume(const nxa_tracer *tracer);

/* Ends the spool of a tracer that is closed: what is left there is others' to deliver. */
void nxa__nexus_release_spool(const nxa_tracer *tracer);

#endif
