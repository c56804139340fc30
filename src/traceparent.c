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

/* Later versions may add something behind another dash. */
static bool ends_well(const char *text) {
  bool is_first = strncmp(text, "00", 2) == 0;
  return text[END] == '\0' || (!is_first && text[END] == '-');
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
  copy_part(out->flags, text + FLAGS, 2);
  return true;
}
