#include "model_files.h"

#include "base/fs.h"
#include "base/mem.h"
#include "engine/model_source.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

struct whisper_config model_files_config(bool multilingual)
{
    struct whisper_config c = {
        .n_vocab = multilingual ? 51865 : 51864,
        .n_audio_ctx = 1500,
        .n_audio_state = 64,
        .n_audio_head = 1,
        .n_audio_layer = 1,
        .n_text_ctx = 64,
        .n_text_state = 64,
        .n_text_head = 1,
        .n_text_layer = 1,
        .n_mels = 80,
    };
    int status = config_check(&c, NULL);
    assert(!status);
    (void)status;
    return c;
}

void model_files_init(struct model_files *f, enum tensor_type type, bool multilingual)
{
    *f = (struct model_files){.type = type};
    struct whisper_config c = model_files_config(multilingual);
    int status = plan_new(&f->plan, &c, NULL);
    assert(!status && f->plan->n_parts <= MODEL_MAX_PARTS);
    (void)status;
    buf_init(&f->bytes, 64 << 20);
}

void model_files_release(struct model_files *f)
{
    plan_free(f->plan);
    buf_release(&f->bytes);
}

/* ---- values ----------------------------------------------------------------------- */

static uint32_t hash(uint32_t a, uint32_t b)
{
    uint32_t x = a * 2654435761u ^ (b + 0x9E3779B9u);
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    return x ^ x >> 16;
}

/* A finite half, of either sign, from 2^-14 to 2^2. */
static uint16_t any_half(uint32_t random)
{
    return (uint16_t)((random & 0x8000) | (1 + random % 16) << 10 |
                      (random >> 20 & 0x3FF));
}

static double half_value(uint16_t half)
{
    double value = ldexp(1024 + (half & 0x3FF), (half >> 10 & 0x1F) - 25);
    return half & 0x8000 ? -value : value;
}

enum tensor_type model_files_part_type(const struct model_files *f, int part)
{
    const struct model_part *p = &f->plan->parts[part];
    if (!f->plan->slots[p->slot].panels)
        return TENSOR_F32;
    if (p->conv && f->type > TENSOR_BF16)
        return TENSOR_F16;
    return f->type;
}

static float any_float(uint32_t random)
{
    return (float)(int32_t)random * 0x1p-31F;
}

static uint16_t any_bf16(uint32_t random)
{
    return (uint16_t)((random & 0x8000) | (0x3E80 + (random & 0x17F)));
}

/* What a block of 32 is made of. */
static uint16_t block_scale(int part, size_t block)
{
    return any_half(hash((uint32_t)part, (uint32_t)block * 3 + 1));
}

static uint16_t block_offset(int part, size_t block)
{
    return any_half(hash((uint32_t)part, (uint32_t)block * 3 + 2));
}

static int quantum(int part, size_t element, int bits)
{
    return (int)(hash((uint32_t)part + 1000, (uint32_t)element) >> (32 - bits));
}

float model_files_value(const struct model_files *f, int part, size_t element)
{
    uint32_t random = hash((uint32_t)part, (uint32_t)element), bits;
    double d = half_value(block_scale(part, element / 32));
    double m = half_value(block_offset(part, element / 32));
    float value;
    switch (model_files_part_type(f, part)) {
    case TENSOR_F16:
        return (float)half_value(any_half(random));
    case TENSOR_BF16:
        bits = (uint32_t)any_bf16(random) << 16;
        memcpy(&value, &bits, sizeof value);
        return value;
    case TENSOR_Q4_0:
        return (float)(d * (quantum(part, element, 4) - 8));
    case TENSOR_Q4_1:
        return (float)(d * quantum(part, element, 4) + m);
    case TENSOR_Q5_0:
        return (float)(d * (quantum(part, element, 5) - 16));
    case TENSOR_Q5_1:
        return (float)(d * quantum(part, element, 5) + m);
    case TENSOR_Q8_0:
        return (float)(d * (quantum(part, element, 8) - 128));
    default:
        return any_float(random);
    }
}

