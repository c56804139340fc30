/*
 * nexus-assistants: traced calls to OpenAI-style APIs, delivered to Nexus.
 *
 * The only public header of the C core. The core knows no Lua, has no threads, no globals but the allocator,
 * and never calls back into the host: the host steps the engine and pulls events.
 *
 * Conventions
 *   - Times are seconds in `double` unless a name says otherwise.
 *   - Strings are UTF-8 and zero-terminated unless a length goes with them.
 *   - Options structs are filled with defaults by their `_init` function first, then changed.
 *   - Functions that can fail return NULL or a kind other than NXA_OK and fill `error` (which may be NULL).
 *   - "Owned by the caller" means the caller must pass it to the matching `_free` once. Handles may be freed in any
 *     order: what still refers to a freed engine or tracer becomes inert (calls are done with NXA_CLOSED, recording
 *     does nothing). Every `_free` takes NULL.
 *   - One engine and everything made from it belong to one thread at a time.
 */
#ifndef NEXUS_ASSISTANTS_H
#define NEXUS_ASSISTANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && !defined(_WIN32)
#define NXA_API __attribute__((visibility("default")))
#else
#define NXA_API
#endif

#define NXA_VERSION "0.1.0"

/* ------------------------------------------------------------------------------------------------ errors */

/* What went wrong, by who can do something about it. Names (nxa_kind_name) are what Lua's `err.kind` holds. */
typedef enum nxa_kind {
  NXA_OK = 0,
  NXA_INVALID,        /* "invalid": refused here, nothing was sent */
  NXA_MEMORY,         /* "memory": an allocation failed */
  NXA_CONNECTION,     /* "connection": resolving, connecting, TLS, or the connection broke */
  NXA_TIMEOUT,        /* "timeout": an attempt's timeout or the call's deadline passed */
  NXA_CANCELLED,      /* "cancelled": by nxa_call_cancel */
  NXA_CLOSED,         /* "closed": the engine was freed under the call */
  NXA_TOO_LARGE,      /* "too_large": the answer is above the cap */
  NXA_PROTOCOL,       /* "protocol": an answer that breaks HTTP, or isn't what the API promises */
  NXA_BAD_REQUEST,    /* "bad_request": 400 */
  NXA_AUTHENTICATION, /* "authentication": 401 */
  NXA_PERMISSION,     /* "permission": 403 */
  NXA_NOT_FOUND,      /* "not_found": 404 */
  NXA_CONFLICT,       /* "conflict": 409 */
  NXA_UNPROCESSABLE,  /* "unprocessable": 422 */
  NXA_RATE_LIMIT,     /* "rate_limit": 429 */
  NXA_SERVER,         /* "server": 5xx */
  NXA_STATUS          /* "status": any other status that isn't 2xx */
} nxa_kind;

typedef struct nxa_error {
  nxa_kind kind;
  int status;           /* HTTP status, 0 where no answer came */
  int attempts;         /* attempts made, 0 where none was */
  double retry_after;   /* seconds the server asked to wait, negative where it did not */
  char request_id[128]; /* x-request-id, "" where there was none */
  char message[512];    /* one line; never holds a key; the server's own text shortened, see nxa_response for all */
} nxa_error;

/* The stable name of a kind, e.g. "rate_limit"; a static string. */
NXA_API const char *nxa_kind_name(nxa_kind kind);

/* The version of the library, e.g. "0.1.0"; a static string. */
NXA_API const char *nxa_version(void);

/* ------------------------------------------------------------------------------------------------ memory */

/*
 * Replaces malloc, realloc and free for all of this library's own memory (libcurl keeps its own).
 * Call before anything else is created. NULL for all three restores the C library's.
 */
NXA_API void nxa_set_allocator(void *(*allocate)(size_t), void *(*reallocate)(void *, size_t), void (*release)(void *));

/* ------------------------------------------------------------------------------------------------ endpoint */

/* Where calls go and with which credentials. Immutable, shared by calls, counted: freeing it while calls use it is
 * fine. */
typedef struct nxa_endpoint nxa_endpoint;

