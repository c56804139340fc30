#include "nexus_state.h"

#include <string.h>

#include "alloc.h"

/* ------------------------------------------------------------------------------------------------ notes */

nxa__span_notes *nxa__nexus_note_span(const nxa__nexus *sink, nxa_span *span) {
  nxa__span_notes *notes = notes_of_span(sink, span);
  if (notes)
    return notes;
  notes = nxa__allocate_zeroed(sizeof *notes);
  if (!notes)
    return NULL;
  notes->span = span;
  notes->link.owner = notes;
  span->record.slots[sink->sink.index] = notes;
  return notes;
}

static bool has_work(const nxa__trace_notes *notes) {
  if (notes->leaving)
    return false;
  if (notes->state != TRACE_CREATED)
    return notes->create.wanted;
  return notes->end.wanted || notes->last.wanted || !nxa__list_empty(&notes->ready);
}

void nxa__nexus_file(nxa__nexus *sink, nxa__trace_notes *notes) {
  bool ready = has_work(notes);
  bool runs = notes->state == TRACE_NEW && !notes->leaving;
  nxa__list *list = ready ? &sink->ready : runs ? &sink->running : &sink->resting;
  if (notes->link.list == list)
    return;
  nxa__list_remove(&notes->link);
  nxa__list_append(list, &notes->link);
}

/* ------------------------------------------------------------------------------------------------ giving up */

static void orphan_requests(nxa__nexus *sink, const nxa__trace_notes *notes) {
  for (nxa__link *link = sink->flying.first; link; link = link->next) {
    nxa__flight *sent = link->owner;
    if (sent->trace == notes)
      sent->trace = NULL;
  }
}

static void forget_file(nxa__nexus *sink, nxa__trace_notes *notes) {
  nxa__spool_remove(sink->spool, notes->file);
  notes->file = NULL;
}

void nxa__nexus_unlist(nxa__trace_notes *notes) {
  nxa__list_remove(&notes->link);
  nxa__list_remove(&notes->open_link);
}

void nxa__nexus_give_up_trace(nxa__nexus *sink, nxa__trace_notes *notes) {
  if (notes->flying > 0)
    orphan_requests(sink, notes);
  nxa__nexus_unlist(notes);
  forget_file(sink, notes);
  nxa__trace_settled(&sink->sink, notes->trace, false);
}

/* ------------------------------------------------------------------------------------------------ leaving */

bool nxa__nexus_lacks(const nxa__trace_notes *notes) {
  return !(notes->state == TRACE_CREATED && notes->ends_known);
}

static void settle_kept_spans(nxa__nexus *sink, nxa_trace *trace) {
  for (nxa_span *span = nxa__span_first(trace); span; span = nxa__span_next(span)) {
    const nxa__span_notes *own = notes_of_span(sink, span);
    if (!own || !own->is_kept)
      continue;
    sink->kept.spans += wants_span(sink, span);
    nxa__span_spooled(&sink->sink, span);
  }
}

void nxa__nexus_leave_now(nxa__nexus *sink, nxa__trace_notes *notes) {
  nxa__nexus_keep_rest(sink, notes);
  nxa__nexus_leave_kept(sink, notes);
}

/* Without its end it counts as interrupted, as if the process was killed. */
void nxa__nexus_leave_kept(nxa__nexus *sink, nxa__trace_notes *notes) {
  bool kept = nxa__spool_has_lines(notes->file);
  nxa__spool_leave(sink->spool, notes->file);
  notes->file = NULL;
  if (!kept) {
    nxa__nexus_give_up_trace(sink, notes);
    return;
  }
  nxa__nexus_unlist(notes);
  sink->kept.traces += nxa__nexus_lacks(notes);
  settle_kept_spans(sink, notes->trace);
  nxa__trace_spooled(&sink->sink, notes->trace);
  nxa__engine_queue_event(sink->engine, &sink->left);
}

void nxa__nexus_leave_trace(nxa__nexus *sink, nxa__trace_notes *notes) {
  if (!notes->file) {
    nxa__nexus_give_up_trace(sink, notes);
    return;
  }
  notes->leaving = true;
  nxa__nexus_settle_or_file(sink, notes);
}

