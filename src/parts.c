#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "error.h"
#include "text.h"

enum { MOST_PARTS = 1000 };
/* libcurl adds the sizes up in 64 bits */
#define MOST_BYTES (INT64_C(1) << 53)

static const char file_type[] = "application/octet-stream";

/* ---- files */

static const char *reason_of(int number) {
  switch (number) {
  case ENOENT:
  case ENOTDIR:
    return "no such file";
  case EACCES:
  case EPERM:
    return "permission denied";
  case EMFILE:
  case ENFILE:
    return "too many open files";
  case EISDIR:
    return "not a regular file";
  default:
    return "it can't be read";
  }
}

/* Not to wait for the other end of what turns out to be a pipe. */
static int open_at_once(const char *path) {
  int file;
  do
    file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  while (file < 0 && errno == EINTR);
  return file;
}

int nxa__file_open(const char *path, int64_t *size, const char **reason) {
  struct stat known;
  int file = open_at_once(path);
  if (file < 0) {
    *reason = reason_of(errno);
    return -1;
  }
  if (fstat(file, &known) == 0 && S_ISREG(known.st_mode)) {
    *size = (int64_t)known.st_size;
    return file;
  }
  *reason = "not a regular file";
  close(file);
  return -1;
}

int64_t nxa__file_read(int file, char *buffer, size_t room, const char **reason) {
  ssize_t got;
  do
    got = read(file, buffer, room);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    *reason = reason_of(errno);
  return got;
}

/* ---- checks */

static const char *text_fault(const char *text, bool required) {
  if (!text)
    return required ? "is required" : NULL;
  if (!*text)
    return "is empty";
  return nxa__is_printable(text, strlen(text), true) ? NULL : "holds a control character";
}

static const char *last_segment(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static nxa_kind refuse(nxa_error *error, size_t index, const char *field, const char *fault) {
  return nxa__error_set(error, NXA_INVALID, "parts: entry %zu: %s %s", index + 1, field, fault);
}

static nxa_kind check_texts(const nxa_part *part, size_t index, nxa_error *error) {
  const char *fault = text_fault(part->name, true);
  if (fault)
    return refuse(error, index, "name", fault);
  fault = text_fault(part->path && !part->file_name ? last_segment(part->path) : part->file_name, false);
  if (fault)
    return refuse(error, index, "file_name", fault);
  fault = text_fault(part->content_type, false);
  return fault ? refuse(error, index, "content_type", fault) : NXA_OK;
}

static nxa_kind check_file(const char *path, size_t index, int64_t *size, nxa_error *error) {
  const char *reason = NULL;
  int file = nxa__file_open(path, size, &reason);
  if (file < 0)
    return nxa__error_set(error, NXA_INVALID, "parts: entry %zu: path '%s': %s", index + 1, path, reason);
  close(file);
  return NXA_OK;
}

static nxa_kind check(const nxa_part *part, size_t index, int64_t *size, nxa_error *error) {
  int sources = (part->data != NULL) + (part->path != NULL) + part->from_host;
  if (check_texts(part, index, error) != NXA_OK)
    return NXA_INVALID;
  if (sources != 1)
    return refuse(error, index, "data, path or from_host:", "exactly one of them is required");
  if (!part->data && part->data_length > 0)
    return refuse(error, index, "data_length", "goes with data");
  *size = part->from_host ? (part->size < 0 ? -1 : part->size) : (int64_t)part->data_length;
  if (part->path && check_file(part->path, index, size, error) != NXA_OK)
    return NXA_INVALID;
  return *size > MOST_BYTES ? refuse(error, index, "size", "is above 2^53") : NXA_OK;
}

/* ---- freezing: measure, allocate once, fill */

static size_t text_size(const char *text) {
  return text ? strlen(text) + 1 : 0;
}

static size_t part_size(const nxa_part *part) {
  return text_size(part->name) + text_size(part->file_name) + text_size(part->content_type) + text_size(part->path) +
         (part->data ? part->data_length : 0);
}

/* SIZE_MAX where it is more than can be. */
static size_t texts_size(const nxa_part *parts, size_t count) {
  size_t all = 0;
  for (size_t i = 0; i < count; i++) {
    if (parts[i].data_length > SIZE_MAX / 4)
      return SIZE_MAX;
    all += part_size(&parts[i]);
    if (all > SIZE_MAX / 4)
      return SIZE_MAX;
  }
  return all;
}

static const char *put(char **at, const char *bytes, size_t length) {
  char *start = *at;
  if (!bytes)
    return NULL;
  if (length)
    memcpy(start, bytes, length);
  *at += length;
  return start;
}

static const char *put_text(char **at, const char *text) {
  return put(at, text, text_size(text));
}

static void fill(nxa__part *part, const nxa_part *from, char **at) {
  part->name = put_text(at, from->name);
  part->path = put_text(at, from->path);
  part->file_name = put_text(at, from->file_name);
  if (!part->file_name && part->path)
    part->file_name = last_segment(part->path);
  part->content_type = put_text(at, from->content_type);
  if (!part->content_type && part->file_name)
    part->content_type = file_type;
  part->from_host = from->from_host;
  part->data = put(at, from->data, from->data_length);
}

static nxa__parts *copy(const nxa_part *parts, size_t count, size_t texts) {
  nxa__parts *frozen = nxa__allocate_zeroed(sizeof *frozen + count * sizeof *frozen->entries + texts);
  if (!frozen)
    return NULL;
  char *at = (char *)(frozen->entries + count);
  frozen->count = count;
  for (size_t i = 0; i < count; i++) {
    fill(&frozen->entries[i], &parts[i], &at);
    frozen->host_count += parts[i].from_host;
  }
  return frozen;
}

nxa__parts *nxa__parts_freeze(const nxa_part *parts, size_t count, nxa_error *error) {
  size_t texts = texts_size(parts, count);
  if (count > MOST_PARTS || texts == SIZE_MAX) {
    nxa__error_set(error, NXA_INVALID, count > MOST_PARTS ? "parts: more than 1000" : "parts: they are too large");
    return NULL;
  }
  nxa__parts *frozen = copy(parts, count, texts);
  if (!frozen) {
    nxa__error_memory(error);
    return NULL;
  }
  for (size_t i = 0; i < count; i++) {
    if (check(&parts[i], i, &frozen->entries[i].size, error) != NXA_OK) {
      nxa__release(frozen);
      return NULL;
    }
  }
  return frozen;
}
