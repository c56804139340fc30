#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "request.h"

static nxa_endpoint_options options_of(const char *url) {
  nxa_endpoint_options options;
  nxa_endpoint_options_init(&options);
  options.base_url = url;
  return options;
}

static void assert_refused(nxa_endpoint_options options, const char *message) {
  nxa_error error;
  assert_null(nxa_endpoint_new(&options, &error));
  assert_int_equal(error.kind, NXA_INVALID);
  if (!strstr(error.message, message))
    fail_msg("\"%s\" is not in \"%s\"", message, error.message);
}

static void assert_url(const char *url, const char *base, const char *host, int port) {
  nxa_error error;
  nxa_endpoint_options options = options_of(url);
  nxa_endpoint *endpoint = nxa_endpoint_new(&options, &error);
  if (!endpoint)
    fail_msg("%s: %s", url, error.message);
  assert_string_equal(nxa_endpoint_base_url(endpoint), base);
  assert_string_equal(nxa__endpoint_host(endpoint), host);
  assert_int_equal(nxa__endpoint_port(endpoint), port);
  assert_false(nxa_endpoint_has_key(endpoint));
  nxa_endpoint_free(endpoint);
}

static void good_urls(void **state) {
  (void)state;
  assert_url("http://localhost", "http://localhost", "localhost", 80);
  assert_url("https://api.openai.com/v1/", "https://api.openai.com/v1", "api.openai.com", 443);
  assert_url("HTTP://127.0.0.1:8080//", "HTTP://127.0.0.1:8080", "127.0.0.1:8080", 8080);
  assert_url("http://[::1]:99/a/b", "http://[::1]:99/a/b", "[::1]:99", 99);
  assert_url("https://[::1]", "https://[::1]", "[::1]", 443);
  assert_url("http://m\xC3\xBCnchen.example", "http://m\xC3\xBCnchen.example", "m\xC3\xBCnchen.example", 80);
}

static void files_of_tls(void **state) {
  (void)state;
  nxa_error error;
  nxa_endpoint_options options = options_of("https://host");
  options.client_key = "key.pem";
  assert_refused(options, "client_key needs client_certificate");
  options.client_certificate = "";
  assert_refused(options, "client_certificate is empty");
  options.client_certificate = "certificate.pem";
  nxa_endpoint *endpoint = nxa_endpoint_new(&options, &error);
  assert_non_null(endpoint);
  assert_true(nxa__endpoint_has_files(endpoint));
  nxa_endpoint_free(endpoint);
  options.client_key = NULL;
  assert_refused(options, "client_certificate needs client_key");
}

static void bad_urls(void **state) {
  (void)state;
  assert_refused(options_of(NULL), "base_url is required");
  assert_refused(options_of(""), "base_url is required");
  assert_refused(options_of("api.openai.com/v1"), "http:// or https://");
  assert_refused(options_of("ftp://host"), "http:// or https://");
  assert_refused(options_of("http:/host"), "http:// or https://");
  assert_refused(options_of("http://"), "no valid host");
  assert_refused(options_of("http:///v1"), "no valid host");
  assert_refused(options_of("http://:80"), "no valid host");
  assert_refused(options_of("http://ho$t"), "no valid host");
  assert_refused(options_of("http://[::1"), "no valid host");
  assert_refused(options_of("http://[]"), "no valid host");
  assert_refused(options_of("http://[::1:2::3]"), "no valid host");
  assert_refused(options_of("http://host:"), "no valid port");
  assert_refused(options_of("http://host:0"), "no valid port");
  assert_refused(options_of("http://host:65536"), "no valid port");
  assert_refused(options_of("http://host:99999999999999999999"), "no valid port");
  assert_refused(options_of("http://host:8o"), "no valid port");
  assert_refused(options_of("http://[::1]x"), "no valid port");
  assert_refused(options_of("http://user:pw@host"), "user name or password");
  assert_refused(options_of("http://host?x=1"), "query");
  assert_refused(options_of("http://host/#x"), "fragment");
  assert_refused(options_of("http://host/a b"), "space");
  assert_refused(options_of("http://host\n"), "control character");
  assert_refused(options_of("http://host\\x"), "backslash");
}

static nxa_endpoint_options with_key(const char *key) {
  nxa_endpoint_options options = options_of("http://host");
  options.key = key;
  return options;
}

