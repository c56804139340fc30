#include "../gzip.h"
#include "../otlp_answer.h"
#include "../sink_nexus.h"
#include "../sink_none.h"
#include "../sink_otlp.h"
#include "binding.h"

static const nxa__lua_option tracer_options[] = {
    {"max_traces", NXA__OPTION_SIZE, offsetof(nxa_tracer_options, max_traces), 0},
    {"max_spans", NXA__OPTION_SIZE, offsetof(nxa_tracer_options, max_spans), 0},
    {"max_bytes", NXA__OPTION_SIZE, offsetof(nxa_tracer_options, max_bytes), 0},
    {"max_field_bytes", NXA__OPTION_SIZE, offsetof(nxa_tracer_options, max_field_bytes), 0},
    {"sample", NXA__OPTION_NUMBER, offsetof(nxa_tracer_options, sample), 0},
};

static const nxa__lua_option nexus_options[] = {
    {"endpoint", NXA__OPTION_ENDPOINT, offsetof(nxa_nexus_options, endpoint), 0},
    {"timeout", NXA__OPTION_NUMBER, offsetof(nxa_nexus_options, timeout), 0},
    {"flush_interval", NXA__OPTION_NUMBER, offsetof(nxa_nexus_options, flush_interval), 0},
    {"max_in_flight", NXA__OPTION_INTEGER, offsetof(nxa_nexus_options, max_in_flight), 0},
    {"spool", NXA__OPTION_TEXT, offsetof(nxa_nexus_options, spool), 0},
    {"spool_files", NXA__OPTION_SIZE, offsetof(nxa_nexus_options, spool_files), 0},
    {"spool_bytes", NXA__OPTION_SIZE, offsetof(nxa_nexus_options, spool_bytes), 0},
    {"spool_age", NXA__OPTION_NUMBER, offsetof(nxa_nexus_options, spool_age), 0},
};

static const nxa__lua_option otlp_options[] = {
    {"endpoint", NXA__OPTION_ENDPOINT, offsetof(nxa_otlp_options, endpoint), 0},
    {"path", NXA__OPTION_TEXT, offsetof(nxa_otlp_options, path), 0},
    {"json", NXA__OPTION_FLAG, offsetof(nxa_otlp_options, json), 0},
    {"gzip", NXA__OPTION_FLAG, offsetof(nxa_otlp_options, gzip), 0},
    {"content", NXA__OPTION_FLAG, offsetof(nxa_otlp_options, content), 0},
    {"service_name", NXA__OPTION_TEXT, offsetof(nxa_otlp_options, service_name), 0},
    {"resource_attributes", NXA__OPTION_TEXT, offsetof(nxa_otlp_options, resource_attributes), 0},
    {"timeout", NXA__OPTION_NUMBER, offsetof(nxa_otlp_options, timeout), 0},
    {"flush_interval", NXA__OPTION_NUMBER, offsetof(nxa_otlp_options, flush_interval), 0},
    {"spool", NXA__OPTION_TEXT, offsetof(nxa_otlp_options, spool), 0},
    {"spool_files", NXA__OPTION_SIZE, offsetof(nxa_otlp_options, spool_files), 0},
    {"spool_bytes", NXA__OPTION_SIZE, offsetof(nxa_otlp_options, spool_bytes), 0},
    {"spool_age", NXA__OPTION_NUMBER, offsetof(nxa_otlp_options, spool_age), 0},
};

static const nxa__lua_option file_options[] = {
    {"path", NXA__OPTION_TEXT, offsetof(nxa_file_options, path), 0},
    {"max_bytes", NXA__OPTION_SIZE, offsetof(nxa_file_options, max_bytes), 0},
    {"max_files", NXA__OPTION_INTEGER, offsetof(nxa_file_options, max_files), 0},
    {"content", NXA__OPTION_FLAG, offsetof(nxa_file_options, content), 0},
    {"service_name", NXA__OPTION_TEXT, offsetof(nxa_file_options, service_name), 0},
    {"resource_attributes", NXA__OPTION_TEXT, offsetof(nxa_file_options, resource_attributes), 0},
    {"flush_interval", NXA__OPTION_NUMBER, offsetof(nxa_file_options, flush_interval), 0},
};

static const nxa_error engine_closed = {.kind = NXA_CLOSED, .retry_after = -1, .message = "the engine is closed"};
static const nxa_error tracer_closed = {.kind = NXA_CLOSED, .retry_after = -1, .message = "the tracer is closed"};

int nxa__lua_tracer_new(lua_State *L) {
  const nxa__lua_engine *engine = luaL_checkudata(L, 1, NXA__LUA_ENGINE);
  lua_settop(L, 2);
  nxa__lua_tracer *self = nxa__lua_new(L, NXA__LUA_TRACER, sizeof *self, 0);
  nxa_tracer_options options;
  nxa_tracer_options_init(&options);
  nxa__lua_options(L, 2, "core.tracer", tracer_options, NXA__COUNT(tracer_options), &options);
  if (!engine->engine)
    return nxa__lua_fail(L, &engine_closed);
  nxa_error error;
  self->tracer = nxa_tracer_new(engine->engine, &options, &error);
  if (!self->tracer)
    return nxa__lua_fail(L, &error);
  lua_settop(L, 3);
  return 1;
}

