/* What the core may ask of an engine. */
#ifndef NXA_ENGINE_H
#define NXA_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "list.h"
#include "nexus_assistants.h"
#include "transfer.h"

/*
 * A timer inside its owner's memory; start it zeroed, with `fire` and `data` set. It fires once, within
 * nxa_engine_step (or feed), disarmed already: it may be armed again, or its owner freed, while it fires.
 * Due times are of nxa__monotonic_ns. A closed engine fires none: arming does nothing there.
 */
typedef struct nxa__timer {
  int64_t due_ns;
  void (*fire)(struct nxa__timer *timer);
  void *data;
  struct nxa__timer *previous, *next;
  bool armed;
} nxa__timer;

/* Re-arming moves it. */
void nxa__timer_arm(nxa_engine *engine, nxa__timer *timer, int64_t due_ns);
void nxa__timer_disarm(nxa_engine *engine, nxa__timer *timer);

#define NXA__NEVER INT64_MAX

/* For one that fires at `due_ns` or before, and looks then whether there is something to do: moving it on would cost
 * more. One that is due never is disarmed. */
static inline void nxa__timer_want(nxa_engine *engine, nxa__timer *timer, int64_t due_ns) {
  if (due_ns == NXA__NEVER)
    nxa__timer_disarm(engine, timer);
  else if (!timer->armed || timer->due_ns > due_ns)
    nxa__timer_arm(engine, timer, due_ns);
}

/* The memory of an engine stays until the last count is given back; nxa_engine_free closes it before. */
void nxa__engine_retain(nxa_engine *engine);
void nxa__engine_release(nxa_engine *engine);
bool nxa__engine_closed(const nxa_engine *engine);

/* Queues NXA_EVENT_WARNING: at most 16 unread, and none of the last 64 texts again. */
void nxa__engine_warn(nxa_engine *engine, const char *format, ...) NXA__FORMAT(2, 3);

/*
 * nxa_engine_step for one that waits within the core: ends as soon as `over` says so, asked after each round of work.
 * Events neither end it nor keep it busy; they wait for the host.
 */
void nxa__engine_step_until(nxa_engine *engine, double timeout, bool (*over)(const void *data), const void *data);

/* ---- between engines and calls */

/* An event to be pulled, inside what it is about. */
typedef struct nxa__event {
  nxa__link link; /* its owner is the event */
  nxa_event_type type;
  nxa_call *call;
} nxa__event;

void nxa__event_init(nxa__event *event, nxa_event_type type, nxa_call *call);
/* Does nothing to one that is queued already. */
void nxa__engine_queue_event(nxa_engine *engine, nxa__event *event);
void nxa__event_remove(nxa__event *event);

/* The calls that aren't done: the engine closes them when it is freed. */
void nxa__engine_add_call(nxa_engine *engine, nxa__link *live);
/* Lets a call wait its turn for an attempt (nxa__call_begin); one of a sink doesn't wait for max_transfers. */
void nxa__engine_queue_turn(nxa_engine *engine, nxa__link *turn, bool of_sink);

/* A transfer from the pool or a new one; NULL for want of memory. `counted`: against max_transfers. */
nxa__transfer *nxa__engine_take_transfer(nxa_engine *engine, nxa_call *call, nxa__frozen *request, bool counted);
/* Sets it going. On failure it is back in the pool. */
nxa_kind nxa__engine_launch(nxa_engine *engine, nxa__transfer *transfer);
/* Goes on with one that was paused. */
void nxa__engine_resume_transfer(nxa_engine *engine, nxa__transfer *transfer);
/* Ends it at once and without a word; left to the resolver where that holds it. */
void nxa__engine_drop_transfer(nxa_engine *engine, nxa__transfer *transfer);

#endif