static void keys(void **state) {
  (void)state;
  nxa_endpoint_options options = with_key("sk-1234");
  nxa_endpoint *endpoint = nxa_endpoint_new(&options, NULL);
  assert_true(nxa_endpoint_has_key(endpoint));
  assert_string_equal(nxa__endpoint_header(endpoint, 0), "Authorization: Bearer sk-1234");
  nxa_endpoint_free(endpoint);
  options.key_header = "api-key";
  options.key_prefix = "";
  endpoint = nxa_endpoint_new(&options, NULL);
  assert_string_equal(nxa__endpoint_header(endpoint, 0), "api-key: sk-1234");
  nxa_endpoint_free(endpoint);
}

static void bad_keys(void **state) {
  (void)state;
  const char *keys[] = {"sk\n1234", "sk 1234", "sk-1234\r\nX: y", "\xE2\x80\xA6", "sk-1\x7F"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    nxa_endpoint_options options = with_key(keys[i]);
    nxa_error error;
    assert_null(nxa_endpoint_new(&options, &error));
    assert_non_null(strstr(error.message, "key "));
    assert_null(strstr(error.message, "1234"));
  }
  assert_refused(with_key(""), "key is empty");
  nxa_endpoint_options options = with_key("sk-1234");
  options.key_header = "api key";
  assert_refused(options, "key_header");
  options.key_header = NULL;
  options.key_prefix = "Bearer\n";
  assert_refused(options, "key_prefix");
}

static void keys_from_the_environment(void **state) {
  (void)state;
  nxa_endpoint_options options = with_key(NULL);
  options.key_environment = "NXA_TEST_SECRET";
  unsetenv("NXA_TEST_SECRET");
  nxa_endpoint *endpoint = nxa_endpoint_new(&options, NULL);
  assert_false(nxa_endpoint_has_key(endpoint));
  nxa_endpoint_free(endpoint);
  setenv("NXA_TEST_SECRET", "nxs_abcdef", 1);
  endpoint = nxa_endpoint_new(&options, NULL);
  assert_true(nxa_endpoint_has_key(endpoint));
  assert_string_equal(nxa__endpoint_header(endpoint, 0), "Authorization: Bearer nxs_abcdef");
  nxa_endpoint_free(endpoint);
  setenv("NXA_TEST_SECRET", "nxs_abc\n", 1);
  assert_refused(options, "key_environment");
  unsetenv("NXA_TEST_SECRET");
}

static void assert_header_refused(const char *header, const char *message) {
  nxa_endpoint_options options = options_of("http://host");
  const char *headers[] = {"X-Good: yes", header};
  options.headers = headers;
  options.header_count = 2;
  assert_refused(options, "headers: entry 2");
  assert_refused(options, message);
}

static void headers(void **state) {
  (void)state;
  assert_header_refused("no colon", "Name: value");
  assert_header_refused(": value", "token");
  assert_header_refused("A b: c", "token");
  assert_header_refused("A : c", "token");
  assert_header_refused("A: c\r\nB: d", "line break");
  assert_header_refused("A: c\x01", "line break");
  assert_header_refused("Content-Length: 5", "library itself");
  assert_header_refused("transfer-encoding: chunked", "library itself");
  assert_header_refused(NULL, "NULL");
}

static void queries(void **state) {
  (void)state;
  nxa_endpoint_options options = options_of("http://host");
  options.query = "a=b c";
  assert_refused(options, "query");
  options.query = "a=b#c";
  assert_refused(options, "query");
  options.query = "api-version=1";
  nxa_endpoint *endpoint = nxa_endpoint_new(&options, NULL);
  assert_string_equal(nxa__endpoint_query(endpoint), "api-version=1");
  nxa_endpoint_free(endpoint);
}

static void assert_redacted(const char *key, const char *text, const char *wanted) {
  nxa_endpoint_options options = with_key(key);
  nxa_endpoint *endpoint = nxa_endpoint_new(&options, NULL);
  char copy[200];
  strcpy(copy, text);
  nxa_endpoint_redact(endpoint, copy, strlen(copy));
  assert_string_equal(copy, wanted);
  assert_int_equal(nxa__endpoint_key_is_in(endpoint, text, strlen(text)), strcmp(text, wanted) != 0);
  nxa_endpoint_free(endpoint);
}

