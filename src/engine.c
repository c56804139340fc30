#include "engine.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "call.h"
#include "clock.h"
#include "descriptors.h"
#include "error.h"
#include "text.h"

enum { KEPT_TRANSFERS = 64, WARNINGS_UNREAD = 16, WARNINGS_REMEMBERED = 64, DESCRIPTORS_PER_TRANSFER = 5 };

/* What a step does, in turns: where the budget cuts one short, the next step begins with the one after it. */
enum { ADMISSION, DESCRIPTORS, LIBCURL_TIMER, TIMERS, PHASES };

typedef struct warning {
  nxa__event event;
  char text[512];
} warning;

struct nxa_engine {
  size_t count;
  bool closed, stepping;
  int max_transfers;

  CURLM *multi;
  bool libcurl_armed;
  int64_t libcurl_due_ns; /* of the true clock: libcurl knows no other */
  nxa__descriptors descriptors;
  int phase;
  bool unread_messages; /* the budget ended before all that libcurl had finished was taken */

  nxa__timer *first_timer, *last_timer;
  size_t timer_count;

  nxa__list calls;                  /* not done */
  nxa__list host_turns, sink_turns; /* calls waiting for an attempt */
  bool sink_next;                   /* whose turn is next where both wait */
  nxa__list transfers, pool;        /* on the wire; kept for reuse */
  int counted;                      /* transfers that count against max_transfers */

  nxa__list events;
  warning *pulled; /* the host may still read its text */
  size_t warnings_unread;
  uint64_t warned[WARNINGS_REMEMBERED];
  size_t warned_count;

  bool (*over)(const void *data); /* what the core itself waits for, NULL while the host steps */
  const void *over_data;
};

/* ---- libcurl's own state */

static pthread_once_t libcurl_once = PTHREAD_ONCE_INIT;
static CURLcode libcurl_started;

static void start_libcurl(void) {
  libcurl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool nxa_asynchronous_dns(void) {
  return (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS) != 0;
}

/* ---- what libcurl asks for */

static short wanted_events(int what) {
  if (what == CURL_POLL_IN)
    return POLLIN;
  if (what == CURL_POLL_OUT)
    return POLLOUT;
  return what == CURL_POLL_INOUT ? POLLIN | POLLOUT : 0;
}

/* libcurl keeps our index + 1 with each descriptor; none yet: NULL. */
static void tell_index(nxa_engine *engine, size_t index) {
  curl_multi_assign(engine->multi, engine->descriptors.entries[index].fd, (void *)(uintptr_t)(index + 1));
}

static void forget_descriptor(nxa_engine *engine, size_t index) {
  if (nxa__descriptors_remove(&engine->descriptors, index))
    tell_index(engine, index);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data) {
  nxa_engine *engine = data;
  size_t known = (size_t)(uintptr_t)socket_data;
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    if (known)
      forget_descriptor(engine, known - 1);
  } else if (known) {
    engine->descriptors.entries[known - 1].events = wanted_events(what);
  } else {
    /* there is room: see nxa__engine_launch. An error here would kill the whole multi handle */
    long index = nxa__descriptors_add(&engine->descriptors, fd, wanted_events(what));
    if (index >= 0)
      tell_index(engine, (size_t)index);
  }
  return 0;
}

static int on_libcurl_timer(CURLM *multi, long milliseconds, void *data) {
  nxa_engine *engine = data;
  (void)multi;
  engine->libcurl_armed = milliseconds >= 0;
  if (engine->libcurl_armed)
    engine->libcurl_due_ns = nxa__monotonic_true_ns() + (int64_t)milliseconds * 1000000;
  return 0;
}

static void act(nxa_engine *engine, curl_socket_t fd, int seen) {
  int running;
  curl_multi_socket_action(engine->multi, fd, seen, &running);
}

