#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call_state.h"
#include "net_call.h"

/* ---- files */

static char folder[64];

static const char *path_of(const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static const char *write_file(const char *name, const char *bytes, size_t length) {
  FILE *file = fopen(path_of(name), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  assert_int_equal(fclose(file), 0);
  return path_of(name);
}

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/nxa-upload-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  static const char *const names[] = {"plain.txt", "large", "pipe", "a\nb", "shrinks", "quote\"d"};
  (void)state;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    unlink(path_of(names[i]));
  return rmdir(folder);
}

/* `length` bytes that differ from place to place; owned by the caller. */
static char *pattern(size_t length) {
  char *bytes = malloc(length + 1);
  for (size_t i = 0; i < length; i++)
    bytes[i] = (char)(i * 2654435761U >> 13);
  bytes[length] = '\0';
  return bytes;
}

/* ---- requests */

enum { MANY_PARTS = 100 };

typedef struct parts {
  nxa_part entries[MANY_PARTS];
} parts;

static parts form;

static nxa_part *part(net *n, const char *name) {
  nxa_part *next = &form.entries[n->request.part_count++];
  nxa_part_init(next);
  next->name = name;
  n->request.method = "POST";
  n->request.parts = form.entries;
  return next;
}

static nxa_part *text_part(net *n, const char *name, const char *text) {
  nxa_part *added = part(n, name);
  added->data = text;
  added->data_length = strlen(text);
  return added;
}

static nxa_part *host_part(net *n, const char *name, int64_t size) {
  nxa_part *added = part(n, name);
  added->from_host = true;
  added->size = size;
  return added;
}

static void assert_refused(net *n, const char *message) {
  nxa_error error;
  assert_null(nxa_call_start(n->engine, &n->request, &error));
  assert_int_equal(error.kind, NXA_INVALID);
  assert_has(error.message, message);
  n->request.part_count = 0;
}

/* What the n-th request's multipart body must be; "--" stands for the boundary. */
static void assert_form(net *n, size_t index, const char *wanted, size_t length) {
  char *request = fixture_request(n->server, index), *expected = malloc(length + 4000);
  assert_non_null(request);
  size_t body_length, at = 0;
  char boundary[100] = "--";
  assert_has(request, "\r\nContent-Type: multipart/form-data; boundary=");
  sscanf(strstr(request, "boundary=") + 9, "%90[^\r]", boundary + 2);
  char *body = fixture_body(request, &body_length);
  for (size_t i = 0; i < length; i++) {
    bool mark = i + 1 < length && wanted[i] == '-' && wanted[i + 1] == '-' && (i == 0 || wanted[i - 1] == '\n');
    if (!mark) {
      expected[at++] = wanted[i];
      continue;
    }
    at += (size_t)sprintf(expected + at, "%s", boundary);
    i++;
  }
  assert_int_equal(body_length, at);
  assert_memory_equal(body, expected, at);
  free(expected);
  free(request);
}

#define ASSERT_FORM(n, index, wanted) assert_form((n), (index), (wanted), sizeof(wanted) - 1)

/* ---- from memory and files */

static void parts_from_memory(void **state) {
  net *n = *state;
  text_part(n, "purpose", "assistants");
  nxa_part *second = part(n, "quo\"te");
  second->data = "a\0b";
  second->data_length = 3;
  second->file_name = "x.bin";
  nxa_part *third = text_part(n, "empty", "");
  third->content_type = "text/plain; charset=utf-8";
  nxa_call *call = net_start(n);
  memset(&form, 0, sizeof form); /* all was copied */
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  ASSERT_FORM(n, 0,
              "--\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n"
              "--\r\nContent-Disposition: form-data; name=\"quo%22te\"; filename=\"x.bin\"\r\n"
              "Content-Type: application/octet-stream\r\n\r\na\0b\r\n"
              "--\r\nContent-Disposition: form-data; name=\"empty\"\r\n"
              "Content-Type: text/plain; charset=utf-8\r\n\r\n\r\n"
              "----\r\n");
  char *request = fixture_request(n->server, 0);
  assert_memory_equal(request, "POST /x HTTP/1.1\r\n", 18);
  assert_has(request, "\r\nContent-Length: ");
  assert_has_not(request, "Expect");
  assert_has_not(request, "application/json");
  free(request);
  nxa_call_free(call);
}

/* On one handle from the pool, so that what one sets must not reach the next. */
static void plain_requests_after_parts(void **state) {
  net *n = *state;
  static const char *const starts[] = {"PUT /x ", "POST /x ", "GET /x ", "POST /x "};
  text_part(n, "a", "b");
  n->request.method = "PUT";
  nxa_call_free(net_run(n));
  n->request.part_count = 0;
  n->request.parts = NULL;
  n->request.method = "POST";
  n->request.body = "{}";
  n->request.body_length = 2;
  nxa_call_free(net_run(n));
  n->request.method = "GET";
  n->request.body = NULL;
  n->request.body_length = 0;
  nxa_call_free(net_run(n));
  text_part(n, "a", "b");
  nxa_call_free(net_run(n));
  for (size_t i = 0; i < 4; i++) {
    char *request = fixture_request(n->server, i);
    assert_memory_equal(request, starts[i], strlen(starts[i]));
    assert_int_equal(strstr(request, "multipart/form-data") != NULL, i == 0 || i == 3);
    assert_int_equal(strstr(request, "application/json") != NULL, i == 1);
    free(request);
  }
  assert_int_equal(fixture_connections(n->server), 1);
}

static void an_endpoint_with_a_type(void **state) {
  net *n = *state;
  const char *const headers[] = {"content-type: a/b", "X-One: 1"};
  nxa_endpoint_options options;
  nxa_endpoint_options_init(&options);
  options.base_url = fixture_url(n->server);
  options.headers = headers;
  options.header_count = 2;
  nxa_endpoint *endpoint = n->request.endpoint = nxa_endpoint_new(&options, NULL);
  text_part(n, "a", "b");
  nxa_call_free(net_run(n));
  char *request = fixture_request(n->server, 0);
  assert_has(request, "\r\nX-One: 1\r\n");
  assert_has_not(request, "a/b");
  free(request);
  ASSERT_FORM(n, 0, "--\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n----\r\n");
  nxa_endpoint_free(endpoint);
}

static void a_part_from_a_file(void **state) {
  net *n = *state;
  part(n, "file")->path = write_file("quote\"d", "line\r\n x", 8);
  nxa_call_free(net_run(n));
  ASSERT_FORM(n, 0,
              "--\r\nContent-Disposition: form-data; name=\"file\"; filename=\"quote%22d\"\r\n"
              "Content-Type: application/octet-stream\r\n\r\nline\r\n x\r\n----\r\n");
}

static size_t large_length(void) {
  return 3 << 20;
}

/* A file is open while it is read, not while those after it are. */
static void many_files(void **state) {
  net *n = *state;
  struct rlimit before, few;
  const char *path = write_file("plain.txt", "hello", 5);
  for (int i = 0; i < MANY_PARTS; i++)
    part(n, "file")->path = path;
  getrlimit(RLIMIT_NOFILE, &before);
  few = before;
  few.rlim_cur = 64;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
  nxa_call *call = net_run(n);
  setrlimit(RLIMIT_NOFILE, &before);
  assert_succeeded(call, 200, "{}");
  nxa_call_free(call);
}

/* The body of a request holds these bytes somewhere. */
static void assert_holds(net *n, size_t index, const char *bytes, size_t length) {
  char *request = fixture_request(n->server, index);
  size_t body_length;
  char *body = fixture_body(request, &body_length), *start = strstr(body, "\r\n\r\n") + 4;
  assert_true((size_t)(start - body) + length < body_length);
  assert_memory_equal(start, bytes, length);
  assert_memory_equal(start + length, "\r\n--", 4);
  free(request);
}

static void a_large_file(void **state) {
  net *n = *state;
  char *bytes = pattern(large_length());
  nxa_part *file = part(n, "file");
  file->path = write_file("large", bytes, large_length());
  file->file_name = "other.bin";
  nxa_call *call = net_run(n);
  assert_succeeded(call, 200, "{}");
  assert_holds(n, 0, bytes, large_length());
  char *request = fixture_request(n->server, 0);
  assert_has(request, "filename=\"other.bin\"");
  free(request);
  nxa_call_free(call);
  free(bytes);
}

static void refused_parts(void **state) {
  net *n = *state;
  part(n, NULL)->data = "x";
  assert_refused(n, "parts: entry 1: name is required");
  part(n, "")->data = "x";
  assert_refused(n, "parts: entry 1: name is empty");
  part(n, "a")->data = "x";
  part(n, "a\r\nb")->data = "x";
  assert_refused(n, "parts: entry 2: name holds a control character");
  nxa_part *one = part(n, "a");
  one->data = "x";
  one->file_name = "a\nb";
  assert_refused(n, "file_name holds a control character");
  one = part(n, "a");
  one->data = "x";
  one->content_type = "a/b\r\nX: y";
  assert_refused(n, "content_type holds a control character");
  part(n, "a");
  assert_refused(n, "data, path or from_host: exactly one of them is required");
  one = part(n, "a");
  one->data = "x";
  one->from_host = true;
  assert_refused(n, "exactly one of them is required");
  one = part(n, "a");
  one->from_host = true;
  one->data_length = 1;
  assert_refused(n, "data_length goes with data");
  text_part(n, "a", "b");
  host_part(n, "b", (INT64_C(1) << 53) + 1);
  assert_refused(n, "parts: entry 2: size is above 2^53");
  part(n, "a")->path = write_file("a\nb", "", 0);
  assert_refused(n, "file_name holds a control character");
  n->request.parts = form.entries;
  assert_refused(n, "parts: there is none");
}

static void refused_files(void **state) {
  net *n = *state;
  part(n, "a")->path = path_of("none");
  assert_refused(n, "/none': no such file");
  part(n, "a")->path = folder;
  assert_refused(n, "not a regular file");
  assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
  part(n, "a")->path = path_of("pipe");
  assert_refused(n, "/pipe': not a regular file");
}

static void parts_and_what_does_not_go_with_them(void **state) {
  net *n = *state;
  const char *const headers[] = {"X-One: 1", "CONTENT-TYPE: a/b"};
  text_part(n, "a", "b");
  n->request.method = "GET";
  assert_refused(n, "parts need the method POST, PUT or PATCH");
  text_part(n, "a", "b");
  n->request.body = "{}";
  n->request.body_length = 2;
  assert_refused(n, "body and parts can't go together");
  n->request.body = NULL;
  n->request.body_length = 0;
  text_part(n, "a", "b");
  n->request.headers = headers;
  n->request.header_count = 2;
  assert_refused(n, "parts have a Content-Type of their own");
  n->request.header_count = 0;
  text_part(n, "a", "b");
  n->request.content_type = "a/b";
  assert_refused(n, "parts have a Content-Type of their own");
  n->request.content_type = NULL;
  n->request.parts = NULL;
  n->request.part_count = 1;
  assert_refused(n, "parts is NULL but part_count is not 0");
}

/* ---- attempts */

static void parts_are_sent_again(void **state) {
  net *n = *state;
  n->request.retries = 1;
  text_part(n, "a", "b");
  part(n, "file")->path = write_file("plain.txt", "hello", 5);
  fixture_answer(n->server, 503, NULL, "later");
  nxa_call *call = net_start(n);
  await_requests(n, 1);
  await_pause(n);
  move_clock(0.51);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  for (size_t i = 0; i < 2; i++)
    ASSERT_FORM(n, i,
                "--\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n"
                "--\r\nContent-Disposition: form-data; name=\"file\"; filename=\"plain.txt\"\r\n"
                "Content-Type: application/octet-stream\r\n\r\nhello\r\n----\r\n");
  nxa_call_free(call);
}

/* libcurl then goes back to the body's start, to send it once more by itself; that is refused, and one more attempt. */
static void parts_on_a_kept_connection_that_closes(void **state) {
  net *n = *state;
  char *bytes = pattern(large_length());
  nxa_call_free(net_run(n));
  n->request.retries = 1;
  part(n, "file")->path = write_file("large", bytes, large_length());
  fixture_add(n->server, (fixture_reply){.end = FIXTURE_CLOSE});
  nxa_call *call = net_start(n);
  await_requests(n, 2);
  await_pause(n);
  move_clock(0.51);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  assert_int_equal(nxa_call_response(call)->attempts, 2);
  assert_int_equal(fixture_requests(n->server), 3);
  assert_holds(n, 1, bytes, large_length());
  assert_holds(n, 2, bytes, large_length());
  nxa_call_free(call);
  free(bytes);
}

static void why_they_are_not_sent_again(void **state) {
  net *n = *state;
  nxa_call_free(net_run(n));
  part(n, "file")->path = write_file("plain.txt", "hello", 5);
  fixture_add(n->server, (fixture_reply){.end = FIXTURE_CLOSE});
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_CONNECTION, "closed the connection without an answer");
  assert_int_equal(fixture_requests(n->server), 2);
  nxa_call_free(call);
}