typedef struct nxa_endpoint_options {
  const char
      *base_url;   /* required: http:// or https://, host, optional port and path prefix; no user, query or fragment */
  const char *key; /* secret; NULL sends no credentials. Copied into memory that is wiped when freed */
  const char *key_environment; /* where `key` is NULL: the environment variable to read it from */
  const char *key_header;      /* default "Authorization" */
  const char *key_prefix;      /* default "Bearer "; "" for headers that hold the bare key */
  const char *query; /* added to every request, encoded already, e.g. "api-version=2024-05-01-preview"; or NULL */
  const char *const *headers; /* "Name: value", sent with every request */
  size_t header_count;
  const char *headers_environment; /* variables with more of them as "name=value,…", percent-encoded, their names
                                      parted by blanks: the first that is set is read. Secret, as the key; or NULL */
  const char *ca_file;             /* certificates to trust in place of the system's, PEM; or NULL */
  const char *client_certificate;  /* who this client is to a server that asks, a file in PEM, with its */
  const char *client_key;          /* key, likewise, which isn't behind a pass phrase; or NULL, both */
} nxa_endpoint_options;

NXA_API void nxa_endpoint_options_init(nxa_endpoint_options *options);
/* Returns an endpoint owned by the caller. NXA_INVALID names the option that was refused (a line break in a header, a
 * bad URL …). */
NXA_API nxa_endpoint *nxa_endpoint_new(const nxa_endpoint_options *options, nxa_error *error);
NXA_API void nxa_endpoint_free(nxa_endpoint *endpoint);
/* The base URL without a trailing slash; borrowed. */
NXA_API const char *nxa_endpoint_base_url(const nxa_endpoint *endpoint);
/* True where a key was given or found. The key itself cannot be read. */
NXA_API bool nxa_endpoint_has_key(const nxa_endpoint *endpoint);
/*
 * Overwrites the key, and the last word of each header from the environment, with "*" wherever it occurs, also with the
 * escapes JSON may put before its characters; one of less than four bytes is let be. The text keeps its length. The
 * core has done so with the answers of calls that failed; a host does it again with what it decoded, since "\u0061" is
 * an "a" only then.
 */
NXA_API void nxa_endpoint_redact(const nxa_endpoint *endpoint, char *text, size_t length);

/* ------------------------------------------------------------------------------------------------ engine */

typedef struct nxa_engine nxa_engine;
typedef struct nxa_call nxa_call;

typedef struct nxa_engine_options {
  int max_transfers; /* attempts on the wire at once, further calls wait their turn; default 100 */
} nxa_engine_options;

NXA_API void nxa_engine_options_init(nxa_engine_options *options);
/* Returns an engine owned by the caller. */
NXA_API nxa_engine *nxa_engine_new(const nxa_engine_options *options, nxa_error *error);
/* Ends everything under way at once, without waiting for the network or a resolver. */
NXA_API void nxa_engine_free(nxa_engine *engine);

/*
 * Moves transfers, retries and delivery on. Waits up to `timeout` seconds (0: not at all) for something to do, returns
 * as soon as an event can be pulled, after `timeout`, or on a signal. Once work has begun it stops between two pieces
 * of work when `budget` seconds are used up (0: no budget); the rest is done at the next step.
 */
NXA_API void nxa_engine_step(nxa_engine *engine, double timeout, double budget);

typedef enum nxa_event_type {
  NXA_EVENT_NONE = 0,
  NXA_EVENT_DONE,    /* call: it has ended, nxa_call_error/nxa_call_response tell how. Once a call, unless it was freed
                        before */
  NXA_EVENT_DATA,    /* call: a stream has something to read, with nxa_call_next_event or nxa_call_next_piece. Not again
                        before all of it was read */
  NXA_EVENT_WARNING, /* text: something the user should know, one line; borrowed until the next nxa_engine_next_event */
  NXA_EVENT_SEND,    /* call: a part of its body is to come from the host, who is waited for: nxa_call_send */
  NXA_EVENT_PROGRESS, /* call: bytes moved since the last one was pulled, see nxa_call_progress; at most 20 a second */
  NXA_EVENT_SPOOLED   /* a trace was left in the spool, to be delivered from there, or what was may be taken now */
} nxa_event_type;

