#include <string.h>

#include "alloc.h"
#include "otlp.h"
#include "pairs.h"

#define ATTRIBUTES_MOST 127 /* and the name of the service */

/* ------------------------------------------------------------------------------------------------ making */

typedef struct maker {
  nxa__otlp_resource *resource;
  nxa__buffer text;
} maker;

/* Writes a text; the place of its inside is kept as an offset until all is written. */
static nxa__json put_inside(maker *make, const char *text, size_t length) {
  size_t start = make->text.length;
  nxa__json_append_string(&make->text, text, length);
  return (nxa__json){(char *)(start + 1), make->text.length - start - 2};
}

static bool is_same(const maker *make, nxa__json one, nxa__json other) {
  const char *text = make->text.data;
  return make->text.state == NXA_OK && one.length == other.length &&
         memcmp(text + (size_t)one.text, text + (size_t)other.text, one.length) == 0;
}

/* The attribute under this key; a new one where there is none. */
static nxa__otlp_attribute *attribute_for(maker *make, nxa__json key) {
  nxa__otlp_resource *resource = make->resource;
  for (size_t i = 0; i < resource->count; i++)
    if (is_same(make, resource->attributes[i].key, key))
      return &resource->attributes[i];
  return &resource->attributes[resource->count++];
}

static void add(maker *make, const char *key, size_t key_length, const char *value, size_t value_length) {
  nxa__json written = put_inside(make, key, key_length);
  nxa__otlp_attribute *attribute = attribute_for(make, written);
  attribute->key = written;
  attribute->value = put_inside(make, value, value_length);
  attribute->type = NXA__OTLP_STRING;
}

static void add_text(maker *make, const char *key, const char *value) {
  add(make, key, strlen(key), value, strlen(value));
}

static bool is_named(const nxa__pair *pair, const char *name) {
  return pair->name_length == strlen(name) && memcmp(pair->name, name, pair->name_length) == 0;
}

/* Those of the library can't be given. */
static bool is_own(const nxa__pair *pair) {
  static const char prefix[] = "telemetry.sdk.";
  return pair->name_length >= strlen(prefix) && memcmp(pair->name, prefix, strlen(prefix)) == 0;
}

/* False where the list is broken: then nothing of it is meant. */
static bool add_pairs(maker *make, char *list, bool has_name) {
  nxa__pair pair;
  bool broken;
  size_t before = make->resource->count;
  while (nxa__next_pair(&list, &pair, &broken))
    if (make->resource->count < ATTRIBUTES_MOST && !is_own(&pair) && !(has_name && is_named(&pair, "service.name")))
      add(make, pair.name, pair.name_length, pair.value, pair.value_length);
  if (broken)
    make->resource->count = before;
  return !broken;
}

static bool names_service(const nxa__otlp_resource *resource, const nxa__buffer *text) {
  static const char name[] = "service.name";
  for (size_t i = 0; i < resource->count; i++) {
    nxa__json key = resource->attributes[i].key;
    if (key.length == strlen(name) && memcmp(text->data + (size_t)key.text, name, key.length) == 0)
      return true;
  }
  return false;
}

static void place(nxa__json *json, char *text) {
  json->text = text + (size_t)json->text;
}

static void settle(nxa__otlp_resource *resource, char *text) {
  resource->text = text;
  for (size_t i = 0; i < resource->count; i++) {
    place(&resource->attributes[i].key, text);
    place(&resource->attributes[i].value, text);
  }
}

static void fill(maker *make, const char *service_name, char *list, bool *understood) {
  add_text(make, "telemetry.sdk.name", "nexus-assistants");
  add_text(make, "telemetry.sdk.language", "lua");
  add_text(make, "telemetry.sdk.version", NXA_VERSION);
  *understood = !list || add_pairs(make, list, service_name != NULL);
  if (service_name)
    add_text(make, "service.name", service_name);
  else if (make->text.state == NXA_OK && !names_service(make->resource, &make->text))
    add_text(make, "service.name", "unknown_service");
}

bool nxa__otlp_resource_make(nxa__otlp_resource *resource, const char *service_name, const char *attributes,
                             bool *understood) {
  maker make = {.resource = resource};
  char *list = attributes ? nxa__copy_string(attributes) : NULL;
  *resource = (nxa__otlp_resource){0};
  resource->attributes = nxa__allocate((ATTRIBUTES_MOST + 1) * sizeof *resource->attributes);
  nxa__buffer_init(&make.text, SIZE_MAX);
  if (resource->attributes && (list || !attributes))
    fill(&make, service_name, list, understood);
  else
    make.text.state = NXA_MEMORY;
  nxa__release(list);
  bool made = make.text.state == NXA_OK;
  if (made)
    settle(resource, make.text.data);
  else
    nxa__buffer_free(&make.text);
  if (!made)
    nxa__otlp_resource_free(resource);
  return made;
}

void nxa__otlp_resource_free(nxa__otlp_resource *resource) {
  nxa__release(resource->attributes);
  nxa__release(resource->text);
  *resource = (nxa__otlp_resource){0};
}