static void leave_list(nxa__nexus *sink, const nxa__list *list) {
  for (nxa__link *link = list->first, *next; link; link = next) {
    next = link->next;
    nxa__nexus_leave_trace(sink, link->owner);
  }
}

void nxa__nexus_stop(nxa__nexus *sink) {
  sink->stopped = true;
  leave_list(sink, &sink->ready);
  leave_list(sink, &sink->running);
  leave_list(sink, &sink->resting);
}

static bool is_agent(const char *json, const nxa_trace *trace) {
  return strlen(json) == trace->agent_id.length && memcmp(json, trace->agent_id.text, trace->agent_id.length) == 0;
}

bool nxa__nexus_may_create(const nxa__nexus *sink, const nxa_trace *trace) {
  if (sink->stopped || sink->no_more_traces)
    return false;
  unsigned count = sink->refused_count < AGENTS_MOST ? sink->refused_count : AGENTS_MOST;
  for (unsigned i = 0; i < count; i++)
    if (is_agent(sink->refused[i], trace))
      return false;
  return true;
}

static void shed(nxa__nexus *sink, nxa__list *list) {
  for (nxa__link *link = list->first, *next; link; link = next) {
    nxa__trace_notes *notes = link->owner;
    next = link->next;
    if (notes->state != TRACE_CREATED && !nxa__nexus_may_create(sink, notes->trace))
      nxa__nexus_leave_trace(sink, notes);
  }
}

void nxa__nexus_shed_all(nxa__nexus *sink) {
  shed(sink, &sink->ready);
  shed(sink, &sink->running);
}

/* Remembers an agent id; where there are very many, the oldest is forgotten and will be refused once more. */
void nxa__nexus_refuse_agent(nxa__nexus *sink, const nxa_trace *trace) {
  char *agent =
      nxa__nexus_may_create(sink, trace) ? nxa__copy_bytes(trace->agent_id.text, trace->agent_id.length) : NULL;
  if (!agent)
    return;
  char **place = &sink->refused[sink->refused_count++ % AGENTS_MOST];
  nxa__release(*place);
  *place = agent;
}

/* ------------------------------------------------------------------------------------------------ progress */

static bool is_finished(const nxa__trace_notes *notes) {
  bool told = notes->ends_known || notes->end_failed;
  return notes->state == TRACE_CREATED && notes->trace->record.ended && told && !notes->last.wanted &&
         notes->unsettled == 0 && notes->flying == 0;
}

static bool can_be_left(const nxa__trace_notes *notes) {
  return notes->leaving && notes->trace->record.ended && notes->flying == 0;
}

void nxa__nexus_settle_or_file(nxa__nexus *sink, nxa__trace_notes *notes) {
  if (can_be_left(notes)) {
    nxa__nexus_leave_now(sink, notes);
    return;
  }
  if (notes->leaving || !is_finished(notes)) {
    nxa__nexus_file(sink, notes);
    return;
  }
  nxa__nexus_unlist(notes);
  forget_file(sink, notes);
  nxa__trace_settled(&sink->sink, notes->trace, !notes->end_failed);
}

void nxa__nexus_want_end(nxa__trace_notes *notes) {
  if (notes->state != TRACE_CREATED || !notes->trace->record.ended)
    return;
  notes->end.wanted = !notes->ends_known;
  notes->last.wanted = notes->changes_sent != notes->trace->record.changes;
}

void nxa__nexus_make_ready(nxa__trace_notes *notes, nxa__span_notes *span) {
  span->job.wanted = true;
  nxa__list_append(&notes->ready, &span->link);
}

/* The parent was posted or never will be. */
static void release_children(nxa__trace_notes *notes, nxa__span_notes *parent) {
  nxa__span_notes *child;
  while ((child = nxa__list_take(&parent->children)))
    nxa__nexus_make_ready(notes, child);
}

void nxa__nexus_settle_span(nxa__nexus *sink, nxa__trace_notes *notes, nxa__span_notes *span, bool delivered) {
  span->state = delivered ? SPAN_POSTED : SPAN_GIVEN_UP;
  notes->unsettled--;
  release_children(notes, span);
  nxa__span_settled(&sink->sink, span->span, delivered);
}
