/*
 * Being asked to end: while a `signals` is open, SIGINT and SIGTERM are noted instead of ending the process, for who
 * looks, or waits at its descriptor. A second one of the same kind ends the process, so that one that doesn't look can
 * still be ended.
 *
 * Who doesn't look can have them raise: then any second one ends the process, and so does time after SIGTERM.
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

/* The coroutine that they are raised in; NULL for none. */
static lua_State *volatile raising;
/* Seconds that a process which they are raised in may take to end after SIGTERM; 0 where they never were. */
static volatile sig_atomic_t patience;
static volatile sig_atomic_t alarmed;

/* As the interpreter has it for Ctrl-C, whose handler sets its hook in the same way. */
static void raise_interrupted(lua_State *L, lua_Debug *record) {
  (void)record;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted!");
}

/* The first process of a container isn't ended by signals. */
static void end_by(int number) {
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  signal(number, SIG_DFL);
  sigprocmask(SIG_UNBLOCK, &only, NULL);
  raise(number);
  _exit(128 + number);
}

static void lose_patience(int number) {
  (void)number;
  end_by(noted);
}

/* What it is about may never come back to Lua's code of that coroutine, and who sent SIGTERM may send nothing more. */
static void expect_end(void) {
  struct sigaction action;
  action.sa_handler = lose_patience;
  action.sa_flags = 0;
  sigemptyset(&action.sa_mask);
  sigaction(SIGALRM, &action, NULL);
  alarm((unsigned)patience);
  alarmed = 1;
}

static void interrupt(int number) {
  lua_State *L = raising;
  if (L)
    lua_sethook(L, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
  if (number == SIGTERM)
    expect_end();
}

static void note(int number) {
  int before = errno;
  bool is_second = noted != 0;
  noted = number;
  /* a full pipe has been noticed already */
  if (write(writing, "", 1) < 0)
    errno = before;
  if (patience > 0 && is_second)
    end_by(number);
  else if (patience > 0)
    interrupt(number);
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

static sig_atomic_t check_patience(lua_State *L) {
  lua_Integer seconds = luaL_checkinteger(L, 2);
  luaL_argcheck(L, seconds >= 1 && seconds <= 3600, 2, "must be from 1 to 3600 seconds");
  return (sig_atomic_t)seconds;
}

/* The first one raises "interrupted!" in the coroutine that calls this. */
static int signals_interrupt(lua_State *L) {
  signals *self = check(L);
  sig_atomic_t seconds = check_patience(L);
  if (!self->open)
    return 0;
  patience = seconds;
  raising = L;
  return 0;
}

static void stop_raising(lua_State *L) {
  if (raising)
    lua_sethook(L, NULL, 0, 0);
  raising = NULL;
}

/* Called by the same coroutine: what comes from now on raises nothing. After SIGTERM the time begins anew. */
static int signals_hold(lua_State *L) {
  signals *self = check(L);
  sig_atomic_t seconds = check_patience(L);
  if (!self->open)
    return 0;
  stop_raising(L);
  patience = seconds;
  if (alarmed)
    alarm((unsigned)seconds);
  return 0;
}

static void calm_down(void) {
  patience = 0;
  raising = NULL;
  if (!alarmed)
    return;
  alarm(0);
  signal(SIGALRM, SIG_DFL);
  alarmed = 0;
}

static int signals_close(lua_State *L) {
  signals *self = check(L);
  if (!self->open)
    return 0;
  self->open = false;
  for (size_t i = 0; i < WATCHED; i++)
    sigaction(watched[i].number, &self->before[i], NULL);
  calm_down();
  atomic_flag_clear(&taken);
  return 0;
}

void nxa__lua_signals_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", signals_close}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"noted", signals_noted},         {"getfd", signals_getfd},
                                     {"interrupt", signals_interrupt}, {"hold", signals_hold},
                                     {"close", signals_close},         {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_SIGNALS, metamethods, methods);
  lua_pop(L, 1);
}
