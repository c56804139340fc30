/* gzip, by zlib where this was built with it (NXA_ZLIB). */
#ifndef NXA_GZIP_H
#define NXA_GZIP_H

#include "buffer.h"

typedef struct nxa__gzip nxa__gzip;

bool nxa__gzip_available(void);
/* NULL for want of memory, and where there is no zlib. */
nxa__gzip *nxa__gzip_new(void);
void nxa__gzip_free(nxa__gzip *gzip);
/* Appends what comes of the bytes; with the last of them the file is whole, and the next ones begin another. The
 * buffer's state says where it failed. */
void nxa__gzip_put(nxa__gzip *gzip, nxa__buffer *out, const char *bytes, size_t length, bool last);

#endif
