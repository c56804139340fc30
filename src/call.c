#include "call_state.h"

#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "endpoint.h"
#include "error.h"
#include "random.h"
#include "retry.h"

/* Longer than any sound connection takes, shorter than the time scripts give to an answer. */
static const double connect_timeout = 10;
/* For the text of a refusal where libcurl may not notice that it breaks off. */
static const double refusal_timeout = 10;

static const char *host_of(const nxa_call *call) {
  return nxa__endpoint_host(call->request->endpoint);
}

/* ---- ending */

static void redact(nxa_call *call) {
  const nxa_endpoint *endpoint = call->request->endpoint;
  nxa_endpoint_redact(endpoint, call->body.data, call->body.length);
  nxa_endpoint_redact(endpoint, call->answer.content_type, strlen(call->answer.content_type));
  nxa_endpoint_redact(endpoint, call->answer.request_id, strlen(call->answer.request_id));
  nxa_endpoint_redact(endpoint, call->error.message, strlen(call->error.message));
}

static void fill_error(nxa_call *call) {
  call->error.status = call->answer.status;
  call->error.attempts = call->attempts;
  call->error.retry_after = nxa__answer_wait(&call->answer);
  memcpy(call->error.request_id, call->answer.request_id, sizeof call->error.request_id);
}

static void fill_response(nxa_call *call) {
  call->response = (nxa_response){
      .status = call->answer.status,
      .body = nxa__buffer_text(&call->body),
      .body_length = call->body.length,
      .content_type = call->answer.content_type,
      .request_id = call->answer.request_id,
      .retry_after = nxa__answer_wait(&call->answer),
      .poll_after = call->answer.poll_after,
      .date = call->answer.date,
      .attempts = call->attempts,
  };
}

/* Cuts every tie to the engine but the count; call->error says how it ended. */
static void settle(nxa_call *call) {
  call->state = DONE;
  nxa__timer_disarm(call->engine, &call->timer);
  nxa__list_remove(&call->turn);
  nxa__list_remove(&call->live);
  nxa__event_remove(&call->send_event);
  if (call->error.kind != NXA_OK) {
    redact(call);
    fill_error(call);
  }
  fill_response(call);
  nxa__frozen_release(call->request);
  call->request = NULL;
}

/* The last thing to be done with a call: its owner may free it here. */
static void finish(nxa_call *call) {
  settle(call);
  if (call->progress)
    nxa__progress_end(call->progress);
  if (call->done)
    call->done(call, call->done_data);
  else
    nxa__engine_queue_event(call->engine, &call->done_event);
}

static void drop_transfer(nxa_call *call) {
  nxa__transfer *transfer = call->transfer;
  if (!transfer)
    return;
  call->transfer = NULL;
  call->sent = call->sent || nxa__transfer_sent(transfer);
  if (call->progress)
    nxa__transfer_progress(transfer, &call->progress->last);
  nxa__engine_drop_transfer(call->engine, transfer);
}

/* ---- failed attempts */

static void say_which_attempt(nxa_call *call) {
  size_t length = strlen(call->error.message);
  if (call->retries == 0 || length > sizeof call->error.message - 40)
    return;
  nxa__buffer text;
  nxa__buffer_init(&text, 40);
  if (nxa__buffer_append_format(&text, " (attempt %d of %d)", call->attempts, call->retries + 1) == NXA_OK)
    memcpy(call->error.message + length, text.data, text.length + 1);
  nxa__buffer_free(&text);
}

static void pause_for(nxa_call *call, double seconds) {
  call->state = PAUSING;
  nxa__event_remove(&call->send_event);
  nxa__timer_arm(call->engine, &call->timer, nxa__monotonic_ns() + nxa__ns_of(seconds));
}

static void fail_attempt(nxa_call *call, bool hopeless) {
  nxa__retry_facts facts = {
      .kind = call->error.kind,
      .status = call->answer.status,
      .attempts = call->attempts,
      .retries = call->retries,
      .should_retry = call->answer.should_retry,
      .retry_after = nxa__answer_wait(&call->answer),
      .remaining = nxa__seconds_of(call->deadline_ns - nxa__monotonic_ns()),
      /* the host has a part of the answer already, or can't give its part of the request once more */
      .hopeless = hopeless || call->streaming || (call->source && call->source->taken),
  };
  double delay = nxa__retry_delay(&facts, nxa__random_fraction());
  if (delay >= 0)
    pause_for(call, delay);
  else
    finish(call);
}

static bool has_failed_status(const nxa_call *call) {
  return nxa__answer_is_final(&call->answer) && !nxa__answer_is_success(&call->answer);
}

