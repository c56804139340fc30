#include "json_check.h"

#include <string.h>

#include "nexus_assistants.h"

typedef struct text {
  const char *at;
  const char *end;
} text;

static bool value(text *in, int depth);

static bool more(const text *in) {
  return in->at < in->end;
}

static bool take(text *in, char expected) {
  if (!more(in) || *in->at != expected)
    return false;
  in->at++;
  return true;
}

static void blanks(text *in) {
  while (more(in) && strchr(" \t\r\n", *in->at) && *in->at)
    in->at++;
}

static bool code(text *in, unsigned *result) {
  if (in->end - in->at < 4)
    return false;
  *result = 0;
  for (int i = 0; i < 4; i++) {
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *digit = *in->at ? strchr(digits, *in->at) : NULL;
    if (!digit)
      return false;
    *result = *result * 16 + (unsigned)((digit - digits) % 16);
    in->at++;
  }
  return true;
}

static bool escape(text *in) {
  unsigned first, second;
  if (!more(in))
    return false;
  char letter = *in->at++;
  if (letter != 'u')
    return letter && strchr("\"\\/bfnrt", letter);
  if (!code(in, &first) || (first >= 0xDC00 && first <= 0xDFFF))
    return false;
  if (first < 0xD800 || first > 0xDBFF)
    return true;
  return take(in, '\\') && take(in, 'u') && code(in, &second) && second >= 0xDC00 && second <= 0xDFFF;
}

static bool string(text *in) {
  if (!take(in, '"'))
    return false;
  while (more(in) && *in->at != '"') {
    if ((unsigned char)*in->at < 0x20)
      return false;
    if (*in->at++ == '\\' && !escape(in))
      return false;
  }
  return take(in, '"');
}

static bool digits(text *in) {
  const char *start = in->at;
  while (more(in) && *in->at >= '0' && *in->at <= '9')
    in->at++;
  return in->at > start;
}

static bool number(text *in) {
  take(in, '-');
  if (!take(in, '0') && !digits(in))
    return false;
  if (take(in, '.') && !digits(in))
    return false;
  if (!take(in, 'e') && !take(in, 'E'))
    return true;
  if (!take(in, '+'))
    take(in, '-');
  return digits(in);
}

static bool word(text *in, const char *expected) {
  size_t length = strlen(expected);
  if ((size_t)(in->end - in->at) < length || memcmp(in->at, expected, length) != 0)
    return false;
  in->at += length;
  return true;
}

static bool member(text *in, bool named, int depth) {
  blanks(in);
  if (named) {
    if (!string(in))
      return false;
    blanks(in);
    if (!take(in, ':'))
      return false;
  }
  return value(in, depth);
}

static bool members(text *in, char close, int depth) {
  blanks(in);
  if (take(in, close))
    return true;
  do {
    if (!member(in, close == '}', depth))
      return false;
  } while (take(in, ','));
  return take(in, close);
}

static bool bare(text *in, int depth) {
  if (!more(in) || depth > 200)
    return false;
  switch (*in->at) {
  case '"':
    return string(in);
  case '{':
    return take(in, '{') && members(in, '}', depth + 1);
  case '[':
    return take(in, '[') && members(in, ']', depth + 1);
  case 't':
    return word(in, "true");
  case 'f':
    return word(in, "false");
  case 'n':
    return word(in, "null");
  default:
    return number(in);
  }
}

static bool value(text *in, int depth) {
  blanks(in);
  if (!bare(in, depth))
    return false;
  blanks(in);
  return true;
}

bool json_check(const char *json, size_t length) {
  text in = {json, json + length};
  return nxa_utf8_valid(json, length, NULL) && value(&in, 0) && in.at == in.end;
}
