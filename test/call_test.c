#include <stdio.h>
#include <unistd.h>

#include "call_state.h"
#include "clock.h"
#include "endpoint.h"
#include "net_call.h"

/* ---- requests */

static void a_get(void **state) {
  net *n = *state;
  fixture_answer(n->server, 200, "Content-Type: application/json\r\nX-Request-Id: req_7\r\n", "{\"a\":1}");
  nxa_call *call = net_start(n);
  assert_false(nxa_call_done(call));
  assert_null(nxa_call_response(call));
  assert_null(nxa_call_error(call));
  net_await(n, call);
  assert_succeeded(call, 200, "{\"a\":1}");
  const nxa_response *response = nxa_call_response(call);
  assert_string_equal(response->content_type, "application/json");
  assert_string_equal(response->request_id, "req_7");
  assert_int_equal(response->attempts, 1);
  assert_true(response->retry_after < 0 && response->poll_after < 0);
  assert_string_equal(response->date, "");
  char *request = fixture_request(n->server, 0);
  assert_memory_equal(request, "GET /x HTTP/1.1\r\n", 17);
  assert_has(request, "\r\nAuthorization: Bearer sk-test/secret-0123456789\r\n");
  assert_has(request, "\r\nUser-Agent: nexus-assistants/" NXA_VERSION "\r\n");
  assert_has(request, "\r\nAccept-Encoding: gzip\r\n");
  assert_has_not(request, "Content-Type");
  free(request);
  nxa_call_free(call);
}

static void assert_request(net *n, const char *method, const char *body, const char *start, const char *length) {
  size_t index = fixture_requests(n->server);
  n->request.method = method;
  n->request.body = body;
  n->request.body_length = body ? strlen(body) : 0;
  nxa_call *call = net_run(n);
  assert_succeeded(call, 200, "{}");
  char *request = fixture_request(n->server, index);
  assert_memory_equal(request, start, strlen(start));
  if (length)
    assert_has(request, length);
  else
    assert_has_not(request, "Content-Length");
  if (body && *body)
    assert_has(request, "\r\nContent-Type: application/json\r\n");
  if (body)
    assert_string_equal(strstr(request, "\r\n\r\n") + 4, body);
  else
    assert_has_not(request, "Content-Type");
  assert_has_not(request, "Expect");
  free(request);
  nxa_call_free(call);
}

/* On one handle from the pool, so that what one sets must not reach the next. */
static void every_method(void **state) {
  net *n = *state;
  char large[5001];
  memset(large, 'x', 5000);
  large[5000] = '\0';
  assert_request(n, "POST", "{\"b\":2}", "POST /x ", "\r\nContent-Length: 7\r\n");
  assert_request(n, "GET", NULL, "GET /x ", NULL);
  assert_request(n, "POST", NULL, "POST /x ", "\r\nContent-Length: 0\r\n");
  assert_request(n, "PATCH", "p", "PATCH /x ", "\r\nContent-Length: 1\r\n");
  assert_request(n, "DELETE", NULL, "DELETE /x ", NULL);
  assert_request(n, "PUT", large, "PUT /x ", "\r\nContent-Length: 5000\r\n");
  assert_request(n, "DELETE", "d", "DELETE /x ", "\r\nContent-Length: 1\r\n");
  assert_request(n, "GET", NULL, "GET /x ", NULL);
  assert_request(n, "POST", "", "POST /x ", "\r\nContent-Length: 0\r\n");
  assert_request(n, "PUT", NULL, "PUT /x ", "\r\nContent-Length: 0\r\n");
  assert_int_equal(fixture_connections(n->server), 1);
}

static void assert_asked(net *n, nxa_endpoint *endpoint, const char *query, const char *line) {
  size_t index = fixture_requests(n->server);
  n->request.endpoint = endpoint;
  n->request.query = query;
  nxa_call_free(net_run(n));
  char *request = fixture_request(n->server, index);
  *strstr(request, " HTTP/1.1\r\n") = '\0';
  assert_string_equal(request, line);
  free(request);
}

/* On one handle, too: what one URL has must not be in the next. */
static void one_server_after_another(void **state) {
  net *n = *state;
  char url[64];
  snprintf(url, sizeof url, "%s/v1/", fixture_url(n->server));
  nxa_endpoint *other = net_endpoint(url);
  n->request.path = "/threads/a%20b/\xC3\xA4";
  assert_asked(n, n->endpoint, "after=1&x=%2B", "GET /threads/a%20b/%C3%A4?after=1&x=%2B");
  assert_asked(n, n->endpoint, NULL, "GET /threads/a%20b/%C3%A4");
  assert_asked(n, other, "limit=2", "GET /v1/threads/a%20b/%C3%A4?limit=2");
  n->request.path = "/";
  assert_asked(n, other, NULL, "GET /v1/");
  assert_asked(n, n->endpoint, "", "GET /");
  nxa_endpoint_free(other);
}

static void refused_at_start(void **state) {
  net *n = *state;
  nxa_error error;
  n->request.path = "/a/../b";
  assert_null(nxa_call_start(n->engine, &n->request, &error));
  assert_int_equal(error.kind, NXA_INVALID);
  assert_null(nxa_call_start(n->engine, &n->request, NULL));
}

/* ---- answers */

static void an_answer_byte_by_byte(void **state) {
  net *n = *state;
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"
                                                  "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                                         .piece = 1});
  nxa_call *call = net_run(n);
  assert_succeeded(call, 200, "abcde");
  assert_int_equal(nxa_call_response(call)->body_length, 5);
  nxa_call_free(call);
}

static void a_compressed_answer(void **state) {
  net *n = *state;
  static const char answer[] =
      "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 36\r\n\r\n"
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x48\xcd\xc9\xc9\x57\xb2\x52\x4a\xaf\xca\x2c\x50\xaa"
      "\x05\x00\xf6\x4f\x05\x6f\x10\x00\x00\x00";
  fixture_add(n->server, (fixture_reply){.bytes = answer, .length = sizeof answer - 1, .piece = 3});
  nxa_call *call = net_run(n);
  assert_succeeded(call, 200, "{\"hello\":\"gzip\"}");
  nxa_call_free(call);
}

/* Though one that comes so all the same is understood, see decoded_bytes_count. */
static void short_answers_without_compression(void **state) {
  net *n = *state;
  n->request.max_response = (size_t)64 << 10;
  nxa_call_free(net_run(n));
  n->request.max_response++;
  nxa_call_free(net_run(n));
  char *request = fixture_request(n->server, 0);
  assert_has_not(request, "Accept-Encoding");
  free(request);
  request = fixture_request(n->server, 1);
  assert_has(request, "\r\nAccept-Encoding: gzip\r\n");
  free(request);
}

