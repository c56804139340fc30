#include "http_fixture.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

enum { MOST = 4096, URL_SIZE = 64 };

typedef struct script_entry {
  fixture_reply reply;
  char *owned;
  bool used;
} script_entry;

struct fixture {
  int listener;
  char url[URL_SIZE];
  pthread_t acceptor;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool stopping;
  int gate;
  script_entry script[MOST];
  size_t script_length;
  char *requests[MOST];
  size_t request_lengths[MOST];
  size_t request_count;
  int connections[MOST];
  pthread_t threads[MOST];
  size_t connection_count;
};

typedef struct connection {
  fixture *server;
  int fd;
  char *text;
  size_t length;
  size_t request_length;
} connection;

/* ---- requests */

static size_t content_length(const char *head) {
  for (const char *line = head; line; line = strstr(line, "\r\n")) {
    if (line != head)
      line += 2;
    if (strncasecmp(line, "content-length:", 15) == 0)
      return (size_t)strtoul(line + 15, NULL, 10);
  }
  return 0;
}

static bool is_chunked(const char *head) {
  const char *end = strstr(head, "\r\n\r\n"), *line = strstr(head, "\r\nTransfer-Encoding: chunked\r\n");
  return line && line < end;
}

/* The length of what is chunked, the last chunk included; 0 where it isn't all there. */
static size_t whole_chunks(const char *text, size_t length) {
  for (size_t at = 0; at < length;) {
    char *end;
    size_t size = (size_t)strtoul(text + at, &end, 16);
    at = (size_t)(end - text) + 2 + size + 2;
    if (size == 0 && at <= length)
      return at;
  }
  return 0;
}

/* The length of the whole request at the start of the text, 0 where it isn't all there. */
static size_t whole_request(const char *text, size_t length) {
  const char *end = strstr(text, "\r\n\r\n");
  if (!end)
    return 0;
  size_t head = (size_t)(end - text) + 4;
  if (is_chunked(text)) {
    size_t chunks = whole_chunks(text + head, length - head);
    return chunks ? head + chunks : 0;
  }
  size_t whole = head + content_length(text);
  return whole <= length ? whole : 0;
}

char *fixture_body(char *request, size_t *length) {
  char *body = strstr(request, "\r\n\r\n") + 4, *to = body, *from = body;
  *length = content_length(request);
  if (!is_chunked(request))
    return body;
  for (size_t size; (size = (size_t)strtoul(from, &from, 16)) > 0; to += size, from += size + 2)
    memmove(to, from += 2, size);
  *to = '\0';
  *length = (size_t)(to - body);
  return body;
}

static bool receive_more(connection *client) {
  char piece[65536];
  ssize_t got = recv(client->fd, piece, sizeof piece, 0);
  if (got <= 0)
    return false;
  client->text = realloc(client->text, client->length + (size_t)got + 1);
  memcpy(client->text + client->length, piece, (size_t)got);
  client->length += (size_t)got;
  client->text[client->length] = '\0';
  return true;
}

static bool fits(const fixture_reply *reply, const char *request);

static bool early_reply_waits(fixture *server, const char *request) {
  bool waits = false;
  pthread_mutex_lock(&server->lock);
  for (size_t i = 0; i < server->script_length && !waits; i++) {
    const script_entry *entry = &server->script[i];
    if (entry->used || !fits(&entry->reply, request))
      continue;
    waits = entry->reply.early;
    break;
  }
  pthread_mutex_unlock(&server->lock);
  return waits;
}

static char *receive_request(connection *client) {
  size_t whole;
  while ((whole = client->length ? whole_request(client->text, client->length) : 0) == 0) {
    if (client->length && strstr(client->text, "\r\n\r\n") && early_reply_waits(client->server, client->text)) {
      whole = client->length;
      break;
    }
    if (!receive_more(client))
      return NULL;
  }
  char *request = calloc(1, whole + 1);
  memcpy(request, client->text, whole);
  client->request_length = whole;
  memmove(client->text, client->text + whole, client->length - whole + 1);
  client->length -= whole;
  return request;
}

