#include "nexus_state.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "call.h"
#include "clock.h"
#include "random.h"

#define WAIT_MOST 60.0 /* seconds a server may tell us to wait */
#define FAILURES_MOST 5
#define CLOSING_FAILURES_MOST 2
#define CLOSING_STEP (5 * MILLISECOND) /* 15 ms in all: a dead Nexus must not delay the exit noticeably */

/* ------------------------------------------------------------------------------------------------ failures */

static int64_t backoff(const nxa__nexus *sink) {
  if (sink->closing)
    return sink->outage * CLOSING_STEP;
  unsigned doublings = sink->outage - 1 < 6 ? sink->outage - 1 : 6;
  double seconds = 0.5 * (double)(1u << doublings);
  if (seconds > 30)
    seconds = 30;
  return nxa__ns_of(seconds * (0.5 + 0.5 * nxa__random_fraction()));
}

/* From a failure of this moment on, one probe at a time goes out. */
static void hold(nxa__nexus *sink) {
  sink->outage++;
  sink->round++;
  sink->backoff_until_ns = nxa__monotonic_ns() + backoff(sink);
  if (sink->closing && (sink->hangs || sink->outage > CLOSING_FAILURES_MOST))
    sink->sends_no_more = true;
}

void nxa__nexus_failed_here(nxa__nexus *sink) {
  snprintf(sink->cause, sizeof sink->cause, "cannot be sent to: out of memory");
  hold(sink);
}

/* Nexus's wish to be left alone; when closing, there is no time for a longer one. */
static void obey_wait(nxa__nexus *sink, double seconds) {
  if (seconds < 0)
    return;
  int64_t wait = nxa__ns_of(seconds < WAIT_MOST ? seconds : WAIT_MOST);
  sink->told_until_ns = nxa__later(sink->told_until_ns, nxa__monotonic_ns() + wait);
  if (sink->closing && wait > 50 * MILLISECOND)
    sink->sends_no_more = true;
}

/* One connection that broke may just have been idle for too long; all else is told at once. */
static void tell_of_outage(nxa__nexus *sink, const nxa__nexus_answer *answer) {
  if (sink->closing || sink->told_of_outage || (answer->broke && sink->outage < 2))
    return;
  sink->told_of_outage = true;
  nxa__engine_warn(sink->engine, "Nexus %s; traces are sent when it is back, or %s when the client closes before",
                   sink->cause, sink->spool ? "kept on the disk" : "lost");
}

static void note_outage(nxa__nexus *sink, const nxa__flight *sent, const nxa__nexus_answer *answer) {
  memcpy(sink->cause, answer->cause, sizeof sink->cause);
  sink->hangs = answer->timeout;
  obey_wait(sink, answer->wait);
  if (sent->round != sink->round && !(sink->closing && sink->hangs)) /* sent before the failure that is known already */
    return;
  hold(sink);
  tell_of_outage(sink, answer);
}

/* True where a job has failed often while others went through: it will never be taken. */
static bool is_poison(nxa__nexus *sink, nxa__errand *job, const nxa__nexus_answer *answer) {
  if (answer->status == 429)
    return false;
  if (job->failures == 0 || job->successes_seen != sink->successes)
    job->failures++;
  job->successes_seen = sink->successes;
  job->closing_failures += sink->closing;
  return job->failures >= FAILURES_MOST || job->closing_failures > CLOSING_FAILURES_MOST;
}

static void repeat(nxa__flight *sent) {
  if (sent->kind == NXA__NEXUS_CREATE)
    sent->trace->state = TRACE_NEW;
  if (sent->span)
    nxa__nexus_make_ready(sent->trace, sent->span);
  else
    nxa__nexus_job(sent)->wanted = true;
}

/* This one will not be delivered; what depends on it may. True where the trace is gone. */
static bool give_up_job(nxa__nexus *sink, nxa__flight *sent) {
  switch (sent->kind) {
  case NXA__NEXUS_CREATE:
    nxa__nexus_give_up_trace(sink, sent->trace);
    return true;
  case NXA__NEXUS_END:
    sent->trace->end_failed = true;
    return false;
  case NXA__NEXUS_LAST:
    stats_of(sink)->fields_cut++;
    return false;
  default:
    nxa__nexus_settle_span(sink, sent->trace, sent->span, false);
    return false;
  }
}

/* ------------------------------------------------------------------------------------------------ answers */

