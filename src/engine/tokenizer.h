/* The byte-pair tokenizer, both ways, and the ids of the special tokens.
 *
 * The order of GPT-2's merges is the order of the vocabulary, so the vocabulary alone is
 * enough to encode: of all neighbouring pairs, the one whose union has the lowest id is
 * merged first. */
#ifndef ENGINE_TOKENIZER_H
#define ENGINE_TOKENIZER_H

#include "engine/model.h"

struct tokenizer;

/* The model is borrowed and must outlive the tokenizer. */
int tokenizer_open(struct tokenizer **out, const struct whisper_model *m, struct err *e);
void tokenizer_close(struct tokenizer *t);

/* Special ids of this vocabulary. */
struct special_tokens {
    int32_t eot, sot, translate, transcribe, sot_lm, sot_prev, no_speech, no_timestamps;
    int32_t timestamp_begin; /* <|0.00|>; each later id is 0.02 s more, to the end */
    int32_t language_begin;  /* <|en|>; -1 when not multilingual */
    int n_languages;
};
const struct special_tokens *tokenizer_specials(const struct tokenizer *t);
/* The same from the dimensions alone. */
void special_tokens_of(const struct whisper_config *c, struct special_tokens *out);

#define SPECIAL_NAME_SIZE 32
/* How the reference writes a special id: "<|endoftext|>", "<|de|>", "<|1.28|>"; "" for an
 * id that is not special. Returns `out`. */
const char *special_token_name(const struct whisper_config *c, int32_t id,
                               char out[SPECIAL_NAME_SIZE]);

/* UTF-8 text to ids (ordinary tokens only: text that looks like <|…|> is text). The ids
 * are appended to *out (owned heap array, may start as NULL) by mem_grow. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t length,
                     int32_t **out, size_t *count, size_t *capacity, struct err *e);

/* The bytes of one token (may be part of a UTF-8 sequence); special tokens are empty.
 * Borrowed. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *length);

/* All ordinary tokens of ids[count] joined, damaged UTF-8 replaced by U+FFFD. The caller
 * frees it; NULL when memory is out. */
char *tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count);

/* The tokens that the reference suppresses when suppress_tokens is -1: symbols and
 * markers that are not speech, and the special tokens it never samples. Borrowed,
 * ascending. */
const int32_t *tokenizer_non_speech(const struct tokenizer *t, size_t *count);

/* The ids of " " and of end-of-text, suppressed at the beginning of a window. */
int32_t tokenizer_blank(const struct tokenizer *t);

#endif
