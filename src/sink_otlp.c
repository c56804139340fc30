#include "sink_otlp.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "call.h"
#include "clock.h"
#include "endpoint.h"
#include "engine.h"
#include "error.h"
#include "gzip.h"
#include "otlp_answer.h"
#include "otlp_queue.h"
#include "random.h"

#define MILLISECOND INT64_C(1000000)
#define PACKED_AT_ONCE ((size_t)64 << 10)
#define ANSWER_BYTES ((size_t)64 << 10)
#define FIRST_WAIT 1.0
#define LONGEST_WAIT 30.0
#define LONGEST_ASKED 60.0 /* seconds a server may tell us to wait */
#define GIVEN_UP_AFTER 300.0
#define CLOSING_FAILURES_MOST 2
#define CLOSING_STEP (5 * MILLISECOND)
#define CLOSING_PATIENCE (50 * MILLISECOND)
#define LABEL "otlp "

/* What becomes of the batch next. */
typedef enum state { GATHERING, WRITING, PACKING, READY, SENDING, SPLITTING } state;

typedef struct sink_otlp {
  nxa__sink sink; /* first */
  nxa_engine *engine;
  nxa_endpoint *endpoint;
  char *label; /* of its folder in the spool: "otlp <URL>", without a query */
  double timeout;
  int64_t interval_ns;
  nxa__otlp_queue queue;
  nxa__gzip *gzip; /* NULL: not wanted */
  nxa__buffer packed;
  size_t packed_from; /* of the batch, so far */
  nxa__timer timer;
  state state;
  int64_t gather_until_ns;
  bool flushing; /* what waits isn't gathered any longer */
  nxa_call *call;

  uint64_t batches_taken;
  unsigned failures;      /* one after another */
  bool tried;             /* this batch was sent before */
  bool unconfirmed;       /* its last answer was lost */
  int64_t first_tried_ns; /* this batch */
  int64_t held_until_ns;
  bool told;  /* of this outage */
  bool hangs; /* the last that was heard is a timeout */
  bool closing, sends_no_more, stopped;
  unsigned closing_failures;
  char cause[400]; /* of the last failure */
  nxa__event left; /* NXA_EVENT_SPOOLED */
} sink_otlp;

static sink_otlp *otlp_of(nxa__sink *sink) {
  return (sink_otlp *)sink;
}

static void schedule(sink_otlp *sink);

/* ------------------------------------------------------------------------------------------------ sending */

static const nxa__buffer *body_of(const sink_otlp *sink) {
  return sink->gzip ? &sink->packed : &sink->queue.body;
}

/* Where spans are sent, as it may be shown. */
static const char *url_of(const sink_otlp *sink) {
  return sink->label + strlen(LABEL);
}

static const char *path_of(const sink_otlp *sink) {
  return url_of(sink) + strlen(nxa_endpoint_base_url(sink->endpoint));
}

static void on_done(nxa_call *call, void *data);

static nxa_call *start_call(sink_otlp *sink, nxa_error *error) {
  static const char *const encoding[] = {"Content-Encoding: gzip"};
  nxa_request request;
  nxa_request_init(&request);
  request.endpoint = sink->endpoint;
  request.method = "POST";
  request.path = path_of(sink);
  request.headers = encoding;
  request.header_count = sink->gzip ? 1 : 0;
  request.content_type = sink->queue.format->content_type;
  request.body = body_of(sink)->data;
  request.body_length = body_of(sink)->length;
  request.timeout = request.deadline = sink->timeout;
  request.retries = 0;
  request.max_response = ANSWER_BYTES;
  return nxa__call_start(sink->engine, &request, on_done, sink, error);
}

static void count_request(sink_otlp *sink) {
  nxa_stats *stats = &sink->sink.tracer->stats;
  stats->requests++;
  stats->requests_repeated += sink->tried;
  stats->repeated_unconfirmed += sink->unconfirmed;
  sink->tried = true;
  sink->unconfirmed = false;
}

/* ------------------------------------------------------------------------------------------------ batches */

