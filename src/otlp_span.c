#include <string.h>

#include "otlp.h"
#include "otlp_content.h"

/* A literal as the inside of a JSON string. */
#define TEXT(literal) ((nxa__json){(char *)(literal), sizeof(literal) - 1})

static const nxa__json absent = {NULL, 0};

/* What a span stands for among the conventions. */
typedef enum role { PLAIN, WORKFLOW, AGENT, NEW_AGENT, MODEL, TOOL } role;

/* ------------------------------------------------------------------------------------------------ texts */

static bool begins_with(nxa__json inside, const char *start) {
  size_t length = strlen(start);
  return inside.length >= length && memcmp(inside.text, start, length) == 0;
}

static bool equals(nxa__json inside, const char *text) {
  return inside.length == strlen(text) && begins_with(inside, text);
}

static nxa__json behind(nxa__json inside, size_t length) {
  return (nxa__json){inside.text + length, inside.length - length};
}

static nxa__json inside_member(nxa__json object, const char *key) {
  return nxa__otlp_inside(nxa__json_member(object, key));
}

static nxa__json key_of(const nxa__metadata *entry) {
  return nxa__otlp_inside((nxa__json){(char *)entry->text, entry->key_length});
}

static nxa__json value_of(const nxa__metadata *entry) {
  return (nxa__json){(char *)entry->text + entry->key_length, entry->value_length};
}

static nxa__json metadata_of(const nxa__record *record, const char *key) {
  for (const nxa__metadata *entry = record->metadata; entry; entry = entry->next)
    if (equals(key_of(entry), key))
      return value_of(entry);
  return absent;
}

/* ------------------------------------------------------------------------------------------------ attributes */

static nxa__otlp_attribute *attribute_named(nxa__otlp_span *out, nxa__json key) {
  for (size_t i = 0; i < out->attribute_count; i++) {
    nxa__json known = out->attributes[i].key;
    if (known.length == key.length && memcmp(known.text, key.text, key.length) == 0)
      return &out->attributes[i];
  }
  return NULL;
}

static void append(nxa__otlp_span *out, const nxa__otlp_attribute *attribute) {
  if (out->attribute_count < NXA__OTLP_ATTRIBUTES)
    out->attributes[out->attribute_count++] = *attribute;
  else
    out->dropped_attributes++;
}

/* Adds a value, in the place of an earlier one under the same key. */
static void put(nxa__otlp_span *out, const nxa__otlp_attribute *attribute) {
  nxa__otlp_attribute *known = attribute_named(out, attribute->key);
  if (known)
    *known = *attribute;
  else
    append(out, attribute);
}

static void put_value(nxa__otlp_span *out, nxa__json key, nxa__json value) {
  nxa__otlp_attribute attribute = {.key = key};
  if (nxa__otlp_set_value(&attribute, value))
    put(out, &attribute);
}

static void put_inside(nxa__otlp_span *out, nxa__json key, nxa__json inside) {
  if (inside.text)
    put(out, &(nxa__otlp_attribute){key, inside, NXA__OTLP_STRING});
}

/* ------------------------------------------------------------------------------------------------ metadata */

#define NAME(ours, theirs)                                                                                             \
  {                                                                                                                    \
    ours, {                                                                                                            \
      theirs, sizeof(theirs) - 1                                                                                       \
    }                                                                                                                  \
  }

/* What the library's own keys are called elsewhere. */
static const struct {
  const char *ours;
  nxa__json theirs;
} names[] = {
    NAME("threadId", "gen_ai.conversation.id"),
    NAME("conversationId", "gen_ai.conversation.id"),
    NAME("runId", "openai.run.id"),
    NAME("assistantId", "gen_ai.agent.id"),
    NAME("messageId", "openai.message.id"),
    NAME("stepId", "openai.step.id"),
    NAME("itemId", "openai.item.id"),
    NAME("responseId", "gen_ai.response.id"),
    NAME("toolCallId", "gen_ai.tool.call.id"),
    NAME("model", "gen_ai.request.model"),
    NAME("run.status", "openai.run.status"),
    NAME("run.model", "openai.run.model"),
    NAME("run.usage", "openai.run.usage"),
    NAME("run.usage.total_tokens", "openai.run.usage.total_tokens"),
    NAME("usage.source", "nexus.usage.source"),
    NAME("findings", "nexus.findings"),
    NAME("attempts", "nexus.attempts"),
    NAME("clock", "nexus.clock"),
    NAME("outcome", "nexus.tool.outcome"),
};

