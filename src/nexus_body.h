/* What Nexus's REST API is sent: the bodies of its requests. */
#ifndef NXA_NEXUS_BODY_H
#define NXA_NEXUS_BODY_H

#include <stddef.h>

#include "buffer.h"
#include "trace.h"

/* A row above about 2.1 MB gets 500 for ever. */
#define NXA__NEXUS_ROW_BYTES 2000000

/*
 * Each appends one body; a failure is the buffer's. `cut` is increased by the fields that had to be shortened for the
 * row to fit.
 */

/* Creates the trace; "running" and without an end where it has not ended. */
void nxa__nexus_put_trace(nxa__buffer *body, const nxa_trace *trace, uint64_t *cut);
/* Ends a trace that was created before it had ended. */
void nxa__nexus_put_end(nxa__buffer *body, const nxa_trace *trace);
/*
 * Nexus ignores metadata when a trace is changed. What was added to a trace after it was created goes into a last span,
 * "trace.end": the whole metadata as its output, the trace's error as its error.
 */
void nxa__nexus_put_last_span(nxa__buffer *body, const nxa_trace *trace, uint64_t *cut);
/*
 * A span, without an end where it has none; `parent_id` is Nexus's, or "". There is no field for type and metadata:
 * where there are any, `input` becomes
 * {"type":…,"metadata":{…},"input":…,"span_id":"…"}.
 */
void nxa__nexus_put_span(nxa__buffer *body, const nxa_span *span, const char *parent_id, uint64_t *cut);

#endif
