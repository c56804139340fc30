#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "otlp.h"

#define LONGEST_NUMBER 400 /* more digits than any double has */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_whole(nxa__json number) {
  size_t at = number.text[0] == '-';
  while (at < number.length && is_digit(number.text[at]))
    at++;
  return at == number.length;
}

/* A copy with an end, and with the mark before the fraction that strtod wants in the locale of the host. */
static void copy_number(char out[LONGEST_NUMBER], nxa__json number) {
  memcpy(out, number.text, number.length);
  out[number.length] = '\0';
  char *point = strchr(out, '.');
  if (point)
    *point = localeconv()->decimal_point[0];
}

double nxa__otlp_double(nxa__json number) {
  char copy[LONGEST_NUMBER];
  copy_number(copy, number);
  return strtod(copy, NULL);
}

/* False where it doesn't fit. */
static bool read_integer(nxa__json number, int64_t *value) {
  char copy[LONGEST_NUMBER];
  copy_number(copy, number);
  errno = 0;
  *value = strtoll(copy, NULL, 10);
  return errno == 0;
}

int64_t nxa__otlp_integer(nxa__json number) {
  int64_t value = 0;
  read_integer(number, &value);
  return value;
}

#define SURELY_FITS 18 /* so many digits are below 2^63 */

static nxa__otlp_type type_of_number(nxa__json number) {
  int64_t value;
  if (number.length >= LONGEST_NUMBER)
    return NXA__OTLP_JSON;
  if (is_whole(number) && (number.length <= SURELY_FITS || read_integer(number, &value)))
    return NXA__OTLP_INTEGER;
  return isfinite(nxa__otlp_double(number)) ? NXA__OTLP_DOUBLE : NXA__OTLP_JSON;
}

static nxa__otlp_type type_of(nxa__json value) {
  switch (value.text[0]) {
  case '"':
    return NXA__OTLP_STRING;
  case 't':
  case 'f':
    return NXA__OTLP_BOOLEAN;
  case '{':
  case '[':
    return NXA__OTLP_JSON;
  default:
    return type_of_number(value);
  }
}

nxa__json nxa__otlp_inside(nxa__json string) {
  if (!string.text || string.text[0] != '"')
    return (nxa__json){NULL, 0};
  return (nxa__json){string.text + 1, string.length - 2};
}

bool nxa__otlp_set_value(nxa__otlp_attribute *attribute, nxa__json value) {
  if (!value.text || value.text[0] == 'n')
    return false;
  attribute->type = type_of(value);
  attribute->value = attribute->type == NXA__OTLP_STRING ? nxa__otlp_inside(value) : value;
  return true;
}
