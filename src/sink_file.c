#include "sink_file.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "engine.h"
#include "error.h"
#include "log_file.h"
#include "otlp_queue.h"

typedef struct sink_file {
  nxa__sink sink; /* first */
  nxa_engine *engine;
  nxa__log_file log;
  nxa__otlp_queue queue;
  nxa__timer timer;
  int64_t interval_ns;
  int64_t due_ns; /* of what waits */
  bool writing;   /* a line is being made */
  bool told;      /* that it can't be written */
} sink_file;

static sink_file *file_of(nxa__sink *sink) {
  return (sink_file *)sink;
}

/* ------------------------------------------------------------------------------------------------ writing */

static void tell(sink_file *sink, int number) {
  if (!sink->told)
    nxa__engine_warn(sink->engine, "traces can't be written to '%s': %s; they are lost until they can", sink->log.path,
                     nxa__error_of_file(number));
  sink->told = true;
}

/* Returns 0, or what is wrong as in errno. */
static int append_line(sink_file *sink) {
  nxa__buffer *body = &sink->queue.body;
  if (nxa__buffer_append_byte(body, '\n') != NXA_OK)
    return ENOMEM;
  return nxa__log_file_append(&sink->log, body->data, body->length);
}

static void write_line(sink_file *sink) {
  int number = sink->queue.batch.spans > 0 ? append_line(sink) : ENOMEM;
  if (number == 0)
    sink->told = false;
  else
    tell(sink, number);
  nxa__otlp_queue_settle(&sink->queue, number == 0, 0);
  sink->writing = false;
}

static void write_some(sink_file *sink) {
  sink->writing = true;
  if (nxa__otlp_queue_write(&sink->queue))
    write_line(sink);
}

/* ------------------------------------------------------------------------------------------------ moving on */

static int64_t next_due(const sink_file *sink) {
  if (sink->writing || sink->queue.waiting.count >= NXA__OTLP_BATCH_SPANS)
    return 0;
  return sink->queue.waiting.first ? sink->due_ns : NXA__NEVER;
}

static void schedule(sink_file *sink) {
  nxa__timer_want(sink->engine, &sink->timer, next_due(sink));
}

static void on_timer(nxa__timer *timer) {
  sink_file *sink = timer->data;
  if (next_due(sink) <= nxa__monotonic_ns())
    write_some(sink);
  schedule(sink);
}

/* ------------------------------------------------------------------------------------------------ recording */

static void trace_started(nxa__sink *base, nxa_trace *trace) {
  nxa__otlp_queue_start(&file_of(base)->queue, trace);
}

static void span_ended(nxa__sink *base, nxa_span *span) {
  sink_file *sink = file_of(base);
  if (!sink->queue.waiting.first)
    sink->due_ns = nxa__monotonic_ns() + sink->interval_ns;
  nxa__otlp_queue_span(&sink->queue, span);
  schedule(sink);
}

/* With its end a trace is whole: who reads the file sees it at once. */
static void trace_ended(nxa__sink *base, nxa_trace *trace) {
  sink_file *sink = file_of(base);
  nxa__otlp_queue_trace(&sink->queue, trace);
  sink->due_ns = 0;
  schedule(sink);
}

/* ------------------------------------------------------------------------------------------------ closing */

static void flush(nxa__sink *base) {
  sink_file *sink = file_of(base);
  sink->due_ns = 0;
  schedule(sink);
}

static bool pending(const nxa__sink *base) {
  return !nxa__otlp_queue_is_empty(&((const sink_file *)base)->queue);
}

/* Writing waits for nobody, so there is time for it yet. */
static void write_all(nxa__sink *base) {
  sink_file *sink = file_of(base);
  while (pending(base))
    write_some(sink);
  schedule(sink);
}

/* ------------------------------------------------------------------------------------------------ life */

/* What an abandoned tracer holds is written, too. */
static void free_sink(nxa__sink *base) {
  sink_file *sink = file_of(base);
  if (sink->sink.tracer)
    write_all(base);
  nxa__timer_disarm(sink->engine, &sink->timer);
  nxa__otlp_queue_free(&sink->queue);
  nxa__log_file_free(&sink->log);
  nxa__engine_release(sink->engine);
  nxa__release(sink);
}

void nxa_file_options_init(nxa_file_options *options) {
  *options = (nxa_file_options){.max_bytes = (size_t)64 << 20, .max_files = 3, .content = true, .flush_interval = 1};
}

static nxa_kind check_options(const nxa_file_options *options, nxa_error *error) {
  if (!options->path || !*options->path)
    return nxa__error_set(error, NXA_INVALID, "path is required");
  if (options->max_bytes < 1)
    return nxa__error_set(error, NXA_INVALID, "max_bytes must be at least 1");
  if (options->max_files < 0 || options->max_files > 1000)
    return nxa__error_set(error, NXA_INVALID, "max_files must be from 0 to 1000");
  if (!(options->flush_interval >= 0 && options->flush_interval <= 86400))
    return nxa__error_set(error, NXA_INVALID, "flush_interval must be from 0 to 86400 seconds");
  return NXA_OK;
}

static const nxa__sink functions = {.trace_started = trace_started,
                                    .trace_ended = trace_ended,
                                    .span_ended = span_ended,
                                    .flush = flush,
                                    .closing = flush,
                                    .pending = pending,
                                    .give_up = write_all,
                                    .free = free_sink};

static sink_file *allocate_sink(nxa_engine *engine, const nxa_file_options *options) {
  sink_file *sink = nxa__allocate_zeroed(sizeof *sink);
  if (!sink)
    return NULL;
  sink->sink = functions;
  sink->engine = engine;
  sink->interval_ns = nxa__ns_of(options->flush_interval);
  sink->timer.fire = on_timer;
  sink->timer.data = sink;
  nxa__engine_retain(engine);
  return sink;
}

static bool fill_sink(sink_file *sink, const nxa_file_options *options) {
  return nxa__log_file_init(&sink->log, options->path, options->max_bytes, options->max_files) &&
         nxa__otlp_queue_init(&sink->queue, sink->engine, &sink->sink, &nxa__otlp_json, options->service_name,
                              options->resource_attributes, options->content);
}

nxa__sink *nxa__file_new(nxa_engine *engine, const void *given, nxa_error *error) {
  const nxa_file_options *options = given;
  if (check_options(options, error) != NXA_OK)
    return NULL;
  sink_file *sink = allocate_sink(engine, options);
  if (sink && fill_sink(sink, options))
    return &sink->sink;
  if (sink)
    free_sink(&sink->sink);
  nxa__error_memory(error);
  return NULL;
}

nxa_kind nxa_tracer_add_file(nxa_tracer *tracer, const nxa_file_options *options, nxa_error *error) {
  return nxa__tracer_make_sink(tracer, nxa__file_new, options, error);
}
