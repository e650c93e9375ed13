/* The vocabulary of a Hugging Face folder. */
#ifndef ENGINE_HF_TOKENIZER_H
#define ENGINE_HF_TOKENIZER_H

#include "engine/model_source.h"

/* Fill the source's vocabulary from tokenizer.json, or from vocab.json and
 * added_tokens.json where that is missing. Its special tokens must have the ids that the
 * vocabulary's size implies, and its merges must be in the order of the ids: the rest of
 * the engine relies on both. The source must have its plan. */
int hf_read_tokenizer(struct model_source *s, const char *folder, struct err *e);

#endif
