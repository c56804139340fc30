#include "traceparent.h"

#include <string.h>

static const char digits[] = "0123456789abcdef";

static bool is_number(const char *text, size_t length) {
  return strspn(text, digits) >= length;
}

static bool is_id(const char *text, size_t length) {
  return is_number(text, length) && strspn(text, "0") < length;
}

enum { TRACE_ID = 3, SPAN_ID = 36, FLAGS = 53, END = 55 };

static bool is_first_version(const char *text) {
  return strncmp(text, "00", 2) == 0;
}

/* Later versions may add something behind another dash. */
static bool ends_well(const char *text) {
  return text[END] == '\0' || (!is_first_version(text) && text[END] == '-');
}

/*
 * Of the flags only those go on that are known, as W3C asks: 01, sampled, and of the first version 02, a random id.
 * What others mean is for later versions to say.
 */
static void copy_flags(char out[3], const char *text) {
  size_t known = is_first_version(text) ? 3 : 1;
  size_t flags = (size_t)(strchr(digits, text[FLAGS + 1]) - digits);
  out[0] = '0';
  out[1] = digits[flags & known];
  out[2] = '\0';
}

static void copy_part(char *out, const char *text, size_t length) {
  memcpy(out, text, length);
  out[length] = '\0';
}

bool nxa__traceparent_read(const char *text, nxa__traceparent *out) {
  if (strlen(text) < END || text[TRACE_ID - 1] != '-' || text[SPAN_ID - 1] != '-' || text[FLAGS - 1] != '-')
    return false;
  if (!is_number(text, 2) || strncmp(text, "ff", 2) == 0 || !is_number(text + FLAGS, 2) || !ends_well(text))
    return false;
  if (!is_id(text + TRACE_ID, 32) || !is_id(text + SPAN_ID, 16))
    return false;
  copy_part(out->trace_id, text + TRACE_ID, 32);
  copy_part(out->span_id, text + SPAN_ID, 16);
  copy_flags(out->flags, text);
  return true;
}
