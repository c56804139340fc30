#!/bin/sh
# Sets up, builds, and runs all tests: the C tests, then the specs. The last line is "N passed, N failed".
#   sh dev/test.sh
#   BUILD            the build folder; default build-test
#   NXA_SANITIZE=1   with AddressSanitizer and UndefinedBehaviorSanitizer
#   NXA_TESTS        "c" or "specs": only these
#   NXA_WERROR=1     warnings are errors
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
sanitize=${NXA_SANITIZE:-0}
. "$root/dev/absolute.sh"
BUILD=$(absolute "${BUILD:-$root/build-test}")
[ "$sanitize" = 0 ] || BUILD=$BUILD-asan
export BUILD
passed=0 failed=0 skipped=0

finish() {
  echo
  total="$passed passed, $failed failed"
  [ "$skipped" = 0 ] || total="$total, $skipped skipped"
  echo "$total"
  [ "$failed" = 0 ] && [ "$passed" != 0 ]
  exit
}

fail() {
  echo "$1" >&2
  failed=$((failed + 1))
}

build() {
  set -- -DBUILD_TESTING=ON -DNXA_WERROR="${NXA_WERROR:-OFF}"
  if [ "$sanitize" = 0 ]; then
    set -- "$@" -DCMAKE_BUILD_TYPE=Release
  else
    set -- "$@" -DCMAKE_BUILD_TYPE=Debug -DNXA_SANITIZE=ON
  fi
  sh "$root/dev/build.sh" "$@"
}

# How many results of a kind, "ok" or "not ok", a test program told that it didn't skip: cmocka calls those "not ok".
results() {
  grep "^$1 " "$BUILD/$name.tap" | grep -civ '# skip'
}

# A test program that dies counts as one that failed, whatever it had printed.
run_c_test() {
  name=$(basename "$1")
  CMOCKA_MESSAGE_OUTPUT=TAP "$1" >"$BUILD/$name.tap" 2>"$BUILD/$name.err"
  status=$?
  ok=$(results ok) not_ok=$(results "not ok")
  skip=$(grep -ci '^[a-z ]*ok .*# skip' "$BUILD/$name.tap")
  passed=$((passed + ok)) failed=$((failed + not_ok)) skipped=$((skipped + skip))
  if [ "$status" != 0 ] || [ "$not_ok" != 0 ] || [ "$((ok + skip))" = 0 ]; then
    cat "$BUILD/$name.tap" "$BUILD/$name.err" >&2
    [ "$not_ok" != 0 ] || fail "$name ended with $status"
  fi
  echo "$name: $ok ok, $not_ok not ok"
}

run_c_tests() {
  for test in "$BUILD"/test/*_test; do
    [ -x "$test" ] || { fail "no C tests were built"; return; }
    run_c_test "$test"
  done
}

# What takes longest goes beside the rest, since most of it waits for other programs; what measures times goes alone.
beside="otlp_spool page recordings spool spool_kill store_kill"
alone="delivery replay"

number_before() {
  sed -n "s/.*[^0-9]\([0-9][0-9]*\) $1.*/\1/p" "$BUILD/specs.summary"
}

# busted ends with "N successes / N failures / N errors / N pending : N seconds".
count_specs() {
  sed -n 's,^\([0-9][0-9]* success.*/.*pending.*\)$, \1,p' "$BUILD/specs.$1.log" | tail -n 1 >"$BUILD/specs.summary"
  status=$(cat "$BUILD/specs.$1.status")
  good=$(number_before success) bad=$(number_before failure) broken=$(number_before error) pending=$(number_before pending)
  [ -n "$good" ] || { fail "busted ended with $status and without a summary"; return; }
  passed=$((passed + good)) failed=$((failed + bad + broken)) skipped=$((skipped + pending))
  [ "$status" = 0 ] || [ "$((bad + broken))" != 0 ] || fail "busted ended with $status"
}

# The files of those named, or, where the first word is "but", of all others.
files_of() {
  for file in spec/*_spec.lua; do
    name=${file#spec/} wanted=no
    case " $* " in *" ${name%_spec.lua} "*) wanted=yes ;; esac
    case $1-$wanted in but-no) echo "$file" ;; but-yes) ;; *-yes) echo "$file" ;; esac
  done
}

# Into a log, too: busted_on NAME FILE …
busted_on() {
  part=$1
  shift
  { "$root/dev/lua" "$root/dev/busted.lua" -o plainTerminal "$@" 2>&1; echo $? >"$BUILD/specs.$part.status"; } |
    tee "$BUILD/specs.$part.log"
}

# The names have no blanks in them.
# shellcheck disable=SC2046,SC2086
run_specs() {
  cd "$root" || exit
  busted_on beside $(files_of $beside) >/dev/null &
  busted_on rest $(files_of but $beside $alone)
  wait
  cat "$BUILD/specs.beside.log"
  busted_on alone $(files_of $alone)
  for part in rest beside alone; do count_specs $part; done
}

sh "$root/dev/deps.sh" test || { fail "what the tests need could not be installed"; finish; }
build || { fail "the build failed"; finish; }
if [ "$sanitize" != 0 ]; then
  # The interpreter has no ASan in it, so the runtime must come first.
  NXA_PRELOAD=$("${CC:-cc}" -print-file-name=libasan.so)
  export NXA_PRELOAD UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
fi
case ${NXA_TESTS:-all} in all | c) run_c_tests ;; esac
case ${NXA_TESTS:-all} in all | specs) run_specs ;; esac
finish