static void a_file_that_is_gone(void **state) {
  net *n = *state;
  n->request.retries = 1;
  part(n, "file")->path = write_file("plain.txt", "hello", 5);
  nxa_call *call = net_start(n);
  unlink(path_of("plain.txt"));
  net_await(n, call);
  assert_failed(call, NXA_INVALID, "parts: entry 1: path '");
  assert_failed(call, NXA_INVALID, "/plain.txt': no such file");
  assert_int_equal(nxa_call_error(call)->attempts, 1);
  nxa_call_free(call);
}

static void a_file_that_shrinks(void **state) {
  net *n = *state;
  part(n, "file")->path = write_file("shrinks", "hello", 5);
  nxa_call *call = net_start(n);
  write_file("shrinks", "hel", 3);
  net_await(n, call);
  assert_failed(call, NXA_INVALID, "/shrinks': the file has become shorter");
  nxa_call_free(call);
}

static void a_file_that_grows(void **state) {
  net *n = *state;
  part(n, "file")->path = write_file("shrinks", "hello", 5);
  nxa_call *call = net_start(n);
  write_file("shrinks", "hello!", 6);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  assert_holds(n, 0, "hello", 5);
  nxa_call_free(call);
}

static void refused_before_it_is_sent(void **state) {
  net *n = *state;
  char *bytes = pattern(large_length());
  part(n, "file")->path = write_file("large", bytes, large_length());
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 413 No\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
                                                  "too large",
                                         .early = true,
                                         .end = FIXTURE_HALF_CLOSE});
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_STATUS, "HTTP 413");
  assert_failed(call, NXA_STATUS, "too large");
  nxa_call_free(call);
  free(bytes);
}