static void no_content_and_interim_answers(void **state) {
  net *n = *state;
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 204 No Content\r\nX-Request-ID: r\r\n\r\n"});
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 100 Continue\r\nRetry-After: 9\r\n\r\n"
                                                  "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                                                  "HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n1"});
  nxa_call *call = net_run(n);
  assert_succeeded(call, 204, "");
  nxa_call_free(call);
  call = net_run(n);
  assert_succeeded(call, 201, "1");
  assert_true(nxa_call_response(call)->retry_after < 0);
  nxa_call_free(call);
}

static void an_answer_until_the_connection_closes(void **state) {
  net *n = *state;
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.0 200 OK\r\n\r\nall of it", .end = FIXTURE_CLOSE});
  nxa_call *call = net_run(n);
  assert_succeeded(call, 200, "all of it");
  nxa_call_free(call);
}

static void headers_of_interest(void **state) {
  net *n = *state;
  fixture_answer(n->server, 200,
                 "openai-poll-after-ms: 1500\r\nRETRY-AFTER: 7\r\nretry-after-ms: 2500\r\n"
                 "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                 "");
  nxa_call *call = net_run(n);
  assert_succeeded(call, 200, "");
  assert_float_equal(nxa_call_response(call)->poll_after, 1.5, 1e-9);
  assert_float_equal(nxa_call_response(call)->retry_after, 2.5, 1e-9);
  assert_string_equal(nxa_call_response(call)->date, "Sun, 06 Nov 1994 08:49:37 GMT");
  nxa_call_free(call);
}

/* ---- failed statuses */

static void assert_status(net *n, int status, const char *headers, const char *body, nxa_kind kind, const char *text) {
  fixture_answer(n->server, status, headers, body);
  nxa_call *call = net_run(n);
  assert_failed(call, kind, text);
  assert_int_equal(nxa_call_error(call)->status, status);
  assert_int_equal(nxa_call_response(call)->status, status);
  assert_string_equal(nxa_call_response(call)->body, body);
  nxa_call_free(call);
}

static void failed_statuses(void **state) {
  net *n = *state;
  char wanted[100];
  snprintf(wanted, sizeof wanted, "HTTP 404 from %s: {\"error\": \"none\"}", fixture_url(n->server) + 7);
  assert_status(n, 404, NULL, "{\"error\":\r\n \"none\"}\n", NXA_NOT_FOUND, wanted);
  assert_status(n, 400, NULL, "x", NXA_BAD_REQUEST, "HTTP 400");
  assert_status(n, 401, "X-Request-Id: r1\r\n", "", NXA_AUTHENTICATION, "without a text");
  assert_status(n, 403, NULL, "x", NXA_PERMISSION, "HTTP 403");
  assert_status(n, 409, NULL, "x", NXA_CONFLICT, "HTTP 409");
  assert_status(n, 422, NULL, "x", NXA_UNPROCESSABLE, "HTTP 422");
  assert_status(n, 429, "Retry-After: 3\r\n", "x", NXA_RATE_LIMIT, "HTTP 429");
  assert_status(n, 500, NULL, "x", NXA_SERVER, "HTTP 500");
  assert_status(n, 418, NULL, "x", NXA_STATUS, "HTTP 418");
  assert_status(n, 302, "Location: http://elsewhere/\r\n", "moved", NXA_STATUS, "redirects are not followed");
  assert_int_equal(fixture_requests(n->server), 10);
}

static void pages_as_answers(void **state) {
  net *n = *state;
  const char *type = "Content-Type: text/html; charset=utf-8\r\n";
  assert_status(n, 502, type, "<html><head><TITLE>502 Bad\nGateway</TITLE></head></html>", NXA_SERVER,
                ": an HTML page, \"502 Bad Gateway\"");
  assert_status(n, 502, type, "<html><title>a<b>c</title>", NXA_SERVER, ": an HTML page");
  assert_status(n, 502, type, "<title>no end", NXA_SERVER, ": an HTML page");
  assert_status(n, 503, type, "", NXA_SERVER, ": an HTML page");
}

static void errors_carry_what_the_server_said(void **state) {
  net *n = *state;
  fixture_answer(n->server, 429, "x-request-id: req_9\r\nRetry-After: 3\r\n", "slow down");
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_RATE_LIMIT, "slow down");
  assert_string_equal(nxa_call_error(call)->request_id, "req_9");
  assert_float_equal(nxa_call_error(call)->retry_after, 3, 1e-9);
  assert_int_equal(nxa_call_error(call)->attempts, 1);
  nxa_call_free(call);
}

static void the_key_is_in_no_error(void **state) {
  net *n = *state;
  char body[300];
  snprintf(body, sizeof body, "{\"error\":\"Incorrect key %s\",\"json\":\"sk-test\\/secret-0123456789\"}", test_key);
  fixture_answer(n->server, 401, "X-Request-Id: sk-test/secret-0123456789\r\n", body);
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_AUTHENTICATION, "Incorrect key ****");
  assert_has_not(nxa_call_error(call)->message, "0123456789");
  assert_has_not(nxa_call_error(call)->request_id, "0123456789");
  assert_has_not(nxa_call_response(call)->body, "0123456789");
  assert_has_not(nxa_call_response(call)->request_id, "0123456789");
  assert_int_equal(nxa_call_response(call)->body_length, strlen(body));
  nxa_call_free(call);
}

static void odd_bytes_in_an_error(void **state) {
  net *n = *state;
  fixture_answer(n->server, 500, NULL, "bad \xFF\x1B[0m\x01 text");
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_SERVER, ": bad \xEF\xBF\xBD [0m text");
  nxa_call_free(call);
}

/* ---- broken connections */

static void assert_broken(net *n, fixture_reply reply, nxa_kind kind, const char *message) {
  fixture_add(n->server, reply);
  nxa_call *call = net_run(n);
  assert_failed(call, kind, message);
  assert_int_equal(nxa_call_error(call)->attempts, 1);
  nxa_call_free(call);
}

static void closed_without_an_answer(void **state) {
  net *n = *state;
  assert_broken(n, (fixture_reply){.end = FIXTURE_CLOSE}, NXA_CONNECTION, "closed the connection without an answer");
  assert_broken(n, (fixture_reply){.end = FIXTURE_HALF_CLOSE}, NXA_CONNECTION,
                "closed the connection without an answer");
  assert_broken(n, (fixture_reply){.end = FIXTURE_RESET}, NXA_CONNECTION, "connection");
}

