/*
 * What isn't delivered yet, on disk, so that the end of the process doesn't lose it.
 *
 * Each client has a folder of its own in the spool, with a lock that goes with the process: who has the lock of a
 * folder has its files. A trace has a file there while it is held. What is in a file up to the last whole line of its
 * trace counts; behind that may be lines of a trace that had the file before. So a file is written in place when the
 * next trace takes it over: making and removing one costs more than all else a short trace does.
 *
 * Nothing here waits for the disk: what is written is safe from the end of the process, not from that of the machine.
 * Nothing here fails for whoever records: a trace that can't be written is in memory alone, and that is warned of once.
 */
#ifndef NXA_SPOOL_H
#define NXA_SPOOL_H

#include "engine.h"

typedef struct nxa__spool nxa__spool;
typedef struct nxa__spool_file nxa__spool_file;

typedef struct nxa__spool_limits {
  size_t files;
  size_t bytes;
  double age; /* seconds */
} nxa__spool_limits;

typedef struct nxa__spool_form {
  const char *label;  /* put into the lock: for whom the folder is */
  const char *ending; /* of the files' names */
  bool in_place;      /* a file is overwritten without being emptied before */
} nxa__spool_form;

/* Makes nothing on the disk before something is written. Copies the label; the ending must stay. NULL for want of
 * memory. */
nxa__spool *nxa__spool_new(nxa_engine *engine, const char *folder, const nxa__spool_form *form,
                           const nxa__spool_limits *limits);
/* What wasn't removed stays on the disk for others. All its files must have been removed, left or freed. */
void nxa__spool_free(nxa__spool *spool);
/* The bytes it may hold. */
size_t nxa__spool_most(const nxa__spool *spool);
/* Where it counts what it holds and what it drops. */
void nxa__spool_count_in(nxa__spool *spool, nxa_stats *stats);

/* A file for a trace; it is on the disk from the first append on. NULL for want of memory. */
nxa__spool_file *nxa__spool_take(nxa__spool *spool);
/* Writes whole lines; true where they are there. More than the spool may hold takes nothing else away. */
bool nxa__spool_append(nxa__spool *spool, nxa__spool_file *file, const char *lines, size_t length);
bool nxa__spool_has_lines(const nxa__spool_file *file);
/* What was written is no more, and nothing is written any more. */
bool nxa__spool_is_dropped(const nxa__spool_file *file);
/* Looks whether somebody deleted it, which who has it open doesn't notice. If so it is told once, and the file is as
 * one that was just taken: what was in it may be written again. Where nothing was, there is nothing to tell. */
bool nxa__spool_was_deleted(nxa__spool *spool, nxa__spool_file *file);
/* Appends what was written from `offset` on to `out`; false where it can't be read. */
bool nxa__spool_read(nxa__spool *spool, nxa__spool_file *file, size_t offset, nxa__buffer *out);
/* How much of it was written. */
size_t nxa__spool_length(const nxa__spool_file *file);
/* Overwrites what was written there, also after a failure. False where that can't be. */
bool nxa__spool_overwrite(nxa__spool *spool, nxa__spool_file *file, size_t offset, const char *bytes, size_t length);
/* Overwrites one byte of what was written. */
void nxa__spool_mark(nxa__spool *spool, nxa__spool_file *file, size_t offset, char mark);
/* After a failure nothing is written for some seconds. */
bool nxa__spool_rests(const nxa__spool *spool);
/* There is no more time for that. */
void nxa__spool_try_again(nxa__spool *spool);
/* The process is at work now, in nanoseconds since 1970: where it is killed, whoever takes the folder knows until when
 * it was, by the lock's time. */
void nxa__spool_note_time(const nxa__spool *spool, int64_t now);
/* Its trace failed: where there is too much, it goes last. */
void nxa__spool_mark_failed(nxa__spool *spool, nxa__spool_file *file);
/* Its trace is delivered, or not worth keeping. Frees it. */
void nxa__spool_remove(nxa__spool *spool, nxa__spool_file *file);
/* Its trace stays on the disk, to be collected. */
void nxa__spool_leave(nxa__spool *spool, nxa__spool_file *file);
/* Frees it and touches nothing: whoever gets the folder's lock next finds what is in it. */
void nxa__spool_forget(nxa__spool *spool, nxa__spool_file *file);

/* The path of a file that was left and that nobody has collected, NULL where there is none; borrowed until the next
 * call. */
const char *nxa__spool_collect(nxa__spool *spool);
/* What became of one that was collected: it is done with and goes, or waits to be collected again. */
void nxa__spool_collected(nxa__spool *spool, const char *path, bool done);

#endif
