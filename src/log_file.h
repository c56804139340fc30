/* A file that lines are appended to, also by other processes, and that gives way to another when it is full. */
#ifndef NXA_LOG_FILE_H
#define NXA_LOG_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "nexus_assistants.h"

typedef struct nxa__log_file {
  char *path;
  size_t max_bytes; /* of one file */
  int max_files;    /* that are kept beside it */
  int file;         /* negative: not open */
  bool trusted;     /* what is there ends with a whole line */
} nxa__log_file;

/* False for want of memory. */
bool nxa__log_file_init(nxa__log_file *log, const char *path, size_t max_bytes, int max_files);
void nxa__log_file_free(nxa__log_file *log);

/*
 * Appends a line, which ends with its line break, by one write. Returns 0, or what is wrong as in errno. Where the line
 * before was not written whole, a line break comes first.
 */
int nxa__log_file_append(nxa__log_file *log, const char *line, size_t length);

#endif
