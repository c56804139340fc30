#include "request.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "alloc.h"
#include "endpoint.h"
#include "error.h"
#include "text.h"

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
static const char default_type[] = "application/json";
/* Lines that libcurl could write, too; but what it is given it formats once, and its own twice, byte by byte. */
static char agent[] = "User-Agent: nexus-assistants/" NXA_VERSION;
static char encoding[] = "Accept-Encoding: gzip";
/* Libcurl must not ask for compression where that isn't worth it, nor wait for leave to send a body, nor call one a
 * form. */
static char no_encoding[] = "Accept-Encoding:";
static char no_expect[] = "Expect:";
static char no_type[] = "Content-Type:";
/* bytes of a body; below, no libcurl asks for leave */
#define MAY_EXPECT 1024
#define SHORT_ANSWER ((size_t)64 << 10) /* bytes of one that needs no compression */
#define OWN_HEADERS 4                   /* at most: agent, encoding, type, Expect */

void nxa_request_init(nxa_request *request) {
  memset(request, 0, sizeof *request);
  request->timeout = 600;
  request->deadline = 1800;
  request->retries = 2;
  request->max_response = (size_t)64 << 20;
}

void nxa_part_init(nxa_part *part) {
  memset(part, 0, sizeof *part);
  part->size = -1;
}

/* ---- checks */

static const char *find_method(const char *name) {
  for (size_t i = 0; name && i < sizeof methods / sizeof *methods; i++)
    if (strcmp(name, methods[i]) == 0)
      return methods[i];
  return NULL;
}

static bool may_have_body(const char *method) {
  return strcmp(method, "GET") != 0 && strcmp(method, "DELETE") != 0;
}

/* "." and "..", also where the dots are escaped: servers resolve both. */
static bool is_dots(const char *segment, size_t length) {
  size_t dots = 0, at = 0;
  for (; at < length; dots++) {
    bool escaped = length - at >= 3 && (memcmp(segment + at, "%2e", 3) == 0 || memcmp(segment + at, "%2E", 3) == 0);
    if (!escaped && segment[at] != '.')
      return false;
    at += escaped ? 3 : 1;
  }
  return dots == 1 || dots == 2;
}

static const char *segments_fault(const char *path) {
  while (*path == '/') {
    size_t length = strcspn(++path, "/");
    if (length == 0 && path[length] == '/')
      return "holds an empty segment (\"//\")";
    if (is_dots(path, length))
      return "holds a segment of dots";
    path += length;
  }
  return NULL;
}

static const char *path_fault(const char *path) {
  if (!path || *path != '/')
    return "must begin with '/'";
  if (!nxa__is_printable(path, strlen(path), false))
    return "holds a space or a control character: it must be escaped";
  if (strpbrk(path, "?#\\"))
    return "holds '?', '#' or '\\': it must be escaped";
  return segments_fault(path);
}

static const char *query_fault(const char *query) {
  if (query && (!nxa__is_printable(query, strlen(query), false) || strchr(query, '#')))
    return "holds a space, a control character or '#': it must be escaped";
  return NULL;
}

static bool is_time(double seconds) {
  return isfinite(seconds) && seconds > 0;
}

static nxa_kind check_numbers(const nxa_request *request, nxa_error *error) {
  if (!is_time(request->timeout))
    return nxa__error_set(error, NXA_INVALID, "timeout must be a number of seconds above 0");
  if (!is_time(request->deadline))
    return nxa__error_set(error, NXA_INVALID, "deadline must be a number of seconds above 0");
  if (request->retries < 0 || request->retries > 1000)
    return nxa__error_set(error, NXA_INVALID, "retries must be from 0 to 1000");
  if (request->max_response == 0)
    return nxa__error_set(error, NXA_INVALID, "max_response must be above 0");
  if (request->stream < NXA_STREAM_NONE || request->stream > NXA_STREAM_BYTES)
    return nxa__error_set(error, NXA_INVALID, "stream must be one of nxa_stream_mode");
  return NXA_OK;
}

static nxa_kind check_headers(const nxa_request *request, nxa_error *error) {
  if (request->header_count > 1000)
    return nxa__error_set(error, NXA_INVALID, "headers: more than 1000");
  for (size_t i = 0; i < request->header_count; i++) {
    const char *fault = request->headers[i] ? nxa__header_fault(request->headers[i]) : "is NULL";
    if (fault)
      return nxa__error_set(error, NXA_INVALID, "headers: entry %zu %s", i + 1, fault);
  }
  return NXA_OK;
}

