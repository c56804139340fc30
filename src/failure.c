#include "failure.h"

#include <errno.h>
#include <string.h>

#include "error.h"
#include "text.h"

/* ---- transfers */

static const char *os_reason(long os_error) {
  switch (os_error) {
  case ECONNREFUSED:
    return "connection refused";
  case ENETUNREACH:
    return "network unreachable";
  case EHOSTUNREACH:
    return "host unreachable";
  case ETIMEDOUT:
    return "no reaction";
  case EMFILE:
  case ENFILE:
    return "too many open files";
  default:
    return NULL;
  }
}

static void connection(nxa_error *error, const char *what, const char *host, const char *detail) {
  const char *separator = detail && *detail ? ": " : "";
  nxa__error_set(error, NXA_CONNECTION, "%s %s%s%s", what, host, separator, detail ? detail : "");
}

static void closed_early(nxa_error *error, const nxa__outcome *outcome, const char *host) {
  if (outcome->answered)
    nxa__error_set(error, NXA_CONNECTION, "%s closed the connection before its answer was whole", host);
  else
    nxa__error_set(error, NXA_CONNECTION, "%s closed the connection without an answer", host);
}

static void not_http(nxa_error *error, const nxa__outcome *outcome, const char *host) {
  nxa__error_set(error, NXA_PROTOCOL, "the answer of %s breaks HTTP%s%s", host, *outcome->detail ? ": " : "",
                 outcome->detail);
}

static void could_not_connect(nxa_error *error, const nxa__outcome *outcome, const char *host) {
  const char *reason = os_reason(outcome->os_error);
  if (*outcome->proxy)
    nxa__error_set(error, NXA_CONNECTION, "could not connect to the proxy %s on the way to %s: %s", outcome->proxy,
                   host, reason ? reason : outcome->detail);
  else
    connection(error, "could not connect to", host, reason ? reason : outcome->detail);
}

static bool is_certificate(CURLcode code) {
  return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_ISSUER_ERROR ||
         code == CURLE_SSL_PINNEDPUBKEYNOTMATCH || code == CURLE_SSL_INVALIDCERTSTATUS;
}

bool nxa__failure_is_hopeless(const nxa__outcome *outcome) {
  return is_certificate(outcome->code) || outcome->code == CURLE_SSL_CERTPROBLEM;
}

static void other_transfer(nxa_error *error, const nxa__outcome *outcome, const char *host) {
  if (is_certificate(outcome->code))
    connection(error, "TLS verification failed for", host, outcome->detail);
  else
    connection(error, "the connection broke to", host,
               *outcome->detail ? outcome->detail : curl_easy_strerror(outcome->code));
}

void nxa__failure_of_transfer(nxa_error *error, const nxa__outcome *outcome, const char *host) {
  switch (outcome->code) {
  case CURLE_COULDNT_RESOLVE_HOST:
    connection(error, "could not resolve host", host, NULL);
    return;
  case CURLE_COULDNT_RESOLVE_PROXY:
    nxa__error_set(error, NXA_CONNECTION, "could not resolve the proxy on the way to %s", host);
    return;
  case CURLE_COULDNT_CONNECT:
    could_not_connect(error, outcome, host);
    return;
  case CURLE_SSL_CONNECT_ERROR:
    connection(error, "TLS handshake failed with", host, outcome->detail);
    return;
  case CURLE_SSL_CERTPROBLEM:
    connection(error, "the client certificate or its key can't be used for", host, outcome->detail);
    return;
  case CURLE_GOT_NOTHING:
  case CURLE_PARTIAL_FILE:
  case CURLE_ABORTED_BY_CALLBACK:
    closed_early(error, outcome, host);
    return;
  case CURLE_OUT_OF_MEMORY:
    nxa__error_memory(error);
    return;
  case CURLE_UNSUPPORTED_PROTOCOL:
  case CURLE_WEIRD_SERVER_REPLY:
  case CURLE_BAD_CONTENT_ENCODING:
  case CURLE_WRITE_ERROR:
    not_http(error, outcome, host);
    return;
  default:
    other_transfer(error, outcome, host);
  }
}

/* ---- statuses */

static const char *find_tag(const char *text, const char *end, const char *tag) {
  size_t length = strlen(tag);
  for (; (size_t)(end - text) >= length; text++)
    if (nxa__same_name(text, tag, length))
      return text;
  return NULL;
}

/* The title of a page where it stands there plainly; proxies and gateways put what is wrong into it. */
static size_t html_title(char *out, size_t size, const char *page, size_t length) {
  const char *end = page + length, *title = find_tag(page, end, "<title>");
  const char *stop = title ? find_tag(title, end, "</title>") : NULL;
  if (!stop || memchr(title + 7, '<', (size_t)(stop - title - 7)))
    return 0;
  return nxa__text_line(out, size, title + 7, (size_t)(stop - title - 7));
}

static bool is_html(const nxa__answer *answer) {
  return nxa__answer_has_type(answer, "text/html") || nxa__answer_has_type(answer, "application/xhtml+xml");
}

static void describe_html(nxa_error *error, nxa_kind kind, int status, const nxa__buffer *body, const char *host) {
  char title[128];
  size_t looked = body->length < 64 * 1024 ? body->length : 64 * 1024;
  if (html_title(title, sizeof title, nxa__buffer_text(body), looked) > 0)
    nxa__error_set(error, kind, "HTTP %d from %s: an HTML page, \"%s\"", status, host, title);
  else
    nxa__error_set(error, kind, "HTTP %d from %s: an HTML page", status, host);
}

static void describe_body(nxa_error *error, nxa_kind kind, int status, const nxa__buffer *body, const char *host) {
  char start[300];
  if (nxa__text_line(start, sizeof start, nxa__buffer_text(body), body->length) > 0)
    nxa__error_set(error, kind, "HTTP %d from %s: %s", status, host, start);
  else
    nxa__error_set(error, kind, "HTTP %d from %s, without a text", status, host);
}

void nxa__failure_of_status(nxa_error *error, const nxa__answer *answer, const nxa__buffer *body, const char *host) {
  int status = answer->status;
  nxa_kind kind = nxa__kind_of_status(status);
  if (status >= 300 && status < 400)
    nxa__error_set(error, kind, "HTTP %d from %s: redirects are not followed, check the base URL", status, host);
  else if (is_html(answer))
    describe_html(error, kind, status, body, host);
  else
    describe_body(error, kind, status, body, host);
}