static nxa__json name_of(nxa__json key) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (equals(key, names[i].ours))
      return names[i].theirs;
  return key;
}

/* A record has each key once: only what has a name of ours or theirs can meet another. */
static bool may_be_there(nxa__json key, nxa__json name) {
  return key.text != name.text || begins_with(key, "gen_ai.") || begins_with(key, "openai.") ||
         begins_with(key, "nexus.");
}

/* Metadata comes first, and what is known from elsewhere only fills the gaps. */
static void put_metadata(nxa__otlp_span *out, const nxa__record *record) {
  for (const nxa__metadata *entry = record->metadata; entry; entry = entry->next) {
    nxa__otlp_attribute attribute = {.key = name_of(key_of(entry))};
    if (!nxa__otlp_set_value(&attribute, value_of(entry)))
      continue;
    if (may_be_there(key_of(entry), attribute.key))
      put(out, &attribute);
    else
      append(out, &attribute);
  }
}

static void fill_value(nxa__otlp_span *out, nxa__json key, nxa__json value) {
  if (!attribute_named(out, key))
    put_value(out, key, value);
}

static void fill_inside(nxa__otlp_span *out, nxa__json key, nxa__json inside) {
  if (!attribute_named(out, key))
    put_inside(out, key, inside);
}

/* ------------------------------------------------------------------------------------------------ roles */

static bool is_api(nxa__json name) {
  static const char *const groups[] = {"thread.",  "threads.",      "assistants.", "files.",
                                       "uploads.", "vectorStores.", "responses.",  "conversations."};
  for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
    if (begins_with(name, groups[i]))
      return true;
  return false;
}

static role role_of_model_span(const nxa__record *record, nxa__json name) {
  if (equals(name, "chat") || begins_with(name, "chat ") || begins_with(name, "responses."))
    return MODEL;
  return metadata_of(record, "runId").text || metadata_of(record, "threadId").text ? AGENT : MODEL;
}

static role role_of(const nxa_span *span, nxa__json name) {
  nxa__json type = nxa__otlp_inside(span->type);
  if (equals(type, "llm"))
    return role_of_model_span(&span->record, name);
  if (equals(type, "tool"))
    return TOOL;
  return equals(name, "assistants.create") ? NEW_AGENT : PLAIN;
}

static void put_operation(nxa__otlp_span *out, nxa__json operation, nxa__json own_name) {
  fill_inside(out, TEXT("gen_ai.operation.name"), operation);
  fill_inside(out, TEXT("gen_ai.provider.name"), TEXT("openai"));
  if (own_name.text)
    fill_inside(out, TEXT("nexus.span.name"), own_name);
}

/* ------------------------------------------------------------------------------------------------ models */

static nxa__json either(nxa__json object, const char *key, const char *other_key) {
  nxa__json value = nxa__json_member(object, key);
  return value.text ? value : nxa__json_member(object, other_key);
}

static void put_usage(nxa__otlp_span *out, nxa__json usage) {
  nxa__json details = either(usage, "prompt_tokens_details", "input_tokens_details");
  nxa__json cached = nxa__json_member(usage, "cached_tokens");
  fill_value(out, TEXT("gen_ai.usage.input_tokens"), either(usage, "prompt_tokens", "input_tokens"));
  fill_value(out, TEXT("gen_ai.usage.output_tokens"), either(usage, "completion_tokens", "output_tokens"));
  fill_value(out, TEXT("gen_ai.usage.cache_read.input_tokens"),
             cached.text ? cached : nxa__json_member(details, "cached_tokens"));
}

static void put_reason(nxa__otlp_span *out, nxa__json output) {
  nxa__json reason = inside_member(output, "incomplete");
  if (!reason.text)
    reason = inside_member(output, "status");
  nxa__json key = TEXT("gen_ai.response.finish_reasons");
  if (reason.text && !attribute_named(out, key))
    put(out, &(nxa__otlp_attribute){key, reason, NXA__OTLP_LIST});
}

