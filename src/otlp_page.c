#include "otlp_page.h"

#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "text.h"

#define SENT "{\"sent\":"
#define LINES_KEPT ((size_t)256 << 10) /* of memory between two uses */
#define PAGES_LEAST 4                  /* the oldest goes, the others stay */
#define SPOOL_LEAST 1024               /* what is below holds no page */

/* A page is the oldest of its spool as soon as it is larger than that; so pages are small where that is. */
void nxa__otlp_pages_keep(nxa__otlp_pages *pages, nxa__spool *spool) {
  size_t most = nxa__spool_most(spool);
  pages->spool = spool;
  pages->most = NXA__OTLP_BATCH_BYTES;
  if (most >= SPOOL_LEAST && most / PAGES_LEAST < pages->most)
    pages->most = most / PAGES_LEAST;
}

nxa__otlp_page *nxa__otlp_page_new(const nxa__otlp_pages *pages, nxa_stats *stats) {
  nxa__otlp_page *page = nxa__allocate_zeroed(sizeof *page);
  if (page && pages->spool) {
    nxa__spool_count_in(pages->spool, stats);
    page->file = nxa__spool_take(pages->spool);
  }
  return page;
}

/* ------------------------------------------------------------------------------------------------ writing */

static void end_line(const nxa__otlp_pages *pages, nxa__buffer *lines) {
  if (pages->format == &nxa__otlp_json)
    nxa__buffer_append_byte(lines, '\n');
}

static void put_head(const nxa__otlp_pages *pages, nxa__buffer *lines, bool sent) {
  char now[NXA__TIMESTAMP_SIZE];
  nxa__otlp_batch batch = {.body = lines};
  nxa__timestamp(now, nxa__wall_ns());
  nxa__buffer_append_format(lines, SENT "%d,\"started_at\":\"%s\",\"format\":\"%s\",\"otlp\":", sent, now,
                            pages->format == &nxa__otlp_json ? "json" : "protobuf");
  nxa__json_append_string(lines, pages->receiver, strlen(pages->receiver));
  nxa__buffer_append_text(lines, "}\n");
  pages->format->begin(&batch, pages->resource);
  end_line(pages, lines);
}

static void put_span(const nxa__otlp_pages *pages, nxa__buffer *lines, const nxa__otlp_span *span) {
  nxa__otlp_batch batch = {.body = lines};
  pages->format->span(&batch, span);
  end_line(pages, lines);
}

static bool append(nxa__otlp_pages *pages, nxa__otlp_page *page) {
  const nxa__buffer *lines = &pages->lines;
  if (lines->state != NXA_OK || !nxa__spool_append(pages->spool, page->file, lines->data, lines->length))
    return false;
  page->begun = true;
  return true;
}

static bool write_span(nxa__otlp_pages *pages, nxa__otlp_page *page, const nxa__otlp_span *span) {
  nxa__buffer *lines = &pages->lines;
  if (!page->file || !span)
    return false;
  nxa__buffer_clear(lines);
  if (!page->begun) {
    put_head(pages, lines, page->sent);
    page->start = lines->length;
  }
  put_span(pages, lines, span);
  page->bytes += lines->length;
  bool written = append(pages, page);
  if (lines->capacity > LINES_KEPT)
    nxa__buffer_free(lines);
  return written;
}

bool nxa__otlp_page_put(nxa__otlp_pages *pages, nxa__otlp_page *page, const nxa__otlp_span *span) {
  bool written = write_span(pages, page, span);
  page->spans++;
  page->missing += !written;
  return written;
}

bool nxa__otlp_page_put_again(nxa__otlp_pages *pages, nxa__otlp_page *page, const nxa__otlp_span *span) {
  size_t bytes = page->bytes;
  bool written = write_span(pages, page, span);
  page->bytes = bytes; /* it was counted before */
  page->missing -= written;
  return written;
}

/* ------------------------------------------------------------------------------------------------ its state */

bool nxa__otlp_page_was_deleted(const nxa__otlp_pages *pages, nxa__otlp_page *page) {
  if (!page->file || !nxa__spool_was_deleted(pages->spool, page->file))
    return false;
  page->begun = false;
  return true;
}

bool nxa__otlp_page_can_grow(const nxa__otlp_pages *pages, const nxa__otlp_page *page) {
  return page->file && !nxa__spool_is_dropped(page->file) && !nxa__spool_rests(pages->spool);
}

bool nxa__otlp_page_is_full(const nxa__otlp_pages *pages, const nxa__otlp_page *page) {
  return page->spans >= NXA__OTLP_BATCH_SPANS || page->bytes >= pages->most || nxa__spool_is_dropped(page->file);
}

bool nxa__otlp_page_is_whole(const nxa__otlp_page *page) {
  return page->missing == 0 && nxa__spool_has_lines(page->file);
}

/* From lines to the elements of an array. */
static void put_commas(nxa__buffer *body, size_t start) {
  nxa__buffer_cut(body, body->length - 1); /* the last line's end */
  for (char *at = body->data + start; (at = strchr(at, '\n'));)
    *at++ = ',';
}

bool nxa__otlp_page_read(const nxa__otlp_pages *pages, const nxa__otlp_page *page, nxa__otlp_batch *batch) {
  nxa__buffer *body = batch->body;
  size_t length = body->length;
  if (body->state != NXA_OK || !nxa__otlp_page_is_whole(page))
    return false;
  if (!nxa__spool_read(pages->spool, page->file, page->start, body)) {
    body->state = NXA_OK; /* span by span there may be enough memory */
    return false;
  }
  if (pages->format == &nxa__otlp_json)
    put_commas(body, length);
  batch->spans = page->spans;
  return true;
}

void nxa__otlp_page_mark(const nxa__otlp_pages *pages, nxa__otlp_page *page, bool sent) {
  page->sent = sent;
  if (page->begun)
    nxa__spool_mark(pages->spool, page->file, sizeof SENT - 1, sent ? '1' : '0');
}

bool nxa__otlp_page_leave(const nxa__otlp_pages *pages, nxa__otlp_page *page) {
  bool there = nxa__spool_has_lines(page->file);
  if (page->file)
    nxa__spool_leave(pages->spool, page->file);
  page->file = NULL;
  return there;
}

void nxa__otlp_page_free(const nxa__otlp_pages *pages, nxa__otlp_page *page, bool stays) {
  if (page->file && stays)
    nxa__spool_forget(pages->spool, page->file);
  else if (page->file)
    nxa__spool_remove(pages->spool, page->file);
  nxa__release(page);
}
