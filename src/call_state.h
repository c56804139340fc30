/* The inside of a call, for the files it is made of: call.c (its life and attempts), call_body.c (what moves). */
#ifndef NXA_CALL_STATE_H
#define NXA_CALL_STATE_H

#include "answer.h"
#include "buffer.h"
#include "call.h"
#include "engine.h"
#include "progress.h"
#include "request.h"
#include "source.h"
#include "stream.h"

typedef enum nxa__call_phase { WAITING, SENDING, PAUSING, DONE } nxa__call_phase;

struct nxa_call {
  nxa_engine *engine;
  nxa__frozen *request; /* until done */
  nxa__call_done_fn done;
  void *done_data;

  nxa__call_phase state;
  nxa__link live, turn;
  nxa__timer timer; /* the one thing that comes next: deadline, end of an attempt, end of a pause */
  nxa__event data_event, send_event, done_event;
  nxa__transfer *transfer; /* while SENDING */

  double timeout, deadline; /* as asked for */
  int64_t deadline_ns, attempt_end_ns;
  int64_t moved_ns; /* when the last byte of a stream or a part moved, 0: none did in this attempt */
  int retries, attempts;
  bool sent; /* something went out in an attempt that has ended */

  nxa__answer answer;
  nxa__buffer body;
  size_t max_response;
  nxa_kind trouble;       /* why a callback ended the transfer */
  bool headers_above_cap; /* that is why */
  size_t lost_part;       /* this is why, where lost_reason isn't NULL */
  const char *lost_reason;
  nxa__stream *stream; /* NULL where none was asked for */
  bool streaming;      /* this answer is a stream, and some of it was taken */
  bool data_announced; /* the host knows of events it has not drained */

  nxa__source *source; /* NULL where no part comes from the host */

  nxa__progress *progress; /* NULL where none was asked for */

  nxa_error error;
  nxa_response response;
};

/* True while the transfer is paused for the host's sake. */
bool nxa__call_awaits_host(const nxa_call *call);

#endif
