#include "transfer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "call.h"
#include "endpoint.h"

#define SHORTEST_HIDDEN 8 /* bytes: what is shorter is no key, and may be a word of the text */

/* ---- callbacks */

/* A request that is refused need not be sent to its end; but libcurl would wait for the end of a pause. */
static void stop_waiting(nxa__transfer *transfer) {
  if (!transfer->send_paused || !nxa__call_is_refused(transfer->call))
    return;
  transfer->send_paused = false;
  nxa__call_count_silence(transfer->call);
  nxa__transfer_resume(transfer);
}

static size_t on_header(char *line, size_t size, size_t count, void *data) {
  nxa__transfer *transfer = data;
  size_t length = size * count;
  if (!transfer->call || !nxa__call_take_header(transfer->call, line, length))
    return 0;
  stop_waiting(transfer);
  return length;
}

static bool has_whole_answer(const nxa__transfer *transfer) {
  nxa_progress progress;
  nxa__transfer_progress(transfer, &progress);
  return progress.received >= progress.receive_total;
}

size_t nxa__transfer_stop_sending(nxa__transfer *transfer) {
  transfer->refusal_awaited = !has_whole_answer(transfer);
  return transfer->refusal_awaited ? CURL_READFUNC_PAUSE : CURL_READFUNC_ABORT;
}

static void end_with_refusal(nxa__transfer *transfer) {
  if (!transfer->refusal_awaited || !has_whole_answer(transfer))
    return;
  transfer->refusal_awaited = false;
  nxa__transfer_resume(transfer);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data) {
  nxa__transfer *transfer = data;
  size_t length = size * count;
  nxa__taking taking = transfer->call ? nxa__call_take_body(transfer->call, bytes, length) : NXA__TAKE_NEVER;
  if (taking == NXA__TAKE_LATER) {
    transfer->receive_paused = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  end_with_refusal(transfer);
  /* libcurl takes 0 for a failure, and for all of an empty piece */
  return taking == NXA__TAKEN ? length : (length == 0);
}

static int on_resolver_start(void *state, void *reserved, void *data) {
  nxa__transfer *transfer = data;
  (void)state;
  (void)reserved;
  transfer->resolving = true;
  return 0;
}

/* The address in libcurl's struct goes on behind its end. */
static void note_peer(nxa__transfer *transfer, const struct curl_sockaddr *address) {
  size_t length = address->addrlen < sizeof transfer->peer ? address->addrlen : sizeof transfer->peer;
  memcpy(&transfer->peer, (const char *)address + offsetof(struct curl_sockaddr, addr), length);
}

static curl_socket_t on_open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address) {
  nxa__transfer *transfer = data;
  (void)purpose;
  transfer->resolving = false;
  if (!transfer->call)
    return CURL_SOCKET_BAD;
  note_peer(transfer, address);
#ifdef SOCK_CLOEXEC
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
#else
  int fd = socket(address->family, address->socktype, address->protocol);
#endif
  return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_progress(void *data, curl_off_t receive_total, curl_off_t received, curl_off_t send_total,
                       curl_off_t sent) {
  nxa__transfer *transfer = data;
  (void)receive_total;
  (void)send_total;
  if (transfer->call)
    nxa__call_progressed(transfer->call, received + sent);
  return 0;
}

#if LIBCURL_VERSION_NUM >= 0x075000
#define HAS_PREREQUEST 1

static int on_request(void *data, char *remote, char *local, int remote_port, int local_port) {
  nxa__transfer *transfer = data;
  (void)remote;
  (void)local;
  (void)remote_port;
  (void)local_port;
  transfer->sendings++;
  return transfer->send_once && transfer->sendings > 1 ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}
#endif

/* ---- options */

/* curl_easy_setopt is a macro that wants the option by name; a failure is always want of memory. */
#define SET(option, value) (curl_easy_setopt(easy, option, value) == CURLE_OK)

static bool set_callbacks(CURL *easy, nxa__transfer *transfer) {
  bool set = SET(CURLOPT_PRIVATE, transfer) && SET(CURLOPT_ERRORBUFFER, transfer->detail) &&
             SET(CURLOPT_HEADERFUNCTION, on_header) && SET(CURLOPT_HEADERDATA, transfer) &&
             SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, transfer) &&
             SET(CURLOPT_RESOLVER_START_FUNCTION, on_resolver_start) && SET(CURLOPT_RESOLVER_START_DATA, transfer) &&
             SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket) && SET(CURLOPT_OPENSOCKETDATA, transfer) &&
             SET(CURLOPT_XFERINFOFUNCTION, on_progress) && SET(CURLOPT_XFERINFODATA, transfer);
