/*
 * The binary encoding of OTLP. A message within another begins with its length: it is written behind one byte for that,
 * and moved where one is too few.
 */
#include <string.h>

#include "otlp.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2 }; /* how a field is written */
enum { LONGEST_VARINT = 10 };

/* Field numbers of opentelemetry/proto. */
enum { REQUEST_RESOURCE_SPANS = 1 };
enum { RESOURCE_SPANS_RESOURCE = 1, RESOURCE_SPANS_SCOPE_SPANS = 2 };
enum { RESOURCE_ATTRIBUTES = 1 };
enum { SCOPE_SPANS_SCOPE = 1, SCOPE_SPANS_SPANS = 2 };
enum { SCOPE_NAME = 1, SCOPE_VERSION = 2 };
enum { SPAN_TRACE_ID = 1, SPAN_SPAN_ID = 2, SPAN_PARENT = 4, SPAN_NAME = 5, SPAN_KIND = 6, SPAN_START = 7 };
enum { SPAN_END = 8, SPAN_ATTRIBUTES = 9, SPAN_DROPPED_ATTRIBUTES = 10, SPAN_STATUS = 15 };
enum { STATUS_MESSAGE = 2, STATUS_CODE = 3, STATUS_CODE_ERROR = 2 };
enum { KEY = 1, VALUE = 2 };
enum { ANY_STRING = 1, ANY_BOOLEAN = 2, ANY_INTEGER = 3, ANY_DOUBLE = 4, ANY_ARRAY = 5 };
enum { ARRAY_VALUES = 1 };

/* ------------------------------------------------------------------------------------------------ the wire */

static size_t varint(char out[LONGEST_VARINT], uint64_t value) {
  size_t length = 0;
  for (; value >= 0x80; value >>= 7)
    out[length++] = (char)(value | 0x80);
  out[length++] = (char)value;
  return length;
}

static void put_varint(nxa__buffer *body, uint64_t value) {
  char bytes[LONGEST_VARINT];
  nxa__buffer_append(body, bytes, varint(bytes, value));
}

static void put_tag(nxa__buffer *body, unsigned field, unsigned wire) {
  put_varint(body, field << 3 | wire);
}

static void put_number(nxa__buffer *body, unsigned field, uint64_t value) {
  put_tag(body, field, VARINT);
  put_varint(body, value);
}

static void put_fixed64(nxa__buffer *body, unsigned field, uint64_t value) {
  char bytes[8];
  for (int i = 0; i < 8; i++, value >>= 8)
    bytes[i] = (char)value;
  put_tag(body, field, FIXED64);
  nxa__buffer_append(body, bytes, sizeof bytes);
}

static void put_bytes(nxa__buffer *body, unsigned field, const char *bytes, size_t length) {
  put_tag(body, field, BYTES);
  put_varint(body, length);
  nxa__buffer_append(body, bytes, length);
}

/* Returns where the message's inside begins. */
static size_t open_message(nxa__buffer *body, unsigned field) {
  put_tag(body, field, BYTES);
  nxa__buffer_append_byte(body, 0);
  return body->length;
}

static void close_message(nxa__buffer *body, size_t start) {
  char length[LONGEST_VARINT];
  if (body->state != NXA_OK)
    return;
  size_t inside = body->length - start, size = varint(length, inside);
  static const char room[LONGEST_VARINT];
  if (nxa__buffer_append(body, room, size - 1) != NXA_OK)
    return;
  memmove(body->data + start + size - 1, body->data + start, inside);
  memcpy(body->data + start - 1, length, size);
}

/* ------------------------------------------------------------------------------------------------ texts */

/* The characters of JSON strings, one after another. */
static void put_characters(nxa__buffer *body, nxa__json string) {
  if (!string.text || nxa__buffer_reserve(body, string.length) != NXA_OK)
    return;
  body->length += nxa__json_characters(body->data + body->length, string);
  body->data[body->length] = '\0';
}

static void put_string(nxa__buffer *body, unsigned field, nxa__json string) {
  size_t start = open_message(body, field);
  put_characters(body, string);
  close_message(body, start);
}

