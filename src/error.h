/* Filling nxa_error. */
#ifndef NXA_ERROR_H
#define NXA_ERROR_H

#include "buffer.h"
#include "nexus_assistants.h"

/* No error: NXA_OK, no status, retry_after absent. `error` may be NULL. */
void nxa__error_clear(nxa_error *error);
/*
 * Clears, sets kind and message, and returns the kind. The message becomes one line of valid UTF-8 without control
 * characters, cut at a character's border. `error` may be NULL.
 */
nxa_kind nxa__error_set(nxa_error *error, nxa_kind kind, const char *format, ...) NXA__FORMAT(3, 4);
/* The same for memory that ran out. */
nxa_kind nxa__error_memory(nxa_error *error);

/* In place of a number of errno's: it is a folder, a pipe or the like. No system has negative ones. */
#define NXA__NOT_REGULAR (-1)
/* What is wrong with a file, as errno has it, where links aren't followed. */
const char *nxa__error_of_file(int number);

/* NXA_OK for 2xx. */
nxa_kind nxa__kind_of_status(int status);

#endif
