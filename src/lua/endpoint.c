#include "binding.h"

#include "../endpoint.h"

#include <string.h>

static const nxa__lua_option endpoint_options[] = {
    {"base_url", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, base_url), 0},
    {"key", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, key), 0},
    {"key_environment", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, key_environment), 0},
    {"key_header", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, key_header), 0},
    {"key_prefix", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, key_prefix), 0},
    {"query", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, query), 0},
    {"headers", NXA__OPTION_HEADERS, offsetof(nxa_endpoint_options, headers),
     offsetof(nxa_endpoint_options, header_count)},
    {"headers_environment", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, headers_environment), 0},
    {"ca_file", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, ca_file), 0},
    {"client_certificate", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, client_certificate), 0},
    {"client_key", NXA__OPTION_TEXT, offsetof(nxa_endpoint_options, client_key), 0},
};

int nxa__lua_endpoint_new(lua_State *L) {
  lua_settop(L, 1);
  nxa__lua_endpoint *self = nxa__lua_new(L, NXA__LUA_ENDPOINT, sizeof *self, 0);
  nxa_endpoint_options options;
  nxa_endpoint_options_init(&options);
  nxa__lua_options(L, 1, "core.endpoint", endpoint_options, NXA__COUNT(endpoint_options), &options);
  nxa_error error;
  self->endpoint = nxa_endpoint_new(&options, &error);
  if (!self->endpoint)
    return nxa__lua_fail(L, &error);
  lua_settop(L, 2);
  return 1;
}

static nxa__lua_endpoint *check(lua_State *L) {
  return nxa__lua_self(L, NXA__LUA_ENDPOINT);
}

static const char *base_url(const nxa__lua_endpoint *self) {
  return self->endpoint ? nxa_endpoint_base_url(self->endpoint) : "";
}

static int endpoint_base_url(lua_State *L) {
  lua_pushstring(L, base_url(check(L)));
  return 1;
}

static int endpoint_has_key(lua_State *L) {
  const nxa__lua_endpoint *self = check(L);
  lua_pushboolean(L, self->endpoint && nxa_endpoint_has_key(self->endpoint));
  return 1;
}

static int endpoint_redact(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  char *copy = lua_newuserdatauv(L, length, 0);
  memcpy(copy, text, length);
  const nxa__lua_endpoint *self = check(L);
  if (self->endpoint)
    nxa_endpoint_redact(self->endpoint, copy, length);
  lua_pushlstring(L, copy, length);
  return 1;
}

/* core.holds_key(text, endpoints) → whether redacting by any of the endpoints, the table's values, would change it.
 * Every value that is recorded passes here. */
int nxa__lua_holds_key(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  bool found = false;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  for (lua_pushnil(L); !found && lua_next(L, 2); lua_pop(L, 1)) {
    const nxa__lua_endpoint *known = luaL_checkudata(L, -1, NXA__LUA_ENDPOINT);
    found = known->endpoint && nxa__endpoint_key_is_in(known->endpoint, text, length);
  }
  lua_pushboolean(L, found);
  return 1;
}

/* The URL and nothing else: this ends up in logs. */
static int endpoint_tostring(lua_State *L) {
  lua_pushfstring(L, "endpoint: %s", base_url(check(L)));
  return 1;
}

static int endpoint_gc(lua_State *L) {
  nxa__lua_endpoint *self = check(L);
  nxa_endpoint_free(self->endpoint);
  self->endpoint = NULL;
  return 0;
}

void nxa__lua_endpoint_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", endpoint_gc}, {"__tostring", endpoint_tostring}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"base_url", endpoint_base_url}, {"has_key", endpoint_has_key}, {"redact", endpoint_redact}, {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_ENDPOINT, metamethods, methods);
  lua_pop(L, 1);
}