/* ---- from the host */

static void await_send(net *n, nxa_call *call) {
  nxa_event event;
  NET_STEP_UNTIL(n, nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_SEND);
  assert_ptr_equal(event.call, call);
  assert_false(nxa_engine_next_event(n->engine, &event));
}

static void a_part_from_the_host(void **state) {
  net *n = *state;
  text_part(n, "a", "b");
  host_part(n, "file", -1)->file_name = "x";
  nxa_call *call = net_start(n);
  await_send(n, call);
  assert_int_equal(nxa_call_send(call, "one", 3), NXA_OK);
  assert_int_equal(nxa_call_send(call, "", 0), NXA_OK);
  await_send(n, call);
  assert_int_equal(nxa_call_send(call, "two", 3), NXA_OK);
  assert_int_equal(nxa_call_send(call, "three", 5), NXA_OK);
  await_send(n, call);
  assert_int_equal(nxa_call_send_end(call), NXA_OK);
  assert_int_equal(nxa_call_send(call, "more", 4), NXA_INVALID);
  assert_int_equal(nxa_call_send_end(call), NXA_INVALID);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  assert_int_equal(nxa_call_send(call, "more", 4), NXA_CLOSED);
  assert_int_equal(nxa_call_send_end(call), NXA_CLOSED);
  char *request = fixture_request(n->server, 0);
  assert_has(request, "\r\nTransfer-Encoding: chunked\r\n");
  assert_has_not(request, "Content-Length: ");
  free(request);
  ASSERT_FORM(n, 0,
              "--\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n"
              "--\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n"
              "Content-Type: application/octet-stream\r\n\r\nonetwothree\r\n----\r\n");
  nxa_call_free(call);
}

