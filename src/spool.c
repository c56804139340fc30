#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "clock.h"
#include "error.h"
#include "lock.h"
#include "private.h"
#include "random.h"
#include "text.h"

#define OWNER_BYTES 8
#define NAME_SIZE 32
#define OPEN_MOST 16                   /* descriptors: the host needs them, too */
#define SPARE_MOST 8                   /* files kept for traces to come */
#define SPARE_BYTES ((size_t)64 << 10) /* what one of them may take */
#define PAUSE INT64_C(5000000000)      /* after a failure nothing is tried for so long */
#define FOLDER_TRIES 10

struct nxa__spool_file {
  nxa__link link;      /* by age, in the spool's files or failed_files; or in its spares */
  nxa__link open_link; /* in the spool's open_files */
  nxa__link left_link; /* in the spool's waiting */
  unsigned number;     /* its name; 0 before it is made */
  int descriptor;      /* negative where it isn't open */
  size_t bytes;        /* of its trace */
  size_t size;         /* on the disk, what came before included */
  int64_t since_ns;    /* wall clock */
  bool failed;
  bool left;    /* nobody here writes to it any more */
  bool dropped; /* it is no more: there was too much, or */
  bool deleted; /* somebody did it, and nxa__spool_was_deleted has not told so yet */
};

struct nxa__spool {
  nxa_engine *engine;
  nxa__spool_form form; /* its label is behind the path */
  nxa__spool_limits limits;
  size_t held_files, held_bytes; /* on the disk now; several spools may count in one `stats` */
  nxa_stats *stats;
  nxa_stats no_stats;
  char *own; /* the path of the client's own folder; NULL before it is made */
  int folder;
  nxa__lock *lock;
  unsigned last_number;
  size_t largest; /* a file may become, whatever the disk has: beyond, a write would end the process */
  int64_t rests_until_ns;
  bool has_warned;
  nxa__list files, failed_files, spares, open_files, waiting;
  char *collected; /* the latest path told */
  char path[];     /* the spool's folder, then the label */
};

/* ------------------------------------------------------------------------------------------------ life */

static size_t largest_file(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return SIZE_MAX;
  return (size_t)limit.rlim_cur;
}

nxa__spool *nxa__spool_new(nxa_engine *engine, const char *folder, const nxa__spool_form *form,
                           const nxa__spool_limits *limits) {
  size_t length = strlen(folder) + 1, label_length = strlen(form->label) + 1;
  nxa__spool *spool = nxa__allocate_zeroed(sizeof *spool + length + label_length);
  if (!spool)
    return NULL;
  memcpy(spool->path, folder, length);
  memcpy(spool->path + length, form->label, label_length);
  spool->form = *form;
  spool->form.label = spool->path + length;
  spool->engine = engine;
  spool->limits = *limits;
  spool->stats = &spool->no_stats;
  spool->folder = -1;
  spool->largest = largest_file();
  nxa__engine_retain(engine);
  return spool;
}

void nxa__spool_count_in(nxa__spool *spool, nxa_stats *stats) {
  spool->stats = stats;
}

static void name_of(const nxa__spool *spool, const nxa__spool_file *file, char name[NAME_SIZE]) {
  snprintf(name, NAME_SIZE, "%u.%s", file->number, spool->form.ending);
}

static void close_file(nxa__spool_file *file) {
  if (file->descriptor < 0)
    return;
  close(file->descriptor);
  file->descriptor = -1;
  nxa__list_remove(&file->open_link);
}

static void forget(nxa__spool_file *file) {
  close_file(file);
  nxa__list_remove(&file->link);
  nxa__list_remove(&file->left_link);
  nxa__release(file);
}

static bool make_empty(const nxa__spool_file *file) {
  return ftruncate(file->descriptor, 0) == 0;
}

static void delete_file(nxa__spool *spool, nxa__spool_file *file) {
  char name[NAME_SIZE];
  name_of(spool, file, name);
  if (file->number > 0 && unlinkat(spool->folder, name, 0) != 0 && file->descriptor >= 0)
    make_empty(file); /* what is delivered isn't to be found there */
  close_file(file);
}

