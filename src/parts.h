/* The parts of a multipart body, checked and copied. Immutable; what is read of them is an attempt's (upload.h). */
#ifndef NXA_PARTS_H
#define NXA_PARTS_H

#include "nexus_assistants.h"

typedef struct nxa__part {
  const char *name;
  const char *file_name;    /* NULL for none */
  const char *content_type; /* NULL for none */
  const char *data;         /* NULL where it comes from elsewhere */
  const char *path;         /* NULL where it comes from elsewhere */
  bool from_host;
  int64_t size; /* negative: not known */
} nxa__part;

typedef struct nxa__parts {
  size_t count;
  size_t host_count; /* of them, those from the host */
  nxa__part entries[];
} nxa__parts;

/* NULL with NXA_INVALID (the message names the entry) or NXA_MEMORY. One block: nxa__release frees it. */
nxa__parts *nxa__parts_freeze(const nxa_part *parts, size_t count, nxa_error *error);

/* Opens a regular file for reading and tells its size; negative with the reason where that can't be. Never waits. */
int nxa__file_open(const char *path, int64_t *size, const char **reason);
/* Reads up to `room` bytes of it at its place; negative with the reason on failure. */
int64_t nxa__file_read(int file, char *buffer, size_t room, const char **reason);

#endif
