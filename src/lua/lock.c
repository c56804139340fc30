/*
 * Locks on files. One that is collected is released, as at the end of the process.
 */
#include "binding.h"

#include "../lock.h"

typedef struct lock {
  nxa__lock *lock;
} lock;

int nxa__lua_lock_file(lua_State *L) {
  nxa_error error;
  bool is_held;
  const char *path = nxa__lua_whole_text(L, 1);
  lock *self = nxa__lua_new(L, NXA__LUA_LOCK, sizeof *self, 0);
  self->lock = nxa__lock_take(path, &is_held, &error);
  if (self->lock)
    return 1;
  if (!is_held)
    return nxa__lua_fail(L, &error);
  lua_pushnil(L);
  lua_pushliteral(L, "locked");
  return 2;
}

/* What is in the file, whoever has its lock; nil where it can't be read. */
int nxa__lua_lock_text(lua_State *L) {
  char text[NXA__LOCK_TEXT_MOST];
  ptrdiff_t length = nxa__lock_read(nxa__lua_whole_text(L, 1), text, sizeof text);
  if (length < 0)
    return nxa__lua_nothing(L);
  lua_pushlstring(L, text, (size_t)length);
  return 1;
}

/* nil where it was released. */
static int lock_path(lua_State *L) {
  lock *self = nxa__lua_self(L, NXA__LUA_LOCK);
  lua_pushstring(L, self->lock ? nxa__lock_path(self->lock) : NULL);
  return 1;
}

static nxa__lock *take_out(lua_State *L) {
  lock *self = nxa__lua_self(L, NXA__LUA_LOCK);
  nxa__lock *held = self->lock;
  self->lock = NULL;
  return held;
}

static int lock_release(lua_State *L) {
  nxa__lock_release(take_out(L));
  return 0;
}

static int lock_remove(lua_State *L) {
  nxa__lock_remove(take_out(L));
  return 0;
}

void nxa__lua_lock_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", lock_release}, {"__close", lock_release}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"path", lock_path}, {"release", lock_release}, {"remove", lock_remove}, {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_LOCK, metamethods, methods);
  lua_pop(L, 1);
}
