/* Spans in a file: lines, rotation, and what can't be written. */
/* clang-format off
 * nxa-links: alloc buffer clock error random text lock log_file private spool pairs json_out trace traceparent export otlp_content otlp_json otlp_page otlp_protobuf otlp_queue otlp_resource otlp_span otlp_value sink_file
 * clang-format on */
#include "support/fake_transport.h"
#include "support/json_check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "log_file.h"
#include "sink_file.h"

/* ------------------------------------------------------------------------------------------------ a full disk */

static struct {
  size_t room; /* bytes that still fit; the rest is refused */
  bool limited;
} disk;

/* Stands in for the C library's. */
ssize_t writev(int file, const struct iovec *parts, int count) {
  ssize_t written = 0;
  for (int i = 0; i < count; i++) {
    size_t length = parts[i].iov_len;
    if (disk.limited && length > disk.room)
      length = disk.room;
    disk.room -= disk.limited ? length : 0;
    if (length > 0 && write(file, parts[i].iov_base, length) != (ssize_t)length)
      return -1;
    written += (ssize_t)length;
  }
  if (written == 0) {
    errno = ENOSPC;
    return -1;
  }
  return written;
}

/* ------------------------------------------------------------------------------------------------ helpers */

typedef struct fixture {
  char folder[64], path[96];
  nxa_engine *engine;
  nxa_tracer *tracer;
} fixture;

static void make_folder(fixture *fix) {
  strcpy(fix->folder, "/tmp/nxa-file-XXXXXX");
  assert_non_null(mkdtemp(fix->folder));
  snprintf(fix->path, sizeof fix->path, "%s/traces.jsonl", fix->folder);
  memset(&disk, 0, sizeof disk);
}

static void remove_folder(const fixture *fix) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", fix->folder);
  assert_int_equal(system(command), 0);
}

static nxa_file_options options_for(const fixture *fix) {
  nxa_file_options options;
  nxa_file_options_init(&options);
  options.path = fix->path;
  options.service_name = "bot";
  return options;
}

static void start(fixture *fix, size_t max_bytes, int max_files) {
  nxa_error error;
  make_folder(fix);
  nxa_file_options options = options_for(fix);
  options.max_bytes = max_bytes;
  options.max_files = max_files;
  fix->engine = fake_engine();
  fix->tracer = nxa_tracer_new(fix->engine, NULL, &error);
  assert_int_equal(nxa_tracer_add_file(fix->tracer, &options, &error), NXA_OK);
}

static void stop(fixture *fix) {
  nxa_tracer_free(fix->tracer);
  assert_int_equal(fix->engine->references, 1);
  nxa_engine_free(fix->engine);
  nxa__clock_real();
  remove_folder(fix);
}

static void record(fixture *fix, const char *name) {
  nxa_trace *trace = nxa_trace_start(fix->tracer, "bot", name);
  nxa_span *span = nxa_span_start(trace, NULL, "tool t", "tool");
  nxa_span_set_input(span, "\"said\"", 6);
  nxa_span_end(span, NXA_SPAN_OK);
  nxa_span_free(span);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  nxa_trace_free(trace);
}

/* A trace, written. */
static void write_trace(fixture *fix, const char *name) {
  record(fix, name);
  nxa_engine_step(fix->engine, 0, 0);
}

static char *read_file(const char *path) {
  static char text[1 << 20];
  FILE *file = fopen(path, "rb");
  if (!file)
    return NULL;
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  return text;
}

static char *read_older(const fixture *fix, int number) {
  char path[128];
  snprintf(path, sizeof path, "%s.%d", fix->path, number);
  return read_file(path);
}

/* The lines of a text, each checked; those that aren't JSON are counted. */
static size_t count_lines(char *text, size_t *broken) {
  size_t lines = 0;
  *broken = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++)
    *broken += !json_check(line, strlen(line));
  return lines;
}

static void assert_lines(const fixture *fix, size_t expected) {
  size_t broken;
  char *text = read_file(fix->path);
  assert_non_null(text);
  assert_int_equal(text[strlen(text) - 1], '\n');
  assert_int_equal(count_lines(text, &broken), expected);
  assert_int_equal(broken, 0);
}

