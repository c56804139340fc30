#include "binding.h"

#include <stdio.h>

static const nxa__lua_option engine_options[] = {
    {"max_transfers", NXA__OPTION_INTEGER, offsetof(nxa_engine_options, max_transfers), 0},
};

int nxa__lua_engine_new(lua_State *L) {
  lua_settop(L, 1);
  nxa__lua_engine *self = nxa__lua_new(L, NXA__LUA_ENGINE, sizeof *self, 0);
  nxa_engine_options options;
  nxa_engine_options_init(&options);
  nxa__lua_options(L, 1, "core.engine", engine_options, NXA__COUNT(engine_options), &options);
  nxa_error error;
  self->engine = nxa_engine_new(&options, &error);
  if (!self->engine)
    return nxa__lua_fail(L, &error);
  lua_settop(L, 2);
  return 1;
}

static nxa__lua_engine *check(lua_State *L) {
  return nxa__lua_self(L, NXA__LUA_ENGINE);
}

/* With a fourth argument that is true, what signals:interrupt asks for is raised here: no event is lost by that. */
static int engine_step(lua_State *L) {
  const nxa__lua_engine *self = check(L);
  double timeout = nxa__lua_seconds(L, 2, 0), budget = nxa__lua_seconds(L, 3, 0);
  bool raises = lua_toboolean(L, 4);
  if (raises && nxa__lua_unheard)
    nxa__lua_interrupt(L);
  if (self->engine)
    nxa_engine_step(self->engine, timeout, budget);
  if (raises && nxa__lua_unheard)
    nxa__lua_interrupt(L);
  return 0;
}

/* Upvalues of engine:next. All it needs is there already, so that no event is lost when memory runs out. */
enum {
  UPVALUE_CALLS = 1,
  UPVALUE_DONE,
  UPVALUE_DATA,
  UPVALUE_SEND,
  UPVALUE_PROGRESS,
  UPVALUE_WARNING,
  UPVALUE_SPOOLED,
  UPVALUE_COUNT = UPVALUE_SPOOLED
};

static int name_of(nxa_event_type type) {
  switch (type) {
  case NXA_EVENT_DATA:
    return UPVALUE_DATA;
  case NXA_EVENT_SEND:
    return UPVALUE_SEND;
  case NXA_EVENT_PROGRESS:
    return UPVALUE_PROGRESS;
  default:
    return UPVALUE_DONE;
  }
}

/* Pushes the event's name and its call; pushes nothing for a call that is no longer known. */
static int push_call_event(lua_State *L, const nxa_event *event) {
  lua_pushvalue(L, lua_upvalueindex(name_of(event->type)));
  lua_rawgetp(L, lua_upvalueindex(UPVALUE_CALLS), event->call);
  nxa__lua_call *call = lua_touserdata(L, -1);
  if (!call) {
    lua_pop(L, 2);
    return 0;
  }
  if (event->type == NXA_EVENT_DONE)
    call->announced = true;
  return 2;
}

/* The text is the engine's until the next event is pulled, and Lua 5.1 runs finalizers, which may do that, before it
 * copies a string. */
static int push_warning(lua_State *L, const nxa_event *event) {
  char text[512];
  snprintf(text, sizeof text, "%s", event->text);
  lua_pushvalue(L, lua_upvalueindex(UPVALUE_WARNING));
  lua_pushstring(L, text);
  return 2;
}

static int push_event(lua_State *L, const nxa_event *event) {
  switch (event->type) {
  case NXA_EVENT_WARNING:
    return push_warning(L, event);
  case NXA_EVENT_SPOOLED:
    lua_pushvalue(L, lua_upvalueindex(UPVALUE_SPOOLED));
    return 1;
  default:
    return push_call_event(L, event);
  }
}

static int engine_next(lua_State *L) {
  const nxa__lua_engine *self = check(L);
  nxa_event event;
  int results = 0;
  while (results == 0 && self->engine && nxa_engine_next_event(self->engine, &event))
    results = push_event(L, &event);
  return results ? results : nxa__lua_nothing(L);
}

static int engine_timeout(lua_State *L) {
  const nxa__lua_engine *self = check(L);
  double timeout = self->engine ? nxa_engine_timeout(self->engine) : -1;
  if (timeout < 0)
    return nxa__lua_nothing(L);
  lua_pushnumber(L, timeout);
  return 1;
}

static void push_fd(lua_State *L, const nxa_fd *fd) {
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, fd->fd);
  lua_setfield(L, -2, "fd");
  lua_pushboolean(L, fd->events & NXA_READABLE);
  lua_setfield(L, -2, "read");
  lua_pushboolean(L, fd->events & NXA_WRITABLE);
  lua_setfield(L, -2, "write");
}

static int engine_fds(lua_State *L) {
  const nxa__lua_engine *self = check(L);
  size_t capacity = self->engine ? nxa_engine_fds(self->engine, NULL, 0) : 0;
  nxa_fd *fds = lua_newuserdatauv(L, (capacity + 1) * sizeof *fds, 0);
  size_t count = self->engine ? nxa_engine_fds(self->engine, fds, capacity) : 0;
  if (count > capacity)
    count = capacity;
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    push_fd(L, &fds[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int engine_feed(lua_State *L) {
  const nxa__lua_engine *self = check(L);
  int fd = (int)luaL_checkinteger(L, 2);
  int events = (lua_toboolean(L, 3) ? NXA_READABLE : 0) | (lua_toboolean(L, 4) ? NXA_WRITABLE : 0);
  if (self->engine)
    nxa_engine_feed(self->engine, fd, events);
  return 0;
}

static int engine_close(lua_State *L) {
  nxa__lua_engine *self = check(L);
  nxa_engine *engine = self->engine;
  self->engine = NULL;
  nxa_engine_free(engine);
  return 0;
}

static void add_next(lua_State *L) {
  nxa__lua_push_calls(L);
  lua_pushliteral(L, "done");
  lua_pushliteral(L, "data");
  lua_pushliteral(L, "send");
  lua_pushliteral(L, "progress");
  lua_pushliteral(L, "warning");
  lua_pushliteral(L, "spooled");
  lua_pushcclosure(L, engine_next, UPVALUE_COUNT);
  lua_setfield(L, -2, "next");
}

void nxa__lua_engine_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", engine_close}, {"__close", engine_close}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"step", engine_step}, {"timeout", engine_timeout},    {"fds", engine_fds},
                                     {"feed", engine_feed}, {"call", nxa__lua_engine_call}, {"close", engine_close},
                                     {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_ENGINE, metamethods, methods);
  add_next(L);
  lua_pop(L, 1);
}
