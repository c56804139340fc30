/* clang-format off
 * nxa-links: alloc buffer clock error random text pairs endpoint request parts json_out lock private spool
 * clang-format on */
#include "support/fake_transport.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool.h"

#define LABEL "http://nexus.test"

typedef struct fixture {
  nxa_engine *engine;
  nxa__spool *spool;
  nxa_stats stats;
  char path[64];
} fixture;

static bool in_place = true;

static void start_at(fixture *fix, const char *path, size_t files, size_t bytes) {
  nxa__spool_limits limits = {files, bytes, 60};
  nxa__spool_form form = {LABEL, "jsonl", in_place};
  fix->stats = (nxa_stats){0};
  fix->engine = fake_engine();
  fix->spool = nxa__spool_new(fix->engine, path, &form, &limits);
  assert_non_null(fix->spool);
  nxa__spool_count_in(fix->spool, &fix->stats);
}

static void start(fixture *fix, size_t files, size_t bytes) {
  strcpy(fix->path, "/tmp/nxa_spool_XXXXXX");
  assert_non_null(mkdtemp(fix->path));
  start_at(fix, fix->path, files, bytes);
}

static size_t count_in(const char *path) {
  size_t count = 0;
  DIR *folder = opendir(path);
  assert_non_null(folder);
  for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
    count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

static void own_folder(const fixture *fix, char *path, size_t size) {
  DIR *folder = opendir(fix->path);
  struct dirent *entry = readdir(folder);
  while (entry && entry->d_name[0] == '.')
    entry = readdir(folder);
  assert_non_null(entry);
  assert_true(snprintf(path, size, "%s/%s", fix->path, entry->d_name) < (int)size);
  closedir(folder);
}

static void remove_all(const fixture *fix) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", fix->path);
  assert_int_equal(system(command), 0);
}

static void stop(fixture *fix) {
  nxa__spool_free(fix->spool);
  assert_int_equal(fix->engine->references, 1);
  nxa_engine_free(fix->engine);
  nxa__clock_real();
  remove_all(fix);
}

static bool append(fixture *fix, nxa__spool_file *file, const char *line) {
  return nxa__spool_append(fix->spool, file, line, strlen(line));
}

static nxa__spool_file *written(fixture *fix, const char *line) {
  nxa__spool_file *file = nxa__spool_take(fix->spool);
  assert_non_null(file);
  assert_true(append(fix, file, line));
  return file;
}

static void assert_content(const char *path, const char *expected) {
  char content[256] = "";
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  size_t length = fread(content, 1, sizeof content - 1, file);
  content[length] = '\0';
  fclose(file);
  assert_string_equal(content, expected);
}

/* ------------------------------------------------------------------------------------------------ files */

static void test_makes_nothing_before_it_is_needed(void **state) {
  (void)state;
  fixture fix;
  start(&fix, 10, 1000);
  nxa__spool_file *file = nxa__spool_take(fix.spool);
  assert_int_equal(count_in(fix.path), 0);
  assert_false(nxa__spool_has_lines(file));
  nxa__spool_leave(fix.spool, file);
  assert_null(nxa__spool_collect(fix.spool));
  stop(&fix);
}

static void test_keeps_lines_for_the_user_alone(void **state) {
  (void)state;
  fixture fix;
  char folder[340], path[360];
  struct stat known;
  start(&fix, 10, 1000);
  nxa__spool_file *file = written(&fix, "one\n");
  assert_true(append(&fix, file, "two\n"));
  own_folder(&fix, folder, sizeof folder);
  snprintf(path, sizeof path, "%s/1.jsonl", folder);
  assert_content(path, "one\ntwo\n");
  assert_int_equal(stat(path, &known), 0);
  assert_int_equal(known.st_mode & 0777, 0600);
  assert_int_equal(stat(folder, &known), 0);
  assert_int_equal(known.st_mode & 0777, 0700);
  snprintf(path, sizeof path, "%s/lock", folder);
  assert_content(path, LABEL);
  assert_int_equal(fix.stats.spool_files, 1);
  assert_int_equal(fix.stats.spool_bytes, 8);
  nxa__spool_remove(fix.spool, file);
  assert_int_equal(fix.stats.spool_files, 0);
  assert_int_equal(fix.stats.spool_bytes, 0);
  nxa__spool_free(fix.spool);
  assert_int_equal(count_in(fix.path), 0); /* nothing is left, the folder neither */
  fix.spool = NULL;
  stop(&fix);
}