static void closed_within_the_answer(void **state) {
  net *n = *state;
  assert_broken(n, (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", .end = FIXTURE_CLOSE},
                NXA_CONNECTION, "before its answer was whole");
  assert_broken(
      n,
      (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123", .end = FIXTURE_CLOSE},
      NXA_CONNECTION, "before its answer was whole");
  assert_broken(n, (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Le", .end = FIXTURE_CLOSE}, NXA_CONNECTION,
                "connection");
  assert_broken(n, (fixture_reply){.bytes = "HTTP/1.1 100 Continue\r\n\r\n", .end = FIXTURE_CLOSE}, NXA_CONNECTION,
                "connection");
}

/* The status says more than the way its text was lost. */
static void a_failed_status_cut_short(void **state) {
  net *n = *state;
  assert_broken(
      n, (fixture_reply){.bytes = "HTTP/1.1 401 No\r\nContent-Length: 99\r\n\r\nwrong key", .end = FIXTURE_CLOSE},
      NXA_AUTHENTICATION, "wrong key");
}

static void not_http(void **state) {
  net *n = *state;
  assert_broken(n, (fixture_reply){.bytes = "SSH-2.0-OpenSSH_9.2\r\n", .end = FIXTURE_CLOSE}, NXA_PROTOCOL,
                "breaks HTTP");
  assert_broken(n,
                (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain"},
                NXA_PROTOCOL, "breaks HTTP");
}

static nxa_endpoint *closed_port(void) {
  return net_endpoint(fixture_nobody());
}

static void refused_connection(void **state) {
  net *n = *state;
  nxa_endpoint *endpoint = n->request.endpoint = closed_port();
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_CONNECTION, "could not connect to 127.0.0.1:");
  assert_failed(call, NXA_CONNECTION, ": connection refused");
  assert_int_equal(nxa_call_response(call)->status, 0);
  assert_string_equal(nxa_call_response(call)->body, "");
  assert_false(nxa__call_may_have_arrived(call));
  nxa_call_free(call);
  nxa_endpoint_free(endpoint);
}

/* Which knows the way to the server, and is told the whole URL. */
static void by_a_proxy(void **state) {
  net *n = *state;
  nxa_endpoint *server = net_endpoint("http://server.invalid/v1");
  setenv("no_proxy", "", 1);
  setenv("http_proxy", fixture_url(n->server), 1);
  n->request.path = "/a%2Fb";
  assert_asked(n, server, "x=%2B", "GET http://server.invalid/v1/a%2Fb?x=%2B");
  assert_asked(n, server, NULL, "GET http://server.invalid/v1/a%2Fb");
  unsetenv("http_proxy");
  unsetenv("no_proxy");
  nxa_endpoint_free(server);
}

/* Which is told who asks, but has neither the key nor what else is for the server. */
static void through_a_proxy(void **state) {
  net *n = *state;
  nxa_endpoint *server = net_endpoint("https://server.invalid/v1");
  setenv("no_proxy", "", 1);
  setenv("https_proxy", fixture_url(n->server), 1);
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"});
  n->request.endpoint = server;
  nxa_call_free(net_run(n));
  unsetenv("https_proxy");
  unsetenv("no_proxy");
  char *request = fixture_request(n->server, 0);
  assert_has(request, "CONNECT server.invalid:443 HTTP/1.1\r\n");
  assert_has(request, "\r\nUser-Agent: nexus-assistants/" NXA_VERSION "\r\n");
  assert_has_not(request, "Authorization");
  assert_has_not(request, "Accept-Encoding");
  free(request);
  nxa_endpoint_free(server);
}

/* Who one is to it isn't told. */
static void refused_proxy(void **state) {
  net *n = *state;
  char proxy[128];
  nxa_endpoint *gone = closed_port();
  snprintf(proxy, sizeof proxy, "http://me:secret@%s", nxa__endpoint_host(gone));
  setenv("no_proxy", "", 1);
  setenv("http_proxy", proxy, 1);
  nxa_call *call = net_run(n);
  unsetenv("http_proxy");
  unsetenv("no_proxy");
  snprintf(proxy, sizeof proxy, "could not connect to the proxy %s on the way to ", nxa__endpoint_host(gone));
  assert_failed(call, NXA_CONNECTION, proxy);
  assert_failed(call, NXA_CONNECTION, nxa__endpoint_host(n->request.endpoint));
  nxa_call_free(call);
  nxa_endpoint_free(gone);
}

/* ---- caps */

static void bodies_are_capped(void **state) {
  net *n = *state;
  n->request.max_response = 10;
  fixture_answer(n->server, 200, NULL, "0123456789");
  fixture_answer(n->server, 200, NULL, "0123456789+");
  fixture_answer(n->server, 404, NULL, "0123456789+");
  nxa_call *call = net_run(n);
  assert_succeeded(call, 200, "0123456789");
  nxa_call_free(call);
  call = net_run(n);
  assert_failed(call, NXA_TOO_LARGE, "above 10 bytes");
  assert_int_equal(nxa_call_response(call)->status, 200);
  nxa_call_free(call);
  call = net_run(n);
  assert_failed(call, NXA_NOT_FOUND, "0123456789");
  assert_string_equal(nxa_call_response(call)->body, "0123456789");
  nxa_call_free(call);
}

/* 133 bytes that become 100,000. */
static void decoded_bytes_count(void **state) {
  net *n = *state;
  static const char answer[] =
      "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 133\r\n\r\n"
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\x4a\xeb\x9f\xce\x1a\x1e\x40"
      "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
      "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
      "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
      "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xaf\x06\x85\xc2\x4d\xc5\xa0"
      "\x86\x01\x00";
  n->request.max_response = 50000;
  fixture_add(n->server, (fixture_reply){.bytes = answer, .length = sizeof answer - 1});
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_TOO_LARGE, "above 50000 bytes");
  nxa_call_free(call);
}

/* Whatever the status: the next attempt would bring the same line. */
static void header_lines_are_capped(void **state) {
  net *n = *state;
  static const char *const starts[] = {"HTTP/1.1 200 OK\r\nX-Long: ", "HTTP/1.1 503 No\r\nX-Long: ", "HTTP/1.1 200 "};
  char answer[120 * 1024];
  n->request.retries = 1;
  for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
    snprintf(answer, sizeof answer, "%s%0110000d\r\nContent-Length: 2\r\n\r\n{}", starts[i], 0);
    fixture_add_owned(n->server, (fixture_reply){.bytes = strdup(answer), .end = FIXTURE_CLOSE});
    nxa_call *call = net_run(n);
    assert_failed(call, NXA_TOO_LARGE, "a header line of 127.0.0.1:");
    assert_int_equal(nxa_call_error(call)->attempts, 1);
    nxa_call_free(call);
  }
}

static void headers_are_capped(void **state) {
  net *n = *state;
  char *answer = malloc(400 * 1024), *at = answer;
  at += sprintf(at, "HTTP/1.1 200 OK\r\n");
  for (int i = 0; i < 350; i++)
    at += sprintf(at, "X-%d: %01000d\r\n", i, 0);
  sprintf(at, "Content-Length: 2\r\n\r\n{}");
  fixture_add_owned(n->server, (fixture_reply){.bytes = answer, .end = FIXTURE_CLOSE});
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_TOO_LARGE, "headers");
  nxa_call_free(call);
}

