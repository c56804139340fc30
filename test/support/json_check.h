/* A strict check of JSON for the tests: one value, valid UTF-8, no lone surrogates, no raw control characters. */
#ifndef JSON_CHECK_H
#define JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>

bool json_check(const char *json, size_t length);

#endif