static void describe_agent(nxa__otlp_span *out, const nxa__record *record, nxa__json name) {
  out->kind = NXA__OTLP_CLIENT;
  out->operation = "invoke_agent";
  out->name = absent;
  put_operation(out, TEXT("invoke_agent"), name);
  fill_value(out, TEXT("gen_ai.request.model"), nxa__json_member(record->output, "model"));
  fill_value(out, TEXT("openai.run.status"), nxa__json_member(record->output, "status"));
  put_usage(out, nxa__json_member(record->output, "usage"));
}

static void describe_new_agent(nxa__otlp_span *out, const nxa__record *record, nxa__json name) {
  nxa__json agent = inside_member(record->input, "name");
  out->kind = NXA__OTLP_CLIENT;
  out->operation = agent.length ? "create_agent " : "create_agent";
  out->name = agent;
  put_operation(out, TEXT("create_agent"), name);
  fill_inside(out, TEXT("gen_ai.agent.name"), agent);
  fill_value(out, TEXT("gen_ai.agent.id"), nxa__json_member(record->output, "assistantId"));
  fill_value(out, TEXT("gen_ai.request.model"), nxa__json_member(record->input, "model"));
}

static void describe_model(nxa__otlp_span *out, const nxa__record *record, nxa__json name) {
  nxa__json output = record->output;
  out->kind = NXA__OTLP_CLIENT;
  fill_value(out, TEXT("gen_ai.request.model"), nxa__json_member(record->input, "model"));
  const nxa__otlp_attribute *model = attribute_named(out, TEXT("gen_ai.request.model"));
  bool is_named = model && model->type == NXA__OTLP_STRING;
  out->operation = is_named ? "chat " : "";
  out->name = is_named ? model->value : name;
  put_operation(out, TEXT("chat"), is_named && !begins_with(name, "chat") ? name : absent);
  fill_value(out, TEXT("gen_ai.response.model"), nxa__json_member(output, "model"));
  put_usage(out, nxa__json_member(output, "usage"));
  put_reason(out, output);
}

/* ------------------------------------------------------------------------------------------------ tools */

/* Our spans of tools are called "tool <name>", those of the API's steps "step.<type>". */
static nxa__json tool_name(nxa__json name) {
  if (begins_with(name, "tool "))
    return behind(name, strlen("tool "));
  return begins_with(name, "step.") ? behind(name, strlen("step.")) : name;
}

static nxa__json tool_type(nxa__json name) {
  if (!begins_with(name, "step.") || equals(name, "step.function"))
    return TEXT("function");
  return equals(name, "step.file_search") ? TEXT("datastore") : TEXT("extension");
}

static void describe_tool(nxa__otlp_span *out, nxa__json name) {
  nxa__json tool = tool_name(name);
  out->operation = "execute_tool ";
  out->name = tool;
  fill_inside(out, TEXT("gen_ai.operation.name"), TEXT("execute_tool"));
  fill_inside(out, TEXT("gen_ai.tool.name"), tool);
  fill_inside(out, TEXT("gen_ai.tool.type"), tool_type(name));
}

/* ------------------------------------------------------------------------------------------------ content */

/* Where an array was written, it becomes an attribute. */
static void put_written(nxa__otlp_span *out, nxa__json key, void (*write)(nxa__buffer *, nxa__json), nxa__json from) {
  nxa__buffer *buffer = &out->written[out->written_count++];
  nxa__buffer_init(buffer, SIZE_MAX);
  write(buffer, from);
  if (buffer->length > 0)
    put(out, &(nxa__otlp_attribute){key, {buffer->data, buffer->length}, NXA__OTLP_JSON});
}

static void put_messages(nxa__otlp_span *out, const nxa__record *record) {
  put_written(out, TEXT("gen_ai.system_instructions"), nxa__otlp_put_instructions, record->input);
  put_written(out, TEXT("gen_ai.input.messages"), nxa__otlp_put_input_messages, record->input);
  put_written(out, TEXT("gen_ai.output.messages"), nxa__otlp_put_output_messages, record->output);
}

static void put_content(nxa__otlp_span *out, const nxa__record *record, role as) {
  bool of_tool = as == TOOL;
  put_value(out, of_tool ? TEXT("gen_ai.tool.call.arguments") : TEXT("input.value"), record->input);
  put_value(out, of_tool ? TEXT("gen_ai.tool.call.result") : TEXT("output.value"), record->output);
  if (as == MODEL || as == AGENT)
    put_messages(out, record);
}