/* Bytes of a known size end by themselves, and may be there before they are asked for. */
static void parts_of_known_sizes(void **state) {
  net *n = *state;
  host_part(n, "a", 3);
  host_part(n, "none", 0);
  host_part(n, "b", 4);
  nxa_call *call = net_start(n);
  assert_int_equal(nxa_call_send(call, "12345", 5), NXA_INVALID);
  assert_int_equal(nxa_call_send_end(call), NXA_INVALID);
  assert_int_equal(nxa_call_send(call, "123", 3), NXA_OK);
  assert_int_equal(nxa_call_send(call, "12", 2), NXA_OK);
  await_send(n, call);
  assert_int_equal(nxa_call_send(call, "345", 3), NXA_INVALID);
  assert_int_equal(nxa_call_send(call, "34", 2), NXA_OK);
  assert_int_equal(nxa_call_send(call, "5", 1), NXA_INVALID);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  ASSERT_FORM(n, 0,
              "--\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n123\r\n"
              "--\r\nContent-Disposition: form-data; name=\"none\"\r\n\r\n\r\n"
              "--\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n1234\r\n----\r\n");
  char *request = fixture_request(n->server, 0);
  assert_has(request, "\r\nContent-Length: ");
  free(request);
  nxa_call_free(call);
}

static void what_the_host_sends_is_bounded(void **state) {
  net *n = *state;
  size_t length = large_length(), at = 0, refused = 0;
  char *bytes = pattern(length);
  host_part(n, "a", -1);
  nxa_call *call = net_start(n);
  assert_int_equal(nxa_call_send(call, bytes, (1 << 20) + 1), NXA_TOO_LARGE);
  while (at < length) {
    size_t piece = 300000 < length - at ? 300000 : length - at;
    nxa_kind kind = nxa_call_send(call, bytes + at, piece);
    assert_true(kind == NXA_OK || kind == NXA_TOO_LARGE);
    assert_true(call->source->held <= 1 << 20);
    if (kind == NXA_OK)
      at += piece;
    else
      NET_STEP_UNTIL(n, ++refused && drain(n->engine, NXA_EVENT_SEND) > 0);
  }
  assert_true(refused > 0);
  assert_int_equal(nxa_call_send_end(call), NXA_OK);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  assert_holds(n, 0, bytes, length);
  nxa_call_free(call);
  free(bytes);
}

