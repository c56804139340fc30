/* What was said to a model and by it, in the form that the conventions for generative AI have for messages. */
#ifndef NXA_OTLP_CONTENT_H
#define NXA_OTLP_CONTENT_H

#include "buffer.h"
#include "json_out.h"

/* Each writes a JSON array, from a record's input or output; nothing where there is nothing of the kind in it. */
void nxa__otlp_put_instructions(nxa__buffer *out, nxa__json input);
void nxa__otlp_put_input_messages(nxa__buffer *out, nxa__json input);
void nxa__otlp_put_output_messages(nxa__buffer *out, nxa__json output);

#endif