/* ---- retries */

static void tries_again(void **state) {
  net *n = *state;
  n->request.retries = 2;
  fixture_answer(n->server, 503, "X-Request-Id: first\r\n", "later");
  fixture_answer(n->server, 408, NULL, "later still");
  fixture_answer(n->server, 200, NULL, "at last");
  nxa_call *call = net_start(n);
  await_requests(n, 1);
  await_pause(n);
  move_clock(0.37); /* of 0.375 to 0.5 s */
  nxa_engine_step(n->engine, 0, 0);
  nxa_engine_step(n->engine, 0, 0);
  assert_int_equal(fixture_requests(n->server), 1);
  move_clock(0.14);
  await_requests(n, 2);
  await_pause(n);
  move_clock(1.01); /* of 0.75 to 1 s */
  net_await(n, call);
  assert_succeeded(call, 200, "at last");
  assert_int_equal(nxa_call_response(call)->attempts, 3);
  assert_string_equal(nxa_call_response(call)->request_id, "");
  nxa_call_free(call);
}

static void gives_up_in_the_end(void **state) {
  net *n = *state;
  n->request.retries = 1;
  fixture_answer(n->server, 503, NULL, "first");
  fixture_answer(n->server, 500, NULL, "second");
  nxa_call *call = net_start(n);
  await_requests(n, 1);
  await_pause(n);
  move_clock(0.51);
  net_await(n, call);
  assert_failed(call, NXA_SERVER, "HTTP 500");
  assert_string_equal(nxa_call_response(call)->body, "second");
  assert_int_equal(nxa_call_error(call)->attempts, 2);
  nxa_call_free(call);
}

static void waits_as_long_as_the_server_asks(void **state) {
  net *n = *state;
  n->request.retries = 1;
  fixture_answer(n->server, 429, "Retry-After: 20\r\n", "");
  nxa_call *call = net_start(n);
  await_requests(n, 1);
  await_pause(n);
  move_clock(19.9);
  nxa_engine_step(n->engine, 0, 0);
  assert_true(nxa_engine_timeout(n->engine) > 0.09);
  move_clock(0.2);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  nxa_call_free(call);
}

static void the_server_forbids_it(void **state) {
  net *n = *state;
  n->request.retries = 2;
  fixture_answer(n->server, 503, "X-Should-Retry: false\r\n", "");
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_SERVER, "HTTP 503");
  assert_int_equal(nxa_call_error(call)->attempts, 1);
  nxa_call_free(call);
}

/* Waiting would be in vain: the last error now, not a timeout later. */
static void a_pause_beyond_the_deadline(void **state) {
  net *n = *state;
  n->request.retries = 2;
  n->request.deadline = 10;
  fixture_answer(n->server, 429, "Retry-After: 11\r\n", "slow down");
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_RATE_LIMIT, "slow down");
  assert_int_equal(nxa_call_error(call)->attempts, 1);
  assert_float_equal(nxa_call_error(call)->retry_after, 11, 1e-9);
  nxa_call_free(call);
}

static void refused_again_and_again(void **state) {
  net *n = *state;
  nxa_endpoint *endpoint = n->request.endpoint = closed_port();
  n->request.retries = 2;
  nxa_call *call = net_start(n);
  await_pause(n);
  move_clock(0.51);
  nxa_engine_step(n->engine, 0, 0);
  await_pause(n);
  move_clock(1.01);
  net_await(n, call);
  assert_failed(call, NXA_CONNECTION, ": connection refused (attempt 3 of 3)");
  nxa_call_free(call);
  nxa_endpoint_free(endpoint);
}

/* ---- time */

static void hang(net *n) {
  fixture_add(n->server, (fixture_reply){.end = FIXTURE_HANG});
}

static void attempts_time_out(void **state) {
  net *n = *state;
  n->request.retries = 1;
  n->request.timeout = 15;
  hang(n);
  hang(n);
  nxa_call *call = net_start(n);
  await_requests(n, 1);
  move_clock(10.1); /* connected: the limit for connecting is none for answering */
  nxa_engine_step(n->engine, 0, 0);
  move_clock(4.8);
  nxa_engine_step(n->engine, 0, 0);
  assert_int_equal(fixture_requests(n->server), 1);
  move_clock(0.2);
  nxa_engine_step(n->engine, 0, 0);
  await_pause(n);
  move_clock(0.51);
  await_requests(n, 2);
  move_clock(10.1);
  nxa_engine_step(n->engine, 0, 0);
  move_clock(5);
  nxa_engine_step(n->engine, 0, 0);
  assert_true(nxa_call_done(call));
  assert_failed(call, NXA_TIMEOUT, "no answer from 127.0.0.1:");
  assert_failed(call, NXA_TIMEOUT, " within 15 s (attempt 2 of 2)");
  assert_true(nxa__call_may_have_arrived(call));
  nxa_call_free(call);
}

static void the_deadline_ends_all(void **state) {
  net *n = *state;
  n->request.retries = 5;
  n->request.timeout = 6;
  n->request.deadline = 9;
  hang(n);
  hang(n);
  nxa_call *call = net_start(n);
  await_requests(n, 1);
  move_clock(6.1);
  nxa_engine_step(n->engine, 0, 0);
  await_pause(n);
  move_clock(0.51);
  await_requests(n, 2);
  move_clock(2.3); /* 8.91 s */
  nxa_engine_step(n->engine, 0, 0);
  assert_false(nxa_call_done(call));
  move_clock(0.1);
  nxa_engine_step(n->engine, 0, 0);
  assert_true(nxa_call_done(call));
  assert_failed(call, NXA_TIMEOUT, "within the deadline of 9 s (attempt 2 of 6)");
  nxa_call_free(call);
}

