/* A lock on a file: one process at a time has it, and it goes with the process, however that ends. */
#ifndef NXA_LOCK_H
#define NXA_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nexus_assistants.h"

typedef struct nxa__lock nxa__lock;

/*
 * Makes the file where there is none, takes its lock without waiting, and makes the file the user's alone. Returns the
 * lock, owned by the caller; or NULL: then `*is_held` says whether somebody has it (also this process, by another
 * lock), and otherwise `error` what is wrong.
 */
nxa__lock *nxa__lock_take(const char *path, bool *is_held, nxa_error *error);

/*
 * Reads the first bytes of a lock's file, whoever has the lock. Returns how many there are; or -1 where it can't be
 * read or is no regular file. Waits for nothing, and follows no link.
 */
enum { NXA__LOCK_TEXT_MOST = 4096 };
ptrdiff_t nxa__lock_read(const char *path, char *text, size_t size);

/* The file's path, as it was given. */
const char *nxa__lock_path(const nxa__lock *lock);

/* Sets the file's time, in nanoseconds since 1970: nothing else does, once it is written. */
void nxa__lock_set_time(const nxa__lock *lock, int64_t ns);

/* Frees the lock. The file stays. NULL does nothing. */
void nxa__lock_release(nxa__lock *lock);

/* The same, but the file goes: who takes its lock later makes another. One that somebody else put there stays. */
void nxa__lock_remove(nxa__lock *lock);

#endif
