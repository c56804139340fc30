/*
 * What the files of the binding share. One file a userdata; each userdata is a struct whose pointer into the C core is
 * NULL until the core has made it and again once it was freed, so that every function can be called at any time.
 *
 * A finalizer may run wherever Lua allocates and may close anything. Pointers of the core are therefore taken out of
 * their userdata after the last allocation before their use.
 */
#ifndef NXA_LUA_BINDING_H
#define NXA_LUA_BINDING_H

#include "../nexus_assistants.h"
#include "compat.h"

#include <signal.h>

#define NXA__LUA_ENDPOINT "nexus_assistants.endpoint"
#define NXA__LUA_ENGINE "nexus_assistants.engine"
#define NXA__LUA_CALL "nexus_assistants.call"
#define NXA__LUA_TRACER "nexus_assistants.tracer"
#define NXA__LUA_TRACE "nexus_assistants.trace"
#define NXA__LUA_SPAN "nexus_assistants.span"
#define NXA__LUA_SIGNALS "nexus_assistants.signals"
#define NXA__LUA_LOCK "nexus_assistants.lock"

typedef struct nxa__lua_endpoint {
  nxa_endpoint *endpoint;
} nxa__lua_endpoint;

typedef struct nxa__lua_engine {
  nxa_engine *engine;
} nxa__lua_engine;

typedef struct nxa__lua_call {
  nxa_call *call;
  bool stream;
  bool reading;          /* a result, an event or a piece is on its way into Lua */
  bool announced;        /* its "done" was pulled: nothing of the engine asks for it any more */
  bool taken;            /* the response is the user value, the call is freed */
  nxa_progress progress; /* where it ended, once it is taken */
} nxa__lua_call;

typedef struct nxa__lua_tracer {
  nxa_tracer *tracer;
} nxa__lua_tracer;

typedef struct nxa__lua_trace {
  nxa_trace *trace;
} nxa__lua_trace;

typedef struct nxa__lua_span {
  nxa_span *span;
} nxa__lua_span;

/* Makes the metatable of a userdata type with these methods, whose upvalue it is; leaves the table of methods on the
 * stack. */
void nxa__lua_type(lua_State *L, const char *name, const luaL_Reg *metamethods, const luaL_Reg *methods);
/* What a method of that type is called on, the first argument; raises where that is something else. */
void *nxa__lua_self(lua_State *L, const char *name);
/* Pushes a zeroed userdata of that type with its metatable. */
void *nxa__lua_new(lua_State *L, const char *name, size_t size, int user_values);

void nxa__lua_endpoint_open(lua_State *L);
void nxa__lua_engine_open(lua_State *L);
void nxa__lua_call_open(lua_State *L);
void nxa__lua_tracer_open(lua_State *L);
void nxa__lua_trace_open(lua_State *L);
void nxa__lua_span_open(lua_State *L);
void nxa__lua_signals_open(lua_State *L);
void nxa__lua_lock_open(lua_State *L);

/* Not 0 where a signal came that is still to be raised, see signals.c: a wait then calls nxa__lua_interrupt, which
 * raises. */
extern volatile sig_atomic_t nxa__lua_unheard;
void nxa__lua_interrupt(lua_State *L);

/* Functions of the module `core`. */
int nxa__lua_endpoint_new(lua_State *L);
int nxa__lua_holds_key(lua_State *L);
int nxa__lua_engine_new(lua_State *L);
int nxa__lua_tracer_new(lua_State *L);
int nxa__lua_json_mark(lua_State *L);
int nxa__lua_json_restore(lua_State *L);
int nxa__lua_json_is_plain(lua_State *L);
int nxa__lua_is_terminal(lua_State *L);
int nxa__lua_terminal_width(lua_State *L);
int nxa__lua_is_secret(lua_State *L);
int nxa__lua_holds_any(lua_State *L);
int nxa__lua_json_cut(lua_State *L);
int nxa__lua_key_form(lua_State *L);
int nxa__lua_signals_new(lua_State *L);
int nxa__lua_end_on_interrupt(lua_State *L);
int nxa__lua_interrupt_again(lua_State *L);
int nxa__lua_lock_file(lua_State *L);
int nxa__lua_lock_text(lua_State *L);
int nxa__lua_make_directory(lua_State *L);
int nxa__lua_can_make_directory(lua_State *L);
int nxa__lua_make_private(lua_State *L);
int nxa__lua_list_folder(lua_State *L);
int nxa__lua_absolute_path(lua_State *L);
int nxa__lua_look_at(lua_State *L);
/* In tracer.c. */
int nxa__lua_otlp_rejected(lua_State *L);
int nxa__lua_otlp_is_page(lua_State *L);
int nxa__lua_gzip(lua_State *L);
int nxa__lua_sha256(lua_State *L);

void nxa__lua_pin_module(void); /* keeps the module loaded for the rest of the process */

int nxa__lua_engine_call(lua_State *L); /* engine:call */
int nxa__lua_trace_start(lua_State *L); /* tracer:trace */
int nxa__lua_span_start(lua_State *L);  /* trace:span */
void nxa__lua_push_calls(lua_State *L); /* the table nxa_call * → userdata, weak in its values */

/* Pushes nil, returns 1: a function that has no result for now still returns one value. */
int nxa__lua_nothing(lua_State *L);
/* Pushes nil and the error as a table, returns 2. */
int nxa__lua_fail(lua_State *L, const nxa_error *error);
void nxa__lua_push_error(lua_State *L, const nxa_error *error);

/* An argument of text that must not hold a zero: the path of a file, say. */
const char *nxa__lua_whole_text(lua_State *L, int index);
/* An argument of seconds: raises on NaN, and brings what is out of range into it. */
double nxa__lua_seconds(lua_State *L, int index, double absent);
/* An argument of text for the core, which takes zero-terminated strings: a zero in it becomes U+FFFD. Stays valid while
 * the argument's slot does. */
const char *nxa__lua_text(lua_State *L, int index);
/* The same, NULL for nil. */
const char *nxa__lua_optional_text(lua_State *L, int index);

typedef enum nxa__lua_option_type {
  NXA__OPTION_TEXT,     /* const char * without a zero in it */
  NXA__OPTION_BYTES,    /* const char * and size_t */
  NXA__OPTION_NUMBER,   /* double */
  NXA__OPTION_INTEGER,  /* int */
  NXA__OPTION_SIZE,     /* size_t */
  NXA__OPTION_FLAG,     /* bool */
  NXA__OPTION_STREAM,   /* nxa_stream_mode */
  NXA__OPTION_LENGTH,   /* int64_t, not negative */
  NXA__OPTION_PARTS,    /* const nxa_part * and size_t, from an array of tables */
  NXA__OPTION_HEADERS,  /* const char *const * and size_t, from a table { Name = "value" } */
  NXA__OPTION_ENDPOINT, /* nxa_endpoint * */
} nxa__lua_option_type;

typedef struct nxa__lua_option {
  const char *name;
  nxa__lua_option_type type;
  size_t offset;        /* of the field in the core's struct */
  size_t length_offset; /* of the length that goes with it */
} nxa__lua_option;

/*
 * Reads the table of options at `index` (nil and absent are an empty one) into `target`, the core's struct. An unknown
 * key or a value of a wrong type raises, naming `function` and the option. Pushes what `target` then borrows: it is
 * good until the caller pops that.
 */
void nxa__lua_options(lua_State *L, int index, const char *function, const nxa__lua_option *options, size_t count,
                      void *target);

#define NXA__COUNT(array) (sizeof(array) / sizeof *(array))

#endif
