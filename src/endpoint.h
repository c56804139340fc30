/* Endpoints as the rest of the core sees them. */
#ifndef NXA_ENDPOINT_H
#define NXA_ENDPOINT_H

#include "nexus_assistants.h"

nxa_endpoint *nxa__endpoint_retain(nxa_endpoint *endpoint);
/* The same as nxa_endpoint_free: gives one count back. */
void nxa__endpoint_release(nxa_endpoint *endpoint);

/* "example.com:8080": what messages call the server. */
const char *nxa__endpoint_host(const nxa_endpoint *endpoint);
int nxa__endpoint_port(const nxa_endpoint *endpoint);
bool nxa__endpoint_secure(const nxa_endpoint *endpoint); /* https */
/* Certificates to trust in place of the system's, or NULL. */
const char *nxa__endpoint_ca_file(const nxa_endpoint *endpoint);
/* Files that say who this client is, or NULL, both. */
const char *nxa__endpoint_client_certificate(const nxa_endpoint *endpoint);
const char *nxa__endpoint_client_key(const nxa_endpoint *endpoint);
/* Has a TLS of its own: at least one of these three. */
bool nxa__endpoint_has_files(const nxa_endpoint *endpoint);
/* Added to every request, or NULL. */
const char *nxa__endpoint_query(const nxa_endpoint *endpoint);

/* The header lines, the one with the key among them, in libcurl's notation ("Name;" sends an empty value). */
size_t nxa__endpoint_header_count(const nxa_endpoint *endpoint);
char *nxa__endpoint_header(const nxa_endpoint *endpoint, size_t index);

/* Headers that the library writes itself where nobody else has: their names, in lower case, and whether an endpoint has
 * one. */
typedef enum nxa__own_header {
  NXA__HEADER_TYPE,
  NXA__HEADER_AGENT,
  NXA__HEADER_ENCODING,
  NXA__OWN_HEADERS
} nxa__own_header;
extern const char *const nxa__own_headers[NXA__OWN_HEADERS];
bool nxa__endpoint_names(const nxa_endpoint *endpoint, nxa__own_header header);

/* True where nxa_endpoint_redact would change the text. */
bool nxa__endpoint_key_is_in(const nxa_endpoint *endpoint, const char *text, size_t length);

/* Why a "Name: value" line can't be sent, or NULL where it can. */
const char *nxa__header_fault(const char *line);
/* Puts a checked line into libcurl's notation, in place: an empty value is "Name;", since "Name:" would send nothing.
 */
void nxa__header_notate(char *line);
/* How much of a line is the name. */
size_t nxa__header_name_length(const char *line);

#endif
