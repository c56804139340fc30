/* A sink for traces that go nowhere from here: the host does with them what it wants, and needs their ids. */
#ifndef NXA_SINK_NONE_H
#define NXA_SINK_NONE_H

#include "export.h"

/* Adds one to the tracer: what ends counts as delivered at once. NXA_OK, NXA_INVALID, NXA_CLOSED or NXA_MEMORY. */
nxa_kind nxa__tracer_add_none(nxa_tracer *tracer, nxa_error *error);

#endif
