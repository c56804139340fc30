#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json_out.h"
#include "support/json_check.h"

typedef size_t (*writer)(char *, size_t, const char *, size_t, bool *);

/* Runs a writer into a block of exactly the size it measured, so that the sanitizer sees every byte too many. */
static char *run(writer write, size_t limit, const char *text, size_t length, bool *cut) {
  bool cut_again;
  size_t size = write(NULL, limit, text, length, cut);
  assert_true(size <= limit);
  char *block = malloc(size + 1);
  assert_int_equal(write(block + 1, limit, text, length, &cut_again), size);
  assert_int_equal(cut_again, *cut);
  memmove(block, block + 1, size);
  block[size] = '\0';
  return block;
}

static void expect(writer write, size_t limit, const char *text, size_t length, const char *expected, bool is_cut) {
  bool cut;
  char *result = run(write, limit, text, length, &cut);
  assert_string_equal(result, expected);
  assert_int_equal(cut, is_cut);
  assert_true(json_check(result, strlen(result)));
  free(result);
}

#define STRING(text, expected) expect(nxa__json_string, 1000, text, sizeof text - 1, expected, false)
#define VALUE(text, expected) expect(nxa__json_value, 1000, text, sizeof text - 1, expected, false)

static void strings_are_escaped(void **state) {
  (void)state;
  STRING("", "\"\"");
  STRING("plain", "\"plain\"");
  STRING("a\"b\\c/", "\"a\\\"b\\\\c/\"");
  STRING("\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"");
  STRING("nul\0 and \x1f\x7f", "\"nul\\u0000 and \\u001f\x7f\"");
  STRING("Gr\xC3\xBC\xC3\x9F", "\"Gr\xC3\xBC\xC3\x9F\"");
}

#define FFFD "\xEF\xBF\xBD"

static void bad_utf8_is_replaced(void **state) {
  (void)state;
  STRING("a\xFFz", "\"a" FFFD "z\"");
  STRING("\xC3", "\"" FFFD "\"");
  STRING("\xC0\x80", "\"" FFFD FFFD "\"");
  STRING("\xED\xA0\x80", "\"" FFFD FFFD FFFD "\"");
  STRING("\xF4\x90\x80\x80", "\"" FFFD FFFD FFFD FFFD "\"");
  STRING("\xE2\x82", "\"" FFFD FFFD "\"");
  STRING("\xF0\x9F\x98\x80", "\"\xF0\x9F\x98\x80\"");
  VALUE("[\"\xE9t\xE9\"]", "[\"" FFFD "t" FFFD "\"]");
}

static void values_are_passed_on(void **state) {
  (void)state;
  VALUE("{\"a\":[1,2.5e3,null,true,{}],\"b\":[]}", "{\"a\":[1,2.5e3,null,true,{}],\"b\":[]}");
  VALUE(" \n\"x\\n\\u00e9\\\"\"\t ", "\"x\\n\\u00e9\\\"\"");
  VALUE("12345678901234567890", "12345678901234567890");
}

static void lone_surrogates_are_replaced(void **state) {
  (void)state;
  VALUE("\"\\ud83d\\ude00\"", "\"\\ud83d\\ude00\"");
  VALUE("\"\\ud83d\"", "\"" FFFD "\"");
  VALUE("\"\\ude00 \\uD83Dx\"", "\"" FFFD " " FFFD "x\"");
  VALUE("\"\\ud83d\\ud83d\\ude00\"", "\"" FFFD "\\ud83d\\ude00\"");
  VALUE("\"\\\\ud83d\"", "\"\\\\ud83d\"");
}

static void long_strings_are_cut_with_a_mark(void **state) {
  (void)state;
  char text[200];
  memset(text, 'x', sizeof text);
  text[0] = text[199] = '"';
  bool cut;
  char *value = run(nxa__json_value, 100, text, sizeof text, &cut);
  assert_true(cut);
  assert_true(json_check(value, strlen(value)));
  assert_non_null(strstr(value, "xx\xE2\x80\xA6 [cut, 200 bytes]\""));
  assert_true(strlen(value) > 70);
  free(value);
  memset(text, 'x', sizeof text);
  value = run(nxa__json_string, 100, text, sizeof text, &cut);
  assert_true(cut && json_check(value, strlen(value)));
  assert_non_null(strstr(value, "xx\xE2\x80\xA6 [cut, 200 bytes]\""));
  free(value);
}

static void other_values_are_cut_into_an_object(void **state) {
  (void)state;
  char json[300] = "[\"a\\n\", ";
  for (size_t i = 8; i < sizeof json - 1; i++)
    json[i] = i % 2 ? '1' : ',';
  json[sizeof json - 1] = ']';
  bool cut;
  char *value = run(nxa__json_value, 120, json, sizeof json, &cut);
  assert_true(cut && json_check(value, strlen(value)));
  assert_memory_equal(value, "{\"cut\":true,\"bytes\":300,\"start\":\"[\\\"a\\\\n\\\", ,1,1", 48);
  free(value);
}

static void what_just_fits_is_not_cut(void **state) {
  (void)state;
  char text[100];
  memset(text, 'x', sizeof text);
  text[0] = text[99] = '"';
  bool cut;
  free(run(nxa__json_value, 100, text, 100, &cut));
  assert_false(cut);
  free(run(nxa__json_value, 99, text, 100, &cut));
  assert_true(cut);
  free(run(nxa__json_string, 100, text + 1, 98, &cut));
  assert_false(cut);
  free(run(nxa__json_string, 99, text + 1, 98, &cut));
  assert_true(cut);
}

static void blanks_after_a_long_string_do_not_break_it(void **state) {
  (void)state;
  char json[400];
  memset(json, ' ', sizeof json);
  memcpy(json + 5, "\"short\"", 7);
  expect(nxa__json_value, 100, json, sizeof json, "\"short\"", false);
}

static uint32_t seed = 1;

static uint32_t chance(uint32_t below) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % below;
}

