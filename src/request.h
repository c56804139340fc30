/* A checked request, frozen in the form libcurl takes it. Counted: an abandoned transfer may outlive its call. */
#ifndef NXA_REQUEST_H
#define NXA_REQUEST_H

#include <curl/curl.h>

#include "nexus_assistants.h"
#include "parts.h"

typedef struct nxa__frozen {
  size_t count;
  nxa_endpoint *endpoint;
  const char *method; /* static */
  const char *url;
  const char *target; /* its end: path and query */
  const char *body;   /* NULL for none */
  size_t body_length;
  nxa__parts *parts;          /* NULL for none */
  struct curl_slist *headers; /* nodes in this block; the endpoint's lines are shared with it */
  bool special;               /* a transfer needs options for it that most don't */
  bool stream, progress;
} nxa__frozen;

/* NULL with NXA_INVALID (the message names the option) or NXA_MEMORY. */
nxa__frozen *nxa__request_freeze(const nxa_request *request, nxa_error *error);
nxa__frozen *nxa__frozen_retain(nxa__frozen *frozen);
void nxa__frozen_release(nxa__frozen *frozen);

#endif
