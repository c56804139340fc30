#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "sse.h"
#include "stream.h"

/* Events are written down as "event|data|id;". */
static nxa_kind note(void *data, const nxa_stream_event *event) {
  nxa__buffer *notes = data;
  nxa__buffer_append_text(notes, event->event);
  nxa__buffer_append_byte(notes, '|');
  nxa__buffer_append(notes, event->data, event->data_length);
  assert_int_equal(event->data[event->data_length], '\0');
  nxa__buffer_append_byte(notes, '|');
  nxa__buffer_append_text(notes, event->id);
  return nxa__buffer_append_byte(notes, ';');
}

static nxa_kind parse(const char *text, size_t length, size_t piece, size_t limit, nxa__buffer *notes) {
  nxa__sse parser;
  nxa_kind kind = NXA_OK;
  nxa__sse_init(&parser, limit, note, notes);
  for (size_t at = 0; at < length; at += piece) {
    size_t size = piece < length - at ? piece : length - at;
    /* a copy of its own, so that the sanitizer sees a byte read too many */
    char *copy = malloc(size);
    memcpy(copy, text + at, size);
    kind = nxa__sse_feed(&parser, copy, size);
    free(copy);
  }
  nxa__sse_free(&parser);
  return kind;
}

static void assert_events(const char *text, size_t length, const char *wanted) {
  for (size_t piece = 1; piece <= length + 1; piece++) {
    nxa__buffer notes;
    nxa__buffer_init(&notes, 1 << 20);
    assert_int_equal(parse(text, length, piece, 1 << 20, &notes), NXA_OK);
    if (strcmp(nxa__buffer_text(&notes), wanted) != 0)
      fail_msg("in pieces of %zu: \"%s\", not \"%s\"", piece, nxa__buffer_text(&notes), wanted);
    nxa__buffer_free(&notes);
  }
}

#define EVENTS(text, wanted) assert_events((text), sizeof(text) - 1, (wanted))

static void plain(void **state) {
  (void)state;
  EVENTS("data: hello\n\n", "message|hello|;");
  EVENTS("event: thread.run.created\ndata: {\"id\":1}\n\n", "thread.run.created|{\"id\":1}|;");
  EVENTS("event: done\ndata: [DONE]\n\n", "done|[DONE]|;");
  EVENTS("data:a\n\ndata:  b\n\n", "message|a|;message| b|;");
}

static void line_ends(void **state) {
  (void)state;
  EVENTS("data: a\r\n\r\ndata: b\r\rdata: c\n\n", "message|a|;message|b|;message|c|;");
  EVENTS("data: a\r\ndata: b\rdata: c\n\r\n", "message|a\nb\nc|;");
  EVENTS("\n\r\r\n\ndata: a\n\n", "message|a|;");
}

static void many_lines_of_data(void **state) {
  (void)state;
  EVENTS("data: a\ndata:\ndata\ndata: b\n\n", "message|a\n\n\nb|;");
  EVENTS("data\n\n", "message||;");
  EVENTS("data\ndata\n\n", "message|\n|;");
  EVENTS("event: x\n\ndata: a\n\n", "message|a|;");
}

static void comments_and_unknown_fields(void **state) {
  (void)state;
  EVENTS(": keep-alive\n\n:\ndata: a\n: in between\nfoo: bar\nretry: 10\nDATA: no\nbare\n\n", "message|a|;");
  EVENTS("data : a\n\ndata: b\n\n", "message|b|;");
}

static void ids(void **state) {
  (void)state;
  EVENTS("id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", "message|a|1;message|b|1;message|c|;");
  EVENTS("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", "message|a|1;message|b|1;");
  EVENTS("id: 1\n\ndata: b\n\n", "message|b|1;");
}

static void byte_order_mark(void **state) {
  (void)state;
  EVENTS("\xEF\xBB\xBF"
         "data: a\n\n",
         "message|a|;");
  EVENTS("\xEF\xBB\xBF\xEF\xBB\xBF"
         "data: a\n\ndata: b\n\n",
         "message|b|;");
  EVENTS("\xEF\xBB"
         "data: a\n\ndata: b\n\n",
         "message|b|;");
  EVENTS("data: \xEF\xBB\xBF\n\n", "message|\xEF\xBB\xBF|;");
}

