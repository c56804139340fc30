#include "binding.h"

#include <stdio.h>

#include "../call.h"

static const nxa__lua_option request_options[] = {
    {"endpoint", NXA__OPTION_ENDPOINT, offsetof(nxa_request, endpoint), 0},
    {"method", NXA__OPTION_TEXT, offsetof(nxa_request, method), 0},
    {"path", NXA__OPTION_TEXT, offsetof(nxa_request, path), 0},
    {"query", NXA__OPTION_TEXT, offsetof(nxa_request, query), 0},
    {"headers", NXA__OPTION_HEADERS, offsetof(nxa_request, headers), offsetof(nxa_request, header_count)},
    {"body", NXA__OPTION_BYTES, offsetof(nxa_request, body), offsetof(nxa_request, body_length)},
    {"content_type", NXA__OPTION_TEXT, offsetof(nxa_request, content_type), 0},
    {"timeout", NXA__OPTION_NUMBER, offsetof(nxa_request, timeout), 0},
    {"deadline", NXA__OPTION_NUMBER, offsetof(nxa_request, deadline), 0},
    {"retries", NXA__OPTION_INTEGER, offsetof(nxa_request, retries), 0},
    {"max_response", NXA__OPTION_SIZE, offsetof(nxa_request, max_response), 0},
    {"stream", NXA__OPTION_STREAM, offsetof(nxa_request, stream), 0},
    {"parts", NXA__OPTION_PARTS, offsetof(nxa_request, parts), offsetof(nxa_request, part_count)},
    {"progress", NXA__OPTION_FLAG, offsetof(nxa_request, progress), 0},
};

static const char calls_key;

void nxa__lua_push_calls(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &calls_key);
}

static void start(nxa_engine *engine, const nxa_request *request, nxa__lua_call *self, nxa_error *error) {
  if (engine) {
    self->call = nxa_call_start(engine, request, error);
    return;
  }
  *error = (nxa_error){.kind = NXA_CLOSED, .retry_after = -1, .message = "the engine is closed"};
}

