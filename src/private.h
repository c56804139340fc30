/* Files and folders that are the user's alone. */
#ifndef NXA_PRIVATE_H
#define NXA_PRIVATE_H

#include <stdbool.h>
#include <sys/types.h>

#include "nexus_assistants.h"

/* Makes a folder, and those above it, where they aren't there; nobody else may enter what it makes. */
bool nxa__private_folder(const char *path, nxa_error *error);

/* Whether that could be done, as far as what is there tells; makes nothing. */
bool nxa__private_folder_possible(const char *path, nxa_error *error);

/*
 * Makes an empty file that nobody else may read, where there is none, and makes one that is there the user's alone.
 * Links aren't followed. What is there isn't opened: closing it would take away the POSIX locks that this process has
 * on it, such as SQLite's.
 */
bool nxa__private_file(const char *path, nxa_error *error);

/* Whether a file of that mode is its owner's alone, as those are. */
bool nxa__is_private(mode_t mode);

#endif
