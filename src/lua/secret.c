/*
 * Secrets of the environment, which stay out of Lua's memory: what they look like, and whether somebody sent the right
 * one; and looking for the marks of secrets in texts.
 */
#include "binding.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SHORTEST 20 /* characters: no key of an API has fewer */

/* As a header can carry it: of visible ASCII characters, one at least. */
static bool is_usable(const char *secret) {
  if (!secret || !*secret)
    return false;
  while (*secret > ' ' && *secret < 0x7F)
    secret++;
  return *secret == '\0';
}

/* Takes as long for what is nearly right as for what is all wrong: only the length of `text` is in its time. */
static bool equals(const char *text, size_t length, const char *secret, size_t secret_length) {
  volatile unsigned char difference = length != secret_length;
  for (size_t i = 0; i < length; i++)
    difference |= (unsigned char)(text[i] ^ secret[i % secret_length]);
  return difference == 0;
}

/* What can be said of a secret without giving anything of it away. */
static const char *form_of(const char *secret, const char *prefix) {
  if (!secret || !*secret)
    return "absent";
  if (!is_usable(secret))
    return "unusable";
  if (strncmp(secret, prefix, strlen(prefix)) != 0)
    return "other";
  return strlen(secret) >= SHORTEST ? "plausible" : "short";
}

int nxa__lua_key_form(lua_State *L) {
  const char *name = nxa__lua_whole_text(L, 1), *prefix = nxa__lua_whole_text(L, 2);
  lua_pushstring(L, form_of(getenv(name), prefix));
  return 1;
}

int nxa__lua_is_secret(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  const char *secret = getenv(nxa__lua_text(L, 1));
  if (!is_usable(secret))
    return nxa__lua_nothing(L);
  lua_pushboolean(L, equals(text, length, secret, strlen(secret)));
  return 1;
}

#define MARKS_MOST 16

typedef struct marks {
  const char *texts[MARKS_MOST];
  size_t lengths[MARKS_MOST];
  int count;
  uint16_t first[256], second[256]; /* by letter, in both cases: which marks have it there, a bit each */
} marks;

/* Whatever the locale says. */
static unsigned char lower(char c) {
  return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static void note_letter(uint16_t *letters, char letter, int mark) {
  unsigned char small = (unsigned char)letter, capital = small;
  if (letter >= 'a' && letter <= 'z')
    capital = (unsigned char)(letter - 'a' + 'A');
  letters[small] = (uint16_t)(letters[small] | 1U << mark);
  letters[capital] = (uint16_t)(letters[capital] | 1U << mark);
}

static void read_mark(lua_State *L, marks *found, int mark) {
  const char *text = luaL_checklstring(L, mark + 2, &found->lengths[mark]);
  luaL_argcheck(L, found->lengths[mark] > 1, mark + 2, "must have two letters or more");
  found->texts[mark] = text;
  note_letter(found->first, text[0], mark);
  note_letter(found->second, text[1], mark);
}

static void read_marks(lua_State *L, marks *found) {
  *found = (marks){.count = lua_gettop(L) - 1};
  luaL_argcheck(L, found->count <= MARKS_MOST, MARKS_MOST + 2, "too many marks");
  for (int mark = 0; mark < found->count; mark++)
    read_mark(L, found, mark);
}

static bool is_at(const char *text, size_t left, const char *mark, size_t length) {
  if (left < length)
    return false;
  for (size_t i = 2; i < length; i++)
    if (lower(text[i]) != (unsigned char)mark[i])
      return false;
  return true;
}

/* `candidates`: those whose first two letters are there. */
static bool any_at(const marks *known, unsigned candidates, const char *text, size_t left) {
  for (int mark = 0; candidates >> mark; mark++)
    if (candidates >> mark & 1 && is_at(text, left, known->texts[mark], known->lengths[mark]))
      return true;
  return false;
}

/* Whether a text holds any of the marks behind it, which are in lower case, in whatever case. Every value that is
 * recorded passes here, so two letters tell at nearly every place. */
int nxa__lua_holds_any(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  marks known;
  read_marks(L, &known);
  bool found = false;
  for (size_t i = 0; i + 1 < length && !found; i++) {
    unsigned candidates = known.first[(unsigned char)text[i]] & known.second[(unsigned char)text[i + 1]];
    found = candidates && any_at(&known, candidates, text + i, length - i);
  }
  lua_pushboolean(L, found);
  return 1;
}