static void start_batch(sink_otlp *sink) {
  sink->state = WRITING;
  sink->tried = sink->unconfirmed = false;
  sink->first_tried_ns = nxa__monotonic_ns();
  nxa__buffer_clear(&sink->packed);
  sink->packed_from = 0;
}

static void end_batch(sink_otlp *sink) {
  sink->state = GATHERING;
  sink->gather_until_ns = nxa__monotonic_ns() + sink->interval_ns;
  sink->flushing = sink->flushing && sink->queue.waiting.first;
}

static void settle_batch(sink_otlp *sink, bool delivered, uint64_t rejected) {
  nxa__otlp_queue_settle(&sink->queue, delivered, rejected);
  end_batch(sink);
}

/* What there is to say of spans that this sink lets go of, of which so many were not in the spool. */
static const char *fate(sink_otlp *sink, size_t failed) {
  if (sink->queue.pages.spool)
    nxa__engine_queue_event(sink->engine, &sink->left);
  return failed > 0 ? "are lost" : "wait in the spool";
}

static const char *leave_batch(sink_otlp *sink) {
  const char *words = fate(sink, nxa__otlp_queue_leave(&sink->queue));
  end_batch(sink);
  return words;
}

/* It can't even be made; what is lost is counted, and the next one may be smaller. */
static void lose_batch(sink_otlp *sink, const char *reason) {
  nxa__engine_warn(sink->engine, "%s: spans for %s %s", reason, url_of(sink), leave_batch(sink));
}

static void write_some(sink_otlp *sink) {
  if (!nxa__otlp_queue_write(&sink->queue))
    return;
  if (sink->queue.body.state != NXA_OK || sink->queue.batch.spans == 0)
    lose_batch(sink, "out of memory");
  else
    sink->state = sink->gzip ? PACKING : READY;
}

static void pack_some(sink_otlp *sink) {
  const nxa__buffer *body = &sink->queue.body;
  size_t left = body->length - sink->packed_from, length = left < PACKED_AT_ONCE ? left : PACKED_AT_ONCE;
  nxa__gzip_put(sink->gzip, &sink->packed, body->data + sink->packed_from, length, length == left);
  sink->packed_from += length;
  if (sink->packed.state != NXA_OK)
    lose_batch(sink, "out of memory");
  else if (length == left)
    sink->state = READY;
}

/* ------------------------------------------------------------------------------------------------ failures */

static int64_t backoff(const sink_otlp *sink) {
  if (sink->closing)
    return sink->closing_failures * CLOSING_STEP;
  double seconds = FIRST_WAIT;
  for (unsigned i = 1; i < sink->failures && seconds < LONGEST_WAIT; i++)
    seconds *= 1.5;
  return nxa__ns_of((seconds < LONGEST_WAIT ? seconds : LONGEST_WAIT) * (0.5 + 0.5 * nxa__random_fraction()));
}

static int64_t wait_of(const sink_otlp *sink, double asked) {
  if (asked < 0)
    return backoff(sink);
  return nxa__ns_of(asked < LONGEST_ASKED ? asked : LONGEST_ASKED);
}

/* One connection that broke may just have been idle for too long; all else is told at once. */
static void tell(sink_otlp *sink, const nxa__otlp_answer *answer) {
  if (sink->closing || sink->told || (answer->lost && !answer->timeout && sink->failures < 2))
    return;
  sink->told = true;
  nxa__engine_warn(sink->engine, "%s; spans are sent when it is back%s", sink->cause,
                   sink->queue.pages.spool ? "" : ", or lost when the client closes before");
}

/* The next one waits for the same time to be over. */
static void give_up_batch(sink_otlp *sink) {
  nxa__engine_warn(sink->engine, "%s, for too long; spans %s", sink->cause, leave_batch(sink));
}

/* What it holds keeps others from recording: where there are other sinks, it gives way before all is used up. */
static bool is_in_the_way(const sink_otlp *sink) {
  const nxa_tracer *tracer = sink->sink.tracer;
  size_t held = sink->queue.waiting.count + sink->queue.taken.count;
  return sink->failures > 0 && tracer->sink_count > 1 && held >= tracer->options.max_spans / 2;
}