static void not_retried_once_the_host_gave_some(void **state) {
  net *n = *state;
  n->request.retries = 2;
  host_part(n, "a", 3);
  fixture_answer(n->server, 503, NULL, "later");
  nxa_call *call = net_start(n);
  await_send(n, call);
  nxa_call_send(call, "123", 3);
  net_await(n, call);
  assert_failed(call, NXA_SERVER, "later");
  assert_int_equal(nxa_call_error(call)->attempts, 1);
  nxa_call_free(call);
}

static void retried_before_the_host_gave_any(void **state) {
  net *n = *state;
  n->request.retries = 1;
  host_part(n, "a", 3);
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nlater",
                                         .early = true,
                                         .end = FIXTURE_CLOSE});
  nxa_call *call = net_start(n);
  await_requests(n, 1);
  await_pause(n);
  move_clock(0.51);
  NET_STEP_UNTIL(n, drain(n->engine, NXA_EVENT_SEND) > 0);
  nxa_call_send(call, "123", 3);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  assert_int_equal(nxa_call_response(call)->attempts, 2);
  nxa_call_free(call);
}

/* It must not begin on a connection that may be closed already: the bytes can't be had again. */
static void bytes_of_the_host_on_a_fresh_connection(void **state) {
  net *n = *state;
  n->request.retries = 1;
  fixture_add(n->server,
              (fixture_reply){.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", .end = FIXTURE_CLOSE});
  nxa_call_free(net_run(n));
  host_part(n, "a", 3);
  nxa_call *call = net_start(n);
  nxa_call_send(call, "123", 3);
  net_await(n, call);
  assert_succeeded(call, 200, "{}");
  nxa_call_free(call);
}

static void refused_while_the_host_is_waited_for(void **state) {
  net *n = *state;
  nxa_event event;
  host_part(n, "a", -1);
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nwrong key",
                                         .early = true,
                                         .end = FIXTURE_HALF_CLOSE});
  nxa_call *call = net_run(n);
  assert_failed(call, NXA_AUTHENTICATION, "wrong key");
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_DONE);
  nxa_call_free(call);
}

