#include "otlp_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "call.h"
#include "endpoint.h"
#include "json_out.h"
#include "text.h"

/* ------------------------------------------------------------------------------------------------ protobuf */

/* A message that is read field by field. */
typedef struct reader {
  const unsigned char *at, *end;
} reader;

typedef struct field {
  unsigned number;
  uint64_t value; /* of a number */
  reader inside;  /* of bytes */
} field;

static bool read_varint(reader *in, uint64_t *value) {
  *value = 0;
  for (unsigned shift = 0; shift < 64 && in->at < in->end; shift += 7) {
    unsigned char byte = *in->at++;
    *value |= (uint64_t)(byte & 0x7F) << shift;
    if (byte < 0x80)
      return true;
  }
  return false;
}

/* False at the end, and at what is neither a number nor bytes: the answers have nothing else. */
static bool read_field(reader *in, field *out) {
  uint64_t tag, length;
  if (!read_varint(in, &tag))
    return false;
  *out = (field){.number = (unsigned)(tag >> 3)};
  if ((tag & 7) == 0)
    return read_varint(in, &out->value);
  if ((tag & 7) != 2 || !read_varint(in, &length) || length > (uint64_t)(in->end - in->at))
    return false;
  out->inside = (reader){in->at, in->at + length};
  in->at += length;
  return true;
}

enum { PARTIAL_SUCCESS = 1, REJECTED_SPANS = 1, ERROR_MESSAGE = 2 };

static uint64_t rejected_in_protobuf(reader answer, char *text, size_t size) {
  uint64_t rejected = 0;
  field outer, inner;
  while (read_field(&answer, &outer))
    while (outer.number == PARTIAL_SUCCESS && read_field(&outer.inside, &inner)) {
      if (inner.number == REJECTED_SPANS)
        rejected = inner.value;
      if (inner.number == ERROR_MESSAGE && inner.inside.at)
        nxa__text_line(text, size, (const char *)inner.inside.at, (size_t)(inner.inside.end - inner.inside.at));
    }
  return rejected;
}

/* ------------------------------------------------------------------------------------------------ JSON */

/* A number, or one as a string, as JSON has those of 64 bits. */
static uint64_t count_of(nxa__json value) {
  uint64_t count = 0;
  for (size_t i = 0; i < value.length && count < UINT32_MAX; i++)
    if (value.text[i] >= '0' && value.text[i] <= '9')
      count = count * 10 + (uint64_t)(value.text[i] - '0');
    else if (value.text[i] != '"')
      return 0;
  return count;
}

static uint64_t rejected_in_json(nxa__json answer, char *text, size_t size) {
  char words[1024];
  nxa__json partial = nxa__json_member(answer, "partialSuccess");
  if (!partial.text)
    return 0;
  nxa__json_find_string(partial.text, partial.length, "errorMessage", words, sizeof words);
  nxa__text_line(text, size, words, strlen(words));
  return count_of(nxa__json_member(partial, "rejectedSpans"));
}

uint64_t nxa__otlp_rejected(const char *body, size_t length, bool is_json, char *text, size_t size) {
  const unsigned char *bytes = (const unsigned char *)body;
  *text = '\0';
  uint64_t rejected = is_json ? rejected_in_json((nxa__json){(char *)body, length}, text, size)
                              : rejected_in_protobuf((reader){bytes, bytes + length}, text, size);
  return rejected < INT64_MAX ? rejected : 0; /* it is signed there */
}

/* ------------------------------------------------------------------------------------------------ judging */

static bool is_success(int status) {
  return status >= 200 && status < 300;
}

