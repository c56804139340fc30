/*
 * Files and folders that are the user's alone.
 */
#include "binding.h"

#include "../private.h"

static int answer(lua_State *L, bool made, const nxa_error *error) {
  if (!made)
    return nxa__lua_fail(L, error);
  lua_pushboolean(L, true);
  return 1;
}

int nxa__lua_make_directory(lua_State *L) {
  nxa_error error;
  return answer(L, nxa__private_folder(nxa__lua_whole_text(L, 1), &error), &error);
}

int nxa__lua_can_make_directory(lua_State *L) {
  nxa_error error;
  return answer(L, nxa__private_folder_possible(nxa__lua_whole_text(L, 1), &error), &error);
}

int nxa__lua_make_private(lua_State *L) {
  nxa_error error;
  return answer(L, nxa__private_file(nxa__lua_whole_text(L, 1), &error), &error);
}