static bool fits(const fixture_reply *reply, const char *request) {
  if (!reply->path)
    return true;
  const char *path = strchr(request, ' ') + 1;
  size_t length = strcspn(path, " ?");
  return length == strlen(reply->path) && memcmp(path, reply->path, length) == 0;
}

static fixture_reply take_reply(connection *client, char *request) {
  fixture *server = client->server;
  static const fixture_reply fallback = {
      .bytes = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"};
  fixture_reply reply = fallback;
  pthread_mutex_lock(&server->lock);
  if (server->request_count < MOST) {
    server->request_lengths[server->request_count] = client->request_length;
    server->requests[server->request_count++] = request;
  }
  for (size_t i = 0; i < server->script_length; i++) {
    if (server->script[i].used || !fits(&server->script[i].reply, request))
      continue;
    server->script[i].used = true;
    reply = server->script[i].reply;
    break;
  }
  pthread_mutex_unlock(&server->lock);
  return reply;
}

/* ---- answers */

static void wait_for_gate(fixture *server, int gate) {
  pthread_mutex_lock(&server->lock);
  while (server->gate < gate && !server->stopping)
    pthread_cond_wait(&server->changed, &server->lock);
  pthread_mutex_unlock(&server->lock);
}

static bool send_all(int fd, const char *bytes, size_t length, size_t piece) {
  for (size_t at = 0; at < length;) {
    size_t size = piece && piece < length - at ? piece : length - at;
    ssize_t sent = send(fd, bytes + at, size, MSG_NOSIGNAL);
    if (sent <= 0)
      return false;
    at += (size_t)sent;
  }
  return true;
}

static bool send_reply(connection *client, const fixture_reply *reply) {
  size_t length = reply->length ? reply->length : reply->bytes ? strlen(reply->bytes) : 0;
  size_t first = reply->gate && reply->gate_after < length ? reply->gate_after : length;
  if (reply->gate && reply->gate_after == 0)
    first = 0;
  if (first > 0 && !send_all(client->fd, reply->bytes, first, reply->piece))
    return false;
  if (reply->gate)
    wait_for_gate(client->server, reply->gate);
  return length == first || send_all(client->fd, reply->bytes + first, length - first, reply->piece);
}

static void reset(int fd) {
  struct linger hard = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

static bool answer(connection *client, char *request) {
  fixture_reply reply = take_reply(client, request);
  bool sent = send_reply(client, &reply);
  if (reply.end == FIXTURE_RESET)
    reset(client->fd);
  if (reply.end == FIXTURE_HALF_CLOSE)
    shutdown(client->fd, SHUT_WR);
  if (reply.end == FIXTURE_HALF_CLOSE || reply.end == FIXTURE_HANG)
    wait_for_gate(client->server, 1 << 30);
  return sent && reply.end == FIXTURE_KEEP;
}

static void close_connection(connection *client) {
  fixture *server = client->server;
  pthread_mutex_lock(&server->lock);
  for (size_t i = 0; i < server->connection_count; i++)
    if (server->connections[i] == client->fd)
      server->connections[i] = -1;
  close(client->fd);
  pthread_mutex_unlock(&server->lock);
  free(client->text);
  free(client);
}

static void *serve(void *data) {
  connection *client = data;
  char *request;
  while ((request = receive_request(client)) && answer(client, request))
    ;
  close_connection(client);
  return NULL;
}

/* ---- life */

static void begin(fixture *server, int fd) {
  connection *client = calloc(1, sizeof *client);
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  client->server = server;
  client->fd = fd;
  pthread_mutex_lock(&server->lock);
  size_t index = server->connection_count++;
  server->connections[index] = fd;
  pthread_create(&server->threads[index], NULL, serve, client);
  if (server->stopping)
    shutdown(fd, SHUT_RDWR);
  pthread_mutex_unlock(&server->lock);
}

static void *accept_all(void *data) {
  fixture *server = data;
  int fd;
  while ((fd = accept(server->listener, NULL, NULL)) >= 0)
    begin(server, fd);
  return NULL;
}

/* A socket of its own on a port that nobody has. */
static int bind_any(char url[URL_SIZE]) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(fd, (struct sockaddr *)&address, size) != 0)
    abort();
  getsockname(fd, (struct sockaddr *)&address, &size);
  snprintf(url, URL_SIZE, "http://127.0.0.1:%d", ntohs(address.sin_port));
  return fd;
}

