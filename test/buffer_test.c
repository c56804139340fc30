#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buffer.h"

static void *refuse(size_t size) {
  (void)size;
  return NULL;
}

static void *refuse_again(void *block, size_t size) {
  (void)block;
  (void)size;
  return NULL;
}

static void empty_has_text(void **state) {
  (void)state;
  nxa__buffer buffer;
  nxa__buffer_init(&buffer, 10);
  assert_string_equal(nxa__buffer_text(&buffer), "");
  nxa__buffer_free(&buffer);
}

static void appends(void **state) {
  (void)state;
  nxa__buffer buffer;
  nxa__buffer_init(&buffer, 1000);
  assert_int_equal(nxa__buffer_append_text(&buffer, "one "), NXA_OK);
  assert_int_equal(nxa__buffer_append(&buffer, "two\0", 4), NXA_OK);
  assert_int_equal(nxa__buffer_append_byte(&buffer, '!'), NXA_OK);
  assert_int_equal(nxa__buffer_append_format(&buffer, "%d-%s", 42, "x"), NXA_OK);
  assert_int_equal(buffer.length, 13);
  assert_memory_equal(buffer.data, "one two\0!42-x", 14);
  nxa__buffer_free(&buffer);
}

static void grows_to_the_limit_and_not_beyond(void **state) {
  (void)state;
  nxa__buffer buffer;
  nxa__buffer_init(&buffer, 1000);
  for (int i = 0; i < 1000; i++)
    assert_int_equal(nxa__buffer_append_byte(&buffer, (char)('a' + i % 26)), NXA_OK);
  assert_int_equal(nxa__buffer_append_byte(&buffer, '!'), NXA_TOO_LARGE);
  assert_int_equal(buffer.length, 1000);
  assert_int_equal(buffer.data[999], 'a' + 999 % 26);
  assert_true(buffer.capacity <= 1001);
  nxa__buffer_free(&buffer);
}

static void failure_sticks_until_cleared(void **state) {
  (void)state;
  nxa__buffer buffer;
  nxa__buffer_init(&buffer, 4);
  nxa__buffer_append_text(&buffer, "abc");
  assert_int_equal(nxa__buffer_append_text(&buffer, "de"), NXA_TOO_LARGE);
  assert_int_equal(nxa__buffer_append_text(&buffer, "f"), NXA_TOO_LARGE);
  assert_int_equal(nxa__buffer_append_format(&buffer, "g"), NXA_TOO_LARGE);
  assert_string_equal(nxa__buffer_text(&buffer), "abc");
  nxa__buffer_clear(&buffer);
  assert_int_equal(nxa__buffer_append_text(&buffer, "wxyz"), NXA_OK);
  assert_string_equal(nxa__buffer_text(&buffer), "wxyz");
  nxa__buffer_free(&buffer);
}

static void formats_long_texts(void **state) {
  (void)state;
  nxa__buffer buffer;
  char wanted[2001];
  memset(wanted, 'y', 2000);
  wanted[2000] = '\0';
  nxa__buffer_init(&buffer, 5000);
  assert_int_equal(nxa__buffer_append_format(&buffer, "%s", wanted), NXA_OK);
  assert_string_equal(buffer.data, wanted);
  assert_int_equal(nxa__buffer_append_format(&buffer, "%s%s", wanted, wanted), NXA_TOO_LARGE);
  assert_string_equal(buffer.data, wanted);
  nxa__buffer_free(&buffer);
}

static void is_cut(void **state) {
  (void)state;
  nxa__buffer buffer;
  nxa__buffer_init(&buffer, 100);
  nxa__buffer_append_text(&buffer, "abcdef");
  nxa__buffer_cut(&buffer, 99);
  nxa__buffer_cut(&buffer, 3);
  assert_int_equal(buffer.length, 3);
  assert_string_equal(buffer.data, "abc");
  assert_int_equal(nxa__buffer_append_text(&buffer, "new"), NXA_OK);
  assert_string_equal(buffer.data, "abcnew");
  nxa__buffer_free(&buffer);
}

static void huge_sizes_do_not_overflow(void **state) {
  (void)state;
  nxa__buffer buffer;
  nxa__buffer_init(&buffer, SIZE_MAX);
  nxa__buffer_append_text(&buffer, "x");
  assert_int_equal(nxa__buffer_reserve(&buffer, SIZE_MAX), NXA_TOO_LARGE);
  assert_string_equal(nxa__buffer_text(&buffer), "x");
  nxa__buffer_free(&buffer);
  assert_null(nxa__copy_bytes("", SIZE_MAX));
}

static void memory_runs_out(void **state) {
  (void)state;
  nxa__buffer buffer;
  nxa__buffer_init(&buffer, 1000);
  nxa__buffer_append_text(&buffer, "kept");
  nxa_set_allocator(refuse, refuse_again, free);
  for (int i = 0; i < 300; i++)
    nxa__buffer_append_byte(&buffer, 'x');
  assert_int_equal(buffer.state, NXA_MEMORY);
  assert_memory_equal(buffer.data, "keptxx", 6);
  assert_null(nxa__allocate_zeroed(1));
  assert_null(nxa__copy_string("x"));
  nxa_set_allocator(NULL, NULL, NULL);
  nxa__buffer_free(&buffer);
}

static void wipes(void **state) {
  (void)state;
  char secret[] = "secret";
  nxa__wipe(secret, 3);
  assert_memory_equal(secret, "\0\0\0ret", 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(empty_has_text),
      cmocka_unit_test(appends),
      cmocka_unit_test(grows_to_the_limit_and_not_beyond),
      cmocka_unit_test(failure_sticks_until_cleared),
      cmocka_unit_test(formats_long_texts),
      cmocka_unit_test(is_cut),
      cmocka_unit_test(huge_sizes_do_not_overflow),
      cmocka_unit_test(memory_runs_out),
      cmocka_unit_test(wipes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
