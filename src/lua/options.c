#include "binding.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LARGEST_SIZE 9007199254740992.0 /* 2^53: what a double still counts one by one */

typedef struct reader {
  lua_State *L;
  const char *function;
  const nxa__lua_option *options;
  size_t count;
  int base; /* the stack slot of the first option's value */
  void *target;
} reader;

static const char *const expected_texts[] = {
    [NXA__OPTION_TEXT] = "a string",
    [NXA__OPTION_BYTES] = "a string",
    [NXA__OPTION_NUMBER] = "a number",
    [NXA__OPTION_INTEGER] = "an integer",
    [NXA__OPTION_SIZE] = "an integer",
    [NXA__OPTION_FLAG] = "a boolean",
    [NXA__OPTION_HEADERS] = "a table",
    [NXA__OPTION_ENDPOINT] = "an endpoint",
    [NXA__OPTION_LENGTH] = "an integer",
    [NXA__OPTION_PARTS] = "a table",
    [NXA__OPTION_STREAM] = "a boolean, 'events' or 'bytes'",
};

static int slot_of(const reader *r, const nxa__lua_option *option) {
  return r->base + (int)(option - r->options);
}

static void *field(const reader *r, size_t offset) {
  return (char *)r->target + offset;
}

static void refuse_type(const reader *r, const nxa__lua_option *option, int index) {
  luaL_error(r->L, "%s: option '%s' must be %s, got %s", r->function, option->name, expected_texts[option->type],
             luaL_typename(r->L, index));
}

static void refuse_value(const reader *r, const nxa__lua_option *option, const char *must) {
  luaL_error(r->L, "%s: option '%s' %s", r->function, option->name, must);
}

static const nxa__lua_option *find(const reader *r, const char *name) {
  for (size_t i = 0; i < r->count; i++)
    if (strcmp(r->options[i].name, name) == 0)
      return &r->options[i];
  return NULL;
}

/* Copies every value of the table into its option's slot: from there on the table may change. */
static void pin_values(const reader *r, int table) {
  lua_State *L = r->L;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "%s: options are named by strings, got a %s", r->function, luaL_typename(L, -2));
    const nxa__lua_option *option = find(r, lua_tostring(L, -2));
    if (!option)
      luaL_error(L, "%s: unknown option '%s'", r->function, lua_tostring(L, -2));
    lua_replace(L, slot_of(r, option));
  }
}

static const char *read_text(const reader *r, const nxa__lua_option *option, int slot, size_t *length) {
  if (lua_type(r->L, slot) != LUA_TSTRING)
    refuse_type(r, option, slot);
  return lua_tolstring(r->L, slot, length);
}

static lua_Number read_number(const reader *r, const nxa__lua_option *option, int slot) {
  if (lua_type(r->L, slot) != LUA_TNUMBER)
    refuse_type(r, option, slot);
  lua_Number number = lua_tonumber(r->L, slot);
  if (isnan(number))
    refuse_value(r, option, "must not be NaN");
  return number;
}

static int read_integer(const reader *r, const nxa__lua_option *option, int slot) {
  lua_Number number = read_number(r, option, slot);
  if (number < INT_MIN || number > INT_MAX || floor(number) != number)
    refuse_value(r, option, "must be an integer of 32 bits");
  return (int)number;
}

static lua_Number read_count(const reader *r, const nxa__lua_option *option, int slot) {
  lua_Number number = read_number(r, option, slot);
  if (number < 0 || number > LARGEST_SIZE || floor(number) != number)
    refuse_value(r, option, "must be a whole number that isn't negative");
  return number;
}

static size_t read_size(const reader *r, const nxa__lua_option *option, int slot) {
  lua_Number number = read_count(r, option, slot);
  return number < (lua_Number)SIZE_MAX ? (size_t)number : SIZE_MAX;
}

