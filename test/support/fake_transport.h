/*
 * An engine without a network, for the tests of what sits on top of it. Included by one file of a test that links
 * neither engine.c nor call.c: it defines their functions. Time is the fake clock and moves in nxa_engine_step only,
 * from one thing that happens to the next. Calls are answered by `server`, after `latency_ns`.
 */
#ifndef FAKE_TRANSPORT_H
#define FAKE_TRANSPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "call.h"
#include "clock.h"
#include "endpoint.h"
#include "engine.h"
#include "list.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define FAKE_START_MONOTONIC (500 * SECOND)
#define FAKE_START_WALL (INT64_C(1772368496789) * MILLISECOND) /* 2026-03-01T12:34:56.789Z */

/* What a server makes of a request. */
typedef struct fake_answer {
  nxa_kind kind; /* NXA_OK: by status; else the call fails so */
  int status;
  char body[1024];
  const char *content_type; /* NULL: none */
  char message[128];
  double retry_after;
  bool arrived; /* of a failure: the request may have reached the server */
  int64_t latency_ns;
} fake_answer;

typedef struct fake_request {
  const char *method;
  const char *path;
  const char *body;
  size_t length;
  double timeout;
} fake_request;

typedef void (*fake_server)(const fake_request *request, fake_answer *answer);

struct nxa_engine {
  int references;
  bool closed;
  nxa__timer *timers;
  nxa__list calls;
  size_t most_calls;
  char warnings[16][512];
  size_t warning_count;
  size_t steps;
};

struct nxa_call {
  nxa_engine *engine;
  nxa__link link;
  nxa__call_done_fn done;
  void *data;
  int64_t due_ns;
  bool ended, arrived;
  nxa_response response;
  nxa_error error;
  char body[1024];
};

static fake_server server;
static size_t requests_seen;

/* ------------------------------------------------------------------------------------------------ engine */

static inline nxa_engine *fake_engine(void) {
  nxa_engine *engine = calloc(1, sizeof *engine);
  engine->references = 1;
  requests_seen = 0;
  nxa__clock_fake(FAKE_START_MONOTONIC, FAKE_START_WALL);
  return engine;
}

/* Moves both clocks. */
static inline void pass(int64_t ns) {
  nxa__clock_fake(nxa__monotonic_ns() + ns, nxa__wall_ns() + ns);
}

void nxa__engine_retain(nxa_engine *engine) {
  engine->references++;
}

void nxa__engine_release(nxa_engine *engine) {
  if (--engine->references == 0)
    free(engine);
}

bool nxa__engine_closed(const nxa_engine *engine) {
  return engine->closed;
}

void nxa__engine_warn(nxa_engine *engine, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  for (size_t i = 0; i < engine->warning_count; i++)
    if (strcmp(engine->warnings[i], text) == 0)
      return;
  assert_true(engine->warning_count < 16);
  strcpy(engine->warnings[engine->warning_count++], text);
}

static size_t events_queued;

void nxa__event_init(nxa__event *event, nxa_event_type type, nxa_call *call) {
  memset(event, 0, sizeof *event);
  event->type = type;
  event->call = call;
}

void nxa__engine_queue_event(nxa_engine *engine, nxa__event *event) {
  (void)engine;
  (void)event;
  events_queued++;
}

void nxa__event_remove(nxa__event *event) {
  (void)event;
}

/* ------------------------------------------------------------------------------------------------ timers */

void nxa__timer_disarm(nxa_engine *engine, nxa__timer *timer) {
  if (!timer->armed)
    return;
  timer->armed = false;
  for (nxa__timer **place = &engine->timers; *place; place = &(*place)->next)
    if (*place == timer) {
      *place = timer->next;
      return;
    }
  fail_msg("an armed timer that isn't in its engine's list");
}

void nxa__timer_arm(nxa_engine *engine, nxa__timer *timer, int64_t due_ns) {
  nxa__timer_disarm(engine, timer);
  if (engine->closed)
    return;
  timer->due_ns = due_ns;
  timer->armed = true;
  timer->next = engine->timers;
  engine->timers = timer;
}

static inline nxa__timer *first_timer(const nxa_engine *engine) {
  nxa__timer *first = engine->timers;
  for (nxa__timer *timer = first; timer; timer = timer->next)
    if (timer->due_ns < first->due_ns)
      first = timer;
  return first;
}

/* ------------------------------------------------------------------------------------------------ calls */

