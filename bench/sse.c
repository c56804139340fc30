/*
 * How fast the parser of server-sent events is on what a chat sends: short events of JSON, cut into pieces as libcurl
 * hands them out. Events are counted, not kept.
 *
 *   sse [MEGABYTES]
 *
 * Prints the best of several rounds. Ends with 3 where that is below 300 MB/s.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sse.h"

enum { PIECE = 16 * 1024, ROUNDS = 7, BELOW_LIMIT = 3 };

static const double least_speed = 300e6; /* bytes a second */

typedef struct tally {
  size_t events, bytes;
} tally;

static nxa_kind count(void *data, const nxa_stream_event *event) {
  tally *all = data;
  all->events++;
  all->bytes += event->data_length;
  return NXA_OK;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* One token of an Assistants stream, then one of chat completions. */
static void append_events(nxa__buffer *text, int number) {
  static const char *const words[] = {"The", " weather", " in", " Paris", " is", " mild\\n", " caf\xC3\xA9", ","};
  const char *word = words[number % 8];
  nxa__buffer_append_format(text,
                            "event: thread.message.delta\ndata: {\"id\":\"msg_%024d\",\"object\":\"thread.message."
                            "delta\",\"delta\":{\"content\":[{\"index\":0,\"type\":\"text\",\"text\":{\"value\":\"%s\"}"
                            "}]}}\n\n",
                            number, word);
  nxa__buffer_append_format(text,
                            "data: {\"id\":\"chatcmpl-%d\",\"object\":\"chat.completion.chunk\",\"created\":1772368496,"
                            "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},"
                            "\"finish_reason\":null}]}\n\n",
                            number, word);
}

static tally parse(const nxa__buffer *text) {
  tally all = {0, 0};
  nxa__sse parser;
  nxa__sse_init(&parser, 1 << 20, count, &all);
  for (size_t at = 0; at < text->length; at += PIECE) {
    size_t left = text->length - at;
    if (nxa__sse_feed(&parser, text->data + at, left < PIECE ? left : PIECE) != NXA_OK)
      exit(1);
  }
  nxa__sse_free(&parser);
  return all;
}

static double best_speed(const nxa__buffer *text, size_t events) {
  double best = 0;
  for (int round = 0; round < ROUNDS; round++) {
    double start = now();
    tally all = parse(text);
    double speed = (double)text->length / (now() - start);
    if (all.events != events) {
      fprintf(stderr, "sse: %zu events of %zu\n", all.events, events);
      exit(1);
    }
    best = speed > best ? speed : best;
  }
  return best;
}

int main(int count_of_arguments, char **arguments) {
  size_t length = (count_of_arguments > 1 ? strtoul(arguments[1], NULL, 10) : 32) * 1000000, events = 0;
  nxa__buffer text;
  nxa__buffer_init(&text, length + 1000);
  for (int number = 0; text.length < length; number++, events += 2)
    append_events(&text, number);
  if (text.state != NXA_OK)
    return 1;
  double speed = best_speed(&text, events);
  printf("%zu events, %.0f bytes each: %.0f MB/s, %.1f million events/s (at least %.0f MB/s)\n", events,
         (double)text.length / (double)events, speed / 1e6, speed / (double)text.length * (double)events / 1e6,
         least_speed / 1e6);
  nxa__buffer_free(&text);
  return speed >= least_speed ? 0 : BELOW_LIMIT;
}