typedef struct nxa_event {
  nxa_event_type type;
  nxa_call *call;
  const char *text;
} nxa_event;

/* Pulls the oldest event; false (and NXA_EVENT_NONE) where there is none. */
NXA_API bool nxa_engine_next_event(nxa_engine *engine, nxa_event *event);

/* For hosts with a loop of their own: what to watch, until when, and what was seen. */
#define NXA_READABLE 1
#define NXA_WRITABLE 2
typedef struct nxa_fd {
  int fd;
  int events; /* NXA_READABLE | NXA_WRITABLE */
} nxa_fd;
/* Fills up to `capacity` entries and returns how many there are in all. They change with every step, feed or new call.
 */
NXA_API size_t nxa_engine_fds(const nxa_engine *engine, nxa_fd *fds, size_t capacity);
/* Seconds until the engine wants a step even if no descriptor moves; 0: at once; negative: not before something is
 * started. */
NXA_API double nxa_engine_timeout(const nxa_engine *engine);
/* Handles what was seen on one descriptor; follow it by nxa_engine_step(engine, 0, budget) once a round. */
NXA_API void nxa_engine_feed(nxa_engine *engine, int fd, int events);
/* The engine's monotonic clock, seconds. */
NXA_API double nxa_engine_now(const nxa_engine *engine);
/* False where libcurl resolves names synchronously: a look-up then blocks the host. */
NXA_API bool nxa_asynchronous_dns(void);

/* ------------------------------------------------------------------------------------------------ call */

/* How a 2xx answer is handed out: whole, or as it comes. A failed status keeps its body in either case. */
typedef enum nxa_stream_mode {
  NXA_STREAM_NONE = 0,
  NXA_STREAM_EVENTS, /* one of the type text/event-stream: event by event, nxa_call_next_event */
  NXA_STREAM_BYTES   /* one of any type: piece by piece, nxa_call_next_piece */
} nxa_stream_mode;

/* A part of a multipart/form-data body. Exactly one of `data`, `path` and `from_host` says where its bytes are. */
typedef struct nxa_part {
  const char *name; /* required, not empty. libcurl escapes what would break its header */
  const char *data; /* copied */
  size_t data_length;
  const char *path; /* a regular file, read as it is sent; its size is that at nxa_call_start */
  bool from_host;   /* asked for by NXA_EVENT_SEND, sent by nxa_call_send */
  int64_t size; /* bytes the host will send; negative (the default): not known, HTTP/1.1 sends in chunks then. At most
                   2^53 */
  const char *file_name;    /* NULL: of a path its last segment, else none */
  const char *content_type; /* NULL: "application/octet-stream" where there is a file name, else none */
} nxa_part;

NXA_API void nxa_part_init(nxa_part *part);

typedef struct nxa_request {
  nxa_endpoint *endpoint;     /* required; borrowed for the call of nxa_call_start, kept by count afterwards */
  const char *method;         /* required: GET POST PUT PATCH DELETE */
  const char *path;           /* required: begins with '/', escaped already; appended to the base URL */
  const char *query;          /* encoded already, without '?'; or NULL */
  const char *const *headers; /* "Name: value"; they win over the endpoint's */
  size_t header_count;
  const char *body; /* copied; NULL for none */
  size_t body_length;
  const char *content_type; /* default "application/json" where there is a body */
  const nxa_part *parts;    /* in place of a body, for POST, PUT and PATCH; copied. NULL for none */
  size_t part_count;        /* at most 1000 */
  double timeout;           /* seconds for one attempt; default 600. See below for streams and parts */
  double deadline;          /* seconds for the whole call, all attempts and waits; default 1800; always > 0 */
  int retries;              /* attempts after the first; default 2 */
  size_t max_response;      /* bytes of decoded body; default 64 MiB. For a stream of events: of one event. An answer of
                               64 KiB or less is asked for without compression */
  nxa_stream_mode stream;   /* default NXA_STREAM_NONE */
  bool progress;            /* tell how far it is, by NXA_EVENT_PROGRESS and nxa_call_progress; default false */
} nxa_request;

