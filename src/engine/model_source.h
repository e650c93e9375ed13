/* What a reader of model files (ggml, safetensors) hands to the packer: dimensions,
 * vocabulary, mel filters, and where the bytes of every tensor lie. Nothing is copied
 * but the vocabulary and the filters; the tensors stay in the mapped files. */
#ifndef ENGINE_MODEL_SOURCE_H
#define ENGINE_MODEL_SOURCE_H

#include "engine/model_plan.h"
#include "engine/quant.h"

/* A file, mapped read-only. */
struct mapped_file {
    const uint8_t *bytes; /* owned mapping; NULL: empty */
    size_t length;
};

/* ERR_NOT_FOUND, ERR_DENIED …, ERR_INVALID for what is not a regular file. An empty file
 * is no error. */
int mapped_file_open(struct mapped_file *f, const char *path, struct err *e);
void mapped_file_close(struct mapped_file *f);

struct source_tensor {
    const uint8_t *bytes; /* borrowed from a mapped file; NULL: not seen yet */
    enum tensor_type type;
};

struct model_source {
    bool hf_names;             /* messages call tensors as Hugging Face does */
    struct mapped_file *files; /* owned [n_files] */
    size_t n_files, files_capacity;
    struct model_plan *plan;       /* owned; made when the dimensions are known */
    struct source_tensor *tensors; /* owned [plan->n_parts] */
    float *mel_filters;            /* owned [n_mels][MEL_FILTER_BINS] */
    uint32_t *vocab_offsets;       /* owned [n_vocab + 1] */
    uint8_t *vocab_bytes;          /* owned [vocab_offsets[n_vocab]] */
};

void model_source_release(struct model_source *s);

/* Map a file that the source keeps; *out is borrowed from the source until the next call.
 */
int source_map(struct model_source *s, const char *path, struct mapped_file *out,
               struct err *e);

/* Make the plan and room for the tensors. The config must have been checked. */
int source_plan(struct model_source *s, const struct whisper_config *c, struct err *e);

/* Note where the part's bytes are. The reader has checked shape and bounds. ERR_CORRUPT,
 * with `name`, when the part was there already. */
int source_add(struct model_source *s, int part, enum tensor_type type,
               const uint8_t *bytes, const char *name, struct err *e);

/* Whether every part is there, else ERR_CORRUPT with the name of the first that is not.
 */
int source_complete(const struct model_source *s, struct err *e);

/* What the file calls a part. Borrowed. */
const char *source_name(const struct model_source *s, int part);

/* Describe a shape for a message, "[384][80][3]". Returns `out`. */
const char *shape_text(const int64_t *dims, int n_dims, char *out, size_t size);

/* The id of end-of-text, the first that is not an ordinary token: 50256 for the English
 * vocabulary, 50257 for the others. */
int config_ordinary_tokens(const struct whisper_config *c);

/* Triangular filters on Slaney's mel scale with unit area, 0 to 8 kHz, equal to those of
 * the reference: out [n_mels][MEL_FILTER_BINS]. */
void mel_filters_compute(int n_mels, float *out);

#endif