static void act_on_timeout(nxa_engine *engine) {
  engine->libcurl_armed = false;
  act(engine, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- life */

void nxa_engine_options_init(nxa_engine_options *options) {
  options->max_transfers = 100;
}

static bool set_up_multi(nxa_engine *engine) {
  CURLM *multi = engine->multi = curl_multi_init();
  long kept = engine->max_transfers < 1000 ? engine->max_transfers + 16 : 1016;
  return multi && curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, engine) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_libcurl_timer) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_TIMERDATA, engine) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, kept) == CURLM_OK;
}

nxa_engine *nxa_engine_new(const nxa_engine_options *options, nxa_error *error) {
  int max_transfers = options ? options->max_transfers : 100;
  nxa__error_clear(error);
  if (max_transfers < 1 || max_transfers > 100000) {
    nxa__error_set(error, NXA_INVALID, "max_transfers must be from 1 to 100000");
    return NULL;
  }
  pthread_once(&libcurl_once, start_libcurl);
  nxa_engine *engine = libcurl_started == CURLE_OK ? nxa__allocate_zeroed(sizeof *engine) : NULL;
  if (engine) {
    engine->count = 1;
    engine->max_transfers = max_transfers;
    if (set_up_multi(engine))
      return engine;
    nxa_engine_free(engine);
  }
  nxa__error_memory(error);
  return NULL;
}

static void close_calls(nxa_engine *engine) {
  nxa_call *call;
  while ((call = nxa__list_take(&engine->calls)))
    nxa__call_close(call);
}

static bool any_resolving(const nxa_engine *engine) {
  for (nxa__link *link = engine->transfers.first; link; link = link->next)
    if (((nxa__transfer *)link->owner)->resolving)
      return true;
  return false;
}

static void end_transfers(nxa_engine *engine, nxa__list *list) {
  nxa__transfer *transfer;
  while ((transfer = nxa__list_take(list))) {
    if (transfer->request)
      curl_multi_remove_handle(engine->multi, transfer->easy);
    nxa__transfer_free(transfer);
  }
}

static void close_multi(nxa_engine *engine) {
  /* an old libcurl would wait for the resolver: leaving some memory behind is the lesser evil */
  if (any_resolving(engine) && !nxa__transfer_can_quit())
    return;
  end_transfers(engine, &engine->transfers);
  end_transfers(engine, &engine->pool);
  if (engine->multi)
    curl_multi_cleanup(engine->multi);
  engine->multi = NULL;
}

static void drop_events(nxa_engine *engine) {
  nxa__event *event;
  while ((event = nxa__list_take(&engine->events)))
    if (event->type == NXA_EVENT_WARNING)
      nxa__release(event);
  nxa__release(engine->pulled);
  engine->pulled = NULL;
}

void nxa_engine_free(nxa_engine *engine) {
  if (!engine)
    return;
  engine->closed = true;
  close_calls(engine);
  while (engine->first_timer)
    nxa__timer_disarm(engine, engine->first_timer);
  close_multi(engine);
  drop_events(engine);
  nxa__descriptors_free(&engine->descriptors);
  nxa__engine_release(engine);
}

void nxa__engine_retain(nxa_engine *engine) {
  engine->count++;
}

void nxa__engine_release(nxa_engine *engine) {
  if (--engine->count == 0)
    nxa__release(engine);
}

bool nxa__engine_closed(const nxa_engine *engine) {
  return engine->closed;
}

/* ---- timers: a list in order of their due times */

/* The timer after which one belongs, NULL: before all. Looks from the end that is nearer in time. */
static nxa__timer *place_of(const nxa_engine *engine, int64_t due_ns) {
  const nxa__timer *first = engine->first_timer;
  nxa__timer *at = engine->last_timer;
  if (!at || due_ns < first->due_ns)
    return NULL;
  if (due_ns - first->due_ns > (at->due_ns - first->due_ns) / 2) {
    while (at->due_ns > due_ns)
      at = at->previous;
    return at;
  }
  for (at = engine->first_timer; at->next && at->next->due_ns <= due_ns;)
    at = at->next;
  return at;
}