/*
 * Streams. What the host hasn't read is held up to 1 MiB (max_response where that is less) and a piece of libcurl's;
 * then the transfer is paused, and goes on once half of it was read. HTTP/2 lets the server send a window more, which
 * libcurl holds. A call isn't retried once something of its stream was held.
 *
 * `timeout` ends an attempt that doesn't bring its answer in time. Once a stream has begun it counts from the last byte
 * that came instead, so that a long one lives as long as it flows; and it doesn't count while the transfer is paused,
 * since then the host is who is waited for. `deadline` holds all the time.
 *
 * Parts. `timeout` counts from the last byte of a part that went out, and not at all while bytes of the host's are
 * waited for. A call whose parts come from memory and files is retried like any other; once bytes of the host's were
 * taken a call isn't retried. A file that can't be read, or has become shorter, ends the call with NXA_INVALID.
 * While bytes of the host's are waited for libcurl doesn't notice that the server closes the connection, and an
 * answer ends the call only where it refuses the request.
 */

typedef struct nxa_response {
  int status;       /* of the last attempt; 0 where no answer came */
  const char *body; /* zero-terminated for convenience; "" where none, and where the answer was a stream */
  size_t body_length;
  const char *content_type; /* "" where none */
  const char *request_id;   /* "" where none */
  double retry_after;       /* seconds, negative where absent */
  double poll_after;        /* seconds, from openai-poll-after-ms; negative where absent */
  int attempts;
  const char *date; /* the server's clock, as its header Date has it (curl_getdate reads that); "" where none */
} nxa_response;

/* Bytes of the bodies on the wire, in the attempt under way or the last one: before an answer is decoded, and with what
 * stands between parts. Totals are negative where they aren't known. */
typedef struct nxa_progress {
  int64_t sent, send_total;
  int64_t received, receive_total;
} nxa_progress;

typedef struct nxa_stream_event {
  const char *event; /* "message" where the stream named none */
  const char *data;
  size_t data_length;
  const char *id; /* "" where none */
} nxa_stream_event;

NXA_API void nxa_request_init(nxa_request *request);
/* Checks the request and starts it; nothing is sent before the next step. Returns a call owned by the caller. */
NXA_API nxa_call *nxa_call_start(nxa_engine *engine, const nxa_request *request, nxa_error *error);
/* Ends the call at once (it is done with NXA_CANCELLED); does nothing to one that is done. Never waits. */
NXA_API void nxa_call_cancel(nxa_call *call);
/* Cancels where needed, and frees. No event for it comes afterwards. */
NXA_API void nxa_call_free(nxa_call *call);
NXA_API bool nxa_call_done(const nxa_call *call);
/* NULL until done; then the answer of the last attempt, also of a failed one (status 0 where none came). Borrowed until
 * nxa_call_free. */
NXA_API const nxa_response *nxa_call_response(const nxa_call *call);
/* NULL until done, and where the call succeeded (2xx, all of the body that HTTP announced; libcurl does not notice that
 * a gzip text inside it ends too soon). Borrowed until nxa_call_free. */
NXA_API const nxa_error *nxa_call_error(const nxa_call *call);
/*
 * Gives bytes for the part that is to come from the host next; copied, and at most 1 MiB is held. NXA_INVALID: no part
 * wants them, or they are more than its size. NXA_TOO_LARGE: wait for the next NXA_EVENT_SEND. NXA_CLOSED: the call is
 * done. NXA_MEMORY. Nothing was taken then.
 */
NXA_API nxa_kind nxa_call_send(nxa_call *call, const char *bytes, size_t length);
/* That part is whole. A part of a known size ends by itself. NXA_INVALID: no part of unknown size is to be ended.
 * NXA_CLOSED: the call is done. */
NXA_API nxa_kind nxa_call_send_end(nxa_call *call);
/* How far a call is that was started with `progress`; of another nothing is known. */
NXA_API void nxa_call_progress(const nxa_call *call, nxa_progress *progress);
/* Takes the next event of a stream of events; false where none is there now. Borrowed until the next call of it. What
 * is held can still be read when the call is done, whatever its end. */