int nxa__lua_engine_call(lua_State *L) {
  const nxa__lua_engine *engine = nxa__lua_self(L, NXA__LUA_ENGINE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  nxa__lua_call *self = nxa__lua_new(L, NXA__LUA_CALL, sizeof *self, 1);
  nxa__lua_push_calls(L);
  nxa_request request;
  nxa_request_init(&request);
  nxa__lua_options(L, 2, "engine:call", request_options, NXA__COUNT(request_options), &request);
  nxa_error error;
  start(engine->engine, &request, self, &error);
  if (!self->call)
    return nxa__lua_fail(L, &error);
  self->progress = (nxa_progress){0, -1, 0, -1};
  self->stream = request.stream != NXA_STREAM_NONE;
  lua_pushvalue(L, 3);
  lua_rawsetp(L, 4, self->call);
  lua_settop(L, 3);
  return 1;
}

static nxa__lua_call *check(lua_State *L) {
  return nxa__lua_self(L, NXA__LUA_CALL);
}

static int call_done(lua_State *L) {
  const nxa__lua_call *self = check(L);
  lua_pushboolean(L, !self->call || nxa_call_done(self->call));
  return 1;
}

static int call_cancel(lua_State *L) {
  const nxa__lua_call *self = check(L);
  if (self->call)
    nxa_call_cancel(self->call);
  return 0;
}

static void set_text(lua_State *L, const char *name, const char *text) {
  if (!text || !*text)
    return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static void set_seconds(lua_State *L, const char *name, double seconds) {
  if (seconds < 0)
    return;
  lua_pushnumber(L, seconds);
  lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, int value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static void push_response(lua_State *L, const nxa_response *response) {
  lua_createtable(L, 0, 9);
  set_integer(L, "status", response->status);
  lua_pushlstring(L, response->body, response->body_length);
  lua_setfield(L, -2, "body");
  set_text(L, "content_type", response->content_type);
  set_text(L, "request_id", response->request_id);
  set_seconds(L, "retry_after", response->retry_after);
  set_seconds(L, "poll_after", response->poll_after);
  set_text(L, "date", response->date);
  set_integer(L, "attempts", response->attempts);
}

void nxa__lua_push_error(lua_State *L, const nxa_error *error) {
  lua_createtable(L, 0, 6);
  set_text(L, "kind", nxa_kind_name(error->kind));
  set_text(L, "message", error->message);
  if (error->status > 0)
    set_integer(L, "status", error->status);
  set_text(L, "request_id", error->request_id);
  set_seconds(L, "retry_after", error->retry_after);
  if (error->attempts > 0)
    set_integer(L, "attempts", error->attempts);
}

static void release(nxa__lua_call *self) {
  nxa_call *call = self->call;
  self->call = NULL;
  nxa_call_free(call);
}

/* Lua's collector sees a few bytes where the core holds a whole answer, so the core's is not kept until it comes by. */
static void take_response(lua_State *L, nxa__lua_call *self) {
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 1, 1);
  self->taken = true;
  nxa_call_progress(self->call, &self->progress);
  release(self);
}

static int read_result(lua_State *L) {
  nxa__lua_call *self = lua_touserdata(L, 1);
  push_response(L, nxa_call_response(self->call));
  if (nxa_call_response(self->call)->status == 0 && nxa__call_may_have_arrived(self->call)) {
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "sent");
  }
  const nxa_error *error = nxa_call_error(self->call);
  if (error)
    nxa__lua_push_error(L, error);
  else if (self->announced && !self->stream)
    take_response(L, self);
  return lua_gettop(L) - 1;
}

static int read_event(lua_State *L) {
  const nxa__lua_call *self = lua_touserdata(L, 1);
  nxa_stream_event event;
  if (!nxa_call_next_event(self->call, &event))
    return nxa__lua_nothing(L);
  lua_pushstring(L, event.event);
  lua_pushlstring(L, event.data, event.data_length);
  lua_pushstring(L, event.id);
  return 3;
}

static int read_piece(lua_State *L) {
  const nxa__lua_call *self = lua_touserdata(L, 1);
  const char *data;
  size_t length;
  if (!nxa_call_next_piece(self->call, &data, &length))
    return nxa__lua_nothing(L);
  lua_pushlstring(L, data, length);
  return 1;
}

/* What is read is borrowed from the call while Lua allocates, and a finalizer might read from the same call then. */
static int read_alone(lua_State *L, nxa__lua_call *self, lua_CFunction read) {
  if (self->reading)
    return luaL_error(L, "the call is being read already");
  lua_settop(L, 1);
  lua_pushcfunction(L, read);
  lua_pushvalue(L, 1);
  self->reading = true;
  int status = lua_pcall(L, 1, LUA_MULTRET, 0);
  self->reading = false;
  return status == 0 ? lua_gettop(L) - 1 : lua_error(L);
}

static int call_result(lua_State *L) {
  nxa__lua_call *self = check(L);
  if (self->taken) {
    lua_getiuservalue(L, 1, 1);
    return 1;
  }
  if (!self->call || !nxa_call_done(self->call))
    return nxa__lua_nothing(L);
  return read_alone(L, self, read_result);
}

static int call_event(lua_State *L) {
  nxa__lua_call *self = check(L);
  return self->call ? read_alone(L, self, read_event) : nxa__lua_nothing(L);
}

static int call_piece(lua_State *L) {
  nxa__lua_call *self = check(L);
  return self->call ? read_alone(L, self, read_piece) : nxa__lua_nothing(L);
}

/* ---- sending */

static int sent(lua_State *L, nxa_kind kind, const char *misuse) {
  if (kind == NXA_OK) {
    lua_pushboolean(L, 1);
    return 1;
  }
  nxa_error error = {.kind = kind, .retry_after = -1};
  snprintf(error.message, sizeof error.message, "%s",
           kind == NXA_CLOSED      ? "the call is done"
           : kind == NXA_TOO_LARGE ? "more than is held at once: send pieces of at most 1 MiB, when asked for them"
           : kind == NXA_MEMORY    ? "out of memory"
                                   : misuse);
  return nxa__lua_fail(L, &error);
}

static int call_send(lua_State *L) {
  const nxa__lua_call *self = check(L);
  size_t length;
  const char *bytes = luaL_checklstring(L, 2, &length);
  nxa_kind kind = self->call ? nxa_call_send(self->call, bytes, length) : NXA_CLOSED;
  return sent(L, kind, "no part of the call takes these bytes, or not as many");
}

static int call_send_end(lua_State *L) {
  const nxa__lua_call *self = check(L);
  nxa_kind kind = self->call ? nxa_call_send_end(self->call) : NXA_CLOSED;
  return sent(L, kind, "no part of the call is to be ended");
}

/* Also where an integer of this Lua has 32 bits. */
static void set_bytes(lua_State *L, const char *name, int64_t bytes) {
  if (bytes < 0)
    return;
  if (sizeof(lua_Integer) >= sizeof bytes)
    lua_pushinteger(L, (lua_Integer)bytes);
  else
    lua_pushnumber(L, (lua_Number)bytes);
  lua_setfield(L, -2, name);
}

static int call_progress(lua_State *L) {
  const nxa__lua_call *self = check(L);
  lua_createtable(L, 0, 4);
  nxa_progress progress = self->progress;
  if (self->call)
    nxa_call_progress(self->call, &progress);
  set_bytes(L, "sent", progress.sent);
  set_bytes(L, "send_total", progress.send_total);
  set_bytes(L, "received", progress.received);
  set_bytes(L, "receive_total", progress.receive_total);
  return 1;
}

static int call_gc(lua_State *L) {
  release(check(L));
  return 0;
}

/* Once a state: a module that is opened again goes on with the calls it knows. */
static void create_calls(lua_State *L) {
  nxa__lua_push_calls(L);
  bool known = lua_istable(L, -1);
  lua_pop(L, 1);
  if (known)
    return;
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &calls_key);
}

void nxa__lua_call_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", call_gc}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"done", call_done},         {"cancel", call_cancel},     {"result", call_result},
                                     {"event", call_event},       {"piece", call_piece},       {"send", call_send},
                                     {"send_end", call_send_end}, {"progress", call_progress}, {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_CALL, metamethods, methods);
  lua_pop(L, 1);
  create_calls(L);
}
