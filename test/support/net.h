/* What the tests of engine and call share. */
#ifndef TEST_NET_H
#define TEST_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "http_fixture.h"
#include "nexus_assistants.h"

static const char test_key[] = "sk-test/secret-0123456789";

typedef struct net {
  fixture *server;
  nxa_engine *engine;
  nxa_endpoint *endpoint;
  nxa_request request; /* GET /x, to be changed */
} net;

static inline nxa_endpoint *net_endpoint(const char *url) {
  nxa_endpoint_options options;
  nxa_endpoint_options_init(&options);
  options.base_url = url;
  options.key = test_key;
  nxa_endpoint *endpoint = nxa_endpoint_new(&options, NULL);
  assert_non_null(endpoint);
  return endpoint;
}

static inline int net_setup(void **state) {
  net *n = calloc(1, sizeof *n);
  setenv("no_proxy", "*", 1);
  n->server = fixture_start();
  n->engine = nxa_engine_new(NULL, NULL);
  n->endpoint = net_endpoint(fixture_url(n->server));
  nxa_request_init(&n->request);
  n->request.endpoint = n->endpoint;
  n->request.method = "GET";
  n->request.path = "/x";
  n->request.retries = 0;
  *state = n;
  return n->engine ? 0 : -1;
}

static inline int net_teardown(void **state) {
  net *n = *state;
  nxa_engine_free(n->engine);
  nxa_endpoint_free(n->endpoint);
  fixture_stop(n->server);
  free(n);
  return 0;
}

static inline nxa_call *net_start(net *n) {
  nxa_error error;
  nxa_call *call = nxa_call_start(n->engine, &n->request, &error);
  if (!call)
    fail_msg("the call was refused: %s", error.message);
  return call;
}

/* Steps until the condition holds. The limit only turns what hangs into a failure. */
#define NET_STEP_UNTIL(n, condition)                                                                                   \
  for (int64_t net_end = nxa__monotonic_true_ns() + INT64_C(60000000000); !(condition);) {                             \
    if (nxa__monotonic_true_ns() > net_end)                                                                            \
      fail_msg("waited in vain for: %s", #condition);                                                                  \
    nxa_engine_step((n)->engine, 0.02, 0);                                                                             \
  }

static inline void net_await(net *n, nxa_call *call) {
  NET_STEP_UNTIL(n, nxa_call_done(call));
}

static inline nxa_call *net_run(net *n) {
  nxa_call *call = net_start(n);
  net_await(n, call);
  return call;
}

static inline void assert_succeeded(const nxa_call *call, int status, const char *body) {
  if (nxa_call_error(call))
    fail_msg("%s: %s", nxa_kind_name(nxa_call_error(call)->kind), nxa_call_error(call)->message);
  assert_int_equal(nxa_call_response(call)->status, status);
  assert_string_equal(nxa_call_response(call)->body, body);
}

static inline void assert_failed(const nxa_call *call, nxa_kind kind, const char *message) {
  const nxa_error *error = nxa_call_error(call);
  assert_non_null(error);
  assert_string_equal(nxa_kind_name(error->kind), nxa_kind_name(kind));
  if (!strstr(error->message, message))
    fail_msg("\"%s\" is not in \"%s\"", message, error->message);
}

#endif