/* The oldest go first. */
static void give_way(sink_otlp *sink) {
  if (sink->state == READY)
    give_up_batch(sink);
  else if (sink->state == GATHERING)
    fate(sink, nxa__otlp_queue_skip(&sink->queue));
}

static void repeat_later(sink_otlp *sink, const nxa__otlp_answer *answer) {
  int64_t now = nxa__monotonic_ns();
  memcpy(sink->cause, answer->cause, sizeof sink->cause);
  sink->failures++;
  sink->closing_failures += sink->closing;
  sink->hangs = answer->timeout;
  sink->unconfirmed = answer->lost;
  int64_t wait = wait_of(sink, answer->wait);
  sink->held_until_ns = now + wait;
  sink->state = READY;
  if (!answer->lost)
    nxa__otlp_queue_mark(&sink->queue, false);
  if (sink->closing && (sink->hangs || wait > CLOSING_PATIENCE || sink->closing_failures > CLOSING_FAILURES_MOST))
    sink->sends_no_more = true;
  tell(sink, answer);
  if (now - sink->first_tried_ns > nxa__ns_of(GIVEN_UP_AFTER))
    give_up_batch(sink);
}

/* ------------------------------------------------------------------------------------------------ answers */

/* Somebody is there, whatever is said. */
static void note_answer(sink_otlp *sink) {
  sink->failures = sink->closing_failures = 0;
  sink->held_until_ns = 0;
  sink->hangs = false;
}

/* What was left in the spool may be taken now, too. */
static void on_taken(sink_otlp *sink, const nxa__otlp_answer *answer) {
  note_answer(sink);
  sink->told = false;
  sink->batches_taken++;
  if (sink->queue.pages.spool)
    nxa__engine_queue_event(sink->engine, &sink->left);
  if (answer->rejected > 0)
    nxa__engine_warn(sink->engine, "%s did not take all spans%s%s", url_of(sink), *answer->text ? ": " : "",
                     answer->text);
  settle_batch(sink, true, answer->rejected);
}

static void on_refused(sink_otlp *sink, const nxa__otlp_answer *answer) {
  note_answer(sink);
  nxa__engine_warn(sink->engine, "%s: its spans are lost", answer->cause);
  settle_batch(sink, false, 0);
}

/* Where what a receiver minds is set; "" where that is nowhere here. */
static const char *advice_on(int status) {
  if (status == 401 || status == 403)
    return "; check otlp.headers or OTEL_EXPORTER_OTLP_[TRACES_]HEADERS";
  bool is_elsewhere = (status >= 200 && status < 400) || status == 404 || status == 405;
  return is_elsewhere ? "; check otlp.endpoint or OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT" : "";
}

/* Another batch may be taken, or this one later, when somebody has seen to it: once is enough for all of them. */
static void on_unwanted(sink_otlp *sink, const nxa__otlp_answer *answer) {
  note_answer(sink);
  nxa__otlp_queue_mark(&sink->queue, false);
  nxa__engine_warn(sink->engine, "%s: its spans %s%s", answer->cause, leave_batch(sink), advice_on(answer->status));
}

/* Halves are sent one after the other, without gathering more in between. */
static void on_too_large(sink_otlp *sink, const nxa__otlp_answer *answer) {
  if (!nxa__otlp_queue_split(&sink->queue)) {
    on_refused(sink, answer);
    return;
  }
  note_answer(sink);
  sink->flushing = true;
  sink->state = SPLITTING;
}

static void stop(sink_otlp *sink) {
  sink->stopped = true;
  nxa__otlp_queue_give_up(&sink->queue);
  sink->state = GATHERING;
}

static void on_done(nxa_call *call, void *data) {
  sink_otlp *sink = data;
  nxa__otlp_answer answer;
  nxa__otlp_read(&answer, call, sink->endpoint, url_of(sink));
  nxa_call_free(call);
  sink->call = NULL;
  if (answer.verdict == NXA__OTLP_TAKEN)
    on_taken(sink, &answer);
  else if (answer.verdict == NXA__OTLP_LATER)
    repeat_later(sink, &answer);
  else if (answer.verdict == NXA__OTLP_REFUSED)
    on_refused(sink, &answer);
  else if (answer.verdict == NXA__OTLP_UNWANTED)
    on_unwanted(sink, &answer);
  else if (answer.verdict == NXA__OTLP_TOO_LARGE)
    on_too_large(sink, &answer);
  else
    stop(sink);
  schedule(sink);
}

