/*
 * What the command line wants to know of a descriptor. Lua has no such thing, and a shell is none of our business.
 */
#include "binding.h"

#include <sys/ioctl.h>
#include <unistd.h>

int nxa__lua_is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

int nxa__lua_terminal_width(lua_State *L) {
  struct winsize size;
  if (ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return nxa__lua_nothing(L);
  lua_pushinteger(L, size.ws_col);
  return 1;
}
