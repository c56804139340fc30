/* One attempt of a call on the wire: an easy handle and what its callbacks need. Kept for reuse by the engine. */
#ifndef NXA_TRANSFER_H
#define NXA_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>

#include "failure.h"
#include "list.h"
#include "nexus_assistants.h"
#include "request.h"

typedef struct nxa__transfer {
  CURL *easy;
  nxa_call *call;       /* NULL: abandoned, nobody wants what comes */
  nxa__frozen *request; /* NULL: in the pool */
  nxa__link link;
  bool counted;   /* against max_transfers */
  bool secure;    /* the handle is set up for https */
  bool resolving; /* may not be removed: libcurl would wait for the resolver */
  bool send_once;
  int sendings; /* times libcurl was about to send the request */
  char detail[CURL_ERROR_SIZE];
} nxa__transfer;

/* NULL for want of memory. */
nxa__transfer *nxa__transfer_new(void);
void nxa__transfer_free(nxa__transfer *transfer);
/* Makes it ready for the multi handle; false for want of memory. Keeps the request by count. */
bool nxa__transfer_prepare(nxa__transfer *transfer, nxa_call *call, nxa__frozen *request);
/* Lets go of call and request, so that it can wait in the pool. */
void nxa__transfer_clear(nxa__transfer *transfer);
/* What became of it, after libcurl has said so. */
void nxa__transfer_outcome(nxa__transfer *transfer, CURLcode code, nxa__outcome *outcome);
/* True once the request is on its way on a connection that stands. */
bool nxa__transfer_connected(const nxa__transfer *transfer);
bool nxa__transfer_sent(const nxa__transfer *transfer);
/* False where libcurl is too old to let go of a resolver: freeing a transfer that is resolving would wait for it. */
bool nxa__transfer_can_quit(void);

#endif