static nxa__lua_tracer *check(lua_State *L) {
  return nxa__lua_self(L, NXA__LUA_TRACER);
}

/* Returns true, or nil and what is wrong. */
static int tell(lua_State *L, nxa_kind kind, const nxa_error *error) {
  if (kind != NXA_OK)
    return nxa__lua_fail(L, error);
  lua_pushboolean(L, true);
  return 1;
}

static int tracer_nexus(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  nxa_nexus_options options;
  nxa_nexus_options_init(&options);
  nxa__lua_options(L, 2, "tracer:nexus", nexus_options, NXA__COUNT(nexus_options), &options);
  if (!self->tracer)
    return nxa__lua_fail(L, &tracer_closed);
  nxa_error error;
  return tell(L, nxa_tracer_add_nexus(self->tracer, &options, &error), &error);
}

static int tracer_otlp(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  nxa_otlp_options options;
  nxa_otlp_options_init(&options);
  nxa__lua_options(L, 2, "tracer:otlp", otlp_options, NXA__COUNT(otlp_options), &options);
  if (!self->tracer)
    return nxa__lua_fail(L, &tracer_closed);
  nxa_error error;
  return tell(L, nxa_tracer_add_otlp(self->tracer, &options, &error), &error);
}

static int tracer_file(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  nxa_file_options options;
  nxa_file_options_init(&options);
  nxa__lua_options(L, 2, "tracer:file", file_options, NXA__COUNT(file_options), &options);
  if (!self->tracer)
    return nxa__lua_fail(L, &tracer_closed);
  nxa_error error;
  return tell(L, nxa_tracer_add_file(self->tracer, &options, &error), &error);
}

static int tracer_none(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  if (!self->tracer)
    return nxa__lua_fail(L, &tracer_closed);
  nxa_error error;
  return tell(L, nxa__tracer_add_none(self->tracer, &error), &error);
}

static void set_count(lua_State *L, const char *name, uint64_t count) {
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, -2, name);
}

static void push_stats(lua_State *L, const nxa_stats *stats) {
  lua_createtable(L, 0, 21);
  set_count(L, "traces_started", stats->traces_started);
  set_count(L, "traces_dropped", stats->traces_dropped);
  set_count(L, "traces_delivered", stats->traces_delivered);
  set_count(L, "traces_failed", stats->traces_failed);
  set_count(L, "spans_started", stats->spans_started);
  set_count(L, "spans_dropped", stats->spans_dropped);
  set_count(L, "spans_delivered", stats->spans_delivered);
  set_count(L, "spans_failed", stats->spans_failed);
  set_count(L, "fields_cut", stats->fields_cut);
  set_count(L, "requests", stats->requests);
  set_count(L, "requests_repeated", stats->requests_repeated);
  set_count(L, "repeated_unconfirmed", stats->repeated_unconfirmed);
  set_count(L, "traces_spooled", stats->traces_spooled);
  set_count(L, "spans_spooled", stats->spans_spooled);
  set_count(L, "spool_dropped", stats->spool_dropped);
  set_count(L, "spool_left", stats->spool_left);
  set_count(L, "spool_files", stats->spool_files);
  set_count(L, "spool_bytes", stats->spool_bytes);
  set_count(L, "traces_left_out", stats->traces_left_out);
  set_count(L, "spans_left_out", stats->spans_left_out);
  set_count(L, "traces_pending", stats->traces_pending);
  set_count(L, "spans_pending", stats->spans_pending);
  set_count(L, "bytes_pending", stats->bytes_pending);
}

static int tracer_stats(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  nxa_stats stats = {0};
  if (self->tracer)
    nxa_tracer_stats(self->tracer, &stats);
  push_stats(L, &stats);
  return 1;
}

static int tracer_flush(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  if (self->tracer)
    nxa_tracer_flush(self->tracer);
  return 0;
}

static int tracer_pending(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  lua_pushboolean(L, self->tracer && nxa_tracer_pending(self->tracer));
  return 1;
}

static int tracer_close(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  double timeout = nxa__lua_seconds(L, 2, 0);
  lua_pushboolean(L, !self->tracer || nxa_tracer_close(self->tracer, timeout));
  return 1;
}

/* The sink whose spool is meant: "nexus" or "otlp". */
static bool is_of_otlp(lua_State *L) {
  static const char *const names[] = {"nexus", "otlp", NULL};
  return luaL_checkoption(L, 2, names[0], names) == 1;
}

static nxa__spool *spool_of(const nxa__lua_tracer *self, bool otlp) {
  if (!self->tracer)
    return NULL;
  return otlp ? nxa__otlp_spool(self->tracer) : nxa__nexus_spool(self->tracer);
}