static nxa_kind check_body(const nxa_request *request, nxa_error *error) {
  const char *type = request->content_type;
  if (!request->body && request->body_length > 0)
    return nxa__error_set(error, NXA_INVALID, "body is NULL but body_length is not 0");
  if (request->body_length > SIZE_MAX / 4)
    return nxa__error_set(error, NXA_INVALID, "body_length is too large");
  if (type && (!*type || !nxa__is_printable(type, strlen(type), true)))
    return nxa__error_set(error, NXA_INVALID, "content_type is empty, or holds a control character");
  return NXA_OK;
}

static bool names_header(const nxa_request *request, const char *line, size_t name) {
  for (size_t i = 0; i < request->header_count; i++) {
    const char *other = request->headers[i];
    if (nxa__header_name_length(other) == name && nxa__same_name(other, line, name))
      return true;
  }
  return false;
}

/* The parts themselves are checked when they are frozen. */
static nxa_kind check_parts(const nxa_request *request, nxa_error *error) {
  const char *type_name = nxa__own_headers[NXA__HEADER_TYPE];
  if (!request->parts && request->part_count > 0)
    return nxa__error_set(error, NXA_INVALID, "parts is NULL but part_count is not 0");
  if (!request->parts)
    return NXA_OK;
  if (request->part_count == 0)
    return nxa__error_set(error, NXA_INVALID, "parts: there is none");
  if (request->body)
    return nxa__error_set(error, NXA_INVALID, "body and parts can't go together");
  if (request->content_type || names_header(request, type_name, strlen(type_name)))
    return nxa__error_set(error, NXA_INVALID, "parts have a Content-Type of their own");
  if (!may_have_body(request->method))
    return nxa__error_set(error, NXA_INVALID, "parts need the method POST, PUT or PATCH");
  return NXA_OK;
}

static nxa_kind check(const nxa_request *request, nxa_error *error) {
  if (!request->endpoint)
    return nxa__error_set(error, NXA_INVALID, "endpoint is required");
  if (!find_method(request->method))
    return nxa__error_set(error, NXA_INVALID, "method must be one of GET, POST, PUT, PATCH, DELETE");
  const char *fault = path_fault(request->path);
  if (fault)
    return nxa__error_set(error, NXA_INVALID, "path %s", fault);
  fault = query_fault(request->query);
  if (fault)
    return nxa__error_set(error, NXA_INVALID, "query %s", fault);
  if (check_numbers(request, error) != NXA_OK || check_headers(request, error) != NXA_OK)
    return NXA_INVALID;
  return check_body(request, error) == NXA_OK ? check_parts(request, error) : NXA_INVALID;
}

/* ---- freezing: measure, allocate once, fill */

static bool is_ascii(char c) {
  return ((unsigned char)c & 0x80) == 0;
}

/* Bytes that no URL can have on the wire take three. */
static size_t escaped_length(const char *text) {
  size_t length = 0;
  for (; *text; text++)
    length += is_ascii(*text) ? 1 : 3;
  return length;
}

static size_t url_size(const nxa_request *request) {
  const char *query = nxa__endpoint_query(request->endpoint);
  size_t size = escaped_length(nxa_endpoint_base_url(request->endpoint)) + escaped_length(request->path) + 1;
  size += query ? 1 + escaped_length(query) : 0;
  return size + (request->query ? 1 + escaped_length(request->query) : 0);
}

static size_t texts_size(const nxa_request *request) {
  size_t size = url_size(request);
  for (size_t i = 0; i < request->header_count; i++)
    size += strlen(request->headers[i]) + 1;
  size += sizeof "Content-Type: " + strlen(request->content_type ? request->content_type : default_type);
  return size + request->body_length + 1;
}

static char *put(char *at, const char *text) {
  size_t length = strlen(text);
  memcpy(at, text, length + 1);
  return at + length;
}

static const char *base_path(const nxa_endpoint *endpoint) {
  const char *url = nxa_endpoint_base_url(endpoint);
  const char *host = strstr(url, "://") + 3;
  return host + strcspn(host, "/");
}

static char *put_escaped(char *at, const char *text) {
  static const char digits[] = "0123456789ABCDEF";
  for (; *text; text++) {
    if (is_ascii(*text)) {
      *at++ = *text;
      continue;
    }
    *at++ = '%';
    *at++ = digits[(unsigned char)*text >> 4];
    *at++ = digits[(unsigned char)*text & 15];
  }
  return at;
}

/* The host's name is libcurl's to encode. */
static char *put_url(nxa__frozen *frozen, const nxa_request *request, char *at) {
  const char *queries[2] = {nxa__endpoint_query(request->endpoint), request->query};
  const char *base = nxa_endpoint_base_url(request->endpoint), *path = base_path(request->endpoint);
  char separator = '?';
  frozen->url = at;
  memcpy(at, base, (size_t)(path - base));
  at += path - base;
  frozen->target = at;
  at = put_escaped(at, path);
  at = put_escaped(at, request->path);
  for (int i = 0; i < 2; i++) {
    if (!queries[i] || !*queries[i])
      continue;
    *at++ = separator;
    at = put_escaped(at, queries[i]);
    separator = '&';
  }
  *at = '\0';
  return at + 1;
}

