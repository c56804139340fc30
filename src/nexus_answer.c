#include "nexus_answer.h"

#include <stdio.h>
#include <string.h>

#include "call.h"
#include "endpoint.h"
#include "json_out.h"
#include "text.h"

static const nxa_error no_error = {.kind = NXA_OK, .retry_after = -1};

static bool is_success(int status) {
  return status >= 200 && status < 300;
}

/* ------------------------------------------------------------------------------------------------ reading */

/* Ids go into paths: nothing but what UUIDs and the like are made of is let through. */
static bool is_safe_id(const char *id) {
  static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return *id && id[strspn(id, safe)] == '\0';
}

static void read_id(nxa__nexus_answer *answer, const nxa_response *response, const char *key) {
  char id[NXA__NEXUS_ID_SIZE + 1];
  bool found = nxa__json_find_string(response->body, response->body_length, key, id, sizeof id);
  if (found && strlen(id) < NXA__NEXUS_ID_SIZE && is_safe_id(id))
    memcpy(answer->id, id, strlen(id) + 1);
}

static void read_text(nxa__nexus_answer *answer, const nxa_response *response, const nxa_endpoint *endpoint) {
  char text[1024];
  nxa__json_find_string(response->body, response->body_length, "error", text, sizeof text);
  nxa_endpoint_redact(endpoint, text, strlen(text));
  nxa__text_line(answer->text, sizeof answer->text, text, strlen(text));
}

/* ------------------------------------------------------------------------------------------------ judging */

static nxa__nexus_verdict judge_creation(const nxa__nexus_answer *answer) {
  switch (answer->status) {
  case 403:
    return NXA__NEXUS_AGENT_LIMIT;
  case 404:
    return NXA__NEXUS_WRONG_URL;
  case 429: /* without a time to come back it is the month's quota */
    return answer->wait >= 0 ? NXA__NEXUS_LATER : NXA__NEXUS_TRACE_LIMIT;
  default:
    return NXA__NEXUS_REFUSED;
  }
}

static nxa__nexus_verdict judge_other(const nxa__nexus_answer *answer) {
  switch (answer->status) {
  case 404:
    return NXA__NEXUS_TRACE_GONE;
  case 429:
    return NXA__NEXUS_LATER;
  default:
    return NXA__NEXUS_REFUSED;
  }
}

static nxa__nexus_verdict judge_status(const nxa__nexus_answer *answer, nxa__nexus_request request) {
  int status = answer->status;
  if (status == 401)
    return NXA__NEXUS_BAD_KEY;
  if (status == 408 || status >= 500 || status < 300)
    return NXA__NEXUS_LATER;
  if (status < 400) /* a redirect isn't followed: the key would go along */
    return NXA__NEXUS_WRONG_URL;
  return request == NXA__NEXUS_CREATE ? judge_creation(answer) : judge_other(answer);
}

/* The status says it was taken, but the answer broke off. A trace is of no use without its id and is created again; a
 * span would only be doubled. */
static nxa__nexus_verdict judge_broken_success(const nxa__nexus_answer *answer, nxa_kind kind,
                                               nxa__nexus_request request) {
  bool useless = request == NXA__NEXUS_CREATE && !*answer->id;
  return useless && kind != NXA_TOO_LARGE ? NXA__NEXUS_LATER : NXA__NEXUS_TAKEN;
}

static nxa__nexus_verdict judge(const nxa__nexus_answer *answer, nxa_kind kind, nxa__nexus_request request) {
  if (kind == NXA_CLOSED)
    return NXA__NEXUS_ENGINE_CLOSED;
  if (is_success(answer->status))
    return kind == NXA_OK ? NXA__NEXUS_TAKEN : judge_broken_success(answer, kind, request);
  return judge_status(answer, request);
}

/* ------------------------------------------------------------------------------------------------ explaining */

/* What the message adds to "cannot be reached at <url>". */
static const char *reason(const char *message, const char *host) {
  static const char start[] = "could not connect to ";
  size_t length = strlen(start), host_length = strlen(host);
  if (strncmp(message, start, length) != 0 || strncmp(message + length, host, host_length) != 0)
    return message;
  message += length + host_length;
  return strncmp(message, ": ", 2) == 0 ? message + 2 : "could not connect";
}

static void explain(nxa__nexus_answer *answer, const nxa_error *error, const nxa_endpoint *endpoint) {
  const char *url = nxa_endpoint_base_url(endpoint);
  char cause[2 * sizeof answer->cause];
  if (answer->status == 0 || is_success(answer->status))
    snprintf(cause, sizeof cause, "cannot be reached at %s: %s", url,
             reason(error->message, nxa__endpoint_host(endpoint)));
  else
    snprintf(cause, sizeof cause, "answers %d at %s%s%s", answer->status, url, *answer->text ? ": " : "", answer->text);
  nxa__text_line(answer->cause, sizeof answer->cause, cause, strlen(cause));
}

/* None, one that broke off, or one of a gateway that heard none itself. */
static bool may_be_done(int status) {
  return status == 0 || is_success(status) || status == 502 || status == 504 || status == 520 || status == 524;
}

void nxa__nexus_read(nxa__nexus_answer *answer, const nxa_call *call, nxa__nexus_request request,
                     const nxa_endpoint *endpoint) {
  const nxa_response *response = nxa_call_response(call);
  const nxa_error *error = nxa_call_error(call);
  if (!error)
    error = &no_error;
  *answer = (nxa__nexus_answer){.status = response->status, .wait = response->retry_after};
  if (is_success(answer->status))
    read_id(answer, response, request == NXA__NEXUS_CREATE ? "trace_id" : "span_id");
  else
    read_text(answer, response, endpoint);
  answer->timeout = error->kind == NXA_TIMEOUT;
  answer->lost = may_be_done(answer->status) && nxa__call_may_have_arrived(call);
  answer->broke = answer->lost && error->kind == NXA_CONNECTION;
  answer->verdict = judge(answer, error->kind, request);
  if (answer->verdict != NXA__NEXUS_TAKEN)
    explain(answer, error, endpoint);
}