#ifdef HAS_PREREQUEST
  set = set && SET(CURLOPT_PREREQFUNCTION, on_request) && SET(CURLOPT_PREREQDATA, transfer);
#endif
  return set;
}

static bool set_protocols(CURL *easy) {
#if LIBCURL_VERSION_NUM >= 0x075500
  return SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
  return SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static bool set_quick_exit(CURL *easy) {
#if LIBCURL_VERSION_NUM >= 0x075700
  /* the library that is loaded may be older than the header: then it is as if it wasn't there */
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
  (void)easy;
  return true;
}

bool nxa__transfer_can_quit(void) {
#if LIBCURL_VERSION_NUM >= 0x075700
  return curl_version_info(CURLVERSION_NOW)->version_num >= 0x075700;
#else
  return false;
#endif
}

/*
 * Before 7.88 libcurl let OpenSSL write to sockets by itself, which raises SIGPIPE; without NOSIGNAL it keeps that from
 * the host. Where names are resolved by alarm, NOSIGNAL it must be.
 */
static bool set_signals(CURL *easy) {
  const curl_version_info_data *loaded = curl_version_info(CURLVERSION_NOW);
  bool asynchronous = (loaded->features & CURL_VERSION_ASYNCHDNS) != 0;
  return SET(CURLOPT_NOSIGNAL, asynchronous && loaded->version_num < 0x075800 ? 0L : 1L);
}

/* Those that libcurl knows. */
static bool is_proxy_named(void) {
  static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (getenv(names[i]))
      return true;
  return false;
}

/*
 * Libcurl looks through the environment for each request, while the host may change it. Where no proxy is named as the
 * handle is made, it needn't. A proxy that is asked for a tunnel has none of a request's lines, but is told who asks.
 */
static bool set_proxies(nxa__transfer *transfer) {
  CURL *easy = transfer->easy;
  if (is_proxy_named())
    return SET(CURLOPT_USERAGENT, "nexus-assistants/" NXA_VERSION);
  transfer->url = curl_url();
  return transfer->url && SET(CURLOPT_NOPROXY, "*") && SET(CURLOPT_CURLU, transfer->url);
}

/* Verifying certificates and not following redirects are libcurl's defaults. */
static bool set_constants(nxa__transfer *transfer) {
  CURL *easy = transfer->easy;
  return set_signals(easy) && set_protocols(easy) && set_proxies(transfer) && set_quick_exit(easy) &&
         SET(CURLOPT_ACCEPT_ENCODING, "gzip") && SET(CURLOPT_TCP_KEEPALIVE, 1L) && SET(CURLOPT_PATH_AS_IS, 1L) &&
         SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) && SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
}

/* Without TLS there is no HTTP/2 to wait for, and PIPEWAIT would line up all calls behind the first answer. */
static bool set_version(nxa__transfer *transfer, bool secure) {
  CURL *easy = transfer->easy;
  transfer->secure = secure;
  return SET(CURLOPT_HTTP_VERSION, (long)(secure ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1)) &&
         SET(CURLOPT_PIPEWAIT, secure ? 1L : 0L);
}

static bool set_method(CURL *easy, const nxa__frozen *request) {
  const char *method = request->method;
  if (request->parts)
    return SET(CURLOPT_CUSTOMREQUEST, strcmp(method, "POST") == 0 ? NULL : method);
  bool plain_get = strcmp(method, "GET") == 0, post = strcmp(method, "POST") == 0;
  if (!request->body && (plain_get || strcmp(method, "DELETE") == 0))
    return SET(CURLOPT_HTTPGET, 1L) && SET(CURLOPT_CUSTOMREQUEST, plain_get ? NULL : method);
  return SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length) &&
         SET(CURLOPT_POSTFIELDS, request->body ? request->body : "") &&
         SET(CURLOPT_CUSTOMREQUEST, post ? NULL : method);
}

/*
 * What few requests want is set for them, and back for the next after them.
 *
 * A stream is asked for as it is: where it is paused libcurl would go on decoding what it has read, however much that
 * becomes. And what comes from the host can't be sent once more: it gets a connection that wasn't kept, since such a
 * one may turn out to be closed.
 */