NXA_API bool nxa_call_next_event(nxa_call *call, nxa_stream_event *event);
/* Takes all bytes of a stream of bytes that are there now; false where there are none. Borrowed until the next call of
 * it. As for events they can be read after the end. */
NXA_API bool nxa_call_next_piece(nxa_call *call, const char **data, size_t *length);

/* ------------------------------------------------------------------------------------------------ traces */

/*
 * Recording never fails visibly: where memory or a cap runs out, what is lost is counted (nxa_stats) and functions go
 * on with NULL handles, which they all take. JSON arguments are complete, valid JSON texts (`json`, `length`); they are
 * copied, and cut where they are above the cap, in a way that stays valid JSON and says so. All other text may hold
 * anything: invalid UTF-8 becomes U+FFFD.
 */
typedef struct nxa_tracer nxa_tracer;
typedef struct nxa_trace nxa_trace;
typedef struct nxa_span nxa_span;

typedef struct nxa_tracer_options {
  size_t max_traces;      /* held at once, open or undelivered; default 1024 */
  size_t max_spans;       /* the same for spans; default 8192 */
  size_t max_bytes;       /* of all their texts together; default 32 MiB */
  size_t max_field_bytes; /* of one input, output, error or metadata value; default 256 KiB */
  /*
   * The share of traces that are exported, 0 to 1; default 1. Others are held until they end, and exported all the same
   * where they or a span of them fail, or where they have more than 1,000 spans.
   */
  double sample;
} nxa_tracer_options;

NXA_API void nxa_tracer_options_init(nxa_tracer_options *options);
/* Returns a tracer owned by the caller. It records from now on, and delivers once a sink is added. */
NXA_API nxa_tracer *nxa_tracer_new(nxa_engine *engine, const nxa_tracer_options *options, nxa_error *error);
/* Frees at once; what is undelivered and in no spool is lost: nxa_tracer_close comes first. */
NXA_API void nxa_tracer_free(nxa_tracer *tracer);

typedef struct nxa_nexus_options {
  nxa_endpoint *endpoint; /* required, kept by count */
  double timeout;         /* seconds for one request; unanswered for longer, Nexus counts as hanging; default 5 */
  double flush_interval;  /* seconds after its start that a running trace is created at Nexus; default 1 */
  int max_in_flight;      /* requests at once; default 6 */
  const char *spool;      /* a folder: what isn't delivered is kept there on the disk; NULL (the default): nowhere */
  size_t spool_files;     /* traces this tracer keeps there at most; the oldest go, failed ones last; default 10000 */
  size_t spool_bytes;     /* the same in bytes; default 256 MiB */
  double spool_age;       /* and in seconds since their start; default 7 days */
} nxa_nexus_options;

NXA_API void nxa_nexus_options_init(nxa_nexus_options *options);
/*
 * Delivers to Nexus's REST API in the background of nxa_engine_step. At most one Nexus sink a tracer.
 *
 * With a spool, a span that has ended is in a file there when nxa_span_end returns, and its trace's file goes when
 * Nexus has all of it. What the sink can't deliver it leaves there (NXA_EVENT_SPOOLED), and so does whatever ends the
 * process. Whoever delivers from there asks Nexus first what of it has arrived: the Lua module does.
 */
NXA_API nxa_kind nxa_tracer_add_nexus(nxa_tracer *tracer, const nxa_nexus_options *options, nxa_error *error);

typedef struct nxa_otlp_options {
  nxa_endpoint *endpoint;          /* required, kept by count */
  const char *path;                /* behind the endpoint's base URL; default "/v1/traces" */
  bool json;                       /* the JSON encoding; default false: protobuf */
  bool gzip;                       /* compress; NXA_INVALID where this was built without zlib */
  bool content;                    /* with what models, tools and people said: inputs and outputs; default false */
  const char *service_name;        /* NULL: what the attributes say, else "unknown_service" */
  const char *resource_attributes; /* "name=value,…", percent-encoded, as OTEL_RESOURCE_ATTRIBUTES; or NULL */
  double timeout;                  /* seconds for one request; default 10 */
  double flush_interval;           /* seconds that spans are gathered for, unless there are 512 before; default 5 */
  const char *spool;               /* as of nxa_nexus_options; a file there is a batch */
  size_t spool_files;
  size_t spool_bytes;
  double spool_age;
} nxa_otlp_options;

