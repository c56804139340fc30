#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

static const char *const names[] = {
    [NXA_OK] = "ok",
    [NXA_INVALID] = "invalid",
    [NXA_MEMORY] = "memory",
    [NXA_CONNECTION] = "connection",
    [NXA_TIMEOUT] = "timeout",
    [NXA_CANCELLED] = "cancelled",
    [NXA_CLOSED] = "closed",
    [NXA_TOO_LARGE] = "too_large",
    [NXA_PROTOCOL] = "protocol",
    [NXA_BAD_REQUEST] = "bad_request",
    [NXA_AUTHENTICATION] = "authentication",
    [NXA_PERMISSION] = "permission",
    [NXA_NOT_FOUND] = "not_found",
    [NXA_CONFLICT] = "conflict",
    [NXA_UNPROCESSABLE] = "unprocessable",
    [NXA_RATE_LIMIT] = "rate_limit",
    [NXA_SERVER] = "server",
    [NXA_STATUS] = "status",
};

const char *nxa_kind_name(nxa_kind kind) {
  size_t index = (size_t)kind;
  return index < sizeof names / sizeof *names ? names[index] : "unknown";
}

const char *nxa_version(void) {
  return NXA_VERSION;
}

void nxa__error_clear(nxa_error *error) {
  if (!error)
    return;
  memset(error, 0, sizeof *error);
  error->retry_after = -1;
}

nxa_kind nxa__error_set(nxa_error *error, nxa_kind kind, const char *format, ...) {
  if (!error)
    return kind;
  /* more than a message holds, so that what is cut gets its mark */
  char text[sizeof error->message + 64];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  size_t kept = length < 0 ? 0 : (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
  nxa__error_clear(error);
  error->kind = kind;
  nxa__text_line(error->message, sizeof error->message, text, kept);
  return kind;
}

nxa_kind nxa__error_memory(nxa_error *error) {
  return nxa__error_set(error, NXA_MEMORY, "out of memory");
}

const char *nxa__error_of_file(int number) {
  switch (number) {
  case ELOOP:
    return "it is a symbolic link, and links aren't followed";
  case NXA__NOT_REGULAR:
    return "it is no regular file";
  default:
    return strerror(number);
  }
}

nxa_kind nxa__kind_of_status(int status) {
  if (status >= 200 && status < 300)
    return NXA_OK;
  if (status >= 500 && status < 600)
    return NXA_SERVER;
  switch (status) {
  case 400:
    return NXA_BAD_REQUEST;
  case 401:
    return NXA_AUTHENTICATION;
  case 403:
    return NXA_PERMISSION;
  case 404:
    return NXA_NOT_FOUND;
  case 409:
    return NXA_CONFLICT;
  case 422:
    return NXA_UNPROCESSABLE;
  case 429:
    return NXA_RATE_LIMIT;
  default:
    return NXA_STATUS;
  }
}
