/* The file, all little-endian:
 *
 *     magic, 11 numbers (dimensions, type)             int32 each
 *     mel filters: n_mels, n_bins, values              int32, int32, float
 *     vocabulary: n, then n times length and bytes     int32, int32, …
 *     tensors to the end of the file: n_dims, name's length, type,
 *         dimensions innermost first, name, values     int32 …, bytes, bytes
 *
 * Nothing is aligned, and nothing in it is believed: every length is compared with what
 * is left of the file before it is used. */
#include "engine/model_ggml.h"

#include "base/mem.h"

#include <fcntl.h>
#include <unistd.h>

#define GGML_MAGIC        0x67676D6C
#define QUANTISATION_UNIT 1000 /* ftype = version of the block formats * 1000 + type */
#define MAX_TOKEN_BYTES   1024
#define MAX_NAME_BYTES    128

struct reader {
    const uint8_t *bytes; /* borrowed */
    size_t length, at;
};

static int ends_early(const struct reader *r, const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT,
                   "the file is cut off: it ends after %zu bytes, in the middle of %s",
                   r->length, what);
}

/* The next n bytes, or NULL. */
static const uint8_t *take(struct reader *r, size_t n)
{
    if (n > r->length - r->at)
        return NULL;
    r->at += n;
    return r->bytes + (r->at - n);
}

static int take_i32(struct reader *r, int32_t *out, const char *what, struct err *e)
{
    *out = 0;
    const uint8_t *bytes = take(r, sizeof *out);
    if (!bytes)
        return ends_early(r, what, e);
    memcpy(out, bytes, sizeof *out);
    return 0;
}

/* ---- what it is, when it is no ggml file ----------------------------------------- */

static bool begins(const struct reader *r, size_t at, const char *text)
{
    size_t n = strlen(text);
    return r->length >= at + n && !memcmp(r->bytes + at, text, n);
}

static bool is_text(const struct reader *r)
{
    for (size_t i = 0; i < r->length && i < 64; i++)
        if (r->bytes[i] < ' ' && !memchr("\t\r\n\f", r->bytes[i], 4))
            return false;
    return true;
}

static int not_ggml(const struct reader *r, struct err *e)
{
    if (begins(r, 0, "GGUF"))
        return err_set(e, ERR_UNSUPPORTED,
                       "this is a GGUF file; Whisper models are published as ggml files "
                       "(\"ggml-small.bin\"): get that one");
    if (begins(r, 0, "PK\3\4"))
        return err_set(e, ERR_UNSUPPORTED,
                       "this is a PyTorch checkpoint or zip archive; a ggml file or a "
                       "folder with model.safetensors is needed");
    if (begins(r, 8, "{\""))
        return err_set(
            e, ERR_UNSUPPORTED,
            "this is one safetensors file; name the folder that has it together "
            "with config.json and tokenizer.json");
    if (begins(r, 0, "version https://git-lfs"))
        return err_set(
            e, ERR_UNSUPPORTED,
            "this is a Git LFS pointer, not the model itself: fetch the file with "
            "git lfs pull");
    if (is_text(r))
        return err_set(e, ERR_UNSUPPORTED,
                       "this is a text file, not a model: was an error page saved in its "
                       "place?");
    return err_set(e, ERR_UNSUPPORTED, "this is not a Whisper model in ggml format");
}

/* ---- header ---------------------------------------------------------------------- */

static const struct {
    int code;
    enum tensor_type type;
    int oldest; /* version of the block format that we read */
} ggml_types[] = {
    {0, TENSOR_F32, 0},  {1, TENSOR_F16, 0},  {2, TENSOR_Q4_0, 2}, {3, TENSOR_Q4_1, 2},
    {6, TENSOR_Q5_0, 1}, {7, TENSOR_Q5_1, 1}, {8, TENSOR_Q8_0, 2}, {30, TENSOR_BF16, 0},
};