NXA_API void nxa_otlp_options_init(nxa_otlp_options *options);
/*
 * Delivers to an OpenTelemetry receiver by OTLP/HTTP, in the background of nxa_engine_step; names and attributes follow
 * the conventions for generative AI. Answers 429, 502, 503 and 504, and failures without an answer, are repeated for
 * five minutes; a batch that is answered by 413 is halved; any other status than 2xx gives a batch up. What a receiver
 * says it rejected counts as spans_failed.
 *
 * With a spool, a span that has ended is in a file there when nxa_span_end returns, and the file goes when its batch
 * was taken or refused for what is in it. What else the sink can't deliver it leaves there (NXA_EVENT_SPOOLED), and so
 * does whatever ends the process: the Lua module delivers from there.
 */
NXA_API nxa_kind nxa_tracer_add_otlp(nxa_tracer *tracer, const nxa_otlp_options *options, nxa_error *error);

typedef struct nxa_file_options {
  const char *path;                /* required */
  size_t max_bytes;                /* of one file; default 64 MiB. A line that is larger has a file of its own */
  int max_files;                   /* older ones that are kept, as "<path>.1" (the latest), "<path>.2" …; default 3 */
  bool content;                    /* with what models, tools and people said: inputs and outputs; default true */
  const char *service_name;        /* as of nxa_otlp_options */
  const char *resource_attributes; /* likewise */
  double flush_interval;           /* seconds that spans wait at most before they are written; default 1 */
} nxa_file_options;

NXA_API void nxa_file_options_init(nxa_file_options *options);
/*
 * Writes to a file that is the user's alone, in OTLP's JSON encoding, one export request a line: when a trace ends, and
 * at least every flush_interval. Several processes may write to one file. What can't be written is counted as failed
 * and warned of once.
 */
NXA_API nxa_kind nxa_tracer_add_file(nxa_tracer *tracer, const nxa_file_options *options, nxa_error *error);

typedef struct nxa_stats {
  uint64_t traces_started;
  uint64_t traces_dropped;   /* refused at start: a cap, memory, or all is closed */
  uint64_t traces_delivered; /* created at the sink and, where ended, ended there */
  uint64_t traces_failed;    /* given up by the sink: refused, or the tracer was closed */
  uint64_t spans_started;
  uint64_t spans_dropped; /* refused at start: a cap or memory */
  uint64_t spans_delivered;
  uint64_t spans_failed;         /* given up by the sink */
  uint64_t fields_cut;           /* texts above max_field_bytes, or left out for want of memory */
  uint64_t requests;             /* sent by the sinks, repetitions included */
  uint64_t requests_repeated;    /* of them, those sent again after a failure */
  uint64_t repeated_unconfirmed; /* of these, those whose first answer was lost: it may be there twice */
  uint64_t traces_spooled;       /* left in the spool by the sink: for whoever delivers from there later */
  uint64_t spans_spooled;        /* the same for spans */
  uint64_t spool_dropped;   /* files (of Nexus's traces, of batches) taken off the disk undelivered, for its caps */
  size_t spool_left;        /* files on the disk now that the sinks have left there */
  size_t spool_files;       /* files on the disk now, with those the sinks work on */
  size_t spool_bytes;       /* what they take */
  uint64_t traces_left_out; /* by nxa_tracer_options.sample */
  uint64_t spans_left_out;  /* with them */
  size_t traces_pending;    /* held now */
  size_t spans_pending;
  size_t bytes_pending;
} nxa_stats;
NXA_API void nxa_tracer_stats(const nxa_tracer *tracer, nxa_stats *stats);

/* Sends what can be sent from the next step on, without waiting for flush_interval. */
NXA_API void nxa_tracer_flush(nxa_tracer *tracer);
/* True while something waits that a sink may still deliver. */
NXA_API bool nxa_tracer_pending(const nxa_tracer *tracer);
/*
 * Ends open traces (status error, "interrupted"), then steps the engine until all is delivered, nothing more can be, or
 * `timeout` seconds have passed. Retries come fast or not at all by then. Returns true where everything was delivered.
 * Recording does nothing afterwards.
 */
