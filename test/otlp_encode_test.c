/* What recorded spans look like in both encodings of OTLP, byte for byte. */
/* clang-format off
 * nxa-links: alloc buffer clock error random text json_out trace traceparent export otlp_content otlp_json otlp_protobuf otlp_resource otlp_span otlp_value pairs
 * clang-format on */
#include "support/fake_transport.h"

#include "alloc.h"
#include "otlp.h"
#include "support/json_check.h"
#include "text.h"

typedef struct fixture {
  nxa_engine *engine;
  nxa_tracer *tracer;
  nxa_trace *trace;
  nxa_span *span;
  bool content;
} fixture;

static void start(fixture *fix, const char *name, const char *type) {
  nxa_error error;
  fix->engine = fake_engine();
  fix->tracer = nxa_tracer_new(fix->engine, NULL, &error);
  fix->trace = nxa_trace_start(fix->tracer, "weather-bot", "weather");
  fix->span = nxa_span_start(fix->trace, NULL, name, type);
  assert_non_null(fix->span);
  strcpy(fix->trace->id, "000102030405060708090a0b0c0d0e0f");
  strcpy(fix->trace->span_id, "10111213141516f7");
  strcpy(fix->span->id, "f0e0d0c0b0a09080");
  fix->content = false;
}

static void stop(fixture *fix) {
  nxa_span_free(fix->span);
  nxa_trace_free(fix->trace);
  nxa_tracer_free(fix->tracer);
  nxa_engine_free(fix->engine);
  nxa__clock_real();
}

static void meta(fixture *fix, const char *key, const char *json) {
  nxa_span_set_metadata(fix->span, key, json, strlen(json));
}

static void input(fixture *fix, const char *json) {
  nxa_span_set_input(fix->span, json, strlen(json));
}

static void output(fixture *fix, const char *json) {
  nxa_span_set_output(fix->span, json, strlen(json));
}

static void end(fixture *fix, nxa_span_status status) {
  pass(2 * MILLISECOND);
  nxa_span_end(fix->span, status);
}

/* One span alone, without what stands around it. */
static char *span_json(fixture *fix) {
  static nxa__otlp_span span;
  nxa__buffer body;
  nxa__buffer_init(&body, SIZE_MAX);
  nxa__otlp_batch batch = {.body = &body};
  assert_true(nxa__otlp_of_span(&span, fix->span, fix->content));
  nxa__otlp_json.span(&batch, &span);
  nxa__otlp_span_free(&span);
  assert_true(json_check(body.data, body.length));
  return body.data;
}

#define HEAD                                                                                                           \
  "{\"traceId\":\"000102030405060708090a0b0c0d0e0f\",\"spanId\":\"f0e0d0c0b0a09080\",\"parentSpanId\":"                \
  "\"10111213141516f7\",\"name\":\""
#define TIMES                                                                                                          \
  "\"startTimeUnixNano\":\"1772368496789000000\",\"endTimeUnixNano\":\"1772368496791000000\",\"attributes\":["

static void expect_span(fixture *fix, const char *name, int kind, const char *attributes, const char *status) {
  char expected[8192];
  char *got = span_json(fix);
  snprintf(expected, sizeof expected, HEAD "%s\",\"kind\":%d," TIMES "%s],\"status\":%s}", name, kind, attributes,
           status);
  assert_string_equal(got, expected);
  nxa__release(got);
}

#define S(key, value) "{\"key\":\"" key "\",\"value\":{\"stringValue\":\"" value "\"}}"
#define I(key, value) "{\"key\":\"" key "\",\"value\":{\"intValue\":\"" value "\"}}"

/* ------------------------------------------------------------------------------------------------ values */

static void values_keep_their_types(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "polish", "function");
  meta(&fix, "text", "\"a \\\"b\\\" \\u00e9 \xC3\xA9\"");
  meta(&fix, "whole", "-42");
  meta(&fix, "large", "9223372036854775807");
  meta(&fix, "larger", "9223372036854775808");
  meta(&fix, "half", "0.5");
  meta(&fix, "endless", "1e999");
  meta(&fix, "yes", "true");
  meta(&fix, "nothing", "null");
  meta(&fix, "object", "{\"a\":[1,\"x\"]}");
  end(&fix, NXA_SPAN_OK);
  expect_span(
      &fix, "polish", 1,
      S("text", "a \\\"b\\\" \\u00e9 \xC3\xA9") "," I("whole", "-42") "," I(
          "large", "9223372036854775807") ","
                                          "{\"key\":\"larger\",\"value\":{\"doubleValue\":9223372036854775808}},"
                                          "{\"key\":\"half\",\"value\":{\"doubleValue\":0.5}}," S(
                                              "endless",
                                              "1e999") ","
                                                       "{\"key\":\"yes\",\"value\":{\"boolValue\":true}}," S(
                                                           "object",
                                                           "{\\\"a\\\":[1,\\\"x\\\"]}") "," S("nexus.span.type",
                                                                                              "function"),
      "{}");
  stop(&fix);
}

