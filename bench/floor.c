/*
 * The floor the article's job is measured against: the same HTTP calls in plain C on libcurl, one handle, one
 * connection, bodies written by hand, ids found by strstr. No JSON, no tracing objects, no retries, no checks.
 *
 *   floor BASE_URL RUNS      BASE_URL without /v1, e.g. http://127.0.0.1:4040
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_CAPACITY = 1 << 20 };

typedef struct floor_state {
  CURL *handle;
  const char *base_url;
  struct curl_slist *openai_headers;
  struct curl_slist *nexus_headers;
  size_t length;
  char answer[ANSWER_CAPACITY];
} floor_state;

static size_t collect(char *bytes, size_t size, size_t count, void *data) {
  floor_state *state = data;
  size_t length = size * count;
  if (length >= ANSWER_CAPACITY - state->length) {
    return 0;
  }
  memcpy(state->answer + state->length, bytes, length);
  state->length += length;
  state->answer[state->length] = '\0';
  return length;
}

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "floor: %s: %s\n", what, detail);
  exit(1);
}

static void call(floor_state *state, struct curl_slist *headers, const char *path, const char *body) {
  char url[1024];
  long status = 0;
  snprintf(url, sizeof url, "%s%s", state->base_url, path);
  state->length = 0;
  state->answer[0] = '\0';
  curl_easy_setopt(state->handle, CURLOPT_URL, url);
  curl_easy_setopt(state->handle, CURLOPT_HTTPHEADER, headers);
  if (body) {
    curl_easy_setopt(state->handle, CURLOPT_POSTFIELDS, body);
  } else {
    curl_easy_setopt(state->handle, CURLOPT_HTTPGET, 1L);
  }
  CURLcode code = curl_easy_perform(state->handle);
  if (code != CURLE_OK) {
    fail(url, curl_easy_strerror(code));
  }
  curl_easy_getinfo(state->handle, CURLINFO_RESPONSE_CODE, &status);
  if (status / 100 != 2) {
    fail(url, state->answer);
  }
}

/* Copies the value of the first `"key":"…"` of the last answer. */
static void find(const floor_state *state, const char *key, char *value, size_t capacity) {
  char pattern[64];
  snprintf(pattern, sizeof pattern, "\"%s\":\"", key);
  const char *start = strstr(state->answer, pattern);
  if (!start) {
    fail("no such member in the answer", key);
  }
  start += strlen(pattern);
  size_t length = strcspn(start, "\"");
  if (length >= capacity) {
    fail("member too long", key);
  }
  memcpy(value, start, length);
  value[length] = '\0';
}

static void openai_calls(floor_state *state) {
  char thread[64], run[64], status[32], path[256];
  call(state, state->openai_headers, "/v1/threads", "{}");
  find(state, "id", thread, sizeof thread);
  snprintf(path, sizeof path, "/v1/threads/%s/messages", thread);
  call(state, state->openai_headers, path, "{\"role\":\"user\",\"content\":\"What is a trace?\"}");
  snprintf(path, sizeof path, "/v1/threads/%s/runs", thread);
  call(state, state->openai_headers, path, "{\"assistant_id\":\"asst_local\"}");
  find(state, "id", run, sizeof run);
  snprintf(path, sizeof path, "/v1/threads/%s/runs/%s", thread, run);
  do {
    call(state, state->openai_headers, path, NULL);
    find(state, "status", status, sizeof status);
  } while (strcmp(status, "queued") == 0 || strcmp(status, "in_progress") == 0);
  snprintf(path, sizeof path, "/v1/threads/%s/runs/%s/steps?order=asc&limit=100", thread, run);
  call(state, state->openai_headers, path, NULL);
  snprintf(path, sizeof path, "/v1/threads/%s/messages", thread);
  call(state, state->openai_headers, path, NULL);
}

static void span_call(floor_state *state, const char *trace, const char *name, const char *fields) {
  char path[128], body[1024];
  snprintf(path, sizeof path, "/api/v1/traces/%s/spans", trace);
  snprintf(body, sizeof body,
           "{\"name\":\"%s\",\"status\":\"ok\",\"started_at\":\"2026-11-22T12:00:00.000Z\","
           "\"ended_at\":\"2026-11-22T12:00:00.100Z\"%s}",
           name, fields);
  call(state, state->nexus_headers, path, body);
}

static void nexus_calls(floor_state *state) {
  char trace[64], parent[64], fields[512];
  call(
      state, state->nexus_headers, "/api/v1/traces",
      "{\"agent_id\":\"bench\",\"name\":\"article\",\"status\":\"success\",\"started_at\":\"2026-11-22T12:00:00.000Z\","
      "\"ended_at\":\"2026-11-22T12:00:00.500Z\",\"metadata\":{\"input\":\"What is a "
      "trace?\",\"run.status\":\"completed\","
      "\"run.usage.total_tokens\":30,\"output\":\"You said: What is a trace?\"}}");
  find(state, "trace_id", trace, sizeof trace);
  span_call(state, trace, "thread.create", ",\"output\":{\"threadId\":\"thread_0123456789abcdef01234567\"}");
  span_call(state, trace, "thread.messages.create",
            ",\"input\":{\"metadata\":{\"threadId\":\"thread_0123456789abcdef01234567\"}}");
  span_call(state, trace, "threads.runs.createAndPoll",
            ",\"input\":{\"type\":\"llm\",\"metadata\":{\"assistantId\":\"asst_local\"}},\"output\":{\"status\":"
            "\"completed\",\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":10,\"total_tokens\":30}}");
  find(state, "span_id", parent, sizeof parent);
  snprintf(fields, sizeof fields,
           ",\"parent_span_id\":\"%s\",\"input\":{\"metadata\":{\"stepId\":\"step_0123456789abcdef01234567\"}}",
           parent);
  span_call(state, trace, "step.message_creation", fields);
  span_call(state, trace, "thread.messages.list", ",\"output\":{\"messageCount\":2}");
}

static void set_up(floor_state *state, const char *base_url) {
  state->base_url = base_url;
  state->handle = curl_easy_init();
  state->openai_headers = curl_slist_append(NULL, "Authorization: Bearer local");
  state->openai_headers = curl_slist_append(state->openai_headers, "Content-Type: application/json");
  state->openai_headers = curl_slist_append(state->openai_headers, "OpenAI-Beta: assistants=v2");
  state->nexus_headers = curl_slist_append(NULL, "Authorization: Bearer nxs_local");
  state->nexus_headers = curl_slist_append(state->nexus_headers, "Content-Type: application/json");
  if (!state->handle || !state->openai_headers || !state->nexus_headers) {
    fail("libcurl", "out of memory");
  }
  curl_easy_setopt(state->handle, CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(state->handle, CURLOPT_WRITEDATA, state);
  curl_easy_setopt(state->handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(state->handle, CURLOPT_ACCEPT_ENCODING, "gzip");
}

int main(int argc, char **argv) {
  static floor_state state;
  if (argc != 3) {
    fprintf(stderr, "usage: floor BASE_URL RUNS\n");
    return 2;
  }
  curl_global_init(CURL_GLOBAL_DEFAULT);
  set_up(&state, argv[1]);
  for (long left = strtol(argv[2], NULL, 10); left > 0; left--) {
    openai_calls(&state);
    nexus_calls(&state);
  }
  curl_slist_free_all(state.openai_headers);
  curl_slist_free_all(state.nexus_headers);
  curl_easy_cleanup(state.handle);
  curl_global_cleanup();
  return 0;
}
