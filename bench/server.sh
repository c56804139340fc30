# Sourced by the benches: builds, starts the local server on a free port, and points the environment at it.
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build}
{
  [ -f "$build/CMakeCache.txt" ] || cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release
  cmake --build "$build" -j 2
} >/dev/null

# The interpreter itself, so that what is measured isn't the shell that dev/lua is.
. "$root/dev/find_lua.sh"
export LUA_PATH_5_4="$root/lua/?.lua;$root/lua/?/init.lua;;" LUA_CPATH_5_4="$build/lua/?.so;;"

scratch=$(mktemp -d)
mkfifo "$scratch/first_line"
"$lua" "$root/bin/nexus-assistants" serve --port 0 --quiet ${SERVE_OPTIONS:-} >"$scratch/first_line" &
server=$!
trap 'kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT INT TERM
read -r line <"$scratch/first_line"
server_url=${line#listening on }

export OPENAI_BASE_URL="$server_url/v1" OPENAI_API_KEY=local ASSISTANT_ID=asst_local
export NEXUS_BASE_URL="$server_url" NEXUS_API_KEY=nxs_local