/* libcurl goes on to ask for the part where the server said that it will close: the text may come later than the head.
 */
static void refused_by_a_server_that_closes(void **state) {
  net *n = *state;
  const char *answer = "HTTP/1.1 413 No\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large";
  host_part(n, "a", -1);
  fixture_add(
      n->server,
      (fixture_reply){
          .bytes = answer, .early = true, .gate = 1, .gate_after = strlen(answer) - 5, .end = FIXTURE_HALF_CLOSE});
  nxa_call *call = net_start(n);
  NET_STEP_UNTIL(n, nxa_call_done(call) || call->body.length == 4);
  fixture_open_gate(n->server, 1);
  net_await(n, call);
  assert_failed(call, NXA_STATUS, "too large");
  nxa_call_free(call);
}

static void cancelled_while_the_host_is_waited_for(void **state) {
  net *n = *state;
  nxa_event event;
  host_part(n, "a", -1);
  nxa_call *call = net_start(n);
  NET_STEP_UNTIL(n, nxa__call_awaits_host(call));
  nxa_call_cancel(call);
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_DONE);
  assert_false(nxa_engine_next_event(n->engine, &event));
  nxa_call_free(call);
}

static void sent_to_a_call_that_takes_nothing(void **state) {
  net *n = *state;
  nxa_call *call = net_start(n);
  assert_int_equal(nxa_call_send(call, "x", 1), NXA_INVALID);
  assert_int_equal(nxa_call_send_end(call), NXA_INVALID);
  nxa_call_free(call);
}

/* ---- time */

static void the_host_may_take_its_time(void **state) {
  net *n = *state;
  n->request.timeout = 5;
  n->request.deadline = 100;
  host_part(n, "a", -1);
  nxa_call *call = net_start(n);
  for (int i = 0; i < 3; i++) {
    await_send(n, call);
    move_clock(20);
    nxa_engine_step(n->engine, 0, 0);
    assert_false(nxa_call_done(call));
    nxa_call_send(call, "x", 1);
  }
  await_send(n, call);
  move_clock(40.1);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(call, NXA_TIMEOUT, "not all parts for 127.0.0.1:");
  assert_failed(call, NXA_TIMEOUT, "were sent within the deadline of 100 s");
  nxa_call_free(call);
}