/* A batch isn't refused for what is in it. */
static bool is_unwanted(int status) {
  return status == 0 || (status >= 300 && status < 400) || status == 401 || status == 403 || status == 404 ||
         status == 405 || status == 407;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_letter(char c) {
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'z';
}

/* As of HTML and XML. Protobuf may begin with what reads as "\n<", too. */
static bool is_tag(const char *text, size_t length) {
  return length > 1 && text[0] == '<' && (text[1] == '!' || text[1] == '?' || is_letter(text[1]));
}

static bool is_of_type(const char *content_type, const char *part) {
  size_t length = strlen(part);
  for (; *content_type; content_type++)
    if (strncasecmp(content_type, part, length) == 0)
      return true;
  return false;
}

bool nxa__otlp_is_page(const char *content_type, const char *body, size_t length) {
  static const char mark[] = "\xEF\xBB\xBF"; /* of UTF-8, as some editors begin a page */
  size_t blank = length >= 3 && memcmp(body, mark, 3) == 0 ? 3 : 0;
  while (blank < length && is_blank(body[blank]))
    blank++;
  if (blank == length || is_of_type(content_type, "protobuf"))
    return false;
  bool is_html = is_of_type(content_type, "html");
  return is_tag(body + blank, length - blank) || (is_html && body[blank] != '{');
}

static bool is_page(const nxa_response *response) {
  return nxa__otlp_is_page(response->content_type, response->body, response->body_length);
}

static nxa__otlp_verdict judge(const nxa_response *response, nxa_kind kind) {
  int status = response->status;
  if (kind == NXA_CLOSED)
    return NXA__OTLP_CLOSED;
  if (is_success(status))
    return is_page(response) ? NXA__OTLP_UNWANTED : NXA__OTLP_TAKEN;
  if (status == 0 && (kind == NXA_CONNECTION || kind == NXA_TIMEOUT || kind == NXA_MEMORY))
    return NXA__OTLP_LATER;
  if (status == 429 || (status >= 502 && status <= 504))
    return NXA__OTLP_LATER;
  if (status == 413)
    return NXA__OTLP_TOO_LARGE;
  return is_unwanted(status) ? NXA__OTLP_UNWANTED : NXA__OTLP_REFUSED;
}

static bool is_json(const nxa_response *response) {
  return strstr(response->content_type, "json") != NULL;
}

/* A secret that is cut isn't found any more. */
static void read_text(nxa__otlp_answer *answer, const nxa_response *response, const nxa_endpoint *endpoint) {
  char words[1024] = "";
  if (is_success(answer->status))
    answer->rejected =
        nxa__otlp_rejected(response->body, response->body_length, is_json(response), words, sizeof words);
  else if (is_json(response))
    nxa__json_find_string(response->body, response->body_length, "message", words, sizeof words);
  nxa_endpoint_redact(endpoint, words, strlen(words));
  nxa__text_line(answer->text, sizeof answer->text, words, strlen(words));
}

static void explain(nxa__otlp_answer *answer, const nxa_error *error, const char *url) {
  char cause[2 * sizeof answer->cause];
  if (answer->status == 0)
    snprintf(cause, sizeof cause, "%s can't be reached: %s", url, error ? error->message : "");
  else if (is_success(answer->status) && answer->verdict == NXA__OTLP_UNWANTED)
    snprintf(cause, sizeof cause, "%s answers %d with a page", url, answer->status);
  else
    snprintf(cause, sizeof cause, "%s answers %d%s%s", url, answer->status, *answer->text ? ": " : "", answer->text);
  nxa__text_line(answer->cause, sizeof answer->cause, cause, strlen(cause));
}

void nxa__otlp_read(nxa__otlp_answer *answer, const nxa_call *call, const nxa_endpoint *endpoint, const char *url) {
  const nxa_response *response = nxa_call_response(call);
  const nxa_error *error = nxa_call_error(call);
  nxa_kind kind = error ? error->kind : NXA_OK;
  *answer =
      (nxa__otlp_answer){.verdict = judge(response, kind), .status = response->status, .wait = response->retry_after};
  answer->timeout = kind == NXA_TIMEOUT;
  answer->lost = answer->status == 0 && nxa__call_may_have_arrived(call);
  read_text(answer, response, endpoint);
  explain(answer, error, url);
}
