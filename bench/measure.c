/*
 * Runs two commands in turn and prints what they cost, and the second as a ratio to the first.
 *
 *   measure ROUNDS UNITS CPU_LIMIT MEMORY_LIMIT FLOOR_NAME FLOOR_COMMAND … -- NAME COMMAND …
 *
 * CPU (user + system) and wall are per unit, the median over all rounds; memory is the peak of the process. Ends with 3
 * where a ratio is above its limit.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ROUNDS = 99, ABOVE_LIMIT = 3 };

typedef struct contender {
  const char *name;
  char **command;
  double cpu[MAX_ROUNDS]; /* seconds */
  double wall[MAX_ROUNDS];
  double peak[MAX_ROUNDS]; /* MiB */
} contender;

static double seconds(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int run(contender *entry, int round) {
  struct rusage usage;
  int status = 0;
  double start = now();
  pid_t child = fork();
  if (child == 0) {
    execvp(entry->command[0], entry->command);
    fprintf(stderr, "measure: %s: %s\n", entry->command[0], strerror(errno));
    _exit(127);
  }
  if (child < 0 || wait4(child, &status, 0, &usage) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "measure: %s failed\n", entry->name);
    return 1;
  }
  entry->wall[round] = now() - start;
  entry->cpu[round] = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  entry->peak[round] = (double)usage.ru_maxrss / 1024;
  return 0;
}

static int ascending(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, ascending);
  return values[count / 2];
}

/* Returns whether both ratios are within the limit. */
static bool report(contender *floor, contender *entry, int rounds, double units, double cpu_limit, double peak_limit) {
  contender *both[] = {floor, entry};
  double cpu[2], wall[2], peak[2];
  printf("%-24s %12s %12s %12s\n", "", "CPU ms", "wall ms", "peak MiB");
  for (int i = 0; i < 2; i++) {
    cpu[i] = median(both[i]->cpu, rounds) / units * 1e3;
    wall[i] = median(both[i]->wall, rounds) / units * 1e3;
    peak[i] = median(both[i]->peak, rounds);
    printf("%-24s %12.3f %12.3f %12.1f\n", both[i]->name, cpu[i], wall[i], peak[i]);
  }
  printf("%-24s %12.2f %12.2f %12.2f\n", "ratio", cpu[1] / cpu[0], wall[1] / wall[0], peak[1] / peak[0]);
  bool within = cpu[1] <= cpu_limit * cpu[0] && peak[1] <= peak_limit * peak[0];
  printf("%-24s %12.2f %12s %12.2f   %s\n", "limit", cpu_limit, "-", peak_limit, within ? "held" : "NOT HELD");
  return within;
}

int main(int argc, char **argv) {
  static contender floor, entry;
  int rounds = argc > 8 ? atoi(argv[1]) : 0, separator = 5;
  while (separator < argc && strcmp(argv[separator], "--") != 0) {
    separator++;
  }
  if (rounds < 1 || rounds > MAX_ROUNDS || separator + 2 >= argc) {
    fprintf(stderr,
            "usage: measure ROUNDS UNITS CPU_LIMIT MEMORY_LIMIT FLOOR_NAME FLOOR_COMMAND … -- NAME COMMAND …\n");
    return 2;
  }
  floor.name = argv[5];
  floor.command = argv + 6;
  argv[separator] = NULL;
  entry.name = argv[separator + 1];
  entry.command = argv + separator + 2;
  for (int round = 0; round < rounds; round++) {
    if (run(&floor, round) || run(&entry, round)) {
      return 1;
    }
  }
  double units = strtod(argv[2], NULL), cpu_limit = strtod(argv[3], NULL), peak_limit = strtod(argv[4], NULL);
  return report(&floor, &entry, rounds, units, cpu_limit, peak_limit) ? 0 : ABOVE_LIMIT;
}