static void more_attributes_than_128_are_counted(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "polish", NULL);
  for (int i = 0; i < 130; i++) {
    char key[8];
    snprintf(key, sizeof key, "k%d", i);
    meta(&fix, key, "1");
  }
  end(&fix, NXA_SPAN_OK);
  char *got = span_json(&fix);
  assert_non_null(strstr(got, I("k127", "1") "],\"droppedAttributesCount\":2,\"status\":{}}"));
  nxa__release(got);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ conventions */

static void a_run_is_the_invocation_of_an_agent(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "threads.runs.createAndPoll", "llm");
  meta(&fix, "threadId", "\"thread_1\"");
  meta(&fix, "runId", "\"run_1\"");
  meta(&fix, "assistantId", "\"asst_1\"");
  input(&fix, "{\"instructions\":\"secret\"}");
  output(&fix, "{\"status\":\"completed\",\"model\":\"gpt-4o\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,"
               "\"total_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":2}}}");
  end(&fix, NXA_SPAN_OK);
  expect_span(
      &fix, "invoke_agent", 3,
      S("gen_ai.conversation.id", "thread_1") "," S("openai.run.id", "run_1") "," S("gen_ai.agent.id", "asst_1") "," S("gen_ai.operation.name", "invoke_agent") "," S(
          "gen_ai.provider.name",
          "openai") "," S("nexus.span.name",
                          "threads.runs.createAndPoll") "," S("gen_ai.request.model",
                                                              "gpt-4o") "," S("openai.run.status",
                                                                              "completed") "," I("gen_ai.usage.input_"
                                                                                                 "tokens",
                                                                                                 "7") "," I("gen_ai."
                                                                                                            "usage."
                                                                                                            "output_"
                                                                                                            "tokens",
                                                                                                            "3") "," I("gen_ai.usage.cache_read.input_tokens",
                                                                                                                       "2"),
      "{}");
  stop(&fix);
}

static void a_run_that_failed_says_why(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "threads.runs.createAndPoll", "llm");
  meta(&fix, "runId", "\"run_1\"");
  output(&fix, "{\"status\":\"failed\",\"last_error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"m\"}}");
  nxa_span_set_error(fix.span, "run: the run failed \"hard\"");
  end(&fix, NXA_SPAN_ERROR);
  expect_span(
      &fix, "invoke_agent", 3,
      S("openai.run.id", "run_1") "," S("gen_ai.operation.name", "invoke_agent") "," S(
          "gen_ai.provider.name",
          "openai") "," S("nexus.span.name", "threads.runs.createAndPoll") "," S("openai.run.status",
                                                                                 "failed") "," S("error.type",
                                                                                                 "rate_limit_exceeded"),
      "{\"message\":\"run: the run failed \\\"hard\\\"\",\"code\":2}");
  stop(&fix);
}

static void a_question_to_a_model_is_a_chat(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "chat gpt-x", "llm");
  meta(&fix, "runId", "\"run_1\"");
  meta(&fix, "model", "\"gpt-x\"");
  output(&fix, "{\"text\":\"usage\",\"usage\":{\"input_tokens\":7,\"output_tokens\":3},\"model\":\"gpt-x-1\","
               "\"incomplete\":\"content_filter\"}");
  end(&fix, NXA_SPAN_OK);
  expect_span(
      &fix, "chat gpt-x", 3,
      S("openai.run.id", "run_1") "," S("gen_ai.request.model", "gpt-x") "," S("gen_ai.operation.name", "chat") "," S(
          "gen_ai.provider.name",
          "openai") "," S("gen_ai.response.model",
                          "gpt-x-1") "," I("gen_ai.usage.input_tokens",
                                           "7") "," I("gen_ai.usage.output_tokens",
                                                      "3") ","
                                                           "{\"key\":\"gen_ai.response.finish_reasons\",\"value\":{"
                                                           "\"arrayValue\":{\"values\":[{\"stringValue\":"
                                                           "\"content_filter\"}]}}}",
      "{}");
  stop(&fix);
}