/* The header's ftype numbers three of the types in its own way. */
static int type_code_of_ftype(int ftype)
{
    switch (ftype) {
    case 7:
        return 8;
    case 8:
        return 6;
    case 9:
        return 7;
    default:
        return ftype;
    }
}

static int find_type(int code)
{
    for (size_t i = 0; i < ARRAY_LENGTH(ggml_types); i++)
        if (ggml_types[i].code == code)
            return (int)i;
    return -1;
}

static int read_config(struct reader *r, struct whisper_config *c, int32_t *ftype,
                       struct err *e)
{
    int32_t magic = 0;
    if (r->length == 0)
        return err_set(e, ERR_CORRUPT, "the file is empty");
    if (r->length < sizeof magic || take_i32(r, &magic, "the magic number", e) ||
        magic != GGML_MAGIC)
        return not_ggml(r, e);
    int32_t *const fields[] = {
        &c->n_vocab,
        &c->n_audio_ctx,
        &c->n_audio_state,
        &c->n_audio_head,
        &c->n_audio_layer,
        &c->n_text_ctx,
        &c->n_text_state,
        &c->n_text_head,
        &c->n_text_layer,
        &c->n_mels,
        ftype,
    };
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
        int status = take_i32(r, fields[i], "the header", e);
        if (status)
            return status;
    }
    return config_check(c, e);
}

/* The header's type must be that of the largest tensor: both are what a person is told.
 */
static int check_ftype(const struct model_source *s, int32_t ftype, struct err *e)
{
    int version = ftype / QUANTISATION_UNIT;
    int entry = find_type(type_code_of_ftype(ftype % QUANTISATION_UNIT));
    if (ftype < 0 || entry < 0 || version > 2)
        return err_set(e, ERR_UNSUPPORTED,
                       "the header names weights of an unknown type (%d)", ftype);
    if (version < ggml_types[entry].oldest)
        return err_set(
            e, ERR_UNSUPPORTED,
            "the weights are %s of an old format (version %d); quantise the model "
            "again with a present whisper.cpp",
            quant_name(ggml_types[entry].type), version);
    for (int i = 0; i < s->plan->n_parts; i++)
        if (s->plan->parts[i].slot == SLOT_TOKENS &&
            s->tensors[i].type != ggml_types[entry].type)
            return err_set(e, ERR_CORRUPT, "the header says %s but %s is %s",
                           quant_name(ggml_types[entry].type), source_name(s, i),
                           quant_name(s->tensors[i].type));
    return 0;
}

static int read_filters(struct reader *r, struct model_source *s, struct err *e)
{
    int n_mels = s->plan->config.n_mels;
    int32_t rows, bins;
    int status = take_i32(r, &rows, "the mel filters", e);
    if (!status)
        status = take_i32(r, &bins, "the mel filters", e);
    if (status)
        return status;
    if (rows != n_mels || bins != MEL_FILTER_BINS)
        return err_set(e, ERR_CORRUPT, "the mel filters are [%d][%d] instead of [%d][%d]",
                       rows, bins, n_mels, MEL_FILTER_BINS);
    size_t n = (size_t)n_mels * MEL_FILTER_BINS;
    const uint8_t *bytes = take(r, n * sizeof(float));
    if (!bytes)
        return ends_early(r, "the mel filters", e);
    s->mel_filters = mem_array(n, sizeof(float));
    if (!s->mel_filters)
        return err_set(e, ERR_NOMEM, "out of memory");
    memcpy(s->mel_filters, bytes, n * sizeof(float));
    if (!f32_all_finite(s->mel_filters, n))
        return err_set(e, ERR_CORRUPT,
                       "the mel filters hold a value that is not a finite number");
    return 0;
}

/* ---- vocabulary ------------------------------------------------------------------- */