/* ------------------------------------------------------------------------------------------------ failure */

/* What an error's text begins with, as in "rate_limit: …". */
static nxa__json error_kind(nxa__json error) {
  size_t length = 0;
  while (length < error.length &&
         ((error.text[length] >= 'a' && error.text[length] <= 'z') || error.text[length] == '_'))
    length++;
  bool is_kind = length > 0 && length < error.length && error.text[length] == ':';
  return is_kind ? (nxa__json){error.text, length} : TEXT("_OTHER");
}

static void put_failure(nxa__otlp_span *out, const nxa__record *record) {
  nxa__json code = inside_member(nxa__json_member(record->output, "last_error"), "code");
  out->failed = true;
  out->message = nxa__otlp_inside(record->error);
  fill_inside(out, TEXT("error.type"), code.text ? code : error_kind(out->message));
}

/* ------------------------------------------------------------------------------------------------ spans */

static void begin(nxa__otlp_span *out, const nxa__record *record) {
  out->operation = "";
  out->name = nxa__otlp_inside(record->name);
  out->kind = NXA__OTLP_INTERNAL;
  out->started_ns = record->started_ns;
  out->ended_ns = record->ended_ns;
  out->failed = false;
  out->message = absent;
  out->attribute_count = 0;
  out->dropped_attributes = 0;
  out->written_count = 0;
  put_metadata(out, record);
}

static bool finish(nxa__otlp_span *out) {
  bool complete = true;
  for (size_t i = 0; i < out->written_count; i++)
    complete = complete && out->written[i].state == NXA_OK;
  if (!complete)
    nxa__otlp_span_free(out);
  return complete;
}

static void describe(nxa__otlp_span *out, const nxa_span *span, nxa__json name, role as) {
  switch (as) {
  case AGENT:
    describe_agent(out, &span->record, name);
    break;
  case NEW_AGENT:
    describe_new_agent(out, &span->record, name);
    break;
  case MODEL:
    describe_model(out, &span->record, name);
    break;
  case TOOL:
    describe_tool(out, name);
    break;
  default:
    out->kind = is_api(name) ? NXA__OTLP_CLIENT : NXA__OTLP_INTERNAL;
    fill_value(out, TEXT("nexus.span.type"), span->type);
  }
}

bool nxa__otlp_of_span(nxa__otlp_span *out, const nxa_span *span, bool content) {
  const nxa__record *record = &span->record;
  begin(out, record);
  nxa__json name = out->name;
  role as = role_of(span, name);
  out->trace_id = nxa__trace_open_id(span->trace);
  out->span_id = span->id;
  out->parent_id = span->parent ? span->parent->id : span->trace->span_id;
  describe(out, span, name, as);
  if (content)
    put_content(out, record, as);
  if (span->status == NXA_SPAN_ERROR)
    put_failure(out, record);
  return finish(out);
}

bool nxa__otlp_of_trace(nxa__otlp_span *out, const nxa_trace *trace, bool content) {
  const nxa__record *record = &trace->record;
  begin(out, record);
  out->trace_id = nxa__trace_open_id(trace);
  out->span_id = trace->span_id;
  out->parent_id = trace->host.span_id;
  out->operation = "invoke_workflow ";
  fill_inside(out, TEXT("gen_ai.operation.name"), TEXT("invoke_workflow"));
  fill_inside(out, TEXT("gen_ai.workflow.name"), out->name);
  fill_inside(out, TEXT("gen_ai.agent.name"), nxa__otlp_inside(trace->agent_id));
  if (*trace->host.trace_id)
    fill_inside(out, TEXT("nexus.trace.id"), (nxa__json){(char *)trace->id, strlen(trace->id)});
  if (content)
    put_content(out, record, WORKFLOW);
  if (trace->status != NXA_TRACE_SUCCESS)
    put_failure(out, record);
  if (trace->status == NXA_TRACE_TIMEOUT)
    put_inside(out, TEXT("error.type"), TEXT("timeout"));
  return finish(out);
}

void nxa__otlp_span_free(nxa__otlp_span *out) {
  for (size_t i = 0; i < out->written_count; i++)
    nxa__buffer_free(&out->written[i]);
  out->written_count = 0;
}