static void a_tool_is_executed(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "tool get_weather", "tool");
  meta(&fix, "toolCallId", "\"call_1\"");
  input(&fix, "{\"city\":\"Bern\"}");
  output(&fix, "\"18 C\"");
  nxa_span_set_error(fix.span, "it rains");
  fix.content = true;
  end(&fix, NXA_SPAN_ERROR);
  expect_span(
      &fix, "execute_tool get_weather", 1,
      S("gen_ai.tool.call.id", "call_1") "," S("gen_ai.operation.name", "execute_tool") "," S(
          "gen_ai.tool.name",
          "get_weather") "," S("gen_ai.tool.type",
                               "function") "," S("gen_ai.tool.call.arguments",
                                                 "{\\\"city\\\":\\\"Bern\\\"}") "," S("gen_ai.tool.call.result",
                                                                                      "18 C") "," S("error.type",
                                                                                                    "_OTHER"),
      "{\"message\":\"it rains\",\"code\":2}");
  stop(&fix);
}

static void a_step_of_the_api_is_a_tool_of_its_type(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "step.file_search", "tool");
  meta(&fix, "stepId", "\"step_1\"");
  end(&fix, NXA_SPAN_OK);
  expect_span(&fix, "execute_tool file_search", 1,
              S("openai.step.id", "step_1") "," S("gen_ai.operation.name", "execute_tool") "," S(
                  "gen_ai.tool.name", "file_search") "," S("gen_ai.tool.type", "datastore"),
              "{}");
  stop(&fix);
}

static void a_call_of_the_api_is_a_clients(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "thread.messages.create", NULL);
  input(&fix, "{\"content\":\"secret\"}");
  end(&fix, NXA_SPAN_OK);
  expect_span(&fix, "thread.messages.create", 3, "", "{}");
  stop(&fix);
}

static void an_assistant_is_created_as_an_agent(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "assistants.create", NULL);
  input(&fix, "{\"model\":\"gpt-x\",\"name\":\"Ann\"}");
  output(&fix, "{\"assistantId\":\"asst_1\"}");
  end(&fix, NXA_SPAN_OK);
  expect_span(
      &fix, "create_agent Ann", 3,
      S("gen_ai.operation.name", "create_agent") "," S("gen_ai.provider.name", "openai") "," S(
          "nexus.span.name", "assistants.create") "," S("gen_ai.agent.name",
                                                        "Ann") "," S("gen_ai.agent.id",
                                                                     "asst_1") "," S("gen_ai.request.model", "gpt-x"),
      "{}");
  stop(&fix);
}

static void what_the_script_sets_wins(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "summary", "llm");
  meta(&fix, "gen_ai.provider.name", "\"llama\"");
  meta(&fix, "threadId", "\"thread_1\"");
  meta(&fix, "gen_ai.conversation.id", "\"own\"");
  end(&fix, NXA_SPAN_OK);
  expect_span(&fix, "invoke_agent", 3,
              S("gen_ai.provider.name", "llama") "," S("gen_ai.conversation.id", "own") "," S(
                  "gen_ai.operation.name", "invoke_agent") "," S("nexus.span.name", "summary"),
              "{}");
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ content */

