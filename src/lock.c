#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "error.h"

/* Others who take and remove the same lock all the time have it, as far as who asks is concerned. */
enum { MOST_TRIES = 100 };
#define SECOND INT64_C(1000000000)

struct nxa__lock {
  int file;
  char *path;
};

typedef enum verdict { TAKEN, HELD, REMOVED, FAILED } verdict;

static int open_file(const char *path, int how) {
  int file;
  do
    file = open(path, how | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, S_IRUSR | S_IWUSR);
  while (file < 0 && errno == EINTR);
  return file;
}

static bool is_regular(int file) {
  struct stat known;
  if (fstat(file, &known) != 0)
    return false;
  if (S_ISREG(known.st_mode))
    return true;
  errno = NXA__NOT_REGULAR;
  return false;
}

/* Whoever had the lock may have removed the file after it was opened here: what is locked then is no file of others. */
static bool is_still_there(const char *path, int file) {
  struct stat opened, named;
  return fstat(file, &opened) == 0 && lstat(path, &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

static verdict lock_open_file(const char *path, int file) {
  int status;
  if (!is_regular(file))
    return FAILED;
  do
    status = flock(file, LOCK_EX | LOCK_NB);
  while (status != 0 && errno == EINTR);
  if (status != 0)
    return errno == EWOULDBLOCK ? HELD : FAILED;
  if (!is_still_there(path, file))
    return REMOVED;
  return fchmod(file, S_IRUSR | S_IWUSR) == 0 ? TAKEN : FAILED;
}

/* One try; `*file` is open where it was taken, and errno says what is wrong where it failed. */
static verdict try_to_take(const char *path, int *file) {
  *file = open_file(path, O_RDWR | O_CREAT);
  if (*file < 0)
    return FAILED;
  verdict found = lock_open_file(path, *file);
  int number = errno;
  if (found != TAKEN)
    close(*file);
  errno = number;
  return found;
}

static verdict take(const char *path, int *file) {
  verdict found = REMOVED;
  for (int tries = 0; tries < MOST_TRIES && found == REMOVED; tries++)
    found = try_to_take(path, file);
  return found == REMOVED ? HELD : found;
}

static nxa__lock *new_lock(const char *path) {
  nxa__lock *lock = nxa__allocate(sizeof *lock);
  if (!lock)
    return NULL;
  lock->path = nxa__copy_string(path);
  if (lock->path)
    return lock;
  nxa__release(lock);
  return NULL;
}

static void free_lock(nxa__lock *lock) {
  nxa__release(lock->path);
  nxa__release(lock);
}

nxa__lock *nxa__lock_take(const char *path, bool *is_held, nxa_error *error) {
  nxa__lock *lock = new_lock(path);
  *is_held = false;
  if (!lock) {
    nxa__error_memory(error);
    return NULL;
  }
  verdict found = take(path, &lock->file);
  if (found == TAKEN)
    return lock;
  *is_held = found == HELD;
  if (found == FAILED)
    nxa__error_set(error, NXA_INVALID, "can't lock '%s': %s", path, nxa__error_of_file(errno));
  free_lock(lock);
  return NULL;
}

ptrdiff_t nxa__lock_read(const char *path, char *text, size_t size) {
  int file = open_file(path, O_RDONLY);
  if (file < 0)
    return -1;
  ssize_t length = -1;
  if (is_regular(file))
    do
      length = read(file, text, size);
    while (length < 0 && errno == EINTR);
  close(file);
  return length;
}

const char *nxa__lock_path(const nxa__lock *lock) {
  return lock->path;
}

/* Where it can't be set it says less. */
void nxa__lock_set_time(const nxa__lock *lock, int64_t ns) {
  struct timespec time = {(time_t)(ns / SECOND), (long)(ns % SECOND)};
  const struct timespec both[] = {time, time};
  int status = futimens(lock->file, both);
  (void)status;
}

void nxa__lock_release(nxa__lock *lock) {
  if (!lock)
    return;
  close(lock->file);
  free_lock(lock);
}

void nxa__lock_remove(nxa__lock *lock) {
  if (!lock)
    return;
  /* while it is locked, so that nobody's file is taken away who locks it later */
  if (is_still_there(lock->path, lock->file))
    unlink(lock->path);
  nxa__lock_release(lock);
}