/* Pieces that are hard to cut: escapes, pairs, lone halves, long and broken UTF-8. */
static size_t hard_inside(char *out, size_t pieces) {
  static const char *const parts[] = {
      "a",    "\\n",   "\\\\",    "\\\"", "\\ud83d\\ude00",   "\\ud83d",      "\\ude00",
      "\xC3", "\x80z", "\\u0041", " ",    "\xF0\x9F\x98\x80", "\xE2\x82\xAC", "bcdefghijk"};
  size_t used = 0;
  while (pieces--) {
    const char *part = parts[chance(sizeof parts / sizeof *parts)];
    memcpy(out + used, part, strlen(part));
    used += strlen(part);
  }
  return used;
}

static size_t hard_json(char *out) {
  bool list = chance(2);
  size_t used = 0;
  if (list)
    out[used++] = '[';
  out[used++] = '"';
  used += hard_inside(out + used, chance(60));
  out[used++] = '"';
  if (list)
    out[used++] = ']';
  return used;
}

static void cuts_anywhere_stay_valid(void **state) {
  (void)state;
  for (int round = 0; round < 20000; round++) {
    char json[1024];
    bool cut;
    size_t length = hard_json(json);
    size_t limit = NXA__JSON_LEAST + chance(300);
    char *value = run(nxa__json_value, limit, json, length, &cut);
    if (!json_check(value, strlen(value)))
      fail_msg("limit %zu: %.*s gave %s", limit, (int)length, json, value);
    free(value);
    value = run(nxa__json_string, limit, json, length, &cut);
    assert_true(json_check(value, strlen(value)));
    free(value);
  }
}

#define FIND(json, key, found, expected)                                                                               \
  do {                                                                                                                 \
    char text[64];                                                                                                     \
    assert_int_equal(nxa__json_find_string(json, strlen(json), key, text, sizeof text), found);                        \
    assert_string_equal(text, expected);                                                                               \
  } while (0)

static void top_level_strings_are_found(void **state) {
  (void)state;
  FIND("{\"trace_id\":\"abc-1\"}", "trace_id", true, "abc-1");
  FIND(" { \"a\" : {\"id\":\"inner\"} , \"id\" : \"outer\" } ", "id", true, "outer");
  FIND("{\"a\":[\"}\",{\"id\":\"x\"}],\"b\":\"\\\"id\\\":\",\"id\":\"y\"}", "id", true, "y");
  FIND("{\"n\":1e3,\"t\":true,\"id\":\"z\"}", "id", true, "z");
  FIND("{\"error\":\"a\\\"b\\nc\\u00e9\\ud83d\\ude00\\ud83d\"}", "error", true, "a\"b c\xC3\xA9\xF0\x9F\x98\x80" FFFD);
  FIND("{\"error\":\"\\u0001\\u009b\xFF\"}", "error", true, "  " FFFD);
}

static void what_is_not_there_is_not_found(void **state) {
  (void)state;
  FIND("", "id", false, "");
  FIND("<html>", "id", false, "");
  FIND("[\"id\",\"x\"]", "id", false, "");
  FIND("{}", "id", false, "");
  FIND("{\"id\":12}", "id", false, "");
  FIND("{\"id\":null}", "id", false, "");
  FIND("{\"ids\":\"x\"}", "id", false, "");
  FIND("{\"id\":\"x", "id", false, "");
  FIND("{\"id\":\"x\\", "id", false, "");
  FIND("{\"a\":{\"id\":\"x\"}}", "id", false, "");
}