static void a_trickle_is_no_excuse(void **state) {
  net *n = *state;
  n->request.timeout = 5;
  fixture_add(
      n->server,
      (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", .gate = 1, .gate_after = 43});
  nxa_call *call = net_start(n);
  await_requests(n, 1);
  NET_STEP_UNTIL(n, nxa_engine_fds(n->engine, NULL, 0) == 1);
  nxa_engine_step(n->engine, 0.02, 0);
  move_clock(5.1);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(call, NXA_TIMEOUT, "within 5 s");
  nxa_call_free(call);
}

/* ---- cancelling */

static void cancels_at_any_time(void **state) {
  net *n = *state;
  nxa_event event;
  hang(n);
  nxa_call *waiting = net_start(n), *sent;
  nxa_call_cancel(waiting);
  assert_true(nxa_call_done(waiting));
  assert_failed(waiting, NXA_CANCELLED, "cancelled");
  sent = net_start(n);
  await_requests(n, 1);
  nxa_call_cancel(sent);
  nxa_call_cancel(sent);
  assert_failed(sent, NXA_CANCELLED, "cancelled");
  assert_int_equal(nxa_engine_fds(n->engine, NULL, 0), 0);
  assert_true(nxa_engine_next_event(n->engine, &event) && event.call == waiting && event.type == NXA_EVENT_DONE);
  assert_true(nxa_engine_next_event(n->engine, &event) && event.call == sent);
  assert_false(nxa_engine_next_event(n->engine, &event));
  nxa_call_free(waiting);
  nxa_call_free(sent);
  nxa_call_free(NULL);
}

static void cancels_in_a_pause(void **state) {
  net *n = *state;
  n->request.retries = 1;
  fixture_answer(n->server, 503, NULL, "later");
  nxa_call *call = net_start(n);
  await_requests(n, 1);
  await_pause(n);
  nxa_call_cancel(call);
  assert_failed(call, NXA_CANCELLED, "cancelled");
  assert_true(nxa_engine_timeout(n->engine) >= 0); /* there is an event to pull */
  nxa_call_free(call);
  assert_true(nxa_engine_timeout(n->engine) < 0);
}

static void freeing_ends_and_says_nothing(void **state) {
  net *n = *state;
  nxa_event event;
  hang(n);
  nxa_call *sent = net_start(n);
  await_requests(n, 1);
  nxa_call *done = net_run(n);
  nxa_call_free(sent);
  nxa_call_free(done);
  assert_false(nxa_engine_next_event(n->engine, &event));
  nxa_endpoint *endpoint = net_endpoint(fixture_url(n->server));
  n->request.endpoint = endpoint;
  nxa_call *call = net_start(n);
  nxa_endpoint_free(endpoint);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  nxa_call_free(call);
}

/* ---- streams */

static const char stream_head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n";

#define STREAM(chunks) "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" chunks

static void assert_next(nxa_call *call, const char *name, const char *data) {
  nxa_stream_event event;
  assert_true(nxa_call_next_event(call, &event));
  assert_string_equal(event.event, name);
  assert_string_equal(event.data, data);
  assert_int_equal(event.data_length, strlen(data));
}

static nxa_call *start_stream(net *n) {
  n->request.stream = NXA_STREAM_EVENTS;
  return net_start(n);
}

static void a_stream(void **state) {
  net *n = *state;
  nxa_stream_event event;
  fixture_add(n->server, (fixture_reply){.bytes = STREAM("f\r\nevent: a\ndata: \r\n5\r\n1\n\nda\r\n7\r\nta: 2\n\n\r\n"
                                                         "0\r\n\r\n"),
                                         .piece = 1});
  nxa_call *call = start_stream(n);
  net_await(n, call);
  assert_succeeded(call, 200, "");
  assert_next(call, "a", "1");
  assert_next(call, "message", "2");
  assert_false(nxa_call_next_event(call, &event));
  nxa_call_free(call);
}

static void data_is_announced_once(void **state) {
  net *n = *state;
  nxa_event event;
  nxa_stream_event read;
  static const char answer[] =
      STREAM("12\r\ndata: 1\n\ndata: 2\n\n\r\n9\r\ndata: 3\n\n\r\n9\r\ndata: 4\n\n\r\n0\r\n\r\n");
  size_t first = (size_t)(strstr(answer, "\r\n9\r\n") + 2 - answer);
  fixture_add(n->server, (fixture_reply){.bytes = answer, .gate = 1, .gate_after = first});
  nxa_call *call = start_stream(n);
  NET_STEP_UNTIL(n, nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_DATA);
  assert_ptr_equal(event.call, call);
  assert_next(call, "message", "1");
  fixture_open_gate(n->server, 1);
  net_await(n, call);
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_DONE); /* not drained: not announced again */
  assert_next(call, "message", "2");
  assert_next(call, "message", "3");
  assert_next(call, "message", "4");
  assert_false(nxa_call_next_event(call, &read));
  assert_int_equal(drain(n->engine, NXA_EVENT_DATA), 0);
  nxa_call_free(call);
}

static void drained_before_it_was_announced(void **state) {
  net *n = *state;
  fixture_add(n->server, (fixture_reply){.bytes = STREAM("9\r\ndata: 1\n\n\r\n0\r\n\r\n")});
  nxa_call *call = start_stream(n);
  net_await(n, call);
  assert_next(call, "message", "1");
  assert_int_equal(drain(n->engine, NXA_EVENT_DATA), 0);
  nxa_call_free(call);
}

static void other_answers_to_a_streaming_call(void **state) {
  net *n = *state;
  nxa_stream_event event;
  fixture_answer(n->server, 200, "Content-Type: application/json\r\n", "{\"not\":\"a stream\"}");
  fixture_answer(n->server, 400, "Content-Type: text/event-stream\r\n", "data: no\n\n");
  nxa_call *call = start_stream(n);
  net_await(n, call);
  assert_succeeded(call, 200, "{\"not\":\"a stream\"}");
  assert_false(nxa_call_next_event(call, &event));
  nxa_call_free(call);
  call = start_stream(n);
  net_await(n, call);
  assert_failed(call, NXA_BAD_REQUEST, "data: no");
  assert_false(nxa_call_next_event(call, &event));
  nxa_call_free(call);
  n->request.stream = NXA_STREAM_NONE;
  fixture_answer(n->server, 200, "Content-Type: text/event-stream\r\n", "data: text\n\n");
  call = net_run(n);
  assert_succeeded(call, 200, "data: text\n\n");
  nxa_call_free(call);
}

static void a_stream_is_tried_again_before_it_began(void **state) {
  net *n = *state;
  n->request.retries = 1;
  fixture_answer(n->server, 503, NULL, "later");
  fixture_add(n->server, (fixture_reply){.bytes = STREAM("9\r\ndata: 1\n\n\r\n0\r\n\r\n")});
  nxa_call *call = start_stream(n);
  await_requests(n, 1);
  await_pause(n);
  move_clock(0.51);
  net_await(n, call);
  assert_next(call, "message", "1");
  nxa_call_free(call);
}

static void a_stream_is_not_tried_again_once_begun(void **state) {
  net *n = *state;
  n->request.retries = 3;
  fixture_add(n->server, (fixture_reply){.bytes = STREAM("9\r\ndata: 1\n\n\r\n9\r\nda"), .end = FIXTURE_CLOSE});
  nxa_call *call = start_stream(n);
  net_await(n, call);
  assert_failed(call, NXA_CONNECTION, "before its answer was whole");
  assert_int_equal(nxa_call_error(call)->attempts, 1);
  assert_next(call, "message", "1");
  nxa_call_free(call);
}

static void a_stream_is_bounded(void **state) {
  net *n = *state;
  char answer[6000], *at = answer + sprintf(answer, "%s\r\n", stream_head);
  for (int i = 0; i < 200; i++)
    at += sprintf(at, "data: 0123456789\n\n");
  n->request.max_response = 2000;
  at += sprintf(at, "data: %02001d\n\n", 0);
  fixture_add(n->server, (fixture_reply){.bytes = answer, .end = FIXTURE_CLOSE});
  nxa_call *call = start_stream(n);
  NET_STEP_UNTIL(n, drain(n->engine, NXA_EVENT_DATA) > 0);
  for (int i = 0; i < 200; i++)
    assert_next(call, "message", "0123456789");
  net_await(n, call);
  assert_failed(call, NXA_TOO_LARGE, "an event of 127.0.0.1:");
  assert_failed(call, NXA_TOO_LARGE, " is above 2000 bytes");
  nxa_call_free(call);
}

/* The piece that can't be taken is one that libcurl kept while the stream was paused; the server is silent then. */
static void a_paused_stream_is_bounded(void **state) {
  net *n = *state;
  static char answer[8000];
  char *at = answer + sprintf(answer, "%s\r\n", stream_head);
  for (int i = 0; i < 200; i++)
    at += sprintf(at, "data: 0123456789\n\n");
  size_t gate_after = (size_t)(at - answer);
  sprintf(at, "data: %02001d\n\n", 0);
  n->request.max_response = 2000;
  fixture_add(n->server, (fixture_reply){.bytes = answer, .gate = 1, .gate_after = gate_after, .end = FIXTURE_HANG});
  nxa_call *call = start_stream(n);
  NET_STEP_UNTIL(n, drain(n->engine, NXA_EVENT_DATA) > 0);
  fixture_open_gate(n->server, 1);
  NET_STEP_UNTIL(n, nxa__call_awaits_host(call));
  for (int i = 0; i < 200; i++)
    assert_next(call, "message", "0123456789");
  assert_true(nxa_engine_timeout(n->engine) == 0);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(call, NXA_TOO_LARGE, " is above 2000 bytes");
  nxa_call_free(call);
}

/* ---- streams that flow */

/* `count` lines of 16 bytes, numbered, after `head`; for fixture_add_owned. */
static char *numbered(const char *head, size_t count) {
  char *text = malloc(strlen(head) + count * 16 + 1), *at = text + sprintf(text, "%s", head);
  for (size_t i = 0; i < count; i++)
    at += sprintf(at, "data: %08zu\n\n", i);
  return text;
}

enum { MANY = 1 << 20 }; /* lines: 16 MiB, more than the system's buffers take */

static const char endless_bytes[] = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n";

static nxa_call *start_bytes(net *n) {
  n->request.stream = NXA_STREAM_BYTES;
  return net_start(n);
}

/* Reads all that is there; the bytes must be those of `numbered`. */
static size_t read_pieces(nxa_call *call, const char *wanted, size_t at) {
  const char *data;
  size_t length;
  while (nxa_call_next_piece(call, &data, &length)) {
    assert_true(length > 0 && length <= 1 << 20);
    assert_memory_equal(data, wanted + at, length);
    at += length;
  }
  return at;
}

static void bytes_as_they_come(void **state) {
  net *n = *state;
  const char *data;
  size_t length;
  nxa_event event;
  nxa_stream_event read;
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab\0cde",
                                         .length = 38 + 6,
                                         .gate = 1,
                                         .gate_after = 41});
  nxa_call *call = start_bytes(n);
  NET_STEP_UNTIL(n, nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_DATA);
  assert_false(nxa_call_next_event(call, &read));
  size_t at = read_pieces(call, "ab\0cde", 0);
  assert_false(nxa_call_done(call));
  fixture_open_gate(n->server, 1);
  net_await(n, call);
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_DATA);
  assert_int_equal(read_pieces(call, "ab\0cde", at), 6);
  assert_false(nxa_call_next_piece(call, &data, &length));
  assert_succeeded(call, 200, "");
  char *request = fixture_request(n->server, 0);
  assert_has_not(request, "Accept-Encoding");
  free(request);
  nxa_call_free(call);
  n->request.stream = NXA_STREAM_NONE;
  nxa_call_free(net_run(n));
  request = fixture_request(n->server, 1);
  assert_has(request, "Accept-Encoding: gzip\r\n");
  free(request);
}