static void empty_spares(nxa__spool *spool) {
  while (spool->spares.first) {
    nxa__spool_file *file = spool->spares.first->owner;
    delete_file(spool, file);
    forget(file);
  }
}

static void forget_all(nxa__list *files) {
  while (files->first)
    forget(files->first->owner);
}

/* The folder goes where nothing is in it; the lock is last, so that nobody else takes what is on its way out. */
static void leave_folder(nxa__spool *spool) {
  bool empty = spool->own && nxa__list_empty(&spool->files) && nxa__list_empty(&spool->failed_files);
  if (spool->folder >= 0)
    close(spool->folder);
  if (empty)
    nxa__lock_remove(spool->lock);
  else
    nxa__lock_release(spool->lock);
  if (empty)
    rmdir(spool->own);
}

void nxa__spool_free(nxa__spool *spool) {
  if (!spool)
    return;
  empty_spares(spool);
  leave_folder(spool);
  forget_all(&spool->files);
  forget_all(&spool->failed_files);
  nxa__engine_release(spool->engine);
  nxa__release(spool->own);
  nxa__release(spool->collected);
  nxa__release(spool);
}

/* ------------------------------------------------------------------------------------------------ failing */

static void warn_once(nxa__spool *spool, const char *reason) {
  if (!spool->has_warned)
    nxa__engine_warn(spool->engine,
                     "traces can't be kept in '%s': %s; until they can, what isn't delivered is in memory alone",
                     spool->path, reason);
  spool->has_warned = true;
}

static bool fail(nxa__spool *spool, const char *reason) {
  spool->rests_until_ns = nxa__monotonic_ns() + PAUSE;
  warn_once(spool, reason);
  return false;
}

bool nxa__spool_rests(const nxa__spool *spool) {
  return spool->rests_until_ns > nxa__monotonic_ns();
}

static bool fail_by_errno(nxa__spool *spool) {
  return fail(spool, strerror(errno));
}

/* ------------------------------------------------------------------------------------------------ the folder */

static char *join(const char *folder, const char *name) {
  size_t folder_length = strlen(folder), name_length = strlen(name);
  char *path = nxa__allocate(folder_length + name_length + 2);
  if (!path)
    return NULL;
  memcpy(path, folder, folder_length);
  path[folder_length] = '/';
  memcpy(path + folder_length + 1, name, name_length + 1);
  return path;
}

static char *new_folder_path(const nxa__spool *spool) {
  unsigned char bytes[OWNER_BYTES];
  char name[2 * OWNER_BYTES + 1];
  nxa__random_bytes(bytes, sizeof bytes);
  nxa__hex(name, bytes, sizeof bytes);
  return join(spool->path, name);
}

/* Whoever sweeps the spool may have taken the folder's lock, or the folder, before its maker could lock it: `*again`.
 */
static nxa__lock *lock_folder(const char *own, bool *again, nxa_error *error) {
  bool is_held = false;
  char *path = join(own, "lock");
  if (!path)
    nxa__error_memory(error);
  nxa__lock *lock = path ? nxa__lock_take(path, &is_held, error) : NULL;
  *again = is_held || (!lock && path && access(own, F_OK) != 0);
  nxa__release(path);
  return lock;
}

/* Unless others have it: then it is theirs to remove. errno stays. */
static void drop_folder(nxa__spool *spool) {
  int number = errno;
  nxa__lock_remove(spool->lock);
  if (spool->own)
    rmdir(spool->own);
  nxa__release(spool->own);
  spool->lock = NULL;
  spool->own = NULL;
  errno = number;
}

static bool try_folder(nxa__spool *spool, bool *again, nxa_error *error) {
  *again = false;
  spool->own = new_folder_path(spool);
  if (!spool->own)
    nxa__error_memory(error);
  if (spool->own && nxa__private_folder(spool->own, error))
    spool->lock = lock_folder(spool->own, again, error);
  if (spool->lock)
    return true;
  drop_folder(spool);
  return false;
}

