/* Byte-level byte-pair encoding over a vocabulary whose ids are the ranks of its merges.
 */
#ifndef ENGINE_BPE_H
#define ENGINE_BPE_H

#include "engine/model.h"

struct bpe;

/* Index and check the first n_ordinary tokens of the model, which is borrowed: the first
 * 256 are the single bytes, every later one is the union of two earlier ones, and none is
 * there twice (the last may be empty: the multilingual vocabulary has such a filler).
 * ERR_CORRUPT names the token that breaks this. */
int bpe_open(struct bpe **out, const struct whisper_model *m, int n_ordinary,
             struct err *e);
void bpe_close(struct bpe *b);

/* Valid UTF-8 to ids, appended to *out (an owned heap array) by mem_grow. */
int bpe_encode(const struct bpe *b, const char *text, size_t length, int32_t **out,
               size_t *count, size_t *capacity, struct err *e);

#endif