static int read_token(struct reader *r, int id, const uint8_t **bytes, size_t *length,
                      struct err *e)
{
    int32_t n;
    int status = take_i32(r, &n, "the vocabulary", e);
    if (status)
        return status;
    if (n < 0 || n > MAX_TOKEN_BYTES)
        return err_set(e, ERR_CORRUPT,
                       "token %d is %d bytes long, at byte %zu; at most %d are plausible",
                       id, n, r->at - sizeof n, MAX_TOKEN_BYTES);
    *bytes = take(r, (size_t)n);
    *length = (size_t)n;
    return *bytes ? 0 : ends_early(r, "the vocabulary", e);
}

/* Tokens from end-of-text on are special, whatever text the file has for them. */
static int read_vocabulary(struct reader *r, struct model_source *s, struct err *e)
{
    int n_vocab = s->plan->config.n_vocab;
    int n_ordinary = config_ordinary_tokens(&s->plan->config);
    int32_t n;
    int status = take_i32(r, &n, "the vocabulary", e);
    if (status)
        return status;
    if (n < n_ordinary || n > n_vocab)
        return err_set(e, ERR_CORRUPT,
                       "the vocabulary has %d tokens; %d to %d are expected", n,
                       n_ordinary, n_vocab);
    size_t left = r->length - r->at, used = 0;
    s->vocab_offsets = mem_array((size_t)n_vocab + 1, sizeof *s->vocab_offsets);
    /* The bytes in the file are an upper limit; so are the longest tokens. */
    size_t most = (size_t)n * MAX_TOKEN_BYTES;
    s->vocab_bytes = mem_array(left < most ? left : most, 1);
    if (!s->vocab_offsets || !s->vocab_bytes)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int id = 0; id < n_vocab; id++) {
        const uint8_t *bytes = NULL;
        size_t length = 0;
        if (id < n)
            status = read_token(r, id, &bytes, &length, e);
        if (status)
            return status;
        if (id < n_ordinary) {
            memcpy(s->vocab_bytes + used, bytes, length);
            used += length;
        }
        s->vocab_offsets[id + 1] = (uint32_t)used;
    }
    return 0;
}

/* ---- tensors ----------------------------------------------------------------------- */

struct tensor_head {
    int32_t n_dims, name_length, type;
    int64_t dims[4]; /* outermost first */
    size_t at;       /* byte offset in the file */
    char name[MAX_NAME_BYTES + 1];
};

static int read_tensor_head(struct reader *r, struct tensor_head *h, struct err *e)
{
    h->at = r->at;
    int status = take_i32(r, &h->n_dims, "a tensor's header", e);
    if (!status)
        status = take_i32(r, &h->name_length, "a tensor's header", e);
    if (!status)
        status = take_i32(r, &h->type, "a tensor's header", e);
    if (status)
        return status;
    if (h->n_dims < 1 || h->n_dims > 4 || h->name_length < 1 ||
        h->name_length > MAX_NAME_BYTES)
        return err_set(e, ERR_CORRUPT,
                       "there is no tensor at byte %zu, where one should begin (%d "
                       "dimensions, a name of %d bytes)",
                       h->at, h->n_dims, h->name_length);
    for (int i = h->n_dims - 1; i >= 0; i--) {
        int32_t dim;
        status = take_i32(r, &dim, "a tensor's header", e);
        if (status)
            return status;
        h->dims[i] = dim;
    }
    const uint8_t *name = take(r, (size_t)h->name_length);
    if (!name)
        return ends_early(r, "a tensor's name", e);
    for (int i = 0; i < h->name_length; i++)
        h->name[i] = name[i] > ' ' && name[i] < 0x7F ? (char)name[i] : '?';
    h->name[h->name_length] = '\0';
    return 0;
}

static int check_shape(const struct tensor_head *h, const struct model_part *part,
                       struct err *e)
{
    int64_t expected[3] = {part->dims[0], part->dims[1], part->dims[2]};
    int n_dims = part->n_dims;
    if (part->conv_bias && h->n_dims == 2) {
        expected[1] = 1;
        n_dims = 2;
    }
    if (h->n_dims == n_dims &&
        !memcmp(h->dims, expected, (size_t)n_dims * sizeof *expected))
        return 0;
    char found_text[64], expected_text[64];
    return err_set(e, ERR_CORRUPT, "the tensor %s (byte %zu) is %s instead of %s",
                   h->name, h->at,
                   shape_text(h->dims, h->n_dims, found_text, sizeof found_text),
                   shape_text(expected, n_dims, expected_text, sizeof expected_text));
}

