#include "otlp_queue.h"

#include "alloc.h"

#define PIECE_BYTES ((size_t)64 << 10)
#define PIECE_SPANS 64

/* In the slot of a span or trace. */
typedef struct item {
  nxa__link link; /* in one of the queue's lists */
  nxa_span *span; /* or */
  nxa_trace *trace;
  nxa__otlp_page *page; /* NULL for none */
  bool kept;            /* it is in the page's file */
  bool left;            /* it is in a file that was left, and settled with the batch it is in */
  bool lost;            /* it isn't in the batch that it is settled with */
} item;

bool nxa__otlp_queue_init(nxa__otlp_queue *queue, nxa_engine *engine, nxa__sink *sink, const nxa__otlp_format *format,
                          const char *service_name, const char *resource_attributes, bool content) {
  bool understood = true;
  queue->sink = sink;
  queue->format = format;
  queue->content = content;
  queue->batch.body = &queue->body;
  nxa__buffer_init(&queue->body, SIZE_MAX);
  nxa__buffer_init(&queue->pages.lines, SIZE_MAX);
  bool made = nxa__otlp_resource_make(&queue->resource, service_name, resource_attributes, &understood);
  if (!understood)
    nxa__engine_warn(engine, "resource attributes are left out: they aren't \"name=value,…\"");
  return made;
}

bool nxa__otlp_queue_spool(nxa__otlp_queue *queue, nxa__spool *spool, const char *receiver) {
  nxa__otlp_pages *pages = &queue->pages;
  nxa__otlp_pages_keep(pages, spool);
  pages->format = queue->format;
  pages->resource = &queue->resource;
  pages->receiver = nxa__copy_string(receiver);
  return pages->receiver != NULL;
}

/* ------------------------------------------------------------------------------------------------ pages */

static void join(item *joining, nxa__otlp_page *page) {
  joining->page = page;
  page->members++;
}

static void let_page_go(nxa__otlp_queue *queue, nxa__otlp_page *page, bool stays) {
  if (--page->members > 0)
    return;
  if (queue->page == page)
    queue->page = NULL;
  nxa__otlp_page_free(&queue->pages, page, stays);
}

static void part(nxa__otlp_queue *queue, item *parting, bool stays) {
  nxa__otlp_page *page = parting->page;
  parting->page = NULL;
  if (page)
    let_page_go(queue, page, stays);
}

static void part_all(nxa__otlp_queue *queue, const nxa__list *list) {
  for (nxa__link *link = list->first; link; link = link->next)
    part(queue, link->owner, true);
}

/* Else a span might be on the disk twice. */
static void finish_split(nxa__otlp_queue *queue) {
  while (queue->unsplit && !nxa__otlp_queue_split_some(queue))
    ;
}

void nxa__otlp_queue_free(nxa__otlp_queue *queue) {
  finish_split(queue);
  part_all(queue, &queue->taken);
  part_all(queue, &queue->waiting);
  nxa__spool_free(queue->pages.spool);
  nxa__release(queue->pages.receiver);
  nxa__buffer_free(&queue->pages.lines);
  nxa__buffer_free(&queue->body);
  nxa__otlp_resource_free(&queue->resource);
}

static bool describe(nxa__otlp_queue *queue, const item *next) {
  return next->span ? nxa__otlp_of_span(&queue->scratch, next->span, queue->content)
                    : nxa__otlp_of_trace(&queue->scratch, next->trace, queue->content);
}

typedef bool (*putting)(nxa__otlp_pages *, nxa__otlp_page *, const nxa__otlp_span *);

static void put(nxa__otlp_queue *queue, item *ended, putting put_in) {
  bool described = queue->pages.spool && describe(queue, ended);
  ended->kept = put_in(&queue->pages, ended->page, described ? &queue->scratch : NULL);
  if (described)
    nxa__otlp_span_free(&queue->scratch);
}

/* Where there is no memory for a page it is in none. */
static void keep(nxa__otlp_queue *queue, item *ended) {
  if (!queue->pages.spool)
    return;
  if (!queue->page || nxa__otlp_page_is_full(&queue->pages, queue->page))
    queue->page = nxa__otlp_page_new(&queue->pages, &queue->sink->tracer->stats);
  if (!queue->page)
    return;
  join(ended, queue->page);
  put(queue, ended, nxa__otlp_page_put);
}

static nxa__otlp_page *first_page(const nxa__list *list) {
  const item *first = list->first ? list->first->owner : NULL;
  return first ? first->page : NULL;
}

void nxa__otlp_queue_mark(nxa__otlp_queue *queue, bool sent) {
  nxa__otlp_page *page = first_page(&queue->taken);
  if (page)
    nxa__otlp_page_mark(&queue->pages, page, sent);
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
  keep(queue, known);
  nxa__list_append(&queue->waiting, &known->link);
}

void nxa__otlp_queue_span(nxa__otlp_queue *queue, nxa_span *span) {
  item *made = new_item(queue, &span->record);
  if (!made) {
    nxa__span_settled(queue->sink, span, false);
    return;
  }
  made->span = span;
  keep(queue, made);
  nxa__list_append(&queue->waiting, &made->link);
}

