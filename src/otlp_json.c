/* The JSON encoding of OTLP: identifiers in hexadecimal, enumerations as numbers, 64-bit integers as strings. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "otlp.h"

/* A literal's length is known where it stands. */
#define PUT(body, literal) nxa__buffer_append(body, literal, sizeof(literal) - 1)

static void put_json(nxa__buffer *body, nxa__json json) {
  nxa__buffer_append(body, json.text, json.length);
}

static void put_string(nxa__buffer *body, nxa__json inside) {
  PUT(body, "\"");
  put_json(body, inside);
  PUT(body, "\"");
}

static void put_id(nxa__buffer *body, const char *id) {
  nxa__buffer_append(body, id, strlen(id));
}

/* ------------------------------------------------------------------------------------------------ attributes */

static void put_value(nxa__buffer *body, const nxa__otlp_attribute *attribute) {
  switch (attribute->type) {
  case NXA__OTLP_STRING:
    PUT(body, "{\"stringValue\":");
    put_string(body, attribute->value);
    break;
  case NXA__OTLP_JSON:
    PUT(body, "{\"stringValue\":");
    nxa__json_append_string(body, attribute->value.text, attribute->value.length);
    break;
  case NXA__OTLP_INTEGER:
    PUT(body, "{\"intValue\":\"");
    put_json(body, attribute->value);
    PUT(body, "\"");
    break;
  case NXA__OTLP_DOUBLE:
    PUT(body, "{\"doubleValue\":");
    put_json(body, attribute->value);
    break;
  case NXA__OTLP_BOOLEAN:
    PUT(body, "{\"boolValue\":");
    put_json(body, attribute->value);
    break;
  case NXA__OTLP_LIST:
    PUT(body, "{\"arrayValue\":{\"values\":[{\"stringValue\":");
    put_string(body, attribute->value);
    PUT(body, "}]}");
    break;
  }
  PUT(body, "}");
}

static void put_attributes(nxa__buffer *body, const nxa__otlp_attribute *attributes, size_t count) {
  PUT(body, "\"attributes\":[");
  for (size_t i = 0; i < count; i++) {
    if (i > 0)
      PUT(body, ",");
    PUT(body, "{\"key\":");
    put_string(body, attributes[i].key);
    PUT(body, ",\"value\":");
    put_value(body, &attributes[i]);
    PUT(body, "}");
  }
  PUT(body, "]");
}

/* ------------------------------------------------------------------------------------------------ spans */

static void put_name(nxa__buffer *body, const nxa__otlp_span *span) {
  PUT(body, ",\"name\":\"");
  nxa__buffer_append_text(body, span->operation);
  if (span->name.text)
    put_json(body, span->name);
}

static void put_times(nxa__buffer *body, const nxa__otlp_span *span) {
  char text[128];
  int length = snprintf(text, sizeof text,
                        "\",\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64 "\",\"endTimeUnixNano\":\"%" PRId64 "\",",
                        (int)span->kind, span->started_ns, span->ended_ns);
  nxa__buffer_append(body, text, (size_t)length);
}

static void put_status(nxa__buffer *body, const nxa__otlp_span *span) {
  if (span->dropped_attributes)
    nxa__buffer_append_format(body, ",\"droppedAttributesCount\":%" PRIu32, span->dropped_attributes);
  PUT(body, ",\"status\":{");
  if (span->failed && span->message.text) {
    PUT(body, "\"message\":");
    put_string(body, span->message);
    PUT(body, ",");
  }
  if (span->failed)
    PUT(body, "\"code\":2");
  PUT(body, "}}");
}

static void write_span(nxa__otlp_batch *batch, const nxa__otlp_span *span) {
  nxa__buffer *body = batch->body;
  if (batch->spans++ > 0)
    PUT(body, ",");
  PUT(body, "{\"traceId\":\"");
  put_id(body, span->trace_id);
  PUT(body, "\",\"spanId\":\"");
  put_id(body, span->span_id);
  if (*span->parent_id) {
    PUT(body, "\",\"parentSpanId\":\"");
    put_id(body, span->parent_id);
  }
  PUT(body, "\"");
  put_name(body, span);
  put_times(body, span);
  put_attributes(body, span->attributes, span->attribute_count);
  put_status(body, span);
}

/* ------------------------------------------------------------------------------------------------ batches */

static void begin(nxa__otlp_batch *batch, const nxa__otlp_resource *resource) {
  batch->spans = 0;
  PUT(batch->body, "{\"resourceSpans\":[{\"resource\":{");
  put_attributes(batch->body, resource->attributes, resource->count);
  PUT(batch->body,
      "},\"scopeSpans\":[{\"scope\":{\"name\":\"nexus-assistants\",\"version\":\"" NXA_VERSION "\"},\"spans\":[");
}

static void end(nxa__otlp_batch *batch) {
  PUT(batch->body, "]}]}]}");
}

const nxa__otlp_format nxa__otlp_json = {
    .content_type = "application/json", .begin = begin, .span = write_span, .end = end};