bool nxa__call_is_refused(const nxa_call *call) {
  return call->answer.complete && has_failed_status(call);
}

static void describe_trouble(nxa_call *call) {
  if (call->trouble == NXA_MEMORY)
    nxa__error_memory(&call->error);
  else if (call->lost_reason)
    nxa__error_set(&call->error, NXA_INVALID, "parts: entry %zu: path '%s': %s", call->lost_part + 1,
                   call->request->parts->entries[call->lost_part].path, call->lost_reason);
  else if (call->headers_above_cap)
    nxa__error_set(&call->error, NXA_TOO_LARGE, "the headers of %s are above %d bytes", host_of(call),
                   (int)NXA__HEADER_BYTES_MAX);
  else if (call->streaming)
    nxa__error_set(&call->error, NXA_TOO_LARGE, "an event of %s is above %zu bytes", host_of(call), call->max_response);
  else
    nxa__error_set(&call->error, NXA_TOO_LARGE, "the answer of %s is above %zu bytes", host_of(call),
                   call->max_response);
}

/* libcurl takes header lines up to 100 KiB, and calls it want of memory where one is longer. */
static bool line_is_too_long(const nxa_call *call, const nxa__outcome *outcome) {
  return outcome->code == CURLE_OUT_OF_MEMORY && outcome->sent && !call->answer.complete;
}

/* A failed status says more than the way its text was lost. */
static void describe_failure(nxa_call *call, const nxa__outcome *outcome) {
  if (line_is_too_long(call, outcome)) {
    nxa__error_set(&call->error, NXA_TOO_LARGE, "a header line of %s is too long", host_of(call));
    return;
  }
  if (has_failed_status(call) && !call->headers_above_cap) {
    nxa_endpoint_redact(call->request->endpoint, call->body.data, call->body.length);
    nxa__failure_of_status(&call->error, &call->answer, &call->body, host_of(call));
    return;
  }
  if (call->trouble != NXA_OK) {
    describe_trouble(call);
    return;
  }
  nxa__failure_of_transfer(&call->error, outcome, host_of(call));
  say_which_attempt(call);
}

static bool is_whole(const nxa_call *call, const nxa__outcome *outcome) {
  return outcome->code == CURLE_OK && call->trouble == NXA_OK && nxa__answer_is_success(&call->answer);
}

/* libcurl takes an end within the headers, or after an interim answer, for the end of the answer. */
static void check_end(const nxa_call *call, nxa__outcome *outcome) {
  if (outcome->code == CURLE_OK && !(call->answer.complete && nxa__answer_is_final(&call->answer)))
    outcome->code = CURLE_PARTIAL_FILE;
}

static void forget_interim_answer(nxa_call *call) {
  if (!nxa__answer_is_final(&call->answer))
    call->answer.status = 0;
}

void nxa__call_transfer_ended(nxa_call *call, nxa__outcome *outcome) {
  call->transfer = NULL;
  call->sent = call->sent || outcome->sent;
  if (call->progress)
    call->progress->last = outcome->progress;
  check_end(call, outcome);
  if (is_whole(call, outcome)) {
    finish(call);
    return;
  }
  forget_interim_answer(call);
  describe_failure(call, outcome);
  fail_attempt(call, nxa__failure_is_hopeless(outcome));
}

/* ---- time */

static int64_t end_of_silence(const nxa_call *call) {
  bool brief = call->transfer->refusal_awaited && call->timeout > refusal_timeout;
  return nxa__earlier(call->moved_ns + nxa__ns_of(brief ? refusal_timeout : call->timeout), call->deadline_ns);
}

static void describe_timeout(nxa_call *call) {
  const char *what = call->answer.status ? "no whole answer" : "no answer";
  if (call->transfer->send_paused)
    nxa__error_set(&call->error, NXA_TIMEOUT, "not all parts for %s were sent within the deadline of %g s",
                   host_of(call), call->deadline);
  else if (call->transfer->receive_paused)
    nxa__error_set(&call->error, NXA_TIMEOUT, "what came from %s was not read within the deadline of %g s",
                   host_of(call), call->deadline);
  else if (call->attempt_end_ns != call->deadline_ns && call->moved_ns)
    nxa__error_set(&call->error, NXA_TIMEOUT, "nothing went to %s or came from there for %g s", host_of(call),
                   call->timeout);
  else if (call->attempt_end_ns == call->deadline_ns)
    nxa__error_set(&call->error, NXA_TIMEOUT, "%s from %s within the deadline of %g s", what, host_of(call),
                   call->deadline);
  else
    nxa__error_set(&call->error, NXA_TIMEOUT, "%s from %s within %g s", what, host_of(call), call->timeout);
}