/* Leaves "Name: value" on the stack, under the key that lua_next goes on from. */
static void push_header(const reader *r, const nxa__lua_option *option) {
  lua_State *L = r->L;
  if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
    refuse_value(r, option, "must map names to values, both strings");
  size_t name_length, value_length;
  const char *name = lua_tolstring(L, -2, &name_length), *value = lua_tolstring(L, -1, &value_length);
  if (strlen(name) != name_length || strlen(value) != value_length)
    refuse_value(r, option, "must not hold a zero byte");
  lua_pushfstring(L, "%s: %s", name, value);
  lua_replace(L, -2);
  lua_insert(L, -2);
}

static void read_headers(const reader *r, const nxa__lua_option *option, int slot) {
  lua_State *L = r->L;
  if (!lua_istable(L, slot))
    refuse_type(r, option, slot);
  int first = lua_gettop(L) + 1;
  lua_pushnil(L);
  while (lua_next(L, slot)) {
    luaL_checkstack(L, 8, "too many headers");
    push_header(r, option);
  }
  size_t count = (size_t)(lua_gettop(L) + 1 - first);
  if (count == 0)
    return;
  const char **headers = lua_newuserdatauv(L, count * sizeof *headers, 0);
  for (size_t i = 0; i < count; i++)
    headers[i] = lua_tostring(L, first + (int)i);
  *(const char *const **)field(r, option->offset) = headers;
  *(size_t *)field(r, option->length_offset) = count;
}

static void read_plain_text(const reader *r, const nxa__lua_option *option, int slot) {
  size_t length;
  const char *text = read_text(r, option, slot, &length);
  if (strlen(text) != length)
    refuse_value(r, option, "must not hold a zero byte");
  *(const char **)field(r, option->offset) = text;
}

static void read_bytes(const reader *r, const nxa__lua_option *option, int slot) {
  size_t length;
  *(const char **)field(r, option->offset) = read_text(r, option, slot, &length);
  *(size_t *)field(r, option->length_offset) = length;
}

static void read_flag(const reader *r, const nxa__lua_option *option, int slot) {
  if (!lua_isboolean(r->L, slot))
    refuse_type(r, option, slot);
  *(bool *)field(r, option->offset) = lua_toboolean(r->L, slot);
}

static void read_stream(const reader *r, const nxa__lua_option *option, int slot) {
  nxa_stream_mode *mode = field(r, option->offset);
  const char *name = lua_type(r->L, slot) == LUA_TSTRING ? lua_tostring(r->L, slot) : NULL;
  if (lua_isboolean(r->L, slot))
    *mode = lua_toboolean(r->L, slot) ? NXA_STREAM_EVENTS : NXA_STREAM_NONE;
  else if (name && strcmp(name, "events") == 0)
    *mode = NXA_STREAM_EVENTS;
  else if (name && strcmp(name, "bytes") == 0)
    *mode = NXA_STREAM_BYTES;
  else if (name)
    refuse_value(r, option, "must be a boolean, 'events' or 'bytes'");
  else
    refuse_type(r, option, slot);
}

/* ---- parts */

static const nxa__lua_option part_options[] = {
    {"name", NXA__OPTION_TEXT, offsetof(nxa_part, name), 0},
    {"data", NXA__OPTION_BYTES, offsetof(nxa_part, data), offsetof(nxa_part, data_length)},
    {"path", NXA__OPTION_TEXT, offsetof(nxa_part, path), 0},
    {"source", NXA__OPTION_FLAG, offsetof(nxa_part, from_host), 0},
    {"size", NXA__OPTION_LENGTH, offsetof(nxa_part, size), 0},
    {"file_name", NXA__OPTION_TEXT, offsetof(nxa_part, file_name), 0},
    {"content_type", NXA__OPTION_TEXT, offsetof(nxa_part, content_type), 0},
};

/* Reads the part on top of the stack and moves what it borrows into the table `kept`. */
static void read_part(const reader *r, const char *function, nxa_part *part, int kept) {
  lua_State *L = r->L;
  int top = lua_gettop(L);
  nxa_part_init(part);
  nxa__lua_options(L, top, function, part_options, NXA__COUNT(part_options), part);
  while (lua_gettop(L) >= top)
    lua_rawseti(L, kept, (int)lua_rawlen(L, kept) + 1);
}

