/*
 * What is in a folder, in which one the process is, and what a path leads to: Lua alone can't tell.
 */
#include "binding.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../private.h"

#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif

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

static int close_folder(lua_State *L) {
  DIR **folder = lua_touserdata(L, 1);
  if (*folder)
    closedir(*folder);
  *folder = NULL;
  return 0;
}

/* Who closes a folder where Lua raises for want of memory while it is read. */
static DIR **push_folder(lua_State *L) {
  DIR **folder = lua_newuserdatauv(L, sizeof(DIR *), 0);
  *folder = NULL;
  lua_newtable(L);
  lua_pushcfunction(L, close_folder);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return folder;
}

/* The names in a folder, in no order; or nil, message. */
int nxa__lua_list_folder(lua_State *L) {
  const char *path = nxa__lua_whole_text(L, 1);
  DIR **folder = push_folder(L);
  *folder = opendir(path);
  if (!*folder)
    return fail(L, errno);
  push_names(L, *folder);
  closedir(*folder);
  *folder = NULL;
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

static const char *kind_of(mode_t mode) {
  if (S_ISREG(mode))
    return "file";
  if (S_ISDIR(mode))
    return "folder";
  return S_ISFIFO(mode) ? "pipe" : "other";
}

static void set_flag(lua_State *L, const char *name, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

/* Seconds since 1970. */
static lua_Number time_of(const struct stat *known) {
  return (lua_Number)known->st_mtim.tv_sec + (lua_Number)known->st_mtim.tv_nsec / 1e9;
}

/*
 * What a path leads to, without opening it, since opening a pipe waits for its other end: {kind=, is_link=, is_own=,
 * is_private=, for its owner alone, as nxa__private_file makes files, owner=, is_readable=, modified_at=, in seconds
 * since 1970}; or nil, message.
 */
int nxa__lua_look_at(lua_State *L) {
  struct stat known, itself;
  const char *path = nxa__lua_whole_text(L, 1);
  if (stat(path, &known) != 0)
    return fail(L, errno);
  lua_createtable(L, 0, 7);
  lua_pushstring(L, kind_of(known.st_mode));
  lua_setfield(L, -2, "kind");
  lua_pushinteger(L, (lua_Integer)known.st_uid);
  lua_setfield(L, -2, "owner");
  lua_pushnumber(L, time_of(&known));
  lua_setfield(L, -2, "modified_at");
  set_flag(L, "is_private", nxa__is_private(known.st_mode));
  set_flag(L, "is_own", known.st_uid == geteuid());
  set_flag(L, "is_link", lstat(path, &itself) == 0 && S_ISLNK(itself.st_mode));
  set_flag(L, "is_readable", access(path, R_OK) == 0);
  return 1;
}