static nxa_stats stats_of(const fixture *fix) {
  nxa_stats stats;
  nxa_tracer_stats(fix->tracer, &stats);
  return stats;
}

/* ------------------------------------------------------------------------------------------------ lines */

static void a_trace_is_a_line_as_soon_as_it_ends(void **state) {
  fixture fix;
  struct stat known;
  (void)state;
  start(&fix, 1 << 20, 3);
  assert_null(read_file(fix.path));
  write_trace(&fix, "one");
  write_trace(&fix, "two");
  assert_int_equal(stat(fix.path, &known), 0);
  assert_int_equal(known.st_mode & 07777, 0600);
  const char *text = read_file(fix.path);
  assert_non_null(strstr(text, "invoke_workflow one"));
  assert_non_null(strstr(text, "\"gen_ai.tool.call.arguments\",\"value\":{\"stringValue\":\"said\"}"));
  assert_lines(&fix, 2);
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.traces_delivered, 2);
  assert_int_equal(stats.spans_delivered, 2);
  stop(&fix);
}

static void spans_of_a_trace_that_goes_on_do_not_wait_long(void **state) {
  fixture fix;
  (void)state;
  start(&fix, 1 << 20, 3);
  nxa_trace *trace = nxa_trace_start(fix.tracer, "bot", "long");
  nxa_span *span = nxa_span_start(trace, NULL, "first", NULL);
  nxa_span_end(span, NXA_SPAN_OK);
  nxa_span_free(span);
  run_for(fix.engine, 900 * MILLISECOND);
  assert_null(read_file(fix.path));
  run_for(fix.engine, 200 * MILLISECOND);
  assert_lines(&fix, 1);
  nxa_trace_free(trace);
  assert_true(nxa_tracer_close(fix.tracer, 1));
  assert_lines(&fix, 2);
  stop(&fix);
}

static void what_an_abandoned_tracer_holds_is_written(void **state) {
  fixture fix;
  (void)state;
  start(&fix, 1 << 20, 3);
  record(&fix, "abandoned");
  nxa_tracer_free(fix.tracer);
  fix.tracer = NULL;
  assert_lines(&fix, 1);
  stop(&fix);
}

static void closing_writes_all_however_little_time_there_is(void **state) {
  fixture fix;
  (void)state;
  start(&fix, 1 << 20, 3);
  for (int i = 0; i < 300; i++)
    record(&fix, "one");
  nxa_trace_free(nxa_trace_start(fix.tracer, "bot", "open"));
  assert_true(nxa_tracer_close(fix.tracer, 0));
  assert_int_equal(stats_of(&fix).traces_delivered, 301);
  assert_lines(&fix, 2); /* of 601 spans */
  stop(&fix);
}