static bool set_special(nxa__transfer *transfer, const nxa__frozen *request) {
  CURL *easy = transfer->easy;
  bool once = request->parts && request->parts->host_count > 0;
  if (!SET(CURLOPT_ACCEPT_ENCODING, request->stream ? NULL : "gzip") || !SET(CURLOPT_FRESH_CONNECT, once ? 1L : 0L) ||
      !SET(CURLOPT_NOPROGRESS, request->progress ? 0L : 1L))
    return false;
  transfer->special = request->special;
  return true;
}

static bool set_trust(CURL *easy, const char *ca_file) {
  return !ca_file || (SET(CURLOPT_CAINFO, ca_file) && SET(CURLOPT_CAPATH, NULL));
}

/* Without a pass phrase, OpenSSL would ask for it on the terminal, and all would wait. */
static bool set_identity(CURL *easy, const char *certificate, const char *key) {
  return !certificate || (SET(CURLOPT_SSLCERT, certificate) && SET(CURLOPT_SSLKEY, key) && SET(CURLOPT_KEYPASSWD, ""));
}

/* libcurl doesn't tell what it trusted before, so there is no way back. */
static bool set_files(nxa__transfer *transfer, const nxa_endpoint *endpoint) {
  CURL *easy = transfer->easy;
  transfer->has_own_files = true;
  return set_trust(easy, nxa__endpoint_ca_file(endpoint)) &&
         set_identity(easy, nxa__endpoint_client_certificate(endpoint), nxa__endpoint_client_key(endpoint));
}

/* ---- life */

nxa__transfer *nxa__transfer_new(void) {
  nxa__transfer *transfer = nxa__allocate_zeroed(sizeof *transfer);
  if (!transfer)
    return NULL;
  transfer->link.owner = transfer;
  transfer->easy = curl_easy_init();
  if (transfer->easy && set_callbacks(transfer->easy, transfer) && set_constants(transfer) &&
      set_version(transfer, false))
    return transfer;
  nxa__transfer_free(transfer);
  return NULL;
}

void nxa__transfer_free(nxa__transfer *transfer) {
  nxa__upload_free(transfer->upload);
  if (transfer->easy)
    curl_easy_cleanup(transfer->easy);
  curl_url_cleanup(transfer->url);
  nxa__release(transfer->base_url);
  nxa__frozen_release(transfer->request);
  nxa__release(transfer);
}

bool nxa__transfer_is_for(const nxa__transfer *transfer, const nxa_endpoint *endpoint) {
  return transfer->base_url && strcmp(transfer->base_url, nxa_endpoint_base_url(endpoint)) == 0;
}

static bool set_base_url(nxa__transfer *transfer, const nxa_endpoint *endpoint) {
  nxa__release(transfer->base_url);
  transfer->base_url = nxa__copy_string(nxa_endpoint_base_url(endpoint));
  return transfer->base_url && curl_url_set(transfer->url, CURLUPART_URL, transfer->base_url, 0) == CURLUE_OK;
}

/*
 * Given a whole URL, libcurl takes it apart and puts it together again each time. So it gets the base in parts and the
 * rest as what is sent. Only a proxy is sent a whole URL.
 */
static bool set_url(nxa__transfer *transfer, const nxa__frozen *request) {
  CURL *easy = transfer->easy;
  if (!transfer->url)
    return SET(CURLOPT_URL, request->url);
  return (nxa__transfer_is_for(transfer, request->endpoint) || set_base_url(transfer, request->endpoint)) &&
         SET(CURLOPT_REQUEST_TARGET, request->target);
}

bool nxa__transfer_prepare(nxa__transfer *transfer, nxa_call *call, nxa__frozen *request) {
  CURL *easy = transfer->easy;
  bool secure = nxa__endpoint_secure(request->endpoint);
  bool has_files = nxa__endpoint_has_files(request->endpoint);
  transfer->call = call;
  transfer->request = nxa__frozen_retain(request);
  transfer->resolving = transfer->send_once = transfer->receive_paused = transfer->send_paused = false;
  transfer->refusal_awaited = false;
  transfer->sendings = 0;
  transfer->peer.ss_family = AF_UNSPEC;
  transfer->detail[0] = '\0';
  return (transfer->secure == secure || set_version(transfer, secure)) &&
         (!has_files || set_files(transfer, request->endpoint)) && set_url(transfer, request) &&
         set_method(easy, request) && SET(CURLOPT_HTTPHEADER, request->headers) &&
         (!(transfer->special || request->special) || set_special(transfer, request)) &&
         (!request->parts || (transfer->upload = nxa__upload_new(transfer, request->parts)));
}