static void warn_once(nxa__nexus *sink, unsigned bit, const char *text, const nxa__nexus_answer *answer) {
  if (sink->warned & bit)
    return;
  sink->warned |= bit;
  nxa__engine_warn(sink->engine, "Nexus %s (%d)%s%s", text, answer->status, *answer->text ? ": " : "", answer->text);
}

static bool on_created(nxa__nexus *sink, nxa__flight *sent, const nxa__nexus_answer *answer) {
  nxa__trace_notes *notes = sent->trace;
  if (!*answer->id) {
    warn_once(sink, WARNED_NO_ID,
              notes->file ? "took a trace but named no id that can be used; it is looked for"
                          : "took a trace but named no id that can be used; its spans are not delivered",
              answer);
    nxa__nexus_doubt(sink, notes, LOSS_BROKEN);
    nxa__nexus_leave_trace(sink, notes);
    return true;
  }
  memcpy(notes->id, answer->id, sizeof notes->id);
  notes->state = TRACE_CREATED;
  notes->ends_known = sent->knew_end;
  notes->changes_sent = sent->changes;
  if (!notes->trace->record.ended)
    nxa__nexus_keep_id(sink, notes);
  nxa__nexus_want_end(notes);
  return false;
}

/* A span whose id isn't known can have no children: where it can be looked for, that is better than to lose them. */
static void on_posted(nxa__nexus *sink, nxa__flight *sent, const nxa__nexus_answer *answer) {
  if (!*answer->id && sent->trace->file) {
    nxa__nexus_doubt(sink, sent->trace, LOSS_BROKEN);
    sent->trace->leaving = true;
    return;
  }
  memcpy(sent->span->id, answer->id, sizeof sent->span->id);
  nxa__nexus_settle_span(sink, sent->trace, sent->span, true);
}

/* True where the trace is gone. */
static bool on_taken(nxa__nexus *sink, nxa__flight *sent, const nxa__nexus_answer *answer) {
  sink->successes++;
  sink->outage = 0;
  sink->told_of_outage = false;
  sink->backoff_until_ns = 0;
  sink->hangs = false;
  switch (sent->kind) {
  case NXA__NEXUS_CREATE:
    return on_created(sink, sent, answer);
  case NXA__NEXUS_END:
    sent->trace->ends_known = true;
    return false;
  case NXA__NEXUS_LAST:
    return false;
  default:
    on_posted(sink, sent, answer);
    return false;
  }
}

static bool on_later(nxa__nexus *sink, nxa__flight *sent, const nxa__nexus_answer *answer) {
  nxa__errand *job = nxa__nexus_job(sent);
  job->unconfirmed = answer->lost;
  note_outage(sink, sent, answer);
  if (answer->lost && sent->kind != NXA__NEXUS_END && sent->trace->file) {
    /* repeating it might double it; whoever delivers from the spool looks for it first */
    nxa__nexus_doubt(sink, sent->trace, answer->timeout ? LOSS_TIMEOUT : LOSS_BROKEN);
    sent->trace->leaving = true;
    return false;
  }
  if (!is_poison(sink, job, answer) || sink->sends_no_more) {
    repeat(sent);
    return false;
  }
  warn_once(sink, WARNED_POISON, "keeps failing at one request while it takes others; it is given up", answer);
  return give_up_job(sink, sent);
}

/* Whoever refuses without a word, or takes a trace as Nexus doesn't, and has never taken one, is somebody else. What is
 * only too large may be refused on the way. */
static bool is_somebody_else(const nxa__nexus *sink, const nxa__flight *sent, const nxa__nexus_answer *answer) {
  if (sent->kind != NXA__NEXUS_CREATE || sink->successes > 0)
    return false;
  if (answer->verdict == NXA__NEXUS_TAKEN)
    return answer->status != 201 && !*answer->id;
  return answer->verdict == NXA__NEXUS_REFUSED && answer->status != 413 && !*answer->text;
}

static bool on_refused(nxa__nexus *sink, nxa__flight *sent, const nxa__nexus_answer *answer) {
  if (sent->kind == NXA__NEXUS_CREATE)
    warn_once(sink, WARNED_REFUSED_TRACE, "refused a trace", answer);
  else
    warn_once(sink, WARNED_REFUSED_SPAN, sent->kind == NXA__NEXUS_END ? "refused a trace's end" : "refused a span",
              answer);
  return give_up_job(sink, sent);
}

