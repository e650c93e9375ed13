/* Small but legal model files, made in memory: one encoder and one decoder layer, 64
 * wide, the English vocabulary with short tokens. Every value follows from the tensor and
 * the element, so that a test can ask what a loaded model must hold. */
#ifndef TESTS_ENGINE_MODEL_FILES_H
#define TESTS_ENGINE_MODEL_FILES_H

#include "base/buf.h"
#include "engine/model_plan.h"
#include "engine/quant.h"

#define MODEL_MAX_PARTS 64

struct model_files {
    struct model_plan *plan;         /* owned */
    enum tensor_type type;           /* of the linear weights */
    struct buf bytes;                /* owned: a ggml file, or a safetensors file */
    size_t head_at[MODEL_MAX_PARTS]; /* ggml: where a tensor's header begins */
    size_t data_at[MODEL_MAX_PARTS]; /* where its values begin */
    size_t filters_at, vocab_at, tensors_at; /* ggml: sections */
};

/* Dimensions of the model; `multilingual` takes 51865 tokens instead of 51864. */
struct whisper_config model_files_config(bool multilingual);

void model_files_init(struct model_files *f, enum tensor_type type, bool multilingual);
void model_files_release(struct model_files *f);

/* Write the whole ggml file into f->bytes. */
void model_files_ggml(struct model_files *f);
/* One tensor of it, header and values, appended. */
void model_files_ggml_tensor(struct model_files *f, int part);

/* Write a folder: config.json, tokenizer.json, and the weights in n_shards files (1:
 * model.safetensors, else with an index). */
void model_files_folder(struct model_files *f, const char *folder, int n_shards);
/* A text file in the folder, replaced. */
void model_files_write(const char *folder, const char *name, const void *bytes,
                       size_t length);

enum tensor_type model_files_part_type(const struct model_files *f, int part);
float model_files_value(const struct model_files *f, int part, size_t element);

/* A file without a name that holds the bytes: path like "/proc/self/fd/7". Returns the
 * descriptor. */
int model_files_memory(const void *bytes, size_t length, char *path, size_t size);

/* A new empty folder under the system's temporary one; and away with it. */
void model_files_folder_new(char *path, size_t size);
void model_files_folder_remove(const char *path);

#endif