static void add_block(struct buf *out, enum tensor_type type, int part, size_t block)
{
    uint16_t d = block_scale(part, block), m = block_offset(part, block);
    buf_add(out, &d, sizeof d);
    if (type == TENSOR_Q4_1 || type == TENSOR_Q5_1)
        buf_add(out, &m, sizeof m);
    int bits = type == TENSOR_Q8_0                          ? 8
               : type == TENSOR_Q5_0 || type == TENSOR_Q5_1 ? 5
                                                            : 4;
    int q[32];
    uint32_t fifth = 0;
    for (unsigned i = 0; i < 32; i++) {
        q[i] = quantum(part, block * 32 + i, bits);
        fifth |= (uint32_t)(q[i] >> 4 & 1) << i;
    }
    if (bits == 5)
        buf_add(out, &fifth, sizeof fifth);
    for (int i = 0; i < (bits == 8 ? 32 : 16); i++) {
        int byte = bits == 8 ? q[i] - 128 : (q[i] & 15) | (q[i + 16] & 15) << 4;
        buf_char(out, (char)byte);
    }
}

static void add_values(struct model_files *f, struct buf *out, int part)
{
    enum tensor_type type = model_files_part_type(f, part);
    size_t n = plan_part_elements(&f->plan->parts[part]);
    for (size_t i = 0; type > TENSOR_BF16 && i < n / 32; i++)
        add_block(out, type, part, i);
    for (size_t i = 0; type <= TENSOR_BF16 && i < n; i++) {
        uint32_t random = hash((uint32_t)part, (uint32_t)i);
        uint16_t half = type == TENSOR_F16 ? any_half(random) : any_bf16(random);
        float value = any_float(random);
        if (type == TENSOR_F32)
            buf_add(out, &value, sizeof value);
        else
            buf_add(out, &half, sizeof half);
    }
}

/* ---- ggml ------------------------------------------------------------------------- */

static void add_i32(struct buf *out, int32_t value)
{
    buf_add(out, &value, sizeof value);
}

/* Token 256 + j is the pair of bytes j / 256 and j % 256: byte-pair encoding with as many
 * merges as GPT-2's. */
static size_t token_bytes(int id, uint8_t out[2])
{
    if (id >= 50256)
        return 0;
    if (id >= 256)
        out[1] = (uint8_t)((id - 256) & 0xFF);
    out[0] = (uint8_t)(id < 256 ? id : (id - 256) >> 8);
    return id < 256 ? 1 : 2;
}

static const struct {
    int ftype, code;
} codes[TENSOR_TYPES] = {
    [TENSOR_F32] = {0, 0},     [TENSOR_F16] = {1, 1},     [TENSOR_BF16] = {30, 30},
    [TENSOR_Q4_0] = {2002, 2}, [TENSOR_Q4_1] = {2003, 3}, [TENSOR_Q5_0] = {2008, 6},
    [TENSOR_Q5_1] = {2009, 7}, [TENSOR_Q8_0] = {2007, 8},
};

void model_files_ggml_tensor(struct model_files *f, int part)
{
    const struct model_part *p = &f->plan->parts[part];
    int n_dims = p->conv_bias ? 2 : p->n_dims;
    f->head_at[part] = f->bytes.length;
    add_i32(&f->bytes, n_dims);
    add_i32(&f->bytes, (int32_t)strlen(p->ggml));
    add_i32(&f->bytes, codes[model_files_part_type(f, part)].code);
    if (p->conv_bias)
        add_i32(&f->bytes, 1);
    for (int i = p->n_dims - 1; i >= 0; i--)
        add_i32(&f->bytes, p->dims[i]);
    buf_str(&f->bytes, p->ggml);
    f->data_at[part] = f->bytes.length;
    add_values(f, &f->bytes, part);
}