/* ------------------------------------------------------------------------------------------------ settling */

static void settle(nxa__otlp_queue *queue, item *settled, bool delivered) {
  part(queue, settled, false);
  if (settled->span)
    nxa__span_settled(queue->sink, settled->span, delivered);
  else
    nxa__trace_settled(queue->sink, settled->trace, delivered);
}

static void settle_spooled(nxa__otlp_queue *queue, item *settled) {
  part(queue, settled, false);
  if (settled->span)
    nxa__span_spooled(queue->sink, settled->span);
  else
    nxa__trace_spooled(queue->sink, settled->trace);
}

static void empty_body(nxa__otlp_queue *queue) {
  nxa__buffer_clear(&queue->body);
  queue->batch.spans = 0;
}

void nxa__otlp_queue_settle(nxa__otlp_queue *queue, bool delivered, uint64_t rejected) {
  item *settled;
  while ((settled = nxa__list_take(&queue->taken))) {
    if (settled->left) {
      settle_spooled(queue, settled);
      continue;
    }
    bool refused = rejected > 0; /* which they were isn't said: the count is right */
    rejected -= refused;
    settle(queue, settled, delivered && !refused && !settled->lost);
  }
  empty_body(queue);
}

/* ------------------------------------------------------------------------------------------------ leaving */

static void write_missing(nxa__otlp_queue *queue, const nxa__list *list, const nxa__otlp_page *page) {
  nxa__link *link = list->first;
  for (; link && page->missing > 0 && nxa__otlp_page_can_grow(&queue->pages, page); link = link->next) {
    item *next = link->owner;
    if (next->page == page && !next->kept && !next->left)
      put(queue, next, nxa__otlp_page_put_again);
  }
}

static void note_deleted(const nxa__list *list, nxa__otlp_page *page) {
  for (nxa__link *link = list->first; link; link = link->next) {
    item *next = link->owner;
    if (next->page == page && next->kept) {
      next->kept = false;
      page->missing++;
    }
  }
}

/* Of the page that is the first in the list; all that is in it is in the list. Returns whether it is on the disk now.
 */
static bool complete(nxa__otlp_queue *queue, const nxa__list *list, nxa__otlp_page *page) {
  if (nxa__otlp_page_was_deleted(&queue->pages, page))
    note_deleted(list, page);
  write_missing(queue, list, page);
  return nxa__otlp_page_is_whole(page);
}

bool nxa__otlp_queue_keep(nxa__otlp_queue *queue) {
  nxa__otlp_page *page = first_page(&queue->taken);
  return page && complete(queue, &queue->taken, page);
}

/* Spans that end before their trace are in front of it: those that wait are let go of before. */
static bool has_spans_in_batch(const nxa__otlp_queue *queue, const nxa_trace *trace) {
  const nxa__link *link = queue->taken.first ? trace->spans.first : NULL;
  while (link && !(((nxa_span *)link->owner)->record.wanted & 1u << queue->sink->index))
    link = link->next;
  return link != NULL;
}

/* A trace is settled after its spans: where these are in the batch, with that. */
static void let_go(nxa__otlp_queue *queue, item *leaving, bool spooled) {
  bool left = spooled || leaving->left;
  if (leaving->trace && has_spans_in_batch(queue, leaving->trace)) {
    part(queue, leaving, false);
    leaving->left = left;
    leaving->lost = !left;
    nxa__list_append(&queue->taken, &leaving->link);
  } else if (left) {
    settle_spooled(queue, leaving);
  } else {
    settle(queue, leaving, false);
  }
}

/* Returns whether it failed. */
static bool leave_first(nxa__otlp_queue *queue, nxa__list *list, bool there) {
  item *leaving = nxa__list_take(list);
  bool spooled = there && leaving->kept, failed = !spooled && !leaving->left;
  let_go(queue, leaving, spooled);
  return failed;
}

/* Of the page that the first in the list is in; that one alone where it is in none. Returns how many failed. */
static size_t leave_page(nxa__otlp_queue *queue, nxa__list *list) {
  nxa__otlp_page *page = first_page(list);
  size_t failed = 0;
  if (!page)
    return leave_first(queue, list, false);
  page->members++; /* it stays for as long as this takes */
  complete(queue, list, page);
  bool there = nxa__otlp_page_leave(&queue->pages, page);
  while (first_page(list) == page)
    failed += leave_first(queue, list, there);
  let_page_go(queue, page, false);
  return failed;
}

/* Puts the batch back to where it was taken from. */
static void put_back(nxa__otlp_queue *queue) {
  item *next;
  while ((next = nxa__list_take(&queue->waiting)))
    nxa__list_append(&queue->taken, &next->link);
  while ((next = nxa__list_take(&queue->taken)))
    nxa__list_append(&queue->waiting, &next->link);
  empty_body(queue);
}

size_t nxa__otlp_queue_leave(nxa__otlp_queue *queue) {
  size_t failed = 0, rest = queue->waiting.count;
  put_back(queue);
  while (queue->waiting.count > rest)
    failed += leave_page(queue, &queue->waiting);
  return failed;
}

