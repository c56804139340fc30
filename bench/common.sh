# Sourced by the benches: builds, and gives start_server.
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build}
{
  [ -f "$build/CMakeCache.txt" ] || cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release
  cmake --build "$build" -j 2
} >/dev/null

# The interpreter itself, so that what is measured isn't the shell that dev/lua is.
. "$root/dev/find_lua.sh"
export LUA_PATH_5_4="$root/lua/?.lua;$root/lua/?/init.lua;;" LUA_CPATH_5_4="$build/lua/?.so;;"

# Runs a Lua program in the background whose first line says "listening on URL"; sets server and server_url.
start_server() {
  scratch=$(mktemp -d)
  mkfifo "$scratch/first_line"
  "$lua" "$@" >"$scratch/first_line" &
  server=$!
  trap 'kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT INT TERM
  read -r line <"$scratch/first_line"
  server_url=${line#listening on }
}
