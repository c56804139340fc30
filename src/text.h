/* Text: UTF-8, hexadecimal, timestamps. nxa_utf8_valid is in the public header. */
#ifndef NXA_TEXT_H
#define NXA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bytes the valid UTF-8 character at the start has (1 to 4), 0 where the bytes there are none. */
size_t nxa__utf8_length(const char *text, size_t length);
/* The longest cut of valid UTF-8 text of at most `limit` bytes that splits no character. */
size_t nxa__utf8_cut(const char *text, size_t length, size_t limit);
/*
 * Copies as one clean line into `out` of `size` bytes (zero-terminated): runs of white space and control characters
 * become one space, bad UTF-8 becomes U+FFFD, what doesn't fit is cut at a character's border and ends with "…".
 * Returns the length written.
 */
size_t nxa__text_line(char *out, size_t size, const char *text, size_t length);

/* Lower-case hexadecimal: writes 2 * count digits and a zero. */
void nxa__hex(char *out, const unsigned char *bytes, size_t count);

/*
 * "2026-03-01T12:34:56.789012Z" of Unix nanoseconds; years 0000 to 9999, others become the nearest. Nexus sorts spans
 * by this text, so that what began within a millisecond needs more digits to stay in order.
 */
#define NXA__TIMESTAMP_SIZE 28
void nxa__timestamp(char out[NXA__TIMESTAMP_SIZE], int64_t wall_ns);

/* ASCII only, whatever the locale. */
bool nxa__same_word(const char *a, size_t a_length, const char *b); /* ignoring case; `b` in lower case */
bool nxa__same_name(const char *a, const char *b, size_t length);   /* ignoring case */
/* Printable ASCII or bytes of 0x80 and above: no control characters; `space` says whether a space may be there. */
bool nxa__is_printable(const char *text, size_t length, bool space);
/* A token as in HTTP: what a header's name is made of; not empty. */
bool nxa__is_token(const char *text, size_t length);

#endif
