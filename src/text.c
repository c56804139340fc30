#include "text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "nexus_assistants.h"

static bool in(unsigned char byte, unsigned low, unsigned high) {
  return byte >= low && byte <= high;
}

/* The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF. */
static bool second_byte_fits(unsigned char first, unsigned char second) {
  switch (first) {
  case 0xE0:
    return in(second, 0xA0, 0xBF);
  case 0xED:
    return in(second, 0x80, 0x9F);
  case 0xF0:
    return in(second, 0x90, 0xBF);
  case 0xF4:
    return in(second, 0x80, 0x8F);
  default:
    return in(second, 0x80, 0xBF);
  }
}

static size_t announced_length(unsigned char first) {
  if (first < 0x80)
    return 1;
  if (in(first, 0xC2, 0xDF))
    return 2;
  if (in(first, 0xE0, 0xEF))
    return 3;
  return in(first, 0xF0, 0xF4) ? 4 : 0;
}

size_t nxa__utf8_length(const char *text, size_t length) {
  const unsigned char *bytes = (const unsigned char *)text;
  size_t needed = length ? announced_length(bytes[0]) : 0;
  if (needed < 2)
    return needed;
  if (needed > length || !second_byte_fits(bytes[0], bytes[1]))
    return 0;
  for (size_t i = 2; i < needed; i++)
    if (!in(bytes[i], 0x80, 0xBF))
      return 0;
  return needed;
}

/* Most text is ASCII: eight bytes at a time. */
static size_t ascii_prefix(const char *text, size_t length) {
  size_t at = 0;
  while (length - at >= 8) {
    uint64_t eight;
    memcpy(&eight, text + at, 8);
    if (eight & UINT64_C(0x8080808080808080))
      break;
    at += 8;
  }
  while (at < length && (unsigned char)text[at] < 0x80)
    at++;
  return at;
}

bool nxa_utf8_valid(const char *text, size_t length, size_t *offset) {
  size_t at = 0;
  while (at < length) {
    at += ascii_prefix(text + at, length - at);
    if (at == length)
      break;
    size_t step = nxa__utf8_length(text + at, length - at);
    if (step == 0) {
      if (offset)
        *offset = at;
      return false;
    }
    at += step;
  }
  return true;
}

size_t nxa__utf8_cut(const char *text, size_t length, size_t limit) {
  if (length <= limit)
    return length;
  while (limit > 0 && ((unsigned char)text[limit] & 0xC0) == 0x80)
    limit--;
  return limit;
}

static bool is_blank(unsigned char byte) {
  return byte <= 0x20 || byte == 0x7F;
}

/* U+0080 to U+009F are control characters too, and U+2028 and U+2029 break lines. */
static bool is_blank_character(const char *text, size_t length) {
  const unsigned char *bytes = (const unsigned char *)text;
  if (length == 1)
    return is_blank(bytes[0]);
  if (length == 2)
    return bytes[0] == 0xC2 && bytes[1] < 0xA0;
  return length == 3 && bytes[0] == 0xE2 && bytes[1] == 0x80 && (bytes[2] == 0xA8 || bytes[2] == 0xA9);
}

typedef struct clean_line {
  char *out;
  size_t room, length;
  size_t mark; /* where a cut mark fits */
  bool space;  /* owed before the next character */
} clean_line;

static bool line_add(clean_line *line, const char *text, size_t length) {
  size_t space = line->space ? 1 : 0;
  if (line->length + space + length > line->room)
    return false;
  if (space)
    line->out[line->length++] = ' ';
  line->space = false;
  memcpy(line->out + line->length, text, length);
  line->length += length;
  if (line->length + 3 <= line->room)
    line->mark = line->length;
  return true;
}

/* Nothing needs cleaning: visible ASCII, as nearly all of what servers say in headers, with single spaces in it. */
static bool is_clean(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++) {
    bool visible = text[i] > ' ' && text[i] < 0x7F;
    bool between = text[i] == ' ' && i > 0 && i + 1 < length && text[i + 1] != ' ';
    if (!visible && !between)
      return false;
  }
  return true;
}