static void messages_have_roles_and_parts(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "chat", "llm");
  input(&fix,
        "{ \"messages\" : [ {\"role\":\"user\",\"content\":\"Hi\"} , {\"role\":\"assistant\",\"content\":null,"
        "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"18\"},{\"role\":\"user\",\"content\":[1]}] }");
  output(&fix, "{\"text\":\"warm\",\"tool_calls\":[{\"name\":\"g\",\"arguments\":\"{}\"}]}");
  fix.content = true;
  end(&fix, NXA_SPAN_OK);
  char *got = span_json(&fix);
  assert_non_null(strstr(
      got, S("gen_ai.input.messages",
             "[{\\\"role\\\":\\\"user\\\",\\\"parts\\\":[{\\\"type\\\":\\\"text\\\",\\\"content\\\":\\\"Hi\\\"}]},"
             "{\\\"role\\\":\\\"assistant\\\",\\\"parts\\\":[{\\\"type\\\":\\\"tool_call\\\",\\\"id\\\":\\\"c1\\\","
             "\\\"name\\\":\\\"f\\\",\\\"arguments\\\":\\\"{}\\\"}]},"
             "{\\\"role\\\":\\\"tool\\\",\\\"parts\\\":[{\\\"type\\\":\\\"tool_call_response\\\",\\\"id\\\":\\\"c1\\\","
             "\\\"response\\\":\\\"18\\\"}]},"
             "{\\\"role\\\":\\\"user\\\",\\\"parts\\\":[{\\\"type\\\":\\\"content\\\",\\\"content\\\":[1]}]}]")));
  assert_non_null(strstr(
      got, S("gen_ai.output.messages",
             "[{\\\"role\\\":\\\"assistant\\\",\\\"parts\\\":[{\\\"type\\\":\\\"text\\\",\\\"content\\\":\\\"warm\\\"},"
             "{\\\"type\\\":\\\"tool_call\\\",\\\"name\\\":\\\"g\\\",\\\"arguments\\\":\\\"{}\\\"}],"
             "\\\"finish_reason\\\":\\\"tool_call\\\"}]")));
  nxa__release(got);
  stop(&fix);
}

