#!/bin/sh
# Configures and builds into $BUILD (default: build). Prints nothing unless it fails.
#   sh dev/build.sh [CMake options]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/dev/absolute.sh"
build=$(absolute "${BUILD:-$root/build}")
mkdir -p "$build"
log=$build/build.log
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
if ! { cmake -S "$root" -B "$build" "$@" && cmake --build "$build" --parallel "$jobs"; } >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
