#include "sse.h"

#include <string.h>

#include "text.h"

static const char byte_order_mark[] = "\xEF\xBB\xBF";

void nxa__sse_init(nxa__sse *parser, size_t limit, nxa__sse_emit_fn emit, void *emit_data) {
  memset(parser, 0, sizeof *parser);
  parser->emit = emit;
  parser->emit_data = emit_data;
  nxa__buffer_init(&parser->line, limit);
  nxa__buffer_init(&parser->event, limit);
  nxa__buffer_init(&parser->data, limit);
  nxa__buffer_init(&parser->id, limit);
}

void nxa__sse_free(nxa__sse *parser) {
  nxa__buffer_free(&parser->line);
  nxa__buffer_free(&parser->event);
  nxa__buffer_free(&parser->data);
  nxa__buffer_free(&parser->id);
}

static nxa_kind dispatch(nxa__sse *parser) {
  nxa_kind kind = NXA_OK;
  if (parser->has_data) {
    nxa_stream_event event = {parser->event.length ? parser->event.data : "message", nxa__buffer_text(&parser->data),
                              parser->data.length, nxa__buffer_text(&parser->id)};
    kind = parser->emit(parser->emit_data, &event);
  }
  nxa__buffer_clear(&parser->event);
  nxa__buffer_clear(&parser->data);
  parser->has_data = false;
  return kind;
}

static nxa_kind replace(nxa__buffer *buffer, const char *value, size_t length) {
  nxa__buffer_clear(buffer);
  return nxa__buffer_append(buffer, value, length);
}

static nxa_kind add_data(nxa__sse *parser, const char *value, size_t length) {
  if (parser->has_data)
    nxa__buffer_append_byte(&parser->data, '\n');
  parser->has_data = true;
  return nxa__buffer_append(&parser->data, value, length);
}

static bool named(const char *name, size_t length, const char *wanted) {
  return length == strlen(wanted) && memcmp(name, wanted, length) == 0;
}

static nxa_kind take_field(nxa__sse *parser, const char *name, size_t name_length, const char *value, size_t length) {
  if (named(name, name_length, "data"))
    return add_data(parser, value, length);
  if (named(name, name_length, "event"))
    return replace(&parser->event, value, length);
  /* an id with a zero in it is to be ignored */
  if (named(name, name_length, "id") && !memchr(value, '\0', length))
    return replace(&parser->id, value, length);
  return NXA_OK;
}

static nxa_kind take_line(nxa__sse *parser, const char *line, size_t length) {
  if (length == 0)
    return dispatch(parser);
  const char *colon = memchr(line, ':', length);
  if (colon == line)
    return NXA_OK;
  if (!colon)
    return take_field(parser, line, length, "", 0);
  const char *value = colon + 1, *end = line + length;
  if (value < end && *value == ' ')
    value++;
  return take_field(parser, line, (size_t)(colon - line), value, (size_t)(end - value));
}

/* The next of one kind, or `end`. What was found last is good until it is passed, so no byte is searched twice. */
static const char *next_of(char kind, const char *found, const char *bytes, const char *end) {
  if (found && found >= bytes)
    return found;
  found = memchr(bytes, kind, (size_t)(end - bytes));
  return found ? found : end;
}

static nxa_kind end_line(nxa__sse *parser, const char *bytes, size_t length) {
  if (parser->line.length == 0)
    return length <= parser->line.limit ? take_line(parser, bytes, length) : NXA_TOO_LARGE;
  if (nxa__buffer_append(&parser->line, bytes, length) != NXA_OK)
    return parser->line.state;
  nxa_kind kind = take_line(parser, parser->line.data, parser->line.length);
  nxa__buffer_clear(&parser->line);
  return kind;
}

static nxa_kind take_lines(nxa__sse *parser, const char *bytes, size_t length) {
  const char *end = bytes + length, *feed = NULL, *carriage = NULL;
  while (bytes < end) {
    if (parser->after_return && *bytes == '\n')
      bytes++;
    parser->after_return = false;
    feed = next_of('\n', feed, bytes, end);
    carriage = next_of('\r', carriage, bytes, end);
    const char *stop = feed < carriage ? feed : carriage;
    if (stop == end)
      return nxa__buffer_append(&parser->line, bytes, (size_t)(end - bytes));
    nxa_kind kind = end_line(parser, bytes, (size_t)(stop - bytes));
    if (kind != NXA_OK)
      return kind;
    parser->after_return = *stop == '\r';
    bytes = stop + 1;
  }
  return NXA_OK;
}

/* Swallows a byte order mark; what only looked like the start of one belongs to the first line. */
static nxa_kind take_start(nxa__sse *parser, const char **bytes, size_t *length) {
  while (parser->mark_bytes >= 0 && parser->mark_bytes < 3 && *length > 0) {
    if (**bytes != byte_order_mark[parser->mark_bytes]) {
      size_t seen = (size_t)parser->mark_bytes;
      parser->mark_bytes = -1;
      return nxa__buffer_append(&parser->line, byte_order_mark, seen);
    }
    parser->mark_bytes++;
    ++*bytes;
    --*length;
  }
  return NXA_OK;
}

nxa_kind nxa__sse_feed(nxa__sse *parser, const char *bytes, size_t length) {
  if (parser->state == NXA_OK)
    parser->state = take_start(parser, &bytes, &length);
  if (parser->state == NXA_OK)
    parser->state = take_lines(parser, bytes, length);
  return parser->state;
}
