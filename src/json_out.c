#include "json_out.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

#define REPLACEMENT "\xEF\xBF\xBD"
#define MOST_GROWTH 8 /* a byte takes at most six as \u0000, and the quotes */
#define MARK_ROOM 48  /* the longest mark, its 20 digits and quote included */

/* ------------------------------------------------------------------------------------------------ output */

typedef struct output {
  char *bytes; /* NULL: only measured */
  size_t used;
  size_t limit;
} output;

static bool put(output *out, const char *bytes, size_t length) {
  if (length > out->limit - out->used)
    return false;
  if (out->bytes)
    memcpy(out->bytes + out->used, bytes, length);
  out->used += length;
  return true;
}

static bool put_text(output *out, const char *text) {
  return put(out, text, strlen(text));
}

/* ------------------------------------------------------------------------------------------------ characters */

/* What a character takes in the source, and whether it can stay as it is. */
typedef struct unit {
  size_t length;
  bool good;
} unit;

static unit character(const char *text, size_t length) {
  size_t sequence = nxa__utf8_length(text, length);
  return sequence ? (unit){sequence, true} : (unit){1, false};
}

static int hexadecimal_digit(char digit) {
  if (digit >= '0' && digit <= '9')
    return digit - '0';
  if (digit >= 'a' && digit <= 'f')
    return digit - 'a' + 10;
  return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* The code unit of a \uXXXX escape, -1 where there is none. */
static int escaped_code(const char *text, size_t length) {
  if (length < 6 || text[0] != '\\' || text[1] != 'u')
    return -1;
  int code = 0;
  for (int i = 2; i < 6; i++) {
    int digit = hexadecimal_digit(text[i]);
    if (digit < 0)
      return -1;
    code = code * 16 + digit;
  }
  return code;
}

static bool high_surrogate(int code) {
  return code >= 0xD800 && code <= 0xDBFF;
}

static bool low_surrogate(int code) {
  return code >= 0xDC00 && code <= 0xDFFF;
}

/* An escape sequence, a pair of surrogates being one. */
static unit escape(const char *text, size_t length) {
  int code = escaped_code(text, length);
  if (code < 0)
    return (unit){length < 2 ? length : 2, length >= 2 && text[1] != 'u' && (unsigned char)text[1] < 0x80};
  if (low_surrogate(code))
    return (unit){6, false};
  if (!high_surrogate(code))
    return (unit){6, true};
  bool paired = low_surrogate(escaped_code(text + 6, length - 6));
  return (unit){paired ? 12 : 6, paired};
}

/* ------------------------------------------------------------------------------------------------ text */

static bool plain(unsigned char byte) {
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

static size_t plain_run(const char *text, size_t length) {
  size_t run = 0;
  while (run < length && plain((unsigned char)text[run]))
    run++;
  return run;
}

/* Puts one ASCII character that can't stand in a JSON string by itself. */
static bool put_escaped(output *out, char byte) {
  static const char short_escapes[] = "\"\"\\\\\bb\ff\nn\rr\tt";
  for (const char *entry = short_escapes; *entry; entry += 2)
    if (entry[0] == byte)
      return put(out, (char[]){'\\', entry[1]}, 2);
  char code[8];
  snprintf(code, sizeof code, "\\u%04x", (unsigned)(unsigned char)byte);
  return put(out, code, 6);
}

static bool put_character(output *out, const char *text, unit read) {
  if (!read.good)
    return put_text(out, REPLACEMENT);
  if (read.length == 1 && !plain((unsigned char)*text))
    return put_escaped(out, *text);
  return put(out, text, read.length);
}

/* Puts as much of a run as there is room for; false where that isn't all. */
static bool put_run(output *out, const char *text, size_t length) {
  size_t room = out->limit - out->used;
  put(out, text, length < room ? length : room);
  return length <= room;
}

/* Puts the inside of a JSON string, up to the first character there is no room for. */
static bool put_inside(output *out, const char *text, size_t length) {
  size_t at = 0;
  while (at < length) {
    size_t run = plain_run(text + at, length - at);
    if (!put_run(out, text + at, run))
      return false;
    at += run;
    if (at == length)
      break;
    unit next = character(text + at, length - at);
    if (!put_character(out, text + at, next))
      return false;
    at += next.length;
  }
  return true;
}

static size_t put_mark(output *out, size_t length) {
  char mark[MARK_ROOM];
  snprintf(mark, sizeof mark, "\xE2\x80\xA6 [cut, %zu bytes]\"", length);
  put_text(out, mark);
  return out->used;
}

static bool put_string(output *out, const char *text, size_t length) {
  return put(out, "\"", 1) && put_inside(out, text, length) && put(out, "\"", 1);
}

static size_t cut_text(output *out, const char *text, size_t length) {
  out->limit -= MARK_ROOM;
  put(out, "\"", 1);
  put_inside(out, text, length);
  out->limit += MARK_ROOM;
  return put_mark(out, length);
}

typedef bool (*put_whole)(output *out, const char *text, size_t length);

/* Whether all of it fits. Measured, not tried: the block written to may be smaller than the limit. */
static bool fits(put_whole put_all, size_t limit, const char *text, size_t length) {
  output measured = {NULL, 0, limit};
  return length < limit / MOST_GROWTH || put_all(&measured, text, length);
}

size_t nxa__json_string(char *bytes, size_t limit, const char *text, size_t length, bool *cut) {
  output out = {bytes, 0, limit};
  bool whole = fits(put_string, limit, text, length);
  if (cut)
    *cut = !whole;
  if (!whole)
    return cut_text(&out, text, length);
  put_string(&out, text, length);
  return out.used;
}

void nxa__json_append_string(nxa__buffer *out, const char *text, size_t length) {
  size_t size = nxa__json_string(NULL, SIZE_MAX, text, length, NULL);
  if (nxa__buffer_reserve(out, size) != NXA_OK)
    return;
  nxa__json_string(out->data + out->length, SIZE_MAX, text, length, NULL);
  out->length += size;
  out->data[out->length] = '\0';
}

/* ------------------------------------------------------------------------------------------------ values */

/* Bytes of JSON that can be copied without a look: neither an escape nor beyond ASCII. Eight at a time. */
static size_t clean_run(const char *json, size_t length) {
  size_t run = 0;
  for (uint64_t word; length - run >= sizeof word; run += sizeof word) {
    memcpy(&word, json + run, sizeof word);
    uint64_t other = word ^ UINT64_C(0x5C5C5C5C5C5C5C5C); /* a backslash becomes a zero byte */
    uint64_t backslash = (other - UINT64_C(0x0101010101010101)) & ~other;
    if ((word | backslash) & UINT64_C(0x8080808080808080))
      break;
  }
  while (run < length && (unsigned char)json[run] < 0x80 && json[run] != '\\')
    run++;
  return run;
}

/* Copies JSON up to the first escape or character there is no room for. */
static bool put_json(output *out, const char *json, size_t length) {
  size_t at = 0;
  while (at < length) {
    size_t run = clean_run(json + at, length - at);
    if (!put_run(out, json + at, run))
      return false;
    at += run;
    if (at == length)
      break;
    unit next = json[at] == '\\' ? escape(json + at, length - at) : character(json + at, length - at);
    bool fits = next.good ? put(out, json + at, next.length) : put_text(out, REPLACEMENT);
    if (!fits)
      return false;
    at += next.length;
  }
  return true;
}

static size_t cut_string(output *out, const char *json, size_t length) {
  out->limit -= MARK_ROOM;
  put_json(out, json, length);
  out->limit += MARK_ROOM;
  return put_mark(out, length);
}

static size_t cut_other(output *out, const char *json, size_t length) {
  char head[MARK_ROOM];
  snprintf(head, sizeof head, "{\"cut\":true,\"bytes\":%zu,\"start\":\"", length);
  put_text(out, head);
  out->limit -= 2;
  put_inside(out, json, length);
  out->limit += 2;
  put(out, "\"}", 2);
  return out->used;
}

static bool blank(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static size_t leading_blanks(const char *json, size_t length) {
  size_t at = 0;
  while (at < length && blank(json[at]))
    at++;
  return at;
}

size_t nxa__json_value(char *bytes, size_t limit, const char *json, size_t length, bool *cut) {
  output out = {bytes, 0, limit};
  size_t blanks = leading_blanks(json, length);
  json += blanks;
  length -= blanks;
  while (length > 0 && blank(json[length - 1]))
    length--;
  bool whole = fits(put_json, limit, json, length);
  if (cut)
    *cut = !whole;
  if (!whole)
    return json[0] == '"' ? cut_string(&out, json, length) : cut_other(&out, json, length);
  put_json(&out, json, length);
  return out.used;
}

/* ------------------------------------------------------------------------------------------------ finding */

typedef struct reader {
  const char *at;
  const char *end;
} reader;

static void skip_blanks(reader *in) {
  in->at += leading_blanks(in->at, (size_t)(in->end - in->at));
}

static bool take(reader *in, char expected) {
  skip_blanks(in);
  if (in->at == in->end || *in->at != expected)
    return false;
  in->at++;
  return true;
}

/* Passes a string; its inside is [start, at - 1). */
static bool take_string(reader *in, const char **start, size_t *length) {
  if (!take(in, '"'))
    return false;
  *start = in->at;
  while (in->at < in->end && *in->at != '"')
    in->at += *in->at == '\\' && in->end - in->at > 1 ? 2 : 1;
  if (in->at == in->end)
    return false;
  *length = (size_t)(in->at - *start);
  in->at++;
  return true;
}

/* Passes what isn't a string: up to the comma, brace or bracket that ends it, brackets counted. */
static bool skip_other(reader *in) {
  size_t depth = 0;
  while (in->at < in->end) {
    const char *start;
    size_t length;
    char next = *in->at;
    if (depth == 0 && (next == ',' || next == '}' || next == ']'))
      return true;
    if (next == '"') {
      if (!take_string(in, &start, &length))
        return false;
      continue;
    }
    depth += next == '{' || next == '[';
    depth -= depth > 0 && (next == '}' || next == ']');
    in->at++;
  }
  return false;
}

static size_t encode(uint32_t code, char out[4]) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  size_t tail = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const unsigned heads[] = {0, 0xC0, 0xE0, 0xF0};
  for (size_t i = tail; i > 0; i--, code >>= 6)
    out[i] = (char)(0x80 | (code & 0x3F));
  out[0] = (char)(heads[tail] | code);
  return tail + 1;
}

/* What a backslash and a letter stand for. */
static char meaning(char letter) {
  static const char short_escapes[] = "b\bf\fn\nr\rt\t";
  for (const char *entry = short_escapes; *entry; entry += 2)
    if (entry[0] == letter)
      return entry[1];
  return letter;
}

static uint32_t plain_escape(char letter) {
  switch (letter) {
  case 'b':
  case 'f':
  case 'n':
  case 'r':
  case 't':
    return ' ';
  default:
    return (unsigned char)letter;
  }
}

static uint32_t code_point(const char *text, unit read) {
  uint32_t code = (uint32_t)escaped_code(text, 6);
  if (read.length == 12)
    code = 0x10000 + ((code - 0xD800) << 10) + (uint32_t)(escaped_code(text + 6, 6) - 0xDC00);
  return code;
}

static uint32_t escape_value(const char *text, unit read) {
  if (read.length == 2)
    return plain_escape(text[1]);
  uint32_t code = code_point(text, read);
  return code < 0x20 || (code >= 0x7F && code < 0xA0) ? ' ' : code;
}

static bool put_unescaped(output *out, const char *text, unit read) {
  char bytes[4];
  if (!read.good)
    return put_text(out, REPLACEMENT);
  if (*text == '\\')
    return put(out, bytes, encode(escape_value(text, read), bytes));
  if ((unsigned char)*text < 0x20 || *text == 0x7F)
    return put(out, " ", 1);
  return put(out, text, read.length);
}

static void unescape(output *out, const char *text, size_t length) {
  for (size_t at = 0; at < length;) {
    unit next = text[at] == '\\' ? escape(text + at, length - at) : character(text + at, length - at);
    if (!put_unescaped(out, text + at, next))
      return;
    at += next.length;
  }
}

/* Moves to the value of `key`, which is followed by nothing but the rest of the object. */
static bool find_member(reader *in, const char *key) {
  const char *name;
  size_t length;
  if (!take(in, '{'))
    return false;
  do {
    if (!take_string(in, &name, &length) || !take(in, ':'))
      return false;
    skip_blanks(in);
    if (length == strlen(key) && memcmp(name, key, length) == 0)
      return true;
    if (!skip_other(in))
      return false;
  } while (take(in, ','));
  return false;
}

bool nxa__json_find_string(const char *json, size_t length, const char *key, char *bytes, size_t capacity) {
  reader in = {json, json + length};
  const char *text;
  size_t text_length;
  bytes[0] = '\0';
  if (!find_member(&in, key) || !take_string(&in, &text, &text_length))
    return false;
  output out = {bytes, 0, capacity - 1};
  unescape(&out, text, text_length);
  bytes[out.used] = '\0';
  return true;
}

/* ------------------------------------------------------------------------------------------------ reading */

static const nxa__json absent = {NULL, 0};

/* The value at the reader's place, without the blanks behind it. */
static nxa__json value_at(reader *in) {
  skip_blanks(in);
  const char *start = in->at;
  if (!skip_other(in))
    in->at = in->end;
  const char *end = in->at;
  while (end > start && blank(end[-1]))
    end--;
  return end > start ? (nxa__json){(char *)start, (size_t)(end - start)} : absent;
}

nxa__json nxa__json_member(nxa__json json, const char *key) {
  reader in = {json.text, json.text + json.length};
  return json.text && find_member(&in, key) ? value_at(&in) : absent;
}

nxa__json nxa__json_next(nxa__json *rest) {
  if (!rest->text)
    return absent;
  reader in = {rest->text, rest->text + rest->length};
  nxa__json element = take(&in, '[') || take(&in, ',') ? value_at(&in) : absent;
  *rest = (nxa__json){(char *)in.at, (size_t)(in.end - in.at)};
  return element;
}

static size_t decode_unit(char *out, const char *text, unit read) {
  if (*text != '\\')
    memcpy(out, text, read.length);
  else if (read.length > 2)
    return encode(code_point(text, read), out);
  else
    *out = meaning(text[1]);
  return *text == '\\' ? 1 : read.length;
}

size_t nxa__json_characters(char *out, nxa__json inside) {
  const char *text = inside.text;
  size_t length = inside.length, used = 0;
  for (size_t at = 0; at < length;) {
    size_t run = clean_run(text + at, length - at);
    memcpy(out + used, text + at, run);
    used += run;
    at += run;
    if (at == length)
      break;
    unit next = text[at] == '\\' ? escape(text + at, length - at) : character(text + at, length - at);
    used += decode_unit(out + used, text + at, next);
    at += next.length;
  }
  return used;
}