static const char *kept_for_now(const nxa__nexus *sink) {
  return sink->spool ? ", but kept until they can be" : "";
}

static bool on_agent_limit(nxa__nexus *sink, nxa__flight *sent, const nxa__nexus_answer *answer) {
  const nxa__json agent = sent->trace->trace->agent_id;
  nxa__engine_warn(sink->engine, "Nexus refused the agent %.*s (%d)%s%s; its traces are not delivered%s",
                   agent.length < 80 ? (int)agent.length : 80, agent.text, answer->status, *answer->text ? ": " : "",
                   answer->text, kept_for_now(sink));
  nxa__nexus_refuse_agent(sink, sent->trace->trace);
  nxa__nexus_leave_trace(sink, sent->trace);
  nxa__nexus_shed_all(sink);
  return true;
}

static bool on_trace_limit(nxa__nexus *sink, nxa__flight *sent, const nxa__nexus_answer *answer) {
  nxa__engine_warn(sink->engine, "Nexus takes no more traces (%d)%s%s; new traces are not delivered%s", answer->status,
                   *answer->text ? ": " : "", answer->text, kept_for_now(sink));
  sink->no_more_traces = true;
  nxa__nexus_leave_trace(sink, sent->trace);
  nxa__nexus_shed_all(sink);
  return true;
}

static bool on_gone(nxa__nexus *sink, nxa__flight *sent, const nxa__nexus_answer *answer) {
  warn_once(sink, WARNED_TRACE_GONE, "no longer has a trace it had taken; the rest of it is not delivered", answer);
  nxa__nexus_give_up_trace(sink, sent->trace);
  return true;
}

static bool on_bad_key(nxa__nexus *sink) {
  nxa__engine_warn(sink->engine,
                   "Nexus refused the API key (401): traces are not delivered%s; check nexus.api_key or NEXUS_API_KEY",
                   kept_for_now(sink));
  sink->told_of_outage = true;
  nxa__nexus_stop(sink);
  return true;
}

static bool on_wrong_url(nxa__nexus *sink, const nxa__nexus_answer *answer) {
  nxa__engine_warn(sink->engine,
                   "%s is no Nexus (%d): traces are not delivered%s; check nexus.base_url or NEXUS_BASE_URL",
                   nxa_endpoint_base_url(sink->endpoint), answer->status, kept_for_now(sink));
  sink->told_of_outage = true;
  nxa__nexus_stop(sink);
  return true;
}

/* True where the trace is gone. */
static bool act(nxa__nexus *sink, nxa__flight *sent, const nxa__nexus_answer *answer) {
  if (is_somebody_else(sink, sent, answer)) {
    if (answer->verdict == NXA__NEXUS_TAKEN)
      nxa__nexus_doubt(sink, sent->trace, LOSS_BROKEN);
    return on_wrong_url(sink, answer);
  }
  switch (answer->verdict) {
  case NXA__NEXUS_TAKEN:
    return on_taken(sink, sent, answer);
  case NXA__NEXUS_BAD_KEY:
    return on_bad_key(sink);
  case NXA__NEXUS_WRONG_URL:
    return on_wrong_url(sink, answer);
  case NXA__NEXUS_AGENT_LIMIT:
    return on_agent_limit(sink, sent, answer);
  case NXA__NEXUS_TRACE_LIMIT:
    return on_trace_limit(sink, sent, answer);
  case NXA__NEXUS_TRACE_GONE:
    return on_gone(sink, sent, answer);
  case NXA__NEXUS_REFUSED:
    return on_refused(sink, sent, answer);
  case NXA__NEXUS_LATER:
    return on_later(sink, sent, answer);
  default:
    if (sent->kind != NXA__NEXUS_END)
      nxa__nexus_doubt(sink, sent->trace, LOSS_ABANDONED);
    nxa__nexus_stop(sink);
    return true;
  }
}

void nxa__nexus_done(nxa_call *call, void *data) {
  nxa__flight *sent = data;
  nxa__nexus *sink = sent->sink;
  nxa__trace_notes *notes = sent->trace;
  nxa__list_remove(&sent->link);
  if (notes) {
    nxa__nexus_answer answer;
    nxa__nexus_read(&answer, call, sent->kind, sink->endpoint);
    notes->flying--;
    if (!act(sink, sent, &answer))
      nxa__nexus_settle_or_file(sink, notes);
  }
  nxa_call_free(call);
  nxa__release(sent);
  nxa__nexus_pump(sink);
}
