#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lock.h"

/* ---- a flock of the test's own: the core finds this one before the C library's */

static struct {
  int calls;
  int failures; /* calls that fail, with `number` */
  int number;
  int removals; /* calls before which somebody takes the file away, and makes another where `remade` */
  bool remade;
} system_of_locks;

static char folder[64];
static char path[80];

static void make_file(void) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fclose(file);
}

__attribute__((visibility("default"))) int flock(int file, int operation) {
  system_of_locks.calls++;
  if (system_of_locks.failures > 0) {
    system_of_locks.failures--;
    errno = system_of_locks.number;
    return -1;
  }
  if (system_of_locks.removals > 0) {
    system_of_locks.removals--;
    unlink(path);
    if (system_of_locks.remade)
      make_file();
  }
  return (int)syscall(SYS_flock, file, operation);
}

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/nxa-lock-XXXXXX");
  if (!mkdtemp(folder))
    return -1;
  snprintf(path, sizeof path, "%s/lock", folder);
  memset(&system_of_locks, 0, sizeof system_of_locks);
  return 0;
}

static int remove_folder(void **state) {
  (void)state;
  unlink(path);
  return rmdir(folder);
}

/* ---- what is asked for */

static nxa__lock *take(void) {
  nxa_error error;
  bool is_held = true;
  nxa__lock *lock = nxa__lock_take(path, &is_held, &error);
  if (!lock)
    fail_msg("not taken: %s", is_held ? "held" : error.message);
  assert_false(is_held);
  return lock;
}

static void assert_held(void) {
  bool is_held = false;
  assert_null(nxa__lock_take(path, &is_held, NULL));
  assert_true(is_held);
}

static void assert_fails(const char *where, const char *message) {
  nxa_error error;
  bool is_held = true;
  assert_null(nxa__lock_take(where, &is_held, &error));
  assert_false(is_held);
  assert_int_equal(error.kind, NXA_INVALID);
  if (!strstr(error.message, message))
    fail_msg("\"%s\" is not in \"%s\"", message, error.message);
}

static bool is_there(void) {
  return access(path, F_OK) == 0;
}

static int open_files(void) {
  int count = 0;
  for (int file = 0; file < 64; file++)
    count += fcntl(file, F_GETFD) >= 0;
  return count;
}

static void one_has_it(void **state) {
  (void)state;
  nxa__lock *lock = take();
  assert_held();
  nxa__lock_release(lock);
  assert_true(is_there());
  nxa__lock_remove(take());
  assert_false(is_there());
  nxa__lock_release(NULL);
  nxa__lock_remove(NULL);
}

static void the_file_is_private(void **state) {
  (void)state;
  struct stat known;
  mode_t before = umask(0);
  nxa__lock *lock = take();
  umask(before);
  assert_string_equal(nxa__lock_path(lock), path);
  assert_int_equal(stat(path, &known), 0);
  assert_int_equal(known.st_mode, S_IFREG | S_IRUSR | S_IWUSR);
  nxa__lock_release(lock);
}

static void a_file_that_is_there_becomes_private(void **state) {
  (void)state;
  struct stat known;
  make_file();
  assert_int_equal(chmod(path, 0666), 0);
  nxa__lock *lock = take();
  assert_int_equal(stat(path, &known), 0);
  assert_int_equal(known.st_mode, S_IFREG | S_IRUSR | S_IWUSR);
  nxa__lock_release(lock);
}

static void what_others_put_there_is_not_removed(void **state) {
  (void)state;
  nxa__lock *lock = take();
  unlink(path);
  nxa__lock *others = take();
  nxa__lock_remove(lock);
  assert_true(is_there());
  assert_held();
  nxa__lock_remove(others);
  assert_false(is_there());
}

static void what_is_in_the_file_stays(void **state) {
  (void)state;
  char text[8] = "";
  FILE *file = fopen(path, "w");
  fputs("kept", file);
  fclose(file);
  nxa__lock_release(take());
  file = fopen(path, "r");
  assert_non_null(fgets(text, sizeof text, file));
  fclose(file);
  assert_string_equal(text, "kept");
}