static void redacts_the_key(void **state) {
  (void)state;
  assert_redacted("sk-12", "bad key: sk-12", "bad key: *****");
  assert_redacted("sk-12", "sk-12sk-12 sk-1sk-12", "********** sk-1*****");
  assert_redacted("sk-12", "sk-1", "sk-1");
  assert_redacted("sk-12", "", "");
  assert_redacted("aaab", "aaaab aaab", "a**** ****");
  assert_redacted("a/b\"c", "plain a/b\"c, in JSON a\\/b\\\"c", "plain *****, in JSON *******");
  assert_redacted("a/b\"c", "a/b\\\"c a\\/b\"c a\\/b\\\"", "****** ****** a\\/b\\\"");
  assert_redacted("/abc", "\"\\/abc\" \\ /abc/abc", "\"*****\" \\ ********");
  assert_redacted("a\\b\\\\c", "a\\b\\\\c a\\\\b\\\\\\\\c", "****** *********");
  assert_redacted("x", "extra", "extra");
}

/* ---- requests */

static nxa_request request_to(nxa_endpoint *endpoint) {
  nxa_request request;
  nxa_request_init(&request);
  request.endpoint = endpoint;
  request.method = "GET";
  request.path = "/x";
  return request;
}

static void assert_request_refused(nxa_request request, const char *message) {
  nxa_error error;
  assert_null(nxa__request_freeze(&request, &error));
  assert_int_equal(error.kind, NXA_INVALID);
  if (!strstr(error.message, message))
    fail_msg("\"%s\" is not in \"%s\"", message, error.message);
}

static void bad_requests(void **state) {
  nxa_request good = request_to(*state), bad;
  const char *const split[] = {"X: a\r\nY: b"};
#define REFUSED(change, message) (bad = good, bad.change, assert_request_refused(bad, message))
  REFUSED(endpoint = NULL, "endpoint");
  REFUSED(method = NULL, "method");
  REFUSED(method = "get", "method");
  REFUSED(method = "TRACE", "method");
  REFUSED(method = "GET\r\n", "method");
  REFUSED(path = NULL, "path must begin");
  REFUSED(path = "x", "path must begin");
  REFUSED(path = "/a b", "path holds a space");
  REFUSED(path = "/a\r\n", "path holds a space");
  REFUSED(path = "/a?b", "path holds '?'");
  REFUSED(path = "/a#b", "path holds '?'");
  REFUSED(path = "/a\\b", "path holds '?'");
  REFUSED(path = "/a//b", "empty segment");
  REFUSED(path = "/a/../b", "segment of dots");
  REFUSED(path = "/a/..", "segment of dots");
  REFUSED(path = "/./a", "segment of dots");
  REFUSED(path = "/a/%2e%2E/b", "segment of dots");
  REFUSED(path = "/a/.%2e", "segment of dots");
  REFUSED(query = "a b", "query");
  REFUSED(query = "a#b", "query");
  REFUSED(timeout = 0, "timeout");
  REFUSED(timeout = 0.0 / 0.0, "timeout");
  REFUSED(deadline = -1, "deadline");
  REFUSED(deadline = 1.0 / 0.0, "deadline");
  REFUSED(retries = -1, "retries");
  REFUSED(max_response = 0, "max_response");
  REFUSED(body_length = 3, "body");
  REFUSED(content_type = "a\nb", "content_type");
  bad = good;
  bad.headers = split;
  bad.header_count = 1;
  assert_request_refused(bad, "headers: entry 1");
}

static void good_paths(void **state) {
  const char *paths[] = {"/", "/a/", "/...", "/.a", "/a..b", "/%2e%2e%2e", "/a%2Fb", "/\xC3\xA4"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    nxa_request request = request_to(*state);
    nxa_error error;
    request.path = paths[i];
    nxa__frozen *frozen = nxa__request_freeze(&request, &error);
    if (!frozen)
      fail_msg("%s: %s", paths[i], error.message);
    nxa__frozen_release(frozen);
  }
}

static const char *line_of(const nxa__frozen *frozen, size_t index) {
  const struct curl_slist *node = frozen->headers;
  while (node && index--)
    node = node->next;
  return node ? node->data : NULL;
}

static void freezes_a_copy(void **state) {
  char body[] = "{\"a\":1}", path[] = "/x";
  const char *const headers[] = {"X-One: 1", "AUTHORIZATION: other", "X-Empty:"};
  nxa_request request = request_to(*state);
  request.method = "POST";
  request.path = path;
  request.query = "limit=1";
  request.body = body;
  request.body_length = strlen(body);
  request.headers = headers;
  request.header_count = 3;
  nxa__frozen *frozen = nxa__request_freeze(&request, NULL);
  memset(body, '#', strlen(body));
  memset(path, '#', strlen(path));
  assert_string_equal(frozen->url, "http://host/v1/x?api-version=2&limit=1");
  assert_string_equal(frozen->target, "/v1/x?api-version=2&limit=1");
  assert_string_equal(frozen->body, "{\"a\":1}");
  const char *agent = "User-Agent: nexus-assistants/" NXA_VERSION;
  const char *wanted[] = {"X-One: 1",
                          "AUTHORIZATION: other",
                          "X-Empty;",
                          "OpenAI-Beta: assistants=v2",
                          agent,
                          "Accept-Encoding: gzip",
                          "Content-Type: application/json"};
  for (size_t i = 0; i < 7; i++)
    assert_string_equal(line_of(frozen, i), wanted[i]);
  assert_null(line_of(frozen, 7));
  nxa__frozen_release(frozen);
}