/* After the last byte the server has as long to answer as for any request. */
static void the_server_may_not(void **state) {
  net *n = *state;
  n->request.timeout = 5;
  host_part(n, "a", 1);
  fixture_add(n->server, (fixture_reply){.end = FIXTURE_HANG});
  nxa_call *call = net_start(n);
  await_send(n, call);
  move_clock(20);
  nxa_call_send(call, "x", 1);
  await_requests(n, 1);
  move_clock(4.9);
  nxa_engine_step(n->engine, 0, 0);
  assert_false(nxa_call_done(call));
  move_clock(0.2);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(call, NXA_TIMEOUT, " for 5 s");
  nxa_call_free(call);
}

/* Nor once it has refused: its text has as long as any. */
static void a_refusal_whose_text_does_not_come(void **state) {
  net *n = *state;
  n->request.timeout = 5;
  host_part(n, "a", -1);
  fixture_add(n->server, (fixture_reply){.bytes = "HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\n",
                                         .early = true,
                                         .gate = 1,
                                         .end = FIXTURE_HANG});
  nxa_call *call = net_start(n);
  await_send(n, call);
  move_clock(20);
  nxa_engine_step(n->engine, 0, 0);
  fixture_open_gate(n->server, 1);
  NET_STEP_UNTIL(n, !nxa__call_awaits_host(call));
  move_clock(4.9);
  nxa_engine_step(n->engine, 0, 0);
  assert_false(nxa_call_done(call));
  move_clock(0.2);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(call, NXA_AUTHENTICATION, "HTTP 401");
  nxa_call_free(call);
}

/* libcurl doesn't see the end of the connection then. */
static void a_refusal_that_breaks_off(void **state) {
  net *n = *state;
  const char *answer = "HTTP/1.1 413 No\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo";
  host_part(n, "a", -1);
  fixture_add(
      n->server,
      (fixture_reply){
          .bytes = answer, .early = true, .gate = 1, .gate_after = strlen(answer) - 3, .end = FIXTURE_HALF_CLOSE});
  nxa_call *call = net_start(n);
  NET_STEP_UNTIL(n, nxa_call_done(call) || (call->transfer && call->transfer->refusal_awaited));
  fixture_open_gate(n->server, 1);
  NET_STEP_UNTIL(n, nxa_call_done(call) || call->body.length == 3);
  nxa_engine_step(n->engine, 0.02, 0);
  move_clock(10.1);
  nxa_engine_step(n->engine, 0, 0);
  assert_failed(call, NXA_STATUS, "HTTP 413");
  assert_failed(call, NXA_STATUS, ": too");
  nxa_call_free(call);
}

/* ---- progress */

static void a_call_tells_how_far_it_is(void **state) {
  net *n = *state;
  nxa_progress progress;
  nxa_event event;
  char *bytes = pattern(large_length());
  n->request.progress = true;
  nxa_part *file = text_part(n, "a", "");
  file->data = bytes;
  file->data_length = large_length();
  nxa_call *call = net_start(n);
  nxa_call_progress(call, &progress);
  assert_true(progress.sent == 0 && progress.send_total < 0 && progress.received == 0 && progress.receive_total < 0);
  int64_t before = 0;
  size_t told = 0;
  while (!nxa_call_done(call)) {
    nxa_engine_step(n->engine, 0.02, 0);
    while (nxa_engine_next_event(n->engine, &event) && event.type == NXA_EVENT_PROGRESS) {
      told++;
      nxa_call_progress(call, &progress);
      assert_true(progress.sent >= before && progress.sent <= progress.send_total);
      before = progress.sent;
    }
  }
  nxa_call_progress(call, &progress);
  assert_true(told >= 1);
  assert_true(progress.sent == progress.send_total && progress.sent > (int64_t)large_length());
  assert_true(progress.received == 2 && progress.receive_total == 2);
  assert_succeeded(call, 200, "{}");
  nxa_call_free(call);
  free(bytes);
}