static void describe_end_by_time(nxa_call *call, bool connecting) {
  if (connecting)
    nxa__error_set(&call->error, NXA_CONNECTION, "could not connect to %s within %g s", host_of(call), connect_timeout);
  else
    describe_timeout(call);
  say_which_attempt(call);
}

static void end_attempt_here(nxa_call *call, bool connecting) {
  forget_interim_answer(call);
  if (has_failed_status(call)) {
    nxa_endpoint_redact(call->request->endpoint, call->body.data, call->body.length);
    nxa__failure_of_status(&call->error, &call->answer, &call->body, host_of(call));
  } else if (call->trouble != NXA_OK) {
    describe_trouble(call);
  } else {
    describe_end_by_time(call, connecting);
  }
  drop_transfer(call);
  fail_attempt(call, false);
}

static void move_attempt_end(nxa_call *call) {
  if (nxa__call_awaits_host(call))
    call->attempt_end_ns = call->deadline_ns;
  else if (call->moved_ns)
    call->attempt_end_ns = end_of_silence(call);
}

void nxa__call_count_silence(nxa_call *call) {
  call->moved_ns = nxa__monotonic_ns();
  call->attempt_end_ns = end_of_silence(call);
  nxa__timer_arm(call->engine, &call->timer, call->attempt_end_ns);
}

static void on_sending_timer(nxa_call *call) {
  move_attempt_end(call);
  bool over = call->trouble != NXA_OK || nxa__monotonic_ns() >= call->attempt_end_ns;
  if (!over && nxa__transfer_connected(call->transfer))
    nxa__timer_arm(call->engine, &call->timer, call->attempt_end_ns);
  else
    end_attempt_here(call, !over);
}

static void wait_turn(nxa_call *call) {
  call->state = WAITING;
  nxa__timer_arm(call->engine, &call->timer, call->deadline_ns);
  nxa__engine_queue_turn(call->engine, &call->turn, call->done != NULL);
}

static void on_timer(nxa__timer *timer) {
  nxa_call *call = timer->data;
  if (call->state == SENDING) {
    on_sending_timer(call);
  } else if (call->state == PAUSING) {
    wait_turn(call);
  } else {
    nxa__error_set(&call->error, NXA_TIMEOUT, "too many calls were under way to begin within the deadline of %g s",
                   call->deadline);
    finish(call);
  }
}

/* ---- an attempt */

static void set_attempt_times(nxa_call *call) {
  int64_t now = nxa__monotonic_ns();
  call->moved_ns = 0;
  call->attempt_end_ns = nxa__earlier(now + nxa__ns_of(call->timeout), call->deadline_ns);
  nxa__timer_arm(call->engine, &call->timer, nxa__earlier(now + nxa__ns_of(connect_timeout), call->attempt_end_ns));
}

static void reset_answer(nxa_call *call) {
  nxa__answer_clear(&call->answer);
  nxa__buffer_clear(&call->body);
  nxa__error_clear(&call->error);
  call->trouble = NXA_OK;
  call->headers_above_cap = false;
  call->lost_reason = NULL;
}

/* One attempt is to be one, and counted: what may have arrived before must be known to whoever asked for it. */
static bool must_send_once(const nxa_call *call) {
  return strcmp(call->request->method, "GET") != 0;
}

static void fail_for_memory(nxa_call *call) {
  call->transfer = NULL;
  nxa__error_memory(&call->error);
  finish(call);
}

void nxa__call_begin(nxa_call *call) {
  call->state = SENDING;
  call->attempts++;
  reset_answer(call);
  if (call->progress)
    nxa__progress_begin(call->progress);
  call->transfer = nxa__engine_take_transfer(call->engine, call, call->request, !call->done);
  if (!call->transfer) {
    fail_for_memory(call);
    return;
  }
  call->transfer->send_once = must_send_once(call);
  set_attempt_times(call);
  if (nxa__engine_launch(call->engine, call->transfer) != NXA_OK)
    fail_for_memory(call);
}

bool nxa__call_take_header(nxa_call *call, const char *line, size_t length) {
  if (nxa__answer_take_line(&call->answer, line, length))
    return true;
  call->trouble = NXA_TOO_LARGE;
  call->headers_above_cap = true;
  return false;
}

/* ---- starting */

