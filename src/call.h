/* Calls that the core makes for itself. */
#ifndef NXA_CALL_H
#define NXA_CALL_H

#include "nexus_assistants.h"

typedef void (*nxa__call_done_fn)(nxa_call *call, void *data);

/*
 * nxa_call_start for a sink: doesn't count against max_transfers and raises no event.
 *
 * `done` is called once, from within nxa_engine_step or feed (never from within this function), or from within
 * nxa_engine_free with NXA_CLOSED. It may start calls, free this call or others, and free the tracer; not free or step
 * the engine. It isn't called for a call that its owner cancels or frees. The owner frees the call, also inside done.
 *
 * A request other than GET is never sent twice in one attempt: libcurl would otherwise repeat it by itself where a kept
 * connection turns out to be closed.
 */
nxa_call *nxa__call_start(nxa_engine *engine, const nxa_request *request, nxa__call_done_fn done, void *data,
                          nxa_error *error);

/* True where the request, or a part of it, went out in some attempt, so that the server may have acted on it. */
bool nxa__call_may_have_arrived(const nxa_call *call);

#endif
