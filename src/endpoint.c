#include "endpoint.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "error.h"
#include "pairs.h"
#include "text.h"

struct nxa_endpoint {
  size_t count;
  char *base_url;
  char *host;
  char *query;
  bool secure;
  char *key; /* NULL where none */
  char **headers;
  size_t header_count;
  size_t secret_headers; /* of them, the last, which came from the environment */
  bool names[NXA__OWN_HEADERS];
  char *ca_file;
  char *client_certificate;
  char *client_key;
};

void nxa_endpoint_options_init(nxa_endpoint_options *options) {
  memset(options, 0, sizeof *options);
  options->key_header = "Authorization";
  options->key_prefix = "Bearer ";
}

/* ---- headers */

const char *const nxa__own_headers[NXA__OWN_HEADERS] = {
    [NXA__HEADER_TYPE] = "content-type",
    [NXA__HEADER_AGENT] = "user-agent",
    [NXA__HEADER_ENCODING] = "accept-encoding",
};

size_t nxa__header_name_length(const char *line) {
  return strcspn(line, ":");
}

/* Would change how libcurl frames the message, which it sees to itself. */
static bool frames_message(const char *line, size_t name) {
  return nxa__same_word(line, name, "content-length") || nxa__same_word(line, name, "transfer-encoding");
}

const char *nxa__header_fault(const char *line) {
  size_t name = nxa__header_name_length(line);
  if (line[name] != ':')
    return "is not \"Name: value\"";
  if (!nxa__is_token(line, name))
    return "has a name that is no HTTP token";
  if (!nxa__is_printable(line, strlen(line), true))
    return "holds a line break or another control character";
  return frames_message(line, name) ? "is set by the library itself" : NULL;
}

void nxa__header_notate(char *line) {
  char *colon = line + nxa__header_name_length(line);
  if (colon[1 + strspn(colon + 1, " ")] != '\0')
    return;
  colon[0] = ';';
  colon[1] = '\0';
}

/* ---- base URL */

static size_t scheme_length(const char *url) {
  if (nxa__same_word(url, strcspn(url, ":"), "http") && strncmp(url + 4, "://", 3) == 0)
    return 7;
  return nxa__same_word(url, strcspn(url, ":"), "https") && strncmp(url + 5, "://", 3) == 0 ? 8 : 0;
}

static bool is_one_of(char c, const char *set) {
  return c != '\0' && strchr(set, c) != NULL;
}

static bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool all_of(const char *text, size_t length, const char *also, bool beyond_ascii) {
  for (size_t i = 0; i < length; i++)
    if (!is_alphanumeric(text[i]) && !is_one_of(text[i], also) && !(beyond_ascii && (unsigned char)text[i] >= 0x80))
      return false;
  return true;
}

static bool is_port(const char *text, size_t length) {
  long port = 0;
  for (size_t i = 0; i < length; i++) {
    if (text[i] < '0' || text[i] > '9' || port > 65535)
      return false;
    port = port * 10 + (text[i] - '0');
  }
  return length > 0 && port >= 1 && port <= 65535;
}

/* The length of the host's name with brackets, 0 where it is no such thing. */
static size_t host_length(const char *authority, size_t length) {
  const char *bracket = length && authority[0] == '[' ? memchr(authority, ']', length) : NULL;
  if (length && authority[0] == '[')
    return bracket && bracket > authority + 1 && all_of(authority + 1, (size_t)(bracket - authority - 1), ":.%", false)
               ? (size_t)(bracket - authority) + 1
               : 0;
  const char *colon = memchr(authority, ':', length);
  size_t host = colon ? (size_t)(colon - authority) : length;
  return all_of(authority, host, "-._", true) ? host : 0;
}

static const char *authority_fault(const char *authority, size_t length) {
  if (memchr(authority, '@', length))
    return "must not hold a user name or password";
  size_t host = host_length(authority, length);
  if (host == 0)
    return "has no valid host";
  if (host < length && (authority[host] != ':' || !is_port(authority + host + 1, length - host - 1)))
    return "has no valid port";
  return NULL;
}

