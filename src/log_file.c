#include "log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "alloc.h"
#include "error.h"
#include "lock.h"

enum { PRIVATE = S_IRUSR | S_IWUSR, MODE_BITS = 07777 };

bool nxa__log_file_init(nxa__log_file *log, const char *path, size_t max_bytes, int max_files) {
  *log = (nxa__log_file){.path = nxa__copy_string(path), .max_bytes = max_bytes, .max_files = max_files, .file = -1};
  return log->path != NULL;
}

static void close_file(nxa__log_file *log) {
  if (log->file >= 0)
    close(log->file);
  log->file = -1;
}

void nxa__log_file_free(nxa__log_file *log) {
  if (log->path)
    close_file(log);
  nxa__release(log->path);
  log->path = NULL;
}

/* ------------------------------------------------------------------------------------------------ opening */

/* Only a regular file never makes a writer wait for a reader. */
static int make_usable(int file) {
  struct stat known;
  if (fstat(file, &known) != 0)
    return errno;
  if (!S_ISREG(known.st_mode))
    return NXA__NOT_REGULAR;
  if ((known.st_mode & MODE_BITS) == PRIVATE)
    return 0;
  return fchmod(file, PRIVATE) == 0 ? 0 : errno;
}

static int open_file(nxa__log_file *log) {
  do
    log->file = open(log->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, PRIVATE);
  while (log->file < 0 && errno == EINTR);
  if (log->file < 0)
    return errno;
  log->trusted = false;
  int number = make_usable(log->file);
  if (number != 0)
    close_file(log);
  return number;
}

/* Another process may have put another file in its place. */
static bool is_in_place(const nxa__log_file *log) {
  struct stat own, placed;
  return fstat(log->file, &own) == 0 && stat(log->path, &placed) == 0 && own.st_dev == placed.st_dev &&
         own.st_ino == placed.st_ino;
}

static int ensure_open(nxa__log_file *log) {
  if (log->file >= 0 && !is_in_place(log))
    close_file(log);
  return log->file >= 0 ? 0 : open_file(log);
}

static off_t size_of(const nxa__log_file *log) {
  struct stat known;
  return fstat(log->file, &known) == 0 ? known.st_size : 0;
}

/* ------------------------------------------------------------------------------------------------ rotation */

static void name_of(const nxa__log_file *log, int number, char *name, size_t size) {
  if (number == 0)
    snprintf(name, size, "%s", log->path);
  else
    snprintf(name, size, "%s.%d", log->path, number);
}

/* Each file takes the next one's place, the last goes. Those that aren't there are no loss. Returns 0, or why the first
 * one stays. */
static int shift(const nxa__log_file *log, char *from, char *to, size_t size) {
  int status = 0;
  for (int number = log->max_files; number >= 0; number--) {
    name_of(log, number, from, size);
    name_of(log, number + 1, to, size);
    status = number == log->max_files ? unlink(from) : rename(from, to);
  }
  return status == 0 || errno == ENOENT ? 0 : errno;
}

/* By one process at a time: another's turn is as good. */
static int shift_alone(nxa__log_file *log, char *from, char *to, size_t size) {
  bool is_held;
  snprintf(from, size, "%s.lock", log->path);
  errno = ENOMEM;
  nxa__lock *lock = nxa__lock_take(from, &is_held, NULL);
  int number = lock || is_held ? 0 : errno;
  if (lock && is_in_place(log))
    number = shift(log, from, to, size);
  nxa__lock_remove(lock);
  return number;
}

/* Returns 0, or why the file stays, as in errno. */
static int rotate(nxa__log_file *log) {
  size_t size = strlen(log->path) + 16;
  char *names = nxa__allocate(2 * size);
  int number = names ? shift_alone(log, names, names + size, size) : ENOMEM;
  nxa__release(names);
  return number;
}

static bool is_full(const nxa__log_file *log, size_t length) {
  size_t size = (size_t)size_of(log);
  return size > 0 && (size >= log->max_bytes || length > log->max_bytes - size);
}

/* ------------------------------------------------------------------------------------------------ writing */

/* Beyond the process's own limit a write would end the process. */
static bool is_beyond_limit(const nxa__log_file *log, size_t length) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return false;
  return (rlim_t)size_of(log) + length + 1 > limit.rlim_cur;
}

static bool ends_within_line(const nxa__log_file *log) {
  char last;
  off_t size = size_of(log);
  return size > 0 && pread(log->file, &last, 1, size - 1) == 1 && last != '\n';
}

/*
 * Somebody's line broke off: this process's, or that of one that was killed. One that is only being written looks the
 * same, so nobody may be writing; where somebody is, it isn't looked at before the next line.
 */
static bool is_torn(nxa__log_file *log) {
  if (log->trusted || flock(log->file, LOCK_EX | LOCK_NB) != 0)
    return false;
  log->trusted = true;
  return ends_within_line(log);
}

static ssize_t write_once(nxa__log_file *log, const char *line, size_t length) {
  struct iovec parts[] = {{"\n", 1}, {(char *)line, length}};
  bool torn = is_torn(log);
  ssize_t written;
  flock(log->file, LOCK_SH | LOCK_NB);
  do
    written = writev(log->file, torn ? parts : parts + 1, torn ? 2 : 1);
  while (written < 0 && errno == EINTR);
  int number = errno;
  flock(log->file, LOCK_UN);
  errno = number;
  return written < 0 ? written : written - torn;
}

int nxa__log_file_append(nxa__log_file *log, const char *line, size_t length) {
  int number = ensure_open(log);
  if (number == 0 && is_full(log, length)) {
    number = rotate(log);
    if (number == 0)
      number = ensure_open(log);
  }
  if (number != 0)
    return number;
  if (is_beyond_limit(log, length))
    return EFBIG;
  ssize_t written = write_once(log, line, length);
  if (written == (ssize_t)length)
    return 0;
  log->trusted = false;
  return written < 0 ? errno : ENOSPC;
}