static void bytes_without_any(void **state) {
  net *n = *state;
  fixture_answer(n->server, 200, NULL, "");
  fixture_answer(n->server, 404, "Content-Type: text/plain\r\n", "no such file");
  nxa_call *call = start_bytes(n);
  net_await(n, call);
  assert_succeeded(call, 200, "");
  nxa_call_free(call);
  call = start_bytes(n);
  net_await(n, call);
  assert_failed(call, NXA_NOT_FOUND, "no such file");
  assert_string_equal(nxa_call_response(call)->body, "no such file");
  assert_int_equal(drain(n->engine, NXA_EVENT_DATA), 0);
  nxa_call_free(call);
}

static void bytes_wait_for_a_slow_host(void **state) {
  net *n = *state;
  char *answer = numbered(endless_bytes, MANY), *body = answer + sizeof endless_bytes - 1;
  fixture_add_owned(n->server, (fixture_reply){.bytes = answer, .end = FIXTURE_CLOSE});
  nxa_call *call = start_bytes(n);
  NET_STEP_UNTIL(n, nxa__call_awaits_host(call));
  for (int i = 0; i < 20; i++)
    nxa_engine_step(n->engine, 0.001, 0);
  assert_true(nxa__call_awaits_host(call));
  size_t at = 0;
  NET_STEP_UNTIL(n, (at = read_pieces(call, body, at)) == (size_t)MANY * 16);
  net_await(n, call);
  assert_succeeded(call, 200, "");
  nxa_call_free(call);
}