void model_files_ggml(struct model_files *f)
{
    const struct whisper_config *c = &f->plan->config;
    const int head[] = {
        0x67676D6C,      c->n_vocab,       c->n_audio_ctx, c->n_audio_state,
        c->n_audio_head, c->n_audio_layer, c->n_text_ctx,  c->n_text_state,
        c->n_text_head,  c->n_text_layer,  c->n_mels,      codes[f->type].ftype,
    };
    for (size_t i = 0; i < ARRAY_LENGTH(head); i++)
        add_i32(&f->bytes, head[i]);
    f->filters_at = f->bytes.length;
    add_i32(&f->bytes, c->n_mels);
    add_i32(&f->bytes, MEL_FILTER_BINS);
    for (int i = 0; i < c->n_mels * MEL_FILTER_BINS; i++) {
        float value = (float)i / 1024;
        buf_add(&f->bytes, &value, sizeof value);
    }
    f->vocab_at = f->bytes.length;
    int n = config_ordinary_tokens(c);
    add_i32(&f->bytes, n);
    for (int id = 0; id < n; id++) {
        uint8_t bytes[2];
        size_t length = token_bytes(id, bytes);
        add_i32(&f->bytes, (int32_t)length);
        buf_add(&f->bytes, bytes, length);
    }
    f->tensors_at = f->bytes.length;
    for (int part = 0; part < f->plan->n_parts; part++)
        model_files_ggml_tensor(f, part);
    assert(!buf_failed(&f->bytes));
}

/* ---- folder ----------------------------------------------------------------------- */

void model_files_write(const char *folder, const char *name, const void *bytes,
                       size_t length)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int status = fd < 0 ? -1 : fs_write_all(fd, bytes, length, NULL);
    assert(!status);
    (void)status;
    close(fd);
}