static const char *url_fault(const char *url) {
  size_t scheme = scheme_length(url);
  if (scheme == 0)
    return "must begin with http:// or https://";
  if (!nxa__is_printable(url, strlen(url), false) || strchr(url, '\\'))
    return "holds a space, a control character or a backslash";
  if (strchr(url, '?'))
    return "must not hold a query (there is an option for it)";
  if (strchr(url, '#'))
    return "must not hold a fragment";
  return authority_fault(url + scheme, strcspn(url + scheme, "/"));
}

/* Whether libcurl takes it apart, too. */
static nxa_kind try_url(const char *text, nxa_error *error) {
  CURLU *url = curl_url();
  CURLUcode code = url ? curl_url_set(url, CURLUPART_URL, text, 0) : CURLUE_OUT_OF_MEMORY;
  curl_url_cleanup(url);
  if (code == CURLUE_OUT_OF_MEMORY)
    return nxa__error_memory(error);
  return code == CURLUE_OK ? NXA_OK : nxa__error_set(error, NXA_INVALID, "base_url has no valid host");
}

static nxa_kind set_base_url(nxa_endpoint *endpoint, const char *url, nxa_error *error) {
  const char *fault = url && *url ? url_fault(url) : "is required";
  if (fault)
    return nxa__error_set(error, NXA_INVALID, "base_url %s", fault);
  size_t scheme = scheme_length(url), length = strlen(url);
  size_t authority = strcspn(url + scheme, "/");
  while (url[length - 1] == '/')
    length--;
  endpoint->secure = scheme == 8;
  endpoint->base_url = nxa__copy_bytes(url, length);
  endpoint->host = nxa__copy_bytes(url + scheme, authority);
  return endpoint->base_url && endpoint->host ? try_url(endpoint->base_url, error) : nxa__error_memory(error);
}

static nxa_kind set_query(nxa_endpoint *endpoint, const char *query, nxa_error *error) {
  if (!query || !*query)
    return NXA_OK;
  if (!nxa__is_printable(query, strlen(query), false) || strchr(query, '#'))
    return nxa__error_set(error, NXA_INVALID, "query holds a space, a control character or '#'");
  endpoint->query = nxa__copy_string(query);
  return endpoint->query ? NXA_OK : nxa__error_memory(error);
}

/* ---- key */

static bool is_plain(const char *text, bool space) {
  for (; *text; text++)
    if ((unsigned char)*text > 0x7E || (unsigned char)*text < (space ? 0x20 : 0x21))
      return false;
  return true;
}

static nxa_kind check_key(const nxa_endpoint_options *options, const char *key, nxa_error *error) {
  const char *option = options->key ? "key" : "key_environment: the value";
  if (!*key)
    return nxa__error_set(error, NXA_INVALID, "%s is empty", option);
  if (!is_plain(key, false))
    return nxa__error_set(error, NXA_INVALID, "%s holds a space, a line break or another character no key has", option);
  if (!nxa__is_token(options->key_header, strlen(options->key_header)))
    return nxa__error_set(error, NXA_INVALID, "key_header is no HTTP token");
  if (!is_plain(options->key_prefix, true))
    return nxa__error_set(error, NXA_INVALID, "key_prefix holds a line break or another character no header has");
  return NXA_OK;
}

static char *joined(const char *a, const char *b, const char *c, const char *d) {
  size_t lengths[4] = {strlen(a), strlen(b), strlen(c), strlen(d)};
  const char *parts[4] = {a, b, c, d};
  char *text = nxa__allocate(lengths[0] + lengths[1] + lengths[2] + lengths[3] + 1), *end = text;
  for (int i = 0; text && i < 4; i++) {
    memcpy(end, parts[i], lengths[i]);
    end += lengths[i];
  }
  if (text)
    *end = '\0';
  return text;
}

static const char *find_key(const nxa_endpoint_options *options) {
  if (options->key || !options->key_environment)
    return options->key;
  const char *found = getenv(options->key_environment);
  return found && *found ? found : NULL;
}

