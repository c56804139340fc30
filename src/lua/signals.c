/*
 * Being asked to end: while a `signals` is open, SIGINT and SIGTERM are noted instead of ending the process, for who
 * looks, or waits at its descriptor. A second one of the same kind ends the process, so that one that doesn't look can
 * still be ended.
 *
 * Who doesn't look can have them raise: then any second one ends the process, and so does time after SIGTERM. Raised is
 * it where the script is: in its own code, or in a wait. Library code between two waits would be left half done, and
 * what catches errors there take it for one of its own.
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

/* The coroutine that they are raised in; NULL for none. The registry keeps it while it stands here, with `library`. */
static lua_State *volatile raising;
static const char kept = 0;
/* What the sources of functions begin with that aren't broken off between their waits; NULL for none. */
static const char *library;
volatile sig_atomic_t nxa__lua_unheard;

/* Seconds that a process which they are raised in may take to end after SIGTERM; 0 where they never were. */
static volatile sig_atomic_t patience;
static volatile sig_atomic_t alarmed;
static struct sigaction alarm_before;
static bool alarm_was_blocked;

/* Without the place, which says nothing of what the signal is about. */
static int raise_it(lua_State *L) {
  lua_pushliteral(L, "interrupted!");
  if (L == raising) {
    nxa__lua_unheard = 0;
    lua_sethook(L, NULL, 0, 0);
  }
  return lua_error(L);
}

static bool is_script(lua_State *L, lua_Debug *record) {
  if (!lua_getinfo(L, "S", record) || (strcmp(record->what, "Lua") != 0 && strcmp(record->what, "main") != 0))
    return false;
  return !library || strncmp(record->source, library, strlen(library)) != 0;
}

/* Coroutines that are made meanwhile have the hook, too. */
static void look(lua_State *L, lua_Debug *record) {
  if (!nxa__lua_unheard)
    lua_sethook(L, NULL, 0, 0);
  else if (L == raising && is_script(L, record))
    raise_it(L);
}

/* In a handler, too: the interpreter's own for Ctrl-C sets its hook in the same way. */
static void arm(void) {
  lua_State *L = raising;
  if (!L)
    return;
  nxa__lua_unheard = 1;
  lua_sethook(L, look, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

/* Other states of the process have nothing to do with it. In another coroutine it ends the wait and goes on to the one
 * that they are raised in, whatever becomes of that. */
void nxa__lua_interrupt(lua_State *L) {
  lua_State *other = raising;
  if (nxa__lua_unheard && other && lua_topointer(L, LUA_REGISTRYINDEX) == lua_topointer(other, LUA_REGISTRYINDEX))
    raise_it(L);
}

int nxa__lua_interrupt_again(lua_State *L) {
  if (noted && lua_type(L, 1) == LUA_TSTRING && strcmp(lua_tostring(L, 1), "interrupted!") == 0)
    arm();
  return 0;
}

static void change_mask(int how, int number, sigset_t *before) {
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  sigprocmask(how, &only, before);
}

/* The first process of a container isn't ended by signals. */
static void end_by(int number) {
  signal(number, SIG_DFL);
  change_mask(SIG_UNBLOCK, number, NULL);
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
  sigaction(SIGALRM, &action, alarmed ? NULL : &alarm_before);
  alarmed = 1;
  alarm((unsigned)patience);
}

static void interrupt(int number) {
  arm();
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

/* The interpreter has SIGINT raise an error, which says where its code was. That is for who wrote the code. */
int nxa__lua_end_on_interrupt(lua_State *L) {
  (void)L;
  signal(SIGINT, SIG_DFL);
  return 0;
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

/* Who started the process wants SIGTERM to do nothing. Shells ignore SIGINT for whatever is in the background, and the
 * interpreter takes it all the same. */
static bool is_ignored(int number, const struct sigaction *before) {
  return number == SIGTERM && !(before->sa_flags & SA_SIGINFO) && before->sa_handler == SIG_IGN;
}

static void install(const signals *self, int flags) {
  struct sigaction action;
  action.sa_handler = note;
  action.sa_flags = flags | (int)SA_RESETHAND;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < WATCHED; i++)
    if (!is_ignored(watched[i].number, &self->before[i]))
      sigaction(watched[i].number, &action, NULL);
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
  for (size_t i = 0; i < WATCHED; i++)
    sigaction(watched[i].number, NULL, &self->before[i]);
  install(self, SA_RESTART);
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

/* A blocked SIGALRM may be inherited. What a handler unblocks is blocked again as it returns. */
static void be_patient(sig_atomic_t seconds) {
  sigset_t before;
  patience = seconds;
  change_mask(SIG_UNBLOCK, SIGALRM, &before);
  alarm_was_blocked = alarm_was_blocked || sigismember(&before, SIGALRM) == 1;
}

static void stop_raising(lua_State *L) {
  lua_State *before = raising;
  raising = NULL; /* first: a signal that comes now must not set the hook again */
  nxa__lua_unheard = 0;
  library = NULL;
  if (!before)
    return;
  if (lua_gethook(before) == look)
    lua_sethook(before, NULL, 0, 0);
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept);
}

static void start_raising(lua_State *L, const char *source) {
  lua_createtable(L, 2, 0);
  lua_pushthread(L);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, 3);
  lua_rawseti(L, -2, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept);
  library = source;
  raising = L;
}

/* The first one raises "interrupted!" in the coroutine that calls this; one that was noted before does it now. Calls
 * of the system that wait end then, as they do in the interpreter. */
static int signals_interrupt(lua_State *L) {
  signals *self = check(L);
  sig_atomic_t seconds = check_patience(L);
  lua_settop(L, 3);
  const char *source = luaL_optstring(L, 3, NULL);
  if (!self->open)
    return 0;
  stop_raising(L);
  start_raising(L, source);
  be_patient(seconds);
  install(self, 0);
  if (noted)
    interrupt(noted);
  return 0;
}

/* What comes from now on raises nothing. After SIGTERM the time begins anew. Returns whether there was one that is
 * still to be raised. */
static int signals_hold(lua_State *L) {
  signals *self = check(L);
  sig_atomic_t seconds = check_patience(L);
  if (!self->open)
    return 0;
  bool is_unheard = nxa__lua_unheard != 0;
  stop_raising(L);
  be_patient(seconds);
  install(self, SA_RESTART);
  if (alarmed)
    alarm((unsigned)seconds);
  lua_pushboolean(L, is_unheard);
  return 1;
}

static void calm_down(lua_State *L) {
  patience = 0;
  stop_raising(L);
  if (alarmed) {
    alarm(0);
    sigaction(SIGALRM, &alarm_before, NULL);
    alarmed = 0;
  }
  if (alarm_was_blocked)
    change_mask(SIG_BLOCK, SIGALRM, NULL);
  alarm_was_blocked = false;
}

static int signals_close(lua_State *L) {
  signals *self = check(L);
  if (!self->open)
    return 0;
  self->open = false;
  for (size_t i = 0; i < WATCHED; i++)
    sigaction(watched[i].number, &self->before[i], NULL);
  calm_down(L);
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
