/* What one attempt's answer says beside its body. */
#ifndef NXA_ANSWER_H
#define NXA_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "nexus_assistants.h"

typedef struct nxa__answer {
  int status;    /* 0 where none came */
  bool complete; /* all of its headers have come */
  char content_type[128];
  char request_id[128];
  double retry_after, retry_after_ms; /* seconds, negative where absent */
  double poll_after;
  char date[40];       /* when it was written, by the server's clock, as it says it: hardly anybody wants to know */
  int should_retry;    /* 1, 0, or -1 where absent */
  size_t header_bytes; /* of all headers, interim answers included */
} nxa__answer;

enum { NXA__HEADER_BYTES_MAX = 256 * 1024 };

void nxa__answer_clear(nxa__answer *answer);
/* Takes one header line as libcurl gives it, status lines too; false where there is more than is kept. */
bool nxa__answer_take_line(nxa__answer *answer, const char *line, size_t length);
/* Seconds the server asked to wait, negative where it did not. */
double nxa__answer_wait(const nxa__answer *answer);
bool nxa__answer_is_success(const nxa__answer *answer);
/* Not an interim answer, which is followed by another. */
bool nxa__answer_is_final(const nxa__answer *answer);
/* The content type is `type` (lower case), whatever its parameters. */
bool nxa__answer_has_type(const nxa__answer *answer, const char *type);

#endif
