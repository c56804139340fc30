#include "gzip.h"

#ifdef NXA_ZLIB

#include <zlib.h>

#include "alloc.h"

enum { GZIP_FORMAT = 15 + 16, MEMORY_LEVEL = 8, ROOM = 16 << 10 };

struct nxa__gzip {
  z_stream stream;
};

static voidpf allocate(voidpf unused, uInt count, uInt size) {
  (void)unused;
  return nxa__allocate((size_t)count * size);
}

static void release(voidpf unused, voidpf block) {
  (void)unused;
  nxa__release(block);
}

bool nxa__gzip_available(void) {
  return true;
}

/* Fast rather than small: the host's thread does it. */
nxa__gzip *nxa__gzip_new(void) {
  nxa__gzip *gzip = nxa__allocate_zeroed(sizeof *gzip);
  if (!gzip)
    return NULL;
  gzip->stream.zalloc = allocate;
  gzip->stream.zfree = release;
  if (deflateInit2(&gzip->stream, Z_BEST_SPEED, Z_DEFLATED, GZIP_FORMAT, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK)
    return gzip;
  nxa__release(gzip);
  return NULL;
}

void nxa__gzip_free(nxa__gzip *gzip) {
  if (gzip)
    deflateEnd(&gzip->stream);
  nxa__release(gzip);
}

/* True where there is more to come out. */
static bool deflate_some(z_stream *stream, nxa__buffer *out, int flush) {
  if (nxa__buffer_reserve(out, ROOM) != NXA_OK)
    return false;
  stream->next_out = (Bytef *)out->data + out->length;
  stream->avail_out = ROOM;
  deflate(stream, flush);
  out->length += ROOM - stream->avail_out;
  out->data[out->length] = '\0';
  return stream->avail_out == 0;
}

void nxa__gzip_put(nxa__gzip *gzip, nxa__buffer *out, const char *bytes, size_t length, bool last) {
  z_stream *stream = &gzip->stream;
  stream->next_in = (Bytef *)bytes;
  stream->avail_in = (uInt)length;
  while (deflate_some(stream, out, last ? Z_FINISH : Z_NO_FLUSH))
    ;
  if (last || out->state != NXA_OK)
    deflateReset(stream);
}

#else

bool nxa__gzip_available(void) {
  return false;
}

nxa__gzip *nxa__gzip_new(void) {
  return NULL;
}

void nxa__gzip_free(nxa__gzip *gzip) {
  (void)gzip;
}

void nxa__gzip_put(nxa__gzip *gzip, nxa__buffer *out, const char *bytes, size_t length, bool last) {
  (void)gzip;
  (void)bytes;
  (void)length;
  (void)last;
  out->state = NXA_MEMORY;
}

#endif