/* The path of a file that is to be delivered from the spool; each is told once. */
static int tracer_collect(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  nxa__spool *spool = spool_of(self, is_of_otlp(L));
  const char *path = spool ? nxa__spool_collect(spool) : NULL;
  lua_pushstring(L, path);
  return 1;
}

/* What became of it: true where it is done with, else it is told again. */
static int tracer_collected(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  nxa__spool *spool = spool_of(self, is_of_otlp(L));
  const char *path = nxa__lua_whole_text(L, 3);
  if (spool)
    nxa__spool_collected(spool, path, lua_toboolean(L, 4));
  return 0;
}

static int tracer_reachable(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  bool otlp = is_of_otlp(L);
  lua_pushboolean(L, self->tracer &&
                         (otlp ? nxa__otlp_is_reachable(self->tracer) : nxa__nexus_is_reachable(self->tracer)));
  return 1;
}

/* Whether a warning said that the receiver doesn't take what there is; the one of OTLP always says so. */
static int tracer_has_told(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  lua_pushboolean(L, is_of_otlp(L) || (self->tracer && nxa__nexus_has_told(self->tracer)));
  return 1;
}

/* How many batches the receiver of OTLP has taken; of Nexus none are told. */
static int tracer_taken(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  bool otlp = is_of_otlp(L);
  lua_pushinteger(L, self->tracer && otlp ? (lua_Integer)nxa__otlp_taken(self->tracer) : 0);
  return 1;
}

static int tracer_resume(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  if (self->tracer)
    nxa__nexus_resume(self->tracer);
  return 0;
}

/* Once the tracer is closed: others may deliver what it left. */
static int tracer_release_spool(lua_State *L) {
  const nxa__lua_tracer *self = check(L);
  if (!self->tracer)
    return 0;
  nxa__nexus_release_spool(self->tracer);
  nxa__otlp_release_spool(self->tracer);
  return 0;
}

/* How many spans a receiver says it did not take, in the body of its answer, which is JSON or not; and its words. */
int nxa__lua_otlp_rejected(lua_State *L) {
  char words[1024]; /* more than is shown: a secret that is cut isn't found any more */
  size_t length;
  const char *body = luaL_checklstring(L, 1, &length);
  bool json = lua_toboolean(L, 2);
  lua_pushinteger(L, (lua_Integer)nxa__otlp_rejected(body, length, json, words, sizeof words));
  lua_pushstring(L, words);
  return 2;
}

/* Whether the body of a receiver's answer, of some type, is a page. */
int nxa__lua_otlp_is_page(lua_State *L) {
  size_t length;
  const char *body = luaL_checklstring(L, 1, &length), *content_type = luaL_checkstring(L, 2);
  lua_pushboolean(L, nxa__otlp_is_page(content_type, body, length));
  return 1;
}

static int push_buffer(lua_State *L) {
  const nxa__buffer *buffer = lua_touserdata(L, 1);
  lua_pushlstring(L, buffer->data, buffer->length);
  return 1;
}

/* A text as gzip has it; or nil where it can't be packed. */
int nxa__lua_gzip(lua_State *L) {
  nxa__buffer packed;
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  lua_pushcfunction(L, push_buffer);
  lua_pushlightuserdata(L, &packed);
  nxa__gzip *gzip = nxa__gzip_new();
  if (!gzip)
    return nxa__lua_nothing(L);
  nxa__buffer_init(&packed, SIZE_MAX);
  nxa__gzip_put(gzip, &packed, text, length, true);
  nxa__gzip_free(gzip);
  int status = 0;
  if (packed.state == NXA_OK)
    status = lua_pcall(L, 1, 1, 0);
  else
    lua_pushnil(L);
  nxa__buffer_free(&packed);
  return status == 0 ? 1 : lua_error(L);
}

static int tracer_gc(lua_State *L) {
  nxa__lua_tracer *self = check(L);
  nxa_tracer *tracer = self->tracer;
  self->tracer = NULL;
  nxa_tracer_free(tracer);
  return 0;
}

void nxa__lua_tracer_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", tracer_gc}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"nexus", tracer_nexus},
                                     {"otlp", tracer_otlp},
                                     {"file", tracer_file},
                                     {"none", tracer_none},
                                     {"trace", nxa__lua_trace_start},
                                     {"stats", tracer_stats},
                                     {"flush", tracer_flush},
                                     {"pending", tracer_pending},
                                     {"close", tracer_close},
                                     {"collect", tracer_collect},
                                     {"collected", tracer_collected},
                                     {"reachable", tracer_reachable},
                                     {"taken", tracer_taken},
                                     {"has_told", tracer_has_told},
                                     {"resume", tracer_resume},
                                     {"release_spool", tracer_release_spool},
                                     {NULL, NULL}};
  nxa__lua_type(L, NXA__LUA_TRACER, metamethods, methods);
  lua_pop(L, 1);
}
