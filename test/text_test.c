#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "error.h"
#include "random.h"
#include "text.h"

#define BYTES(text) (text), sizeof(text) - 1

static void assert_bad_at(const char *text, size_t length, size_t where) {
  size_t offset = 999;
  if (nxa_utf8_valid(text, length, &offset))
    fail_msg("taken for valid, though bad at %zu", where);
  assert_int_equal(offset, where);
  assert_false(nxa_utf8_valid(text, length, NULL));
}

static void valid_utf8(void **state) {
  (void)state;
  assert_true(nxa_utf8_valid("", 0, NULL));
  assert_true(nxa_utf8_valid(BYTES("plain ASCII, longer than eight bytes\0with a zero"), NULL));
  assert_true(nxa_utf8_valid(BYTES("\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF \xEE\x80\x80 \xEF\xBF\xBF"), NULL));
  assert_true(nxa_utf8_valid(BYTES("\xF0\x90\x80\x80 \xF4\x8F\xBF\xBF Gr\xC3\xBC\xC3\x9F"), NULL));
}

static void invalid_utf8(void **state) {
  (void)state;
  assert_bad_at(BYTES("\x80"), 0);
  assert_bad_at(BYTES("12345678\xFF"), 8);
  assert_bad_at(BYTES("a\xC0\xAF"), 1);        /* overlong */
  assert_bad_at(BYTES("a\xC1\xBF"), 1);        /* overlong */
  assert_bad_at(BYTES("\xE0\x9F\xBF"), 0);     /* overlong */
  assert_bad_at(BYTES("\xF0\x8F\xBF\xBF"), 0); /* overlong */
  assert_bad_at(BYTES("ab\xED\xA0\x80"), 2);   /* surrogate */
  assert_bad_at(BYTES("\xF4\x90\x80\x80"), 0); /* above U+10FFFF */
  assert_bad_at(BYTES("\xF5\x80\x80\x80"), 0);
  assert_bad_at(BYTES("ok \xE2\x82"), 3); /* ends too early */
  assert_bad_at(BYTES("\xE2\x82x"), 0);
  assert_bad_at(BYTES("\xF0\x9F\x98\x41"), 0);
}

/* Against a decoder that knows nothing but the definition. */
static bool is_valid_by_definition(const unsigned char *b, size_t n) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t size = b[0] < 0x80 ? 1 : (b[0] & 0xE0) == 0xC0 ? 2 : (b[0] & 0xF0) == 0xE0 ? 3 : (b[0] & 0xF8) == 0xF0 ? 4 : 0;
  if (size == 0 || size != n)
    return false;
  uint32_t code = size == 1 ? b[0] : b[0] & (0x7Fu >> size);
  for (size_t i = 1; i < size; i++) {
    if ((b[i] & 0xC0) != 0x80)
      return false;
    code = code << 6 | (b[i] & 0x3F);
  }
  return code >= least[size] && code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF);
}

static void every_three_bytes(void **state) {
  (void)state;
  for (unsigned i = 0; i < 1u << 24; i++) {
    const unsigned char b[3] = {(unsigned char)(i >> 16), (unsigned char)(i >> 8), (unsigned char)i};
    size_t length = nxa__utf8_length((const char *)b, 3);
    size_t wanted = 0;
    for (size_t n = 1; n <= 3; n++)
      if (is_valid_by_definition(b, n))
        wanted = n;
    if (length != wanted)
      fail_msg("%06x: %zu, not %zu", i, length, wanted);
  }
}

static void cuts_between_characters(void **state) {
  (void)state;
  const char *text = "a\xE2\x82\xAC"
                     "b"; /* a € b */
  assert_int_equal(nxa__utf8_cut(text, 5, 9), 5);
  assert_int_equal(nxa__utf8_cut(text, 5, 4), 4);
  assert_int_equal(nxa__utf8_cut(text, 5, 3), 1);
  assert_int_equal(nxa__utf8_cut(text, 5, 2), 1);
  assert_int_equal(nxa__utf8_cut(text, 5, 0), 0);
}

static void assert_line(const char *text, size_t length, size_t size, const char *wanted) {
  char out[200];
  memset(out, '#', sizeof out);
  assert_int_equal(nxa__text_line(out, size, text, length), strlen(wanted));
  assert_string_equal(out, wanted);
  assert_int_equal(out[size], '#');
}

static void one_clean_line(void **state) {
  (void)state;
  assert_line(BYTES("  a \r\n\t b\0c\x7F"), 100, "a b c");
  assert_line(BYTES("x\xFFy"), 100, "x\xEF\xBF\xBDy");
  assert_line(BYTES("x\xC2\x85y\xE2\x80\xA8z"), 100, "x y z");
  assert_line(BYTES("\x1B[31mred"), 100, "[31mred");
  assert_line(BYTES("123456789"), 10, "123456789");
  assert_line(BYTES("1234567890"), 10, "123456\xE2\x80\xA6");
  assert_line(BYTES("12345\xE2\x82\xAC\xE2\x82\xAC"), 10, "12345\xE2\x80\xA6");
  assert_line(BYTES("123456789   "), 10, "123456789");
  assert_line(BYTES("abcdef"), 3, "ab");
  assert_line(BYTES(""), 1, "");
}

static void hexadecimal(void **state) {
  (void)state;
  char out[9];
  nxa__hex(out, (const unsigned char *)"\x00\x9A\xFF\x10", 4);
  assert_string_equal(out, "009aff10");
}

