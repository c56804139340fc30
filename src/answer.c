#include "answer.h"

#include <string.h>

#include "clock.h"
#include "retry.h"
#include "text.h"

void nxa__answer_clear(nxa__answer *answer) {
  answer->status = 0;
  answer->complete = false;
  answer->content_type[0] = answer->request_id[0] = answer->date[0] = '\0';
  answer->retry_after = answer->retry_after_ms = answer->poll_after = -1;
  answer->should_retry = -1;
  answer->header_bytes = 0;
}

/* An interim answer (1xx), or one before a repetition, is followed by another: only the last one counts. */
static void begin(nxa__answer *answer, const char *line, size_t length) {
  size_t bytes = answer->header_bytes;
  nxa__answer_clear(answer);
  answer->header_bytes = bytes;
  const char *space = memchr(line, ' ', length);
  size_t left = space ? length - (size_t)(space + 1 - line) : 0;
  for (size_t i = 0; i < 3 && i < left && space[1 + i] >= '0' && space[1 + i] <= '9'; i++)
    answer->status = answer->status * 10 + (space[1 + i] - '0');
}

static void take_should_retry(nxa__answer *answer, const char *value) {
  if (nxa__same_word(value, strlen(value), "true"))
    answer->should_retry = 1;
  if (nxa__same_word(value, strlen(value), "false"))
    answer->should_retry = 0;
}

static void take_field(nxa__answer *answer, const char *name, size_t length, const char *value) {
  if (nxa__same_word(name, length, "content-type"))
    nxa__text_line(answer->content_type, sizeof answer->content_type, value, strlen(value));
  else if (nxa__same_word(name, length, "x-request-id"))
    nxa__text_line(answer->request_id, sizeof answer->request_id, value, strlen(value));
  else if (nxa__same_word(name, length, "retry-after"))
    answer->retry_after = nxa__retry_after(value, nxa__wall_ns());
  else if (nxa__same_word(name, length, "retry-after-ms"))
    answer->retry_after_ms = nxa__milliseconds_header(value);
  else if (nxa__same_word(name, length, "openai-poll-after-ms"))
    answer->poll_after = nxa__milliseconds_header(value);
  else if (nxa__same_word(name, length, "date"))
    nxa__text_line(answer->date, sizeof answer->date, value, strlen(value));
  else if (nxa__same_word(name, length, "x-should-retry"))
    take_should_retry(answer, value);
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Most headers are of no interest; none that is needs more room than this. */
static void take_value(nxa__answer *answer, const char *line, size_t name, const char *value, size_t length) {
  char text[256];
  while (length > 0 && is_blank(*value))
    value++, length--;
  while (length > 0 && is_blank(value[length - 1]))
    length--;
  if (length >= sizeof text)
    length = nxa__utf8_cut(value, length, sizeof text - 1);
  memcpy(text, value, length);
  text[length] = '\0';
  take_field(answer, line, name, text);
}

static bool interesting(const char *line) {
  return strchr("cCxXrRoOdD", line[0]) != NULL;
}

bool nxa__answer_take_line(nxa__answer *answer, const char *line, size_t length) {
  answer->header_bytes += length;
  if (answer->header_bytes > NXA__HEADER_BYTES_MAX)
    return false;
  if (length == 0)
    return true;
  if (length >= 5 && memcmp(line, "HTTP/", 5) == 0) {
    begin(answer, line, length);
    return true;
  }
  answer->complete = answer->complete || line[0] == '\r' || line[0] == '\n';
  const char *colon = interesting(line) ? memchr(line, ':', length) : NULL;
  if (colon)
    take_value(answer, line, (size_t)(colon - line), colon + 1, length - (size_t)(colon + 1 - line));
  return true;
}

double nxa__answer_wait(const nxa__answer *answer) {
  return answer->retry_after_ms >= 0 ? answer->retry_after_ms : answer->retry_after;
}

bool nxa__answer_is_success(const nxa__answer *answer) {
  return answer->status >= 200 && answer->status < 300;
}

bool nxa__answer_is_final(const nxa__answer *answer) {
  return answer->status >= 200 || answer->status == 101;
}

bool nxa__answer_has_type(const nxa__answer *answer, const char *type) {
  size_t length = strcspn(answer->content_type, "; \t");
  return nxa__same_word(answer->content_type, length, type);
}
