#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "retry.h"

static nxa__retry_facts facts(nxa_kind kind, int status) {
  return (nxa__retry_facts){.kind = kind,
                            .status = status,
                            .attempts = 1,
                            .retries = 2,
                            .should_retry = -1,
                            .retry_after = -1,
                            .remaining = 1000};
}

static void assert_near(double a, double b) {
  if (a < b - 1e-9 || a > b + 1e-9)
    fail_msg("%g, not %g", a, b);
}

static void assert_delay(nxa__retry_facts given, double random, double wanted) {
  assert_near(nxa__retry_delay(&given, random), wanted);
}

static void assert_gives_up(nxa__retry_facts given) {
  assert_true(nxa__retry_delay(&given, 0) < 0);
}

static void which_failures(void **state) {
  (void)state;
  const int repeated[] = {408, 409, 429, 500, 502, 503, 504, 599};
  const int final[] = {300, 302, 400, 401, 403, 404, 410, 422, 499};
  for (size_t i = 0; i < sizeof repeated / sizeof *repeated; i++)
    assert_delay(facts(NXA_STATUS, repeated[i]), 0, 0.5);
  for (size_t i = 0; i < sizeof final / sizeof *final; i++)
    assert_gives_up(facts(NXA_STATUS, final[i]));
  assert_delay(facts(NXA_CONNECTION, 0), 0, 0.5);
  assert_delay(facts(NXA_TIMEOUT, 0), 0, 0.5);
  assert_delay(facts(NXA_CONNECTION, 200), 0, 0.5);
  assert_gives_up(facts(NXA_MEMORY, 0));
  assert_gives_up(facts(NXA_PROTOCOL, 0));
  assert_gives_up(facts(NXA_TOO_LARGE, 200));
}

static void hopeless(void **state) {
  (void)state;
  nxa__retry_facts given = facts(NXA_CONNECTION, 0);
  given.hopeless = true;
  assert_gives_up(given);
}

static void the_server_decides(void **state) {
  (void)state;
  nxa__retry_facts given = facts(NXA_BAD_REQUEST, 400);
  given.should_retry = 1;
  assert_delay(given, 0, 0.5);
  given = facts(NXA_SERVER, 503);
  given.should_retry = 0;
  assert_gives_up(given);
}

static void delays_grow(void **state) {
  (void)state;
  const double wanted[] = {0.5, 1, 2, 4, 8, 8, 8};
  nxa__retry_facts given = facts(NXA_SERVER, 500);
  given.retries = 100;
  for (int i = 0; i < 7; i++) {
    given.attempts = i + 1;
    assert_delay(given, 0, wanted[i]);
    assert_delay(given, 0.5, wanted[i] * 0.875);
    assert_delay(given, 1, wanted[i] * 0.75);
  }
}

static void attempts_end(void **state) {
  (void)state;
  nxa__retry_facts given = facts(NXA_SERVER, 500);
  given.attempts = 2;
  assert_delay(given, 0, 1);
  given.attempts = 3;
  assert_gives_up(given);
  given.attempts = 1;
  given.retries = 0;
  assert_gives_up(given);
}

static void the_server_asks_to_wait(void **state) {
  (void)state;
  nxa__retry_facts given = facts(NXA_RATE_LIMIT, 429);
  given.retry_after = 60;
  assert_delay(given, 0.5, 60);
  given.retry_after = 0;
  assert_delay(given, 0.5, 0);
  given.retry_after = 60.001; /* too long to be meant: our own */
  assert_delay(given, 0, 0.5);
}

static void the_deadline_is_near(void **state) {
  (void)state;
  nxa__retry_facts given = facts(NXA_RATE_LIMIT, 429);
  given.retry_after = 5;
  given.remaining = 5;
  assert_gives_up(given);
  given.remaining = 5.1;
  assert_delay(given, 0, 5);
  given = facts(NXA_TIMEOUT, 0);
  given.remaining = 0;
  assert_gives_up(given);
}

static void headers(void **state) {
  (void)state;
  const int64_t now = INT64_C(784111777) * 1000000000; /* Sun, 06 Nov 1994 08:49:37 GMT */
  assert_near(nxa__retry_after("120", now), 120);
  assert_near(nxa__retry_after(" 1.5 ", now), 1.5);
  assert_near(nxa__retry_after("0", now), 0);
  assert_near(nxa__retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), 10);
  assert_near(nxa__retry_after("Sun, 06 Nov 1994 08:49:27 GMT", now), 0);
  const char *bad[] = {"", "-1", "soon", "nan", "inf", "0x10", "1e3", "1,5", "5 s", "."};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (nxa__retry_after(bad[i], now) >= 0 || nxa__milliseconds_header(bad[i]) >= 0)
      fail_msg("\"%s\" is taken for a time", bad[i]);
  assert_near(nxa__milliseconds_header("1500"), 1.5);
  assert_true(nxa__retry_after("99999999999999999999999999999999999999", now) <= 1e9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(which_failures),       cmocka_unit_test(hopeless),     cmocka_unit_test(the_server_decides),
      cmocka_unit_test(delays_grow),          cmocka_unit_test(attempts_end), cmocka_unit_test(the_server_asks_to_wait),
      cmocka_unit_test(the_deadline_is_near), cmocka_unit_test(headers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
