/* What an attempt sends of a multipart body: libcurl's mime, read from memory, files and the host as it goes. */
#ifndef NXA_UPLOAD_H
#define NXA_UPLOAD_H

#include <curl/curl.h>

#include "nexus_assistants.h"
#include "parts.h"

typedef struct nxa__transfer nxa__transfer;
typedef struct nxa__upload nxa__upload;

/* Makes it the body of the transfer's request. NULL for want of memory. The parts must outlive it. */
nxa__upload *nxa__upload_new(nxa__transfer *transfer, const nxa__parts *parts);
void nxa__upload_free(nxa__upload *upload);

#endif
