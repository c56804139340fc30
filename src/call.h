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
/* Returns false to end the transfer. */
bool nxa__call_take_header(nxa_call *call, const char *line, size_t length);
typedef enum nxa__taking { NXA__TAKEN, NXA__TAKE_LATER, NXA__TAKE_NEVER } nxa__taking;
/* NXA__TAKE_LATER pauses the transfer; the same bytes are to come again. NXA__TAKE_NEVER ends it. */
nxa__taking nxa__call_take_body(nxa_call *call, const char *bytes, size_t length);
/*
 * The host's bytes for a part of the body, up to `room` of them; `index` counts the parts from the host. 0: the part is
 * over; CURL_READFUNC_PAUSE: the host has to send some first; CURL_READFUNC_ABORT: they are not wanted any more.
 */
size_t nxa__call_give(nxa_call *call, size_t index, char *buffer, size_t room);
/* True once an answer with a failed status has begun: its body is all that is to come. */
bool nxa__call_is_refused(const nxa_call *call);
/* Bytes of a part go out. */
void nxa__call_moved(nxa_call *call);
/* From now on the attempt's timeout counts anew: the host isn't waited for any more. */
void nxa__call_count_silence(nxa_call *call);
/* So many bytes have moved in all; of a request that asks for it. */
void nxa__call_progressed(nxa_call *call, int64_t moved);
/* A part can't be read any more, and the transfer will end; `reason` is static. */
void nxa__call_lose_part(nxa_call *call, size_t index, const char *reason);
/* Its transfer has ended, and is gone. */
void nxa__call_transfer_ended(nxa_call *call, nxa__outcome *outcome);
/* The engine is being freed. */
void nxa__call_close(nxa_call *call);

#endif