static size_t read_numbered_events(nxa_call *call, size_t at) {
  nxa_stream_event event;
  for (; nxa_call_next_event(call, &event); at++)
    assert_int_equal(strtoul(event.data, NULL, 10), at);
  return at;
}

static void events_wait_for_a_slow_host(void **state) {
  net *n = *state;
  char head[200];
  snprintf(head, sizeof head, "%s\r\n", stream_head);
  char *answer = numbered(head, MANY / 4);
  fixture_add_owned(n->server, (fixture_reply){.bytes = answer, .end = FIXTURE_CLOSE});
  nxa_call *call = start_stream(n);
  NET_STEP_UNTIL(n, nxa__call_awaits_host(call));
  size_t at = 0;
  NET_STEP_UNTIL(n, (at = read_numbered_events(call, at)) == MANY / 4);
  net_await(n, call);
  assert_succeeded(call, 200, "");
  nxa_call_free(call);
}

/* All is read at once where the server was faster than the host, also when nothing more comes. */
static void a_paused_stream_ends_where_it_ends(void **state) {
  net *n = *state;
  n->request.max_response = 20;
  fixture_answer(n->server, 200, NULL, "0123456789012345678901234567890123456789");
  nxa_call *call = start_bytes(n);
  NET_STEP_UNTIL(n, drain(n->engine, NXA_EVENT_DATA) > 0);
  size_t at = 0;
  NET_STEP_UNTIL(n, (at = read_pieces(call, "0123456789012345678901234567890123456789", at)) == 40);
  net_await(n, call);
  assert_succeeded(call, 200, "");
  nxa_call_free(call);
}

static void a_paused_stream_can_be_cancelled(void **state) {
  net *n = *state;
  char *answer = numbered(endless_bytes, MANY);
  fixture_add_owned(n->server, (fixture_reply){.bytes = answer, .end = FIXTURE_CLOSE});
  nxa_call *call = start_bytes(n);
  NET_STEP_UNTIL(n, nxa__call_awaits_host(call));
  nxa_call_cancel(call);
  assert_failed(call, NXA_CANCELLED, "cancelled");
  assert_true(read_pieces(call, answer + sizeof endless_bytes - 1, 0) > 0);
  nxa_call_free(call);
  call = net_run(n);
  assert_succeeded(call, 200, "");
  nxa_call_free(call);
}

/* The server is silent for 4 s, twice; an attempt may take 5. */
static void a_stream_that_flows_outlives_the_timeout(void **state) {
  net *n = *state;
  n->request.timeout = 5;
  const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234";
  fixture_add(n->server,
              (fixture_reply){.bytes = answer, .gate = 1, .gate_after = strlen(answer) - 2, .end = FIXTURE_HANG});
  nxa_call *call = start_bytes(n);
  size_t at = 0;
  NET_STEP_UNTIL(n, (at = read_pieces(call, "1234", at)) == 2);
  move_clock(4);
  nxa_engine_step(n->engine, 0, 0);
  assert_false(nxa_call_done(call));
  fixture_open_gate(n->server, 1);
  NET_STEP_UNTIL(n, (at = read_pieces(call, "1234", at)) == 4);
  move_clock(4);
  nxa_engine_step(n->engine, 0, 0);
  assert_false(nxa_call_done(call));
  move_clock(1.1);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(call, NXA_TIMEOUT, " for 5 s");
  nxa_call_free(call);
}

