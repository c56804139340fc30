#include "upload.h"

#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "call.h"
#include "transfer.h"

/* Where an attempt is within a part. */
typedef struct reader {
  nxa__transfer *transfer;
  const nxa__part *part;
  size_t index;      /* of the part */
  size_t host_index; /* of it among those from the host */
  int64_t at;        /* bytes read */
  int file;          /* negative: not open */
} reader;

struct nxa__upload {
  CURL *easy;
  curl_mime *mime;
  size_t count;
  reader readers[];
};

static void close_file(reader *r) {
  if (r->file >= 0)
    close(r->file);
  r->file = -1;
}

/* ---- reading, within libcurl's callbacks */

static size_t fail(const reader *r, const char *reason) {
  nxa__call_lose_part(r->transfer->call, r->index, reason);
  return CURL_READFUNC_ABORT;
}

static size_t read_data(const reader *r, char *buffer, size_t room) {
  memcpy(buffer, r->part->data + r->at, room);
  return room;
}

/* Open only while its turn is: neither calls that wait nor parts that were sent hold descriptors. */
static size_t read_file(reader *r, char *buffer, size_t room) {
  const char *reason = NULL;
  int64_t size;
  if (r->file < 0)
    r->file = nxa__file_open(r->part->path, &size, &reason);
  int64_t got = r->file < 0 ? -1 : nxa__file_read(r->file, buffer, room, &reason);
  if (got < 0)
    return fail(r, reason);
  if (got == 0)
    return fail(r, "the file has become shorter");
  if (r->at + got == r->part->size)
    close_file(r);
  return (size_t)got;
}

static size_t read_part(reader *r, char *buffer, size_t room) {
  if (r->part->data)
    return read_data(r, buffer, room);
  if (r->part->path)
    return read_file(r, buffer, room);
  return nxa__call_give(r->transfer->call, r->host_index, buffer, room);
}

static size_t on_read(char *buffer, size_t size, size_t count, void *data) {
  reader *r = data;
  size_t room = size * count;
  if (!r->transfer->call)
    return CURL_READFUNC_ABORT;
  if (r->part->size >= 0 && r->part->size - r->at < (int64_t)room)
    room = (size_t)(r->part->size - r->at);
  if (room == 0)
    return 0;
  size_t got = read_part(r, buffer, room);
  if (got == CURL_READFUNC_ABORT || got == CURL_READFUNC_PAUSE)
    return got;
  r->at += (int64_t)got;
  nxa__call_moved(r->transfer->call);
  return got;
}

/* libcurl sends a request again by itself where a kept connection turns out to be closed. */
static int on_seek(void *data, curl_off_t offset, int origin) {
  reader *r = data;
  if (origin != SEEK_SET || offset < 0)
    return CURL_SEEKFUNC_FAIL;
  if (r->part->from_host && offset != r->at)
    return CURL_SEEKFUNC_FAIL;
  if (r->file >= 0 && lseek(r->file, (off_t)offset, SEEK_SET) < 0)
    return CURL_SEEKFUNC_FAIL;
  if (r->part->path && r->file < 0 && offset != 0)
    return CURL_SEEKFUNC_FAIL;
  r->at = offset;
  return CURL_SEEKFUNC_OK;
}

/* ---- life */

static bool add_part(curl_mime *mime, reader *r) {
  const nxa__part *part = r->part;
  curl_mimepart *added = curl_mime_addpart(mime);
  return added && curl_mime_name(added, part->name) == CURLE_OK &&
         curl_mime_data_cb(added, part->size, on_read, on_seek, NULL, r) == CURLE_OK &&
         (!part->file_name || curl_mime_filename(added, part->file_name) == CURLE_OK) &&
         (!part->content_type || curl_mime_type(added, part->content_type) == CURLE_OK);
}

static bool add_parts(nxa__upload *upload, nxa__transfer *transfer, const nxa__parts *parts) {
  size_t host_index = 0;
  for (size_t i = 0; i < parts->count; i++) {
    const nxa__part *part = &parts->entries[i];
    upload->readers[i] = (reader){transfer, part, i, host_index, 0, -1};
    host_index += part->from_host;
    upload->count++;
    if (!add_part(upload->mime, &upload->readers[i]))
      return false;
  }
  return true;
}

nxa__upload *nxa__upload_new(nxa__transfer *transfer, const nxa__parts *parts) {
  nxa__upload *upload = nxa__allocate_zeroed(sizeof *upload + parts->count * sizeof *upload->readers);
  if (!upload)
    return NULL;
  upload->easy = transfer->easy;
  upload->mime = curl_mime_init(transfer->easy);
  if (upload->mime && add_parts(upload, transfer, parts) &&
      curl_easy_setopt(transfer->easy, CURLOPT_MIMEPOST, upload->mime) == CURLE_OK)
    return upload;
  nxa__upload_free(upload);
  return NULL;
}

void nxa__upload_free(nxa__upload *upload) {
  if (!upload)
    return;
  curl_easy_setopt(upload->easy, CURLOPT_MIMEPOST, NULL);
  curl_mime_free(upload->mime);
  for (size_t i = 0; i < upload->count; i++)
    close_file(&upload->readers[i]);
  nxa__release(upload);
}
