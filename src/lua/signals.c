/*
 * Being asked to end: while a `signals` is open, SIGINT and SIGTERM are noted instead of ending the process, for who
 * looks, or waits at its descriptor. A second one of the same kind ends the process, so that one that doesn't look can
 * still be ended.
 */
#include "binding.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

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

/* What is written here can be waited for. It is never closed: a handler may still be at work in another thread. */
static int reading = -1, writing = -1;

static void note(int number) {
  int before = errno;
  noted = number;
  /* a full pipe has been noticed already */
  if (write(writing, "", 1) < 0)
    errno = before;
}

static bool prepare(int descriptor) {
  return fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 && fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0;
}

static bool make_pipe(void) {
  int ends[2];
  if (writing >= 0)
    return true;
  if (pipe(ends) != 0)
    return false;
  if (!prepare(ends[0]) || !prepare(ends[1])) {
    close(ends[0]);
    close(ends[1]);
    return false;
  }
  reading = ends[0];
  writing = ends[1];
  return true;
}

static void forget_earlier(void) {
  char bytes[64];
  while (read(reading, bytes, sizeof bytes) > 0)
    ;
  noted = 0;
}

static void install(signals *self) {
  struct sigaction action;
  action.sa_handler = note;
  action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < WATCHED; i++)
    sigaction(watched[i].number, &action, &self->before[i]);
}

int nxa__lua_signals_new(lua_State *L) {
  signals *self = nxa__lua_new(L, NXA__LUA_SIGNALS, sizeof *self, 0);
  if (atomic_flag_test_and_set(&taken))
    return luaL_error(L, "core.signals: they are watched already");
  if (!make_pipe()) {
    atomic_flag_clear(&taken);
    return luaL_error(L, "core.signals: can't make a pipe: %s", strerror(errno));
  }
  forget_earlier();
  self->open = true;
  install(self);
  return 1;
}

static signals *check(lua_State *L) {
  return nxa__lua_self(L, NXA__LUA_SIGNALS);
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

/* Called as LuaSocket's objects have it, so that its select takes this, too. */
static int signals_getfd(lua_State *L) {
  lua_pushinteger(L, check(L)->open ? reading : -1);
  return 1;
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
  static const luaL_Reg methods[] = {
      {"noted", signals_noted}, {"getfd", signals_getfd}, {"close", signals_close}, {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_SIGNALS, metamethods, methods);
  lua_pop(L, 1);
}