/* Of what moves piece by piece. */
static bool make_holders(nxa_call *call, const nxa_request *request, const nxa__frozen *frozen) {
  if (request->stream && !(call->stream = nxa__stream_new(request->stream, request->max_response)))
    return false;
  if (request->progress && !(call->progress = nxa__allocate_zeroed(sizeof *call->progress)))
    return false;
  return !(frozen->parts && frozen->parts->host_count > 0) || (call->source = nxa__source_new(frozen->parts));
}

static nxa_call *new_call(nxa_engine *engine, const nxa_request *request, nxa__frozen *frozen) {
  nxa_call *call = nxa__allocate_zeroed(sizeof *call);
  if (!call)
    return NULL;
  if (!make_holders(call, request, frozen)) {
    nxa__stream_free(call->stream);
    nxa__release(call->progress);
    nxa__release(call);
    return NULL;
  }
  call->engine = engine;
  call->request = frozen;
  call->timeout = request->timeout;
  call->deadline = request->deadline;
  call->retries = request->retries;
  call->max_response = request->max_response;
  call->live.owner = call->turn.owner = call;
  call->timer.fire = on_timer;
  call->timer.data = call;
  nxa__event_init(&call->data_event, NXA_EVENT_DATA, call);
  if (call->progress)
    nxa__progress_init(engine, call->progress, call);
  nxa__event_init(&call->send_event, NXA_EVENT_SEND, call);
  nxa__event_init(&call->done_event, NXA_EVENT_DONE, call);
  nxa__buffer_init(&call->body, request->max_response);
  reset_answer(call);
  return call;
}

static nxa_call *start(nxa_engine *engine, const nxa_request *request, nxa_error *error) {
  nxa__error_clear(error);
  if (nxa__engine_closed(engine)) {
    nxa__error_set(error, NXA_CLOSED, "the engine is closed");
    return NULL;
  }
  nxa__frozen *frozen = nxa__request_freeze(request, error);
  if (!frozen)
    return NULL;
  nxa_call *call = new_call(engine, request, frozen);
  if (!call) {
    nxa__frozen_release(frozen);
    nxa__error_memory(error);
    return NULL;
  }
  nxa__engine_retain(engine);
  nxa__engine_add_call(engine, &call->live);
  call->deadline_ns = nxa__monotonic_ns() + nxa__ns_of(call->deadline);
  return call;
}

nxa_call *nxa_call_start(nxa_engine *engine, const nxa_request *request, nxa_error *error) {
  nxa_call *call = start(engine, request, error);
  if (call)
    wait_turn(call);
  return call;
}

nxa_call *nxa__call_start(nxa_engine *engine, const nxa_request *request, nxa__call_done_fn done, void *data,
                          nxa_error *error) {
  nxa_call *call = start(engine, request, error);
  if (!call)
    return NULL;
  call->done = done;
  call->done_data = data;
  wait_turn(call);
  return call;
}

/* ---- ending by the owner */

static void end_by(nxa_call *call, nxa_kind kind, const char *message) {
  drop_transfer(call);
  reset_answer(call);
  nxa__error_set(&call->error, kind, "%s", message);
}

void nxa_call_cancel(nxa_call *call) {
  if (!call || call->state == DONE)
    return;
  end_by(call, NXA_CANCELLED, "cancelled");
  settle(call);
  if (call->progress)
    nxa__progress_drop(call->progress);
  if (!call->done)
    nxa__engine_queue_event(call->engine, &call->done_event);
}

void nxa__call_close(nxa_call *call) {
  end_by(call, NXA_CLOSED, "the engine was freed under the call");
  finish(call);
}

void nxa_call_free(nxa_call *call) {
  if (!call)
    return;
  nxa_call_cancel(call);
  nxa__event_remove(&call->data_event);
  nxa__event_remove(&call->done_event);
  if (call->progress)
    nxa__progress_drop(call->progress);
  nxa__release(call->progress);
  nxa__stream_free(call->stream);
  nxa__source_free(call->source);
  nxa__buffer_free(&call->body);
  nxa__engine_release(call->engine);
  nxa__release(call);
}

/* ---- reading */

bool nxa_call_done(const nxa_call *call) {
  return call->state == DONE;
}

const nxa_response *nxa_call_response(const nxa_call *call) {
  return call->state == DONE ? &call->response : NULL;
}

const nxa_error *nxa_call_error(const nxa_call *call) {
  return call->state == DONE && call->error.kind != NXA_OK ? &call->error : NULL;
}

bool nxa__call_may_have_arrived(const nxa_call *call) {
  return call->sent || (call->transfer && nxa__transfer_sent(call->transfer));
}
