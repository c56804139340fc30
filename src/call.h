/* Calls that the core makes for itself. */
#ifndef NXA_CALL_H
#define NXA_CALL_H

#include "failure.h"
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

/* ---- between calls and the engine; `data` arrives within libcurl's callbacks, the rest outside of them */

/* It is this call's turn: begins an attempt. */
void nxa__call_begin(nxa_call *call);
/* Both return false to end the transfer. */
bool nxa__call_take_header(nxa_call *call, const char *line, size_t length);
bool nxa__call_take_body(nxa_call *call, const char *bytes, size_t length);
/* Its transfer has ended, and is gone. */
void nxa__call_transfer_ended(nxa_call *call, nxa__outcome *outcome);
/* The engine is being freed. */
void nxa__call_close(nxa_call *call);

#endif
