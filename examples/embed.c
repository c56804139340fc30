/*
 * A host: a C program with a loop of its own at 60 frames a second, which runs an agent script in between.
 *
 *   embed LUA_FOLDER SCRIPT [QUESTION]        e.g. build/examples/embed lua examples/embed.lua "…"
 *
 * The C core and its Lua module are linked into the program. The Lua part is read from LUA_FOLDER; the script returns a
 * client and a task. Each frame gives the client two milliseconds; whatever the network does, the frame goes on.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int luaopen_nexus_assistants_core(lua_State *L);

#define FRAME_SECONDS (1.0 / 60)
#define BUDGET_MS 2.0
#define CLOSE_SECONDS 2.0

enum { CLIENT = 1, TASK = 2 }; /* stack slots */

typedef struct frame_statistics {
  long count, late;
  double update_total, update_worst; /* seconds */
} frame_statistics;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void wait_until(double when) {
  double left = when - now();
  if (left <= 0)
    return;
  struct timespec time = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
  nanosleep(&time, NULL);
}

static void add_module(lua_State *L) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_nexus_assistants_core);
  lua_setfield(L, -2, "nexus_assistants.core");
  lua_pop(L, 2);
}

static void add_path(lua_State *L, const char *folder) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", folder, folder, lua_tostring(L, -1));
  lua_setfield(L, -3, "path");
  lua_pop(L, 2);
}

/* Leaves the client and the task in their slots. */
static void load_script(lua_State *L, const char *script, const char *question) {
  if (luaL_loadfile(L, script) != 0)
    lua_error(L);
  lua_pushstring(L, question);
  lua_call(L, 1, 2);
}

static void update(lua_State *L) {
  lua_getfield(L, CLIENT, "update");
  lua_pushvalue(L, CLIENT);
  lua_pushnumber(L, BUDGET_MS);
  lua_call(L, 2, 0);
}

static int is_done(lua_State *L) {
  lua_getfield(L, TASK, "done");
  lua_pushvalue(L, TASK);
  lua_call(L, 1, 1);
  int done = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return done;
}

static void timed_update(lua_State *L, frame_statistics *statistics) {
  double before = now();
  update(L);
  double took = now() - before;
  statistics->update_total += took;
  if (took > statistics->update_worst)
    statistics->update_worst = took;
}

static void run_frames(lua_State *L, frame_statistics *statistics) {
  double next = now();
  while (!is_done(L)) {
    /* input, physics and drawing of the host's go here */
    timed_update(L, statistics);
    statistics->count++;
    next += FRAME_SECONDS;
    if (now() > next)
      statistics->late++;
    wait_until(next);
  }
}

/* Pushes and returns what tostring makes of the value at the top. */
static const char *text_of_top(lua_State *L) {
  lua_getglobal(L, "tostring");
  lua_pushvalue(L, -2);
  lua_call(L, 1, 1);
  return lua_tostring(L, -1);
}

/* True where the task's function returned something; prints that, or the error. */
static int print_result(lua_State *L) {
  lua_getfield(L, TASK, "wait");
  lua_pushvalue(L, TASK);
  lua_call(L, 1, 2);
  int succeeded = lua_toboolean(L, -2);
  lua_pushvalue(L, succeeded ? -2 : -1);
  fprintf(succeeded ? stdout : stderr, "%s\n", text_of_top(L));
  lua_pop(L, 4);
  return succeeded;
}

/* What is still on its way to Nexus is delivered here, in bounded time. */
static void close_client(lua_State *L) {
  lua_getfield(L, CLIENT, "close");
  lua_pushvalue(L, CLIENT);
  lua_pushnumber(L, CLOSE_SECONDS);
  lua_call(L, 2, 0);
}

static void print_statistics(const frame_statistics *statistics) {
  double mean = statistics->count > 0 ? statistics->update_total / (double)statistics->count : 0;
  fprintf(stderr, "%ld frames, %ld late; client:update: mean %.3f ms, worst %.3f ms\n", statistics->count,
          statistics->late, mean * 1e3, statistics->update_worst * 1e3);
}

static int host(lua_State *L) {
  char **arguments = lua_touserdata(L, 1);
  frame_statistics statistics = {0};
  luaL_openlibs(L);
  add_module(L);
  add_path(L, arguments[1]);
  lua_settop(L, 0);
  load_script(L, arguments[2], arguments[3]);
  run_frames(L, &statistics);
  int succeeded = print_result(L);
  close_client(L);
  print_statistics(&statistics);
  lua_pushboolean(L, succeeded);
  return 1;
}

static int run_host(lua_State *L, char **arguments) {
  lua_pushcfunction(L, host);
  lua_pushlightuserdata(L, arguments);
  if (lua_pcall(L, 1, 1, 0) == 0)
    return lua_toboolean(L, -1) ? EXIT_SUCCESS : EXIT_FAILURE;
  const char *problem = lua_tostring(L, -1);
  fprintf(stderr, "embed: %s\n", problem ? problem : "an error that isn't a text");
  return EXIT_FAILURE;
}

int main(int count, char **arguments) {
  if (count != 3 && count != 4) {
    fprintf(stderr, "usage: embed LUA_FOLDER SCRIPT [QUESTION]\n");
    return EXIT_FAILURE;
  }
  lua_State *L = luaL_newstate();
  if (!L) {
    fprintf(stderr, "embed: out of memory\n");
    return EXIT_FAILURE;
  }
  int status = run_host(L, arguments);
  lua_close(L);
  return status;
}