/* A folder without one is looked into; so nothing depends on it. */
static void write_label(const nxa__spool *spool) {
  if (strlen(spool->form.label) > spool->largest)
    return;
  int file = openat(spool->folder, "lock", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0)
    return;
  ssize_t written = write(file, spool->form.label, strlen(spool->form.label));
  (void)written;
  close(file);
}

static bool make_folder(nxa__spool *spool) {
  nxa_error error;
  bool again = true;
  nxa__error_clear(&error);
  for (int tries = 0; again && tries < FOLDER_TRIES; tries++)
    if (try_folder(spool, &again, &error))
      break;
  if (!spool->lock)
    return fail(spool, error.message);
  spool->folder = open(spool->own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (spool->folder < 0) {
    drop_folder(spool);
    return fail_by_errno(spool);
  }
  write_label(spool);
  return true;
}

/* ------------------------------------------------------------------------------------------------ files */

/* Counts that may be negative wrap around, and back. */
static void count(nxa__spool *spool, size_t files, size_t bytes) {
  spool->held_files += files;
  spool->held_bytes += bytes;
  spool->stats->spool_files += files;
  spool->stats->spool_bytes += bytes;
}

static void note_size(nxa__spool *spool, nxa__spool_file *file, size_t size) {
  count(spool, 0, size - file->size);
  file->size = size;
}

static void uncount_file(nxa__spool *spool, const nxa__spool_file *file) {
  if (file->bytes > 0)
    count(spool, (size_t)-1, (size_t)0 - file->size);
}

static void drop(nxa__spool *spool, nxa__spool_file *file) {
  uncount_file(spool, file);
  delete_file(spool, file);
  nxa__list_remove(&file->link);
  nxa__list_remove(&file->left_link);
  file->dropped = true;
  file->bytes = 0;
  if (!file->left) /* its trace is in memory, and may be delivered yet */
    return;
  spool->stats->spool_dropped++;
  spool->stats->spool_left--;
  nxa__release(file);
}

/* ------------------------------------------------------------------------------------------------ a lost folder */

/* What nothing was written to yet is written in the next folder. */
static void lose_file(nxa__spool *spool, nxa__spool_file *file) {
  close_file(file);
  if (file->bytes > 0) {
    file->deleted = true;
    drop(spool, file);
  } else {
    file->number = 0;
    file->size = 0;
  }
}

static void lose_files(nxa__spool *spool, const nxa__list *files) {
  for (nxa__link *link = files->first, *next; link; link = next) {
    next = link->next;
    lose_file(spool, link->owner);
  }
}

/* Somebody deleted the folder: what goes on writes into nothing. */
static void lose_folder(nxa__spool *spool) {
  warn_once(spool, "the folder was deleted");
  lose_files(spool, &spool->files);
  lose_files(spool, &spool->failed_files);
  empty_spares(spool);
  close(spool->folder);
  nxa__lock_release(spool->lock);
  nxa__release(spool->own);
  spool->folder = -1;
  spool->lock = NULL;
  spool->own = NULL;
}

static bool lost_its_folder(nxa__spool *spool) {
  if (!spool->own || access(spool->own, F_OK) == 0 || errno != ENOENT)
    return false;
  lose_folder(spool);
  return true;
}

static bool is_deleted(const nxa__spool_file *file) {
  struct stat known;
  return fstat(file->descriptor, &known) != 0 || known.st_nlink == 0;
}

/* By its name: a descriptor doesn't tell, and there may be none. */
static bool is_gone(const nxa__spool *spool, const nxa__spool_file *file) {
  struct stat known;
  char name[NAME_SIZE];
  name_of(spool, file, name);
  return fstatat(spool->folder, name, &known, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT;
}

bool nxa__spool_was_deleted(nxa__spool *spool, nxa__spool_file *file) {
  bool is_made = file && file->number > 0 && !file->dropped;
  if (is_made && is_gone(spool, file) && !lost_its_folder(spool))
    lose_file(spool, file);
  if (!file || !file->deleted)
    return false;
  file->deleted = file->dropped = file->failed = false;
  file->number = 0;
  file->size = 0;
  file->since_ns = nxa__wall_ns();
  nxa__list_append(&spool->files, &file->link);
  return true;
}

/* ------------------------------------------------------------------------------------------------ taking */

static nxa__spool_file *take_spare(nxa__spool *spool) {
  nxa__spool_file *file = spool->spares.last ? spool->spares.last->owner : NULL;
  if (!file)
    return NULL;
  if (is_deleted(file)) {
    if (!lost_its_folder(spool))
      empty_spares(spool);
    return NULL;
  }
  nxa__list_remove(&file->link);
  return file;
}

nxa__spool_file *nxa__spool_take(nxa__spool *spool) {
  nxa__spool_file *file = take_spare(spool);
  if (!file)
    file = nxa__allocate_zeroed(sizeof *file);
  if (!file)
    return NULL;
  if (!file->link.owner)
    file->descriptor = -1;
  file->link.owner = file->open_link.owner = file->left_link.owner = file;
  file->bytes = 0;
  file->since_ns = nxa__wall_ns();
  nxa__list_append(&spool->files, &file->link);
  return file;
}

static void open_by_name(nxa__spool *spool, nxa__spool_file *file) {
  char name[NAME_SIZE];
  bool is_new = file->number == 0;
  if (is_new)
    file->number = ++spool->last_number;
  name_of(spool, file, name);
  int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (is_new ? O_CREAT | O_EXCL : 0);
  file->descriptor = openat(spool->folder, name, flags, S_IRUSR | S_IWUSR);
  if (file->descriptor < 0 && is_new)
    file->number = 0;
}

/* Somebody deleted it, or the folder, and with that what was in it; only what had nothing in it is made anew. */
static void open_lost(nxa__spool *spool, nxa__spool_file *file) {
  if (!lost_its_folder(spool))
    lose_file(spool, file);
  if (!file->dropped && (spool->folder >= 0 || make_folder(spool)))
    open_by_name(spool, file);
}

static bool open_file(nxa__spool *spool, nxa__spool_file *file) {
  open_by_name(spool, file);
  if (file->descriptor < 0 && errno == ENOENT)
    open_lost(spool, file);
  if (file->descriptor < 0)
    return file->dropped || nxa__spool_rests(spool) ? false : fail_by_errno(spool);
  if (spool->open_files.count == OPEN_MOST)
    close_file(spool->open_files.first->owner);
  nxa__list_append(&spool->open_files, &file->open_link);
  return true;
}

static bool is_ready(nxa__spool *spool, nxa__spool_file *file) {
  if (file->dropped || nxa__spool_rests(spool))
    return false;
  if (spool->folder < 0 && !make_folder(spool))
    return false;
  return file->descriptor >= 0 || open_file(spool, file);
}

/* What is behind its lines isn't read: no line begins so. */
static bool end_here(const nxa__spool *spool, const nxa__spool_file *file) {
  if (spool->form.in_place)
    return pwrite(file->descriptor, "-", 1, (off_t)file->bytes) == 1;
  return ftruncate(file->descriptor, (off_t)file->bytes) == 0;
}

/* What was written in part counts as not written: the next lines overwrite it. */
static bool write_lines(nxa__spool *spool, nxa__spool_file *file, const char *lines, size_t length) {
  ssize_t written;
  do
    written = pwrite(file->descriptor, lines, length, (off_t)file->bytes);
  while (written < 0 && errno == EINTR);
  if (written < 0)
    return fail_by_errno(spool);
  if ((size_t)written == length)
    return true;
  if (!end_here(spool, file))
    return fail_by_errno(spool);
  return fail(spool, strerror(ENOSPC));
}

/* ------------------------------------------------------------------------------------------------ caps */

static nxa__spool_file *oldest_written(const nxa__list *files) {
  for (nxa__link *link = files->first; link; link = link->next)
    if (((nxa__spool_file *)link->owner)->bytes > 0)
      return link->owner;
  return NULL;
}

static nxa__spool_file *oldest_left(const nxa__list *files) {
  for (nxa__link *link = files->first; link; link = link->next)
    if (((nxa__spool_file *)link->owner)->left)
      return link->owner;
  return NULL;
}

static bool is_too_old(const nxa__spool *spool, const nxa__spool_file *file) {
  return file && nxa__wall_ns() - file->since_ns > nxa__ns_of(spool->limits.age);
}

static bool is_too_much(const nxa__spool *spool) {
  return spool->held_files > spool->limits.files || spool->held_bytes > spool->limits.bytes;
}

/* The oldest go first, and those that failed after all others. */
static void make_room(nxa__spool *spool) {
  while (is_too_much(spool)) {
    nxa__spool_file *file = oldest_written(&spool->files);
    if (!file)
      file = oldest_written(&spool->failed_files);
    if (!file)
      return;
    drop(spool, file);
  }
}

static void drop_old(nxa__spool *spool, const nxa__list *files) {
  nxa__spool_file *file = oldest_left(files);
  while (is_too_old(spool, file)) {
    drop(spool, file);
    file = oldest_left(files);
  }
}

/* ------------------------------------------------------------------------------------------------ writing */

bool nxa__spool_append(nxa__spool *spool, nxa__spool_file *file, const char *lines, size_t length) {
  if (!file || length > spool->limits.bytes || !is_ready(spool, file))
    return false;
  if (length > spool->largest - file->bytes)
    return fail(spool, strerror(EFBIG));
  if (!write_lines(spool, file, lines, length))
    return false;
  bool is_first = file->bytes == 0;
  if (is_first)
    count(spool, 1, file->size);
  file->bytes += length;
  if (file->bytes > file->size)
    note_size(spool, file, file->bytes);
  if (is_first) {
    drop_old(spool, &spool->files);
    drop_old(spool, &spool->failed_files);
  }
  make_room(spool);
  return !file->dropped;
}

bool nxa__spool_read(nxa__spool *spool, nxa__spool_file *file, size_t offset, nxa__buffer *out) {
  if (!nxa__spool_has_lines(file) || !is_ready(spool, file))
    return false;
  size_t length = file->bytes - offset;
  if (nxa__buffer_reserve(out, length) != NXA_OK)
    return false;
  if (pread(file->descriptor, out->data + out->length, length, (off_t)offset) != (ssize_t)length)
    return false;
  out->length += length;
  out->data[out->length] = '\0';
  return true;
}

size_t nxa__spool_length(const nxa__spool_file *file) {
  return file->bytes;
}

bool nxa__spool_overwrite(nxa__spool *spool, nxa__spool_file *file, size_t offset, const char *bytes, size_t length) {
  if (offset > file->bytes || length > file->bytes - offset || (file->descriptor < 0 && !open_file(spool, file)))
    return false;
  return pwrite(file->descriptor, bytes, length, (off_t)offset) == (ssize_t)length;
}

void nxa__spool_mark(nxa__spool *spool, nxa__spool_file *file, size_t offset, char mark) {
  if (!nxa__spool_has_lines(file) || offset >= file->bytes || !is_ready(spool, file))
    return;
  if (pwrite(file->descriptor, &mark, 1, (off_t)offset) < 0)
    fail_by_errno(spool);
}

size_t nxa__spool_most(const nxa__spool *spool) {
  return spool->limits.bytes;
}

void nxa__spool_note_time(const nxa__spool *spool, int64_t now) {
  if (spool->lock)
    nxa__lock_set_time(spool->lock, now);
}

void nxa__spool_try_again(nxa__spool *spool) {
  if (spool)
    spool->rests_until_ns = 0;
}

bool nxa__spool_has_lines(const nxa__spool_file *file) {
  return file && file->bytes > 0 && !file->dropped;
}

bool nxa__spool_is_dropped(const nxa__spool_file *file) {
  return file && file->dropped;
}

void nxa__spool_mark_failed(nxa__spool *spool, nxa__spool_file *file) {
  if (!file || file->failed || file->dropped)
    return;
  file->failed = true;
  nxa__list_remove(&file->link);
  nxa__list_append(&spool->failed_files, &file->link);
}

/* ------------------------------------------------------------------------------------------------ ends */

/* No line begins so: what is behind it doesn't count. */
static bool blank(const nxa__spool *spool, nxa__spool_file *file) {
  if (file->bytes == 0)
    return true;
  if (spool->form.in_place)
    return pwrite(file->descriptor, "-", 1, 0) == 1;
  file->size = 0;
  return make_empty(file);
}

static bool is_worth_keeping(const nxa__spool *spool, const nxa__spool_file *file) {
  return file->descriptor >= 0 && file->size <= SPARE_BYTES && spool->spares.count < SPARE_MOST;
}

void nxa__spool_remove(nxa__spool *spool, nxa__spool_file *file) {
  if (!file)
    return;
  uncount_file(spool, file);
  nxa__list_remove(&file->link);
  if (!file->dropped && is_worth_keeping(spool, file) && blank(spool, file)) {
    file->bytes = 0;
    file->failed = false;
    nxa__list_append(&spool->spares, &file->link);
    return;
  }
  if (!file->dropped)
    delete_file(spool, file);
  forget(file);
}

void nxa__spool_forget(nxa__spool *spool, nxa__spool_file *file) {
  if (nxa__spool_has_lines(file))
    close_file(file); /* stays listed, so that its folder does */
  else
    nxa__spool_remove(spool, file);
}

void nxa__spool_leave(nxa__spool *spool, nxa__spool_file *file) {
  if (!nxa__spool_has_lines(file)) {
    spool->stats->spool_dropped += file && file->dropped;
    nxa__spool_remove(spool, file);
    return;
  }
  if (file->size > file->bytes && file->descriptor >= 0 && ftruncate(file->descriptor, (off_t)file->bytes) == 0)
    note_size(spool, file, file->bytes);
  close_file(file);
  file->left = true;
  spool->stats->spool_left++;
  nxa__list_append(&spool->waiting, &file->left_link);
}

/* ------------------------------------------------------------------------------------------------ collecting */

const char *nxa__spool_collect(nxa__spool *spool) {
  char name[NAME_SIZE];
  nxa__spool_file *file = spool->waiting.first ? spool->waiting.first->owner : NULL;
  if (!file)
    return NULL;
  name_of(spool, file, name);
  char *path = join(spool->own, name);
  if (!path)
    return NULL;
  nxa__list_remove(&file->left_link);
  nxa__release(spool->collected);
  spool->collected = path;
  return path;
}

static nxa__spool_file *find_left(const nxa__spool *spool, const nxa__list *files, const char *path) {
  char name[NAME_SIZE];
  size_t folder = strlen(spool->own);
  for (nxa__link *link = files->first; link; link = link->next) {
    nxa__spool_file *file = link->owner;
    name_of(spool, file, name);
    if (file->left && strncmp(path, spool->own, folder) == 0 && path[folder] == '/' &&
        strcmp(path + folder + 1, name) == 0)
      return file;
  }
  return NULL;
}

void nxa__spool_collected(nxa__spool *spool, const char *path, bool done) {
  nxa__spool_file *file = spool->own ? find_left(spool, &spool->files, path) : NULL;
  if (!file && spool->own)
    file = find_left(spool, &spool->failed_files, path);
  if (!file)
    return;
  if (!done) {
    if (!file->left_link.list)
      nxa__list_append(&spool->waiting, &file->left_link);
    return;
  }
  spool->stats->spool_left--;
  uncount_file(spool, file);
  delete_file(spool, file);
  forget(file);
}
