#include "otlp_queue.h"

#include "alloc.h"

#define PIECE_BYTES ((size_t)64 << 10)
#define PIECE_SPANS 64

/* In the slot of a span or trace. */
typedef struct item {
  nxa__link link; /* in one of the queue's lists */
  nxa_span *span; /* or */
  nxa_trace *trace;
  bool lost; /* there was no memory to write it */
} item;

bool nxa__otlp_queue_init(nxa__otlp_queue *queue, nxa__sink *sink, const nxa__otlp_format *format,
                          const char *service_name, const char *resource_attributes, bool content, bool *understood) {
  queue->sink = sink;
  queue->format = format;
  queue->content = content;
  queue->batch.body = &queue->body;
  nxa__buffer_init(&queue->body, SIZE_MAX);
  return nxa__otlp_resource_make(&queue->resource, service_name, resource_attributes, understood);
}

void nxa__otlp_queue_free(nxa__otlp_queue *queue) {
  nxa__buffer_free(&queue->body);
  nxa__otlp_resource_free(&queue->resource);
}

/* ------------------------------------------------------------------------------------------------ taking */

static item *new_item(const nxa__otlp_queue *queue, nxa__record *record) {
  item *made = nxa__allocate_zeroed(sizeof *made);
  if (made)
    made->link.owner = made;
  record->slots[queue->sink->index] = made;
  return made;
}

void nxa__otlp_queue_start(nxa__otlp_queue *queue, nxa_trace *trace) {
  item *made = new_item(queue, &trace->record);
  if (made)
    made->trace = trace;
  else
    nxa__trace_settled(queue->sink, trace, false);
}

void nxa__otlp_queue_trace(nxa__otlp_queue *queue, nxa_trace *trace) {
  item *known = trace->record.slots[queue->sink->index];
  nxa__list_append(&queue->waiting, &known->link);
}

void nxa__otlp_queue_span(nxa__otlp_queue *queue, nxa_span *span) {
  item *made = new_item(queue, &span->record);
  if (!made) {
    nxa__span_settled(queue->sink, span, false);
    return;
  }
  made->span = span;
  nxa__list_append(&queue->waiting, &made->link);
}

/* ------------------------------------------------------------------------------------------------ settling */

static void settle(const nxa__otlp_queue *queue, const item *settled, bool delivered) {
  if (settled->span)
    nxa__span_settled(queue->sink, settled->span, delivered);
  else
    nxa__trace_settled(queue->sink, settled->trace, delivered);
}

void nxa__otlp_queue_settle(nxa__otlp_queue *queue, bool delivered, uint64_t rejected) {
  item *settled;
  while ((settled = nxa__list_take(&queue->taken))) {
    bool refused = rejected > 0; /* which they were isn't said: the count is right */
    rejected -= refused;
    settle(queue, settled, delivered && !refused && !settled->lost);
  }
  nxa__buffer_clear(&queue->body);
  queue->batch.spans = 0;
}

void nxa__otlp_queue_skip(nxa__otlp_queue *queue) {
  for (int i = 0; i < NXA__OTLP_BATCH_SPANS && queue->waiting.first; i++)
    settle(queue, nxa__list_take(&queue->waiting), false);
}

size_t nxa__otlp_queue_give_up(nxa__otlp_queue *queue) {
  size_t count = queue->taken.count + queue->waiting.count;
  item *settled;
  nxa__otlp_queue_settle(queue, false, 0);
  while ((settled = nxa__list_take(&queue->waiting)))
    settle(queue, settled, false);
  return count;
}

/* ------------------------------------------------------------------------------------------------ writing */

static bool describe(nxa__otlp_queue *queue, const item *next) {
  return next->span ? nxa__otlp_of_span(&queue->scratch, next->span, queue->content)
                    : nxa__otlp_of_trace(&queue->scratch, next->trace, queue->content);
}

/* Where memory runs out in the middle of a span, the body ends before it. */
static bool write_item(nxa__otlp_queue *queue, const item *next) {
  size_t length = queue->body.length;
  size_t spans = queue->batch.spans;
  if (!describe(queue, next))
    return false;
  queue->format->span(&queue->batch, &queue->scratch);
  nxa__otlp_span_free(&queue->scratch);
  if (queue->body.state == NXA_OK)
    return true;
  queue->body.state = NXA_OK;
  nxa__buffer_cut(&queue->body, length);
  queue->batch.spans = spans;
  return false;
}

/* What is lost stays in the batch: settling a trace would take its other spans along. */
static void take_next(nxa__otlp_queue *queue) {
  item *next = nxa__list_take(&queue->waiting);
  next->lost = queue->body.state != NXA_OK || !write_item(queue, next);
  nxa__list_append(&queue->taken, &next->link);
}

static bool is_full(const nxa__otlp_queue *queue) {
  return !queue->waiting.first || queue->taken.count >= NXA__OTLP_BATCH_SPANS ||
         queue->body.length >= NXA__OTLP_BATCH_BYTES;
}

bool nxa__otlp_queue_write(nxa__otlp_queue *queue) {
  size_t start = queue->body.length;
  if (!queue->taken.first)
    queue->format->begin(&queue->batch, &queue->resource);
  for (int i = 0; i < PIECE_SPANS && !is_full(queue) && queue->body.length - start < PIECE_BYTES; i++)
    take_next(queue);
  if (!is_full(queue))
    return false;
  queue->format->end(&queue->batch);
  return true;
}
