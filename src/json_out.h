/*
 * JSON written and spliced, never decoded: texts become JSON strings, JSON values given by the host are made safe to
 * pass on and cut where they are too long, one top-level string can be found in an answer, and members of what a
 * record holds.
 */
#ifndef NXA_JSON_OUT_H
#define NXA_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

/* A piece of JSON: a value in a text, not terminated. */
typedef struct nxa__json {
  char *text; /* NULL where absent */
  size_t length;
} nxa__json;

/* The least `limit` of the two below: room for the mark of a cut and something beside it. */
#define NXA__JSON_LEAST 96

/*
 * Writes `text` as a JSON string, or where that takes more than `limit` bytes, its beginning with a mark; `cut` (may be
 * NULL) tells. Bytes that are no UTF-8 become U+FFFD. Writes no terminating zero. `out` is NULL to
 * measure, else it has room for what was measured with the same limit. Returns the bytes it takes, never above `limit`.
 */
size_t nxa__json_string(char *out, size_t limit, const char *text, size_t length, bool *cut);

/* Appends all of a text as a JSON string. */
void nxa__json_append_string(nxa__buffer *out, const char *text, size_t length);

/*
 * Copies `json`, a valid JSON value, in the same way as nxa__json_string. Lone surrogates and bytes that are no UTF-8
 * become U+FFFD. Above `limit`, a string keeps its beginning and gets a mark, anything else becomes
 * {"cut":true,"bytes":n,"start":"…"}.
 */
size_t nxa__json_value(char *out, size_t limit, const char *json, size_t length, bool *cut);

/*
 * Finds the string member `key` of the top-level object in `json` and puts its text, zero-terminated and unescaped,
 * into `out`; control characters become blanks, and what has no room is left off at a character's boundary. False, and
 * "" in `out`, where there is no such member, it is no string, or the text before it isn't JSON.
 */
bool nxa__json_find_string(const char *json, size_t length, const char *key, char *out, size_t capacity);

/* ---- reading JSON that is known to be valid, such as that of a record: what they return is in the text */

/* The value of the member `key` of an object; absent where there is none, and where `json` is no object. */
nxa__json nxa__json_member(nxa__json json, const char *key);
/* The next element of an array; `rest` begins as the array and is moved on. Absent behind the last. */
nxa__json nxa__json_next(nxa__json *rest);
/* Writes the characters of a JSON string's inside, which take no more bytes than that does. Returns how many. */
size_t nxa__json_characters(char *out, nxa__json inside);

#endif
