#include "retry.h"

#include <curl/curl.h>
#include <stdlib.h>

/* A server that asks for more is answered with our own delay, as the official SDKs do. */
static const double longest_asked = 60;
static const double first_delay = 0.5;
static const double longest_delay = 8;

static bool worth_repeating(const nxa__retry_facts *facts) {
  if (facts->hopeless)
    return false;
  if (facts->status == 0)
    return facts->kind == NXA_CONNECTION || facts->kind == NXA_TIMEOUT;
  if (facts->kind == NXA_TOO_LARGE || facts->kind == NXA_MEMORY || facts->kind == NXA_PROTOCOL)
    return false;
  if (facts->should_retry >= 0)
    return facts->should_retry > 0;
  /* a 2xx whose body was lost on the way */
  if (facts->kind == NXA_CONNECTION || facts->kind == NXA_TIMEOUT)
    return true;
  return facts->status == 408 || facts->status == 409 || facts->status == 429 || facts->status >= 500;
}

static double own_delay(int attempts, double random) {
  double delay = first_delay;
  for (int i = 1; i < attempts && delay < longest_delay; i++)
    delay *= 2;
  if (delay > longest_delay)
    delay = longest_delay;
  return delay * (1 - random * 0.25);
}

double nxa__retry_delay(const nxa__retry_facts *facts, double random) {
  if (facts->attempts > facts->retries || !worth_repeating(facts))
    return -1;
  double delay = facts->retry_after;
  if (delay < 0 || delay > longest_asked)
    delay = own_delay(facts->attempts, random);
  return delay < facts->remaining ? delay : -1;
}

static bool only_blanks(const char *text) {
  while (*text == ' ' || *text == '\t')
    text++;
  return *text == '\0';
}

/* Decimal notation alone, whatever the locale: strtod would also take "inf", "nan", "0x10" and a decimal comma. */
static double decimal(const char *text) {
  double value = 0, scale = 1;
  int digits = 0;
  while (*text == ' ' || *text == '\t')
    text++;
  for (; *text >= '0' && *text <= '9'; text++, digits++)
    value = value * 10 + (*text - '0');
  if (*text == '.')
    for (text++; *text >= '0' && *text <= '9'; text++, digits++)
      value += (*text - '0') * (scale /= 10);
  /* a limit keeps what comes of it finite */
  return digits > 0 && only_blanks(text) ? (value < 1e9 ? value : 1e9) : -1;
}

double nxa__retry_after(const char *value, int64_t wall_ns) {
  double seconds = decimal(value);
  if (seconds >= 0)
    return seconds;
  time_t date = curl_getdate(value, NULL);
  if (date == (time_t)-1)
    return -1;
  double wait = (double)date - (double)wall_ns / 1e9;
  return wait > 0 ? wait : 0;
}

double nxa__milliseconds_header(const char *value) {
  double milliseconds = decimal(value);
  return milliseconds < 0 ? -1 : milliseconds / 1000;
}