static void insert_after(nxa_engine *engine, nxa__timer *timer, nxa__timer *previous) {
  nxa__timer *next = previous ? previous->next : engine->first_timer;
  timer->previous = previous;
  timer->next = next;
  *(previous ? &previous->next : &engine->first_timer) = timer;
  *(next ? &next->previous : &engine->last_timer) = timer;
}

void nxa__timer_arm(nxa_engine *engine, nxa__timer *timer, int64_t due_ns) {
  nxa__timer_disarm(engine, timer);
  if (engine->closed)
    return;
  timer->due_ns = due_ns;
  timer->armed = true;
  insert_after(engine, timer, place_of(engine, due_ns));
  engine->timer_count++;
}

void nxa__timer_disarm(nxa_engine *engine, nxa__timer *timer) {
  if (!timer->armed)
    return;
  *(timer->previous ? &timer->previous->next : &engine->first_timer) = timer->next;
  *(timer->next ? &timer->next->previous : &engine->last_timer) = timer->previous;
  timer->previous = timer->next = NULL;
  timer->armed = false;
  engine->timer_count--;
}

/* ---- events */

void nxa__event_init(nxa__event *event, nxa_event_type type, nxa_call *call) {
  memset(event, 0, sizeof *event);
  event->link.owner = event;
  event->type = type;
  event->call = call;
}

void nxa__engine_queue_event(nxa_engine *engine, nxa__event *event) {
  if (!event->link.list && !engine->closed)
    nxa__list_append(&engine->events, &event->link);
}

void nxa__event_remove(nxa__event *event) {
  nxa__list_remove(&event->link);
}

bool nxa_engine_next_event(nxa_engine *engine, nxa_event *event) {
  nxa__release(engine->pulled);
  engine->pulled = NULL;
  nxa__event *next = nxa__list_take(&engine->events);
  *event = (nxa_event){NXA_EVENT_NONE, NULL, NULL};
  if (!next)
    return false;
  event->type = next->type;
  event->call = next->call;
  if (next->type == NXA_EVENT_WARNING) {
    engine->pulled = (warning *)next;
    engine->warnings_unread--;
    event->text = engine->pulled->text;
  }
  return true;
}

static uint64_t hash_of(const char *text) {
  uint64_t hash = UINT64_C(14695981039346656037);
  for (; *text; text++)
    hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
  return hash;
}

static bool warned_before(nxa_engine *engine, uint64_t hash) {
  size_t kept = engine->warned_count < WARNINGS_REMEMBERED ? engine->warned_count : WARNINGS_REMEMBERED;
  for (size_t i = 0; i < kept; i++)
    if (engine->warned[i] == hash)
      return true;
  return false;
}

static void queue_warning(nxa_engine *engine, const char *text, size_t length) {
  warning *entry = nxa__allocate(sizeof *entry);
  if (!entry)
    return;
  nxa__event_init(&entry->event, NXA_EVENT_WARNING, NULL);
  nxa__text_line(entry->text, sizeof entry->text, text, length);
  uint64_t hash = hash_of(entry->text);
  if (warned_before(engine, hash)) {
    nxa__release(entry);
    return;
  }
  engine->warned[engine->warned_count++ % WARNINGS_REMEMBERED] = hash;
  engine->warnings_unread++;
  nxa__engine_queue_event(engine, &entry->event);
}