static void a_file_that_others_may_read_is_closed_to_them(void **state) {
  fixture fix;
  struct stat known;
  (void)state;
  start(&fix, 1 << 20, 3);
  close(open(fix.path, O_CREAT | O_WRONLY, 0644));
  write_trace(&fix, "one");
  assert_int_equal(stat(fix.path, &known), 0);
  assert_int_equal(known.st_mode & 07777, 0600);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ rotation */

static void a_full_file_gives_way(void **state) {
  fixture fix;
  char name[8];
  (void)state;
  start(&fix, 1000, 2); /* more than one line, less than two */
  for (int i = 0; i < 5; i++) {
    snprintf(name, sizeof name, "t%d", i);
    write_trace(&fix, name);
  }
  assert_non_null(strstr(read_file(fix.path), "invoke_workflow t4"));
  assert_non_null(strstr(read_older(&fix, 1), "invoke_workflow t3"));
  assert_non_null(strstr(read_older(&fix, 2), "invoke_workflow t2"));
  assert_null(read_older(&fix, 3));
  assert_lines(&fix, 1);
  assert_int_equal(stats_of(&fix).traces_delivered, 5);
  stop(&fix);
}

static void none_is_kept_where_none_is_wanted(void **state) {
  fixture fix;
  (void)state;
  start(&fix, 1, 0);
  write_trace(&fix, "one");
  write_trace(&fix, "two");
  assert_non_null(strstr(read_file(fix.path), "invoke_workflow two"));
  assert_lines(&fix, 1);
  assert_null(read_older(&fix, 1));
  stop(&fix);
}

static void a_file_that_another_put_away_is_left(void **state) {
  fixture fix;
  char away[128];
  (void)state;
  start(&fix, 1 << 20, 3);
  write_trace(&fix, "one");
  snprintf(away, sizeof away, "%s.away", fix.path);
  assert_int_equal(rename(fix.path, away), 0);
  write_trace(&fix, "two");
  assert_lines(&fix, 1);
  assert_non_null(strstr(read_file(away), "invoke_workflow one"));
  assert_int_equal(unlink(fix.path), 0);
  write_trace(&fix, "three");
  assert_lines(&fix, 1);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ faults */

static void a_full_disk_is_one_warning(void **state) {
  fixture fix;
  size_t broken;
  (void)state;
  start(&fix, 1 << 20, 3);
  write_trace(&fix, "one");
  disk.limited = true;
  disk.room = 100;
  for (int i = 0; i < 5; i++)
    write_trace(&fix, "lost");
  assert_int_equal(fix.engine->warning_count, 1);
  assert_non_null(strstr(fix.engine->warnings[0], "can't be written to '"));
  assert_non_null(strstr(fix.engine->warnings[0], strerror(ENOSPC)));
  disk.limited = false;
  write_trace(&fix, "two");
  char *text = read_file(fix.path);
  assert_non_null(strstr(text, "invoke_workflow two"));
  assert_int_equal(count_lines(text, &broken), 3); /* one broke off, and spoils no other */
  assert_int_equal(broken, 1);
  nxa_stats stats = stats_of(&fix);
  assert_int_equal(stats.traces_delivered, 2);
  assert_int_equal(stats.traces_failed, 5);
  assert_int_equal(stats.spans_failed, 5);
  assert_int_equal(stats.bytes_pending, 0);
  assert_false(nxa_tracer_close(fix.tracer, 1));
  stop(&fix);
}

static void places_that_can_not_be_written_to_are_said(void **state) {
  static const char *const commands[] = {"mkdir '%s'", "mkfifo '%s'", "ln -s /tmp/nowhere '%s'"};
  (void)state;
  for (size_t i = 0; i < 3; i++) {
    fixture fix;
    char command[160];
    start(&fix, 1 << 20, 3);
    snprintf(command, sizeof command, commands[i], fix.path);
    assert_int_equal(system(command), 0);
    write_trace(&fix, "lost");
    write_trace(&fix, "lost");
    assert_int_equal(fix.engine->warning_count, 1);
    assert_int_equal(stats_of(&fix).traces_failed, 2);
    stop(&fix);
  }
}

/* It would grow without an end. */
static void a_full_file_that_can_not_give_way_is_said(void **state) {
  static const char *const commands[] = {"mkdir -p '%s.1/x'", "mkdir '%s.lock'"};
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    fixture fix;
    char command[256];
    start(&fix, 1000, 1);
    write_trace(&fix, "one");
    snprintf(command, sizeof command, commands[i], fix.path);
    assert_int_equal(system(command), 0);
    write_trace(&fix, "lost");
    write_trace(&fix, "lost");
    assert_lines(&fix, 1);
    assert_int_equal(fix.engine->warning_count, 1);
    assert_int_equal(stats_of(&fix).traces_failed, 2);
    snprintf(command, sizeof command, "rm -rf '%s.1' '%s.lock'", fix.path, fix.path);
    assert_int_equal(system(command), 0);
    write_trace(&fix, "two");
    assert_lines(&fix, 1);
    assert_non_null(strstr(read_older(&fix, 1), "invoke_workflow one"));
    stop(&fix);
  }
}

/* Without care the kernel's signal would end the process. */
static void the_limit_of_the_process_is_respected(void **state) {
  fixture fix;
  struct rlimit before, small = {300, 300};
  (void)state;
  start(&fix, 1 << 20, 3);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small.rlim_max = before.rlim_max;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  write_trace(&fix, "lost");
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(fix.engine->warning_count, 1);
  assert_non_null(strstr(fix.engine->warnings[0], strerror(EFBIG)));
  write_trace(&fix, "one");
  assert_lines(&fix, 1);
  stop(&fix);
}

static void options_are_checked(void **state) {
  fixture fix = {.path = "/tmp/never"};
  nxa_error error;
  nxa_engine *engine = fake_engine();
  nxa_file_options options = options_for(&fix);
  (void)state;
  options.path = "";
  assert_null(nxa__file_new(engine, &options, &error));
  assert_string_equal(error.message, "path is required");
  options = options_for(&fix);
  options.max_bytes = 0;
  assert_null(nxa__file_new(engine, &options, &error));
  assert_string_equal(error.message, "max_bytes must be at least 1");
  options = options_for(&fix);
  options.max_files = -1;
  assert_null(nxa__file_new(engine, &options, &error));
  assert_string_equal(error.message, "max_files must be from 0 to 1000");
  options = options_for(&fix);
  options.flush_interval = -1;
  assert_null(nxa__file_new(engine, &options, &error));
  assert_string_equal(error.message, "flush_interval must be from 0 to 86400 seconds");
  nxa_engine_free(engine);
}

/* ------------------------------------------------------------------------------------------------ memory */

static struct {
  long count, refused_at, live;
  bool from_then_on;
} memory;

static bool refuse(void) {
  long number = ++memory.count;
  return memory.from_then_on ? number >= memory.refused_at : number == memory.refused_at;
}

static void *allocate(size_t size) {
  void *block = refuse() ? NULL : malloc(size);
  memory.live += block != NULL;
  return block;
}

static void *reallocate(void *block, size_t size) {
  void *grown = refuse() ? NULL : realloc(block, size);
  memory.live += grown && !block;
  return grown;
}

static void release(void *block) {
  memory.live -= block != NULL;
  free(block);
}

static void live(fixture *fix) {
  nxa_file_options options = options_for(fix);
  options.max_bytes = 1;
  fix->tracer = nxa_tracer_new(fix->engine, NULL, NULL);
  if (nxa_tracer_add_file(fix->tracer, &options, NULL) == NXA_OK) {
    write_trace(fix, "one");
    write_trace(fix, "two");
    nxa_tracer_close(fix->tracer, 1);
    nxa_stats stats = stats_of(fix);
    assert_int_equal(stats.spans_started, stats.spans_delivered + stats.spans_failed);
    assert_int_equal(stats.traces_started, stats.traces_delivered + stats.traces_failed);
    assert_int_equal(stats.bytes_pending, 0);
  }
  nxa_tracer_free(fix->tracer);
}

static long live_once(long refused_at, bool from_then_on) {
  fixture fix;
  make_folder(&fix);
  fix.engine = fake_engine();
  memory.count = memory.live = 0;
  memory.refused_at = refused_at;
  memory.from_then_on = from_then_on;
  nxa_set_allocator(allocate, reallocate, release);
  live(&fix);
  nxa_set_allocator(NULL, NULL, NULL);
  assert_int_equal(fix.engine->references, 1);
  nxa_engine_free(fix.engine);
  nxa__clock_real();
  remove_folder(&fix);
  if (memory.live != 0)
    fail_msg("allocation %ld: %ld blocks left", refused_at, memory.live);
  return memory.count;
}

static void memory_may_run_out_anywhere(void **state) {
  (void)state;
  for (int way = 0; way < 2; way++)
    for (long refused = 1; live_once(refused, way == 1) >= refused; refused++)
      ;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_trace_is_a_line_as_soon_as_it_ends),
      cmocka_unit_test(spans_of_a_trace_that_goes_on_do_not_wait_long),
      cmocka_unit_test(what_an_abandoned_tracer_holds_is_written),
      cmocka_unit_test(closing_writes_all_however_little_time_there_is),
      cmocka_unit_test(a_file_that_others_may_read_is_closed_to_them),
      cmocka_unit_test(a_full_file_gives_way),
      cmocka_unit_test(none_is_kept_where_none_is_wanted),
      cmocka_unit_test(a_file_that_another_put_away_is_left),
      cmocka_unit_test(a_full_disk_is_one_warning),
      cmocka_unit_test(places_that_can_not_be_written_to_are_said),
      cmocka_unit_test(a_full_file_that_can_not_give_way_is_said),
      cmocka_unit_test(the_limit_of_the_process_is_respected),
      cmocka_unit_test(options_are_checked),
      cmocka_unit_test(memory_may_run_out_anywhere),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