/* A process that takes the lock, says so, and never ends by itself. */
static pid_t start_holder(void) {
  int ends[2];
  char byte;
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    bool is_held;
    nxa__lock *lock = nxa__lock_take(path, &is_held, NULL);
    if (write(ends[1], lock ? "y" : "n", 1) == 1)
      pause();
    _exit(1);
  }
  assert_int_equal(read(ends[0], &byte, 1), 1);
  assert_int_equal(byte, 'y');
  close(ends[0]);
  close(ends[1]);
  return child;
}

static void it_goes_with_the_process(void **state) {
  (void)state;
  pid_t child = start_holder();
  assert_held();
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, NULL, 0), child);
  nxa__lock_release(take());
}

static void programs_that_are_started_do_not_have_it(void **state) {
  (void)state;
  nxa__lock *lock = take();
  FILE *program = popen("read line", "w");
  assert_non_null(program);
  nxa__lock_release(lock);
  /* until it is the shell, the child has all that its parent has */
  bool is_held = true;
  nxa__lock *again = NULL;
  for (int tries = 0; !again && is_held && tries < 10000; tries++) {
    again = nxa__lock_take(path, &is_held, NULL);
    if (!again)
      usleep(1000);
  }
  assert_non_null(again);
  nxa__lock_release(again);
  pclose(program);
}

/* ---- what goes wrong */

static void what_is_no_file(void **state) {
  (void)state;
  char other[96], long_name[400];
  assert_fails(folder, "Is a directory");
  snprintf(other, sizeof other, "%s/none/lock", folder);
  assert_fails(other, "No such file or directory");
  snprintf(long_name, sizeof long_name, "%s/%0300d", folder, 0);
  assert_fails(long_name, strerror(ENAMETOOLONG));
  make_file();
  snprintf(other, sizeof other, "%s/below", path);
  assert_fails(other, "Not a directory");
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_fails(path, "it is no regular file");
  unlink(path);
  snprintf(other, sizeof other, "%s/target", folder);
  assert_int_equal(symlink(other, path), 0);
  assert_fails(path, "it is a symbolic link, and links aren't followed");
  assert_int_not_equal(access(other, F_OK), 0);
}

static void locks_that_fail(void **state) {
  (void)state;
  int files = open_files();
  system_of_locks.failures = 1;
  system_of_locks.number = ENOLCK;
  assert_fails(path, strerror(ENOLCK));
  assert_int_equal(open_files(), files);
}

static void interrupted(void **state) {
  (void)state;
  system_of_locks.failures = 3;
  system_of_locks.number = EINTR;
  nxa__lock_release(take());
  assert_int_equal(system_of_locks.calls, 4);
}

/* What was locked is no file that others find: it is tried again. */
static void removed_meanwhile(void **state) {
  (void)state;
  int files = open_files();
  for (int remade = 0; remade < 2; remade++) {
    system_of_locks.calls = 0;
    system_of_locks.removals = 2;
    system_of_locks.remade = remade;
    nxa__lock *lock = take();
    assert_int_equal(system_of_locks.calls, 3);
    assert_held();
    nxa__lock_release(lock);
  }
  assert_int_equal(open_files(), files);
}

static void removed_again_and_again(void **state) {
  (void)state;
  int files = open_files();
  system_of_locks.removals = 1000000;
  assert_held();
  assert_true(system_of_locks.calls < 1000);
  assert_int_equal(open_files(), files);
}

static int allocations_left;

static void *allocate(size_t size) {
  return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void out_of_memory(void **state) {
  (void)state;
  nxa_error error;
  nxa_set_allocator(allocate, realloc, free);
  for (int allocations = 0; allocations < 2; allocations++) {
    bool is_held = true;
    allocations_left = allocations;
    assert_null(nxa__lock_take(path, &is_held, &error));
    assert_false(is_held);
    assert_int_equal(error.kind, NXA_MEMORY);
    assert_false(is_there());
  }
  allocations_left = 2;
  nxa__lock_release(take());
  nxa_set_allocator(malloc, realloc, free);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(one_has_it),
      TEST(the_file_is_private),
      TEST(a_file_that_is_there_becomes_private),
      TEST(what_others_put_there_is_not_removed),
      TEST(what_is_in_the_file_stays),
      TEST(it_goes_with_the_process),
      TEST(programs_that_are_started_do_not_have_it),
      TEST(what_is_no_file),
      TEST(locks_that_fail),
      TEST(interrupted),
      TEST(removed_meanwhile),
      TEST(removed_again_and_again),
      TEST(out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
