#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "private.h"

static char folder[64];

static const char *path_of(const char *name) {
  static char paths[2][128];
  static int turn;
  char *path = paths[turn = 1 - turn];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static const char *long_path(void) {
  static char path[400];
  snprintf(path, sizeof path, "%s/%0300d", folder, 0);
  return path;
}

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/nxa-private-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  static const char *const names[] = {"a/b/c", "a/b", "a", "file", "link"};
  (void)state;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    remove(path_of(names[i]));
  return rmdir(folder);
}

static mode_t mode_of(const char *path) {
  struct stat known;
  assert_int_equal(stat(path, &known), 0);
  return known.st_mode;
}

typedef bool (*make_fn)(const char *, nxa_error *);

static void assert_makes(make_fn make, const char *path) {
  nxa_error error;
  if (!make(path, &error))
    fail_msg("%s: %s", path, error.message);
}

static void assert_fails(make_fn make, const char *path, const char *message) {
  nxa_error error;
  assert_false(make(path, &error));
  assert_int_equal(error.kind, NXA_INVALID);
  if (!strstr(error.message, message))
    fail_msg("\"%s\" is not in \"%s\"", message, error.message);
}

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void folders(void **state) {
  (void)state;
  mode_t before = umask(0);
  assert_makes(nxa__private_folder, path_of("a/b"));
  umask(before);
  assert_int_equal(mode_of(path_of("a")), S_IFDIR | S_IRWXU);
  assert_int_equal(mode_of(path_of("a/b")), S_IFDIR | S_IRWXU);
  assert_makes(nxa__private_folder, path_of("a/b/"));
  assert_makes(nxa__private_folder, path_of("a//b/c//"));
  assert_int_equal(mode_of(path_of("a/b/c")), S_IFDIR | S_IRWXU);
  assert_makes(nxa__private_folder, "/");
  assert_makes(nxa__private_folder, ".");
}

static void folders_that_are_there_stay_as_they_are(void **state) {
  (void)state;
  assert_int_equal(mkdir(path_of("a"), 0755), 0);
  assert_int_equal(symlink(path_of("a"), path_of("link")), 0);
  assert_makes(nxa__private_folder, path_of("link/b"));
  assert_int_equal(mode_of(path_of("a")), S_IFDIR | 0755);
  assert_int_equal(mode_of(path_of("a/b")), S_IFDIR | S_IRWXU);
}

static void folders_that_can_not_be(void **state) {
  (void)state;
  write_file(path_of("file"), "");
  assert_fails(nxa__private_folder, path_of("file"), "Not a directory");
  assert_fails(nxa__private_folder, path_of("file/a"), "Not a directory");
  assert_fails(nxa__private_folder, "", "No such file or directory");
  assert_fails(nxa__private_folder, long_path(), strerror(ENAMETOOLONG));
  assert_fails(nxa__private_folder, "/proc/none/such", "can't make the folder '/proc/none/such': ");
}

static void folders_that_could_be(void **state) {
  (void)state;
  write_file(path_of("file"), "");
  assert_makes(nxa__private_folder_possible, folder);
  assert_makes(nxa__private_folder_possible, path_of("a/b//c/"));
  assert_int_not_equal(access(path_of("a"), F_OK), 0);
  assert_makes(nxa__private_folder_possible, "nowhere/near");
  assert_makes(nxa__private_folder_possible, "nowhere");
  assert_fails(nxa__private_folder_possible, path_of("file/a/b"), "Not a directory");
  assert_fails(nxa__private_folder_possible, "", "No such file or directory");
  assert_fails(nxa__private_folder_possible, long_path(), strerror(ENAMETOOLONG));
}

/* Root may do all, so a child becomes somebody else. */
static void folders_of_others(void **state) {
  (void)state;
  int status;
  nxa_error error;
  if (geteuid() != 0)
    skip();
  assert_int_equal(mkdir(path_of("a"), 0755), 0);
  assert_int_equal(chmod(folder, 0755), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
    _exit(setuid(65534) != 0 || nxa__private_folder_possible(path_of("a/b"), &error) ||
          !nxa__private_folder_possible("/tmp/nxa-none", &error));
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

static void files(void **state) {
  (void)state;
  mode_t before = umask(0);
  assert_makes(nxa__private_file, path_of("file"));
  umask(before);
  assert_int_equal(mode_of(path_of("file")), S_IFREG | S_IRUSR | S_IWUSR);
}

static void files_that_are_there_become_private(void **state) {
  (void)state;
  struct stat known;
  write_file(path_of("file"), "kept");
  assert_int_equal(chmod(path_of("file"), 0644), 0);
  for (int times = 0; times < 2; times++) {
    assert_makes(nxa__private_file, path_of("file"));
    assert_int_equal(stat(path_of("file"), &known), 0);
    assert_int_equal(known.st_mode, S_IFREG | S_IRUSR | S_IWUSR);
    assert_int_equal(known.st_size, 4);
  }
}

static bool take_posix_lock(const char *path) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int file = open(path, O_RDWR);
  return file >= 0 && fcntl(file, F_SETLK, &whole) == 0;
}

/* Locks aren't inherited, so a child is somebody else. */
static bool may_be_locked_by_others(const char *path) {
  int status;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
    _exit(take_posix_lock(path));
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status) == 1;
}

static void files_that_are_there_stay_locked(void **state) {
  (void)state;
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  write_file(path_of("file"), "");
  assert_int_equal(chmod(path_of("file"), 0644), 0);
  int file = open(path_of("file"), O_RDWR);
  assert_true(may_be_locked_by_others(path_of("file")));
  assert_int_equal(fcntl(file, F_SETLK, &whole), 0);
  assert_makes(nxa__private_file, path_of("file"));
  assert_false(may_be_locked_by_others(path_of("file")));
  close(file);
}

static void files_that_can_not_be(void **state) {
  (void)state;
  assert_fails(nxa__private_file, path_of("a/file"), "No such file or directory");
  assert_fails(nxa__private_file, "", "No such file or directory");
  assert_int_equal(symlink(path_of("target"), path_of("link")), 0);
  assert_fails(nxa__private_file, path_of("link"), "it is a symbolic link, and links aren't followed");
  assert_int_not_equal(access(path_of("target"), F_OK), 0);
  assert_fails(nxa__private_file, folder, "it is no regular file");
  assert_fails(nxa__private_file, long_path(), strerror(ENAMETOOLONG));
  write_file(path_of("file"), "");
  assert_fails(nxa__private_file, path_of("file/below"), "Not a directory");
}

static void *allocate_nothing(size_t size) {
  (void)size;
  return NULL;
}

static void out_of_memory(void **state) {
  (void)state;
  nxa_error error;
  nxa_set_allocator(allocate_nothing, realloc, free);
  assert_false(nxa__private_folder(path_of("a"), &error));
  assert_int_equal(error.kind, NXA_MEMORY);
  error.kind = NXA_OK;
  assert_false(nxa__private_folder_possible(path_of("a"), &error));
  nxa_set_allocator(malloc, realloc, free);
  assert_int_equal(error.kind, NXA_MEMORY);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(folders),
      TEST(folders_that_are_there_stay_as_they_are),
      TEST(folders_that_can_not_be),
      TEST(folders_that_could_be),
      TEST(folders_of_others),
      TEST(files),
      TEST(files_that_are_there_become_private),
      TEST(files_that_are_there_stay_locked),
      TEST(files_that_can_not_be),
      TEST(out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