void nxa__engine_warn(nxa_engine *engine, const char *format, ...) {
  char text[600];
  if (engine->closed || engine->warnings_unread >= WARNINGS_UNREAD)
    return;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length > 0)
    queue_warning(engine, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

/* ---- calls and their transfers */

void nxa__engine_add_call(nxa_engine *engine, nxa__link *live) {
  nxa__list_append(&engine->calls, live);
}

void nxa__engine_queue_turn(nxa_engine *engine, nxa__link *turn, bool of_sink) {
  nxa__list_append(of_sink ? &engine->sink_turns : &engine->host_turns, turn);
}

static bool host_may_begin(const nxa_engine *engine) {
  return !nxa__list_empty(&engine->host_turns) && engine->counted < engine->max_transfers;
}

static bool may_begin(const nxa_engine *engine) {
  return !nxa__list_empty(&engine->sink_turns) || host_may_begin(engine);
}

static nxa__transfer *take_kept_transfer(nxa_engine *engine, const nxa_endpoint *endpoint) {
  nxa__link *link = engine->pool.first;
  while (link && !nxa__transfer_is_for(link->owner, endpoint))
    link = link->next;
  if (!link)
    return nxa__list_take(&engine->pool);
  nxa__list_cut(&engine->pool, link);
  return link->owner;
}

nxa__transfer *nxa__engine_take_transfer(nxa_engine *engine, nxa_call *call, nxa__frozen *request, bool counted) {
  nxa__transfer *transfer = take_kept_transfer(engine, request->endpoint);
  if (!transfer)
    transfer = nxa__transfer_new();
  if (!transfer)
    return NULL;
  if (!nxa__transfer_prepare(transfer, call, request)) {
    nxa__transfer_free(transfer);
    return NULL;
  }
  transfer->counted = counted;
  return transfer;
}

static void keep_transfer(nxa_engine *engine, nxa__transfer *transfer) {
  if (engine->pool.count >= KEPT_TRANSFERS || transfer->has_own_files) {
    nxa__transfer_free(transfer);
    return;
  }
  nxa__transfer_clear(transfer);
  nxa__list_append(&engine->pool, &transfer->link);
}

/* Takes it off the wire; it isn't libcurl's any more. */
static void retire_transfer(nxa_engine *engine, nxa__transfer *transfer) {
  curl_multi_remove_handle(engine->multi, transfer->easy);
  nxa__list_remove(&transfer->link);
  engine->counted -= transfer->counted;
}

nxa_kind nxa__engine_launch(nxa_engine *engine, nxa__transfer *transfer) {
  size_t descriptors = (engine->transfers.count + 1) * DESCRIPTORS_PER_TRANSFER;
  if (!nxa__descriptors_reserve(&engine->descriptors, descriptors) ||
      curl_multi_add_handle(engine->multi, transfer->easy) != CURLM_OK) {
    keep_transfer(engine, transfer);
    return NXA_MEMORY;
  }
  nxa__list_append(&engine->transfers, &transfer->link);
  engine->counted += transfer->counted;
  act_on_timeout(engine);
  return NXA_OK;
}

void nxa__engine_resume_transfer(nxa_engine *engine, nxa__transfer *transfer) {
  long milliseconds = -1;
  nxa__transfer_resume(transfer);
  /* libcurl goes on by its timer, and not all of its versions say so by themselves */
  if (curl_multi_timeout(engine->multi, &milliseconds) == CURLM_OK)
    on_libcurl_timer(engine->multi, milliseconds, engine);
}

void nxa__engine_drop_transfer(nxa_engine *engine, nxa__transfer *transfer) {
  transfer->call = NULL;
  if (transfer->resolving)
    return;
  retire_transfer(engine, transfer);
  keep_transfer(engine, transfer);
}

static void end_transfer(nxa_engine *engine, nxa__transfer *transfer, CURLcode code) {
  nxa_call *call = transfer->call;
  nxa__outcome outcome;
  if (call)
    nxa__transfer_outcome(transfer, code, &outcome);
  retire_transfer(engine, transfer);
  keep_transfer(engine, transfer);
  if (call)
    nxa__call_transfer_ended(call, &outcome);
}

/* ---- a step */

typedef struct stint {
  int64_t budget_ns;  /* 0: none */
  int64_t started_ns; /* moved on by the time spent waiting */
} stint;

static bool used_up(const stint *work) {
  return work->budget_ns > 0 && nxa__monotonic_true_ns() - work->started_ns >= work->budget_ns;
}

/* Phases return false where the budget cut them short; each does one piece at least. */

static bool admit(nxa_engine *engine, stint *work) {
  /* what a failed beginning makes its owner start waits for the next step */
  for (size_t left = engine->host_turns.count + engine->sink_turns.count; left > 0 && may_begin(engine); left--) {
    bool sinks = !nxa__list_empty(&engine->sink_turns) && (engine->sink_next || !host_may_begin(engine));
    nxa_call *call = nxa__list_take(sinks ? &engine->sink_turns : &engine->host_turns);
    engine->sink_next = !sinks;
    nxa__call_begin(call);
    if (used_up(work))
      return false;
  }
  return true;
}

static int libcurl_bits(short seen) {
  int bits = seen & (POLLIN | POLLHUP) ? CURL_CSELECT_IN : 0;
  bits |= seen & POLLOUT ? CURL_CSELECT_OUT : 0;
  return bits | (seen & (POLLERR | POLLNVAL) ? CURL_CSELECT_ERR : 0);
}

static bool handle_descriptors(nxa_engine *engine, stint *work) {
  int fd;
  short seen;
  while (nxa__descriptors_next_ready(&engine->descriptors, &fd, &seen)) {
    act(engine, fd, libcurl_bits(seen));
    if (used_up(work)) {
      engine->descriptors.cursor++;
      return false;
    }
  }
  return true;
}

static bool handle_libcurl_timer(nxa_engine *engine, stint *work) {
  if (!engine->libcurl_armed || nxa__monotonic_true_ns() < engine->libcurl_due_ns)
    return true;
  act_on_timeout(engine);
  return !used_up(work);
}

static bool fire_timers(nxa_engine *engine, stint *work) {
  if (!engine->first_timer)
    return true;
  int64_t now = nxa__monotonic_ns();
  /* one that arms itself again for now must not keep the step */
  for (size_t left = engine->timer_count; left > 0 && engine->first_timer; left--) {
    nxa__timer *timer = engine->first_timer;
    if (timer->due_ns > now)
      return true;
    nxa__timer_disarm(engine, timer);
    timer->fire(timer);
    if (used_up(work))
      return false;
  }
  return true;
}

/* Takes what libcurl has finished; cheap against the rest, so it isn't one of the phases. */
static void take_messages(nxa_engine *engine, stint *work) {
  int left;
  CURLMsg *message;
  engine->unread_messages = false;
  while ((message = curl_multi_info_read(engine->multi, &left))) {
    char *transfer = NULL;
    CURLcode code = message->data.result;
    if (message->msg == CURLMSG_DONE) {
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
      end_transfer(engine, (nxa__transfer *)(void *)transfer, code);
    }
    if (used_up(work)) {
      engine->unread_messages = left > 0;
      return;
    }
  }
}

static void do_phases(nxa_engine *engine, stint *work) {
  static bool (*const phases[PHASES])(nxa_engine *, stint *) = {
      [ADMISSION] = admit,
      [DESCRIPTORS] = handle_descriptors,
      [LIBCURL_TIMER] = handle_libcurl_timer,
      [TIMERS] = fire_timers,
  };
  int first = engine->phase;
  for (int i = 0; i < PHASES; i++) {
    int phase = (first + i) % PHASES;
    if (!phases[phase](engine, work)) {
      engine->phase = (phase + 1) % PHASES;
      break;
    }
  }
  if (engine->transfers.count > 0)
    take_messages(engine, work);
}

/* True where whoever steps has something to do now. */
static bool is_wanted(const nxa_engine *engine) {
  return engine->over ? engine->over(engine->over_data) : !nxa__list_empty(&engine->events);
}

/* How long nothing is to be done, if no descriptor moves; at most `most`. */
static int64_t idle_ns(const nxa_engine *engine, int64_t most) {
  if (is_wanted(engine) || may_begin(engine) || engine->unread_messages)
    return 0;
  if (engine->libcurl_armed)
    most = nxa__earlier(most, engine->libcurl_due_ns - nxa__monotonic_true_ns());
  if (engine->first_timer)
    most = nxa__earlier(most, engine->first_timer->due_ns - nxa__monotonic_ns());
  return most > 0 ? most : 0;
}

static int poll_timeout(int64_t wait_ns) {
  int64_t milliseconds = (wait_ns + 999999) / 1000000;
  return milliseconds < 1000000 ? (int)milliseconds : 1000000;
}

/* Looks at the descriptors, and waits for them up to `wait_ns`; false on a signal. */
static bool look(nxa_engine *engine, int64_t wait_ns, stint *work) {
  nxa__descriptors *table = &engine->descriptors;
  if (table->count == 0 && wait_ns <= 0)
    return true;
  int64_t before = wait_ns > 0 ? nxa__monotonic_true_ns() : 0;
  int ready = poll(table->entries, (nfds_t)table->count, poll_timeout(wait_ns));
  if (ready < 0)
    for (size_t i = 0; i < table->count; i++)
      table->entries[i].revents = 0;
  if (wait_ns > 0)
    work->started_ns += nxa__monotonic_true_ns() - before;
  return ready >= 0 || errno != EINTR;
}

static void step_until(nxa_engine *engine, int64_t end_ns, stint *work) {
  bool waiting = end_ns > work->started_ns;
  for (;;) {
    int64_t left = waiting ? end_ns - nxa__monotonic_true_ns() : 0;
    bool undisturbed = look(engine, left > 0 ? idle_ns(engine, left) : 0, work);
    do_phases(engine, work);
    if (left <= 0 || !undisturbed || is_wanted(engine))
      return;
    /* a clock that stands still would never let the wait end */
    if (used_up(work) || nxa__clock_is_fake())
      return;
  }
}

void nxa_engine_step(nxa_engine *engine, double timeout, double budget) {
  if (engine->stepping || engine->closed)
    return;
  int64_t now = timeout > 0 || budget > 0 ? nxa__monotonic_true_ns() : 0;
  stint work = {budget > 0 ? nxa__ns_of(budget) : 0, now};
  engine->stepping = true;
  step_until(engine, timeout > 0 ? now + nxa__ns_of(timeout) : now, &work);
  engine->stepping = false;
}

void nxa__engine_step_until(nxa_engine *engine, double timeout, bool (*over)(const void *data), const void *data) {
  engine->over = over;
  engine->over_data = data;
  nxa_engine_step(engine, timeout, 0);
  engine->over = NULL;
}

/* ---- hosts with a loop of their own */

size_t nxa_engine_fds(const nxa_engine *engine, nxa_fd *fds, size_t capacity) {
  const nxa__descriptors *table = &engine->descriptors;
  for (size_t i = 0; i < table->count && i < capacity; i++) {
    short events = table->entries[i].events;
    fds[i].fd = table->entries[i].fd;
    fds[i].events = (events & POLLIN ? NXA_READABLE : 0) | (events & POLLOUT ? NXA_WRITABLE : 0);
  }
  return table->count;
}

double nxa_engine_timeout(const nxa_engine *engine) {
  int64_t idle = idle_ns(engine, INT64_MAX);
  return idle == INT64_MAX ? -1 : nxa__seconds_of(idle);
}

void nxa_engine_feed(nxa_engine *engine, int fd, int events) {
  if (engine->stepping || engine->closed || nxa__descriptors_find(&engine->descriptors, fd) < 0)
    return;
  stint work = {0, 0};
  int bits = events & NXA_READABLE ? CURL_CSELECT_IN : 0;
  engine->stepping = true;
  act(engine, fd, bits | (events & NXA_WRITABLE ? CURL_CSELECT_OUT : 0));
  take_messages(engine, &work);
  engine->stepping = false;
}

double nxa_engine_now(const nxa_engine *engine) {
  (void)engine;
  return nxa__seconds_of(nxa__monotonic_ns());
}