static inline void fill_call(nxa_call *call, const nxa_request *request) {
  char *body = calloc(1, request->body_length + 1); /* a block of its own, for the sanitizer */
  if (request->body_length)
    memcpy(body, request->body, request->body_length);
  fake_request seen = {request->method, request->path, body, request->body_length, request->timeout};
  fake_answer answer = {.retry_after = -1, .arrived = true};
  server(&seen, &answer);
  free(body);
  nxa_kind kind = answer.kind != NXA_OK || (answer.status >= 200 && answer.status < 300) ? answer.kind : NXA_STATUS;
  call->due_ns = nxa__monotonic_ns() + answer.latency_ns;
  call->arrived = answer.arrived;
  strcpy(call->body, answer.body);
  call->response = (nxa_response){answer.status,
                                  call->body,
                                  strlen(call->body),
                                  answer.content_type ? answer.content_type : "",
                                  "",
                                  answer.retry_after,
                                  -1,
                                  1,
                                  ""};
  call->error = (nxa_error){.kind = kind, .status = answer.status, .attempts = 1, .retry_after = answer.retry_after};
  strcpy(call->error.message, answer.message);
}

nxa_call *nxa__call_start(nxa_engine *engine, const nxa_request *request, nxa__call_done_fn done, void *data,
                          nxa_error *error) {
  assert_int_equal(request->retries, 0);
  assert_true(request->max_response <= 256 * 1024);
  assert_false(engine->closed);
  nxa_call *call = calloc(1, sizeof *call);
  (void)error;
  requests_seen++;
  call->engine = engine;
  call->done = done;
  call->data = data;
  call->link.owner = call;
  fill_call(call, request);
  nxa__list_append(&engine->calls, &call->link);
  if (engine->calls.count > engine->most_calls)
    engine->most_calls = engine->calls.count;
  return call;
}

bool nxa__call_may_have_arrived(const nxa_call *call) {
  return call->arrived;
}

void nxa_call_free(nxa_call *call) {
  if (!call)
    return;
  nxa__list_remove(&call->link);
  free(call);
}

const nxa_response *nxa_call_response(const nxa_call *call) {
  return call->ended ? &call->response : NULL;
}

const nxa_error *nxa_call_error(const nxa_call *call) {
  return call->ended && call->error.kind != NXA_OK ? &call->error : NULL;
}

static inline void end_call(nxa_call *call) {
  nxa__list_remove(&call->link);
  call->ended = true;
  call->done(call, call->data);
}

static inline nxa_call *first_call(const nxa_engine *engine) {
  nxa_call *first = engine->calls.first ? engine->calls.first->owner : NULL;
  for (nxa__link *link = engine->calls.first; link; link = link->next)
    if (((nxa_call *)link->owner)->due_ns < first->due_ns)
      first = link->owner;
  return first;
}

/* ------------------------------------------------------------------------------------------------ stepping */

/* Does the next thing that is due by now; false where there is none. */
static inline bool do_next(nxa_engine *engine) {
  nxa__timer *timer = first_timer(engine);
  nxa_call *call = first_call(engine);
  if (call && call->due_ns <= nxa__monotonic_ns()) {
    end_call(call);
    return true;
  }
  if (!timer || timer->due_ns > nxa__monotonic_ns())
    return false;
  nxa__timer_disarm(engine, timer);
  timer->fire(timer);
  return true;
}

static inline int64_t next_due(const nxa_engine *engine, int64_t latest) {
  const nxa__timer *timer = first_timer(engine);
  const nxa_call *call = first_call(engine);
  if (timer && timer->due_ns < latest)
    latest = timer->due_ns;
  return call && call->due_ns < latest ? call->due_ns : latest;
}

void nxa_engine_step(nxa_engine *engine, double timeout, double budget) {
  (void)budget;
  engine->steps++;
  int64_t due = next_due(engine, nxa__monotonic_ns() + nxa__ns_of(timeout));
  if (due > nxa__monotonic_ns())
    pass(due - nxa__monotonic_ns());
  for (int done = 0; do_next(engine); done++)
    assert_true(done < 100000); /* a timer that is always due again would spin */
}

/* This step ends after each thing that happens. */
void nxa__engine_step_until(nxa_engine *engine, double timeout, bool (*over)(const void *data), const void *data) {
  if (!over(data))
    nxa_engine_step(engine, timeout, 0);
}

/* Steps until this much time has passed, and over all that happens at its end. */
static inline void run_for(nxa_engine *engine, int64_t ns) {
  int64_t end = nxa__monotonic_ns() + ns;
  do
    nxa_engine_step(engine, nxa__seconds_of(end - nxa__monotonic_ns()), 0);
  while (nxa__monotonic_ns() < end);
  nxa_engine_step(engine, 0, 0);
}

void nxa_engine_free(nxa_engine *engine) {
  engine->closed = true;
  while (engine->timers)
    nxa__timer_disarm(engine, engine->timers);
  while (engine->calls.first) {
    nxa_call *call = engine->calls.first->owner;
    call->error = (nxa_error){.kind = NXA_CLOSED};
    call->response = (nxa_response){0, "", 0, "", "", -1, -1, 0, ""};
    end_call(call);
  }
  nxa__engine_release(engine);
}

#endif
