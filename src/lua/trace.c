#include "binding.h"

int nxa__lua_trace_start(lua_State *L) {
  const nxa__lua_tracer *tracer = nxa__lua_self(L, NXA__LUA_TRACER);
  lua_settop(L, 3);
  const char *agent_id = nxa__lua_text(L, 2), *name = nxa__lua_text(L, 3);
  luaL_argcheck(L, *agent_id, 2, "must not be empty");
  luaL_argcheck(L, *name, 3, "must not be empty");
  nxa__lua_trace *self = nxa__lua_new(L, NXA__LUA_TRACE, sizeof *self, 0);
  if (tracer->tracer)
    self->trace = nxa_trace_start(tracer->tracer, agent_id, name);
  if (!self->trace)
    lua_pushnil(L);
  return 1;
}

static nxa__lua_trace *check(lua_State *L) {
  return nxa__lua_self(L, NXA__LUA_TRACE);
}

static int trace_id(lua_State *L) {
  lua_pushstring(L, nxa_trace_id(check(L)->trace));
  return 1;
}

/* Returns whether it is one. */
static int trace_continue(lua_State *L) {
  const char *traceparent = nxa__lua_text(L, 2);
  lua_pushboolean(L, nxa_trace_continue(check(L)->trace, traceparent));
  return 1;
}

static int trace_traceparent(lua_State *L) {
  char text[NXA_TRACEPARENT_SIZE];
  nxa_trace_traceparent(check(L)->trace, text);
  lua_pushstring(L, text);
  return 1;
}

static int trace_input(lua_State *L) {
  size_t length;
  const char *json = luaL_checklstring(L, 2, &length);
  nxa_trace_set_input(check(L)->trace, json, length);
  return 0;
}

static int trace_output(lua_State *L) {
  size_t length;
  const char *json = luaL_checklstring(L, 2, &length);
  nxa_trace_set_output(check(L)->trace, json, length);
  return 0;
}

static int trace_metadata(lua_State *L) {
  const nxa__lua_trace *self = check(L);
  size_t length;
  const char *json = luaL_checklstring(L, 3, &length), *key = nxa__lua_text(L, 2);
  nxa_trace_set_metadata(self->trace, key, json, length);
  return 0;
}

static int trace_finish(lua_State *L) {
  static const char *const names[] = {"success", "error", "timeout", NULL};
  static const nxa_trace_status statuses[] = {NXA_TRACE_SUCCESS, NXA_TRACE_ERROR, NXA_TRACE_TIMEOUT};
  const nxa__lua_trace *self = check(L);
  nxa_trace_status status = statuses[luaL_checkoption(L, 2, NULL, names)];
  const char *message = nxa__lua_optional_text(L, 3);
  nxa_trace_end(self->trace, status, message);
  return 0;
}

static int trace_gc(lua_State *L) {
  nxa__lua_trace *self = check(L);
  nxa_trace_free(self->trace);
  self->trace = NULL;
  return 0;
}

void nxa__lua_trace_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", trace_gc}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"id", trace_id},         {"continue", trace_continue},  {"traceparent", trace_traceparent},
      {"input", trace_input},   {"output", trace_output},      {"metadata", trace_metadata},
      {"finish", trace_finish}, {"span", nxa__lua_span_start}, {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_TRACE, metamethods, methods);
  lua_pop(L, 1);
}