static unsigned digit(char c) {
  return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void put_id(nxa__buffer *body, unsigned field, const char *hexadecimal) {
  char bytes[16];
  size_t count = strlen(hexadecimal) / 2;
  for (size_t i = 0; i < count; i++)
    bytes[i] = (char)(digit(hexadecimal[2 * i]) << 4 | digit(hexadecimal[2 * i + 1]));
  put_bytes(body, field, bytes, count);
}

/* ------------------------------------------------------------------------------------------------ attributes */

static uint64_t bits_of(double number) {
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

static void put_list(nxa__buffer *body, nxa__json string) {
  size_t array = open_message(body, ANY_ARRAY);
  size_t element = open_message(body, ARRAY_VALUES);
  put_string(body, ANY_STRING, string);
  close_message(body, element);
  close_message(body, array);
}

static void put_value(nxa__buffer *body, const nxa__otlp_attribute *attribute) {
  nxa__json value = attribute->value;
  switch (attribute->type) {
  case NXA__OTLP_STRING:
    put_string(body, ANY_STRING, value);
    break;
  case NXA__OTLP_JSON:
    put_bytes(body, ANY_STRING, value.text, value.length);
    break;
  case NXA__OTLP_INTEGER:
    put_number(body, ANY_INTEGER, (uint64_t)nxa__otlp_integer(value));
    break;
  case NXA__OTLP_DOUBLE:
    put_fixed64(body, ANY_DOUBLE, bits_of(nxa__otlp_double(value)));
    break;
  case NXA__OTLP_BOOLEAN:
    put_number(body, ANY_BOOLEAN, value.text[0] == 't');
    break;
  case NXA__OTLP_LIST:
    put_list(body, value);
    break;
  }
}

static void put_attributes(nxa__buffer *body, unsigned field, const nxa__otlp_attribute *attributes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    size_t pair = open_message(body, field);
    put_string(body, KEY, attributes[i].key);
    size_t value = open_message(body, VALUE);
    put_value(body, &attributes[i]);
    close_message(body, value);
    close_message(body, pair);
  }
}

/* ------------------------------------------------------------------------------------------------ spans */

static void put_name(nxa__buffer *body, const nxa__otlp_span *span) {
  size_t name = open_message(body, SPAN_NAME);
  nxa__buffer_append_text(body, span->operation);
  put_characters(body, span->name);
  close_message(body, name);
}

static void put_status(nxa__buffer *body, const nxa__otlp_span *span) {
  size_t status = open_message(body, SPAN_STATUS);
  if (span->failed && span->message.text)
    put_string(body, STATUS_MESSAGE, span->message);
  if (span->failed)
    put_number(body, STATUS_CODE, STATUS_CODE_ERROR);
  close_message(body, status);
}

static void write_span(nxa__otlp_batch *batch, const nxa__otlp_span *span) {
  nxa__buffer *body = batch->body;
  size_t start = open_message(body, SCOPE_SPANS_SPANS);
  batch->spans++;
  put_id(body, SPAN_TRACE_ID, span->trace_id);
  put_id(body, SPAN_SPAN_ID, span->span_id);
  if (*span->parent_id)
    put_id(body, SPAN_PARENT, span->parent_id);
  put_name(body, span);
  put_number(body, SPAN_KIND, span->kind);
  put_fixed64(body, SPAN_START, (uint64_t)span->started_ns);
  put_fixed64(body, SPAN_END, (uint64_t)span->ended_ns);
  put_attributes(body, SPAN_ATTRIBUTES, span->attributes, span->attribute_count);
  if (span->dropped_attributes)
    put_number(body, SPAN_DROPPED_ATTRIBUTES, span->dropped_attributes);
  put_status(body, span);
  close_message(body, start);
}

/* ------------------------------------------------------------------------------------------------ batches */

static void put_text(nxa__buffer *body, unsigned field, const char *text) {
  put_bytes(body, field, text, strlen(text));
}

static void begin(nxa__otlp_batch *batch, const nxa__otlp_resource *resource) {
  nxa__buffer *body = batch->body;
  batch->spans = 0;
  batch->open[0] = open_message(body, REQUEST_RESOURCE_SPANS);
  size_t start = open_message(body, RESOURCE_SPANS_RESOURCE);
  put_attributes(body, RESOURCE_ATTRIBUTES, resource->attributes, resource->count);
  close_message(body, start);
  batch->open[1] = open_message(body, RESOURCE_SPANS_SCOPE_SPANS);
  start = open_message(body, SCOPE_SPANS_SCOPE);
  put_text(body, SCOPE_NAME, "nexus-assistants");
  put_text(body, SCOPE_VERSION, NXA_VERSION);
  close_message(body, start);
}

static void end(nxa__otlp_batch *batch) {
  close_message(batch->body, batch->open[1]);
  close_message(batch->body, batch->open[0]);
}

const nxa__otlp_format nxa__otlp_protobuf = {
    .content_type = "application/x-protobuf", .begin = begin, .span = write_span, .end = end};
