/*
 * What it costs to record a span with 10 attributes and to bring it, by OTLP, to a receiver in another process.
 *
 *   export [SPANS] [json|protobuf] [gzip] [spool]
 *
 * With `spool` all spans are written to the disk before: to a folder in $TMPDIR, or /tmp. Prints CPU (user and system)
 * a span of the best of several rounds, of it that of recording, and the spans a second that one core makes of it. Ends
 * with 3 where delivering costs above 5 µs, or a core makes less than 100,000.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nexus_assistants.h"

enum { SPANS_OF_A_TRACE = 100, ROUNDS = 5, ABOVE_LIMIT = 3, ROOM = 1 << 20 };

static const double most_cost = 5e-6;  /* seconds of CPU a span */
static const double least_speed = 1e5; /* spans a second */

static void fail(const char *what) {
  fprintf(stderr, "export: %s\n", what);
  exit(1);
}

/* ------------------------------------------------------------------------------------------------ the receiver */

static size_t body_length(const char *head) {
  const char *line = strstr(head, "Content-Length: ");
  return line ? strtoul(line + strlen("Content-Length: "), NULL, 10) : 0;
}

/* Reads a request; the body is thrown away. False where the other side is gone. */
static bool receive(int connection, char *room) {
  size_t used = 0;
  char *end = NULL;
  while (!end) {
    ssize_t got = read(connection, room + used, ROOM - 1 - used);
    if (got <= 0)
      return false;
    used += (size_t)got;
    room[used] = '\0';
    end = strstr(room, "\r\n\r\n");
  }
  size_t whole = (size_t)(end - room) + 4 + body_length(room);
  for (ssize_t got; used < whole; used += (size_t)got)
    if ((got = read(connection, room, ROOM)) <= 0)
      return false;
  return true;
}

static void serve(int connection) {
  static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
  static char room[ROOM];
  while (receive(connection, room))
    if (write(connection, answer, sizeof answer - 1) < 0)
      break;
  close(connection);
}

static int listen_somewhere(int *port) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 8) != 0 ||
      getsockname(listener, (struct sockaddr *)&address, &size) != 0)
    fail("no port to listen on");
  *port = ntohs(address.sin_port);
  return listener;
}

static pid_t start_receiver(int *port) {
  int listener = listen_somewhere(port);
  pid_t child = fork();
  if (child < 0)
    fail("no process for the receiver");
  if (child > 0) {
    close(listener);
    return child;
  }
  for (int connection; (connection = accept(listener, NULL, NULL)) >= 0;)
    serve(connection);
  _exit(0);
}

/* ------------------------------------------------------------------------------------------------ a round */

typedef struct setup {
  size_t spans;
  nxa_endpoint *endpoint;
  nxa_otlp_options options;
  char spool[256]; /* "" for none */
} setup;

static double cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void set(nxa_span *span, const char *key, const char *json) {
  nxa_span_set_metadata(span, key, json, strlen(json));
}

static void record_span(nxa_trace *trace, size_t number) {
  char own[32];
  nxa_span *span = nxa_span_start(trace, NULL, "threads.runs.createAndPoll", "llm");
  snprintf(own, sizeof own, "\"run_%zu\"", number);
  set(span, "runId", own);
  set(span, "threadId", "\"thread_abc123\"");
  set(span, "assistantId", "\"asst_abc123\"");
  set(span, "customer", "\"c-17\"");
  set(span, "attempt", "2");
  set(span, "seconds", "0.125");
  set(span, "cached", "true");
  set(span, "region", "\"eu-central\"");
  set(span, "plan", "\"team\"");
  set(span, "words", "\"about as long as such texts are\"");
  nxa_span_end(span, NXA_SPAN_OK);
  nxa_span_free(span);
}

static void record_trace(nxa_tracer *tracer) {
  nxa_trace *trace = nxa_trace_start(tracer, "bench", "export");
  for (size_t i = 0; i < SPANS_OF_A_TRACE; i++)
    record_span(trace, i);
  nxa_trace_end(trace, NXA_TRACE_SUCCESS, NULL);
  nxa_trace_free(trace);
}

static size_t pending(const nxa_tracer *tracer) {
  nxa_stats stats;
  nxa_tracer_stats(tracer, &stats);
  return stats.spans_pending;
}

static void check(const nxa_tracer *tracer, const setup *wanted) {
  nxa_stats stats;
  nxa_tracer_stats(tracer, &stats);
  if (stats.spans_delivered != wanted->spans)
    fail("not all spans were delivered");
}

