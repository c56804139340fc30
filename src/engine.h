/* What the core may ask of an engine. */
#ifndef NXA_ENGINE_H
#define NXA_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "nexus_assistants.h"

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

/* The memory of an engine stays until the last count is given back; nxa_engine_free closes it before. */
void nxa__engine_retain(nxa_engine *engine);
void nxa__engine_release(nxa_engine *engine);
bool nxa__engine_closed(const nxa_engine *engine);

/* Queues NXA_EVENT_WARNING: at most 16 unread, the same text once in an engine's life. */
void nxa__engine_warn(nxa_engine *engine, const char *format, ...) NXA__FORMAT(2, 3);

#endif