static void long_answers_are_shortened(void **state) {
  (void)state;
  char text[8];
  const char *json = "{\"error\":\"12345\xC3\xA9\xC3\xA9\"}";
  assert_true(nxa__json_find_string(json, strlen(json), "error", text, sizeof text));
  assert_string_equal(text, "12345\xC3\xA9");
  assert_true(nxa__json_find_string(json, strlen(json), "error", text, 7));
  assert_string_equal(text, "12345");
}

/* Every beginning of an answer, in a block of its own: nothing is read beyond it. */
static void truncated_answers_are_safe(void **state) {
  (void)state;
  const char *json = "{\"a\":[1,{\"b\":\"\\u12\"}],\"c\":\"\\ud83d\\\"\",\"id\":\"\\ud83d\\ude00x\"}";
  for (size_t length = 0; length <= strlen(json); length++) {
    char *copy = malloc(length + 1), text[32];
    memmove(copy + 1, json, length);
    bool found = nxa__json_find_string(copy + 1, length, "id", text, sizeof text);
    assert_int_equal(found, length >= strlen(json) - 1);
    free(copy);
  }
}

static void expect_member(const char *json, const char *key, const char *expected) {
  nxa__json value = nxa__json_member((nxa__json){(char *)json, strlen(json)}, key);
  if (!expected) {
    assert_null(value.text);
    return;
  }
  assert_non_null(value.text);
  assert_int_equal(value.length, strlen(expected));
  assert_memory_equal(value.text, expected, value.length);
}

static void members_are_found_whatever_they_are(void **state) {
  (void)state;
  const char *json = " { \"a\" : [1 , \"]\"] , \"b\" : {\"c\":1} ,\"c\":-2.5 , \"d\":\"x\\\"y\"\n,\"e\":null }";
  expect_member(json, "a", "[1 , \"]\"]");
  expect_member(json, "b", "{\"c\":1}");
  expect_member(json, "c", "-2.5");
  expect_member(json, "d", "\"x\\\"y\"");
  expect_member(json, "e", "null");
  expect_member(json, "f", NULL);
  expect_member("[\"a\"]", "a", NULL);
  expect_member("\"a\"", "a", NULL);
  expect_member("{}", "a", NULL);
}

static void elements_come_one_by_one(void **state) {
  static const char *const expected[] = {"1", "\"a,]\"", "[2,[]]", "{\"b\":[3]}"};
  const char *json = "[1 , \"a,]\",[2,[]] ,\n{\"b\":[3]} ]";
  nxa__json rest = {(char *)json, strlen(json)}, empty = {(char *)" [ ] ", 5}, none = {NULL, 0};
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    nxa__json element = nxa__json_next(&rest);
    assert_int_equal(element.length, strlen(expected[i]));
    assert_memory_equal(element.text, expected[i], element.length);
  }
  assert_null(nxa__json_next(&rest).text);
  assert_null(nxa__json_next(&rest).text);
  assert_null(nxa__json_next(&empty).text);
  assert_null(nxa__json_next(&none).text);
}

static void characters_are_those_that_are_meant(void **state) {
  static const char inside[] = "a\\n\\\"\\\\\\/\\b\\u0041\\u00e9\\ud83d\\ude00\\u0000\xC3\xA9 plain enough for words";
  static const char meant[] = "a\n\"\\/\b"
                              "A\xC3\xA9\xF0\x9F\x98\x80\0\xC3\xA9 plain enough for words";
  char *out = malloc(sizeof inside - 1);
  (void)state;
  assert_int_equal(nxa__json_characters(out, (nxa__json){(char *)inside, sizeof inside - 1}), sizeof meant - 1);
  assert_memory_equal(out, meant, sizeof meant - 1);
  free(out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(members_are_found_whatever_they_are),
      cmocka_unit_test(elements_come_one_by_one),
      cmocka_unit_test(characters_are_those_that_are_meant),
      cmocka_unit_test(strings_are_escaped),
      cmocka_unit_test(bad_utf8_is_replaced),
      cmocka_unit_test(values_are_passed_on),
      cmocka_unit_test(lone_surrogates_are_replaced),
      cmocka_unit_test(long_strings_are_cut_with_a_mark),
      cmocka_unit_test(other_values_are_cut_into_an_object),
      cmocka_unit_test(what_just_fits_is_not_cut),
      cmocka_unit_test(blanks_after_a_long_string_do_not_break_it),
      cmocka_unit_test(cuts_anywhere_stay_valid),
      cmocka_unit_test(top_level_strings_are_found),
      cmocka_unit_test(what_is_not_there_is_not_found),
      cmocka_unit_test(long_answers_are_shortened),
      cmocka_unit_test(truncated_answers_are_safe),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