size_t nxa__otlp_queue_skip(nxa__otlp_queue *queue) {
  size_t failed = 0;
  if (queue->pages.spool && queue->waiting.first)
    return leave_page(queue, &queue->waiting);
  for (int i = 0; i < NXA__OTLP_BATCH_SPANS && queue->waiting.first; i++)
    failed += leave_page(queue, &queue->waiting);
  return failed;
}

bool nxa__otlp_queue_relieve(nxa__otlp_queue *queue) {
  nxa__otlp_page *next = first_page(&queue->waiting);
  if (!next || next == first_page(&queue->taken) || !complete(queue, &queue->waiting, next))
    return false;
  leave_page(queue, &queue->waiting);
  return true;
}

/* ------------------------------------------------------------------------------------------------ splitting */

static nxa__otlp_page *new_half(nxa__otlp_queue *queue) {
  nxa__otlp_page *half = nxa__otlp_page_new(&queue->pages, &queue->sink->tracer->stats);
  if (half)
    half->members++; /* it stays until the batch is split */
  return half;
}

static void release_halves(nxa__otlp_queue *queue) {
  for (int i = 0; i < 2; i++)
    if (queue->halves[i])
      let_page_go(queue, queue->halves[i], false);
  queue->halves[0] = queue->halves[1] = NULL;
}

bool nxa__otlp_queue_split(nxa__otlp_queue *queue) {
  if (queue->batch.spans < 2)
    return false;
  queue->halves[0] = new_half(queue);
  queue->halves[1] = new_half(queue);
  if (queue->halves[0] && queue->halves[1]) {
    queue->unsplit = queue->taken.first;
    return true;
  }
  release_halves(queue);
  return false;
}

static void move_to_half(nxa__otlp_queue *queue, item *moving) {
  bool is_second = moving->left || queue->halves[0]->spans >= queue->batch.spans / 2;
  nxa__otlp_page *whole = moving->page;
  join(moving, queue->halves[is_second]);
  if (!moving->left)
    put(queue, moving, nxa__otlp_page_put);
  if (whole)
    let_page_go(queue, whole, false);
}

static size_t moved_bytes(const nxa__otlp_queue *queue) {
  return queue->halves[0]->bytes + queue->halves[1]->bytes;
}

/* The halves are on the disk before what they are of is taken away. */
bool nxa__otlp_queue_split_some(nxa__otlp_queue *queue) {
  size_t start = moved_bytes(queue);
  for (int i = 0; i < PIECE_SPANS && queue->unsplit && moved_bytes(queue) - start < PIECE_BYTES; i++) {
    item *moving = queue->unsplit->owner;
    queue->unsplit = queue->unsplit->next;
    move_to_half(queue, moving);
  }
  if (queue->unsplit)
    return false;
  put_back(queue);
  release_halves(queue);
  return true;
}

size_t nxa__otlp_queue_give_up(nxa__otlp_queue *queue) {
  size_t failed = 0;
  nxa__spool_try_again(queue->pages.spool);
  finish_split(queue);
  put_back(queue);
  while (queue->waiting.first)
    failed += leave_page(queue, &queue->waiting);
  return failed;
}

/* ------------------------------------------------------------------------------------------------ writing */

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
  if (next->page && next->page == queue->page)
    queue->page = NULL; /* what ends now isn't in the batch */
  if (!next->left)
    next->lost = queue->body.state != NXA_OK || !write_item(queue, next);
  nxa__list_append(&queue->taken, &next->link);
}

/* Where there are pages, one is a batch. */
static bool is_full(const nxa__otlp_queue *queue) {
  const item *first = queue->taken.first ? queue->taken.first->owner : NULL;
  const item *next = queue->waiting.first ? queue->waiting.first->owner : NULL;
  if (next && first && (first->page || next->page))
    return first->page != next->page;
  return !next || queue->taken.count >= NXA__OTLP_BATCH_SPANS || queue->body.length >= NXA__OTLP_BATCH_BYTES;
}

/* Once more to encode it costs more than to read it. */
static bool read_page(nxa__otlp_queue *queue) {
  nxa__otlp_page *page = first_page(&queue->waiting);
  if (!page || !nxa__otlp_page_read(&queue->pages, page, &queue->batch))
    return false;
  if (queue->page == page)
    queue->page = NULL; /* what ends now isn't in the batch */
  while (first_page(&queue->waiting) == page) {
    item *next = nxa__list_take(&queue->waiting);
    next->lost = false; /* of a batch that was halved: there was memory for its half */
    nxa__list_append(&queue->taken, &next->link);
  }
  return true;
}

bool nxa__otlp_queue_write(nxa__otlp_queue *queue) {
  size_t start = queue->body.length;
  if (!queue->taken.first) {
    queue->format->begin(&queue->batch, &queue->resource);
    if (read_page(queue)) {
      queue->format->end(&queue->batch);
      return true;
    }
  }
  for (int i = 0; i < PIECE_SPANS && !is_full(queue) && queue->body.length - start < PIECE_BYTES; i++)
    take_next(queue);
  if (!is_full(queue))
    return false;
  queue->format->end(&queue->batch);
  return true;
}