const char *fixture_nobody(void) {
  static char url[URL_SIZE];
  if (!*url)
    bind_any(url);
  return url;
}

fixture *fixture_start(void) {
  fixture *server = calloc(1, sizeof *server);
  server->listener = bind_any(server->url);
  if (listen(server->listener, 512) != 0)
    abort();
  pthread_mutex_init(&server->lock, NULL);
  pthread_cond_init(&server->changed, NULL);
  pthread_create(&server->acceptor, NULL, accept_all, server);
  return server;
}

static void end_connections(fixture *server) {
  pthread_mutex_lock(&server->lock);
  server->stopping = true;
  pthread_cond_broadcast(&server->changed);
  for (size_t i = 0; i < server->connection_count; i++)
    if (server->connections[i] >= 0)
      shutdown(server->connections[i], SHUT_RDWR);
  pthread_mutex_unlock(&server->lock);
}

void fixture_stop(fixture *server) {
  shutdown(server->listener, SHUT_RDWR);
  pthread_join(server->acceptor, NULL);
  end_connections(server);
  for (size_t i = 0; i < server->connection_count; i++)
    pthread_join(server->threads[i], NULL);
  close(server->listener);
  for (size_t i = 0; i < server->request_count; i++)
    free(server->requests[i]);
  for (size_t i = 0; i < server->script_length; i++)
    free(server->script[i].owned);
  pthread_mutex_destroy(&server->lock);
  pthread_cond_destroy(&server->changed);
  free(server);
}

const char *fixture_url(const fixture *server) {
  return server->url;
}

/* ---- the script */

static void add(fixture *server, fixture_reply reply, char *owned) {
  pthread_mutex_lock(&server->lock);
  server->script[server->script_length++] = (script_entry){reply, owned, false};
  pthread_mutex_unlock(&server->lock);
}

void fixture_add(fixture *server, fixture_reply reply) {
  add(server, reply, NULL);
}

void fixture_add_owned(fixture *server, fixture_reply reply) {
  add(server, reply, (char *)(uintptr_t)reply.bytes);
}

void fixture_answer(fixture *server, int status, const char *headers, const char *body) {
  size_t size = strlen(body) + (headers ? strlen(headers) : 0) + 100;
  char *text = malloc(size);
  snprintf(text, size, "HTTP/1.1 %d Status\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers ? headers : "",
           strlen(body), body);
  add(server, (fixture_reply){.bytes = text}, text);
}

void fixture_open_gate(fixture *server, int gate) {
  pthread_mutex_lock(&server->lock);
  server->gate = gate;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->lock);
}

/* ---- what came */

size_t fixture_requests(fixture *server) {
  pthread_mutex_lock(&server->lock);
  size_t count = server->request_count;
  pthread_mutex_unlock(&server->lock);
  return count;
}

size_t fixture_connections(fixture *server) {
  pthread_mutex_lock(&server->lock);
  size_t count = server->connection_count;
  pthread_mutex_unlock(&server->lock);
  return count;
}

char *fixture_request(fixture *server, size_t index) {
  pthread_mutex_lock(&server->lock);
  const char *text = index < server->request_count ? server->requests[index] : NULL;
  size_t length = text ? server->request_lengths[index] : 0;
  char *copy = text ? calloc(1, length + 1) : NULL;
  if (copy)
    memcpy(copy, text, length);
  pthread_mutex_unlock(&server->lock);
  return copy;
}