static void send_batch(sink_otlp *sink) {
  nxa_error error;
  sink->call = start_call(sink, &error);
  if (!sink->call) {
    lose_batch(sink, error.message);
    return;
  }
  count_request(sink);
  nxa__otlp_queue_mark(&sink->queue, true);
  sink->state = SENDING;
}

/* ------------------------------------------------------------------------------------------------ moving on */

static bool wants_batch(const sink_otlp *sink) {
  return sink->closing || sink->flushing || sink->queue.waiting.count >= NXA__OTLP_BATCH_SPANS;
}

static int64_t later(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static int64_t next_due(const sink_otlp *sink) {
  if (sink->stopped || sink->sends_no_more)
    return NXA__NEVER;
  switch (sink->state) {
  case GATHERING:
    if (!sink->queue.waiting.first)
      return NXA__NEVER;
    return later(wants_batch(sink) ? 0 : sink->gather_until_ns, sink->held_until_ns);
  case READY:
    return sink->held_until_ns;
  case SENDING:
    return NXA__NEVER;
  default:
    return 0;
  }
}

/* Due at once is due now: the engine keeps its timers in order. */
static void schedule(sink_otlp *sink) {
  nxa__timer_want(sink->engine, &sink->timer, next_due(sink));
}

static void move_on(sink_otlp *sink) {
  switch (sink->state) {
  case GATHERING:
    start_batch(sink);
    write_some(sink); /* now: before the next piece of work what waits may give way */
    break;
  case WRITING:
    write_some(sink);
    break;
  case PACKING:
    pack_some(sink);
    break;
  case READY:
    send_batch(sink);
    break;
  case SPLITTING:
    if (nxa__otlp_queue_split_some(&sink->queue))
      end_batch(sink);
    break;
  default:
    break;
  }
}

static void on_timer(nxa__timer *timer) {
  sink_otlp *sink = timer->data;
  if (next_due(sink) <= nxa__monotonic_ns())
    move_on(sink);
  schedule(sink);
}

/* ------------------------------------------------------------------------------------------------ recording */

static void trace_started(nxa__sink *base, nxa_trace *trace) {
  if (otlp_of(base)->stopped)
    nxa__trace_settled(base, trace, false);
  else
    nxa__otlp_queue_start(&otlp_of(base)->queue, trace);
}

/* What ends first begins the time that a batch is gathered for. */
static void begin_gathering(sink_otlp *sink) {
  if (sink->state == GATHERING && !sink->queue.waiting.first)
    sink->gather_until_ns = nxa__monotonic_ns() + sink->interval_ns;
}

static void span_ended(nxa__sink *base, nxa_span *span) {
  sink_otlp *sink = otlp_of(base);
  begin_gathering(sink);
  nxa__otlp_queue_span(&sink->queue, span);
  if (is_in_the_way(sink))
    give_way(sink);
  schedule(sink);
}

static void trace_ended(nxa__sink *base, nxa_trace *trace) {
  sink_otlp *sink = otlp_of(base);
  begin_gathering(sink);
  nxa__otlp_queue_trace(&sink->queue, trace);
  schedule(sink);
}

/* ------------------------------------------------------------------------------------------------ closing */

static void flush(nxa__sink *base) {
  sink_otlp *sink = otlp_of(base);
  sink->flushing = !nxa__otlp_queue_is_empty(&sink->queue);
  schedule(sink);
}

/* What hangs already isn't waited for, and what waits for its time is tried at once. */
static void closing(nxa__sink *base) {
  sink_otlp *sink = otlp_of(base);
  sink->closing = true;
  sink->sends_no_more = sink->hangs;
  sink->held_until_ns = 0;
  schedule(sink);
}

static bool pending(const nxa__sink *base) {
  const sink_otlp *sink = (const sink_otlp *)base;
  if (sink->stopped || sink->sends_no_more)
    return false;
  return !nxa__otlp_queue_is_empty(&sink->queue);
}

/* Who was told of the outage was told what it means for what is left, unless that is lost in spite of the spool. */
static void say_what_is_left(sink_otlp *sink, size_t left, size_t failed, bool was_asked) {
  bool spools = sink->queue.pages.spool;
  size_t told = failed > 0 ? failed : left;
  const char *cause = *sink->cause && (sink->failures || sink->sends_no_more) ? sink->cause
                      : was_asked ? "it did not answer before the time to close was over"
                                  : "the time to close was over";
  const char *where = failed == 0 ? ", but kept in the spool for the next client or nexus-assistants flush"
                      : spools    ? ", nor kept in the spool"
                                  : "";
  if (left == 0 || (sink->told && !(spools && failed > 0)))
    return;
  nxa__engine_warn(sink->engine, "not delivered to %s%s: %zu span%s; %s", url_of(sink), where, told,
                   told == 1 ? "" : "s", cause);
}

static void give_up(nxa__sink *base) {
  sink_otlp *sink = otlp_of(base);
  bool was_asked = sink->call;
  nxa_call_free(sink->call);
  sink->call = NULL;
  size_t left = sink->queue.taken.count + sink->queue.waiting.count;
  size_t failed = nxa__otlp_queue_give_up(&sink->queue);
  say_what_is_left(sink, left, failed, was_asked);
  if (failed < left)
    fate(sink, failed);
  sink->stopped = true;
  sink->state = GATHERING;
  schedule(sink);
}

/* What waits behind the batch goes first; that itself where it isn't under way. */
static bool relieve(nxa__sink *base) {
  sink_otlp *sink = otlp_of(base);
  bool left = nxa__otlp_queue_relieve(&sink->queue);
  if (!left && sink->state == READY && nxa__otlp_queue_keep(&sink->queue)) {
    leave_batch(sink);
    left = true;
  }
  if (left)
    fate(sink, 0);
  schedule(sink);
  return left;
}

/* ------------------------------------------------------------------------------------------------ life */

static void free_sink(nxa__sink *base) {
  sink_otlp *sink = otlp_of(base);
  nxa_call_free(sink->call);
  nxa__timer_disarm(sink->engine, &sink->timer);
  nxa__event_remove(&sink->left);
  nxa__otlp_queue_free(&sink->queue);
  nxa__buffer_free(&sink->packed);
  nxa__gzip_free(sink->gzip);
  nxa__release(sink->label);
  nxa__endpoint_release(sink->endpoint);
  nxa__engine_release(sink->engine);
  nxa__release(sink);
}

void nxa_otlp_options_init(nxa_otlp_options *options) {
  *options = (nxa_otlp_options){.path = "/v1/traces",
                                .timeout = 10,
                                .flush_interval = 5,
                                .spool_files = 10000,
                                .spool_bytes = (size_t)256 << 20,
                                .spool_age = 7 * 86400};
}

static nxa_kind check_options(const nxa_otlp_options *options, nxa_error *error) {
  if (!options->endpoint)
    return nxa__error_set(error, NXA_INVALID, "endpoint is required");
  if (!options->path || options->path[0] != '/')
    return nxa__error_set(error, NXA_INVALID, "path must begin with '/'");
  if (!(options->timeout > 0 && options->timeout <= 86400))
    return nxa__error_set(error, NXA_INVALID, "timeout must be above 0 and at most 86400 seconds");
  if (!(options->flush_interval >= 0 && options->flush_interval <= 86400))
    return nxa__error_set(error, NXA_INVALID, "flush_interval must be from 0 to 86400 seconds");
  if (options->gzip && !nxa__gzip_available())
    return nxa__error_set(error, NXA_INVALID, "gzip: this was built without zlib");
  if (options->spool && !*options->spool)
    return nxa__error_set(error, NXA_INVALID, "spool must not be empty");
  if (options->spool && !(options->spool_age > 0))
    return nxa__error_set(error, NXA_INVALID, "spool_age must be above 0");
  return NXA_OK;
}

static const nxa__sink functions = {.trace_started = trace_started,
                                    .trace_ended = trace_ended,
                                    .span_ended = span_ended,
                                    .flush = flush,
                                    .closing = closing,
                                    .pending = pending,
                                    .give_up = give_up,
                                    .relieve = relieve,
                                    .free = free_sink};

static sink_otlp *allocate_sink(nxa_engine *engine, const nxa_otlp_options *options) {
  sink_otlp *sink = nxa__allocate_zeroed(sizeof *sink);
  if (!sink)
    return NULL;
  sink->sink = functions;
  sink->engine = engine;
  sink->endpoint = nxa__endpoint_retain(options->endpoint);
  sink->timeout = options->timeout;
  sink->interval_ns = nxa__ns_of(options->flush_interval);
  sink->timer.fire = on_timer;
  sink->timer.data = sink;
  nxa__buffer_init(&sink->packed, SIZE_MAX);
  nxa__event_init(&sink->left, NXA_EVENT_SPOOLED, NULL);
  nxa__engine_retain(engine);
  return sink;
}

static char *new_label(const nxa_otlp_options *options) {
  const char *url = nxa_endpoint_base_url(options->endpoint);
  size_t size = strlen(LABEL) + strlen(url) + strlen(options->path) + 1;
  char *label = nxa__allocate(size);
  if (label)
    snprintf(label, size, LABEL "%s%s", url, options->path);
  return label;
}

static bool make_spool(sink_otlp *sink, const nxa_otlp_options *options) {
  nxa__spool_limits limits = {options->spool_files, options->spool_bytes, options->spool_age};
  nxa__spool_form form = {sink->label, "otlp", false};
  nxa__spool *spool = nxa__spool_new(sink->engine, options->spool, &form, &limits);
  return spool && nxa__otlp_queue_spool(&sink->queue, spool, url_of(sink));
}

static bool fill_sink(sink_otlp *sink, const nxa_otlp_options *options) {
  sink->label = new_label(options);
  sink->gzip = options->gzip ? nxa__gzip_new() : NULL;
  return sink->label && (sink->gzip || !options->gzip) &&
         nxa__otlp_queue_init(&sink->queue, sink->engine, &sink->sink,
                              options->json ? &nxa__otlp_json : &nxa__otlp_protobuf, options->service_name,
                              options->resource_attributes, options->content) &&
         (!options->spool || make_spool(sink, options));
}

nxa__sink *nxa__otlp_new(nxa_engine *engine, const void *given, nxa_error *error) {
  const nxa_otlp_options *options = given;
  if (check_options(options, error) != NXA_OK)
    return NULL;
  sink_otlp *sink = allocate_sink(engine, options);
  if (sink && fill_sink(sink, options))
    return &sink->sink;
  if (sink)
    free_sink(&sink->sink);
  nxa__error_memory(error);
  return NULL;
}

static sink_otlp *otlp_in(const nxa_tracer *tracer) {
  for (unsigned i = 0; i < tracer->sink_count; i++)
    if (tracer->sinks[i]->free == free_sink)
      return otlp_of(tracer->sinks[i]);
  return NULL;
}

nxa__spool *nxa__otlp_spool(const nxa_tracer *tracer) {
  const sink_otlp *sink = otlp_in(tracer);
  return sink ? sink->queue.pages.spool : NULL;
}

bool nxa__otlp_is_reachable(const nxa_tracer *tracer) {
  const sink_otlp *sink = otlp_in(tracer);
  return sink && !sink->hangs && !sink->sends_no_more && sink->failures == 0;
}

uint64_t nxa__otlp_taken(const nxa_tracer *tracer) {
  const sink_otlp *sink = otlp_in(tracer);
  return sink ? sink->batches_taken : 0;
}

void nxa__otlp_release_spool(const nxa_tracer *tracer) {
  sink_otlp *sink = otlp_in(tracer);
  if (!sink || !tracer->closed)
    return;
  nxa__spool_free(sink->queue.pages.spool);
  sink->queue.pages.spool = NULL;
}

nxa_kind nxa_tracer_add_otlp(nxa_tracer *tracer, const nxa_otlp_options *options, nxa_error *error) {
  return nxa__tracer_make_sink(tracer, nxa__otlp_new, options, error);
}