NXA_API bool nxa_tracer_close(nxa_tracer *tracer, double timeout);

typedef enum nxa_trace_status { NXA_TRACE_SUCCESS, NXA_TRACE_ERROR, NXA_TRACE_TIMEOUT } nxa_trace_status;
typedef enum nxa_span_status { NXA_SPAN_OK, NXA_SPAN_ERROR } nxa_span_status;

/*
 * Starts a trace. `agent_id` and `name` are required and not empty. Returns a handle owned by the caller, NULL where it
 * was dropped. Freeing the handle of a trace that has not ended leaves it open until nxa_tracer_close.
 */
NXA_API nxa_trace *nxa_trace_start(nxa_tracer *tracer, const char *agent_id, const char *name);
NXA_API void nxa_trace_free(nxa_trace *trace);
/* The W3C trace id, 32 lower-case hexadecimal digits; borrowed; "" for NULL. */
NXA_API const char *nxa_trace_id(const nxa_trace *trace);
/*
 * Puts the trace below a span of the host's, named by a W3C `traceparent`: OpenTelemetry's sinks tell it as part of
 * that trace, while its own id stays what Nexus knows. Of its flags those that W3C knows are passed on, and say nothing
 * else here. To be called before a span has ended. False where the text is no traceparent; it does nothing then.
 */
NXA_API bool nxa_trace_continue(nxa_trace *trace, const char *traceparent);
/* What continues the trace below itself, or below a span of it, elsewhere; `out` is zero-terminated, "" for NULL. */
#define NXA_TRACEPARENT_SIZE 56
NXA_API void nxa_trace_traceparent(const nxa_trace *trace, char out[NXA_TRACEPARENT_SIZE]);
NXA_API void nxa_trace_set_input(nxa_trace *trace, const char *json, size_t length);
NXA_API void nxa_trace_set_output(nxa_trace *trace, const char *json, size_t length);
/* Sets one metadata value; an earlier one under the same key is replaced. */
NXA_API void nxa_trace_set_metadata(nxa_trace *trace, const char *key, const char *json, size_t length);
/* Ends the trace now; `message` (or NULL) becomes its error. Spans still open are ended with it, as errors that say so.
 * A second end does nothing. */
NXA_API void nxa_trace_end(nxa_trace *trace, nxa_trace_status status, const char *message);

/* Starts a span under `parent`, or under the trace where that is NULL. `type` is free text such as "llm" or "tool", or
 * NULL. Owned by the caller. */
NXA_API nxa_span *nxa_span_start(nxa_trace *trace, nxa_span *parent, const char *name, const char *type);
NXA_API void nxa_span_free(nxa_span *span);
/* The W3C span id, 16 lower-case hexadecimal digits; borrowed; "" for NULL. */
NXA_API const char *nxa_span_id(const nxa_span *span);
NXA_API void nxa_span_traceparent(const nxa_span *span, char out[NXA_TRACEPARENT_SIZE]);
NXA_API void nxa_span_set_input(nxa_span *span, const char *json, size_t length);
NXA_API void nxa_span_set_output(nxa_span *span, const char *json, size_t length);
NXA_API void nxa_span_set_metadata(nxa_span *span, const char *key, const char *json, size_t length);
NXA_API void nxa_span_set_error(nxa_span *span, const char *message);
/* Replaces the span's times by those of another clock, Unix seconds; the end takes effect at nxa_span_end. Negative:
 * leave. */
NXA_API void nxa_span_set_times(nxa_span *span, double started_at, double ended_at);
NXA_API void nxa_span_end(nxa_span *span, nxa_span_status status);

/* ------------------------------------------------------------------------------------------------ text */

/* True where the text is valid UTF-8; else `offset` (may be NULL) is the first bad byte, from 0. */
NXA_API bool nxa_utf8_valid(const char *text, size_t length, size_t *offset);

#ifdef __cplusplus
}
#endif
#endif
