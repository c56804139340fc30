/* Failed attempts in plain words. */
#ifndef NXA_FAILURE_H
#define NXA_FAILURE_H

#include <curl/curl.h>
#include <stdbool.h>

#include "answer.h"
#include "buffer.h"
#include "nexus_assistants.h"

/* How a transfer ended, as libcurl tells it. */
typedef struct nxa__outcome {
  CURLcode code;
  long os_error;
  bool sent;                    /* at least a part of the request went out */
  bool answered;                /* at least a byte came back */
  bool repetition_refused;      /* libcurl wanted to send the request again on another connection */
  nxa_progress progress;        /* where it was asked for */
  char proxy[64];               /* where the proxy is that there was no connection to, or "" */
  char detail[CURL_ERROR_SIZE]; /* libcurl's own words, or "" */
} nxa__outcome;

/* Sets kind and message; knows nothing of attempts. The host's name is as messages call it. */
void nxa__failure_of_transfer(nxa_error *error, const nxa__outcome *outcome, const char *host);
void nxa__failure_of_status(nxa_error *error, const nxa__answer *answer, const nxa__buffer *body, const char *host);
/* True where another attempt would end the same way, e.g. a certificate that can't be verified. */
bool nxa__failure_is_hopeless(const nxa__outcome *outcome);

#endif