static struct curl_slist *put_line(struct curl_slist *node, char *line) {
  node->data = line;
  node->next = node + 1;
  return node + 1;
}

static char *put_header(char *at, const char *line) {
  char *end = put(at, line) + 1;
  nxa__header_notate(at);
  return end;
}

static bool is_named(const nxa_request *request, nxa__own_header header) {
  const char *name = nxa__own_headers[header];
  return nxa__endpoint_names(request->endpoint, header) || names_header(request, name, strlen(name));
}

static char *put_type(nxa__frozen *frozen, const nxa_request *request, struct curl_slist **node, char *at) {
  /* that of parts is libcurl's to write: it knows what stands between them */
  if (request->parts || is_named(request, NXA__HEADER_TYPE))
    return at;
  if (!frozen->body) {
    if (may_have_body(request->method))
      *node = put_line(*node, no_type);
    return at;
  }
  *node = put_line(*node, at);
  at = put(at, "Content-Type: ");
  return put(at, request->content_type ? request->content_type : default_type) + 1;
}

static char *put_headers(nxa__frozen *frozen, const nxa_request *request, struct curl_slist *node, char *at) {
  frozen->headers = node;
  for (size_t i = 0; i < request->header_count; i++) {
    node = put_line(node, at);
    at = put_header(at, request->headers[i]);
  }
  for (size_t i = 0; i < nxa__endpoint_header_count(request->endpoint); i++) {
    char *line = nxa__endpoint_header(request->endpoint, i);
    size_t name = strcspn(line, ":;");
    bool is_type = request->parts && nxa__same_word(line, name, nxa__own_headers[NXA__HEADER_TYPE]);
    if (!is_type && !names_header(request, line, name))
      node = put_line(node, line);
  }
  if (!is_named(request, NXA__HEADER_AGENT))
    node = put_line(node, agent);
  if (!frozen->stream && !is_named(request, NXA__HEADER_ENCODING))
    node = put_line(node, request->max_response > SHORT_ANSWER ? encoding : no_encoding);
  at = put_type(frozen, request, &node, at);
  if (request->parts || request->body_length >= MAY_EXPECT)
    node = put_line(node, no_expect);
  node[-1].next = NULL;
  return at;
}

static void put_body(const nxa_request *request, char *at) {
  if (!request->body)
    return;
  if (request->body_length)
    memcpy(at, request->body, request->body_length);
  at[request->body_length] = '\0';
}

static void fill(nxa__frozen *frozen, const nxa_request *request, struct curl_slist *nodes, char *texts) {
  frozen->count = 1;
  frozen->endpoint = nxa__endpoint_retain(request->endpoint);
  frozen->method = find_method(request->method);
  frozen->body_length = request->body_length;
  frozen->stream = request->stream != NXA_STREAM_NONE;
  frozen->progress = request->progress;
  frozen->special = frozen->stream || frozen->progress || frozen->parts;
  texts = put_url(frozen, request, texts);
  frozen->body = request->body ? texts : NULL; /* that there is one decides about its type */
  texts = put_headers(frozen, request, nodes, texts);
  frozen->body = request->body ? texts : NULL;
  put_body(request, texts);
}

nxa__frozen *nxa__request_freeze(const nxa_request *request, nxa_error *error) {
  if (check(request, error) != NXA_OK)
    return NULL;
  nxa__parts *parts = request->parts ? nxa__parts_freeze(request->parts, request->part_count, error) : NULL;
  if (request->parts && !parts)
    return NULL;
  size_t nodes = request->header_count + nxa__endpoint_header_count(request->endpoint) + OWN_HEADERS;
  size_t front = sizeof(nxa__frozen) + nodes * sizeof(struct curl_slist);
  nxa__frozen *frozen = nxa__allocate(front + texts_size(request));
  if (!frozen) {
    nxa__release(parts);
    nxa__error_memory(error);
    return NULL;
  }
  frozen->parts = parts;
  fill(frozen, request, (struct curl_slist *)(frozen + 1), (char *)frozen + front);
  return frozen;
}

nxa__frozen *nxa__frozen_retain(nxa__frozen *frozen) {
  frozen->count++;
  return frozen;
}

void nxa__frozen_release(nxa__frozen *frozen) {
  if (!frozen || --frozen->count > 0)
    return;
  nxa__endpoint_release(frozen->endpoint);
  nxa__release(frozen->parts);
  nxa__release(frozen);
}