size_t nxa__text_line(char *out, size_t size, const char *text, size_t length) {
  if (length < size && is_clean(text, length)) {
    memcpy(out, text, length);
    out[length] = '\0';
    return length;
  }
  clean_line line = {out, size ? size - 1 : 0, 0, 0, false};
  bool fits = size > 0;
  for (size_t at = 0; at < length && fits;) {
    size_t step = nxa__utf8_length(text + at, length - at);
    if (step && is_blank_character(text + at, step))
      line.space = line.length > 0;
    else
      fits = step ? line_add(&line, text + at, step) : line_add(&line, "\xEF\xBF\xBD", 3);
    at += step ? step : 1;
  }
  if (!fits && line.room >= 3) {
    memcpy(out + line.mark, "\xE2\x80\xA6", 3);
    line.length = line.mark + 3;
  }
  if (size > 0)
    out[line.length] = '\0';
  return line.length;
}

void nxa__hex(char *out, const unsigned char *bytes, size_t count) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < count; i++) {
    out[2 * i] = digits[bytes[i] >> 4];
    out[2 * i + 1] = digits[bytes[i] & 15];
  }
  out[2 * count] = '\0';
}

/* Days since 1970 to a date of the Gregorian calendar; years begin in March, so that leap days come last. */
static void civil_date(int64_t days, int *year, int *month, int *day) {
  int64_t since = days + 719468; /* since 0000-03-01 */
  int64_t era = (since >= 0 ? since : since - 146096) / 146097;
  int64_t of_era = since - era * 146097;
  int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t shifted = (5 * of_year + 2) / 153;
  *day = (int)(of_year - (153 * shifted + 2) / 5 + 1);
  *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
  *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

static void put_digits(char *out, int value, int count) {
  while (count--) {
    out[count] = (char)('0' + value % 10);
    value /= 10;
  }
}

void nxa__timestamp(char out[NXA__TIMESTAMP_SIZE], int64_t wall_ns) {
  /* INT64_MAX ns is the year 2262 and INT64_MIN 1677: four digits always do */
  int64_t us = wall_ns / 1000 - (wall_ns % 1000 < 0);
  int64_t seconds = us / 1000000 - (us % 1000000 < 0);
  int64_t days = seconds / 86400 - (seconds % 86400 < 0);
  int in_day = (int)(seconds - days * 86400);
  int year, month, day;
  civil_date(days, &year, &month, &day);
  memcpy(out, "0000-00-00T00:00:00.000000Z", NXA__TIMESTAMP_SIZE);
  put_digits(out, year, 4);
  put_digits(out + 5, month, 2);
  put_digits(out + 8, day, 2);
  put_digits(out + 11, in_day / 3600, 2);
  put_digits(out + 14, in_day / 60 % 60, 2);
  put_digits(out + 17, in_day % 60, 2);
  put_digits(out + 20, (int)(us - seconds * 1000000), 6);
}

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool nxa__same_word(const char *a, size_t a_length, const char *b) {
  for (size_t i = 0; i < a_length; i++)
    if (b[i] == '\0' || lower(a[i]) != lower(b[i]))
      return false;
  return b[a_length] == '\0';
}

bool nxa__same_name(const char *a, const char *b, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (lower(a[i]) != lower(b[i]))
      return false;
  return true;
}

bool nxa__is_printable(const char *text, size_t length, bool space) {
  for (size_t i = 0; i < length; i++) {
    unsigned char byte = (unsigned char)text[i];
    if (byte == ' ' ? !space : is_blank(byte))
      return false;
  }
  return true;
}

static bool is_token_byte(char c) {
  char small = lower(c);
  if ((small >= 'a' && small <= 'z') || (c >= '0' && c <= '9'))
    return true;
  return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

bool nxa__is_token(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (!is_token_byte(text[i]))
      return false;
  return length > 0;
}
