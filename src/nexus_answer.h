/* What Nexus's answers mean. */
#ifndef NXA_NEXUS_ANSWER_H
#define NXA_NEXUS_ANSWER_H

#include <stdbool.h>

#include "nexus_assistants.h"

#define NXA__NEXUS_ID_SIZE 65

typedef enum nxa__nexus_verdict {
  NXA__NEXUS_TAKEN,        /* it is there; without an id where the answer names none that can be used */
  NXA__NEXUS_BAD_KEY,      /* nothing will be taken */
  NXA__NEXUS_WRONG_URL,    /* this is no Nexus */
  NXA__NEXUS_AGENT_LIMIT,  /* the plan allows no further agent */
  NXA__NEXUS_TRACE_LIMIT,  /* the plan allows no further trace for now */
  NXA__NEXUS_TRACE_GONE,   /* it is no longer there */
  NXA__NEXUS_REFUSED,      /* this one, for good */
  NXA__NEXUS_LATER,        /* to be repeated */
  NXA__NEXUS_ENGINE_CLOSED /* there won't be a later */
} nxa__nexus_verdict;

typedef enum nxa__nexus_request {
  NXA__NEXUS_CREATE, /* a trace */
  NXA__NEXUS_END,    /* it */
  NXA__NEXUS_LAST,   /* its last span */
  NXA__NEXUS_SPAN
} nxa__nexus_request;

typedef struct nxa__nexus_answer {
  nxa__nexus_verdict verdict;
  int status;   /* 0 where none came */
  bool timeout; /* none came in time */
  bool broke;   /* the connection, after the request had gone out */
  bool lost;    /* the request may have been carried out all the same */
  double wait;  /* seconds the server asked for, negative where it did not */
  char id[NXA__NEXUS_ID_SIZE];
  char text[201];  /* the server's own words, one line, without the key; "" where none */
  char cause[400]; /* "cannot be reached at …" and the like, to follow "Nexus " */
} nxa__nexus_answer;

/* Reads a call that is done. */
void nxa__nexus_read(nxa__nexus_answer *answer, const nxa_call *call, nxa__nexus_request request,
                     const nxa_endpoint *endpoint);

#endif
