#include "call_state.h"

#include "clock.h"

bool nxa__call_awaits_host(const nxa_call *call) {
  return call->transfer && (call->transfer->receive_paused || call->transfer->send_paused);
}

/* libcurl hands out here what it kept. Where that couldn't be taken it neither ends the transfer nor moves it any more.
 */
static void resume(nxa_call *call, bool *paused) {
  *paused = false;
  nxa__call_count_silence(call);
  nxa__engine_resume_transfer(call->engine, call->transfer);
  if (call->trouble != NXA_OK)
    nxa__timer_arm(call->engine, &call->timer, nxa__monotonic_ns());
}

/* ---- what goes out */

void nxa__call_moved(nxa_call *call) {
  call->moved_ns = nxa__monotonic_ns();
}

void nxa__call_lose_part(nxa_call *call, size_t index, const char *reason) {
  call->trouble = NXA_INVALID;
  call->lost_part = index;
  call->lost_reason = reason;
}

static size_t stop_sending(nxa_call *call) {
  size_t how = nxa__transfer_stop_sending(call->transfer);
  nxa__call_count_silence(call);
  return how;
}

size_t nxa__call_give(nxa_call *call, size_t index, char *buffer, size_t room) {
  size_t taken = nxa__source_take(call->source, index, buffer, room);
  if (taken > 0 || nxa__source_is_over(call->source, index))
    return taken;
  if (nxa__call_is_refused(call))
    return stop_sending(call);
  call->transfer->send_paused = true;
  if (!call->done)
    nxa__engine_queue_event(call->engine, &call->send_event);
  return CURL_READFUNC_PAUSE;
}

static nxa_kind after_sending(nxa_call *call, nxa_kind kind) {
  if (kind != NXA_OK)
    return kind;
  nxa__event_remove(&call->send_event);
  if (call->transfer && call->transfer->send_paused)
    resume(call, &call->transfer->send_paused);
  return NXA_OK;
}

static nxa_kind sending_fault(const nxa_call *call) {
  if (call->state == DONE)
    return NXA_CLOSED;
  return call->source ? NXA_OK : NXA_INVALID;
}

nxa_kind nxa_call_send(nxa_call *call, const char *bytes, size_t length) {
  nxa_kind fault = sending_fault(call);
  if (fault != NXA_OK || length == 0)
    return fault;
  return after_sending(call, nxa__source_put(call->source, bytes, length));
}

nxa_kind nxa_call_send_end(nxa_call *call) {
  nxa_kind fault = sending_fault(call);
  return fault == NXA_OK ? after_sending(call, nxa__source_end(call->source)) : fault;
}

/* ---- how far it is */

void nxa__call_progressed(nxa_call *call, int64_t moved) {
  if (call->progress && !call->done)
    nxa__progress_move(call->progress, moved);
}

void nxa_call_progress(const nxa_call *call, nxa_progress *progress) {
  if (call->progress && call->transfer)
    nxa__transfer_progress(call->transfer, progress);
  else if (call->progress)
    *progress = call->progress->last;
  else
    *progress = (nxa_progress){0, -1, 0, -1};
}

/* ---- what comes */

static void announce_data(nxa_call *call) {
  if (call->data_announced || call->done || nxa__stream_empty(call->stream))
    return;
  call->data_announced = true;
  nxa__engine_queue_event(call->engine, &call->data_event);
}

static nxa__taking take_into_stream(nxa_call *call, const char *bytes, size_t length) {
  if (nxa__stream_full(call->stream, length))
    return NXA__TAKE_LATER;
  call->streaming = true;
  nxa__call_moved(call);
  call->trouble = nxa__stream_feed(call->stream, bytes, length);
  announce_data(call);
  return call->trouble == NXA_OK ? NXA__TAKEN : NXA__TAKE_NEVER;
}

/* Of a failed answer the beginning is enough. */
static nxa__taking take_whole(nxa_call *call, const char *bytes, size_t length) {
  size_t room = call->max_response - call->body.length;
  bool cut = length > room && !nxa__answer_is_success(&call->answer);
  call->trouble = nxa__buffer_append(&call->body, bytes, cut ? room : length);
  return call->trouble == NXA_OK && !cut ? NXA__TAKEN : NXA__TAKE_NEVER;
}

static bool is_streamed(const nxa_call *call) {
  if (call->streaming)
    return true;
  return call->stream && nxa__answer_is_success(&call->answer) &&
         (call->stream->mode == NXA_STREAM_BYTES || nxa__answer_has_type(&call->answer, "text/event-stream"));
}

nxa__taking nxa__call_take_body(nxa_call *call, const char *bytes, size_t length) {
  if (length == 0)
    return NXA__TAKEN;
  if (is_streamed(call))
    return take_into_stream(call, bytes, length);
  return take_whole(call, bytes, length);
}

/* ---- reading it */

/* After something was taken: what isn't there need not be announced, and there may be room for more. */
static void after_reading(nxa_call *call) {
  if (nxa__stream_empty(call->stream)) {
    call->data_announced = false;
    nxa__event_remove(&call->data_event);
  }
  if (call->transfer && call->transfer->receive_paused && nxa__stream_has_room(call->stream))
    resume(call, &call->transfer->receive_paused);
}

bool nxa_call_next_event(nxa_call *call, nxa_stream_event *event) {
  if (!call->stream || call->stream->mode != NXA_STREAM_EVENTS)
    return false;
  bool taken = nxa__stream_next_event(call->stream, event);
  after_reading(call);
  return taken;
}

bool nxa_call_next_piece(nxa_call *call, const char **data, size_t *length) {
  if (!call->stream || call->stream->mode != NXA_STREAM_BYTES)
    return false;
  bool taken = nxa__stream_next_piece(call->stream, data, length);
  after_reading(call);
  return taken;
}
