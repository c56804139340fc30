#include "../trace.h"
#include "binding.h"

static const nxa__lua_span *optional_parent(lua_State *L, int index) {
  return lua_isnoneornil(L, index) ? NULL : luaL_checkudata(L, index, NXA__LUA_SPAN);
}

int nxa__lua_span_start(lua_State *L) {
  const nxa__lua_trace *trace = nxa__lua_self(L, NXA__LUA_TRACE);
  lua_settop(L, 4);
  const char *name = nxa__lua_text(L, 2), *type = nxa__lua_optional_text(L, 3);
  const nxa__lua_span *parent = optional_parent(L, 4);
  luaL_argcheck(L, *name, 2, "must not be empty");
  nxa__lua_span *self = nxa__lua_new(L, NXA__LUA_SPAN, sizeof *self, 0);
  if (trace->trace)
    self->span = nxa_span_start(trace->trace, parent ? parent->span : NULL, name, type);
  if (!self->span)
    lua_pushnil(L);
  return 1;
}

static nxa__lua_span *check(lua_State *L) {
  return nxa__lua_self(L, NXA__LUA_SPAN);
}

static int span_id(lua_State *L) {
  lua_pushstring(L, nxa_span_id(check(L)->span));
  return 1;
}

static int span_traceparent(lua_State *L) {
  char text[NXA_TRACEPARENT_SIZE];
  nxa_span_traceparent(check(L)->span, text);
  lua_pushstring(L, text);
  return 1;
}

static int span_input(lua_State *L) {
  size_t length;
  const char *json = luaL_checklstring(L, 2, &length);
  nxa_span_set_input(check(L)->span, json, length);
  return 0;
}

static int span_output(lua_State *L) {
  size_t length;
  const char *json = luaL_checklstring(L, 2, &length);
  nxa_span_set_output(check(L)->span, json, length);
  return 0;
}

static int span_metadata(lua_State *L) {
  const nxa__lua_span *self = check(L);
  size_t length;
  const char *json = luaL_checklstring(L, 3, &length), *key = nxa__lua_text(L, 2);
  nxa_span_set_metadata(self->span, key, json, length);
  return 0;
}

static int span_error(lua_State *L) {
  const nxa__lua_span *self = check(L);
  const char *text = nxa__lua_text(L, 2);
  nxa_span_set_error(self->span, text);
  return 0;
}

static double time_argument(lua_State *L, int index) {
  double seconds = luaL_optnumber(L, index, -1);
  luaL_argcheck(L, seconds == seconds, index, "must not be NaN");
  return seconds;
}

static int span_times(lua_State *L) {
  const nxa__lua_span *self = check(L);
  nxa_span_set_times(self->span, time_argument(L, 2), time_argument(L, 3));
  return 0;
}

static int span_note_end(lua_State *L) {
  nxa__span_note_end(check(L)->span);
  return 0;
}

static int span_finish(lua_State *L) {
  static const char *const names[] = {"ok", "error", NULL};
  static const nxa_span_status statuses[] = {NXA_SPAN_OK, NXA_SPAN_ERROR};
  const nxa__lua_span *self = check(L);
  nxa_span_status status = statuses[luaL_checkoption(L, 2, NULL, names)];
  if (lua_toboolean(L, 3))
    nxa__span_end_with_parent(self->span, status);
  else
    nxa_span_end(self->span, status);
  return 0;
}

/* Nil at the top; it is another one where the parent was left out. */
static int span_parent_id(lua_State *L) {
  const nxa_span *span = check(L)->span;
  lua_pushstring(L, span && span->parent ? span->parent->id : NULL);
  return 1;
}

static int span_leave_out(lua_State *L) {
  nxa__span_leave_out(check(L)->span);
  return 0;
}

static int span_gc(lua_State *L) {
  nxa__lua_span *self = check(L);
  nxa_span_free(self->span);
  self->span = NULL;
  return 0;
}

void nxa__lua_span_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", span_gc}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"id", span_id},
                                     {"traceparent", span_traceparent},
                                     {"input", span_input},
                                     {"output", span_output},
                                     {"metadata", span_metadata},
                                     {"error", span_error},
                                     {"times", span_times},
                                     {"note_end", span_note_end},
                                     {"finish", span_finish},
                                     {"leave_out", span_leave_out},
                                     {"parent_id", span_parent_id},
                                     {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_SPAN, metamethods, methods);
  lua_pop(L, 1);
}