static void test_writes_over_what_is_delivered(void **state) {
  (void)state;
  fixture fix;
  char folder[340], path[360];
  start(&fix, 10, 1000);
  nxa__spool_file *file = written(&fix, "first trace\n");
  nxa__spool_remove(fix.spool, file);
  own_folder(&fix, folder, sizeof folder);
  snprintf(path, sizeof path, "%s/1.jsonl", folder);
  assert_content(path, "-irst trace\n");
  file = written(&fix, "second\n");
  assert_content(path, "second\nrace\n");
  nxa__spool_leave(fix.spool, file); /* what is left has its own lines and no others */
  assert_content(path, "second\n");
  assert_int_equal(fix.stats.spool_left, 1);
  assert_int_equal(fix.stats.spool_bytes, 7);
  stop(&fix);
}

static void test_opens_few_files_at_once(void **state) {
  (void)state;
  fixture fix;
  nxa__spool_file *files[100];
  start(&fix, 1000, 100000);
  for (size_t i = 0; i < 100; i++)
    files[i] = written(&fix, "a\n");
  int next = dup(0); /* the lowest that is free */
  assert_true(next < 40);
  close(next);
  for (size_t i = 0; i < 100; i++)
    assert_true(append(&fix, files[i], "b\n"));
  assert_int_equal(fix.stats.spool_bytes, 400);
  for (size_t i = 0; i < 100; i++)
    nxa__spool_remove(fix.spool, files[i]);
  assert_int_equal(fix.stats.spool_files, 0);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ collecting */

static void test_what_is_left_is_collected_once(void **state) {
  (void)state;
  fixture fix;
  char path[128];
  start(&fix, 10, 1000);
  nxa__spool_leave(fix.spool, written(&fix, "x\n"));
  strcpy(path, nxa__spool_collect(fix.spool));
  assert_content(path, "x\n");
  assert_null(nxa__spool_collect(fix.spool));
  nxa__spool_collected(fix.spool, path, false);
  assert_string_equal(nxa__spool_collect(fix.spool), path);
  nxa__spool_collected(fix.spool, "/elsewhere/1.jsonl", true);
  assert_int_equal(fix.stats.spool_left, 1);
  nxa__spool_collected(fix.spool, path, true);
  assert_int_equal(fix.stats.spool_left, 0);
  assert_int_equal(fix.stats.spool_bytes, 0);
  assert_int_equal(access(path, F_OK), -1);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ caps */

static void test_the_oldest_go_and_failures_last(void **state) {
  (void)state;
  fixture fix;
  start(&fix, 2, 1000);
  nxa__spool_file *failed = written(&fix, "failed\n");
  nxa__spool_mark_failed(fix.spool, failed);
  nxa__spool_file *old = written(&fix, "old\n"), *new = written(&fix, "new\n");
  assert_false(append(&fix, old, "more\n")); /* it had to go */
  nxa__spool_file *newer = written(&fix, "newer\n");
  assert_int_equal(fix.stats.spool_files, 2);
  assert_true(nxa__spool_has_lines(newer));
  assert_true(nxa__spool_has_lines(failed));
  assert_false(nxa__spool_has_lines(old));
  assert_false(nxa__spool_has_lines(new));
  nxa__spool_remove(fix.spool, failed);
  nxa__spool_remove(fix.spool, old); /* delivered from memory all the same */
  assert_int_equal(fix.stats.spool_dropped, 0);
  nxa__spool_leave(fix.spool, new);
  assert_int_equal(fix.stats.spool_dropped, 1);
  nxa__spool_remove(fix.spool, newer);
  stop(&fix);
}

static void test_bytes_and_age(void **state) {
  (void)state;
  fixture fix;
  start(&fix, 100, 20);
  nxa__spool_leave(fix.spool, written(&fix, "0123456789\n"));
  nxa__spool_leave(fix.spool, written(&fix, "0123456789\n"));
  assert_int_equal(fix.stats.spool_left, 1);
  assert_int_equal(fix.stats.spool_bytes, 11);
  assert_int_equal(fix.stats.spool_dropped, 1);
  pass(61 * SECOND);
  nxa__spool_leave(fix.spool, written(&fix, "a\n"));
  assert_int_equal(fix.stats.spool_left, 1);
  assert_int_equal(fix.stats.spool_bytes, 2);
  nxa__spool_file *large = nxa__spool_take(fix.spool);
  assert_false(append(&fix, large, "more than all that may be there\n"));
  assert_false(nxa__spool_is_dropped(large));
  nxa__spool_remove(fix.spool, large);
  assert_int_equal(fix.stats.spool_files, 1); /* nothing went for what has no room at all */
  assert_int_equal(fix.stats.spool_bytes, 2);
  stop(&fix);
}

static void test_age_of_what_is_behind_an_open_one(void **state) {
  (void)state;
  fixture fix;
  start(&fix, 10, 1000);
  nxa__spool_file *open = written(&fix, "open\n");
  nxa__spool_leave(fix.spool, written(&fix, "left\n"));
  pass(61 * SECOND);
  nxa__spool_file *next = written(&fix, "next\n");
  assert_int_equal(fix.stats.spool_dropped, 1);
  assert_int_equal(fix.stats.spool_left, 0);
  assert_int_equal(fix.stats.spool_files, 2);
  nxa__spool_remove(fix.spool, open);
  nxa__spool_remove(fix.spool, next);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ failing */

static void test_a_folder_that_cannot_be_made(void **state) {
  (void)state;
  fixture fix;
  start(&fix, 10, 1000);
  nxa__spool_free(fix.spool);
  nxa_engine_free(fix.engine);
  start_at(&fix, "/dev/null/spool", 10, 1000);
  nxa__spool_file *file = nxa__spool_take(fix.spool);
  assert_false(append(&fix, file, "x\n"));
  assert_false(append(&fix, file, "y\n"));
  assert_int_equal(fix.engine->warning_count, 1);
  assert_non_null(strstr(fix.engine->warnings[0], "/dev/null/spool"));
  nxa__spool_leave(fix.spool, file);
  assert_int_equal(fix.stats.spool_files, 0);
  stop(&fix);
}

static void test_a_folder_that_is_taken_away_is_made_anew(void **state) {
  (void)state;
  fixture fix;
  char folder[340], path[360];
  start(&fix, 10, 1000);
  nxa__spool_file *first = written(&fix, "x\n"), *left = written(&fix, "left\n");
  nxa__spool_leave(fix.spool, left);
  remove_all(&fix);
  nxa__spool_file *second = written(&fix, "y\n");
  assert_int_equal(fix.engine->warning_count, 1);
  own_folder(&fix, folder, sizeof folder);
  snprintf(path, sizeof path, "%s/4.jsonl", folder);
  assert_content(path, "y\n");
  assert_false(append(&fix, first, "its start isn't there any more\n"));
  assert_int_equal(fix.stats.spool_dropped, 1); /* the one that was left */
  assert_int_equal(fix.stats.spool_left, 0);
  assert_int_equal(fix.stats.spool_files, 1);
  assert_int_equal(fix.stats.spool_bytes, 2);
  nxa__spool_remove(fix.spool, first);
  nxa__spool_remove(fix.spool, second);
  remove_all(&fix);
  second = written(&fix, "z\n"); /* its descriptor was kept for the next one */
  own_folder(&fix, folder, sizeof folder);
  snprintf(path, sizeof path, "%s/lock", folder);
  assert_content(path, LABEL);
  assert_int_equal(fix.engine->warning_count, 1);
  nxa__spool_remove(fix.spool, second);
  stop(&fix);
}

static void path_of(const fixture *fix, const char *name, char *path, size_t size) {
  char folder[340];
  own_folder(fix, folder, sizeof folder);
  assert_true(snprintf(path, size, "%s/%s", folder, name) < (int)size);
}

/* Whoever has it open can write on: into nothing. */
static void test_a_file_that_is_deleted_is_begun_anew(void **state) {
  (void)state;
  for (int way = 0; way < 3; way++) {
    fixture fix;
    char path[360];
    start(&fix, 10, 1000);
    nxa__spool_file *file = written(&fix, "one\n"), *other = written(&fix, "other\n");
    assert_false(nxa__spool_was_deleted(fix.spool, file));
    path_of(&fix, "1.jsonl", path, sizeof path);
    if (way == 0)
      assert_int_equal(unlink(path), 0);
    else
      remove_all(&fix);
    assert_true(append(&fix, file, "two\n") && append(&fix, file, "three\n"));
    if (way == 2) { /* another one tells */
      nxa__spool_remove(fix.spool, written(&fix, "x\n"));
      assert_true(nxa__spool_is_dropped(file));
    }
    assert_true(nxa__spool_was_deleted(fix.spool, file));
    assert_false(nxa__spool_was_deleted(fix.spool, file));
    assert_int_equal(nxa__spool_was_deleted(fix.spool, other), way > 0);
    assert_true(append(&fix, file, "one\n") && append(&fix, file, "two\n"));
    nxa__spool_leave(fix.spool, file);
    assert_content(nxa__spool_collect(fix.spool), "one\ntwo\n");
    assert_int_equal(fix.stats.spool_files, way == 0 ? 2 : 1);
    assert_int_equal(fix.stats.spool_bytes, way == 0 ? 14 : 8);
    assert_int_equal(fix.stats.spool_dropped, 0);
    assert_int_equal(fix.engine->warning_count, way > 0);
    nxa__spool_remove(fix.spool, other);
    stop(&fix);
  }
}

/* It was made, but there was no room for the first line. */
static void test_an_empty_file_that_is_deleted_is_made_anew(void **state) {
  (void)state;
  struct rlimit before, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = (struct rlimit){30, before.rlim_max};
  for (int way = 0; way < 2; way++) {
    fixture fix;
    char path[360];
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    start(&fix, 10, 1000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    nxa__spool_file *file = nxa__spool_take(fix.spool);
    assert_false(append(&fix, file, "this is a line that is too long\n"));
    path_of(&fix, "1.jsonl", path, sizeof path);
    if (way == 0)
      assert_int_equal(unlink(path), 0);
    else
      remove_all(&fix);
    pass(6 * SECOND);
    assert_false(nxa__spool_was_deleted(fix.spool, file)); /* there was nothing in it */
    assert_true(append(&fix, file, "short\n"));
    assert_false(nxa__spool_was_deleted(fix.spool, file));
    nxa__spool_leave(fix.spool, file);
    assert_content(nxa__spool_collect(fix.spool), "short\n");
    stop(&fix);
  }
}

/* Others go on as if nothing had been. */
static void test_a_file_that_is_deleted_while_it_is_not_open(void **state) {
  (void)state;
  fixture fix;
  char path[360];
  nxa__spool_file *files[40];
  start(&fix, 100, 1000);
  for (size_t i = 0; i < 40; i++)
    files[i] = written(&fix, "a\n");
  path_of(&fix, "1.jsonl", path, sizeof path);
  assert_int_equal(unlink(path), 0);
  assert_false(append(&fix, files[0], "b\n"));
  assert_int_equal(fix.engine->warning_count, 0);
  assert_int_equal(fix.stats.spool_bytes, 78);
  assert_true(append(&fix, files[1], "b\n"));
  assert_true(nxa__spool_was_deleted(fix.spool, files[0]));
  assert_true(append(&fix, files[0], "a\n"));
  assert_int_equal(fix.stats.spool_bytes, 82);
  for (size_t i = 0; i < 40; i++)
    nxa__spool_remove(fix.spool, files[i]);
  assert_int_equal(fix.stats.spool_files, 0);
  stop(&fix);
}

/* Files of more bytes can't be written until the limit is what it was. */
static void limit_files(rlim_t bytes, struct rlimit *before) {
  assert_int_equal(getrlimit(RLIMIT_FSIZE, before), 0);
  struct rlimit now = {bytes, before->rlim_max};
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
}

static void test_what_is_written_in_part_does_not_count(void **state) {
  (void)state;
  fixture fix;
  struct rlimit before;
  char path[360];
  in_place = false;
  start(&fix, 10, 1000);
  nxa__spool_file *file = written(&fix, "one\n");
  limit_files(6, &before); /* as a disk that is full */
  assert_false(append(&fix, file, "two\n"));
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  path_of(&fix, "1.jsonl", path, sizeof path);
  assert_content(path, "one\n");
  assert_true(nxa__spool_rests(fix.spool));
  assert_false(append(&fix, file, "two\n"));
  nxa__spool_try_again(fix.spool);
  assert_true(append(&fix, file, "two\n"));
  assert_content(path, "one\ntwo\n");
  nxa__spool_remove(fix.spool, file);
  stop(&fix);
  in_place = true;
}

/* A write beyond it ends the process. */
static void test_the_limit_of_a_file_is_heeded(void **state) {
  (void)state;
  fixture fix;
  struct rlimit before;
  limit_files(4, &before);
  start(&fix, 10, 1000);
  nxa__spool_file *file = written(&fix, "one\n");
  assert_false(append(&fix, file, "two\n"));
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(fix.engine->warning_count, 1);
  assert_non_null(strstr(fix.engine->warnings[0], strerror(EFBIG)));
  nxa__spool_remove(fix.spool, file);
  stop(&fix);
}

static void test_no_link_is_followed(void **state) {
  (void)state;
  fixture fix;
  char path[360], target[80];
  nxa__spool_file *files[20];
  start(&fix, 100, 100000);
  for (size_t i = 0; i < 20; i++)
    files[i] = written(&fix, "a\n"); /* the first one was closed */
  path_of(&fix, "1.jsonl", path, sizeof path);
  snprintf(target, sizeof target, "%s.target", fix.path);
  assert_int_equal(rename(path, target), 0);
  assert_int_equal(symlink(target, path), 0);
  assert_false(append(&fix, files[0], "b\n"));
  assert_content(target, "a\n");
  assert_int_equal(unlink(target), 0);
  for (size_t i = 0; i < 20; i++)
    nxa__spool_remove(fix.spool, files[i]);
  stop(&fix);
}

static void test_what_was_cut_is_not_read(void **state) {
  (void)state;
  fixture fix;
  char path[360];
  nxa__buffer out;
  nxa__buffer_init(&out, SIZE_MAX);
  start(&fix, 10, 1000);
  nxa__spool_file *file = written(&fix, "one\ntwo\n");
  assert_true(nxa__spool_read(fix.spool, file, 4, &out));
  assert_string_equal(out.data, "two\n");
  path_of(&fix, "1.jsonl", path, sizeof path);
  assert_int_equal(truncate(path, 6), 0);
  assert_false(nxa__spool_read(fix.spool, file, 4, &out));
  assert_int_equal(out.length, 4);
  nxa__buffer_free(&out);
  nxa__spool_remove(fix.spool, file);
  stop(&fix);
}

static void test_a_file_of_another_form_is_emptied_for_the_next(void **state) {
  (void)state;
  fixture fix;
  char folder[340], path[360];
  in_place = false;
  start(&fix, 10, 1000);
  nxa__spool_remove(fix.spool, written(&fix, "0 a long one\n"));
  nxa__spool_file *file = written(&fix, "0 one\n");
  own_folder(&fix, folder, sizeof folder);
  snprintf(path, sizeof path, "%s/1.jsonl", folder);
  assert_content(path, "0 one\n");
  assert_int_equal(fix.stats.spool_bytes, 6);
  nxa__spool_mark(fix.spool, file, 0, '1');
  nxa__spool_mark(fix.spool, file, 6, '1'); /* behind it */
  assert_content(path, "1 one\n");
  nxa__spool_remove(fix.spool, file);
  stop(&fix);
  in_place = true;
}

static int lowest_free(void) {
  int file = dup(STDIN_FILENO);
  assert_true(file >= 0);
  close(file);
  return file;
}

/* Descriptors for so many more than there are. */
static void leave_descriptors(int count, struct rlimit *before) {
  assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
  struct rlimit now = {(rlim_t)(lowest_free() + count), before->rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
}

/* It has descriptors of its own, and its own idea of their limit. */
static bool is_under_valgrind(void) {
  const char *preloaded = getenv("LD_PRELOAD");
  return preloaded && strstr(preloaded, "vgpreload");
}

static void test_a_folder_without_descriptors_leaves_nothing(void **state) {
  (void)state;
  if (is_under_valgrind())
    skip();
  for (int count = 0; count < 2; count++) {
    fixture fix;
    struct rlimit before;
    start(&fix, 10, 1000);
    int free_before = lowest_free();
    nxa__spool_file *file = nxa__spool_take(fix.spool);
    leave_descriptors(count, &before);
    assert_false(append(&fix, file, "x\n"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(lowest_free(), free_before);
    assert_int_equal(count_in(fix.path), 0);
    assert_int_equal(fix.engine->warning_count, 1);
    pass(6 * SECOND);
    assert_true(append(&fix, file, "x\n"));
    assert_int_equal(count_in(fix.path), 1);
    nxa__spool_remove(fix.spool, file);
    stop(&fix);
  }
}

static void test_nothing_written_and_nothing_at_all(void **state) {
  (void)state;
  fixture fix;
  start(&fix, 10, 1000);
  nxa__spool_file *kept = nxa__spool_take(fix.spool);
  nxa__spool_forget(fix.spool, kept);
  nxa__spool_forget(fix.spool, NULL);
  nxa__spool_remove(fix.spool, NULL);
  nxa__spool_mark_failed(fix.spool, NULL);
  assert_false(append(&fix, NULL, "x\n"));
  stop(&fix);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_makes_nothing_before_it_is_needed),
      cmocka_unit_test(test_keeps_lines_for_the_user_alone),
      cmocka_unit_test(test_writes_over_what_is_delivered),
      cmocka_unit_test(test_opens_few_files_at_once),
      cmocka_unit_test(test_what_is_left_is_collected_once),
      cmocka_unit_test(test_the_oldest_go_and_failures_last),
      cmocka_unit_test(test_bytes_and_age),
      cmocka_unit_test(test_age_of_what_is_behind_an_open_one),
      cmocka_unit_test(test_a_folder_that_cannot_be_made),
      cmocka_unit_test(test_a_folder_that_is_taken_away_is_made_anew),
      cmocka_unit_test(test_a_file_that_is_deleted_is_begun_anew),
      cmocka_unit_test(test_an_empty_file_that_is_deleted_is_made_anew),
      cmocka_unit_test(test_a_file_that_is_deleted_while_it_is_not_open),
      cmocka_unit_test(test_what_is_written_in_part_does_not_count),
      cmocka_unit_test(test_the_limit_of_a_file_is_heeded),
      cmocka_unit_test(test_no_link_is_followed),
      cmocka_unit_test(test_what_was_cut_is_not_read),
      cmocka_unit_test(test_a_file_of_another_form_is_emptied_for_the_next),
      cmocka_unit_test(test_a_folder_without_descriptors_leaves_nothing),
      cmocka_unit_test(test_nothing_written_and_nothing_at_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
