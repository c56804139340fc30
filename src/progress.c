#include "progress.h"

#include <string.h>

#include "clock.h"

static const double shortest_interval = 0.05;

static void tell(nxa_engine *engine, nxa__progress *progress) {
  progress->told = progress->moved;
  progress->queued_ns = nxa__monotonic_ns();
  nxa__engine_queue_event(engine, &progress->event);
}

static bool is_unread(const nxa__progress *progress) {
  return progress->event.link.list != NULL;
}

static void on_timer(nxa__timer *timer) {
  nxa__progress *progress = timer->data;
  tell(progress->engine, progress);
}

void nxa__progress_init(nxa_engine *engine, nxa__progress *progress, nxa_call *call) {
  memset(progress, 0, sizeof *progress);
  progress->engine = engine;
  progress->timer.fire = on_timer;
  progress->timer.data = progress;
  progress->queued_ns = INT64_MIN / 2;
  progress->last = (nxa_progress){0, -1, 0, -1};
  nxa__event_init(&progress->event, NXA_EVENT_PROGRESS, call);
}

void nxa__progress_begin(nxa__progress *progress) {
  progress->moved = progress->told = 0;
}

void nxa__progress_move(nxa__progress *progress, int64_t moved) {
  progress->moved = moved;
  if (moved == progress->told || is_unread(progress) || progress->timer.armed)
    return;
  int64_t due = progress->queued_ns + nxa__ns_of(shortest_interval);
  if (nxa__monotonic_ns() >= due)
    tell(progress->engine, progress);
  else
    nxa__timer_arm(progress->engine, &progress->timer, due);
}

void nxa__progress_end(nxa__progress *progress) {
  nxa__timer_disarm(progress->engine, &progress->timer);
  if (progress->moved != progress->told)
    tell(progress->engine, progress);
}

void nxa__progress_drop(nxa__progress *progress) {
  nxa__timer_disarm(progress->engine, &progress->timer);
  nxa__event_remove(&progress->event);
}
