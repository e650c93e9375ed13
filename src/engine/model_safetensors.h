/* Reader of Hugging Face folders: config.json, the tokenizer (hf_tokenizer.h) and
 * model.safetensors, or its shards with model.safetensors.index.json. */
#ifndef ENGINE_MODEL_SAFETENSORS_H
#define ENGINE_MODEL_SAFETENSORS_H

#include "engine/model_source.h"

/* Map the files, check them (but not the values of the tensors), and fill *s (zeroed by
 * the caller, who releases it in any case). */
int safetensors_read(struct model_source *s, const char *folder, struct err *e);

/* The dimensions alone, from config.json. */
int safetensors_read_config(const char *folder, struct whisper_config *c, struct err *e);

#endif
