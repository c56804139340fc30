/*
 * Being asked to end: while a `signals` is open, SIGINT and SIGTERM are noted instead of ending the process, for who
 * looks. A second one of the same kind does what it did before, so that who doesn't look can still be ended.
 */
#include "binding.h"

#include <signal.h>
#include <stdatomic.h>

static const struct {
  int number;
  const char *name;
} watched[] = {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}};

#define WATCHED NXA__COUNT(watched)

typedef struct signals {
  bool open;
  struct sigaction before[WATCHED];
} signals;

/* Handlers are the process's, so there is one at a time in all of it. */
static atomic_flag taken = ATOMIC_FLAG_INIT;
static volatile sig_atomic_t noted;

static void note(int number) {
  noted = number;
}

static void install(signals *self) {
  struct sigaction action;
  action.sa_handler = note;
  action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
  sigemptyset(&action.sa_mask);
  noted = 0;
  for (size_t i = 0; i < WATCHED; i++)
    sigaction(watched[i].number, &action, &self->before[i]);
}

int nxa__lua_signals_new(lua_State *L) {
  signals *self = nxa__lua_new(L, NXA__LUA_SIGNALS, sizeof *self, 0);
  if (atomic_flag_test_and_set(&taken))
    return luaL_error(L, "core.signals: they are watched already");
  self->open = true;
  install(self);
  return 1;
}

static signals *check(lua_State *L) {
  return luaL_checkudata(L, 1, NXA__LUA_SIGNALS);
}

static int signals_noted(lua_State *L) {
  int number = check(L)->open ? noted : 0;
  for (size_t i = 0; i < WATCHED; i++) {
    if (watched[i].number != number)
      continue;
    lua_pushstring(L, watched[i].name);
    return 1;
  }
  return nxa__lua_nothing(L);
}

static int signals_close(lua_State *L) {
  signals *self = check(L);
  if (!self->open)
    return 0;
  self->open = false;
  for (size_t i = 0; i < WATCHED; i++)
    sigaction(watched[i].number, &self->before[i], NULL);
  atomic_flag_clear(&taken);
  return 0;
}

void nxa__lua_signals_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", signals_close}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"noted", signals_noted}, {"close", signals_close}, {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_SIGNALS, metamethods, methods);
  lua_pop(L, 1);
}
