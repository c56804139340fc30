#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "error.h"

enum { PRIVATE = S_IRUSR | S_IWUSR, MODE_BITS = 07777 };

static bool fail(nxa_error *error, const char *what, const char *path, int number) {
  nxa__error_set(error, NXA_INVALID, "can't make the %s '%s': %s", what, path, nxa__error_of_file(number));
  return false;
}

/* Returns 0, or what is wrong. What is there already has its own reasons why it can't be made. */
static int make_folder(const char *path) {
  struct stat known;
  if (mkdir(path, S_IRWXU) == 0)
    return 0;
  int number = errno;
  if (stat(path, &known) != 0)
    return number;
  return S_ISDIR(known.st_mode) ? 0 : ENOTDIR;
}

/* The slashes in `path` become ends of it one by one, and slashes again. */
static int make_folders(char *path) {
  int number = 0;
  for (char *slash = strchr(path + 1, '/'); slash && number == 0; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    number = make_folder(path);
    *slash = '/';
  }
  return number == 0 ? make_folder(path) : number;
}

bool nxa__private_folder(const char *path, nxa_error *error) {
  if (!*path)
    return fail(error, "folder", path, ENOENT);
  char *copy = nxa__copy_string(path);
  if (!copy) {
    nxa__error_memory(error);
    return false;
  }
  int number = make_folders(copy);
  nxa__release(copy);
  return number == 0 || fail(error, "folder", path, number);
}

/* Returns 0, or why nothing can be made in the folder. */
static int may_write(const char *folder) {
  struct stat known;
  if (stat(folder, &known) != 0)
    return errno;
  if (!S_ISDIR(known.st_mode))
    return ENOTDIR;
  return access(folder, W_OK | X_OK) == 0 ? 0 : errno;
}

/* Makes of a path that of the folder it is in; false where there is none above. */
static bool go_up(char *path) {
  char *slash = strrchr(path, '/');
  if (slash ? !path[1] : strcmp(path, ".") == 0)
    return false;
  if (!slash)
    memcpy(path, ".", 2);
  else
    slash[slash == path] = '\0';
  return true;
}

bool nxa__private_folder_possible(const char *path, nxa_error *error) {
  if (!*path)
    return fail(error, "folder", path, ENOENT);
  char *above = nxa__copy_string(path);
  if (!above) {
    nxa__error_memory(error);
    return false;
  }
  int number = may_write(above);
  while (number == ENOENT && go_up(above))
    number = may_write(above);
  nxa__release(above);
  return number == 0 || fail(error, "folder", path, number);
}

/* Returns 0, or what is wrong. */
static int make_file(const char *path) {
  int file;
  do
    file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, PRIVATE);
  while (file < 0 && errno == EINTR);
  if (file < 0)
    return errno;
  close(file);
  return 0;
}

bool nxa__is_private(mode_t mode) {
  return (mode & MODE_BITS) == PRIVATE;
}

/* A mode that is right already is left alone: not every system can change one without following links. */
static int close_to_others(const char *path) {
  struct stat known;
  if (lstat(path, &known) != 0)
    return errno;
  if (!S_ISREG(known.st_mode))
    return S_ISLNK(known.st_mode) ? ELOOP : NXA__NOT_REGULAR;
  if (nxa__is_private(known.st_mode))
    return 0;
  return fchmodat(AT_FDCWD, path, PRIVATE, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
}

bool nxa__private_file(const char *path, nxa_error *error) {
  int number = make_file(path);
  if (number == EEXIST)
    number = close_to_others(path);
  return number == 0 || fail(error, "file", path, number);
}