/* A byte as Hugging Face writes it, as a JSON string's content. */
static void add_escaped(struct buf *out, uint8_t byte)
{
    static int character[256];
    if (!character[0]) {
        int next = 256;
        for (int b = 0; b < 256; b++) {
            bool printable = (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173;
            character[b] = printable ? b : next++;
        }
    }
    buf_printf(out, "\\u%04x", (unsigned)character[byte]);
}

static void write_tokenizer(const struct model_files *f, const char *folder)
{
    const struct whisper_config *c = &f->plan->config;
    int eot = config_ordinary_tokens(c),
        languages = c->multilingual ? c->n_languages : 99;
    struct buf out;
    buf_init(&out, 16 << 20);
    buf_str(&out, "{\"added_tokens\":[");
    buf_printf(&out, "{\"id\":%d,\"content\":\"<|startoftranscript|>\"},", eot + 1);
    buf_printf(&out, "{\"id\":%d,\"content\":\"<|de|>\"},", eot + 4);
    buf_printf(&out, "{\"id\":%d,\"content\":\"<|transcribe|>\"},", eot + 3 + languages);
    buf_printf(&out, "{\"id\":%d,\"content\":\"<|nocaptions|>\"},", eot + 6 + languages);
    buf_printf(&out, "{\"id\":%d,\"content\":\"<|notimestamps|>\"},",
               eot + 7 + languages);
    buf_printf(&out, "{\"id\":%d,\"content\":\"<|1.28|>\"}],", eot + 8 + languages + 64);
    buf_str(&out, "\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (int id = 0; id < 50256; id++) {
        uint8_t bytes[2];
        size_t length = token_bytes(id, bytes);
        buf_char(&out, '"');
        for (size_t i = 0; i < length; i++)
            add_escaped(&out, bytes[i]);
        buf_printf(&out, "\":%d,", id);
    }
    buf_printf(&out, "\"<|endoftext|>\":%d},\"merges\":[", eot);
    for (int id = 256; id < 50256; id++) {
        uint8_t bytes[2];
        (void)token_bytes(id, bytes);
        buf_str(&out, id > 256 ? ",\"" : "\"");
        add_escaped(&out, bytes[0]);
        buf_char(&out, ' ');
        add_escaped(&out, bytes[1]);
        buf_char(&out, '"');
    }
    buf_str(&out, "]}}");
    assert(!buf_failed(&out));
    model_files_write(folder, "tokenizer.json", out.data, out.length);
    buf_release(&out);
}

static void write_config(const struct model_files *f, const char *folder)
{
    const struct whisper_config *c = &f->plan->config;
    char text[512];
    int n = snprintf(text, sizeof text,
                     "{\"model_type\":\"whisper\",\"vocab_size\":%d,\"num_mel_bins\":%d,"
                     "\"d_model\":%d,\"max_source_positions\":%d,\"encoder_layers\":%d,"
                     "\"encoder_attention_heads\":%d,\"max_target_positions\":%d,"
                     "\"decoder_layers\":%d,\"decoder_attention_heads\":%d,"
                     "\"encoder_ffn_dim\":%d,\"activation_function\":\"gelu\"}",
                     c->n_vocab, c->n_mels, c->n_audio_state, c->n_audio_ctx,
                     c->n_audio_layer, c->n_audio_head, c->n_text_ctx, c->n_text_layer,
                     c->n_text_head, 4 * c->n_audio_state);
    model_files_write(folder, "config.json", text, (size_t)n);
}

static void add_header_entry(struct model_files *f, struct buf *header, int part,
                             size_t begin, size_t end)
{
    static const char *const dtypes[] = {"F32", "F16", "BF16"};
    const struct model_part *p = &f->plan->parts[part];
    buf_printf(header, "%s\"model.%s\":{\"dtype\":\"%s\",\"shape\":[",
               header->length > 1 ? "," : "", p->hf,
               dtypes[model_files_part_type(f, part)]);
    for (int i = 0; i < p->n_dims; i++)
        buf_printf(header, "%s%d", i ? "," : "", p->dims[i]);
    buf_printf(header, "],\"data_offsets\":[%zu,%zu]}", begin, end);
}

static void write_shard(struct model_files *f, const char *folder, const char *name,
                        int shard, int n_shards)
{
    struct buf header, data;
    buf_init(&header, 1 << 20);
    buf_init(&data, 64 << 20);
    buf_char(&header, '{');
    for (int part = shard; part < f->plan->n_parts; part += n_shards) {
        size_t begin = data.length;
        add_values(f, &data, part);
        add_header_entry(f, &header, part, begin, data.length);
    }
    buf_str(&header, ",\"__metadata__\":{\"format\":\"pt\"}}");
    uint64_t length = header.length;
    buf_reset(&f->bytes);
    buf_add(&f->bytes, &length, sizeof length);
    buf_add(&f->bytes, header.data, header.length);
    buf_add(&f->bytes, data.data, data.length);
    assert(!buf_failed(&f->bytes) && !buf_failed(&header) && !buf_failed(&data));
    model_files_write(folder, name, f->bytes.data, f->bytes.length);
    buf_release(&header);
    buf_release(&data);
}

void model_files_folder(struct model_files *f, const char *folder, int n_shards)
{
    struct buf index;
    char name[64];
    write_config(f, folder);
    write_tokenizer(f, folder);
    if (n_shards == 1) {
        write_shard(f, folder, "model.safetensors", 0, 1);
        return;
    }
    buf_init(&index, 1 << 20);
    buf_str(&index, "{\"metadata\":{},\"weight_map\":{");
    for (int part = 0; part < f->plan->n_parts; part++)
        buf_printf(&index, "%s\"model.%s\":\"model-%05d-of-%05d.safetensors\"",
                   part ? "," : "", f->plan->parts[part].hf, part % n_shards + 1,
                   n_shards);
    buf_str(&index, "}}");
    model_files_write(folder, "model.safetensors.index.json", index.data, index.length);
    buf_release(&index);
    for (int i = 0; i < n_shards; i++) {
        (void)snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i + 1,
                       n_shards);
        write_shard(f, folder, name, i, n_shards);
    }
}

/* ---- places ------------------------------------------------------------------------ */

int model_files_memory(const void *bytes, size_t length, char *path, size_t size)
{
    int fd = memfd_create("model-file", MFD_CLOEXEC);
    int status = fd < 0 ? -1 : fs_write_all(fd, bytes, length, NULL);
    assert(!status);
    (void)status;
    (void)snprintf(path, size, "/proc/self/fd/%d", fd);
    return fd;
}

void model_files_folder_new(char *path, size_t size)
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(path, size, "%s/wt-model-XXXXXX", parent ? parent : "/tmp");
    char *made = mkdtemp(path);
    assert(made);
    (void)made;
}

void model_files_folder_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    (void)rmdir(path);
}