/* One event at once, the next one 50 ms later, and the last one before the end. */
static void progress_is_told_now_and_then(void **state) {
  net *n = *state;
  nxa_event event;
  nxa_progress progress;
  n->request.progress = true;
  host_part(n, "a", -1);
  fixture_answer(n->server, 200, NULL, "answer");
  nxa_call *call = net_start(n);
  NET_STEP_UNTIL(n, nxa__call_awaits_host(call));
  for (int i = 0; i < 5; i++)
    nxa_engine_step(n->engine, 0.001, 0);
  drain(n->engine, NXA_EVENT_PROGRESS);
  for (int i = 0; i < 5; i++) {
    nxa_call_send(call, "x", 1);
    NET_STEP_UNTIL(n, nxa__call_awaits_host(call));
    nxa_engine_step(n->engine, 0.001, 0);
    assert_int_equal(drain(n->engine, NXA_EVENT_PROGRESS), 0);
  }
  nxa_call_progress(call, &progress);
  assert_true(progress.sent > 0 && progress.send_total < 0);
  move_clock(0.051);
  nxa_engine_step(n->engine, 0, 0);
  assert_int_equal(drain(n->engine, NXA_EVENT_PROGRESS), 1);
  nxa_engine_step(n->engine, 0, 0);
  assert_int_equal(drain(n->engine, NXA_EVENT_PROGRESS), 0);
  nxa_call_send_end(call);
  net_await(n, call);
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_PROGRESS);
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_DONE);
  nxa_call_progress(call, &progress);
  assert_true(progress.received == 6 && progress.receive_total == 6);
  nxa_call_free(call);
}

static void no_progress_where_none_is_asked_for(void **state) {
  net *n = *state;
  nxa_progress progress;
  nxa_call *call = net_run(n);
  assert_int_equal(drain(n->engine, NXA_EVENT_PROGRESS), 0);
  nxa_call_progress(call, &progress);
  assert_true(progress.received == 0 && progress.receive_total < 0);
  nxa_call_free(call);
}

static void a_cancelled_call_tells_nothing_more(void **state) {
  net *n = *state;
  nxa_event event;
  n->request.progress = true;
  host_part(n, "a", -1);
  nxa_call *call = net_start(n);
  NET_STEP_UNTIL(n, nxa__call_awaits_host(call));
  nxa_call_cancel(call);
  assert_true(nxa_engine_next_event(n->engine, &event));
  assert_int_equal(event.type, NXA_EVENT_DONE);
  assert_false(nxa_engine_next_event(n->engine, &event));
  nxa_call_free(call);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      REAL(parts_from_memory),
      REAL(plain_requests_after_parts),
      REAL(an_endpoint_with_a_type),
      REAL(a_part_from_a_file),
      REAL(a_large_file),
      REAL(many_files),
      REAL(refused_parts),
      REAL(refused_files),
      REAL(parts_and_what_does_not_go_with_them),
      FAKE(parts_are_sent_again),
      FAKE(parts_on_a_kept_connection_that_closes),
      REAL(why_they_are_not_sent_again),
      REAL(a_file_that_is_gone),
      REAL(a_file_that_shrinks),
      REAL(a_file_that_grows),
      REAL(refused_before_it_is_sent),
      REAL(a_part_from_the_host),
      REAL(parts_of_known_sizes),
      REAL(what_the_host_sends_is_bounded),
      REAL(not_retried_once_the_host_gave_some),
      FAKE(retried_before_the_host_gave_any),
      REAL(bytes_of_the_host_on_a_fresh_connection),
      REAL(refused_while_the_host_is_waited_for),
      REAL(refused_by_a_server_that_closes),
      REAL(cancelled_while_the_host_is_waited_for),
      REAL(sent_to_a_call_that_takes_nothing),
      FAKE(the_host_may_take_its_time),
      FAKE(the_server_may_not),
      FAKE(a_refusal_whose_text_does_not_come),
      FAKE(a_refusal_that_breaks_off),
      REAL(a_call_tells_how_far_it_is),
      FAKE(progress_is_told_now_and_then),
      REAL(no_progress_where_none_is_asked_for),
      REAL(a_cancelled_call_tells_nothing_more),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