static void a_question_in_one_text_is_a_message(void **state) {
  fixture fix;
  (void)state;
  start(&fix, "responses.create", "llm");
  input(&fix, "{\"instructions\":\"be brief\",\"input\":\"Hi\"}");
  fix.content = true;
  end(&fix, NXA_SPAN_OK);
  char *got = span_json(&fix);
  assert_non_null(
      strstr(got, S("gen_ai.system_instructions", "[{\\\"type\\\":\\\"text\\\",\\\"content\\\":\\\"be brief\\\"}]")));
  assert_non_null(strstr(
      got, S("gen_ai.input.messages",
             "[{\\\"role\\\":\\\"user\\\",\\\"parts\\\":[{\\\"type\\\":\\\"text\\\",\\\"content\\\":\\\"Hi\\\"}]}]")));
  assert_null(strstr(got, "gen_ai.output.messages"));
  nxa__release(got);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ batches */

static void write_batch(const nxa__otlp_format *format, fixture *fix, nxa__buffer *body) {
  static nxa__otlp_span span;
  nxa__otlp_resource resource;
  bool understood;
  nxa__otlp_batch batch = {.body = body};
  assert_true(nxa__otlp_resource_make(&resource, NULL, "service.name=a%20b, team = x", &understood));
  assert_true(understood);
  format->begin(&batch, &resource);
  assert_true(nxa__otlp_of_span(&span, fix->span, false));
  format->span(&batch, &span);
  assert_true(nxa__otlp_of_trace(&span, fix->trace, false));
  format->span(&batch, &span);
  format->end(&batch);
  nxa__otlp_resource_free(&resource);
  assert_int_equal(body->state, NXA_OK);
}

static void begin_batch(fixture *fix) {
  start(fix, "\xC3\xA9\n", NULL);
  meta(fix, "k", "\"\\ud83d\\ude00\\n\\u0000\"");
  meta(fix, "n", "-1");
  meta(fix, "d", "0.5");
  end(fix, NXA_SPAN_OK);
  nxa_trace_end(fix->trace, NXA_TRACE_TIMEOUT, "late");
}

static void a_batch_in_json(void **state) {
  fixture fix;
  nxa__buffer body;
  (void)state;
  begin_batch(&fix);
  nxa__buffer_init(&body, SIZE_MAX);
  write_batch(&nxa__otlp_json, &fix, &body);
  assert_string_equal(
      body.data,
      "{\"resourceSpans\":[{\"resource\":{\"attributes\":[" S("telemetry.sdk.name", "nexus-assistants") "," S(
          "telemetry.sdk.language",
          "lua") "," S("telemetry.sdk.version",
                       NXA_VERSION) "," S("service.name",
                                          "a b") "," S("team",
                                                       "x") "]"
                                                            "},\"scopeSpans\":[{\"scope\":{\"name\":\"nexus-"
                                                            "assistants\",\"version\":\"" NXA_VERSION
                                                            "\"},\"spans\":[" HEAD "\xC3\xA9\\n\",\"kind\":1," TIMES S(
                                                                "k",
                                                                "\\ud83d\\ude00\\n"
                                                                "\\u0000") "," I("n",
                                                                                 "-1") ","
                                                                                       "{\"key\":\"d\",\"value\":{"
                                                                                       "\"doubleValue\":0.5}}]"
                                                                                       ",\"status\":{}},"
                                                                                       "{\"traceId\":"
                                                                                       "\"000102030405060708090a0b0c0d0"
                                                                                       "e0f\",\"spanId\":"
                                                                                       "\"10111213141516f7\",\"name\":"
                                                                                       "\"invoke_workflow "
                                                                                       "weather\",\"kind\":1," TIMES
                                                                                           S("gen_ai.operation.name", "invoke_workflow") "," S(
                                                                                               "gen_ai.workflow.name",
                                                                                               "weather") "," S("gen_"
                                                                                                                "ai."
                                                                                                                "agent."
                                                                                                                "name",
                                                                                                                "weathe"
                                                                                                                "r-bot") "," S("er"
                                                                                                                               "ro"
                                                                                                                               "r."
                                                                                                                               "ty"
                                                                                                                               "p"
                                                                                                                               "e",
                                                                                                                               "ti"
                                                                                                                               "me"
                                                                                                                               "ou"
                                                                                                                               "t") "],"
                                                                                                                                    "\"status\":{\"message\":\"late\",\"code\":2}}]}]}]}");
  nxa__buffer_free(&body);
  stop(&fix);
}

static void a_trace_of_a_host_goes_on(void **state) {
  fixture fix;
  nxa__buffer body;
  (void)state;
  start(&fix, "s", NULL);
  assert_true(nxa_trace_continue(fix.trace, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
  end(&fix, NXA_SPAN_OK);
  nxa_trace_end(fix.trace, NXA_TRACE_SUCCESS, NULL);
  nxa__buffer_init(&body, SIZE_MAX);
  write_batch(&nxa__otlp_json, &fix, &body);
  assert_non_null(strstr(body.data, "{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"f0e0d0c0b0a09080\","
                                    "\"parentSpanId\":\"10111213141516f7\""));
  assert_non_null(strstr(body.data, "{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"10111213141516f7\","
                                    "\"parentSpanId\":\"b7ad6b7169203331\""));
  assert_non_null(strstr(body.data, S("nexus.trace.id", "000102030405060708090a0b0c0d0e0f")));
  nxa__buffer_free(&body);
  stop(&fix);
}

/* What OpenTelemetry's own code, generated for JavaScript, encodes of the same fields. */
static const char protobuf[] =
    "0a88040a91010a280a1274656c656d657472792e73646b2e6e616d6512120a106e657875732d617373697374616e74730a1f"
    "0a1674656c656d657472792e73646b2e6c616e677561676512050a036c75610a200a1574656c656d657472792e73646b2e76"
    "657273696f6e12070a05302e312e300a150a0c736572766963652e6e616d6512050a036120620a0b0a047465616d12030a01"
    "7812f1020a190a106e657875732d617373697374616e74731205302e312e3012720a10000102030405060708090a0b0c0d0e"
    "0f1208f0e0d0c0b0a09080220810111213141516f72a03c3a90a300139408f33e6c1b7981841c01352e6c1b798184a0d0a01"
    "6b12080a06f09f98800a004a100a016e120b18ffffffffffffffffff014a0e0a0164120921000000000000e03f7a0012df01"
    "0a10000102030405060708090a0b0c0d0e0f120810111213141516f72a17696e766f6b655f776f726b666c6f772077656174"
    "686572300139408f33e6c1b7981841c01352e6c1b798184a2a0a1567656e5f61692e6f7065726174696f6e2e6e616d651211"
    "0a0f696e766f6b655f776f726b666c6f774a210a1467656e5f61692e776f726b666c6f772e6e616d6512090a077765617468"
    "65724a220a1167656e5f61692e6167656e742e6e616d65120d0a0b776561746865722d626f744a170a0a6572726f722e7479"
    "706512090a0774696d656f75747a0812046c6174651802";

static void a_batch_in_protobuf(void **state) {
  fixture fix;
  nxa__buffer body;
  char hexadecimal[2048];
  (void)state;
  begin_batch(&fix);
  nxa__buffer_init(&body, SIZE_MAX);
  write_batch(&nxa__otlp_protobuf, &fix, &body);
  assert_true(2 * body.length < sizeof hexadecimal);
  nxa__hex(hexadecimal, (const unsigned char *)body.data, body.length);
  assert_string_equal(hexadecimal, protobuf);
  nxa__buffer_free(&body);
  stop(&fix);
}

/* A message of more than 127 bytes is moved, one of more than 16383 twice as far. */
static void lengths_of_several_bytes_in_protobuf(void **state) {
  fixture fix;
  nxa__buffer body;
  static char text[20000];
  (void)state;
  start(&fix, "long", NULL);
  memset(text, 'x', sizeof text - 1);
  text[0] = text[sizeof text - 2] = '"';
  meta(&fix, "k", text);
  end(&fix, NXA_SPAN_OK);
  nxa_trace_end(fix.trace, NXA_TRACE_SUCCESS, NULL);
  nxa__buffer_init(&body, SIZE_MAX);
  write_batch(&nxa__otlp_protobuf, &fix, &body);
  text[sizeof text - 2] = '\0';
  const char *value = memchr(body.data, 'k', body.length);
  while (value && memcmp(value, "k\x12\xa1\x9c\x01\x0a\x9d\x9c\x01xxx", 12) != 0)
    value = memchr(value + 1, 'k', body.length - (size_t)(value + 1 - body.data));
  assert_non_null(value);
  assert_memory_equal(value + 9, text + 1, sizeof text - 3);
  nxa__buffer_free(&body);
  stop(&fix);
}

/* ------------------------------------------------------------------------------------------------ resources */

static void expect_resource(const char *service, const char *list, bool fine, const char *expected) {
  nxa__otlp_resource resource;
  nxa__buffer body;
  bool understood;
  nxa__otlp_batch batch = {.body = &body};
  nxa__buffer_init(&body, SIZE_MAX);
  assert_true(nxa__otlp_resource_make(&resource, service, list, &understood));
  assert_int_equal(understood, fine);
  nxa__otlp_json.begin(&batch, &resource);
  assert_non_null(strstr(body.data, expected));
  nxa__otlp_resource_free(&resource);
  nxa__buffer_free(&body);
}

#define SDK S("telemetry.sdk.version", NXA_VERSION)

static void resources_name_the_service(void **state) {
  (void)state;
  expect_resource("bot \"1\"", NULL, true, SDK "," S("service.name", "bot \\\"1\\\"") "]");
  expect_resource("bot", "service.name=x,a=b", true, SDK "," S("a", "b") "," S("service.name", "bot") "]");
  expect_resource(NULL, "a=b", true, SDK "," S("a", "b") "," S("service.name", "unknown_service") "]");
  expect_resource("bot", "telemetry.sdk.name=x,a=%C3%A9%2C%3D", true, SDK "," S("a", "\xC3\xA9,=") ",");
  expect_resource("bot", "a=b,c=d,a=e", true, SDK "," S("a", "e") "," S("c", "d") ",");
  expect_resource("bot", " , a = b c ,", true, SDK "," S("a", "b c") ",");
}

static void a_broken_list_is_left_out_as_a_whole(void **state) {
  static const char *const broken[] = {"a=b,c", "a=b,=c", "a=b,c=%4", "a=b,c=%zz"};
  (void)state;
  for (size_t i = 0; i < 4; i++)
    expect_resource("bot", broken[i], false, SDK "," S("service.name", "bot") "]");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_keep_their_types),
      cmocka_unit_test(more_attributes_than_128_are_counted),
      cmocka_unit_test(a_run_is_the_invocation_of_an_agent),
      cmocka_unit_test(a_run_that_failed_says_why),
      cmocka_unit_test(a_question_to_a_model_is_a_chat),
      cmocka_unit_test(a_tool_is_executed),
      cmocka_unit_test(a_step_of_the_api_is_a_tool_of_its_type),
      cmocka_unit_test(a_call_of_the_api_is_a_clients),
      cmocka_unit_test(an_assistant_is_created_as_an_agent),
      cmocka_unit_test(what_the_script_sets_wins),
      cmocka_unit_test(messages_have_roles_and_parts),
      cmocka_unit_test(a_question_in_one_text_is_a_message),
      cmocka_unit_test(a_batch_in_json),
      cmocka_unit_test(a_trace_of_a_host_goes_on),
      cmocka_unit_test(a_batch_in_protobuf),
      cmocka_unit_test(lengths_of_several_bytes_in_protobuf),
      cmocka_unit_test(resources_name_the_service),
      cmocka_unit_test(a_broken_list_is_left_out_as_a_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
