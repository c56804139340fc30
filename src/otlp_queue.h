/*
 * What sinks that speak OTLP have in common: the spans that wait for delivery, in the order of their ends, and the
 * batch that was made of the first of them. A trace's own span comes behind its others.
 */
#ifndef NXA_OTLP_QUEUE_H
#define NXA_OTLP_QUEUE_H

#include "export.h"
#include "otlp.h"

#define NXA__OTLP_BATCH_SPANS 512
#define NXA__OTLP_BATCH_BYTES ((size_t)1 << 20) /* begun by a span below it */

typedef struct nxa__otlp_queue {
  nxa__sink *sink;
  const nxa__otlp_format *format;
  nxa__otlp_resource resource;
  bool content;
  nxa__list waiting;
  nxa__list taken; /* in the batch */
  nxa__otlp_batch batch;
  nxa__buffer body;
  nxa__otlp_span scratch;
} nxa__otlp_queue;

/* The words of the options of sinks. False for want of memory; `*understood` as of nxa__otlp_resource_make. */
bool nxa__otlp_queue_init(nxa__otlp_queue *queue, nxa__sink *sink, const nxa__otlp_format *format,
                          const char *service_name, const char *resource_attributes, bool content, bool *understood);
void nxa__otlp_queue_free(nxa__otlp_queue *queue);

/* A trace has started; where there is no memory for it, it is settled as failed. */
void nxa__otlp_queue_start(nxa__otlp_queue *queue, nxa_trace *trace);
/* Take what has ended. */
void nxa__otlp_queue_span(nxa__otlp_queue *queue, nxa_span *span);
void nxa__otlp_queue_trace(nxa__otlp_queue *queue, nxa_trace *trace);

/*
 * Writes some more of a batch, so that a step's budget counts in between. True once it is whole: in `body`, unless that
 * says otherwise. What could not be written has failed once the batch is settled; there may be no span left.
 */
bool nxa__otlp_queue_write(nxa__otlp_queue *queue);
/* Settles the batch, of which `rejected` spans were not taken, and empties the body. */
void nxa__otlp_queue_settle(nxa__otlp_queue *queue, bool delivered, uint64_t rejected);
/* Settles as failed what would be in the next batch; there must be none under way, so that it is the oldest. */
void nxa__otlp_queue_skip(nxa__otlp_queue *queue);
/* Settles the batch and all that waits as failed. Returns how many spans these were, those of traces included. */
size_t nxa__otlp_queue_give_up(nxa__otlp_queue *queue);

static inline bool nxa__otlp_queue_is_empty(const nxa__otlp_queue *queue) {
  return !queue->waiting.first && !queue->taken.first;
}

#endif
