/*
 * The walks over values that every decode and every encode makes, for json.lua: in C, since they are most of what JSON
 * costs beside lua-cjson itself.
 */
#include "binding.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As in json.lua: deeper is left to it to refuse. */
#define DEEPEST 128
/* Slots that one level takes, with room for what is called on the way. */
#define SLOTS_PER_LEVEL 8
/* Whole numbers below it are written whole by lua-cjson's 14 digits. */
#define EXACT 1e14

/* ---- after decoding */

/* The arguments of core.json_restore, where they stay on the stack. */
enum { VALUE = 1, MARK = 2, ARRAY_METATABLE = 3 };

typedef struct restorer {
  lua_State *L;
  const char *mark; /* NULL: nothing was marked */
  size_t mark_length;
  int depth;
} restorer;

static void push_wide_integer(lua_State *L, const char *digits) {
#if LUA_VERSION_NUM >= 503
  if (lua_stringtonumber(L, digits) != 0)
    return;
#endif
  lua_pushnumber(L, strtod(digits, NULL));
}

/* Pushes what the number at the top really is; false where it is that already. */
static bool restore_number(lua_State *L) {
#if LUA_VERSION_NUM >= 503
  lua_Integer whole;
  if (lua_isinteger(L, -1) || !lua_numbertointeger(lua_tonumber(L, -1), &whole) ||
      (lua_Number)whole != lua_tonumber(L, -1))
    return false;
  lua_pushinteger(L, whole);
  return true;
#else
  (void)L;
  return false;
#endif
}

static bool restore_string(const restorer *r) {
  size_t length;
  const char *text = r->mark ? lua_tolstring(r->L, -1, &length) : NULL;
  if (!text || length <= r->mark_length || memcmp(text, r->mark, r->mark_length) != 0)
    return false;
  push_wide_integer(r->L, text + r->mark_length);
  return true;
}

static void restore_table(restorer *r);

/* With a value at the top: mends what is inside a table, pushes what is to stand for another value. */
static bool restore_value(restorer *r) {
  switch (lua_type(r->L, -1)) {
  case LUA_TTABLE:
    r->depth++;
    restore_table(r);
    r->depth--;
    return false;
  case LUA_TNUMBER:
    return restore_number(r->L);
  case LUA_TSTRING:
    return restore_string(r);
  default:
    return false;
  }
}

/* With the table at the top, and its first item, which is not nil, above. */
static bool is_empty_mark(const restorer *r) {
  size_t length;
  const char *text = r->mark && lua_type(r->L, -1) == LUA_TSTRING ? lua_tolstring(r->L, -1, &length) : NULL;
  return text && length == r->mark_length && memcmp(text, r->mark, length) == 0;
}

static void restore_items(restorer *r) {
  lua_State *L = r->L;
  int count = (int)lua_rawlen(L, -1);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    if (restore_value(r))
      lua_rawseti(L, -3, i);
    lua_pop(L, 1);
  }
}

static void restore_members(restorer *r) {
  lua_State *L = r->L;
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    if (restore_value(r)) {
      lua_pushvalue(L, -3);
      lua_insert(L, -2);
      lua_rawset(L, -5); /* a field that is there: the traversal goes on */
    }
    lua_pop(L, 1);
  }
}

static void restore_table(restorer *r) {
  lua_State *L = r->L;
  if (r->depth > DEEPEST + 1) /* nothing that was decoded: json.lua's decoder stops there */
    luaL_error(L, "JSON is nested too deeply");
  luaL_checkstack(L, SLOTS_PER_LEVEL, "JSON is nested too deeply");
  lua_rawgeti(L, -1, 1);
  bool array = !lua_isnil(L, -1), empty = is_empty_mark(r);
  lua_pop(L, 1);
  if (!array) {
    restore_members(r);
    return;
  }
  if (empty) {
    lua_pushnil(L);
    lua_rawseti(L, -2, 1);
  } else {
    restore_items(r);
  }
  lua_pushvalue(L, ARRAY_METATABLE);
  lua_setmetatable(L, -2);
}

/* core.json_restore(value, mark or nil, array_metatable) → the value as it was in the JSON text; tables are changed */
int nxa__lua_json_restore(lua_State *L) {
  restorer r = {L, NULL, 0, 0};
  luaL_checktype(L, ARRAY_METATABLE, LUA_TTABLE);
  lua_settop(L, ARRAY_METATABLE);
  if (!lua_isnil(L, MARK))
    r.mark = luaL_checklstring(L, MARK, &r.mark_length);
  lua_pushvalue(L, VALUE);
  restore_value(&r);
  return 1;
}

/* ---- before encoding */

static bool is_plain(lua_State *L, int depth);

static bool is_plain_number(lua_State *L) {
  char text[32];
  double number = lua_tonumber(L, -1);
  if (!(number > -EXACT && number < EXACT))
    return false;
  if (floor(number) == number)
    return true;
  snprintf(text, sizeof text, "%.14g", number);
  return strtod(text, NULL) == number;
}

static bool is_plain_string(lua_State *L, int index) {
  size_t length;
  const char *text = lua_tolstring(L, index, &length);
  return nxa_utf8_valid(text, length, NULL);
}

static bool is_plain_array(lua_State *L, int depth) {
  double highest = 0;
  int found = 0;
  bool plain = true;
  lua_pushnil(L);
  while (plain && lua_next(L, -2)) {
    double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    found++;
    highest = key > highest ? key : highest;
    plain = key >= 1 && floor(key) == key && is_plain(L, depth);
    lua_pop(L, 1);
  }
  if (!plain)
    lua_pop(L, 1);
  return plain && highest == found; /* no holes */
}

static bool is_plain_object(lua_State *L, int depth) {
  bool plain = true;
  lua_pushnil(L);
  while (plain && lua_next(L, -2)) {
    plain = lua_type(L, -2) == LUA_TSTRING && is_plain_string(L, -2) && is_plain(L, depth);
    lua_pop(L, 1);
  }
  if (!plain)
    lua_pop(L, 1);
  return plain;
}

/* The metatable of arrays is the second argument. */
static bool is_marked_array(lua_State *L) {
  if (!lua_getmetatable(L, -1))
    return false;
  bool marked = lua_rawequal(L, -1, 2);
  lua_pop(L, 1);
  return marked;
}

static bool is_plain_table(lua_State *L, int depth) {
  if (depth > DEEPEST)
    return false;
  luaL_checkstack(L, SLOTS_PER_LEVEL, "the value is nested too deeply");
  lua_rawgeti(L, -1, 1);
  bool array = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (array)
    return is_plain_array(L, depth + 1);
  return !is_marked_array(L) && is_plain_object(L, depth + 1);
}

static bool is_plain(lua_State *L, int depth) {
  switch (lua_type(L, -1)) {
  case LUA_TTABLE:
    return is_plain_table(L, depth);
  case LUA_TSTRING:
    return is_plain_string(L, -1);
  case LUA_TNUMBER:
    return is_plain_number(L);
  case LUA_TBOOLEAN:
    return true;
  default:
    return lua_touserdata(L, -1) == NULL && lua_islightuserdata(L, -1); /* null */
  }
}

/* core.json_is_plain(value, array_metatable) → true where lua-cjson writes the value as it should be without more ado
 */
int nxa__lua_json_is_plain(lua_State *L) {
  luaL_checkany(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  lua_pushboolean(L, is_plain(L, 1));
  return 1;
}
