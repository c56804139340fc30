# Sourced: sets `lua` to a Lua 5.4 interpreter, "" where there is none. NXA_LUA_PROGRAM names another one.
find_lua() {
  for name in ${NXA_LUA_PROGRAM:-} lua5.4 lua54 lua-5.4 /opt/homebrew/opt/lua@5.4/bin/lua /usr/local/opt/lua@5.4/bin/lua lua; do
    lua=$(command -v "$name") || continue
    [ "$("$lua" -e 'io.write(_VERSION)' 2>/dev/null)" != "Lua 5.4" ] || return 0
  done
  lua=""
}
find_lua