static void a_silent_stream_times_out(void **state) {
  net *n = *state;
  n->request.timeout = 5;
  n->request.retries = 2;
  fixture_add(n->server,
              (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1", .end = FIXTURE_HANG});
  nxa_call *call = start_bytes(n);
  NET_STEP_UNTIL(n, drain(n->engine, NXA_EVENT_DATA) > 0);
  move_clock(4.9);
  nxa_engine_step(n->engine, 0, 0);
  assert_false(nxa_call_done(call));
  move_clock(0.2);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(call, NXA_TIMEOUT, "nothing went to 127.0.0.1:");
  assert_failed(call, NXA_TIMEOUT, " for 5 s");
  assert_int_equal(nxa_call_error(call)->attempts, 1);
  nxa_call_free(call);
}

/* While the host is who is waited for only the deadline holds; then the timeout counts anew. */
static void a_paused_stream_and_time(void **state) {
  net *n = *state;
  n->request.timeout = 5;
  n->request.deadline = 100;
  n->request.max_response = 1 << 14;
  char *answer = numbered(endless_bytes, 1 << 14), *body = answer + sizeof endless_bytes - 1;
  fixture_add_owned(n->server, (fixture_reply){.bytes = answer, .end = FIXTURE_HANG});
  fixture_add(n->server, (fixture_reply){.bytes = answer, .end = FIXTURE_HANG});
  nxa_call *read = start_bytes(n), *unread = start_bytes(n);
  NET_STEP_UNTIL(n, nxa__call_awaits_host(read) && nxa__call_awaits_host(unread));
  move_clock(50);
  nxa_engine_step(n->engine, 0, 0);
  assert_false(nxa_call_done(read) || nxa_call_done(unread));
  size_t at = 0;
  NET_STEP_UNTIL(n, (at = read_pieces(read, body, at)) == 16 << 14);
  move_clock(4.9);
  nxa_engine_step(n->engine, 0, 0);
  assert_false(nxa_call_done(read));
  move_clock(0.2);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(read, NXA_TIMEOUT, "nothing went to 127.0.0.1:");
  move_clock(44);
  nxa_engine_step(n->engine, 0, 0);
  assert_false(nxa_call_done(unread));
  move_clock(1);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(unread, NXA_TIMEOUT, "was not read within the deadline of 100 s");
  nxa_call_free(read);
  nxa_call_free(unread);
}

/* ---- calls of sinks */

typedef struct sink {
  net *n;
  nxa_call *call, *other;
  nxa_kind kind;
  int done, starts_left;
  bool frees;
} sink;

static void on_done(nxa_call *call, void *data) {
  sink *s = data;
  const nxa_error *error = nxa_call_error(call);
  assert_true(nxa_call_done(call));
  s->done++;
  s->kind = error ? error->kind : NXA_OK;
  if (s->starts_left-- > 0)
    s->other = nxa__call_start(s->n->engine, &s->n->request, on_done, s, NULL);
  if (s->frees) {
    nxa_call_free(call);
    s->call = NULL;
  }
}

static void calls_of_sinks(void **state) {
  net *n = *state;
  nxa_event event;
  sink s = {.n = n, .frees = true, .starts_left = 2};
  s.call = nxa__call_start(n->engine, &n->request, on_done, &s, NULL);
  assert_int_equal(s.done, 0);
  NET_STEP_UNTIL(n, s.done == 3);
  assert_int_equal(s.kind, NXA_OK);
  assert_int_equal(fixture_requests(n->server), 3);
  assert_false(nxa_engine_next_event(n->engine, &event));
}

static void a_sink_frees_other_calls_when_done(void **state) {
  net *n = *state;
  hang(n);
  sink s = {.n = n}, quiet = {.n = n};
  quiet.call = nxa__call_start(n->engine, &n->request, on_done, &quiet, NULL);
  await_requests(n, 1);
  s.call = nxa__call_start(n->engine, &n->request, on_done, &s, NULL);
  NET_STEP_UNTIL(n, s.done == 1);
  nxa_call_free(quiet.call);
  nxa_call_free(s.call);
  nxa_engine_step(n->engine, 0, 0);
  assert_int_equal(quiet.done, 0); /* who ends a call knows */
}

static void a_sink_whose_engine_is_freed(void **state) {
  net *n = *state;
  hang(n);
  sink s = {.n = n, .frees = true, .starts_left = 1};
  s.call = nxa__call_start(n->engine, &n->request, on_done, &s, NULL);
  await_requests(n, 1);
  nxa_engine_free(n->engine);
  assert_int_equal(s.done, 1);
  assert_int_equal(s.kind, NXA_CLOSED);
  assert_null(s.other); /* a closed engine starts nothing */
  n->engine = nxa_engine_new(NULL, NULL);
}

static void assert_arrival(net *n, fixture_reply reply, bool wanted) {
  sink s = {.n = n};
  fixture_add(n->server, reply);
  s.call = nxa__call_start(n->engine, &n->request, on_done, &s, NULL);
  NET_STEP_UNTIL(n, s.done == 1);
  assert_int_equal(s.kind, NXA_CONNECTION);
  assert_int_equal(nxa__call_may_have_arrived(s.call), wanted);
  nxa_call_free(s.call);
}

static void what_may_have_arrived(void **state) {
  net *n = *state;
  n->request.method = "POST";
  n->request.body = "{}";
  n->request.body_length = 2;
  assert_arrival(n, (fixture_reply){.end = FIXTURE_CLOSE}, true);
  nxa_endpoint *endpoint = n->request.endpoint = closed_port();
  assert_arrival(n, (fixture_reply){.end = FIXTURE_CLOSE}, false);
  nxa_endpoint_free(endpoint);
}

/* The connection stood, and the server closes it on the second request: libcurl would send that again by itself. */
static void nothing_is_sent_twice_in_silence(void **state) {
  net *n = *state;
  fixture_answer(n->server, 200, NULL, "warm");
  nxa_call *call = net_run(n);
  nxa_call_free(call);
  n->request.method = "POST";
  n->request.body = "{}";
  n->request.body_length = 2;
  n->request.retries = 3;
  sink s = {.n = n};
  n->request.retries = 0;
  fixture_add(n->server, (fixture_reply){.end = FIXTURE_CLOSE});
  s.call = nxa__call_start(n->engine, &n->request, on_done, &s, NULL);
  NET_STEP_UNTIL(n, s.done == 1);
  assert_int_equal(s.kind, NXA_CONNECTION);
  assert_failed(s.call, NXA_CONNECTION, "closed the connection without an answer");
  assert_true(nxa__call_may_have_arrived(s.call));
  assert_int_equal(fixture_requests(n->server), 2);
  nxa_call_free(s.call);
}

/* A GET may be: a kept connection that the server has just closed costs no attempt. */
static void a_stale_connection_costs_a_get_nothing(void **state) {
  net *n = *state;
  fixture_answer(n->server, 200, NULL, "warm");
  nxa_call_free(net_run(n));
  fixture_add(n->server, (fixture_reply){.end = FIXTURE_CLOSE});
  nxa_call *call = net_run(n);
  assert_succeeded(call, 200, "{}");
  assert_int_equal(nxa_call_response(call)->attempts, 1);
  assert_int_equal(fixture_requests(n->server), 3);
  nxa_call_free(call);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      REAL(a_get),
      REAL(every_method),
      REAL(one_server_after_another),
      REAL(refused_at_start),
      REAL(an_answer_byte_by_byte),
      REAL(a_compressed_answer),
      REAL(short_answers_without_compression),
      REAL(no_content_and_interim_answers),
      REAL(an_answer_until_the_connection_closes),
      REAL(headers_of_interest),
      REAL(failed_statuses),
      REAL(pages_as_answers),
      REAL(errors_carry_what_the_server_said),
      REAL(the_key_is_in_no_error),
      REAL(odd_bytes_in_an_error),
      REAL(closed_without_an_answer),
      REAL(closed_within_the_answer),
      REAL(a_failed_status_cut_short),
      REAL(not_http),
      REAL(refused_connection),
      REAL(by_a_proxy),
      REAL(through_a_proxy),
      REAL(refused_proxy),
      REAL(bodies_are_capped),
      REAL(decoded_bytes_count),
      REAL(header_lines_are_capped),
      REAL(headers_are_capped),
      FAKE(tries_again),
      FAKE(gives_up_in_the_end),
      FAKE(waits_as_long_as_the_server_asks),
      FAKE(the_server_forbids_it),
      FAKE(a_pause_beyond_the_deadline),
      FAKE(refused_again_and_again),
      FAKE(attempts_time_out),
      FAKE(the_deadline_ends_all),
      FAKE(a_trickle_is_no_excuse),
      REAL(cancels_at_any_time),
      FAKE(cancels_in_a_pause),
      REAL(freeing_ends_and_says_nothing),
      REAL(a_stream),
      REAL(data_is_announced_once),
      REAL(drained_before_it_was_announced),
      REAL(other_answers_to_a_streaming_call),
      FAKE(a_stream_is_tried_again_before_it_began),
      REAL(a_stream_is_not_tried_again_once_begun),
      REAL(a_stream_is_bounded),
      REAL(a_paused_stream_is_bounded),
      REAL(bytes_as_they_come),
      REAL(bytes_without_any),
      REAL(bytes_wait_for_a_slow_host),
      REAL(events_wait_for_a_slow_host),
      REAL(a_paused_stream_ends_where_it_ends),
      REAL(a_paused_stream_can_be_cancelled),
      FAKE(a_stream_that_flows_outlives_the_timeout),
      FAKE(a_silent_stream_times_out),
      FAKE(a_paused_stream_and_time),
      REAL(calls_of_sinks),
      REAL(a_sink_frees_other_calls_when_done),
      REAL(a_sink_whose_engine_is_freed),
      REAL(what_may_have_arrived),
      REAL(nothing_is_sent_twice_in_silence),
      REAL(a_stale_connection_costs_a_get_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