static int tensor_bytes(const struct tensor_head *h, const struct model_part *part,
                        enum tensor_type type, size_t *out, struct err *e)
{
    size_t elements = plan_part_elements(part);
    size_t columns = (size_t)part->dims[part->n_dims - 1];
    if (!quant_row_bytes(type, columns, out))
        return err_set(
            e, ERR_CORRUPT,
            "the tensor %s (byte %zu) cannot be %s: its rows are no whole blocks",
            h->name, h->at, quant_name(type));
    if (!size_mul(*out, elements / columns, out))
        return err_set(e, ERR_TOO_LARGE, "the tensor %s is too large", h->name);
    return 0;
}

static int read_tensor(struct reader *r, struct model_source *s, struct err *e)
{
    struct tensor_head h;
    int status = read_tensor_head(r, &h, e);
    if (status)
        return status;
    int part = plan_find_ggml(s->plan, h.name, (size_t)h.name_length);
    if (part < 0)
        return err_set(e, ERR_CORRUPT,
                       "the tensor %s (byte %zu) is none of a Whisper model "
                       "of these dimensions",
                       h.name, h.at);
    const struct model_part *p = &s->plan->parts[part];
    int entry = find_type(h.type);
    if (entry < 0)
        return err_set(
            e, ERR_UNSUPPORTED,
            "the tensor %s (byte %zu) is of a type that is not read here (%d); "
            "f32, f16, bf16, q8_0, q5_0, q5_1, q4_0 and q4_1 are",
            h.name, h.at, h.type);
    enum tensor_type type = ggml_types[entry].type;
    status = check_shape(&h, p, e);
    size_t bytes = 0;
    if (!status)
        status = tensor_bytes(&h, p, type, &bytes, e);
    if (status)
        return status;
    const uint8_t *data = take(r, bytes);
    if (!data)
        return err_set(
            e, ERR_CORRUPT,
            "the file is cut off: the tensor %s needs %zu bytes from byte %zu on, "
            "the file ends after %zu",
            h.name, bytes, r->at, r->length);
    return source_add(s, part, type, data, h.name, e);
}

static int read_file(struct reader *r, struct model_source *s, struct err *e)
{
    struct whisper_config config = {0};
    int32_t ftype = 0;
    int status = read_config(r, &config, &ftype, e);
    if (!status)
        status = source_plan(s, &config, e);
    if (!status)
        status = read_filters(r, s, e);
    if (!status)
        status = read_vocabulary(r, s, e);
    while (!status && r->at < r->length)
        status = read_tensor(r, s, e);
    if (!status)
        status = source_complete(s, e);
    return status ? status : check_ftype(s, ftype, e);
}

int ggml_read(struct model_source *s, const char *path, struct err *e)
{
    struct mapped_file file;
    int status = source_map(s, path, &file, e);
    if (status)
        return status;
    struct reader r = {.bytes = file.bytes, .length = file.length};
    status = read_file(&r, s, e);
    if (status)
        err_prefix(e, "%s", path);
    return status;
}

int ggml_read_config(const char *path, struct whisper_config *c, bool *f16, struct err *e)
{
    uint8_t head[12 * sizeof(int32_t)];
    int32_t ftype = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open the model %s", path);
    ssize_t n = read(fd, head, sizeof head);
    struct reader r = {.bytes = head, .length = n > 0 ? (size_t)n : 0};
    int status = n < 0 ? err_errno(e, "cannot read the model %s", path) : 0;
    close(fd);
    if (!status)
        status = read_config(&r, c, &ftype, e);
    *f16 = ftype == 1;
    return status;
}
