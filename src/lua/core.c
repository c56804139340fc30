/*
 * nexus_assistants.core: the C core as a Lua module. What each function does is in docs/architecture.md.
 */
#include "binding.h"

#include "../clock.h"

#include <curl/curl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LONGEST_WAIT 1e9 /* seconds: 30 years are for ever, and fit every clock */

void nxa__lua_type(lua_State *L, const char *name, const luaL_Reg *metamethods, const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  lua_pushvalue(L, -1);
  luaL_setfuncs(L, metamethods, 1);
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_newtable(L);
  lua_pushvalue(L, -2);
  luaL_setfuncs(L, methods, 1);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__index");
  lua_replace(L, -2);
}

void *nxa__lua_self(lua_State *L, const char *name) {
  void *self = lua_touserdata(L, 1);
  if (self && lua_getmetatable(L, 1)) {
    bool is_own = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    if (is_own)
      return self;
  }
  return luaL_checkudata(L, 1, name); /* for what it says */
}

void *nxa__lua_new(lua_State *L, const char *name, size_t size, int user_values) {
  (void)user_values;
  void *self = lua_newuserdatauv(L, size, user_values);
  memset(self, 0, size);
  luaL_setmetatable(L, name);
  return self;
}

int nxa__lua_nothing(lua_State *L) {
  lua_pushnil(L);
  return 1;
}

int nxa__lua_fail(lua_State *L, const nxa_error *error) {
  lua_pushnil(L);
  nxa__lua_push_error(L, error);
  return 2;
}

double nxa__lua_seconds(lua_State *L, int index, double absent) {
  double seconds = luaL_optnumber(L, index, absent);
  luaL_argcheck(L, !isnan(seconds), index, "must not be NaN");
  return fmin(fmax(seconds, 0), LONGEST_WAIT);
}

static void replace_zeros(lua_State *L, int index, const char *text, size_t length) {
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (size_t i = 0; i < length; i++) {
    if (text[i])
      luaL_addchar(&buffer, text[i]);
    else
      luaL_addlstring(&buffer, "\xEF\xBF\xBD", 3);
  }
  luaL_pushresult(&buffer);
  lua_replace(L, index);
}

const char *nxa__lua_text(lua_State *L, int index) {
  size_t length;
  const char *text = luaL_checklstring(L, index, &length);
  if (strlen(text) == length)
    return text;
  replace_zeros(L, index, text, length);
  return lua_tostring(L, index);
}

const char *nxa__lua_whole_text(lua_State *L, int index) {
  size_t length;
  const char *text = luaL_checklstring(L, index, &length);
  luaL_argcheck(L, strlen(text) == length, index, "must not hold a zero byte");
  return text;
}

const char *nxa__lua_optional_text(lua_State *L, int index) {
  return lua_isnoneornil(L, index) ? NULL : nxa__lua_text(L, index);
}

static int core_monotonic(lua_State *L) {
  lua_pushnumber(L, (lua_Number)nxa__monotonic_ns() / 1e9);
  return 1;
}

static int core_wall(lua_State *L) {
  lua_pushnumber(L, (lua_Number)nxa__wall_ns() / 1e9);
  return 1;
}

static int core_utf8_valid(lua_State *L) {
  size_t length, offset = 0;
  const char *text = luaL_checklstring(L, 1, &length);
  bool valid = nxa_utf8_valid(text, length, &offset);
  lua_pushboolean(L, valid);
  if (valid)
    return 1;
  lua_pushinteger(L, (lua_Integer)offset + 1);
  return 2;
}

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), ending = strlen(end);
  return length >= ending && strcmp(text + length - ending, end) == 0;
}

/* OpenTelemetry has the path of a file there. */
static bool names_a_file(const char *name) {
  return strncmp(name, "OTEL_EXPORTER_OTLP_", 19) == 0 && ends_with(name, "_CLIENT_KEY");
}

/* Keys go from the environment into the core's memory, never through Lua's. */
static bool names_a_key(const char *name) {
  return ends_with(name, "_KEY") && !names_a_file(name);
}

/* core.http_date(text) → Unix seconds; nil where it is none */
static int core_http_date(lua_State *L) {
  time_t seconds = curl_getdate(nxa__lua_text(L, 1), NULL);
  if (seconds == (time_t)-1)
    return nxa__lua_nothing(L);
  lua_pushnumber(L, (lua_Number)seconds);
  return 1;
}

static int core_environment(lua_State *L) {
  const char *name = nxa__lua_whole_text(L, 1);
  if (names_a_key(name))
    return luaL_error(L, "core.environment: '%s' is a secret, name it in an endpoint's key_environment", name);
  lua_pushstring(L, getenv(name));
  return 1;
}

static const luaL_Reg core_functions[] = {{"monotonic", core_monotonic},
                                          {"wall", core_wall},
                                          {"utf8_valid", core_utf8_valid},
                                          {"json_mark", nxa__lua_json_mark},
                                          {"json_restore", nxa__lua_json_restore},
                                          {"json_is_plain", nxa__lua_json_is_plain},
                                          {"json_cut", nxa__lua_json_cut},
                                          {"http_date", core_http_date},
                                          {"environment", core_environment},
                                          {"is_secret", nxa__lua_is_secret},
                                          {"holds_any", nxa__lua_holds_any},
                                          {"holds_key", nxa__lua_holds_key},
                                          {"key_form", nxa__lua_key_form},
                                          {"is_terminal", nxa__lua_is_terminal},
                                          {"terminal_width", nxa__lua_terminal_width},
                                          {"endpoint", nxa__lua_endpoint_new},
                                          {"engine", nxa__lua_engine_new},
                                          {"tracer", nxa__lua_tracer_new},
                                          {"signals", nxa__lua_signals_new},
                                          {"end_on_interrupt", nxa__lua_end_on_interrupt},
                                          {"interrupt_again", nxa__lua_interrupt_again},
                                          {"lock_file", nxa__lua_lock_file},
                                          {"lock_text", nxa__lua_lock_text},
                                          {"make_directory", nxa__lua_make_directory},
                                          {"can_make_directory", nxa__lua_can_make_directory},
                                          {"make_private", nxa__lua_make_private},
                                          {"list_folder", nxa__lua_list_folder},
                                          {"absolute_path", nxa__lua_absolute_path},
                                          {"look_at", nxa__lua_look_at},
                                          {"otlp_is_page", nxa__lua_otlp_is_page},
                                          {"otlp_rejected", nxa__lua_otlp_rejected},
                                          {"gzip", nxa__lua_gzip},
                                          {"sha256", nxa__lua_sha256},
                                          {NULL, NULL}};

static void add_constants(lua_State *L) {
  lua_pushstring(L, nxa_version());
  lua_setfield(L, -2, "version");
  lua_pushstring(L, curl_version_info(CURLVERSION_NOW)->version);
  lua_setfield(L, -2, "curl_version");
  lua_pushboolean(L, nxa_asynchronous_dns());
  lua_setfield(L, -2, "asynchronous_dns");
}

NXA_API int luaopen_nexus_assistants_core(lua_State *L);

NXA_API int luaopen_nexus_assistants_core(lua_State *L) {
  nxa__lua_pin_module();
  nxa__lua_endpoint_open(L);
  nxa__lua_call_open(L);
  nxa__lua_engine_open(L);
  nxa__lua_tracer_open(L);
  nxa__lua_trace_open(L);
  nxa__lua_span_open(L);
  nxa__lua_signals_open(L);
  nxa__lua_lock_open(L);
  lua_newtable(L);
  luaL_setfuncs(L, core_functions, 0);
  add_constants(L);
  return 1;
}