typedef struct costs {
  double all, recording; /* CPU, seconds a span */
} costs;

/* Without a sink what is recorded is held. */
static double cost_of_recording(nxa_engine *engine, const setup *wanted) {
  nxa_tracer_options options;
  nxa_tracer_options_init(&options);
  options.max_spans = options.max_traces = wanted->spans;
  options.max_bytes = SIZE_MAX;
  nxa_tracer *tracer = nxa_tracer_new(engine, &options, NULL);
  double start = cpu();
  for (size_t spans = 0; spans < wanted->spans; spans += SPANS_OF_A_TRACE)
    record_trace(tracer);
  double cost = (cpu() - start) / (double)wanted->spans;
  nxa_tracer_free(tracer);
  return cost;
}

static double cost_of_all(nxa_engine *engine, const setup *wanted) {
  nxa_tracer *tracer = nxa_tracer_new(engine, NULL, NULL);
  if (nxa_tracer_add_otlp(tracer, &wanted->options, NULL) != NXA_OK)
    fail("no sink");
  double start = cpu();
  for (size_t spans = 0; spans < wanted->spans; spans += SPANS_OF_A_TRACE) {
    record_trace(tracer);
    nxa_engine_step(engine, 0, 0);
    while (pending(tracer) > 4096)
      nxa_engine_step(engine, 0.01, 0);
  }
  nxa_tracer_close(tracer, 10);
  double cost = (cpu() - start) / (double)wanted->spans;
  check(tracer, wanted);
  nxa_tracer_free(tracer);
  return cost;
}

static costs measure(const setup *wanted) {
  costs best = {1, 1};
  nxa_engine *engine = nxa_engine_new(NULL, NULL);
  for (int i = 0; i < ROUNDS; i++) {
    double recording = cost_of_recording(engine, wanted), all = cost_of_all(engine, wanted);
    best.recording = recording < best.recording ? recording : best.recording;
    best.all = all < best.all ? all : best.all;
  }
  nxa_engine_free(engine);
  return best;
}

/* ------------------------------------------------------------------------------------------------ all */

static void make_spool(setup *wanted) {
  const char *parent = getenv("TMPDIR");
  snprintf(wanted->spool, sizeof wanted->spool, "%s/nxa_export_XXXXXX", parent ? parent : "/tmp");
  if (!mkdtemp(wanted->spool))
    fail("no folder for the spool");
}

/* What was delivered is gone from there. */
static void remove_spool(setup *wanted) {
  if (*wanted->spool && rmdir(wanted->spool) != 0)
    fail("something stays in the spool");
}

static setup read_arguments(int count, char **words, int port) {
  setup wanted = {.spans = 100000};
  char url[64];
  nxa_endpoint_options options;
  nxa_endpoint_options_init(&options);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
  options.base_url = url;
  wanted.endpoint = nxa_endpoint_new(&options, NULL);
  nxa_otlp_options_init(&wanted.options);
  wanted.options.endpoint = wanted.endpoint;
  for (int i = 1; i < count; i++) {
    wanted.options.json = wanted.options.json || strcmp(words[i], "json") == 0;
    wanted.options.gzip = wanted.options.gzip || strcmp(words[i], "gzip") == 0;
    if (strcmp(words[i], "spool") == 0)
      make_spool(&wanted);
    if (words[i][0] >= '1' && words[i][0] <= '9')
      wanted.spans = strtoul(words[i], NULL, 10);
  }
  wanted.spans -= wanted.spans % SPANS_OF_A_TRACE;
  return wanted;
}

int main(int count, char **words) {
  int port;
  setenv("no_proxy", "*", 1);
  pid_t receiver = start_receiver(&port);
  setup wanted = read_arguments(count, words, port);
  if (*wanted.spool)
    wanted.options.spool = wanted.spool;
  costs best = measure(&wanted);
  remove_spool(&wanted);
  kill(receiver, SIGTERM);
  waitpid(receiver, NULL, 0);
  nxa_endpoint_free(wanted.endpoint);
  double delivering = best.all - best.recording, speed = 1 / best.all;
  printf("%s%s%s: %.2f µs a span, of them %.2f to record and %.2f to deliver; %.0f spans a second and core\n",
         wanted.options.json ? "json" : "protobuf", wanted.options.gzip ? ", gzip" : "", *wanted.spool ? ", spool" : "",
         best.all * 1e6, best.recording * 1e6, delivering * 1e6, speed);
  return delivering > most_cost || speed < least_speed ? ABOVE_LIMIT : 0;
}
