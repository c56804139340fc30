# Sourced by the benches: starts the local server on a free port, and points the environment at it.
. "$(dirname "$0")/common.sh"
start_server "$root/bin/nexus-assistants" serve --port 0 --quiet ${SERVE_OPTIONS:-}
export OPENAI_BASE_URL="$server_url/v1" OPENAI_API_KEY=sk-local ASSISTANT_ID=asst_local
export NEXUS_BASE_URL="$server_url" NEXUS_API_KEY=nxs_local
