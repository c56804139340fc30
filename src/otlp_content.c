#include "otlp_content.h"

static void put(nxa__buffer *out, const char *text) {
  nxa__buffer_append_text(out, text);
}

static void put_json(nxa__buffer *out, nxa__json json) {
  nxa__buffer_append(out, json.text, json.length);
}

static bool is(nxa__json json, char first) {
  return json.text && json.text[0] == first;
}

static void put_member(nxa__buffer *out, const char *before, nxa__json value) {
  if (!value.text)
    return;
  put(out, before);
  put_json(out, value);
}

/* ------------------------------------------------------------------------------------------------ parts */

/* A text as a part; what has a shape of its own keeps it. */
static void put_content(nxa__buffer *out, nxa__json content) {
  put(out, is(content, '"') ? "{\"type\":\"text\",\"content\":" : "{\"type\":\"content\",\"content\":");
  put_json(out, content);
  put(out, "}");
}

/* Calls as chat completions have them, or as they are in a span's output. */
static void put_call(nxa__buffer *out, nxa__json call) {
  nxa__json function = nxa__json_member(call, "function");
  nxa__json described = is(function, '{') ? function : call;
  put(out, "{\"type\":\"tool_call\"");
  put_member(out, ",\"id\":", nxa__json_member(call, "id"));
  put_member(out, ",\"name\":", nxa__json_member(described, "name"));
  put_member(out, ",\"arguments\":", nxa__json_member(described, "arguments"));
  put(out, "}");
}

static void put_calls(nxa__buffer *out, nxa__json calls, const char *separator) {
  for (nxa__json call = nxa__json_next(&calls); call.text; call = nxa__json_next(&calls)) {
    put(out, separator);
    put_call(out, call);
    separator = ",";
  }
}

static void put_response(nxa__buffer *out, nxa__json id, nxa__json content) {
  put(out, "{\"type\":\"tool_call_response\",\"id\":");
  put_json(out, id);
  put_member(out, ",\"response\":", content);
  put(out, "}");
}

static bool is_given(nxa__json value) {
  return value.text && value.text[0] != 'n';
}

/* ------------------------------------------------------------------------------------------------ messages */

static void put_parts(nxa__buffer *out, nxa__json content, nxa__json calls) {
  if (is_given(content))
    put_content(out, content);
  if (is(calls, '['))
    put_calls(out, calls, is_given(content) ? "," : "");
}

static void begin_message(nxa__buffer *out, nxa__json role) {
  put(out, "{\"role\":");
  if (is(role, '"'))
    put_json(out, role);
  else
    put(out, "\"user\"");
  put(out, ",\"parts\":[");
}

/* An item that is no message, as Responses has them, is told as it is. */
static void put_message(nxa__buffer *out, nxa__json message) {
  nxa__json role = nxa__json_member(message, "role"), answered = nxa__json_member(message, "tool_call_id");
  nxa__json content = nxa__json_member(message, "content");
  begin_message(out, role);
  if (is(answered, '"'))
    put_response(out, answered, content);
  else if (role.text)
    put_parts(out, content, nxa__json_member(message, "tool_calls"));
  else
    put_content(out, message);
  put(out, "]}");
}

static void put_messages(nxa__buffer *out, nxa__json messages) {
  const char *separator = "[";
  for (nxa__json message = nxa__json_next(&messages); message.text; message = nxa__json_next(&messages)) {
    put(out, separator);
    put_message(out, message);
    separator = ",";
  }
  put(out, *separator == '[' ? "[]" : "]");
}

static void put_question(nxa__buffer *out, nxa__json text) {
  put(out, "[");
  begin_message(out, (nxa__json){NULL, 0});
  put_content(out, text);
  put(out, "]}]");
}

void nxa__otlp_put_instructions(nxa__buffer *out, nxa__json input) {
  nxa__json text = nxa__json_member(input, "instructions");
  if (!is(text, '"'))
    return;
  put(out, "[");
  put_content(out, text);
  put(out, "]");
}

void nxa__otlp_put_input_messages(nxa__buffer *out, nxa__json input) {
  static const char *const members[] = {"messages", "input", "additional_messages"};
  for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
    nxa__json said = nxa__json_member(input, members[i]);
    if (is(said, '['))
      put_messages(out, said);
    else if (is(said, '"'))
      put_question(out, said);
    else
      continue;
    return;
  }
}

void nxa__otlp_put_output_messages(nxa__buffer *out, nxa__json output) {
  nxa__json text = nxa__json_member(output, "text"), calls = nxa__json_member(output, "tool_calls");
  nxa__json reason = nxa__json_member(output, "incomplete");
  if (!is_given(text) && !is(calls, '['))
    return;
  put(out, "[{\"role\":\"assistant\",\"parts\":[");
  put_parts(out, text, calls);
  put(out, "],\"finish_reason\":");
  if (is(reason, '"'))
    put_json(out, reason);
  else
    put(out, is(calls, '[') ? "\"tool_call\"" : "\"stop\"");
  put(out, "}]");
}