static void read_parts(const reader *r, const nxa__lua_option *option, int slot) {
  lua_State *L = r->L;
  if (!lua_istable(L, slot))
    refuse_type(r, option, slot);
  size_t count = lua_rawlen(L, slot);
  if (count > 1000)
    refuse_value(r, option, "must not have more than 1000 entries");
  nxa_part *parts = lua_newuserdatauv(L, (count + 1) * sizeof *parts, 0);
  const char *function = lua_pushfstring(L, "%s: %s", r->function, option->name);
  lua_newtable(L);
  int kept = lua_gettop(L);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, slot, (int)i + 1);
    if (!lua_istable(L, -1))
      refuse_value(r, option, "must be an array of tables");
    read_part(r, function, &parts[i], kept);
  }
  *(const nxa_part **)field(r, option->offset) = parts;
  *(size_t *)field(r, option->length_offset) = count;
}

static void check_endpoint(const reader *r, const nxa__lua_option *option, int slot) {
  lua_State *L = r->L;
  luaL_getmetatable(L, NXA__LUA_ENDPOINT);
  if (lua_type(L, slot) != LUA_TUSERDATA || !lua_getmetatable(L, slot) || !lua_rawequal(L, -1, -2))
    refuse_type(r, option, slot);
  lua_pop(L, 2);
}

static void read_option(const reader *r, const nxa__lua_option *option, int slot) {
  switch (option->type) {
  case NXA__OPTION_TEXT:
    read_plain_text(r, option, slot);
    break;
  case NXA__OPTION_BYTES:
    read_bytes(r, option, slot);
    break;
  case NXA__OPTION_NUMBER:
    *(double *)field(r, option->offset) = read_number(r, option, slot);
    break;
  case NXA__OPTION_INTEGER:
    *(int *)field(r, option->offset) = read_integer(r, option, slot);
    break;
  case NXA__OPTION_SIZE:
    *(size_t *)field(r, option->offset) = read_size(r, option, slot);
    break;
  case NXA__OPTION_FLAG:
    read_flag(r, option, slot);
    break;
  case NXA__OPTION_LENGTH:
    *(int64_t *)field(r, option->offset) = (int64_t)read_count(r, option, slot);
    break;
  case NXA__OPTION_PARTS:
    read_parts(r, option, slot);
    break;
  case NXA__OPTION_STREAM:
    read_stream(r, option, slot);
    break;
  case NXA__OPTION_HEADERS:
    read_headers(r, option, slot);
    break;
  case NXA__OPTION_ENDPOINT:
    check_endpoint(r, option, slot);
    break;
  }
}

/* Last of all, when no allocation can run a finalizer any more. */
static void read_endpoints(const reader *r) {
  for (size_t i = 0; i < r->count; i++) {
    const nxa__lua_option *option = &r->options[i];
    const nxa__lua_endpoint *self = lua_touserdata(r->L, slot_of(r, option));
    if (option->type == NXA__OPTION_ENDPOINT && self)
      *(nxa_endpoint **)field(r, option->offset) = self->endpoint;
  }
}

void nxa__lua_options(lua_State *L, int index, const char *function, const nxa__lua_option *options, size_t count,
                      void *target) {
  if (lua_isnoneornil(L, index))
    return;
  if (!lua_istable(L, index))
    luaL_error(L, "%s: a table of options expected, got %s", function, luaL_typename(L, index));
  luaL_checkstack(L, (int)count + 8, "too many options");
  reader r = {L, function, options, count, lua_gettop(L) + 1, target};
  for (size_t i = 0; i < count; i++)
    lua_pushnil(L);
  pin_values(&r, index);
  for (size_t i = 0; i < count; i++)
    if (!lua_isnil(L, slot_of(&r, &options[i])))
      read_option(&r, &options[i], slot_of(&r, &options[i]));
  read_endpoints(&r);
}
