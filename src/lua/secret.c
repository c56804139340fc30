/*
 * Comparing what somebody sent with a secret of the environment, which stays out of Lua's memory.
 */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

/* As a header can carry it: of visible ASCII characters, one at least. */
static bool is_usable(const char *secret) {
  if (!secret || !*secret)
    return false;
  while (*secret > ' ' && *secret < 0x7F)
    secret++;
  return *secret == '\0';
}

/* Takes as long for what is nearly right as for what is all wrong: only the length of `text` is in its time. */
static bool equals(const char *text, size_t length, const char *secret, size_t secret_length) {
  volatile unsigned char difference = length != secret_length;
  for (size_t i = 0; i < length; i++)
    difference |= (unsigned char)(text[i] ^ secret[i % secret_length]);
  return difference == 0;
}

int nxa__lua_is_secret(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  const char *secret = getenv(nxa__lua_text(L, 1));
  if (!is_usable(secret))
    return nxa__lua_nothing(L);
  lua_pushboolean(L, equals(text, length, secret, strlen(secret)));
  return 1;
}