static nxa_kind set_key(nxa_endpoint *endpoint, const nxa_endpoint_options *given, nxa_error *error) {
  nxa_endpoint_options options = *given;
  options.key_header = given->key_header ? given->key_header : "Authorization";
  options.key_prefix = given->key_prefix ? given->key_prefix : "Bearer ";
  const char *key = find_key(&options);
  if (!key)
    return NXA_OK;
  if (check_key(&options, key, error) != NXA_OK)
    return NXA_INVALID;
  char *line = joined(options.key_header, ": ", options.key_prefix, key);
  if (!line)
    return nxa__error_memory(error);
  endpoint->headers[endpoint->header_count++] = line;
  endpoint->key = nxa__copy_string(key);
  return endpoint->key ? NXA_OK : nxa__error_memory(error);
}

/* ---- headers of the environment */

#define LONGEST_NAME 256

/* The first of these variables that is set. */
static const char *find_variable(const char *names) {
  char name[LONGEST_NAME];
  while (names && *(names += strspn(names, " "))) {
    size_t length = strcspn(names, " ");
    if (length < sizeof name) {
      memcpy(name, names, length);
      name[length] = '\0';
      const char *text = getenv(name);
      if (text && *text)
        return text;
    }
    names += length;
  }
  return NULL;
}

static size_t count_pairs(const char *text) {
  size_t count = 1;
  while ((text = strchr(text, ',')))
    count++, text++;
  return count;
}

static char *header_of(const nxa__pair *pair) {
  char *line = nxa__allocate(pair->name_length + 2 + pair->value_length + 1);
  if (!line)
    return NULL;
  memcpy(line, pair->name, pair->name_length);
  memcpy(line + pair->name_length, ": ", 2);
  memcpy(line + pair->name_length + 2, pair->value, pair->value_length);
  line[pair->name_length + 2 + pair->value_length] = '\0';
  return line;
}

static nxa_kind add_secret_header(nxa_endpoint *endpoint, const nxa__pair *pair, nxa_error *error) {
  char *line = header_of(pair);
  if (!line)
    return nxa__error_memory(error);
  endpoint->headers[endpoint->header_count++] = line;
  endpoint->secret_headers++;
  const char *fault = nxa__header_fault(line);
  if (fault)
    return nxa__error_set(error, NXA_INVALID, "headers_environment: entry %zu %s", endpoint->secret_headers, fault);
  nxa__header_notate(line);
  return NXA_OK;
}

static nxa_kind add_secret_headers(nxa_endpoint *endpoint, char *list, nxa_error *error) {
  nxa__pair pair;
  bool broken;
  while (nxa__next_pair(&list, &pair, &broken)) {
    nxa_kind kind = add_secret_header(endpoint, &pair, error);
    if (kind != NXA_OK)
      return kind;
  }
  return broken ? nxa__error_set(error, NXA_INVALID, "headers_environment: the value isn't \"name=value,…\"") : NXA_OK;
}

static nxa_kind set_secret_headers(nxa_endpoint *endpoint, const char *text, nxa_error *error) {
  if (!text)
    return NXA_OK;
  size_t length = strlen(text);
  char *copy = nxa__copy_string(text);
  if (!copy)
    return nxa__error_memory(error);
  nxa_kind kind = add_secret_headers(endpoint, copy, error);
  nxa__wipe(copy, length);
  nxa__release(copy);
  return kind;
}

static void note_names(nxa_endpoint *endpoint) {
  for (size_t i = 0; i < endpoint->header_count; i++) {
    const char *line = endpoint->headers[i];
    for (int header = 0; header < NXA__OWN_HEADERS; header++)
      if (nxa__same_word(line, strcspn(line, ":;"), nxa__own_headers[header]))
        endpoint->names[header] = true;
  }
}

/* ---- files of TLS */

static nxa_kind set_file(char **file, const char *option, const char *path, nxa_error *error) {
  if (!path)
    return NXA_OK;
  if (!*path)
    return nxa__error_set(error, NXA_INVALID, "%s is empty", option);
  *file = nxa__copy_string(path);
  return *file ? NXA_OK : nxa__error_memory(error);
}

