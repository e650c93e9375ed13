/* Model files that want to do harm. A whole model is too large to be an input, so an
 * input is a recipe: its first byte says what the rest is.
 *
 *     0  a ggml file          1  changes to a valid ggml file, 8 bytes each
 *     2  a safetensors file's header     3  config.json     4  the index of shards
 *     5  tokenizer.json
 *
 * Whatever comes in, a model that is refused is refused with a sentence fit for a person,
 * and a model that is taken can be used. */
#include "engine/hf_tokenizer.h"
#include "engine/model.h"
#include "engine/tokenizer.h"
#include "fuzz_model.h"
#include "model_files.h"

#include <stdio.h>
#include <unistd.h>

#define MAX_CHANGES 16

/* A valid model, made once. */
static struct model_files base;
static char base_path[64], base_folder[128];
static int base_fd = -1;

static void remove_folder(void)
{
    model_files_folder_remove(base_folder);
}

static void prepare(void)
{
    if (base_fd >= 0)
        return;
    model_files_folder_new(base_folder, sizeof base_folder);
    (void)atexit(remove_folder);
    model_files_init(&base, TENSOR_F16, false);
    model_files_folder(&base, base_folder, 1);
    model_files_release(&base);
    model_files_init(&base, TENSOR_Q4_0, false);
    model_files_ggml(&base);
    base_fd = model_files_memory(base.bytes.data, base.bytes.length, base_path,
                                 sizeof base_path);
}

static void check_sentence(const struct err *e, int status)
{
    bool good = status < 0 && e->code == status && e->message[0];
    for (const char *c = e->message; *c; c++)
        good = good && *c >= ' ' && *c < 0x7F;
    if (good)
        return;
    (void)fprintf(stderr, "status %d, code %d: \"%s\"\n", status, e->code, e->message);
    abort();
}

static void use(struct whisper_model *m)
{
    struct whisper_model_info info;
    struct tokenizer *t = NULL;
    struct whisper_model *again = NULL;
    whisper_model_describe(m, &info);
    if (tokenizer_open(&t, m, NULL) ||
        whisper_model_attach(&again, whisper_model_image_fd(m), NULL) ||
        again->image_bytes != info.image_bytes)
        abort();
    tokenizer_close(t);
    whisper_model_free(again);
}

static void load(const char *path)
{
    struct err e = {0};
    struct whisper_model *m = NULL;
    int status = whisper_model_load(&m, path, WHISPER_WEIGHTS_AS_GIVEN, &e);
    if (status)
        check_sentence(&e, status);
    else
        use(m);
    whisper_model_free(m);
}

static void load_bytes(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = model_files_memory(data, size, path, sizeof path);
    load(path);
    close(fd);
}

/* ---- changes to a valid file ------------------------------------------------------- */

struct change {
    uint8_t region, kind;
    uint16_t offset;
    uint32_t value;
};

static size_t position(const struct change *c)
{
    const size_t sections[] = {0, base.filters_at, base.vocab_at, base.tensors_at - 64};
    unsigned n_parts = (unsigned)base.plan->n_parts,
             region = c->region % (4 + 2 * n_parts);
    size_t at = region < 4             ? sections[region] + c->offset % 128
                : region < 4 + n_parts ? base.head_at[region - 4] + c->offset % 96
                                       : base.data_at[region - 4 - n_parts] + c->offset;
    return at < base.bytes.length - 4 ? at : base.bytes.length - 4;
}

static void write_at(size_t at, const void *bytes, size_t n)
{
    if (pwrite(base_fd, bytes, n, (off_t)at) != (ssize_t)n)
        abort();
}

static void make_change(const struct change *c, size_t at)
{
    static const uint32_t plausible[] = {
        0,     1,          2,          3,   64, 65,   80,         50256,
        51866, 0x7FFFFFFF, 0x80000000, 256, 32, 1024, 0xFFFFFFFF, 0x7F800000};
    uint8_t byte = (uint8_t)base.bytes.data[at] ^ (uint8_t)(1u << c->value % 8);
    uint32_t word = c->kind % 4 == 1 ? c->value : plausible[c->value % 16];
    if (c->kind % 4 == 0)
        write_at(at, &byte, 1);
    else if (c->kind % 4 < 3)
        write_at(at, &word, sizeof word);
    else if (ftruncate(base_fd, (off_t)at))
        abort();
}

static void load_changed(const uint8_t *data, size_t size)
{
    size_t at[MAX_CHANGES], n = 0;
    bool cut = false;
    if (size < sizeof(struct change))
        return; /* the valid file takes long to load, and is no news */
    for (; n < MAX_CHANGES && (n + 1) * sizeof(struct change) <= size; n++) {
        struct change c;
        memcpy(&c, data + n * sizeof c, sizeof c);
        at[n] = position(&c);
        cut = cut || c.kind % 4 == 3;
        make_change(&c, at[n]);
    }
    load(base_path);
    if (cut)
        write_at(0, base.bytes.data, base.bytes.length);
    for (size_t i = 0; i < n; i++)
        write_at(at[i], base.bytes.data + at[i], 4);
}

/* ---- folders ------------------------------------------------------------------------
 */

static void put(const char *name, const void *bytes, size_t size)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", base_folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
        abort();
}

static void hide(const char *name, bool hidden)
{
    char path[256], away[256];
    (void)snprintf(path, sizeof path, "%s/%s", base_folder, name);
    (void)snprintf(away, sizeof away, "%s/hidden-%s", base_folder, name);
    if (hidden ? rename(path, away) : rename(away, path))
        abort();
}

static void load_folder(const char *name, const void *bytes, size_t size)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", base_folder, name);
    bool there = access(path, F_OK) == 0;
    if (there)
        hide(name, true);
    put(name, bytes, size);
    load(base_folder);
    (void)unlink(path);
    if (there)
        hide(name, false);
}

static void load_header(const uint8_t *data, size_t size)
{
    struct buf file;
    uint64_t length = size;
    buf_init(&file, size + 4096);
    buf_add(&file, &length, sizeof length);
    buf_add(&file, data, size);
    for (int i = 0; i < 64; i++)
        buf_char(&file, 0);
    load_folder("model.safetensors", file.data, file.length);
    buf_release(&file);
}

static void load_index(const uint8_t *data, size_t size)
{
    hide("model.safetensors", true);
    load_folder("model.safetensors.index.json", data, size);
    hide("model.safetensors", false);
}

/* Past the weights, which the folder's reader wants first. */
static void read_tokenizer(const uint8_t *data, size_t size)
{
    struct model_source source = {0};
    struct err e = {0};
    hide("tokenizer.json", true);
    put("tokenizer.json", data, size);
    int status = source_plan(&source, &base.plan->config, NULL);
    if (!status)
        status = hf_read_tokenizer(&source, base_folder, &e);
    if (status)
        check_sentence(&e, status);
    model_source_release(&source);
    hide("tokenizer.json", false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    prepare();
    if (size == 0)
        return 0;
    int kind = data[0] % 6;
    data++;
    size--;
    if (kind == 0)
        load_bytes(data, size);
    else if (kind == 1)
        load_changed(data, size);
    else if (kind == 2)
        load_header(data, size);
    else if (kind == 3)
        load_folder("config.json", data, size);
    else if (kind == 4)
        load_index(data, size);
    else
        read_tokenizer(data, size);
    return 0;
}
