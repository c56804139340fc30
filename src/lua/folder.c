/*
 * What is in a folder, and in which one the process is: Lua alone can't tell.
 */
#include "binding.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static int fail(lua_State *L, int code) {
  lua_pushnil(L);
  lua_pushstring(L, strerror(code));
  return 2;
}

static void push_names(lua_State *L, DIR *folder) {
  lua_Integer count = 0;
  lua_newtable(L);
  for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    lua_pushinteger(L, ++count);
    lua_pushstring(L, entry->d_name);
    lua_settable(L, -3);
  }
}

/* The names in a folder, in no order; or nil, message. What Lua raises for want of memory leaves the folder open. */
int nxa__lua_list_folder(lua_State *L) {
  DIR *folder = opendir(nxa__lua_whole_text(L, 1));
  if (!folder)
    return fail(L, errno);
  push_names(L, folder);
  closedir(folder);
  return 1;
}

/* A path as it is meant now, whatever the process's folder will be; as it was given where that can't be told. */
int nxa__lua_absolute_path(lua_State *L) {
  char own[PATH_MAX];
  const char *path = nxa__lua_whole_text(L, 1);
  if (*path == '/' || !getcwd(own, sizeof own))
    lua_pushstring(L, path);
  else
    lua_pushfstring(L, "%s/%s", own, path);
  return 1;
}