static nxa_kind set_files(nxa_endpoint *endpoint, const nxa_endpoint_options *options, nxa_error *error) {
  if (options->client_certificate && !options->client_key)
    return nxa__error_set(error, NXA_INVALID, "client_certificate needs client_key, which is absent");
  if (options->client_key && !options->client_certificate)
    return nxa__error_set(error, NXA_INVALID, "client_key needs client_certificate, which is absent");
  nxa_kind kind = set_file(&endpoint->ca_file, "ca_file", options->ca_file, error);
  if (kind == NXA_OK)
    kind = set_file(&endpoint->client_certificate, "client_certificate", options->client_certificate, error);
  if (kind == NXA_OK)
    kind = set_file(&endpoint->client_key, "client_key", options->client_key, error);
  return kind;
}

/* ---- life */

static nxa_kind set_headers(nxa_endpoint *endpoint, const nxa_endpoint_options *options, nxa_error *error) {
  if (options->header_count > 1000)
    return nxa__error_set(error, NXA_INVALID, "headers: more than 1000");
  const char *more = find_variable(options->headers_environment);
  /* one more for the key */
  size_t room = options->header_count + (more ? count_pairs(more) : 0) + 1;
  endpoint->headers = nxa__allocate_zeroed(room * sizeof *endpoint->headers);
  if (!endpoint->headers)
    return nxa__error_memory(error);
  for (size_t i = 0; i < options->header_count; i++) {
    const char *fault = options->headers[i] ? nxa__header_fault(options->headers[i]) : "is NULL";
    if (fault)
      return nxa__error_set(error, NXA_INVALID, "headers: entry %zu %s", i + 1, fault);
    char *line = nxa__copy_string(options->headers[i]);
    if (!line)
      return nxa__error_memory(error);
    nxa__header_notate(line);
    endpoint->headers[endpoint->header_count++] = line;
  }
  return NXA_OK;
}

nxa_endpoint *nxa_endpoint_new(const nxa_endpoint_options *options, nxa_error *error) {
  nxa__error_clear(error);
  nxa_endpoint *endpoint = nxa__allocate_zeroed(sizeof *endpoint);
  if (!endpoint) {
    nxa__error_memory(error);
    return NULL;
  }
  endpoint->count = 1;
  if (set_base_url(endpoint, options->base_url, error) == NXA_OK &&
      set_query(endpoint, options->query, error) == NXA_OK && set_headers(endpoint, options, error) == NXA_OK &&
      set_key(endpoint, options, error) == NXA_OK && set_files(endpoint, options, error) == NXA_OK &&
      set_secret_headers(endpoint, find_variable(options->headers_environment), error) == NXA_OK) {
    note_names(endpoint);
    return endpoint;
  }
  nxa__endpoint_release(endpoint);
  return NULL;
}

static void release_secret(char *text) {
  if (text)
    nxa__wipe(text, strlen(text));
  nxa__release(text);
}

nxa_endpoint *nxa__endpoint_retain(nxa_endpoint *endpoint) {
  endpoint->count++;
  return endpoint;
}

void nxa__endpoint_release(nxa_endpoint *endpoint) {
  if (!endpoint || --endpoint->count > 0)
    return;
  /* a host may have put a secret of its own into any header */
  for (size_t i = 0; i < endpoint->header_count; i++)
    release_secret(endpoint->headers[i]);
  nxa__release(endpoint->headers);
  release_secret(endpoint->key);
  release_secret(endpoint->query);
  nxa__release(endpoint->base_url);
  nxa__release(endpoint->host);
  nxa__release(endpoint->ca_file);
  nxa__release(endpoint->client_certificate);
  nxa__release(endpoint->client_key);
  nxa__release(endpoint);
}

void nxa_endpoint_free(nxa_endpoint *endpoint) {
  nxa__endpoint_release(endpoint);
}

/* ---- reading */

const char *nxa_endpoint_base_url(const nxa_endpoint *endpoint) {
  return endpoint->base_url;
}

bool nxa_endpoint_has_key(const nxa_endpoint *endpoint) {
  return endpoint->key != NULL;
}

const char *nxa__endpoint_host(const nxa_endpoint *endpoint) {
  return endpoint->host;
}

