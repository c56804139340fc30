/*
 * OpenTelemetry's form of what was recorded, and the two encodings of it. All pure: no clock, no network.
 *
 * A batch is an ExportTraceServiceRequest of one resource and one scope. It is written span by span, so that who writes
 * it may stop in between.
 */
#ifndef NXA_OTLP_H
#define NXA_OTLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "json_out.h"
#include "trace.h"

#define NXA__OTLP_ATTRIBUTES 128 /* of one span, as OpenTelemetry's default has it; what is more is counted */

#define NXA__OTLP_WRITTEN 3 /* values of a span that are made of others */

typedef enum nxa__otlp_type {
  NXA__OTLP_STRING,  /* the inside of a JSON string */
  NXA__OTLP_JSON,    /* a JSON value whose text is meant */
  NXA__OTLP_INTEGER, /* digits, with a sign perhaps, that fit 64 bits */
  NXA__OTLP_DOUBLE,  /* any other number, finite as a double */
  NXA__OTLP_BOOLEAN,
  NXA__OTLP_LIST /* the inside of a JSON string that is all of an array */
} nxa__otlp_type;

typedef struct nxa__otlp_attribute {
  nxa__json key; /* the inside of a JSON string */
  nxa__json value;
  nxa__otlp_type type;
} nxa__otlp_attribute;

typedef enum nxa__otlp_kind { NXA__OTLP_INTERNAL = 1, NXA__OTLP_CLIENT = 3 } nxa__otlp_kind; /* as in the protocol */

/* A span in OpenTelemetry's words. Borrows from what it was made of. */
typedef struct nxa__otlp_span {
  const char *trace_id;  /* hexadecimal */
  const char *span_id;   /* likewise */
  const char *parent_id; /* likewise; "" where there is none */
  const char *operation; /* what the name begins with, "" for nothing */
  nxa__json name;        /* what it ends with, the inside of a JSON string; absent: the operation is all of it */
  nxa__otlp_kind kind;
  int64_t started_ns, ended_ns;
  bool failed;
  nxa__json message; /* of the status, the inside of a JSON string, or absent */
  size_t attribute_count;
  uint32_t dropped_attributes;
  nxa__otlp_attribute attributes[NXA__OTLP_ATTRIBUTES];
  size_t written_count;
  nxa__buffer written[NXA__OTLP_WRITTEN]; /* values that are in no record */
} nxa__otlp_span;

/* Who sent it. */
typedef struct nxa__otlp_resource {
  nxa__otlp_attribute *attributes;
  size_t count;
  char *text; /* what they point into */
} nxa__otlp_resource;

/* ------------------------------------------------------------------------------------------------ otlp_span.c */

/*
 * Puts an ended span into OpenTelemetry's words, by the conventions for generative AI; `content`: with what models,
 * tools and people said. False for want of memory. Where it is true, nxa__otlp_span_free releases what was made.
 */
bool nxa__otlp_of_span(nxa__otlp_span *out, const nxa_span *span, bool content);
/* The same of an ended trace, which is the span above the others. */
bool nxa__otlp_of_trace(nxa__otlp_span *out, const nxa_trace *trace, bool content);
void nxa__otlp_span_free(nxa__otlp_span *out);

/* ------------------------------------------------------------------------------------------------ otlp_value.c */

/* A JSON value as that of an attribute; false for null, which is none. */
bool nxa__otlp_set_value(nxa__otlp_attribute *attribute, nxa__json value);
/* A JSON string without its quotes; absent where it is absent or no string. */
nxa__json nxa__otlp_inside(nxa__json string);
double nxa__otlp_double(nxa__json number);
int64_t nxa__otlp_integer(nxa__json number);

/* ------------------------------------------------------------------------------------------------ otlp_resource.c */

/*
 * The attributes of a resource: those of the library, `attributes` as OTEL_RESOURCE_ATTRIBUTES has them
 * ("name=value,…", percent-encoded; NULL for none), and the service's name, which wins over one among them unless it is
 * NULL. What can't be read of `attributes` is left out, as a whole, and `*understood` is false. False for want of
 * memory.
 */
bool nxa__otlp_resource_make(nxa__otlp_resource *resource, const char *service_name, const char *attributes,
                             bool *understood);
void nxa__otlp_resource_free(nxa__otlp_resource *resource);

/* ------------------------------------------------------------------------------------------------ the encodings */

/* What is open of a batch. */
typedef struct nxa__otlp_batch {
  nxa__buffer *body; /* its state says whether all could be written */
  size_t open[2];
  size_t spans;
} nxa__otlp_batch;

typedef struct nxa__otlp_format {
  const char *content_type;
  void (*begin)(nxa__otlp_batch *batch, const nxa__otlp_resource *resource);
  void (*span)(nxa__otlp_batch *batch, const nxa__otlp_span *span);
  void (*end)(nxa__otlp_batch *batch);
} nxa__otlp_format;

extern const nxa__otlp_format nxa__otlp_json;
extern const nxa__otlp_format nxa__otlp_protobuf;

#endif
