/* What the answers of a receiver of OTLP mean. */
#ifndef NXA_OTLP_ANSWER_H
#define NXA_OTLP_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "nexus_assistants.h"

typedef enum nxa__otlp_verdict {
  NXA__OTLP_TAKEN,
  NXA__OTLP_LATER,     /* to be repeated */
  NXA__OTLP_REFUSED,   /* this batch, for good */
  NXA__OTLP_UNWANTED,  /* whatever is sent, for now: the key, the address */
  NXA__OTLP_TOO_LARGE, /* less of it may be taken */
  NXA__OTLP_CLOSED     /* the engine was: there won't be a later */
} nxa__otlp_verdict;

typedef struct nxa__otlp_answer {
  nxa__otlp_verdict verdict;
  int status;        /* 0 where none came */
  bool timeout;      /* none came in time */
  bool lost;         /* the request may have been carried out all the same */
  double wait;       /* seconds the server asked for, negative where it did not */
  uint64_t rejected; /* spans that it did not take, of a batch that it did */
  char text[201];    /* the server's own words, one line, without secrets; "" where none */
  char cause[400];   /* "<url> can't be reached: …" and the like */
} nxa__otlp_answer;

/* Reads a call that is done. `url` is what it was sent to, as it may be shown. */
void nxa__otlp_read(nxa__otlp_answer *answer, const nxa_call *call, const nxa_endpoint *endpoint, const char *url);

/* What a 2xx answer's body says of spans that were not taken; JSON or protobuf, whatever it holds. `text` is of `size`
 * bytes and zero-terminated. */
uint64_t nxa__otlp_rejected(const char *body, size_t length, bool is_json, char *text, size_t size);

/* Whether a 2xx answer is a page, as of a login, or of whoever answers everything: that says nothing of spans. Many a
 * receiver says "text/html" of an answer with nothing in it, or of JSON. */
bool nxa__otlp_is_page(const char *content_type, const char *body, size_t length);

#endif
