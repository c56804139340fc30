#include "../json_out.h"
#include "binding.h"

/* A JSON value in at most so many bytes, cut as the core cuts fields. */
int nxa__lua_json_cut(lua_State *L) {
  size_t length;
  const char *json = luaL_checklstring(L, 1, &length);
  lua_Integer limit = luaL_checkinteger(L, 2);
  luaL_argcheck(L, limit >= NXA__JSON_LEAST, 2, "too small");
  bool cut;
  size_t size = nxa__json_value(NULL, (size_t)limit, json, length, &cut);
  char *copy = lua_newuserdatauv(L, size, 0);
  nxa__json_value(copy, (size_t)limit, json, length, &cut);
  lua_pushlstring(L, copy, size);
  return 1;
}
