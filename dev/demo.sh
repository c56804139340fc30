#!/bin/sh
# From nothing to a traced run: sets up, builds, runs examples/assistant.lua against a local server and then, the same
# script, with threads and runs in its own process, and shows the trace of each.
# With OPENAI_API_KEY, OPENAI_BASE_URL and NEXUS_API_KEY in the environment, all three, it uses those instead, once.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
sh "$root/dev/deps.sh" demo
sh "$root/dev/build.sh"

scratch=$(mktemp -d)
server=""
clean_up() {
  [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || :
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Its first line says where it listens; reading that waits for it.
start_server() {
  mkfifo "$scratch/first_line"
  "$root/dev/lua" "$root/bin/nexus-assistants" serve --port 0 --quiet --model-script "$root/examples/weather_model.lua" \
    >"$scratch/first_line" &
  server=$!
  read -r line <"$scratch/first_line" || { echo "dev/demo.sh: the local server did not start" >&2; exit 1; }
  url=${line#listening on }
}

# `run` says what an interruption is, without a place in the library's code.
ask() {
  "$root/dev/lua" "$root/bin/nexus-assistants" run "$root/examples/assistant.lua" "What is the weather in Paris?"
  echo
  "$root/dev/lua" "$root/bin/nexus-assistants" view
}

if [ -n "${OPENAI_API_KEY:-}" ] && [ -n "${OPENAI_BASE_URL:-}" ] && [ -n "${NEXUS_API_KEY:-}" ]; then
  echo "dev/demo.sh: using $OPENAI_BASE_URL, as the environment says" >&2
  ask
  exit
fi

# what the environment says of models, stores and traces of one's own isn't for the demo, nor is the way to servers
unset NEXUS_ASSISTANTS_PROVIDER NEXUS_ASSISTANTS_STORE NEXUS_ASSISTANTS_SCRIPT OPENAI_MODEL NEXUS_ASSISTANTS_CAPTURE \
  NEXUS_ASSISTANTS_POLL_INTERVAL NEXUS_AGENT_ID TRACEPARENT OTEL_EXPORTER_OTLP_ENDPOINT \
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
# nothing would ever deliver what is left of it: its server is gone then
export no_proxy=127.0.0.1 NEXUS_ASSISTANTS_SPOOL=off
start_server
export OPENAI_API_KEY=sk-local OPENAI_BASE_URL="$url/v1" ASSISTANT_ID=asst_local
export NEXUS_API_KEY=nxs_local NEXUS_BASE_URL="$url"
echo "Over HTTP, to a server of the Assistants protocol (nexus-assistants serve):"
ask
echo
echo "The same script with threads and runs in its own process (NEXUS_ASSISTANTS_PROVIDER=script):"
NEXUS_ASSISTANTS_PROVIDER=script NEXUS_ASSISTANTS_SCRIPT="$root/examples/weather_model.lua" ask
