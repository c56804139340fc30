#include "pairs.h"

#include <string.h>

static int hexadecimal(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes percent-encoding in place. False where it is broken. */
static bool decode(char *text, size_t *length) {
  size_t used = 0;
  for (size_t at = 0; at < *length; at++) {
    int code = (unsigned char)text[at];
    if (code == '%') {
      int high = at + 2 < *length ? hexadecimal(text[at + 1]) : -1, low = high >= 0 ? hexadecimal(text[at + 2]) : -1;
      if (low < 0)
        return false;
      code = high * 16 + low;
      at += 2;
    }
    text[used++] = (char)code;
  }
  *length = used;
  return true;
}

static void trim(char **text, size_t *length) {
  while (*length > 0 && (**text == ' ' || **text == '\t')) {
    ++*text;
    --*length;
  }
  while (*length > 0 && ((*text)[*length - 1] == ' ' || (*text)[*length - 1] == '\t'))
    --*length;
}

bool nxa__next_pair(char **rest, nxa__pair *pair, bool *broken) {
  char *at = *rest;
  *broken = false;
  at += strspn(at, ", \t");
  size_t length = strcspn(at, ",");
  *rest = at + length;
  if (length == 0)
    return false;
  char *sign = memchr(at, '=', length);
  if (!sign) {
    *broken = true;
    return false;
  }
  *pair = (nxa__pair){at, (size_t)(sign - at), sign + 1, length - (size_t)(sign - at) - 1};
  trim(&pair->name, &pair->name_length);
  trim(&pair->value, &pair->value_length);
  *broken =
      pair->name_length == 0 || !decode(pair->name, &pair->name_length) || !decode(pair->value, &pair->value_length);
  return !*broken;
}