static const char *last_line_with_body(nxa_request request, const char *body, size_t length) {
  request.body = body;
  request.body_length = length;
  nxa__frozen *frozen = nxa__request_freeze(&request, NULL);
  const struct curl_slist *node = frozen->headers;
  while (node->next)
    node = node->next;
  const char *line = strcmp(node->data, "Expect:") == 0 ? "Expect:" : "another";
  nxa__frozen_release(frozen);
  return line;
}

static void leave_for_bodies(void **state) {
  nxa_request request = request_to(*state);
  char body[1024] = "";
  request.method = "POST";
  assert_string_equal(last_line_with_body(request, body, sizeof body - 1), "another");
  assert_string_equal(last_line_with_body(request, body, sizeof body), "Expect:");
}

static void headers_in_place_of_own(void **state) {
  nxa_request request = request_to(*state);
  const char *const headers[] = {"user-agent: mine", "ACCEPT-ENCODING: br"};
  request.headers = headers;
  request.header_count = 2;
  nxa__frozen *frozen = nxa__request_freeze(&request, NULL);
  assert_string_equal(line_of(frozen, 0), "user-agent: mine");
  assert_string_equal(line_of(frozen, 1), "ACCEPT-ENCODING: br");
  assert_string_equal(line_of(frozen, 2), "OpenAI-Beta: assistants=v2");
  assert_string_equal(line_of(frozen, 3), "Authorization: Bearer sk-1234");
  assert_null(line_of(frozen, 4));
  nxa__frozen_release(frozen);
}

static void types_of_bodies(void **state) {
  nxa_request request = request_to(*state);
  request.method = "POST";
  nxa__frozen *frozen = nxa__request_freeze(&request, NULL);
  assert_null(frozen->body);
  assert_string_equal(line_of(frozen, 4), "Content-Type:");
  nxa__frozen_release(frozen);
  const char *const headers[] = {"content-type: text/x"};
  request.headers = headers;
  request.header_count = 1;
  request.body = "";
  frozen = nxa__request_freeze(&request, NULL);
  assert_string_equal(frozen->body, "");
  assert_string_equal(line_of(frozen, 0), "content-type: text/x");
  assert_string_equal(line_of(frozen, 4), "Accept-Encoding: gzip");
  assert_null(line_of(frozen, 5));
  nxa__frozen_release(frozen);
}

static int make_endpoint(void **state) {
  nxa_endpoint_options options = with_key("sk-1234");
  const char *const headers[] = {"OpenAI-Beta: assistants=v2"};
  options.base_url = "http://host/v1/";
  options.query = "api-version=2";
  options.headers = headers;
  options.header_count = 1;
  *state = nxa_endpoint_new(&options, NULL);
  return *state ? 0 : -1;
}

static int free_endpoint(void **state) {
  nxa_endpoint_free(*state);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_urls),
      cmocka_unit_test(bad_urls),
      cmocka_unit_test(files_of_tls),
      cmocka_unit_test(keys),
      cmocka_unit_test(bad_keys),
      cmocka_unit_test(keys_from_the_environment),
      cmocka_unit_test(headers),
      cmocka_unit_test(queries),
      cmocka_unit_test(redacts_the_key),
      cmocka_unit_test_setup_teardown(bad_requests, make_endpoint, free_endpoint),
      cmocka_unit_test_setup_teardown(good_paths, make_endpoint, free_endpoint),
      cmocka_unit_test_setup_teardown(freezes_a_copy, make_endpoint, free_endpoint),
      cmocka_unit_test_setup_teardown(types_of_bodies, make_endpoint, free_endpoint),
      cmocka_unit_test_setup_teardown(leave_for_bodies, make_endpoint, free_endpoint),
      cmocka_unit_test_setup_teardown(headers_in_place_of_own, make_endpoint, free_endpoint),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