void nxa__transfer_clear(nxa__transfer *transfer) {
  /* what these point to goes away */
  curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
  curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, NULL);
  nxa__upload_free(transfer->upload);
  transfer->upload = NULL;
  nxa__frozen_release(transfer->request);
  transfer->request = NULL;
  transfer->call = NULL;
}

static int paused(const nxa__transfer *transfer) {
  return (transfer->receive_paused ? CURLPAUSE_RECV : 0) | (transfer->send_paused ? CURLPAUSE_SEND : 0);
}

void nxa__transfer_resume(nxa__transfer *transfer) {
  int still = paused(transfer);
  /* libcurl forgets that a part asked for a pause only where the pause has begun; it may still have bytes to send first
   */
  if (transfer->upload && !transfer->send_paused)
    curl_easy_pause(transfer->easy, still | CURLPAUSE_SEND);
  curl_easy_pause(transfer->easy, still);
}

/* ---- asking */

bool nxa__transfer_sent(const nxa__transfer *transfer) {
  long size = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &size);
  return size > 0;
}

void nxa__transfer_progress(const nxa__transfer *transfer, nxa_progress *progress) {
  curl_off_t sent = 0, send_total = -1, received = 0, receive_total = -1;
  curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
  curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_UPLOAD_T, &send_total);
  curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
  curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &receive_total);
  *progress = (nxa_progress){sent, send_total, received, receive_total};
}

bool nxa__transfer_connected(const nxa__transfer *transfer) {
#ifdef HAS_PREREQUEST
  return transfer->sendings > 0;
#else
  return nxa__transfer_sent(transfer);
#endif
}

/*
 * libcurl doesn't tell who a connection was to be with. Where that is another port than the server's it was a proxy;
 * one with the same port isn't known as such.
 */
static void find_proxy(const nxa__transfer *transfer, char *out, size_t size) {
  char address[INET6_ADDRSTRLEN];
  const struct sockaddr_in *ip4 = (const struct sockaddr_in *)&transfer->peer;
  const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)&transfer->peer;
  sa_family_t family = transfer->peer.ss_family;
  *out = '\0';
  if (family != AF_INET && family != AF_INET6)
    return;
  int port = ntohs(family == AF_INET ? ip4->sin_port : ip6->sin6_port);
  const void *bytes = family == AF_INET ? (const void *)&ip4->sin_addr : (const void *)&ip6->sin6_addr;
  if (port != nxa__endpoint_port(transfer->request->endpoint) && inet_ntop(family, bytes, address, sizeof address))
    snprintf(out, size, family == AF_INET ? "%s:%d" : "[%s]:%d", address, port);
}

/* Libcurl quotes where a key is, which may be the key itself; it cuts what it says, so that the end may be missing. */
static void hide(char *text, const char *secret) {
  for (; *text; text++) {
    size_t same = 0;
    while (secret[same] && text[same] == secret[same])
      same++;
    if (same >= SHORTEST_HIDDEN && (!secret[same] || !text[same]))
      memset(text, '*', same);
  }
}

static void note_detail(const nxa__transfer *transfer, nxa__outcome *outcome) {
  const char *key = nxa__endpoint_client_key(transfer->request->endpoint);
  memcpy(outcome->detail, transfer->detail, sizeof outcome->detail);
  if (key)
    hide(outcome->detail, key);
}

void nxa__transfer_outcome(nxa__transfer *transfer, CURLcode code, nxa__outcome *outcome) {
  long header_size = 0;
  outcome->code = code;
  outcome->os_error = 0;
  outcome->proxy[0] = '\0';
  outcome->sent = nxa__transfer_sent(transfer);
  outcome->repetition_refused = code == CURLE_ABORTED_BY_CALLBACK;
  curl_easy_getinfo(transfer->easy, CURLINFO_HEADER_SIZE, &header_size);
  outcome->answered = header_size > 0;
  if (transfer->request->progress)
    nxa__transfer_progress(transfer, &outcome->progress);
  note_detail(transfer, outcome);
  if (code != CURLE_OK)
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &outcome->os_error);
  if (code == CURLE_COULDNT_CONNECT)
    find_proxy(transfer, outcome->proxy, sizeof outcome->proxy);
}
