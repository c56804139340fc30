#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

#include "call.h"
#include "engine.h"
#include "net.h"

#define SECOND INT64_C(1000000000)

/* ---- a resolver that the test holds: libcurl finds this one before the C library's */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int waiting;
  bool held;
} resolver = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

typedef int (*look_up_fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int look_up(const char *address, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
  look_up_fn next;
  memcpy(&next, &symbol, sizeof next);
  return next(address, service, hints, found);
}

/* Names below ".held" wait until they are let go, and are 127.0.0.1 then; all others are unknown. */
__attribute__((visibility("default"))) int getaddrinfo(const char *restrict name, const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict found) {
  size_t length = name ? strlen(name) : 0;
  if (length < 5 || strcmp(name + length - 5, ".held") != 0)
    return EAI_NONAME;
  pthread_mutex_lock(&resolver.lock);
  resolver.waiting++;
  while (resolver.held)
    pthread_cond_wait(&resolver.changed, &resolver.lock);
  resolver.waiting--;
  pthread_mutex_unlock(&resolver.lock);
  return look_up("127.0.0.1", service, hints, found);
}

/* Elsewhere a program's own function is not what its libraries find. */
static void skip_without_resolver(void) {
#ifndef __linux__
  skip();
#endif
}

static void hold_resolver(bool held) {
  pthread_mutex_lock(&resolver.lock);
  resolver.held = held;
  pthread_cond_broadcast(&resolver.changed);
  pthread_mutex_unlock(&resolver.lock);
}

static int resolving(void) {
  pthread_mutex_lock(&resolver.lock);
  int waiting = resolver.waiting;
  pthread_mutex_unlock(&resolver.lock);
  return waiting;
}

/* A look-up that is let go ends in a thread of libcurl's. */
static void await_resolver(void) {
  while (resolving() > 0)
    poll(NULL, 0, 1);
}

/* ---- life */

static void options_are_checked(void **state) {
  (void)state;
  nxa_error error;
  nxa_engine_options options;
  nxa_engine_options_init(&options);
  assert_int_equal(options.max_transfers, 100);
  options.max_transfers = 0;
  assert_null(nxa_engine_new(&options, &error));
  assert_int_equal(error.kind, NXA_INVALID);
  assert_non_null(strstr(error.message, "max_transfers"));
  nxa_engine_free(NULL);
  assert_true(nxa_asynchronous_dns());
}

static void an_idle_engine(void **state) {
  net *n = *state;
  nxa_event event;
  nxa_engine_step(n->engine, 0, 0);
  nxa_engine_step(n->engine, 0, 0.002);
  nxa_engine_step(n->engine, -1, -1);
  assert_true(nxa_engine_timeout(n->engine) < 0);
  assert_int_equal(nxa_engine_fds(n->engine, NULL, 0), 0);
  assert_false(nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_NONE);
  assert_true(nxa_engine_now(n->engine) > 0);
}

static void freed_under_its_calls(void **state) {
  net *n = *state;
  nxa_error error;
  fixture_add(n->server, (fixture_reply){.path = "/x", .end = FIXTURE_HANG});
  fixture_answer(n->server, 503, NULL, "later");
  nxa_call *sent = net_start(n);
  NET_STEP_UNTIL(n, fixture_requests(n->server) == 1);
  n->request.retries = 1;
  n->request.path = "/y";
  nxa_call *pausing = net_start(n);
  NET_STEP_UNTIL(n, nxa_engine_fds(n->engine, NULL, 0) == 1 && fixture_requests(n->server) == 2);
  nxa_call *waiting = net_start(n), *cancelled = net_start(n);
  nxa_call_cancel(cancelled);
  nxa__engine_retain(n->engine);
  nxa_engine_free(n->engine);
  assert_failed(sent, NXA_CLOSED, "freed");
  assert_failed(pausing, NXA_CLOSED, "freed");
  assert_failed(waiting, NXA_CLOSED, "freed");
  assert_failed(cancelled, NXA_CANCELLED, "cancelled");
  nxa_call_cancel(sent);
  assert_null(nxa_call_start(n->engine, &n->request, &error)); /* held by a count: a tracer may still try */
  assert_int_equal(error.kind, NXA_CLOSED);
  nxa__engine_warn(n->engine, "nobody hears this");
  nxa__engine_release(n->engine);
  nxa_call_free(sent);
  nxa_call_free(pausing);
  nxa_call_free(waiting);
  nxa_call_free(cancelled);
  n->engine = nxa_engine_new(NULL, NULL);
}

/* ---- events */

static void events_in_order(void **state) {
  net *n = *state;
  nxa_event event;
  nxa_call *first = net_run(n), *second = net_run(n);
  nxa__engine_warn(n->engine, "careful: %d", 7);
  nxa_call *third = net_start(n);
  nxa_call_cancel(third);
  assert_true(nxa_engine_timeout(n->engine) == 0);
  assert_true(nxa_engine_next_event(n->engine, &event) && event.call == first && event.type == NXA_EVENT_DONE);
  assert_true(nxa_engine_next_event(n->engine, &event) && event.call == second);
  assert_true(nxa_engine_next_event(n->engine, &event) && event.type == NXA_EVENT_WARNING);
  assert_string_equal(event.text, "careful: 7");
  assert_true(nxa_engine_next_event(n->engine, &event) && event.call == third);
  assert_false(nxa_engine_next_event(n->engine, &event));
  nxa_call_free(first);
  nxa_call_free(second);
  nxa_call_free(third);
}

static void warnings_are_bounded(void **state) {
  net *n = *state;
  nxa_event event;
  nxa__engine_warn(n->engine, "the same\ntext");
  nxa__engine_warn(n->engine, "the same text");
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_string_equal(event.text, "the same text");
  nxa__engine_warn(n->engine, "the same text");
  assert_false(nxa_engine_next_event(n->engine, &event));
  for (int i = 0; i < 100; i++)
    nxa__engine_warn(n->engine, "text %d", i);
  int count = 0;
  while (nxa_engine_next_event(n->engine, &event))
    count++;
  assert_int_equal(count, 16);
  char large[2000];
  memset(large, 'x', sizeof large - 1);
  large[sizeof large - 1] = '\0';
  nxa__engine_warn(n->engine, "%s", large);
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_true(strlen(event.text) > 500);
  nxa__engine_warn(n->engine, "left unread");
}

/* ---- timers */

typedef struct alarm_clock {
  nxa__timer timer;
  nxa_engine *engine;
  nxa__timer *other; /* disarmed when this one fires */
  int64_t again_ns;  /* armed again, so much later; negative: not */
  int fired;
  int *order;
} alarm_clock;

static void on_alarm(nxa__timer *timer) {
  alarm_clock *a = timer->data;
  assert_false(timer->armed);
  a->fired = ++*a->order;
  if (a->other)
    nxa__timer_disarm(a->engine, a->other);
  if (a->again_ns >= 0)
    nxa__timer_arm(a->engine, timer, nxa__monotonic_ns() + a->again_ns);
}

static void set_alarms(net *n, alarm_clock *alarms, size_t count, int *order) {
  memset(alarms, 0, count * sizeof *alarms);
  for (size_t i = 0; i < count; i++) {
    alarms[i].timer.fire = on_alarm;
    alarms[i].timer.data = &alarms[i];
    alarms[i].engine = n->engine;
    alarms[i].again_ns = -1;
    alarms[i].order = order;
  }
}

static int fake_setup(void **state) {
  nxa__clock_fake(1000 * SECOND, 0);
  return net_setup(state);
}

static int fake_teardown(void **state) {
  int result = net_teardown(state);
  nxa__clock_real();
  return result;
}

static void timers_fire_in_order(void **state) {
  net *n = *state;
  int order = 0;
  alarm_clock alarms[6];
  const int64_t due[6] = {50, 10, 30, 10, 90, 20}, wanted[6] = {5, 1, 4, 2, 6, 3};
  set_alarms(n, alarms, 6, &order);
  for (int i = 0; i < 6; i++)
    nxa__timer_arm(n->engine, &alarms[i].timer, (1000 + due[i]) * SECOND);
  assert_float_equal(nxa_engine_timeout(n->engine), 10, 1e-9);
  nxa_engine_step(n->engine, 0, 0);
  assert_int_equal(order, 0);
  nxa__clock_fake(1050 * SECOND, 0);
  nxa_engine_step(n->engine, 0, 0);
  assert_int_equal(order, 5);
  nxa__clock_fake(1100 * SECOND, 0);
  nxa_engine_step(n->engine, 0, 0);
  for (int i = 0; i < 6; i++)
    assert_int_equal(alarms[i].fired, wanted[i]);
  assert_true(nxa_engine_timeout(n->engine) < 0);
}

static void timers_move_and_stop(void **state) {
  net *n = *state;
  int order = 0;
  alarm_clock alarms[3];
  set_alarms(n, alarms, 3, &order);
  alarms[0].other = &alarms[1].timer;
  nxa__timer_arm(n->engine, &alarms[0].timer, 1010 * SECOND);
  nxa__timer_arm(n->engine, &alarms[1].timer, 1011 * SECOND);
  nxa__timer_arm(n->engine, &alarms[2].timer, 1001 * SECOND);
  nxa__timer_arm(n->engine, &alarms[2].timer, 1030 * SECOND);
  nxa__clock_fake(1020 * SECOND, 0);
  nxa_engine_step(n->engine, 0, 0);
  assert_int_equal(order, 1);
  assert_false(alarms[1].timer.armed);
  nxa__timer_disarm(n->engine, &alarms[2].timer);
  nxa__timer_disarm(n->engine, &alarms[2].timer);
  assert_true(nxa_engine_timeout(n->engine) < 0);
}

/* It fires once a step, and the step ends. */
static void a_timer_armed_for_now_by_itself(void **state) {
  net *n = *state;
  int order = 0;
  alarm_clock alarms[1];
  set_alarms(n, alarms, 1, &order);
  alarms[0].again_ns = 0;
  nxa__timer_arm(n->engine, &alarms[0].timer, 0);
  nxa_engine_step(n->engine, 0, 0);
  nxa_engine_step(n->engine, 0, 0);
  assert_int_equal(order, 2);
  nxa_engine_free(n->engine);
  assert_false(alarms[0].timer.armed);
  n->engine = nxa_engine_new(NULL, NULL);
}

/* Against a plain list: the same timers, armed and disarmed at random. */
static void many_timers(void **state) {
  net *n = *state;
  enum { COUNT = 200 };
  int order = 0;
  static alarm_clock alarms[COUNT];
  set_alarms(n, alarms, COUNT, &order);
  srand(1);
  for (int round = 0; round < 5000; round++) {
    alarm_clock *a = &alarms[rand() % COUNT];
    if (rand() % 4)
      nxa__timer_arm(n->engine, &a->timer, (1001 + rand() % 50) * SECOND);
    else
      nxa__timer_disarm(n->engine, &a->timer);
  }
  for (int64_t second = 1000; second <= 1060; second++) {
    nxa__clock_fake(second * SECOND, 0);
    nxa_engine_step(n->engine, 0, 0);
    for (int i = 0; i < COUNT; i++)
      assert_true(!alarms[i].timer.armed || alarms[i].timer.due_ns > second * SECOND);
  }
  int fired = 0;
  for (int i = 0; i < COUNT; i++)
    fired += alarms[i].fired > 0;
  assert_int_equal(fired, order);
  assert_true(fired > COUNT / 2);
}

/* ---- many calls */

enum { MANY = 60 };

static void start_many(net *n, nxa_call **calls, size_t count) {
  for (size_t i = 0; i < count; i++)
    calls[i] = net_start(n);
}

static void all_succeed(net *n, nxa_call **calls, size_t count) {
  for (size_t i = 0; i < count; i++) {
    net_await(n, calls[i]);
    assert_succeeded(calls[i], 200, "{}");
    nxa_call_free(calls[i]);
  }
}

static void many_at_once_over_few_connections(void **state) {
  net *n = *state;
  nxa_call *calls[MANY];
  for (int round = 0; round < 3; round++) {
    start_many(n, calls, MANY);
    all_succeed(n, calls, MANY);
  }
  assert_int_equal(fixture_requests(n->server), 3 * MANY);
  assert_true(fixture_connections(n->server) <= MANY);
}

static void on_done(nxa_call *call, void *data) {
  assert_true(nxa_call_done(call));
  *(volatile bool *)data = true;
}

static void transfers_are_limited(void **state) {
  net *n = *state;
  nxa_call *calls[5];
  volatile bool done = false;
  nxa_engine_free(n->engine);
  n->engine = nxa_engine_new(&(nxa_engine_options){.max_transfers = 2}, NULL);
  for (int i = 0; i < 5; i++)
    fixture_add(n->server, (fixture_reply){
                               .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", .path = "/x", .gate = i + 1});
  start_many(n, calls, 5);
  NET_STEP_UNTIL(n, fixture_requests(n->server) == 2);
  n->request.path = "/sink";
  nxa_call *sink = nxa__call_start(n->engine, &n->request, on_done, (void *)&done, NULL);
  NET_STEP_UNTIL(n, done); /* passes those that wait */
  assert_int_equal(fixture_requests(n->server), 3);
  fixture_open_gate(n->server, 2);
  NET_STEP_UNTIL(n, fixture_requests(n->server) == 5);
  assert_int_equal(nxa_call_done(calls[0]) + nxa_call_done(calls[1]), 2);
  nxa_call_free(calls[2]); /* makes room */
  NET_STEP_UNTIL(n, fixture_requests(n->server) == 6);
  fixture_open_gate(n->server, 9);
  nxa_call_free(sink);
  calls[2] = calls[4];
  all_succeed(n, calls, 4);
}

/* How many attempts these calls have made; they are cancelled, since only a call that is done says it. */
static int attempts_of(nxa_call **calls, size_t count) {
  int attempts = 0;
  for (size_t i = 0; i < count; i++) {
    nxa_call_cancel(calls[i]);
    attempts += nxa_call_response(calls[i])->attempts;
    nxa_call_free(calls[i]);
  }
  return attempts;
}

/* Where the budget lets only a few begin, neither the host's nor the sinks' wait for all of the other's. */
static void host_and_sinks_begin_in_turn(void **state) {
  net *n = *state;
  nxa_call *hosts[4], *sinks[4];
  volatile bool done = false;
  for (int i = 0; i < 8; i++)
    fixture_add(n->server, (fixture_reply){.gate = 1});
  start_many(n, hosts, 4);
  for (int i = 0; i < 4; i++)
    sinks[i] = nxa__call_start(n->engine, &n->request, on_done, (void *)&done, NULL);
  while (nxa_engine_fds(n->engine, NULL, 0) < 4)
    nxa_engine_step(n->engine, 0, 1e-9);
  assert_int_equal(attempts_of(hosts, 4), 2);
  assert_int_equal(attempts_of(sinks, 4), 2);
  assert_false(done);
}

static void too_many_to_begin_in_time(void **state) {
  net *n = *state;
  nxa_engine_free(n->engine);
  n->engine = nxa_engine_new(&(nxa_engine_options){.max_transfers = 1}, NULL);
  fixture_add(n->server, (fixture_reply){.end = FIXTURE_HANG});
  nxa_call *first = net_start(n);
  n->request.deadline = 5;
  nxa_call *second = net_start(n);
  NET_STEP_UNTIL(n, fixture_requests(n->server) == 1);
  nxa__clock_fake(1006 * SECOND, 0);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(second, NXA_TIMEOUT, "too many calls were under way");
  assert_int_equal(nxa_call_error(second)->attempts, 0);
  nxa_call_free(first);
  nxa_call_free(second);
}

static void a_budget_ends_a_step(void **state) {
  net *n = *state;
  nxa_call *calls[MANY];
  nxa_engine_free(n->engine);
  n->engine = nxa_engine_new(&(nxa_engine_options){.max_transfers = MANY}, NULL);
  start_many(n, calls, MANY);
  nxa_engine_step(n->engine, 0, 1e-9);
  assert_true(nxa_engine_fds(n->engine, NULL, 0) <= 1); /* one piece of work */
  assert_true(nxa_engine_timeout(n->engine) == 0);
  int steps = 0;
  for (; nxa_engine_fds(n->engine, NULL, 0) < 5; steps++)
    nxa_engine_step(n->engine, 0, 1e-9);
  assert_true(steps >= 4);
  /* every kind of work has its turn, so that all get done */
  int64_t end = nxa__monotonic_true_ns() + 60 * SECOND;
  for (size_t i = 0; i < MANY; i++)
    while (!nxa_call_done(calls[i]) && nxa__monotonic_true_ns() < end)
      nxa_engine_step(n->engine, 0, 1e-9);
  all_succeed(n, calls, MANY);
}

static size_t ready_descriptors(net *n) {
  nxa_fd fds[MANY];
  size_t count = nxa_engine_fds(n->engine, fds, MANY), ready = 0;
  for (size_t i = 0; i < count; i++)
    ready += poll(&(struct pollfd){fds[i].fd, POLLIN, 0}, 1, 1000) > 0;
  return ready;
}

/* Descriptors that are ready all the time must not keep a timer from firing. */
static void a_budget_starves_nothing(void **state) {
  net *n = *state;
  int order = 0;
  alarm_clock alarms[1];
  nxa_call *calls[MANY];
  set_alarms(n, alarms, 1, &order);
  for (int i = 0; i < MANY; i++)
    fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", .gate = 1});
  start_many(n, calls, MANY);
  NET_STEP_UNTIL(n, fixture_requests(n->server) == MANY);
  fixture_open_gate(n->server, 1);
  assert_int_equal(ready_descriptors(n), MANY);
  nxa__timer_arm(n->engine, &alarms[0].timer, 0);
  for (int i = 0; i < 8; i++)
    nxa_engine_step(n->engine, 0, 1e-9);
  assert_int_equal(order, 1);
  assert_true(ready_descriptors(n) > MANY / 2);
  all_succeed(n, calls, MANY);
}

/* One that always has more to read must not keep the others from being read. */
static void a_flood_starves_nothing(void **state) {
  net *n = *state;
  enum { FLOOD = 8 << 20 };
  static const char small_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
  char *flood = malloc(FLOOD), *body = flood + sprintf(flood, "HTTP/1.1 200 OK\r\n\r\n");
  memset(body, 'x', (size_t)(flood + FLOOD - body));
  fixture_add(n->server,
              (fixture_reply){.bytes = flood, .length = FLOOD, .path = "/flood", .gate = 1, .end = FIXTURE_CLOSE});
  fixture_add(n->server, (fixture_reply){.bytes = small_answer, .path = "/small", .gate = 1});
  n->request.path = "/small";
  nxa_call *small = net_start(n);
  NET_STEP_UNTIL(n, fixture_requests(n->server) == 1);
  n->request.path = "/flood"; /* the last to move: it is looked at first */
  nxa_call *large = net_start(n);
  NET_STEP_UNTIL(n, fixture_requests(n->server) == 2);
  fixture_open_gate(n->server, 1);
  for (int i = 0; i < 4 && !nxa_call_done(small); i++) {
    assert_int_equal(ready_descriptors(n), 2); /* the flood is never read up */
    nxa_engine_step(n->engine, 0, 1e-9);
  }
  assert_true(nxa_call_done(small));
  assert_false(nxa_call_done(large));
  nxa_call_free(large);
  nxa_call_free(small);
  fixture_stop(n->server); /* it reads the flood */
  n->server = fixture_start();
  free(flood);
}

/* ---- waiting */

static void a_step_returns_with_the_event(void **state) {
  net *n = *state;
  nxa_event event;
  int64_t start = nxa__monotonic_true_ns();
  nxa_call *call = net_start(n);
  while (!nxa_engine_next_event(n->engine, &event))
    nxa_engine_step(n->engine, 50, 0);
  assert_ptr_equal(event.call, call);
  nxa_call *other = net_run(n);
  nxa_engine_step(n->engine, 50, 0); /* there is one to pull already */
  assert_true(nxa__monotonic_true_ns() - start < 40 * SECOND);
  nxa_call_free(call);
  nxa_call_free(other);
}

static void a_step_waits_no_longer_than_asked(void **state) {
  net *n = *state;
  fixture_add(n->server, (fixture_reply){.end = FIXTURE_HANG});
  nxa_call *call = net_start(n);
  int64_t start = nxa__monotonic_true_ns();
  nxa_engine_step(n->engine, 0.05, 0);
  int64_t took = nxa__monotonic_true_ns() - start;
  assert_true(took >= SECOND / 20 && took < 20 * SECOND);
  assert_false(nxa_call_done(call));
  nxa_call_free(call);
}

static void on_signal(int number) {
  (void)number;
}

static void a_signal_ends_a_wait(void **state) {
  net *n = *state;
  struct sigaction act = {.sa_handler = on_signal}, before;
  struct itimerval soon = {.it_interval.tv_usec = 10000, .it_value.tv_usec = 10000}, off = {.it_value.tv_usec = 0};
  sigaction(SIGALRM, &act, &before);
  setitimer(ITIMER_REAL, &soon, NULL);
  int64_t start = nxa__monotonic_true_ns();
  nxa_engine_step(n->engine, 50, 0);
  assert_true(nxa__monotonic_true_ns() - start < 40 * SECOND);
  setitimer(ITIMER_REAL, &off, NULL);
  sigaction(SIGALRM, &before, NULL);
}

/* A host with a loop of its own: polls itself, feeds what it saw. */
static void driven_by_the_host(void **state) {
  net *n = *state;
  nxa_call *calls[MANY];
  start_many(n, calls, MANY);
  int64_t end = nxa__monotonic_true_ns() + 60 * SECOND;
  for (size_t done = 0; done < MANY && nxa__monotonic_true_ns() < end;) {
    nxa_fd fds[MANY];
    struct pollfd polled[MANY];
    size_t count = nxa_engine_fds(n->engine, fds, MANY);
    assert_true(count <= MANY);
    for (size_t i = 0; i < count; i++)
      polled[i] = (struct pollfd){
          fds[i].fd,
          (short)((fds[i].events & NXA_READABLE ? POLLIN : 0) | (fds[i].events & NXA_WRITABLE ? POLLOUT : 0)), 0};
    double timeout = nxa_engine_timeout(n->engine);
    poll(polled, (nfds_t)count, timeout < 0 || timeout > 1 ? 1000 : (int)(timeout * 1000) + 1);
    for (size_t i = 0; i < count; i++)
      if (polled[i].revents)
        nxa_engine_feed(n->engine, polled[i].fd,
                        (polled[i].revents & (POLLIN | POLLHUP) ? NXA_READABLE : 0) |
                            (polled[i].revents & POLLOUT ? NXA_WRITABLE : 0));
    nxa_engine_feed(n->engine, 9999, NXA_READABLE); /* not ours */
    nxa_engine_step(n->engine, 0, 0);
    nxa_event event;
    while (nxa_engine_next_event(n->engine, &event))
      done++;
  }
  all_succeed(n, calls, MANY);
}

/* ---- names */

static nxa_call *start_to(net *n, const char *host) {
  char url[100];
  snprintf(url, sizeof url, "http://%s%s", host, strrchr(fixture_url(n->server), ':'));
  nxa_endpoint *endpoint = n->request.endpoint = net_endpoint(url);
  nxa_call *call = net_start(n);
  nxa_endpoint_free(endpoint);
  n->request.endpoint = n->endpoint;
  return call;
}

static void an_unknown_name(void **state) {
  net *n = *state;
  skip_without_resolver();
  nxa_call *call = start_to(n, "unknown.invalid");
  net_await(n, call);
  assert_failed(call, NXA_CONNECTION, "could not resolve host unknown.invalid:");
  assert_false(nxa__call_may_have_arrived(call));
  nxa_call_free(call);
}

static void others_go_on_while_a_name_is_resolved(void **state) {
  net *n = *state;
  skip_without_resolver();
  hold_resolver(true);
  nxa_call *held = start_to(n, "a.held");
  NET_STEP_UNTIL(n, resolving() == 1);
  nxa_call *call = net_run(n);
  assert_succeeded(call, 200, "{}");
  assert_false(nxa_call_done(held));
  hold_resolver(false);
  net_await(n, held);
  assert_succeeded(held, 200, "{}");
  nxa_call_free(call);
  nxa_call_free(held);
}

/* The resolver is held while each of these returns: one that waited for it would never end. */
static void cancelled_while_its_name_is_resolved(void **state) {
  net *n = *state;
  skip_without_resolver();
  hold_resolver(true);
  nxa_call *cancelled = start_to(n, "b.held"), *freed = start_to(n, "c.held");
  NET_STEP_UNTIL(n, resolving() == 2);
  nxa_call_cancel(cancelled);
  assert_failed(cancelled, NXA_CANCELLED, "cancelled");
  nxa_call_free(cancelled);
  nxa_call_free(freed);
  nxa_engine_step(n->engine, 0, 0);
  hold_resolver(false);
  NET_STEP_UNTIL(n, nxa_engine_fds(n->engine, NULL, 0) == 0 && nxa_engine_timeout(n->engine) < 0);
  await_resolver();
  assert_int_equal(fixture_connections(n->server), 0); /* nobody wanted them any more */
  nxa_call *call = net_run(n);                         /* on a handle that came back */
  assert_succeeded(call, 200, "{}");
  nxa_call_free(call);
}

static void timed_out_while_its_name_is_resolved(void **state) {
  net *n = *state;
  skip_without_resolver();
  hold_resolver(true);
  nxa_call *call = start_to(n, "d.held");
  NET_STEP_UNTIL(n, resolving() == 1);
  nxa__clock_fake(1011 * SECOND, 0);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(call, NXA_CONNECTION, "could not connect to d.held:");
  assert_failed(call, NXA_CONNECTION, " within 10 s");
  nxa_call_free(call);
  hold_resolver(false);
  await_resolver();
}

static void freed_while_a_name_is_resolved(void **state) {
  net *n = *state;
  skip_without_resolver();
  hold_resolver(true);
  nxa_call *live = start_to(n, "e.held"), *orphan = start_to(n, "f.held");
  NET_STEP_UNTIL(n, resolving() == 2);
  nxa_call_free(orphan);
  nxa_engine_free(n->engine);
  assert_failed(live, NXA_CLOSED, "freed");
  nxa_call_free(live);
  hold_resolver(false);
  await_resolver();
  n->engine = nxa_engine_new(NULL, NULL);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, net_setup, net_teardown)
#define FAKE(test) cmocka_unit_test_setup_teardown(test, fake_setup, fake_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(options_are_checked),
      REAL(an_idle_engine),
      REAL(freed_under_its_calls),
      REAL(events_in_order),
      REAL(warnings_are_bounded),
      FAKE(timers_fire_in_order),
      FAKE(timers_move_and_stop),
      FAKE(a_timer_armed_for_now_by_itself),
      FAKE(many_timers),
      REAL(many_at_once_over_few_connections),
      REAL(transfers_are_limited),
      REAL(host_and_sinks_begin_in_turn),
      FAKE(too_many_to_begin_in_time),
      REAL(a_budget_ends_a_step),
      REAL(a_budget_starves_nothing),
      REAL(a_flood_starves_nothing),
      REAL(a_step_returns_with_the_event),
      REAL(a_step_waits_no_longer_than_asked),
      REAL(a_signal_ends_a_wait),
      REAL(driven_by_the_host),
      REAL(an_unknown_name),
      REAL(others_go_on_while_a_name_is_resolved),
      REAL(cancelled_while_its_name_is_resolved),
      FAKE(timed_out_while_its_name_is_resolved),
      REAL(freed_while_a_name_is_resolved),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
