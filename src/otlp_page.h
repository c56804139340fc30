/*
 * Pages: what one batch for a receiver of OTLP is made of, and the file in the spool that has the same. A file is
 *
 *   {"sent":0,"started_at":"<when its first span was written>","format":"protobuf","otlp":"<URL of the receiver>"}
 *
 * where 1 says that it was sent and no answer told that it didn't arrive; behind that line what a batch begins with
 * (nxa__otlp_format.begin), and then its spans as they ended, each as it is in a batch. In JSON each of these is a
 * line. So what was cut is found, and whoever has a file has the batch but for its end. There is no lookup at a
 * receiver, and nothing else is noted there: the file goes once the batch is delivered.
 */
#ifndef NXA_OTLP_PAGE_H
#define NXA_OTLP_PAGE_H

#include "otlp.h"
#include "spool.h"

#define NXA__OTLP_BATCH_SPANS 512
#define NXA__OTLP_BATCH_BYTES ((size_t)1 << 20) /* begun by a span below it */

/* What all pages of a sink have in common. */
typedef struct nxa__otlp_pages {
  nxa__spool *spool; /* NULL: nothing is on the disk */
  char *receiver;    /* its URL */
  const nxa__otlp_format *format;
  const nxa__otlp_resource *resource;
  size_t most;       /* the bytes with which a page is full */
  nxa__buffer lines; /* to be written */
} nxa__otlp_pages;

typedef struct nxa__otlp_page {
  nxa__spool_file *file; /* NULL: there is none */
  size_t members;        /* of those put there, those that are not settled */
  size_t spans, bytes;   /* put there */
  size_t missing;        /* of them, those that could not be written */
  bool begun;            /* the file's first line is there */
  bool sent;             /* what that says, or is to say */
  size_t start;          /* where the spans begin */
} nxa__otlp_page;

/* Has pages be on the disk, in a spool that is not NULL. */
void nxa__otlp_pages_keep(nxa__otlp_pages *pages, nxa__spool *spool);

/* NULL for want of memory. */
nxa__otlp_page *nxa__otlp_page_new(const nxa__otlp_pages *pages, nxa_stats *stats);
/* Adds a span, NULL for one that there was no memory to describe; true where it is in the file. */
bool nxa__otlp_page_put(nxa__otlp_pages *pages, nxa__otlp_page *page, const nxa__otlp_span *span);
/* The same for one that was missing. */
bool nxa__otlp_page_put_again(nxa__otlp_pages *pages, nxa__otlp_page *page, const nxa__otlp_span *span);
/* Looks whether somebody deleted its file. If so that is begun anew, and all that is in the page is to be put there
 * again; what of it was is `missing` once the caller has counted it there. */
bool nxa__otlp_page_was_deleted(const nxa__otlp_pages *pages, nxa__otlp_page *page);
/* What is put there may be on the disk then: it is worth while to describe it. */
bool nxa__otlp_page_can_grow(const nxa__otlp_pages *pages, const nxa__otlp_page *page);
/* It has as much as a batch takes, or what would be put there could not be on the disk any more. */
bool nxa__otlp_page_is_full(const nxa__otlp_pages *pages, const nxa__otlp_page *page);
/* All of it is in the file, and the file on the disk. */
bool nxa__otlp_page_is_whole(const nxa__otlp_page *page);
/* Adds all of it to a batch that has begun, as it is in the file; false, and nothing is added, where it can't be. */
bool nxa__otlp_page_read(const nxa__otlp_pages *pages, const nxa__otlp_page *page, nxa__otlp_batch *batch);
/* Notes in the file whether it may be at the receiver. */
void nxa__otlp_page_mark(const nxa__otlp_pages *pages, nxa__otlp_page *page, bool sent);
/* Leaves the file to whoever delivers from the spool; false where there is none. */
bool nxa__otlp_page_leave(const nxa__otlp_pages *pages, nxa__otlp_page *page);
/* Frees it; its file goes, or, where `stays`, is what an ended process leaves. */
void nxa__otlp_page_free(const nxa__otlp_pages *pages, nxa__otlp_page *page, bool stays);

#endif