int nxa__endpoint_port(const nxa_endpoint *endpoint) {
  const char *port = endpoint->host + host_length(endpoint->host, strlen(endpoint->host));
  if (*port == ':')
    return (int)strtol(port + 1, NULL, 10);
  return endpoint->secure ? 443 : 80;
}

bool nxa__endpoint_secure(const nxa_endpoint *endpoint) {
  return endpoint->secure;
}

const char *nxa__endpoint_query(const nxa_endpoint *endpoint) {
  return endpoint->query;
}

size_t nxa__endpoint_header_count(const nxa_endpoint *endpoint) {
  return endpoint->header_count;
}

char *nxa__endpoint_header(const nxa_endpoint *endpoint, size_t index) {
  return endpoint->headers[index];
}

bool nxa__endpoint_names(const nxa_endpoint *endpoint, nxa__own_header header) {
  return endpoint->names[header];
}

const char *nxa__endpoint_ca_file(const nxa_endpoint *endpoint) {
  return endpoint->ca_file;
}

const char *nxa__endpoint_client_certificate(const nxa_endpoint *endpoint) {
  return endpoint->client_certificate;
}

const char *nxa__endpoint_client_key(const nxa_endpoint *endpoint) {
  return endpoint->client_key;
}

bool nxa__endpoint_has_files(const nxa_endpoint *endpoint) {
  return endpoint->ca_file || endpoint->client_certificate;
}

/* ---- redaction */

static bool may_be_escaped(char c) {
  return is_one_of(c, "\"\\/");
}

/* How long the key is at the start of the text, plain or with backslashes as JSON may put them; 0: it isn't there. */
static size_t key_length(const char *text, size_t length, const char *key) {
  size_t plain = strlen(key), at = 0;
  if (plain <= length && memcmp(text, key, plain) == 0)
    return plain;
  for (; *key; key++, at++) {
    if (at + 1 < length && text[at] == '\\' && text[at + 1] == *key && may_be_escaped(*key))
      at++;
    if (at >= length || text[at] != *key)
      return 0;
  }
  return at;
}

static void overwrite(char *text, size_t length, const char *key) {
  const char *start = text, *end = text + length;
  while ((text = memchr(text, key[0], (size_t)(end - text)))) {
    size_t found = key_length(text, (size_t)(end - text), key);
    /* what escapes its first character goes with it */
    size_t before = found && may_be_escaped(key[0]) && text > start && text[-1] == '\\';
    memset(text - before, '*', found + before);
    text += found ? found : 1;
  }
}

/* A shorter one is a placeholder ("x", "no"), and would punch holes into every text. */
static bool is_looked_for(const char *secret, size_t length) {
  return length > 0 && secret && strlen(secret) >= 4;
}

static void overwrite_secret(char *text, size_t length, const char *secret) {
  if (is_looked_for(secret, length))
    overwrite(text, length, secret);
}

static bool is_in(const char *text, size_t length, const char *secret) {
  const char *end = text + length;
  if (!is_looked_for(secret, length))
    return false;
  while ((text = memchr(text, secret[0], (size_t)(end - text)))) {
    if (key_length(text, (size_t)(end - text), secret))
      return true;
    text++;
  }
  return false;
}

/* What follows the last blank: of "Authorization: Bearer x", the "x". */
static const char *last_word(const char *line) {
  const char *blank = strrchr(line, ' ');
  return blank ? blank + 1 : "";
}

void nxa_endpoint_redact(const nxa_endpoint *endpoint, char *text, size_t length) {
  overwrite_secret(text, length, endpoint->key);
  for (size_t i = endpoint->header_count - endpoint->secret_headers; i < endpoint->header_count; i++)
    overwrite_secret(text, length, last_word(endpoint->headers[i]));
}

bool nxa__endpoint_key_is_in(const nxa_endpoint *endpoint, const char *text, size_t length) {
  bool found = is_in(text, length, endpoint->key);
  for (size_t i = endpoint->header_count - endpoint->secret_headers; i < endpoint->header_count; i++)
    found = found || is_in(text, length, last_word(endpoint->headers[i]));
  return found;
}
