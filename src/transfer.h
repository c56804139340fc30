/* One attempt of a call on the wire: an easy handle and what its callbacks need. Kept for reuse by the engine. */
#ifndef NXA_TRANSFER_H
#define NXA_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "failure.h"
#include "list.h"
#include "nexus_assistants.h"
#include "request.h"
#include "upload.h"

struct nxa__transfer {
  CURL *easy;
  CURLU *url;           /* the handle's, where no proxy is named */
  char *base_url;       /* what that is now, or NULL */
  nxa_call *call;       /* NULL: abandoned, nobody wants what comes */
  nxa__frozen *request; /* NULL: in the pool */
  nxa__link link;
  bool counted;   /* against max_transfers */
  bool secure;    /* the handle is set up for https */
  bool resolving; /* may not be removed: libcurl would wait for the resolver */
  bool send_once;
  bool special;                     /* the handle is set up for a special request */
  bool has_own_files;               /* of the endpoint, for TLS: no other endpoint may use it */
  bool receive_paused, send_paused; /* until they are set to false and nxa__transfer_resume is called */
  bool refusal_awaited;             /* the request is refused, and not sent on; more of the answer is to come */
  int sendings;                     /* times libcurl was about to send the request */
  struct sockaddr_storage peer;     /* whom it was last connected to, by this request */
  nxa__upload *upload;              /* NULL: the request has no parts */
  char detail[CURL_ERROR_SIZE];
};

/* NULL for want of memory. */
nxa__transfer *nxa__transfer_new(void);
void nxa__transfer_free(nxa__transfer *transfer);
/* It was last used for this base URL, which is less work than another. */
bool nxa__transfer_is_for(const nxa__transfer *transfer, const nxa_endpoint *endpoint);
/* Makes it ready for the multi handle; false for want of memory. Keeps the request by count. */
bool nxa__transfer_prepare(nxa__transfer *transfer, nxa_call *call, nxa__frozen *request);
/* Lets go of call and request, so that it can wait in the pool. */
void nxa__transfer_clear(nxa__transfer *transfer);
/* Goes on with what isn't paused any more; libcurl may hand out what it kept before this returns. */
void nxa__transfer_resume(nxa__transfer *transfer);
/*
 * What a callback that reads for libcurl returns once the request was refused. Where the server said that it will close
 * the connection libcurl would send all of it, and ending the transfer there would lose the text of the refusal.
 */
size_t nxa__transfer_stop_sending(nxa__transfer *transfer);
/* What became of it, after libcurl has said so. */
void nxa__transfer_outcome(nxa__transfer *transfer, CURLcode code, nxa__outcome *outcome);
/* How far it is. */
void nxa__transfer_progress(const nxa__transfer *transfer, nxa_progress *progress);
/* True once the request is on its way on a connection that stands. */
bool nxa__transfer_connected(const nxa__transfer *transfer);
bool nxa__transfer_sent(const nxa__transfer *transfer);
/* False where libcurl is too old to let go of a resolver: freeing a transfer that is resolving would wait for it. */
bool nxa__transfer_can_quit(void);

#endif
