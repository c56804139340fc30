/*
 * lua-cjson 2.1.0 reads every number as a double and every empty array as an empty object. So what it would lose is
 * made a marked string first, which json.lua turns back into what it was.
 */
#include "binding.h"

#include <string.h>

/* Fewer digits than these always survive a double. */
#define LONG_INTEGER 15

typedef struct marker {
  lua_State *L;
  const char *position, *end;
  const char *copied; /* up to here the text is in the buffer */
  const char *mark;
  size_t mark_length;
  bool marked;
  luaL_Buffer buffer;
} marker;

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The characters in which a number's fraction and exponent are written. */
static bool in_number(char c) {
  return is_digit(c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-';
}

/* Adds the text from `copied` up to `upto`; the buffer is begun at the first mark. */
static void copy_until(marker *m, const char *upto) {
  if (!m->marked)
    luaL_buffinit(m->L, &m->buffer);
  m->marked = true;
  luaL_addlstring(&m->buffer, m->copied, (size_t)(upto - m->copied));
  m->copied = upto;
}

static void add_mark(marker *m) {
  luaL_addchar(&m->buffer, '"');
  luaL_addlstring(&m->buffer, m->mark, m->mark_length);
}

/* True where an odd number of backslashes stands before the quote. */
static bool is_escaped(const char *begin, const char *quote) {
  const char *p = quote;
  while (p > begin && p[-1] == '\\')
    p--;
  return (quote - p) % 2 != 0;
}

/* At an opening quote: goes behind the closing one, or to the end. */
static void skip_string(marker *m) {
  const char *begin = m->position + 1, *quote = begin;
  do
    quote = memchr(quote, '"', (size_t)(m->end - quote));
  while (quote && is_escaped(begin, quote) && quote++);
  m->position = quote ? quote + 1 : m->end;
}

static const char *skip_spaces(const marker *m, const char *p) {
  while (p < m->end && is_space(*p))
    p++;
  return p;
}

/* A number where a name belongs must not become the string that it should have been. */
static bool is_name(const marker *m, const char *behind) {
  const char *p = skip_spaces(m, behind);
  return p < m->end && *p == ':';
}

static void mark_integer(marker *m, const char *digits, const char *end) {
  copy_until(m, digits);
  add_mark(m);
  luaL_addlstring(&m->buffer, digits, (size_t)(end - digits));
  luaL_addchar(&m->buffer, '"');
  m->copied = end;
}

/* At a digit or a minus. A zero in front is left for the parser to refuse. */
static void scan_number(marker *m) {
  const char *start = m->position, *first = *start == '-' ? start + 1 : start, *p = first;
  while (p < m->end && is_digit(*p))
    p++;
  bool integer = p == m->end || !in_number(*p);
  if (integer && p - first >= LONG_INTEGER && *first != '0' && !is_name(m, p))
    mark_integer(m, start, p);
  while (p < m->end && in_number(*p))
    p++;
  m->position = p;
}

/* At an opening bracket. */
static void scan_array(marker *m) {
  const char *p = skip_spaces(m, m->position + 1);
  if (p < m->end && *p == ']') {
    copy_until(m, m->position + 1);
    add_mark(m);
    luaL_addchar(&m->buffer, '"');
    m->copied = p;
  }
  m->position = p;
}

static void scan(marker *m) {
  while (m->position < m->end) {
    char c = *m->position;
    if (c == '"')
      skip_string(m);
    else if (c == '[')
      scan_array(m);
    else if (c == '-' || is_digit(c))
      scan_number(m);
    else
      m->position++;
  }
}

/* core.json_mark(text, mark) → text, whether anything was marked */
int nxa__lua_json_mark(lua_State *L) {
  size_t length;
  marker m;
  m.L = L;
  m.marked = false;
  m.copied = m.position = luaL_checklstring(L, 1, &length);
  m.mark = luaL_checklstring(L, 2, &m.mark_length);
  m.end = m.position + length;
  lua_settop(L, 2);
  scan(&m);
  if (m.marked) {
    luaL_addlstring(&m.buffer, m.copied, (size_t)(m.end - m.copied));
    luaL_pushresult(&m.buffer);
  } else {
    lua_pushvalue(L, 1);
  }
  lua_pushboolean(L, m.marked);
  return 2;
}