static void assert_timestamp(int64_t seconds, int64_t ns, const char *wanted) {
  char out[NXA__TIMESTAMP_SIZE];
  nxa__timestamp(out, seconds * 1000000000 + ns);
  assert_string_equal(out, wanted);
}

static void timestamps(void **state) {
  (void)state;
  assert_timestamp(0, 0, "1970-01-01T00:00:00.000000Z");
  assert_timestamp(1772368496, 789999999, "2026-03-01T12:34:56.789999Z");
  assert_timestamp(951782400, 0, "2000-02-29T00:00:00.000000Z");
  assert_timestamp(4102444799, 999000000, "2099-12-31T23:59:59.999000Z");
  assert_timestamp(-1, 0, "1969-12-31T23:59:59.000000Z");
  assert_timestamp(0, -1, "1969-12-31T23:59:59.999999Z");
}

static void timestamps_agree_with_the_system(void **state) {
  (void)state;
  for (int64_t seconds = -4000000000; seconds < 9000000000; seconds += 86400 * 7 + 12345) {
    char wanted[40];
    time_t when = (time_t)seconds;
    struct tm parts;
    strftime(wanted, sizeof wanted, "%Y-%m-%dT%H:%M:%S.000000Z", gmtime_r(&when, &parts));
    assert_timestamp(seconds, 0, wanted);
  }
}

static void words(void **state) {
  (void)state;
  assert_true(nxa__same_word("Retry-AFTER", 11, "retry-after"));
  assert_false(nxa__same_word("Retry-Afte", 10, "retry-after"));
  assert_false(nxa__same_word("Retry-After2", 12, "retry-after"));
  assert_true(nxa__is_token(BYTES("X-My_Header.1")));
  assert_false(nxa__is_token(BYTES("")));
  assert_false(nxa__is_token(BYTES("a b")));
  assert_false(nxa__is_token(BYTES("a:")));
  assert_false(nxa__is_token(BYTES("a\0b")));
  assert_true(nxa__is_printable(BYTES("a b\xC3\xA4"), true));
  assert_false(nxa__is_printable(BYTES("a b"), false));
  assert_false(nxa__is_printable(BYTES("a\nb"), true));
  assert_false(nxa__is_printable(BYTES("a\x7F"), true));
}

static void kinds(void **state) {
  (void)state;
  assert_string_equal(nxa_kind_name(NXA_RATE_LIMIT), "rate_limit");
  assert_string_equal(nxa_kind_name((nxa_kind)99), "unknown");
  assert_int_equal(nxa__kind_of_status(204), NXA_OK);
  assert_int_equal(nxa__kind_of_status(302), NXA_STATUS);
  assert_int_equal(nxa__kind_of_status(408), NXA_STATUS);
  assert_int_equal(nxa__kind_of_status(503), NXA_SERVER);
  assert_int_equal(nxa__kind_of_status(422), NXA_UNPROCESSABLE);
}

static void errors_are_one_line(void **state) {
  (void)state;
  nxa_error error;
  char long_text[2000];
  memset(long_text, 'x', sizeof long_text - 1);
  long_text[sizeof long_text - 1] = '\0';
  assert_int_equal(nxa__error_set(&error, NXA_INVALID, "bad\n%s", "thing"), NXA_INVALID);
  assert_string_equal(error.message, "bad thing");
  assert_true(error.retry_after < 0);
  nxa__error_set(&error, NXA_INVALID, "%s", long_text);
  assert_true(strlen(error.message) > 500);
  assert_string_equal(error.message + strlen(error.message) - 3, "\xE2\x80\xA6");
  assert_int_equal(nxa__error_set(NULL, NXA_MEMORY, "x"), NXA_MEMORY);
}

static void clocks(void **state) {
  (void)state;
  int64_t before = nxa__monotonic_ns();
  assert_true(nxa__monotonic_ns() >= before);
  assert_true(nxa__wall_ns() > INT64_C(1700000000) * 1000000000);
  nxa__clock_fake(5, 7);
  assert_int_equal(nxa__monotonic_ns(), 5);
  assert_int_equal(nxa__wall_ns(), 7);
  assert_true(nxa__monotonic_true_ns() >= before);
  nxa__clock_real();
  assert_true(nxa__monotonic_ns() >= before);
  assert_int_equal(nxa__ns_of(1.5), 1500000000);
  assert_true(nxa__ns_of(1e300) > 0);
  assert_true(nxa__ns_of(-1e300) < 0);
  assert_int_equal(nxa__ns_of(0.0 / 0.0 * 0), 0);
}

static void randomness(void **state) {
  (void)state;
  unsigned char a[16] = {0}, b[16] = {0}, zero[16] = {0};
  nxa__random_bytes(a, sizeof a);
  nxa__random_bytes(b, sizeof b);
  assert_memory_not_equal(a, b, sizeof a);
  assert_memory_not_equal(a, zero, sizeof a);
  for (int i = 0; i < 1000; i++) {
    double x = nxa__random_fraction();
    assert_true(x >= 0 && x < 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(valid_utf8),
      cmocka_unit_test(invalid_utf8),
      cmocka_unit_test(every_three_bytes),
      cmocka_unit_test(cuts_between_characters),
      cmocka_unit_test(one_clean_line),
      cmocka_unit_test(hexadecimal),
      cmocka_unit_test(timestamps),
      cmocka_unit_test(timestamps_agree_with_the_system),
      cmocka_unit_test(words),
      cmocka_unit_test(kinds),
      cmocka_unit_test(errors_are_one_line),
      cmocka_unit_test(clocks),
      cmocka_unit_test(randomness),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