static void characters_cut_anywhere(void **state) {
  (void)state;
  EVENTS("data: Gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80\n\n",
         "message|Gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80|;");
}

static void unfinished_events_are_dropped(void **state) {
  (void)state;
  EVENTS("data: a\n\ndata: b\n", "message|a|;");
  EVENTS("data: a\n\ndata: b", "message|a|;");
  EVENTS("data: a\n", "");
  EVENTS("", "");
}

static void a_long_stream_in_any_pieces(void **state) {
  (void)state;
  static const size_t pieces[] = {1, 2, 3, 5, 7, 16, 64, 1000, 4096, 1 << 20};
  nxa__buffer text, wanted, notes;
  nxa__buffer_init(&text, 1 << 20);
  nxa__buffer_init(&wanted, 1 << 20);
  for (int i = 0; i < 300; i++) {
    const char *end = i % 3 == 0 ? "\r\n" : i % 3 == 1 ? "\n" : "\r";
    nxa__buffer_append_format(&text, "event: e%d%sid: %d%sdata: %*s\xE2\x82\xAC%s:c%sdata%s%s", i, end, i, end, i % 50,
                              "x", end, end, end, end);
    nxa__buffer_append_format(&wanted, "e%d|%*s\xE2\x82\xAC\n|%d;", i, i % 50, "x", i);
  }
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
    nxa__buffer_init(&notes, 1 << 20);
    assert_int_equal(parse(text.data, text.length, pieces[i], 1 << 20, &notes), NXA_OK);
    assert_string_equal(nxa__buffer_text(&notes), wanted.data);
    nxa__buffer_free(&notes);
  }
  nxa__buffer_free(&text);
  nxa__buffer_free(&wanted);
}

static void one_event_is_capped(void **state) {
  (void)state;
  const char *texts[] = {"data: 123456789012345678901\n\n", "data: 12345678\ndata: 12345678\ndata: 123\n\n",
                         "a line without an end, and too long", "event: 123456789012345678901\n\n"};
  for (size_t i = 0; i < 4; i++)
    for (size_t piece = 1; piece < 50; piece++) {
      nxa__buffer notes;
      nxa__buffer_init(&notes, 1000);
      assert_int_equal(parse(texts[i], strlen(texts[i]), piece, 20, &notes), NXA_TOO_LARGE);
      assert_string_equal(nxa__buffer_text(&notes), "");
      nxa__buffer_free(&notes);
    }
}

static void what_is_held_is_capped(void **state) {
  (void)state;
  nxa__stream *stream = nxa__stream_new(1000);
  nxa_stream_event event;
  size_t held = 0;
  while (nxa__stream_feed(stream, "data: 0123456789\n\n", 18) == NXA_OK)
    held++;
  assert_true(held > 2 && held < 100);
  assert_true(stream->held <= 1000);
  assert_int_equal(nxa__stream_feed(stream, "data: x\n\n", 9), NXA_TOO_LARGE);
  for (size_t i = 0; i < held; i++) {
    assert_true(nxa__stream_next(stream, &event));
    assert_string_equal(event.data, "0123456789");
  }
  assert_false(nxa__stream_next(stream, &event));
  assert_int_equal(stream->held, 0);
  nxa__stream_free(stream);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain),
      cmocka_unit_test(line_ends),
      cmocka_unit_test(many_lines_of_data),
      cmocka_unit_test(comments_and_unknown_fields),
      cmocka_unit_test(ids),
      cmocka_unit_test(byte_order_mark),
      cmocka_unit_test(characters_cut_anywhere),
      cmocka_unit_test(unfinished_events_are_dropped),
      cmocka_unit_test(a_long_stream_in_any_pieces),
      cmocka_unit_test(one_event_is_capped),
      cmocka_unit_test(what_is_held_is_capped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
