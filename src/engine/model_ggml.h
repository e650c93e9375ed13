/* Reader of whisper.cpp's ggml files. */
#ifndef ENGINE_MODEL_GGML_H
#define ENGINE_MODEL_GGML_H

#include "engine/model_source.h"

/* Map the file, check it from the first byte to the last (but not the values of its
 * tensors), and fill *s (zeroed by the caller, who releases it in any case). */
int ggml_read(struct model_source *s, const char *path, struct err *e);

/* The dimensions alone, from the file's first bytes, and whether its weights are f16;
 * nothing else of the file is read. */
int ggml_read_config(const char *path, struct whisper_config *c, bool *f16,
                     struct err *e);

#endif
