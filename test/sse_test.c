#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "sse.h"
#include "sse_property.h"
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

/* Streams put together of what matters to the parser. */
static size_t random_stream(char *text, size_t most, uint32_t *seed) {
  static const char *const pieces[] = {"data", "data: ", ":", "\n", "\n\n",  "\r",       "\r\n", "event: a",
                                       "id: ", " ",      "7", "x",  "retry", "\xEF\xBB", "\xBF", "\xE2\x82\xAC"};
  size_t length = 0;
  for (size_t count = sse_random(seed) % 60; count > 0; count--) {
    const char *piece = pieces[sse_random(seed) % (sizeof pieces / sizeof *pieces)];
    if (length + strlen(piece) + 1 > most)
      break;
    length += (size_t)sprintf(text + length, "%s", piece);
    if (sse_random(seed) % 50 == 0)
      text[length++] = '\0';
  }
  return length;
}

static void any_cut_gives_the_same_events(void **state) {
  (void)state;
  uint32_t seed = 1;
  char text[1000];
  for (int round = 0; round < 20000; round++) {
    uint32_t stream = seed;
    size_t length = random_stream(text, sizeof text - 1, &seed), largest = sse_random(&seed) % 20 + 1;
    size_t limit = round % 4 == 0 ? sse_random(&seed) % 40 + 1 : 1 << 20;
    if (!sse_cuts_agree(text, length, limit, largest, seed))
      fail_msg("the stream of %u, in pieces up to %zu of %u, limit %zu", stream, largest, seed, limit);
  }
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

static void held_events_fill_a_stream(void **state) {
  (void)state;
  nxa__stream *stream = nxa__stream_new(NXA_STREAM_EVENTS, 1000);
  nxa_stream_event event;
  size_t held = 0;
  for (; !nxa__stream_full(stream, 18); held++)
    assert_int_equal(nxa__stream_feed(stream, "data: 0123456789\n\n", 18), NXA_OK);
  assert_true(held > 2 && held < 100);
  assert_true(stream->held >= 1000 && stream->held < 1200);
  size_t taken = 0;
  for (; !nxa__stream_has_room(stream); taken++) {
    assert_true(nxa__stream_next_event(stream, &event));
    assert_string_equal(event.data, "0123456789");
  }
  assert_true(taken >= held / 2 && taken < held);
  while (nxa__stream_next_event(stream, &event))
    taken++;
  assert_int_equal(taken, held);
  assert_true(nxa__stream_empty(stream));
  nxa__stream_free(stream);
}

/* However much is held: the limit of one event is not theirs together. */
static void a_held_event_is_capped(void **state) {
  (void)state;
  nxa__stream *stream = nxa__stream_new(NXA_STREAM_EVENTS, 20);
  for (int i = 0; i < 10; i++)
    assert_int_equal(nxa__stream_feed(stream, "data: 01234567\n\n", 16), NXA_OK);
  assert_int_equal(nxa__stream_feed(stream, "id: 01234567\ndata: 01234567\n\n", 30), NXA_TOO_LARGE);
  nxa__stream_free(stream);
}

static void held_bytes_fill_a_stream(void **state) {
  (void)state;
  nxa__stream *stream = nxa__stream_new(NXA_STREAM_BYTES, 10);
  const char *data;
  size_t length;
  assert_false(nxa__stream_next_piece(stream, &data, &length));
  assert_false(nxa__stream_full(stream, 11)); /* one piece is always taken */
  assert_int_equal(nxa__stream_feed(stream, "01234", 5), NXA_OK);
  assert_false(nxa__stream_full(stream, 5));
  assert_true(nxa__stream_full(stream, 6));
  assert_int_equal(nxa__stream_feed(stream, "\0", 1), NXA_OK);
  assert_false(nxa__stream_has_room(stream));
  assert_true(nxa__stream_next_piece(stream, &data, &length));
  assert_true(nxa__stream_has_room(stream) && nxa__stream_empty(stream));
  assert_int_equal(nxa__stream_feed(stream, "next", 4), NXA_OK);
  assert_int_equal(length, 6);
  assert_memory_equal(data, "01234\0", 6);
  assert_true(nxa__stream_next_piece(stream, &data, &length));
  assert_int_equal(length, 4);
  assert_memory_equal(data, "next", 4);
  assert_false(nxa__stream_next_piece(stream, &data, &length));
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
      cmocka_unit_test(any_cut_gives_the_same_events),
      cmocka_unit_test(one_event_is_capped),
      cmocka_unit_test(held_events_fill_a_stream),
      cmocka_unit_test(a_held_event_is_capped),
      cmocka_unit_test(held_bytes_fill_a_stream),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
