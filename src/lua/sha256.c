/*
 * SHA-256 (FIPS 180-4) as base64: by it a page says which script and style are its own.
 */
#include "binding.h"

#include <stdint.h>
#include <string.h>

#define BLOCK 64
#define DIGEST 32
#define LENGTH_AT (BLOCK - 8)

static const uint32_t ROUNDS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t word, int bits) {
  return (word >> bits) | (word << (32 - bits));
}

static uint32_t word_at(const unsigned char *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void expand(uint32_t words[64], const unsigned char *block) {
  for (int i = 0; i < 16; i++)
    words[i] = word_at(block + 4 * i);
  for (int i = 16; i < 64; i++) {
    uint32_t low = words[i - 15], high = words[i - 2];
    uint32_t first = rotate(low, 7) ^ rotate(low, 18) ^ (low >> 3);
    uint32_t second = rotate(high, 17) ^ rotate(high, 19) ^ (high >> 10);
    words[i] = words[i - 16] + first + words[i - 7] + second;
  }
}

/* One round; s is a to h of the standard. */
static void turn(uint32_t s[8], uint32_t addend) {
  uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]), majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
  uint32_t first = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + choice + addend;
  uint32_t second = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + majority;
  memmove(s + 1, s, 7 * sizeof *s);
  s[4] += first;
  s[0] = first + second;
}

static void digest_block(uint32_t state[8], const unsigned char *block) {
  uint32_t words[64], s[8];
  expand(words, block);
  memcpy(s, state, sizeof s);
  for (int i = 0; i < 64; i++)
    turn(s, ROUNDS[i] + words[i]);
  for (int i = 0; i < 8; i++)
    state[i] += s[i];
}

/* What is left after whole blocks, the mark of its end, and how long all was in bits. */
static void digest_rest(uint32_t state[8], const unsigned char *rest, size_t left, size_t length) {
  unsigned char last[2 * BLOCK] = {0};
  size_t size = left < LENGTH_AT ? BLOCK : 2 * BLOCK;
  memcpy(last, rest, left);
  last[left] = 0x80;
  for (size_t i = 0; i < 8; i++)
    last[size - 1 - i] = (unsigned char)((uint64_t)length * 8 >> (8 * i));
  for (size_t at = 0; at < size; at += BLOCK)
    digest_block(state, last + at);
}

static void digest(unsigned char out[DIGEST], const unsigned char *text, size_t length) {
  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  size_t whole = length - length % BLOCK;
  for (size_t at = 0; at < whole; at += BLOCK)
    digest_block(state, text + at);
  digest_rest(state, text + whole, length - whole, length);
  for (size_t i = 0; i < DIGEST; i++)
    out[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

/* 32 bytes are ten groups of three and two bytes more. */
static void push_base64(lua_State *L, const unsigned char in[DIGEST]) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned char padded[DIGEST + 1] = {0};
  char out[44];
  memcpy(padded, in, DIGEST);
  for (size_t group = 0; group < 11; group++) {
    const unsigned char *bytes = padded + 3 * group;
    uint32_t bits = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
    for (size_t i = 0; i < 4; i++)
      out[4 * group + i] = digits[bits >> (18 - 6 * i) & 63];
  }
  out[43] = '=';
  lua_pushlstring(L, out, sizeof out);
}

int nxa__lua_sha256(lua_State *L) {
  size_t length;
  unsigned char out[DIGEST];
  const char *text = luaL_checklstring(L, 1, &length);
  digest(out, (const unsigned char *)text, length);
  push_base64(L, out);
  return 1;
}
