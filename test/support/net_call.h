/* What the tests of calls share. */
#ifndef TEST_NET_CALL_H
#define TEST_NET_CALL_H

#include "net.h"

/* ---- a clock that the test moves */

static int64_t fake_now;

static inline void move_clock(double seconds) {
  fake_now += nxa__ns_of(seconds);
  nxa__clock_fake(fake_now, INT64_C(784111777) * INT64_C(1000000000) + fake_now);
}

static inline int fake_setup(void **state) {
  fake_now = 0;
  move_clock(1000);
  return net_setup(state);
}

static inline int fake_teardown(void **state) {
  int result = net_teardown(state);
  nxa__clock_real();
  return result;
}

/* Steps until the server has had so many requests. */
static inline void await_requests(net *n, size_t count) {
  NET_STEP_UNTIL(n, fixture_requests(n->server) >= count);
}

/* Steps until the only thing left to wait for is the clock: a pause between attempts. */
static inline void await_pause(net *n) {
  NET_STEP_UNTIL(n, nxa_engine_fds(n->engine, NULL, 0) == 0 && nxa_engine_timeout(n->engine) > 0);
}

static inline void assert_has(const char *text, const char *part) {
  if (!strstr(text, part))
    fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static inline void assert_has_not(const char *text, const char *part) {
  if (strstr(text, part))
    fail_msg("\"%s\" is in \"%s\"", part, text);
}

static inline size_t drain(nxa_engine *engine, nxa_event_type type) {
  size_t count = 0;
  nxa_event event;
  while (nxa_engine_next_event(engine, &event))
    count += event.type == type;
  return count;
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, net_setup, net_teardown)
#define FAKE(test) cmocka_unit_test_setup_teardown(test, fake_setup, fake_teardown)

#endif
