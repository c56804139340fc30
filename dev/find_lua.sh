# Sourced: sets `lua` to a Lua 5.4 interpreter, "" where there is none. NXA_LUA_PROGRAM names the one to take.
is_lua_54() {
  lua=$(command -v "$1") && [ "$("$lua" -e 'io.write(_VERSION)' 2>/dev/null)" = "Lua 5.4" ]
}

find_lua() {
  if [ -n "${NXA_LUA_PROGRAM:-}" ]; then
    is_lua_54 "$NXA_LUA_PROGRAM" && return 0
    echo "NXA_LUA_PROGRAM is no Lua 5.4: $NXA_LUA_PROGRAM" >&2
    exit 1
  fi
  for name in lua5.4 lua54 lua-5.4 /opt/homebrew/opt/lua@5.4/bin/lua /usr/local/opt/lua@5.4/bin/lua lua; do
    is_lua_54 "$name" && return 0
  done
  lua=""
}
find_lua
