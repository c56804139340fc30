/*
 * What sinks that speak OTLP have in common: the spans that wait for delivery, in the order of their ends, and the
 * batch that was made of the first of them. A trace's own span comes behind its others.
 *
 * With a spool, what ends is put into a page, too; then a batch is a page.
 */
#ifndef NXA_OTLP_QUEUE_H
#define NXA_OTLP_QUEUE_H

#include "export.h"
#include "otlp_page.h"

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
  nxa__otlp_pages pages;
  nxa__otlp_page *page;      /* what ends now is put there; NULL: into the next one */
  nxa__otlp_page *halves[2]; /* of the batch that is being split */
  nxa__link *unsplit;        /* what goes into them next */
} nxa__otlp_queue;

/* The words of the options of sinks; attributes that can't be read are warned of. False for want of memory. */
bool nxa__otlp_queue_init(nxa__otlp_queue *queue, nxa_engine *engine, nxa__sink *sink, const nxa__otlp_format *format,
                          const char *service_name, const char *resource_attributes, bool content);
/* What is on the disk stays there. */
void nxa__otlp_queue_free(nxa__otlp_queue *queue);
/* Keeps what is to come in a spool, of which this takes ownership, for the receiver of that URL. False for want of
 * memory. */
bool nxa__otlp_queue_spool(nxa__otlp_queue *queue, nxa__spool *spool, const char *receiver);

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
/* Begins to have the batch made again, of half of it; the other half is next. False where it is one span, or for want
 * of memory. */
bool nxa__otlp_queue_split(nxa__otlp_queue *queue);
/* Goes on with that; true once it is done. */
bool nxa__otlp_queue_split_some(nxa__otlp_queue *queue);
/* Whether all of the batch is in the spool now. */
bool nxa__otlp_queue_keep(nxa__otlp_queue *queue);
/* Notes on the disk whether the batch may be at the receiver. */
void nxa__otlp_queue_mark(nxa__otlp_queue *queue, bool sent);

/*
 * Each of these lets go of what isn't delivered: it is left in the spool, and has failed where it isn't there. They
 * return how many spans failed, those of traces included.
 */
size_t nxa__otlp_queue_leave(nxa__otlp_queue *queue);   /* the batch */
size_t nxa__otlp_queue_skip(nxa__otlp_queue *queue);    /* what would be in the next one */
size_t nxa__otlp_queue_give_up(nxa__otlp_queue *queue); /* all, also what could not be written before */
/* Leaves what would be in the batch after this one, where all of that is in the spool, and none is just being made. */
bool nxa__otlp_queue_relieve(nxa__otlp_queue *queue);

static inline bool nxa__otlp_queue_is_empty(const nxa__otlp_queue *queue) {
  return !queue->waiting.first && !queue->taken.first;
}

#endif
